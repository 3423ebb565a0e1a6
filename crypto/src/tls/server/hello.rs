//! The ClientHello and our whole answer to it (RFC 9846 4.1, 4.3, 4.4).

use core::task::{Poll, ready};

use heapless::Vec;
use peregrine_core::session::Level;

use crate::provider::{Group, KeyShare, Provider, Scheme, Suite};
use crate::tls::config::{ClientAuth, PeerIdentity};
use crate::tls::fault::{Cause, Fault, Trap};
use crate::tls::handshake::Handshake;
use crate::tls::msg::client_hello::ClientHello;
use crate::tls::msg::encrypted_extensions::EncryptedExtensions;
use crate::tls::msg::server_hello::{Hello, RetryRequest, ServerHello};
use crate::tls::msg::{Message, RANDOM_LEN, certificate_request};
use crate::tls::server::choice::{self, ChosenPsk};
use crate::tls::server::client_identity::ExpectCertificate;
use crate::tls::server::{Setup, Signing, State, finish};
use crate::verify::CertificateType;

/// Schemes that are named to the client at most; there are nine that anybody here can verify.
const MAX_SCHEMES: usize = 12;

/// Nothing said yet, or only a HelloRetryRequest.
pub(super) struct ExpectClientHello {
    pub(super) retried: Option<Retried>,
}

/// What a second ClientHello must agree with.
pub(super) struct Retried {
    suite: Suite,
    group: Group,
}

impl ExpectClientHello {
    pub(super) fn handle<'a, P: Provider>(
        &self,
        setup: &Setup<'a>,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
    ) -> Poll<Result<State<'a>, Fault>> {
        let hello = ClientHello::parse(message.body)?;
        let retried = self.retried.as_ref().map(|retried| retried.suite);
        let (suite, psk) = choice::suite(setup.config, &shared.provider, &hello, retried)?;
        let (group, public) = choice::group(setup.config, &shared.provider, &hello)?;
        match &self.retried {
            None => shared.client_random = hello.random,
            Some(retried) => retried.check(&shared.client_random, &hello, group)?,
        }
        let Some(public) = public else {
            return Poll::Ready(retry(shared, memory, message, Retried { suite, group }));
        };
        shared.choose(suite, psk.as_ref().map(|chosen| chosen.psk.key));
        if let Some(chosen) = &psk {
            check_binder(shared, message, chosen)?;
            shared.agreed.identity = Some(PeerIdentity::Psk(chosen.psk.identity));
        }
        shared.agreed.alpn = choice::alpn(setup.config, &hello)?;
        ready!(shared.prepare(group))?;
        let secret = ready!(shared.agree(public))?;
        shared.transcript.add(message.whole);
        if let Some(name) = hello.server_name {
            shared.agreed.server_name = Some(shared.flight.store(memory, |_, out| out.bytes(name))?);
        }
        shared.take_params(memory, hello.params)?;
        send_hello(shared, memory, suite, psk.map(|chosen| chosen.index))?;
        shared.enter_handshake(&secret)?;
        Poll::Ready(answer(setup, shared, memory, &hello, psk.is_some()))
    }
}

impl Retried {
    /// The second ClientHello is the first one with the share asked for (RFC 9846 4.1.2); the transcript binds the rest.
    fn check(&self, random: &[u8; RANDOM_LEN], hello: &ClientHello<'_>, group: Group) -> Result<(), Fault> {
        let share = hello.shares.and_then(|shares| shares.only());
        if share != Some(self.group.to_u16()) || group != self.group || hello.random != *random {
            return Err(Fault(&(Cause::IllegalParameter, "not the second ClientHello that was asked for")));
        }
        Ok(())
    }
}

