//! Models of the locks (`sync::raw`) on the real wait queue and the scheduler's twin: exclusion, hand-over, cancellation, time-outs. A wake-up that is lost is a deadlock,
//! which loom reports.
//!
//! The first thread yields before its first step: without that loom lets nobody go before it.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::routine::{TaskRef, Wait};
use crate::sched::park::{cancel, spawn, time_out};
use crate::sync::raw::Acquired;
use crate::sync::raw::condvar::RawCondvar;
use crate::sync::raw::mutex::RawMutex;
use crate::sys::clock;

/// Longer than the mutex's patience.
const LONG: u64 = 1_000_000_000;

/// A mutex and what it guards.
struct Guarded {
    mutex: RawMutex,
    changed: RawCondvar,
    value: UnsafeCell<u32>,
}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { mutex: RawMutex::new(), changed: RawCondvar::new(), value: UnsafeCell::new(0) })
    }

    fn get(&self) -> u32 {
        // SAFETY: under the mutex; loom checks it.
        self.value.with(|value| unsafe { *value })
    }

    fn increase(&self) {
        // SAFETY: under the mutex; loom checks it.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }

    fn add(&self) {
        assert_eq!(self.mutex.lock(Wait::MutexLock, u64::MAX), Acquired::Yes);
        self.increase();
        self.mutex.unlock();
    }

    /// Free, with nobody in the queue: another lock and unlock works, and the value is what it must be.
    fn check(&self, value: u32) {
        assert!(self.mutex.try_lock());
        assert_eq!(self.get(), value);
        self.mutex.unlock();
        self.mutex.check_idle();
    }
}

fn three_add(step: u64, times: u32) {
    loom::model(move || {
        clock::set_step(step);
        let guarded = Guarded::new();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let guarded = guarded.clone();
                thread::spawn(move || (0..times).for_each(|_| guarded.add()))
            })
            .collect();
        thread::yield_now();
        guarded.add();
        for other in others {
            other.join().unwrap();
        }
        guarded.check(1 + 2 * times);
    });
}

#[test]
fn loom_a_mutex_excludes_and_wakes() {
    three_add(0, 1);
}

#[test]
fn loom_a_mutex_that_is_barged_into_wakes() {
    three_add(0, 2);
}

#[test]
fn loom_a_mutex_that_starves_goes_from_hand_to_hand() {
    three_add(LONG, 2);
}

/// One holds and barges, one waits, a third waits and is interrupted.
fn interrupted(step: u64, deadline: u64, interrupt: fn(TaskRef), end: Acquired) {
    loom::model(move || {
        clock::set_step(step);
        let guarded = Guarded::new();
        assert!(guarded.mutex.try_lock());
        let other = guarded.clone();
        let (task, one) = spawn(move || {
            let acquired = other.mutex.lock(Wait::MutexLock, deadline);
            if acquired == Acquired::Yes {
                other.increase();
                other.mutex.unlock();
            }
            acquired
        });
        let other = guarded.clone();
        let two = thread::spawn(move || other.add());
        thread::yield_now();
        guarded.increase();
        guarded.mutex.unlock();
        // Past whoever was woken.
        guarded.add();
        interrupt(task);
        let acquired = one.join().unwrap();
        two.join().unwrap();
        assert!(acquired == Acquired::Yes || acquired == end);
        guarded.check(3 + u32::from(acquired == Acquired::Yes));
    });
}

#[test]
fn loom_a_cancelled_waiter_leaves_the_mutex_to_others() {
    interrupted(0, u64::MAX, cancel, Acquired::Cancelled);
}

#[test]
fn loom_a_cancelled_waiter_of_a_starving_mutex_leaves_it_to_others() {
    interrupted(LONG, u64::MAX, cancel, Acquired::Cancelled);
}

#[test]
fn loom_a_waiter_that_times_out_leaves_the_mutex_to_others() {
    interrupted(0, 1, |task| _ = time_out(task), Acquired::TimedOut);
}

/// Waits until the value is not 0.
fn wait_for_change(guarded: &Guarded, deadline: u64) -> Acquired {
    assert_eq!(guarded.mutex.lock(Wait::MutexLock, u64::MAX), Acquired::Yes);
    let mut end = Acquired::Yes;
    while guarded.get() == 0 && end == Acquired::Yes {
        end = guarded.changed.wait(&guarded.mutex, Wait::Condvar, deadline);
    }
    guarded.mutex.unlock();
    end
}

#[test]
fn loom_a_notification_is_not_lost() {
    loom::model(|| {
        let guarded = Guarded::new();
        let waiter = guarded.clone();
        let waiter = thread::spawn(move || wait_for_change(&waiter, u64::MAX));
        thread::yield_now();
        guarded.add();
        // Without the mutex, as is allowed.
        guarded.changed.notify_one();
        assert_eq!(waiter.join().unwrap(), Acquired::Yes);
        guarded.check(1);
    });
}

#[test]
fn loom_all_waiters_are_notified() {
    loom::model(|| {
        let guarded = Guarded::new();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let guarded = guarded.clone();
                thread::spawn(move || wait_for_change(&guarded, u64::MAX))
            })
            .collect();
        thread::yield_now();
        assert!(guarded.mutex.lock(Wait::MutexLock, u64::MAX) == Acquired::Yes);
        guarded.increase();
        assert!(guarded.changed.notify_all() <= 2);
        guarded.mutex.unlock();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Acquired::Yes);
        }
        guarded.check(1);
    });
}

#[test]
fn loom_a_notification_goes_to_one_who_stays() {
    loom::model(|| {
        let guarded = Guarded::new();
        let one = guarded.clone();
        let (task, one) = spawn(move || {
            assert_eq!(one.mutex.lock(Wait::MutexLock, u64::MAX), Acquired::Yes);
            let end = one.changed.wait(&one.mutex, Wait::Condvar, u64::MAX);
            one.mutex.unlock();
            end
        });
        let canceller = thread::spawn(move || cancel(task));
        thread::yield_now();
        let notified = guarded.changed.notify_one();
        canceller.join().unwrap();
        let end = one.join().unwrap();
        assert_eq!(end, if notified { Acquired::Yes } else { Acquired::Cancelled });
        assert!(!guarded.changed.notify_one(), "nobody is left in the queue");
        guarded.check(0);
    });
}

#[test]
fn loom_one_who_waits_again_is_not_notified_twice_by_one_call() {
    loom::model(|| {
        let guarded = Guarded::new();
        let other = guarded.clone();
        let waiter = thread::spawn(move || {
            assert_eq!(other.mutex.lock(Wait::MutexLock, u64::MAX), Acquired::Yes);
            while other.get() == 0 {
                let _ = other.changed.wait(&other.mutex, Wait::Condvar, u64::MAX);
            }
            other.mutex.unlock();
        });
        thread::yield_now();
        // For nothing: it waits again, perhaps while this call runs.
        assert!(guarded.changed.notify_all() <= 1);
        guarded.add();
        guarded.changed.notify_all();
        waiter.join().unwrap();
        guarded.check(1);
    });
}
