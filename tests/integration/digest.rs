//! `--scan digest`: equal tables are proven without reading a row, and what differs is found and named as without it.

use triplecheck_testbed::{Database, Load, LoadOptions, ReplicateOptions, Replicated, shared_pair};

use crate::harness::{Ran, Verify};
use crate::{damage, lines, mapping};

/// Tables of every kind, and rows in them; of every second log line there are two.
const TABLES: &str = r#"
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TYPE spot AS (x integer, y double precision, label text);
    CREATE DOMAIN cents AS bigint CHECK (value >= 0);
    CREATE DOMAIN feeling AS mood;
    CREATE TABLE plain (id bigint PRIMARY KEY, amount numeric, note text, at timestamptz, code char(4), flag boolean);
    CREATE TABLE kinds (id uuid PRIMARY KEY, "char" "char", s smallint, i integer, o oid, r real, d double precision, m money, c cents,
        day date, t time, tz timetz, ts timestamp, iv interval, v varchar(30), n name, b bytea, j json, jb jsonb, x xml, p point,
        ia integer[], ta text[], ma mood[], e mood, f feeling, sp spot, rg numrange, ip inet, net cidr, mac macaddr, bits varbit(9),
        reg regclass, vec tsvector, record text);
    CREATE TABLE log (who text, amount bigint);
    ALTER TABLE log REPLICA IDENTITY FULL;
    CREATE TABLE vacant (id integer PRIMARY KEY);
    CREATE TABLE parts (id bigint, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
    CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
    CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');"#;

const ROWS: &str = r#"
    INSERT INTO plain SELECT i, i * 1.25 - 500, 'note ' || i, timestamptz '2024-01-01' + i * interval '1.000001 s', 'c' || i % 9, i % 2 = 0
        FROM generate_series(1, 2000) i;
    INSERT INTO plain VALUES (0, NULL, NULL, NULL, NULL, NULL), (-1, 'NaN', '', 'infinity', '', NULL), (3000000000, -0.0, ' ', '-infinity', 'a', true);
    INSERT INTO kinds SELECT md5(i::text)::uuid, 'a', i, i, i, i / 7.0, i / 7.0, i, i, '2024-01-01', '12:00', '12:00+02', '2024-01-01 00:00:01.000001',
        '1 mon 3 days', 'v', 'n', '\x0001', '{"a": 1}', '{"a": [1, 2.50]}', '<a/>', '(1,2)', '{1,NULL,3}', '{a,"b c",NULL}', '{sad}', 'happy', 'sad',
        ROW(1, 2.5, 'l')::spot, '[1.5,2)', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', B'101', 'pg_class', 'a b:1', 'r' FROM generate_series(1, 50) i;
    INSERT INTO kinds (id, r, d) VALUES (md5('odd')::uuid, 'NaN', '-0'), (md5('nulls')::uuid, NULL, NULL);
    INSERT INTO log SELECT 'who' || i % 100, i % 50 FROM generate_series(1, 400) i;
    INSERT INTO parts SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 300) i;
    ANALYZE"#;

async fn site(database: &Replicated) {
    database.both(TABLES).await.unwrap();
    database.publisher.sql(ROWS).await.unwrap();
    let publication_with = "publish_via_partition_root = true".to_owned();
    database.replicate(ReplicateOptions { publication_with, ..ReplicateOptions::default() }).await.unwrap();
}

fn verify(database: &Replicated, how: &str) -> Verify {
    Verify::new(database).args("--checks count,max,sum,rows --jobs 2 --scan").arg(how)
}

/// What the digests said of each table: `log match 128`, and why rows were read where they were.
fn digests(ran: &Ran) -> Vec<String> {
    let tables = ran.json["tables"].as_array().unwrap().iter();
    let line = |table: &serde_json::Value| {
        let (rows, digest) = (&table["checks"]["rows"], &table["checks"]["rows"]["digest"]);
        assert_eq!(rows["proof"] == "digest", digest["verdict"] == "match", "{table:#}");
        assert_eq!(rows["proof"] == "digest", table["scan"] == "digest", "{table:#}");
        assert!(rows["proof"] != "digest" || rows["chunks"] == 0, "{table:#}");
        let message = digest["message"].as_str().map(|message| format!(" {message}")).unwrap_or_default();
        format!(
            "{} {} {}{message}",
            table["name"].as_str().unwrap(),
            digest["verdict"].as_str().unwrap(),
            digest["bits"]
        )
    };
    tables.map(line).collect()
}

