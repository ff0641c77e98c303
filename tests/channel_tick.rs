//! `tick`: a message at intervals, each not before its time, and none made up for. No test asks that one comes soon.
//!
//! Written from the behaviour that the suite tick of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{LONG, ms, on_all, par};
use greenroutine::channel::{
    Receiver, RecvTimeoutError, Select, TryRecvError, after, bounded, select, select_biased, tick,
};
use greenroutine::time;

#[test]
fn it_fires_again_and_again_and_not_before_its_time() {
    on_all(|| {
        let start = Instant::now();
        let r = tick(ms(2));
        let mut last = start;
        for _ in 0..4 {
            let fired = r.recv().unwrap();
            assert!(fired >= last + ms(2), "two ticks are an interval apart");
            assert!(fired <= Instant::now());
            last = fired;
        }
    });
}

#[test]
fn ticks_that_nobody_received_are_not_made_up_for() {
    on_all(|| {
        let r = tick(ms(2));
        r.recv().unwrap();
        time::sleep(ms(9));
        let read = Instant::now();
        // The one that is held since.
        let second = r.try_recv().unwrap();
        assert!(second <= read);
        // From the read on, the intervals begin anew.
        let third = r.recv().unwrap();
        assert!(read.elapsed() >= ms(2));
        assert!(third >= second + ms(2));
    });
}

#[test]
fn the_message_is_the_time_it_was_due() {
    on_all(|| {
        let before = Instant::now();
        let r = tick(ms(2));
        let made = Instant::now();
        time::sleep(ms(7));
        let fired = r.recv().unwrap();
        assert!(before + ms(2) <= fired && fired <= made + ms(2));
    });
}

#[test]
fn it_holds_at_most_one_message() {
    on_all(|| {
        let check = |r: &Receiver<Instant>, len| {
            assert_eq!(r.capacity(), Some(1));
            assert_eq!(r.len(), len);
            assert_eq!((r.is_empty(), r.is_full()), (len == 0, len == 1));
        };
        check(&tick(LONG), 0);
        let r = tick(ms(1));
        time::sleep(ms(5));
        check(&r, 1);
        check(&r.clone(), 1);
        for n in 0..10 {
            assert_eq!(tick(ms(n)).capacity(), Some(1));
        }
        // Several intervals, one message, and then a whole interval without one.
        let read = Instant::now();
        assert!(r.try_recv().is_ok());
        assert!(r.recv().is_ok());
        assert!(read.elapsed() >= ms(1));
    });
}

#[test]
fn it_is_not_due_before_its_time() {
    on_all(|| {
        for r in [tick(LONG), tick(Duration::MAX)] {
            assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
            let start = Instant::now();
            assert_eq!(r.recv_timeout(ms(2)), Err(RecvTimeoutError::Timeout));
            assert!(start.elapsed() >= ms(2));
            assert_eq!(r.recv_deadline(start), Err(RecvTimeoutError::Timeout));
            select! {
                recv(r) -> _ => unreachable!(),
                default => {}
            }
            select! {
                recv(r) -> _ => unreachable!(),
                recv(tick(ms(1))) -> _ => {}
            }
        }
    });
}

#[test]
fn a_timeout_before_its_time_leaves_the_tick_for_later() {
    on_all(|| {
        let start = Instant::now();
        let r = tick(ms(6));
        if r.recv_timeout(ms(1)).is_err() {
            assert!(start.elapsed() >= ms(1));
            let fired = r.recv_timeout(LONG).unwrap();
            assert!(fired >= start + ms(6) && start.elapsed() >= ms(6));
        }
        assert!(r.recv_timeout(LONG).unwrap() >= start + ms(12));
    });
}

#[test]
fn intervals_of_zero_are_always_due() {
    on_all(|| {
        let r = tick(Duration::ZERO);
        for _ in 0..100 {
            assert!(r.try_recv().is_ok());
            assert!(r.recv().is_ok());
            select! {
                recv(r) -> fired => assert!(fired.is_ok()),
                default => unreachable!(),
            }
        }
    });
}

