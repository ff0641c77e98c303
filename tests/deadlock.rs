//! `run` panics when all goroutines wait for ever, and only then. Each case has a process to itself, since whatever else a process does may wake somebody.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::{in_child, is_child, runtime, text};
use greenroutine::sync::{Condvar, Mutex, RwLock, Semaphore, WaitGroup};
use greenroutine::{block_on, blocking, chan, go, net, run, scope, select, task, time};

/// Runs `case` in a process of its own, where it has to panic with the deadlock's text and `parts` of the dump.
fn deadlocks(name: &str, parts: &[&str], case: impl FnOnce()) {
    if is_child(name) {
        harness_sleeps();
        return case();
    }
    let output = in_child(name, |command| {
        command.env("GREENROUTINE_WORKERS", "2");
    });
    let text = text(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("all goroutines are asleep - deadlock!"), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

/// Waits until the test harness's main thread waits for the test, or else it might have something to do with it.
fn harness_sleeps() {
    let pid = std::process::id();
    let call = || std::fs::read_to_string(format!("/proc/self/task/{pid}/syscall")).unwrap_or_default();
    while call().starts_with("running") {
        std::thread::yield_now();
    }
}

/// Runs `case` in a process of its own, where it has to end well.
fn goes_on(name: &str, case: impl FnOnce()) {
    if is_child(name) {
        return case();
    }
    let output = in_child(name, |command| {
        command.env("GREENROUTINE_WORKERS", "2");
    });
    assert!(output.status.success(), "{}", text(&output));
}

/// Far longer than the monitor takes to be sure.
const LATER: Duration = Duration::from_millis(400);

#[test]
fn a_receive_without_a_sender_that_runs() {
    deadlocks("a_receive_without_a_sender_that_runs", &["[chan receive]", "tests/deadlock.rs"], || {
        run(|| {
            let (_s, r) = chan::<()>(0);
            let _ = r.recv();
        });
    });
}

#[test]
fn a_ring_of_joins_and_locks() {
    deadlocks("a_ring_of_joins_and_locks", &["[mutex lock]", "[scope wait]"], || {
        run(|| {
            let (a, b) = (Mutex::new(()), Mutex::new(()));
            let met = greenroutine::sync::Barrier::new(2);
            scope(|s| {
                s.go(|| {
                    let _a = a.lock();
                    met.wait();
                    drop(b.lock());
                });
                s.go(|| {
                    let _b = b.lock();
                    met.wait();
                    drop(a.lock());
                });
            });
        });
    });
}

#[test]
fn nobody_is_left_to_send_or_unpark() {
    deadlocks("nobody_is_left_to_send_or_unpark", &["[park]", "[select]", "[chan send]", "[join]"], || {
        run(|| {
            let (s, _r) = chan::<()>(0);
            let (_s2, r2) = chan::<()>(0);
            go(task::park);
            let sender = go(move || s.send(()));
            go(move || {
                select! {
                    recv(r2) -> _ => {},
                }
            });
            sender.join().unwrap().unwrap();
        });
    });
}

#[test]
fn on_a_runtime_of_ones_own() {
    deadlocks("on_a_runtime_of_ones_own", &["[semaphore acquire]", "[rwlock write]"], || {
        for free in [false, true] {
            for workers in [1, 3] {
                let runtime = runtime(workers, free);
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    runtime.run(|| {
                        let permits = Semaphore::new(1);
                        let _all = permits.acquire(1);
                        let lock = RwLock::new(());
                        let _read = lock.read();
                        scope(|s| {
                            s.go(|| drop(lock.write()));
                            drop(permits.acquire(1));
                        });
                    });
                }));
                let text = *caught.expect_err("a deadlock").downcast::<String>().expect("a text");
                assert!(text.starts_with("all goroutines are asleep - deadlock!"), "{text}");
                assert_eq!(runtime.run(|| go(|| 5).join().unwrap()), 5, "the runtime goes on");
                eprintln!("{text}");
            }
        }
        panic!("all four were found");
    });
}

#[test]
fn destructors_run_and_what_they_wake_goes_on() {
    deadlocks("destructors_run_and_what_they_wake_goes_on", &["the other one has ended"], || {
        run(|| {
            let (s, r) = chan::<()>(0);
            let (done, ended) = chan::<()>(1);
            go(move || {
                assert!(r.recv().is_err());
                eprintln!("the other one has ended");
                done.send(()).unwrap();
            });
            struct Waits(greenroutine::channel::Receiver<()>, Option<greenroutine::channel::Sender<()>>);
            impl Drop for Waits {
                fn drop(&mut self) {
                    self.1.take();
                    self.0.recv().unwrap();
                }
            }
            let _waits = Waits(ended, Some(s));
            task::park();
        });
    });
}

