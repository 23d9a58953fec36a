//! A plan for people: what `verify` would read, and with which statements.

use std::fmt::Write;

use super::escape::{name, sentence, shown};
use super::figures::{bytes, count, counted, len};
use super::text::{excluded, findings, grid, server};
use crate::run::{PlanOutcome, PlannedTable};
use crate::side::Side;

/// Statements that the text shows per table and side; the JSON format has all of them.
const SHOWN_STATEMENTS_MAX: usize = 3;

/// Writes the plan as text. The last line is one sentence.
#[must_use]
pub fn render(plan: &PlanOutcome) -> String {
    let mut out = String::new();
    server(&mut out, "publisher", &plan.publisher);
    server(&mut out, "subscriber", &plan.subscriber);
    if !plan.tables.is_empty() {
        out.push('\n');
        let header = ["table", "rows about", "size about", "chunks", "slices", "scan"];
        grid(&mut out, &header, &[1, 2, 3, 4], plan.tables.iter().map(row).collect());
    }
    for table in &plan.tables {
        details(&mut out, table);
    }
    findings(&mut out, &plan.findings);
    if !plan.excluded.is_empty() {
        out.push('\n');
        excluded(&mut out, &plan.excluded);
    }
    let _ = writeln!(out, "\n{}", closing(plan));
    out
}

fn row(table: &PlannedTable) -> Vec<String> {
    let slices = if table.slices.agree() {
        count(table.slices.publisher)
    } else {
        format!("{} / {}", count(table.slices.publisher), count(table.slices.subscriber))
    };
    vec![
        name(&table.schema, &table.name),
        count(table.rows_estimate),
        bytes(table.bytes_estimate),
        count(table.chunks),
        slices,
        if table.scan.is_empty() { "not read".to_owned() } else { shown(&table.scan) },
    ]
}

fn details(out: &mut String, table: &PlannedTable) {
    let _ = writeln!(out, "\n{}", name(&table.schema, &table.name));
    if let Some(reason) = table.reason {
        let message = sentence(table.message.as_deref().unwrap_or(reason.meaning()));
        let _ = writeln!(out, "  {:<11}{}: {message}", "unproven", reason.code());
    } else if let Some(message) = &table.message {
        let _ = writeln!(out, "  {:<11}{}", "", sentence(message));
    }
    if !table.scan.is_empty() {
        let _ = writeln!(out, "  {:<11}{}: {}", "read by", shown(&table.scan), sentence(&table.why));
        let key: Vec<_> = table.key.iter().map(|column| shown(column)).collect();
        let key = if key.is_empty() { "no key".to_owned() } else { format!("key ({})", key.join(", ")) };
        let chunks = counted(table.chunks, "chunk", "chunks");
        let _ = writeln!(out, "  {:<11}{chunks} by {}, {key}", "cut into", shown(&table.chunked_by));
    }
    for side in Side::BOTH {
        let statements = table.statements.get(side);
        for (index, statement) in statements.iter().take(SHOWN_STATEMENTS_MAX).enumerate() {
            let label = if index == 0 { side.name() } else { "" };
            let _ = writeln!(out, "  {label:<11}{}", shown(statement));
        }
        let rest = statements.len().saturating_sub(SHOWN_STATEMENTS_MAX);
        if rest > 0 {
            let _ = writeln!(out, "  {:<11}and {rest} more, shown by --format json", "");
        }
    }
}

