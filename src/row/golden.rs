//! What encoding version 1 is, frozen: bytes that PostgreSQL 15 sent, and what becomes of them. A test that fails here means
//! that digests can no longer be compared with those of earlier releases: that takes another `ENCODING_VERSION`.

use super::testing::{builtin, column, facts, hex, pair, unhex};
use super::{ENCODING_VERSION, RowDigest, Shape, Tally};
use crate::catalog::{TypeFacts, TypeKind};

fn mood() -> TypeFacts {
    facts("public", "mood", TypeKind::Enum(["sad", "ok", "happy"].map(str::to_owned).to_vec()))
}

fn array(element: TypeFacts) -> TypeFacts {
    facts("pg_catalog", "_", TypeKind::Array(Box::new(element)))
}

fn pair_type() -> TypeFacts {
    let attributes = [("a", builtin("int4")), ("b", builtin("float8")), ("c", mood()), ("d", builtin("text"))];
    facts("public", "pair", TypeKind::Composite(attributes.map(|(name, facts)| (name.to_owned(), facts)).to_vec()))
}

fn frange() -> TypeFacts {
    facts("public", "frange", TypeKind::Range(Box::new(builtin("float8"))))
}

fn fmultirange() -> TypeFacts {
    facts("public", "fmultirange", TypeKind::Multirange(Box::new(builtin("float8"))))
}

fn nest() -> TypeFacts {
    let attributes = [("p", pair_type()), ("arr", array(builtin("float8"))), ("r", frange())];
    facts("public", "nest", TypeKind::Composite(attributes.map(|(name, facts)| (name.to_owned(), facts)).to_vec()))
}

fn domain(base: TypeFacts) -> TypeFacts {
    facts("public", "domain", TypeKind::Domain(Box::new(base)))
}

/// A tuple of one field and its image.
fn image(facts: &TypeFacts, tuple: &str) -> String {
    let shape = Shape::new(&pair(vec![column("v", facts)], &[]));
    hex(shape.canonicalizer().row(&unhex(tuple)).expect("valid").image())
}

