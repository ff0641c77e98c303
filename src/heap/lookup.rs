//! Any word to the object that it points into: what a conservative marker asks. A few loads, whatever the word is. Called by the collector and by `check`.

use super::arena::{self, Kind};
use super::class;
use super::span::{self, Slot, Span};

/// A slot or a large block.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    pub(crate) span: &'static Span,
    /// Slot 0 for a large block.
    pub(crate) slot: Slot,
    /// The first byte.
    pub(crate) start: usize,
    /// Bytes of the slot, or those that a large block was asked for.
    pub(crate) bytes: usize,
}

impl Object {
    /// The kind of the object.
    pub(crate) fn kind(&self) -> Kind {
        self.span.kind()
    }

    /// Whether the slot is in its span: free for certain. One that is not may still be in a magazine, in a cache, or freed by another thread (`span`).
    pub(crate) fn is_free(&self) -> bool {
        self.span.class() != span::LARGE && self.span.free_word(self.slot.word) & self.slot.mask() != 0
    }

    /// Marks the object; true if it was not marked. For collected objects.
    pub(crate) fn mark(&self) -> bool {
        let word = self.span.side_word(self.slot.word);
        let mask = self.slot.mask();
        // Mostly it is marked, and a read is cheaper.
        word.load(std::sync::atomic::Ordering::Relaxed) & mask == 0
            && word.fetch_or(mask, std::sync::atomic::Ordering::Relaxed) & mask == 0
    }

    /// Whether the object is marked.
    pub(crate) fn is_marked(&self) -> bool {
        self.span.side_word(self.slot.word).load(std::sync::atomic::Ordering::Relaxed) & self.slot.mask() != 0
    }
}

/// Where collected objects lie, `[start, end)`; empty before there is a heap.
pub(crate) fn collected() -> (usize, usize) {
    let (first, last) = (arena::bounds(Kind::CollectedScan).start, arena::bounds(Kind::CollectedNoscan).end);
    (arena::address(first), arena::address(last))
}

/// The granule of an address, if it is of the arena and was ever in use.
#[inline(always)]
pub(crate) fn granule(address: usize) -> Option<usize> {
    let granule = arena::granule_of(address)?;
    arena::committed(arena::kind_of(granule)).contains(&granule).then_some(granule)
}

/// The object that `address` points into: at its start or inside. None for anything else, also for the unused rest of a span and the slack of a large block.
#[inline]
pub(crate) fn object(address: usize) -> Option<Object> {
    let span = span::at(granule(address)?)?;
    let (start, class) = (span.start(), span.class());
    let offset = address - start;
    if class == span::LARGE {
        let bytes = span.bytes();
        return (offset < bytes).then_some(Object { span, slot: Slot::new(0), start, bytes });
    }
    let class = class as usize;
    // Between the load of `at` and that of `class` the span may have gone; whoever needs more has stopped the world.
    let size = *class::SIZES.get(class)? as usize;
    let index = class::index(class, offset);
    (index < class::slots(class)).then(|| Object {
        span,
        slot: Slot::new(index),
        start: start + index * size,
        bytes: size,
    })
}
