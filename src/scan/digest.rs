//! What a server makes of all rows of a table in one pass: sums of 64-bit hashes of rows, so that equal tables need not be
//! read.
//!
//! A hash function that a type brings for hash indexes answers equal values alike, but says nothing of values that differ:
//! those of `numeric` pass over the sign, those of `bigint` and of all times fold their halves (-1 and 4294967295 are one),
//! those of arrays pass over dimensions, those of jsonb over nesting, whatever the seed (`hash_numeric_extended`, numeric.c;
//! `hashint8extended`, hashfunc.c; `hash_array_extended`, arrayfuncs.c; `jsonb_hash_extended`, jsonb_op.c). So only functions
//! that hash every byte are used ([`HASHED`]); of other types the binary form is hashed ([`SENT`]) or the output text.
//!
//! Columns that are never NULL make a chain: the hash of one is the seed for the next. What may be NULL, or has to be sent, makes a
//! record, whose hash is the seed of the first: a server takes a third less time for a chain than for a record of the same. A NULL
//! where none can be would make the hash of its row NULL; such a row is hashed as a record of all its columns.
//!
//! The hash of a record is linear in those of its columns (`hash_record_extended`, rowtypes.c): two rows that swap a value
//! would sum up to the same. A link of a chain ends that, as its seed is mixed and not added (`hash_bytes_extended`, hashfn.c).
//! Where there is none, the hash goes through another one before it is summed, as a float8, because `hashint8extended`
//! would fold it to 32 bits: 53 bits of each sum tell two rows apart. Within a wide row it passes over more: it adds up the
//! hashes of columns times powers of 31, and a difference of such powers can be a multiple of a high power of two, so that
//! values which change places cancel whatever the seed. So the columns of a wide table make several records, whose hashes,
//! again as float8, are those of a record in turn.

use crate::catalog::{ServerFacts, TablePair, TypeFacts, TypeKind};
use crate::connect::Session;
use crate::error::{ErrorKind, Result};
use crate::plan::{Source, write_source};
use crate::row::{Canonical, Form, Shape};
use crate::side::{Side, Sides};
use crate::sql;

/// The first major with `hash_record_extended` (release notes of PostgreSQL 14).
const SINCE: u32 = 14;
/// Seeds of the record hash and of the hash of that, for each sum.
const SEEDS: [(i64, i64); 2] =
    [(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344), (0x2409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89)];
/// Columns that one record hash adds up. However two values change places among 16 columns, the difference is their own times
/// a number that is a multiple of 2^28 at most (all were tried). Among 256, as the Thue-Morse sequence has it, it is a multiple
/// of 2^64: there is no difference.
const RECORD_COLUMNS: usize = 16;

/// Stands first in a record that may be all NULL where a chain follows. The hash of such a record is 0 whatever its seed, and 0 as
/// the seed of a link is none (`hash_bytes_extended`, hashfn.c): all sums would add the same.
const SEEDED: &str = "1";
/// Links of a chain at most. Each is a level of nested calls, and a server's stack bears some hundreds of them
/// (`max_stack_depth`).
const LINKS_MAX: usize = 32;

