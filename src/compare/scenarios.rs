//! Drives a [`Case`] through random data, orders of events, failures and sync points, and compares its outcome with what a
//! direct comparison of the two multisets of rows says.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{After, Case, Settings, Suspecting};
use crate::catalog::{Heap, Key, KeySource, Relation, Reservation, TableIndex, TablePair};
use crate::config::CheckSet;
use crate::error::{Error, ErrorKind};
use crate::gate::recheck::{Seen, Since, Version};
use crate::gate::window::{Problem, Touched, Value, Values};
use crate::plan::{Bound, Chunking, KeysOf, Limits, Position, Slice};
use crate::row::testing::{builtin, column};
use crate::row::{RowDigest, Shape, SketchKey, Tally, key_hash};
use crate::scan::{
    Digest, DrillUnit, Entries, Entry, Figures, Hashing, Job, Piece, SampledRow, Sketches, TableContext, Work,
};
use crate::side::{Side, Sides};
use crate::sql::QualifiedName;
use crate::verdict::{Reason, Verdict};

/// Big enough that a heap scan of it would outlast any snapshot.
const HUGE: u64 = 1 << 50;

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

fn table(keyed: bool, bytes: u64, reservations: Vec<Reservation>) -> Arc<TableContext> {
    let pair = TablePair {
        name: QualifiedName::new("public", "t"),
        subscription: None,
        relations: Sides::new(relation(2000, bytes), relation(3000, bytes)),
        columns: vec![column("id", &builtin("int8")), column("value", &builtin("int8"))],
        key: Key {
            columns: if keyed { vec![0] } else { vec![] },
            source: if keyed { KeySource::PrimaryKey } else { KeySource::None },
        },
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

fn digested_table(keyed: bool, bytes: u64) -> Arc<TableContext> {
    let mut table = table(keyed, bytes, vec![]);
    let context = Arc::make_mut(&mut table);
    context.digest = Some(Digest::new(&context.pair, &context.shape, &Hashing::default(), 128));
    table
}

fn settings() -> Settings {
    let limits = Limits { chunk_rows: NonZeroU64::new(10), snapshot_age_max: Duration::from_secs(60), jobs: 1 };
    Settings { samples: 1000, show_values: false, limits }
}

type Row = (i64, i64);

/// Both sides' rows, and answers to jobs as servers would give them.
struct World {
    rows: Sides<Vec<Row>>,
    keyed: bool,
    /// Decides which units have too many rows.
    overflows: Option<u64>,
    /// Which of the publisher's rows, by number, may have been made between the snapshots; `None` where that is known.
    suspects: Option<BTreeSet<usize>>,
}

impl World {
    /// What identifies a row that is set aside.
    fn key(&self, row: Row) -> Values {
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

    fn settle(&self, case: &mut Case) {
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

    fn digest(row: &Row) -> RowDigest {
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

    fn answer(&self, job: &Job) -> Piece {
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
            Work::Sample(_) => Piece::Samples(
                rows.iter().map(|row| Bound { encoded: self.encoded(row), text: vec![row.0.to_string()] }).collect(),
            ),
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
    fn differences(&self) -> (u64, u64, u64) {
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

/// What happens to the next job.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Works,
    GivesWay,
    IsLost,
    Changed,
    PointCloses,
}

/// Runs a case to its end: `fates` decide which job comes next and what becomes of it; once they are used up, all works.
fn run(world: &World, case: Case, fates: &[(usize, Fate)]) -> Case {
    run_beside(world, case, fates, &BTreeSet::new())
}

/// The same beside writes: at some sync points too much of the table changed.
fn run_beside(world: &World, mut case: Case, fates: &[(usize, Fate)], too_much: &BTreeSet<u32>) -> Case {
    let mut fates = fates.iter();
    let dropped = Err(Problem::TooLarge("changed".to_owned()));
    for point in 1..1000 {
        let by = Suspecting { since: Since { from: 1, until: 2 }, held: Arc::default() };
        case.suspecting(world.suspects.as_ref().map(|_| &by));
        let mut jobs = case.open(point, too_much.contains(&point).then_some(&dropped));
        while !case.is_settled() && !case.waits_for_next() {
            if case.awaits_recheck() {
                world.settle(&mut case);
                break;
            }
            assert!(!jobs.is_empty(), "nothing is under way and nothing is settled: {case:?}");
            let (pick, fate) = fates.next().copied().unwrap_or((0, Fate::Works));
            let job = jobs.swap_remove(pick % jobs.len());
            let failed = |kind| Error::new(kind, "on purpose");
            if !matches!(fate, Fate::PointCloses) {
                case.sent(&job);
            }
            let after = match fate {
                Fate::Works => {
                    let piece = world.answer(&job);
                    jobs.append(&mut case.absorb(&job, piece));
                    continue;
                }
                Fate::GivesWay => case.failed(job, &failed(ErrorKind::Cancelled)),
                Fate::IsLost => case.failed(job, &failed(ErrorKind::Lost)),
                Fate::Changed => case.failed(job, &failed(ErrorKind::Changed)),
                Fate::PointCloses => {
                    case.close(point, None);
                    break;
                }
            };
            match after {
                After::Retry(job) => jobs.push(*job),
                After::Instead(mut others) => jobs.append(&mut others),
                After::Dropped => {}
            }
        }
        // Answers of an older state come late.
        for job in jobs {
            assert!(case.is_settled() || case.waits_for_next());
            case.absorb(&job, world.answer(&job));
        }
        if case.is_settled() {
            return case;
        }
    }
    panic!("never settled");
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((-20..20_i64, 0..3_i64), 0..60)
}

fn fate() -> impl Strategy<Value = (usize, Fate)> {
    let fate = prop_oneof![
        20 => Just(Fate::Works),
        2 => Just(Fate::GivesWay),
        1 => Just(Fate::IsLost),
        1 => Just(Fate::Changed),
        1 => Just(Fate::PointCloses),
    ];
    (any::<usize>(), fate)
}

proptest! {
    #[test]
    fn an_outcome_is_what_a_direct_comparison_says_or_unproven(
        base in rows(),
        extra in prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec((-25..25_i64, 0..3_i64), 0..6)],
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        keyed: bool,
        bytes in prop_oneof![Just(1_u64 << 20), Just(HUGE)],
        overflows: Option<u64>,
        digested: bool,
        suspects in prop::option::of(prop::collection::btree_set(0_usize..60, 0..20)),
        fates in prop::collection::vec(fate(), 0..60),
        too_much in prop::collection::btree_set(1_u32..8, 0..4),
    ) {
        let mut subscriber = base.clone();
        if !extra.is_empty() {
            for at in lost {
                if !subscriber.is_empty() {
                    let at = at.index(subscriber.len());
                    subscriber.swap_remove(at);
                }
            }
        }
        subscriber.extend(extra);
        let world = World { rows: Sides::new(base, subscriber), keyed, overflows, suspects };
        let table = if digested { digested_table(keyed, bytes) } else { table(keyed, bytes, vec![]) };
        // What changed is either known or suspected.
        let too_much = if world.suspects.is_some() { BTreeSet::new() } else { too_much };
        let case = run_beside(&world, Case::new(table, settings()), &fates, &too_much);
        let finished = case.finish();
        let (missing, extra, changed) = world.differences();
        let differ = missing + extra + changed > 0;
        match finished.outcome.verdict {
            Verdict::Match => prop_assert!(!differ),
            Verdict::Different => prop_assert!(differ),
            Verdict::Unproven => {
                let reason = finished.outcome.reason.unwrap();
                let expected = [
                    Reason::ChangedMeanwhile,
                    Reason::ChangedTooMuch,
                    Reason::SnapshotAge,
                    Reason::ConnectionLost,
                    Reason::KeptBlocking,
                ];
                prop_assert!(expected.contains(&reason), "{reason:?} {:?}", finished.outcome.message);
                return Ok(());
            }
        }
        let checked = finished.outcome.checks.rows.unwrap();
        prop_assert_eq!(checked.digest.is_some(), digested);
        if checked.proof.is_some() {
            // Nothing was read, and nothing is claimed to have been. What differs was set aside and looked at.
            prop_assert_eq!((checked.chunks, finished.chunks.len()), (0, 0));
            prop_assert!(checked.verdict == Verdict::Match || world.suspects.is_some());
            if checked.verdict == Verdict::Match {
                let rows = finished.outcome.rows.map(|rows| rows.publisher);
                prop_assert_eq!(rows, Some(world.rows.publisher.len() as u64));
            }
            return Ok(());
        }
        if checked.verdict != Verdict::Unproven && finished.outcome.sync_points.len() == 1 {
            prop_assert_eq!((checked.missing, checked.extra, checked.changed), (missing, extra, changed));
            prop_assert_eq!(checked.samples.len() as u64, missing + extra + changed);
            let ledger: u64 = finished.chunks.iter().map(|chunk| chunk.publisher_rows).sum();
            let all = world.rows.publisher.len() as u64;
            let some = world.suspects.is_some();
            prop_assert!(ledger == all || some && ledger < all);
            prop_assert_eq!(finished.outcome.rows.map(|rows| rows.publisher), Some(all));
        }
    }
}

#[test]
fn nothing_read_is_unproven() {
    let finished = Case::new(table(true, 1, vec![]), settings()).finish();
    assert_eq!((finished.outcome.verdict, finished.outcome.reason), (Verdict::Unproven, Some(Reason::NotRead)));
}

/// A database that takes more sync points than a table has attempts: its last tables wait for their turn.
#[test]
fn a_table_that_no_sync_point_has_reached_loses_no_attempt() {
    let world = World { rows: Sides::new(vec![(1, 1)], vec![(1, 1)]), keyed: true, overflows: None, suspects: None };
    let mut case = Case::new(table(true, 1, vec![]), settings());
    for point in 1..=5 {
        case.close(point, None);
    }
    assert!(!case.is_settled());
    assert_eq!(run(&world, case, &[]).finish().outcome.verdict, Verdict::Match);
}

/// Its jobs waited behind those of larger tables, at every one of these sync points.
#[test]
fn a_table_of_which_nothing_was_sent_for_loses_no_attempt() {
    let world = World { rows: Sides::new(vec![(1, 1)], vec![(1, 1)]), keyed: true, overflows: None, suspects: None };
    for table in [table(true, 1, vec![]), digested_table(true, 1)] {
        let mut case = Case::new(table, settings());
        for point in 1..=5 {
            let jobs = case.open(point, None);
            assert!(!jobs.is_empty());
            // What cuts it into chunks does not read it.
            if let Some(sample) = jobs.iter().find(|job| matches!(job.work, Work::Sample(_))) {
                case.sent(sample);
                case.absorb(sample, world.answer(sample));
            }
            case.close(point, None);
        }
        assert!(!case.is_settled());
        assert_eq!(run(&world, case, &[]).finish().outcome.verdict, Verdict::Match);
    }
    // One that was read in vain has lost one each time.
    let mut case = Case::new(table(true, 1, vec![]), settings());
    for point in 1..=3 {
        case.open(point, None).iter().for_each(|job| case.sent(job));
        case.close(point, None);
    }
    assert_eq!(case.finish().outcome.reason, Some(Reason::SnapshotAge));
}

/// Its changes were dropped: nothing is read of it there, and it is tried again at the next sync points.
#[test]
fn a_table_of_which_too_much_changed_waits_and_is_unproven_in_the_end() {
    let world = World { rows: Sides::new(vec![(1, 1)], vec![(1, 1)]), keyed: true, overflows: None, suspects: None };
    let dropped = Err(Problem::TooLarge("changed too much".to_owned()));
    let after = |points: u32| {
        let mut case = Case::new(table(true, 1, vec![]), settings());
        for point in 1..=points {
            assert!(!case.is_settled());
            assert!(case.open(point, Some(&dropped)).is_empty());
            assert_ne!(case.is_settled(), case.waits_for_next());
            case.close(point, None);
        }
        case
    };
    let case = after(2);
    assert!(case.waits_for_next());
    let outcome = run(&world, case, &[]).finish().outcome;
    assert_eq!(outcome.verdict, Verdict::Match);
    let outcome = after(3).finish().outcome;
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Unproven, Some(Reason::ChangedTooMuch)));
    let name = QualifiedName::new("public", "t");
    assert_eq!(outcome.message, Some(format!("{name} changed too much")));
    assert!(outcome.rows.is_none() && outcome.sync_points.is_empty(), "{outcome:#?}");
}

#[test]
fn a_reservation_keeps_equal_rows_from_matching() {
    let reservation = |readable| Reservation { reason: Reason::NotReplicated, message: "m".to_owned(), readable };
    let world = World { rows: Sides::new(vec![(1, 1)], vec![(1, 1)]), keyed: true, overflows: None, suspects: None };
    for readable in [true, false] {
        let case = run(&world, Case::new(table(true, 1, vec![reservation(readable)]), settings()), &[]);
        let outcome = case.finish().outcome;
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Unproven, Some(Reason::NotReplicated)));
        assert_eq!(outcome.rows.is_some(), readable);
    }
}

/// A server that answers something else than its snapshot holds.
fn outcome_of(tamper: impl Fn(&Job, Piece) -> Piece) -> super::TableOutcome {
    let rows = || (0..50).map(|i| (i, i)).collect();
    let world = World { rows: Sides::new(rows(), rows()), keyed: true, overflows: None, suspects: None };
    let mut case = Case::new(table(true, 1, vec![]), settings());
    let mut jobs = case.open(1, None);
    while let Some(job) = jobs.pop() {
        let piece = tamper(&job, world.answer(&job));
        jobs.append(&mut case.absorb(&job, piece));
    }
    case.finish().outcome
}

#[test]
fn a_count_that_disagrees_with_the_rows_read_is_unproven() {
    let outcome = outcome_of(|job, piece| match piece {
        Piece::Figures(figures) if job.side == Side::Subscriber => Piece::Figures(Figures { count: 49, ..figures }),
        piece => piece,
    });
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Unproven, Some(Reason::RowsMiscounted)));
}

