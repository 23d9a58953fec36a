//! The command line as clap reads it. A flag exists only once it does what it says.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::exit;
use super::lag::Lag;
use super::progress::ProgressMode;
use super::secrets::holds_password;
use super::sequences::Sequences;
use crate::config::RawSettings;

/// Proves that a PostgreSQL logical-replication subscriber holds the same data as its publisher
#[derive(Parser)]
#[command(name = "triplecheck", version, max_term_width = 110, after_help = exit::HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compare the two sides: the main job
    #[command(after_help = exit::HELP)]
    Verify(Box<Verify>),
    /// Show what verify would read: tables, chunks, choice of scan, exact SQL; reads no table, and of those that are
    /// not replicated only whether they hold a row
    #[command(after_help = exit::HELP)]
    Plan(Box<Plan>),
    /// Compare the sequences, and write the script that sets them at cutover
    #[command(after_help = exit::HELP)]
    Sequences(Box<Sequences>),
    /// Say whether the two can be replicated and verified, what stands in the way, and what to do about it
    #[command(after_help = exit::PREFLIGHT_HELP)]
    Preflight(Box<Preflight>),
    /// Where both sides stand, how fast replication moves, and why not faster
    #[command(after_help = exit::HELP)]
    Lag(Box<Lag>),
}

#[derive(Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) shared: Shared,

    /// How long the sync point is waited for: 30s, 5m, ... [default: 5m]
    #[arg(long, value_name = "DURATION", help_heading = "Comparison")]
    lag_timeout: Option<String>,

    /// Listed differing rows per table [default: 100]
    #[arg(long, value_name = "N", help_heading = "Output")]
    samples: Option<u64>,

    /// Put the values of differing columns into reports, not only keys and column names
    #[arg(long, help_heading = "Output")]
    show_values: bool,

    /// Also write the JSON report to FILE
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report_json: Option<PathBuf>,

    /// Also write the listed differing rows to FILE as CSV
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report_csv: Option<PathBuf>,

    /// Also write the ledger of chunks, with their digests, to FILE as CSV
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report_chunks: Option<PathBuf>,

    /// How progress is shown on stderr
    #[arg(long, value_name = "MODE", value_enum, default_value = "auto", help_heading = "Output")]
    pub(crate) progress: ProgressMode,
}

#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Args)]
pub(crate) struct Preflight {
    #[command(flatten)]
    pub(crate) common: Common,

    #[command(flatten)]
    selection: Selection,

    /// How long the publisher's WAL is measured: 2s, 1m, ... [default: 2s]
    #[arg(long, value_name = "DURATION", help_heading = "Checks")]
    wal_interval: Option<String>,

    /// From when on an open or prepared transaction is reported [default: 5m]
    #[arg(long, value_name = "DURATION", help_heading = "Checks")]
    long_transaction: Option<String>,

    /// From SIZE on, WAL that is kept for a slot raises an alarm [default: 50GB]
    #[arg(long, value_name = "SIZE", help_heading = "Checks")]
    retained: Option<String>,

    /// Before ENABLE on a restored clone: check that its data end at LSN, and that slot, subscription and origin fit
    #[arg(long, value_name = "LSN", help_heading = "Checks")]
    pub(crate) restore_lsn: Option<String>,
}

/// The flags of every command.
#[derive(Args)]
pub(crate) struct Common {
    /// The publisher, as psql takes it: a URI, keywords and values, or a database name
    /// [variable: TRIPLECHECK_PUBLISHER]
    #[arg(long, value_name = "CONNINFO", help_heading = "Servers")]
    publisher: Option<String>,

    /// The subscriber [variable: TRIPLECHECK_SUBSCRIBER]
    #[arg(long, value_name = "CONNINFO", help_heading = "Servers")]
    subscriber: Option<String>,

    /// Shell command that prints a password, run at every connect with TRIPLECHECK_SIDE, PGHOST, PGPORT, PGUSER and
    /// PGDATABASE set; for tokens that expire
    #[arg(long, value_name = "COMMAND", help_heading = "Servers")]
    password_command: Option<String>,

    /// TOML file with the same settings; flags take precedence over it, and it takes precedence over the variables
    /// TRIPLECHECK_PUBLISHER and TRIPLECHECK_SUBSCRIBER
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// What stdout gets
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    pub(crate) format: Format,

    /// More log lines on stderr: -v progress of the engine, -vv details, -vvv everything; TRIPLECHECK_LOG takes a filter
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
}

/// The flags that select tables, and what belongs to them.
#[derive(Args)]
pub(crate) struct Selection {
    /// Only tables of this subscription; repeatable [default: all that the publisher feeds]
    #[arg(long, value_name = "NAME", help_heading = "Selection")]
    subscription: Vec<String>,

