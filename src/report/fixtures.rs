//! Outcomes for the tests of all formats.

use std::collections::BTreeMap;

use serde_json::json;

use crate::catalog::{Finding, Severity};
use crate::lsn::Lsn;
use crate::run::*;
use crate::verdict::{Reason, Verdict};

pub(crate) fn object(value: serde_json::Value) -> KeyText {
    let serde_json::Value::Object(object) = value else { panic!("not an object") };
    object
}

pub(crate) fn server(host: &str, version: &str) -> Server {
    Server {
        server_version: version.into(),
        host: host.into(),
        port: 5432,
        database: "shop".into(),
        user: "checker".into(),
        system_identifier: Some("7400000000000000001".into()),
    }
}

pub(crate) fn tool() -> Tool {
    Tool { name: "triplecheck".into(), version: "0.1.0".into() }
}

/// All settings, as a run without flags but `--gate quiesced` states them.
fn settings() -> BTreeMap<String, serde_json::Value> {
    let settings = object(json!({
        "subscription": [],
        "table": [],
        "exclude_table": [],
        "scope": "database",
        "checks": ["count", "max", "sum", "sequence", "rows"],
        "jobs": 4,
        "chunk_rows": null,
        "scan": "rows",
        "gate": "quiesced",
        "lag_timeout_seconds": 300,
        "snapshot_age_max_seconds": 900,
        "samples": 100,
        "show_values": false,
        "tables": [],
    }));
    settings.into_iter().collect()
}

pub(crate) fn table(name: &str) -> TableOutcome {
    let figure =
        FigureCheck { verdict: Verdict::Match, publisher: Some("1000000".into()), subscriber: Some("1000000".into()) };
    TableOutcome {
        schema: "public".into(),
        name: name.into(),
        verdict: Verdict::Match,
        reason: None,
        message: None,
        sync_points: vec![1],
        rows: Some(RowCounts { publisher: 1_000_000, subscriber: 1_000_000 }),
        checks: Checks {
            count: Some(figure),
            max: Some(vec![]),
            sum: Some(vec![]),
            rows: Some(RowsCheck {
                verdict: Verdict::Match,
                proof: None,
                digest: None,
                chunks: 16,
                divergent_chunks: 0,
                missing: 0,
                extra: 0,
                changed: 0,
                divergent_ranges: vec![],
                samples: vec![],
                unsettled: None,
            }),
        },
        causes: vec![],
        scan: Some("heap scan".into()),
    }
}

pub(crate) fn unread(name: &str, reason: Reason, message: &str) -> TableOutcome {
    TableOutcome {
        verdict: Verdict::Unproven,
        reason: Some(reason),
        message: Some(message.into()),
        sync_points: vec![],
        rows: None,
        checks: Checks::default(),
        scan: None,
        ..table(name)
    }
}

pub(crate) fn matching() -> Outcome {
    let lsn = Some(Lsn(0x016B_3748));
    Outcome {
        schema_version: SCHEMA_VERSION,
        tool: tool(),
        verdict: Verdict::Match,
        exit_code: 0,
        interrupted: false,
        profile: None,
        started_at: "2026-11-23T01:00:00Z".into(),
        finished_at: "2026-11-23T01:00:12Z".into(),
        settings: settings(),
        excluded: vec![],
        publisher: server("db1.example.org", "14.23"),
        subscriber: server("db2.example.org", "16.4"),
        gate: Gate {
            mode: "quiesced".into(),
            reached: true,
            publisher_lsn: lsn,
            applied_lsn: lsn,
            lag_bytes: Some(0),
            waited_ms: 12,
            in_flight: InFlight::default(),
            message: None,
        },
        sync_points: vec![SyncPointReport {
            id: 1,
            subscription: Some("shop".into()),
            publisher_lsn: lsn,
            applied_lsn: lsn,
            proof: "quiesced: no WAL was written between the two snapshots".into(),
            raise: None,
            publisher_snapshot: "750:750:".into(),
            subscriber_snapshot: "812:812:".into(),
            in_flight: InFlight::default(),
            decoded_bytes: None,
            held_ms: 12_100,
            held: Held {
                publisher_xids: Some(1_500),
                subscriber_xids: Some(1_400),
                retained_bytes: Some(50_331_648),
                wal_status: Some("reserved".into()),
            },
            ended_early: None,
        }],
        tables: ["customers", "line_items", "orders", "users"].map(table).into(),
        sequences: vec![SequenceOutcome {
            schema: "public".into(),
            name: "orders_id_seq".into(),
            verdict: Verdict::Match,
            reason: None,
            message: None,
            publisher_next: Some("1000001".into()),
            subscriber_next: Some("1000001".into()),
        }],
        findings: vec![],
        totals: Totals {
            publisher_rows: 4_000_000,
            subscriber_rows: 4_000_000,
            bytes: 1_576_000_000,
            elapsed_ms: 12_345,
        },
    }
}