async fn equal_tables_are_not_read(publisher: u16, subscriber: u16) {
    let lease = shared_pair(publisher, subscriber).shared().await.unwrap();
    let database = lease.database("digest_equal").await.unwrap();
    site(&database).await;
    for (how, bits) in [("digest", 128), ("digest64", 64)] {
        let ran = verify(&database, how).run().await;
        lines::assert_match(&ran);
        let equal = ["kinds", "log", "parts", "plain", "vacant"].map(|table| format!("{table} match {bits}"));
        assert_eq!(digests(&ran), equal);
        // Not a byte of a row came over the wire.
        assert_eq!(ran.json["totals"]["bytes"], 0);
        assert_eq!(ran.json["totals"]["publisher_rows"], 0);
        assert_eq!(ran.json["settings"]["scan"], how);
        assert_eq!(ran.table("plain")["rows"], serde_json::json!({"publisher": 2003, "subscriber": 2003}));
    }
    let text = verify(&database, "digest").text().await.stdout;
    assert!(text.contains("5 of 5 selected tables rest on equal digests of 128 bits"), "{text}");
    assert!(text.contains("2^-106"), "{text}");
    let rows = verify(&database, "rows").run().await;
    lines::assert_match(&rows);
    assert!(rows.json["totals"]["bytes"].as_u64().unwrap() > 0);
    assert!(rows.table("plain")["checks"]["rows"].get("digest").is_none());
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn equal_tables_are_not_read_on_14_to_16() {
    equal_tables_are_not_read(14, 16).await;
}

#[tokio::test]
async fn equal_tables_are_not_read_on_16_to_18() {
    equal_tables_are_not_read(16, 18).await;
}

/// What the hash functions of the types themselves pass over, whatever the seed.
#[tokio::test]
async fn what_hash_functions_pass_over_is_found() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("digest_blind").await.unwrap();
    for (name, null) in [("blind", ""), ("never_null", " NOT NULL")] {
        let columns = ["n numeric", "b bigint", "t timestamp", "i interval", "a integer[]", "j jsonb", "e text"];
        let columns = columns.map(|column| format!("{column}{null}")).join(", ");
        database.both(&format!("CREATE TABLE {name} (id integer PRIMARY KEY, {columns})")).await.unwrap();
        let rows = format!(
            "INSERT INTO {name} SELECT i, 5, -1, '2000-01-01 00:00:00.000001', '1 mon', '{{{{1,2}},{{3,4}}}}', '[[1],2]', 'x' \
             FROM generate_series(1, 20) i"
        );
        database.publisher.sql(&rows).await.unwrap();
    }
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let damages = [
        ("n = -5", "n = 5", "[n]"),
        ("b = 4294967295", "b = -1", "[b]"),
        ("t = '2000-01-01 01:11:34.967296'", "t = '2000-01-01 00:00:00.000001'", "[t]"),
        ("i = '30 days'", "i = '1 mon'", "[i] ~"),
        ("a = '{1,2,3,4}'", "a = '{{1,2},{3,4}}'", "[a]"),
        ("j = '[[1,2]]'", "j = '[[1],2]'", "[j]"),
        ("n = 5.0", "n = 5", "[n] ~"),
    ];
    for how in ["digest", "digest64"] {
        for (damage, undo, columns) in damages {
            let both = |change: &str| {
                format!("UPDATE blind SET {change} WHERE id = 7; UPDATE never_null SET {change} WHERE id = 7")
            };
            database.subscriber.sql(&both(damage)).await.unwrap();
            // Nothing else looks: no sums, no maxima.
            let ran = Verify::new(&database).args("--checks rows --scan").arg(how).run().await;
            let changed = ["blind", "never_null"].map(|table| format!("{table} changed id=7 {columns}"));
            lines::assert_different_for(damage, &ran, &changed.each_ref().map(String::as_str), &[]);
            let bits = if how == "digest" { 128 } else { 64 };
            assert_eq!(digests(&ran), ["blind", "never_null"].map(|table| format!("{table} different {bits}")));
            database.subscriber.sql(&both(undo)).await.unwrap();
        }
    }
    database.assert_nothing_left().await;
}

