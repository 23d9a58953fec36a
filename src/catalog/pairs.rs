//! Two tables of the same name become a pair: what is compared, by which key, and with which reservations.

use super::columns::{self, Fate};
use super::detail::Detail;
use super::drift;
use super::findings::Code;
use super::keys;
use super::mapped;
use super::model::{
    ColumnPair, Finding, KeySource, Relation, Reservation, ServerFacts, Severity, Subscription, TablePair,
};
use super::published::Carried;
use super::relations::{Entry, Relations};
use super::storage;
use super::subscriptions::TableStates;
use crate::config::{Scope, TableMapping};
use crate::error::Result;
use crate::side::{Side, Sides};
use crate::sql::{self, QualifiedName};
use crate::verdict::Reason;

/// What pairing needs to know.
pub(super) struct Context<'a> {
    pub(super) servers: &'a Sides<ServerFacts>,
    pub(super) relations: Sides<&'a Relations>,
    pub(super) details: Sides<&'a Detail>,
    pub(super) subscriptions: &'a [Subscription],
    /// Object identifiers and names of all enabled subscriptions of the subscriber's database.
    pub(super) active: &'a [(u32, String)],
    pub(super) states: &'a TableStates,
    pub(super) scope: Scope,
    pub(super) mappings: &'a [TableMapping],
}

impl Context<'_> {
    fn mapping(&self, table: &QualifiedName) -> Option<&TableMapping> {
        mapped::of(self.mappings, table)
    }
}

/// What is said besides.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) findings: Vec<Finding>,
    pub(super) excluded: Vec<String>,
}

/// Pairs a carried table of the publisher with the subscriber's table of the same name.
pub(super) fn pair(
    context: &Context<'_>,
    carried: &Carried,
    entries: Sides<&Entry>,
    notes: &mut Notes,
) -> Result<TablePair> {
    let mut draft = Draft { context, entries, carried, notes, reservations: Vec::new() };
    let columns = draft.columns()?;
    draft.subscriptions();
    draft.rows_left_out();
    draft.access(&columns);
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let publisher = entries.publisher;
    let detail = context.details.publisher;
    let key = keys::choose(detail.indexes(publisher.oid), detail.columns(publisher.oid), &names);
    draft.identity(key.source);
    draft.triggers();
    draft.drift();
    let unsent_identity = draft.unsent_identity();
    let key_names: Vec<&str> = key.columns.iter().filter_map(|&position| names.get(position).copied()).collect();
    let stale = |side| key.columns.iter().filter_map(|&at| columns.get(at)).any(|column| column.stale_on(side));
    let relations = Sides {
        publisher: draft.relation(Side::Publisher, &key_names, stale(Side::Publisher))?,
        subscriber: draft.relation(Side::Subscriber, &key_names, stale(Side::Subscriber))?,
    };
    let reservations = draft.reservations;
    Ok(TablePair {
        name: publisher.name.clone(),
        subscription: carried.subscriptions.first().copied(),
        relations,
        key,
        unsent_identity,
        not_implied: carried.not_implied.clone(),
        reservations,
        columns,
    })
}

struct Draft<'a, 'n> {
    context: &'a Context<'a>,
    entries: Sides<&'a Entry>,
    carried: &'a Carried,
    notes: &'n mut Notes,
    reservations: Vec<Reservation>,
}

impl Draft<'_, '_> {
    fn name(&self) -> &QualifiedName {
        &self.entries.publisher.name
    }

    fn joined(&self) -> bool {
        !self.carried.subscriptions.is_empty()
    }

    fn find(&mut self, code: Code, severity: Severity, message: impl Into<String>, hint: impl Into<String>) {
        let finding = code.finding(severity, self.name(), message, hint);
        self.notes.findings.push(finding);
    }

    fn find_column(&mut self, code: Code, severity: Severity, column: &str, message: String, hint: impl Into<String>) {
        let object = format!("{}.{column}", self.name());
        self.notes.findings.push(code.finding(severity, &object, message, hint));
    }

    fn reserve(&mut self, reason: Reason, readable: bool, message: impl Into<String>) {
        self.reservations.push(Reservation { reason, message: message.into(), readable });
    }

