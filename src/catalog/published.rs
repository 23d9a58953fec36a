//! What the publications of the chosen subscriptions carry.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::fields::Fields;
use super::model::{NotImplied, Subscription};
use super::queries;
use super::relations::Relations;
use super::versions::{Fact, Major};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::QualifiedName;

/// The kinds of change that a publication publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Actions {
    pub(super) insert: bool,
    pub(super) update: bool,
    pub(super) delete: bool,
    pub(super) truncate: bool,
}

impl Actions {
    fn and_also(self, other: Self) -> Self {
        Self {
            insert: self.insert || other.insert,
            update: self.update || other.update,
            delete: self.delete || other.delete,
            truncate: self.truncate || other.truncate,
        }
    }

    /// The changes that are not published, for people.
    fn lacking(self) -> Vec<&'static str> {
        let all = [
            (self.insert, "inserts"),
            (self.update, "updates"),
            (self.delete, "deletes"),
            (self.truncate, "truncates"),
        ];
        all.into_iter().filter(|(published, _)| !published).map(|(_, name)| name).collect()
    }
}

/// A line of `pg_publication_tables`.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) publication: String,
    pub(super) table: QualifiedName,
    /// `None` where the publisher is too old to choose columns.
    pub(super) columns: Option<BTreeSet<String>>,
    pub(super) filter: Option<String>,
}

/// What publications there are, and what they carry.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) publications: BTreeMap<String, Actions>,
    pub(super) lines: Vec<Line>,
}

/// Reads them.
pub(super) async fn read(session: &Session, major: Major, subscriptions: &[Subscription]) -> Result<Published> {
    let names: BTreeSet<_> = subscriptions.iter().flat_map(|subscription| subscription.publications.clone()).collect();
    let names: Vec<_> = names.into_iter().collect();
    let mut published = Published::default();
    if names.is_empty() {
        return Ok(published);
    }
    for row in session.rows_simple(&queries::publications(&names)).await? {
        let mut fields = Fields::new("the publications", row);
        let name = fields.text()?;
        let actions = Actions {
            insert: fields.flag()?,
            update: fields.flag()?,
            delete: fields.flag()?,
            truncate: fields.flag()?,
        };
        published.publications.insert(name, actions);
    }
    for row in session.rows_simple(&queries::published_tables(major, &names)).await? {
        let mut fields = Fields::new("the published tables", row);
        let publication = fields.text()?;
        let table = QualifiedName::new(fields.text()?, fields.text()?);
        let columns = fields.texts_optional()?.map(|columns| columns.into_iter().collect());
        // NULL for a table without columns.
        let columns = if major.has(Fact::PublishedColumns) { Some(columns.unwrap_or_default()) } else { None };
        published.lines.push(Line { publication, table, columns, filter: fields.optional()? });
    }
    Ok(published)
}

/// A relation of the publisher that is compared as one table, and what replication does to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Positions of the subscriptions that feed it; empty where none joins the two sides.
    pub(super) subscriptions: Vec<usize>,
    /// The published columns; `None` for all that are not generated.
    pub(super) columns: Option<BTreeSet<String>>,
    /// Publications of one subscription name different columns.
    pub(super) column_lists_differ: bool,
    /// The rows that are published; `None` for all.
    pub(super) filter: Option<String>,
    /// Why equality is not implied.
    pub(super) not_implied: Option<NotImplied>,
    /// Whether updates or deletes are published.
    pub(super) identity_needed: bool,
}

