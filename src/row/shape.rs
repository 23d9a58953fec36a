//! What is asked for of a table's columns, and in which form: decided once per table pair, the same for both sides.

use super::canonical::{Canonical, Canonicalizer};
use super::conversion::{self, Expression};
use super::copy::CopyReader;
use super::key::{KeyForm, KeyKind, Labels};
use super::modifier;
use crate::catalog::{CollationFacts, ColumnPair, TablePair, TypeFacts, TypeKind};
use crate::side::{Side, Sides};
use crate::sql;

/// Built-in types whose binary form does not mean the same on both servers although the text does.
///
/// The reg* types are sent as object identifiers, which are each cluster's own. A tsquery is sent as a tree, whose
/// association (`a & (b & c)`) its text does not show, so that it does not survive replication (`tsqueryout`, tsquery.c).
const AS_TEXT: [&str; 12] = [
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "tsquery",
];

/// Types of extensions whose binary form is known to say what the text says. Of others it is not: a cube keeps whether it was
/// made as a point, and any type may hold a NaN of other bits. What replication keeps of a value is its text.
const KNOWN_EXTENSION_TYPES: [&str; 3] = ["citext", "hstore", "ltree"];

/// The form in which a column's values are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// The binary form as sent.
    Verbatim,
    /// The binary form, normalised.
    Canonical(Canonical),
    /// The text of the output function.
    Text,
    /// The text of the output function without the newlines that it begins with.
    ///
    /// That is for xml: its output function leaves out the XML declaration and one newline behind it or at the beginning
    /// (`xml_out_internal`, xml.c), so that a value loses one more whenever it is replicated. Inside of arrays and composites
    /// such a newline shows as a difference.
    TextFromLine,
    /// Texts of one type, of columns that have different ones.
    Converted(Sides<Expression>),
}

/// A proof: comparing the normal forms of keys as bytes is comparing the keys as the default btree order of their types
/// does, on both servers. Only [`Shape::new`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOrder(());

/// What is read of a table, and how it becomes row images and keys.
#[derive(Debug, Clone)]
pub struct Shape {
    columns: Vec<Column>,
    key: KeyForm,
    key_len: usize,
    order: Option<KeyOrder>,
    uncomparable: Vec<(usize, String)>,
}

#[derive(Debug, Clone)]
struct Column {
    /// Position in [`TablePair::columns`].
    position: usize,
    names: Sides<String>,
    form: Form,
}

impl Shape {
    /// Decides the form of each column. A column that cannot be compared is left out and listed; if it is part of the key,
    /// the shape has no key.
    #[must_use]
    pub fn new(pair: &TablePair) -> Self {
        let mut uncomparable = Vec::new();
        let mut forms: Vec<Option<Form>> = Vec::with_capacity(pair.columns.len());
        for (position, column) in pair.columns.iter().enumerate() {
            match Form::new(column) {
                Ok(form) => forms.push(Some(form)),
                Err(mut reason) => {
                    if pair.key.columns.contains(&position) {
                        reason.push_str("; it is part of the key, so rows are compared without a key");
                    }
                    uncomparable.push((position, reason));
                    forms.push(None);
                }
            }
        }

        let key: Option<Vec<_>> = pair
            .key
            .columns
            .iter()
            .map(|&position| {
                let column = pair.columns.get(position)?;
                let (kind, ordered) = key_kind(column, forms.get(position)?.as_ref()?);
                Some((position, kind, ordered))
            })
            .collect();
        let key = key.unwrap_or_default();
        let order = (!key.is_empty() && key.iter().all(|(_, _, ordered)| *ordered)).then_some(KeyOrder(()));
        let positions: Vec<_> = key.iter().map(|(position, _, _)| *position).collect();

        let others = (0..pair.columns.len()).filter(|position| !positions.contains(position));
        let columns = positions
            .iter()
            .copied()
            .chain(others)
            .filter_map(|position| {
                let form = forms.get(position)?.clone()?;
                let names =
                    Sides::from_fn(|side| pair.columns.get(position).map(|column| column.name_on(side).to_owned()));
                Some(Column { position, names: Sides::new(names.publisher?, names.subscriber?), form })
            })
            .collect();
        Self {
            columns,
            key_len: key.len(),
            key: KeyForm::new(key.into_iter().map(|(_, kind, _)| kind).collect()),
            order,
            uncomparable,
        }
    }

