//! The outcome of `preflight`: everything a report needs, and exactly the JSON document that users' scripts read.

use serde::{Deserialize, Serialize};

use super::code::Code;
use crate::lsn::Lsn;
use crate::run::outcome::{Server, Tool};
use crate::side::Side;

/// The outcome of `preflight`: `schema_version` 1, fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightOutcome {
    /// [`SCHEMA_VERSION`](crate::run::SCHEMA_VERSION) of the writer.
    pub schema_version: u32,
    /// Who wrote it.
    pub tool: Tool,
    /// The exit code of the command: 1 with something to fix, else 3 with a question that was not answered, else 0.
    pub exit_code: u8,
    /// The publisher.
    pub publisher: Server,
    /// The subscriber; null where none was given.
    pub subscriber: Option<Server>,
    /// The level of proof that `verify` can reach, and what the better ones lack.
    pub proof: Proof,
    /// The WAL that the publisher writes.
    pub wal: WalRate,
    /// All publications of the publisher's database.
    pub publications: Vec<PublicationReport>,
    /// The checks, in the order of the runbook.
    pub checks: Vec<Check>,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// To be fixed.
    Fix,
    /// Worth knowing; it stops nobody.
    Warn,
    /// The server refused the question, or nothing that it can say answers it.
    Unknown,
}

/// One check of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// A stable identifier: one of [`CHECKS`](crate::run::CHECKS), or of [`FINDINGS`](crate::catalog::FINDINGS).
    pub code: String,
    /// What it came to.
    pub status: Status,
    /// On which side; null where it is about both.
    pub side: Option<Side>,
    /// The table, slot, subscription, ... that it is about; null where it is about the server.
    pub object: Option<String>,
    /// What was seen.
    pub evidence: String,
    /// What it was held against.
    pub threshold: Option<String>,
    /// What to do about it; null where there is nothing to do.
    pub remedy: Option<String>,
}

impl Check {
    pub(super) fn new(code: Code, status: Status, side: impl Into<Option<Side>>, evidence: impl Into<String>) -> Self {
        Self {
            code: code.text().to_owned(),
            status,
            side: side.into(),
            object: None,
            evidence: evidence.into(),
            threshold: None,
            remedy: None,
        }
    }

    pub(super) fn ok(code: Code, side: impl Into<Option<Side>>, evidence: impl Into<String>) -> Self {
        Self::new(code, Status::Ok, side, evidence)
    }

    /// What a server would not tell; the remedy is what would make it.
    pub(super) fn refused(code: Code, side: impl Into<Option<Side>>, said: &str) -> Self {
        Self::new(code, Status::Unknown, side, said)
    }

    pub(super) fn about(mut self, object: &(impl ToString + ?Sized)) -> Self {
        self.object = Some(object.to_string());
        self
    }

    pub(super) fn threshold(mut self, threshold: impl Into<String>) -> Self {
        self.threshold = Some(threshold.into());
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// How sure `verify` can be of equality, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProofLevel {
    /// Only while writes are stopped.
    #[serde(rename = "quiesced")]
    Quiesced,
    /// While writes continue, by reading again what seemed to differ; what never holds still stays unproven.
    #[serde(rename = "settled by recheck")]
    SettledByRecheck,
    /// While writes continue, with the changes in flight decoded, at one of a few positions that explains everything.
    #[serde(rename = "exact: candidate cut")]
    CandidateCut,
    /// While writes continue, with the changes in flight decoded, at the position that the subscriber has applied.
    #[serde(rename = "exact: decoded window")]
    DecodedWindow,
}

impl ProofLevel {
    /// The name as reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiesced => "quiesced",
            Self::SettledByRecheck => "settled by recheck",
            Self::CandidateCut => "exact: candidate cut",
            Self::DecodedWindow => "exact: decoded window",
        }
    }
}

/// What `verify` can prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The best level within reach; with a publisher alone, as far as that goes.
    pub level: ProofLevel,
    /// What better levels lack.
    pub gaps: Vec<ProofGap>,
}

/// Something that a level of proof lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofGap {
    /// The level that it would take.
    pub level: ProofLevel,
    /// Where it is missing.
    pub side: Side,
    /// What is missing.
    pub lacks: String,
    /// What would close the gap.
    pub remedy: String,
}

/// WAL written by the publisher during an interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRate {
    /// The position at its beginning.
    pub from: Lsn,
    /// The position at its end.
    pub to: Lsn,
    /// Bytes between the two.
    pub bytes: u64,
    /// How long it lasted.
    pub interval_ms: u64,
}

impl WalRate {
    /// Bytes in a time at this rate; rounded down.
    #[must_use]
    pub fn bytes_in(&self, time: std::time::Duration) -> u64 {
        let bytes = u128::from(self.bytes) * time.as_millis() / u128::from(self.interval_ms.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What a publication covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationReport {
    /// Its name.
    pub name: String,
    /// FOR ALL TABLES.
    pub all_tables: bool,
    /// The kinds of change that it does not publish.
    pub lacking: Vec<String>,
    /// The tables that it covers, `schema.name`.
    pub tables: Vec<String>,
}
