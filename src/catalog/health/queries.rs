//! Every statement about the health of a server, built for its major. All read catalogs and states; none takes a lock
//! that lasts, none names a user table. What a plain role may not ask stands in a statement of its own.

use crate::catalog::versions::{Fact, Major};
use crate::sql;

/// The first object identifier of what users create (`FirstNormalObjectId`, access/transam.h).
const FIRST_USER_OID: u32 = 16_384;
/// The settings that are looked at.
const SETTINGS: [&str; 8] = [
    "wal_level",
    "max_replication_slots",
    "max_active_replication_origins",
    "max_wal_senders",
    "max_logical_replication_workers",
    "max_worker_processes",
    "autovacuum_max_workers",
    "wal_receiver_timeout",
];

fn oids(oids: impl IntoIterator<Item = u32>) -> String {
    let items: Vec<_> = oids.into_iter().map(|oid| oid.to_string()).collect();
    format!("'{{{}}}'::oid[]", items.join(","))
}

/// Settings that are no secrets.
pub(super) fn settings() -> String {
    format!(
        "SELECT s.name, s.setting, s.pending_restart FROM pg_settings s WHERE s.name = ANY ({})",
        sql::text_array(SETTINGS)
    )
}

/// RDS's switch for logical decoding; no such setting elsewhere.
pub(super) fn rds_logical_replication() -> String {
    "SELECT current_setting('rds.logical_replication', true)".to_owned()
}

/// What the role may do. RDS and Aurora give privileges by membership in roles of theirs.
pub(super) fn role() -> String {
    "SELECT r.rolname, r.rolsuper, r.rolreplication, \
     coalesce((SELECT pg_has_role(m.oid, 'USAGE') FROM pg_roles m WHERE m.rolname = 'rds_replication'), false), \
     EXISTS (SELECT 1 FROM pg_roles m WHERE m.rolname = 'rds_replication'), \
     pg_has_role('pg_read_all_stats', 'USAGE'), \
     has_function_privilege('pg_replication_origin_progress(text, boolean)', 'EXECUTE') \
     FROM pg_roles r WHERE r.rolname = current_user"
        .to_owned()
}

/// Whether functions exist that only Aurora has.
pub(super) fn aurora_functions() -> String {
    "SELECT to_regprocedure('aurora_version()') IS NOT NULL, \
     to_regprocedure('aurora_volume_logical_start_lsn()') IS NOT NULL"
        .to_owned()
}

/// Aurora's version.
pub(super) fn aurora_version() -> String {
    "SELECT aurora_version()::text".to_owned()
}

/// The position up to which a restored Aurora volume has the data of its source.
pub(super) fn aurora_start() -> String {
    "SELECT aurora_volume_logical_start_lsn()::text".to_owned()
}

/// Open transactions of client sessions but our own. Without `pg_read_all_stats` only those of the role itself.
pub(super) fn transactions() -> String {
    "SELECT a.pid, coalesce(a.usename, '-'), coalesce(a.datname, '-'), coalesce(a.state, '-'), \
     greatest(0, extract(epoch FROM clock_timestamp() - a.xact_start))::bigint, a.backend_xid IS NOT NULL \
     FROM pg_stat_activity a WHERE a.backend_type = 'client backend' AND a.xact_start IS NOT NULL \
     AND a.application_name NOT LIKE 'triplecheck/%' ORDER BY a.xact_start, a.pid"
        .to_owned()
}

/// Prepared transactions of the cluster.
pub(super) fn prepared() -> String {
    "SELECT p.gid, p.database, greatest(0, extract(epoch FROM clock_timestamp() - p.prepared))::bigint \
     FROM pg_prepared_xacts p ORDER BY p.prepared, p.gid"
        .to_owned()
}

/// Installed extensions.
pub(super) fn extensions() -> String {
    "SELECT e.extname, e.extversion FROM pg_extension e ORDER BY e.extname".to_owned()
}

