//! The adapter on a host: embassy-net over networks in memory, in virtual time.
#![allow(unreachable_pub)]

mod chip;
mod keys;
mod media;
mod nat;
mod paths;
mod scene;
mod soak;
mod weather;
mod work;
mod world;
