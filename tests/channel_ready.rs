//! `Select`'s other half: `ready`, `try_ready`, and with a timeout or deadline, which say what could be done and leave the doing to the caller.
//!
//! Written from the behaviour that the suite ready of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;

use std::any::Any;
use std::time::{Duration, Instant};

use common::{LONG, ms, on_all, par, settle, wait_until};
use greenroutine::channel::{
    ReadyTimeoutError, Receiver, Select, Sender, TryReadyError, TryRecvError, TrySendError, after, bounded,
    tick, unbounded,
};
use greenroutine::time;

fn receives<'a, T>(all: &[&'a Receiver<T>]) -> Select<'a> {
    let mut sel = Select::new();
    for r in all {
        sel.recv(r);
    }
    sel
}

fn sends<'a, T>(all: &[&'a Sender<T>]) -> Select<'a> {
    let mut sel = Select::new();
    for s in all {
        sel.send(s);
    }
    sel
}

#[test]
fn the_one_that_has_a_value_is_ready_and_keeps_it() {
    on_all(|| {
        let all: Vec<_> = (0..5).map(|_| unbounded()).collect();
        let receivers: Vec<_> = all.iter().map(|(_, r)| r).collect();
        let mut sel = receives(&receivers);
        for (n, (s, r)) in all.iter().enumerate() {
            s.send(n).unwrap();
            assert_eq!(sel.ready(), n);
            assert_eq!(sel.try_ready(), Ok(n));
            assert_eq!(sel.ready_timeout(Duration::ZERO), Ok(n));
            assert_eq!(sel.ready_deadline(Instant::now()), Ok(n));
            assert_eq!(r.len(), 1);
            assert_eq!(r.try_recv(), Ok(n));
            assert_eq!(sel.try_ready(), Err(TryReadyError));
        }
    });
}

#[test]
fn the_one_that_has_room_is_ready() {
    on_all(|| {
        let ((s1, _r1), (s2, r2)) = (bounded(1), bounded(1));
        s1.send(0).unwrap();
        let mut sel = sends(&[&s1, &s2]);
        assert_eq!(sel.ready(), 1);
        assert_eq!(s2.try_send(5), Ok(()));
        assert_eq!(sel.try_ready(), Err(TryReadyError));
        assert_eq!(r2.recv(), Ok(5));
        assert_eq!(sel.try_ready(), Ok(1));
    });
}

#[test]
fn a_disconnected_channel_is_ready() {
    on_all(|| {
        let (s1, r1) = unbounded::<i32>();
        let (_s2, r2) = unbounded::<i32>();
        drop(s1);
        let mut sel = receives(&[&r1, &r2]);
        for _ in 0..3 {
            assert_eq!(sel.ready(), 0);
            assert_eq!(sel.try_ready(), Ok(0));
            assert_eq!(sel.ready_timeout(LONG), Ok(0));
            assert_eq!(r1.try_recv(), Err(TryRecvError::Disconnected));
        }
        let senders = [bounded(0).0, bounded(1).0, unbounded().0];
        for s in senders {
            let mut sel = sends(&[&s]);
            assert_eq!(sel.ready(), 0);
            assert_eq!(sel.try_ready(), Ok(0));
            assert_eq!(s.try_send(1), Err(TrySendError::Disconnected(1)));
        }
    });
}

#[test]
fn what_is_left_counts_before_the_end() {
    on_all(|| {
        let (s, r) = unbounded();
        drop(s.clone());
        s.send(1).unwrap();
        drop(s);
        let mut sel = receives(&[&r]);
        assert_eq!(sel.ready(), 0);
        assert_eq!(r.try_recv(), Ok(1));
        assert_eq!(sel.ready(), 0);
        assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
    });
}

#[test]
fn the_end_of_a_channel_wakes_the_waiter() {
    on_all(|| {
        for make in [unbounded, || bounded(0), || bounded(1)] {
            let ((s1, r1), (_s2, r2)): ((Sender<i32>, _), (Sender<i32>, _)) = (make(), make());
            par(|p| {
                p.go(move || {
                    settle();
                    drop(s1);
                });
                assert_eq!(receives(&[&r2, &r1]).ready(), 1);
                assert_eq!(r1.try_recv(), Err(TryRecvError::Disconnected));
            });
        }
        for cap in [0, 1] {
            let (s, r) = bounded(cap);
            for n in 0..cap {
                s.send(n).unwrap();
            }
            par(|p| {
                p.go(move || {
                    settle();
                    drop(r);
                });
                assert_eq!(sends(&[&s]).ready_timeout(LONG), Ok(0));
                assert_eq!(s.try_send(9), Err(TrySendError::Disconnected(9)));
            });
        }
    });
}

