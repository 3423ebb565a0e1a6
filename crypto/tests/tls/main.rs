//! The TLS handshake, client and server, against themselves and against rustls.

mod own;
mod wire;
