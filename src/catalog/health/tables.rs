//! The publisher's tables, seen from replication.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::model::*;
use super::queries;
use crate::catalog::fields::Fields;
use crate::catalog::published::Carried;
use crate::catalog::queries as catalog_queries;
use crate::catalog::relations::{Entry, Kind, Relations};
use crate::catalog::select::{self, Selection};
use crate::catalog::versions::Major;
use crate::connect::Session;
use crate::error::{ErrorKind, Result};
use crate::sql::{self, QualifiedName};

/// Bytes of a page on every build that we have met (`BLCKSZ`), for sizes as of the last ANALYZE.
const PAGE_BYTES: u64 = 8192;

pub(super) async fn read(
    session: &Session,
    major: Major,
    relations: &Relations,
    selection: &Selection,
) -> Result<PublishedTables> {
    let publications = publications(session, major).await?;
    let covered: BTreeSet<u32> = publications
        .iter()
        .flat_map(|publication| &publication.tables)
        .filter_map(|table| relations.find(table))
        .map(|entry| entry.oid)
        .collect();
    let leaves: Vec<&Entry> = relations
        .tops()
        .flat_map(|top| relations.leaves(top.oid))
        .filter(|leaf| leaf.kind == Kind::Table && selection.wants(relations, leaf.oid))
        .collect();
    let usable = identities(session, &leaves).await?;
    let unlogged: Vec<&Entry> = leaves.iter().copied().filter(|leaf| leaf.unlogged).collect();
    let weak: Vec<&Entry> = leaves
        .iter()
        .copied()
        .filter(|leaf| !leaf.unlogged && !usable.get(&leaf.oid).is_some_and(|identity| identity.good(leaf.identity)))
        .collect();
    let carried: BTreeMap<u32, Carried> = covered.iter().map(|&oid| (oid, Carried::default())).collect();
    let uncovered: Vec<&Entry> = select::not_carried(relations, &carried, selection)
        .into_iter()
        .filter(|entry| entry.is_table() && !entry.unlogged && !entry.extension)
        .collect();

    let parts = uncovered.iter().flat_map(|entry| relations.leaves(entry.oid));
    let measured: Vec<&Entry> = unlogged.iter().chain(&weak).copied().chain(parts).collect();
    let sizes = sizes(session, &measured).await?;
    let bytes_of = |oid: u32| sizes.get(&oid).copied().unwrap_or(0);
    let sized = |entry: &Entry| {
        let bytes = relations.leaves(entry.oid).iter().map(|leaf| bytes_of(leaf.oid)).fold(0, u64::saturating_add);
        SizedTable { name: entry.name.clone(), bytes }
    };
    let is_covered = |oid: u32| covered.contains(&oid) || relations.ancestors(oid).any(|up| covered.contains(&up));
    let mut weak_identities: Vec<WeakIdentity> = weak
        .into_iter()
        .map(|leaf| WeakIdentity {
            table: sized(leaf),
            identity: leaf.identity,
            primary_key: usable.get(&leaf.oid).is_some_and(|identity| identity.primary_key),
            published: is_covered(leaf.oid),
        })
        .collect();
    weak_identities.sort_by(|one, other| largest_first(&one.table, &other.table));
    Ok(PublishedTables {
        weak_identities,
        unlogged: ordered(unlogged.into_iter().map(sized).collect()),
        uncovered: ordered(uncovered.into_iter().map(sized).collect()),
        unreadable: unreadable(session, relations, selection).await?,
        count: u64::try_from(leaves.len()).unwrap_or(u64::MAX),
        publications,
    })
}

fn largest_first(one: &SizedTable, other: &SizedTable) -> std::cmp::Ordering {
    other.bytes.cmp(&one.bytes).then_with(|| one.name.cmp(&other.name))
}

fn ordered(mut tables: Vec<SizedTable>) -> Vec<SizedTable> {
    tables.sort_by(largest_first);
    tables
}

/// What identifies the rows of a table.
#[derive(Clone, Copy)]
struct Identity {
    primary_key: bool,
    identity_index: bool,
}

impl Identity {
    /// Whether rows are found by an index. REPLICA IDENTITY FULL with a primary key finds them by it, too.
    fn good(self, identity: char) -> bool {
        match identity {
            'd' | 'f' => self.primary_key,
            'i' => self.identity_index,
            _ => false,
        }
    }
}

