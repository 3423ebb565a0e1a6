//! The dialects of multipath QUIC: what draft-ietf-quic-multipath 11 and 21 write differently, a table for each.
//!
//! Without the feature `multipath` no dialect exists: what holds one cannot exist either, and the compiler leaves out
//! all that would be done with it.

use core::ops::RangeInclusive;

use crate::error::Code;
use crate::limits::MAX_VARINT;

/// A dialect of multipath QUIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Dialect {
    /// draft-ietf-quic-multipath-21.
    #[cfg(feature = "multipath")]
    Draft21,
    /// draft-ietf-quic-multipath-11.
    #[cfg(feature = "multipath")]
    Draft11,
}

impl Dialect {
    /// All of them, that to be preferred first.
    pub const ALL: &'static [Self] = &[
        #[cfg(feature = "multipath")]
        Self::Draft21,
        #[cfg(feature = "multipath")]
        Self::Draft11,
    ];

    /// Its table.
    pub const fn numbers(self) -> &'static Numbers {
        match self {
            #[cfg(feature = "multipath")]
            Self::Draft21 => &Numbers::DRAFT_21,
            #[cfg(feature = "multipath")]
            Self::Draft11 => &Numbers::DRAFT_11,
        }
    }

    /// Whether a peer can be told that connection IDs are missing on a path (draft 21 4.7).
    pub const fn has_path_cids_blocked(self) -> bool {
        *self.numbers().path_cids_blocked.start() <= MAX_VARINT
    }
}

/// What a dialect writes on the wire: frame types, where nothing else is said.
#[derive(Debug)]
pub struct Numbers {
    /// The transport parameter initial_max_path_id.
    pub initial_max_path_id: u64,
    /// PATH_ACK without ECN counts and with them.
    pub path_ack: RangeInclusive<u64>,
    /// PATH_ABANDON.
    pub path_abandon: RangeInclusive<u64>,
    /// PATH_STATUS_BACKUP and PATH_STATUS_AVAILABLE.
    pub path_status: RangeInclusive<u64>,
    /// PATH_NEW_CONNECTION_ID.
    pub path_new_connection_id: RangeInclusive<u64>,
    /// PATH_RETIRE_CONNECTION_ID.
    pub path_retire_connection_id: RangeInclusive<u64>,
    /// MAX_PATH_ID.
    pub max_path_id: RangeInclusive<u64>,
    /// PATHS_BLOCKED.
    pub paths_blocked: RangeInclusive<u64>,
    /// PATH_CIDS_BLOCKED.
    pub path_cids_blocked: RangeInclusive<u64>,
    /// The error of a peer that sends such frames in other than 1-RTT packets.
    pub misplaced: Code,
    /// What PATH_ABANDON can say.
    abandon: AbandonNumbers,
}

/// Why a path is abandoned, in numbers.
#[derive(Debug)]
struct AbandonNumbers {
    application: u64,
    resource_limit: u64,
    unstable: u64,
    no_cid: u64,
}

impl Numbers {
    /// draft-ietf-quic-multipath-21, its IANA section.
    pub const DRAFT_21: Self = Self {
        initial_max_path_id: 0x3e,
        path_ack: 0x3e..=0x3f,
        path_abandon: one(0x3e75),
        path_status: 0x3e76..=0x3e77,
        path_new_connection_id: one(0x3e78),
        path_retire_connection_id: one(0x3e79),
        max_path_id: one(0x3e7a),
        paths_blocked: one(0x3e7b),
        path_cids_blocked: one(0x3e7c),
        misplaced: Code::PROTOCOL_VIOLATION,
        abandon: AbandonNumbers {
            application: 0x3e,
            resource_limit: 0x3e75,
            unstable: 0x3e76,
            no_cid: 0x3e77,
        },
    };

    /// draft-ietf-quic-multipath-11 9, in the numbers for experiments. Its two codes of PATH_ABANDON are larger than a
    /// varint, so that NO_ERROR stands for all.
    pub const DRAFT_11: Self = Self {
        initial_max_path_id: 0x0f73_9bbc_1b66_6d11,
        path_ack: 0x1522_8c00..=0x1522_8c01,
        path_abandon: one(0x1522_8c05),
        path_status: 0x1522_8c07..=0x1522_8c08,
        path_new_connection_id: one(0x1522_8c09),
        path_retire_connection_id: one(0x1522_8c0a),
        max_path_id: one(0x1522_8c0c),
        paths_blocked: one(0x1522_8c0d),
        path_cids_blocked: NONE,
        misplaced: Code::FRAME_ENCODING_ERROR,
        abandon: AbandonNumbers { application: 0, resource_limit: 0, unstable: 0, no_cid: 0 },
    };
}

/// The type of a frame that a dialect lacks: no varint is that large, so that such a frame is neither read nor written.
const NONE: RangeInclusive<u64> = one(u64::MAX);

const fn one(number: u64) -> RangeInclusive<u64> {
    number..=number
}

/// A number for each dialect in which there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PerDialect([Option<u64>; Dialect::ALL.len()]);

impl PerDialect {
    /// That of `dialect`.
    pub fn get(&self, dialect: Dialect) -> Option<u64> {
        let mut numbers = Dialect::ALL.iter().zip(self.0);
        numbers.find(|(of, _)| **of == dialect).and_then(|(_, number)| number)
    }

    /// The same, but `number` in `dialect`.
    #[must_use]
    pub fn with(mut self, dialect: Dialect, number: u64) -> Self {
        for (_, place) in Dialect::ALL.iter().zip(&mut self.0).filter(|(of, _)| **of == dialect) {
            *place = Some(number);
        }
        self
    }
}

/// Why a path is abandoned (draft 21 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AbandonCode {
    /// NO_ERROR: nothing went wrong.
    NoError,
    /// APPLICATION_ABANDON_PATH: the application wanted it.
    Application,
    /// PATH_RESOURCE_LIMIT_REACHED: there is no room to keep it.
    ResourceLimit,
    /// PATH_UNSTABLE_OR_POOR: the interface comes and goes, or carries little.
    Unstable,
    /// NO_CID_AVAILABLE_FOR_PATH: there is no connection ID to send to.
    NoCid,
    /// Another reason that the peer gave.
    Other(u64),
}

impl AbandonCode {
    /// The reason that PATH_ABANDON gave; any number is one.
    pub const fn from_number(dialect: Dialect, number: u64) -> Self {
        let names = &dialect.numbers().abandon;
        match number {
            0 => Self::NoError,
            _ if number == names.application => Self::Application,
            _ if number == names.resource_limit => Self::ResourceLimit,
            _ if number == names.unstable => Self::Unstable,
            _ if number == names.no_cid => Self::NoCid,
            _ => Self::Other(number),
        }
    }

    /// The number that PATH_ABANDON gives for it.
    pub const fn number(self, dialect: Dialect) -> u64 {
        let names = &dialect.numbers().abandon;
        match self {
            Self::NoError => 0,
            Self::Application => names.application,
            Self::ResourceLimit => names.resource_limit,
            Self::Unstable => names.unstable,
            Self::NoCid => names.no_cid,
            Self::Other(number) => number,
        }
    }
}
