//! Where `peregrine serve` puts what clients send: whole files of one folder, or nothing.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use peregrine_std::Error;

use crate::hq::Reset;
use crate::save::{Existing, Received, Sink, file_name, sweep};

/// The folder that takes uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    /// The most bytes of one.
    largest: u64,
    existing: Existing,
}

impl Uploads {
    /// Takes uploads into `folder`, which must be there. What was left of earlier ones is removed.
    pub(crate) fn open(folder: &Path, largest: u64, existing: Existing) -> io::Result<Self> {
        let folder = fs::canonicalize(folder)?;
        sweep(&folder)?;
        Ok(Self { folder, largest, existing })
    }

    /// A new file for the path of a request: one name, no folders.
    pub(crate) fn begin(&self, path: &str) -> Result<Upload, NotTaken> {
        let name = path.strip_prefix('/').filter(|name| !name.contains(['/', '?'])).ok_or(NotTaken::Name)?;
        let name = file_name(name).map_err(|_| NotTaken::Name)?;
        // Files of programs and of the system; those that are not whole yet are among them.
        if name.starts_with('.') {
            return Err(NotTaken::Name);
        }
        // Who is to be refused at the end anyway need not send everything before.
        match (self.existing, fs::symlink_metadata(self.folder.join(&name))) {
            (Existing::Keep, Ok(_)) => return Err(NotTaken::Exists),
            (_, Err(error)) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        Ok(Upload { sink: Sink::save(&self.folder, &name, self.existing)?, largest: self.largest })
    }
}

/// A file on its way in. Dropped before [`Self::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Upload {
    sink: Sink,
    largest: u64,
}

impl Upload {
    /// Takes more bytes, all of them or none.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), NotTaken> {
        if bytes.len() as u64 > self.largest - self.sink.bytes() {
            return Err(NotTaken::TooLarge);
        }
        Ok(self.sink.write_all(bytes)?)
    }

    /// The end of the bytes: the file gets its name.
    pub(crate) fn finish(self) -> Result<Received, NotTaken> {
        Ok(self.sink.finish()?)
    }
}

/// Why an upload is not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// This server takes none.
    Never,
    /// The path is no name of a file, or of one that is hidden.
    Name,
    /// There is such a file.
    Exists,
    TooLarge,
    /// The client has not sent all of it.
    BrokenOff(Error),
    /// The system would not.
    Failed(io::Error),
}

impl NotTaken {
    /// What the client is told.
    pub(crate) const fn code(&self) -> Reset {
        match self {
            Self::Never | Self::Name => Reset::NotTaken,
            Self::Exists => Reset::Exists,
            Self::TooLarge => Reset::TooLarge,
            // Who has gone away is told nothing, and who was too slow hardly listens.
            Self::BrokenOff(_) => Reset::Stopped,
            Self::Failed(_) => Reset::Unwritable,
        }
    }
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::AlreadyExists => Self::Exists,
            _ => Self::Failed(error),
        }
    }
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("uploads are taken only with --uploads"),
            Self::Name => f.write_str("not a name for a file"),
            Self::Exists => f.write_str("there is such a file, and no --overwrite"),
            Self::TooLarge => f.write_str("larger than --max-upload"),
            Self::BrokenOff(error) => write!(f, "not all of it has come: {error}"),
            Self::Failed(error) => write!(f, "cannot be saved: {error}"),
        }
    }
}

impl std::error::Error for NotTaken {}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn upload(uploads: &Uploads, path: &str, pieces: &[&str]) -> Result<Received, NotTaken> {
        let mut upload = uploads.begin(path)?;
        pieces.iter().try_for_each(|piece| upload.push(piece.as_bytes()))?;
        upload.finish()
    }

    #[test]
    fn a_file_is_there_when_it_is_whole_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(folder.path(), 5, Existing::Keep).unwrap();
        let taken = upload(&uploads, "/a%20b", &["abc", "de"]).unwrap();
        assert_eq!(taken.bytes, 5);
        assert!(matches!(upload(&uploads, "/a%20b", &["new"]), Err(NotTaken::Exists)));
        assert!(matches!(upload(&uploads, "/x", &["abc", "def"]), Err(NotTaken::TooLarge)));
        assert_eq!(names(folder.path()), ["a b"]);
        assert_eq!(fs::read(folder.path().join("a b")).unwrap(), b"abcde");
        let replacing = Uploads { existing: Existing::Replace, ..uploads };
        upload(&replacing, "/a%20b", &["new"]).unwrap();
        assert_eq!(fs::read(folder.path().join("a b")).unwrap(), b"new");
        assert_eq!(upload(&replacing, "/empty", &[]).unwrap().bytes, 0);
    }

    #[test]
    fn nothing_is_written_outside_the_folder_or_hidden_in_it() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("folder");
        fs::create_dir_all(folder.join("sub")).unwrap();
        let uploads = Uploads::open(&folder, 5, Existing::Replace).unwrap();
        for path in [
            "/",
            "/..",
            "/../x",
            "/%2e%2e",
            "/%2e%2e%2fx",
            "/sub/x",
            "/sub/",
            "//x",
            "/..%5Cx",
            "/x?y",
            "/.x",
            "/%2ex",
            "/.peregrine-1-0.part",
            "/-x",
            "/%00",
            "/%zz",
            "x",
        ] {
            assert!(matches!(upload(&uploads, path, &["x"]), Err(NotTaken::Name)), "{path}");
        }
        // A folder is replaced by nothing.
        assert!(matches!(upload(&uploads, "/sub", &["x"]), Err(NotTaken::Failed(_))));
        assert!(matches!(
            upload(&uploads, &format!("/{}", "x".repeat(300)), &["x"]),
            Err(NotTaken::Failed(_))
        ));
        assert_eq!((names(outside.path()), names(&folder)), (vec!["folder".into()], vec!["sub".into()]));
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(outside.path().join("victim"), "untouched").unwrap();
        for (name, to) in [("link", "victim"), ("dangling", "absent")] {
            std::os::unix::fs::symlink(outside.path().join(to), folder.join(name)).unwrap();
            let keeping = Uploads::open(&folder, 5, Existing::Keep).unwrap();
            assert!(matches!(upload(&keeping, &format!("/{name}"), &["x"]), Err(NotTaken::Exists)), "{name}");
            let replacing = Uploads { existing: Existing::Replace, ..keeping };
            upload(&replacing, &format!("/{name}"), &["x"]).unwrap();
        }
        assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"untouched");
        assert!(!outside.path().join("absent").exists());
    }

    #[test]
    fn the_folder_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        for name in ["absent", "file"] {
            assert!(Uploads::open(&folder.path().join(name), 5, Existing::Keep).is_err(), "{name}");
        }
    }
}
