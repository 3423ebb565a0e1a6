//! What a picture of a download is drawn from: bytes by route at moments, the routes in use, and what happened.

use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::connection::{Event, MoveCause, PathEvent, PathView, RouteEvent, RouteView};
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::PathId;
use peregrine_core::path::{Availability, RouteId};
use peregrine_std::Seen;

/// Samples at most. A picture is not much wider.
const SAMPLES: usize = 1024;
/// Between two samples, in seconds, to begin with.
const INTERVAL: f64 = 0.001;
/// Moments with words at most; what happens later has no words.
const MOMENTS: usize = 512;

/// What has happened.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Record {
    /// In the order in which they came.
    pub(super) ways: Vec<Way>,
    /// In order. Between two of them, what holds of the first holds on.
    pub(super) samples: Vec<Sample>,
    /// In order.
    pub(super) uses: Vec<Use>,
    /// In order.
    pub(super) moments: Vec<Moment>,
    /// The longest time in which nothing came, from the handshake to the last packet.
    pub(super) silence: Option<Silence>,
}

/// A route of a connection.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Way {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// Bytes of datagrams received.
    pub(super) bytes: u64,
}

/// Bytes received over each way until then; none over those that are missing.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    pub(super) bytes: Vec<u64>,
}

/// Which way a path of a connection took from then on; none once it is abandoned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Use {
    pub(super) seconds: f64,
    /// The paths of all connections are counted from zero.
    pub(super) path: usize,
    pub(super) way: Option<usize>,
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Moment {
    pub(super) seconds: f64,
    pub(super) way: Option<usize>,
    pub(super) weight: Weight,
    pub(super) words: String,
}

/// How much something matters to who looks at a picture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Weight {
    Aside,
    Step,
    Turn,
}

/// A time in which nothing came.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Silence {
    pub(super) from: f64,
    pub(super) until: f64,
}

impl Silence {
    pub(super) fn seconds(self) -> f64 {
        self.until - self.from
    }
}

