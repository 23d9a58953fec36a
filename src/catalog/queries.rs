//! Every statement that reading the catalogs sends, built for the server's major.
//!
//! All of them read system catalogs only and work for a role without privileges; the exception is [`holds_rows`], which
//! looks for one row of one user table. Sessions have `search_path=pg_catalog`, so that catalogs, functions and operators
//! are found there, and what the server prints as SQL (`pg_get_expr`, `format_type`) is qualified.

use super::versions::{Fact, Major};
use crate::sql::{self, QualifiedName};

/// The first object identifier of what users create (`FirstNormalObjectId`, access/transam.h).
const FIRST_USER_OID: u32 = 16_384;
/// The catalog of large objects (catalog/pg_largeobject.h); patterns can name it.
pub(super) const LARGE_OBJECT_CATALOG: u32 = 2613;

/// A constant array of object identifiers.
fn oids(oids: impl IntoIterator<Item = u32>) -> String {
    let items: Vec<_> = oids.into_iter().map(|oid| oid.to_string()).collect();
    format!("'{{{}}}'::oid[]", items.join(","))
}

/// What the server says about itself, without what a role may be refused.
pub(super) fn server() -> String {
    "SELECT current_setting('server_version_num'), current_setting('server_version'), d.datname, current_user, \
     (SELECT s.setting FROM pg_settings s WHERE s.name = 'wal_segment_size'), current_setting('server_encoding'), \
     pg_is_in_recovery() \
     FROM pg_database d WHERE d.datname = current_database()"
        .to_owned()
}

/// The cluster's identity; managed services may refuse it.
pub(super) fn system_identifier() -> String {
    "SELECT system_identifier FROM pg_control_system()".to_owned()
}

/// The subscriptions of the database, without `subconninfo`, which a plain role may not read.
pub(super) fn subscriptions(major: Major) -> String {
    let two_phase = if major.has(Fact::TwoPhaseState) { "s.subtwophasestate <> 'd'" } else { "false" };
    let origin = if major.has(Fact::Origin) { "NULLIF(s.suborigin, 'any')" } else { "NULL::text" };
    format!(
        "SELECT s.oid, s.subname, s.subslotname, array_to_json(s.subpublications), s.subenabled, {two_phase}, {origin} \
         FROM pg_subscription s \
         WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) ORDER BY s.subname"
    )
}

/// The states of the tables of all subscriptions of the database.
pub(super) fn subscription_tables() -> String {
    "SELECT r.srsubid, r.srrelid, r.srsubstate, r.srsublsn IS NOT NULL FROM pg_subscription_rel r".to_owned()
}

/// The logical slots of the database.
pub(super) fn slots() -> String {
    "SELECT s.slot_name FROM pg_replication_slots s WHERE s.slot_type = 'logical' AND s.database = current_database()"
        .to_owned()
}

/// Publications by name.
pub(super) fn publications(names: &[String]) -> String {
    format!(
        "SELECT p.pubname, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate \
         FROM pg_publication p WHERE p.pubname = ANY ({}) ORDER BY p.pubname",
        sql::text_array(names)
    )
}

/// What publications carry: roots or leaves, as `publish_via_partition_root` says.
pub(super) fn published_tables(major: Major, names: &[String]) -> String {
    let extra = if major.has(Fact::PublishedColumns) {
        "array_to_json(t.attnames), t.rowfilter"
    } else {
        "NULL::text, NULL::text"
    };
    format!(
        "SELECT t.pubname, t.schemaname, t.tablename, {extra} FROM pg_publication_tables t \
         WHERE t.pubname = ANY ({}) ORDER BY 1, 2, 3",
        sql::text_array(names)
    )
}

/// All tables, foreign tables and materialized views that users created.
pub(super) fn relations() -> String {
    format!(
        "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence = 'u', c.relreplident, c.relpages, c.reltuples, \
         a.amname = 'heap', has_schema_privilege(c.relnamespace, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), \
         row_security_active(c.oid), c.relrowsecurity, EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
         AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e') \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am a ON a.oid = c.relam \
         WHERE c.oid >= {FIRST_USER_OID} AND c.relkind IN ('r', 'p', 'f', 'm') AND c.relpersistence <> 't' ORDER BY c.oid"
    )
}

