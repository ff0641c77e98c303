//! [`Vec`].

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut, RangeBounds};

use allocator_api2::vec;

use super::storage::Collected;

/// [`std::vec::Vec`] with collected storage and without destructor.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, gc, sync::Mutex};
///
/// struct Node {
///     name: &'static str,
///     links: Mutex<gc::Vec<Gc<Node>>>,
/// }
///
/// let a = Gc::new(Node { name: "a", links: Mutex::new(gc::Vec::new()) });
/// let b = Gc::new(Node { name: "b", links: Mutex::new(gc::Vec::from([a])) });
/// a.links.lock().push(b);
/// assert_eq!(a.links.lock()[0].links.lock()[0].name, "a");
/// ```
///
/// Elements have no destructor:
///
/// ```compile_fail
/// greenroutine::gc::Vec::<String>::new();
/// ```
pub struct Vec<T: 'static> {
    inner: ManuallyDrop<Inner<T>>,
}

type Inner<T> = vec::Vec<T, Collected<T>>;

impl<T: 'static> Vec<T> {
    /// Empty, without storage.
    pub const fn new() -> Self {
        Self { inner: ManuallyDrop::new(vec::Vec::new_in(Collected::new())) }
    }

    /// Empty, with room for `capacity` elements.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { inner: ManuallyDrop::new(vec::Vec::with_capacity_in(capacity, Collected::new())) }
    }

    /// Elements there is room for.
    pub fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    /// Makes room for `additional` elements more.
    pub fn reserve(&mut self, additional: usize) {
        self.inner.reserve(additional);
    }

    /// Makes the storage as small as the elements allow.
    pub fn shrink_to_fit(&mut self) {
        self.inner.shrink_to_fit();
    }

    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        &self.inner
    }

    /// The elements.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.inner
    }

    /// Appends an element.
    #[inline]
    pub fn push(&mut self, value: T) {
        if self.inner.len() == self.inner.capacity() {
            self.make_room(1);
        }
        // SAFETY: there is room.
        unsafe { self.push_within(value) };
    }

    /// # Safety
    ///
    /// - There is room for an element.
    #[inline(always)]
    unsafe fn push_within(&mut self, value: T) {
        let len = self.inner.len();
        debug_assert!(len < self.inner.capacity(), "the caller has made room");
        // SAFETY: the place after the last element, inside the storage.
        let place = unsafe { self.inner.as_mut_ptr().add(len) };
        // SAFETY: as above.
        unsafe { place.write(value) };
        // SAFETY: it is written.
        unsafe { self.inner.set_len(len + 1) };
    }

    /// Gives the storage back without waiting for the sweep.
    pub(super) fn give_back(self) {
        drop(ManuallyDrop::into_inner(self.inner));
    }

    /// Says how many elements there are.
    ///
    /// # Safety
    ///
    /// - There is room for as many, and they are written.
    #[inline]
    pub(super) unsafe fn set_len(&mut self, len: usize) {
        // SAFETY: passed on.
        unsafe { self.inner.set_len(len) };
    }

    /// As [`Vec::reserve`]. Never inlined: the vector below is inlined up to the copying of its elements, and then nothing around it is.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, additional: usize) {
        self.inner.reserve(additional);
    }

    /// Appends what `values` has, of which there are no more than `count`; there is room for them.
    ///
    /// # Safety
    ///
    /// - There is room for `count` elements.
    #[inline(always)]
    unsafe fn extend_within(&mut self, count: usize, values: impl Iterator<Item = T>) {
        let len = self.inner.len();
        debug_assert!(count <= self.inner.capacity() - len, "the caller has made room");
        // SAFETY: the place after the last element.
        let places = unsafe { self.inner.as_mut_ptr().add(len) }.cast::<MaybeUninit<T>>();
        // SAFETY: inside the storage, and nobody else's.
        let places = unsafe { std::slice::from_raw_parts_mut(places, count) };
        let mut written = 0;
        // A panic in between forgets what was written: it has no destructor.
        for (place, value) in places.iter_mut().zip(values) {
            place.write(value);
            written += 1;
        }
        // SAFETY: they are written.
        unsafe { self.inner.set_len(len + written) };
    }

    /// Takes the last element.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        self.inner.pop()
    }

    /// Inserts an element before the one at `index`.
    ///
    /// # Panics
    ///
    /// If `index` is beyond the end.
    #[track_caller]
    pub fn insert(&mut self, index: usize, value: T) {
        self.inner.insert(index, value);
    }

    /// Takes the element at `index` out; those after it move up.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn remove(&mut self, index: usize) -> T {
        self.inner.remove(index)
    }

    /// Takes the element at `index` out; the last one takes its place.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn swap_remove(&mut self, index: usize) -> T {
        self.inner.swap_remove(index)
    }

    /// Keeps the first `len` elements.
    pub fn truncate(&mut self, len: usize) {
        self.inner.truncate(len);
    }

    /// Removes all elements; the storage stays.
    pub fn clear(&mut self) {
        self.inner.clear();
    }

    /// Appends copies of a slice's elements.
    pub fn extend_from_slice(&mut self, values: &[T])
    where
        T: Clone,
    {
        if values.len() > self.inner.capacity() - self.inner.len() {
            self.make_room(values.len());
        }
        // SAFETY: there is room for as many as the slice has.
        unsafe { self.extend_within(values.len(), values.iter().cloned()) };
    }

    /// Moves all elements of another one to the end.
    pub fn append(&mut self, other: &mut Self) {
        self.inner.append(&mut other.inner);
    }

    /// The elements from `at` on as a vector of their own.
    ///
    /// # Panics
    ///
    /// If `at` is beyond the end.
    #[track_caller]
    #[must_use = "the elements are gone with the result; `truncate` drops them"]
    pub fn split_off(&mut self, at: usize) -> Self {
        Self { inner: ManuallyDrop::new(self.inner.split_off(at)) }
    }

    /// Makes it `len` long, with copies of `value` at the end.
    pub fn resize(&mut self, len: usize, value: T)
    where
        T: Clone,
    {
        self.inner.resize(len, value);
    }

    /// Keeps the elements for which `keep` is true.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.inner.retain(keep);
    }

    /// As [`Vec::retain`], and the elements may be changed.
    pub fn retain_mut(&mut self, keep: impl FnMut(&mut T) -> bool) {
        self.inner.retain_mut(keep);
    }

    /// Removes neighbours that are equal but for the first.
    pub fn dedup(&mut self)
    where
        T: PartialEq,
    {
        self.inner.dedup();
    }

    /// Removes a range and gives its elements.
    ///
    /// # Panics
    ///
    /// If the range is not inside.
    #[track_caller]
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> vec::Drain<'_, T, Collected<T>> {
        self.inner.drain(range)
    }
}

