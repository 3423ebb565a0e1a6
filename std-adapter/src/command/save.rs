//! Where what comes is put: whole files under their final names, or nowhere but into a hash.
//!
//! Bytes go to a temporary file in the same folder, which takes its final name only when everything is on disk.

use std::fmt;
use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::percent;

/// After that long a file that is not whole is nobody's, where it cannot be told whether its process lives.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The file name that the path of a URL ends in.
pub(crate) fn file_name(path: &str) -> Result<String, NameError> {
    let path = path.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let name = percent::decode(last).ok_or(NameError::Escape)?;
    match name.as_str() {
        "" | "." | ".." => Err(NameError::Missing),
        // A colon names a drive or a stream on Windows; a leading dash reads as an option in the next command.
        _ if name.contains(['/', '\\', ':'])
            || name.chars().any(char::is_control)
            || name.starts_with('-') =>
        {
            Err(NameError::Unsafe)
        }
        _ => Ok(name),
    }
}

/// A URL that gives no file name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NameError {
    Missing,
    Unsafe,
    Escape,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => {
                "the URL names no file to save; add a file name, or count and hash only with --out -"
            }
            Self::Unsafe => {
                "the URL's file name cannot be used on this machine; count and hash only with --out -"
            }
            Self::Escape => "a % in the URL's file name is not followed by two hex digits, or is not UTF-8",
        })
    }
}

impl std::error::Error for NameError {}

/// What was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    /// The file; none if the bytes were only counted.
    pub(crate) path: Option<PathBuf>,
}

impl Received {
    /// The hash, as it is told.
    pub(crate) fn sha256_hex(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Existing {
    /// The new one takes its place.
    Replace,
    /// It stays, and the new one is not saved.
    Keep,
}

/// Takes the bytes of one file. Dropped before [`Self::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Sink {
    hash: Sha256,
    bytes: u64,
    file: Option<PartialFile>,
}

impl Sink {
    /// Counts and hashes.
    pub(crate) fn discard() -> Self {
        Self { hash: Sha256::new(), bytes: 0, file: None }
    }

    /// Also saves, under a name without folders in `folder`.
    pub(crate) fn save(folder: &Path, name: impl AsRef<Path>, existing: Existing) -> io::Result<Self> {
        let file = PartialFile::create(folder, folder.join(name), existing)?;
        Ok(Self { file: Some(file), ..Self::discard() })
    }

    /// The file that it is to become.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| &*file.path)
    }

    /// How many bytes it has taken.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The end of the bytes: makes them durable and gives the file its name.
    pub(crate) fn finish(self) -> io::Result<Received> {
        let path = self.file.map(PartialFile::complete).transpose()?;
        Ok(Received { bytes: self.bytes, sha256: self.hash.finalize().into(), path })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.file {
            Some(partial) => partial.file.write(bytes)?,
            None => bytes.len(),
        };
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes what processes that live no more have left of files in `folder`. Nothing is being saved into it yet.
pub(crate) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let process = entry.file_name().to_str().and_then(process_of);
        if process.is_some_and(|process| is_left(process, &entry)) {
            // Someone else may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// The process that has given a file its temporary name.
fn process_of(name: &str) -> Option<u32> {
    let (process, number) = name.strip_prefix(".peregrine-")?.strip_suffix(".part")?.split_once('-')?;
    let (process, number): (u32, u64) = (process.parse().ok()?, number.parse().ok()?);
    // No other spelling of the numbers is ours.
    (temporary_name(process, number) == name).then_some(process)
}

fn temporary_name(process: u32, number: u64) -> String {
    format!(".peregrine-{process}-{number}.part")
}

/// Whether nobody writes to a file of this process any more.
fn is_left(process: u32, entry: &DirEntry) -> bool {
    let is_over = || match cfg!(target_os = "linux") {
        // Another process had our number before us: in a container, each one may be the first.
        true => process == std::process::id() || !Path::new(&format!("/proc/{process}")).exists(),
        false => {
            let age =
                entry.metadata().and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
            age.is_some_and(|age| age > A_DAY)
        }
    };
    entry.file_type().is_ok_and(|kind| kind.is_file()) && is_over()
}

#[derive(Debug)]
struct PartialFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    existing: Existing,
}

impl PartialFile {
    fn create(folder: &Path, path: PathBuf, existing: Existing) -> io::Result<Self> {
        // Each name is used once in a process, so that removing ours can never hit another one's.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let temporary = folder.join(temporary_name(std::process::id(), number));
            // `create_new` follows no link and takes no file that is there.
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                opened => return opened.map(|file| Self { file, temporary, path, existing }),
            }
        }
    }

