//! The alarm of loss recovery: time-threshold loss, or a probe timeout (RFC 9002 6.2, A.8, A.9).
//!
//! One [`Pto`] per route holds the backoff. During the handshake the alarm looks at the Initial, Handshake and
//! application flights together; afterwards each route looks at its own. Nothing is armed anywhere: [`Pto::alarm`]
//! computes the next alarm from the facts, so that it is right whatever happened since.
//!
//! Not here: what a probe carries ([`Flight::repeat_oldest`]) and how many go (one or two, RFC 9002 6.2.4).

use crate::ids::SpaceId;
use crate::recovery::flight::Flight;
use crate::recovery::rtt::Rtt;
use crate::table::halves::Halves;
use crate::time::{Instant, Span};

/// Doublings of the probe timeout are counted up to here; the idle timeout ends a connection long before.
const MAX_BACKOFF: u8 = 24;

/// What is to be done when the alarm goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Look for lost packets of this space.
    Loss(SpaceId),
    /// Send ack-eliciting probes in this space.
    Probe(SpaceId),
}

/// What the alarm depends on besides flights and RTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The handshake is confirmed (RFC 9001 4.1.2).
    pub confirmed: bool,
    /// Nothing can be sent: the anti-amplification limit lets nothing out, the route is down or has no connection ID.
    pub blocked: bool,
    /// The peer is known to have validated our address: always so on a server, and on a client once a Handshake packet
    /// was acknowledged or the handshake is confirmed.
    pub validated_by_peer: bool,
    /// Handshake packets can be sent.
    pub has_handshake_keys: bool,
    /// The peer's.
    pub max_ack_delay: Span,
}

/// The backoff of the probe timeout of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pto {
    restarted: Halves,
    backoff: u8,
}

impl Pto {
    /// No backoff; the timer runs from `now`.
    pub const fn new(now: Instant) -> Self {
        Self { backoff: 0, restarted: Halves::new(now.as_micros()) }
    }

    /// Since when the timer runs: the last progress, or the last timeout.
    pub const fn restarted(&self) -> Instant {
        Instant::from_micros(self.restarted.get())
    }

    /// When something was newly acknowledged, unless timeouts have passed since: then it is not known any more, and counts as never.
    pub const fn progress(&self) -> Instant {
        if self.backoff == 0 { self.restarted() } else { Instant::ZERO }
    }

    /// How many probe timeouts have passed in a row.
    pub const fn count(&self) -> u8 {
        self.backoff
    }

    /// The current probe timeout. `max_ack_delay` is zero for Initial and Handshake (RFC 9002 6.2.1).
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn period(&self, rtt: &Rtt, max_ack_delay: Span) -> Span {
        let doubled = 1_u64.checked_shl(self.backoff.into()).unwrap_or(u64::MAX);
        let once = rtt.pto_base().as_micros().saturating_add(max_ack_delay.as_micros());
        Span::from_micros(once.saturating_mul(doubled))
    }

    /// When the alarm is next and what it will be for. It may lie in the past: then it is due.
    pub fn alarm(
        &self,
        rtt: &Rtt,
        flights: &[(SpaceId, &Flight)],
        situation: &Situation,
    ) -> Option<(Instant, Alarm)> {
        let loss = flights
            .iter()
            .filter_map(|(space, flight)| Some((flight.loss_time().instant()?, Alarm::Loss(*space))))
            .min_by_key(|(at, _)| *at);
        if loss.is_some() || situation.blocked {
            return loss;
        }
        let probe = flights
            .iter()
            .filter_map(|(space, flight)| {
                let max_ack_delay = match space {
                    SpaceId::Initial | SpaceId::Handshake => Span::ZERO,
                    SpaceId::App(_) if situation.confirmed => situation.max_ack_delay,
                    SpaceId::App(_) => return None,
                };
                let from = flight.last_ack_eliciting()?.max(self.restarted());
                Some((from.after(self.period(rtt, max_ack_delay)), Alarm::Probe(*space)))
            })
            .min_by_key(|(at, _)| *at);
        probe.or_else(|| self.anti_deadlock(rtt, situation))
    }

    /// A client goes on probing with nothing in flight until the server can send what it owes (RFC 9002 6.2.2.1).
    fn anti_deadlock(&self, rtt: &Rtt, situation: &Situation) -> Option<(Instant, Alarm)> {
        if situation.validated_by_peer {
            return None;
        }
        let space = if situation.has_handshake_keys { SpaceId::Handshake } else { SpaceId::Initial };
        Some((self.restarted().after(self.period(rtt, Span::ZERO)), Alarm::Probe(space)))
    }

