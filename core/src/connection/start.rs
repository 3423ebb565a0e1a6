//! How a connection begins: its state, and what both roles set up before the first datagram.

use super::events::Facts;
use super::multipath::Multipath;
use super::path::{PathSet, active};
use super::routes::{MigrationPolicy, Moved, NoSpareCid, WhenSuspect};
use super::stats::Stats;
use super::{Config, Lent, Path};
use crate::cid::local::{LocalCid, LocalCids};
use crate::cid::peer::{PeerCid, PeerCidRows, PeerCids, Retirement};
use crate::delivery::Delivery;
use crate::error::{TransportError, Trap};
use crate::feature::WithMultipath;
use crate::handshake::{CryptoStreams, FirstFlight, KeyUpdate, Levels};
use crate::ids::{FourTuple, OurSide, PathRow, Side};
use crate::lifecycle::{Lifecycle, Liveness, Timeouts};
use crate::limits::{
    DEFAULT_ACK_DELAY_EXPONENT, DEFAULT_MAX_ACK_DELAY, GRANULARITY, HANDSHAKE_ACK_RANGES, MIN_CRYPTO_BUFFER,
    MIN_INITIAL_DCID_LEN, RESET_TOKEN_LEN,
};
use crate::path::{Newcomers, Responses, Role, Route, RouteConfig};
use crate::recovery::{Flight, SentTable, Space};
use crate::session::{AeadLimits, Level, LevelSet};
use crate::stream::{FirstLimits, Streams, StreamsConfig};
use crate::table::queue::Queue;
use crate::table::ranges::Row;
use crate::table::reassembly::capacity;
use crate::time::{Deadline, Instant, Span};
use crate::wire::header::FixedBit;
use crate::wire::params::{PreferredAddress, TransportParams};
use crate::wire::{Cid, Writer};

/// What a client begins with.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Our address, which may be unspecified, and the server's.
    pub on: FourTuple,
    /// The version to speak.
    pub version: u32,
    /// The connection ID that the server sends to.
    pub scid: Cid,
    /// At least eight unpredictable bytes (RFC 9000 7.2).
    pub dcid: Cid,
    /// A token of an earlier connection, or nothing.
    pub token: &'a [u8],
}

/// A packet number space of the handshake, and what of it is under way.
#[derive(Clone, Debug)]
pub(super) struct Early {
    pub(super) space: Space<[Row; HANDSHAKE_ACK_RANGES]>,
    pub(super) flight: Flight,
}

impl Early {
    const fn new() -> Self {
        Self { space: Space::new(), flight: Flight::new() }
    }
}

/// What remains of the peer's transport parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerLimits {
    pub(super) ack_delay_exponent: u8,
    max_ack_delay_ms: u16,
    pub(super) max_udp_payload: u16,
    pub(super) max_datagram_frame: u16,
    /// Whether it takes packets whose fixed bit is cleared.
    pub(super) greased_bit: bool,
    /// Whether it forbids us to migrate.
    pub(super) no_migration: bool,
}

impl PeerLimits {
    /// The longest that the peer says it holds an acknowledgment back.
    pub(super) const fn max_ack_delay(&self) -> Span {
        Span::from_millis(self.max_ack_delay_ms as u64)
    }

    pub(super) fn set_max_ack_delay(&mut self, delay: Span) {
        self.max_ack_delay_ms = delay_millis(delay);
    }
}

/// Datagrams sent when a probe timeout expires (RFC 9002 6.2.4).
pub(super) const PROBES: u8 = 2;

/// What an expired probe timeout owes: datagrams, and in each of them something ack-eliciting of these levels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probes {
    datagrams: u8,
    levels: LevelSet,
}

impl Probes {
    /// Nothing.
    pub(super) const NONE: Self = Self { datagrams: 0, levels: LevelSet::NONE };

    /// The levels that have something ack-eliciting to say.
    pub(super) const fn owed(self) -> LevelSet {
        if self.datagrams > 0 { self.levels } else { LevelSet::NONE }
    }

    /// The timeout of a level expired, or it goes along with one that did.
    pub(super) const fn owe(&mut self, level: Level) {
        self.levels = self.levels.with(LevelSet::of(level));
        self.datagrams = PROBES;
    }

    /// A level has no keys any more.
    pub(super) const fn discard(&mut self, level: Level) {
        self.levels = self.levels.without(LevelSet::of(level));
    }

    /// A datagram of probes was sent.
    pub(super) const fn on_sent(&mut self) {
        self.datagrams = self.datagrams.saturating_sub(1);
        if self.datagrams == 0 {
            self.levels = LevelSet::NONE;
        }
    }
}

