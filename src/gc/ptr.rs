//! [`Gc`]: the pointer.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

use super::alloc;

/// A shared pointer to a value in the collected heap. `Copy`; the value lives as long as any copy, or any reference got through one, can be reached.
///
/// It behaves like [`Arc`](std::sync::Arc) without counting: it dereferences to the value, compares and hashes by value, and may be sent to other threads if the value may be shared. To change what it
/// points to, use atomics, [`Slot`](super::Slot), or a lock inside.
///
/// `Option<Gc<T>>` is one word.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, go};
///
/// let numbers = Gc::<[u64]>::from_iter(0..1000);
/// let sum = go(move || numbers.iter().sum::<u64>());
/// assert_eq!(sum.join().unwrap(), 499_500);
/// assert_eq!(numbers.len(), 1000);
/// ```
///
/// Values have no destructor, which the compiler checks:
///
/// ```compile_fail
/// let text = greenroutine::Gc::new(String::from("dropped by nobody"));
/// ```
// Aligned, not just as large as a pointer: a packed struct cannot contain it, so the marker finds it at multiples of eight.
#[repr(align(8))]
pub struct Gc<T: ?Sized + 'static>(NonNull<T>);

// Nothing but a word, or a marker would not find it.
const _: () = assert!(size_of::<Gc<u8>>() == 8 && size_of::<Option<Gc<u8>>>() == 8);

impl<T: ?Sized> Clone for Gc<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Gc<T> {}

// SAFETY: as for `Arc`: whoever has a `Gc` can copy it to another thread and get `&T` there, so both need T to be Sync; the last one to reach the value frees it without running anything of T, and
// Send is asked for all the same, because `Gc::into_inner`-like uses by value (a `Copy` type behind it) may move it.
unsafe impl<T: ?Sized + Send + Sync> Send for Gc<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Gc<T> {}
impl<T: ?Sized + RefUnwindSafe> UnwindSafe for Gc<T> {}
impl<T: ?Sized + RefUnwindSafe> RefUnwindSafe for Gc<T> {}

impl<T: 'static> Gc<T> {
    /// Moves a value into the collected heap. A type with a destructor does not compile: see [`GcDrop`](super::GcDrop) for those.
    ///
    /// # Panics
    ///
    /// If the program's allocator is not this crate's: the collector could not see what the program holds. Where there is no memory it ends as `Box::new` does.
    #[inline(always)]
    pub fn new(value: T) -> Self {
        const { alloc::assert_no_destructor::<T>() };
        Self(NonNull::from(alloc::one::<T>().write(value)))
    }
}

impl<T: ?Sized + 'static> Gc<T> {
    /// Whether two pointers are to the same value.
    #[inline]
    pub fn ptr_eq(this: Self, other: Self) -> bool {
        std::ptr::addr_eq(this.0.as_ptr(), other.0.as_ptr())
    }

    /// The address of the value. It is valid as long as the value can be reached through a `Gc` or a reference; a raw pointer counts as well where the collector sees it.
    #[inline]
    pub fn as_ptr(this: Self) -> *const T {
        this.0.as_ptr()
    }

    /// The pointer of an address.
    ///
    /// # Safety
    ///
    /// - `ptr` came from [`Gc::as_ptr`], and the value was reachable ever since.
    #[inline]
    pub unsafe fn from_ptr(ptr: *const T) -> Self {
        // SAFETY: the address of a value is not null.
        Self(unsafe { NonNull::new_unchecked(ptr.cast_mut()) })
    }

    /// For [`unsize!`](super::unsize).
    ///
    /// # Safety
    ///
    /// - `unsize` returns its argument, coerced.
    #[doc(hidden)]
    pub unsafe fn __unsize<U: ?Sized>(this: Self, unsize: impl FnOnce(*mut T) -> *mut U) -> Gc<U> {
        // SAFETY: the caller's contract: the same address.
        Gc(unsafe { NonNull::new_unchecked(unsize(this.0.as_ptr())) })
    }
}

/// A `Gc` of a value as a `Gc` of a trait object (or of a slice): `Gc` cannot coerce by itself in today's Rust.
///
/// ```
/// use greenroutine::{Gc, gc};
/// use std::fmt::Display;
///
/// let number: Gc<dyn Display> = gc::unsize!(Gc::new(7), dyn Display);
/// assert_eq!(number.to_string(), "7");
/// ```
///
/// Nothing but a coercion is possible:
///
/// ```compile_fail
/// greenroutine::gc::unsize!(greenroutine::Gc::new(7_u64), f64);
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __gc_unsize {
    ($gc:expr, $to:ty) => {{
        let gc = $gc;
        // SAFETY: the closure returns its argument, through a coercion.
        #[allow(unused_unsafe)]
        let unsized_gc = unsafe {
            $crate::Gc::__unsize(gc, |ptr| {
                let ptr: *mut $to = ptr;
                ptr
            })
        };
        unsized_gc
    }};
}

