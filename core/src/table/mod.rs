//! Fixed-capacity containers with no QUIC word inside.
