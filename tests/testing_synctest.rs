//! Go's tests of `testing/synctest`, re-expressed: internal/synctest/synctest_test.go and testing/synctest/example_test.go of Go 1.25, Copyright The Go Authors, BSD 3-clause license. A bubble is
//! `testing::run`, `synctest.Wait` is `testing::settle`. Here goroutines that are left when the main one ends are cancelled, where Go panics; and what Go refuses between bubbles is refused or cannot be
//! said. Each with many seeds, where Go has one schedule.

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use greenroutine::channel::{self, unbounded};
use greenroutine::sync::{Condvar, Mutex, WaitGroup};
use greenroutine::testing::{self, settle};
use greenroutine::{chan, context, go, task, time, yield_now};

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: usize = 100;

/// TestNow: time begins at the same moment in each run, and moves by what one sleeps, as well in what `go` starts.
#[test]
fn now() {
    let mut starts = HashSet::new();
    testing::explore(SEEDS, || {
        starts.insert(time::now());
        let start = time::now();
        time::sleep(SECOND);
        assert_eq!(start.elapsed(), SECOND);
        go(move || {
            time::sleep(SECOND);
            assert_eq!(start.elapsed(), 2 * SECOND);
        })
        .join()
        .unwrap();
    });
    assert_eq!(starts.len(), 1);
}

/// TestRunEmpty.
#[test]
fn run_empty() {
    testing::explore(SEEDS, || ());
}

/// TestSimpleWait.
#[test]
fn simple_wait() {
    testing::explore(SEEDS, settle);
}

/// TestGoroutineWait: a child may wait for the others as well.
#[test]
fn goroutine_wait() {
    testing::explore(SEEDS, || {
        go(settle).join().unwrap();
    });
}

/// TestWait: it returns when the other has stopped, in whatever way.
#[test]
fn wait() {
    testing::explore(SEEDS, || {
        let done = Arc::new(AtomicBool::new(false));
        let (inside, (s, r)) = (done.clone(), chan::<()>(0));
        go(move || {
            for n in 0..10 {
                match n % 3 {
                    0 => yield_now(),
                    1 => go(|| ()).join().unwrap(),
                    _ => time::sleep(Duration::ZERO),
                }
            }
            inside.store(true, SeqCst);
            let _ = r.recv();
        });
        settle();
        assert!(done.load(SeqCst));
        drop(s);
    });
}

/// TestTimerReadBeforeDeadline and TestTimerReadAfterDeadline.
#[test]
fn a_timer_that_is_read_before_and_after_it_is_due() {
    testing::explore(SEEDS, || {
        let (start, timer) = (time::now(), time::Timer::new(5 * SECOND));
        assert_eq!(timer.receiver().recv(), Ok(start + 5 * SECOND));
        assert_eq!(start.elapsed(), 5 * SECOND);
        let (start, timer) = (time::now(), time::Timer::new(SECOND));
        time::sleep(2 * SECOND);
        assert_eq!(timer.receiver().recv(), Ok(start + SECOND));
        assert_eq!(start.elapsed(), 2 * SECOND);
    });
}

/// TestTimerReset.
#[test]
fn a_timer_that_is_reset() {
    testing::explore(SEEDS, || {
        let (start, timer) = (time::now(), time::Timer::new(SECOND));
        assert!(timer.receiver().recv().is_ok());
        assert!(!timer.reset(2 * SECOND));
        assert!(timer.receiver().recv().is_ok());
        assert_eq!(start.elapsed(), 3 * SECOND);
        timer.reset(3 * SECOND);
        assert!(timer.receiver().recv().is_ok());
        assert_eq!(start.elapsed(), 6 * SECOND);
    });
}

/// TestTimeAfter: the earlier of two goes off first, however they were made.
#[test]
fn after() {
    testing::explore(SEEDS, || {
        let (late, early) = (channel::after(2 * SECOND), channel::after(SECOND));
        greenroutine::select! {
            recv(late) -> _ => panic!("the later one was first"),
            recv(early) -> _ => {},
        }
        assert!(late.recv().is_ok());
    });
}

/// TestTimerNondeterminism: of two timers for the same moment sometimes one is first and sometimes the other.
#[test]
fn timers_for_one_moment() {
    let mut orders = HashSet::new();
    testing::explore(SEEDS, || {
        let (s, r) = unbounded();
        for n in 0..2 {
            let s = s.clone();
            time::after_func(SECOND, move || s.send(n).unwrap());
        }
        orders.insert([r.recv().unwrap(), r.recv().unwrap()]);
    });
    assert_eq!(orders.len(), 2, "{orders:?}");
}

