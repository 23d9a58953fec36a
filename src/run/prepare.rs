//! What the engines do before they begin: refusing what cannot work, reading the catalog, and making of it what all jobs of a
//! table share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::catalog::{self, Catalog, SequencePair, TableIndex, TablePair};
use crate::config::{Config, ScanMode};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Limits;
use crate::row::Shape;
use crate::run::servers::Servers;
use crate::scan::{Digest, Hashing, SequenceColumn, TableContext};
use crate::side::Sides;

/// Does something that ends with the run where that is stopped.
pub(crate) async fn interruptible<T>(stop: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        () = stop.cancelled() => Err(Error::new(ErrorKind::Interrupted, "interrupted before anything was compared")),
    }
}

/// A standby's position is not the one that its subscribers have to reach.
pub(crate) fn refuse_standby(servers: &Servers) -> Result<()> {
    if servers.facts.publisher.in_recovery {
        return Err(Error::new(ErrorKind::Usage, "the publisher is a standby, whose writes happen elsewhere")
            .with_hint("name the primary that the subscription is fed by as --publisher"));
    }
    Ok(())
}

/// What bounds the cutting of tables.
pub(crate) fn limits(config: &Config) -> Limits {
    Limits { chunk_rows: config.chunk_rows, snapshot_age_max: config.snapshot_age_max, jobs: config.jobs.get() }
}

/// What there is to compare.
pub(crate) async fn read_catalog(servers: &Servers, config: &Config) -> Result<Catalog> {
    let request = catalog::Request {
        subscriptions: config.subscriptions.clone(),
        tables: config.tables.clone(),
        exclude_tables: config.exclude_tables.clone(),
        scope: config.scope,
        gate: config.gate,
        mappings: config.mappings.clone(),
    };
    catalog::read(&servers.control.publisher, &servers.control.subscriber, &request).await
}

/// What the contexts of tables are made of, besides the tables.
#[derive(Clone, Copy)]
pub(crate) struct Basis<'a> {
    versions: Sides<u32>,
    /// The sequences that may feed columns of the tables.
    sequences: &'a [SequencePair],
    config: &'a Config,
    hashing: Option<&'a Hashing>,
}

impl<'a> Basis<'a> {
    pub(crate) fn new(
        catalog: &Catalog,
        sequences: &'a [SequencePair],
        config: &'a Config,
        hashing: Option<&'a Hashing>,
    ) -> Self {
        let versions = catalog.servers.as_ref().map(|facts| facts.version_num);
        Self { versions, sequences, config, hashing }
    }

    /// What all jobs of a table share.
    pub(crate) fn context(&self, index: TableIndex, pair: &TablePair) -> Arc<TableContext> {
        let Self { versions, sequences, config, hashing } = *self;
        let fed = sequences.iter().filter(|_| config.checks.sequence);
        let fed = fed.flat_map(|sequence| sequence.columns.iter().map(move |column| (sequence, column)));
        let fed = fed.filter(|(_, fed)| fed.table == pair.name).filter_map(|(sequence, fed)| {
            let column = pair.columns.iter().find(|column| column.name == fed.column)?;
            let descending = sequence.definitions.publisher.as_ref().is_some_and(|facts| facts.increment < 0);
            matches!(column.types.publisher.builtin(), Some("int2" | "int4" | "int8"))
                .then(|| SequenceColumn { name: column.name.clone(), descending })
        });
        let mut sequence_columns: Vec<SequenceColumn> = Vec::new();
        for column in fed {
            if !sequence_columns.iter().any(|known| known.name == column.name) {
                sequence_columns.push(column);
            }
        }
        let shape = Shape::new(pair);
        let bits = if config.scan == ScanMode::Digest64 { 64 } else { 128 };
        let digest = hashing.map(|hashing| Digest::new(pair, &shape, hashing, bits));
        Arc::new(TableContext {
            index,
            pair: pair.clone(),
            shape,
            checks: config.checks,
            versions,
            sequence_columns,
            digest,
        })
    }
}

/// What all jobs of each table share.
pub(crate) fn contexts<'a>(
    catalog: &'a Catalog,
    config: &'a Config,
    hashing: Option<&'a Hashing>,
) -> impl Iterator<Item = Arc<TableContext>> + 'a {
    let basis = Basis::new(catalog, &catalog.sequences, config, hashing);
    catalog.tables.iter().enumerate().map(move |(index, pair)| basis.context(index, pair))
}
