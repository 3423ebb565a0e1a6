//! HTTP/0.9 over QUIC (ALPN `hq-interop`): a client sends `GET /path` and a line end on a bidirectional stream, the
//! server answers with the bytes and FIN. There is no status: a server that has nothing to send resets the stream
//! with one of the codes below.
//!
//! Of our own is the way back: after `PUT /name` and a line end the client sends a file and FIN, and the server answers with
//! the SHA-256 of what it has saved, in 64 hex digits.

use std::fmt;

/// The application protocol.
pub(crate) const ALPN: &[u8] = b"hq-interop";
/// The longest request line, its end included. What is longer costs a server no more memory than this.
pub(crate) const MAX_REQUEST: usize = 8 * 1024;

/// The line that asks for `path`.
pub(crate) fn request(path: &str) -> Vec<u8> {
    format!("GET {path}\r\n").into_bytes()
}

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// The file at this path.
    Get(String),
    /// To leave what follows under this path.
    Put(String),
}

/// A request on its way in.
#[derive(Debug, Default)]
pub(crate) struct RequestReader {
    line: Vec<u8>,
}

impl RequestReader {
    /// Takes bytes of the stream; `fin` says that these are its last. Returns the request once its line is complete, and the
    /// bytes that follow the line.
    pub(crate) fn push<'b>(
        &mut self,
        bytes: &'b [u8],
        fin: bool,
    ) -> Result<Option<(Request, &'b [u8])>, RequestError> {
        let room = MAX_REQUEST - self.line.len();
        let end = bytes.iter().take(room).position(|&byte| byte == b'\n');
        let taken = end.unwrap_or(bytes.len().min(room));
        self.line.extend_from_slice(&bytes[..taken]);
        match end {
            None if taken == room => Err(RequestError::TooLong),
            // A peer that ends the stream in place of the line means the same.
            None if !fin => Ok(None),
            _ => Ok(Some((parse(&self.line)?, bytes.get(taken + 1..).unwrap_or_default()))),
        }
    }
}

fn parse(line: &[u8]) -> Result<Request, RequestError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (method, path) = line.split_at_checked(4).ok_or(RequestError::Method)?;
    let request = match method {
        b"GET " => Request::Get,
        b"PUT " => Request::Put,
        _ => return Err(RequestError::Method),
    };
    let path = str::from_utf8(path).map_err(|_| RequestError::Path)?;
    let path = path.trim_end_matches(' ');
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(request(path.into()))
    } else {
        Err(RequestError::Path)
    }
}

/// A request that cannot be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequestError {
    TooLong,
    Method,
    Path,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the request line is longer than 8 KiB",
            Self::Method => "the request is neither a GET of HTTP/0.9 nor a PUT",
            Self::Path => "the path of the request does not begin with a slash, or has letters beyond ASCII",
        })
    }
}

impl std::error::Error for RequestError {}

/// Why a server resets a stream, or either side the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(crate) enum Reset {
    Done = 0,
    BadRequest = 1,
    NotFound = 2,
    Unreadable = 3,
    Stopped = 4,
    NotTaken = 5,
    Exists = 6,
    TooLarge = 7,
    Unwritable = 8,
}

impl Reset {
    const ALL: [Self; 9] = [
        Self::Done,
        Self::BadRequest,
        Self::NotFound,
        Self::Unreadable,
        Self::Stopped,
        Self::NotTaken,
        Self::Exists,
        Self::TooLarge,
        Self::Unwritable,
    ];

