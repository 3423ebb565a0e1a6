//! ClientHello (RFC 9846 4.1.2, QUIC's demands on it: RFC 9001 8).

use crate::tls::codec::{Decoder, Encoder, U16s};
use crate::tls::extension::{self, Extensions};
use crate::tls::fault::{Cause, Fault};
use crate::tls::msg::{self, Kind, LEGACY_VERSION, RANDOM_LEN, TLS13};

/// PskKeyExchangeMode psk_dhe_ke (RFC 9846 4.2.9), the only one with forward secrecy and the only one here.
const PSK_DHE_KE: u8 = 1;
/// NameType host_name (RFC 6066 3).
const HOST_NAME: u8 = 0;

/// A ClientHello as a server reads it. Lists are checked for their form, not for what they say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientHello<'a> {
    pub(crate) random: [u8; RANDOM_LEN],
    pub(crate) suites: U16s<'a>,
    pub(crate) server_name: Option<&'a [u8]>,
    pub(crate) groups: Option<U16s<'a>>,
    pub(crate) schemes: Option<U16s<'a>>,
    pub(crate) shares: Option<Shares<'a>>,
    pub(crate) alpn: Option<Protocols<'a>>,
    pub(crate) client_types: Option<&'a [u8]>,
    pub(crate) server_types: Option<&'a [u8]>,
    pub(crate) psk: Option<OfferedPsks<'a>>,
    pub(crate) params: &'a [u8],
}

impl<'a> ClientHello<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Fault> {
        let mut decoder = Decoder::new(body, Fault(&(Cause::DecodeError, "malformed ClientHello")));
        if decoder.u16()? != LEGACY_VERSION {
            return Err(Fault(&(Cause::ProtocolVersion, "legacy_version of a ClientHello is not 0x0303")));
        }
        let random = decoder.array()?;
        let session_id = decoder.vec8()?;
        let suites = decoder.vec16()?;
        let suites = decoder.u16s(suites)?;
        let compression = decoder.vec8()?;
        let block = decoder.vec16()?;
        decoder.end()?;

        let mut hello = Self {
            random,
            suites,
            server_name: None,
            groups: None,
            schemes: None,
            shares: None,
            alpn: None,
            client_types: None,
            server_types: None,
            psk: None,
            params: &[],
        };
        let mut tls13 = false;
        let mut psk_modes = None;
        let mut params = None;
        let mut extensions = Extensions::new(decoder.within(block));
        while let Some((kind, mut data)) = extensions.next()? {
            match kind {
                extension::SERVER_NAME => hello.server_name = Some(host_name(&mut data)?),
                extension::SUPPORTED_GROUPS => hello.groups = Some(list(&mut data)?),
                extension::SIGNATURE_ALGORITHMS => hello.schemes = Some(list(&mut data)?),
                extension::ALPN => hello.alpn = Some(Protocols::parse(&mut data)?),
                extension::CLIENT_CERTIFICATE_TYPE => hello.client_types = Some(bytes(&mut data)?),
                extension::SERVER_CERTIFICATE_TYPE => hello.server_types = Some(bytes(&mut data)?),
                extension::SUPPORTED_VERSIONS => {
                    let versions = data.vec8()?;
                    tls13 = data.u16s(versions)?.contains(TLS13);
                }
                extension::COOKIE => {
                    let cookie = data.vec16()?;
                    data.not_empty(cookie)?;
                }
                extension::PSK_KEY_EXCHANGE_MODES => psk_modes = Some(bytes(&mut data)?),
                extension::KEY_SHARE => hello.shares = Some(Shares::parse(&mut data)?),
                extension::QUIC_TRANSPORT_PARAMETERS => params = Some(data.take_rest()),
                extension::EARLY_DATA => {}
                extension::PRE_SHARED_KEY => {
                    if !extensions.is_last() {
                        return Err(Fault(&(
                            Cause::IllegalParameter,
                            "pre_shared_key is not the last extension",
                        )));
                    }
                    hello.psk = Some(OfferedPsks::parse(&mut data)?);
                }
                _ => continue,
            }
            data.end()?;
        }
        if !tls13 {
            return Err(Fault(&(Cause::ProtocolVersion, "the client does not speak TLS 1.3")));
        }
        if compression != [0] {
            return Err(Fault(&(Cause::IllegalParameter, "a ClientHello with compression")));
        }
        if !session_id.is_empty() {
            // RFC 9001 8.4: compatibility mode has no place in QUIC.
            return Err(Fault(&(Cause::Violation, "ClientHello with a legacy session ID")));
        }
        let missing = Fault(&(Cause::MissingExtension, "ClientHello without transport parameters"));
        hello.params = params.ok_or(missing)?;
        if hello.psk.is_some() {
            let missing = Fault(&(Cause::MissingExtension, "pre_shared_key without psk_key_exchange_modes"));
            if !psk_modes.ok_or(missing)?.contains(&PSK_DHE_KE) {
                hello.psk = None;
            }
        }
        Ok(hello)
    }
}