    /// The expressions to select on a side, in order: the key columns in key order, then the other compared columns in the
    /// publisher's order. They refer to the columns of the only table of the query.
    #[must_use]
    pub fn select_list(&self, side: Side) -> Vec<String> {
        self.columns
            .iter()
            .map(|column| {
                let name = sql::identifier(column.names.get(side));
                match &column.form {
                    Form::Converted(expressions) => expressions.get(side).sql(&name),
                    Form::Verbatim | Form::Canonical(_) => name,
                    Form::Text => sql::output_text(&name),
                    Form::TextFromLine => {
                        format!("pg_catalog.ltrim({}, {})", sql::output_text(&name), sql::literal("\n"))
                    }
                }
            })
            .collect()
    }

    /// The selected columns as positions in [`TablePair::columns`], in the order of the select list.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = usize> {
        self.columns.iter().map(|column| column.position)
    }

    /// The forms of the selected columns, in the order of the select list.
    pub fn forms(&self) -> impl ExactSizeIterator<Item = &Form> {
        self.columns.iter().map(|column| &column.form)
    }

    /// How many of the selected columns, the first ones, are the key; 0 if nothing identifies a row.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.key_len
    }

    /// How keys are brought to their normal form.
    #[must_use]
    pub fn key_form(&self) -> &KeyForm {
        &self.key
    }

    /// Whether normal forms sort as keys do on both servers; `None` where that is not proven or there is no key.
    #[must_use]
    pub fn order(&self) -> Option<KeyOrder> {
        self.order
    }

    /// The columns that cannot be compared, as positions in [`TablePair::columns`], and why, for people.
    #[must_use]
    pub fn uncomparable(&self) -> &[(usize, String)] {
        &self.uncomparable
    }

    /// A reader of a COPY of the select list.
    #[must_use]
    pub fn copy_reader(&self) -> CopyReader {
        CopyReader::new(self.columns.len())
    }

    /// Makes row images of the tuples of such a COPY.
    #[must_use]
    pub fn canonicalizer(&self) -> Canonicalizer {
        let columns = self.forms().map(|form| match form {
            Form::Canonical(canonical) => Some(canonical.clone()),
            Form::Verbatim | Form::Text | Form::TextFromLine | Form::Converted(_) => None,
        });
        Canonicalizer::new(columns)
    }
}

impl Form {
    /// The form of a column, or why there is none.
    fn new(column: &ColumnPair) -> Result<Self, String> {
        let Sides { publisher, subscriber } = &column.types;
        if same(publisher, subscriber) {
            return Ok(if publisher.builtin() == Some("xml") {
                Self::TextFromLine
            } else if text_only(publisher) || text_only(subscriber) {
                Self::Text
            } else if let Some(form) = modifier::form(publisher, subscriber) {
                form
            } else {
                canonical(publisher).map_or(Self::Verbatim, Self::Canonical)
            });
        }
        match conversion::between(publisher, subscriber, column.time_zone.as_deref()) {
            Some(Sides { publisher: Expression::Text, subscriber: Expression::Text }) => Ok(Self::Text),
            Some(expressions) => Ok(Self::Converted(expressions)),
            None if publisher.declared == subscriber.declared => {
                Err(format!("column {}: type {} is made otherwise on the subscriber", column.name, publisher.declared))
            }
            None => Err(format!(
                "column {}: {} on the publisher cannot be compared with {} on the subscriber",
                column.name, publisher.declared, subscriber.declared
            )),
        }
    }
}

/// Whether values of both types have the same binary form where they are equal, but for what is normalised.
fn same(left: &TypeFacts, right: &TypeFacts) -> bool {
    let (left, right) = (left.base(), right.base());
    match (&left.kind, &right.kind) {
        (TypeKind::Array(left), TypeKind::Array(right)) => same(left, right),
        // The label is sent, not its position.
        (TypeKind::Base, TypeKind::Base) | (TypeKind::Enum(_), TypeKind::Enum(_)) => left.name == right.name,
        (TypeKind::Composite(ours), TypeKind::Composite(theirs)) => {
            left.name == right.name
                && ours.len() == theirs.len()
                // Values go by position, so that an attribute in another place holds what is meant for another one.
                && !ours.iter().enumerate().any(|(at, (name, _))| {
                    theirs.iter().position(|(other, _)| other == name).is_some_and(|other| other != at)
                })
                && ours.iter().zip(theirs).all(|((_, ours), (_, theirs))| same(ours, theirs))
        }
        (TypeKind::Range(ours), TypeKind::Range(theirs))
        | (TypeKind::Multirange(ours), TypeKind::Multirange(theirs)) => left.name == right.name && same(ours, theirs),
        _ => false,
    }
}