/// Types whose own hash function takes in every byte of what makes two values different, and a few values of each, by which
/// two servers show that they hash alike. What their own equality passes over is passed over here too: the sign of a float's
/// zero, blanks at the end of a bpchar.
const HASHED: [(&str, &[&str]); 18] = [
    ("bool", &["t", "f"]),
    ("char", &["a", ""]),
    ("int2", &["1", "-32768"]),
    ("int4", &["1", "-2147483648"]),
    ("oid", &["1", "4294967295"]),
    ("float4", &["1.5", "-0", "NaN", "-Infinity"]),
    ("float8", &["0.1", "-0", "NaN", "-Infinity"]),
    ("date", &["2000-01-02", "-infinity"]),
    ("text", &["", "a", "a text of more than twelve bytes"]),
    ("varchar", &["", "a", "a text of more than twelve bytes"]),
    ("bpchar", &["", "a ", "a text of more than twelve bytes"]),
    ("name", &["", "a", "a text of more than twelve bytes"]),
    ("bytea", &["", "\\x00ff", "\\x000102030405060708090a0b0c0d0e0f"]),
    ("uuid", &["00010203-0405-0607-0809-0a0b0c0d0e0f"]),
    ("inet", &["192.0.2.1", "2001:db8::1/64"]),
    ("cidr", &["192.0.2.0/24", "2001:db8::/32"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
];

/// Types whose binary form is hashed, and the function that sends it: the cheap way to all of a value. (int8 is another one, where
/// it may be NULL.)
const SENT: [(&str, &str); 13] = [
    ("numeric", "numeric_send"),
    ("timestamp", "timestamp_send"),
    ("timestamptz", "timestamptz_send"),
    ("time", "time_send"),
    ("timetz", "timetz_send"),
    ("interval", "interval_send"),
    ("money", "cash_send"),
    ("json", "json_send"),
    ("jsonb", "jsonb_send"),
    ("bit", "bit_send"),
    ("varbit", "varbit_send"),
    ("pg_lsn", "pg_lsn_send"),
    ("xid8", "xid8send"),
];

/// Types of which a value can be a link of a chain, and the function that hashes it with a seed. Those of floats are not among
/// them: of a zero they give back the seed as it came (`hashfloat8extended`, hashfunc.c). That of int8 folds the halves of its
/// value, which takes a link for the upper half besides.
const LINKED: [(&str, &str); 14] = [
    ("char", "hashcharextended"),
    ("int2", "hashint2extended"),
    ("int4", "hashint4extended"),
    ("int8", "hashint8extended"),
    ("oid", "hashoidextended"),
    ("text", "hashtextextended"),
    ("varchar", "hashtextextended"),
    ("bpchar", "hashbpcharextended"),
    ("name", "hashnameextended"),
    ("uuid", "uuid_hash_extended"),
    ("inet", "hashinetextended"),
    ("cidr", "hashinetextended"),
    ("macaddr", "hashmacaddrextended"),
    ("macaddr8", "hashmacaddr8extended"),
];
/// Values of int8 by which two servers show that they hash alike.
const INT8_VALUES: &[&str] = &["1", "-1", "4294967296", "-9223372036854775808"];

/// How two servers hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hashing {
    /// Why they can digest no table, if that is so.
    unusable: Option<String>,
    /// The types that they hash otherwise.
    differing: Vec<&'static str>,
    /// Whether both databases write texts in the same encoding.
    same_encoding: bool,
}

/// The types whose hash is asked for, in the order of the answers.
fn probed() -> impl Iterator<Item = &'static str> {
    HASHED.into_iter().map(|(name, _)| name).chain(LINKED.map(|(name, _)| name))
}

/// A query for the hash of some values of each type, as a record and as a chain.
fn probe() -> String {
    let constant = |name: &str, value: &str| {
        let collation = if collatable(name) { " COLLATE pg_catalog.\"C\"" } else { "" };
        format!("{}::pg_catalog.{}{collation}", sql::literal(value), sql::identifier(name))
    };
    let records = HASHED.map(|(name, values)| {
        let values: Vec<_> = values.iter().map(|value| constant(name, value)).collect();
        format!("pg_catalog.hash_record_extended(ROW({}), {})", values.join(", "), SEEDS[0].0)
    });
    let chains = LINKED.map(|(name, function)| {
        let values = HASHED.iter().find(|(hashed, _)| *hashed == name).map_or(INT8_VALUES, |(_, values)| values);
        values.iter().fold(SEEDS[0].0.to_string(), |seed, value| link(function, &constant(name, value), &seed))
    });
    format!("SELECT {}", records.into_iter().chain(chains).collect::<Vec<_>>().join(", "))
}

/// The hash of a value with the hash of others as its seed.
fn link(function: &str, value: &str, seed: &str) -> String {
    format!("pg_catalog.{function}({value}, {seed})")
}

fn collatable(name: &str) -> bool {
    matches!(name, "text" | "varchar" | "bpchar" | "name")
}

