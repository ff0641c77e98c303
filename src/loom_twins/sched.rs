//! `sched` in a model: waiting and waking with the steps and fences of the real `park`, on loom's threads; the wait queue is the real one.
//!
//! | real | here |
//! | --- | --- |
//! | a worker commits the wait after the switch | the thread itself, before it sleeps |
//! | a canceller | the model calls [`cancel`] from some thread |
//! | a timer fires | the model calls [`time_out`] from some thread: time passes at any moment |
//!
//! loom reports a deadlock when all its threads sleep, so a lost wake-up is found.

#[path = "../sched/waitq.rs"]
pub(crate) mod waitq;

pub(crate) mod spin {
    //! As `sched::spin`: where all wait at once. A look more is an interleaving that the models have anyway.

    /// Nobody counts here.
    pub(crate) fn note_wait(_: u64) {}

    /// As the real one.
    pub(crate) struct Spin;

    impl Spin {
        /// As the real one.
        pub(crate) fn new() -> Self {
            Self
        }

        /// Wait.
        pub(crate) fn again(&mut self) -> bool {
            false
        }
    }
}

pub(crate) mod park {
    //! As `sched::park`.

    use crate::base::atomic::Ordering;
    use crate::base::fence;
    use crate::routine::{Reason, Task, TaskRef, Ticket, Wait};

    use std::cell::Cell;

    /// As the real one.
    #[must_use]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Commit {
        /// Published.
        Blocked,
        /// Nothing was published.
        Already,
    }

    /// As the real one, without a timer of its own.
    #[repr(C)]
    pub(crate) struct ParkOp {
        commit: unsafe fn(*const ParkOp, Ticket) -> Commit,
        wait: Wait,
        deadline: u64,
        cancellable: bool,
    }

    impl ParkOp {
        /// A wait that is a cancellation point.
        pub(crate) fn new(
            wait: Wait,
            deadline: u64,
            commit: unsafe fn(*const ParkOp, Ticket) -> Commit,
        ) -> Self {
            Self { commit, wait, deadline, cancellable: true }
        }

        /// Makes the wait no cancellation point.
        pub(crate) fn uninterruptible(&mut self) {
            self.cancellable = false;
        }
    }

    loom::thread_local! {
        static CURRENT: Cell<Option<TaskRef>> = Cell::new(None);
    }

    /// The calling thread's task.
    pub(crate) fn current() -> TaskRef {
        CURRENT.with(|current| match current.get() {
            Some(task) => task,
            None => {
                let task = Task::leak();
                current.set(Some(task));
                task
            }
        })
    }

    /// Starts a thread whose task others can cancel and time out.
    pub(crate) fn spawn<T: 'static>(
        f: impl FnOnce() -> T + 'static,
    ) -> (TaskRef, loom::thread::JoinHandle<T>) {
        let task = Task::leak();
        let handle = loom::thread::spawn(move || {
            CURRENT.with(|current| current.set(Some(task)));
            f()
        });
        (task, handle)
    }

    /// `ready::cancel`. Like a canceller's, a call may come at any time.
    pub(crate) fn cancel(task: TaskRef) {
        task.cancel.store(1, Ordering::SeqCst);
        fence::heavy();
        if task.wake.claim_cancellable() {
            task.reason.set(Reason::Cancelled);
            task.wake_up();
        }
    }

    /// The deadline of the task's present wait passes, if that has one. True if that ended the wait.
    pub(crate) fn time_out(task: TaskRef) -> bool {
        let armed = task.armed.load(Ordering::Acquire);
        if armed == 0 {
            return false;
        }
        let ended = Ticket { task, episode: armed - 1 }.claim(Reason::TimedOut).is_some();
        if ended {
            task.wake_up();
        }
        ended
    }

    /// The models cancel no channel operation.
    pub(crate) fn cancelled() -> ! {
        panic!("a cancelled thread of a model");
    }

    /// As the real one; the comments there say why.
    ///
    /// # Safety
    ///
    /// - `op` points to a live `ParkOp` that may be passed to its own `commit`.
    pub(crate) unsafe fn block(op: *const ParkOp) -> Reason {
        let task = current();
        // SAFETY: the caller's contract.
        let this = unsafe { &*op };
        let episode = task.wake.begin(this.wait, this.cancellable);
        let ticket = Ticket { task, episode };
        if this.deadline != u64::MAX {
            task.armed.store(episode + 1, Ordering::Release);
        }
        // SAFETY: the caller's contract; this thread does nothing else until the ticket is claimed.
        let found = unsafe { (this.commit)(op, ticket) };
        let own = match found {
            Commit::Already => ticket.claim(Reason::Ready).is_some(),
            Commit::Blocked => {
                fence::light();
                this.cancellable
                    && task.cancel.load(Ordering::Relaxed) != 0
                    && ticket.claim(Reason::Cancelled).is_some()
            }
        };
        if !own {
            task.sleep();
        }
        task.armed.store(0, Ordering::Relaxed);
        task.reason.get()
    }

    /// Models end a cancelled task by themselves.
    pub(crate) fn unwind_if_cancelled(reason: Reason) {
        assert_ne!(reason, Reason::Cancelled, "unwinding is not modelled");
    }
}

/// Choices are the model's own: always the last of those that are ready.
pub(crate) fn random(_: usize) -> usize {
    0
}

pub(crate) use park::{Commit, ParkOp, block};

pub(crate) mod ready {
    //! As `sched::ready`.

    use crate::routine::TaskRef;

    /// Makes a claimed task run again.
    pub(crate) fn ready(task: TaskRef) {
        task.wake_up();
    }

    /// There is no order of running here.
    pub(crate) fn ready_tail(task: TaskRef) {
        task.wake_up();
    }
}

pub(crate) mod worker {
    //! As `sched::worker`: who locks. Nobody is an owner here; `loom_models::bias` has owners.

    use crate::base::bias::Me;
    use crate::routine::TaskRef;

    /// Of a thread.
    pub(super) fn me() -> Me {
        std::ptr::null_mut()
    }

    /// Of a thread.
    pub(super) fn me_in_commit(_: TaskRef) -> Me {
        std::ptr::null_mut()
    }
}