impl<T> Deref for Vec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.inner
    }
}

impl<T> DerefMut for Vec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.inner
    }
}

impl<T> Default for Vec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Clone for Vec<T> {
    fn clone(&self) -> Self {
        Self::from(self.as_slice())
    }
}

impl<T: fmt::Debug> fmt::Debug for Vec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// Equality with what is a slice as well.
macro_rules! equals {
    ($([$($generics:tt)*] $other:ty;)*) => {
        $(impl<T: PartialEq<U>, U, $($generics)*> PartialEq<$other> for Vec<T> {
            fn eq(&self, other: &$other) -> bool {
                self.as_slice() == &other[..]
            }
        })*
    };
}

equals! {
    [] Vec<U>;
    [] std::vec::Vec<U>;
    [] [U];
    [] &[U];
    [const N: usize] [U; N];
    [const N: usize] &[U; N];
}

impl<T: Eq> Eq for Vec<T> {}

impl<T: PartialOrd> PartialOrd for Vec<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.as_slice().partial_cmp(other.as_slice())
    }
}

impl<T: Ord> Ord for Vec<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl<T: Hash> Hash for Vec<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl<T> AsRef<[T]> for Vec<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T> AsMut<[T]> for Vec<T> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T> Borrow<[T]> for Vec<T> {
    fn borrow(&self) -> &[T] {
        self
    }
}

impl<T> Extend<T> for Vec<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        let mut values = values.into_iter();
        loop {
            // What an iterator says of its length need not be true: it decides how much room is made, not how much is used.
            let least = values.size_hint().0;
            if least > self.inner.capacity() - self.inner.len() {
                self.make_room(least);
            }
            // As many as there are at least, where that is known: then the loop's two ends are one to the compiler.
            let count = if least > 0 { least } else { self.inner.capacity() - self.inner.len() };
            // SAFETY: there is room for that many.
            unsafe { self.extend_within(count, values.by_ref()) };
            // `zip` asks for a place first, so nothing was taken that has none.
            let Some(more) = values.next() else { return };
            self.push(more);
        }
    }
}

impl<'a, T: Copy> Extend<&'a T> for Vec<T> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, values: I) {
        self.extend(values.into_iter().copied());
    }
}

impl<T> FromIterator<T> for Vec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut all = Self::new();
        all.extend(values);
        all
    }
}

impl<T: Clone> From<&[T]> for Vec<T> {
    fn from(values: &[T]) -> Self {
        let mut all = Self::with_capacity(values.len());
        all.extend_from_slice(values);
        all
    }
}

impl<T, const N: usize> From<[T; N]> for Vec<T> {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

impl<T> From<std::vec::Vec<T>> for Vec<T> {
    fn from(values: std::vec::Vec<T>) -> Self {
        values.into_iter().collect()
    }
}

impl<T> IntoIterator for Vec<T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T, Collected<T>>;

    fn into_iter(self) -> Self::IntoIter {
        ManuallyDrop::into_inner(self.inner).into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Vec<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Vec<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}
