//! What the process's environment contributes to the settings, read once and then passed around as a value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// Where the operating system keeps its local users (passwd(5)).
#[cfg(unix)]
const PASSWD_FILE: &str = "/etc/passwd";

/// The environment variables of the process and the name of its user.
///
/// Values may hold passwords: [`fmt::Debug`] shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `None` for a variable that is set to something that is not UTF-8.
    variables: BTreeMap<String, Option<String>>,
    user: Option<String>,
    home: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process: the only place that reads it but [`cli`](crate::cli), which looks at `TERM` and
    /// `TRIPLECHECK_LOG`.
    ///
    /// Kept are the variables that mean something here: `PG*` (PostgreSQL manual, "Environment Variables" of libpq) and
    /// `TRIPLECHECK_*`. The user is the one that libpq would take, the owner of the process by the user database; where
    /// that is not `/etc/passwd`, `USER` and `LOGNAME` stand in. The home directory is `HOME`, else that user's.
    #[must_use]
    pub fn process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            if name.starts_with("PG") || name.starts_with("TRIPLECHECK_") {
                environment.variables.insert(name, value.into_string().ok());
            }
        }
        let named = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
        let (user, home) = passwd_user();
        environment.user = user.or_else(|| named("USER")).or_else(|| named("LOGNAME"));
        let named_home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        environment.home = named_home.map(PathBuf::from).or(home);
        environment
    }

    /// An environment with exactly these variables and this user.
    pub fn of<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
        user: Option<&str>,
    ) -> Self {
        Self {
            variables: variables.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect(),
            user: user.map(str::to_owned),
            home: None,
        }
    }

    /// The same with this home directory.
    #[must_use]
    pub fn with_home(self, home: impl Into<PathBuf>) -> Self {
        Self { home: Some(home.into()), ..self }
    }

    /// The value of a variable; an empty one counts as not set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if it is not UTF-8.
    pub fn get(&self, name: &str) -> Result<Option<&str>> {
        Ok(self.set(name)?.filter(|value| !value.is_empty()))
    }

    /// The value of a variable, which may be empty: libpq takes an empty one as it is.
    pub(super) fn set(&self, name: &str) -> Result<Option<&str>> {
        match self.variables.get(name) {
            None => Ok(None),
            Some(None) => {
                Err(Error::new(ErrorKind::Usage, format!("the environment variable {name} is not valid UTF-8")))
            }
            Some(Some(value)) => Ok(Some(value.as_str())),
        }
    }

    /// The name of the operating system's user.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("user", &self.user)
            .field("home", &self.home)
            .finish()
    }
}

/// The name and the home directory of the process's user.
#[cfg(unix)]
fn passwd_user() -> (Option<String>, Option<PathBuf>) {
    use std::os::unix::fs::MetadataExt;
    // The owner of /proc/self is the effective user: the way to geteuid() without unsafe code.
    let entry = std::fs::metadata("/proc/self").and_then(|own| {
        let passwd = std::fs::read(PASSWD_FILE)?;
        Ok(user_of_uid(&String::from_utf8_lossy(&passwd), own.uid()))
    });
    match entry {
        Ok(Some((name, home))) => (Some(name), home),
        Ok(None) | Err(_) => (None, None),
    }
}

/// The name of the operating system's user with this number.
#[cfg(unix)]
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read(PASSWD_FILE).ok()?;
    user_of_uid(&String::from_utf8_lossy(&passwd), uid).map(|(name, _)| name)
}

#[cfg(not(unix))]
fn passwd_user() -> (Option<String>, Option<PathBuf>) {
    (None, None)
}

/// The name and home of the first user with this number (passwd(5): `name:password:uid:gid:comment:home:shell`).
#[cfg(unix)]
fn user_of_uid(passwd: &str, uid: u32) -> Option<(String, Option<PathBuf>)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        let home = fields.nth(2).filter(|home| !home.is_empty()).map(PathBuf::from);
        (number == uid).then(|| (name.to_owned(), home))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let environment = Environment::of([("PGPASSWORD", "sesame")], Some("ann"));
        assert_eq!(
            format!("{environment:?}"),
            r#"Environment { variables: ["PGPASSWORD"], user: Some("ann"), home: None }"#
        );
        assert_eq!(environment.get("PGPASSWORD").unwrap(), Some("sesame"));
    }

    #[test]
    fn empty_is_not_set_and_other_encodings_are_refused() {
        let mut environment = Environment::of([("PGUSER", "")], None);
        environment.variables.insert("PGHOST".to_owned(), None);
        assert_eq!(environment.get("PGUSER").unwrap(), None);
        assert_eq!(environment.set("PGUSER").unwrap(), Some(""));
        assert_eq!(environment.get("PGPORT").unwrap(), None);
        assert_eq!(environment.get("PGHOST").unwrap_err().kind(), ErrorKind::Usage);
    }

    #[cfg(unix)]
    #[test]
    fn the_user_is_found_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\nbroken\n:x:7:\nann:x:1000:1000::/home/ann:/bin/sh\n";
        let user = |name: &str, home: &str| Some((name.to_owned(), Some(PathBuf::from(home))));
        assert_eq!(user_of_uid(passwd, 0), user("root", "/root"));
        assert_eq!(user_of_uid(passwd, 1000), user("ann", "/home/ann"));
        assert_eq!(user_of_uid(passwd, 7), None);
        assert_eq!(user_of_uid("", 0), None);
    }
}