/// Extensions that could be installed.
pub(super) fn available_extensions() -> String {
    "SELECT x.name, x.default_version FROM pg_available_extensions x WHERE x.default_version IS NOT NULL".to_owned()
}

/// The database's own collation and its versions.
pub(super) fn database_collation(major: Major) -> String {
    let provider = if major.has(Fact::DatabaseProvider) { "d.datlocprovider" } else { "'c'" };
    let locale = if major.has(Fact::BuiltinProvider) {
        "coalesce(d.datlocale, d.datcollate)"
    } else if major.has(Fact::DatabaseProvider) {
        "coalesce(d.daticulocale, d.datcollate)"
    } else {
        "d.datcollate"
    };
    let versions = if major.has(Fact::DatabaseCollationVersion) {
        "d.datcollversion, pg_database_collation_actual_version(d.oid)"
    } else {
        "NULL::text, NULL::text"
    };
    format!(
        "SELECT CASE {provider} WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END, {locale}, {versions} \
         FROM pg_database d WHERE d.datname = current_database()"
    )
}

/// Collations that a column of a table or an index uses and whose recorded version is not the library's.
pub(super) fn stale_collations() -> String {
    // The database's own collation is 100 (catalog/pg_collation.dat); its version stands with the database.
    format!(
        "SELECT n.nspname, c.collname, c.collversion, pg_collation_actual_version(c.oid), \
         (SELECT json_agg(json_build_array(m.nspname, x.relname) ORDER BY m.nspname, x.relname) FROM pg_class x \
         JOIN pg_namespace m ON m.oid = x.relnamespace WHERE x.relkind = 'i' AND x.oid IN (\
         SELECT i.indexrelid FROM pg_index i WHERE c.oid = ANY (i.indcollation) UNION ALL \
         SELECT d.objid FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
         AND d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid)) \
         FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace \
         WHERE c.oid <> 100 AND c.collversion IS NOT NULL \
         AND c.collversion IS DISTINCT FROM pg_collation_actual_version(c.oid) \
         AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid >= {FIRST_USER_OID} AND a.attcollation = c.oid) \
         ORDER BY 1, 2"
    )
}

/// All slots, with what they keep.
pub(super) fn slots(major: Major) -> String {
    let status =
        if major.has(Fact::SlotWalStatus) { "s.wal_status, s.safe_wal_size" } else { "NULL::text, NULL::bigint" };
    let invalidated = if major.has(Fact::SlotInvalidation) {
        "s.invalidation_reason"
    } else if major.has(Fact::SlotConflicting) {
        "CASE WHEN s.conflicting THEN 'conflicting with recovery' END"
    } else {
        "NULL::text"
    };
    format!(
        "SELECT s.slot_name, s.slot_type = 'logical', s.plugin, s.database = current_database(), s.temporary, s.active, \
         s.confirmed_flush_lsn, {status}, {invalidated}, \
         greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn))::bigint \
         FROM pg_replication_slots s ORDER BY s.slot_name"
    )
}

/// Walsenders in use; everybody may count them.
pub(super) fn senders() -> String {
    "SELECT count(*) FROM pg_stat_replication".to_owned()
}

/// Roles that a subscription could log in as, beside superusers.
pub(super) fn replication_roles() -> String {
    // rds_replication is missing elsewhere: no row, no member.
    "SELECT r.rolname FROM pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper AND (r.rolreplication OR EXISTS \
     (SELECT 1 FROM pg_roles m WHERE m.rolname = 'rds_replication' AND pg_has_role(r.oid, m.oid, 'USAGE'))) ORDER BY 1"
        .to_owned()
}

/// The server's position; NULL on a standby, which has none of its own.
pub(super) fn position() -> String {
    "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END".to_owned()
}

/// Bytes of the database.
pub(super) fn database_bytes() -> String {
    "SELECT pg_database_size(current_database())".to_owned()
}

