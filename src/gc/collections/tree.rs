//! [`BTreeMap`]: a B-tree (Bayer, McCreight, 1972) with wide nodes. Its iterators are in `tree_iter`.
//!
//! ```text
//!   node   keys    k0    k1    k2          three vectors of its own: few cache lines to search
//!          values  v0    v1    v2
//!          edges e0    e1    e2    e3      none in a leaf; what is below e1 is between k0 and k1
//! ```
//!
//! A node has up to [`Node::FULL`] keys. Who looks for a place to insert at halves the full nodes on his way down, so there is always room for one key more above. Who removes fills up or merges, on his way
//! back, what has less than a quarter; the nodes at the greater end may have less, because where keys come in ascending order a full node keeps nearly all.

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::mem;
use std::ops::{Bound, Index, RangeBounds};

use super::tree_iter::{self, Cursor, IntoIter, Iter};
use super::vec::Vec;
use crate::gc::alloc;

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
    /// An empty leaf if there is no entry. All leaves are equally deep, and no other node is empty.
    root: Node<K, V>,
    len: usize,
}

/// See the file's documentation.
#[derive(Clone)]
pub(super) struct Node<K: 'static, V: 'static> {
    pub(super) keys: Vec<K>,
    pub(super) values: Vec<V>,
    /// One more than keys, or none.
    pub(super) edges: Vec<Self>,
}

impl<K, V> Node<K, V> {
    /// Keys of a node, at most: of 2 KiB with their values, which is what an insertion moves half of.
    const FULL: usize = {
        let count = 2048 / (size_of::<K>() + size_of::<V>() + 1);
        if count < 16 {
            16
        } else if count > 128 {
            128
        } else {
            count
        }
    };
    /// Keys of a node that was not filled in ascending order, at least.
    const FEW: usize = Self::FULL / 4;

