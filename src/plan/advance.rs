//! The publisher's table as it stood at the cut: its snapshot without the row versions that the window changed or removed,
//! and with the rows that stood in their place.
//!
//! The server makes rows of the images itself, with the input functions that a subscriber uses, so that one select list
//! serves rows and images alike.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::catalog::{ColumnPair, Relation, TablePair, TypeFacts, TypeKind};
use crate::gate::recheck::Since;
use crate::gate::window::{Identity, Image, Lookup, Touched, Value, Values, Wanted};
use crate::plan::statement::{filter, from, texts_array, where_clause};
use crate::plan::{Position, Slice};
use crate::row::Shape;
use crate::side::Side;
use crate::sql;

/// What makes the table at the cut of the table in the snapshot.
#[derive(Debug)]
pub struct Advance {
    touched: Arc<Touched>,
    /// Row versions of the snapshot that do not count, ascending.
    excluded: Vec<Position>,
    /// Where the row of a lookup lies.
    origins: HashMap<usize, Position>,
}

impl Advance {
    /// Takes what the lookups found: which of them, and where.
    ///
    /// # Errors
    /// What contradicts, for people: then the window and the snapshot do not belong together.
    pub fn new(touched: Arc<Touched>, mut found: Vec<(usize, Position)>) -> Result<Self, String> {
        found.sort_unstable();
        let mut excluded = Vec::new();
        let mut origins = HashMap::new();
        let mut rest = found.as_slice();
        for (at, lookup) in touched.lookups.iter().enumerate() {
            let count = rest.iter().take_while(|(of, _)| *of == at).count();
            let (own, others) = rest.split_at(count);
            rest = others;
            let (fits, gone) = match lookup.wanted {
                Wanted::Nothing => (count == 0, 0),
                Wanted::One => (count == 1, 1),
                Wanted::Of(gone) => (count as u64 >= gone, usize::try_from(gone).unwrap_or(usize::MAX)),
                Wanted::Any => (true, count),
            };
            if !fits {
                return Err(format!(
                    "what changed between the two snapshots contradicts the publisher's: {count} rows where the changes say {}",
                    match lookup.wanted {
                        Wanted::Nothing => "none".to_owned(),
                        Wanted::One => "one".to_owned(),
                        Wanted::Of(gone) => format!("at least {gone}"),
                        Wanted::Any => "any number".to_owned(),
                    }
                ));
            }
            excluded.extend(own.iter().take(gone).map(|(_, position)| *position));
            origins.extend(own.first().map(|(at, position)| (*at, *position)));
        }
        if !rest.is_empty() {
            return Err("a lookup brought back rows that were not asked for".to_owned());
        }
        excluded.sort_unstable();
        Ok(Self { touched, excluded, origins })
    }

    /// Leaves out rows by their place, and puts nothing there.
    #[must_use]
    pub fn without(mut excluded: Vec<Position>) -> Self {
        excluded.sort_unstable();
        excluded.dedup();
        let touched = Touched { identity: Identity::WholeRow, lookups: Vec::new(), images: Vec::new() };
        Self { touched: Arc::new(touched), excluded, origins: HashMap::new() }
    }

    /// Whether the row at a place does not count.
    #[must_use]
    pub fn leaves_out(&self, position: Position) -> bool {
        self.excluded.binary_search(&position).is_ok()
    }

    /// Whether rows are left out that are looked at elsewhere, rather than such that stood otherwise.
    #[must_use]
    pub fn sets_aside(&self) -> bool {
        self.touched.lookups.is_empty() && self.touched.images.is_empty() && !self.excluded.is_empty()
    }

    /// Whether there are rows that stand in the place of others.
    #[must_use]
    pub fn has_images(&self) -> bool {
        !self.touched.images.is_empty()
    }

    /// The condition that leaves out what does not count, if there is anything of it in the slice.
    pub(super) fn condition(&self, relation: &Relation, slice: &Slice) -> Option<String> {
        let inside = |position: &&Position| match slice {
            Slice::Blocks { heap, from, to } => {
                let block = u64::from(position.block);
                relation.heaps.get(*heap).is_some_and(|heap| heap.oid == position.heap)
                    && from.is_none_or(|from| from <= block)
                    && to.is_none_or(|to| block < to)
            }
            Slice::Whole | Slice::Chunks { .. } | Slice::Images => true,
        };
        let excluded: Vec<_> = self.excluded.iter().filter(inside).collect();
        if excluded.is_empty() {
            return None;
        }
        let heaps: Vec<_> = excluded.iter().map(|position| position.heap.to_string()).collect();
        let tids: Vec<_> = excluded.iter().map(|position| format!("\"{}\"", position.ctid())).collect();
        // The function has no system columns, so these are the table's.
        Some(format!(
            "NOT EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest('{{{}}}'::pg_catalog.oid[]), \
             pg_catalog.unnest('{{{}}}'::pg_catalog.tid[])) AS gone(heap, place) \
             WHERE gone.place OPERATOR(pg_catalog.=) ctid AND gone.heap OPERATOR(pg_catalog.=) tableoid)",
            heaps.join(","),
            tids.join(",")
        ))
    }

