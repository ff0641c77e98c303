//! Who runs where: home mode never moves a started goroutine, free mode does, and what is bound to a thread behaves.

mod common;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{on_goroutines, runtime, wait_until};
use greenroutine::{go, runtime, task, time, yield_now};

#[test]
fn home_mode_never_resumes_a_goroutine_on_a_second_thread() {
    // Millions of switches in all kinds of waits, with thieves about.
    let rt = runtime(4, false);
    rt.run(|| {
        let all: Vec<_> = (0..64)
            .map(|n| {
                go(move || {
                    let thread = std::thread::current().id();
                    let same = || assert_eq!(std::thread::current().id(), thread);
                    for round in 0..20_000 {
                        yield_now();
                        same();
                        if round % 100 == n {
                            go(yield_now).join().unwrap();
                            same();
                        }
                        if round % 1000 == n {
                            time::sleep(Duration::from_micros(1));
                            same();
                            task::park_timeout(Duration::from_micros(1));
                            same();
                        }
                    }
                })
            })
            .collect();
        for one in all {
            one.join().unwrap();
        }
    });
    let switches: u64 = rt.metrics().workers.iter().map(|worker| worker.switches).sum();
    assert!(switches > 1_280_000, "{switches}");
}

std::thread_local! {
    static LOCAL: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn thread_bound_things_held_across_waits_behave_in_home_mode() {
    for workers in [1, 2, 4] {
        runtime(workers, false).run(|| {
            let all: Vec<_> = (0..32_usize)
                .map(|n| {
                    go(move || {
                        let rc = Rc::new(Cell::new(0));
                        let cell = RefCell::new(0);
                        for round in 0..200 {
                            let held = rc.clone();
                            let mut guard = cell.borrow_mut();
                            // A reference into a thread-local, across a wait.
                            LOCAL.with(|local| {
                                let before = local.as_ptr();
                                yield_now();
                                LOCAL.with(|now| assert_eq!(before, now.as_ptr()));
                            });
                            held.set(held.get() + 1);
                            *guard += 1;
                            drop(guard);
                            assert_eq!((rc.get(), *cell.borrow()), (round + 1, round + 1));
                        }
                        LOCAL.with(|local| local.borrow_mut().push(n));
                    })
                })
                .collect();
            for one in all {
                one.join().unwrap();
            }
        });
    }
}

#[test]
fn stdout_locked_across_a_park_is_unlocked_by_its_owner() {
    runtime(2, false).run(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let holder = go(move || {
            let mut out = std::io::stdout().lock();
            sender.send(task::current().unwrap()).unwrap();
            task::park();
            write!(out, "").unwrap();
        });
        let mut found = None;
        while found.is_none() {
            found = receiver.try_recv().ok();
            yield_now();
        }
        found.unwrap().unpark();
        holder.join().unwrap();
        // Free again, for any thread.
        std::thread::spawn(|| drop(std::io::stdout().lock())).join().unwrap();
    });
}

#[test]
fn a_busy_worker_does_not_keep_unstarted_goroutines() {
    // One worker computes without a runtime call; what it has spawned is started by the others.
    for free in [false, true] {
        let rt = runtime(2, free);
        rt.run(|| {
            let done = Arc::new(AtomicUsize::new(0));
            let children: Vec<_> = (0..20)
                .map(|_| {
                    let done = done.clone();
                    go(move || done.fetch_add(1, Ordering::SeqCst))
                })
                .collect();
            while done.load(Ordering::SeqCst) < 20 {
                std::hint::spin_loop();
            }
            for child in children {
                child.join().unwrap();
            }
        });
    }
}

