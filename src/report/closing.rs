//! The last line of a report: one sentence that can be pasted into a ticket and stands there without its report.

use std::time::Duration;

use super::escape::{name, sentence, shown};
use super::figures::{counted, duration, len};
use crate::lsn::Lsn;
use crate::run::{ColumnCheck, DigestCheck, Outcome, SequenceOutcome, TableOutcome};
use crate::verdict::Verdict;

/// Differing tables that the sentence names; the rest is counted.
const NAMED_TABLES_MAX: usize = 5;

/// The sentence.
pub(crate) fn sentence_of(outcome: &Outcome) -> String {
    let head = match (outcome.verdict, outcome.interrupted) {
        (Verdict::Match, _) => "MATCH",
        (Verdict::Unproven, false) => "UNPROVEN",
        (Verdict::Unproven, true) => "UNPROVEN (interrupted)",
        (Verdict::Different, false) => "DIFFERENT",
        (Verdict::Different, true) => "DIFFERENT (interrupted)",
    };
    let body = match outcome.verdict {
        Verdict::Match => matching(outcome) + &to_be_set(outcome),
        Verdict::Unproven => unproven(outcome) + &to_be_set(outcome),
        Verdict::Different => different(outcome),
    };
    let mut line = format!("{head}: {body}{}; {}", digested(outcome), read(outcome));
    if !outcome.excluded.is_empty() {
        line.push_str(&format!("; {} excluded", counted(len(&outcome.excluded), "object", "objects")));
    }
    line.push('.');
    line
}

fn with<T>(items: &[T], verdict: Verdict, of: impl Fn(&T) -> Verdict) -> Vec<&T> {
    items.iter().filter(|item| of(item) == verdict).collect()
}

fn tables(outcome: &Outcome, verdict: Verdict) -> Vec<&TableOutcome> {
    with(&outcome.tables, verdict, |table| table.verdict)
}

fn sequences(outcome: &Outcome, verdict: Verdict) -> Vec<&SequenceOutcome> {
    with(&outcome.sequences, verdict, |sequence| sequence.verdict)
}

/// `2 of 14 selected tables`.
fn share(part: usize, outcome: &Outcome) -> String {
    let part = u64::try_from(part).unwrap_or(u64::MAX);
    format!("{} of {}", super::figures::count(part), counted(len(&outcome.tables), "selected table", "selected tables"))
}

fn matching(outcome: &Outcome) -> String {
    let mut rows = Some(0_u64);
    for table in &outcome.tables {
        rows = rows.and_then(|sum| sum.checked_add(table.rows?.publisher));
    }
    let mut what = match outcome.tables.len() {
        1 => "the selected table".to_owned(),
        _ => format!("all {}", counted(len(&outcome.tables), "selected table", "selected tables")),
    };
    if let Some(rows) = rows {
        what.push_str(&format!(" ({})", counted(rows, "row", "rows")));
    }
    let mut verb = if outcome.tables.len() == 1 { "holds" } else { "hold" };
    let safe = sequences(outcome, Verdict::Match);
    if !safe.is_empty() {
        let count = counted(len(&safe), "sequence", "sequences");
        what.push_str(&format!(" and {count}"));
        verb = "hold";
    }
    format!("{what} {verb} the same data {}", place(outcome))
}

/// Sequences that are not safe to use where that changes no verdict, because replication is live.
fn to_be_set(outcome: &Outcome) -> String {
    let count = len(&sequences(outcome, Verdict::Different));
    if count == 0 {
        return String::new();
    }
    let verb = if count == 1 { "is" } else { "are" };
    format!("; {} {verb} to be set at cutover", counted(count, "sequence", "sequences"))
}

fn different(outcome: &Outcome) -> String {
    let differing = tables(outcome, Verdict::Different);
    let mut parts = Vec::new();
    if !differing.is_empty() {
        let mut names: Vec<_> = differing
            .iter()
            .take(NAMED_TABLES_MAX)
            .map(|table| format!("{}: {}", name(&table.schema, &table.name), difference(table)))
            .collect();
        if differing.len() > NAMED_TABLES_MAX {
            names.push(format!("and {} more", differing.len() - NAMED_TABLES_MAX));
        }
        let verb = if differing.len() == 1 { "differs" } else { "differ" };
        parts.push(format!("{} {verb} ({})", share(differing.len(), outcome), names.join("; ")));
    }
    let behind = sequences(outcome, Verdict::Different);
    if !behind.is_empty() {
        let unequal = |sequence: &&SequenceOutcome| {
            sequence.subscriber_next.is_some() && sequence.publisher_next != sequence.subscriber_next
        };
        let state = if behind.iter().all(unequal) { "behind" } else { "not safe to use" };
        let verb = if behind.len() == 1 { "is" } else { "are" };
        parts.push(format!("{} {verb} {state}", counted(len(&behind), "sequence", "sequences")));
    }
    let what = if parts.is_empty() { "something differs".to_owned() } else { parts.join(" and ") };
    let mut line = format!("{what} {}", place(outcome));
    if let Some(rest) = open(outcome) {
        line.push_str(&format!("; besides, {rest}"));
    }
    line
}

