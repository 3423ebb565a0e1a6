//! The client of the firmwares that are only linked: it keeps a connection, sends what is sensed on a stream, shows what
//! comes back, and moves when its addresses change. Where it may have several paths it uses another network beside.

#[cfg(feature = "multipath")]
use peregrine_core::connection::PathEvent;
use peregrine_core::connection::{
    CRYPTO_LEN, Config, Connection, Event, Lending, MultipathConfig, Opened, Storage,
};
use peregrine_core::ids::{Dir, Ecn, FourTuple, StreamId};
use peregrine_core::limits::RESET_TOKEN_LEN;
#[cfg(feature = "multipath")]
use peregrine_core::path::Availability;
use peregrine_core::session::Session;
use peregrine_core::stream::{Read, StreamEvent};
#[cfg(feature = "multipath")]
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_core::wire::{Cid, Dialect};
use peregrine_crypto::rustcrypto::LeanRustCrypto;
use peregrine_crypto::tls::{ClientConfig, ClientSession};
use peregrine_crypto::verify::only::Only;
use peregrine_crypto::verify::pin::Pin;
use static_cell::StaticCell;

use crate::PATHS;
use crate::board::Registers;

/// Four streams, 16 packets in flight, 1 KiB each way and stream.
pub type Memory = Storage<PATHS, 4, 16, 1152, 1024, 0, 0>;
type Lent = Lending<&'static mut Memory, &'static mut [u8; CRYPTO_LEN]>;
/// Bytes of the longest datagram.
const DATAGRAM: usize = 1280;

/// A client of a server with this key, again and again.
pub fn run_pinned(server: &Only<Pin<'_>>) -> ! {
    let config = ClientConfig {
        server_name: Some("server.test"),
        alpn: &[b"sensor"],
        server: Some(server),
        ..Default::default()
    };
    loop {
        let mut scratch = [0; 2048];
        let _ = run(ClientSession::new(&config, LeanRustCrypto::new(Registers), &mut scratch[..], None));
    }
}

/// Connects; returns when the connection is over.
pub fn run<S: Session>(mut session: S) -> Option<()> {
    static MEMORY: StaticCell<Memory> = StaticCell::new();
    static CRYPTO: StaticCell<[u8; CRYPTO_LEN]> = StaticCell::new();
    static BUFFER: StaticCell<[u8; DATAGRAM]> = StaticCell::new();
    let buffer = BUFFER.init_with(|| [0; DATAGRAM]);
    let board = Registers;
    let mut on = board.addresses();
    let (scid, dcid) = (random_cid(&mut session)?, random_cid(&mut session)?);
    let opened = Opened { on, version: 1, scid, dcid, token: &[] };
    let multipath = MultipathConfig::speaking(Dialect::ALL);
    let config = Config { peer_bidi_streams: 1, multipath, ..Config::default() };
    let memory = Lending::new(MEMORY.init_with(Memory::new), CRYPTO.init_with(|| [0; CRYPTO_LEN]));
    let mut connection = Connection::client(board.now(), &config, &opened, memory, session).ok()?;
    let mut stream = None;
    loop {
        let now = board.now();
        while let Some(len) = board.receive(buffer) {
            let is_beside = cfg!(feature = "multipath") && board.came_beside();
            let came = if is_beside { board.addresses_beside() } else { on };
            connection.handle_datagram(now, came, Ecn::NotEct, buffer.get_mut(..len)?);
        }
        if connection.next_timeout().is_due(now) {
            connection.handle_timeout(now);
        }
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Confirmed => drop(connection.take_crypto()),
                Event::Connected => stream = connection.open(Dir::Bi).ok(),
                Event::Stream(StreamEvent::Readable(id)) => show(&board, &mut connection, id),
                Event::Drained => return Some(()),
                #[cfg(feature = "multipath")]
                Event::PathPossible => bond(&board, &mut connection),
                #[cfg(feature = "multipath")]
                Event::Path(path, PathEvent::Suspect) => {
                    connection.abandon_path(now, path, AbandonCode::Unstable).ok();
                }
                _ => {}
            }
        }
        if let Some(id) = stream {
            while let Some(byte) = board.sensed() {
                connection.write_stream(id, &[byte]).ok()?;
            }
        }
        on = follow(&board, &mut connection, on);
        for _ in 0..connection.cids_wanted() {
            let cid = random_cid(connection.session_mut())?;
            let mut token = [0; RESET_TOKEN_LEN];
            connection.session_mut().fill_random(&mut token);
            connection.supply_cid(cid, token);
        }
        while let Some(transmit) = connection.poll_transmit(now, buffer) {
            board.send(transmit.remote, buffer.get(..transmit.len)?);
        }
    }
}

fn random_cid(session: &mut impl Session) -> Option<Cid> {
    let mut cid = [0; 8];
    session.fill_random(&mut cid);
    Cid::new(&cid)
}

fn show<S: Session>(board: &Registers, connection: &mut Connection<Lent, S>, id: StreamId) {
    let mut bytes = [0; 64];
    while let Ok(Read::Bytes(len)) = connection.read_stream(id, &mut bytes) {
        bytes.iter().take(len).for_each(|byte| board.show(u32::from(*byte)));
    }
}

/// Uses the other network beside.
#[cfg(feature = "multipath")]
fn bond<S: Session>(board: &Registers, connection: &mut Connection<Lent, S>) {
    if connection.paths().count() < PATHS {
        connection.open_path(board.now(), board.addresses_beside(), Availability::Available).ok();
    }
}

/// Moves to the local address that there is now.
fn follow<S: Session>(
    board: &Registers,
    connection: &mut Connection<Lent, S>,
    before: FourTuple,
) -> FourTuple {
    let on = board.addresses();
    if on != before && connection.migrate(board.now(), on.local, on.interface).is_ok() { on } else { before }
}