#[test]
fn when_all_workers_are_busy_a_spare_serves_the_rest() {
    for free in [false, true] {
        let rt = runtime(2, free);
        let stop = Arc::new(AtomicBool::new(false));
        let spinning = Arc::new(AtomicUsize::new(0));
        let spinners: Vec<_> = (0..2)
            .map(|_| {
                let (stop, spinning) = (stop.clone(), spinning.clone());
                rt.go(move || {
                    spinning.fetch_add(1, Ordering::SeqCst);
                    while !stop.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        wait_until(|| spinning.load(Ordering::SeqCst) == 2);
        // From a plain thread, whose goroutines go to the injector.
        for _ in 0..5 {
            rt.go(|| time::sleep(Duration::from_micros(100))).join().unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        for spinner in spinners {
            spinner.join().unwrap();
        }
    }
}

#[test]
fn free_mode_moves_started_goroutines_to_idle_workers() {
    let rt = runtime(2, true);
    rt.run(|| {
        let moved = Arc::new(AtomicBool::new(false));
        let travellers: Vec<_> = (0..8)
            .map(|_| {
                let moved = moved.clone();
                go(move || {
                    let first = std::thread::current().id();
                    while !moved.load(Ordering::SeqCst) {
                        yield_now();
                        if std::thread::current().id() != first {
                            moved.store(true, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        // They are always ready, and one worker has nothing else to do.
        while !moved.load(Ordering::SeqCst) {
            time::sleep(Duration::from_micros(100));
        }
        for traveller in travellers {
            traveller.join().unwrap();
        }
    });
}

#[test]
fn a_guard_of_lock_os_thread_frees_its_own_goroutine_whoever_drops_it() {
    std::thread_local! {
        static KEPT: RefCell<Option<runtime::OsThreadGuard>> = const { RefCell::new(None) };
    }
    runtime(1, false).run(|| {
        go(|| KEPT.with(|kept| *kept.borrow_mut() = Some(runtime::lock_os_thread()))).join().unwrap();
        go(|| KEPT.with(|kept| drop(kept.borrow_mut().take()))).join().unwrap();
    });
}

#[test]
fn lock_os_thread_keeps_a_goroutine_in_free_mode() {
    let rt = runtime(4, true);
    rt.run(|| {
        let all: Vec<_> = (0..32)
            .map(|_| {
                go(|| {
                    let _outer = runtime::lock_os_thread();
                    let inner = runtime::lock_os_thread();
                    let thread = std::thread::current().id();
                    for round in 0..500 {
                        yield_now();
                        go(|| ()).join().unwrap();
                        if round % 100 == 0 {
                            time::sleep(Duration::from_micros(5));
                        }
                        assert_eq!(std::thread::current().id(), thread);
                    }
                    drop(inner);
                    for _ in 0..500 {
                        yield_now();
                        assert_eq!(std::thread::current().id(), thread);
                    }
                })
            })
            .collect();
        for one in all {
            one.join().unwrap();
        }
    });
}

#[test]
fn a_stuck_workers_next_goroutine_is_not_taken_if_it_is_locked_to_its_thread() {
    for _ in 0..5 {
        let rt = runtime(1, true);
        rt.run(|| {
            let locked = go(|| {
                let _guard = runtime::lock_os_thread();
                let thread = std::thread::current().id();
                let me = task::current().unwrap();
                let stop = Arc::new(AtomicBool::new(false));
                let flag = stop.clone();
                let waker = go(move || {
                    // The spare that this worker's long run calls for sleeps and searches many times before it lets us go on.
                    struct Release(Arc<AtomicBool>);
                    impl Drop for Release {
                        fn drop(&mut self) {
                            self.0.store(true, Ordering::SeqCst);
                        }
                    }
                    let release = Release(flag);
                    go(move || {
                        let _release = release;
                        for _ in 0..20 {
                            time::sleep(Duration::from_millis(1));
                        }
                    });
                    me.unpark();
                    while !stop.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                });
                task::park();
                assert_eq!(std::thread::current().id(), thread);
                waker.join().unwrap();
                assert_eq!(std::thread::current().id(), thread);
            });
            locked.join().unwrap();
        });
    }
}

#[test]
fn a_goroutine_that_calls_the_runtime_shares_its_worker_after_its_slice() {
    // One worker: the spinner never waits, but it spawns; the other must get its turn.
    for free in [false, true] {
        let rt = runtime(1, free);
        rt.run(|| {
            let stop = Arc::new(AtomicBool::new(false));
            let flag = stop.clone();
            let spinner = go(move || {
                while !flag.load(Ordering::SeqCst) {
                    drop(go(|| ()));
                    for _ in 0..100_000 {
                        std::hint::spin_loop();
                    }
                }
            });
            yield_now();
            let flag = stop.clone();
            go(move || flag.store(true, Ordering::SeqCst)).join().unwrap();
            spinner.join().unwrap();
        });
    }
}

#[test]
fn task_locals_belong_to_goroutines() {
    greenroutine::task_local! {
        static NUMBER: Cell<usize> = Cell::new(7);
        static DROPS: Noting = Noting;
    }
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Noting;
    impl Drop for Noting {
        fn drop(&mut self) {
            // It may use other locals, and block.
            NUMBER.with(|number| number.set(number.get() + 1));
            yield_now();
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    on_goroutines(|| {
        let before = DROPPED.load(Ordering::SeqCst);
        let all: Vec<_> = (0..100)
            .map(|n| {
                go(move || {
                    NUMBER.with(|number| {
                        assert_eq!(number.get(), 7);
                        number.set(n);
                    });
                    yield_now();
                    NUMBER.with(|number| assert_eq!(number.get(), n));
                    DROPS.with(|_| ());
                })
            })
            .collect();
        for one in all {
            one.join().unwrap();
        }
        assert!(DROPPED.load(Ordering::SeqCst) >= before + 100);
    });
    greenroutine::task_local! {
        // Made by its own initialiser: the first one counts.
        static TWICE: (usize, Noting) = (TWICE_DEPTH.with(|depth| {
            depth.set(depth.get() + 1);
            if depth.get() == 1 { TWICE.with(|value| value.0 + 10) } else { depth.get() }
        }), Noting);
        static TWICE_DEPTH: Cell<usize> = Cell::new(0);
    }
    go(|| TWICE.with(|value| assert_eq!(value.0, 2))).join().unwrap();
    // A plain thread has its own, which ends with it.
    let before = DROPPED.load(Ordering::SeqCst);
    std::thread::spawn(|| {
        NUMBER.with(|number| assert_eq!(number.get(), 7));
        DROPS.with(|_| ());
    })
    .join()
    .unwrap();
    wait_until(|| DROPPED.load(Ordering::SeqCst) > before);
}
