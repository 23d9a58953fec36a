//! The statements that read user tables.

use crate::catalog::{ColumnPair, Relation, TablePair, TypeFacts, TypeKind};
use crate::gate::window::Value;
use crate::plan::{Advance, Bound, Chunking, Position, SampleSpec, Slice};
use crate::row::{Form, Shape};
use crate::side::Side;
use crate::sql;

/// What is read of each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The row image.
    Image,
    /// The row image, then the heap it lies in and its position there.
    ImageAndPosition,
    /// As before, then one array with the text of every column of the image: [`WHOLE`] and the text, or [`CUT`] and this many
    /// characters of a longer one.
    ImagePositionAndTexts(usize),
}

/// Stands before a text that is whole. A letter that every encoding of a database has: the text itself gets no mark.
pub(crate) const WHOLE: char = '=';
/// Stands before the beginning of a longer text.
pub(crate) const CUT: char = '<';

/// The select list of a reading.
fn select_list(pair: &TablePair, shape: &Shape, side: Side, reading: &Reading) -> String {
    let mut list = shape.select_list(side);
    if *reading != Reading::Image {
        list.push("tableoid".to_owned());
        list.push("ctid".to_owned());
    }
    if let Reading::ImagePositionAndTexts(characters) = reading {
        list.push(texts_array(pair, shape, side, *characters));
    }
    list.join(", ")
}

/// The select list of an image where it is a list of columns that COPY can read from the table: no expression, and none that is
/// generated (PostgreSQL manual, COPY).
fn stored_columns(pair: &TablePair, shape: &Shape, side: Side) -> Option<String> {
    let stored = columns(pair, shape)
        .zip(shape.forms())
        .all(|(column, form)| matches!(form, Form::Verbatim | Form::Canonical(_)) && !column.generated.get(side));
    let list = shape.select_list(side);
    (stored && !list.is_empty()).then(|| list.join(", "))
}

/// An array of the texts of the compared columns, long ones cut.
pub(super) fn texts_array(pair: &TablePair, shape: &Shape, side: Side, characters: usize) -> String {
    let texts: Vec<_> = columns(pair, shape)
        .map(|column| {
            let text = sql::output_text(&sql::identifier(column.name_on(side)));
            format!(
                "(SELECT CASE WHEN pg_catalog.length(v) > {characters} THEN '{CUT}' || pg_catalog.left(v, {characters}) \
                 ELSE '{WHOLE}' || v END FROM (SELECT {text}) AS x(v))"
            )
        })
        .collect();
    format!("ARRAY[{}]::pg_catalog.text[]", texts.join(", "))
}

/// The conditions of a statement, joined; empty where there are none.
pub(super) fn where_clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// The row filter as a condition that no index answers: an index on a text may no longer find what it holds once its
/// collation's library has changed, and what must be read would not be. `(filter) IS TRUE` would not do: an index over the
/// filter itself answers that (`match_boolean_index_clause` in indxpath.c).
pub(super) fn filter(relation: &Relation) -> Option<String> {
    relation.filter.as_ref().map(|filter| format!("COALESCE(({filter}), false)"))
}

/// The relation in a FROM clause. Inheritance children are tables of their own; partitions are parts of their root.
pub(super) fn from(relation: &Relation) -> String {
    if relation.partitioned { relation.name.to_sql() } else { format!("ONLY {}", relation.name.to_sql()) }
}

/// A value as a constant of its type, read by the type's input function. No modifier, which could only cut it.
pub(super) fn literal(facts: &TypeFacts, value: &Value) -> String {
    let mut statement = String::new();
    write_literal(facts, value, &mut statement);
    statement
}

/// The same, behind what a statement has so far.
pub(super) fn write_literal(facts: &TypeFacts, value: &Value, statement: &mut String) {
    match value {
        Value::Text(text) => sql::push_literal(text, statement),
        Value::Null | Value::Unchanged | Value::Computed => statement.push_str("NULL"),
    }
    statement.push_str("::");
    statement.push_str(&facts.base().name.to_sql());
}

/// The names of the compared columns, in the order of the row image: the key first.
#[must_use]
pub(crate) fn column_names<'a>(pair: &'a TablePair, shape: &Shape) -> Vec<&'a str> {
    columns(pair, shape).map(|column| column.name.as_str()).collect()
}

