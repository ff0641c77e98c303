//! What the goroutines hold, as ranges of memory that may contain references. Called by `gc`.
//!
//! | of | is scanned |
//! | --- | --- |
//! | every cell that is not free | its payload: the closure of a goroutine that has not started, or the result of one that has ended |
//! | a goroutine that has started | its stack, from where it was suspended to the top |
//! | a goroutine that runs | the same, which may be too little or too much: its thread's stack pointer lies in the same slot and is scanned from there ([`in_use_of_running`]) |
//!
//! The life of a cell begins before a closure is put into it and ends after the result was taken (`sched::spawn`, `body`), so nothing is missed in between.
//!
//! **Unchanged goroutines.** A goroutine that waits changes nothing on its stack, and nobody else does before the wait is claimed, unless it lends parts of its stack out
//! (`MORE_SHARED`). So a [`fingerprint`] that is the same before and after a scan, and later, says that the scan still holds. That of a goroutine that has ended is
//! its id: the result lies there until it is taken.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::cell::{Kind, MORE_SHARED, Task, TaskRef};
use super::slot::Slot;
use super::wake::Wait;
use crate::base::meta::Block;
use crate::stack::{HEADER_BYTES, commit, geometry};

/// A suspended goroutine's stack is in use a little below the recorded stack pointer: the registers that the switch has pushed.
const MARGIN: usize = 256;

/// What [`fingerprint`] says of what may change at any time.
pub(crate) const CHANGES: u64 = 0;
/// Of what holds nothing.
pub(crate) const EMPTY: u64 = u64::MAX;

/// See the file's documentation: a number, [`CHANGES`] or [`EMPTY`].
pub(crate) fn fingerprint(block: *mut Block) -> u64 {
    let task = Task::from_block(block);
    let (is_used, may_run) = task.life.look();
    if !is_used || task.kind.get() != Kind::Goroutine {
        return EMPTY;
    }
    if !may_run {
        return task.id.load(Ordering::Relaxed) << 1;
    }
    // The closure is written after the cell has begun to live, and nothing says when.
    if task.fresh.get() || task.more.get() & MORE_SHARED != 0 {
        return CHANGES;
    }
    task.wake.fingerprint()
}

/// What a goroutine holds: its payload, and its stack.
pub(crate) struct Holdings {
    pub(crate) payload: Range<usize>,
    pub(crate) stack: Option<[Range<usize>; 2]>,
}

/// What a goroutine holds, with the world stopped. `all_open`: if it runs, everything on its stack that is open, because a thread's stack pointer was found elsewhere
/// (a handler on an alternate stack, or a library that switches stacks itself).
pub(crate) fn holdings(block: *mut Block, class: usize, all_open: bool) -> Holdings {
    let task = Task::from_block(block);
    let payload = payload(task, class);
    let (_, may_run) = task.life.look();
    if !may_run || task.fresh.get() {
        return Holdings { payload, stack: None };
    }
    let stack = task.slot().map(|slot| {
        let is_parked = task.wake.waiting().is_some();
        let used = used_from(slot.suspended_sp.get());
        // A goroutine that has never been suspended has none, or that of the last on its stack.
        let is_known = used >= slot.stack.limit_address() && (is_parked || !all_open);
        commit::in_use(&slot.stack, if is_known { used } else { slot.stack.open_from() })
    });
    Holdings { payload, stack }
}

fn payload(task: &Task, class: usize) -> Range<usize> {
    let start = task.payload() as usize;
    start..start + Task::payload_of(class)
}

/// From where on a stack is in use whose goroutine was suspended at `sp`.
fn used_from(sp: usize) -> usize {
    (sp & !7).saturating_sub(MARGIN)
}

/// Where a goroutine's payload and stack are, with the world running: to be read with care, and worth something only if the fingerprint is the same before and after. `header` is a copy of the
/// slot's header, for which the caller asks with [`header_of`].
pub(crate) fn stack_by_header(header: &[u8; HEADER_BYTES], slot: usize) -> Range<usize> {
    let at = std::mem::offset_of!(Slot, suspended_sp);
    let mut word = [0; size_of::<usize>()];
    word.copy_from_slice(&header[at..at + size_of::<usize>()]);
    used_from(usize::from_ne_bytes(word)).min(slot)..slot
}

/// Where a goroutine's payload is, and the address of its slot's header (0: none). The header may be gone by the time it is read.
pub(crate) fn header_of(block: *mut Block, class: usize) -> (Range<usize>, usize) {
    let task = Task::from_block(block);
    (payload(task, class), task.slot.load(Ordering::Relaxed) as usize)
}

/// What is in use of the stack of the goroutine that runs with that stack pointer, from `from` on; none if it is no goroutine's. A pointer that has just moved may point below what is open.
pub(crate) fn in_use_of_running(sp: usize, from: usize) -> Option<[Range<usize>; 2]> {
    geometry::header_at(sp).map(|header| commit::in_use(header, from))
}

/// A goroutine, for who searches for goroutines that nobody reaches, with the world stopped.
pub(crate) struct Member {
    pub(crate) task: TaskRef,
    /// Where the header of its stack is; 0 if it has none.
    pub(crate) slot: usize,
    /// Whether it has ended: what it left is somebody's to take.
    pub(crate) has_ended: bool,
    /// Whether it waits, and can only be woken by somebody who has its address, or one in its stack.
    pub(crate) depends_on_others: bool,
}

/// The goroutine in a block; none if the block is free, or a plain thread's.
pub(crate) fn member(block: *mut Block) -> Option<Member> {
    let task = Task::from_block(block);
    let (is_used, may_run) = task.life.look();
    if !is_used || task.kind.get() != Kind::Goroutine {
        return None;
    }
    let slot = if may_run { task.slot.load(Ordering::Relaxed) as usize } else { 0 };
    let depends_on_others = may_run && task.wake.waiting().is_some_and(Wait::is_for_others);
    Some(Member { task, slot, has_ended: !may_run, depends_on_others })
}

/// What a goroutine's own record holds for it: the closure of one that has not begun, or what one has left that has ended. One that waits has neither.
pub(crate) fn holds_payload(task: TaskRef) -> bool {
    task.fresh.get() || task.wake.waiting().is_none()
}

/// The words of a goroutine's record that lead to those whom its end wakes, and to what is its own elsewhere.
pub(crate) fn links(task: TaskRef) -> [Range<usize>; 3] {
    let words = |field: usize, count: usize| field..field + count * size_of::<usize>();
    let scope = words(&raw const task.scope as usize, usize::from(task.scope().is_some()));
    let joiner = words(&raw const task.joiner as usize, 2 * usize::from(task.life.has_joiner()));
    [scope, words(&raw const task.extras as usize, 1), joiner]
}
