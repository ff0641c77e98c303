//! [`Lazy`]: a [`OnceCell`] with the closure that fills it. The `unsafe` says that threads may share that closure.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once_cell::OnceCell;

/// A value that is made when it is first used: [`std::sync::LazyLock`]'s contract, for goroutines and threads.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::Lazy;
///
/// static SQUARES: Lazy<Vec<u32>> = Lazy::new(|| (0..10).map(|n| n * n).collect());
///
/// assert_eq!(SQUARES[3], 9);
/// ```
pub struct Lazy<T, F = fn() -> T> {
    cell: OnceCell<T>,
    /// Taken by whoever makes the value.
    init: Cell<Option<F>>,
}

// SAFETY: `init` is touched by whoever has the turn of `cell`, one at a time, and may have come from another thread: `F: Send`. The rest is OnceCell's.
unsafe impl<T: Send + Sync, F: Send> Sync for Lazy<T, F> {}

impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for Lazy<T, F> {}
impl<T: UnwindSafe + RefUnwindSafe, F: UnwindSafe> RefUnwindSafe for Lazy<T, F> {}

impl<T, F: FnOnce() -> T> Lazy<T, F> {
    /// A value that `init` will make.
    #[inline]
    pub const fn new(init: F) -> Self {
        Self { cell: OnceCell::new(), init: Cell::new(Some(init)) }
    }

    /// The value; makes it if nobody has yet. Dereferencing does the same.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, while somebody else makes it.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits for somebody else unwinds.
    ///
    /// # Panics
    ///
    /// If the closure does, now or earlier: there is no second one.
    #[inline]
    #[track_caller]
    pub fn force(this: &Self) -> &T {
        if let Some(value) = this.cell.get() {
            return value;
        }
        // Outside the turn, for the caller's location: a turn that finds no closure leaves the cell empty.
        match this.cell.get_or_try_init(|| this.init.take().map(|init| init()).ok_or(())) {
            Ok(value) => value,
            Err(()) => panic!("Lazy instance has previously been poisoned"),
        }
    }
}

impl<T, F: FnOnce() -> T> Deref for Lazy<T, F> {
    type Target = T;
    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T: Default> Default for Lazy<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Lazy<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_tuple("Lazy");
        match self.cell.get() {
            Some(value) => out.field(value),
            None => out.field(&format_args!("<uninit>")),
        };
        out.finish()
    }
}
