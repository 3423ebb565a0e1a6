//! What belongs to one route, a pair of addresses: everything here starts again when a path moves to another.

pub mod amplification;
pub mod ecn;
pub mod mtu;
pub mod validation;

pub use amplification::Amplification;
pub use ecn::EcnValidation;
pub use mtu::Mtu;
pub use validation::{Responses, Validation};
