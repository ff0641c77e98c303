//! Says once on standard error that memory ran out, and which limit it was. Called by `entry` when it returns null. Allocates nothing: the text is put together in a buffer on the
//! stack.

use std::sync::atomic::{AtomicBool, Ordering};

use super::owner::Exhausted;
use crate::sys::limits;
use crate::sys::signal::text::Text;

static IS_SAID: AtomicBool = AtomicBool::new(false);

/// Names the block that could not be had, and the limit; the first time only.
#[cold]
pub(super) fn exhausted(what: Exhausted) {
    if IS_SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    let mut text = Text::<512>::new();
    text.add("greenroutine: heap: no memory for a block of ").number(what.bytes).add(" bytes: ");
    let address_space = limits::address_space();
    if what.errno == 0 {
        text.add("it does not fit into what is left of the heap's reservation");
        match address_space {
            Some(limit) => text
                .add(", which is at most half of the address space limit of ")
                .number(limit)
                .add(" bytes (ulimit -v): raise it"),
            None => text.add(" (`greenroutine doctor` shows its size)"),
        };
    } else {
        text.add("the kernel refused it (errno ").number(what.errno.unsigned_abs() as usize).add("); ");
        match address_space {
            Some(limit) => text.add("the address space limit is ").number(limit).add(" bytes (ulimit -v)"),
            None => text.add("`greenroutine doctor` shows the limits on memory"),
        };
    }
    text.add(". This is said once.\n");
    text.write();
}