    /// Something of the publisher's is not carried: unproven, unless only what is published was asked for.
    fn not_carried(&mut self, code: Code, column: Option<&str>, message: &str, hint: &str, excluded: String) {
        let severity = match self.context.scope {
            Scope::Database => Severity::Warning,
            Scope::Published => Severity::Info,
        };
        match column {
            Some(column) => self.find_column(code, severity, column, message.to_owned(), hint),
            None => self.find(code, severity, message, hint),
        }
        match self.context.scope {
            Scope::Database => self.reserve(Reason::NotReplicated, true, format!("{message}: {hint}")),
            Scope::Published => self.notes.excluded.push(excluded),
        }
    }

    fn columns(&mut self) -> Result<Vec<ColumnPair>> {
        const TAKE: &str = "carry it, or accept that it is not compared with --scope published";
        let name = self.name().clone();
        let all = self.context.details;
        let own = Sides::new(
            all.publisher.columns(self.entries.publisher.oid),
            all.subscriber.columns(self.entries.subscriber.oid),
        );
        let mut columns = Vec::new();
        if self.carried.column_lists_differ {
            let message = format!("publications of one subscription carry different columns of {name}");
            let hint = "give all of them the same column list: replication of the table fails as it is";
            self.find(Code::ColumnListsDiffer, Severity::Error, message.clone(), hint);
            self.reserve(Reason::ColumnNotComparable, true, format!("{message}: {hint}"));
        }
        for (column, fate) in
            columns::decide(own.publisher, own.subscriber, self.carried.columns.as_ref(), self.joined())
        {
            match fate {
                Fate::Compared | Fate::ComparedGenerated => {
                    if fate == Fate::ComparedGenerated {
                        let message = format!("column {column} of {name} is generated on the subscriber only");
                        let hint = "make it an ordinary column there: replication cannot write it";
                        self.find_column(Code::GeneratedOnSubscriber, Severity::Warning, column, message, hint);
                    }
                    let by_name =
                        |columns: &'_ [columns::Column]| columns.iter().find(|own| own.name == column).cloned();
                    if let (Some(one), Some(other)) = (by_name(own.publisher), by_name(own.subscriber)) {
                        let mut pair = self.column(&one, &other)?;
                        let carried = self.carried.columns.as_ref().is_some_and(|names| names.contains(column));
                        if one.generated.is_some() && other.generated.is_some() && !carried {
                            pair.computed.clone_from(&one.expression);
                            if one.expression.is_none() && self.joined() {
                                let message = format!(
                                    "how column {column} of {name} is generated is not known, or not the same in all of its partitions"
                                );
                                let hint = "if rows that are written meanwhile are in the way, verify while nobody writes, with --gate quiesced";
                                self.find_column(Code::GenerationUnknown, Severity::Info, column, message, hint);
                            }
                        }
                        columns.push(pair);
                    }
                }
                Fate::Missing => {
                    let message = format!("column {column} of {name} does not exist on the subscriber");
                    let hint = "add it there: replication of the table fails without it";
                    self.find_column(Code::ColumnMissing, Severity::Error, column, message.clone(), hint);
                    self.reserve(Reason::ColumnNotComparable, true, format!("{message}: {hint}"));
                }
                Fate::NotCarried => {
                    let message = format!("column {column} of {name} is not carried by replication");
                    let excluded = format!("{name}.{} (not published)", sql::identifier(column));
                    self.not_carried(Code::ColumnNotReplicated, Some(column), &message, TAKE, excluded);
                }
                Fate::Virtual => {
                    let message = format!("column {column} of {name} is computed when it is read");
                    self.find_column(Code::VirtualColumn, Severity::Info, column, message, "nothing to do");
                }
                Fate::ComputedOtherwise => {
                    let computed = |columns: &[columns::Column]| {
                        let own = columns.iter().find(|own| own.name == column);
                        let expression = own.and_then(|own| own.expression.clone());
                        expression
                            .map_or_else(|| "in a way that it did not tell".to_owned(), |text| format!("as {text}"))
                    };
                    let message = format!(
                        "column {column} of {name} is computed when it is read, {} on the publisher, {} on the subscriber",
                        computed(own.publisher),
                        computed(own.subscriber)
                    );
                    let hint =
                        "give it the same expression on both sides, or leave it out (leave-out) if both mean the same";
                    self.find_column(Code::VirtualColumn, Severity::Warning, column, message.clone(), hint);
                    self.reserve(Reason::ColumnNotComparable, true, format!("{message}: {hint}"));
                }
                Fate::Extra => {
                    let message = format!("column {column} of {name} exists on the subscriber only");
                    self.find_column(
                        Code::ExtraColumn,
                        Severity::Info,
                        column,
                        message,
                        "nothing to do if that is meant",
                    );
                }
            }
        }
        Ok(columns)
    }