#[test]
fn a_timeout_ends_the_wait_and_not_before_its_time() {
    on_all(|| {
        let (_s, r) = unbounded::<i32>();
        let (s0, r0) = bounded::<i32>(0);
        for operations in [0, 3] {
            let mut sel = Select::new();
            if operations == 3 {
                sel.recv(&r);
                sel.recv(&r0);
                sel.send(&s0);
            }
            assert_eq!(sel.try_ready(), Err(TryReadyError));
            let start = Instant::now();
            assert_eq!(sel.ready_timeout(ms(2)), Err(ReadyTimeoutError));
            assert!(start.elapsed() >= ms(2));
            let deadline = Instant::now() + ms(2);
            assert_eq!(sel.ready_deadline(deadline), Err(ReadyTimeoutError));
            assert!(Instant::now() >= deadline);
            assert_eq!(sel.ready_timeout(Duration::ZERO), Err(ReadyTimeoutError));
            assert_eq!(sel.ready_deadline(start), Err(ReadyTimeoutError));
        }
    });
}

#[test]
fn one_that_waits_makes_the_other_side_ready() {
    on_all(|| {
        let (_s1, r1) = bounded::<i32>(0);
        let (s2, r2) = bounded(0);
        par(|p| {
            p.go(|| {
                for n in 0..4 {
                    settle();
                    s2.send(n).unwrap();
                }
            });
            let mut sel = receives(&[&r1, &r2]);
            for n in 0..4 {
                let index = match n {
                    0 => Ok(sel.ready()),
                    1 => sel.ready_timeout(LONG),
                    2 => sel.ready_deadline(Instant::now() + LONG),
                    _ => sel.ready_timeout(Duration::MAX),
                };
                assert_eq!(index, Ok(1));
                assert_eq!(r2.try_recv(), Ok(n));
            }
        });
        let (s1, r1) = bounded(0);
        let (s2, _r2) = bounded(0);
        par(|p| {
            p.go(|| {
                settle();
                assert_eq!(r1.recv(), Ok(1));
            });
            assert_eq!(sends(&[&s1, &s2]).ready(), 0);
            assert_eq!(s1.try_send(1), Ok(()));
        });
    });
}

#[test]
fn one_that_waits_in_a_selection_makes_the_other_side_ready() {
    on_all(|| {
        let ((s1, r1), (s2, r2)) = (bounded(0), bounded::<i32>(0));
        par(|p| {
            p.go(|| {
                let mut sel = Select::new();
                let recv = sel.recv(&r1);
                sel.send(&s2);
                let oper = sel.select();
                assert_eq!(oper.index(), recv);
                assert_eq!(oper.recv(&r1), Ok(7));
            });
            wait_until(|| receives(&[&r2]).try_ready() == Ok(0));
            wait_until(|| sends(&[&s1]).try_ready() == Ok(0));
            assert_eq!(s1.try_send(7), Ok(()));
            assert_eq!(r2.try_recv(), Err(TryRecvError::Empty));
        });
    });
}

#[test]
fn two_that_only_wait_to_be_ready_do_not_meet() {
    on_all(|| {
        let (s, r) = bounded::<i32>(0);
        par(|p| {
            p.go(|| {
                for _ in 0..3 {
                    assert_eq!(
                        sends(&[&s]).ready_timeout(Duration::from_micros(300)),
                        Err(ReadyTimeoutError)
                    );
                }
            });
            for _ in 0..3 {
                assert_eq!(receives(&[&r]).ready_timeout(Duration::from_micros(300)), Err(ReadyTimeoutError));
            }
        });
    });
}

#[test]
fn all_that_wait_learn_of_one_value() {
    const WAITERS: usize = 6;
    on_all(|| {
        for cap in [1, 2] {
            let (s, r) = bounded(cap);
            par(|p| {
                for _ in 0..WAITERS {
                    p.go(|| assert_eq!(receives(&[&r]).ready(), 0));
                }
                settle();
                // Nobody takes it: it makes all of them ready, now or later.
                s.send(1).unwrap();
            });
            assert_eq!(r.try_recv(), Ok(1));
        }
    });
}

