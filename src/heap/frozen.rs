//! The heap with all its locks in the collector's hand: what a collector does to it while the world is stopped. Called by `gc`.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::arena::{self, KINDS, Kind};
use super::central::{self, Lists};
use super::class::{self, BINS, GRANULE};
use super::pages::Pages;
use super::span::{self, Span};
use super::{lookup, pages, registry};
use crate::base::early_lock::EarlyLocked;

/// Evidence that nobody holds a lock of the heap. Got before the world is stopped, and given up after it goes on.
pub(crate) struct Frozen {
    // In the order in which they are given back.
    pages: EarlyLocked<'static, Pages>,
    lists: EarlyLocked<'static, Lists>,
    _records: registry::Held,
}

/// Takes all locks.
pub(crate) fn freeze() -> Frozen {
    let records = registry::hold();
    let lists = central::lock();
    let pages = pages::lock();
    Frozen { pages, lists, _records: records }
}

impl Frozen {
    /// Marking is over: all that is not marked is free, once it is swept.
    pub(crate) fn end_marking(&mut self) {
        for owner in registry::all() {
            owner.collected.empty();
        }
        central::set_marking(false);
        let pages = &self.pages;
        self.lists.begin_sweep(|kind| pages.known(kind));
    }

    /// Calls `each` for every span of a kind.
    fn for_each_span(&self, kind: Kind, each: impl FnMut(&'static Span)) {
        span::for_each(self.pages.known(kind), each);
    }

    /// Calls `each` with all objects of a collected kind that are marked: neighbours together.
    pub(crate) fn for_each_marked(&self, kind: Kind, mut each: impl FnMut(Range<usize>)) {
        self.for_each_span(kind, |span| marked(span, &(0..usize::MAX), &mut each));
    }

    /// Bytes in runs, of all kinds: what the heap takes of the machine, but for what is free and held.
    pub(crate) fn in_use(&self) -> usize {
        KINDS.into_iter().map(|kind| self.pages.part(kind).used * GRANULE).sum()
    }

    /// Marking begins: nothing is marked.
    pub(crate) fn clear_marks(&mut self) {
        // They are gone with the sweep, unless the last cycle was given up.
        if !central::is_marking() {
            return;
        }
        for kind in [Kind::CollectedScan, Kind::CollectedNoscan] {
            self.for_each_span(kind, |span| {
                (0..span::WORDS).for_each(|word| span.side_word(word).store(0, Ordering::Relaxed));
            });
        }
        central::set_marking(false);
    }

    /// From now on objects are born marked.
    pub(crate) fn begin_marking(&mut self) {
        self.clear_marks();
        central::set_marking(true);
        let marking = self.lists.begin_marking();
        for owner in registry::all() {
            owner.collected.blacken(marking);
        }
    }

    /// Calls `each` with where marked objects that are scanned may be, as addresses. `known`: got since the marker has marked an object for the last time.
    pub(crate) fn for_each_hot(&self, known: &Hot, mut each: impl FnMut(Range<usize>)) {
        let Some(logged) = self.lists.logged() else { return each(self.extent(Kind::CollectedScan)) };
        known.ranges().for_each(&mut each);
        for granule in logged {
            // What was large and has gone again is no span any more.
            let Some(span) = span::at(*granule as usize) else { continue };
            let range = span.granule()..span.granule() + span.granules();
            if span.kind() == Kind::CollectedScan {
                each(addresses(range));
            }
        }
    }

    /// Where spans of a kind were ever, as addresses.
    pub(crate) fn extent(&self, kind: Kind) -> Range<usize> {
        addresses(self.pages.known(kind))
    }

    /// Calls `each` with every free block that lies in a magazine and may hold stale pointers.
    pub(crate) fn for_each_idle(&self, mut each: impl FnMut(usize)) {
        for owner in registry::all().filter(|owner| owner.is_settled()) {
            // The bins of blocks that may hold pointers.
            (0..BINS).step_by(2).flat_map(|bin| owner.blocks(bin)).for_each(&mut each);
        }
    }

    /// Calls `each` with every stretch of memory that the program has in blocks of a manual kind. Free blocks in magazines are among it: see [`block_at`].
    pub(crate) fn for_each_manual(&self, kind: Kind, mut each: impl FnMut(Range<usize>)) {
        self.for_each_span(kind, |span| live_stretches(span, &mut each));
    }
}

/// Where marked objects that are scanned were at some moment of a marking: most of a heap is garbage when a cycle ends, and what is written there does not matter.
pub(crate) struct Hot {
    /// Numbers of granules, in order. (Addresses would look like references to what lies there, and keep it alive.)
    granules: Vec<Range<u32>>,
}

impl Hot {
    /// As addresses.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.granules.iter().map(|range| addresses(range.start as usize..range.end as usize))
    }

    #[cfg(test)]
    pub(super) fn contains(&self, address: usize) -> bool {
        self.ranges().any(|range| range.contains(&address))
    }
}

/// Granules of garbage that are as quickly asked about as left out: a call of the kernel takes 1 µs, a page 0.8 ns.
pub(super) const GAP: usize = 64;

