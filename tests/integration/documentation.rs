//! The documentation names every code that reports use.

use triplecheck::catalog::FINDINGS;
use triplecheck::run::{CAUSES, CHECKS};
use triplecheck::verdict::Reason;

const REPORTS: &str = include_str!("../../docs/reports.md");

#[test]
fn every_reason_finding_and_check_is_in_the_catalogue() {
    let rows = Reason::ALL.iter().map(|reason| (reason.code(), reason.meaning()));
    let others = FINDINGS.iter().chain(CHECKS).chain(CAUSES).copied();
    for (code, meaning) in rows.chain(others) {
        let row = format!("| `{code}` | {} |", meaning.trim());
        assert!(REPORTS.contains(&row), "missing in docs/reports.md:\n{row}");
    }
}
