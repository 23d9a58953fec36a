//! What each missing privilege costs a live verify.

use triplecheck_testbed::{Load, LoadOptions, Pair, PairOptions, Replicated, ServerOptions, shared_pair};

use crate::harness::{Ran, Verify};
use crate::staged::orders;

const LIVE: &str = "--gate live --scope published --jobs 2 --lag-timeout 60s";
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
        LoadOptions { clients: 2, rate_per_second: Some(200.0), statements: statements.map(str::to_owned).into() };
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

/// Settled by recheck, or better: now and then nobody writes for long enough.
#[track_caller]
fn assert_settled(reports: &[Ran], hint: &str) {
    let (still, rechecked): (Vec<_>, Vec<_>) = reports.iter().partition(|ran| {
        ran.json["sync_points"][0]["proof"].as_str().is_some_and(|proof| proof.starts_with("quiesced: "))
    });
    assert!(!rechecked.is_empty(), "never rechecked: {still:#?}");
    for ran in rechecked {
        assert_eq!(ran.json["sync_points"][0]["proof"], "settled by recheck", "{ran:#?}");
        assert!(ran.json.to_string().contains(hint), "nothing says {hint}: {ran:#?}");
    }
}

#[tokio::test]
async fn without_replication_it_is_settled_by_recheck() {
    let reports = without(&shared_orders("no_replication").await, "REPLICATION").await;
    assert_settled(&reports, "REPLICATION");
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
    assert_settled(&reports, "max_replication_slots");
}
