//! The settings of `sequences`.

use super::environment::Environment;
use super::raw::RawSettings;
use super::settings::Config;
use crate::error::Result;

/// Settings of `sequences` that nobody has checked yet; the names are those of the flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawSequences {
    /// What it shares with the other commands.
    pub shared: RawSettings,
    /// Values to leave free.
    pub margin: Option<u64>,
    /// Whether to set sequences back.
    pub backward: bool,
}

/// Everything that `sequences` needs to know, immutable.
#[derive(Debug, Clone)]
pub struct SequencesConfig {
    /// Servers and selection. Where nothing joins the two sides, only [`GateMode::None`](super::GateMode::None) will do.
    pub shared: Config,
    /// Values that the script leaves free in every sequence, for what the publisher hands out meanwhile.
    pub margin: u64,
    /// Whether the script sets sequences back that are ahead of the publisher.
    pub backward: bool,
}

impl RawSequences {
    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    ///
    /// As [`RawSettings::validate`].
    pub fn validate(self, environment: &Environment) -> Result<SequencesConfig> {
        Ok(SequencesConfig {
            shared: self.shared.validate(environment)?,
            margin: self.margin.unwrap_or_default(),
            backward: self.backward,
        })
    }
}
