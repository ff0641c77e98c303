//! [`Task`]: the record of one goroutine, and of a plain thread while it uses the library.
//!
//! A cell is apart from the stack. Goroutines that have not started and goroutines that have ended need no stack, so ten thousand
//! spawned at once take ten thousand small cells, next to each other, and one hot stack after the other; in the design
//! where closure and result lie in the stack slot (64 MiB apart: a page, a page table and a TLB entry each) the same batch
//! touched five cold cache lines a goroutine.
//!
//! ```text
//! 0      wake word (survives; see `wake`)   8  link      16 life, cancel     24 token, futex
//! 32     slot, home, vtable                 56 small state
//! 64     runtime, id, spawn site, scope     96 extras    104 joiner          120 limits
//! 128    payload: first the closure, then the result (`place`)
//! ```
//!
//! The first cache line has all that running, ending and joining an ordinary goroutine reads; the second is written at spawn and read for the
//! rest (`more` says whether there is any). With the two mixed, a batch of 10,000 took 44 ns a goroutine on one worker, and 15% of it in
//! the miss on the second line in `join`.
//!
//! Who may touch what, and when:
//!
//! | field | guard |
//! | --- | --- |
//! | `wake`, `life`, `cancel`, `token`, `futex`, `link` | atomics; protocols in `wake`, `life`, `sched` |
//! | `slot`, `id`, `runtime`, `site` | written before the cell is published or by the worker that starts it; read by dumps at any time |
//! | `home`, `reason`, `more`, `pins`, `hidden_panics` | the worker that runs the goroutine; the claimant while it is blocked |
//! | `scope`, `vtable`, `class`, `stack_max` | constant from spawn to the free |
//! | `joiner` | the handle's owner while `JOINER` is clear, the finisher once `DONE` is set (`life`) |
//! | `extras` | the goroutine itself; `name` in it is constant and anybody's to read who holds a reference |
//! | payload, `outcome` | the goroutine until `DONE`, then the last or only owner of a reference |

use std::cell::Cell;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::life::Life;
use super::locals::Locals;
use super::place::Vtable;
use super::scope::ScopeData;
use super::slot::Slot;
use super::wake::{Reason, WakeWord};
use crate::base::meta::{self, Block, SIZES};

/// Goroutine or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Runs on a stack slot; made ready by a queue.
    Goroutine,
    /// A plain thread; made ready by its futex.
    Thread,
}

/// How a goroutine ended, which says what the payload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Outcome {
    /// Not ended: the payload holds the closure, or nothing once it runs.
    None,
    /// The payload holds the value.
    Value,
    /// The payload holds the `Box<dyn Any + Send>` of the panic.
    Panic,
    /// Cancelled; the payload holds nothing.
    Cancelled,
    /// Ended by `goexit`; the payload holds nothing.
    Goexit,
    /// Never started: the payload holds a `Box<StackError>`.
    NoStack,
    /// The value was taken.
    Taken,
}

/// What few goroutines have.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) name: Option<Box<str>>,
    pub(crate) locals: Locals,
    /// The deadlines of the `timeout`s that the task is in, the outermost first.
    pub(crate) timeouts: Vec<u64>,
}

/// See the file's documentation.
#[repr(C, align(64))]
pub(crate) struct Task {
    pub(crate) wake: WakeWord,
    /// The list the task is in: a run queue, an inbox, or the free list of cells. One at a time.
    pub(crate) link: AtomicPtr<Task>,
    pub(crate) life: Life,
    /// Why waits are interrupted: `CANCELLED`, `EXPIRED`, or 0.
    pub(crate) cancel: AtomicU32,
    /// 1: an `unpark` that no `park` has taken yet.
    pub(crate) token: AtomicU32,
    /// A thread's sleep: 1 once it was made ready. Of a goroutine: the name of the `fresh` queue it waits in, or 0.
    pub(crate) futex: AtomicU32,
    pub(crate) slot: AtomicPtr<Slot>,
    /// The worker (`sched::WorkerShared`) it belongs to, from its first run; while it waits in a `fresh` queue, the task before it there.
    pub(crate) home: AtomicPtr<()>,
    pub(crate) vtable: Cell<&'static Vtable>,
    pub(crate) reason: Cell<Reason>,
    pub(crate) outcome: Cell<Outcome>,
    pub(crate) kind: Cell<Kind>,
    /// Size class of the block (`base::meta`).
    pub(crate) class: Cell<u8>,
    /// Set until the first run: the goroutine counts as not started.
    pub(crate) fresh: Cell<bool>,
    /// Whether it may only run on its `home`, in free mode too. Written by the worker that runs or suspends it, read by the
    /// claimant.
    pub(crate) bound: AtomicBool,
    /// What few goroutines have: `MORE_SCOPE`, `MORE_EXTRAS` (in the second line), `MORE_HANDOFF`; and `MORE_SHARED`.
    pub(crate) more: Cell<u8>,
    /// Panics of this goroutine that its thread's count does not show while it is suspended (`sched::panics`).
    pub(crate) hidden_panics: Cell<u8>,

    /// The runtime (`sched::Core`), which lives until all of its goroutines have ended.
    pub(crate) runtime: AtomicPtr<()>,
    pub(crate) id: AtomicU64,
    pub(crate) site: Cell<&'static Location<'static>>,
    /// Valid if `more` says so.
    pub(crate) scope: Cell<*const ScopeData>,
    pub(crate) extras: AtomicPtr<Extras>,
    /// A ticket (task, episode), or null and a raw `Box<Waker>`.
    pub(crate) joiner: (AtomicPtr<Task>, AtomicU64),
    pub(crate) stack_max: Cell<u32>,
    /// Reasons to stay on the present worker in free mode.
    pub(crate) pins: Cell<u16>,
}

