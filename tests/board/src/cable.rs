//! The cable of the emulated board, by the emulator's monitor (QMP).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The name of the network interface to the emulator.
pub(crate) const INTERFACE: &str = "cable";

/// Plugs the cable in or out.
pub(crate) fn set(monitor: &Path, is_in: bool) {
    let mut stream = UnixStream::connect(monitor).expect("the emulator has a monitor");
    let mut answers = BufReader::new(stream.try_clone().expect("it is open")).lines();
    let mut ask = |what: &str| {
        writeln!(stream, "{what}").expect("the emulator listens");
        // Events may come in between.
        let is_answer = |line: &String| line.contains("\"return\"") || line.contains("\"error\"");
        let answer = answers.by_ref().map_while(Result::ok).find(is_answer);
        assert!(answer.as_ref().is_some_and(|answer| answer.contains("\"return\"")), "{what}: {answer:?}");
    };
    ask(r#"{"execute": "qmp_capabilities"}"#);
    ask(&format!(r#"{{"execute": "set_link", "arguments": {{"name": "{INTERFACE}", "up": {is_in}}}}}"#));
}
