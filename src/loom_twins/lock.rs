//! `base::lock` in a model: loom's mutex, which it explores faster than a spin loop. The steps of the real one: `loom_models::lock`.

use std::ops::{Deref, DerefMut};

/// The ranks that models need.
#[derive(Clone, Copy)]
pub(crate) enum Rank {
    /// The wakers of a channel.
    Join,
    /// The waiters of one channel or lock.
    Waiters,
}

/// As the real one.
pub(crate) struct Lock<T>(loom::sync::Mutex<T>);

/// Evidence that the lock is held.
pub(crate) struct Locked<'a, T>(loom::sync::MutexGuard<'a, T>);

impl<T> Lock<T> {
    /// A free lock.
    pub(crate) fn new(_: Rank, value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    /// There is one.
    pub(super) fn rank(&self) -> Rank {
        Rank::Waiters
    }

    /// Blocks until the lock is held.
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        Locked(self.0.lock().expect("nothing panics under it"))
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Nothing: a model has no order of locks.
pub(super) mod ranks {
    use super::Rank;

    pub(in crate::base) fn enter(_: Rank) {}
    pub(in crate::base) fn leave(_: Rank) {}
}
