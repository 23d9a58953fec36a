//! Servers that give fewer sessions than `--jobs` asks for.

use std::fmt::Write as _;

use triplecheck_testbed::{Lease, Load, LoadOptions, ReplicateOptions, Replicated, Server, shared_pair};

use crate::harness::Verify;
use crate::lines;
use crate::roles::{self, Level};

const JOBS: usize = 8;
/// Tables of which each has several jobs at a time.
const TABLES: usize = 12;
/// One for questions and one for the snapshot, beside those that read. The slot's is gone when they come.
const LIMIT: usize = 4;

/// How often a server refused this role a session, by its own log.
fn refusals(server: &Server, role: &str) -> usize {
    let log = std::fs::read(server.data_dir().with_file_name("log")).unwrap();
    String::from_utf8_lossy(&log).matches(&format!("too many connections for role \"{role}\"")).count()
}

/// Tables, and a role with few connections.
async fn setup(lease: &Lease, label: &str, level: Level) -> (Replicated, String) {
    let database = lease.database(label).await.unwrap();
    let (mut schema, mut fill) = (String::new(), String::new());
    for at in 0..TABLES {
        write!(schema, "CREATE TABLE t{at} (id bigint PRIMARY KEY, n numeric, note text);").unwrap();
        write!(fill, "INSERT INTO t{at} SELECT i, i / 7.0, repeat('x', 150) FROM generate_series(1, 15000) i;")
            .unwrap();
    }
    database.both(&schema).await.unwrap();
    database.publisher.sql(&fill).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let role = roles::create(&database, level).await;
    database.both(&format!("ALTER ROLE {role} CONNECTION LIMIT {LIMIT}")).await.unwrap();
    (database, role)
}

fn verify(database: &Replicated, role: &str) -> Verify {
    let verify = Verify::between(&database.publisher.conninfo_as(role), &database.subscriber.conninfo_as(role));
    verify.args("--gate live --scope published --lag-timeout 60s --jobs").arg(&JOBS.to_string())
}

#[tokio::test]
async fn a_role_with_fewer_connections_than_jobs() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let (database, role) = setup(&lease, "refused_sessions", Level::DecodedWindow).await;
    database.subscriber.sql("UPDATE t3 SET note = 'damaged' WHERE id = 77").await.unwrap();

    let ran = verify(&database, &role).run().await;
    assert_eq!(lines::differences(&ran), ["t3 changed id=77 [note]"], "{ran:#?}");
    assert_eq!(lines::unproven(&ran), Vec::<String>::new(), "{ran:#?}");
    let findings: Vec<_> = lines::findings(&ran).into_iter().filter(|one| one.contains("sessions_refused")).collect();
    assert_eq!(findings, ["warning sessions_refused publisher", "warning sessions_refused subscriber"], "{ran:#?}");
    let all = lines::array(&ran.json["findings"]);
    for finding in all.iter().filter(|finding| finding["code"] == "sessions_refused") {
        let message = finding["message"].as_str().unwrap();
        assert!(message.contains(&format!("no more than 2 of the {JOBS} sessions")), "{message}");
        assert!(message.contains("too many connections"), "{message}");
        assert!(finding["hint"].as_str().unwrap().contains("CONNECTION LIMIT"), "{finding}");
    }
    let warnings = ran.stderr.lines().filter(|line| line.contains("a scan session could not be opened")).count();
    assert!((1..=2).contains(&warnings), "one for each side: {}", ran.stderr);
    for server in [&lease.publisher, &lease.subscriber] {
        let refusals = refusals(server, &role);
        // All that were asked for at once, and one now and then.
        assert!((1..2 * JOBS).contains(&refusals), "{refusals} refusals");
    }
    database.assert_nothing_left().await;
    roles::drop(&database, &role).await;
}

/// Between two sync points, and to look at rows again, other sessions are needed than those that read.
#[tokio::test]
async fn sessions_that_read_make_room_for_others() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let (database, role) = setup(&lease, "refused_recheck", Level::Recheck).await;
    let statements = vec!["UPDATE t5 SET n = n + 1 WHERE id = 1 + floor(random() * 15000)::int".to_owned()];
    let options = LoadOptions { clients: 2, rate_per_second: Some(500.0), statements };
    let load = Load::start(&database.publisher, options).await.unwrap();
    let mut rechecked = 0;
    while rechecked < 3 {
        let ran = verify(&database, &role).run().await;
        assert_eq!((ran.code, lines::unproven(&ran)), (0, Vec::new()), "{ran:#?}");
        assert!(!ran.stderr.contains("sessions were lost"), "{ran:#?}");
        assert!(lines::findings(&ran).iter().any(|one| one.contains("sessions_refused publisher")), "{ran:#?}");
        // A moment without writes is tried first.
        rechecked += usize::from(ran.json["sync_points"][0]["proof"] == "settled by recheck");
    }
    load.stop().await.unwrap();
    database.assert_nothing_left().await;
    roles::drop(&database, &role).await;
}
