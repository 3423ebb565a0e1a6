//! Peregrine's side.

use std::sync::Arc;
use std::time::Duration;

use peregrine_std::tls::{ClientTls, ServerTls, Shown, ours, rustls};
use peregrine_std::{Builder, Connection, Endpoint};

use super::pki::Authority;
use super::{ALPN, LOOPBACK, NAME};

/// What lies behind core's session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tls {
    /// Peregrine's own TLS.
    Ours,
    /// rustls, as the other stacks have it.
    Rustls,
}

impl Tls {
    /// What makes a server of a builder.
    pub(crate) fn serving(self, tls: ServerTls, builder: Builder) -> Builder {
        match self {
            Self::Ours => {
                let tls = ours::Server::new(tls).unwrap();
                builder.server(move |_| Ok(tls.session()))
            }
            Self::Rustls => {
                let tls = rustls::Server::new(tls).unwrap();
                builder.server(move |_| Ok(tls.session()))
            }
        }
    }

    /// What makes a client of a builder.
    pub(crate) fn connecting(self, tls: ClientTls, builder: Builder) -> Builder {
        match self {
            Self::Ours => {
                let tls = Arc::new(ours::Client::new(tls).unwrap());
                builder.client(move |name| Ok(tls.session(name)?))
            }
            Self::Rustls => {
                let tls = rustls::Client::new(tls).unwrap();
                builder.client(move |name| Ok(tls.session(name)?))
            }
        }
    }

    pub(crate) fn server(self, tls: ServerTls) -> Endpoint {
        self.serving(tls, Endpoint::builder().listen(LOOPBACK)).bind().unwrap()
    }

    pub(crate) fn client(self, tls: ClientTls) -> Endpoint {
        self.connecting(tls, Endpoint::builder().listen(LOOPBACK)).bind().unwrap()
    }
}

/// A server that the authority vouches for.
pub(crate) fn server_tls(authority: &Authority) -> ServerTls {
    ServerTls::new(Shown::Certificate(authority.issue(NAME).identity()), &[ALPN])
}

/// A client that trusts the authority.
pub(crate) fn client_tls(authority: &Authority) -> ClientTls {
    ClientTls::new(authority.trust(), &[ALPN])
}

pub(crate) fn server(tls: ServerTls) -> Endpoint {
    Tls::Ours.server(tls)
}

pub(crate) fn server_with(tls: ServerTls, change: impl FnOnce(Builder) -> Builder) -> Endpoint {
    change(Tls::Ours.serving(tls, Endpoint::builder().listen(LOOPBACK))).bind().unwrap()
}

pub(crate) fn client(tls: ClientTls) -> Endpoint {
    Tls::Ours.client(tls)
}

pub(crate) fn client_with(tls: ClientTls, change: impl FnOnce(Builder) -> Builder) -> Endpoint {
    change(Tls::Ours.connecting(tls, Endpoint::builder().listen(LOOPBACK))).bind().unwrap()
}

pub(crate) fn accept(server: &Endpoint) -> Connection {
    server.accept_within(Some(Duration::from_secs(20))).unwrap()
}
