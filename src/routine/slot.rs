//! [`Slot`]: the header of a stack slot as the task layer sees it, and the switch.
//!
//! The switch is corosensei's. A slot keeps one coroutine for good, whose body runs goroutine after goroutine
//! (`body::slot_main`), so starting a goroutine is a resume and nothing more: no new coroutine, no copy of the closure. A
//! suspended coroutine is never dropped (its forced unwind aborts when a destructor blocks); a slot that is given
//! back to the kernel is suspended between two goroutines, where nothing is left to drop.
//!
//! Measured here: resume and suspend 2.4 ns a pair; a fresh coroutine per goroutine 10.7 ns.

use std::cell::{Cell, UnsafeCell};
use std::mem::{ManuallyDrop, MaybeUninit};

use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::cell::{Task, TaskRef};
use crate::base::fatal;
use crate::stack::geometry;
use crate::stack::{HEADER_BYTES, Header};
use crate::sys::sanitizer::{self, Fiber};

/// What a goroutine tells its worker as it suspends: one of the constants, or the address of a park operation.
pub(crate) type Command = usize;
/// Put me at the tail of the queue.
pub(crate) const YIELD: Command = 0;
/// The goroutine has ended; the slot is free.
pub(crate) const DONE: Command = 1;

/// The memory of a slot, as corosensei wants it.
struct SlotStack(&'static Header);

// SAFETY: the memory from `limit` to `base` is this slot's, at least MIN_STACK minus the header, and ends in a guard page at
// every moment (`stack::grow`).
unsafe impl Stack for SlotStack {
    #[inline(always)]
    fn base(&self) -> StackPointer {
        StackPointer::new(self.0.address()).unwrap_or(StackPointer::MIN)
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.0.slot_base()).unwrap_or(StackPointer::MIN)
    }
}

type SlotCoroutine = Coroutine<(), Command, (), SlotStack>;

/// Whom the worker has to attend to after a goroutine has ended. Cells, so that each is written in place: returned as a value it was copied through
/// memory in pieces of another size, which stalls on store forwarding (4 ns).
#[derive(Default)]
pub(crate) struct Ended {
    /// The joiner, claimed.
    pub(crate) joiner: Cell<Option<TaskRef>>,
    /// Whether the joiner gave its turn and gets it back.
    pub(crate) handoff: Cell<bool>,
    /// The owner of the scope, claimed.
    pub(crate) owner: Cell<Option<TaskRef>>,
    /// The cell, if nobody holds it any more.
    pub(crate) free: Cell<Option<TaskRef>>,
}

/// The header of a slot, at its top. Zeroed memory is a slot that was never prepared.
#[repr(C)]
pub(crate) struct Slot {
    pub(crate) stack: Header,
    /// The goroutine that has the slot. Written by its worker; read by the goroutine, and by the fault handler on this slot.
    pub(crate) task: Cell<Option<TaskRef>>,
    /// The worker (`sched::Worker`) that runs it: written before each resume, valid until the next suspend.
    pub(crate) worker: Cell<*const ()>,
    yielder: Cell<*const Yielder<(), Command>>,
    /// The stack pointer of the suspended goroutine, a little above the lowest word in use: for dumps and scans. The last of the first cache line: all that a
    /// switch touches is in there but for `coroutine`.
    pub(crate) suspended_sp: Cell<usize>,
    prepared: Cell<bool>,
    /// Taken for a goroutine with a `stack_max` of its own: not for a worker's cache.
    pub(crate) custom: Cell<bool>,
    /// Initialised when `prepared`.
    coroutine: UnsafeCell<MaybeUninit<ManuallyDrop<SlotCoroutine>>>,
    /// Left by the goroutine that ended last.
    pub(crate) ended: Ended,
}

const _: () = assert!(std::mem::offset_of!(Slot, prepared) == 64 + size_of::<Fiber>());
const _: () = assert!(size_of::<Slot>() <= HEADER_BYTES && HEADER_BYTES.is_multiple_of(16));

/// A slot, mapped for ever.
pub(crate) type SlotRef = &'static Slot;