/// `cancel` was called.
pub(crate) const CANCELLED: u32 = 1;
/// The time of a `timeout` that the task is in is over (`sched::timeout`).
pub(crate) const EXPIRED: u32 = 2;

/// `scope` is set.
pub(crate) const MORE_SCOPE: u8 = 1;
/// `extras` is set.
pub(crate) const MORE_EXTRAS: u8 = 2;
/// Its joiner gave it its turn and gets it back.
pub(crate) const MORE_HANDOFF: u8 = 4;
/// Others may write to its stack while it waits: it has been in a scope, in `blocking`, or in `block_on`.
pub(crate) const MORE_SHARED: u8 = 8;

// SAFETY: the table in the file's documentation says, field by field, which thread may touch the fields that are not
// atomics, and that access moves between threads by a queue, a claim or `life`, all of which order it.
unsafe impl Sync for Task {}

/// A cell. `'static` because blocks are never unmapped; that a *goroutine* is still the same one follows from a
/// reference (`life`) or an episode (`wake`).
pub(crate) type TaskRef = &'static Task;

/// Offset of the payload in a cell.
pub(crate) const PAYLOAD: usize = 128;

const _: () = {
    assert!(size_of::<Task>() <= PAYLOAD, "the payload starts after the record");
    assert!(std::mem::offset_of!(Task, runtime) == 64, "the first line ends before it");
    assert!(std::mem::offset_of!(Task, wake) == std::mem::offset_of!(Block, survivor));
    assert!(std::mem::offset_of!(Task, link) == std::mem::offset_of!(Block, link));
    assert!(align_of::<Task>() <= meta::ALIGN);
};

impl Task {
    /// Bytes of payload that cells of `class` have.
    pub(crate) const fn payload_of(class: usize) -> usize {
        SIZES[class] - PAYLOAD
    }

    /// Where the payload lies.
    #[inline(always)]
    pub(crate) fn payload(&self) -> *mut u8 {
        std::ptr::from_ref(self).cast::<u8>().cast_mut().wrapping_add(PAYLOAD)
    }

    /// The cell as a block, to free it.
    #[inline(always)]
    pub(crate) fn block(&self) -> *mut Block {
        std::ptr::from_ref(self).cast::<Block>().cast_mut()
    }

    /// The cell in a block: everything but the wake word is set up by `init`.
    #[inline(always)]
    pub(crate) fn from_block(block: *mut Block) -> TaskRef {
        // SAFETY: blocks are mapped for ever, aligned to 64 and at least as large as a Task; bytes that were never used are
        // zero, which is valid for every field but `vtable` and `site`, and those are written by `init` before they are
        // read: through this reference nobody reads them earlier.
        unsafe { &*block.cast::<Task>() }
    }

    /// The calling goroutine lets others write to its stack while it waits, from now on until it ends: the collector cannot tell by its waits whether that has changed.
    #[inline(always)]
    pub(crate) fn share_stack(&self) {
        self.more.set(self.more.get() | MORE_SHARED);
    }

    /// The slot it runs on, once it has started.
    #[inline(always)]
    pub(crate) fn slot(&self) -> Option<&'static Slot> {
        let slot = self.slot.load(Ordering::Relaxed);
        // SAFETY: null, or a slot, which is mapped for ever; it is this goroutine's until it ends.
        unsafe { slot.as_ref() }
    }

    /// Whether `cancel` was called.
    #[inline(always)]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) & CANCELLED != 0
    }

    /// Whether the task may not wait: it was cancelled, or is out of time.
    #[inline(always)]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) != 0
    }

    /// The extras, made when they are first needed. Only the goroutine itself (or the spawner, before) calls this.
    pub(crate) fn extras_mut(&self) -> *mut Extras {
        let extras = self.extras.load(Ordering::Relaxed);
        if !extras.is_null() {
            return extras;
        }
        let new = Box::into_raw(Box::default());
        // Release pairs with the Acquire of a dump that wants the name.
        self.extras.store(new, Ordering::Release);
        self.more.set(self.more.get() | MORE_EXTRAS);
        new
    }

    /// The scope it belongs to.
    #[inline(always)]
    pub(crate) fn scope(&self) -> Option<*const ScopeData> {
        (self.more.get() & MORE_SCOPE != 0).then(|| self.scope.get())
    }

    /// Puts a new goroutine into a scope.
    #[inline(always)]
    pub(crate) fn set_scope(&self, scope: *const ScopeData) {
        if !scope.is_null() {
            self.scope.set(scope);
            self.more.set(self.more.get() | MORE_SCOPE);
        }
    }

    /// The name given by the builder.
    pub(crate) fn name(&self) -> Option<&str> {
        let extras = self.extras.load(Ordering::Acquire);
        if extras.is_null() {
            return None;
        }
        // SAFETY: the box lives until the cell is freed, and the caller holds a reference of the cell; `name` is constant.
        let name = unsafe { &(*extras).name };
        name.as_deref()
    }
}

/// Ids are given out in runs of 64 a worker; this is where the runs come from. 0 is no goroutine.
static NEXT_ID: AtomicUsize = AtomicUsize::new(1);

/// A run of `count` fresh ids.
pub(crate) fn fresh_ids(count: u64) -> u64 {
    NEXT_ID.fetch_add(count as usize, Ordering::Relaxed) as u64
}