    /// Writes the images as a relation with the compared columns, `tableoid` and `ctid`, behind what a statement has so far.
    /// There must be some. They may be as large as a window, so that no other copy of them is made on the way.
    pub(super) fn write_images(&self, pair: &TablePair, statement: &mut String) {
        // Rows with the same unknown values are completed by one join.
        let mut groups: BTreeMap<Vec<usize>, Vec<(usize, &Image)>> = BTreeMap::new();
        for (at, image) in self.touched.images.iter().enumerate() {
            let unknown = (0..).zip(&image.row).filter(|(_, value)| **value == Value::Unchanged).map(|(at, _)| at);
            groups.entry(unknown.collect()).or_default().push((at, image));
        }
        let computed = pair.columns.iter().any(|column| column.computed.is_some());
        if computed {
            // No row of the table, but the collations of its columns, by which their values may be computed. The table's own
            // name for a row's table is not given on: of an image it would be another one.
            let (mut sent, mut list) = (Vec::new(), Vec::new());
            for column in &pair.columns {
                let name = sql::identifier(&column.name);
                match &column.computed {
                    // As it is assigned, whatever the expression's own type.
                    Some(expression) => {
                        list.push(format!("({expression})::{} AS {name}", column.types.publisher.declared));
                    }
                    None => {
                        sent.push(name.clone());
                        list.push(name);
                    }
                }
            }
            sent.push("tableoid AS \"of table\", ctid AS \"at place\"".to_owned());
            list.push("\"of table\" AS tableoid, \"at place\" AS ctid".to_owned());
            let none = format!("SELECT {} FROM {} WHERE false", sent.join(", "), from(&pair.relations.publisher));
            statement.push_str(&format!("(SELECT {} FROM ({none} UNION ALL ", list.join(", ")));
        } else {
            statement.push('(');
        }
        for (number, (unknown, images)) in groups.iter().enumerate() {
            if number > 0 {
                statement.push_str(" UNION ALL ");
            }
            self.write_images_query(pair, unknown, images, statement);
        }
        statement.push_str(if computed { ") AS one) AS image" } else { ") AS image" });
    }

    fn write_images_query(
        &self,
        pair: &TablePair,
        unknown: &[usize],
        images: &[(usize, &Image)],
        statement: &mut String,
    ) {
        let relation = &pair.relations.publisher;
        let sent: Vec<_> = (0..).zip(&pair.columns).filter(|(_, column)| column.computed.is_none()).collect();
        let mut list: Vec<_> = sent
            .iter()
            .map(|(at, column)| {
                let name = sql::identifier(&column.name);
                if unknown.contains(at) { format!("origin.{name}") } else { format!("one.v{at} AS {name}") }
            })
            .collect();
        list.push("0::pg_catalog.oid AS tableoid, one.place AS ctid".to_owned());
        statement.push_str(&format!("SELECT {} FROM (VALUES ", list.join(", ")));
        for (number, (image_at, image)) in images.iter().enumerate() {
            statement.push_str(if number == 0 { "(" } else { ", (" });
            for (at, column) in &sent {
                if let Some(value) = image.row.get(*at) {
                    write_literal(&column.types.publisher, value, statement);
                    statement.push_str(", ");
                }
            }
            let place = Position::of_image(*image_at).ctid();
            statement.push_str(&format!("'{place}'::pg_catalog.tid, {}", image.copies));
            if !unknown.is_empty() {
                let origin = image.origin.and_then(|origin| self.origins.get(&origin)).copied();
                let origin = origin.unwrap_or(Position { heap: 0, block: 0, offset: 0 });
                statement.push_str(&format!(", {}::pg_catalog.oid, '{}'::pg_catalog.tid", origin.heap, origin.ctid()));
            }
            statement.push(')');
        }
        let names = sent.iter().map(|(at, _)| format!("v{at}"));
        let names: Vec<_> = names.chain(["place".to_owned(), "copies".to_owned()]).collect();
        statement.push_str(&format!(") AS one({}", names.join(", ")));
        if unknown.is_empty() {
            statement.push(')');
        } else {
            statement.push_str(&format!(
                ", heap, at) JOIN {} AS origin ON origin.ctid OPERATOR(pg_catalog.=) one.at \
                 AND origin.tableoid OPERATOR(pg_catalog.=) one.heap",
                from(relation)
            ));
        }
        if images.iter().any(|(_, image)| image.copies != 1) {
            statement.push_str(" CROSS JOIN LATERAL pg_catalog.generate_series(1, one.copies)");
        }
    }
}

