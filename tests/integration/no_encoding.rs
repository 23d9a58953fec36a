//! Databases without an encoding (SQL_ASCII): their texts need not be UTF-8, and nothing may rest on how such a text is shown.

use triplecheck_testbed::ReplicateOptions;

use crate::harness::{Verify, wait_for};
use crate::lines;
use crate::roles::{self, Level};
use crate::staged::{servers, stall_commits, stalled, unstall};

const ASCII: &str = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
const SCHEMA: &str = "CREATE TABLE held (id int PRIMARY KEY); CREATE TABLE odd (k text PRIMARY KEY, v int); \
     CREATE TABLE still (k text PRIMARY KEY, v int); CREATE TABLE even (k text PRIMARY KEY, v int, c char(2)); \
     CREATE TABLE bag (k text, v int); ALTER TABLE bag REPLICA IDENTITY FULL";
const FILL: &str = r"INSERT INTO odd SELECT i::text, 0 FROM generate_series(1, 100) i; INSERT INTO odd VALUES (E'\344', 0);
     INSERT INTO still SELECT * FROM odd; INSERT INTO even SELECT i::text, 0, E'\344' FROM generate_series(1, 100) i;
     INSERT INTO bag SELECT E'\344', i % 10 FROM generate_series(1, 100) i";
/// The subscriber's snapshot is there, and has been for a while.
const KEPT: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' \
     AND application_name = 'triplecheck/snapshot' AND xact_start < clock_timestamp() - interval '0.7 s'";

/// Without a slot, rows that change between the snapshots are looked up by their keys. One that is not UTF-8 finds nothing.
#[tokio::test]
async fn rows_that_change_and_have_keys_that_are_not_utf_8() {
    let pair = servers().await;
    let database = pair.database_with("no_encoding", ASCII, ASCII).await.unwrap();
    database.both(SCHEMA).await.unwrap();
    database.publisher.sql(FILL).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let role = roles::create(&database, Level::Recheck).await;
    let verify = || {
        Verify::between(&database.publisher.conninfo_as(&role), &database.subscriber.conninfo_as(&role))
            .args("--gate live --scope published --jobs 2 --lag-timeout 60s")
    };

    // The publisher's snapshot has to show a transaction that is stalled in its commit, so that it comes after these writes, and
    // the subscriber's has come before.
    stall_commits(&pair.publisher, true).await;
    let holder = stalled(&database.publisher, "INSERT INTO held VALUES (1)", 0).await;
    let running = verify().start();
    wait_for(&database.subscriber, KEPT, "1").await;
    let writes = r"SET synchronous_commit = local; UPDATE odd SET v = 1 WHERE k = E'\344'; UPDATE even SET v = 1 WHERE k = '7';
         INSERT INTO bag VALUES (E'\344', 3)";
    database.publisher.sql(writes).await.unwrap();
    unstall(&database.publisher, holder).await;
    stall_commits(&pair.publisher, false).await;
    let ran = running.finish().await;
    assert_eq!(ran.json["sync_points"][0]["proof"], "settled by recheck", "{ran:#?}");
    assert_eq!(lines::differences(&ran), Vec::<String>::new(), "{ran:#?}");
    assert_eq!(lines::unproven(&ran), ["bag unsupported", "odd unsupported"], "{ran:#?}");
    ran.assert_code(3);
    for table in ["bag", "odd"] {
        let message = lines::table(&ran, table)["message"].as_str().unwrap();
        for part in [table, "publisher", "UTF-8", "--gate quiesced"] {
            assert!(message.contains(part), "{message}");
        }
    }

    // At a moment without writes they are compared like any others.
    database.catch_up().await.unwrap();
    let ran = verify().run().await;
    assert_eq!((ran.code, lines::unproven(&ran)), (0, Vec::new()), "{ran:#?}");
    // Different bytes that are shown alike, in a type that calls some values equal that are written differently.
    database.subscriber.sql(r"UPDATE even SET c = E'\345' WHERE k = '9'").await.unwrap();
    database.subscriber.sql(r"UPDATE odd SET v = 2 WHERE k = E'\344'").await.unwrap();
    let ran = verify().arg("--checks").arg("rows").run().await;
    assert_eq!(lines::differences(&ran), ["even changed k=9 [c]", "odd changed k=\u{fffd} [v]"], "{ran:#?}");
    database.assert_nothing_left().await;
    roles::drop(&database, &role).await;
}
