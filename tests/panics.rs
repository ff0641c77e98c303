//! Panics: isolation, blocking while unwinding, std's panic count, poisoning, and what aborts.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{in_child, is_child, on_all, on_goroutines, runtime, text, wait_until};
use greenroutine::{go, task, yield_now};

/// Blocks in its destructor, and notes what `panicking()` says around that.
struct ParkOnDrop {
    seen: Arc<Mutex<Vec<(bool, bool)>>>,
    gate: Arc<AtomicUsize>,
}

impl Drop for ParkOnDrop {
    fn drop(&mut self) {
        let thread = std::thread::current().id();
        let note = || self.seen.lock().unwrap().push((task::panicking(), std::thread::panicking()));
        note();
        self.gate.fetch_add(1, Ordering::SeqCst);
        wait_until(|| self.gate.load(Ordering::SeqCst) >= 100);
        assert_eq!(std::thread::current().id(), thread, "it resumes on the same thread while it unwinds");
        note();
    }
}

#[test]
fn others_neither_see_nor_suffer_a_panic_that_is_suspended() {
    on_goroutines(|| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(AtomicUsize::new(0));
        // More of them than workers, so that one is suspended on every worker.
        let unwinding: Vec<_> = (0..12)
            .map(|_| {
                let guard = ParkOnDrop { seen: seen.clone(), gate: gate.clone() };
                go(move || {
                    let _guard = guard;
                    resume_unwind(Box::new("quiet"));
                })
            })
            .collect();
        wait_until(|| gate.load(Ordering::SeqCst) == 12);
        let shared = Arc::new(Mutex::new(0));
        let others: Vec<_> = (0..50)
            .map(|_| {
                let shared = shared.clone();
                go(move || {
                    assert!(!task::panicking() && !std::thread::panicking());
                    let mut value = shared.lock().unwrap();
                    *value += 1;
                    drop(value);
                    yield_now();
                    assert!(!std::thread::panicking());
                    // Their own panics are theirs, and counted right.
                    let caught = catch_unwind(AssertUnwindSafe(|| resume_unwind(Box::new(1))));
                    assert!(caught.is_err() && !std::thread::panicking());
                })
            })
            .collect();
        for other in others {
            other.join().unwrap();
        }
        assert!(!shared.is_poisoned());
        gate.store(100, Ordering::SeqCst);
        for unwound in unwinding {
            assert!(unwound.join().unwrap_err().is_panic());
        }
        assert!(seen.lock().unwrap().iter().all(|pair| *pair == (true, true)));
        assert_eq!(seen.lock().unwrap().len(), 24);
        assert!(!std::thread::panicking());
    });
}

#[test]
fn a_std_lock_that_is_held_across_anothers_unwinding_is_not_poisoned() {
    let rt = runtime(1, false);
    rt.run(|| {
        let lock = Arc::new(Mutex::new(()));
        let gate = Arc::new(AtomicUsize::new(0));
        let (held, open) = (lock.clone(), gate.clone());
        let holder = go(move || {
            let guard = held.lock().unwrap();
            open.store(50, Ordering::SeqCst);
            wait_until(|| open.load(Ordering::SeqCst) >= 51);
            // The other goroutine is suspended in the middle of unwinding, on this thread.
            drop(guard);
        });
        wait_until(|| gate.load(Ordering::SeqCst) == 50);
        let guard = ParkOnDrop { seen: Arc::default(), gate: gate.clone() };
        let unwinding = go(move || {
            let _guard = guard;
            resume_unwind(Box::new("quiet"));
        });
        holder.join().unwrap();
        assert!(!lock.is_poisoned());
        gate.store(100, Ordering::SeqCst);
        assert!(unwinding.join().unwrap_err().is_panic());
    });
}

#[test]
fn counts_are_balanced_on_every_worker_afterwards() {
    for free in [false, true] {
        let rt = runtime(4, free);
        rt.run(|| {
            let rounds: Vec<_> = (0..40)
                .map(|_| {
                    go(|| {
                        struct YieldOnDrop;
                        impl Drop for YieldOnDrop {
                            fn drop(&mut self) {
                                for _ in 0..3 {
                                    yield_now();
                                }
                            }
                        }
                        let _ = catch_unwind(|| {
                            let _guard = YieldOnDrop;
                            resume_unwind(Box::new(()));
                        });
                        assert!(!task::panicking());
                        yield_now();
                        assert!(!std::thread::panicking());
                    })
                })
                .collect();
            for round in rounds {
                round.join().unwrap();
            }
            for _ in 0..40 {
                go(|| assert!(!std::thread::panicking())).join().unwrap();
            }
        });
    }
}

#[test]
fn nested_panics_of_one_goroutine_move_together() {
    on_all(|| {
        struct Inner;
        impl Drop for Inner {
            fn drop(&mut self) {
                yield_now();
                assert!(task::panicking());
            }
        }
        struct Outer;
        impl Drop for Outer {
            fn drop(&mut self) {
                // A second panic inside a destructor of the first, caught there.
                let caught = catch_unwind(|| {
                    let _inner = Inner;
                    resume_unwind(Box::new(2));
                });
                assert!(caught.is_err() && task::panicking());
                yield_now();
            }
        }
        let error = go(|| {
            let _outer = Outer;
            resume_unwind(Box::new(1));
        })
        .join()
        .unwrap_err();
        assert_eq!(*error.into_panic().downcast::<i32>().unwrap(), 1);
        assert!(!std::thread::panicking());
    });
}

#[test]
fn a_panic_in_a_destructor_of_a_panic_aborts() {
    const NAME: &str = "a_panic_in_a_destructor_of_a_panic_aborts";
    if is_child(NAME) {
        struct Again;
        impl Drop for Again {
            fn drop(&mut self) {
                panic!("second");
            }
        }
        let _ = greenroutine::go(|| {
            let _again = Again;
            panic!("first");
        })
        .join();
        unreachable!("the process has aborted");
    }
    let output = in_child(NAME, |_| {});
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.contains("first") && text.contains("second"), "{text}");
    assert!(text.contains("panic in a destructor during cleanup"), "{text}");
    assert!(!text.contains("unreachable"), "{text}");
}

#[test]
fn a_detached_goroutine_that_panics_harms_nobody() {
    on_all(|| {
        drop(go(|| resume_unwind(Box::new(1))));
        assert_eq!(go(|| 2).join().unwrap(), 2);
    });
}
