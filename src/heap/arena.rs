//! The reservation: where the heap's addresses are, and the records beside them. Called by `pages` (to commit), and by all that go from an address to its span.
//!
//! ```text
//!   base                                                              each sub-arena: 256 GiB, or less where the kernel allows less
//!   | manual scan | manual noscan | collected scan | collected noscan |
//!     '-- granules of 64 KiB, numbered from 0 across all four
//!
//!   tables, reserved apart from it, so that bookkeeping dirties no page that a collector tracks
//!   | first granule of each granule's span, u32 | span records | page bitmaps | samples in each granule, u8 |
//! ```
//!
//! Everything is reserved inaccessible, which costs no memory and is not counted by overcommit; `commit` opens a sub-arena and the same part of its tables
//! step by step. So `mlockall` locks what is in use, and overcommit mode 2 is charged for it, not for a tebibyte. Nothing is ever unmapped, and span records are never
//! reset: a stale address may be looked up at any time, and finds a record that says what is there now.
//!
//! The base is 0x6b.. followed by some bits of the process's own randomness: the upper half of a heap address is no small integer, no text, and no everyday float, so that a
//! conservative marker seldom mistakes one.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use super::class::{GRANULE, GRANULE_SHIFT};
use super::span::Span;
use crate::sys::{OsError, limits, mem};

/// What a block is: how it is freed, and whether it is read by the marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Freed by `dealloc`; may hold pointers, and then is a root.
    ManualScan = 0,
    /// Freed by `dealloc`; aligned to less than 8, never read.
    ManualNoscan = 1,
    /// Freed by the sweep; may hold pointers.
    CollectedScan = 2,
    /// Freed by the sweep; never read.
    CollectedNoscan = 3,
}

/// All kinds, in the order of their sub-arenas.
pub(crate) const KINDS: [Kind; 4] =
    [Kind::ManualScan, Kind::ManualNoscan, Kind::CollectedScan, Kind::CollectedNoscan];

impl Kind {
    /// The kind of manual blocks in that bin.
    #[inline(always)]
    pub(crate) fn manual(bin: usize) -> Self {
        if bin.is_multiple_of(2) { Self::ManualScan } else { Self::ManualNoscan }
    }

    /// The kind of manual blocks aligned like that.
    #[inline(always)]
    pub(crate) fn manual_aligned(align: usize) -> Self {
        if align < 8 { Self::ManualNoscan } else { Self::ManualScan }
    }

    /// Whether the sweep frees it; else `dealloc` does.
    pub(crate) fn is_collected(self) -> bool {
        matches!(self, Self::CollectedScan | Self::CollectedNoscan)
    }

    /// Whether it may hold pointers.
    pub(crate) fn is_scanned(self) -> bool {
        matches!(self, Self::ManualScan | Self::CollectedScan)
    }
}

/// Bytes of the whole reservation where nothing limits it.
const FULL: usize = 1 << 40;
/// The least worth having: below it the heap steps aside, because a program that may use so little cannot spare the parts of the arena that it does not use.
const LEAST: usize = 32 << 20;
/// The hint for the base, and the bits of it that differ by process.
const HINT: usize = 0x6b00_0000_0000;
const HINT_RANDOM_BITS: usize = 0xff << 34;

// Written once, under the lock of `pages`, before any address of the arena is given out; whoever has such an address may read them relaxed.
static BASE: AtomicUsize = AtomicUsize::new(0);
static GRANULES: AtomicUsize = AtomicUsize::new(0);
/// First granule of each sub-arena, and the end.
static STARTS: [AtomicUsize; 5] = [const { AtomicUsize::new(0) }; 5];
/// Per kind: the granules below are committed, with their records.
static TOPS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
/// The table of first granules.
static FIRSTS: AtomicUsize = AtomicUsize::new(0);
/// The table of span records.
static SPANS: AtomicUsize = AtomicUsize::new(0);
/// The page bitmaps, one after the other.
static BITMAPS: AtomicUsize = AtomicUsize::new(0);
/// The table of samples' counts.
static SAMPLES: AtomicUsize = AtomicUsize::new(0);

/// How many page bitmaps there are: see `pages`.
pub(super) const PAGE_BITMAPS: usize = 3;

/// What [`reserve`] found out, for `doctor`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reservation {
    pub(crate) bytes: usize,
    /// The limit on address space that made it smaller, if it was that.
    pub(crate) address_space: Option<usize>,
}

