//! `sync::Condvar`: what std's, parking_lot's and Go's tests ask of a condition variable (std `library/std/tests/sync/condvar.rs`, parking_lot
//! `src/condvar.rs`, Go `src/sync/cond_test.go`), expressed anew; cancellation and deadlines.

mod common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{on_all, on_goroutines, runtime, wait_for_waiters, wait_until};
use greenroutine::sync::{Condvar, Mutex};
use greenroutine::{go, scope, yield_now};

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_notification_without_waiters_is_lost() {
    on_all(|| {
        let (mutex, changed) = (Mutex::new(()), Condvar::new());
        assert!(!changed.notify_one());
        assert_eq!(changed.notify_all(), 0);
        assert!(changed.wait_for(&mut mutex.lock(), Duration::from_micros(50)).timed_out());
    });
}

#[test]
fn one_notification_wakes_one_in_the_order_of_coming() {
    // One worker: who waits, waits in that order.
    for free in [false, true] {
        runtime(1, free).run(|| {
            let (order, changed) = (Mutex::new(Vec::new()), Condvar::new());
            scope(|s| {
                for n in 0..5 {
                    let (order, changed) = (&order, &changed);
                    s.go(move || {
                        let mut guard = order.lock();
                        changed.wait(&mut guard);
                        guard.push(n);
                    });
                    wait_for_waiters("condvar wait", n + 1);
                }
                for n in 0..5 {
                    assert!(changed.notify_one());
                    wait_until(|| order.lock().len() == n + 1);
                    wait_for_waiters("condvar wait", 4 - n);
                }
                assert!(!changed.notify_one());
            });
            assert_eq!(order.into_inner(), [0, 1, 2, 3, 4]);
        });
    }
}

#[test]
fn all_are_woken_and_counted() {
    on_goroutines(|| {
        let (go_on, changed) = (Mutex::new(false), Condvar::new());
        scope(|s| {
            for _ in 0..10 {
                s.go(|| {
                    let mut guard = go_on.lock();
                    while !*guard {
                        changed.wait(&mut guard);
                    }
                });
            }
            wait_for_waiters("condvar wait", 10);
            *go_on.lock() = true;
            assert_eq!(changed.notify_all(), 10);
        });
    });
}

#[test]
fn those_who_wait_again_are_not_woken_twice_by_one_call() {
    on_goroutines(|| {
        let (stop, changed) = (Mutex::new(false), Condvar::new());
        scope(|s| {
            for _ in 0..4 {
                s.go(|| {
                    let mut guard = stop.lock();
                    while !*guard {
                        changed.wait(&mut guard);
                    }
                });
            }
            for _ in 0..300 {
                // They wait again while this call runs, on other workers.
                assert!(changed.notify_all() <= 4);
                yield_now();
            }
            *stop.lock() = true;
            changed.notify_all();
        });
    });
}

/// Go's guarantee, and std's: what was changed under the mutex before the notification is not missed, with or without the mutex held.
#[test]
fn no_change_is_missed() {
    on_all(|| {
        for hold in [false, true] {
            for _ in 0..100 {
                let (ready, changed) = (Mutex::new(false), Condvar::new());
                scope(|s| {
                    s.go(|| {
                        let mut guard = ready.lock();
                        *guard = true;
                        if !hold {
                            drop(guard);
                        }
                        changed.notify_one();
                    });
                    let mut guard = ready.lock();
                    changed.wait_while(&mut guard, |ready| !*ready);
                });
            }
        }
    });
}

