//! The catalogue of checks: their codes are stable, scripts match on them.

macro_rules! checks {
    ($($name:ident = $code:literal: $meaning:literal,)+) => {
        /// What preflight looks at. What it finds in the schemas of both sides has the codes of findings.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code {
            $($name,)+
        }

        impl Code {
            pub(super) fn text(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }

        /// Every code of a check of `preflight`, and what it is about.
        pub const CHECKS: &[(&str, &str)] = &[$(($code, $meaning),)+];
    };
}

checks! {
    LogicalDecoding = "logical_decoding": "The publisher writes what logical replication needs: `wal_level`, on RDS `rds.logical_replication`.",
    SlotsCapacity = "slots_capacity": "Replication slots are free on the publisher.",
    SendersCapacity = "senders_capacity": "Walsenders are free on the publisher.",
    ReplicationRole = "replication_role": "A role other than a superuser can replicate.",
    WorkersCapacity = "workers_capacity": "Logical replication workers are free on the subscriber.",
    WorkerProcesses = "worker_processes": "The subscriber can start as many processes as its workers need.",
    OriginsCapacity = "origins_capacity": "Replication origins are free on the subscriber.",
    SubscriberStandby = "subscriber_standby": "The subscriber is no standby, which could not subscribe.",
    ReplicaIdentity = "replica_identity": "Updates and deletes of a table can be replicated: primary key or replica identity.",
    UnloggedTable = "unlogged_table": "A table is unlogged; replication never carries it.",
    LargeObjects = "large_objects": "The publisher holds large objects; replication never carries them.",
    Sequences = "sequences": "Sequences are not replicated and must be set at cutover.",
    Publication = "publication": "What a publication covers, and which changes it publishes.",
    TableNotPublished = "table_not_published": "A table of the publisher that no publication covers.",
    Extension = "extension": "Extensions are on the subscriber too, and up to date there.",
    CollationVersion = "collation_version": "Indexes were built with the version of the collation that the library has now.",
    DatabaseEncoding = "database_encoding": "Both databases have the same encoding.",
    LongTransaction = "long_transaction": "No transaction has been open for long.",
    PreparedTransaction = "prepared_transaction": "No transaction has been prepared for long.",
    Subscription = "subscription": "A subscription joins the two sides.",
    SubscriptionSlot = "subscription_slot": "The slot of a subscription is in the publisher's database.",
    SubscriptionEnabled = "subscription_enabled": "A subscription is enabled.",
    SubscriptionWorker = "subscription_worker": "A subscription has its apply worker, and the worker hears from the publisher.",
    ApplyErrors = "apply_errors": "No error was counted while changes were applied or tables copied (15 and later).",
    Conflicts = "conflicts": "No conflict was counted while changes were applied (18 and later).",
    SkippedTransaction = "skipped_transaction": "A subscription is told to skip a transaction.",
    SlotHealth = "slot_health": "A slot still has all the WAL that it needs, and will have it in an hour.",
    RetainedWal = "retained_wal": "WAL that a slot keeps on the publisher's disk.",
    SlotUnused = "slot_unused": "A slot that nobody reads.",
    WalRate = "wal_rate": "How much WAL the publisher writes, measured.",
    Statistics = "statistics": "Tables of the subscriber have statistics; an upgrade leaves none.",
    Schema = "schema": "The schemas of both sides fit together.",
    PrivilegeSelect = "privilege_select": "The role may read the tables.",
    PrivilegeSequences = "privilege_sequences": "The role may read the sequences.",
    PrivilegeMonitor = "privilege_monitor": "The role sees replay positions and the states of other sessions.",
    PrivilegeReplication = "privilege_replication": "The role may have a temporary replication slot, and gets one.",
    PrivilegeOrigin = "privilege_origin": "The role may ask for the position that the subscriber has applied.",
    Superuser = "superuser": "The role is a superuser, which is more than is needed.",
    ProofLevel = "proof_level": "The level of proof that `verify` can reach with these privileges.",
    RestoreSubscription = "restore_subscription": "The clone's subscription is disabled and on the right slot.",
    RestoreSlot = "restore_slot": "The slot begins at or before the restore point.",
    RestorePublisher = "restore_publisher": "The restore point lies in the publisher's past.",
    RestoreOwnWal = "restore_own_wal": "The restore point is no position of the clone's own WAL.",
    RestoreOrigin = "restore_origin": "The replication origin stands at the restore point.",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_stable_and_explained() {
        let mut codes: Vec<_> = CHECKS.iter().map(|(code, _)| *code).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        assert!(CHECKS.iter().all(|(_, meaning)| meaning.ends_with('.')));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CHECKS.len());
        assert!(codes.contains(&Code::WalRate.text()));
    }
}
