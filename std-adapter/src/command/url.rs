//! URLs, as far as `peregrine get` has a use for them: `https://` or `hq://`, a host, perhaps a port, a path.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A URL that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Url {
    given: String,
    /// Whom to talk to, and whose name the certificate must bear.
    pub(crate) host: Host,
    /// The UDP port.
    pub(crate) port: u16,
    /// What to ask for: printable ASCII that begins with a slash, the query included.
    pub(crate) path: String,
}

/// A host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Host {
    /// A DNS name in lower case.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl fmt::Display for Url {
    /// As it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        if !["https", "hq"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(UrlError::Scheme);
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = read_authority(authority)?;
        if matches!(host, Host::Ip(ip) if !is_of_a_host(ip)) {
            return Err(UrlError::Address);
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Path);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { given: text.into(), host, port, path: format!("{slash}{path}") })
    }
}

/// Whether a host can have this address and answer from it.
pub(crate) fn is_of_a_host(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn read_authority(authority: &str) -> Result<(Host, u16), UrlError> {
    if authority.contains('@') {
        return Err(UrlError::User);
    }
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (ip, port) = bracketed.split_once(']').ok_or(UrlError::Brackets)?;
        (Host::Ip(ip.parse::<Ipv6Addr>().map_err(|_| UrlError::Brackets)?.into()), port)
    } else {
        if authority.matches(':').count() > 1 {
            return Err(UrlError::Brackets);
        }
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        (read_host(host)?, port)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 443,
        None => return Err(UrlError::Port),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|&port| port != 0).ok_or(UrlError::Port)?
        }
        Some(_) => return Err(UrlError::Port),
    };
    Ok((host, port))
}

fn read_host(host: &str) -> Result<Host, UrlError> {
    if let Ok(ip) = host.parse() {
        return Ok(Host::Ip(ip));
    }
    // The dot of an absolute name is no part of it in TLS (RFC 6066 3).
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // A last label of digits is an address gone wrong, not a name.
    let is_address =
        host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    match host.len() {
        0 => Err(UrlError::NoHost),
        1..=253 if !is_address && host.split('.').all(is_label) => Ok(Host::Name(host.to_ascii_lowercase())),
        _ => Err(UrlError::Host),
    }
}

/// What is wrong with a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UrlError {
    Scheme,
    NoHost,
    Host,
    Address,
    Brackets,
    Port,
    User,
    Path,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => {
                "a URL begins with https:// or hq://, for example https://localhost:4433/index.html"
            }
            Self::NoHost => "the host is missing",
            Self::Host => {
                "the host is neither a DNS name nor an IP address; write other alphabets in their xn-- form"
            }
            Self::Address => {
                "nobody answers from an unspecified, multicast or broadcast address; name the server's own, or 127.0.0.1 for \
                 one on this machine"
            }
            Self::Brackets => "an IPv6 address stands in brackets: https://[::1]:4433/",
            Self::Port => "the port is not a number from 1 to 65535",
            Self::User => "user names in URLs are not supported",
            Self::Path => "the path has a space or another letter beyond ASCII; write it as %20 and so on",
        })
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, u16, String), UrlError> {
        text.parse().map(|url: Url| (url.host.to_string(), url.port, url.path))
    }

    #[test]
    fn the_parts_of_a_url() {
        for (text, host, port, path) in [
            ("https://example.org", "example.org", 443, "/"),
            ("HQ://Example.org:4433/a/b.c?d=e#f", "example.org", 4433, "/a/b.c?d=e"),
            ("hq://localhost?q", "localhost", 443, "/?q"),
            ("https://127.0.0.1:1/", "127.0.0.1", 1, "/"),
            ("https://[::1]:65535/%20", "::1", 65535, "/%20"),
            ("https://[fe80::1]", "fe80::1", 443, "/"),
            ("https://a_b-c.example./x", "a_b-c.example", 443, "/x"),
        ] {
            assert_eq!(read(text), Ok((host.into(), port, path.into())), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_what_was_given() {
        for text in ["hq://[::1]:4433/a?b", "HTTPS://Example.org#x"] {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn each_mistake_has_its_own_answer() {
        for (text, error) in [
            ("localhost:4433/x", UrlError::Scheme),
            ("http://localhost/", UrlError::Scheme),
            ("https:///x", UrlError::NoHost),
            ("https://:443/x", UrlError::NoHost),
            ("https://exämple.org/", UrlError::Host),
            ("https://a..b/", UrlError::Host),
            ("https://256.1.1.1/", UrlError::Host),
            ("https://a b/", UrlError::Host),
            ("https://0.0.0.0:1/", UrlError::Address),
            ("https://255.255.255.255/", UrlError::Address),
            ("https://224.0.0.1/", UrlError::Address),
            ("https://[::]/", UrlError::Address),
            ("https://[ff02::1]/", UrlError::Address),
            ("https://[::ffff:0.0.0.0]/", UrlError::Address),
            ("https://::1/", UrlError::Brackets),
            ("https://[::1/", UrlError::Brackets),
            ("https://[localhost]/", UrlError::Brackets),
            ("https://a:0/", UrlError::Port),
            ("https://a:65536/", UrlError::Port),
            ("https://a:+1/", UrlError::Port),
            ("https://a:/", UrlError::Port),
            ("https://[::1]1/", UrlError::Port),
            ("https://me@a/", UrlError::User),
            ("https://a/b c", UrlError::Path),
            ("https://a/\r\nGET", UrlError::Path),
            ("https://a/ü", UrlError::Path),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
            assert!(!error.to_string().is_empty());
        }
    }
}
