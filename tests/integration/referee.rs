//! Under load and with damage of every kind, `verify` finds exactly the differences that an independent referee finds.
//!
//! How the referee knows what stood at R is in [`crate::audit`].

#![allow(clippy::print_stdout)] // Figures for who reads the test's output.

use std::time::{Duration, Instant};

use triplecheck_testbed::{Load, LoadOptions, ReplicateOptions, Replicated, mixed, shared_pair};

use crate::audit::{Audit, published};
use crate::harness::Verify;

/// How long verifies follow each other under load.
const TIME: Duration = Duration::from_secs(18);
/// Transactions of the mixed load in a second: every row change is written to the audit as well, and marked.
const RATE: f64 = 150.0;
/// Everything that is listed must be judged.
const SAMPLES: &str = "--samples 10000 --scope published --checks count,max,sum,rows --jobs 2";

/// Apply skips some of what it should do: from then on, hot rows are now and then not what they should be, rows that the
/// publisher deleted stay, and rows that it inserted never come. Only keys that the publisher never uses again stay or
/// lack, so that replication does not stop at a conflict.
const SKIPS: &str = "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
     CREATE TRIGGER skip_update BEFORE UPDATE ON hot FOR EACH ROW WHEN (random() < 0.3) EXECUTE FUNCTION skip(); \
     ALTER TABLE hot ENABLE REPLICA TRIGGER skip_update; \
     CREATE TRIGGER skip_delete BEFORE DELETE ON bulk FOR EACH ROW WHEN (random() < 0.002) EXECUTE FUNCTION skip(); \
     ALTER TABLE bulk ENABLE REPLICA TRIGGER skip_delete; \
     CREATE TRIGGER skip_insert BEFORE INSERT ON bulk FOR EACH ROW WHEN (random() < 0.002) EXECUTE FUNCTION skip(); \
     ALTER TABLE bulk ENABLE REPLICA TRIGGER skip_insert;";

/// What is done to the subscriber, one after the other, while replication writes: `$N` is a number that counts up.
const DAMAGES: [&str; 18] = [
    // Cold rows: they stay as they are made.
    "DELETE FROM account WHERE id = 1001 + $N",
    "INSERT INTO account VALUES (5000 + $N, 1, 'extra', 0.5, now(), NULL)",
    "UPDATE account SET n = coalesce(n, 0) + 1 WHERE id = 1101 + $N",
    "UPDATE account SET big = '' WHERE id = (SELECT min(id) FROM account WHERE id > 1000 AND big IS NULL)",
    "UPDATE account SET big = NULL WHERE id = (SELECT max(id) FROM account WHERE id BETWEEN 1000 AND 1600 AND big <> '')",
    "UPDATE pair_key p SET v = q.v FROM pair_key q WHERE p.b IN ('cold1001', 'cold1002') AND q.b IN ('cold1001', 'cold1002') AND p.b <> q.b",
    "UPDATE indexed SET v = CASE WHEN v IS NULL THEN '' END WHERE id = 1001 + $N",
    "DELETE FROM parted WHERE id = 1001 + $N",
    "INSERT INTO parted VALUES (5000 + $N, $N % 3, 0.10)",
    "UPDATE parted SET v = v + 0.01 WHERE id = 1201 + $N",
    // Hot rows: replication may put them right again, or not see them.
    "UPDATE hot SET n = n - 1 WHERE id = 1 + $N % 3",
    "UPDATE hot SET note = '' WHERE id = 1 + $N % 3",
    "UPDATE account SET n = coalesce(n, 0) + 1000000 WHERE id BETWEEN 1 AND 20",
    "DELETE FROM account WHERE id BETWEEN 21 + $N AND 23 + $N",
    "UPDATE pair_key SET v = v - 1 WHERE b = 'k' || 1 + $N",
    "UPDATE side SET v = '' WHERE id BETWEEN $N AND $N + 2",
    // Without a key.
    "DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag)",
    "INSERT INTO bag SELECT * FROM (SELECT * FROM bag LIMIT 1) one UNION ALL SELECT 99, NULL",
];

struct Trial<'a> {
    database: &'a Replicated,
    audit: Audit,
    publisher: String,
    subscriber: String,
    gate: &'a str,
    damaged: usize,
    verifies: usize,
    differences: usize,
    direct: usize,
    proofs: Vec<String>,
}

impl<'a> Trial<'a> {
    async fn begin(database: &'a Replicated, subscription_with: &str, gate: &'a str) -> Self {
        Audit::create(database).await;
        let options = ReplicateOptions {
            publish: published(),
            subscription_with: subscription_with.to_owned(),
            ..ReplicateOptions::default()
        };
        database.replicate(options).await.unwrap();
        let audit = Audit::follow(database).await;
        let (publisher, subscriber) = (database.publisher.conninfo(), database.subscriber.conninfo());
        let (proofs, damaged) = (Vec::new(), 0);
        Self { database, audit, publisher, subscriber, gate, damaged, verifies: 0, differences: 0, direct: 0, proofs }
    }

    async fn load(&self, rate: f64) -> Load {
        let options = LoadOptions { clients: 4, rate_per_second: Some(rate), statements: mixed::write_load() };
        Load::start(&self.database.publisher, options).await.unwrap()
    }

