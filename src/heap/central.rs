//! Collected spans that no cache holds, by bin. Called by `cache` and by the collector's sweep; calls `pages`.
//!
//! | a span is | who may touch its `free` bits |
//! | --- | --- |
//! | held by a cache (in no list) | the cache's worker |
//! | in a list here, or full (in no list) | nobody but the sweep, under the lock |
//!
//! The bins are those of manual blocks: class and whether it is scanned; only the sub-arenas differ.

use std::ptr;
use std::sync::atomic::Ordering;

use super::arena::{self, Kind};
use super::class::{self, BINS};
use super::large;
use super::owner::Exhausted;
use super::pages::{self, Wanted};
use super::span::{self, Span};
use crate::base::early_lock::EarlyLock;
use crate::base::lock::Rank;

/// Spans with free slots, by bin, through their links.
struct Lists {
    first: [*const Span; BINS],
}

// SAFETY: the pointers are to span records, which live for ever; what they guard is under the lock.
unsafe impl Send for Lists {}

static LISTS: EarlyLock<Lists> = EarlyLock::new(Rank::HeapCentral, Lists { first: [ptr::null(); BINS] });

/// The collected kind of a bin.
pub(crate) fn kind(bin: usize) -> Kind {
    if bin.is_multiple_of(2) { Kind::CollectedScan } else { Kind::CollectedNoscan }
}

/// A span with free slots, which is the caller's until [`give`].
pub(super) fn take(bin: usize) -> Result<&'static Span, Exhausted> {
    if let Some(span) = LISTS.lock().take(bin) {
        return Ok(span);
    }
    let class = bin / 2;
    let wanted = Wanted {
        kind: kind(bin),
        class: class as u32,
        granules: class::granules(class),
        align: class::GRANULE,
        slack: false,
    };
    let span = pages::make(wanted).map_err(|error| Exhausted { bytes: error.bytes, errno: error.errno })?;
    span.fill(class, false);
    // Marks of the granule's former life.
    for word in 0..class::slots(class).div_ceil(64) {
        span.side_word(word).store(0, Ordering::Relaxed);
    }
    Ok(span)
}

/// A cache lets a span go, with all its free slots in it.
pub(super) fn give(bin: usize, span: &'static Span) {
    if span.free_slots() > 0 {
        LISTS.lock().list(bin, span);
    }
}

impl Lists {
    fn take(&mut self, bin: usize) -> Option<&'static Span> {
        // SAFETY: null, or a span record, which lives for ever.
        let span = unsafe { self.first[bin].as_ref() }?;
        self.first[bin] = span.links().1.load(Ordering::Relaxed);
        span.set_listed(false);
        Some(span)
    }

    fn list(&mut self, bin: usize, span: &'static Span) {
        span.links().1.store(self.first[bin].cast_mut(), Ordering::Relaxed);
        self.first[bin] = span;
        span.set_listed(true);
    }
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Marked slots and large blocks: they live on, and are unmarked.
    pub(crate) live: usize,
    /// Their bytes.
    pub(crate) live_bytes: usize,
    /// Objects that were freed.
    pub(crate) freed: usize,
    /// Spans given back whole.
    pub(crate) spans: usize,
}

/// Frees every collected object that is not marked, and takes the marks away.
///
/// No cache holds a span (the worlds's caches are flushed) and nobody marks: the caller has stopped the world, or there is no world yet.
pub(crate) fn sweep() -> Swept {
    let mut lists = LISTS.lock();
    lists.first = [ptr::null(); BINS];
    let mut swept = Swept::default();
    for kind in [Kind::CollectedScan, Kind::CollectedNoscan] {
        let mut granule = arena::bounds(kind).start;
        let end = pages::lock().known(kind).end;
        while granule < end {
            let Some(span) = span::at(granule) else {
                granule += 1;
                continue;
            };
            granule += span.granules();
            if let Some(bin) = sweep_span(kind, span, &mut swept) {
                lists.list(bin, span);
            }
        }
    }
    swept
}

/// Sweeps one span. Returns its bin if it has free slots now.
fn sweep_span(kind: Kind, span: &'static Span, swept: &mut Swept) -> Option<usize> {
    if span.class() == span::LARGE {
        if span.side_word(0).swap(0, Ordering::Relaxed) & 1 != 0 {
            swept.live += 1;
            swept.live_bytes += span.bytes();
        } else {
            swept.freed += 1;
            swept.spans += 1;
            large::release(span);
        }
        return None;
    }
    let class = span.class() as usize;
    let slots = class::slots(class);
    let before = slots - span.free_slots();
    let live = span.free_unmarked(class);
    swept.live += live;
    swept.live_bytes += live * class::SIZES[class] as usize;
    swept.freed += before - live;
    span.set_listed(false);
    if live == 0 {
        swept.spans += 1;
        pages::release(span, class::granules(class) * class::GRANULE);
        return None;
    }
    (live < slots).then_some(class * 2 + usize::from(kind == Kind::CollectedNoscan))
}

/// For `registry`, before a fork.
pub(super) fn hold_for_fork() {
    LISTS.hold_for_fork();
}

/// For `registry`, after a fork, on both sides.
pub(super) fn release_after_fork() {
    LISTS.release_after_fork();
}
