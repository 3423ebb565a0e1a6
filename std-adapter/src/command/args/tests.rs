use std::time::Duration;

use peregrine_core::connection::{AckReturn, MultipathConfig};
use peregrine_core::path::Availability;
use peregrine_core::path::schedule::Scheduler;
use peregrine_core::wire::Dialect;

use super::*;
use crate::several::From;

fn parse(line: &str) -> Result<Args, String> {
    let words = std::iter::once("peregrine").chain(line.split_whitespace());
    Args::check(Args::try_parse_from(words)).map_err(|error| {
        assert_eq!(error.exit_code(), Exit::Usage as i32);
        error.to_string()
    })
}

fn serve(line: &str) -> Serve {
    match parse(&format!("serve {line}")).unwrap().command {
        Command::Serve(serve) => serve,
        other => panic!("{other:?}"),
    }
}

fn get(line: &str) -> Get {
    match parse(&format!("get {line}")).unwrap().command {
        Command::Get(get) => get,
        other => panic!("{other:?}"),
    }
}

const PSK: &str = "a:00112233445566778899aabbccddeeff";

#[test]
fn clap_finds_no_contradiction() {
    Args::command().debug_assert();
}

#[test]
fn defaults() {
    assert!(matches!(parse("demo").unwrap().command, Command::Demo(Demo { multipath: false })));
    let serve = serve("--listen [::]:4433 0.0.0.0:80 --listen 127.0.0.1:1");
    assert_eq!(serve.listen.len(), 3);
    assert_eq!((serve.shown(), serve.alpn.as_str(), serve.tls), (Shown::SelfSigned, "hq-interop", Tls::Ours));
    assert_eq!((&serve.uploads, serve.max_upload, serve.overwrite), (&None, 64 << 20, false));
    assert_eq!((serve.root, serve.client_ca, serve.retry, serve.json), (None, None, false, false));
    let get = get("https://a/x hq://b/y");
    assert_eq!(get.urls.len(), 2);
    assert_eq!(
        (get.trust(), get.folder(), get.client_identity()),
        (Trust::System, Some(Path::new(".")), None)
    );
    assert_eq!((get.bind, get.parallel, get.cipher, get.tls), (None, 8, None, Tls::Ours));
}

#[test]
fn what_a_server_shows() {
    let psk: Psk = PSK.parse().unwrap();
    for (line, shown) in [
        ("--cert c --key k", Shown::Certificate { chain: Path::new("c"), key: Path::new("k") }),
        ("--self-signed", Shown::SelfSigned),
        ("--raw-key r", Shown::RawKey(Path::new("r"))),
        (&format!("--psk {PSK}"), Shown::Psk(&psk)),
    ] {
        assert_eq!(serve(&format!("--listen [::]:1 {line}")).shown(), shown);
    }
}

#[test]
fn whom_a_client_trusts_and_what_it_shows() {
    let psk: Psk = PSK.parse().unwrap();
    let pin = Pin([0xab; 32]);
    for (line, trust) in [
        ("--ca c", Trust::Roots(Path::new("c"))),
        (&format!("--pin {pin}"), Trust::Pin(pin)),
        ("--raw-key r", Trust::RawKey(Path::new("r"))),
        (&format!("--psk {PSK}"), Trust::Psk(&psk)),
        ("--insecure", Trust::Anyone),
    ] {
        assert_eq!(get(&format!("https://a/ {line}")).trust(), trust);
    }
    let get =
        get("https://a/ --out - --client-cert c --client-key k --bind 127.0.0.1 --cipher chacha20poly1305");
    assert_eq!((get.folder(), get.client_identity()), (None, Some((Path::new("c"), Path::new("k")))));
    assert_eq!((get.bind, get.cipher), ("127.0.0.1:0".parse().ok(), Some(Cipher::ChaCha20Poly1305)));
}

