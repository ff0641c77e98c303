//! How runtimes end: what is left is cancelled, waited for, and nothing is spawned afterwards.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Counted, runtime, wait_until};
use greenroutine::{go, scope, task, time, yield_now};

#[test]
fn dropping_a_runtime_cancels_what_is_left_and_waits() {
    for free in [false, true] {
        for workers in [1, 2, 4] {
            let drops = Arc::new(AtomicUsize::new(0));
            let rt = runtime(workers, free);
            for n in 0..200 {
                let counted = Counted(drops.clone());
                drop(rt.go(move || {
                    let _counted = counted;
                    match n % 4 {
                        0 => task::park(),
                        1 => time::sleep(Duration::from_secs(1000)),
                        2 => loop {
                            yield_now();
                        },
                        _ => scope(|s| {
                            s.go(task::park);
                            s.go(task::park);
                        }),
                    }
                }));
            }
            drop(rt);
            assert_eq!(drops.load(Ordering::SeqCst), 200);
        }
    }
}

#[test]
fn shutdown_says_whether_all_ended_in_time() {
    let rt = runtime(2, false);
    drop(rt.go(task::park));
    assert!(rt.shutdown(Duration::from_secs(100)));

    let rt = runtime(2, false);
    let gate = Arc::new(AtomicUsize::new(0));
    let inner = gate.clone();
    let busy = rt.go(move || {
        inner.store(1, Ordering::SeqCst);
        while inner.load(Ordering::SeqCst) != 2 {
            std::hint::spin_loop();
        }
        9
    });
    wait_until(|| gate.load(Ordering::SeqCst) == 1);
    assert!(!rt.shutdown(Duration::from_millis(5)));
    gate.store(2, Ordering::SeqCst);
    assert_eq!(busy.join().unwrap(), 9);
}

#[test]
fn a_runtime_that_is_closing_spawns_nothing_and_says_so() {
    let rt = runtime(2, false);
    let gate = Arc::new(AtomicUsize::new(0));
    let inner = gate.clone();
    let last = rt.go(move || {
        struct SpawnOnDrop;
        impl Drop for SpawnOnDrop {
            fn drop(&mut self) {
                // The runtime is closing: that is why we unwind.
                let error = task::Builder::new().spawn(|| ()).map(|_| ()).unwrap_err();
                assert!(error.to_string().contains("shut down"), "{error}");
                let panic = std::panic::catch_unwind(|| drop(go(|| ()))).unwrap_err();
                assert!(panic.downcast_ref::<String>().unwrap().contains("shut down"));
            }
        }
        let _guard = SpawnOnDrop;
        inner.store(1, Ordering::SeqCst);
        task::park();
    });
    wait_until(|| gate.load(Ordering::SeqCst) == 1);
    drop(rt);
    assert!(last.join().unwrap_err().is_cancelled());
}

#[test]
fn handles_outlive_their_runtime() {
    let rt = runtime(2, false);
    let value = rt.go(|| String::from("kept"));
    let parked = rt.go(task::park);
    let detached = rt.go(|| 1);
    wait_until(|| value.is_finished());
    drop(rt);
    parked.cancel();
    assert!(parked.join().unwrap_err().is_cancelled());
    assert_eq!(value.join().unwrap(), "kept");
    drop(detached);
}

#[test]
fn a_runtime_dropped_by_its_own_goroutine_ends_in_the_background() {
    let rt = Arc::new(runtime(2, false));
    let (inner, ended) = (rt.clone(), Arc::new(AtomicUsize::new(0)));
    let flag = ended.clone();
    let last = rt.go(move || {
        // The last one to hold it.
        wait_until(|| Arc::strong_count(&inner) == 1);
        drop(inner);
        flag.store(1, Ordering::SeqCst);
    });
    drop(rt);
    let _ = last.join();
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[test]
fn many_runtimes_come_and_go() {
    for round in 0..200 {
        let rt = runtime(1 + round % 3, round % 2 == 0);
        let handles: Vec<_> = (0..10).map(|n| rt.go(move || n)).collect();
        if round % 5 != 0 {
            for handle in handles {
                handle.join().unwrap();
            }
        }
    }
}

#[test]
fn wakers_from_outside_race_with_the_end() {
    for _ in 0..200 {
        let rt = runtime(2, false);
        let (sender, receiver) = std::sync::mpsc::channel();
        let parked = rt.go(move || {
            sender.send(task::current().unwrap()).unwrap();
            task::park();
        });
        let handle = receiver.recv().unwrap();
        let waker = std::thread::spawn(move || handle.unpark());
        drop(rt);
        waker.join().unwrap();
        let _ = parked.join();
    }
}