#[test]
fn both_directions_of_a_rendezvous_get_ready() {
    on_all(|| {
        let (s1, r1) = bounded(0);
        let (s2, r2) = bounded(0);
        par(|p| {
            p.go(|| {
                settle();
                s1.send(1).unwrap();
                assert_eq!(r2.recv(), Ok(2));
            });
            let mut sel = Select::new();
            let recv = sel.recv(&r1);
            sel.send(&s2);
            assert_eq!(sel.ready(), recv);
            assert_eq!(r1.try_recv(), Ok(1));
            assert_ne!(sel.ready(), recv);
            assert_eq!(s2.try_send(2), Ok(()));
        });
    });
}

#[test]
fn cloning_and_dropping_handles_makes_nobody_ready() {
    on_all(|| {
        let (s1, r1) = unbounded::<()>();
        let (s2, r2) = unbounded();
        par(|p| {
            p.go(move || {
                assert_eq!(receives(&[&r1, &r2]).ready(), 1);
                assert_eq!(r2.try_recv(), Ok(()));
            });
            for _ in 0..5 {
                settle();
                drop(s1.clone());
                drop(s2.clone());
            }
            s2.send(()).unwrap();
        });
    });
}

#[test]
fn every_duplicate_is_named_sometimes() {
    on_all(|| {
        let (s, r) = unbounded();
        let mut sel = Select::new();
        for _ in 0..2 {
            sel.recv(&r);
        }
        for _ in 0..2 {
            sel.send(&s);
        }
        let mut hit = [false; 4];
        while hit.contains(&false) {
            let index = sel.ready();
            hit[index] = true;
            if index < 2 {
                assert_eq!(r.try_recv(), Ok(0));
            } else {
                assert_eq!(s.try_send(0), Ok(()));
            }
        }
    });
}

#[test]
fn send_and_receive_of_one_channel_do_not_make_each_other_ready() {
    on_all(|| {
        let (s, r) = bounded::<i32>(0);
        let mut sel = Select::new();
        sel.send(&s);
        sel.recv(&r);
        assert_eq!(sel.try_ready(), Err(TryReadyError));
        assert_eq!(sel.ready_timeout(ms(2)), Err(ReadyTimeoutError));
        let (s, r) = unbounded();
        let mut sel = Select::new();
        sel.send(&s);
        sel.recv(&r);
        assert_eq!(sel.ready_timeout(LONG), Ok(0));
        assert_eq!(s.try_send(1), Ok(()));
    });
}

#[test]
fn waits_nest() {
    on_all(|| {
        let (s, r) = unbounded();
        for n in 0..4 {
            assert_eq!(sends(&[&s]).ready(), 0);
            assert_eq!(s.try_send(n), Ok(()));
            let mut sel = receives(&[&r]);
            assert_eq!(sel.ready(), 0);
            assert_eq!(sel.ready(), 0);
            assert_eq!(r.try_recv(), Ok(n));
        }
    });
}

#[test]
fn receives_sends_and_both_in_a_long_exchange() {
    const COUNT: usize = 400;
    on_all(|| {
        // Receives from two kinds of channels.
        let (s1, r1) = unbounded();
        let (s2, r2) = bounded(5);
        let (s3, r3) = bounded(0);
        par(|p| {
            p.go(|| {
                for n in 0..COUNT {
                    s1.send(n).unwrap();
                    r3.recv().unwrap();
                    s2.send(n).unwrap();
                    r3.recv().unwrap();
                }
            });
            for n in 0..COUNT {
                for expected in 0..2 {
                    assert_eq!(receives(&[&r1, &r2]).ready(), expected);
                    assert_eq!([&r1, &r2][expected].try_recv(), Ok(n));
                    s3.send(()).unwrap();
                }
            }
        });
        // Sends, and a send beside a receive.
        let (s1, r1) = bounded(0);
        let (s2, r2) = bounded(0);
        let (s4, r4) = bounded(0);
        par(|p| {
            p.go(|| {
                for n in 0..COUNT {
                    assert_eq!(r1.recv(), Ok(n));
                    s4.send(n).unwrap();
                    assert_eq!(r2.recv(), Ok(n));
                }
            });
            for n in 0..COUNT {
                let mut sel = sends(&[&s1, &s2]);
                sel.recv(&r4);
                for expected in [0, 2, 1] {
                    assert_eq!(sel.ready(), expected);
                    match expected {
                        0 => assert_eq!(s1.try_send(n), Ok(())),
                        1 => assert_eq!(s2.try_send(n), Ok(())),
                        _ => assert_eq!(r4.try_recv(), Ok(n)),
                    }
                }
            }
        });
    });
}

