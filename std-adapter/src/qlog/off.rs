//! No logs: what stands in for [`qlog`](self) without that feature.

use peregrine_core::connection::{Event, Transmit};
use peregrine_core::endpoint::{Endpoint, Handle};
use peregrine_core::ids::{Ecn, FourTuple, Side};
use peregrine_core::session::EndpointCrypto;

use crate::session::AnySession;
use crate::storage::HeapSlots;

/// None.
#[derive(Default)]
pub(crate) struct Logs(());

impl Logs {
    pub(crate) fn watch(&mut self, session: AnySession, _: Side) -> AnySession {
        session
    }

    pub(crate) fn began<C: EndpointCrypto>(
        &mut self,
        _: &mut Endpoint<HeapSlots, C>,
        _: Handle,
        _: FourTuple,
    ) {
    }

    pub(crate) fn received<C: EndpointCrypto>(
        &mut self,
        _: &mut Endpoint<HeapSlots, C>,
        _: Handle,
        _: &FourTuple,
        _: Ecn,
        _: usize,
    ) {
    }

    pub(crate) fn sent<C: EndpointCrypto>(
        &mut self,
        _: &mut Endpoint<HeapSlots, C>,
        _: Handle,
        _: &Transmit,
    ) {
    }

    pub(crate) fn told<C: EndpointCrypto>(&mut self, _: &mut Endpoint<HeapSlots, C>, _: Handle, _: &Event) {}
}
