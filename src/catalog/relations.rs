//! The tables of one side, and which is a partition of which.

use std::collections::{BTreeMap, HashMap};

use super::fields::Fields;
use super::queries;
use super::versions::Major;
use crate::connect::Session;
use crate::error::Result;
use crate::sql::QualifiedName;

/// What kind of relation (`pg_class.relkind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Partitioned,
    Foreign,
    MaterializedView,
}

/// A relation as its side describes it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) oid: u32,
    pub(super) name: QualifiedName,
    pub(super) kind: Kind,
    pub(super) unlogged: bool,
    /// `pg_class.relreplident`.
    pub(super) identity: char,
    pub(super) pages: u32,
    /// `pg_class.reltuples`; negative where never analyzed (14+).
    pub(super) tuples: f64,
    pub(super) heap: bool,
    /// USAGE on its schema.
    pub(super) usage: bool,
    /// SELECT on the whole table.
    pub(super) select: bool,
    /// Row-level security applies to the role.
    pub(super) row_security: bool,
    /// Row-level security is enabled, whoever it applies to.
    pub(super) secured: bool,
    pub(super) extension: bool,
}

impl Entry {
    /// Whether it is a table that replication can carry.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind, Kind::Table | Kind::Partitioned)
    }

    /// Whether the role may read all of it.
    pub(super) fn readable(&self) -> bool {
        self.usage && self.select && !self.row_security
    }
}

/// All relations of one side.
#[derive(Debug, Default)]
pub(super) struct Relations {
    entries: BTreeMap<u32, Entry>,
    by_name: HashMap<QualifiedName, u32>,
    parents: HashMap<u32, u32>,
    children: HashMap<u32, Vec<u32>>,
}

impl Relations {
    /// Reads them.
    pub(super) async fn read(session: &Session, major: Major) -> Result<Self> {
        let mut entries = Vec::new();
        for row in session.rows_simple(&queries::relations()).await? {
            let mut fields = Fields::new("the tables", row);
            let entry = Entry {
                oid: fields.parse()?,
                name: QualifiedName::new(fields.text()?, fields.text()?),
                kind: match fields.letter()? {
                    'r' => Kind::Table,
                    'p' => Kind::Partitioned,
                    'f' => Kind::Foreign,
                    _ => Kind::MaterializedView,
                },
                unlogged: fields.flag()?,
                identity: fields.letter()?,
                // -1 for a partitioned table that was analyzed.
                pages: u32::try_from(fields.parse::<i64>()?).unwrap_or(0),
                tuples: fields.parse()?,
                heap: fields.flag()?,
                usage: fields.flag()?,
                select: fields.flag()?,
                row_security: fields.flag()?,
                secured: fields.flag()?,
                extension: fields.flag()?,
            };
            entries.push(entry);
        }
        let mut parents = Vec::new();
        for row in session.rows_simple(&queries::partitions(major)).await? {
            let mut fields = Fields::new("the partitions", row);
            parents.push((fields.parse()?, fields.parse()?));
        }
        Ok(Self::new(entries, parents))
    }

    /// Puts them together; `parents` holds pairs of partition and parent.
    pub(super) fn new(entries: Vec<Entry>, parents: Vec<(u32, u32)>) -> Self {
        let mut relations = Self::default();
        for entry in entries {
            relations.by_name.insert(entry.name.clone(), entry.oid);
            relations.entries.insert(entry.oid, entry);
        }
        for (partition, parent) in parents {
            if relations.entries.contains_key(&partition) && relations.entries.contains_key(&parent) {
                relations.parents.insert(partition, parent);
                relations.children.entry(parent).or_default().push(partition);
            }
        }
        relations
    }

    /// A relation by its object identifier.
    pub(super) fn get(&self, oid: u32) -> Option<&Entry> {
        self.entries.get(&oid)
    }

    /// A relation by its name.
    pub(super) fn find(&self, name: &QualifiedName) -> Option<&Entry> {
        self.by_name.get(name).and_then(|oid| self.entries.get(oid))
    }

    /// The tables that are no partitions.
    pub(super) fn tops(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !self.parents.contains_key(&entry.oid))
    }

    /// The parents of a partition, nearest first.
    pub(super) fn ancestors(&self, oid: u32) -> impl Iterator<Item = u32> {
        // As many steps as there are partitions: catalogs read while they change cannot send us in circles.
        std::iter::successors(self.parents.get(&oid), |parent| self.parents.get(parent))
            .take(self.parents.len())
            .copied()
    }

    /// The relation itself if it is not partitioned, else everything below it that is not, by object identifier.
    pub(super) fn leaves(&self, oid: u32) -> Vec<&Entry> {
        let mut leaves = BTreeMap::new();
        let mut seen = std::collections::HashSet::new();
        let mut open = vec![oid];
        while let Some(oid) = open.pop() {
            if !seen.insert(oid) {
                continue;
            }
            if let Some(entry) = self.entries.get(&oid) {
                if entry.kind != Kind::Partitioned {
                    leaves.insert(oid, entry);
                }
                open.extend(self.children.get(&oid).into_iter().flatten());
            }
        }
        leaves.into_values().collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A readable relation in schema `public`.
    pub(in crate::catalog) fn entry(oid: u32, name: &str, kind: Kind) -> Entry {
        Entry {
            oid,
            name: QualifiedName::new("public", name),
            kind,
            unlogged: false,
            identity: 'd',
            pages: 0,
            tuples: 0.0,
            heap: kind == Kind::Table,
            usage: true,
            select: true,
            row_security: false,
            secured: false,
            extension: false,
        }
    }

    /// `root` (1) with a leaf (2), and a partitioned partition (3) with a leaf (4); a plain table (5).
    pub(in crate::catalog) fn tree() -> Relations {
        let entries = vec![
            entry(1, "root", Kind::Partitioned),
            entry(2, "leaf", Kind::Table),
            entry(3, "middle", Kind::Partitioned),
            entry(4, "deep", Kind::Table),
            entry(5, "plain", Kind::Table),
        ];
        Relations::new(entries, vec![(2, 1), (3, 1), (4, 3)])
    }

    #[test]
    fn trees_are_walked_both_ways() {
        let relations = tree();
        assert_eq!(relations.ancestors(4).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(relations.leaves(1).iter().map(|entry| entry.oid).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(relations.leaves(5).len(), 1);
        assert_eq!(relations.tops().map(|entry| entry.oid).collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn catalogs_that_contradict_themselves_end() {
        let entries = vec![entry(1, "a", Kind::Partitioned), entry(2, "b", Kind::Partitioned)];
        let relations = Relations::new(entries, vec![(1, 2), (2, 1)]);
        assert!(relations.ancestors(1).count() <= 2);
        assert!(relations.leaves(1).is_empty());
    }
}
