//! The client's states (RFC 9846 A.1), taken by value: each knows what only it needs and names the next one.
//!
//! ```text
//! ServerHello ⟲ HelloRetryRequest, once
//!   → EncryptedExtensions → with a PSK ────────────────────────────────→ Finished → Done
//!                         → [CertificateRequest] → Certificate → CertificateVerify ↗ ↘ Signing ↗
//! ```

mod hello;
mod server_identity;

use crate::tls::fault::Fault;
use peregrine_core::session::{Level, SessionEvent};

use crate::provider::{Provider, Scheme};
use crate::tls::client::hello::ExpectServerHello;
use crate::tls::client::server_identity::{
    ExpectCertificate, ExpectCertificateVerify, ExpectEncryptedExtensions,
};
use crate::tls::config::{ClientConfig, Identity};
use crate::tls::handshake::Handshake;
use crate::tls::msg::{Kind, Message, unexpected};
use crate::tls::session::Role;

/// A client's half of the handshake.
pub struct Client<'a> {
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
    Done,
    /// An error was returned; nothing is due any more.
    Failed,
}

impl<'a> Client<'a> {
    pub(crate) const fn new(config: &'a ClientConfig<'a>, unix_time: Option<u64>) -> Self {
        Self { setup: Setup { config, unix_time }, state: State::Start }
    }
}

impl<'a> Role<'a> for Client<'a> {
    fn start<P: Provider>(&mut self, shared: &mut Handshake<'a, P>, memory: &mut [u8]) -> Result<(), Fault> {
        self.state = State::ServerHello(hello::start(&self.setup, shared, memory)?);
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
            (State::ServerHello(state), Kind::ServerHello) => state.handle(setup, shared, memory, message)?,
            (State::EncryptedExtensions(state), Kind::EncryptedExtensions) => {
                state.handle(setup, shared, memory, message)?
            }
            (State::Certificate(state), Kind::CertificateRequest) => {
                state.on_request(setup, shared, message)?
            }
            (State::Certificate(state), Kind::Certificate) => state.handle(setup, shared, memory, message)?,
            (State::CertificateVerify(state), Kind::CertificateVerify) => {
                state.handle(shared, memory, message)?
            }
            (State::Finished(state), Kind::Finished) => state.handle(shared, memory, message)?,
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
    fn handle<P: Provider>(
        self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
    ) -> Result<State<'a>, Fault> {
        shared.on_finished(message)?;
        shared.enter_main()?;
        match self.answer {
            Answer::NotAsked => finish(shared, memory),
            Answer::Nothing => {
                shared.send_certificate(memory, None)?;
                finish(shared, memory)
            }
            Answer::Identity(identity, scheme) => {
                shared.send_certificate(memory, Some(&identity.credential))?;
                Signing { identity, scheme }.sign(shared, memory)
            }
        }
    }
}

/// Our Certificate is sent, its signature follows when the key is ready.
struct Signing<'a> {
    identity: Identity<'a>,
    scheme: Scheme,
}

impl<'a> Signing<'a> {
    fn sign<P: Provider>(self, shared: &mut Handshake<'a, P>, memory: &mut [u8]) -> Result<State<'a>, Fault> {
        if shared.send_certificate_verify(memory, &self.identity, self.scheme)? {
            finish(shared, memory)
        } else {
            Ok(State::Signing(self))
        }
    }
}

/// Ends our flight and the handshake.
fn finish<'a, P: Provider>(shared: &mut Handshake<'a, P>, memory: &mut [u8]) -> Result<State<'a>, Fault> {
    shared.send_finished(memory)?;
    shared.event(SessionEvent::Keys(Level::OneRtt))?;
    shared.complete()?;
    Ok(State::Done)
}
