//! [`Mutex`] and its guards: `raw::mutex` with the value it guards. The `unsafe` is the access to that value.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::UnwindSafe;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::raw::mutex::RawMutex;
use crate::routine::Wait;
use crate::sched;
use crate::sys::clock;

/// Mutual exclusion for goroutines and threads.
///
/// Whoever comes first takes a free mutex, also past those that wait: that is fast, since it need not wait until another goroutine has been
/// scheduled. A waiter that has lost for a millisecond gets the mutex handed over, so nobody starves. This is Go's algorithm. What a
/// holder did happens before the next one holds it.
///
/// A panic while it is held releases it and leaves no mark. It is not reentrant: a goroutine that locks it twice waits for ever.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::Mutex;
///
/// static TOTAL: Mutex<u64> = Mutex::new(0);
///
/// greenroutine::scope(|s| {
///     for n in 1..=100 {
///         s.go(move || *TOTAL.lock() += n);
///     }
/// });
/// assert_eq!(*TOTAL.lock(), 5050);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    /// Guarded by `raw`.
    value: UnsafeCell<T>,
}

// SAFETY: `raw` gives the value to one holder at a time, who may be any thread.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T: ?Sized + UnwindSafe> UnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    /// A free mutex.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self { raw: RawMutex::new(), value: UnsafeCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the mutex; dropping the guard gives it back.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, while somebody else holds it. A call that finds it free does not wait, but shares its
    /// worker: a goroutine that has had its time slice lets others run first.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits unwinds.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        sched::pass_safepoint();
        self.raw.lock(Wait::MutexLock, u64::MAX).or_unwind();
        MutexGuard::new(self)
    }

    /// Takes the mutex if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        sched::pass_safepoint();
        self.raw.try_lock().then(|| MutexGuard::new(self))
    }

    /// As [`lock`](Self::lock), for at most `duration`: then `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::sync::Mutex;
    /// use std::time::{Duration, Instant};
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.lock();
    /// assert!(mutex.try_lock_for(Duration::from_millis(1)).is_none());
    /// drop(guard);
    /// assert_eq!(mutex.try_lock_for(Duration::from_millis(1)).as_deref(), Some(&1));
    /// ```
    pub fn try_lock_for(&self, duration: Duration) -> Option<MutexGuard<'_, T>> {
        self.try_lock().or_else(|| self.lock_till(clock::deadline_after(duration)))
    }

    /// As [`lock`](Self::lock), until `deadline` at most: then `None`.
    pub fn try_lock_until(&self, deadline: Instant) -> Option<MutexGuard<'_, T>> {
        self.try_lock().or_else(|| self.lock_till(clock::of_instant(deadline)))
    }

    fn lock_till(&self, deadline: u64) -> Option<MutexGuard<'_, T>> {
        self.raw.lock(Wait::MutexLock, deadline).or_unwind().then(|| MutexGuard::new(self))
    }

    /// Whether somebody holds it at this moment.
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// The value: the borrow proves that nobody holds the mutex.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Mutex");
        match self.raw.try_lock() {
            true => out.field("data", &&*MutexGuard::new(self)),
            false => out.field("data", &format_args!("<locked>")),
        };
        out.finish()
    }
}

/// The right to use what a [`Mutex`] guards; dropping it gives the mutex back.
///
/// Not `Send`:
///
/// ```compile_fail,E0277
/// # use greenroutine::sync::Mutex;
/// let mutex: &'static Mutex<u8> = Box::leak(Box::new(Mutex::new(0)));
/// let guard = mutex.lock();
/// greenroutine::go(move || drop(guard));
/// ```
#[must_use = "the mutex is given back when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared references to the value.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex is held, in the name of this guard.
    #[inline(always)]
    fn new(mutex: &'a Mutex<T>) -> Self {
        Self { mutex, not_send: PhantomData }
    }

    /// For `Condvar`, which gives the mutex back and takes it again.
    pub(super) fn raw(&self) -> &'a RawMutex {
        &self.mutex.raw
    }

    /// A guard of a part of the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::sync::{Mutex, MutexGuard};
    ///
    /// let pair = Mutex::new((1, 2));
    /// *MutexGuard::map(pair.lock(), |pair| &mut pair.1) = 3;
    /// assert_eq!(*pair.lock(), (1, 3));
    /// ```
    pub fn map<U: ?Sized>(mut guard: Self, f: impl FnOnce(&mut T) -> &mut U) -> MappedMutexGuard<'a, U> {
        let value = NonNull::from(f(&mut guard));
        let raw = guard.raw();
        mem::forget(guard);
        MappedMutexGuard { raw, value, part: PhantomData }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        let value = self.mutex.value.get();
        // SAFETY: the mutex is held as long as the guard lives.
        unsafe { &*value }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        let value = self.mutex.value.get();
        // SAFETY: the mutex is held as long as the guard lives, and the guard is borrowed exclusively.
        unsafe { &mut *value }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A [`MutexGuard`] of a part of the value: [`MutexGuard::map`].
#[must_use = "the mutex is given back when the guard is dropped"]
pub struct MappedMutexGuard<'a, T: ?Sized> {
    raw: &'a RawMutex,
    /// In what `raw` guards; borrowed exclusively as long as the guard lives. The pointer makes the guard neither `Send` nor `Sync`.
    value: NonNull<T>,
    part: PhantomData<&'a mut T>,
}

// SAFETY: a shared guard gives shared references to the value.
unsafe impl<T: ?Sized + Sync> Sync for MappedMutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MappedMutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the mutex is held as long as the guard lives.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for MappedMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the mutex is held as long as the guard lives, and the guard is borrowed exclusively.
        unsafe { self.value.as_mut() }
    }
}

impl<T: ?Sized> Drop for MappedMutexGuard<'_, T> {
    fn drop(&mut self) {
        self.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MappedMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
