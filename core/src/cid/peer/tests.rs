use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

use super::*;
use crate::cid::tests::{Dice, cid, frames, packet, token};

const P0: PathRow = PathRow::FIRST;

struct Rig {
    cids: Vec<PeerCid>,
    retiring: Vec<Retirement>,
    peer: PeerCids,
}

impl Rig {
    /// The handshake is over, and route 0 sends to ID 0.
    fn new(limit: usize) -> Self {
        let mut cids = vec![PeerCid::FREE; limit];
        let mut retiring = vec![Retirement::FREE; 2 * limit];
        let mut rows = PeerCidRows { cids: &mut cids, retiring: &mut retiring };
        let peer = PeerCids::with_handshake_cid(&mut rows, limit as u8, cid(0), 0).unwrap();
        Self { cids, retiring, peer }
    }

    fn frame(&mut self, frame: &NewConnectionId) -> Result<Routes, TransportError> {
        let mut rows = PeerCidRows { cids: &mut self.cids, retiring: &mut self.retiring };
        self.peer.on_new_cid(&mut rows, frame)
    }

    fn offer(&mut self, seq: u64, retire_prior_to: u64) -> Result<Routes, Code> {
        let frame = NewConnectionId { seq, retire_prior_to, cid: cid(seq), reset_token: token(seq) };
        self.frame(&frame).map_err(|error| error.code())
    }

    fn take(&mut self, route: u8) -> Option<Cid> {
        self.peer.take(&mut self.cids, route).then(|| self.of(route)).flatten()
    }

    fn retire(&mut self, route: u8) -> Result<(), Full> {
        let mut rows = PeerCidRows { cids: &mut self.cids, retiring: &mut self.retiring };
        self.peer.retire(&mut rows, route)
    }

    fn leave(&mut self, route: u8) {
        let mut rows = PeerCidRows { cids: &mut self.cids, retiring: &mut self.retiring };
        self.peer.leave(&mut rows, route).unwrap();
    }

    fn answer(&mut self, route: u8, number: Option<u64>) -> bool {
        self.peer.answer(&mut self.cids, route, number.map(CidTag::of))
    }

    fn exchange(&mut self) {
        self.peer.exchange(&mut PeerCidRows { cids: &mut self.cids, retiring: &mut self.retiring });
    }

    fn follow(&mut self, route: u8, number: u64) -> bool {
        let mut rows = PeerCidRows { cids: &mut self.cids, retiring: &mut self.retiring };
        self.peer.follow(&mut rows, route, CidTag::of(number))
    }

    fn peer_retires(&mut self, number: u64) {
        let mut rows = PeerCidRows { cids: &mut self.cids, retiring: &mut self.retiring };
        self.peer.on_peer_retired(&mut rows, CidTag::of(number));
    }

    fn of(&self, route: u8) -> Option<Cid> {
        self.peer.of(&self.cids, route).map(|row| row.cid)
    }

    /// The numbers retired in one packet.
    fn written(&mut self, pn: u64, room: usize) -> Vec<u64> {
        let payload = packet(room, |out| self.peer.write(&mut self.retiring, None, P0, pn, out));
        let seqs = frames(&payload).into_iter().map(|frame| match frame {
            Frame::RetireConnectionId(retire) => retire.seq,
            other => panic!("{other:?}"),
        });
        seqs.collect()
    }
}

#[test]
fn rows_are_small() {
    assert!(size_of::<PeerCid>() <= 56);
    assert!(size_of::<Retirement>() <= 20);
    assert!(size_of::<PeerCids>() <= 32);
}

#[test]
fn a_route_takes_the_oldest_spare_and_retires_its_own() {
    let mut rig = Rig::new(3);
    assert_eq!(rig.take(1), None);
    rig.offer(2, 0).unwrap();
    rig.offer(1, 0).unwrap();
    assert_eq!(rig.peer.spares(&rig.cids), 2);
    assert_eq!((rig.take(1), rig.of(0), rig.of(1)), (Some(cid(1)), Some(cid(0)), Some(cid(1))));
    rig.retire(0).unwrap();
    assert_eq!((rig.of(0), rig.take(0)), (None, Some(cid(2))));
    assert_eq!(rig.written(5, 500), [0]);
}