fn differing_orders() -> TableOutcome {
    let mut orders = table("orders");
    orders.verdict = Verdict::Different;
    orders.rows = Some(RowCounts { publisher: 1_000_000, subscriber: 999_999 });
    orders.checks.count = Some(FigureCheck {
        verdict: Verdict::Different,
        publisher: Some("1000000".into()),
        subscriber: Some("999999".into()),
    });
    let column = |column: &str, verdict, publisher: &str, subscriber: &str, delta: Option<&str>| ColumnCheck {
        column: column.into(),
        verdict,
        publisher: Some(publisher.into()),
        subscriber: Some(subscriber.into()),
        delta: delta.map(Into::into),
        method: None,
    };
    let same = "2026-11-22 10:00:00+00";
    orders.checks.max = Some(vec![
        column("created_at", Verdict::Match, same, same, None),
        ColumnCheck { subscriber: None, ..column("shipped_at", Verdict::Different, same, "", None) },
    ]);
    let (sum, short) = ("123456789012345678901234567890.10", "123456789012345678901234567800.00");
    orders.checks.sum = Some(vec![column("order_total", Verdict::Different, sum, short, Some("90.10"))]);
    let keys = |from, to| ChunkRange::Keys { from, to };
    let key = |id: &str| object(json!({ "id": id }));
    orders.checks.rows = Some(RowsCheck {
        verdict: Verdict::Different,
        proof: None,
        digest: None,
        chunks: 61,
        divergent_chunks: 2,
        missing: 1,
        extra: 0,
        changed: 2,
        divergent_ranges: vec![keys(Some(key("65536")), Some(key("131072"))), keys(Some(key("999000")), None)],
        unsettled: None,
        samples: vec![
            Sample {
                kind: DifferenceKind::Missing,
                key: key("70001"),
                columns: vec![],
                representation_only: false,
                row_digest: None,
                publisher: None,
                subscriber: None,
            },
            Sample {
                kind: DifferenceKind::Changed,
                key: key("70002"),
                columns: vec!["note".into(), "a;b".into()],
                representation_only: false,
                row_digest: None,
                publisher: Some(object(json!({"a;b": null, "note": "first\nsecond \u{1b}[31m"}))),
                subscriber: Some(object(json!({"a;b": "", "note": "it's"}))),
            },
            Sample {
                kind: DifferenceKind::Changed,
                key: key("999001"),
                columns: vec!["price".into()],
                representation_only: true,
                row_digest: None,
                publisher: None,
                subscriber: None,
            },
        ],
    });
    let cause = |code: &str, message: &str, evidence: &str| Cause {
        code: code.into(),
        message: message.into(),
        evidence: evidence.into(),
    };
    orders.causes = vec![
        cause(
            "rows_changed",
            "updates were lost (ALTER SUBSCRIPTION ... SKIP, a wrong restore point), or rows were written on the subscriber",
            "rows that differ: 2",
        ),
        cause(
            "rows_missing",
            "inserts were lost (a slot created after the copy, a skipped transaction), or rows were deleted on the subscriber",
            "rows on the publisher only: 1",
        ),
    ];
    orders
}

/// A table without a key, damaged in the middle, with an unproven sum besides.
fn differing_events() -> TableOutcome {
    let mut events = table("Event log");
    events.verdict = Verdict::Different;
    events.reason = Some(Reason::ColumnNotComparable);
    events.message = Some("column payload is json on the publisher and text on the subscriber.".into());
    events.checks.sum = None;
    events.checks.rows = Some(RowsCheck {
        verdict: Verdict::Different,
        proof: None,
        digest: None,
        chunks: 64,
        divergent_chunks: 1,
        missing: 0,
        extra: 12,
        changed: 0,
        divergent_ranges: vec![ChunkRange::Bucket { bucket: 17, of: 64 }],
        unsettled: None,
        samples: (0..12)
            .map(|number| Sample {
                kind: DifferenceKind::Extra,
                key: KeyText::new(),
                columns: vec![],
                representation_only: false,
                row_digest: Some(format!("{number:064x}")),
                publisher: None,
                subscriber: None,
            })
            .collect(),
    });
    events
}

