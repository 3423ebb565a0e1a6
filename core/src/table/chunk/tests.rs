use super::*;
use crate::table::random::Random;
use std::collections::BTreeMap;
use std::vec::Vec;

#[test]
fn a_chunk_is_small() {
    assert_eq!((size_of::<Chunk>(), align_of::<Chunk>()), (20, 4));
    assert_eq!(size_of::<Chunks>(), 8);
    let chunk = Chunk::control(Carried::StopSending, 7, (1 << 62) - 1);
    assert_eq!((chunk.offset(), chunk.owner()), ((1 << 62) - 1, 7));
}

fn data(offset: u64, len: u16, fin: bool) -> Sent {
    Sent { carried: Carried::Data, owner: 3, offset, len, fin }
}

/// A packet's part of a random run: which row, and in which state the model has its bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    InFlight,
    Lost,
    Acked,
}

#[test]
fn random_fates_match_a_state_per_byte() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let table = 2 + random.below(12);
        let mut rows = std::vec![Chunk::NOTHING; table];
        let mut free: Vec<u16> = (0..table as u16).collect();
        let mut chunks = Chunks::EMPTY;
        let mut bytes = Vec::<Fate>::new();
        // Row to the bytes of the packet that owns it.
        let mut flying = BTreeMap::<u16, (usize, usize)>::new();
        for _ in 0..4_000 {
            match random.below(4) {
                0 if free.len() > 1 => {
                    let (row, len) = (free.pop().unwrap(), 1 + random.below(9));
                    chunks.push(&mut rows, row, data(bytes.len() as u64, len as u16, false));
                    flying.insert(row, (bytes.len(), len));
                    bytes.extend(std::iter::repeat_n(Fate::InFlight, len));
                }
                1 | 2 if !flying.is_empty() => {
                    let row = *flying.keys().nth(random.below(flying.len())).unwrap();
                    let (from, len) = flying.remove(&row).unwrap();
                    assert!(bytes[from..from + len].iter().all(|fate| *fate == Fate::InFlight));
                    if random.below(2) == 0 {
                        chunks.on_acked(&mut rows, row);
                        bytes[from..from + len].fill(Fate::Acked);
                        free.push(row);
                    } else {
                        bytes[from..from + len].fill(Fate::Lost);
                        if !chunks.on_lost(&mut rows, row) {
                            free.push(row);
                        }
                    }
                }
                3 if chunks.has_lost() => {
                    let lost = *chunks.first_lost(&rows).unwrap();
                    let from = lost.offset() as usize;
                    let len = if random.below(2) == 0 { lost.len() } else { 1 + random.below(lost.len()) };
                    let spare = free.last().copied();
                    let before = rows.clone();
                    match chunks.resend(&mut rows, spare, len) {
                        Some(row) => {
                            if Some(row) == spare {
                                free.pop();
                            }
                            assert!(bytes[from..from + len].iter().all(|fate| *fate == Fate::Lost));
                            bytes[from..from + len].fill(Fate::InFlight);
                            flying.insert(row, (from, len));
                        }
                        None => assert!(spare.is_none() && len < lost.len() && rows == before),
                    }
                }
                _ => {}
            }
            check(&chunks, &rows, &bytes, &flying, table - free.len());
        }
        let mut freed = chunks.abandon(&mut rows);
        while let Some(row) = freed.pop(&mut rows) {
            assert!(!flying.contains_key(&row));
            free.push(row);
        }
        assert!(chunks.is_empty() && free.len() + flying.len() == table);
        assert!(rows.iter().all(|row| *row == Chunk::NOTHING));
    }
}

fn check(
    chunks: &Chunks,
    rows: &[Chunk],
    bytes: &[Fate],
    flying: &BTreeMap<u16, (usize, usize)>,
    used: usize,
) {
    let acked = bytes.iter().take_while(|fate| **fate == Fate::Acked).count();
    assert_eq!(chunks.acked_to(rows, bytes.len() as u64), acked as u64);
    assert_eq!(chunks.has_lost(), bytes.contains(&Fate::Lost));
    let (mut next, mut end, mut lost_rows) = (chunks.all.head(), 0, 0);
    while let Some(row) = next {
        let chunk = &rows[usize::from(row)];
        let from = chunk.offset() as usize;
        assert!(from >= end && chunk.carried() == Carried::Data && chunk.owner() == 3);
        assert!(bytes[end..from].iter().all(|fate| *fate == Fate::Acked));
        end = from + chunk.len();
        let fate = if chunk.is_lost() { Fate::Lost } else { Fate::InFlight };
        assert!(bytes[from..end].iter().all(|model| *model == fate));
        assert_eq!(flying.get(&row).copied(), (!chunk.is_lost()).then_some((from, chunk.len())));
        lost_rows += usize::from(chunk.is_lost());
        next = chunks.all.next(rows, row);
    }
    assert!(bytes[end..].iter().all(|fate| *fate == Fate::Acked));
    assert_eq!(used, lost_rows + flying.len(), "a row leaked");
}

#[test]
fn a_burst_of_losses_needs_one_row_and_keeps_the_fin() {
    let mut rows = [Chunk::NOTHING; 5];
    let mut chunks = Chunks::EMPTY;
    for row in 0..5 {
        chunks.push(&mut rows, row, data(u64::from(row) * 100, 100, row == 4));
    }
    // Forward, backward, and with what lies between two lost ones still in flight.
    assert!(chunks.on_lost(&mut rows, 0) && !chunks.on_lost(&mut rows, 1));
    assert!(chunks.on_lost(&mut rows, 4) && !chunks.on_lost(&mut rows, 3));
    let lost = chunks.first_lost(&rows).unwrap();
    assert_eq!((lost.offset(), lost.len(), lost.is_fin()), (0, 200, false));
    assert_eq!(chunks.resend(&mut rows, None, 200), Some(0));
    let lost = chunks.first_lost(&rows).unwrap();
    assert_eq!((lost.offset(), lost.len(), lost.is_fin()), (300, 200, true));
    assert_eq!(chunks.resend(&mut rows, Some(1), 50), Some(1));
    assert!(!rows[1].is_fin() && rows[4].is_fin() && rows[4].offset() == 350);
    assert_eq!(chunks.resend(&mut rows, None, 50), None);
    assert_eq!(chunks.resend(&mut rows, None, 150), Some(4));
}

#[test]
fn a_lone_fin_is_lost_and_found() {
    let mut rows = [Chunk::NOTHING; 2];
    let mut chunks = Chunks::EMPTY;
    chunks.push(&mut rows, 0, data(0, 10, false));
    chunks.push(&mut rows, 1, data(10, 0, true));
    chunks.on_acked(&mut rows, 0);
    assert_eq!(chunks.acked_to(&rows, 10), 10);
    assert!(chunks.on_lost(&mut rows, 1) && chunks.first_lost(&rows).unwrap().is_fin());
    assert_eq!(chunks.resend(&mut rows, None, 0), Some(1));
    chunks.on_acked(&mut rows, 1);
    assert!(chunks.is_empty());
}
