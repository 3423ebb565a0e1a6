//! What is counted and what is not. The profiler turns its counting over whenever [`count_this`] or [`set_aside`] is
//! entered or left: on for the work, off for each call of the session in it. Calls of the session outside the work must not
//! turn it over, so only those inside go through `set_aside`.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use peregrine_core::error::TransportError;
use peregrine_core::ids::{PathId, Side};
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{AeadLimits, Key, KeyError, Level, Session, SessionEvent};
use peregrine_tests::null_session::{NullConfig, NullSession};

static COUNTING: AtomicBool = AtomicBool::new(false);

/// Has the work counted, less what it spends in the session.
pub(crate) fn count<R>(work: impl FnOnce() -> R) -> R {
    COUNTING.store(true, Relaxed);
    let done = count_this(work);
    COUNTING.store(false, Relaxed);
    done
}

#[inline(never)]
fn count_this<R>(work: impl FnOnce() -> R) -> R {
    work()
}

fn aside<R>(work: impl FnOnce() -> R) -> R {
    if COUNTING.load(Relaxed) { set_aside(work) } else { work() }
}

#[inline(never)]
fn set_aside<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// A session whose work is set aside.
pub(crate) struct Aside(NullSession);

impl Aside {
    pub(crate) fn new(side: Side, seed: u64) -> Self {
        Self(NullSession::new(side, &NullConfig::seeded(seed)))
    }
}

impl Session for Aside {
    fn start(&mut self, params: &[u8]) -> Result<(), TransportError> {
        aside(|| self.0.start(params))
    }

    fn read_crypto(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError> {
        aside(|| self.0.read_crypto(level, bytes))
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        aside(|| self.0.poll_event())
    }

    fn crypto_len(&self, level: Level) -> u64 {
        aside(|| self.0.crypto_len(level))
    }

    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize {
        aside(|| self.0.copy_crypto(level, offset, out))
    }

    fn crypto_acked(&mut self, level: Level, upto: u64) {
        aside(|| self.0.crypto_acked(level, upto));
    }

    fn peer_params(&self) -> Option<&[u8]> {
        aside(|| self.0.peer_params())
    }

    fn alpn(&self) -> Option<&[u8]> {
        aside(|| self.0.alpn())
    }

    fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
        aside(|| self.0.export(label, context, out))
    }

    fn set_initial_keys(&mut self, version: u32, dcid: &[u8]) {
        aside(|| self.0.set_initial_keys(version, dcid));
    }

    fn verify_retry(&self, version: u32, original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        aside(|| self.0.verify_retry(version, original_dcid, retry, tag))
    }

    fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        aside(|| self.0.seal(key, path, pn, header, payload))
    }

    fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        aside(|| self.0.open(key, path, pn, header, payload))
    }

    fn protect(&mut self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        aside(|| self.0.protect(level, sample, first, pn));
    }

    fn unprotect(
        &mut self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool {
        aside(|| self.0.unprotect(level, sample, first, pn))
    }

    fn limits(&self, level: Level) -> AeadLimits {
        aside(|| self.0.limits(level))
    }

    fn update_keys(&mut self) {
        aside(|| self.0.update_keys());
    }

    fn retire_keys(&mut self) {
        aside(|| self.0.retire_keys());
    }

    fn discard(&mut self, level: Level) {
        aside(|| self.0.discard(level));
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        aside(|| self.0.fill_random(out));
    }
}
