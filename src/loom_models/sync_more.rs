//! Models of the semaphore, the read-write lock and `once`, as those in `sync`.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::routine::{TaskRef, Wait};
use crate::sched::park::{cancel, spawn, time_out};
use crate::sync::raw::Acquired;
use crate::sync::raw::once::{Begin, RawOnce};
use crate::sync::raw::rwlock::RawRwLock;
use crate::sync::raw::semaphore::RawSemaphore;
use crate::sync::raw::wait_group::RawWaitGroup;

#[test]
fn loom_a_semaphore_loses_no_permit() {
    loom::model(|| {
        let semaphore = Arc::new(RawSemaphore::new(2));
        let others: Vec<_> = [1, 2]
            .into_iter()
            .map(|count| {
                let semaphore = semaphore.clone();
                thread::spawn(move || {
                    assert_eq!(semaphore.acquire(count, u64::MAX), Acquired::Yes);
                    semaphore.release(count);
                })
            })
            .collect();
        thread::yield_now();
        assert_eq!(semaphore.acquire(2, u64::MAX), Acquired::Yes);
        semaphore.release(2);
        for other in others {
            other.join().unwrap();
        }
        semaphore.check_idle(2);
    });
}

/// One that wants two is interrupted, with one behind it that wants one, which is there all the time.
fn interrupted_semaphore(deadline: u64, interrupt: fn(TaskRef), end: Acquired) {
    loom::model(move || {
        let semaphore = Arc::new(RawSemaphore::new(2));
        assert!(semaphore.try_acquire(1));
        let other = semaphore.clone();
        let (task, wants_two) = spawn(move || {
            let acquired = other.acquire(2, deadline);
            if acquired == Acquired::Yes {
                other.release(2);
            }
            acquired
        });
        let other = semaphore.clone();
        let wants_one = thread::spawn(move || {
            assert_eq!(other.acquire(1, u64::MAX), Acquired::Yes);
            other.release(1);
        });
        thread::yield_now();
        interrupt(task);
        semaphore.release(1);
        let acquired = wants_two.join().unwrap();
        assert!(acquired == Acquired::Yes || acquired == end);
        wants_one.join().unwrap();
        semaphore.check_idle(2);
    });
}

#[test]
fn loom_a_cancelled_acquire_makes_room() {
    interrupted_semaphore(u64::MAX, cancel, Acquired::Cancelled);
}

#[test]
fn loom_an_acquire_that_times_out_makes_room() {
    interrupted_semaphore(1, |task| _ = time_out(task), Acquired::TimedOut);
}

/// A lock and what it guards; loom finds a reader beside a writer.
struct Shared {
    lock: RawRwLock,
    value: UnsafeCell<u32>,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: RawRwLock::new(), value: UnsafeCell::new(0) })
    }

    fn write(&self, deadline: u64) -> Acquired {
        let acquired = self.lock.write(deadline);
        if acquired == Acquired::Yes {
            // SAFETY: under the lock; loom checks it.
            self.value.with_mut(|value| unsafe { *value += 1 });
            self.lock.end_write();
        }
        acquired
    }

    fn read(&self) -> u32 {
        let held = self.lock.read(0, u64::MAX).expect("nothing interrupts it");
        // SAFETY: under the lock; loom checks it.
        let value = self.value.with(|value| unsafe { *value });
        self.lock.end_read(held);
        value
    }
}

#[test]
fn loom_readers_and_writers_exclude_and_wake() {
    loom::model(|| {
        let shared = Shared::new();
        let other = shared.clone();
        let reader = thread::spawn(move || other.read());
        let other = shared.clone();
        let writer = thread::spawn(move || other.write(u64::MAX));
        thread::yield_now();
        let _ = shared.write(u64::MAX);
        assert!(reader.join().unwrap() <= 2);
        assert_eq!(writer.join().unwrap(), Acquired::Yes);
        assert_eq!(shared.read(), 2);
        shared.lock.check_idle();
    });
}

#[test]
fn loom_biased_readers_and_writers_exclude_and_wake() {
    loom::model(|| {
        let shared = Shared::new();
        shared.lock.bias_now();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                // One of them may find the entry taken, and counts in the word.
                thread::spawn(move || shared.read())
            })
            .collect();
        thread::yield_now();
        let _ = shared.write(u64::MAX);
        for reader in readers {
            assert!(reader.join().unwrap() <= 1);
        }
        assert_eq!(shared.read(), 1);
        shared.lock.check_idle();
    });
}

