//! Many verifies in a row while production writes: `cargo run --release --example soak -- --verifies 200`.
//!
//! Measures first what the subscriber can apply, then loads with a share of it: pgbench TPC-B at scale 1 with 8 clients and
//! the mixed load of the testbed. Nothing is damaged, so every difference that a verify shows is a false one. Prints how
//! many a direct comparison would have shown, so that the soak proves itself.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::ffi::OsString;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serde_json::Value;
use tokio::process::Command;
use triplecheck_testbed::pgbench::latency_between;
use triplecheck_testbed::soak::Soak;
use triplecheck_testbed::writers::{self, Rates, Writers};
use triplecheck_testbed::{Pair, PairOptions, ReplicateOptions, Replicated, ServerOptions, mixed};

/// This very program is triplecheck when it is started with this word, so that what is soaked is what was just built.
const AS_TRIPLECHECK: &str = "as-triplecheck";
/// The share of what can be applied that is written, unless told otherwise.
const SHARE: f64 = 0.8;
/// What an overloaded verify may wait for replication.
const LAG_TIMEOUT_OVERLOADED: &str = "10s";
/// Memory of logical decoding beyond which a publisher streams a transaction before its end: the least there can be.
const DECODING_MEMORY: &str = "64kB";

/// Verifies under load, many times in a row.
#[derive(Parser)]
struct Flags {
    /// Major version of the publisher.
    #[arg(long, default_value_t = 14)]
    publisher: u16,
    /// Major version of the subscriber.
    #[arg(long, default_value_t = 16)]
    subscriber: u16,
    /// How many verifies, unless the time is up before.
    #[arg(long, default_value_t = 200)]
    verifies: u64,
    /// How long at most, in seconds.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// How long to write at full speed to measure what can be applied, and without verifies before and after, in seconds.
    #[arg(long, default_value_t = 15)]
    calm_seconds: u64,
    /// The share of what can be applied that is written.
    #[arg(long)]
    share: Option<f64>,
    /// Write as fast as it goes, more than can be applied: a verdict may then be unproven, and must not be wrong.
    #[arg(long)]
    overload: bool,
    /// Who verifies.
    #[arg(long, value_enum, default_value_t = Role::Superuser)]
    role: Role,
    /// synchronous_commit and fsync on the subscriber, as in production.
    #[arg(long)]
    durable: bool,
    /// Stream large transactions and apply them in parallel (16 on both sides at least).
    #[arg(long)]
    parallel: bool,
    /// A subscription with two_phase, whose cut is never known but as one of several (15 on both sides at least).
    #[arg(long)]
    two_phase: bool,
    /// A TRUNCATE of the side table before every so-manieth verify; 0 is never.
    #[arg(long, default_value_t = 10)]
    truncate_every: u64,
    /// A direct comparison, without a gate, after every so-manieth verify; 0 is never.
    #[arg(long, default_value_t = 10)]
    direct_every: u64,
    /// `--jobs` of every verify.
    #[arg(long, default_value_t = 2)]
    jobs: u16,
}

