//! `after` and `at`: one message, not before its time. No test asks that it comes soon.
//!
//! Written from the behaviour that the suite after of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{LONG, Rng, ms, on_all, par, settle};
use greenroutine::channel::{
    Receiver, RecvTimeoutError, Select, TryRecvError, after, at, bounded, never, select, select_biased,
};
use greenroutine::{time, yield_now};

#[test]
fn it_fires_once_and_not_before_its_time() {
    on_all(|| {
        let start = Instant::now();
        let r = after(ms(3));
        let fired = r.recv().unwrap();
        // The message is the time that was asked for, and it was not delivered before that.
        assert!(fired >= start + ms(3));
        assert!(fired <= Instant::now());
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(r.recv_timeout(ms(1)), Err(RecvTimeoutError::Timeout));
        select! {
            recv(r) -> _ => unreachable!(),
            default => {}
        }
        select! {
            recv(r) -> _ => unreachable!(),
            recv(after(ms(1))) -> _ => {}
        }
    });
}

#[test]
fn the_message_of_at_is_its_instant() {
    on_all(|| {
        let when = Instant::now() + ms(2);
        let r = at(when);
        assert_eq!(r.recv(), Ok(when));
        assert!(Instant::now() >= when);
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        // In the past: at once.
        assert_eq!(at(when).try_recv(), Ok(when));
        let earlier = when.checked_sub(ms(1)).unwrap();
        assert_eq!(at(earlier).recv_timeout(Duration::ZERO), Ok(earlier));
    });
}

#[test]
fn the_message_is_the_time_it_was_due_however_late_it_is_read() {
    on_all(|| {
        let when = Instant::now() + ms(1);
        let r = at(when);
        time::sleep(ms(4));
        assert_eq!(r.try_recv(), Ok(when));
        let start = Instant::now();
        let r = after(ms(1));
        let made = Instant::now();
        time::sleep(ms(4));
        let fired = r.recv().unwrap();
        assert!(start + ms(1) <= fired && fired <= made + ms(1));
    });
}

#[test]
fn a_duration_of_zero_is_due_at_once() {
    on_all(|| {
        for _ in 0..10 {
            assert!(after(Duration::ZERO).try_recv().is_ok());
            select! {
                recv(after(Duration::ZERO)) -> _ => {}
                default => unreachable!(),
            }
        }
    });
}

#[test]
fn what_is_far_off_or_beyond_the_clock_is_not_due() {
    on_all(|| {
        for r in [after(LONG), after(Duration::MAX), at(Instant::now() + LONG)] {
            assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
            let start = Instant::now();
            assert_eq!(r.recv_timeout(ms(2)), Err(RecvTimeoutError::Timeout));
            assert!(start.elapsed() >= ms(2));
            select! {
                recv(r) -> _ => unreachable!(),
                default => {}
            }
        }
    });
}

#[test]
fn it_holds_one_message_from_its_time_until_that_is_received() {
    on_all(|| {
        let check = |r: &Receiver<Instant>, len| {
            assert_eq!(r.capacity(), Some(1));
            assert_eq!(r.len(), len);
            assert_eq!((r.is_empty(), r.is_full()), (len == 0, len == 1));
        };
        check(&after(LONG), 0);
        let r = after(ms(1));
        time::sleep(ms(2));
        check(&r, 1);
        let clone = r.clone();
        check(&clone, 1);
        r.recv().unwrap();
        check(&r, 0);
        check(&clone, 0);
        for n in 0..10 {
            assert_eq!(after(ms(n)).capacity(), Some(1));
        }
    });
}

#[test]
fn a_timeout_before_its_time_leaves_the_message_for_later() {
    on_all(|| {
        let start = Instant::now();
        let r = after(ms(6));
        if let Err(error) = r.recv_timeout(ms(1)) {
            assert_eq!(error, RecvTimeoutError::Timeout);
            assert!(start.elapsed() >= ms(1));
            let fired = r.recv_timeout(LONG).unwrap();
            assert!(fired >= start + ms(6) && start.elapsed() >= ms(6));
        } else {
            // We were stopped for long enough that both were due.
            assert!(start.elapsed() >= ms(6));
        }
        assert_eq!(r.recv_deadline(Instant::now() + ms(1)), Err(RecvTimeoutError::Timeout));
        assert_eq!(r.recv_deadline(start), Err(RecvTimeoutError::Timeout));
    });
}

