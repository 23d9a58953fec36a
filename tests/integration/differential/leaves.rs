//! The types that are not made of others, and values of each: those that once broke something, and random ones.

use super::dice::Dice;

/// A type by its name.
pub(super) struct Leaf {
    /// The type as SQL.
    pub(super) sql: &'static str,
    /// Values as text.
    pub(super) values: &'static [&'static str],
    /// Makes another value.
    pub(super) random: Option<fn(&mut Dice) -> String>,
    /// Values that no text gives, as SQL expressions: they are on the publisher only until replication carries their text.
    pub(super) expressions: &'static [&'static str],
    /// Whether a default btree operator class orders it.
    pub(super) ordered: bool,
    /// Whether it can be part of a key here: its order tells apart what its text tells apart, or what we know to fold.
    pub(super) keyed: bool,
    /// What stands between its values in the text of an array (`typdelim`).
    pub(super) delimiter: char,
    /// The first major that has it, or these values of it.
    pub(super) since: u16,
}

const fn leaf(sql: &'static str, values: &'static [&'static str]) -> Leaf {
    Leaf { sql, values, random: None, expressions: &[], ordered: true, keyed: true, delimiter: ',', since: 0 }
}

const fn random(sql: &'static str, values: &'static [&'static str], random: fn(&mut Dice) -> String) -> Leaf {
    Leaf { random: Some(random), ..leaf(sql, values) }
}

const fn unordered(sql: &'static str, values: &'static [&'static str]) -> Leaf {
    Leaf { ordered: false, keyed: false, ..leaf(sql, values) }
}

const fn unkeyed(sql: &'static str, values: &'static [&'static str]) -> Leaf {
    Leaf { keyed: false, ..leaf(sql, values) }
}

const TEXTS: &[&str] = &[
    "", " ", "a", "A", "a ", "a|b", "b|c", "|", "12", "3", "1", "23", "NULL", "null", "{}", "()", "\\N", "ä", "Ä", "ß",
];
const NUMBERS: &[&str] = &[
    "0",
    "0.0",
    "1",
    "1.0",
    "1.00",
    "-1",
    "-1.50",
    "-1.5",
    "10000",
    "0.0001",
    "0.00010",
    "99999999999999999999.9",
    "NaN",
];
const JSONS: &[&str] = &[
    "null",
    "{}",
    "[]",
    "1",
    "1.0",
    "1.00",
    "\"1\"",
    "\"\"",
    r#"{"a": 1.50}"#,
    r#"{"a": 1.5}"#,
    r#"{"b": [null, true, 1e2], "a": {"a": "x\"y\\"}}"#,
    r#"["1.50", 1.50, {"1.0": 1.0}]"#,
    r#""ä\u0001""#,
];
const ANY_JSON: &[&str] = &["null", " {}", r#"{"a":1, "a":2}"#, "[ 1,2 ]", "1.0", "\"\\u00e4\"", r#"{"b":1,"a":2}"#];
const FLOATS: &[&str] = &[
    "0",
    "-0",
    "NaN",
    "Infinity",
    "-Infinity",
    "0.3",
    "0.30000000000000004",
    "5e-324",
    "1.7976931348623157e308",
    "1e15",
    "1e16",
];
const XMLS: &[&str] = &[
    "",
    "<a/>",
    "<a></a>",
    "text",
    "<?xml version=\"1.0\"?><a/>",
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a>ä</a>",
    "<?xml version=\"1.1\" standalone=\"yes\"?>\n<a/>",
];

/// Every leaf that a value can be made of by text.
pub(super) const LEAVES: &[Leaf] = &[
    leaf("boolean", &["t", "f"]),
    random("smallint", &["0", "1", "-1", "32767", "-32768"], |dice| (dice.bits() as i16).to_string()),
    random("integer", &["0", "1", "-1", "2147483647", "-2147483648"], |dice| (dice.bits() as i32).to_string()),
    random("bigint", &["0", "1", "-1", "9223372036854775807", "-9223372036854775808"], |dice| {
        (dice.bits() as i64 >> dice.below(64)).to_string()
    }),
    random("oid", &["0", "1", "4294967295"], |dice| (dice.bits() as u32).to_string()),
    Leaf {
        expressions: &["'Infinity'::float4 - 'Infinity'::float4", "-('NaN'::float4)"],
        ..random("real", &["0", "-0", "NaN", "Infinity", "-Infinity", "1e-45", "3.4028235e38", "0.1", "1e6"], |dice| {
            format!("{:e}", f32::from_bits(dice.bits() as u32)).replace("inf", "Infinity")
        })
    },
    Leaf {
        expressions: &["'Infinity'::float8 - 'Infinity'::float8", "-('NaN'::float8)"],
        ..random("double precision", FLOATS, |dice| {
            format!("{:e}", f64::from_bits(dice.bits())).replace("inf", "Infinity")
        })
    },
    random("numeric", NUMBERS, decimal),
    leaf(
        "numeric",
        &["Infinity", "-Infinity", "1e500", "-1e-500", "0e-300", "12345678901234567890.12345678901234567890"],
    ),
    leaf("numeric(12,3)", &["0", "1.5", "1.500", "-123456789.999", "NaN"]),
    leaf("money", &["0", "-1.50", "92233720368547758.07"]),
    random("text", TEXTS, text),
    random("text COLLATE \"C\"", TEXTS, text),
    random("text COLLATE \"und-x-icu\"", TEXTS, text),
    random("character varying(40)", TEXTS, text),
    leaf("character(5)", &["", "a", "a ", "A", "ab", "ä", "12345"]),
    leaf("name", &["", "a", "A", "ä b", "\"", "pg_catalog"]),
    leaf("\"char\"", &["", "a", " ", "\\", ","]),
    random("bytea", &["", "\\x00", "\\x0000", "\\xff", "\\x5c", "abc"], |dice| {
        (0..dice.below(9)).fold("\\x".to_owned(), |hex, _| format!("{hex}{:02x}", dice.below(256)))
    }),
    leaf("bit(5)", &["00000", "10101", "11111"]),
    leaf("bit varying", &["", "0", "00", "1", "101010101010101010101"]),
    leaf(
        "date",
        &["2024-02-29", "0001-01-01 BC", "4713-01-01 BC", "5874897-12-31", "infinity", "-infinity", "2000-01-01"],
    ),
    random("time", &["00:00", "24:00:00", "23:59:59.999999", "12:00"], clock),
    leaf("time(3)", &["00:00", "00:00:00.001", "12:34:56.789"]),
    leaf("timetz", &["00:00+00", "24:00:00-15:59:59", "12:00+02", "10:00+00", "23:59:59.999999+15:59"]),
    random(
        "timestamp",
        &["2024-01-01", "2024-01-01 00:00:00.000001", "infinity", "-infinity", "4713-01-01 BC"],
        moment,
    ),
    random(
        "timestamptz",
        &["2024-01-01 00:00+00", "2024-03-31 02:30 Europe/Berlin", "infinity", "294276-12-31 23:59+00"],
        moment,
    ),
    leaf(
        "interval",
        &["0", "1 month", "30 days", "-1 day +24:00:00", "1 mon -30 days", "178000000 years", "1 us", "24:00", "1 day"],
    ),
    random("uuid", &["00000000-0000-0000-0000-000000000000"], |dice| {
        format!("{:016x}{:016x}", dice.bits(), dice.bits())
    }),
    leaf("inet", &["1.2.3.4", "1.2.3.4/24", "1.2.3.0/24", "::1", "::ffff:1.2.3.4", "fe80::/10"]),
    leaf("cidr", &["1.2.3.4", "1.2.3.0/24", "::1", "fe80::/10"]),
    leaf("macaddr", &["00:00:00:00:00:00", "08:00:2b:01:02:03"]),
    leaf("macaddr8", &["00:00:00:00:00:00:00:00", "08:00:2b:01:02:03:04:05"]),
    unordered("json", ANY_JSON),
    leaf("jsonb", JSONS),
    unordered("jsonpath", &["$", "$.a[*] ? (@ > 1.50)", "strict $.\"ä\""]),
    Leaf {
        expressions: &[r"E'\n<a/>'::xml", r"E'\n\n<a/>'::xml", r#"E'<?xml version="1.0"?>\n\n<a/>'::xml"#],
        ..unordered("xml", XMLS)
    },
    leaf("tsvector", &["", "a", "'a b':1A,2 c:3", "b:2 a:1", "ä:16383D"]),
    unkeyed("tsquery", &["", "a", "a & (b & c)", "(a & b) & c", "!a | b <-> c:*A", "'a b'"]),
    Leaf {
        expressions: &["point('NaN'::float8, 'Infinity'::float8 - 'Infinity'::float8)"],
        ..unordered("point", &["(0,0)", "(-0,0)", "(1.5,NaN)", "(Infinity,-1e300)"])
    },
    unordered("line", &["{1,-1,0}", "{0,1,-0}", "(0,0),(1,2)"]),
    unordered("lseg", &["[(0,0),(1,1)]", "[(1,1),(0,0)]"]),
    Leaf { delimiter: ';', ..unordered("box", &["(0,0),(1,1)", "(1,1),(0,0)", "(1,0),(0,1)", "(NaN,1),(0,2)"]) },
    unordered("path", &["[(0,0),(1,1)]", "((0,0),(1,1))", "((-0,0))"]),
    unordered("polygon", &["((0,0),(1,1),(1,0))", "((0,0))"]),
    unordered("circle", &["<(0,0),1>", "<(0,0),0>", "<(1,NaN),Infinity>"]),
    leaf("int4range", &["empty", "(,)", "[1,5)", "[1,4]", "(,5]"]),
    leaf("int8range", &["empty", "(,)", "[1,5)", "[9223372036854775806,)"]),
    leaf("numrange", &["empty", "(,)", "[1,5)", "[1.0,5.00)", "[1,5]", "(NaN,)"]),
    leaf("tsrange", &["empty", "(,)", "[2024-01-01,2024-01-02)", "[2024-01-01,infinity]", "[2024-01-01,)"]),
    leaf("tstzrange", &["empty", "[2024-01-01 00:00+00,2024-01-02 00:00+00)", "(,infinity)"]),
    leaf("daterange", &["empty", "[2024-01-01,2024-01-02)", "[2024-01-01,2024-01-01]", "(,infinity)"]),
    leaf("int4multirange", &["{}", "{[1,2),[4,9)}", "{(,)}"]),
    leaf("nummultirange", &["{}", "{[1,2),[4,9)}", "{[1.0,2.0],(4,9.00]}"]),
    leaf("datemultirange", &["{}", "{[2024-01-01,2024-01-05),[2024-02-01,)}"]),
    leaf("pg_lsn", &["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"]),
    unordered("xid", &["0", "4294967295"]),
    leaf("xid8", &["0", "18446744073709551615"]),
    unordered("cid", &["0", "7"]),
    leaf("tid", &["(0,1)", "(4294967295,65535)"]),
    unordered("txid_snapshot", &["10:20:10,14,15", "1:1:"]),
    unordered("pg_snapshot", &["10:20:10,14,15", "1:1:"]),
    leaf("regclass", &["pg_class", "pg_catalog.pg_type", "0", "pg_toast.pg_toast_1255"]),
    leaf("regtype", &["integer", "text[]", "-"]),
    leaf("regproc", &["now", "-"]),
    leaf("regprocedure", &["lower(text)", "-"]),
    leaf("regnamespace", &["pg_catalog", "-"]),
    leaf("regrole", &["postgres", "-"]),
    leaf("regconfig", &["english", "simple"]),
    leaf("oidvector", &["", "1", "1 2 3"]),
    unordered("int2vector", &["", "1", "-1 2 3"]),
    unordered("aclitem", &["=r/postgres", "postgres=arwdDxt/postgres"]),
    unordered("refcursor", &["", "c"]),
    leaf("public.citext", &["", "a", "A", "ä", "Ä", "ab", "aB", "ß", "NULL"]),
    leaf("public.hstore", &["", "a=>1", "a=>NULL", "a=>\"NULL\"", "b=>2,a=>1", "\"a=>1\"=>\"\""]),
    leaf("public.ltree", &["", "a", "a.b", "A.b.c_1"]),
    unordered("public.lquery", &["a", "*.a{1,2}.!b", "a|b"]),
    unordered("public.ltxtquery", &["a", "a & !b", "a* | b@"]),
    Leaf {
        expressions: &[
            "public.cube_subset('(1,3),(1,8)'::public.cube, ARRAY[1])",
            "public.cube('Infinity'::float8 - 'Infinity'::float8)",
        ],
        ..unkeyed("public.cube", &["(0)", "(1)", "(1),(1)", "(1,2,3)", "(1,2),(3,4)", "(-0)", "()", "(0.1,0.2)"])
    },
    unkeyed("public.seg", &["1", "1.0", "1.00", "~1", "1 .. 2", "<1", "1 ..", ".. 2.50", "1.5(+-)0.5"]),
    leaf("public.ean13", &["978-0-393-04002-9", "220-500896501-8"]),
    leaf("public.isbn", &["0-393-04002-X"]),
    leaf("public.isbn13", &["978-0-393-04002-9"]),
    leaf("public.issn", &["1436-4522"]),
    leaf("public.upc", &["220500896501"]),
    unordered("public.query_int", &["1", "1&2", "1|(2&!3)"]),
    unkeyed("public.earth", &["(0,0,6378168)"]),
    unordered("public.lo", &["0", "7"]),
    leaf("public.float_range", &["empty", "(,)", "[0,-0]", "[1,NaN]", "[0.1,0.30000000000000004)"]),
    leaf("public.text_range", &["empty", "[a,b)", "[\"\",\"a \")", "[NULL,null)", "(,)"]),
    leaf("public.float_multirange", &["{}", "{[1,2),[3,NaN)}"]),
    leaf("public.citext_range", &["empty", "[a,b)", "[A,B)", "[a,B]"]),
    Leaf { since: 17, ..leaf("interval", &["infinity", "-infinity"]) },
];

/// What both databases need for them.
pub(super) const EXTENSIONS: &str = "
    CREATE EXTENSION citext SCHEMA public; CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION ltree SCHEMA public;
    CREATE EXTENSION cube SCHEMA public; CREATE EXTENSION seg SCHEMA public; CREATE EXTENSION isn SCHEMA public;
    CREATE EXTENSION intarray SCHEMA public; CREATE EXTENSION earthdistance SCHEMA public; CREATE EXTENSION lo SCHEMA public;
    CREATE TYPE public.float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
    CREATE TYPE public.text_range AS RANGE (subtype = text, collation = \"C\");
    CREATE TYPE public.citext_range AS RANGE (subtype = public.citext);";

/// Texts that someone's separator, quoting or escaping once broke on.
const PIECES: &[&str] = &[
    "a",
    "A",
    "b",
    " ",
    "ä",
    "Ä",
    "ß",
    "İ",
    "ﬀ",
    "e\u{301}",
    "\u{1f600}",
    "|",
    ",",
    ";",
    "\"",
    "'",
    "\\",
    "\\N",
    "NULL",
    "\t",
    "\n",
    "\r",
    "{",
    "}",
    "(",
    ")",
    "%s",
    "$1",
    "\u{1}",
    "\u{7f}",
    "\u{feff}",
    "0",
    "1",
    "--",
    "/*",
];

fn text(dice: &mut Dice) -> String {
    (0..dice.below(5)).map(|_| *dice.pick(PIECES)).collect()
}

fn decimal(dice: &mut Dice) -> String {
    let digits =
        |dice: &mut Dice| (0..dice.below(12)).map(|_| char::from(b'0' + dice.below(10) as u8)).collect::<String>();
    let sign = if dice.one_in(2) { "-" } else { "" };
    format!("{sign}{}0.{}0", digits(dice), digits(dice))
}

fn clock(dice: &mut Dice) -> String {
    format!("{:02}:{:02}:{:02}.{:06}", dice.below(24), dice.below(60), dice.below(60), dice.below(1_000_000))
}

fn moment(dice: &mut Dice) -> String {
    format!("{:04}-{:02}-{:02} {}", dice.between(1, 9999), dice.between(1, 12), dice.between(1, 28), clock(dice))
}
