//! Plain threads as waiters: each gets a cell while it uses the library, and sleeps on the futex in it.
//!
//! The thread-locals of the crate are here, and only here. They are never read by code that is inlined into a goroutine: a goroutine's
//! identity comes from its stack pointer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;

use crate::base::meta;
use crate::routine::{Kind, Reason, Task, TaskRef, Ticket};
use crate::sys::{futex, tasks};
use crate::world::blocked;

/// The class of a thread's cell: the smallest.
const CLASS: usize = 0;

struct Mine(TaskRef);

impl Mine {
    fn new() -> Self {
        let block = match meta::take_one(CLASS) {
            Ok(block) => block,
            Err(error) => panic!("no memory for a thread to wait: {error}"),
        };
        let task = Task::from_block(block);
        task.kind.set(Kind::Thread);
        task.class.set(CLASS as u8);
        task.futex.store(0, Ordering::Relaxed);
        task.token.store(0, Ordering::Relaxed);
        task.cancel.store(0, Ordering::Relaxed);
        // For `stall`; plain threads have no id that anybody sees.
        task.id.store(u64::from(tasks::current()), Ordering::Relaxed);
        task.extras.store(std::ptr::null_mut(), Ordering::Relaxed);
        task.more.set(0);
        task.life.begin();
        Self(task)
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        release(self.0);
    }
}

/// Drops one reference of a thread's cell.
fn release(task: TaskRef) {
    // `begin` gave two: ours, and one that stands for the handle a thread does not have.
    if task.life.drop_refs(2) {
        free(task);
    }
}

fn free(task: TaskRef) {
    let extras = task.extras.swap(std::ptr::null_mut(), Ordering::Relaxed);
    if !extras.is_null() {
        // SAFETY: made by Box::into_raw in `extras_mut`, and this is the last reference.
        drop(unsafe { Box::from_raw(extras) });
    }
    task.life.end();
    meta::give_one(task.block(), CLASS);
}

/// Frees a thread's cell whose last reference a `task::Handle` has dropped.
pub(crate) fn free_cell(task: TaskRef) {
    free(task);
}

mod local {
    std::thread_local! {
        pub(super) static MINE: super::Mine = super::Mine::new();
        pub(super) static AMBIENT: std::cell::RefCell<Option<super::Arc<super::Core>>> =
            const { std::cell::RefCell::new(None) };
    }
}

/// The runtime that the calling plain thread works for: a thread of its blocking pool does.
#[inline(never)]
pub(super) fn ambient() -> Option<Arc<Core>> {
    local::AMBIENT.try_with(|ambient| ambient.borrow().clone()).ok().flatten()
}

/// Says for which runtime the calling plain thread works.
#[inline(never)]
pub(super) fn set_ambient(core: Option<Arc<Core>>) {
    // The old one is dropped outside of the borrow.
    let _old = local::AMBIENT.try_with(|ambient| ambient.replace(core));
}

/// Runs `f` with the calling thread's cell. During the destruction of thread-locals the cell is a temporary one.
#[inline(never)]
pub(crate) fn with_task<R>(f: impl FnOnce(TaskRef) -> R) -> R {
    match local::MINE.try_with(|mine| mine.0) {
        Ok(task) => f(task),
        Err(_) => {
            let temporary = Mine::new();
            f(temporary.0)
        }
    }
}

/// Lets a claimed thread go on.
pub(crate) fn wake(task: TaskRef) {
    // The cell is mapped for ever, so the address is good even if the thread is gone by the time of the second call.
    task.futex.store(1, Ordering::Release);
    futex::wake(&task.futex, 1);
}

/// Sleeps until the wait of `ticket`, which has been published, is claimed and woken, or until `deadline`.
pub(crate) fn sleep(ticket: Ticket, deadline: u64) {
    let task = ticket.task;
    // Acquire pairs with the Release in `wake`.
    while task.futex.swap(0, Ordering::Acquire) == 0 {
        let in_time = blocked::wait(&task.futex, 0, deadline);
        if !in_time && ticket.claim(Reason::TimedOut).is_some() {
            return;
        }
        if !in_time {
            // Somebody else has claimed us: its wake is on the way, however late.
            while task.futex.swap(0, Ordering::Acquire) == 0 {
                blocked::wait(&task.futex, 0, u64::MAX);
            }
            return;
        }
    }
}