    const fn empty() -> Self {
        Self { keys: Vec::new(), values: Vec::new(), edges: Vec::new() }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    #[inline(always)]
    pub(super) fn is_leaf(&self) -> bool {
        self.edges.is_empty()
    }

    #[inline(always)]
    pub(super) fn entry(&self, index: usize) -> (&K, &V) {
        (&self.keys[index], &self.values[index])
    }

    fn last_edge(&mut self) -> &mut Self {
        let last = self.edges.len() - 1;
        &mut self.edges[last]
    }

    /// Splits the full node at an edge in two, with a key of it between them: in the middle, or near the end.
    #[cold]
    #[inline(never)]
    fn split(&mut self, edge: usize, is_last: bool) {
        let lower = &mut self.edges[edge];
        let at = if is_last { Self::FULL - 2 } else { Self::FULL / 2 };
        let mut upper = Self {
            keys: Vec::with_capacity(Self::FULL),
            values: Vec::with_capacity(Self::FULL),
            edges: Vec::new(),
        };
        upper.keys.extend(lower.keys.drain(at + 1..));
        upper.values.extend(lower.values.drain(at + 1..));
        if !lower.is_leaf() {
            upper.edges = Vec::with_capacity(Self::FULL + 1);
            upper.edges.extend(lower.edges.drain(at + 1..));
        }
        if let (Some(key), Some(value)) = (lower.keys.pop(), lower.values.pop()) {
            self.keys.insert(edge, key);
            self.values.insert(edge, value);
            self.edges.insert(edge + 1, upper);
        }
    }

    /// Puts an entry into the leaf.
    #[inline]
    fn put(&mut self, index: usize, key: K, value: V) -> &mut V {
        self.keys.insert(index, key);
        self.values.insert(index, value);
        &mut self.values[index]
    }

    /// Takes an entry of the leaf out.
    fn take(&mut self, index: usize) -> (K, V) {
        (self.keys.remove(index), self.values.remove(index))
    }

    /// Takes an entry out, of the leaf or of a node above.
    fn take_any(&mut self, index: usize) -> (K, V) {
        if self.is_leaf() {
            return self.take(index);
        }
        // The one before it is in a leaf, and takes its place.
        let (key, value) = self.edges[index].take_last();
        let taken = (mem::replace(&mut self.keys[index], key), mem::replace(&mut self.values[index], value));
        self.fill_up(index);
        taken
    }

    fn take_first(&mut self) -> (K, V) {
        if self.is_leaf() {
            return self.take(0);
        }
        let taken = self.edges[0].take_first();
        self.fill_up(0);
        taken
    }

    fn take_last(&mut self) -> (K, V) {
        if self.is_leaf() {
            return self.take(self.len() - 1);
        }
        let taken = self.last_edge().take_last();
        self.fill_up(self.edges.len() - 1);
        taken
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        match self.search(key) {
            Ok(index) => Some(self.take_any(index)),
            Err(_) if self.is_leaf() => None,
            Err(edge) => {
                let taken = self.edges[edge].remove(key)?;
                self.fill_up(edge);
                Some(taken)
            }
        }
    }

    /// Gives the node at an edge more keys, of the one beside it, or merges the two, if it has few.
    #[inline]
    fn fill_up(&mut self, edge: usize) {
        if self.edges[edge].len() < Self::FEW {
            self.fill_up_now(edge);
        }
    }

    #[cold]
    #[inline(never)]
    fn fill_up_now(&mut self, edge: usize) {
        // The two on both sides of a key.
        let between = if edge > 0 { edge - 1 } else { 0 };
        if self.edges.len() < 2 {
            return;
        }
        let (lower, upper) = (self.edges[between].len(), self.edges[between + 1].len());
        if lower + upper < Self::FULL {
            return self.merge(between);
        }
        let half = (lower + upper) / 2;
        let [lower, upper] = &mut self.edges[between..between + 2] else { unreachable!("two of them") };
        let is_leaf = lower.is_leaf();
        if lower.len() < half {
            let count = half - lower.len();
            shift_down(&mut lower.keys, &mut self.keys[between], &mut upper.keys, count);
            shift_down(&mut lower.values, &mut self.values[between], &mut upper.values, count);
            if !is_leaf {
                lower.edges.extend(upper.edges.drain(..count));
            }
        } else if lower.len() > half {
            let count = lower.len() - half;
            shift_up(&mut lower.keys, &mut self.keys[between], &mut upper.keys, count, Self::FULL);
            shift_up(&mut lower.values, &mut self.values[between], &mut upper.values, count, Self::FULL);
            if !is_leaf {
                let mut edges = Vec::with_capacity(Self::FULL + 1);
                edges.extend(lower.edges.drain(half + 1..));
                edges.append(&mut upper.edges);
                mem::replace(&mut upper.edges, edges).give_back();
            }
        }
    }

    /// Merges the two nodes beside a key with it.
    fn merge(&mut self, between: usize) {
        let mut upper = self.edges.remove(between + 1);
        let (key, value) = (self.keys.remove(between), self.values.remove(between));
        let lower = &mut self.edges[between];
        lower.keys.push(key);
        lower.keys.append(&mut upper.keys);
        lower.values.push(value);
        lower.values.append(&mut upper.values);
        lower.edges.append(&mut upper.edges);
        upper.keys.give_back();
        upper.values.give_back();
        upper.edges.give_back();
    }

    #[inline(always)]
    fn search<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        search::<K>(self.keys.len(), |index| self.keys[index].borrow().cmp(key))
    }
}

/// Moves `count` elements of `upper` to `lower`, through the one between them.
fn shift_down<T>(lower: &mut Vec<T>, between: &mut T, upper: &mut Vec<T>, count: usize) {
    lower.push(mem::replace(between, upper.remove(count - 1)));
    lower.extend(upper.drain(..count - 1));
}

/// Moves `count` elements of `lower` to `upper`, through the one between them.
fn shift_up<T>(lower: &mut Vec<T>, between: &mut T, upper: &mut Vec<T>, count: usize, room: usize) {
    let mut all = Vec::with_capacity(room);
    let mut moved = lower.drain(lower.len() - count..);
    if let Some(first) = moved.next() {
        all.extend(moved);
        all.push(mem::replace(between, first));
    }
    all.append(upper);
    mem::replace(upper, all).give_back();
}

/// Keys between those that [`search`] compares first: about the root of how many there are.
const STEP: usize = 10;

