//! From the state of a table to its outcome.

use crate::compare::case::Case;
use crate::compare::drill::Found;
use crate::compare::recheck::Recheck;
use crate::compare::{Checks, ChunkRecord, ColumnCheck, RowCounts, RowsCheck, RowsProof, TableOutcome, agree, causes};
use crate::plan::{Chunking, KeyText};
use crate::row::Tally;
use crate::scan::SequenceColumn;
use crate::side::{Side, Sides};
use crate::verdict::{Reason, Verdict};

/// Keys that a message names; the JSON report lists more.
const NAMED_KEYS_MAX: usize = 3;

/// A key for people.
fn named(key: &KeyText) -> String {
    let column = |(name, text): (&String, &serde_json::Value)| format!("{name} = {}", text.as_str().unwrap_or("NULL"));
    key.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// A table that is settled.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    /// What reports say.
    pub outcome: TableOutcome,
    /// The ledger of its chunks; empty where it is not wanted ([`crate::compare::Settings`]).
    pub chunks: Vec<ChunkRecord>,
    /// The last value (largest, or smallest of a descending sequence) in each column that a sequence feeds: `None` where it
    /// was not read, `Some(None)` where there are no values.
    pub sequence_ends: Vec<(String, Sides<Option<Option<String>>>)>,
}

impl Case {
    /// Rows read so far on both sides; where digests stand for them, those that were digested.
    fn rows_read(&self) -> Sides<u64> {
        if self.is_digested() {
            return self.figures.counts().map(Option::unwrap_or_default);
        }
        Sides::from_fn(|side| self.chunks.iter().map(|chunk| chunk.tallies.get(side).rows()).sum())
    }

    /// What was found among the rows that were compared at once and among those that were settled one by one.
    fn found_in_all(&self) -> Found {
        let mut found = self.found.clone();
        if let Some(recheck) = self.recheck() {
            found.add(&mut recheck.found.clone());
        }
        found
    }

    fn rows_check(&self) -> Option<RowsCheck> {
        if !self.table.checks.rows {
            return None;
        }
        let complete = self.plan.is_some() && self.chunks.iter().all(|chunk| chunk.settled.is_some());
        let found = self.found_in_all();
        let Found { missing, extra, changed, .. } = found;
        let different = found.rows() > 0;
        let tallies = |side: Side| -> Option<Vec<Tally>> {
            complete.then(|| self.chunks.iter().map(|chunk| *chunk.tallies.get(side)).collect())
        };
        let agreed = if self.is_digested() {
            self.digests_agree()
        } else {
            agree(tallies(Side::Publisher).as_ref(), tallies(Side::Subscriber).as_ref())
        };
        let unsettled = self.recheck().and_then(Recheck::unsettled);
        let verdict = match (different, &unsettled) {
            (true, _) => Verdict::Different,
            (false, Some(_)) => agreed.worst(Verdict::Unproven),
            (false, None) => agreed,
        };
        let divergent: Vec<u32> = (0..)
            .zip(&self.chunks)
            .filter(|(_, chunk)| chunk.read.publisher && chunk.read.subscriber && !chunk.tallies.agree())
            .map(|(at, _)| at)
            .collect();
        let key_names: Vec<&str> = self.table.column_names().into_iter().take(self.table.shape.key_len()).collect();
        let mut divergent_ranges = Vec::new();
        let mut rest = divergent.as_slice();
        while let Some(&first) = rest.first() {
            let ranges = matches!(*self.chunking, Chunking::Ranges(_));
            let run = (0..).zip(rest).take_while(|&(i, &at)| at == first + i && (ranges || i == 0)).count().max(1);
            let last = rest.get(run - 1).copied().unwrap_or(first);
            divergent_ranges.push(self.chunking.range(first, last, &key_names));
            rest = rest.get(run..).unwrap_or_default();
        }
        Some(RowsCheck {
            verdict,
            proof: self.is_digested().then_some(RowsProof::Digest),
            digest: self.digest_check(agreed),
            chunks: self.chunks.len() as u64,
            divergent_chunks: divergent.len() as u64,
            missing,
            extra,
            changed,
            divergent_ranges,
            samples: found.samples,
            unsettled,
        })
    }

