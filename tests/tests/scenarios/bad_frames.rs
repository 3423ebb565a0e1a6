//! Frames that a peer must not send: each ends the connection with the right code, the frame to blame and a reason.

use peregrine_core::error::Code;
use peregrine_core::session::Level;
use peregrine_core::wire::frame::{Frame, Ping};
use peregrine_tests::puppet::{Bout, bytes};
use peregrine_tests::quic::Setup;

#[test]
fn a_puppet_shakes_hands_and_is_answered() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.say(&[Frame::Ping(Ping)]);
    bout.wait_ms(30);
    assert!(bout.puppet.heard.iter().any(|heard| heard.level == Level::OneRtt));
    let mut bout = Bout::against_client(Setup::client(1));
    bout.say(&[Frame::Ping(Ping)]);
    bout.wait_ms(30);
    assert!(bout.puppet.heard.iter().any(|heard| heard.level == Level::OneRtt));
    bout.send(Level::OneRtt, &[0x40, 0x01]);
    assert_eq!(bout.error().code, Code::PROTOCOL_VIOLATION);
    assert!(bytes(&[]).is_empty());
}
