//! Peregrine's side.

use std::sync::Arc;
use std::time::Duration;

use peregrine_std::tls::{ClientTls, ServerTls, Shown, ours};
use peregrine_std::{Builder, Connection, Endpoint, Error};

use crate::pki::Authority;
use crate::{ALPN, LOOPBACK, NAME};

/// A server that the authority vouches for.
pub(crate) fn server_tls(authority: &Authority) -> ServerTls {
    ServerTls::new(Shown::Certificate(authority.issue(NAME).identity()), &[ALPN])
}

/// A client that trusts the authority.
pub(crate) fn client_tls(authority: &Authority) -> ClientTls {
    ClientTls::new(authority.trust(), &[ALPN])
}

/// What makes a server of a builder.
pub(crate) fn serving(tls: ServerTls, builder: Builder) -> Builder {
    let tls = ours::Server::new(tls).unwrap();
    builder.server(move |_| Ok(tls.session()))
}

/// What makes a client of a builder.
pub(crate) fn connecting(tls: ClientTls, builder: Builder) -> Builder {
    let tls = Arc::new(ours::Client::new(tls).unwrap());
    builder.client(move |name| tls.session(name).map_err(|error| Error::Session(error.to_string())))
}

pub(crate) fn server(tls: ServerTls) -> Endpoint {
    server_with(tls, |builder| builder)
}

pub(crate) fn server_with(tls: ServerTls, change: impl FnOnce(Builder) -> Builder) -> Endpoint {
    change(serving(tls, Endpoint::builder().listen(LOOPBACK))).bind().unwrap()
}

pub(crate) fn client(tls: ClientTls) -> Endpoint {
    client_with(tls, |builder| builder)
}

pub(crate) fn client_with(tls: ClientTls, change: impl FnOnce(Builder) -> Builder) -> Endpoint {
    change(connecting(tls, Endpoint::builder().listen(LOOPBACK))).bind().unwrap()
}

pub(crate) fn accept(server: &Endpoint) -> Connection {
    server.accept_within(Some(Duration::from_secs(20))).unwrap()
}
