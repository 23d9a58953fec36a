//! What tried to slip through.

use std::time::Duration;

use triplecheck_testbed::{ReplicateOptions, shared_pair};

use crate::harness::Verify;

#[tokio::test]
async fn a_column_that_comes_while_the_sync_point_is_waited_for_is_compared() {
    let lease = shared_pair(14, 16).exclusive().await.unwrap();
    let database = lease.database("late column").await.unwrap();
    database.both("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE w (id int PRIMARY KEY)").await.unwrap();
    database.publisher.sql("INSERT INTO t SELECT generate_series(1, 100)").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let writer = database.publisher.connect().await.unwrap();
    writer.batch_execute("BEGIN; INSERT INTO w VALUES (1000)").await.unwrap();
    let verify = tokio::spawn(Verify::new(&database).args("--gate quiesced").run());
    // The catalog has been read by then, and the gate waits for the writer.
    tokio::time::sleep(Duration::from_secs(3)).await;
    database.both("ALTER TABLE t ADD COLUMN late int").await.unwrap();
    database.subscriber.sql("UPDATE t SET late = 7 WHERE id = 50").await.unwrap();
    writer.batch_execute("ROLLBACK").await.unwrap();
    let outcome = verify.await.unwrap();
    assert_eq!(outcome.code, 1, "{outcome:#?}");
    let sample = &outcome.json["tables"][0]["checks"]["rows"]["samples"][0];
    assert_eq!((&sample["key"]["id"], &sample["columns"][0]), (&"50".into(), &"late".into()), "{outcome:#?}");
}

#[tokio::test]
async fn a_published_root_without_partitions_matches() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("bare root").await.unwrap();
    database.both("CREATE TABLE r (id int PRIMARY KEY) PARTITION BY RANGE (id)").await.unwrap();
    let options =
        ReplicateOptions { publication_with: "publish_via_partition_root".to_owned(), ..ReplicateOptions::default() };
    database.replicate(options).await.unwrap();
    let outcome = Verify::new(&database).run().await;
    assert_eq!(outcome.code, 0, "{outcome:#?}");
}
