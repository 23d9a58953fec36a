//! What the schemas of both sides say: findings become checks.

use super::Seen;
use crate::catalog::health::Probe;
use crate::catalog::{Finding, Severity};
use crate::run::preflight::code::Code;
use crate::run::preflight::outcome::{Check, Status};

/// Findings that a check of its own covers, on the publisher alone, too: finding, check.
const COVERED: [(&str, Code); 6] = [
    ("unlogged_table", Code::UnloggedTable),
    ("large_objects", Code::LargeObjects),
    ("table_not_replicated", Code::TableNotPublished),
    ("no_replica_identity", Code::ReplicaIdentity),
    ("no_key", Code::ReplicaIdentity),
    ("collation_changed", Code::CollationVersion),
];

pub(super) fn judge(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let findings = match seen.schema {
        None => return,
        Some(Probe::Refused(why)) => return checks.push(Check::refused(Code::Schema, None, why)),
        Some(Probe::Told(findings)) => findings,
    };
    let before = checks.len();
    let mut information = 0;
    for finding in findings {
        let status = match finding.severity {
            Severity::Error => Status::Fix,
            Severity::Warning => Status::Warn,
            Severity::Info => {
                information += 1;
                continue;
            }
        };
        if !covered(finding, checks) {
            checks.push(check(finding, status));
        }
    }
    if checks.len() == before {
        let evidence = match information {
            0 => "nothing stands in the way of replication or comparison".to_owned(),
            some => format!("nothing stands in the way; {some} findings for information, see triplecheck plan"),
        };
        checks.push(Check::ok(Code::Schema, None, evidence));
    }
}

fn covered(finding: &Finding, checks: &[Check]) -> bool {
    COVERED.iter().filter(|(code, _)| *code == finding.code).any(|(_, own)| {
        let same_object = |check: &Check| *own == Code::LargeObjects || check.object.as_ref() == Some(&finding.object);
        checks.iter().any(|check| check.code == own.text() && check.status != Status::Ok && same_object(check))
    })
}

fn check(finding: &Finding, status: Status) -> Check {
    let code = if finding.code == "permission_denied" { Code::PrivilegeSelect.text() } else { &finding.code };
    Check {
        code: code.to_owned(),
        // Replication leaves it behind, so verify cannot prove the whole.
        status: if finding.code == "table_not_replicated" { Status::Fix } else { status },
        side: None,
        object: Some(finding.object.clone()),
        evidence: finding.message.clone(),
        threshold: None,
        remedy: Some(finding.hint.clone()),
    }
}
