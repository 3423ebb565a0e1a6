use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::*;
use crate::cid::tests::{Dice, cid, frames, packet, token};

const P0: PathRow = PathRow::FIRST;

fn started<const N: usize>(limit: u64) -> ([LocalCid; N], LocalCids) {
    let mut rows = [LocalCid::FREE; N];
    let mut local = LocalCids::with_handshake_cid(&mut rows, cid(0)).unwrap();
    assert_eq!(local.wanted(&rows), 0, "the limit is not known yet");
    local.on_peer_limit(limit, N);
    (rows, local)
}

fn fill(local: &mut LocalCids, rows: &mut [LocalCid]) {
    while local.wanted(rows) > 0 {
        let seq = local.next_seq.into();
        assert_eq!(local.supply(rows, cid(seq), token(seq)), Ok(seq));
    }
}

/// The ID that datagrams need no longer be recognised by.
fn retire(
    local: &mut LocalCids,
    rows: &mut [LocalCid],
    seq: u64,
    by: u64,
) -> Result<Option<Cid>, TransportError> {
    local.on_retire(rows, seq, Some(by))?;
    Ok(take_retired(rows))
}

/// Writes one packet; the (seq, retire_prior_to) of its frames.
fn written(local: &mut LocalCids, rows: &mut [LocalCid], pn: u64, room: usize) -> Vec<(u64, u64)> {
    let payload = packet(room, |out| local.write(rows, None, P0, pn, out));
    let told = frames(&payload).into_iter().map(|frame| match frame {
        Frame::NewConnectionId(new) => {
            assert_eq!((new.cid, new.reset_token), (cid(new.seq), token(new.seq)));
            (new.seq, new.retire_prior_to)
        }
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn rows_are_small() {
    assert!(size_of::<LocalCid>() <= 56);
    assert!(size_of::<LocalCids>() <= 20);
}

#[test]
fn supplies_up_to_the_limit_of_the_peer_and_the_rows() {
    for (limit, expected) in [(2, 1), (3, 2), (8, 3)] {
        let (mut rows, mut local) = started::<4>(limit);
        assert_eq!(local.wanted(&rows), expected);
        fill(&mut local, &mut rows);
        assert_eq!(local.supply(&mut rows, cid(9), token(9)), Err(Full));
        let told: Vec<_> = (1..=expected as u64).map(|seq| (seq, 0)).collect();
        assert_eq!(written(&mut local, &mut rows, 7, 500), told);
        assert!(!local.has_wanted());
    }
}

#[test]
fn finds_by_id_and_forgets_what_is_retired() {
    let (mut rows, mut local) = started::<3>(3);
    fill(&mut local, &mut rows);
    written(&mut local, &mut rows, 0, 500);
    let row = find(&rows, cid(2).as_slice()).unwrap();
    assert_eq!((row.path(), row.seq()), (P0, 2));
    assert_eq!(retire(&mut local, &mut rows, 2, 0), Ok(Some(cid(2))));
    assert!(find(&rows, cid(2).as_slice()).is_none());
    assert_eq!(retire(&mut local, &mut rows, 2, 0), Ok(None), "told twice");
    assert_eq!(local.wanted(&rows), 1);
    assert_eq!(local.supply(&mut rows, cid(3), token(3)), Ok(3), "no number is used twice");
}

#[test]
fn a_retired_id_keeps_its_row_until_it_was_told() {
    let (mut rows, mut local) = started::<3>(3);
    fill(&mut local, &mut rows);
    written(&mut local, &mut rows, 0, 500);
    local.on_retire(&mut rows, 1, Some(0)).unwrap();
    assert!(find(&rows, cid(1).as_slice()).is_none());
    assert_eq!(local.wanted(&rows), 0);
    assert_eq!(local.supply(&mut rows, cid(3), token(3)), Err(Full));
    assert_eq!((take_retired(&mut rows), take_retired(&mut rows)), (Some(cid(1)), None));
    assert_eq!(local.wanted(&rows), 1);
    assert_eq!(local.supply(&mut rows, Cid::EMPTY, token(3)), Err(Full));

    local.on_retire(&mut rows, 2, Some(0)).unwrap();
    assert_eq!(std::iter::from_fn(|| local.pop(&mut rows)).count(), 2, "the retired one with the rest");
}

#[test]
fn refuses_to_retire_what_was_never_issued_or_is_in_use() {
    let (mut rows, mut local) = started::<3>(3);
    fill(&mut local, &mut rows);
    let code = |retired: Result<Option<Cid>, TransportError>| retired.unwrap_err().code();
    assert_eq!(code(retire(&mut local, &mut rows, 1, 0)), Code::PROTOCOL_VIOLATION, "not yet sent");
    written(&mut local, &mut rows, 0, 500);
    assert_eq!(code(retire(&mut local, &mut rows, 1, 1)), Code::PROTOCOL_VIOLATION, "addressed to it");
    assert_eq!(code(retire(&mut local, &mut rows, 3, 0)), Code::PROTOCOL_VIOLATION);
    assert!(retire(&mut local, &mut rows, 1, 0).is_ok());
}

#[test]
fn a_zero_length_id_is_neither_followed_nor_retired() {
    let mut rows = [LocalCid::FREE; 3];
    let mut local = LocalCids::with_handshake_cid(&mut rows, Cid::EMPTY).unwrap();
    local.on_peer_limit(8, 3);
    assert_eq!(local.wanted(&rows), 0);
    assert_eq!(local.on_retire(&mut rows, 0, None).unwrap_err().code(), Code::PROTOCOL_VIOLATION);
}

#[test]
fn the_preferred_address_has_number_one() {
    let (mut rows, mut local) = started::<4>(3);
    local.supply_preferred(&mut rows, cid(1), token(1)).unwrap();
    assert_eq!(local.wanted(&rows), 1);
    assert!(!local.has_wanted(), "it travels in the transport parameters");
    assert_eq!(retire(&mut local, &mut rows, 1, 0), Ok(Some(cid(1))));
}

#[test]
fn a_rotation_asks_for_all_new_ids_and_waits_for_the_one_before() {
    let (mut rows, mut local) = started::<4>(2);
    fill(&mut local, &mut rows);
    written(&mut local, &mut rows, 0, 500);
    local.rotate(&mut rows, 2).unwrap();
    assert_eq!(local.rotate(&mut rows, 2), Ok(()), "the same again is nothing new");
    assert_eq!(local.wanted(&rows), 2);
    fill(&mut local, &mut rows);
    assert_eq!(written(&mut local, &mut rows, 1, 500), [(2, 2), (3, 2)]);
    assert_eq!(local.rotate(&mut rows, 4), Err(NotYet));
    for seq in 0..2 {
        assert!(find(&rows, cid(seq).as_slice()).is_some(), "valid until the peer gives it up");
        assert_eq!(retire(&mut local, &mut rows, seq, 3), Ok(Some(cid(seq))));
    }
    assert_eq!(local.rotate(&mut rows, 3), Ok(()));
    assert_eq!(written(&mut local, &mut rows, 2, 500), [(3, 3)], "the order travels with the newest");
}

#[test]
fn a_rotation_needs_a_row_to_travel_with() {
    let (mut rows, mut local) = started::<2>(2);
    fill(&mut local, &mut rows);
    assert_eq!(local.rotate(&mut rows, 2), Err(NotYet));
    assert_eq!(local.rotate(&mut rows, 1), Ok(()));
    assert_eq!(written(&mut local, &mut rows, 0, 500), [(1, 1)]);
}

#[test]
#[cfg(feature = "multipath")]
fn paths_number_for_themselves_and_end_alone() {
    let (mut rows, mut local) = started::<4>(2);
    let mut other = LocalCids::new(PathRow::new(1));
    other.on_peer_limit(2, 2);
    fill(&mut local, &mut rows);
    assert_eq!(other.supply(&mut rows, cid(100), token(100)), Ok(0));
    assert_eq!(other.supply(&mut rows, cid(101), token(101)), Ok(1));
    assert_eq!(find(&rows, cid(101).as_slice()).unwrap().path(), PathRow::new(1));
    packet(500, |out| other.write(&mut rows, None, PathRow::new(1), 0, out));
    assert!(local.has_wanted() && !other.has_wanted());
    assert_eq!(retire(&mut other, &mut rows, 0, 1), Ok(Some(cid(100))));
    assert_eq!((other.pop(&mut rows), other.pop(&mut rows)), (Some(cid(101)), None));
    assert!(find(&rows, cid(0).as_slice()).is_some());
}

/// Any order of supply, loss, retirement and rotation: the peer never has more than its limit, every ID it may use is
/// found, and in the end it has them all.
#[test]
fn random_operations_against_a_model_of_the_peer() {
    for seed in 0..300 {
        random_run(&mut Dice(seed));
    }
}

#[derive(Default)]
struct Peer {
    known: BTreeSet<u64>,
    retired: BTreeSet<u64>,
    retire_prior_to: u64,
}

impl Peer {
    fn receive(&mut self, told: &[(u64, u64)], limit: u64) {
        for (seq, prior) in told {
            self.known.insert(*seq);
            self.retire_prior_to = self.retire_prior_to.max(*prior);
        }
        let active = self.known.range(self.retire_prior_to..).filter(|seq| !self.retired.contains(seq));
        assert!(active.count() as u64 <= limit);
    }
}

fn random_run(dice: &mut Dice) {
    let limit = 2 + dice.roll(5) as u64;
    let (mut rows, mut local) = started::<6>(limit);
    let mut peer = Peer { known: [0].into(), ..Peer::default() };
    let mut in_flight: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for pn in 0..400 {
        match dice.roll(6) {
            0 => fill(&mut local, &mut rows),
            1 | 2 => {
                let told = written(&mut local, &mut rows, pn, 30 + dice.roll(120));
                if dice.roll(3) > 0 {
                    peer.receive(&told, limit);
                }
                in_flight.insert(pn, told);
            }
            3 => {
                let Some((pn, told)) = in_flight.pop_first() else { continue };
                let arrived = told.iter().all(|(seq, _)| peer.known.contains(seq));
                if arrived && dice.roll(4) > 0 {
                    peer.receive(&told, limit);
                    local.on_acked(&mut rows, P0, pn);
                } else {
                    local.on_lost(&mut rows, P0, pn);
                }
            }
            4 => {
                // The peer obeys orders first, and keeps one ID to write to us.
                let usable: Vec<_> = peer.known.difference(&peer.retired).copied().collect();
                let Some((newest, rest)) = usable.split_last() else { continue };
                let Some(seq) = rest.first() else { continue };
                peer.retired.insert(*seq);
                assert_eq!(retire(&mut local, &mut rows, *seq, *newest), Ok(Some(cid(*seq))));
            }
            _ => {
                let _ = local.rotate(&mut rows, dice.roll(60) as u64);
            }
        }
        for seq in peer.known.difference(&peer.retired) {
            assert_eq!(find(&rows, cid(*seq).as_slice()).unwrap().seq(), *seq);
        }
        assert_eq!(usize::from(local.unsent), rows.iter().filter(|row| row.delivery.is_wanted()).count());
    }
    for pn in in_flight.into_keys() {
        local.on_lost(&mut rows, P0, pn);
    }
    fill(&mut local, &mut rows);
    peer.receive(&written(&mut local, &mut rows, 1000, 500), u64::MAX);
    assert_eq!(peer.known, (0..local.next_seq.into()).collect());
}

#[test]
fn of_an_abandoned_path_the_peer_keeps_what_it_was_told_once() {
    let (mut rows, mut local) = started::<4>(4);
    fill(&mut local, &mut rows);
    let told = written(&mut local, &mut rows, 7, 60);
    assert!(!told.is_empty() && told.len() < 3, "{told:?}");
    let known = |rows: &[LocalCid], seq| find(rows, cid(seq).as_slice()).is_some();
    local.on_lost(&mut rows, P0, 7);
    local.stop(&mut rows);
    assert!(known(&rows, 0) && known(&rows, 1), "the packet may have arrived");
    assert!(!known(&rows, 3), "nobody sends to it");
    assert!(!local.has_wanted() && local.wanted(&rows) == 0);
    assert_eq!(written(&mut local, &mut rows, 8, 200), []);
}
