//! A look of `lag` for people.

use std::fmt::Write;
use std::time::Duration;

use super::escape::{sentence, shown};
use super::figures::{bytes, duration};
use super::text::{findings, server};
use crate::catalog::Severity;
use crate::run::{LagCause, LagLevel, LagOutcome, Outlook, SubscriptionLag, ZeroLag};

/// The levels of a sparkline, from nothing to the most that it shows.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Writes a look as text. `recent` are the lags of each subscription over the last looks; empty where there were none. The
/// last line is one sentence.
#[must_use]
pub fn render(outcome: &LagOutcome, recent: &[Vec<u64>]) -> String {
    let mut out = String::new();
    server(&mut out, "publisher", &outcome.publisher);
    server(&mut out, "subscriber", &outcome.subscriber);
    let _ = write!(out, "{:<12}{}", "position", outcome.publisher_lsn);
    if let Some(rate) = outcome.wal_bytes_per_second {
        let time = duration(Duration::from_millis(outcome.measured_ms));
        let _ = write!(out, ", {}/s of WAL written (over {time})", bytes(rate));
    }
    out.push('\n');
    for (index, lag) in outcome.subscriptions.iter().enumerate() {
        subscription(&mut out, outcome, lag, recent.get(index).map(Vec::as_slice).unwrap_or_default());
    }
    if !outcome.causes.is_empty() {
        out.push_str("\non the publisher\n");
        outcome.causes.iter().for_each(|cause| self::cause(&mut out, cause));
    }
    findings(&mut out, &outcome.findings);
    let _ = writeln!(out, "\n{}", closing(outcome));
    out
}

/// The last lags as bars, the newest to the right; the highest bar is the largest of them.
#[must_use]
pub fn sparkline(lags: &[u64]) -> String {
    let most = lags.iter().copied().max().unwrap_or_default().max(1);
    let steps = BARS.len() as u128 - 1;
    let bar = |lag: u64| {
        // Nothing has the lowest bar for itself.
        let step = (u128::from(lag) * steps).div_ceil(u128::from(most));
        usize::try_from(step).ok().and_then(|step| BARS.get(step)).copied().unwrap_or('█')
    };
    lags.iter().copied().map(bar).collect()
}

fn subscription(out: &mut String, outcome: &LagOutcome, lag: &SubscriptionLag, recent: &[u64]) {
    let thresholds = &outcome.thresholds;
    let _ = writeln!(out, "\nsubscription {}, slot {}", shown(&lag.subscription), shown(&lag.slot));
    let mut line = |label: &str, text: &str| {
        let _ = writeln!(out, "  {label:<10}{text}");
    };
    let mut text = lag.lag_bytes.map_or_else(|| "unknown".to_owned(), bytes);
    if lag.level > LagLevel::Good {
        let _ = write!(text, ", {}", lag.level.name().to_uppercase());
    }
    if let (Some(time), Some(1..)) = (lag.behind_ms, lag.lag_bytes) {
        let least = if lag.behind_at_least { "at least " } else { "" };
        let _ = write!(text, ", {least}{} behind", duration(Duration::from_millis(time)));
    }
    line("lag", &text);
    if !recent.is_empty() {
        let most = recent.iter().copied().max().unwrap_or_default();
        line("", &format!("{}  at most {}", sparkline(recent), bytes(most)));
    }
    let position = |name: &str, lsn: &Option<crate::lsn::Lsn>| lsn.map(|lsn| format!("{name} {lsn}"));
    let positions = [
        position("received", &lag.received_lsn),
        position("applied", &lag.applied_lsn),
        position("flushed", &lag.flushed_lsn),
    ];
    let positions: Vec<_> = positions.into_iter().flatten().collect();
    if !positions.is_empty() {
        line("positions", &positions.join(", "));
    }
    match (lag.flushed_moves, lag.flushed_bytes_per_second) {
        (Some(false), _) => line("flushed", "DOES NOT MOVE"),
        (_, Some(rate)) => line("flushed", &format!("moves by {}/s", bytes(rate))),
        _ => {}
    }
    line("outlook", &outlook(lag.outlook));
    if let Some(retained) = lag.retained_bytes {
        let mut text = format!("{} of WAL kept for the slot", bytes(retained));
        if lag.retained_alarm {
            let _ = write!(text, ", ALARM from {} on", bytes(thresholds.retained_bytes));
        }
        if let Some(status) = &lag.wal_status {
            let _ = write!(text, ", {}", shown(status));
        }
        if let Some(safe) = lag.safe_wal_bytes.and_then(|safe| u64::try_from(safe).ok()) {
            let _ = write!(text, ", {} more until it may be lost", bytes(safe));
        }
        line("retained", &text);
    }
    line("zero", &zero(&lag.zero, thresholds.zero_within_ms));
    lag.causes.iter().for_each(|cause| self::cause(out, cause));
}

