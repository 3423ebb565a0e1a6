//! What somebody who sees every wire may demand of migration, whatever the endpoints believe.
//!
//! * [`amplification`]: no address is sent more than three times what came from it before it was proved (RFC 9000 8, 9.3.1).
//! * [`linkability`]: no connection ID goes to two addresses that its user has chosen (RFC 9000 9.5).
//!
//! Both read what [`World::watch`](crate::sim::World::watch) kept, from the first datagram on, of one client and one server
//! with connection IDs of eight bytes. Nothing is decrypted: an address counts as proved as soon as it could have been.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::sim::{HostId, Sighting};

/// What distinguishes protected datagrams.
const MARK: usize = 24;
/// What may be sent for each byte that came.
const FACTOR: u64 = 3;

/// What the server and one address have exchanged.
#[derive(Clone, Copy, Debug, Default)]
struct Balance {
    came: u64,
    went: u64,
}

/// Follows what the server sends to each address. One is proved when something sent there has reached the client, and
/// something that the client sent later the server: it may have held a PATH_RESPONSE or a Handshake packet.
///
/// # Errors
/// The first datagram too many.
pub fn amplification(sightings: &[Sighting], server: HostId) -> Result<(), String> {
    let mut balances: BTreeMap<SocketAddr, Balance> = BTreeMap::new();
    let mut sent_to: BTreeMap<&[u8], SocketAddr> = BTreeMap::new();
    // Addresses in the order in which something sent there reached the client, and how many of them did before the client
    // sent a datagram.
    let mut reached: Vec<SocketAddr> = Vec::new();
    let mut known: BTreeMap<&[u8], usize> = BTreeMap::new();
    let mut proved: BTreeSet<SocketAddr> = BTreeSet::new();
    for Sighting { at, host, sent, datagram } in sightings {
        let mark = mark(&datagram.payload);
        let len = datagram.payload.len() as u64;
        match (*host == server, *sent) {
            (true, true) => {
                let to = datagram.destination;
                sent_to.insert(mark, to);
                let balance = balances.entry(to).or_default();
                balance.went += len;
                if !proved.contains(&to) && balance.went > FACTOR * balance.came {
                    return Err(format!("{to} at {} us: {balance:?}", at.as_micros()));
                }
            }
            (true, false) => {
                balances.entry(datagram.source).or_default().came += len;
                let before = known.get(mark).copied().unwrap_or(0);
                proved.extend(&reached[..before]);
            }
            (false, true) => {
                known.insert(mark, reached.len());
            }
            (false, false) => {
                reached.extend(sent_to.get(mark).filter(|to| !reached.contains(to)));
            }
        }
    }
    Ok(())
}

/// Follows the connection IDs of 1-RTT packets in both directions. The client chooses its addresses: an ID that it sends to,
/// or is sent to, belongs to one of them. What a server sees of a client behind a NAT may change: it uses an ID towards two
/// addresses only if the client has used one from both.
///
/// # Errors
/// The first connection ID seen where it should not be.
pub fn linkability(sightings: &[Sighting], client: HostId) -> Result<(), String> {
    let mut sent_to: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    let mut homes: BTreeMap<(bool, &[u8]), SocketAddr> = BTreeMap::new();
    let mut towards: BTreeMap<&[u8], BTreeSet<SocketAddr>> = BTreeMap::new();
    let mut from: BTreeMap<SocketAddr, BTreeSet<&[u8]>> = BTreeMap::new();
    for Sighting { at, host, sent, datagram } in sightings {
        let Some(dcid) = short_dcid(&datagram.payload) else { continue };
        let mut settle = |outward: bool, dcid, home: SocketAddr| {
            let before = *homes.entry((outward, dcid)).or_insert(home);
            let fault = || format!("{dcid:02x?} at {before} and {home}, {} us", at.as_micros());
            if before == home { Ok(()) } else { Err(fault()) }
        };
        match (*host == client, *sent) {
            (true, true) => settle(true, dcid, datagram.source)?,
            // Only as it was sent: what was damaged on the way has another ID.
            (true, false) if sent_to.get(mark(&datagram.payload)) == Some(&dcid) => {
                settle(false, dcid, datagram.destination)?;
            }
            (true, false) => {}
            (false, false) => {
                from.entry(datagram.source).or_default().insert(dcid);
            }
            (false, true) => {
                sent_to.insert(mark(&datagram.payload), dcid);
                let to = datagram.destination;
                let others = towards.entry(dcid).or_default();
                let ids = from.get(&to);
                let shares = |other: &SocketAddr| {
                    from.get(other).zip(ids).is_some_and(|(theirs, ids)| !theirs.is_disjoint(ids))
                };
                if !others.is_empty() && !others.contains(&to) && !others.iter().any(shares) {
                    return Err(format!("{dcid:02x?} to {to} and {others:?}, {} us", at.as_micros()));
                }
                others.insert(to);
            }
        }
    }
    Ok(())
}

