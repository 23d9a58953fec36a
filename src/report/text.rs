//! An outcome for people: what stdout gets with `--format text`.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::closing::{self, difference};
use super::escape::{name, sentence, shown};
use super::figures::{bytes, count, counted, duration, len, per_second};
use super::{details, figures};
use crate::catalog::{Finding, Severity};
use crate::run::{Gate, Outcome, Server, TableOutcome};
use crate::verdict::Verdict;

/// Tables that are listed one by one even where they match: about a screen. With more, the matching ones are counted.
pub const LISTED_TABLES_MAX: usize = 40;
/// Excluded objects that are named, for the same reason; the rest is counted.
const LISTED_EXCLUDED_MAX: usize = 10;

/// Writes the outcome as text. The last line is one sentence that can be pasted into a ticket.
#[must_use]
pub fn render(outcome: &Outcome) -> String {
    let mut out = String::new();
    header(&mut out, outcome);
    tables(&mut out, &outcome.tables);
    digests(&mut out, &outcome.tables);
    details::unproven(&mut out, &outcome.tables);
    for table in outcome.tables.iter().filter(|table| table.verdict == Verdict::Different) {
        details::differing(&mut out, table);
    }
    sequences(&mut out, outcome);
    findings(&mut out, &outcome.findings);
    footer(&mut out, outcome);
    let _ = writeln!(out, "\n{}", closing::sentence_of(outcome));
    out
}

/// The line of a server: `publisher   host:5432/shop   PostgreSQL 14.23`.
pub(crate) fn server(out: &mut String, label: &str, server: &Server) {
    let Server { server_version, host, port, database, .. } = server;
    let place = shown(&format!("{host}:{port}/{database}"));
    let _ = writeln!(out, "{label:<12}{place}   PostgreSQL {}", shown(server_version));
}

fn header(out: &mut String, outcome: &Outcome) {
    if outcome.gate.mode == "none" {
        out.push_str(
            "Nothing joins the two snapshots (gate none): what was written between them or on one side only shows as a \
             difference.\n",
        );
    }
    server(out, "publisher", &outcome.publisher);
    server(out, "subscriber", &outcome.subscriber);
    let _ = writeln!(out, "{:<12}{}", "gate", gate(&outcome.gate));
    let mut proofs: Vec<_> = outcome.sync_points.iter().map(|point| point.proof.as_str()).collect();
    proofs.dedup();
    for proof in proofs {
        let _ = writeln!(out, "{:<12}{}", "proof", sentence(proof));
    }
    let mut raises: Vec<_> = outcome.sync_points.iter().filter_map(|point| point.raise.as_deref()).collect();
    raises.dedup();
    for raise in raises {
        let _ = writeln!(out, "{:<12}{}", "", sentence(raise));
    }
    for (id, why) in outcome.sync_points.iter().filter_map(|point| Some((point.id, point.ended_early.as_deref()?))) {
        let _ = writeln!(out, "{:<12}sync point {id} ended early: {}", "", sentence(why));
    }
    if outcome.sync_points.len() > 1 {
        let points = counted(len(&outcome.sync_points), "sync point", "sync points");
        let _ = writeln!(out, "{:<12}{points}, the first is shown above", "");
    }
}

fn gate(gate: &Gate) -> String {
    let mut parts = Vec::new();
    if !gate.reached {
        parts.push("NOT REACHED".to_owned());
    }
    if let Some(lsn) = gate.publisher_lsn {
        parts.push(format!("publisher LSN {lsn}"));
    }
    if let Some(lsn) = gate.applied_lsn
        && gate.applied_lsn != gate.publisher_lsn
    {
        parts.push(format!("applied LSN {lsn}"));
    }
    if let Some(lag) = gate.lag_bytes {
        parts.push(format!("lag {}", counted(lag, "byte", "bytes")));
    }
    if gate.in_flight.transactions > 0 {
        let transactions = counted(gate.in_flight.transactions, "transaction", "transactions");
        parts.push(format!("{transactions} in flight on {}", counted(gate.in_flight.keys, "key", "keys")));
    }
    if gate.waited_ms > 0 {
        parts.push(format!("waited {}", duration(Duration::from_millis(gate.waited_ms))));
    }
    if let Some(message) = &gate.message {
        parts.push(sentence(message));
    }
    let mode = shown(&gate.mode);
    if parts.is_empty() { mode } else { format!("{mode}: {}", parts.join(", ")) }
}

