//! What a server picks from a ClientHello: decisions only, nothing is changed here.

use crate::provider::{Group, Provider, Scheme, Suite};
use crate::tls::config::{self, Identity, Psk, ServerConfig};
use crate::tls::fault::{Cause, Fault};
use crate::tls::msg::client_hello::{ClientHello, Shares};
use crate::verify::{CertificateType, Verifier};

/// Identities of pre-shared keys that are looked up; a client that offers more is served by those before.
const MAX_IDENTITIES: usize = 8;

const CHACHA: Suite = Suite::ChaCha20Poly1305Sha256;

/// A pre-shared key that the client offers and we know.
#[derive(Clone, Copy)]
pub(super) struct ChosenPsk<'a, 'm> {
    pub(super) psk: Psk<'a>,
    /// Its place in the client's list.
    pub(super) index: u16,
    pub(super) binder: &'m [u8],
    /// Bytes at the end of the ClientHello that the binder does not cover.
    pub(super) uncovered: usize,
}

/// The suite, and the first pre-shared key we know of those that can be used with one of the client's suites. Only
/// that one's binder is ever looked at (RFC 9846 4.2.11). `retried` is the suite of a HelloRetryRequest.
pub(super) fn suite<'a, 'm, P: Provider>(
    config: &ServerConfig<'a>,
    provider: &P,
    hello: &ClientHello<'m>,
    retried: Option<Suite>,
) -> Result<(Suite, Option<ChosenPsk<'a, 'm>>), Fault> {
    // A client that names ChaCha20 first, of the suites we know, has no hardware for AES, which would cost it five times as
    // much. Unless the application has an order of its own, its wish counts more than ours.
    let weak = config.suites.is_empty() && hello.suites.iter().find_map(Suite::from_u16) == Some(CHACHA);
    let common = |accept: &dyn Fn(Suite) -> bool| {
        let ours = || {
            config::suites(config.suites, provider).filter(|suite| {
                hello.suites.contains(suite.to_u16())
                    && retried.is_none_or(|retried| retried == *suite)
                    && accept(*suite)
            })
        };
        ours().find(|suite| weak && *suite == CHACHA).or_else(|| ours().next())
    };
    if let (Some(store), Some(mut offered)) = (config.psks, hello.psk) {
        for index in 0..MAX_IDENTITIES {
            let Some((identity, binder)) = offered.next() else { break };
            if let Some(psk) = store.find(identity)
                && let Some(suite) = common(&|suite| suite.hash() == psk.hash)
            {
                let chosen = ChosenPsk { psk, index: index as u16, binder, uncovered: offered.uncovered };
                return Ok((suite, Some(chosen)));
            }
        }
    }
    let suite = common(&|_| true).ok_or(match retried {
        Some(_) => Fault(&(Cause::IllegalParameter, "a second ClientHello without the suite of the first")),
        None => Fault(&(Cause::HandshakeFailure, "no cipher suite in common")),
    })?;
    Ok((suite, None))
}

/// The group, and the client's share if it sent one: a group it need not be asked again for comes first.
pub(super) fn group<'m, P: Provider>(
    config: &ServerConfig<'_>,
    provider: &P,
    hello: &ClientHello<'m>,
) -> Result<(Group, Option<&'m [u8]>), Fault> {
    // RFC 9846 9.2: neither goes without the other, and without both there is no key agreement.
    let (Some(groups), Some(shares)) = (hello.groups, hello.shares) else {
        return Err(Fault(&(Cause::MissingExtension, "ClientHello without groups or key shares")));
    };
    let common = || config::groups(config.groups, provider).filter(|group| groups.contains(group.to_u16()));
    let with_share = common().find_map(|group| Some((group, Some(Shares::find(shares, group.to_u16())?))));
    let none = Fault(&(Cause::HandshakeFailure, "no group in common"));
    with_share.or_else(|| Some((common().next()?, None))).ok_or(none)
}

/// The application protocol (RFC 7301 3.2, RFC 9001 8.1).
pub(super) fn alpn<'a>(
    config: &ServerConfig<'a>,
    hello: &ClientHello<'_>,
) -> Result<Option<&'a [u8]>, Fault> {
    if config.alpn.is_empty() {
        return Ok(None);
    }
    let none = Fault(&(Cause::NoApplicationProtocol, "no application protocol in common"));
    let offered = hello.alpn.ok_or(none)?;
    config.alpn.iter().copied().find(|name| offered.contains(name)).ok_or(none).map(Some)
}

/// The identity that we present, and the scheme to prove it with.
pub(super) fn identity<'a>(
    config: &ServerConfig<'a>,
    hello: &ClientHello<'_>,
) -> Result<(Identity<'a>, Scheme), Fault> {
    let none_at_all = if hello.psk.is_some() {
        Fault(&(Cause::UnknownPskIdentity, "no pre-shared key we know, and no certificate of ours"))
    } else {
        Fault(&(Cause::HandshakeFailure, "we have no certificate"))
    };
    if config.identities.is_empty() {
        return Err(none_at_all);
    }
    let missing = Fault(&(Cause::MissingExtension, "ClientHello without signature_algorithms"));
    let schemes = hello.schemes.ok_or(missing)?;
    let mut of_type = config
        .identities
        .iter()
        .filter(|identity| accepts(hello.server_types, identity.credential.kind()))
        .peekable();
    if of_type.peek().is_none() {
        return Err(Fault(&(Cause::UnsupportedCertificate, "no certificate of a type the client verifies")));
    }
    of_type
        .find_map(|identity| Some((*identity, identity.scheme(&schemes)?)))
        .ok_or(Fault(&(Cause::HandshakeFailure, "no signature scheme in common")))
}

/// The type of certificate that we ask the client for.
pub(super) fn client_type(verifier: &dyn Verifier, hello: &ClientHello<'_>) -> Option<CertificateType> {
    verifier.types().iter().copied().find(|kind| accepts(hello.client_types, *kind))
}

/// Whether `kind` is in a list of certificate types; no list means X.509 (RFC 7250 4.1).
fn accepts(list: Option<&[u8]>, kind: CertificateType) -> bool {
    list.map_or(kind == CertificateType::X509, |list| list.contains(&(kind as u8)))
}