    /// An alarm for a probe went off.
    pub fn on_timeout(&mut self, now: Instant) {
        self.backoff = self.backoff.saturating_add(1).min(MAX_BACKOFF);
        self.restarted = Halves::new(now.as_micros());
    }

    /// An ACK newly acknowledged something. The backoff stays while a client is not sure that the server has
    /// validated its address (RFC 9002 6.2.1).
    pub fn on_acked(&mut self, now: Instant, validated_by_peer: bool) {
        if validated_by_peer {
            self.backoff = 0;
        }
        self.restarted = Halves::new(now.as_micros());
    }

    /// Initial or Handshake keys were discarded, which is progress (RFC 9002 6.2.2).
    pub fn on_keys_discarded(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PathId;
    use crate::recovery::acked::AckedRanges;
    use crate::recovery::flight::Packet;
    use crate::recovery::sent::{Draft, SentPacket, SentTable};
    use crate::wire::frame::Kinds;

    const APP: SpaceId = SpaceId::App(PathId::ZERO);
    const SETTLED: Situation = Situation {
        confirmed: true,
        blocked: false,
        validated_by_peer: true,
        has_handshake_keys: true,
        max_ack_delay: Span::from_millis(25),
    };

    const fn ms(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// Smoothed 100 ms, variation 50 ms: a probe timeout of 300 ms before the ACK delay.
    fn rtt() -> Rtt {
        let mut rtt = Rtt::default();
        rtt.on_sample(ms(0), Span::from_millis(100), Span::ZERO, None);
        rtt
    }

    fn sent_at(times: &[u64]) -> (Flight, [SentPacket; 8]) {
        let (mut flight, mut rows, mut table) = (Flight::new(), [SentPacket::EMPTY; 8], SentTable::new());
        for (pn, at) in (0..).zip(times) {
            let packet = Packet {
                pn,
                size: 1200,
                kinds: Kinds::NONE,
                ack_eliciting: true,
                mtu_probe: false,
                ect0: false,
            };
            flight.on_sent(&mut rows, &mut table, ms(*at), Draft::new(), &packet).unwrap();
        }
        (flight, rows)
    }

    #[test]
    fn a_timeout_is_no_progress() {
        let mut pto = Pto::new(ms(5));
        assert_eq!(pto.progress(), ms(5));
        pto.on_timeout(ms(50));
        assert_eq!((pto.progress(), pto.restarted()), (Instant::ZERO, ms(50)));
        pto.on_acked(ms(60), true);
        assert_eq!(pto.progress(), ms(60));
    }

    #[test]
    fn max_ack_delay_counts_for_application_data_only() {
        let (pto, flight) = (Pto::new(ms(0)), sent_at(&[10, 20]).0);
        assert_eq!(pto.alarm(&rtt(), &[(APP, &flight)], &SETTLED), Some((ms(345), Alarm::Probe(APP))));
        let handshake = SpaceId::Handshake;
        let alarm = pto.alarm(&rtt(), &[(handshake, &flight), (APP, &flight)], &SETTLED);
        assert_eq!(alarm, Some((ms(320), Alarm::Probe(handshake))));
        assert_eq!(pto.alarm(&rtt(), &[(APP, &Flight::new())], &SETTLED), None);
    }

    #[test]
    fn of_several_spaces_the_earlier_timeout_counts() {
        let (pto, early, late) = (Pto::new(ms(0)), sent_at(&[10]).0, sent_at(&[20]).0);
        let (initial, handshake) = (SpaceId::Initial, SpaceId::Handshake);
        let first = |flights: &[(SpaceId, &Flight)]| pto.alarm(&rtt(), flights, &SETTLED);
        let expected = |space| Some((ms(310), Alarm::Probe(space)));
        assert_eq!(first(&[(initial, &early), (handshake, &late)]), expected(initial));
        assert_eq!(first(&[(initial, &late), (handshake, &early)]), expected(handshake));
    }

    #[test]
    fn application_data_waits_for_confirmation() {
        let (pto, flight) = (Pto::new(ms(0)), sent_at(&[10]).0);
        let early = Situation { confirmed: false, ..SETTLED };
        assert_eq!(pto.alarm(&rtt(), &[(APP, &flight)], &early), None);
        // But a client whose 0-RTT is all that is in flight keeps the server going.
        let client = Situation { validated_by_peer: false, has_handshake_keys: false, ..early };
        let alarm = pto.alarm(&rtt(), &[(APP, &flight)], &client);
        assert_eq!(alarm, Some((ms(300), Alarm::Probe(SpaceId::Initial))));
    }

    #[test]
    fn backoff_doubles_for_every_space_and_ends_with_an_ack() {
        let flight = sent_at(&[0]).0;
        let mut pto = Pto::new(ms(0));
        for (now, next) in [(300, 900), (900, 2100), (2100, 4500)] {
            pto.on_timeout(ms(now));
            let alarm = pto.alarm(&rtt(), &[(SpaceId::Handshake, &flight)], &SETTLED);
            assert_eq!(alarm, Some((ms(next), Alarm::Probe(SpaceId::Handshake))));
        }
        pto.on_acked(ms(2200), false);
        assert_eq!(pto.count(), 3);
        pto.on_acked(ms(2200), true);
        assert_eq!(pto.count(), 0);
        assert_eq!(pto.period(&rtt(), Span::ZERO), Span::from_millis(300));
        for _ in 0..300 {
            pto.on_timeout(ms(1));
        }
        assert!(pto.period(&rtt(), Span::ZERO) > Span::from_secs(1_000_000));
    }

    #[test]
    fn client_probes_with_nothing_in_flight_until_the_server_is_free_to_send() {
        let mut pto = Pto::new(ms(50));
        let idle = Flight::new();
        let flights = [(SpaceId::Initial, &idle), (SpaceId::Handshake, &idle)];
        let unsure = Situation { validated_by_peer: false, confirmed: false, ..SETTLED };
        let alarm = |pto: &Pto, situation| pto.alarm(&rtt(), &flights, situation);
        assert_eq!(alarm(&pto, &unsure), Some((ms(350), Alarm::Probe(SpaceId::Handshake))));
        pto.on_timeout(ms(350));
        let no_keys = Situation { has_handshake_keys: false, ..unsure };
        assert_eq!(alarm(&pto, &no_keys), Some((ms(950), Alarm::Probe(SpaceId::Initial))));
        assert_eq!(alarm(&pto, &SETTLED), None);
    }

    #[test]
    fn nothing_is_probed_at_the_amplification_limit() {
        let (pto, flight) = (Pto::new(ms(0)), sent_at(&[10]).0);
        let blocked = Situation { blocked: true, ..SETTLED };
        assert_eq!(pto.alarm(&rtt(), &[(SpaceId::Initial, &flight)], &blocked), None);
    }

    #[test]
    fn the_timer_begins_anew_with_what_is_sent_or_acked_or_discarded() {
        let timeout = |pto: Pto, sent: &[u64]| {
            let alarm = pto.alarm(&rtt(), &[(SpaceId::Handshake, &sent_at(sent).0)], &SETTLED);
            alarm.unwrap().0
        };
        let mut pto = Pto::new(ms(0));
        assert_eq!((timeout(pto, &[10]), timeout(pto, &[10, 40])), (ms(310), ms(340)));
        pto.on_acked(ms(50), true);
        assert_eq!(timeout(pto, &[10, 40]), ms(350));
        pto.on_timeout(ms(350));
        pto.on_keys_discarded(ms(360));
        assert_eq!(timeout(pto, &[10, 40]), ms(660), "and without backoff");
    }

    #[test]
    fn time_threshold_loss_comes_before_any_probe() {
        let (mut late, mut rows) = sent_at(&[0, 80]);
        late.on_ack(&mut rows, ms(90), &AckedRanges::of(core::iter::once(1..=1)));
        late.detect_lost(&mut rows, ms(90), &rtt(), Span::ZERO);
        let early = sent_at(&[0]).0;
        let flights = [(SpaceId::Initial, &early), (APP, &late)];
        let loss = Some((Instant::from_micros(112_500), Alarm::Loss(APP)));
        assert_eq!(Pto::new(ms(0)).alarm(&rtt(), &flights, &SETTLED), loss);
        // Even where nothing may be sent: declaring loss sends nothing.
        assert_eq!(Pto::new(ms(0)).alarm(&rtt(), &flights, &Situation { blocked: true, ..SETTLED }), loss);
    }
}