fn outlook(outlook: Outlook) -> String {
    let minute = |growth| format!("{}/min", bytes(growth));
    match outlook {
        Outlook::Unknown => "unknown".to_owned(),
        Outlook::CaughtUp => "caught up".to_owned(),
        Outlook::KeepingUp => "keeping up".to_owned(),
        Outlook::CatchingUp { seconds } => format!("caught up in about {}", duration(Duration::from_secs(seconds))),
        Outlook::FallingBehind { bytes_per_minute } => format!("FALLING BEHIND by {}", minute(bytes_per_minute)),
        Outlook::StandingStill { bytes_per_minute: 0 } => "STANDING STILL".to_owned(),
        Outlook::StandingStill { bytes_per_minute } => {
            format!("STANDING STILL while {} are written", minute(bytes_per_minute))
        }
    }
}

fn zero(zero: &ZeroLag, within_ms: u64) -> String {
    let within = duration(Duration::from_millis(within_ms));
    match (&zero.held_ms, &zero.since, &zero.last_at) {
        (Some(held), Some(since), _) => {
            let held = duration(Duration::from_millis(*held));
            format!("reached within every {within} for {held}, since {}", shown(since))
        }
        (_, _, Some(last)) => format!("not within the last {within}; last at {}", shown(last)),
        _ => "not seen".to_owned(),
    }
}

fn cause(out: &mut String, cause: &LagCause) {
    let label = match cause.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let _ = writeln!(out, "  {label:<10}{}: {}", shown(&cause.code), sentence(&cause.evidence));
    let _ = writeln!(out, "  {:<10}remedy: {}", "", sentence(&cause.remedy));
}

fn closing(outcome: &LagOutcome) -> String {
    let mut line = format!("LAG {}: ", outcome.level.name());
    let of = |lag: &SubscriptionLag| {
        let name = shown(&lag.subscription);
        let far = match lag.lag_bytes {
            None => "is at an unknown position".to_owned(),
            Some(0) => "is at zero".to_owned(),
            Some(far) => format!("is {} behind, {}", bytes(far), outlook(lag.outlook)),
        };
        let alarm = if lag.retained_alarm { ", with too much WAL kept for it" } else { "" };
        let why = lag.causes.first().filter(|cause| cause.severity > Severity::Info);
        let why =
            why.map_or_else(String::new, |cause| format!(" ({}: {})", shown(&cause.code), sentence(&cause.evidence)));
        format!("{name} {far}{alarm}{why}")
    };
    line.push_str(&outcome.subscriptions.iter().map(of).collect::<Vec<_>>().join("; "));
    if let Some(until) = outcome.until_zero {
        let waited = duration(Duration::from_millis(until.waited_ms));
        let reached = if until.reached { "zero was reached after" } else { "zero was not reached in" };
        let _ = write!(line, "; {reached} {waited}");
    }
    line.push('.');
    line
}

#[cfg(test)]
mod tests {
    use super::super::fixtures_ops::{lag, lag_stalled};
    use super::*;

    #[test]
    fn catching_up() {
        insta::assert_snapshot!(render(&lag(), &[vec![0, 1, 40, 80, 79, 20]]), @r"
        publisher   db1.example.org:5432/shop   PostgreSQL 14.23
        subscriber  db2.example.org:5432/shop   PostgreSQL 16.4
        position    0/6000000, 1.2 MB/s of WAL written (over 5.0 s)

        subscription upgrade_sub, slot upgrade_slot
          lag       16.8 MB, FAIR, 4.2 s behind
                    ▁▂▅██▃  at most 80 bytes
          positions received 0/6000000, applied 0/5000000, flushed 0/5000000
          flushed   moves by 4.2 MB/s
          outlook   caught up in about 5.0 s
          retained  33.6 MB of WAL kept for the slot, reserved
          zero      reached within every 1 min 0 s for 25 h 0 min, since 2026-11-22T09:00:01Z

        on the publisher
          warning   long_transaction: a transaction that may have written is open in process 4711 (idle in transaction for 600 s)
                    remedy: end it, or ask its application to commit in smaller pieces

        LAG fair: upgrade_sub is 16.8 MB behind, caught up in about 5.0 s.
        ");
    }

    #[test]
    fn stalled() {
        insta::assert_snapshot!(render(&lag_stalled(), &[]), @r#"
        publisher   db1.example.org:5432/shop   PostgreSQL 14.23
        subscriber  db2.example.org:5432/shop   PostgreSQL 16.4
        position    0/6000000, 1.2 MB/s of WAL written (over 5.0 s)

        subscription upgrade_sub, slot upgrade_slot
          lag       100.7 MB, WARNING, at least 1 min 0 s behind
          positions applied 0/10, flushed 0/10
          flushed   DOES NOT MOVE
          outlook   STANDING STILL while 72.0 MB/min are written
          retained  51.0 GB of WAL kept for the slot, ALARM from 50.0 GB on, reserved, 1.0 GB more until it may be lost
          zero      not within the last 1 min 0 s; last at 2026-11-23T08:00:00Z
          error     subscription_disabled: subscription upgrade_sub is disabled
                    remedy: ALTER SUBSCRIPTION "upgrade_sub" ENABLE
          info      slot_inactive: slot upgrade_slot is inactive: no walsender serves it
                    remedy: look at the subscriber's log

        LAG warning: upgrade_sub is 100.7 MB behind, STANDING STILL while 72.0 MB/min are written, with too much WAL kept for it (subscription_disabled: subscription upgrade_sub is disabled); zero was not reached in 1 min 0 s.
        "#);
    }

    #[test]
    fn bars() {
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[0, 0]), "▁▁");
        assert_eq!(sparkline(&[0, 1, 50, 100, u64::MAX]), "▁▂▂▂█");
        assert_eq!(sparkline(&[7, 6, 5, 4, 3, 2, 1, 0]), "█▇▆▅▄▃▂▁");
    }

