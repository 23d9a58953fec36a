//! Sequences and the columns that draw from them.

use std::collections::{BTreeMap, HashMap};

use super::fields::Fields;
use super::findings::Code;
use super::model::{FedColumn, Finding, SequenceFacts, SequencePair, Severity};
use super::queries;
use super::relations::Relations;
use crate::connect::Session;
use crate::error::Result;
use crate::side::Sides;
use crate::sql::QualifiedName;

/// A sequence as its side describes it.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    pub(super) facts: SequenceFacts,
    pub(super) type_name: String,
    /// The column that owns it.
    pub(super) owner: Option<User>,
    /// The columns whose default draws from it.
    pub(super) users: Vec<User>,
}

/// A column that a sequence feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) table: u32,
    pub(super) column: String,
    pub(super) numeric: bool,
}

impl Sequence {
    /// The owner, and then everybody else.
    pub(super) fn columns(&self) -> impl Iterator<Item = &User> {
        self.owner.iter().chain(self.users.iter().filter(|&user| self.owner.as_ref() != Some(user)))
    }
}

/// The sequences of one side.
pub(super) type Sequences = BTreeMap<QualifiedName, Sequence>;

/// Reads the sequences of one side.
pub(super) async fn read(session: &Session) -> Result<Sequences> {
    let mut users: HashMap<u32, Vec<User>> = HashMap::new();
    for row in session.rows_simple(&queries::sequence_defaults()).await? {
        let mut fields = Fields::new("the defaults of columns", row);
        let sequence = fields.parse()?;
        let user = User { table: fields.parse()?, column: fields.text()?, numeric: fields.flag()? };
        users.entry(sequence).or_default().push(user);
    }
    let mut sequences = Sequences::new();
    for row in session.rows_simple(&queries::sequences()).await? {
        let mut fields = Fields::new("the sequences", row);
        let oid = fields.parse()?;
        let name = QualifiedName::new(fields.text()?, fields.text()?);
        let type_name = fields.text()?;
        let facts = SequenceFacts {
            oid,
            increment: fields.parse()?,
            min: fields.parse()?,
            max: fields.parse()?,
            start: fields.parse()?,
            cache: fields.parse()?,
            cycle: fields.flag()?,
            readable: fields.flag()?,
        };
        let owner = match (fields.parse_optional()?, fields.optional()?) {
            (Some(table), Some(column)) => Some(User { table, column, numeric: fields.flag()? }),
            _ => None,
        };
        let users = users.remove(&oid).unwrap_or_default();
        sequences.entry(name).or_insert(Sequence { facts, type_name, owner, users });
    }
    Ok(sequences)
}

/// Pairs the publisher's selected sequences with the subscriber's, by name.
pub(super) fn pair(
    sequences: &Sides<Sequences>,
    relations: &Sides<Relations>,
    mut selected: impl FnMut(&Sequence) -> bool,
) -> (Vec<SequencePair>, Vec<Finding>) {
    let mut pairs = Vec::new();
    let mut findings = Vec::new();
    for (name, sequence) in sequences.publisher.iter().filter(|(_, sequence)| selected(sequence)) {
        let other = sequences.subscriber.get(name);
        match other {
            None => findings.push(Code::SequenceMissing.finding(
                Severity::Warning,
                name,
                format!("sequence {name} does not exist on the subscriber"),
                "create it on the subscriber, or exclude it if nothing there draws from it",
            )),
            Some(other) => findings.extend(definition(name, sequence, other)),
        }
        let mut columns = fed_columns(sequence, &relations.publisher);
        for column in other.iter().flat_map(|other| fed_columns(other, &relations.subscriber)) {
            let same = |known: &FedColumn| (&known.table, &known.column) == (&column.table, &column.column);
            if !columns.iter().any(same) {
                columns.push(column);
            }
        }
        let definitions = Sides::new(Some(sequence.facts.clone()), other.map(|other| other.facts.clone()));
        pairs.push(SequencePair { name: name.clone(), definitions, columns });
    }
    (pairs, findings)
}