#[test]
fn the_same_id_of_ours_is_answered_by_the_same_id_of_the_peer() {
    let mut rig = Rig::new(3);
    rig.offer(1, 0).unwrap();
    rig.peer.on_reached(&mut rig.cids, 0, CidTag::of(0));
    assert!(rig.answer(4, Some(0)));
    assert_eq!((rig.of(4), rig.peer.spares(&rig.cids)), (Some(cid(0)), 1));
    assert!(rig.answer(5, Some(7)));
    assert_eq!((rig.of(5), rig.peer.spares(&rig.cids)), (Some(cid(1)), 0));
    // Left by all routes, it is still there for the next.
    for route in [0, 4] {
        rig.leave(route);
    }
    assert!(!rig.peer.has_wanted());
    assert!(rig.answer(2, Some(0)));
    assert_eq!(rig.of(2), Some(cid(0)));
    // On the same route the peer goes over to another ID of ours: there is none to follow with, and then there is.
    assert!(!rig.follow(2, 1));
    assert_eq!(rig.of(2), Some(cid(0)));
    rig.offer(2, 0).unwrap();
    assert!(rig.follow(2, 1));
    assert_eq!((rig.of(2), rig.peer.spares(&rig.cids)), (Some(cid(2)), 0));
    assert!(rig.follow(2, 7));
    assert_eq!(rig.of(2), Some(cid(1)), "what answers it already");
}

#[test]
fn what_answered_an_id_is_retired_with_it_or_when_ids_are_scarce() {
    let mut rig = Rig::new(3);
    rig.offer(1, 0).unwrap();
    rig.peer.on_reached(&mut rig.cids, 0, CidTag::of(0));
    assert!(rig.answer(1, Some(1)));
    rig.peer_retires(0);
    assert!(!rig.peer.has_wanted(), "a route sends to it");
    rig.leave(0);
    assert_eq!(rig.written(0, 500), [0]);
    rig.leave(1);
    assert!(!rig.peer.has_wanted());
    assert!(!rig.answer(2, Some(2)) && !rig.peer.has_wanted());
    rig.exchange();
    assert_eq!((rig.of(2), rig.written(1, 500)), (None, vec![1]), "the peer will give another");
    let mut rig = Rig::new(3);
    rig.peer.on_reached(&mut rig.cids, 0, CidTag::of(0));
    rig.leave(0);
    rig.peer_retires(0);
    assert_eq!(rig.written(0, 500), [0]);
}

#[test]
fn lost_retirements_are_sent_again_and_acknowledged_ones_forgotten() {
    let mut rig = Rig::new(2);
    rig.offer(1, 1).unwrap();
    assert_eq!(rig.written(3, 500), [0]);
    assert!(rig.written(4, 500).is_empty());
    rig.peer.on_lost(&mut rig.retiring, P0, 4);
    if cfg!(feature = "multipath") {
        rig.peer.on_lost(&mut rig.retiring, PathRow::new(1), 3);
    }
    assert!(!rig.peer.has_wanted(), "another packet");
    rig.peer.on_lost(&mut rig.retiring, P0, 3);
    assert_eq!(rig.written(5, 500), [0]);
    rig.peer.on_acked(&mut rig.retiring, P0, 5);
    assert!(rig.retiring.iter().all(Retirement::is_free));
}

