//! Downloads that move, and what is told and drawn of that.

use super::*;

#[test]
fn a_download_moves_to_another_address_in_its_middle() {
    let alone = Server::start(&[]);
    let fleet = "id=1,server=0a0b,nonce=8,key=00112233445566778899aabbccddeeff";
    let one_of_many = Server::start(&["--quic-lb", fleet]);
    for (server, after) in
        [(&alone, &["--after", "4MiB"][..]), (&one_of_many, &["--after", "1ms"]), (&alone, &[])]
    {
        let (report, timeline) = roam(server, &[&["--migrate-to", "127.0.0.2"], after].concat());
        let moves = report["moves"].as_array().unwrap();
        assert_eq!((moves.len(), &moves[0]["cause"]), (1, &"chosen".into()), "{report}");
        assert!(moves[0]["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{report}");
        if after.contains(&"4MiB") {
            assert!(moves[0]["bytes"].as_u64().unwrap() >= 4 << 20, "{report}");
        }
        let routes = report["routes"].as_array().unwrap();
        let active = routes.iter().find(|route| route["role"] == "active").unwrap();
        assert!(active["local"] == moves[0]["to"] && active["validated"] == true, "{report}");
        assert!(active["local"].as_str().unwrap().starts_with("127.0.0.2:"), "{report}");
        for words in [
            "asks the server for an answer on a route from 127.0.0.2:",
            "the server answers on the route from 127.0.0.2:",
            ": as it was told",
        ] {
            assert!(timeline.contains(words), "{timeline}");
        }
    }
}

#[test]
fn a_download_goes_to_where_the_server_prefers_it() {
    // A port that is free now.
    let free = UdpSocket::bind("127.0.0.2:0").unwrap().local_addr().unwrap().to_string();
    let server = Server::start(&["--listen", &free, "--preferred", &free]);
    let (report, timeline) = roam(&server, &[]);
    let moves = report["moves"].as_array().unwrap();
    assert_eq!((moves.len(), &moves[0]["cause"]), (1, &"preferred-address".into()), "{report}");
    let routes = report["routes"].as_array().unwrap();
    let active = routes.iter().find(|route| route["role"] == "active").unwrap();
    assert_eq!(active["remote"], free.as_str(), "{report}");
    assert!(timeline.contains("the server prefers that"), "{timeline}");
}

#[test]
fn a_download_survives_another_port_and_then_a_move() {
    let server = Server::start(&[]);
    let (report, timeline) = roam(&server, &["--rebind-after", "2MiB"]);
    assert_eq!(
        (report["moves"].as_array().unwrap().len(), report["routes"].as_array().unwrap().len()),
        (0, 1)
    );
    let rebound = &report["rebindings"][0];
    assert!(rebound["bytes"].as_u64().unwrap() >= 2 << 20, "{report}");
    assert!(timeline.contains("; the connection is not told"), "{timeline}");
    let both =
        ["--rebind-after", "2MiB", "--migrate-to", "127.0.0.2", "--after", "20MiB", "--bind", "127.0.0.1"];
    let (report, _) = roam(&server, &both);
    assert_eq!(report["moves"].as_array().unwrap().len(), 1, "{report}");
    let both = ["--rebind-after", "40MiB", "--migrate-to", "127.0.0.2", "--after", "2MiB"];
    let (report, _) = roam(&server, &both);
    assert!(report["rebindings"][0]["local"].as_str().unwrap().starts_with("127.0.0.2:"), "{report}");
}

#[test]
fn a_timeline_is_drawn() {
    let (place, server) = (Place::new(), Server::start(&[]));
    let svg = place.text("timeline.svg");
    let args = ["--insecure", "--out", "-", "--timeline-svg", &svg];
    let moving = ["--migrate-to", "127.0.0.2", "--after", "4MiB", "--rebind-after", "20MiB"];
    let got = server.get(&["/60000000"], &[&args[..], &moving].concat());
    assert_eq!(code(&got), 0, "{}", said(&got));
    assert!(said(&got).is_empty(), "{}", said(&got));
    let drawn = fs::read_to_string(&svg).unwrap();
    let picture = roxmltree::Document::parse(&drawn).unwrap();
    let texts: Vec<_> = picture
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .filter_map(|node| node.text())
        .collect();
    for words in [
        "peregrine get hq://localhost:",
        "connected",
        "moves to B: as it was told",
        "socket moves to port",
        "A  127.0.0.1:",
        "B  127.0.0.2:",
        " over 2 routes, ",
    ] {
        assert!(texts.iter().any(|text| text.contains(words)), "{words}: {texts:?}");
    }
    let several = ["--path", "127.0.0.1", "--path", "127.0.0.2"];
    let got = server.get(&["/60000000"], &[&args[..], &several].concat());
    assert_eq!(code(&got), 0, "{}", said(&got));
    let drawn = fs::read_to_string(&svg).unwrap();
    for words in [">path 1 carries data<", ">A  127.0.0.1:", ">B  127.0.0.2:", " over 2 routes, 0 moves"] {
        assert!(drawn.contains(words), "{words}: {drawn}");
    }
    // What went wrong can be seen too.
    let missing = server.get(&["/missing"], &args);
    assert_eq!(code(&missing), 6);
    assert!(fs::read_to_string(&svg).unwrap().contains(">connected<"));
    // The picture before stays where nothing comes of a new one.
    let drawn = fs::read_to_string(&svg).unwrap();
    let (ca, mut mistaken) = (place.text("missing.pem"), args);
    mistaken[0] = "--json";
    assert_eq!(code(&server.get(&["/1"], &[&mistaken[..], &["--ca", &ca]].concat())), 3);
    assert_eq!((fs::read_to_string(&svg).unwrap(), files(place.0.path()).len()), (drawn, 3));
    if cfg!(unix) {
        let device = server.get(&["/1"], &["--insecure", "--out", "-", "--timeline-svg", "/dev/null"]);
        assert_eq!(code(&device), 0, "{}", said(&device));
        assert!(!Path::new("/dev/null").is_file());
    }
    // A file that cannot be written stops everything before it begins.
    let (nowhere, out) = (place.text("missing/timeline.svg"), place.text("out"));
    let got = server.get(&["/1"], &["--insecure", "--out", &out, "--timeline-svg", &nowhere]);
    assert_eq!(code(&got), 3);
    assert!(said(&got).contains("cannot write the timeline to"), "{}", said(&got));
    assert!(!place.path("out").exists());
}

#[test]
fn why_a_download_did_not_move_is_said_and_the_file_is_there() {
    let place = Place::new();
    let (willing, unwilling) = (Server::start(&[]), Server::start(&["--no-active-migration"]));
    for (server, args, expected, words) in [
        (
            &unwilling,
            &["--migrate-to", "127.0.0.2"][..],
            6,
            "the peer does not allow migration; --rebind-after shows",
        ),
        (
            &willing,
            &["--migrate-to", "192.0.2.77", "--after", "1KiB"],
            3,
            "choose an address of this machine",
        ),
        (&willing, &["--migrate-to", "::1"], 2, "that takes a local address of IPv4"),
        (
            &willing,
            &["--migrate-to", "127.0.0.2", "--after", "1GiB"],
            2,
            "over before 1.00 GiB; choose an earlier",
        ),
        (&willing, &["--rebind-after", "60s"], 2, "over before 60 seconds; choose an earlier"),
    ] {
        let out = place.text("out");
        let got = server.get(&["/2000000"], &[&["--insecure", "--out", &out], args].concat());
        assert_eq!(code(&got), expected, "{args:?} {}", said(&got));
        assert!(said(&got).contains(words), "{args:?} {}", said(&got));
        assert_eq!(files(&place.path("out")), ["2000000"]);
        fs::remove_dir_all(out).unwrap();
    }
    // A NAT asks nobody.
    let (report, _) = roam(&unwilling, &["--rebind-after", "2MiB"]);
    assert_eq!(report["rebindings"].as_array().unwrap().len(), 1);
    for (args, words) in [
        (&["--after", "1MiB"][..], "--migrate-to"),
        (&["--rebind-after", "soon"], "for example 1000000, 500KiB, 1MiB, 2MB, 400ms or 3s"),
        (&["--migrate-to", "wlan0"], "expected an IP address"),
    ] {
        let got = willing.get(&["/1"], args);
        assert_eq!(code(&got), 2);
        assert!(said(&got).contains(words), "{}", said(&got));
    }
}

#[test]
fn what_cannot_be_moved_is_said_while_the_download_goes_on() {
    let place = Place::new();
    for (args, words) in [
        (&["--migrate-to", "192.0.2.77", "--after", "1B"][..], "choose an address of this machine"),
        (&["--path", "127.0.0.1", "--path", "::1"], "both sides have to offer it"),
    ] {
        let out = place.path(args[0]);
        let mut get = Hanging::start(&out, args);
        let mut line = String::new();
        BufReader::new(get.process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(words), "{line}");
        assert!(get.process.try_wait().unwrap().is_none() && get.connection.close_reason().is_none());
        get.process.kill().unwrap();
        get.process.wait().unwrap();
    }
}
