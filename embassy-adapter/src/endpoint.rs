//! An endpoint as applications see it.

use core::cell::RefCell;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use embassy_net::Stack;
use peregrine_core::endpoint::EndpointConfig;
use peregrine_core::session::EndpointCrypto;

use crate::connection::Connection;
use crate::engine::Engine;
use crate::error::Error;
use crate::network::NetworkId;
use crate::resources::{ConstMemory, Resources};
use crate::tls::{EndpointSession, NewSession};
use crate::waiters::Wait;

/// What all tasks share.
pub(crate) type Shared<S> = RefCell<Engine<S>>;

/// How much of an endpoint's [`Resources`] is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EndpointUsage {
    /// Connections, those that are closing included.
    pub connections: usize,
    /// Sockets, which networks have for good.
    pub sockets: usize,
    /// Rows of tasks that wait, or that did and were given up.
    pub waiters: usize,
    /// Streams that are finished, and whose delivery may be asked for.
    pub finished: usize,
}

/// Clients that a server has turned away, though it had a connection for them: without one it tells them so, and
/// [`EndpointUsage::connections`] shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Refusals {
    /// How many.
    pub count: u32,
    /// Why the last one was: [`Error::NoSession`], [`Error::NoCryptoRoom`], [`Error::Start`].
    pub last: Option<Error>,
}

/// Connections that share networks and their sockets. A value of it is a reference: copy it to every task of the executor that
/// runs [`Self::run`].
pub struct Endpoint<S: EndpointSession + 'static> {
    pub(crate) shared: &'static Shared<S>,
}

impl<S: EndpointSession + 'static> Clone for Endpoint<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: EndpointSession + 'static> Copy for Endpoint<S> {}

impl<S: EndpointSession + 'static> Endpoint<S> {
    /// An endpoint that has no network yet. Of the configuration, sizes are cut down to those of the resources, and ECN is off,
    /// since embassy-net can neither set nor read the marks.
    pub fn new<
        M: ConstMemory + 'static,
        const CONNECTIONS: usize,
        const SOCKETS: usize,
        const RING_IN: usize,
        const RING_OUT: usize,
        const DATAGRAM: usize,
        const WAITERS: usize,
    >(
        resources: &'static mut Resources<S, M, CONNECTIONS, SOCKETS, RING_IN, RING_OUT, DATAGRAM, WAITERS>,
        config: EndpointConfig,
        crypto: &'static mut dyn EndpointCrypto,
    ) -> Self {
        let (engine, place) = Engine::new(config, resources.parts(), crypto);
        Self { shared: place.insert(RefCell::new(engine)) }
    }

    /// Adds a network with this many sockets. The first is bound to `port`, the others to any, as is the first if `port` is
    /// zero. One socket is enough for moves between networks; a second one lets connections change their port within this one.
    ///
    /// Networks are preferred in the order in which they were attached. The endpoint watches the stack, as only one task may:
    /// wait with [`Self::wait_up`] and not with the stack's own `wait_config_up` and the like.
    ///
    /// # Errors
    /// [`Error::TooManySockets`].
    pub fn attach(&self, stack: Stack<'static>, port: u16, sockets: usize) -> Result<NetworkId, Error> {
        self.shared.borrow_mut().attach(stack, port, sockets)
    }

    /// Does all the work: receives, sends, keeps time, follows the networks. To be run by one task, as long as there are
    /// connections.
    pub async fn run(&self) -> ! {
        poll_fn(|cx| {
            self.shared.borrow_mut().poll(cx);
            Poll::Pending
        })
        .await
    }

    /// Has [`Self::run`] ask keys in hardware again that had no answer yet for a handshake: to be called when they may have one,
    /// since they are not asked otherwise.
    pub fn resume(&self) {
        self.shared.borrow_mut().ask_keys();
    }

    /// Waits until that network, or any, is up and has an address.
    ///
    /// This may never be: give it a limit with `embassy_time::with_timeout`.
    pub async fn wait_up(&self, network: Option<NetworkId>) -> NetworkId {
        poll_fn(|cx| {
            let mut engine = self.shared.borrow_mut();
            if let Some(network) = engine.is_up(network) {
                return Poll::Ready(network);
            }
            engine.waiters.enlist(None, Wait::Endpoint, cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Begins a connection from the first network that is up, or from that one; [`Connection::wait_connected`] tells what
    /// becomes of it.
    ///
    /// # Errors
    /// [`Error::NoNetwork`], [`Error::TooManyConnections`], [`Error::Start`].
    pub fn connect(
        &self,
        from: Option<NetworkId>,
        remote: SocketAddr,
        session: S,
    ) -> Result<Connection<S>, Error> {
        let handle = self.shared.borrow_mut().connect(from, remote, session)?;
        Ok(Connection::new(*self, handle))
    }

    /// Lets clients in from now on, if [`EndpointConfig::server`] is set: for each that comes `new` makes a session, or
    /// turns it away.
    pub fn serve(&self, new: &'static mut dyn NewSession<S>) {
        self.shared.borrow_mut().serve(new);
    }

    /// Waits for the connection of a client whose handshake is complete.
    pub async fn accept(&self) -> Connection<S> {
        poll_fn(|cx| {
            let mut engine = self.shared.borrow_mut();
            if let Some(handle) = engine.accept() {
                return Poll::Ready(Connection::new(*self, handle));
            }
            engine.waiters.enlist(None, Wait::Endpoint, cx.waker());
            Poll::Pending
        })
        .await
    }

    /// How much of the resources is in use now: to choose their sizes by.
    pub fn usage(&self) -> EndpointUsage {
        self.shared.borrow().usage()
    }

    /// Which clients were turned away, and why, as it is logged too: those who serve learn of nobody who does not get in.
    pub fn refusals(&self) -> Refusals {
        self.shared.borrow().refusals
    }

    /// Waits until there is no connection any more and peers were told of the end of each: before the power is cut.
    pub async fn wait_idle(&self) {
        poll_fn(|cx| {
            let mut engine = self.shared.borrow_mut();
            if engine.is_idle() {
                return Poll::Ready(());
            }
            engine.waiters.enlist(None, Wait::Endpoint, cx.waker());
            Poll::Pending
        })
        .await;
    }
}
