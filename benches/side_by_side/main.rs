//! How close `verify` comes to the physical limit of reading all rows, measured side by side in one run:
//! `cargo bench --bench side_by_side [-- ROWS [ROUNDS [JOBS]] [quick]]`.
//!
//! The wire limit is both servers' `COPY table TO STDOUT (FORMAT binary)` through psql into the void at the same time. In
//! every round everything is measured once, in turn: where hardware is shared and noisy, only ratios within one run count.
//! Needs psql. Besides, unless `quick`: pgcopydb's comparison through psql, reladiff (from PyPI) if it is in PATH or
//! `RELADIFF` names it, and what it costs to find 1,000 and then a quarter of all rows different.

#![allow(clippy::print_stdout)]

mod measure;

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use measure::{Cost, run};
use triplecheck_testbed::{Database, Pair, PairOptions, ReplicateOptions, Replicated, ServerOptions, find_client};

/// Rows of orders where none are asked for: the size that the design's figures are for. Events get half as many.
const ROWS: u64 = 4_000_000;
/// For so many orders there is a document, which is a row of 1 MiB.
const DOCUMENT: u64 = 10_000;
/// Rounds in which everything is measured once, in turn.
const ROUNDS: usize = 3;
/// Sessions per side.
const JOBS: u64 = 2;
/// Time between two looks at whether the subscriber has copied all tables.
const COPY_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Rows that differ, scattered over the table.
const SCATTERED: u64 = 1000;

const SCHEMA: &str = "
    CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, order_number uuid NOT NULL, status text NOT NULL,
        order_total numeric(12,2) NOT NULL, currency char(3) NOT NULL, note text, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
    CREATE TABLE events (id uuid PRIMARY KEY, order_id bigint NOT NULL, kind text NOT NULL, at timestamptz NOT NULL, payload text);
    CREATE TABLE documents (id bigint PRIMARY KEY, title text NOT NULL, body text NOT NULL);
    ALTER TABLE documents ALTER COLUMN body SET STORAGE EXTERNAL";

fn load(rows: u64) -> [String; 3] {
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
        format!(
            "INSERT INTO documents SELECT i, 'title ' || i, \
             (SELECT string_agg(md5(i || '.' || j), '') FROM generate_series(1, 32768) j) FROM generate_series(1::bigint, {}) i",
            rows / DOCUMENT
        ),
    ]
}

/// A table: its rows, what the server computes of it, its columns but the key, and what
/// damages rows of it.
struct Table {
    name: &'static str,
    rows: u64,
    figures: &'static str,
    columns: &'static [&'static str],
    damage: &'static str,
}

fn tables(rows: u64) -> [Table; 3] {
    [
        Table {
            name: "orders",
            rows,
            figures: "max(created_at), max(updated_at), sum(id), sum(user_id), sum(order_total)",
            columns: &[
                "user_id",
                "order_number",
                "status",
                "order_total",
                "currency",
                "note",
                "created_at",
                "updated_at",
            ],
            damage: "UPDATE orders SET status = 'damaged' WHERE id % ",
        },
        Table {
            name: "events",
            rows: rows / 2,
            figures: "max(at), sum(order_id)",
            columns: &["order_id", "kind", "at", "payload"],
            damage: "UPDATE events SET kind = 'damaged' WHERE order_id % ",
        },
        Table {
            name: "documents",
            rows: rows / DOCUMENT,
            figures: "sum(id)",
            columns: &["title", "body"],
            damage: "UPDATE documents SET title = 'damaged' WHERE id % ",
        },
    ]
}

/// Something that is measured: programs that run at the same time.
struct Contender {
    name: String,
    commands: Box<dyn Fn() -> Vec<Command>>,
    /// The exit code of each.
    code: i32,
    /// Whether it is our own, which says how much it read.
    ours: bool,
}

