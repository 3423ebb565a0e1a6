//! The client's states (RFC 9846 A.1): each knows what only it needs and names the next one. While a step is pending the state
//! stays as it is, and gets the same message again.
//!
//! ```text
//! ServerHello ⟲ HelloRetryRequest, once
//!   → EncryptedExtensions → with a PSK ────────────────────────────────→ Finished → Done
//!                         → [CertificateRequest] → Certificate → CertificateVerify ↗ ↘ Signing ↗
//! ```

mod hello;
mod server_identity;

use core::task::{Poll, ready};

use peregrine_core::session::{Level, SessionEvent};

use crate::provider::{Provider, Scheme};
use crate::tls::client::hello::ExpectServerHello;
use crate::tls::client::server_identity::{
    ExpectCertificate, ExpectCertificateVerify, ExpectEncryptedExtensions,
};
use crate::tls::config::{ClientConfig, Identity};
use crate::tls::fault::Fault;
use crate::tls::handshake::Handshake;
use crate::tls::msg::{Kind, Message, unexpected};
use crate::tls::session::Role;

/// A client's half of the handshake; without `CERTIFICATES` one that knows pre-shared keys only.
pub struct Client<'a, const CERTIFICATES: bool> {
    setup: Setup<'a>,
    state: State<'a>,
}

/// What every state may look up.
#[derive(Clone, Copy)]
struct Setup<'a> {
    config: &'a ClientConfig<'a>,
    unix_time: Option<u64>,
}

enum State<'a> {
    Start,
    ServerHello(ExpectServerHello),
    EncryptedExtensions(ExpectEncryptedExtensions),
    Certificate(ExpectCertificate<'a>),
    CertificateVerify(ExpectCertificateVerify<'a>),
    Finished(ExpectFinished<'a>),
    Signing(Signing<'a>),
    /// Nothing is due any more, after the end or after an error.
    Done,
}

impl<'a, const CERTIFICATES: bool> Client<'a, CERTIFICATES> {
    pub(crate) const fn new(config: &'a ClientConfig<'a>, unix_time: Option<u64>) -> Self {
        Self { setup: Setup { config, unix_time }, state: State::Start }
    }

    fn step<P: Provider>(
        &self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: Option<&Message<'_>>,
    ) -> Poll<Result<State<'a>, Fault>> {
        let setup = &self.setup;
        let Some(message) = message else {
            return match self.state {
                State::Start => hello::start::<P, CERTIFICATES>(setup, shared, memory),
                _ => Poll::Ready(Err(unexpected())),
            };
        };
        match (&self.state, message.kind) {
            (State::ServerHello(state), Kind::ServerHello) => {
                state.handle::<P, CERTIFICATES>(setup, shared, memory, message)
            }
            (State::EncryptedExtensions(state), Kind::EncryptedExtensions) => {
                Poll::Ready(state.handle::<P, CERTIFICATES>(setup, shared, memory, message))
            }
            (State::Certificate(state), Kind::CertificateRequest) if CERTIFICATES => {
                Poll::Ready(state.on_request(setup, shared, message))
            }
            (State::Certificate(state), Kind::Certificate) if CERTIFICATES => {
                state.handle(setup, shared, memory, message)
            }
            (State::CertificateVerify(state), Kind::CertificateVerify) if CERTIFICATES => {
                state.handle(shared, memory, message)
            }
            (State::Finished(state), Kind::Finished) => {
                Poll::Ready(state.handle::<P, CERTIFICATES>(shared, memory, message))
            }
            // The message was that before.
            (State::Signing(state), _) if CERTIFICATES => state.sign(shared, memory),
            _ => Poll::Ready(Err(unexpected())),
        }
    }
}

impl<'a, const CERTIFICATES: bool> Role<'a> for Client<'a, CERTIFICATES> {
    fn advance<P: Provider>(
        &mut self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: Option<&Message<'_>>,
    ) -> Poll<Result<(), Fault>> {
        loop {
            let next = ready!(self.step(shared, memory, message));
            // After an error nothing is due any more.
            self.state = State::Done;
            self.state = next?;
            if !CERTIFICATES || !matches!(self.state, State::Signing(_)) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// How the server wants us to say who we are.
#[derive(Clone, Copy)]
enum Answer<'a> {
    /// It did not ask.
    NotAsked,
    /// It asked, and we have nothing it can verify.
    Nothing,
    /// It asked.
    Identity(Identity<'a>, Scheme),
}

/// The server's Finished ends its flight.
struct ExpectFinished<'a> {
    answer: Answer<'a>,
}

impl<'a> ExpectFinished<'a> {
    #[inline(never)]
    fn handle<P: Provider, const CERTIFICATES: bool>(
        &self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
    ) -> Result<State<'a>, Fault> {
        shared.on_finished(message)?;
        shared.enter_main()?;
        match self.answer {
            Answer::Nothing if CERTIFICATES => shared.send_certificate(memory, None)?,
            Answer::Identity(identity, scheme) if CERTIFICATES => {
                shared.send_certificate(memory, Some(&identity.credential))?;
                return Ok(State::Signing(Signing { identity, scheme }));
            }
            _ => {}
        }
        finish(shared, memory)
    }
}

/// Our Certificate is sent, its signature follows when the key is ready.
struct Signing<'a> {
    identity: Identity<'a>,
    scheme: Scheme,
}

impl<'a> Signing<'a> {
    fn sign<P: Provider>(
        &self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
    ) -> Poll<Result<State<'a>, Fault>> {
        ready!(shared.send_certificate_verify(memory, &self.identity, self.scheme))?;
        Poll::Ready(finish(shared, memory))
    }
}

/// Ends our flight and the handshake.
fn finish<'a, P: Provider>(shared: &mut Handshake<'a, P>, memory: &mut [u8]) -> Result<State<'a>, Fault> {
    shared.send_finished(memory)?;
    shared.events.note(SessionEvent::Keys(Level::OneRtt));
    shared.complete();
    Ok(State::Done)
}