/// Puts together what each relation of the publisher is carried as.
///
/// # Errors
///
/// [`ErrorKind::Changed`] where a publication lists a table that the catalog did not have a moment ago.
pub(super) fn carried(
    published: &Published,
    subscriptions: &[Subscription],
    relations: &Relations,
    copy_filters: bool,
) -> Result<BTreeMap<u32, Carried>> {
    let mut all: BTreeMap<u32, Carried> = BTreeMap::new();
    for (position, subscription) in subscriptions.iter().enumerate() {
        let mut lines: HashMap<u32, Vec<&Line>> = HashMap::new();
        for line in published.lines.iter().filter(|line| subscription.publications.contains(&line.publication)) {
            let entry = relations.find(&line.table).ok_or_else(|| {
                Error::new(
                    ErrorKind::Changed,
                    format!("publication {} lists {}, which is not there", line.publication, line.table),
                )
                .with_hint("try again: tables were created or dropped meanwhile")
            })?;
            lines.entry(entry.oid).or_default().push(line);
        }
        for (&oid, own) in &lines {
            // Listed as root by one publication and as leaf by another, changes are published as the root's.
            if relations.ancestors(oid).any(|ancestor| lines.contains_key(&ancestor)) {
                continue;
            }
            let one = combine(own, published, copy_filters);
            let merged = all.entry(oid).or_insert_with(|| one.clone());
            merged.subscriptions.push(position);
            merged.identity_needed |= one.identity_needed;
        }
    }
    let covered: Vec<(u32, u32)> = all
        .keys()
        .filter_map(|&oid| {
            let above: Vec<_> = relations.ancestors(oid).filter(|ancestor| all.contains_key(ancestor)).collect();
            above.last().map(|&top| (oid, top))
        })
        .collect();
    // A leaf by one subscription and its root by another: the root is compared, and fed by both.
    for (leaf, top) in covered {
        if let Some(leaf) = all.remove(&leaf)
            && let Some(top) = all.get_mut(&top)
        {
            top.subscriptions.extend(leaf.subscriptions);
            top.subscriptions.sort_unstable();
            top.subscriptions.dedup();
        }
    }
    for carried in all.values_mut().filter(|carried| carried.subscriptions.len() > 1) {
        carried.not_implied = Some(nothing("several subscriptions feed it".to_owned()));
    }
    Ok(all)
}

/// What the publications of one subscription that list a table make of it together.
fn combine(lines: &[&Line], published: &Published, copy_filters: bool) -> Carried {
    let actions_of = |line: &Line| published.publications.get(&line.publication).copied().unwrap_or_default();
    let actions = lines.iter().fold(Actions::default(), |all, line| all.and_also(actions_of(line)));
    let names = || lines.iter().map(|line| line.publication.as_str()).collect::<BTreeSet<_>>();
    let names = names().into_iter().collect::<Vec<_>>().join(", ");

    let all_rows = lines.iter().any(|line| line.filter.is_none());
    let filters: BTreeSet<_> = lines.iter().filter_map(|line| line.filter.as_deref()).collect();
    let filter = (!all_rows && !filters.is_empty())
        .then(|| filters.iter().map(|filter| format!("({filter})")).collect::<Vec<_>>().join(" OR "));

    let columns: Vec<_> = lines.iter().map(|line| &line.columns).collect();
    let column_lists_differ = columns.windows(2).any(|pair| matches!(pair, [one, other] if one != other));
    let columns = columns
        .into_iter()
        .flatten()
        .fold(None::<BTreeSet<String>>, |all, some| Some(all.unwrap_or_default().union(some).cloned().collect()));

    let uneven = lines.windows(2).any(|pair| matches!(pair, [one, other] if actions_of(one) != actions_of(other)));
    let not_implied = if uneven && !filters.is_empty() {
        Some(nothing(format!("publications {names} publish different actions of different rows")))
    } else if !actions.lacking().is_empty() {
        Some(some_actions(actions, filter.is_some(), &names))
    } else if filter.is_some() && !copy_filters {
        let why = format!("the subscriber's initial copy ignored the row filter of publication {names}");
        Some(NotImplied { why, missing: true, extra: false, changed: true })
    } else {
        None
    };
    Carried {
        subscriptions: Vec::new(),
        columns,
        column_lists_differ,
        filter,
        not_implied,
        identity_needed: actions.update || actions.delete,
    }
}

/// Nothing follows from any difference.
fn nothing(why: String) -> NotImplied {
    NotImplied { why, ..NotImplied::default() }
}

/// What follows where some kinds of change are not published.
fn some_actions(actions: Actions, filtered: bool, publications: &str) -> NotImplied {
    let why = format!("publication {publications} does not publish {}", actions.lacking().join(", "));
    // An update that is not published may have changed the key, too. Of a filter, updates make inserts and deletes.
    if !actions.update || (filtered && !(actions.insert && actions.delete)) {
        return nothing(why);
    }
    // A key that was deleted and inserted again, one of the two unpublished, is missing, or stops replication: never changed.
    NotImplied { why, missing: actions.insert, extra: actions.delete && actions.truncate, changed: true }
}

#[cfg(test)]
mod tests {
    use super::super::relations::tests::tree;
    use super::*;

    const ALL: Actions = Actions { insert: true, update: true, delete: true, truncate: true };

    fn subscription(name: &str, publications: &[&str]) -> Subscription {
        Subscription {
            oid: 1,
            name: name.to_owned(),
            slot: name.to_owned(),
            publications: publications.iter().map(|&name| name.to_owned()).collect(),
            enabled: true,
            two_phase: false,
            origin: None,
        }
    }