struct Bench {
    psql: PathBuf,
    database: Replicated,
    postmasters: [u32; 2],
    report: PathBuf,
    jobs: u64,
    rounds: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = words.iter().filter_map(|word| word.parse::<u64>().ok());
    let rows = numbers.next().unwrap_or(ROWS);
    let rounds = numbers.next().map_or(Ok(ROUNDS), usize::try_from)?;
    let jobs = numbers.next().unwrap_or(JOBS);
    let quick = words.iter().any(|word| word == "quick");
    let psql = find_client("psql").ok_or("psql is needed to measure the wire limit (Debian: postgresql-client)")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let (pair, database) = runtime.block_on(start(rows))?;
    let folder = tempfile::tempdir()?;
    let pid = |pid: Option<u32>| pid.ok_or("a server does not run");
    let postmasters = [pid(pair.publisher.pid())?, pid(pair.subscriber.pid())?];
    let bench = Bench { psql, database, postmasters, report: folder.path().join("report.json"), jobs, rounds };
    for table in tables(rows) {
        println!("{}: {} rows, {rounds} rounds, jobs {jobs}", table.name, table.rows);
        let mut contenders = vec![bench.wire(&table), bench.verify(&table, "rows", "rows", 0)];
        contenders.push(bench.verify(&table, "count,max,sum,rows", "rows", 0));
        for scan in ["digest64", "digest"] {
            contenders.push(bench.verify(&table, "rows", scan, 0));
        }
        contenders.push(bench.verify(&table, "count,max,sum,rows", "digest", 0));
        contenders.push(
            bench
                .psql("the server's own pass alone", format!("SELECT count(*), {} FROM {}", table.figures, table.name)),
        );
        contenders.push(bench.psql("the server's count alone", format!("SELECT count(*) FROM {}", table.name)));
        if !quick {
            contenders.push(bench.psql(
                "pgcopydb's comparison",
                format!("SELECT count(1), sum(hashtext(t::text)::bigint) FROM {} AS t", table.name),
            ));
            contenders.extend(bench.reladiff(&table));
        }
        bench.measure(&contenders)?;
        if quick {
            continue;
        }
        for every in [table.rows / SCATTERED, 4].into_iter().filter(|every| *every > 1) {
            let damage = format!("{}{every} = 0", table.damage);
            runtime.block_on(bench.database.subscriber.sql(&damage))?;
            println!("{}: {} of the rows different", table.name, table.rows / every);
            bench.measure(&[bench.wire(&table), bench.verify(&table, "rows", "rows", 1)])?;
        }
    }
    let Bench { database, .. } = bench;
    runtime.block_on(async {
        database.drop().await?;
        pair.publisher.stop().await?;
        pair.subscriber.stop().await
    })?;
    Ok(())
}

async fn start(rows: u64) -> Result<(Pair, Replicated), triplecheck_testbed::Error> {
    let settings = vec![("autovacuum".to_owned(), "off".to_owned())];
    let server = ServerOptions { settings, ..ServerOptions::default() };
    let pair = Pair::start(14, 16, PairOptions { publisher: server.clone(), subscriber: server }).await?;
    let database = pair.database("bench").await?;
    database.both(SCHEMA).await?;
    for statement in load(rows) {
        database.publisher.sql(&statement).await?;
    }
    database.replicate(ReplicateOptions { wait: false, ..ReplicateOptions::default() }).await?;
    // Large tables take their time.
    let copied = "SELECT count(*) > 0 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel";
    while database.subscriber.value(copied).await? != "t" {
        tokio::time::sleep(COPY_POLL_INTERVAL).await;
    }
    for side in [&database.publisher, &database.subscriber] {
        side.sql("VACUUM (ANALYZE)").await?;
        side.sql("CHECKPOINT").await?;
    }
    database.catch_up().await?;
    Ok((pair, database))
}

impl Bench {
    fn sides(&self) -> [&Database; 2] {
        [&self.database.publisher, &self.database.subscriber]
    }

    /// A statement through psql on both sides at the same time.
    fn psql(&self, name: &str, sql: String) -> Contender {
        let (psql, sides) = (self.psql.clone(), self.sides().map(Database::conninfo));
        let commands = move || {
            let command = |conninfo: &String| {
                let mut command = Command::new(&psql);
                command.args(["-XqAt", "-d", conninfo, "-c", &sql]);
                command
            };
            sides.iter().map(command).collect()
        };
        Contender { name: name.to_owned(), commands: Box::new(commands), code: 0, ours: false }
    }