/// Search among `count` keys of type `K`: where the one is that compares as equal, or would be.
#[inline(always)]
fn search<K: 'static>(count: usize, compare: impl Fn(usize) -> Ordering) -> Result<usize, usize> {
    let (mut from, mut left) = (0, count);
    if alloc::is_scanned::<K>() {
        // What a comparison needs lies behind a pointer: in steps that are guessed right until the last, so that the processor loads for the next ones meanwhile. Halving is guessed wrong every other time.
        while left > STEP && compare(from + STEP) != Ordering::Greater {
            (from, left) = (from + STEP, left - STEP);
        }
        for index in from..from + left.min(STEP) {
            match compare(index) {
                Ordering::Equal => return Ok(index),
                Ordering::Less => {}
                Ordering::Greater => return Err(index),
            }
        }
        return Err(from + left.min(STEP));
    }
    // No branch depends on what is compared: guesses are wrong every other time.
    if left == 0 {
        return Err(0);
    }
    while left > 1 {
        let half = left / 2;
        let is_after = compare(from + half) == Ordering::Greater;
        from = std::hint::select_unpredictable(is_after, from, from + half);
        left -= half;
    }
    match compare(from) {
        Ordering::Equal => Ok(from),
        Ordering::Less => Err(from + 1),
        Ordering::Greater => Err(from),
    }
}

impl<K, V> BTreeMap<K, V> {
    /// Empty, without storage.
    pub const fn new() -> Self {
        Self { root: Node::empty(), len: 0 }
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
        Iter::new(&self.root, self.len)
    }

    /// The entries in the order of keys; values may be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        tree_iter::all_mut(&mut self.root)
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.iter().map(|(key, _)| key)
    }

    /// The values in the order of keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.iter().map(|(_, value)| value)
    }

    /// The values in the order of keys, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// The entry of the least key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        let mut node = &self.root;
        while let Some(edge) = node.edges.first() {
            node = edge;
        }
        (node.len() > 0).then(|| node.entry(0))
    }

    /// The entry of the greatest key.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        let mut node = &self.root;
        while let Some(edge) = node.edges.last() {
            node = edge;
        }
        (node.len() > 0).then(|| node.entry(node.len() - 1))
    }

    /// Takes the entry of the least key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (self.len > 0).then(|| {
            let taken = self.root.take_first();
            self.count_taken();
            taken
        })
    }

    /// Takes the entry of the greatest key out.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        (self.len > 0).then(|| {
            let taken = self.root.take_last();
            self.count_taken();
            taken
        })
    }

    /// Keeps the entries for which `keep` is true. If `keep` panics, the map has those that were kept until then.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for (key, mut value) in mem::take(self) {
            if keep(&key, &mut value) {
                self.push_last(key, value);
            }
        }
    }

    /// Adds an entry whose key is greater than all.
    fn push_last(&mut self, key: K, value: V) {
        self.make_room(true);
        self.len += 1;
        let mut node = &mut self.root;
        while !node.is_leaf() {
            if node.last_edge().len() == Node::<K, V>::FULL {
                node.split(node.edges.len() - 1, true);
            }
            node = node.last_edge();
        }
        node.put(node.len(), key, value);
    }

    /// One entry was taken out.
    fn count_taken(&mut self) {
        self.len -= 1;
        if self.root.len() == 0
            && let Some(only) = self.root.edges.pop()
        {
            self.root = only;
        }
    }

    /// A full root becomes a node below a new one, and is split.
    #[inline]
    fn make_room(&mut self, is_last: bool) {
        if self.root.len() == Node::<K, V>::FULL {
            let old = mem::replace(&mut self.root, Node::empty());
            self.root.edges.push(old);
            self.root.split(0, is_last);
        }
    }
}

