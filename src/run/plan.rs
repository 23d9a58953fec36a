//! `plan`: what `verify` would read. Reads the catalogs, and of tables that replication does not carry or that the subscriber
//! lacks whether they hold a row.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{self, Bound, Chunking, Reading, ScanKind, Source};
use crate::run::assemble;
use crate::run::outcome::SCHEMA_VERSION;
use crate::run::plan_outcome::{PlanOutcome, PlannedTable};
use crate::run::prepare::{contexts, limits, read_catalog};
use crate::run::servers::Servers;
use crate::scan::{TableContext, figure_statements};
use crate::side::{Side, Sides};

/// What stands for the bounds of a chunk, which only a sample of the keys would tell.
const LOWER_BOUND: &str = "<lower bound of the chunk>";
/// The same for the upper bound.
const UPPER_BOUND: &str = "<upper bound of the chunk>";

/// Plans a run.
///
/// # Errors
/// As [`crate::run::verify`], before anything is compared.
pub async fn plan(config: Config, stop: CancellationToken) -> Result<PlanOutcome> {
    let config = Arc::new(config);
    let work = async {
        let servers = Servers::connect(Arc::clone(&config)).await?;
        let catalog = read_catalog(&servers, &config).await?;
        let tables =
            contexts(&catalog, &config, servers.hashing.as_ref()).map(|table| planned(&table, &config)).collect();
        Ok(PlanOutcome {
            schema_version: SCHEMA_VERSION,
            tool: assemble::tool(),
            publisher: assemble::server(&catalog, servers.endpoints(), Side::Publisher),
            subscriber: assemble::server(&catalog, servers.endpoints(), Side::Subscriber),
            tables,
            excluded: catalog.excluded,
            findings: catalog.findings,
        })
    };
    tokio::select! {
        result = work => result,
        () = stop.cancelled() => Err(Error::new(ErrorKind::Interrupted, "interrupted")),
    }
}

fn planned(table: &TableContext, config: &Config) -> PlannedTable {
    let (pair, shape) = (&table.pair, &table.shape);
    let unreadable = pair.reservations.iter().find(|reservation| !reservation.readable);
    let reservation = unreadable.or(pair.reservations.first());
    let planned = PlannedTable {
        schema: pair.name.schema.clone(),
        name: pair.name.name.clone(),
        scan: String::new(),
        why: String::new(),
        key: table.column_names().iter().take(shape.key_len()).map(|&name| name.to_owned()).collect(),
        chunks: 0,
        chunked_by: String::new(),
        rows_estimate: plan::estimated_rows(pair),
        bytes_estimate: pair.relations.publisher.bytes.max(pair.relations.subscriber.bytes),
        slices: Sides::default(),
        statements: Sides::default(),
        reason: reservation.map(|reservation| reservation.reason),
        message: reservation.map(|reservation| reservation.message.clone()),
    };
    if unreadable.is_some() { planned } else { read(planned, table, config) }
}

/// The same with how the table would be read.
fn read(planned: PlannedTable, table: &TableContext, config: &Config) -> PlannedTable {
    let limits = limits(config);
    let (pair, shape) = (&table.pair, &table.shape);
    let digest = table.digest.as_ref().filter(|_| config.checks.rows);
    let (digest, undigested) = match digest {
        Some(Ok(digest)) => (Some(digest), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let mut statements = Sides::<Vec<String>>::default();
    for side in Side::BOTH {
        let source = Source { pair, side, advance: None };
        statements.get_mut(side).append(&mut figure_statements(table, source, digest).1);
    }
    let (chunks, chunking) = match plan::sample_spec(pair, shape, &limits) {
        Ok(spec) => {
            statements.publisher.push(plan::sample_statement(pair, shape, &spec));
            (spec.chunks, chunking_of(spec.chunks, shape.key_len()))
        }
        Err(chunking) => (u64::from(chunking.count()), chunking),
    };
    let chunked_by = match (&chunking, shape.key_len()) {
        (Chunking::Ranges(_), _) => "key range",
        (Chunking::Buckets { .. }, 0) => "row hash",
        (Chunking::Buckets { .. }, _) => "key hash",
    };
    let plan = plan::plan(pair, shape, chunking, table.versions, &limits, false);
    if config.checks.rows {
        for side in Side::BOTH {
            let slices = plan.slices.get(side);
            let source = Source { pair, side, advance: None };
            // The statements of a key-range scan differ in their bounds only: one in the middle shows them all.
            let shown = if plan.scan == ScanKind::KeyRange { slices.get(1..2).unwrap_or_default() } else { slices };
            let of_slice = |slice| plan::statement(source, shape, &plan.chunking, slice, &Reading::Image);
            statements.get_mut(side).extend(shown.iter().map(of_slice));
        }
    }
    let (scan, why) = match (digest, undigested) {
        (Some(digest), _) => (
            format!("digest, else {}", plan.scan.name()),
            format!("digested by both servers, {} bits; rows only where that differs: {}", digest.bits(), plan.why),
        ),
        (None, Some(undigested)) => (plan.scan.name().to_owned(), format!("{}; not digested: {undigested}", plan.why)),
        (None, None) => (plan.scan.name().to_owned(), plan.why),
    };
    let slices = plan.slices.as_ref().map(|slices| slices.len() as u64);
    PlannedTable { scan, why, chunks, chunked_by: chunked_by.to_owned(), slices, statements, ..planned }
}

/// As many chunks as a sample would cut, with bounds that say what they stand for.
fn chunking_of(chunks: u64, key_len: usize) -> Chunking {
    let bound = |at: u64| {
        let text = if at == 1 { LOWER_BOUND } else { UPPER_BOUND };
        Bound { encoded: at.to_be_bytes().to_vec(), text: vec![text.to_owned(); key_len] }
    };
    Chunking::Ranges((1..chunks).map(bound).collect())
}