/// The compared columns, in the order of the row image.
fn columns<'a>(pair: &'a TablePair, shape: &Shape) -> impl Iterator<Item = &'a ColumnPair> {
    shape.columns().filter_map(|at| pair.columns.get(at))
}

/// The key columns as SQL, in key order.
fn key_columns_sql(pair: &TablePair, shape: &Shape) -> Vec<String> {
    column_names(pair, shape).into_iter().take(shape.key_len()).map(sql::identifier).collect()
}

/// `(a, b) >= ('1'::int8, 'x'::text)`, spelled so that the default btree order of built-in types is meant and an index on
/// the key serves it (PostgreSQL manual, "Row Constructor Comparison").
///
/// Columns of a domain are compared as what they are under it: no operator takes a domain over an enum. The cast changes
/// no bytes, so that an index on the column still serves.
fn row_comparison(pair: &TablePair, shape: &Shape, side: Side, operator: &str, bound: &Bound) -> String {
    let mut columns = Vec::new();
    let mut values = Vec::new();
    for (text, column) in bound.text.iter().zip(self::columns(pair, shape)) {
        let facts = column.types.get(side);
        let (name, base) = (sql::identifier(column.name_on(side)), facts.base().name.to_sql());
        columns.push(if matches!(facts.kind, TypeKind::Domain(_)) { format!("{name}::{base}") } else { name });
        values.push(format!("{}::{base}", sql::literal(text)));
    }
    format!("({}) OPERATOR(pg_catalog.{operator}) ({})", columns.join(", "), values.join(", "))
}

/// What is read of one side: a table as its snapshot has it, or as it stood at the cut.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The table.
    pub pair: &'a TablePair,
    /// The side.
    pub side: Side,
    /// What makes the cut of the publisher's snapshot, or sets rows aside on either side; `None` where there is neither.
    pub advance: Option<&'a Advance>,
}

impl Source<'_> {
    fn relation(&self) -> &Relation {
        self.pair.relations.get(self.side)
    }

    fn excluded(&self, slice: &Slice) -> Option<String> {
        self.advance.and_then(|advance| advance.condition(self.relation(), slice))
    }

    /// What holds the rows that stand in the place of others, if there are any.
    fn with_images(&self) -> Option<&Advance> {
        self.advance.filter(|advance| advance.has_images())
    }
}

/// Writes what stands behind FROM in a statement over the whole table, behind what the statement has so far: the table and its
/// conditions, or both parts of it.
pub(crate) fn write_source(of: Source<'_>, statement: &mut String) {
    let relation = of.relation();
    let conditions: Vec<_> = filter(relation).into_iter().chain(of.excluded(&Slice::Whole)).collect();
    let rows = format!("{}{}", from(relation), where_clause(&conditions));
    let Some(advance) = of.with_images() else {
        statement.push_str(&rows);
        return;
    };
    let columns: Vec<_> = of.pair.columns.iter().map(|column| sql::identifier(&column.name)).collect();
    let columns = columns.join(", ");
    statement.push_str(&format!("(SELECT {columns} FROM {rows} UNION ALL SELECT {columns} FROM "));
    advance.write_images(of.pair, statement);
    statement.push_str(") AS at_cut");
}

/// The statements that read the rows at some positions: whatever the key, its index or the number of duplicates.
#[must_use]
pub(crate) fn rows_statement(of: Source<'_>, shape: &Shape, positions: &[Position], characters: usize) -> Vec<String> {
    let list = select_list(of.pair, shape, of.side, &Reading::ImagePositionAndTexts(characters));
    let begun = format!("COPY (SELECT {list} FROM ");
    let ended = |mut statement: String, positions: &[Position]| {
        let tids: Vec<_> = positions.iter().map(|at| format!("\"{}\"", at.ctid())).collect();
        let tids = sql::literal(&format!("{{{}}}", tids.join(",")));
        statement.push_str(&format!(" WHERE ctid = ANY ({tids}::pg_catalog.tid[])) TO STDOUT (FORMAT binary)"));
        statement
    };
    let (images, rows): (Vec<Position>, Vec<Position>) = positions.iter().partition(|position| position.is_image());
    let mut statements = Vec::new();
    if !rows.is_empty() {
        statements.push(ended(format!("{begun}{}", from(of.relation())), &rows));
    }
    if let Some(advance) = of.with_images().filter(|_| !images.is_empty()) {
        let mut statement = begun;
        advance.write_images(of.pair, &mut statement);
        statements.push(ended(statement, &images));
    }
    statements
}

