//! Reads the catalogs of both servers and puts them together.

use std::collections::{BTreeMap, BTreeSet};

use super::collations;
use super::detail::Detail;
use super::environment;
use super::findings::Code;
use super::mapped;
use super::model::{Catalog, Missing, ServerFacts, Severity, Subscription, Unpaired};
use super::pairs::{self, Context, Notes};
use super::published::{self, Carried, Published};
use super::relations::{Entry, Relations};
use super::select::{self, Selection};
use super::sequences::{self, Sequence};
use super::server::read_server;
use super::storage::Sizes;
use super::subscriptions;
use super::uncompared;
use super::versions::{Fact, Major};
use crate::config::pattern::TablePattern;
use crate::config::{GateMode, Scope, TableMapping};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::side::{Side, Sides};
use crate::sql::QualifiedName;
use crate::verdict::Reason;

/// What a run wants to compare.
#[derive(Debug, Clone)]
pub struct Request {
    /// Names of subscriptions; empty for all that the publisher feeds.
    pub subscriptions: Vec<String>,
    /// Which tables; empty for all.
    pub tables: Vec<TablePattern>,
    /// Which tables not.
    pub exclude_tables: Vec<TablePattern>,
    /// What must be accounted for.
    pub scope: Scope,
    /// Decides whether a subscription must join the two sides.
    pub gate: GateMode,
    /// Tables that have another shape on the subscriber on purpose.
    pub mappings: Vec<TableMapping>,
}

/// Reads the catalogs of both servers and decides what is compared.
///
/// # Errors
///
/// [`ErrorKind::Usage`] where a server's version is not supported, no subscription joins the two sides, a subscription or
/// a pattern that was asked for does not exist, or nothing is selected. [`ErrorKind::Changed`] where tables were created or
/// dropped meanwhile: try again. Else whatever a session reports.
pub async fn read(publisher: &Session, subscriber: &Session, request: &Request) -> Result<Catalog> {
    let majors = Sides::new(Major::of(publisher.version_num()), Major::of(subscriber.version_num()));
    for side in Side::BOTH {
        majors.get(side).check(side)?;
    }
    let (one, other) = tokio::try_join!(read_server(publisher), read_server(subscriber))?;
    let servers = Sides::new(one, other);

    let described = subscriptions::read(subscriber, majors.subscriber).await?;
    let slots = subscriptions::read_slots(publisher).await?;
    let (subscriptions, findings) =
        subscriptions::choose(&described, &slots, &request.subscriptions, request.gate, &servers.publisher)?;
    let mut notes = Notes { findings, excluded: Vec::new() };
    if subscriptions.is_empty() && request.scope == Scope::Published {
        return Err(Error::new(
            ErrorKind::Usage,
            "--scope published means what a subscription carries, and none joins the two sides",
        )
        .with_hint("use --scope database"));
    }

    // The publications first: what they list must be among the relations, unless it is dropped in between.
    let published = published::read(publisher, majors.publisher, &subscriptions).await?;
    let states = subscriptions::read_states(subscriber).await?;
    let (one, other) =
        tokio::try_join!(Relations::read(publisher, majors.publisher), Relations::read(subscriber, majors.subscriber))?;
    let relations = Sides::new(one, other);
    let selection = Selection::resolve(publisher, &request.tables, &request.exclude_tables).await?;

    let carried = if subscriptions.is_empty() {
        everything(&relations.publisher)
    } else {
        let filtered_copy = majors.subscriber.has(Fact::FilteredCopy);
        published::carried(&published, &subscriptions, &relations.publisher, filtered_copy)?
    };
    selection.check_partitions(&relations.publisher, &carried)?;
    mapped::check(&request.mappings, &relations.publisher)?;
    for entry in selection.excluded_relations(&relations.publisher) {
        notes.excluded.push(entry.name.to_string());
    }

    let mut unpaired = Vec::new();
    unpaired.extend(missing_publications(&subscriptions, &published, &mut notes));

    let mut chosen: Vec<(&Carried, Sides<&Entry>)> = Vec::new();
    for (&oid, carried) in carried.iter().filter(|&(&oid, _)| selection.wants(&relations.publisher, oid)) {
        let Some(entry) = relations.publisher.get(oid) else { continue };
        match relations.subscriber.find(mapped::name(&request.mappings, &entry.name)) {
            Some(other) if other.is_table() => chosen.push((carried, Sides::new(entry, other))),
            other => {
                let server = &servers.publisher;
                unpaired.push(uncompared::missing(publisher, server, entry, carried, other, &mut notes).await?);
            }
        }
    }
    let oids = chosen.iter().map(|(_, entries)| (entries.publisher.oid, entries.subscriber.oid));
    let (on_publisher, on_subscriber): (Vec<u32>, Vec<u32>) = oids.unzip();
    let (one, other) = tokio::try_join!(
        Detail::read(publisher, majors.publisher, &relations.publisher, &on_publisher),
        Detail::read(subscriber, majors.subscriber, &relations.subscriber, &on_subscriber)
    )?;
    let mut details = Sides::new(one, other);
    for (_, entries) in &chosen {
        if let Some(mapping) = mapped::of(&request.mappings, &entries.publisher.name) {
            mapped::apply(mapping, *entries, &mut details, &mut notes)?;
        }
    }
    let active: Vec<_> =
        described.iter().filter(|known| known.enabled).map(|known| (known.oid, known.name.clone())).collect();
    let context = Context {
        servers: &servers,
        relations: relations.as_ref(),
        details: details.as_ref(),
        subscriptions: &subscriptions,
        active: &active,
        states: &states,
        scope: request.scope,
        mappings: &request.mappings,
    };
    let mut tables = Vec::new();
    for (carried, entries) in chosen {
        tables.push(pairs::pair(&context, carried, entries, &mut notes)?);
    }

    notes.findings.extend(collations::findings(&tables, &servers));

    let loose = select::not_carried(&relations.publisher, &carried, &selection);
    unpaired.extend(left_behind(publisher, &servers.publisher, &loose, request.scope, &mut notes).await?);
    if selection.wants_large_objects() {
        unpaired.extend(uncompared::large_objects(publisher, request.scope, &mut notes).await?);
    } else if selection.excludes_large_objects() {
        notes.excluded.push(QualifiedName::new("pg_catalog", "pg_largeobject").to_string());
    }
    if !selection.is_narrowed() {
        extra_tables(&relations, &request.mappings, &mut notes);
        notes.findings.extend(environment::compare(publisher, subscriber).await?);
    }

    let (one, other) = tokio::try_join!(sequences::read(publisher), sequences::read(subscriber))?;
    let all = request.scope == Scope::Database && selection.is_plain();
    let taken: BTreeSet<u32> = tables.iter().map(|table| table.relations.publisher.oid).collect();
    let wanted = |sequence: &Sequence| all || draws(sequence, &selection, &relations.publisher, &taken, request.scope);
    let both = Sides::new(one, other);
    let (sequences, findings) = sequences::pair(&both, &relations, wanted);
    notes.findings.extend(findings);
    if all {
        notes.findings.extend(sequences::extra(&both));
    }

    if tables.is_empty() && unpaired.is_empty() && sequences.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "nothing selected: there is no table or sequence to compare")
            .with_hint("check the database, the publications, and the patterns of --table and --exclude-table"));
    }
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    unpaired.sort_by(|one, other| one.name.cmp(&other.name));
    notes.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    notes.excluded.sort();
    notes.excluded.dedup();
    let Notes { findings, excluded } = notes;
    Ok(Catalog { servers, subscriptions, tables, unpaired, sequences, findings, excluded })
}

