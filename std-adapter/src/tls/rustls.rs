//! Sessions over rustls with AWS-LC.

use std::fmt;
use std::sync::Arc;

use peregrine_crypto::provider::{Group, Suite};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    AlwaysResolvesClientRawPublicKeys, ClientConfig, ResolvesClientCert, WebPkiServerVerifier,
};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    AlwaysResolvesServerRawPublicKeys, NoClientAuth, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, RootCertStore,
    SignatureScheme, SupportedCipherSuite, version,
};
use webpki::EndEntityCert;

use super::{ClientTls, ServerTls, Shown, TlsError, Trust};
use crate::identity::Pin;
use crate::rustls_session::RustlsSession;
use crate::session::AnySession;

/// Makes sessions of clients.
#[derive(Debug)]
pub struct Client(Arc<ClientConfig>);

/// Makes sessions of servers.
#[derive(Debug)]
pub struct Server(Arc<ServerConfig>);

impl Client {
    /// A factory of sessions as described.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(tls: ClientTls) -> Result<Self, TlsError> {
        let provider = provider(&tls.suites, &tls.groups)?;
        let verifier: Arc<dyn ServerCertVerifier> = match tls.trust {
            Trust::Psk(_) => return Err(TlsError::NoPsk),
            Trust::Roots(roots) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(roots_of(roots)?, Arc::clone(&provider));
                verifier.build().map_err(|_| TlsError::Root)?
            }
            trust => Arc::new(Policy::new(trust, &provider)),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|_| TlsError::NoAlgorithm)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match tls.shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let (key, is_raw) = certified(shown, &provider)?;
                let resolver: Arc<dyn ResolvesClientCert> = if is_raw {
                    Arc::new(AlwaysResolvesClientRawPublicKeys::new(key))
                } else {
                    Arc::new(SingleCertAndKey::from(key))
                };
                builder.with_client_cert_resolver(resolver)
            }
        };
        config.alpn_protocols = tls.alpn;
        if let Some(log) = tls.key_log {
            config.key_log = Arc::new(log);
        }
        Ok(Self(Arc::new(config)))
    }

    /// A session with the server of this name, which is a DNS name or an IP address.
    ///
    /// # Errors
    /// [`TlsError::Name`].
    pub fn session(&self, server_name: &str) -> Result<AnySession, TlsError> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| TlsError::Name)?;
        Ok(Box::new(RustlsSession::client(Arc::clone(&self.0), name)))
    }
}

impl Server {
    /// A factory of sessions as described.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(tls: ServerTls) -> Result<Self, TlsError> {
        if !tls.psks.is_empty() {
            return Err(TlsError::NoPsk);
        }
        let provider = provider(&tls.suites, &tls.groups)?;
        let clients: Arc<dyn ClientCertVerifier> = match tls.clients {
            None => Arc::new(NoClientAuth),
            Some(Trust::Psk(_)) => return Err(TlsError::NoPsk),
            Some(Trust::Roots(roots)) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots_of(roots)?, Arc::clone(&provider));
                verifier.build().map_err(|_| TlsError::Root)?
            }
            Some(trust) => Arc::new(Policy::new(trust, &provider)),
        };
        // rustls shows either certificates or raw keys, never lets the client choose.
        let shown = tls.shown.into_iter().next().ok_or(TlsError::NothingShown)?;
        let (key, is_raw) = certified(shown, &provider)?;
        let resolver: Arc<dyn ResolvesServerCert> = if is_raw {
            Arc::new(AlwaysResolvesServerRawPublicKeys::new(key))
        } else {
            Arc::new(SingleCertAndKey::from(key))
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|_| TlsError::NoAlgorithm)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(resolver);
        config.alpn_protocols = tls.alpn;
        // Nothing here takes a connection up again.
        config.send_tls13_tickets = 0;
        if let Some(log) = tls.key_log {
            config.key_log = Arc::new(log);
        }
        Ok(Self(Arc::new(config)))
    }

    /// A session with a client.
    pub fn session(&self) -> AnySession {
        Box::new(RustlsSession::server(Arc::clone(&self.0)))
    }
}