/// Finds out how two servers hash, in sessions outside of any transaction.
///
/// # Errors
/// Where a session was lost.
pub(crate) async fn hashing(sessions: Sides<&Session>, facts: &Sides<ServerFacts>) -> Result<Hashing> {
    let mut hashing = Hashing {
        unusable: None,
        differing: Vec::new(),
        same_encoding: facts.publisher.encoding == facts.subscriber.encoding,
    };
    let mut answers = Sides::<Vec<Option<String>>>::default();
    for side in Side::BOTH {
        if facts.get(side).major() < SINCE {
            hashing.unusable = Some(format!(
                "the {side} is PostgreSQL {}, which cannot hash rows: that takes {SINCE}",
                facts.get(side).major()
            ));
            return Ok(hashing);
        }
        match sessions.get(side).row(&probe()).await {
            Ok(row) => *answers.get_mut(side) = row,
            Err(error) if matches!(error.kind(), ErrorKind::Lost | ErrorKind::Cancelled) => return Err(error),
            Err(error) => {
                hashing.unusable = Some(format!("the {side} does not hash rows: {error}"));
                return Ok(hashing);
            }
        }
    }
    let both = answers.publisher.iter().zip(&answers.subscriber);
    let differing = probed().zip(both).filter(|(_, (publisher, subscriber))| publisher != subscriber);
    hashing.differing = differing.map(|(name, _)| name).collect();
    if hashing.differing.contains(&"float8") {
        hashing.unusable = Some("the two servers hash float8 otherwise".to_owned());
    }
    Ok(hashing)
}

/// How a table is digested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    sums: usize,
    /// What of each compared column is hashed.
    columns: Sides<Vec<String>>,
    /// Of those the ones that make the record.
    recorded: Sides<Vec<String>>,
    /// The functions and values of the chain.
    links: Sides<Vec<(&'static str, String)>>,
}

impl Digest {
    /// Digests with so many bits: 64, or 128.
    ///
    /// # Errors
    /// Why the servers cannot digest the table, for people.
    pub(crate) fn new(pair: &TablePair, shape: &Shape, hashing: &Hashing, bits: u32) -> Result<Self, String> {
        if let Some(why) = &hashing.unusable {
            return Err(why.clone());
        }
        let mut digest = Self {
            sums: if bits > 64 { 2 } else { 1 },
            columns: Sides::default(),
            recorded: Sides::default(),
            links: Sides::default(),
        };
        let mut all_nullable = true;
        let select_lists = Sides::from_fn(|side| shape.select_list(side));
        for (number, (at, form)) in shape.columns().zip(shape.forms()).enumerate() {
            let Some(column) = pair.columns.get(at) else { continue };
            let hashed = Sides::from_fn(|side| {
                let expression = select_lists.get(side).get(number).cloned().unwrap_or_default();
                match form {
                    Form::Canonical(Canonical::Unscaled) => {
                        let unscaled = format!("pg_catalog.trim_scale({expression})");
                        value(column.types.get(side).base(), &unscaled, hashing)
                    }
                    Form::Verbatim | Form::Canonical(_) => value(column.types.get(side), &expression, hashing),
                    Form::Text | Form::TextFromLine | Form::Converted(_) => text(&expression, hashing),
                }
            });
            let links = digest.links.publisher.len() + hashed.publisher.links.len();
            let linked = column.not_null
                && !hashed.publisher.links.is_empty()
                && links <= LINKS_MAX
                && hashed.publisher.functions().eq(hashed.subscriber.functions());
            for side in Side::BOTH {
                let Hashed { value, through, links } = hashed.get(side);
                let through = if linked { links.iter().map(|link| link.through).collect() } else { vec![*through] };
                if let Some(differing) = through.into_iter().find(|name| hashing.differing.contains(name)) {
                    return Err(format!(
                        "the two servers hash {differing} otherwise, which column {} takes",
                        column.name
                    ));
                }
                digest.columns.get_mut(side).push(value.clone());
                all_nullable &= linked || !column.not_null;
                if linked {
                    digest.links.get_mut(side).extend(links.iter().map(|link| (link.function, link.value.clone())));
                } else {
                    digest.recorded.get_mut(side).push(value.clone());
                }
            }
        }
        if digest.columns.publisher.is_empty() {
            return Err("it has no column that can be compared".to_owned());
        }
        if all_nullable && !digest.recorded.publisher.is_empty() && !digest.links.publisher.is_empty() {
            for side in Side::BOTH {
                digest.recorded.get_mut(side).insert(0, SEEDED.to_owned());
            }
        }
        Ok(digest)
    }

    /// Bits of the digest.
    #[must_use]
    pub(crate) fn bits(&self) -> u32 {
        if self.sums > 1 { 128 } else { 64 }
    }