#[test]
fn mistakes_are_named() {
    for (line, expected) in [
        ("", "Usage: peregrine"),
        ("get", "<URL>"),
        ("get localhost/x", "https://localhost:4433/index.html"),
        ("get https://a/ --ca c --insecure", "cannot be used with"),
        ("get https://a/ --client-cert c", "--client-key"),
        ("get https://a/ --parallel 0", "1..=65535"),
        ("get https://a/ --cipher rot13", "aes128gcm"),
        ("get https://a/ --pin 12", "64 hex digits"),
        ("get https://a/ --bind lo", "expected an IP address"),
        ("get https://a/ --path 127.0.0.1", "give it for each address"),
        ("get https://a/ --path 127.0.0.1,spare --path ::1", "192.0.2.1,backup"),
        ("get https://a/ --path 127.0.0.1, --path ::1", "192.0.2.1,backup,dscp=10"),
        ("get https://a/ --path 127.0.0.1,dscp --path ::1", "192.0.2.1,backup,dscp=10"),
        ("get https://a/ --path 127.0.0.1,dscp=64 --path ::1", "a number from 0 to 63"),
        ("get https://a/ --path 127.0.0.1,dscp=ef --path ::1", "a number from 0 to 63"),
        ("get https://a/ --path 127.0.0.1,dscp=-1 --path ::1", "a number from 0 to 63"),
        ("get https://a/ --path others,dscp=10", "from one address"),
        ("get https://a/ --path wlan0 --path ::1", "expected an IP address"),
        ("get https://a/ --path others,spare", "192.0.2.1,backup"),
        ("get https://a/ --path others --path ::1", "one address before it at most"),
        ("get https://a/ --path ::1 --path ::2 --path others", "one address before it at most"),
        ("get https://a/ --path others --path others", "one address before it at most"),
        ("get https://a/ --path ::1 --path ::2 --bind ::3", "cannot be used with"),
        ("get https://a/ --path ::1 --path ::2 --backup ::3", "cannot be used with"),
        (&format!("get https://a/ {}", "--path ::1 ".repeat(9)), "8 paths at most"),
        ("get https://a/ --scheduler primary", "--path"),
        ("get https://a/ --acks same", "--path"),
        ("serve --listen [::]:1 --max-paths 1 --failover 80", "allows one"),
        ("get https://a/ --path ::1 --path ::2 --scheduler random", "lowest-rtt"),
        ("get https://a/ --path ::1 --path ::2 --failover 0", "expected 1ms to 60s"),
        ("get https://a/ --path ::1 --path ::2 --failover 61s", "expected 1ms to 60s"),
        ("get https://a/ --path ::1 --path ::2 --failover 5kb", "expected 1ms to 60s"),
        ("get https://a/ --path ::1 --path ::2 --path ::1,backup", "'--path ::1' twice"),
        ("get https://0.0.0.0:4433/x", "127.0.0.1 for one on this machine"),
        ("serve --listen [::]:1 --preferred 192.0.2.1:1 --preferred 192.0.2.2:1", "twice for IPv4"),
        ("serve --listen [::]:1 --preferred [::]:1", "no client can send there"),
        ("serve --listen [::]:1 --preferred 192.0.2.1:0", "no client can send there"),
        (&format!("serve --listen [::]:1 --client-ca c --psk {PSK}"), "use one of the two"),
        ("get https://a/ --path ::1 --path ::2 --acks none", "fastest"),
        ("serve --listen [::]:1 --max-paths 9", "1..=8"),
        ("serve", "--listen"),
        ("serve --listen 4433", "[::]:4433"),
        ("serve --listen [::]:1 --overwrite", "--uploads"),
        ("serve --listen [::]:1 --max-upload 1MB", "--uploads"),
        ("serve --listen [::]:1 --uploads d --max-upload 3s", "500KiB"),
        ("serve --listen [::]:1 --cert c", "--key"),
        ("serve --listen [::]:1 --key k", "--cert"),
        ("serve --listen [::]:1 --key k --self-signed", "cannot be used with"),
        ("serve --listen [::]:1 --psk a:12", "at least 16 bytes"),
        ("serve --listen [::]:1 --self-signed --raw-key r", "cannot be used with"),
    ] {
        let message = parse(line).unwrap_err();
        assert!(message.contains(expected), "{line}: {message}");
    }
}

