//! [`BTreeMap`]: a sorted vector of sorted blocks: a tree of two levels with a wide root.
//!
//! A block has 1 to [`FULL`] entries. Finding is a binary search for the block by its first key, and one inside. A block that is full is halved, which moves the rest of the root, 24 bytes a block: with a
//! million entries that is 20 ns an insertion on average. An empty one is taken out.

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::fmt;
use std::ops::{Bound, Index, RangeBounds};

use super::vec::Vec;

/// Entries of a block.
const FULL: usize = 256;

type Block<K, V> = Vec<(K, V)>;

/// [`std::collections::BTreeMap`] with collected storage and without destructor: a map in the order of its keys.
///
/// # Examples
///
/// ```
/// use greenroutine::gc;
///
/// let map: gc::BTreeMap<_, _> = [(3, "c"), (1, "a"), (2, "b")].into();
/// assert!(map.values().copied().eq(["a", "b", "c"]));
/// assert_eq!(map.range(2..).next(), Some((&2, &"b")));
/// ```
pub struct BTreeMap<K: 'static, V: 'static> {
    /// Sorted, and none is empty.
    blocks: Vec<Block<K, V>>,
    len: usize,
}

/// Where a key is, or would be.
#[derive(Clone, Copy)]
struct Place {
    block: usize,
    index: usize,
}

impl<K, V> BTreeMap<K, V> {
    /// Empty, without storage.
    pub const fn new() -> Self {
        Self { blocks: Vec::new(), len: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes all.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The entries in the order of keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.blocks.iter().flat_map(as_iter as fn(_) -> _))
    }

    /// The entries in the order of keys; values may be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        self.blocks.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in the order of keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The values in the order of keys, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// The entry of the least key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// The entry of the greatest key.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    /// Takes the entry of the least key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (self.len > 0).then(|| self.take(Place { block: 0, index: 0 }))
    }

    /// Takes the entry of the greatest key out.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        let block = self.blocks.len().checked_sub(1)?;
        Some(self.take(Place { block, index: self.blocks[block].len() - 1 }))
    }

    /// Keeps the entries for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.blocks.iter_mut().for_each(|block| block.retain_mut(|(key, value)| keep(key, value)));
        self.blocks.retain(|block| !block.is_empty());
        self.len = self.blocks.iter().map(|block| block.len()).sum();
    }

    fn take(&mut self, at: Place) -> (K, V) {
        self.len -= 1;
        let entry = self.blocks[at.block].remove(at.index);
        if self.blocks[at.block].is_empty() {
            self.blocks.remove(at.block);
        }
        entry
    }

    /// Puts an entry into its place. Returns where it is then.
    fn put(&mut self, at: Place, entry: (K, V)) -> Place {
        self.len += 1;
        let Some(block) = self.blocks.get_mut(at.block) else {
            self.blocks.push(Vec::from([entry]));
            return Place { block: self.blocks.len() - 1, index: 0 };
        };
        if block.len() < FULL {
            block.insert(at.index, entry);
            return at;
        }
        // In ascending order blocks stay full.
        let is_last = at.index == FULL && at.block + 1 == self.blocks.len();
        let half = if is_last { FULL } else { FULL / 2 };
        let block = &mut self.blocks[at.block];
        let upper = block.split_off(half);
        let lower = at.index < half;
        self.blocks.insert(at.block + 1, upper);
        let at = if lower { at } else { Place { block: at.block + 1, index: at.index - half } };
        self.blocks[at.block].insert(at.index, entry);
        at
    }

    /// Where the first entry is whose key is not `is_before`.
    fn partition(&self, is_before: impl Fn(&K) -> bool) -> Place {
        let after = self.blocks.partition_point(|block| block.first().is_some_and(|(key, _)| is_before(key)));
        let block = after.saturating_sub(1);
        let inside = |block: &Block<K, V>| block.partition_point(|(key, _)| is_before(key));
        Place { block, index: self.blocks.get(block).map_or(0, inside) }
    }

    /// The entry at a place, if it is not the end of its block.
    fn at(&self, at: Place) -> Option<&(K, V)> {
        self.blocks.get(at.block)?.get(at.index)
    }

    /// The same place, but the end of a block is the beginning of the next.
    fn normal(&self, at: Place) -> Place {
        match self.blocks.get(at.block) {
            Some(block) if at.index == block.len() => Place { block: at.block + 1, index: 0 },
            _ => at,
        }
    }
}

fn as_iter<K, V>(block: &Block<K, V>) -> std::slice::Iter<'_, (K, V)> {
    block.iter()
}

impl<K: Ord, V> BTreeMap<K, V> {
    /// The place of a key, and whether it is there. An end of a block, if all of it is less and all of the next is more.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> (Place, bool)
    where
        K: Borrow<Q>,
    {
        let at = self.partition(|other| other.borrow() < key);
        // The first of the next block may be the key.
        let next = self.normal(at);
        match self.at(next) {
            Some((other, _)) if other.borrow() == key => (next, true),
            _ => (at, false),
        }
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (at, is_there) = self.find(key);
        is_there.then(|| &self.blocks[at.block][at.index].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (at, is_there) = self.find(key);
        is_there.then(|| &mut self.blocks[at.block][at.index].1)
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).1
    }

