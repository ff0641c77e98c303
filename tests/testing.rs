//! `testing`: what a seed decides is decided by nothing else, time is virtual, deadlocks are found.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenroutine::sync::{Barrier, Condvar, Mutex, RwLock, Semaphore, WaitGroup};
use greenroutine::{blocking, chan, channel, context, go, scope, select, task, testing, time, yield_now};

/// The text of the panic that `f` ends with, wherever it was.
fn panic_text<T>(f: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("a panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a text")).to_owned(),
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// A bit of everything, with a result that depends on the order of events.
fn mixed() -> Vec<usize> {
    let log = Mutex::new(Vec::new());
    let (s, r) = chan::<usize>(2);
    let (back, answers) = chan::<usize>(0);
    let room = Semaphore::new(2);
    scope(|scope| {
        for n in 0..4 {
            let (s, answers) = (s.clone(), answers.clone());
            let (log, room) = (&log, &room);
            scope.go(move || {
                let _permit = room.acquire(1);
                for k in 0..3 {
                    select! {
                        send(s, n * 10 + k) -> sent => sent.unwrap(),
                        recv(answers) -> answer => log.lock().push(100 + answer.unwrap()),
                        default(Duration::from_millis(n as u64)) => log.lock().push(1000 + n),
                    }
                    yield_now();
                }
            });
        }
        drop((s, answers));
        scope.go(|| {
            for value in &r {
                log.lock().push(value);
                if value % 3 == 0 {
                    let _ = back.send_timeout(value, Duration::from_micros(500));
                }
            }
        });
    });
    log.into_inner()
}

#[test]
fn the_same_seed_gives_the_same_steps() {
    let mut different = std::collections::HashSet::new();
    for seed in 0..40 {
        let (first, steps) = testing::run_traced(seed, mixed);
        let (second, again) = testing::run_traced(seed, mixed);
        assert_eq!(first, second);
        assert_eq!(steps, again);
        assert!(steps.lines().count() > 10, "{steps}");
        different.insert(steps);
    }
    assert!(different.len() > 30, "seeds give different runs: {}", different.len());
}

