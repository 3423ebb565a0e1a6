//! Simulator, null session and scenarios of Peregrine.
//!
//! * [`register`]: the reader of the register of requirements in `requirements/`.
//! * [`sim`]: a network in virtual time, with everything a real one does to datagrams.
//! * [`null_session`]: a session with no cryptography, strict about how core uses keys.
//! * [`memory`]: memory of connections on the heap.
//! * [`quic`]: an endpoint as a node of the simulator, with a small application.
//! * [`pair`]: a client and a server with a link between them.
//! * [`observer`]: what somebody who sees every wire may demand.
//! * [`puppet`]: a peer whose every packet a test writes.
//! * [`source`]: the sources of the workspace, for rules about them.
//!
//! Nothing here reads a clock or asks the system for randomness: a run is a function of its seed.
#![forbid(unsafe_code)]

pub mod digest;
pub mod memory;
pub mod null_session;
pub mod observer;
pub mod pair;
pub mod puppet;
pub mod quic;
pub mod register;
pub mod rng;
pub mod sim;
pub mod source;
