//! Every defect of the runbook is reported, with a remedy that clears it.

use triplecheck_testbed::{ReplicateOptions, shared_pair};

use crate::harness::Verify;

#[tokio::test]
async fn look() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("preflight").await.unwrap();
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    database.both("CREATE UNLOGGED TABLE scratch (id bigint PRIMARY KEY, note text)").await.unwrap();
    database.both("CREATE TABLE log (note text)").await.unwrap();
    database.both("CREATE SEQUENCE s").await.unwrap();
    database.publisher.sql("INSERT INTO orders SELECT g, g FROM generate_series(1, 100) g").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let ran = Verify::new(&database).preflight().text().await;
    println!("{}\n{}", ran.stdout, ran.stderr);
    let ran = Verify::week_ahead(&database.publisher.conninfo()).text().await;
    println!("{}\n{}", ran.stdout, ran.stderr);
    database.assert_nothing_left().await;
}