#[test]
fn values_of_a_server_become_these_images() {
    for (facts, sent, expected) in [
        // array['sad','happy',null]::mood[]
        (
            array(mood()),
            "000100000028000000010000000100004001000000030000000100000003736164000000056861707079ffffffff",
            "000100000028000000010000000000000000000000030000000100000003736164000000056861707079ffffffff",
        ),
        // '{}'::mood[]
        (array(mood()), "00010000000c000000000000000000004001", "00010000000c000000000000000000000000"),
        // ('{1,NULL}'::int[])[1:1], which keeps a bitmap of NULLs, and '{1}'::int[], which has none
        (
            array(builtin("int4")),
            "00010000001c00000001000000010000001700000001000000010000000400000001",
            "00010000001c00000001000000000000000000000001000000010000000400000001",
        ),
        (
            array(builtin("int4")),
            "00010000001c00000001000000000000001700000001000000010000000400000001",
            "00010000001c00000001000000000000000000000001000000010000000400000001",
        ),
        // '[2:3][0:1]={{1,2},{3,4}}'::int[]
        (
            array(builtin("int4")),
            "00010000003c000000020000000000000017000000020000000200000002000000000000000400000001000000040000000200000004000000030000000400000004",
            "00010000003c000000020000000000000000000000020000000200000002000000000000000400000001000000040000000200000004000000030000000400000004",
        ),
        // array[1::posint]
        (
            array(domain(builtin("int4"))),
            "00010000001c00000001000000000000400b00000001000000010000000400000001",
            "00010000001c00000001000000000000000000000001000000010000000400000001",
        ),
        // row(1,'NaN','ok','x')::pair
        (
            pair_type(),
            "00010000003300000004000000170000000400000001000002bd000000087ff800000000000000004001000000026f6b000000190000000178",
            "000100000033000000040000000000000004000000010000000000000008\
             7ff800000000000000000000000000026f6b000000000000000178",
        ),
        // array[row(1,-'NaN'::float8,'ok','x')::pair]
        (
            domain(array(pair_type())),
            "00010000004b00000001000000000000400900000001000000010000003300000004000000170000000400000001000002bd00000008fff800000000000000004001000000026f6b000000190000000178",
            "00010000004b000000010000000000000000000000010000000100000033000000040000000000000004000000010000000000000008\
             7ff800000000000000000000000000026f6b000000000000000178",
        ),
        // row(row(1,'NaN','ok','x')::pair, array['NaN',1.5]::float8[], frange(1.5,'NaN'))::nest
        (
            nest(),
            "00010000009400000003000040090000003300000004000000170000000400000001000002bd000000087ff800000000000000004001000000026f6b000000190000000178000003fe0000002c0000000100000000000002bd0000000200000001000000087ff8000000000000000000083ff8000000000000000040100000001902000000083ff8000000000000000000087ff8000000000000",
            "0001000000940000000300000000000000330000000400000000000000040000000100000000000000087ff800000000000000000000000000026f6b000000000000000178000000000000002c000000010000000000000000000000020000000100000008\
             7ff8000000000000000000083ff8000000000000000000000000001902000000083ff8000000000000000000087ff8000000000000",
        ),
        // int4range(1,10), 'empty', '{[1,3),[5,8)}'::int4multirange: nothing to normalise
        (
            facts("pg_catalog", "int4range", TypeKind::Range(Box::new(builtin("int4")))),
            "000100000011020000000400000001000000040000000a",
            "000100000011020000000400000001000000040000000a",
        ),
        (
            facts("pg_catalog", "int4multirange", TypeKind::Multirange(Box::new(builtin("int4")))),
            "00010000002e00000002000000110200000004000000010000000400000003000000110200000004000000050000000400000008",
            "00010000002e00000002000000110200000004000000010000000400000003000000110200000004000000050000000400000008",
        ),
        // frange(-'NaN'::float8,null), 'empty'
        (frange(), "00010000000d1200000008fff8000000000000", "00010000000d12000000087ff8000000000000"),
        (frange(), "00010000000101", "00010000000101"),
        // '{[1,-NaN]}', '{}'
        (
            fmultirange(),
            "000100000021000000010000001906000000083ff000000000000000000008fff8000000000000",
            "000100000021000000010000001906000000083ff0000000000000000000087ff8000000000000",
        ),
        (fmultirange(), "00010000000400000000", "00010000000400000000"),
        // point(1,-'NaN'::float8)
        (
            builtin("point"),
            "0001000000103ff0000000000000fff8000000000000",
            "0001000000103ff00000000000007ff8000000000000",
        ),
        // '[(1,2),(3,4)]'::path and '((1,2),(3,4),(5,NaN))'::polygon with the sign of NaN turned
        (
            builtin("path"),
            "00010000002500000000023ff0000000000000400000000000000040080000000000004010000000000000",
            "00010000002500000000023ff0000000000000400000000000000040080000000000004010000000000000",
        ),
        (
            builtin("polygon"),
            "000100000034000000033ff00000000000004000000000000000400800000000000040100000000000004014000000000000fff8000000000000",
            "000100000034000000033ff000000000000040000000000000004008000000000000401000000000000040140000000000007ff8000000000000",
        ),
        // array[null,-'NaN']::float4[]
        (
            array(builtin("float4")),
            "0001000000200000000100000001000002bc0000000200000001ffffffff00000004ffc00000",
            "0001000000200000000100000000000000000000000200000001ffffffff000000047fc00000",
        ),
        // '-0'::float8, 1.50::numeric
        (builtin("float8"), "0001000000088000000000000000", "0001000000088000000000000000"),
        (builtin("numeric"), "00010000000c000200000000000200011388", "00010000000c000200000000000200011388"),
        (builtin("float4"), "0001ffffffff", "0001ffffffff"),
    ] {
        assert_eq!(image(&facts, sent), expected, "{facts:?}");
    }
}