#[test]
fn the_same_frame_again_is_nothing_new_even_after_retirement() {
    let mut rig = Rig::new(2);
    rig.offer(1, 0).unwrap();
    rig.offer(1, 0).unwrap();
    assert_eq!(rig.peer.spares(&rig.cids), 1);
    rig.take(1).unwrap();
    rig.retire(1).unwrap();
    assert_eq!(rig.written(0, 500), [1]);
    rig.peer.on_acked(&mut rig.retiring, P0, 0);
    rig.offer(1, 0).unwrap();
    assert_eq!((rig.peer.spares(&rig.cids), rig.peer.has_wanted()), (0, false));
}

#[test]
fn contradictions_are_violations() {
    let other = cid(9);
    let same = cid(1);
    for (seq, id, reset_token) in
        [(1, other, token(1)), (2, same, token(1)), (1, same, token(2)), (0, other, token(0))]
    {
        let mut rig = Rig::new(3);
        rig.offer(1, 0).unwrap();
        let frame = NewConnectionId { seq, retire_prior_to: 0, cid: id, reset_token };
        assert_eq!(rig.frame(&frame).unwrap_err().code(), Code::PROTOCOL_VIOLATION, "{frame:?}");
    }
}

#[test]
fn more_ids_than_the_limit_end_the_connection() {
    let mut rig = Rig::new(3);
    rig.offer(1, 0).unwrap();
    rig.offer(2, 0).unwrap();
    assert_eq!(rig.offer(3, 0), Err(Code::CONNECTION_ID_LIMIT_ERROR));
    let mut rig = Rig::new(3);
    rig.offer(1, 0).unwrap();
    rig.offer(2, 0).unwrap();
    rig.offer(3, 1).unwrap();
}

#[test]
fn withdrawn_ids_are_left_at_once_even_if_they_come_late() {
    let mut rig = Rig::new(4);
    rig.offer(1, 0).unwrap();
    assert_eq!(rig.take(1), Some(cid(1)));
    let withdrawn = rig.offer(4, 4).unwrap();
    assert_eq!(withdrawn.iter().collect::<Vec<_>>(), [0, 1]);
    assert_eq!((rig.of(0), rig.take(0), rig.take(1)), (None, Some(cid(4)), None));
    assert_eq!(rig.written(0, 500), [0, 1]);
    assert_eq!(rig.offer(3, 3), Ok(Routes::NONE), "a smaller order has no effect");
    assert_eq!((rig.written(1, 500), rig.peer.spares(&rig.cids)), (vec![3], 0));
    rig.offer(3, 3).unwrap();
    assert!(!rig.peer.has_wanted());
}

#[test]
fn an_order_in_a_repeated_frame_counts() {
    let mut rig = Rig::new(2);
    rig.offer(1, 0).unwrap();
    assert_eq!(rig.offer(1, 1), Ok(Routes::only(0)));
    assert_eq!(rig.take(0), Some(cid(1)));
}

#[test]
fn a_flood_of_withdrawals_is_bounded() {
    let mut rig = Rig::new(2);
    let refused = (1..).find_map(|seq| rig.offer(seq, seq).err().map(|code| (seq, code)));
    assert_eq!(refused, Some((5, Code::CONNECTION_ID_LIMIT_ERROR)), "4 retirements are outstanding");
    let mut rig = Rig::new(2);
    rig.offer(1000, 1000).unwrap();
    let refused = (1..999).find_map(|seq| rig.offer(seq, 0).err());
    assert_eq!(refused, Some(Code::CONNECTION_ID_LIMIT_ERROR));
}

#[test]
fn the_owner_is_told_when_no_more_retirements_fit() {
    let mut rig = Rig::new(2);
    for seq in 1..=4 {
        rig.offer(seq, 0).unwrap();
        rig.retire(0).unwrap();
        rig.take(0).unwrap();
    }
    rig.offer(5, 0).unwrap();
    assert_eq!((rig.retire(0), rig.of(0)), (Err(Full), Some(cid(4))));
    assert_eq!(rig.written(0, 500), [0, 1, 2, 3]);
    rig.peer.on_acked(&mut rig.retiring, P0, 0);
    assert_eq!(rig.retire(0), Ok(()));
}

