//! SIGNAL-SAFE. Where things are: pure arithmetic on addresses, plus loads of three words that never change after boot.
//!
//! ```text
//! arena base                                                                     arena base + size
//! | region 0 | region 1 | region 2 | ...                                                   |
//!
//! A region belongs to one stride class (`CLASS_OF_REGION`) and is cut into slots of that stride:
//!
//! slot base                                                                         slot top
//! | hard guard | not open yet ............ | soft guard | open stack ........ | header | color |
//!              ^ limit                     ^ guard                            ^ base of the stack
//! ```
//!
//! The color shifts header and stack by 0 to 3 times 512 bytes, by slot: otherwise the busy lines of all stacks would fall into the same few sets of the first
//! cache, and on processors that predict the way from the address (AMD) into the same way of it.
//!
//! Every slot is aligned to its stride, so the header of the running goroutine is found by masking the stack pointer:
//! no thread-local, which could be stale after a switch. Outside the arena there is no goroutine.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use crate::arch;
use crate::sys::mem::PAGE;

/// The smallest stride and the smallest `stack_max`: 64 KiB.
pub(crate) const MIN_STACK: usize = 1 << MIN_SHIFT;
/// The largest stride and the largest `stack_max`: 1 GiB.
pub(crate) const MAX_STACK: usize = 1 << MAX_SHIFT;
/// Log2 of [`MIN_STACK`].
pub(crate) const MIN_SHIFT: u32 = 16;
/// Log2 of [`MAX_STACK`].
pub(crate) const MAX_SHIFT: u32 = 30;
/// How many stride classes there are; class `c` has stride `1 << (MIN_SHIFT + c)`.
pub(crate) const CLASSES: usize = (MAX_SHIFT - MIN_SHIFT + 1) as usize;

/// Bytes at the top of a slot for its header; [`Header`] is the first part of them, the rest is `routine::slot`'s.
pub(crate) const HEADER_BYTES: usize = 192;
/// What a goroutine starts with, header included: the soft guard is the page below. The kernel gives the pages one by one
/// as they are touched, so a larger value costs no memory; a smaller one costs growth faults.
pub(crate) const INITIAL: usize = 16 * 1024;

/// Slots in a row have their headers this much apart relative to their tops, in turns of [`COLORS`].
const COLOR_BYTES: usize = 512;
const COLORS: usize = 4;

/// How many regions the arena is cut into.
pub(crate) const REGIONS: usize = 256;

/// The arena's base and size (0 before boot), and log2 of a region's size. Written once by `arena::boot` before any slot
/// exists; plain loads afterwards.
pub(super) static BASE: AtomicUsize = AtomicUsize::new(0);
pub(super) static SIZE: AtomicUsize = AtomicUsize::new(0);
pub(super) static REGION_SHIFT: AtomicU32 = AtomicU32::new(0);
/// Log2 of the stride of a region's slots; 0 while the region is unassigned. Written under the arena's lock before the
/// first slot of the region is handed out, never changed again.
pub(super) static SHIFT_OF_REGION: [AtomicU8; REGIONS] = [const { AtomicU8::new(0) }; REGIONS];

/// The stack layer's part of a slot header. Zeroed memory is a header that was never prepared (`shift == 0`).
#[repr(C)]
pub(crate) struct Header {
    /// Lowest address of the soft guard page; the open stack starts a page above. Written by the owner of the slot and by
    /// the fault handler on the slot's own stack, so never by two at once.
    pub(super) guard: AtomicUsize,
    /// Lowest address the goroutine that has the slot may use: its `stack_max`, and never inside the hard guard.
    pub(super) limit: AtomicUsize,
    /// Link of the list the slot is in while nobody runs on it. Guarded by that list's owner.
    pub(super) next: AtomicUsize,
    /// Whether the hard guard at the bottom is installed.
    pub(super) hard: AtomicU32,
    /// Log2 of the stride; 0: never prepared, or given back to the kernel.
    pub(super) shift: AtomicU32,
}

/// Evidence of a slot: the address of its header, which is mapped for ever (it may read as zero while the slot is cold).
pub(crate) type HeaderRef = &'static Header;

/// The stride class for stacks of up to `bytes`, which is within [`MIN_STACK`] and [`MAX_STACK`].
pub(crate) fn class_for(bytes: usize) -> usize {
    debug_assert!((MIN_STACK..=MAX_STACK).contains(&bytes), "checked by the builders");
    (bytes.next_power_of_two().trailing_zeros() - MIN_SHIFT) as usize
}

