//! Connections that are lost, results that cannot be written, runs that are interrupted: the exit code of every command.

use std::time::Duration;

use serde_json::Value;
use triplecheck_testbed::{Database, Lease, ReplicateOptions, Replicated, shared_pair};

use crate::harness::{Ran, Verify, wait_for};

/// What a session still does after it has its name.
const SETTLED: Duration = Duration::from_millis(500);

/// Ten rows and a sequence, which is behind on the subscriber.
async fn orders(lease: &Lease, label: &str) -> Replicated {
    let database = lease.database(label).await.unwrap();
    database.both("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)").await.unwrap();
    database.publisher.sql("INSERT INTO orders (note) SELECT 'n' FROM generate_series(1, 10)").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database
}

/// Ends the session of this name once it is there.
async fn terminate(side: &Database, name: &str) {
    let sessions =
        format!("FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'triplecheck/{name}'");
    wait_for(side, &format!("SELECT count(*) {sessions}"), "1").await;
    tokio::time::sleep(SETTLED).await;
    assert_eq!(side.value(&format!("SELECT count(pg_terminate_backend(pid)) {sessions}")).await.unwrap(), "1");
}

/// It ended without a result, and says why.
#[track_caller]
fn assert_lost(ran: &Ran) {
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert_eq!(ran.json["error"]["code"], "connection_lost", "{ran:#?}");
}

/// Waits until somebody waits for the lock on `orders`.
async fn waits(side: &Database) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass";
    wait_for(side, waiting, "1").await;
}

#[tokio::test]
async fn a_session_that_is_lost_for_good_is_no_usage_error() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lost_for_good").await;
    let preflight = Verify::new(&database).preflight_for("20s").start();
    terminate(&database.publisher, "preflight").await;
    let (preflight, ()) = tokio::join!(preflight.finish(), async {
        let lag = Verify::new(&database).lag().args("--interval 10s").start();
        terminate(&database.publisher, "control").await;
        assert_lost(&lag.finish().await);
        let lag = Verify::new(&database).lag().args("--interval 3s").start();
        terminate(&database.subscriber, "control").await;
        assert_lost(&lag.finish().await);
    });
    assert_lost(&preflight);

    let holder = database.subscriber.connect().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let sequences = Verify::new(&database).sequences().start();
    waits(&database.subscriber).await;
    terminate(&database.subscriber, "scan 1").await;
    assert_lost(&sequences.finish().await);
    holder.batch_execute("ROLLBACK").await.unwrap();
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_watch_goes_on_with_new_sessions() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "lost_watch").await;
    let watch = Verify::new(&database).lag().args("--watch --interval 1s").start();
    terminate(&database.publisher, "control").await;
    terminate(&database.subscriber, "control").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    watch.signal("TERM").await;
    let printed = watch.printed().await;
    assert_eq!(printed.code, Some(143), "{printed:#?}");
    let looks: Vec<Value> = printed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(looks.len() >= 3 && looks.iter().all(|look| look["exit_code"] == 0), "{printed:#?}");
    assert!(printed.stderr.contains("a session was lost"), "{printed:#?}");
    database.assert_nothing_left().await;
}

/// The command that a run is turned into.
type As = fn(Verify) -> Verify;

/// Nobody knows what came out: that is neither a match nor a difference.
#[tokio::test]
async fn a_stdout_that_takes_nothing_is_3_for_every_command() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "full_disk").await;
    let run = || Verify::new(&database);
    let commands: [(&str, As, i32); 8] = [
        ("verify, which matches", |verify| verify.args("--checks count,rows"), 0),
        ("verify, which differs", |verify| verify.args("--gate none"), 1),
        ("plan", Verify::plan, 0),
        ("preflight", Verify::preflight, 1),
        ("sequences, which differ", Verify::sequences, 1),
        ("sequences, which are the same", |verify| verify.sequences().args("-T orders_id_seq"), 0),
        ("lag", |verify| verify.lag().args("--until-zero 30s"), 0),
        ("lag --watch", |verify| verify.lag().args("--watch --interval 1s"), 0),
    ];
    database.subscriber.sql("CREATE SEQUENCE other").await.unwrap();
    database.publisher.sql("CREATE SEQUENCE other").await.unwrap();
    for (what, command, code) in commands {
        if !what.ends_with("--watch") {
            let seen = command(run()).run().await;
            assert_eq!(seen.code, code, "{what}: {seen:#?}");
        }
        let unseen = command(run()).into_a_full_disk().await;
        assert_eq!(unseen.code, Some(3), "{what}: {unseen:#?}");
        assert!(unseen.stderr.contains("cannot write the result to stdout"), "{what}: {unseen:#?}");
    }
    for flag in ["--help", "--version"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_triplecheck"));
        assert_eq!(command.arg(flag).stdout(full).status().await.unwrap().code(), Some(3), "{flag}");
    }
    database.assert_nothing_left().await;
}

/// They have no result before they have all of it.
#[tokio::test]
async fn interrupted_preflight_and_sequences_write_the_error_document() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = orders(&lease, "interrupted").await;
    let holder = database.publisher.connect().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let sequences = Verify::new(&database).sequences().start();
    waits(&database.publisher).await;
    sequences.signal("INT").await;
    let sequences = sequences.finish().await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    let preflight = Verify::new(&database).preflight_for("20s").start();
    let there = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND application_name = 'triplecheck/preflight'";
    wait_for(&database.publisher, there, "1").await;
    preflight.signal("TERM").await;
    let preflight = preflight.finish().await;
    for (ran, code) in [(&sequences, 130), (&preflight, 143)] {
        assert_eq!(ran.code, code, "{ran:#?}");
        assert_eq!(ran.json["error"]["code"], "interrupted", "{ran:#?}");
        assert_eq!(ran.json.as_object().unwrap().len(), 2, "{ran:#?}");
    }
    database.assert_nothing_left().await;
}
