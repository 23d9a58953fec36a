//! The cost of a row: framing, image, filing under its key, digest.

use std::convert::Infallible;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use triplecheck::Result as Checked;
use triplecheck::catalog::{CollationFacts, ColumnPair, Key, KeySource, Relation, TablePair, TypeFacts, TypeKind};
use triplecheck::row::{DigestBatch, RowDigest, Shape, Sketch, SketchKey, Tally, bucket};
use triplecheck::side::Sides;
use triplecheck::sql::QualifiedName;

/// Rows in the benched stream.
const ROWS: u32 = 1000;

fn column(name: &str, type_name: &str) -> ColumnPair {
    let facts = TypeFacts {
        oid: 0,
        name: QualifiedName::new("pg_catalog", type_name),
        declared: type_name.to_owned(),
        kind: TypeKind::Base,
        has_send: true,
        has_equality: true,
    };
    let collation = (type_name == "text").then(|| CollationFacts {
        name: "C".to_owned(),
        bytewise: true,
        deterministic: true,
        stale: None,
    });
    ColumnPair {
        name: name.to_owned(),
        subscriber_name: None,
        types: Sides::new(facts.clone(), facts),
        collations: Sides::new(collation.clone(), collation),
        time_zone: None,
        computed: None,
        generated: Sides::new(false, false),
        not_null: false,
    }
}

/// An orders table of nine columns and about 200 bytes a row; with a float8 column, its rows need normalising.
fn orders(ratio: &str) -> TablePair {
    let relation = Relation {
        oid: 1,
        name: QualifiedName::new("public", "orders"),
        partitioned: false,
        heaps: Vec::new(),
        filter: None,
        key_index: true,
        rows_estimate: u64::from(ROWS),
        bytes: 0,
    };
    let columns = [
        ("id", "int8"),
        ("user_id", "int8"),
        ("status", "text"),
        ("total", "int8"),
        ("ratio", ratio),
        ("created_at", "timestamptz"),
        ("updated_at", "timestamptz"),
        ("token", "uuid"),
        ("note", "text"),
    ];
    TablePair {
        name: relation.name.clone(),
        subscription: None,
        relations: Sides::new(relation.clone(), relation),
        columns: columns.map(|(name, type_name)| column(name, type_name)).to_vec(),
        key: Key { columns: vec![0], source: KeySource::PrimaryKey },
        unsent_identity: Vec::new(),
        not_implied: None,
        reservations: Vec::new(),
    }
}

/// The messages of a server: the header with the first tuple, a message per tuple, the trailer.
fn messages() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut message = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for id in 0..u64::from(ROWS) {
        let number = id.to_be_bytes();
        let fields: [&[u8]; 9] =
            [&number, &number, b"shipped", &number, &number, &number, &number, &[7; 16], &[b'n'; 80]];
        message.extend_from_slice(&9u16.to_be_bytes());
        for field in fields {
            message.extend_from_slice(&u32::try_from(field.len()).unwrap_or_default().to_be_bytes());
            message.extend_from_slice(field);
        }
        messages.push(std::mem::take(&mut message));
    }
    messages.push(vec![0xff, 0xff]);
    messages
}

fn stages(criterion: &mut Criterion) {
    let messages = messages();
    let bytes: usize = messages.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group(format!("{ROWS} rows of {} bytes", bytes / messages.len()));
    group.throughput(Throughput::Elements(u64::from(ROWS)));

    for (name, ratio) in [("verbatim", "int8"), ("canonical", "float8")] {
        let shape = Shape::new(&orders(ratio));
        // Of the table, as in a scan: it is not cleared for every thousand rows.
        let mut sketch = Sketch::of_table();
        let mut run = |stage: u32| {
            let mut reader = shape.copy_reader();
            let mut canonicalizer = shape.canonicalizer();
            let mut key = Vec::new();
            let mut tally = Tally::default();
            let mut batch = DigestBatch::default();
            let mut sketched = DigestBatch::default();
            for message in &messages {
                reader.feed(message, |tuple| {
                    if stage == 0 {
                        black_box(tuple);
                        return Ok(());
                    }
                    let row = canonicalizer.row(tuple)?;
                    if stage >= 2 {
                        key.clear();
                        shape.key_form().encode(&row, &mut key)?;
                    }
                    if stage == 3 {
                        black_box(bucket(&key, 64));
                    }
                    if stage == 4 {
                        tally.add(&RowDigest::of(row.image()));
                    }
                    if stage == 5 {
                        batch.push(row.image(), (), |(), digest| -> Checked<()> {
                            tally.add(digest);
                            Ok(())
                        })?;
                    }
                    if stage == 6 {
                        sketched.push(row.image(), SketchKey::new(&key), |key, digest| -> Checked<()> {
                            tally.add(digest);
                            if let Some(key) = key {
                                sketch.add(&key, digest);
                            }
                            Ok(())
                        })?;
                    }
                    black_box(row);
                    Ok(())
                })?;
            }
            sketched.finish(|key, digest| -> Checked<()> {
                tally.add(digest);
                if let Some(key) = key {
                    sketch.add(&key, digest);
                }
                Ok(())
            })?;
            batch.finish(|(), digest| -> Checked<()> {
                tally.add(digest);
                Ok(())
            })?;
            black_box((tally, &key));
            reader.finish()
        };
        let stages = [
            "framing",
            "and image",
            "and key",
            "and bucket",
            "image, key and digest",
            "image, key and digest, batched",
            "image, key and digest, batched, and sketch",
        ];
        for (stage, stage_name) in (0..).zip(stages) {
            group.bench_function(format!("{name}: {stage_name}"), |bencher| {
                bencher.iter(|| run(stage).expect("valid"));
            });
        }
    }
    group.finish();
}

/// Digests alone, one image at a time and many at once.
fn digests(criterion: &mut Criterion) {
    for len in [60, 190, 500, 1020] {
        let images: Vec<Vec<u8>> =
            (0..ROWS).map(|seed| [&seed.to_be_bytes(), vec![7; len - 4].as_slice()].concat()).collect();
        let mut group = criterion.benchmark_group(format!("digests of {ROWS} images of {len} bytes"));
        group.throughput(Throughput::Elements(u64::from(ROWS)));
        group.bench_function("one by one", |bencher| {
            bencher.iter(|| {
                let mut tally = Tally::default();
                images.iter().for_each(|image| tally.add(&RowDigest::of(image)));
                tally
            });
        });
        group.bench_function("batch", |bencher| {
            bencher.iter(|| {
                let mut tally = Tally::default();
                let mut add = |(), digest: &RowDigest| -> Result<(), Infallible> {
                    tally.add(digest);
                    Ok(())
                };
                let mut batch = DigestBatch::default();
                for image in &images {
                    let Ok(()) = batch.push(image, (), &mut add);
                }
                let Ok(()) = batch.finish(&mut add);
                tally
            });
        });
        group.finish();
    }
}

criterion_group!(benches, stages, digests);
criterion_main!(benches);
