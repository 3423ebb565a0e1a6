//! Loss recovery (RFC 9002, appendix A) and acknowledgments (RFC 9000 13).
//!
//! What belongs to whom: a *packet number space* ([`Space`]: numbers, packets received, ACKs owed) goes with a path and
//! outlives its addresses; an [`Rtt`], a [`Pto`] and a [`Flight`] (the packets of one space that are under way) go with
//! a route. So a space may have several flights at a time, one per route in use, and a packet on a slow route is never
//! taken for lost because a faster route overtook it (RFC 9000 9.4).
//!
//! ```text
//! sent      SentTable → Draft → Flight::on_sent
//! ACK       Space::on_ack → per flight: on_ack → Rtt::on_sample → detect_lost → per packet: Chain::pop
//! alarm     Pto::alarm → Loss: detect_lost · Probe: Pto::on_timeout, Flight::repeat_oldest
//! ```

pub mod ack;
pub mod acked;
pub mod flight;
pub mod loss;
pub mod pto;
pub mod rtt;
pub mod sent;
mod skip;
pub mod space;

pub use ack::Received;
pub use acked::AckedRanges;
pub use flight::{Acked, Flight, Numbers, Packet};
pub use loss::Lost;
pub use pto::{Alarm, Pto, Situation};
pub use rtt::Rtt;
pub use sent::{Chain, Draft, SentPacket, SentTable};
pub use skip::Skips;
pub use space::{AnySpace, EcnReport, Space};