/// The conditions for the keys of neighbouring chunks.
fn range_conditions(
    of: Source<'_>,
    shape: &Shape,
    chunking: &Chunking,
    first: u32,
    last: u32,
) -> impl Iterator<Item = String> {
    let comparison = |operator, bound| row_comparison(of.pair, shape, of.side, operator, bound);
    let lower = chunking.ends(first).0.map(|bound| comparison(">=", bound));
    lower.into_iter().chain(chunking.ends(last).1.map(|bound| comparison("<", bound)))
}

/// The statement that counts the rows of neighbouring chunks; `None` for other slices, whose table is counted as a whole.
#[must_use]
pub(crate) fn count_statement(of: Source<'_>, shape: &Shape, chunking: &Chunking, slice: &Slice) -> Option<String> {
    let Slice::Chunks { first, last } = slice else { return None };
    let relation = of.relation();
    let range = range_conditions(of, shape, chunking, *first, *last);
    let conditions: Vec<_> = range.chain(filter(relation)).chain(of.excluded(slice)).collect();
    Some(format!("SELECT count(*) FROM {}{}", from(relation), where_clause(&conditions)))
}

/// The statement that reads a slice of one side.
#[must_use]
pub(crate) fn statement(
    of: Source<'_>,
    shape: &Shape,
    chunking: &Chunking,
    slice: &Slice,
    reading: &Reading,
) -> String {
    let Source { pair, side, .. } = of;
    let relation = of.relation();
    let mut conditions = Vec::new();
    let mut source = from(relation);
    if *slice == Slice::Images {
        let mut statement = format!("COPY (SELECT {} FROM ", select_list(pair, shape, side, reading));
        match of.with_images() {
            Some(advance) => advance.write_images(pair, &mut statement),
            // Without images there is nothing to read; the decoder has applied the filter.
            None => statement.push_str(&format!("{source} WHERE false")),
        }
        statement.push_str(") TO STDOUT (FORMAT binary)");
        return statement;
    }
    match slice {
        Slice::Blocks { heap, from, to } => {
            if let Some(facts) = relation.heaps.get(*heap) {
                source = format!("ONLY {}", facts.name.to_sql());
            }
            conditions.extend(from.map(|block| format!("ctid OPERATOR(pg_catalog.>=) '({block},0)'::pg_catalog.tid")));
            conditions.extend(to.map(|block| format!("ctid OPERATOR(pg_catalog.<) '({block},0)'::pg_catalog.tid")));
        }
        Slice::Whole | Slice::Images => {}
        Slice::Chunks { first, last } => conditions.extend(range_conditions(of, shape, chunking, *first, *last)),
    }
    conditions.extend(filter(relation));
    conditions.extend(of.excluded(slice));
    if conditions.is_empty()
        && *reading == Reading::Image
        // What is known of columns is known of the root: before 16 a partition may generate what the root does not.
        && !relation.partitioned
        && relation.heaps.iter().all(|heap| heap.is_heap)
        && let Some(table) = source.strip_prefix("ONLY ")
        && let Some(columns) = stored_columns(pair, shape, side)
    {
        // Takes a server 4 % less time than a query, and reads the table's own rows only, as ONLY does.
        return format!("COPY {table} ({columns}) TO STDOUT (FORMAT binary)");
    }
    let list = select_list(pair, shape, side, reading);
    format!("COPY (SELECT {list} FROM {source}{}) TO STDOUT (FORMAT binary)", where_clause(&conditions))
}

/// The statement that samples keys of the publisher: the key columns, then their texts.
#[must_use]
pub(crate) fn sample_statement(pair: &TablePair, shape: &Shape, spec: &SampleSpec) -> String {
    let relation = &pair.relations.publisher;
    let mut list: Vec<_> = shape.select_list(Side::Publisher).into_iter().take(shape.key_len()).collect();
    list.extend(key_columns_sql(pair, shape).iter().map(|column| sql::output_text(column)));
    let mut conditions: Vec<_> = filter(relation).into_iter().collect();
    if spec.row_share < 1.0 {
        conditions.push(format!("pg_catalog.random() OPERATOR(pg_catalog.<) {}", spec.row_share));
    }
    format!(
        "COPY (SELECT {} FROM {} TABLESAMPLE SYSTEM ({}){}) TO STDOUT (FORMAT binary)",
        list.join(", "),
        from(relation),
        spec.block_percent,
        where_clause(&conditions)
    )
}

