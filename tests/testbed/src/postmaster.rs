//! One running server process: start, readiness, signals, end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};
use crate::launch;

/// How long a server may take to start: it may have to recover first, on a machine that is busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a stop may take before it is made immediate: a fast stop waits for subscribers to take in the rest.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at a server that starts or stops.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The line of postmaster.pid, counted from 0, that says whether connections are accepted.
const STATUS_LINE: usize = 7;
/// Lines of the server's log that an error carries.
const LOG_LINES_SHOWN: usize = 20;

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Ends all sessions, writes a checkpoint.
    Fast,
    /// As in a crash: the next start recovers.
    Immediate,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Postmaster {
    child: Child,
}

impl Postmaster {
    /// Starts the server whose data folder is `<folder>/data` and waits until it accepts connections.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self, String> {
        let data = folder.join("data");
        let args = [OsStr::new("-D"), data.as_os_str()];
        let child = launch::launch(folder, program, &args, &folder.join("log")).map_err(|error| error.to_string())?;
        let mut postmaster = Self { child };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if !postmaster.is_running() {
                return Err("it ended at once".to_owned());
            }
            if is_ready(&data, postmaster.pid()) {
                return Ok(postmaster);
            }
            if Instant::now() > deadline {
                let _ = postmaster.stop(Stop::Immediate);
                return Err(format!("it was not ready within {} s", START_TIMEOUT.as_secs()));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops the server and waits until it is gone.
    pub(crate) fn stop(&mut self, how: Stop) -> Result<()> {
        let mut signal = if how == Stop::Fast { Signal::INT } else { Signal::QUIT };
        for _ in 0..3 {
            self.signal(signal);
            let deadline = Instant::now() + STOP_TIMEOUT;
            while self.is_running() {
                if Instant::now() > deadline {
                    break;
                }
                std::thread::sleep(POLL_INTERVAL);
            }
            if !self.is_running() {
                return Ok(());
            }
            signal = if signal == Signal::INT { Signal::QUIT } else { Signal::KILL };
        }
        Err(Error::Timeout {
            waited_for: format!("the end of server process {}", self.pid()),
            after: STOP_TIMEOUT,
            seen: "it ignores signals".to_owned(),
        })
    }

    /// The child has not been waited for while it runs, so its pid is still its own.
    fn signal(&mut self, signal: Signal) {
        if !self.is_running() {
            return;
        }
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // Fails only for a process that is gone.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The server says in its pid file when it accepts connections; a standby, that it accepts those that read.
fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let mut lines = text.lines();
    lines.next() == Some(&pid.to_string())
        && lines.nth(STATUS_LINE - 1).is_some_and(|status| matches!(status.trim(), "ready" | "standby"))
}

/// The last lines of a log.
pub(crate) fn log_tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}
