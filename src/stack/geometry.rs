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

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::arch;
use crate::sys::mem::PAGE;
use crate::sys::sanitizer::Fiber;

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

/// Slots in a row have their headers this much apart relative to their tops, in turns of [`COLORS`]: for the sets of the first cache.
const COLOR_BYTES: usize = 512;
const COLORS: usize = 4;

/// Log2 of the part of a slot by which tops differ from slot to slot, in pages, and of the most pages: for the sets of the TLB. With all tops at the ends of slots of
/// 64 MiB the low 14 bits of their page numbers are the same, so that all stacks share one set, and every switch among more goroutines than
/// it has ways pays for a walk of the page tables (a ring of 503: 58 ns a hop, 32 of them the first access to the other stack; 33 with this).
const PAGE_COLOR_SHARE: u32 = 5;
const PAGE_COLORS_SHIFT: u32 = 8;
const PAGE_SHIFT: u32 = PAGE.trailing_zeros();

/// How many regions the arena is cut into.
pub(crate) const REGIONS: usize = 256;

/// The arena's base and size (0 before boot), and log2 of a region's size. Written once by `arena::boot` before any slot
/// exists; plain loads afterwards.
pub(super) static BASE: AtomicUsize = AtomicUsize::new(0);
pub(super) static SIZE: AtomicUsize = AtomicUsize::new(0);
pub(super) static REGION_SHIFT: AtomicU32 = AtomicU32::new(0);
/// The shape of a region's slots; 0 while the region is unassigned. Written under the arena's lock before the
/// first slot of the region is handed out, never changed again.
pub(super) static SHAPE_OF_REGION: [AtomicU32; REGIONS] = [const { AtomicU32::new(0) }; REGIONS];

/// What the place of a header depends on, in one word for `header_at`: log2 of the stride in the low byte, above it the mask of the page colors.
#[derive(Clone, Copy)]
pub(super) struct Shape(u32);

impl Shape {
    /// Of the slots of stride `1 << shift`.
    pub(super) const fn of(shift: u32) -> Self {
        let share = shift.saturating_sub(PAGE_SHIFT + PAGE_COLOR_SHARE);
        let bits = if share < PAGE_COLORS_SHIFT { share } else { PAGE_COLORS_SHIFT };
        Self(shift | (((1 << bits) - 1) << 8))
    }

    pub(super) const fn word(self) -> u32 {
        self.0
    }

    #[inline(always)]
    const fn shift(self) -> u32 {
        self.0 & 0xFF
    }

    /// The top of the stack in the slot that ends at `end`: everything above is not used.
    #[inline(always)]
    const fn top(self, end: usize) -> usize {
        let index = (end - 1) >> self.shift();
        end - ((index & (self.0 >> 8) as usize) << PAGE_SHIFT)
    }

    /// Where the header of the slot is that `address` lies in.
    #[inline(always)]
    const fn header(self, address: usize) -> usize {
        let end = (address | ((1 << self.shift()) - 1)) + 1;
        self.top(end) - HEADER_BYTES - (address >> self.shift()) % COLORS * COLOR_BYTES
    }
}

/// The top of the stack in the slot that ends at `end`: everything above is not used.
pub(super) const fn top_of(end: usize, shift: u32) -> usize {
    Shape::of(shift).top(end)
}

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
    /// The stack as ThreadSanitizer knows it; of no size elsewhere.
    pub(crate) fiber: Fiber,
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
    Some(header_of(sp, shape_at(sp)?))
}

/// Where the header of the slot is that an address lies in, whether there is one or not.
pub(crate) fn header_address(address: usize) -> Option<usize> {
    Some(shape_at(address)?.header(address))
}

/// The shape of the slots around an address; none outside the assigned part of the arena.
#[inline(always)]
fn shape_at(address: usize) -> Option<Shape> {
    // Relaxed: `BASE` and `SIZE` are written before the first slot exists, and whoever runs on a slot got it through
    // a lock since; on any other stack both the old and the new value say "outside".
    let offset = address.wrapping_sub(BASE.load(Ordering::Relaxed));
    if offset >= SIZE.load(Ordering::Relaxed) {
        return None;
    }
    let region = offset >> REGION_SHIFT.load(Ordering::Relaxed);
    let shape = SHAPE_OF_REGION[region % REGIONS].load(Ordering::Relaxed);
    (shape != 0).then_some(Shape(shape))
}

/// The header of the slot of stride `1 << shift` that `address` lies in.
#[inline(always)]
pub(super) fn header_of_slot(address: usize, shift: u32) -> HeaderRef {
    header_of(address, Shape::of(shift))
}

#[inline(always)]
fn header_of(address: usize, shape: Shape) -> HeaderRef {
    let header = shape.header(address) as *const Header;
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
    pub(super) fn slot_end(&self) -> usize {
        (self.address() | ((1 << self.shift()) - 1)) + 1
    }

    /// One past the last byte that is used: see [`Shape::top`].
    #[inline(always)]
    pub(crate) fn top(&self) -> usize {
        top_of(self.slot_end(), self.shift())
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
        self.slot_end() - (1 << self.shift())
    }

    /// Bytes that are open: header and stack down to the soft guard.
    pub(crate) fn open_bytes(&self) -> usize {
        self.top() - self.open_from()
    }

    /// The lowest address that is open.
    pub(crate) fn open_from(&self) -> usize {
        self.guard.load(Ordering::Relaxed) + PAGE
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
    fn tops_differ_within_a_share_of_the_slot() {
        for shift in MIN_SHIFT..=MAX_SHIFT {
            let tops: Vec<usize> = (1..=512).map(|n| (n << shift) - top_of(n << shift, shift)).collect();
            assert!(tops.iter().all(|below| below % PAGE == 0 && *below < (1 << shift) / 32));
            let mut different = tops.clone();
            different.sort_unstable();
            different.dedup();
            assert_eq!(different.len(), ((1 << shift) / PAGE / 32).clamp(1, 256));
            // A header and its slot lead to each other.
            for n in 1..=8_usize {
                let header = Shape::of(shift).header((n << shift) - 1);
                assert_eq!(Shape::of(shift).header(header), header);
                assert!(header < top_of(n << shift, shift) && header >= (n - 1) << shift);
            }
        }
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
