//! Whether a new client gets in: a pure decision on how full the endpoint is and what the client has shown.
//!
//! RFC 9000 8.1.2 lets a server ask for proof of address with a Retry at its leisure; RFC 9000 21.3 asks it to bound
//! what an unproven client costs. Below half of the slots and of the handshakes allowed at once nobody is asked;
//! above, everybody proves the address first; a full endpoint refuses.

/// When a Retry is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RetryPolicy {
    /// From half load on.
    #[default]
    UnderLoad,
    /// To every client without a token.
    Always,
}

/// How full the endpoint is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Connection slots.
    pub slots: usize,
    /// Slots in use.
    pub used: usize,
    /// Handshakes that may run at once.
    pub max_half_open: usize,
    /// Handshakes of clients that run.
    pub half_open: usize,
}

/// What the client's token is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// There is none, or one of a NEW_TOKEN frame that is of no use any more (RFC 9000 8.1.3: as if absent).
    None,
    /// The address is the client's.
    Valid,
    /// A token of a Retry that does not fit this client (RFC 9000 8.1.2).
    Invalid,
}

/// What to do with a new client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Let it in.
    Accept,
    /// Ask for proof of its address.
    Retry,
    /// Close with CONNECTION_REFUSED.
    Refuse,
    /// Close with INVALID_TOKEN.
    InvalidToken,
}

/// The decision.
pub fn verdict(policy: RetryPolicy, load: Load, proof: Proof) -> Verdict {
    let full = load.used >= load.slots || load.half_open >= load.max_half_open;
    let busy = above_half(load.used, load.slots) || above_half(load.half_open, load.max_half_open);
    match proof {
        Proof::Invalid => Verdict::InvalidToken,
        Proof::None if policy == RetryPolicy::Always || busy => Verdict::Retry,
        _ if full => Verdict::Refuse,
        _ => Verdict::Accept,
    }
}

const fn above_half(part: usize, whole: usize) -> bool {
    part.saturating_mul(2) >= whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_table() {
        let load = |used, half_open| Load { slots: 8, used, max_half_open: 4, half_open };
        for (policy, load, proof, expected) in [
            (RetryPolicy::UnderLoad, load(0, 0), Proof::None, Verdict::Accept),
            (RetryPolicy::UnderLoad, load(3, 1), Proof::None, Verdict::Accept),
            (RetryPolicy::UnderLoad, load(4, 0), Proof::None, Verdict::Retry),
            (RetryPolicy::UnderLoad, load(2, 2), Proof::None, Verdict::Retry),
            (RetryPolicy::UnderLoad, load(8, 0), Proof::None, Verdict::Retry),
            (RetryPolicy::UnderLoad, load(7, 3), Proof::Valid, Verdict::Accept),
            (RetryPolicy::UnderLoad, load(8, 0), Proof::Valid, Verdict::Refuse),
            (RetryPolicy::UnderLoad, load(4, 4), Proof::Valid, Verdict::Refuse),
            (RetryPolicy::UnderLoad, load(0, 0), Proof::Invalid, Verdict::InvalidToken),
            (RetryPolicy::Always, load(0, 0), Proof::None, Verdict::Retry),
            (RetryPolicy::Always, load(0, 0), Proof::Valid, Verdict::Accept),
        ] {
            assert_eq!(verdict(policy, load, proof), expected, "{policy:?} {load:?} {proof:?}");
        }
    }
}
