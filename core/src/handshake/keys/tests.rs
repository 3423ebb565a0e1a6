use super::*;

const T0: Instant = Instant::ZERO;
const PTO: Span = Span::from_millis(100);
const LATER: Instant = Instant::from_micros(300_000);

struct Rig {
    keys: KeyUpdate,
    path: PathPhase,
}

impl Rig {
    fn new() -> Self {
        let limits = AeadLimits { confidentiality: 1000, integrity: 3 };
        let mut keys = KeyUpdate::new(limits);
        keys.on_confirmed();
        Self { keys, path: PathPhase::NEW }
    }

    fn seal(&mut self, pn: u64) {
        self.keys.on_sealed(&mut self.path, pn).unwrap();
    }

    fn acked(&mut self, generation: u32, largest: u64) -> Result<(), Code> {
        let is_first = self.keys.on_acked(&self.path, key(generation), largest);
        if is_first.map_err(|error| error.code())? {
            self.keys.permit_update(T0, PTO);
        }
        Ok(())
    }

    /// A packet with that key phase and number, which `sealed` is the key of.
    fn receive(&mut self, sealed: u32, pn: u64) -> Result<Opened, Code> {
        let key = self.keys.generation_for(&self.path, phase_of(sealed), pn);
        if key.generation != sealed {
            return Err(Code::NO_ERROR);
        }
        self.keys.on_opened(&mut self.path, T0, PTO, key, pn).map_err(|error| error.code())
    }

    /// The peer initiates an update with packet `pn` and we answer.
    fn follow(&mut self, generation: u32, pn: u64) {
        assert_eq!(self.receive(generation, pn), Ok(Opened::Updated));
        self.seal(pn);
        self.keys.on_ack_sent();
    }
}

fn key(generation: u32) -> Key {
    Key { level: Level::OneRtt, generation }
}

#[test]
fn is_small() {
    assert!(size_of::<KeyUpdate>() <= 80);
    assert!(size_of::<PathPhase>() <= 20);
}

#[test]
fn an_update_needs_confirmation_and_an_acknowledgment() {
    let mut rig = Rig::new();
    rig.keys = KeyUpdate::new(rig.keys.limits);
    rig.keys.request();
    rig.seal(0);
    rig.acked(0, 0).unwrap();
    assert!(!rig.keys.wants_update(LATER), "not confirmed");
    rig.keys.on_confirmed();
    assert!(!rig.keys.wants_update(LATER), "not acknowledged since");
    rig.acked(0, 0).unwrap();
    assert!(rig.keys.wants_update(T0));
    rig.keys.initiate();
    assert_eq!((rig.keys.key(), rig.keys.phase()), (key(1), true));
    assert!(!rig.keys.wants_update(LATER), "the wish is fulfilled");
}

#[test]
fn the_next_update_waits_for_the_peer_and_three_ptos() {
    let mut rig = Rig::new();
    rig.seal(0);
    rig.acked(0, 0).unwrap();
    rig.keys.initiate();
    rig.keys.request();
    rig.seal(1);
    rig.acked(0, 0).unwrap();
    assert!(!rig.keys.wants_update(LATER), "an older packet was acknowledged");
    assert_eq!(rig.receive(1, 5), Ok(Opened::Same));
    rig.acked(1, 1).unwrap();
    assert!(!rig.keys.wants_update(LATER), "our answer to the answer is missing");
    rig.keys.on_ack_sent();
    assert!(!rig.keys.wants_update(Instant::from_micros(299_999)));
    assert!(rig.keys.wants_update(LATER));
}

#[test]
fn follows_the_peer_and_opens_stragglers_until_three_ptos_are_over() {
    let mut rig = Rig::new();
    rig.receive(0, 1).unwrap();
    assert_eq!(rig.receive(1, 10), Ok(Opened::Updated));
    assert!(rig.keys.phase());
    assert_eq!(rig.receive(0, 9), Ok(Opened::Same));
    assert_eq!(rig.receive(1, 11), Ok(Opened::Same));
    assert_eq!(rig.keys.next_timeout(), Deadline::at(LATER));
    assert!(!rig.keys.on_timeout(T0));
    assert!(rig.keys.on_timeout(LATER) && !rig.keys.on_timeout(LATER));
    assert_eq!(rig.keys.generation_for(&rig.path, false, 8), key(2), "old keys are gone");
}

