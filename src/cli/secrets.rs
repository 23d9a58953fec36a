//! Passwords on the command line: any user of the machine can read them in its list of processes.

/// Whether a conninfo (URI or keyword/value) holds a password. Rather says yes once too often.
pub(crate) fn holds_password(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let keyword = lower.split("password").skip(1).any(|rest| rest.trim_start().starts_with('='));
    let userinfo = lower
        .split_once("://")
        .and_then(|(scheme, rest)| scheme.contains("postgres").then(|| rest.rsplit_once('@')).flatten())
        .is_some_and(|(userinfo, _)| userinfo.contains(':'));
    keyword || userinfo
}

/// A message that may quote arguments, without those that hold a password.
pub(crate) fn redacted<'a>(message: &str, arguments: impl IntoIterator<Item = &'a str>) -> String {
    let mut message = message.to_owned();
    for argument in arguments.into_iter().filter(|argument| holds_password(argument)) {
        message = message.replace(argument, "(an argument that holds a password)");
        if let Some((_, value)) = argument.split_once('=').filter(|(flag, _)| flag.starts_with('-')) {
            message = message.replace(value, "(a value that holds a password)");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_seen() {
        for text in [
            "postgres://u:p@h/db",
            "postgresql://u:p%40@[::1]:5432/db?x=y",
            "postgres://u:p/q@h/db",
            "host=h password=p",
            "host=h PASSWORD = 'p q'",
            "postgres://h/db?user=u&password=p",
            "host=h sslpassword=p",
            "--publisher=postgres://u:p@h/db",
        ] {
            assert!(holds_password(text), "{text}");
        }
        for text in
            ["postgres://u@h:5432/db", "postgres://h:5432/db", "host=h passfile=/x", "shop", "", "--table=password"]
        {
            assert!(!holds_password(text), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_echoed() {
        let argument = "--publisherr=postgres://u:s3cret@h/db";
        for message in
            [format!("unexpected argument '{argument}' found"), format!("invalid value '{}'", &argument[13..])]
        {
            let message = redacted(&message, ["verify", argument]);
            assert!(!message.contains("s3cret"), "{message}");
        }
    }
}
