//! The iterators of [`BTreeMap`](super::tree::BTreeMap): a place in the tree with the way to it, which moves in both directions ([`Cursor`]); and for what is changed or moved out, the nodes' runs one after the other.

#![forbid(unsafe_code)]

use super::tree::Node;
use super::vec::Vec;

/// Levels of a tree: each node but those at the greater end has five edges or more, so this is more than memory has room for.
const DEPTH: usize = 24;

/// The place of an entry, or the end: after the last key of the root.
pub(super) struct Cursor<'a, K: 'static, V: 'static> {
    node: &'a Node<K, V>,
    index: usize,
    /// The nodes above, each with the edge that leads on.
    above: [Option<(&'a Node<K, V>, usize)>; DEPTH],
    depth: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    pub(super) fn end(root: &'a Node<K, V>) -> Self {
        Self { node: root, index: root.len(), above: [None; DEPTH], depth: 0 }
    }

    pub(super) fn first(root: &'a Node<K, V>) -> Self {
        let mut cursor = Self { node: root, index: 0, above: [None; DEPTH], depth: 0 };
        cursor.descend(|_| 0);
        cursor
    }

    /// The first entry that `is_before` does not hold for, or the end.
    pub(super) fn seek(root: &'a Node<K, V>, is_before: impl Fn(&K) -> bool) -> Self {
        let place = |node: &Node<K, V>| node.keys.partition_point(|key| is_before(key));
        let mut cursor = Self { node: root, index: place(root), above: [None; DEPTH], depth: 0 };
        cursor.descend(place);
        cursor.settle();
        cursor
    }

    /// Goes down from the edge at hand to a leaf; `place` says where in each node.
    fn descend(&mut self, place: impl Fn(&Node<K, V>) -> usize) {
        while let Some(edge) = self.node.edges.get(self.index) {
            self.above[self.depth] = Some((self.node, self.index));
            self.depth += 1;
            (self.node, self.index) = (edge, place(edge));
        }
    }

    /// From the end of a leaf to the entry after it.
    fn settle(&mut self) {
        while self.index == self.node.len() && self.depth > 0 {
            self.ascend();
        }
    }

    fn ascend(&mut self) {
        self.depth -= 1;
        if let Some(above) = self.above[self.depth] {
            (self.node, self.index) = above;
        }
    }

    /// The entry here, of which the cursor then is behind. Not at the end.
    #[inline]
    fn next(&mut self) -> (&'a K, &'a V) {
        let entry = self.node.entry(self.index);
        self.index += 1;
        if !self.node.is_leaf() || self.index == self.node.len() {
            self.next_node();
        }
        entry
    }

    #[inline(never)]
    fn next_node(&mut self) {
        self.descend(|_| 0);
        self.settle();
    }

    /// The entry before, at which the cursor then is. Not at the beginning.
    #[inline]
    fn next_back(&mut self) -> (&'a K, &'a V) {
        if !self.node.is_leaf() || self.index == 0 {
            self.previous_node();
        }
        self.index -= 1;
        self.node.entry(self.index)
    }

    #[inline(never)]
    fn previous_node(&mut self) {
        self.descend(Node::len);
        while self.index == 0 && self.depth > 0 {
            self.ascend();
        }
    }

    fn is_at(&self, other: &Self) -> bool {
        std::ptr::eq(self.node, other.node) && self.index == other.index
    }
}

/// The entries from one place to another.
pub(super) struct Range<'a, K: 'static, V: 'static> {
    pub(super) from: Cursor<'a, K, V>,
    pub(super) to: Cursor<'a, K, V>,
}

impl<'a, K, V> Iterator for Range<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        (!self.from.is_at(&self.to)).then(|| self.from.next())
    }
}

impl<K, V> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        (!self.from.is_at(&self.to)).then(|| self.to.next_back())
    }
}