/// The token in lent memory: from a Retry or for a Retry's answer on a client, to be sent on a server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Token {
    pub(super) len: u16,
    pub(super) delivery: Delivery,
}

/// The state of a connection, but for what lies in lent memory.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) side: OurSide,
    /// The path that stands for the connection where only one can.
    pub(super) main: PathRow,
    pub(super) multipath: WithMultipath<Multipath>,
    pub(super) version: u32,
    pub(super) lifecycle: Lifecycle,
    pub(super) first_flight: FirstFlight,
    pub(super) levels: Levels,
    pub(super) keys: KeyUpdate,
    pub(super) crypto: CryptoStreams,
    pub(super) initial: Early,
    pub(super) handshake: Early,
    pub(super) sent: SentTable,
    pub(super) streams: Streams,
    pub(super) peer: PeerLimits,
    pub(super) handshake_done: Delivery,
    pub(super) responses: Responses,
    pub(super) newcomers: Newcomers,
    pub(super) new_routes: RouteConfig,
    pub(super) policy: MigrationPolicy,
    pub(super) no_spare_cid: NoSpareCid,
    pub(super) moved: Option<Moved>,
    pub(super) liveness: Liveness,
    pub(super) when_suspect: WhenSuspect,
    pub(super) follow_preferred: bool,
    pub(super) choose_automatically: bool,
    /// A bound on the silence of a route, in milliseconds.
    pub(super) suspect_after_ms: u16,
    pub(super) token: Token,
    pub(super) datagrams_in: Queue,
    pub(super) datagrams_out: Queue,
    /// The application was refused a DATAGRAM frame for want of room.
    pub(super) datagrams_full: bool,
    pub(super) facts: Facts,
    pub(super) stats: Stats,
    /// Ours, in milliseconds.
    max_ack_delay_ms: u16,
    pub(super) max_mtu: u16,
    pub(super) fixed_bit: FixedBit,
    /// Random bits for headers, below the highest one that is set.
    pub(super) chance: u64,
    /// When the pacer lets the next packet go.
    pub(super) paced_until: Deadline,
    /// The paths over which what is wanted cannot go, since there is no row of a sent packet for it, or it does not fit what may be
    /// sent there, as far as is known.
    pub(super) stuck: PathSet,
}

impl State {
    /// Begins as a client; called once, right after [`State::new`].
    pub(super) fn connect(
        &mut self,
        now: Instant,
        config: &Config,
        opened: &Opened<'_>,
        lent: &mut Lent<'_>,
    ) -> Result<(), TransportError> {
        if opened.dcid.len() < MIN_INITIAL_DCID_LEN {
            return Err(TransportError::internal("a client's first DCID has at least eight bytes"));
        }
        let room = lent.buffers.token.get_mut(..opened.token.len());
        if let Some(token) = room.filter(|_| !opened.token.is_empty()) {
            token.copy_from_slice(opened.token);
            self.token.len = u16::try_from(opened.token.len()).unwrap_or(0);
        }
        // Who opens a route owes nobody a proof of its address.
        if let Some(route) = lent.buffers.routes.first_mut() {
            route.amplification.on_validated();
        }
        self.begin(now, config, opened.dcid, None, None, lent)
    }

