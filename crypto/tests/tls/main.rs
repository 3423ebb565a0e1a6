//! The TLS handshake, client and server, against themselves and against rustls.

mod connection;
mod hostile;
#[cfg(feature = "keylog")]
mod keylog;
mod late;
mod own;
mod peer;
mod pending;
mod pki;
mod raw;
mod rustls_client;
mod rustls_server;
mod wire;
