//! What can go wrong, in words for people: what happened, and what to do where that is known.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use peregrine_core::connection::{PathError, RouteError};
use peregrine_core::error::{Code, TransportError};
use peregrine_core::lifecycle::{Cause, Close, Reason};
use peregrine_core::wire::version::Offered;

/// An operation failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on or sent from.
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The system has no handle or thread to spare.
    System(io::Error),
    /// No socket of the endpoint reaches addresses of this family.
    Family(SocketAddr),
    /// The two ends of a route speak different families.
    OtherFamily {
        /// Our end.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// A route cannot be opened or taken.
    Route(RouteError),
    /// The peer was not reached over a route that was waited for, or the route was closed meanwhile.
    RouteGone,
    /// A path cannot be opened, or not be abandoned.
    Path(PathError),
    /// The path was abandoned.
    PathGone,
    /// All connection slots are in use.
    Full,
    /// The endpoint was not given what it needs for this role.
    Role(&'static str),
    /// The session could not be made, or could not start.
    Session(String),
    /// The connection has ended.
    Closed(Closed),
    /// The peer has reset the stream with this code.
    Reset(u64),
    /// The peer has asked us with this code to stop sending.
    Stopped(u64),
    /// The stream was finished, reset or stopped here before.
    StreamClosed,
    /// Nothing happened within the time allowed.
    TimedOut,
    /// The peer takes no datagrams.
    NoDatagrams,
    /// The datagram is larger than the peer and the path take.
    DatagramTooLarge,
    /// The endpoint was shut down.
    Shutdown,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, error } => write!(f, "cannot use the address {address}: {}", words(error)),
            Self::System(error) => write!(f, "the system refuses: {}", words(error)),
            Self::Family(remote) => {
                let family = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
                write!(f, "cannot reach {remote}: no socket here speaks {family}")
            }
            Self::OtherFamily { local, remote } => {
                let family = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
                write!(f, "cannot reach {remote} from {}: that takes a local address of {family}", local.ip())
            }
            Self::Route(error) => error.fmt(f),
            Self::RouteGone => f.write_str("the peer was not reached over the route"),
            Self::Path(error) => error.fmt(f),
            Self::PathGone => f.write_str("the path was abandoned"),
            Self::Full => f.write_str("all connection slots are in use; close a connection, or allow more"),
            Self::Role(what) => f.write_str(what),
            Self::Session(why) => write!(f, "TLS cannot start: {why}"),
            Self::Closed(closed) => closed.fmt(f),
            Self::Reset(code) => write!(f, "the peer reset the stream (application error {code:#x})"),
            Self::Stopped(code) => {
                write!(f, "the peer does not want the stream (application error {code:#x})")
            }
            Self::StreamClosed => f.write_str("the stream was finished, reset or stopped before"),
            Self::TimedOut => f.write_str("nothing happened within the time allowed"),
            Self::NoDatagrams => f.write_str("the peer takes no datagrams"),
            Self::DatagramTooLarge => f.write_str("the datagram is larger than the peer or the path takes"),
            Self::Shutdown => f.write_str("the endpoint was shut down"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { error, .. } | Self::System(error) => Some(error),
            Self::Route(error) => Some(error),
            Self::Path(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::TimedOut => io::ErrorKind::TimedOut,
            Error::Reset(_) => io::ErrorKind::ConnectionReset,
            Error::Stopped(_) => io::ErrorKind::BrokenPipe,
            Error::Closed(closed) => match closed.cause {
                Cause::Idle | Cause::HandshakeTimeout => io::ErrorKind::TimedOut,
                Cause::StatelessReset => io::ErrorKind::ConnectionReset,
                _ => io::ErrorKind::ConnectionAborted,
            },
            Error::StreamClosed | Error::Shutdown => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Why a connection ended, and who ended it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// The cause.
    pub cause: Cause,
    /// The last error of the system on sending to the peer, if there was one: often what is behind a silence.
    pub send_error: Option<String>,
}

impl Closed {
    /// The transport's error code, if either side closed with one.
    pub const fn code(&self) -> Option<Code> {
        match self.cause {
            Cause::Local(Close { reason: Reason::Transport { code, .. }, .. })
            | Cause::Peer(Close { reason: Reason::Transport { code, .. }, .. }) => Some(code),
            _ => None,
        }
    }

    /// The application's code, if either side's application closed.
    pub const fn application_code(&self) -> Option<u64> {
        match self.cause {
            Cause::Local(Close { reason: Reason::Application { code }, .. })
            | Cause::Peer(Close { reason: Reason::Application { code }, .. }) => Some(code),
            _ => None,
        }
    }

    /// Whether the peer ended it.
    pub const fn by_peer(&self) -> bool {
        matches!(self.cause, Cause::Peer(_) | Cause::StatelessReset | Cause::Version(_))
    }
}

impl From<Cause> for Closed {
    fn from(cause: Cause) -> Self {
        Self { cause, send_error: None }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Local(close) => by_us(close, f),
            Cause::Peer(close) => by_peer(close, f),
            Cause::StatelessReset => f.write_str("the peer has lost the connection (stateless reset)"),
            Cause::Idle => f.write_str("the connection fell silent: nothing came within the idle timeout"),
            Cause::HandshakeTimeout => f.write_str("no answer: the handshake was not finished in time"),
            Cause::NoRoute => {
                f.write_str("the peer's new address could not be validated, and there was none to return to")
            }
            Cause::Version(offered) => no_version(offered, f),
        }?;
        self.send_error.as_ref().map_or(Ok(()), |error| write!(f, "; sending failed: {error}"))
    }
}

fn no_version(offered: &Offered, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("the server does not speak QUIC version 1")?;
    for (nth, version) in offered.as_slice().iter().enumerate() {
        write!(f, "{}{version:#x}", if nth == 0 { "; it offers " } else { ", " })?;
    }
    Ok(())
}

fn by_us(close: &Close, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let phrase = close.phrase.as_str();
    match close.reason {
        Reason::Application { code } => {
            write!(f, "the connection was closed here (application error {code:#x})")?;
            if phrase.is_empty() { Ok(()) } else { write!(f, ": {phrase}") }
        }
        Reason::Transport { code, .. } => {
            let what = if code.alert().is_some() { "TLS failed" } else { "the connection was broken off" };
            let phrase = if phrase.is_empty() { "no reason given" } else { phrase };
            write!(f, "{what}: {phrase} [{code}]")
        }
    }
}

fn by_peer(close: &Close, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let phrase = close.phrase.as_str();
    match close.reason {
        Reason::Application { code } => {
            write!(f, "the peer closed the connection (application error {code:#x})")
        }
        Reason::Transport { code: Code::NO_ERROR, .. } => f.write_str("the peer closed the connection"),
        Reason::Transport { code, .. } => {
            write!(f, "the peer broke the connection off: ")?;
            match code.alert().and_then(alert_words) {
                Some(words) => write!(f, "{words} [{code}]"),
                None if code == Code::CONNECTION_REFUSED => write!(f, "it takes no connection now [{code}]"),
                None => write!(f, "{code}"),
            }
        }
    }?;
    if phrase.is_empty() { Ok(()) } else { write!(f, ": {phrase}") }
}

/// What a peer means that sends this alert.
const fn alert_words(alert: u8) -> Option<&'static str> {
    Some(match alert {
        40 => "no algorithm in common",
        42 | 46 => "it does not accept our certificate",
        43 => "no kind of certificate or public key in common",
        45 => "our certificate has expired or is not valid yet",
        48 => "it does not know the issuer of our certificate",
        51 => "a signature or a Finished message does not verify",
        112 => "it has no such name",
        115 => "it does not know the shared key's identity",
        116 => "it demands a certificate of ours",
        120 => "no application protocol in common",
        _ => return None,
    })
}

