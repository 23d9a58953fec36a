//! A healthy pair, for tests to break.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Seen, judge};
use crate::catalog::health::*;
use crate::catalog::{Finding, ServerFacts};
use crate::config::{DEFAULT_RETAINED_BYTES, Scope};
use crate::lsn::Lsn;
use crate::run::preflight::outcome::{Check, Proof, Status, WalRate};
use crate::sql::QualifiedName;

/// Where things stand in the tests: the slot, the restore point of the clone, its own WAL, the publisher.
pub(super) const SLOT: Lsn = Lsn(0x10_0000_0000);
pub(super) const RESTORED: Lsn = Lsn(0x10_0100_0000);
pub(super) const OWN_BEGIN: Lsn = Lsn(0x10_0200_0000);
pub(super) const OWN_NOW: Lsn = Lsn(0x10_0280_0000);
pub(super) const NOW: Lsn = Lsn(0x10_0900_0000);

/// Everything that is judged, owned, so that a test can change it.
pub(super) struct World {
    pub(super) health: Health,
    pub(super) schema: Option<Probe<Vec<Finding>>>,
    pub(super) slot: Option<Probe<()>>,
    pub(super) wal: WalRate,
    pub(super) restore_lsn: Option<Lsn>,
}

impl World {
    pub(super) fn healthy() -> Self {
        Self {
            health: Health { publisher: publisher(), subscriber: Some(subscriber()) },
            schema: Some(Probe::Told(Vec::new())),
            slot: Some(Probe::Told(())),
            wal: WalRate { from: Lsn(NOW.0 - 1_000_000), to: NOW, bytes: 1_000_000, interval_ms: 1000 },
            restore_lsn: None,
        }
    }

    /// A clone on Aurora whose subscription is about to be enabled.
    pub(super) fn restored(lsn: Lsn) -> Self {
        let mut world = Self { restore_lsn: Some(lsn), ..Self::healthy() };
        world.slot().active = false;
        let subscription = world.subscription();
        (subscription.enabled, subscription.worker, subscription.silent_seconds) = (false, None, None);
        subscription.origin = Probe::Told(Some(lsn));
        world.own_wal().aurora_start = Some(Probe::Told(lsn));
        world
    }

    pub(super) fn own_wal(&mut self) -> &mut OwnWal {
        match &mut self.subscriber().own_wal {
            Probe::Told(wal) => wal,
            Probe::Refused(_) => unreachable!("told below"),
        }
    }

    pub(super) fn slot(&mut self) -> &mut Slot {
        match &mut self.health.publisher.slots {
            Probe::Told(slots) => &mut slots[0],
            Probe::Refused(_) => unreachable!("told above"),
        }
    }

    pub(super) fn subscriber(&mut self) -> &mut SubscriberHealth {
        self.health.subscriber.as_mut().unwrap()
    }

    pub(super) fn subscription(&mut self) -> &mut SubscriptionHealth {
        &mut self.subscriber().subscriptions[0]
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        let setting = Setting { value: value.to_owned(), pending_restart: false };
        self.health.publisher.server.settings.insert(name.to_owned(), setting);
    }

    pub(super) fn judged(&self) -> (Vec<Check>, Proof) {
        judge(&Seen {
            health: &self.health,
            schema: self.schema.as_ref(),
            slot: self.slot.as_ref(),
            wal: &self.wal,
            requested: &[],
            scope: Scope::Database,
            long_transaction: Duration::from_secs(300),
            retained_bytes: DEFAULT_RETAINED_BYTES,
            restore_lsn: self.restore_lsn,
        })
    }

    /// What is not as it should be: `status code`, in order.
    pub(super) fn troubles(&self) -> Vec<String> {
        let checks = self.judged().0;
        let bad = checks.iter().filter(|check| check.status != Status::Ok);
        bad.map(|check| format!("{:?} {}", check.status, check.code).to_lowercase()).collect()
    }

    pub(super) fn check(&self, code: &str) -> Check {
        self.judged().0.into_iter().find(|check| check.code == code).unwrap()
    }
}

