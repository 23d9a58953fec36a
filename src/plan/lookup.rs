//! Looking rows up by what identifies them: the statements that find where they lie, what they are, and how many there are.

use crate::catalog::{ColumnPair, TablePair, TypeKind};
use crate::gate::recheck::Since;
use crate::gate::window::{Identity, Lookup, Touched, Value, Values, Wanted};
use crate::plan::Position;
use crate::plan::statement::{filter, from, literal, texts_array, where_clause};
use crate::row::Shape;
use crate::side::Side;
use crate::sql;

/// The text of a value as a constant.
fn literal_text(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{}::pg_catalog.text", sql::literal(text)),
        Value::Null | Value::Unchanged | Value::Computed => "NULL::pg_catalog.text".to_owned(),
    }
}

/// Whether rows can be looked up by the operator `=` of pg_catalog on a column. Extensions bring base types with operators of
/// their own, elsewhere; and where the library that sorts texts has changed, an index may not find what it holds.
fn compares_by_operator(column: &ColumnPair, side: Side) -> bool {
    let base = column.types.get(side).base();
    !column.stale_on(side) && (!matches!(base.kind, TypeKind::Base) || base.builtin().is_some())
}

/// Built-in types of which `=` and the text always agree, but for nondeterministic collations: those that keys mostly have.
const PLAIN: [&str; 12] =
    ["bool", "int2", "int4", "int8", "oid", "uuid", "date", "time", "timestamp", "timestamptz", "text", "varchar"];

/// Whether `=` calls only such values equal that have the same text.
fn texts_agree(column: &ColumnPair, side: Side) -> bool {
    let base = column.types.get(side).base();
    let folds = column.collations.get(side).as_ref().is_some_and(|collation| !collation.deterministic);
    !folds && (matches!(base.kind, TypeKind::Enum(_)) || base.builtin().is_some_and(|name| PLAIN.contains(&name)))
}

/// When two identities are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// Their texts are. To changes in the WAL, 1.0 and 1.00 are two rows, one of which went when the other one came.
    OfText,
    /// Their types call them equal, as far as they can be asked.
    OfValue,
}

impl Sameness {
    /// What the rows that a window touched are to be looked up by, or those that are set aside on both sides.
    #[must_use]
    pub(crate) fn wanted(touched: &Touched) -> Self {
        let any = |lookup: &Lookup| lookup.wanted == Wanted::Any;
        if touched.lookups.iter().any(any) { Self::OfValue } else { Self::OfText }
    }
}

/// What is read of rows that are looked up by their identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Where they lie: the number of the identity, `tableoid`, `ctid`.
    Places(Sameness),
    /// What they are, of identities with the same text: the number of the identity, and an array of the texts of all compared
    /// columns.
    Texts,
    /// How many there are: the number of the identity, and the number of rows.
    Counts,
}

/// The statement that looks up identities on one side. Identities of columns go through their index.
#[must_use]
pub(crate) fn lookup_statement(
    pair: &TablePair,
    side: Side,
    identity: &Identity,
    keys: &[&Values],
    finding: Finding,
) -> String {
    let all: Vec<usize> = (0..pair.columns.len()).collect();
    let (inner, outer, group) = match finding {
        Finding::Places(_) => ("tableoid AS heap, ctid AS place".to_owned(), "there.heap, there.place", ""),
        Finding::Texts => (format!("{} AS texts", texts(pair, side, &all)), "there.texts", ""),
        Finding::Counts => ("1 AS one".to_owned(), "count(*)", " GROUP BY wanted.number"),
    };
    let sameness = match finding {
        Finding::Places(sameness) => sameness,
        Finding::Texts | Finding::Counts => Sameness::OfText,
    };
    lookup(pair, side, (identity, sameness), keys, &inner, &format!("wanted.number, {outer}"), group)
}

