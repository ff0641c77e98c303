//! Models of the wait queue itself, on the scheduler's twin.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use crate::routine::Wait;
use crate::sched::park::{cancel, spawn, time_out};
use crate::sched::waitq::{Outcome, WaitQueue};

/// One thing to be had, guarded by the queue's lock.
struct Place {
    queue: WaitQueue,
    full: AtomicU32,
}

impl Place {
    fn new() -> Arc<Self> {
        Arc::new(Self { queue: WaitQueue::new(), full: AtomicU32::new(0) })
    }

    /// Gives one to the first waiter, or leaves it there.
    fn put(&self) {
        let mut queue = self.queue.lock();
        match queue.claim_first(0) {
            Some(claimed) => {
                drop(queue);
                claimed.wake(7);
            }
            None => self.full.store(1, Ordering::Relaxed),
        }
    }

    fn take(&self, deadline: u64) -> Outcome {
        self.queue
            .wait(0, Wait::Park, deadline, std::ptr::null_mut(), |_| self.full.load(Ordering::Relaxed) == 0)
    }

    /// Nobody is left in the queue.
    fn check(&self) {
        assert!(self.queue.lock().is_empty(0));
        assert!(!self.queue.has_waiters(0));
    }
}

#[test]
fn loom_a_waiter_meets_what_it_waits_for() {
    loom::model(|| {
        let place = Place::new();
        let other = place.clone();
        let putter = thread::spawn(move || other.put());
        thread::yield_now();
        match place.take(u64::MAX) {
            Outcome::Answered(7) => assert_eq!(place.full.load(Ordering::Relaxed), 0),
            Outcome::Changed => assert_eq!(place.full.load(Ordering::Relaxed), 1),
            other => panic!("{other:?}"),
        }
        putter.join().unwrap();
        place.check();
    });
}

/// What ends a wait besides what it waits for.
fn interrupted(interrupt: fn(crate::routine::TaskRef), outcome: Outcome) {
    loom::model(move || {
        let place = Place::new();
        let other = place.clone();
        let (task, waiter) = spawn(move || other.take(1));
        let other = place.clone();
        let putter = thread::spawn(move || other.put());
        thread::yield_now();
        interrupt(task);
        putter.join().unwrap();
        if place.full.load(Ordering::Relaxed) == 0 {
            // Claimed by `put`, which excludes the other end.
            assert_eq!(waiter.join().unwrap(), Outcome::Answered(7));
        } else {
            let ended = waiter.join().unwrap();
            assert!(ended == outcome || ended == Outcome::Changed, "{ended:?}");
        }
        place.check();
    });
}

#[test]
fn loom_a_cancelled_waiter_leaves_what_it_waited_for() {
    interrupted(cancel, Outcome::Cancelled);
}

#[test]
fn loom_a_waiter_that_times_out_leaves_what_it_waited_for() {
    // A timer that fires too early, before the wait, is another wait's.
    interrupted(|task| _ = time_out(task), Outcome::TimedOut);
}
