//! The connection service file: named sets of parameters (PostgreSQL manual, "The Connection Service File").
//!
//! Source of the rules: `parseServiceInfo` and `parseServiceFile` of src/interfaces/libpq/fe-connect.c.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::keywords::keyword;
use super::syntax::Pair;
use crate::error::{Error, ErrorKind, Result};

/// The user's file, in the home directory.
const USER_FILE: &str = ".pg_service.conf";
/// The system's file, in the folder that `PGSYSCONFDIR` names.
const SYSTEM_FILE: &str = "pg_service.conf";
/// Where builds of libpq look for it without `PGSYSCONFDIR`: Debian's, Red Hat's, and the one of PostgreSQL's own builds.
const SYSTEM_FOLDERS: [&str; 3] = ["/etc/postgresql-common", "/etc", "/usr/local/pgsql/etc"];
/// Bytes that libpq allows in a line.
const MAX_LINE: usize = 1023;

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// The parameters of a service. `named` is the file that the connection string names.
///
/// # Errors
///
/// [`ErrorKind::Usage`] if no file defines the service, or the one that does is written wrongly.
pub(super) fn look_up(service: &str, named: Option<&str>, environment: &Environment) -> Result<Vec<Pair>> {
    let mut looked = Vec::new();
    let user_file = match named.or(environment.set("PGSERVICEFILE")?) {
        Some(path) => Some((PathBuf::from(path), true)),
        None => environment.home().map(|home| (home.join(USER_FILE), false)),
    };
    let system_folders = match environment.set("PGSYSCONFDIR")? {
        Some(folder) => vec![folder],
        None => SYSTEM_FOLDERS.to_vec(),
    };
    let system_files = system_folders.iter().map(|folder| (Path::new(folder).join(SYSTEM_FILE), false));
    for (path, must_exist) in user_file.into_iter().chain(system_files) {
        if !must_exist && !path.exists() {
            looked.push(path.display().to_string());
            continue;
        }
        let bytes = std::fs::read(&path)
            .map_err(|error| usage(format!("cannot read the service file {}", path.display())).with_source(error))?;
        let found = parse(&bytes, service).map_err(|problem| {
            usage(format!("service file {}, line {}: {}", path.display(), problem.line, problem.what))
        })?;
        match found {
            Some(pairs) => return Ok(pairs),
            None => looked.push(path.display().to_string()),
        }
    }
    Err(usage(format!("definition of service \"{service}\" not found"))
        .with_hint(format!("looked into {}; PGSERVICEFILE names another file", looked.join(", "))))
}

/// What is wrong with a service file; never with a value, which may be a password.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    line: usize,
    what: String,
}

