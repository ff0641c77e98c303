//! [`HashMap`].

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::mem::ManuallyDrop;
use std::ops::Index;

use hashbrown::hash_map as table;

use super::storage::Collected;

/// An occupied or vacant place of a [`HashMap`]: hashbrown's.
pub type Entry<'a, K, V, S = RandomState> = table::Entry<'a, K, V, S, Collected<K, V>>;

type Inner<K, V, S> = hashbrown::HashMap<K, V, S, Collected<K, V>>;

/// [`std::collections::HashMap`] with collected storage and without destructor. The table is hashbrown's, as is std's.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, gc};
///
/// let mut counts = gc::HashMap::new();
/// for word in "a rose is a rose".split(' ') {
///     *counts.entry(Gc::<str>::from(word)).or_insert(0) += 1;
/// }
/// assert_eq!(counts["rose"], 2);
/// ```
pub struct HashMap<K: 'static, V: 'static, S = RandomState> {
    inner: ManuallyDrop<Inner<K, V, S>>,
}

impl<K, V> HashMap<K, V> {
    /// Empty, without storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty, with room for `capacity` entries.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity_and_hasher(capacity, RandomState::new())
    }
}

impl<K, V, S> HashMap<K, V, S> {
    /// Empty, with a hasher.
    pub fn with_hasher(hasher: S) -> Self {
        Self::with_capacity_and_hasher(0, hasher)
    }

    /// Empty, with room for `capacity` entries and a hasher.
    pub fn with_capacity_and_hasher(capacity: usize, hasher: S) -> Self {
        const { crate::gc::alloc::assert_no_destructor::<S>() };
        let inner = hashbrown::HashMap::with_capacity_and_hasher_in(capacity, hasher, Collected::new());
        Self { inner: ManuallyDrop::new(inner) }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Entries there is room for.
    pub fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    /// Removes all; the storage stays.
    pub fn clear(&mut self) {
        self.inner.clear();
    }

    /// The entries, in any order.
    pub fn iter(&self) -> table::Iter<'_, K, V> {
        self.inner.iter()
    }

    /// The entries, in any order; values may be changed.
    pub fn iter_mut(&mut self) -> table::IterMut<'_, K, V> {
        self.inner.iter_mut()
    }

    /// The keys, in any order.
    pub fn keys(&self) -> table::Keys<'_, K, V> {
        self.inner.keys()
    }

    /// The values, in any order.
    pub fn values(&self) -> table::Values<'_, K, V> {
        self.inner.values()
    }

    /// The values, in any order, to be changed.
    pub fn values_mut(&mut self) -> table::ValuesMut<'_, K, V> {
        self.inner.values_mut()
    }

    /// Takes all entries out.
    pub fn drain(&mut self) -> table::Drain<'_, K, V, Collected<K, V>> {
        self.inner.drain()
    }

    /// Keeps the entries for which `keep` is true.
    pub fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        self.inner.retain(keep);
    }

    /// The hasher.
    pub fn hasher(&self) -> &S {
        self.inner.hasher()
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> HashMap<K, V, S> {
    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.inner.get(key)
    }

    /// The key and the value of a key.
    pub fn get_key_value<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.inner.get_key_value(key)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.inner.get_mut(key)
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Sets the value of a key. Returns the one it had; the key stays the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.inner.insert(key, value)
    }

    /// Takes a key out. Returns its value.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.inner.remove(key)
    }

    /// Takes a key out. Returns it and its value.
    pub fn remove_entry<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.inner.remove_entry(key)
    }

    /// The place of a key, occupied or vacant.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V, S> {
        self.inner.entry(key)
    }

    /// Makes room for `additional` entries more.
    pub fn reserve(&mut self, additional: usize) {
        self.inner.reserve(additional);
    }

    /// Makes the storage as small as the entries allow.
    pub fn shrink_to_fit(&mut self) {
        self.inner.shrink_to_fit();
    }
}

impl<K, V, S: Default> Default for HashMap<K, V, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K: Clone, V: Clone, S: Clone> Clone for HashMap<K, V, S> {
    fn clone(&self) -> Self {
        Self { inner: ManuallyDrop::new(Inner::clone(&self.inner)) }
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for HashMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Eq + Hash, V: PartialEq, S: BuildHasher> PartialEq for HashMap<K, V, S> {
    fn eq(&self, other: &Self) -> bool {
        Inner::eq(&self.inner, &other.inner)
    }
}

impl<K: Eq + Hash, V: Eq, S: BuildHasher> Eq for HashMap<K, V, S> {}

impl<K: Eq + Hash + Borrow<Q>, Q: Eq + Hash + ?Sized, V, S: BuildHasher> Index<&Q> for HashMap<K, V, S> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("no entry found for key")
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Extend<(K, V)> for HashMap<K, V, S> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        self.inner.extend(entries);
    }
}

impl<K: Eq + Hash, V, S: BuildHasher + Default> FromIterator<(K, V)> for HashMap<K, V, S> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        map.extend(entries);
        map
    }
}

impl<K: Eq + Hash, V, const N: usize> From<[(K, V); N]> for HashMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K, V, S> IntoIterator for HashMap<K, V, S> {
    type Item = (K, V);
    type IntoIter = table::IntoIter<K, V, Collected<K, V>>;

    fn into_iter(self) -> Self::IntoIter {
        ManuallyDrop::into_inner(self.inner).into_iter()
    }
}

impl<'a, K, V, S> IntoIterator for &'a HashMap<K, V, S> {
    type Item = (&'a K, &'a V);
    type IntoIter = table::Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, K, V, S> IntoIterator for &'a mut HashMap<K, V, S> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = table::IterMut<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}