/// Damage to a catalog can leave a NULL where none can be. The hash of such a row must not become NULL, which no sum counts.
#[tokio::test]
async fn a_row_with_a_null_where_none_can_be_is_digested_all_the_same() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("digest_impossible").await.unwrap();
    database.both("CREATE TABLE t (id integer PRIMARY KEY, a text, b numeric, c bigint NOT NULL)").await.unwrap();
    database.publisher.sql("INSERT INTO t SELECT i, nullif(i, 7), i, i FROM generate_series(1, 20) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let claim = "UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 't'::regclass AND attname = 'a'";
    database.both(claim).await.unwrap();
    for how in ["digest", "digest64"] {
        let ran = verify(&database, how).run().await;
        lines::assert_match(&ran);
        for (damage, undo, columns) in
            [("b = 0", "b = 7", "[b]"), ("c = 0", "c = 7", "[c]"), ("a = ''", "a = NULL", "[a]")]
        {
            // The catalog says that this cannot be undone.
            let change = |claimed: bool, change: &str| {
                let change = format!("UPDATE t SET {change} WHERE id = 7");
                let claim = |claimed| claim.replace("= true", &format!("= {claimed}"));
                format!("{}; {change}; {}", claim(false), claim(claimed))
            };
            database.subscriber.sql(&change(true, damage)).await.unwrap();
            let ran = Verify::new(&database).args("--checks rows --scan").arg(how).run().await;
            lines::assert_different_for(damage, &ran, &[&format!("t changed id=7 {columns}")], &[]);
            database.subscriber.sql(&change(true, undo)).await.unwrap();
        }
    }
    database.assert_nothing_left().await;
}

/// The first statement with which a side would digest a table.
async fn statement(database: &Replicated, table: &str, side: &str, how: &str) -> String {
    let plan = Verify::new(database).plan().args("--checks rows --scan").arg(how).run().await;
    assert_eq!(plan.code, 0, "{plan:#?}");
    let table = plan.table(table);
    assert!(table["scan"].as_str().unwrap().starts_with("digest, else "), "{table:#}");
    table["statements"][side][0].as_str().unwrap().to_owned()
}

/// Swaps the values of one column between two random rows, a thousand times, and counts how often the digest changes.
async fn swaps_found(side: &Database, statement: &str) -> i64 {
    let statement = statement.replace('\'', "''");
    let block = format!(
        r#"DO $body$
        DECLARE
            before text; now text; found integer := 0; one integer; other integer; col text;
            digest text := '{statement}';
            cols text[] := ARRAY['a', 'b', 'n', 'ts', 'u', 'j'];
        BEGIN
            PERFORM set_config('search_path', 'pg_catalog', true);
            EXECUTE 'SELECT row_to_json(d)::text FROM (' || digest || ') d (c, s1, s2)' INTO before;
            FOR round IN 1..1000 LOOP
                one := 1 + (random() * 199)::integer;
                other := 1 + (one + (random() * 197)::integer) % 200;
                IF other = one THEN other := 1 + one % 200; END IF;
                col := cols[1 + round % 6];
                BEGIN
                    EXECUTE format('UPDATE public.swaps t SET %1$I = s.%1$I FROM public.swaps s WHERE (t.id, s.id) IN ((%2$s, %3$s), (%3$s, %2$s))',
                        col, one, other);
                    EXECUTE 'SELECT row_to_json(d)::text FROM (' || digest || ') d (c, s1, s2)' INTO now;
                    RAISE EXCEPTION USING ERRCODE = 'ZZ001';
                EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
                    found := found + (now IS DISTINCT FROM before)::integer;
                END;
            END LOOP;
            PERFORM set_config('swaps.found', found::text, false);
        END $body$; SELECT current_setting('swaps.found')"#
    );
    side.value(&block).await.unwrap().parse().unwrap()
}

