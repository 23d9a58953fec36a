//! The README names every code that reports use.

use triplecheck::catalog::FINDINGS;
use triplecheck::run::CAUSES;
use triplecheck::verdict::Reason;

const README: &str = include_str!("../../README.md");

#[test]
fn every_reason_and_finding_is_in_the_catalogue() {
    let rows = Reason::ALL.iter().map(|reason| (reason.code(), reason.meaning()));
    for (code, meaning) in rows.chain(FINDINGS.iter().copied()).chain(CAUSES.iter().copied()) {
        let row = format!("| `{code}` | {} |", meaning.trim());
        assert!(README.contains(&row), "missing in README.md:\n{row}");
    }
}
