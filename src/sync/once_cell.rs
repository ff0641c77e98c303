//! [`OnceCell`]: a value that is written once. The `unsafe` is the access to the place, which `raw::once` says may be read or written.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once::{Turn, call};
use super::raw::once::{Begin, RawOnce};
use crate::routine::Wait;

/// A place for a value that is written once: [`std::sync::OnceLock`]'s contract, for goroutines and threads.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::OnceCell;
///
/// static NAME: OnceCell<String> = OnceCell::new();
///
/// assert_eq!(NAME.get(), None);
/// assert_eq!(NAME.get_or_init(|| "gopher".to_owned()), "gopher");
/// assert_eq!(NAME.set("crab".to_owned()), Err("crab".to_owned()));
/// ```
pub struct OnceCell<T> {
    once: RawOnce,
    /// Initialised once `once` is done; until then its runner's.
    value: UnsafeCell<MaybeUninit<T>>,
    /// It drops a `T`.
    owns: PhantomData<T>,
}

// SAFETY: the value goes with the cell.
unsafe impl<T: Send> Send for OnceCell<T> {}
// SAFETY: shared, it gives out shared references, and one thread may drop what another has written.
unsafe impl<T: Send + Sync> Sync for OnceCell<T> {}

impl<T: UnwindSafe> UnwindSafe for OnceCell<T> {}
impl<T: UnwindSafe + RefUnwindSafe> RefUnwindSafe for OnceCell<T> {}

impl<T> OnceCell<T> {
    /// Empty.
    #[inline]
    pub const fn new() -> Self {
        Self { once: RawOnce::new(), value: UnsafeCell::new(MaybeUninit::uninit()), owns: PhantomData }
    }

    /// The value, if it is written.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if !self.once.is_done() {
            return None;
        }
        let place = self.value.get();
        // SAFETY: done, so nobody writes any more while the cell is borrowed.
        let place = unsafe { &*place };
        // SAFETY: done, so initialised.
        Some(unsafe { place.assume_init_ref() })
    }

    /// The value, if it is written.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        if !self.once.is_done() {
            return None;
        }
        // SAFETY: done, so initialised.
        Some(unsafe { self.value.get_mut().assume_init_mut() })
    }

    /// Writes the value, or gives it back if there is one.
    ///
    /// # Blocking
    ///
    /// While somebody else is about to write one, as [`get_or_init`](Self::get_or_init).
    ///
    /// # Cancellation
    ///
    /// As [`get_or_init`](Self::get_or_init).
    ///
    /// # Errors
    ///
    /// The value, if the cell is full.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once at most"));
        match value {
            None => Ok(()),
            Some(value) => Err(value),
        }
    }

    /// The value; if there is none yet, `f` makes it.
    ///
    /// If `f` panics the cell stays empty, and the next caller, or one of those that wait, makes the value.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, while somebody else makes it. If `f` itself asks for it, it waits for ever.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits for somebody else unwinds.
    ///
    /// # Panics
    ///
    /// If `f` does.
    #[inline]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        self.init(Wait::Once, f)
    }

    /// As [`get_or_init`](Self::get_or_init), with an `f` that may fail: then the cell stays empty.
    ///
    /// # Errors
    ///
    /// `f`'s.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::sync::OnceCell;
    ///
    /// let number = OnceCell::new();
    /// assert!(number.get_or_try_init(|| "x".parse::<u8>()).is_err());
    /// assert_eq!(number.get_or_try_init(|| "7".parse::<u8>()), Ok(&7));
    /// ```
    pub fn get_or_try_init<E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        loop {
            if let Some(value) = self.get() {
                return Ok(value);
            }
            match self.once.begin(Wait::Once) {
                Begin::Done => {}
                Begin::Interrupted(acquired) => _ = acquired.or_unwind(),
                Begin::Yours => {
                    let turn = Turn::new(&self.once);
                    let value = f()?;
                    self.write(value);
                    turn.finish();
                    return Ok(self.filled());
                }
            }
        }
    }

    /// Makes the value, or waits for whoever does. `wait` is what dumps say.
    #[cold]
    pub(super) fn init(&self, wait: Wait, f: impl FnOnce() -> T) -> &T {
        call(&self.once, wait, || self.write(f()));
        self.filled()
    }

    /// It is the caller's turn.
    fn write(&self, value: T) {
        let place = self.value.get();
        // SAFETY: the caller has the turn, and nobody reads before it is done.
        unsafe { &mut *place }.write(value);
    }

    fn filled(&self) -> &T {
        self.get().expect("it was done before this was called")
    }

    /// Waits until somebody has written the value.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits unwinds.
    pub fn wait(&self) -> &T {
        if self.get().is_none() {
            self.once.watch(Wait::Once).or_unwind();
        }
        self.filled()
    }

    /// The value, if it is written.
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }

    /// Takes the value out and leaves the cell empty.
    pub fn take(&mut self) -> Option<T> {
        if !self.once.reset() {
            return None;
        }
        // SAFETY: it was done, so it is initialised; the cell is ours, and counts as empty from now on.
        Some(unsafe { self.value.get_mut().assume_init_read() })
    }
}

impl<T> Drop for OnceCell<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> Self {
        Self { once: RawOnce::new_done(), value: UnsafeCell::new(MaybeUninit::new(value)), owns: PhantomData }
    }
}

impl<T: Clone> Clone for OnceCell<T> {
    fn clone(&self) -> Self {
        match self.get() {
            Some(value) => Self::from(value.clone()),
            None => Self::new(),
        }
    }
}

impl<T: PartialEq> PartialEq for OnceCell<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceCell<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_tuple("OnceCell");
        match self.get() {
            Some(value) => out.field(value),
            None => out.field(&format_args!("<uninit>")),
        };
        out.finish()
    }
}
