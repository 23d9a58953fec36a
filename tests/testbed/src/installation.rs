//! Where servers come from: named by the environment, installed on the system, or fetched once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::account::Account;
use crate::error::{Error, Result};
use crate::fetch;
use crate::launch;
use crate::run_folder::RunFolder;

/// The majors this crate can start, oldest first.
pub const MAJORS: std::ops::RangeInclusive<u16> = 12..=18;

/// The major to fetch when any will do and the machine has none.
const MAJOR_TO_FETCH: u16 = 16;

/// The folders of an installation that a server needs.
const PARTS: [&str; 3] = ["bin", "lib", "share"];

/// A server's binaries, checked to run as the servers' account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    major: u16,
    bin: PathBuf,
}

/// What the search for servers depends on; [`Surroundings::of_this_process`] reads it from the environment, tests make it up.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Bin folders by major: the values of `TRIPLECHECK_PG<MAJOR>_BIN`.
    pub named: BTreeMap<u16, PathBuf>,
    /// The folder with `<major>/bin` of the system's packages.
    pub system: PathBuf,
    /// The folder that fetched copies live in.
    pub fetched: PathBuf,
    /// npm, if there is one.
    pub npm: Option<PathBuf>,
}

impl Surroundings {
    /// As they are here and now.
    pub fn of_this_process() -> Self {
        let named =
            MAJORS.filter_map(|major| Some((major, PathBuf::from(std::env::var_os(variable(major))?)))).collect();
        // A relative one is meant from the workspace's root; tests run elsewhere.
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = workspace.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
        Self {
            named,
            system: PathBuf::from("/usr/lib/postgresql"),
            fetched: target.join("postgresql"),
            npm: in_path("npm"),
        }
    }
}

impl Installation {
    /// Finds a server of this major, fetching it if need be (which takes some seconds, so call it where blocking is fine).
    /// Order: `TRIPLECHECK_PG<MAJOR>_BIN`, `/usr/lib/postgresql/<major>/bin`, a copy in `target/postgresql/<major>`.
    pub fn find(major: u16) -> Result<Self> {
        static FOUND: Mutex<BTreeMap<u16, Installation>> = Mutex::new(BTreeMap::new());
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(installation) = found.get(&major) {
            return Ok(installation.clone());
        }
        let installation = Self::find_in(major, &Surroundings::of_this_process())?;
        found.insert(major, installation.clone());
        Ok(installation)
    }

    /// Finds a server of any major: the newest on the machine, else one that is fetched.
    pub fn find_any() -> Result<Self> {
        let surroundings = Surroundings { npm: None, ..Surroundings::of_this_process() };
        match MAJORS.rev().find_map(|major| Self::find_in(major, &surroundings).ok()) {
            Some(installation) => Ok(installation),
            None => Self::find(MAJOR_TO_FETCH),
        }
    }

    /// Finds servers for a pair. Where only one of the majors can be had it serves for both sides; where neither, any other.
    pub fn find_pair(publisher: u16, subscriber: u16) -> Result<(Self, Self)> {
        match (Self::find(publisher), Self::find(subscriber)) {
            (Ok(publisher), Ok(subscriber)) => Ok((publisher, subscriber)),
            (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok((only.clone(), only)),
            (Err(error), Err(_)) => Self::find_any().map(|any| (any.clone(), any)).map_err(|_| error),
        }
    }

    /// Finds a server of this major in the given surroundings.
    pub fn find_in(major: u16, surroundings: &Surroundings) -> Result<Self> {
        if !MAJORS.contains(&major) {
            return Err(Error::UnsupportedMajor(major));
        }
        if let Some(folder) = surroundings.named.get(&major) {
            let wrong =
                |problem| Error::WrongFolder { variable: variable(major), folder: folder.clone(), problem, major };
            return Self::check(major, folder).map_err(wrong);
        }
        let mut tried = vec![format!("  {} is not set", variable(major))];
        let system = surroundings.system.join(major.to_string()).join("bin");
        match Self::check(major, &system) {
            Ok(installation) => return Ok(installation),
            Err(problem) => tried.push(format!("  {}: {problem}", system.display())),
        }
        match fetch::copy_of(major, surroundings).and_then(|bin| Self::check(major, &bin)) {
            Ok(installation) => Ok(installation),
            Err(problem) => {
                tried.push(format!("  {}: {problem}", surroundings.fetched.display()));
                Err(Error::NoServer { major, tried: tried.join("\n") })
            }
        }
    }

    /// Its major version.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The folder that holds `initdb` and `postgres`.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Makes sure that the folder has a server of this major that the servers' account can run.
    fn check(major: u16, bin: &Path) -> Result<Self, String> {
        for program in ["initdb", "postgres"] {
            let file = bin.join(program);
            if !file.is_file() {
                return Err(format!("there is no {}", file.display()));
            }
        }
        let bin = bin.canonicalize().map_err(|error| error.to_string())?;
        let account = Account::of_servers().map_err(|error| error.to_string())?;
        match version(&bin, account) {
            Ok(found) if found == major => Ok(Self { major, bin }),
            Ok(found) => Err(format!("its postgres is version {found}, not {major}")),
            // Out of that account's reach, below /root for one: give it a copy.
            Err(_) if account != Account::Own && version(&bin, Account::Own) == Ok(major) => {
                let bin = copy(&bin).map_err(|error| error.to_string())?;
                version(&bin, account).map(|_| Self { major, bin })
            }
            Err(problem) => Err(problem),
        }
    }
}

/// psql or pgbench, which only the system's packages have: the newest there is, else the one in PATH.
pub fn find_client(name: &str) -> Option<PathBuf> {
    let surroundings = Surroundings::of_this_process();
    MAJORS
        .rev()
        .flat_map(|major| {
            [surroundings.named.get(&major).cloned(), Some(surroundings.system.join(major.to_string()).join("bin"))]
        })
        .flatten()
        .map(|bin| bin.join(name))
        .find(|file| file.is_file())
        .or_else(|| in_path(name))
}

fn variable(major: u16) -> String {
    format!("TRIPLECHECK_PG{major}_BIN")
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The major version that `postgres --version` tells, run as the given account.
fn version(bin: &Path, account: Account) -> Result<u16, String> {
    let mut command = Command::new(bin.join("postgres"));
    command.arg("--version");
    launch::clean(&mut command);
    account.apply(&mut command);
    let text = launch::run(&mut command).map_err(|error| error.to_string())?;
    let digits = text.split("(PostgreSQL) ").nth(1).unwrap_or_default();
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().map_err(|_| format!("`postgres --version` said {text:?}"))
}

/// Copies an installation into the run folder, readable by all, and returns the copy's bin folder.
fn copy(bin: &Path) -> Result<PathBuf> {
    let to = RunFolder::of_this_process()?.subfolder("inst")?;
    let from = bin.parent().unwrap_or(bin);
    for part in PARTS.iter().map(|part| from.join(part)).filter(|part| part.is_dir()) {
        launch::run(Command::new("cp").arg("-R").arg("-P").arg(part).arg(&to))?;
    }
    launch::run(Command::new("chmod").args(["-R", "a+rX"]).arg(&to))?;
    Ok(to.join("bin"))
}