    /// A name that no column has, and numbers behind it.
    fn record(of: Source<'_>, at: usize) -> String {
        let mut name = "record".to_owned();
        while of.pair.columns.iter().any(|column| column.name_on(of.side).starts_with(&name)) {
            name.push('_');
        }
        sql::identifier(&format!("{name}{at}"))
    }

    /// The sums over what [`Digest::write_source`] stands for. A sum of bigints is numeric: it cannot overflow.
    pub(super) fn sums(&self, of: Source<'_>) -> Vec<String> {
        let shared = self.shared_records(of.side).len();
        let (recorded, links) = (self.recorded.get(of.side), self.links.get(of.side));
        let sum = |(at, (first, second)): (usize, &(i64, i64))| {
            let record = match shared.checked_sub(1) {
                Some(last) => Self::record(of, at.min(last)),
                None => row_of(recorded, *first),
            };
            let through_float =
                |record: &str| link("hashfloat8extended", &as_float(&record_hash(record, *first)), &second.to_string());
            if links.is_empty() {
                return format!("sum({})", through_float(&record));
            }
            let seed = if recorded.is_empty() { first.to_string() } else { record_hash(&record, *first) };
            let chain = links.iter().fold(seed, |seed, (function, value)| link(function, value, &seed));
            format!("sum(COALESCE({chain}, {}))", through_float(&row_of(self.columns.get(of.side), *first)))
        };
        SEEDS.iter().take(self.sums).enumerate().map(sum).collect()
    }

    /// The records that are not to be made for every sum anew: one for all, or, where many columns are recorded, one for each,
    /// because it is made of hashes that depend on the seed.
    fn shared_records(&self, side: Side) -> Vec<String> {
        let recorded = self.recorded.get(side);
        let records = match recorded.len() {
            0 => 0,
            _ if self.sums == 1 => 0,
            1..=RECORD_COLUMNS => 1,
            _ => self.sums,
        };
        SEEDS.iter().take(records).map(|(first, _)| row_of(recorded, *first)).collect()
    }

    /// Writes what stands behind FROM, behind what a statement has so far: the table with records that several sums hash.
    ///
    /// The outer join, which adds nothing and loses nothing, makes the planner compute each record once for each row and not
    /// once for each sum (a `PlaceHolderVar`, prepjointree.c); what is left is a scan, also by parallel workers.
    pub(super) fn write_source(&self, of: Source<'_>, statement: &mut String) {
        let records = self.shared_records(of.side);
        if records.is_empty() {
            return write_source(of, statement);
        }
        let names: Vec<_> = of.pair.columns.iter().map(|column| sql::identifier(column.name_on(of.side))).collect();
        let records = records.iter().zip(0..).map(|(record, at)| format!("{record} AS {}", Self::record(of, at)));
        let records = records.collect::<Vec<_>>().join(", ");
        statement.push_str(&format!("(SELECT {} FROM ", names.join(", ")));
        write_source(of, statement);
        statement.push_str(&format!(") AS rows_of_it LEFT JOIN LATERAL (SELECT {records}) AS of_each ON true"));
    }
}

/// A record of values; of many, a record of the hashes of records.
fn row_of(values: &[String], seed: i64) -> String {
    let row = |values: &[String]| format!("ROW({})", values.join(", "));
    if values.len() <= RECORD_COLUMNS {
        return row(values);
    }
    let hashes: Vec<_> =
        values.chunks(RECORD_COLUMNS).map(|values| as_float(&record_hash(&row(values), seed))).collect();
    row_of(&hashes, seed)
}

fn record_hash(record: &str, seed: i64) -> String {
    format!("pg_catalog.hash_record_extended({record}, {seed})")
}

/// A hash as a float8: bits that `hashfloat8extended` takes in, all of them.
fn as_float(hash: &str) -> String {
    format!("{hash}::pg_catalog.float8")
}

/// What is hashed of a column.
struct Hashed {
    /// In a record.
    value: String,
    /// The type of that.
    through: &'static str,
    /// In a chain; empty where it cannot be part of one.
    links: Vec<Link>,
}

/// A link of a chain.
struct Link {
    function: &'static str,
    value: String,
    /// The type of the value.
    through: &'static str,
}

