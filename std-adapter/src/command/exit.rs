//! Exit codes: what a script may rely on.

use std::fmt::Write;
use std::process::ExitCode;

use peregrine_core::error::Code;

/// How the command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    Defect = 1,
    Usage = 2,
    Local = 3,
    Unreachable = 4,
    Untrusted = 5,
    Refused = 6,
    /// As shells tell it.
    Interrupted = 130,
}

impl Exit {
    const ALL: [Self; 8] = [
        Self::Done,
        Self::Defect,
        Self::Usage,
        Self::Local,
        Self::Unreachable,
        Self::Untrusted,
        Self::Refused,
        Self::Interrupted,
    ];

    const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "everything asked for was done",
            Self::Defect => "a defect of peregrine itself",
            Self::Usage => "the command line or a URL is wrong",
            Self::Local => "something here failed: a file, a key, an address to listen on",
            Self::Unreachable => "no answer: unknown host, nothing there, or the connection fell silent",
            Self::Untrusted => "TLS failed: wrong identity, or no algorithm in common",
            Self::Refused => "the peer refused or broke off: no such file, or a protocol error",
            Self::Interrupted => "interrupted",
        }
    }

    /// The section of `--help`.
    pub(crate) fn help() -> String {
        Self::ALL.iter().fold(String::from("Exit codes:"), |mut text, &exit| {
            let _ = write!(text, "\n{:>3}  {}", exit as u8, exit.meaning());
            text
        })
    }

    /// How a command ends whose connection ended with `code`.
    pub(crate) const fn of(code: Code) -> Self {
        match code {
            Code::NO_ERROR => Self::Done,
            Code::INTERNAL_ERROR => Self::Defect,
            Code::NO_VIABLE_PATH => Self::Unreachable,
            _ if code.alert().is_some() => Self::Untrusted,
            _ => Self::Refused,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_code_under_its_number() {
        let help = Exit::help();
        assert_eq!(help.lines().count(), 1 + Exit::ALL.len());
        assert!(help.contains("\n  5  TLS failed"));
    }

    #[test]
    fn errors_of_a_connection_fall_into_groups() {
        assert_eq!(Exit::of(Code::crypto(42)), Exit::Untrusted);
        assert_eq!(Exit::of(Code::CONNECTION_REFUSED), Exit::Refused);
        assert_eq!(Exit::of(Code::NO_ERROR), Exit::Done);
    }
}