/// What exists on the subscriber only.
pub(super) fn extra(sequences: &Sides<Sequences>) -> Vec<Finding> {
    let extra = sequences.subscriber.keys().filter(|name| !sequences.publisher.contains_key(*name));
    extra
        .map(|name| {
            let message = format!("sequence {name} exists on the subscriber only");
            Code::ExtraSequence.finding(Severity::Info, name, message, "nothing to do if that is meant")
        })
        .collect()
}

/// The columns that a sequence feeds on one side. A partition's own default is left out where its root has the same one.
fn fed_columns(sequence: &Sequence, relations: &Relations) -> Vec<FedColumn> {
    let covered = |user: &User| {
        let mut ancestors = relations.ancestors(user.table);
        ancestors.any(|root| sequence.columns().any(|other| other.table == root && other.column == user.column))
    };
    let mut columns = Vec::new();
    for user in sequence.columns().filter(|user| !covered(user)) {
        if let Some(table) = relations.get(user.table) {
            let User { column, numeric, .. } = user.clone();
            columns.push(FedColumn { table: table.name.clone(), column, numeric });
        }
    }
    columns
}

fn definition(name: &QualifiedName, publisher: &Sequence, subscriber: &Sequence) -> Option<Finding> {
    let (one, other) = (&publisher.facts, &subscriber.facts);
    let facts = [
        ("increment", one.increment.to_string(), other.increment.to_string()),
        ("minimum", one.min.to_string(), other.min.to_string()),
        ("maximum", one.max.to_string(), other.max.to_string()),
        ("start", one.start.to_string(), other.start.to_string()),
        ("cache", one.cache.to_string(), other.cache.to_string()),
        ("cycle", one.cycle.to_string(), other.cycle.to_string()),
        ("type", publisher.type_name.clone(), subscriber.type_name.clone()),
    ];
    let differing: Vec<_> = facts
        .iter()
        .filter(|(_, one, other)| one != other)
        .map(|(what, one, other)| format!("{what} is {one} on the publisher, {other} on the subscriber"))
        .collect();
    (!differing.is_empty()).then(|| {
        Code::SequenceDefinition.finding(
            Severity::Warning,
            name,
            format!("sequence {name} is defined differently: {}", differing.join("; ")),
            "use ALTER SEQUENCE on the subscriber to make them the same",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::relations::tests::tree;
    use super::*;

    fn sequence(oid: u32, increment: i64) -> Sequence {
        let facts = SequenceFacts { oid, increment, min: 1, max: 10, start: 1, cache: 1, cycle: false, readable: true };
        Sequence { facts, type_name: "bigint".to_owned(), owner: None, users: Vec::new() }
    }

    #[test]
    fn sequences_pair_by_name() {
        let name = |name| QualifiedName::new("public", name);
        let user = |table, column: &str| User { table, column: column.to_owned(), numeric: true };
        // The leaf (2) of the root (1) draws as well, and so does another column.
        let users = vec![user(1, "n"), user(2, "n"), user(5, "id")];
        let owned = Sequence { owner: Some(user(5, "id")), users, ..sequence(10, 1) };
        let publisher =
            Sequences::from([(name("a"), owned), (name("b"), sequence(11, 1)), (name("c"), sequence(12, 1))]);
        let subscriber =
            Sequences::from([(name("a"), sequence(20, 2)), (name("c"), sequence(22, 1)), (name("x"), sequence(23, 1))]);
        let sides = Sides::new(publisher, subscriber);
        let relations = Sides::new(tree(), tree());
        let (pairs, findings) = pair(&sides, &relations, |_| true);
        assert_eq!(pairs.len(), 3);
        let columns: Vec<_> = pairs[0].columns.iter().map(|fed| format!("{}.{}", fed.table, fed.column)).collect();
        assert_eq!(columns, ["public.plain.id", "public.root.n"]);
        assert!(pairs[1].definitions.subscriber.is_none());
        let codes: Vec<_> = findings.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["sequence_definition", "sequence_missing"]);
        assert!(findings[0].message.contains("increment is 1 on the publisher, 2 on the subscriber"));
        let (pairs, _) = pair(&sides, &relations, |sequence| sequence.facts.oid == 12);
        assert_eq!(pairs.len(), 1);
        let extra = extra(&sides);
        assert_eq!((extra.len(), extra[0].object.as_str()), (1, "public.x"));
    }
}
