//! Bugs that testing of the ordinary kind finds once in a while: each is found here within a thousand seeds, and its repair passes all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use greenroutine::sync::{Condvar, Mutex, Once, RwLock, Semaphore, WaitGroup};
use greenroutine::{chan, channel, context, go, scope, select, task, testing, time, yield_now};

const SEEDS: usize = 1000;

/// Some seed shows the bug, and shows it again.
fn finds(bug: fn()) {
    for seed in 0..SEEDS as u64 {
        if std::panic::catch_unwind(|| testing::run(seed, bug)).is_err() {
            let again = std::panic::catch_unwind(|| testing::run(seed, bug));
            assert!(again.is_err(), "seed {seed} replays");
            return;
        }
    }
    panic!("no seed of {SEEDS} shows the bug");
}

fn passes(repaired: fn()) {
    testing::explore(SEEDS, repaired);
}

#[test]
fn a_lost_update() {
    fn bug() {
        let count = AtomicUsize::new(0);
        scope(|s| {
            for _ in 0..2 {
                s.go(|| {
                    let read = count.load(SeqCst);
                    yield_now();
                    count.store(read + 1, SeqCst);
                });
            }
        });
        assert_eq!(count.load(SeqCst), 2);
    }
    finds(bug);
}

#[test]
fn a_check_and_an_act_under_two_locks() {
    fn transfer(atomic: bool) {
        let balance = Mutex::new(100);
        scope(|s| {
            for _ in 0..2 {
                s.go(|| {
                    if atomic {
                        let mut balance = balance.lock();
                        if *balance >= 100 {
                            *balance -= 100;
                        }
                    } else if *balance.lock() >= 100 {
                        *balance.lock() -= 100;
                    }
                });
            }
        });
        assert!(*balance.lock() >= 0);
    }
    finds(|| transfer(false));
    passes(|| transfer(true));
}

/// Both wait already, one after the other, when the mutex becomes free: which of them is woken is for the seed to say, and barging alone would not show it.
#[test]
fn a_mutex_that_is_taken_for_a_queue() {
    fn serve(in_order_of_coming: bool) {
        let (lock, served) = (Mutex::new(()), Mutex::new(Vec::new()));
        let (tickets, called) = (AtomicUsize::new(0), Condvar::new());
        scope(|s| {
            let held = lock.lock();
            for _ in 0..2 {
                s.go(|| {
                    let ticket = tickets.fetch_add(1, SeqCst);
                    let turn = lock.lock();
                    let mut served = served.lock();
                    if in_order_of_coming {
                        drop(turn);
                        called.wait_while(&mut served, |served: &mut Vec<usize>| served.len() != ticket);
                        called.notify_all();
                    }
                    served.push(ticket);
                });
                testing::settle();
            }
            drop(held);
        });
        assert_eq!(*served.lock(), [0, 1]);
    }
    finds(|| serve(false));
    passes(|| serve(true));
}

/// Two wait for a `Once` whose first call panics: either may be the next to try.
#[test]
fn a_second_try_that_is_taken_for_the_first_in_line() {
    fn retry() {
        let (once, who) = (Once::new(), AtomicUsize::new(0));
        let (fail, failing) = chan::<()>(0);
        scope(|s| {
            let first = s.go(|| {
                once.call_once(|| {
                    let _ = failing.recv();
                    std::panic::resume_unwind(Box::new("the first call fails"));
                });
            });
            testing::settle();
            for n in 1..=2 {
                let (once, who) = (&once, &who);
                s.go(move || once.call_once(|| who.store(n, SeqCst)));
                testing::settle();
            }
            drop(fail);
            assert!(first.join().is_err());
        });
        assert_eq!(who.load(SeqCst), 1, "the first in line");
    }
    finds(retry);
}

#[test]
fn locks_in_opposite_orders() {
    fn locks(same_order: bool) {
        let (a, b) = (Mutex::new(()), Mutex::new(()));
        scope(|s| {
            s.go(|| {
                let _a = a.lock();
                let _b = b.lock();
            });
            s.go(|| {
                let (first, second) = if same_order { (&a, &b) } else { (&b, &a) };
                let _first = first.lock();
                let _second = second.lock();
            });
        });
    }
    finds(|| locks(false));
    passes(|| locks(true));
}

