//! `sync::RwLock`: what std's, parking_lot's and Go's tests ask of one (std `library/std/tests/sync/rwlock.rs`, parking_lot `src/rwlock.rs`, Go
//! `src/sync/rwmutex_test.go`), expressed anew; a naive model; cancellation, deadlines, biased reading.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{on_all, on_goroutines, on_one_worker, runtime, wait_for_waiters, wait_until};
use greenroutine::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use greenroutine::{go, scope, yield_now};
use proptest::prelude::*;

const LONG: Duration = Duration::from_secs(1000);

/// Go's `HammerRWMutex`: readers and writers count each other.
fn hammer(readers: usize, writers: usize, rounds: usize) {
    let (lock, activity) = (RwLock::new(0_usize), AtomicI32::new(0));
    scope(|s| {
        for _ in 0..writers {
            s.go(|| {
                for n in 0..rounds {
                    let mut guard = lock.write();
                    assert_eq!(activity.fetch_add(10000, Ordering::SeqCst), 0);
                    *guard += 1;
                    if n % 8 == 0 {
                        yield_now();
                    }
                    activity.fetch_sub(10000, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..readers {
            s.go(|| {
                for n in 0..rounds {
                    let guard = lock.read();
                    let seen = activity.fetch_add(1, Ordering::SeqCst);
                    assert!((0..10000).contains(&seen));
                    let value = *guard;
                    if n % 8 == 0 {
                        yield_now();
                    }
                    assert_eq!(*guard, value);
                    activity.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(lock.into_inner(), writers * rounds);
}

#[test]
fn readers_share_and_writers_exclude() {
    on_all(|| {
        hammer(1, 1, 300);
        hammer(5, 1, 100);
        hammer(5, 3, 100);
        hammer(1, 5, 100);
    });
}

#[test]
fn threads_and_goroutines_exclude_each_other() {
    static LOCK: RwLock<(u32, u32)> = RwLock::new((0, 0));
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                for n in 0..2000 {
                    if n % 10 == 0 {
                        let mut guard = LOCK.write();
                        guard.0 += 1;
                        thread::yield_now();
                        guard.1 += 1;
                    } else {
                        let guard = LOCK.read();
                        assert_eq!(guard.0, guard.1);
                    }
                }
            });
        }
        runtime(2, true).run(|| {
            scope(|s| {
                for _ in 0..4 {
                    s.go(|| {
                        for n in 0..500 {
                            if n % 10 == 0 {
                                let mut guard = LOCK.write();
                                guard.0 += 1;
                                yield_now();
                                guard.1 += 1;
                            } else {
                                let guard = LOCK.read();
                                yield_now();
                                assert_eq!(guard.0, guard.1);
                            }
                        }
                    });
                }
            });
        });
    });
    assert_eq!(*LOCK.read(), (600, 600));
}

/// So many readers at once that the lock becomes biased, and writers that revoke that: none sees half a write.
#[test]
fn biased_readers_and_writers_exclude() {
    static LOCK: RwLock<(u64, u64)> = RwLock::new((0, 0));
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let guard = LOCK.read();
                    assert_eq!(guard.0, guard.1);
                }
            });
        }
        for _ in 0..100 {
            thread::yield_now();
            let mut guard = LOCK.write();
            guard.0 += 1;
            thread::yield_now();
            guard.1 += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(*LOCK.read(), (100, 100));
}

#[test]
fn many_read_at_once() {
    on_all(|| {
        let (lock, inside) = (RwLock::new(()), AtomicUsize::new(0));
        scope(|s| {
            for _ in 0..4 {
                s.go(|| {
                    let _guard = lock.read();
                    inside.fetch_add(1, Ordering::SeqCst);
                    // All four are inside before one leaves.
                    wait_until(|| inside.load(Ordering::SeqCst) == 4);
                });
            }
        });
    });
}

#[test]
fn a_writer_that_waits_stops_new_readers() {
    on_goroutines(|| {
        let lock = RwLock::new(0);
        let reader = lock.read();
        scope(|s| {
            s.go(|| *lock.write() += 1);
            wait_for_waiters("rwlock write", 1);
            wait_until(|| lock.try_read().is_none());
            s.go(|| assert_eq!(*lock.read(), 1, "after the writer that came before"));
            wait_for_waiters("rwlock read", 1);
            assert_eq!(*reader, 0);
            drop(reader);
        });
    });
}

/// Go: when a writer ends, all readers that wait go before the writer that waits, though that came first.
#[test]
fn readers_go_before_the_next_writer() {
    on_one_worker(|| {
        let lock = RwLock::new(0);
        let mut guard = lock.write();
        scope(|s| {
            s.go(|| *lock.write() = 2);
            wait_for_waiters("rwlock write", 1);
            let readers: Vec<_> = (0..4).map(|_| s.go(|| *lock.read())).collect();
            wait_for_waiters("rwlock read", 4);
            *guard = 1;
            drop(guard);
            for reader in readers {
                assert_eq!(reader.join().unwrap(), 1);
            }
        });
        assert_eq!(lock.into_inner(), 2);
    });
}

#[test]
fn readers_that_never_pause_do_not_starve_a_writer() {
    on_goroutines(|| {
        let (lock, written) = (RwLock::new(()), AtomicBool::new(false));
        scope(|s| {
            for _ in 0..3 {
                s.go(|| {
                    while !written.load(Ordering::SeqCst) {
                        let _guard = lock.read();
                        yield_now();
                    }
                });
            }
            s.go(|| {
                drop(lock.write());
                written.store(true, Ordering::SeqCst);
            });
        });
    });
}

#[test]
fn a_writer_that_never_pauses_starves_neither_readers_nor_another_writer() {
    on_goroutines(|| {
        let (lock, through) = (RwLock::new(()), AtomicUsize::new(0));
        scope(|s| {
            s.go(|| {
                while through.load(Ordering::SeqCst) < 2 {
                    let _guard = lock.write();
                    yield_now();
                }
            });
            s.go(|| {
                drop(lock.read());
                through.fetch_add(1, Ordering::SeqCst);
            });
            s.go(|| {
                drop(lock.write());
                through.fetch_add(1, Ordering::SeqCst);
            });
        });
    });
}

#[test]
fn trying_never_waits() {
    on_all(|| {
        let lock = RwLock::new(1);
        let one = lock.try_read().expect("free");
        let two = lock.try_read().expect("shared");
        assert!(lock.try_write().is_none());
        drop(one);
        assert!(lock.try_write().is_none());
        drop(two);
        let guard = lock.try_write().expect("free");
        assert!(lock.try_read().is_none() && lock.try_write().is_none());
        drop(guard);
        assert_eq!(lock.try_read().as_deref(), Some(&1));
    });
}

#[test]
fn a_wait_with_a_deadline_ends_at_it_and_leaves_no_trace() {
    const SOON: Duration = Duration::from_micros(50);
    on_all(|| {
        #[expect(clippy::disallowed_methods, reason = "a deadline is a point of std's clock")]
        let now = Instant::now();
        let lock = RwLock::new(0);
        let guard = lock.read();
        assert!(lock.try_write_for(SOON).is_none());
        assert!(lock.try_write_until(now).is_none());
        assert!(lock.try_read().is_some(), "the writer that left stops nobody");
        drop(guard);
        let guard = lock.write();
        assert!(lock.try_read_for(SOON).is_none() && lock.try_write_for(SOON).is_none());
        assert!(lock.try_read_until(now).is_none() && lock.try_write_until(now).is_none());
        drop(guard);
        assert!(lock.try_read_for(LONG).is_some());
        assert!(lock.try_write_for(LONG).is_some());
        assert!(lock.try_read_until(now + LONG).is_some());
        assert!(lock.try_write_until(now + LONG).is_some());
    });
}

#[test]
fn a_cancelled_writer_lets_the_readers_behind_it_in() {
    on_goroutines(|| {
        let lock = Arc::new(RwLock::new(0));
        let guard = lock.read();
        let lock2 = lock.clone();
        let writer = go(move || *lock2.write() += 1);
        wait_for_waiters("rwlock write", 1);
        let lock2 = lock.clone();
        let reader = go(move || *lock2.read());
        wait_for_waiters("rwlock read", 1);
        writer.cancel();
        assert!(writer.join().unwrap_err().is_cancelled());
        // While the first still reads.
        assert_eq!(reader.join().unwrap(), 0);
        drop(guard);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn a_cancelled_reader_leaves_no_trace() {
    on_goroutines(|| {
        let lock = Arc::new(RwLock::new(0));
        let guard = lock.write();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let lock = lock.clone();
                go(move || *lock.read())
            })
            .collect();
        wait_for_waiters("rwlock read", 3);
        readers[1].cancel();
        wait_for_waiters("rwlock read", 2);
        drop(guard);
        for (n, reader) in readers.into_iter().enumerate() {
            assert_eq!(reader.join().is_err(), n == 1);
        }
        assert!(lock.try_write().is_some(), "nobody counts as a reader any more");
    });
}

#[test]
fn those_who_are_cancelled_as_they_get_it_give_it_back() {
    on_goroutines(|| {
        for _ in 0..50 {
            let lock = Arc::new(RwLock::new(0));
            let guard = lock.write();
            let all: Vec<_> = (0..8)
                .map(|n| {
                    let lock = lock.clone();
                    go(move || {
                        if n % 2 == 0 {
                            let _guard = lock.read();
                            yield_now();
                        } else {
                            let _guard = lock.write();
                            yield_now();
                        }
                    })
                })
                .collect();
            yield_now();
            drop(guard);
            for handle in &all[..4] {
                handle.cancel();
            }
            for handle in all {
                let _ = handle.join();
            }
            assert!(lock.try_write().is_some());
        }
    });
}

#[test]
fn a_panic_gives_it_back_and_leaves_no_mark() {
    on_all(|| {
        let lock = RwLock::new(1);
        let reads = catch_unwind(AssertUnwindSafe(|| {
            let _guard = lock.read();
            panic!("on purpose");
        }));
        assert!(reads.is_err());
        let writes = catch_unwind(AssertUnwindSafe(|| {
            *lock.write() = 2;
            let _guard = lock.write();
            panic!("on purpose");
        }));
        assert!(writes.is_err());
        assert_eq!(lock.try_write().map(|value| *value), Some(2));
    });
}

#[test]
fn a_writer_goes_on_as_a_reader_with_nobody_in_between() {
    on_one_worker(|| {
        let lock = RwLock::new(0);
        let mut guard = lock.write();
        scope(|s| {
            s.go(|| *lock.write() = 2);
            wait_for_waiters("rwlock write", 1);
            let reader = s.go(|| *lock.read());
            wait_for_waiters("rwlock read", 1);
            *guard = 1;
            let guard: RwLockReadGuard<'_, i32> = RwLockWriteGuard::downgrade(guard);
            assert_eq!(reader.join().unwrap(), 1);
            assert_eq!(*guard, 1);
        });
        assert_eq!(*lock.read(), 2);
    });
}

#[test]
fn guards_may_be_dropped_on_another_worker() {
    let lock = RwLock::new(0_u32);
    runtime(4, true).run(|| {
        scope(|s| {
            for n in 0..16 {
                let lock = &lock;
                s.go(move || {
                    for _ in 0..50 {
                        if n == 0 {
                            let mut guard = lock.write();
                            yield_now();
                            *guard += 1;
                        } else {
                            let guard = lock.read();
                            let value = *guard;
                            yield_now();
                            assert_eq!(*guard, value);
                        }
                    }
                });
            }
        });
    });
    assert_eq!(lock.into_inner(), 50);
}

#[test]
fn its_value_goes_in_and_out() {
    let mut lock = RwLock::new(vec![1]);
    lock.get_mut().push(2);
    assert_eq!(format!("{lock:?} {:?}", lock.read()), "RwLock { data: [1, 2] } [1, 2]");
    let guard = lock.write();
    assert_eq!(format!("{lock:?} {guard:?}"), "RwLock { data: <locked> } [1, 2]");
    drop(guard);
    assert_eq!(lock.into_inner(), [1, 2]);
    assert_eq!(*RwLock::<u8>::default().read(), 0);
    assert_eq!(*RwLock::from(7).read(), 7);
    let unsized_one: Box<RwLock<[u8]>> = Box::new(RwLock::new([1, 2, 3]));
    unsized_one.write()[0] = 4;
    assert_eq!(*unsized_one.read(), [4, 2, 3]);
}

/// One step of a single caller that never waits.
#[derive(Clone, Debug)]
enum Step {
    Read,
    Write,
    EndRead(usize),
    EndWrite,
    Downgrade,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Read),
        Just(Step::Write),
        (0..4_usize).prop_map(Step::EndRead),
        Just(Step::EndWrite),
        Just(Step::Downgrade),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Against the naive model: a number of readers, and whether there is a writer.
    #[test]
    fn trying_agrees_with_a_count(steps in steps()) {
        let lock = RwLock::new(());
        let (mut readers, mut writer) = (Vec::new(), None);
        for step in steps {
            match step {
                Step::Read => {
                    let guard = lock.try_read();
                    prop_assert_eq!(guard.is_some(), writer.is_none());
                    readers.extend(guard);
                }
                Step::Write => {
                    let guard = lock.try_write();
                    prop_assert_eq!(guard.is_some(), writer.is_none() && readers.is_empty());
                    writer = guard.or(writer);
                }
                Step::EndRead(n) if n < readers.len() => drop(readers.swap_remove(n)),
                Step::EndRead(_) => {}
                Step::EndWrite => writer = None,
                Step::Downgrade => readers.extend(writer.take().map(RwLockWriteGuard::downgrade)),
            }
        }
    }
}
