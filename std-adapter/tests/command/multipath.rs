//! Several paths at once: downloads over them, the demonstration of them.

use super::*;

#[test]
fn the_demonstration_of_paths_verifies_what_it_shows() {
    let words = [
        "client  path 1 is opened, from 127.0.0.2:",
        "server  path 1 carries data",
        "client  of that came over path 0, from 127.0.0.1:",
        "client  of that came over path 1, from 127.0.0.2:",
        "client  has another port on path 1 alone",
        "client  path 0 from 127.0.0.1:",
        "server  path 0 from 127.0.0.1:",
        "is abandoned by the client: the application wants that",
        "verified: 3 times",
    ];
    let text = demonstrate(&words, &["--multipath"]);
    assert!(!text.contains("forgotten"), "{text}");
}

#[test]
fn a_download_comes_over_several_paths() {
    let (server, alone) = (Server::start(&[]), Server::start(&["--max-paths", "1"]));
    for (second, third, status) in
        [("127.0.0.2", "127.0.0.3", "available"), ("127.0.0.2,backup", "127.0.0.3", "backup")]
    {
        let (report, timeline) =
            roam(&server, &["--path", "127.0.0.1", "--path", second, "--path", third, "--acks", "fastest"]);
        let paths = report["paths"].as_array().unwrap();
        assert_eq!(paths.len(), 3, "{report}");
        let received = |path: usize| paths[path]["received_bytes"].as_u64().unwrap();
        assert!(paths[1]["local"].as_str().unwrap().starts_with("127.0.0.2:"), "{report}");
        assert_eq!(paths[1]["status"], status, "{report}");
        assert!((0..3).map(received).sum::<u64>() >= 60_000_000, "{report}");
        assert!(status == "available" || received(1) < 3_000_000, "{report}");
        for words in ["path 1 is opened, from 127.0.0.2:", "path 2 carries data, from 127.0.0."] {
            assert!(timeline.contains(words), "{timeline}");
        }
    }
    let got = server
        .get(&["/60000000"], &["--insecure", "--out", "-", "--path", "127.0.0.1", "--path", "127.0.0.2"]);
    let text = String::from_utf8_lossy(&got.stdout);
    assert!(text.contains("path 0 from 127.0.0.1:") && text.contains("path 1 from 127.0.0.2:"), "{text}");

    let place = Place::new();
    for (server, second, expected, words) in [
        (&alone, "127.0.0.2", 6, "both sides have to offer it; peregrine serve does"),
        (&server, "::1", 2, "that takes a local address of IPv4"),
    ] {
        let out = place.text("out");
        let args = ["--insecure", "--out", &out, "--path", "127.0.0.1", "--path", second];
        let got = server.get(&["/2000000"], &args);
        assert_eq!(code(&got), expected, "{second} {}", said(&got));
        assert!(said(&got).contains(words), "{second} {}", said(&got));
        assert_eq!(files(&place.path("out")), ["2000000"]);
        fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn a_server_shares_what_it_sends_as_it_was_told() {
    let come = |args: &[&str]| {
        let server = Server::start(args);
        let (report, _) = roam(&server, &["--path", "127.0.0.1", "--path", "127.0.0.2"]);
        [0, 1].map(|path| report["paths"][path]["received_bytes"].as_u64().unwrap())
    };
    let [first, second] = come(&["--scheduler", "primary", "--failover", "2000", "--acks", "fastest"]);
    assert!(second < 3_000_000, "{first} {second}");
    let [first, second] = come(&["--scheduler", "weighted"]);
    assert!(first.abs_diff(second) < 10_000_000, "{first} {second}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_sent_over_a_path_bears_its_codepoint() {
    let server = Server::start(&[]);
    let (watched, headers) = common::eye::watchman(([127, 0, 0, 1], server.port).into()).unwrap();
    let url = format!("hq://{watched}/60000000");
    let got = Command::new(COMMAND)
        .args(["get", &url, "--insecure", "--out", "-", "--path", "127.0.0.1,dscp=10"])
        .args(["--path", "127.0.0.2,dscp=46", "--path", "127.0.0.3"])
        .output()
        .unwrap();
    assert_eq!(code(&got), 0, "{}", said(&got));
    let headers = headers.lock().unwrap();
    for (last, dscp) in [(1, 10), (2, 46), (3, 0)] {
        let of_path = headers.iter().filter(|(from, _)| from.ip() == Ipv4Addr::new(127, 0, 0, last));
        let mut codepoints: Vec<_> = of_path.flat_map(|(_, headers)| headers).map(|seen| seen.dscp).collect();
        codepoints.dedup();
        // The first packets may go out before the path is given one.
        assert!(codepoints == [dscp] || codepoints == [0, dscp], "{last}: {codepoints:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn that_a_codepoint_was_left_out_is_said() {
    common::lab::where_codepoints_are_refused(&[(4, "prohibit")], || {
        let server = Server::start(&[]);
        let args = ["--insecure", "--out", "-", "--path", "127.0.0.1", "--path"];
        for (second, is_left_out) in [("127.0.0.2,dscp=4", true), ("127.0.0.2,dscp=46", false)] {
            let got = server.get(&["/60000000"], &[&args[..], &[second]].concat());
            assert_eq!(code(&got), 0, "{}", said(&got));
            assert_eq!(said(&got).contains("has sent without the codepoint"), is_left_out, "{}", said(&got));
        }
    });
}
