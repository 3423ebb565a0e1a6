//! An hour of virtual time in which little is said and much changes: nothing piles up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use embassy_time::{Duration, Instant, Timer};
use peregrine_core::connection::Usage;
use peregrine_embassy::{Connection, EndpointUsage};
use sha2::{Digest, Sha256};

use crate::work::{ask, file, read_all, serve_connection};
use crate::world::{ETHERNET, ServerTls, WIFI, World, config, server_address};

/// How often the NAT forgets its clients.
const REBINDING: Duration = Duration::from_secs(10);
/// Rebindings between two moves to the other network.
const MOVE: u64 = 12;
const REBINDINGS: u64 = 360;

/// All that can pile up, of both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct InUse {
    connections: [Usage; 2],
    endpoints: [EndpointUsage; 2],
}

#[test]
fn an_hour_of_small_exchanges_and_rebindings_leaves_nothing_behind() {
    let mut world = World::new();
    world.hide_clients();
    let (wifi, wifi_nic) = world.stack(WIFI, true);
    let (ethernet, ethernet_nic) = world.stack(ETHERNET, true);
    let (server, _) = world.server(config());
    let (client, networks) = world.client(&[wifi, ethernet], config());
    let served: Rc<RefCell<Option<Connection<ServerTls>>>> = Rc::default();
    let seen = Rc::clone(&served);
    world.spawn(async move {
        let connection = server.accept().await;
        *seen.borrow_mut() = Some(connection.clone());
        serve_connection(&connection).await;
    });
    let rebind = world.rebinding();
    let session = world.session();
    world.run(3700, async {
        client.wait_up(Some(networks[1])).await;
        let connection = client.connect(None, server_address(), session).unwrap();
        let (began, mut in_use, mut ports) = (Instant::now(), Vec::new(), 0);
        let mut remote = None;
        for turn in 1..=REBINDINGS {
            rebind();
            if turn % MOVE == 0 {
                let (gone, other) = match turn / MOVE % 2 {
                    0 => (&ethernet_nic, &wifi_nic),
                    _ => (&wifi_nic, &ethernet_nic),
                };
                other.set_up(true);
                Timer::after_millis(100).await;
                gone.set_up(false);
            }
            for _ in 0..3 {
                let mut recv = ask(&connection, 300).await.unwrap();
                let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
                assert_eq!(hash[..], Sha256::digest(file(300))[..], "turn {turn}");
            }
            Timer::at(began + REBINDING * turn as u32).await;
            let served = served.borrow();
            let served = served.as_ref().unwrap();
            let now = served.route().map(|route| route.remote);
            ports += u64::from(now != remote);
            remote = now;
            in_use.push(InUse {
                connections: [connection.usage(), served.usage()],
                endpoints: [client.usage(), server.usage()],
            });
        }
        // After ten minutes and after an hour the same turn has come; and no turn in between leaves what none did before.
        let (first, later) = in_use.split_at(60);
        assert_eq!(first.last(), later.last());
        assert!(later.iter().all(|now| first.contains(now)), "{later:?}");
        assert!(ports >= REBINDINGS, "the server has seen only {ports} of the ports");
    });
}
