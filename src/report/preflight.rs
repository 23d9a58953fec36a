//! What `preflight` found, for people: a table of checks, and what to do.

use std::fmt::Write;

use super::escape::{sentence, shown};
use super::figures::counted;
use super::text::{grid, server};
use crate::run::{Check, PreflightOutcome, Status};
use crate::side::Side;

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
    vec![word(check.status).to_owned(), shown(&check.code), place(check), sentence(&check.evidence)]
}

fn place(check: &Check) -> String {
    let side = check.side.map_or("both", Side::name);
    match &check.object {
        Some(object) => format!("{side} {}", shown(object)),
        None => side.to_owned(),
    }
}

/// What to do, the gravest first.
fn todo(out: &mut String, checks: &[&Check]) {
    for status in [Status::Fix, Status::Unknown, Status::Warn] {
        for check in checks.iter().filter(|check| check.status == status) {
            let _ = writeln!(out, "\n{:<9}{} ({})", word(status), shown(&check.code), place(check));
            if let Some(threshold) = &check.threshold {
                let _ = writeln!(out, "  wanted {}", sentence(threshold));
            }
            if let Some(remedy) = &check.remedy {
                // It may be a statement, and two spaces of a name are not one.
                let _ = writeln!(out, "  remedy {}", shown(remedy));
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
        parts.push(format!("{} unanswered", counted(count(Status::Unknown), "question", "questions")));
    }
    if count(Status::Warn) > 0 {
        parts.push(counted(count(Status::Warn), "warning", "warnings"));
    }
    if outcome.subscriber.is_none() {
        parts.push("no subscriber was looked at".to_owned());
    }
    format!("PREFLIGHT: {}; verify can reach {}.", parts.join(", "), outcome.proof.level.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;
    use crate::report::{fixtures, json};
    use crate::run::{Proof, ProofGap, ProofLevel, PublicationReport, SCHEMA_VERSION, WalRate};

    fn outcome() -> PreflightOutcome {
        let check = |code: &str, status, side, object: Option<&str>, evidence: &str| Check {
            code: code.to_owned(),
            status,
            side,
            object: object.map(str::to_owned),
            evidence: evidence.to_owned(),
            threshold: None,
            remedy: None,
        };
        let keyless = Check {
            threshold: Some("a primary key, or a replica identity by which updates and deletes find their row".into()),
            remedy: Some(crate::sql::noted(
                "ALTER TABLE \"public\".\"log\" REPLICA IDENTITY FULL",
                "or better give it a primary key: without, the subscriber looks for every changed row",
            )),
            ..check(
                "replica_identity",
                Status::Fix,
                Some(Side::Publisher),
                Some("public.log"),
                "no primary key and no other REPLICA IDENTITY; 1.2 GB",
            )
        };
        let grant = "GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO \"checker\"";
        PreflightOutcome {
            schema_version: SCHEMA_VERSION,
            tool: fixtures::tool(),
            exit_code: 1,
            publisher: fixtures::server("db1", "14.23"),
            subscriber: Some(fixtures::server("db2", "16.4")),
            proof: Proof {
                level: ProofLevel::CandidateCut,
                gaps: vec![ProofGap {
                    level: ProofLevel::DecodedWindow,
                    side: Side::Subscriber,
                    lacks: "EXECUTE on pg_replication_origin_progress".into(),
                    remedy: grant.into(),
                }],
            },
            wal: WalRate { from: Lsn(0x2_5000_0000), to: Lsn(0x2_5020_0000), bytes: 2_097_152, interval_ms: 2000 },
            publications: vec![PublicationReport {
                name: "upgrade_pub".into(),
                all_tables: true,
                lacking: vec![],
                tables: vec!["public.log".into(), "public.orders".into()],
            }],
            checks: vec![
                check("logical_decoding", Status::Ok, Some(Side::Publisher), None, "wal_level is logical"),
                keyless,
            ],
        }
    }

    #[test]
    fn the_json_document() {
        let document = String::from_utf8(json::render(&outcome()).unwrap()).unwrap();
        crate::report::fixtures_ops::assert_documented("preflight", &document);
        assert_eq!(serde_json::from_str::<PreflightOutcome>(&document).unwrap(), outcome());
    }

    #[test]
    fn a_table_and_what_to_do() {
        insta::assert_snapshot!(render(&outcome()), @r#"
        publisher   db1:5432/shop   PostgreSQL 14.23
        subscriber  db2:5432/shop   PostgreSQL 16.4
        proof       verify can reach: exact: candidate cut

               check             where                 what was seen
          ok   logical_decoding  publisher             wal_level is logical
          FIX  replica_identity  publisher public.log  no primary key and no other REPLICA IDENTITY; 1.2 GB

        FIX      replica_identity (publisher public.log)
          wanted a primary key, or a replica identity by which updates and deletes find their row
          remedy ALTER TABLE "public"."log" REPLICA IDENTITY FULL; -- or better give it a primary key: without, the subscriber looks for every changed row

        PREFLIGHT: 1 thing to fix; verify can reach exact: candidate cut.
        "#);
    }

    #[test]
    fn a_statement_is_shown_as_it_is() {
        let mut outcome = outcome();
        outcome.checks[1].remedy = Some("ANALYZE \"two  spaces\"; -- and so on".into());
        assert!(render(&outcome).contains("  remedy ANALYZE \"two  spaces\"; -- and so on\n"));
    }

    #[test]
    fn many_objects_do_not_bury_the_rest() {
        let mut outcome = outcome();
        let keyless = outcome.checks[1].clone();
        let named = |number| Check { object: Some(format!("public.t{number}\u{1b}[2J")), ..keyless.clone() };
        outcome.checks.extend((0..50).map(named));
        let text = render(&outcome);
        assert_eq!(text.matches("FIX      replica_identity").count(), SHOWN_OBJECTS_MAX);
        assert!(text.contains("  41 more objects of replica_identity, shown by --format json\n"), "{text}");
        assert!(text.contains("PREFLIGHT: 51 things to fix;") && !text.contains('\u{1b}'), "{text}");
    }
}