/// Which table is a partition of which.
pub(super) fn partitions(major: Major) -> String {
    // Rows of a partition on its way out show through its root to old snapshots only.
    let attached = if major.has(Fact::DetachPending) { " AND NOT i.inhdetachpending" } else { "" };
    format!(
        "SELECT i.inhrelid, i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f'){attached} ORDER BY 1"
    )
}

/// The columns of tables.
pub(super) fn columns(major: Major, tables: impl IntoIterator<Item = u32>) -> String {
    let not_null = if major.has(Fact::UnvalidatedNotNull) {
        "a.attnotnull AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n' \
         AND NOT k.convalidated AND a.attnum = ANY (k.conkey))"
    } else {
        "a.attnotnull"
    };
    format!(
        "SELECT a.attrelid, a.attnum, a.attname, a.atttypid, format_type(a.atttypid, a.atttypmod), {not_null}, \
         nullif(a.attgenerated::text, ''), a.attcollation, has_column_privilege(a.attrelid, a.attnum, 'SELECT') \
         FROM pg_attribute a WHERE a.attrelid = ANY ({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2",
        oids(tables)
    )
}

/// How generated columns are computed; NULL where a partition does it in another way, as it may since 16 (PostgreSQL
/// manual, "Generated Columns").
pub(super) fn generation(tables: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT d.adrelid, d.adnum, CASE WHEN NOT EXISTS (SELECT FROM pg_partition_tree(d.adrelid) t \
         JOIN pg_attribute l ON l.attrelid = t.relid AND l.attname = a.attname \
         LEFT JOIN pg_attrdef e ON e.adrelid = l.attrelid AND e.adnum = l.attnum \
         WHERE pg_get_expr(e.adbin, e.adrelid) IS DISTINCT FROM pg_get_expr(d.adbin, d.adrelid)) \
         THEN pg_get_expr(d.adbin, d.adrelid) END FROM pg_attrdef d JOIN pg_attribute a \
         ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = ANY ({}) AND a.attgenerated <> ''",
        oids(tables)
    )
}

/// The indexes of tables.
pub(super) fn indexes(tables: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT i.indrelid, i.indexrelid, a.amname = 'btree' AND NOT i.indisexclusion, i.indisunique, i.indisprimary, \
         i.indimmediate, i.indisvalid AND i.indisready AND i.indislive, i.indisreplident, \
         i.indpred IS NOT NULL OR i.indexprs IS NOT NULL, i.indnkeyatts, i.indkey, i.indoption, i.indcollation, \
         (SELECT string_agg(CASE WHEN o.opcdefault THEN '1' ELSE '0' END, ' ' ORDER BY k.position) \
         FROM unnest(i.indclass::oid[]) WITH ORDINALITY AS k (opclass, position) JOIN pg_opclass o ON o.oid = k.opclass) \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam \
         WHERE i.indrelid = ANY ({}) ORDER BY 1, 2",
        oids(tables)
    )
}

/// The defaults of columns that are not generated; identity columns say so.
pub(super) fn defaults(tables: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT a.attrelid, a.attname, CASE WHEN a.attidentity <> '' THEN 'an identity' \
         ELSE pg_get_expr(d.adbin, d.adrelid) END, true \
         FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = ANY ({}) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
         AND (a.attidentity <> '' OR d.adbin IS NOT NULL) ORDER BY 1, a.attnum",
        oids(tables)
    )
}

/// Constraints of tables: checks, foreign keys, primary keys, unique and exclusion constraints.
pub(super) fn constraints(tables: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT c.conrelid, c.conname, pg_get_constraintdef(c.oid), c.convalidated FROM pg_constraint c \
         WHERE c.conrelid = ANY ({}) AND c.contype IN ('c', 'f', 'p', 'u', 'x') ORDER BY 1, 2",
        oids(tables)
    )
}

