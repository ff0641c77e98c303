//! `blocking`: what runs where, who waits for whom, what travels back. Threads and goroutines meet through channels of std and of the crate: no test waits for time.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{on_all, on_goroutines, runtime, wait_until};
use greenroutine::{Runtime, blocking, go, task};

#[test]
fn the_value_comes_back_and_the_closure_may_borrow() {
    on_all(|| {
        let words = [String::from("a"), String::from("bc")];
        let mut total = 0;
        let longest = blocking(|| {
            total = words.iter().map(String::len).sum::<usize>();
            words.iter().max_by_key(|word| word.len()).cloned()
        });
        assert_eq!((longest.as_deref(), total), (Some("bc"), 3));
    });
}

#[test]
fn it_runs_on_a_thread_that_is_no_goroutine_and_on_a_thread_in_place() {
    on_goroutines(|| {
        assert!(task::current().is_some());
        let here = std::thread::current().id();
        blocking(|| {
            assert!(task::current().is_none());
            assert_ne!(std::thread::current().id(), here);
            // Nested: in place.
            let there = std::thread::current().id();
            assert_eq!(blocking(|| std::thread::current().id()), there);
        });
    });
    let here = std::thread::current().id();
    assert_eq!(blocking(|| std::thread::current().id()), here);
}

#[test]
fn a_panic_travels_to_the_caller_and_the_pool_goes_on() {
    on_all(|| {
        for _ in 0..3 {
            let panic = catch_unwind(|| blocking(|| -> i32 { panic!("in the pool") })).unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the pool"));
        }
        assert_eq!(blocking(|| 7), 7);
    });
}

#[test]
fn the_worker_runs_others_meanwhile() {
    for free in [false, true] {
        runtime(1, free).run(|| {
            let (s, r) = mpsc::channel();
            let waiter = go(move || blocking(move || r.recv().unwrap()));
            // On the only worker, which would be kept by a wait in place.
            let other = go(move || s.send(5).unwrap());
            assert_eq!(waiter.join().unwrap(), 5);
            other.join().unwrap();
        });
    }
}

#[test]
fn no_more_run_at_once_than_the_bound_and_all_get_their_turn() {
    let rt = Runtime::builder().workers(2).blocking_threads(3).build().unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    rt.run(|| {
        let all: Vec<_> = (0..50)
            .map(|n| {
                let (now, most) = (now.clone(), most.clone());
                go(move || {
                    blocking(|| {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        n
                    })
                })
            })
            .collect();
        assert_eq!(all.into_iter().map(|one| one.join().unwrap()).sum::<i32>(), 50 * 49 / 2);
    });
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
}

#[test]
fn as_many_run_at_once_as_the_bound_allows() {
    // Each waits for all others: with one thread less nobody would get on.
    const ALL: usize = 8;
    let rt = Runtime::builder().workers(1).blocking_threads(ALL).build().unwrap();
    rt.run(|| {
        let barrier = Arc::new(std::sync::Barrier::new(ALL));
        let all: Vec<_> = (0..ALL)
            .map(|_| {
                let barrier = barrier.clone();
                go(move || blocking(|| barrier.wait().is_leader()))
            })
            .collect();
        assert_eq!(all.into_iter().filter(|_| true).map(|one| one.join().unwrap()).filter(|l| *l).count(), 1);
    });
}

#[test]
fn goroutines_started_inside_belong_to_the_callers_runtime() {
    let rt = Runtime::builder().workers(1).name("its-own").build().unwrap();
    let name =
        rt.run(|| blocking(|| go(|| std::thread::current().name().map(str::to_owned)).join().unwrap()));
    assert_eq!(name.as_deref(), Some("its-own-0"));
}

