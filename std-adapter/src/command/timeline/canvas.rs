//! The file that a timeline is drawn into.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::Timeline;
use crate::failure::Failure;
use crate::save::{Existing, Sink};
use crate::url::Url;

/// A place for a picture. That there is none is known before anything is downloaded; the picture before stays until the new one
/// is drawn.
pub(crate) struct Canvas<'a> {
    path: &'a Path,
    to: To,
}

enum To {
    New(Sink),
    /// A terminal, a pipe: nothing takes its place.
    Device(File),
}

impl<'a> Canvas<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Self, Failure> {
        let to = To::open(path).map_err(|error| failure(path, error))?;
        Ok(Self { path, to })
    }

    /// Draws what has happened.
    pub(crate) fn draw(self, timeline: &Timeline, urls: &[Url]) -> Result<(), Failure> {
        let first = urls.first().map(ToString::to_string).unwrap_or_default();
        let more = urls.len().saturating_sub(1);
        let title = if more == 0 { first } else { format!("{first} and {more} more") };
        let drawn = timeline.picture(&format!("peregrine get {title}")).unwrap_or_default();
        self.to.write(drawn.as_bytes()).map_err(|error| failure(self.path, error))
    }
}

impl To {
    fn open(path: &Path) -> io::Result<Self> {
        if path.metadata().is_ok_and(|there| !there.is_file()) {
            return OpenOptions::new().write(true).open(path).map(Self::Device);
        }
        let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Sink::save(folder.unwrap_or(Path::new(".")), name, Existing::Replace).map(Self::New)
    }

    fn write(self, drawn: &[u8]) -> io::Result<()> {
        match self {
            Self::New(mut sink) => {
                sink.write_all(drawn)?;
                sink.finish().map(|_| ())
            }
            Self::Device(mut device) => device.write_all(drawn),
        }
    }
}

fn failure(path: &Path, error: io::Error) -> Failure {
    Failure::local(format_args!("cannot write the timeline to {}", path.display()), error)
}