    /// The state of a connection that has not begun, in memory that was [`prepare`]d.
    pub(super) fn new(
        now: Instant,
        config: &Config,
        side: Side,
        version: u32,
        first_flight: FirstFlight,
        prepared: &Prepared,
        lent: &mut Lent<'_>,
    ) -> Self {
        let &Prepared { secret, pto } = prepared;
        let streams = StreamsConfig {
            side,
            peer_bidi: config.peer_bidi_streams,
            peer_uni: config.peer_uni_streams,
            window: config.connection_window,
            secret,
        };
        let timeouts = Timeouts {
            handshake: Some(config.handshake_timeout.into()),
            idle: config.max_idle_timeout.into(),
            keep_alive: config.keep_alive.map(Span::from),
        };
        Self {
            side: OurSide::new(side),
            main: PathRow::FIRST,
            multipath: WithMultipath::new(Multipath::wanted(config.multipath.as_ref())),
            version,
            lifecycle: Lifecycle::new(now, &timeouts, pto),
            first_flight,
            levels: Levels::new(side),
            keys: KeyUpdate::new(AeadLimits { confidentiality: u64::MAX, integrity: u64::MAX }),
            crypto: CryptoStreams::new(),
            initial: Early::new(),
            handshake: Early::new(),
            sent: SentTable::new(),
            streams: Streams::new(&streams, &mut lent.buffers.streams),
            peer: PeerLimits {
                ack_delay_exponent: DEFAULT_ACK_DELAY_EXPONENT,
                max_ack_delay_ms: delay_millis(DEFAULT_MAX_ACK_DELAY),
                max_udp_payload: u16::MAX,
                max_datagram_frame: 0,
                greased_bit: false,
                no_migration: false,
            },
            handshake_done: Delivery::Idle,
            responses: Responses::NONE,
            newcomers: Newcomers::new(),
            new_routes: new_routes(config),
            policy: config.migration_policy,
            no_spare_cid: config.no_spare_cid,
            moved: None,
            liveness: Liveness::Idle,
            when_suspect: config.when_suspect,
            follow_preferred: config.follow_preferred_address,
            choose_automatically: config.choose_automatically,
            suspect_after_ms: config
                .suspect_after
                .and_then(|after| u16::try_from(after.as_millis()).ok())
                .unwrap_or(u16::MAX),
            token: Token::default(),
            datagrams_in: Queue::new(),
            datagrams_out: Queue::new(),
            datagrams_full: false,
            facts: Facts::NEW,
            stats: Stats::default(),
            max_ack_delay_ms: delay_millis(config.max_ack_delay.into()),
            max_mtu: config.max_mtu,
            fixed_bit: if config.grease { FixedBit::Ignored } else { FixedBit::Required },
            chance: 1,
            paced_until: Deadline::NEVER,
            stuck: PathSet::NONE,
        }
    }

    /// Derives the Initial keys and starts TLS with our transport parameters.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        config: &Config,
        dcid: Cid,
        reset_token: Option<[u8; RESET_TOKEN_LEN]>,
        preferred: Option<(Cid, [u8; RESET_TOKEN_LEN])>,
        lent: &mut Lent<'_>,
    ) -> Result<(), TransportError> {
        lent.session.set_initial_keys(self.version, dcid.as_slice());
        self.levels.on_keys(Level::Initial);
        let mut grease = [0; 8];
        lent.session.fill_random(&mut grease);
        let number = u64::from_ne_bytes(grease);
        let grease =
            config.grease.then_some((number, grease.get(..(number % 8) as usize).unwrap_or_default()));
        let mut encoded = [0; 256];
        let mut out = Writer::new(&mut encoded);
        self.write_params(config, reset_token, preferred, grease, lent, &mut out)?;
        lent.session.start(out.written())?;
        self.poll_session(now, lent)
    }

    /// Writes our transport parameters. Apart from [`Self::begin`], so that they are not on the stack while TLS starts.
    #[inline(never)]
    fn write_params(
        &self,
        config: &Config,
        reset_token: Option<[u8; RESET_TOKEN_LEN]>,
        preferred: Option<(Cid, [u8; RESET_TOKEN_LEN])>,
        grease: Option<(u64, &[u8])>,
        lent: &Lent<'_>,
        out: &mut Writer<'_>,
    ) -> Result<(), TransportError> {
        let FirstLimits {
            max_data,
            stream_data_bidi_local,
            stream_data_bidi_remote,
            stream_data_uni,
            streams_bidi,
            streams_uni,
        } = self.streams.first_limits();
        let cids = self.first_flight.params();
        let mut params = TransportParams {
            max_idle_timeout_ms: Span::from(config.max_idle_timeout)
                .as_millis()
                .min(crate::limits::MAX_VARINT),
            max_udp_payload_size: u64::from(config.max_udp_payload.max(crate::limits::BASE_MTU)),
            initial_max_data: max_data,
            initial_max_stream_data_bidi_local: stream_data_bidi_local,
            initial_max_stream_data_bidi_remote: stream_data_bidi_remote,
            initial_max_stream_data_uni: stream_data_uni,
            initial_max_streams_bidi: streams_bidi,
            initial_max_streams_uni: streams_uni,
            max_ack_delay_ms: self.max_ack_delay_ms.into(),
            active_cid_limit: self.cid_limit(lent).into(),
            max_datagram_frame_size: Queue::longest(lent.buffers.datagrams_in) as u64,
            original_dcid: cids.original_dcid,
            stateless_reset_token: reset_token,
            preferred_address: preferred.map(|(cid, reset_token)| PreferredAddress {
                v4: config.preferred_v4,
                v6: config.preferred_v6,
                cid,
                reset_token,
            }),
            disable_active_migration: config.disable_active_migration,
            initial_scid: cids.initial_scid,
            retry_scid: cids.retry_scid,
            grease_quic_bit: config.grease,
            ..TransportParams::default()
        };
        self.offer(lent, &mut params);
        params
            .emit(self.side.get(), grease, out)
            .map_err(|_| TransportError::internal("transport parameters do not fit"))
    }

    /// How many connection IDs of the peer there is memory for.
    pub(super) fn cid_limit(&self, lent: &Lent<'_>) -> u8 {
        let rows = lent.buffers.peer_cids.len().checked_div(lent.buffers.paths.len()).unwrap_or(0);
        u8::try_from((rows as u64).max(crate::limits::MIN_ACTIVE_CID_LIMIT)).unwrap_or(u8::MAX)
    }

    /// How many connection IDs of ours a path may have.
    pub(super) fn local_cid_share(&self, lent: &Lent<'_>) -> usize {
        let share = lent.buffers.local_cids.len().checked_div(lent.buffers.paths.len()).unwrap_or(0);
        share.min(super::MAX_LOCAL_CIDS)
    }

    /// The peer's connection ID of the handshake is known.
    pub(super) fn adopt_peer_cid(&mut self, lent: &mut Lent<'_>, cid: Cid) -> Result<(), TransportError> {
        let limit = self.cid_limit(lent);
        let mut rows = PeerCidRows { cids: lent.buffers.peer_cids, retiring: lent.buffers.retirements };
        let peer_cids = PeerCids::with_handshake_cid(&mut rows, limit, cid, 0)?;
        lent.buffers.paths.first_mut().trap("a connection has a path")?.peer_cids = peer_cids;
        Ok(())
    }

    /// How long an acknowledgment of ours waits: less than the peer is told, so that a timer may fire late (RFC 9000 18.2).
    pub(super) const fn ack_delay(&self) -> Span {
        Span::from_millis(self.max_ack_delay_ms as u64).saturating_sub(GRANULARITY)
    }

    /// The row of the route in use of the path that stands for the connection.
    pub(super) fn route(&self, lent: &Lent<'_>) -> usize {
        active(lent, self.main)
    }
}