/// The parameters of the service, in the order of the file; `None` if it is not defined there.
fn parse(bytes: &[u8], service: &str) -> Result<Option<Vec<Pair>>, Problem> {
    let mut found: Option<Vec<Pair>> = None;
    let mut inside = false;
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let problem = |what: &str| Problem { line: number + 1, what: what.to_owned() };
        if line.len() > MAX_LINE {
            return Err(problem("the line is too long"));
        }
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if let Some(header) = line.strip_prefix(b"[") {
            // Everything up to the next header belongs to the service, which may stand there only once.
            if inside {
                return Ok(found);
            }
            // What follows the bracket is not looked at, as in libpq.
            inside = header.strip_prefix(service.as_bytes()).is_some_and(|rest| rest.starts_with(b"]"));
            if inside {
                found = Some(Vec::new());
            }
            continue;
        }
        let Some(pairs) = found.as_mut().filter(|_| inside) else { continue };
        if line.starts_with(b"ldap") {
            return Err(problem("services are not looked up in LDAP: write the parameters out"));
        }
        let syntax = || problem("syntax error");
        let text = std::str::from_utf8(line).map_err(|_| problem("it is not valid UTF-8"))?;
        let (key, value) = text.split_once('=').ok_or_else(syntax)?;
        if matches!(key, "service" | "servicefile") {
            return Err(problem("a service cannot refer to another service"));
        }
        let key = keyword(key).ok_or_else(syntax)?;
        // The first of several wins, unlike in a connection string.
        if !pairs.iter().any(|(before, _)| before.name == key.name) {
            pairs.push((key, value.to_owned()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n\nstray line without meaning\n[shop]\n  host=db1\t\nport=5433\nhost=ignored\n\
                        password=it's = fine # here \n#user=nobody\n[other]\nhost=db2\n[shop]\nuser=late\n[bad]\nhost = x\n\
                        [worse]\nfoo=1\n[nested]\nservice=shop\n[ldap]\nldap://server/dn?attribute\n[lone]\nhost\n[empty]";

    fn service(name: &str) -> Result<Option<Vec<(&'static str, String)>>, Problem> {
        Ok(parse(FILE.as_bytes(), name)?.map(|pairs| pairs.into_iter().map(|(key, value)| (key.name, value)).collect()))
    }

    #[test]
    fn sections() {
        let pair = |key, value: &str| (key, value.to_owned());
        let shop = vec![pair("host", "db1"), pair("port", "5433"), pair("password", "it's = fine # here")];
        assert_eq!(service("shop"), Ok(Some(shop)));
        assert_eq!(service("other"), Ok(Some(vec![pair("host", "db2")])));
        assert_eq!(service("empty"), Ok(Some(vec![])));
        assert_eq!(service("sho"), Ok(None));
        assert_eq!(service("Shop"), Ok(None));
    }

    #[test]
    fn what_is_written_wrongly_is_named_by_its_line() {
        for (name, line, what) in [
            ("bad", 15, "syntax error"),
            ("worse", 17, "syntax error"),
            ("nested", 19, "another service"),
            ("ldap", 21, "LDAP"),
            ("lone", 23, "syntax error"),
        ] {
            let problem = service(name).unwrap_err();
            assert!(problem.line == line && problem.what.contains(what), "{name}: {problem:?}");
        }
        let long = format!("[s]\nhost={}\n", "x".repeat(2000));
        assert_eq!(parse(long.as_bytes(), "s").unwrap_err().line, 2);
        assert!(parse(b"[s]\nhost=\xff\n", "s").is_err());
    }

    #[test]
    fn files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(USER_FILE, "[mine]\nhost=user\n[both]\nhost=user\n");
        write(SYSTEM_FILE, "[both]\nhost=system\n[global]\nhost=system\n");
        write("named", "[both]\nhost=named\n");
        let path = folder.path().to_str().unwrap();
        let host = |service: &str, named: Option<&str>, variables: &[(&str, &str)]| {
            let environment = Environment::of(variables.iter().copied(), None).with_home(path);
            look_up(service, named, &environment).map(|pairs| pairs[0].1.clone())
        };
        let system = ("PGSYSCONFDIR", path);
        assert_eq!(host("mine", None, &[system]).unwrap(), "user");
        assert_eq!(host("both", None, &[system]).unwrap(), "user");
        assert_eq!(host("global", None, &[system]).unwrap(), "system");
        let named = folder.path().join("named");
        let named = named.to_str().unwrap();
        assert_eq!(host("both", None, &[("PGSERVICEFILE", named), system]).unwrap(), "named");
        assert_eq!(host("global", None, &[("PGSERVICEFILE", named), system]).unwrap(), "system");
        assert_eq!(host("both", Some(named), &[("PGSERVICEFILE", "/none"), system]).unwrap(), "named");
        let error = host("none", None, &[system]).unwrap_err();
        assert_eq!(error.message(), "definition of service \"none\" not found");
        assert!(error.hint().unwrap().contains(USER_FILE), "{error:?}");
        let error = host("both", None, &[("PGSERVICEFILE", "/none/such"), system]).unwrap_err();
        assert!(error.message().contains("/none/such"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_file_is_parsed_or_refused(bytes: Vec<u8>, name in ".*") {
            let _ = parse(&bytes, &name);
            let _ = parse(&[b"[s]\n", bytes.as_slice()].concat(), "s");
        }
    }
}
