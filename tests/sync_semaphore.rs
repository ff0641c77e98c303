//! `sync::Semaphore`: what tokio's and Go's tests ask of one (tokio `tests/sync_semaphore.rs`, Go `x/sync/semaphore/semaphore_test.go`), expressed anew; a naive model; cancellation,
//! deadlines.

mod common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{on_all, on_goroutines, on_one_worker, panic_of, runtime, wait_for_waiters, wait_until};
use greenroutine::sync::Semaphore;
use greenroutine::{JoinHandle, go, scope, yield_now};
use proptest::prelude::*;

const LONG: Duration = Duration::from_secs(1000);
const WAIT: &str = "semaphore acquire";

/// Go's `HammerWeighted`: never more permits out than there are.
#[test]
fn no_more_permits_are_out_than_there_are() {
    on_all(|| {
        let (semaphore, out) = (Semaphore::new(4), AtomicUsize::new(0));
        scope(|s| {
            for n in 0..8 {
                let (semaphore, out) = (&semaphore, &out);
                s.go(move || {
                    for round in 0..50 {
                        let count = (n + round) % 5;
                        let permits = semaphore.acquire(count);
                        assert!(out.fetch_add(count, Ordering::SeqCst) + count <= 4);
                        yield_now();
                        out.fetch_sub(count, Ordering::SeqCst);
                        assert_eq!(permits.count(), count);
                    }
                });
            }
        });
        assert_eq!(semaphore.available(), 4);
    });
}

#[test]
fn threads_and_goroutines_share_the_permits() {
    static SEMAPHORE: Semaphore = Semaphore::new(2);
    static OUT: AtomicUsize = AtomicUsize::new(0);
    fn work() {
        for round in 0..200 {
            let count = 1 + round % 2;
            let _permits = SEMAPHORE.acquire(count);
            assert!(OUT.fetch_add(count, Ordering::SeqCst) + count <= 2);
            yield_now();
            OUT.fetch_sub(count, Ordering::SeqCst);
        }
    }
    thread::scope(|threads| {
        threads.spawn(work);
        threads.spawn(work);
        runtime(2, true).run(|| {
            scope(|s| {
                s.go(work);
                s.go(work);
            });
        });
    });
    assert_eq!(SEMAPHORE.available(), 2);
}

#[test]
fn trying_never_waits() {
    on_all(|| {
        let semaphore = Semaphore::new(3);
        let two = semaphore.try_acquire(2).expect("there are three");
        assert!(semaphore.try_acquire(2).is_none());
        let one = semaphore.try_acquire(1).expect("one is left");
        assert!(semaphore.try_acquire(1).is_none());
        assert_eq!(semaphore.try_acquire(0).map(|permits| permits.count()), Some(0));
        drop(two);
        assert_eq!(semaphore.available(), 2);
        drop(one);
        assert!(semaphore.try_acquire(4).is_none());
        assert_eq!(semaphore.available(), 3);
    });
}

/// Go's `TestLargeAcquireDoesntStarve`: those who want few do not pass the one that wants all.
#[test]
fn one_that_wants_many_is_not_starved() {
    on_goroutines(|| {
        let (semaphore, served) = (Semaphore::new(4), AtomicUsize::new(0));
        scope(|s| {
            for _ in 0..4 {
                s.go(|| {
                    while served.load(Ordering::SeqCst) == 0 {
                        let _permit = semaphore.acquire(1);
                        yield_now();
                    }
                });
            }
            s.go(|| {
                let _all = semaphore.acquire(4);
                served.store(1, Ordering::SeqCst);
            });
        });
    });
}

