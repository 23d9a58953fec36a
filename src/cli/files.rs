//! Report files: found to be writable before the work starts, and written whole or not at all.

use std::fs::Permissions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, ErrorKind, Result};

/// Keys and values of rows are nobody else's business.
const MODE: u32 = 0o600;

/// A place for a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReportFile {
    /// The absolute path of the file itself: symbolic links are followed, so that what they point to is replaced and not
    /// the link, and two names for one file are equal.
    path: PathBuf,
}

impl ReportFile {
    /// Makes sure that the file can be written, without touching it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] where the folder takes no new file, or where the path is a folder, a device or a pipe (replacing
    /// `/dev/null` with a regular file would break the machine).
    pub(crate) fn check(path: &Path) -> Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(unwritable(path).with_hint("name a file"));
        };
        let failed = |error| unwritable(path).with_source(error);
        let path = match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(unwritable(path).with_hint("name a regular file: it is replaced as a whole"));
            }
            Ok(_) => path.canonicalize().map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                folder(path).canonicalize().map_err(failed)?.join(name)
            }
            Err(error) => return Err(failed(error)),
        };
        let file = Self { path };
        file.temporary()?;
        Ok(file)
    }

    /// Writes the file: its new content appears at once, with mode 0600, or not at all.
    ///
    /// # Errors
    ///
    /// What `fill` returns; [`ErrorKind::Io`] where the file cannot be written.
    pub(crate) fn write(&self, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let mut out = BufWriter::new(self.temporary()?);
        fill(&mut out).map_err(|error| error.context(self.path.display()))?;
        let file = out.into_inner().map_err(|error| unwritable(&self.path).with_source(error.into_error()))?;
        file.as_file().sync_all().map_err(|error| unwritable(&self.path).with_source(error))?;
        file.persist(&self.path).map_err(|error| unwritable(&self.path).with_source(error.error))?;
        Ok(())
    }

    /// A file without content in the same folder, which vanishes unless it is renamed.
    fn temporary(&self) -> Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(".triplecheck-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(folder(&self.path))
            .map_err(|error| unwritable(&self.path).with_source(error))
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unwritable(path: &Path) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write the report {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &'static [u8]) -> impl FnOnce(&mut dyn Write) -> Result<()> {
        |out| {
            out.write_all(text).unwrap();
            Ok(())
        }
    }

    fn content(file: &Path) -> String {
        std::fs::read_to_string(file).unwrap()
    }

    #[test]
    fn a_report_appears_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let file = ReportFile::check(&path).unwrap();
        assert!(!path.exists());
        file.write(put(b"one")).unwrap();
        assert_eq!(content(&path), "one");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);

        let failure = file.write(|out| {
            out.write_all(b"half").unwrap();
            Err(Error::new(ErrorKind::Io, "the disk is full"))
        });
        assert!(failure.is_err());
        assert_eq!(content(&path), "one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        ReportFile::check(&link).unwrap().write(put(b"new")).unwrap();
        assert_eq!(content(&target), "new");
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn what_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null"), &folder.path().join("no/such/folder/report"), Path::new("")]
        {
            assert_eq!(ReportFile::check(path).unwrap_err().kind(), ErrorKind::Io, "{path:?}");
        }
    }
}
