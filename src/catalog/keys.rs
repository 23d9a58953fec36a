//! What identifies a row, and which index can serve it.

use std::collections::HashMap;

use super::columns::Column;
use super::fields::Fields;
use super::model::{Key, KeySource};
use super::queries;
use super::relations::Entry;
use crate::connect::Session;
use crate::error::Result;

/// `indoption` of an ascending column with NULLs last (`INDOPTION_DESC`, `INDOPTION_NULLS_FIRST` unset; catalog/pg_index.h).
const ASCENDING_NULLS_LAST: i16 = 0;

/// An index as `pg_index` has it.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) oid: u32,
    /// A btree that is no exclusion constraint (`WITHOUT OVERLAPS` keys of 18 do not make rows unique by equality).
    pub(super) btree: bool,
    pub(super) unique: bool,
    pub(super) primary: bool,
    pub(super) immediate: bool,
    /// Valid, ready and live.
    pub(super) usable: bool,
    /// Chosen by REPLICA IDENTITY USING INDEX.
    pub(super) identity: bool,
    /// Partial, or over expressions.
    pub(super) special: bool,
    /// The attribute numbers of the key columns; without INCLUDE columns.
    pub(super) keys: Vec<i16>,
    pub(super) options: Vec<i16>,
    pub(super) collations: Vec<u32>,
    /// Whether each operator class is the type's default.
    pub(super) default_classes: Vec<bool>,
}

/// The indexes of one side, by table.
pub(super) type Indexes = HashMap<u32, Vec<Index>>;

/// Reads the indexes of some tables.
pub(super) async fn read(session: &Session, tables: &[u32]) -> Result<Indexes> {
    let mut indexes = Indexes::new();
    if tables.is_empty() {
        return Ok(indexes);
    }
    for row in session.rows_simple(&queries::indexes(tables.iter().copied())).await? {
        let mut fields = Fields::new("the indexes", row);
        let table = fields.parse()?;
        let mut index = Index {
            oid: fields.parse()?,
            btree: fields.flag()?,
            unique: fields.flag()?,
            primary: fields.flag()?,
            immediate: fields.flag()?,
            usable: fields.flag()?,
            identity: fields.flag()?,
            special: fields.flag()?,
            keys: Vec::new(),
            options: Vec::new(),
            collations: Vec::new(),
            default_classes: Vec::new(),
        };
        let key_columns = fields.parse()?;
        index.keys = fields.vector()?;
        index.keys.truncate(key_columns);
        index.options = fields.vector()?;
        index.collations = fields.vector()?;
        index.default_classes = fields.vector::<u8>()?.into_iter().map(|class| class == 1).collect();
        indexes.entry(table).or_default().push(index);
    }
    Ok(indexes)
}

/// Chooses the key of a table: the primary key, else the replica identity, else the unique index with the fewest columns.
///
/// `columns` are the table's, `compared` the names of those that are compared, in the order of the pair's columns. All
/// columns of the key are compared and NOT NULL.
pub(super) fn choose(indexes: &[Index], columns: &[Column], compared: &[&str]) -> Key {
    let positions = |index: &Index| -> Option<Vec<usize>> {
        let position = |attribute: &i16| {
            let column = columns.iter().find(|column| column.number == *attribute && column.not_null)?;
            compared.iter().position(|name| *name == column.name)
        };
        let unique = index.btree && index.unique && index.usable && !index.special && !index.keys.is_empty();
        if unique { index.keys.iter().map(position).collect() } else { None }
    };
    let mut candidates: Vec<(KeySource, &Index)> = Vec::new();
    candidates.extend(indexes.iter().filter(|index| index.primary).map(|index| (KeySource::PrimaryKey, index)));
    candidates.extend(indexes.iter().filter(|index| index.identity).map(|index| (KeySource::ReplicaIdentity, index)));
    let mut others: Vec<_> = indexes.iter().filter(|index| index.immediate).collect();
    others.sort_by_key(|index| (index.keys.len(), index.oid));
    candidates.extend(others.into_iter().map(|index| (KeySource::UniqueIndex, index)));
    candidates
        .into_iter()
        .find_map(|(source, index)| positions(index).map(|columns| Key { columns, source }))
        .unwrap_or(Key { columns: Vec::new(), source: KeySource::None })
}

/// Whether an index starts with exactly these columns in this order, sorted as a plain ORDER BY of them is.
///
/// All of them must be NOT NULL on this side, too: a range of the key finds no row whose key holds a NULL, and a subscriber
/// that has lost its primary key may have such rows.
pub(super) fn serves(indexes: &[Index], columns: &[Column], key: &[&str]) -> bool {
    let serves = |index: &Index| {
        let fits = key.iter().enumerate().all(|(position, name)| {
            let Some(column) = columns.iter().find(|column| column.name == *name) else { return false };
            column.not_null
                && index.keys.get(position) == Some(&column.number)
                && index.options.get(position) == Some(&ASCENDING_NULLS_LAST)
                && index.collations.get(position) == Some(&column.collation)
                && index.default_classes.get(position) == Some(&true)
        });
        index.btree && index.usable && !index.special && fits
    };
    !key.is_empty() && indexes.iter().any(serves)
}

/// Whether updates and deletes of a table say which row they mean (PostgreSQL manual, ALTER TABLE, REPLICA IDENTITY).
pub(super) fn has_replica_identity(table: &Entry, indexes: &[Index]) -> bool {
    table.identity == 'f' || identity_index(table, indexes).is_some()
}

/// The attribute numbers of the columns by which they say it; none where they name all columns, or none.
pub(super) fn replica_identity<'a>(table: &Entry, indexes: &'a [Index]) -> &'a [i16] {
    identity_index(table, indexes).map(|index| index.keys.as_slice()).unwrap_or_default()
}

