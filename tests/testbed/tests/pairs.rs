//! Real pairs: they replicate, they are shared without collisions, they survive restarts.

use std::collections::HashSet;
use std::time::Duration;

use triplecheck_testbed::{
    Error, Load, LoadOptions, ReplicateOptions, Result, Server, ServerOptions, shared_pair, shop,
};

#[tokio::test]
async fn shop_replicates_under_load() -> Result<()> {
    let lease = shared_pair(14, 16).shared().await?;
    assert_eq!((lease.publisher.major(), lease.subscriber.major()), (14, 16));
    let db = lease.database("shop").await?;
    shop::create(&db, 10_000).await?;
    db.replicate(ReplicateOptions::default()).await?;
    let load = Load::start(
        &db.publisher,
        LoadOptions { clients: 2, rate_per_second: Some(400.0), statements: shop::write_load() },
    )
    .await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = load.stop().await?;
    assert_eq!(report.first_error, None);
    assert!((200..=800).contains(&report.transactions), "{report:?}");
    db.catch_up().await?;
    for table in ["users", "orders", "line_items", "transactions"] {
        let digest =
            format!("SELECT count(*)::text || md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} AS t");
        assert_eq!(db.publisher.value(&digest).await?, db.subscriber.value(&digest).await?, "{table}");
    }
    assert_eq!(db.publisher.value("SELECT count(*) >= 2999 FROM orders").await?, "t");
    db.assert_nothing_left().await;
    db.drop().await
}

async fn one_of_two(label: &str) -> Result<()> {
    let lease = shared_pair(15, 15).shared().await?;
    let db = lease.database(label).await?;
    db.both("CREATE TABLE t (id int PRIMARY KEY)").await?;
    db.replicate(ReplicateOptions {
        publish: "FOR TABLE t".to_owned(),
        subscription_with: "streaming = on".to_owned(),
        ..ReplicateOptions::default()
    })
    .await?;
    db.publisher.sql("INSERT INTO t SELECT generate_series(1, 1000)").await?;
    db.catch_up().await?;
    assert_eq!(db.subscriber.value("SELECT count(*) FROM t").await?, "1000");
    assert_eq!(
        lease.publisher.database(db.publisher.name()).value("SELECT current_database()").await?,
        db.publisher.name()
    );
    Ok(())
}

#[tokio::test]
async fn parallel_tests_do_not_collide_left() -> Result<()> {
    one_of_two("same label").await
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_tests_do_not_collide_right() -> Result<()> {
    one_of_two("same label").await
}

#[tokio::test]
async fn leases_restart_and_leftovers() -> Result<()> {
    let pair = shared_pair(15, 15);
    let lease = pair.exclusive().await?;
    let db = lease.database("restarts").await?;
    db.both("CREATE TABLE t (id int PRIMARY KEY)").await?;
    db.replicate(ReplicateOptions::default()).await?;
    let pid = lease.publisher.pid();
    lease.publisher.crash().await?;
    assert_eq!(lease.publisher.pid(), None);
    assert!(matches!(db.publisher.sql("SELECT 1").await, Err(Error::Connect { .. })));
    lease.publisher.start_again().await?;
    assert_ne!(lease.publisher.pid(), pid);
    lease.subscriber.restart().await?;
    db.publisher.sql("INSERT INTO t VALUES (1)").await?;
    db.catch_up().await?;
    assert_eq!(db.subscriber.rows("SELECT id, NULL FROM t").await?, [[Some("1".to_owned()), None]]);

    // What a program under test could leave behind is seen, the test bed's own sessions are not.
    let client = db.publisher.connect().await?;
    client.batch_execute("SET application_name = 'triplecheck/test'").await.expect("a setting");
    client
        .batch_execute("SELECT pg_create_logical_replication_slot('triplecheck_left', 'pgoutput', true)")
        .await
        .expect("a slot");
    let left = db.leftovers().await?;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].starts_with("publisher: temporary slot triplecheck_left of session"), "{left:?}");
    drop(client);
    db.assert_nothing_left().await;

    // The next lease starts what this one leaves stopped.
    lease.subscriber.stop().await?;
    drop(db);
    drop(lease);
    let lease = pair.shared().await?;
    assert!(lease.subscriber.pid().is_some());
    Ok(())
}

#[tokio::test]
async fn errors_name_what_failed() -> Result<()> {
    let lease = shared_pair(15, 15).shared().await?;
    let db = lease.database("errors").await?;
    let error = db.publisher.sql("SELECT  1 FROM nothing_like_this").await.expect_err("there is no such table");
    let text = error.to_string();
    assert!(
        text.contains("relation \"nothing_like_this\" does not exist (42P01)")
            && text.contains("SELECT 1 FROM nothing"),
        "{text}"
    );
    assert!(matches!(db.publisher.value("SELECT NULL").await, Err(Error::NoValue { returned: "NULL", .. })));
    let options =
        ServerOptions { settings: vec![("shared_buffers".to_owned(), "many".to_owned())], ..ServerOptions::default() };
    let text = Server::start(15, options).await.expect_err("not a number").to_string();
    assert!(text.contains("invalid value for parameter \"shared_buffers\""), "{text}");
    assert!(matches!(Server::start(11, ServerOptions::default()).await, Err(Error::UnsupportedMajor(11))));
    Ok(())
}

#[tokio::test]
async fn servers_of_their_own_options() -> Result<()> {
    let options = ServerOptions {
        initdb_args: ["--locale=C", "-E", "LATIN1"].map(str::to_owned).to_vec(),
        settings: vec![("max_wal_senders".to_owned(), "7".to_owned())],
    };
    let (one, two) = tokio::try_join!(Server::start(15, options.clone()), Server::start(15, options))?;
    let distinct: HashSet<u16> = [one.port(), two.port()].into();
    assert_eq!(distinct.len(), 2);
    let postgres = one.database("postgres");
    assert_eq!(postgres.value("SHOW server_encoding").await?, "LATIN1");
    assert_eq!(postgres.value("SHOW max_wal_senders").await?, "7");
    let odd = two.create_database("An \"odd\" it's", "TEMPLATE template0 LC_COLLATE 'C'").await?;
    assert_eq!(odd.value("SELECT current_database()").await?, "An \"odd\" it's");
    let folder = one.socket_dir().to_owned();
    drop(one);
    assert!(!folder.exists());
    Ok(())
}
