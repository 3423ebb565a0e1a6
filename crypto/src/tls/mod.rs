//! TLS 1.3 for QUIC (RFC 9846, RFC 9001 4 and 8), client and server: bytes in, bytes out, no heap, no clock.
//!
//! ```text
//! session     core's Session: levels, reassembly, what comes after the handshake
//!   client    ServerHello [HelloRetryRequest] → EncryptedExtensions → [Certificate… → CertificateVerify] → Finished
//!   server    ClientHello [twice] → [Certificate → CertificateVerify] → Finished
//! handshake   what the states share · schedule · transcript · flight · reader · msg, extension, codec
//! ```
//!
//! The memory of a handshake is lent: messages that come in pieces are put together in it, and our own flight stays
//! there until the peer has it; afterwards [`TlsSession::take_scratch`] gives it back. Certificates of our own are never
//! copied.
//!
//! Not here: resumption and early data (tickets are read past), post-handshake authentication, stapled OCSP, ECH.

pub(crate) mod client;
pub(crate) mod codec;
pub(crate) mod config;
pub(crate) mod extension;
pub(crate) mod fault;
pub(crate) mod flight;
pub(crate) mod handshake;
pub(crate) mod keylog;
pub(crate) mod msg;
pub(crate) mod reader;
pub(crate) mod schedule;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod transcript;

pub use config::{
    ClientAuth, ClientConfig, Credential, Identity, MAX_PSKS, PeerIdentity, Psk, PskStore, ServerConfig,
};
#[cfg(feature = "keylog")]
pub use keylog::KeyLog;
pub use session::{ClientSession, PskClientSession, Role, ServerSession, TlsSession};
