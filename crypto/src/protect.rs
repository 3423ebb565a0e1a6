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
