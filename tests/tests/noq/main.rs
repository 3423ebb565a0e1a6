//! Peregrine with noq on the other end, which knows multipath and here meets a peer that does not: it offers that, or not.

#[path = "../peers/migration.rs"]
mod migration;
#[path = "../peers/mod.rs"]
#[expect(dead_code, reason = "the tests with quinn use all of it")]
mod peers;
#[path = "../peers/noq.rs"]
mod stack;
