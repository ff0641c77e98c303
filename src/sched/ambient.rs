//! Which runtime and which task the caller is. A goroutine finds both through its stack pointer; a plain thread has the global runtime and
//! its own cell.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::config::Config;
use super::core::Core;
use super::{thread, worker};
use crate::arch;
use crate::base::bias::Me;
use crate::base::rng::Rng;
use crate::base::tell;
use crate::routine::{TaskRef, slot};

/// The calling goroutine; `None` on a plain thread.
#[inline(always)]
pub(crate) fn current_goroutine() -> Option<TaskRef> {
    slot::current().map(|slot| slot.task())
}

/// Runs `f` with the caller's task: its goroutine, or its thread's cell.
#[inline(always)]
pub(crate) fn current_task<R>(f: impl FnOnce(TaskRef) -> R) -> R {
    match current_goroutine() {
        Some(task) => f(task),
        None => thread::with_task(f),
    }
}

/// The runtime of the calling goroutine, or of the blocking pool whose thread calls.
pub(crate) fn working_for() -> Option<Arc<Core>> {
    match slot::current() {
        // SAFETY: we run on the slot, and the reference ends here.
        Some(slot) => Some(unsafe { worker::of_slot(slot) }.core.clone()),
        None => thread::ambient(),
    }
}

/// The runtime of the calling goroutine; the global one on a plain thread, started if need be.
pub(crate) fn current_core() -> io::Result<Arc<Core>> {
    match working_for() {
        Some(core) => Ok(core),
        None => global().cloned(),
    }
}

static GLOBAL: OnceLock<Result<Arc<Core>, (io::ErrorKind, String)>> = OnceLock::new();

/// The global runtime, if it was started.
#[cfg_attr(not(feature = "gc"), allow(dead_code))]
pub(crate) fn global_if_started() -> Option<&'static Arc<Core>> {
    GLOBAL.get()?.as_ref().ok()
}

/// The global runtime, started by the first call with the settings of the environment. It never ends.
pub(crate) fn global() -> io::Result<&'static Arc<Core>> {
    let mut is_new = false;
    let core = GLOBAL.get_or_init(|| {
        is_new = true;
        Config::from_environment()
            .and_then(Core::start)
            .map_err(|error| (error.kind(), format!("cannot start the global runtime: {error}")))
    });
    // Not above, where who is told would wait for itself if it used the global runtime.
    if let (true, Ok(core)) = (is_new, core) {
        tell::started(&core.config.name, core.config.workers);
    }
    core.as_ref().map_err(|(kind, text)| io::Error::new(*kind, text.clone()))
}

/// A number below `bound`, which is not 0, for choices that have to be fair: the worker's next draw, or on a plain thread one of all threads'.
#[inline]
pub(crate) fn random(bound: usize) -> usize {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    match slot::current() {
        // SAFETY: we run on the slot, and the reference ends here.
        Some(slot) => unsafe { worker::of_slot(slot) }.rng.borrow_mut().below(bound),
        None => Rng::new(THREADS.fetch_add(Rng::STEP, Ordering::Relaxed)).below(bound),
    }
}

/// In a seeded run, a number below `bound`, which is not 0: which of several is chosen where nobody is promised an order. None elsewhere, and for what is done on behalf of a goroutine that
/// already waits.
#[cold]
pub(crate) fn drawn(bound: impl FnOnce() -> usize) -> Option<usize> {
    // SAFETY: we run on the slot, and the reference ends with the function.
    let worker = unsafe { worker::of_slot(slot::current()?) };
    worker.core.seeded.as_ref()?;
    let bound = bound();
    (bound > 0).then(|| worker.rng.borrow_mut().below(bound))
}

/// A number that tells apart those that run at the same time: a worker's address, or about where a plain thread has its stack.
#[inline(always)]
pub(crate) fn place() -> usize {
    match slot::current() {
        // SAFETY: we run on the slot, and the reference ends here.
        Some(slot) => std::ptr::from_ref(unsafe { worker::of_slot(slot) }).addr() >> 6,
        None => arch::stack_pointer() >> 20,
    }
}

/// A small number that tells apart those that run at the same time: a worker's index, or about where a plain thread has its stack. And the caller's name as a holder of locks ([`worker::me`]).
#[inline(always)]
pub(crate) fn index_and_name() -> (usize, Me) {
    match slot::current() {
        Some(slot) => {
            // SAFETY: we run on the slot, and the reference ends here.
            let shared = &unsafe { worker::of_slot(slot) }.shared;
            (shared.index, Arc::as_ptr(shared).cast_mut().cast())
        }
        None => (arch::stack_pointer() >> 20, ptr::null_mut()),
    }
}
