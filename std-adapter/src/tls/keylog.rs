//! Secrets in a file, in the SSLKEYLOGFILE format (RFC 9850): whoever has it can read the traffic.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

/// A file that secrets are appended to.
#[derive(Clone)]
pub struct KeyLogFile(Arc<File>);

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLogFile")
    }
}

impl KeyLogFile {
    /// Opens or makes the file. On Unix only its owner may read a file made here.
    ///
    /// # Errors
    /// Those of the system.
    pub fn append_to(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map(Arc::new).map(Self)
    }

    fn write(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        for byte in client_random {
            let _ = write!(line, "{byte:02x}");
        }
        line.push(' ');
        for byte in secret {
            let _ = write!(line, "{byte:02x}");
        }
        line.push('\n');
        // One call for each line, so that lines of several programs do not mix. A log that cannot be written is no
        // reason to end a connection.
        let _ = (&*self.0).write_all(line.as_bytes());
    }
}

impl peregrine_crypto::tls::KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8; 32], secret: &[u8]) {
        self.write(label, client_random, secret);
    }
}

#[cfg(feature = "rustls")]
impl rustls::KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        self.write(label, client_random, secret);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_label_random_and_secret_in_hex_and_lines_are_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        for secret in [b"\x01\xff", b"\x02\xee"] {
            KeyLogFile::append_to(&path).unwrap().write("LABEL", &[0xab; 2], secret);
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), "LABEL abab 01ff\nLABEL abab 02ee\n");
    }
}
