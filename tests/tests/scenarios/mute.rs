//! A peer that is heard again and again and acknowledges nothing, by malice or because something on the way swallows what goes to
//! it: what is sent to it becomes rarer, no timer runs in circles, and the connection ends once the peer falls silent.

use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::ids::Dir;
use peregrine_core::lifecycle::Cause;
use peregrine_core::session::Level;
use peregrine_core::time::Instant;
use peregrine_core::wire::frame::{Frame, Kind, PathChallenge, Ping};
use peregrine_tests::pair::{open, write_pattern};
use peregrine_tests::puppet::{Bout, Heard, ack};
use peregrine_tests::quic::Setup;
use peregrine_tests::sim::Node as _;

const IDLE: Duration = Duration::from_secs(30);
/// How long the peer is heard.
const TALK: Duration = Duration::from_secs(600);

/// How soon a client asks a peer that falls silent: after two probe timeouts, of an RTT that it could never measure.
const QUESTION: Duration = Duration::from_secs(2);

/// How the peer is heard.
#[derive(Clone, Copy, Debug)]
enum Says {
    Ping,
    /// What it has acknowledged long ago.
    OldAck,
}

/// A connection to such a peer, and when probe timeouts of it expired.
struct Mute {
    bout: Bout,
    says: Says,
    /// The number of the last packet that it has acknowledged.
    old: u64,
    expired: Vec<Instant>,
}

impl Mute {
    /// One that owes acknowledgments for a stream.
    fn new(is_client: bool, says: Says) -> Self {
        let mut setup = if is_client { Setup::client(1) } else { Setup::server(1) };
        let config = &mut setup.endpoint.connection;
        config.max_idle_timeout = IDLE;
        (config.peer_bidi_streams, config.peer_uni_streams) = (1, 1);
        let mut bout = if is_client { Bout::against_client(setup) } else { Bout::against_server(setup) };
        for _ in 0..2 {
            bout.wait_ms(100);
            bout.ack();
        }
        let old = bout.puppet.largest(Level::OneRtt).unwrap();
        bout.act(|connection, _| {
            let id = open(connection, Dir::Uni);
            write_pattern(connection, id, &mut 0, 3_000);
        });
        let expired = vec![bout.now];
        Self { bout, says, old, expired }
    }

    /// Lets time pass, but ends with the connection.
    fn wait(&mut self, time: Duration) {
        let end = self.bout.now.after(time);
        let mut timers = 0..100;
        while self.cause().is_none() && self.bout.node.next_timeout().is_due(end) {
            assert!(timers.next().is_some(), "a timer runs in circles at {:?}", self.bout.now);
            let before = self.bout.connection().stats().probe_timeouts;
            self.bout.now = self.bout.now.max(self.bout.node.next_timeout().instant().unwrap());
            self.bout.node.handle_timeout(self.bout.now);
            self.bout.drain();
            if self.cause().is_none() && self.bout.connection().stats().probe_timeouts > before {
                self.expired.push(self.bout.now);
            }
        }
        if self.cause().is_none() {
            self.bout.now = end;
        }
        self.bout.hear();
    }

    /// Is heard again and again, for so long; returns how often.
    fn talk(&mut self, time: Duration, every: Duration) -> usize {
        let end = self.bout.now.after(time);
        let mut signs = 0;
        while self.bout.now < end {
            self.wait(every);
            self.speak();
            signs += 1;
        }
        assert_eq!(self.cause(), None, "who is heard is there");
        signs
    }

    fn speak(&mut self) {
        match self.says {
            Says::Ping => self.bout.say(&[Frame::Ping(Ping)]),
            Says::OldAck => self.bout.send(Level::OneRtt, &ack(&[self.old..=self.old])),
        }
    }

