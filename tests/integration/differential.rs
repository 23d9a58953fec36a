//! Random tables of every type are replicated for real, and match; then random cells and rows of the subscriber are
//! damaged, and exactly those are found. PostgreSQL says what differs: see `oracle`.
//!
//! Every round has a seed, which a failure prints. `TRIPLECHECK_DIFFERENTIAL_SEED=7` repeats one round,
//! `TRIPLECHECK_DIFFERENTIAL_ROUNDS=500` does as many as one likes.

mod alone;
mod dice;
mod leaves;
mod oracle;
mod tables;
mod types;

use std::io::Write as _;
use std::time::{Duration, Instant};

use triplecheck_testbed::{ReplicateOptions, Replicated, shared_pair};

use self::dice::Dice;
use self::tables::{Table, tolerant};
use self::types::Types;
use crate::harness::Verify;
use crate::lines;

/// Rounds stop after this, unless their number is given.
const TIME: Duration = Duration::from_secs(25);
/// Tables of a round.
const TABLES: usize = 30;
/// Where the rounds of everyday begin.
const FIRST_SEED: u64 = 4;
/// Types that a round makes.
const TYPES: usize = 14;
/// Writes to a table before and after its first copy.
const WRITES: usize = 30;
/// Rounds of damage on the tables of a round.
const DAMAGES: usize = 2;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

async fn rounds(publisher: u16, subscriber: u16, share: u32) {
    if let Some(seed) = number("TRIPLECHECK_DIFFERENTIAL_SEED") {
        return round(publisher, subscriber, seed).await;
    }
    let (start, wanted) = (Instant::now(), number("TRIPLECHECK_DIFFERENTIAL_ROUNDS"));
    // Without a wish the same tables every time, so that a change is judged by what it changes; else others every day.
    let today = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() / 86_400 * 1_000;
    let first = wanted.map_or(FIRST_SEED, |_| today);
    let mut done = 0;
    while done == 0 || wanted.map_or(start.elapsed() < TIME / share, |wanted| done < wanted) {
        round(publisher, subscriber, first + done).await;
        done += 1;
    }
}

/// One round; a panic in it says its seed.
async fn round(publisher: u16, subscriber: u16, seed: u64) {
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let seed = format!("repeat it with TRIPLECHECK_DIFFERENTIAL_SEED={}\n", self.0);
                let _ = std::io::stderr().write_all(seed.as_bytes());
            }
        }
    }
    let _named = Seed(seed);
    let lease = shared_pair(publisher, subscriber).shared().await.unwrap();
    let database = lease.database("differential").await.unwrap();
    let mut dice = Dice::new(seed);
    let types = Types::new(&mut dice, TYPES, publisher.min(subscriber));
    let tables: Vec<_> = (0..TABLES).map(|at| Table::new(&mut dice, &types, at, publisher.min(subscriber))).collect();
    create(&mut dice, &database, &types, &tables).await;
    replicate(&mut dice, &database, &tables).await;

    let ran = Verify::new(&database).args("--jobs 2 --samples 10000").run().await;
    let differences = lines::differences(&ran);
    assert!(differences.is_empty(), "{}", described(&types, &tables, &differences));
    lines::assert_match(&ran);
    database.assert_nothing_left().await;

    for damage in 0..DAMAGES {
        for table in &tables {
            if dice.one_in(3) {
                continue;
            }
            if damage > 0 && dice.one_in(3) {
                let _ = database.subscriber.sql(&table.drop_key()).await;
            }
            let count = dice.between(1, 6);
            let batch = tolerant(&table.damage(&mut dice, count));
            database.subscriber.sql(&batch).await.unwrap_or_else(|error| panic!("{error}: {batch}"));
        }
        check(&mut dice, &database, &types, &tables).await;
    }
    database.assert_nothing_left().await;
}

/// The tables that some lines are about, and the types of the round.
fn described(types: &Types, tables: &[Table], lines: &[String]) -> String {
    let named = tables.iter().filter(|table| lines.iter().any(|line| line.contains(&format!("{} ", table.name))));
    let tables: Vec<_> = named.map(|table| table.create(&(0..table.columns.len()).collect::<Vec<_>>())).collect();
    format!("{}\n{}\n{}", lines.join("\n"), tables.join("\n"), types.publisher.replace(';', "\n"))
}

