//! Values with different bytes that their type calls equal: 1.50 and 1.5, 1 month and 30 days, 'a' and 'A' in citext.

use crate::catalog::{ColumnPair, TypeFacts, TypeKind};
use crate::sql;

/// The schema of the type's own `=`, where unequal bytes can be equal values. Other types have no such values, or no `=`
/// that means equality (`box = box` compares areas).
fn equality_schema(facts: &TypeFacts) -> Option<&str> {
    let base = facts.base();
    match &base.kind {
        TypeKind::Base => match (base.name.schema.as_str(), base.name.name.as_str()) {
            ("pg_catalog", "numeric" | "float4" | "float8" | "interval" | "bpchar" | "jsonb") => Some("pg_catalog"),
            (schema, "citext") => Some(schema),
            _ => None,
        },
        TypeKind::Array(element) => equality_schema(element).map(|_| "pg_catalog"),
        TypeKind::Range(element) | TypeKind::Multirange(element) => equality_schema(element).map(|_| "pg_catalog"),
        TypeKind::Enum(_) | TypeKind::Domain(_) | TypeKind::Composite(_) | TypeKind::Pseudo => None,
    }
}

/// An SQL expression that asks the publisher whether two values of a column are equal; `None` where different bytes mean
/// different values, or where that cannot be asked soundly.
pub(crate) fn equality(column: &ColumnPair, publisher: &str, subscriber: &str) -> Option<String> {
    let facts = &column.types.publisher;
    if facts.base().name != column.types.subscriber.base().name {
        return None;
    }
    let schema = equality_schema(facts)?;
    let type_name = facts.base().name.to_sql();
    Some(format!(
        "{}::{type_name} OPERATOR({}.=) {}::{type_name}",
        sql::literal(publisher),
        sql::identifier(schema),
        sql::literal(subscriber)
    ))
}
