//! A set of routes, as a connection ID's row remembers who uses it.

/// Some of the at most 32 routes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Routes(u32);

impl Routes {
    /// None.
    pub const NONE: Self = Self(0);

    /// Only `route`, which is below 32.
    pub const fn only(route: u8) -> Self {
        Self(1_u32.wrapping_shl(route as u32))
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `route` is among them.
    pub const fn has(self, route: u8) -> bool {
        self.0 & Self::only(route).0 != 0
    }

    /// Each of them, the lowest first.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..32).filter(move |route| self.has(*route))
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `route`.
    #[must_use]
    pub const fn without(self, route: u8) -> Self {
        Self(self.0 & !Self::only(route).0)
    }
}
