//! Keys that are far from evenly spread.

use triplecheck_testbed::shared_pair;

use crate::harness::Verify;
use crate::lines;

/// A million rows, of which 99 of 100 belong to one tenant.
#[tokio::test]
async fn one_tenant_holds_most_of_a_table() {
    const ROWS: u64 = 1_000_000;
    const CHUNK_ROWS: u64 = 10_000;
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("skewed").await.unwrap();
    let fill = format!(
        "CREATE TABLE t (tenant integer, id bigint, PRIMARY KEY (tenant, id));
         INSERT INTO t SELECT CASE WHEN i % 100 = 0 THEN i % 977 ELSE 42 END, i FROM generate_series(1, {ROWS}) i; ANALYZE t"
    );
    database.both(&fill).await.unwrap();
    database.subscriber.sql("DELETE FROM t WHERE id = 500001").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("chunks.csv");
    let args = format!("--gate none --checks rows --chunk-rows {CHUNK_ROWS} --report-chunks {}", ledger.display());
    let ran = Verify::new(&database).args(&args).run().await;
    assert_eq!(lines::differences(&ran), ["t missing tenant=42,id=500001"]);
    let sizes: Vec<u64> =
        lines::read_csv(&ledger).iter().map(|chunk| chunk["publisher_rows"].parse().expect("a number")).collect();
    assert_eq!(sizes.iter().sum::<u64>(), ROWS);
    assert!(sizes.iter().all(|&rows| rows <= 4 * CHUNK_ROWS), "{sizes:?}");
    assert!(sizes.len() as u64 <= 4 * ROWS / CHUNK_ROWS, "{sizes:?}");
    database.assert_nothing_left().await;
}

/// Keys with gaps of all sizes, up to the whole range of a bigint.
#[tokio::test]
async fn keys_with_huge_gaps() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("gaps").await.unwrap();
    let fill = "CREATE TABLE t (id bigint PRIMARY KEY, v text);
        INSERT INTO t SELECT DISTINCT ON (1) (CASE WHEN i % 2 = 0 THEN -1 ELSE 1 END * (i::bigint * i * i * i)), 'v' FROM generate_series(1, 10400) i ON CONFLICT DO NOTHING;
        INSERT INTO t VALUES (9223372036854775807, 'v'), (-9223372036854775808, 'v'); ANALYZE t";
    database.both(fill).await.unwrap();
    database
        .subscriber
        .sql("DELETE FROM t WHERE id = -9223372036854775808; UPDATE t SET v = 'w' WHERE id = 9223372036854775807")
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("chunks.csv");
    let args = format!("--gate none --checks rows --chunk-rows 200 --report-chunks {}", ledger.display());
    let ran = Verify::new(&database).args(&args).run().await;
    let rows = ["t changed id=9223372036854775807 [v]", "t missing id=-9223372036854775808"];
    assert_eq!(lines::differences(&ran), rows);
    let chunks = lines::read_csv(&ledger);
    assert!(
        chunks.len() > 20
            && chunks.iter().all(|chunk| chunk["publisher_rows"].parse::<u64>().expect("a number") <= 800),
        "{chunks:#?}"
    );
    database.assert_nothing_left().await;
}

/// As many columns as an index can have.
#[tokio::test]
async fn a_key_of_32_columns() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("wide_key").await.unwrap();
    let names: Vec<_> = (0..32).map(|at| format!("c{at}")).collect();
    let list = names.join(", ");
    let values: Vec<_> =
        (0..32u64).map(|at| if at == 31 { "i".to_owned() } else { format!("i % {}", 1 + at % 3) }).collect();
    let columns: Vec<_> = names.iter().map(|name| format!("{name} smallint")).collect();
    let fill = format!(
        "CREATE TABLE t ({}, v text, PRIMARY KEY ({list})); INSERT INTO t SELECT {}, 'v' FROM generate_series(1, 2000) i; ANALYZE t",
        columns.join(", "),
        values.join(", ")
    );
    database.both(&fill).await.unwrap();
    database.subscriber.sql("UPDATE t SET v = 'w' WHERE c31 = 1000; DELETE FROM t WHERE c31 = 2000").await.unwrap();
    let ran = Verify::new(&database).args("--gate none --checks rows --chunk-rows 100").run().await;
    let found = lines::differences(&ran);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("t changed c0=0,c1=0,c2=1,") && found[0].ends_with(",c31=1000 [v]"), "{found:?}");
    assert!(found[1].starts_with("t missing c0=0,") && found[1].ends_with(",c31=2000"), "{found:?}");
    assert!(lines::number(&lines::table(&ran, "t")["checks"]["rows"]["chunks"]) > 10, "{ran:#?}");
    database.assert_nothing_left().await;
}
