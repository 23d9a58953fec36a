//! Count, maxima and sums, computed by the server: a way that shares nothing with the row digests but the snapshot.

use std::collections::BTreeSet;

use crate::catalog::ColumnPair;
use crate::plan::{Advance, Source, write_source};
use crate::scan::{Digest, TableContext};
use crate::side::Side;
use crate::sql;

/// Expressions in one statement: PostgreSQL allows 1664 entries in a target list (`MaxTupleAttributeNumber`,
/// access/htup_details.h).
const EXPRESSIONS_PER_STATEMENT: usize = 1600;

/// The figures of one side. Texts are the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figures {
    /// `count(*)`.
    pub count: u64,
    /// The digest of all rows, where it was asked for: exact sums.
    pub digest: Option<Vec<Option<String>>>,
    /// One for each other expression of [`figure_statements`], in its order; NULL (no values) is `None`.
    pub values: Vec<Option<String>>,
}

/// What is asked of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ColumnFigure {
    /// `max()` of a date or timestamp column.
    Max {
        /// The column.
        column: String,
    },
    /// `sum()` of a numeric column.
    Sum {
        /// The column.
        column: String,
        /// Whether it sums the shortest texts of floats, exactly and in any order, leaving out NaN and infinities.
        shortest_text: bool,
    },
    /// `max()`, or `min()` for a descending sequence, of a column that a sequence feeds; not a check of its own.
    SequenceColumn {
        /// The column.
        column: String,
    },
}

fn max_type(column: &ColumnPair) -> bool {
    let temporal = |name: Option<&str>| matches!(name, Some("date" | "timestamp" | "timestamptz"));
    temporal(column.types.publisher.builtin()) && column.types.publisher.builtin() == column.types.subscriber.builtin()
}

/// The expression that sums a column exactly, whatever the number of rows, and whether it goes through texts.
fn sum_expression(column: &ColumnPair, side: Side) -> Option<(String, bool)> {
    let name = sql::identifier(column.name_on(side));
    let kind = |name: Option<&str>| match name {
        Some("int2" | "int4" | "int8") => Some(0),
        Some("numeric") => Some(1),
        Some("float4" | "float8") => Some(2),
        _ => None,
    };
    if kind(column.types.publisher.builtin()) != kind(column.types.subscriber.builtin()) {
        return None;
    }
    match column.types.get(side).builtin()? {
        // sum(int8) is numeric and cannot overflow; sum(int4) is int8.
        "int2" | "int4" => Some((format!("sum({name}::pg_catalog.int8)"), false)),
        "int8" | "numeric" => Some((format!("sum({name})"), false)),
        // A sum of floats depends on the order of the rows, a sum of their shortest texts does not.
        "float4" | "float8" => Some((
            format!(
                "sum(CASE WHEN {name}::pg_catalog.float8 IN ('NaN', 'Infinity', '-Infinity') THEN NULL \
                 ELSE {name}::pg_catalog.text::pg_catalog.numeric END)"
            ),
            true,
        )),
        _ => None,
    }
}

/// What is asked of the columns of a table, in order.
pub(super) fn column_figures(table: &TableContext, side: Side) -> Vec<ColumnFigure> {
    expressions(table, side).0
}

