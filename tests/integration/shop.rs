//! The runbook's shop: a match, and every kind of damage found and named.

use triplecheck_testbed::{ReplicateOptions, shared_pair, shop};

use crate::harness::Verify;

#[tokio::test]
async fn a_replicated_shop_matches() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("match").await.unwrap();
    shop::create(&database, 20_000).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let outcome = Verify::new(&database).arg("--checks").arg("count,max,sum,rows").run().await;
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    database.assert_nothing_left().await;
}
