//! The server's states (RFC 9846 A.2), taken by value: each knows what only it needs and names the next one.
//!
//! ```text
//! ClientHello → [HelloRetryRequest → ClientHello] → our flight, [Signing] ─────────────→ Finished → Done
//!                                                             ↘ Certificate → CertificateVerify ↗
//! ```

mod choice;
mod client_identity;
mod hello;

use crate::tls::fault::Fault;
use peregrine_core::session::{Level, SessionEvent};

use crate::provider::{Provider, Scheme};
use crate::tls::config::{Identity, ServerConfig};
use crate::tls::handshake::Handshake;
use crate::tls::msg::{Kind, Message, unexpected};
use crate::tls::server::client_identity::{ExpectCertificate, ExpectCertificateVerify};
use crate::tls::server::hello::{ExpectClientHello, Retried};
use crate::tls::session::Role;

/// A server's half of the handshake.
pub struct Server<'a> {
    setup: Setup<'a>,
    state: State<'a>,
}

/// What every state may look up.
#[derive(Clone, Copy)]
struct Setup<'a> {
    config: &'a ServerConfig<'a>,
    unix_time: Option<u64>,
}

enum State<'a> {
    ClientHello(ExpectClientHello),
    Signing(Signing<'a>),
    Certificate(ExpectCertificate<'a>),
    CertificateVerify(ExpectCertificateVerify<'a>),
    Finished(ExpectFinished),
    Done,
    /// An error was returned; nothing is due any more.
    Failed,
}

impl<'a> Server<'a> {
    pub(crate) const fn new(config: &'a ServerConfig<'a>, unix_time: Option<u64>) -> Self {
        let state = State::ClientHello(ExpectClientHello { retried: None::<Retried> });
        Self { setup: Setup { config, unix_time }, state }
    }
}

impl<'a> Role<'a> for Server<'a> {
    /// The client speaks first.
    fn start<P: Provider>(&mut self, _: &mut Handshake<'a, P>, _: &mut [u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn on_message<P: Provider>(
        &mut self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
    ) -> Result<(), Fault> {
        let setup = &self.setup;
        self.state = match (core::mem::replace(&mut self.state, State::Failed), message.kind) {
            (State::ClientHello(state), Kind::ClientHello) => state.handle(setup, shared, memory, message)?,
            (State::Certificate(state), Kind::Certificate) => state.handle(setup, shared, memory, message)?,
            (State::CertificateVerify(state), Kind::CertificateVerify) => {
                state.handle(shared, memory, message)?
            }
            (State::Finished(state), Kind::Finished) => state.handle(shared, message)?,
            _ => return Err(unexpected()),
        };
        Ok(())
    }

    fn resume<P: Provider>(&mut self, shared: &mut Handshake<'a, P>, memory: &mut [u8]) -> Result<(), Fault> {
        self.state = match core::mem::replace(&mut self.state, State::Failed) {
            State::Signing(state) => state.sign(shared, memory)?,
            other => other,
        };
        Ok(())
    }
}

/// Our Certificate is sent, its signature follows when the key is ready.
struct Signing<'a> {
    identity: Identity<'a>,
    scheme: Scheme,
    /// Whom we asked for a certificate, if we did.
    client: Option<ExpectCertificate<'a>>,
}

impl<'a> Signing<'a> {
    fn sign<P: Provider>(self, shared: &mut Handshake<'a, P>, memory: &mut [u8]) -> Result<State<'a>, Fault> {
        if shared.send_certificate_verify(memory, &self.identity, self.scheme)? {
            finish(shared, memory, self.client)
        } else {
            Ok(State::Signing(self))
        }
    }
}

/// Ends our flight.
fn finish<'a, P: Provider>(
    shared: &mut Handshake<'a, P>,
    memory: &mut [u8],
    client: Option<ExpectCertificate<'a>>,
) -> Result<State<'a>, Fault> {
    shared.send_finished(memory)?;
    shared.enter_main()?;
    shared.event(SessionEvent::Keys(Level::OneRtt))?;
    Ok(client.map_or(State::Finished(ExpectFinished), State::Certificate))
}

/// The client's Finished ends the handshake.
struct ExpectFinished;

impl ExpectFinished {
    fn handle<'a, P: Provider>(
        self,
        shared: &mut Handshake<'a, P>,
        message: &Message<'_>,
    ) -> Result<State<'a>, Fault> {
        shared.on_finished(message)?;
        shared.complete()?;
        Ok(State::Done)
    }
}