#[test]
fn one_of_many_receivers_gets_it() {
    on_all(|| {
        for _ in 0..10 {
            let r = after(ms(1));
            let hits = AtomicUsize::new(0);
            par(|p| {
                for _ in 0..4 {
                    let (r, hits) = (r.clone(), &hits);
                    p.go(move || {
                        let timeout = after(ms(4));
                        select! {
                            recv(r) -> _ => { hits.fetch_add(1, Ordering::SeqCst); }
                            recv(timeout) -> _ => {}
                        }
                    });
                }
            });
            let late = usize::from(r.try_recv().is_ok());
            assert_eq!(hits.into_inner() + late, 1);
        }
    });
}

#[test]
fn two_of_them_serve_two_receivers() {
    on_all(|| {
        let (r1, r2) = (after(ms(2)), after(ms(2)));
        par(|p| {
            for _ in 0..2 {
                p.go(|| {
                    select! {
                        recv(r1) -> fired => assert!(fired.is_ok()),
                        recv(r2) -> fired => assert!(fired.is_ok()),
                    }
                });
            }
        });
        assert!(r1.is_empty() && r2.is_empty());
    });
}

#[test]
fn the_earlier_one_wins() {
    on_all(|| {
        select! {
            recv(after(ms(2))) -> _ => {}
            recv(after(LONG)) -> _ => unreachable!(),
        }
        select! {
            recv(after(LONG)) -> _ => unreachable!(),
            recv(after(ms(2))) -> _ => {}
        }
        select_biased! {
            recv(after(LONG)) -> _ => unreachable!(),
            recv(after(ms(2))) -> _ => {}
            default(LONG) => unreachable!(),
        }
        // A timer as the timeout of others.
        let (_s, r) = bounded::<()>(0);
        let start = Instant::now();
        select! {
            recv(r) -> _ => unreachable!(),
            recv(never::<()>()) -> _ => unreachable!(),
            recv(after(ms(2))) -> _ => assert!(start.elapsed() >= ms(2)),
        }
    });
}

#[test]
fn a_default_beats_what_is_not_due_and_loses_to_what_is() {
    on_all(|| {
        for _ in 0..10 {
            select! {
                recv(after(Duration::ZERO)) -> _ => {}
                default => unreachable!(),
            }
            select! {
                recv(after(LONG)) -> _ => unreachable!(),
                default => {}
            }
            select! {
                recv(after(LONG)) -> _ => unreachable!(),
                default(Duration::from_micros(100)) => {}
            }
        }
    });
}

/// Due at once and a little later.
fn many(count: u64) -> Vec<Receiver<Instant>> {
    (0..count).map(|n| after(Duration::from_micros(n * 30))).collect()
}

