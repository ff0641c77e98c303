//! `sync::Mutex`: what std's, parking_lot's and Go's tests ask of a mutex (std `library/std/tests/sync/mutex.rs`, parking_lot `src/mutex.rs`, Go
//! `src/sync/mutex_test.go`), expressed anew; cancellation, deadlines, fairness.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Counted, on_all, on_goroutines, runtime, wait_for_waiters, wait_until};
use greenroutine::sync::{MappedMutexGuard, Mutex, MutexGuard};
use greenroutine::{JoinHandle, go, scope, task, yield_now};

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn one_at_a_time_holds_it() {
    on_all(|| {
        let mutex = Mutex::new(0_u64);
        scope(|s| {
            for _ in 0..8 {
                s.go(|| (0..1000).for_each(|_| *mutex.lock() += 1));
            }
        });
        assert_eq!(mutex.into_inner(), 8000);
    });
}

#[test]
fn threads_and_goroutines_exclude_each_other() {
    static MUTEX: Mutex<u64> = Mutex::new(0);
    let rounds = 300;
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                for _ in 0..rounds {
                    let mut guard = MUTEX.lock();
                    let before = *guard;
                    thread::yield_now();
                    *guard = before + 1;
                }
            });
        }
        on_goroutines(|| {
            scope(|s| {
                for _ in 0..4 {
                    s.go(|| {
                        for _ in 0..100 {
                            let mut guard = MUTEX.lock();
                            let before = *guard;
                            yield_now();
                            *guard = before + 1;
                        }
                    });
                }
            });
        });
    });
    assert_eq!(*MUTEX.lock(), 2 * rounds + 6 * 4 * 100);
}

/// The shape of zio's issue 574: four goroutines on one mutex that is held across a switch.
#[test]
fn it_may_be_held_across_switches() {
    on_all(|| {
        let mutex = Mutex::new((0_u32, false));
        scope(|s| {
            for _ in 0..4 {
                s.go(|| {
                    for _ in 0..200 {
                        let mut guard = mutex.lock();
                        assert!(!guard.1, "somebody else is inside");
                        guard.1 = true;
                        yield_now();
                        *guard = (guard.0 + 1, false);
                    }
                });
            }
        });
        assert_eq!(*mutex.lock(), (800, false));
    });
}

#[test]
fn trying_takes_a_free_one_only() {
    on_all(|| {
        let mutex = Mutex::new(1);
        let guard = mutex.try_lock().expect("free");
        assert!(mutex.is_locked());
        assert!(mutex.try_lock().is_none());
        assert!(scope(|s| s.go(|| mutex.try_lock().is_none()).join()).unwrap());
        drop(guard);
        assert!(!mutex.is_locked());
        assert_eq!(mutex.try_lock().as_deref(), Some(&1));
    });
}

#[test]
fn a_wait_with_a_deadline_ends_at_it_and_leaves_no_trace() {
    on_all(|| {
        let mutex = Mutex::new(0);
        let guard = mutex.lock();
        assert!(mutex.try_lock_for(Duration::ZERO).is_none());
        assert!(mutex.try_lock_for(Duration::from_micros(100)).is_none());
        #[expect(clippy::disallowed_methods, reason = "a deadline is a point of std's clock")]
        let past = Instant::now();
        assert!(mutex.try_lock_until(past).is_none());
        drop(guard);
        // An unlock that woke one of those would leave these waiting for ever.
        scope(|s| {
            for _ in 0..4 {
                s.go(|| *mutex.lock() += 1);
            }
        });
        assert_eq!(mutex.try_lock_for(LONG).map(|value| *value), Some(4));
        #[expect(clippy::disallowed_methods, reason = "a deadline is a point of std's clock")]
        let future = Instant::now() + LONG;
        assert!(mutex.try_lock_until(future).is_some());
    });
}

#[test]
fn a_wait_with_a_deadline_ends_before_it_when_the_mutex_is_given_back() {
    on_goroutines(|| {
        let mutex = Mutex::new(0);
        let guard = mutex.lock();
        scope(|s| {
            let waiter = s.go(|| *mutex.try_lock_for(LONG).expect("given back") += 1);
            wait_for_waiters("mutex lock", 1);
            drop(guard);
            waiter.join().unwrap();
        });
        assert_eq!(*mutex.lock(), 1);
    });
}

