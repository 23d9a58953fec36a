//! What the command says before it has reached a server.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn triplecheck(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triplecheck"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["TRIPLECHECK_PUBLISHER", "TRIPLECHECK_SUBSCRIBER", "TRIPLECHECK_LOG"] {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    triplecheck(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The error document on stdout.
fn document(output: &Output) -> Value {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    document["error"].clone()
}

/// Nobody listens there: port 1 is for a service that nobody has run for decades.
const NOBODY: [&str; 4] =
    ["--publisher", "postgres://ann@127.0.0.1:1/shop", "--subscriber", "host=127.0.0.1 port=1 user=ann dbname=shop"];

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["verify", "--help"], &["plan", "-h"], &["preflight", "-h"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(stdout(&output).contains("triplecheck") && output.stderr.is_empty(), "{arguments:?}");
    }
    assert!(stdout(&run(&["verify", "--help"])).contains("130  interrupted"));
}

#[test]
fn help_does_not_show_what_is_in_the_environment() {
    let output = triplecheck(&["verify", "--help"]).env("TRIPLECHECK_PUBLISHER", "postgres://u:s3cret@h/db").output();
    let output = output.unwrap();
    assert!(stdout(&output).contains("TRIPLECHECK_PUBLISHER") && !stdout(&output).contains("s3cret"));
}

#[test]
fn without_servers_it_says_how_to_give_them() {
    let output = run(&["verify"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
    assert!(stderr(&output).contains("\nhint: ") && stderr(&output).contains("TRIPLECHECK_PUBLISHER"));

    let output = run(&["plan", "--format", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let error = document(&output);
    assert_eq!(error["code"], "usage");
    assert!(error["hint"].as_str().unwrap().contains("--publisher"), "{error}");
}

#[test]
fn a_flag_takes_precedence_over_the_file_and_the_file_over_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("triplecheck.toml");
    std::fs::write(&file, "publisher = \"in_the_file=1\"\nsubscriber = \"in_the_file=1\"\n").unwrap();
    let file = ["--config", file.to_str().unwrap()];
    let flag = |side: &str| [format!("--{side}"), "in_the_flag=1".to_owned()];
    // An option that does not exist is refused by name, which tells where it came from.
    let taken = |command: &str, arguments: &[&str]| {
        let mut command = triplecheck(&[&[command, "--format", "json"], arguments].concat());
        command.env("TRIPLECHECK_PUBLISHER", "in_the_variable=1").env("TRIPLECHECK_SUBSCRIBER", "in_the_variable=1");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        document(&output)["message"].as_str().unwrap().to_owned()
    };
    let refused = |place: &str, option: &str| format!("{place}: invalid connection option \"{option}\"");
    for command in ["verify", "plan", "preflight", "sequences", "lag"] {
        // Of both sides, preflight looks at the subscriber first.
        let side = if command == "preflight" { "subscriber" } else { "publisher" };
        let (place, flag) = (format!("--{side}"), flag(side));
        let both = [&file[..], &[&flag[0], &flag[1]]].concat();
        assert_eq!(taken(command, &both), refused(&place, "in_the_flag"), "{command}");
        assert_eq!(taken(command, &file), refused(&place, "in_the_file"), "{command}");
        let variable = format!("TRIPLECHECK_{}", side.to_uppercase());
        assert_eq!(taken(command, &[]), refused(&variable, "in_the_variable"), "{command}");
    }
    // An empty flag is not one that was left out.
    assert_eq!(taken("verify", &["--publisher", ""]), "--publisher: the connection string is empty");
    for command in ["verify", "lag"] {
        let output = run(&[command, "--help"]);
        let help = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        let rule = "flags take precedence over it, and it takes precedence over the variables TRIPLECHECK_PUBLISHER and \
                    TRIPLECHECK_SUBSCRIBER";
        assert!(help.contains(rule), "{help}");
    }
}

#[test]
fn what_is_not_understood_is_a_usage_error() {
    for arguments in [&["verify", "--bogus"][..], &["bogus"], &["verify", "--jobs", "many"], &["verify", "extra"], &[]]
    {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    let output = run(&["verify", "--bogus", "--format=json"]);
    assert_eq!(output.status.code(), Some(2));
    let error = document(&output);
    assert_eq!(error["code"], "usage");
    assert!(error["message"].as_str().unwrap().contains("--bogus"), "{error}");
}

#[test]
fn settings_that_make_no_sense_are_usage_errors() {
    for (flag, value) in [
        ("--jobs", "0"),
        ("--gate", "perhaps"),
        ("--scope", "all"),
        ("--checks", "rows,colour"),
        ("--lag-timeout", "soon"),
        ("--table", "\"unclosed"),
    ] {
        let output = run(&[&["verify", "--format", "json", flag, value], &NOBODY[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let error = document(&output);
        assert_eq!(error["code"], "usage", "{flag}: {error}");
        assert!(error["message"].as_str().unwrap().contains(flag), "{error}");
    }
    let output = run(&[&["verify", "--config", "/no/such/file"], &NOBODY[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/no/such/file"), "{}", stderr(&output));
    let output = triplecheck(&[&["verify"], &NOBODY[..]].concat()).env("TRIPLECHECK_LOG", "a=b=c").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("TRIPLECHECK_LOG"), "{}", stderr(&output));
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/folder/report");
    for flag in ["--report-json", "--report-csv", "--report-chunks"] {
        for path in [missing.as_path(), folder.path(), Path::new("/dev/null")] {
            let output = run(&[&["verify", "--format", "json", flag, path.to_str().unwrap()], &NOBODY[..]].concat());
            assert_eq!(output.status.code(), Some(2), "{path:?}");
            let error = document(&output);
            assert_eq!(error["code"], "file_error", "{error}");
            assert!(error["message"].as_str().unwrap().contains(path.to_str().unwrap()), "{error}");
        }
    }
    let same = folder.path().join("report");
    let same = same.to_str().unwrap();
    let detour = folder.path().join("./report");
    let reports = ["--report-json", same, "--report-csv", detour.to_str().unwrap()];
    let output = run(&[&["verify"], &reports[..], &NOBODY[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("one file"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_password_in_an_argument_draws_a_warning_and_is_not_echoed() {
    let exposed = ["--publisher", "postgres://ann:s3cret@127.0.0.1:1/shop", "--subscriber", NOBODY[3]];
    let output = run(&[&["verify", "--format", "json", "-vvv"], &exposed[..]].concat());
    assert!(stderr(&output).contains("warning: --publisher holds a password"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("s3cret") && !stdout(&output).contains("s3cret"));

    let output = run(&["verify", "--format", "json", "postgres://ann:s3cret@127.0.0.1/shop"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("s3cret") && !stdout(&output).contains("s3cret"), "{}", stderr(&output));

    let quiet = triplecheck(&["verify", "--subscriber", NOBODY[3]]).env("TRIPLECHECK_PUBLISHER", exposed[1]).output();
    assert!(!stderr(&quiet.unwrap()).contains("warning"));
}