/// Who verifies.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// May everything.
    Superuser,
    /// REPLICATION, pg_monitor and pg_read_all_data, but no function of replication origins.
    WithoutOrigins,
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    if args.next().is_some_and(|first| first == AS_TRIPLECHECK) {
        return triplecheck::cli::run(std::iter::once(program).chain(args));
    }
    let flags = Flags::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("soak: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&flags)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if no verdict was wrong and, unless overloaded, none was left open.
async fn run(flags: &Flags) -> Result<bool, Box<dyn Error>> {
    let database = prepare(flags).await?;
    let (publisher, subscriber) = conninfos(flags, &database).await?;
    let capacity = writers::measure_capacity(&database, calm(flags)).await?;
    println!(
        "capacity: pgbench {:.0} and mixed {:.0} transactions a second were written, {:.0} % of it was applied meanwhile",
        capacity.pgbench,
        capacity.mixed,
        capacity.applied * 100.0
    );
    let share = flags.share.unwrap_or(SHARE);
    // More than was written at full speed cannot be written: then as fast as it goes.
    let full_speed = flags.overload || share * capacity.applied >= 1.0;
    let rates = if full_speed { Rates::default() } else { capacity.share(share) };
    println!("load: {rates:?}");
    let mut writers = Writers::start(&database, rates).await?;
    let began = Instant::now();
    tokio::time::sleep(calm(flags)).await;
    let first = Instant::now();

    let mut soak = Soak::default();
    let verify = ["verify", "--progress", "none", "--format", "json", "--checks", "count,max,sum,rows"];
    let mut verify: Vec<OsString> = verify.iter().map(OsString::from).collect();
    verify.extend(["--jobs".into(), flags.jobs.to_string().into()]);
    verify.extend(["--publisher".into(), publisher.into(), "--subscriber".into(), subscriber.into()]);
    let gate = |gate: &str| ["--gate", gate].map(OsString::from);
    let patience = ["--lag-timeout", if flags.overload { LAG_TIMEOUT_OVERLOADED } else { "120s" }].map(OsString::from);
    let live: Vec<_> = verify.iter().cloned().chain(gate("live")).chain(patience).collect();
    let direct: Vec<_> = verify.iter().cloned().chain(gate("none")).collect();
    while soak.verifies < flags.verifies && first.elapsed() < Duration::from_secs(flags.seconds) {
        writers.check()?;
        if due(flags.truncate_every, soak.verifies) {
            database.publisher.sql(mixed::TRUNCATE).await?;
        }
        let begun = Instant::now();
        // Where replication falls behind, its lag may take longer to see than the verify.
        let lag = async { if flags.overload { Ok(Duration::ZERO) } else { writers::lag(&database).await } };
        let (report, lag) = tokio::join!(triplecheck(&live), lag);
        soak.absorb(&report?, lag?, begun.elapsed());
        if due(flags.direct_every, soak.verifies) {
            soak.absorb_direct(&triplecheck(&direct).await?);
        }
        if soak.verifies.is_multiple_of(10) {
            eprintln!("{} verifies, {} false differences", soak.verifies, soak.false_differences);
        }
    }
    let last = Instant::now();
    tokio::time::sleep(calm(flags)).await;
    let seconds = writers.seconds();
    let written = writers.stop().await?;
    println!(
        "mixed load: {} transactions, {} failed ({:?})",
        written.mixed.transactions, written.mixed.errors, written.mixed.first_error
    );
    print!("{soak}");
    let latency = |from, to| latency_between(&seconds, from, to).unwrap_or_default();
    println!(
        "pgbench latency: {:.2} ms before, {:.2} ms while verifying, {:.2} ms after",
        latency(began, first),
        latency(first, last),
        latency(last, Instant::now())
    );

    // The load itself replicates as it should: once nothing is written any more, both sides are equal.
    writers::lag(&database).await?;
    let quiesced: Vec<_> = verify.iter().cloned().chain(gate("quiesced")).collect();
    let still = triplecheck(&quiesced).await?;
    println!("quiesced afterwards: {}", still["verdict"]);
    let left = database.leftovers().await?;
    println!("left behind: {left:?}");
    let open = soak.tables_unproven + soak.not_matched;
    let right = soak.false_differences + soak.tables_different == 0 && (flags.overload || open == 0);
    Ok(right && still["verdict"] == "match" && left.is_empty())
}

fn due(every: u64, verifies: u64) -> bool {
    every > 0 && verifies % every == every - 1
}

fn calm(flags: &Flags) -> Duration {
    Duration::from_secs(flags.calm_seconds)
}

/// Servers, a database with something to write to, and replication.
async fn prepare(flags: &Flags) -> Result<Replicated, Box<dyn Error>> {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut options = PairOptions { publisher: ServerOptions::default(), subscriber: ServerOptions::default() };
    let mut subscription = Vec::new();
    if flags.durable {
        options.subscriber.settings.push(setting("fsync", "on"));
        subscription.push("synchronous_commit = on");
    }
    if flags.parallel {
        options.publisher.settings.push(setting("logical_decoding_work_mem", DECODING_MEMORY));
        subscription.push("streaming = parallel");
    }
    if flags.two_phase {
        subscription.push("two_phase = true");
    }
    println!("PostgreSQL {} to {}, subscription with ({})", flags.publisher, flags.subscriber, subscription.join(", "));
    let pair = Pair::start(flags.publisher, flags.subscriber, options).await?;
    let database = pair.database("soak").await?;
    Writers::create(&database).await?;
    let options = ReplicateOptions { subscription_with: subscription.join(", "), ..ReplicateOptions::default() };
    database.replicate(options).await?;
    Ok(database)
}

async fn conninfos(flags: &Flags, database: &Replicated) -> Result<(String, String), Box<dyn Error>> {
    if flags.role == Role::Superuser {
        return Ok((database.publisher.conninfo(), database.subscriber.conninfo()));
    }
    let role = "CREATE ROLE checker LOGIN REPLICATION; GRANT pg_monitor, pg_read_all_data TO checker";
    database.both(role).await?;
    Ok((database.publisher.conninfo_as("checker"), database.subscriber.conninfo_as("checker")))
}

/// Runs this program as triplecheck and reads its report.
async fn triplecheck(args: &[OsString]) -> Result<Value, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(AS_TRIPLECHECK).args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    if report["tables"].is_array() { Ok(report) } else { Err(report.to_string().into()) }
}