#[test]
fn the_same_seed_gives_the_same_steps_on_any_thread_and_beside_others() {
    let alone = testing::run_traced(5, mixed);
    let beside = std::thread::scope(|threads| {
        let threads: Vec<_> = (0..4).map(|_| threads.spawn(|| testing::run_traced(5, mixed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(beside.iter().all(|run| *run == alone));
}

#[test]
fn an_hour_passes_at_once() {
    let real = time::now();
    testing::run(1, || {
        let start = time::now();
        time::sleep(HOUR);
        assert_eq!(start.elapsed(), HOUR);
        assert!(channel::after(HOUR).recv().is_ok());
        assert_eq!(start.elapsed(), 2 * HOUR);
        let (_s, r) = chan::<()>(0);
        assert!(r.recv_timeout(HOUR).unwrap_err().is_timeout());
        assert_eq!(start.elapsed(), 3 * HOUR);
        let ticker = time::Ticker::new(HOUR);
        let ticks: Vec<_> = ticker.receiver().iter().take(3).map(|tick| tick - start).collect();
        assert_eq!(ticks, [4 * HOUR, 5 * HOUR, 6 * HOUR]);
        let mutex = Mutex::new(());
        let guard = mutex.lock();
        scope(|s| {
            s.go(|| assert!(mutex.try_lock_for(HOUR).is_none()));
        });
        drop(guard);
        assert_eq!(start.elapsed(), 7 * HOUR);
        let (context, _cancel) = context::background().with_timeout(HOUR);
        assert!(context.done().recv().is_err());
        assert_eq!(start.elapsed(), 8 * HOUR);
        task::park_timeout(HOUR);
        let timer = time::Timer::new(HOUR);
        assert_eq!(timer.receiver().recv().map(|at| at - start), Ok(10 * HOUR));
        let condvar = Condvar::new();
        assert!(condvar.wait_for(&mut mutex.lock(), HOUR).timed_out());
        let semaphore = Semaphore::new(1);
        let _permit = semaphore.acquire(1);
        assert!(semaphore.acquire_timeout(1, HOUR).is_none());
        let slow = time::timeout(HOUR, task::park);
        assert!(slow.is_err());
        let tick = channel::tick(HOUR);
        assert!(tick.recv().is_ok() && tick.recv().is_ok());
        assert_eq!(start.elapsed(), 15 * HOUR);
    });
    assert!(real.elapsed() < HOUR);
}

#[test]
fn time_is_the_systems_outside() {
    testing::run(1, || time::sleep(1000 * HOUR));
    let start = time::now();
    testing::run(1, || time::sleep(1000 * HOUR));
    assert!(start.elapsed() < HOUR);
}

#[test]
fn time_stands_still_while_somebody_can_run() {
    testing::explore(50, || {
        let start = time::now();
        scope(|s| {
            s.go(|| time::sleep(Duration::from_nanos(1)));
            for _ in 0..20 {
                yield_now();
                assert!(start.elapsed() <= Duration::from_nanos(1));
            }
        });
        assert_eq!(start.elapsed(), Duration::from_nanos(1));
    });
}

#[test]
fn a_loop_of_yields_gets_what_a_timer_brings() {
    testing::explore(20, || {
        let (s, r) = chan(1);
        time::after_func(HOUR, move || s.send(1).unwrap());
        while r.is_empty() {
            yield_now();
        }
        let (s, r) = chan(1);
        time::after_func(HOUR, move || s.send(1).unwrap());
        while r.try_recv().is_err() {}
    });
}

#[test]
fn a_loop_of_looks_lets_the_others_go_on() {
    testing::explore(50, || {
        let (s, r) = chan(0);
        go(move || s.send(1).unwrap());
        while r.try_recv().is_err() {}
    });
}

#[test]
fn settle_returns_when_all_others_wait() {
    testing::explore(100, || {
        let count = Arc::new(AtomicUsize::new(0));
        let (s, r) = chan::<()>(0);
        for _ in 0..5 {
            let (count, r) = (count.clone(), r.clone());
            go(move || {
                count.fetch_add(1, Ordering::SeqCst);
                for _ in 0..3 {
                    yield_now();
                }
                count.fetch_add(1, Ordering::SeqCst);
                let _ = r.recv();
                count.fetch_add(1, Ordering::SeqCst);
            });
        }
        testing::settle();
        assert_eq!(count.load(Ordering::SeqCst), 10);
        drop(s);
        testing::settle();
        assert_eq!(count.load(Ordering::SeqCst), 15);
    });
}

#[test]
fn settle_never_moves_time_and_advance_does() {
    testing::explore(50, || {
        let start = time::now();
        let count = Arc::new(AtomicUsize::new(0));
        for n in 1..=5 {
            let count = count.clone();
            go(move || {
                time::sleep(Duration::from_secs(n));
                count.fetch_add(1, Ordering::SeqCst);
            });
        }
        testing::settle();
        assert_eq!((start.elapsed(), count.load(Ordering::SeqCst)), (Duration::ZERO, 0));
        for n in 1..=5 {
            testing::advance(Duration::from_millis(999));
            assert_eq!(count.load(Ordering::SeqCst), n - 1);
            testing::advance(Duration::from_millis(1));
            assert_eq!(count.load(Ordering::SeqCst), n);
        }
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    });
}

#[test]
fn several_may_settle() {
    testing::explore(50, || {
        scope(|s| {
            for _ in 0..3 {
                s.go(|| {
                    testing::settle();
                    testing::advance(Duration::from_secs(1));
                });
            }
        });
    });
}

#[test]
fn a_deadlock_panics_with_the_dump_and_the_seed() {
    let text = panic_text(|| {
        testing::run(77, || {
            let (_s, r) = chan::<()>(0);
            let mutex = Mutex::new(());
            let _guard = mutex.lock();
            scope(|s| {
                s.go(|| drop(mutex.lock()));
                let _ = r.recv();
            });
        })
    });
    assert!(text.starts_with("all goroutines are asleep - deadlock!"), "{text}");
    for part in ["[chan receive]", "[mutex lock]", "seed 77", "tests/testing.rs", "goroutine 1 "] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn destructors_run_after_a_deadlock() {
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = (common::Counted(drops.clone()), common::Counted(drops.clone()));
    let failed = catch_unwind(AssertUnwindSafe(|| {
        testing::run(1, move || {
            let (s, r) = chan::<()>(0);
            let (first, second) = counted;
            go(move || {
                let _first = first;
                let _ = r.recv();
            });
            let _second = second;
            std::mem::forget(s);
            task::park();
        })
    }));
    assert!(failed.is_err());
    assert_eq!(drops.load(Ordering::SeqCst), 2);
}

#[test]
fn a_panic_comes_out() {
    let text = panic_text(|| testing::run(1, || panic!("mine")));
    assert_eq!(text, "mine");
    let text = panic_text(|| testing::run(1, || scope(|s| drop(s.go(|| panic!("a child's"))))));
    assert_eq!(text, "a child's");
}

#[test]
fn what_is_left_is_cancelled() {
    let drops = Arc::new(AtomicUsize::new(0));
    for seed in 0..50 {
        let counted = common::Counted(drops.clone());
        testing::run(seed, move || {
            go(move || {
                let _counted = counted;
                let ticker = time::Ticker::new(HOUR);
                while ticker.receiver().recv().is_ok() {}
            });
        });
    }
    assert_eq!(drops.load(Ordering::SeqCst), 50);
}

#[test]
fn it_may_borrow_and_returns_a_value() {
    let text = String::from("borrowed");
    assert_eq!(testing::run(1, || text.len()), 8);
    let mut runs = 0;
    testing::explore(5, || runs += 1);
    assert_eq!(runs, 5);
}

#[test]
fn what_is_outside_is_refused() {
    for (what, f) in [
        ("blocking", (|| blocking(|| ())) as fn()),
        ("another runtime", || common::runtime(1, false).run(|| ())),
        ("testing::run", || testing::run(1, || ())),
        ("a dedicated goroutine", || {
            if let Err(error) = task::Builder::new().dedicated(true).spawn(|| ()) {
                panic!("{error}");
            }
        }),
    ] {
        let text = panic_text(|| testing::run(1, f));
        assert!(text.starts_with(&format!("{what} inside of testing::run")), "{text}");
    }
    let error = testing::run(1, || {
        let listener = greenroutine::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.accept().map(|_| ()).unwrap_err()
    });
    assert!(error.to_string().contains("inside of testing::run"), "{error}");
    for f in [testing::settle as fn(), || testing::advance(HOUR)] {
        let text = panic_text(f);
        assert!(text.contains("outside of testing::run"), "{text}");
    }
}

#[test]
fn run_inside_is_the_run() {
    testing::explore(20, || {
        let start = time::now();
        let value = greenroutine::run(|| {
            time::sleep(HOUR);
            7
        });
        assert_eq!((value, start.elapsed()), (7, HOUR));
    });
}

#[test]
fn a_livelock_is_found() {
    let text = panic_text(|| {
        testing::run(2, || {
            loop {
                yield_now();
            }
        })
    });
    assert!(text.contains("livelock"), "{text}");
}

#[test]
fn ids_and_names_are_the_same_each_time() {
    let ids = || {
        testing::run(9, || {
            let named =
                task::Builder::new().name("x").spawn(|| task::current().unwrap().id().as_u64()).unwrap();
            let plain = go(|| task::current().unwrap().id().as_u64());
            [task::current().unwrap().id().as_u64(), named.join().unwrap(), plain.join().unwrap()]
        })
    };
    assert_eq!(ids(), ids());
    assert_eq!(ids()[0], 1);
}

#[test]
fn everything_works_with_every_seed() {
    testing::explore(300, || {
        let (tx, rx) = channel::unbounded();
        let group = WaitGroup::new();
        let barrier = Arc::new(Barrier::new(3));
        let lock = Arc::new(RwLock::new(0));
        for n in 0..3 {
            let (tx, barrier, lock) = (tx.clone(), barrier.clone(), lock.clone());
            group.go(move || {
                *lock.write() += n;
                barrier.wait();
                assert_eq!(*lock.read(), 3);
                tx.send(n).unwrap();
            });
        }
        drop(tx);
        group.wait();
        let mut got: Vec<_> = rx.iter().collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2]);
    });
}
