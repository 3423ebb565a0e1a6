//! QUIC-LB (draft-ietf-quic-load-balancers-21): connection IDs that tell the load balancers of a fleet which server they
//! belong to, and tell nobody else.
//!
//! An ID is `first octet || server ID || nonce`, the latter two encrypted with a key that servers and balancers share.
//! The first octet names the configuration in three bits, so that keys can change while old IDs are about; its other
//! five are random or say how many bytes follow.
//!
//! Not here: the balancer's tables and its fallback for IDs it cannot read, trial decryption with the keys of several
//! tenants, bytes behind the nonce for a server's own use (the reader passes over those of others).

mod cipher;

use core::fmt;

use peregrine_core::limits::MAX_CID_LEN;

use self::cipher::Cipher;
use super::{CidError, CidGenerator, copy};
use crate::provider::Secret;

/// Bytes of the longest server ID: what the first octet and the shortest nonce leave.
const MAX_SERVER_ID: usize = 15;
const MIN_NONCE: u8 = 4;
/// Bytes of the longest nonce.
const MAX_NONCE: usize = 18;
/// Server ID and nonce together.
const MAX_TEXT: usize = MAX_CID_LEN - 1;
/// The configuration that is none: balancers go by the addresses.
const UNROUTABLE: u8 = 7;

/// A server's name within a fleet.
pub type ServerId = heapless::Vec<u8, MAX_SERVER_ID>;

/// Where things stand in an ID.
#[derive(Clone, Copy, Debug)]
struct Layout {
    id: u8,
    server_id: u8,
    nonce: u8,
    tells_length: bool,
}

impl Layout {
    fn text_len(self) -> usize {
        usize::from(self.server_id).saturating_add(usize::from(self.nonce))
    }

    fn first_octet(self, random: u8) -> u8 {
        let low = if self.tells_length { self.text_len() as u8 } else { random };
        first_octet(self.id, low)
    }
}

const fn first_octet(config: u8, low: u8) -> u8 {
    config << 5 | low & 0x1f
}

/// What all servers and balancers of a fleet agree on.
///
/// A nonce of n bytes lasts for 2^8n IDs of each server; a server that restarts begins anywhere in that circle. With
/// eight bytes or more neither the end nor meeting IDs from before a restart is a concern; with four, change the key every
/// few million IDs or restarts. Server ID and nonce of 16 bytes together take a single pass of AES, other lengths take
/// four.
///
/// The total length of an endpoint's IDs never changes: configurations that follow each other must have the same.
#[derive(Clone, Debug)]
pub struct QuicLbConfig {
    layout: Layout,
    key: Option<Secret>,
}

impl QuicLbConfig {
    /// Configuration `id` (0 to 6), where servers and balancers share `key`. Server IDs have 1 to 15 bytes, nonces 4 to
    /// 18, both together 19 at most.
    ///
    /// Mutually distrustful servers must not share a key, and whoever had server IDs in plaintext needs new ones.
    ///
    /// # Errors
    /// A [`CidError`] names what does not fit.
    pub fn encrypted(id: u8, server_id_len: u8, nonce_len: u8, key: &[u8; 16]) -> Result<Self, CidError> {
        let config = Self::plaintext(id, server_id_len, nonce_len)?;
        Ok(Self { key: Secret::from_slice(key), ..config })
    }

    /// Likewise, without a key: everybody can read the server ID, and link the addresses of a client that migrates. So
    /// such servers should set `disable_active_migration`. Nonces are random: give them eight bytes or more.
    ///
    /// # Errors
    /// A [`CidError`] names what does not fit.
    pub fn plaintext(id: u8, server_id_len: u8, nonce_len: u8) -> Result<Self, CidError> {
        let layout = Layout { id, server_id: server_id_len, nonce: nonce_len, tells_length: false };
        if id >= UNROUTABLE {
            Err(CidError::ConfigId(id))
        } else if server_id_len == 0 || usize::from(server_id_len) > MAX_SERVER_ID {
            Err(CidError::ServerIdLength(server_id_len))
        } else if nonce_len < MIN_NONCE || usize::from(nonce_len) > MAX_NONCE {
            Err(CidError::NonceLength(nonce_len))
        } else if layout.text_len() > MAX_TEXT {
            Err(CidError::TooLong { server_id: server_id_len, nonce: nonce_len })
        } else {
            Ok(Self { layout, key: None })
        }
    }

