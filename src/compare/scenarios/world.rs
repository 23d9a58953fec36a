//! A small world of two servers: the rows that both sides have, and the answers that servers would give to jobs.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{Heap, Key, KeySource, Relation, Reservation, TableIndex, TablePair};
use crate::compare::{Case, Settings};
use crate::config::CheckSet;
use crate::gate::recheck::{Seen, Version};
use crate::gate::window::{Touched, Value, Values};
use crate::plan::{Bound, Chunking, KeysOf, Limits, Position, Slice, cut_ranges};
use crate::row::testing::{builtin, column};
use crate::row::{RowDigest, Shape, SketchKey, Tally, key_hash};
use crate::scan::{
    Digest, DrillUnit, Entries, Entry, Figures, Hashing, Job, Piece, SampledRow, Sketches, TableContext, Work,
};
use crate::side::{Side, Sides};
use crate::sql::QualifiedName;

/// Big enough that a heap scan of it would outlast any snapshot.
pub(super) const HUGE: u64 = 1 << 50;

fn relation(blocks: u64, bytes: u64) -> Relation {
    let name = QualifiedName::new("public", "t");
    let heap = Heap { oid: 1, name: name.clone(), blocks, readable: true, is_heap: true };
    Relation {
        oid: 1,
        name,
        partitioned: false,
        heaps: vec![heap],
        filter: None,
        key_index: true,
        rows_estimate: 60,
        bytes,
    }
}

pub(super) fn table(keyed: bool, bytes: u64, reservations: Vec<Reservation>) -> Arc<TableContext> {
    let pair = TablePair {
        name: QualifiedName::new("public", "t"),
        subscription: None,
        relations: Sides::new(relation(2000, bytes), relation(3000, bytes)),
        columns: vec![column("id", &builtin("int8")), column("value", &builtin("int8"))],
        key: Key {
            columns: if keyed { vec![0] } else { vec![] },
            source: if keyed { KeySource::PrimaryKey } else { KeySource::None },
        },
        unsent_identity: Vec::new(),
        not_implied: None,
        reservations,
    };
    let shape = Shape::new(&pair);
    let index: TableIndex = 0;
    Arc::new(TableContext {
        index,
        pair,
        shape,
        checks: CheckSet::ALL,
        versions: Sides::new(140_000, 160_000),
        sequence_columns: Vec::new(),
        digest: None,
    })
}

pub(super) fn digested_table(keyed: bool, bytes: u64) -> Arc<TableContext> {
    let mut table = table(keyed, bytes, vec![]);
    let context = Arc::make_mut(&mut table);
    context.digest = Some(Digest::new(&context.pair, &context.shape, &Hashing::default(), 128));
    table
}

pub(super) fn settings() -> Settings {
    let limits = Limits { chunk_rows: NonZeroU64::new(10), snapshot_age_max: Duration::from_secs(60), jobs: 1 };
    Settings { samples: 1000, show_values: false, ledger: true, limits }
}

pub(super) type Row = (i64, i64);

/// Both sides' rows, and answers to jobs as servers would give them.
pub(super) struct World {
    pub(super) rows: Sides<Vec<Row>>,
    pub(super) keyed: bool,
    /// Decides which units have too many rows.
    pub(super) overflows: Option<u64>,
    /// Which of the publisher's rows, by number, may have been made between the snapshots; `None` where that is known.
    pub(super) suspects: Option<BTreeSet<usize>>,
}

impl World {
    /// What identifies a row that is set aside.
    pub(super) fn key(&self, row: Row) -> Values {
        let text = |value: i64| Value::Text(value.to_string().into());
        if self.keyed { vec![text(row.0)] } else { vec![text(row.0), text(row.1)] }
    }

    fn position(at: usize) -> Position {
        Position { heap: 1, block: u32::try_from(at).unwrap(), offset: 1 }
    }

    /// The rows of a job's side that are not set aside, with their numbers.
    fn left(&self, job: &Job) -> Vec<(usize, Row)> {
        let rows = self.rows.get(job.side).iter().copied().enumerate();
        let gone = |at: usize| job.advance.as_ref().is_some_and(|advance| advance.leaves_out(Self::position(at)));
        rows.filter(|(at, _)| !gone(*at)).collect()
    }

