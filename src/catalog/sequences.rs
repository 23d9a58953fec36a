//! Sequences and the columns that draw from them.

use std::collections::{BTreeMap, HashMap};

use super::fields::Fields;
use super::findings::Code;
use super::model::{Finding, SequenceFacts, SequenceOwner, SequencePair, Severity};
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
    /// Table and column that own it.
    pub(super) owner: Option<(u32, String)>,
    /// Tables and columns whose default draws from it.
    pub(super) users: Vec<(u32, String)>,
}

/// The sequences of one side.
pub(super) type Sequences = BTreeMap<QualifiedName, Sequence>;

/// Reads the sequences of one side.
pub(super) async fn read(session: &Session) -> Result<Sequences> {
    let mut users: HashMap<u32, Vec<(u32, String)>> = HashMap::new();
    for row in session.rows_simple(&queries::sequence_defaults()).await? {
        let mut fields = Fields::new("the defaults of columns", row);
        let sequence = fields.parse()?;
        users.entry(sequence).or_default().push((fields.parse()?, fields.text()?));
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
            cycle: fields.flag()?,
            readable: fields.flag()?,
        };
        let owner = match (fields.parse_optional()?, fields.optional()?) {
            (Some(table), Some(column)) => Some((table, column)),
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
    relations: &Relations,
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
        let owner = sequence.owner.as_ref().or(sequence.users.first());
        let owner = owner.and_then(|(table, column)| {
            relations.get(*table).map(|table| SequenceOwner { table: table.name.clone(), column: column.clone() })
        });
        let definitions = Sides::new(Some(sequence.facts.clone()), other.map(|other| other.facts.clone()));
        pairs.push(SequencePair { name: name.clone(), definitions, owner });
    }
    (pairs, findings)
}

fn definition(name: &QualifiedName, publisher: &Sequence, subscriber: &Sequence) -> Option<Finding> {
    let (one, other) = (&publisher.facts, &subscriber.facts);
    let facts = [
        ("increment", one.increment.to_string(), other.increment.to_string()),
        ("minimum", one.min.to_string(), other.min.to_string()),
        ("maximum", one.max.to_string(), other.max.to_string()),
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
        let facts = SequenceFacts { oid, increment, min: 1, max: 10, cycle: false, readable: true };
        Sequence { facts, type_name: "bigint".to_owned(), owner: None, users: Vec::new() }
    }

    #[test]
    fn sequences_pair_by_name() {
        let name = |name| QualifiedName::new("public", name);
        let owned = Sequence { owner: Some((5, "id".to_owned())), ..sequence(10, 1) };
        let publisher =
            Sequences::from([(name("a"), owned), (name("b"), sequence(11, 1)), (name("c"), sequence(12, 1))]);
        let subscriber =
            Sequences::from([(name("a"), sequence(20, 2)), (name("c"), sequence(22, 1)), (name("x"), sequence(23, 1))]);
        let sides = Sides::new(publisher, subscriber);
        let (pairs, findings) = pair(&sides, &tree(), |_| true);
        assert_eq!(pairs.len(), 3);
        assert_eq!(pairs[0].owner.as_ref().unwrap().table, name("plain"));
        assert!(pairs[1].definitions.subscriber.is_none());
        let codes: Vec<_> = findings.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["sequence_definition", "sequence_missing"]);
        assert!(findings[0].message.contains("increment is 1 on the publisher, 2 on the subscriber"));
        let (pairs, _) = pair(&sides, &tree(), |sequence| sequence.facts.oid == 12);
        assert_eq!(pairs.len(), 1);
    }
}
