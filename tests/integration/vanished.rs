//! Nothing of a live verify outlives its client: killed in any phase, or cut off from its servers.

#![allow(clippy::print_stdout)] // Figures for who reads the test's output.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use triplecheck_testbed::{Pair, PairOptions, Replicated, Server, ServerOptions};

use crate::harness::{Running, Verify, wait_for};
use crate::proxy::Proxy;
use crate::slow;
use crate::staged::{Stalled, before_replay, before_snapshot, stall_commits, unstall};

const LIVE: &str = "--gate live --jobs 2 --lag-timeout 60s";
/// How long anything may remain on a server after the client was killed.
const GONE_AFTER_KILL: Duration = Duration::from_secs(30);
/// The same after its network was cut.
const GONE_AFTER_CUT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Waits until nothing of triplecheck is on either server, and returns how long that took.
async fn gone(database: &Replicated, within: Duration, phase: &str) -> Duration {
    let begun = Instant::now();
    loop {
        let left = database.leftovers().await.unwrap();
        if left.is_empty() {
            println!("after {phase}: gone in {:.1} s", begun.elapsed().as_secs_f64());
            return begun.elapsed();
        }
        assert!(begun.elapsed() < within, "after {phase}: {left:#?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Where a verify is when its client goes.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Connecting,
    Slot,
    Gate,
    Decoding,
    Scanning,
}

/// A verify in its phase, and what keeps it there.
struct Held {
    running: Running,
    holder: Option<Client>,
    stalled: Option<Stalled>,
}

impl Held {
    /// Kills it and waits for its end.
    async fn kill(self, pair: &Pair, database: &Replicated, within: Duration, what: &str) {
        self.running.signal("KILL").await;
        assert_eq!(self.running.printed().await.code, None);
        gone(database, within, what).await;
        drop(self.holder);
        if let Some(stalled) = self.stalled {
            unstall(&database.publisher, stalled).await;
            stall_commits(&pair.publisher, false).await;
        }
    }
}

/// A verify of a database that is big enough for every phase to last.
async fn in_phase(pair: &Pair, database: &Replicated, phase: Phase, proxies: &[Proxy; 2]) -> Held {
    let publisher = proxies[0].conninfo(&database.publisher, "postgres");
    let subscriber = proxies[1].conninfo(&database.subscriber, "postgres");
    let verify = Verify::between(&publisher, &subscriber).args(LIVE);
    match phase {
        Phase::Connecting => {
            let running = verify.start();
            let ours = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'triplecheck%'";
            wait_for(&database.publisher, ours, "t").await;
            Held { running, holder: None, stalled: None }
        }
        Phase::Slot => {
            let before = before_snapshot(pair, database, "small", verify).await;
            Held { running: before.running, holder: None, stalled: Some(before.stalled) }
        }
        Phase::Gate => {
            let (running, holder) = before_replay(pair, database, "small", verify).await;
            Held { running, holder: Some(holder), stalled: None }
        }
        Phase::Decoding => {
            let (running, holder) = before_replay(pair, database, "small", verify).await;
            let many = "UPDATE small SET note = 'held'; INSERT INTO small SELECT i, 'held' FROM generate_series(2001, 300000) i";
            // S, which is cut off until then, contains all of it.
            proxies[1].hold();
            database.publisher.sql(many).await.unwrap();
            holder.batch_execute("COMMIT").await.unwrap();
            database.catch_up().await.unwrap();
            proxies[1].release();
            let decoding = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                            AND application_name = 'triplecheck/slot' AND query LIKE '%pg_logical_slot_get%'";
            wait_for(&database.publisher, decoding, "t").await;
            Held { running, holder: None, stalled: None }
        }
        Phase::Scanning => {
            let running = verify.start();
            slow::wait_until_scanning(&database.publisher).await;
            Held { running, holder: None, stalled: None }
        }
    }
}

async fn servers() -> Pair {
    Pair::start(14, 16, PairOptions::default()).await.unwrap()
}

#[tokio::test]
async fn killed_in_any_phase_it_leaves_nothing() {
    let pair = servers().await;
    let database = pair.database("killed_live").await.unwrap();
    slow::create(&database, 25_000).await;
    for phase in [Phase::Connecting, Phase::Slot, Phase::Gate, Phase::Scanning, Phase::Decoding] {
        let proxies = [&database.publisher, &database.subscriber].map(Proxy::before);
        let held = in_phase(&pair, &database, phase, &proxies).await;
        held.kill(&pair, &database, GONE_AFTER_KILL, &format!("a kill in phase {phase:?}")).await;
    }
    database.catch_up().await.unwrap();
    Verify::new(&database).args(LIVE).run().await.assert_code(0);
    database.assert_nothing_left().await;
}

/// Its servers' own TCP connections live on, as behind a tunnel or a frozen client: only silence tells that it is gone.
#[tokio::test]
async fn cut_off_behind_a_proxy_it_leaves_nothing() {
    let pair = servers().await;
    let mut cut = Vec::new();
    for phase in [Phase::Gate, Phase::Decoding, Phase::Scanning] {
        let database = pair.database("cut_off").await.unwrap();
        slow::create(&database, 25_000).await;
        let proxies = [&database.publisher, &database.subscriber].map(Proxy::before);
        let held = in_phase(&pair, &database, phase, &proxies).await;
        proxies.iter().for_each(Proxy::hold);
        cut.push((phase, database, proxies, held, Instant::now()));
    }
    // The client is still there, and cannot tell anybody anything.
    for (phase, database, _proxies, held, since) in cut {
        let left = GONE_AFTER_CUT.saturating_sub(since.elapsed());
        gone(&database, left, &format!("a cut in phase {phase:?}")).await;
        held.kill(&pair, &database, GONE_AFTER_KILL, "the end of the client").await;
        database.drop().await.unwrap();
    }
}

/// A namespace joined to this host by a cable that can be pulled.
struct Network {
    name: String,
}

/// Addresses of the host and of the namespace.
const HOST: &str = "10.211.7.1";
const GUEST: &str = "10.211.7.2";

impl Network {
    fn create() -> Self {
        let name = format!("tc{}", std::process::id() % 100_000);
        let network = Self { name };
        let (host, guest) = (format!("{}h", network.name), format!("{}g", network.name));
        let name = &network.name;
        for line in [
            format!("netns add {name}"),
            format!("link add {host} type veth peer name {guest}"),
            format!("link set {guest} netns {name}"),
            format!("addr add {HOST}/30 dev {host}"),
            format!("link set {host} up"),
            format!("-n {name} addr add {GUEST}/30 dev {guest}"),
            format!("-n {name} link set {guest} up"),
        ] {
            assert!(ip(&line), "ip {line}");
        }
        network
    }

    fn cut(&self) {
        assert!(ip(&format!("-n {0} link set {0}g down", self.name)));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The cable goes with it.
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(args: &str) -> bool {
    Command::new("ip").args(args.split(' ')).status().is_ok_and(|status| status.success())
}

async fn admit_guest(server: &Server) {
    let file = server.data_dir().join("pg_hba.conf");
    let mut hba = std::fs::File::options().append(true).open(file).unwrap();
    writeln!(hba, "host all all {GUEST}/32 trust").unwrap();
    server.database("postgres").sql("SELECT pg_reload_conf()").await.unwrap();
}

#[tokio::test]
#[ignore = "needs root and iproute2, for a network of its own"]
async fn cut_off_by_a_pulled_cable_it_leaves_nothing() {
    let everywhere = ServerOptions {
        settings: vec![("listen_addresses".to_owned(), "*".to_owned())],
        ..ServerOptions::default()
    };
    let options = PairOptions { publisher: everywhere.clone(), subscriber: everywhere };
    let pair = Pair::start(14, 16, options).await.unwrap();
    for server in [&pair.publisher, &pair.subscriber] {
        admit_guest(server).await;
    }
    let network = Network::create();
    let database = pair.database("cable").await.unwrap();
    slow::create(&database, 25_000).await;
    let conninfo = |server: &Server| format!("host={HOST} port={} user=postgres dbname={}", server.port(), database.publisher.name());
    let verify = || Verify::between(&conninfo(&pair.publisher), &conninfo(&pair.subscriber)).args(LIVE).within(&network.name);
    verify().run().await.assert_code(0);
    let (running, holder) = before_replay(&pair, &database, "small", verify()).await;
    network.cut();
    gone(&database, GONE_AFTER_CUT, "a pulled cable").await;
    let held = Held { running, holder: Some(holder), stalled: None };
    held.kill(&pair, &database, GONE_AFTER_KILL, "the end of the client").await;
    database.drop().await.unwrap();
}
