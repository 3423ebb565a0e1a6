//! What can go wrong, in few bytes: futures carry errors.

use core::fmt;

use embedded_io_async::ErrorKind;
#[cfg(feature = "multipath")]
use peregrine_core::connection::PathError;
use peregrine_core::connection::RouteError;
use peregrine_core::endpoint::ConnectError;
use peregrine_core::error::{Code, TransportError};
use peregrine_core::lifecycle::{Cause, Reason};

use crate::entropy::EntropyError;

/// Why something did not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// The connection is over.
    Closed(End),
    /// No network that was attached is up and has an address of the family that is needed.
    NoNetwork,
    /// All connections that the resources have memory for are in use.
    TooManyConnections,
    /// All memory for handshakes is in use.
    TooManyHandshakes,
    /// All sockets of the resources are in use.
    TooManySockets,
    /// All of what [`SendStream::delivered`](crate::SendStream::delivered) needs is in use by other streams.
    TooManyStreams,
    /// The server has made no session for a client: all memory for handshakes is in use, or it wants no such client.
    NoSession,
    /// Neither the session nor the connection's memory has room for CRYPTO bytes out of order.
    NoCryptoRoom,
    /// The connection could not begin: the session failed, or it or the connection has too little memory.
    Start(TransportError),
    /// There can be no such route, or not now.
    Route(RouteError),
    /// The peer could not be reached over the route, or it was closed.
    RouteGone,
    /// There can be no such path, or not now.
    #[cfg(feature = "multipath")]
    Path(PathError),
    /// The path was abandoned, by us or by the peer.
    #[cfg(feature = "multipath")]
    PathGone,
    /// The peer does not want what the stream sends, and gave this code.
    Stopped(u64),
    /// The peer gave up sending on the stream, with this code.
    Reset(u64),
    /// The stream is over.
    StreamClosed,
    /// The datagram is larger than the peer, the path or our memory takes.
    DatagramTooLarge,
    /// The peer takes no datagrams.
    NoDatagrams,
    /// The source of randomness has failed.
    Entropy,
}

/// How a connection ended. [`Connection::cause`](crate::Connection::cause) has the words as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum End {
    /// Our application closed it, with this code.
    Local(u64),
    /// We closed it because of an error, with this code of QUIC or TLS.
    LocalError(u64),
    /// The application of the peer closed it, with this code.
    Peer(u64),
    /// The peer closed it because of an error, with this code of QUIC or TLS.
    PeerError(u64),
    /// The peer has lost its state.
    StatelessReset,
    /// Nothing came for the idle timeout.
    Idle,
    /// The handshake took too long.
    HandshakeTimeout,
    /// The peer cannot be reached at its new address, nor at one before.
    NoRoute,
    /// The server speaks another version of QUIC.
    Version,
}

impl From<&Cause> for End {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::Local(close) => match close.reason {
                Reason::Application { code } => Self::Local(code),
                Reason::Transport { code, .. } => Self::LocalError(code.0),
            },
            Cause::Peer(close) => match close.reason {
                Reason::Application { code } => Self::Peer(code),
                Reason::Transport { code, .. } => Self::PeerError(code.0),
            },
            Cause::StatelessReset => Self::StatelessReset,
            Cause::Idle => Self::Idle,
            Cause::HandshakeTimeout => Self::HandshakeTimeout,
            Cause::NoRoute => Self::NoRoute,
            Cause::Version(_) => Self::Version,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(code) => write!(f, "we closed it with code {code}"),
            Self::LocalError(code) => write!(f, "we closed it: {}", Code(*code)),
            Self::Peer(code) => write!(f, "the peer closed it with code {code}"),
            Self::PeerError(code) => write!(f, "the peer closed it: {}", Code(*code)),
            Self::StatelessReset => f.write_str("the peer has lost its state"),
            Self::Idle => f.write_str("nothing came for the idle timeout"),
            Self::HandshakeTimeout => f.write_str("the handshake took too long"),
            Self::NoRoute => f.write_str("the peer cannot be reached where it moved to"),
            Self::Version => f.write_str("the server speaks another version of QUIC"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(end) => return write!(f, "the connection is over: {end}"),
            Self::Start(error) => return write!(f, "the connection could not begin: {error}"),
            Self::Route(error) => return error.fmt(f),
            #[cfg(feature = "multipath")]
            Self::Path(error) => return error.fmt(f),
            #[cfg(feature = "multipath")]
            Self::PathGone => "the path was abandoned",
            Self::Stopped(code) => return write!(f, "the peer stopped the stream with code {code}"),
            Self::Reset(code) => return write!(f, "the peer reset the stream with code {code}"),
            Self::Entropy => return EntropyError.fmt(f),
            Self::NoNetwork => "no network is up that has an address of this family",
            Self::TooManyConnections => {
                "all connections are in use; drop one, or give the resources memory for more"
            }
            Self::TooManyHandshakes => "all memory for handshakes is in use; wait for one, or give more",
            Self::NoSession => {
                "there is no session for the client: all memory for handshakes is in use, or the server wants no such client"
            }
            Self::NoCryptoRoom => {
                "the session brings no room for CRYPTO bytes, and the connection's memory has none: use the Storage of peregrine-core"
            }
            Self::TooManySockets => "all sockets are in use; give the resources more",
            Self::TooManyStreams => {
                "too many streams wait for their delivery; give the resources more waiters"
            }
            Self::RouteGone => "the peer could not be reached over the route, or it was closed",
            Self::StreamClosed => "the stream is over",
            Self::DatagramTooLarge => "the datagram is larger than the peer, the path or our memory takes",
            Self::NoDatagrams => "the peer takes no datagrams",
        })
    }
}

impl core::error::Error for Error {}

impl embedded_io_async::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed(End::Idle | End::HandshakeTimeout | End::NoRoute) => ErrorKind::TimedOut,
            Self::Closed(End::Local(_)) => ErrorKind::NotConnected,
            Self::Closed(_) | Self::Reset(_) => ErrorKind::ConnectionReset,
            Self::Stopped(_) | Self::StreamClosed => ErrorKind::BrokenPipe,
            Self::NoNetwork => ErrorKind::AddrNotAvailable,
            Self::TooManyConnections
            | Self::TooManyHandshakes
            | Self::NoSession
            | Self::NoCryptoRoom
            | Self::TooManySockets
            | Self::TooManyStreams => ErrorKind::OutOfMemory,
            _ => ErrorKind::Other,
        }
    }
}

impl From<RouteError> for Error {
    fn from(error: RouteError) -> Self {
        Self::Route(error)
    }
}

#[cfg(feature = "multipath")]
impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<EntropyError> for Error {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Full | ConnectError::SameRemote => Self::TooManyConnections,
            ConnectError::Start(error) => Self::Start(error),
        }
    }
}
