//! The table of frames (RFC 9000 table 3, RFC 9221 4, multipath): a row is the only place where a frame's number is
//! written. Those of multipath QUIC stand in 1-RTT packets only; their numbers differ by [`Dialect`] and are in its
//! tables.
//!
//! It yields [`Frame`], its parser and emitter, and [`Rules`]: in which packets a frame may stand and what it means
//! for acknowledgment, congestion control and path probing.

pub mod ack;
pub mod cid;
pub mod close;
pub mod crypto;
pub mod datagram;
pub mod flow;
pub mod multipath;
pub mod path;
pub mod stream;

pub use ack::{Ack, EcnCounts};
pub use cid::{NewConnectionId, NewToken, RetireConnectionId};
pub use close::ConnectionClose;
pub use crypto::Crypto;
pub use datagram::Datagram;
pub use flow::{DataBlocked, MaxData, MaxStreamData, MaxStreams, StreamDataBlocked, StreamsBlocked};
pub use multipath::{
    MaxPathId, PathAbandon, PathAck, PathCidsBlocked, PathNewConnectionId, PathRetireConnectionId,
    PathStatus, PathsBlocked,
};
pub use path::{HandshakeDone, Padding, PathChallenge, PathResponse, Ping};
pub use stream::{ResetStream, StopSending, Stream};

use crate::error::{Code, TransportError};
use crate::session::Level;
use crate::wire::cursor::varint_len;
use crate::wire::{Dialect, Malformed, NoSpace, Reader, Writer};

/// Initial packets.
const I: u8 = 1;
/// Handshake packets.
const H: u8 = 2;
/// 0-RTT packets.
const Z: u8 = 4;
/// 1-RTT packets.
const O: u8 = 8;

/// A set of frame kinds, one bit per row of the table: what a sent packet carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kinds(u32);

impl Kinds {
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether `kind` is among them. Without a dialect there are none of multipath.
    #[inline]
    pub const fn has(self, kind: Kind) -> bool {
        let exists = !kind.is_multipath() || !Dialect::ALL.is_empty();
        exists && self.0 & (1 << kind as u8) != 0
    }

    /// Whether there is no other than those.
    pub const fn are_among(self, those: Self) -> bool {
        self.0 & !those.0 == 0
    }

    /// These and `kind`.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | (1 << kind as u8))
    }

    /// These without `kind`.
    #[must_use]
    pub const fn without(self, kind: Kind) -> Self {
        Self(self.0 & !(1 << kind as u8))
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What RFC 9000 table 3 says of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    packets: u8,
    /// Obliges the receiver to acknowledge (all but note N).
    pub ack_eliciting: bool,
    /// Counts toward bytes in flight (all but note C).
    pub in_flight: bool,
    /// A probing frame (note P).
    pub probing: bool,
}

impl Rules {
    const fn new(packets: u8, notes: &str) -> Self {
        Self {
            packets,
            ack_eliciting: !contains(notes, b'N'),
            in_flight: !contains(notes, b'C'),
            probing: contains(notes, b'P'),
        }
    }

    /// Whether the frame may stand in packets of this level.
    pub const fn allowed_in(self, level: Level) -> bool {
        let bit = match level {
            Level::Initial => I,
            Level::Handshake => H,
            Level::ZeroRtt => Z,
            Level::OneRtt => O,
        };
        self.packets & bit != 0
    }
}

const fn contains(notes: &str, note: u8) -> bool {
    let mut rest = notes.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == note {
            return true;
        }
        rest = tail;
    }
    false
}