    /// What `code` means, in words. Other servers have codes of their own.
    pub(crate) fn describe(code: u64) -> String {
        match Self::ALL.iter().find(|reset| **reset as u64 == code) {
            Some(Self::Done) => "nothing more to say".into(),
            Some(Self::BadRequest) => "the server does not understand the request".into(),
            Some(Self::NotFound) => "the server has no such file".into(),
            Some(Self::Unreadable) => "the server cannot read the file".into(),
            Some(Self::Stopped) => "the peer was stopped".into(),
            Some(Self::NotTaken) => "the server takes no uploads, or none of that name".into(),
            Some(Self::Exists) => "the server has such a file already".into(),
            Some(Self::TooLarge) => "that is more than the server takes".into(),
            Some(Self::Unwritable) => "the server cannot save the file".into(),
            None => format!("application error {code:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], fin: bool) -> Result<Option<(Request, &[u8])>, RequestError> {
        RequestReader::default().push(bytes, fin)
    }

    fn get(path: &str) -> Request {
        Request::Get(path.into())
    }

    #[test]
    fn a_request_reads_back_however_it_is_cut() {
        let line = request("/a?b");
        for cut in 0..line.len() {
            let mut reader = RequestReader::default();
            assert_eq!(reader.push(&line[..cut], false), Ok(None));
            assert_eq!(reader.push(&line[cut..], false), Ok(Some((get("/a?b"), &b""[..]))));
        }
    }

    #[test]
    fn ends_of_line_that_peers_use() {
        for bytes in [&b"GET /x\n"[..], b"GET /x\r\n", b"GET /x \r\n"] {
            assert_eq!(read(bytes, false), Ok(Some((get("/x"), &b""[..]))));
        }
        assert_eq!(read(b"GET /x", true), Ok(Some((get("/x"), &b""[..]))));
        assert_eq!(read(b"GET /x", false), Ok(None));
    }

    #[test]
    fn what_follows_the_line_of_an_upload_is_its_beginning() {
        let whole = b"PUT /x\r\none\ntwo";
        for cut in 0..whole.len() {
            let mut reader = RequestReader::default();
            let (first, rest) = whole.split_at(cut);
            let expected = Request::Put("/x".into());
            match reader.push(first, false).unwrap() {
                None => assert_eq!(reader.push(rest, true), Ok(Some((expected, &b"one\ntwo"[..])))),
                Some((request, body)) => assert_eq!(
                    (request, [body, rest].concat().as_slice()),
                    (expected, &b"one\ntwo"[..]),
                    "{cut}"
                ),
            }
        }
        assert_eq!(read(b"PUT /x", true), Ok(Some((Request::Put("/x".into()), &b""[..]))));
    }

    #[test]
    fn other_requests_are_refused() {
        for (bytes, error) in [
            (&b"\n"[..], RequestError::Method),
            (b"POST /x\r\n", RequestError::Method),
            (b"get /x\r\n", RequestError::Method),
            (b"GET\r\n", RequestError::Method),
            (b"PUTS /x\r\n", RequestError::Method),
            (b"GET x\r\n", RequestError::Path),
            (b"GET \r\n", RequestError::Path),
            (b"GET /x HTTP/1.1\r\n", RequestError::Path),
            (b"GET /\xff\r\n", RequestError::Path),
            (b"GET /\0\r\n", RequestError::Path),
        ] {
            assert_eq!(read(bytes, true), Err(error));
        }
        assert_eq!(read(b"", true), Err(RequestError::Method));
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let longest = request(&format!("/{}", "x".repeat(MAX_REQUEST - 7)));
        assert_eq!(longest.len(), MAX_REQUEST);
        assert!(read(&longest, false).unwrap().is_some());
        let mut reader = RequestReader::default();
        for byte in &longest[..MAX_REQUEST - 1] {
            reader.push(std::slice::from_ref(byte), false).unwrap();
        }
        assert_eq!(reader.push(b"x", false), Err(RequestError::TooLong));
        assert_eq!(read(&[b'x'; 2 * MAX_REQUEST], false), Err(RequestError::TooLong));
    }

    #[test]
    fn reset_codes_have_words() {
        assert_eq!(Reset::describe(2), "the server has no such file");
        assert_eq!(Reset::describe(0x10c), "application error 0x10c");
    }
}
