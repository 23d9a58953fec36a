//! What each missing privilege costs a live verify, and that nothing of it outlives its client.

#![allow(clippy::print_stdout)] // Figures for who reads the test's output.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use triplecheck_testbed::{Load, LoadOptions, Pair, PairOptions, Replicated, ServerOptions, shared_pair};

use crate::harness::{Ran, Running, Verify, wait_for};
use crate::proxy::Proxy;
use crate::slow;
use crate::staged::{Stalled, before_replay, before_snapshot, orders, stall_commits, unstall};

const LIVE: &str = "--gate live --scope published --jobs 2 --lag-timeout 60s";
/// How long anything may remain on a server after the client was killed.
const GONE_AFTER_KILL: Duration = Duration::from_secs(30);
/// The same after its network was cut.
const GONE_AFTER_CUT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// What the role may do that has everything the exact level needs, on the publisher and on the subscriber.
const MINIMUM: [&[&str]; 2] = [
    &["ALTER ROLE $ROLE REPLICATION", "GRANT pg_monitor TO $ROLE", "GRANT pg_read_all_data TO $ROLE"],
    &[
        "GRANT pg_monitor TO $ROLE",
        "GRANT pg_read_all_data TO $ROLE",
        "GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO $ROLE",
    ],
];

/// A light write load, whose rows hold still for a while now and then.
async fn writes(database: &Replicated) -> Load {
    let statements = [
        "UPDATE orders SET note = clock_timestamp()::text WHERE id = 1 + floor(random() * 100)::int",
        "INSERT INTO orders VALUES (1000 + floor(random() * 1e8)::int, 'new') ON CONFLICT DO NOTHING",
        "DELETE FROM orders WHERE id = (SELECT max(id) FROM orders WHERE id > 1000)",
    ];
    let options =
        LoadOptions { clients: 2, rate_per_second: Some(60.0), statements: statements.map(str::to_owned).into() };
    Load::start(&database.publisher, options).await.unwrap()
}

