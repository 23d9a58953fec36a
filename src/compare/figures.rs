//! The servers' own figures: asking for them, and what they say as checks.

use crate::compare::case::Case;
use crate::compare::{ColumnCheck, FigureCheck, agree};
use crate::scan::{ColumnFigure, Figures, Job, Work};
use crate::side::{Side, Sides};
use crate::sql;
use crate::verdict::Verdict;

/// The figures of both sides, and the deltas of sums that differ.
#[derive(Debug, Clone, Default)]
pub(crate) struct FigurePair {
    pub(crate) asked: Vec<ColumnFigure>,
    pub(crate) values: Sides<Option<Figures>>,
    /// By position in `asked`.
    deltas: Vec<Option<String>>,
    /// The positions of the deltas that a server was asked for.
    deltas_asked: Option<Vec<usize>>,
    deltas_known: bool,
    /// The sync point that they are of.
    pub(super) sync_point: u32,
}

/// A decimal number without zeros behind its last digit: the scale of a sum is the largest scale of what was summed, and
/// 3.50 is the same sum as 3.5.
fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

impl FigurePair {
    fn value(&self, at: usize) -> Sides<Option<&Option<String>>> {
        self.values.as_ref().map(|figures| figures.as_ref().and_then(|figures| figures.values.get(at)))
    }

    pub(crate) fn complete(&self) -> bool {
        self.values.publisher.is_some() && self.values.subscriber.is_some()
    }

    /// Whether the figures of both sides are there, and the deltas between them.
    pub(super) fn is_known(&self) -> bool {
        self.complete() && self.deltas_known
    }

    /// Takes in the deltas that were asked for.
    pub(super) fn take_deltas(&mut self, values: Vec<Option<String>>) {
        for (at, value) in self.deltas_asked.take().unwrap_or_default().into_iter().zip(values) {
            if let Some(delta) = self.deltas.get_mut(at) {
                *delta = value;
            }
        }
        self.deltas_known = true;
    }

    pub(crate) fn counts(&self) -> Sides<Option<u64>> {
        self.values.as_ref().map(|figures| figures.as_ref().map(|figures| figures.count))
    }

    pub(crate) fn count_check(&self) -> FigureCheck {
        let counts = self.counts();
        FigureCheck {
            verdict: agree(counts.publisher.as_ref(), counts.subscriber.as_ref()),
            publisher: counts.publisher.map(|count| count.to_string()),
            subscriber: counts.subscriber.map(|count| count.to_string()),
        }
    }

    fn verdict(&self, at: usize) -> Verdict {
        let value = self.value(at);
        if matches!(self.asked.get(at), Some(ColumnFigure::Sum { .. })) {
            let number = value.map(|text| text.map(|text| text.as_deref().map(without_trailing_zeros)));
            return agree(number.publisher.as_ref(), number.subscriber.as_ref());
        }
        agree(value.publisher, value.subscriber)
    }

    /// What asks a server for the differences of the sums that differ: position in `asked` and expression.
    fn delta_questions(&self) -> Vec<(usize, String)> {
        let differing = (0..self.asked.len())
            .filter(|&at| matches!(self.asked[at], ColumnFigure::Sum { .. }) && self.verdict(at) == Verdict::Different);
        differing
            .filter_map(|at| {
                let value = self.value(at);
                let (Some(Some(publisher)), Some(Some(subscriber))) = (value.publisher, value.subscriber) else {
                    return None;
                };
                let number = |text: &str| format!("{}::pg_catalog.numeric", sql::literal(text));
                Some((at, format!("{} OPERATOR(pg_catalog.-) {}", number(publisher), number(subscriber))))
            })
            .collect()
    }

