//! How programs are run: in a clean environment, as the servers' account, and, if they last, known to the supervisor.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::account::Account;
use crate::error::{Error, Result};
use crate::run_folder::RunFolder;

/// Leaves the pid where the supervisor looks for it, then becomes the program, unless the supervisor has begun to close.
/// The supervisor works the other way round (marks, then looks), so a program is either seen or not started.
const LAUNCHER: &str = r#"echo $$ >"$1/pid" && [ ! -e "$2" ] && shift 2 && exec "$@""#;

/// Starts a program as the servers' account, in a process group of its own, its output going to `log`.
/// `folder` is a subfolder of the run folder; one program at a time runs in it.
pub(crate) fn launch(folder: &Path, program: &Path, args: &[&OsStr], log: &Path) -> Result<Child> {
    let out = File::options().append(true).create(true).open(log).map_err(Error::io("open the log", log))?;
    let err = out.try_clone().map_err(Error::io("open the log", log))?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", LAUNCHER, "testbed-launcher"]).arg(folder).arg(RunFolder::of_this_process()?.closing_mark());
    command.arg(program).args(args).stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
    clean(&mut command);
    Account::of_servers()?.apply(&mut command);
    command.spawn().map_err(Error::io("start", program))
}

/// Tells the supervisor that what was launched in this folder has ended: its pid may be anybody's from now on.
pub(crate) fn forget(folder: &Path) -> Result<()> {
    let file = folder.join("pid");
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &file)(error)),
        _ => Ok(()),
    }
}

/// Runs a short command to its end and returns its standard output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}").replace('"', "");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::Command { command: line.clone(), output: error.to_string() })?;
    let out = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(out.into_owned());
    }
    let text = format!("{}{out} ({})", String::from_utf8_lossy(&output.stderr), output.status);
    Err(Error::Command { command: line, output: text.trim().to_owned() })
}

/// Takes away what the caller's environment and folder would do to a server: other locales, PG* settings, a folder it may not enter.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") || text.starts_with("LC_") || text == "LANG" || text == "LANGUAGE" {
            command.env_remove(&name);
        }
    }
    command.current_dir("/");
}
