//! What only a build with the feature `multipath` has room for.

#[cfg(not(feature = "multipath"))]
use core::marker::PhantomData;

/// A value that is there with the feature `multipath`, and takes no room without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WithMultipath<T>(
    #[cfg(feature = "multipath")] T,
    #[cfg(not(feature = "multipath"))] PhantomData<T>,
);

#[cfg(feature = "multipath")]
impl<T> WithMultipath<T> {
    /// The value.
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, if it is there.
    pub(crate) const fn get(&self) -> Option<&T> {
        Some(&self.0)
    }

    /// The value to be changed, if it is there.
    pub(crate) const fn get_mut(&mut self) -> Option<&mut T> {
        Some(&mut self.0)
    }
}

#[cfg(not(feature = "multipath"))]
impl<T: Copy> WithMultipath<T> {
    /// Nothing: the value is not kept.
    pub(crate) const fn new(_: T) -> Self {
        Self(PhantomData)
    }

    /// Nothing.
    pub(crate) const fn get(&self) -> Option<&T> {
        None
    }

    /// Nothing.
    pub(crate) const fn get_mut(&mut self) -> Option<&mut T> {
        None
    }
}
