//! Stateless Reset (RFC 9000 10.3): a datagram that looks like a 1-RTT packet and ends in a token.

use crate::limits::RESET_TOKEN_LEN;
use crate::wire::NoSpace;
use crate::wire::header::{FIXED, LONG};

/// The shortest Stateless Reset, in bytes, and the shortest 1-RTT packet.
pub const MIN_LEN: usize = 5 + RESET_TOKEN_LEN;
/// Above 41 bytes a Stateless Reset does not stand out among packets with connection IDs of any length.
const AMPLE_LEN: usize = 42;

/// How long an answer to an undecipherable datagram of `trigger` bytes is; `None` if it is too short to be answered.
///
/// It is always shorter than what it answers: two endpoints that answer each other come to an end (RFC 9000 10.3.3),
/// and nothing is amplified.
pub fn len_for(trigger: usize) -> Option<usize> {
    let len = trigger.checked_sub(1)?.min(AMPLE_LEN);
    (len >= MIN_LEN).then_some(len)
}

/// Makes a Stateless Reset of `datagram`, which the caller has filled with unpredictable bytes.
///
/// # Errors
/// [`NoSpace`] if it is shorter than [`MIN_LEN`]; it stays as it was then.
pub fn emit(token: &[u8; RESET_TOKEN_LEN], datagram: &mut [u8]) -> Result<(), NoSpace> {
    if datagram.len() < MIN_LEN {
        return Err(NoSpace);
    }
    let (rest, tail) = datagram.split_last_chunk_mut().ok_or(NoSpace)?;
    *tail = *token;
    let first = rest.first_mut().ok_or(NoSpace)?;
    *first = (*first & !LONG) | FIXED;
    Ok(())
}

/// The token that `datagram` ends in, if it is a Stateless Reset, which only a comparison in constant time can tell.
/// Any first byte will do: other versions may put a long header there (RFC 9000 10.3).
pub fn token_of(datagram: &[u8]) -> Option<[u8; RESET_TOKEN_LEN]> {
    if datagram.len() < MIN_LEN { None } else { datagram.last_chunk().copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_shrink_until_there_is_none() {
        assert_eq!([len_for(0), len_for(21), len_for(22)], [None, None, Some(21)]);
        assert_eq!([len_for(43), len_for(44), len_for(1500)], [Some(42); 3]);
        let (mut len, mut answers) = (1500, 0);
        while let Some(answer) = len_for(len) {
            assert!(answer < len);
            (len, answers) = (answer, answers + 1);
        }
        assert_eq!((len, answers), (MIN_LEN, 22));
    }

    #[test]
    fn looks_like_a_short_header_and_ends_in_the_token() {
        let token = [9; 16];
        for len in 0..60 {
            let mut datagram = std::vec![0xff; len];
            assert_eq!(emit(&token, &mut datagram).is_ok(), len >= MIN_LEN);
            assert_eq!(token_of(&datagram), (len >= MIN_LEN).then_some(token));
            if len >= MIN_LEN {
                assert_eq!(datagram[0], 0x7f);
                assert!(datagram[1..len - 16].iter().all(|byte| *byte == 0xff));
            }
        }
    }
}
