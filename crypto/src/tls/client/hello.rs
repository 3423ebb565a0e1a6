//! The client's first words and the server's answer (RFC 9846 4.1).

use core::task::{Poll, ready};

use heapless::Vec;
use peregrine_core::session::Level;

use crate::provider::{Group, KeyShare, Provider, Scheme, Suite};
use crate::tls::client::server_identity::ExpectEncryptedExtensions;
use crate::tls::client::{Setup, State};
use crate::tls::config::{self, MAX_PSKS, PeerIdentity, Psk};
use crate::tls::fault::{Cause, Fault, Trap};
use crate::tls::flight::Stored;
use crate::tls::handshake::Handshake;
use crate::tls::msg::Message;
use crate::tls::msg::client_hello::{Offer, PskOffer, binders_at};
use crate::tls::msg::server_hello::{Hello, RetryRequest, ServerHello};
use crate::tls::schedule::Schedule;
use crate::verify::CertificateType;

/// Schemes that are named to the server at most; there are nine that anybody here can verify.
const MAX_SCHEMES: usize = 12;

/// Sends the first ClientHello.
pub(super) fn start<'a, P: Provider, const CERTIFICATES: bool>(
    setup: &Setup<'a>,
    shared: &mut Handshake<'a, P>,
    memory: &mut [u8],
) -> Poll<Result<State<'a>, Fault>> {
    let nothing = Fault(&(Cause::InternalError, "no group to offer"));
    let group = config::groups(setup.config.groups, &shared.provider).next().ok_or(nothing)?;
    ready!(shared.prepare(group))?;
    shared.provider.fill_random(&mut shared.client_random);
    let hello = send::<P, CERTIFICATES>(setup, shared, memory, None, &[])?;
    Poll::Ready(Ok(State::ServerHello(ExpectServerHello { group, hello, retried: None })))
}

/// Sends a ClientHello with our share. After a HelloRetryRequest for `suite` all else is as it was, but that
/// pre-shared keys for another hash are not offered again.
fn send<'a, P: Provider, const CERTIFICATES: bool>(
    setup: &Setup<'a>,
    shared: &mut Handshake<'a, P>,
    memory: &mut [u8],
    suite: Option<Suite>,
    cookie: &[u8],
) -> Result<Stored, Fault> {
    let config = setup.config;
    let share = shared.share.as_ref().trap(Fault(&(Cause::Impossible, "no share to offer")))?;
    let suites: Vec<u16, 3> = first(suites::<P, CERTIFICATES>(setup, &shared.provider).map(Suite::to_u16));
    let groups: Vec<u16, 2> = first(config::groups(config.groups, &shared.provider).map(Group::to_u16));
    if suites.is_empty() {
        return Err(Fault(&(Cause::InternalError, "no suite to offer")));
    }
    let (mut schemes, mut server_types, mut client_types) = Default::default();
    if CERTIFICATES && let Some(verifier) = config.server {
        let number = |kind: &CertificateType| *kind as u8;
        schemes = first::<_, MAX_SCHEMES>(verifier.schemes().iter().map(|Scheme(number)| *number));
        server_types = first::<_, 2>(self::server_types(setup).iter().map(number));
        client_types = first::<_, 1>(client_type(setup).as_slice().iter().map(number));
    }
    let offers = psks(setup, &shared.provider, suite)
        .map(|psk| PskOffer { identity: psk.identity, binder_len: psk.hash.output_len() });
    let psks: Vec<PskOffer<'_>, MAX_PSKS> = first(offers);

    let params = shared.local_params;
    let stored = shared.flight.store(memory, |before, out| {
        let offer = Offer {
            random: &shared.client_random,
            suites: &suites,
            groups: &groups,
            schemes: &schemes,
            share: (share.group().to_u16(), share.public()),
            server_name: sni(setup).map(str::as_bytes),
            alpn: config.alpn,
            client_types: &client_types,
            server_types: &server_types,
            cookie,
            params: params.of(before),
            psks: &psks,
        };
        offer.emit(out);
    })?;
    let message = stored.of_mut(memory);
    let (covered, mut binders) = message
        .split_at_mut_checked(binders_at(message.len(), &psks))
        .trap(Fault(&(Cause::Impossible, "ClientHello shorter than its binders")))?;
    binders = binders.get_mut(2..).unwrap_or_default();
    for psk in self::psks(setup, &shared.provider, suite) {
        let digest = shared.transcript.digest_with(&shared.provider, psk.hash, covered);
        let schedule = Schedule::early(&shared.provider, psk.hash, Some(psk.key));
        let binder = schedule.external_binder(&shared.provider, &digest)?;
        // A binder stands behind its length.
        let (place, rest) = core::mem::take(&mut binders)
            .split_at_mut_checked(binder.as_bytes().len().saturating_add(1))
            .trap(Fault(&(Cause::Impossible, "ClientHello shorter than its binders")))?;
        place.iter_mut().skip(1).zip(binder.as_bytes()).for_each(|(to, from)| *to = *from);
        binders = rest;
    }
    shared.flight.send(Level::Initial, stored)?;
    Ok(stored)
}