#[test]
fn a_sum_that_disagrees_with_equal_rows_is_unproven() {
    let outcome = outcome_of(|job, piece| match piece {
        Piece::Figures(figures) if job.side == Side::Subscriber => {
            Piece::Figures(Figures { values: vec![figures.values[0].clone(), Some("7".to_owned())], ..figures })
        }
        piece => piece,
    });
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Unproven, Some(Reason::ChecksDisagree)));
}

#[test]
fn chunks_that_read_differently_the_second_time_are_unproven() {
    let outcome = outcome_of(|job, piece| match piece {
        Piece::Tallies(mut tallies, sketch) if job.side == Side::Subscriber => {
            tallies[0].1.add(&World::digest(&(99, 99)));
            Piece::Tallies(tallies, sketch)
        }
        piece => piece,
    });
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Unproven, Some(Reason::RereadDiffers)));
}

#[test]
fn rows_of_one_key_that_never_fit_leave_the_table_unproven() {
    let outcome = |rows: Sides<Vec<Row>>, keyed| {
        let world = World { rows, keyed, overflows: None, suspects: None };
        let mut case = Case::new(table(keyed, 1, vec![]), settings());
        let mut jobs = case.open(1, None);
        let mut cuts = BTreeSet::new();
        while let Some(job) = jobs.pop() {
            let mut piece = world.answer(&job);
            if let Piece::Digests(entries, _) = &mut piece {
                *entries = None;
            }
            if let Work::Digests(unit, _) = &job.work {
                cuts.insert(unit.parts);
            }
            jobs.append(&mut case.absorb(&job, piece));
        }
        (case.finish().outcome, cuts)
    };
    for keyed in [true, false] {
        let (outcome, cuts) = outcome(Sides::new(vec![(1, 1)], vec![(1, 2)]), keyed);
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Unproven, Some(Reason::Unsupported)));
        assert!(outcome.message.unwrap().contains("public.t differs"));
        assert_eq!(cuts.into_iter().collect::<Vec<_>>(), [1, 2, 4, 8]);
    }
}