#[test]
fn they_are_served_in_the_order_of_coming() {
    // One worker: who waits, waits in that order. In free mode another worker may take its place while a page comes from the disk, so that two who hold permits together arrive in any
    // order: there each wants them all.
    for (free, counts) in [(false, [2, 1, 3, 1, 2]), (true, [3; 5])] {
        runtime(1, free).run(|| {
            let semaphore = Arc::new(Semaphore::new(3));
            let order = Arc::new(AtomicUsize::new(0));
            let all = semaphore.acquire(3);
            let waiters: Vec<_> = counts
                .into_iter()
                .enumerate()
                .map(|(n, count)| {
                    let (semaphore, order) = (semaphore.clone(), order.clone());
                    let waiter = go(move || {
                        let _permits = semaphore.acquire(count);
                        assert_eq!(order.fetch_add(1, Ordering::SeqCst), n);
                    });
                    wait_for_waiters(WAIT, n + 1);
                    waiter
                })
                .collect();
            assert!(semaphore.try_acquire(0).is_none(), "not past those who wait");
            drop(all);
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
    }
}

#[test]
fn permits_that_come_back_one_by_one_serve_one_that_wants_many() {
    on_goroutines(|| {
        let semaphore = Semaphore::new(3);
        let mut all = semaphore.acquire(3);
        scope(|s| {
            let waiter = s.go(|| semaphore.acquire(3).count());
            wait_for_waiters(WAIT, 1);
            for left in [2, 1] {
                drop(all.split(1));
                assert_eq!(all.count(), left);
                assert!(!waiter.is_finished());
            }
            drop(all);
            assert_eq!(waiter.join().unwrap(), 3);
        });
    });
}

#[test]
fn a_wait_with_a_deadline_ends_at_it_and_leaves_no_trace() {
    on_all(|| {
        #[expect(clippy::disallowed_methods, reason = "a deadline is a point of std's clock")]
        let now = Instant::now();
        let semaphore = Semaphore::new(2);
        let one = semaphore.acquire(1);
        assert!(semaphore.acquire_timeout(2, Duration::ZERO).is_none());
        assert!(semaphore.acquire_timeout(2, Duration::from_micros(50)).is_none());
        assert!(semaphore.acquire_deadline(2, now).is_none());
        assert!(semaphore.try_acquire(1).is_some(), "nobody is in the queue any more");
        drop(one);
        assert!(semaphore.acquire_timeout(2, LONG).is_some());
        assert!(semaphore.acquire_deadline(2, now + LONG).is_some());
        assert_eq!(semaphore.available(), 2);
    });
}

/// Go's `TestAllocCancelDoesntStarve`, and golang/go#30998: when the first leaves, those behind that want fewer are served.
#[test]
fn a_cancelled_waiter_makes_room_for_those_behind_it() {
    on_one_worker(|| {
        let semaphore = Arc::new(Semaphore::new(2));
        let one = semaphore.acquire(1);
        let wants = |count| {
            let semaphore = semaphore.clone();
            go(move || semaphore.acquire(count).count())
        };
        let first = wants(2);
        wait_for_waiters(WAIT, 1);
        let second = wants(1);
        wait_for_waiters(WAIT, 2);
        first.cancel();
        assert!(first.join().unwrap_err().is_cancelled());
        // Without any permit having come back.
        assert_eq!(second.join().unwrap(), 1);
        drop(one);
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn a_waiter_that_times_out_makes_room_for_those_behind_it() {
    on_goroutines(|| {
        let semaphore = Semaphore::new(2);
        let one = semaphore.acquire(1);
        scope(|s| {
            let first = s.go(|| semaphore.acquire_timeout(2, Duration::from_millis(2)).is_none());
            let second = s.go(|| semaphore.acquire(1).count());
            assert!(first.join().unwrap());
            assert_eq!(second.join().unwrap(), 1);
        });
        drop(one);
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn those_who_are_cancelled_as_they_are_served_give_back() {
    on_goroutines(|| {
        for _ in 0..50 {
            let semaphore = Arc::new(Semaphore::new(3));
            let all = semaphore.acquire(3);
            let waiters: Vec<_> = (0..8)
                .map(|n| {
                    let semaphore = semaphore.clone();
                    go(move || {
                        let _permits = semaphore.acquire(1 + n % 3);
                        yield_now();
                    })
                })
                .collect();
            yield_now();
            drop(all);
            waiters.iter().step_by(2).for_each(JoinHandle::cancel);
            for waiter in waiters {
                let _ = waiter.join();
            }
            assert_eq!(semaphore.available(), 3);
        }
    });
}

#[test]
fn more_than_there_are_is_a_panic_at_the_caller() {
    let semaphore = Semaphore::new(2);
    let (at, text) = panic_of(|| semaphore.acquire(3));
    assert_eq!(text, "3 permits wanted of a semaphore that has 2");
    assert!(at.starts_with(file!()), "{at}");
    let (at, _) = panic_of(|| semaphore.acquire_timeout(3, LONG));
    assert!(at.starts_with(file!()), "{at}");
    assert!(semaphore.try_acquire(3).is_none());
    assert_eq!(panic_of(|| Semaphore::new(usize::MAX)).1, "a semaphore has MAX_PERMITS permits at most");
    assert_eq!(Semaphore::new(Semaphore::MAX_PERMITS).acquire(5).count(), 5);
}

#[test]
fn guards_split_and_merge() {
    let (semaphore, other) = (Semaphore::new(5), Semaphore::new(1));
    let mut three = semaphore.acquire(3);
    let one = three.split(1);
    assert_eq!((three.count(), one.count(), semaphore.available()), (2, 1, 2));
    three.merge(one);
    assert_eq!((three.count(), semaphore.available()), (3, 2));
    assert_eq!(panic_of(|| three.split(4)).1, "4 permits wanted of a guard that has 3");
    assert_eq!(panic_of(|| three.merge(other.acquire(1))).1, "permits of another semaphore");
    assert_eq!(
        format!("{semaphore:?} {three:?}"),
        "Semaphore { available: 2, total: 5 } SemaphoreGuard { count: 3, .. }"
    );
    drop(three);
    assert_eq!((semaphore.available(), other.available()), (5, 1));
}

/// The naive model: what is left, and who waits for how many.
#[derive(Default)]
struct Model {
    left: usize,
    queue: VecDeque<(usize, usize)>,
    /// Who has how many.
    out: Vec<(usize, usize)>,
}

impl Model {
    fn serve(&mut self) {
        while let Some(&(who, count)) = self.queue.front()
            && count <= self.left
        {
            self.queue.pop_front();
            self.left -= count;
            self.out.push((who, count));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Goroutines come, leave with what they have, or are cancelled in the queue, in any order: the same ones have permits as in the model.
    #[test]
    fn it_serves_as_a_plain_queue_does(
        permits in 1..5_usize,
        steps in prop::collection::vec((0..3_u8, 0..4_usize, 0..8_usize), 0..40),
    ) {
        runtime(1, false).run(|| {
            let semaphore = Arc::new(Semaphore::new(permits));
            let mut model = Model { left: permits, ..Model::default() };
            let leave: Arc<Vec<AtomicUsize>> = Arc::new((0..40).map(|_| AtomicUsize::new(0)).collect());
            let has: Arc<Vec<AtomicUsize>> = Arc::new((0..40).map(|_| AtomicUsize::new(0)).collect());
            let mut handles = Vec::new();
            for (kind, count, pick) in steps {
                match kind {
                    0 => {
                        let (who, count) = (handles.len(), 1 + count % permits);
                        let (semaphore, leave, has) = (semaphore.clone(), leave.clone(), has.clone());
                        handles.push(Some(go(move || {
                            let _permits = semaphore.acquire(count);
                            has[who].store(1, Ordering::SeqCst);
                            wait_until(|| leave[who].load(Ordering::SeqCst) == 1);
                            has[who].store(0, Ordering::SeqCst);
                        })));
                        model.queue.push_back((who, count));
                    }
                    1 if !model.out.is_empty() => {
                        let (who, count) = model.out.swap_remove(pick % model.out.len());
                        model.left += count;
                        leave[who].store(1, Ordering::SeqCst);
                        handles[who].take().unwrap().join().unwrap();
                    }
                    2 if !model.queue.is_empty() => {
                        let (who, _) = model.queue.remove(pick % model.queue.len()).unwrap();
                        let handle = handles[who].take().unwrap();
                        handle.cancel();
                        assert!(handle.join().unwrap_err().is_cancelled());
                    }
                    _ => {}
                }
                model.serve();
                wait_for_waiters(WAIT, model.queue.len());
                wait_until(|| model.out.iter().all(|&(who, _)| has[who].load(Ordering::SeqCst) == 1));
                let served = has.iter().filter(|has| has.load(Ordering::SeqCst) == 1).count();
                assert_eq!((served, semaphore.available()), (model.out.len(), model.left));
            }
            leave.iter().for_each(|leave| leave.store(1, Ordering::SeqCst));
            handles.into_iter().flatten().for_each(|handle| handle.join().unwrap());
            assert_eq!(semaphore.available(), permits);
        });
    }
}