impl Hashed {
    fn functions(&self) -> impl Iterator<Item = &'static str> {
        self.links.iter().map(|link| link.function)
    }

    fn recorded(value: String, through: &'static str) -> Self {
        Self { value, through, links: Vec::new() }
    }

    /// The same, which can be a link as it is.
    fn linked(value: String, through: &'static str) -> Self {
        let links = LINKED.iter().filter(|(name, _)| *name == through);
        let links = links.map(|(_, function)| Link { function, value: value.clone(), through }).collect();
        Self { value, through, links }
    }
}

/// What is hashed of a value of a type.
fn value(facts: &TypeFacts, expression: &str, hashing: &Hashing) -> Hashed {
    let base = facts.base();
    let value = match facts.kind {
        TypeKind::Domain(_) => format!("{expression}::{}", base.name.to_sql()),
        _ => expression.to_owned(),
    };
    let name = base.builtin().filter(|_| base.kind == TypeKind::Base);
    if let Some((name, _)) = HASHED.iter().find(|(hashed, _)| name == Some(hashed)) {
        return match *name {
            name if !collatable(name) => Hashed::linked(value, name),
            name if hashing.same_encoding => Hashed::linked(format!("({value}) COLLATE pg_catalog.\"C\""), name),
            _ => text(&value, hashing),
        };
    }
    if name == Some("int8") {
        let upper = format!("({value} OPERATOR(pg_catalog.>>) 32)::pg_catalog.int4");
        let mut hashed = Hashed::linked(value.clone(), "int8");
        hashed.links.extend(Hashed::linked(upper, "int4").links);
        return Hashed { value: format!("pg_catalog.int8send({value})"), through: "bytea", ..hashed };
    }
    if let Some((_, send)) = SENT.iter().find(|(sent, _)| name == Some(sent)) {
        return Hashed::recorded(format!("pg_catalog.{send}({value})"), "bytea");
    }
    if matches!(base.kind, TypeKind::Enum(_)) {
        // Its own hash is that of a number that each server gives to the label.
        return Hashed::recorded(format!("pg_catalog.enum_send({value})"), "bytea");
    }
    text(&sql::output_text(&value), hashing)
}

