//! What is known of a network, and what its changes mean. The stack tells only that something changed, so what was seen before is
//! kept and compared.

use core::future::Future as _;
use core::net::IpAddr;
use core::pin::pin;
use core::task::Context;

use embassy_net::Stack;

/// A network that was attached: the number of its stack in the order of [`Endpoint::attach`](crate::Endpoint::attach).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NetworkId(pub(crate) u8);

/// Our addresses on a network; none while its link is down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Addresses {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Addresses {
    /// The one that talks to a remote address.
    pub(crate) const fn toward(&self, remote: IpAddr) -> Option<IpAddr> {
        match remote {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.v4 == Some(ip) || self.v6 == Some(ip)
    }

    pub(crate) const fn is_any(&self) -> bool {
        self.v4.is_some() || self.v6.is_some()
    }
}

/// A stack, and what was seen of it last.
pub(crate) struct Network {
    pub(crate) stack: Stack<'static>,
    pub(crate) addresses: Addresses,
}

impl Network {
    pub(crate) fn new(stack: Stack<'static>) -> Self {
        Self { stack, addresses: look(stack) }
    }

    /// Our addresses before, if they have changed. Whose context it is is woken at the next change.
    pub(crate) fn poll_change(&mut self, cx: &mut Context<'_>) -> Option<Addresses> {
        // Either of the two is pending, and the one that is has left the waker with the stack.
        let pending = pin!(self.stack.wait_link_up()).poll(cx).is_pending()
            || pin!(self.stack.wait_link_down()).poll(cx).is_pending();
        debug_assert!(pending, "a link is up or down");
        let now = look(self.stack);
        let before = core::mem::replace(&mut self.addresses, now);
        (before != now).then_some(before)
    }
}

fn look(stack: Stack<'static>) -> Addresses {
    if !stack.is_link_up() {
        return Addresses::default();
    }
    Addresses {
        #[cfg(feature = "ipv4")]
        v4: stack.config_v4().map(|config| IpAddr::V4(config.address.address())),
        #[cfg(not(feature = "ipv4"))]
        v4: None,
        #[cfg(feature = "ipv6")]
        v6: stack.config_v6().map(|config| IpAddr::V6(config.address.address())),
        #[cfg(not(feature = "ipv6"))]
        v6: None,
    }
}