    /// The outcome of the table, and the ledger of its chunks where that is wanted.
    #[must_use]
    pub(crate) fn finish(&self) -> Finished {
        let checks = Checks {
            count: self.table.checks.count.then(|| self.figures.count_check()),
            max: self.table.checks.max.then(|| self.figures.max_checks()),
            sum: self.table.checks.sum.then(|| self.figures.sum_checks()),
            rows: self.rows_check(),
        };
        let (verdict, why) = self.judge(&checks);
        let counts = self.figures.counts();
        let settled = self.recheck().map(|recheck| recheck.rows).unwrap_or_default();
        let read = self.rows_read();
        let read = Sides::from_fn(|side| read.get(side) + settled.get(side));
        let was_read = self.table.checks.rows && (!self.chunks.is_empty() || self.is_digested());
        let rows = match (was_read, counts.publisher, counts.subscriber) {
            (true, ..) => Some(RowCounts { publisher: read.publisher, subscriber: read.subscriber }),
            (false, Some(publisher), Some(subscriber)) => Some(RowCounts { publisher, subscriber }),
            _ => None,
        };
        let evidence = causes::Evidence { table: &self.table, rows, found: &self.found_in_all() };
        let outcome = TableOutcome {
            schema: self.table.pair.name.schema.clone(),
            name: self.table.pair.name.name.clone(),
            verdict,
            reason: why.as_ref().map(|(reason, _)| *reason),
            message: why.map(|(_, message)| message),
            sync_points: self.sync_points.iter().copied().collect(),
            rows,
            causes: if checks.rows.is_some() { causes::likely(&evidence) } else { Vec::new() },
            checks,
            scan: match &self.plan {
                None => self.is_digested().then(|| "digest".to_owned()),
                Some(plan) => Some(plan.scan.name().to_owned()),
            },
        };
        let maxima = |column: &SequenceColumn| (column.name.clone(), self.sequence_column(&column.name));
        let sequence_ends = self.table.sequence_columns.iter().map(maxima).collect();
        // The outcomes of all tables are kept until the end of the run, and a large table has thousands of chunks.
        let chunks = if self.settings.ledger { self.ledger() } else { Vec::new() };
        Finished { outcome, chunks, sequence_ends }
    }

    fn ledger(&self) -> Vec<ChunkRecord> {
        let key_names: Vec<&str> = self.table.column_names().into_iter().take(self.table.shape.key_len()).collect();
        let settled = (0..).zip(&self.chunks).filter_map(|(at, chunk)| chunk.settled.map(|point| (at, chunk, point)));
        settled
            .map(|(at, chunk, sync_point)| ChunkRecord {
                schema: self.table.pair.name.schema.clone(),
                table: self.table.pair.name.name.clone(),
                chunk: u64::from(at),
                range: self.chunking.range(at, at, &key_names),
                sync_point,
                verdict: agree(Some(&chunk.tallies.publisher), Some(&chunk.tallies.subscriber)),
                publisher_rows: chunk.tallies.publisher.rows(),
                subscriber_rows: chunk.tallies.subscriber.rows(),
                publisher_digest: chunk.tallies.publisher.digest_hex(),
                subscriber_digest: chunk.tallies.subscriber.digest_hex(),
            })
            .collect()
    }