    /// Only tables of the publisher that match, as in pg_dump; repeatable
    #[arg(short, long, value_name = "PATTERN", help_heading = "Selection")]
    table: Vec<String>,

    /// Leave out tables that match; repeatable
    #[arg(short = 'T', long, value_name = "PATTERN", help_heading = "Selection")]
    exclude_table: Vec<String>,

    /// What must be accounted for: everything in the publisher's database, or only what is published: database, published
    /// [default: database]
    #[arg(long, value_name = "SCOPE", help_heading = "Selection")]
    scope: Option<String>,
}

/// The flags of the commands that compare tables.
#[derive(Args)]
pub(crate) struct Shared {
    #[command(flatten)]
    pub(crate) common: Common,

    #[command(flatten)]
    selection: Selection,

    /// Which witnesses: count, max, sum, sequence, rows; without rows nothing is proven [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Comparison")]
    checks: Vec<String>,

    /// Scan sessions per side [default: 4]
    #[arg(short, long, value_name = "N", help_heading = "Comparison")]
    jobs: Option<u64>,

    /// Target rows in a chunk [default: by size]
    #[arg(long, value_name = "N", help_heading = "Comparison")]
    chunk_rows: Option<u64>,

    /// How rows are compared: rows (every row is read), digest (the servers digest each table with 128 bits, and rows are
    /// read only where the digests differ: no byte-by-byte proof) or digest64 (the same with 64 bits) [default: rows]
    #[arg(long, value_name = "HOW", help_heading = "Comparison")]
    scan: Option<String>,

    /// When the comparison may begin: live (writes continue), quiesced (writes are stopped and applied) or none (nothing
    /// replicates between the two any more) [default: live]
    #[arg(long, value_name = "MODE", help_heading = "Comparison")]
    gate: Option<String>,

    /// How long snapshots are held; they hold back vacuum [default: 15m]
    #[arg(long, value_name = "DURATION", help_heading = "Comparison")]
    snapshot_age_max: Option<String>,
}

/// What stdout gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; the last line can be pasted into a ticket
    Text,
    /// The report as one JSON document
    Json,
}

/// A list that was given, if any of it was.
pub(super) fn given<T>(list: &[T]) -> Option<Vec<T>>
where
    T: Clone,
{
    (!list.is_empty()).then(|| list.to_vec())
}

impl Common {
    pub(crate) fn settings(&self) -> RawSettings {
        RawSettings {
            publisher: self.publisher.clone(),
            subscriber: self.subscriber.clone(),
            password_command: self.password_command.clone(),
            ..RawSettings::default()
        }
    }
}

impl Selection {
    pub(crate) fn settings(&self, common: &Common) -> RawSettings {
        RawSettings {
            subscription: given(&self.subscription),
            table: given(&self.table),
            exclude_table: given(&self.exclude_table),
            scope: self.scope.clone(),
            ..common.settings()
        }
    }
}

impl Shared {
    fn settings(&self) -> RawSettings {
        RawSettings {
            checks: given(&self.checks),
            jobs: self.jobs,
            chunk_rows: self.chunk_rows,
            scan: self.scan.clone(),
            gate: self.gate.clone(),
            snapshot_age_max: self.snapshot_age_max.clone(),
            ..self.selection.settings(&self.common)
        }
    }
}

impl Verify {
    fn settings(&self) -> RawSettings {
        RawSettings {
            lag_timeout: self.lag_timeout.clone(),
            samples: self.samples,
            show_values: self.show_values.then_some(true),
            ..self.shared.settings()
        }
    }
}

impl Preflight {
    fn settings(&self) -> RawSettings {
        RawSettings {
            wal_interval: self.wal_interval.clone(),
            long_transaction: self.long_transaction.clone(),
            retained: self.retained.clone(),
            ..self.selection.settings(&self.common)
        }
    }
}

impl Command {
    /// The flags of every command.
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Verify(verify) => &verify.shared.common,
            Self::Plan(plan) => &plan.shared.common,
            Self::Sequences(sequences) => &sequences.common,
            Self::Preflight(preflight) => &preflight.common,
            Self::Lag(lag) => &lag.common,
        }
    }

    /// What the flags say.
    pub(crate) fn settings(&self) -> RawSettings {
        match self {
            Self::Verify(verify) => verify.settings(),
            Self::Plan(plan) => plan.shared.settings(),
            Self::Sequences(sequences) => sequences.settings(),
            Self::Preflight(preflight) => preflight.settings(),
            Self::Lag(lag) => lag.settings(),
        }
    }
}

/// A command line that was understood. No `Debug` here or above: connection strings hold passwords.
pub(crate) struct Parsed {
    pub(crate) command: Command,
    /// Flags whose value holds a password and was given as an argument, where every user of the machine can read it.
    pub(crate) exposed: Vec<&'static str>,
}

