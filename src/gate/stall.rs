//! Why a gate that was not reached likely stalls: what a person would look at next.

use crate::catalog::Subscription;
use crate::connect::Session;
use crate::gate::observe;
use crate::sql;

/// First version with `pg_stat_subscription_stats` (release notes of 15).
const SUBSCRIPTION_STATS_SINCE: u32 = 150_000;
/// Names listed in one message; more would bury it.
const NAMED_AT_MOST: usize = 5;

/// The likely causes, the most telling first. Questions that the role may not ask are left out: this only explains.
pub(crate) async fn likely_causes(
    publisher: &Session,
    subscriber: &Session,
    subscriptions: &[Subscription],
) -> Vec<String> {
    let mut causes = Vec::new();
    for subscription in subscriptions {
        causes.extend(subscriber_causes(subscriber, subscription).await);
        let query = format!(
            "SELECT active, wal_status FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
            sql::literal(&subscription.slot)
        );
        // wal_status exists since 13; on 12 the answer is an error and the plain question remains.
        let rows = match publisher.rows_simple(&query).await {
            Ok(rows) => rows,
            Err(_) => publisher.rows_simple(&query.replace(", wal_status", ", NULL::text")).await.unwrap_or_default(),
        };
        match rows.first().map(Vec::as_slice) {
            None => causes.push(format!("slot {} does not exist on the publisher any longer", subscription.slot)),
            Some([_, Some(status)]) if status == "lost" || status == "unreserved" => {
                causes.push(format!("slot {} has wal_status {status}", subscription.slot));
            }
            Some([Some(active), _]) if active == "f" => {
                causes.push(format!("slot {} is inactive: no walsender serves it", subscription.slot));
            }
            Some(_) => {}
        }
    }
    if let Ok(writers) = observe::writers(publisher).await {
        causes.extend(writers.iter().take(NAMED_AT_MOST).map(ToString::to_string));
    }
    causes
}

async fn subscriber_causes(subscriber: &Session, subscription: &Subscription) -> Vec<String> {
    let name = &subscription.name;
    let oid = subscription.oid;
    let mut causes = Vec::new();
    let enabled = format!("SELECT subenabled FROM pg_catalog.pg_subscription WHERE oid = {oid}");
    match first(subscriber, &enabled).await {
        Some(Some(enabled)) if enabled == "f" => {
            causes
                .push(format!("subscription {name} is disabled (ALTER SUBSCRIPTION {} ENABLE)", sql::identifier(name)));
        }
        None => causes.push(format!("subscription {name} cannot be seen any longer")),
        _ => {}
    }
    let worker =
        format!("SELECT count(pid) FROM pg_catalog.pg_stat_subscription WHERE subid = {oid} AND relid IS NULL");
    if let Some(Some(workers)) = first(subscriber, &worker).await
        && workers == "0"
    {
        causes.push(format!("subscription {name} has no apply worker (look at the subscriber's log)"));
    }
    if subscriber.version_num() >= SUBSCRIPTION_STATS_SINCE {
        let errors = format!("SELECT apply_error_count FROM pg_catalog.pg_stat_subscription_stats WHERE subid = {oid}");
        if let Some(Some(errors)) = first(subscriber, &errors).await
            && errors != "0"
        {
            causes
                .push(format!("subscription {name} has counted {errors} apply errors (look at the subscriber's log)"));
        }
    }
    let tables = format!(
        "SELECT srrelid::pg_catalog.regclass, srsubstate FROM pg_catalog.pg_subscription_rel \
         WHERE srsubid = {oid} AND srsubstate <> 'r' ORDER BY 1 LIMIT {NAMED_AT_MOST}"
    );
    if let Ok(rows) = subscriber.rows_simple(&tables).await {
        for row in rows {
            if let [Some(table), Some(state)] = row.as_slice() {
                causes.push(format!("table {table} of subscription {name} is not ready (state {state})"));
            }
        }
    }
    causes
}

/// The first value of an answer; `None` without an answer.
async fn first(session: &Session, query: &str) -> Option<Option<String>> {
    session.rows_simple(query).await.ok()?.into_iter().flatten().next()
}