    fn column_checks(
        &self,
        wanted: impl Fn(&ColumnFigure) -> Option<(&String, Option<&'static str>)>,
    ) -> Vec<ColumnCheck> {
        self.asked
            .iter()
            .enumerate()
            .filter_map(|(at, figure)| {
                let (column, method) = wanted(figure)?;
                let value = self.value(at);
                Some(ColumnCheck {
                    column: column.clone(),
                    verdict: self.verdict(at),
                    publisher: value.publisher.cloned().flatten(),
                    subscriber: value.subscriber.cloned().flatten(),
                    delta: self.deltas.get(at).cloned().flatten(),
                    method: method.map(str::to_owned),
                })
            })
            .collect()
    }

    pub(crate) fn max_checks(&self) -> Vec<ColumnCheck> {
        self.column_checks(|figure| match figure {
            ColumnFigure::Max { column } => Some((column, None)),
            _ => None,
        })
    }

    pub(crate) fn sum_checks(&self) -> Vec<ColumnCheck> {
        self.column_checks(|figure| match figure {
            ColumnFigure::Sum { column, shortest_text } => Some((column, shortest_text.then_some("shortest text"))),
            _ => None,
        })
    }

    /// The maxima of a column that a sequence feeds; `None` where it was not read, `Some(None)` where there are no values.
    pub(crate) fn sequence_column(&self, wanted: &str) -> Sides<Option<Option<String>>> {
        let at = self
            .asked
            .iter()
            .position(|figure| matches!(figure, ColumnFigure::SequenceColumn { column } if column == wanted));
        match at {
            Some(at) => self.value(at).map(Option::<&Option<String>>::cloned),
            None => Sides::default(),
        }
    }
}

impl Case {
    /// Whether figures of an earlier sync point stay, as chunks of it do.
    pub(super) fn keeps_figures(&self) -> bool {
        self.figures.is_known() && self.chunks.iter().any(|chunk| chunk.settled.is_some())
    }

    /// Count and sums of both sides, which must be of one pair of snapshots.
    pub(super) fn ask_figures(&mut self) -> Vec<Job> {
        self.ask_figures_by(&Work::Figures)
    }

    pub(super) fn ask_figures_by(&mut self, work: &Work) -> Vec<Job> {
        self.figures = FigurePair { sync_point: self.sync_point, ..FigurePair::default() };
        let wanted = self.table.checks.count || self.table.checks.max || self.table.checks.sum;
        // Rows are never called equal without a count from elsewhere.
        if !(wanted || self.table.checks.rows || !self.table.sequence_columns.is_empty()) {
            return Vec::new();
        }
        self.figures.asked = self.job(Side::Publisher, work.clone()).asked();
        Side::BOTH.map(|side| self.job(side, work.clone())).into()
    }

    /// Asks for the deltas of sums that differ, once the figures of both sides are there.
    pub(super) fn ask_deltas(&mut self) -> Vec<Job> {
        if !self.figures.complete() {
            return Vec::new();
        }
        let questions = self.figures.delta_questions();
        self.figures.deltas = vec![None; self.figures.asked.len()];
        if questions.is_empty() {
            self.figures.deltas_known = true;
            return Vec::new();
        }
        let (at, expressions): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
        self.figures.deltas_asked = Some(at);
        vec![self.job(Side::Subscriber, Work::Evaluate(expressions))]
    }

    pub(super) fn needs_no_figures(&self) -> bool {
        let checks = &self.table.checks;
        !(checks.count || checks.max || checks.sum || checks.rows) && self.table.sequence_columns.is_empty()
    }

    /// The maxima of a column that a sequence feeds, as far as they were read.
    #[must_use]
    pub(crate) fn sequence_column(&self, column: &str) -> Sides<Option<Option<String>>> {
        if self.is_settled() && self.failure.is_none() {
            self.figures.sequence_column(column)
        } else {
            Sides::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(publisher: &str, subscriber: &str) -> FigurePair {
        let figures = |value: &str| Some(Figures { count: 1, digest: None, values: vec![Some(value.to_owned())] });
        FigurePair {
            asked: vec![ColumnFigure::Sum { column: "c".into(), shortest_text: false }],
            values: Sides::new(figures(publisher), figures(subscriber)),
            deltas: vec![None],
            ..FigurePair::default()
        }
    }

    #[test]
    fn sums_are_compared_as_numbers_of_any_length() {
        assert_eq!(pair("3.50", "3.5").verdict(0), Verdict::Match);
        assert_eq!(pair("100", "1").verdict(0), Verdict::Different);
        let long = "123456789012345678901234567890123456789.0000000001";
        assert_eq!(pair(long, long).verdict(0), Verdict::Match);
        assert_eq!(pair(long, &long.replace("0001", "0002")).verdict(0), Verdict::Different);
        assert_eq!(pair(long, &long.replace("0001", "0002")).delta_questions().len(), 1);
    }

    #[test]
    fn a_side_without_figures_is_unproven() {
        let mut figures = pair("1", "1");
        figures.values.subscriber = None;
        assert_eq!(figures.verdict(0), Verdict::Unproven);
        assert_eq!(figures.count_check().verdict, Verdict::Unproven);
    }
}