    fn column(&mut self, one: &columns::Column, other: &columns::Column) -> Result<ColumnPair> {
        let details = self.context.details;
        let types = Sides::new(
            details.publisher.types.facts(one.type_oid, &one.declared)?,
            details.subscriber.types.facts(other.type_oid, &other.declared)?,
        );
        let collations = Sides::new(
            details.publisher.collations.facts(one.collation)?,
            details.subscriber.collations.facts(other.collation)?,
        );
        let message = || {
            let (column, name) = (&one.name, self.name());
            format!(
                "column {column} of {name} is {} on the publisher, {} on the subscriber",
                one.declared, other.declared
            )
        };
        if types.publisher.base().name != types.subscriber.base().name {
            let hint = "make the types the same, or see in the plan how it is compared";
            self.find_column(Code::ColumnType, Severity::Warning, &one.name, message(), hint);
        } else if one.declared != other.declared {
            let hint = "make the types the same: values may be cut, rounded or refused";
            self.find_column(Code::ColumnModifier, Severity::Warning, &one.name, message(), hint);
        }
        let subscriber_name = (other.own_name != one.name).then(|| other.own_name.clone());
        let time_zone = self.context.mapping(self.name()).and_then(|mapping| mapping.time_zone.clone());
        Ok(ColumnPair {
            name: one.name.clone(),
            subscriber_name,
            types,
            collations,
            time_zone,
            computed: None,
            generated: Sides::new(one.generated.is_some(), other.generated.is_some()),
            not_null: one.not_null && other.not_null,
        })
    }

    fn subscriptions(&mut self) {
        let Some(first) = self.carried.subscriptions.first().and_then(|&first| self.context.subscriptions.get(first))
        else {
            return;
        };
        let name = self.name().clone();
        let states = self.context.states.get(&self.entries.subscriber.oid);
        let state_of = |oid: u32| states.and_then(|states| states.get(&oid)).copied();
        let mut feeding: Vec<&str> = Vec::new();
        for &position in &self.carried.subscriptions {
            feeding.extend(self.context.subscriptions.get(position).map(|subscription| subscription.name.as_str()));
        }
        // Another publisher may write the same table: what this one publishes is then not all that is there.
        for (oid, active) in self.context.active {
            if state_of(*oid).is_some() && !feeding.contains(&active.as_str()) {
                feeding.push(active);
            }
        }
        if feeding.len() > 1 {
            let message = format!("{name} is fed by several subscriptions: {}", feeding.join(", "));
            let hint = "no single position describes it; let one subscription carry it";
            self.find(Code::SeveralSubscriptions, Severity::Warning, message.clone(), hint);
            self.reserve(Reason::SeveralSubscriptions, true, format!("{message}: {hint}"));
        }
        for &position in &self.carried.subscriptions {
            let Some(subscription) = self.context.subscriptions.get(position) else { continue };
            let refresh = format!("ALTER SUBSCRIPTION {} REFRESH PUBLICATION", sql::identifier(&subscription.name));
            let (state, hint) = match state_of(subscription.oid).map(|state| state.letter) {
                Some('r') => {
                    if state_of(subscription.oid).is_some_and(|state| !state.copied) {
                        let message =
                            format!("{name} was not copied by subscription {} (copy_data = false)", subscription.name);
                        let hint = "its rows must have come in another way: by a dump, or as part of a copied server";
                        self.find(Code::NotCopied, Severity::Info, message, hint);
                    }
                    continue;
                }
                Some('i') => ("is waiting for its initial copy", "wait for the copy".to_owned()),
                Some('d') => ("is being copied", "wait for the copy".to_owned()),
                Some('f' | 's') => ("has been copied and is catching up", "wait until it is ready".to_owned()),
                Some(_) => ("is in a state that is not known", "wait until it is ready".to_owned()),
                // One of several that carry a partition of it only.
                None if subscription.oid != first.oid => continue,
                None => ("is not part of the subscription yet", refresh),
            };
            let message = format!("{name} {state} (subscription {})", subscription.name);
            self.find(Code::TableNotReady, Severity::Error, message.clone(), hint.clone());
            self.reserve(Reason::TableNotReady, false, format!("{message}: {hint}"));
        }
    }

