//! The search for servers, in surroundings that are made up.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use triplecheck_testbed::{Error, Installation, Surroundings};

fn nothing(folder: &Path) -> Surroundings {
    Surroundings { named: BTreeMap::new(), system: folder.join("system"), fetched: folder.join("fetched"), npm: None }
}

/// A bin folder whose postgres says that it is of this version.
fn pretend(bin: &Path, version: &str) -> PathBuf {
    std::fs::create_dir_all(bin).expect("a folder");
    for program in ["initdb", "postgres"] {
        let file = bin.join(program);
        std::fs::write(&file, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    bin.to_owned()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    folder
}

#[test]
fn where_nothing_can_be_had_the_error_says_what_to_install() {
    let folder = folder();
    let text = Installation::find_in(14, &nothing(folder.path())).expect_err("nothing").to_string();
    for part in ["PostgreSQL 14", "postgresql-14", "npm", "TRIPLECHECK_PG14_BIN", "npm is not in PATH", "system/14/bin"]
    {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert!(matches!(Installation::find_in(11, &nothing(folder.path())), Err(Error::UnsupportedMajor(11))));
}

#[test]
fn an_npm_that_fails_is_named_and_leaves_nothing() {
    let folder = folder();
    let npm = folder.path().join("npm");
    std::fs::write(&npm, "#!/bin/sh\necho no network >&2\nexit 1\n").expect("a file");
    std::fs::set_permissions(&npm, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let surroundings = Surroundings { npm: Some(npm), ..nothing(folder.path()) };
    let text = Installation::find_in(16, &surroundings).expect_err("no npm").to_string();
    assert!(text.contains("no network"), "{text}");
    let left: Vec<_> = std::fs::read_dir(surroundings.fetched.join("16"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["lock"]);
}

#[test]
fn the_environment_wins_over_the_system_and_is_not_overridden() {
    let folder = folder();
    let mut surroundings = nothing(folder.path());
    let system = pretend(&folder.path().join("system/14/bin"), "14.9 (Debian 14.9-1)");
    let found = Installation::find_in(14, &surroundings).expect("the system's");
    assert_eq!(found.bin(), system.canonicalize().expect("a path"));
    let named = pretend(&folder.path().join("named"), "14.23");
    surroundings.named.insert(14, named.clone());
    let found = Installation::find_in(14, &surroundings).expect("the named one");
    assert_eq!((found.major(), found.bin()), (14, named.canonicalize().expect("a path").as_path()));
    surroundings.named.insert(15, named);
    let text = Installation::find_in(15, &surroundings).expect_err("another major").to_string();
    assert!(text.contains("TRIPLECHECK_PG15_BIN") && text.contains("version 14, not 15"), "{text}");
}

/// An installation below a folder that only root can enter still serves root's unprivileged servers.
#[test]
fn an_installation_out_of_reach_is_copied() {
    let folder = folder();
    let closed = folder.path().join("closed");
    let bin = pretend(&closed.join("bin"), "13.1");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("its mode");
    let mut surroundings = nothing(folder.path());
    surroundings.named.insert(13, bin.clone());
    let found = Installation::find_in(13, &surroundings).expect("it or a copy");
    assert_eq!(found.bin() != bin.canonicalize().expect("a path"), rustix::process::geteuid().is_root());
}