/// The slot that the caller runs on; `None` on a plain thread.
#[inline(always)]
pub(crate) fn current() -> Option<SlotRef> {
    geometry::current_header().map(Slot::of)
}

impl Slot {
    /// The slot with this stack header.
    #[inline(always)]
    pub(crate) fn of(header: &'static Header) -> SlotRef {
        // SAFETY: `stack` is the first field of the repr(C) struct, HEADER_BYTES of open memory start there, and any zeroed or
        // prepared bytes are a valid Slot.
        unsafe { &*std::ptr::from_ref(header).cast::<Slot>() }
    }

    /// Makes the slot ready to run `body`, for ever. Idempotent.
    pub(crate) fn prepare(&'static self, body: fn(SlotRef)) {
        if self.prepared.get() {
            return;
        }
        // The frames of the coroutine that the slot had before it was given to the kernel: all near the top, between two goroutines.
        sanitizer::forget_frames(self.stack.open_from(), self.stack.address());
        let coroutine = SlotCoroutine::with_stack(SlotStack(&self.stack), move |yielder, ()| {
            self.yielder.set(yielder);
            loop {
                body(self);
                yielder.suspend(DONE);
            }
        });
        // SAFETY: nobody runs on the slot, so its coroutine is the caller's.
        let place = unsafe { &mut *self.coroutine.get() };
        place.write(ManuallyDrop::new(coroutine));
        self.prepared.set(true);
    }

    /// Runs the slot's goroutine until it suspends.
    ///
    /// # Safety
    ///
    /// - The slot is prepared, its goroutine is suspended, and it is the caller's to run: it came out of a queue.
    #[inline(always)]
    pub(crate) unsafe fn resume(&self) -> Command {
        // SAFETY: only the worker that runs the goroutine touches it.
        let place = unsafe { &mut *self.coroutine.get() };
        // SAFETY: prepared, so initialised.
        let coroutine = unsafe { place.assume_init_mut() };
        match self.stack.fiber.run(|| coroutine.resume(())) {
            CoroutineResult::Yield(command) => command,
            CoroutineResult::Return(()) => fatal!("greenroutine: fatal: the body of a slot returned\n"),
        }
    }

    /// Gives the thread back to the worker with a command, until the worker resumes the goroutine.
    ///
    /// # Safety
    ///
    /// - The caller runs on this slot.
    #[inline(always)]
    pub(crate) unsafe fn suspend(&self, command: Command) {
        self.suspended_sp.set(crate::arch::stack_pointer());
        // SAFETY: set on the first run, before any code that could suspend; the yielder lies at the top of this stack.
        let yielder = unsafe { &*self.yielder.get() };
        yielder.suspend(command);
    }

    /// Where the coroutine lies. Among its words is the address of what the switch has saved, as long as the goroutine is suspended: the only one that lies in the slot below `suspended_sp`.
    #[cfg(feature = "backtrace")]
    pub(crate) fn coroutine(&self) -> std::ops::Range<usize> {
        let at = self.coroutine.get().addr();
        at..at + size_of::<SlotCoroutine>()
    }

    /// The goroutine that has the slot.
    #[inline(always)]
    pub(crate) fn task(&self) -> TaskRef {
        match self.task.get() {
            Some(task) => task,
            None => fatal!("greenroutine: fatal: a slot runs without a goroutine\n"),
        }
    }
}

/// SIGNAL-SAFE. Who runs on a slot, for the overflow report.
pub(crate) fn describe(header: &Header) -> Option<crate::stack::fault::Victim> {
    // SAFETY: as in `Slot::of`; the fault happened on this slot, so it is open and prepared.
    let slot = unsafe { &*std::ptr::from_ref(header).cast::<Slot>() };
    let task: &'static Task = slot.task.get()?;
    let site = task.site.get();
    Some(crate::stack::fault::Victim {
        id: task.id.load(std::sync::atomic::Ordering::Relaxed),
        name: task.name().unwrap_or(""),
        file: site.file(),
        line: site.line(),
        stack_max: task.stack_max.get() as usize,
    })
}