macro_rules! frames {
    (
        plain {
            $($name:ident $(<$lt:lifetime>)? = $first:literal ..= $last:literal, $packets:expr, $notes:literal, $rfc:literal;)*
        }
        multipath {
            $($path_name:ident $(<$path_lt:lifetime>)? = $types:ident, $path_notes:literal, $draft:literal;)*
        }
    ) => {
        /// The row of a frame in the table.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum Kind { $(#[doc = $rfc] $name,)* $(#[doc = $draft] $path_name,)* }

        impl Kind {
            /// Every row.
            pub const ALL: &'static [Self] = &[$(Self::$name,)* $(Self::$path_name,)*];

            /// The row of a frame type, if there is one where this dialect of multipath QUIC, or none, is spoken.
            pub fn of(frame_type: u64, dialect: Option<Dialect>) -> Option<Self> {
                match frame_type {
                    $($first..=$last => Some(Self::$name),)*
                    _ => Self::in_dialect(frame_type, dialect?),
                }
            }

            fn in_dialect(frame_type: u64, dialect: Dialect) -> Option<Self> {
                let numbers = dialect.numbers();
                $(if numbers.$types.contains(&frame_type) {
                    return Some(Self::$path_name);
                })*
                None
            }

            /// Whether it is a frame of multipath QUIC.
            pub const fn is_multipath(self) -> bool {
                matches!(self, $(Self::$path_name)|*)
            }

            /// What the table says of the row.
            pub const fn rules(self) -> Rules {
                match self {
                    $(Self::$name => const { Rules::new($packets, $notes) },)*
                    $(Self::$path_name => const { Rules::new(O, $path_notes) },)*
                }
            }
        }

        /// A frame, borrowing from the packet it came in.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Frame<'a> {
            $(#[doc = $rfc] $name($name $(<$lt>)?),)*
            $(#[doc = $draft] $path_name($path_name $(<$path_lt>)?),)*
        }

        impl<'a> Frame<'a> {
            /// Its row.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$name,)*
                    $(Self::$path_name(_) => Kind::$path_name,)*
                }
            }

            /// The first and the last frame type of its row.
            pub const fn types(&self) -> (u64, u64) {
                match self {
                    $(Self::$name(_) => ($first, $last),)*
                    $(Self::$path_name(frame) => {
                        let types = &frame.dialect.numbers().$types;
                        (*types.start(), *types.end())
                    })*
                }
            }

            /// Parses the body of a frame whose type was read already.
            fn parse(
                kind: Kind,
                dialect: Option<Dialect>,
                frame_type: u64,
                from: &mut Reader<'a>,
            ) -> Result<Self, Malformed> {
                Ok(match kind {
                    $(Kind::$name => Self::$name($name::parse(frame_type, from)?),)*
                    $(Kind::$path_name => {
                        Self::$path_name($path_name::parse(dialect.ok_or(Malformed)?, frame_type, from)?)
                    })*
                })
            }

            /// Writes the frame, its type first.
            ///
            /// # Errors
            /// [`NoSpace`] if it does not fit; nothing is written then.
            pub fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
                out.whole(|out| match self {
                    $(Self::$name(frame) => frame.emit(out),)*
                    $(Self::$path_name(frame) => frame.emit(out),)*
                })
            }
        }
    };
}

// RETIRE_CONNECTION_ID in 0-RTT: table 3 allows it, 12.5 lets a server refuse it. The table holds.
//
// PATH_NEW_CONNECTION_ID is no probing frame though NEW_CONNECTION_ID is: 9.1 names the probing frames and calls all
// others non-probing, and the drafts add none (draft 21 3.1.2).
frames! {
    plain {
        // name              types          packets    notes  section
        Padding            = 0x00..=0x00, I | H | Z | O, "NP", "PADDING, RFC 9000 19.1.";
        Ping               = 0x01..=0x01, I | H | Z | O, "",   "PING, RFC 9000 19.2.";
        Ack<'a>            = 0x02..=0x03, I | H | O,     "NC", "ACK, RFC 9000 19.3.";
        ResetStream        = 0x04..=0x04, Z | O,         "",   "RESET_STREAM, RFC 9000 19.4.";
        StopSending        = 0x05..=0x05, Z | O,         "",   "STOP_SENDING, RFC 9000 19.5.";
        Crypto<'a>         = 0x06..=0x06, I | H | O,     "",   "CRYPTO, RFC 9000 19.6.";
        NewToken<'a>       = 0x07..=0x07, O,             "",   "NEW_TOKEN, RFC 9000 19.7.";
        Stream<'a>         = 0x08..=0x0f, Z | O,         "F",  "STREAM, RFC 9000 19.8.";
        MaxData            = 0x10..=0x10, Z | O,         "",   "MAX_DATA, RFC 9000 19.9.";
        MaxStreamData      = 0x11..=0x11, Z | O,         "",   "MAX_STREAM_DATA, RFC 9000 19.10.";
        MaxStreams         = 0x12..=0x13, Z | O,         "",   "MAX_STREAMS, RFC 9000 19.11.";
        DataBlocked        = 0x14..=0x14, Z | O,         "",   "DATA_BLOCKED, RFC 9000 19.12.";
        StreamDataBlocked  = 0x15..=0x15, Z | O,         "",   "STREAM_DATA_BLOCKED, RFC 9000 19.13.";
        StreamsBlocked     = 0x16..=0x17, Z | O,         "",   "STREAMS_BLOCKED, RFC 9000 19.14.";
        NewConnectionId    = 0x18..=0x18, Z | O,         "P",  "NEW_CONNECTION_ID, RFC 9000 19.15.";
        RetireConnectionId = 0x19..=0x19, Z | O,         "",   "RETIRE_CONNECTION_ID, RFC 9000 19.16.";
        PathChallenge      = 0x1a..=0x1a, Z | O,         "P",  "PATH_CHALLENGE, RFC 9000 19.17.";
        PathResponse       = 0x1b..=0x1b, O,             "P",  "PATH_RESPONSE, RFC 9000 19.18.";
        ConnectionClose<'a> = 0x1c..=0x1d, I | H | Z | O, "N",   "CONNECTION_CLOSE, RFC 9000 19.19.";
        HandshakeDone      = 0x1e..=0x1e, O,             "",   "HANDSHAKE_DONE, RFC 9000 19.20.";
        Datagram<'a>       = 0x30..=0x31, Z | O,         "",   "DATAGRAM, RFC 9221 4.";
    }
    multipath {
        // name                  types                      notes  section
        PathAck<'a>            = path_ack,                  "NC", "PATH_ACK, draft-ietf-quic-multipath-21 4.1.";
        PathAbandon            = path_abandon,              "",   "PATH_ABANDON, draft-ietf-quic-multipath-21 4.2.";
        PathStatus             = path_status,               "",   "PATH_STATUS_AVAILABLE and PATH_STATUS_BACKUP, draft-ietf-quic-multipath-21 4.3.";
        PathNewConnectionId    = path_new_connection_id,    "",   "PATH_NEW_CONNECTION_ID, draft-ietf-quic-multipath-21 4.4.";
        PathRetireConnectionId = path_retire_connection_id, "",   "PATH_RETIRE_CONNECTION_ID, draft-ietf-quic-multipath-21 4.5.";
        MaxPathId              = max_path_id,               "",   "MAX_PATH_ID, draft-ietf-quic-multipath-21 4.6.";
        PathsBlocked           = paths_blocked,             "",   "PATHS_BLOCKED, draft-ietf-quic-multipath-21 4.7.";
        PathCidsBlocked        = path_cids_blocked,         "",   "PATH_CIDS_BLOCKED, draft-ietf-quic-multipath-21 4.7.";
    }
}

