//! Whether the peer can be reached over a route, and its own question answered (RFC 9000 8.2).
//!
//! ```text
//!                     .--- answer to a short datagram: the address only; asks again in full size
//!                     v  |
//! Idle --start--> Running --answer to a full datagram--> Idle, validated
//!                     '--- 3 PTO ---> Idle, not validated
//! ```
//!
//! A route that is validated can be validated again, and stays so meanwhile. Challenges are asked again on a timer of
//! their own, not when their packet is lost, and any of the last few may be answered, on whatever route the answer comes
//! (RFC 9000 8.2.3). Nothing here chooses the route, pads the datagram (both frames want 1,200 bytes where the
//! amplification limit allows it: RFC 9000 8.2.1, 8.2.2), or decides what success or failure means for the connection.

use core::num::NonZeroU32;

use crate::limits::INITIAL_RTT;
use crate::time::{Deadline, Instant, Span};
use crate::wire::frame::{Frame, PathChallenge, PathResponse};
use crate::wire::{NoSpace, PacketWriter};

/// The PTO of a route without RTT samples (RFC 9002 6.2.2): nothing is known of a new route.
const INITIAL_PTO: Span = INITIAL_RTT.saturating_mul(3);
/// A validation is given up after so many PTOs (RFC 9000 8.2.4).
const PTOS: u32 = 3;
const MICROS_PER_SECOND: u64 = 1_000_000;
/// Challenges that can still be answered. With doubled waits, an older one was asked long ago.
const REMEMBERED: usize = 3;
/// Answers that can wait at once, on all routes together. A peer asks again no sooner than after a PTO, and answers leave
/// with the next packet.
const OWED: usize = 4;

/// Challenges to the peer over one route.
#[derive(Clone, Copy, Debug)]
pub struct Validation {
    state: State,
    asked: [Option<Challenge>; REMEMBERED],
    /// When it was, in seconds, plus one.
    validated: Option<NonZeroU32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Running {
        until: Instant,
        /// When to ask again; not set while a challenge waits to be sent.
        ask_at: Deadline,
        /// The wait after the next challenge, in microseconds.
        wait: u32,
        /// What was already proved.
        proved: Proved,
    },
}

/// What a response proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proved {
    /// Nothing new.
    Nothing,
    /// The peer is at that address: the amplification limit falls. Whether 1,200 bytes get there is asked next.
    Address,
    /// The route can be used.
    Route,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Challenge {
    data: [u8; 8],
    /// Whether it went in a datagram of at least 1,200 bytes.
    full: bool,
}

impl Default for Validation {
    fn default() -> Self {
        Self::new()
    }
}

impl Validation {
    /// A route that is not validated.
    pub const fn new() -> Self {
        Self { state: State::Idle, asked: [None; REMEMBERED], validated: None }
    }

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self =
        Self { asked: [Some(Challenge { data: [0; 8], full: false }); REMEMBERED], ..Self::new() };

    /// The handshake has proved what a challenge would (RFC 9000 8.1).
    pub fn on_handshake(&mut self, now: Instant) {
        self.validated = Some(stamp(now));
    }

    /// Begins to validate, also anew. `pto` is the one in use now, of whatever route.
    pub fn start(&mut self, now: Instant, pto: Span) {
        self.asked = [None; REMEMBERED];
        self.run(now, pto, Proved::Nothing);
    }

    /// Ends a run without an outcome.
    pub const fn stop(&mut self) {
        self.state = State::Idle;
    }

    /// Whether it runs.
    pub const fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether a challenge should be sent.
    pub const fn wants_challenge(&self) -> bool {
        matches!(self.state, State::Running { ask_at, .. } if !ask_at.is_set())
    }

    /// Writes a challenge of `random` bytes, which nobody may be able to predict. `full` says whether the datagram
    /// will have at least 1,200 bytes.
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit; it is still wanted then.
    pub fn write(
        &mut self,
        now: Instant,
        random: [u8; 8],
        full: bool,
        out: &mut PacketWriter<'_>,
    ) -> Result<(), NoSpace> {
        let State::Running { ask_at, wait, .. } = &mut self.state else { return Ok(()) };
        out.push(&Frame::PathChallenge(PathChallenge { data: random }))?;
        *ask_at = Deadline::at(now.after(Span::from_micros((*wait).into())));
        *wait = wait.saturating_mul(2);
        let [newest, second, _] = self.asked;
        self.asked = [Some(Challenge { data: random, full }), newest, second];
        Ok(())
    }

