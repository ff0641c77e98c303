//! Cancellation: at which calls, with which destructors, and what it leaves behind.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Counted, on_all, runtime, wait_until};
use greenroutine::{go, scope, task, time, yield_now};

#[test]
fn a_goroutine_is_cancelled_in_whatever_it_waits() {
    on_all(|| {
        let waits: [fn(); 6] = [
            task::park,
            || task::park_timeout(Duration::from_secs(1000)),
            || time::sleep(Duration::from_secs(1000)),
            || go(task::park).join().unwrap(),
            || loop {
                yield_now();
            },
            || {
                scope(|s| {
                    s.go(task::park);
                });
            },
        ];
        for wait in waits {
            let drops = Arc::new(AtomicUsize::new(0));
            let started = Arc::new(AtomicUsize::new(0));
            let (counted, flag) = (Counted(drops.clone()), started.clone());
            let handle = go(move || {
                let _counted = counted;
                flag.store(1, Ordering::SeqCst);
                wait();
                unreachable!("the wait ends by cancellation only");
            });
            wait_until(|| started.load(Ordering::SeqCst) == 1);
            handle.cancel();
            assert!(handle.join().unwrap_err().is_cancelled());
            assert_eq!(drops.load(Ordering::SeqCst), 1);
        }
    });
}

#[test]
fn one_that_has_not_started_never_runs() {
    let rt = runtime(1, false);
    rt.run(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = Counted(drops.clone());
        // One worker, and it is ours until we wait.
        let handle = go(move || {
            let _counted = counted;
            unreachable!("cancelled before it started");
        });
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn one_that_never_waits_ends_with_its_value() {
    on_all(|| {
        let gate = Arc::new(AtomicUsize::new(0));
        let inner = gate.clone();
        let handle = task::Builder::new().dedicated(true).spawn(move || {
            inner.store(1, Ordering::SeqCst);
            while inner.load(Ordering::SeqCst) != 2 {
                std::hint::spin_loop();
            }
            8
        });
        let handle = handle.unwrap();
        wait_until(|| gate.load(Ordering::SeqCst) == 1);
        handle.cancel();
        gate.store(2, Ordering::SeqCst);
        assert_eq!(handle.join().unwrap(), 8);
    });
}

#[test]
fn a_swallowed_cancellation_comes_back_at_the_next_wait() {
    on_all(|| {
        let started = Arc::new(AtomicUsize::new(0));
        let flag = started.clone();
        let handle = go(move || {
            flag.store(1, Ordering::SeqCst);
            for _ in 0..3 {
                assert!(catch_unwind(AssertUnwindSafe(task::park)).is_err());
            }
            3
        });
        wait_until(|| started.load(Ordering::SeqCst) == 1);
        handle.cancel();
        assert_eq!(handle.join().unwrap(), 3);
    });
}

#[test]
fn waits_work_while_it_unwinds() {
    struct WaitOnDrop(Arc<AtomicUsize>);
    impl Drop for WaitOnDrop {
        fn drop(&mut self) {
            assert!(task::panicking());
            yield_now();
            time::sleep(Duration::from_micros(10));
            assert_eq!(go(|| 4).join().unwrap(), 4);
            scope(|s| {
                s.go(yield_now);
            });
            assert!(task::panicking());
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    on_all(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let guard = WaitOnDrop(count.clone());
        let handle = go(move || {
            let _guard = guard;
            task::park();
        });
        handle.cancel();
        let error = handle.join().unwrap_err();
        // Cancelled before it started, it drops its closure without unwinding; then the assertion in the guard fails.
        if error.is_cancelled() {
            assert_eq!(count.load(Ordering::SeqCst), 1);
        }
    });
}

#[test]
fn cancelling_twice_late_and_after_the_end_is_harmless() {
    on_all(|| {
        let handle = go(task::park);
        handle.cancel();
        handle.cancel();
        wait_until(|| handle.is_finished());
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        let done = go(|| 1);
        wait_until(|| done.is_finished());
        done.cancel();
        assert_eq!(done.join().unwrap(), 1);
    });
}

#[test]
fn a_joiner_that_is_cancelled_leaves_its_goroutine_running() {
    on_all(|| {
        let gate = Arc::new(AtomicUsize::new(0));
        let (inner, inside) = (gate.clone(), gate.clone());
        let joiner = go(move || {
            let child = go(move || {
                wait_until(|| inner.load(Ordering::SeqCst) == 2);
                inner.store(3, Ordering::SeqCst);
            });
            inside.store(1, Ordering::SeqCst);
            child.join().unwrap();
        });
        wait_until(|| gate.load(Ordering::SeqCst) == 1);
        joiner.cancel();
        assert!(joiner.join().unwrap_err().is_cancelled());
        gate.store(2, Ordering::SeqCst);
        wait_until(|| gate.load(Ordering::SeqCst) == 3);
    });
}