/// Writes a value as a constant of its type, read by the type's input function. No modifier, which could only cut it.
fn write_literal(facts: &TypeFacts, value: &Value, statement: &mut String) {
    match value {
        Value::Text(text) => sql::push_literal(text, statement),
        Value::Null | Value::Unchanged | Value::Computed => statement.push_str("NULL"),
    }
    statement.push_str("::");
    statement.push_str(&facts.base().name.to_sql());
}

/// A value as a constant of its type, read by the type's input function. No modifier, which could only cut it.
fn literal(facts: &TypeFacts, value: &Value) -> String {
    let name = facts.base().name.to_sql();
    match value {
        Value::Text(text) => format!("{}::{name}", sql::literal(text)),
        Value::Null | Value::Unchanged | Value::Computed => format!("NULL::{name}"),
    }
}

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
pub enum Sameness {
    /// Their texts are. To changes in the WAL, 1.0 and 1.00 are two rows, one of which went when the other one came.
    OfText,
    /// Their types call them equal, as far as they can be asked.
    OfValue,
}

impl Sameness {
    /// What the rows that a window touched are to be looked up by, or those that are set aside on both sides.
    #[must_use]
    pub fn wanted(touched: &Touched) -> Self {
        let any = |lookup: &Lookup| lookup.wanted == Wanted::Any;
        if touched.lookups.iter().any(any) { Self::OfValue } else { Self::OfText }
    }
}

