//! `scope`: std::thread::scope's contract, with goroutines; and cancellation through it.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{on_all, on_goroutines, wait_until};
use greenroutine::{go, scope, task, yield_now};

#[test]
fn children_borrow_and_are_joined() {
    on_all(|| {
        let mut values = vec![0_usize; 100];
        scope(|s| {
            for (n, value) in values.iter_mut().enumerate() {
                s.go(move || {
                    yield_now();
                    *value = n;
                });
            }
        });
        assert!(values.iter().enumerate().all(|(n, value)| n == *value));
    });
}

#[test]
fn join_inside_gives_the_value_and_nested_scopes_work() {
    on_all(|| {
        let text = String::from("shared");
        let total = scope(|s| {
            let a = s.go(|| text.len());
            let b = s.go(|| scope(|inner| inner.go(|| text.len() * 2).join().unwrap()));
            a.join().unwrap() + b.join().unwrap()
        });
        assert_eq!(total, 18);
    });
}

#[test]
fn children_spawn_siblings() {
    on_all(|| {
        let count = AtomicUsize::new(0);
        scope(|s| {
            s.go(|| {
                for _ in 0..10 {
                    s.go(|| count.fetch_add(1, Ordering::SeqCst));
                }
            });
        });
        assert_eq!(count.load(Ordering::SeqCst), 10);
    });
}

#[test]
fn an_unjoined_panic_is_rethrown_after_all_have_ended() {
    on_all(|| {
        let ended = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                s.go(|| resume_unwind(Box::new(5_i32)));
                for _ in 0..10 {
                    s.go(|| {
                        yield_now();
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                }
            });
        }));
        assert_eq!(*result.unwrap_err().downcast::<i32>().unwrap(), 5);
        assert_eq!(ended.load(Ordering::SeqCst), 10);
    });
}

#[test]
fn a_joined_panic_is_not_rethrown() {
    on_all(|| {
        scope(|s| {
            let error = s.go(|| resume_unwind(Box::new(6_i32))).join().unwrap_err();
            assert_eq!(*error.into_panic().downcast::<i32>().unwrap(), 6);
        });
    });
}

#[test]
fn the_closures_own_panic_comes_first_and_waits() {
    on_all(|| {
        let ended = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                s.go(|| {
                    for _ in 0..10 {
                        yield_now();
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                });
                resume_unwind(Box::new("mine"));
            });
        }));
        assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "mine");
        assert_eq!(ended.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn results_with_borrows_are_dropped_before_the_scope_ends() {
    struct Touch<'a>(&'a AtomicUsize);
    impl Drop for Touch<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    on_all(|| {
        let touched = AtomicUsize::new(0);
        let escaped = std::sync::Mutex::new(Vec::new());
        scope(|s| {
            for _ in 0..50 {
                s.go(|| {
                    // A handle that outlives the scope must not keep the result.
                    escaped.lock().unwrap().push(task::current().unwrap());
                    Touch(&touched)
                });
            }
        });
        assert_eq!(touched.load(Ordering::SeqCst), 50);
        assert_eq!(escaped.lock().unwrap().len(), 50);
    });
}

#[test]
fn a_cancelled_owner_cancels_its_children_and_waits() {
    on_goroutines(|| {
        let state = Arc::new(AtomicUsize::new(0));
        let inner = state.clone();
        let owner = go(move || {
            struct Ended<'a>(&'a AtomicUsize);
            impl Drop for Ended<'_> {
                fn drop(&mut self) {
                    // A destructor that blocks while it unwinds.
                    yield_now();
                    self.0.fetch_add(100, Ordering::SeqCst);
                }
            }
            scope(|s| {
                for _ in 0..5 {
                    s.go(|| {
                        let _ended = Ended(&inner);
                        inner.fetch_add(1, Ordering::SeqCst);
                        task::park();
                    });
                }
            });
            unreachable!("the scope ends as cancelled");
        });
        wait_until(|| state.load(Ordering::SeqCst) == 5);
        owner.cancel();
        assert!(owner.join().unwrap_err().is_cancelled());
        assert_eq!(state.load(Ordering::SeqCst), 505);
    });
}

#[test]
fn many_children_of_one_scope_come_and_go() {
    on_all(|| {
        let count = AtomicUsize::new(0);
        scope(|s| {
            for _ in 0..20 {
                let batch: Vec<_> =
                    (0..100).map(|_| s.go(|| count.fetch_add(1, Ordering::Relaxed))).collect();
                for child in batch {
                    child.join().unwrap();
                }
            }
        });
        assert_eq!(count.into_inner(), 2000);
    });
}