#[tokio::test]
async fn swapping_a_column_between_two_rows_changes_the_digest_a_thousand_times_of_a_thousand() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("digest_swaps").await.unwrap();
    let columns = "id integer PRIMARY KEY, a integer, b bigint, n numeric, ts timestamptz, u text, j jsonb";
    database.both(&format!("CREATE TABLE swaps ({columns})")).await.unwrap();
    let rows = "INSERT INTO swaps SELECT i, i, i * 7, i - 100.5, timestamptz '2024-01-01' + i * interval '1 s', 'text ' || i, \
                to_jsonb(i) FROM generate_series(1, 200) i";
    database.publisher.sql(rows).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let two = statement(&database, "swaps", "subscriber", "digest").await;
    assert_eq!(swaps_found(&database.subscriber, &two).await, 1000);
    let one = statement(&database, "swaps", "publisher", "digest64").await.replacen(" FROM ONLY", ", 0 FROM ONLY", 1);
    assert_eq!(swaps_found(&database.publisher, &one).await, 1000);
    // The same where nothing is ever NULL.
    for column in ["a", "b", "n", "ts", "u", "j"] {
        database.both(&format!("ALTER TABLE swaps ALTER COLUMN {column} SET NOT NULL")).await.unwrap();
    }
    let two = statement(&database, "swaps", "subscriber", "digest").await;
    assert!(two.contains("hashtextextended"), "{two}");
    assert_eq!(swaps_found(&database.subscriber, &two).await, 1000);
    let one = statement(&database, "swaps", "publisher", "digest64").await.replacen(" FROM ONLY", ", 0 FROM ONLY", 1);
    assert_eq!(swaps_found(&database.publisher, &one).await, 1000);
    database.assert_nothing_left().await;
}

/// A record of NULLs hashes to 0 whatever its seed: two sums that begin with that would be one.
#[tokio::test]
async fn two_sums_are_two_also_where_all_that_may_be_null_is() {
    let lease = shared_pair(16, 18).shared().await.unwrap();
    let database = lease.database("digest_all_null").await.unwrap();
    database.both("CREATE TABLE t (id integer PRIMARY KEY, v text NOT NULL, note text, at timestamptz)").await.unwrap();
    database.publisher.sql("INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 100) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    for side in ["publisher", "subscriber"] {
        let statement = statement(&database, "t", side, "digest").await;
        let server = if side == "publisher" { &database.publisher } else { &database.subscriber };
        let differ = format!("SELECT s1 <> s2 FROM ({statement}) AS d (c, s1, s2)");
        assert_eq!(server.value(&differ).await.unwrap(), "t", "{statement}");
    }
    database.assert_nothing_left().await;
}

/// Also those that only another representation shows: numeric and jsonb are hashed by all of their bytes.
#[tokio::test]
async fn every_damage_is_found_and_named_as_without_digests() {
    damage::alone(14, 16, "digest_damage", 10_000, &["--scan", "digest"]).await;
}

