//! `sync::{Once, OnceCell, Lazy}`: what std's tests ask of `Once`, `OnceLock`, `LazyLock` (std `library/std/tests/sync/`), and Go's of `sync.Once` where Rust
//! does not differ on purpose (a panic counts as not done), expressed anew; cancellation.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::{Counted, on_all, on_goroutines, panic_of, runtime, wait_for_waiters, wait_until};
use greenroutine::sync::{Lazy, Once, OnceCell};
use greenroutine::{go, scope, task, yield_now};

const WAIT: &str = "once wait";

#[test]
fn it_is_done_once_and_all_see_it_done() {
    on_all(|| {
        let (once, times) = (Once::new(), AtomicUsize::new(0));
        assert!(!once.is_completed());
        scope(|s| {
            for _ in 0..10 {
                s.go(|| {
                    once.call_once(|| {
                        yield_now();
                        times.fetch_add(1, Ordering::SeqCst);
                    });
                    assert_eq!(times.load(Ordering::SeqCst), 1);
                });
            }
        });
        assert!(once.is_completed());
        once.call_once(|| unreachable!("it is done"));
    });
}

#[test]
fn threads_and_goroutines_wait_for_each_other() {
    static CELL: OnceCell<usize> = OnceCell::new();
    static MADE: AtomicUsize = AtomicUsize::new(0);
    fn get() {
        let value = CELL.get_or_init(|| {
            yield_now();
            MADE.fetch_add(1, Ordering::SeqCst) + 7
        });
        assert_eq!(*value, 7);
    }
    thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(get);
        }
        runtime(2, false).run(|| {
            scope(|s| {
                for _ in 0..8 {
                    s.go(get);
                }
            });
        });
    });
    assert_eq!(MADE.load(Ordering::SeqCst), 1);
}

#[test]
fn after_a_panic_the_next_call_tries_again() {
    on_all(|| {
        let once = Once::new();
        assert!(catch_unwind(AssertUnwindSafe(|| once.call_once(|| panic!("on purpose")))).is_err());
        assert!(!once.is_completed());
        let mut done = false;
        once.call_once(|| done = true);
        assert!(done);
    });
}

