//! TLS with the least cryptography that a small machine needs: X25519, ChaCha20-Poly1305, SHA-256, and AES-128 for Initial packets.
//! [`peregrine_embassy::tls`] has the same with more algorithms.

use peregrine_core::endpoint::Incoming;
use peregrine_crypto::endpoint::EndpointKeys;
use peregrine_crypto::rustcrypto::LeanRustCrypto;
use peregrine_crypto::tls::{ClientConfig, ClientSession, ServerConfig, ServerSession};
use peregrine_embassy::Error;
use peregrine_embassy::entropy::{Drbg, Entropy};
use peregrine_embassy::tls::{Handshakes, NewSession, Scratch};

/// The algorithms.
pub type Algorithms = LeanRustCrypto<Drbg>;
/// A client's session.
pub type Client = ClientSession<'static, Algorithms, Scratch>;
/// A server's session.
pub type Server = ServerSession<'static, Algorithms, Scratch>;
/// Keys for what does not belong to one connection: tokens, stateless resets.
pub type Keys = EndpointKeys<Algorithms>;

/// Keys that are new with every start.
pub fn keys(entropy: &mut impl Entropy) -> Result<Keys, Error> {
    let mut secret = [0; 32];
    entropy.fill(&mut secret)?;
    EndpointKeys::new(LeanRustCrypto::new(Drbg::new(entropy)?), &secret).map_err(|_| Error::Entropy)
}

/// A session of a client.
pub fn client(
    config: &'static ClientConfig<'static>,
    handshakes: Handshakes,
    entropy: &mut impl Entropy,
) -> Result<Client, Error> {
    let algorithms = LeanRustCrypto::new(Drbg::new(entropy)?);
    let scratch = handshakes.take().ok_or(Error::TooManyHandshakes)?;
    Ok(ClientSession::new(config, algorithms, scratch, None))
}

/// Lets every client in for whose handshake there is memory.
pub struct Listener {
    config: &'static ServerConfig<'static>,
    handshakes: Handshakes,
    random: Drbg,
}

impl Listener {
    /// Handshakes as described.
    pub fn new(
        config: &'static ServerConfig<'static>,
        handshakes: Handshakes,
        entropy: &mut impl Entropy,
    ) -> Result<Self, Error> {
        Ok(Self { config, handshakes, random: Drbg::new(entropy)? })
    }
}

impl NewSession<Server> for Listener {
    fn session(&mut self, _: &Incoming) -> Option<Server> {
        let scratch = self.handshakes.take()?;
        Some(ServerSession::new(self.config, LeanRustCrypto::new(self.random.fork()), scratch, None))
    }
}
