//! The two written forms of a connection string, as libpq reads them: text in, keys and values out.
//!
//! Source of the rules: PostgreSQL manual, "Connection Strings" (libpq), and `conninfo_parse` and
//! `conninfo_uri_parse_options` of src/interfaces/libpq/fe-connect.c. No message repeats a part of the text that could
//! belong to a password, not even of a string that is written wrongly.

use super::keywords::{Keyword, keyword};
use crate::error::{Error, ErrorKind, Result};

/// How the URI form begins.
const URI_PREFIXES: [&str; 2] = ["postgresql://", "postgres://"];

/// A key and its value.
pub(super) type Pair = (&'static Keyword, String);

/// Takes a connection string apart, pairs in the order in which they were written. A text without `=` that is no URI is
/// the name of a database, as for `psql -d`.
pub(super) fn parse(text: &str) -> Result<Vec<Pair>> {
    if text.contains('\0') {
        return Err(usage("a connection string cannot contain a NUL character"));
    }
    if text.trim().is_empty() {
        return Err(usage("the connection string is empty"));
    }
    if let Some(rest) = URI_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        uri(rest)
    } else if text.contains('=') {
        keywords(text)
    } else {
        Ok(vec![(known("dbname", &[])?, text.to_owned())])
    }
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// The keyword of that name. An unknown name is repeated in the message, unless it may be the rest of a password.
fn known(name: &str, before: &[Pair]) -> Result<&'static Keyword> {
    keyword(name).ok_or_else(|| match before.last() {
        Some((previous, _)) if previous.name == "password" => {
            usage("invalid connection option after the value of \"password\"")
                .with_hint("a password with spaces must be written in single quotes, in a URI & must be written as %26")
        }
        _ => usage(format!("invalid connection option \"{name}\"")),
    })
}

/// The spaces of C's isspace() in the C locale.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// The pair of a key and its value, after what libpq still understands of its own past.
fn pair(name: &str, value: String, before: &[Pair]) -> Result<Pair> {
    Ok(match name {
        "requiressl" if value.starts_with('1') => (known("sslmode", before)?, "require".to_owned()),
        "requiressl" => (known("sslmode", before)?, "prefer".to_owned()),
        _ => (known(name, before)?, value),
    })
}

fn keywords(text: &str) -> Result<Vec<Pair>> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let end = rest.find(|c| c == '=' || is_space(c)).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(value) = after.trim_start_matches(is_space).strip_prefix('=') else {
            return Err(usage(format!("missing \"=\" in the connection string, {}", place(&pairs)))
                .with_hint("a value that contains spaces must be written in single quotes"));
        };
        let (value, after) = keyword_value(value.trim_start_matches(is_space))
            .ok_or_else(|| usage(format!("unterminated quoted string in the connection string, {}", place(&pairs))))?;
        let pair = pair(key, value, &pairs)?;
        pairs.push(pair);
        rest = after.trim_start_matches(is_space);
    }
    Ok(pairs)
}

fn place(pairs: &[Pair]) -> String {
    match pairs.last() {
        Some((previous, _)) => format!("after the value of \"{}\"", previous.name),
        None => "at its beginning".to_owned(),
    }
}

/// Reads a value, quoted or bare, and returns it with what follows; `None` if its closing quote is missing.
fn keyword_value(text: &str) -> Option<(String, &str)> {
    let (body, quoted) = match text.strip_prefix('\'') {
        Some(body) => (body, true),
        None => (text, false),
    };
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((value, characters.as_str())),
            _ if !quoted && is_space(character) => return Some((value, body.get(at..)?)),
            _ => value.push(character),
        }
    }
    (!quoted).then_some((value, ""))
}

