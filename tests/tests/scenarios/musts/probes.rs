//! Probe timeouts and what they send (RFC 9002 6.2.4).

use peregrine_core::session::Level;
use peregrine_core::wire::frame::{Frame, HandshakeDone, Kind, Ping};
use peregrine_tests::puppet::{Bout, Puppet, ack, bytes};
use peregrine_tests::quic::Setup;
use peregrine_tests::sim::Node as _;

use super::{headers, heard};

/// Lets the next timer expire; the datagrams that this sends, and whether it was a probe timeout.
fn expire(bout: &mut Bout) -> (Vec<Vec<u8>>, bool) {
    let before = bout.connection().stats().probe_timeouts;
    bout.now = bout.now.max(bout.node.next_timeout().instant().unwrap());
    bout.node.handle_timeout(bout.now);
    bout.drain();
    (std::mem::take(&mut bout.unheard), bout.connection().stats().probe_timeouts > before)
}

fn levels(datagram: &[u8]) -> Vec<Level> {
    headers(datagram).iter().map(|header| header.level().unwrap()).collect()
}

/// A server whose Initial and Handshake packets wait probes both at once, in the same datagrams.
#[test]
fn all_spaces_that_wait_are_probed_at_once() {
    let mut bout = Bout::new(Setup::server(1), Puppet::client(77));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    let datagram = bout.puppet.datagram(Level::Initial, &hello);
    bout.deliver(&datagram);
    assert!(bout.unheard.iter().any(|datagram| levels(datagram).contains(&Level::Handshake)));
    bout.unheard.clear();
    let (probes, expired) = expire(&mut bout);
    assert!(expired && (1..=2).contains(&probes.len()), "{} datagrams", probes.len());
    assert_eq!(levels(&probes[0]), [Level::Initial, Level::Handshake]);
    probes.iter().for_each(|probe| bout.puppet.hear(probe));
    for level in [Level::Initial, Level::Handshake] {
        let mut of_level = bout.puppet.heard.iter().filter(|heard| heard.level == level);
        assert!(of_level.any(|heard| heard.frames().any(|frame| frame.kind() == Kind::Crypto)), "{level:?}");
    }
}

/// What is not yet confirmed may be in 1-RTT packets too, of which no timer speaks: they go along.
#[test]
fn application_data_goes_along() {
    let mut bout = Bout::against_unconfirmed_client(Setup::client(1), |_| {});
    bout.act(|connection, _| connection.ping());
    let (probes, expired) = expire(&mut bout);
    assert!(expired);
    assert!(levels(&probes[0]).starts_with(&[Level::Handshake, Level::OneRtt]), "{:?}", levels(&probes[0]));
    bout.send(Level::OneRtt, &bytes(&[Frame::HandshakeDone(HandshakeDone)]));
    bout.ack();
    let (probes, _) = expire(&mut bout);
    assert!(probes.iter().all(|probe| levels(probe) == [Level::OneRtt]), "Handshake keys are gone");
}

/// Acknowledgments padded to a full datagram count as in flight, and nothing acknowledges them (RFC 9000 13.2.7): more of them
/// than the window has room for do not keep a client from going on.
#[test]
fn padded_acknowledgments_do_not_fill_the_window_for_good() {
    let mut bout = Bout::new(Setup::client(1), Puppet::server(78));
    bout.connect();
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    bout.hear();
    let hello = bout.puppet.largest(Level::Initial).unwrap();
    bout.send(Level::Initial, &ack(&[0..=hello]));
    for _ in 0..20 {
        bout.send(Level::Initial, &bytes(&[Frame::Ping(Ping)]));
    }
    let route = bout.connection().route().unwrap();
    assert!(route.in_flight > route.window, "{} of {}", route.in_flight, route.window);
    let before = heard(&bout, Kind::Ping);
    bout.wait_ms(1_000);
    assert!(heard(&bout, Kind::Ping) > before, "it asks for an acknowledgment");
    bout.shake_hands();
    bout.send(Level::OneRtt, &bytes(&[Frame::HandshakeDone(HandshakeDone)]));
    let route = bout.connection().route().unwrap();
    assert!(route.in_flight < route.window && bout.connection().is_established());
}
