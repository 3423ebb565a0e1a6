//! Logs of connections, for those who want them.

use std::path::Path;

use peregrine_std::Qlog;

use crate::failure::Failure;
use crate::report::complain;

/// A folder for logs of connections.
pub(crate) fn open(folder: &Path) -> Result<Qlog, Failure> {
    let cannot = |error| Failure::local(format_args!("cannot write logs into {}", folder.display()), error);
    Qlog::new(folder, complain).map_err(cannot)
}
