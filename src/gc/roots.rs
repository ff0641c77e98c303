//! Roots that the collector does not find by itself: memory that is not of the program's heap, and objects that only foreign code knows.

use std::ffi::c_void;
use std::fmt;
use std::ops::Range;

use super::ptr::Gc;
use crate::base::lock::{Lock, Locked, Rank};

/// Ranges by the number of their guard.
static RANGES: Lock<Vec<(u64, Range<usize>)>> = Lock::new(Rank::Api, Vec::new());

/// The lock on what was added: the collector takes it before it stops the world.
pub(super) struct Held(Locked<'static, Vec<(u64, Range<usize>)>>);

pub(super) fn hold() -> Held {
    Held(RANGES.lock())
}

impl Held {
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.0.iter().map(|(_, range)| range.clone())
    }
}

/// A range of addresses; see [`add`].
pub trait Addresses {
    /// First and one past the last address.
    fn addresses(self) -> Range<usize>;
}

impl Addresses for Range<usize> {
    fn addresses(self) -> Range<usize> {
        self
    }
}

impl<T> Addresses for Range<*const T> {
    fn addresses(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl<T> Addresses for Range<*mut T> {
    fn addresses(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Keeps a range of memory among the roots: [`add`].
#[derive(Debug)]
#[must_use = "the range is a root as long as the guard lives"]
pub struct Guard {
    number: u64,
}

/// Has the collector read a range of memory that is not of the program's heap (what C code has allocated, a mapped file), as long as the guard lives. Every word in it, at multiples of
/// eight, that points into an object keeps that object alive.
///
/// # Safety
///
/// - The range is mapped readable until the guard is dropped.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, gc};
///
/// // Memory that the collector does not know: the C library's.
/// let bytes = std::mem::size_of::<Gc<u32>>();
/// // SAFETY: a size other than 0.
/// let place = unsafe { std::alloc::GlobalAlloc::alloc(&std::alloc::System, std::alloc::Layout::new::<Gc<u32>>()) }.cast::<Gc<u32>>();
/// // SAFETY: the block is not freed before the guard is gone.
/// let guard = unsafe { gc::roots::add(place..place.wrapping_add(1)) };
/// // SAFETY: the block is large enough.
/// unsafe { place.write(Gc::new(7)) };
/// gc::collect();
/// // SAFETY: written above.
/// assert_eq!(**unsafe { &*place }, 7);
/// drop(guard);
/// ```
pub unsafe fn add(range: impl Addresses) -> Guard {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    RANGES.lock().push((number, range.addresses()));
    Guard { number }
}

impl Drop for Guard {
    fn drop(&mut self) {
        RANGES.lock().retain(|(number, _)| *number != self.number);
    }
}

/// Keeps an object alive on behalf of code that the collector does not see: a pointer that C holds for a while.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, gc::Root};
///
/// let raw = Root::new(Gc::new(7)).into_raw();
/// // .. C has `raw` ..
/// // SAFETY: `raw` came from `into_raw` of that type, and is used once.
/// let root = unsafe { Root::<u32>::from_raw(raw) };
/// assert_eq!(*root.get(), 7);
/// ```
pub struct Root<T: 'static>(Box<Gc<T>>);

impl<T: 'static> Root<T> {
    /// Keeps `gc` alive.
    pub fn new(gc: Gc<T>) -> Self {
        Self(Box::new(gc))
    }

    /// The object.
    pub fn get(&self) -> Gc<T> {
        *self.0
    }

    /// A pointer that stands for the root, not to the object. The object is kept alive until [`Root::from_raw`].
    #[must_use = "the object is never freed if the pointer is lost"]
    pub fn into_raw(self) -> *mut c_void {
        Box::into_raw(self.0).cast()
    }

    /// The root again.
    ///
    /// # Safety
    ///
    /// - `raw` came from [`Root::into_raw`] of the same `T`, and is given back once.
    pub unsafe fn from_raw(raw: *mut c_void) -> Self {
        // SAFETY: the caller's contract.
        Self(unsafe { Box::from_raw(raw.cast()) })
    }
}

impl<T: fmt::Debug> fmt::Debug for Root<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.0).finish()
    }
}