/// Makes a record of what an observer is shown.
#[derive(Debug)]
pub(super) struct Recorder {
    record: Record,
    paths: Vec<(Handle, PathId)>,
    /// Of each way.
    routes: Vec<(Handle, RouteId)>,
    /// Seconds from one sample to the next, at least.
    interval: f64,
    /// When data came last.
    last: Option<f64>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            record: Record::default(),
            paths: Vec::new(),
            routes: Vec::new(),
            interval: INTERVAL,
            last: None,
        }
    }

    /// How long to wait with the next sample.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.interval)
    }

    /// Takes the routes of a connection as they are now.
    pub(super) fn sample(
        &mut self,
        seconds: f64,
        connection: Handle,
        views: impl Iterator<Item = RouteView>,
    ) {
        let before = self.record.bytes();
        views.for_each(|view| self.update(connection, &view));
        // The wait for the server's first answer is no silence.
        if !self.record.uses.is_empty() && self.record.bytes() > before {
            self.on_data(seconds);
        }
        self.take_sample(seconds);
    }

    /// Takes an event of a connection.
    pub(super) fn see(&mut self, seconds: f64, seen: &mut Seen<'_>) {
        let handle = seen.handle;
        self.sample(seconds, handle, seen.routes());
        if matches!(seen.event, Event::Connected | Event::Moved { .. } | Event::Path(..)) {
            seen.paths().for_each(|view| self.take_use(seconds, handle, &view));
        }
        if let Some(moment) = self.moment(seconds, seen) {
            self.note(moment);
        }
    }

    /// The socket was replaced by one on this address.
    pub(super) fn on_rebound(&mut self, seconds: f64, to: SocketAddr) {
        let words = format!("socket moves to port {}", to.port());
        self.note(Moment { seconds, way: None, weight: Weight::Turn, words });
    }

    /// What has happened until now.
    pub(super) fn record(&self, seconds: f64) -> Record {
        let mut record = self.record.clone();
        record.push_sample(seconds);
        record
    }

    fn note(&mut self, moment: Moment) {
        if self.record.moments.len() < MOMENTS {
            self.record.moments.push(moment);
        }
    }

    fn take_use(&mut self, seconds: f64, handle: Handle, view: &PathView) {
        let way = view.route.and_then(|route| self.way(handle, route.id));
        let path = match self.paths.iter().position(|known| *known == (handle, view.id)) {
            Some(path) => path,
            // Until the server answers it carries nothing.
            None if view.route.is_none_or(|route| !route.validated) => return,
            None => {
                self.paths.push((handle, view.id));
                self.paths.len() - 1
            }
        };
        let before = self.record.uses.iter().rfind(|one| one.path == path).map(|one| one.way);
        if before != Some(way) {
            self.record.uses.push(Use { seconds, path, way });
        }
    }

    fn way(&self, connection: Handle, route: RouteId) -> Option<usize> {
        self.routes.iter().rposition(|known| *known == (connection, route))
    }

    fn in_use(&self, seen: &mut Seen<'_>) -> Option<usize> {
        let route = seen.route_in_use()?;
        self.way(seen.handle, route.id)
    }

    fn update(&mut self, connection: Handle, view: &RouteView) {
        let (local, remote, bytes) = (view.local, view.remote, view.stats.received_bytes);
        match self.way(connection, view.id).and_then(|index| self.record.ways.get_mut(index)) {
            // What was asked first may be told last.
            Some(known) => *known = Way { local, remote, bytes: bytes.max(known.bytes) },
            None => {
                self.routes.push((connection, view.id));
                self.record.ways.push(Way { local, remote, bytes });
            }
        }
    }

    fn on_data(&mut self, seconds: f64) {
        if let Some(from) = self.last.replace(seconds) {
            let silence = Silence { from, until: seconds };
            if self.record.silence.is_none_or(|longest| longest.seconds() < silence.seconds()) {
                self.record.silence = Some(silence);
            }
        }
    }

    /// Takes a sample, unless the last one is fresh. Where there are too many, every second one is enough.
    fn take_sample(&mut self, seconds: f64) {
        if self.record.samples.last().is_some_and(|last| seconds < last.seconds + self.interval) {
            return;
        }
        if self.record.samples.len() >= SAMPLES {
            let mut keep = false;
            self.record.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.interval *= 2.0;
        }
        self.record.push_sample(seconds);
    }

    fn moment(&self, seconds: f64, seen: &mut Seen<'_>) -> Option<Moment> {
        let in_use = self.in_use(seen);
        let (way, weight, words) = match seen.event {
            Event::Connected => (in_use, Weight::Step, "connected".into()),
            Event::Confirmed => (in_use, Weight::Aside, "confirmed".into()),
            Event::KeysUpdated(_) => (in_use, Weight::Step, "new keys".into()),
            Event::Mtu(bytes) => (in_use, Weight::Aside, format!("MTU {bytes}")),
            Event::NoSpareCid => (in_use, Weight::Step, "no spare connection ID".into()),
            Event::PolicyRefused => (in_use, Weight::Step, "a new address is refused".into()),
            Event::Closed(_) => (in_use, Weight::Step, "closed".into()),
            Event::Moved { from, to, cause } => {
                let (from, to) = (self.way(seen.handle, from), self.way(seen.handle, to));
                (to, Weight::Turn, move_words(from, to, cause))
            }
            Event::Route(id, what) => {
                let way = self.way(seen.handle, id);
                let rtt = seen.route(id).map(|route| route.min_rtt).filter(|rtt| !rtt.is_zero());
                let rtt = rtt.map(|rtt| format!(" in {:.1} ms", rtt.as_secs_f64() * 1e3)).unwrap_or_default();
                let name = name(way);
                let (weight, words) = match what {
                    RouteEvent::Added => (Weight::Step, format!("tries {name}")),
                    RouteEvent::Validated => (Weight::Step, format!("answer on {name}{rtt}")),
                    RouteEvent::Suspect => (Weight::Turn, format!("{name} is silent")),
                    RouteEvent::Failed => (Weight::Turn, format!("no answer on {name}")),
                    RouteEvent::Closed => (Weight::Aside, format!("{name} is closed")),
                };
                (way, weight, words)
            }
            Event::Path(id, what) => {
                let (weight, words) = path_words(id, what)?;
                let route = seen.path(id).and_then(|path| path.route);
                (route.and_then(|route| self.way(seen.handle, route.id)), weight, words)
            }
            Event::Stream(_)
            | Event::Datagram
            | Event::DatagramRoom
            | Event::SpareCid
            | Event::PathPossible
            | Event::Token
            | Event::Drained => return None,
        };
        Some(Moment { seconds, way, weight, words })
    }
}

