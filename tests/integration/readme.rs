//! The README names every code that reports use.

use triplecheck::catalog::FINDINGS;
use triplecheck::run::{CAUSES, CHECKS};
use triplecheck::verdict::Reason;

const README: &str = include_str!("../../README.md");

#[test]
fn every_reason_finding_and_check_is_in_the_catalogue() {
    let rows = Reason::ALL.iter().map(|reason| (reason.code(), reason.meaning()));
    let others = FINDINGS.iter().chain(CHECKS).chain(CAUSES).copied();
    for (code, meaning) in rows.chain(others) {
        let row = format!("| `{code}` | {} |", meaning.trim());
        assert!(README.contains(&row), "missing in README.md:\n{row}");
    }
}