    /// The next damage; every other one as replication itself would write, past ordinary triggers.
    async fn damage(&mut self) {
        let number = self.damaged / DAMAGES.len();
        let sql = DAMAGES[self.damaged % DAMAGES.len()].replace("$N", &number.to_string());
        let role =
            if (self.damaged + number).is_multiple_of(2) { "SET session_replication_role = replica; " } else { "" };
        self.damaged += 1;
        // Apply may win a deadlock against it.
        if let Err(error) = self.database.subscriber.sql(&format!("{role}{sql}")).await {
            assert!(error.to_string().contains("deadlock"), "{error}");
        }
    }

    async fn verify(&mut self) {
        let verify = Verify::between(&self.publisher, &self.subscriber).args("--gate").arg(self.gate);
        let ran = verify.args(SAMPLES).args("--lag-timeout 60s").run().await;
        assert!(matches!(ran.code, 0 | 1), "{ran:#?}");
        let judged = self.audit.judge(&ran.json).await;
        self.verifies += 1;
        self.differences += judged.differences;
        self.direct += judged.direct;
        let proof = ran.json["sync_points"][0]["proof"].as_str().unwrap().to_owned();
        if !self.proofs.contains(&proof) {
            self.proofs.push(proof);
        }
    }

    /// Damages and verifies in turn under load for a while; then once more when all is still.
    async fn run(mut self, rate: f64) -> Self {
        // First without any damage.
        let load = self.load(rate).await;
        self.verify().await;
        self.verify().await;
        assert_eq!(self.differences, 0);
        self.database.subscriber.sql(SKIPS).await.unwrap();
        let begun = Instant::now();
        while begun.elapsed() < TIME || self.damaged < DAMAGES.len() {
            for _ in 0..3 {
                self.damage().await;
            }
            if self.verifies.is_multiple_of(10) {
                self.database.publisher.sql(mixed::TRUNCATE).await.unwrap();
            }
            self.verify().await;
        }
        let written = load.stop().await.unwrap();
        assert!(written.transactions > 500 && written.errors * 20 < written.transactions, "{written:?}");
        self.verify().await;
        assert!(self.differences > DAMAGES.len(), "{}", self.differences);
        self
    }

    async fn end(self) {
        self.audit.end().await;
        self.database.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn the_referee_agrees_once_writes_have_stopped() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("refereed_still").await.unwrap();
    let mut trial = Trial::begin(&database, "", "quiesced").await;
    trial.verify().await;
    database.subscriber.sql(SKIPS).await.unwrap();
    for _ in 0..3 {
        let load = trial.load(300.0).await;
        for _ in 0..DAMAGES.len() {
            trial.damage().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        database.publisher.sql(mixed::TRUNCATE).await.unwrap();
        load.stop().await.unwrap();
        trial.verify().await;
    }
    assert!(trial.differences > DAMAGES.len(), "{}", trial.differences);
    // P and S are the same state here, so the two ways to the publisher's rows agree.
    assert_eq!(trial.direct, trial.differences);
    trial.end().await;
}

/// A trial of its own pair of majors under live writes; `role` verifies, or a superuser where there is none.
async fn live(majors: (u16, u16), label: &str, subscription_with: &str, role: Option<&str>) -> Vec<String> {
    let lease = shared_pair(majors.0, majors.1).shared().await.unwrap();
    let database = lease.database(label).await.unwrap();
    // So that even small transactions are streamed before they end, where streaming is on.
    let name = database.publisher.name();
    database.publisher.sql(&format!("ALTER DATABASE {name} SET logical_decoding_work_mem = '64kB'")).await.unwrap();
    let mut trial = Trial::begin(&database, subscription_with, "live").await;
    let role = role.map(|attributes| (format!("referee_{name}"), attributes));
    if let Some((role, attributes)) = &role {
        database.both(&format!("CREATE ROLE {role} LOGIN; {}", attributes.replace("$ROLE", role))).await.unwrap();
        trial.publisher = database.publisher.conninfo_as(role);
        trial.subscriber = database.subscriber.conninfo_as(role);
    }
    let trial = trial.run(RATE).await;
    // The test proves itself: P and S were not the same, and transactions in flight made differences that are none.
    assert!(trial.direct > trial.differences, "{} {}", trial.direct, trial.differences);
    println!(
        "{label}: {} verifies, {} differences as the referee says; a direct comparison shows {}; {:?}",
        trial.verifies, trial.differences, trial.direct, trial.proofs
    );
    let proofs = trial.proofs.clone();
    trial.end().await;
    if let Some((role, _)) = role {
        database.both(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    }
    proofs
}

#[tokio::test]
async fn the_referee_agrees_while_writes_go_on() {
    let proofs = live((14, 16), "refereed", "", None).await;
    assert!(proofs.iter().all(|proof| proof.starts_with("exact: ")), "{proofs:?}");
    assert!(proofs.iter().any(|proof| proof.starts_with("exact: decoded window")), "{proofs:?}");
}

#[tokio::test]
async fn the_referee_agrees_while_large_transactions_are_applied_in_parallel() {
    let proofs = live((16, 18), "refereed_parallel", "streaming = parallel", None).await;
    assert!(proofs.iter().all(|proof| proof.starts_with("exact: ")), "{proofs:?}");
}

#[tokio::test]
async fn the_referee_agrees_on_candidate_cuts() {
    let without_origins = "ALTER ROLE $ROLE REPLICATION; GRANT pg_monitor, pg_read_all_data TO $ROLE";
    let proofs = live((14, 16), "refereed_candidates", "", Some(without_origins)).await;
    assert!(proofs.iter().any(|proof| proof.starts_with("exact: candidate cut")), "{proofs:?}");
    assert!(proofs.iter().all(|proof| proof.starts_with("exact: ")), "{proofs:?}");
}