/// Indexes of tables that no constraint made.
pub(super) fn index_definitions(tables: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT i.indrelid, c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid AND i.indisready AND i.indislive \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = ANY ({}) \
         AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')) \
         ORDER BY 1, 2",
        oids(tables)
    )
}

/// Types, and everything that they are made of.
pub(super) fn types(major: Major, types: impl IntoIterator<Item = u32>) -> String {
    let multirange = if major.has(Fact::Multiranges) { " OR r.rngmultitypid = t.oid" } else { "" };
    format!(
        "WITH RECURSIVE used (oid) AS (SELECT unnest({}) UNION \
         SELECT part.oid FROM used JOIN pg_type t ON t.oid = used.oid CROSS JOIN LATERAL (\
         SELECT t.typbasetype AS oid WHERE t.typtype = 'd' \
         UNION ALL SELECT t.typelem WHERE t.typelem <> 0 \
         UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid \
         AND a.attnum > 0 AND NOT a.attisdropped \
         UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid{multirange}) AS part) \
         SELECT t.oid, n.nspname, t.typname, t.typtype, \
         t.typelem <> 0 AND t.typlen = -1 AND t.typoutput = 'pg_catalog.array_out'::regproc, t.typelem, t.typrelid, \
         t.typbasetype, t.typsend <> 0, EXISTS (SELECT 1 FROM pg_opclass o JOIN pg_am a ON a.oid = o.opcmethod \
         WHERE o.opcdefault AND a.amname IN ('btree', 'hash') AND (o.opcintype = t.oid OR o.opcintype IN \
         (SELECT c.casttarget FROM pg_cast c WHERE c.castsource = t.oid AND c.castmethod = 'b' AND c.castcontext = 'i'))), \
         format_type(t.oid, NULL), format_type(t.typbasetype, t.typtypmod), r.rngsubtype \
         FROM used JOIN pg_type t ON t.oid = used.oid JOIN pg_namespace n ON n.oid = t.typnamespace \
         LEFT JOIN pg_range r ON r.rngtypid = t.oid{multirange}",
        oids(types)
    )
}

/// The labels of enums, in their order.
pub(super) fn enum_labels(types: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT e.enumtypid, e.enumlabel FROM pg_enum e WHERE e.enumtypid = ANY ({}) ORDER BY e.enumtypid, e.enumsortorder",
        oids(types)
    )
}

/// The attributes of composite types, in their order, by the relation that describes the type.
pub(super) fn attributes(relations: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT a.attrelid, a.attname, a.atttypid, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
         WHERE a.attrelid = ANY ({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum",
        oids(relations)
    )
}

/// Collations, with their versions where the server has noted one.
pub(super) fn collations(major: Major, collations: impl IntoIterator<Item = u32>) -> String {
    let locale = if major.has(Fact::BuiltinProvider) { "c.colllocale" } else { "NULL::text" };
    format!(
        "SELECT c.oid, n.nspname, c.collname, c.collprovider, c.collcollate, {locale}, c.collisdeterministic, \
         c.collversion, CASE WHEN c.collversion IS NOT NULL THEN pg_collation_actual_version(c.oid) END \
         FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = ANY ({})",
        oids(collations)
    )
}

/// The database's own collation, with its versions.
pub(super) fn database_collation(major: Major) -> String {
    let provider = if major.has(Fact::DatabaseProvider) { "d.datlocprovider" } else { "'c'" };
    let locale = if major.has(Fact::BuiltinProvider) { "d.datlocale" } else { "NULL::text" };
    let versions = if major.has(Fact::DatabaseCollationVersion) {
        "d.datcollversion, CASE WHEN d.datcollversion IS NOT NULL THEN pg_database_collation_actual_version(d.oid) END"
    } else {
        "NULL::text, NULL::text"
    };
    format!(
        "SELECT {provider}, d.datcollate, {locale}, {versions} FROM pg_database d WHERE d.datname = current_database()"
    )
}

/// Pages of the main fork, and bytes with TOAST, of relations with storage.
pub(super) fn sizes(relations: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT r.oid, pg_relation_size(r.oid) / current_setting('block_size')::bigint, pg_table_size(r.oid) \
         FROM unnest({}) AS r (oid)",
        oids(relations)
    )
}