fn mark(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(MARK)]
}

fn short_dcid(payload: &[u8]) -> Option<&[u8]> {
    let is_short = payload.first()? & 0x80 == 0;
    payload.get(1..9).filter(|_| is_short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Datagram, Silent, World};
    use peregrine_core::ids::Ecn;
    use peregrine_core::time::Instant;

    const SERVER: &str = "192.0.2.9:4433";
    const HOME: &str = "10.0.0.2:5000";
    const SEEN: &str = "198.51.100.1:40000";
    const ELSEWHERE: &str = "203.0.113.66:6666";

    /// A story: who, whether it sends, the addresses, the first byte of the payload, the ID, the length.
    fn sightings(story: &[(bool, bool, &str, &str, u8, usize)]) -> (Vec<Sighting>, [HostId; 2]) {
        let mut world = World::new(1);
        let hosts = [world.host(Silent, []), world.host(Silent, [])];
        let seen =
            |&(by_server, sent, source, destination, id, len): &(bool, bool, &str, &str, u8, usize)| {
                let payload = vec![id; len];
                let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
                let datagram = Datagram { source, destination, ecn: Ecn::NotEct, payload };
                Sighting { at: Instant::ZERO, host: hosts[usize::from(by_server)], sent, datagram }
            };
        (story.iter().map(seen).collect(), hosts)
    }

    #[test]
    fn three_times_what_came_until_an_answer_could_be_there() {
        let start = [(true, false, SEEN, SERVER, 1, 100), (true, true, SERVER, SEEN, 2, 300)];
        let more = (true, true, SERVER, SEEN, 3, 1);
        let holds = |rest: &[(bool, bool, &'static str, &'static str, u8, usize)]| {
            let (sightings, [_, server]) = sightings(&[&start, rest, &[more]].concat());
            amplification(&sightings, server).is_ok()
        };
        assert!(!holds(&[]));
        let received = (false, false, SERVER, HOME, 2, 300);
        let answered = [(false, true, HOME, SERVER, 4, 40), (true, false, ELSEWHERE, SERVER, 4, 40)];
        assert!(!holds(&answered) && !holds(&[received]) && !holds(&[received, answered[0]]));
        assert!(!holds(&[answered[0], received, answered[1]]), "sent before");
        assert!(holds(&[received, answered[0], answered[1]]));
    }

    #[test]
    fn an_id_has_one_home() {
        let holds = |story: &[(bool, bool, &'static str, &'static str, u8, usize)]| {
            let (sightings, [client, _]) = sightings(story);
            linkability(&sightings, client).is_ok()
        };
        let out = |id, home| (false, true, home, SERVER, id, 40);
        assert!(holds(&[out(1, HOME), out(1, HOME), out(2, ELSEWHERE)]));
        assert!(!holds(&[out(1, HOME), out(1, ELSEWHERE)]));
        let (to, back) =
            (|id, seen| (true, true, SERVER, seen, id, 40), |id, home| (false, false, SERVER, home, id, 40));
        assert!(!holds(&[to(7, SEEN), back(7, HOME), to(7, SEEN), back(7, ELSEWHERE)]));
        let came = |id, seen| (true, false, seen, SERVER, id, 40);
        assert!(!holds(&[came(1, SEEN), to(7, SEEN), came(2, ELSEWHERE), to(7, ELSEWHERE)]));
        assert!(holds(&[came(1, SEEN), to(7, SEEN), came(1, ELSEWHERE), to(7, ELSEWHERE)]), "a rebinding");
    }
}
