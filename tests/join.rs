//! `go`, `JoinHandle`, `JoinError`, `Builder`: what is spawned runs once, and its end reaches whoever waits.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Counted, block_on, on_all, on_goroutines, runtime, wait_until};
use greenroutine::{go, task, yield_now};

#[test]
fn join_returns_the_value() {
    on_all(|| {
        assert_eq!(go(|| 7).join().unwrap(), 7);
        assert_eq!(go(|| String::from("text")).join().unwrap(), "text");
        go(|| ()).join().unwrap();
    });
}

#[test]
fn join_waits_for_a_goroutine_that_yields() {
    on_all(|| {
        let handles: Vec<_> = (0..200_u64)
            .map(|n| {
                go(move || {
                    for _ in 0..n % 7 {
                        yield_now();
                    }
                    n
                })
            })
            .collect();
        let sum: u64 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        assert_eq!(sum, 199 * 200 / 2);
    });
}

#[test]
fn closures_and_results_of_any_size_and_alignment_arrive() {
    #[repr(align(64))]
    #[derive(Clone, Copy)]
    struct Line(u8);
    #[repr(align(4096))]
    struct Page(u64);
    on_all(|| {
        let small = [1_u8; 40];
        let medium = [2_u8; 500];
        let large = [3_u8; 5000];
        let line = Line(4);
        let page = Page(5);
        assert_eq!(go(move || small).join().unwrap(), [1; 40]);
        assert_eq!(go(move || medium).join().unwrap(), [2; 500]);
        assert_eq!(go(move || large).join().unwrap(), [3; 5000]);
        let aligned = go(move || {
            assert_eq!(&raw const line as usize % 64, 0);
            line
        });
        assert_eq!(aligned.join().unwrap().0, 4);
        let paged = go(move || {
            assert_eq!(&raw const page as usize % 4096, 0);
            page
        });
        assert_eq!(paged.join().unwrap().0, 5);
    });
}

#[test]
fn closures_and_results_are_dropped_once() {
    on_all(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        // Joined.
        let captured = Counted(drops.clone());
        let handle = go(move || captured);
        let returned = handle.join().unwrap();
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        drop(returned);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        // Detached before it ends.
        let captured = Counted(drops.clone());
        drop(go(move || captured));
        wait_until(|| drops.load(Ordering::SeqCst) == 2);
        // The handle dropped after it ended.
        let captured = Counted(drops.clone());
        let handle = go(move || captured);
        wait_until(|| handle.is_finished());
        drop(handle);
        assert_eq!(drops.load(Ordering::SeqCst), 3);
        // Panicked: what was captured goes while it unwinds.
        let captured = Counted(drops.clone());
        let handle = go(move || {
            let _captured = captured;
            std::panic::resume_unwind(Box::new("quiet"));
        });
        assert!(handle.join().unwrap_err().is_panic());
        assert_eq!(drops.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn a_panic_reaches_join_with_its_payload() {
    on_all(|| {
        let error = go(|| std::panic::resume_unwind(Box::new(42_u32))).join().unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(*error.into_panic().downcast::<u32>().unwrap(), 42);
        let error = go(|| std::panic::resume_unwind(Box::new("why"))).join().unwrap_err();
        assert!(error.to_string().contains("panicked: why"), "{error}");
    });
}

#[test]
fn into_panic_of_another_end_says_so() {
    let error = go(|| task::goexit()).join().unwrap_err();
    assert!(!error.is_panic() && !error.is_cancelled());
    assert!(error.to_string().contains("goexit"));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| error.into_panic())).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("goexit"));
}