    fn places(&self, side: Side, touched: &Touched) -> Vec<(usize, Position)> {
        let rows = self.rows.get(side).iter().enumerate();
        let number = |row: Row| touched.lookups.iter().position(|lookup| lookup.key == self.key(row));
        rows.filter_map(|(at, &row)| Some((number(row)?, Self::position(at)))).collect()
    }

    fn keys(&self, side: Side, of: &KeysOf) -> Vec<Values> {
        let asked = |at: usize| match of {
            KeysOf::MadeBy(_) => self.suspects.as_ref().is_some_and(|suspects| suspects.contains(&at)),
            KeysOf::At(positions) => positions.contains(&Self::position(at)),
        };
        self.rows.get(side).iter().enumerate().filter(|(at, _)| asked(*at)).map(|(_, &row)| self.key(row)).collect()
    }

    /// What a sandwich sees of a key where nothing moves any more.
    fn seen(&self, key: &Values) -> Seen {
        let versions = |side: Side| -> Vec<Version> {
            let rows = self.rows.get(side).iter().enumerate().filter(|(_, row)| self.key(**row) == *key);
            rows.map(|(at, row)| {
                let position = Self::position(at);
                let place = (position.block, position.offset);
                Version { xmin: position.block, heap: 1, place, digest: *Self::digest(row).as_bytes() }
            })
            .collect()
        };
        let publisher = versions(Side::Publisher);
        Seen { before: publisher.clone(), subscriber: versions(Side::Subscriber), after: publisher }
    }

    pub(super) fn settle(&self, case: &mut Case) {
        let mut pending = case.pending().unwrap();
        for _ in 0..2 {
            let seen = pending.keys().into_iter().map(|key| self.seen(key)).collect();
            let proven = pending.absorb(seen);
            let (naming, questions) = pending.describe(proven, Sides::default()).unwrap();
            assert!(questions.is_empty());
            pending.named(naming, &[]);
        }
        assert!(pending.keys().is_empty());
        case.rechecked(pending.finish());
    }

    /// Whether a side's slice of a unit has too many rows. Finely cut units never have.
    fn overflows(&self, job: &Job, unit: &DrillUnit) -> bool {
        self.overflows.is_some_and(|seed| {
            let mut hasher = DefaultHasher::new();
            (seed, job.side == Side::Publisher, &unit.chunks, unit.part, unit.parts).hash(&mut hasher);
            unit.parts < 8 && hasher.finish().is_multiple_of(4)
        })
    }

    pub(super) fn digest(row: &Row) -> RowDigest {
        RowDigest::of(format!("{row:?}").as_bytes())
    }

    fn encoded(&self, row: &Row) -> Vec<u8> {
        if self.keyed {
            let mut bytes = row.0.to_be_bytes();
            bytes[0] ^= 0x80;
            [&[0], bytes.as_slice()].concat()
        } else {
            Self::digest(row).as_bytes().to_vec()
        }
    }

    /// The rows of a slice, with their positions. A heap is cut by row number, in blocks of a thousand.
    fn slice(&self, job: &Job, chunking: &Chunking, slice: &Slice) -> Vec<(u32, Row)> {
        let rows = self.left(job).into_iter().map(|(at, row)| (u32::try_from(at).unwrap(), row));
        rows.filter(|(at, row)| match slice {
            Slice::Blocks { from, to, .. } => {
                let block = u64::from(*at) * 100;
                from.is_none_or(|from| from <= block) && to.is_none_or(|to| block < to)
            }
            Slice::Whole => true,
            Slice::Images => false,
            Slice::Chunks { first, last } => (*first..=*last).contains(&chunking.chunk_of_key(&self.encoded(row))),
        })
        .collect()
    }