/// What of some tables' replica identity can be used: the primary key, and the index that is named as identity. As
/// `RelationGetIndexList` (utils/cache/relcache.c) passes over indexes that are invalid, partial or deferrable.
pub(super) fn identities(tables: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT t.oid, coalesce(bool_or(i.indisprimary), false), coalesce(bool_or(i.indisreplident), false) \
         FROM unnest({}) AS t (oid) LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisvalid AND i.indisunique \
         AND i.indimmediate AND i.indpred IS NULL GROUP BY t.oid",
        oids(tables)
    )
}

/// Bytes of tables with TOAST and indexes.
pub(super) fn total_sizes(tables: impl IntoIterator<Item = u32>) -> String {
    format!("SELECT t.oid, pg_total_relation_size(t.oid) FROM unnest({}) AS t (oid)", oids(tables))
}

/// Of some tables those of which a column cannot be read.
pub(super) fn unreadable(tables: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT t.oid FROM unnest({}) AS t (oid) WHERE EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = t.oid \
         AND a.attnum > 0 AND NOT a.attisdropped AND NOT has_column_privilege(a.attrelid, a.attnum, 'SELECT'))",
        oids(tables)
    )
}

/// All publications of the database.
pub(super) fn publications() -> String {
    "SELECT p.pubname, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate \
     FROM pg_publication p ORDER BY p.pubname"
        .to_owned()
}

/// The subscriptions of the database, their workers and counters.
pub(super) fn subscriptions(major: Major) -> String {
    let two_phase = if major.has(Fact::TwoPhaseState) { "s.subtwophasestate <> 'd'" } else { "false" };
    let on_error = if major.has(Fact::DisableOnError) {
        "s.subdisableonerr, nullif(s.subskiplsn, '0/0')"
    } else {
        "false, NULL::pg_lsn"
    };
    let leader = if major.has(Fact::ParallelApply) { " AND w.leader_pid IS NULL" } else { "" };
    let (errors, stats) = if major.has(Fact::SubscriptionStats) {
        (
            "coalesce(e.apply_error_count, 0), coalesce(e.sync_error_count, 0)",
            " LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid",
        )
    } else {
        ("NULL::bigint, NULL::bigint", "")
    };
    let conflicts = if major.has(Fact::ConflictStats) {
        "json_build_object('insert_exists', coalesce(e.confl_insert_exists, 0), \
         'update_origin_differs', coalesce(e.confl_update_origin_differs, 0), \
         'update_exists', coalesce(e.confl_update_exists, 0), \
         'update_missing', coalesce(e.confl_update_missing, 0), \
         'delete_origin_differs', coalesce(e.confl_delete_origin_differs, 0), \
         'delete_missing', coalesce(e.confl_delete_missing, 0), \
         'multiple_unique_conflicts', coalesce(e.confl_multiple_unique_conflicts, 0))"
    } else {
        "NULL::text"
    };
    format!(
        "SELECT s.oid, s.subname, s.subslotname, array_to_json(s.subpublications), s.subenabled, {two_phase}, {on_error}, \
         w.pid, greatest(0, extract(epoch FROM clock_timestamp() - nullif(w.last_msg_receipt_time, '-infinity')))::bigint, {errors}, {conflicts} \
         FROM pg_subscription s LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.relid IS NULL{leader}{stats} \
         WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) ORDER BY s.subname"
    )
}

/// Logical replication workers in use, of all databases.
pub(super) fn workers() -> String {
    "SELECT count(w.pid) FROM pg_stat_subscription w".to_owned()
}

/// Replication origins of the cluster.
pub(super) fn origins() -> String {
    "SELECT count(*) FROM pg_replication_origin".to_owned()
}

/// The position of a subscription's origin; NULL where there is none.
pub(super) fn origin_progress(subscription: u32) -> String {
    let origin = sql::literal(&format!("pg_{subscription}"));
    format!(
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_replication_origin o WHERE o.roname = {origin}) \
         THEN pg_replication_origin_progress({origin}, false) END"
    )
}