/// Asks for another ClientHello, with a share of a group we have.
fn retry<'a, P: Provider>(
    shared: &mut Handshake<'a, P>,
    memory: &mut [u8],
    message: &Message<'_>,
    retried: Retried,
) -> Result<State<'a>, Fault> {
    shared.transcript.retry(&shared.provider, retried.suite.hash(), message.whole);
    let group = Some(retried.group.to_u16());
    let request = Hello::Retry(RetryRequest { suite: retried.suite.to_u16(), group, cookie: &[] });
    shared.send(memory, Level::Initial, |_, out| request.emit(out))?;
    Ok(State::ClientHello(ExpectClientHello { retried: Some(retried) }))
}

fn check_binder<P: Provider>(
    shared: &Handshake<'_, P>,
    message: &Message<'_>,
    chosen: &ChosenPsk<'_, '_>,
) -> Result<(), Fault> {
    let covered = message.whole.len().saturating_sub(chosen.uncovered);
    let covered = message.whole.get(..covered).unwrap_or_default();
    let binder = shared.schedule.external_binder(&shared.provider, &shared.digest_with(covered))?;
    if binder.matches(chosen.binder) {
        Ok(())
    } else {
        Err(Fault(&(Cause::DecryptError, "binder of a pre-shared key does not verify")))
    }
}

fn send_hello<P: Provider>(
    shared: &mut Handshake<'_, P>,
    memory: &mut [u8],
    suite: Suite,
    psk: Option<u16>,
) -> Result<(), Fault> {
    let mut random = [0; RANDOM_LEN];
    shared.provider.fill_random(&mut random);
    let share = shared.share.as_ref().trap(Fault(&(Cause::Impossible, "no share to answer with")))?;
    let ours = Some((share.group().to_u16(), share.public()));
    let hello = Hello::Server(ServerHello { random, suite: suite.to_u16(), share: ours, psk });
    let stored = shared.flight.store(memory, |_, out| hello.emit(out))?;
    shared.say(memory, Level::Initial, stored)
}

/// The flight under handshake keys.
fn answer<'a, P: Provider>(
    setup: &Setup<'a>,
    shared: &mut Handshake<'a, P>,
    memory: &mut [u8],
    hello: &ClientHello<'_>,
    with_psk: bool,
) -> Result<State<'a>, Fault> {
    let client = if with_psk { None } else { ask_client(setup, hello)? };
    let identity = if with_psk { None } else { Some(choice::identity(setup.config, hello)?) };
    let raw = |kind| (kind == CertificateType::RawPublicKey).then_some(kind as u8);
    let params = shared.local_params;
    let alpn = shared.agreed.alpn;
    shared.send(memory, Level::Handshake, |before, out| {
        let extensions = EncryptedExtensions {
            alpn,
            server_name: hello.server_name.is_some(),
            client_type: client.as_ref().and_then(|client| raw(client.kind)),
            server_type: identity.and_then(|(identity, _)| raw(identity.credential.kind())),
            params: params.of(before),
        };
        extensions.emit(out);
    })?;
    if let Some(client) = &client {
        let schemes = client.verifier.schemes().iter().take(MAX_SCHEMES).map(|Scheme(number)| *number);
        let schemes: Vec<u16, MAX_SCHEMES> = schemes.collect();
        shared.send(memory, Level::Handshake, |_, out| certificate_request::emit(out, &schemes))?;
    }
    match identity {
        None => finish(shared, memory, None),
        Some((identity, scheme)) => {
            shared.send_certificate(memory, Some(&identity.credential))?;
            Ok(State::Signing(Signing { identity, scheme, client }))
        }
    }
}

/// Whether and how the client is asked who it is.
fn ask_client<'a>(
    setup: &Setup<'a>,
    hello: &ClientHello<'_>,
) -> Result<Option<ExpectCertificate<'a>>, Fault> {
    let Some(verifier) = setup.config.clients.verifier() else { return Ok(None) };
    let required = matches!(setup.config.clients, ClientAuth::Required(_));
    match choice::client_type(verifier, hello) {
        Some(kind) => Ok(Some(ExpectCertificate { verifier, kind, required })),
        None if required => {
            Err(Fault(&(Cause::UnsupportedCertificate, "the client has no certificate of a type we verify")))
        }
        None => Ok(None),
    }
}
