//! Whether a packet moves the connection (RFC 9000 9, 9.1, 9.3, 9.6.2). A pure decision: facts in, verdict out.
//!
//! ```text
//!                     on the route in use ──────────────────────────────▶ Stay
//!                     only probing frames ──────────────────────────────▶ Stay       (9.1)
//!   another route  ── older than the newest non-probing packet ─────────▶ Stay       (9.3)
//!                     we are the client: servers do not move ───────────▶ Stay       (9)
//!                     to our preferred address, not validated yet ──────▶ Stay       (9.6.2; asked again once it is)
//!                     else ─────────────────────────────────────────────▶ Move
//! ```
//!
//! That nobody moves before the handshake is confirmed is settled earlier: until then a stranger's packet is not even
//! opened. The application's policy has spoken when the route was made.

use crate::ids::Side;

/// What is known of an authentic packet, once its frames have reached their owners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Our role.
    pub side: Side,
    /// Whether it came on the route in use.
    pub on_active: bool,
    /// Whether it has a frame that is not probing, and no such packet with a larger number came before.
    pub newest: bool,
    /// Whether it came to the address that we prefer.
    pub to_preferred: bool,
    /// Whether its route is validated.
    pub validated: bool,
}

/// What follows from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The route in use stays.
    Stay,
    /// The peer has moved to the packet's route.
    Move,
}

/// Whether the packet moves the connection to its route.
pub const fn decide(facts: &Facts) -> Verdict {
    let shows_a_move = !facts.on_active && facts.newest && !facts.side.is_client();
    if shows_a_move && (facts.validated || !facts.to_preferred) { Verdict::Move } else { Verdict::Stay }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVES: Facts =
        Facts { side: Side::Server, on_active: false, newest: true, to_preferred: false, validated: false };

    #[test]
    fn the_newest_non_probing_packet_from_another_address_moves_a_server() {
        assert_eq!(decide(&MOVES), Verdict::Move);
        assert_eq!(decide(&Facts { validated: true, ..MOVES }), Verdict::Move);
    }

    #[test]
    fn each_missing_fact_alone_keeps_the_route() {
        for facts in [
            Facts { on_active: true, ..MOVES },
            Facts { newest: false, ..MOVES },
            Facts { side: Side::Client, ..MOVES },
        ] {
            for validated in [false, true] {
                assert_eq!(decide(&Facts { validated, ..facts }), Verdict::Stay, "{facts:?}");
            }
        }
    }

    #[test]
    fn our_preferred_address_waits_for_validation() {
        let facts = Facts { to_preferred: true, ..MOVES };
        assert_eq!(decide(&facts), Verdict::Stay);
        assert_eq!(decide(&Facts { validated: true, ..facts }), Verdict::Move);
        assert_eq!(decide(&Facts { newest: false, validated: true, ..facts }), Verdict::Stay);
    }
}