    /// The verdict of the table from its checks, and what they say of each other.
    fn judge(&self, checks: &Checks) -> (Verdict, Option<(Reason, String)>) {
        let unproven = |reason, message: String| (Verdict::Unproven, Some((reason, message)));
        let name = &self.table.pair.name;
        if let Some(contradiction) = self.contradiction(checks) {
            return unproven(contradiction.0, contradiction.1);
        }
        let figures = checks.count.iter().map(|check| check.verdict);
        let columns = checks.max.iter().chain(&checks.sum).flatten().map(|check| check.verdict);
        let rows = checks.rows.iter().map(|check| check.verdict);
        let verdict = Verdict::worst_of(figures.chain(columns).chain(rows));
        let rows_equal = self.found_in_all().rows() == 0;
        if verdict == Verdict::Different && rows_equal && self.counts_are_of_no_moment() {
            let message = format!(
                "rows of {name} changed while it was read at several sync points, and without a slot its counts are of none of \
                 them: raise --snapshot-age-max, or let the role have a slot"
            );
            return unproven(Reason::SnapshotAge, message);
        }
        if verdict == Verdict::Different {
            let Some(not_implied) = &self.table.pair.not_implied else {
                // A difference stands, but whoever reads it should know why rows are not named.
                return (verdict, self.failure.clone());
            };
            let message = format!("the two sides of {name} differ, but {}", not_implied.why);
            let kinds = checks.rows.as_ref().map(|rows| {
                [
                    (not_implied.missing, rows.missing),
                    (not_implied.extra, rows.extra),
                    (not_implied.changed, rows.changed),
                ]
            });
            let kinds: Vec<_> = kinds.into_iter().flatten().filter(|(_, rows)| *rows > 0).collect();
            if !kinds.iter().any(|(implied, _)| *implied) {
                return unproven(Reason::EqualityNotImplied, message);
            }
            let all = kinds.iter().all(|(implied, _)| *implied);
            let message = format!("{message}: only some of the differences prove anything");
            return (verdict, (!all).then_some((Reason::EqualityNotImplied, message)));
        }
        if let Some((reason, message)) = &self.failure {
            return unproven(*reason, message.clone());
        }
        if let Some(reservation) = self.table.pair.reservations.first() {
            return unproven(reservation.reason, reservation.message.clone());
        }
        if let Some((_, message)) = self.table.shape.uncomparable().first() {
            return unproven(Reason::ColumnNotComparable, message.clone());
        }
        if checks.rows.is_none() {
            return unproven(Reason::RowsNotChecked, format!("the rows of {name} were not compared (--checks)"));
        }
        if let Some(unsettled) = checks.rows.as_ref().and_then(|rows| rows.unsettled.as_ref()) {
            let keys: Vec<_> = unsettled.keys.iter().take(NAMED_KEYS_MAX).map(named).collect();
            let keys = if keys.is_empty() { String::new() } else { format!(" ({})", keys.join("; ")) };
            let message = format!(
                "{} of the keys of {name} that changed meanwhile{keys} never held still: verify again under less load, or with a \
                 temporary slot (REPLICATION)",
                unsettled.count
            );
            return unproven(Reason::NeverHeldStill, message);
        }
        if verdict == Verdict::Unproven {
            return unproven(Reason::NotRead, format!("{name} was not read on both sides"));
        }
        (verdict, None)
    }

    /// Whether count and sums are of rows at another sync point than those that were compared, and nothing says which of them
    /// changed in between.
    fn counts_are_of_no_moment(&self) -> bool {
        self.aside.is_some() && self.spans_sync_points()
    }

    /// Whether its chunks were read, and its rows counted, at several sync points.
    fn spans_sync_points(&self) -> bool {
        let counted = self.figures.complete().then_some(self.figures.sync_point);
        let mut points = self.chunks.iter().filter_map(|chunk| chunk.settled).chain(counted);
        points.next().is_some_and(|first| points.any(|point| point != first))
    }

    /// Checks that cannot all be right.
    fn contradiction(&self, checks: &Checks) -> Option<(Reason, String)> {
        let name = &self.table.pair.name;
        let rows = checks.rows.as_ref()?;
        if self.failure.is_some() || !self.is_settled() {
            return None;
        }
        let read = self.rows_read();
        let counts = self.figures.counts();
        for side in Side::BOTH {
            let (read, counted) = (*read.get(side), (*counts.get(side))?);
            // Chunks of several sync points were counted one by one; all of them together are of no one moment.
            if read != counted && !self.spans_sync_points() {
                return Some((
                    Reason::RowsMiscounted,
                    format!(
                        "{read} rows of {name} were read on the {side}, but it counts {counted}: check it with amcheck"
                    ),
                ));
            }
        }
        // Without what was set aside, as what was read and counted is.
        let balance = i128::from(self.found.missing) - i128::from(self.found.extra);
        if i128::from(read.publisher) - i128::from(read.subscriber) != balance {
            return Some((
                Reason::ChecksDisagree,
                format!(
                    "the differing rows of {name} do not explain its counts: a defect of triplecheck, or corruption"
                ),
            ));
        }
        let differs = |check: &ColumnCheck| check.verdict == Verdict::Different;
        let column = checks.max.iter().chain(&checks.sum).flatten().find(|check| differs(check));
        let equal = self.found.rows() == 0 && rows.verdict != Verdict::Unproven;
        column.filter(|_| equal && !self.counts_are_of_no_moment()).map(|check| {
            let column = &check.column;
            (
                Reason::ChecksDisagree,
                format!("all rows of {name} are equal, but the servers' own figures of column {column} are not: a defect of triplecheck, or corruption"),
            )
        })
    }
}
