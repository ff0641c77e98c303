//! The locks without what they guard: words and wait queues, no `unsafe`. The model checker runs these files as they are (`loom_models`).
//!
//! | file | job |
//! | --- | --- |
//! | `mutex` | who holds it, who is next |
//! | `condvar` | who waits for a change |
//! | `rwlock` | who reads, who writes, who is next |
//! | `semaphore` | how many permits are left, who is next |
//! | `wait_group` | a count, who waits for its end |
//! | `once` | whether it was done, who does it, who waits for that |

pub(crate) mod condvar;
pub(crate) mod mutex;
pub(crate) mod once;
pub(crate) mod rwlock;
pub(crate) mod semaphore;
pub(crate) mod wait_group;

use crate::routine::Reason;
use crate::sched::park::unwind_if_cancelled;
use crate::sched::waitq::Outcome;

/// In a guard: not `Send`, but `Sync`.
pub(crate) type NotSend = std::marker::PhantomData<std::sync::MutexGuard<'static, ()>>;

/// How an attempt to get something ended.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// The caller has it.
    Yes,
    /// The deadline passed; the caller is in no queue.
    TimedOut,
    /// The goroutine is cancelled and has to unwind; the caller is in no queue.
    Cancelled,
}

impl Acquired {
    /// The end of a wait that was not woken.
    fn interrupted(outcome: Outcome) -> Self {
        if outcome == Outcome::Cancelled { Acquired::Cancelled } else { Acquired::TimedOut }
    }

    /// Unwinds if the goroutine was cancelled; else says whether the caller has it.
    #[inline(always)]
    pub(crate) fn or_unwind(self) -> bool {
        if self == Acquired::Cancelled {
            unwind_if_cancelled(Reason::Cancelled);
        }
        self == Acquired::Yes
    }
}
