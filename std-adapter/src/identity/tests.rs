use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }
}

/// RFC 7468 with lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in der.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() { letter.into() } else { '=' });
        }
    }
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn names() -> Vec<String> {
    vec!["localhost".into(), "127.0.0.1".into()]
}

#[test]
fn what_was_made_can_be_written_and_loaded() {
    let folder = Folder::new();
    let made = Identity::self_signed(&names()).unwrap();
    let (chain, key) = (pem("CERTIFICATE", &made.chain[0]), pem("PRIVATE KEY", made.key.secret_der()));
    let chain_path = folder.file("chain.pem", &chain);
    let key_path = folder.file("key.pem", &key);
    let loaded = Identity::load(&chain_path, &key_path).unwrap();
    assert_eq!((&loaded.chain, &loaded.key), (&made.chain, &made.key));
    assert_eq!(loaded.pin(), made.pin());
    let both = folder.file("both.pem", &(key + &chain));
    assert_eq!(Identity::load(&both, &both).unwrap().pin(), made.pin());
    let raw = RawKey::load(&key_path).unwrap();
    assert_eq!(Some(raw.pin()), made.pin());
    let public = folder.file("public.pem", &pem("PUBLIC KEY", &raw.public));
    assert_eq!(load_public_key(&public).unwrap(), raw.public);
    let leaf = EndEntityCert::try_from(&made.chain[0]).unwrap();
    for name in names() {
        leaf.verify_is_valid_for_subject_name(&name.as_str().try_into().unwrap()).unwrap();
    }
}

#[test]
fn the_key_must_be_that_of_the_first_certificate() {
    let folder = Folder::new();
    let (one, other) = (Identity::self_signed(&names()).unwrap(), Identity::self_signed(&names()).unwrap());
    let chain = folder.file("chain.pem", &pem("CERTIFICATE", &one.chain[0]));
    let key = folder.file("key.pem", &pem("PRIVATE KEY", other.key.secret_der()));
    assert!(matches!(Identity::load(&chain, &key), Err(IdentityError::Mismatch { .. })));
}

#[test]
fn each_error_names_the_file_the_cause_and_the_remedy() {
    let folder = Folder::new();
    let made = Identity::self_signed(&names()).unwrap();
    let chain = folder.file("chain.pem", &pem("CERTIFICATE", &made.chain[0]));
    let key = folder.file("key.pem", &pem("PRIVATE KEY", made.key.secret_der()));
    let cut = folder.file("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let encrypted = folder.file("encrypted.pem", &pem("ENCRYPTED PRIVATE KEY", b"whatever"));
    let garbage = folder.file("garbage.pem", &pem("PRIVATE KEY", b"garbage"));
    let text = folder.file("text.pem", "hello");
    let absent = folder.0.path().join("absent.pem");
    for (result, expected) in [
        (Identity::load(&absent, &key).err(), "cannot read"),
        (
            Identity::load(&key, &key).err(),
            "holds no certificate (a section -----BEGIN CERTIFICATE-----), but a private",
        ),
        (Identity::load(&chain, &chain).err(), "holds no private key"),
        (Identity::load(&text, &key).err(), "holds no certificate (a section -----BEGIN CERTIFICATE-----)"),
        (Identity::load(&cut, &key).err(), "a section has no -----END line"),
        (Identity::load(&chain, &encrypted).err(), "openssl pkey -in"),
        (RawKey::load(&garbage).err(), "use ECDSA P-256"),
        (
            load_public_key(&chain).err(),
            "holds no public key (a section -----BEGIN PUBLIC KEY-----), but a cert",
        ),
        (Identity::self_signed(&["ü".into()]).err(), "no certificate can be made for the names ü"),
    ] {
        let message = result.unwrap().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
