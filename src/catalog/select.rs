//! Which tables were asked for, and which of the publisher's tables replication does not carry.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::fields::Fields;
use super::published::Carried;
use super::queries::{self, LARGE_OBJECT_CATALOG};
use super::relations::{Entry, Kind, Relations};
use crate::config::pattern::TablePattern;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};

/// What `-t` and `-T` mean on the publisher, as object identifiers of relations, sequences and the catalog of large objects.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// `None` for everything.
    included: Option<BTreeSet<u32>>,
    excluded: BTreeSet<u32>,
}

impl Selection {
    /// Resolves the patterns on the publisher, as pg_dump does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] for a pattern that matches nothing, or that the server cannot read.
    pub(super) async fn resolve(session: &Session, tables: &[TablePattern], exclude: &[TablePattern]) -> Result<Self> {
        let bare = tables.iter().chain(exclude).any(|pattern| pattern.schema_regex().is_none());
        let visible = if bare { visible(session).await? } else { HashSet::new() };
        let mut selection = Self::default();
        for pattern in tables {
            let found = matching(session, pattern, &visible, "--table").await?;
            selection.included.get_or_insert_default().extend(found);
        }
        for pattern in exclude {
            selection.excluded.extend(matching(session, pattern, &visible, "--exclude-table").await?);
        }
        Ok(selection)
    }

    /// Whether only named tables are compared.
    pub(super) fn is_narrowed(&self) -> bool {
        self.included.is_some()
    }

    /// Whether anything at all was named to be taken or left.
    pub(super) fn is_plain(&self) -> bool {
        self.included.is_none() && self.excluded.is_empty()
    }

    /// Whether a relation is asked for: it or what it is a partition of is taken, and neither is left out.
    pub(super) fn wants(&self, relations: &Relations, oid: u32) -> bool {
        self.includes(relations, oid) && !self.excludes(relations, oid)
    }

    /// Whether a sequence is named by itself to be taken.
    pub(super) fn names(&self, oid: u32) -> bool {
        self.included.as_ref().is_some_and(|oids| oids.contains(&oid))
    }

    /// Whether a relation, or what it is a partition of, is named to be left out.
    pub(super) fn excludes(&self, relations: &Relations, oid: u32) -> bool {
        std::iter::once(oid).chain(relations.ancestors(oid)).any(|oid| self.excluded.contains(&oid))
    }

    fn includes(&self, relations: &Relations, oid: u32) -> bool {
        let Some(included) = &self.included else { return true };
        std::iter::once(oid).chain(relations.ancestors(oid)).any(|oid| included.contains(&oid))
    }

    /// Whether large objects are asked for.
    pub(super) fn wants_large_objects(&self) -> bool {
        let included = self.included.as_ref().is_none_or(|oids| oids.contains(&LARGE_OBJECT_CATALOG));
        included && !self.excluded.contains(&LARGE_OBJECT_CATALOG)
    }

    /// Whether large objects are named to be left out.
    pub(super) fn excludes_large_objects(&self) -> bool {
        self.excluded.contains(&LARGE_OBJECT_CATALOG)
    }

    /// The relations that are named to be left out, without partitions of others that are.
    pub(super) fn excluded_relations<'a>(&self, relations: &'a Relations) -> Vec<&'a Entry> {
        let on_its_own = |oid: &u32| !relations.ancestors(*oid).any(|ancestor| self.excluded.contains(&ancestor));
        self.excluded.iter().filter(|oid| on_its_own(oid)).filter_map(|&oid| relations.get(oid)).collect()
    }

    /// Refuses to take or leave a partition of a table that is compared as a whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] that names the table to take or leave instead.
    pub(super) fn check_partitions(&self, relations: &Relations, carried: &BTreeMap<u32, Carried>) -> Result<()> {
        let whole = |oid: u32| relations.ancestors(oid).find(|ancestor| carried.contains_key(ancestor));
        let named = |oids: &BTreeSet<u32>, flag: &str, settled: &dyn Fn(u32) -> bool| {
            for &oid in oids {
                if let (Some(root), Some(entry)) = (whole(oid), relations.get(oid))
                    && !settled(root)
                    && let Some(root) = relations.get(root)
                {
                    let message = format!("{flag} {}: it is a partition of {}", entry.name, root.name);
                    return Err(Error::new(ErrorKind::Usage, format!("{message}, which is compared as one table"))
                        .with_hint(format!("use {flag} {} instead", root.name)));
                }
            }
            Ok(())
        };
        let included = self.included.clone().unwrap_or_default();
        named(&included, "--table", &|root| self.includes(relations, root) || self.excludes(relations, root))?;
        named(&self.excluded, "--exclude-table", &|root| !self.wants(relations, root))
    }
}