/// Everything that can differ, differs.
pub(crate) fn different() -> Outcome {
    let mut outcome = matching();
    outcome.verdict = Verdict::Different;
    outcome.exit_code = 1;
    outcome.tables = vec![
        differing_events(),
        table("customers"),
        unread(
            "invoices",
            Reason::PermissionDenied,
            "role \"checker\" may not read public.invoices on the subscriber: GRANT SELECT ON \"public\".\"invoices\" TO \"checker\"",
        ),
        differing_orders(),
    ];
    if let Some(sequence) = outcome.sequences.first_mut() {
        sequence.verdict = Verdict::Different;
        sequence.subscriber_next = Some("1".into());
        sequence.message = Some(
            "sequence public.orders_id_seq is 1000000 behind on the subscriber: it would hand out values again that the \
             publisher has used"
                .into(),
        );
    }
    let finding = |code: &str, severity, object: &str, message: &str, hint: &str| Finding {
        code: code.into(),
        severity,
        object: object.into(),
        message: message.into(),
        hint: hint.into(),
    };
    outcome.findings = vec![
        finding(
            "extra_column",
            Severity::Info,
            "public.orders.x",
            "column x of public.orders exists on the subscriber only",
            "nothing to do if that is meant",
        ),
        finding(
            "no_key",
            Severity::Warning,
            "public.\"Event log\"",
            "no key identifies the rows of public.\"Event log\"; it is compared as a multiset",
            "add a primary key: differences are then named by it, and found with less reading",
        ),
        finding(
            "permission_denied",
            Severity::Error,
            "public.invoices",
            "role \"checker\" may not read public.invoices on the subscriber",
            "GRANT SELECT ON \"public\".\"invoices\" TO \"checker\"",
        ),
    ];
    outcome.excluded = vec!["public.audit".into(), "public.cache".into(), "public.x\u{7}".into()];
    outcome
}

/// The gate was not reached.
pub(crate) fn gate_not_reached() -> Outcome {
    let mut outcome = matching();
    outcome.verdict = Verdict::Unproven;
    outcome.exit_code = 3;
    outcome.gate.reached = false;
    outcome.gate.applied_lsn = Some(Lsn(0x016B_0000));
    outcome.gate.lag_bytes = Some(0x3748);
    outcome.gate.waited_ms = 300_000;
    outcome.gate.message = Some("replay stands at 0/16B0000: subscription shop is disabled.".into());
    outcome.sync_points.clear();
    outcome.tables = ["customers", "orders"]
        .map(|name| unread(name, Reason::GateNotReached, "the sync point was not reached"))
        .into();
    if let Some(sequence) = outcome.sequences.first_mut() {
        sequence.verdict = Verdict::Unproven;
        sequence.subscriber_next = None;
        sequence.message = Some("not read".into());
    }
    outcome.totals = Totals { elapsed_ms: 300_400, ..Totals::default() };
    outcome
}

/// Nothing joins the two sides, and a table is only on one of them.
pub(crate) fn no_gate() -> Outcome {
    let mut outcome = matching();
    outcome.gate = Gate {
        mode: "none".into(),
        reached: true,
        publisher_lsn: None,
        applied_lsn: None,
        lag_bytes: None,
        waited_ms: 0,
        in_flight: InFlight::default(),
        message: None,
    };
    for point in &mut outcome.sync_points {
        point.subscription = None;
        point.publisher_lsn = None;
        point.applied_lsn = None;
        point.proof = "none: two unrelated snapshots".into();
    }
    outcome
}

/// Stopped by the user after one table of three.
pub(crate) fn interrupted() -> Outcome {
    let mut outcome = matching();
    outcome.verdict = Verdict::Unproven;
    outcome.exit_code = 130;
    outcome.interrupted = true;
    outcome.tables.truncate(1);
    for name in ["orders", "users"] {
        outcome.tables.push(unread(name, Reason::Interrupted, "the run was interrupted before the table was settled"));
    }
    outcome.totals.publisher_rows = 1_000_000;
    outcome.totals.subscriber_rows = 1_200_000;
    outcome
}

pub(crate) fn all() -> Vec<Outcome> {
    vec![matching(), different(), gate_not_reached(), no_gate(), interrupted()]
}

pub(crate) fn ledger() -> Vec<ChunkRecord> {
    let record = |chunk, range, verdict| ChunkRecord {
        schema: "public".into(),
        table: "orders".into(),
        chunk,
        range,
        sync_point: 1,
        verdict,
        publisher_rows: 65_536,
        subscriber_rows: 65_535,
        publisher_digest: "ab".repeat(32),
        subscriber_digest: "cd".repeat(32),
    };
    let keys = |from: Option<&str>, to: Option<&str>| ChunkRange::Keys {
        from: from.map(|id| object(json!({"code": "a,\"b\"", "id": id}))),
        to: to.map(|id| object(json!({"code": "a,\"b\"", "id": id}))),
    };
    vec![
        record(0, keys(None, Some("5")), Verdict::Match),
        record(1, keys(Some("5"), None), Verdict::Different),
        record(2, ChunkRange::Bucket { bucket: 17, of: 64 }, Verdict::Match),
    ]
}