/// What is asked of the columns of a table, in order, maxima and sums only of those that the shape compares; and the expressions
/// that ask it of a side: those of the checks, and those for the sequences, which come last.
fn expressions(table: &TableContext, side: Side) -> (Vec<ColumnFigure>, Vec<String>, Vec<String>) {
    let mut figures = Vec::new();
    let mut expressions = Vec::new();
    let columns = &table.pair.columns;
    // Where values cannot be compared, their sums cannot either: a real holds another number than the double precision that was
    // replicated into it.
    let comparable: BTreeSet<usize> = table.shape.columns().collect();
    let compared: Vec<&ColumnPair> =
        columns.iter().enumerate().filter(|(at, _)| comparable.contains(at)).map(|(_, column)| column).collect();
    for column in compared.iter().filter(|column| table.checks.max && max_type(column)) {
        figures.push(ColumnFigure::Max { column: column.name.clone() });
        expressions.push(format!("max({})", sql::identifier(column.name_on(side))));
    }
    for column in compared.iter().filter(|_| table.checks.sum) {
        if let Some((expression, shortest_text)) = sum_expression(column, side) {
            figures.push(ColumnFigure::Sum { column: column.name.clone(), shortest_text });
            expressions.push(expression);
        }
    }
    let mut last = Vec::new();
    for column in &table.sequence_columns {
        figures.push(ColumnFigure::SequenceColumn { column: column.name.clone() });
        let end = if column.descending { "min" } else { "max" };
        let name =
            columns.iter().find(|pair| pair.name == column.name).map_or(&*column.name, |pair| pair.name_on(side));
        last.push(format!("{end}({})", sql::identifier(name)));
    }
    (figures, expressions, last)
}

/// What is asked of a table, in order, and the statements that ask it of a side. The first value of the first statement
/// is `count(*)`, and behind it comes the digest, where one is asked for.
#[must_use]
pub(crate) fn figure_statements(
    table: &TableContext,
    of: Source<'_>,
    mut digest: Option<&Digest>,
) -> (Vec<ColumnFigure>, Vec<String>) {
    let (figures, mut expressions, mut last) = expressions(table, of.side);
    let first = std::iter::once("count(*)".to_owned());
    expressions.splice(0..0, first.chain(digest.into_iter().flat_map(|digest| digest.sums(of))));
    let mut statements = Vec::new();
    let mut ask = |expressions: &[String], of: Source<'_>| {
        for expressions in expressions.chunks(EXPRESSIONS_PER_STATEMENT) {
            let mut statement = format!("SELECT {} FROM ", expressions.join(", "));
            match digest.take() {
                // It is in the first one.
                Some(digest) => digest.write_source(of, &mut statement),
                None => write_source(of, &mut statement),
            }
            statements.push(statement);
        }
    };
    if of.advance.is_some_and(Advance::sets_aside) {
        // A sequence has to be beyond the rows that are set aside as well.
        ask(&expressions, of);
        ask(&last, Source { advance: None, ..of });
    } else {
        expressions.append(&mut last);
        ask(&expressions, of);
    }
    (figures, statements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CheckSet;
    use crate::row::Shape;
    use crate::row::testing::{builtin, column, pair};
    use crate::scan::SequenceColumn;
    use crate::side::Sides;

    #[test]
    fn nothing_is_asked_of_columns_that_cannot_be_compared_but_for_sequences() {
        let narrowed = ColumnPair {
            types: Sides::new(builtin("float8"), builtin("float4")),
            ..column("narrowed", &builtin("float8"))
        };
        let columns = vec![column("at", &builtin("date")), narrowed, column("id", &builtin("int4"))];
        let pair = pair(columns, &[2]);
        let shape = Shape::new(&pair);
        let descending = SequenceColumn { name: "narrowed".to_owned(), descending: true };
        let table = TableContext {
            index: 0,
            pair,
            shape,
            checks: CheckSet::ALL,
            versions: Sides::new(140_000, 160_000),
            sequence_columns: vec![descending],
            digest: None,
        };
        for side in Side::BOTH {
            let (figures, statements) =
                figure_statements(&table, Source { pair: &table.pair, side, advance: None }, None);
            assert_eq!(
                figures,
                [
                    ColumnFigure::Max { column: "at".to_owned() },
                    ColumnFigure::Sum { column: "id".to_owned(), shortest_text: false },
                    ColumnFigure::SequenceColumn { column: "narrowed".to_owned() },
                ]
            );
            let statement =
                r#"SELECT count(*), max("at"), sum("id"::pg_catalog.int8), min("narrowed") FROM ONLY "public"."t""#;
            assert_eq!(statements, [statement]);
        }
    }
}