/// Three rows of `(id bigint, at timestamptz, price numeric, ratio float8, moods mood[], pair pair, span frange, spans
/// fmultirange, place point, class regclass, note text)`, key `(id, at)`:
///
/// ```text
/// 1, '2024-02-29 12:00:00.000001+00', 1.50, -'NaN', {sad,NULL}, (1,NaN,ok,x), [1.5,NaN], {[1,2),[3,NaN)}, (NaN,-NaN), pg_class, 'é'
/// -2, 'infinity', 'NaN', -0, {}, (,-NaN,,), empty, {}, NULL, NULL, ''
/// 3, '-infinity', -10000.0001, '-Infinity', ('{ok,NULL}'::mood[])[1:1], NULL, (,), {(,)}, (1,-0), 0::regclass, NULL
/// ```
const STREAM: &str = "\
    5047434f50590aff0d0a000000000000000000000b000000080000000000000001000000080002b582c47810010000000c0002000000000002000113\
    8800000008fff80000000000000000001f000000010000000100004001000000020000000100000003736164ffffffff000000330000000400000017\
    0000000400000001000002bd000000087ff800000000000000004001000000026f6b0000001900000001780000001906000000083ff8000000000000\
    000000087ff80000000000000000003e000000020000001902000000083ff00000000000000000000840000000000000000000001902000000084008\
    000000000000000000087ff8000000000000000000107ff8000000000000fff80000000000000000000870675f636c61737300000002c3a9000b0000\
    0008fffffffffffffffe000000087fffffffffffffff0000000800000000c00000000000000880000000000000000000000c00000000000000000000\
    40010000002c0000000400000017ffffffff000002bd00000008fff800000000000000004001ffffffff00000019ffffffff00000001010000000400\
    000000ffffffffffffffff00000000000b0000000800000000000000030000000880000000000000000000000e000300014000000400010000000100\
    000008fff00000000000000000001a0000000100000001000040010000000100000001000000026f6bffffffff000000011800000009000000010000\
    000118000000103ff00000000000008000000000000000000000012dffffffffffff";

#[test]
fn a_stream_of_a_server_becomes_these_images_keys_digests_and_tally() {
    let columns =
        vec![column("note", &builtin("text")), column("id", &builtin("int8")), column("at", &builtin("timestamptz"))];
    let pair = pair(
        [
            ("price", builtin("numeric")),
            ("ratio", builtin("float8")),
            ("moods", array(mood())),
            ("pair", pair_type()),
            ("span", frange()),
            ("spans", fmultirange()),
            ("place", builtin("point")),
            ("class", builtin("regclass")),
        ]
        .iter()
        .map(|(name, facts)| column(name, facts))
        .chain(columns)
        .collect(),
        &[9, 10],
    );
    let shape = Shape::new(&pair);
    assert_eq!(shape.key_len(), 2);
    assert!(shape.order().is_some());
    assert_eq!(
        shape.select_list(crate::side::Side::Publisher).join(", "),
        "\"id\", \"at\", \"price\", \"ratio\", \"moods\", \"pair\", \"span\", \"spans\", \"place\", \
         CASE WHEN \"class\" IS NOT DISTINCT FROM NULL THEN NULL ELSE pg_catalog.format('%s', \"class\") END, \"note\""
    );

    let mut reader = shape.copy_reader();
    let mut canonicalizer = shape.canonicalizer();
    let mut tally = Tally::default();
    let mut seen = Vec::new();
    reader
        .feed(&unhex(STREAM), |tuple| {
            let row = canonicalizer.row(tuple)?;
            let mut key = Vec::new();
            shape.key_form().encode(&row, &mut key)?;
            let digest = RowDigest::of(row.image());
            tally.add(&digest);
            seen.push((hex(row.image()), hex(&key), digest.to_string()));
            Ok(())
        })
        .expect("valid");
    reader.finish().expect("complete");

    assert_eq!(ENCODING_VERSION, 1);
    let expected = [GOLDEN_1, GOLDEN_2, GOLDEN_3];
    for ((image, key, digest), expected) in seen.iter().zip(expected) {
        assert_eq!((image.as_str(), key.as_str(), digest.as_str()), expected);
    }
    assert_eq!(seen.len(), 3);
    assert_eq!(tally.rows(), 3);
    assert_eq!(tally.digest_hex(), TALLY);
}

