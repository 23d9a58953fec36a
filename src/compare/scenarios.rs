//! Drives a [`Case`] through random data, orders of events, failures and sync points, and compares its outcome with what a
//! direct comparison of the two multisets of rows says.

mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::{After, Case, Settings, Suspecting};
use crate::catalog::Reservation;
use crate::error::{Error, ErrorKind};
use crate::gate::recheck::Since;
use crate::gate::window::{Identity, Lookup, Problem, Touched, Wanted};
use crate::plan::Slice;
use crate::row::Shape;
use crate::row::testing::{builtin, column};
use crate::scan::{Figures, Job, Piece, Work};
use crate::side::{Side, Sides};
use crate::verdict::{Reason, Verdict};
use world::{HUGE, Row, World, digested_table, settings, table};

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

/// All tables keep what they end with until the end of the run.
#[test]
fn a_ledger_is_made_only_where_it_is_wanted() {
    let rows = || (0..50).map(|i| (i, i)).collect();
    let world = World { rows: Sides::new(rows(), rows()), keyed: true, overflows: None, suspects: None };
    for ledger in [true, false] {
        let settings = Settings { ledger, ..settings() };
        let finished = run(&world, Case::new(table(true, 1, vec![]), settings), &[]).finish();
        let chunks = finished.outcome.checks.rows.map(|rows| rows.chunks);
        assert_eq!((finished.outcome.verdict, chunks), (Verdict::Match, Some(6)));
        assert_eq!(finished.chunks.len(), if ledger { 6 } else { 0 });
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
    // One whose changed rows could not even be looked up has lost one each time.
    let lookup = Lookup { key: world.key((1, 1)), wanted: Wanted::Any };
    let touched = Touched { identity: Identity::Columns(vec![0]), lookups: vec![lookup], images: Vec::new() };
    let mut case = Case::new(table(true, 1, vec![]), settings());
    for point in 1..=3 {
        let jobs = case.open(point, Some(&Ok(Arc::new(touched.clone()))));
        assert!(matches!(jobs.as_slice(), [Job { work: Work::LookUp(_), .. }]), "{jobs:?}");
        jobs.iter().for_each(|job| case.sent(job));
        case.close(point, None);
    }
    assert_eq!(case.finish().outcome.reason, Some(Reason::SnapshotAge));
    // One that was read in vain has lost one each time.
    let mut case = Case::new(table(true, 1, vec![]), settings());
    for point in 1..=3 {
        case.open(point, None).iter().for_each(|job| case.sent(job));
        case.close(point, None);
    }
    assert_eq!(case.finish().outcome.reason, Some(Reason::SnapshotAge));
}

/// Does those jobs that are picked, and what follows from them.
fn work_off(case: &mut Case, jobs: &mut Vec<Job>, world: &World, picked: impl Fn(&Job) -> bool) {
    while let Some(at) = jobs.iter().position(&picked) {
        let job = jobs.swap_remove(at);
        case.sent(&job);
        jobs.append(&mut case.absorb(&job, world.answer(&job)));
    }
}

/// A table that takes two sync points, and gets a row between them.
#[test]
fn rows_and_figures_of_different_sync_points() {
    let rows = |many| (0..many).map(|i| (i, i)).collect::<Vec<_>>();
    let world = |many| World { rows: Sides::new(rows(many), rows(many)), keyed: true, overflows: None, suspects: None };
    let figures = |job: &Job| matches!(job.work, Work::Figures);
    let first_chunk = |job: &Job| matches!(job.work, Work::Tally(_, Slice::Chunks { first: 0, .. }));
    // Either count and one chunk are of the first one, or all chunks and no count.
    for counted_first in [true, false] {
        let mut case = Case::new(table(true, HUGE, vec![]), settings());
        let mut jobs = case.open(1, None);
        work_off(&mut case, &mut jobs, &world(50), |job| matches!(job.work, Work::Sample(_)));
        work_off(&mut case, &mut jobs, &world(50), |job| {
            if counted_first { figures(job) || first_chunk(job) } else { !figures(job) }
        });
        assert!(!case.is_settled());
        case.close(1, None);
        let mut jobs = case.open(2, None);
        assert_eq!(jobs.iter().any(figures), !counted_first, "{jobs:?}");
        work_off(&mut case, &mut jobs, &world(51), |_| true);
        let outcome = case.finish().outcome;
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Match, None), "{outcome:?}");
    }
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

/// Nothing tells which of the subscriber's rows are made by what goes on, and it has more of them than can be set aside: the
/// parts behind the one that shows it are not read.
#[test]
fn too_many_rows_besides_end_a_table_at_once() {
    let rows = Sides::new(Vec::new(), (0..270_000).map(|i| (i, 0)).collect());
    let world = World { rows, keyed: true, overflows: None, suspects: Some(BTreeSet::new()) };
    let by = Suspecting { since: Since { from: 1, until: 2 }, held: Arc::default() };
    let mut case = Case::new(table(true, 1, vec![]), settings());
    case.suspecting(Some(&by));
    let mut jobs = case.open(1, None);
    let mut parts = BTreeSet::new();
    while let Some(job) = jobs.pop() {
        if let Work::Digests(unit, _) = &job.work {
            parts.insert((unit.part, unit.parts));
        }
        jobs.append(&mut case.absorb(&job, world.answer(&job)));
    }
    assert_eq!(parts.into_iter().collect::<Vec<_>>(), [(0, 3), (1, 3)]);
    let outcome = case.finish().outcome;
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Unproven, Some(Reason::Unsupported)));
    assert!(outcome.message.unwrap().starts_with("the subscriber has more than 131072 rows of public.t "));
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
