//! Tells secrets to a debugger, in the labels of the SSLKEYLOGFILE format (RFC 9850). Only with the feature `keylog`
//! and only if the application asks a session for it at run time: whoever reads the log reads the traffic.

use crate::provider::Secret;
use crate::tls::msg::RANDOM_LEN;

pub(crate) const CLIENT_HANDSHAKE: &str = "CLIENT_HANDSHAKE_TRAFFIC_SECRET";
pub(crate) const SERVER_HANDSHAKE: &str = "SERVER_HANDSHAKE_TRAFFIC_SECRET";
pub(crate) const CLIENT_TRAFFIC: &str = "CLIENT_TRAFFIC_SECRET_0";
pub(crate) const SERVER_TRAFFIC: &str = "SERVER_TRAFFIC_SECRET_0";
pub(crate) const EXPORTER: &str = "EXPORTER_SECRET";

/// Receives secrets. A line of the file is `label client_random secret`, the latter two in hexadecimal.
#[cfg(feature = "keylog")]
pub trait KeyLog {
    /// Takes one secret.
    fn log(&self, label: &str, client_random: &[u8; RANDOM_LEN], secret: &[u8]);
}

/// Where secrets are told, if anywhere.
#[derive(Clone, Copy, Default)]
pub(crate) struct Logger<'a> {
    #[cfg(feature = "keylog")]
    pub(crate) log: Option<&'a (dyn KeyLog + Sync)>,
    #[cfg(not(feature = "keylog"))]
    nowhere: core::marker::PhantomData<&'a ()>,
}

impl Logger<'_> {
    #[cfg(feature = "keylog")]
    pub(crate) fn log(&self, label: &str, client_random: &[u8; RANDOM_LEN], secret: &Secret) {
        if let Some(log) = self.log {
            log.log(label, client_random, secret.as_bytes());
        }
    }

    #[cfg(not(feature = "keylog"))]
    #[expect(clippy::unused_self, reason = "the same call with and without the feature")]
    pub(crate) const fn log(&self, _: &str, _: &[u8; RANDOM_LEN], _: &Secret) {}
}
