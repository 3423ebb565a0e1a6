//! The server's states (RFC 9846 A.2): each knows what only it needs and names the next one. While a step is pending the state
//! stays as it is, and gets the same message again.
//!
//! ```text
//! ClientHello → [HelloRetryRequest → ClientHello] → our flight, [Signing] ─────────────→ Finished → Done
//!                                                             ↘ Certificate → CertificateVerify ↗
//! ```

mod choice;
mod client_identity;
mod hello;

use core::task::{Poll, ready};

use peregrine_core::session::{Level, SessionEvent};

use crate::provider::{Provider, Scheme};
use crate::tls::config::{Identity, ServerConfig};
use crate::tls::fault::Fault;
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
    /// Nothing is due any more, after the end or after an error.
    Done,
}

impl<'a> Server<'a> {
    pub(crate) const fn new(config: &'a ServerConfig<'a>, unix_time: Option<u64>) -> Self {
        let state = State::ClientHello(ExpectClientHello { retried: None::<Retried> });
        Self { setup: Setup { config, unix_time }, state }
    }
}

impl<'a> Server<'a> {
    fn step<P: Provider>(
        &self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
    ) -> Poll<Result<State<'a>, Fault>> {
        let setup = &self.setup;
        match (&self.state, message.kind) {
            (State::ClientHello(state), Kind::ClientHello) => state.handle(setup, shared, memory, message),
            (State::Certificate(state), Kind::Certificate) => state.handle(setup, shared, memory, message),
            (State::CertificateVerify(state), Kind::CertificateVerify) => {
                state.handle(shared, memory, message)
            }
            (State::Finished(state), Kind::Finished) => Poll::Ready(state.handle(shared, message)),
            // The message was that before.
            (State::Signing(state), _) => state.sign(shared, memory),
            _ => Poll::Ready(Err(unexpected())),
        }
    }
}

impl<'a> Role<'a> for Server<'a> {
    fn advance<P: Provider>(
        &mut self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: Option<&Message<'_>>,
    ) -> Poll<Result<(), Fault>> {
        // The client speaks first.
        let Some(message) = message else { return Poll::Ready(Ok(())) };
        loop {
            let next = ready!(self.step(shared, memory, message));
            // After an error nothing is due any more.
            self.state = State::Done;
            self.state = next?;
            if !matches!(self.state, State::Signing(_)) {
                return Poll::Ready(Ok(()));
            }
        }
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
    fn sign<P: Provider>(
        &self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
    ) -> Poll<Result<State<'a>, Fault>> {
        ready!(shared.send_certificate_verify(memory, &self.identity, self.scheme))?;
        Poll::Ready(finish(shared, memory, self.client))
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
    shared.events.note(SessionEvent::Keys(Level::OneRtt));
    Ok(client.map_or(State::Finished(ExpectFinished), State::Certificate))
}

/// The client's Finished ends the handshake.
struct ExpectFinished;

impl ExpectFinished {
    fn handle<'a, P: Provider>(
        &self,
        shared: &mut Handshake<'a, P>,
        message: &Message<'_>,
    ) -> Result<State<'a>, Fault> {
        shared.on_finished(message)?;
        shared.complete();
        Ok(State::Done)
    }
}
