//! How much an address may be sent before it proved that it wants it (RFC 9000 8, 8.1).
//!
//! Whoever calls [`Amplification::on_received`] decides what is attributed to the connection: whole datagrams, also
//! those whose packets were all discarded. What validates an address is decided elsewhere: a Handshake packet, a token,
//! or [`crate::path::validation`].

use core::num::NonZero;

use crate::limits::AMPLIFICATION_FACTOR;

/// The credit of one remote address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amplification {
    /// One more than the bytes that may still be sent there.
    Unvalidated(NonZero<u32>),
    /// The address is known to be the peer's: no limit.
    Validated,
}

impl Amplification {
    /// An address that nothing came from yet.
    pub const UNVALIDATED: Self = Self::Unvalidated(NonZero::<u32>::MIN);

    /// A datagram of `len` bytes, at most 65,535, came from the address.
    pub const fn on_received(&mut self, len: usize) {
        if let Self::Unvalidated(credit) = self {
            *credit = credit.saturating_add(AMPLIFICATION_FACTOR.saturating_mul(len as u32));
        }
    }

    /// A datagram of `len` bytes was sent there.
    pub const fn on_sent(&mut self, len: usize) {
        if let Self::Unvalidated(credit) = self {
            let left = credit.get().saturating_sub(1).saturating_sub(len as u32);
            *credit = NonZero::<u32>::MIN.saturating_add(left);
        }
    }

    /// The address proved to be the peer's.
    pub const fn on_validated(&mut self) {
        *self = Self::Validated;
    }

    /// Whether it did.
    pub const fn is_validated(&self) -> bool {
        matches!(self, Self::Validated)
    }

    /// Bytes that may be sent there now.
    pub const fn allowance(&self) -> u64 {
        match self {
            Self::Unvalidated(credit) => credit.get().saturating_sub(1) as u64,
            Self::Validated => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bytes_for_each_that_came() {
        let mut credit = Amplification::UNVALIDATED;
        assert_eq!(credit.allowance(), 0);
        credit.on_received(1200);
        assert_eq!(credit.allowance(), 3600);
        credit.on_sent(3000);
        credit.on_received(10);
        assert_eq!(credit.allowance(), 630);
        credit.on_sent(1200);
        assert_eq!(credit.allowance(), 0);
        credit.on_received(1);
        assert_eq!((credit.allowance(), credit.is_validated()), (3, false));
    }

    #[test]
    fn a_validated_address_has_no_limit() {
        let mut credit = Amplification::UNVALIDATED;
        credit.on_validated();
        credit.on_sent(usize::MAX);
        assert_eq!((credit.allowance(), credit.is_validated()), (u64::MAX, true));
    }
}