    fn complete(self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        match self.existing {
            Existing::Replace => fs::rename(&self.temporary, &self.path)?,
            // Unlike a rename, this fails if someone has taken the name meanwhile.
            Existing::Keep => {
                fs::hard_link(&self.temporary, &self.path)?;
                fs::remove_file(&self.temporary)?;
            }
        }
        // The name is durable only when the folder is.
        #[cfg(unix)]
        if let Some(folder) = self.path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()?;
        }
        Ok(self.path.clone())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // Once it has its name there is nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_name_is_the_last_part_of_the_path() {
        for (path, name) in [
            ("/a", "a"),
            ("/x/y.tar.gz?v=1", "y.tar.gz"),
            ("/%C3%BC%20x", "ü x"),
            ("/...", "..."),
            ("/.x", ".x"),
        ] {
            assert_eq!(file_name(path).unwrap(), name);
        }
        for (path, error) in [
            ("/", NameError::Missing),
            ("/x/", NameError::Missing),
            ("/..", NameError::Missing),
            ("/%2e%2e", NameError::Missing),
            ("/..%2fx", NameError::Unsafe),
            ("/..%5Cx", NameError::Unsafe),
            ("/c:x", NameError::Unsafe),
            ("/%00", NameError::Unsafe),
            ("/-rf", NameError::Unsafe),
            ("/%zz", NameError::Escape),
        ] {
            assert_eq!(file_name(path), Err(error), "{path}");
        }
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        let mut sink = Sink::save(&out, "x", Existing::Replace).unwrap();
        sink.write_all(b"ab").unwrap();
        assert!(names(&out)[0].ends_with(".part"));
        sink.write_all(b"c").unwrap();
        let received = sink.finish().unwrap();
        assert_eq!((received.bytes, received.sha256_hex().as_str()), (3, SHA256_OF_ABC));
        assert_eq!(received.path.as_deref(), Some(out.join("x").as_path()));
        assert_eq!(fs::read(out.join("x")).unwrap(), b"abc");
        assert_eq!(names(&out), ["x"]);
    }

    #[test]
    fn what_was_broken_off_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), "old").unwrap();
        let (mut one, mut other) = (
            Sink::save(folder.path(), "x", Existing::Replace).unwrap(),
            Sink::save(folder.path(), "x", Existing::Replace).unwrap(),
        );
        one.write_all(b"half").unwrap();
        other.write_all(b"new").unwrap();
        drop(one);
        assert_eq!(fs::read(folder.path().join("x")).unwrap(), b"old");
        other.finish().unwrap();
        assert_eq!(fs::read(folder.path().join("x")).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["x"]);
    }

    #[test]
    fn of_two_new_files_of_a_name_the_first_stays() {
        let folder = tempfile::tempdir().unwrap();
        let new = || Sink::save(folder.path(), "x", Existing::Keep).unwrap();
        let (mut one, mut other) = (new(), new());
        one.write_all(b"one").unwrap();
        other.write_all(b"other").unwrap();
        one.finish().unwrap();
        assert_eq!(other.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(folder.path().join("x")).unwrap(), b"one");
        assert_eq!(names(folder.path()), ["x"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_place_of_the_file_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("x")).unwrap();
        let mut sink = Sink::save(folder.path(), "x", Existing::Replace).unwrap();
        sink.write_all(b"new").unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read(victim).unwrap(), b"untouched");
        assert!(!folder.path().join("x").is_symlink());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_dead_have_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // No process has a number as high as that.
        let (dead, alive) = (u32::MAX, std::os::unix::process::parent_id());
        let (ours, others) = (std::process::id(), format!(".peregrine-{alive}-0.part"));
        for name in [format!(".peregrine-{dead}-0.part"), format!(".peregrine-{ours}-77777.part")] {
            fs::write(path(&name), "half").unwrap();
        }
        let mut kept = vec![others, "x.part".into()];
        for name in ["-x.part", "-0.part.old", "-00.part", "-+1.part", ".part"] {
            kept.push(format!(".peregrine-{dead}{name}"));
        }
        for name in &kept {
            fs::write(path(name), "").unwrap();
        }
        kept.extend(["1", "2"].map(|number| format!(".peregrine-{dead}-{number}.part")));
        fs::create_dir(path(&kept[kept.len() - 2])).unwrap();
        std::os::unix::fs::symlink("x.part", path(&kept[kept.len() - 1])).unwrap();
        sweep(folder.path()).unwrap();
        kept.sort();
        assert_eq!(names(folder.path()), kept);
    }

    #[test]
    fn counting_touches_no_disk() {
        let mut sink = Sink::discard();
        sink.write_all(b"abc").unwrap();
        let received = sink.finish().unwrap();
        assert_eq!((received.bytes, &received.path), (3, &None));
        assert_eq!(received.sha256_hex(), SHA256_OF_ABC);
    }
}
