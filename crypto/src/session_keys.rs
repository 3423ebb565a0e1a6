//! All packet keys of a connection, by level and generation: the packet protection half of a session
//! ([`peregrine_core::session::Session`], whose methods have the same names here).
//!
//! RFC 9001 4.9 (discarding), 5 (protection), 6 (key update). 1-RTT keys:
//!
//! ```text
//! generation      n-1        n         n+1
//! seal                       current             derived when we move on
//! open            previous   current   next      derived ahead of time, so that how long a packet takes does not tell
//!                                                its key phase (RFC 9001 6.3, 9.5)
//! update: previous := current := next := derived        retire: previous := none
//! ```
//!
//! Which generation a packet belongs to, and when to update, is core's to decide. So is that a server opens no 1-RTT
//! packet before the handshake is complete.

use core::mem::replace;

use peregrine_core::ids::{PathId, Side};
use peregrine_core::limits::SAMPLE_LEN;
use peregrine_core::session::{AeadLimits, Key, KeyError, Level};

use crate::hkdf::DeriveError;
use crate::initial::{INITIAL_SUITE, V1, Version, initial_secret};
use crate::keys::{PacketKey, header_key, next_secret};
use crate::protect;
use crate::provider::{HeaderKey, Provider, Secret, Suite};

/// The keys of one direction.
struct Direction<P: Provider> {
    suite: Suite,
    packet: PacketKey<P>,
    header: P::Header,
}

impl<P: Provider> Direction<P> {
    fn derive(provider: &P, version: &Version, suite: Suite, secret: &Secret) -> Result<Self, DeriveError> {
        Ok(Self {
            suite,
            packet: PacketKey::derive(provider, version, suite, secret)?,
            header: header_key(provider, version, suite, secret)?,
        })
    }
}

/// The keys of both directions of a level.
struct Pair<P: Provider> {
    local: Direction<P>,
    peer: Direction<P>,
}

impl<P: Provider> Pair<P> {
    fn derive(
        provider: &P,
        version: &Version,
        suite: Suite,
        local: &Secret,
        peer: &Secret,
    ) -> Result<Self, DeriveError> {
        Ok(Self {
            local: Direction::derive(provider, version, suite, local)?,
            peer: Direction::derive(provider, version, suite, peer)?,
        })
    }
}

/// Both directions of 1-RTT. The header protection keys are the same for all generations.
struct OneRtt<P: Provider> {
    generation: u32,
    current: Pair<P>,
    /// What the peer seals with next.
    next: PacketKey<P>,
    previous: Option<PacketKey<P>>,
    /// The secrets of the next generation.
    local_secret: Secret,
    peer_secret: Secret,
}

impl<P: Provider> OneRtt<P> {
    fn derive(
        provider: &P,
        version: &Version,
        suite: Suite,
        local: &Secret,
        peer: &Secret,
    ) -> Result<Self, DeriveError> {
        let peer_secret = next_secret(provider, version, suite, peer)?;
        Ok(Self {
            generation: 0,
            current: Pair::derive(provider, version, suite, local, peer)?,
            next: PacketKey::derive(provider, version, suite, &peer_secret)?,
            previous: None,
            local_secret: next_secret(provider, version, suite, local)?,
            peer_secret,
        })
    }

    fn update(&mut self, provider: &P, version: &Version) -> Result<(), DeriveError> {
        let suite = self.current.local.suite;
        let Pair { local, peer } = &mut self.current;
        local.packet = PacketKey::derive(provider, version, suite, &self.local_secret)?;
        self.local_secret = next_secret(provider, version, suite, &self.local_secret)?;
        self.peer_secret = next_secret(provider, version, suite, &self.peer_secret)?;
        let next = PacketKey::derive(provider, version, suite, &self.peer_secret)?;
        self.previous = Some(replace(&mut peer.packet, replace(&mut self.next, next)));
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }

    /// The key that packets of `generation` are opened with.
    fn open_key(&mut self, generation: u32) -> Option<&mut PacketKey<P>> {
        match generation.wrapping_sub(self.generation) {
            0 => Some(&mut self.current.peer.packet),
            1 => Some(&mut self.next),
            u32::MAX => self.previous.as_mut(),
            _ => None,
        }
    }
}

/// All packet keys of a connection.
pub struct PacketKeys<P: Provider> {
    side: Side,
    version: &'static Version,
    initial: Option<Pair<P>>,
    early: Option<Direction<P>>,
    handshake: Option<Pair<P>>,
    one_rtt: Option<OneRtt<P>>,
}

impl<P: Provider> PacketKeys<P> {
    /// No keys yet.
    pub const fn new(side: Side) -> Self {
        Self { side, version: &V1, initial: None, early: None, handshake: None, one_rtt: None }
    }

    /// Derives the Initial keys, and fixes the version for all keys to come. Without a version that we know there are
    /// no Initial keys afterwards.
    pub fn set_initial_keys(&mut self, provider: &P, version: u32, dcid: &[u8]) {
        self.initial = None;
        if let Some(version) = Version::find(version) {
            self.version = version;
            self.initial = self.derive_initial(provider, dcid).ok();
        }
    }

    fn derive_initial(&self, provider: &P, dcid: &[u8]) -> Result<Pair<P>, DeriveError> {
        let secret = |side| initial_secret(provider, self.version, dcid, side);
        let (local, peer) = (secret(self.side)?, secret(self.side.peer())?);
        Pair::derive(provider, self.version, INITIAL_SUITE, &local, &peer)
    }