#[test]
fn loom_a_lock_that_is_biased_again_is_revoked_again() {
    loom::model(|| {
        let shared = Shared::new();
        let other = shared.clone();
        let reader = thread::spawn(move || {
            let held = other.lock.read(0, u64::MAX).expect("nothing interrupts it");
            // While it reads, as readers that collide do.
            other.lock.bias_now();
            other.lock.end_read(held);
            other.read()
        });
        thread::yield_now();
        let _ = shared.write(u64::MAX);
        let _ = shared.write(u64::MAX);
        assert!(reader.join().unwrap() <= 2);
        assert!(shared.lock.try_write());
        shared.lock.end_write();
        shared.lock.check_idle();
    });
}

#[test]
fn loom_a_cancelled_writer_lets_readers_in() {
    for biased in [false, true] {
        loom::model(move || {
            let shared = Shared::new();
            if biased {
                shared.lock.bias_now();
            }
            let held = shared.lock.read(0, u64::MAX).expect("nothing interrupts it");
            let other = shared.clone();
            let (task, writer) = spawn(move || other.write(u64::MAX));
            let other = shared.clone();
            let reader = thread::spawn(move || other.read());
            thread::yield_now();
            cancel(task);
            shared.lock.end_read(held);
            let acquired = writer.join().unwrap();
            assert_ne!(acquired, Acquired::TimedOut);
            assert!(reader.join().unwrap() <= 1);
            assert_eq!(shared.read(), u32::from(acquired == Acquired::Yes));
            shared.lock.check_idle();
        });
    }
}

#[test]
fn loom_it_is_done_once_and_all_wait_for_it() {
    loom::model(|| {
        let once = Arc::new((RawOnce::new(), UnsafeCell::new(0)));
        let call = |once: &(RawOnce, UnsafeCell<u32>)| {
            match once.0.begin(Wait::Once) {
                Begin::Yours => {
                    // SAFETY: it is our turn; loom checks it.
                    once.1.with_mut(|value| unsafe { *value += 1 });
                    once.0.end(true);
                }
                Begin::Done => {}
                Begin::Interrupted(end) => panic!("{end:?}"),
            }
            // SAFETY: done; loom checks it.
            assert_eq!(once.1.with(|value| unsafe { *value }), 1);
        };
        let other = once.clone();
        let caller = thread::spawn(move || call(&other));
        let other = once.clone();
        let watcher = thread::spawn(move || {
            assert_eq!(other.0.watch(Wait::Once), Acquired::Yes);
            // SAFETY: done; loom checks it.
            assert_eq!(other.1.with(|value| unsafe { *value }), 1);
        });
        thread::yield_now();
        call(&once);
        caller.join().unwrap();
        watcher.join().unwrap();
    });
}

#[test]
fn loom_who_fails_leaves_it_to_one_who_waits() {
    loom::model(|| {
        let once = Arc::new(RawOnce::new());
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let once = once.clone();
                thread::spawn(move || match once.begin(Wait::Once) {
                    Begin::Yours => once.end(true),
                    Begin::Done => {}
                    Begin::Interrupted(end) => panic!("{end:?}"),
                })
            })
            .collect();
        thread::yield_now();
        if once.begin(Wait::Once) == Begin::Yours {
            once.end(false);
        }
        for caller in callers {
            caller.join().unwrap();
        }
        assert!(once.is_done());
    });
}

#[test]
fn loom_the_end_of_a_round_wakes_those_who_wait_for_it_and_nobody_else() {
    loom::model(|| {
        let group = Arc::new((RawWaitGroup::new(), UnsafeCell::new(0)));
        assert_eq!(group.0.add(1), Ok(()));
        let other = group.clone();
        let worker = thread::spawn(move || {
            // SAFETY: nobody reads before the group is done; loom checks it.
            other.1.with_mut(|value| unsafe { *value = 1 });
            assert_eq!(other.0.add(-1), Ok(()));
        });
        thread::yield_now();
        assert_eq!(group.0.wait(u64::MAX), Acquired::Yes);
        // SAFETY: done; loom checks it.
        assert_eq!(group.1.with(|value| unsafe { *value }), 1);
        // The next round begins while the end of the first is being made known.
        assert_eq!(group.0.add(1), Ok(()));
        let other = group.clone();
        let second = thread::spawn(move || {
            // SAFETY: as above.
            other.1.with_mut(|value| unsafe { *value = 2 });
            assert_eq!(other.0.add(-1), Ok(()));
        });
        assert_eq!(group.0.wait(u64::MAX), Acquired::Yes);
        // SAFETY: done; loom checks it.
        assert_eq!(group.1.with(|value| unsafe { *value }), 2);
        worker.join().unwrap();
        second.join().unwrap();
    });
}
