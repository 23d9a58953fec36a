//! Runs the real binary against a real pair.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use triplecheck_testbed::Replicated;

/// A run of `triplecheck verify`.
pub(crate) struct Verify {
    args: Vec<String>,
}

/// What it printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

impl Verify {
    pub(crate) fn new(database: &Replicated) -> Self {
        Self::between(&database.publisher.conninfo(), &database.subscriber.conninfo())
    }

    pub(crate) fn between(publisher: &str, subscriber: &str) -> Self {
        let args =
            ["verify", "--format", "json", "--progress", "none", "--publisher", publisher, "--subscriber", subscriber];
        Self { args: args.map(str::to_owned).into() }
    }

    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    pub(crate) async fn run(self) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_triplecheck"))
            .args(&self.args)
            .stdin(Stdio::null())
            .output()
            .await
            .expect("the binary runs");
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        let json = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"));
        Ran { code: output.status.code().expect("not killed"), json, stderr }
    }
}
