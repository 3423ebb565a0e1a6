//! From what the command line says of identities and trust to factories of sessions.

use peregrine_crypto::provider::Suite;
use peregrine_std::identity::{self, Identity, Pin, RawKey};
use peregrine_std::tls::{ClientTls, KeyLogFile, ServerTls, Shown as TlsShown, Trust as TlsTrust, ours};
use peregrine_std::{AnySession, Error};

use crate::args::{Cipher, Get, Serve, Shown, Tls, Trust};
use crate::failure::Failure;

/// Makes sessions of clients.
pub(crate) type ClientFactory = Box<dyn Fn(&str) -> Result<AnySession, Error> + Send + Sync>;
/// Makes sessions of servers.
pub(crate) type ServerFactory = Box<dyn Fn() -> AnySession + Send + Sync>;

/// A server's sessions, and the pin by which clients may know it.
pub(crate) fn of_server(serve: &Serve) -> Result<(ServerFactory, Option<Pin>), Failure> {
    let alpn: &[&[u8]] = &[serve.alpn.as_bytes()];
    let (mut tls, pin) = match serve.shown() {
        Shown::Certificate { chain, key } => {
            let identity = Identity::load(chain, key)?;
            let pin = identity.pin();
            (ServerTls::new(TlsShown::Certificate(identity), alpn), pin)
        }
        Shown::SelfSigned => {
            let mut names = vec!["localhost".into(), "127.0.0.1".into(), "::1".into()];
            for address in serve.listen.iter().filter(|address| !address.ip().is_unspecified()) {
                let ip = address.ip().to_string();
                if !names.contains(&ip) {
                    names.push(ip);
                }
            }
            let identity = Identity::self_signed(&names)?;
            let pin = identity.pin();
            (ServerTls::new(TlsShown::Certificate(identity), alpn), pin)
        }
        Shown::RawKey(path) => {
            let key = RawKey::load(path)?;
            let pin = key.pin();
            (ServerTls::new(TlsShown::RawKey(key), alpn), Some(pin))
        }
        Shown::Psk(psk) => (ServerTls::with_psk(psk.clone(), alpn), None),
    };
    if let Some(path) = &serve.client_ca {
        tls.clients = Some(TlsTrust::Roots(identity::load_certificates(path)?));
    }
    Ok((server_factory(tls, serve.tls)?, pin))
}

/// A client's sessions.
pub(crate) fn of_client(get: &Get) -> Result<ClientFactory, Failure> {
    let trust = match get.trust() {
        Trust::System => TlsTrust::Roots(identity::system_roots()?),
        Trust::Roots(path) => TlsTrust::Roots(identity::load_certificates(path)?),
        Trust::Pin(pin) => TlsTrust::Pins(vec![pin]),
        Trust::RawKey(path) => TlsTrust::RawKeys(vec![identity::load_public_key(path)?]),
        Trust::Psk(psk) => TlsTrust::Psk(psk.clone()),
        Trust::Anyone => TlsTrust::Anyone,
    };
    let mut tls = ClientTls::new(trust, &[crate::hq::ALPN]);
    if let Some((chain, key)) = get.client_identity() {
        tls.shown = Some(TlsShown::Certificate(Identity::load(chain, key)?));
    }
    tls.suites.extend(get.cipher.map(suite));
    if let Some(path) = &get.keylog {
        let file = KeyLogFile::append_to(path).map_err(|error| {
            Failure::local(format_args!("cannot write the key log {}", path.display()), error)
        })?;
        tls.key_log = Some(file);
    }
    client_factory(tls, get.tls)
}

/// Sessions of one server over the TLS asked for.
pub(crate) fn server_factory(tls: ServerTls, which: Tls) -> Result<ServerFactory, Failure> {
    Ok(match which {
        Tls::Ours => {
            let factory = ours::Server::new(tls)?;
            Box::new(move || factory.session())
        }
        #[cfg(feature = "rustls")]
        Tls::Rustls => {
            let factory = peregrine_std::tls::rustls::Server::new(tls)?;
            Box::new(move || factory.session())
        }
    })
}

/// Sessions of clients over the TLS asked for.
pub(crate) fn client_factory(tls: ClientTls, which: Tls) -> Result<ClientFactory, Failure> {
    Ok(match which {
        Tls::Ours => {
            let factory = ours::Client::new(tls)?;
            Box::new(move |name| Ok(factory.session(name)?))
        }
        #[cfg(feature = "rustls")]
        Tls::Rustls => {
            let factory = peregrine_std::tls::rustls::Client::new(tls)?;
            Box::new(move |name| Ok(factory.session(name)?))
        }
    })
}

const fn suite(cipher: Cipher) -> Suite {
    match cipher {
        Cipher::Aes128Gcm => Suite::Aes128GcmSha256,
        Cipher::Aes256Gcm => Suite::Aes256GcmSha384,
        Cipher::ChaCha20Poly1305 => Suite::ChaCha20Poly1305Sha256,
    }
}
