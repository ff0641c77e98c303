//! `context`: Go's context tests, re-expressed: who is over with whom, errors and causes, deadlines, values, functions that run afterwards, races. No timed assertion but "not
//! before the deadline".

mod common;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{on_all, on_goroutines, wait_until};
use greenroutine::context::{Context, Error, background};
use greenroutine::time::Instant;
use greenroutine::{go, select};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn is_over(context: &Context) -> bool {
    let closed = select! {
        recv(context.done()) -> _ => true,
        default => false,
    };
    assert_eq!(closed, context.err().is_some());
    assert_eq!(closed, context.cause().is_some());
    closed
}

#[test]
fn the_root_is_never_over() {
    on_all(|| {
        let root = background();
        assert!(!is_over(&root) && root.deadline().is_none() && root.value::<i32>().is_none());
        assert!(!is_over(&root.with_value(1).without_cancel()));
    });
}

#[test]
fn cancelling_ends_all_below_and_nobody_else_before_it_returns() {
    on_all(|| {
        let (top, cancel) = background().with_cancel();
        let (middle, cancel_middle) = top.with_cancel();
        let (below, _c) = middle.with_value("x").with_timeout(HOUR);
        let (beside, _d) = top.with_cancel();
        assert!(![&top, &middle, &below, &beside].into_iter().any(is_over));
        cancel_middle.cancel();
        assert!(is_over(&middle) && is_over(&below) && !is_over(&top) && !is_over(&beside));
        cancel.cancel();
        cancel.cancel();
        assert!(is_over(&top) && is_over(&beside));
        assert_eq!(below.err(), Some(Error::Cancelled));
        // Derived from what is over: over from the start.
        let (late, _e) = below.with_cancel();
        assert!(is_over(&late));
        assert!(!is_over(&late.without_cancel()));
    });
}

#[test]
fn the_first_cause_stays_and_is_inherited() {
    on_all(|| {
        let (top, cancel) = background().with_cancel_cause();
        let (below, cancel_below) = top.with_cancel();
        let (own, cancel_own) = top.with_cancel();
        cancel_own.cancel_cause("its own");
        cancel.cancel_cause(std::io::Error::other("from above"));
        cancel.cancel_cause("too late");
        cancel_below.cancel_cause("too late");
        assert_eq!(top.cause().unwrap().to_string(), "from above");
        assert!(below.cause().unwrap().downcast_ref::<std::io::Error>().is_some());
        assert_eq!(own.cause().unwrap().to_string(), "its own");
        assert_eq!(below.err(), Some(Error::Cancelled));
        let (plain, cancel) = background().with_cancel();
        cancel.cancel();
        let cause = plain.cause().unwrap();
        assert_eq!((cause.to_string().as_str(), cause.source().is_none()), ("context canceled", true));
    });
}

#[test]
fn a_deadline_ends_it_not_before_and_says_so() {
    on_all(|| {
        let start = Instant::now();
        let (context, _cancel) = background().with_timeout(2 * MS);
        let (below, _c) = context.with_cancel();
        assert!(below.done().recv().is_err());
        assert!(start.elapsed() >= 2 * MS);
        assert_eq!(below.err(), Some(Error::DeadlineExceeded));
        assert_eq!(context.cause().unwrap().to_string(), "context deadline exceeded");
        // Over already.
        let (past, _c) = background().with_deadline(start);
        assert!(is_over(&past));
        let (zero, _c) = background().with_timeout(Duration::ZERO);
        assert_eq!(zero.err(), Some(Error::DeadlineExceeded));
        let (never, cancel) = background().with_timeout(Duration::MAX);
        assert!(!is_over(&never) && never.deadline().is_none());
        cancel.cancel();
        assert_eq!(never.err(), Some(Error::Cancelled));
    });
}

#[test]
fn the_earlier_deadline_counts() {
    on_all(|| {
        let (outer, _c) = background().with_timeout(HOUR);
        let (later, _d) = outer.with_timeout(2 * HOUR);
        assert_eq!(later.deadline(), outer.deadline());
        let (sooner, _e) = outer.with_timeout(MS);
        assert!(sooner.deadline() < outer.deadline());
        assert!(sooner.done().recv().is_err() && !is_over(&outer) && !is_over(&later));
    });
}

#[test]
fn values_are_found_by_type_and_the_last_one_counts() {
    #[derive(Debug, PartialEq)]
    struct Id(u32);
    on_all(|| {
        let one = background().with_value(Id(1)).with_value("text");
        let two = one.with_cancel().0.with_value(Id(2));
        assert_eq!((one.value::<Id>(), two.value::<Id>()), (Some(&Id(1)), Some(&Id(2))));
        assert_eq!(two.value::<&str>(), Some(&"text"));
        assert!(two.value::<u32>().is_none());
    });
}

#[test]
fn functions_run_once_after_the_end_unless_they_are_stopped() {
    on_goroutines(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = |by| {
            let ran = ran.clone();
            move || {
                ran.fetch_add(by, Ordering::SeqCst);
            }
        };
        let (context, cancel) = background().with_cancel();
        let (below, _c) = context.with_cancel();
        below.after_func(count(1));
        let stopped = context.after_func(count(100));
        let kept = context.after_func(count(10));
        assert!(stopped.stop() && !stopped.stop());
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        cancel.cancel();
        wait_until(|| ran.load(Ordering::SeqCst) == 11);
        assert!(!kept.stop());
        context.after_func(count(1000));
        wait_until(|| ran.load(Ordering::SeqCst) == 1011);
        // Never over, never run.
        assert!(background().after_func(count(1)).stop());
    });
}

#[test]
fn who_is_forgotten_leaves_the_tree() {
    struct Seen(Arc<AtomicUsize>);
    impl Drop for Seen {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    on_all(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (top, cancel) = background().with_cancel();
        for _ in 0..100 {
            let seen = Seen(drops.clone());
            // Kept by the place in the tree alone, and by its timer.
            let (context, _cancel) = top.with_timeout(HOUR);
            context.after_func(move || drop(seen));
        }
        assert_eq!(drops.load(Ordering::SeqCst), 100);
        cancel.cancel();
    });
}

#[test]
fn long_chains_are_cancelled_and_dropped() {
    on_all(|| {
        let (top, cancel) = background().with_cancel();
        let mut last = top.clone();
        let mut all = Vec::new();
        for n in 0..20_000 {
            let (next, c) = last.with_cancel();
            last = next.with_value(n);
            if n % 1000 == 0 {
                all.push(c);
            }
        }
        drop(all);
        cancel.cancel();
        assert!(is_over(&last));
        drop(last);
    });
}

#[test]
fn deriving_races_with_cancelling_and_nobody_is_left_behind() {
    on_goroutines(|| {
        for _ in 0..50 {
            let (top, cancel) = background().with_cancel();
            let derived: Vec<_> = (0..4)
                .map(|_| {
                    let top = top.clone();
                    go(move || (0..10).map(|_| top.with_cancel().0).collect::<Vec<_>>())
                })
                .collect();
            let canceller = go(move || cancel.cancel());
            let all: Vec<_> = derived.into_iter().flat_map(|one| one.join().unwrap()).collect();
            canceller.join().unwrap();
            assert!(all.iter().all(is_over));
        }
    });
}

#[test]
fn many_who_wait_are_woken_by_one_cancel() {
    on_goroutines(|| {
        let (context, cancel) = background().with_cancel();
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let context = context.clone();
                go(move || context.done().recv().is_err())
            })
            .collect();
        greenroutine::yield_now();
        cancel.cancel();
        assert!(waiters.into_iter().all(|one| one.join().unwrap()));
    });
}
