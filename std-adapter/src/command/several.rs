//! What the command is told of several paths: from where, how they are shared, when one is taken for dead.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use peregrine_core::connection::{AckReturn, MultipathConfig};
use peregrine_core::path::schedule::Scheduler;

use crate::args::bind_address;

/// Paths of a connection at most, on either side.
pub(crate) const MOST: usize = 8;

#[derive(Debug, ClapArgs)]
pub(crate) struct Several {
    /// Use several paths at once, one from each of these local addresses, the first of which the connection begins on; a backup
    /// carries nothing while another path works. To be given for each path
    #[arg(long = "path", value_name = "ADDR[,backup]", conflicts_with_all = ["bind", "backup"])]
    pub(crate) paths: Vec<From>,
    #[command(flatten)]
    pub(crate) terms: Terms,
}

/// How one side uses several paths; the other has its own way.
#[derive(Debug, ClapArgs)]
pub(crate) struct Terms {
    /// How what this side sends is shared among paths (default: earliest)
    #[arg(long, value_name = "NAME")]
    scheduler: Option<Sharing>,
    /// Take a path for dead that has not answered for so many milliseconds, and repeat on others what this side has under way on it
    /// (default: after a probe timeout)
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    failover: Option<u64>,
    /// Over which path acknowledgments return: that of the packets, or the fastest (default: same)
    #[arg(long, value_name = "WHICH")]
    acks: Option<Acks>,
}

/// From where a path is opened, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct From {
    pub(crate) local: SocketAddr,
    pub(crate) is_backup: bool,
}

/// How data is shared among paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Sharing {
    /// The path with the lowest round-trip time of those that have room
    LowestRtt,
    /// The path over which all is there the soonest
    Earliest,
    /// One path alone, as long as it works
    Primary,
    /// Equal shares
    Weighted,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Acks {
    Same,
    Fastest,
}

impl FromStr for From {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, is_backup) = match text.split_once(',') {
            None => (text, false),
            Some((address, "backup")) => (address, true),
            Some(_) => return Err("after the address may follow ,backup and nothing else: 192.0.2.1,backup"),
        };
        Ok(Self { local: bind_address(address)?, is_backup })
    }
}

impl Several {
    /// What is wrong with them, and how it would be right.
    pub(crate) fn mistake(&self) -> Option<String> {
        match self.paths.len() {
            0 => self.terms.without("'--path' is needed, for each address that data is to go over"),
            2..=MOST => None,
            1 => {
                Some("'--path' once makes one path: give it for each address that data is to go over".into())
            }
            many => Some(format!("{many} times '--path': a connection has {MOST} paths at most")),
        }
    }

    /// The address that the connection begins on.
    pub(crate) fn first(&self) -> Option<SocketAddr> {
        self.paths.first().map(|first| first.local)
    }
}

impl Terms {
    /// What is wrong with any of them where there is one path: several are `needed`.
    pub(crate) fn without(&self, needed: &str) -> Option<String> {
        let name = match self {
            Self { scheduler: Some(_), .. } => "--scheduler",
            Self { failover: Some(_), .. } => "--failover",
            Self { acks: Some(_), .. } => "--acks",
            _ => return None,
        };
        Some(format!("'{name}' is about several paths: {needed}"))
    }

    pub(crate) fn configure(&self, config: &mut MultipathConfig) {
        config.failover = self.failover.map(Duration::from_millis);
        config.acks = match self.acks {
            None | Some(Acks::Same) => AckReturn::SamePath,
            Some(Acks::Fastest) => AckReturn::Fastest,
        };
        config.scheduler = match self.scheduler {
            None | Some(Sharing::Earliest) => Scheduler::EarliestCompletion,
            Some(Sharing::LowestRtt) => Scheduler::LowestRtt,
            Some(Sharing::Primary) => Scheduler::Primary,
            Some(Sharing::Weighted) => Scheduler::Weighted,
        };
    }
}
