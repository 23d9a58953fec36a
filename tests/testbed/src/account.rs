//! Which account the servers run as: PostgreSQL refuses to run as root.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// Accounts that servers may run as when this process is root, best first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The account of server processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// The one this process has.
    Own,
    /// Another one, because this process is root.
    Other {
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
    },
}

impl Account {
    /// The account for this process's servers.
    pub(crate) fn of_servers() -> Result<Self> {
        static FOUND: OnceLock<Option<Account>> = OnceLock::new();
        FOUND
            .get_or_init(|| {
                if !rustix::process::geteuid().is_root() {
                    return Some(Self::Own);
                }
                let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
                UNPRIVILEGED.iter().find_map(|name| look_up(&passwd, name))
            })
            .ok_or(Error::NoAccount)
    }

    /// Makes the command run as this account.
    pub(crate) fn apply(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Hands a file or folder over to this account.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => {
                chown(path, Some(uid), Some(gid)).map_err(Error::io("hand over to the servers' account", path))
            }
        }
    }
}

/// An account that is not root, from the text of /etc/passwd.
fn look_up(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(Account::Other { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104::/var/lib/postgresql:/bin/bash\nfake:x:0:0::/:/bin/sh\n";
        assert_eq!(look_up(passwd, "postgres"), Some(Account::Other { uid: 101, gid: 104 }));
        assert_eq!(look_up(passwd, "fake"), None);
        assert_eq!(look_up(passwd, "nobody"), None);
    }
}