#[test]
fn rows_of_some_keys_settle_a_chunk_only_where_they_explain_it() {
    let rows = |changed: bool| (0..50).map(|i| (i, i64::from(changed && i % 20 == 5))).collect();
    let world = World { rows: Sides::new(rows(false), rows(true)), keyed: true, overflows: None, suspects: None };
    for (bytes, loses, read_again) in [(1, false, false), (1, true, true), (HUGE, false, false), (HUGE, true, true)] {
        let mut case = Case::new(table(true, bytes, vec![]), settings());
        let mut jobs = case.open(1, None);
        let mut kinds = BTreeSet::new();
        while let Some(job) = jobs.pop() {
            kinds.insert(job.work.what());
            let mut piece = world.answer(&job);
            if let (Work::Locate(_), Side::Subscriber, true) = (&job.work, job.side, loses) {
                // An index that does not find what is there.
                piece = Piece::Digests(Some(Vec::new()), Vec::new());
            }
            jobs.append(&mut case.absorb(&job, piece));
        }
        let outcome = case.finish().outcome;
        let checked = outcome.checks.rows.unwrap();
        assert_eq!((outcome.verdict, checked.changed, checked.missing, checked.extra), (Verdict::Different, 3, 0, 0));
        assert!(kinds.contains("locating differing rows"), "{kinds:?}");
        assert_eq!(kinds.contains("reading divergent chunks"), read_again, "{kinds:?}");
    }
}