/// Log2 of the stride of a class.
pub(crate) const fn shift_of(class: usize) -> u32 {
    MIN_SHIFT + class as u32
}

/// Bytes at the bottom of a slot that stay closed. Several pages where there is room: C code with large frames may step
/// over one. Rust probes every page.
pub(crate) const fn hard_guard(shift: u32) -> usize {
    let sixteenth = (1 << shift) / 16;
    if sixteenth > 64 * 1024 { 64 * 1024 } else { sixteenth }
}

/// The header of the slot that the stack pointer `sp` is in, or `None` outside the assigned part of the arena. Only for
/// stack pointers: a slot that somebody runs on is open, while the header of another may not even be readable.
#[inline(always)]
pub(crate) fn header_at(sp: usize) -> Option<HeaderRef> {
    let address = sp;
    // Relaxed: `BASE` and `SIZE` are written before the first slot exists, and whoever runs on a slot got it through
    // a lock since; on any other stack both the old and the new value say "outside".
    let offset = address.wrapping_sub(BASE.load(Ordering::Relaxed));
    if offset >= SIZE.load(Ordering::Relaxed) {
        return None;
    }
    let region = offset >> REGION_SHIFT.load(Ordering::Relaxed);
    let shift = SHIFT_OF_REGION[region % REGIONS].load(Ordering::Relaxed);
    if shift == 0 {
        return None;
    }
    Some(header_of_slot(address, u32::from(shift)))
}

/// The header of the slot of stride `1 << shift` that `address` lies in.
#[inline(always)]
pub(super) fn header_of_slot(address: usize, shift: u32) -> HeaderRef {
    let top = (address | ((1 << shift) - 1)) + 1;
    let color = (address >> shift) % COLORS;
    let header = (top - HEADER_BYTES - color * COLOR_BYTES) as *const Header;
    // SAFETY: the callers know the slot to be open: somebody runs on it, or the arena has just opened it. The top of an
    // open slot is readable and writable, and any bytes are a valid Header, all of whose fields are atomics.
    unsafe { &*header }
}

/// The header of the slot that the caller runs on: `None` on a plain thread.
#[inline(always)]
pub(crate) fn current_header() -> Option<HeaderRef> {
    header_at(arch::stack_pointer())
}

impl Header {
    /// The address of this header, from which the whole slot follows.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// One past the slot's last byte.
    #[inline(always)]
    pub(crate) fn top(&self) -> usize {
        (self.address() | ((1 << self.shift()) - 1)) + 1
    }

    /// Log2 of the stride.
    #[inline(always)]
    pub(crate) fn shift(&self) -> u32 {
        self.shift.load(Ordering::Relaxed)
    }

    /// The stride class.
    #[inline(always)]
    pub(crate) fn class(&self) -> usize {
        (self.shift() - MIN_SHIFT) as usize
    }

    /// The slot's first byte.
    pub(crate) fn slot_base(&self) -> usize {
        self.top() - (1 << self.shift())
    }

    /// Bytes that are open: header and stack down to the soft guard.
    pub(crate) fn open_bytes(&self) -> usize {
        self.top() - (self.guard.load(Ordering::Relaxed) + PAGE)
    }

    /// The lowest address that this slot's goroutine may ever use.
    pub(crate) fn limit_address(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_size() {
        assert_eq!(class_for(MIN_STACK), 0);
        assert_eq!(class_for(MIN_STACK + 1), 1);
        assert_eq!(class_for(64 << 20), 10);
        assert_eq!(class_for(MAX_STACK), CLASSES - 1);
        assert_eq!(shift_of(CLASSES - 1), MAX_SHIFT);
    }

    #[test]
    fn hard_guards_are_several_pages_where_there_is_room() {
        assert_eq!(hard_guard(MIN_SHIFT), PAGE);
        assert_eq!(hard_guard(20), 64 * 1024);
        assert_eq!(hard_guard(MAX_SHIFT), 64 * 1024);
    }

    #[test]
    fn a_thread_is_no_goroutine() {
        assert!(current_header().is_none());
        assert!(header_at(0).is_none());
        assert!(header_at(usize::MAX).is_none());
    }
}