#[test]
fn a_panic_gives_it_back_and_leaves_no_mark() {
    on_all(|| {
        let mutex = Mutex::new(1);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = mutex.lock();
            *guard = 2;
            panic!("on purpose");
        }));
        assert!(result.is_err());
        assert_eq!(*mutex.lock(), 2);
    });
}

#[test]
fn a_cancelled_waiter_leaves_no_trace() {
    on_goroutines(|| {
        // First, in the middle, last.
        for cancelled in 0..3 {
            let mutex = Arc::new(Mutex::new(0));
            let guard = mutex.lock();
            let waiters: Vec<_> = (0..3)
                .map(|n| {
                    let mutex = mutex.clone();
                    let handle = go(move || *mutex.lock() += 1);
                    wait_for_waiters("mutex lock", n + 1);
                    handle
                })
                .collect();
            waiters[cancelled].cancel();
            wait_for_waiters("mutex lock", 2);
            drop(guard);
            for (n, waiter) in waiters.into_iter().enumerate() {
                let ended = waiter.join();
                assert_eq!(ended.is_err_and(|error| error.is_cancelled()), n == cancelled);
            }
            assert_eq!(*mutex.lock(), 2);
        }
    });
}

#[test]
fn waiters_that_are_cancelled_as_they_are_woken_pass_it_on() {
    on_goroutines(|| {
        for _ in 0..50 {
            let mutex = Arc::new(Mutex::new(0));
            let guard = mutex.lock();
            let mut waiters: Vec<_> = (0..6)
                .map(|_| {
                    let mutex = mutex.clone();
                    go(move || {
                        let mut guard = mutex.lock();
                        *guard += 1;
                        yield_now();
                    })
                })
                .collect();
            yield_now();
            let stays = waiters.split_off(3);
            drop(guard);
            waiters.iter().for_each(JoinHandle::cancel);
            for waiter in stays {
                waiter.join().unwrap();
            }
            for waiter in waiters {
                let _ = waiter.join();
            }
            assert!(*mutex.lock() >= 3);
        }
    });
}

#[test]
fn a_free_one_is_no_cancellation_point() {
    on_goroutines(|| {
        let (mutex, reached) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
        let (mutex2, reached2) = (mutex.clone(), reached.clone());
        let handle = go(move || {
            reached2.store(1, Ordering::SeqCst);
            while reached2.load(Ordering::SeqCst) == 1 {
                std::hint::spin_loop();
                // Not a cancellation point either, and lets the others run.
                drop(mutex2.lock());
            }
            drop(mutex2.lock());
            reached2.store(3, Ordering::SeqCst);
            task::park();
        });
        wait_until(|| reached.load(Ordering::SeqCst) == 1);
        handle.cancel();
        reached.store(2, Ordering::SeqCst);
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(reached.load(Ordering::SeqCst), 3, "cancelled in park, not in lock");
    });
}

#[test]
fn a_destructor_that_runs_because_of_a_cancellation_waits_for_it() {
    struct Locks(Arc<Mutex<u32>>);
    impl Drop for Locks {
        fn drop(&mut self) {
            *self.0.lock() += 1;
        }
    }
    on_goroutines(|| {
        let mutex = Arc::new(Mutex::new(0));
        let guard = mutex.lock();
        let locks = Locks(mutex.clone());
        let handle = go(move || {
            let _locks = locks;
            task::park();
        });
        wait_for_waiters("park", 1);
        handle.cancel();
        wait_for_waiters("mutex lock", 1);
        // Cancelled again, in vain.
        handle.cancel();
        drop(guard);
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(*mutex.lock(), 1);
    });
}

/// Whoever barges for ever keeps a waiter out for about a millisecond: then the mutex is handed over. Without that this test would not end.
#[test]
fn barging_does_not_starve_a_waiter() {
    on_goroutines(|| {
        let (mutex, through) = (Mutex::new(()), AtomicBool::new(false));
        scope(|s| {
            s.go(|| {
                while !through.load(Ordering::SeqCst) {
                    let _guard = mutex.lock();
                    // The waiter runs, finds the mutex held, and waits again.
                    yield_now();
                }
            });
            s.go(|| {
                drop(mutex.lock());
                through.store(true, Ordering::SeqCst);
            });
        });
    });
}

#[test]
fn barging_threads_do_not_starve_a_goroutine_nor_goroutines_a_thread() {
    let (mutex, through) = (Mutex::new(()), AtomicUsize::new(0));
    let mutex = &mutex;
    let barge = || {
        while through.load(Ordering::SeqCst) < 2 {
            let _guard = mutex.lock();
            yield_now();
        }
    };
    let pass = || {
        drop(mutex.lock());
        through.fetch_add(1, Ordering::SeqCst);
    };
    thread::scope(|threads| {
        threads.spawn(barge);
        threads.spawn(pass);
        runtime(2, false).run(|| {
            scope(|s| {
                s.go(barge);
                s.go(pass);
            });
        });
    });
}

