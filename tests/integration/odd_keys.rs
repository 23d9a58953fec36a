//! Keys that hold what a key should not, or that operators do not take as they are.

use triplecheck_testbed::{Replicated, shared_pair};

use crate::harness::{Ran, Verify};
use crate::lines;

async fn verify(database: &Replicated, args: &[&str]) -> Ran {
    args.iter().fold(Verify::new(database), |verify, arg| verify.arg(arg)).run().await
}

/// Once the subscriber's primary key is gone, nothing keeps NULL out of the key there.
#[tokio::test]
async fn a_key_that_is_null_on_the_subscriber() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("null_keys").await.unwrap();
    let create = "CREATE TABLE t (a integer, b integer, v text, PRIMARY KEY (a, b));
                  CREATE TABLE u (id bigint PRIMARY KEY, v text);
                  INSERT INTO t SELECT i, -i, 'v' FROM generate_series(1, 500) i; INSERT INTO u SELECT i, 'v' FROM generate_series(1, 500) i; ANALYZE;";
    database.both(create).await.unwrap();
    database
        .subscriber
        .sql(
            "ALTER TABLE t DROP CONSTRAINT t_pkey, ALTER a DROP NOT NULL, ALTER b DROP NOT NULL;
             ALTER TABLE u DROP CONSTRAINT u_pkey, ALTER id DROP NOT NULL;
             INSERT INTO t VALUES (NULL, NULL, 'n'), (250, NULL, 'n'), (NULL, 7, 'n');
             INSERT INTO u VALUES (NULL, 'n'), (NULL, 'n');",
        )
        .await
        .unwrap();
    let rows =
        ["t extra a=null,b=null", "t extra a=250,b=null", "t extra a=null,b=7", "u extra id=null", "u extra id=null"];
    let figures = ["t count", "t sum(a)", "t sum(b)", "u count"];
    let args = ["--gate", "none", "--chunk-rows", "100"];
    lines::assert_different(&verify(&database, &args).await, &rows, &figures);
    // An index finds only what is not NULL by ranges of the key.
    database.subscriber.sql("CREATE INDEX ON t (a, b); CREATE INDEX ON u (id)").await.unwrap();
    lines::assert_different(&verify(&database, &args).await, &rows, &figures);
}

/// No operator takes a domain over an enum: its ranges are those of the enum.
#[tokio::test]
async fn a_domain_over_an_enum_is_read_in_ranges() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("domain_keys").await.unwrap();
    database
        .both(
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'Zen'); CREATE DOMAIN feeling AS mood; CREATE DOMAIN mine AS feeling;
             CREATE TABLE t (m mine, id integer, v text, PRIMARY KEY (m, id));
             INSERT INTO t SELECT (enum_range(NULL::mood))[1 + i % 4], i, 'v' FROM generate_series(1, 400) i; ANALYZE t",
        )
        .await
        .unwrap();
    database.subscriber.sql("UPDATE t SET v = 'w' WHERE id = 200; DELETE FROM t WHERE id = 399").await.unwrap();
    let ran = Verify::new(&database).args("--gate none --chunk-rows 50").run().await;
    lines::assert_different(&ran, &["t changed m=sad,id=200 [v]", "t missing m=Zen,id=399"], &["t count", "t sum(id)"]);
    let ranges = &lines::table(&ran, "t")["checks"]["rows"]["divergent_ranges"];
    assert!(lines::array(ranges).iter().all(|range| range.get("from").is_some()), "{ranges}");
    database.assert_nothing_left().await;
}
