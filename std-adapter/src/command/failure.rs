//! How a command fails: an exit code, and what to say.

use std::fmt;

use peregrine_core::error::Code;
use peregrine_core::lifecycle::Cause;
use peregrine_std::identity::IdentityError;
use peregrine_std::tls::TlsError;
use peregrine_std::{Closed, Error};

use crate::exit::Exit;

/// Why a command did not do what it was asked to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl fmt::Display) -> Self {
        Self { exit, text: text.to_string() }
    }

    /// Something here failed.
    pub(crate) fn local(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::new(Exit::Local, format_args!("{what}: {why}"))
    }

    /// A connection attempt, or a connection, failed.
    pub(crate) fn of_connection(error: &Error) -> Self {
        let exit = match error {
            Error::Closed(closed) => exit_of(closed),
            Error::Reset(_) | Error::Stopped(_) | Error::NoDatagrams | Error::Route(_) | Error::Path(_) => {
                Exit::Refused
            }
            Error::TimedOut | Error::Family(_) | Error::RouteGone | Error::PathGone => Exit::Unreachable,
            Error::OtherFamily { .. } => Exit::Usage,
            Error::Bind { .. } | Error::System(_) | Error::Full | Error::Session(_) => Exit::Local,
            _ => Exit::Defect,
        };
        let advice = if let Error::Closed(closed) = error { advice(closed) } else { None };
        match advice {
            Some(advice) => Self::new(exit, format_args!("{error}; {advice}")),
            None => Self::new(exit, error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::new(Exit::Local, error)
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::new(Exit::Local, error)
    }
}

fn exit_of(closed: &Closed) -> Exit {
    match (closed.cause, closed.code()) {
        (Cause::Local(_), Some(code)) => Exit::of(code),
        (_, Some(code)) if code.alert().is_some() => Exit::Untrusted,
        (Cause::Idle | Cause::HandshakeTimeout, _) => Exit::Unreachable,
        // A peer that is done before we are has broken off, and its internal error is no defect of ours.
        _ => Exit::Refused,
    }
}

/// What a client can do about the end of a connection.
fn advice(closed: &Closed) -> Option<&'static str> {
    if matches!(closed.cause, Cause::HandshakeTimeout) {
        return Some("is a server listening on that UDP port, and is UDP let through?");
    }
    let here = matches!(closed.cause, Cause::Local(_));
    Some(match (here, closed.code().and_then(Code::alert)) {
        (true, Some(48)) => {
            "name the issuer of the server's certificate with --ca, or the server's key with --pin"
        }
        (true, Some(46)) => "if the server has a new key, ask its operator for the new pin",
        (true, Some(42)) => "use the name that stands in the certificate, or the server's key with --pin",
        (false, Some(40)) => {
            "the server may share a key with its clients (--psk), or have no --cipher that is offered"
        }
        (false, Some(43)) => {
            "trust a server that has a certificate with --ca or --pin, and one that has a bare key with --raw-key"
        }
        (false, Some(51)) => "if the server shares a key with you, check the key given with --psk",
        (false, Some(109)) => {
            "a server that knows no shared keys is trusted with --ca, --pin or --raw-key, not with --psk"
        }
        (false, Some(115)) => "check the identity in --psk",
        (false, Some(116)) => "show a certificate with --client-cert and --client-key",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_core::error::TransportError;
    use peregrine_core::lifecycle::Close;
    use peregrine_core::wire::version::Offered;

    #[test]
    fn ends_of_connections_fall_into_groups() {
        let transport = |code| Close::transport(&TransportError::new(code, ""));
        for (cause, exit) in [
            (Cause::HandshakeTimeout, Exit::Unreachable),
            (Cause::Idle, Exit::Unreachable),
            (Cause::StatelessReset, Exit::Refused),
            (Cause::Version(Offered::default()), Exit::Refused),
            (Cause::Local(transport(Code::crypto(48))), Exit::Untrusted),
            (Cause::Peer(transport(Code::crypto(120))), Exit::Untrusted),
            (Cause::Local(transport(Code::INTERNAL_ERROR)), Exit::Defect),
            (Cause::Peer(transport(Code::INTERNAL_ERROR)), Exit::Refused),
            (Cause::Peer(transport(Code::NO_ERROR)), Exit::Refused),
            (Cause::Peer(Close::application(0, "")), Exit::Refused),
        ] {
            assert_eq!(Failure::of_connection(&Error::Closed(cause.into())).exit, exit, "{cause:?}");
        }
    }
}