#[test]
fn a_zero_length_id_serves_all_routes_and_admits_no_other() {
    let mut rig = Rig::new(2);
    let mut rows = PeerCidRows { cids: &mut [PeerCid::FREE; 2], retiring: &mut [] };
    rig.peer = PeerCids::with_handshake_cid(&mut rows, 2, Cid::EMPTY, 0).unwrap();
    rig.cids = rows.cids.to_vec();
    assert_eq!((rig.take(7), rig.of(3)), (Some(Cid::EMPTY), Some(Cid::EMPTY)));
    assert_eq!((rig.retire(0), rig.of(0)), (Ok(()), Some(Cid::EMPTY)));
    assert_eq!(rig.offer(1, 0), Err(Code::PROTOCOL_VIOLATION));
}

#[test]
fn only_tokens_of_ids_in_use_announce_a_reset() {
    let mut rig = Rig::new(3);
    let zeros = [0; 16];
    assert!(!is_reset_token(&rig.cids, &zeros), "no token is not a token of zeros");
    rig.peer.on_reset_token(&mut rig.cids, token(70));
    rig.offer(1, 0).unwrap();
    rig.offer(2, 0).unwrap();
    rig.take(1).unwrap();
    let known = |rig: &Rig| [70, 1, 2].map(|number| is_reset_token(&rig.cids, &token(number)));
    assert_eq!(known(&rig), [true, true, false]);
    rig.retire(1).unwrap();
    assert_eq!(known(&rig), [true, false, false]);
    for bit in 0..128 {
        let near = (u128::from_be_bytes(token(70)) ^ (1 << bit)).to_be_bytes();
        assert!(!is_reset_token(&rig.cids, &near));
    }
}

#[test]
#[cfg(feature = "multipath")]
fn paths_number_for_themselves_and_end_alone() {
    let mut rig = Rig::new(4);
    let mut other = PeerCids::new(PathRow::new(1), 2);
    let id = cid(50);
    let frame = NewConnectionId { seq: 0, retire_prior_to: 0, cid: id, reset_token: token(50) };
    let mut rows = PeerCidRows { cids: &mut rig.cids, retiring: &mut rig.retiring };
    other.on_new_cid(&mut rows, &frame).unwrap();
    assert!(other.take(rows.cids, 9));
    assert_eq!(other.of(rows.cids, 9).map(|row| row.cid), Some(id));
    other.clear(&mut rows);
    assert_eq!(other.of(rows.cids, 9).map(PeerCid::seq), None);
    assert_eq!(rig.of(0), Some(cid(0)));
}

#[test]
fn what_is_too_far_back_to_remember_is_retired() {
    let mut seen = Seen::default();
    assert_eq!([3, 3, 1, 1, 0].map(|seq| seen.insert(seq)), {
        use Sighting::{Known, New};
        [New, Known, New, Known, New]
    });
    assert_eq!([34, 3, 2, 35].map(|seq| seen.insert(seq)), {
        use Sighting::{Known, New, TooOld};
        [New, Known, TooOld, New]
    });
    assert_eq!(seen.insert(1 << 30), Sighting::New);
    assert_eq!([35, (1 << 30) - 31].map(|seq| seen.insert(seq)), [Sighting::TooOld, Sighting::New]);
}

#[test]
fn numbers_that_nobody_counts_up_to_are_refused() {
    assert_eq!(Rig::new(3).offer(1 << 32, 0), Err(Code::PROTOCOL_VIOLATION));
    assert_eq!(Rig::new(3).offer((1 << 32) - 1, 1), Ok(Routes::only(0)));
}

/// A peer that keeps to the limit, whose frames are repeated and overtake each other: no error, no ID used after it was
/// withdrawn, each retired exactly when it should be, and the tables never overflow.
#[test]
fn random_operations_against_a_model_of_the_peer() {
    for seed in 0..300 {
        random_run(&mut Dice(seed));
    }
}