/// As many as there is room for.
fn first<T, const N: usize>(items: impl IntoIterator<Item = T>) -> Vec<T, N> {
    let mut kept = Vec::new();
    let _ = items.into_iter().try_for_each(|item| kept.push(item));
    kept
}

/// The suites offered; with pre-shared keys only, those that can be used with one of them.
fn suites<'s, P: Provider, const CERTIFICATES: bool>(
    setup: &'s Setup<'_>,
    provider: &'s P,
) -> impl Iterator<Item = Suite> {
    let with_certificates = CERTIFICATES && setup.config.server.is_some();
    config::suites(setup.config.suites, provider)
        .filter(move |suite| with_certificates || psks(setup, provider, Some(*suite)).next().is_some())
}

/// The pre-shared keys offered: those for any suite of the provider, after a HelloRetryRequest those for its suite.
fn psks<'a, P: Provider>(
    setup: &Setup<'a>,
    provider: &P,
    suite: Option<Suite>,
) -> impl Iterator<Item = &'a Psk<'a>> {
    let all = setup.config.psks.iter().take(MAX_PSKS);
    all.filter(move |psk| match suite {
        Some(suite) => suite.hash() == psk.hash,
        None => config::has_hash(provider, psk.hash),
    })
}

/// The server's name, unless it is an address (RFC 6066 3).
pub(super) fn sni<'a>(setup: &Setup<'a>) -> Option<&'a str> {
    let name = setup.config.server_name?;
    let name = name.strip_suffix('.').unwrap_or(name);
    (!is_address(name)).then_some(name)
}

/// Whether this is an IP address: no name has a colon, or only digits behind its last dot (RFC 3696 2).
fn is_address(name: &str) -> bool {
    let mut labels = name.as_bytes().rsplit(|byte| *byte == b'.');
    name.bytes().any(|byte| byte == b':')
        || labels.next().is_some_and(|label| label.iter().all(u8::is_ascii_digit))
}

/// The types of certificate that the server is told we verify; none if it is the default (RFC 7250 4.1).
pub(super) fn server_types<'a>(setup: &Setup<'a>) -> &'a [CertificateType] {
    match setup.config.server.map(|verifier| verifier.types()) {
        None | Some([CertificateType::X509]) => &[],
        Some(types) => types,
    }
}

/// The type of certificate that the server is told we have; none if it is the default.
pub(super) fn client_type(setup: &Setup<'_>) -> Option<CertificateType> {
    let kind = setup.config.identity?.credential.kind();
    (kind != CertificateType::X509).then_some(kind)
}

/// A ClientHello is out.
pub(super) struct ExpectServerHello {
    /// The group of its share.
    group: Group,
    hello: Stored,
    /// The suite of the HelloRetryRequest, after one.
    retried: Option<Suite>,
}

