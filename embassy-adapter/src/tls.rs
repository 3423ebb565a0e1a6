//! Sessions over Peregrine's own TLS 1.3, with small keys and without a heap.
//!
//! # Who the peer is
//!
//! A [`Psk`](peregrine_crypto::tls::Psk), a [raw public key](peregrine_crypto::verify::raw_key::RawKey) or a
//! [pinned key](peregrine_crypto::verify::pin::Pin) need no clock. X.509 (feature `x509`) does: a certificate is good from one
//! date to another, and who cannot tell the date would take one whose key was stolen and published years ago. Hand the time to
//! [`client`] in seconds since 1970, from a battery-backed clock or authenticated time of the network; without it the
//! handshake fails with `VerifyError::NoClock`, which the peer sees as the alert certificate_unknown.

use peregrine_core::endpoint::Incoming;
use peregrine_core::session::Session;
use peregrine_crypto::endpoint::EndpointKeys;
use peregrine_crypto::provider::Provider;
use peregrine_crypto::rustcrypto::CompactRustCrypto;
use peregrine_crypto::tls::{ClientConfig, ClientSession, Role, ServerConfig, ServerSession, TlsSession};
use rand_core::TryRng as _;
use zeroize::Zeroizing;

use crate::entropy::{Drbg, Entropy, EntropyError};

/// What an endpoint asks of a session beyond core's. An own session needs no more than `impl EndpointSession for It {}`.
pub trait EndpointSession: Session {
    /// The handshake is confirmed: nothing of it is sent again, memory lent for it may go.
    fn after_handshake(&mut self) {}
}

impl<'a, P: Provider, B: AsRef<[u8]> + AsMut<[u8]>, R: Role<'a>> EndpointSession for TlsSession<'a, P, B, R> {
    fn after_handshake(&mut self) {
        drop(self.take_scratch());
    }
}

/// The algorithms: RustCrypto with keys that are expanded for each packet.
pub type Algorithms = CompactRustCrypto<Drbg>;

/// A client's session, with `SCRATCH` bytes for its handshake: 2,048 do for a PSK or a raw or pinned key, certificates of a
/// chain need 4,096 and more.
pub type Client<const SCRATCH: usize> = ClientSession<'static, Algorithms, [u8; SCRATCH]>;

/// A server's session, with `SCRATCH` bytes for its handshake: 2,048 do for clients that send small ClientHellos, like
/// ours; browsers and the like need 4,096.
pub type Server<const SCRATCH: usize> = ServerSession<'static, Algorithms, [u8; SCRATCH]>;

/// The keys of an endpoint.
pub type Keys = EndpointKeys<Algorithms>;

/// A session of a client. `unix_time` is the time in seconds since 1970, which only X.509 needs.
///
/// # Errors
/// If the source of randomness fails.
pub fn client<const SCRATCH: usize>(
    config: &'static ClientConfig<'static>,
    entropy: &mut impl Entropy,
    unix_time: Option<u64>,
) -> Result<Client<SCRATCH>, EntropyError> {
    let algorithms = CompactRustCrypto::new(Drbg::new(entropy)?);
    Ok(ClientSession::new(config, algorithms, [0; SCRATCH], unix_time))
}

/// Makes the sessions of clients that come in: a [`Listener`], or a closure.
pub trait NewSession<S> {
    /// A session for this client, or nothing to turn it away.
    fn session(&mut self, incoming: &Incoming) -> Option<S>;
}

impl<S, F: FnMut(&Incoming) -> Option<S>> NewSession<S> for F {
    fn session(&mut self, incoming: &Incoming) -> Option<S> {
        self(incoming)
    }
}

/// Lets every client in. It has a generator of its own, which cannot fail: randomness is wanted when a client comes in, and then
/// there is nobody to be told of an error.
pub struct Listener<const SCRATCH: usize> {
    config: &'static ServerConfig<'static>,
    random: Drbg,
}

impl<const SCRATCH: usize> Listener<SCRATCH> {
    /// Handshakes as described. Certificates of clients that are verified by X.509 need an own [`NewSession`], which knows the
    /// time.
    ///
    /// # Errors
    /// If the source of randomness fails.
    pub fn new(
        config: &'static ServerConfig<'static>,
        entropy: &mut impl Entropy,
    ) -> Result<Self, EntropyError> {
        Ok(Self { config, random: Drbg::new(entropy)? })
    }
}

impl<const SCRATCH: usize> NewSession<Server<SCRATCH>> for Listener<SCRATCH> {
    fn session(&mut self, _: &Incoming) -> Option<Server<SCRATCH>> {
        let algorithms = CompactRustCrypto::new(self.random.fork());
        Some(ServerSession::new(self.config, algorithms, [0; SCRATCH], None))
    }
}

/// Keys of an endpoint, new with every start: peers of connections that were lost by a restart learn so by a timeout.
/// [`EndpointKeys::new`] with a secret from flash does better.
///
/// # Errors
/// If the source of randomness fails.
pub fn keys(entropy: &mut impl Entropy) -> Result<Keys, EntropyError> {
    let mut random = Drbg::new(entropy)?;
    let mut master = Zeroizing::new([0; 32]);
    let Ok(()) = random.try_fill_bytes(&mut *master);
    EndpointKeys::new(CompactRustCrypto::new(random), &master).map_err(|_| EntropyError)
}