/// Triggers that fire when replication writes.
pub(super) fn apply_triggers(tables: impl IntoIterator<Item = u32>) -> String {
    format!(
        "SELECT t.tgrelid, t.tgname FROM pg_trigger t \
         WHERE t.tgrelid = ANY ({}) AND NOT t.tgisinternal AND t.tgenabled IN ('R', 'A') ORDER BY 1, 2",
        oids(tables)
    )
}

/// Whether the type `t`, or the type under a domain `t`, is a number that a sequence can be compared with.
const NUMERIC: &str = "coalesce(nullif(t.typbasetype, 0), t.oid) IN \
    ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)";

/// The sequences that users created, with the column that owns each.
pub(super) fn sequences() -> String {
    format!(
        "SELECT c.oid, n.nspname, c.relname, format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin, s.seqmax, s.seqstart, \
         s.seqcache, s.seqcycle, \
         has_schema_privilege(c.relnamespace, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT'), d.refobjid, a.attname, \
         {NUMERIC} \
         FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN (pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
         JOIN pg_type t ON t.oid = a.atttypid) \
         ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 \
         AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') \
         WHERE c.oid >= {FIRST_USER_OID} AND c.relpersistence <> 't' \
         AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid \
         AND e.objsubid = 0 AND e.deptype = 'e') ORDER BY n.nspname, c.relname, d.refobjid"
    )
}

/// Which columns draw their default from which sequence.
pub(super) fn sequence_defaults() -> String {
    format!(
        "SELECT s.oid, a.attrelid, a.attname, {NUMERIC} FROM pg_attrdef f \
         JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass \
         JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' \
         JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum JOIN pg_type t ON t.oid = a.atttypid \
         ORDER BY 1, 2, 3"
    )
}

/// Settings that change what values or names mean, as the role's sessions of this database begin with them.
pub(super) fn settings() -> String {
    "SELECT s.name, s.reset_val FROM pg_settings s \
     WHERE s.name IN ('TimeZone', 'lc_monetary', 'max_identifier_length', 'server_encoding') ORDER BY s.name"
        .to_owned()
}

/// Extensions and their versions.
pub(super) fn extensions() -> String {
    "SELECT e.extname, e.extversion FROM pg_extension e ORDER BY e.extname".to_owned()
}

/// How many large objects there are.
pub(super) fn large_objects() -> String {
    "SELECT count(*) FROM pg_largeobject_metadata".to_owned()
}

/// The relations and sequences whose name matches, and the catalog of large objects; as psql's `processSQLNamePattern`
/// (fe_utils/string_utils.c).
pub(super) fn matching(schema_regex: Option<&str>, name_regex: &str) -> String {
    let matches = |column: &str, regex: &str| {
        format!(" AND {column} OPERATOR(pg_catalog.~) {} COLLATE pg_catalog.\"default\"", sql::literal(regex))
    };
    let schema = schema_regex.map(|regex| matches("n.nspname", regex)).unwrap_or_default();
    format!(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE (c.oid >= {FIRST_USER_OID} AND c.relkind IN ('r', 'p', 'f', 'm', 'S') AND c.relpersistence <> 't' \
         OR c.oid = {LARGE_OBJECT_CATALOG}){}{schema} ORDER BY c.oid",
        matches("c.relname", name_regex)
    )
}

/// The relations and sequences that the role finds by their bare name. Names are qualified: the search path is its own.
pub(super) fn visible() -> String {
    format!(
        "BEGIN READ ONLY; SET LOCAL search_path TO DEFAULT; \
         SELECT c.oid FROM pg_catalog.pg_class AS c WHERE (c.oid OPERATOR(pg_catalog.>=) {FIRST_USER_OID}::pg_catalog.oid \
         OR c.oid OPERATOR(pg_catalog.=) {LARGE_OBJECT_CATALOG}::pg_catalog.oid) \
         AND pg_catalog.pg_table_is_visible(c.oid); COMMIT"
    )
}