/// Rounded down so that every sixteenth is whole granules.
fn whole_parts(bytes: usize) -> usize {
    bytes / (16 * GRANULE) * (16 * GRANULE)
}

/// Bytes of tables for that many granules.
fn table_bytes(granules: usize) -> usize {
    firsts_bytes(granules)
        + spans_bytes(granules)
        + PAGE_BITMAPS * bitmap_bytes(granules)
        + granules.next_multiple_of(mem::PAGE)
}

fn firsts_bytes(granules: usize) -> usize {
    (granules * size_of::<u32>()).next_multiple_of(mem::PAGE)
}

fn spans_bytes(granules: usize) -> usize {
    (granules * size_of::<Span>()).next_multiple_of(mem::PAGE)
}

fn bitmap_bytes(granules: usize) -> usize {
    granules.div_ceil(64).next_multiple_of(mem::PAGE / 8) * 8
}

/// Reserves the arena and its tables; as much as the limits leave. Called once, under the lock of `pages`.
pub(super) fn reserve() -> Result<Reservation, OsError> {
    let address_space = limits::address_space();
    // About half of what may be used: stacks, libraries and mapped files need the rest.
    let share = |limit: usize| (limit / 2 - (limit / 4).min(64 << 20)).min(FULL);
    let mut bytes = whole_parts(address_space.map_or(FULL, share));
    loop {
        if bytes < LEAST {
            return Err(OsError {
                call: "mmap of the heap's reservation",
                bytes: LEAST,
                errno: limits::ENOMEM,
            });
        }
        match reserve_bytes(bytes) {
            Ok(()) => return Ok(Reservation { bytes, address_space }),
            Err(_) => bytes = whole_parts(bytes / 2),
        }
    }
}

fn reserve_bytes(bytes: usize) -> Result<(), OsError> {
    let granules = bytes >> GRANULE_SHIFT;
    let tables = mem::reserve(table_bytes(granules))?;
    let bitmaps = tables + firsts_bytes(granules) + spans_bytes(granules);
    let base =
        mem::protect_rw(bitmaps, PAGE_BITMAPS * bitmap_bytes(granules)).and_then(|()| reserve_arena(bytes));
    let base = match base {
        Ok(base) => base,
        Err(error) => {
            mem::unmap(tables, table_bytes(granules));
            return Err(error);
        }
    };
    // Where address space is short, most of it is for what a program without `Gc` uses.
    let shares = if bytes == FULL { [4, 4, 4, 4] } else { [7, 7, 1, 1] };
    let mut start = 0;
    for (index, share) in shares.into_iter().enumerate() {
        STARTS[index].store(start, Ordering::Relaxed);
        start += granules / 16 * share;
    }
    STARTS[4].store(start, Ordering::Relaxed);
    BASE.store(base, Ordering::Relaxed);
    FIRSTS.store(tables, Ordering::Relaxed);
    SPANS.store(tables + firsts_bytes(granules), Ordering::Relaxed);
    BITMAPS.store(bitmaps, Ordering::Relaxed);
    SAMPLES.store(bitmaps + PAGE_BITMAPS * bitmap_bytes(granules), Ordering::Relaxed);
    // Last, and Release: `granule_of` of a foreign address may run while this does, and finds no granule before.
    GRANULES.store(granules, Ordering::Release);
    Ok(())
}

/// The arena itself, aligned to a gibibyte where it is large.
fn reserve_arena(bytes: usize) -> Result<usize, OsError> {
    let align = if bytes >= 1 << 36 { 1 << 30 } else { GRANULE };
    let here = 0_u8;
    let hint = HINT + (((&raw const here as usize) << 18) & HINT_RANDOM_BITS);
    let at = mem::reserve_at(hint, bytes)?;
    if at.is_multiple_of(align) {
        return Ok(at);
    }
    mem::unmap(at, bytes);
    // The hint was not free: more than is needed, with the ends cut off.
    let at = mem::reserve(bytes + align)?;
    let base = at.next_multiple_of(align);
    if base > at {
        mem::unmap(at, base - at);
    }
    if at + align > base {
        mem::unmap(base + bytes, at + align - base);
    }
    Ok(base)
}

/// The address of a granule.
#[inline(always)]
pub(crate) fn address(granule: usize) -> usize {
    BASE.load(Ordering::Relaxed) + (granule << GRANULE_SHIFT)
}

