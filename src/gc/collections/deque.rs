//! [`VecDeque`]: a vector with room on both sides, so its elements are always one slice.
//!
//! ```text
//!   room  .  .  .  a  b  c  d  .  .
//!                  head        tail
//! ```
//!
//! When one side is full the elements move to where three quarters of the free room are on that side, in a room twice as large if they fill more than half of this one: so each push moves a constant number of
//! elements on average, and a queue that is pushed to at one side mostly has its room there. Room that is not in use is zeroed where the marker reads it, so that what was taken out is not kept alive.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr;

use super::vec::Vec;
use crate::gc::alloc::{self, Place};

/// [`std::collections::VecDeque`] with collected storage and without destructor. Its elements are always one slice, to which it dereferences.
///
/// # Examples
///
/// ```
/// use greenroutine::gc;
///
/// let mut queue: gc::VecDeque<u32> = (1..4).collect();
/// queue.push_front(0);
/// assert_eq!(queue.pop_back(), Some(3));
/// assert_eq!(queue[..], [0, 1, 2]);
/// ```
pub struct VecDeque<T: 'static> {
    /// Those from `head` to `tail` are written.
    room: Vec<Place<T>>,
    head: usize,
    tail: usize,
}

/// Places of a room, at least.
const LEAST: usize = 8;

impl<T: 'static> VecDeque<T> {
    /// Empty, without storage.
    pub const fn new() -> Self {
        const { alloc::assert_no_destructor::<T>() };
        Self { room: Vec::new(), head: 0, tail: 0 }
    }

    /// Empty, with room for `capacity` elements at the back.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { room: room(capacity), ..Self::new() }
    }

    /// Appends an element.
    #[inline]
    pub fn push_back(&mut self, value: T) {
        if self.tail >= self.room.len() {
            self.make_room(1);
        }
        self.room[self.tail].0.write(value);
        self.tail += 1;
    }

    /// Puts an element before the first.
    #[inline]
    pub fn push_front(&mut self, value: T) {
        if self.head == 0 {
            self.make_room(3);
        }
        self.head -= 1;
        self.room[self.head].0.write(value);
    }

    /// Takes the last element.
    #[inline]
    pub fn pop_back(&mut self) -> Option<T> {
        (self.head < self.tail).then(|| {
            self.tail -= 1;
            self.take(self.tail)
        })
    }

    /// Takes the first element.
    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        (self.head < self.tail).then(|| {
            self.head += 1;
            self.take(self.head - 1)
        })
    }

    /// Takes what is in a place, which `head` and `tail` do not count any more.
    #[inline]
    fn take(&mut self, at: usize) -> T {
        let place = &mut self.room[at];
        // SAFETY: callers have just moved `head` or `tail` over this place, so it was written; and they do not move back over it without writing it, so it is given out once.
        let value = unsafe { place.0.assume_init_read() };
        if alloc::is_scanned::<T>() {
            *place = Place::zeroed();
        }
        value
    }

    /// Zeroes places that hold nothing any more.
    fn wipe(&mut self, places: Range<usize>) {
        if alloc::is_scanned::<T>() {
            self.room[places].fill_with(Place::zeroed);
        }
    }

    /// Moves the elements to where `quarters` of the free room are before them.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, quarters: usize) {
        let (len, old) = (self.tail - self.head, self.room.len());
        let size = if len * 2 < old && old >= LEAST { old } else { (old * 2).max(LEAST) };
        // At least four places are free, so there is one on each side.
        let head = (size - len) * quarters / 4;
        let (from, to) = (self.head..self.tail, head..head + len);
        let source = self.room.as_mut_ptr().wrapping_add(from.start);
        if size == old {
            let target = self.room.as_mut_ptr().wrapping_add(to.start);
            // SAFETY: both are `len` places of the room; what is copied is not used where it was any more.
            unsafe { source.copy_to(target, len) };
            // What is left of the old place.
            self.wipe(from.start..from.end.min(to.start).max(from.start));
            self.wipe(from.start.max(to.end).min(from.end)..from.end);
        } else {
            let mut room = room(size);
            let target = room.as_mut_ptr().wrapping_add(to.start);
            // SAFETY: `len` places of the old room, and as many of the new one.
            unsafe { source.copy_to_nonoverlapping(target, len) };
            std::mem::replace(&mut self.room, room).give_back();
        }
        (self.head, self.tail) = (to.start, to.end);
    }

    /// Removes all elements; the storage stays.
    pub fn clear(&mut self) {
        self.wipe(self.head..self.tail);
        (self.head, self.tail) = (self.room.len() / 2, self.room.len() / 2);
    }

    /// Takes the element at `index` out; those after it move up. None if there is none.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        self.get(index)?;
        self[index..].rotate_left(1);
        self.pop_back()
    }

    /// Inserts an element before the one at `index`.
    ///
    /// # Panics
    ///
    /// If `index` is beyond the end.
    #[track_caller]
    pub fn insert(&mut self, index: usize, value: T) {
        assert!(index <= self.len(), "index {index} is beyond the end: there are {} elements", self.len());
        self.push_back(value);
        self[index..].rotate_right(1);
    }

    /// Keeps the first `len` elements.
    pub fn truncate(&mut self, len: usize) {
        while self.len() > len {
            self.pop_back();
        }
    }

    /// Keeps the elements for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for _ in 0..self.len() {
            if let Some(value) = self.pop_front()
                && keep(&value)
            {
                self.push_back(value);
            }
        }
    }

    /// The first element.
    pub fn front(&self) -> Option<&T> {
        self.first()
    }

    /// The last element.
    pub fn back(&self) -> Option<&T> {
        self.last()
    }

    /// Takes all elements out, first to last.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.pop_front())
    }
}

