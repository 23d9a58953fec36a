//! The outcome of `sequences` for people.

use std::fmt::Write;

use super::escape::{name, sentence, shown};
use super::figures::{counted, len};
use super::text::{LISTED_TABLES_MAX, excluded, findings, grid, server, word};
use crate::run::{SequenceCheck, SequenceColumnCheck, SequencesOutcome};
use crate::verdict::Verdict;

/// Writes the outcome as text; `script` is the file that the setval script went to. The last line is one sentence.
#[must_use]
pub fn render(outcome: &SequencesOutcome, script: Option<&str>) -> String {
    let mut out = String::new();
    server(&mut out, "publisher", &outcome.publisher);
    server(&mut out, "subscriber", &outcome.subscriber);
    let all = outcome.sequences.len() <= LISTED_TABLES_MAX;
    let listed: Vec<_> =
        outcome.sequences.iter().filter(|sequence| all || sequence.outcome.verdict != Verdict::Match).collect();
    if !listed.is_empty() {
        out.push('\n');
        let header = ["sequence", "publisher next", "subscriber next", "gap", "in columns", "result"];
        grid(&mut out, &header, &[1, 2, 3, 4], listed.iter().map(|sequence| row(sequence)).collect());
    }
    let others = outcome.sequences.len().saturating_sub(listed.len());
    if others > 0 {
        let others = counted(u64::try_from(others).unwrap_or(u64::MAX), "sequence matches", "sequences match");
        let _ = writeln!(out, "\n  {others} and {} not listed", if others.starts_with("1 ") { "is" } else { "are" });
    }
    let mut gap = true;
    // Who asks for sequences to be set back wants to know which are, and which are not.
    let ahead =
        |sequence: &&SequenceCheck| outcome.backward && sequence.gap.as_ref().is_some_and(|gap| gap.starts_with('-'));
    for sequence in
        outcome.sequences.iter().filter(|sequence| sequence.outcome.verdict != Verdict::Match || ahead(sequence))
    {
        if std::mem::take(&mut gap) {
            out.push('\n');
        }
        let message = match &sequence.outcome.message {
            Some(message) => sentence(message),
            None => format!("{} is ahead on the subscriber", name(&sequence.outcome.schema, &sequence.outcome.name)),
        };
        let _ = writeln!(out, "{:<9} {message}", word(sequence.outcome.verdict));
        match (&sequence.set_to, &sequence.left_alone) {
            (Some(set_to), _) if set_to.backward => {
                let _ = writeln!(out, "{:<9} to be SET BACK to hand out {} next", "", shown(&set_to.next));
            }
            (Some(set_to), _) if set_to.is_called => {
                let _ = writeln!(out, "{:<9} to be set to its end, {}", "", shown(&set_to.value));
            }
            (Some(set_to), _) => {
                let _ = writeln!(out, "{:<9} to be set to hand out {} next", "", shown(&set_to.next));
            }
            (None, Some(why)) => {
                let _ = writeln!(out, "{:<9} not to be set: {}", "", sentence(why));
            }
            (None, None) => {}
        }
    }
    findings(&mut out, &outcome.findings);
    if !outcome.excluded.is_empty() {
        out.push('\n');
        excluded(&mut out, &outcome.excluded);
    }
    let _ = writeln!(out, "\n{}", closing(outcome, script));
    out
}

fn row(sequence: &SequenceCheck) -> Vec<String> {
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), shown);
    let outcome = &sequence.outcome;
    vec![
        name(&outcome.schema, &outcome.name),
        text(&outcome.publisher_next),
        text(&outcome.subscriber_next),
        text(&sequence.gap),
        columns(&sequence.columns),
        word(outcome.verdict).to_owned(),
    ]
}

/// The last values in the columns that a sequence feeds: one where both sides agree, else publisher / subscriber.
fn columns(columns: &[SequenceColumnCheck]) -> String {
    let texts = columns.iter().map(|column| {
        let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), shown);
        if column.last.agree() {
            text(&column.last.publisher)
        } else {
            format!("{} / {}", text(&column.last.publisher), text(&column.last.subscriber))
        }
    });
    let texts: Vec<_> = texts.collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

fn closing(outcome: &SequencesOutcome, script: Option<&str>) -> String {
    let of = |verdict| outcome.sequences.iter().filter(|sequence| sequence.outcome.verdict == verdict).count() as u64;
    let all = counted(len(&outcome.sequences), "sequence", "sequences");
    let mut line = match outcome.verdict {
        Verdict::Match => format!("MATCH: the next value of all {all} is safe on the subscriber"),
        Verdict::Different => {
            let unproven = match of(Verdict::Unproven) {
                0 => String::new(),
                unproven => format!("; besides, {unproven} unproven"),
            };
            format!("DIFFERENT: {} of {all} are not safe on the subscriber{unproven}", of(Verdict::Different))
        }
        Verdict::Unproven => format!("UNPROVEN: {} of {all} could not be judged", of(Verdict::Unproven)),
    };
    let set = outcome.sequences.iter().filter(|sequence| sequence.set_to.is_some()).count() as u64;
    match (script, set) {
        (Some(path), _) => {
            let _ = write!(line, "; {} sets {}", shown(path), counted(set, "sequence", "sequences"));
        }
        (None, 1..) if outcome.verdict == Verdict::Different => {
            line.push_str("; --emit-sql FILE writes the script that sets them");
        }
        (None, _) => {}
    }
    if !outcome.excluded.is_empty() {
        let _ = write!(line, "; {} excluded", counted(len(&outcome.excluded), "object", "objects"));
    }
    line.push('.');
    line
}

