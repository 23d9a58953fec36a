//! Ctrl-C and SIGTERM: the first asks the run to stop and to report what it knows, the second stops at once.

use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Signal;
use super::progress::Progress;
use crate::error::{Error, ErrorKind, Result};

/// Remembers the first signal.
#[derive(Clone, Default)]
pub(crate) struct Signals(Arc<OnceLock<Signal>>);

impl Signals {
    /// Watches for signals until the runtime ends; must be called inside of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] where a handler cannot be installed.
    pub(crate) fn watch(stop: CancellationToken, progress: Progress) -> Result<Self> {
        let failed = |error: std::io::Error| Error::new(ErrorKind::Io, "cannot watch for signals").with_source(error);
        let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
        let signals = Self::default();
        let first = Arc::clone(&signals.0);
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    Some(()) = interrupts.recv() => Signal::Interrupt,
                    Some(()) = terminations.recv() => Signal::Terminate,
                    else => return,
                };
                if first.set(signal).is_err() {
                    progress.finish();
                    std::process::exit(signal.code().into());
                }
                progress.say(b"stopping, and reporting what is known so far; once more to stop at once\n");
                stop.cancel();
            }
        });
        Ok(signals)
    }

    /// The first signal that came.
    pub(crate) fn first(&self) -> Option<Signal> {
        self.0.get().copied()
    }
}
