//! Outcomes of `sequences` and `lag` for the tests of all formats.

use super::fixtures::{server, tool};
use crate::catalog::{Finding, Severity};
use crate::config::LagThresholds;
use crate::lsn::Lsn;
use crate::run::*;
use crate::side::Sides;
use crate::verdict::{Reason, Verdict};

/// Asserts that docs/reports.md shows this very document.
#[track_caller]
pub(crate) fn assert_documented(name: &str, document: &str) {
    let documentation = include_str!("../../docs/reports.md");
    let after =
        documentation.split_once(&format!("<!-- json: {name} -->\n```json\n")).expect("docs/reports.md has it").1;
    let shown = after.split_once("```").expect("the block has an end").0;
    let value = |text| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    assert_eq!(value(shown), value(document), "the example of {name} in docs/reports.md");
}

fn sequence(name: &str, verdict: Verdict, next: (&str, Option<&str>), gap: Option<&str>) -> SequenceCheck {
    let last = Some("4000000".to_owned());
    SequenceCheck {
        outcome: SequenceOutcome {
            schema: "public".into(),
            name: name.into(),
            verdict,
            reason: None,
            message: None,
            publisher_next: Some(next.0.into()),
            subscriber_next: next.1.map(Into::into),
        },
        gap: gap.map(Into::into),
        increment: Sides::new(Some("1".into()), Some("1".into())),
        cache: Sides::new(Some("1".into()), Some("20".into())),
        cycle: false,
        columns: vec![SequenceColumnCheck {
            schema: "public".into(),
            table: "orders".into(),
            column: "id".into(),
            last: Sides::new(last.clone(), last),
            note: None,
        }],
        set_to: None,
        left_alone: Some("it is there already".into()),
    }
}

/// One sequence that matches, one that is behind, one that counts down and one that cycles.
pub(crate) fn sequences() -> SequencesOutcome {
    let set = |value: &str| SetTo { value: value.into(), is_called: false, next: value.into(), backward: false };
    let mut behind = sequence("orders_id_seq", Verdict::Different, ("4000001", Some("1")), Some("4000000"));
    behind.outcome.message = Some(
        "sequence public.orders_id_seq is 4000000 behind on the subscriber: it would hand out values again that the \
         publisher has used"
            .into(),
    );
    (behind.set_to, behind.left_alone) = (Some(set("4001001")), None);
    let mut down = sequence("Count \"down\"", Verdict::Different, ("-8", Some("-1")), Some("7"));
    down.outcome.message = Some("sequence public.\"Count \"\"down\"\"\" is 7 behind on the subscriber".into());
    (down.increment, down.columns) = (Sides::new(Some("-1".into()), Some("-1".into())), vec![]);
    (down.set_to, down.left_alone) = (Some(set("-1008")), None);
    let mut cycling = sequence("slots", Verdict::Unproven, ("5", Some("4")), Some("1"));
    cycling.outcome.reason = Some(Reason::Unsupported);
    cycling.outcome.message = Some("sequence public.slots cycles: neither value is behind the other".into());
    (cycling.cycle, cycling.columns) = (true, vec![]);
    cycling.left_alone = Some("it cycles: neither value is behind the other, set it by hand".into());
    let matching = sequence("users_id_seq", Verdict::Match, ("4000001", Some("4000001")), Some("0"));
    SequencesOutcome {
        schema_version: SCHEMA_VERSION,
        tool: tool(),
        verdict: Verdict::Different,
        exit_code: 1,
        started_at: "2026-11-23T10:00:00Z".into(),
        finished_at: "2026-11-23T10:00:01Z".into(),
        publisher: server("db1.example.org", "14.23"),
        subscriber: server("db2.example.org", "16.4"),
        margin: 1000,
        backward: false,
        sequences: vec![down, behind, cycling, matching],
        excluded: vec!["public.audit".into()],
        findings: vec![Finding {
            code: "sequence_definition".into(),
            severity: Severity::Warning,
            object: "public.slots".into(),
            message: "sequence public.slots is defined differently: cache is 1 on the publisher, 20 on the subscriber"
                .into(),
            hint: "use ALTER SEQUENCE on the subscriber to make them the same".into(),
        }],
    }
}