fn closing(plan: &PlanOutcome) -> String {
    let read: Vec<_> = plan.tables.iter().filter(|table| !table.scan.is_empty()).collect();
    let sum = |of: fn(&PlannedTable) -> u64| read.iter().map(|table| of(table)).fold(0, u64::saturating_add);
    let mut line = format!(
        "PLAN: verify would read {} in {}, at most about {} and {} on each side",
        counted(len(&read), "table", "tables"),
        counted(sum(|table| table.chunks), "chunk", "chunks"),
        counted(sum(|table| table.rows_estimate), "row", "rows"),
        bytes(sum(|table| table.bytes_estimate)),
    );
    let barred: Vec<_> = plan.tables.iter().filter(|table| table.reason.is_some()).collect();
    if !barred.is_empty() {
        let _ = write!(line, "; {} cannot be proven to match", counted(len(&barred), "table", "tables"));
    }
    if !plan.excluded.is_empty() {
        let _ = write!(line, "; {} excluded", counted(len(&plan.excluded), "object", "objects"));
    }
    line.push('.');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;
    use crate::run::SCHEMA_VERSION;
    use crate::side::Sides;
    use crate::verdict::Reason;

    fn plan() -> PlanOutcome {
        let statement = |slice: u32| {
            let position = |block: u32| format!("'({block},0)'::pg_catalog.tid");
            format!(
                "COPY (SELECT \"id\", \"line\", \"note\" FROM ONLY \"public\".\"a\nb\" WHERE ctid \
                 OPERATOR(pg_catalog.>=) {} AND ctid OPERATOR(pg_catalog.<) {}) TO STDOUT (FORMAT binary)",
                position(slice * 8192),
                position((slice + 1) * 8192)
            )
        };
        let read = PlannedTable {
            schema: "public".into(),
            name: "a\nb".into(),
            scan: "heap scan".into(),
            why: "read in physical order: no sort, no index, sequential".into(),
            key: vec!["id".into(), "line".into()],
            chunks: 61,
            chunked_by: "key range".into(),
            rows_estimate: 4_000_000,
            bytes_estimate: 4_290_000_000,
            slices: Sides::new(64, 48),
            statements: Sides::new((1..6).map(statement).collect(), vec![statement(9)]),
            reason: None,
            message: None,
        };
        let barred = PlannedTable {
            name: "cache".into(),
            scan: String::new(),
            why: String::new(),
            chunks: 0,
            chunked_by: String::new(),
            slices: Sides::new(0, 0),
            statements: Sides::default(),
            rows_estimate: 40,
            bytes_estimate: 8192,
            reason: Some(Reason::PermissionDenied),
            message: Some("role \"checker\" may not read public.cache on the subscriber".into()),
            ..read.clone()
        };
        PlanOutcome {
            schema_version: SCHEMA_VERSION,
            tool: fixtures::tool(),
            publisher: fixtures::server("db1", "14.23"),
            subscriber: fixtures::server("/run/postgresql", "16.4"),
            tables: vec![read, barred],
            excluded: vec!["public.audit".into()],
            findings: fixtures::different().findings,
        }
    }

    #[test]
    fn plan_for_people() {
        insta::assert_snapshot!(render(&plan()), @r#"
        publisher   db1:5432/shop   PostgreSQL 14.23
        subscriber  /run/postgresql:5432/shop   PostgreSQL 16.4

          table          rows about  size about  chunks   slices  scan
          public."a\nb"   4,000,000      4.3 GB      61  64 / 48  heap scan
          public.cache           40      8.2 kB       0        0  not read

        public."a\nb"
          read by    heap scan: read in physical order: no sort, no index, sequential
          cut into   61 chunks by key range, key (id, line)
          publisher  COPY (SELECT "id", "line", "note" FROM ONLY "public"."a\nb" WHERE ctid OPERATOR(pg_catalog.>=) '(8192,0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '(16384,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)
                     COPY (SELECT "id", "line", "note" FROM ONLY "public"."a\nb" WHERE ctid OPERATOR(pg_catalog.>=) '(16384,0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '(24576,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)
                     COPY (SELECT "id", "line", "note" FROM ONLY "public"."a\nb" WHERE ctid OPERATOR(pg_catalog.>=) '(24576,0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '(32768,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)
                     and 2 more, shown by --format json
          subscriber COPY (SELECT "id", "line", "note" FROM ONLY "public"."a\nb" WHERE ctid OPERATOR(pg_catalog.>=) '(73728,0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '(81920,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)

        public.cache
          unproven   permission_denied: role "checker" may not read public.cache on the subscriber

        error     public.invoices [permission_denied]: role "checker" may not read public.invoices on the subscriber
                  hint: GRANT SELECT ON "public"."invoices" TO "checker"
        warning   public."Event log" [no_key]: no key identifies the rows of public."Event log"; it is compared as a multiset
                  hint: add a primary key: differences are then named by it, and found with less reading
        info      1 finding for information, in the JSON report

        excluded  public.audit

        PLAN: verify would read 1 table in 61 chunks, at most about 4,000,000 rows and 4.3 GB on each side; 1 table cannot be proven to match; 1 object excluded.
        "#);
    }

    #[test]
    fn plan_goes_there_and_back() {
        let document = crate::report::json::render(&plan()).unwrap();
        assert_eq!(serde_json::from_slice::<PlanOutcome>(&document).unwrap(), plan());
    }

    /// docs/reports.md shows this document.
    #[test]
    fn the_json_document() {
        let mut plan = plan();
        plan.tables.truncate(1);
        plan.tables[0].statements.publisher.truncate(1);
        plan.tables[0].name = "orders".into();
        let statements = &mut plan.tables[0].statements;
        for statement in statements.publisher.iter_mut().chain(&mut statements.subscriber) {
            *statement = statement.replace("a\nb", "orders");
        }
        plan.findings.clear();
        let document = String::from_utf8(crate::report::json::render(&plan).unwrap()).unwrap();
        insta::assert_snapshot!(document, @r#"
        {
          "schema_version": 1,
          "tool": {
            "name": "triplecheck",
            "version": "0.1.0"
          },
          "publisher": {
            "server_version": "14.23",
            "host": "db1",
            "port": 5432,
            "database": "shop",
            "user": "checker",
            "system_identifier": "7400000000000000001"
          },
          "subscriber": {
            "server_version": "16.4",
            "host": "/run/postgresql",
            "port": 5432,
            "database": "shop",
            "user": "checker",
            "system_identifier": "7400000000000000001"
          },
          "tables": [
            {
              "schema": "public",
              "name": "orders",
              "scan": "heap scan",
              "why": "read in physical order: no sort, no index, sequential",
              "key": [
                "id",
                "line"
              ],
              "chunks": 61,
              "chunked_by": "key range",
              "rows_estimate": 4000000,
              "bytes_estimate": 4290000000,
              "slices": {
                "publisher": 64,
                "subscriber": 48
              },
              "statements": {
                "publisher": [
                  "COPY (SELECT \"id\", \"line\", \"note\" FROM ONLY \"public\".\"orders\" WHERE ctid OPERATOR(pg_catalog.>=) '(8192,0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '(16384,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)"
                ],
                "subscriber": [
                  "COPY (SELECT \"id\", \"line\", \"note\" FROM ONLY \"public\".\"orders\" WHERE ctid OPERATOR(pg_catalog.>=) '(73728,0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '(81920,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)"
                ]
              },
              "reason": null,
              "message": null
            }
          ],
          "excluded": [
            "public.audit"
          ],
          "findings": []
        }
        "#);
        crate::report::fixtures_ops::assert_documented("plan", &document);
    }
}
