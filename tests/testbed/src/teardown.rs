//! Taking a replicated database away: subscriptions, slots, databases, in that order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::database::Database;
use crate::error::{Error, Result};
use crate::pair::Pair;
use crate::quote::{identifier, literal};
use crate::server::Server;
use crate::shared::Guards;

/// How long slots and databases may stay in use by sessions that were told to end.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Between two attempts at something still in use.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Drops the databases of this name on both sides and all that hangs on them.
pub(crate) async fn remove(pair: &Pair, name: &str) -> Result<()> {
    drop_subscriptions(&pair.subscriber.database(name)).await?;
    drop_slots(&pair.publisher, name).await?;
    tokio::try_join!(drop_database(&pair.publisher, name), drop_database(&pair.subscriber, name)).map(drop)
}

/// The same from a Drop: on a thread and a runtime of its own, and best effort, since the servers themselves end with the process.
pub(crate) fn remove_in_background(pair: Pair, name: String, guards: Option<Arc<Guards>>) {
    std::thread::spawn(move || {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            let _ = runtime.block_on(remove(&pair, &name));
        }
        drop(guards);
    });
}

/// Without their slots, so that it works when the publisher is out of reach.
async fn drop_subscriptions(subscriber: &Database) -> Result<()> {
    let own = "SELECT subname FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    for row in subscriber.rows(own).await? {
        let name = identifier(row[0].as_deref().unwrap_or_default());
        subscriber.sql(&format!("ALTER SUBSCRIPTION {name} DISABLE")).await?;
        subscriber.sql(&format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")).await?;
        subscriber.sql(&format!("DROP SUBSCRIPTION {name}")).await?;
    }
    Ok(())
}

async fn drop_slots(publisher: &Server, name: &str) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let postgres = publisher.database("postgres");
    let client = postgres.connect().await?;
    let slots = format!("FROM pg_replication_slots WHERE database = {}", literal(name));
    loop {
        run(&client, &format!("SELECT pg_terminate_backend(active_pid) {slots} AND active")).await?;
        // One that became active again in between fails the statement: the next round sees to it.
        let dropped = run(&client, &format!("SELECT pg_drop_replication_slot(slot_name) {slots} AND NOT active")).await;
        let left = postgres.rows_on(&client, &format!("SELECT slot_name {slots}")).await?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let seen = format!("{left:?} are left ({dropped:?})");
            return Err(Error::Timeout {
                waited_for: format!("the slots of {name} to be dropped"),
                after: TIMEOUT,
                seen,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Ends the database's sessions and drops it; by hand rather than WITH (FORCE), which 12 does not have and which waits for 5 s only.
async fn drop_database(server: &Server, name: &str) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let client = server.database("postgres").connect().await?;
    prepared_away(server, name).await;
    loop {
        run(
            &client,
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}", literal(name)),
        )
        .await?;
        match run(&client, &format!("DROP DATABASE IF EXISTS {}", identifier(name))).await {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            Ok(()) => return Ok(()),
        }
    }
}

/// A prepared transaction keeps its database in use and belongs to no session.
async fn prepared_away(server: &Server, name: &str) {
    let database = server.database(name);
    let Ok(prepared) = database.rows("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()").await
    else {
        return;
    };
    for row in prepared {
        let _ = database.sql(&format!("ROLLBACK PREPARED {}", literal(row[0].as_deref().unwrap_or_default()))).await;
    }
}

async fn run(client: &Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).await.map_err(|error| Error::sql("postgres", sql, &error))
}
