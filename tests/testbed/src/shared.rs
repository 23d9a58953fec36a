//! The servers that all tests of a process share, and the leases on them.
//!
//! Each test has a runtime of its own, so statics hold plain data only: processes, ports, folders, and locks that no runtime owns.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::error::Result;
use crate::pair::Pair;
use crate::replicated::Replicated;
use crate::server::{Server, ServerOptions};

/// The side of a pair that a shared server serves on. One of each, so that a pair never has a server on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Publisher,
    Subscriber,
}

/// A server that is started when it is first leased. Pairs of the same major and role share it.
#[derive(Debug, Default)]
struct Shared {
    server: OnceCell<Server>,
    lease: Arc<RwLock<()>>,
}

impl Shared {
    fn of(role: Role, major: u16) -> Arc<Self> {
        static SERVERS: Mutex<BTreeMap<(Role, u16), Arc<Shared>>> = Mutex::new(BTreeMap::new());
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        servers.entry((role, major)).or_default().clone()
    }

    /// The server, running: an exclusive lease before may have failed while it was stopped.
    async fn running(&self, major: u16) -> Result<Server> {
        let server = self.server.get_or_try_init(|| Server::start(major, ServerOptions::default())).await?;
        server.start_again().await?;
        Ok(server.clone())
    }
}

/// The guards of a lease; a database of the lease keeps them, too.
#[derive(Debug)]
pub(crate) enum Guards {
    Shared { _publisher: OwnedRwLockReadGuard<()>, _subscriber: OwnedRwLockReadGuard<()> },
    Exclusive { _publisher: OwnedRwLockWriteGuard<()>, _subscriber: OwnedRwLockWriteGuard<()> },
}

/// The pair of these majors that all tests of this process share. Nothing is started before it is leased.
pub fn shared_pair(publisher_major: u16, subscriber_major: u16) -> SharedPair {
    SharedPair { publisher_major, subscriber_major }
}

/// A pair to lease; see [`shared_pair`].
#[derive(Clone, Copy, Debug)]
pub struct SharedPair {
    publisher_major: u16,
    subscriber_major: u16,
}

impl SharedPair {
    /// For a test that gets along with others on the same servers.
    ///
    /// Take one lease at a time: a second one can wait for an exclusive one that waits for the first.
    pub async fn shared(self) -> Result<Lease> {
        let (publisher, subscriber) = self.servers();
        let guards = Guards::Shared {
            _publisher: publisher.lease.clone().read_owned().await,
            _subscriber: subscriber.lease.clone().read_owned().await,
        };
        self.lease(&publisher, &subscriber, guards).await
    }

    /// For a test that needs both servers to itself: a restart, a WAL position that stands still, slots used up, a long transaction.
    pub async fn exclusive(self) -> Result<Lease> {
        // Publishers before subscribers, always: so leases of different pairs never wait for each other in a circle.
        let (publisher, subscriber) = self.servers();
        let guards = Guards::Exclusive {
            _publisher: publisher.lease.clone().write_owned().await,
            _subscriber: subscriber.lease.clone().write_owned().await,
        };
        self.lease(&publisher, &subscriber, guards).await
    }

    fn servers(self) -> (Arc<Shared>, Arc<Shared>) {
        (Shared::of(Role::Publisher, self.publisher_major), Shared::of(Role::Subscriber, self.subscriber_major))
    }

    async fn lease(self, publisher: &Shared, subscriber: &Shared, guards: Guards) -> Result<Lease> {
        let (publisher, subscriber) =
            tokio::try_join!(publisher.running(self.publisher_major), subscriber.running(self.subscriber_major))?;
        Ok(Lease { pair: Pair { publisher, subscriber }, guards: Arc::new(guards) })
    }
}

/// The use of a shared pair. It lasts until this and every database made with it are dropped.
#[derive(Debug)]
pub struct Lease {
    pair: Pair,
    guards: Arc<Guards>,
}

impl Lease {
    /// Creates a database of the same, unique name on both sides.
    pub async fn database(&self, label: &str) -> Result<Replicated> {
        self.database_with(label, "", "").await
    }

    /// The same with more for each side's CREATE DATABASE (`TEMPLATE template0 LC_COLLATE 'C'`).
    pub async fn database_with(&self, label: &str, publisher_sql: &str, subscriber_sql: &str) -> Result<Replicated> {
        Replicated::create(&self.pair, Some(self.guards.clone()), label, publisher_sql, subscriber_sql).await
    }
}

impl Deref for Lease {
    type Target = Pair;

    fn deref(&self) -> &Pair {
        &self.pair
    }
}
