//! The integrity tag of Retry packets (RFC 9001 5.8): rustls has no interface for it.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use peregrine_core::limits::TAG_LEN;

/// Known to everyone: the tag guards against accidents and off-path attackers only.
const KEY: [u8; 16] =
    [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e];
const NONCE: [u8; 12] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];

/// Whether `tag` belongs to the Retry packet `retry` that answers an Initial sent to `original_dcid`.
pub(super) fn is_genuine(original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool {
    let (Ok(key), Ok(dcid_len)) = (UnboundKey::new(&AES_128_GCM, &KEY), u8::try_from(original_dcid.len()))
    else {
        return false;
    };
    let pseudo_packet = [&[dcid_len], original_dcid, retry].concat();
    let nonce = Nonce::assume_unique_for_key(NONCE);
    LessSafeKey::new(key).open_in_place(nonce, Aad::from(pseudo_packet), &mut tag.to_owned()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_of_rfc_9001_a_4() {
        let original_dcid = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let retry = b"\xff\x00\x00\x00\x01\x00\x08\xf0\x67\xa5\x50\x2a\x42\x62\xb5token";
        let tag = 0x04a2_65ba_2eff_4d82_9058_fb3f_0f24_96ba_u128.to_be_bytes();
        assert!(is_genuine(&original_dcid, retry, &tag));
        assert!(!is_genuine(&original_dcid[1..], retry, &tag));
        assert!(!is_genuine(&original_dcid, &retry[1..], &tag));
    }
}
