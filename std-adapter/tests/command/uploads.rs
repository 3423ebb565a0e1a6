//! What a server takes of clients.

use super::*;

/// A connection to a server of files whose key is not looked at.
fn connect(server: &Server) -> (Endpoint, Connection) {
    let tls = tls::ours::Client::new(ClientTls::new(Trust::Anyone, &[b"hq-interop"])).unwrap();
    let client = Endpoint::builder().listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let client = client.client(move |name| Ok(tls.session(name)?)).bind().unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
    let connection = client.connect(address, "localhost").unwrap();
    (client, connection)
}

/// Sends a file; what the server says to it, or the code by which it refuses.
fn put(connection: &Connection, name: &str, content: &[u8]) -> Result<String, u64> {
    let (mut send, mut recv) = connection.open_bi().unwrap();
    // Who refuses need not read all of it.
    let sent = send.write_all(format!("PUT {name}\r\n").as_bytes()).and_then(|()| send.write_all(content));
    let _ = sent.and_then(|()| Ok(send.finish()?));
    let mut answer = [0; 100];
    let mut len = 0;
    loop {
        match recv.recv(&mut answer[len..]) {
            Ok(0) => return Ok(String::from_utf8(answer[..len].to_vec()).unwrap()),
            Ok(read) => len += read,
            Err(Error::Reset(code)) => return Err(code),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn uploads_are_taken_where_they_may_be() {
    let place = Place::new();
    let uploads = place.path("uploads");
    fs::create_dir(&uploads).unwrap();
    fs::write(uploads.join("old"), "old").unwrap();
    let folder = place.text("uploads");
    let server =
        Server::start(&["--root", &place.text("public"), "--uploads", &folder, "--max-upload", "3MB"]);
    let (_client, connection) = connect(&server);
    let mut content = vec![0; 3_000_000];
    pattern::fill(0, &mut content);
    let hash = put(&connection, "/new", &content).unwrap();
    let got = server.get(&["/3000000"], &["--insecure", "--out", "-", "--json"]);
    let report: Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!(report["files"][0]["sha256"], hash);
    assert!(fs::read(uploads.join("new")).unwrap() == content);
    content.push(0);
    for (name, content, code) in [
        ("/larger", &content[..], 7),
        ("/new", b"other", 6),
        ("/old", b"other", 6),
        ("/../secret", b"x", 5),
        ("/sub/x", b"x", 5),
        ("/.hidden", b"x", 5),
    ] {
        assert_eq!(put(&connection, name, content), Err(code), "{name}");
    }
    // Half a file is none.
    let (mut send, mut recv) = connection.open_bi().unwrap();
    send.write_all(b"PUT /half\r\nhalf of it").unwrap();
    send.reset(0);
    assert!(matches!(recv.recv(&mut [0]), Err(Error::Reset(_))));
    assert_eq!(files(&uploads), ["new", "old"]);
    assert_eq!(fs::read(uploads.join("old")).unwrap(), b"old");
    // Nobody has said that what was sent is served.
    assert_eq!(code(&server.get(&["/new"], &["--insecure", "--out", "-"])), 6);

    let server = Server::start(&["--uploads", &folder, "--overwrite"]);
    let (_client, connection) = connect(&server);
    put(&connection, "/old", b"new").unwrap();
    assert_eq!(fs::read(uploads.join("old")).unwrap(), b"new");
    let server = Server::start(&[]);
    let (_client, connection) = connect(&server);
    assert_eq!(put(&connection, "/x", b"x"), Err(5));
}

/// A server that is asked to end tells its clients, and leaves no half of an upload; nor does one that was killed, when it is
/// started again.
#[cfg(unix)]
#[test]
fn a_server_that_is_stopped_tells_its_clients_and_leaves_nothing() {
    use rustix::process::{Pid, Signal, kill_process};

    let place = Place::new();
    let (uploads, logs) = (place.path("uploads"), place.path("logs"));
    let (folder, qlog) = (place.text("uploads"), place.text("logs"));
    fs::create_dir(&uploads).unwrap();
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let mut server = Server::start(&["--uploads", &folder, "--qlog", &qlog]);
        assert!(files(&uploads).is_empty(), "{:?}", files(&uploads));
        let (_client, connection) = connect(&server);
        let (mut send, _recv) = connection.open_bi().unwrap();
        send.write_all(b"PUT /x\r\nhalf of it").unwrap();
        while files(&uploads).is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&server.process), signal).unwrap();
        let status = server.process.wait().unwrap();
        if signal == Signal::KILL {
            fs::remove_dir_all(&logs).unwrap();
            continue;
        }
        assert_eq!(status.code(), Some(130));
        let closed = connection.closed();
        assert_eq!(closed.application_code(), Some(4), "{closed}");
        assert!(closed.to_string().contains("the server was stopped"), "{closed}");
        assert!(files(&uploads).is_empty(), "{:?}", files(&uploads));
        for log in files(&logs) {
            let log = fs::read_to_string(logs.join(log)).unwrap();
            assert!(log.contains("quic:connection_closed") && log.contains("connection_close\""), "{log}");
        }
    }
}