/// A vector of two-byte values behind a two-byte length.
fn list<'a>(data: &mut Decoder<'a>) -> Result<U16s<'a>, Fault> {
    let list = data.vec16()?;
    data.u16s(list)
}

/// A vector of at least one byte behind a one-byte length.
fn bytes<'a>(data: &mut Decoder<'a>) -> Result<&'a [u8], Fault> {
    let bytes = data.vec8()?;
    data.not_empty(bytes)
}

/// The host name of a server_name extension, the only type of name there is.
fn host_name<'a>(data: &mut Decoder<'a>) -> Result<&'a [u8], Fault> {
    let list = data.vec16()?;
    let mut list = data.within(list);
    if list.u8()? != HOST_NAME {
        return Err(list.error());
    }
    let name = list.vec16()?;
    list.end()?;
    list.not_empty(name)
}

/// The key shares of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares<'a>(Decoder<'a>);

impl<'a> Shares<'a> {
    fn parse(data: &mut Decoder<'a>) -> Result<Self, Fault> {
        let list = data.vec16()?;
        let mut list = data.within(list);
        let shares = Self(list);
        while !list.is_empty() {
            list.u16()?;
            let public = list.vec16()?;
            list.not_empty(public)?;
        }
        Ok(shares)
    }

    /// The public value for `group`.
    pub(crate) fn find(mut self, group: u16) -> Option<&'a [u8]> {
        loop {
            let (offered, public) = (self.0.u16().ok()?, self.0.vec16().ok()?);
            if offered == group {
                return Some(public);
            }
        }
    }

    /// How many there are, and the first one's group.
    pub(crate) fn only(mut self) -> Option<u16> {
        let group = self.0.u16().ok()?;
        self.0.vec16().ok()?;
        self.0.is_empty().then_some(group)
    }
}

/// A list of protocol names (RFC 7301 3.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocols<'a>(Decoder<'a>);

impl<'a> Protocols<'a> {
    fn parse(data: &mut Decoder<'a>) -> Result<Self, Fault> {
        let list = data.vec16()?;
        let mut list = data.within(data.not_empty(list)?);
        let protocols = Self(list);
        while !list.is_empty() {
            bytes(&mut list)?;
        }
        Ok(protocols)
    }

    pub(crate) fn contains(mut self, name: &[u8]) -> bool {
        while let Ok(offered) = self.0.vec8() {
            if offered == name {
                return true;
            }
        }
        false
    }
}

/// The pre-shared keys a client offers (RFC 9846 4.2.11), as many binders as identities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfferedPsks<'a> {
    identities: Decoder<'a>,
    binders: Decoder<'a>,
    /// Bytes at the end of the ClientHello that binders do not cover: the binders and their length.
    pub(crate) uncovered: usize,
}

