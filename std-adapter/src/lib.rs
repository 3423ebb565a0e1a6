//! Peregrine QUIC on std sockets.