    /// How long the answer to the newest challenge took, if these are its data: a sample of the route's RTT, as the peer
    /// answers by the same route.
    pub fn sample(&self, now: Instant, data: [u8; 8]) -> Option<Span> {
        let State::Running { ask_at, wait, .. } = self.state else { return None };
        let newest = self.asked.first()?.filter(|asked| asked.data == data);
        // The wait was doubled when the challenge was sent.
        let waited = Span::from_micros(u64::from(wait / 2)).checked_sub(ask_at.instant()?.since(now));
        newest.and(waited)
    }

    /// A PATH_RESPONSE came. One that answers none of our challenges is ignored: it may answer one long forgotten.
    pub fn on_response(&mut self, now: Instant, data: [u8; 8]) -> Proved {
        let State::Running { wait, proved, .. } = self.state else { return Proved::Nothing };
        let Some(answered) = self.asked.iter().flatten().find(|asked| asked.data == data) else {
            return Proved::Nothing;
        };
        if answered.full {
            *self = Self { validated: Some(stamp(now)), ..Self::new() };
            Proved::Route
        } else if proved == Proved::Nothing {
            self.run(now, Span::from_micros(wait.into()), Proved::Address);
            Proved::Address
        } else {
            Proved::Nothing
        }
    }

    /// Whether the route can be used: it was validated, and no later attempt has failed.
    pub const fn is_validated(&self) -> bool {
        self.validated.is_some()
    }

    /// When it was validated last, to the second, if it is.
    pub fn validated_at(&self) -> Option<Instant> {
        let seconds = u64::from(self.validated?.get()).saturating_sub(1);
        Some(Instant::from_micros(seconds.saturating_mul(MICROS_PER_SECOND)))
    }

    /// When to call [`Self::on_timeout`].
    pub fn next_timeout(&self) -> Deadline {
        match self.state {
            State::Running { until, ask_at, .. } => ask_at.min(Deadline::at(until)),
            State::Idle => Deadline::NEVER,
        }
    }

    /// Asks again, or gives up. Returns whether the validation has failed now.
    pub fn on_timeout(&mut self, now: Instant) -> bool {
        let State::Running { until, ask_at, .. } = &mut self.state else { return false };
        if *until <= now {
            *self = Self::new();
            return true;
        }
        if ask_at.is_due(now) {
            *ask_at = Deadline::NEVER;
        }
        false
    }

    /// Asks at once, then after one PTO and doubled waits, as often as an Initial is repeated where the RTT is known
    /// (RFC 9000 8.2.1), and gives up when a new path would have had its three PTOs.
    fn run(&mut self, now: Instant, pto: Span, proved: Proved) {
        self.state = State::Running {
            until: now.after(pto.max(INITIAL_PTO).saturating_mul(PTOS)),
            ask_at: Deadline::NEVER,
            wait: pto.short_micros(),
            proved,
        };
    }
}

/// A time to the second; later ones than those of a lifetime are taken for its end.
fn stamp(now: Instant) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(u32::try_from(now.as_micros() / MICROS_PER_SECOND).unwrap_or(u32::MAX))
}

/// Answers owed to challenges, each to leave by the route that its challenge came on (RFC 9000 8.2.2). Sent once, never
/// again.
///
/// Of more challenges than can be kept the newest are answered: a peer that asks faster than we may send has moved on.
#[derive(Clone, Copy, Debug)]
pub struct Responses {
    /// The oldest first, with nothing between them.
    owed: [Option<Answer>; OWED],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Answer {
    route: u8,
    data: [u8; 8],
}

impl Responses {
    /// None owed.
    pub const NONE: Self = Self { owed: [None; OWED] };

