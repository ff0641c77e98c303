//! [`WeakMap`]: values that live as long as their keys do. The entries are in `reap`.

use std::fmt;
use std::marker::PhantomData;

use super::ptr::Gc;
use super::reap;
use crate::arch;

/// Says which map; an object of its own, so that the map's end is noticed.
struct Identity(#[expect(dead_code, reason = "it has an address because it has a size")] usize);

/// A map from collected values, by identity, to values that are kept alive only as long as map *and* key are: also if a value refers to its own key (the map is one of *ephemerons*). What JavaScript calls a
/// `WeakMap`: for facts about objects of which one is not the owner.
///
/// It may be shared, and lie in a [`Gc`]: it has no destructor. Entries of keys that are gone go with them.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, gc::WeakMap};
///
/// let names = WeakMap::new();
/// let (a, b) = (Gc::new(1), Gc::new(1));
/// names.insert(a, "first");
/// assert_eq!(names.get(a).as_deref(), Some(&"first"));
/// // By identity, not by value.
/// assert!(names.get(b).is_none());
/// ```
pub struct WeakMap<K: ?Sized + 'static, V: 'static> {
    identity: Gc<Identity>,
    of: PhantomData<(Gc<K>, Gc<V>)>,
}

fn address<T: ?Sized>(gc: Gc<T>) -> usize {
    Gc::as_ptr(gc).cast::<u8>() as usize
}

/// Until here these are alive, so an entry that was made of them is right.
fn keep(addresses: [usize; 3]) {
    addresses.into_iter().for_each(|address| {
        arch::opaque(address);
    });
}

fn value<V>(address: usize) -> Gc<V> {
    // SAFETY: only addresses of `Gc<V>`s are put into a map of `V`s, and this one was visible to the collector since the tables' lock was held.
    unsafe { Gc::from_ptr(address as *const V) }
}

impl<K: ?Sized + 'static, V: 'static> WeakMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self { identity: Gc::new(Identity(1)), of: PhantomData }
    }

    fn number(&self) -> usize {
        address(self.identity)
    }

    /// Sets the value of a key. Returns the one it had.
    pub fn insert(&self, key: Gc<K>, value: V) -> Option<Gc<V>> {
        self.set(key, Gc::new(value))
    }

    fn set(&self, key: Gc<K>, new: Gc<V>) -> Option<Gc<V>> {
        let old = reap::tables().set_entry(self.number(), address(key), address(new));
        keep([self.number(), address(key), address(new)]);
        old.map(value)
    }

    /// The value of a key.
    pub fn get(&self, key: Gc<K>) -> Option<Gc<V>> {
        reap::tables().entry(self.number(), address(key)).map(value)
    }

    /// The value of a key, made by `make` if it has none. If two do that at once, both get the value of one of them.
    pub fn get_or_insert_with(&self, key: Gc<K>, make: impl FnOnce() -> V) -> Gc<V> {
        if let Some(there) = self.get(key) {
            return there;
        }
        let new = Gc::new(make());
        let result = reap::tables().entry_or_set(self.number(), address(key), address(new));
        keep([self.number(), address(key), address(new)]);
        value(result)
    }

    /// Removes a key. Returns its value.
    pub fn remove(&self, key: Gc<K>) -> Option<Gc<V>> {
        reap::tables().remove_entry(self.number(), address(key)).map(value)
    }

    /// Whether the key has a value.
    pub fn contains_key(&self, key: Gc<K>) -> bool {
        self.get(key).is_some()
    }

    /// How many keys have values: those that are gone since the last cycle included. Takes time in proportion to all weak maps of the program.
    pub fn len(&self) -> usize {
        reap::tables().entries_of(self.number())
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: ?Sized + 'static, V: 'static> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: ?Sized + 'static, V: 'static> fmt::Debug for WeakMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakMap").field("len", &self.len()).finish_non_exhaustive()
    }
}
