//! The record that `lag --log FILE` keeps across runs: one line of JSON a look, only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::run::{LagHistory, LagRecord};

/// Like every report: names of databases and slots are nobody else's business.
const MODE: u32 = 0o600;
/// How every line of ours begins.
const LINE_BEGIN: &[u8] = b"{\"schema_version\":";
/// Longest line of ours that is read; a file with longer ones is none of ours.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// An open log.
#[derive(Debug)]
pub(super) struct LagLog {
    path: PathBuf,
    file: File,
    /// Whether the last line was cut off: the next one begins anew.
    torn: bool,
}

/// What a log holds.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) log: LagLog,
    pub(super) history: LagHistory,
    /// Lines that were not understood. They prove nothing.
    pub(super) skipped: u64,
}

impl LagLog {
    /// Opens a log, or begins one, and reads what it holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] where it cannot be read and written; [`ErrorKind::Usage`] for a file of another kind, so that nothing
    /// is ever appended to it.
    pub(super) fn open(path: &Path, within: Duration) -> Result<Read> {
        let failed = |error: std::io::Error| unusable(path).with_source(error);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(unusable(path).with_hint("name a regular file"));
        }
        let mut log = Self { path: path.to_owned(), file, torn: false };
        let (mut history, mut skipped, mut first) = (LagHistory::default(), 0, true);
        let mut reader = BufReader::new(log.file.try_clone().map_err(failed)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = std::io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(failed)?;
            if read == 0 {
                break;
            }
            let whole = line.last() == Some(&b'\n');
            log.torn = !whole;
            let ours = std::str::from_utf8(&line).is_ok_and(|line| history.absorb(line.trim_end(), within));
            let cut_off = !whole && line.starts_with(LINE_BEGIN);
            if first && !ours && !cut_off {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("{} is not a log of triplecheck lag", path.display()),
                )
                .with_hint("name another file: lines are appended to it"));
            }
            first = false;
            skipped += u64::from(!ours);
        }
        Ok(Read { log, history, skipped })
    }

    /// Appends records, in one piece each, so that two runs can share a log.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] where the file cannot be written: a record with holes would prove nothing.
    pub(super) fn append(&mut self, records: &[LagRecord]) -> Result<()> {
        for record in records {
            let begin = if std::mem::take(&mut self.torn) { "\n" } else { "" };
            let line = format!("{begin}{}\n", record.line()?);
            self.file.write_all(line.as_bytes()).map_err(|error| unusable(&self.path).with_source(error))?;
        }
        Ok(())
    }
}

fn unusable(path: &Path) -> Error {
    Error::new(ErrorKind::Io, format!("cannot keep the log {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::lsn::Lsn;
    use crate::run::RecordKey;

    const MINUTE: Duration = Duration::from_secs(60);

    fn record() -> LagRecord {
        let about =
            RecordKey { publisher: "p".into(), database: "d".into(), slot: "s".into(), subscription: "s".into() };
        let at = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        let (publisher_lsn, applied_lsn) = (Lsn(100), Some(Lsn(100)));
        LagRecord { schema_version: 1, at, about, publisher_lsn, applied_lsn, lag_bytes: Some(0), zero: true }
    }

    #[test]
    fn it_grows_and_survives_a_line_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lag.log");
        let mut read = LagLog::open(&path, MINUTE).unwrap();
        read.log.append(&[record()]).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"schema_ver").unwrap();
        let mut read = LagLog::open(&path, MINUTE).unwrap();
        assert_eq!((read.skipped, read.log.torn), (1, true));
        read.log.append(&[record(), record()]).unwrap();
        let read = LagLog::open(&path, MINUTE).unwrap();
        assert_eq!((read.skipped, read.log.torn), (1, false));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        std::fs::write(&path, "my notes\n").unwrap();
        assert_eq!(LagLog::open(&path, MINUTE).unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "my notes\n");
        std::fs::write(&path, vec![b'x'; 200_000]).unwrap();
        assert_eq!(LagLog::open(&path, MINUTE).unwrap_err().kind(), ErrorKind::Usage);
        std::fs::write(&path, "no line end").unwrap();
        assert!(LagLog::open(&path, MINUTE).is_err());
        assert_eq!(LagLog::open(folder.path(), MINUTE).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(LagLog::open(Path::new("/dev/null"), MINUTE).unwrap_err().kind(), ErrorKind::Io);
    }
}
