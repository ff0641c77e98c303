//! SIGNAL-SAFE. From a fault to more stack, to the overflow report, or to "not mine".
//!
//! Touches: geometry arithmetic, header atomics, one static function pointer, raw system calls. No lock, no allocation, no
//! formatting, no thread-local, no panic.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::geometry::{self, Header, MAX_STACK};
use super::grow::{self, Growth};
use crate::arch;
use crate::sys::OsError;
use crate::sys::mem;
use crate::sys::signal::text::Text;
use crate::sys::signal::{self, Fault, Handled};

/// Who overflowed: what the task layer knows of the goroutine on a slot. The strings live as long as the process does not
/// leave the handler.
pub(crate) struct Victim {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    pub(crate) stack_max: usize,
}

/// Tells who runs on a slot. SIGNAL-SAFE.
pub(crate) type Describe = fn(&Header) -> Option<Victim>;

static DESCRIBE: AtomicUsize = AtomicUsize::new(0);

/// Installs the handler, in front of the one that is there.
pub(crate) fn install(describe: Describe) -> Result<(), OsError> {
    DESCRIBE.store(describe as usize, Ordering::Release);
    signal::install(on_fault)
}

fn on_fault(fault: Fault) -> Handled {
    // Only a fault in the slot that the interrupted code runs on can be its growth.
    let Some(header) = geometry::header_at(fault.sp) else { return Handled::No };
    if fault.address < header.slot_base() || fault.address >= header.address() {
        return Handled::No;
    }
    if fault.address >= header.open_from() {
        return Handled::No;
    }
    // Not the address alone: C code may have stepped over the guard, because only Rust's large frames are probed, and runs into it from below. A guard that stood anywhere above the
    // stack pointer would stand in what is in use, and empty that page.
    let in_use = fault.address.min(fault.sp - arch::RED_ZONE);
    match grow::grow(header, in_use, mem::guard_mode()) {
        Growth::Grown => Handled::Retry,
        Growth::NotStack => Handled::No,
        Growth::PastLimit => report(header, true),
        Growth::Refused => report(header, false),
    }
}

fn report(header: &Header, past_limit: bool) -> ! {
    let mut text = Text::<1024>::new();
    text.add("\ngoroutine ");
    let describe = DESCRIBE.load(Ordering::Acquire);
    // SAFETY: `install` stored a Describe there before the handler that calls this was installed.
    let describe: Describe = unsafe { std::mem::transmute(describe) };
    let victim = describe(header);
    if let Some(victim) = &victim {
        text.number(victim.id as usize);
        if !victim.name.is_empty() {
            text.add(" '");
            text.add(victim.name);
            text.add("'");
        }
    }
    if past_limit {
        text.add(" has overflowed its stack");
    } else {
        text.add(" needs more stack, and the kernel refused it (out of memory, or of vm.max_map_count)");
    }
    if let Some(victim) = &victim {
        text.add("\nits limit is stack_max = ");
        text.number(victim.stack_max);
        text.add(" bytes; it was spawned at ");
        text.add(victim.file);
        text.add(":");
        text.number(victim.line as usize);
    }
    text.add("\nraise the limit with task::Builder::stack_max for one goroutine, runtime::Builder::stack_max for all, or \
              GREENROUTINE_STACK_MAX for the global runtime (at most ");
    text.number(MAX_STACK);
    text.add(" bytes)\nfatal runtime error: stack overflow, aborting\n");
    text.write();
    signal::abort()
}
