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
