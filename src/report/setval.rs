//! The setval script of `sequences --emit-sql`: plain SQL, to be run on the subscriber at cutover.

use std::fmt::Write;

use super::escape::{name, sentence, shown};
use super::figures::{counted, len};
use crate::run::{SequenceCheck, SequencesOutcome, Server, SetTo};
use crate::sql::{QualifiedName, literal};

/// Writes the script. Names and messages in comments cannot end their line.
#[must_use]
pub fn render(outcome: &SequencesOutcome) -> String {
    let place = |server: &Server| {
        let Server { host, port, database, .. } = server;
        shown(&format!("{host}:{port}/{database}"))
    };
    let mut out = String::new();
    let _ = writeln!(out, "-- Sequences for cutover, by triplecheck {}, {}", outcome.tool.version, outcome.finished_at);
    let _ = writeln!(out, "-- read on    {}", place(&outcome.publisher));
    let _ =
        writeln!(out, "-- to be run on {} once the writes on the publisher are stopped:", place(&outcome.subscriber));
    out.push_str("--   psql -X -v ON_ERROR_STOP=1 -f FILE\n");
    if outcome.margin > 0 {
        let _ = writeln!(out, "-- Every sequence leaves {} free.", counted(outcome.margin, "value", "values"));
    }
    let set = || outcome.sequences.iter().filter_map(|sequence| Some((sequence, sequence.set_to.as_ref()?)));
    let back = set().filter(|(_, set_to)| set_to.backward).count();
    if back > 0 {
        let _ = writeln!(
            out,
            "-- {} SET BACK without a condition: run this once, before anybody draws from them.",
            counted(u64::try_from(back).unwrap_or(u64::MAX), "sequence is", "sequences are")
        );
    }
    if set().any(|(_, set_to)| !set_to.backward) {
        out.push_str(
            "-- A statement with a condition does nothing where its sequence is there or further on already.\n",
        );
    }
    out.push_str("SET client_encoding = 'UTF8';\n");
    for (sequence, set_to) in set() {
        out.push_str(&statement(sequence, set_to));
    }
    let left: Vec<_> = outcome.sequences.iter().filter(|sequence| sequence.set_to.is_none()).collect();
    if !left.is_empty() {
        let _ = writeln!(out, "-- {} left alone:", counted(len(&left), "sequence is", "sequences are"));
    }
    for sequence in left {
        let why = sentence(sequence.left_alone.as_deref().unwrap_or_default());
        let _ = writeln!(out, "-- {}: {why}", name(&sequence.outcome.schema, &sequence.outcome.name));
    }
    out
}

fn statement(sequence: &SequenceCheck, set_to: &SetTo) -> String {
    let SetTo { value, is_called, next, backward } = set_to;
    let relation = QualifiedName::new(&sequence.outcome.schema, &sequence.outcome.name).to_sql();
    let class = literal(&relation);
    let setval = format!("SELECT pg_catalog.setval({}::pg_catalog.regclass, {value}, {is_called})", class.trim_start());
    if *backward {
        return format!("{setval};\n");
    }
    let increment = sequence.increment.subscriber.as_deref().unwrap_or("1");
    let before = if increment.starts_with('-') { ">" } else { "<" };
    // Numeric, because what comes after the last value of a bigint is none.
    format!(
        "{setval} FROM {relation} WHERE (last_value::pg_catalog.numeric OPERATOR(pg_catalog.+) \
         CASE WHEN is_called THEN {increment} ELSE 0 END) OPERATOR(pg_catalog.{before}) {next};\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixtures_ops::sequences;
    use super::*;

    #[test]
    fn the_script() {
        insta::assert_snapshot!(render(&sequences()), @r#"
        -- Sequences for cutover, by triplecheck 0.1.0, 2026-11-23T10:00:01Z
        -- read on    db1.example.org:5432/shop
        -- to be run on db2.example.org:5432/shop once the writes on the publisher are stopped:
        --   psql -X -v ON_ERROR_STOP=1 -f FILE
        -- Every sequence leaves 1,000 values free.
        -- A statement with a condition does nothing where its sequence is there or further on already.
        SET client_encoding = 'UTF8';
        SELECT pg_catalog.setval('"public"."Count ""down"""'::pg_catalog.regclass, -1008, false) FROM "public"."Count ""down""" WHERE (last_value::pg_catalog.numeric OPERATOR(pg_catalog.+) CASE WHEN is_called THEN -1 ELSE 0 END) OPERATOR(pg_catalog.>) -1008;
        SELECT pg_catalog.setval('"public"."orders_id_seq"'::pg_catalog.regclass, 4001001, false) FROM "public"."orders_id_seq" WHERE (last_value::pg_catalog.numeric OPERATOR(pg_catalog.+) CASE WHEN is_called THEN 1 ELSE 0 END) OPERATOR(pg_catalog.<) 4001001;
        -- 2 sequences are left alone:
        -- public.slots: it cycles: neither value is behind the other, set it by hand
        -- public.users_id_seq: it is there already
        "#);
    }

    #[test]
    fn only_what_goes_back_goes_without_a_condition() {
        let mut outcome = SequencesOutcome { backward: true, margin: 0, ..sequences() };
        let conditions = |outcome: &SequencesOutcome| {
            let script = render(outcome);
            let of = |line: &&str| line.starts_with("SELECT");
            let lines: Vec<_> = script.lines().filter(of).map(|line| line.contains(" WHERE ")).collect();
            (script.contains("SET BACK"), lines)
        };
        assert_eq!(conditions(&outcome), (false, vec![true, true]));
        outcome.sequences[0].set_to.as_mut().unwrap().backward = true;
        assert_eq!(conditions(&outcome), (true, vec![false, true]));
        assert!(render(&outcome).contains("-- 1 sequence is SET BACK without a condition"), "{}", render(&outcome));
    }

    #[test]
    fn a_name_cannot_become_a_statement() {
        let mut outcome = sequences();
        for sequence in &mut outcome.sequences {
            sequence.outcome.name = "x\nDROP TABLE t; --'\"\\".into();
        }
        outcome.subscriber.host = "h\nDROP TABLE t;".into();
        let script = render(&outcome);
        let (before, rest) = script.split_once("SET client_encoding").unwrap();
        let after = rest.split_once("left alone:\n").unwrap().1;
        assert!(before.lines().chain(after.lines()).all(|line| line.starts_with("-- ")), "{script}");
        let class = r#" E'"public"."x
DROP TABLE t; --''""\\"'::pg_catalog.regclass"#;
        assert_eq!(rest.matches(class.trim_start()).count(), 2, "{script}");
    }
}
