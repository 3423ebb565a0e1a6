//! Sessions over Peregrine's own TLS 1.3, with small keys and without a heap.
//!
//! # Who the peer is
//!
//! A [`Psk`](peregrine_crypto::tls::Psk), a [raw public key](peregrine_crypto::verify::raw_key::RawKey) or a
//! [pinned key](peregrine_crypto::verify::pin::Pin) need no clock. X.509 (feature `x509`) does: a certificate is good from one
//! date to another, and who cannot tell the date would take one whose key was stolen and published years ago. Hand the time to
//! [`client`] in seconds since 1970, from a battery-backed clock or authenticated time of the network; without it the
//! handshake fails with `VerifyError::NoClock`, which the peer sees as the alert internal_error.

use core::cell::Cell;

use peregrine_core::connection::CRYPTO_LEN;
use peregrine_core::endpoint::Incoming;
use peregrine_core::session::Session;
use peregrine_crypto::endpoint::EndpointKeys;
use peregrine_crypto::provider::Provider;
use peregrine_crypto::rustcrypto::{Cached, CompactRustCrypto, LeanRustCrypto, RustCrypto};
use peregrine_crypto::tls::{
    ClientConfig, ClientSession, PskClientSession, Role, ServerConfig, ServerSession, TlsSession,
};
use rand_core::TryRng as _;
use zeroize::Zeroizing;

use crate::entropy::{Drbg, Entropy, EntropyError};
use crate::error::Error;
use crate::lent::{Home, Lent};

/// What an endpoint asks of a session beyond core's. An own session needs no more than `impl EndpointSession for It {}`.
pub trait EndpointSession: Session {
    /// Room for CRYPTO bytes out of order, until the handshake is confirmed; asked for once, when the connection begins. Without
    /// it the connection's [`Memory`](peregrine_core::connection::Memory) must have such room.
    fn crypto_room(&mut self) -> Option<Room> {
        None
    }

    /// Whether there is work that was put off, for [`Session::resume`] to do now. Without it that is called only after
    /// [`Endpoint::resume`](crate::Endpoint::resume).
    fn has_deferred_work(&self) -> bool {
        false
    }

    /// Whether a key in hardware was asked and has not answered. When it has, others that wait for the same hardware are asked again.
    fn is_pending(&self) -> bool {
        false
    }

    /// The handshake is confirmed: nothing of it is sent again, memory lent for it may go.
    fn after_handshake(&mut self) {}

    /// The connection is closed: no more of a handshake is read or sent, memory lent for it may go.
    fn after_close(&mut self) {}
}

impl<'a, P: Provider, R: Role<'a>> EndpointSession for TlsSession<'a, P, Scratch, R> {
    fn crypto_room(&mut self) -> Option<Room> {
        self.scratch_mut()?.crypto.take()
    }

    fn has_deferred_work(&self) -> bool {
        Self::has_deferred_work(self)
    }

    fn is_pending(&self) -> bool {
        Self::is_pending(self)
    }

    fn after_handshake(&mut self) {
        drop(self.take_scratch());
    }

    fn after_close(&mut self) {
        drop(self.abandon());
    }
}

/// The cryptography of sessions and keys, which needs nothing but randomness. It is [`Compact`] unless a type says another.
///
/// A chip with hardware for it gets a [`Provider`] of its own, and [`NewAlgorithms`] to make that.
pub trait Algorithms: Provider + Sized {
    /// With this source of randomness.
    fn with_random(random: Drbg) -> Self;
}

/// All algorithms of RustCrypto, with keys that are expanded for each packet.
pub type Compact = CompactRustCrypto<Drbg>;

/// The least that will do, for the least flash: ChaCha20-Poly1305, AES-128-GCM, which Initial packets need, SHA-256 and X25519.
pub type Lean = LeanRustCrypto<Drbg>;

impl Algorithms for Compact {
    fn with_random(random: Drbg) -> Self {
        Self::new(random)
    }
}

impl Algorithms for Lean {
    fn with_random(random: Drbg) -> Self {
        Self::new(random)
    }
}

impl Algorithms for LeanRustCrypto<Drbg, Cached> {
    fn with_random(random: Drbg) -> Self {
        Self::cached(random)
    }
}

impl Algorithms for RustCrypto<Drbg> {
    fn with_random(random: Drbg) -> Self {
        Self::new(random)
    }
}

/// Makes the cryptography of each session: what [`Software`] does for [`Algorithms`], and a closure or a type of one's own for a
/// [`Provider`] that refers to a peripheral.
pub trait NewAlgorithms<A> {
    /// Some with this source of randomness.
    fn algorithms(&self, random: Drbg) -> A;
}