fn uri(rest: &str) -> Result<Vec<Pair>> {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut rest = rest;
    // An "@" counts only before the first "/", as in libpq: a "/" in a password must be written %2F.
    if let Some(at) = rest.find(['@', '/']).filter(|&at| rest[at..].starts_with('@')) {
        let (user, password) = match rest[..at].split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (&rest[..at], None),
        };
        if !user.is_empty() {
            pairs.push((known("user", &pairs)?, decode(user, "user")?));
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            pairs.push((known("password", &pairs)?, decode(password, "password")?));
        }
        rest = &rest[at + 1..];
    }

    let (hosts, ports, after) = authority(rest)?;
    if !hosts.is_empty() {
        pairs.push((known("host", &pairs)?, decode(&hosts, "host")?));
    }
    if !ports.is_empty() {
        pairs.push((known("port", &pairs)?, decode(&ports, "port")?));
    }

    let query = match after.strip_prefix('/') {
        Some(path) => {
            let (dbname, query) = match path.split_once('?') {
                Some((dbname, query)) => (dbname, Some(query)),
                None => (path, None),
            };
            if dbname.contains('@') {
                return Err(usage("an \"@\" after the first \"/\" of a connection URI is ambiguous").with_hint(
                    "in a user name or a password write / as %2F and @ as %40; in a database name write @ as %40",
                ));
            }
            if !dbname.is_empty() {
                pairs.push((known("dbname", &pairs)?, decode(dbname, "dbname")?));
            }
            query
        }
        None => after.strip_prefix('?'),
    };
    // One "&" may stand at the end.
    let query = query.unwrap_or_default();
    let query = query.strip_suffix('&').filter(|rest| !rest.is_empty()).unwrap_or(query);
    for parameter in query.split('&').filter(|_| !query.is_empty()) {
        pairs.push(query_parameter(parameter, &pairs)?);
    }
    Ok(pairs)
}

