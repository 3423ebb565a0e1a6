//! EncryptedExtensions (RFC 9846 4.3.1).

use crate::tls::codec::{Decoder, Encoder};
use crate::tls::extension::{self, Extensions};
use crate::tls::fault::{Cause, Fault};
use crate::tls::msg::client_hello::emit_alpn;
use crate::tls::msg::{self, Kind};

/// What a server answers besides the key exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EncryptedExtensions<'a> {
    pub(crate) alpn: Option<&'a [u8]>,
    /// server_name is acknowledged with an empty extension (RFC 6066 3).
    pub(crate) server_name: bool,
    pub(crate) client_type: Option<u8>,
    pub(crate) server_type: Option<u8>,
    pub(crate) params: &'a [u8],
}

impl<'a> EncryptedExtensions<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Fault> {
        let mut decoder = Decoder::new(body, Fault(&(Cause::DecodeError, "malformed EncryptedExtensions")));
        let block = decoder.vec16()?;
        decoder.end()?;
        let mut this =
            Self { alpn: None, server_name: false, client_type: None, server_type: None, params: &[] };
        let mut params = None;
        let mut extensions = Extensions::new(decoder.within(block));
        while let Some((kind, mut data)) = extensions.next()? {
            match kind {
                extension::ALPN => {
                    let list = data.vec16()?;
                    let mut list = data.within(list);
                    let name = list.vec8()?;
                    list.end()?;
                    this.alpn = Some(list.not_empty(name)?);
                }
                extension::SERVER_NAME => this.server_name = true,
                extension::CLIENT_CERTIFICATE_TYPE => this.client_type = Some(data.u8()?),
                extension::SERVER_CERTIFICATE_TYPE => this.server_type = Some(data.u8()?),
                // Which groups it likes, for connections to come; nothing we keep.
                extension::SUPPORTED_GROUPS => _ = data.take_rest(),
                extension::QUIC_TRANSPORT_PARAMETERS => params = Some(data.take_rest()),
                _ => return Err(extension::misplaced(kind)),
            }
            data.end()?;
        }
        let missing = Fault(&(Cause::MissingExtension, "EncryptedExtensions without transport parameters"));
        Ok(Self { params: params.ok_or(missing)?, ..this })
    }

    pub(crate) fn emit(&self, out: &mut Encoder<'_>) {
        msg::emit(out, Kind::EncryptedExtensions, |out: &mut Encoder<'_>| {
            out.vec16(|out: &mut Encoder<'_>| {
                if self.server_name {
                    extension::emit(out, extension::SERVER_NAME, &[][..]);
                }
                if let Some(name) = self.alpn {
                    emit_alpn(out, &[name]);
                }
                for (kind, chosen) in [
                    (extension::CLIENT_CERTIFICATE_TYPE, self.client_type),
                    (extension::SERVER_CERTIFICATE_TYPE, self.server_type),
                ] {
                    if let Some(chosen) = chosen {
                        extension::emit(out, kind, &[chosen][..]);
                    }
                }
                extension::emit(out, extension::QUIC_TRANSPORT_PARAMETERS, self.params);
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut out = [0; 200];
        let mut encoder = Encoder::new(&mut out);
        let sent = EncryptedExtensions {
            alpn: Some(b"h3"),
            server_name: true,
            client_type: Some(2),
            server_type: Some(0),
            params: &[1, 2, 3],
        };
        sent.emit(&mut encoder);
        let len = encoder.finish().unwrap();
        assert_eq!(EncryptedExtensions::parse(&out[4..len]), Ok(sent));
        for cut in 4..len {
            assert!(EncryptedExtensions::parse(&out[4..cut]).is_err());
        }
    }

    #[test]
    fn extensions_of_other_messages_are_refused() {
        let alert = |body: &[u8]| EncryptedExtensions::parse(body).unwrap_err().cause();
        assert_eq!(alert(&[0, 0]), Cause::MissingExtension);
        assert_eq!(alert(&[0, 6, 0, 51, 0, 2, 0, 29]), Cause::IllegalParameter);
        assert_eq!(alert(&[0, 4, 0, 42, 0, 0]), Cause::UnsupportedExtension);
        assert_eq!(alert(&[0, 8, 0, 57, 0, 0, 0, 57, 0, 0]), Cause::IllegalParameter, "twice");
    }
}
