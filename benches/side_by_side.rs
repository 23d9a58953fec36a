//! How close `verify` comes to the physical limit of reading all rows, measured side by side in one run:
//! `cargo bench --bench side_by_side [-- ROWS [ROUNDS]]`.
//!
//! The wire limit is both servers' `COPY table TO STDOUT (FORMAT binary)` through psql into the void at the same time. This
//! hardware is shared and noisy, so only ratios within one run count. Needs psql.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use triplecheck_testbed::{Database, Pair, PairOptions, ReplicateOptions, find_client};

/// Rows of orders where none are asked for: the size that the design's figures are for. Events get half as many.
const ROWS: u64 = 4_000_000;
/// Rounds in which everything is measured once, in turn.
const ROUNDS: usize = 3;
/// How often the peak memory of a run is looked at; the kernel keeps the peak, so seldom is often enough.
const LOOK: Duration = Duration::from_millis(20);

const SCHEMA: &str = "
    CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, order_number uuid NOT NULL, status text NOT NULL,
        order_total numeric(12,2) NOT NULL, currency char(3) NOT NULL, note text, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
    CREATE TABLE events (id uuid PRIMARY KEY, order_id bigint NOT NULL, kind text NOT NULL, at timestamptz NOT NULL, payload text)";

fn load(rows: u64) -> [String; 2] {
    [
        format!(
            "INSERT INTO orders SELECT i, i % 100000, md5(i::text)::uuid, (ARRAY['pending','paid','shipped'])[i % 3 + 1], (i % 100000) / 100.0, 'EUR', \
             'note ' || i || ' ' || md5((i * 7)::text) || md5((i * 11)::text), timestamptz '2024-01-01' + i * interval '1 second', \
             timestamptz '2024-02-01' + i * interval '1 second' FROM generate_series(1::bigint, {rows}) i"
        ),
        format!(
            "INSERT INTO events SELECT md5(i::text || 'e')::uuid, i, 'kind ' || i % 10, timestamptz '2024-01-01' + i * interval '1 second', \
             md5((i * 3)::text) FROM generate_series(1::bigint, {}) i",
            rows / 2
        ),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let rows = numbers.next().unwrap_or(ROWS);
    let rounds = numbers.next().map_or(Ok(ROUNDS), usize::try_from)?;
    let psql = find_client("psql").ok_or("psql is needed to measure the wire limit (Debian: postgresql-client)")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let (pair, database) = runtime.block_on(async {
        let pair = Pair::start(14, 16, PairOptions::default()).await?;
        let database = pair.database("bench").await?;
        database.both(SCHEMA).await?;
        for statement in load(rows) {
            database.publisher.sql(&statement).await?;
        }
        database.replicate(ReplicateOptions::default()).await?;
        for side in [&database.publisher, &database.subscriber] {
            side.sql("VACUUM (ANALYZE)").await?;
        }
        database.catch_up().await?;
        Ok::<_, triplecheck_testbed::Error>((pair, database))
    })?;
    let sides = [&database.publisher, &database.subscriber];
    for (table, rows) in [("orders", rows), ("events", rows / 2)] {
        let mut times: [Vec<f64>; 3] = Default::default();
        let mut peak = 0;
        for _ in 0..rounds {
            times[0].push(wire(&psql, sides, table)?);
            for (at, checks) in [(1, "rows"), (2, "count,max,sum,rows")] {
                let (seconds, kib) = verify(sides, table, checks)?;
                times[at].push(seconds);
                peak = peak.max(kib);
            }
        }
        println!("{table}: {rows} rows, {rounds} rounds, jobs 2; seconds are medians (smallest to largest)");
        let wire = median(&mut times[0]);
        for (name, times) in ["wire limit", "verify, rows", "verify, all checks"].iter().zip(&mut times) {
            let middle = median(times);
            let (low, high) = (times.first().copied().unwrap_or_default(), times.last().copied().unwrap_or_default());
            println!("  {name:<20} {middle:6.2} ({low:.2} to {high:.2})  {:.2}x", middle / wire);
        }
        println!("  peak memory of verify {} MiB", peak / 1024);
    }
    runtime.block_on(async {
        database.drop().await?;
        pair.publisher.stop().await?;
        pair.subscriber.stop().await
    })?;
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Both sides' COPY at the same time.
fn wire(psql: &Path, sides: [&Database; 2], table: &str) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    let copy = format!("COPY {table} TO STDOUT (FORMAT binary)");
    let start = |side: &Database| {
        Command::new(psql).args(["-XqAt", "-d", &side.conninfo(), "-c", &copy]).stdout(Stdio::null()).spawn()
    };
    let children: Vec<Child> = sides.into_iter().map(start).collect::<Result<_, _>>()?;
    for mut child in children {
        if !child.wait()?.success() {
            return Err("psql failed".into());
        }
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// One run of the command: seconds and peak memory in KiB.
fn verify(sides: [&Database; 2], table: &str, checks: &str) -> Result<(f64, u64), Box<dyn Error>> {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_triplecheck"))
        .args(["verify", "--progress", "none", "--jobs", "2", "--scope", "published", "--checks", checks, "-t", table])
        .args(["--publisher", &sides[0].conninfo(), "--subscriber", &sides[1].conninfo()])
        .stdout(Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        if let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
            peak = peak.max(kib);
        }
        if let Some(code) = child.try_wait()? {
            break code.code();
        }
        std::thread::sleep(LOOK);
    };
    // Without its row check the best verdict would be unproven; here rows are always checked.
    if code != Some(0) {
        return Err(format!("verify of {table} ended with {code:?}").into());
    }
    Ok((begun.elapsed().as_secs_f64(), peak))
}
