//! Data folders: initdb once per major and options, copies of the result from then on.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::installation::Installation;
use crate::launch;
use crate::run_folder::RunFolder;

/// What initdb is always told: everybody may log in, UTF-8, server messages in English, no syncing.
const INITDB_ARGS: [&str; 7] = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"];
/// The locale of new clusters, and what to use where the system does not have it.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// Settings of every server: those of a busy migration, minus durability. A publisher of major 12 tells a subscriber that it is at the
/// end only when asked, which subscribers do every status interval: 1 s, so that tests do not wait for the default of 10 s.
const SETTINGS: [(&str, &str); 16] = [
    ("wal_level", "logical"),
    ("max_replication_slots", "60"),
    ("max_wal_senders", "60"),
    ("max_logical_replication_workers", "60"),
    ("max_sync_workers_per_subscription", "4"),
    ("max_worker_processes", "100"),
    ("max_connections", "200"),
    ("max_prepared_transactions", "20"),
    ("fsync", "off"),
    ("shared_buffers", "128MB"),
    ("max_wal_size", "2GB"),
    ("wal_retrieve_retry_interval", "500ms"),
    ("wal_receiver_status_interval", "1s"),
    ("log_min_messages", "warning"),
    ("logging_collector", "off"),
    ("lc_messages", "C"),
];

/// The template's folder once it is made; the lock is held while it is being made.
type Template = Arc<Mutex<Option<PathBuf>>>;
/// Templates by major and initdb options.
type Templates = BTreeMap<(u16, Vec<String>), Template>;

/// Makes a new data folder at `data`.
pub(crate) fn create(installation: &Installation, initdb_args: &[String], data: &Path) -> Result<()> {
    let template = template(installation, initdb_args)?;
    launch::run(Command::new("cp").arg("-a").arg(template).arg(data)).map(drop)
}

/// Writes the settings of a server; later calls win over earlier ones.
pub(crate) fn configure<'a>(data: &Path, settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<()> {
    let mut text = String::new();
    for (name, value) in settings {
        let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
    }
    let file = data.join("postgresql.conf");
    let mut conf = std::fs::File::options().append(true).open(&file).map_err(Error::io("open", &file))?;
    conf.write_all(text.as_bytes()).map_err(Error::io("write", &file))
}

fn template(installation: &Installation, initdb_args: &[String]) -> Result<PathBuf> {
    static TEMPLATES: Mutex<Templates> = Mutex::new(BTreeMap::new());
    let entry = {
        let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
        templates.entry((installation.major(), initdb_args.to_vec())).or_default().clone()
    };
    let mut made = entry.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(data) = &*made {
        return Ok(data.clone());
    }
    let data = initdb(installation, initdb_args)?;
    configure(&data, SETTINGS)?;
    *made = Some(data.clone());
    Ok(data)
}

fn initdb(installation: &Installation, extra: &[String]) -> Result<PathBuf> {
    let program = installation.bin().join("initdb");
    let mut said = String::new();
    for locale in LOCALES {
        let folder = RunFolder::of_this_process()?.subfolder("initdb")?;
        let (data, log) = (folder.join("data"), folder.join("log"));
        let mut args: Vec<&OsStr> = INITDB_ARGS.iter().map(OsStr::new).collect();
        args.extend([OsStr::new("--locale"), OsStr::new(locale)]);
        args.extend(extra.iter().map(OsStr::new));
        args.extend([OsStr::new("-D"), data.as_os_str()]);
        let status = launch::launch(&folder, &program, &args, &log)?.wait().map_err(Error::io("wait for", &program))?;
        launch::forget(&folder)?;
        if status.success() {
            return Ok(data);
        }
        said = std::fs::read_to_string(&log).unwrap_or_default();
        if !said.contains("invalid locale name") {
            break;
        }
    }
    Err(Error::Command { command: format!("{} {}", program.display(), extra.join(" ")), output: said })
}