#[test]
fn philosophers() {
    fn dine(ordered: bool) {
        let forks: [Mutex<()>; 4] = std::array::from_fn(|_| Mutex::new(()));
        scope(|s| {
            for n in 0..forks.len() {
                let forks = &forks;
                s.go(move || {
                    let (left, right) = (n, (n + 1) % forks.len());
                    let (first, second) =
                        if ordered { (left.min(right), left.max(right)) } else { (left, right) };
                    let _first = forks[first].lock();
                    let _second = forks[second].lock();
                });
            }
        });
    }
    finds(|| dine(false));
    passes(|| dine(true));
}

#[test]
fn a_notification_before_the_wait() {
    fn notify(checks: bool) {
        let (ready, changed) = (Mutex::new(false), Condvar::new());
        scope(|s| {
            s.go(|| {
                *ready.lock() = true;
                changed.notify_one();
            });
            s.go(|| {
                let mut ready = ready.lock();
                if checks {
                    changed.wait_while(&mut ready, |ready| !*ready);
                } else {
                    changed.wait(&mut ready);
                }
            });
        });
    }
    finds(|| notify(false));
    passes(|| notify(true));
}

#[test]
fn a_condition_that_is_looked_at_once() {
    fn consume(in_a_loop: bool) {
        let (items, changed) = (Mutex::new(0), Condvar::new());
        scope(|s| {
            for _ in 0..2 {
                s.go(|| {
                    let mut items = items.lock();
                    if in_a_loop {
                        changed.wait_while(&mut items, |items| *items == 0);
                    } else if *items == 0 {
                        changed.wait(&mut items);
                    }
                    *items -= 1;
                    assert!(*items >= 0, "took what was not there");
                });
            }
            s.go(|| {
                for _ in 0..2 {
                    *items.lock() += 1;
                    changed.notify_all();
                    yield_now();
                }
            });
        });
    }
    finds(|| consume(false));
    passes(|| consume(true));
}

#[test]
fn one_notification_for_two_kinds_of_waiters() {
    fn buffer(all: bool) {
        let (full, changed) = (Mutex::new(false), Condvar::new());
        let wake = || if all { changed.notify_all() > 0 } else { changed.notify_one() };
        scope(|s| {
            for _ in 0..2 {
                s.go(|| {
                    let mut full = full.lock();
                    changed.wait_while(&mut full, |full| *full);
                    *full = true;
                    wake();
                });
                s.go(|| {
                    let mut full = full.lock();
                    changed.wait_while(&mut full, |full| !*full);
                    *full = false;
                    wake();
                });
            }
        });
    }
    finds(|| buffer(false));
    passes(|| buffer(true));
}

#[test]
fn a_send_that_nobody_receives_any_more() {
    fn first_of_two(room: usize) {
        let (s, r) = chan(room);
        let handles: Vec<_> = (0..2)
            .map(|n| {
                let s = s.clone();
                go(move || s.send(n).unwrap())
            })
            .collect();
        r.recv().unwrap();
        // Keeps the receiver: the second sender leaks, as Go's does.
        for handle in handles {
            handle.join().unwrap();
        }
        drop(r);
    }
    finds(|| first_of_two(0));
    passes(|| first_of_two(1));
}

#[test]
fn a_wait_group_that_is_added_to_too_late() {
    fn count(before: bool) {
        let group = Arc::new(WaitGroup::new());
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..2 {
            if before {
                group.add(1);
            }
            let (group, done) = (group.clone(), done.clone());
            go(move || {
                if !before {
                    group.add(1);
                }
                done.fetch_add(1, SeqCst);
                group.done();
            });
        }
        group.wait();
        assert_eq!(done.load(SeqCst), 2);
    }
    finds(|| count(false));
    passes(|| count(true));
}

