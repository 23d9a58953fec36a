//! The role script of the README is enough, as written.

use triplecheck_testbed::{Database, ReplicateOptions, shared_pair, shop};

use crate::harness::Verify;

const README: &str = include_str!("../../README.md");

/// The statements of the README's role script, for a role of another name: roles belong to the whole cluster.
fn role_script(role: &str) -> Vec<String> {
    let after = README.split_once("triplecheck never needs a superuser.").expect("the section on privileges").1;
    let lines = after.lines().skip_while(|line| !line.starts_with("    ")).take_while(|line| line.starts_with("    "));
    let statements: Vec<_> = lines.map(|line| line.trim().replace("triplecheck", role)).collect();
    assert!(statements.len() >= 3 && statements[0].starts_with("CREATE ROLE"), "{statements:?}");
    statements
}

async fn create_role(database: &Database, role: &str, replication: bool) {
    for statement in role_script(role).iter().filter(|statement| replication || !statement.contains("REPLICATION")) {
        database.sql(statement).await.unwrap();
    }
}

#[tokio::test]
async fn the_roles_of_the_readme_suffice() {
    let lease = shared_pair(14, 16).shared().await.unwrap();
    let database = lease.database("least_privilege").await.unwrap();
    shop::create(&database, 2_000).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    let role = format!("readme_{}", database.publisher.name());
    create_role(&database.publisher, &role, true).await;
    create_role(&database.subscriber, &role, false).await;
    let verify = || Verify::between(&database.publisher.conninfo_as(&role), &database.subscriber.conninfo_as(&role));
    // Sequences are not replicated: the only difference that there is.
    let ran = verify().run().await;
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.json["tables"].as_array().unwrap().iter().all(|table| table["verdict"] == "match"), "{ran:#?}");
    assert!(ran.json["sequences"].as_array().unwrap().iter().all(|one| one["verdict"] == "different"), "{ran:#?}");
    let ran = verify().arg("--checks").arg("count,max,sum,rows").run().await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    database.assert_nothing_left().await;
    for side in [&database.publisher, &database.subscriber] {
        side.sql(&format!("DROP ROLE {role}")).await.unwrap();
    }
}