#[test]
fn own_update_keeps_old_keys_until_the_peer_has_followed() {
    let mut rig = Rig::new();
    rig.receive(0, 4).unwrap();
    rig.keys.initiate();
    assert_eq!(rig.keys.next_timeout(), Deadline::NEVER);
    assert_eq!(rig.receive(0, 1_000_000), Ok(Opened::Same), "it has not heard of the update");
    assert_eq!(rig.receive(1, 1_000_001), Ok(Opened::Same));
    assert_eq!(rig.keys.next_timeout(), Deadline::at(LATER));
    assert_eq!(rig.keys.generation_for(&rig.path, false, 1_000_002), key(2));
}

#[test]
fn a_peer_may_update_again_once_it_was_answered() {
    let mut rig = Rig::new();
    rig.follow(1, 10);
    rig.follow(2, 20);
    rig.follow(3, 30);
    assert_eq!(rig.receive(2, 29), Ok(Opened::Same));
}

#[test]
fn two_updates_without_an_answer_are_an_error() {
    let mut rig = Rig::new();
    assert_eq!(rig.receive(1, 10), Ok(Opened::Updated));
    assert_eq!(rig.receive(2, 11), Err(Code::KEY_UPDATE_ERROR));
    let mut rig = Rig::new();
    rig.keys.initiate();
    rig.receive(1, 10).unwrap();
    assert_eq!(rig.receive(2, 11), Err(Code::KEY_UPDATE_ERROR));
}

#[test]
fn old_keys_after_new_ones_are_an_error() {
    let mut rig = Rig::new();
    rig.follow(1, 10);
    assert_eq!(rig.receive(0, 9), Ok(Opened::Same));
    assert_eq!(rig.receive(1, 8), Err(Code::KEY_UPDATE_ERROR), "9 was sealed with old keys");
    let mut rig = Rig::new();
    rig.receive(0, 12).unwrap();
    let update = rig.keys.on_opened(&mut rig.path, T0, PTO, key(1), 11);
    assert_eq!(update.unwrap_err().code(), Code::KEY_UPDATE_ERROR);
    let mut rig = Rig::new();
    rig.follow(1, 10);
    let old = rig.keys.on_opened(&mut rig.path, T0, PTO, key(0), 11);
    assert_eq!(old.unwrap_err().code(), Code::KEY_UPDATE_ERROR);
}

#[test]
fn new_keys_must_not_be_acknowledged_with_old_ones() {
    let mut rig = Rig::new();
    rig.keys.initiate();
    rig.seal(7);
    assert_eq!(rig.acked(0, 6), Ok(()));
    assert_eq!(rig.acked(0, 7), Err(Code::KEY_UPDATE_ERROR));
}

#[test]
fn a_silent_path_follows_later() {
    let mut rig = Rig::new();
    let mut other = PathPhase::NEW;
    rig.follow(1, 10);
    let straggler = rig.keys.generation_for(&other, false, 99);
    assert_eq!(straggler, key(0));
    assert_eq!(rig.keys.on_opened(&mut other, T0, PTO, straggler, 99), Ok(Opened::Same));
    assert_eq!(rig.keys.on_opened(&mut other, T0, PTO, key(1), 100), Ok(Opened::Same));
    rig.keys.on_timeout(LATER);
    assert_eq!(rig.keys.generation_for(&other, false, 101), key(2));
}

#[test]
fn updates_in_time_and_stops_before_the_limit() {
    let mut rig = Rig::new();
    for pn in 0..499 {
        rig.seal(pn);
    }
    rig.acked(0, 3).unwrap();
    assert!(!rig.keys.wants_update(T0));
    rig.seal(499);
    assert!(rig.keys.wants_update(T0));
    rig.keys.initiate();
    for pn in 500..1435 {
        rig.seal(pn);
    }
    let used_up = rig.keys.on_sealed(&mut rig.path, 1435);
    assert_eq!(used_up.unwrap_err().code(), Code::AEAD_LIMIT_REACHED);
}

#[test]
fn too_many_forgeries_end_the_connection() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        assert_eq!(rig.keys.on_forged(), Ok(()));
    }
    assert_eq!(rig.keys.on_forged().unwrap_err().code(), Code::AEAD_LIMIT_REACHED);
}

#[test]
fn numbers_near_each_other_are_told_apart_across_the_halves() {
    let edge = 1 << 32;
    for (low, high) in [(0, 1), (5, 9), (edge - 3, edge - 2), (edge - 2, edge + 7), (edge + 1, edge + 2)] {
        assert!(Near::new(high).is_above(low) && !Near::new(high).is_below(low), "{low} {high}");
        assert!(Near::new(low).is_below(high) && !Near::new(low).is_above(high), "{low} {high}");
        assert!(!Near::new(low).is_above(low) && !Near::new(low).is_below(low), "{low}");
    }
}
