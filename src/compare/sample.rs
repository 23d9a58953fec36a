//! Names differing rows: their key, the columns that differ, and whether the difference is one of representation only.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::compare::{Difference, DifferenceKind, Sample, representation};
use crate::plan::KeyText;
use crate::plan::Position;
use crate::scan::{SampledRow, TableContext};
use crate::side::{Side, Sides};

/// Texts of a batch in memory at once, counted in columns: with long values cut this stays within a few MiB.
const TEXTS_PER_BATCH: usize = 2_000;
/// Rows of a batch at most.
const ROWS_PER_BATCH: usize = 100;

/// How many differences are named at once.
pub(crate) fn batch_size(table: &TableContext) -> usize {
    (TEXTS_PER_BATCH / table.shape.columns().len().max(1)).clamp(1, ROWS_PER_BATCH)
}

/// Some differences while their rows and answers come in.
#[derive(Debug)]
pub(crate) struct Naming {
    batch: Vec<Difference>,
    rows: Sides<Option<HashMap<Position, SampledRow>>>,
    samples: Vec<Sample>,
    /// Which sample each question is about.
    asked: Vec<usize>,
}

impl Naming {
    pub(crate) fn new(batch: Vec<Difference>) -> Self {
        Self { batch, rows: Sides::default(), samples: Vec::new(), asked: Vec::new() }
    }

    /// The positions to read on a side; none are read where there are none.
    pub(crate) fn positions(&self, side: Side) -> Vec<Position> {
        // Equal rows are several differences at one position.
        let positions: BTreeSet<_> =
            self.batch.iter().filter_map(|difference| *difference.positions.get(side)).collect();
        positions.into_iter().collect()
    }

    /// Takes in the rows of a side. True once both are there.
    pub(crate) fn take(&mut self, side: Side, rows: Vec<SampledRow>) -> bool {
        *self.rows.get_mut(side) = Some(rows.into_iter().map(|row| (row.position, row)).collect());
        self.rows.publisher.is_some() && self.rows.subscriber.is_some()
    }

    /// Makes the samples, and the questions whether differing values are equal to their type. `None` where a row that was
    /// there before is not there now.
    pub(crate) fn describe(&mut self, table: &TableContext, show_values: bool) -> Option<Vec<String>> {
        let mut questions = Vec::new();
        for difference in &self.batch {
            let row = |side: Side| match *difference.positions.get(side) {
                Some(position) => {
                    let rows = self.rows.get(side).as_ref();
                    rows.and_then(|rows| rows.get(&position)).map(Some).ok_or(())
                }
                None => Ok(None),
            };
            let rows = Sides::new(row(Side::Publisher).ok()?, row(Side::Subscriber).ok()?);
            let (sample, mut asked) = describe_row(table, difference.kind, rows, show_values);
            self.asked.extend(std::iter::repeat_n(self.samples.len(), asked.len()));
            questions.append(&mut asked);
            self.samples.push(sample);
        }
        Some(questions)
    }

    /// Takes in the answers to [`Naming::describe`]'s questions and gives the samples back.
    pub(crate) fn finish(mut self, answers: &[Option<String>]) -> Vec<Sample> {
        for (&at, answer) in self.asked.iter().zip(answers) {
            if answer.as_deref() != Some("true")
                && let Some(sample) = self.samples.get_mut(at)
            {
                sample.representation_only = false;
            }
        }
        self.samples
    }
}

fn describe_row(
    table: &TableContext,
    kind: DifferenceKind,
    rows: Sides<Option<&SampledRow>>,
    show_values: bool,
) -> (Sample, Vec<String>) {
    let names = table.column_names();
    let text = |row: &SampledRow, at: usize| row.texts.get(at).cloned().flatten().map_or(Value::Null, Value::String);
    let any = rows.publisher.or(rows.subscriber);
    let key: KeyText = any
        .map(|row| (0..table.shape.key_len()).map(|at| (names[at].to_owned(), text(row, at))).collect())
        .unwrap_or_default();
    let values = |row: Option<&SampledRow>| {
        row.filter(|_| show_values)
            .map(|row| names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), text(row, at))).collect())
    };
    let mut columns = Vec::new();
    let mut questions = Vec::new();
    let mut representation_only = false;
    if let (Some(publisher), Some(subscriber)) = (rows.publisher, rows.subscriber) {
        let differing: Vec<usize> =
            (0..names.len()).filter(|&at| publisher.columns.get(at) != subscriber.columns.get(at)).collect();
        columns = differing.iter().map(|&at| names[at].to_owned()).collect();
        let asked: Option<Vec<_>> = differing
            .iter()
            .map(|&at| {
                let column = table.shape.columns().nth(at).and_then(|at| table.pair.columns.get(at))?;
                // Neither a text that was cut nor one that is not all UTF-8 is the value.
                let whole = |text: &String| !text.ends_with('…') && !text.contains(char::REPLACEMENT_CHARACTER);
                let value = |row: &SampledRow| row.texts.get(at).cloned().flatten().filter(whole);
                representation::equality(column, &value(publisher)?, &value(subscriber)?)
            })
            .collect();
        representation_only = asked.is_some() && !differing.is_empty();
        questions = asked.unwrap_or_default();
    }
    let sample = Sample {
        kind,
        key,
        columns,
        representation_only,
        row_digest: any.filter(|_| table.shape.key_len() == 0).map(|row| row.digest.to_string()),
        publisher: values(rows.publisher),
        subscriber: values(rows.subscriber),
    };
    (sample, questions)
}