#[test]
fn an_error_shows_the_usage_of_its_subcommand() {
    for (line, usage) in [
        ("get https://a/ --psk x", "Usage: peregrine get [OPTIONS] <URL>"),
        ("get https://a/ --scheduler primary", "Usage: peregrine get [OPTIONS] <URL>"),
        ("get https://a/ --path ::1", "Usage: peregrine get [OPTIONS] <URL>"),
        ("serve --listen [::]:1 --quic-lb x", "Usage: peregrine serve [OPTIONS] --listen <ADDR>"),
        ("serve --listen [::]:1 --psk x", "Usage: peregrine serve [OPTIONS] --listen <ADDR>"),
    ] {
        let message = parse(line).unwrap_err();
        assert!(message.contains(usage), "{line}: {message}");
    }
}

#[test]
fn a_time_without_a_unit_is_milliseconds() {
    for (text, time) in [("80", 80), ("400ms", 400), ("1s", 1000)] {
        let get = get(&format!("https://a/ --path ::1 --path ::2 --failover {text}"));
        let mut config = MultipathConfig::speaking(Dialect::ALL).unwrap();
        get.several.terms.configure(&mut config);
        assert_eq!(config.failover, Some(Duration::from_millis(time)));
    }
}

#[test]
fn paths_are_read_with_what_they_are_for() {
    let line = "https://a/ --path 127.0.0.1,backup --path [::1]:5,dscp=63 --path ::2,dscp=10,backup \
        --scheduler weighted --failover 80 --acks fastest";
    let get = get(line);
    let first = "127.0.0.1:0".parse().unwrap();
    let paths = vec![
        From { local: first, status: Availability::Backup, dscp: None },
        From { local: "[::1]:5".parse().unwrap(), status: Availability::Available, dscp: Some(63) },
        From { local: "[::2]:0".parse().unwrap(), status: Availability::Backup, dscp: Some(10) },
    ];
    assert_eq!((get.several.most(), get.several.others()), (Some(3), None));
    assert_eq!(get.orders(), [Order { when: Moment::NOW, what: Act::Paths(paths) }]);
    let mut config = MultipathConfig::speaking(Dialect::ALL).unwrap();
    get.several.terms.configure(&mut config);
    assert!(matches!(config.scheduler, Scheduler::Weighted));
    assert_eq!((config.failover, config.acks), (Some(Duration::from_millis(80)), AckReturn::Fastest));
}

#[cfg(feature = "rustls")]
#[test]
fn rustls_has_no_shared_keys() {
    let message = parse(&format!("get https://a/ --psk {PSK} --tls rustls")).unwrap_err();
    assert!(message.contains("only with --tls ours"), "{message}");
}

#[test]
fn help_documents_the_exit_codes() {
    for line in ["--help", "get --help", "serve --help"] {
        let words = std::iter::once("peregrine").chain(line.split_whitespace());
        let help = Args::try_parse_from(words).unwrap_err();
        assert_eq!(help.exit_code(), Exit::Done as i32);
        assert!(help.to_string().contains(&Exit::help()), "{help}");
    }
}

#[test]
fn paths_from_all_other_networks_are_read_with_what_they_are_for() {
    let others = |line: &str| {
        let get = get(&format!("https://a/ {line}"));
        (get.several.most(), get.several.named().count(), get.several.others())
    };
    assert_eq!(others("--path others"), (Some(8), 0, Some(Availability::Available)));
    assert_eq!(others("--path ::1 --path others,backup"), (Some(8), 1, Some(Availability::Backup)));
    assert_eq!(others(""), (None, 0, None));
}
