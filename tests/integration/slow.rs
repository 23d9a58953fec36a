//! A table that keeps a scan session busy for seconds with little data: exact sums of floats go through their texts, so
//! that the witnesses of a table with hundreds of float columns take long, and its rows do not.

use triplecheck_testbed::{Database, ReplicateOptions, Replicated};

use crate::harness::wait_for;

const COLUMNS: u32 = 200;

/// The sessions that hold a user table of this database at the moment.
pub(crate) const SCANNING: &str = "pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'triplecheck/scan %' \
     AND state = 'active' AND query LIKE 'SELECT count(*), sum(%'";

/// SQL that creates `slow`, empty.
fn schema() -> String {
    let columns: Vec<_> = (0..COLUMNS).map(|column| format!("f{column} float8")).collect();
    format!("CREATE TABLE slow (id int PRIMARY KEY, {})", columns.join(", "))
}

/// Makes `slow` with this many rows (of 1.6 kB) and `small` with 500, replicated.
pub(crate) async fn create(database: &Replicated, rows: u32) {
    database.both(&schema()).await.unwrap();
    database.both("CREATE TABLE small (id int PRIMARY KEY, note text)").await.unwrap();
    let values: Vec<_> = (0..COLUMNS).map(|column| format!("i / {column}.7")).collect();
    let fill = format!("INSERT INTO slow SELECT i, {} FROM generate_series(1, {rows}) i", values.join(", "));
    database.publisher.sql(&fill).await.unwrap();
    database.publisher.sql("INSERT INTO small SELECT i, 'n' || i FROM generate_series(1, 500) i").await.unwrap();
    database.publisher.sql("ANALYZE slow, small").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
}

/// Waits until a scan session is busy with the witnesses of `slow` on this side.
pub(crate) async fn wait_until_scanning(side: &Database) {
    wait_for(side, &format!("SELECT count(*) > 0 FROM {SCANNING}"), "t").await;
}