/// A look at a subscription that catches up.
pub(crate) fn lag() -> LagOutcome {
    let lsn = Some(Lsn(0x0500_0000));
    LagOutcome {
        schema_version: SCHEMA_VERSION,
        tool: tool(),
        level: LagLevel::Fair,
        exit_code: 0,
        interrupted: false,
        at: "2026-11-23T10:00:05Z".into(),
        publisher: server("db1.example.org", "14.23"),
        subscriber: server("db2.example.org", "16.4"),
        thresholds: LagThresholds {
            good_bytes: 10_000_000,
            warning_bytes: 100_000_000,
            critical_bytes: 1_000_000_000,
            retained_bytes: 50_000_000_000,
            zero_within_ms: 60_000,
        },
        measured_ms: 5_000,
        publisher_lsn: Lsn(0x0600_0000),
        wal_bytes_per_second: Some(1_200_000),
        until_zero: None,
        subscriptions: vec![SubscriptionLag {
            subscription: "upgrade_sub".into(),
            slot: "upgrade_slot".into(),
            level: LagLevel::Fair,
            enabled: Some(true),
            received_lsn: Some(Lsn(0x0600_0000)),
            sent_lsn: Some(Lsn(0x0600_0000)),
            flushed_lsn: lsn,
            applied_lsn: lsn,
            lag_bytes: Some(16_777_216),
            behind_ms: Some(4_200),
            behind_at_least: false,
            flushed_bytes_per_second: Some(4_200_000),
            flushed_moves: Some(true),
            outlook: Outlook::CatchingUp { seconds: 5 },
            retained_bytes: Some(33_554_432),
            retained_alarm: false,
            wal_status: Some("reserved".into()),
            safe_wal_bytes: None,
            zero: ZeroLag {
                reached: true,
                last_at: Some("2026-11-23T10:00:01Z".into()),
                since: Some("2026-11-22T09:00:01Z".into()),
                held_ms: Some(90_000_000),
            },
            causes: vec![],
        }],
        causes: vec![LagCause {
            code: "long_transaction".into(),
            severity: Severity::Warning,
            evidence: "a transaction that may have written is open in process 4711 (idle in transaction for 600 s)"
                .into(),
            remedy: "end it, or ask its application to commit in smaller pieces".into(),
        }],
        findings: vec![],
    }
}

/// The same with a subscription that is disabled.
pub(crate) fn lag_stalled() -> LagOutcome {
    let mut outcome = lag();
    (outcome.level, outcome.exit_code, outcome.causes) = (LagLevel::Warning, 1, vec![]);
    outcome.until_zero = Some(UntilZero { timeout_ms: 60_000, waited_ms: 60_000, reached: false });
    let lag = &mut outcome.subscriptions[0];
    (lag.level, lag.enabled, lag.received_lsn, lag.sent_lsn) = (LagLevel::Warning, Some(false), None, None);
    (lag.flushed_lsn, lag.applied_lsn, lag.lag_bytes) = (Some(Lsn(0x10)), Some(Lsn(0x10)), Some(100_663_280));
    (lag.behind_ms, lag.behind_at_least) = (Some(60_000), true);
    (lag.flushed_bytes_per_second, lag.flushed_moves) = (Some(0), Some(false));
    lag.outlook = Outlook::StandingStill { bytes_per_minute: 72_000_000 };
    (lag.retained_bytes, lag.retained_alarm, lag.safe_wal_bytes) = (Some(51_000_000_000), true, Some(1_000_000_000));
    lag.zero = ZeroLag { reached: false, last_at: Some("2026-11-23T08:00:00Z".into()), since: None, held_ms: None };
    let cause = |code: &str, severity, evidence: &str, remedy: &str| LagCause {
        code: code.into(),
        severity,
        evidence: evidence.into(),
        remedy: remedy.into(),
    };
    lag.causes = vec![
        cause(
            "subscription_disabled",
            Severity::Error,
            "subscription upgrade_sub is disabled",
            "ALTER SUBSCRIPTION \"upgrade_sub\" ENABLE",
        ),
        cause(
            "slot_inactive",
            Severity::Info,
            "slot upgrade_slot is inactive: no walsender serves it",
            "look at the subscriber's log",
        ),
    ];
    outcome
}
