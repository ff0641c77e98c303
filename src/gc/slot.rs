//! [`Slot`] and [`SlotOption`]: atomic cells that hold a [`Gc`].

use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::ptr::Gc;

/// An atomic cell that holds a [`Gc`]: the link of a data structure that many goroutines change. Sequentially consistent; there are no orderings to get wrong.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, gc::Slot};
///
/// let slot = Slot::new(Gc::new(1));
/// let old = slot.swap(Gc::new(2));
/// assert_eq!((*old, *slot.load()), (1, 2));
/// ```
// Aligned to eight because a pointer is on every target that the crate knows.
pub struct Slot<T: 'static> {
    value: AtomicPtr<T>,
    owns: PhantomData<Gc<T>>,
}

// SAFETY: shared access stores and loads `Gc<T>`s, so it passes them from thread to thread, which `Gc<T>: Send` allows.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Send for Slot<T> {}

/// The `Gc` of a pointer that came out of a slot.
fn gc<T>(pointer: *mut T) -> Gc<T> {
    // SAFETY: only pointers of `Gc`s are stored, and what is in a slot is reachable through it: it was when it was loaded, and the loaded word keeps it so.
    unsafe { Gc::from_ptr(pointer) }
}

impl<T: 'static> Slot<T> {
    /// Holds `value`.
    pub fn new(value: Gc<T>) -> Self {
        Self { value: AtomicPtr::new(Gc::as_ptr(value).cast_mut()), owns: PhantomData }
    }

    /// What it holds.
    #[inline]
    pub fn load(&self) -> Gc<T> {
        gc(self.value.load(Ordering::SeqCst))
    }

    /// Replaces what it holds.
    #[inline]
    pub fn store(&self, value: Gc<T>) {
        self.value.store(Gc::as_ptr(value).cast_mut(), Ordering::SeqCst);
    }

    /// Replaces what it holds, and returns that.
    #[inline]
    pub fn swap(&self, value: Gc<T>) -> Gc<T> {
        gc(self.value.swap(Gc::as_ptr(value).cast_mut(), Ordering::SeqCst))
    }

    /// Replaces what it holds if that is `current`: the same object, not an equal one. Returns what it held, as `Ok` if it was replaced.
    #[inline]
    pub fn compare_exchange(&self, current: Gc<T>, new: Gc<T>) -> Result<Gc<T>, Gc<T>> {
        let (current, new) = (Gc::as_ptr(current).cast_mut(), Gc::as_ptr(new).cast_mut());
        self.value.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).map(gc).map_err(gc)
    }
}

impl<T: fmt::Debug> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.load()).finish()
    }
}

impl<T: 'static> From<Gc<T>> for Slot<T> {
    fn from(value: Gc<T>) -> Self {
        Self::new(value)
    }
}

/// As [`Slot`], but it may hold nothing.
///
/// # Examples
///
/// A stack that many push to, after Treiber ("Systems programming: coping with parallelism", 1986). There is no ABA problem: an address is not used again while somebody still has it.
///
/// ```
/// use greenroutine::{Gc, gc::SlotOption};
///
/// struct Node {
///     value: u32,
///     next: Option<Gc<Node>>,
/// }
///
/// let top: SlotOption<Node> = SlotOption::new(None);
/// for value in 0..3 {
///     let mut next = top.load();
///     while let Err(now) = top.compare_exchange(next, Some(Gc::new(Node { value, next }))) {
///         next = now;
///     }
/// }
/// assert_eq!(top.load().unwrap().value, 2);
/// assert_eq!(top.load().unwrap().next.unwrap().value, 1);
/// ```
pub struct SlotOption<T: 'static> {
    value: AtomicPtr<T>,
    owns: PhantomData<Gc<T>>,
}

// SAFETY: as for `Slot`.
unsafe impl<T: Send + Sync> Sync for SlotOption<T> {}
// SAFETY: as for `Slot`.
unsafe impl<T: Send + Sync> Send for SlotOption<T> {}

fn pointer<T>(value: Option<Gc<T>>) -> *mut T {
    value.map_or(ptr::null_mut(), |value| Gc::as_ptr(value).cast_mut())
}

fn option<T>(pointer: *mut T) -> Option<Gc<T>> {
    (!pointer.is_null()).then(|| gc(pointer))
}

impl<T: 'static> SlotOption<T> {
    /// Holds `value`.
    pub fn new(value: Option<Gc<T>>) -> Self {
        Self { value: AtomicPtr::new(pointer(value)), owns: PhantomData }
    }

    /// Holds nothing. For statics.
    pub const fn empty() -> Self {
        Self { value: AtomicPtr::new(ptr::null_mut()), owns: PhantomData }
    }

    /// What it holds.
    #[inline]
    pub fn load(&self) -> Option<Gc<T>> {
        option(self.value.load(Ordering::SeqCst))
    }

    /// Replaces what it holds.
    #[inline]
    pub fn store(&self, value: Option<Gc<T>>) {
        self.value.store(pointer(value), Ordering::SeqCst);
    }

    /// Replaces what it holds, and returns that.
    #[inline]
    pub fn swap(&self, value: Option<Gc<T>>) -> Option<Gc<T>> {
        option(self.value.swap(pointer(value), Ordering::SeqCst))
    }

    /// Takes what it holds.
    #[inline]
    pub fn take(&self) -> Option<Gc<T>> {
        self.swap(None)
    }

    /// Replaces what it holds if that is `current`: the same object, not an equal one. Returns what it held, as `Ok` if it was replaced.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: Option<Gc<T>>,
        new: Option<Gc<T>>,
    ) -> Result<Option<Gc<T>>, Option<Gc<T>>> {
        let result =
            self.value.compare_exchange(pointer(current), pointer(new), Ordering::SeqCst, Ordering::SeqCst);
        result.map(option).map_err(option)
    }
}

impl<T: 'static> Default for SlotOption<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: fmt::Debug> fmt::Debug for SlotOption<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SlotOption").field(&self.load()).finish()
    }
}

impl<T: 'static> From<Option<Gc<T>>> for SlotOption<T> {
    fn from(value: Option<Gc<T>>) -> Self {
        Self::new(value)
    }
}
