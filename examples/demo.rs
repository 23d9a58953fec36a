//! A real publisher and a real subscriber, from nothing to a verdict: `cargo run --release --example demo`.
//!
//! Brings up PostgreSQL 14 and 16, loads the runbook's shop, replicates it, verifies it, damages the subscriber in five
//! ways and verifies again. Everything but the reports is gone afterwards.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use triplecheck::run::Outcome;
use triplecheck::verdict::Verdict;
use triplecheck_testbed::{Installation, Pair, ReplicateOptions, Replicated, Server, ServerOptions, shop};

/// The classic upgrade.
const PUBLISHER_MAJOR: u16 = 14;
/// Where it goes.
const SUBSCRIBER_MAJOR: u16 = 16;
/// Rows of all tables together.
const ROWS: u64 = 500_000;

/// What is done to the subscriber behind replication's back: what it is, and the SQL.
const DAMAGES: [(&str, &str); 5] = [
    ("a lost row", "DELETE FROM orders WHERE id = (SELECT max(id) / 2 FROM orders)"),
    (
        "an extra row",
        "INSERT INTO users SELECT -id, 'ghost@example.com', name, profile, is_active, balance, created_at, updated_at FROM users WHERE id = 7",
    ),
    (
        "a changed value",
        "UPDATE line_items SET quantity = quantity + 1 WHERE (order_id, line_no) = (SELECT order_id, line_no FROM line_items ORDER BY order_id, line_no OFFSET 1000 LIMIT 1)",
    ),
    (
        "a NULL turned into an empty string",
        "UPDATE orders SET note = '' WHERE id = (SELECT min(id) FROM orders WHERE note IS NULL)",
    ),
    ("a sequence left behind", "SELECT setval('orders_id_seq', 1, false)"),
];

/// Sets every sequence of the subscriber to the publisher's value: the runbook's step before cutover.
const SEQUENCES: &str = "SELECT format('SELECT setval(%L, %s, %L)', quote_ident(schemaname) || '.' || quote_ident(sequencename), \
                         COALESCE(last_value, start_value), (last_value IS NOT NULL)::text) FROM pg_sequences";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if both verdicts are what they must be.
fn run() -> Result<bool, Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (publisher, subscriber) = Installation::find_pair(PUBLISHER_MAJOR, SUBSCRIBER_MAJOR)?;
    println!(
        "Starting a PostgreSQL {} publisher and a PostgreSQL {} subscriber ...",
        publisher.major(),
        subscriber.major()
    );
    if publisher.major() == subscriber.major() {
        println!("(only PostgreSQL {} can be had here, so it serves both sides)", publisher.major());
    }
    let pair = runtime.block_on(async {
        let publisher = Server::start_with(publisher, ServerOptions::default()).await?;
        let subscriber = Server::start_with(subscriber, ServerOptions::default()).await?;
        Ok::<_, triplecheck_testbed::Error>(Pair { publisher, subscriber })
    })?;
    println!("Loading a shop of {ROWS} rows and replicating it ...");
    let database = runtime.block_on(async {
        let database = pair.database("shop").await?;
        shop::create(&database, ROWS).await?;
        database.replicate(ReplicateOptions::default()).await?;
        for row in database.publisher.rows(SEQUENCES).await? {
            database.subscriber.sql(row[0].as_deref().unwrap_or_default()).await?;
        }
        Ok::<_, triplecheck_testbed::Error>(database)
    })?;
    let folder = std::env::temp_dir().join(format!("triplecheck-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;

    println!("\n== First verify: replication has done its work ==\n");
    let first = verify(&database, &folder.join("match.json"), None)?;
    println!("\n== Damaging the subscriber behind replication's back ==\n");
    for (what, sql) in DAMAGES {
        println!("  {what}: {sql}");
        runtime.block_on(database.subscriber.sql(sql))?;
    }
    println!("\n== Second verify ==\n");
    let second = verify(&database, &folder.join("damaged.json"), Some(&folder))?;
    runtime.block_on(async {
        database.drop().await?;
        pair.publisher.stop().await?;
        pair.subscriber.stop().await
    })?;
    println!("\nReports: {}", folder.display());
    let found = found(&second);
    println!("Found {found} of {} damages.", DAMAGES.len());
    Ok(first.verdict == Verdict::Match && second.verdict == Verdict::Different && found == DAMAGES.len() as u64)
}

/// Runs the command as a person would, and reads its JSON report.
fn verify(database: &Replicated, json: &Path, folder: Option<&PathBuf>) -> Result<Outcome, Box<dyn Error>> {
    let mut args: Vec<OsString> = ["triplecheck", "verify", "--jobs", "2", "--show-values"].map(OsString::from).into();
    for (flag, value) in
        [("--publisher", database.publisher.conninfo()), ("--subscriber", database.subscriber.conninfo())]
    {
        args.extend([flag.into(), value.into()]);
    }
    args.extend(["--report-json".into(), json.into()]);
    if let Some(folder) = folder {
        args.extend(["--report-csv".into(), folder.join("differences.csv").into()]);
        args.extend(["--report-chunks".into(), folder.join("chunks.csv").into()]);
    }
    let _ = triplecheck::cli::run(args);
    Ok(serde_json::from_slice(&std::fs::read(json)?)?)
}

/// Differences that the second verify names: rows, and sequences.
fn found(outcome: &Outcome) -> u64 {
    let rows = outcome.tables.iter().filter_map(|table| table.checks.rows.as_ref());
    let rows: u64 = rows.map(|rows| rows.missing + rows.extra + rows.changed).sum();
    rows + outcome.sequences.iter().filter(|sequence| sequence.verdict == Verdict::Different).count() as u64
}
