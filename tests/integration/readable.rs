//! What a role may not read is said by name, with the grant that it takes.

use serde_json::json;
use triplecheck_testbed::{Database, Lease, ReplicateOptions, Replicated, shared_pair};

use crate::harness::{Ran, Verify};
use crate::scope::{message, tables};

/// A role that may log in on both sides, and no more.
async fn plain_role(database: &Replicated) -> String {
    let role = format!("plain_{}", database.publisher.name());
    database.both(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    role
}

async fn drop_role(database: &Replicated, role: &str) {
    database.both(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

fn as_role(database: &Replicated, role: &str) -> Verify {
    let conninfo = |side: &Database| side.conninfo_as(role);
    Verify::between(&conninfo(&database.publisher), &conninfo(&database.subscriber)).args("--lag-timeout 30s")
}

async fn readable(lease: &Lease, label: &str) -> (Replicated, String) {
    let database = lease.database(label).await.unwrap();
    tables(&database, &["orders", "secrets"]).await;
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let role = plain_role(&database).await;
    database.both(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")).await.unwrap();
    (database, role)
}

#[tokio::test]
async fn a_role_that_may_only_read_tables_reaches_the_gate() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let (database, role) = readable(&lease, "plain").await;
    let ran = as_role(&database, &role).run().await;
    ran.assert_code(0);
    assert_eq!(ran.tables(), ["public.orders match -", "public.secrets match -"]);
    assert_eq!((&ran.json["publisher"]["user"], &ran.json["gate"]["lag_bytes"]), (&json!(role), &json!(0)));
    database.publisher.sql("UPDATE orders SET note = 'new'").await.unwrap();
    as_role(&database, &role).run().await.assert_code(0);
    database.assert_nothing_left().await;
    drop_role(&database, &role).await;
}

#[tokio::test]
async fn a_privilege_that_is_missing() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let (database, role) = readable(&lease, "unprivileged").await;
    for (name, side) in [("publisher", &database.publisher), ("subscriber", &database.subscriber)] {
        side.sql(&format!("REVOKE SELECT ON secrets FROM {role}")).await.unwrap();
        let ran = as_role(&database, &role).run().await;
        ran.assert_code(3);
        assert_eq!(ran.tables(), ["public.orders match -", "public.secrets unproven permission_denied"]);
        let message = message(&ran, "secrets");
        let grant = format!("GRANT SELECT ON \"public\".\"secrets\" TO \"{role}\"").replace('"', "");
        assert!(message.contains("public.secrets") && message.contains(&format!("on the {name}")), "{message}");
        assert!(message.replace('"', "").contains(&grant), "{message}");
        assert_eq!(ran.findings(), ["error permission_denied public.secrets"]);
        as_role(&database, &role).args("-T secrets").run().await.assert_code(0);

        // A column is enough to miss.
        side.sql(&format!("GRANT SELECT (id) ON secrets TO {role}")).await.unwrap();
        let ran = as_role(&database, &role).run().await;
        ran.assert_code(3);
        assert_eq!(ran.tables(), ["public.orders match -", "public.secrets unproven permission_denied"]);
        assert!(ran.table("secrets")["message"].as_str().unwrap().contains("note"), "{ran:#?}");
        side.sql(&format!("GRANT SELECT ON secrets TO {role}")).await.unwrap();
    }
    // Rows that a policy hides are not taken for rows that are not there.
    database.subscriber.sql("ALTER TABLE secrets ENABLE ROW LEVEL SECURITY").await.unwrap();
    let ran = as_role(&database, &role).run().await;
    ran.assert_code(3);
    assert_eq!(ran.tables(), ["public.orders match -", "public.secrets unproven permission_denied"]);
    assert!(message(&ran, "secrets").contains("row-level security"), "{ran:#?}");
    database.assert_nothing_left().await;
    drop_role(&database, &role).await;
}

/// What a plan says of a table: scan, chunks, slices and statements of both sides, reason.
fn planned(ran: &Ran, name: &str) -> (String, u64, [u64; 2], usize, Option<String>) {
    let table = ran.table(name);
    let text = |field: &str| table[field].as_str().map(str::to_owned);
    let slices = ["publisher", "subscriber"].map(|side| table["slices"][side].as_u64().unwrap());
    let statements = ["publisher", "subscriber"].map(|side| table["statements"][side].as_array().unwrap().len());
    (text("scan").unwrap(), table["chunks"].as_u64().unwrap(), slices, statements.iter().sum(), text("reason"))
}

#[tokio::test]
async fn a_plan_tells_the_larger_side_and_what_would_not_be_read() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("planned").await.unwrap();
    tables(&database, &["orders", "parcels", "secrets"]).await;
    // Else the sizes may change while they are looked at.
    let fixed = |table: &str| format!("ALTER TABLE {table} SET (autovacuum_enabled = false)");
    for table in ["orders", "parcels", "secrets"] {
        database.both(&fixed(table)).await.unwrap();
    }
    let more =
        "INSERT INTO parcels SELECT i, 'gone' FROM generate_series(1001, 20000) i; DELETE FROM parcels WHERE id > 1000";
    database.publisher.sql(more).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    database.subscriber.sql("INSERT INTO orders SELECT i, 'extra' FROM generate_series(1001, 20000) i").await.unwrap();
    // Nothing is replicated any more that would miss it.
    database.publisher.sql("ALTER TABLE parcels ADD COLUMN weight int").await.unwrap();
    database.both("ANALYZE").await.unwrap();
    let role = plain_role(&database).await;
    database.both(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")).await.unwrap();
    database.subscriber.sql(&format!("REVOKE SELECT ON secrets FROM {role}")).await.unwrap();
    let plan = || {
        let conninfo = |side: &Database| side.conninfo_as(&role);
        Verify::between(&conninfo(&database.publisher), &conninfo(&database.subscriber)).plan()
    };

    let ran = plan().run().await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    for (name, rows, side, other) in [
        ("orders", 19_100, &database.subscriber, &database.publisher),
        // No less than a row on each of its pages, most of which are empty.
        ("parcels", 104, &database.publisher, &database.subscriber),
    ] {
        let size = format!("SELECT pg_table_size('{name}')");
        let sizes = [side.value(&size).await.unwrap(), other.value(&size).await.unwrap()];
        let [more, less]: [u64; 2] = sizes.map(|size| size.parse().unwrap());
        assert!(more > 2 * less, "{name}: {more} and {less}");
        let table = ran.table(name);
        assert_eq!((&table["rows_estimate"], &table["bytes_estimate"]), (&json!(rows), &json!(more)), "{table:#}");
    }
    // The figures and the rows, on each side.
    assert_eq!(planned(&ran, "orders"), ("heap scan".to_owned(), 1, [1, 1], 4, None));
    // What cannot be proven may be worth reading all the same.
    let reason = Some("column_not_comparable".to_owned());
    assert_eq!(planned(&ran, "parcels"), ("heap scan".to_owned(), 1, [1, 1], 4, reason));
    let reason = Some("permission_denied".to_owned());
    assert_eq!(planned(&ran, "secrets"), (String::new(), 0, [0, 0], 0, reason));
    assert_eq!((&ran.table("secrets")["why"], &ran.table("secrets")["chunked_by"]), (&json!(""), &json!("")));

    let text = plan().text().await;
    let grid = text.stdout.lines().find(|line| line.trim_start().starts_with("public.secrets ")).unwrap();
    assert!(grid.ends_with("  not read"), "{grid}");
    assert!(text.stdout.contains("  unproven   permission_denied: "), "{}", text.stdout);
    for statement in ["FROM ONLY", "COPY"] {
        assert!(!text.stdout.contains(&format!("{statement} \"public\".\"secrets\"")), "{}", text.stdout);
    }
    let closing = text.stdout.lines().last().unwrap();
    let claim = "PLAN: verify would read 2 tables in 2 chunks, at most about 19,204 rows and ";
    assert!(
        closing.starts_with(claim) && closing.contains(" on each side; 2 tables cannot be proven to match"),
        "{closing}"
    );
    database.assert_nothing_left().await;
    drop_role(&database, &role).await;
}

#[tokio::test]
async fn a_sequence_that_may_not_be_read() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let (database, role) = readable(&lease, "unreadable_sequence").await;
    database.both("CREATE SEQUENCE numbers").await.unwrap();
    let ran = as_role(&database, &role).run().await;
    ran.assert_code(3);
    assert_eq!(ran.sequences(), ["numbers unproven - -"]);
    assert_eq!(ran.json["sequences"][0]["reason"], "permission_denied");
    let message = ran.json["sequences"][0]["message"].as_str().unwrap();
    assert!(message.contains("GRANT SELECT ON SEQUENCE") && message.contains("numbers"), "{message}");
    database.both(&format!("GRANT SELECT ON SEQUENCE numbers TO {role}")).await.unwrap();
    as_role(&database, &role).run().await.assert_code(0);
    database.assert_nothing_left().await;
    drop_role(&database, &role).await;
}
