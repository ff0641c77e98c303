//! `park`, `unpark`, `park_timeout`, `sleep`: tokens, time, and storms of both.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{on_all, on_goroutines, wait_until};
use greenroutine::{go, task, time, yield_now};

#[test]
fn an_unpark_before_the_park_counts_and_two_count_as_one() {
    on_goroutines(|| {
        let me = task::current().unwrap();
        me.unpark();
        me.unpark();
        task::park();
        let waker = me.clone();
        let other = go(move || waker.unpark());
        task::park();
        other.join().unwrap();
        task::park_timeout(Duration::from_micros(10));
    });
}

#[test]
fn unparked_from_a_plain_thread() {
    on_goroutines(|| {
        for _ in 0..50 {
            let me = task::current().unwrap();
            let thread = std::thread::spawn(move || me.unpark());
            task::park();
            thread.join().unwrap();
        }
    });
}

#[test]
fn park_timeout_ends_by_time_and_by_unpark() {
    on_goroutines(|| {
        let start = Instant::now();
        task::park_timeout(Duration::from_millis(2));
        assert!(start.elapsed() >= Duration::from_millis(2));
        let me = task::current().unwrap();
        go(move || me.unpark());
        let start = Instant::now();
        task::park_timeout(Duration::from_secs(1000));
        assert!(start.elapsed() < Duration::from_secs(500));
        task::park_timeout(Duration::ZERO);
    });
    // A plain thread has no handle, but it can wait for the time.
    let start = Instant::now();
    task::park_timeout(Duration::from_millis(1));
    assert!(start.elapsed() >= Duration::from_millis(1));
}

#[test]
fn sleep_lasts_at_least_as_long_as_it_should_and_in_order() {
    on_all(|| {
        time::sleep(Duration::ZERO);
        for micros in [1, 50, 1500] {
            let start = Instant::now();
            time::sleep(Duration::from_micros(micros));
            assert!(start.elapsed() >= Duration::from_micros(micros));
        }
    });
    on_goroutines(|| {
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let base = Instant::now() + Duration::from_millis(20);
        let all: Vec<_> = [3_u32, 1, 2, 0]
            .into_iter()
            .map(|n| {
                let order = order.clone();
                go(move || {
                    // Far enough apart that only a wrong order could mix them up on one worker.
                    time::sleep(
                        (base + n * Duration::from_millis(15)).saturating_duration_since(Instant::now()),
                    );
                    order.lock().unwrap().push(n);
                })
            })
            .collect();
        for one in all {
            one.join().unwrap();
        }
        assert_eq!(order.lock().unwrap().len(), 4);
    });
}

#[test]
fn a_sleeper_beside_a_pair_that_yields_is_served() {
    on_goroutines(|| {
        let done = Arc::new(AtomicUsize::new(0));
        let pair: Vec<_> = (0..2)
            .map(|_| {
                let done = done.clone();
                go(move || wait_until(|| done.load(Ordering::SeqCst) == 1))
            })
            .collect();
        go(|| time::sleep(Duration::from_micros(500))).join().unwrap();
        done.store(1, Ordering::SeqCst);
        for one in pair {
            one.join().unwrap();
        }
    });
}

#[test]
fn every_unpark_of_a_storm_arrives() {
    on_goroutines(|| {
        // Pairs that hand a turn to and fro, across workers and on one.
        let pairs: Vec<_> = (0..8)
            .map(|_| {
                let turn = Arc::new(AtomicUsize::new(0));
                let (other_turn, main) = (turn.clone(), Arc::new(std::sync::OnceLock::<task::Handle>::new()));
                let main_of_other = main.clone();
                let (sender, receiver) = std::sync::mpsc::channel();
                let other = go(move || {
                    sender.send(task::current().unwrap()).unwrap();
                    for round in 0..2000 {
                        while other_turn.load(Ordering::Acquire) != 2 * round + 1 {
                            task::park();
                        }
                        other_turn.store(2 * round + 2, Ordering::Release);
                        main_of_other.get().unwrap().unpark();
                    }
                });
                go(move || {
                    main.set(task::current().unwrap()).unwrap();
                    let peer = loop {
                        if let Ok(peer) = receiver.try_recv() {
                            break peer;
                        }
                        yield_now();
                    };
                    for round in 0..2000 {
                        turn.store(2 * round + 1, Ordering::Release);
                        peer.unpark();
                        while turn.load(Ordering::Acquire) != 2 * round + 2 {
                            task::park();
                        }
                    }
                    other.join().unwrap();
                })
            })
            .collect();
        for pair in pairs {
            pair.join().unwrap();
        }
    });
}

#[test]
fn timers_and_unparks_that_race_wake_once() {
    on_goroutines(|| {
        let all: Vec<_> = (0..16)
            .map(|n| {
                go(move || {
                    for round in 0..300_u64 {
                        let me = task::current().unwrap();
                        let waker = go(move || {
                            if (round + n) % 3 == 0 {
                                time::sleep(Duration::from_micros(round % 40));
                            }
                            me.unpark();
                        });
                        task::park_timeout(Duration::from_micros(20));
                        waker.join().unwrap();
                        // Takes the token that is left if the time was over first.
                        task::park_timeout(Duration::ZERO);
                    }
                })
            })
            .collect();
        for one in all {
            one.join().unwrap();
        }
    });
}
