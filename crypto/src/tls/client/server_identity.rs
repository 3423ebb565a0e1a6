//! What the server says about itself (RFC 9846 4.3, 4.4): EncryptedExtensions to CertificateVerify.

use core::task::{Poll, ready};

use peregrine_core::ids::Side;

use crate::provider::Provider;
use crate::tls::client::hello::{client_type, server_types, sni};
use crate::tls::client::{Answer, ExpectFinished, Setup, State};
use crate::tls::extension;
use crate::tls::fault::{Cause, Fault};
use crate::tls::handshake::{Handshake, Unproven};
use crate::tls::msg::encrypted_extensions::EncryptedExtensions;
use crate::tls::msg::{Message, certificate, certificate_request};
use crate::verify::{CertificateType, Presented, Verifier};

/// The ServerHello has come.
pub(super) struct ExpectEncryptedExtensions {
    pub(super) with_psk: bool,
}

impl ExpectEncryptedExtensions {
    #[inline(never)]
    pub(super) fn handle<'a, P: Provider, const CERTIFICATES: bool>(
        &self,
        setup: &Setup<'a>,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
    ) -> Result<State<'a>, Fault> {
        let extensions = EncryptedExtensions::parse(message.body)?;
        if extensions.server_name && sni(setup).is_none() {
            return Err(extension::unsolicited());
        }
        shared.agreed.alpn = chosen_alpn(setup.config.alpn, extensions.alpn)?;
        shared.take_params(memory, extensions.params)?;
        shared.transcript.add(message.whole);
        let ours = client_type(setup).filter(|_| CERTIFICATES);
        let client_kind = chosen_type(extensions.client_type, ours.as_slice())?;
        let theirs = if CERTIFICATES { server_types(setup) } else { &[] };
        let kind = chosen_type(extensions.server_type, theirs)?;
        if self.with_psk {
            return Ok(State::Finished(ExpectFinished { answer: Answer::NotAsked }));
        }
        let not_psk = Fault(&(Cause::HandshakeFailure, "the server used none of our pre-shared keys"));
        let verifier = setup.config.server.filter(|_| CERTIFICATES).ok_or(not_psk)?;
        if !verifier.types().contains(&kind) {
            return Err(Fault(&(
                Cause::UnsupportedCertificate,
                "the server has no certificate of a type we verify",
            )));
        }
        Ok(State::Certificate(ExpectCertificate { verifier, kind, client_kind, answer: Answer::NotAsked }))
    }
}

/// What the server chose of the protocols `offered` (RFC 7301 3.1, RFC 9001 8.1).
fn chosen_alpn<'a>(offered: &[&'a [u8]], chosen: Option<&[u8]>) -> Result<Option<&'a [u8]>, Fault> {
    match chosen {
        None if offered.is_empty() => Ok(None),
        None => Err(Fault(&(Cause::NoApplicationProtocol, "the server chose no application protocol"))),
        Some(_) if offered.is_empty() => Err(extension::unsolicited()),
        Some(chosen) => {
            let known = offered.iter().copied().find(|name| *name == chosen);
            let other =
                Fault(&(Cause::NoApplicationProtocol, "an application protocol that was not offered"));
            known.ok_or(other).map(Some)
        }
    }
}

/// The type of certificate agreed on, X.509 unless told otherwise (RFC 7250 4.2). Nothing offered means that the
/// extension was not sent.
fn chosen_type(chosen: Option<u8>, offered: &[CertificateType]) -> Result<CertificateType, Fault> {
    match chosen {
        None => Ok(CertificateType::X509),
        Some(_) if offered.is_empty() => Err(extension::unsolicited()),
        Some(number) => offered
            .iter()
            .copied()
            .find(|kind| *kind as u8 == number)
            .ok_or(Fault(&(Cause::IllegalParameter, "a certificate type that was not offered"))),
    }
}

/// The server has to say who it is, and may ask who we are first.
pub(super) struct ExpectCertificate<'a> {
    verifier: &'a (dyn Verifier + Sync),
    kind: CertificateType,
    /// The type of a certificate of ours.
    client_kind: CertificateType,
    answer: Answer<'a>,
}

impl<'a> ExpectCertificate<'a> {
    pub(super) fn on_request<P: Provider>(
        &self,
        setup: &Setup<'a>,
        shared: &mut Handshake<'a, P>,
        message: &Message<'_>,
    ) -> Result<State<'a>, Fault> {
        if !matches!(self.answer, Answer::NotAsked) {
            return Err(Fault(&(Cause::UnexpectedMessage, "a second CertificateRequest")));
        }
        let schemes = certificate_request::parse(message.body)?;
        let identity =
            setup.config.identity.filter(|identity| identity.credential.kind() == self.client_kind);
        let answer =
            identity.and_then(|identity| Some(Answer::Identity(identity, identity.scheme(&schemes)?)));
        shared.transcript.add(message.whole);
        Ok(State::Certificate(Self { answer: answer.unwrap_or(Answer::Nothing), ..*self }))
    }

    pub(super) fn handle<P: Provider>(
        &self,
        setup: &Setup<'a>,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
    ) -> Poll<Result<State<'a>, Fault>> {
        let entries = certificate::parse(message.body)?;
        let presented = Presented {
            kind: self.kind,
            entries: &entries,
            peer: Side::Server,
            name: setup.config.server_name,
            unix_time: setup.unix_time,
        };
        let unproven = ready!(shared.on_certificate(memory, self.verifier, message, &presented))?;
        let Self { verifier, answer, .. } = *self;
        Poll::Ready(Ok(State::CertificateVerify(ExpectCertificateVerify { verifier, unproven, answer })))
    }
}

/// The server has to prove that it holds the key of its certificate.
pub(super) struct ExpectCertificateVerify<'a> {
    verifier: &'a (dyn Verifier + Sync),
    unproven: Unproven<'a>,
    answer: Answer<'a>,
}

impl<'a> ExpectCertificateVerify<'a> {
    pub(super) fn handle<P: Provider>(
        &self,
        shared: &mut Handshake<'a, P>,
        memory: &[u8],
        message: &Message<'_>,
    ) -> Poll<Result<State<'a>, Fault>> {
        ready!(shared.on_certificate_verify(memory, self.verifier, message, &self.unproven))?;
        Poll::Ready(Ok(State::Finished(ExpectFinished { answer: self.answer })))
    }
}