#[test]
fn each_tick_goes_to_one_receiver() {
    const EACH: usize = 4;
    const INTERVAL: Duration = Duration::from_micros(300);
    on_all(|| {
        let r = tick(INTERVAL);
        let all = Mutex::new(Vec::new());
        par(|p| {
            for n in 0..4 {
                let (r, all) = (r.clone(), &all);
                p.go(move || {
                    for _ in 0..EACH {
                        let fired = match n {
                            0 => r.recv().unwrap(),
                            1 => r.recv_timeout(LONG).unwrap(),
                            2 => select! { recv(r) -> fired => fired.unwrap(), default(LONG) => unreachable!() },
                            _ => loop {
                                let mut sel = Select::new();
                                sel.recv(&r);
                                assert_eq!(sel.ready(), 0);
                                if let Ok(fired) = r.try_recv() {
                                    break fired;
                                }
                            },
                        };
                        all.lock().unwrap().push(fired);
                    }
                });
            }
        });
        let mut all = all.into_inner().unwrap();
        assert_eq!(all.len(), 4 * EACH);
        all.sort();
        assert!(all.windows(2).all(|pair| pair[1] >= pair[0] + INTERVAL), "{all:?}");
    });
}

#[test]
fn two_tickers_serve_two_receivers_to_the_end() {
    on_all(|| {
        let (r1, r2) = (tick(Duration::from_micros(200)), tick(Duration::from_micros(300)));
        par(|p| {
            for _ in 0..2 {
                p.go(|| {
                    for _ in 0..10 {
                        select! {
                            recv(r1) -> fired => assert!(fired.is_ok()),
                            recv(r2) -> fired => assert!(fired.is_ok()),
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn the_earlier_one_wins() {
    on_all(|| {
        select! {
            recv(tick(ms(2))) -> _ => {}
            recv(tick(LONG)) -> _ => unreachable!(),
        }
        select_biased! {
            recv(tick(LONG)) -> _ => unreachable!(),
            recv(tick(ms(2))) -> _ => {}
        }
    });
}

#[test]
fn a_ticker_beside_a_busy_channel_is_served() {
    on_all(|| {
        let (s, r) = bounded(1);
        par(|p| {
            p.go(move || while s.send(()).is_ok() {});
            let ticker = tick(ms(1));
            let (mut ticks, mut values) = (0, 0_u64);
            while ticks < 3 || values == 0 {
                select! {
                    recv(r) -> _ => values += 1,
                    recv(ticker) -> _ => ticks += 1,
                }
            }
            drop(r);
        });
    });
}

#[test]
fn a_loop_over_ticks_ends_by_a_timeout_or_by_another_channel() {
    on_all(|| {
        const INTERVAL: Duration = Duration::from_micros(200);
        let start = Instant::now();
        let ticker = tick(INTERVAL);
        let end = after(ms(3));
        let mut ticks = 0;
        loop {
            select! {
                recv(ticker) -> _ => ticks += 1,
                recv(end) -> _ => break,
            }
        }
        assert!(start.elapsed() >= ticks * INTERVAL, "{ticks} ticks");
        assert_eq!(ticker.iter().take(3).count(), 3);
    });
}

#[test]
fn equals_are_taken_alike() {
    const COUNT: usize = 600;
    on_all(|| {
        let mut hits = [0; 2];
        let (r1, r2) = (tick(Duration::ZERO), tick(Duration::ZERO));
        for _ in 0..COUNT {
            select! {
                recv(r1) -> _ => hits[0] += 1,
                recv(r2) -> _ => hits[1] += 1,
            }
        }
        assert!(hits.iter().all(|&hits| hits >= COUNT / 4), "{hits:?}");
        let mut hits = [0; 5];
        for _ in 0..COUNT {
            select! {
                recv(r1) -> _ => hits[0] += 1,
                recv(r1) -> _ => hits[1] += 1,
                recv(r1) -> _ => hits[2] += 1,
                recv(r1) -> _ => hits[3] += 1,
                recv(r1) -> _ => hits[4] += 1,
            }
        }
        assert!(hits.iter().all(|&hits| hits >= COUNT / 10), "{hits:?}");
    });
}