#[test]
fn a_cancelled_goroutine_waits_for_its_closure_and_then_ends_as_cancelled() {
    for free in [false, true] {
        runtime(2, free).run(|| {
            let (started, is_started) = greenroutine::channel::bounded(1);
            let (s, r) = mpsc::channel::<()>();
            let done = Arc::new(AtomicBool::new(false));
            let flag = done.clone();
            let one = go(move || {
                blocking(move || {
                    started.send(()).unwrap();
                    r.recv().unwrap();
                    flag.store(true, Ordering::SeqCst);
                });
                task::park();
            });
            is_started.recv().unwrap();
            one.cancel();
            greenroutine::yield_now();
            assert!(!one.is_finished());
            s.send(()).unwrap();
            assert!(one.join().unwrap_err().is_cancelled());
            assert!(done.load(Ordering::SeqCst));
        });
    }
}

#[test]
fn a_goroutine_cancelled_before_the_call_does_not_make_it() {
    on_goroutines(|| {
        let ran = Arc::new(AtomicBool::new(false));
        let (flag, start) = (ran.clone(), Arc::new(AtomicBool::new(false)));
        let go_on = start.clone();
        let one = go(move || {
            while !go_on.load(Ordering::SeqCst) {
                std::hint::spin_loop();
                if greenroutine::runtime::workers() == 1 {
                    break;
                }
            }
            // Not a cancellation point: `catch_unwind` sees the one of `blocking`.
            let caught = catch_unwind(AssertUnwindSafe(|| blocking(|| flag.store(true, Ordering::SeqCst))));
            if let Err(payload) = caught {
                std::panic::resume_unwind(payload);
            }
        });
        one.cancel();
        start.store(true, Ordering::SeqCst);
        assert!(one.join().unwrap_err().is_cancelled());
        assert!(!ran.load(Ordering::SeqCst));
    });
}

#[test]
fn a_runtime_that_is_shut_down_waits_for_what_is_on_its_way() {
    let rt = Runtime::builder().workers(2).build().unwrap();
    let (started, is_started) = mpsc::channel();
    let (s, r) = mpsc::channel::<()>();
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    rt.go(move || {
        blocking(move || {
            started.send(()).unwrap();
            r.recv().unwrap();
            flag.store(true, Ordering::SeqCst);
        });
    });
    is_started.recv().unwrap();
    // It cannot end yet.
    assert!(!rt.shutdown(Duration::ZERO));
    s.send(()).unwrap();
    wait_until(|| done.load(Ordering::SeqCst));
}

#[test]
fn a_runtime_may_be_dropped_by_a_closure_of_its_own_pool() {
    let rt = Runtime::builder().workers(1).build().unwrap();
    let (s, r) = mpsc::channel();
    let (give, take) = mpsc::channel::<Runtime>();
    rt.go(move || {
        blocking(move || drop(take.recv().unwrap()));
        s.send(()).unwrap();
    });
    give.send(rt).unwrap();
    r.recv().unwrap();
}

#[test]
fn bounds_out_of_range_are_named() {
    for threads in [0, 1 << 20] {
        let error = Runtime::builder().blocking_threads(threads).build().unwrap_err().to_string();
        assert!(error.contains(&threads.to_string()) && error.contains("32768"), "{error}");
    }
}

#[test]
fn jobs_end_beside_workers_that_are_stuck_for_a_moment() {
    // A spare that was woken for what the pool's threads made ready, and was not allowed to take it any more by then, told nobody else.
    let rt = common::runtime(2, true);
    let mut rng = common::Rng(1);
    for _ in 0..60 {
        rt.run(|| {
            greenroutine::scope(|s| {
                for _ in 0..1 + rng.below(3) {
                    let busy = Duration::from_millis(1 + rng.below(25));
                    s.go(move || {
                        let start = greenroutine::time::now();
                        while start.elapsed() < busy {
                            std::hint::spin_loop();
                        }
                    });
                }
                for _ in 0..rng.below(40) {
                    let wait = Duration::from_micros(rng.below(500));
                    s.go(move || blocking(|| std::thread::sleep(wait)));
                }
            });
        });
    }
}
