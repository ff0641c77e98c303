//! [`Marker`]: from words that may be references to marked objects, transitively. Called by `scan`, `goroutines`, `cycle` and `concurrent`.
//!
//! Nothing here is recursive, and nothing allocates from the heap. A candidate is a word that lies in the collected part of the heap: one subtraction and a comparison rule out nearly all others. Candidates
//! go onto a stack; from there they pass through a short queue, entered by a prefetch of the mark and of the object, so that when one leaves it both are in the cache: on a random graph that is 1.9 against
//! 0.35 GB/s (measured when this was designed; Cher, Hosking, Vitek, "Software prefetching for mark-sweep garbage collection", 2004).

use std::ops::Range;

use super::pile::Pile;
use crate::arch;
use crate::heap::frozen;
use crate::heap::lookup::{Extent, Neighbours, Object};

/// Candidates between their prefetch and their use. A power of two.
const AHEAD: usize = 16;
/// Words that may wait while more are found: a few pages' full, so that they stay in the cache. (All that 30,000 written pages held made a pile of 33 MB.)
const MANY: usize = 1 << 14;

/// What was marked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marked {
    pub(super) objects: usize,
    /// Bytes of their slots.
    pub(super) bytes: usize,
    /// Bytes that were read to find them: roots and objects.
    pub(super) scanned: usize,
    /// Those of objects that were followed.
    followed: usize,
    /// Bytes of goroutines' stacks and cells among them.
    pub(super) stacks: usize,
}

/// See the file's documentation.
pub(super) struct Marker {
    /// Since marking began; what is younger is born marked.
    extent: Extent,
    pile: Pile,
    ahead: [Option<Object>; AHEAD],
    at: usize,
    /// How many there are in `ahead`.
    waiting: usize,
    pub(super) marked: Marked,
}

impl Marker {
    /// Nothing is marked yet.
    pub(super) fn new(pile: Pile) -> Self {
        Self {
            extent: Extent::now(),
            pile,
            ahead: [None; AHEAD],
            at: 0,
            waiting: 0,
            marked: Marked::default(),
        }
    }

    /// Objects are not born marked: those of until now count, and the world is stopped.
    pub(super) fn include_all(&mut self) {
        self.extent = Extent::now();
    }

    /// Gives the memory of the stack back for the next cycle.
    pub(super) fn into_pile(self) -> Pile {
        self.pile
    }

    /// Bytes that were read and are of no object that was followed.
    pub(super) fn roots(&self) -> usize {
        self.marked.scanned - self.marked.followed
    }

