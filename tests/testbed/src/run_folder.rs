//! The one temporary folder of this process, and the supervisor that outlives the process to clean up after it.
//!
//! Statics are not dropped, and nothing in a process runs after `kill -9`. So the folder is made, and in the end removed, by a shell
//! process in a process group of its own. It waits on a pipe that only this process holds open.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use crate::account::Account;
use crate::error::{Error, Result};

/// The longest temporary folder, in bytes, that leaves room for our names in a socket path (limited to 103 bytes on macOS, 107 on Linux).
const TEMPORARY_FOLDER_BYTES_MAX: usize = 60;
/// Folder mode for servers of this process's own account, and for those of another account, which has to get through.
const MODE_PRIVATE: &str = "700";
/// See [`MODE_PRIVATE`].
const MODE_SHARED: &str = "755";

/// The folder and its keeper.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    subfolders: AtomicU32,
    /// Holds the pipe open.
    _supervisor: Child,
}

impl RunFolder {
    /// This process's folder, made at the first call.
    pub(crate) fn of_this_process() -> Result<&'static Self> {
        static FOLDER: OnceLock<Result<RunFolder, String>> = OnceLock::new();
        let account = Account::of_servers()?;
        FOLDER.get_or_init(|| Self::create(account)).as_ref().map_err(|problem| Error::Supervisor(problem.clone()))
    }

    fn create(account: Account) -> Result<Self, String> {
        let base = std::env::temp_dir();
        let base = if base.as_os_str().len() > TEMPORARY_FOLDER_BYTES_MAX { PathBuf::from("/tmp") } else { base };
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.subsec_nanos());
        let path = base.join(format!("tcbed-{}-{nanos:x}", std::process::id()));
        let mode = if account == Account::Own { MODE_PRIVATE } else { MODE_SHARED };
        let mut supervisor = Command::new("/bin/sh")
            .args(["-c", include_str!("supervisor.sh"), "testbed-supervisor"])
            .arg(&path)
            .arg(mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("/bin/sh: {error}"))?;
        let mut line = String::new();
        let answer = supervisor.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        if !matches!(answer, Some(Ok(_))) || line.trim() != "ready" {
            return Err(format!("it could not create {}", path.display()));
        }
        Ok(Self { path, subfolders: AtomicU32::new(0), _supervisor: supervisor })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file whose presence tells launchers that it is too late.
    pub(crate) fn closing_mark(&self) -> PathBuf {
        self.path.join("closing")
    }

    /// A new folder in it, owned by the servers' account.
    pub(crate) fn subfolder(&self, kind: &str) -> Result<PathBuf> {
        let number = self.subfolders.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{kind}{number}"));
        std::fs::create_dir(&path).map_err(Error::io("create", &path))?;
        Account::of_servers()?.own(&path)?;
        Ok(path)
    }
}

/// The temporary folder that holds everything of this process: data, sockets, logs. It is removed when the process ends.
pub fn run_folder_path() -> Result<PathBuf> {
    Ok(RunFolder::of_this_process()?.path().to_owned())
}
