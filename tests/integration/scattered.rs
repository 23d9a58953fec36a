//! Scattered differences: named one by one as ever, and located without reading the table a second time.

use triplecheck_testbed::{Database, Pair, PairOptions, Replicated, shared_pair};

use crate::harness::{Ran, Verify, wait_for};
use crate::lines;
use crate::proxy::Proxy;
use crate::staged::{before_replay, orders};

/// Rows of a table, in some thirty chunks.
const ROWS: u64 = 3000;
const ARGS: &str = "--gate none --checks rows --chunk-rows 100 --samples 1000 -vv";

/// What the log says of each table whose keys were looked up: name, chunks that they explained, chunks that differ.
fn explained(ran: &Ran) -> Vec<(String, u64, u64)> {
    let field = |line: &str, name: &str| {
        let (_, behind) = line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name}: {line}"));
        behind.split_whitespace().next().unwrap().to_owned()
    };
    let lines = ran.stderr.lines().filter(|line| line.contains("explained by the rows of some keys"));
    let number = |line: &str, name: &str| field(line, name).parse().unwrap();
    let mut all: Vec<_> =
        lines.map(|line| (field(line, "table"), number(line, "explained"), number(line, "divergent"))).collect();
    all.sort();
    all
}

/// All chunks that differ were explained, in these tables.
#[track_caller]
fn assert_all_explained(ran: &Ran, tables: &[&str]) {
    let explained = explained(ran);
    assert!(
        explained.iter().all(|(_, explained, divergent)| explained == divergent && *divergent > 0),
        "{explained:?}"
    );
    let names: Vec<_> = explained.iter().map(|(name, ..)| name.trim_start_matches("public.")).collect();
    assert_eq!(names, tables, "{}", ran.stderr);
}

/// Rows of its tables that a server has read so far, once the sessions of a verify have told.
async fn rows_read(database: &Database) -> u64 {
    let ended = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'triplecheck%'";
    wait_for(database, ended, "0").await;
    let read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables";
    database.value(read).await.unwrap().parse().unwrap()
}

async fn verify(database: &Replicated) -> Ran {
    Verify::new(database).args(ARGS).run().await
}