impl<'a> OfferedPsks<'a> {
    fn parse(data: &mut Decoder<'a>) -> Result<Self, Fault> {
        let identities = data.vec16()?;
        let uncovered = data.remaining();
        let binders = data.vec16()?;
        let psks = Self { identities: data.within(identities), binders: data.within(binders), uncovered };
        let (mut identities, mut binders) = (psks.identities, psks.binders);
        while !identities.is_empty() {
            let identity = identities.vec16()?;
            identities.not_empty(identity)?;
            identities.bytes(4)?;
            if binders.vec8()?.len() < 32 {
                return Err(binders.error());
            }
        }
        if !binders.is_empty() || psks.identities.is_empty() {
            return Err(Fault(&(Cause::IllegalParameter, "not as many binders as identities")));
        }
        Ok(psks)
    }

    /// The next identity and its binder. The age is of no use without tickets, and ignored (RFC 9846 4.2.11).
    pub(crate) fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let identity = self.identities.vec16().ok()?;
        self.identities.bytes(4).ok()?;
        Some((identity, self.binders.vec8().ok()?))
    }
}

/// A pre-shared key to be offered: its identity and how long its binder is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PskOffer<'a> {
    pub(crate) identity: &'a [u8],
    pub(crate) binder_len: usize,
}

/// A ClientHello as a client writes it. Empty lists leave their extension out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) random: &'a [u8; RANDOM_LEN],
    pub(crate) suites: &'a [u16],
    pub(crate) groups: &'a [u16],
    pub(crate) schemes: &'a [u16],
    /// The group and public value of the one share.
    pub(crate) share: (u16, &'a [u8]),
    pub(crate) server_name: Option<&'a [u8]>,
    pub(crate) alpn: &'a [&'a [u8]],
    pub(crate) client_types: &'a [u8],
    pub(crate) server_types: &'a [u8],
    pub(crate) cookie: &'a [u8],
    pub(crate) params: &'a [u8],
    pub(crate) psks: &'a [PskOffer<'a>],
}

impl Offer<'_> {
    /// Writes the message; binders are zero until [`patch_binders`].
    pub(crate) fn emit(&self, out: &mut Encoder<'_>) {
        msg::emit(out, Kind::ClientHello, |out: &mut Encoder<'_>| {
            out.u16(LEGACY_VERSION);
            out.bytes(self.random);
            out.vec8(&[][..]);
            out.vec16(|out: &mut Encoder<'_>| out.u16s(self.suites.iter().copied()));
            out.vec8(&[0][..]);
            out.vec16(|out: &mut Encoder<'_>| self.extensions(out));
        });
    }

    fn extensions(&self, out: &mut Encoder<'_>) {
        extension::emit(out, extension::SUPPORTED_VERSIONS, |out: &mut Encoder<'_>| {
            out.vec8(&TLS13.to_be_bytes()[..]);
        });
        if let Some(name) = self.server_name {
            extension::emit(out, extension::SERVER_NAME, |out: &mut Encoder<'_>| {
                out.vec16(|out: &mut Encoder<'_>| {
                    out.u8(HOST_NAME);
                    out.vec16(name);
                });
            });
        }
        emit_u16s(out, extension::SUPPORTED_GROUPS, self.groups);
        emit_u16s(out, extension::SIGNATURE_ALGORITHMS, self.schemes);
        extension::emit(out, extension::KEY_SHARE, |out: &mut Encoder<'_>| {
            out.vec16(|out: &mut Encoder<'_>| emit_share(out, self.share));
        });
        if !self.alpn.is_empty() {
            emit_alpn(out, self.alpn);
        }
        emit_types(out, extension::CLIENT_CERTIFICATE_TYPE, self.client_types);
        emit_types(out, extension::SERVER_CERTIFICATE_TYPE, self.server_types);
        if !self.cookie.is_empty() {
            extension::emit(out, extension::COOKIE, |out: &mut Encoder<'_>| out.vec16(self.cookie));
        }
        extension::emit(out, extension::QUIC_TRANSPORT_PARAMETERS, self.params);
        if self.psks.is_empty() {
            return;
        }
        extension::emit(out, extension::PSK_KEY_EXCHANGE_MODES, |out: &mut Encoder<'_>| {
            out.vec8(&[PSK_DHE_KE][..]);
        });
        extension::emit(out, extension::PRE_SHARED_KEY, |out: &mut Encoder<'_>| {
            out.vec16(|out: &mut Encoder<'_>| {
                self.psks.iter().for_each(|psk| {
                    out.vec16(psk.identity);
                    out.bytes(&[0; 4]);
                });
            });
            out.vec16(|out: &mut Encoder<'_>| {
                self.psks.iter().for_each(|psk| {
                    let zeros = [0; crate::provider::MAX_HASH_LEN];
                    out.vec8(zeros.get(..psk.binder_len).unwrap_or_default());
                });
            });
        });
    }
}