impl<K: Ord, V> BTreeMap<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// The key and the value of a key.
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let mut node = &self.root;
        loop {
            match node.search(key) {
                Ok(index) => return Some(node.entry(index)),
                Err(edge) => node = node.edges.get(edge)?,
            }
        }
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let mut node = &mut self.root;
        loop {
            match node.search(key) {
                Ok(index) => return Some(&mut node.values[index]),
                Err(edge) => node = node.edges.get_mut(edge)?,
            }
        }
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).is_some()
    }

    /// Sets the value of a key. Returns the one it had; the key stays the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (place, len) = self.place_of(&key);
        match place {
            Place::Occupied(old) => Some(mem::replace(old, value)),
            Place::Vacant { leaf, index } => {
                *len += 1;
                leaf.put(index, key, value);
                None
            }
        }
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
        let taken = self.root.remove(key)?;
        self.count_taken();
        Some(taken)
    }

    /// The place of a key, occupied or vacant.
    pub fn entry(&mut self, key: K) -> BTreeEntry<'_, K, V> {
        let (place, len) = self.place_of(&key);
        BTreeEntry { key, place, len }
    }

    /// The place of a key, with room for it, and the map's length.
    #[inline]
    fn place_of(&mut self, key: &K) -> (Place<'_, K, V>, &mut usize) {
        let is_last = |node: &Node<K, V>| node.keys.last().is_some_and(|last| last < key);
        if self.root.len() == Node::<K, V>::FULL {
            self.make_room(is_last(&self.root));
        }
        let mut node = &mut self.root;
        let place = loop {
            match node.search(key) {
                Ok(index) => break Place::Occupied(&mut node.values[index]),
                Err(index) if node.is_leaf() => break Place::Vacant { leaf: node, index },
                Err(mut edge) => {
                    if node.edges[edge].len() == Node::<K, V>::FULL {
                        node.split(edge, edge == node.len() && is_last(&node.edges[edge]));
                        match node.keys[edge].cmp(key) {
                            Ordering::Less => edge += 1,
                            Ordering::Equal => break Place::Occupied(&mut node.values[edge]),
                            Ordering::Greater => {}
                        }
                    }
                    node = &mut node.edges[edge];
                }
            }
        };
        (place, &mut self.len)
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
        let before = |key: &Q| Cursor::seek(&self.root, |other: &K| other.borrow() < key);
        let after = |key: &Q| Cursor::seek(&self.root, |other: &K| other.borrow() <= key);
        let from = match range.start_bound() {
            Bound::Unbounded => Cursor::first(&self.root),
            Bound::Included(key) => before(key),
            Bound::Excluded(key) => after(key),
        };
        let to = match range.end_bound() {
            Bound::Unbounded => Cursor::end(&self.root),
            Bound::Included(key) => after(key),
            // Both excluded, and equal: nothing is between.
            Bound::Excluded(key) if matches!(range.start_bound(), Bound::Excluded(from) if from == key) => {
                after(key)
            }
            Bound::Excluded(key) => before(key),
        };
        tree_iter::Range { from, to }
    }
}

/// Where a key is, or may be put.
enum Place<'a, K: 'static, V: 'static> {
    Occupied(&'a mut V),
    Vacant { leaf: &'a mut Node<K, V>, index: usize },
}

/// A key's place in a [`BTreeMap`], occupied or vacant: [`BTreeMap::entry`].
pub struct BTreeEntry<'a, K: 'static, V: 'static> {
    key: K,
    place: Place<'a, K, V>,
    /// The map's.
    len: &'a mut usize,
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
        match self.place {
            Place::Occupied(value) => value,
            Place::Vacant { leaf, index } => {
                let value = make();
                *self.len += 1;
                leaf.put(index, self.key, value)
            }
        }
    }

    /// The value, or the default one if there was none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Changes the value, if there is one.
    pub fn and_modify(mut self, change: impl FnOnce(&mut V)) -> Self {
        if let Place::Occupied(value) = &mut self.place {
            change(value);
        }
        self
    }
}

impl<K, V> Default for BTreeMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone, V: Clone> Clone for BTreeMap<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
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
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.iter().partial_cmp(other.iter())
    }
}

impl<K: Ord, V: Ord> Ord for BTreeMap<K, V> {
    fn cmp(&self, other: &Self) -> Ordering {
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
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> IntoIter<K, V> {
        IntoIter::new(self.root, self.len)
    }
}

impl<'a, K, V> IntoIterator for &'a BTreeMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