/// What the system says, without the number of the error.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

impl From<RouteError> for Error {
    fn from(error: RouteError) -> Self {
        Self::Route(error)
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::Session(error.reason().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_connection_is_told_with_who_and_why() {
        let expired = TransportError::alert(45, "certificate expired");
        let refused = TransportError::new(Code::CONNECTION_REFUSED, "");
        for (cause, text) in [
            (
                Cause::Local(Close::transport(&expired)),
                "TLS failed: certificate expired [TLS certificate_expired (0x12d)]",
            ),
            (
                Cause::Peer(Close::transport(&TransportError::alert(120, "nope"))),
                "the peer broke the connection off: no application protocol in common \
                 [TLS no_application_protocol (0x178)]: nope",
            ),
            (
                // Of a server this may be about its own certificate.
                Cause::Peer(Close::transport(&TransportError::alert(43, ""))),
                "the peer broke the connection off: no kind of certificate or public key in common \
                 [TLS unsupported_certificate (0x12b)]",
            ),
            (
                Cause::Peer(Close::transport(&refused)),
                "the peer broke the connection off: it takes no connection now [CONNECTION_REFUSED (0x2)]",
            ),
            (
                Cause::Peer(Close::application(7, "bye")),
                "the peer closed the connection (application error 0x7): bye",
            ),
            (
                Cause::Local(Close::application(0, "")),
                "the connection was closed here (application error 0x0)",
            ),
            (Cause::Version(Offered::default()), "the server does not speak QUIC version 1"),
            (
                Cause::Version(Offered::new([0x6b33_43cf, 0xfa1a_2a3a, 0xff00_001d])),
                "the server does not speak QUIC version 1; it offers 0x6b3343cf, 0xff00001d",
            ),
        ] {
            assert_eq!(Closed::from(cause).to_string(), text);
        }
        let silent = Closed { cause: Cause::HandshakeTimeout, send_error: Some("no route".into()) };
        assert!(silent.to_string().ends_with("; sending failed: no route"));
    }

    #[test]
    fn the_system_speaks_without_its_numbers() {
        let error = io::Error::from_raw_os_error(98);
        assert!(!words(&error).contains("os error"));
        let error = Error::Bind { address: SocketAddr::from(([0, 0, 0, 0], 1)), error };
        assert!(error.to_string().starts_with("cannot use the address 0.0.0.0:1: "));
    }

    #[test]
    fn kinds_of_io_errors() {
        for (error, kind) in [
            (Error::TimedOut, io::ErrorKind::TimedOut),
            (Error::Stopped(1), io::ErrorKind::BrokenPipe),
            (Error::Closed(Cause::Idle.into()), io::ErrorKind::TimedOut),
        ] {
            assert_eq!(io::Error::from(error).kind(), kind);
        }
    }
}
