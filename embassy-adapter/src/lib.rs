//! Peregrine QUIC on `embassy-net`. Nothing here yet: the adapter comes with the firmware work.
#![no_std]
#![forbid(unsafe_code)]