#[test]
fn goexit_runs_destructors_and_nothing_after_it() {
    on_goroutines(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = Counted(drops.clone());
        let error = go(move || {
            let _counted = counted;
            fn inner() {
                task::goexit();
            }
            inner();
            unreachable!("after goexit");
        })
        .join()
        .unwrap_err();
        assert!(!error.is_panic() && !error.is_cancelled());
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn goexit_on_a_thread_panics() {
    let result = std::thread::spawn(|| task::goexit()).join();
    assert!(result.is_err());
}

#[test]
fn a_handle_is_a_future_for_any_executor() {
    on_all(|| {
        let ready = go(|| 1);
        wait_until(|| ready.is_finished());
        assert_eq!(block_on_here(ready), 1);
    });
    let rt = runtime(2, false);
    for n in 0..200 {
        let handle = rt.go(move || {
            yield_now();
            n
        });
        assert_eq!(block_on(handle).unwrap(), n);
    }
    // Polled, and dropped before it is ready.
    for _ in 0..200 {
        let mut handle = rt.go(yield_now);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if std::pin::Pin::new(&mut handle).poll(&mut context).is_pending() {
            let _ = std::pin::Pin::new(&mut handle).poll(&mut context);
        }
    }

    fn block_on_here(mut handle: greenroutine::JoinHandle<i32>) -> i32 {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(&mut handle).poll(&mut context) {
            std::task::Poll::Ready(value) => value.unwrap(),
            std::task::Poll::Pending => panic!("it had ended"),
        }
    }
}

#[test]
fn a_future_that_is_polled_with_changing_wakers_wakes_the_last() {
    struct Flag(AtomicUsize);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let gate = Arc::new(AtomicUsize::new(0));
    let rt = runtime(2, false);
    let gate2 = gate.clone();
    let mut handle = rt.go(move || wait_until(|| gate2.load(Ordering::SeqCst) == 1));
    let flags: Vec<_> = (0..3).map(|_| Arc::new(Flag(AtomicUsize::new(0)))).collect();
    for flag in &flags {
        let waker = std::task::Waker::from(flag.clone());
        let mut context = std::task::Context::from_waker(&waker);
        assert!(std::pin::Pin::new(&mut handle).poll(&mut context).is_pending());
    }
    gate.store(1, Ordering::SeqCst);
    wait_until(|| flags[2].0.load(Ordering::SeqCst) == 1);
    assert_eq!(flags[0].0.load(Ordering::SeqCst) + flags[1].0.load(Ordering::SeqCst), 0);
    handle.join().unwrap();
}

#[test]
fn names_ids_and_current() {
    assert!(task::current().is_none());
    let named = task::Builder::new().name("a name").spawn(|| {
        let me = task::current().unwrap();
        (me.id(), me.name().map(str::to_owned))
    });
    let named = named.unwrap();
    let id = named.id();
    assert_eq!(named.join().unwrap(), (id, Some(String::from("a name"))));
    let plain = go(|| task::current().unwrap().name().map(str::to_owned));
    assert!(plain.id() != id);
    assert_eq!(plain.join().unwrap(), None);
}

#[test]
fn a_handle_of_current_outlives_the_goroutine_and_keeps_no_result() {
    on_all(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = Counted(drops.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        let handle = task::Builder::new().name("gone").spawn(move || {
            sender.send(task::current().unwrap()).unwrap();
            counted
        });
        drop(handle.unwrap());
        wait_until(|| drops.load(Ordering::SeqCst) == 1);
        let gone = receiver.recv().unwrap();
        assert_eq!(gone.name(), Some("gone"));
        gone.unpark();
    });
}

#[test]
fn dedicated_goroutines_have_a_thread_of_their_own() {
    on_all(|| {
        let mine = std::thread::current().id();
        let handles: Vec<_> = (0..4)
            .map(|_| {
                task::Builder::new().dedicated(true).spawn(move || {
                    let thread = std::thread::current().id();
                    for _ in 0..100 {
                        yield_now();
                        assert_eq!(std::thread::current().id(), thread);
                    }
                    // It can do all that others can.
                    assert_eq!(go(|| 5).join().unwrap(), 5);
                    assert_eq!(std::thread::current().id(), thread);
                    thread
                })
            })
            .collect();
        let mut threads: Vec<_> = handles.into_iter().map(|handle| handle.unwrap().join().unwrap()).collect();
        threads.push(mine);
        for (i, thread) in threads.iter().enumerate() {
            assert!(!threads[i + 1..].contains(thread));
        }
    });
}

#[test]
fn goroutines_of_one_runtime_spawn_and_join_on_another() {
    let (one, two) = (runtime(2, false), runtime(2, true));
    let total: u32 = one.run(|| (0..100).map(|n| two.go(move || n).join().unwrap()).sum());
    assert_eq!(total, 4950);
    // Joined while it waits in a queue of the other runtime, whose workers have the same numbers.
    let (a, b) = (runtime(1, false), runtime(1, true));
    for _ in 0..200 {
        let handles: Vec<_> = (0..10).map(|n| b.go(move || n)).collect();
        let more = b.go(|| (0..20).map(|n| go(move || n)).collect::<Vec<_>>()).join().unwrap();
        let sum: i32 = a.run(|| {
            let own: Vec<_> = (0..10).map(|n| go(move || n)).collect();
            let theirs =
                handles.into_iter().chain(more).rev().map(|handle| handle.join().unwrap()).sum::<i32>();
            theirs + own.into_iter().rev().map(|handle| handle.join().unwrap()).sum::<i32>()
        });
        assert_eq!(sum, 45 + 190 + 45);
    }
    // And wait for each other in a chain of runs.
    assert_eq!(one.run(|| two.run(|| one.run(|| 3))), 3);
}

#[test]
fn deep_trees_of_joins_lose_nobody() {
    // More goroutines wait at once than a worker's cache of stacks holds, so slots go back to the shared list and on to other workers while their
    // last goroutine's end is still being attended to.
    fn fib(n: u32) -> u64 {
        if n < 2 {
            return u64::from(n);
        }
        let left = go(move || fib(n - 1));
        let right = fib(n - 2);
        left.join().unwrap() + right
    }
    for free in [false, true] {
        let rt = runtime(2, free);
        for _ in 0..20 {
            assert_eq!(rt.run(|| fib(16)), 987);
        }
    }
}

#[test]
fn run_borrows_and_rethrows() {
    let mut text = String::from("a");
    let length = greenroutine::run(|| {
        text.push('b');
        text.len()
    });
    assert_eq!((length, text.as_str()), (2, "ab"));
    let panic = std::panic::catch_unwind(|| greenroutine::run(|| std::panic::resume_unwind(Box::new(9_u8))));
    assert_eq!(*panic.unwrap_err().downcast::<u8>().unwrap(), 9);
    let rt = runtime(1, false);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rt.run(|| task::goexit())));
    assert!(panic.unwrap_err().downcast::<String>().unwrap().contains("goexit"));
}
