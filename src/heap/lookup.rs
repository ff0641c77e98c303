//! Any word to the object that it points into: what a conservative marker asks. A few loads, whatever the word is. Called by the collector and by `check`.

use super::arena::{self, Kind};
use super::class::{self, Geometry};
use super::span::{self, Found, Slot, Span};

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
    /// Whether the slot is in its span: free for certain. One that is not may still be in a magazine, in a cache, or freed by another thread (`span`).
    #[inline(always)]
    pub(crate) fn is_free(&self) -> bool {
        // A large block has no slots, and no bits here.
        self.span.class() != span::LARGE && self.span.free_word(self.slot.word) & self.slot.mask() != 0
    }

    /// Whether a block that is not collected was freed, as far as its span knows: one in a magazine ([`super::frozen`]) may be free all the same. With the world stopped.
    pub(crate) fn is_freed(&self) -> bool {
        // The side bits of manual blocks: freed by other threads than the span's.
        self.is_free()
            || !self.span.kind().is_collected() && self.span.class() != span::LARGE && self.is_marked()
    }

    /// Marks the object; true if it was not marked. For collected objects.
    #[inline(always)]
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

/// A span of collected objects of one size, for many questions about words that mostly point into it.
pub(crate) struct Neighbours {
    span: &'static Span,
    start: usize,
    /// Bytes of its slots.
    bytes: usize,
    geometry: Geometry,
}

impl Neighbours {
    /// Those of an object; none for a large block.
    #[inline]
    pub(crate) fn of(object: &Object) -> Option<Self> {
        let geometry = *class::GEOMETRY.get(object.span.class() as usize)?;
        let bytes = geometry.slots as usize * geometry.size as usize;
        Some(Self { span: object.span, start: object.span.start(), bytes, geometry })
    }

    /// Whether a word points to one of them, which is marked.
    #[inline(always)]
    pub(crate) fn has_marked(&self, word: usize) -> bool {
        let offset = word.wrapping_sub(self.start);
        if offset >= self.bytes {
            return false;
        }
        let slot = Slot::new(self.geometry.index(offset));
        self.span.side_word(slot.word).load(std::sync::atomic::Ordering::Relaxed) & slot.mask() != 0
    }
}

/// Where collected objects lie, as it was at some moment: what a marker asks of every word that it reads.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Of all addresses that may ever be collected ones.
    start: usize,
    length: usize,
    /// Granules that were committed: of scanned objects, and of others.
    scanned: (usize, usize),
    unscanned: (usize, usize),
    /// The first address of an object that is not scanned.
    first_unscanned: usize,
}

impl Extent {
    /// The present. Spans that are committed later are not in it.
    pub(crate) fn now() -> Self {
        let (scanned, unscanned) = (Kind::CollectedScan, Kind::CollectedNoscan);
        let (first, last) = (arena::bounds(scanned).start, arena::bounds(unscanned).end);
        let committed = |kind| {
            let granules = arena::committed(kind);
            (granules.start, granules.end)
        };
        Self {
            start: arena::address(first),
            length: arena::address(last) - arena::address(first),
            scanned: committed(scanned),
            unscanned: committed(unscanned),
            first_unscanned: arena::address(arena::bounds(unscanned).start),
        }
    }

    /// Whether a word may point to a collected object: this rules out nearly all that do not.
    #[inline(always)]
    pub(crate) fn may_contain(&self, word: usize) -> bool {
        word.wrapping_sub(self.start) < self.length
    }

    /// As [`object`], for a word that may be one.
    #[inline(always)]
    pub(crate) fn object(&self, word: usize) -> Option<Object> {
        let granule = arena::granule_in(word);
        let is_in = |(start, end): (usize, usize)| (start..end).contains(&granule);
        if is_in(self.scanned) || is_in(self.unscanned) { object_in(granule, word) } else { None }
    }

    /// Whether an object of this extent is scanned.
    #[inline(always)]
    pub(crate) fn is_scanned(&self, object: &Object) -> bool {
        object.start < self.first_unscanned
    }
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
    object_in(granule(address)?, address)
}

/// As [`object`], in a granule that was committed.
#[inline(always)]
fn object_in(granule: usize, address: usize) -> Option<Object> {
    let Found { span, first, class } = span::found(granule)?;
    let start = arena::address(first);
    let offset = address - start;
    if class == span::LARGE {
        let bytes = span.bytes();
        return (offset < bytes).then_some(Object { span, slot: Slot::new(0), start, bytes });
    }
    // Between the load of the entry and that of the class the span may have gone; whoever needs more has stopped the world.
    let geometry = class::GEOMETRY.get(class as usize)?;
    let index = geometry.index(offset);
    (index < geometry.slots as usize).then(|| {
        let bytes = geometry.size as usize;
        Object { span, slot: Slot::new(index), start: start + index * bytes, bytes }
    })
}
