//! Opening a slot, cutting it back, giving it to the kernel: by the slot's owner, while nobody runs on it.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use super::geometry::{HEADER_BYTES, Header, HeaderRef, INITIAL, hard_guard, header_of_slot, top_of};
use super::grow::grow;
use crate::sys::OsError;
use crate::sys::mem::{self, GuardMode, PAGE};

/// Makes a slot usable: [`INITIAL`] bytes below its top open, a soft guard below those. `end` is one past its last byte. The slot was
/// never opened, or was given to the kernel by [`release`].
pub(super) fn open(end: usize, shift: u32, mode: GuardMode) -> Result<HeaderRef, OsError> {
    let top = top_of(end, shift);
    let guard = top - INITIAL - PAGE;
    match mode {
        GuardMode::Madvise => mem::guard_install(guard, PAGE)?,
        GuardMode::Mprotect => mem::protect_rw(top - INITIAL, INITIAL)?,
    }
    let header = header_of_slot(top - HEADER_BYTES, shift);
    header.guard.store(guard, Relaxed);
    header.limit.store(end - (1 << shift) + hard_guard(shift), Relaxed);
    header.hard.store(0, Relaxed);
    header.shift.store(shift, Relaxed);
    Ok(header)
}

/// Sets how deep the goroutine that gets the slot may go. Cuts the slot back if it is open further than that.
pub(crate) fn set_limit(header: &Header, stack_max: usize, mode: GuardMode) {
    let shift = header.shift();
    let lowest = header.slot_base() + hard_guard(shift);
    let limit = lowest.max(header.top() - stack_max.next_multiple_of(PAGE));
    if limit != header.limit_address() {
        if header.guard.load(Relaxed) + PAGE < limit || header.hard.load(Relaxed) != 0 {
            cut_back(header, mode);
        }
        header.limit.store(limit, Relaxed);
    }
}

/// Opens a stack that nobody runs on to `bytes` at least, within its limit. If the kernel refuses, it stays as it is and grows when it must.
pub(crate) fn open_to(header: &Header, bytes: usize, mode: GuardMode) {
    if header.open_bytes() < bytes {
        let lowest = header.limit_address().max(header.top().saturating_sub(bytes));
        let _ = grow(header, lowest, mode);
    }
}

/// What may hold something of a stack that is used from `from` on upwards: all but the soft guard, which stands in between if C code with large frames has stepped over it. The second range is
/// mostly empty.
pub(crate) fn in_use(header: &Header, from: usize) -> [Range<usize>; 2] {
    let guard = header.guard.load(Relaxed);
    let upper = from.clamp(guard + PAGE, header.address())..header.address();
    // Without markers nothing is accessible below the guard, and at the limit the guard is several pages.
    let is_open_below = mem::guard_mode() == GuardMode::Madvise && header.hard.load(Relaxed) == 0;
    let lower = if is_open_below { from.min(guard)..guard } else { guard..guard };
    [upper, lower]
}

/// Gives everything below the initial size back to the kernel. If the kernel refuses, the slot stays as it is: guarded
/// and larger.
pub(super) fn cut_back(header: &Header, mode: GuardMode) {
    if header.open_bytes() <= INITIAL {
        return;
    }
    let top = header.top();
    let base = header.slot_base();
    let guard = top - INITIAL - PAGE;
    let cut = match mode {
        GuardMode::Madvise => mem::guard_install(guard, PAGE)
            .and_then(|()| mem::guard_remove(base, guard - base))
            .and_then(|()| mem::discard(base, guard - base)),
        GuardMode::Mprotect => {
            let closed = guard + PAGE - base;
            mem::discard(base, closed).and_then(|()| mem::protect_none(base, closed))
        }
    };
    if cut.is_ok() {
        header.hard.store(0, Relaxed);
        header.guard.store(guard, Relaxed);
    }
}

/// Gives the whole slot back, header, guards and page tables included. Returns false if the kernel refused; the slot is
/// usable then as before.
pub(super) fn release(header: &Header, mode: GuardMode) -> bool {
    let base = header.slot_base();
    let bytes = 1 << header.shift();
    header.fiber.end();
    match mode {
        GuardMode::Madvise => {
            // Contents first: if the guards cannot be taken away, `shift` reads 0 and the slot is opened afresh.
            mem::discard(base, bytes).is_ok() && {
                let _ = mem::guard_remove(base, bytes);
                // Once more over the whole range, now without markers: since Linux 6.14 this frees empty page tables.
                let _ = mem::discard(base, bytes);
                true
            }
        }
        GuardMode::Mprotect => {
            mem::discard(base, bytes).is_ok() && {
                let _ = mem::protect_none(base, bytes);
                true
            }
        }
    }
}
