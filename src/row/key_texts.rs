//! Keys in normal form as texts again, to look their rows up.

use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime, date};

use super::SketchKey;
use super::fields::take_chunk;
use super::shape::{Form, Shape};
use crate::catalog::TablePair;
use crate::side::Sides;

/// How a key column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Int2,
    Int4,
    Int8,
    Oid,
    Uuid,
    Date,
    /// With or without time zone: in UTC, which is the zone of every session.
    Timestamp,
    /// Text of a deterministic collation; character(n), whose trailing spaces mean nothing.
    Text,
}

/// A key that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenKey {
    /// The key in normal form.
    pub normal_form: Vec<u8>,
    /// The text of each of its columns, in key order.
    pub texts: Vec<String>,
}

/// Writes the keys of a table as the input functions of their types read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTexts(Vec<Writing>);

impl KeyTexts {
    /// `None` for a table without a key, or with a key column of another type than these: int2, int4, int8, oid, uuid, date,
    /// timestamp, timestamptz, text, varchar, bpchar.
    #[must_use]
    pub fn new(pair: &TablePair, shape: &Shape) -> Option<Self> {
        let key = shape.columns().zip(shape.forms()).take(shape.key_len());
        let writings: Option<Vec<_>> = key
            .map(|(at, form)| {
                let column = pair.columns.get(at)?;
                let Sides { publisher, subscriber } = &column.collations;
                let deterministic = publisher.iter().chain(subscriber).all(|facts| facts.deterministic);
                let writing = match column.types.publisher.builtin()? {
                    "int2" => Writing::Int2,
                    "int4" => Writing::Int4,
                    "int8" => Writing::Int8,
                    "oid" => Writing::Oid,
                    "uuid" => Writing::Uuid,
                    "date" => Writing::Date,
                    "timestamp" | "timestamptz" => Writing::Timestamp,
                    "text" | "varchar" | "bpchar" if deterministic => Writing::Text,
                    _ => return None,
                };
                // Of other forms the normal form is that of a text.
                (*form == Form::Verbatim).then_some(writing)
            })
            .collect();
        writings.filter(|writings| !writings.is_empty()).map(Self)
    }

    /// Writes a key. `None` where that is no key of the table, or has a column that is NULL or outside of the years 1 to 9999.
    #[must_use]
    pub fn write(&self, key: &SketchKey) -> Option<WrittenKey> {
        let padded = key.padded();
        let mut rest = padded.as_slice();
        let texts = self.0.iter().map(|writing| {
            let [0] = *take_chunk(&mut rest).ok()? else { return None };
            writing.take(&mut rest)
        });
        let texts = texts.collect::<Option<Vec<_>>>()?;
        let normal_form = padded.get(..padded.len() - rest.len())?.to_vec();
        rest.iter().all(|byte| *byte == 0).then_some(WrittenKey { normal_form, texts })
    }
}

impl Writing {
    fn take(self, rest: &mut &[u8]) -> Option<String> {
        match self {
            Self::Int2 => Some((i16::from_be_bytes(*take_chunk(rest).ok()?) ^ i16::MIN).to_string()),
            Self::Int4 => Some((i32::from_be_bytes(*take_chunk(rest).ok()?) ^ i32::MIN).to_string()),
            Self::Int8 => Some((i64::from_be_bytes(*take_chunk(rest).ok()?) ^ i64::MIN).to_string()),
            Self::Oid => Some(u32::from_be_bytes(*take_chunk(rest).ok()?).to_string()),
            Self::Uuid => Some(format!("{:032x}", u128::from_be_bytes(*take_chunk(rest).ok()?))),
            Self::Date => day(i32::from_be_bytes(*take_chunk(rest).ok()?) ^ i32::MIN),
            Self::Timestamp => moment(i64::from_be_bytes(*take_chunk(rest).ok()?) ^ i64::MIN),
            Self::Text => {
                // A text has no zero: the first one is its end.
                let end = rest.iter().position(|byte| *byte == 0)?;
                let (text, behind) = rest.split_at_checked(end)?;
                *rest = behind;
                let [0, 0] = *take_chunk(rest).ok()? else { return None };
                String::from_utf8(text.to_vec()).ok()
            }
        }
    }
}

/// The day that both types count from (`POSTGRES_EPOCH_JDATE`, timestamp.h).
const EPOCH: Date = date(2000, 1, 1);

fn day(days: i32) -> Option<String> {
    let day = match days {
        i32::MAX => return Some("infinity".to_owned()),
        i32::MIN => return Some("-infinity".to_owned()),
        days => EPOCH.checked_add(i64::from(days).days()).ok()?,
    };
    (day.year() > 0).then(|| day.to_string())
}

