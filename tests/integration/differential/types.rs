//! Types made of others, and values of any type as text.

use std::rc::Rc;

use super::dice::Dice;
use super::leaves::{LEAVES, Leaf};

/// How deep types nest.
const DEPTH_MAX: usize = 3;

/// Names that are hard to quote.
const ODD: &[&str] = &[
    "plain",
    "Mixed",
    "a b",
    "q\"uote",
    "select",
    "a.b",
    "ünï",
    "%s",
    "$1",
    "back\\slash",
    "v",
    "x",
    "r",
    "c",
    "_",
    "1st",
    "'",
    "NULL",
];

/// A type of a column.
#[derive(Clone)]
pub(super) enum Type {
    Leaf(&'static Leaf),
    Enum { name: String, labels: Vec<String> },
    Domain { name: String, base: Rc<Self> },
    Composite { name: String, attributes: Vec<Rc<Self>> },
    Array(Rc<Self>),
}

/// The types of a database.
#[derive(Default)]
pub(super) struct Types {
    made: Vec<Rc<Type>>,
    /// What creates them on the publisher.
    pub(super) publisher: String,
    /// The same on the subscriber: object identifiers and the order of labels are others.
    pub(super) subscriber: String,
}

/// A name that no other object has.
pub(super) fn odd_name(dice: &mut Dice, number: usize) -> String {
    format!("{}{number}", dice.pick(ODD))
}

pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Types {
    pub(super) fn new(dice: &mut Dice, count: usize, major: u16) -> Self {
        let mut types = Self::default();
        types.subscriber.push_str("CREATE TYPE public.shifts_oids AS (a integer, b text);");
        for number in 0..count {
            types.make(dice, number, major);
        }
        types
    }

    fn make(&mut self, dice: &mut Dice, number: usize, major: u16) {
        let name = odd_name(dice, number);
        let sql = format!("public.{}", identifier(&name));
        let (made, both) = match dice.below(3) {
            0 => {
                let mut labels: Vec<_> = (0..dice.between(1, 5)).map(|at| odd_name(dice, at)).collect();
                let list = |labels: &[String]| labels.iter().map(|label| literal(label)).collect::<Vec<_>>().join(", ");
                self.publisher.push_str(&format!("CREATE TYPE {sql} AS ENUM ({});", list(&labels)));
                let made = Type::Enum { name: sql.clone(), labels: labels.clone() };
                if dice.one_in(2) {
                    dice.shuffle(&mut labels);
                }
                self.subscriber.push_str(&format!("CREATE TYPE {sql} AS ENUM ({});", list(&labels)));
                (made, String::new())
            }
            1 => {
                let base = self.any(dice, 1, major);
                let create = format!("CREATE DOMAIN {sql} AS {};", base.sql());
                (Type::Domain { name: sql, base }, create)
            }
            _ => {
                let attributes: Vec<_> = (0..dice.between(1, 4)).map(|_| self.any(dice, 1, major)).collect();
                let list: Vec<_> = attributes
                    .iter()
                    .enumerate()
                    .map(|(at, attribute)| format!("{} {}", identifier(&odd_name(dice, at)), attribute.sql()))
                    .collect();
                let create = format!("CREATE TYPE {sql} AS ({});", list.join(", "));
                (Type::Composite { name: sql, attributes }, create)
            }
        };
        self.publisher.push_str(&both);
        self.subscriber.push_str(&both);
        self.made.push(Rc::new(made));
    }

    /// Any type.
    pub(super) fn any(&self, dice: &mut Dice, depth: usize, major: u16) -> Rc<Type> {
        match dice.below(10) {
            0..2 if !self.made.is_empty() => Rc::clone(dice.pick(&self.made)),
            2..4 if depth < DEPTH_MAX => {
                let element = self.any(dice, depth + 1, major);
                // Of these there are no arrays, or no arrays of arrays.
                match &*element {
                    Type::Array(_) => element,
                    Type::Leaf(leaf) if leaf.sql.contains("COLLATE") => element,
                    _ => Rc::new(Type::Array(element)),
                }
            }
            _ => loop {
                let leaf = dice.pick(LEAVES);
                if leaf.since <= major {
                    return Rc::new(Type::Leaf(leaf));
                }
            },
        }
    }
}

/// Types two values of which are equal only where their texts are.
const EXACT: &[&str] =
    &["boolean", "smallint", "integer", "bigint", "oid", "uuid", "date", "timestamp", "timestamptz", "text", "bytea"];

impl Type {
    /// The type as SQL.
    pub(super) fn sql(&self) -> String {
        match self {
            Self::Leaf(leaf) => leaf.sql.to_owned(),
            Self::Enum { name, .. } | Self::Domain { name, .. } | Self::Composite { name, .. } => name.clone(),
            Self::Array(element) => format!("{}[]", element.sql()),
        }
    }