/// Go's `TestMutexFairness`: a goroutine that holds it most of the time, and one that wants it ten times.
#[test]
fn one_that_sleeps_between_locks_gets_it_from_one_that_holds_it_nearly_always() {
    on_goroutines(|| {
        let (mutex, stop) = (Mutex::new(0), AtomicBool::new(false));
        scope(|s| {
            s.go(|| {
                while !stop.load(Ordering::SeqCst) {
                    let mut guard = mutex.lock();
                    *guard += 1;
                    yield_now();
                }
            });
            s.go(|| {
                for _ in 0..10 {
                    yield_now();
                    drop(mutex.lock());
                }
                stop.store(true, Ordering::SeqCst);
            });
        });
    });
}

#[test]
fn a_goroutine_that_does_nothing_but_lock_shares_its_worker() {
    for free in [false, true] {
        let (mutex, stop) = (Mutex::new(()), AtomicBool::new(false));
        runtime(1, free).run(|| {
            scope(|s| {
                s.go(|| {
                    while !stop.load(Ordering::SeqCst) {
                        drop(mutex.lock());
                    }
                });
                s.go(|| {
                    while !stop.load(Ordering::SeqCst) {
                        drop(mutex.try_lock());
                    }
                });
                s.go(|| stop.store(true, Ordering::SeqCst));
            });
        });
    }
}

#[test]
fn a_guard_may_be_dropped_on_another_worker() {
    let mutex = Mutex::new(0_u32);
    runtime(4, true).run(|| {
        scope(|s| {
            for _ in 0..16 {
                s.go(|| {
                    for _ in 0..50 {
                        let mut guard = mutex.lock();
                        yield_now();
                        *guard += 1;
                        yield_now();
                    }
                });
            }
        });
    });
    assert_eq!(mutex.into_inner(), 16 * 50);
}

#[test]
fn its_value_goes_in_and_out() {
    let drops = Arc::new(AtomicUsize::new(0));
    let mut mutex = Mutex::new(Counted(drops.clone()));
    *mutex.get_mut() = Counted(drops.clone());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    let value = mutex.into_inner();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    drop(Mutex::new(value));
    assert_eq!(drops.load(Ordering::SeqCst), 2);

    assert_eq!(*Mutex::<u8>::default().lock(), 0);
    assert_eq!(*Mutex::from(7).lock(), 7);
}

#[test]
fn what_it_guards_may_be_unsized() {
    let mutex: Box<Mutex<[u8]>> = Box::new(Mutex::new([1, 2, 3]));
    mutex.lock()[0] = 4;
    assert_eq!(*mutex.lock(), [4, 2, 3]);
    let mutex: Arc<Mutex<dyn Fn() -> u8 + Send>> = Arc::new(Mutex::new(|| 5));
    assert_eq!((mutex.lock())(), 5);
}

#[test]
fn a_mapped_guard_gives_it_back() {
    let mutex = Mutex::new((1, "a".to_owned()));
    let mut guard: MappedMutexGuard<'_, String> = MutexGuard::map(mutex.lock(), |pair| &mut pair.1);
    guard.push('b');
    assert_eq!(format!("{guard:?}"), "\"ab\"");
    assert!(mutex.is_locked());
    drop(guard);
    assert_eq!(mutex.try_lock().expect("given back").1, "ab");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _ = MutexGuard::map(mutex.lock(), |_| -> &mut String { panic!("on purpose") });
    }));
    assert!(panicked.is_err() && !mutex.is_locked());
}

#[test]
fn it_describes_itself() {
    let mutex = Mutex::new(1);
    assert_eq!(format!("{mutex:?}"), "Mutex { data: 1 }");
    let guard = mutex.lock();
    assert_eq!(format!("{mutex:?} {guard:?} {guard}"), "Mutex { data: <locked> } 1 1");
}

#[test]
fn a_dump_says_who_waits_for_it() {
    on_goroutines(|| {
        let mutex = Mutex::new(());
        scope(|s| {
            let guard = mutex.lock();
            s.go(|| drop(mutex.lock()));
            wait_for_waiters("mutex lock", 1);
            drop(guard);
        });
    });
}
