//! What the subscriber's schema lacks of the publisher's is said, and does not change the verdict.

use triplecheck_testbed::{ReplicateOptions, shared_pair};

use crate::harness::Verify;

#[tokio::test]
async fn what_the_subscriber_lacks() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("drift").await.unwrap();
    let common =
        "CREATE TABLE parent (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY, v int, w int UNIQUE);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';";
    database.both(common).await.unwrap();
    database
        .publisher
        .sql(
            "CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION hstore;
             CREATE INDEX by_v ON u (v); ALTER TABLE u ADD CONSTRAINT small CHECK (v < 10);
             CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL DEFAULT 7, b text DEFAULT 'x', c int CHECK (c > 0), d int REFERENCES parent, e int UNIQUE,
                 f int DEFAULT 3, g int);
             CREATE INDEX by_g ON t (g DESC) WHERE g > 0; CREATE INDEX by_b ON t (lower(b)); CREATE INDEX by_c ON t (c);
             ALTER TABLE t ADD CONSTRAINT late CHECK (g < 100);
             ALTER TABLE t ENABLE ROW LEVEL SECURITY;
             INSERT INTO parent VALUES (1, 1); INSERT INTO t (id, c, d, e) VALUES (1, 1, 1, 1)",
        )
        .await
        .unwrap();
    database
        .subscriber
        .sql(
            "CREATE EXTENSION ltree; CREATE EXTENSION hstore VERSION '1.7';
             CREATE INDEX by_v ON u (v DESC); ALTER TABLE u ADD CONSTRAINT small CHECK (v < 11); ALTER TABLE u ENABLE ROW LEVEL SECURITY;
             CREATE TRIGGER of_replicas BEFORE UPDATE ON u FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE u ENABLE REPLICA TRIGGER of_replicas;
             CREATE TRIGGER of_origins BEFORE UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION f();
             CREATE TABLE t (id int PRIMARY KEY, a int, b text DEFAULT 'y', c int, d int, e int, f int, g int);
             CREATE INDEX another_name ON t (lower(b)); CREATE INDEX by_c ON t (c);
             UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_c'::regclass;
             ALTER TABLE t ADD CONSTRAINT late CHECK (g < 100) NOT VALID;
             CREATE TRIGGER fires AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t ENABLE ALWAYS TRIGGER fires;
             ALTER DATABASE drift_database SET lc_monetary = 'POSIX'; ALTER DATABASE drift_database SET TimeZone = 'Asia/Kolkata'"
                .replace("drift_database", database.subscriber.name())
                .as_str(),
        )
        .await
        .unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let ran = Verify::new(&database).args("--lag-timeout 30s").run().await;
    ran.assert_code(0);
    assert_eq!(
        ran.findings(),
        [
            "info constraint_differs public.u.small",
            "info default_differs public.t.b",
            "info extension_differs citext",
            "info extension_differs hstore",
            "info index_differs public.u.by_v",
            "warning constraint_missing public.t.t_c_check",
            "warning constraint_missing public.t.t_d_fkey",
            "warning constraint_missing public.t.t_e_key",
            "warning constraint_not_valid public.t.late",
            "warning default_missing public.t.a",
            "warning default_missing public.t.f",
            "warning index_invalid public.t.by_c",
            "warning index_missing public.t.by_g",
            "warning not_null_missing public.t.a",
            "warning row_security_differs public.t",
            "warning row_security_differs public.u",
            "warning setting_differs TimeZone",
            "warning setting_differs lc_monetary",
            "warning trigger_fires_on_apply public.t",
            "warning trigger_fires_on_apply public.u",
        ]
    );
    // Somebody who looks at a single table is not told of the whole.
    let ran = Verify::new(&database).args("--table parent").run().await;
    assert_eq!(ran.findings(), Vec::<String>::new());
    database.assert_nothing_left().await;
}