impl<A, F: Fn(Drbg) -> A> NewAlgorithms<A> for F {
    fn algorithms(&self, random: Drbg) -> A {
        self(random)
    }
}

/// Cryptography without peripherals.
#[derive(Clone, Copy, Debug)]
pub struct Software;

impl<A: Algorithms> NewAlgorithms<A> for Software {
    fn algorithms(&self, random: Drbg) -> A {
        A::with_random(random)
    }
}

/// Memory for `COUNT` handshakes at once: 4,608 bytes for what comes out of order (RFC 9000 7.5 asks for it), and `SCRATCH` bytes for
/// TLS. 2,048 of these do for a PSK and for raw or pinned keys; certificates of a chain, or clients with large ClientHellos like
/// those of browsers, need 4,096 and more.
///
/// A handshake gives it back when it is over, so that one piece serves any number of connections one after the other.
///
/// ```
/// use peregrine_embassy::tls::{HandshakeMemory, Handshakes};
/// use static_cell::StaticCell;
///
/// static HANDSHAKES: StaticCell<HandshakeMemory<2048, 1>> = StaticCell::new();
/// let handshakes: Handshakes = HANDSHAKES.init_with(HandshakeMemory::new).share();
/// assert!(handshakes.take().is_some_and(|_busy| handshakes.take().is_none()));
/// assert!(handshakes.take().is_some());
/// ```
pub struct HandshakeMemory<const SCRATCH: usize, const COUNT: usize> {
    tls: [[u8; SCRATCH]; COUNT],
    crypto: [[u8; CRYPTO_LEN]; COUNT],
    homes: Homes<COUNT>,
}

struct Homes<const COUNT: usize> {
    tls: [Home<[u8]>; COUNT],
    crypto: [Home<[u8]>; COUNT],
}

impl<const SCRATCH: usize, const COUNT: usize> HandshakeMemory<SCRATCH, COUNT> {
    /// Memory that nobody uses.
    pub const fn new() -> Self {
        Self {
            tls: [[0; SCRATCH]; COUNT],
            crypto: [[0; CRYPTO_LEN]; COUNT],
            homes: Homes {
                tls: [const { Cell::new(None) }; COUNT],
                crypto: [const { Cell::new(None) }; COUNT],
            },
        }
    }

    /// Lets handshakes use it.
    pub fn share(&'static mut self) -> Handshakes {
        for (home, bytes) in self.homes.tls.iter().zip(&mut self.tls) {
            home.set(Some(bytes));
        }
        for (home, bytes) in self.homes.crypto.iter().zip(&mut self.crypto) {
            home.set(Some(bytes));
        }
        Handshakes { tls: &self.homes.tls, crypto: &self.homes.crypto }
    }
}

impl<const SCRATCH: usize, const COUNT: usize> Default for HandshakeMemory<SCRATCH, COUNT> {
    fn default() -> Self {
        Self::new()
    }
}

/// Lends memory to handshakes.
#[derive(Clone, Copy)]
pub struct Handshakes {
    tls: &'static [Home<[u8]>],
    crypto: &'static [Home<[u8]>],
}

impl Handshakes {
    /// Memory for a handshake, if not all of it is in use.
    pub fn take(&self) -> Option<Scratch> {
        Some(Scratch { tls: Lent::take(self.tls)?, crypto: Some(Room(Lent::take(self.crypto)?)) })
    }
}

/// The memory of a handshake, which goes back when this is dropped.
pub struct Scratch {
    tls: Lent<[u8]>,
    crypto: Option<Room>,
}

impl AsRef<[u8]> for Scratch {
    fn as_ref(&self) -> &[u8] {
        self.tls.bytes()
    }
}

impl AsMut<[u8]> for Scratch {
    fn as_mut(&mut self) -> &mut [u8] {
        self.tls.bytes_mut()
    }
}

/// Room for CRYPTO bytes out of order, which goes back when this is dropped.
pub struct Room(Lent<[u8]>);

impl AsMut<[u8]> for Room {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }
}

/// A client's session.
pub type Client<A = Compact> = ClientSession<'static, A, Scratch>;

/// A client's session with pre-shared keys and nothing else, which links no code for certificates and their keys.
pub type PskClient<A = Compact> = PskClientSession<'static, A, Scratch>;

/// A server's session.
pub type Server<A = Compact> = ServerSession<'static, A, Scratch>;

/// The keys of an endpoint.
pub type Keys<A = Compact> = EndpointKeys<A>;