/// Where no subscription joins the two sides, every user table must be equal: a partitioned table as a whole.
fn everything(relations: &Relations) -> BTreeMap<u32, Carried> {
    let tables = relations.tops().filter(|entry| entry.is_table() && !entry.extension);
    tables.map(|entry| (entry.oid, Carried::default())).collect()
}

/// Says which publications are missing. What they should carry cannot be known, so the whole cannot be proven.
fn missing_publications(subscriptions: &[Subscription], published: &Published, notes: &mut Notes) -> Option<Unpaired> {
    let mut missing = Vec::new();
    for subscription in subscriptions {
        for name in subscription.publications.iter().filter(|name| !published.publications.contains_key(*name)) {
            let message =
                format!("publication {name} of subscription {} does not exist on the publisher", subscription.name);
            let hint = "create it, or ALTER SUBSCRIPTION ... SET PUBLICATION; its tables cannot be known";
            notes.findings.push(Code::PublicationMissing.finding(Severity::Error, name, message.clone(), hint));
            missing.push(message);
        }
    }
    (!missing.is_empty()).then(|| Unpaired {
        name: QualifiedName::new("pg_catalog", "pg_publication"),
        why: Missing::Because(Reason::NotReplicated),
        message: missing.join("; "),
    })
}

/// What of the publisher nothing carries, and what that means.
async fn left_behind(
    session: &Session,
    server: &ServerFacts,
    loose: &[&Entry],
    scope: Scope,
    notes: &mut Notes,
) -> Result<Vec<Unpaired>> {
    let stored: Vec<&Entry> = loose.iter().copied().filter(|entry| entry.heap && entry.is_table()).collect();
    let sizes = if scope == Scope::Database { Sizes::read(session, &stored).await? } else { Sizes::default() };
    let mut unpaired = Vec::new();
    for entry in loose {
        unpaired.extend(uncompared::not_carried(session, server, entry, &sizes, scope, notes).await?);
    }
    Ok(unpaired)
}

fn extra_tables(relations: &Sides<Relations>, mappings: &[TableMapping], notes: &mut Notes) {
    let mapped = |entry: &Entry| mappings.iter().any(|mapping| mapping.subscriber.as_ref() == Some(&entry.name));
    let known = |entry: &Entry| relations.publisher.find(&entry.name).is_some() || mapped(entry);
    for entry in relations.subscriber.tops().filter(|entry| entry.is_table() && !entry.extension && !known(entry)) {
        let message = format!("{} exists on the subscriber only", entry.name);
        notes.findings.push(Code::ExtraTable.finding(
            Severity::Info,
            &entry.name,
            message,
            "nothing to do if that is meant",
        ));
    }
}

/// Whether a sequence belongs to what was selected: it is named itself, or a selected table owns it or draws from it.
fn draws(
    sequence: &Sequence,
    selection: &Selection,
    relations: &Relations,
    taken: &BTreeSet<u32>,
    scope: Scope,
) -> bool {
    let oid = sequence.facts.oid;
    if selection.excludes(relations, oid) {
        return false;
    }
    if selection.names(oid) {
        return true;
    }
    let mut tables = sequence.columns().map(|user| user.table).peekable();
    if tables.peek().is_none() {
        // It belongs to no table: only a selection or the scope can leave it out.
        return !selection.is_narrowed() && scope == Scope::Database;
    }
    tables.any(|table| match scope {
        Scope::Database => selection.wants(relations, table),
        // A partitioned table that is published leaf by leaf owns the sequence of its leaves.
        Scope::Published => {
            let leaves = relations.leaves(table);
            std::iter::once(table)
                .chain(relations.ancestors(table))
                .chain(leaves.iter().map(|leaf| leaf.oid))
                .any(|oid| taken.contains(&oid))
        }
    })
}
