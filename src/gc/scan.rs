//! The roots, one kind after the other: what the program can reach directly. Called by `cycle` while the world is stopped.

use std::ops::Range;

use super::goroutines::{self, Scanned};
use super::mark::Marker;
use super::{reap, roots};
use crate::arch;
use crate::base::meta;
use crate::heap::arena::Kind;
use crate::heap::frozen::{self, Frozen};
use crate::routine::roots::in_use_of_running;
use crate::sys::segments::{self, Part};
use crate::world::Record;
use crate::world::stop::Stopped;

/// The longest part of a thread's stack that the first stop of a cycle scans: 20 µs or so.
const AT_HAND: usize = 64 << 10;

/// What keeps the roots from changing, but for the program itself: got before the world is stopped.
pub(super) struct Held {
    pub(super) added: roots::Held,
    pub(super) tables: reap::Held,
    pub(super) cells: meta::Frozen,
    pub(super) heap: Frozen,
}

/// Scans all roots.
pub(super) fn all(marker: &mut Marker, held: &Held, world: &Stopped) {
    all_but_heap(marker, held, world, &Scanned::default());
    manual_memory(marker, held);
}

/// Scans the program's ordinary allocations.
pub(super) fn manual_memory(marker: &mut Marker, held: &Held) {
    held.heap.for_each_manual(Kind::ManualScan, |range| manual(marker, range));
}

/// Scans all roots that are not in the heap; of the goroutines those that are not `scanned`.
pub(super) fn all_but_heap(marker: &mut Marker, held: &Held, world: &Stopped, scanned: &Scanned) {
    data_and_thread_locals(marker, world);
    let mut is_elsewhere = false;
    for thread in world.threads() {
        is_elsewhere |= one_thread(marker, thread);
    }
    let before = marker.marked.scanned;
    goroutines::at_the_stop(marker, &held.cells, scanned, is_elsewhere);
    marker.marked.stacks += marker.marked.scanned - before;
    for range in held.added.ranges() {
        plain(marker, range);
    }
}

/// Scans what the threads have at hand, for a beginning: they are scanned again when all else is done, and so is a stack that is too deep to wait for.
pub(super) fn at_hand(marker: &mut Marker, world: &Stopped) {
    for thread in world.threads() {
        for_each_part(thread, |range| {
            if range.len() <= AT_HAND {
                ambiguous(marker, range);
            }
        });
    }
}

/// Scans the roots in the heap and in statics while the program runs: most of what there is. What changes meanwhile is scanned again.
pub(super) fn beside_the_program(marker: &mut Marker) {
    segments::for_each(|part| {
        if let Part::Data(range) = part {
            plain(marker, range);
        }
    });
    frozen::for_each_manual_now(|range| {
        manual(marker, range);
        marker.drain_much();
    });
}

fn plain(marker: &mut Marker, range: Range<usize>) {
    // SAFETY: statics, live blocks of the heap, and what `roots::add`'s caller has vouched for are mapped readable; the loader's lock, the heap's and that of the list are held.
    unsafe { marker.scan(range) };
}

fn manual(marker: &mut Marker, range: Range<usize>) {
    // SAFETY: memory of the heap, which is never unmapped.
    unsafe { marker.scan_manual(range) };
}

fn ambiguous(marker: &mut Marker, range: Range<usize>) {
    // SAFETY: the used part of a stack, or what the kernel has saved of a stopped thread, which both stay while it is stopped.
    unsafe { marker.scan_ambiguous(range) };
}

/// Writable data of everything that is loaded, and the thread-locals of every thread.
fn data_and_thread_locals(marker: &mut Marker, world: &Stopped) {
    for_each_static(world, |_, range| plain(marker, range));
}

/// Calls `each` with the writable data of everything that is loaded, and with the thread-locals of every thread, and its thread.
pub(super) fn for_each_static(world: &Stopped, mut each: impl FnMut(Option<&'static Record>, Range<usize>)) {
    segments::for_each(|part| match part {
        Part::Data(range) => each(None, range),
        Part::ThreadLocal(offsets) => {
            for thread in world.threads().filter(|thread| thread.thread_pointer() != 0) {
                let at = |offset: isize| thread.thread_pointer().wrapping_add_signed(offset);
                each(Some(thread), at(offsets.start)..at(offsets.end));
            }
        }
    });
}

/// A thread's registers and its stack. Returns whether its stack pointer is neither in its own stack nor in a goroutine's.
fn one_thread(marker: &mut Marker, thread: &'static Record) -> bool {
    for_each_part(thread, |range| ambiguous(marker, range))
}

/// Calls `each` with where a stopped thread has references: its registers, and what is in use of its stack. As [`one_thread`].
pub(super) fn for_each_part(thread: &'static Record, mut each: impl FnMut(Range<usize>)) -> bool {
    let (start, end) = thread.registers();
    each(start..end);
    let sp = thread.sp();
    let from = (sp & !7).saturating_sub(arch::RED_ZONE);
    if let Some(ranges) = in_use_of_running(sp, from) {
        ranges.into_iter().for_each(each);
        return false;
    }
    let own = thread.bounds();
    if let Some((_, high)) = own.filter(|(low, high)| (*low..*high).contains(&sp)) {
        each(from..high);
        return false;
    }
    // A handler on an alternate stack, or a library that switches stacks: all of the mapping from there on, and all there is of the thread's own.
    if let Some(mapping) = segments::mapping_of(sp) {
        each(from.max(mapping.start)..mapping.end);
    }
    if let Some((low, high)) = own
        && let Some(mapping) = segments::mapping_of(high - 1)
    {
        each(low.max(mapping.start)..high);
    }
    own.is_some()
}
