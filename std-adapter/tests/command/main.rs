//! The `peregrine` command, end to end: files, exit codes, and what is said when something is wrong.

#[path = "../common/mod.rs"]
mod common;
mod moving;
mod multipath;
mod uploads;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use peregrine_std::identity::{Identity, Pin};
use peregrine_std::tls::{self, ClientTls, ServerTls, Shown, Trust};
use peregrine_std::{Connection, Endpoint, Error, pattern};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData, date_time_ymd,
};
use serde_json::Value;

const COMMAND: &str = env!("CARGO_BIN_EXE_peregrine");

/// A server that runs until it is dropped.
struct Server {
    process: Child,
    port: u16,
    pin: Option<String>,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut process = Command::new(COMMAND)
            .args(["serve", "--json", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = said["listening"][0].as_str().unwrap();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        Self { process, port, pin: said["pin"].as_str().map(str::to_owned) }
    }

    fn url(&self, path: &str) -> String {
        format!("hq://localhost:{}{path}", self.port)
    }

    /// Gets files with these arguments.
    fn get(&self, paths: &[&str], args: &[&str]) -> Output {
        let urls = paths.iter().map(|path| self.url(path));
        Command::new(COMMAND).arg("get").args(urls).args(args).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A folder with files to serve, identities, and a place to save into.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.path("public/sub")).unwrap();
        fs::write(place.path("secret"), "secret").unwrap();
        fs::write(place.path("public/hello.txt"), "hello\n").unwrap();
        let mut big = vec![0; 10 << 20];
        pattern::fill(0, &mut big);
        fs::write(place.path("public/sub/big"), big).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a root and, issued by it, a certificate for `names` with its key.
    fn issue(&self, name: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("CA of {name}"));
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        fs::write(self.path(&format!("{name}.ca")), ca.as_ref().pem()).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        fs::write(self.path(&format!("{name}.pub")), key.public_key_pem()).unwrap();
        let pin = Pin::of(&key.subject_public_key_info());
        fs::write(self.path(&format!("{name}.pin")), pin.to_string()).unwrap();
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    no_dump(&text);
    text
}

/// What people read holds nothing that only programmers understand.
fn no_dump(text: &str) {
    for dump in [
        "Os {", "Error(", "Some(", "Closed {", "kind:", "panicked", "0x0)\"", "unwrap", "RouteId", "Moved {",
        "None",
    ] {
        assert!(!text.contains(dump), "a dump of {dump}: {text}");
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn files_arrive_whole_and_under_their_names() {
    let place = Place::new();
    let server = Server::start(&["--root", &place.text("public"), "--self-signed"]);
    let (out, pin) = (place.text("out"), server.pin.clone().unwrap());
    let got = server.get(
        &["/hello.txt", "/sub/big", "/100000", "/0"],
        &["--out", &out, "--pin", &pin, "--json", "--parallel", "2"],
    );
    assert_eq!(code(&got), 0, "{}", said(&got));
    let report: Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!((&report["ok"], &report["bytes"]), (&true.into(), &(6 + (10 << 20) + 100_000).into()));
    assert_eq!(files(&place.path("out")), ["0", "100000", "big", "hello.txt"]);
    for (ours, theirs) in [("out/hello.txt", "public/hello.txt"), ("out/big", "public/sub/big")] {
        assert!(fs::read(place.path(ours)).unwrap() == fs::read(place.path(theirs)).unwrap());
    }
    let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    assert_eq!(report["files"][0]["sha256"], sha256);
    let mut expected = vec![0; 100_000];
    pattern::fill(0, &mut expected);
    assert!(fs::read(place.path("out/100000")).unwrap() == expected);
}

#[test]
fn counting_saves_nothing() {
    let place = Place::new();
    let server = Server::start(&["--root", &place.text("public")]);
    let got = Command::new(COMMAND)
        .current_dir(place.path("public/sub"))
        .args(["get", &server.url("/hello.txt"), "--out", "-", "--insecure"])
        .output()
        .unwrap();
    assert_eq!(code(&got), 0, "{}", said(&got));
    let text = String::from_utf8(got.stdout).unwrap();
    assert!(text.contains("6 bytes, sha256 5891b5b5"), "{text}");
    assert_eq!(files(&place.path("public/sub")), ["big"]);
}

#[test]
fn every_kind_of_trust_with_each_tls() {
    let place = Place::new();
    place.issue("good", &["localhost"], |_| {});
    let file = |name: &str| place.text(name);
    let (pem, key, public, ca) = (file("good.pem"), file("good.key"), file("good.pub"), file("good.ca"));
    let pin = fs::read_to_string(place.path("good.pin")).unwrap();
    let psk = "sensor-7:00112233445566778899aabbccddeeff";
    let chain: &[&str] = &["--cert", &pem, "--key", &key];
    let raw: &[&str] = &["--raw-key", &key];
    for (serve, get, tls) in [
        (chain, &["--ca", &ca][..], &["ours", "rustls"][..]),
        (chain, &["--pin", &pin], &["ours", "rustls"]),
        (chain, &["--insecure"], &["ours", "rustls"]),
        (raw, &["--raw-key", &public], &["ours", "rustls"]),
        (raw, &["--pin", &pin], &["ours"]),
        (&["--psk", psk], &["--psk", psk], &["ours"]),
    ] {
        for tls in tls {
            let server = Server::start(&[serve, &["--tls", tls]].concat());
            let got = server.get(&["/1000"], &[get, &["--out", "-", "--tls", tls]].concat());
            assert_eq!(code(&got), 0, "{serve:?} {get:?} {tls}: {}", said(&got));
        }
    }
}

#[test]
fn clients_show_who_they_are() {
    let place = Place::new();
    place.issue("client", &["client"], |_| {});
    let server = Server::start(&["--client-ca", &place.text("client.ca")]);
    let (pem, key) = (place.text("client.pem"), place.text("client.key"));
    let trusting = &["--insecure", "--out", "-"][..];
    let got = server.get(&["/9"], &[trusting, &["--client-cert", &pem, "--client-key", &key]].concat());
    assert_eq!(code(&got), 0, "{}", said(&got));
    let got = server.get(&["/9"], trusting);
    assert_eq!(code(&got), 5);
    // The server may say so when the handshake is complete for the client already.
    for words in ["it demands a certificate of ours", "show a certificate with --client-cert"] {
        assert!(said(&got).contains(words), "{}", said(&got));
    }
}

#[test]
fn ciphers_retry_and_key_logs() {
    let place = Place::new();
    let server = Server::start(&["--retry"]);
    for cipher in ["aes128gcm", "aes256gcm", "chacha20poly1305"] {
        for tls in ["ours", "rustls"] {
            let log = place.text(&format!("{cipher}-{tls}"));
            let options = ["--insecure", "--out", "-", "--cipher", cipher, "--tls", tls, "--keylog", &log];
            let got = server.get(&["/5000"], &options);
            assert_eq!(code(&got), 0, "{cipher} {tls}: {}", said(&got));
            let log = fs::read_to_string(log).unwrap();
            for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_TRAFFIC_SECRET_0 "] {
                assert!(log.contains(label), "{log}");
            }
        }
    }
}

#[test]
fn nothing_outside_the_root_is_served() {
    let place = Place::new();
    let server = Server::start(&["--root", &place.text("public")]);
    for path in ["/../secret", "/sub/../../secret", "/%2e%2e/secret", "/%2e%2e%2fsecret", "//etc/passwd"] {
        let got = server.get(&[path], &["--insecure", "--out", "-"]);
        assert_eq!(code(&got), 6, "{path}");
        assert!(said(&got).contains("the server has no such file"), "{}", said(&got));
    }
}

#[test]
fn clients_that_did_not_get_in_are_told_of() {
    let mut serve = Command::new(COMMAND)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(serve.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim_end().rsplit(':').next().unwrap().parse().unwrap();
    let mut log = BufReader::new(serve.stderr.take().unwrap());
    let server = Server { process: serve, port, pin: None };
    let wrong = "ab".repeat(32);
    for (trust, words) in
        [(&["--insecure"][..], " /9: 9 bytes"), (&["--pin", &wrong], " handshake failed: the peer broke")]
    {
        server.get(&["/9"], &[trust, &["--out", "-"]].concat());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        assert!(line.starts_with("127.0.0.1:") && line.contains(words), "{line}");
        no_dump(&line);
    }
}

#[test]
fn whoever_reads_may_be_gone() {
    let server = Server::start(&[]);
    let url = server.url("/1000000");
    for args in [&["demo"][..], &["get", &url, "--insecure", "--out", "-", "--timeline"]] {
        // The end for reading is closed at once.
        let deaf = || std::io::pipe().unwrap().1;
        let mut process = Command::new(COMMAND).args(args).stdout(deaf()).stderr(deaf()).spawn().unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(0), "{args:?}");
    }
}

/// A download that has begun and never ends: the command, and the server's end of its connection.
struct Hanging {
    process: Child,
    connection: Connection,
    _server: Endpoint,
}

impl Hanging {
    fn start(out: &Path, args: &[&str]) -> Self {
        let identity = Identity::self_signed(&["localhost".into()]).unwrap();
        let tls =
            tls::ours::Server::new(ServerTls::new(Shown::Certificate(identity), &[b"hq-interop"])).unwrap();
        let server = Endpoint::builder().listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let server = server.server(move |_| Ok(tls.session())).bind().unwrap();
        let url = format!("hq://127.0.0.1:{}/endless", server.local_addrs()[0].port());
        let process = Command::new(COMMAND)
            .args(["get", &url, "--insecure", "--out", out.to_str().unwrap()])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let connection = server.accept_within(Some(Duration::from_secs(20))).unwrap();
        // Nothing is asked for before there is a place to save it.
        let (mut send, _recv) = connection.accept_bi().unwrap();
        send.write_all(b"the beginning").unwrap();
        std::mem::forget(send);
        assert_eq!(files(out).len(), 1);
        Self { process, connection, _server: server }
    }
}

#[test]
fn a_download_broken_off_leaves_no_file() {
    let place = Place::new();
    let out = place.path("out");
    let mut get = Hanging::start(&out, &[]);
    get.process.kill().unwrap();
    get.process.wait().unwrap();
    assert!(!out.join("endless").exists());
    // What the server breaks off leaves nothing at all.
    let server = Server::start(&[]);
    let got = server.get(&["/nothing"], &["--insecure", "--out", &place.text("other")]);
    assert_eq!(code(&got), 6);
    assert!(files(&place.path("other")).is_empty());
}

/// Ctrl-C, and a polite request to end: nothing is left behind, and the server is told.
#[cfg(unix)]
#[test]
fn an_interrupted_download_leaves_nothing() {
    use rustix::process::{Pid, Signal, kill_process};

    let place = Place::new();
    for (name, signal) in [("int", Signal::INT), ("term", Signal::TERM)] {
        let out = place.path(name);
        let get = Hanging::start(&out, &[]);
        kill_process(Pid::from_child(&get.process), signal).unwrap();
        let got = get.process.wait_with_output().unwrap();
        assert_eq!(code(&got), 130);
        assert!(said(&got).contains("/endless: interrupted"), "{}", said(&got));
        assert!(files(&out).is_empty(), "{:?}", files(&out));
        let closed = get.connection.closed();
        assert!(closed.to_string().contains("interrupted"), "{closed}");
    }
}

#[test]
fn one_failure_of_several_is_told_and_the_others_are_saved() {
    let place = Place::new();
    let server = Server::start(&["--root", &place.text("public")]);
    let out = place.text("out");
    let got = server.get(&["/hello.txt", "/nothing"], &["--insecure", "--out", &out]);
    assert_eq!(code(&got), 6);
    assert!(said(&got).contains("/nothing: the server has no such file"), "{}", said(&got));
    assert_eq!(files(&place.path("out")), ["hello.txt"]);
    let text = String::from_utf8(got.stdout).unwrap();
    assert!(text.contains("1 of 2 done"), "{text}");
}

#[test]
fn what_is_wrong_with_a_server_is_named() {
    let place = Place::new();
    place.issue("good", &["localhost"], |_| {});
    place.issue("other", &["other.example"], |_| {});
    place.issue("old", &["localhost"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let shows = |name: &str| {
        vec![
            "--cert".into(),
            place.text(&format!("{name}.pem")),
            "--key".into(),
            place.text(&format!("{name}.key")),
        ]
    };
    let trusts = |name: &str| vec!["--ca".into(), place.text(&format!("{name}.ca"))];
    let wrong_pin = vec!["--pin".into(), "ab".repeat(32)];
    let own = vec!["--self-signed".into()];
    let other_protocol = [shows("good"), vec!["--alpn".into(), "other".into()]].concat();
    for (serve, get, words) in [
        (shows("other"), trusts("other"), "name"),
        (shows("old"), trusts("old"), "expired"),
        (own.clone(), trusts("good"), "TLS unknown_ca"),
        (shows("good"), trusts("old"), "name the issuer of the server's certificate with --ca"),
        (own, wrong_pin, "TLS failed"),
        (other_protocol, trusts("good"), "no application protocol in common"),
    ] {
        let serve: Vec<&str> = serve.iter().map(String::as_str).collect();
        let server = Server::start(&serve);
        for tls in ["ours", "rustls"] {
            let mut args: Vec<&str> = get.iter().map(String::as_str).collect();
            args.extend(["--out", "-", "--tls", tls]);
            let got = server.get(&["/9"], &args);
            assert_eq!(code(&got), 5, "{serve:?} {args:?}: {}", said(&got));
            assert!(said(&got).contains(words), "{words} {args:?}: {}", said(&got));
        }
    }
}

#[test]
fn identities_of_different_kinds_are_told_with_what_to_do() {
    let place = Place::new();
    place.issue("good", &["localhost"], |_| {});
    let (key, public, ca) = (place.text("good.key"), place.text("good.pub"), place.text("good.ca"));
    let psk = ["--psk", "sensor-7:00112233445566778899aabbccddeeff"];
    let other_key = ["--psk", "sensor-7:ff112233445566778899aabbccddeeff"];
    let other_name = ["--psk", "sensor-8:00112233445566778899aabbccddeeff"];
    let (bare, chain) = (["--raw-key", &public], ["--ca", &ca]);
    let (alone, raw) = (Server::start(&[]), Server::start(&["--raw-key", &key]));
    let sharing = Server::start(&psk);
    for (server, get, words) in [
        (&alone, &bare, "that has a certificate with --ca or --pin"),
        (&raw, &chain, "that has a bare key with --raw-key"),
        (&alone, &psk, "knows no shared keys is trusted with --ca"),
        (&raw, &psk, "knows no shared keys is trusted with --ca"),
        (&sharing, &chain, "may share a key with its clients (--psk)"),
        (&sharing, &other_key, "check the key given with --psk"),
        (&sharing, &other_name, "check the identity in --psk"),
    ] {
        let got = server.get(&["/9"], &[get, &["--out", "-"][..]].concat());
        assert_eq!(code(&got), 5, "{get:?}: {}", said(&got));
        assert!(said(&got).contains(words), "{get:?}: {}", said(&got));
        assert!(!said(&got).contains("our certificate"), "{get:?}: {}", said(&got));
    }
}

#[test]
fn nobody_there_is_told_in_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("hq://127.0.0.1:{}/x", silent.local_addr().unwrap().port());
    let got = Command::new(COMMAND).args(["get", &url, "--insecure", "--out", "-"]).output().unwrap();
    assert_eq!(code(&got), 4);
    for words in ["no answer", "is a server listening on that UDP port"] {
        assert!(said(&got).contains(words), "{}", said(&got));
    }
    let got = Command::new(COMMAND)
        .args(["get", "hq://no.such.host.invalid/x", "--insecure", "--out", "-"])
        .output();
    let got = got.unwrap();
    assert_eq!(code(&got), 4);
    assert!(said(&got).contains("no host of the name no.such.host.invalid"), "{}", said(&got));
}

#[test]
fn mistakes_of_ones_own_have_their_codes() {
    let place = Place::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (missing, hello) = (place.text("missing.pem"), place.text("public/hello.txt"));
    let public = place.text("public");
    for (args, expected, words) in [
        (&["get", "http://x/"][..], 2, "https://"),
        (&["get", "hq://localhost/", "--insecure"], 2, "names no file"),
        (&["get", "hq://a/x", "hq://b/x", "--insecure"], 2, "same file name"),
        (&["get", "hq://localhost/x", "--psk", "id:secret-by-mistake"], 2, "not hex"),
        (&["get", "hq://localhost/x", "--ca", &missing], 3, "cannot read"),
        (&["get", "hq://localhost/x", "--ca", &hello], 3, "holds no certificate"),
        (&["get", "hq://localhost/x", "--insecure", "--bind", "192.0.2.1"], 3, "cannot use the address"),
        (
            &["get", "hq://localhost/x", "--insecure", "--path", "127.0.0.1", "--path", "192.0.2.77"],
            3,
            "choose an address of this machine",
        ),
        (
            &["get", "hq://localhost/x", "--insecure", "--backup", "192.0.2.77"],
            3,
            "--backup 192.0.2.77:0: cannot",
        ),
        (
            &["get", "hq://localhost/x", "--insecure", "--migrate-to", "192.0.2.77"],
            3,
            "--migrate-to 192.0.2.77:0",
        ),
        (&["get", "hq://localhost/sub", "--out", &public], 3, "public/sub: a folder has that name"),
        (&["get", "hq://localhost/x", "--out", &hello], 3, "hello.txt is a file: name the folder"),
        (&["serve", "--listen", &taken], 3, &taken),
        (
            &["serve", "--listen", &taken, "--quic-lb", "id=1,server=0a,nonce=8,key=secret-by-mistake"],
            2,
            "32 hex digits",
        ),
        (&["serve", "--listen", "127.0.0.1:0", "--root", &missing], 3, "cannot serve the folder"),
        (
            &["serve", "--listen", "127.0.0.1:0", "--uploads", &missing],
            3,
            "cannot take uploads into the folder",
        ),
    ] {
        let output = Command::new(COMMAND).args(args).output().unwrap();
        assert_eq!(code(&output), expected, "{args:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{args:?}: {}", said(&output));
        assert!(!said(&output).contains("secret-by-mistake"));
    }
    let help = Command::new(COMMAND).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for line in
        ["0  everything", "2  the command line", "3  something here", "4  no answer", "5  TLS", "6  the peer"]
    {
        assert!(help.contains(line), "{help}");
    }
}

#[test]
fn programs_are_told_of_every_failure_in_one_object() {
    let place = Place::new();
    let url = "HTTPS://LocalHost:1/x#y";
    for (args, expected, words) in [
        (&["--ca", "missing.pem"][..], 3, "missing.pem"),
        (&["--insecure", "--bind", "192.0.2.1"], 3, "cannot use the address"),
        (&["--insecure", "--timeline-svg", "missing/x.svg"], 3, "cannot write the timeline"),
    ] {
        let got = Command::new(COMMAND)
            .current_dir(place.0.path())
            .args(["get", url, "--json"])
            .args(args)
            .output();
        let got = got.unwrap();
        assert_eq!(code(&got), expected, "{args:?}: {}", said(&got));
        let report: Value = serde_json::from_slice(&got.stdout).unwrap();
        assert_eq!((&report["ok"], &report["files"][0]["url"]), (&false.into(), &url.into()), "{report}");
        assert!(report["files"][0]["error"].as_str().unwrap().contains(words), "{report}");
    }
}

#[test]
fn the_demonstration_verifies_what_it_shows() {
    let text = demonstrate(
        &[
            "listens on",
            "TLS 1.3, TLS_AES_128_GCM_SHA256, X25519",
            "packet keys updated (1)",
            "client  has another port",
            "client  the server answers on the route from 127.0.0.",
            "client  moves from ",
            "verified: 3 times",
        ],
        &[],
    );
    assert_eq!(text.matches("server  the client has moved from ").count(), 2, "{text}");
}

/// What the demonstration says, with these options: all of these words.
fn demonstrate(words: &[&str], options: &[&str]) -> String {
    let demo = Command::new(COMMAND).arg("demo").args(options).output().unwrap();
    let text = String::from_utf8_lossy(&demo.stdout).into_owned();
    assert_eq!(code(&demo), 0, "{text} {}", said(&demo));
    for words in words {
        assert!(text.contains(words), "{words}: {text}");
    }
    no_dump(&text);
    text
}

/// A download long enough for something to happen in its middle, and what the command wrote as JSON.
fn roam(server: &Server, args: &[&str]) -> (Value, String) {
    let got =
        server.get(&["/60000000"], &[&["--insecure", "--out", "-", "--json", "--timeline"], args].concat());
    assert_eq!(code(&got), 0, "{}", said(&got));
    let report: Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!(report["files"][0]["sha256"], PATTERN_60_MB);
    let timeline = said(&got);
    no_dump(&timeline);
    (report, timeline)
}

/// The SHA-256 of so many bytes of the pattern.
const PATTERN_60_MB: &str = "285b24dca8b4333b533f64664bbe27c724191ea6692ee0da0eb05553237abd8d";

#[test]
fn connections_are_logged() {
    let place = Place::new();
    let (here, there) = (place.text("here"), place.text("there"));
    let server = Server::start(&["--qlog", &there]);
    let got = server.get(&["/100000"], &["--insecure", "--out", "-", "--qlog", &here]);
    assert_eq!(code(&got), 0, "{}", said(&got));
    let (of_client, of_server) = (files(&place.path("here")), files(&place.path("there")));
    assert_eq!(of_client.len(), 1);
    let odcid = of_client[0].strip_suffix("_client.sqlog").unwrap();
    assert_eq!(of_server, [format!("{odcid}_server.sqlog")]);
    // Nothing is left in memory when the program ends.
    let log = fs::read_to_string(place.path("here").join(&of_client[0])).unwrap();
    let closing = log.lines().position(|line| line.contains("quic:connection_closed")).unwrap();
    assert!(log.lines().skip(closing).any(|line| line.contains("connection_close\"")), "{log}");
    let got = server.get(&["/1"], &["--insecure", "--qlog", &place.text("public/hello.txt")]);
    assert_eq!(code(&got), 3);
    assert!(said(&got).contains("cannot write logs into"), "{}", said(&got));
}
