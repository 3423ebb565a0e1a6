use super::*;
use crate::testing::hex;
use std::format;
use std::string::ToString;
use std::vec::Vec;

const KEY: &str = "8f95f09245765f80256934e50c66207f";

fn configuration(id: u8, server_id: &[u8], nonce: &[u8], key: Option<&str>) -> QuicLbConfig {
    let (server_id, nonce) = (server_id.len() as u8, nonce.len() as u8);
    match key {
        Some(key) => QuicLbConfig::encrypted(id, server_id, nonce, &hex(key).try_into().unwrap()).unwrap(),
        None => QuicLbConfig::plaintext(id, server_id, nonce).unwrap(),
    }
}

/// 20 bytes from which `fill` takes this nonce.
fn random(nonce: &[u8]) -> [u8; MAX_CID_LEN] {
    let mut random = [0xaa; MAX_CID_LEN];
    random[2..][..nonce.len()].copy_from_slice(nonce);
    random
}

/// Both sides of a test vector of the draft.
fn check(id: u8, server_id: &str, nonce: &str, key: Option<&str>, cid: &str) {
    let (server_id, nonce, cid) = (hex(server_id), hex(nonce), hex(cid));
    let config = configuration(id, &server_id, &nonce, key).telling_length();
    assert_eq!(usize::from(config.cid_len()), cid.len());
    let mut server = QuicLb::new(&config, &server_id).unwrap();
    let mut made = std::vec![0; cid.len()];
    server.fill(&random(&nonce), &mut made);
    assert_eq!(made, cid);
    assert_eq!(QuicLbReader::config_id(&cid), Some(id));
    assert_eq!(QuicLbReader::new(&config).server_id(&cid).unwrap(), server_id[..]);
    assert!(server.may_have_made(&cid));
}

#[test]
fn vectors_of_the_draft_in_plaintext() {
    check(0, "c4605e", "4504cc4f", None, "07c4605e4504cc4f");
    // The draft has lost a zero of the nonce and gained one after the first digit: 20a350d28b4203487d970b.
    check(1, "350d28b420", "03487d970b", None, "2a350d28b42003487d970b");
}

#[test]
fn vectors_of_the_draft_encrypted() {
    check(0, "ed793a", "ee080dbf", Some(KEY), "0720b1d07b359d3c");
    check(1, "ed793a51d49b8f5fab65", "ee080dbf48", Some(KEY), "2fcc381bc74cb4fbad2823a3d1f8fed2");
    check(2, "ed793a51d49b8f5f", "ee080dbf48c0d1e5", Some(KEY), "504dd2d05a7b0de9b2b9907afb5ecf8cc3");
    // The draft says configuration 3 and shows the first octet of configuration 0. The rest is the same for both.
    let (server_id, nonce) = ("ed793a51d49b8f5fab", "ee080dbf48c0d1e55d");
    check(0, server_id, nonce, Some(KEY), "125779c9cc86beb3a3a4a3ca96fce4bfe0cdbc");
    check(3, server_id, nonce, Some(KEY), "725779c9cc86beb3a3a4a3ca96fce4bfe0cdbc");
}

#[test]
fn the_example_of_the_draft() {
    check(0, "31441a", "9c69c275", Some("fdf726a9893ec05c0632d3956680baf0"), "0767947d29be054a");
}

#[test]
fn every_configuration_is_read_by_its_own_reader_only() {
    for server_id_len in 1..=15_u8 {
        for nonce_len in 4..=19 - server_id_len {
            let server_id: Vec<u8> = (1..=server_id_len).collect();
            let config = |id, key| QuicLbConfig::encrypted(id, server_id_len, nonce_len, &[key; 16]).unwrap();
            let mut cid = std::vec![0; usize::from(config(5, 1).cid_len())];
            QuicLb::new(&config(5, 1), &server_id).unwrap().fill(&[0x77; 20], &mut cid);
            let read = |id, key, cid: &[u8]| QuicLbReader::new(&config(id, key)).server_id(cid);
            assert_eq!(read(5, 1, &cid).unwrap(), server_id[..]);
            assert_eq!(read(4, 1, &cid), None);
            assert!(server_id_len < 4 || read(5, 2, &cid).unwrap() != server_id[..]);
            assert_eq!(read(5, 1, &cid[..cid.len() - 1]), None);
            // A balancer that sees a short header, or a server that appends bytes.
            cid.push(0xff);
            assert_eq!(read(5, 1, &cid).unwrap(), server_id[..]);
        }
    }
}

#[test]
fn the_first_octet_tells_the_length_or_nothing() {
    let config = QuicLbConfig::encrypted(6, 2, 8, &[1; 16]).unwrap();
    let mut cid = [0; 11];
    for octet in 0..=255 {
        let mut random = [0; 20];
        random[0] = octet;
        QuicLb::new(&config, &[1, 2]).unwrap().fill(&random, &mut cid);
        assert_eq!(cid[0], 6 << 5 | octet & 0x1f);
        QuicLb::new(&config.clone().telling_length(), &[1, 2]).unwrap().fill(&random, &mut cid);
        assert_eq!(cid[0], 6 << 5 | 10);
    }
    // A length that cannot be.
    cid[0] = 6 << 5 | 9;
    assert_eq!(QuicLbReader::new(&config.clone().telling_length()).server_id(&cid), None);
    assert!(QuicLbReader::new(&config).server_id(&cid).is_some());
}

