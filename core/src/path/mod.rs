//! Paths and routes. A path is what a path ID owns; a route is a pair of addresses, and all that is known of it alone
//! starts again when a path moves to another.

pub mod abandon;
mod addresses;
pub mod amplification;
pub mod choice;
pub mod ecn;
pub mod failover;
pub mod migration;
pub mod mtu;
mod newcomers;
pub mod parcel;
pub mod preferred;
mod route;
pub mod schedule;
pub mod status;
pub mod validation;

pub use abandon::Abandon;
pub use addresses::Addresses;
pub use amplification::Amplification;
pub use choice::Preference;
pub use ecn::EcnValidation;
pub use mtu::Mtu;
pub use newcomers::Newcomers;
pub use route::{FlowLabel, Health, Opener, Role, Route, RouteConfig, RouteId, RouteStats, Told};
pub use status::{Availability, Status};
pub use validation::{Responses, Validation};
