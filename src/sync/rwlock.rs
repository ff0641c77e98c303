//! [`RwLock`] and its guards: `raw::rwlock` with the value it guards. The `unsafe` is the access to that value.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::UnwindSafe;
use std::time::{Duration, Instant};

use super::raw::rwlock::{Held, RawRwLock};
use crate::sched::{self, ambient};
use crate::sys::clock;

/// Many readers or one writer, for goroutines and threads.
///
/// As in Go, a writer that waits stops new readers, and when a writer ends, all readers that wait go before the next writer: neither kind starves. Among
/// writers it is as fair as [`Mutex`](super::Mutex). What a writer did happens before those who hold it next.
///
/// Readers on several workers that meet often stop to share memory (`raw::rwlock` says how), so that reading scales; the first write after that costs
/// up to ten microseconds.
///
/// A panic while it is held releases it and leaves no mark. A goroutine that reads twice at the same time waits for ever if a writer comes in between.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::RwLock;
///
/// static NAMES: RwLock<Vec<&str>> = RwLock::new(Vec::new());
///
/// NAMES.write().push("gopher");
/// greenroutine::scope(|s| {
///     for _ in 0..4 {
///         s.go(|| assert_eq!(NAMES.read()[0], "gopher"));
///     }
/// });
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    /// Guarded by `raw`.
    value: UnsafeCell<T>,
}

// SAFETY: `raw` gives the value to one writer at a time, who may be any thread.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: as above; and to many readers at a time, for whom `T` is Sync.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T: ?Sized + UnwindSafe> UnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    /// A free lock.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self { raw: RawRwLock::new(), value: UnsafeCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read; dropping the guard gives it back.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, while a writer holds the lock or waits for it. A call that need not wait shares its
    /// worker: a goroutine that has had its time slice lets others run first.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits unwinds.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        match self.read_till(u64::MAX) {
            Some(guard) => guard,
            None => unreachable!("there is no deadline"),
        }
    }

    #[inline(always)]
    fn read_till(&self, deadline: u64) -> Option<RwLockReadGuard<'_, T>> {
        sched::pass_safepoint();
        match self.raw.read(ambient::place(), deadline) {
            Ok(held) => Some(RwLockReadGuard::new(self, held)),
            Err(acquired) => {
                acquired.or_unwind();
                None
            }
        }
    }

    /// Takes the lock to read if no writer holds it or waits for it.
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        sched::pass_safepoint();
        self.raw.try_read(ambient::place()).map(|held| RwLockReadGuard::new(self, held))
    }

    /// As [`read`](Self::read), for at most `duration`: then `None`.
    pub fn try_read_for(&self, duration: Duration) -> Option<RwLockReadGuard<'_, T>> {
        self.try_read().or_else(|| self.read_till(clock::deadline_after(duration)))
    }

    /// As [`read`](Self::read), until `deadline` at most: then `None`.
    pub fn try_read_until(&self, deadline: Instant) -> Option<RwLockReadGuard<'_, T>> {
        self.try_read().or_else(|| self.read_till(clock::of_instant(deadline)))
    }

    /// Takes the lock to write; dropping the guard gives it back.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, while somebody else holds the lock. From the call on no new reader gets it, once
    /// the writers before have ended.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits unwinds, and the readers that waited behind it go on.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        sched::pass_safepoint();
        self.raw.write(u64::MAX).or_unwind();
        RwLockWriteGuard::new(self)
    }

    /// Takes the lock to write if nobody holds it.
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        sched::pass_safepoint();
        self.raw.try_write().then(|| RwLockWriteGuard::new(self))
    }

    /// As [`write`](Self::write), for at most `duration`: then `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::sync::RwLock;
    /// use std::time::Duration;
    ///
    /// let lock = RwLock::new(1);
    /// let reader = lock.read();
    /// assert!(lock.try_write_for(Duration::from_millis(1)).is_none());
    /// assert!(lock.try_read().is_some(), "the writer has left no trace");
    /// ```
    pub fn try_write_for(&self, duration: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        self.write_till(clock::deadline_after(duration))
    }

    /// As [`write`](Self::write), until `deadline` at most: then `None`.
    pub fn try_write_until(&self, deadline: Instant) -> Option<RwLockWriteGuard<'_, T>> {
        self.write_till(clock::of_instant(deadline))
    }

    fn write_till(&self, deadline: u64) -> Option<RwLockWriteGuard<'_, T>> {
        sched::pass_safepoint();
        self.raw.write(deadline).or_unwind().then(|| RwLockWriteGuard::new(self))
    }

    /// The value: the borrow proves that nobody holds the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.raw.try_read(ambient::place()) {
            Some(held) => out.field("data", &&*RwLockReadGuard::new(self, held)),
            None => out.field("data", &format_args!("<locked>")),
        };
        out.finish()
    }
}

/// The right to read what an [`RwLock`] guards; dropping it gives the lock back.
///
/// Not `Send`:
///
/// ```compile_fail,E0277
/// # use greenroutine::sync::RwLock;
/// let lock: &'static RwLock<u8> = Box::leak(Box::new(RwLock::new(0)));
/// let guard = lock.read();
/// greenroutine::go(move || drop(guard));
/// ```
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    held: Held,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared references to the value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// The lock is held to read, in the name of this guard.
    #[inline(always)]
    fn new(lock: &'a RwLock<T>, held: Held) -> Self {
        Self { lock, held, not_send: PhantomData }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        let value = self.lock.value.get();
        // SAFETY: the lock is held to read as long as the guard lives, so nobody writes.
        unsafe { &*value }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.raw.end_read(self.held);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The right to change what an [`RwLock`] guards; dropping it gives the lock back.
///
/// Not `Send`:
///
/// ```compile_fail,E0277
/// # use greenroutine::sync::RwLock;
/// let lock: &'static RwLock<u8> = Box::leak(Box::new(RwLock::new(0)));
/// let guard = lock.write();
/// greenroutine::go(move || drop(guard));
/// ```
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared references to the value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// The lock is held to write, in the name of this guard.
    #[inline(always)]
    fn new(lock: &'a RwLock<T>) -> Self {
        Self { lock, not_send: PhantomData }
    }

    /// Goes on as a reader, with no writer in between.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut guard = lock.write();
    /// *guard = 2;
    /// let guard = RwLockWriteGuard::downgrade(guard);
    /// assert_eq!((*guard, *lock.read()), (2, 2));
    /// ```
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        let lock = guard.lock;
        mem::forget(guard);
        RwLockReadGuard::new(lock, lock.raw.downgrade())
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        let value = self.lock.value.get();
        // SAFETY: the lock is held to write as long as the guard lives, and the guard is borrowed.
        unsafe { &*value }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        let value = self.lock.value.get();
        // SAFETY: the lock is held to write as long as the guard lives, and the guard is borrowed exclusively.
        unsafe { &mut *value }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.raw.end_write();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
