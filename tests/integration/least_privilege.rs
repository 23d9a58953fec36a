//! The role scripts of the README are enough, as written.

use triplecheck_testbed::{ReplicateOptions, shared_pair, shop};

use crate::harness::Verify;
use crate::roles::{self, Level};

#[tokio::test]
async fn the_roles_of_the_readme_suffice() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    for level in [Level::Quiesced, Level::DecodedWindow] {
        let database = lease.database("least_privilege").await.unwrap();
        shop::create(&database, 2_000).await.unwrap();
        database.replicate(ReplicateOptions::default()).await.unwrap();
        let role = roles::create(&database, level).await;
        let verify =
            || Verify::between(&database.publisher.conninfo_as(&role), &database.subscriber.conninfo_as(&role));
        // Sequences are not replicated: the only difference that there is, and none while replication is live.
        let ran = verify().run().await;
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert!(ran.json["tables"].as_array().unwrap().iter().all(|table| table["verdict"] == "match"), "{ran:#?}");
        assert!(ran.json["sequences"].as_array().unwrap().iter().all(|one| one["verdict"] == "different"), "{ran:#?}");
        let ran = verify().arg("--checks").arg("count,max,sum,rows").run().await;
        assert_eq!(ran.code, 0, "{ran:#?}");
        database.assert_nothing_left().await;
        roles::drop(&database, &role).await;
    }
}