    /// Puts the number of bytes that follow into the first octet, for hardware that looks up keys by connection IDs of
    /// several lengths.
    pub const fn telling_length(mut self) -> Self {
        self.layout.tells_length = true;
        self
    }

    /// The number of the configuration.
    pub const fn id(&self) -> u8 {
        self.layout.id
    }

    /// Bytes of each connection ID: 6 to 20.
    pub fn cid_len(&self) -> u8 {
        (self.layout.text_len() as u8).saturating_add(1)
    }
}

/// The balancer's side of a configuration: finds the server of a connection ID.
pub struct QuicLbReader {
    layout: Layout,
    cipher: Cipher,
}

impl QuicLbReader {
    /// The reader of `config`. A balancer has one for each configuration in use, and finds it by
    /// [`Self::config_id`].
    pub fn new(config: &QuicLbConfig) -> Self {
        let layout = config.layout;
        let key = config.key.as_ref().and_then(|key| key.as_bytes().first_chunk());
        let cipher = key.map_or(Cipher::Plaintext, |key| Cipher::new(key, layout.text_len()));
        Self { layout, cipher }
    }

    /// The configuration that `cid` names; `None` if it says that it cannot be routed, or has no byte.
    pub fn config_id(cid: &[u8]) -> Option<u8> {
        cid.first().map(|octet| octet >> 5).filter(|id| *id != UNROUTABLE)
    }

    /// The server that `cid` belongs to; `None` if it is of another configuration or too short. A short header does not
    /// tell the length of its ID: the bytes of the packet from the second on will do. An ID that a client made up may name
    /// any server, or one that does not exist.
    pub fn server_id(&self, cid: &[u8]) -> Option<ServerId> {
        let (octet, rest) = cid.split_first()?;
        let len = self.layout.text_len();
        let told = usize::from(octet & 0x1f);
        if Self::config_id(cid) != Some(self.layout.id) || self.layout.tells_length && told < len {
            return None;
        }
        let mut text = [0; MAX_TEXT];
        let text = text.get_mut(..len)?;
        text.copy_from_slice(rest.get(..len)?);
        let wanted = usize::from(self.layout.server_id);
        self.cipher.decrypt(text, wanted);
        ServerId::from_slice(text.get(..wanted)?).ok()
    }
}

impl fmt::Debug for QuicLbReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicLbReader").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Connection IDs of one server of a fleet.
///
/// A server ID must have one generator at a time: two would use the same nonces, and so the same IDs. Processes that
/// share an address have a server ID each.
pub struct QuicLb {
    reader: QuicLbReader,
    server_id: ServerId,
    nonces: Nonces,
}

impl QuicLb {
    /// IDs that lead to the server `server_id`.
    ///
    /// # Errors
    /// [`CidError::ServerId`] if it has not the length of the configuration.
    pub fn new(config: &QuicLbConfig, server_id: &[u8]) -> Result<Self, CidError> {
        let configured = config.layout.server_id;
        let wrong = CidError::ServerId { len: server_id.len(), configured };
        if server_id.len() != usize::from(configured) {
            return Err(wrong);
        }
        Ok(Self {
            reader: QuicLbReader::new(config),
            server_id: ServerId::from_slice(server_id).map_err(|_| wrong)?,
            nonces: if config.key.is_some() { Nonces::Unstarted } else { Nonces::Random },
        })
    }

    /// How many more IDs can be made; `u64::MAX` if that is not a concern. Ask for a new configuration in time: at zero,
    /// IDs say that they cannot be routed, and clients that migrate are lost.
    pub fn left(&self) -> u64 {
        match &self.nonces {
            Nonces::Random => u64::MAX,
            Nonces::Unstarted => Nonces::all(self.reader.layout.nonce),
            Nonces::Counter { left, .. } => *left,
        }
    }