#[test]
fn short_timeouts_on_both_sides_lose_nothing() {
    const COUNT: usize = 40;
    const TIMEOUT: Duration = Duration::from_micros(100);
    on_all(|| {
        let (s, r) = bounded(2);
        par(|p| {
            p.go(|| {
                for n in 0..COUNT {
                    if n % 8 == 0 {
                        time::sleep(ms(1));
                    }
                    wait_until(|| sends(&[&s]).ready_timeout(TIMEOUT) == Ok(0));
                    assert_eq!(s.try_send(n), Ok(()));
                }
            });
            for n in 0..COUNT {
                if n % 8 == 4 {
                    time::sleep(ms(1));
                }
                wait_until(|| receives(&[&r]).ready_timeout(TIMEOUT) == Ok(0));
                assert_eq!(r.try_recv(), Ok(n));
            }
        });
    });
}

#[test]
fn those_that_compete_try_again() {
    const COUNT: usize = 200;
    on_all(|| {
        for cap in [0, 1, 4] {
            let ((s1, r1), (s2, r2)) = (bounded(cap), bounded(cap));
            let sum = par(|p| {
                for s in [s1, s2] {
                    p.go(move || {
                        for n in 0..COUNT {
                            s.send(n).unwrap();
                        }
                    });
                }
                let all: Vec<_> = (0..3)
                    .map(|_| {
                        p.go(|| {
                            let all = [&r1, &r2];
                            let mut sel = receives(&all);
                            let mut sum = 0;
                            let mut open = [true; 2];
                            while open != [false; 2] {
                                let index = sel.ready();
                                match all[index].try_recv() {
                                    Ok(n) => sum += n,
                                    // Somebody else was faster.
                                    Err(TryRecvError::Empty) => {}
                                    Err(TryRecvError::Disconnected) => {
                                        sel.remove(index);
                                        open[index] = false;
                                    }
                                }
                            }
                            sum
                        })
                    })
                    .collect();
                all.into_iter().map(|one| one.join()).sum::<usize>()
            });
            assert_eq!(sum, COUNT * (COUNT - 1));
        }
    });
}

#[test]
fn a_channel_goes_through_a_channel() {
    const COUNT: usize = 200;
    type Value = Box<dyn Any + Send>;
    on_all(|| {
        for cap in 1..4 {
            let (s, r) = bounded::<Value>(cap);
            par(|p| {
                p.go(move || {
                    let mut s = s;
                    for _ in 0..COUNT {
                        let (next, r) = bounded::<Value>(cap);
                        assert_eq!(sends(&[&s]).ready(), 0);
                        assert!(s.try_send(Box::new(r)).is_ok());
                        s = next;
                    }
                });
                let mut r = r;
                for _ in 0..COUNT {
                    assert_eq!(receives(&[&r]).ready(), 0);
                    r = *r.try_recv().unwrap().downcast().unwrap();
                }
            });
        }
    });
}

#[test]
fn all_kinds_of_channels_are_named_alike() {
    const COUNT: usize = 1000;
    on_all(|| {
        let (s1, r1) = bounded(COUNT);
        let (s2, r2) = unbounded();
        for _ in 0..COUNT {
            s1.send(Instant::now()).unwrap();
            s2.send(Instant::now()).unwrap();
        }
        let mut hits = [0; 4];
        for _ in 0..COUNT {
            let (after, tick) = (after(Duration::ZERO), tick(Duration::ZERO));
            let all = [&r1, &r2, &after, &tick];
            let index = receives(&all).ready();
            all[index].try_recv().unwrap();
            hits[index] += 1;
        }
        assert!(hits.iter().all(|&hits| hits >= COUNT / 8), "{hits:?}");
    });
}
