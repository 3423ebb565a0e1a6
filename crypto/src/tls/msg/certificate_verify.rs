//! CertificateVerify (RFC 9846 4.4.3): the message, and what its signature covers.

use heapless::Vec;
use peregrine_core::ids::Side;

use crate::provider::{Digest, MAX_HASH_LEN, Scheme};
use crate::tls::codec::{Decoder, Encoder};
use crate::tls::fault::{Cause, Fault};
use crate::tls::msg::{self, Kind};

/// The scheme and the signature.
pub(crate) fn parse(body: &[u8]) -> Result<(Scheme, &[u8]), Fault> {
    let mut decoder = Decoder::new(body, Fault(&(Cause::DecodeError, "malformed CertificateVerify")));
    let scheme = Scheme(decoder.u16()?);
    let signature = decoder.vec16()?;
    decoder.end()?;
    Ok((scheme, signature))
}

pub(crate) fn emit(out: &mut Encoder<'_>, scheme: Scheme, signature: &[u8]) {
    msg::emit(out, Kind::CertificateVerify, |out: &mut Encoder<'_>| {
        out.u16(scheme.0);
        out.vec16(signature);
    });
}

const PAD_LEN: usize = 64;
const SERVER_CONTEXT: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const CLIENT_CONTEXT: &[u8] = b"TLS 1.3, client CertificateVerify\0";

/// What `signer` signs when the transcript up to its Certificate has the hash `transcript`.
pub(crate) fn signed(
    signer: Side,
    transcript: &Digest,
) -> Result<Vec<u8, { PAD_LEN + SERVER_CONTEXT.len() + MAX_HASH_LEN }>, Fault> {
    let context = match signer {
        Side::Client => CLIENT_CONTEXT,
        Side::Server => SERVER_CONTEXT,
    };
    let mut message = Vec::new();
    for part in [&[b' '; PAD_LEN][..], context, transcript.as_bytes()] {
        let full = Fault(&(Cause::Impossible, "signed content longer than its parts"));
        message.extend_from_slice(part).map_err(|_| full)?;
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_9846() {
        let message = signed(Side::Server, &Digest::sha256(&[1; 32])).unwrap();
        assert_eq!(message.len(), 130);
        assert_eq!(message[..64], [0x20; 64]);
        assert_eq!(&message[64..97], b"TLS 1.3, server CertificateVerify");
        assert_eq!(message[97], 0);
        assert_eq!(message[98..], [1; 32]);
        assert_eq!(signed(Side::Client, &Digest::sha384([1; 48])).unwrap().len(), 146);
    }

    #[test]
    fn round_trip() {
        let mut out = [0; 16];
        let mut encoder = Encoder::new(&mut out);
        emit(&mut encoder, Scheme::ED25519, b"signed");
        assert_eq!(encoder.finish(), Ok(14));
        assert_eq!(parse(&out[4..14]), Ok((Scheme::ED25519, &b"signed"[..])));
        assert!(parse(&out[4..13]).is_err());
        assert!(parse(&out[4..15]).is_err());
    }
}