/// What [`prepare`] leaves to [`State::new`].
pub(super) struct Prepared {
    secret: u64,
    pto: Span,
}

/// Makes lent memory that of a new connection: its first path, route and connection ID.
pub(super) fn prepare(
    now: Instant,
    config: &Config,
    on: FourTuple,
    first_flight: &FirstFlight,
    lent: &mut Lent<'_>,
) -> Result<Prepared, TransportError> {
    clear(lent);
    if capacity(lent.buffers.crypto.len()) < MIN_CRYPTO_BUFFER {
        return Err(TransportError::internal(
            "the memory for CRYPTO data holds less than RFC 9000 7.5 asks for",
        ));
    }
    let mut secret = [0; 8];
    lent.session.fill_random(&mut secret);
    let route = lent.buffers.routes.first_mut().trap("a connection needs a row for a route")?;
    route.begin(now, PathRow::FIRST, &on, &new_routes(config));
    route.role = Role::Active;
    let pto = route.pto.period(&route.rtt, Span::ZERO);
    let local_cids = LocalCids::with_handshake_cid(lent.buffers.local_cids, first_flight.scid())
        .map_err(|_| TransportError::internal("a connection needs a row for a connection ID"))?;
    let path = lent.buffers.paths.first_mut().trap("a connection needs a row for a path")?;
    path.local_cids = local_cids;
    path.active = 0;
    let mut random = [0; 2];
    lent.session.fill_random(&mut random);
    path.skips.schedule(0, u16::from_ne_bytes(random));
    Ok(Prepared { secret: u64::from_ne_bytes(secret), pto })
}

fn new_routes(config: &Config) -> RouteConfig {
    RouteConfig::new(config.congestion, config.initial_rtt.into(), config.ecn)
}

/// Memory may come from an earlier connection.
fn clear(lent: &mut Lent<'_>) {
    lent.buffers.paths.iter_mut().for_each(|path| *path = Path::EMPTY);
    lent.buffers.routes.iter_mut().for_each(|route| *route = Route::EMPTY);
    lent.buffers.local_cids.fill(LocalCid::FREE);
    lent.buffers.peer_cids.fill(PeerCid::FREE);
    lent.buffers.retirements.fill(Retirement::FREE);
}

/// A max_ack_delay, which is below 2^14 (RFC 9000 18.2).
fn delay_millis(delay: Span) -> u16 {
    u16::try_from(delay.as_millis()).unwrap_or(u16::MAX).min(0x3fff)
}