    fn rows_left_out(&mut self) {
        let name = self.name().clone();
        if let Some(filter) = &self.carried.filter {
            let message = format!("rows of {name} outside of the row filter {filter} are not carried by replication");
            let hint =
                "publish the table without a filter, or accept that they are not compared with --scope published";
            self.not_carried(Code::RowFilter, None, &message, hint, format!("{name} (rows outside of {filter})"));
        }
        if let Some(not_implied) = self.carried.not_implied.clone() {
            let kinds = [
                (not_implied.missing, "rows that are missing on the subscriber"),
                (not_implied.extra, "rows that are only there"),
                (not_implied.changed, "changed rows"),
            ];
            let lacking: Vec<_> = kinds.iter().filter(|(implied, _)| !implied).map(|(_, kind)| *kind).collect();
            let hint = format!("{} prove nothing; publish all changes to compare them", lacking.join(", "));
            self.find(Code::PublishesSome, Severity::Warning, format!("{name}: {}", not_implied.why), hint);
        }
    }

    fn access(&mut self, columns: &[ColumnPair]) {
        for side in Side::BOTH {
            let entry = *self.entries.get(side);
            let own = self.context.details.get(side).columns(entry.oid);
            let role = sql::identifier(&self.context.servers.get(side).user);
            let compared = |column: &&columns::Column| columns.iter().any(|pair| pair.name == column.name);
            let hidden: Vec<&str> = own
                .iter()
                .filter(compared)
                .filter(|column| !column.readable)
                .map(|column| column.name.as_str())
                .collect();
            // A row filter may look at any column.
            let all_needed = self.carried.filter.is_some() && side == Side::Publisher;
            let mut problems = Vec::new();
            if !entry.usage {
                let schema = sql::identifier(&entry.name.schema);
                problems.push((
                    format!("role {role} may not use schema {schema} on the {side}"),
                    format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
                ));
            }
            if !entry.select && (all_needed || !hidden.is_empty() || columns.is_empty()) {
                let what = if hidden.is_empty() || hidden.len() == columns.len() {
                    entry.name.to_string()
                } else {
                    format!("columns {} of {}", hidden.join(", "), entry.name)
                };
                problems.push((
                    format!("role {role} may not read {what} on the {side}"),
                    format!("GRANT SELECT ON {} TO {role}", entry.name.to_sql()),
                ));
            }
            if entry.row_security {
                problems.push((
                    format!("row-level security of {} hides rows from role {role} on the {side}", entry.name),
                    sql::noted(&format!("ALTER ROLE {role} BYPASSRLS"), "or connect as the owner"),
                ));
            }
            for (message, hint) in problems {
                self.find(Code::PermissionDenied, Severity::Error, message.clone(), hint.clone());
                self.reserve(Reason::PermissionDenied, false, format!("{message}: {hint}"));
            }
        }
    }

    fn identity(&mut self, source: KeySource) {
        let name = self.name().clone();
        if source == KeySource::None {
            let message = format!("no key identifies the rows of {name}; it is compared as a multiset");
            let hint = "add a primary key: differences are then named by it, and found with less reading";
            self.find(Code::NoKey, Severity::Warning, message, hint);
        }
        if !self.joined() || !self.carried.identity_needed {
            return;
        }
        let (relations, detail) = (self.context.relations.publisher, self.context.details.publisher);
        let leaves = relations.leaves(self.entries.publisher.oid);
        let bare: Vec<_> = leaves
            .into_iter()
            .filter(|leaf| !keys::has_replica_identity(leaf, detail.indexes(leaf.oid)))
            .map(|leaf| leaf.name.to_string())
            .collect();
        if let Some(first) = bare.first() {
            let others = if bare.len() > 1 { format!(" and {} more", bare.len() - 1) } else { String::new() };
            let message = format!("{first}{others} has no replica identity: updates and deletes of it fail");
            let hint = "add a primary key, or ALTER TABLE ... REPLICA IDENTITY FULL or USING INDEX";
            self.find(Code::NoReplicaIdentity, Severity::Error, message, hint);
        }
    }

