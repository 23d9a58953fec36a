//! Types and what they are made of.

use std::collections::{BTreeSet, HashMap};

use super::fields::Fields;
use super::model::{TypeFacts, TypeKind};
use super::queries;
use super::versions::Major;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::QualifiedName;

/// How deep types may nest (levels). Deeper ones are read as their output text: `has_send` is false for what lies below.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone)]
struct Row {
    name: QualifiedName,
    /// `pg_type.typtype`.
    kind: char,
    array: bool,
    element: u32,
    relation: u32,
    base: u32,
    send: bool,
    equality: bool,
    declared: String,
    base_declared: String,
    subtype: Option<u32>,
}

#[derive(Debug, Clone)]
struct Attribute {
    name: String,
    oid: u32,
    declared: String,
}

/// The types of one side.
#[derive(Debug, Default)]
pub(super) struct Types {
    rows: HashMap<u32, Row>,
    labels: HashMap<u32, Vec<String>>,
    attributes: HashMap<u32, Vec<Attribute>>,
}

impl Types {
    /// Reads some types and everything that they are made of.
    pub(super) async fn read(session: &Session, major: Major, seeds: &BTreeSet<u32>) -> Result<Self> {
        let mut types = Self::default();
        if seeds.is_empty() {
            return Ok(types);
        }
        for row in session.rows_simple(&queries::types(major, seeds.iter().copied())).await? {
            let mut fields = Fields::new("the types", row);
            let oid = fields.parse()?;
            let row = Row {
                name: QualifiedName::new(fields.text()?, fields.text()?),
                kind: fields.letter()?,
                array: fields.flag()?,
                element: fields.parse()?,
                relation: fields.parse()?,
                base: fields.parse()?,
                send: fields.flag()?,
                equality: fields.flag()?,
                declared: fields.text()?,
                base_declared: fields.text()?,
                subtype: fields.parse_optional()?,
            };
            types.rows.insert(oid, row);
        }
        let enums: Vec<u32> = types.rows.iter().filter(|(_, row)| row.kind == 'e').map(|(&oid, _)| oid).collect();
        if !enums.is_empty() {
            for row in session.rows_simple(&queries::enum_labels(enums)).await? {
                let mut fields = Fields::new("the enum labels", row);
                types.labels.entry(fields.parse()?).or_default().push(fields.text()?);
            }
        }
        let composites: Vec<u32> = types.rows.values().filter(|row| row.kind == 'c').map(|row| row.relation).collect();
        if !composites.is_empty() {
            for row in session.rows_simple(&queries::attributes(composites)).await? {
                let mut fields = Fields::new("the attributes of types", row);
                let relation = fields.parse()?;
                let attribute = Attribute { name: fields.text()?, oid: fields.parse()?, declared: fields.text()? };
                types.attributes.entry(relation).or_default().push(attribute);
            }
        }
        Ok(types)
    }

    /// A type as it was declared for a column.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Changed`] where the type is gone.
    pub(super) fn facts(&self, oid: u32, declared: &str) -> Result<TypeFacts> {
        self.nested(oid, Some(declared), 0)
    }

    fn nested(&self, oid: u32, declared: Option<&str>, depth: usize) -> Result<TypeFacts> {
        let gone =
            || Error::new(ErrorKind::Changed, format!("type {} is not there any longer", declared.unwrap_or("?")));
        let row = self.rows.get(&oid).ok_or_else(gone)?;
        let mut facts = TypeFacts {
            oid,
            name: row.name.clone(),
            declared: declared.unwrap_or(&row.declared).to_owned(),
            kind: TypeKind::Base,
            has_send: row.send,
            has_equality: row.equality,
        };
        if depth >= MAX_DEPTH {
            facts.has_send = false;
            return Ok(facts);
        }
        let part = |oid, declared| self.nested(oid, declared, depth + 1).map(Box::new);
        facts.kind = match row.kind {
            'd' => TypeKind::Domain(part(row.base, Some(&row.base_declared))?),
            'e' => TypeKind::Enum(self.labels.get(&oid).cloned().unwrap_or_default()),
            'c' => {
                let attributes = self.attributes.get(&row.relation).map(Vec::as_slice).unwrap_or_default();
                let parts = attributes.iter().map(|attribute| {
                    let facts = self.nested(attribute.oid, Some(&attribute.declared), depth + 1)?;
                    Ok((attribute.name.clone(), facts))
                });
                TypeKind::Composite(parts.collect::<Result<_>>()?)
            }
            'r' => TypeKind::Range(part(row.subtype.unwrap_or(0), None)?),
            'm' => TypeKind::Multirange(part(row.subtype.unwrap_or(0), None)?),
            'p' => TypeKind::Pseudo,
            _ if row.array => TypeKind::Array(part(row.element, None)?),
            'b' => TypeKind::Base,
            _ => {
                facts.has_send = false;
                TypeKind::Base
            }
        };
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, kind: char) -> Row {
        Row {
            name: QualifiedName::new("public", name),
            kind,
            array: false,
            element: 0,
            relation: 0,
            base: 0,
            send: true,
            equality: true,
            declared: format!("public.{name}"),
            base_declared: "-".to_owned(),
            subtype: None,
        }
    }

    #[test]
    fn types_are_built_from_their_parts() {
        let mut types = Types::default();
        types.rows.insert(1, row("mood", 'e'));
        types.labels.insert(1, vec!["sad".to_owned(), "happy".to_owned()]);
        types.rows.insert(2, Row { array: true, element: 1, ..row("_mood", 'b') });
        types.rows.insert(3, Row { base: 2, base_declared: "public.mood[]".to_owned(), ..row("moods", 'd') });
        let facts = types.facts(3, "public.moods").unwrap();
        let TypeKind::Domain(base) = &facts.kind else { panic!("{facts:?}") };
        assert_eq!(base.declared, "public.mood[]");
        let TypeKind::Array(element) = &base.kind else { panic!("{base:?}") };
        assert_eq!(element.kind, TypeKind::Enum(vec!["sad".to_owned(), "happy".to_owned()]));
        assert_eq!(facts.base().name.name, "_mood");
    }

    #[test]
    fn a_type_without_end_is_cut_and_one_that_is_gone_is_an_error() {
        let mut types = Types::default();
        types.rows.insert(1, Row { base: 1, ..row("ouroboros", 'd') });
        let facts = types.facts(1, "x").unwrap();
        assert!(!facts.base().has_send);
        assert_eq!(types.facts(9, "x").unwrap_err().kind(), ErrorKind::Changed);
        types.rows.insert(2, row("strange", '?'));
        assert!(!types.facts(2, "x").unwrap().has_send);
    }
}