#[test]
fn several_runs_are_all_told() {
    deadlocks("several_runs_are_all_told", &["both"], || {
        let wait = || {
            catch_unwind(|| {
                run(|| {
                    let (_s, r) = chan::<()>(0);
                    let _ = r.recv();
                })
            })
            .is_err()
        };
        let other = std::thread::spawn(wait);
        assert!(wait());
        assert!(other.join().unwrap());
        panic!("all goroutines are asleep - deadlock! both");
    });
}

#[test]
fn a_thread_that_sleeps_with_a_sender() {
    goes_on("a_thread_that_sleeps_with_a_sender", || {
        let (s, r) = chan(0);
        std::thread::spawn(move || {
            std::thread::sleep(LATER);
            s.send(1).unwrap();
        });
        assert_eq!(run(|| r.recv()), Ok(1));
    });
}

#[test]
fn a_thread_that_sleeps_with_a_guard() {
    goes_on("a_thread_that_sleeps_with_a_guard", || {
        static LOCK: Mutex<i32> = Mutex::new(0);
        let (locked, is_locked) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut guard = LOCK.lock();
            locked.send(()).unwrap();
            std::thread::sleep(LATER);
            *guard = 1;
        });
        is_locked.recv().unwrap();
        assert_eq!(run(|| *LOCK.lock()), 1);
    });
}

#[test]
fn a_thread_that_sleeps_with_a_reference() {
    goes_on("a_thread_that_sleeps_with_a_reference", || {
        static PAIR: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        std::thread::spawn(|| {
            std::thread::sleep(LATER);
            *PAIR.0.lock() = true;
            PAIR.1.notify_one();
        });
        run(|| PAIR.1.wait_while(&mut PAIR.0.lock(), |ready| !*ready));
        let group = Arc::new(WaitGroup::new());
        group.add(1);
        let other = group.clone();
        std::thread::spawn(move || {
            std::thread::sleep(LATER);
            other.done();
        });
        run(|| group.wait());
    });
}

#[test]
fn a_thread_that_is_given_a_handle_later() {
    goes_on("a_thread_that_is_given_a_handle_later", || {
        static PARKED: OnceLock<task::Handle> = OnceLock::new();
        let waker = std::thread::spawn(|| {
            std::thread::sleep(LATER);
            PARKED.get().expect("set long ago").unpark();
        });
        run(|| {
            PARKED.set(task::current().unwrap()).unwrap();
            task::park();
        });
        waker.join().unwrap();
    });
}

#[test]
fn time_blocking_and_sockets() {
    goes_on("time_blocking_and_sockets", || {
        run(|| {
            time::sleep(LATER);
            let (s, r) = chan::<()>(0);
            assert!(r.recv_timeout(LATER).is_err());
            drop(s);
            blocking(|| std::thread::sleep(LATER));
            let (s, r) = chan(0);
            go(move || {
                blocking(move || {
                    std::thread::sleep(LATER);
                    s.send(())
                })
            });
            r.recv().unwrap();
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = std::process::Command::new("bash")
            .args(["-c", &format!("sleep 0.4; exec 3<>/dev/tcp/127.0.0.1/{}", address.port())])
            .spawn()
            .expect("bash");
        run(move || net::TcpListener::from(listener).accept().map(|_| ()).unwrap());
        client.wait().unwrap();
    });
}

#[test]
fn another_runtime_that_is_at_work() {
    goes_on("another_runtime_that_is_at_work", || {
        let (s, r) = chan(0);
        let other = runtime(1, false);
        other.go(move || {
            time::sleep(LATER);
            s.send(1).unwrap();
        });
        assert_eq!(run(|| r.recv()), Ok(1));
    });
}

#[test]
fn a_future_that_a_thread_wakes() {
    goes_on("a_future_that_a_thread_wakes", || {
        let mut started = false;
        run(|| {
            block_on(std::future::poll_fn(|context| {
                if std::mem::replace(&mut started, true) {
                    return std::task::Poll::Ready(());
                }
                let waker = context.waker().clone();
                std::thread::spawn(move || {
                    std::thread::sleep(LATER);
                    waker.wake();
                });
                std::task::Poll::Pending
            }))
        });
    });
}

#[test]
fn goroutines_that_wait_beside_one_that_works() {
    goes_on("goroutines_that_wait_beside_one_that_works", || {
        run(|| {
            let (_s, r) = chan::<()>(0);
            for _ in 0..10 {
                let r = r.clone();
                go(move || r.recv());
            }
            std::thread::sleep(LATER);
            time::sleep(LATER);
        });
    });
}