#[test]
fn a_queue_of_producers_and_consumers_loses_nothing() {
    on_all(|| {
        let (queue, not_empty, not_full) = (Mutex::new(VecDeque::new()), Condvar::new(), Condvar::new());
        let sum = AtomicUsize::new(0);
        scope(|s| {
            for _ in 0..3 {
                s.go(|| {
                    for n in 1..=100 {
                        let mut guard = queue.lock();
                        not_full.wait_while(&mut guard, |queue| queue.len() == 4);
                        guard.push_back(n);
                        not_empty.notify_one();
                    }
                });
                s.go(|| {
                    for _ in 0..100 {
                        let mut guard = queue.lock();
                        not_empty.wait_while(&mut guard, |queue| queue.is_empty());
                        sum.fetch_add(guard.pop_front().expect("not empty"), Ordering::SeqCst);
                        not_full.notify_one();
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 3 * 5050);
    });
}

#[test]
fn threads_and_goroutines_wake_each_other() {
    static TURN: Mutex<u32> = Mutex::new(0);
    static CHANGED: Condvar = Condvar::new();
    fn player(parity: u32) {
        let mut guard = TURN.lock();
        for _ in 0..300 {
            CHANGED.wait_while(&mut guard, |turn| *turn % 2 != parity);
            *guard += 1;
            CHANGED.notify_all();
        }
    }
    let other = thread::spawn(|| player(0));
    runtime(2, false).run(|| player(1));
    other.join().unwrap();
    assert_eq!(*TURN.lock(), 600);
}

#[test]
fn a_deadline_ends_the_wait_and_the_mutex_is_held_again() {
    on_all(|| {
        let (mutex, changed) = (Mutex::new(0), Condvar::new());
        let mut guard = mutex.lock();
        assert!(changed.wait_for(&mut guard, Duration::ZERO).timed_out());
        assert!(changed.wait_for(&mut guard, Duration::from_micros(50)).timed_out());
        #[expect(clippy::disallowed_methods, reason = "a deadline is a point of std's clock")]
        let now = Instant::now();
        assert!(changed.wait_until(&mut guard, now).timed_out());
        assert!(mutex.is_locked());
        *guard = 1;
        assert!(!changed.notify_one(), "they have left the queue");
        drop(guard);
        assert!(!mutex.is_locked());
    });
}

#[test]
fn a_notification_ends_a_wait_before_its_deadline() {
    on_goroutines(|| {
        let (ready, changed) = (Mutex::new(false), Condvar::new());
        scope(|s| {
            let waiter = s.go(|| changed.wait_for(&mut ready.lock(), LONG).timed_out());
            let looks = s.go(|| {
                let mut guard = ready.lock();
                changed.wait_while_for(&mut guard, |ready| !*ready, LONG).timed_out()
            });
            wait_for_waiters("condvar wait", 2);
            *ready.lock() = true;
            assert_eq!(changed.notify_all(), 2);
            assert!(!waiter.join().unwrap());
            assert!(!looks.join().unwrap());
        });
    });
}

#[test]
fn waiting_for_a_condition_says_whether_it_came() {
    on_all(|| {
        let (mutex, changed) = (Mutex::new(0), Condvar::new());
        let mut guard = mutex.lock();
        assert!(changed.wait_while_for(&mut guard, |n| *n == 0, Duration::from_micros(50)).timed_out());
        assert!(!changed.wait_while_for(&mut guard, |n| *n == 1, Duration::ZERO).timed_out());
        let mut looks = 0;
        let ended = changed.wait_while_for(
            &mut guard,
            |_| {
                looks += 1;
                looks < 2
            },
            Duration::from_micros(50),
        );
        assert!(!ended.timed_out(), "it holds at the last look");
        changed.wait_while(&mut guard, |n| *n == 1);
    });
}

#[test]
fn a_cancelled_waiter_unwinds_with_the_mutex() {
    struct Looks(Arc<(Mutex<u32>, Condvar)>, Arc<AtomicBool>);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.1.store(self.0.0.is_locked(), Ordering::SeqCst);
        }
    }
    on_goroutines(|| {
        let pair = Arc::new((Mutex::new(0), Condvar::new()));
        let was_locked = Arc::new(AtomicBool::new(false));
        let (pair2, looks) = (pair.clone(), Looks(pair.clone(), was_locked.clone()));
        let handle = go(move || {
            let mut guard = pair2.0.lock();
            let _looks = looks;
            pair2.1.wait(&mut guard);
            unreachable!("nobody notifies");
        });
        wait_for_waiters("condvar wait", 1);
        // It takes the mutex before it unwinds, and waits for it.
        let guard = pair.0.lock();
        handle.cancel();
        wait_for_waiters("mutex lock", 1);
        drop(guard);
        assert!(handle.join().unwrap_err().is_cancelled());
        assert!(was_locked.load(Ordering::SeqCst));
        assert!(!pair.0.is_locked());
        assert!(!pair.1.notify_one(), "it has left the queue");
    });
}

#[test]
fn a_cancelled_waiter_takes_no_notification_along() {
    on_goroutines(|| {
        let pair = Arc::new((Mutex::new(0), Condvar::new()));
        let waiters: Vec<_> = (0..3)
            .map(|n| {
                let pair = pair.clone();
                let handle = go(move || {
                    let mut guard = pair.0.lock();
                    pair.1.wait(&mut guard);
                    *guard += 1;
                });
                wait_for_waiters("condvar wait", n + 1);
                handle
            })
            .collect();
        waiters[0].cancel();
        wait_for_waiters("condvar wait", 2);
        assert!(pair.1.notify_one());
        wait_until(|| *pair.0.lock() == 1);
        assert!(pair.1.notify_one());
        assert!(!pair.1.notify_one());
        for (n, waiter) in waiters.into_iter().enumerate() {
            assert_eq!(waiter.join().is_err(), n == 0);
        }
        assert_eq!(*pair.0.lock(), 2);
    });
}

#[test]
fn one_condition_variable_serves_several_mutexes() {
    on_goroutines(|| {
        let (one, two, changed) = (Mutex::new(0), Mutex::new(0), Condvar::new());
        scope(|s| {
            s.go(|| changed.wait(&mut one.lock()));
            s.go(|| changed.wait(&mut two.lock()));
            wait_for_waiters("condvar wait", 2);
            drop((one.lock(), two.lock()));
            assert_eq!(changed.notify_all(), 2);
        });
    });
}

/// Go's `TestRace`: waiters, notifiers and lockers in each other's way.
#[test]
fn waiters_and_notifiers_race() {
    on_all(|| {
        let (state, changed) = (Mutex::new(0), Condvar::new());
        scope(|s| {
            s.go(|| {
                let mut state = state.lock();
                *state = 1;
                changed.wait_while(&mut state, |state| *state == 1);
                assert_eq!(*state, 2);
                *state = 3;
                changed.notify_one();
            });
            s.go(|| {
                loop {
                    let mut state = state.lock();
                    if *state == 1 {
                        *state = 2;
                        changed.notify_one();
                        return;
                    }
                    drop(state);
                    yield_now();
                }
            });
            s.go(|| {
                loop {
                    let mut state = state.lock();
                    if *state == 2 {
                        changed.wait_while(&mut state, |state| *state != 3);
                    }
                    if *state == 3 {
                        return;
                    }
                    drop(state);
                    yield_now();
                }
            });
        });
    });
}
