//! `Sender::close` and `Receiver::close`: sends fail from then on, what is inside is still received, who waits is woken, and a send that
//! returned Ok is received exactly once whatever happens beside it.
//!
//! Beyond crossbeam-channel; the behaviour is that of Go's `close`, with errors where Go panics.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Counted, LONG, Rng, on_all, par, settle, wait_until};
use greenroutine::channel::{
    Receiver, RecvError, RecvTimeoutError, Select, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError, after, bounded, never, select, tick, unbounded,
};
use greenroutine::yield_now;

type Close<T> = fn(&Sender<T>, &Receiver<T>);

/// Runs `test` for every kind of channel, closed by either end.
fn each<T>(test: impl Fn(Sender<T>, Receiver<T>, Close<T>)) {
    let closes: [Close<T>; 2] = [|s, _| s.close(), |_, r| r.close()];
    for close in closes {
        for (s, r) in [unbounded(), bounded(0), bounded(1), bounded(4)] {
            test(s, r, close);
        }
    }
}

fn fit(s: &Sender<i32>, wanted: usize) -> i32 {
    s.capacity().map_or(wanted, |cap| cap.min(wanted)) as i32
}

#[test]
fn sends_fail_and_give_the_value_back() {
    on_all(|| {
        each(|s, r, close| {
            close(&s, &r);
            assert_eq!(s.send(1), Err(SendError(1)));
            assert_eq!(s.clone().try_send(2), Err(TrySendError::Disconnected(2)));
            assert_eq!(s.send_timeout(3, LONG), Err(SendTimeoutError::Disconnected(3)));
            assert_eq!(s.send_deadline(4, Instant::now() + LONG), Err(SendTimeoutError::Disconnected(4)));
            assert_eq!(s.send_timeout(5, Duration::ZERO), Err(SendTimeoutError::Disconnected(5)));
            select! { send(s, 6) -> sent => assert_eq!(sent, Err(SendError(6))), default => unreachable!() }
            select! { send(s, 7) -> sent => assert_eq!(sent, Err(SendError(7))) }
            let mut sel = Select::new();
            sel.send(&s);
            assert_eq!(sel.try_ready(), Ok(0));
            assert_eq!(sel.select().send(&s, 8), Err(SendError(8)));
            assert!(r.is_empty());
        });
    });
}

#[test]
fn what_is_inside_is_received_in_order_and_then_the_end() {
    on_all(|| {
        for way in 0..5 {
            each(|s, r, close| {
                let count = fit(&s, 40);
                for n in 0..count {
                    s.send(n).unwrap();
                }
                close(&s, &r);
                assert_eq!((s.len(), r.len()), (count as usize, count as usize));
                for n in 0..count {
                    let got = match way {
                        0 => r.recv().ok(),
                        1 => r.try_recv().ok(),
                        2 => r.recv_timeout(Duration::ZERO).ok(),
                        3 => r.iter().next(),
                        _ => select! { recv(r) -> value => value.ok(), default => None },
                    };
                    assert_eq!(got, Some(n));
                }
                assert_eq!(r.recv(), Err(RecvError));
                assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
                assert_eq!(r.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
                assert_eq!(r.recv_deadline(Instant::now()), Err(RecvTimeoutError::Disconnected));
                assert_eq!(r.iter().next(), None);
                assert_eq!(r.try_iter().next(), None);
                select! { recv(r) -> value => assert_eq!(value, Err(RecvError)), default => unreachable!() }
                select! {
                    recv(r) -> value => assert_eq!(value, Err(RecvError)),
                    recv(never::<()>()) -> _ => unreachable!(),
                }
                assert_eq!(s.send(1), Err(SendError(1)));
            });
        }
    });
}

#[test]
fn closing_again_from_either_end_does_nothing() {
    on_all(|| {
        each(|s, r, close| {
            let count = fit(&s, 3);
            for n in 0..count {
                s.send(n).unwrap();
            }
            for _ in 0..3 {
                close(&s, &r);
                s.clone().close();
                r.clone().close();
            }
            assert!(r.iter().eq(0..count));
            s.close();
            r.close();
            assert_eq!(r.recv(), Err(RecvError));
            // And the ends that go afterwards.
            drop(s);
            r.close();
            assert_eq!(r.recv(), Err(RecvError));
        });
        each::<i32>(|s, r, close| {
            drop(r.clone());
            close(&s, &r);
            drop(r);
            s.close();
            assert_eq!(s.send(1), Err(SendError(1)));
        });
    });
}

#[test]
fn waiting_receivers_get_the_end() {
    on_all(|| {
        for settled in [true, false] {
            each::<i32>(|s, r, close| {
                par(|p| {
                    for n in 0..5 {
                        let r = r.clone();
                        p.go(move || match n {
                            0 => assert_eq!(r.recv(), Err(RecvError)),
                            1 => assert_eq!(r.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected)),
                            2 => assert_eq!(r.iter().count(), 0),
                            3 => select! {
                                recv(r) -> value => assert_eq!(value, Err(RecvError)),
                                recv(never::<()>()) -> _ => unreachable!(),
                            },
                            _ => {
                                let mut sel = Select::new();
                                sel.recv(&r);
                                assert_eq!(sel.ready(), 0);
                                assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
                            }
                        });
                    }
                    if settled {
                        settle();
                    }
                    close(&s, &r);
                });
            });
        }
    });
}

