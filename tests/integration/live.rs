//! A short soak: `verify --gate live` again and again while pgbench and the mixed load write. The long one is `examples/soak.rs`.

#![allow(clippy::print_stdout)] // Figures for who reads the test's output.

use std::time::{Duration, Instant};

use triplecheck_testbed::soak::Soak;
use triplecheck_testbed::writers::{self, Rates, Writers};
use triplecheck_testbed::{ReplicateOptions, mixed, shared_pair};

use crate::harness::Verify;

/// How long the load runs at full speed to measure what can be applied.
const MEASURE: Duration = Duration::from_secs(3);
/// How long verifies follow each other.
const TIME: Duration = Duration::from_secs(15);
/// The share of what can be applied that is written.
const SHARE: f64 = 0.8;
/// The same of an overload.
const SHARE_OVERLOADED: f64 = 3.0;
/// A TRUNCATE of the side table, and a direct comparison, with every so-manieth verify.
const EVERY: u64 = 10;

/// Verifies under load, and asserts that nothing was ever called different.
async fn soak(majors: (u16, u16), label: &str, subscription_with: &str, share: f64, patience: &str) -> Soak {
    let lease = shared_pair(majors.0, majors.1).shared().await.unwrap();
    let database = lease.database(label).await.unwrap();
    Writers::create(&database).await.unwrap();
    let name = database.publisher.name();
    database.publisher.sql(&format!("ALTER DATABASE {name} SET logical_decoding_work_mem = '64kB'")).await.unwrap();
    let options = ReplicateOptions { subscription_with: subscription_with.to_owned(), ..ReplicateOptions::default() };
    database.replicate(options).await.unwrap();
    let capacity = writers::measure_capacity(&database, MEASURE).await.unwrap();
    let rates = if share > 1.0 { Rates::default() } else { capacity.share(share) };
    let mut writers = Writers::start(&database, rates).await.unwrap();

    let mut soak = Soak::default();
    let began = Instant::now();
    while began.elapsed() < TIME {
        writers.check().unwrap();
        if soak.verifies % EVERY == EVERY - 1 {
            database.publisher.sql(mixed::TRUNCATE).await.unwrap();
        }
        let begun = Instant::now();
        let verify =
            Verify::new(&database).args("--gate live --jobs 2 --checks count,max,sum,rows --lag-timeout").arg(patience);
        let lag = async { if share > 1.0 { Duration::ZERO } else { writers::lag(&database).await.unwrap() } };
        let (ran, lag) = tokio::join!(verify.run(), lag);
        assert!(matches!(ran.code, 0 | 3), "{ran:#?}");
        soak.absorb(&ran.json, lag, begun.elapsed());
        if soak.verifies % EVERY == 2 {
            let direct = Verify::new(&database).args("--gate none --jobs 2 --checks count,max,sum,rows").run().await;
            soak.absorb_direct(&direct.json);
        }
    }
    let written = writers.stop().await.unwrap();
    println!("{label}: {capacity:?} {rates:?}\n{soak}");
    assert!(written.mixed.transactions > 200, "{written:?}");
    // Nothing that was written by the load itself stays different.
    writers::lag(&database).await.unwrap();
    Verify::new(&database)
        .args("--gate quiesced --checks count,max,sum,rows --lag-timeout 60s")
        .run()
        .await
        .assert_code(0);
    database.assert_nothing_left().await;
    soak
}

/// No false difference, nothing left open, and a direct comparison would have been wrong.
fn assert_exact(soak: &Soak) {
    assert!(soak.verifies >= 3, "{soak}");
    assert_eq!(
        (soak.not_matched, soak.false_differences, soak.tables_different, soak.tables_unproven),
        (0, 0, 0, 0),
        "{soak}"
    );
    assert!(soak.proofs.iter().all(|(proof, _)| proof.starts_with("exact: ")), "{soak}");
    // A short lag may be over before a direct comparison looks, but not everywhere.
    assert!(soak.keys_in_flight > 0, "the test does not prove itself: {soak}");
}

#[tokio::test]
async fn a_soak_from_14_to_16() {
    assert_exact(&soak((14, 16), "soak", "", SHARE, "60s").await);
}

#[tokio::test]
async fn a_soak_from_16_to_18_with_parallel_apply() {
    assert_exact(&soak((16, 18), "soak_parallel", "streaming = parallel", SHARE, "60s").await);
}

#[tokio::test]
async fn a_replica_that_falls_behind_is_unproven_and_never_different() {
    let soak = soak((14, 16), "overloaded", "synchronous_commit = on", SHARE_OVERLOADED, "2s").await;
    assert!(soak.verifies >= 2, "{soak}");
    assert_eq!((soak.false_differences, soak.tables_different), (0, 0), "{soak}");
}