/// The statement that looks up whole rows by their identity: the row image, `tableoid`, `ctid`, the texts of the image's
/// columns cut to so many characters, the number of the identity, `xmin`.
#[must_use]
pub(crate) fn versions_statement(
    pair: &TablePair,
    shape: &Shape,
    side: Side,
    identity: &Identity,
    keys: &[&Values],
    characters: usize,
) -> String {
    let list = shape.select_list(side);
    let mut inner: Vec<_> = list.iter().enumerate().map(|(at, column)| format!("{column} AS c{at}")).collect();
    inner.push(format!(
        "tableoid AS heap, ctid AS place, xmin AS maker, {} AS texts",
        texts_array(pair, shape, side, characters)
    ));
    let mut outer: Vec<_> = (0..list.len()).map(|at| format!("there.c{at}")).collect();
    outer.push("there.heap, there.place, there.texts, wanted.number, there.maker".to_owned());
    lookup(pair, side, (identity, Sameness::OfValue), keys, &inner.join(", "), &outer.join(", "), "")
}

/// The statement that reads the rows of some keys on one side, through the index of the key: the row image, `tableoid`, `ctid`.
#[must_use]
pub(crate) fn located_statement(pair: &TablePair, shape: &Shape, side: Side, keys: &[&Values]) -> String {
    let list = shape.select_list(side);
    let mut inner: Vec<_> = list.iter().enumerate().map(|(at, column)| format!("{column} AS c{at}")).collect();
    inner.push("tableoid AS heap, ctid AS place".to_owned());
    let mut outer: Vec<_> = (0..list.len()).map(|at| format!("there.c{at}")).collect();
    outer.push("there.heap, there.place".to_owned());
    let identity = Identity::Columns(shape.columns().take(shape.key_len()).collect());
    lookup(pair, side, (&identity, Sameness::OfValue), keys, &inner.join(", "), &outer.join(", "), "")
}

/// Whose identities are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeysOf {
    /// Rows that one of these transactions may have made.
    MadeBy(Since),
    /// The rows at these places.
    At(Vec<Position>),
}

/// The statement that reads identities as [`lookup_statement`] takes them: an array of texts, `tableoid`, `ctid`.
#[must_use]
pub(crate) fn keys_statement(pair: &TablePair, side: Side, identity: &Identity, of: &KeysOf) -> String {
    let relation = pair.relations.get(side);
    let all: Vec<usize> = (0..pair.columns.len()).collect();
    let columns = match identity {
        Identity::Columns(columns) => columns.as_slice(),
        Identity::WholeRow => all.as_slice(),
    };
    let mut conditions: Vec<_> = filter(relation).into_iter().collect();
    match of {
        KeysOf::MadeBy(since) => conditions.extend(made_by(*since)),
        KeysOf::At(positions) => {
            let tids: Vec<_> = positions.iter().map(|at| format!("\"{}\"", at.ctid())).collect();
            conditions.push(format!("ctid = ANY ('{{{}}}'::pg_catalog.tid[])", tids.join(",")));
        }
    }
    format!(
        "COPY (SELECT {}, tableoid, ctid FROM {}{}) TO STDOUT (FORMAT binary)",
        texts(pair, side, columns),
        from(relation),
        where_clause(&conditions)
    )
}

/// Whether a row looks as if one of these transactions had made it; `None` where every row does.
fn made_by(since: Since) -> Option<String> {
    let (from, until) = since.ends()?;
    let join = if from < until { "AND" } else { "OR" };
    // The type xid has no order.
    let maker = "xmin::pg_catalog.text::pg_catalog.int8";
    Some(format!("({maker} OPERATOR(pg_catalog.>=) {from} {join} {maker} OPERATOR(pg_catalog.<) {until})"))
}

/// The text of a column, which equals only itself: its own collation may call different texts equal.
fn plain_text(column: &ColumnPair, side: Side) -> String {
    format!("({}) COLLATE pg_catalog.\"C\"", sql::output_text(&sql::identifier(column.name_on(side))))
}

fn texts(pair: &TablePair, side: Side, columns: &[usize]) -> String {
    let texts: Vec<_> =
        columns.iter().filter_map(|&at| pair.columns.get(at)).map(|column| plain_text(column, side)).collect();
    format!("ARRAY[{}]::pg_catalog.text[]", texts.join(", "))
}

/// How identities meet the rows of a table.
struct Meeting {
    /// What is listed of each row, under names that cannot be those of the table's own columns.
    listed: Vec<String>,
    /// What the wanted identities' columns are called.
    names: Vec<String>,
    /// The values of each wanted identity.
    rows: Vec<String>,
    /// When a row, `there`, is one that is `wanted`.
    condition: String,
}

