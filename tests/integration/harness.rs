//! Runs the real binary against a real pair.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};
use triplecheck_testbed::{Database, Replicated};

/// How long anything that is waited for may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A run of `triplecheck verify`, or of another command.
pub(crate) struct Verify {
    command: &'static str,
    format: &'static str,
    args: Vec<String>,
    network: Option<String>,
}

/// What it printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

/// What it printed, whatever that is; no code if a signal ended it.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run that goes on while the test does something else. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
}

impl Verify {
    pub(crate) fn new(database: &Replicated) -> Self {
        Self::between(&database.publisher.conninfo(), &database.subscriber.conninfo())
    }

    pub(crate) fn between(publisher: &str, subscriber: &str) -> Self {
        let args = ["--publisher", publisher, "--subscriber", subscriber];
        Self { command: "verify", format: "json", args: args.map(str::to_owned).into(), network: None }
    }

    /// `triplecheck plan` instead.
    pub(crate) fn plan(self) -> Self {
        Self { command: "plan", ..self }
    }

    /// `triplecheck lag` instead.
    pub(crate) fn lag(self) -> Self {
        Self { command: "lag", ..self }
    }

    /// `triplecheck sequences` instead.
    pub(crate) fn sequences(self) -> Self {
        Self { command: "sequences", ..self }
    }

    /// `triplecheck preflight` instead, with a short look at the WAL.
    pub(crate) fn preflight(self) -> Self {
        self.preflight_for("10ms")
    }

    /// The same with a look at the WAL of this length.
    pub(crate) fn preflight_for(self, interval: &str) -> Self {
        Self { command: "preflight", ..self }.args("--wal-interval").arg(interval)
    }

    /// `triplecheck preflight` of a publisher alone.
    pub(crate) fn week_ahead(publisher: &str) -> Self {
        let args = ["--publisher", publisher].map(str::to_owned).into();
        Self { command: "preflight", format: "json", args, network: None }.args("--wal-interval 10ms")
    }

    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Several, separated by spaces.
    pub(crate) fn args(mut self, args: &str) -> Self {
        self.args.extend(args.split_whitespace().map(str::to_owned));
        self
    }

    /// In a network namespace of its own.
    pub(crate) fn within(self, network: &str) -> Self {
        Self { network: Some(network.to_owned()), ..self }
    }

    fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_triplecheck");
        let mut command = match &self.network {
            Some(network) => {
                // It becomes the program.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", network, program]);
                command
            }
            None => Command::new(program),
        };
        command.arg(self.command).args(["--format", self.format]).args(&self.args).stdin(Stdio::null());
        if self.command == "verify" {
            command.args(["--progress", "none"]);
        }
        for variable in ["TRIPLECHECK_PUBLISHER", "TRIPLECHECK_SUBSCRIBER", "TRIPLECHECK_LOG"] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) async fn run(self) -> Ran {
        self.start().finish().await
    }

    /// Runs it for people: what stdout gets is text.
    pub(crate) async fn text(self) -> Printed {
        Self { format: "text", ..self }.start().printed().await
    }

    /// Runs it for people, with a stdout that takes nothing.
    pub(crate) async fn into_a_full_disk(self) -> Printed {
        let mut command = Self { format: "text", ..self }.command();
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        command.stdout(full).stderr(Stdio::piped()).kill_on_drop(true);
        Running { child: command.spawn().expect("the binary runs") }.printed().await
    }

    /// Starts it, and leaves it running.
    pub(crate) fn start(self) -> Running {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Running { child: command.spawn().expect("the binary runs") }
    }
}

