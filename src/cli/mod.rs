//! The command line: the only code that talks to a person. stdout is the result and nothing else; progress, logs and
//! errors go to stderr.

pub mod exit;

mod args;
mod files;
mod lag;
mod lag_log;
mod logs;
mod pace;
mod progress;
mod secrets;
mod sequences;
mod signals;
mod turns;

use std::ffi::OsString;
use std::io::{ErrorKind as IoErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::args::{Command, Format, Parsed, Verify};
use self::exit::Signal;
use self::files::ReportFile;
use self::progress::{Progress, ProgressMode};
use self::signals::Signals;
use crate::config::{Config, Environment, RawSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::report::escape::{sentence, shown};
use crate::report::json::ErrorDocument;
use crate::report::{self, csv_report, json};
use crate::run::{self, Verified};

/// What sessions get to say goodbye to their servers after the result was written.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs the command; `arguments` begins with the name of the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let parsed = match args::parse(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => return ExitCode::from(refuse(&error, &arguments)),
    };
    ExitCode::from(execute(&parsed))
}

/// Says what clap said: help and version on stdout, a usage error on stderr.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> u8 {
    if !error.use_stderr() {
        // A reader that has seen enough of the help is no error.
        let written = error.print().and_then(|()| std::io::stdout().flush());
        return match written {
            Err(error) if error.kind() != IoErrorKind::BrokenPipe => exit::unseen(exit::MATCH),
            _ => exit::MATCH,
        };
    }
    let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let text = secrets::redacted(&error.render().to_string(), texts.iter().map(AsRef::as_ref));
    let lines: Vec<_> = text.lines().map(shown).collect();
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
    if args::wants_json(arguments) {
        let mut paragraphs = text.split("\n\n").map(sentence);
        let message = paragraphs.next().unwrap_or_default();
        let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned));
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let hint = tip.unwrap_or_else(|| "see triplecheck --help".to_owned());
        let error = Error::new(ErrorKind::Usage, message).with_hint(hint);
        let _ = json::render(&ErrorDocument::from(&error)).and_then(|document| shown_on_stdout(&document));
    }
    exit::TROUBLE
}

fn execute(parsed: &Parsed) -> u8 {
    let mode = match &parsed.command {
        Command::Verify(verify) => verify.progress,
        Command::Plan(_) | Command::Sequences(_) | Command::Preflight(_) | Command::Lag(_) => ProgressMode::None,
    };
    let progress = Progress::on_stderr(mode);
    let mut signal = None;
    let result = perform(parsed, &progress, &mut signal);
    progress.finish();
    result.unwrap_or_else(|error| {
        complain(&progress, &error);
        if parsed.command.common().format == Format::Json {
            let _ = json::render(&ErrorDocument::from(&error)).and_then(|document| shown_on_stdout(&document));
        }
        exit::failure(error.kind(), signal)
    })
}

/// Everything between a command line that was understood and an exit code; an error means that there is no result.
fn perform(parsed: &Parsed, progress: &Progress, signal: &mut Option<Signal>) -> Result<u8> {
    logs::start(parsed.command.common().verbose, progress)?;
    for flag in &parsed.exposed {
        let text = format!(
            "warning: --{flag} holds a password, which every user of this machine can read; use a password file, or \
             TRIPLECHECK_{}\n",
            flag.to_uppercase()
        );
        progress.say(text.as_bytes());
    }
    let settings = settings(&parsed.command)?;
    let environment = Environment::process();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(turns::take_turns)
        .build()
        .map_err(|error| Error::new(ErrorKind::Io, "cannot start worker threads").with_source(error))?;
    let stop = CancellationToken::new();
    let signals = runtime.block_on(async { Signals::watch(stop.clone(), progress.clone()) })?;
    let result = match &parsed.command {
        Command::Verify(verify) => {
            let (config, files) = (settings.validate(&environment)?, Files::check(verify)?);
            let config = Config { ledger: files.chunks.is_some(), ..config };
            let verified = runtime.block_on(Box::pin(run::verify(config, progress.events(), stop)));
            progress.finish();
            verified.map(|verified| deliver(verify, &files, verified, signals.first(), progress))
        }
        Command::Plan(_) => {
            let config = settings.validate(&environment)?;
            let planned = runtime.block_on(Box::pin(run::plan(config, stop)));
            let format = parsed.command.common().format;
            planned.and_then(|plan| show(&plan, report::plan::render, format, exit::MATCH, progress))
        }
        Command::Preflight(preflight) => {
            let config = settings.validate_preflight(preflight.restore_lsn.as_deref(), &environment)?;
            let looked = runtime.block_on(Box::pin(run::preflight(config, stop)));
            let format = preflight.common.format;
            looked.and_then(|found| show(&found, report::preflight::render, format, found.exit_code, progress))
        }
        Command::Sequences(flags) => {
            let work = flags.prepare(settings, &environment)?;
            let compared = runtime.block_on(Box::pin(run::sequences(work.config, stop)));
            compared.and_then(|outcome| flags.deliver(outcome, work.script.as_ref(), progress))
        }
        Command::Lag(flags) => {
            let lag::Work { config, history, mut view } =
                flags.prepare(settings, &environment, progress, stop.clone())?;
            let mut seen = |outcome: &_, records: &[_]| view.look(outcome, records);
            let watched = runtime.block_on(Box::pin(run::lag(config, history, &mut seen, stop)));
            match watched {
                Ok(outcome) => view.end(outcome, signals.first(), progress),
                Err(error) => view.give_up(error, progress),
            }
        }
    };
    *signal = signals.first();
    runtime.shutdown_timeout(FAREWELL);
    result
}