fn unproven(outcome: &Outcome) -> String {
    let mut line = "no difference seen, but ".to_owned();
    if outcome.gate.reached {
        line.push_str(&open(outcome).unwrap_or_else(|| "not everything was checked".to_owned()));
        if let Some(why) = first_reason(outcome) {
            line.push_str(&format!(" ({why})"));
        }
        if !outcome.tables.is_empty() {
            let proven = tables(outcome, Verdict::Match);
            let verb = if proven.len() == 1 { "matches" } else { "match" };
            line.push_str(&format!("; {} {verb} {}", share(proven.len(), outcome), place(outcome)));
        }
    } else {
        let waited = duration(Duration::from_millis(outcome.gate.waited_ms));
        line.push_str(&format!("the sync point was not reached in {waited}"));
        if let Some(message) = &outcome.gate.message {
            line.push_str(&format!(" ({})", sentence(message)));
        }
        if let Some(rest) = open(outcome) {
            line.push_str(&format!(", so {rest}"));
        }
    }
    line
}

/// What is unproven, in numbers.
fn open(outcome: &Outcome) -> Option<String> {
    let open = tables(outcome, Verdict::Unproven);
    let sequences = sequences(outcome, Verdict::Unproven);
    let mut parts = Vec::new();
    if !open.is_empty() {
        parts.push(share(open.len(), outcome));
    }
    if !sequences.is_empty() {
        parts.push(counted(len(&sequences), "sequence", "sequences"));
    }
    let verb = if open.len() + sequences.len() == 1 { "is" } else { "are" };
    (!parts.is_empty()).then(|| format!("{} {verb} unproven", parts.join(" and ")))
}

fn first_reason(outcome: &Outcome) -> Option<String> {
    let table = tables(outcome, Verdict::Unproven).into_iter().next().map(|table| {
        let code = table.reason.map_or("no reason given", |reason| reason.code());
        let message = table.message.as_deref().map(|message| format!(", {}", sentence(message))).unwrap_or_default();
        format!("{}: {code}{message}", name(&table.schema, &table.name))
    });
    table.or_else(|| {
        let sequence = sequences(outcome, Verdict::Unproven).into_iter().next()?;
        let message = sentence(sequence.message.as_deref()?);
        Some(format!("{}: {message}", name(&sequence.schema, &sequence.name)))
    })
}

/// At which position the answer holds.
fn place(outcome: &Outcome) -> String {
    let lag = || match outcome.gate.lag_bytes {
        Some(0) => " with lag 0".to_owned(),
        Some(lag) => format!(" with lag {}", counted(lag, "byte", "bytes")),
        None => String::new(),
    };
    let mut positions: Vec<Lsn> = outcome.sync_points.iter().filter_map(|point| point.publisher_lsn).collect();
    positions.sort_unstable();
    positions.dedup();
    match (positions.first(), positions.last()) {
        _ if !outcome.gate.reached => "although the sync point was not reached".to_owned(),
        _ if outcome.gate.mode == "none" => "in two unrelated snapshots".to_owned(),
        (Some(first), Some(last)) if first == last => format!("at publisher LSN {first}{}", lag()),
        (Some(first), Some(last)) => {
            format!(
                "at {} between publisher LSN {first} and {last}",
                counted(len(&outcome.sync_points), "sync point", "sync points")
            )
        }
        _ => match outcome.gate.publisher_lsn {
            Some(lsn) => format!("at publisher LSN {lsn}{}", lag()),
            None => "at no known position".to_owned(),
        },
    }
}

fn read(outcome: &Outcome) -> String {
    let totals = &outcome.totals;
    let rows = totals.publisher_rows.saturating_add(totals.subscriber_rows);
    let time = duration(Duration::from_millis(totals.elapsed_ms));
    match rows {
        0 => format!("no rows read in {time}"),
        _ => format!("{} read on both sides together in {time}", counted(rows, "row", "rows")),
    }
}

/// What equal digests prove: not as much as equal rows.
fn digested(outcome: &Outcome) -> String {
    let digests: Vec<&DigestCheck> = outcome
        .tables
        .iter()
        .filter_map(|table| table.checks.rows.as_ref())
        .filter_map(|rows| rows.proof.and(rows.digest.as_ref()))
        .collect();
    // All are of one run.
    let first = digests.first().and_then(|digest| digest.bits.zip(digest.strength()));
    let Some((bits, strength)) = first else { return String::new() };
    let verb = if digests.len() == 1 { "rests" } else { "rest" };
    format!(
        "; {} {verb} on equal digests of {bits} bits, not on every byte (odds of a collision about 2^-{strength})",
        share(digests.len(), outcome)
    )
}