/// Equal digests stood for a table whose rows that were set aside could not be settled; when the next sync point comes, the table
/// has another column.
#[test]
fn digests_of_a_table_that_has_changed_stand_for_nothing() {
    let rows = || (0..50).map(|i| (i, i)).collect::<Vec<Row>>();
    let mut world =
        World { rows: Sides::new(rows(), rows()), keyed: true, overflows: None, suspects: Some(BTreeSet::from([7])) };
    // It is set aside, and nothing else differs.
    world.rows.subscriber[7].1 = 99;
    let by = Suspecting { since: Since { from: 1, until: 2 }, held: Arc::default() };
    let mut case = Case::new(digested_table(true, 1), settings());
    case.suspecting(Some(&by));
    let mut jobs = case.open(1, None);
    while let Some(job) = jobs.pop() {
        jobs.append(&mut case.absorb(&job, world.answer(&job)));
    }
    assert!(case.awaits_recheck() && !case.is_settled());
    case.close(1, None);
    let mut renewed = digested_table(true, 1);
    let context = Arc::make_mut(&mut renewed);
    context.pair.columns.push(column("more", &builtin("int8")));
    context.shape = Shape::new(&context.pair);
    case.renew(renewed);
    assert!(!case.is_settled(), "{:?}", case.finish().outcome);
    assert_ne!(run(&world, case, &[]).finish().outcome.verdict, Verdict::Match);
}

