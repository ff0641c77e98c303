//! `routine` in a model: a task is one of loom's threads, and `wake` is the real one.

use loom::sync::{Condvar, Mutex};

use crate::base::atomic::{AtomicU32, AtomicU64, Cell};

#[path = "../routine/wake.rs"]
pub(crate) mod wake;

pub(crate) mod cell {
    //! Where `wake` looks for the record of a task.
    pub(crate) use super::TaskRef;
}

pub(crate) use wake::{Reason, Ticket, Wait};

use wake::WakeWord;

/// The record of a task: what waiting needs of it.
pub(crate) struct Task {
    pub(crate) wake: WakeWord,
    /// Written by the claimant, read by the waiter; loom finds two at once.
    pub(crate) reason: Cell<Reason>,
    /// Not 0 once it was cancelled.
    pub(crate) cancel: AtomicU32,
    /// The wait that has a deadline: its episode + 1, or 0.
    pub(crate) armed: AtomicU64,
    /// Whether it was made ready.
    woken: Mutex<bool>,
    sleep: Condvar,
}

/// Leaked: a ticket may be kept for ever.
pub(crate) type TaskRef = &'static Task;

impl Task {
    /// A task that runs.
    pub(crate) fn leak() -> TaskRef {
        Box::leak(Box::new(Self {
            wake: WakeWord::new(),
            reason: Cell::new(Reason::Ready),
            cancel: AtomicU32::new(0),
            armed: AtomicU64::new(0),
            woken: Mutex::new(false),
            sleep: Condvar::new(),
        }))
    }

    /// Sleeps until somebody makes the task ready.
    pub(crate) fn sleep(&self) {
        let mut woken = self.woken.lock().expect("nothing panics under it");
        while !*woken {
            woken = self.sleep.wait(woken).expect("nothing panics under it");
        }
        *woken = false;
    }

    /// Makes the task ready.
    pub(crate) fn wake_up(&self) {
        *self.woken.lock().expect("nothing panics under it") = true;
        self.sleep.notify_one();
    }
}
