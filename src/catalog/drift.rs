//! Where the two sides define a table otherwise: nothing that replication or comparison stumble on, but what an application
//! misses once it writes to the subscriber.

use std::collections::HashMap;

use super::columns::Column;
use super::fields::Fields;
use super::findings::Code;
use super::model::{Finding, Severity};
use super::queries;
use crate::connect::Session;
use crate::error::{ErrorKind, Result};
use crate::side::Sides;
use crate::sql::{self, QualifiedName};

/// Where what is said about both sides is to be mended.
const ON_SUBSCRIBER: &str = "on the subscriber";

/// What else belongs to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The default of a column; its name is the column's.
    Default,
    Constraint,
    /// An index that no constraint made.
    Index,
}

/// A default, a constraint or an index of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Definition {
    part: Part,
    name: String,
    /// As the server writes it, without the name.
    text: String,
    /// A constraint that all rows are known to fulfil, an index that can be used.
    valid: bool,
}

/// The definitions of one side, by table; `None` where the server did not tell them in time.
#[derive(Debug, Default)]
pub(super) struct Definitions(Option<HashMap<u32, Vec<Definition>>>);

impl Definitions {
    /// Reads those of some tables.
    ///
    /// A server that writes out an expression locks its table for a moment (`pg_get_expr`, ruleutils.c). Where another session
    /// holds one of the tables for longer than our patience, nothing is told.
    pub(super) async fn read(session: &Session, tables: &[u32]) -> Result<Self> {
        let mut all: HashMap<u32, Vec<Definition>> = HashMap::new();
        if tables.is_empty() {
            return Ok(Self(Some(all)));
        }
        let statements = [
            (Part::Default, queries::defaults(tables.iter().copied())),
            (Part::Constraint, queries::constraints(tables.iter().copied())),
            (Part::Index, queries::index_definitions(tables.iter().copied())),
        ];
        for (part, statement) in statements {
            let rows = match session.rows_simple(&statement).await {
                Ok(rows) => rows,
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Changed) => {
                    return Ok(Self(None));
                }
                Err(error) => return Err(error),
            };
            for row in rows {
                let mut fields = Fields::new("the definitions of tables", row);
                let table = fields.parse()?;
                let (name, text, valid) = (fields.text()?, fields.text()?, fields.flag()?);
                let text = match (part, text.split_once(" USING ")) {
                    // CREATE [UNIQUE] INDEX name ON table USING ...
                    (Part::Index, Some((head, tail))) => {
                        let unique = if head.starts_with("CREATE UNIQUE") { "UNIQUE " } else { "" };
                        format!("{unique}{tail}")
                    }
                    _ => text,
                };
                all.entry(table).or_default().push(Definition { part, name, text, valid });
            }
        }
        Ok(Self(Some(all)))
    }

    fn of(&self, table: u32) -> Option<&[Definition]> {
        Some(self.0.as_ref()?.get(&table).map(Vec::as_slice).unwrap_or_default())
    }
}

/// What the subscriber's table lacks of the publisher's.
pub(super) fn compare(
    table: &QualifiedName,
    definitions: Sides<&Definitions>,
    oids: Sides<u32>,
    columns: Sides<&[Column]>,
) -> Vec<Finding> {
    let (Some(ours), Some(theirs)) =
        (definitions.publisher.of(oids.publisher), definitions.subscriber.of(oids.subscriber))
    else {
        let message = format!("the definitions of {table} were not compared: another session has locked it");
        return vec![Code::NotDescribed.finding(Severity::Info, table, message, "run it again later")];
    };
    let there = |column: &str| columns.subscriber.iter().find(|other| other.name == column);
    let mut findings = Vec::new();
    for definition in ours {
        if definition.part == Part::Default && there(&definition.name).is_none_or(|column| column.generated.is_some()) {
            continue;
        }
        findings.extend(missing(table, definition, theirs));
    }
    for column in columns.publisher.iter().filter(|column| column.not_null) {
        if there(&column.name).is_some_and(|other| !other.not_null) {
            let message = format!("column {} of {table} may be NULL on the subscriber", column.name);
            let object = format!("{table}.{}", column.name);
            let name = sql::identifier(&column.name);
            let hint = format!("ALTER TABLE {} ALTER COLUMN {name} SET NOT NULL", table.to_sql());
            let hint = sql::noted(&hint, ON_SUBSCRIBER);
            findings.push(Code::NotNullMissing.finding(Severity::Warning, &object, message, hint));
        }
    }
    findings
}

