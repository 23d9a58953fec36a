//! The columns of tables, and which of them are compared.

use std::collections::{BTreeSet, HashMap};

use super::fields::Fields;
use super::queries;
use super::versions::Major;
use crate::connect::Session;
use crate::error::{ErrorKind, Result};

/// How a generated column gets its value (`pg_attribute.attgenerated`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generated {
    Stored,
    Virtual,
}

/// A column as its side describes it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// `attnum`.
    pub(super) number: i16,
    /// The publisher's name for it, by which columns pair.
    pub(super) name: String,
    /// Its name on its own side.
    pub(super) own_name: String,
    pub(super) type_oid: u32,
    /// `format_type` with the modifier.
    pub(super) declared: String,
    /// Proven NOT NULL: a constraint that was never validated does not count.
    pub(super) not_null: bool,
    pub(super) generated: Option<Generated>,
    /// How a generated column is computed, where the server told it.
    pub(super) expression: Option<String>,
    /// `attcollation`; 0 for none.
    pub(super) collation: u32,
    /// The role may read it, by the column or the table.
    pub(super) readable: bool,
}

/// The columns of one side, by table, in their order.
pub(super) type Columns = HashMap<u32, Vec<Column>>;

/// Reads the columns of some tables.
pub(super) async fn read(session: &Session, major: Major, tables: &[u32]) -> Result<Columns> {
    let mut columns = Columns::new();
    if tables.is_empty() {
        return Ok(columns);
    }
    for row in session.rows_simple(&queries::columns(major, tables.iter().copied())).await? {
        let mut fields = Fields::new("the columns", row);
        let table = fields.parse()?;
        let number = fields.parse()?;
        let name = fields.text()?;
        let column = Column {
            number,
            own_name: name.clone(),
            name,
            type_oid: fields.parse()?,
            declared: fields.text()?,
            not_null: fields.flag()?,
            generated: match fields.optional()?.as_deref() {
                None => None,
                Some("s") => Some(Generated::Stored),
                // Virtual, or of a kind that we do not know: either way, not stored.
                Some(_) => Some(Generated::Virtual),
            },
            expression: None,
            collation: fields.parse()?,
            readable: fields.flag()?,
        };
        columns.entry(table).or_default().push(column);
    }
    read_expressions(session, &mut columns).await?;
    Ok(columns)
}

/// Reads how generated columns are computed.
///
/// A server that writes out an expression locks its table for a moment (`pg_get_expr`, ruleutils.c). Where another session holds
/// one of the tables for longer than our patience, nothing is told.
async fn read_expressions(session: &Session, columns: &mut Columns) -> Result<()> {
    let generated = |column: &Column| column.generated.is_some();
    let tables: Vec<u32> =
        columns.iter().filter(|(_, columns)| columns.iter().any(generated)).map(|(&table, _)| table).collect();
    if tables.is_empty() {
        return Ok(());
    }
    let rows = match session.rows_simple(&queries::generation(tables)).await {
        Ok(rows) => rows,
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Changed) => return Ok(()),
        Err(error) => return Err(error),
    };
    for row in rows {
        let mut fields = Fields::new("the generated columns", row);
        let (table, number): (u32, i16) = (fields.parse()?, fields.parse()?);
        let expression = fields.optional()?;
        let of_table = columns.get_mut(&table).into_iter().flatten();
        of_table.filter(|column| column.number == number).for_each(|column| column.expression.clone_from(&expression));
    }
    Ok(())
}

/// What becomes of a column of the publisher or, if it is there only, of the subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Compared.
    Compared,
    /// Compared, although replication cannot write it: it is generated on the subscriber only.
    ComparedGenerated,
    /// Published, but missing on the subscriber.
    Missing,
    /// Holds data that replication does not carry.
    NotCarried,
    /// Generated when it is read, alike where the other side generates it, too.
    Virtual,
    /// Generated on both sides, when it is read on one at least, and not provably alike: applications may read other values.
    ComputedOtherwise,
    /// On the subscriber only.
    Extra,
}