#[test]
fn waiting_senders_get_their_values_back() {
    on_all(|| {
        for settled in [true, false] {
            for cap in [0, 1, 4] {
                for by_sender in [true, false] {
                    let (s, r) = bounded(cap);
                    for n in 0..cap {
                        s.send(n).unwrap();
                    }
                    par(|p| {
                        for n in 100..105 {
                            let s = s.clone();
                            p.go(move || match n {
                                100 => assert_eq!(s.send(n), Err(SendError(n))),
                                101 => {
                                    let sent = s.send_timeout(n, LONG);
                                    assert_eq!(sent, Err(SendTimeoutError::Disconnected(n)));
                                }
                                102 => select! {
                                    send(s, n) -> sent => assert_eq!(sent, Err(SendError(n))),
                                    recv(never::<()>()) -> _ => unreachable!(),
                                },
                                103 => {
                                    let mut sel = Select::new();
                                    sel.send(&s);
                                    assert_eq!(sel.select().send(&s, n), Err(SendError(n)));
                                }
                                _ => {
                                    let mut sel = Select::new();
                                    sel.send(&s);
                                    assert_eq!(sel.ready(), 0);
                                    assert_eq!(s.try_send(n), Err(TrySendError::Disconnected(n)));
                                }
                            });
                        }
                        if settled {
                            settle();
                        }
                        if by_sender { s.close() } else { r.close() }
                    });
                    assert!(r.iter().eq(0..cap));
                }
            }
        }
    });
}

