//! What `peregrine serve` has to offer: the files below one folder, and pseudo-random bytes.
//!
//! The folder is opened once, and everything is opened relative to it by `cap-std`, which follows no `..` and no
//! symbolic link out of it even if someone swaps folders meanwhile.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use peregrine_std::pattern::Pattern;

use crate::percent;

/// The folder that is served, or none.
#[derive(Debug)]
pub(crate) struct Root {
    folder: Option<Dir>,
}

/// Something to send.
#[derive(Debug)]
pub(crate) enum Content {
    /// A file from its start.
    File(File),
    /// Pseudo-random bytes.
    Pattern(Pattern),
}

impl Read for Content {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(out),
            Self::Pattern(pattern) => pattern.read(out),
        }
    }
}

impl Root {
    /// Serves the files below `folder`, or only pseudo-random bytes.
    pub(crate) fn open(folder: Option<&Path>) -> io::Result<Self> {
        let folder = folder.map(|path| Dir::open_ambient_dir(path, ambient_authority())).transpose()?;
        Ok(Self { folder })
    }

    /// What the path of a request stands for: a file, or for `/N` with a number N and no such file, N bytes.
    pub(crate) fn find(&self, path: &str) -> Result<Content, NotServed> {
        let path = path.split('?').next().unwrap_or_default();
        let name = percent::decode(path).ok_or(NotServed::Malformed)?;
        let name = name.strip_prefix('/').ok_or(NotServed::Malformed)?;
        let file = self.folder.as_ref().map_or(Err(NotServed::Absent), |folder| open_file(folder, name));
        match file {
            Ok(file) => Ok(Content::File(file)),
            Err(NotServed::Absent) => {
                read_count(name).map(Pattern::new).map(Content::Pattern).ok_or(NotServed::Absent)
            }
            Err(error) => Err(error),
        }
    }
}

fn open_file(folder: &Dir, name: &str) -> Result<File, NotServed> {
    if name.split('/').any(|part| matches!(part, "" | "." | "..") || part.contains(['\\', '\0'])) {
        return Err(NotServed::Malformed);
    }
    // To open a named pipe is to wait for its other end: look before.
    if !folder.metadata(name)?.is_file() {
        return Err(NotServed::Special);
    }
    let file = folder.open(name)?;
    if !file.metadata()?.is_file() {
        return Err(NotServed::Special);
    }
    Ok(file.into_std())
}

fn read_count(name: &str) -> Option<u64> {
    // `parse` alone would accept a sign.
    name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok())?
}

/// Why a path is not served.
#[derive(Debug)]
pub(crate) enum NotServed {
    /// There is no such file.
    Absent,
    /// The path leads nowhere below the folder, or is not a path.
    Malformed,
    /// A folder, a device, a pipe.
    Special,
    /// The system would not.
    Failed(io::Error),
}

impl From<io::Error> for NotServed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::Absent,
            _ => Self::Failed(error),
        }
    }
}

impl fmt::Display for NotServed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no such file"),
            Self::Malformed => f.write_str("not a path below the root"),
            Self::Special => f.write_str("not a regular file"),
            Self::Failed(error) => write!(f, "cannot be opened: {error}"),
        }
    }
}

impl std::error::Error for NotServed {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder `public` with files, beside a file that must stay out of reach.
    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let public = folder.path().join("public");
        fs::create_dir_all(public.join("sub")).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        for (name, text) in [("a b.txt", "space"), ("sub/x", "deep"), ("7", "seven"), ("..5", "dots")] {
            fs::write(public.join(name), text).unwrap();
        }
        let root = Root::open(Some(&public)).unwrap();
        (folder, root)
    }

    fn text(root: &Root, path: &str) -> Result<String, NotServed> {
        root.find(path).map(|content| io::read_to_string(content).unwrap())
    }

    #[test]
    fn files_below_the_root_are_served() {
        let (_folder, root) = root();
        for (path, expected) in [
            ("/a%20b.txt", "space"),
            ("/sub/x", "deep"),
            ("/sub/x?query", "deep"),
            ("/7", "seven"),
            ("/..5", "dots"),
        ] {
            assert_eq!(text(&root, path).unwrap(), expected);
        }
    }

    #[test]
    fn numbers_without_a_file_are_bytes() {
        let (_folder, root) = root();
        for (root, path, len) in
            [(&root, "/1000", 1000), (&root, "/0", 0), (&Root::open(None).unwrap(), "/7", 7)]
        {
            let mut bytes = Vec::new();
            root.find(path).unwrap().read_to_end(&mut bytes).unwrap();
            let mut expected = vec![0; len];
            peregrine_std::pattern::fill(0, &mut expected);
            assert_eq!(bytes, expected);
        }
        for path in ["/x", "/", "/+7", "/-1", "/99999999999999999999999"] {
            assert!(Root::open(None).unwrap().find(path).is_err(), "{path}");
        }
    }

    #[test]
    fn nothing_outside_the_root_is_served() {
        let (_folder, root) = root();
        for path in [
            "/../secret",
            "/sub/../../secret",
            "/sub/../7",
            "/%2e%2e/secret",
            "/%2e%2e%2fsecret",
            "/..%5csecret",
            "//etc/passwd",
            "/%2fetc/passwd",
            "/sub//x",
            "/./7",
            "/7%00",
            "7",
            "/%",
        ] {
            assert!(matches!(root.find(path), Err(NotServed::Malformed)), "{path}");
        }
        assert!(matches!(root.find("/7/x"), Err(NotServed::Absent)));
        assert!(matches!(root.find("/sub"), Err(NotServed::Special)));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_inside_the_root_and_never_out_of_it() {
        use std::os::unix::fs::symlink;
        let (folder, root) = root();
        let public = folder.path().join("public");
        symlink("sub/x", public.join("inside")).unwrap();
        symlink("../secret", public.join("file")).unwrap();
        symlink(folder.path().join("secret"), public.join("absolute")).unwrap();
        symlink("..", public.join("up")).unwrap();
        symlink("loop", public.join("loop")).unwrap();
        assert_eq!(text(&root, "/inside").unwrap(), "deep");
        for path in ["/file", "/absolute", "/up/secret", "/up/public/7", "/loop"] {
            assert!(matches!(root.find(path), Err(NotServed::Failed(_))), "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_is_no_file() {
        let (folder, root) = root();
        let _socket = std::os::unix::net::UnixDatagram::bind(folder.path().join("public/socket")).unwrap();
        assert!(matches!(root.find("/socket"), Err(NotServed::Special)));
        assert!(Root::open(Some(&folder.path().join("secret"))).is_err());
    }
}