// `Kinds` has one bit per row.
const _: () = assert!(Kind::ALL.len() <= u32::BITS as usize);

/// The frames of a packet, one after the other; stops after the first error.
///
/// An unknown type is FRAME_ENCODING_ERROR (RFC 9000 12.4), as is a body that does not parse. PROTOCOL_VIOLATION is a
/// type in a longer form than needed, a frame that may not stand in such packets, and a packet with no frame at all. For
/// a frame of multipath QUIC that may not stand there, the dialect says what it is.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    /// What is to be parsed yet; `None` behind the last frame.
    rest: Option<Reader<'a>>,
    level: Level,
    dialect: Option<Dialect>,
}

impl<'a> Frames<'a> {
    /// The frames in the payload of a packet of `level`. Those of multipath QUIC are unknown.
    pub const fn new(level: Level, payload: &'a [u8]) -> Self {
        Self { rest: Some(Reader::new(payload)), level, dialect: None }
    }

    /// The same, with the frames of the dialect of multipath QUIC that is spoken, if one is.
    #[must_use]
    pub const fn in_dialect(self, dialect: Option<Dialect>) -> Self {
        Self { dialect, ..self }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, TransportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest.take()?;
        let parsed = parse_one(self.level, self.dialect, &mut rest);
        if parsed.is_ok() && !rest.is_empty() {
            self.rest = Some(rest);
        }
        Some(parsed)
    }
}

fn parse_one<'a>(
    level: Level,
    dialect: Option<Dialect>,
    from: &mut Reader<'a>,
) -> Result<Frame<'a>, TransportError> {
    if from.is_empty() {
        return Err(TransportError::new(Code::PROTOCOL_VIOLATION, "packet has no frame"));
    }
    let malformed = TransportError::new(Code::FRAME_ENCODING_ERROR, "frame does not parse");
    let before = from.remaining();
    let frame_type = from.varint().map_err(|Malformed| malformed)?;
    let read = before.saturating_sub(from.remaining());
    let error = |code, reason| TransportError::new(code, reason).in_frame(frame_type);
    let kind =
        Kind::of(frame_type, dialect).ok_or(error(Code::FRAME_ENCODING_ERROR, "unknown frame type"))?;
    if read != varint_len(frame_type) {
        return Err(error(Code::PROTOCOL_VIOLATION, "frame type is not in its shortest form"));
    }
    // 0x1d speaks for the application, which has no say before 1-RTT or 0-RTT keys (RFC 9000 12.5).
    let for_application = frame_type == 0x1d && matches!(level, Level::Initial | Level::Handshake);
    if for_application || !kind.rules().allowed_in(level) {
        let dialect = dialect.filter(|_| kind.is_multipath());
        let code = dialect.map_or(Code::PROTOCOL_VIOLATION, |dialect| dialect.numbers().misplaced);
        return Err(error(code, "frame is not allowed in this packet type"));
    }
    Frame::parse(kind, dialect, frame_type, from).map_err(|Malformed| malformed.in_frame(frame_type))
}

#[cfg(test)]
mod tests;