/// Asks, inside a transaction that holds a lock on what it has read, whether that is still what the snapshot saw.
///
/// TRUNCATE and rewriting ALTER TABLE are not MVCC-safe (PostgreSQL manual, "Caveats"): an older snapshot finds the new,
/// empty storage. `pg_class` read by the snapshot names the storage that the snapshot should see; `pg_relation_filenode()`
/// reads the current catalog. The same goes for the leaves of a partition tree. One row, true if nothing changed.
#[must_use]
pub(crate) fn heap_check(relation: &Relation, slice: &Slice) -> String {
    let heaps: Vec<_> = match slice {
        Slice::Blocks { heap, .. } => relation.heaps.get(*heap).into_iter().collect(),
        Slice::Whole | Slice::Chunks { .. } | Slice::Images => relation.heaps.iter().collect(),
    };
    let oids: Vec<_> = heaps.iter().map(|heap| heap.oid.to_string()).collect();
    let mut checks = vec![format!(
        "(SELECT count(*) FROM pg_catalog.pg_class c WHERE c.oid IN ({}) \
         AND c.relfilenode = pg_catalog.pg_relation_filenode(c.oid)) = {}",
        if oids.is_empty() { "0".to_owned() } else { oids.join(", ") },
        oids.len()
    )];
    if relation.partitioned {
        let mut leaves: Vec<_> = relation.heaps.iter().map(|heap| heap.oid).collect();
        leaves.sort_unstable();
        let leaves: Vec<_> = leaves.iter().map(u32::to_string).collect();
        let leaves = format!("'{{{}}}'::pg_catalog.oid[]", leaves.join(","));
        let root = relation.oid;
        checks.push(format!(
            "COALESCE((SELECT pg_catalog.array_agg(t.relid::pg_catalog.oid ORDER BY t.relid::pg_catalog.oid) \
             FROM pg_catalog.pg_partition_tree({root}::pg_catalog.regclass) t WHERE t.isleaf), '{{}}') = {leaves}"
        ));
        checks.push(format!(
            "COALESCE((WITH RECURSIVE tree(oid) AS (SELECT {root}::pg_catalog.oid UNION ALL \
             SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid) \
             SELECT pg_catalog.array_agg(c.oid ORDER BY c.oid) FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid \
             WHERE c.relkind <> 'p'), '{{}}') = {leaves}"
        ));
    }
    format!("SELECT {}", checks.join(" AND "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::Heap;
    use crate::gate::window::{Identity, Image, Touched};
    use crate::row::testing::{builtin, column, pair};
    use crate::sql::QualifiedName;

    /// A table whose names need quotes, with a composite key, in the publisher's other order.
    fn table() -> TablePair {
        let columns = vec![
            column("No\"te", &builtin("text")),
            column("id", &builtin("int8")),
            column("at", &builtin("timestamptz")),
        ];
        let mut pair = pair(columns, &[1, 2]);
        for relation in [&mut pair.relations.publisher, &mut pair.relations.subscriber] {
            relation.name = QualifiedName::new("My", "t");
            relation.heaps =
                vec![Heap { oid: 7, name: relation.name.clone(), blocks: 9, readable: true, is_heap: true }];
        }
        pair
    }

    fn bounds() -> Chunking {
        let bound = |text: &str| Bound {
            encoded: text.as_bytes().to_vec(),
            text: vec![text.to_owned(), "2024-01-01".to_owned()],
        };
        Chunking::Ranges(vec![bound("-5"), bound("7")])
    }

    fn at_snapshot(pair: &TablePair, side: Side) -> Source<'_> {
        Source { pair, side, advance: None }
    }

    #[test]
    fn slices_are_read_with_quoted_names_and_qualified_operators() {
        let pair = table();
        let shape = Shape::new(&pair);
        let read =
            |slice: &Slice| statement(at_snapshot(&pair, Side::Subscriber), &shape, &bounds(), slice, &Reading::Image);
        assert_eq!(
            read(&Slice::Blocks { heap: 0, from: Some(8), to: Some(16) }),
            r#"COPY (SELECT "id", "at", "No""te" FROM ONLY "My"."t" WHERE ctid OPERATOR(pg_catalog.>=) '(8,0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '(16,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)"#
        );
        assert_eq!(
            read(&Slice::Chunks { first: 1, last: 1 }),
            r#"COPY (SELECT "id", "at", "No""te" FROM ONLY "My"."t" WHERE ("id", "at") OPERATOR(pg_catalog.>=) ('-5'::"pg_catalog"."int8", '2024-01-01'::"pg_catalog"."timestamptz") AND ("id", "at") OPERATOR(pg_catalog.<) ('7'::"pg_catalog"."int8", '2024-01-01'::"pg_catalog"."timestamptz")) TO STDOUT (FORMAT binary)"#
        );
    }

    #[test]
    fn a_table_is_copied_without_a_query_only_where_copy_can_read_all_that_is_wanted() {
        let plain = table();
        let copied = r#"COPY "My"."t" ("id", "at", "No""te") TO STDOUT (FORMAT binary)"#;
        let queried = r#"COPY (SELECT "id", "at", "No""te" FROM "#;
        let read = |pair: &TablePair, side, slice: &Slice| {
            statement(at_snapshot(pair, side), &Shape::new(pair), &bounds(), slice, &Reading::Image)
        };
        let heap = Slice::Blocks { heap: 0, from: None, to: None };
        for side in Side::BOTH {
            assert_eq!(read(&plain, side, &Slice::Whole), copied);
            assert_eq!(read(&plain, side, &heap), copied);
        }
        let positions = Reading::ImageAndPosition;
        let of = at_snapshot(&plain, Side::Publisher);
        let with_positions = statement(of, &Shape::new(&plain), &bounds(), &Slice::Whole, &positions);
        assert!(with_positions.contains(r#"tableoid, ctid FROM ONLY "My"."t")"#), "{with_positions}");

        let mut filtered = table();
        filtered.relations.publisher.filter = Some("id > 1".to_owned());
        assert!(read(&filtered, Side::Publisher, &Slice::Whole).starts_with(queried));
        assert_eq!(read(&filtered, Side::Subscriber, &Slice::Whole), copied);

        // COPY refuses a foreign table.
        let mut foreign = table();
        foreign.relations.publisher.heaps[0].is_heap = false;
        assert!(read(&foreign, Side::Publisher, &Slice::Whole).starts_with(queried));
        assert!(read(&foreign, Side::Publisher, &heap).starts_with(queried));

        let mut generated = table();
        generated.columns[0].generated.subscriber = true;
        assert_eq!(read(&generated, Side::Publisher, &Slice::Whole), copied);
        assert!(read(&generated, Side::Subscriber, &Slice::Whole).starts_with(queried));

        let mut partitioned = table();
        partitioned.relations.publisher.partitioned = true;
        let whole = read(&partitioned, Side::Publisher, &Slice::Whole);
        assert!(whole.starts_with(queried) && whole.contains(r#" FROM "My"."t")"#), "{whole}");
        assert!(read(&partitioned, Side::Publisher, &heap).starts_with(queried));

        // Without a send function it is read as text.
        let mut as_text = table();
        for side in Side::BOTH {
            as_text.columns[0].types.get_mut(side).has_send = false;
        }
        assert!(read(&as_text, Side::Publisher, &Slice::Whole).contains("SELECT"));
        let nothing = pair(Vec::new(), &[]);
        assert!(read(&nothing, Side::Publisher, &Slice::Whole).contains("SELECT"));
    }

    #[test]
    fn the_ends_of_the_key_space_are_open() {
        let pair = table();
        let shape = Shape::new(&pair);
        let read =
            |slice: &Slice| statement(at_snapshot(&pair, Side::Publisher), &shape, &bounds(), slice, &Reading::Image);
        assert!(!read(&Slice::Chunks { first: 0, last: 0 }).contains(">="));
        assert!(!read(&Slice::Chunks { first: 2, last: 2 }).contains("OPERATOR(pg_catalog.<)"));
        assert!(!read(&Slice::Chunks { first: 0, last: 2 }).contains("WHERE"));
    }

    #[test]
    fn a_row_filter_stands_in_every_statement() {
        let mut pair = table();
        pair.relations.publisher.filter = Some("(id > 1) OR (id < 0)".to_owned());
        let shape = Shape::new(&pair);
        let spec = SampleSpec { chunks: 3, block_percent: 12.5, row_share: 0.25, bytes_max: 1 << 20 };
        let sample = sample_statement(&pair, &shape, &spec);
        assert!(sample.ends_with(
            r#"FROM ONLY "My"."t" TABLESAMPLE SYSTEM (12.5) WHERE COALESCE(((id > 1) OR (id < 0)), false) AND pg_catalog.random() OPERATOR(pg_catalog.<) 0.25) TO STDOUT (FORMAT binary)"#
        ));
        let slice = Slice::Blocks { heap: 0, from: None, to: Some(8) };
        let read =
            statement(at_snapshot(&pair, Side::Publisher), &shape, &bounds(), &slice, &Reading::ImageAndPosition);
        assert!(
            read.contains(r#""No""te", tableoid, ctid FROM"#)
                && read.contains("AND COALESCE(((id > 1) OR (id < 0)), false)")
        );
    }

    #[test]
    fn rows_that_stand_in_the_place_of_others_are_in_a_statement_once() {
        let pair = table();
        let shape = Shape::new(&pair);
        let row = ["x", "1", "2024-01-01"].map(|text| Value::Text(text.into())).to_vec();
        let images = vec![Image { row, copies: 1, origin: None }];
        let touched = Touched { identity: Identity::Columns(vec![1, 2]), lookups: Vec::new(), images };
        let advance = Advance::new(Arc::new(touched), Vec::new()).unwrap();
        let of = Source { pair: &pair, side: Side::Publisher, advance: Some(&advance) };
        let images = r#"(SELECT one.v0 AS "No""te", one.v1 AS "id", one.v2 AS "at", 0::pg_catalog.oid AS tableoid, one.place AS ctid FROM (VALUES ('x'::"pg_catalog"."text", '1'::"pg_catalog"."int8", '2024-01-01'::"pg_catalog"."timestamptz", '(0,1)'::pg_catalog.tid, 1)) AS one(v0, v1, v2, place, copies)) AS image"#;
        let mut whole = "SELECT count(*) FROM ".to_owned();
        write_source(of, &mut whole);
        let columns = r#""No""te", "id", "at""#;
        assert_eq!(
            whole,
            format!(
                r#"SELECT count(*) FROM (SELECT {columns} FROM ONLY "My"."t" UNION ALL SELECT {columns} FROM {images}) AS at_cut"#
            )
        );
        assert_eq!(
            statement(of, &shape, &bounds(), &Slice::Images, &Reading::Image),
            format!(r#"COPY (SELECT "id", "at", "No""te" FROM {images}) TO STDOUT (FORMAT binary)"#)
        );
        let positions = [Position::of_image(0), Position { heap: 7, block: 3, offset: 4 }];
        let rows = rows_statement(of, &shape, &positions, 5);
        let ends = [
            r#"FROM ONLY "My"."t" WHERE ctid = ANY ('{"(3,4)"}'::pg_catalog.tid[])) TO STDOUT (FORMAT binary)"#
                .to_owned(),
            format!(r#"FROM {images} WHERE ctid = ANY ('{{"(0,1)"}}'::pg_catalog.tid[])) TO STDOUT (FORMAT binary)"#),
        ];
        assert_eq!(rows.len(), 2);
        for (row, end) in rows.iter().zip(&ends) {
            assert!(row.starts_with(r#"COPY (SELECT "id", "at", "No""te", tableoid, ctid, ARRAY["#), "{row}");
            assert!(row.ends_with(end.as_str()), "{row}");
        }
        assert_eq!(rows_statement(of, &shape, &positions[..1], 5), rows[1..]);
    }

    #[test]
    fn storage_is_checked_for_what_was_read() {
        let mut relation = table().relations.publisher;
        let check = heap_check(&relation, &Slice::Whole);
        assert!(check.contains("c.oid IN (7)") && check.ends_with("= 1"));
        relation.partitioned = true;
        relation.heaps.clear();
        let check = heap_check(&relation, &Slice::Whole);
        assert!(check.contains("pg_partition_tree(1::pg_catalog.regclass)") && check.contains("pg_inherits"));
    }
}