    pub(super) fn answer(&self, job: &Job) -> Piece {
        let rows = self.rows.get(job.side);
        match &job.work {
            Work::LookUp(touched) => Piece::Places(self.places(job.side, touched)),
            Work::Keys(_, of) => Piece::Keys(self.keys(job.side, of)),
            Work::Evaluate(expressions) => Piece::Evaluated(vec![Some("false".to_owned()); expressions.len()]),
            Work::Figures | Work::FiguresAndDigest => {
                let mut rows: Vec<Row> = self.left(job).into_iter().map(|(_, row)| row).collect();
                let sum =
                    |pick: fn(&Row) -> i64| (!rows.is_empty()).then(|| rows.iter().map(pick).sum::<i64>().to_string());
                let values = vec![sum(|row| row.0), sum(|row| row.1)];
                rows.sort_unstable();
                let digest = matches!(job.work, Work::FiguresAndDigest).then(|| vec![Some(format!("{rows:?}"))]);
                Piece::Figures(Figures { count: rows.len() as u64, digest, values })
            }
            Work::Sample(spec) => {
                let bound = |row: &Row| Bound { encoded: self.encoded(row), text: vec![row.0.to_string()] };
                Piece::Cut(cut_ranges(rows.iter().map(bound).collect(), spec.chunks))
            }
            Work::Tally(chunking, slice) => {
                let mut tallies: HashMap<u32, Tally> = HashMap::new();
                let mut sketch = Sketches::default().for_slice(job, chunking, slice);
                for (_, row) in self.slice(job, chunking, slice) {
                    let encoded = self.encoded(&row);
                    let chunk = chunking.chunk_of_key(&encoded);
                    tallies.entry(chunk).or_default().add(&Self::digest(&row));
                    if let Some(sketch) = &mut sketch {
                        sketch.add(&SketchKey::new(&encoded).unwrap(), &Self::digest(&row));
                    }
                }
                Piece::Tallies(tallies.into_iter().collect(), sketch)
            }
            Work::Locate(wanted) => {
                let rows = self.slice(job, &wanted.unit.chunking, &Slice::Whole);
                let wanted_too = |row: &Row| wanted.keys.contains(&self.key(*row));
                self.digests(job, &wanted.unit, rows.into_iter().filter(|(_, row)| wanted_too(row)).collect())
            }
            Work::Digests(unit, slice) => self.digests(job, unit, self.slice(job, &unit.chunking, slice)),
            Work::Rows(positions) => Piece::Rows(
                positions
                    .iter()
                    .map(|&position| {
                        let row = rows[position.block as usize];
                        let field = |value: i64| Some(key_hash(&value.to_be_bytes()));
                        SampledRow {
                            position,
                            digest: Self::digest(&row),
                            columns: vec![field(row.0), field(row.1)],
                            texts: vec![Some(row.0.to_string()), Some(row.1.to_string())],
                        }
                    })
                    .collect(),
            ),
        }
    }

    /// What is listed of some rows of a unit.
    fn digests(&self, job: &Job, unit: &DrillUnit, rows: Vec<(u32, Row)>) -> Piece {
        let mut tallies: HashMap<u32, Tally> = unit.chunks.iter().map(|&chunk| (chunk, Tally::default())).collect();
        let mut entries = Entries::default();
        for (at, row) in rows {
            let encoded = self.encoded(&row);
            let Some(tally) = tallies.get_mut(&unit.chunking.chunk_of_key(&encoded)) else { continue };
            let digest = Self::digest(&row);
            tally.add(&digest);
            let position = Position { heap: 1, block: at, offset: 1 };
            let digest = digest.as_bytes()[..16].try_into().unwrap();
            let key = key_hash(&encoded);
            if u64::from_le_bytes(key[8..].try_into().unwrap()) % unit.parts == unit.part {
                entries.push(Entry { key, digest, position, copies: 1 });
            }
        }
        if self.overflows(job, unit) {
            entries.overflow();
        }
        Piece::Digests(entries.finish(), tallies.into_iter().collect())
    }

    /// Missing, extra, changed: key by key, as multisets.
    pub(super) fn differences(&self) -> (u64, u64, u64) {
        let mut keys: HashMap<Vec<u8>, Sides<Vec<Row>>> = HashMap::new();
        for side in Side::BOTH {
            for row in self.rows.get(side) {
                keys.entry(self.encoded(row)).or_default().get_mut(side).push(*row);
            }
        }
        let (mut missing, mut extra, mut changed) = (0, 0, 0);
        for mut rows in keys.into_values() {
            rows.publisher.retain(|row| match rows.subscriber.iter().position(|other| other == row) {
                Some(at) => {
                    rows.subscriber.remove(at);
                    false
                }
                None => true,
            });
            let (p, s) = (rows.publisher.len() as u64, rows.subscriber.len() as u64);
            changed += p.min(s);
            missing += p - p.min(s);
            extra += s - p.min(s);
        }
        (missing, extra, changed)
    }
}