/// Whether a table holds a row that replication should carry.
pub(super) fn holds_rows(table: &QualifiedName, partitioned: bool, filter: Option<&str>) -> String {
    // A partitioned table has no rows of its own; a plain table answers for itself, not for those that inherit from it.
    let only = if partitioned { "" } else { "ONLY " };
    let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
    format!("SELECT EXISTS (SELECT 1 FROM {only}{}{filter} LIMIT 1)", table.to_sql())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAJORS: std::ops::RangeInclusive<u32> = 12..=18;

    #[test]
    fn columns_of_catalogs_are_named_only_where_they_exist() {
        let names = ["p".to_owned()];
        for major in MAJORS.map(Major) {
            let has = |statement: String, column: &str| statement.contains(column);
            let since = |first: u32| major.0 >= first;
            assert_eq!(has(published_tables(major, &names), "t.attnames"), since(15));
            assert_eq!(has(published_tables(major, &names), "t.rowfilter"), since(15));
            assert_eq!(has(subscriptions(major), "subtwophasestate"), since(15));
            assert_eq!(has(partitions(major), "inhdetachpending"), since(14));
            assert_eq!(has(types(major, [1]), "rngmultitypid"), since(14));
            assert_eq!(has(columns(major, [1]), "contype = 'n'"), since(18));
            assert_eq!(has(database_collation(major), "datlocprovider"), since(15));
            assert_eq!(has(database_collation(major), "d.datlocale"), since(17));
            assert_eq!(has(database_collation(major), "datcollversion"), since(15));
            assert_eq!(has(collations(major, [1]), "colllocale"), since(17));
        }
    }

    #[test]
    fn nobody_is_asked_for_what_a_plain_role_may_not_read_or_for_locks() {
        let names = ["p".to_owned()];
        for major in MAJORS.map(Major) {
            let all = [
                server(),
                subscriptions(major),
                subscription_tables(),
                slots(),
                publications(&names),
                published_tables(major, &names),
                relations(),
                partitions(major),
                columns(major, [1]),
                generation([1]),
                indexes([1]),
                types(major, [1]),
                enum_labels([1]),
                attributes([1]),
                collations(major, [1]),
                database_collation(major),
                sizes([1]),
                apply_triggers([1]),
                defaults([1]),
                constraints([1]),
                index_definitions([1]),
                settings(),
                extensions(),
                sequences(),
                sequence_defaults(),
                large_objects(),
                matching(Some("^(s)$"), "^(t)$"),
                visible(),
            ];
            for statement in all {
                let text = statement.to_ascii_lowercase();
                assert!(!text.contains("subconninfo") && !text.contains("lock table") && !text.contains("select *"));
                assert!(!text.contains("for update") && !text.contains("for share"));
                assert!(["select ", "with ", "begin read only;"].iter().any(|start| text.starts_with(start)));
            }
        }
    }

    #[test]
    fn names_and_patterns_are_quoted() {
        let names = ["it's".to_owned()];
        assert!(publications(&names).contains("ARRAY['it''s']::pg_catalog.text[]"));
        let statement = matching(None, "^(it's\\.)$");
        assert!(
            statement.contains(r#"c.relname OPERATOR(pg_catalog.~)  E'^(it''s\\.)$' COLLATE pg_catalog."default""#)
        );
        assert!(!statement.contains("n.nspname OPERATOR"));
        assert!(matching(Some("^(s)$"), "^(t)$").contains("n.nspname OPERATOR(pg_catalog.~) '^(s)$'"));
        assert_eq!(oids([1, 22]), "'{1,22}'::oid[]");
    }

    #[test]
    fn a_table_is_asked_for_one_row_of_its_own() {
        let name = QualifiedName::new("My S", "t\"x");
        assert_eq!(
            holds_rows(&name, false, Some("(a > 1)")),
            r#"SELECT EXISTS (SELECT 1 FROM ONLY "My S"."t""x" WHERE (a > 1) LIMIT 1)"#
        );
        assert_eq!(holds_rows(&name, true, None), r#"SELECT EXISTS (SELECT 1 FROM "My S"."t""x" LIMIT 1)"#);
    }
}
