//! What the process's environment contributes to the settings, read once and then passed around as a value.

use std::collections::BTreeMap;
use std::fmt;

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
}

impl Environment {
    /// The environment of this process: the only place of the crate that reads it.
    ///
    /// Kept are the variables that mean something here: `PG*` (PostgreSQL manual, "Environment Variables" of libpq) and
    /// `TRIPLECHECK_*`. The user is the one that libpq would take, the owner of the process by the user database; where
    /// that is not `/etc/passwd`, `USER` and `LOGNAME` stand in.
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
        environment.user = passwd_user().or_else(|| named("USER")).or_else(|| named("LOGNAME"));
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
        }
    }

    /// The value of a variable; an empty one counts as not set, as in libpq.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if it is not UTF-8.
    pub fn get(&self, name: &str) -> Result<Option<&str>> {
        match self.variables.get(name) {
            None => Ok(None),
            Some(None) => {
                Err(Error::new(ErrorKind::Usage, format!("the environment variable {name} is not valid UTF-8")))
            }
            Some(Some(value)) => Ok(Some(value.as_str()).filter(|value| !value.is_empty())),
        }
    }

    /// The name of the operating system's user.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("user", &self.user)
            .finish()
    }
}

#[cfg(unix)]
fn passwd_user() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    // The owner of /proc/self is the effective user: the way to geteuid() without unsafe code.
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    let passwd = std::fs::read(PASSWD_FILE).ok()?;
    user_of_uid(&String::from_utf8_lossy(&passwd), uid)
}

#[cfg(not(unix))]
fn passwd_user() -> Option<String> {
    None
}

/// The name of the first user with this number (passwd(5): `name:password:uid:...`).
#[cfg(unix)]
fn user_of_uid(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let environment = Environment::of([("PGPASSWORD", "sesame")], Some("ann"));
        assert_eq!(format!("{environment:?}"), r#"Environment { variables: ["PGPASSWORD"], user: Some("ann") }"#);
        assert_eq!(environment.get("PGPASSWORD").unwrap(), Some("sesame"));
    }

    #[test]
    fn empty_is_not_set_and_other_encodings_are_refused() {
        let mut environment = Environment::of([("PGUSER", "")], None);
        environment.variables.insert("PGHOST".to_owned(), None);
        assert_eq!(environment.get("PGUSER").unwrap(), None);
        assert_eq!(environment.get("PGPORT").unwrap(), None);
        assert_eq!(environment.get("PGHOST").unwrap_err().kind(), ErrorKind::Usage);
    }

    #[cfg(unix)]
    #[test]
    fn the_user_is_found_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\nbroken\n:x:7:\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(user_of_uid(passwd, 0).as_deref(), Some("root"));
        assert_eq!(user_of_uid(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(user_of_uid(passwd, 7), None);
        assert_eq!(user_of_uid("", 0), None);
    }
}
