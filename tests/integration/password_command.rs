//! `--password-command`: tokens that expire, one command for both sides.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use triplecheck_testbed::Server;

use crate::certificates::{installation, options};
use crate::conninfo::set_hba;
use crate::psql::clean;

/// As an IAM token: long, and full of what shells and URIs take for their own.
fn token() -> String {
    let signature = "X-Amz-Credential=AKIA%2F20261123&Action=connect;$HOME`id`'\"\\!*?#(){}[]<>|~ %25+/:@=";
    signature.repeat(20)
}

#[tokio::test]
async fn a_command_prints_the_password_at_every_connect() {
    let server = Server::start_with(installation(), options()).await.unwrap();
    let (first, second) =
        (server.create_database("first", "").await.unwrap(), server.create_database("second", "").await.unwrap());
    for database in [&first, &second] {
        database.sql("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    }
    let token = token();
    assert!(token.len() > 1000);
    let quoted = token.replace('\'', "''");
    first
        .sql(&format!("SET standard_conforming_strings = on; CREATE ROLE iam LOGIN PASSWORD '{quoted}'"))
        .await
        .unwrap();
    first.sql("GRANT pg_read_all_data, pg_monitor TO iam; CREATE ROLE other LOGIN PASSWORD 'static'").await.unwrap();
    first.sql("GRANT pg_read_all_data, pg_monitor TO other").await.unwrap();
    set_hba(&server, "host all all 127.0.0.1/32 scram-sha-256").await;

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("token"), &token).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$TRIPLECHECK_SIDE $PGHOST $PGPORT $PGUSER $PGDATABASE\" >>'{}'\necho about to print >&2\n\
         cat '{}'\necho\n",
        path("calls"),
        path("token")
    );
    fs::write(path("script"), script).unwrap();
    fs::set_permissions(path("script"), fs::Permissions::from_mode(0o700)).unwrap();

    let port = server.port();
    let conninfo = |user: &str, database: &str, rest: &str| {
        format!("host=localhost port={port} user={user} dbname={database} sslmode=disable {rest}")
    };
    let run_as = |job: &'static str, command: String, subscriber: String| async move {
        let variables = [("PGPASSWORD".to_owned(), "outdated".to_owned())];
        let mut triplecheck =
            clean(env!("CARGO_BIN_EXE_triplecheck"), std::path::Path::new("/nonexistent"), &variables);
        triplecheck.args([job, "--gate", "none", "--format", "json", "-vvv", "--password-command", &command]);
        triplecheck.args(["--publisher", &conninfo("iam", "first", ""), "--subscriber", &subscriber]);
        let output = triplecheck.output().await.unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let shown = format!("{json}{}", String::from_utf8(output.stderr).unwrap());
        assert!(!shown.contains("X-Amz") && !shown.contains("about to print"), "{shown}");
        (output.status.code(), json)
    };

    let run = |command: String, subscriber: String| run_as("plan", command, subscriber);

    let (code, json) = run(path("script"), conninfo("iam", "second", "")).await;
    assert_eq!(code, Some(0), "{json:#}");
    assert_eq!((&json["publisher"]["user"], &json["subscriber"]["database"]), (&"iam".into(), &"second".into()));
    let calls = || {
        let calls = fs::read_to_string(path("calls")).unwrap();
        fs::remove_file(path("calls")).unwrap();
        let mut calls: Vec<_> = calls.lines().map(str::to_owned).collect();
        calls.sort_unstable();
        calls
    };
    let (of_first, of_second) =
        (format!("publisher localhost {port} iam first"), format!("subscriber localhost {port} iam second"));
    assert_eq!(calls(), [of_first.clone(), of_second.clone()]);
    // Every session has a token of its own.
    let (code, json) = run_as("verify", path("script"), conninfo("iam", "second", "")).await;
    assert_eq!(code, Some(0), "{json:#}");
    let calls = calls();
    let of = |wanted: &String| calls.iter().filter(|call| *call == wanted).count();
    assert!(of(&of_first) > 2 && of(&of_second) > 2, "{calls:?}");

    // A password that stands in the connection string goes before the command.
    let (code, json) = run(path("script"), conninfo("other", "second", "password=static")).await;
    assert_eq!(code, Some(0), "{json:#}");

    let failures = [
        ("echo X-Amz-secret; echo X-Amz-why >&2; exit 7", "failed with exit status: 7"),
        ("true", "it printed nothing"),
        ("echo X-Amz-one; echo X-Amz-two", "it printed more than one line"),
        ("kill -9 $$", "failed with signal: 9"),
    ];
    for (command, expected) in failures {
        let (code, json) = run(command.to_owned(), conninfo("other", "second", "password=static")).await;
        let message = json["error"]["message"].as_str().unwrap();
        assert!(code == Some(2) && message.contains("--password-command for the publisher"), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(json["error"]["hint"].as_str().unwrap().contains("PGUSER=iam"), "{json}");
    }
    let (code, json) = run("echo wrong".to_owned(), conninfo("other", "second", "password=static")).await;
    assert_eq!(code, Some(2));
    assert!(json["error"]["message"].as_str().unwrap().contains("password authentication failed"), "{json}");
    assert_eq!(json["error"]["hint"], "the password is that of --password-command");
}
