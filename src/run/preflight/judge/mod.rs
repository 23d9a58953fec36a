//! Facts become checks. Pure: no session, no clock.

mod capacity;
mod data;
mod privileges;
mod restore;
mod schema;
mod sessions;
mod slots;
mod software;
mod subscriptions;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod scenarios;

use std::time::Duration;

use crate::catalog::Finding;
use crate::catalog::health::{Health, Probe, ServerHealth, Slot, SubscriberHealth, SubscriptionHealth};
use crate::config::Scope;
use crate::lsn::Lsn;
use crate::run::preflight::outcome::{Check, Proof, Status, WalRate};
use crate::side::Side;
use crate::sql;

/// Everything that was seen, and what it is held against.
pub(super) struct Seen<'a> {
    pub(super) health: &'a Health,
    /// Findings of the schemas of both sides; `None` without a subscriber.
    pub(super) schema: Option<&'a Probe<Vec<Finding>>>,
    /// Whether a temporary slot could be had; `None` where the role may not ask.
    pub(super) slot: Option<&'a Probe<()>>,
    pub(super) wal: &'a WalRate,
    /// Names of subscriptions that were asked for; empty for all.
    pub(super) requested: &'a [String],
    pub(super) scope: Scope,
    pub(super) long_transaction: Duration,
    /// Bytes of WAL from which on what a slot keeps is an alarm.
    pub(super) retained_bytes: u64,
    pub(super) restore_lsn: Option<Lsn>,
}

/// All checks, in the order of the runbook, and the level of proof.
pub(super) fn judge(seen: &Seen<'_>) -> (Vec<Check>, Proof) {
    let mut checks = Vec::new();
    capacity::publisher(seen, &mut checks);
    slots::judge(seen, &mut checks);
    data::judge(seen, &mut checks);
    sessions::judge(seen, &mut checks);
    software::judge(seen, &mut checks);
    if let Some(subscriber) = &seen.health.subscriber {
        capacity::subscriber(subscriber, &mut checks);
        subscriptions::judge(seen, subscriber, &mut checks);
        data::subscriber(subscriber, &mut checks);
        if let Some(lsn) = seen.restore_lsn {
            restore::judge(seen, subscriber, lsn, &mut checks);
        }
    }
    schema::judge(seen, &mut checks);
    privileges::judge(seen, &mut checks);
    let proof = privileges::proof(seen);
    checks.push(privileges::level(&proof));
    (checks, proof)
}

impl<'a> Seen<'a> {
    /// Both servers, the publisher first.
    fn servers(&self) -> impl Iterator<Item = (Side, &'a ServerHealth)> {
        let subscriber = self.health.subscriber.as_ref().map(|health| (Side::Subscriber, &health.server));
        std::iter::once((Side::Publisher, &self.health.publisher.server)).chain(subscriber)
    }

    /// Both sides, or the publisher where it is alone.
    fn everywhere(&self) -> Option<Side> {
        self.health.subscriber.is_none().then_some(Side::Publisher)
    }

    /// The publisher's slots, as far as they are known.
    fn slots(&self) -> &'a [Slot] {
        self.health.publisher.slots.told().map(Vec::as_slice).unwrap_or_default()
    }

    /// The subscriptions that were asked for.
    fn subscriptions(&self) -> impl Iterator<Item = &'a SubscriptionHealth> {
        let requested = self.requested;
        let known = self.health.subscriber.as_ref().map(subscriptions_of).unwrap_or_default();
        known.iter().filter(move |known| requested.is_empty() || requested.contains(&known.name))
    }

    /// The slot of a subscription, if it is a logical one of the publisher's database.
    fn slot_of(&self, subscription: &SubscriptionHealth) -> Option<&'a Slot> {
        let name = subscription.slot.as_ref()?;
        self.slots().iter().find(|slot| &slot.name == name && slot.logical && slot.own_database)
    }

    /// The subscriptions that this publisher feeds.
    fn fed(&self) -> impl Iterator<Item = &'a SubscriptionHealth> {
        self.subscriptions().filter(|subscription| self.slot_of(subscription).is_some())
    }

    /// What it means that replication leaves something behind: to be fixed, unless only what is published was asked for.
    fn left_behind(&self) -> Status {
        match self.scope {
            Scope::Database => Status::Fix,
            Scope::Published => Status::Warn,
        }
    }
}

fn subscriptions_of(health: &SubscriberHealth) -> &[SubscriptionHealth] {
    &health.subscriptions
}

/// The value of a setting as a number; `None` where the server does not have it.
fn limit(server: &ServerHealth, name: &str) -> Option<u64> {
    server.settings.get(name).and_then(|setting| setting.value.parse().ok())
}

/// What changes a setting that is read at the start, and what else would do. Managed services have parameter groups instead
/// of statements.
fn set_and_restart(server: &ServerHealth, name: &str, value: impl std::fmt::Display, or: &str) -> String {
    if server.managed() {
        format!("set {name} = {value} in the parameter group, then reboot{or}")
    } else {
        sql::noted(&alter_system(name, value), &format!("then restart the server{or}"))
    }
}

/// The same for a setting that is read again while the server runs, and what to do then.
fn set_and_reload(server: &ServerHealth, name: &str, value: impl std::fmt::Display, then: &str) -> String {
    if server.managed() {
        format!("set {name} = {value} in the parameter group; {then}")
    } else {
        sql::noted(&format!("{}; SELECT pg_reload_conf()", alter_system(name, value)), then)
    }
}

fn alter_system(name: &str, value: impl std::fmt::Display) -> String {
    format!("ALTER SYSTEM SET {name} = {}", sql::literal(&value.to_string()))
}

impl ServerHealth {
    /// Whether it is a server of RDS or Aurora.
    fn managed(&self) -> bool {
        self.aurora.is_some() || self.role.rds || self.settings.contains_key("rds.logical_replication")
    }
}

/// Some names, and how many there are besides.
fn listed<T: std::fmt::Display>(names: impl ExactSizeIterator<Item = T>) -> String {
    /// More would bury the rest of a line; the JSON document has all of them elsewhere.
    const NAMED_MAX: usize = 5;
    let count = names.len();
    let mut text = names.take(NAMED_MAX).map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
    if count > NAMED_MAX {
        text.push_str(&format!(" and {} more", count - NAMED_MAX));
    }
    text
}