#[test]
fn each_of_many_fires_for_one_of_many_selections() {
    const COUNT: usize = 100;
    on_all(|| {
        let all = many(COUNT as u64);
        let hits: Vec<_> = (0..COUNT).map(|_| AtomicUsize::new(0)).collect();
        let total = AtomicUsize::new(0);
        par(|p| {
            for _ in 0..4 {
                p.go(|| {
                    while total.load(Ordering::SeqCst) < COUNT {
                        let timeout = after(ms(1));
                        let mut sel = Select::new();
                        for r in &all {
                            sel.recv(r);
                        }
                        let timed_out = sel.recv(&timeout);
                        let oper = sel.select();
                        if oper.index() == timed_out {
                            oper.recv(&timeout).unwrap();
                        } else {
                            let index = oper.index();
                            oper.recv(&all[index]).unwrap();
                            hits[index].fetch_add(1, Ordering::SeqCst);
                            total.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(hits.iter().all(|hits| hits.load(Ordering::SeqCst) == 1));
    });
}

#[test]
fn each_of_many_is_ready_until_somebody_takes_it() {
    const COUNT: usize = 100;
    on_all(|| {
        let all = many(COUNT as u64);
        let hits: Vec<_> = (0..COUNT).map(|_| AtomicUsize::new(0)).collect();
        let total = AtomicUsize::new(0);
        par(|p| {
            for _ in 0..4 {
                p.go(|| {
                    while total.load(Ordering::SeqCst) < COUNT {
                        let timeout = after(ms(1));
                        let mut sel = Select::new();
                        for r in &all {
                            sel.recv(r);
                        }
                        sel.recv(&timeout);
                        let index = sel.ready();
                        if index == COUNT {
                            timeout.try_recv().unwrap();
                        } else if all[index].try_recv().is_ok() {
                            hits[index].fetch_add(1, Ordering::SeqCst);
                            total.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(hits.iter().all(|hits| hits.load(Ordering::SeqCst) == 1));
    });
}

#[test]
fn clones_come_and_go_while_it_fires() {
    on_all(|| {
        for n in 0..20 {
            let r = after(Duration::from_micros(n * 20));
            let hits = AtomicUsize::new(0);
            par(|p| {
                for _ in 0..5 {
                    p.go(|| {
                        let r = r.clone();
                        for _ in 0..10 {
                            hits.fetch_add(usize::from(r.clone().try_recv().is_ok()), Ordering::SeqCst);
                            yield_now();
                        }
                    });
                }
            });
            let late = usize::from(r.recv_timeout(ms(2)).is_ok());
            assert_eq!(hits.into_inner() + late, 1);
        }
    });
}

fn assert_alike(hits: &[usize]) {
    let share = hits.iter().sum::<usize>() / hits.len();
    assert!(hits.iter().all(|&hits| hits >= share / 2), "{hits:?}");
}

#[test]
fn equals_are_taken_alike() {
    const COUNT: usize = 600;
    on_all(|| {
        let mut hits = [0; 2];
        for _ in 0..COUNT {
            select! {
                recv(after(Duration::ZERO)) -> _ => hits[0] += 1,
                recv(after(Duration::ZERO)) -> _ => hits[1] += 1,
            }
        }
        assert_alike(&hits);
        let mut hits = [0; 5];
        for _ in 0..COUNT {
            let r = after(Duration::ZERO);
            select! {
                recv(r) -> _ => hits[0] += 1,
                recv(r) -> _ => hits[1] += 1,
                recv(r) -> _ => hits[2] += 1,
                recv(r) -> _ => hits[3] += 1,
                recv(r) -> _ => hits[4] += 1,
            }
        }
        assert_alike(&hits);
    });
}

#[test]
fn equals_that_were_waited_for_are_taken_alike() {
    on_all(|| {
        let mut hits = [0; 3];
        for _ in 0..150 {
            let when = Instant::now() + Duration::from_micros(30);
            select! {
                recv(at(when)) -> _ => hits[0] += 1,
                recv(at(when)) -> _ => hits[1] += 1,
                recv(at(when)) -> _ => hits[2] += 1,
            }
        }
        assert_alike(&hits);
    });
}

#[test]
fn those_that_are_dropped_before_their_time_harm_nobody() {
    on_all(|| {
        let mut rng = Rng(3);
        for _ in 0..300 {
            drop(after(Duration::from_micros(rng.below(200))));
        }
        par(|p| {
            for n in 0..20 {
                p.go(move || {
                    let r = after(Duration::from_micros(n * 10));
                    select! {
                        recv(r) -> _ => {}
                        default(Duration::from_micros(100)) => {}
                    }
                });
            }
        });
        after(ms(1)).recv().unwrap();
    });
}

#[test]
fn it_never_disconnects_and_iterates_over_its_one_message() {
    on_all(|| {
        let r = after(ms(1));
        assert!(r.iter().next().is_some());
        assert_eq!(r.try_iter().next(), None);
        settle();
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        let fired: Vec<_> = after(Duration::ZERO).try_iter().collect();
        assert_eq!(fired.len(), 1);
    });
}
