//! triplecheck as a library: verifies the two databases named by `TRIPLECHECK_PUBLISHER` and `TRIPLECHECK_SUBSCRIBER`, and
//! prints a line for each table that is not proven equal.

#![allow(clippy::print_stdout)]

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use triplecheck::config::{Environment, RawSettings};
use triplecheck::run::{Event, verify};
use triplecheck::verdict::Verdict;

#[tokio::main]
async fn main() -> triplecheck::Result<()> {
    // What is left open takes its default, as on the command line.
    let settings = RawSettings { jobs: Some(2), ..RawSettings::default() };
    let config = settings.validate(&Environment::process())?;
    let events = Arc::new(|event| {
        if let Event::SyncPoint { publisher_lsn: Some(lsn), .. } = event {
            println!("comparing at {lsn}");
        }
    });
    let outcome = verify(config, events, CancellationToken::new()).await?.outcome;
    for table in outcome.tables.iter().filter(|table| table.verdict != Verdict::Match) {
        println!("{}.{}: {}, {}", table.schema, table.name, table.verdict, table.summary());
    }
    println!("{}", outcome.verdict);
    Ok(())
}