    /// A PATH_CHALLENGE came on `route`. Returns whether another one will not be answered for want of room.
    pub fn on_challenge(&mut self, route: u8, data: [u8; 8]) -> bool {
        let is_full = self.owed.iter().all(Option::is_some);
        if is_full {
            self.remove(0);
        }
        if let Some(place) = self.owed.iter_mut().find(|place| place.is_none()) {
            *place = Some(Answer { route, data });
        }
        is_full
    }

    /// Whether an answer is to leave by `route`.
    pub fn has_wanted(&self, route: u8) -> bool {
        // Every packet asks, hardly ever for something.
        matches!(self.owed, [Some(_), ..]) && self.oldest(route).is_some()
    }

    /// Writes the oldest answer of `route`.
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit; it is still owed then.
    pub fn write(&mut self, route: u8, out: &mut PacketWriter<'_>) -> Result<(), NoSpace> {
        let Some(at) = self.oldest(route) else { return Ok(()) };
        if let Some(Some(answer)) = self.owed.get(at) {
            out.push(&Frame::PathResponse(PathResponse { data: answer.data }))?;
        }
        self.remove(at);
        Ok(())
    }

    /// The place of the oldest answer of `route`.
    #[cfg_attr(target_os = "none", inline(never))]
    fn oldest(&self, route: u8) -> Option<usize> {
        self.owed.iter().position(|place| place.is_some_and(|answer| answer.route == route))
    }

    /// Those behind this one move up.
    #[cfg_attr(target_os = "none", inline(never))]
    fn remove(&mut self, at: usize) {
        let mut behind = None;
        for place in self.owed.iter_mut().skip(at).rev() {
            behind = core::mem::replace(place, behind);
        }
    }

