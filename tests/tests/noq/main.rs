//! Peregrine with noq on the other end, which knows multipath: it meets a peer that does not know it, and one that does.

mod link;
#[path = "../peers/migration.rs"]
mod migration;
mod multipath;
#[path = "../peers/mod.rs"]
#[expect(dead_code, reason = "the tests with quinn use all of it")]
mod peers;
#[path = "../peers/noq.rs"]
mod stack;

use peers::LOOPBACK;
