//! `never`: the receiver to which nothing ever comes. Go's nil channel, for receivers.
//!
//! Written from the behaviour that the suite never of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;

use std::time::{Duration, Instant};

use common::{ms, on_all};
use greenroutine::channel::{
    Receiver, RecvTimeoutError, Select, TryRecvError, never, select, select_biased, tick, unbounded,
};

#[test]
fn it_is_empty_and_full_and_holds_nothing() {
    on_all(|| {
        let r = never::<String>();
        assert_eq!(r.capacity(), Some(0));
        assert_eq!(r.len(), 0);
        assert!(r.is_empty());
        assert!(r.is_full());
    });
}

#[test]
fn no_receive_gets_anything_and_none_is_told_of_an_end() {
    on_all(|| {
        let r = never::<i32>();
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        let start = Instant::now();
        assert_eq!(r.recv_timeout(ms(2)), Err(RecvTimeoutError::Timeout));
        assert!(start.elapsed() >= ms(2));
        let deadline = Instant::now() + ms(2);
        assert_eq!(r.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
        assert!(Instant::now() >= deadline);
        assert_eq!(r.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        assert_eq!(r.try_iter().next(), None);
        assert_eq!(r.clone().try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_selection_never_takes_it() {
    on_all(|| {
        select! {
            recv(never::<i32>()) -> _ => unreachable!(),
            default => {}
        }
        let start = Instant::now();
        select! {
            recv(never::<i32>()) -> _ => unreachable!(),
            recv(never::<String>()) -> _ => unreachable!(),
            default(ms(2)) => assert!(start.elapsed() >= ms(2)),
        }
        let (s, r) = unbounded();
        s.send(5).unwrap();
        select_biased! {
            recv(never::<i32>()) -> _ => unreachable!(),
            recv(r) -> value => assert_eq!(value, Ok(5)),
        }
        let nothing = never::<()>();
        let mut sel = Select::new();
        sel.recv(&nothing);
        assert!(sel.try_select().is_err());
        assert!(sel.try_ready().is_err());
        assert!(sel.select_timeout(ms(1)).is_err());
        assert!(sel.ready_timeout(ms(1)).is_err());
    });
}

#[test]
fn it_stands_in_for_an_operand_that_is_not_there() {
    on_all(|| {
        let (s, r) = unbounded();
        s.send(1).unwrap();
        s.send(2).unwrap();
        let take = |r: Option<&Receiver<i32>>| {
            select! {
                recv(r.unwrap_or(&never())) -> value => value.ok(),
                default => None,
            }
        };
        assert_eq!(take(Some(&r)), Some(1));
        assert_eq!(take(None), None);
        assert_eq!(take(Some(&r)), Some(2));
        assert_eq!(take(Some(&r)), None);
    });
}

#[test]
fn it_turns_an_operand_off_in_a_loop() {
    on_all(|| {
        let mut r = tick(Duration::from_micros(100));
        let mut ticks = 0;
        loop {
            select! {
                recv(r) -> _ => ticks += 1,
                default(ms(if ticks == 10 { 2 } else { 1_000_000 })) => break,
            }
            if ticks == 10 {
                r = never();
            }
        }
        assert_eq!(ticks, 10);
    });
}