/// See [`Hot`]. On the collector's thread, which is the only one that marks; what is born marked meanwhile is logged.
pub(crate) fn hot() -> Hot {
    // First: what is handed out from now on is in the log, and what was before has the marking's number.
    let marking = central::begin_log();
    let mut granules: Vec<Range<u32>> = Vec::new();
    let known = pages::lock().known(Kind::CollectedScan);
    span::for_each(known, |span| {
        if !span.may_be_marked(marking) {
            return;
        }
        let (start, end) = (span.granule() as u32, (span.granule() + span.granules()) as u32);
        match granules.last_mut() {
            Some(last) if start <= last.end + GAP as u32 => last.end = end,
            _ => granules.push(start..end),
        }
    });
    Hot { granules }
}

fn addresses(granules: Range<usize>) -> Range<usize> {
    arena::address(granules.start)..arena::address(granules.end)
}

/// All addresses that spans of a kind may ever have.
pub(crate) fn reserved(kind: Kind) -> Range<usize> {
    addresses(arena::bounds(kind))
}

/// Keeps that much free collected memory for the program to use until the next cycle.
pub(crate) fn keep(bytes: usize) {
    pages::lock().keep(bytes);
}

/// Where spans of a kind were ever until now, as addresses.
pub(crate) fn extent_now(kind: Kind) -> Range<usize> {
    addresses(pages::lock().known(kind))
}

/// As [`Frozen::for_each_manual`], while the program runs: what was in use from beginning to end is among it.
pub(crate) fn for_each_manual_now(mut each: impl FnMut(Range<usize>)) {
    let known = pages::lock().known(Kind::ManualScan);
    span::for_each(known, |span| live_stretches(span, &mut each));
}

/// Calls `each` with the parts of a range of addresses that hold references of the program: of manual memory what is in use, of collected memory what is marked.
pub(crate) fn for_each_holder_in(range: Range<usize>, mut each: impl FnMut(Range<usize>, bool)) {
    let (Some(first), Some(last)) = (arena::granule_of(range.start), arena::granule_of(range.end - 1)) else {
        return;
    };
    let is_manual = arena::kind_of(first) == Kind::ManualScan;
    // A span that begins before the range may reach into it.
    let start = span::at(first).map_or(first, Span::granule);
    span::for_each(start..last + 1, |span| {
        let mut part = |holder: Range<usize>| {
            let part = holder.start.max(range.start)..holder.end.min(range.end);
            if !part.is_empty() {
                each(part, is_manual);
            }
        };
        if is_manual {
            live_stretches(span, &mut part);
        } else {
            marked(span, &range, &mut part);
        }
    });
}

/// The end of the manual block that an address lies in, and whether it is certain that the block is free and in a magazine. While the program runs it may be used again at once, and is written to then.
pub(crate) fn block_at(address: usize) -> (usize, bool) {
    let Some(object) = lookup::object(address) else { return (address + 8, false) };
    let end = object.start + object.bytes;
    let class = object.span.class();
    if class == span::LARGE {
        return (end, false);
    }
    // The bin of blocks that may hold pointers.
    let bin = class as usize * 2;
    let mut settled = registry::all().filter(|owner| owner.is_settled());
    (end, bin < BINS && settled.any(|owner| owner.blocks(bin).any(|block| block == object.start)))
}

/// Calls `each` with the stretches of a manual span that are in use: neighbours together.
fn live_stretches(span: &'static Span, each: &mut impl FnMut(Range<usize>)) {
    let (start, class) = (span.start(), span.class());
    if class == span::LARGE {
        let bytes = span.bytes().min(span.granules() * GRANULE);
        return each(start..start + bytes);
    }
    let Some(size) = class::SIZES.get(class as usize).map(|size| *size as usize) else { return };
    let slots = class::slots(class as usize);
    for word in 0..slots.div_ceil(64) {
        let dead = span.free_word(word) | span.side_word(word).load(Ordering::Relaxed);
        runs(!dead & span::all_slots(slots, word), |first, count| {
            let at = start + (word * 64 + first) * size;
            each(at..at + count * size);
        });
    }
}

/// Calls `each` with the marked objects of a collected span that reach into a range of addresses: neighbours together.
fn marked(span: &'static Span, within: &Range<usize>, each: &mut impl FnMut(Range<usize>)) {
    let (start, class) = (span.start(), span.class());
    if class == span::LARGE {
        if span.side_word(0).load(Ordering::Relaxed) & 1 != 0 {
            each(start..start + span.bytes());
        }
        return;
    }
    // Between the load of `at` and that of `class` the span may have gone.
    let Some(geometry) = class::GEOMETRY.get(class as usize) else { return };
    let (slots, size) = (geometry.slots as usize, geometry.size as usize);
    let end = span.granules() * GRANULE;
    let word_at = |address: usize| geometry.index(address.saturating_sub(start).min(end)) / 64;
    let (first, last) = (word_at(within.start), word_at(within.end) + 1);
    for word in first..last.min(slots.div_ceil(64)) {
        let marks = span.side_word(word).load(Ordering::Relaxed) & span::all_slots(slots, word);
        runs(marks, |at, count| {
            let at = start + (word * 64 + at) * size;
            each(at..at + count * size);
        });
    }
}

/// Calls `each` with the first bit and the length of every run of bits that are set.
fn runs(mut bits: u64, mut each: impl FnMut(usize, usize)) {
    while bits != 0 {
        let first = bits.trailing_zeros() as usize;
        let count = (!(bits >> first)).trailing_zeros() as usize;
        each(first, count);
        bits = if first + count == 64 { 0 } else { bits & (u64::MAX << (first + count)) };
    }
}