fn provider(suites: &[Suite], groups: &[Group]) -> Result<Arc<CryptoProvider>, TlsError> {
    let suite = |suite: &Suite| -> SupportedCipherSuite {
        match suite {
            Suite::Aes128GcmSha256 => cipher_suite::TLS13_AES_128_GCM_SHA256,
            Suite::Aes256GcmSha384 => cipher_suite::TLS13_AES_256_GCM_SHA384,
            Suite::ChaCha20Poly1305Sha256 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        }
    };
    let group = |group: &Group| -> &'static dyn SupportedKxGroup {
        match group {
            Group::X25519 => kx_group::X25519,
            Group::Secp256r1 => kx_group::SECP256R1,
        }
    };
    let mut provider = aws_lc_rs::default_provider();
    let all_suites = [Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::ChaCha20Poly1305Sha256];
    let suites = if suites.is_empty() { &all_suites } else { suites };
    provider.cipher_suites = suites.iter().map(suite).collect();
    provider.kx_groups = if groups.is_empty() {
        // Post-quantum first: what is recorded today should not be read later. Servers without it have the second share.
        vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1]
    } else {
        groups.iter().map(group).collect()
    };
    Ok(Arc::new(provider))
}

fn roots_of(roots: Vec<CertificateDer<'static>>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    let (good, _) = store.add_parsable_certificates(roots);
    if good == 0 { Err(TlsError::Root) } else { Ok(Arc::new(store)) }
}

/// What we show and the key that proves it; whether it is a raw key.
fn certified(shown: Shown, provider: &CryptoProvider) -> Result<(Arc<CertifiedKey>, bool), TlsError> {
    let (entries, key, is_raw) = match shown {
        Shown::Certificate(identity) => (identity.chain, identity.key, false),
        Shown::RawKey(raw) => (vec![CertificateDer::from(raw.public.to_vec())], raw.key, true),
    };
    let key = provider.key_provider.load_private_key(key).map_err(|_| TlsError::KindOfKey)?;
    Ok((Arc::new(CertifiedKey::new(entries, key)), is_raw))
}

/// Whom we trust without any certificate authority.
struct Policy {
    keys: Keys,
    algorithms: WebPkiSupportedAlgorithms,
}

enum Keys {
    Pins(Vec<Pin>),
    Raw(Vec<SubjectPublicKeyInfoDer<'static>>),
    Any,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Policy")
    }
}

impl Policy {
    fn new(trust: Trust, provider: &CryptoProvider) -> Self {
        let keys = match trust {
            Trust::Pins(pins) => Keys::Pins(pins),
            Trust::RawKeys(keys) => Keys::Raw(keys),
            Trust::Anyone => Keys::Any,
            // Not judged here; who comes here nevertheless is not trusted.
            Trust::Roots(_) | Trust::Psk(_) => Keys::Pins(Vec::new()),
        };
        Self { keys, algorithms: provider.signature_verification_algorithms }
    }

    fn judge(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        let is_trusted = match &self.keys {
            Keys::Any => true,
            Keys::Raw(keys) => keys.iter().any(|key| key.as_ref() == shown.as_ref()),
            Keys::Pins(pins) => {
                let certificate = EndEntityCert::try_from(shown)
                    .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
                pins.contains(&Pin::of(&certificate.subject_public_key_info()))
            }
        };
        let refused = CertificateError::ApplicationVerificationFailure;
        if is_trusted { Ok(()) } else { Err(Error::InvalidCertificate(refused)) }
    }

    const fn is_raw(&self) -> bool {
        matches!(self.keys, Keys::Raw(_))
    }
}

const TLS12: Error = Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic);

/// What rustls asks verifiers of servers and of clients alike, in two traits that have nothing in common.
macro_rules! verify_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(TLS12)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            shown: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            if self.is_raw() {
                let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            } else {
                verify_tls13_signature(message, shown, signed, &self.algorithms)
            }
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }

        fn requires_raw_public_keys(&self) -> bool {
            self.is_raw()
        }
    };
}

impl ServerCertVerifier for Policy {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(shown).map(|()| ServerCertVerified::assertion())
    }

    verify_signatures!();
}

impl ClientCertVerifier for Policy {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(shown).map(|()| ClientCertVerified::assertion())
    }

    verify_signatures!();
}
