//! Percent-encoding in paths (RFC 3986 2.1).

/// The text that `encoded` stands for; `None` if an escape is cut off or not hex, or the result is not UTF-8.
pub(crate) fn decode(encoded: &str) -> Option<String> {
    let mut parts = encoded.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.as_bytes().split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        bytes.extend_from_slice(rest);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_once_and_refuses_what_is_cut_off() {
        assert_eq!(decode("a%20b%C3%BC%2e").as_deref(), Some("a bü."));
        assert_eq!(decode("%252e").as_deref(), Some("%2e"));
        for bad in ["%", "%2", "%2g", "%+1", "%C3", "a%ü"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
