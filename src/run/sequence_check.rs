//! `sequences`: what both sides would hand out next, and what to set on the subscriber at cutover.
//!
//! Sequences are in no snapshot, so the order of reading decides what a difference means while writes continue: the
//! subscriber's state first and the publisher's last (what the publisher hands out in between makes the subscriber look
//! behind, never ahead), each side's columns in between (what arrives in them in between makes a sequence look used up,
//! never free).

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::assemble;
use super::exit;
use super::outcome::SCHEMA_VERSION;
use super::prepare::{interruptible, read_catalog};
use super::sequence_ends;
use super::sequence_script::{Wish, target};
use super::sequences::{self, End, Ends, State, direction, ends_of, judge};
use super::sequences_outcome::{SequenceCheck, SequenceColumnCheck, SequencesOutcome};
use super::servers::Servers;
use crate::catalog::{FedColumn, SequencePair, concerns_sequences};
use crate::config::SequencesConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::side::{Side, Sides};
use crate::verdict::Verdict;

/// Compares the sequences of both sides.
///
/// # Errors
/// As [`crate::run::verify`], before anything is compared; [`ErrorKind::Lost`] where a session is lost.
pub async fn sequences(config: SequencesConfig, stop: CancellationToken) -> Result<SequencesOutcome> {
    interruptible(&stop, Box::pin(compare(config))).await
}

async fn compare(config: SequencesConfig) -> Result<SequencesOutcome> {
    let started_at = jiff::Timestamp::now().to_string();
    let SequencesConfig { shared, margin, backward } = config;
    let shared = Arc::new(shared);
    let servers = Servers::connect(Arc::clone(&shared)).await?;
    let catalog = read_catalog(&servers, &shared).await?;
    let pairs = &catalog.sequences;
    if pairs.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "nothing selected: there is no sequence to compare")
            .with_hint("check the database, and the patterns of --table and --exclude-table"));
    }
    let subscriber = sequences::read(&servers.control.subscriber, Side::Subscriber, pairs).await;
    let ends = sequence_ends::read(&servers, pairs).await.map_err(lost)?;
    let publisher = sequences::read(&servers.control.publisher, Side::Publisher, pairs).await;
    let wish = Wish { margin, backward };
    let both = publisher.iter().zip(&subscriber);
    let sequences: Vec<_> = pairs
        .iter()
        .zip(both)
        .map(|(pair, (publisher, subscriber))| check(pair, Sides { publisher, subscriber }, &ends, wish))
        .collect();
    let verdict = Verdict::worst_of(sequences.iter().map(|sequence| sequence.outcome.verdict));
    Ok(SequencesOutcome {
        schema_version: SCHEMA_VERSION,
        tool: assemble::tool(),
        verdict,
        exit_code: exit::code(verdict),
        started_at,
        finished_at: jiff::Timestamp::now().to_string(),
        publisher: assemble::server(&catalog, servers.endpoints(), Side::Publisher),
        subscriber: assemble::server(&catalog, servers.endpoints(), Side::Subscriber),
        margin,
        backward,
        sequences,
        excluded: catalog.excluded,
        findings: catalog.findings.into_iter().filter(concerns_sequences).collect(),
    })
}

/// A server that had answered and cannot be reached any more is lost.
fn lost(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Connect => Error::new(ErrorKind::Lost, "a server was lost").with_source(error),
        _ => error,
    }
}

fn check(pair: &SequencePair, states: Sides<&State>, ends: &Ends, wish: Wish) -> SequenceCheck {
    let ends = ends_of(pair, ends);
    let (set_to, left_alone) = match target(pair, states, &ends, wish) {
        Ok(set_to) => (Some(set_to), None),
        Err(why) => (None, Some(why.to_owned())),
    };
    let facts = pair.definitions.publisher.as_ref();
    let gap = match (states.publisher, states.subscriber, facts) {
        (State::Next(publisher), State::Next(subscriber), Some(facts)) => {
            Some(((publisher - subscriber) * direction(facts)).to_string())
        }
        _ => None,
    };
    let definitions = [&pair.definitions.publisher, &pair.definitions.subscriber];
    SequenceCheck {
        outcome: judge(pair, states, &ends),
        gap,
        increment: pair.definitions.as_ref().map(|facts| facts.as_ref().map(|facts| facts.increment.to_string())),
        cache: pair.definitions.as_ref().map(|facts| facts.as_ref().map(|facts| facts.cache.to_string())),
        cycle: definitions.into_iter().flatten().any(|facts| facts.cycle),
        columns: pair.columns.iter().zip(&ends).map(|(fed, end)| column(fed, end)).collect(),
        set_to,
        left_alone,
    }
}

fn column(fed: &FedColumn, end: &Sides<End>) -> SequenceColumnCheck {
    let note = [&end.publisher, &end.subscriber].into_iter().find_map(|end| match end {
        End::Unread(_, message) => Some(message.clone()),
        End::NotRead | End::Value(_) => None,
    });
    let not_numeric = || "the column holds no plain numbers: its last value says nothing about the sequence".to_owned();
    SequenceColumnCheck {
        schema: fed.table.schema.clone(),
        table: fed.table.name.clone(),
        column: fed.column.clone(),
        last: end.as_ref().map(|end| end.value().map(|value| value.to_string())),
        note: if fed.numeric { note } else { Some(not_numeric()) },
    }
}
