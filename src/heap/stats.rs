//! What the heap holds, counted from its own records. Called by programs, `doctor` and tests.
//!
//! Nothing is counted while allocating: every figure is read off the spans, the magazines and the page bitmaps when somebody asks. So the figures are exact when no other thread
//! allocates or frees meanwhile, and otherwise right to within what those threads do in that time. One look costs a few nanoseconds for each span.

use super::arena::{KINDS, Kind, Reservation};
use super::class::{self, BINS, GRANULE_SHIFT};
use super::pages::{self, Backing};
use super::span::{self, Span, WORDS};
use super::{local, registry};

/// What the heap holds: see [`stats`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Whether the crate's heap serves this process. If not, the system's allocator does, and all figures are 0.
    pub is_in_charge: bool,
    /// Address space reserved, in bytes. It costs nothing until it is used.
    pub reserved: usize,
    /// Ordinary Rust allocations that may hold pointers: those aligned to 8 bytes or more.
    pub manual_scan: KindStats,
    /// Ordinary Rust allocations that hold no pointers: those aligned to less than 8 bytes.
    pub manual_noscan: KindStats,
    /// Collected objects that may hold pointers.
    pub collected_scan: KindStats,
    /// Collected objects that hold no pointers.
    pub collected_noscan: KindStats,
    /// Bytes of physical memory given back to the system since the start of the process.
    pub given_back: u64,
    /// Thread records: the most threads that allocated at the same time.
    pub threads_most: usize,
    /// Threads that have allocated and not ended.
    pub threads: usize,
}

/// One kind of memory. All in bytes, but `blocks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindStats {
    /// Blocks in use.
    pub blocks: usize,
    /// Bytes of the blocks in use, each rounded up to its size class; large blocks as they were asked for.
    pub live: usize,
    /// Bytes of free blocks that threads keep at hand.
    pub cached: usize,
    /// Bytes of the spans that blocks lie in: `live`, `cached`, free slots, and address space that large blocks may grow into.
    pub spans: usize,
    /// Bytes that are free and still held: used again, or given back after a while.
    pub held: usize,
    /// Bytes of address space made accessible.
    pub committed: usize,
}

impl Stats {
    /// All kinds together.
    pub fn total(&self) -> KindStats {
        let kinds = [self.manual_scan, self.manual_noscan, self.collected_scan, self.collected_noscan];
        kinds.into_iter().fold(KindStats::default(), |sum, kind| KindStats {
            blocks: sum.blocks + kind.blocks,
            live: sum.live + kind.live,
            cached: sum.cached + kind.cached,
            spans: sum.spans + kind.spans,
            held: sum.held + kind.held,
            committed: sum.committed + kind.committed,
        })
    }

    fn kind_mut(&mut self, kind: Kind) -> &mut KindStats {
        match kind {
            Kind::ManualScan => &mut self.manual_scan,
            Kind::ManualNoscan => &mut self.manual_noscan,
            Kind::CollectedScan => &mut self.collected_scan,
            Kind::CollectedNoscan => &mut self.collected_noscan,
        }
    }
}

/// Whose the program's memory is, for `doctor`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InCharge {
    /// This heap's.
    Heap {
        /// Bytes of address space reserved.
        reserved: usize,
        /// The limit on address space, if there is one.
        address_space: Option<usize>,
    },
    /// The system allocator's, because address space for a reservation was refused.
    NoReservation,
    /// The system allocator's, because this build or the environment says so.
    Aside,
    /// Another allocator's: nobody has asked this one.
    Unused,
}

/// Whose the program's memory is.
pub(crate) fn in_charge() -> InCharge {
    match pages::lock().backing() {
        Backing::Arena(Reservation { bytes, address_space }) => {
            InCharge::Heap { reserved: bytes, address_space }
        }
        Backing::Refused => InCharge::NoReservation,
        Backing::Unknown if local::is_started() => InCharge::Aside,
        Backing::Unknown => InCharge::Unused,
    }
}

/// Counts what the heap holds. Exact while no other thread allocates or frees.
pub fn stats() -> Stats {
    let mut stats = Stats::default();
    if !local::is_started() || local::is_aside() {
        return stats;
    }
    stats.is_in_charge = true;
    let (records, idle) = registry::counts();
    (stats.threads_most, stats.threads) = (records, records - idle.min(records));
    {
        let pages = pages::lock();
        if let Backing::Arena(reservation) = pages.backing() {
            stats.reserved = reservation.bytes;
        }
        stats.given_back = pages.given_back;
        for kind in KINDS {
            let part = pages.part(kind);
            let committed = pages.committed(kind);
            let figures = stats.kind_mut(kind);
            figures.spans = part.used << GRANULE_SHIFT;
            figures.held = part.dirty << GRANULE_SHIFT;
            figures.committed = committed;
            // Under the lock, so that spans neither come nor go.
            span::for_each(pages.known(kind), |span| count_span(span, figures));
        }
    }
    // What lies in magazines is neither in a span nor in use.
    for owner in registry::all() {
        for bin in 0..BINS {
            let count = owner.count(bin);
            let bytes = count * class::SIZES[bin / 2] as usize;
            let figures = stats.kind_mut(Kind::manual(bin));
            figures.blocks = figures.blocks.saturating_sub(count);
            figures.live = figures.live.saturating_sub(bytes);
            figures.cached += bytes;
        }
    }
    stats
}

fn count_span(span: &'static Span, figures: &mut KindStats) {
    if span.class() == span::LARGE {
        figures.blocks += 1;
        figures.live += span.bytes();
        return;
    }
    let class = span.class() as usize;
    let words = if span.kind().is_collected() { 0 } else { class::slots(class).div_ceil(64).min(WORDS) };
    let freed_by_others: usize = (0..words)
        .map(|word| span.side_word(word).load(std::sync::atomic::Ordering::Relaxed).count_ones() as usize)
        .sum();
    let used = class::slots(class).saturating_sub(span.free_slots() + freed_by_others);
    figures.blocks += used;
    figures.live += used * class::SIZES[class] as usize;
}

/// Gives memory back to the system: what the calling thread and ended threads keep at hand, and all that is free. Returns how many bytes the system took.
///
/// The heap does this by itself, a fifth of a second after memory was freed; this is for programs that will not allocate again for a long time and have no runtime.
pub fn trim() -> usize {
    match local::with_slow(|owner| owner.trim()) {
        local::Slow::Done(()) => {}
        local::Slow::Aside => return 0,
        local::Slow::NoRecord => {}
    }
    registry::trim_idle();
    pages::trim()
}
