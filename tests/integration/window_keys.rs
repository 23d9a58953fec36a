//! Keys that change between the two snapshots of a sync point, in a way that their operators do not see, or of types that
//! operators do not take as they are.

use crate::harness::Verify;
use crate::lines;
use crate::proxy::Proxy;
use crate::staged::{between_snapshots, servers};
use triplecheck_testbed::{ReplicateOptions, Replicated};

/// Types whose `=` passes over the form of a value: two forms of one value, and a third value.
const FORMS: [(&str, &str, [&str; 3]); 6] = [
    ("of_numeric", "numeric", ["1.0", "1.00", "7"]),
    ("of_float8", "double precision", ["0", "-0", "7"]),
    ("of_interval", "interval", ["1 mon", "30 days", "7 days"]),
    ("of_jsonb", "jsonb", ["[1.0]", "[1.00]", "7"]),
    ("of_array", "numeric[]", ["{1.0,NULL}", "{1.00,NULL}", "{7}"]),
    ("of_domain", "amount", ["1.0", "1.00", "7"]),
];

async fn write(database: &Replicated, sql: impl Fn(&str, [&str; 3]) -> String) {
    let all: Vec<_> = FORMS.iter().map(|(table, _, values)| sql(table, *values)).collect();
    database.publisher.sql(&all.join(";")).await.unwrap();
}

/// The key of a row that is known by its value alone: 1.0 goes, and 1.00 comes.
#[tokio::test]
async fn keys_that_change_their_form_only() {
    let pair = servers().await;
    let database = pair.database("key_forms").await.unwrap();
    let mut schema =
        "CREATE DOMAIN amount AS numeric; CREATE TABLE held (id int PRIMARY KEY); CREATE TABLE held_too (id int PRIMARY KEY);"
            .to_owned();
    for (table, kind, _) in FORMS {
        schema.push_str(&format!("CREATE TABLE {table} (k {kind} PRIMARY KEY, v text);"));
    }
    database.both(&schema).await.unwrap();
    write(&database, |table, [one, _, third]| format!("INSERT INTO {table} VALUES ('{one}', 'v'), ('{third}', 'v')"))
        .await;
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let proxy = Proxy::before(&database.subscriber);

    // By an update.
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    write(&database, |table, [one, other, _]| format!("UPDATE {table} SET k = '{other}' WHERE k = '{one}'")).await;
    database.catch_up().await.unwrap();
    proxy.release();
    lines::assert_match(&running.finish().await);

    // By a row that goes and another one that comes; and one that comes and goes.
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    write(&database, |table, [one, _, third]| {
        format!(
            "DELETE FROM {table} WHERE k = '{one}'; INSERT INTO {table} VALUES ('{one}', 'w'); DELETE FROM {table} WHERE k = '{third}'"
        )
    })
    .await;
    database.catch_up().await.unwrap();
    proxy.release();
    lines::assert_match(&running.finish().await);

    // What the subscriber has in another form, or did not get, is a difference all the same.
    database.subscriber.sql("UPDATE of_numeric SET k = 1.000; UPDATE of_interval SET v = 'x'").await.unwrap();
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    write(&database, |table, [_, other, _]| format!("INSERT INTO {table} (k) SELECT '{other}' WHERE false")).await;
    database.publisher.sql("UPDATE of_jsonb SET k = '[1.00]'").await.unwrap();
    database.catch_up().await.unwrap();
    proxy.release();
    let ran = running.finish().await;
    let rows = ["of_interval changed k=1 mon [v]", "of_numeric changed k=1.0 [k] ~"];
    assert_eq!(lines::differences(&ran), rows);
    assert_eq!(lines::unproven(&ran), Vec::<String>::new());
    database.assert_nothing_left().await;
}

/// No operator takes a domain over an enum: its identities are looked up as those of the enum.
#[tokio::test]
async fn keys_of_domains_over_enums() {
    let pair = servers().await;
    let database = pair.database("key_domains").await.unwrap();
    database
        .both(
            "CREATE TABLE held (id int PRIMARY KEY); CREATE TABLE held_too (id int PRIMARY KEY);
             CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'Zen'); CREATE DOMAIN feeling AS mood; CREATE DOMAIN mine AS feeling;
             CREATE DOMAIN several AS integer[]; CREATE TYPE two AS (a integer, b text); CREATE DOMAIN both_of AS two;
             CREATE TABLE moods (m mine, id integer, v text, PRIMARY KEY (m, id));
             CREATE TABLE lists (k several PRIMARY KEY, v text); CREATE TABLE pairs (k both_of PRIMARY KEY, v text)",
        )
        .await
        .unwrap();
    database
        .publisher
        .sql(
            "INSERT INTO moods SELECT (enum_range(NULL::mood))[1 + i % 4], i, 'v' FROM generate_series(1, 40) i;
             INSERT INTO lists SELECT ARRAY[i, 7], 'v' FROM generate_series(1, 40) i;
             INSERT INTO pairs SELECT ROW(i, 'b')::two, 'v' FROM generate_series(1, 40) i",
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let proxy = Proxy::before(&database.subscriber);
    let running = between_snapshots(&pair, &database, &proxy, ["postgres"; 2]).await;
    database
        .publisher
        .sql(
            "UPDATE moods SET v = 'w' WHERE id = 3; DELETE FROM moods WHERE id = 4; UPDATE moods SET m = 'Zen' WHERE id = 5;
             INSERT INTO moods VALUES ('happy', 100, 'new');
             UPDATE lists SET v = 'w' WHERE k = '{3,7}'; DELETE FROM lists WHERE k = '{4,7}'; INSERT INTO lists VALUES ('[0:0]={9}', 'new');
             UPDATE pairs SET v = 'w' WHERE (k).a = 3; DELETE FROM pairs WHERE (k).a = 4; INSERT INTO pairs VALUES ('(,)', 'new')",
        )
        .await
        .unwrap();
    database.catch_up().await.unwrap();
    proxy.release();
    lines::assert_match(&running.finish().await);
    // Without a slot, rows are looked up at later moments.
    let role = format!("domains_{}", database.publisher.name());
    database.both(&format!("CREATE ROLE {role} LOGIN; GRANT pg_monitor, pg_read_all_data TO {role}")).await.unwrap();
    let [publisher, subscriber] = [&database.publisher, &database.subscriber].map(|side| side.conninfo_as(&role));
    database
        .subscriber
        .sql("UPDATE moods SET v = 'x' WHERE id = 7; DELETE FROM lists WHERE k = '{7,7}'")
        .await
        .unwrap();
    let ran = Verify::between(&publisher, &subscriber).args("--gate live --lag-timeout 60s --checks rows").run().await;
    assert_eq!(lines::differences(&ran), ["lists missing k={7,7}", "moods changed m=Zen,id=7 [v]"]);
    assert_eq!(lines::unproven(&ran), Vec::<String>::new());
    database.assert_nothing_left().await;
    database.both(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