#[cfg(test)]
mod tests {
    use super::super::fixtures_ops as fixtures;
    use super::*;

    #[test]
    fn sequences_for_people() {
        insta::assert_snapshot!(render(&fixtures::sequences(), Some("/tmp/setval.sql")), @r#"
        publisher   db1.example.org:5432/shop   PostgreSQL 14.23
        subscriber  db2.example.org:5432/shop   PostgreSQL 16.4

          sequence                 publisher next  subscriber next      gap  in columns  result
          public."Count ""down"""              -8               -1        7           -  DIFFERENT
          public.orders_id_seq            4000001                1  4000000     4000000  DIFFERENT
          public.slots                          5                4        1           -  unproven
          public.users_id_seq             4000001          4000001        0     4000000  match

        DIFFERENT sequence public."Count ""down""" is 7 behind on the subscriber
                  to be set to hand out -1008 next
        DIFFERENT sequence public.orders_id_seq is 4000000 behind on the subscriber: it would hand out values again that the publisher has used
                  to be set to hand out 4001001 next
        unproven  sequence public.slots cycles: neither value is behind the other
                  not to be set: it cycles: neither value is behind the other, set it by hand

        warning   public.slots [sequence_definition]: sequence public.slots is defined differently: cache is 1 on the publisher, 20 on the subscriber
                  hint: use ALTER SEQUENCE on the subscriber to make them the same

        excluded  public.audit

        DIFFERENT: 2 of 4 sequences are not safe on the subscriber; besides, 1 unproven; /tmp/setval.sql sets 2 sequences; 1 object excluded.
        "#);
    }

    #[test]
    fn all_is_well() {
        let mut outcome = fixtures::sequences();
        outcome.sequences.retain(|sequence| sequence.outcome.verdict == Verdict::Match);
        outcome.verdict = Verdict::Match;
        outcome.findings.clear();
        let text = render(&outcome, None);
        let last = text.lines().last().unwrap();
        assert_eq!(last, "MATCH: the next value of all 1 sequence is safe on the subscriber; 1 object excluded.");
    }

    /// docs/reports.md shows this document.
    #[test]
    fn the_json_document() {
        let mut outcome = fixtures::sequences();
        outcome.sequences.retain(|sequence| ["orders_id_seq", "slots"].contains(&sequence.outcome.name.as_str()));
        let document = String::from_utf8(crate::report::json::render(&outcome).unwrap()).unwrap();
        insta::assert_snapshot!(document, @r#"
        {
          "schema_version": 1,
          "tool": {
            "name": "triplecheck",
            "version": "0.1.0"
          },
          "verdict": "different",
          "exit_code": 1,
          "started_at": "2026-11-23T10:00:00Z",
          "finished_at": "2026-11-23T10:00:01Z",
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
          "margin": 1000,
          "backward": false,
          "sequences": [
            {
              "schema": "public",
              "name": "orders_id_seq",
              "verdict": "different",
              "reason": null,
              "message": "sequence public.orders_id_seq is 4000000 behind on the subscriber: it would hand out values again that the publisher has used",
              "publisher_next": "4000001",
              "subscriber_next": "1",
              "gap": "4000000",
              "increment": {
                "publisher": "1",
                "subscriber": "1"
              },
              "cache": {
                "publisher": "1",
                "subscriber": "20"
              },
              "cycle": false,
              "columns": [
                {
                  "schema": "public",
                  "table": "orders",
                  "column": "id",
                  "last": {
                    "publisher": "4000000",
                    "subscriber": "4000000"
                  },
                  "note": null
                }
              ],
              "set_to": {
                "value": "4001001",
                "is_called": false,
                "next": "4001001",
                "backward": false
              },
              "left_alone": null
            },
            {
              "schema": "public",
              "name": "slots",
              "verdict": "unproven",
              "reason": "unsupported",
              "message": "sequence public.slots cycles: neither value is behind the other",
              "publisher_next": "5",
              "subscriber_next": "4",
              "gap": "1",
              "increment": {
                "publisher": "1",
                "subscriber": "1"
              },
              "cache": {
                "publisher": "1",
                "subscriber": "20"
              },
              "cycle": true,
              "columns": [],
              "set_to": null,
              "left_alone": "it cycles: neither value is behind the other, set it by hand"
            }
          ],
          "excluded": [
            "public.audit"
          ],
          "findings": [
            {
              "code": "sequence_definition",
              "severity": "warning",
              "object": "public.slots",
              "message": "sequence public.slots is defined differently: cache is 1 on the publisher, 20 on the subscriber",
              "hint": "use ALTER SEQUENCE on the subscriber to make them the same"
            }
          ]
        }
        "#);
        crate::report::fixtures_ops::assert_documented("sequences", &document);
        assert_eq!(serde_json::from_str::<SequencesOutcome>(&document).unwrap(), outcome);
    }
}
