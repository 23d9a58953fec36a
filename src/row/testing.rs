//! What the tests of this module share: bytes as text, tuples and streams by hand, type facts.

use crate::catalog::{CollationFacts, ColumnPair, Key, KeySource, Relation, TablePair, TypeFacts, TypeKind};
use crate::side::Sides;
use crate::sql::QualifiedName;

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16).expect("hex")).expect("hex")).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) fn tuple(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = u16::try_from(fields.len()).expect("few").to_be_bytes().to_vec();
    for field in fields {
        match field {
            Some(field) => {
                bytes.extend_from_slice(&u32::try_from(field.len()).expect("short").to_be_bytes());
                bytes.extend_from_slice(field);
            }
            None => bytes.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
    bytes
}

pub(crate) fn stream(tuples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(tuples.concat());
    bytes.extend_from_slice(&[0xff, 0xff]);
    bytes
}

pub(crate) fn facts(schema: &str, name: &str, kind: TypeKind) -> TypeFacts {
    TypeFacts {
        oid: 0,
        name: QualifiedName::new(schema, name),
        declared: name.to_owned(),
        kind,
        has_send: true,
        has_equality: true,
    }
}

pub(crate) fn builtin(name: &str) -> TypeFacts {
    facts("pg_catalog", name, TypeKind::Base)
}

/// A collation that sorts by bytes, or one that does not.
pub(crate) fn collation(bytewise: bool) -> CollationFacts {
    CollationFacts { name: "collation".to_owned(), bytewise, deterministic: true, stale: None }
}

/// A column of the same type on both sides; texts with a bytewise collation.
pub(crate) fn column(name: &str, facts: &TypeFacts) -> ColumnPair {
    let collations = Sides::from_fn(|_| {
        facts.builtin().filter(|name| ["text", "varchar", "bpchar", "name"].contains(name)).map(|_| collation(true))
    });
    ColumnPair {
        name: name.to_owned(),
        subscriber_name: None,
        types: Sides::new(facts.clone(), facts.clone()),
        collations,
        time_zone: None,
        computed: None,
        generated: Sides::new(false, false),
        not_null: false,
    }
}

/// A table pair with these columns, of which some are the key.
pub(crate) fn pair(columns: Vec<ColumnPair>, key: &[usize]) -> TablePair {
    let name = QualifiedName::new("public", "t");
    let relation = Relation {
        oid: 1,
        name: name.clone(),
        partitioned: false,
        heaps: Vec::new(),
        filter: None,
        key_index: true,
        rows_estimate: 0,
        bytes: 0,
    };
    TablePair {
        name,
        subscription: None,
        relations: Sides::new(relation.clone(), relation),
        columns,
        key: Key { columns: key.to_vec(), source: KeySource::PrimaryKey },
        unsent_identity: Vec::new(),
        not_implied: None,
        reservations: Vec::new(),
    }
}
