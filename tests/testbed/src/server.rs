//! A server: a data folder, a port, and the process that runs on them.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::installation::Installation;
use crate::launch;
use crate::postmaster::{Postmaster, Stop, log_tail};
use crate::quote::identifier;
use crate::run_folder::RunFolder;

/// Ports to choose from: below the range that systems give to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How often a start is tried on another port because somebody else was faster to take it.
const PORT_ATTEMPTS: usize = 5;

/// What is special about a server.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// More arguments for initdb; they win over the crate's own (`--locale=C.UTF-8 -E UTF8`).
    pub initdb_args: Vec<String>,
    /// More settings for postgresql.conf; they win over the crate's own.
    pub settings: Vec<(String, String)>,
}

/// A running server. Clones are handles to the same one; it is stopped and its data removed when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Server {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    installation: Installation,
    folder: PathBuf,
    port: u16,
    postmaster: Mutex<Option<Postmaster>>,
}

impl Server {
    /// Starts a new server of this major.
    pub async fn start(major: u16, options: ServerOptions) -> Result<Self> {
        blocking(move || Self::create(Installation::find(major)?, &options)).await
    }

    /// Starts a new server from these binaries.
    pub async fn start_with(installation: Installation, options: ServerOptions) -> Result<Self> {
        blocking(move || Self::create(installation, &options)).await
    }

    fn create(installation: Installation, options: &ServerOptions) -> Result<Self> {
        let folder = RunFolder::of_this_process()?.subfolder("pg")?;
        let data = folder.join("data");
        cluster::create(&installation, &options.initdb_args, &data)?;
        let sockets = folder.to_string_lossy().into_owned();
        cluster::configure(&data, [("listen_addresses", "127.0.0.1"), ("unix_socket_directories", &*sockets)])?;
        cluster::configure(&data, options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        let program = installation.bin().join("postgres");
        let mut attempts = 0;
        loop {
            attempts += 1;
            let port = free_port()?;
            cluster::configure(&data, [("port", &*port.to_string())])?;
            match Postmaster::start(&program, &folder) {
                Ok(postmaster) => {
                    let postmaster = Mutex::new(Some(postmaster));
                    return Ok(Self { inner: Arc::new(Inner { installation, folder, port, postmaster }) });
                }
                Err(_)
                    if attempts < PORT_ATTEMPTS && log_tail(&folder.join("log")).contains("Address already in use") => {
                }
                Err(problem) => return Err(not_started(installation.major(), problem, &folder)),
            }
        }
    }

    /// Its major version.
    pub fn major(&self) -> u16 {
        self.inner.installation.major()
    }

    /// The TCP port on 127.0.0.1; it stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// The folder of its unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.inner.folder
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.inner.folder.join("data")
    }

    /// The process id of the postmaster; none while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        let mut postmaster = self.inner.postmaster();
        postmaster.as_mut().and_then(|postmaster| postmaster.is_running().then(|| postmaster.pid()))
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        log_tail(&self.inner.folder.join("log"))
    }

    /// A libpq keyword/value string over the unix socket, as user postgres.
    pub fn conninfo(&self, database: &str) -> String {
        self.database(database).conninfo()
    }

    /// A URI over TCP, as user postgres.
    pub fn uri(&self, database: &str) -> String {
        self.database(database).uri()
    }

    /// A handle to one of its databases, which need not exist yet.
    pub fn database(&self, name: &str) -> Database {
        Database::new(self.inner.folder.clone(), self.inner.port, name)
    }

    /// Creates a database; `extra_sql` goes to the end of CREATE DATABASE (`TEMPLATE template0 LC_COLLATE 'C'`).
    pub async fn create_database(&self, name: &str, extra_sql: &str) -> Result<Database> {
        self.database("postgres").sql(&format!("CREATE DATABASE {} {extra_sql}", identifier(name))).await?;
        Ok(self.database(name))
    }

    /// Stops it in order (fast: sessions are ended). Does nothing where it is stopped already.
    pub async fn stop(&self) -> Result<()> {
        let inner = self.inner.clone();
        blocking(move || inner.stop(Stop::Fast)).await
    }

    /// Stops it as a crash would: the next start has to recover.
    pub async fn crash(&self) -> Result<()> {
        let inner = self.inner.clone();
        blocking(move || inner.stop(Stop::Immediate)).await
    }

    /// Starts it again after [`Server::stop`] or [`Server::crash`]. Does nothing where it is running.
    pub async fn start_again(&self) -> Result<()> {
        let inner = self.inner.clone();
        blocking(move || inner.start_again()).await
    }

    /// Stops it in order and starts it again.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }
}

impl Inner {
    fn postmaster(&self) -> MutexGuard<'_, Option<Postmaster>> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, how: Stop) -> Result<()> {
        let mut guard = self.postmaster();
        let Some(postmaster) = guard.as_mut() else { return Ok(()) };
        postmaster.stop(how)?;
        *guard = None;
        launch::forget(&self.folder)
    }

    fn start_again(&self) -> Result<()> {
        let mut guard = self.postmaster();
        if guard.as_mut().is_some_and(Postmaster::is_running) {
            return Ok(());
        }
        let started = Postmaster::start(&self.installation.bin().join("postgres"), &self.folder);
        *guard = Some(started.map_err(|problem| not_started(self.installation.major(), problem, &self.folder))?);
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Best effort: what is left over here is the supervisor's.
        if self.stop(Stop::Immediate).is_ok() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn not_started(major: u16, problem: String, folder: &Path) -> Error {
    let log_file = folder.join("log");
    let log = log_tail(&log_file);
    Error::NotStarted { major, problem, log_file, log }
}

/// A port that nobody listens on and that this process has not given away before.
fn free_port() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Processes start at different places, so that they seldom race for one.
    let range = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(101) % range;
    let ports =
        (0..range).filter_map(|step| u16::try_from((first + step) % range).ok()).map(|offset| PORTS.start + offset);
    for port in ports {
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(Error::Timeout {
        waited_for: "a free port".to_owned(),
        after: std::time::Duration::ZERO,
        seen: format!("all of {PORTS:?} are taken"),
    })
}

/// Runs something that blocks where it does not hold up a runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Task(error.to_string()))?
}