    /// Whether a default btree operator class orders it.
    pub(super) fn ordered(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.ordered,
            Self::Enum { .. } => true,
            Self::Domain { base, .. } => base.ordered(),
            Self::Composite { attributes, .. } => attributes.iter().all(|attribute| attribute.ordered()),
            Self::Array(element) => element.ordered(),
        }
    }

    /// Whether its equality is that of its text.
    pub(super) fn exact(&self) -> bool {
        match self {
            Self::Leaf(leaf) => EXACT.contains(&leaf.sql),
            Self::Enum { .. } => true,
            Self::Domain { base, .. } => base.exact(),
            Self::Composite { attributes, .. } => attributes.iter().all(|attribute| attribute.exact()),
            Self::Array(element) => element.exact(),
        }
    }

    /// Whether it can be part of a key here.
    pub(super) fn keyed(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.keyed,
            Self::Enum { .. } => true,
            Self::Domain { base, .. } => base.keyed(),
            Self::Composite { attributes, .. } => attributes.iter().all(|attribute| attribute.keyed()),
            Self::Array(element) => element.keyed(),
        }
    }

    fn delimiter(&self) -> char {
        match self {
            Self::Leaf(leaf) => leaf.delimiter,
            Self::Domain { base, .. } => base.delimiter(),
            Self::Enum { .. } | Self::Composite { .. } | Self::Array(_) => ',',
        }
    }

    /// A value as SQL; no NULL.
    pub(super) fn value(&self, dice: &mut Dice) -> String {
        match self {
            Self::Leaf(leaf) if !leaf.expressions.is_empty() && dice.one_in(6) => {
                (*dice.pick(leaf.expressions)).to_owned()
            }
            _ => literal(&self.text(dice)),
        }
    }

    /// A value as its input function reads it.
    pub(super) fn text(&self, dice: &mut Dice) -> String {
        match self {
            Self::Leaf(leaf) => match leaf.random {
                Some(random) if dice.one_in(2) => random(dice),
                _ => (*dice.pick(leaf.values)).to_owned(),
            },
            Self::Enum { labels, .. } => dice.pick(labels).clone(),
            Self::Domain { base, .. } => base.text(dice),
            Self::Composite { attributes, .. } => {
                let fields: Vec<_> = attributes
                    .iter()
                    .map(|attribute| match dice.below(5) {
                        0 => String::new(),
                        _ => format!("\"{}\"", attribute.text(dice).replace('\\', "\\\\").replace('"', "\"\"")),
                    })
                    .collect();
                format!("({})", fields.join(","))
            }
            Self::Array(element) => array(element, dice),
        }
    }
}

fn array(element: &Type, dice: &mut Dice) -> String {
    let item = |dice: &mut Dice| match dice.below(5) {
        0 => "NULL".to_owned(),
        _ => format!("\"{}\"", element.text(dice).replace('\\', "\\\\").replace('"', "\\\"")),
    };
    let delimiter = element.delimiter().to_string();
    let list = |dice: &mut Dice, length: usize| {
        let items: Vec<_> = (0..length).map(|_| item(dice)).collect();
        format!("{{{}}}", items.join(&delimiter))
    };
    match dice.below(8) {
        0 => "{}".to_owned(),
        1 => {
            let (rows, columns) = (dice.between(1, 2), dice.between(1, 2));
            let lists: Vec<_> = (0..rows).map(|_| list(dice, columns)).collect();
            format!("{{{}}}", lists.join(&delimiter))
        }
        2 => {
            let length = dice.between(1, 3);
            let from = *dice.pick(&[-1, 0, 2]);
            format!("[{from}:{}]={}", from + i64::try_from(length).expect("small") - 1, list(dice, length))
        }
        _ => {
            let length = dice.between(1, 3);
            list(dice, length)
        }
    }
}