fn identity_index<'a>(table: &Entry, indexes: &'a [Index]) -> Option<&'a Index> {
    match table.identity {
        'd' => indexes.iter().find(|index| index.primary && index.immediate && index.usable),
        'i' => indexes.iter().find(|index| index.identity && index.usable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::relations::Kind;
    use super::super::relations::tests::entry;
    use super::*;

    fn column(number: i16, name: &str, not_null: bool) -> Column {
        Column {
            number,
            name: name.to_owned(),
            own_name: name.to_owned(),
            type_oid: 25,
            declared: "text".to_owned(),
            not_null,
            generated: None,
            expression: None,
            collation: 100,
            readable: true,
        }
    }

    fn index(oid: u32, keys: &[i16]) -> Index {
        Index {
            oid,
            btree: true,
            unique: true,
            primary: false,
            immediate: true,
            usable: true,
            identity: false,
            special: false,
            keys: keys.to_vec(),
            options: vec![0; keys.len()],
            collations: vec![100; keys.len()],
            default_classes: vec![true; keys.len()],
        }
    }

    fn columns() -> Vec<Column> {
        vec![column(1, "a", true), column(2, "b", true), column(4, "c", false)]
    }

    #[test]
    fn the_primary_key_comes_first_then_the_identity_then_the_smallest() {
        let primary = Index { primary: true, ..index(10, &[2, 1]) };
        let identity = Index { identity: true, ..index(11, &[2]) };
        let small = index(12, &[1]);
        let all = [small.clone(), identity.clone(), primary.clone()];
        let key = choose(&all, &columns(), &["a", "b"]);
        assert_eq!((key.columns, key.source), (vec![1, 0], KeySource::PrimaryKey));
        let key = choose(&[small.clone(), identity], &columns(), &["a", "b"]);
        assert_eq!((key.columns, key.source), (vec![1], KeySource::ReplicaIdentity));
        let key = choose(&[index(9, &[1, 2]), small], &columns(), &["a", "b"]);
        assert_eq!((key.columns, key.source), (vec![0], KeySource::UniqueIndex));
        // A key column that is not compared: the next candidate.
        let key = choose(&all, &columns(), &["b"]);
        assert_eq!((key.columns, key.source), (vec![0], KeySource::ReplicaIdentity));
    }

    #[test]
    fn what_does_not_make_rows_unique_is_no_key() {
        let unfit = [
            index(1, &[4]),
            index(2, &[0]),
            index(3, &[]),
            Index { usable: false, ..index(4, &[1]) },
            Index { immediate: false, ..index(5, &[1]) },
            Index { special: true, ..index(6, &[1]) },
            Index { unique: false, ..index(7, &[1]) },
            Index { btree: false, primary: true, ..index(8, &[1]) },
        ];
        assert_eq!(choose(&unfit, &columns(), &["a", "b", "c"]).source, KeySource::None);
    }

    #[test]
    fn an_index_serves_in_key_order_only() {
        let fit = index(1, &[1, 2]);
        assert!(serves(std::slice::from_ref(&fit), &columns(), &["a", "b"]));
        assert!(serves(std::slice::from_ref(&fit), &columns(), &["a"]));
        assert!(!serves(std::slice::from_ref(&fit), &columns(), &["b", "a"]));
        assert!(!serves(std::slice::from_ref(&fit), &columns(), &["x"]));
        assert!(!serves(std::slice::from_ref(&fit), &columns(), &[]));
        let nullable = [column(1, "a", true), column(2, "b", false)];
        assert!(!serves(std::slice::from_ref(&fit), &nullable, &["a", "b"]));
        for unfit in [
            Index { options: vec![0, 1], ..fit.clone() },
            Index { options: vec![2, 0], ..fit.clone() },
            Index { collations: vec![100, 950], ..fit.clone() },
            Index { default_classes: vec![false, true], ..fit.clone() },
            Index { usable: false, ..fit.clone() },
            Index { special: true, ..fit.clone() },
            Index { btree: false, ..fit.clone() },
            Index { options: vec![], ..fit.clone() },
        ] {
            assert!(!serves(&[unfit], &columns(), &["a", "b"]));
        }
        // Neither uniqueness nor a primary key is needed to find rows in order.
        assert!(serves(&[Index { unique: false, ..fit }], &columns(), &["a", "b"]));
    }

    #[test]
    fn the_identity_is_what_the_table_says() {
        let primary = Index { primary: true, ..index(1, &[1]) };
        let table = |identity| Entry { identity, ..entry(1, "t", Kind::Table) };
        assert!(has_replica_identity(&table('d'), std::slice::from_ref(&primary)));
        assert!(!has_replica_identity(&table('d'), &[Index { immediate: false, ..primary.clone() }]));
        assert!(!has_replica_identity(&table('d'), &[index(2, &[1])]));
        assert!(!has_replica_identity(&table('n'), std::slice::from_ref(&primary)));
        assert!(!has_replica_identity(&table('i'), &[primary]));
        assert!(has_replica_identity(&table('i'), &[Index { identity: true, ..index(2, &[1]) }]));
        assert!(has_replica_identity(&table('f'), &[]));
        let both = [Index { primary: true, ..index(1, &[1, 3]) }, Index { identity: true, ..index(2, &[2]) }];
        assert_eq!(replica_identity(&table('d'), &both), [1, 3]);
        assert_eq!(replica_identity(&table('i'), &both), [2]);
        assert_eq!(replica_identity(&table('f'), &both), [0_i16; 0]);
    }
}
