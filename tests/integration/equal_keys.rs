//! Keys that are equal to their type and differ in their bytes: one row, changed in form only.

use triplecheck_testbed::{Replicated, shared_pair};

use crate::harness::{Ran, Verify};
use crate::lines;

async fn verify(database: &Replicated, args: &[&str]) -> Ran {
    args.iter().fold(Verify::new(database), |verify, arg| verify.arg(arg)).run().await
}

#[tokio::test]
async fn keys_that_are_equal_to_their_type_are_one_row() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("equal_keys").await.unwrap();
    database
        .both(
            "CREATE TABLE n (id numeric PRIMARY KEY, v text);
             CREATE TABLE f (id double precision PRIMARY KEY, v text);
             CREATE TABLE i (id interval PRIMARY KEY, v text);
             CREATE TABLE c (a numeric, b interval, v text, PRIMARY KEY (a, b));",
        )
        .await
        .unwrap();
    let rows = |number: &str, zero: &str, span: &str| {
        format!(
            "INSERT INTO n SELECT i * 2, 'v' FROM generate_series(1, 300) i; INSERT INTO n VALUES ({number}, 'v'), ('NaN', 'v');
             INSERT INTO f SELECT i, 'v' FROM generate_series(1, 300) i; INSERT INTO f VALUES ({zero}, 'v'), ('NaN', 'v');
             INSERT INTO i SELECT i * interval '7 h', 'v' FROM generate_series(1, 50) i; INSERT INTO i VALUES ({span}, 'v');
             INSERT INTO c VALUES ({number}, {span}, 'v'), ({number}, '1 s', 'v'), (7, {span}, 'v');"
        )
    };
    database.publisher.sql(&rows("1.0", "'0'", "'1 month'")).await.unwrap();
    database.subscriber.sql(&rows("1.00", "'-0'", "'30 days'")).await.unwrap();
    database.both("ANALYZE").await.unwrap();
    let without = ["--gate", "none"];
    for args in [&without[..], &["--gate", "none", "--chunk-rows", "50"]] {
        let ran = verify(&database, args).await;
        let rows = [
            "c changed a=1.0,b=00:00:01 [a] ~",
            "c changed a=1.0,b=1 mon [a,b] ~",
            "c changed a=7,b=1 mon [b] ~",
            "f changed id=0 [id] ~",
            "i changed id=1 mon [id] ~",
            "n changed id=1.0 [id] ~",
        ];
        lines::assert_different(&ran, &rows, &[]);
    }
    // Where more than the form differs, it is no question of representation.
    database
        .subscriber
        .sql("UPDATE n SET v = 'w' WHERE id = 1; UPDATE f SET id = 'NaN', v = 'w' WHERE id = 'NaN'")
        .await
        .unwrap();
    let ran = verify(&database, &["--gate", "none", "--table", "n", "--table", "f"]).await;
    let rows = ["f changed id=0 [id] ~", "f changed id=NaN [v]", "n changed id=1.0 [id,v]"];
    lines::assert_different(&ran, &rows, &[]);
}

/// Types that are made of others, and those of extensions.
#[tokio::test]
async fn keys_of_types_that_are_made_of_others() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("equal_nested_keys").await.unwrap();
    database
        .both(
            r#"CREATE SCHEMA "Ext"; CREATE EXTENSION citext SCHEMA "Ext";
             CREATE TYPE money_of AS (amount numeric, currency "Ext".citext);
             CREATE DOMAIN name_of AS "Ext".citext;
             CREATE TABLE by_citext (id "Ext".citext PRIMARY KEY, v text);
             CREATE TABLE by_domain (id name_of, n integer, v text, PRIMARY KEY (id, n));
             CREATE TABLE by_jsonb (id jsonb PRIMARY KEY, v text);
             CREATE TABLE by_array (id numeric[] PRIMARY KEY, v text);
             CREATE TABLE by_composite (id money_of PRIMARY KEY, v text);
             CREATE TABLE by_range (id numrange PRIMARY KEY, v text);
             CREATE TABLE by_multirange (id nummultirange PRIMARY KEY, v text);"#,
        )
        .await
        .unwrap();
    let rows = |word: &str, number: &str| {
        format!(
            r#"INSERT INTO by_citext SELECT 'Key' || i, 'v' FROM generate_series(1, 300) i;
             INSERT INTO by_citext VALUES ('{word}', 'v'), ('ß', 'v'), ('1.0', 'v');
             INSERT INTO by_domain VALUES ('{word}', 1, 'v'), ('{word}', 2, 'v'), ('else', 1, 'v');
             INSERT INTO by_jsonb SELECT to_jsonb(i), 'v' FROM generate_series(10, 300) i;
             INSERT INTO by_jsonb VALUES ('{{"a": [{number}, "1.0", "\"1.0"]}}', 'v'), ('{number}', 'v'), ('"1.0"', 'v'), ('"1.00"', 'v');
             INSERT INTO by_array VALUES ('{{{number}}}', 'v'), ('[2:2]={{{number}}}', 'v'), ('{{{{{number}}}}}', 'v'), ('{{NULL,{number}}}', 'v'), ('{{}}', 'v');
             INSERT INTO by_composite VALUES ('({number},{word})', 'v'), ('({number},)', 'v'), ('(,{word})', 'v');
             INSERT INTO by_range VALUES ('[{number},)', 'v'), ('({number},)', 'v'), ('empty', 'v'), ('(,)', 'v');
             INSERT INTO by_multirange VALUES ('{{[{number},2)}}', 'v'), ('{{[{number},2),[5,)}}', 'v'), ('{{}}', 'v');"#
        )
    };
    database.publisher.sql(&rows("Ärger", "1.0")).await.unwrap();
    database.subscriber.sql(&rows("äRGER", "1.00")).await.unwrap();
    database.both("ANALYZE").await.unwrap();
    let same = [
        r#"by_array changed id=[2:2]={1.0} [id] ~"#,
        "by_array changed id={1.0} [id] ~",
        "by_array changed id={NULL,1.0} [id] ~",
        "by_array changed id={{1.0}} [id] ~",
        "by_citext changed id=Ärger [id] ~",
        "by_composite changed id=(,Ärger) [id] ~",
        "by_composite changed id=(1.0,) [id] ~",
        "by_composite changed id=(1.0,Ärger) [id] ~",
        "by_domain changed id=Ärger,n=1 [id] ~",
        "by_domain changed id=Ärger,n=2 [id] ~",
        "by_jsonb changed id=1.0 [id] ~",
        r#"by_jsonb changed id={"a": [1.0, "1.0", "\"1.0"]} [id] ~"#,
        "by_multirange changed id={[1.0,2)} [id] ~",
        "by_multirange changed id={[1.0,2),[5,)} [id] ~",
        "by_range changed id=(1.0,) [id] ~",
        "by_range changed id=[1.0,) [id] ~",
    ];
    for args in [&["--gate", "none"][..], &["--gate", "none", "--chunk-rows", "50"]] {
        lines::assert_different(&verify(&database, args).await, &same, &[]);
    }
    database.assert_nothing_left().await;
}