impl<T: 'static> Gc<[T]> {
    /// A copy of a slice.
    pub fn from_slice(values: &[T]) -> Self
    where
        T: Clone,
    {
        Self::from_fn(values.len(), |index| values[index].clone())
    }

    /// `count` values, made one after the other.
    pub fn from_fn(count: usize, mut make: impl FnMut(usize) -> T) -> Self {
        const { alloc::assert_no_destructor::<T>() };
        let places = alloc::array::<T>(count);
        for (index, place) in places.iter_mut().enumerate() {
            place.write(make(index));
        }
        // SAFETY: all were written.
        unsafe { Self::written(places) }
    }

    /// # Safety
    ///
    /// - All values were written.
    unsafe fn written(places: &'static mut [MaybeUninit<T>]) -> Self {
        let slice = std::ptr::from_mut(places) as *mut [T];
        // SAFETY: of a reference, so not null.
        Self(unsafe { NonNull::new_unchecked(slice) })
    }

    fn from_vec(values: std::vec::Vec<T>) -> Self {
        const { alloc::assert_no_destructor::<T>() };
        let places = alloc::array::<T>(values.len());
        for (place, value) in places.iter_mut().zip(values) {
            place.write(value);
        }
        // SAFETY: all were written.
        unsafe { Self::written(places) }
    }
}

impl<T: 'static> FromIterator<T> for Gc<[T]> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        const { alloc::assert_no_destructor::<T>() };
        let mut values = values.into_iter();
        let (least, most) = values.size_hint();
        if most != Some(least) {
            return Self::from_vec(values.collect());
        }
        // In place, as long as it has what it has promised.
        let places = alloc::array::<T>(least);
        let mut count = 0;
        while count < least
            && let Some(value) = values.next()
        {
            places[count].write(value);
            count += 1;
        }
        let written = &mut places[..count];
        match values.next() {
            // SAFETY: the first `count` were written.
            None => unsafe { Self::written(written) },
            Some(more) => {
                // SAFETY: as above. They have no destructor, so it does not matter that they stay there as well.
                let first = written.iter().map(|value| unsafe { value.assume_init_read() });
                Self::from_vec(first.chain([more]).chain(values).collect())
            }
        }
    }
}

impl From<&str> for Gc<str> {
    fn from(text: &str) -> Self {
        let bytes = Gc::<[u8]>::from_slice(text.as_bytes());
        // SAFETY: a copy of a str is a str, at the same address.
        unsafe { Gc::__unsize(bytes, |bytes| bytes as *mut str) }
    }
}

impl From<std::string::String> for Gc<str> {
    fn from(text: std::string::String) -> Self {
        Self::from(text.as_str())
    }
}

impl<T: Clone + 'static> From<&[T]> for Gc<[T]> {
    fn from(values: &[T]) -> Self {
        Self::from_slice(values)
    }
}

impl<T: 'static> From<std::vec::Vec<T>> for Gc<[T]> {
    fn from(values: std::vec::Vec<T>) -> Self {
        Self::from_vec(values)
    }
}

impl<T: 'static, const N: usize> From<[T; N]> for Gc<[T]> {
    fn from(values: [T; N]) -> Self {
        // SAFETY: a coercion, at the same address.
        unsafe { Gc::__unsize(Gc::new(values), |values| values as *mut [T]) }
    }
}

impl<T: 'static> From<T> for Gc<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Default + 'static> Default for Gc<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized> Deref for Gc<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the value lives as long as this pointer, or one derived from it, can be reached: whoever uses the reference has one of them where the collector sees it. Nobody has it mutably: there is
        // no way to get that.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> AsRef<T> for Gc<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized> Borrow<T> for Gc<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Gc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for Gc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: ?Sized> fmt::Pointer for Gc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&self.0, f)
    }
}

impl<T: ?Sized + PartialEq> PartialEq for Gc<T> {
    fn eq(&self, other: &Self) -> bool {
        T::eq(self, other)
    }
}

impl<T: ?Sized + Eq> Eq for Gc<T> {}

impl<T: ?Sized + PartialOrd> PartialOrd for Gc<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        T::partial_cmp(self, other)
    }
}

impl<T: ?Sized + Ord> Ord for Gc<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        T::cmp(self, other)
    }
}

impl<T: ?Sized + Hash> Hash for Gc<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        T::hash(self, state);
    }
}