/// By the operators of the columns' types, which an index serves.
fn by_operator(columns: &[&ColumnPair], side: Side, sameness: Sameness, keys: &[&Values]) -> Meeting {
    let by_text = |column: &ColumnPair| sameness == Sameness::OfText && !texts_agree(column, side);
    let (mut listed, mut names, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
    for (k, column) in columns.iter().enumerate() {
        let (name, facts) = (sql::identifier(column.name_on(side)), column.types.get(side));
        // No operator takes a domain over an enum. The cast changes no bytes, so that an index still serves.
        let cast = match facts.kind {
            TypeKind::Domain(_) => format!("::{}", facts.base().name.to_sql()),
            _ => String::new(),
        };
        listed.push(format!("{name}{cast} AS k{k}"));
        names.push(format!("k{k}"));
        conditions.push(format!("there.k{k} OPERATOR(pg_catalog.=) wanted.k{k}"));
        if by_text(column) {
            listed.push(format!("{} AS t{k}", plain_text(column, side)));
            names.push(format!("t{k}"));
            conditions.push(format!("there.t{k} OPERATOR(pg_catalog.=) wanted.t{k}"));
        }
    }
    let row = |key: &Values| -> String {
        let values = columns.iter().zip(key).flat_map(|(column, value)| {
            let text = by_text(column).then(|| literal_text(value));
            std::iter::once(literal(column.types.get(side), value)).chain(text)
        });
        values.collect::<Vec<_>>().join(", ")
    };
    Meeting { listed, names, rows: keys.iter().map(|key| row(key)).collect(), condition: conditions.join(" AND ") }
}

/// By the texts of the columns, all at once.
fn by_texts(pair: &TablePair, columns: &[usize], side: Side, keys: &[&Values]) -> Meeting {
    // What is computed of the others tells no rows apart.
    let sent = |at: &usize| keys.first().and_then(|key| key.get(*at)) != Some(&Value::Computed);
    let columns: Vec<usize> = (0..).zip(columns).filter(|(at, _)| sent(at)).map(|(_, &column)| column).collect();
    let row = |key: &Values| -> String {
        let texts = key.iter().filter(|value| **value != Value::Computed).map(literal_text);
        format!("ARRAY[{}]::pg_catalog.text[]", texts.collect::<Vec<_>>().join(", "))
    };
    Meeting {
        listed: vec![format!("{} AS k0", texts(pair, side, &columns))],
        names: vec!["k0".to_owned()],
        rows: keys.iter().map(|key| row(key)).collect(),
        condition: "there.k0 OPERATOR(pg_catalog.=) wanted.k0".to_owned(),
    }
}

fn lookup(
    pair: &TablePair,
    side: Side,
    (identity, sameness): (&Identity, Sameness),
    keys: &[&Values],
    inner: &str,
    outer: &str,
    group: &str,
) -> String {
    let relation = pair.relations.get(side);
    let all: Vec<usize> = (0..pair.columns.len()).collect();
    let meeting = match identity {
        Identity::Columns(columns) => {
            let known: Option<Vec<_>> = columns.iter().map(|&at| pair.columns.get(at)).collect();
            match known.filter(|known| known.iter().all(|column| compares_by_operator(column, side))) {
                Some(known) => by_operator(&known, side, sameness, keys),
                None => by_texts(pair, columns, side, keys),
            }
        }
        Identity::WholeRow => by_texts(pair, &all, side, keys),
    };
    let Meeting { listed, names, rows, condition } = meeting;
    let rows: Vec<_> = rows.iter().enumerate().map(|(at, row)| format!("({at}::pg_catalog.int8, {row})")).collect();
    let conditions: Vec<_> = filter(relation).into_iter().collect();
    format!(
        "COPY (SELECT {outer} FROM (SELECT {inner}, {} FROM {}{}) AS there \
         JOIN (VALUES {}) AS wanted(number, {}) ON {condition}{group}) TO STDOUT (FORMAT binary)",
        listed.join(", "),
        from(relation),
        where_clause(&conditions),
        rows.join(", "),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CollationVersions;
    use crate::row::testing::{builtin, column, facts, pair};
    use crate::sql::QualifiedName;

    const PLACES: Finding = Finding::Places(Sameness::OfText);

    fn table() -> TablePair {
        let columns = vec![column("id", &builtin("int8")), column("No\"te", &builtin("text"))];
        let mut pair = pair(columns, &[0]);
        for relation in [&mut pair.relations.publisher, &mut pair.relations.subscriber] {
            relation.name = QualifiedName::new("My", "t");
        }
        pair
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn statements_quote_names_and_values() {
        let pair = table();
        let key = vec![text("1'")];
        let lookup = lookup_statement(&pair, Side::Publisher, &Identity::Columns(vec![0]), &[&key], PLACES);
        assert_eq!(
            lookup,
            "COPY (SELECT wanted.number, there.heap, there.place FROM (SELECT tableoid AS heap, ctid AS place, \"id\" AS k0 \
             FROM ONLY \"My\".\"t\") AS there JOIN (VALUES (0::pg_catalog.int8, '1'''::\"pg_catalog\".\"int8\")) \
             AS wanted(number, k0) ON there.k0 OPERATOR(pg_catalog.=) wanted.k0) TO STDOUT (FORMAT binary)"
        );
        assert_eq!(
            located_statement(&pair, &Shape::new(&pair), Side::Subscriber, &[&key]),
            "COPY (SELECT there.c0, there.c1, there.heap, there.place FROM (SELECT \"id\" AS c0, \"No\"\"te\" AS c1, tableoid AS heap, \
             ctid AS place, \"id\" AS k0 FROM ONLY \"My\".\"t\") AS there JOIN (VALUES (0::pg_catalog.int8, '1'''::\"pg_catalog\".\"int8\")) \
             AS wanted(number, k0) ON there.k0 OPERATOR(pg_catalog.=) wanted.k0) TO STDOUT (FORMAT binary)"
        );
    }

    #[test]
    fn identities_are_told_apart_by_texts_where_equality_passes_over_them() {
        let mood = facts("public", "mood", TypeKind::Enum(vec!["ok".to_owned()]));
        let domain = facts("public", "feeling", TypeKind::Domain(Box::new(mood)));
        let pair = pair(vec![column("n", &builtin("numeric")), column("m", &domain)], &[0, 1]);
        let key = vec![text("1.0"), text("ok")];
        let of = |finding| lookup_statement(&pair, Side::Publisher, &Identity::Columns(vec![0, 1]), &[&key], finding);
        let by_text = of(PLACES);
        for part in [
            r#""n" AS k0, (CASE WHEN "n" IS NOT DISTINCT FROM NULL THEN NULL ELSE pg_catalog.format('%s', "n") END) COLLATE pg_catalog."C" AS t0, "m"::"public"."mood" AS k1 FROM"#,
            r#"(VALUES (0::pg_catalog.int8, '1.0'::"pg_catalog"."numeric", '1.0'::pg_catalog.text, 'ok'::"public"."mood")) AS wanted(number, k0, t0, k1)"#,
            "ON there.k0 OPERATOR(pg_catalog.=) wanted.k0 AND there.t0 OPERATOR(pg_catalog.=) wanted.t0 AND there.k1 OPERATOR(pg_catalog.=) wanted.k1)",
        ] {
            assert!(by_text.contains(part), "{by_text}");
        }
        let by_value = of(Finding::Places(Sameness::OfValue));
        assert!(
            !by_value.contains("t0") && by_value.contains("there.k1 OPERATOR(pg_catalog.=) wanted.k1"),
            "{by_value}"
        );
    }

    #[test]
    fn an_index_in_another_order_is_not_asked() {
        let mut pair = table();
        pair.key.columns = vec![1];
        let versions = CollationVersions { recorded: "153.14".to_owned(), actual: Some("153.112".to_owned()) };
        pair.columns[1].collations.subscriber.as_mut().unwrap().stale = Some(versions);
        let key = vec![text("a")];
        let of = |side| lookup_statement(&pair, side, &Identity::Columns(vec![1]), &[&key], PLACES);
        assert!(of(Side::Publisher).contains(r#"ON there.k0 OPERATOR(pg_catalog.=) wanted.k0"#));
        assert!(of(Side::Publisher).contains(r#""No""te" AS k0"#));
        let unindexed = r#"ARRAY[(CASE WHEN "No""te" IS NOT DISTINCT FROM NULL"#;
        assert!(of(Side::Subscriber).contains(unindexed), "{}", of(Side::Subscriber));
    }
}