#[test]
fn a_done_channel_ends_many() {
    on_all(|| {
        // Go's idiom: everybody selects on a channel that is only ever closed.
        let (done_s, done_r) = bounded::<()>(0);
        let (s, r) = bounded(2);
        let ended = AtomicUsize::new(0);
        par(|p| {
            for n in 0..12 {
                let (s, r, done_r, ended) = (s.clone(), r.clone(), done_r.clone(), &ended);
                p.go(move || {
                    loop {
                        if n % 2 == 0 {
                            select! {
                                send(s, n) -> sent => assert_eq!(sent, Ok(())),
                                recv(done_r) -> end => break assert_eq!(end, Err(RecvError)),
                            }
                        } else {
                            select! {
                                recv(r) -> value => assert!(value.is_ok()),
                                recv(done_r) -> end => break assert_eq!(end, Err(RecvError)),
                            }
                        }
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
            settle();
            done_s.close();
        });
        assert_eq!(ended.into_inner(), 12);
    });
}

#[test]
fn a_send_that_returned_ok_is_received_exactly_once() {
    on_all(|| {
        for seed in 0..60 {
            each::<(usize, usize)>(|s, r, close| {
                const SENDERS: usize = 3;
                let go_on = AtomicUsize::new(0);
                let (sent, received) = par(|p| {
                    let senders: Vec<_> = (0..SENDERS)
                        .map(|sender| {
                            let (s, go_on) = (s.clone(), &go_on);
                            p.go(move || {
                                // How many sends were Ok before the first one that was not; none may be after it.
                                let mut sent = 0;
                                while sent < 60 && s.send((sender, sent)).is_ok() {
                                    sent += 1;
                                    go_on.fetch_add(1, Ordering::SeqCst);
                                    if sent % 8 == sender {
                                        yield_now();
                                    }
                                }
                                if sent < 60 {
                                    assert_eq!(s.send((9, 9)), Err(SendError((9, 9))));
                                    assert_eq!(s.try_send((9, 9)), Err(TrySendError::Disconnected((9, 9))));
                                }
                                sent
                            })
                        })
                        .collect();
                    let receivers: Vec<_> = (0..2)
                        .map(|_| {
                            let r = r.clone();
                            p.go(move || r.iter().collect::<Vec<_>>())
                        })
                        .collect();
                    wait_until(|| go_on.load(Ordering::SeqCst) >= 20);
                    for _ in 0..Rng(seed).below(20) {
                        yield_now();
                    }
                    close(&s, &r);
                    let sent: Vec<_> = senders.into_iter().map(|sender| sender.join()).collect();
                    let received: Vec<_> = receivers.into_iter().map(|receiver| receiver.join()).collect();
                    (sent, received)
                });
                let mut seen = [(); SENDERS].map(|()| Vec::new());
                for received in received {
                    for (sender, n) in received {
                        seen[sender].push(n);
                    }
                }
                for (mut seen, sent) in seen.into_iter().zip(sent) {
                    seen.sort_unstable();
                    assert!(seen.iter().copied().eq(0..sent), "{sent} sent, received {seen:?}");
                }
            });
        }
    });
}

#[test]
fn values_that_come_back_and_values_that_are_received_make_all() {
    on_all(|| {
        for round in 0..20 {
            for cap in [0, 1, 3] {
                let drops = Arc::new(AtomicUsize::new(0));
                let (s, r) = bounded(cap);
                let (back, received) = par(|p| {
                    let senders: Vec<_> = (0..4)
                        .map(|n| {
                            let (s, drops) = (s.clone(), drops.clone());
                            p.go(move || {
                                let value = Counted(drops);
                                let sent = if n % 2 == 0 {
                                    s.send(value)
                                } else {
                                    select! { send(s, value) -> sent => sent }
                                };
                                usize::from(sent.is_err())
                            })
                        })
                        .collect();
                    for _ in 0..round {
                        yield_now();
                    }
                    let one = usize::from(r.try_recv().is_ok());
                    s.close();
                    let back = senders.into_iter().map(|sender| sender.join()).sum::<usize>();
                    (back, one + r.iter().count())
                });
                assert_eq!(back + received, 4);
                assert_eq!(drops.load(Ordering::SeqCst), 4);
            }
        }
    });
}

#[test]
fn closers_that_race_close_it_once() {
    on_all(|| {
        for _ in 0..50 {
            each::<i32>(|s, r, _| {
                par(|p| {
                    for n in 0..4 {
                        let (s, r) = (s.clone(), r.clone());
                        p.go(move || if n % 2 == 0 { s.close() } else { r.close() });
                    }
                    let r = r.clone();
                    p.go(move || assert_eq!(r.recv(), Err(RecvError)));
                    p.go(move || drop(s));
                });
                assert_eq!(r.recv(), Err(RecvError));
            });
        }
    });
}

#[test]
fn a_close_beside_a_rendezvous_leaves_both_sides_in_agreement() {
    on_all(|| {
        for round in 0..600 {
            let (s, r) = bounded(0);
            let (sent, received) = par(|p| {
                let sender = p.go(|| match round % 3 {
                    0 => s.send(1).is_ok(),
                    1 => select! { send(s, 1) -> sent => sent.is_ok() },
                    _ => s.send_timeout(1, LONG).is_ok(),
                });
                let receiver = p.go(|| match round % 4 {
                    0 => r.recv().is_ok(),
                    1 => select! { recv(r) -> value => value.is_ok(), recv(never::<()>()) -> _ => unreachable!() },
                    2 => r.recv_timeout(LONG).is_ok(),
                    _ => {
                        let mut sel = Select::new();
                        sel.recv(&r);
                        sel.select().recv(&r).is_ok()
                    }
                });
                if round % 2 == 0 {
                    yield_now();
                }
                if round % 5 == 0 {
                    r.close()
                } else {
                    s.close()
                }
                (sender.join(), receiver.join())
            });
            assert_eq!(sent, received, "round {round}");
        }
    });
}

#[test]
fn a_send_that_was_chosen_before_the_close_may_be_completed_after_it() {
    on_all(|| {
        for cap in [1, 3] {
            let (s, r) = bounded(cap);
            // Either it counts as sent, and then it is received, or it gives the value back.
            let sent = select! { send(s, { s.close(); 5 }) -> sent => sent };
            let received: Vec<_> = r.iter().collect();
            match sent {
                Ok(()) => assert_eq!(received, [5]),
                Err(SendError(5)) => assert!(received.is_empty()),
                Err(_) => unreachable!(),
            }
            assert_eq!(s.send(6), Err(SendError(6)));
        }
        // With a receiver that has been promised the message.
        let (s, r) = bounded(0);
        par(|p| {
            let receiver = p.go(|| r.recv());
            let mut sel = Select::new();
            sel.send(&s);
            let oper = sel.select();
            s.close();
            let sent = oper.send(&s, 7);
            let received = receiver.join();
            assert_eq!(sent.is_ok(), received.is_ok());
            assert_eq!(r.recv(), Err(RecvError));
        });
    });
}

#[test]
fn the_values_left_in_a_closed_channel_are_dropped_with_it() {
    on_all(|| {
        for (s, r) in [unbounded(), bounded(8)] {
            let drops = Arc::new(AtomicUsize::new(0));
            for _ in 0..8 {
                assert!(s.send(Counted(drops.clone())).is_ok());
            }
            s.close();
            drop(r.recv());
            assert_eq!(drops.load(Ordering::SeqCst), 1);
            drop(r);
            drop(s);
            assert_eq!(drops.load(Ordering::SeqCst), 8);
        }
    });
}

#[test]
fn timers_and_never_are_not_closed() {
    on_all(|| {
        let timer = after(Duration::ZERO);
        timer.close();
        assert!(timer.recv().is_ok());
        assert_eq!(timer.try_recv(), Err(TryRecvError::Empty));
        let ticker = tick(Duration::from_micros(100));
        ticker.close();
        assert!(ticker.recv().is_ok() && ticker.recv().is_ok());
        let nothing = never::<()>();
        nothing.close();
        assert_eq!(nothing.try_recv(), Err(TryRecvError::Empty));
    });
}
