//! What the client says about itself, if it was asked (RFC 9846 4.4).

use core::task::{Poll, ready};

use peregrine_core::ids::Side;

use crate::provider::Provider;
use crate::tls::fault::{Cause, Fault};
use crate::tls::handshake::{Handshake, Unproven};
use crate::tls::msg::{Message, certificate};
use crate::tls::server::{ExpectFinished, Setup, State};
use crate::verify::{CertificateType, Presented, Verifier};

/// The client was asked for a certificate; it may answer with none.
#[derive(Clone, Copy)]
pub(super) struct ExpectCertificate<'a> {
    pub(super) verifier: &'a (dyn Verifier + Sync),
    pub(super) kind: CertificateType,
    pub(super) required: bool,
}

impl<'a> ExpectCertificate<'a> {
    pub(super) fn handle<P: Provider>(
        &self,
        setup: &Setup<'a>,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
    ) -> Poll<Result<State<'a>, Fault>> {
        let entries = certificate::parse(message.body)?;
        if entries.is_empty() {
            if self.required {
                let missing = Fault(&(Cause::CertificateRequired, "the client has no certificate"));
                return Poll::Ready(Err(missing));
            }
            shared.transcript.add(message.whole);
            return Poll::Ready(Ok(State::Finished(ExpectFinished)));
        }
        let presented = Presented {
            kind: self.kind,
            entries: &entries,
            peer: Side::Client,
            name: None,
            unix_time: setup.unix_time,
        };
        let unproven = ready!(shared.on_certificate(memory, self.verifier, message, &presented))?;
        let verifier = self.verifier;
        Poll::Ready(Ok(State::CertificateVerify(ExpectCertificateVerify { verifier, unproven })))
    }
}

/// The client has to prove that it holds the key of its certificate.
pub(super) struct ExpectCertificateVerify<'a> {
    verifier: &'a (dyn Verifier + Sync),
    unproven: Unproven<'a>,
}

impl<'a> ExpectCertificateVerify<'a> {
    pub(super) fn handle<P: Provider>(
        &self,
        shared: &mut Handshake<'a, P>,
        memory: &[u8],
        message: &Message<'_>,
    ) -> Poll<Result<State<'a>, Fault>> {
        ready!(shared.on_certificate_verify(memory, self.verifier, message, &self.unproven))?;
        Poll::Ready(Ok(State::Finished(ExpectFinished)))
    }
}