/// A key that one server cannot even write: its statements fail, and the chunks are read again instead.
#[test]
fn keys_that_a_side_cannot_look_up_leave_their_chunks_to_be_read_again() {
    let rows = |changed: bool| (0..50).map(|i| (i, i64::from(changed && i % 20 == 5))).collect();
    let world = World { rows: Sides::new(rows(false), rows(true)), keyed: true, overflows: None, suspects: None };
    for (bytes, first, both) in
        [(1, true, false), (1, false, false), (1, true, true), (HUGE, true, false), (HUGE, false, true)]
    {
        let mut case = Case::new(table(true, bytes, vec![]), settings());
        let mut jobs = case.open(1, None);
        let mut kinds = BTreeSet::new();
        while !jobs.is_empty() {
            // A side that answers does so before the other one fails, or after that.
            let locating = |job: &Job| matches!(job.work, Work::Locate(_));
            let late = |job: &Job| locating(job) && (job.side == Side::Publisher) == first;
            let at = jobs.iter().rposition(|job| !late(job)).unwrap_or(jobs.len() - 1);
            let job = jobs.remove(at);
            kinds.insert(job.work.what());
            if locating(&job) && (both || job.side == Side::Subscriber) {
                match case.failed(job, &Error::new(ErrorKind::Server, "it has no equivalent in this encoding")) {
                    After::Retry(job) => jobs.push(*job),
                    After::Instead(mut others) => jobs.append(&mut others),
                    After::Dropped => {}
                }
                continue;
            }
            jobs.append(&mut case.absorb(&job, world.answer(&job)));
        }
        let outcome = case.finish().outcome;
        let checked = outcome.checks.rows.unwrap();
        assert_eq!((outcome.verdict, checked.changed, checked.missing, checked.extra), (Verdict::Different, 3, 0, 0));
        assert_eq!(checked.samples.len(), 3);
        assert!(kinds.contains("reading divergent chunks"), "{kinds:?}");
    }
}