    /// What identifies a row of the publisher in the WAL and is not sent: generated columns, and those outside of a column list.
    fn unsent_identity(&self) -> Vec<String> {
        let (entry, detail) = (self.entries.publisher, self.context.details.publisher);
        let columns = detail.columns(entry.oid);
        let sent = |column: &columns::Column| match &self.carried.columns {
            Some(names) => names.contains(&column.name),
            None => column.generated.is_none(),
        };
        let identity = keys::replica_identity(entry, detail.indexes(entry.oid)).iter();
        identity
            .filter_map(|number| match columns.iter().find(|column| column.number == *number) {
                Some(column) => (!sent(column)).then(|| column.name.clone()),
                // The mapping has taken it away.
                None => Some("one that is left out".to_owned()),
            })
            .collect()
    }

    fn drift(&mut self) {
        // What names other columns cannot be compared by its text; the mapping says so.
        if self.context.mapping(self.name()).is_none_or(|mapping| mapping.columns.is_empty()) {
            let details = self.context.details;
            let oids = self.entries.map(|entry| entry.oid);
            let columns =
                Sides::new(details.publisher.columns(oids.publisher), details.subscriber.columns(oids.subscriber));
            let definitions = details.map(|detail| &detail.definitions);
            self.notes.findings.extend(drift::compare(self.name(), definitions, oids, columns));
        }
        let secured = self.entries.map(|entry| entry.secured);
        if secured.publisher != secured.subscriber {
            let on = if secured.publisher { "publisher" } else { "subscriber" };
            let message = format!("row-level security of {} is enabled on the {on} only", self.name());
            let hint = "enable it on both sides or on none before the application moves";
            self.find(Code::RowSecurityDiffers, Severity::Warning, message, hint);
        }
    }

    fn triggers(&mut self) {
        let entry = self.entries.subscriber;
        let detail = self.context.details.subscriber;
        let mut tables: Vec<u32> =
            self.context.relations.subscriber.leaves(entry.oid).iter().map(|leaf| leaf.oid).collect();
        if !tables.contains(&entry.oid) {
            tables.push(entry.oid);
        }
        let mut names: Vec<&str> = tables.iter().flat_map(|&oid| detail.triggers(oid)).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            let message = format!("triggers of {} fire when replication writes: {}", entry.name, names.join(", "));
            let hint = "make sure that they do not change what is replicated, or disable them on the subscriber";
            self.find(Code::TriggerFiresOnApply, Severity::Warning, message, hint);
        }
    }

    /// `stale` says that indexes on the key are not to be relied on.
    fn relation(&mut self, side: Side, key: &[&str], stale: bool) -> Result<Relation> {
        let entry = *self.entries.get(side);
        let detail = *self.context.details.get(side);
        let storage = storage::describe(self.context.relations.get(side), &detail.sizes, entry.oid)?;
        if !storage.foreign.is_empty() {
            let message = format!(
                "partitions of {} on the {side} are foreign tables, which are not read: {}",
                entry.name,
                storage.foreign.join(", ")
            );
            let hint = "compare them where their rows are, and exclude the table here";
            self.find(Code::ForeignTable, Severity::Warning, message.clone(), hint);
            self.reserve(Reason::Unsupported, false, format!("{message}: {hint}"));
        }
        Ok(Relation {
            oid: entry.oid,
            name: entry.name.clone(),
            partitioned: entry.kind == super::relations::Kind::Partitioned,
            heaps: storage.heaps,
            filter: self.carried.filter.clone().filter(|_| side == Side::Publisher),
            key_index: !stale && keys::serves(detail.indexes(entry.oid), detail.columns(entry.oid), key),
            rows_estimate: storage.rows_estimate,
            bytes: storage.bytes,
        })
    }
}
