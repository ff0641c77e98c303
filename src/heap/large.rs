//! Blocks above 64 KiB, or aligned to more: a run of granules each. Called by `entry` and, for collected blocks, by the collector; calls `pages`.
//!
//! A run's pages are the kernel's until they are written to, so a block of 65 KiB costs 65 KiB, and a zeroed one is written to only where its granules were used before.
//!
//! **Growth.** A block grows in place into free granules after it. One that has to move gets a run of four times its new size: its next two doublings happen in place, and what
//! it does not use costs address space only. So a vector that grows by doubling is copied every other time at most, and mostly never.

use super::arena::{self, Kind};
use super::class::GRANULE;
use super::owner::Exhausted;
use super::pages::{self, Wanted};
use super::span::{self, Span};
use super::{local, registry, sample};
use crate::base::fatal;

fn granules(bytes: usize) -> usize {
    bytes.div_ceil(GRANULE)
}

/// A block of `bytes`, aligned to `align`. `zeroed` ones read as zero. `grows`: it is made because another had to move.
pub(super) fn alloc(
    kind: Kind,
    bytes: usize,
    align: usize,
    zeroed: bool,
    grows: bool,
) -> Result<*mut u8, Exhausted> {
    make(kind, bytes, align, zeroed, grows)
        .or_else(|_| {
            // What threads hold free may be whole runs.
            trim_caches();
            make(kind, bytes, align, zeroed, grows)
        })
        .map(|span| span.start() as *mut u8)
}

/// As [`alloc`], of what is free now.
pub(super) fn make(
    kind: Kind,
    bytes: usize,
    align: usize,
    zeroed: bool,
    grows: bool,
) -> Result<&'static Span, Exhausted> {
    let wanted = Wanted { kind, class: span::LARGE, granules: granules(bytes), align, slack: grows };
    let span = pages::make(wanted).map_err(|error| Exhausted { bytes, errno: error.errno })?;
    span.set_touched(0);
    span.set_bytes(bytes);
    #[cfg(debug_assertions)]
    super::check::large_handed_out(span);
    if zeroed {
        zero(span, 0, bytes);
    }
    Ok(span)
}

/// What threads hold free goes back to their spans.
pub(super) fn trim_caches() {
    if let local::Slow::Done(()) = local::with_slow(|owner| owner.trim()) {
        registry::trim_idle();
    }
}

/// Makes `[from, to)` of a block that was never written to read as zero.
fn zero(span: &'static Span, from: usize, to: usize) {
    let first = span.granule();
    let mut at = from;
    while at < to {
        let end = to.min((at / GRANULE + 1) * GRANULE);
        if pages::is_dirty(first + at / GRANULE) {
            let start = (span.start() + at) as *mut u8;
            // SAFETY: inside the block's run, which is committed and nobody's but the caller's.
            unsafe { start.write_bytes(0, end - at) };
        }
        at = end;
    }
}

/// The span of a large block.
pub(super) fn span_of(block: *mut u8) -> &'static Span {
    let address = block as usize;
    let Some(granule) = arena::granule_of(address)
        .filter(|granule| arena::committed(arena::kind_of(*granule)).contains(granule))
    else {
        fatal!("greenroutine: fatal: heap: a large block that is freed or resized is not of this heap\n");
    };
    let span = arena::span(granule);
    if span.class() != span::LARGE || span.start() != address {
        fatal!(
            "greenroutine: fatal: heap: no large block begins where one is freed or resized (freed twice, or with another layout)\n"
        );
    }
    span
}

/// Frees a block.
pub(super) fn dealloc(block: *mut u8) {
    let span = span_of(block);
    sample::returned(block as usize);
    release(span);
}

/// Gives the run of a block back. Nobody has the block any more.
pub(super) fn release(span: &'static Span) {
    #[cfg(debug_assertions)]
    super::check::large_taken_back(span);
    pages::release(span, span.touched());
}

/// Changes a block's size where it is. False if it has to move.
pub(super) fn resize(block: *mut u8, bytes: usize) -> bool {
    let span = span_of(block);
    let (old, need, have) = (span.bytes(), granules(bytes), span.granules());
    if need > have && !pages::lock().extend(span, need) {
        return false;
    }
    if bytes < old && need < have {
        let written = span.touched().saturating_sub(need * GRANULE);
        pages::lock().shorten(span, need, written);
        span.set_touched(span.touched().min(need * GRANULE));
    }
    span.set_bytes(bytes);
    true
}