/// What the subscriber lacks of one definition.
fn missing(table: &QualifiedName, ours: &Definition, theirs: &[Definition]) -> Option<Finding> {
    let alike = || theirs.iter().filter(|other| other.part == ours.part);
    let named = alike().find(|other| other.name == ours.name);
    let same = alike().find(|other| other.text == ours.text && (ours.part != Part::Default || other.name == ours.name));
    let object = format!("{table}.{}", ours.name);
    let (what, code, invalid, other) = match ours.part {
        Part::Default => ("default of column", Code::DefaultMissing, None, Code::DefaultDiffers),
        Part::Constraint => {
            ("constraint", Code::ConstraintMissing, Some(Code::ConstraintNotValid), Code::ConstraintDiffers)
        }
        Part::Index => ("index", Code::IndexMissing, Some(Code::IndexInvalid), Code::IndexDiffers),
    };
    let name = &ours.name;
    let Some(theirs) = same.or(named) else {
        let message = format!("the {what} {name} of {table} is not on the subscriber: {}", ours.text);
        return Some(code.finding(
            Severity::Warning,
            &object,
            message,
            "create it before the application writes there",
        ));
    };
    if let (Some(code), true, false) = (invalid, ours.valid, theirs.valid) {
        let message = format!("the {what} {} of {table} is not valid on the subscriber", theirs.name);
        let hint = match ours.part {
            // An index is in the schema of its table.
            Part::Index => {
                format!("REINDEX INDEX CONCURRENTLY {}", QualifiedName::new(&table.schema, &theirs.name).to_sql())
            }
            Part::Constraint | Part::Default => {
                format!("ALTER TABLE {} VALIDATE CONSTRAINT {}", table.to_sql(), sql::identifier(&theirs.name))
            }
        };
        return Some(code.finding(Severity::Warning, &object, message, sql::noted(&hint, ON_SUBSCRIBER)));
    }
    same.is_none().then(|| {
        let message = format!(
            "the {what} {name} of {table} is {} on the publisher, {} on the subscriber",
            ours.text, theirs.text
        );
        // Majors write the same expression differently.
        other.finding(Severity::Info, &object, message, "see whether they mean the same")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(part: Part, name: &str, text: &str, valid: bool) -> Definition {
        Definition { part, name: name.to_owned(), text: text.to_owned(), valid }
    }

    fn column(name: &str, not_null: bool) -> Column {
        Column {
            number: 1,
            name: name.to_owned(),
            own_name: name.to_owned(),
            type_oid: 23,
            declared: "integer".to_owned(),
            not_null,
            generated: None,
            expression: None,
            collation: 0,
            readable: true,
        }
    }

    fn codes(ours: Vec<Definition>, theirs: Vec<Definition>, columns: Sides<&[Column]>) -> Vec<String> {
        let table = QualifiedName::new("public", "t");
        let side = |definitions: Vec<Definition>| Definitions(Some([(1, definitions)].into()));
        let (ours, theirs) = (side(ours), side(theirs));
        let findings = compare(&table, Sides::new(&ours, &theirs), Sides::new(1, 1), columns);
        findings.into_iter().map(|finding| format!("{} {}", finding.code, finding.object)).collect()
    }

    #[test]
    fn what_is_lacking_is_named_and_another_name_is_none() {
        let a = [column("a", true)];
        let b = [column("a", false)];
        let check = definition(Part::Constraint, "positive", "CHECK ((a > 0))", true);
        let index = definition(Part::Index, "t_a_idx", "btree (a)", true);
        let default = definition(Part::Default, "a", "7", true);
        let ours = || vec![check.clone(), index.clone(), default.clone()];
        assert_eq!(codes(ours(), ours(), Sides::new(&a, &a)), Vec::<String>::new());
        assert_eq!(
            codes(ours(), Vec::new(), Sides::new(&a, &b)),
            [
                "constraint_missing public.t.positive",
                "index_missing public.t.t_a_idx",
                "default_missing public.t.a",
                "not_null_missing public.t.a"
            ]
        );
        let renamed = vec![
            definition(Part::Constraint, "other", "CHECK ((a > 0))", true),
            definition(Part::Index, "other", "btree (a)", true),
            default.clone(),
        ];
        assert_eq!(codes(ours(), renamed, Sides::new(&a, &a)), Vec::<String>::new());
        let broken = vec![
            definition(Part::Constraint, "positive", "CHECK ((a > 0)) NOT VALID", false),
            definition(Part::Index, "t_a_idx", "btree (a)", false),
            definition(Part::Default, "a", "8", true),
        ];
        assert_eq!(
            codes(ours(), broken, Sides::new(&a, &a)),
            ["constraint_not_valid public.t.positive", "index_invalid public.t.t_a_idx", "default_differs public.t.a"]
        );
        // A column that is not there, or generated, has no default to miss; what the subscriber has besides is its own.
        assert_eq!(codes(vec![default.clone()], Vec::new(), Sides::new(&a, &[])), Vec::<String>::new());
        assert_eq!(codes(Vec::new(), ours(), Sides::new(&a, &a)), Vec::<String>::new());
        let unknown = Definitions(None);
        let table = QualifiedName::new("public", "t");
        let told = compare(&table, Sides::new(&unknown, &unknown), Sides::new(1, 1), Sides::new(&a, &a));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].code, "not_described");
    }
}
