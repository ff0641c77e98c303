//! Stops, seen from threads that compute, sleep, come and go. The tests of the library share one process, so every stop here stops them all.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use super::stop::{self, Stopped};
use super::{blocked, critical, record};
use crate::sys::{clock, stop as signal};

/// Stops are the collector's: one at a time, from an exempt thread.
static ONE: Mutex<()> = Mutex::new(());

fn as_collector<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let _one = ONE.lock().unwrap_or_else(|error| error.into_inner());
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            assert!(record::exempt());
            stop::prepare().expect("a signal");
            work()
        });
        collector.join().expect("no panic")
    })
}

fn stopped() -> Stopped {
    stop::look_ahead();
    stop::stop().expect("no thread blocks signals")
}

#[test]
fn nobody_counts_while_the_world_is_stopped() {
    let count = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (count, done) = (count.clone(), done.clone());
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    as_collector(|| {
        for _ in 0..200 {
            let world = stopped();
            let before = count.load(Ordering::SeqCst);
            for _ in 0..1000 {
                crate::arch::spin_hint();
            }
            assert_eq!(count.load(Ordering::SeqCst), before);
            drop(world);
        }
    });
    done.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

#[test]
fn what_a_stopped_thread_holds_is_on_its_stack_or_in_its_registers() {
    const SECRET: u64 = 0x6b5e_c2e7_1234_5678;
    let ready = Arc::new(Barrier::new(2));
    let done = Arc::new(AtomicBool::new(false));
    let thread = {
        let (ready, done) = (ready.clone(), done.clone());
        std::thread::spawn(move || {
            let mut held = std::hint::black_box(SECRET - 1) + 1;
            ready.wait();
            while !done.load(Ordering::Relaxed) {
                held = held.rotate_left(7).rotate_right(7);
            }
            assert_eq!(std::hint::black_box(held), SECRET);
        })
    };
    ready.wait();
    as_collector(|| {
        let world = stopped();
        let mut seen = false;
        for record in world.threads() {
            let (start, end) = record.registers();
            let stack = record.bounds().map(|(_, high)| (record.sp() & !7, high));
            for (start, end) in [Some((start, end)), stack].into_iter().flatten() {
                for at in (start..end & !7).step_by(8) {
                    // SAFETY: a stopped thread's registers, or its stack from the stack pointer up.
                    seen |= unsafe { crate::arch::racy_load(at) } == SECRET as usize;
                }
            }
        }
        drop(world);
        assert!(seen, "a rotated value is there at every instruction but one or two, and the loop has more");
    });
    done.store(true, Ordering::Relaxed);
    thread.join().expect("no panic");
}

#[test]
fn sleepers_are_held_and_not_woken() {
    let word = Arc::new(AtomicU32::new(0));
    let returns = Arc::new(AtomicU32::new(0));
    let sleeper = {
        let (word, returns) = (word.clone(), returns.clone());
        std::thread::spawn(move || {
            while word.load(Ordering::Acquire) == 0 {
                blocked::wait(&word, 0, u64::MAX);
                returns.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    as_collector(|| {
        for _ in 0..100 {
            drop(stopped());
        }
    });
    word.store(1, Ordering::Release);
    crate::sys::futex::wake(&*word, 1);
    sleeper.join().expect("no panic");
    // One for the wake; those few that the stops found before or after its sleep are interrupted.
    assert!(returns.load(Ordering::Relaxed) <= 50, "{returns:?}");
}

#[test]
fn critical_stretches_are_not_interrupted() {
    let pair = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let thread = {
        let (pair, done) = (pair.clone(), done.clone());
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                critical::run(|| {
                    pair.0.fetch_add(1, Ordering::Relaxed);
                    pair.1.fetch_add(1, Ordering::Relaxed);
                });
            }
        })
    };
    as_collector(|| {
        for _ in 0..500 {
            let world = stopped();
            assert_eq!(pair.0.load(Ordering::SeqCst), pair.1.load(Ordering::SeqCst));
            drop(world);
        }
    });
    done.store(true, Ordering::Relaxed);
    thread.join().expect("no panic");
}

#[test]
fn threads_that_come_and_go_are_stopped() {
    let done = Arc::new(AtomicBool::new(false));
    let running = Arc::new(AtomicU64::new(0));
    let makers: Vec<_> = (0..2)
        .map(|_| {
            let (done, running) = (done.clone(), running.clone());
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let running = running.clone();
                    let child = std::thread::spawn(move || {
                        for _ in 0..1000 {
                            running.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                    child.join().expect("no panic");
                }
            })
        })
        .collect();
    as_collector(|| {
        for _ in 0..300 {
            let world = stopped();
            let before = running.load(Ordering::SeqCst);
            for _ in 0..2000 {
                crate::arch::spin_hint();
            }
            assert_eq!(running.load(Ordering::SeqCst), before);
            drop(world);
        }
    });
    done.store(true, Ordering::Relaxed);
    makers.into_iter().for_each(|maker| maker.join().expect("no panic"));
}

/// Nanoseconds that a thread stays deaf: more than the collector's patience.
const DEAF_NS: u64 = 60_000_000;

fn compute_for(nanoseconds: u64) {
    let end = clock::now_ns() + nanoseconds;
    while clock::now_ns() < end {
        crate::arch::spin_hint();
    }
}

/// As in `posix_spawn`, which a busy machine does not let finish for a while.
#[test]
fn a_thread_that_the_c_library_makes_deaf_for_a_moment_is_waited_for() {
    let ready = Arc::new(Barrier::new(2));
    let (count, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let thread = {
        let (ready, count, done) = (ready.clone(), count.clone(), done.clone());
        std::thread::spawn(move || {
            ready.wait();
            // Not before: while it is deaf it must wait for nobody who may stand still.
            signal::block_all(true);
            let me = record::mine().expect("a thread that has allocated");
            while me.state.load(Ordering::Acquire) != record::state::REQUESTED {
                crate::arch::spin_hint();
            }
            compute_for(DEAF_NS);
            signal::block_all(false);
            while !done.load(Ordering::Relaxed) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    ready.wait();
    as_collector(|| {
        let world = stopped();
        let before = count.load(Ordering::SeqCst);
        compute_for(1_000_000);
        let after = count.load(Ordering::SeqCst);
        // A panic needs the world.
        drop(world);
        assert_eq!(after, before);
    });
    done.store(true, Ordering::Relaxed);
    thread.join().expect("no panic");
}

/// A thread that nobody knows yet and that hears nothing yet, as in its first instants.
#[test]
fn a_thread_that_is_being_born_is_stopped() {
    static BORN: AtomicBool = AtomicBool::new(false);
    static STOPPING: AtomicBool = AtomicBool::new(false);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static DONE: AtomicBool = AtomicBool::new(false);
    fn newborn() {
        signal::block_all(true);
        BORN.store(true, Ordering::SeqCst);
        while !STOPPING.load(Ordering::SeqCst) {
            crate::arch::spin_hint();
        }
        compute_for(3_000_000);
        signal::block_all(false);
        while !DONE.load(Ordering::Relaxed) {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    }
    as_collector(|| {
        signal::foreign_thread(newborn);
        while !BORN.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        STOPPING.store(true, Ordering::SeqCst);
        let world = stopped();
        let before = COUNT.load(Ordering::SeqCst);
        // Long enough for it to be heard of, if it runs.
        compute_for(2 * DEAF_NS);
        let after = COUNT.load(Ordering::SeqCst);
        drop(world);
        assert_eq!(after, before);
    });
    DONE.store(true, Ordering::Relaxed);
}