/// An aligned table without borders, two spaces in from the left; the columns in `right` are flush right.
pub(crate) fn grid(out: &mut String, header: &[&str], right: &[usize], rows: Vec<Vec<String>>) {
    let mut grid = Table::new();
    grid.load_style(presets::NOTHING).set_header(header.to_vec()).add_rows(rows);
    for (index, column) in grid.column_iter_mut().enumerate() {
        column.set_padding((if index == 0 { 2 } else { 1 }, 1));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in grid.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn tables(out: &mut String, tables: &[TableOutcome]) {
    let all = tables.len() <= LISTED_TABLES_MAX;
    let listed: Vec<_> = tables.iter().filter(|table| all || table.verdict != Verdict::Match).collect();
    if !listed.is_empty() {
        out.push('\n');
        grid(out, &["table", "rows", "chunks", "result", ""], &[1, 2], listed.iter().map(|table| row(table)).collect());
    }
    let others = tables.len().saturating_sub(listed.len());
    if others > 0 {
        let others = counted(u64::try_from(others).unwrap_or(u64::MAX), "table matches", "tables match");
        let _ = writeln!(out, "\n  {others} and {} not listed", if others.starts_with("1 ") { "is" } else { "are" });
    }
}

fn row(table: &TableOutcome) -> Vec<String> {
    let rows = match table.rows {
        None => "-".to_owned(),
        Some(rows) if rows.publisher == rows.subscriber => count(rows.publisher),
        Some(rows) => format!("{} / {}", count(rows.publisher), count(rows.subscriber)),
    };
    let chunks = table.checks.rows.as_ref().map_or_else(
        || "-".to_owned(),
        |rows| if rows.proof.is_some() { "digest".to_owned() } else { count(rows.chunks) },
    );
    let note = match table.verdict {
        Verdict::Match => String::new(),
        Verdict::Unproven => table.reason.map(|reason| reason.code().to_owned()).unwrap_or_default(),
        Verdict::Different => difference(table),
    };
    vec![name(&table.schema, &table.name), rows, chunks, word(table.verdict).to_owned(), note]
}

/// Where digests did not spare reading rows although they might have.
fn digests(out: &mut String, tables: &[TableOutcome]) {
    let rows = tables.iter().filter_map(|table| table.checks.rows.as_ref());
    let messages: Vec<_> = rows.filter_map(|rows| rows.digest.as_ref()?.message.as_deref()).collect();
    for (at, message) in messages.iter().take(LISTED_TABLES_MAX).enumerate() {
        let _ = writeln!(out, "{}digest    {}", if at == 0 { "\n" } else { "" }, sentence(message));
    }
    let more = messages.len().saturating_sub(LISTED_TABLES_MAX);
    if more > 0 {
        let _ = writeln!(out, "digest    and {more} more, in the JSON report");
    }
}

/// The word for a verdict; a difference stands out without colour.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Match => "match",
        Verdict::Unproven => "unproven",
        Verdict::Different => "DIFFERENT",
    }
}

