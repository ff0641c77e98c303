//! What the goroutines hold, as ranges of memory that may contain references: for the collector, while the world is stopped. Called by `gc`.
//!
//! | of | is scanned |
//! | --- | --- |
//! | every cell that is not free | its payload: the closure of a goroutine that has not started, or the result of one that has ended |
//! | a goroutine that has started | its stack, from where it was suspended to the top |
//! | a goroutine that runs | the same, which may be too little or too much: its thread's stack pointer lies in the same slot and is scanned from there ([`of_running`]) |
//!
//! The life of a cell begins before a closure is put into it and ends after the result was taken (`sched::spawn`, `body`), so nothing is missed in between.

use std::ops::Range;

use super::cell::{Kind, PAYLOAD, Task};
use super::slot::Slot;
use crate::base::meta::{self, SIZES};
use crate::stack::geometry;

/// A suspended goroutine's stack is in use a little below the recorded stack pointer: the registers that the switch has pushed.
const MARGIN: usize = 256;

/// Calls `each` with what all goroutines and waiting threads hold. `all_open`: of running goroutines' stacks everything that is open, because a thread's stack pointer was found elsewhere
/// (a handler on an alternate stack, or a library that switches stacks itself).
pub(crate) fn for_each(cells: &meta::Frozen, all_open: bool, mut each: impl FnMut(Range<usize>)) {
    cells.for_each_block(|block, class| {
        let task = Task::from_block(block);
        let (is_used, may_run) = task.life.look();
        if !is_used || task.kind.get() != Kind::Goroutine {
            return;
        }
        let payload = task.payload() as usize;
        each(payload..payload + SIZES[class] - PAYLOAD);
        if may_run
            && !task.fresh.get()
            && let Some(slot) = task.slot()
        {
            let is_parked = task.wake.waiting().is_some();
            let low = slot.stack.open_from();
            let from = if all_open && !is_parked {
                low
            } else {
                (slot.suspended_sp.get() & !7).saturating_sub(MARGIN).max(low)
            };
            each(from..slot.stack.address());
        }
    });
}

/// The stack of the goroutine that runs with that stack pointer, from there; none if it is no goroutine's.
pub(crate) fn of_running(sp: usize) -> Option<Range<usize>> {
    let slot = Slot::of(geometry::header_at(sp)?);
    Some(sp..slot.stack.address().max(sp))
}