    fn line(publication: &str, table: &str, columns: &[&str], filter: Option<&str>) -> Line {
        Line {
            publication: publication.to_owned(),
            table: QualifiedName::new("public", table),
            columns: Some(columns.iter().map(|&name| name.to_owned()).collect()),
            filter: filter.map(str::to_owned),
        }
    }

    fn published(publications: &[(&str, Actions)], lines: Vec<Line>) -> Published {
        let publications = publications.iter().map(|&(name, actions)| (name.to_owned(), actions)).collect();
        Published { publications, lines }
    }

    #[test]
    fn filters_are_ored_and_one_without_means_all_rows() {
        let some = published(
            &[("p", ALL), ("q", ALL)],
            vec![line("p", "plain", &["a"], Some("a > 1")), line("q", "plain", &["a"], Some("(a < 0)"))],
        );
        let both = [subscription("s", &["p", "q"])];
        let carried_both = carried(&some, &both, &tree(), true).unwrap();
        assert_eq!(carried_both[&5].filter.as_deref(), Some("((a < 0)) OR (a > 1)"));
        assert_eq!(carried_both[&5].not_implied, None);
        assert!(carried(&some, &both, &tree(), false).unwrap()[&5].not_implied.is_some());

        let all = published(
            &[("p", ALL), ("q", ALL)],
            vec![line("p", "plain", &["a"], Some("x")), line("q", "plain", &["a"], None)],
        );
        assert_eq!(carried(&all, &both, &tree(), true).unwrap()[&5].filter, None);
        let one = [subscription("s", &["p"])];
        assert_eq!(carried(&all, &one, &tree(), true).unwrap()[&5].filter.as_deref(), Some("(x)"));
    }

    #[test]
    fn filters_of_different_actions_imply_nothing() {
        let inserts = Actions { insert: true, ..Actions::default() };
        let rest = Actions { insert: false, ..ALL };
        let lines = vec![line("p", "plain", &["a"], Some("x")), line("q", "plain", &["a"], None)];
        let uneven = published(&[("p", inserts), ("q", rest)], lines);
        let result = carried(&uneven, &[subscription("s", &["p", "q"])], &tree(), true).unwrap();
        assert!(result[&5].not_implied.is_some());
    }

    #[test]
    fn what_is_not_published_is_named() {
        let no_deletes = Actions { delete: false, truncate: false, ..ALL };
        let some = published(&[("p", no_deletes)], vec![line("p", "plain", &["a"], None)]);
        let result = carried(&some, &[subscription("s", &["p"])], &tree(), true).unwrap();
        assert_eq!(
            result[&5].not_implied,
            Some(NotImplied {
                why: "publication p does not publish deletes, truncates".to_owned(),
                missing: true,
                extra: false,
                changed: true
            })
        );
        assert!(result[&5].identity_needed);
    }

    #[test]
    fn the_root_wins_over_its_leaves() {
        let lines = vec![
            line("p", "root", &["a"], None),
            line("q", "leaf", &["a"], Some("x")),
            line("q", "deep", &["a"], None),
        ];
        let some = published(&[("p", ALL), ("q", ALL)], lines);
        let result = carried(&some, &[subscription("s", &["p", "q"])], &tree(), true).unwrap();
        assert_eq!(result.keys().copied().collect::<Vec<_>>(), [1]);
        let result = carried(&some, &[subscription("s", &["q"])], &tree(), true).unwrap();
        assert_eq!(result.keys().copied().collect::<Vec<_>>(), [2, 4]);
        // By two subscriptions, it is one table that both of them feed.
        let two = [subscription("s", &["p"]), subscription("t", &["q"])];
        let result = carried(&some, &two, &tree(), true).unwrap();
        assert_eq!(result.keys().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(result[&1].subscriptions, [0, 1]);
    }

    #[test]
    fn different_column_lists_are_seen() {
        let lines = vec![line("p", "plain", &["a"], None), line("q", "plain", &["a", "b"], None)];
        let some = published(&[("p", ALL), ("q", ALL)], lines);
        let result = carried(&some, &[subscription("s", &["p", "q"])], &tree(), true).unwrap();
        assert!(result[&5].column_lists_differ);
        assert_eq!(result[&5].columns.as_ref().unwrap().len(), 2);
    }

    #[test]
    fn a_table_that_is_gone_is_an_error() {
        let some = published(&[("p", ALL)], vec![line("p", "gone", &["a"], None)]);
        let error = carried(&some, &[subscription("s", &["p"])], &tree(), true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Changed);
    }
}
