//! `bounded(0)`: a rendezvous. What all flavors share is in `common/flavor.rs`; here is what only a channel without a buffer does.
//!
//! Written from the behaviour that the suite zero of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;
#[path = "common/flavor.rs"]
mod flavor;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{LONG, ms, on_all, par, settle, wait_until};
use flavor::{Array, tests_of_all, tests_of_bounded};
use greenroutine::channel::{
    Receiver, RecvTimeoutError, Select, SendTimeoutError, Sender, TryRecvError, TrySendError, bounded, select,
};

tests_of_all!(Array<0>);
tests_of_bounded!(Array<0>);

/// Whether somebody waits to send: an event where a test would have to guess otherwise.
fn has_sender<T>(r: &Receiver<T>) -> bool {
    let mut sel = Select::new();
    sel.recv(r);
    sel.try_ready().is_ok()
}

/// Whether somebody waits to receive.
fn has_receiver<T>(s: &Sender<T>) -> bool {
    let mut sel = Select::new();
    sel.send(s);
    sel.try_ready().is_ok()
}

#[test]
fn nothing_gets_through_alone() {
    on_all(|| {
        let (s, r) = bounded(0);
        assert_eq!(s.try_send(7), Err(TrySendError::Full(7)));
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(s.send_timeout(8, Duration::ZERO), Err(SendTimeoutError::Timeout(8)));
        assert_eq!(r.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        // Neither the timeouts left a trace.
        assert_eq!(s.send_timeout(9, ms(1)), Err(SendTimeoutError::Timeout(9)));
        assert_eq!(r.recv_timeout(ms(1)), Err(RecvTimeoutError::Timeout));
        assert_eq!(s.try_send(10), Err(TrySendError::Full(10)));
        assert!(!has_sender(&r) && !has_receiver(&s));
    });
}

#[test]
fn a_try_meets_one_that_waits() {
    on_all(|| {
        let (s, r) = bounded(0);
        par(|p| {
            p.go(|| assert_eq!(r.recv(), Ok(1)));
            wait_until(|| has_receiver(&s));
            assert_eq!(s.try_send(1), Ok(()));
            assert_eq!(s.try_send(2), Err(TrySendError::Full(2)));
        });
        par(|p| {
            p.go(|| assert_eq!(s.send(3), Ok(())));
            wait_until(|| has_sender(&r));
            assert_eq!(r.try_recv(), Ok(3));
            assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        });
    });
}

#[test]
fn a_timeout_that_is_over_still_meets_one_that_waits() {
    on_all(|| {
        let (s, r) = bounded(0);
        par(|p| {
            p.go(|| assert_eq!(r.recv(), Ok(1)));
            wait_until(|| has_receiver(&s));
            assert_eq!(s.send_timeout(1, Duration::ZERO), Ok(()));
        });
        par(|p| {
            p.go(|| assert_eq!(s.send(2), Ok(())));
            wait_until(|| has_sender(&r));
            assert_eq!(r.recv_timeout(Duration::ZERO), Ok(2));
        });
    });
}

#[test]
fn it_is_always_empty_and_full() {
    const COUNT: usize = 500;
    on_all(|| {
        let (s, r) = bounded(0);
        let check = || {
            assert!(s.is_empty() && s.is_full() && r.is_empty() && r.is_full());
            assert_eq!((s.len(), r.len()), (0, 0));
        };
        check();
        par(|p| {
            p.go(|| {
                for n in 0..COUNT {
                    assert_eq!(r.recv(), Ok(n));
                    check();
                }
            });
            for n in 0..COUNT {
                s.send(n).unwrap();
                check();
            }
        });
        par(|p| {
            p.go(|| s.send(0).unwrap());
            wait_until(|| has_sender(&r));
            check();
            r.recv().unwrap();
        });
    });
}

#[test]
fn a_send_ends_only_after_a_receive_has_begun() {
    on_all(|| {
        for _ in 0..100 {
            let (s, r) = bounded(0);
            let begun = AtomicBool::new(false);
            par(|p| {
                p.go(|| {
                    s.send(1).unwrap();
                    assert!(begun.load(Ordering::SeqCst));
                });
                p.go(|| {
                    begun.store(true, Ordering::SeqCst);
                    r.recv().unwrap();
                });
            });
        }
    });
}

#[test]
fn a_message_operand_may_receive_from_its_own_channel() {
    on_all(|| {
        for _ in 0..20 {
            let (s, r) = bounded(0);
            let (chosen, received) = (AtomicBool::new(false), AtomicUsize::new(0));
            par(|p| {
                p.go(|| received.fetch_add(r.recv().unwrap(), Ordering::SeqCst));
                p.go(|| {
                    wait_until(|| chosen.load(Ordering::SeqCst));
                    s.send(7).unwrap();
                });
                // Chosen because a receiver waits, who goes on waiting while our operand meets the sender.
                let message = || {
                    chosen.store(true, Ordering::SeqCst);
                    r.recv().unwrap()
                };
                select! { send(s, message()) -> sent => assert_eq!(sent, Ok(())) }
            });
            assert_eq!(received.into_inner(), 7);
        }
    });
}

#[test]
fn one_that_times_out_while_it_is_met_either_meets_or_does_not() {
    on_all(|| {
        let (s, r) = bounded(0);
        let (mut sent, received) = (0, AtomicUsize::new(0));
        par(|p| {
            let (r, received) = (r, &received);
            p.go(move || {
                loop {
                    match r.recv_timeout(Duration::from_micros(30)) {
                        Ok(()) => received.fetch_add(1, Ordering::SeqCst),
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => break,
                    };
                }
            });
            for _ in 0..100 {
                if s.send_timeout((), Duration::from_micros(30)).is_ok() {
                    sent += 1;
                }
            }
            s.send_timeout((), LONG).unwrap();
            sent += 1;
            drop(s);
        });
        assert_eq!(received.into_inner(), sent);
    });
}

#[test]
fn senders_and_receivers_that_come_and_go_meet_in_pairs() {
    on_all(|| {
        for round in 0..40 {
            let (s, r) = bounded(0);
            par(|p| {
                for n in 0..6 {
                    let (s, r) = (s.clone(), r.clone());
                    p.go(move || {
                        if (n + round) % 2 == 0 {
                            settle();
                        }
                        if n % 2 == 0 { s.send(n).unwrap() } else { assert_eq!(r.recv().unwrap() % 2, 0) }
                    });
                }
            });
            assert!(!has_sender(&r) && !has_receiver(&s));
        }
    });
}
