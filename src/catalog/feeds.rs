//! Which subscriptions are to be watched, whether they are fed or not.

use super::model::Finding;
use super::subscriptions::{self, choose, not_fed};
use super::versions::Major;
use super::{read_server, subscriptions::Described};
use crate::config::GateMode;
use crate::connect::Session;
use crate::error::Result;
use crate::side::{Side, Sides};

/// A subscription and the slot that is to feed it. The slot need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Object identifier of the subscription on the subscriber; names the replication origin `pg_<oid>`.
    pub oid: u32,
    /// The subscription's name.
    pub name: String,
    /// The slot that it asks its publisher for.
    pub slot: String,
}

impl Feed {
    fn of(known: &Described) -> Option<Self> {
        Some(Self { oid: known.oid, name: known.name.clone(), slot: known.slot.clone()? })
    }
}

/// The subscriptions to watch: those requested; else all that this publisher feeds; else, where it feeds none, all that
/// name a slot, so that it can be said what is wrong with them.
///
/// # Errors
///
/// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) where a server's version is not supported, a requested subscription
/// does not exist or has no slot, or none names a slot. Else whatever a session reports.
pub async fn read_feeds(
    publisher: &Session,
    subscriber: &Session,
    requested: &[String],
) -> Result<(Vec<Feed>, Vec<Finding>)> {
    let majors = Sides::new(Major::of(publisher.version_num()), Major::of(subscriber.version_num()));
    for side in Side::BOTH {
        majors.get(side).check(side)?;
    }
    let server = read_server(publisher).await?;
    let described = subscriptions::read(subscriber, majors.subscriber).await?;
    let slots = subscriptions::read_slots(publisher).await?;
    let choice = choose(&described, &slots, requested, GateMode::Quiesced, &server);
    let asked = |known: &&Described| requested.is_empty() || requested.contains(&known.name);
    match choice {
        Ok((chosen, findings)) => {
            let chosen = described.iter().filter(|known| chosen.iter().any(|one| one.oid == known.oid));
            Ok((chosen.filter_map(Feed::of).collect(), findings))
        }
        Err(error) => {
            let known = requested.iter().all(|name| described.iter().any(|known| &known.name == name));
            if let Some(known) =
                described.iter().filter(asked).find(|known| known.slot.is_none() && !requested.is_empty())
            {
                return Err(not_fed(known, &server));
            }
            let candidates: Vec<_> = described.iter().filter(asked).filter_map(Feed::of).collect();
            if known && !candidates.is_empty() { Ok((candidates, Vec::new())) } else { Err(error) }
        }
    }
}
