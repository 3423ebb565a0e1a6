//! Extension blocks (RFC 9846 4.2): their numbers, an iterator, and what an extension in a wrong place means.

use super::codec::{Content, Decoder, Encoder};
use crate::tls::fault::{Cause, Fault};

/// RFC 6066 3.
pub(crate) const SERVER_NAME: u16 = 0;
/// RFC 9846 4.2.7.
pub(crate) const SUPPORTED_GROUPS: u16 = 10;
/// RFC 9846 4.2.3.
pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
/// RFC 7301 3.1.
pub(crate) const ALPN: u16 = 16;
/// RFC 7250 3.
pub(crate) const CLIENT_CERTIFICATE_TYPE: u16 = 19;
/// RFC 7250 3.
pub(crate) const SERVER_CERTIFICATE_TYPE: u16 = 20;
/// RFC 9846 4.2.11.
pub(crate) const PRE_SHARED_KEY: u16 = 41;
/// RFC 9846 4.2.10. Named only to tell it from unknown ones: early data is never offered or accepted.
pub(crate) const EARLY_DATA: u16 = 42;
/// RFC 9846 4.2.1.
pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
/// RFC 9846 4.2.2.
pub(crate) const COOKIE: u16 = 44;
/// RFC 9846 4.2.9.
pub(crate) const PSK_KEY_EXCHANGE_MODES: u16 = 45;
/// RFC 9846 4.2.8.
pub(crate) const KEY_SHARE: u16 = 51;
/// RFC 9001 8.2.
pub(crate) const QUIC_TRANSPORT_PARAMETERS: u16 = 57;

/// All extensions that a client of ours may offer; an answer to any other one was not asked for.
const KNOWN: [u16; 13] = [
    SERVER_NAME,
    SUPPORTED_GROUPS,
    SIGNATURE_ALGORITHMS,
    ALPN,
    CLIENT_CERTIFICATE_TYPE,
    SERVER_CERTIFICATE_TYPE,
    PRE_SHARED_KEY,
    EARLY_DATA,
    SUPPORTED_VERSIONS,
    COOKIE,
    PSK_KEY_EXCHANGE_MODES,
    KEY_SHARE,
    QUIC_TRANSPORT_PARAMETERS,
];

/// Goes through an extension block. An extension of [`KNOWN`] that comes twice is an illegal_parameter; unknown ones
/// have no effect, once or twice.
#[derive(Debug)]
pub(crate) struct Extensions<'a> {
    rest: Decoder<'a>,
    seen: [bool; KNOWN.len()],
}

impl<'a> Extensions<'a> {
    /// `block` is what stands behind the length of the block.
    pub(crate) const fn new(block: Decoder<'a>) -> Self {
        Self { rest: block, seen: [false; KNOWN.len()] }
    }

    /// The next extension and its data, or `None` behind the last one.
    pub(crate) fn next(&mut self) -> Result<Option<(u16, Decoder<'a>)>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let kind = self.rest.u16()?;
        let data = self.rest.vec16()?;
        let known = KNOWN.iter().position(|known| *known == kind);
        if let Some(seen) = known.and_then(|row| self.seen.get_mut(row)) {
            if *seen {
                return Err(Fault(&(Cause::IllegalParameter, "an extension came twice")));
            }
            *seen = true;
        }
        Ok(Some((kind, self.rest.within(data))))
    }

    /// Whether the extension just taken was the last one.
    pub(crate) const fn is_last(&self) -> bool {
        self.rest.is_empty()
    }
}

/// An extension that its message may not carry: one we know has its place elsewhere, another one answers nothing.
pub(crate) fn misplaced(kind: u16) -> Fault {
    if KNOWN.contains(&kind) && kind != EARLY_DATA {
        Fault(&(Cause::IllegalParameter, "an extension in a message it has no place in"))
    } else {
        unsolicited()
    }
}

/// An answer to an extension that was not offered.
pub(crate) const fn unsolicited() -> Fault {
    Fault(&(Cause::UnsupportedExtension, "an extension that was not asked for"))
}

/// Writes an extension.
pub(crate) fn emit(out: &mut Encoder<'_>, kind: u16, data: impl Content) {
    out.u16(kind);
    out.vec16(data);
}