/// How a table differs, in a few words: `1 missing, 2 changed`; the checks that saw it where the rows did not.
pub(crate) fn difference(table: &TableOutcome) -> String {
    let mut parts = Vec::new();
    if let Some(rows) = &table.checks.rows {
        for (number, kind) in [(rows.missing, "missing"), (rows.extra, "extra"), (rows.changed, "changed")] {
            if number > 0 {
                parts.push(format!("{} {kind}", super::figures::count(number)));
            }
        }
    }
    if parts.is_empty() {
        if table.checks.count.as_ref().is_some_and(|check| check.verdict == Verdict::Different) {
            parts.push("count".to_owned());
        }
        for (label, checks) in [("max", &table.checks.max), ("sum", &table.checks.sum)] {
            let differing = |check: &&ColumnCheck| check.verdict == Verdict::Different;
            let names =
                checks.iter().flatten().filter(differing).map(|check| format!("{label} of {}", shown(&check.column)));
            parts.extend(names);
        }
        if !parts.is_empty() {
            return format!("{} not equal", parts.join(", "));
        }
        if let Some(message) = &table.message {
            return sentence(message);
        }
        return "not equal".to_owned();
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;
    use crate::run::{RowsProof, SyncPointReport};

    #[test]
    fn a_table_that_is_missing_says_so() {
        let mut outcome = fixtures::different();
        outcome.sequences.clear();
        outcome.tables.retain(|table| table.name == "invoices");
        outcome.tables[0].verdict = Verdict::Different;
        outcome.tables[0].message = Some("the table does not exist on the subscriber and has rows.".into());
        insta::assert_snapshot!(sentence_of(&outcome), @"DIFFERENT: 1 of 1 selected table differs (public.invoices: the table does not exist on the subscriber and has rows) at publisher LSN 0/16B3748 with lag 0; 8,000,000 rows read on both sides together in 12.3 s; 3 objects excluded.");
    }

    #[test]
    fn only_a_count_differs() {
        let mut outcome = fixtures::different();
        outcome.tables.retain(|table| table.name == "orders");
        outcome.tables[0].checks.rows = None;
        outcome.interrupted = true;
        insta::assert_snapshot!(sentence_of(&outcome), @"DIFFERENT (interrupted): 1 of 1 selected table differs (public.orders: count, max of shipped_at, sum of order_total not equal) and 1 sequence is behind at publisher LSN 0/16B3748 with lag 0; 8,000,000 rows read on both sides together in 12.3 s; 3 objects excluded.");
    }

    #[test]
    fn many_tables_are_counted() {
        let mut outcome = fixtures::different();
        let orders = outcome.tables[3].clone();
        outcome.tables.extend(std::iter::repeat_n(orders, 20));
        outcome.sequences.clear();
        insta::assert_snapshot!(sentence_of(&outcome), @r#"DIFFERENT: 22 of 24 selected tables differ (public."Event log": 12 extra; public.orders: 1 missing, 2 changed; public.orders: 1 missing, 2 changed; public.orders: 1 missing, 2 changed; public.orders: 1 missing, 2 changed; and 17 more) at publisher LSN 0/16B3748 with lag 0; besides, 1 of 24 selected tables is unproven; 8,000,000 rows read on both sides together in 12.3 s; 3 objects excluded."#);
    }

    #[test]
    fn several_sync_points_are_a_span() {
        let mut outcome = fixtures::matching();
        let later = SyncPointReport { id: 2, publisher_lsn: Some(Lsn(0x0200_0000)), ..outcome.sync_points[0].clone() };
        outcome.sync_points.push(later);
        outcome.tables.truncate(1);
        outcome.sequences.clear();
        insta::assert_snapshot!(sentence_of(&outcome), @"MATCH: the selected table (1,000,000 rows) holds the same data at 2 sync points between publisher LSN 0/16B3748 and 0/2000000; 8,000,000 rows read on both sides together in 12.3 s.");
    }

    #[test]
    fn equal_digests_are_not_called_equal_rows() {
        let mut outcome = fixtures::matching();
        let rows = outcome.tables[0].checks.rows.as_mut().unwrap();
        rows.proof = Some(RowsProof::Digest);
        rows.digest = Some(DigestCheck { bits: Some(128), verdict: Verdict::Match, message: None });
        insta::assert_snapshot!(sentence_of(&outcome), @"MATCH: all 4 selected tables (4,000,000 rows) and 1 sequence hold the same data at publisher LSN 0/16B3748 with lag 0; 1 of 4 selected tables rests on equal digests of 128 bits, not on every byte (odds of a collision about 2^-106); 8,000,000 rows read on both sides together in 12.3 s.");
    }

    #[test]
    fn a_verdict_without_tables_claims_nothing() {
        let mut outcome = fixtures::gate_not_reached();
        outcome.gate.reached = true;
        outcome.tables.clear();
        outcome.sequences.clear();
        insta::assert_snapshot!(sentence_of(&outcome), @"UNPROVEN: no difference seen, but not everything was checked; no rows read in 5 min 0 s.");
    }
}