/// A session of a client. `unix_time` is the time in seconds since 1970, which only X.509 needs.
///
/// # Errors
/// [`Error::Entropy`], [`Error::TooManyHandshakes`].
pub fn client<A: Algorithms>(
    config: &'static ClientConfig<'static>,
    handshakes: Handshakes,
    entropy: &mut impl Entropy,
    unix_time: Option<u64>,
) -> Result<Client<A>, Error> {
    client_with(&Software, config, handshakes, entropy, unix_time)
}

/// [`client`] with cryptography of one's own.
///
/// # Errors
/// As for [`client`].
pub fn client_with<A: Provider>(
    new: &impl NewAlgorithms<A>,
    config: &'static ClientConfig<'static>,
    handshakes: Handshakes,
    entropy: &mut impl Entropy,
    unix_time: Option<u64>,
) -> Result<Client<A>, Error> {
    let (algorithms, scratch) = begin(new, handshakes, entropy)?;
    Ok(ClientSession::new(config, algorithms, scratch, unix_time))
}

/// A session of a client that knows its server by a pre-shared key.
///
/// # Errors
/// As for [`client`].
pub fn psk_client<A: Algorithms>(
    config: &'static ClientConfig<'static>,
    handshakes: Handshakes,
    entropy: &mut impl Entropy,
) -> Result<PskClient<A>, Error> {
    psk_client_with(&Software, config, handshakes, entropy)
}

/// [`psk_client`] with cryptography of one's own.
///
/// # Errors
/// As for [`client`].
pub fn psk_client_with<A: Provider>(
    new: &impl NewAlgorithms<A>,
    config: &'static ClientConfig<'static>,
    handshakes: Handshakes,
    entropy: &mut impl Entropy,
) -> Result<PskClient<A>, Error> {
    let (algorithms, scratch) = begin(new, handshakes, entropy)?;
    Ok(PskClientSession::new(config, algorithms, scratch, None))
}

/// What a client's session begins with.
fn begin<A>(
    new: &impl NewAlgorithms<A>,
    handshakes: Handshakes,
    entropy: &mut impl Entropy,
) -> Result<(A, Scratch), Error> {
    let random = Drbg::new(entropy)?;
    let scratch = handshakes.take().ok_or(Error::TooManyHandshakes)?;
    Ok((new.algorithms(random), scratch))
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

/// Lets every client in for whose handshake there is memory. It has a generator of its own, which cannot fail: randomness is
/// wanted when a client comes in, and then there is nobody to be told of an error.
pub struct Listener<N = Software> {
    new: N,
    config: &'static ServerConfig<'static>,
    handshakes: Handshakes,
    random: Drbg,
}

impl Listener {
    /// Handshakes as described. Certificates of clients that are verified by X.509 need an own [`NewSession`], which knows the
    /// time.
    ///
    /// # Errors
    /// If the source of randomness fails.
    pub fn new(
        config: &'static ServerConfig<'static>,
        handshakes: Handshakes,
        entropy: &mut impl Entropy,
    ) -> Result<Self, EntropyError> {
        Self::with(Software, config, handshakes, entropy)
    }
}

impl<N> Listener<N> {
    /// The same with cryptography of one's own.
    ///
    /// # Errors
    /// As for [`Listener::new`].
    pub fn with(
        new: N,
        config: &'static ServerConfig<'static>,
        handshakes: Handshakes,
        entropy: &mut impl Entropy,
    ) -> Result<Self, EntropyError> {
        Ok(Self { new, config, handshakes, random: Drbg::new(entropy)? })
    }
}

impl<A: Provider, N: NewAlgorithms<A>> NewSession<Server<A>> for Listener<N> {
    fn session(&mut self, _: &Incoming) -> Option<Server<A>> {
        let scratch = self.handshakes.take()?;
        let algorithms = self.new.algorithms(self.random.fork());
        Some(ServerSession::new(self.config, algorithms, scratch, None))
    }
}

/// Keys of an endpoint, new with every start: peers of connections that were lost by a restart learn so by a timeout.
/// [`EndpointKeys::new`] with a secret from flash does better.
///
/// # Errors
/// If the source of randomness fails.
pub fn keys<A: Algorithms>(entropy: &mut impl Entropy) -> Result<Keys<A>, EntropyError> {
    keys_with(&Software, entropy)
}

/// [`keys`] with cryptography of one's own.
///
/// # Errors
/// As for [`keys`].
pub fn keys_with<A: Provider>(
    new: &impl NewAlgorithms<A>,
    entropy: &mut impl Entropy,
) -> Result<Keys<A>, EntropyError> {
    let mut random = Drbg::new(entropy)?;
    let mut master = Zeroizing::new([0; 32]);
    let Ok(()) = random.try_fill_bytes(&mut *master);
    EndpointKeys::new(new.algorithms(random), &master).map_err(|_| EntropyError)
}