    /// `None` if `cid` has another length, or no nonce is left.
    fn fill_routable(&mut self, random: &[u8; MAX_CID_LEN], cid: &mut [u8]) -> Option<()> {
        let layout = self.reader.layout;
        let [octet, _, seed @ ..] = random;
        let (first, text) = cid.split_first_mut().filter(|(_, text)| text.len() == layout.text_len())?;
        let nonce = self.nonces.take(layout.nonce, seed)?;
        *first = layout.first_octet(*octet);
        copy(self.server_id.iter().chain(&nonce), text);
        self.reader.cipher.encrypt(text);
        Some(())
    }
}

impl CidGenerator for QuicLb {
    fn cid_len(&self) -> u8 {
        (self.reader.layout.text_len() as u8).saturating_add(1)
    }

    fn fill(&mut self, random: &[u8; MAX_CID_LEN], cid: &mut [u8]) {
        if self.fill_routable(random, cid).is_none() {
            fill_unroutable(random, cid);
        }
    }

    /// Whether it leads to this server. Not what cannot be routed: anyone can have another server's ID of that kind sent
    /// here.
    fn may_have_made(&self, cid: &[u8]) -> bool {
        cid.len() == usize::from(self.cid_len())
            && self.reader.server_id(cid).as_ref() == Some(&self.server_id)
    }
}

impl fmt::Debug for QuicLb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicLb")
            .field("layout", &self.reader.layout)
            .field("server_id", &self.server_id)
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

/// Which nonce comes next (QUIC-LB, "Connection ID Entropy").
enum Nonces {
    /// Seen by everybody: no relation to those before.
    Random,
    /// Encrypted, and none used yet.
    Unstarted,
    /// Encrypted: counted from a random start, until all have been used.
    Counter { next: [u8; MAX_NONCE], left: u64 },
}

impl Nonces {
    /// How many nonces of `len` bytes there are.
    fn all(len: u8) -> u64 {
        1_u64.checked_shl(u32::from(len).saturating_mul(8)).unwrap_or(u64::MAX)
    }

    /// The next one, in the first `len` bytes; `None` if there is none any more.
    fn take(&mut self, len: u8, random: &[u8; MAX_NONCE]) -> Option<[u8; MAX_NONCE]> {
        if let Self::Unstarted = self {
            *self = Self::Counter { next: *random, left: Self::all(len) };
        }
        let Self::Counter { next, left } = self else { return Some(*random) };
        *left = left.checked_sub(1)?;
        let nonce = *next;
        let mut carry = 1;
        for byte in next.iter_mut().take(usize::from(len)).rev() {
            let (sum, overflow) = byte.overflowing_add(carry);
            (*byte, carry) = (sum, u8::from(overflow));
        }
        Some(nonce)
    }
}

/// Connection IDs of a server that has no configuration yet: they tell balancers to go by the addresses.
///
/// Such a server should give each client one ID only, and set `disable_active_migration`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnroutableCids {
    len: u8,
}

impl UnroutableCids {
    /// IDs of `len` bytes: 8 to 20. Choose the length that the configuration to come will have.
    ///
    /// # Errors
    /// [`CidError::Length`].
    pub const fn new(len: u8) -> Result<Self, CidError> {
        match len {
            8..=20 => Ok(Self { len }),
            _ => Err(CidError::Length { len, min: 8 }),
        }
    }
}

impl CidGenerator for UnroutableCids {
    fn cid_len(&self) -> u8 {
        self.len
    }

    fn fill(&mut self, random: &[u8; MAX_CID_LEN], cid: &mut [u8]) {
        fill_unroutable(random, cid);
    }

    /// Never: such packets go by their addresses, and anyone can have another server's connection ID sent here.
    fn may_have_made(&self, _: &[u8]) -> bool {
        false
    }
}

/// Random but for the first octet, which must tell the length here.
fn fill_unroutable(random: &[u8; MAX_CID_LEN], cid: &mut [u8]) {
    copy(random, cid);
    if let Some((first, rest)) = cid.split_first_mut() {
        *first = first_octet(UNROUTABLE, rest.len() as u8);
    }
}

#[cfg(test)]
mod tests;