/// Places for `size` elements, which read as zero where the marker reads them.
fn room<T: 'static>(size: usize) -> Vec<Place<T>> {
    let mut room = Vec::with_capacity(size);
    // SAFETY: there is room for as many, and places need not be written.
    unsafe { room.set_len(size) };
    room
}

impl<T> Deref for VecDeque<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let written = ptr::from_ref(&self.room[self.head..self.tail]) as *const [T];
        // SAFETY: these are written, and a place is laid out as what is in it.
        unsafe { &*written }
    }
}

impl<T> DerefMut for VecDeque<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let written = ptr::from_mut(&mut self.room[self.head..self.tail]) as *mut [T];
        // SAFETY: as above, and the room is borrowed exclusively.
        unsafe { &mut *written }
    }
}

impl<T> Default for VecDeque<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Clone for VecDeque<T> {
    fn clone(&self) -> Self {
        self.iter().cloned().collect()
    }
}

impl<T: fmt::Debug> fmt::Debug for VecDeque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: PartialEq> PartialEq for VecDeque<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for VecDeque<T> {}

impl<T: PartialOrd> PartialOrd for VecDeque<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: Ord> Ord for VecDeque<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: std::hash::Hash> std::hash::Hash for VecDeque<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T> Extend<T> for VecDeque<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push_back(value));
    }
}

impl<T> FromIterator<T> for VecDeque<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut all = Self::new();
        all.extend(values);
        all
    }
}

impl<T, const N: usize> From<[T; N]> for VecDeque<T> {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

/// The elements of a [`VecDeque`], taken out from both ends.
pub struct IntoIter<T: 'static>(VecDeque<T>);

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl<T> DoubleEndedIterator for IntoIter<T> {
    fn next_back(&mut self) -> Option<T> {
        self.0.pop_back()
    }
}

impl<T> ExactSizeIterator for IntoIter<T> {}

impl<T> IntoIterator for VecDeque<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}

impl<'a, T> IntoIterator for &'a VecDeque<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut VecDeque<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}
