//! What is under IP, and which IP.

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use embassy_net::{Config, ConfigV4, ConfigV6, Ipv6Cidr, StaticConfigV6};
use embassy_time::Timer;
use peregrine_core::connection::Config as ConnectionConfig;
use peregrine_core::ids::PathId;
use peregrine_core::path::Availability;
use sha2::{Digest, Sha256};

use crate::paths::several;
use crate::work::{ask, file, read_all, serve_files};
use crate::world::{PORT, World, config, of, psk_server};

const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 9, 0, 0, 0, 1);
const WIFI_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);
const ETHERNET_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 2);

/// Fetches a file from there, with a move to the second of the networks in the middle if there are two.
fn fetch(mut world: World, stacks: &[embassy_net::Stack<'static>], server: SocketAddr) {
    let (client, networks) = world.client(stacks, config());
    let session = world.session();
    world.run(60, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server, session).unwrap();
        for network in networks {
            if connection.network_of(&connection.route().unwrap()) != Some(network) {
                let route = connection.migrate(network).await.unwrap();
                connection.wait_route(route).await.unwrap();
            }
            let mut recv = ask(&connection, 50_000).await.unwrap();
            let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
            assert_eq!(hash[..], Sha256::digest(file(50_000))[..]);
            assert_eq!(connection.network_of(&connection.route().unwrap()), Some(network));
        }
        assert_eq!(connection.route().unwrap().remote, server);
    });
}

#[test]
fn ipv6_carries_a_connection_from_one_network_to_another() {
    let mut world = World::new();
    let (wifi, _) = world.stack(WIFI_V6, true);
    let (ethernet, _) = world.stack(ETHERNET_V6, true);
    let (stack, _) = world.stack(SERVER_V6, true);
    let server = world.server_on(stack, config(), psk_server());
    world.spawn(serve_files(server));
    fetch(world, &[wifi, ethernet], (SERVER_V6, PORT).into());
}

fn v4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 9, host)
}

fn v6(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 9, 0, 0, 0, host.into())
}

/// A host on one segment with the others, with an address of both versions.
fn both(host: u8) -> Config {
    let mut config = Config::default();
    config.ipv4 = ConfigV4::Static(of(v4(host)));
    let address = Ipv6Cidr::new(v6(host), 64);
    let dns_servers = Default::default();
    config.ipv6 = ConfigV6::Static(StaticConfigV6 { address, gateway: None, dns_servers });
    config
}

#[test]
fn on_ethernet_the_link_address_is_asked_for_first_over_arp_and_over_ndp() {
    for server in [v4(1).into(), v6(1).into()] {
        let mut world = World::new();
        let (stack, _) = world.ethernet(1, both(1));
        let (client, _) = world.ethernet(2, both(2));
        let (_bystander, _) = world.ethernet(3, both(3));
        let endpoint = world.server_on(stack, config(), psk_server());
        world.spawn(serve_files(endpoint));
        fetch(world, &[client], SocketAddr::new(server, PORT));
    }
}

#[test]
fn another_ipv4_address_does_not_disturb_what_goes_over_ipv6_from_the_same_socket() {
    let mut world = World::new();
    let (stack, _) = world.ethernet(1, both(1));
    let (ethernet, _) = world.ethernet(2, both(2));
    let preferred = SocketAddrV6::new(v6(1), PORT, 0, 0);
    let prefers = ConnectionConfig { preferred_v6: Some(preferred), ..config() };
    let server = world.server_on(stack, prefers, psk_server());
    world.spawn(serve_files(server));
    let (client, _) = world.client(&[ethernet], config());
    let session = world.session();
    world.run(60, async {
        client.wait_up(None).await;
        let connection = client.connect(None, (v4(1), PORT).into(), session).unwrap();
        connection.wait_confirmed().await.unwrap();
        while !connection.route().is_some_and(|route| route.remote == preferred.into() && route.validated) {
            Timer::after_millis(1).await;
        }
        let in_use = connection.route().unwrap();
        assert!(connection.routes().iter().any(|route| route.local.ip() == v4(2)), "the one before is kept");
        ethernet.set_config_v4(ConfigV4::Static(of(v4(7))));
        let mut recv = ask(&connection, 50_000).await.unwrap();
        let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
        assert_eq!(hash[..], Sha256::digest(file(50_000))[..]);
        for route in connection.routes() {
            assert_eq!(route.down, route.id != in_use.id, "{}", route.local);
        }
        assert_eq!(connection.route().unwrap().id, in_use.id);
    });
}

#[test]
fn a_path_to_another_address_of_the_server_may_be_of_the_other_version() {
    let mut world = World::new();
    let (stack, _) = world.ethernet(1, both(1));
    let (ethernet, _) = world.ethernet(2, both(2));
    let server = world.server_on(stack, several(), psk_server());
    world.spawn(serve_files(server));
    let (client, networks) = world.client(&[ethernet], several());
    let session = world.session();
    world.run(60, async {
        client.wait_up(None).await;
        let connection = client.connect(None, (v4(1), PORT).into(), session).unwrap();
        connection.wait_path_possible().await.unwrap();
        let other = SocketAddr::from((v6(1), PORT));
        let path = connection.open_path_to(other, networks[0], Availability::Available).await.unwrap();
        let route = connection.wait_path(path).await.unwrap().route.unwrap();
        assert_eq!((route.local.ip(), route.remote), (v6(2).into(), other));
        connection.abandon_path(PathId::ZERO).unwrap();
        let mut recv = ask(&connection, 20_000).await.unwrap();
        let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
        assert_eq!(hash[..], Sha256::digest(file(20_000))[..]);
    });
}