/// Reads `host:port,host:port`, and returns the hosts and ports as lists separated by commas, and what follows.
/// The list of ports is empty if there is one host without a port.
fn authority(text: &str) -> Result<(String, String, &str)> {
    let (mut hosts, mut ports, mut rest) = (String::new(), String::new(), text);
    loop {
        if let Some(address) = rest.strip_prefix('[') {
            let (address, after) = address
                .split_once(']')
                .ok_or_else(|| usage("missing \"]\" after the IPv6 address in the connection URI"))?;
            if address.is_empty() {
                return Err(usage("the IPv6 address in the connection URI is empty"));
            }
            if !after.is_empty() && !after.starts_with([':', '/', '?', ',']) {
                return Err(usage("expected \":\" or \"/\" after the IPv6 address in the connection URI"));
            }
            hosts.push_str(address);
            rest = after;
        } else {
            let end = rest.find([':', '/', '?', ',']).unwrap_or(rest.len());
            hosts.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        if let Some(port) = rest.strip_prefix(':') {
            let end = port.find(['/', '?', ',']).unwrap_or(port.len());
            ports.push_str(&port[..end]);
            rest = &port[end..];
        }
        let Some(next) = rest.strip_prefix(',') else { return Ok((hosts, ports, rest)) };
        hosts.push(',');
        ports.push(',');
        rest = next;
    }
}

fn query_parameter(parameter: &str, before: &[Pair]) -> Result<Pair> {
    let (key, value) = parameter.split_once('=').ok_or_else(|| {
        usage(format!("missing \"=\" in a parameter of the connection URI, {}", place(before)))
            .with_hint("write & as %26 where it is part of a value")
    })?;
    if value.contains('=') {
        return Err(usage(format!("a second \"=\" in a parameter of the connection URI, {}", place(before)))
            .with_hint("write = as %3D where it is part of a value"));
    }
    let name = decode(key, "parameter name")?;
    // libpq takes ssl=true of JDBC's URIs for sslmode=require.
    if name == "ssl" && value == "true" {
        return Ok((known("sslmode", before)?, "require".to_owned()));
    }
    let value = decode(value, if name == "password" { "password" } else { "value of a parameter" })?;
    pair(&name, value, before)
}

/// Resolves `%xx` (RFC 3986, section 2.1).
fn decode(text: &str, what: &str) -> Result<String> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let code = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok()).ok_or_else(|| {
            usage(format!("invalid percent-encoding in the {what} of the connection URI"))
                .with_hint("write % as %25 where it is meant literally")
        })?;
        if code == 0 {
            return Err(usage(format!("forbidden value %00 in the {what} of the connection URI")));
        }
        bytes.push(code);
    }
    String::from_utf8(bytes).map_err(|_| usage(format!("the {what} of the connection URI is not valid UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
        match parse(text) {
            Ok(pairs) => Ok(pairs.into_iter().map(|(key, value)| (key.name.to_owned(), value)).collect()),
            Err(error) => Err(error.message().to_owned()),
        }
    }

    #[test]
    fn both_forms_and_a_bare_name() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("shop", &[("dbname", "shop")]),
            ("my shop", &[("dbname", "my shop")]),
            ("host=a port=1", &[("host", "a"), ("port", "1")]),
            ("  host = a\tport =\n1 ", &[("host", "a"), ("port", "1")]),
            (r"password='it\'s \\ x' user=u", &[("password", r"it's \ x"), ("user", "u")]),
            (r"password=a\ b user=u", &[("password", "a b"), ("user", "u")]),
            ("password='' user=u", &[("password", ""), ("user", "u")]),
            ("user='a'dbname=b", &[("user", "a"), ("dbname", "b")]),
            ("password=a=b", &[("password", "a=b")]),
            ("dbname=x dbname=y", &[("dbname", "x"), ("dbname", "y")]),
            ("user=", &[("user", "")]),
            ("user=a\\", &[("user", "a")]),
            ("postgresql://", &[]),
            ("postgres://h", &[("host", "h")]),
            ("postgresql://h:5433/d", &[("host", "h"), ("port", "5433"), ("dbname", "d")]),
            ("postgresql://u@h/d", &[("user", "u"), ("host", "h"), ("dbname", "d")]),
            ("postgresql://u:p%40%2F%25@h", &[("user", "u"), ("password", "p@/%"), ("host", "h")]),
            ("postgresql://u:@h", &[("user", "u"), ("host", "h")]),
            ("postgresql://h1:1,h2:2/d", &[("host", "h1,h2"), ("port", "1,2"), ("dbname", "d")]),
            ("postgresql://h1,h2:2", &[("host", "h1,h2"), ("port", ",2")]),
            ("postgresql://h1,h2", &[("host", "h1,h2"), ("port", ",")]),
            ("postgresql://[::1]:5433,[fe80::1]/d", &[("host", "::1,fe80::1"), ("port", "5433,"), ("dbname", "d")]),
            ("postgresql://%2Frun%2Fpg/d", &[("host", "/run/pg"), ("dbname", "d")]),
            ("postgresql:///d?host=/run/pg&port=5", &[("dbname", "d"), ("host", "/run/pg"), ("port", "5")]),
            ("postgresql://h?connect_timeout=3", &[("host", "h"), ("connect_timeout", "3")]),
            ("postgresql://h/?options=-c%20a%3Db", &[("host", "h"), ("options", "-c a=b")]),
            ("postgresql://h/d?ssl=true", &[("host", "h"), ("dbname", "d"), ("sslmode", "require")]),
            ("postgresql://ann@/d", &[("user", "ann"), ("dbname", "d")]),
            ("postgresql://h/d?user=u&", &[("host", "h"), ("dbname", "d"), ("user", "u")]),
            ("requiressl=1", &[("sslmode", "require")]),
            ("postgresql://h?requiressl=0", &[("host", "h"), ("sslmode", "prefer")]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            assert_eq!(pairs(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_written_wrongly_is_refused_without_repeating_it() {
        let cases = [
            ("", "the connection string is empty"),
            (" \n", "the connection string is empty"),
            ("a\0b", "a connection string cannot contain a NUL character"),
            ("user=u password=open sesame", "missing \"=\" in the connection string, after the value of \"password\""),
            ("sesame user=u", "missing \"=\" in the connection string, at its beginning"),
            ("user=u password='sesame", "unterminated quoted string in the connection string, after the value of"),
            ("password='sesame", "unterminated quoted string in the connection string, at its beginning"),
            ("postgresql://u:sesame%4@h", "invalid percent-encoding in the password"),
            ("postgresql://u:sesame%zz@h", "invalid percent-encoding in the password"),
            ("postgresql://u:sesame%00@h", "forbidden value %00 in the password"),
            ("postgresql://u:sesame%ff@h", "the password of the connection URI is not valid UTF-8"),
            ("postgresql://u:12/sesame@h/d", "an \"@\" after the first \"/\""),
            ("postgresql://[::1", "missing \"]\""),
            ("postgresql://[]", "is empty"),
            ("postgresql://[::1]sesame", "expected \":\" or \"/\""),
            ("postgresql://h/d?password=a&sesame", "missing \"=\" in a parameter"),
            ("postgresql://h/d?&user=u", "missing \"=\" in a parameter"),
            ("postgresql://h/d?user=u&&port=1", "missing \"=\" in a parameter"),
            ("postgresql://h/d?foo=1", "invalid connection option \"foo\""),
            ("user=u foo=1", "invalid connection option \"foo\""),
            ("Host=u", "invalid connection option \"Host\""),
            ("password=open sesame=1", "invalid connection option after the value of \"password\""),
            ("password=open sesame=1 street", "invalid connection option after the value of \"password\""),
            ("postgresql://h/d?password=open&sesame=1", "invalid connection option after the value of \"password\""),
            ("postgresql://h/d?password=a=sesame", "a second \"=\" in a parameter"),
        ];
        for (text, expected) in cases {
            let message = pairs(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("sesame"), "{text}: {message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".*") {
            let _ = parse(&text);
            let _ = parse(&format!("postgresql://{text}"));
            let _ = parse(&format!("user={text}"));
        }
    }
}
