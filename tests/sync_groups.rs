//! `sync::{WaitGroup, ErrGroup, Barrier, SingleFlight}`: what Go's and std's tests ask of them (Go `src/sync/waitgroup_test.go`, `x/sync/errgroup/errgroup_test.go`,
//! `x/sync/singleflight/singleflight_test.go`, std `library/std/tests/sync/barrier.rs`), expressed anew; misuse, panics, cancellation, deadlines.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{on_all, on_goroutines, panic_of, runtime, wait_for_waiters, wait_until};
use greenroutine::sync::{Barrier, ErrGroup, SingleFlight, WaitGroup};
use greenroutine::{go, scope, task, yield_now};

const LONG: Duration = Duration::from_secs(1000);

// ---- WaitGroup

/// Go's `TestWaitGroup`: two groups that wait for each other.
#[test]
fn a_group_waits_until_all_are_done() {
    on_all(|| {
        let (one, two, exited) = (WaitGroup::new(), WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..8 {
            one.add(16);
            two.add(16);
            exited.store(0, Ordering::SeqCst);
            for _ in 0..16 {
                let (one, two, exited) = (one.clone(), two.clone(), exited.clone());
                go(move || {
                    one.done();
                    two.wait();
                    exited.fetch_add(1, Ordering::SeqCst);
                });
            }
            one.wait();
            for _ in 0..16 {
                assert_eq!(exited.load(Ordering::SeqCst), 0, "released too soon");
                two.done();
            }
            wait_until(|| exited.load(Ordering::SeqCst) == 16);
        }
    });
}

#[test]
fn a_group_with_nothing_to_do_does_not_wait() {
    on_all(|| {
        let group = WaitGroup::new();
        group.wait();
        group.add(0);
        assert!(group.wait_timeout(Duration::ZERO));
        group.add(2);
        group.add(-2);
        group.wait();
        assert_eq!(format!("{group:?}"), "WaitGroup { count: 0 }");
    });
}

/// Go's `TestWaitGroupMisuse`.
#[test]
fn a_negative_count_is_a_panic_at_the_caller() {
    let group = WaitGroup::new();
    group.add(1);
    group.done();
    let (at, text) = panic_of(|| group.done());
    assert_eq!(text, "sync: negative WaitGroup counter");
    assert!(at.starts_with(file!()), "{at}");
    let (at, _) = panic_of(|| group.add(-1));
    assert!(at.starts_with(file!()), "{at}");
    assert_eq!(panic_of(|| group.add(isize::MAX)).1, "sync: WaitGroup counter overflow");
    // It stays as it was.
    group.wait();
}

#[test]
fn what_a_group_starts_counts_as_done_however_it_ends() {
    on_all(|| {
        let group = WaitGroup::new();
        let fine = group.go(|| 7);
        let panics = group.go(|| panic!("on purpose"));
        let exits = group.go(|| task::goexit());
        let cancelled = group.go(task::park);
        cancelled.cancel();
        group.wait();
        assert_eq!(fine.join().unwrap(), 7);
        assert!(panics.join().unwrap_err().is_panic());
        assert!(!exits.join().unwrap_err().is_panic());
        assert!(cancelled.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn one_that_is_cancelled_before_it_starts_counts_as_done() {
    runtime(1, false).run(|| {
        let group = WaitGroup::new();
        // One worker, and it is ours until we wait.
        group.go(|| unreachable!("cancelled before it started")).cancel();
        group.wait();
    });
}

#[test]
fn all_that_wait_go_on_and_the_group_serves_again() {
    on_goroutines(|| {
        let group = WaitGroup::new();
        for _ in 0..20 {
            group.add(1);
            let waiters: Vec<_> = (0..5)
                .map(|_| {
                    let group = group.clone();
                    go(move || group.wait())
                })
                .collect();
            wait_for_waiters("waitgroup wait", 5);
            group.done();
            // The next round has begun before those of this one have run.
            group.add(1);
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            group.done();
        }
    });
}

#[test]
fn the_end_of_one_round_does_not_end_the_next() {
    on_all(|| {
        let group = WaitGroup::new();
        let open = Arc::new(AtomicBool::new(false));
        for _ in 0..200 {
            group.add(1);
            let ends = group.clone();
            let other = go(move || ends.done());
            group.wait();
            open.store(true, Ordering::SeqCst);
            group.add(1);
            let (closes, open2) = (group.clone(), open.clone());
            let closer = go(move || {
                open2.store(false, Ordering::SeqCst);
                closes.done();
            });
            group.wait();
            assert!(!open.load(Ordering::SeqCst), "woken by the round before");
            other.join().unwrap();
            closer.join().unwrap();
        }
    });
}

#[test]
fn a_wait_for_a_group_ends_at_its_deadline_or_by_cancellation_and_leaves_no_trace() {
    on_goroutines(|| {
        let group = WaitGroup::new();
        group.add(1);
        assert!(!group.wait_timeout(Duration::from_micros(50)));
        let wait = || {
            let group = group.clone();
            go(move || group.wait_timeout(LONG))
        };
        let (one, two) = (wait(), wait());
        wait_for_waiters("waitgroup wait", 2);
        one.cancel();
        assert!(one.join().unwrap_err().is_cancelled());
        group.done();
        assert!(two.join().unwrap());
    });
}

#[test]
fn threads_wait_for_goroutines_and_goroutines_for_threads() {
    let (one, two) = (WaitGroup::new(), WaitGroup::new());
    one.add(1);
    two.add(1);
    thread::scope(|threads| {
        threads.spawn(|| {
            one.wait();
            two.done();
        });
        runtime(2, false).run(|| {
            one.done();
            two.wait();
        });
    });
}

// ---- ErrGroup

/// Go's `TestZeroGroup` and `TestWithContext`: the first error, or none.
#[test]
fn an_error_that_came_before_another_is_the_groups() {
    on_all(|| {
        let group = ErrGroup::new();
        group.set_limit(1);
        // One after the other, in this order: each gets its place when the one before has ended.
        group.go(|| Ok(()));
        group.go(|| Err(1));
        group.go(|| Err(2));
        assert_eq!(group.wait(), Err(1));
        assert_eq!(group.wait(), Ok(()), "given once");
    });
}

/// Go's `TestGoLimit`.
#[test]
fn no_more_than_the_limit_run() {
    on_all(|| {
        const LIMIT: usize = 3;
        let (group, active) = (ErrGroup::<()>::new(), Arc::new(AtomicUsize::new(0)));
        group.set_limit(LIMIT);
        for _ in 0..60 {
            let active = active.clone();
            group.go(move || {
                assert!(active.fetch_add(1, Ordering::SeqCst) < LIMIT);
                yield_now();
                active.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            });
        }
        assert_eq!(group.wait(), Ok(()));
    });
}

/// Go's `TestTryGo`.
#[test]
fn trying_starts_one_if_there_is_a_place() {
    on_all(|| {
        let (group, go_on) = (ErrGroup::<()>::new(), Arc::new(AtomicBool::new(false)));
        group.set_limit(2);
        let blocks = || {
            let go_on = go_on.clone();
            move || {
                wait_until(|| go_on.load(Ordering::SeqCst));
                Ok(())
            }
        };
        assert!(group.try_go(blocks()) && group.try_go(blocks()));
        assert!(!group.try_go(blocks()));
        let text = panic_of(|| group.set_limit(5)).1;
        assert_eq!(text, "errgroup: modify limit while 2 goroutines in the group are still active");
        go_on.store(true, Ordering::SeqCst);
        assert_eq!(group.wait(), Ok(()));
        assert!(group.try_go(blocks()));
        assert_eq!(group.wait(), Ok(()));
        group.set_limit(0);
        assert!(!group.try_go(blocks()));
        assert_eq!(format!("{group:?}"), "ErrGroup { running: 0, .. }");
    });
}

#[test]
fn a_panic_in_a_group_is_rethrown_by_wait() {
    on_all(|| {
        let group = ErrGroup::<()>::new();
        group.go(|| panic!("on purpose"));
        let payload = catch_unwind(AssertUnwindSafe(|| group.wait())).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
        assert_eq!(group.wait(), Ok(()));
    });
}

#[test]
fn one_that_waits_for_a_place_or_for_the_group_can_be_cancelled() {
    on_goroutines(|| {
        let (group, go_on) = (ErrGroup::<()>::new(), Arc::new(AtomicBool::new(false)));
        group.set_limit(1);
        let go_on2 = go_on.clone();
        group.go(move || {
            wait_until(|| go_on2.load(Ordering::SeqCst));
            Ok(())
        });
        let group2 = group.clone();
        let starter = go(move || group2.go(|| unreachable!("never got a place")));
        wait_for_waiters("semaphore acquire", 1);
        let group2 = group.clone();
        let waiter = go(move || group2.wait());
        wait_for_waiters("waitgroup wait", 1);
        starter.cancel();
        waiter.cancel();
        assert!(starter.join().unwrap_err().is_cancelled());
        assert!(waiter.join().unwrap_err().is_cancelled());
        go_on.store(true, Ordering::SeqCst);
        assert_eq!(group.wait(), Ok(()));
        group.set_limit(2);
    });
}

// ---- Barrier

/// std's `test_barrier`: nobody passes before the last has come, and one leads.
#[test]
fn nobody_passes_a_barrier_before_all_have_come() {
    on_all(|| {
        const PARTIES: usize = 5;
        let (barrier, came) = (Barrier::new(PARTIES), AtomicUsize::new(0));
        scope(|s| {
            let all: Vec<_> = (0..PARTIES)
                .map(|_| {
                    s.go(|| {
                        let mut led = 0;
                        for round in 1..=50 {
                            came.fetch_add(1, Ordering::SeqCst);
                            led += usize::from(barrier.wait().is_leader());
                            assert!(came.load(Ordering::SeqCst) >= round * PARTIES);
                            led += usize::from(barrier.wait().is_leader());
                        }
                        led
                    })
                })
                .collect();
            assert_eq!(all.into_iter().map(|one| one.join().unwrap()).sum::<usize>(), 100);
        });
    });
}

#[test]
fn a_barrier_for_nobody_or_one_stops_nobody() {
    on_all(|| {
        for parties in [0, 1] {
            let barrier = Barrier::new(parties);
            assert!(barrier.wait().is_leader() && barrier.wait().is_leader());
        }
    });
}

#[test]
fn one_that_is_cancelled_at_a_barrier_counts_as_not_come() {
    on_goroutines(|| {
        let barrier = Arc::new(Barrier::new(3));
        let wait = || {
            let barrier = barrier.clone();
            go(move || barrier.wait().is_leader())
        };
        let (one, two) = (wait(), wait());
        wait_for_waiters("barrier wait", 2);
        one.cancel();
        assert!(one.join().unwrap_err().is_cancelled());
        let three = wait();
        wait_for_waiters("barrier wait", 2);
        assert!(!two.is_finished() && !three.is_finished());
        assert!(barrier.wait().is_leader());
        assert!(!two.join().unwrap() && !three.join().unwrap());
    });
}

#[test]
fn threads_and_goroutines_meet_at_a_barrier() {
    let barrier = Barrier::new(4);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| (0..50).for_each(|_| _ = barrier.wait()));
        }
        runtime(2, false).run(|| {
            scope(|s| {
                for _ in 0..2 {
                    s.go(|| (0..50).for_each(|_| _ = barrier.wait()));
                }
            });
        });
    });
}

// ---- SingleFlight

/// Go's `TestDoDupSuppress`.
#[test]
fn those_who_ask_meanwhile_get_the_same_value() {
    on_goroutines(|| {
        let (group, calls, step) = (SingleFlight::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        scope(|s| {
            let first = s.go(|| {
                group.run("key", || {
                    step.store(1, Ordering::SeqCst);
                    wait_until(|| step.load(Ordering::SeqCst) == 2);
                    calls.fetch_add(1, Ordering::SeqCst) + 7
                })
            });
            wait_until(|| step.load(Ordering::SeqCst) == 1);
            let others: Vec<_> =
                (0..5).map(|_| s.go(|| group.run("key", || unreachable!("one computes")))).collect();
            wait_for_waiters("singleflight wait", 5);
            assert_eq!(group.run("other", || 1), 1, "another key does not wait");
            step.store(2, Ordering::SeqCst);
            assert_eq!(first.join().unwrap(), 7);
            assert!(others.into_iter().all(|other| other.join().unwrap() == 7));
        });
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(group.run("key", || 8), 8, "nothing is kept");
    });
}

/// Go's `TestForget`.
#[test]
fn one_that_is_forgotten_does_not_serve_later_callers() {
    on_goroutines(|| {
        let (group, started) = (SingleFlight::new(), [AtomicBool::new(false), AtomicBool::new(false)]);
        let (group, started, go_on) = (&group, &started, &AtomicBool::new(false));
        let run = |n: usize| {
            move || {
                group.run("key", || {
                    started[n].store(true, Ordering::SeqCst);
                    wait_until(|| go_on.load(Ordering::SeqCst));
                    n
                })
            }
        };
        scope(|s| {
            let first = s.go(run(0));
            wait_until(|| started[0].load(Ordering::SeqCst));
            group.forget(&"key");
            let second = s.go(run(1));
            wait_until(|| started[1].load(Ordering::SeqCst));
            go_on.store(true, Ordering::SeqCst);
            assert_eq!((first.join().unwrap(), second.join().unwrap()), (0, 1));
        });
    });
}

/// Go's `TestPanicDo`.
#[test]
fn a_panic_is_everybodys() {
    on_goroutines(|| {
        let (group, step) = (SingleFlight::<u8, ()>::new(), AtomicUsize::new(0));
        scope(|s| {
            let first = s.go(|| {
                group.run(1, || {
                    step.store(1, Ordering::SeqCst);
                    wait_until(|| step.load(Ordering::SeqCst) == 2);
                    panic!("on purpose");
                })
            });
            wait_until(|| step.load(Ordering::SeqCst) == 1);
            let others: Vec<_> = (0..3).map(|_| s.go(|| group.run(1, || ()))).collect();
            wait_for_waiters("singleflight wait", 3);
            step.store(2, Ordering::SeqCst);
            let payload = first.join().unwrap_err().into_panic();
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
            for other in others {
                let payload = other.join().unwrap_err().into_panic();
                let text = payload.downcast_ref::<String>().expect("a text");
                assert_eq!(text, "singleflight: the shared call panicked: on purpose");
            }
        });
        group.run(1, || ());
    });
}

#[test]
fn one_that_is_cancelled_in_it_leaves_it_to_another() {
    on_goroutines(|| {
        let group = Arc::new(SingleFlight::new());
        let group2 = group.clone();
        let first = go(move || {
            group2.run(1, || {
                task::park();
                0
            })
        });
        wait_for_waiters("park", 1);
        let others: Vec<_> = (1..4)
            .map(|n| {
                let group = group.clone();
                go(move || group.run(1, || n))
            })
            .collect();
        wait_for_waiters("singleflight wait", 3);
        others[0].cancel();
        wait_for_waiters("singleflight wait", 2);
        first.cancel();
        assert!(first.join().unwrap_err().is_cancelled());
        let values: Vec<_> = others.into_iter().filter_map(|other| other.join().ok()).collect();
        assert_eq!(values.len(), 2);
        assert!(values[0] == values[1] || values.contains(&2) || values.contains(&3));
        assert_eq!(group.run(1, || 9), 9);
    });
}

#[test]
fn threads_and_goroutines_share_a_flight() {
    let (group, running) = (SingleFlight::new(), AtomicUsize::new(0));
    let ask = || {
        for _ in 0..100 {
            group.run((), || {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
    };
    thread::scope(|threads| {
        threads.spawn(ask);
        runtime(2, false).run(|| {
            scope(|s| {
                s.go(ask);
                s.go(ask);
            });
        });
    });
}
