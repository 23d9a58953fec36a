//! `triplecheck sequences`.

use std::path::PathBuf;

use clap::Args;

use super::args::{Common, Format, Selection};
use super::files::ReportFile;
use super::progress::Progress;
use super::{complain, exit, tell};
use crate::config::{Environment, RawSequences, RawSettings, SequencesConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::report::{json, sequences, setval};
use crate::run::SequencesOutcome;

#[derive(Args)]
pub(crate) struct Sequences {
    #[command(flatten)]
    pub(crate) common: Common,

    #[command(flatten)]
    selection: Selection,

    /// Whether replication must join the two sides: none where nothing replicates between them any more
    /// [default: a subscription must]
    #[arg(long, value_name = "MODE", help_heading = "Selection")]
    gate: Option<String>,

    /// Also write the script that sets the subscriber's sequences at cutover to FILE; run it there with psql
    #[arg(long, value_name = "FILE", help_heading = "Script")]
    emit_sql: Option<PathBuf>,

    /// Leave N values free in every sequence, for what the publisher hands out until the writes are stopped [default: 0]
    #[arg(long, value_name = "N", help_heading = "Script")]
    margin: Option<u64>,

    /// Also set sequences back that are ahead of the publisher; else the script only ever sets them forward
    #[arg(long, help_heading = "Script")]
    backward: bool,
}

/// What is to be done, and where to.
pub(super) struct Work {
    pub(super) config: SequencesConfig,
    pub(super) script: Option<ReportFile>,
}

impl Sequences {
    pub(super) fn settings(&self) -> RawSettings {
        RawSettings { gate: self.gate.clone(), ..self.selection.settings(&self.common) }
    }

    /// Checks the settings, and that the script can be written.
    pub(super) fn prepare(&self, shared: RawSettings, environment: &Environment) -> Result<Work> {
        let raw = RawSequences { shared, margin: self.margin, backward: self.backward };
        let config = raw.validate(environment)?;
        Ok(Work { config, script: self.emit_sql.as_deref().map(ReportFile::check).transpose()? })
    }

    /// Writes the script and stdout. Where the script cannot be written, nothing is safe.
    pub(super) fn deliver(
        &self,
        mut outcome: SequencesOutcome,
        script: Option<&ReportFile>,
        progress: &Progress,
    ) -> Result<u8> {
        let written = script.map(|file| {
            file.write(|out| {
                let failed = |error| Error::new(ErrorKind::Io, "cannot write").with_source(error);
                out.write_all(setval::render(&outcome).as_bytes()).map_err(failed)
            })
        });
        let path = match (&self.emit_sql, written) {
            (Some(path), Some(Ok(()))) => Some(path.display().to_string()),
            (_, Some(Err(error))) => {
                complain(progress, &error);
                if outcome.exit_code == exit::MATCH {
                    outcome.exit_code = exit::UNPROVEN;
                }
                None
            }
            _ => None,
        };
        let document = match self.common.format {
            Format::Text => sequences::render(&outcome, path.as_deref()).into_bytes(),
            Format::Json => json::render(&outcome)?,
        };
        Ok(tell(&document, outcome.exit_code, progress))
    }
}