#[test]
fn initialised_twice() {
    fn init(once: bool) {
        let (made, times, guard) = (AtomicBool::new(false), AtomicUsize::new(0), Once::new());
        let make = || {
            yield_now();
            times.fetch_add(1, SeqCst);
            made.store(true, SeqCst);
        };
        scope(|s| {
            for _ in 0..2 {
                s.go(|| {
                    if once {
                        guard.call_once(make);
                    } else if !made.load(SeqCst) {
                        make();
                    }
                });
            }
        });
        assert_eq!(times.load(SeqCst), 1);
    }
    finds(|| init(false));
    passes(|| init(true));
}

#[test]
fn a_reader_that_becomes_a_writer() {
    fn upgrade(lets_go: bool) {
        let value = RwLock::new(0);
        scope(|s| {
            for _ in 0..2 {
                s.go(|| {
                    let read = value.read();
                    let seen = *read;
                    if lets_go {
                        drop(read);
                        *value.write() += 1;
                    } else {
                        // Deadlock if both read first.
                        let write = value.try_write_for(Duration::from_secs(1));
                        let mut write = write.expect("both wait for the other's read to end");
                        *write = seen + 1;
                    }
                });
            }
        });
    }
    finds(|| upgrade(false));
    passes(|| upgrade(true));
}

#[test]
fn permits_taken_one_by_one() {
    fn take(at_once: bool) {
        let permits = Semaphore::new(3);
        scope(|s| {
            for _ in 0..2 {
                s.go(|| {
                    if at_once {
                        let _both = permits.acquire(2);
                        yield_now();
                    } else {
                        let _first = permits.acquire(1);
                        yield_now();
                        let _second = permits.acquire(2);
                    }
                });
            }
        });
    }
    finds(|| take(false));
    passes(|| take(true));
}

#[test]
fn a_stop_flag_that_a_select_may_overlook() {
    fn stop() {
        let (s, work) = channel::unbounded();
        let (stop, stopped) = chan::<()>(0);
        let handle = go(move || {
            let mut after_stop = 0;
            loop {
                select! {
                    recv(work) -> job => after_stop += usize::from(job == Ok("after")),
                    recv(stopped) -> _ => return after_stop,
                }
            }
        });
        s.send("before").unwrap();
        drop(stop);
        s.send("after").unwrap();
        assert_eq!(handle.join().unwrap(), 0, "worked after the stop");
    }
    finds(stop);
}

#[test]
fn a_timeout_that_races_with_the_answer() {
    fn ask(margin: u64) {
        let (s, r) = chan(1);
        go(move || {
            time::sleep(Duration::from_millis(10));
            let _ = s.send(1);
        });
        assert_eq!(r.recv_timeout(Duration::from_millis(10 + margin)), Ok(1));
    }
    finds(|| ask(0));
    passes(|| ask(1));
}

#[test]
fn an_unpark_that_is_taken_for_another() {
    fn wait(in_a_loop: bool) {
        let ready = Arc::new(AtomicBool::new(false));
        let me = task::current().unwrap();
        let (noise, flag) = (me.clone(), ready.clone());
        go(move || noise.unpark());
        go(move || {
            flag.store(true, SeqCst);
            me.unpark();
        });
        if in_a_loop {
            while !ready.load(SeqCst) {
                task::park();
            }
        } else {
            task::park();
        }
        assert!(ready.load(SeqCst));
    }
    finds(|| wait(false));
    passes(|| wait(true));
}

#[test]
fn a_cancelled_context_that_is_not_waited_for() {
    fn cancel(waits: bool) {
        let (context, cancel) = context::background().with_cancel();
        let busy = Arc::new(AtomicBool::new(false));
        let (inside, seen) = (busy.clone(), context.clone());
        let handle = go(move || {
            while seen.err().is_none() {
                inside.store(true, SeqCst);
                yield_now();
                inside.store(false, SeqCst);
            }
        });
        yield_now();
        cancel.cancel();
        if waits {
            handle.join().unwrap();
        }
        assert!(!busy.load(SeqCst), "still inside");
    }
    finds(|| cancel(false));
    passes(|| cancel(true));
}