/// A role with the minimum but what a missing word stands for; verifies under load, first with both sides equal, then with
/// one row damaged. Returns the reports of the verifies that matched, one at least.
async fn without(database: &Replicated, missing: &str) -> Vec<Ran> {
    let role = format!("lacks_{}", database.publisher.name());
    for (side, grants) in [&database.publisher, &database.subscriber].into_iter().zip(MINIMUM) {
        side.sql(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
        for grant in grants.iter().filter(|grant| missing.is_empty() || !grant.contains(missing)) {
            side.sql(&grant.replace("$ROLE", &role)).await.unwrap();
        }
    }
    let load = writes(database).await;
    let verify =
        || Verify::between(&database.publisher.conninfo_as(&role), &database.subscriber.conninfo_as(&role)).args(LIVE);
    let mut matched = Vec::new();
    for _ in 0..6 {
        let ran = verify().run().await;
        assert!(matches!(ran.code, 0 | 3), "a false difference without {missing}: {ran:#?}");
        if ran.code == 0 {
            matched.push(ran);
        }
    }
    assert!(!matched.is_empty(), "never settled without {missing}");
    database.subscriber.sql("UPDATE orders SET note = '' WHERE id = 150").await.unwrap();
    let ran = verify().run().await;
    assert_eq!(ran.code, 1, "{ran:#?}");
    let samples = ran.table("orders")["checks"]["rows"]["samples"].as_array().unwrap();
    let keys: Vec<_> = samples.iter().map(|sample| (&sample["kind"], &sample["key"]["id"])).collect();
    assert_eq!(keys, [(&"changed".into(), &"150".into())], "{ran:#?}");
    let written = load.stop().await.unwrap();
    assert!(written.transactions > 50 && written.errors == 0, "{written:?}");
    database.assert_nothing_left().await;
    database.both(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    matched
}

#[track_caller]
fn assert_proof(reports: &[Ran], proof: &str, hint: &str) {
    for ran in reports {
        let found = ran.json["sync_points"][0]["proof"].as_str().unwrap();
        assert!(found.starts_with(proof), "{found} is not {proof}: {ran:#?}");
        assert!(ran.json.to_string().contains(hint), "nothing says {hint}: {ran:#?}");
    }
}

async fn shared_orders(label: &str) -> Replicated {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    orders(&lease, label, "").await
}

#[tokio::test]
async fn with_the_minimum_it_is_exact() {
    let reports = without(&shared_orders("minimum").await, "").await;
    assert_eq!(reports.len(), 6, "{reports:#?}");
    assert_proof(&reports, "exact: ", "");
}

#[tokio::test]
async fn without_replication_it_is_settled_by_recheck() {
    let reports = without(&shared_orders("no_replication").await, "REPLICATION").await;
    assert_proof(&reports, "settled by recheck", "REPLICATION");
}

#[tokio::test]
async fn without_pg_monitor_it_is_exact() {
    let reports = without(&shared_orders("no_monitor").await, "pg_monitor").await;
    assert_eq!(reports.len(), 6, "{reports:#?}");
    assert_proof(&reports, "exact: ", "pg_monitor");
}

#[tokio::test]
async fn without_the_origin_function_it_is_a_candidate_cut() {
    let reports = without(&shared_orders("no_origin").await, "pg_replication_origin_progress").await;
    assert_eq!(reports.len(), 6, "{reports:#?}");
    assert_proof(&reports, "exact: ", "pg_replication_origin_progress");
    let cut = |ran: &Ran| ran.json["sync_points"][0]["proof"].as_str().unwrap().starts_with("exact: candidate cut");
    assert!(reports.iter().any(cut), "{reports:#?}");
}

#[tokio::test]
async fn without_a_free_slot_it_is_settled_by_recheck() {
    let settings = vec![("max_replication_slots".to_owned(), "6".to_owned())];
    let options =
        PairOptions { publisher: ServerOptions { settings, ..ServerOptions::default() }, ..PairOptions::default() };
    let pair = Pair::start(14, 16, options).await.unwrap();
    let database = orders(&pair, "no_slot", "").await;
    let mut taken = 0;
    while database
        .publisher
        .value(&format!("SELECT pg_create_physical_replication_slot('taken_{taken}')"))
        .await
        .is_ok()
    {
        taken += 1;
    }
    assert!(taken > 0);
    let reports = without(&database, "").await;
    assert_proof(&reports, "settled by recheck", "max_replication_slots");
}

/// Waits until nothing of triplecheck is on either server, and returns how long that took.
async fn gone(database: &Replicated, within: Duration, phase: &str) -> Duration {
    let begun = Instant::now();
    loop {
        let left = database.leftovers().await.unwrap();
        if left.is_empty() {
            println!("after {phase}: gone in {:.1} s", begun.elapsed().as_secs_f64());
            return begun.elapsed();
        }
        assert!(begun.elapsed() < within, "after {phase}: {left:#?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Where a verify is when its client goes.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Connecting,
    Slot,
    Gate,
    Decoding,
    Scanning,
}

/// A verify in its phase, and what keeps it there.
struct Held {
    running: Running,
    holder: Option<Client>,
    stalled: Option<Stalled>,
}

impl Held {
    /// Kills it and waits for its end.
    async fn kill(self, pair: &Pair, database: &Replicated, within: Duration, what: &str) {
        self.running.signal("KILL").await;
        assert_eq!(self.running.printed().await.code, None);
        gone(database, within, what).await;
        drop(self.holder);
        if let Some(stalled) = self.stalled {
            unstall(&database.publisher, stalled).await;
            stall_commits(&pair.publisher, false).await;
        }
    }
}

/// A verify of a database that is big enough for every phase to last.
async fn in_phase(pair: &Pair, database: &Replicated, phase: Phase, proxies: &[Proxy; 2]) -> Held {
    let publisher = proxies[0].conninfo(&database.publisher, "postgres");
    let subscriber = proxies[1].conninfo(&database.subscriber, "postgres");
    let verify = Verify::between(&publisher, &subscriber).args("--gate live --jobs 2 --lag-timeout 60s");
    match phase {
        Phase::Connecting => {
            let running = verify.start();
            let ours = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'triplecheck%'";
            wait_for(&database.publisher, ours, "t").await;
            Held { running, holder: None, stalled: None }
        }
        Phase::Slot => {
            let before = before_snapshot(pair, database, "small", verify).await;
            Held { running: before.running, holder: None, stalled: Some(before.stalled) }
        }
        Phase::Gate => {
            let (running, holder) = before_replay(pair, database, "small", verify).await;
            Held { running, holder: Some(holder), stalled: None }
        }
        Phase::Decoding => {
            let (running, holder) = before_replay(pair, database, "small", verify).await;
            let many = "UPDATE small SET note = 'held'; INSERT INTO small SELECT i, 'held' FROM generate_series(2001, 300000) i";
            // S, which is cut off until then, contains all of it.
            proxies[1].hold();
            database.publisher.sql(many).await.unwrap();
            holder.batch_execute("COMMIT").await.unwrap();
            database.catch_up().await.unwrap();
            proxies[1].release();
            let decoding = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                            AND application_name = 'triplecheck/slot' AND query LIKE '%pg_logical_slot_get%'";
            wait_for(&database.publisher, decoding, "t").await;
            Held { running, holder: None, stalled: None }
        }
        Phase::Scanning => {
            let running = verify.start();
            slow::wait_until_scanning(&database.publisher).await;
            Held { running, holder: None, stalled: None }
        }
    }
}

async fn servers() -> Pair {
    Pair::start(14, 16, PairOptions::default()).await.unwrap()
}

#[tokio::test]
async fn killed_in_any_phase_it_leaves_nothing() {
    let pair = servers().await;
    let database = pair.database("killed_live").await.unwrap();
    slow::create(&database, 25_000).await;
    for phase in [Phase::Connecting, Phase::Slot, Phase::Gate, Phase::Scanning, Phase::Decoding] {
        let proxies = [&database.publisher, &database.subscriber].map(Proxy::before);
        let held = in_phase(&pair, &database, phase, &proxies).await;
        held.kill(&pair, &database, GONE_AFTER_KILL, &format!("a kill in phase {phase:?}")).await;
    }
    database.catch_up().await.unwrap();
    Verify::new(&database).args(LIVE).run().await.assert_code(0);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn cut_off_from_its_servers_it_leaves_nothing() {
    let pair = servers().await;
    let mut cut = Vec::new();
    for phase in [Phase::Gate, Phase::Decoding, Phase::Scanning] {
        let database = pair.database("cut_off").await.unwrap();
        slow::create(&database, 25_000).await;
        let proxies = [&database.publisher, &database.subscriber].map(Proxy::before);
        let held = in_phase(&pair, &database, phase, &proxies).await;
        proxies.iter().for_each(Proxy::hold);
        cut.push((phase, database, proxies, held, Instant::now()));
    }
    // The client is still there, and cannot tell anybody anything.
    for (phase, database, _proxies, held, since) in cut {
        let left = GONE_AFTER_CUT.saturating_sub(since.elapsed());
        gone(&database, left, &format!("a cut in phase {phase:?}")).await;
        held.kill(&pair, &database, GONE_AFTER_KILL, "the end of the client").await;
        database.drop().await.unwrap();
    }
}