fn facts(version_num: u32, identifier: &str) -> ServerFacts {
    ServerFacts {
        version_num,
        version: format!("{}.1", version_num / 10_000),
        database: "shop".to_owned(),
        user: "checker".to_owned(),
        system_identifier: Some(identifier.to_owned()),
        wal_segment_bytes: 16 << 20,
        encoding: "UTF8".to_owned(),
        in_recovery: false,
    }
}

fn server(version_num: u32, identifier: &str, replication: bool, origin_progress: bool) -> ServerHealth {
    let settings = [
        ("wal_level", "logical"),
        ("max_replication_slots", "20"),
        ("max_wal_senders", "20"),
        ("max_logical_replication_workers", "4"),
        ("max_worker_processes", "20"),
        ("autovacuum_max_workers", "3"),
        ("wal_receiver_timeout", "60000"),
    ];
    let setting = |value: &str| Setting { value: value.to_owned(), pending_restart: false };
    ServerHealth {
        facts: facts(version_num, identifier),
        role: RoleFacts {
            name: "checker".to_owned(),
            superuser: false,
            replication,
            rds_replication: false,
            rds: false,
            sees_sessions: true,
            origin_progress,
        },
        settings: settings.into_iter().map(|(name, value)| (name.to_owned(), setting(value))).collect(),
        aurora: None,
        transactions: Probe::Told(Vec::new()),
        prepared: Probe::Told(Vec::new()),
        extensions: Probe::Told(vec![Extension { name: "hstore".to_owned(), version: "1.8".to_owned() }]),
        available: Probe::Told(BTreeMap::from([("hstore".to_owned(), "1.8".to_owned())])),
        database_collation: Probe::Told(DatabaseCollation {
            provider: "libc".to_owned(),
            locale: "en_US.UTF-8".to_owned(),
            recorded: Some("2.31".to_owned()),
            actual: Some("2.31".to_owned()),
        }),
        stale_collations: Probe::Told(Vec::new()),
    }
}

fn publisher() -> PublisherHealth {
    let slot = Slot {
        name: "upgrade_slot".to_owned(),
        logical: true,
        plugin: Some("pgoutput".to_owned()),
        own_database: true,
        temporary: false,
        active: true,
        confirmed_flush_lsn: Some(SLOT),
        wal_status: Some("reserved".to_owned()),
        safe_wal_bytes: None,
        invalidated: None,
        retained_bytes: Some(NOW.0 - SLOT.0),
    };
    let publication = Publication {
        name: "upgrade_pub".to_owned(),
        all_tables: true,
        lacking: Vec::new(),
        tables: vec![QualifiedName::new("public", "orders")],
    };
    PublisherHealth {
        server: server(140_001, "7000000000000000001", true, false),
        slots: Probe::Told(vec![slot]),
        senders: Probe::Told(1),
        replication_roles: Probe::Told(vec!["checker".to_owned()]),
        tables: PublishedTables { publications: vec![publication], count: 1, ..PublishedTables::default() },
        large_objects: Some(Probe::Told(0)),
        sequences: Vec::new(),
        database_bytes: Probe::Told(9_000_000_000),
    }
}

fn subscriber() -> SubscriberHealth {
    let subscription = SubscriptionHealth {
        oid: 16_393,
        name: "upgrade_sub".to_owned(),
        slot: Some("upgrade_slot".to_owned()),
        publications: vec!["upgrade_pub".to_owned()],
        enabled: true,
        two_phase: false,
        disable_on_error: false,
        skip_lsn: None,
        worker: Some(4711),
        silent_seconds: Some(2),
        errors: Some((0, 0)),
        conflicts: None,
        origin: Probe::Told(Some(RESTORED)),
    };
    SubscriberHealth {
        server: server(160_001, "7000000000000000002", false, true),
        subscriptions: vec![subscription],
        workers: Probe::Told(1),
        origins: Probe::Told(1),
        sequences: Vec::new(),
        without_statistics: Probe::Told(Vec::new()),
        namesakes: Namesakes { count: 3, same_oid: 3 },
        own_wal: Probe::Told(OwnWal {
            current: OWN_NOW,
            redo: Lsn(OWN_BEGIN.0 + 0x40_0000),
            oldest_segment: Some(OWN_BEGIN),
            aurora_start: None,
        }),
    }
}