    /// Whether the stack could not grow.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.pile.has_overflown()
    }

    /// Whether the stack could not grow, so that something that is marked was not followed. It is forgotten with the answer.
    pub(super) fn start_over(&mut self) -> bool {
        let has_overflown = self.pile.has_overflown();
        self.pile.clear();
        has_overflown
    }

    /// Calls `each` with the words of a range, and with where they lie; it says where to go on.
    ///
    /// # Safety
    ///
    /// - The range is mapped readable.
    #[inline(always)]
    unsafe fn for_each_word(
        &mut self,
        range: Range<usize>,
        mut each: impl FnMut(&mut Self, usize, usize) -> usize,
    ) {
        let (mut at, end) = (range.start.next_multiple_of(8), range.end & !7);
        self.marked.scanned += end.saturating_sub(at);
        while at < end {
            // SAFETY: inside the range.
            let word = unsafe { arch::racy_load(at) };
            at = each(self, word, at);
        }
    }

    #[inline(always)]
    fn consider(&mut self, word: usize) {
        if self.extent.may_contain(word) {
            self.pile.push(word);
        }
    }

    /// Scans a range of memory that may hold references.
    ///
    /// # Safety
    ///
    /// - It is mapped readable.
    pub(super) unsafe fn scan(&mut self, range: Range<usize>) {
        let each = |marker: &mut Self, word, at| {
            marker.consider(word);
            at + 8
        };
        // SAFETY: passed on.
        unsafe { self.for_each_word(range, each) };
    }

    /// As [`Marker::scan`], for manual memory of the heap: free blocks in magazines are passed over, as soon as they hold a candidate; few blocks do.
    ///
    /// # Safety
    ///
    /// - It is mapped readable.
    pub(super) unsafe fn scan_manual(&mut self, range: Range<usize>) {
        let mut looked_at = 0;
        let each = |marker: &mut Self, word, at| {
            if marker.extent.may_contain(word) {
                if at >= looked_at {
                    let (block_end, is_free) = frozen::block_at(at);
                    if is_free {
                        return block_end;
                    }
                    looked_at = block_end;
                }
                marker.pile.push(word);
            }
            at + 8
        };
        // SAFETY: passed on.
        unsafe { self.for_each_word(range, each) };
    }

    /// As [`Marker::scan`], for marked objects that were written to, neighbours in their span: what is young mostly refers to what is a little older and as young, lies beside it, and was born marked.
    ///
    /// # Safety
    ///
    /// - It is mapped readable.
    pub(super) unsafe fn scan_written(&mut self, range: Range<usize>) {
        let neighbours = self.extent.object(range.start).and_then(|first| Neighbours::of(&first));
        let Some(neighbours) = neighbours else {
            // SAFETY: passed on.
            return unsafe { self.scan(range) };
        };
        let each = |marker: &mut Self, word, at| {
            if marker.extent.may_contain(word) && !neighbours.has_marked(word) {
                marker.pile.push(word);
            }
            at + 8
        };
        // SAFETY: passed on.
        unsafe { self.for_each_word(range, each) };
    }

    /// As [`Marker::scan`], for stacks and registers. There a compiler may keep a pointer just past an object as the only one to it (the end of a slice, with a negative index from there), so
    /// what ends where a word points counts as well.
    ///
    /// # Safety
    ///
    /// - It is mapped readable.
    pub(super) unsafe fn scan_ambiguous(&mut self, range: Range<usize>) {
        let each = |marker: &mut Self, word: usize, at| {
            marker.consider(word);
            // The object before the very first does not exist, and one that ends where the collected part ends does.
            marker.consider(word.wrapping_sub(1));
            at + 8
        };
        // SAFETY: passed on.
        unsafe { self.for_each_word(range, each) };
    }

    /// Follows what was found, if it is much.
    #[inline]
    pub(super) fn drain_much(&mut self) {
        if self.pile.len() >= MANY {
            self.drain_all();
        }
    }

    /// Follows everything that was found.
    pub(super) fn drain_all(&mut self) {
        while !self.drain(usize::MAX) {}
    }

    /// Follows everything that was found, up to about `budget` words of it. Returns whether nothing is left.
    pub(super) fn drain(&mut self, budget: usize) -> bool {
        let mut left = budget;
        loop {
            while let Some(word) = self.pile.pop() {
                let Some(object) = self.extent.object(word) else { continue };
                if self.waiting == 0 && self.pile.is_empty() {
                    // A list: nothing else to do until this one is there.
                    self.visit(object);
                } else {
                    self.enqueue(object);
                }
                left -= 1;
                if left == 0 {
                    return false;
                }
            }
            // Only what is on its way is left; it may bring more.
            while self.pile.is_empty() {
                if self.waiting == 0 {
                    return true;
                }
                self.step(None);
            }
        }
    }

    #[inline(always)]
    fn enqueue(&mut self, object: Object) {
        arch::prefetch(std::ptr::from_ref(object.span.side_word(object.slot.word)) as usize);
        arch::prefetch(object.start);
        self.waiting += 1;
        self.step(Some(object));
    }

    /// One object may enter the queue, and the oldest leaves it.
    #[inline(always)]
    fn step(&mut self, enters: Option<Object>) {
        let leaves = std::mem::replace(&mut self.ahead[self.at % AHEAD], enters);
        self.at += 1;
        if let Some(object) = leaves {
            self.waiting -= 1;
            self.visit(object);
        }
    }

    #[inline(always)]
    fn visit(&mut self, object: Object) {
        // What is free is no object, and its mark would make it one.
        if object.is_free() || !object.mark() {
            return;
        }
        self.marked.objects += 1;
        self.marked.bytes += object.bytes;
        if self.extent.is_scanned(&object) {
            self.marked.followed += object.bytes;
            // SAFETY: an object of the heap, which is never unmapped.
            unsafe { self.scan(object.start..object.start + object.bytes) };
        }
    }
}