#[test]
fn after_a_panic_one_of_those_that_wait_tries() {
    on_goroutines(|| {
        let (once, times, step) = (Once::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        scope(|s| {
            let first = s.go(|| {
                once.call_once(|| {
                    step.store(1, Ordering::SeqCst);
                    wait_until(|| step.load(Ordering::SeqCst) == 2);
                    panic!("on purpose");
                })
            });
            wait_until(|| step.load(Ordering::SeqCst) == 1);
            for _ in 0..4 {
                s.go(|| once.call_once(|| _ = times.fetch_add(1, Ordering::SeqCst)));
            }
            wait_for_waiters(WAIT, 4);
            step.store(2, Ordering::SeqCst);
            assert!(first.join().unwrap_err().is_panic());
        });
        assert!(once.is_completed());
        assert_eq!(times.into_inner(), 1);
    });
}

#[test]
fn one_that_is_cancelled_in_it_leaves_it_to_another() {
    on_goroutines(|| {
        let cell = Arc::new(OnceCell::new());
        let cell2 = cell.clone();
        let first = go(move || {
            cell2.get_or_init(|| {
                task::park();
                0
            });
        });
        wait_for_waiters("park", 1);
        let all: Vec<_> = (1..4)
            .map(|n| {
                let cell = cell.clone();
                go(move || *cell.get_or_init(|| n))
            })
            .collect();
        wait_for_waiters(WAIT, 3);
        all[1].cancel();
        wait_for_waiters(WAIT, 2);
        first.cancel();
        assert!(first.join().unwrap_err().is_cancelled());
        let values: Vec<_> = all.into_iter().filter_map(|one| one.join().ok()).collect();
        assert_eq!(values.len(), 2, "one was cancelled as it waited");
        assert!(values.iter().all(|value| Some(value) == cell.get()));
    });
}

#[test]
fn a_cell_is_written_once() {
    on_all(|| {
        let mut cell = OnceCell::new();
        assert!(cell.get().is_none() && cell.get_mut().is_none() && cell.take().is_none());
        assert_eq!(cell.set(1), Ok(()));
        assert_eq!(cell.set(2), Err(2));
        assert_eq!((cell.get(), *cell.get_or_init(|| unreachable!("it is full"))), (Some(&1), 1));
        *cell.get_mut().expect("full") = 3;
        assert_eq!(cell.take(), Some(3));
        assert_eq!(cell.get(), None);
        assert_eq!(cell.set(4), Ok(()));
        assert_eq!(cell.clone().into_inner(), Some(4));
        assert_eq!(
            (format!("{cell:?}"), format!("{:?}", OnceCell::<u8>::new())),
            ("OnceCell(4)".into(), "OnceCell(<uninit>)".into())
        );
        assert!(cell == OnceCell::from(4) && cell != OnceCell::default());
    });
}

#[test]
fn of_those_that_set_one_wins() {
    on_all(|| {
        let (cell, lost) = (OnceCell::new(), AtomicUsize::new(0));
        scope(|s| {
            for n in 0..8 {
                let (cell, lost) = (&cell, &lost);
                s.go(move || {
                    if cell.set(n).is_err() {
                        lost.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(cell.get().is_some());
        assert_eq!(lost.into_inner(), 7);
    });
}

#[test]
fn a_cell_drops_its_value_and_only_that() {
    let drops = Arc::new(AtomicUsize::new(0));
    drop(OnceCell::<Counted>::new());
    let mut cell = OnceCell::from(Counted(drops.clone()));
    assert!(cell.set(Counted(drops.clone())).is_err());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    let value = cell.take();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    drop(value);
    assert!(cell.set(Counted(drops.clone())).is_ok());
    drop(cell);
    assert_eq!(drops.load(Ordering::SeqCst), 3);
}

#[test]
fn one_that_fails_leaves_the_cell_empty() {
    on_all(|| {
        let cell = OnceCell::new();
        assert_eq!(cell.get_or_try_init(|| Err::<u8, _>("no")), Err("no"));
        assert_eq!(cell.get(), None);
        assert_eq!(cell.get_or_try_init(|| Ok::<u8, &str>(1)), Ok(&1));
        assert_eq!(cell.get_or_try_init(|| Err::<u8, _>("no")), Ok(&1));
    });
}

#[test]
fn one_may_wait_for_a_value_that_others_make() {
    on_goroutines(|| {
        let cell = Arc::new(OnceCell::new());
        let wait = || {
            let cell = cell.clone();
            go(move || *cell.wait())
        };
        let (one, two) = (wait(), wait());
        wait_for_waiters(WAIT, 2);
        // Neither a failure nor the end of one that waits is a value.
        assert!(cell.get_or_try_init(|| Err::<u8, _>(())).is_err());
        one.cancel();
        assert!(one.join().unwrap_err().is_cancelled());
        assert_eq!(cell.set(5), Ok(()));
        assert_eq!((two.join().unwrap(), *cell.wait()), (5, 5));
    });
}

#[test]
fn a_lazy_value_is_made_when_it_is_used() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static LAZY: Lazy<usize> = Lazy::new(|| MADE.fetch_add(1, Ordering::SeqCst) + 1);
    assert_eq!((MADE.load(Ordering::SeqCst), format!("{LAZY:?}")), (0, "Lazy(<uninit>)".into()));
    on_all(|| assert_eq!(*LAZY, 1));
    assert_eq!((*Lazy::force(&LAZY), format!("{LAZY:?}")), (1, "Lazy(1)".into()));
    let captured = String::from("a");
    assert_eq!(*Lazy::new(move || captured + "b"), "ab");
    assert_eq!(*Lazy::<u8>::default(), 0);
}

#[test]
fn a_lazy_value_whose_closure_panicked_says_so_at_the_caller() {
    let lazy: Lazy<u8> = Lazy::new(|| panic!("on purpose"));
    assert_eq!(panic_of(|| *lazy).1, "on purpose");
    let (at, text) = panic_of(|| *lazy);
    assert_eq!(text, "Lazy instance has previously been poisoned");
    assert!(at.starts_with(file!()), "{at}");
}

#[test]
fn it_describes_itself() {
    let once = Once::default();
    assert_eq!(format!("{once:?}"), "Once { is_completed: false }");
}