/// Where the binders of an emitted ClientHello begin, their list's length included; the end if there are none.
pub(crate) fn binders_at(len: usize, psks: &[PskOffer<'_>]) -> usize {
    let binders: usize = psks.iter().map(|psk| psk.binder_len.saturating_add(1)).sum();
    if psks.is_empty() { len } else { len.saturating_sub(binders).saturating_sub(2) }
}

/// One entry of a key_share extension.
pub(crate) fn emit_share(out: &mut Encoder<'_>, (group, public): (u16, &[u8])) {
    out.u16(group);
    out.vec16(public);
}

/// The ALPN extension: a client's list, or the one name a server chose.
pub(crate) fn emit_alpn(out: &mut Encoder<'_>, names: &[&[u8]]) {
    extension::emit(out, extension::ALPN, |out: &mut Encoder<'_>| {
        out.vec16(|out: &mut Encoder<'_>| names.iter().for_each(|name| out.vec8(*name)));
    });
}

/// An extension that is a vector of two-byte values; nothing if there are none.
pub(crate) fn emit_u16s(out: &mut Encoder<'_>, kind: u16, values: &[u16]) {
    if values.is_empty() {
        return;
    }
    extension::emit(out, kind, |out: &mut Encoder<'_>| {
        out.vec16(|out: &mut Encoder<'_>| out.u16s(values.iter().copied()));
    });
}

/// A list of certificate types (RFC 7250 3); nothing if there are none.
fn emit_types(out: &mut Encoder<'_>, kind: u16, types: &[u8]) {
    if types.is_empty() {
        return;
    }
    extension::emit(out, kind, |out: &mut Encoder<'_>| out.vec8(types));
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::tls::msg::HEADER_LEN;

    const OFFER: Offer<'_> = Offer {
        random: &[9; RANDOM_LEN],
        suites: &[0x1301, 0x1303],
        groups: &[29, 23],
        schemes: &[0x0807],
        share: (29, &[1; 32]),
        server_name: Some(b"server.test"),
        alpn: &[b"h3", b"hq-interop"],
        client_types: &[2],
        server_types: &[0, 2],
        cookie: b"crumbs",
        params: b"params",
        psks: &[PskOffer { identity: b"one", binder_len: 32 }, PskOffer { identity: b"two", binder_len: 48 }],
    };

    fn written(offer: &Offer<'_>) -> Vec<u8> {
        let mut out = [0; 600];
        let mut encoder = Encoder::new(&mut out);
        offer.emit(&mut encoder);
        let len = encoder.finish().unwrap();
        out[..len].to_vec()
    }

    #[test]
    fn round_trip() {
        let bytes = written(&OFFER);
        let hello = ClientHello::parse(&bytes[HEADER_LEN..]).unwrap();
        assert_eq!(hello.random, [9; 32]);
        assert!(hello.suites.contains(0x1303) && !hello.suites.contains(0x1302));
        assert!(hello.groups.unwrap().contains(23) && hello.schemes.unwrap().contains(0x0807));
        assert_eq!(hello.shares.unwrap().find(29), Some(&[1; 32][..]));
        assert_eq!((hello.shares.unwrap().find(23), hello.shares.unwrap().only()), (None, Some(29)));
        assert_eq!(hello.server_name, Some(&b"server.test"[..]));
        assert!(hello.alpn.unwrap().contains(b"hq-interop") && !hello.alpn.unwrap().contains(b"hq"));
        assert_eq!((hello.client_types, hello.server_types), (Some(&[2][..]), Some(&[0, 2][..])));
        assert_eq!(hello.params, b"params");
        let mut psks = hello.psk.unwrap();
        assert_eq!(bytes.len() - psks.uncovered, binders_at(bytes.len(), OFFER.psks));
        assert_eq!(psks.next(), Some((&b"one"[..], &[0; 32][..])));
        assert_eq!(psks.next(), Some((&b"two"[..], &[0; 48][..])));
        assert_eq!(psks.next(), None);
        for cut in HEADER_LEN..bytes.len() {
            assert!(ClientHello::parse(&bytes[HEADER_LEN..cut]).is_err());
        }
    }

    /// A ClientHello made of these extensions.
    fn with(session_id: &[u8], compression: &[u8], extensions: &[(u16, &[u8])]) -> Option<Cause> {
        let mut out = [0; 300];
        let mut encoder = Encoder::new(&mut out);
        encoder.u16(LEGACY_VERSION);
        encoder.bytes(&[0; RANDOM_LEN]);
        encoder.vec8(session_id);
        encoder.vec16(&[0x13, 0x01][..]);
        encoder.vec8(compression);
        let all = |out: &mut Encoder<'_>| {
            extensions.iter().for_each(|(kind, data)| extension::emit(out, *kind, *data));
        };
        encoder.vec16(all);
        let len = encoder.finish().unwrap();
        ClientHello::parse(&out[..len]).err().map(Fault::cause)
    }

    #[test]
    fn what_quic_and_tls_demand() {
        const VERSIONS: (u16, &[u8]) = (extension::SUPPORTED_VERSIONS, &[2, 3, 4]);
        const PARAMS: (u16, &[u8]) = (extension::QUIC_TRANSPORT_PARAMETERS, &[]);
        const UNKNOWN: (u16, &[u8]) = (0x5a5a, &[1, 2, 3]);
        const PSK: (u16, &[u8]) = (
            extension::PRE_SHARED_KEY,
            &[
                0, 7, 0, 1, 1, 0, 0, 0, 0, 0, 33, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        );
        const MODES: (u16, &[u8]) = (extension::PSK_KEY_EXCHANGE_MODES, &[1, 1]);
        let with_all = |extensions: &[(u16, &[u8])]| with(&[], &[0], extensions);
        assert_eq!(with_all(&[VERSIONS, PARAMS]), None);
        assert_eq!(with_all(&[UNKNOWN, VERSIONS, UNKNOWN, PARAMS]), None, "unknown is ignored");
        assert_eq!(with_all(&[VERSIONS, PARAMS, MODES, PSK]), None);
        assert_eq!(with_all(&[VERSIONS, PSK, PARAMS, MODES]), Some(Cause::IllegalParameter), "not the last");
        assert_eq!(with_all(&[VERSIONS, PARAMS, PSK]), Some(Cause::MissingExtension), "no modes");
        assert_eq!(with_all(&[VERSIONS, PARAMS, VERSIONS]), Some(Cause::IllegalParameter), "twice");
        assert_eq!(with_all(&[VERSIONS]), Some(Cause::MissingExtension), "no transport parameters");
        assert_eq!(with_all(&[PARAMS]), Some(Cause::ProtocolVersion), "TLS 1.2");
        assert_eq!(with(&[], &[1, 0], &[VERSIONS, PARAMS]), Some(Cause::IllegalParameter), "compression");
        assert_eq!(with(&[1], &[0], &[VERSIONS, PARAMS]), Some(Cause::Violation), "session ID");
    }
}