/// The granule of an address; none outside the arena, or before there is one.
#[inline(always)]
pub(crate) fn granule_of(address: usize) -> Option<usize> {
    // Acquire pairs with the Release in `reserve_bytes`.
    let granules = GRANULES.load(Ordering::Acquire);
    let granule = address.wrapping_sub(BASE.load(Ordering::Relaxed)) >> GRANULE_SHIFT;
    (granule < granules).then_some(granule)
}

/// The granule of an address that is known to be of the arena.
#[inline(always)]
pub(super) fn granule_in(address: usize) -> usize {
    let granule = (address - BASE.load(Ordering::Relaxed)) >> GRANULE_SHIFT;
    debug_assert!(granule < GRANULES.load(Ordering::Relaxed), "an address of the heap");
    granule
}

/// The granules of a kind's sub-arena.
pub(crate) fn bounds(kind: Kind) -> std::ops::Range<usize> {
    let at = |index: usize| STARTS[index].load(Ordering::Relaxed);
    at(kind as usize)..at(kind as usize + 1)
}

/// The kind of what lies in that granule.
pub(crate) fn kind_of(granule: usize) -> Kind {
    let inside = KINDS.into_iter().rfind(|kind| STARTS[*kind as usize].load(Ordering::Relaxed) <= granule);
    inside.unwrap_or(Kind::ManualScan)
}

/// The record of the span that starts at that granule, if one does. The granule was committed.
#[inline(always)]
pub(crate) fn span(granule: usize) -> &'static Span {
    let at = (SPANS.load(Ordering::Relaxed) as *const Span).wrapping_add(granule);
    // SAFETY: inside the table, in its committed part (`pages` commits a granule's record before the granule), which starts zeroed, stays mapped for ever, and holds atomics
    // only, for which all bit patterns are valid.
    unsafe { &*at }
}

/// The first granule of the span that was last there, plus 1; 0 if there was none. The granule was committed.
#[inline(always)]
pub(super) fn first(granule: usize) -> &'static AtomicU32 {
    let at = (FIRSTS.load(Ordering::Relaxed) as *const AtomicU32).wrapping_add(granule);
    // SAFETY: as in `span`.
    unsafe { &*at }
}

/// How many live samples of the heap profile lie in that granule (`sample`). The granule was committed.
#[inline(always)]
pub(super) fn samples(granule: usize) -> &'static AtomicU8 {
    let at = (SAMPLES.load(Ordering::Relaxed) as *const AtomicU8).wrapping_add(granule);
    // SAFETY: as in `span`.
    unsafe { &*at }
}

/// A word of a page bitmap, for granules `64 * index` and up.
#[inline(always)]
pub(super) fn bitmap_word(bitmap: usize, index: usize) -> &'static std::sync::atomic::AtomicU64 {
    debug_assert!(index < GRANULES.load(Ordering::Relaxed).div_ceil(64), "a word of the table");
    let table = BITMAPS.load(Ordering::Relaxed) + bitmap * bitmap_bytes(GRANULES.load(Ordering::Relaxed));
    let at = (table as *const std::sync::atomic::AtomicU64).wrapping_add(index);
    // SAFETY: inside the tables of bitmaps, which are readable and writable as a whole since `reserve_bytes`, and zeroed atomics.
    unsafe { &*at }
}

/// The committed granules of a kind.
pub(crate) fn committed(kind: Kind) -> std::ops::Range<usize> {
    let start = STARTS[kind as usize].load(Ordering::Relaxed);
    // Acquire pairs with the Release in `commit`.
    start..TOPS[kind as usize].load(Ordering::Acquire).max(start)
}

/// Opens granules and their part of the tables: those that follow the committed ones of that kind.
pub(super) fn commit(kind: Kind, granules: std::ops::Range<usize>) -> Result<(), OsError> {
    let open = |table: usize, size: usize| {
        let start = (table + granules.start * size) / mem::PAGE * mem::PAGE;
        let end = (table + granules.end * size).next_multiple_of(mem::PAGE);
        mem::protect_rw(start, end - start)
    };
    open(FIRSTS.load(Ordering::Relaxed), size_of::<u32>())?;
    open(SPANS.load(Ordering::Relaxed), size_of::<Span>())?;
    open(SAMPLES.load(Ordering::Relaxed), 1)?;
    open(BASE.load(Ordering::Relaxed), GRANULE)?;
    TOPS[kind as usize].store(granules.end, Ordering::Release);
    Ok(())
}
