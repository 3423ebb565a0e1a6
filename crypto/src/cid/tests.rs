//! What holds for every generator.

use std::boxed::Box;
use std::collections::HashSet;
use std::format;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::provider::Provider;
use crate::testing::provider;

fn quic_lb(server_id_len: u8, nonce_len: u8) -> QuicLb {
    let config = QuicLbConfig::encrypted(3, server_id_len, nonce_len, &[9; 16]).unwrap();
    QuicLb::new(&config, &vec![0; usize::from(server_id_len)]).unwrap()
}

/// Each generator, with how many bits of its IDs are the same in all.
fn all() -> Vec<(Box<dyn CidGenerator>, usize)> {
    vec![
        (Box::new(RandomCids::default()), 0),
        (Box::new(KeyedCids::new(&provider(), &[1; 32], 12).unwrap()), 0),
        (Box::new(UnroutableCids::new(9).unwrap()), 8),
        // Four passes, of an even and an odd number of bytes; single pass; plaintext, whose server ID everyone sees.
        (Box::new(quic_lb(2, 4)), 3),
        (Box::new(quic_lb(3, 4)), 3),
        (Box::new(quic_lb(8, 8)), 3),
        (Box::new(QuicLb::new(&QuicLbConfig::plaintext(3, 1, 8).unwrap(), &[0]).unwrap()), 3 + 8),
    ]
}

/// `count` IDs that follow each other.
fn draw(cids: &mut dyn CidGenerator, count: usize) -> Vec<Vec<u8>> {
    let mut provider = provider();
    let mut next = || {
        let (mut random, mut cid) = ([0; 20], vec![0; usize::from(cids.cid_len())]);
        provider.fill_random(&mut random);
        cids.fill(&random, &mut cid);
        assert!(cids.may_have_made(&cid) || QuicLbReader::config_id(&cid).is_none());
        cid
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn no_id_comes_twice() {
    for (mut cids, _) in all() {
        let drawn = draw(&mut *cids, 100_000);
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
    }
}

/// Bits that are not the same in all IDs are set in half of them, and differ from the ID before in half of them: neither
/// the server ID nor a counter shows. Five standard deviations of 20,000 draws are 354.
#[test]
fn ids_have_nothing_in_common_but_the_configuration() {
    for (mut cids, same) in all() {
        let drawn = draw(&mut *cids, 20_001);
        let bits = 8 * usize::from(cids.cid_len());
        let bit = |cid: &[u8], at: usize| cid[at / 8] >> (7 - at % 8) & 1;
        let mut constant = 0;
        for at in 0..bits {
            let set = drawn[1..].iter().filter(|cid| bit(cid, at) == 1).count();
            let changed = drawn.windows(2).filter(|pair| bit(&pair[0], at) != bit(&pair[1], at)).count();
            if changed == 0 {
                constant += 1;
                continue;
            }
            assert!(set.abs_diff(10_000) < 354, "bit {at}: {set}");
            assert!(changed.abs_diff(10_000) < 354, "bit {at}: {changed}");
        }
        assert_eq!(constant, same);
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused_with_those_that_do() {
    let keyed = |len| KeyedCids::new(&provider(), &[1; 32], len).err();
    for len in 0..=255 {
        let refused = |min| Some(CidError::Length { len, min });
        let ok = |min| (min..=20).contains(&len);
        assert_eq!(RandomCids::new(len).err(), if ok(4) || len == 0 { None } else { refused(4) });
        assert_eq!(keyed(len), if ok(12) { None } else { refused(12) });
        assert_eq!(UnroutableCids::new(len).err(), if ok(8) { None } else { refused(8) });
    }
    assert_eq!(keyed(8).unwrap().to_string(), "connection IDs of 8 bytes: choose 12 to 20");
}

/// [`KeyedCids`] and the ciphers of [`QuicLb`] hold their key in this form only.
#[test]
fn keys_are_wiped() {
    const fn wiped<T: zeroize::ZeroizeOnDrop>() {}
    wiped::<aes::Aes128>();
    wiped::<crate::provider::Secret>();
}

#[test]
fn debug_shows_no_key() {
    let cids = KeyedCids::new(&provider(), &[1; 32], 12).unwrap();
    assert_eq!(format!("{cids:?}"), "KeyedCids { len: 12, .. }");
}
