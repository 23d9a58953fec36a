//! Tables of every shape: empty, wide, large, partitioned, oddly named, and shaped otherwise on the subscriber.

use serde_json::json;
use triplecheck_testbed::{Lease, ReplicateOptions, Replicated, shared_pair};

use crate::harness::{Ran, Verify};
use crate::lines;

async fn lease() -> Lease {
    shared_pair(14, 16).shared().await.unwrap()
}

async fn verify(database: &Replicated, args: &[&str]) -> Ran {
    let verify = Verify::new(database).arg("--checks").arg("count,max,sum,rows").arg("--jobs").arg("2");
    let ran = args.iter().fold(verify, |verify, arg| verify.arg(arg)).run().await;
    database.assert_nothing_left().await;
    ran
}

const UNREPLICATED: [&str; 2] = ["--gate", "none"];

#[tokio::test]
async fn empty_small_and_oddly_named_tables() {
    let lease = lease().await;
    let database = lease.database("shapes").await.unwrap();
    database
        .both(
            r#"CREATE TABLE empty (id integer PRIMARY KEY, total numeric, at timestamptz);
               CREATE TABLE emptied (LIKE empty INCLUDING ALL);
               CREATE TABLE filled (LIKE empty INCLUDING ALL);
               CREATE TABLE one (id integer PRIMARY KEY, v text);
               CREATE TABLE no_columns ();
               CREATE TABLE keyless_empty (v text);
               CREATE SCHEMA "Größe 😀 ""s""";
               CREATE TABLE "Größe 😀 ""s"""."It's a.""Tabelle"" 🐘" (
                   "k e y" integer, "K""E'Y" text, "a;b" text, "UPPER" numeric, "😀" timestamptz, "\" text, "$1" text, "select" integer,
                   PRIMARY KEY ("k e y", "K""E'Y"));
               CREATE SCHEMA a; CREATE SCHEMA "A";
               CREATE TABLE a.t (id integer PRIMARY KEY, v text);
               CREATE TABLE "A".t (id integer PRIMARY KEY, v text);
               CREATE TABLE "A"."T" (id integer PRIMARY KEY, v text);"#,
        )
        .await
        .unwrap();
    let odd = r#""Größe 😀 ""s"""."It's a.""Tabelle"" 🐘""#;
    let rows = format!(
        "INSERT INTO emptied SELECT i, i, now() FROM generate_series(1, 3) i;
         INSERT INTO one VALUES (7, 'x');
         INSERT INTO no_columns SELECT FROM generate_series(1, 3);
         INSERT INTO {odd} SELECT i, 'k''' || i, 'v', i * 1.5, '2024-01-01 UTC', 'b', 'c', i FROM generate_series(1, 300) i;
         INSERT INTO a.t SELECT i, 'a' || i FROM generate_series(1, 20) i;
         INSERT INTO \"A\".t SELECT i, 'A' || i FROM generate_series(1, 30) i;
         INSERT INTO \"A\".\"T\" SELECT i, 'T' || i FROM generate_series(1, 40) i;"
    );
    database.publisher.sql(&rows).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let ran = verify(&database, &["--chunk-rows", "50"]).await;
    lines::assert_match(&ran);
    let keyless = [
        "error no_replica_identity public.keyless_empty",
        "error no_replica_identity public.no_columns",
        "warning no_key public.keyless_empty",
        "warning no_key public.no_columns",
    ];
    assert_eq!(lines::findings(&ran), keyless);
    assert_eq!(lines::table_names(&ran).len(), 10);
    for (table, rows) in
        [("empty", 0), ("emptied", 3), ("one", 1), ("no_columns", 3), ("a.t", 20), ("A.t", 30), ("A.T", 40)]
    {
        assert_eq!(lines::table(&ran, table)["rows"], json!({"publisher": rows, "subscriber": rows}), "{table}");
    }

    let damage = format!(
        "DELETE FROM emptied; INSERT INTO filled VALUES (1, 2.5, '2020-01-01 UTC'), (2, NULL, NULL);
         UPDATE one SET v = 'y'; INSERT INTO no_columns DEFAULT VALUES; INSERT INTO keyless_empty VALUES (NULL);
         UPDATE {odd} SET \"a;b\" = 'w', \"UPPER\" = 0, \"😀\" = NULL, \"\\\" = '' WHERE \"k e y\" = 5;
         DELETE FROM {odd} WHERE \"k e y\" = 6;
         UPDATE \"A\".t SET v = 'a1' WHERE id = 1"
    );
    database.subscriber.sql(&damage).await.unwrap();
    let ran = verify(&database, &["--chunk-rows", "50"]).await;
    let odd = "Größe 😀 \"s\".It's a.\"Tabelle\" 🐘";
    let rows = [
        "A.t changed id=1 [v]".to_owned(),
        "emptied missing id=1".to_owned(),
        "emptied missing id=2".to_owned(),
        "emptied missing id=3".to_owned(),
        "filled extra id=1".to_owned(),
        "filled extra id=2".to_owned(),
        "keyless_empty extra keyless".to_owned(),
        "no_columns extra keyless".to_owned(),
        "one changed id=7 [v]".to_owned(),
        format!("{odd} changed k e y=5,K\"E'Y=k'5 [a;b,UPPER,😀,\\]"),
        format!("{odd} missing k e y=6,K\"E'Y=k'6"),
    ];
    let mut expected = rows.to_vec();
    expected.sort();
    assert_eq!(lines::differences(&ran), expected);
    assert_eq!(ran.code, 1);
    assert_eq!(lines::unproven(&ran), Vec::<String>::new());
    let figures = lines::figures(&ran);
    assert!(figures.contains(&"emptied sum(total) 6 null".to_owned()), "{figures:#?}");
    assert!(figures.contains(&"filled max(at) null 2020-01-01 00:00:00+00".to_owned()), "{figures:#?}");
    assert!(figures.contains(&"no_columns count 3 4".to_owned()), "{figures:#?}");
    let emptied = lines::array(&lines::table(&ran, "emptied")["causes"]);
    assert_eq!(emptied[0]["code"], "never_copied");
    // One of them, by its name as it must be quoted for pg_dump.
    let ran = verify(&database, &["--table", r#""A"."T""#]).await;
    lines::assert_match(&ran);
    assert_eq!(lines::table_names(&ran), ["A.T"]);
}

#[tokio::test]
async fn columns_that_stand_otherwise_on_the_subscriber() {
    let lease = lease().await;
    let database = lease.database("columns").await.unwrap();
    database
        .publisher
        .sql(
            "CREATE TABLE ordered (id integer PRIMARY KEY, a text, b text, c numeric);
             CREATE TABLE dropped (gone integer, id bigint PRIMARY KEY, gone_too text, v text);
             ALTER TABLE dropped DROP COLUMN gone, DROP COLUMN gone_too;
             CREATE TABLE generated (id integer PRIMARY KEY, v integer, twice integer GENERATED ALWAYS AS (v * 2) STORED);
             CREATE TABLE types (id integer PRIMARY KEY, i integer, s smallint, t text, v varchar(10), d date);
             INSERT INTO ordered SELECT i, 'a' || i, 'b' || i, i * 0.5 FROM generate_series(1, 200) i;
             INSERT INTO dropped SELECT i, 'v' || i FROM generate_series(1, 200) i;
             INSERT INTO generated SELECT i, i FROM generate_series(1, 50) i;
             INSERT INTO types SELECT i, i, i, 't' || i, 'v' || i, date '2024-01-01' + i FROM generate_series(1, 50) i;",
        )
        .await
        .unwrap();
    database
        .subscriber
        .sql(
            "CREATE TABLE ordered (b text, extra text DEFAULT 'mine', c numeric, noise double precision DEFAULT random(), id integer PRIMARY KEY, a text);
             CREATE TABLE dropped (v text, other integer, id bigint PRIMARY KEY);
             ALTER TABLE dropped DROP COLUMN other;
             CREATE TABLE generated (id integer PRIMARY KEY, v integer, twice integer GENERATED ALWAYS AS (v * 2) STORED);
             CREATE TABLE types (id integer PRIMARY KEY, i bigint, s integer, t varchar, v text, d date);",
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let ran = verify(&database, &["--chunk-rows", "60"]).await;
    lines::assert_match(&ran);
    let findings = [
        "info extra_column public.ordered.extra",
        "info extra_column public.ordered.noise",
        "warning column_type public.types.i",
        "warning column_type public.types.s",
        "warning column_type public.types.t",
        "warning column_type public.types.v",
    ];
    assert_eq!(lines::findings(&ran), findings);

    database
        .subscriber
        .sql(
            "UPDATE ordered SET a = b, b = a WHERE id = 5; UPDATE ordered SET extra = 'else' WHERE id = 6;
             UPDATE dropped SET v = 'v' WHERE id = 7; UPDATE generated SET v = 0 WHERE id = 8;
             UPDATE types SET i = 99 + 4294967296, t = t || ' ' WHERE id = 9",
        )
        .await
        .unwrap();
    let ran = verify(&database, &["--chunk-rows", "60"]).await;
    let rows = [
        "ordered changed id=5 [a,b]",
        "dropped changed id=7 [v]",
        "generated changed id=8 [v,twice]",
        "types changed id=9 [i,t]",
    ];
    lines::assert_different(&ran, &rows, &["generated sum(v)", "generated sum(twice)", "types sum(i)"]);
    assert_eq!(lines::findings(&ran), findings);
}

#[tokio::test]
async fn columns_that_cannot_be_compared_leave_the_table_unproven() {
    let lease = lease().await;
    let database = lease.database("not_comparable").await.unwrap();
    database
        .publisher
        .sql(
            "CREATE TABLE lacks (id integer PRIMARY KEY, v text, lost text);
             CREATE TABLE number (id integer PRIMARY KEY, n integer, v text);
             CREATE TABLE key_type (id integer PRIMARY KEY, v text);
             CREATE TABLE computed (id integer PRIMARY KEY, v integer, twice integer GENERATED ALWAYS AS (v * 2) STORED);
             CREATE TABLE fine (id integer PRIMARY KEY, v text);
             INSERT INTO lacks SELECT i, 'v', 'lost' FROM generate_series(1, 20) i;
             INSERT INTO number SELECT i, i % 2, 'v' FROM generate_series(1, 20) i;
             INSERT INTO key_type SELECT i, 'v' FROM generate_series(1, 20) i;
             INSERT INTO computed SELECT i, i FROM generate_series(1, 20) i;
             INSERT INTO fine SELECT i, 'v' FROM generate_series(1, 20) i;",
        )
        .await
        .unwrap();
    database
        .subscriber
        .sql(
            "CREATE TABLE lacks (id integer PRIMARY KEY, v text, lost text);
             CREATE TABLE number (id integer PRIMARY KEY, n boolean, v text);
             CREATE TABLE key_type (id money PRIMARY KEY, v text);
             CREATE TABLE computed (id integer PRIMARY KEY, v integer, twice integer);
             CREATE TABLE fine (id integer PRIMARY KEY, v text);",
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database.subscriber.sql("ALTER TABLE lacks DROP COLUMN lost").await.unwrap();
    let ran = verify(&database, &[]).await;
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert_eq!(ran.json["verdict"], "unproven");
    let unproven = [
        "computed not_replicated",
        "key_type column_not_comparable",
        "lacks column_not_comparable",
        "number column_not_comparable",
    ];
    assert_eq!(lines::unproven(&ran), unproven);
    let findings = [
        "error column_missing public.lacks.lost",
        "warning column_not_replicated public.computed.twice",
        "warning column_type public.key_type.id",
        "warning column_type public.number.n",
    ];
    assert_eq!(lines::findings(&ran), findings);
    assert_eq!((lines::differences(&ran), lines::figures(&ran)), (Vec::new(), Vec::new()));
    assert_eq!(lines::table(&ran, "fine")["verdict"], "match");
    for (table, named) in [("lacks", "lost"), ("number", "column n"), ("key_type", "column id"), ("computed", "twice")]
    {
        let message = lines::table(&ran, table)["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(named), "{table}: {message}");
    }
    let ran = verify(&database, &["--scope", "published"]).await;
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert_eq!(lines::unproven(&ran), unproven[1..]);

    // What can be compared still is.
    database
        .subscriber
        .sql("UPDATE lacks SET v = 'w' WHERE id = 3; UPDATE number SET v = 'w', n = true WHERE id = 4; UPDATE key_type SET v = 'w' WHERE id = 5::money")
        .await
        .unwrap();
    let ran = verify(&database, &[]).await;
    let rows =
        ["key_type extra keyless", "key_type missing keyless", "lacks changed id=3 [v]", "number changed id=4 [v]"];
    assert_eq!(lines::differences(&ran), rows);
    assert_eq!(lines::figures(&ran), Vec::<String>::new());
    assert_eq!(lines::unproven(&ran), ["computed not_replicated"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
}

#[tokio::test]
async fn as_many_columns_as_there_can_be() {
    let lease = lease().await;
    let database = lease.database("wide").await.unwrap();
    let columns = |kind: &str| (2..=1600).map(|c| format!("c{c} {kind}")).collect::<Vec<_>>().join(", ");
    database.both(&format!("CREATE TABLE wide (c1 integer PRIMARY KEY, {})", columns("integer"))).await.unwrap();
    database.both(&format!("CREATE TABLE texts (c1 integer PRIMARY KEY, {})", columns("text"))).await.unwrap();
    let values = (2..=1600).map(|c| format!("i + {c}")).collect::<Vec<_>>().join(", ");
    let rows = format!(
        "INSERT INTO wide SELECT i, {values} FROM generate_series(1, 60) i;
         INSERT INTO texts (c1, c2, c800, c1600) SELECT i, 'a' || i, 'b' || i, 'c' || i FROM generate_series(1, 60) i;"
    );
    database.both(&rows).await.unwrap();
    lines::assert_match(&verify(&database, &UNREPLICATED).await);
    database
        .subscriber
        .sql(
            "UPDATE wide SET c1600 = 0, c900 = NULL WHERE c1 = 20; UPDATE wide SET c2 = c2 + 1 WHERE c1 = 1;
             DELETE FROM texts WHERE c1 = 60; UPDATE texts SET c1599 = '' WHERE c1 = 3;",
        )
        .await
        .unwrap();
    let ran = verify(&database, &["--gate", "none", "--show-values"]).await;
    let rows = [
        "texts changed c1=3 [c1599]",
        "texts missing c1=60",
        "wide changed c1=1 [c2]",
        "wide changed c1=20 [c900,c1600]",
    ];
    let figures = ["texts count", "texts sum(c1)", "wide sum(c1600)", "wide sum(c2)", "wide sum(c900)"];
    lines::assert_different(&ran, &rows, &figures);
    let sum: u32 = (1..=60).map(|i| i + 1600).sum();
    let expected = ["different".to_owned(), sum.to_string(), (sum - 1620).to_string(), "1620".to_owned()];
    assert_eq!(lines::figure(&ran, "wide", "sum", "c1600"), expected.each_ref().map(String::as_str));
}

#[tokio::test]
async fn values_of_ten_megabytes() {
    let lease = lease().await;
    let database = lease.database("large_values").await.unwrap();
    database
        .both(
            "CREATE TABLE large (id integer PRIMARY KEY, t text, b bytea);
             ALTER TABLE large ALTER t SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
             INSERT INTO large SELECT i, repeat(md5('t' || i), 327680), convert_to(repeat(md5('b' || i), 327680), 'UTF8') FROM generate_series(1, 3) i;",
        )
        .await
        .unwrap();
    assert_eq!(database.publisher.value("SELECT max(length(b)) FROM large").await.unwrap(), "10485760");
    lines::assert_match(&verify(&database, &UNREPLICATED).await);
    database
        .subscriber
        .sql(
            "UPDATE large SET t = left(t, -1) || 'X' WHERE id = 2;
             UPDATE large SET b = set_byte(b, length(b) - 1, 88) WHERE id = 3;",
        )
        .await
        .unwrap();
    let ran = verify(&database, &["--gate", "none", "--show-values"]).await;
    lines::assert_different(&ran, &["large changed id=2 [t]", "large changed id=3 [b]"], &[]);
    for sample in lines::array(&lines::table(&ran, "large")["checks"]["rows"]["samples"]) {
        for side in ["publisher", "subscriber"] {
            let shown = sample[side]["t"].as_str().unwrap();
            assert!(shown.ends_with('…') && shown.chars().count() == 1001, "{}", shown.len());
        }
    }
}

/// Twelve months by list, hash or range on the publisher; the subscriber's leaves are its own.
const SALES: &str = "CREATE TABLE sales (id integer, month integer, amount numeric, PRIMARY KEY (id, month))";
const SALES_ROWS: &str = "INSERT INTO sales SELECT i, i % 12, i * 0.25 FROM generate_series(1, 1200) i; ANALYZE;";
const SALES_DAMAGE: &str = "DELETE FROM sales WHERE id = 100; UPDATE sales SET amount = 0 WHERE id = 131;
    INSERT INTO sales VALUES (5000, 3, 1), (-5, 11, 1);";

fn halves(table: &str, middle: u32) -> String {
    format!(
        "CREATE TABLE {table}_a PARTITION OF {table} FOR VALUES FROM (0) TO ({middle});
         CREATE TABLE {table}_b PARTITION OF {table} FOR VALUES FROM ({middle}) TO (12);"
    )
}

#[tokio::test]
async fn a_partitioned_table_published_through_its_root() {
    let lease = lease().await;
    let database = lease.database("by_root").await.unwrap();
    let deep = "CREATE TABLE sales_b PARTITION OF sales FOR VALUES FROM (6) TO (12) PARTITION BY HASH (id);
        CREATE TABLE sales_b0 PARTITION OF sales_b FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE sales_b1 PARTITION OF sales_b FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE sales_a PARTITION OF sales FOR VALUES FROM (0) TO (6);";
    database.publisher.sql(&format!("{SALES} PARTITION BY RANGE (month); {deep}")).await.unwrap();
    database.subscriber.sql(&format!("{SALES} PARTITION BY RANGE (month); {}", halves("sales", 4))).await.unwrap();
    // And one that is not partitioned on the subscriber.
    let other = "CREATE TABLE other (id integer PRIMARY KEY, v text)";
    database.publisher.sql(&format!("{other} PARTITION BY HASH (id); CREATE TABLE other_all PARTITION OF other FOR VALUES WITH (MODULUS 1, REMAINDER 0)")).await.unwrap();
    database.subscriber.sql(other).await.unwrap();
    database.publisher.sql(SALES_ROWS).await.unwrap();
    database.publisher.sql("INSERT INTO other SELECT i, 'v' FROM generate_series(1, 100) i").await.unwrap();
    let options =
        ReplicateOptions { publication_with: "publish_via_partition_root = true".to_owned(), ..Default::default() };
    database.replicate(options).await.unwrap();
    database.both("ANALYZE").await.unwrap();
    let args = ["--chunk-rows", "100"];
    let ran = verify(&database, &args).await;
    lines::assert_match(&ran);
    assert_eq!(lines::table_names(&ran), ["other", "sales"]);
    assert_eq!(lines::table(&ran, "sales")["checks"]["rows"]["chunks"], 12);
    database.subscriber.sql(SALES_DAMAGE).await.unwrap();
    database.subscriber.sql("UPDATE other SET v = '' WHERE id = 50").await.unwrap();
    let rows = [
        "other changed id=50 [v]",
        "sales missing id=100,month=4",
        "sales changed id=131,month=11 [amount]",
        "sales extra id=5000,month=3",
        "sales extra id=-5,month=11",
    ];
    let figures = ["sales count", "sales sum(id)", "sales sum(month)", "sales sum(amount)"];
    lines::assert_different(&verify(&database, &args).await, &rows, &figures);
}

/// Before 16 a partition may generate a column that its root does not, which COPY does not read from the partition.
#[tokio::test]
async fn a_partition_that_generates_what_its_root_does_not() {
    let lease = lease().await;
    let database = lease.database("generated_leaf").await.unwrap();
    let root = "CREATE TABLE doubled (id integer PRIMARY KEY, a integer, g integer) PARTITION BY RANGE (id);";
    let attach = "ALTER TABLE doubled ATTACH PARTITION doubled_a FOR VALUES FROM (0) TO (1000)";
    let leaf = |generated| {
        format!("{root} CREATE TABLE doubled_a (id integer PRIMARY KEY, a integer, g integer {generated}); {attach}")
    };
    database.publisher.sql(&leaf("GENERATED ALWAYS AS (a * 2) STORED")).await.unwrap();
    database.subscriber.sql(&leaf("")).await.unwrap();
    database.publisher.sql("INSERT INTO doubled_a SELECT i, i FROM generate_series(1, 100) i").await.unwrap();
    let options =
        ReplicateOptions { publication_with: "publish_via_partition_root = true".to_owned(), ..Default::default() };
    database.replicate(options).await.unwrap();
    let ran = verify(&database, &[]).await;
    lines::assert_match(&ran);
    database.subscriber.sql("UPDATE doubled SET g = 0 WHERE id = 7").await.unwrap();
    lines::assert_different(&verify(&database, &[]).await, &["doubled changed id=7 [g]"], &["doubled sum(g)"]);
}

#[tokio::test]
async fn a_partitioned_table_published_by_its_leaves() {
    let lease = lease().await;
    let database = lease.database("by_leaves").await.unwrap();
    database.publisher.sql(&format!("{SALES} PARTITION BY RANGE (month); {}", halves("sales", 6))).await.unwrap();
    // The leaves have the same names, but only there are they part of anything.
    let leaf = SALES.replace("TABLE sales", "TABLE sales_a");
    database.subscriber.sql(&format!("{leaf}; {}", SALES.replace("TABLE sales", "TABLE sales_b"))).await.unwrap();
    database.publisher.sql(SALES_ROWS).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database.both("ANALYZE").await.unwrap();
    let args = ["--chunk-rows", "100"];
    let ran = verify(&database, &args).await;
    lines::assert_match(&ran);
    assert_eq!(lines::table_names(&ran), ["sales_a", "sales_b"]);
    let damage =
        SALES_DAMAGE.replace("DELETE FROM sales ", "DELETE FROM sales_a ").replace("UPDATE sales ", "UPDATE sales_b ");
    database
        .subscriber
        .sql(&damage.replace("INTO sales VALUES (5000, 3, 1), (-5, 11, 1)", "INTO sales_b VALUES (5000, 3, 1)"))
        .await
        .unwrap();
    let rows = [
        "sales_a missing id=100,month=4",
        "sales_b changed id=131,month=11 [amount]",
        // No partition bound stops it there.
        "sales_b extra id=5000,month=3",
    ];
    let figures = [
        "sales_a count",
        "sales_a sum(id)",
        "sales_a sum(month)",
        "sales_a sum(amount)",
        "sales_b count",
        "sales_b sum(id)",
        "sales_b sum(month)",
        "sales_b sum(amount)",
    ];
    lines::assert_different(&verify(&database, &args).await, &rows, &figures);
}

#[tokio::test]
async fn tables_that_inherit_and_types_that_grew() {
    let lease = lease().await;
    let database = lease.database("inherited").await.unwrap();
    let create = "CREATE TABLE parent (id integer PRIMARY KEY, v text);
                  CREATE TABLE child (w text, PRIMARY KEY (id)) INHERITS (parent);
                  CREATE TYPE state AS ENUM ('open', 'shut');
                  CREATE TABLE doors (s state, id integer, PRIMARY KEY (s, id));
                  CREATE TABLE computed (id integer PRIMARY KEY, v integer);";
    database.both(create).await.unwrap();
    let rows = "INSERT INTO parent SELECT i, 'p' FROM generate_series(1, 30) i; INSERT INTO child SELECT i, 'c', 'w' FROM generate_series(1, 20) i;
                INSERT INTO doors SELECT CASE i % 2 WHEN 0 THEN 'open' ELSE 'shut' END::state, i FROM generate_series(1, 40) i;
                INSERT INTO computed SELECT i, 7 FROM generate_series(1, 10) i; ANALYZE;";
    database.both(rows).await.unwrap();
    let args = ["--gate", "none", "--chunk-rows", "10"];
    let ran = verify(&database, &args).await;
    lines::assert_match(&ran);
    assert_eq!(lines::table(&ran, "parent")["rows"], json!({"publisher": 30, "subscriber": 30}));
    database
        .subscriber
        .sql(
            "UPDATE ONLY parent SET v = 'x' WHERE id = 3; DELETE FROM child WHERE id = 4;
             ALTER TYPE state ADD VALUE 'ajar' BEFORE 'shut';
             ALTER TABLE computed DROP COLUMN v; ALTER TABLE computed ADD COLUMN v integer GENERATED ALWAYS AS (CASE WHEN id = 5 THEN 8 ELSE 7 END) STORED;",
        )
        .await
        .unwrap();
    database
        .subscriber
        .sql("INSERT INTO doors VALUES ('ajar', 7); DELETE FROM doors WHERE (s, id) = ('open', 8)")
        .await
        .unwrap();
    let ran = verify(&database, &args).await;
    let rows = [
        "parent changed id=3 [v]",
        "child missing id=4",
        "doors extra s=ajar,id=7",
        "doors missing s=open,id=8",
        "computed changed id=5 [v]",
    ];
    lines::assert_different(&ran, &rows, &["child count", "child sum(id)", "doors sum(id)", "computed sum(v)"]);
    assert_eq!(lines::findings(&ran), ["warning generated_on_subscriber public.computed.v"]);
}