fn random_run(dice: &mut Dice) {
    let limit = 2 + dice.roll(4);
    let mut rig = Rig::new(limit);
    // The model: what the peer issued and saw retired, what it ordered; what we were told, and gave up ourselves.
    let (mut issued, mut ordered) = (1, 0);
    let mut retired_there: BTreeSet<u64> = BTreeSet::new();
    let mut told: BTreeSet<u64> = [0].into();
    let mut prior_here = 0;
    let mut given_up: BTreeSet<u64> = BTreeSet::new();
    let mut on_the_way: Vec<(u64, u64)> = Vec::new();
    let mut in_flight: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for pn in 0..600 {
        match dice.roll(8) {
            0 => {
                let active = (ordered..issued).filter(|seq| !retired_there.contains(seq)).count();
                // An order waits for the one before, and a new ID for room (RFC 9000 5.1.1, 5.1.2).
                let settled = (0..ordered).all(|seq| retired_there.contains(&seq));
                let quiet = on_the_way.is_empty();
                if settled && quiet && dice.roll(4) == 0 {
                    ordered = issued;
                    on_the_way.push((issued, ordered));
                    issued += 1;
                } else if active < limit {
                    on_the_way.push((issued, ordered));
                    issued += 1;
                }
            }
            1 | 2 if !on_the_way.is_empty() => {
                let (seq, prior) = on_the_way[dice.roll(on_the_way.len())];
                let before: Vec<_> = (0..4).map(|route| (route, rig.of(route))).collect();
                let withdrawn = rig.offer(seq, prior).unwrap();
                told.insert(seq);
                prior_here = prior_here.max(prior);
                for (route, cid) in before {
                    assert_eq!(withdrawn.has(route), cid.is_some() && rig.of(route).is_none());
                }
                if dice.roll(3) > 0 {
                    on_the_way.retain(|frame| *frame != (seq, prior));
                }
            }
            3 => {
                let route = dice.roll(4) as u8;
                if rig.of(route).is_none() {
                    let spare = told.range(prior_here..).find(|seq| {
                        rig.cids.iter().any(|row| row.seq() == **seq && row.state == State::Spare)
                    });
                    assert_eq!(rig.take(route), spare.map(|seq| cid(*seq)));
                }
            }
            4 => {
                let route = dice.roll(4) as u8;
                let seq = rig.peer.of(&rig.cids, route).map(PeerCid::seq);
                if rig.retire(route).is_ok() {
                    given_up.extend(seq);
                }
            }
            5 => {
                let seqs = rig.written(pn, 2 + dice.roll(12));
                for seq in &seqs {
                    assert!(told.contains(seq) && (given_up.contains(seq) || *seq < prior_here));
                }
                in_flight.insert(pn, seqs);
            }
            _ => {
                let Some((pn, seqs)) = in_flight.pop_first() else { continue };
                if dice.roll(3) == 0 {
                    rig.peer.on_lost(&mut rig.retiring, P0, pn);
                } else {
                    retired_there.extend(&seqs);
                    rig.peer.on_acked(&mut rig.retiring, P0, pn);
                }
            }
        }
        let held: BTreeSet<_> = rig.cids.iter().filter(|row| !row.is_free()).map(PeerCid::seq).collect();
        let expected: BTreeSet<_> =
            told.range(prior_here..).filter(|seq| !given_up.contains(seq)).copied().collect();
        assert_eq!(held, expected);
        let waiting = rig.retiring.iter().filter(|row| row.delivery.is_wanted()).count();
        assert_eq!(usize::from(rig.peer.unsent), waiting);
    }
    for pn in in_flight.into_keys() {
        rig.peer.on_lost(&mut rig.retiring, P0, pn);
    }
    retired_there.extend(rig.written(1000, 500));
    let gone: BTreeSet<_> =
        told.iter().filter(|seq| **seq < prior_here || given_up.contains(seq)).copied().collect();
    assert_eq!(retired_there, gone);
}