    /// Sets the value of a key. Returns the one it had; the key stays the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (at, is_there) = self.find(&key);
        if is_there {
            return Some(std::mem::replace(&mut self.blocks[at.block][at.index].1, value));
        }
        self.put(at, (key, value));
        None
    }

    /// Takes a key out. Returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Takes a key out. Returns it and its value.
    pub fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let (at, is_there) = self.find(key);
        is_there.then(|| self.take(at))
    }

    /// The place of a key, occupied or vacant.
    pub fn entry(&mut self, key: K) -> BTreeEntry<'_, K, V> {
        let (at, is_there) = self.find(&key);
        BTreeEntry { map: self, key, at, is_there }
    }

    /// The entries whose keys are in a range, in order.
    ///
    /// # Panics
    ///
    /// If the range starts after its end.
    #[track_caller]
    pub fn range<Q: Ord + ?Sized>(
        &self,
        range: impl RangeBounds<Q>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        if let (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) =
            (range.start_bound(), range.end_bound())
        {
            assert!(from <= to, "the range starts after its end");
        }
        let from = match range.start_bound() {
            Bound::Unbounded => Place { block: 0, index: 0 },
            Bound::Included(key) => self.partition(|other| other.borrow() < key),
            Bound::Excluded(key) => self.partition(|other| other.borrow() <= key),
        };
        let to = match range.end_bound() {
            Bound::Unbounded => Place { block: self.blocks.len(), index: 0 },
            Bound::Included(key) => self.partition(|other| other.borrow() <= key),
            Bound::Excluded(key) => self.partition(|other| other.borrow() < key),
        };
        let (from, to) = (self.normal(from), self.normal(to));
        let last = (to.block + 1).min(self.blocks.len());
        let blocks = self.blocks.get(from.block..last).unwrap_or(&[]);
        blocks.iter().enumerate().flat_map(move |(offset, block)| {
            let number = from.block + offset;
            let start = if number == from.block { from.index } else { 0 };
            let end = if number == to.block { to.index } else { block.len() };
            block.get(start..end).unwrap_or(&[]).iter().map(|(key, value)| (key, value))
        })
    }
}

/// A key's place in a [`BTreeMap`], occupied or vacant: [`BTreeMap::entry`].
pub struct BTreeEntry<'a, K: 'static, V: 'static> {
    map: &'a mut BTreeMap<K, V>,
    key: K,
    at: Place,
    is_there: bool,
}

impl<'a, K, V> BTreeEntry<'a, K, V> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The value, or that of `value` if there was none.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The value, or what `make` makes if there was none.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        let at = if self.is_there { self.at } else { self.map.put(self.at, (self.key, make())) };
        &mut self.map.blocks[at.block][at.index].1
    }

    /// The value, or the default one if there was none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Changes the value, if there is one.
    pub fn and_modify(self, change: impl FnOnce(&mut V)) -> Self {
        if self.is_there {
            change(&mut self.map.blocks[self.at.block][self.at.index].1);
        }
        self
    }
}

/// The entries of a [`BTreeMap`] in the order of keys.
pub struct Iter<'a, K: 'static, V: 'static>(Pairs<'a, K, V>);

type InBlock<'a, K, V> = std::slice::Iter<'a, (K, V)>;
type Pairs<'a, K, V> = std::iter::FlatMap<
    std::slice::Iter<'a, Block<K, V>>,
    InBlock<'a, K, V>,
    fn(&'a Block<K, V>) -> InBlock<'a, K, V>,
>;

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key, value))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(key, value)| (key, value))
    }
}

impl<K, V> Default for BTreeMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone, V: Clone> Clone for BTreeMap<K, V> {
    fn clone(&self) -> Self {
        Self { blocks: self.blocks.clone(), len: self.len }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for BTreeMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for BTreeMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for BTreeMap<K, V> {}

impl<K: PartialOrd, V: PartialOrd> PartialOrd for BTreeMap<K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.iter().partial_cmp(other.iter())
    }
}

impl<K: Ord, V: Ord> Ord for BTreeMap<K, V> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.iter().cmp(other.iter())
    }
}

impl<K: std::hash::Hash, V: std::hash::Hash> std::hash::Hash for BTreeMap<K, V> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|entry| entry.hash(state));
    }
}

impl<K: Ord + Borrow<Q>, Q: Ord + ?Sized, V> Index<&Q> for BTreeMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("no entry found for key")
    }
}

impl<K: Ord, V> Extend<(K, V)> for BTreeMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(key, value)| {
            self.insert(key, value);
        });
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for BTreeMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for BTreeMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K, V> IntoIterator for BTreeMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Flatten<<Vec<Block<K, V>> as IntoIterator>::IntoIter>;

    fn into_iter(self) -> Self::IntoIter {
        self.blocks.into_iter().flatten()
    }
}

impl<'a, K, V> IntoIterator for &'a BTreeMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