/// Whether only the text of a value can be had, or be compared.
fn text_only(facts: &TypeFacts) -> bool {
    let base = facts.base();
    if !base.has_send || base.builtin().is_some_and(|name| AS_TEXT.contains(&name)) {
        return true;
    }
    match &base.kind {
        TypeKind::Base if base.builtin().is_none() => !KNOWN_EXTENSION_TYPES.contains(&base.name.name.as_str()),
        TypeKind::Array(inner) | TypeKind::Range(inner) | TypeKind::Multirange(inner) => text_only(inner),
        TypeKind::Composite(attributes) => attributes.iter().any(|(_, attribute)| text_only(attribute)),
        // `base` is no domain.
        TypeKind::Base | TypeKind::Enum(_) | TypeKind::Domain(_) | TypeKind::Pseudo => false,
    }
}

/// What must be normalised in the binary form of a type; `None` for nothing.
fn canonical(facts: &TypeFacts) -> Option<Canonical> {
    let base = facts.base();
    match &base.kind {
        TypeKind::Array(element) => Some(Canonical::Array(canonical(element).map(Box::new))),
        TypeKind::Composite(attributes) => {
            Some(Canonical::Record(attributes.iter().map(|(_, attribute)| canonical(attribute)).collect()))
        }
        TypeKind::Range(bound) => canonical(bound).map(Box::new).map(Canonical::Range),
        TypeKind::Multirange(bound) => canonical(bound).map(Box::new).map(Canonical::Multirange),
        TypeKind::Base => match base.builtin()? {
            "float4" => Some(Canonical::Float4),
            "float8" => Some(Canonical::Float8),
            "point" | "lseg" | "box" | "line" | "circle" => Some(Canonical::Floats { header: 0 }),
            // The number of points; for a path, whether it is closed before that (`path_send`, geo_ops.c).
            "polygon" => Some(Canonical::Floats { header: 4 }),
            "path" => Some(Canonical::Floats { header: 5 }),
            _ => None,
        },
        TypeKind::Enum(_) | TypeKind::Domain(_) | TypeKind::Pseudo => None,
    }
}

/// How the values of a key column are brought to their normal form, and whether that sorts as both servers do.
fn key_kind(column: &ColumnPair, form: &Form) -> (KeyKind, bool) {
    if matches!(form, Form::Text | Form::TextFromLine | Form::Converted(_)) {
        return (KeyKind::Bytes, false);
    }
    let bytewise = |collation: &Option<CollationFacts>| collation.as_ref().is_some_and(|facts| facts.bytewise);
    let bytewise = bytewise(&column.collations.publisher) && bytewise(&column.collations.subscriber);
    let mut kind = value_kind(&column.types.publisher, &column.types.subscriber);
    let folds = |collation: &Option<CollationFacts>| collation.as_ref().is_some_and(|facts| !facts.deterministic);
    if kind == KeyKind::Bytes && (folds(&column.collations.publisher) || folds(&column.collations.subscriber)) {
        // Case is what such collations mostly pass over. Where they tell case apart, a few keys share a form, no more.
        kind = KeyKind::Folded;
    }
    let ordered = match &kind {
        // Of these the collations decide, but for bytea, which has none.
        KeyKind::Bytes => column.types.publisher.builtin() == Some("bytea") || bytewise,
        KeyKind::Padded => bytewise,
        KeyKind::Folded
        | KeyKind::Jsonb
        | KeyKind::Array(_)
        | KeyKind::Record(_)
        | KeyKind::Range(_)
        | KeyKind::Multirange(_)
        | KeyKind::Raw => false,
        KeyKind::Plain(_)
        | KeyKind::Signed(_)
        | KeyKind::Float4
        | KeyKind::Float8
        | KeyKind::Numeric
        | KeyKind::Interval
        | KeyKind::TimeTz
        | KeyKind::Enum(_) => true,
    };
    (kind, ordered)
}

