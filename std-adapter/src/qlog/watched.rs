//! A session that tells its log what it seals and opens, and what TLS has to tell.

use peregrine_core::error::TransportError;
use peregrine_core::ids::{PathId, Side};
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{AeadLimits, Key, KeyError, Level, Session, SessionEvent};
use peregrine_core::wire::Cid;
use peregrine_core::wire::params::TransportParams;
use serde_json::{Value, json};

use super::SharedLog;
use super::packets::{self, Packet};
use super::words::{key_types, packet_type, parameters};
use crate::session::{Agreed, AnySession, HostSession};

/// A session, watched.
pub(super) struct Watched {
    session: AnySession,
    log: SharedLog,
    /// Key updates so far, and the latest generation that a packet was opened with.
    generation: u32,
    opened: u32,
}

impl Watched {
    pub(super) const fn new(session: AnySession, log: SharedLog) -> Self {
        Self { session, log, generation: 0, opened: 0 }
    }

    fn keys(&self, name: &'static str, level: Level, trigger: &str, generation: u32) {
        for key_type in key_types(level) {
            let mut data = json!({ "key_type": key_type, "trigger": trigger });
            if level == Level::OneRtt {
                data["key_phase"] = generation.into();
            }
            self.log.lock().note(name, data);
        }
    }

    /// Who began the generation that is the newest now.
    const fn updater(&self) -> &'static str {
        if self.opened >= self.generation { "remote_update" } else { "local_update" }
    }

    fn on_complete(&self) {
        let mut log = self.log.lock();
        if let Some(alpn) = self.session.alpn() {
            log.note("alpn_information", json!({ "chosen_alpn": alpn_value(alpn) }));
        }
        if let Some(suite) = self.session.agreed().suite {
            let cipher = suite.strip_prefix("TLS_").unwrap_or(suite);
            log.note("parameters_set", json!({ "tls_cipher": cipher }));
        }
    }

    fn on_peer_params(&self) {
        let mut log = self.log.lock();
        let peer = if log.side.is_client() { Side::Server } else { Side::Client };
        // What is wrong with them is said where the connection ends of it.
        if let Some(Ok(params)) = self.session.peer_params().map(|bytes| TransportParams::parse(peer, bytes))
        {
            log.peer_exponent = params.ack_delay_exponent;
            log.peer_dialects = params.initial_max_path_id;
            log.note("parameters_set", parameters("remote", &params));
        }
    }
}

fn alpn_value(alpn: &[u8]) -> Value {
    str::from_utf8(alpn).map_or_else(
        |_| json!({ "byte_value": super::words::hex(alpn) }),
        |alpn| json!({ "string_value": alpn }),
    )
}

impl HostSession for Watched {
    fn session(&self) -> &dyn Session {
        self
    }

    fn session_mut(&mut self) -> &mut dyn Session {
        self
    }

    fn agreed(&self) -> Agreed {
        self.session.agreed()
    }

    fn after_handshake(&mut self) {
        self.session.after_handshake();
    }
}

impl Session for Watched {
    fn start(&mut self, params: &[u8]) -> Result<(), TransportError> {
        let mut log = self.log.lock();
        if let Ok(params) = TransportParams::parse(log.side, params) {
            if let Some(odcid) = params.original_dcid {
                // After a Retry packet the keys are another ID's.
                log.odcid = Some(odcid);
            }
            log.local_exponent = params.ack_delay_exponent;
            log.local_dialects = params.initial_max_path_id;
            log.note("parameters_set", parameters("local", &params));
        }
        drop(log);
        self.session.start(params)
    }

    fn read_crypto(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError> {
        self.session.read_crypto(level, bytes)
    }

    fn resume(&mut self) -> Result<(), TransportError> {
        self.session.resume()
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        let event = self.session.poll_event();
        match event {
            Some(SessionEvent::Keys(level)) => self.keys("key_updated", level, "tls", 0),
            Some(SessionEvent::PeerParams) => self.on_peer_params(),
            Some(SessionEvent::Complete) => self.on_complete(),
            None => {}
        }
        event
    }

    fn crypto_len(&self, level: Level) -> u64 {
        self.session.crypto_len(level)
    }

    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize {
        self.session.copy_crypto(level, offset, out)
    }

    fn crypto_acked(&mut self, level: Level, upto: u64) {
        self.session.crypto_acked(level, upto);
    }

    fn peer_params(&self) -> Option<&[u8]> {
        self.session.peer_params()
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn()
    }

    fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
        self.session.export(label, context, out)
    }

    fn set_initial_keys(&mut self, version: u32, dcid: &[u8]) {
        let mut log = self.log.lock();
        if log.odcid.is_none() {
            log.odcid = Cid::new(dcid);
            log.versions(version);
        }
        drop(log);
        self.keys("key_updated", Level::Initial, "tls", 0);
        self.session.set_initial_keys(version, dcid);
    }

    fn verify_retry(&self, version: u32, original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        let genuine = self.session.verify_retry(version, original_dcid, retry, tag);
        if genuine {
            let mut log = self.log.lock();
            log.on_authentic();
            log.note("packet_received", packets::retry(retry, TAG_LEN));
        }
        genuine
    }

    fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        let mut log = self.log.lock();
        let plain = payload.len().saturating_sub(TAG_LEN);
        let packet = Packet {
            key,
            number: pn,
            header,
            payload: payload.get(..plain).unwrap_or_default(),
            len: header.len() + payload.len(),
            ack_delay_exponent: log.local_exponent,
            dialect: log.dialect(),
        };
        log.packet("packet_sent", &packet);
        drop(log);
        self.session.seal(key, path, pn, header, payload)
    }

    fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        let len = header.len() + payload.len();
        let opened = self.session.open(key, path, pn, header, payload);
        let mut log = self.log.lock();
        match opened {
            Ok(plain) => {
                let packet = Packet {
                    key,
                    number: pn,
                    header,
                    payload: payload.get(..plain).unwrap_or_default(),
                    len,
                    ack_delay_exponent: log.peer_exponent,
                    dialect: log.dialect(),
                };
                log.on_authentic();
                log.packet("packet_received", &packet);
                self.opened = self.opened.max(key.generation);
            }
            Err(why) => {
                let trigger = match why {
                    KeyError::Missing => "key_unavailable",
                    KeyError::Forged => "decryption_failure",
                };
                let header = json!({ "packet_type": packet_type(key.level) });
                log.dropped(json!({ "header": header, "raw": { "length": len }, "trigger": trigger }));
            }
        }
        opened
    }

    fn protect(&mut self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        self.session.protect(level, sample, first, pn);
    }

    fn unprotect(
        &mut self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool {
        self.session.unprotect(level, sample, first, pn)
    }

    fn limits(&self, level: Level) -> AeadLimits {
        self.session.limits(level)
    }

    fn update_keys(&mut self) {
        self.generation += 1;
        self.keys("key_updated", Level::OneRtt, self.updater(), self.generation);
        self.session.update_keys();
    }

    fn retire_keys(&mut self) {
        if let Some(before) = self.generation.checked_sub(1) {
            self.keys("key_discarded", Level::OneRtt, self.updater(), before);
        }
        self.session.retire_keys();
    }

    fn discard(&mut self, level: Level) {
        self.keys("key_discarded", level, "tls", 0);
        self.session.discard(level);
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.session.fill_random(out);
    }
}