/// Tables that hold something and were never analyzed, the largest first.
pub(super) fn without_statistics(tables: impl IntoIterator<Item = u32>) -> String {
    // ANALYZE of a table without rows leaves no statistics, but sets reltuples to 0. Statistics of what the role may not
    // read are hidden from it: there, the server's own mark for "never" must do (-1, since 14).
    format!(
        "SELECT n.nspname, c.relname, pg_total_relation_size(c.oid) FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ({}) AND c.relkind = 'r' AND c.reltuples <> 0 \
         AND CASE WHEN has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid) \
         THEN NOT EXISTS (SELECT 1 FROM pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = c.relname) \
         ELSE c.reltuples < 0 END AND pg_relation_size(c.oid) > 0 ORDER BY 3 DESC, 1, 2",
        oids(tables)
    )
}

/// Where the server's WAL stands, and the redo point of its last checkpoint.
pub(super) fn own_wal() -> String {
    "SELECT pg_current_wal_lsn(), (SELECT k.redo_lsn FROM pg_control_checkpoint() k)".to_owned()
}

/// The oldest WAL segment that is kept: the part of its name after the timeline. For `pg_monitor` only.
pub(super) fn oldest_segment() -> String {
    "SELECT min(substr(w.name, 9)) FROM pg_ls_waldir() w WHERE w.name ~ '^[0-9A-F]{24}$'".to_owned()
}

/// Copies a slot to a temporary one, which is what `verify` does.
pub(super) fn copy_slot(from: &str, to: &str) -> String {
    format!("SELECT pg_copy_logical_replication_slot({}, {}, true)", sql::literal(from), sql::literal(to))
}

/// Creates a temporary slot that keeps no WAL and waits for nobody.
pub(super) fn create_slot(name: &str) -> String {
    format!("SELECT pg_create_physical_replication_slot({}, false, true)", sql::literal(name))
}

/// Drops a slot.
pub(super) fn drop_slot(name: &str) -> String {
    format!("SELECT pg_drop_replication_slot({})", sql::literal(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_only_where_they_exist() {
        for major in (12..=18).map(Major) {
            let since = |first: u32| major.0 >= first;
            let slots = slots(major);
            assert_eq!(slots.contains("s.wal_status, s.safe_wal_size"), since(13));
            assert_eq!(slots.contains("s.conflicting"), major.0 == 16);
            assert_eq!(slots.contains("s.invalidation_reason"), since(17));
            let subscriptions = subscriptions(major);
            assert_eq!(subscriptions.contains("pg_stat_subscription_stats"), since(15));
            assert_eq!(subscriptions.contains("subskiplsn"), since(15));
            assert_eq!(subscriptions.contains("leader_pid"), since(16));
            assert_eq!(subscriptions.contains("confl_update_missing"), since(18));
            let collation = database_collation(major);
            assert_eq!(collation.contains("datcollversion"), since(15));
            assert_eq!(collation.contains("d.datlocale"), since(17));
            assert_eq!(collation.contains("d.daticulocale"), (15..=16).contains(&major.0));
        }
    }

    #[test]
    fn secrets_and_lasting_locks_are_not_asked_for() {
        for major in (12..=18).map(Major) {
            let all = [
                settings(),
                role(),
                transactions(),
                prepared(),
                extensions(),
                slots(major),
                replication_roles(),
                identities([1]),
                total_sizes([1]),
                unreadable([1]),
                publications(),
                subscriptions(major),
                without_statistics([1]),
                own_wal(),
                origin_progress(7),
            ];
            for statement in all {
                let text = statement.to_ascii_lowercase();
                assert!(text.starts_with("select ") && !text.contains("select *"), "{text}");
                assert!(!text.contains("subconninfo") && !text.contains("a.query") && !text.contains("rolpassword"));
                assert!(!text.contains("for update") && !text.contains("lock table"));
            }
        }
    }

    #[test]
    fn names_are_quoted() {
        assert!(copy_slot("it's", "t").contains("('it''s', 't', true)"));
        assert!(origin_progress(16_393).contains("'pg_16393'"));
    }
}
