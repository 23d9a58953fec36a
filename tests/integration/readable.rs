//! What a role may not read is said by name, with the grant that it takes.

use serde_json::json;
use triplecheck_testbed::{Database, Lease, ReplicateOptions, Replicated, shared_pair};

use crate::harness::Verify;
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
