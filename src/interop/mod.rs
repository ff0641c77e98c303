//! Futures on goroutines: [`block_on`]. The other way, `JoinHandle` is a future for any executor (`go::handle`).
#![forbid(unsafe_code)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context, Poll, Wake, Waker};

use crate::routine::Wait;
use crate::sched;
use crate::sched::park::cancelled;
use crate::sched::waitq::{Outcome, WaitQueue};

/// What a waker wakes: one call of `block_on`. Apart from the task's own `park`, so that a waker which is called late wakes nobody who waits for something else.
struct Woken {
    /// A waker was called since the last poll.
    woken: AtomicBool,
    queue: WaitQueue,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // SeqCst, and then the queue: the waiter links its node and then looks at the flag (PROTOCOLS.md, "Waiting against making").
        if !self.woken.swap(true, Ordering::SeqCst) && self.queue.has_waiters(0) {
            let claimed = self.queue.lock().claim_first(0);
            if let Some(waiter) = claimed {
                waiter.look_again();
            }
        }
    }
}

/// Runs a future to its end. The calling goroutine parks whenever the future is pending; its worker runs others meanwhile.
///
/// Whatever the future needs of an executor (a reactor of tokio's, say) has to run somewhere else. One allocation a call, none a poll.
///
/// # Blocking
///
/// Parks the calling goroutine, or blocks the calling thread, until the future is ready.
///
/// # Cancellation
///
/// A cancelled goroutine unwinds where it would park; the future is dropped.
///
/// # Panics
///
/// If the future does.
///
/// # Examples
///
/// ```
/// use greenroutine::{block_on, go};
///
/// let sum = greenroutine::run(|| {
///     block_on(async {
///         let (a, b) = (go(|| 1), go(|| 2));
///         a.await.unwrap() + b.await.unwrap()
///     })
/// });
/// assert_eq!(sum, 3);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let woken = Arc::new(Woken { woken: AtomicBool::new(false), queue: WaitQueue::new() });
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    if let Some(slot) = crate::routine::slot::current() {
        // What wakes the future may write into it.
        slot.task().share_stack();
    }
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        if let Some(slot) = crate::routine::slot::current() {
            // A future that wakes itself at once must not keep the worker.
            sched::safepoint(slot);
        }
        if woken.woken.swap(false, Ordering::SeqCst) {
            continue;
        }
        let outcome = woken.queue.wait(0, Wait::Await, u64::MAX, std::ptr::null_mut(), |_| {
            fence(Ordering::SeqCst);
            !woken.woken.load(Ordering::SeqCst)
        });
        if outcome == Outcome::Cancelled {
            cancelled();
        }
        woken.woken.store(false, Ordering::SeqCst);
    }
}