fn sequences(out: &mut String, outcome: &Outcome) {
    let rows: Vec<_> = outcome
        .sequences
        .iter()
        .filter(|sequence| sequence.verdict != Verdict::Match)
        .map(|sequence| {
            let next = |next: &Option<String>| next.as_deref().map_or_else(|| "-".to_owned(), shown);
            vec![
                name(&sequence.schema, &sequence.name),
                next(&sequence.publisher_next),
                next(&sequence.subscriber_next),
                word(sequence.verdict).to_owned(),
                sequence.message.as_deref().map(sentence).unwrap_or_default(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        out.push('\n');
        grid(out, &["sequence", "publisher next", "subscriber next", "result", ""], &[1, 2], rows);
    }
}

/// Findings by falling severity; those for information are only counted.
pub(crate) fn findings(out: &mut String, findings: &[Finding]) {
    let of = |severity| findings.iter().filter(move |finding| finding.severity == severity);
    if !findings.is_empty() {
        out.push('\n');
    }
    for (severity, label) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
        for finding in of(severity) {
            let Finding { code, object, message, hint, .. } = finding;
            let _ = writeln!(out, "{label:<9} {} [{}]: {}", shown(object), shown(code), sentence(message));
            if !hint.is_empty() {
                let _ = writeln!(out, "{:<9} hint: {}", "", sentence(hint));
            }
        }
    }
    let others = figures::len(&of(Severity::Info).collect::<Vec<_>>());
    if others > 0 {
        let others = counted(others, "finding", "findings");
        let _ = writeln!(out, "{:<9} {others} for information, in the JSON report", "info");
    }
}

/// What was left out on purpose, by name as far as there is room.
pub(crate) fn excluded(out: &mut String, excluded: &[String]) {
    if excluded.is_empty() {
        return;
    }
    let names: Vec<_> = excluded.iter().take(LISTED_EXCLUDED_MAX).map(|name| shown(name)).collect();
    let rest = excluded.len().saturating_sub(LISTED_EXCLUDED_MAX);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let _ = writeln!(out, "{:<9} {}{rest}", "excluded", names.join(", "));
}

fn footer(out: &mut String, outcome: &Outcome) {
    out.push('\n');
    excluded(out, &outcome.excluded);
    let totals = &outcome.totals;
    let time = Duration::from_millis(totals.elapsed_ms);
    let rows = totals.publisher_rows.saturating_add(totals.subscriber_rows);
    let _ =
        write!(out, "{:<9} {} and {} in {}", "read", counted(rows, "row", "rows"), bytes(totals.bytes), duration(time));
    if let (Some(rows @ 1..), Some(speed)) = (per_second(rows, time), per_second(totals.bytes, time)) {
        let _ = write!(out, " ({} rows/s, {}/s)", count(rows), bytes(speed));
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn a_match() {
        insta::assert_snapshot!(render(&fixtures::matching()), @r"
        publisher   db1.example.org:5432/shop   PostgreSQL 14.23
        subscriber  db2.example.org:5432/shop   PostgreSQL 16.4
        gate        quiesced: publisher LSN 0/16B3748, lag 0 bytes, waited 12 ms
        proof       quiesced: no WAL was written between the two snapshots

          table                   rows  chunks  result
          public.customers   1,000,000      16  match
          public.line_items  1,000,000      16  match
          public.orders      1,000,000      16  match
          public.users       1,000,000      16  match

        read      8,000,000 rows and 1.6 GB in 12.3 s (648,035 rows/s, 127.7 MB/s)

        MATCH: all 4 selected tables (4,000,000 rows) and 1 sequence hold the same data at publisher LSN 0/16B3748 with lag 0; 8,000,000 rows read on both sides together in 12.3 s.
        ");
    }

    #[test]
    fn everything_differs() {
        insta::assert_snapshot!(render(&fixtures::different()), @r#"
        publisher   db1.example.org:5432/shop   PostgreSQL 14.23
        subscriber  db2.example.org:5432/shop   PostgreSQL 16.4
        gate        quiesced: publisher LSN 0/16B3748, lag 0 bytes, waited 12 ms
        proof       quiesced: no WAL was written between the two snapshots

          table                              rows  chunks  result
          public."Event log"            1,000,000      64  DIFFERENT  12 extra
          public.customers              1,000,000      16  match
          public.invoices                       -       -  unproven   permission_denied
          public.orders       1,000,000 / 999,999      61  DIFFERENT  1 missing, 2 changed

        public.invoices: unproven, permission_denied: role "checker" may not read public.invoices on the subscriber: GRANT SELECT ON "public"."invoices" TO "checker"

        public."Event log": 12 extra; 1 of 64 chunks differ
          besides  unproven, column_not_comparable: column payload is json on the publisher and text on the subscriber
          range    bucket 17 of 64 of the hash
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000000 extra on the subscriber
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000001 extra on the subscriber
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000002 extra on the subscriber
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000003 extra on the subscriber
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000004 extra on the subscriber
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000005 extra on the subscriber
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000006 extra on the subscriber
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000007 extra on the subscriber
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000008 extra on the subscriber
          row      without key, digest 0000000000000000000000000000000000000000000000000000000000000009 extra on the subscriber
                   and 2 more; the JSON and CSV reports list 12

        public.orders: 1 missing, 2 changed; 2 of 61 chunks differ
          count    DIFFERENT: publisher 1000000, subscriber 999999
          max      shipped_at DIFFERENT: publisher 2026-11-22 10:00:00+00, subscriber NULL
          sum      order_total DIFFERENT: publisher 123456789012345678901234567890.10, subscriber 123456789012345678901234567800.00, publisher minus subscriber 90.10
          range    from id=65536 to before id=131072
          range    from id=999000 to the end
          row      key id=70001 missing on the subscriber
          row      key id=70002 changed: note, a;b
                   publisher  a;b=NULL note='first\nsecond \u{1b}[31m'
                   subscriber a;b='' note='it\'s'
          row      key id=999001 changed: price (representation only)
          cause    rows_changed: updates were lost (ALTER SUBSCRIPTION ... SKIP, a wrong restore point), or rows were written on the subscriber (rows that differ: 2)
          cause    rows_missing: inserts were lost (a slot created after the copy, a skipped transaction), or rows were deleted on the subscriber (rows on the publisher only: 1)

          sequence              publisher next  subscriber next  result
          public.orders_id_seq         1000001                1  DIFFERENT  sequence public.orders_id_seq is 1000000 behind on the subscriber: it would hand out values again that the publisher has used

        error     public.invoices [permission_denied]: role "checker" may not read public.invoices on the subscriber
                  hint: GRANT SELECT ON "public"."invoices" TO "checker"
        warning   public."Event log" [no_key]: no key identifies the rows of public."Event log"; it is compared as a multiset
                  hint: add a primary key: differences are then named by it, and found with less reading
        info      1 finding for information, in the JSON report

        excluded  public.audit, public.cache, public.x\u{7}
        read      8,000,000 rows and 1.6 GB in 12.3 s (648,035 rows/s, 127.7 MB/s)

        DIFFERENT: 2 of 4 selected tables differ (public."Event log": 12 extra; public.orders: 1 missing, 2 changed) and 1 sequence is behind at publisher LSN 0/16B3748 with lag 0; besides, 1 of 4 selected tables is unproven; 8,000,000 rows read on both sides together in 12.3 s; 3 objects excluded.
        "#);
    }

    #[test]
    fn the_gate_was_not_reached() {
        insta::assert_snapshot!(render(&fixtures::gate_not_reached()), @r"
        publisher   db1.example.org:5432/shop   PostgreSQL 14.23
        subscriber  db2.example.org:5432/shop   PostgreSQL 16.4
        gate        quiesced: NOT REACHED, publisher LSN 0/16B3748, applied LSN 0/16B0000, lag 14,152 bytes, waited 5 min 0 s, replay stands at 0/16B0000: subscription shop is disabled

          table             rows  chunks  result
          public.customers     -       -  unproven  gate_not_reached
          public.orders        -       -  unproven  gate_not_reached

        public.customers, public.orders: unproven, gate_not_reached: the sync point was not reached

          sequence              publisher next  subscriber next  result
          public.orders_id_seq         1000001                -  unproven  not read

        read      0 rows and 0 bytes in 5 min 0 s

        UNPROVEN: no difference seen, but the sync point was not reached in 5 min 0 s (replay stands at 0/16B0000: subscription shop is disabled), so 2 of 2 selected tables and 1 sequence are unproven; no rows read in 5 min 0 s.
        ");
    }

    #[test]
    fn nothing_joins_the_sides() {
        insta::assert_snapshot!(render(&fixtures::no_gate()), @r"
        Nothing joins the two snapshots (gate none): what was written between them or on one side only shows as a difference.
        publisher   db1.example.org:5432/shop   PostgreSQL 14.23
        subscriber  db2.example.org:5432/shop   PostgreSQL 16.4
        gate        none
        proof       none: two unrelated snapshots

          table                   rows  chunks  result
          public.customers   1,000,000      16  match
          public.line_items  1,000,000      16  match
          public.orders      1,000,000      16  match
          public.users       1,000,000      16  match

        read      8,000,000 rows and 1.6 GB in 12.3 s (648,035 rows/s, 127.7 MB/s)

        MATCH: all 4 selected tables (4,000,000 rows) and 1 sequence hold the same data in two unrelated snapshots; 8,000,000 rows read on both sides together in 12.3 s.
        ");
    }

    #[test]
    fn interrupted() {
        insta::assert_snapshot!(render(&fixtures::interrupted()), @r"
        publisher   db1.example.org:5432/shop   PostgreSQL 14.23
        subscriber  db2.example.org:5432/shop   PostgreSQL 16.4
        gate        quiesced: publisher LSN 0/16B3748, lag 0 bytes, waited 12 ms
        proof       quiesced: no WAL was written between the two snapshots

          table                  rows  chunks  result
          public.customers  1,000,000      16  match
          public.orders             -       -  unproven  interrupted
          public.users              -       -  unproven  interrupted

        public.orders, public.users: unproven, interrupted: the run was interrupted before the table was settled

        read      2,200,000 rows and 1.6 GB in 12.3 s (178,209 rows/s, 127.7 MB/s)

        UNPROVEN (interrupted): no difference seen, but 2 of 3 selected tables are unproven (public.orders: interrupted, the run was interrupted before the table was settled); 1 of 3 selected tables matches at publisher LSN 0/16B3748 with lag 0; 2,200,000 rows read on both sides together in 12.3 s.
        ");
    }

    #[test]
    fn of_a_thousand_tables_only_the_interesting_ones_are_listed() {
        let mut outcome = fixtures::different();
        outcome.tables.extend((0..1_000).map(|number| fixtures::table(&format!("t{number}"))));
        let text = render(&outcome);
        assert!(text.contains("\n  1,001 tables match and are not listed\n"), "{text}");
        assert!(!text.contains("public.t7"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("DIFFERENT: 2 of 1,004 selected tables differ"), "{text}");
    }

    #[test]
    fn no_text_from_a_database_can_forge_a_line() {
        let mut outcome = fixtures::different();
        let evil = "x\n\x1b[2J\rMATCH: all tables\u{202e}";
        for table in &mut outcome.tables {
            table.name = evil.into();
            table.schema = evil.into();
            table.message = Some(evil.into());
            for cause in &mut table.causes {
                cause.code = evil.into();
                cause.message = evil.into();
                cause.evidence = evil.into();
            }
            for check in table.checks.max.iter_mut().chain(&mut table.checks.sum).flatten() {
                check.column = evil.into();
                check.publisher = Some(evil.into());
                check.delta = Some(evil.into());
                check.method = Some(evil.into());
            }
            for sample in table.checks.rows.iter_mut().flat_map(|rows| &mut rows.samples) {
                sample.columns = vec![evil.into()];
                sample.key = fixtures::object(serde_json::json!({ evil: evil }));
                sample.publisher = Some(fixtures::object(serde_json::json!({ evil: evil })));
            }
        }
        for sequence in &mut outcome.sequences {
            sequence.name = evil.into();
            sequence.message = Some(evil.into());
        }
        for finding in &mut outcome.findings {
            finding.object = evil.into();
            finding.message = evil.into();
            finding.hint = evil.into();
        }
        outcome.excluded = vec![evil.into()];
        outcome.publisher.host = evil.into();
        outcome.publisher.server_version = evil.into();
        outcome.gate.message = Some(evil.into());
        let text = render(&outcome);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains('\u{202e}'));
        assert!(!text.lines().any(|line| line.trim_start().starts_with("MATCH")), "{text}");
        assert!(text.lines().last().unwrap().starts_with("DIFFERENT: "));
    }
}
