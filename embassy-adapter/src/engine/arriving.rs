//! What arrives: datagrams for connections, and clients, which are let in or turned away.

use core::task::{Context, Poll};

use peregrine_core::endpoint::{AcceptError, Handled, Incoming};
use peregrine_core::ids::{Ecn, FourTuple};

use super::{BATCH, Engine, Row, now, with_room};
use crate::error::Error;
use crate::lent::Lent;
use crate::resources::Lendable;
use crate::socket::Place;
use crate::tls::EndpointSession;

impl<S: EndpointSession> Engine<S> {
    /// Takes what has come. Returns whether there may be more.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let mut more = false;
        for place in 0..self.sockets.len() {
            let mut batch = 0..BATCH;
            while batch.next().is_some() {
                let Some(Place::Bound(bound)) = self.sockets.get(place) else { break };
                let interface = u32::try_from(place).unwrap_or(u32::MAX);
                match bound.poll_recv(cx, interface, self.inbox) {
                    Poll::Ready(Some((len, on))) => self.handle(cx, len, on),
                    // It was longer than we have promised to take.
                    Poll::Ready(None) => {}
                    Poll::Pending => break,
                }
            }
            more |= batch.is_empty();
        }
        more
    }

    /// Takes the datagram in the inbox.
    fn handle(&mut self, cx: &mut Context<'_>, len: usize, on: FourTuple) {
        let Some(datagram) = self.inbox.get_mut(..len) else { return };
        let reply = match self.core.handle_datagram(now(), on, Ecn::NotEct, datagram) {
            Handled::Connection(_) | Handled::Ignored(_) => return,
            Handled::Reply(len) => len,
            Handled::Incoming(incoming) => match self.welcome(&incoming) {
                Ok((memory, session)) => {
                    let datagram = self.inbox.get_mut(..len).unwrap_or_default();
                    match self.core.accept(now(), incoming, datagram, memory, session) {
                        Ok(handle) => self.know(handle, Row::EMPTY),
                        // Nobody who could be told of it, and nothing is left behind.
                        Err(AcceptError::Forged) => {}
                        Err(AcceptError::Full) => self.on_refused(Error::TooManyConnections),
                        Err(AcceptError::Start(error)) => self.on_refused(Error::Start(error)),
                    }
                    return;
                }
                Err(why) => {
                    self.on_refused(why);
                    self.core.refuse(incoming, self.inbox)
                }
            },
        };
        if let (Some(bytes), Some(Place::Bound(bound))) =
            (self.inbox.get(..reply), self.sockets.get_mut(on.interface as usize))
        {
            bound.reply(cx, &on, bytes);
        }
    }

    /// The memory and the session for a client that comes in.
    fn welcome(&mut self, incoming: &Incoming) -> Result<(Lendable, S), Error> {
        let server = self.server.as_mut().ok_or(Error::NoSession)?;
        let memory = Lent::take(self.homes).ok_or(Error::TooManyConnections)?;
        let mut session = server.session(incoming).ok_or(Error::NoSession)?;
        Ok((with_room(memory, &mut session)?, session))
    }

    fn on_refused(&mut self, why: Error) {
        // Many that come in a row are worth one line.
        if self.refusals.last != Some(why) {
            note!(warn, "a client is refused: {}", why);
        }
        self.refusals.count = self.refusals.count.saturating_add(1);
        self.refusals.last = Some(why);
    }
}