/// Reads the command line; `arguments` begins with the name of the program.
///
/// # Errors
///
/// clap's: a usage error, or `--help` and `--version`, which are no errors to the user.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Parsed, clap::Error> {
    let matches = Arguments::command().try_get_matches_from(arguments)?;
    let exposed = ["publisher", "subscriber"].into_iter().filter(|flag| exposes(&matches, flag)).collect();
    Ok(Parsed { command: Arguments::from_arg_matches(&matches)?.command, exposed })
}

fn exposes(matches: &ArgMatches, flag: &str) -> bool {
    let conninfo = matches.subcommand().and_then(|(_, matches)| matches.get_one::<String>(flag));
    conninfo.is_some_and(|conninfo| holds_password(conninfo))
}

/// Whether JSON was asked for, on a command line that clap may not have understood.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    let after_flag =
        arguments.windows(2).any(|pair| matches!(pair, [flag, value] if flag == "--format" && value == "json"));
    after_flag || arguments.iter().any(|argument| argument == "--format=json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<OsString> {
        std::iter::once("triplecheck").chain(text.split_whitespace()).map(OsString::from).collect()
    }

    #[test]
    fn clap_finds_no_fault_with_the_definition() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_reaches_the_settings() {
        let parsed = parse(&line(
            "verify --publisher host=a --subscriber postgres://u:p@b --subscription s1 --subscription s2 -t a.* --table b \
             -T c --exclude-table d --password-command token --scope published --checks count,rows -j 3 --chunk-rows 1000 --scan digest --gate none \
             --lag-timeout 10s --snapshot-age-max 1m --samples 7 --show-values --progress none -vv",
        ))
        .unwrap();
        let settings = parsed.command.settings();
        assert_eq!(settings.publisher.as_deref(), Some("host=a"));
        assert_eq!(settings.password_command.as_deref(), Some("token"));
        assert_eq!(settings.subscription, Some(vec!["s1".to_owned(), "s2".to_owned()]));
        assert_eq!(settings.table, Some(vec!["a.*".to_owned(), "b".to_owned()]));
        assert_eq!(settings.exclude_table, Some(vec!["c".to_owned(), "d".to_owned()]));
        assert_eq!(settings.scope.as_deref(), Some("published"));
        assert_eq!(settings.checks, Some(vec!["count".to_owned(), "rows".to_owned()]));
        assert_eq!((settings.jobs, settings.chunk_rows, settings.samples), (Some(3), Some(1000), Some(7)));
        assert_eq!((settings.scan.as_deref(), settings.gate.as_deref()), (Some("digest"), Some("none")));
        assert_eq!(settings.lag_timeout.as_deref(), Some("10s"));
        assert_eq!(settings.snapshot_age_max.as_deref(), Some("1m"));
        assert_eq!(settings.show_values, Some(true));
        assert_eq!(parsed.exposed, ["subscriber"]);
        assert_eq!(parsed.command.common().verbose, 2);
    }

    #[test]
    fn every_flag_of_preflight_reaches_the_settings() {
        let parsed = parse(&line(
            "preflight --publisher host=a --subscription s -t b -T c --scope published --wal-interval 1s \
             --long-transaction 2m --retained 1GB --restore-lsn 0/1 --format json",
        ))
        .unwrap();
        let settings = parsed.command.settings();
        assert_eq!((settings.publisher.as_deref(), settings.subscriber.as_deref()), (Some("host=a"), None));
        assert_eq!(settings.subscription, Some(vec!["s".to_owned()]));
        assert_eq!((settings.table, settings.exclude_table), (Some(vec!["b".to_owned()]), Some(vec!["c".to_owned()])));
        assert_eq!(settings.wal_interval.as_deref(), Some("1s"));
        assert_eq!((settings.long_transaction.as_deref(), settings.retained.as_deref()), (Some("2m"), Some("1GB")));
        assert!(matches!(parsed.command, Command::Preflight(own) if own.restore_lsn.as_deref() == Some("0/1")));
    }

    #[test]
    fn what_is_not_given_is_left_to_the_file() {
        let settings = parse(&line("plan --publisher a --subscriber b")).unwrap().command.settings();
        assert_eq!(settings.table, None);
        assert_eq!(settings.checks, None);
        assert_eq!(settings.show_values, None);
        assert_eq!(settings.jobs, None);
    }

    #[test]
    fn json_is_seen_on_a_line_that_makes_no_sense() {
        assert!(wants_json(&line("verify --bogus --format json")));
        assert!(wants_json(&line("bogus --format=json")));
        assert!(!wants_json(&line("verify --format text json")));
        assert!(!wants_json(&line("verify --format")));
    }
}