/// What the flags and the configuration file say; the variables that stand in for both are for the validation.
fn settings(command: &Command) -> Result<RawSettings> {
    let mut settings = command.settings();
    if let Some(path) = &command.common().config {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot read the configuration {}", path.display())).with_source(error)
        })?;
        settings = settings.or(RawSettings::from_toml(&text, path)?);
    }
    Ok(settings)
}

/// The report files that were asked for.
struct Files {
    json: Option<ReportFile>,
    csv: Option<ReportFile>,
    chunks: Option<ReportFile>,
}

impl Files {
    fn check(flags: &Verify) -> Result<Self> {
        let check = |path: &Option<_>| path.as_deref().map(ReportFile::check).transpose();
        let files = Self {
            json: check(&flags.report_json)?,
            csv: check(&flags.report_csv)?,
            chunks: check(&flags.report_chunks)?,
        };
        let named: Vec<_> = [&files.json, &files.csv, &files.chunks].into_iter().flatten().collect();
        if named.iter().enumerate().any(|(index, file)| named.iter().skip(index + 1).any(|other| file == other)) {
            return Err(
                Error::new(ErrorKind::Usage, "two reports would go to one file").with_hint("name a file for each")
            );
        }
        Ok(files)
    }
}

/// Writes the files and stdout, and says what could not be written. The JSON goes last, so that it holds the final code.
fn deliver(flags: &Verify, files: &Files, verified: Verified, signal: Option<Signal>, progress: &Progress) -> u8 {
    let Verified { mut outcome, chunks } = verified;
    let mut delivered = true;
    let mut attempt = |result: Result<()>| {
        if let Err(error) = result {
            delivered = false;
            complain(progress, &error);
        }
        delivered
    };
    if let Some(file) = &files.csv {
        attempt(file.write(|out| csv_report::differences(&outcome, out)));
    }
    if let Some(file) = &files.chunks {
        attempt(file.write(|out| csv_report::chunks(&chunks, out)));
    }
    outcome.exit_code = exit::code(&outcome, signal, attempt(Ok(())));
    if let Some(file) = &files.json {
        let written = attempt(file.write(|out| {
            json::render(&outcome).and_then(|document| {
                out.write_all(&document).map_err(|error| Error::new(ErrorKind::Io, "cannot write").with_source(error))
            })
        }));
        outcome.exit_code = exit::code(&outcome, signal, written);
    }
    let document = match flags.shared.common.format {
        Format::Text => Ok(report::text::render(&outcome).into_bytes()),
        Format::Json => json::render(&outcome),
    };
    match document {
        Ok(document) => tell(&document, exit::code(&outcome, signal, delivered), progress),
        Err(error) => {
            complain(progress, &error);
            exit::unseen(outcome.exit_code)
        }
    }
}

/// Writes a result to stdout; the exit code that it ends with.
fn show<T: Serialize>(
    result: &T,
    text: impl Fn(&T) -> String,
    format: Format,
    code: u8,
    progress: &Progress,
) -> Result<u8> {
    let document = match format {
        Format::Text => text(result).into_bytes(),
        Format::Json => json::render(result)?,
    };
    Ok(tell(&document, code, progress))
}

/// Writes a result to stdout; the exit code that it ends with, which is another where it could not be written. A reader
/// that has gone away has seen what it wanted.
fn tell(document: &[u8], code: u8, progress: &Progress) -> u8 {
    match shown_on_stdout(document) {
        Ok(_) => code,
        Err(error) => {
            complain(progress, &error);
            exit::unseen(code)
        }
    }
}

/// Writes to stdout; false if its reader has gone away.
fn shown_on_stdout(document: &[u8]) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(document).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == IoErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::new(ErrorKind::Io, "cannot write the result to stdout").with_source(error)),
    }
}

/// Tells an error on stderr: message, causes, hint.
fn complain(progress: &Progress, error: &Error) {
    progress.say(complaint(error).as_bytes());
}

fn complaint(error: &Error) -> String {
    let mut text = format!("error: {}\n", sentence(error.message()));
    for cause in json::causes(error) {
        text.push_str(&format!("  caused by: {}\n", sentence(&cause)));
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("hint: {}\n", sentence(hint)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_causes_and_hint_and_cannot_paint() {
        let cause = std::io::Error::other("refused\x1b[31m\nby the peer");
        let error = Error::new(ErrorKind::Connect, "cannot connect to the publisher db1:5432/shop")
            .with_source(cause)
            .with_hint("is it running?");
        insta::assert_snapshot!(complaint(&error), @r"
        error: cannot connect to the publisher db1:5432/shop
          caused by: refused\u{1b}[31m by the peer
        hint: is it running?
        ");
    }
}
