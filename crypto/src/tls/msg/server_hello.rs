//! ServerHello and HelloRetryRequest (RFC 9846 4.1.3, 4.1.4): one message on the wire, two by its random.

use crate::tls::codec::{Decoder, Encoder};
use crate::tls::extension::{self, Extensions};
use crate::tls::fault::{Cause, Fault};
use crate::tls::msg::client_hello::emit_share;
use crate::tls::msg::{self, Kind, LEGACY_VERSION, RANDOM_LEN, TLS13};

/// The random that makes a ServerHello a HelloRetryRequest: SHA-256 of that word (RFC 9846 4.1.3).
const RETRY_RANDOM: [u8; RANDOM_LEN] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a message of type server_hello can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hello<'a> {
    Server(ServerHello<'a>),
    Retry(RetryRequest<'a>),
}

/// The server's choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ServerHello<'a> {
    pub(crate) random: [u8; RANDOM_LEN],
    pub(crate) suite: u16,
    /// Group and public value.
    pub(crate) share: Option<(u16, &'a [u8])>,
    /// Which of the offered pre-shared keys.
    pub(crate) psk: Option<u16>,
}

/// The server wants another ClientHello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RetryRequest<'a> {
    pub(crate) suite: u16,
    pub(crate) group: Option<u16>,
    /// Empty if there is none.
    pub(crate) cookie: &'a [u8],
}

impl<'a> Hello<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Fault> {
        let mut decoder = Decoder::new(body, Fault(&(Cause::DecodeError, "malformed ServerHello")));
        if decoder.u16()? != LEGACY_VERSION {
            return Err(Fault(&(Cause::ProtocolVersion, "legacy_version of a ServerHello is not 0x0303")));
        }
        let random = decoder.array()?;
        let session_id = decoder.vec8()?;
        let suite = decoder.u16()?;
        let compression = decoder.u8()?;
        // A TLS 1.2 ServerHello may end here; it has no supported_versions either.
        let block = if decoder.is_empty() { &[] } else { decoder.vec16()? };
        decoder.end()?;

        let retry = random == RETRY_RANDOM;
        let (mut version, mut share, mut group, mut psk, mut cookie) = (None, None, None, None, &[][..]);
        let mut extensions = Extensions::new(decoder.within(block));
        while let Some((kind, mut data)) = extensions.next()? {
            match kind {
                extension::SUPPORTED_VERSIONS => version = Some(data.u16()?),
                extension::KEY_SHARE if retry => group = Some(data.u16()?),
                extension::KEY_SHARE => {
                    let group = data.u16()?;
                    let public = data.vec16()?;
                    share = Some((group, data.not_empty(public)?));
                }
                extension::PRE_SHARED_KEY if !retry => psk = Some(data.u16()?),
                extension::COOKIE if retry => {
                    let bytes = data.vec16()?;
                    cookie = data.not_empty(bytes)?;
                }
                _ => return Err(extension::misplaced(kind)),
            }
            data.end()?;
        }
        match version {
            Some(TLS13) => {}
            Some(_) => return Err(Fault(&(Cause::IllegalParameter, "a version that was not offered"))),
            None => return Err(Fault(&(Cause::ProtocolVersion, "the server does not speak TLS 1.3"))),
        }
        if !session_id.is_empty() || compression != 0 {
            return Err(Fault(&(Cause::IllegalParameter, "legacy fields of a ServerHello in use")));
        }
        Ok(if retry {
            Self::Retry(RetryRequest { suite, group, cookie })
        } else {
            Self::Server(ServerHello { random, suite, share, psk })
        })
    }

    pub(crate) fn emit(&self, out: &mut Encoder<'_>) {
        let (random, suite) = match self {
            Self::Server(hello) => (&hello.random, hello.suite),
            Self::Retry(retry) => (&RETRY_RANDOM, retry.suite),
        };
        msg::emit(out, Kind::ServerHello, |out: &mut Encoder<'_>| {
            out.u16(LEGACY_VERSION);
            out.bytes(random);
            out.vec8(&[][..]);
            out.u16(suite);
            out.u8(0);
            out.vec16(|out: &mut Encoder<'_>| self.extensions(out));
        });
    }

    fn extensions(&self, out: &mut Encoder<'_>) {
        extension::emit(out, extension::SUPPORTED_VERSIONS, &TLS13.to_be_bytes()[..]);
        match *self {
            Self::Server(hello) => {
                if let Some(share) = hello.share {
                    let share = |out: &mut Encoder<'_>| emit_share(out, share);
                    extension::emit(out, extension::KEY_SHARE, share);
                }
                if let Some(index) = hello.psk {
                    extension::emit(out, extension::PRE_SHARED_KEY, &index.to_be_bytes()[..]);
                }
            }
            Self::Retry(retry) => {
                if let Some(group) = retry.group {
                    extension::emit(out, extension::KEY_SHARE, &group.to_be_bytes()[..]);
                }
                if !retry.cookie.is_empty() {
                    let cookie = |out: &mut Encoder<'_>| out.vec16(retry.cookie);
                    extension::emit(out, extension::COOKIE, cookie);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(hello: Hello<'_>) {
        let mut out = [0; 200];
        let mut encoder = Encoder::new(&mut out);
        hello.emit(&mut encoder);
        let len = encoder.finish().unwrap();
        assert_eq!(Hello::parse(&out[4..len]), Ok(hello));
        for cut in 4..len {
            assert!(Hello::parse(&out[4..cut]).is_err());
        }
    }

    #[test]
    fn both_kinds_round_trip() {
        round_trip(Hello::Server(ServerHello {
            random: [7; 32],
            suite: 0x1301,
            share: Some((29, &[1; 32])),
            psk: Some(1),
        }));
        round_trip(Hello::Retry(RetryRequest { suite: 0x1302, group: Some(23), cookie: b"crumbs" }));
    }

    #[test]
    fn downgrades_and_legacy_fields_are_refused() {
        let hello = ServerHello { random: [7; 32], suite: 0x1301, share: None, psk: None };
        let mut out = [0; 200];
        let mut encoder = Encoder::new(&mut out);
        Hello::Server(hello).emit(&mut encoder);
        let len = encoder.finish().unwrap();
        let alert = |at: usize, value: u8| {
            let mut changed = out;
            changed[at] = value;
            Hello::parse(&changed[4..len]).unwrap_err().cause()
        };
        assert_eq!(alert(5, 2), Cause::ProtocolVersion, "legacy_version");
        assert_eq!(alert(41, 1), Cause::IllegalParameter, "compression");
        assert_eq!(alert(len - 1, 3), Cause::IllegalParameter, "selected_version");
        assert_eq!(alert(len - 5, 16), Cause::IllegalParameter, "ALPN in a ServerHello");
        assert_eq!(alert(len - 5, 99), Cause::UnsupportedExtension, "an unknown extension");
        let tls12 = Hello::parse(&out[4..42]).unwrap_err();
        assert_eq!(tls12.cause(), Cause::ProtocolVersion);
    }
}
