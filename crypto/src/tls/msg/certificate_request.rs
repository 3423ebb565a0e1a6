//! CertificateRequest (RFC 9846 4.3.2), as it stands in a handshake: with an empty context.

use crate::tls::codec::{Decoder, Encoder, U16s};
use crate::tls::extension::{self, Extensions};
use crate::tls::fault::{Cause, Fault};
use crate::tls::msg::client_hello::emit_u16s;
use crate::tls::msg::{self, Kind};

/// The schemes a server accepts in the CertificateVerify it asks for.
pub(crate) fn parse(body: &[u8]) -> Result<U16s<'_>, Fault> {
    let mut decoder = Decoder::new(body, Fault(&(Cause::DecodeError, "malformed CertificateRequest")));
    let context = decoder.vec8()?;
    let block = decoder.vec16()?;
    decoder.end()?;
    if !context.is_empty() {
        return Err(Fault(&(Cause::IllegalParameter, "CertificateRequest with a context")));
    }
    let mut schemes = None;
    let mut extensions = Extensions::new(decoder.within(block));
    while let Some((kind, mut data)) = extensions.next()? {
        // What we do not know is ignored here, other than in answers (RFC 9846 4.3.2).
        if kind == extension::SIGNATURE_ALGORITHMS {
            let list = data.vec16()?;
            data.end()?;
            schemes = Some(data.u16s(list)?);
        }
    }
    schemes.ok_or(Fault(&(Cause::MissingExtension, "CertificateRequest without signature_algorithms")))
}

pub(crate) fn emit(out: &mut Encoder<'_>, schemes: &[u16]) {
    msg::emit(out, Kind::CertificateRequest, |out: &mut Encoder<'_>| {
        out.vec8(&[][..]);
        out.vec16(|out: &mut Encoder<'_>| emit_u16s(out, extension::SIGNATURE_ALGORITHMS, schemes));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut out = [0; 64];
        let mut encoder = Encoder::new(&mut out);
        emit(&mut encoder, &[0x0403, 0x0807]);
        let len = encoder.finish().unwrap();
        let schemes = parse(&out[4..len]).unwrap();
        assert!(schemes.contains(0x0807) && !schemes.contains(0x0804));
        for cut in 4..len {
            assert!(parse(&out[4..cut]).is_err());
        }
        let alert = |body: &[u8]| parse(body).unwrap_err().cause();
        assert_eq!(alert(&[0, 0, 0]), Cause::MissingExtension);
        assert_eq!(alert(&[1, 9, 0, 0]), Cause::IllegalParameter);
    }
}
