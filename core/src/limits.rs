//! Every fixed number, each with its source.

use crate::time::Span;

/// The largest connection ID of QUIC v1, in bytes (RFC 9000 17.2).
pub const MAX_CID_LEN: usize = 20;
/// A client's first DCID has at least this many bytes (RFC 9000 7.2).
pub const MIN_INITIAL_DCID_LEN: usize = 8;
/// A datagram with an ack-eliciting Initial has at least this many bytes (RFC 9000 14.1).
pub const MIN_INITIAL_DATAGRAM: usize = 1200;
/// The largest UDP payload every QUIC path carries (RFC 9000 14).
pub const BASE_MTU: u16 = 1200;
/// An unvalidated address is sent at most this many times what came from it (RFC 9000 8.1).
pub const AMPLIFICATION_FACTOR: u32 = 3;
/// The largest variable-length integer (RFC 9000 16).
pub const MAX_VARINT: u64 = (1 << 62) - 1;
/// The largest packet number (RFC 9000 12.3).
pub const MAX_PACKET_NUMBER: u64 = MAX_VARINT;
/// The most streams of one kind that can ever be opened (RFC 9000 4.6).
pub const MAX_STREAMS: u64 = 1 << 60;
/// Length of the AEAD tag of every suite of QUIC v1 (RFC 9001 5.3).
pub const TAG_LEN: usize = 16;
/// Length of the header protection sample (RFC 9001 5.4.2).
pub const SAMPLE_LEN: usize = 16;
/// Length of a stateless reset token (RFC 9000 10.3).
pub const RESET_TOKEN_LEN: usize = 16;
/// CRYPTO bytes out of order that must at least be buffered (RFC 9000 7.5).
pub const MIN_CRYPTO_BUFFER: usize = 4096;
/// Received packet numbers are remembered as at most this many ranges (RFC 9000 13.2.3).
pub const ACK_RANGES: usize = 32;
/// Those of an Initial or Handshake space, whose packets are few: every second one of a flight of eight may be missing.
pub const HANDSHAKE_ACK_RANGES: usize = 4;
/// Ranges of an ACK frame that are looked at; a sender repeats what it still needs said.
pub const ACK_RANGES_READ: usize = 64;
/// Largest assumed timer granularity (RFC 9002 6.1.2).
pub const GRANULARITY: Span = Span::from_millis(1);
/// RTT assumed before the first sample (RFC 9002 6.2.2).
pub const INITIAL_RTT: Span = Span::from_millis(333);
/// Packets that may overtake one before it counts as lost (RFC 9002 6.1.1).
pub const PACKET_THRESHOLD: u64 = 3;
/// PTOs over which everything must be lost for persistent congestion (RFC 9002 7.6.1).
pub const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;
/// Ack delay that a peer has before it says otherwise (RFC 9000 18.2).
pub const DEFAULT_MAX_ACK_DELAY: Span = Span::from_millis(25);
/// Ack delay exponent that a peer has before it says otherwise (RFC 9000 18.2).
pub const DEFAULT_ACK_DELAY_EXPONENT: u8 = 3;
/// Connection IDs that every endpoint accepts at once (RFC 9000 18.2).
pub const MIN_ACTIVE_CID_LIMIT: u64 = 2;
/// Paths of a connection at once, those included that have been abandoned lately (draft-ietf-quic-multipath-21 3.2.1 leaves that to
/// each side): tables of facts about them stand on the stack.
pub const MAX_PATHS: usize = 8;
/// Levels of stream priority; 0 is the most urgent.
pub const PRIORITIES: usize = 8;