/// The entries of a [`BTreeMap`](super::tree::BTreeMap) in the order of keys.
pub struct Iter<'a, K: 'static, V: 'static> {
    root: &'a Node<K, V>,
    /// Entries that are still to come, without those of `run`.
    left: usize,
    /// What comes first: the rest of the leaf at hand.
    run: Run<std::slice::Iter<'a, K>, std::slice::Iter<'a, V>>,
    /// None until they are used.
    from: Option<Cursor<'a, K, V>>,
    to: Option<Cursor<'a, K, V>>,
}

impl<'a, K, V> Iter<'a, K, V> {
    pub(super) fn new(root: &'a Node<K, V>, len: usize) -> Self {
        Self { root, left: len, run: [].iter().zip([].iter()), from: None, to: None }
    }

    /// The next entry, which is not of the leaf at hand.
    #[inline(never)]
    fn next_run(&mut self) -> Option<(&'a K, &'a V)> {
        self.left = self.left.checked_sub(1)?;
        let from = self.from.get_or_insert_with(|| Cursor::first(self.root));
        let entry = from.next();
        if from.node.is_leaf() {
            // Not what was taken from behind.
            let end = from.node.len().min(from.index + self.left);
            self.left -= end - from.index;
            self.run = from.node.keys[from.index..end].iter().zip(from.node.values[from.index..end].iter());
            from.index = from.node.len();
            from.settle();
        }
        Some(entry)
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.run.next().or_else(|| self.next_run())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.left + self.run.len();
        (left, Some(left))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return self.run.next_back();
        }
        self.left -= 1;
        Some(self.to.get_or_insert_with(|| Cursor::end(self.root)).next_back())
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}

/// What comes one after the other: a leaf's entries, or one of a node above.
type Run<Keys, Values> = std::iter::Zip<Keys, Values>;

type RunMut<'a, K, V> = Run<std::slice::Iter<'a, K>, std::slice::IterMut<'a, V>>;

/// All entries, values to be changed.
pub(super) fn all_mut<K, V>(root: &mut Node<K, V>) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
    let mut runs = std::vec::Vec::new();
    add_mut(root, &mut runs);
    runs.into_iter().flatten()
}

fn add_mut<'a, K, V>(node: &'a mut Node<K, V>, runs: &mut std::vec::Vec<RunMut<'a, K, V>>) {
    if node.is_leaf() {
        return runs.push(node.keys.iter().zip(node.values.iter_mut()));
    }
    let (mut keys, mut values) = (node.keys.chunks(1), node.values.chunks_mut(1));
    for edge in &mut node.edges {
        add_mut(edge, runs);
        if let (Some(key), Some(value)) = (keys.next(), values.next()) {
            runs.push(key.iter().zip(value));
        }
    }
}

type Moved<K, V> = Run<<Vec<K> as IntoIterator>::IntoIter, <Vec<V> as IntoIterator>::IntoIter>;

/// The entries of a [`BTreeMap`](super::tree::BTreeMap), moved out of it.
pub struct IntoIter<K: 'static, V: 'static> {
    runs: std::iter::Flatten<std::vec::IntoIter<Moved<K, V>>>,
    left: usize,
}

impl<K, V> IntoIter<K, V> {
    pub(super) fn new(root: Node<K, V>, len: usize) -> Self {
        let mut runs = std::vec::Vec::new();
        add(root, &mut runs);
        Self { runs: runs.into_iter().flatten(), left: len }
    }
}

fn add<K, V>(node: Node<K, V>, runs: &mut std::vec::Vec<Moved<K, V>>) {
    if node.is_leaf() {
        return runs.push(node.keys.into_iter().zip(node.values));
    }
    let mut entries = node.keys.into_iter().zip(node.values);
    for edge in node.edges {
        add(edge, runs);
        if let Some((key, value)) = entries.next() {
            runs.push(Vec::from([key]).into_iter().zip(Vec::from([value])));
        }
    }
}

impl<K, V> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        self.left = self.left.checked_sub(1)?;
        self.runs.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V> DoubleEndedIterator for IntoIter<K, V> {
    fn next_back(&mut self) -> Option<(K, V)> {
        self.left = self.left.checked_sub(1)?;
        self.runs.next_back()
    }
}

impl<K, V> ExactSizeIterator for IntoIter<K, V> {}
