//! Causes of a lag that take a network that goes silent, or transactions that stay open.

use std::time::Duration;

use serde_json::Value;
use triplecheck_testbed::{Pair, PairOptions, ReplicateOptions, Replicated, ServerOptions, shared_pair};

use crate::harness::{Ran, Verify, wait_for};
use crate::lag::{causes, causes_in_turn, one, text, watched};
use crate::proxy::Proxy;

fn server(setting: &str, value: &str) -> ServerOptions {
    ServerOptions { settings: vec![(setting.to_owned(), value.to_owned())], ..ServerOptions::default() }
}

async fn orders(database: &Replicated) {
    database.both("CREATE TABLE orders (id bigint PRIMARY KEY, note text)").await.unwrap();
    database.publisher.sql("INSERT INTO orders SELECT i, 'n' FROM generate_series(1, 20) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
}

/// Makes the worker reach the publisher through a proxy.
async fn through(proxy: &Proxy, database: &Replicated) {
    let name = database.subscription_name();
    let way = proxy.conninfo(&database.publisher, "postgres");
    database.subscriber.sql(&format!("ALTER SUBSCRIPTION {name} CONNECTION '{way}'")).await.unwrap();
    // Over a unix socket it has no address.
    let senders = format!(
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = '{name}' AND client_addr IS NOT NULL \
         AND state = 'streaming'"
    );
    wait_for(&database.publisher, &senders, "1").await;
}

/// Nothing passes any more, and nobody closes anything: first the worker hears nothing, then the next one cannot even
/// connect.
#[tokio::test]
async fn a_network_that_goes_silent() {
    let options = PairOptions {
        publisher: server("wal_sender_timeout", "15s"),
        subscriber: server("wal_receiver_timeout", "12s"),
    };
    let pair = Pair::start(14, 16, options).await.unwrap();
    let database = pair.database("lag_silent").await.unwrap();
    orders(&database).await;
    let proxy = Proxy::before(&database.publisher);
    through(&proxy, &database).await;
    let lag = || Verify::new(&database).lag().args("--interval 1s");
    lag().args("--until-zero 30s").run().await.assert_code(0);

    database.publisher.sql("INSERT INTO orders VALUES (100, 'arrives')").await.unwrap();
    database.catch_up().await.unwrap();
    proxy.hold();
    database.publisher.sql("INSERT INTO orders VALUES (101, 'does not')").await.unwrap();
    let looks = watched(lag(), async {
        tokio::time::sleep(Duration::from_millis(9_500)).await;
        let preflight = Verify::new(&database).preflight().run().await;
        let check = preflight.check("subscription_worker", &database.subscription_name());
        assert_eq!(
            (&check["status"], &check["threshold"]),
            (&"fix".into(), &"something heard within 9.0 s".into()),
            "{check:#}"
        );
        assert!(
            text(check, "evidence").contains("last heard of the publisher ")
                && text(check, "remedy").contains("network"),
            "{check:#}"
        );
        let inactive = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{}'", database.slot_name());
        wait_for(&database.publisher, &inactive, "f").await;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    })
    .await;
    let in_turn = causes_in_turn(&looks);
    assert!(in_turn.contains(&vec!["error network_silence".to_owned()]), "{in_turn:#?}");
    let last = ["error apply_errors", "error network_silence", "info slot_inactive"];
    assert_eq!(in_turn.last().unwrap(), &last, "{in_turn:#?}");
    let evidence: Vec<_> = looks
        .iter()
        .flat_map(|look| look["subscriptions"][0]["causes"].as_array().unwrap())
        .filter(|cause| cause["code"] == "network_silence")
        .map(|cause| {
            assert!(text(cause, "remedy").starts_with("check the network between the two"), "{cause}");
            text(cause, "evidence")
        })
        .collect();
    assert!(evidence[0].contains(" has not heard from the publisher for "), "{evidence:#?}");
    assert!(evidence.last().unwrap().contains(" has not heard from the publisher since it started"), "{evidence:#?}");

    // Once the network is back, so is replication.
    proxy.release();
    let ran = lag().args("--until-zero 60s").run().await;
    ran.assert_code(0);
    assert_eq!(database.subscriber.value("SELECT note FROM orders WHERE id = 101").await.unwrap(), "does not");
    database.assert_nothing_left().await;
}

/// Causes on the publisher hold up every subscription.
fn of_publisher(ran: &Ran) -> Vec<&Value> {
    ran.json["causes"].as_array().unwrap().iter().collect()
}

/// It keeps WAL from its beginning on, however much is written and applied meanwhile.
#[tokio::test]
async fn a_long_transaction_on_the_publisher() {
    let lease = shared_pair(14, 16).exclusive().await.unwrap();
    let database = lease.database("lag_long").await.unwrap();
    orders(&database).await;
    let publisher = &database.publisher;
    let lag = || Verify::new(&database).lag().args("--interval 1s");
    let open = publisher.connect().await.unwrap();
    let pid = open.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    open.batch_execute("BEGIN; INSERT INTO orders SELECT i, repeat('w', 500) FROM generate_series(10001, 50000) i")
        .await
        .unwrap();
    publisher.sql("INSERT INTO orders VALUES (100, 'meanwhile'); CHECKPOINT").await.unwrap();
    database.catch_up().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let ran = lag().args("--long-transaction 1s --retained 10MB").run().await;
    // What others write arrives; the WAL piles up.
    ran.assert_code(1);
    assert_eq!(database.subscriber.value("SELECT note FROM orders WHERE id = 100").await.unwrap(), "meanwhile");
    let subscription = one(&ran);
    assert_eq!((&subscription["level"], &subscription["retained_alarm"]), (&"good".into(), &true.into()), "{ran:#?}");
    assert!(subscription["retained_bytes"].as_u64().unwrap() > 20_000_000, "{ran:#?}");
    let [cause] = of_publisher(&ran)[..] else { panic!("{ran:#?}") };
    assert_eq!((text(cause, "code"), text(cause, "severity")), ("long_transaction", "warning"));
    let evidence = text(cause, "evidence");
    assert!(evidence.contains(&format!("process {pid} (idle in transaction for ")), "{evidence}");
    assert!(text(cause, "remedy").starts_with("end it"), "{cause}");
    let printed = lag().args("--long-transaction 1s").text().await;
    assert!(printed.stdout.contains("long_transaction: ") && printed.stdout.contains(&pid.to_string()), "{printed:#?}");
    // Before a minute has passed, it is nothing to talk about.
    assert!(of_publisher(&lag().run().await).is_empty());
    open.batch_execute("COMMIT").await.unwrap();
    let ran = lag().args("--long-transaction 1s --until-zero 60s").run().await;
    ran.assert_code(0);
    assert!(of_publisher(&ran).is_empty(), "{ran:#?}");
    assert_eq!(database.subscriber.value("SELECT count(*) FROM orders").await.unwrap(), "40021");

    let gid = format!("prepared by {}", publisher.name());
    publisher
        .sql(&format!("BEGIN; INSERT INTO orders VALUES (101, 'prepared'); PREPARE TRANSACTION '{gid}'"))
        .await
        .unwrap();
    let ran = lag().run().await;
    let [cause] = of_publisher(&ran)[..] else { panic!("{ran:#?}") };
    assert_eq!((text(cause, "code"), text(cause, "severity")), ("prepared_transaction", "warning"));
    assert!(text(cause, "evidence").contains(&gid), "{cause}");
    publisher.sql(&format!("ROLLBACK PREPARED '{gid}'")).await.unwrap();
    let ran = lag().args("--until-zero 30s").run().await;
    ran.assert_code(0);
    assert!(of_publisher(&ran).is_empty() && causes(one(&ran)).is_empty(), "{ran:#?}");
    database.assert_nothing_left().await;
}