    /// A route is gone, and what was owed on it.
    pub fn forget(&mut self, route: u8) {
        while let Some(at) = self.oldest(route) {
            self.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const T0: Instant = Instant::ZERO;
    const PTO: Span = Span::from_millis(100);

    fn ask(validation: &mut Validation, now: Instant, number: u8, full: bool) {
        let mut buffer = [0; 9];
        let mut out = PacketWriter::new(&mut buffer);
        validation.write(now, [number; 8], full, &mut out).unwrap();
        assert!(out.is_probing() && out.len() == 9);
    }

    fn started() -> Validation {
        let mut validation = Validation::new();
        assert!(!validation.wants_challenge());
        validation.start(T0, PTO);
        validation
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Validation>() <= 56, "{}", size_of::<Validation>());
        assert!(size_of::<Responses>() <= 40);
    }

    #[test]
    fn the_answer_validates_and_nothing_else_does() {
        let mut validation = started();
        assert_eq!(validation.on_response(T0, [0; 8]), Proved::Nothing, "nothing was asked");
        ask(&mut validation, T0, 1, true);
        assert!(!validation.wants_challenge());
        assert_eq!(validation.on_response(T0, [2; 8]), Proved::Nothing);
        assert_eq!(validation.on_response(T0, [1; 8]), Proved::Route);
        assert!(validation.is_validated());
        assert_eq!(validation.on_response(T0, [1; 8]), Proved::Nothing);
        assert_eq!(validation.next_timeout(), Deadline::NEVER);
    }

    #[test]
    fn the_answer_to_the_newest_challenge_tells_the_rtt() {
        let mut validation = started();
        let ms = |millis| T0.after(Span::from_millis(millis));
        ask(&mut validation, T0, 1, true);
        assert_eq!(validation.sample(ms(80), [1; 8]), Some(Span::from_millis(80)));
        assert!(!validation.on_timeout(ms(100)));
        assert_eq!(validation.sample(ms(130), [1; 8]), None, "a new one is to be sent");
        ask(&mut validation, ms(130), 2, true);
        assert_eq!(validation.sample(ms(150), [1; 8]), None, "that may have been answered long ago");
        assert_eq!(validation.sample(ms(210), [2; 8]), Some(Span::from_millis(80)));
    }

    #[test]
    fn asks_again_with_growing_waits_and_gives_up_after_three_ptos() {
        let mut validation = started();
        let mut asked_at = vec![];
        let failed_at = loop {
            let now = validation.next_timeout().instant().filter(|_| !validation.wants_challenge());
            let now = now.unwrap_or(asked_at.last().copied().unwrap_or(T0));
            if validation.on_timeout(now) {
                break now;
            }
            asked_at.push(now);
            ask(&mut validation, now, asked_at.len() as u8, true);
        };
        let millis: Vec<_> = asked_at.iter().map(|at| at.as_micros() / 1000).collect();
        assert_eq!((millis, failed_at.as_micros()), (vec![0, 100, 300, 700, 1500], 2_997_000));
        assert_eq!(validation.on_response(failed_at, [1; 8]), Proved::Nothing);
        assert!(!validation.is_validated() && !validation.on_timeout(failed_at));
    }

    #[test]
    fn a_slow_connection_is_given_its_time() {
        let mut validation = Validation::new();
        validation.start(T0, Span::from_secs(2));
        assert!(!validation.on_timeout(T0.after(Span::from_millis(5_999))));
        assert!(validation.on_timeout(T0.after(Span::from_secs(6))));
    }

    #[test]
    fn an_earlier_challenge_may_be_answered() {
        let mut validation = started();
        ask(&mut validation, T0, 1, true);
        ask(&mut validation, T0, 2, true);
        assert_eq!(validation.on_response(T0, [1; 8]), Proved::Route);
        let mut validation = started();
        (1..=4).for_each(|number| ask(&mut validation, T0, number, true));
        assert_eq!(validation.on_response(T0, [1; 8]), Proved::Nothing, "too long ago");
        assert_eq!(validation.on_response(T0, [2; 8]), Proved::Route);
    }

    #[test]
    fn a_short_datagram_proves_the_address_only() {
        let mut validation = started();
        ask(&mut validation, T0, 1, false);
        assert_eq!(validation.on_response(T0, [1; 8]), Proved::Address);
        assert!(validation.wants_challenge() && !validation.is_validated());
        assert_eq!(validation.on_response(T0, [1; 8]), Proved::Nothing, "once");
        ask(&mut validation, T0, 2, true);
        assert_eq!(validation.on_response(T0, [2; 8]), Proved::Route);
    }

    #[test]
    fn answers_in_order_and_each_once_on_the_route_of_the_question() {
        let mut responses = Responses::NONE;
        let dropped = (1..=6).filter(|number| responses.on_challenge(number % 2, [*number; 8])).count();
        assert_eq!(dropped, 2);
        let mut buffer = [0; 20];
        let mut out = PacketWriter::new(&mut buffer);
        assert!(responses.write(1, &mut out).is_ok() && responses.write(1, &mut out).is_ok());
        assert!(!responses.has_wanted(1) && responses.has_wanted(0));
        assert_eq!(responses.write(0, &mut out), Err(NoSpace));
        assert!(responses.has_wanted(0));
        responses.forget(0);
        assert!(!responses.has_wanted(0));
        assert_eq!((buffer[0], buffer[1], buffer[9], buffer[10]), (0x1b, 3, 0x1b, 5));
    }

    #[test]
    fn the_time_of_validation_is_known_to_the_second() {
        for (micros, second) in [(0, 0), (999_999, 0), (86_400_000_000, 86_400), (u64::MAX, u32::MAX.into())]
        {
            let mut validation = Validation::new();
            assert_eq!(validation.validated_at(), None);
            validation.on_handshake(Instant::from_micros(micros));
            let at = validation.validated_at().unwrap().as_micros() / 1_000_000;
            assert!(at == second || at == second - 1 && second > 86_400, "{at} {second}");
        }
    }

    #[test]
    fn a_validated_route_stays_so_until_another_attempt_fails() {
        let mut validation = Validation::new();
        validation.on_handshake(Instant::ZERO);
        validation.start(T0, PTO);
        assert!(validation.is_validated() && validation.is_running());
        ask(&mut validation, T0, 1, true);
        assert_eq!(validation.on_response(T0, [1; 8]), Proved::Route);
        validation.start(T0, PTO);
        assert_eq!(validation.on_response(T0, [1; 8]), Proved::Nothing, "an answer to the run before");
        assert!(validation.on_timeout(Instant::from_micros(u64::MAX)) && !validation.is_validated());
    }
}
