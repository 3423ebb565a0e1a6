//! What a handshake may agree on.
