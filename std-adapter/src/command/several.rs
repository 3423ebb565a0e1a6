//! What the command is told of several paths: from where, how they are shared, when one is taken for dead.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use peregrine_core::connection::{AckReturn, MultipathConfig};
use peregrine_core::path::Availability;
use peregrine_core::path::schedule::Scheduler;

use crate::args::bind_address;
use crate::moment::Moment;

/// Paths of a connection at most, on either side.
pub(crate) const MOST: usize = 8;

#[derive(Debug, ClapArgs)]
pub(crate) struct Several {
    /// Use several paths at once, one from each of these local addresses, the first of which the connection begins on; a backup
    /// carries nothing while another path works. To be given for each path. others: one from each other network that this host
    /// is on or comes to be on (Linux). dscp: mark what this side sends from there with a Differentiated Services codepoint,
    /// 0 to 63 (Linux)
    #[arg(long = "path", value_name = "ADDR[,backup][,dscp=N]|others[,backup]", conflicts_with_all = ["bind", "backup"])]
    paths: Vec<Wish>,
    #[command(flatten)]
    pub(crate) terms: Terms,
}

/// How one side uses several paths; the other has its own way.
#[derive(Debug, ClapArgs)]
pub(crate) struct Terms {
    /// How what this side sends is shared among paths (default: earliest)
    #[arg(long, value_name = "NAME")]
    scheduler: Option<Sharing>,
    /// Take a path for dead that has not answered for so long, for example 80ms or 1s (a bare number: milliseconds), and repeat on
    /// others what this side has under way on it (default, and at the latest: after a probe timeout)
    #[arg(long, value_name = "MS", value_parser = failover)]
    failover: Option<Duration>,
    /// Over which path acknowledgments return: that of the packets, or the fastest (default: same)
    #[arg(long, value_name = "WHICH")]
    acks: Option<Acks>,
}

/// One path, or one from each network that there is none from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    One(From),
    Others(Availability),
}

/// From where a path is opened, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct From {
    pub(crate) local: SocketAddr,
    pub(crate) status: Availability,
    /// The Differentiated Services codepoint of what is sent.
    pub(crate) dscp: Option<u8>,
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

impl FromStr for Wish {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split(',');
        let place = words.next().unwrap_or_default();
        let (mut status, mut dscp) = (Availability::Available, None);
        for word in words {
            match word.split_once('=') {
                None if word == "backup" => status = Availability::Backup,
                Some(("dscp", number)) => dscp = Some(codepoint(number)?),
                _ => {
                    return Err("after the address may follow ,backup and ,dscp=N: 192.0.2.1,backup,dscp=10");
                }
            }
        }
        match (place, dscp) {
            ("others", None) => Ok(Self::Others(status)),
            ("others", Some(_)) => Err("a codepoint is for the path from one address: 192.0.2.1,dscp=10"),
            (address, _) => Ok(Self::One(From { local: bind_address(address)?, status, dscp })),
        }
    }
}

fn codepoint(text: &str) -> Result<u8, &'static str> {
    let number = text.parse().ok().filter(|dscp| *dscp < 64);
    number.ok_or("a Differentiated Services codepoint is a number from 0 to 63: 192.0.2.1,dscp=10")
}

fn failover(text: &str) -> Result<Duration, &'static str> {
    let time = match (text.parse(), text.parse()) {
        (Ok(number), _) => Duration::from_millis(number),
        (_, Ok(Moment::Elapsed(time))) => time,
        _ => Duration::ZERO,
    };
    let is_allowed = (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&time);
    if is_allowed { Ok(time) } else { Err("expected 1ms to 60s, for example 80ms") }
}

impl Several {
    /// What is wrong with them, and how it would be right.
    pub(crate) fn mistake(&self) -> Option<String> {
        match &self.paths[..] {
            [] => self.terms.without("'--path' is needed, for each address that data is to go over"),
            [Wish::Others(_)] | [Wish::One(_), Wish::Others(_)] => None,
            paths if paths.iter().any(|wish| matches!(wish, Wish::Others(_))) => {
                let why = "'--path others' stands for all networks but one: give one address before it at most";
                Some(why.into())
            }
            [_] => Some(
                "'--path' once makes one path: give it for each address that data is to go over, or for others".into(),
            ),
            paths if paths.len() > MOST => {
                Some(format!("{} times '--path': a connection has {MOST} paths at most", paths.len()))
            }
            _ => {
                let mut before = BTreeSet::new();
                let twice = self.named().find(|from| !before.insert(from.local))?.local;
                Some(format!("'--path {}' twice: both would go the same way; give each address once", twice.ip()))
            }
        }
    }

    /// How many paths there may be; none if one is enough.
    pub(crate) fn most(&self) -> Option<usize> {
        match self.paths.len() {
            0 => None,
            _ if self.others().is_some() => Some(MOST),
            paths => Some(paths),
        }
    }

    /// The paths from addresses that were named. On the first the connection begins.
    pub(crate) fn named(&self) -> impl Iterator<Item = From> {
        self.paths.iter().filter_map(|wish| match wish {
            Wish::One(from) => Some(*from),
            Wish::Others(_) => None,
        })
    }

    /// What paths from all other networks are for, if there are to be any.
    pub(crate) fn others(&self) -> Option<Availability> {
        self.paths.iter().find_map(|wish| match wish {
            Wish::One(_) => None,
            Wish::Others(status) => Some(*status),
        })
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
        config.failover = self.failover;
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