#[tokio::test]
async fn differences_of_every_kind_and_key_are_found_without_reading_again() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("scattered").await.unwrap();
    let create = format!(
        "CREATE DOMAIN big AS bigint;
         CREATE TABLE by_date (day date, at timestamptz, n smallint, note text, PRIMARY KEY (day, at, n));
         CREATE TABLE by_number (id big PRIMARY KEY, note text, level float8);
         CREATE TABLE by_text (id text COLLATE \"C\" PRIMARY KEY, note text);
         CREATE TABLE by_uuid (tenant integer, id uuid, note text, PRIMARY KEY (tenant, id));
         CREATE TABLE by_word (id varchar(60) PRIMARY KEY, note text);
         INSERT INTO by_date SELECT date '1999-12-01' + i / 50, timestamptz '2024-03-07 01:02:03.000004+00' + i % 50 * interval '1.5 s', -i % 3, 'v'
             FROM generate_series(1, {ROWS}) i;
         INSERT INTO by_number SELECT i * 3, 'v', i / 7.0 FROM generate_series(-1000, {ROWS} - 1001) i;
         INSERT INTO by_text SELECT 'key ' || i || '''\\', 'v' FROM generate_series(1, {ROWS}) i;
         INSERT INTO by_uuid SELECT i % 4, md5(i::text)::uuid, 'v' FROM generate_series(1, {ROWS}) i;
         INSERT INTO by_word SELECT 'wörd ' || i, 'v' FROM generate_series(1, {ROWS}) i;
         ANALYZE"
    );
    database.both(&create).await.unwrap();
    let ran = verify(&database).await;
    assert_eq!((ran.code, explained(&ran)), (0, vec![]), "{ran:#?}");

    let damage = "UPDATE by_date SET note = 'w' WHERE day = '1999-12-31' AND n = 0;
         DELETE FROM by_date WHERE day = '2000-01-01' AND at = '2024-03-07 01:02:03.000004+00';
         INSERT INTO by_date VALUES ('infinity', '-infinity', 7, 'v'), ('2024-02-29', '0001-01-01 00:00:00+00 BC', 7, 'v');
         UPDATE by_number SET level = 'NaN' WHERE id % 300 = 0; UPDATE by_number SET note = NULL WHERE id = 3;
         DELETE FROM by_number WHERE id IN (-3000, 5997); INSERT INTO by_number VALUES (-9223372036854775808, 'v', 0);
         UPDATE by_text SET note = 'w' WHERE id LIKE 'key _00''%'; INSERT INTO by_text VALUES ('', 'v'), (repeat('x', 100), 'v');
         UPDATE by_uuid SET note = 'w' WHERE md5('7')::uuid = id; DELETE FROM by_uuid WHERE md5('8')::uuid = id;
         INSERT INTO by_uuid VALUES (-1, '00000000-0000-0000-0000-000000000000', 'v');
         UPDATE by_word SET note = 'w' WHERE id IN ('wörd 1', 'wörd 3000')";
    database.subscriber.sql(damage).await.unwrap();
    let ran = verify(&database).await;
    let dates = "SELECT 'by_date changed day=' || day || ',at=' || (at AT TIME ZONE 'UTC') || '+00,n=' || n || ' [note]' FROM by_date WHERE note = 'w' \
                 UNION ALL SELECT 'by_number changed id=' || id || ' [level]' FROM by_number WHERE level = 'NaN'";
    let mut expected = lines::column(&database.subscriber, dates).await;
    let uuids = "SELECT 'by_uuid missing tenant=0,id=' || md5('8')::uuid UNION ALL SELECT 'by_uuid changed tenant=3,id=' || md5('7')::uuid || ' [note]'";
    expected.extend(lines::column(&database.publisher, uuids).await);
    let listed = [
        "by_date missing day=2000-01-01,at=2024-03-07 01:02:03.000004+00,n=-2",
        "by_date extra day=infinity,at=-infinity,n=7",
        "by_date extra day=2024-02-29,at=0001-01-01 00:00:00+00 BC,n=7",
        "by_number changed id=3 [note]",
        "by_number missing id=-3000",
        "by_number missing id=5997",
        "by_number extra id=-9223372036854775808",
        "by_text extra id=",
        "by_uuid extra tenant=-1,id=00000000-0000-0000-0000-000000000000",
        "by_word changed id=wörd 1 [note]",
        "by_word changed id=wörd 3000 [note]",
    ];
    expected.extend(listed.map(str::to_owned));
    expected.push(format!("by_text extra id={}", "x".repeat(100)));
    expected.extend((1..10).map(|i| format!("by_text changed id=key {i}00'\\ [note]")));
    expected.sort();
    assert_eq!(lines::differences(&ran), expected);
    ran.assert_code(1);
    // A key before the year 1 and one of a hundred letters are not looked up: their chunks are read again, and they alone.
    let explained = explained(&ran);
    let of = |table: &str| explained.iter().find(|(name, ..)| name == table).map(|(_, done, all)| (all - done, *all));
    assert_eq!(["by_date", "by_text"].map(|table| of(&format!("public.{table}")).map(|(left, _)| left)), [Some(1); 2]);
    let (left, all) = of("public.by_number").unwrap();
    assert!(left == 0 && all > 15, "{explained:?}");
    assert_eq!((of("public.by_uuid").map(|of| of.0), of("public.by_word").map(|of| of.0)), (Some(0), Some(0)));
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn few_are_located_without_reading_again_and_too_many_are_counted_all_the_same() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("scattered_many").await.unwrap();
    let create = "CREATE TABLE t (id bigint PRIMARY KEY, note text);
        INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100000) i; ANALYZE t";
    database.both(create).await.unwrap();
    let verify = async || {
        let before = rows_read(&database.subscriber).await;
        let verify = Verify::new(&database).args("--gate none --checks rows --chunk-rows 4000 --samples 1000 -vv");
        let ran = verify.run().await;
        (ran, rows_read(&database.subscriber).await - before)
    };
    let (ran, read) = verify().await;
    assert_eq!((ran.code, explained(&ran)), (0, vec![]), "{ran:#?}");
    assert!(read >= 100_000, "{read}");

    database.subscriber.sql("UPDATE t SET note = 'w' WHERE id % 4000 = 7").await.unwrap();
    let (ran, read_again) = verify().await;
    let expected: Vec<_> = (0..25).map(|i| format!("t changed id={} [note]", i * 4000 + 7)).collect();
    lines::assert_different(&ran, &expected.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert_all_explained(&ran, &["t"]);
    assert!(read_again < read + 1000, "{read} rows were read, and with differences {read_again}");

    let damage = "UPDATE t SET note = 'w' WHERE id % 2 = 0; DELETE FROM t WHERE id % 1000 = 1;
        INSERT INTO t SELECT i, 'v' FROM generate_series(100001, 100007) i";
    database.subscriber.sql(damage).await.unwrap();
    let (ran, read_again) = verify().await;
    let rows = &ran.table("t")["checks"]["rows"];
    assert_eq!(["missing", "extra", "changed"].map(|kind| lines::number(&rows[kind])), [100, 7, 50_025]);
    assert_eq!(lines::array(&rows["samples"]).len(), 1000);
    ran.assert_code(1);
    assert_eq!(explained(&ran), []);
    assert!(read_again > read + 90_000, "{read} rows were read, and with differences {read_again}");
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn keys_that_are_there_more_than_once() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("scattered_twice").await.unwrap();
    let create = "CREATE TABLE t (id integer PRIMARY KEY, note text);
        INSERT INTO t SELECT i, 'v' FROM generate_series(1, 3000) i; ANALYZE t";
    database.both(create).await.unwrap();
    let damage = "ALTER TABLE t DROP CONSTRAINT t_pkey; CREATE INDEX ON t (id);
        INSERT INTO t VALUES (500, 'v'), (900, 'w'), (1300, 'w'), (1300, 'x'), (1500, 'z'), (1500, 'z')";
    database.subscriber.sql(damage).await.unwrap();
    let once = [
        "t extra id=500",
        "t extra id=900",
        "t extra id=1300",
        "t extra id=1300",
        "t extra id=1500",
        "t extra id=1500",
    ];
    let ran = verify(&database).await;
    lines::assert_different(&ran, &once, &[]);
    // Two equal rows more of id 1500 do not come out, so that their chunk is read again.
    assert!(matches!(&explained(&ran)[..], [(_, done, all)] if done + 1 == *all), "{}", ran.stderr);

    database.subscriber.sql("DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t WHERE id = 1500)").await.unwrap();
    let ran = verify(&database).await;
    let rows = ["t extra id=500", "t extra id=900", "t extra id=1300", "t extra id=1300", "t extra id=1500"];
    lines::assert_different(&ran, &rows, &[]);
    assert_all_explained(&ran, &["t"]);

    // Without an index there is nothing to look up by.
    database.subscriber.sql("DROP INDEX t_id_idx").await.unwrap();
    let ran = verify(&database).await;
    lines::assert_different(&ran, &rows, &[]);
    assert_eq!(explained(&ran), []);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn rows_that_changed_between_the_snapshots_are_located_as_they_stood_at_the_cut() {
    let pair = Pair::start(14, 16, PairOptions::default()).await.unwrap();
    let database = orders(&pair, "scattered_window", "").await;
    database.both("ANALYZE").await.unwrap();
    let damage =
        "UPDATE orders SET note = 'damaged' WHERE id IN (7, 57, 107, 157); DELETE FROM orders WHERE id IN (33, 44);
        INSERT INTO orders VALUES (500, 'extra')";
    database.subscriber.sql(damage).await.unwrap();
    let proxy = Proxy::before(&database.subscriber);
    let subscriber = proxy.conninfo(&database.subscriber, "postgres");
    let args = "--gate live --scope published --jobs 2 --lag-timeout 60s --chunk-rows 20 -vv";
    let verify = Verify::between(&database.publisher.conninfo(), &subscriber).args(args);
    let (running, holder) = before_replay(&pair, &database, "held", verify).await;
    proxy.hold();
    holder.batch_execute("COMMIT").await.unwrap();
    // What was damaged before: one row is repaired by replication, one that is missing stays away as it goes on the publisher.
    let window =
        "UPDATE orders SET note = 'in the window' WHERE id IN (8, 57, 58); DELETE FROM orders WHERE id IN (44, 90);
        INSERT INTO orders VALUES (1000, 'new'), (1001, 'new'); UPDATE orders SET id = 2000 WHERE id = 120";
    database.publisher.sql(window).await.unwrap();
    database.catch_up().await.unwrap();
    let later = "UPDATE orders SET note = 'damaged' WHERE id IN (8, 2000); DELETE FROM orders WHERE id = 1001;
        INSERT INTO orders VALUES (90, 'back again')";
    database.subscriber.sql(later).await.unwrap();
    proxy.release();
    let ran = running.finish().await;
    let changed = [7, 8, 107, 157, 2000].map(|id| format!("orders changed id={id} [note]"));
    let mut expected: Vec<_> = changed.into();
    expected
        .extend(["extra id=500", "extra id=90", "missing id=33", "missing id=1001"].map(|row| format!("orders {row}")));
    expected.sort();
    assert_eq!(lines::differences(&ran), expected);
    ran.assert_code(1);
    assert!(ran.json["gate"]["in_flight"]["keys"].as_u64().unwrap() >= 9, "{ran:#?}");
    assert_all_explained(&ran, &["orders"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn chunks_that_are_read_one_by_one_have_sketches_of_their_own() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("scattered_ranges").await.unwrap();
    // So large a file on the subscriber that reading all of it could outlast the snapshots.
    let create = |fill: u32| {
        format!(
            "CREATE TABLE t (id integer PRIMARY KEY, v text) WITH (fillfactor = {fill});
            INSERT INTO t SELECT i, repeat('x', 700) FROM generate_series(1, 7000) i; ANALYZE t"
        )
    };
    database.publisher.sql(&create(100)).await.unwrap();
    database.subscriber.sql(&create(10)).await.unwrap();
    let damage = "DELETE FROM t WHERE id = 1; UPDATE t SET v = v || ' ' WHERE id IN (2, 3500, 3501, 7000); INSERT INTO t VALUES (-1, ''), (9000, '')";
    database.subscriber.sql(damage).await.unwrap();
    let ran =
        Verify::new(&database).args("--gate none --checks rows --snapshot-age-max 1s --chunk-rows 500 -vv").run().await;
    assert_eq!(ran.table("t")["scan"], "key-range scan", "{ran:#?}");
    let changed = [2, 3500, 3501, 7000].map(|id| format!("t changed id={id} [v]"));
    let others = ["t missing id=1", "t extra id=-1", "t extra id=9000"];
    let rows: Vec<_> = changed.iter().map(String::as_str).chain(others).collect();
    lines::assert_different(&ran, &rows, &[]);
    let divergent = lines::number(&ran.table("t")["checks"]["rows"]["divergent_chunks"]);
    let explained = explained(&ran);
    assert!(divergent >= 3 && explained.len() as u64 >= divergent, "{explained:?}");
    assert!(explained.iter().all(|(_, explained, _)| *explained == 1), "{explained:?}");
    database.assert_nothing_left().await;
}