    #[test]
    fn nothing_from_a_server_forges_a_line() {
        let mut outcome = lag_stalled();
        let evil = "x\n\x1b[2JLAG good: all";
        let one = &mut outcome.subscriptions[0];
        (one.subscription, one.slot, one.wal_status) = (evil.into(), evil.into(), Some(evil.into()));
        for cause in &mut one.causes {
            (cause.evidence, cause.remedy) = (evil.into(), evil.into());
        }
        let text = render(&outcome, &[]);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.lines().filter(|line| line.starts_with("LAG")).count() == 1, "{text}");
    }

    /// docs/reports.md shows this document.
    #[test]
    fn the_json_document() {
        let document = String::from_utf8(crate::report::json::render(&lag_stalled()).unwrap()).unwrap();
        insta::assert_snapshot!(document, @r#"
        {
          "schema_version": 1,
          "tool": {
            "name": "triplecheck",
            "version": "0.1.0"
          },
          "level": "warning",
          "exit_code": 1,
          "interrupted": false,
          "at": "2026-11-23T10:00:05Z",
          "publisher": {
            "server_version": "14.23",
            "host": "db1.example.org",
            "port": 5432,
            "database": "shop",
            "user": "checker",
            "system_identifier": "7400000000000000001"
          },
          "subscriber": {
            "server_version": "16.4",
            "host": "db2.example.org",
            "port": 5432,
            "database": "shop",
            "user": "checker",
            "system_identifier": "7400000000000000001"
          },
          "thresholds": {
            "good_bytes": 10000000,
            "warning_bytes": 100000000,
            "critical_bytes": 1000000000,
            "retained_bytes": 50000000000,
            "zero_within_ms": 60000
          },
          "measured_ms": 5000,
          "publisher_lsn": "0/6000000",
          "wal_bytes_per_second": 1200000,
          "until_zero": {
            "timeout_ms": 60000,
            "waited_ms": 60000,
            "reached": false
          },
          "subscriptions": [
            {
              "subscription": "upgrade_sub",
              "slot": "upgrade_slot",
              "level": "warning",
              "enabled": false,
              "received_lsn": null,
              "sent_lsn": null,
              "flushed_lsn": "0/10",
              "applied_lsn": "0/10",
              "lag_bytes": 100663280,
              "behind_ms": 60000,
              "behind_at_least": true,
              "flushed_bytes_per_second": 0,
              "flushed_moves": false,
              "outlook": {
                "state": "standing_still",
                "bytes_per_minute": 72000000
              },
              "retained_bytes": 51000000000,
              "retained_alarm": true,
              "wal_status": "reserved",
              "safe_wal_bytes": 1000000000,
              "zero": {
                "reached": false,
                "last_at": "2026-11-23T08:00:00Z",
                "since": null,
                "held_ms": null
              },
              "causes": [
                {
                  "code": "subscription_disabled",
                  "severity": "error",
                  "evidence": "subscription upgrade_sub is disabled",
                  "remedy": "ALTER SUBSCRIPTION \"upgrade_sub\" ENABLE"
                },
                {
                  "code": "slot_inactive",
                  "severity": "info",
                  "evidence": "slot upgrade_slot is inactive: no walsender serves it",
                  "remedy": "look at the subscriber's log"
                }
              ]
            }
          ],
          "causes": [],
          "findings": []
        }
        "#);
        crate::report::fixtures_ops::assert_documented("lag", &document);
        assert_eq!(serde_json::from_str::<LagOutcome>(&document).unwrap(), lag_stalled());
    }
}
