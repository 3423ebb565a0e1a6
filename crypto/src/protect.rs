//! Header protection (RFC 9001 5.4.1): the mask on the first byte and on the packet number.

/// Bits of the first byte that are protected: four in a long header, five in a short one.
const fn protected_bits(first: u8) -> u8 {
    if first & 0x80 != 0 { 0x0f } else { 0x1f }
}

/// Masks `first` and all of `pn`.
pub fn protect(mask: [u8; 5], first: &mut u8, pn: &mut [u8]) {
    let [mask_first, mask_pn @ ..] = mask;
    *first ^= mask_first & protected_bits(*first);
    pn.iter_mut().zip(mask_pn).for_each(|(byte, mask)| *byte ^= mask);
}

/// Unmasks `first`, then as many bytes of `pn` as it tells, without a branch on their number (RFC 9001 9.5).
pub fn unprotect(mask: [u8; 5], first: &mut u8, pn: &mut [u8; 4]) {
    let [mask_first, mask_pn @ ..] = mask;
    *first ^= mask_first & protected_bits(*first);
    let last = *first & 0x03;
    for (index, (byte, mask)) in (0_u8..).zip(pn.iter_mut().zip(mask_pn)) {
        let keep = 0_u8.wrapping_sub(u8::from(index <= last));
        *byte ^= mask & keep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unprotect_undoes_protect_and_leaves_what_is_not_packet_number() {
        let mask = [0xff, 0x12, 0x34, 0x56, 0x78];
        for form in [0x40, 0xc0] {
            for len in 1..=4 {
                let clear = form | (len as u8 - 1);
                let (mut first, mut pn) = (clear, [9, 8, 7, 6]);
                protect(mask, &mut first, &mut pn[..len]);
                assert_eq!(first ^ clear, if form == 0x40 { 0x1f } else { 0x0f });
                assert_ne!(pn[..len], [9, 8, 7, 6][..len]);
                unprotect(mask, &mut first, &mut pn);
                assert_eq!((first, pn), (clear, [9, 8, 7, 6]));
            }
        }
    }
}
