//! The publisher's table as it stood at the cut: its snapshot without the row versions that the window changed or removed,
//! and with the rows that stood in their place.
//!
//! The server makes rows of the images itself, with the input functions that a subscriber uses, so that one select list
//! serves rows and images alike.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::catalog::{Relation, TablePair};
use crate::gate::window::{Identity, Image, Touched, Value, Wanted};
use crate::plan::statement::{from, write_literal};
use crate::plan::{Position, Slice};
use crate::sql;

/// What makes the table at the cut of the table in the snapshot.
#[derive(Debug)]
pub(crate) struct Advance {
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
    pub(crate) fn new(touched: Arc<Touched>, mut found: Vec<(usize, Position)>) -> Result<Self, String> {
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
    pub(crate) fn without(mut excluded: Vec<Position>) -> Self {
        excluded.sort_unstable();
        excluded.dedup();
        let touched = Touched { identity: Identity::WholeRow, lookups: Vec::new(), images: Vec::new() };
        Self { touched: Arc::new(touched), excluded, origins: HashMap::new() }
    }

    /// Whether the row at a place does not count.
    #[must_use]
    pub(crate) fn leaves_out(&self, position: Position) -> bool {
        self.excluded.binary_search(&position).is_ok()
    }

    /// Whether rows are left out that are looked at elsewhere, rather than such that stood otherwise.
    #[must_use]
    pub(crate) fn sets_aside(&self) -> bool {
        self.touched.lookups.is_empty() && self.touched.images.is_empty() && !self.excluded.is_empty()
    }

    /// Whether there are rows that stand in the place of others.
    #[must_use]
    pub(crate) fn has_images(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::window::{Lookup, Values};
    use crate::row::testing::{builtin, column, pair};
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
