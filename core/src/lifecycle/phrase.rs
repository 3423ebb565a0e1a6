//! The words of a CONNECTION_CLOSE frame (RFC 9000 19.19): as many as there is room for, none without the feature `reasons`.

use core::fmt;

/// Bytes that a phrase keeps.
const KEPT: usize = if cfg!(feature = "reasons") { 63 } else { 0 };
/// Ends a phrase that was cut off.
const CUT: &str = "…";

/// A few words for people, cut off at the end of a character; a mark then tells so. Without the feature `reasons` it is empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Phrase {
    len: u8,
    bytes: [u8; KEPT],
}

impl Phrase {
    /// No words.
    const NONE: Self = Self { len: 0, bytes: [0; KEPT] };

    /// The beginning of `phrase`, as much of it as is kept.
    pub fn new(phrase: &str) -> Self {
        if KEPT == 0 {
            return Self::NONE;
        }
        let (longest, mark) =
            if phrase.len() > KEPT { (KEPT.saturating_sub(CUT.len()), CUT) } else { (phrase.len(), "") };
        let kept = (0..=longest).rev().find_map(|end| phrase.get(..end)).unwrap_or_default();
        let mut bytes = [0; KEPT];
        bytes.iter_mut().zip(kept.bytes().chain(mark.bytes())).for_each(|(to, from)| *to = from);
        Self { len: u8::try_from(kept.len().saturating_add(mark.len())).unwrap_or(0), bytes }
    }

    /// What a peer said: of it, what fits and is UTF-8 is kept.
    pub(super) fn from_peer(said: &[u8]) -> Self {
        if KEPT == 0 {
            return Self::NONE;
        }
        Self::new(match core::str::from_utf8(said) {
            Ok(phrase) => phrase,
            Err(error) => {
                let valid = said.get(..error.valid_up_to()).unwrap_or_default();
                core::str::from_utf8(valid).unwrap_or_default()
            }
        })
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The words, as a frame carries them.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Phrase {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::Format::format(self.as_str(), f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "reasons")]
    #[test]
    fn words_are_cut_between_characters() {
        let ascii = std::string::String::from_utf8(std::vec![b'a'; 100]).unwrap();
        assert_eq!(Phrase::new(&ascii[..63]).as_str(), &ascii[..63]);
        assert_eq!(Phrase::new(&ascii[..64]).as_str(), std::format!("{}…", &ascii[..60]));
        let umlauts: std::string::String =
            core::iter::once('a').chain(core::iter::repeat_n('ö', 40)).collect();
        assert_eq!(Phrase::new(&umlauts).as_str(), std::format!("{}…", &umlauts[..59]));
    }

    #[test]
    fn what_is_no_text_is_left_out() {
        let kept = if cfg!(feature = "reasons") { "ok " } else { "" };
        assert_eq!(Phrase::from_peer(b"ok \xff\xfe").as_str(), kept);
        assert_eq!(Phrase::from_peer(b"ok ").as_str(), kept);
        assert_eq!(Phrase::new("ok ").as_str(), kept);
    }
}