impl ExpectServerHello {
    #[inline(never)]
    pub(super) fn handle<'a, P: Provider, const CERTIFICATES: bool>(
        &self,
        setup: &Setup<'a>,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
    ) -> Poll<Result<State<'a>, Fault>> {
        match Hello::parse(message.body)? {
            Hello::Server(hello) => self.on_hello::<P, CERTIFICATES>(setup, shared, memory, message, &hello),
            Hello::Retry(retry) => self.on_retry::<P, CERTIFICATES>(setup, shared, memory, message, &retry),
        }
    }

    fn on_hello<'a, P: Provider, const CERTIFICATES: bool>(
        &self,
        setup: &Setup<'a>,
        shared: &mut Handshake<'a, P>,
        memory: &[u8],
        message: &Message<'_>,
        hello: &ServerHello<'_>,
    ) -> Poll<Result<State<'a>, Fault>> {
        let suite = offered_suite::<P, CERTIFICATES>(setup, &shared.provider, hello.suite)?;
        if self.retried.is_some_and(|retried| retried != suite) {
            return wrong(&(Cause::IllegalParameter, "not the suite of the HelloRetryRequest"));
        }
        let Some((group, public)) = hello.share else {
            return match hello.psk {
                // psk_ke was not offered (RFC 9846 4.2.11).
                Some(_) => wrong(&(Cause::IllegalParameter, "a pre-shared key without key agreement")),
                None => wrong(&(Cause::MissingExtension, "ServerHello without a key share")),
            };
        };
        if group != self.group.to_u16() {
            return wrong(&(Cause::IllegalParameter, "a key share of a group without ours"));
        }
        let psk = match hello.psk {
            None => None,
            Some(_) if setup.config.psks.is_empty() => {
                return Poll::Ready(Err(crate::tls::extension::unsolicited()));
            }
            Some(index) => {
                let mut offered = psks(setup, &shared.provider, self.retried).zip(0..);
                let psk = offered.find(|(psk, place)| *place == index && psk.hash == suite.hash());
                let psk = psk.map(|(psk, _)| psk);
                let unknown = Fault(&(Cause::IllegalParameter, "a pre-shared key that was not offered"));
                Some(psk.ok_or(unknown)?)
            }
        };
        let secret = ready!(shared.agree(public))?;
        shared.choose(suite, psk.map(|psk| psk.key));
        shared.agreed.identity = psk.map(|psk| PeerIdentity::Psk(psk.identity));
        shared.transcript.add(self.hello.of(memory));
        shared.transcript.add(message.whole);
        shared.enter_handshake(&secret)?;
        let with_psk = psk.is_some();
        Poll::Ready(Ok(State::EncryptedExtensions(ExpectEncryptedExtensions { with_psk })))
    }

    fn on_retry<'a, P: Provider, const CERTIFICATES: bool>(
        &self,
        setup: &Setup<'a>,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: &Message<'_>,
        retry: &RetryRequest<'_>,
    ) -> Poll<Result<State<'a>, Fault>> {
        if self.retried.is_some() {
            return wrong(&(Cause::UnexpectedMessage, "a second HelloRetryRequest"));
        }
        let suite = offered_suite::<P, CERTIFICATES>(setup, &shared.provider, retry.suite)?;
        let group = match retry.group {
            None if retry.cookie.is_empty() => {
                return wrong(&(Cause::IllegalParameter, "a HelloRetryRequest that changes nothing"));
            }
            None => self.group,
            Some(number) => config::groups(setup.config.groups, &shared.provider)
                .find(|group| group.to_u16() == number && *group != self.group)
                .ok_or(Fault(&(
                    Cause::IllegalParameter,
                    "a HelloRetryRequest for a group we did not ask for",
                )))?,
        };
        ready!(shared.prepare(group))?;
        shared.transcript.retry(&shared.provider, suite.hash(), self.hello.of(memory));
        shared.transcript.add(message.whole);
        let hello = send::<P, CERTIFICATES>(setup, shared, memory, Some(suite), retry.cookie)?;
        Poll::Ready(Ok(State::ServerHello(Self { group, hello, retried: Some(suite) })))
    }
}

fn wrong<'a>(why: &'static (Cause, &'static str)) -> Poll<Result<State<'a>, Fault>> {
    Poll::Ready(Err(Fault(why)))
}

fn offered_suite<P: Provider, const CERTIFICATES: bool>(
    setup: &Setup<'_>,
    provider: &P,
    number: u16,
) -> Result<Suite, Fault> {
    suites::<P, CERTIFICATES>(setup, provider)
        .find(|suite| suite.to_u16() == number)
        .ok_or(Fault(&(Cause::IllegalParameter, "a suite that was not offered")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_names() {
        for address in ["192.0.2.1", "::1", "2001:db8::192.0.2.1", "fe80::1", ""] {
            assert!(is_address(address), "{address}");
        }
        for name in ["server.test", "localhost", "192.0.2.1.test", "1a", "xn--p1ai", "a.b1"] {
            assert!(!is_address(name), "{name}");
        }
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        assert_eq!(first::<u8, 3>([1, 2, 3, 4, 5])[..], [1, 2, 3]);
        assert_eq!(first::<u8, 3>([1])[..], [1]);
    }
}