    /// How many packets came that ask for an acknowledgment.
    fn asked(&self) -> usize {
        let asks = |packet: &&Heard| {
            let is_new = packet.level == Level::OneRtt && packet.pn > self.old;
            is_new && packet.frames().any(|frame| !matches!(frame.kind(), Kind::Ack | Kind::Padding))
        };
        self.bout.puppet.heard.iter().filter(asks).count()
    }

    fn gaps(&self) -> Vec<u64> {
        self.expired.windows(2).map(|two| two[1].since(two[0]).as_millis()).collect()
    }

    fn cause(&self) -> Option<Cause> {
        self.bout.node.find(|event| if let Event::Closed(cause) = event { Some(*cause) } else { None })
    }
}

/// RFC 9002 6.2.1, and RFC 9000 10.1 at the end.
#[test]
fn who_acknowledges_nothing_is_probed_ever_more_rarely_and_outlived() {
    for is_client in [true, false] {
        for (every_ms, says) in [(50, Says::Ping), (50, Says::OldAck), (150, Says::OldAck)] {
            let mut mute = Mute::new(is_client, says);
            mute.talk(TALK, Duration::from_millis(every_ms));
            let (gaps, asked) = (mute.gaps(), mute.asked());
            assert!((5..20).contains(&gaps.len()), "{gaps:?}");
            assert!(gaps.windows(2).all(|two| two[1] >= 2 * two[0]), "{gaps:?}");
            assert!(asked <= 2 * gaps.len() + 5, "{asked} after {} timeouts", gaps.len());

            let silent = mute.bout.now;
            while mute.cause().is_none() {
                mute.wait(Duration::from_secs(1));
            }
            assert_eq!(mute.cause(), Some(Cause::Idle));
            let after = |when: Instant| Duration::from(when.since(silent));
            // The first probe into the silence, or the question of a client, defers the end, and no other does; nor does what the backoff
            // has grown to.
            let first = mute.expired.get(gaps.len() + 1).map_or(QUESTION, |at| after(*at));
            let (took, latest) = (after(mute.bout.now), first + IDLE);
            assert!((IDLE..=latest + Duration::from_secs(1)).contains(&took), "{took:?} {latest:?}");
        }
    }
}

/// Who is heard after a silence is probed at once, since it may have been out of reach; but that backs off too.
#[test]
fn signs_of_life_after_silences_are_answered_ever_more_rarely() {
    for (is_client, says) in
        [(true, Says::Ping), (true, Says::OldAck), (false, Says::Ping), (false, Says::OldAck)]
    {
        for every in [1, 3, 10, 20, 29].map(Duration::from_secs) {
            let mut mute = Mute::new(is_client, says);
            mute.talk(TALK, every);
            // Two for each doubling between the shortest timeout and the whole time, and what was sent first; a client asks in the first
            // silence, whenever that is a sixteenth longer.
            let most = if is_client { 26 + 25 } else { 26 };
            assert!(mute.asked() <= most, "{} for {every:?} {says:?}", mute.asked());
        }
    }
}

/// What answers a challenge needs no row of the table of sent packets: a peer that has moved to where it can be heard again, and wants
/// that proved, would wait for ever.
#[test]
fn a_full_table_of_sent_packets_keeps_no_challenge_waiting() {
    let mut setup = Setup::client(1);
    setup.sizes.sent = 8;
    let mut bout = Bout::against_client(setup);
    for _ in 0..2 {
        bout.wait_ms(100);
        bout.ack();
    }
    bout.act(|connection, _| {
        let id = open(connection, Dir::Bi);
        write_pattern(connection, id, &mut 0, 20_000);
    });
    bout.wait_ms(1_000);
    assert_eq!(bout.connection().usage().sent, 6, "two are kept for probes");
    bout.puppet.heard.clear();
    bout.say(&[Frame::PathChallenge(PathChallenge { data: [7; 8] })]);
    bout.hear();
    let answers = bout.puppet.heard.iter().flat_map(Heard::frames);
    assert_eq!(answers.filter(|frame| matches!(frame, Frame::PathResponse(_))).count(), 1);
}