/// A text by its bytes, in whatever encoding both servers write it.
fn text(expression: &str, hashing: &Hashing) -> Hashed {
    if hashing.same_encoding {
        Hashed::recorded(format!("({expression}) COLLATE pg_catalog.\"C\""), "text")
    } else {
        Hashed::recorded(format!("pg_catalog.textsend(({expression})::pg_catalog.text)"), "bytea")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ColumnPair;
    use crate::row::testing::{builtin, column, facts, pair};

    fn hashing() -> Hashing {
        Hashing { unusable: None, differing: Vec::new(), same_encoding: true }
    }

    fn source(digest: &Digest, of: Source<'_>) -> String {
        let mut source = String::new();
        digest.write_source(of, &mut source);
        source
    }

    fn columns(types: &[&str], hashing: &Hashing) -> Result<Vec<String>, String> {
        let columns = types.iter().map(|name| column(&format!("C {name}"), &builtin(name))).collect();
        let pair = pair(columns, &[]);
        Digest::new(&pair, &Shape::new(&pair), hashing, 128).map(|digest| digest.columns.publisher)
    }

    #[test]
    fn every_byte_of_a_value_is_hashed() {
        let types = ["int4", "int8", "numeric", "text", "jsonb", "point"];
        assert_eq!(
            columns(&types, &hashing()).unwrap(),
            [
                "\"C int4\"",
                "pg_catalog.int8send(\"C int8\")",
                "pg_catalog.numeric_send(\"C numeric\")",
                "(\"C text\") COLLATE pg_catalog.\"C\"",
                "pg_catalog.jsonb_send(\"C jsonb\")",
                "(CASE WHEN \"C point\" IS NOT DISTINCT FROM NULL THEN NULL ELSE pg_catalog.format('%s', \"C point\") END) \
                 COLLATE pg_catalog.\"C\"",
            ]
        );
        // Texts of two encodings are hashed in one.
        let mixed = Hashing { same_encoding: false, ..hashing() };
        assert_eq!(columns(&["text"], &mixed).unwrap(), ["pg_catalog.textsend((\"C text\")::pg_catalog.text)"]);
    }

    #[test]
    fn forms_that_the_subscriber_cannot_keep_are_not_hashed() {
        let declared = |name: &str, modifier: &str| TypeFacts { declared: modifier.to_owned(), ..builtin(name) };
        let amount = |modifier: &str| {
            facts("public", "amount", TypeKind::Domain(Box::new(declared("numeric", &format!("numeric({modifier})")))))
        };
        let types = [
            Sides::new(declared("numeric", "numeric(10,2)"), declared("numeric", "numeric(12,4)")),
            Sides::new(amount("10,2"), amount("12,4")),
            Sides::new(declared("bpchar", "character(5)"), declared("bpchar", "character(10)")),
        ];
        let columns = types.map(|types| ColumnPair { types: types.clone(), ..column("c", &types.publisher) });
        let pair = pair(columns.to_vec(), &[]);
        let digest = Digest::new(&pair, &Shape::new(&pair), &hashing(), 128).unwrap();
        let unscaled = "pg_catalog.numeric_send(pg_catalog.trim_scale(\"c\"))";
        for side in Side::BOTH {
            let hashed = digest.columns.get(side);
            assert_eq!(hashed, &[unscaled, unscaled, "((\"c\")::pg_catalog.text) COLLATE pg_catalog.\"C\""]);
        }
    }

    #[test]
    fn what_two_servers_hash_otherwise_is_not_digested() {
        let differing = |name| Hashing { differing: vec![name], ..hashing() };
        assert!(columns(&["int4", "int8"], &differing("uuid")).is_ok());
        let why = columns(&["int4", "uuid"], &differing("uuid")).unwrap_err();
        assert_eq!(why, "the two servers hash uuid otherwise, which column C uuid takes");
        assert!(columns(&["int8"], &differing("bytea")).is_err());
        assert!(columns(&["int4"], &Hashing { unusable: Some("x".to_owned()), ..hashing() }).is_err());
        assert!(columns(&[], &hashing()).is_err());
    }

    #[test]
    fn the_columns_of_a_wide_table_make_several_records() {
        let sums = |columns: usize, bits: u32| {
            let columns = (0..columns).map(|at| column(&format!("c{at}"), &builtin("int4"))).collect();
            let pair = pair(columns, &[]);
            let digest = Digest::new(&pair, &Shape::new(&pair), &hashing(), bits).unwrap();
            let of = Source { pair: &pair, side: Side::Publisher, advance: None };
            (digest.sums(of), source(&digest, of))
        };
        let sum = |record: &str, (first, second)| {
            format!("sum(pg_catalog.hashfloat8extended({}, {second}))", as_float(&record_hash(record, first)))
        };
        // Up to 16 columns make one record for both sums.
        let (both, source) = sums(16, 128);
        assert_eq!(both, [sum("\"record0\"", SEEDS[0]), sum("\"record0\"", SEEDS[1])]);
        assert_eq!(source.matches("ROW(").count(), 1);
        let (both, source) = sums(17, 128);
        assert_eq!(both, [sum("\"record0\"", SEEDS[0]), sum("\"record1\"", SEEDS[1])]);
        let last = |seed| as_float(&record_hash("ROW(\"c16\")", seed));
        assert!(source.contains(&format!(", {}) AS \"record0\"", last(SEEDS[0].0))), "{source}");
        assert!(source.contains(&format!(", {}) AS \"record1\"", last(SEEDS[1].0))), "{source}");
        // 1600 columns are 100 records, which are seven, which are one.
        let (one, source) = sums(1600, 64);
        assert_eq!((one.len(), one[0].matches("ROW(").count()), (1, 108));
        assert_eq!(source, "ONLY \"public\".\"t\"");
    }

    fn required(name: &str, type_name: &str) -> ColumnPair {
        ColumnPair { not_null: true, ..column(name, &builtin(type_name)) }
    }

    fn sums(columns: Vec<ColumnPair>, bits: u32) -> Vec<String> {
        let pair = pair(columns, &[]);
        let digest = Digest::new(&pair, &Shape::new(&pair), &hashing(), bits).unwrap();
        digest.sums(Source { pair: &pair, side: Side::Subscriber, advance: None })
    }

    #[test]
    fn what_is_never_null_makes_a_chain_behind_the_record_of_the_rest() {
        let columns = vec![
            required("id", "int8"),
            required("n", "numeric"),
            required("t", "text"),
            column("o", &builtin("text")),
        ];
        let (first, second) = SEEDS[0];
        let text = |name: &str| format!("(\"{name}\") COLLATE pg_catalog.\"C\"");
        let chain = |record: &str| {
            let record = format!("pg_catalog.hash_record_extended({record}, {first})");
            let lower = format!("pg_catalog.hashint8extended(\"id\", {record})");
            let upper =
                format!("pg_catalog.hashint4extended((\"id\" OPERATOR(pg_catalog.>>) 32)::pg_catalog.int4, {lower})");
            format!("pg_catalog.hashtextextended({}, {upper})", text("t"))
        };
        let all =
            format!("ROW(pg_catalog.int8send(\"id\"), pg_catalog.numeric_send(\"n\"), {}, {})", text("t"), text("o"));
        let with_null = format!(
            "pg_catalog.hashfloat8extended(pg_catalog.hash_record_extended({all}, {first})::pg_catalog.float8, {second})"
        );
        let rest = format!("ROW(pg_catalog.numeric_send(\"n\"), {})", text("o"));
        assert_eq!(sums(columns.clone(), 64), [format!("sum(COALESCE({}, {with_null}))", chain(&rest))]);
        let both = sums(columns, 128);
        assert_eq!((both.len(), &both[0]), (2, &format!("sum(COALESCE({}, {with_null}))", chain("\"record0\""))));
        // Nothing is left for a record: the chain begins with the number itself.
        let alone = sums(vec![required("id", "int4")], 64);
        assert!(
            alone[0].starts_with(&format!("sum(COALESCE(pg_catalog.hashint4extended(\"id\", {first}), ")),
            "{alone:?}"
        );
    }

    #[test]
    fn a_record_that_may_be_all_null_depends_on_its_seed_all_the_same() {
        let sum = |columns: Vec<ColumnPair>| sums(columns, 64).remove(0);
        let text = "(\"o\") COLLATE pg_catalog.\"C\"";
        let nullable = sum(vec![required("id", "int4"), column("o", &builtin("text"))]);
        assert!(nullable.contains(&format!("(\"id\", pg_catalog.hash_record_extended(ROW(1, {text}), ")), "{nullable}");
        let never = sum(vec![required("id", "int4"), column("o", &builtin("text")), required("n", "numeric")]);
        let record = format!("ROW({text}, pg_catalog.numeric_send(\"n\"))");
        assert!(never.contains(&format!("(\"id\", pg_catalog.hash_record_extended({record}, ")), "{never}");
    }

    #[test]
    fn a_chain_ends_before_a_server_runs_out_of_stack() {
        let columns = (0..40).map(|at| required(&format!("c{at}"), "int8")).collect();
        let sum = &sums(columns, 64)[0];
        assert_eq!((sum.matches("hashint8extended").count(), sum.matches("hashint4extended").count()), (16, 16));
        assert!(sum.contains("ROW(pg_catalog.hash_record_extended(ROW(pg_catalog.int8send(\"c16\")"), "{sum}");
    }

    #[test]
    fn no_float_is_a_link() {
        for name in ["float4", "float8", "numeric", "timestamptz", "bool", "date", "bytea"] {
            let sum = &sums(vec![required("c", name)], 64)[0];
            assert!(sum.starts_with("sum(pg_catalog.hashfloat8extended(pg_catalog.hash_record_extended("), "{sum}");
        }
    }

    #[test]
    fn columns_that_are_compared_in_another_form_are_no_link() {
        let types = Sides::new(builtin("int4"), builtin("int8"));
        let mixed = ColumnPair { not_null: true, types, ..column("c", &builtin("int4")) };
        let sum = &sums(vec![mixed], 64)[0];
        assert!(sum.starts_with("sum(pg_catalog.hashfloat8extended("), "{sum}");
    }

    #[test]
    fn a_statement_names_no_column_of_the_table() {
        let pair = pair(vec![column("record", &builtin("int4")), column("record_", &builtin("int4"))], &[]);
        let digest = Digest::new(&pair, &Shape::new(&pair), &hashing(), 128).unwrap();
        let of = Source { pair: &pair, side: Side::Publisher, advance: None };
        assert_eq!(digest.bits(), 128);
        let source = source(&digest, of);
        assert!(
            source.ends_with("(SELECT ROW(\"record\", \"record_\") AS \"record__0\") AS of_each ON true"),
            "{source}"
        );
        assert_eq!(digest.sums(of).len(), 2);
    }
}