/// Decides over all columns of a pair, in the publisher's order, then the subscriber's extra ones in its order.
///
/// `published` are the columns that publications carry, `None` for all that are not generated; without a subscription
/// (`joined` false) all stored columns must be equal.
pub(super) fn decide<'a>(
    publisher: &'a [Column],
    subscriber: &'a [Column],
    published: Option<&BTreeSet<String>>,
    joined: bool,
) -> Vec<(&'a str, Fate)> {
    let mut fates = Vec::new();
    for column in publisher {
        let other = subscriber.iter().find(|other| other.name == column.name);
        let carried = match published {
            Some(names) => names.contains(&column.name),
            None => !joined || column.generated.is_none(),
        };
        // An expression that was not told may be any.
        let alike = other.is_some_and(|other| column.expression.is_some() && column.expression == other.expression);
        let fate = match (column.generated, other.map(|other| other.generated)) {
            // A stored column in its place gets nothing.
            (Some(Generated::Virtual), Some(None)) => Fate::NotCarried,
            (Some(Generated::Virtual), Some(Some(_))) if !alike => Fate::ComputedOtherwise,
            (Some(Generated::Stored), Some(Some(Generated::Virtual))) if !alike && !carried => Fate::ComputedOtherwise,
            // Computed when read on both sides, from what is compared.
            (Some(Generated::Virtual), _) => Fate::Virtual,
            // Whatever is published or not: both compute it from what is compared.
            (Some(Generated::Stored), Some(Some(Generated::Stored))) => Fate::Compared,
            (_, None) if carried => Fate::Missing,
            (_, Some(None)) if carried => Fate::Compared,
            (_, Some(Some(_))) if carried => Fate::ComparedGenerated,
            _ => Fate::NotCarried,
        };
        fates.push((column.name.as_str(), fate));
    }
    let extra = subscriber.iter().filter(|other| !publisher.iter().any(|column| column.name == other.name));
    fates.extend(extra.map(|other| (other.name.as_str(), Fate::Extra)));
    fates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, generated: Option<Generated>) -> Column {
        Column {
            number: 1,
            name: name.to_owned(),
            own_name: name.to_owned(),
            type_oid: 23,
            declared: "integer".to_owned(),
            not_null: false,
            generated,
            expression: None,
            collation: 0,
            readable: true,
        }
    }

    #[test]
    fn columns_pair_by_name_in_the_publishers_order() {
        let publisher = [column("a", None), column("b", None), column("lost", None)];
        let subscriber = [column("extra", None), column("b", None), column("a", None)];
        let fates = decide(&publisher, &subscriber, None, true);
        let expected = [("a", Fate::Compared), ("b", Fate::Compared), ("lost", Fate::Missing), ("extra", Fate::Extra)];
        assert_eq!(fates, expected);
    }

    #[test]
    fn what_a_column_list_leaves_out_is_not_carried() {
        let publisher = [column("a", None), column("b", None), column("c", None)];
        let subscriber = [column("a", None), column("b", None)];
        let list = BTreeSet::from(["a".to_owned()]);
        let fates = decide(&publisher, &subscriber, Some(&list), true);
        assert_eq!(fates, [("a", Fate::Compared), ("b", Fate::NotCarried), ("c", Fate::NotCarried)]);
    }

    #[test]
    fn generated_columns() {
        let stored = Some(Generated::Stored);
        let one = |publisher, subscriber: Option<Option<Generated>>, published: Option<&str>, joined| {
            let publisher = [column("g", publisher)];
            let subscriber: Vec<_> = subscriber.map(|generated| column("g", generated)).into_iter().collect();
            let published = published.map(|name| BTreeSet::from([name.to_owned()]));
            decide(&publisher, &subscriber, published.as_ref(), joined)[0].1
        };
        assert_eq!(one(stored, Some(stored), None, true), Fate::Compared);
        assert_eq!(one(stored, Some(stored), Some("other"), true), Fate::Compared);
        assert_eq!(one(stored, Some(None), None, true), Fate::NotCarried);
        assert_eq!(one(stored, None, None, true), Fate::NotCarried);
        assert_eq!(one(stored, Some(None), Some("g"), true), Fate::Compared);
        assert_eq!(one(stored, None, Some("g"), true), Fate::Missing);
        assert_eq!(one(stored, Some(None), None, false), Fate::Compared);
        assert_eq!(one(None, Some(stored), None, true), Fate::ComparedGenerated);
        assert_eq!(one(Some(Generated::Virtual), None, None, true), Fate::Virtual);
        assert_eq!(one(Some(Generated::Virtual), Some(None), None, true), Fate::NotCarried);
        assert_eq!(one(None, Some(Some(Generated::Virtual)), None, true), Fate::ComparedGenerated);
    }

    #[test]
    fn what_is_computed_when_it_is_read_must_be_computed_alike() {
        use Generated::{Stored, Virtual};
        let of = |generated, expression: Option<&str>| {
            [Column { expression: expression.map(str::to_owned), ..column("g", Some(generated)) }]
        };
        let fate = |publisher: [Column; 1], subscriber: [Column; 1], joined| {
            decide(&publisher, &subscriber, None, joined)[0].1
        };
        let (twice, thrice) = (Some("(a * 2)"), Some("(a * 3)"));
        for joined in [true, false] {
            for kind in [Virtual, Stored] {
                assert_eq!(fate(of(Virtual, twice), of(kind, twice), joined), Fate::Virtual);
                for (one, other) in [(twice, thrice), (twice, None), (None, twice), (None, None)] {
                    assert_eq!(fate(of(Virtual, one), of(kind, other), joined), Fate::ComputedOtherwise);
                }
            }
        }
        assert_eq!(fate(of(Stored, twice), of(Virtual, thrice), true), Fate::ComputedOtherwise);
        assert_eq!(fate(of(Stored, twice), of(Virtual, twice), true), Fate::NotCarried);
        // Their values are compared.
        assert_eq!(fate(of(Stored, twice), of(Virtual, thrice), false), Fate::ComparedGenerated);
        assert_eq!(fate(of(Stored, twice), of(Stored, thrice), true), Fate::Compared);
    }
}
