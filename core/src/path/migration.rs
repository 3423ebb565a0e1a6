//! Whether a packet moves the connection (RFC 9000 9, 9.1, 9.3, 9.6.2). A pure decision: facts in, verdict out.
//!
//! ```text
//!                     on the route in use ──────────────────────────────▶ Stay
//!                     only probing frames ──────────────────────────────▶ Stay       (9.1)
//!   another route  ── older than the newest non-probing packet ─────────▶ Stay       (9.3)
//!                     we are the client: servers do not move ───────────▶ Stay       (9)
//!                     to our preferred address, not validated yet ──────▶ Await      (9.6.2)
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
    /// Whether it has a frame that is not probing.
    pub non_probing: bool,
    /// Whether no non-probing packet with a larger number came before.
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
    /// The peer has moved to the packet's route once that is validated.
    Await,
    /// The peer has moved to the packet's route.
    Move,
}

/// Whether the packet moves the connection to its route.
pub const fn decide(facts: &Facts) -> Verdict {
    if facts.on_active || !facts.non_probing || !facts.newest || facts.side.is_client() {
        Verdict::Stay
    } else if facts.to_preferred && !facts.validated {
        Verdict::Await
    } else {
        Verdict::Move
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVES: Facts = Facts {
        side: Side::Server,
        on_active: false,
        non_probing: true,
        newest: true,
        to_preferred: false,
        validated: false,
    };

    #[test]
    fn the_newest_non_probing_packet_from_another_address_moves_a_server() {
        assert_eq!(decide(&MOVES), Verdict::Move);
        assert_eq!(decide(&Facts { validated: true, ..MOVES }), Verdict::Move);
    }

    #[test]
    fn each_missing_fact_alone_keeps_the_route() {
        for facts in [
            Facts { on_active: true, ..MOVES },
            Facts { non_probing: false, ..MOVES },
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
        assert_eq!(decide(&facts), Verdict::Await);
        assert_eq!(decide(&Facts { validated: true, ..facts }), Verdict::Move);
        assert_eq!(decide(&Facts { non_probing: false, ..facts }), Verdict::Stay);
    }
}