impl Running {
    /// Sends it a signal: `INT`, `TERM`, `KILL`.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it is still running").to_string();
        let sent = Command::new("kill").args([format!("-{name}"), pid]).status().await.expect("kill runs");
        assert!(sent.success());
    }

    /// Whether it goes on.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// The most memory that it had at once, in KiB; `None` once it has ended.
    pub(crate) fn memory_peak_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        peak.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    /// Waits for its end.
    pub(crate) async fn printed(self) -> Printed {
        let output = self.child.wait_with_output().await.expect("a child of ours");
        Printed {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Waits for its end, and reads its JSON.
    pub(crate) async fn finish(self) -> Ran {
        let Printed { code, stdout, stderr } = self.printed().await;
        let json = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"));
        Ran { code: code.expect("not killed"), json, stderr }
    }
}

impl Ran {
    /// Every table as `schema.name verdict reason`, in the report's order.
    pub(crate) fn tables(&self) -> Vec<String> {
        let of = |table: &Value| {
            let [schema, name, verdict] = ["schema", "name", "verdict"].map(|field| table[field].as_str().unwrap());
            format!("{schema}.{name} {verdict} {}", table["reason"].as_str().unwrap_or("-"))
        };
        self.json["tables"].as_array().unwrap_or_else(|| panic!("{self:#?}")).iter().map(of).collect()
    }

    /// The report on one table.
    pub(crate) fn table(&self, name: &str) -> &Value {
        let tables = self.json["tables"].as_array().unwrap_or_else(|| panic!("{self:#?}"));
        tables.iter().find(|table| table["name"] == name).unwrap_or_else(|| panic!("no table {name}: {self:#?}"))
    }

    /// Every sequence as `name verdict publisher_next subscriber_next`.
    pub(crate) fn sequences(&self) -> Vec<String> {
        let of = |sequence: &Value| {
            let text = |field: &str| sequence[field].as_str().unwrap_or("-").to_owned();
            ["name", "verdict", "publisher_next", "subscriber_next"].map(text).join(" ")
        };
        self.json["sequences"].as_array().unwrap_or_else(|| panic!("{self:#?}")).iter().map(of).collect()
    }

    /// Every finding as `severity code object`, sorted.
    pub(crate) fn findings(&self) -> Vec<String> {
        let of = |finding: &Value| {
            let text = |field: &str| finding[field].as_str().unwrap().to_owned();
            ["severity", "code", "object"].map(text).join(" ")
        };
        let findings = self.json["findings"].as_array().unwrap_or_else(|| panic!("{self:#?}"));
        let mut findings: Vec<_> = findings.iter().map(of).collect();
        findings.sort();
        findings
    }

    /// Every check of `preflight` with this status as `code object`, in the report's order.
    pub(crate) fn checks(&self, status: &str) -> Vec<String> {
        let all = self.json["checks"].as_array().unwrap_or_else(|| panic!("{self:#?}"));
        let of = |check: &Value| {
            let text = |field: &str| check[field].as_str().unwrap_or("-").to_owned();
            [text("code"), text("object")].join(" ")
        };
        all.iter().filter(|check| check["status"] == status).map(of).collect()
    }

    /// The check with this code about this object; `-` is the server.
    #[track_caller]
    pub(crate) fn check(&self, code: &str, object: &str) -> &Value {
        let all = self.json["checks"].as_array().unwrap_or_else(|| panic!("{self:#?}"));
        let found = all.iter().find(|check| check["code"] == code && check["object"].as_str().unwrap_or("-") == object);
        found.unwrap_or_else(|| panic!("no check {code} of {object}: {self:#?}"))
    }

    /// Its exit code, after a look whether the JSON says the same.
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) {
        assert_eq!(self.code, code, "{self:#?}");
        assert_eq!(self.json["exit_code"], code, "{self:#?}");
    }

    /// It refused: exit 2. Returns code, message and hint of the error document.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (&str, &str, &str) {
        assert_eq!(self.code, 2, "{self:#?}");
        let error = &self.json["error"];
        let text = |field: &str| error[field].as_str().unwrap_or_default();
        (text("code"), text("message"), text("hint"))
    }
}

/// Waits until a query's first value is this.
pub(crate) async fn wait_for(database: &Database, query: &str, value: &str) {
    let client = database.connect().await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let messages = client.simple_query(query).await.unwrap();
        let first = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        if first == Some(value) {
            return;
        }
        assert!(Instant::now() < deadline, "{query} gives {first:?}, not {value}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Disables the subscription, and waits until its worker is gone: it may apply for a moment longer.
pub(crate) async fn disable(database: &Replicated, subscription: &str, slot: &str) {
    database.subscriber.sql(&format!("ALTER SUBSCRIPTION {subscription} DISABLE")).await.unwrap();
    let active = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'");
    wait_for(&database.publisher, &active, "f").await;
}
