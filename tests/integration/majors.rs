//! The other pairs of majors: a match, a difference, and the gate on each.

use triplecheck_testbed::{ReplicateOptions, shared_pair, shop};

use crate::harness::{Verify, disable};

async fn smoke(publisher: u16, subscriber: u16) {
    let lease = shared_pair(publisher, subscriber).shared().await.unwrap();
    let database = lease.database("smoke").await.unwrap();
    shop::create(&database, 2_000).await.unwrap();
    // Of a table without a key and of partitions, too.
    let more = "CREATE TABLE events (at timestamptz, kind text);
                CREATE TABLE parts (id int PRIMARY KEY, n numeric) PARTITION BY HASH (id);
                CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1)";
    database.both(more).await.unwrap();
    let fill = "INSERT INTO events SELECT 'epoch'::timestamptz + i * interval '1.5 s', 'k' || i % 3 FROM generate_series(1, 300) i;
                INSERT INTO parts SELECT i, i / 7.0 FROM generate_series(1, 300) i";
    database.publisher.sql(fill).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let verify = || Verify::new(&database).args("--checks count,max,sum,rows --lag-timeout 30s");
    let ran = verify().run().await;
    ran.assert_code(0);
    let matching = ["events", "line_items", "orders", "parts_0", "parts_1", "transactions", "users"]
        .map(|name| format!("public.{name} match -"));
    assert_eq!(ran.tables(), matching);
    for (side, major) in [("publisher", publisher), ("subscriber", subscriber)] {
        let version = ran.json[side]["server_version"].as_str().unwrap();
        assert!(version.starts_with(&major.to_string()), "{version}");
    }

    database.publisher.sql("UPDATE orders SET note = 'later' WHERE id = 3").await.unwrap();
    let damage = "DELETE FROM line_items WHERE order_id = 8 AND line_no = 1; UPDATE users SET name = '' WHERE id = 9;
                  INSERT INTO events VALUES ('epoch', 'extra'); UPDATE parts SET n = n + 1 WHERE id = 5";
    database.subscriber.sql(damage).await.unwrap();
    let ran = verify().run().await;
    ran.assert_code(1);
    let found = |name: &str| {
        let rows = &ran.table(name)["checks"]["rows"];
        ["missing", "extra", "changed"].map(|kind| rows[kind].as_u64().unwrap())
    };
    let leaf = database.publisher.value("SELECT tableoid::regclass::text FROM parts WHERE id = 5").await.unwrap();
    for name in ["events", "line_items", "orders", "parts_0", "parts_1", "transactions", "users"] {
        let expected = match name {
            "events" => [0, 1, 0],
            "line_items" => [1, 0, 0],
            "users" => [0, 0, 1],
            _ if name == leaf => [0, 0, 1],
            _ => [0, 0, 0],
        };
        assert_eq!(found(name), expected, "{name}: {ran:#?}");
    }
    let user = &ran.table("users")["checks"]["rows"]["samples"][0];
    assert_eq!((&user["key"]["id"], &user["columns"]), (&"9".into(), &serde_json::json!(["name"])));
    database.assert_nothing_left().await;

    disable(&database, &database.subscription_name(), &database.slot_name()).await;
    let ran = Verify::new(&database).args("--checks rows --lag-timeout 1s").run().await;
    ran.assert_code(3);
    let message = ran.json["gate"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("subscription {} is disabled", database.subscription_name())), "{message}");
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn from_12_to_14() {
    smoke(12, 14).await;
}

#[tokio::test]
async fn from_13_to_15() {
    smoke(13, 15).await;
}

#[tokio::test]
async fn from_17_to_18() {
    smoke(17, 18).await;
}

/// A numeric `Infinity` came with 14: the publisher cannot be asked whether it equals another number.
#[tokio::test]
async fn a_value_that_the_older_side_does_not_know() {
    let lease = shared_pair(13, 15).shared().await.unwrap();
    let database = lease.database("unknown_value").await.unwrap();
    database.both("CREATE TABLE t (id int PRIMARY KEY, n numeric)").await.unwrap();
    database.publisher.sql("INSERT INTO t SELECT i, i FROM generate_series(1, 50) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database
        .subscriber
        .sql("UPDATE t SET n = 'Infinity' WHERE id = 7; UPDATE t SET n = 8.0 WHERE id = 8")
        .await
        .unwrap();
    let ran = Verify::new(&database).args("--lag-timeout 30s").run().await;
    ran.assert_code(1);
    let rows = &ran.table("t")["checks"]["rows"];
    let mut found: Vec<_> = rows["samples"].as_array().unwrap().iter().collect();
    found.sort_by_key(|sample| sample["key"]["id"].as_str().unwrap().to_owned());
    let found: Vec<_> = found.iter().map(|sample| (&sample["key"]["id"], &sample["representation_only"])).collect();
    assert_eq!(found, [(&"7".into(), &false.into()), (&"8".into(), &true.into())]);
    let sum = &ran.table("t")["checks"]["sum"][1];
    assert_eq!((&sum["subscriber"], &sum["verdict"]), (&"Infinity".into(), &"different".into()));
    database.assert_nothing_left().await;
}