#[tokio::test]
async fn other_names_and_types_are_digested_in_the_form_in_which_rows_are_compared() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("digest_mapped").await.unwrap();
    database.publisher.sql(mapping::PUBLISHER).await.unwrap();
    database.subscriber.sql(mapping::SUBSCRIBER).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("triplecheck.toml");
    std::fs::write(&file, format!("scan = \"digest\"\n{}", mapping::MAPPING)).unwrap();
    let verify = || Verify::new(&database).args("--gate none --config").arg(file.to_str().unwrap());
    let ran = verify().run().await;
    lines::assert_match(&ran);
    assert_eq!(digests(&ran), ["orders match 128", "plain match 128"]);
    database.subscriber.sql("UPDATE \"New Shop\".purchase SET remark = 'x' WHERE number = 5").await.unwrap();
    let ran = verify().args("--checks rows").run().await;
    assert_eq!(lines::differences(&ran), ["orders changed id=5 [note]"]);
    assert_eq!(digests(&ran), ["orders different 128", "plain match 128"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn a_server_that_cannot_hash_rows_has_them_read() {
    let lease = shared_pair(12, 14).shared().await.unwrap();
    let database = lease.database("digest_old").await.unwrap();
    database.both("CREATE TABLE t (id integer PRIMARY KEY, v text)").await.unwrap();
    database.publisher.sql("INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let ran = verify(&database, "digest").run().await;
    lines::assert_match(&ran);
    let why = "the publisher is PostgreSQL 12, which cannot hash rows: that takes 14";
    assert_eq!(digests(&ran), [format!("t unproven null public.t was read row by row: {why}")]);
    assert!(ran.json["totals"]["bytes"].as_u64().unwrap() > 0);
    let text = verify(&database, "digest").text().await.stdout;
    assert!(text.contains(why) && !text.contains("rests on equal digests"), "{text}");
    database.assert_nothing_left().await;
}

/// A float's zero has a sign that hashes and text forms do not agree on: digests and rows may say different things of equal
/// and of unequal values, but never a wrong verdict.
#[tokio::test]
async fn what_digests_pass_over_is_what_the_types_own_equality_passes_over() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("digest_floats").await.unwrap();
    database.both("CREATE TABLE floats (id integer PRIMARY KEY, d double precision, f real)").await.unwrap();
    database.publisher.sql("INSERT INTO floats VALUES (1, 0, 0), (2, 'NaN', 'NaN'), (3, 1.5, -1)").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database.subscriber.sql("UPDATE floats SET d = '-0' WHERE id = 1").await.unwrap();
    let ran = Verify::new(&database).args("--checks rows --scan digest").run().await;
    lines::assert_match(&ran);
    assert_eq!(digests(&ran), ["floats match 128"]);
    let ran = Verify::new(&database).args("--checks rows").run().await;
    assert_eq!(lines::differences(&ran), ["floats changed id=1 [d] ~"]);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn the_widest_table_is_digested_in_one_statement_and_by_parallel_workers() {
    let lease = shared_pair(16, 18).shared().await.unwrap();
    let database = lease.database("digest_wide").await.unwrap();
    let columns: Vec<_> = (1..1600).map(|at| format!("c{at} smallint")).collect();
    let table = format!("CREATE TABLE wide (id integer PRIMARY KEY, {})", columns.join(", "));
    database.both(&table).await.unwrap();
    // A chain of so many would be deeper than a server's stack.
    let columns: Vec<_> = (1..1600).map(|at| format!("c{at} smallint NOT NULL")).collect();
    database.both(&format!("CREATE TABLE never_null (id integer PRIMARY KEY, {})", columns.join(", "))).await.unwrap();
    let rows = format!("INSERT INTO never_null SELECT i{} FROM generate_series(1, 300) i", ", 1".repeat(1599));
    database.publisher.sql(&rows).await.unwrap();
    database
        .publisher
        .sql("INSERT INTO wide (id, c1, c1599) SELECT i, i, i FROM generate_series(1, 300) i")
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    for side in [&database.publisher, &database.subscriber] {
        // Where the server may, it takes workers.
        let settings = ["min_parallel_table_scan_size = 0", "parallel_setup_cost = 0", "parallel_tuple_cost = 0"];
        for setting in settings {
            side.sql(&format!("ALTER DATABASE {} SET {setting}", side.name())).await.unwrap();
        }
    }
    let ran = verify(&database, "digest").run().await;
    lines::assert_match(&ran);
    assert_eq!(digests(&ran), ["never_null match 128", "wide match 128"]);
    for side in ["publisher", "subscriber"] {
        let statement = statement(&database, "wide", side, "digest").await;
        let server = if side == "publisher" { &database.publisher } else { &database.subscriber };
        let plan = server.rows(&format!("EXPLAIN {statement}")).await.unwrap();
        let plan: Vec<String> = plan.into_iter().flatten().flatten().map(|line| line.trim().to_owned()).collect();
        assert!(plan.iter().any(|line| line.contains("Parallel Seq Scan")), "{plan:#?}");
        // The outer join is gone: it is there to have the record computed once.
        assert!(!plan.iter().any(|line| line.contains("Join") || line.contains("Loop")), "{plan:#?}");
    }
    for column in ["c1", "c1599"] {
        database.subscriber.sql(&format!("UPDATE wide SET {column} = 0 WHERE id = 77")).await.unwrap();
        database.subscriber.sql(&format!("UPDATE never_null SET {column} = 0 WHERE id = 78")).await.unwrap();
        let ran = Verify::new(&database).args("--checks rows --scan digest").run().await;
        let changed = [format!("never_null changed id=78 [{column}]"), format!("wide changed id=77 [{column}]")];
        assert_eq!(lines::differences(&ran), changed);
        database.subscriber.sql("UPDATE wide SET c1 = 77, c1599 = 77 WHERE id = 77").await.unwrap();
        database.subscriber.sql("UPDATE never_null SET c1 = 1, c1599 = 1 WHERE id = 78").await.unwrap();
    }
    database.assert_nothing_left().await;
}

/// Writes go on: what they touch between the snapshots is left out of the digests and put back as it was at the cut. Once as
/// the window of a slot says, and once, without a slot, as rows that are set aside.
async fn under_writes(label: &str, slot: bool) {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database(label).await.unwrap();
    database
        .both("CREATE TABLE busy (id bigint PRIMARY KEY, n numeric, note text); CREATE TABLE bag (a integer, t text); ALTER TABLE bag REPLICA IDENTITY FULL")
        .await
        .unwrap();
    let rows = "INSERT INTO busy SELECT i, i, 'note ' || i FROM generate_series(1, 5000) i; \
                INSERT INTO bag SELECT i % 40, 'bag' FROM generate_series(1, 400) i";
    database.publisher.sql(rows).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let role = format!("reads_{}", database.publisher.name());
    for side in [&database.publisher, &database.subscriber] {
        side.sql(&format!("CREATE ROLE {role} LOGIN; GRANT pg_monitor, pg_read_all_data TO {role}")).await.unwrap();
    }
    let statements = [
        "UPDATE busy SET n = n + 1 WHERE id = 1 + floor(random() * 300)::int".to_owned(),
        "INSERT INTO busy VALUES (1000000 + floor(random() * 1e9)::bigint, 1, 'new') ON CONFLICT DO NOTHING".to_owned(),
        "DELETE FROM busy WHERE id = (SELECT min(id) FROM busy WHERE id > 1000000)".to_owned(),
        "INSERT INTO bag VALUES (floor(random() * 40)::int + 100, 'new')".to_owned(),
        "DELETE FROM bag WHERE ctid = (SELECT ctid FROM bag WHERE a >= 100 LIMIT 1)".to_owned(),
    ];
    let options = LoadOptions { clients: 2, rate_per_second: Some(200.0), statements: statements.into() };
    let load = Load::start(&database.publisher, options).await.unwrap();
    let (mut keys, mut digested) = (0, 0);
    for _ in 0..6 {
        let verify = if slot {
            Verify::new(&database)
        } else {
            Verify::between(&database.publisher.conninfo_as(&role), &database.subscriber.conninfo_as(&role))
        };
        let ran = verify
            .args("--gate live --scope published --checks count,max,sum,rows --scan digest --jobs 2 --lag-timeout 60s");
        let ran = ran.run().await;
        assert!(ran.code == 0 || !slot && ran.code == 3, "{ran:#?}");
        keys += ran.json["gate"]["in_flight"]["keys"].as_u64().unwrap();
        digested += digests(&ran).iter().filter(|line| line.ends_with(" match 128")).count();
    }
    load.stop().await.unwrap();
    // With a slot every digest is of the rows at the cut, so that none may differ.
    assert!(if slot { digested == 12 && keys > 0 } else { digested > 0 }, "{digested} {keys}");
    database.catch_up().await.unwrap();
    database.subscriber.sql("UPDATE busy SET note = 'damaged' WHERE id = 4000").await.unwrap();
    let ran = Verify::new(&database).args("--checks rows --gate live --scope published --scan digest").run().await;
    assert_eq!(lines::differences(&ran), ["busy changed id=4000 [note]"]);
    database.assert_nothing_left().await;
    database.both(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn digests_are_of_the_cut_while_writes_go_on() {
    under_writes("digest_live", true).await;
}

#[tokio::test]
async fn digests_leave_out_what_is_set_aside() {
    under_writes("digest_aside", false).await;
}

#[tokio::test]
async fn a_role_that_may_not_hash_has_rows_read() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("digest_refused").await.unwrap();
    database.both("CREATE TABLE t (id integer PRIMARY KEY, v text)").await.unwrap();
    database.publisher.sql("INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i").await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let role = format!("reads_{}", database.publisher.name());
    database.both(&format!("CREATE ROLE {role} LOGIN; GRANT pg_monitor, pg_read_all_data TO {role}")).await.unwrap();
    let refuse = "REVOKE EXECUTE ON FUNCTION pg_catalog.hash_record_extended(record, bigint) FROM PUBLIC";
    database.subscriber.sql(refuse).await.unwrap();
    let verify = Verify::between(&database.publisher.conninfo_as(&role), &database.subscriber.conninfo_as(&role));
    let ran = verify.args("--gate none --scope published --checks count,rows --scan digest").run().await;
    lines::assert_match(&ran);
    let said = digests(&ran);
    let why = "t unproven null public.t was read row by row: the subscriber does not hash rows: ";
    assert!(said.len() == 1 && said[0].starts_with(why), "{said:?}");
    assert_eq!(ran.table("t")["scan"], "heap scan");
    database.assert_nothing_left().await;
    database.both(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
