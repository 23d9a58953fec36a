//! What a server's major version changes about its catalogs: the only place that knows.

use crate::error::{Error, ErrorKind, Result};
use crate::side::Side;

/// The oldest and the newest major of a publisher that are supported.
pub const PUBLISHER_MAJORS: (u32, u32) = (12, 18);
/// The oldest and the newest major of a subscriber that are supported.
pub const SUBSCRIBER_MAJORS: (u32, u32) = (14, 18);

/// Something that not every supported major has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    /// `pg_publication_tables.attnames` and `.rowfilter`: column lists and row filters.
    PublishedColumns,
    /// `pg_subscription.subtwophasestate`.
    TwoPhaseState,
    /// `pg_subscription.suborigin`, and the option `origin` of pgoutput.
    Origin,
    /// `pg_range.rngmultitypid`: multiranges.
    Multiranges,
    /// `pg_inherits.inhdetachpending`: partitions on their way out.
    DetachPending,
    /// `pg_database.datlocprovider`: another provider than libc for the database's own collation.
    DatabaseProvider,
    /// The builtin provider; its locale stands in `pg_database.datlocale` and `pg_collation.colllocale`.
    BuiltinProvider,
    /// NOT NULL constraints that existing rows may violate (`pg_constraint.contype = 'n'`, NOT VALID).
    UnvalidatedNotNull,
    /// The initial copy honours row filters (as a subscriber).
    FilteredCopy,
    /// `pg_replication_slots.wal_status` and `.safe_wal_size`.
    SlotWalStatus,
    /// `pg_replication_slots.conflicting`.
    SlotConflicting,
    /// `pg_replication_slots.invalidation_reason`.
    SlotInvalidation,
    /// `pg_stat_subscription_stats`.
    SubscriptionStats,
    /// The seven `confl_*` counters of `pg_stat_subscription_stats`.
    ConflictStats,
    /// `pg_subscription.subdisableonerr` and `.subskiplsn`.
    DisableOnError,
    /// `pg_stat_subscription.leader_pid`: workers that apply in parallel.
    ParallelApply,
    /// `pg_database.datcollversion` and `pg_database_collation_actual_version()`.
    DatabaseCollationVersion,
}

/// Since which major each fact holds, from the "System Catalogs" chapters and release notes of PostgreSQL 13 to 18.
const SINCE: &[(Fact, u32)] = &[
    (Fact::PublishedColumns, 15),
    (Fact::TwoPhaseState, 15),
    (Fact::Origin, 16),
    (Fact::Multiranges, 14),
    (Fact::DetachPending, 14),
    (Fact::DatabaseProvider, 15),
    (Fact::BuiltinProvider, 17),
    (Fact::UnvalidatedNotNull, 18),
    (Fact::FilteredCopy, 15),
    (Fact::SlotWalStatus, 13),
    (Fact::SlotConflicting, 16),
    (Fact::SlotInvalidation, 17),
    (Fact::SubscriptionStats, 15),
    (Fact::ConflictStats, 18),
    (Fact::DisableOnError, 15),
    (Fact::ParallelApply, 16),
    (Fact::DatabaseCollationVersion, 15),
];

/// A server's major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Major(pub(crate) u32);

impl Major {
    /// The major of `server_version_num`.
    pub(crate) fn of(version_num: u32) -> Self {
        Self(version_num / 10_000)
    }

    /// Whether servers of this major have something.
    pub(crate) fn has(self, fact: Fact) -> bool {
        SINCE.iter().any(|&(known, since)| known == fact && self.0 >= since)
    }

    /// Whether a server of this major can take a side.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] where it is too old or too new.
    pub(crate) fn check(self, side: Side) -> Result<()> {
        let (oldest, newest) = match side {
            Side::Publisher => PUBLISHER_MAJORS,
            Side::Subscriber => SUBSCRIBER_MAJORS,
        };
        if (oldest..=newest).contains(&self.0) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Usage, format!("the {side} is PostgreSQL {}, which is not supported", self.0))
            .with_hint(format!("as {side}, PostgreSQL {oldest} to {newest} are supported")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_or_too_new_is_refused_by_side() {
        for major in 12..=18 {
            assert!(Major(major).check(Side::Publisher).is_ok());
            assert_eq!(Major(major).check(Side::Subscriber).is_ok(), major >= 14);
        }
        for side in Side::BOTH {
            for major in [11, 19] {
                let error = Major(major).check(side).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Usage);
                assert!(error.message().contains(side.name()) && error.message().contains(&major.to_string()));
            }
        }
    }

    #[test]
    fn every_fact_has_its_major() {
        assert_eq!(Major::of(140_023), Major(14));
        assert!(Major(14).has(Fact::Multiranges) && !Major(13).has(Fact::Multiranges));
        assert!(Major(15).has(Fact::PublishedColumns) && !Major(14).has(Fact::PublishedColumns));
        assert!(Major(18).has(Fact::UnvalidatedNotNull) && !Major(17).has(Fact::UnvalidatedNotNull));
    }
}