    /// Takes the secret of early data: a client seals with it, a server opens.
    ///
    /// # Errors
    /// If the provider has not the suite.
    pub fn set_early_secret(
        &mut self,
        provider: &P,
        suite: Suite,
        secret: &Secret,
    ) -> Result<(), DeriveError> {
        self.early = Some(Direction::derive(provider, self.version, suite, secret)?);
        Ok(())
    }

    /// Takes the handshake traffic secrets of both directions.
    ///
    /// # Errors
    /// If the provider has not the suite.
    pub fn set_handshake_secrets(
        &mut self,
        provider: &P,
        suite: Suite,
        local: &Secret,
        peer: &Secret,
    ) -> Result<(), DeriveError> {
        self.handshake = Some(Pair::derive(provider, self.version, suite, local, peer)?);
        Ok(())
    }

    /// Takes the first application traffic secrets of both directions.
    ///
    /// # Errors
    /// If the provider has not the suite.
    pub fn set_application_secrets(
        &mut self,
        provider: &P,
        suite: Suite,
        local: &Secret,
        peer: &Secret,
    ) -> Result<(), DeriveError> {
        self.one_rtt = Some(OneRtt::derive(provider, self.version, suite, local, peer)?);
        Ok(())
    }

    /// Encrypts in place; the last bytes of `payload` receive the tag.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if there is no such key, and for every generation of 1-RTT but the current one;
    /// [`KeyError::Forged`] if `payload` has no room for the tag.
    pub fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        let current = match key.level {
            Level::OneRtt => self.one_rtt.as_ref().map_or(0, |keys| keys.generation),
            _ => 0,
        };
        let direction = self.local(key.level).filter(|_| key.generation == current);
        direction.ok_or(KeyError::Missing)?.packet.seal(path, pn, header, payload)
    }

    /// Decrypts in place; returns the length of the plaintext.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if there is no such key, [`KeyError::Forged`] if the packet is not genuine.
    pub fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        let packet_key = match key.level {
            Level::OneRtt => self.one_rtt.as_mut().and_then(|keys| keys.open_key(key.generation)),
            level => self.peer(level).map(|direction| &mut direction.packet),
        };
        packet_key.ok_or(KeyError::Missing)?.open(path, pn, header, payload)
    }

    /// Applies header protection; does nothing without keys, when there is nothing sealed either.
    pub fn protect(&mut self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        if let Some(direction) = self.local(level) {
            protect::protect(direction.header.mask(sample), first, pn);
        }
    }

    /// Removes header protection; returns `false` without keys.
    pub fn unprotect(
        &mut self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool {
        let Some(direction) = self.peer(level) else { return false };
        protect::unprotect(direction.header.mask(sample), first, pn);
        true
    }

    /// The limits of the AEAD of `level`; without keys those of Initial packets.
    pub fn limits(&self, level: Level) -> AeadLimits {
        let suite = match level {
            Level::Initial => None,
            Level::ZeroRtt => self.early.as_ref().map(|direction| direction.suite),
            Level::Handshake => self.handshake.as_ref().map(|pair| pair.local.suite),
            Level::OneRtt => self.one_rtt.as_ref().map(|keys| keys.current.local.suite),
        };
        suite.unwrap_or(INITIAL_SUITE).limits()
    }

    /// Moves both directions of 1-RTT to the next generation. Should keys fail to derive, none are left.
    pub fn update_keys(&mut self, provider: &P) {
        if let Some(keys) = &mut self.one_rtt
            && keys.update(provider, self.version).is_err()
        {
            self.one_rtt = None;
        }
    }

    /// Forgets the receive key before the current one.
    pub fn retire_keys(&mut self) {
        if let Some(keys) = &mut self.one_rtt {
            keys.previous = None;
        }
    }

    /// Forgets all keys of a level.
    pub fn discard(&mut self, level: Level) {
        match level {
            Level::Initial => self.initial = None,
            Level::ZeroRtt => self.early = None,
            Level::Handshake => self.handshake = None,
            Level::OneRtt => self.one_rtt = None,
        }
    }

    /// What we seal packets of `level` with.
    fn local(&mut self, level: Level) -> Option<&mut Direction<P>> {
        match level {
            Level::Initial => self.initial.as_mut().map(|pair| &mut pair.local),
            Level::ZeroRtt => self.early.as_mut().filter(|_| self.side.is_client()),
            Level::Handshake => self.handshake.as_mut().map(|pair| &mut pair.local),
            Level::OneRtt => self.one_rtt.as_mut().map(|keys| &mut keys.current.local),
        }
    }

    /// What we open packets of `level` with; for 1-RTT the current generation.
    fn peer(&mut self, level: Level) -> Option<&mut Direction<P>> {
        match level {
            Level::Initial => self.initial.as_mut().map(|pair| &mut pair.peer),
            Level::ZeroRtt => self.early.as_mut().filter(|_| !self.side.is_client()),
            Level::Handshake => self.handshake.as_mut().map(|pair| &mut pair.peer),
            Level::OneRtt => self.one_rtt.as_mut().map(|keys| &mut keys.current.peer),
        }
    }
}

#[cfg(test)]
mod rfc9001;
#[cfg(test)]
mod tests;
