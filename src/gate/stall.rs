//! Why a gate that was not reached likely stalls: what a person would look at next.

use std::time::Duration;

use crate::catalog::{Feed, Subscription};
use crate::connect::Session;
use crate::gate::causes::Cause;
use crate::gate::diagnosis::{self, Motion};
use crate::gate::health;

/// A writer that has been at it for longer is named.
const LONG_TRANSACTION: Duration = Duration::from_secs(60);

/// The likely causes, the most telling first. Where writes may go on, only writers that stay for long are any. Where a server cannot be asked there are none: this only explains.
pub(crate) async fn likely_causes(
    publisher: &Session,
    subscriber: &Session,
    subscriptions: &[Subscription],
    wal_segment_bytes: u64,
    writes_must_stop: bool,
) -> Vec<String> {
    let feed = |known: &Subscription| Feed { oid: known.oid, name: known.name.clone(), slot: known.slot.clone() };
    let feeds: Vec<_> = subscriptions.iter().map(feed).collect();
    let Ok(health) = health::look(publisher, subscriber, &feeds, wal_segment_bytes).await else { return Vec::new() };
    let of_feeds = health.feeds.iter().flat_map(|feed| diagnosis::of_feed(&health, feed, &Motion::default()));
    let for_long = (!writes_must_stop).then_some(LONG_TRANSACTION);
    let causes = of_feeds.chain(diagnosis::of_writers(&health.writers, for_long));
    causes.map(|Cause { evidence, remedy, .. }| format!("{evidence} ({remedy})")).collect()
}