async fn identities(session: &Session, tables: &[&Entry]) -> Result<HashMap<u32, Identity>> {
    let mut identities = HashMap::new();
    if tables.is_empty() {
        return Ok(identities);
    }
    for row in session.rows_simple(&queries::identities(tables.iter().map(|table| table.oid))).await? {
        let mut fields = Fields::new("the replica identities", row);
        let oid = fields.parse()?;
        identities.insert(oid, Identity { primary_key: fields.flag()?, identity_index: fields.flag()? });
    }
    Ok(identities)
}

/// Bytes by table. Asking takes a lock for a moment: where another session holds one for longer than our patience, the
/// pages at the last ANALYZE stand in. Sizes only say which of many to look at first.
async fn sizes(session: &Session, tables: &[&Entry]) -> Result<HashMap<u32, u64>> {
    let stored: Vec<&Entry> = tables.iter().copied().filter(|table| table.kind == Kind::Table).collect();
    if stored.is_empty() {
        return Ok(HashMap::new());
    }
    match session.rows_simple(&queries::total_sizes(stored.iter().map(|table| table.oid))).await {
        Ok(rows) => rows
            .into_iter()
            .map(|row| {
                let mut fields = Fields::new("the sizes of tables", row);
                Ok((fields.parse()?, fields.parse_optional()?.unwrap_or(0)))
            })
            .collect(),
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            Ok(stored.iter().map(|table| (table.oid, u64::from(table.pages) * PAGE_BYTES)).collect())
        }
        Err(error) => Err(error),
    }
}

async fn publications(session: &Session, major: Major) -> Result<Vec<Publication>> {
    const ACTIONS: [&str; 4] = ["insert", "update", "delete", "truncate"];
    let mut publications = Vec::new();
    for row in session.rows_simple(&queries::publications()).await? {
        let mut fields = Fields::new("the publications", row);
        let (name, all_tables) = (fields.text()?, fields.flag()?);
        let mut lacking = Vec::new();
        for action in ACTIONS {
            if !fields.flag()? {
                lacking.push(action.to_owned());
            }
        }
        publications.push(Publication { name, all_tables, lacking, tables: Vec::new() });
    }
    let names: Vec<String> = publications.iter().map(|publication| publication.name.clone()).collect();
    if names.is_empty() {
        return Ok(publications);
    }
    for row in session.rows_simple(&catalog_queries::published_tables(major, &names)).await? {
        let mut fields = Fields::new("the published tables", row);
        let publication = fields.text()?;
        let table = QualifiedName::new(fields.text()?, fields.text()?);
        if let Some(known) = publications.iter_mut().find(|known| known.name == publication) {
            known.tables.push(table);
        }
    }
    Ok(publications)
}

/// What the role lacks to read the tables that are asked for.
async fn unreadable(session: &Session, relations: &Relations, selection: &Selection) -> Result<Vec<AccessGap>> {
    let tables: Vec<&Entry> = relations
        .tops()
        .filter(|top| top.is_table() && !top.extension && selection.wants(relations, top.oid) && !top.readable())
        .collect();
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    // A privilege on each of its columns is as good as one on the table.
    let mut hidden = BTreeSet::new();
    for row in session.rows_simple(&queries::unreadable(tables.iter().map(|table| table.oid))).await? {
        hidden.insert(Fields::new("the privileges", row).parse::<u32>()?);
    }
    let role = Fields::new("the role", session.row("SELECT current_user").await?).text()?;
    let role = sql::identifier(&role);
    let mut gaps = Vec::new();
    for entry in tables {
        let schema = sql::identifier(&entry.name.schema);
        let mut gap = |message: String, grant: String| {
            gaps.push(AccessGap { name: entry.name.clone(), message, grant });
        };
        if !entry.usage {
            gap(
                format!("role {role} may not use schema {schema}"),
                format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
            );
        }
        if !entry.select && hidden.contains(&entry.oid) {
            let grant = format!("GRANT SELECT ON {} TO {role}", entry.name.to_sql());
            gap(format!("role {role} may not read {}", entry.name), grant);
        }
        if entry.row_security {
            let message = format!("row-level security of {} hides rows from role {role}", entry.name);
            gap(message, format!("ALTER ROLE {role} BYPASSRLS"));
        }
    }
    Ok(gaps)
}