const GOLDEN_1: (&str, &str, &str) = (
    "000b000000080000000000000001000000080002b582c47810010000000c000200000000000200011388000000087ff80000000000\
     000000001f000000010000000000000000000000020000000100000003736164ffffffff0000003300000004000000000000000400\
     00000100000000000000087ff800000000000000000000000000026f6b0000000000000001780000001906000000083ff800000000\
     0000000000087ff80000000000000000003e000000020000001902000000083ff00000000000000000000840000000000000000000\
     001902000000084008000000000000000000087ff8000000000000000000107ff80000000000007ff8000000000000000000087067\
     5f636c61737300000002c3a9",
    "008000000000000001008002b582c4781001",
    "a800ab675d4ee0fa3e20ac36fac30dccc710796065c57173acae1db8d7afc62c",
);
const GOLDEN_2: (&str, &str, &str) = (
    "000b00000008fffffffffffffffe000000087fffffffffffffff0000000800000000c0000000000000088000000000000000000000\
     0c0000000000000000000000000000002c0000000400000000ffffffff00000000000000087ff800000000000000000000ffffffff\
     00000000ffffffff00000001010000000400000000ffffffffffffffff00000000",
    "007ffffffffffffffe00ffffffffffffffff",
    "89de09cff6422b851974739b6dde36fae1c8611a5c5ede69a0b441751a808d3b",
);
const GOLDEN_3: (&str, &str, &str) = (
    "000b0000000800000000000000030000000880000000000000000000000e000300014000000400010000000100000008fff0000000\
     0000000000001a0000000100000000000000000000000100000001000000026f6bffffffff00000001180000000900000001000000\
     0118000000103ff00000000000008000000000000000000000012dffffffff",
    "008000000000000003000000000000000000",
    "aa0d2fad46d10ea174447caf5557c70ff43ecb8a4714be13939f3d2b158a0d87",
);
const TALLY: &str = "ef61ba07589d02dff10e380905a6189dd60bf9bd819bd8cd211a629ae3e3ecdb";

/// Values as PostgreSQL 15 sorted them, per type: `<` between what it sorts apart, `=` between what it calls equal. Texts in
/// the collation C.
const ORDER: &str = include_str!("golden/order.txt");

#[test]
fn normal_forms_sort_as_a_server_does() {
    let mut types = 0;
    for line in ORDER.lines() {
        let (name, values) = line.split_once(": ").expect("type: values");
        let facts = if name == "mood" { mood() } else { builtin(name) };
        let shape = Shape::new(&pair(vec![column("v", &domain(facts))], &[0]));
        assert!(shape.order().is_some(), "{name}");
        let forms: Vec<_> = values
            .split('<')
            .map(|equal| {
                let mut forms: Vec<_> = equal
                    .split('=')
                    .map(|value| shape.key_form().bound_from_fields(&[Some(&unhex(value.trim()))]).expect("valid"))
                    .collect();
                forms.dedup();
                assert_eq!(forms.len(), 1, "{name}: {equal}");
                forms.swap_remove(0)
            })
            .collect();
        assert!(forms.len() > 1 && forms.is_sorted_by(|a, b| a < b), "{name}");
        types += 1;
    }
    assert_eq!(types, 27);
}
