//! What the window has to say of columns that replication does not send, of settings that change texts, and of a subscriber
//! that was written to.

use std::time::Duration;

use triplecheck_testbed::{Load, LoadOptions, Pair, PairOptions, ReplicateOptions, shared_pair};

use crate::harness::Verify;
use crate::lines;
use crate::proxy::Proxy;
use crate::staged::{between_snapshots, servers};

const HELD: &str = "CREATE TABLE held (id int PRIMARY KEY); CREATE TABLE held_too (id int PRIMARY KEY);";

/// Both sides compute them, and nothing is sent: rows of the window lack them.
#[tokio::test]
async fn generated_columns_of_rows_that_change_in_the_window() {
    let pair = servers().await;
    let database = pair.database("window_generated").await.unwrap();
    let schema = r#"CREATE DOMAIN amount AS numeric(12,4);
        CREATE TABLE keyed (twice int GENERATED ALWAYS AS (v * 2) STORED, id int PRIMARY KEY, v int, big text, name text COLLATE "tr-x-icu",
            long_one int GENERATED ALWAYS AS (length(big)) STORED, upper_one text GENERATED ALWAYS AS (upper(name)) STORED,
            share numeric(8,2) GENERATED ALWAYS AS (v / 3.0) STORED, part amount GENERATED ALWAYS AS (v / 7.0) STORED,
            words tsvector GENERATED ALWAYS AS (to_tsvector('pg_catalog.english', big)) STORED);
        ALTER TABLE keyed ALTER big SET STORAGE EXTERNAL;
        CREATE TABLE loose (v int, "Of" text GENERATED ALWAYS AS ('<' || v || '\>') STORED, w text);
        ALTER TABLE loose REPLICA IDENTITY FULL;"#;
    database.both(&format!("{HELD}{schema}")).await.unwrap();
    database
        .publisher
        .sql(
            "INSERT INTO keyed (id, v, big, name) SELECT i, i, repeat('walks ' || i, 800), 'istanbul' FROM generate_series(1, 60) i;
             INSERT INTO loose (v, w) SELECT i % 10, 'w' FROM generate_series(1, 60) i",
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let proxy = Proxy::before(&database.subscriber);
    let changes = "UPDATE keyed SET v = v + 1 WHERE id < 10; UPDATE keyed SET id = id + 100, name = 'iii' WHERE id = 5;
         UPDATE keyed SET big = 'running' WHERE id = 6; DELETE FROM keyed WHERE id = 7; INSERT INTO keyed (id, v, big) VALUES (200, NULL, 'sold');
         INSERT INTO loose (v, w) VALUES (3, 'w'), (4, NULL); DELETE FROM loose WHERE ctid = (SELECT min(ctid) FROM loose WHERE v = 5);
         UPDATE loose SET v = 77 WHERE v = 6";
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    database.publisher.sql(changes).await.unwrap();
    database.catch_up().await.unwrap();
    proxy.release();
    let ran = running.finish().await;
    lines::assert_match(&ran);
    assert_eq!(lines::array(&ran.json["sync_points"]).len(), 1, "a busy table would be begun anew for ever: {ran:#?}");

    // What replication did not make is found in rows of the window, too: also what came after it.
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    database
        .publisher
        .sql("UPDATE keyed SET name = 'w' WHERE id IN (20, 21); DELETE FROM loose WHERE v = 8")
        .await
        .unwrap();
    database.catch_up().await.unwrap();
    database
        .subscriber
        .sql("UPDATE keyed SET v = 0 WHERE id IN (20, 30); DELETE FROM keyed WHERE id = 21; INSERT INTO loose (v, w) VALUES (8, 'w')")
        .await
        .unwrap();
    proxy.release();
    let ran = running.finish().await;
    let rows = lines::differences(&ran);
    assert_eq!(lines::unproven(&ran), Vec::<String>::new(), "{ran:#?}");
    assert_eq!(
        rows,
        [
            "keyed changed id=20 [twice,v,share,part]",
            "keyed changed id=30 [twice,v,share,part]",
            "keyed missing id=21",
            "loose extra keyless",
        ],
        "{ran:#?}"
    );
    database.assert_nothing_left().await;
}

/// Since 16, a partition may compute a column in its own way: the root's says nothing of its rows.
#[tokio::test]
async fn a_partition_that_generates_a_column_in_its_own_way() {
    let pair = Pair::start(16, 18, PairOptions::default()).await.unwrap();
    let database = pair.database("window_leaves").await.unwrap();
    let schema = "CREATE TABLE root (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF root FOR VALUES FROM (0) TO (100);
        CREATE TABLE high PARTITION OF root (g WITH OPTIONS GENERATED ALWAYS AS (v * 3) STORED) FOR VALUES FROM (100) TO (1000);";
    database.both(&format!("{HELD}{schema}")).await.unwrap();
    database.publisher.sql("INSERT INTO root (id, v) SELECT i, i FROM generate_series(1, 200) i").await.unwrap();
    let publication_with = "publish_via_partition_root".to_owned();
    database.replicate(ReplicateOptions { publication_with, ..ReplicateOptions::default() }).await.unwrap();
    let proxy = Proxy::before(&database.subscriber);
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    database.publisher.sql("UPDATE root SET v = v + 1 WHERE id IN (5, 150)").await.unwrap();
    database.catch_up().await.unwrap();
    proxy.release();
    let ran = running.finish().await;
    // It waits for a sync point at which nothing is in flight, and has three.
    assert_eq!(lines::differences(&ran), Vec::<String>::new(), "{ran:#?}");
    assert!(lines::array(&ran.json["sync_points"]).len() > 1, "{ran:#?}");
    assert!(
        lines::array(&ran.json["findings"]).iter().any(|finding| finding["code"] == "generation_unknown"),
        "{ran:#?}"
    );
    lines::assert_match(&Verify::new(&database).args("--gate quiesced --lag-timeout 60s").run().await);
    database.assert_nothing_left().await;
}

/// A primary key with a generated column, which is not sent: of a row that comes, only a part of its identity is known.
/// Beside it, a key that the subscriber writes in another form.
#[tokio::test]
async fn identities_that_are_sent_in_part_or_written_otherwise() {
    let pair = servers().await;
    let database = pair.database("window_identity").await.unwrap();
    let schema = "CREATE TABLE partly (tenant int, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, PRIMARY KEY (tenant, twice));";
    database.both(&format!("{HELD}{schema}")).await.unwrap();
    for (server, modifier, length) in [(&database.publisher, "(10,2)", "(5)"), (&database.subscriber, "(12,4)", "(9)")]
    {
        let create = format!(
            "CREATE TABLE scaled (id numeric{modifier} PRIMARY KEY, c character{length}, v int);
             CREATE TABLE padded (c character{length} PRIMARY KEY, n numeric{modifier});
             CREATE TABLE bag (n numeric{modifier}, c character{length}); ALTER TABLE bag REPLICA IDENTITY FULL"
        );
        server.sql(&create).await.unwrap();
    }
    database
        .publisher
        .sql(
            "INSERT INTO partly (tenant, v) SELECT i % 2, i FROM generate_series(1, 20) i;
             INSERT INTO scaled SELECT i / 2.0, 'c' || i, i FROM generate_series(1, 40) i;
             INSERT INTO padded SELECT 'c' || i, i / 4.0 FROM generate_series(1, 40) i;
             INSERT INTO bag SELECT i % 4, 'c' || i % 4 FROM generate_series(1, 40) i",
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let proxy = Proxy::before(&database.subscriber);
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    database
        .publisher
        .sql(
            "INSERT INTO partly (tenant, v) VALUES (0, 100), (1, 100), (1, 101);
             UPDATE scaled SET v = 0 WHERE id < 3; UPDATE scaled SET id = id + 100 WHERE id = 5; DELETE FROM scaled WHERE id = 6;
             INSERT INTO scaled VALUES (7.25, 'new', 0);
             UPDATE padded SET n = 0.5 WHERE c = 'c1'; UPDATE padded SET c = 'x' WHERE c = 'c2'; DELETE FROM padded WHERE c = 'c3';
             INSERT INTO padded VALUES ('new', 7); DELETE FROM bag WHERE n = 2; UPDATE bag SET n = 7.5 WHERE n = 3; INSERT INTO bag VALUES (1, 'c1')",
        )
        .await
        .unwrap();
    database.catch_up().await.unwrap();
    proxy.release();
    let ran = running.finish().await;
    ran.assert_code(3);
    assert_eq!(lines::unproven(&ran), ["partly unsupported"], "{ran:#?}");
    assert_eq!(lines::differences(&ran), Vec::<String>::new());
    let message = lines::text(&lines::table(&ran, "partly")["message"]);
    let expected = "public.partly is identified by columns that replication does not send (twice), so that";
    assert!(message.starts_with(expected) && message.ends_with("with --gate quiesced"), "{message}");

    let quiesced = || Verify::new(&database).args("--gate quiesced --lag-timeout 60s").run();
    lines::assert_match(&quiesced().await);
    database.subscriber.sql("DELETE FROM partly WHERE (tenant, v) = (1, 101)").await.unwrap();
    assert_eq!(lines::differences(&quiesced().await), ["partly missing tenant=1,twice=202"]);
    database.assert_nothing_left().await;
}

/// To the server, the position of a subscription that has applied nothing means: to the end, which never comes.
#[tokio::test]
async fn a_subscription_that_has_applied_nothing_beside_a_busy_table() {
    let lease = shared_pair(14, 16).exclusive().await.unwrap();
    let database = lease.database("nothing_applied").await.unwrap();
    database.both("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let rows = "INSERT INTO t SELECT generate_series(1, 100); CREATE TABLE busy (id bigserial, v text)";
    database.publisher.sql(rows).await.unwrap();
    let publish = "FOR TABLE t".to_owned();
    database.replicate(ReplicateOptions { publish, ..ReplicateOptions::default() }).await.unwrap();
    let statements = vec!["INSERT INTO busy (v) VALUES ('x')".to_owned()];
    let load =
        Load::start(&database.publisher, LoadOptions { clients: 4, rate_per_second: None, statements }).await.unwrap();
    let run = Verify::new(&database).args("--gate live --scope published --lag-timeout 30s").run();
    let ran = tokio::time::timeout(Duration::from_secs(45), run).await;
    load.stop().await.unwrap();
    let ran = ran.expect("it ends while others write");
    assert_eq!((ran.code, ran.tables()), (0, vec!["public.t match -".to_owned()]), "{ran:#?}");
    database.assert_nothing_left().await;
}

/// Whatever a database of the publisher sets for everybody.
#[tokio::test]
async fn settings_of_a_database_that_change_texts() {
    let pair = servers().await;
    let database = pair.database("window_settings").await.unwrap();
    let schema = r#"CREATE TYPE two AS (a text, b numeric);
        CREATE TABLE keys (f float8, g float4, b bytea, i interval, t timestamptz, c "char", p bpchar(6), bits bit(5), vb varbit, n numeric,
            a text[], d date, r regclass, v text, PRIMARY KEY (f, g, b, i, t, c, p, bits, vb, n, a, d));
        CREATE TABLE papers (k int PRIMARY KEY, x xml); CREATE TABLE loose (k int, m money, a text[], f float8, j jsonb, r regclass, two two, ts tsvector, iv interval, tr tstzrange);
        ALTER TABLE loose REPLICA IDENTITY FULL;"#;
    database.both(&format!("{HELD}{schema}")).await.unwrap();
    database
        .publisher
        .sql(
            r#"INSERT INTO keys SELECT i / 3.0, i / 7.0::float4, decode(lpad(i::text, 4, '0'), 'hex'), i * '1 mon -1 days +00:00:01.5'::interval,
                 '2024-01-31 10:00+02'::timestamptz + i * interval '1 day', chr(64 + i)::"char", i::text || ' ', i::bit(5), (i::bit(4))::varbit, i / 8.0,
                 ARRAY['NULL', NULL, 'a"b', i::text], '2024-02-03'::date + i, 'held'::regclass, 'v' FROM generate_series(1, 30) i;
             INSERT INTO papers SELECT i, '<?xml version="1.0" encoding="UTF-8"?><a>b</a>' FROM generate_series(1, 9) i;
             INSERT INTO loose SELECT i % 5, (i % 5) * 1.5::numeric::money, ARRAY[NULL, 'NULL'], i % 5 / 3.0,
                 '{"a": 1.0}', 'held_too', ROW('x y', i % 5)::two, 'a b:3A', '-1 year 2 days -3.5 s', '[2024-01-01,)' FROM generate_series(1, 30) i"#,
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let name = database.publisher.name();
    for (setting, value) in [
        ("extra_float_digits", "-10"),
        ("DateStyle", "'German, DMY'"),
        ("IntervalStyle", "'iso_8601'"),
        ("bytea_output", "'escape'"),
        ("TimeZone", "'Asia/Kolkata'"),
        ("array_nulls", "off"),
        ("xmloption", "document"),
        ("quote_all_identifiers", "on"),
        ("standard_conforming_strings", "off"),
        ("transform_null_equals", "on"),
    ] {
        database.publisher.sql(&format!("ALTER DATABASE \"{name}\" SET {setting} = {value}")).await.unwrap();
    }
    let proxy = Proxy::before(&database.subscriber);
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    database
        .publisher
        .sql(
            r"SET array_nulls = on; SET xmloption = content; SET DateStyle = 'ISO, MDY'; SET standard_conforming_strings = on;
              UPDATE keys SET v = 'w' WHERE d < '2024-02-10'; DELETE FROM keys WHERE d = '2024-02-11'; UPDATE keys SET f = f + 1, a = '{NULL}' WHERE d = '2024-02-12';
              UPDATE keys SET f = 'NaN', g = '-0', n = 'NaN', t = 'infinity', d = '0044-03-15 BC', b = decode('5c00ff', 'hex'), c = '' WHERE d = '2024-02-13';
              INSERT INTO papers VALUES (20, 'text<b/>'); UPDATE papers SET x = '<c/><d/>' WHERE k = 3; INSERT INTO loose SELECT 9, 7.25::numeric::money, '{NULL,\\\\}', 1e-300, '[]', 'keys', ROW(NULL, NULL)::two, '', '1 mon', 'empty';
              DELETE FROM loose WHERE k = 1; UPDATE loose SET r = 'keys' WHERE k = 2",
        )
        .await
        .unwrap();
    database.catch_up().await.unwrap();
    proxy.release();
    let ran = running.finish().await;
    lines::assert_match(&ran);
    assert_eq!(lines::array(&ran.json["sync_points"]).len(), 1, "{ran:#?}");
    database.assert_nothing_left().await;
}

/// An index over the filter itself holds what was true when its rows came, and servers take it for `(filter) IS TRUE`
/// (`match_boolean_index_clause` in indxpath.c).
#[tokio::test]
async fn a_row_filter_is_not_answered_by_an_index_over_the_filter() {
    let lease = shared_pair(15, 18).shared().await.unwrap();
    let database = lease.database("stale_boolean").await.unwrap();
    database.both(r#"CREATE TABLE t (id integer PRIMARY KEY, k text COLLATE "de-x-icu", v text)"#).await.unwrap();
    let rows = "INSERT INTO t SELECT i, i % 1000 || 'x', repeat('v', 500) FROM generate_series(1, 20000) i;
        CREATE INDEX part ON t ((k > '996x')); VACUUM ANALYZE t";
    for statement in rows.split("; ") {
        database.publisher.sql(statement).await.unwrap();
    }
    let publish = "FOR TABLE t WHERE (k > '996x')".to_owned();
    database.replicate(ReplicateOptions { publish, ..ReplicateOptions::default() }).await.unwrap();
    // By their value, numbers sort otherwise. What the index lacks now is still to be read.
    let update =
        "UPDATE pg_collation SET colliculocale = 'de-u-kn-true', collversion = '0.5' WHERE collname = 'de-x-icu'";
    database.publisher.sql(update).await.unwrap();
    let now = database.publisher.value("SELECT count(*) FROM t WHERE COALESCE(k > '996x', false)").await.unwrap();
    let before = database.subscriber.value("SELECT count(*) FROM t").await.unwrap();
    assert_ne!(now, before);
    let ran =
        Verify::new(&database).args("--scope published --lag-timeout 60s --checks count,max,sum,rows").run().await;
    assert_eq!(lines::table(&ran, "t")["rows"]["publisher"].to_string(), now, "{ran:#?}");
    assert_eq!(lines::table(&ran, "t")["checks"]["count"]["publisher"], now.as_str(), "{ran:#?}");
    database.assert_nothing_left().await;
}
