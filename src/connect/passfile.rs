//! The password file (PostgreSQL manual, "The Password File"; `passwordFromFile` of src/interfaces/libpq/fe-connect.c).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Permissions of others, none of which a password file may have.
const OTHERS: u32 = 0o077;

/// Whom a password is looked up for.
pub(super) struct Wanted<'a> {
    /// Names that the server goes by in the file.
    pub(super) hosts: &'a [&'a str],
    pub(super) port: u16,
    pub(super) dbname: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first line that matches. A file that is not there, or that others may read, has none.
pub(super) fn look_up(path: &Path, wanted: &Wanted<'_>) -> Option<Vec<u8>> {
    let metadata = std::fs::metadata(path).ok()?;
    let shown = path.display();
    if !metadata.is_file() {
        tracing::warn!("password file \"{shown}\" is not a plain file, and is ignored");
        return None;
    }
    if metadata.permissions().mode() & OTHERS != 0 {
        tracing::warn!(
            "password file \"{shown}\" has group or world access, and is ignored; permissions should be u=rw (0600) or less"
        );
        return None;
    }
    match std::fs::read(path) {
        Ok(bytes) => find(&bytes, wanted),
        Err(error) => {
            tracing::warn!("password file \"{shown}\" cannot be read: {error}");
            None
        }
    }
}

fn find(bytes: &[u8], wanted: &Wanted<'_>) -> Option<Vec<u8>> {
    let port = wanted.port.to_string();
    bytes.split(|&byte| byte == b'\n').find_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"#") {
            return None;
        }
        let rest = wanted.hosts.iter().find_map(|host| field(line, host.as_bytes()))?;
        let rest = field(rest, port.as_bytes())?;
        let rest = field(rest, wanted.dbname.as_bytes())?;
        let rest = field(rest, wanted.user.as_bytes())?;
        Some(unescaped(rest))
    })
}

/// What follows the field and its colon, if the field is `*` or the value; `\` makes the next character an ordinary one.
fn field<'a>(line: &'a [u8], value: &[u8]) -> Option<&'a [u8]> {
    if let Some(rest) = line.strip_prefix(b"*:") {
        return Some(rest);
    }
    let (mut rest, mut value) = (line, value);
    loop {
        rest = match rest {
            [b':', after @ ..] if value.is_empty() => return Some(after),
            [b'\\', after @ ..] => after,
            _ => rest,
        };
        let ((first, after), (expected, left)) = (rest.split_first()?, value.split_first()?);
        if first != expected {
            return None;
        }
        (rest, value) = (after, left);
    }
}

/// The rest of the line without its escapes; a `\` at its end is meant.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut password = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after.split_first()) {
            (b'\\', Some((&escaped, after))) => {
                password.push(escaped);
                rest = after;
            }
            _ => {
                password.push(byte);
                rest = after;
            }
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(file: &str, host: &str, dbname: &str, user: &str) -> Option<String> {
        let wanted = Wanted { hosts: &[host], port: 5432, dbname, user };
        find(file.as_bytes(), &wanted).map(|password| String::from_utf8(password).unwrap())
    }

    #[test]
    fn the_first_line_that_matches() {
        let file = "#db1:5432:shop:ann:commented\nshort:5432\ndb1:5433:*:*:port\ndb1:5432:shop:ann:first\r\n\
                    db1:5432:shop:ann:second\n*:*:*:ann:any\\:where\\\\:x\\y\n*:*:a\\:b:c\\\\d:e:s:c:a:p:e:d\\\n\
                    ::1:5432:*:six:plain\n*:5432:*:none:\n*d:*:*:star:no\n**:*:*:star:no";
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(password(file, "db1", "shop", "ann"), some("first"));
        assert_eq!(password(file, "db2", "shop", "ann"), some("any:where\\:xy"));
        assert_eq!(password(file, "db2", "a:b", "c\\d"), some("e:s:c:a:p:e:d\\"));
        // A colon of the value needs no escape, as in libpq.
        assert_eq!(password(file, "::1", "x", "six"), some("plain"));
        assert_eq!(password("\\:\\:1:5432:*:six:v6", "::1", "x", "six"), some("v6"));
        assert_eq!(password(file, "db2", "x", "none"), some(""));
        assert_eq!(password(file, "db2", "x", "star"), None);
        assert_eq!(password(file, "db1", "shop", "an"), None);
        assert_eq!(password(file, "db", "shop", "bob"), None);
        assert_eq!(password("", "db", "shop", "ann"), None);
    }

    #[test]
    fn a_server_may_go_by_several_names() {
        let wanted = Wanted { hosts: &["localhost", "/tmp"], port: 1, dbname: "d", user: "u" };
        assert_eq!(find(b"/tmp:1:d:u:a\nlocalhost:1:d:u:b", &wanted), Some(b"a".to_vec()));
        assert_eq!(find(b"other:1:d:u:a\nlocalhost:1:d:u:b", &wanted), Some(b"b".to_vec()));
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        std::fs::write(&path, "*:*:*:*:sesame\n").unwrap();
        let wanted = Wanted { hosts: &["h"], port: 1, dbname: "d", user: "u" };
        for (mode, found) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o610, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(look_up(&path, &wanted).is_some(), found, "{mode:o}");
        }
        assert_eq!(look_up(folder.path(), &wanted), None);
        assert_eq!(look_up(&folder.path().join("none"), &wanted), None);
    }

    proptest::proptest! {
        #[test]
        fn any_file_is_read(bytes: Vec<u8>, host in ".*", dbname in ".*") {
            let _ = find(&bytes, &Wanted { hosts: &[&host], port: 5432, dbname: &dbname, user: "u" });
        }

        #[test]
        fn what_is_escaped_is_found(host in "[^\n\r]*", dbname in "[^\n\r]*", password in "[^\n\r]*") {
            let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
            let line = format!("{}:*:{}:u:{}", escaped(&format!("h{host}")), escaped(&dbname), escaped(&password));
            let wanted = Wanted { hosts: &[&format!("h{host}")], port: 5432, dbname: &dbname, user: "u" };
            proptest::prop_assert_eq!(find(line.as_bytes(), &wanted), Some(password.into_bytes()));
        }
    }
}