/// What is read of rows that are looked up by their identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
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
pub fn lookup_statement(
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
pub fn versions_statement(
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
pub fn located_statement(pair: &TablePair, shape: &Shape, side: Side, keys: &[&Values]) -> String {
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
pub enum KeysOf {
    /// Rows that one of these transactions may have made.
    MadeBy(Since),
    /// The rows at these places.
    At(Vec<Position>),
}

/// The statement that reads identities as [`lookup_statement`] takes them: an array of texts, `tableoid`, `ctid`.
#[must_use]
pub fn keys_statement(pair: &TablePair, side: Side, identity: &Identity, of: &KeysOf) -> String {
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
    let by_operator = match identity {
        Identity::Columns(columns) => {
            let columns: Option<Vec<_>> = columns.iter().map(|&at| pair.columns.get(at)).collect();
            columns.filter(|columns| columns.iter().all(|column| compares_by_operator(column, side)))
        }
        Identity::WholeRow => None,
    };
    // Every column of the table gets a name that cannot be one of another relation.
    let (key_list, names, rows, condition): (Vec<String>, Vec<String>, Vec<String>, String) = match by_operator {
        Some(columns) => {
            let by_text = |column: &ColumnPair| sameness == Sameness::OfText && !texts_agree(column, side);
            let (mut key_list, mut names, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
            for (k, column) in columns.iter().enumerate() {
                let (name, facts) = (sql::identifier(column.name_on(side)), column.types.get(side));
                // No operator takes a domain over an enum. The cast changes no bytes, so that an index still serves.
                let cast = match facts.kind {
                    TypeKind::Domain(_) => format!("::{}", facts.base().name.to_sql()),
                    _ => String::new(),
                };
                key_list.push(format!("{name}{cast} AS k{k}"));
                names.push(format!("k{k}"));
                conditions.push(format!("there.k{k} OPERATOR(pg_catalog.=) wanted.k{k}"));
                if by_text(column) {
                    key_list.push(format!("{} AS t{k}", plain_text(column, side)));
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
            (key_list, names, keys.iter().map(|key| row(key)).collect(), conditions.join(" AND "))
        }
        None => {
            let columns = match identity {
                Identity::Columns(columns) => columns.as_slice(),
                Identity::WholeRow => all.as_slice(),
            };
            // What is computed of the others tells no rows apart.
            let sent = |at: &usize| keys.first().and_then(|key| key.get(*at)) != Some(&Value::Computed);
            let columns: Vec<usize> =
                (0..).zip(columns).filter(|(at, _)| sent(at)).map(|(_, &column)| column).collect();
            let row = |key: &Values| -> String {
                let texts = key.iter().filter(|value| **value != Value::Computed).map(literal_text);
                format!("ARRAY[{}]::pg_catalog.text[]", texts.collect::<Vec<_>>().join(", "))
            };
            (
                vec![format!("{} AS k0", texts(pair, side, &columns))],
                vec!["k0".to_owned()],
                keys.iter().map(|key| row(key)).collect(),
                "there.k0 OPERATOR(pg_catalog.=) wanted.k0".to_owned(),
            )
        }
    };
    let rows: Vec<_> = rows.iter().enumerate().map(|(at, row)| format!("({at}::pg_catalog.int8, {row})")).collect();
    let conditions: Vec<_> = filter(relation).into_iter().collect();
    format!(
        "COPY (SELECT {outer} FROM (SELECT {inner}, {} FROM {}{}) AS there \
         JOIN (VALUES {}) AS wanted(number, {}) ON {condition}{group}) TO STDOUT (FORMAT binary)",
        key_list.join(", "),
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

    fn place(block: u32, offset: u16) -> Position {
        Position { heap: 7, block, offset }
    }

    fn touched(wanted: &[Wanted], images: Vec<Image>) -> Arc<Touched> {
        let lookups =
            wanted.iter().enumerate().map(|(at, wanted)| Lookup { key: vec![text(&at.to_string())], wanted: *wanted });
        Arc::new(Touched { identity: Identity::Columns(vec![0]), lookups: lookups.collect(), images })
    }

    #[test]
    fn what_is_found_must_be_what_the_window_says() {
        let of = |wanted: &[Wanted], found: &[(usize, Position)]| {
            Advance::new(touched(wanted, vec![]), found.to_vec()).map(|advance| advance.excluded)
        };
        use Wanted::{Nothing, Of, One};
        assert_eq!(of(&[One, Nothing, One], &[(2, place(0, 1)), (0, place(5, 1))]), Ok(vec![place(0, 1), place(5, 1)]));
        assert!(of(&[One], &[]).is_err());
        assert!(of(&[One], &[(0, place(0, 1)), (0, place(0, 2))]).is_err());
        assert!(of(&[Nothing], &[(0, place(0, 1))]).is_err());
        assert!(of(&[One], &[(0, place(0, 1)), (1, place(0, 2))]).is_err());
        let three = [(0, place(0, 1)), (0, place(0, 2)), (0, place(0, 3))];
        assert_eq!(of(&[Of(2)], &three), Ok(vec![place(0, 1), place(0, 2)]));
        assert!(of(&[Of(4)], &three).is_err());
    }

    #[test]
    fn statements_quote_names_and_values() {
        let pair = table();
        let image = |row: Values, origin| Image { row, copies: 1, origin };
        let images =
            vec![image(vec![text("1"), text("it's \\")], None), image(vec![text("2"), Value::Unchanged], Some(0))];
        let advance = Advance::new(touched(&[Wanted::One], images), vec![(0, place(3, 4))]).unwrap();
        let mut statement = "SELECT FROM ".to_owned();
        advance.write_images(&pair, &mut statement);
        assert_eq!(
            statement,
            "SELECT FROM (SELECT one.v0 AS \"id\", one.v1 AS \"No\"\"te\", 0::pg_catalog.oid AS tableoid, one.place AS ctid FROM \
             (VALUES ('1'::\"pg_catalog\".\"int8\",  E'it''s \\\\'::\"pg_catalog\".\"text\", '(0,1)'::pg_catalog.tid, 1)) \
             AS one(v0, v1, place, copies) UNION ALL \
             SELECT one.v0 AS \"id\", origin.\"No\"\"te\", 0::pg_catalog.oid AS tableoid, one.place AS ctid FROM \
             (VALUES ('2'::\"pg_catalog\".\"int8\", NULL::\"pg_catalog\".\"text\", '(0,2)'::pg_catalog.tid, 1, 7::pg_catalog.oid, \
             '(3,4)'::pg_catalog.tid)) AS one(v0, v1, place, copies, heap, at) JOIN ONLY \"My\".\"t\" AS origin \
             ON origin.ctid OPERATOR(pg_catalog.=) one.at AND origin.tableoid OPERATOR(pg_catalog.=) one.heap) AS image"
        );
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

    const PLACES: Finding = Finding::Places(Sameness::OfText);

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

    #[test]
    fn only_what_lies_in_a_slice_is_left_out_of_it() {
        let mut pair = table();
        let name = pair.name.clone();
        pair.relations.publisher.heaps =
            vec![crate::catalog::Heap { oid: 7, name, blocks: 9, readable: true, is_heap: true }];
        let advance = Advance::new(touched(&[Wanted::One], vec![]), vec![(0, place(3, 4))]).unwrap();
        let relation = &pair.relations.publisher;
        let blocks = |heap, from, to| Slice::Blocks { heap, from, to };
        assert!(advance.condition(relation, &blocks(0, None, Some(3))).is_none());
        assert!(advance.condition(relation, &blocks(0, Some(4), None)).is_none());
        assert!(advance.condition(relation, &blocks(1, None, None)).is_none());
        let condition = advance.condition(relation, &blocks(0, Some(3), Some(4))).unwrap();
        assert!(
            condition.contains("'{7}'::pg_catalog.oid[]") && condition.contains(r#"'{"(3,4)"}'::pg_catalog.tid[]"#)
        );
        assert!(advance.condition(relation, &Slice::Whole).is_some());
    }
}