/// How values of a type that is the [same] on both sides are brought to their normal form.
fn value_kind(publisher: &TypeFacts, subscriber: &TypeFacts) -> KeyKind {
    let (publisher, subscriber) = (publisher.base(), subscriber.base());
    match (&publisher.kind, &subscriber.kind) {
        (TypeKind::Enum(labels), TypeKind::Enum(others)) if labels == others => KeyKind::Enum(Labels::new(labels)),
        (TypeKind::Enum(_), TypeKind::Enum(_)) => KeyKind::Bytes,
        (TypeKind::Array(one), TypeKind::Array(other)) => KeyKind::Array(Box::new(value_kind(one, other))),
        (TypeKind::Composite(ours), TypeKind::Composite(theirs)) => {
            KeyKind::Record(ours.iter().zip(theirs).map(|((_, one), (_, other))| value_kind(one, other)).collect())
        }
        (TypeKind::Range(one), TypeKind::Range(other)) => KeyKind::Range(Box::new(value_kind(one, other))),
        (TypeKind::Multirange(one), TypeKind::Multirange(other)) => {
            KeyKind::Multirange(Box::new(value_kind(one, other)))
        }
        _ => base_kind(publisher),
    }
}

fn base_kind(base: &TypeFacts) -> KeyKind {
    match base.builtin() {
        Some("bool" | "char") => KeyKind::Plain(1),
        Some("oid") => KeyKind::Plain(4),
        Some("macaddr") => KeyKind::Plain(6),
        Some("macaddr8" | "pg_lsn" | "xid8") => KeyKind::Plain(8),
        Some("uuid") => KeyKind::Plain(16),
        Some("int2") => KeyKind::Signed(2),
        Some("int4" | "date") => KeyKind::Signed(4),
        Some("int8" | "time" | "timestamp" | "timestamptz" | "money") => KeyKind::Signed(8),
        Some("float4") => KeyKind::Float4,
        Some("float8") => KeyKind::Float8,
        Some("numeric") => KeyKind::Numeric,
        Some("interval") => KeyKind::Interval,
        Some("timetz") => KeyKind::TimeTz,
        Some("bytea" | "text" | "varchar" | "name") => KeyKind::Bytes,
        Some("bpchar") => KeyKind::Padded,
        Some("jsonb") => KeyKind::Jsonb,
        None if base.name.name == "citext" => KeyKind::Folded,
        _ => KeyKind::Raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::testing::{builtin, collation, column, facts, pair};

    fn array(element: TypeFacts) -> TypeFacts {
        facts("pg_catalog", "_", TypeKind::Array(Box::new(element)))
    }

    fn columns(publisher: &TypeFacts, subscriber: &TypeFacts) -> ColumnPair {
        ColumnPair { types: Sides::new(publisher.clone(), subscriber.clone()), ..column("c", publisher) }
    }

    fn form(publisher: &TypeFacts, subscriber: &TypeFacts) -> Result<Form, String> {
        Form::new(&columns(publisher, subscriber))
    }

    fn labels(labels: &[&str]) -> TypeFacts {
        facts("public", "mood", TypeKind::Enum(labels.iter().map(|&label| label.to_owned()).collect()))
    }

    fn composite(attributes: &[(&str, TypeFacts)]) -> TypeFacts {
        let attributes = attributes.iter().map(|(name, facts)| ((*name).to_owned(), facts.clone())).collect();
        facts("public", "composite", TypeKind::Composite(attributes))
    }

    #[test]
    fn what_has_no_sound_binary_form_is_text() {
        let item = TypeFacts { has_send: false, ..builtin("aclitem") };
        let domain = facts("public", "d", TypeKind::Domain(Box::new(builtin("regclass"))));
        for facts in [
            item.clone(),
            array(item.clone()),
            domain.clone(),
            array(domain.clone()),
            composite(&[("a", array(domain))]),
            facts("public", "r", TypeKind::Range(Box::new(item))),
            array(builtin("tsquery")),
        ] {
            assert_eq!(form(&facts, &facts), Ok(Form::Text), "{facts:?}");
        }
        assert_eq!(form(&builtin("ltree"), &TypeFacts { has_send: false, ..builtin("ltree") }), Ok(Form::Text));
        assert_eq!(form(&builtin("oid"), &builtin("oid")), Ok(Form::Verbatim));
        // A type of the user's that happens to have that name.
        let named = |name: &str| facts("public", name, TypeKind::Base);
        assert_eq!(form(&named("regclass"), &named("regclass")), Ok(Form::Text));
        // Types of extensions: what is not known is compared by its text.
        assert_eq!(form(&named("cube"), &named("cube")), Ok(Form::Text));
        assert_eq!(form(&array(named("geometry")), &array(named("geometry"))), Ok(Form::Text));
        assert_eq!(form(&named("citext"), &named("citext")), Ok(Form::Verbatim));
        assert_eq!(form(&builtin("xml"), &builtin("xml")), Ok(Form::TextFromLine));
    }

    #[test]
    fn differing_types_are_compared_only_where_nothing_is_lost() {
        let domain = facts("public", "d", TypeKind::Domain(Box::new(builtin("int8"))));
        assert_eq!(form(&builtin("int4"), &builtin("int8")), Ok(Form::Text));
        assert_eq!(form(&builtin("int2"), &domain), Ok(Form::Text));
        assert_eq!(form(&builtin("int8"), &domain), Ok(Form::Verbatim));
        assert_eq!(form(&builtin("varchar"), &builtin("text")), Ok(Form::Text));
        assert_eq!(form(&builtin("name"), &builtin("text")), Ok(Form::Text));
        for (publisher, subscriber) in [
            (builtin("timestamp"), builtin("timestamptz")),
            (builtin("int4"), array(builtin("int4"))),
            (facts("public", "text", TypeKind::Base), builtin("text")),
            (facts("pg_catalog", "record", TypeKind::Pseudo), facts("pg_catalog", "record", TypeKind::Pseudo)),
            (composite(&[("a", builtin("int4"))]), composite(&[("a", builtin("int8"))])),
            (composite(&[("a", builtin("int4"))]), composite(&[])),
            (
                composite(&[("a", builtin("int4")), ("b", builtin("int4"))]),
                composite(&[("b", builtin("int4")), ("a", builtin("int4"))]),
            ),
        ] {
            assert!(form(&publisher, &subscriber).is_err(), "{publisher:?} {subscriber:?}");
        }
        assert_eq!(
            form(&composite(&[("a", builtin("int4"))]), &composite(&[("b", builtin("int4"))])),
            Ok(Form::Canonical(Canonical::Record(vec![None])))
        );
        assert_eq!(form(&labels(&["a", "b"]), &labels(&["b", "a"])), Ok(Form::Verbatim));
    }

    #[test]
    fn an_order_takes_proof_on_both_sides() {
        let ordered = |columns: Vec<ColumnPair>| {
            let key: Vec<_> = (0..columns.len()).collect();
            Shape::new(&pair(columns, &key)).order().is_some()
        };
        let text = column("t", &builtin("text"));
        assert!(ordered(vec![text.clone(), column("i", &builtin("int4"))]));
        for side in crate::side::Side::BOTH {
            for facts in [Some(collation(false)), None] {
                let mut other = text.clone();
                *other.collations.get_mut(side) = facts;
                assert!(!ordered(vec![column("i", &builtin("int4")), other]));
            }
        }
        assert!(!ordered(vec![columns(&builtin("int4"), &builtin("int8"))]));
        assert!(!ordered(vec![columns(&labels(&["a", "b"]), &labels(&["b", "a"]))]));
        assert!(ordered(vec![columns(&labels(&["a", "b"]), &labels(&["a", "b"]))]));
        assert!(!ordered(vec![column("j", &builtin("jsonb"))]));
        assert!(!ordered(vec![column("a", &array(builtin("int4")))]));
        assert!(!ordered(vec![column("c", &facts("public", "citext", TypeKind::Base))]));
        assert!(!ordered(vec![]));
    }

    #[test]
    fn key_columns_come_first_and_uncomparable_ones_not_at_all() {
        let int = builtin("int4");
        let odd = ColumnPair { name: "odd".to_owned(), ..columns(&builtin("int4"), &builtin("bool")) };
        let all = vec![column("a", &int), odd, column("b \"", &int), column("c", &builtin("regclass"))];
        let shape = Shape::new(&pair(all.clone(), &[2, 0]));
        assert_eq!(shape.columns().collect::<Vec<_>>(), [2, 0, 3]);
        assert_eq!(shape.select_list(Side::Subscriber)[..2], ["\"b \"\"\"".to_owned(), "\"a\"".to_owned()]);
        assert_eq!(shape.select_list(Side::Subscriber)[2], sql::output_text("\"c\""));
        assert_eq!((shape.key_len(), shape.order().is_some()), (2, true));
        let [(1, reason)] = shape.uncomparable() else { panic!("one column") };
        assert_eq!(reason, "column odd: int4 on the publisher cannot be compared with bool on the subscriber");

        let keyless = Shape::new(&pair(all, &[0, 1]));
        assert_eq!(keyless.columns().collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!((keyless.key_len(), keyless.order()), (0, None));
        assert!(keyless.uncomparable()[0].1.ends_with("without a key"));

        let nothing = Shape::new(&pair(Vec::new(), &[]));
        assert!(nothing.select_list(Side::Publisher).is_empty());
        assert_eq!(nothing.canonicalizer().row(&[0, 0]).expect("valid").image(), [0, 0]);
    }
}
