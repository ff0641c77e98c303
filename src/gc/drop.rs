//! [`GcDrop`]: collected values that have a destructor. Which are due is found in `reap`; they run in `finalizer`.

use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::alloc;
use super::reap::{self, Destructor, Header};
use crate::arch;

/// A shared pointer to a collected value with a destructor: a file, a socket, a `Vec`. `Copy`, like [`Gc`](super::Gc), but without `Deref`: a reference into the value does not keep
/// the value alive once the compiler has forgotten the pointer, so the value is reached through [`with`](GcDrop::with) or [`pin`](GcDrop::pin), which do.
///
/// The destructor runs once nobody reaches the value, some time after the cycle that has noticed, on the finalizer's goroutine (or thread), which is why `T` must be `Send`; not at the end of the program. It runs before those
/// of the values that it refers to, so it may use them. Values with destructors that refer to each other in a cycle have no such order: they are kept, and
/// reported by [`leaks`](super::leaks()). To break a cycle make one of its pointers one to a value of its own without destructor, or take it out before.
///
/// What the value owns in ordinary memory (the elements of a `Vec`) is not collected before the value: a `GcDrop` in there that leads back to its owner keeps both for ever, like a cycle of `Arc`s.
///
/// # Panics in the destructor
///
/// Are reported on standard error, with the type, and go no further.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, gc::GcDrop};
///
/// struct Log {
///     lines: Vec<String>,
/// }
/// struct Service {
///     log: GcDrop<Log>,
/// }
///
/// let log = GcDrop::new(Log { lines: vec!["up".into()] });
/// let service = Gc::new(Service { log });
/// assert_eq!(service.log.with(|log| log.lines.len()), 1);
/// let pinned = service.log.pin();
/// assert_eq!(pinned.lines[0], "up");
/// ```
#[repr(align(8))]
pub struct GcDrop<T: Send + 'static>(NonNull<Body<T>>);

#[repr(C)]
struct Body<T> {
    header: Header,
    value: T,
}

impl<T: Send> Clone for GcDrop<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send> Copy for GcDrop<T> {}

// SAFETY: as for `Arc`: it gives `&T` to whoever has it, wherever that is, and the value is dropped elsewhere.
unsafe impl<T: Send + Sync> Send for GcDrop<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for GcDrop<T> {}

/// Drops the value of a body.
///
/// # Safety
///
/// - The address is that of a `Body<T>` whose value was not dropped, and nobody has access to it.
unsafe fn destroy<T>(body: usize) {
    let body = body as *mut Body<T>;
    // SAFETY: the caller's contract.
    let value = unsafe { &raw mut (*body).value };
    // SAFETY: as above.
    unsafe { ptr::drop_in_place(value) };
}

impl<T: Send + 'static> GcDrop<T> {
    /// Moves a value into the collected heap.
    ///
    /// # Panics
    ///
    /// As [`Gc::new`](super::Gc::new).
    pub fn new(value: T) -> Self {
        let place = alloc::raw(Layout::new::<Body<T>>(), true).cast::<Body<T>>();
        // SAFETY: fresh memory for one, which is nobody else's yet.
        unsafe { place.write(Body { header: Header { pins: AtomicUsize::new(0) }, value }) };
        if std::mem::needs_drop::<T>() {
            let destructor = Destructor { run: destroy::<T>, name: std::any::type_name::<T>() };
            reap::tables().add_destructor(place.as_ptr() as usize, destructor);
        }
        Self(NonNull::new(arch::opaque(place.as_ptr() as usize) as *mut Body<T>).unwrap_or(place))
    }

    /// Calls `f` with the value, which stays alive meanwhile.
    ///
    /// ```compile_fail
    /// let value = greenroutine::gc::GcDrop::new(vec![1]);
    /// let escaped: &Vec<i32> = value.with(|vec| vec);
    /// ```
    #[inline]
    pub fn with<R>(self, f: impl FnOnce(&T) -> R) -> R {
        // On the stack, where the collector looks, as long as `f` runs, also if it never returns: its address is given away, so the compiler cannot do without it.
        let anchor = self.0;
        arch::opaque(&raw const anchor as usize);
        // SAFETY: the value is there as long as this pointer can be reached, which the anchor does; shared, as every access is.
        let body = unsafe { anchor.as_ref() };
        let result = f(&body.value);
        arch::opaque(&raw const anchor as usize);
        result
    }

    /// A guard that dereferences to the value and keeps it alive, wherever the guard is.
    #[inline]
    pub fn pin(&self) -> Pinned<'_, T> {
        // SAFETY: as in `with`; from here on the pin does it. Asm at the drop of the guard would not: a guard need not be dropped while what was got through it is in use.
        let body = unsafe { self.0.as_ref() };
        body.header.pins.fetch_add(1, Ordering::Relaxed);
        Pinned { body: self.0, of: PhantomData }
    }

    /// Whether two pointers are to the same value.
    pub fn ptr_eq(this: Self, other: Self) -> bool {
        ptr::eq(this.0.as_ptr(), other.0.as_ptr())
    }
}

impl<T: Send + fmt::Debug> fmt::Debug for GcDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|value| f.debug_tuple("GcDrop").field(value).finish())
    }
}

impl<T: Send + 'static> From<T> for GcDrop<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// Keeps a value with destructor alive and gives access to it: [`GcDrop::pin`]. One that is forgotten keeps it for ever.
pub struct Pinned<'a, T: Send + 'static> {
    body: NonNull<Body<T>>,
    of: PhantomData<&'a GcDrop<T>>,
}

// SAFETY: a `&T`, and a count that is an atomic.
unsafe impl<T: Send + Sync> Send for Pinned<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Pinned<'_, T> {}

impl<T: Send> Pinned<'_, T> {
    fn body(&self) -> &Body<T> {
        // SAFETY: pinned, so its destructor does not run and it is not freed.
        unsafe { self.body.as_ref() }
    }
}

impl<T: Send> Deref for Pinned<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.body().value
    }
}

impl<T: Send> Drop for Pinned<'_, T> {
    fn drop(&mut self) {
        // Release: what was done with the value comes before its destructor; the stop in which the collector reads this orders the rest.
        self.body().header.pins.fetch_sub(1, Ordering::Release);
    }
}

impl<T: Send + fmt::Debug> fmt::Debug for Pinned<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}
