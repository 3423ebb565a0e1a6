//! Nothing but tests: see `tests/handshakes`.