fn moment(microseconds: i64) -> Option<String> {
    let moment: DateTime = match microseconds {
        i64::MAX => return Some("infinity".to_owned()),
        i64::MIN => return Some("-infinity".to_owned()),
        microseconds => EPOCH.at(0, 0, 0, 0).checked_add(jiff::SignedDuration::from_micros(microseconds)).ok()?,
    };
    (moment.year() > 0).then(|| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;
    use crate::row::testing::{builtin, column, pair, tuple};

    fn texts(columns: &[(&str, &[u8])]) -> Option<Vec<String>> {
        let all = columns.iter().map(|(type_name, _)| column(type_name, &builtin(type_name))).collect();
        let pair = pair(all, &(0..columns.len()).collect::<Vec<_>>());
        let shape = Shape::new(&pair);
        let image = tuple(&columns.iter().map(|(_, field)| Some(*field)).collect::<Vec<_>>());
        let mut encoded = Vec::new();
        shape.key_form().encode(&Row::new(&image), &mut encoded).expect("valid");
        let written = KeyTexts::new(&pair, &shape)?.write(&SketchKey::new(&encoded)?)?;
        assert_eq!(written.normal_form, encoded);
        Some(written.texts)
    }

    #[test]
    fn keys_are_written_as_their_types_read_them() {
        let one = |type_name, field: &[u8]| texts(&[(type_name, field)]).map(|texts| texts.concat());
        for number in [0, 1, -1, 7_000_000_000, i64::MIN, i64::MAX] {
            assert_eq!(one("int8", &number.to_be_bytes()), Some(number.to_string()));
        }
        assert_eq!(one("int4", &(-5i32).to_be_bytes()).as_deref(), Some("-5"));
        assert_eq!(one("int2", &i16::MIN.to_be_bytes()).as_deref(), Some("-32768"));
        assert_eq!(one("oid", &u32::MAX.to_be_bytes()).as_deref(), Some("4294967295"));
        assert_eq!(one("uuid", &7u128.to_be_bytes()).as_deref(), Some("00000000000000000000000000000007"));
        assert_eq!(one("date", &8832i32.to_be_bytes()).as_deref(), Some("2024-03-07"));
        assert_eq!(one("date", &(-1i32).to_be_bytes()).as_deref(), Some("1999-12-31"));
        assert_eq!(one("date", &i32::MAX.to_be_bytes()).as_deref(), Some("infinity"));
        assert_eq!(one("date", &(-730_119i32).to_be_bytes()).as_deref(), Some("0001-01-01"));
        assert_eq!(one("date", &(-730_120i32).to_be_bytes()), None);
        assert_eq!(one("date", &5_000_000i32.to_be_bytes()), None);
        assert_eq!(one("timestamp", &1_000_001i64.to_be_bytes()).as_deref(), Some("2000-01-01T00:00:01.000001"));
        assert_eq!(one("timestamptz", &(-1i64).to_be_bytes()).as_deref(), Some("1999-12-31T23:59:59.999999"));
        assert_eq!(one("timestamptz", &i64::MIN.to_be_bytes()).as_deref(), Some("-infinity"));
        assert_eq!(one("timestamptz", &(i64::MAX - 1).to_be_bytes()), None);
        assert_eq!(one("text", "it's\u{e4}".as_bytes()).as_deref(), Some("it's\u{e4}"));
        assert_eq!(one("text", b"").as_deref(), Some(""));
        assert_eq!(one("text", &[0xff]), None);
        assert_eq!(one("text", &[b'x'; 38]), None, "does not fit");
        assert_eq!(one("bpchar", b"ab  ").as_deref(), Some("ab"));
        assert_eq!(one("bytea", b"ab"), None);
        assert_eq!(one("float8", &1f64.to_be_bytes()), None);
    }

    #[test]
    fn composite_keys_are_written_column_by_column() {
        let columns: [(&str, &[u8]); 3] = [("int4", &[0, 0, 0, 5]), ("text", b"a"), ("int2", &[0, 0])];
        assert_eq!(texts(&columns), Some(["5", "a", "0"].map(str::to_owned).to_vec()));
        assert_eq!(texts(&[("text", b""), ("text", b"")]), Some(vec![String::new(); 2]));
    }

    #[test]
    fn no_bytes_panic_and_nulls_are_no_text() {
        let texts = KeyTexts(vec![Writing::Text, Writing::Int4]);
        let write = |bytes: &[u8]| texts.write(&SketchKey::new(bytes).unwrap()).map(|written| written.texts);
        assert_eq!(write(&[1; 40]), None);
        assert_eq!(write(&[0; 40]), Some(vec![String::new(), i32::MIN.to_string()]));
        assert_eq!(write(&[&[0], [b'x'; 39].as_slice()].concat()), None);
    }

    #[test]
    fn what_is_not_the_same_on_both_sides_has_no_texts() {
        let mut other = pair(vec![column("id", &builtin("int4"))], &[0]);
        other.columns[0].types.subscriber = builtin("int8");
        assert_eq!(KeyTexts::new(&other, &Shape::new(&other)), None);
        let mut folded = pair(vec![column("id", &builtin("text"))], &[0]);
        folded.columns[0].collations.subscriber.as_mut().unwrap().deterministic = false;
        assert_eq!(KeyTexts::new(&folded, &Shape::new(&folded)), None);
        let keyless = pair(vec![column("id", &builtin("int4"))], &[]);
        assert_eq!(KeyTexts::new(&keyless, &Shape::new(&keyless)), None);
    }
}
