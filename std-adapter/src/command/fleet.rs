//! A server's place in a fleet behind QUIC-LB load balancers, as people write it.

use std::str::FromStr;

use peregrine_crypto::cid::{CidError, QuicLb, QuicLbConfig};
use peregrine_std::identity::hex;
use zeroize::Zeroizing;

/// A server and the configuration that it shares with its balancers.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    config: QuicLbConfig,
    server: Vec<u8>,
}

impl Fleet {
    /// What makes connection IDs that lead to this server.
    pub(crate) fn cids(&self) -> Result<QuicLb, CidError> {
        QuicLb::new(&self.config, &self.server)
    }
}

/// `id=0,server=HEX,nonce=BYTES` and perhaps `key=HEX`, in any order. Errors never repeat the key.
impl FromStr for Fleet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected id=0..6,server=HEX,nonce=BYTES[,key=HEX], as the load balancers have \
                                it; for example id=1,server=0a0b,nonce=8,key=00112233445566778899aabbccddeeff";
        let (mut id, mut server, mut nonce, mut key) = (None, None, None, None);
        for field in text.split(',') {
            let place = match field.split_once('=') {
                Some(("id", value)) => (&mut id, value),
                Some(("server", value)) => (&mut server, value),
                Some(("nonce", value)) => (&mut nonce, value),
                Some(("key", value)) => (&mut key, value),
                _ => return Err(EXPECTED.into()),
            };
            if place.0.replace(place.1).is_some() {
                return Err(EXPECTED.into());
            }
        }
        let (Some(id), Some(server), Some(nonce)) = (id, server, nonce) else { return Err(EXPECTED.into()) };
        let number = |text: &str| text.parse::<u8>().map_err(|_| EXPECTED.to_owned());
        let (id, nonce) = (number(id)?, number(nonce)?);
        let server = hex(server).ok_or("the server ID is not hex, or has an odd number of digits")?;
        let server_len = u8::try_from(server.len()).unwrap_or(u8::MAX);
        let config = match key.map(|key| hex(key).map(Zeroizing::new)) {
            None => QuicLbConfig::plaintext(id, server_len, nonce),
            Some(key) => {
                let key = key.as_deref().and_then(|key| key.first_chunk().filter(|_| key.len() == 16));
                let key = key.ok_or(
                    "the key must have 16 bytes (32 hex digits); make one with: openssl rand -hex 16",
                )?;
                QuicLbConfig::encrypted(id, server_len, nonce, key)
            }
        };
        Ok(Self { config: config.map_err(|error| error.to_string())?, server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_crypto::cid::{CidGenerator, QuicLbReader};

    const KEY: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn the_server_id_is_found_in_what_is_made() {
        for (text, len) in [
            ("id=0,server=0a0b,nonce=8", 11),
            (&format!("key={KEY},nonce=4,server=0a0b,id=6"), 7),
            (&format!("id=1,server=0a0b,nonce=14,key={}", KEY.to_uppercase()), 17),
        ] {
            let fleet: Fleet = text.parse().unwrap();
            let (mut cids, mut cid) = (fleet.cids().unwrap(), vec![0; len]);
            assert_eq!(usize::from(cids.cid_len()), len, "{text}");
            cids.fill(&[7; 20], &mut cid);
            assert_eq!(QuicLbReader::new(&fleet.config).server_id(&cid).unwrap(), [0x0a, 0x0b]);
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_key() {
        for (text, words) in [
            ("", "expected id="),
            ("id=1,server=0a0b", "expected id="),
            ("id=1,id=1,server=0a0b,nonce=8", "expected id="),
            ("id=1,server=0a0b,nonce=8,colour=red", "expected id="),
            ("id=x,server=0a0b,nonce=8", "expected id="),
            ("id=1,server=0a0,nonce=8", "odd number"),
            ("id=7,server=0a0b,nonce=8", "choose 0 to 6"),
            ("id=1,server=,nonce=8", "choose 1 to 15"),
            ("id=1,server=0a0b,nonce=3", "choose 4 to 18"),
            ("id=1,server=0a0b0c0d,nonce=16", "19 is the most"),
            ("id=1,server=0a0b,nonce=8,key=5ec2e7", "32 hex digits"),
            ("id=1,server=0a0b,nonce=8,key=5ec2e7zz", "32 hex digits"),
        ] {
            let error = text.parse::<Fleet>().unwrap_err();
            assert!(error.contains(words) && !error.contains("5ec2e7"), "{text}: {error}");
        }
        let fleet: Fleet = format!("id=1,server=0a0b,nonce=8,key={KEY}").parse().unwrap();
        assert!(!format!("{fleet:?}").contains("17, 34"));
    }
}
