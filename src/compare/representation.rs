//! Values with different bytes that their type calls equal: 1.50 and 1.5, 1 month and 30 days, 'a' and 'A' in citext.

use crate::catalog::{ColumnPair, TypeFacts, TypeKind};
use crate::sql;

/// Built-in types whose default operator class calls some values equal that have different bytes.
const AMBIGUOUS: [&str; 6] = ["numeric", "float4", "float8", "interval", "bpchar", "jsonb"];

/// Whether equal values of a type can have different bytes; `None` where no operator class says when values are equal
/// (`box = box` compares areas).
fn ambiguous(facts: &TypeFacts) -> Option<bool> {
    let base = facts.base();
    match &base.kind {
        TypeKind::Base => {
            // Of types that extensions bring, nothing is known but that they have an operator class.
            let ambiguous = || base.builtin().is_none_or(|name| AMBIGUOUS.contains(&name));
            base.has_equality.then(ambiguous)
        }
        TypeKind::Enum(_) => Some(false),
        TypeKind::Array(inner) | TypeKind::Range(inner) | TypeKind::Multirange(inner) => ambiguous(inner),
        TypeKind::Composite(attributes) => attributes
            .iter()
            .map(|(_, attribute)| ambiguous(attribute))
            .try_fold(false, |any, attribute| attribute.map(|attribute| any || attribute)),
        TypeKind::Domain(_) | TypeKind::Pseudo => None,
    }
}

/// An SQL expression that asks the publisher whether two values of a column are equal; `None` where different bytes mean
/// different values, or where that cannot be asked soundly.
///
/// `record_eq` (rowtypes.c) takes the equality of each column's default operator class, wherever its schema.
pub(crate) fn equality(column: &ColumnPair, publisher: &str, subscriber: &str) -> Option<String> {
    let facts = column.types.publisher.base();
    let collation = column.collations.publisher.as_ref().filter(|collation| !collation.deterministic);
    if facts.name != column.types.subscriber.base().name || !(ambiguous(facts)? || collation.is_some()) {
        return None;
    }
    let collate = collation.map(|collation| format!(" COLLATE {}", collation.name)).unwrap_or_default();
    let value = |text: &str| format!("ROW({}::{}{collate})", sql::literal(text), facts.name.to_sql());
    Some(format!("pg_catalog.record_eq({}, {})", value(publisher), value(subscriber)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::testing::{builtin, column, facts};

    #[test]
    fn only_types_with_an_equality_that_differing_bytes_can_meet_are_asked_about() {
        let no_equality = |name: &str| TypeFacts { has_equality: false, ..builtin(name) };
        let array = |element: TypeFacts| facts("pg_catalog", "_x", TypeKind::Array(Box::new(element)));
        let composite = |attributes: Vec<TypeFacts>| {
            let attributes = attributes.into_iter().map(|attribute| ("a".to_owned(), attribute)).collect();
            facts("public", "c", TypeKind::Composite(attributes))
        };
        let citext = facts("ext", "citext", TypeKind::Base);
        for facts in [
            builtin("numeric"),
            array(builtin("jsonb")),
            citext.clone(),
            facts("public", "d", TypeKind::Domain(Box::new(builtin("interval")))),
            composite(vec![builtin("text"), array(citext.clone())]),
            facts("public", "r", TypeKind::Range(Box::new(builtin("float8")))),
        ] {
            assert!(equality(&column("c", &facts), "1", "2").is_some(), "{facts:?}");
        }
        for facts in [
            builtin("text"),
            no_equality("box"),
            array(no_equality("point")),
            composite(vec![builtin("numeric"), no_equality("json")]),
            composite(vec![builtin("int4")]),
            facts("public", "e", TypeKind::Enum(vec!["a".to_owned()])),
        ] {
            assert!(equality(&column("c", &facts), "1", "2").is_none(), "{facts:?}");
        }
        assert_eq!(
            equality(&column("c", &citext), "it's", "x").as_deref(),
            Some(r#"pg_catalog.record_eq(ROW('it''s'::"ext"."citext"), ROW('x'::"ext"."citext"))"#)
        );
    }
}