#[test]
fn nonces_are_counted_around_and_used_once() {
    let config = QuicLbConfig::encrypted(0, 1, 4, &[1; 16]).unwrap();
    let mut server = QuicLb::new(&config, &[1]).unwrap();
    assert_eq!(server.left(), 1 << 32);
    let mut expected = 0xffff_fffe_u32;
    for _ in 0..4 {
        let nonce =
            server.nonces.take(4, &[0xff, 0xff, 0xff, 0xfe, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
        assert_eq!(nonce.unwrap()[..4], expected.to_be_bytes());
        expected = expected.wrapping_add(1);
    }
    assert_eq!(server.left(), (1 << 32) - 4);
    let long = QuicLbConfig::encrypted(0, 1, 8, &[1; 16]).unwrap();
    assert_eq!(QuicLb::new(&long, &[1]).unwrap().left(), u64::MAX);
}

#[test]
fn without_nonces_ids_cannot_be_routed() {
    let config = QuicLbConfig::encrypted(0, 1, 8, &[1; 16]).unwrap();
    let mut server = QuicLb::new(&config, &[1]).unwrap();
    server.nonces = Nonces::Counter { next: [5; MAX_NONCE], left: 1 };
    let mut cid = [0; 10];
    server.fill(&[0x77; 20], &mut cid);
    assert_eq!(QuicLbReader::config_id(&cid), Some(0));
    for _ in 0..2 {
        assert_eq!(server.left(), 0);
        server.fill(&[0x77; 20], &mut cid);
        assert_eq!(cid, [0xe9, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77]);
        assert_eq!(QuicLbReader::config_id(&cid), None);
        assert_eq!(QuicLbReader::new(&config).server_id(&cid), None);
        assert!(!server.may_have_made(&cid));
    }
}

#[test]
fn an_id_of_another_length_cannot_be_routed_and_costs_no_nonce() {
    let config = QuicLbConfig::encrypted(0, 1, 4, &[1; 16]).unwrap();
    let mut server = QuicLb::new(&config, &[1]).unwrap();
    for len in (0..=20).filter(|len| *len != 6) {
        let mut cid = std::vec![0; len];
        server.fill(&[0x77; 20], &mut cid);
        assert_eq!(QuicLbReader::config_id(&cid), None);
        assert!(!server.may_have_made(&cid));
    }
    assert_eq!(server.left(), 1 << 32);
}

#[test]
fn a_server_knows_its_own_ids_after_a_restart() {
    let config = QuicLbConfig::encrypted(0, 2, 8, &[1; 16]).unwrap();
    let server = |id| QuicLb::new(&config, &[0, id]).unwrap();
    let mut cid = [0; 11];
    server(1).fill(&[0x77; 20], &mut cid);
    assert!(server(1).may_have_made(&cid));
    assert!(!server(2).may_have_made(&cid));
    assert!(!server(1).may_have_made(&cid[..10]));
}

#[test]
fn a_server_without_a_configuration_says_so() {
    for len in 8..=20_u8 {
        let mut cids = UnroutableCids::new(len).unwrap();
        let mut cid = std::vec![0; usize::from(len)];
        cids.fill(&[0x77; 20], &mut cid);
        assert_eq!(cid[0], 0xe0 | (len - 1));
        assert!(cid[1..].iter().all(|byte| *byte == 0x77));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |id, server_id, nonce| QuicLbConfig::encrypted(id, server_id, nonce, &[0; 16]).unwrap_err();
    assert_eq!(refused(7, 3, 4), CidError::ConfigId(7));
    assert_eq!(refused(255, 3, 4), CidError::ConfigId(255));
    assert_eq!(refused(0, 0, 4), CidError::ServerIdLength(0));
    assert_eq!(refused(0, 16, 4), CidError::ServerIdLength(16));
    assert_eq!(refused(0, 1, 3), CidError::NonceLength(3));
    assert_eq!(refused(0, 1, 19), CidError::NonceLength(19));
    assert_eq!(refused(0, 10, 10), CidError::TooLong { server_id: 10, nonce: 10 });
    let config = QuicLbConfig::plaintext(0, 2, 4).unwrap();
    for id in [&[1][..], &[1, 2, 3], &[0; 40]] {
        let error = QuicLb::new(&config, id).unwrap_err();
        assert_eq!(error, CidError::ServerId { len: id.len(), configured: 2 });
        assert!(error.to_string().contains("wants 2"));
    }
}

#[test]
fn debug_shows_no_key_and_no_nonce() {
    let config = QuicLbConfig::encrypted(1, 2, 8, &[0xab; 16]).unwrap();
    let mut server = QuicLb::new(&config, &[5, 6]).unwrap();
    server.fill(&[0xab; 20], &mut [0; 11]);
    let shown = format!("{config:?} {server:?} {:?}", QuicLbReader::new(&config));
    assert!(!shown.contains("171") && !shown.to_lowercase().contains("ab, "), "{shown}");
    assert!(shown.contains("server_id: [5, 6]"));
}
