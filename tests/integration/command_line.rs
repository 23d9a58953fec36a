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