/// TestSleepNondeterminism.
#[test]
fn sleeps_to_one_moment() {
    let mut firsts = HashSet::new();
    testing::explore(SEEDS, || {
        let (s, r) = unbounded();
        for n in 0..5 {
            let s = s.clone();
            go(move || {
                time::sleep(SECOND);
                s.send(n).unwrap();
            });
        }
        firsts.insert(r.recv().unwrap());
    });
    assert_eq!(firsts.len(), 5, "{firsts:?}");
}

/// TestTimerRunsImmediately and TestTimerRunsLater.
#[test]
fn functions_run_at_once_and_later() {
    testing::explore(SEEDS, || {
        let count = Arc::new(AtomicUsize::new(0));
        let (at_once, later) = (count.clone(), count.clone());
        time::after_func(Duration::ZERO, move || {
            at_once.fetch_add(1, SeqCst);
        });
        time::after_func(SECOND, move || {
            later.fetch_add(10, SeqCst);
        });
        settle();
        assert_eq!(count.load(SeqCst), 1);
        time::sleep(SECOND);
        settle();
        assert_eq!(count.load(SeqCst), 11);
    });
}

/// TestTimerRunsRecursively: a timer's function starts a timer.
#[test]
fn functions_that_start_functions() {
    fn again(start: time::Instant, left: u32, done: channel::Sender<Duration>) {
        time::after_func(SECOND, move || match left {
            0 => done.send(start.elapsed()).unwrap(),
            _ => again(start, left - 1, done),
        });
    }
    testing::explore(SEEDS, || {
        let (s, r) = chan(1);
        again(time::now(), 9, s);
        assert_eq!(r.recv(), Ok(10 * SECOND));
    });
}

/// TestDeadlockRoot and TestDeadlockChild.
#[test]
fn deadlocks() {
    fn never() {
        let (_s, r) = chan::<()>(0);
        let _ = r.recv();
    }
    for case in [task::park, never, || go(never).join().unwrap()] {
        let case: fn() = case;
        let payload = std::panic::catch_unwind(|| testing::run(1, case)).expect_err("a deadlock");
        let text = payload.downcast_ref::<String>().expect("a text");
        assert!(text.starts_with("all goroutines are asleep - deadlock!"), "{text}");
    }
}

/// TestCond.
#[test]
fn a_condition() {
    testing::explore(SEEDS, || {
        let pair = Arc::new((Mutex::new(()), Condvar::new()));
        let (woken, start) = (Arc::new(AtomicUsize::new(0)), time::now());
        for _ in 0..3 {
            let (pair, woken) = (pair.clone(), woken.clone());
            go(move || {
                pair.1.wait(&mut pair.0.lock());
                woken.fetch_add(1, SeqCst);
            });
        }
        settle();
        assert_eq!(woken.load(SeqCst), 0);
        pair.1.notify_one();
        settle();
        assert_eq!(woken.load(SeqCst), 1);
        pair.1.notify_all();
        settle();
        assert_eq!(woken.load(SeqCst), 3);
        assert!(start.elapsed().is_zero());
    });
}

/// TestWaitGroup: waiting for a group lets time go on.
#[test]
fn a_wait_group() {
    testing::explore(SEEDS, || {
        let (start, group) = (time::now(), WaitGroup::new());
        group.go(|| time::sleep(SECOND));
        group.wait();
        assert_eq!(start.elapsed(), SECOND);
    });
}

/// TestHappensBefore: what the others have done is seen after the wait, plainly.
#[test]
fn what_was_done_is_seen() {
    testing::explore(SEEDS, || {
        let sum = Arc::new(AtomicUsize::new(0));
        for n in 0..10 {
            let sum = sum.clone();
            go(move || {
                yield_now();
                sum.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
            });
        }
        settle();
        assert_eq!(sum.load(std::sync::atomic::Ordering::Relaxed), 45);
    });
}

/// Example (Test) contextAfterFunc.
#[test]
fn a_contexts_function() {
    testing::explore(SEEDS, || {
        let (context, cancel) = context::background().with_cancel();
        let called = Arc::new(AtomicBool::new(false));
        let inside = called.clone();
        let _stop = context.after_func(move || inside.store(true, SeqCst));
        settle();
        assert!(!called.load(SeqCst), "called before the context was cancelled");
        cancel.cancel();
        settle();
        assert!(called.load(SeqCst), "not called after it was");
    });
}

/// Example (Test) contextWithTimeout.
#[test]
fn a_contexts_timeout() {
    testing::explore(SEEDS, || {
        let (context, _cancel) = context::background().with_timeout(5 * SECOND);
        time::sleep(5 * SECOND - Duration::from_nanos(1));
        settle();
        assert!(context.err().is_none());
        time::sleep(Duration::from_nanos(1));
        settle();
        assert_eq!(context.err(), Some(context::Error::DeadlineExceeded));
    });
}