async fn create(dice: &mut Dice, database: &Replicated, types: &Types, tables: &[Table]) {
    for (side, types) in [(&database.publisher, &types.publisher), (&database.subscriber, &types.subscriber)] {
        let mut sql = format!("{}{types}", leaves::EXTENSIONS);
        for table in tables {
            let mut order: Vec<_> = (0..table.columns.len()).collect();
            if dice.one_in(3) {
                dice.shuffle(&mut order);
            }
            sql.push_str(&table.create(&order));
        }
        side.sql(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
}

/// Some rows are copied first, the others are replicated.
async fn replicate(dice: &mut Dice, database: &Replicated, tables: &[Table]) {
    for first in [true, false] {
        for table in tables {
            let count = if dice.one_in(6) { 0 } else { dice.between(1, WRITES) };
            let mut writes = table.writes(dice, count);
            if table.key.is_empty() {
                writes.push(table.duplicates());
            }
            let batch = tolerant(&writes);
            database.publisher.sql(&batch).await.unwrap_or_else(|error| panic!("{error}: {batch}"));
        }
        if first {
            database.replicate(ReplicateOptions::default()).await.unwrap();
        } else {
            database.catch_up().await.unwrap();
        }
    }
}

/// `verify` says what PostgreSQL says.
async fn check(dice: &mut Dice, database: &Replicated, types: &Types, tables: &[Table]) {
    let mut expected = Vec::new();
    for table in tables {
        expected.extend(oracle::expected(database, table).await);
    }
    expected.sort();
    let args = format!("--jobs 2 --samples 10000 --chunk-rows {}", dice.pick(&[3, 10, 1000]));
    let ran = Verify::new(database).args(&args).run().await;
    // Which of several rows with one key is called changed is not promised.
    let vague: Vec<_> =
        expected.iter().filter(|line| line.ends_with('?')).map(|line| line.trim_end_matches('?').to_owned()).collect();
    let vaguer: Vec<_> = expected.iter().filter_map(|line| line.strip_suffix("?]")).map(str::to_owned).collect();
    let blurred = |line: String| {
        if let Some(known) = vaguer.iter().find(|known| line.starts_with(*known)) {
            return format!("{known}?]");
        }
        if vague.contains(&line) { format!("{line}?") } else { line }
    };
    let mut found: Vec<_> = lines::differences(&ran).into_iter().map(blurred).collect();
    found.sort();
    if found != expected {
        let lacking = expected.iter().filter(|line| !found.contains(line)).map(|line| format!("not found: {line}"));
        let wrong = found.iter().filter(|line| !expected.contains(line)).map(|line| format!("found: {line}"));
        let wrong: Vec<_> = lacking.chain(wrong).collect();
        assert!(wrong.is_empty(), "{}", described(types, tables, &wrong));
        panic!("not as often as expected: {found:#?} {expected:#?}");
    }
    assert_eq!(lines::unproven(&ran), Vec::<String>::new());
    assert_eq!(ran.code, i32::from(!expected.is_empty()));
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn random_tables_from_14_to_16() {
    rounds(14, 16, 1).await;
}

#[tokio::test]
async fn random_tables_from_15_to_18() {
    rounds(15, 18, 3).await;
}

#[tokio::test]
async fn every_value_is_one_of_its_type() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("leaves").await.unwrap();
    database.both(leaves::EXTENSIONS).await.unwrap();
    let mut refused = Vec::new();
    for leaf in leaves::LEAVES.iter().filter(|leaf| leaf.since <= 14) {
        let values = leaf.values.iter().map(|value| types::literal(value));
        let checks = values.chain(leaf.expressions.iter().map(|sql| format!("({sql})")));
        for value in checks.chain(leaf.ordered.then(|| "NULL".to_owned())) {
            let ordering = if leaf.ordered { " ORDER BY v" } else { "" };
            let check = format!(
                "CREATE TABLE t (v {}); INSERT INTO t VALUES ({value}); TABLE t{ordering}; DROP TABLE t",
                leaf.sql
            );
            refused.extend(
                database
                    .publisher
                    .sql(&check)
                    .await
                    .err()
                    .map(|error| format!("{} {value}: {error}", leaf.sql).chars().take(150).collect::<String>()),
            );
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
    database.assert_nothing_left().await;
}
