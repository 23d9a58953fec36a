//! What `preflight` found, for people: a table of checks, and what to do.

use std::fmt::Write;

use super::escape::{sentence, shown};
use super::figures::counted;
use super::text::{grid, server};
use crate::run::{Check, PreflightOutcome, Status};

/// Objects that the text shows per check and status; the JSON format has all of them. They come largest first.
const SHOWN_OBJECTS_MAX: usize = 10;

/// Writes the outcome as text. The last line is one sentence.
#[must_use]
pub fn render(outcome: &PreflightOutcome) -> String {
    let mut out = String::new();
    server(&mut out, "publisher", &outcome.publisher);
    if let Some(subscriber) = &outcome.subscriber {
        server(&mut out, "subscriber", subscriber);
    }
    let _ = writeln!(out, "{:<12}verify can reach: {}", "proof", outcome.proof.level.name());
    let (shown_checks, hidden) = selected(&outcome.checks);
    out.push('\n');
    let header = ["", "check", "where", "what was seen"];
    grid(&mut out, &header, &[], shown_checks.iter().map(|check| row(check)).collect());
    for (code, count) in hidden {
        let more = counted(count, "more object", "more objects");
        let _ = writeln!(out, "  {more} of {}, shown by --format json", shown(code));
    }
    todo(&mut out, &shown_checks);
    let _ = writeln!(out, "\n{}", closing(outcome));
    out
}

/// The checks that are shown, and how many of which code are not.
fn selected(checks: &[Check]) -> (Vec<&Check>, Vec<(&str, u64)>) {
    let mut selected: Vec<&Check> = Vec::new();
    let mut hidden: Vec<(&str, u64)> = Vec::new();
    for check in checks {
        let alike = |other: &&&Check| other.code == check.code && other.status == check.status;
        if selected.iter().filter(alike).count() < SHOWN_OBJECTS_MAX {
            selected.push(check);
        } else if let Some((_, count)) = hidden.iter_mut().find(|(code, _)| *code == check.code) {
            *count += 1;
        } else {
            hidden.push((&check.code, 1));
        }
    }
    (selected, hidden)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Fix => "FIX",
        Status::Warn => "warn",
        Status::Unknown => "unknown",
    }
}

fn row(check: &Check) -> Vec<String> {
    let side = check.side.map_or("both", crate::side::Side::name);
    let place = match &check.object {
        Some(object) => format!("{side} {}", shown(object)),
        None => side.to_owned(),
    };
    vec![word(check.status).to_owned(), shown(&check.code), place, sentence(&check.evidence)]
}

/// What to do, the gravest first.
fn todo(out: &mut String, checks: &[&Check]) {
    for status in [Status::Fix, Status::Unknown, Status::Warn] {
        for check in checks.iter().filter(|check| check.status == status) {
            let object = check.object.as_deref().map(|object| format!(" {}", shown(object))).unwrap_or_default();
            let _ = writeln!(out, "\n{:<9}{}{object}", word(status), shown(&check.code));
            for (label, text) in [("wanted", &check.threshold), ("remedy", &check.remedy)] {
                if let Some(text) = text {
                    let _ = writeln!(out, "  {label:<7}{}", sentence(text));
                }
            }
        }
    }
}

fn closing(outcome: &PreflightOutcome) -> String {
    let count = |status| {
        let count = outcome.checks.iter().filter(|check| check.status == status).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    };
    let fix = match count(Status::Fix) {
        0 => "nothing to fix".to_owned(),
        some => format!("{} to fix", counted(some, "thing", "things")),
    };
    let mut parts = vec![fix];
    if count(Status::Unknown) > 0 {
        parts.push(format!("{} refused", counted(count(Status::Unknown), "probe", "probes")));
    }
    if count(Status::Warn) > 0 {
        parts.push(counted(count(Status::Warn), "warning", "warnings"));
    }
    if outcome.subscriber.is_none() {
        parts.push("no subscriber was looked at".to_owned());
    }
    format!("PREFLIGHT: {}; verify can reach {}.", parts.join(", "), outcome.proof.level.name())
}