/// The tables of the publisher that are asked for and that nothing carries: a partitioned table as a whole if nothing
/// below it is carried, taken or left by itself, else its partitions one by one.
pub(super) fn not_carried<'a>(
    relations: &'a Relations,
    carried: &BTreeMap<u32, Carried>,
    selection: &Selection,
) -> Vec<&'a Entry> {
    let mut found = Vec::new();
    for top in relations.tops().filter(|top| !carried.contains_key(&top.oid)) {
        let leaves = relations.leaves(top.oid);
        let covered = |leaf: &Entry| {
            carried.contains_key(&leaf.oid) || relations.ancestors(leaf.oid).any(|oid| carried.contains_key(&oid))
        };
        let whole = top.kind == Kind::Partitioned
            && selection.wants(relations, top.oid)
            && leaves.iter().all(|leaf| !covered(leaf) && selection.wants(relations, leaf.oid));
        if whole {
            found.push(top);
        } else {
            found.extend(leaves.into_iter().filter(|leaf| !covered(leaf) && selection.wants(relations, leaf.oid)));
        }
    }
    found
}

/// What the role finds by its bare name with the search path that it would have by default.
async fn visible(session: &Session) -> Result<HashSet<u32>> {
    let rows = match session.statements(&queries::visible()).await {
        Ok(statements) => statements.into_iter().flatten(),
        Err(error) => {
            // The batch ended inside of its transaction; if the session is lost, the first error says it better.
            let _ = session.batch("ROLLBACK").await;
            return Err(error);
        }
    };
    rows.map(|row| Fields::new("the search path", row).parse()).collect()
}

async fn matching(
    session: &Session,
    pattern: &TablePattern,
    visible: &HashSet<u32>,
    flag: &str,
) -> Result<BTreeSet<u32>> {
    let usage = |problem: &str| Error::new(ErrorKind::Usage, format!("{flag} {}: {problem}", pattern.text()));
    let rows = match session.rows_simple(&queries::matching(pattern.schema_regex(), pattern.name_regex())).await {
        Ok(rows) => rows,
        Err(error) if error.kind() == ErrorKind::Server => {
            return Err(usage("the publisher cannot read this pattern").with_source(error));
        }
        Err(error) => return Err(error),
    };
    let mut found = BTreeSet::new();
    for row in rows {
        let oid = Fields::new("the matches of a pattern", row).parse()?;
        // pg_catalog is in every search path.
        if pattern.schema_regex().is_some() || oid == LARGE_OBJECT_CATALOG || visible.contains(&oid) {
            found.insert(oid);
        }
    }
    if found.is_empty() {
        let hint = if pattern.schema_regex().is_none() {
            "a pattern without a schema matches what is in the role's search path only; patterns are as in pg_dump"
        } else {
            "patterns match names on the publisher and are as in pg_dump"
        };
        return Err(usage("matches nothing on the publisher").with_hint(hint));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::relations::tests::tree;
    use super::*;

    fn selection(included: Option<&[u32]>, excluded: &[u32]) -> Selection {
        Selection {
            included: included.map(|oids| oids.iter().copied().collect()),
            excluded: excluded.iter().copied().collect(),
        }
    }

    fn carried(oids: &[u32]) -> BTreeMap<u32, Carried> {
        oids.iter().map(|&oid| (oid, Carried::default())).collect()
    }

    fn loose(oids: &[u32], selection: &Selection) -> Vec<u32> {
        not_carried(&tree(), &carried(oids), selection).iter().map(|entry| entry.oid).collect()
    }

    #[test]
    fn a_root_stands_for_its_partitions() {
        let relations = tree();
        let only_root = selection(Some(&[1]), &[]);
        assert!(only_root.wants(&relations, 4) && only_root.wants(&relations, 1) && !only_root.wants(&relations, 5));
        let not_middle = selection(None, &[3]);
        assert!(!not_middle.wants(&relations, 4) && not_middle.wants(&relations, 2));
        assert_eq!(not_middle.excluded_relations(&relations).len(), 1);
        assert_eq!(selection(None, &[1, 2, 3]).excluded_relations(&relations).len(), 1);
    }

    #[test]
    fn what_nothing_carries_is_found_once() {
        let all = selection(None, &[]);
        assert_eq!(loose(&[], &all), [1, 5]);
        assert_eq!(loose(&[1, 5], &all), [] as [u32; 0]);
        assert_eq!(loose(&[2], &all), [4, 5]);
        assert_eq!(loose(&[3], &all), [2, 5]);
        assert_eq!(loose(&[], &selection(None, &[4])), [2, 5]);
        assert_eq!(loose(&[], &selection(Some(&[4]), &[])), [4]);
        assert_eq!(loose(&[], &selection(None, &[1])), [5]);
    }

    #[test]
    fn a_partition_of_a_whole_cannot_be_taken_or_left() {
        let relations = tree();
        let whole = carried(&[1, 5]);
        for unfit in [selection(Some(&[4]), &[]), selection(Some(&[4, 5]), &[]), selection(None, &[2])] {
            let error = unfit.check_partitions(&relations, &whole).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().contains("public.root") && error.hint().unwrap().contains("public.root"));
        }
        for fit in [selection(Some(&[1, 4]), &[]), selection(None, &[1, 2]), selection(Some(&[5]), &[2])] {
            fit.check_partitions(&relations, &whole).unwrap();
        }
        selection(Some(&[4]), &[2]).check_partitions(&relations, &carried(&[2, 4])).unwrap();
    }

    #[test]
    fn large_objects_are_part_of_everything() {
        assert!(selection(None, &[]).wants_large_objects());
        assert!(!selection(Some(&[5]), &[]).wants_large_objects());
        assert!(!selection(None, &[LARGE_OBJECT_CATALOG]).wants_large_objects());
    }
}
