//! SIGNAL-SAFE. Moving the soft guard down: the one change of a slot that happens inside the fault handler, on the slot's own stack. System calls and
//! header atomics only.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::geometry::{Header, hard_guard};
use crate::sys::mem::{self, GuardMode, PAGE};

/// How often a stack has grown.
pub(super) static GROWN: AtomicU64 = AtomicU64::new(0);

/// What [`grow`] found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// The address is usable now.
    Grown,
    /// The address is below what this goroutine may use.
    PastLimit,
    /// The kernel refused to move the guard.
    Refused,
    /// The address was open already: the fault has another cause.
    NotStack,
}

/// Opens the stack down to `address` at least, doubling, never below the limit. Called on the slot's own stack.
pub(super) fn grow(header: &Header, address: usize, mode: GuardMode) -> Growth {
    let guard = header.guard.load(Relaxed);
    let limit = header.limit_address();
    if address < limit {
        return Growth::PastLimit;
    }
    if address >= guard + PAGE {
        return Growth::NotStack;
    }
    let top = header.top();
    let mut open = header.open_bytes();
    while top - open > address {
        open *= 2;
    }
    let mut new_guard = top.saturating_sub(open + PAGE);
    let at_limit = new_guard + PAGE <= limit;
    if at_limit {
        new_guard = limit - PAGE;
    }
    let moved = match mode {
        // The new guard stands before the old one goes, so the stack is guarded at every moment.
        GuardMode::Madvise => {
            let install = if at_limit {
                let deep = hard_guard(header.shift());
                mem::guard_install(limit - deep, deep)
            } else {
                mem::guard_install(new_guard, PAGE)
            };
            install.and_then(|()| mem::guard_remove(guard, PAGE))
        }
        GuardMode::Mprotect => mem::protect_rw(new_guard + PAGE, guard - new_guard),
    };
    if moved.is_err() {
        return Growth::Refused;
    }
    GROWN.fetch_add(1, Relaxed);
    header.hard.store(at_limit as u32, Relaxed);
    header.guard.store(new_guard, Relaxed);
    Growth::Grown
}