impl Record {
    /// Bytes of all ways.
    pub(super) fn bytes(&self) -> u64 {
        self.ways.iter().map(|way| way.bytes).sum()
    }

    fn push_sample(&mut self, seconds: f64) {
        let bytes = self.ways.iter().map(|way| way.bytes).collect();
        self.samples.push(Sample { seconds, bytes });
    }
}

/// What a way is called: a letter, as long as there are letters.
pub(super) fn name(way: Option<usize>) -> String {
    match way.map(|way| (way, u8::try_from(way))) {
        Some((_, Ok(way @ ..26))) => char::from(b'A' + way).to_string(),
        Some((way, _)) => format!("#{}", way + 1),
        None => "?".into(),
    }
}

fn move_words(from: Option<usize>, to: Option<usize>, cause: MoveCause) -> String {
    let (from, to) = (name(from), name(to));
    let why = match cause {
        MoveCause::Chosen => "as it was told".into(),
        MoveCause::Peer => "as the peer does".into(),
        MoveCause::Fallback => format!("{from} does not work"),
        MoveCause::Liveness => format!("{from} is silent"),
        MoveCause::Preference => "preferred".into(),
        MoveCause::PreferredAddress => "the server prefers it".into(),
    };
    format!("moves to {to}: {why}")
}

fn path_words(id: PathId, what: PathEvent) -> Option<(Weight, String)> {
    let (weight, what) = match what {
        // The route tells.
        PathEvent::Opened => return None,
        PathEvent::Validated => (Weight::Step, "carries data"),
        PathEvent::Suspect => (Weight::Turn, "is silent"),
        PathEvent::Restored => (Weight::Turn, "answers again"),
        PathEvent::Status(Availability::Backup) => (Weight::Step, "is to be a backup"),
        PathEvent::Status(_) => (Weight::Step, "is to be used"),
        PathEvent::Abandoned => (Weight::Turn, "is abandoned"),
    };
    Some((weight, format!("path {} {what}", id.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_bounded_and_go_from_the_first_to_the_last_moment() {
        let mut recorder = Recorder::new();
        for step in 0..1_000_000 {
            recorder.take_sample(f64::from(step) * 0.000_7);
        }
        let samples = recorder.record(700.0).samples;
        assert!((SAMPLES / 2..=SAMPLES + 1).contains(&samples.len()), "{}", samples.len());
        assert!(samples.windows(2).all(|pair| pair[0].seconds < pair[1].seconds));
        assert!(samples[0].seconds == 0.0 && samples[samples.len() - 1].seconds == 700.0);
        assert!(recorder.interval() < Duration::from_secs(2));
    }

    #[test]
    fn the_longest_silence_is_known() {
        let mut recorder = Recorder::new();
        for seconds in [0.1, 0.2, 0.9, 1.0, 1.6] {
            recorder.on_data(seconds);
        }
        assert_eq!(recorder.record(9.0).silence, Some(Silence { from: 0.2, until: 0.9 }));
    }

    #[test]
    fn ways_have_letters_then_numbers() {
        let names = [Some(0), Some(25), Some(26), Some(999), None].map(name);
        assert_eq!(names, ["A", "Z", "#27", "#1000", "?"]);
    }
}
