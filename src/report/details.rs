//! What is told of the tables that do not match.

use std::fmt::Write;

use super::closing::difference;
use super::escape::{name, sentence, shown, value};
use super::figures::{count, counted};
use super::text::word;
use crate::run::{ChunkRange, ColumnCheck, DifferenceKind, KeyText, RowsCheck, Sample, TableOutcome};
use crate::verdict::{Reason, Verdict};

/// Differing rows that the text shows per table: enough to see a pattern; JSON and CSV list all that were kept.
const SHOWN_SAMPLES_MAX: usize = 10;
/// Divergent ranges that the text shows per table.
const SHOWN_RANGES_MAX: usize = 5;
/// Tables that are named where many are unproven for one reason; the grid above has them all.
const NAMED_TABLES_MAX: usize = 5;

/// Why tables are unproven, each reason and message once.
pub(crate) fn unproven(out: &mut String, tables: &[TableOutcome]) {
    type Why<'a> = (Option<Reason>, Option<&'a str>);
    let mut groups: Vec<(Why<'_>, Vec<String>)> = Vec::new();
    for table in tables.iter().filter(|table| table.verdict == Verdict::Unproven) {
        let why = (table.reason, table.message.as_deref());
        let name = name(&table.schema, &table.name);
        match groups.iter_mut().find(|(group, _)| *group == why) {
            Some((_, names)) => names.push(name),
            None => groups.push((why, vec![name])),
        }
    }
    for ((reason, message), names) in groups {
        let shown = names.iter().take(NAMED_TABLES_MAX).cloned().collect::<Vec<_>>().join(", ");
        let rest = names.len().saturating_sub(NAMED_TABLES_MAX);
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let _ = writeln!(out, "\n{shown}{rest}: {}", why(reason, message));
    }
}

/// `unproven, code: message`; the meaning of the code where there is no message.
pub(crate) fn why(reason: Option<Reason>, message: Option<&str>) -> String {
    let message = message.or(reason.map(Reason::meaning)).map(sentence);
    let code = reason.map_or("no reason given", Reason::code);
    match message {
        Some(message) => format!("unproven, {code}: {message}"),
        None => format!("unproven, {code}"),
    }
}

/// Everything that is known about the differences of a table.
pub(crate) fn differing(out: &mut String, table: &TableOutcome) {
    let _ = write!(out, "\n{}: {}", name(&table.schema, &table.name), difference(table));
    if let Some(rows) = &table.checks.rows
        && rows.divergent_chunks > 0
    {
        let _ = write!(out, "; {} of {} differ", count(rows.divergent_chunks), counted(rows.chunks, "chunk", "chunks"));
    }
    out.push('\n');
    if table.reason.is_some() {
        line(out, "besides", &why(table.reason, table.message.as_deref()));
    } else if let Some(message) = &table.message {
        line(out, "", &sentence(message));
    }
    checks(out, table);
    if let Some(rows) = &table.checks.rows {
        ranges(out, rows);
        samples(out, rows);
    }
    for cause in &table.causes {
        let evidence = sentence(&cause.evidence);
        let evidence = if evidence.is_empty() { evidence } else { format!(" ({evidence})") };
        line(out, "cause", &format!("{}: {}{evidence}", shown(&cause.code), sentence(&cause.message)));
    }
}

fn line(out: &mut String, label: &str, text: &str) {
    let _ = writeln!(out, "  {label:<8} {text}");
}

fn checks(out: &mut String, table: &TableOutcome) {
    if let Some(check) = &table.checks.count
        && check.verdict != Verdict::Match
    {
        let figure = |figure: &Option<String>| figure.as_deref().map_or_else(|| "not known".to_owned(), shown);
        let (publisher, subscriber) = (figure(&check.publisher), figure(&check.subscriber));
        line(out, "count", &format!("{}: publisher {publisher}, subscriber {subscriber}", word(check.verdict)));
    }
    for (label, checks) in [("max", &table.checks.max), ("sum", &table.checks.sum)] {
        for check in checks.iter().flatten().filter(|check| check.verdict != Verdict::Match) {
            line(out, label, &column(check));
        }
    }
}

fn column(check: &ColumnCheck) -> String {
    let figure = |figure: &Option<String>| figure.as_deref().map_or_else(|| "NULL".to_owned(), shown);
    let mut text = format!(
        "{} {}: publisher {}, subscriber {}",
        shown(&check.column),
        word(check.verdict),
        figure(&check.publisher),
        figure(&check.subscriber)
    );
    if let Some(delta) = &check.delta {
        let _ = write!(text, ", publisher minus subscriber {}", shown(delta));
    }
    if let Some(method) = &check.method {
        let _ = write!(text, " (by {})", shown(method));
    }
    text
}

fn ranges(out: &mut String, rows: &RowsCheck) {
    for range in rows.divergent_ranges.iter().take(SHOWN_RANGES_MAX) {
        let text = match range {
            ChunkRange::Bucket { bucket, of } => format!("bucket {bucket} of {of} of the hash"),
            ChunkRange::Keys { from: Some(from), to: Some(to) } => format!("from {} to before {}", key(from), key(to)),
            ChunkRange::Keys { from: Some(from), to: None } => format!("from {} to the end", key(from)),
            ChunkRange::Keys { from: None, to: Some(to) } => format!("from the beginning to before {}", key(to)),
            ChunkRange::Keys { from: None, to: None } => "the whole table".to_owned(),
        };
        line(out, "range", &text);
    }
    let rest = rows.divergent_ranges.len().saturating_sub(SHOWN_RANGES_MAX);
    if rest > 0 {
        line(out, "", &format!("and {rest} more, in the JSON report"));
    }
}

fn samples(out: &mut String, rows: &RowsCheck) {
    for sample in rows.samples.iter().take(SHOWN_SAMPLES_MAX) {
        line(out, "row", &row(sample));
        for (label, values) in [("publisher", &sample.publisher), ("subscriber", &sample.subscriber)] {
            if let Some(values) = values {
                line(out, "", &format!("{label:<10} {}", columns(values, " ")));
            }
        }
    }
    let found = rows.missing.saturating_add(rows.extra).saturating_add(rows.changed);
    let shown = u64::try_from(rows.samples.len().min(SHOWN_SAMPLES_MAX)).unwrap_or(u64::MAX);
    let rest = found.saturating_sub(shown);
    if rest > 0 && shown > 0 {
        let listed = count(u64::try_from(rows.samples.len()).unwrap_or(u64::MAX));
        line(out, "", &format!("and {} more; the JSON and CSV reports list {listed}", count(rest)));
    }
}

fn row(sample: &Sample) -> String {
    let mut text = if sample.key.is_empty() {
        let digest = sample.row_digest.as_deref().map_or_else(|| "not known".to_owned(), shown);
        format!("without key, digest {digest}")
    } else {
        format!("key {}", key(&sample.key))
    };
    text.push_str(match sample.kind {
        DifferenceKind::Missing => " missing on the subscriber",
        DifferenceKind::Extra => " extra on the subscriber",
        DifferenceKind::Changed => " changed",
    });
    if !sample.columns.is_empty() {
        let names: Vec<_> = sample.columns.iter().map(|column| shown(column)).collect();
        let _ = write!(text, ": {}", names.join(", "));
    }
    if sample.representation_only {
        text.push_str(" (representation only)");
    }
    text
}

fn key(key: &KeyText) -> String {
    columns(key, ", ")
}

fn columns(map: &KeyText, separator: &str) -> String {
    map.iter().map(|(name, text)| format!("{}={}", shown(name), value(text))).collect::<Vec<_>>().join(separator)
}