    fn wire(&self, table: &Table) -> Contender {
        self.psql("wire limit", format!("COPY {} TO STDOUT (FORMAT binary)", table.name))
    }

    fn verify(&self, table: &Table, checks: &'static str, scan: &'static str, code: i32) -> Contender {
        let sides = self.sides().map(Database::conninfo);
        let (table, report, jobs) = (table.name, self.report.clone(), self.jobs.to_string());
        let commands = move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_triplecheck"));
            command
                .args(["verify", "--progress", "none", "--jobs", &jobs, "--scope", "published", "--checks", checks])
                .args(["--scan", scan])
                .args(["-t", table, "--publisher", &sides[0], "--subscriber", &sides[1], "--report-json"])
                .arg(&report);
            vec![command]
        };
        let digest = if scan == "rows" { String::new() } else { format!(", {scan}") };
        Contender { name: format!("verify, {checks}{digest}"), commands: Box::new(commands), code, ours: true }
    }

    /// reladiff over all columns, where it is installed.
    fn reladiff(&self, table: &Table) -> Option<Contender> {
        let program = std::env::var_os("RELADIFF").map(PathBuf::from).or_else(|| {
            std::env::split_paths(&std::env::var_os("PATH")?)
                .map(|folder| folder.join("reladiff"))
                .find(|file| file.is_file())
        })?;
        let (name, columns, sides) = (table.name, table.columns, self.sides().map(Database::uri));
        let commands = move || {
            let mut command = Command::new(&program);
            command.args([&sides[0], name, &sides[1], name, "-k", "id", "--threads", "4"]);
            command.args(columns.iter().flat_map(|column| ["-c", column]));
            vec![command]
        };
        Some(Contender { name: "reladiff".to_owned(), commands: Box::new(commands), code: 0, ours: false })
    }

    /// Measures all of them in every round, and prints medians; the first one is what the others are held against.
    fn measure(&self, contenders: &[Contender]) -> Result<(), Box<dyn Error>> {
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); contenders.len()];
        for _ in 0..self.rounds {
            for (contender, costs) in contenders.iter().zip(&mut costs) {
                let report = contender.ours.then_some(self.report.as_path());
                let cost = run((contender.commands)(), contender.code, &self.postmasters, report);
                costs.push(cost.map_err(|error| format!("{}: {error}", contender.name))?);
            }
        }
        let wire = costs.first().cloned().unwrap_or_default();
        println!(
            "  {:<34} {:>7} {:>16} {:>6} {:>12} {:>12} {:>12} {:>9} {:>9}",
            "", "seconds", "", "ratio", "", "client CPU s", "server CPU s", "MiB read", "peak MiB"
        );
        for (contender, costs) in contenders.iter().zip(&costs) {
            let seconds = spread(costs.iter().map(|cost| cost.seconds));
            let ratio = spread(costs.iter().zip(&wire).map(|(cost, wire)| cost.seconds / wire.seconds));
            let [client, server, peak] = [
                spread(costs.iter().map(|cost| cost.client))[1],
                spread(costs.iter().map(|cost| cost.server))[1],
                spread(costs.iter().map(|cost| cost.peak_kib as f64 / 1024.0))[1],
            ];
            let read = costs.first().and_then(|cost| cost.bytes);
            let read = read.map_or_else(String::new, |bytes| (bytes >> 20).to_string());
            println!(
                "  {:<34} {:>7.2} {:>16} {:>5.2}x {:>12} {client:>12.2} {server:>12.2} {read:>9} {peak:>9.0}",
                contender.name,
                seconds[1],
                format!("({:.2} to {:.2})", seconds[0], seconds[2]),
                seconds[1] / spread(wire.iter().map(|cost| cost.seconds))[1],
                format!("({:.2}..{:.2})", ratio[0], ratio[2]),
            );
        }
        Ok(())
    }
}

/// The smallest, the median and the largest.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |at: usize| values.get(at).copied().unwrap_or_default();
    [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
}
