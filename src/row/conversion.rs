//! How a column is compared that has another type on the subscriber: as what replication makes of the publisher's values.
//!
//! Replication writes the text of the publisher's output function and reads it with the subscriber's input function. A pair
//! of types is listed here only if that loses nothing, and if the text does not depend on settings that are not pinned for
//! replication (`libpqrcv_connect`, libpqwalreceiver.c, pins DateStyle, IntervalStyle and extra_float_digits). Values are
//! then compared as texts of one type; the publisher's are converted, the subscriber's never.

use crate::catalog::{TypeFacts, TypeKind};
use crate::side::Sides;
use crate::sql;

/// What is asked of a side in place of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// The text of the output function.
    Text,
    /// The text of a number without zeros behind its last decimal: a scale that the other side cannot have.
    Unscaled,
    /// The text of a character(n) without blanks at its end: the other side has more or fewer of them.
    Unpadded,
    /// The text of what the input function of a built-in type makes of the text.
    Through(&'static str),
    /// The same, without zeros behind its last decimal.
    UnscaledThrough(&'static str),
    /// The text of the timestamptz that a timestamp is in a time zone, or the other way round.
    InZone(String),
}

impl Expression {
    /// It as SQL, of a column or another expression.
    pub(super) fn sql(&self, column: &str) -> String {
        let through = |name: &str| format!("({})::pg_catalog.{}", sql::output_text(column), sql::identifier(name));
        match self {
            Self::Text => sql::output_text(column),
            Self::Unscaled => unscaled(&sql::output_text(column)),
            // `rtrim1`, the function behind this cast (pg_cast.dat), takes blanks only.
            Self::Unpadded => format!("({column})::pg_catalog.text"),
            Self::Through(name) => sql::output_text(&through(name)),
            Self::UnscaledThrough(name) => unscaled(&sql::output_text(&through(name))),
            Self::InZone(zone) => {
                sql::output_text(&format!("pg_catalog.timezone({}::pg_catalog.text, {column})", sql::literal(zone)))
            }
        }
    }
}

/// Takes the zeros off the end of a number, and the point too where nothing is left behind it. (`trim_scale` is new in 13.)
fn unscaled(text: &str) -> String {
    let cut = |text: &str, pattern: &str, with: &str| {
        format!("pg_catalog.regexp_replace({text}, {}, {})", sql::literal(pattern), sql::literal(with))
    };
    cut(&cut(text, r"(\.[0-9]*[1-9])0+$", r"\1"), r"\.0+$", "")
}

/// Types of texts of any length, or of one that refuses what is longer.
const TEXTS: [&str; 3] = ["text", "varchar", "name"];
/// Types whose text is the same whatever the settings of a session, but for those that replication pins.
const PLAIN: [&str; 28] = [
    "bool",
    "int2",
    "int4",
    "int8",
    "oid",
    "numeric",
    "float4",
    "float8",
    "text",
    "varchar",
    "bpchar",
    "name",
    "uuid",
    "date",
    "time",
    "timetz",
    "timestamp",
    "interval",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "json",
    "jsonb",
    "bit",
    "varbit",
    "xid8",
    "pg_lsn",
];

/// How values of one type are compared with those of another one; `None` where that cannot be done soundly.
pub(super) fn between(
    publisher: &TypeFacts,
    subscriber: &TypeFacts,
    time_zone: Option<&str>,
) -> Option<Sides<Expression>> {
    use Expression::{InZone, Text, Through, Unscaled, UnscaledThrough};
    let (publisher, subscriber) = (publisher.base(), subscriber.base());
    let both = |one, other| Some(Sides::new(one, other));
    let enums = (matches!(publisher.kind, TypeKind::Enum(_)), matches!(subscriber.kind, TypeKind::Enum(_)));
    let to_text = is_text(subscriber);
    match (&publisher.kind, &subscriber.kind) {
        (TypeKind::Array(one), TypeKind::Array(other)) => {
            // Elements are quoted by what their text is, whatever their type.
            return (between(one, other, None)? == Sides::new(Text, Text)).then_some(Sides::new(Text, Text));
        }
        (TypeKind::Base | TypeKind::Enum(_), TypeKind::Base | TypeKind::Enum(_)) => {}
        _ => return None,
    }
    match (publisher.builtin(), subscriber.builtin()) {
        // Labels are texts.
        _ if enums == (true, true) => both(Text, Text),
        _ if enums == (true, false) && to_text || enums == (false, true) && is_text(publisher) => both(Text, Text),
        _ if enums != (false, false) => None,
        // The same extension in another schema.
        (None, None) if publisher.name.name == subscriber.name.name => both(Text, Text),
        (Some(plain), _) if to_text && PLAIN.contains(&plain) => both(Text, Text),
        (None, _) if to_text && is_text(publisher) => both(Text, Text),
        (Some("int2" | "int4" | "int8"), Some("int2" | "int4" | "int8")) => both(Text, Text),
        (Some("int2" | "int4" | "int8"), Some("numeric")) => both(Text, Unscaled),
        (Some("numeric"), Some("int2" | "int4" | "int8")) => both(Unscaled, Text),
        (Some("float4" | "float8"), Some("numeric")) => both(UnscaledThrough("numeric"), Unscaled),
        (Some("int2" | "int4" | "float4"), Some("float8")) => both(Through("float8"), Text),
        (Some("int2"), Some("float4")) => both(Through("float4"), Text),
        (Some("date"), Some("timestamp")) => both(Through("timestamp"), Text),
        // Replication takes the zone of the session that writes, or that reads.
        (Some("timestamp"), Some("timestamptz")) | (Some("timestamptz"), Some("timestamp")) => {
            both(InZone(time_zone?.to_owned()), Text)
        }
        (Some("json"), Some("jsonb")) => both(Through("jsonb"), Text),
        (Some("jsonb"), Some("json")) => both(Text, Text),
        (Some("cidr"), Some("inet")) => both(Through("inet"), Text),
        (Some("bit"), Some("varbit")) => both(Text, Text),
        _ => None,
    }
}

fn is_text(facts: &TypeFacts) -> bool {
    facts.builtin().map_or(facts.name.name == "citext", |name| TEXTS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::Expression::{Text, Through, Unscaled};
    use super::*;
    use crate::row::testing::{builtin, facts};

    #[test]
    fn what_loses_nothing_is_compared_and_nothing_else_is() {
        let array = |element: TypeFacts| facts("pg_catalog", "_", TypeKind::Array(Box::new(element)));
        let mood = |name: &str| facts("public", name, TypeKind::Enum(vec!["sad".to_owned()]));
        let citext = facts("ext", "citext", TypeKind::Base);
        for (publisher, subscriber, expected) in [
            (builtin("int4"), builtin("int8"), (Text, Text)),
            (builtin("int8"), builtin("int4"), (Text, Text)),
            (builtin("varchar"), citext.clone(), (Text, Text)),
            (citext.clone(), builtin("text"), (Text, Text)),
            (citext.clone(), facts("public", "citext", TypeKind::Base), (Text, Text)),
            (builtin("bpchar"), builtin("text"), (Text, Text)),
            (builtin("uuid"), builtin("varchar"), (Text, Text)),
            (mood("mood"), builtin("text"), (Text, Text)),
            (builtin("text"), mood("mood"), (Text, Text)),
            (mood("mood"), mood("feeling"), (Text, Text)),
            (builtin("int4"), builtin("numeric"), (Text, Unscaled)),
            (builtin("float4"), builtin("float8"), (Through("float8"), Text)),
            (builtin("json"), builtin("jsonb"), (Through("jsonb"), Text)),
            (array(builtin("int4")), array(builtin("int8")), (Text, Text)),
            (
                facts("public", "d", TypeKind::Domain(Box::new(builtin("date")))),
                builtin("timestamp"),
                (Through("timestamp"), Text),
            ),
        ] {
            let expected = Some(Sides::new(expected.0, expected.1));
            assert_eq!(between(&publisher, &subscriber, None), expected, "{publisher:?} {subscriber:?}");
        }
        for (publisher, subscriber) in [
            // Rounded.
            (builtin("float8"), builtin("float4")),
            (builtin("int8"), builtin("float8")),
            (builtin("timestamp"), builtin("date")),
            // By settings of a session.
            (builtin("timestamptz"), builtin("text")),
            (builtin("timestamp"), builtin("timestamptz")),
            (builtin("bytea"), builtin("text")),
            (builtin("money"), builtin("numeric")),
            (builtin("regclass"), builtin("text")),
            // Read, and then written otherwise.
            (builtin("text"), builtin("bpchar")),
            (builtin("text"), builtin("uuid")),
            (builtin("text"), builtin("jsonb")),
            (builtin("int4"), mood("mood")),
            (mood("mood"), builtin("int4")),
            (builtin("int4"), array(builtin("int4"))),
            (array(builtin("int4")), array(builtin("numeric"))),
            (array(builtin("int4")), builtin("text")),
            (facts("public", "text", TypeKind::Base), builtin("text")),
        ] {
            assert_eq!(between(&publisher, &subscriber, None), None, "{publisher:?} {subscriber:?}");
        }
    }

    #[test]
    fn a_stated_zone_joins_timestamps() {
        let zone = Some("Europe/Berlin");
        let (plain, zoned) = (builtin("timestamp"), builtin("timestamptz"));
        let expected = Sides::new(Expression::InZone("Europe/Berlin".to_owned()), Text);
        assert_eq!(between(&plain, &zoned, zone), Some(expected.clone()));
        assert_eq!(between(&zoned, &plain, zone), Some(expected.clone()));
        assert!(expected.publisher.sql("c").contains("timezone('Europe/Berlin'::pg_catalog.text, c)"));
    }

    #[test]
    fn columns_stay_quoted_and_null_stays_null() {
        let text = sql::output_text("\"c\"");
        assert_eq!(Text.sql("\"c\""), text);
        let through = format!("({text})::pg_catalog.\"float8\"");
        assert_eq!(Through("float8").sql("\"c\""), sql::output_text(&through));
        assert!(
            Unscaled.sql("\"c\"").starts_with("pg_catalog.regexp_replace(pg_catalog.regexp_replace(CASE WHEN \"c\" ")
        );
    }
}
