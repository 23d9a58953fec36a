//! A bulk write between the two snapshots: it is too much to be held, and only its own table waits for it.

use triplecheck_testbed::ReplicateOptions;

use crate::harness::Ran;
use crate::lines;
use crate::proxy::Proxy;
use crate::staged::{between_snapshots, servers};

const SCHEMA: &str = "CREATE TABLE held (id int PRIMARY KEY); CREATE TABLE small (id int PRIMARY KEY, v text); \
     CREATE TABLE big (id int PRIMARY KEY, v text); CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); \
     CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (30000); CREATE TABLE high PARTITION OF parts FOR VALUES FROM (30000) TO (90000)";
const FILL: &str = "INSERT INTO small SELECT i, 'small ' || i FROM generate_series(1, 200) i; \
     INSERT INTO big SELECT i, repeat('x', 150) FROM generate_series(1, 80000) i; \
     INSERT INTO parts SELECT i, repeat('x', 150) FROM generate_series(1, 80000) i";

/// The sync points at which a table was read.
#[track_caller]
fn points(ran: &Ran, table: &str) -> Vec<u64> {
    lines::array(&lines::table(ran, table)["sync_points"]).iter().map(|id| id.as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_table_that_fills_the_window_is_begun_anew_and_the_others_are_judged() {
    let pair = servers().await;
    let database = pair.database("bulk").await.unwrap();
    database.both(SCHEMA).await.unwrap();
    database.publisher.sql(FILL).await.unwrap();
    let options = ReplicateOptions {
        publication_with: "publish_via_partition_root = true".to_owned(),
        ..ReplicateOptions::default()
    };
    database.replicate(options).await.unwrap();
    let proxy = Proxy::before(&database.subscriber);
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    // About 25 MB of images each, in one transaction and in several, and what else may happen to a table that was dropped from
    // the window.
    let bulk = [
        "UPDATE small SET v = v || '!' WHERE id < 50; UPDATE big SET v = v || 'y'; DELETE FROM small WHERE id = 60",
        "UPDATE parts SET v = v || 'y' WHERE id < 40000",
        "UPDATE parts SET v = v || 'y' WHERE id >= 40000",
        "UPDATE big SET id = id + 100000 WHERE id < 10; DELETE FROM big WHERE id = 20; INSERT INTO small VALUES (1000, 'new')",
    ];
    for statements in bulk {
        database.publisher.sql(statements).await.unwrap();
    }
    database.catch_up().await.unwrap();
    let damage = "UPDATE small SET v = 'damaged' WHERE id IN (5, 150); DELETE FROM big WHERE id = 77; \
         UPDATE parts SET v = 'damaged' WHERE id = 50000";
    database.subscriber.sql(damage).await.unwrap();
    proxy.release();
    let ran = running.finish().await;
    assert_eq!(lines::unproven(&ran), Vec::<String>::new(), "{ran:#?}");
    assert_eq!(
        lines::differences(&ran),
        ["big missing id=77", "parts changed id=50000 [v]", "small changed id=150 [v]", "small changed id=5 [v]"],
        "{ran:#?}"
    );
    assert_eq!(
        ["held", "small", "big", "parts"].map(|table| points(&ran, table)),
        [vec![1], vec![1], vec![2], vec![2]],
        "{ran:#?}"
    );
    database.assert_nothing_left().await;
}
