//! `unbounded()`. What all flavors share is in `common/flavor.rs`; here is what only an unbounded channel does.
//!
//! Written from the behaviour that the suite list of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;
#[path = "common/flavor.rs"]
mod flavor;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Counted, on_all, par};
use flavor::{List, tests_of_all, tests_of_buffered};
use greenroutine::channel::{SendError, SendTimeoutError, TrySendError, unbounded};

tests_of_all!(List);
tests_of_buffered!(List);

#[test]
fn no_send_ever_waits_or_finds_it_full() {
    on_all(|| {
        let (s, r) = unbounded();
        let past = Instant::now();
        for n in (0..4000).step_by(4) {
            assert_eq!(s.send(n), Ok(()));
            assert_eq!(s.try_send(n + 1), Ok(()));
            assert_eq!(s.send_timeout(n + 2, Duration::ZERO), Ok(()));
            assert_eq!(s.send_deadline(n + 3, past), Ok(()));
            assert!(!s.is_full() && !r.is_full());
        }
        assert_eq!((s.len(), r.len()), (4000, 4000));
        assert!(r.try_iter().eq(0..4000));
        assert!(s.is_empty() && r.is_empty());
        drop(r);
        assert_eq!(s.send(1), Err(SendError(1)));
        assert_eq!(s.try_send(2), Err(TrySendError::Disconnected(2)));
        assert_eq!(s.send_timeout(3, Duration::ZERO), Err(SendTimeoutError::Disconnected(3)));
    });
}

#[test]
fn the_last_receiver_drops_what_is_inside_though_senders_are_left() {
    on_all(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (s, r) = unbounded();
        for _ in 0..100 {
            assert!(s.send(Counted(drops.clone())).is_ok());
        }
        let r2 = r.clone();
        drop(r);
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        drop(r2);
        assert_eq!(drops.load(Ordering::SeqCst), 100);
        assert!(s.send(Counted(drops.clone())).is_err());
        assert_eq!(drops.load(Ordering::SeqCst), 101);
    });
}

#[test]
fn receivers_that_go_while_others_send_leave_no_value_behind() {
    on_all(|| {
        for _ in 0..30 {
            let drops = Arc::new(AtomicUsize::new(0));
            let sent = AtomicUsize::new(0);
            let (s, r) = unbounded();
            par(|p| {
                for _ in 0..3 {
                    let (s, drops, sent) = (s.clone(), &drops, &sent);
                    p.go(move || {
                        for _ in 0..60 {
                            let _ = s.send(Counted(drops.clone()));
                            sent.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
                let sent = &sent;
                p.go(move || {
                    common::wait_until(|| sent.load(Ordering::SeqCst) > 20);
                    drop(r);
                });
            });
            assert_eq!(
                drops.load(Ordering::SeqCst),
                180,
                "received by nobody, dropped while a sender is left"
            );
            drop(s);
            assert_eq!(drops.load(Ordering::SeqCst), 180);
        }
    });
}

#[test]
fn the_length_is_exact_across_blocks_of_the_list() {
    on_all(|| {
        let (s, r) = unbounded();
        let (mut sent, mut received) = (0, 0);
        for step in 1..120 {
            for _ in 0..step {
                s.send(sent).unwrap();
                sent += 1;
                assert_eq!(s.len(), sent - received);
            }
            for _ in 0..step / 2 {
                assert_eq!(r.recv(), Ok(received));
                received += 1;
                assert_eq!(r.len(), sent - received);
            }
        }
    });
}

#[test]
fn large_values_need_no_large_stack() {
    struct Large([u8; 32_768]);
    on_all(|| {
        let (s, r) = unbounded();
        for n in 0..40 {
            s.send(Large([n; 32_768])).unwrap();
        }
        for n in 0..40 {
            assert_eq!(r.recv().unwrap().0[32_767], n);
        }
    });
}
