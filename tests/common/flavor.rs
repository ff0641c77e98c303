//! What all channels that can be sent to have in common, said once and generic over the kind; `channel_array`, `channel_list` and
//! `channel_zero` run it.
//!
//! Written from the behaviour that the suites array, list and zero of crossbeam-channel 0.5 (MIT OR Apache-2.0) state.

#![allow(dead_code, reason = "each flavor uses its part")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenroutine::channel::{
    Receiver, RecvError, RecvTimeoutError, Select, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError, bounded, select, unbounded,
};
use greenroutine::yield_now;

use crate::common::{Counted, LONG, Rng, ms, par, settle, wait_until};

/// A kind of channel.
pub(crate) trait Flavor {
    /// What `capacity` says.
    const CAP: Option<usize>;

    fn make<T>() -> (Sender<T>, Receiver<T>);
}

/// `bounded(N)`; a rendezvous if N is 0.
pub(crate) struct Array<const N: usize>;

impl<const N: usize> Flavor for Array<N> {
    const CAP: Option<usize> = Some(N);

    fn make<T>() -> (Sender<T>, Receiver<T>) {
        bounded(N)
    }
}

/// `unbounded()`.
pub(crate) struct List;

impl Flavor for List {
    const CAP: Option<usize> = None;

    fn make<T>() -> (Sender<T>, Receiver<T>) {
        unbounded()
    }
}

/// How many values fit, of at most `wanted`.
fn fit<F: Flavor>(wanted: usize) -> usize {
    F::CAP.map_or(wanted, |cap| cap.min(wanted))
}

/// Makes tests of functions that are generic over the flavor.
macro_rules! tests {
    ($flavor:ty: $($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                crate::common::on_all(crate::flavor::$name::<$flavor>);
            }
        )+
    };
}

/// The tests that hold for every flavor.
macro_rules! tests_of_all {
    ($flavor:ty) => {
        crate::flavor::tests!($flavor:
            capacity_is_what_was_asked_for
            recv_waits_for_values_and_then_for_the_end
            try_recv_says_empty_value_and_disconnected
            recv_with_a_deadline_ends_by_time_by_value_and_by_the_end
            many_waiting_receivers_get_one_value_each
            the_last_sender_wakes_all_receivers_when_it_goes
            sends_after_the_receivers_are_gone_give_the_value_back
            a_clone_keeps_its_side_alive
            one_sender_and_one_receiver_keep_the_order
            every_value_of_many_senders_reaches_one_of_many_receivers
            each_receiver_sees_each_senders_order
            a_send_that_ended_before_another_began_is_received_before_it
            one_value_through_a_fresh_channel
            requests_and_responses_with_try_iter
            sends_and_receives_with_short_timeouts_lose_nothing
            values_are_dropped_once
            a_selection_takes_every_ready_receiver_alike
            a_selection_takes_duplicates_alike
            a_channel_goes_through_a_channel
            values_of_all_sizes_arrive_whole
            values_may_borrow
            values_may_own_what_is_bound_to_a_thread
            handles_are_send_sync_and_unwind_safe
            debug_names_the_type
            a_ping_pong_never_loses_a_wake_up
            a_panic_in_a_sender_or_receiver_leaves_the_channel_usable
        );
    };
}

/// The tests for flavors that hold values.
#[allow(unused_macros, reason = "each flavor uses its part")]
macro_rules! tests_of_buffered {
    ($flavor:ty) => {
        crate::flavor::tests!($flavor:
            values_stay_receivable_after_the_senders_are_gone
            a_timeout_that_is_over_still_takes_what_is_there
            a_send_that_returned_is_there_for_try_recv
            len_counts_what_is_inside
            a_message_operand_may_receive_from_its_own_channel
            values_that_are_left_are_dropped_with_the_channel
            a_panic_in_a_values_drop_reaches_the_dropper
        );
    };
}

/// The tests for flavors that fill up.
#[allow(unused_macros, reason = "each flavor uses its part")]
macro_rules! tests_of_bounded {
    ($flavor:ty) => {
        crate::flavor::tests!($flavor:
            send_waits_for_room
            try_send_says_full_and_disconnected
            send_with_a_deadline_ends_by_time_by_room_and_by_the_end
            the_last_receiver_gives_waiting_senders_their_values_back
            a_channel_holds_no_more_than_its_capacity
        );
    };
}

#[allow(unused_imports, reason = "each flavor uses its part")]
pub(crate) use {tests, tests_of_all, tests_of_bounded, tests_of_buffered};

pub(crate) fn capacity_is_what_was_asked_for<F: Flavor>() {
    let (s, r) = F::make::<String>();
    assert_eq!(s.capacity(), F::CAP);
    assert_eq!(r.capacity(), F::CAP);
    for (len, empty, full) in [(s.len(), s.is_empty(), s.is_full()), (r.len(), r.is_empty(), r.is_full())] {
        assert_eq!(len, 0);
        assert!(empty);
        assert_eq!(full, F::CAP == Some(0));
    }
}

pub(crate) fn recv_waits_for_values_and_then_for_the_end<F: Flavor>() {
    let (s, r) = F::make();
    par(|p| {
        p.go(move || {
            for n in 7..10 {
                assert_eq!(r.recv(), Ok(n));
            }
            assert_eq!(r.recv(), Err(RecvError));
            assert_eq!(r.recv(), Err(RecvError));
        });
        for n in 7..10 {
            settle();
            assert_eq!(s.send(n), Ok(()));
        }
        settle();
        drop(s);
    });
}

pub(crate) fn try_recv_says_empty_value_and_disconnected<F: Flavor>() {
    let (s, r) = F::make();
    let step = AtomicUsize::new(0);
    // Until something else than `Empty` comes.
    let next = || {
        loop {
            match r.try_recv() {
                Err(TryRecvError::Empty) => yield_now(),
                other => break other,
            }
        }
    };
    par(|p| {
        let step = &step;
        p.go(move || {
            wait_until(|| step.load(Ordering::SeqCst) == 1);
            s.send(7).unwrap();
            wait_until(|| step.load(Ordering::SeqCst) == 2);
        });
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        step.store(1, Ordering::SeqCst);
        assert_eq!(next(), Ok(7));
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        step.store(2, Ordering::SeqCst);
        assert_eq!(next(), Err(TryRecvError::Disconnected));
        assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
    });
}

pub(crate) fn recv_with_a_deadline_ends_by_time_by_value_and_by_the_end<F: Flavor>() {
    let (s, r) = F::make();
    let start = Instant::now();
    assert_eq!(r.recv_timeout(ms(2)), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= ms(2));
    let deadline = Instant::now() + ms(2);
    assert_eq!(r.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
    assert!(Instant::now() >= deadline);
    // Over before they begin.
    assert_eq!(r.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    assert_eq!(r.recv_deadline(start), Err(RecvTimeoutError::Timeout));
    par(|p| {
        p.go(move || {
            for n in [1, 2, 3] {
                settle();
                s.send(n).unwrap();
            }
            settle();
        });
        assert_eq!(r.recv_timeout(LONG), Ok(1));
        assert_eq!(r.recv_deadline(Instant::now() + LONG), Ok(2));
        // More than the clock can say is for ever.
        assert_eq!(r.recv_timeout(Duration::MAX), Ok(3));
        assert_eq!(r.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        assert_eq!(r.recv_deadline(start), Err(RecvTimeoutError::Disconnected));
        assert_eq!(r.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
    });
}

pub(crate) fn many_waiting_receivers_get_one_value_each<F: Flavor>() {
    const RECEIVERS: usize = 12;
    let (s, r) = F::make();
    let got: [AtomicUsize; RECEIVERS] = Default::default();
    par(|p| {
        for _ in 0..RECEIVERS {
            p.go(|| {
                let n: usize = r.recv().unwrap();
                got[n].fetch_add(1, Ordering::SeqCst)
            });
        }
        settle();
        for n in 0..RECEIVERS {
            s.send(n).unwrap();
        }
    });
    assert!(got.iter().all(|count| count.load(Ordering::SeqCst) == 1));
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
}

pub(crate) fn the_last_sender_wakes_all_receivers_when_it_goes<F: Flavor>() {
    for settled in [true, false] {
        let (s, r) = F::make::<i32>();
        par(|p| {
            for n in 0..4 {
                let r = r.clone();
                p.go(move || match n {
                    0 => assert_eq!(r.recv(), Err(RecvError)),
                    1 => assert_eq!(r.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected)),
                    2 => assert_eq!(r.iter().next(), None),
                    _ => {
                        let (_other, never) = F::make::<i32>();
                        select! {
                            recv(r) -> value => assert_eq!(value, Err(RecvError)),
                            recv(never) -> _ => unreachable!(),
                        }
                    }
                });
            }
            if settled {
                settle();
            }
            drop(s);
        });
    }
}

pub(crate) fn sends_after_the_receivers_are_gone_give_the_value_back<F: Flavor>() {
    for inside in [0, fit::<F>(2)] {
        let (s, r) = F::make();
        for n in 0..inside {
            s.send(n).unwrap();
        }
        drop(r.clone());
        drop(r);
        assert_eq!(s.send(4), Err(SendError(4)));
        assert_eq!(s.try_send(5), Err(TrySendError::Disconnected(5)));
        assert_eq!(s.send_timeout(6, LONG), Err(SendTimeoutError::Disconnected(6)));
        assert_eq!(s.send_timeout(7, Duration::ZERO), Err(SendTimeoutError::Disconnected(7)));
        assert_eq!(s.send_deadline(8, Instant::now() + LONG), Err(SendTimeoutError::Disconnected(8)));
        assert_eq!(s.clone().send(9), Err(SendError(9)));
    }
}

pub(crate) fn a_clone_keeps_its_side_alive<F: Flavor>() {
    let (s, r) = F::make();
    let (s2, r2) = (s.clone(), r.clone());
    drop(s);
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    drop(r);
    par(|p| {
        p.go(move || assert_eq!(s2.clone().send(1), Ok(())));
        assert_eq!(r2.recv(), Ok(1));
        assert_eq!(r2.recv(), Err(RecvError));
    });
}

pub(crate) fn one_sender_and_one_receiver_keep_the_order<F: Flavor>() {
    const COUNT: usize = 10_000;
    let (s, r) = F::make();
    par(|p| {
        p.go(move || {
            for n in 0..COUNT {
                assert_eq!(r.recv(), Ok(n));
            }
            assert_eq!(r.recv(), Err(RecvError));
        });
        for n in 0..COUNT {
            s.send(n).unwrap();
        }
        drop(s);
    });
}

pub(crate) fn every_value_of_many_senders_reaches_one_of_many_receivers<F: Flavor>() {
    const COUNT: usize = 1500;
    const EACH: usize = 4;
    let (s, r) = F::make::<usize>();
    let seen: Vec<_> = (0..COUNT).map(|_| AtomicUsize::new(0)).collect();
    par(|p| {
        for _ in 0..EACH {
            p.go(|| {
                for _ in 0..COUNT {
                    seen[r.recv().unwrap()].fetch_add(1, Ordering::SeqCst);
                }
            });
            p.go(|| {
                for n in 0..COUNT {
                    s.send(n).unwrap();
                }
            });
        }
    });
    assert!(seen.iter().all(|count| count.load(Ordering::SeqCst) == EACH));
}

pub(crate) fn each_receiver_sees_each_senders_order<F: Flavor>() {
    const COUNT: usize = 1500;
    const EACH: usize = 3;
    let (s, r) = F::make();
    let received = par(|p| {
        let receivers: Vec<_> = (0..EACH)
            .map(|_| {
                let r = r.clone();
                p.go(move || {
                    let mut last = [0; EACH];
                    let mut count = 0;
                    for (sender, n) in r {
                        assert!(n > last[sender], "{n} of sender {sender} came after {}", last[sender]);
                        last[sender] = n;
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for sender in 0..EACH {
            let s = s.clone();
            p.go(move || {
                for n in 1..=COUNT {
                    s.send((sender, n)).unwrap();
                }
            });
        }
        drop(s);
        receivers.into_iter().map(|receiver| receiver.join()).sum::<usize>()
    });
    assert_eq!(received, EACH * COUNT);
}

/// One `send` or `recv` and when it was, by a clock that all share.
#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    end: usize,
}

/// A queue is linearizable only if no value overtakes another: a sent before b was begun, but received after b was received.
fn assert_none_overtaken(sent: &[Span], received: &[Span]) {
    assert_eq!(sent.len(), received.len());
    let mut by_end: Vec<_> = (0..sent.len()).collect();
    by_end.sort_by_key(|&value| sent[value].end);
    let mut by_start = by_end.clone();
    by_start.sort_by_key(|&value| sent[value].start);
    let mut earlier = by_end.into_iter().peekable();
    let mut latest_receive = 0;
    for value in by_start {
        while let Some(before) = earlier.next_if(|&before| sent[before].end < sent[value].start) {
            latest_receive = latest_receive.max(received[before].start);
        }
        assert!(received[value].end > latest_receive, "value {value} overtook one that was sent before it");
    }
}

pub(crate) fn a_send_that_ended_before_another_began_is_received_before_it<F: Flavor>() {
    const COUNT: usize = 1000;
    const EACH: usize = 3;
    let (s, r) = F::make();
    let clock = AtomicUsize::new(1);
    let now = || clock.fetch_add(1, Ordering::SeqCst);
    let (sent, received) = par(|p| {
        let senders: Vec<_> = (0..EACH)
            .map(|sender| {
                let s = s.clone();
                p.go(move || {
                    let mut spans = vec![Span::default(); COUNT];
                    for (n, span) in spans.iter_mut().enumerate() {
                        span.start = now();
                        s.send(sender * COUNT + n).unwrap();
                        span.end = now();
                    }
                    spans
                })
            })
            .collect();
        drop(s);
        let receivers: Vec<_> = (0..EACH)
            .map(|_| {
                let r = r.clone();
                p.go(move || {
                    let mut spans = Vec::new();
                    loop {
                        let start = now();
                        let Ok(value) = r.recv() else { break spans };
                        spans.push((value, Span { start, end: now() }));
                    }
                })
            })
            .collect();
        let sent: Vec<_> = senders.into_iter().flat_map(|sender| sender.join()).collect();
        let mut received = vec![Span::default(); sent.len()];
        for (value, span) in receivers.into_iter().flat_map(|receiver| receiver.join()) {
            assert_eq!(received[value].end, 0, "value {value} came twice");
            received[value] = span;
        }
        (sent, received)
    });
    assert!(received.iter().all(|span| span.end > 0), "a value is lost");
    assert_none_overtaken(&sent, &received);
}

pub(crate) fn one_value_through_a_fresh_channel<F: Flavor>() {
    for n in 0..400 {
        let (s, r) = F::make();
        par(|p| {
            p.go(|| assert_eq!(r.recv(), Ok(n)));
            p.go(|| s.send(n).unwrap());
        });
    }
}

pub(crate) fn requests_and_responses_with_try_iter<F: Flavor>() {
    const COUNT: usize = 300;
    let (request_s, request_r) = F::make();
    let (response_s, response_r) = F::make();
    par(|p| {
        p.go(move || {
            let mut count = 0;
            while count < COUNT {
                let new = response_r.try_iter().take(COUNT - count).sum::<usize>();
                count += new;
                // A rendezvous would wait for one that waits for us.
                if request_s.try_send(()).is_err() || new == 0 {
                    yield_now();
                }
            }
        });
        for () in request_r.iter() {
            if response_s.send(1).is_err() {
                break;
            }
        }
    });
}

pub(crate) fn sends_and_receives_with_short_timeouts_lose_nothing<F: Flavor>() {
    const COUNT: usize = 60;
    let (s, r) = F::make();
    par(|p| {
        p.go(move || {
            for n in 0..COUNT {
                if n % 8 == 0 {
                    greenroutine::time::sleep(ms(1));
                }
                let mut value = n;
                while let Err(error) = s.send_timeout(value, Duration::from_micros(200)) {
                    assert!(error.is_timeout());
                    value = error.into_inner();
                    assert_eq!(value, n);
                }
            }
        });
        for n in 0..COUNT {
            if n % 8 == 4 {
                greenroutine::time::sleep(ms(1));
            }
            loop {
                match r.recv_timeout(Duration::from_micros(200)) {
                    Ok(value) => break assert_eq!(value, n),
                    Err(error) => assert!(error.is_timeout()),
                }
            }
        }
        assert_eq!(r.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    });
}

pub(crate) fn values_are_dropped_once<F: Flavor>() {
    let mut rng = Rng(5);
    for _ in 0..20 {
        let (steps, more) = (rng.below(400) as usize, fit::<F>(rng.below(50) as usize));
        let drops = Arc::new(AtomicUsize::new(0));
        let (s, r) = F::make();
        par(|p| {
            p.go(|| {
                for _ in 0..steps {
                    drop(r.recv().unwrap());
                }
            });
            p.go(|| {
                for _ in 0..steps {
                    assert!(s.send(Counted(drops.clone())).is_ok());
                }
            });
        });
        for _ in 0..more {
            assert!(s.send(Counted(drops.clone())).is_ok());
        }
        assert_eq!(drops.load(Ordering::SeqCst), steps);
        drop((s, r));
        assert_eq!(drops.load(Ordering::SeqCst), steps + more);
    }
}

/// Keeps a channel full of values until the receivers are gone.
fn feed(s: &Sender<()>) {
    while s.send(()).is_ok() {}
}

/// A selection's hits are alike if each has at least half of its share.
pub(crate) fn assert_alike(hits: &[usize]) {
    let share = hits.iter().sum::<usize>() / hits.len();
    assert!(hits.iter().all(|&hits| hits >= share / 2), "{hits:?}");
}

pub(crate) fn a_selection_takes_every_ready_receiver_alike<F: Flavor>() {
    const COUNT: usize = 1000;
    let (s1, r1) = F::make::<()>();
    let (s2, r2) = F::make::<()>();
    par(|p| {
        if F::CAP.is_none() {
            // Both stay ready to the end.
            for _ in 0..COUNT {
                s1.send(()).unwrap();
                s2.send(()).unwrap();
            }
        } else {
            p.go(move || feed(&s1));
            p.go(move || feed(&s2));
        }
        let mut hits = [0; 2];
        while hits[0] + hits[1] < COUNT {
            if F::CAP.is_some() {
                // Ready both, or the selection has no choice.
                wait_until(|| is_ready(&r1) && is_ready(&r2));
            }
            select! {
                recv(r1) -> _ => hits[0] += 1,
                recv(r2) -> _ => hits[1] += 1,
            }
        }
        assert_alike(&hits);
        drop((r1, r2));
    });
}

/// Whether a receive would not wait.
fn is_ready<T>(r: &Receiver<T>) -> bool {
    let mut sel = Select::new();
    sel.recv(r);
    sel.try_ready().is_ok()
}

pub(crate) fn a_selection_takes_duplicates_alike<F: Flavor>() {
    const COUNT: usize = 1000;
    let (s, r) = F::make::<()>();
    par(|p| {
        p.go(move || {
            let mut hits = [0; 5];
            for _ in 0..COUNT {
                select! {
                    send(s, ()) -> _ => hits[0] += 1,
                    send(s, ()) -> _ => hits[1] += 1,
                    send(s, ()) -> _ => hits[2] += 1,
                    send(s, ()) -> _ => hits[3] += 1,
                    send(s, ()) -> _ => hits[4] += 1,
                }
            }
            assert_alike(&hits);
        });
        let mut hits = [0; 5];
        for _ in 0..COUNT {
            select! {
                recv(r) -> _ => hits[0] += 1,
                recv(r) -> _ => hits[1] += 1,
                recv(r) -> _ => hits[2] += 1,
                recv(r) -> _ => hits[3] += 1,
                recv(r) -> _ => hits[4] += 1,
            }
        }
        assert_alike(&hits);
        assert_eq!(r.recv(), Err(RecvError));
    });
}

pub(crate) fn a_channel_goes_through_a_channel<F: Flavor>() {
    const COUNT: usize = 1000;
    type Value = Box<dyn Any + Send>;
    let (s, r) = F::make::<Value>();
    par(|p| {
        p.go(move || {
            let mut s = s;
            for _ in 0..COUNT {
                let (next_s, next_r) = F::make::<Value>();
                s.send(Box::new(next_r)).unwrap();
                s = next_s;
            }
        });
        let mut r = r;
        for _ in 0..COUNT {
            r = *r.recv().unwrap().downcast::<Receiver<Value>>().unwrap();
        }
        assert!(r.recv().is_err());
    });
}

#[repr(align(128))]
#[derive(Clone, Debug, PartialEq)]
struct Aligned([u64; 5]);

fn carry<F: Flavor, T: Send + Sync + Clone + PartialEq + std::fmt::Debug>(value: &T) {
    let (s, r) = F::make();
    par(|p| {
        p.go(move || {
            for _ in 0..3 {
                s.send(value.clone()).unwrap();
                settle();
            }
        });
        assert_eq!(&r.recv().unwrap(), value);
        assert_eq!(&r.recv_timeout(LONG).unwrap(), value);
        select! { recv(r) -> got => assert_eq!(&got.unwrap(), value) }
    });
}

pub(crate) fn values_of_all_sizes_arrive_whole<F: Flavor>() {
    carry::<F, _>(&());
    carry::<F, [u64; 0]>(&[]);
    carry::<F, _>(&true);
    carry::<F, _>(&0xA5_u8);
    carry::<F, _>(&u128::MAX);
    carry::<F, _>(&(1_u8, 2_u32, 3_u16));
    carry::<F, _>(&Aligned([1, 2, 3, 4, 5]));
    carry::<F, _>(&String::from("text"));
    carry::<F, _>(&Some(Box::new(7)));
    carry::<F, _>(&None::<Box<i32>>);
    carry::<F, Arc<str>>(&Arc::from("shared"));
    carry::<F, _>(&std::array::from_fn::<u8, 40_000, _>(|n| n as u8));
}

pub(crate) fn values_may_borrow<F: Flavor>() {
    let text = String::from("borrowed");
    let mut number = 1;
    {
        let (s, r) = F::make::<(&str, &mut i32)>();
        par(|p| {
            p.go(|| s.send((&text, &mut number)).unwrap());
            let (text, number) = r.recv().unwrap();
            assert_eq!(text, "borrowed");
            *number += 1;
        });
    }
    assert_eq!(number, 2);
}

pub(crate) fn values_may_own_what_is_bound_to_a_thread<F: Flavor>() {
    // Such a channel stays where it is.
    let (s, r) = F::make::<std::rc::Rc<i32>>();
    let value = std::rc::Rc::new(5);
    match s.try_send(value.clone()) {
        Ok(()) => assert_eq!(*r.recv().unwrap(), 5),
        Err(error) => assert!(error.is_full() && F::CAP == Some(0)),
    }
    assert_eq!(std::rc::Rc::strong_count(&value), 1);
}

pub(crate) fn handles_are_send_sync_and_unwind_safe<F: Flavor>() {
    fn check<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
    let (s, r) = F::make::<std::cell::Cell<i32>>();
    check(&s);
    check(&r);
    let (s, r) = F::make::<&mut Vec<i32>>();
    check(&s);
    check(&r);
}

pub(crate) fn debug_names_the_type<F: Flavor>() {
    struct Opaque;
    let (s, r) = F::make::<Opaque>();
    assert_eq!(format!("{s:?}"), "Sender { .. }");
    assert_eq!(format!("{r:?}"), "Receiver { .. }");
    assert_eq!(format!("{:?}", r.iter()), "Iter { .. }");
    assert_eq!(format!("{:?}", r.try_iter()), "TryIter { .. }");
    assert_eq!(format!("{:?}", r.into_iter()), "IntoIter { .. }");
    assert!(s.send(Opaque).is_err());
}

pub(crate) fn a_ping_pong_never_loses_a_wake_up<F: Flavor>() {
    const ROUNDS: usize = 4000;
    let (ping_s, ping_r) = F::make();
    let (pong_s, pong_r) = F::make();
    par(|p| {
        p.go(move || {
            for n in ping_r {
                pong_s.send(n + 1).unwrap();
            }
        });
        let mut n = 0;
        for _ in 0..ROUNDS {
            ping_s.send(n).unwrap();
            n = pong_r.recv().unwrap();
        }
        assert_eq!(n, ROUNDS);
        drop(ping_s);
    });
}

pub(crate) fn a_panic_in_a_sender_or_receiver_leaves_the_channel_usable<F: Flavor>() {
    let (s, r) = F::make();
    let (s2, r2) = (s.clone(), r.clone());
    let sender = catch_unwind(AssertUnwindSafe(|| {
        let _s = s2;
        std::panic::resume_unwind(Box::new("sender"));
    }));
    let receiver = catch_unwind(AssertUnwindSafe(|| {
        let _r = r2;
        std::panic::resume_unwind(Box::new("receiver"));
    }));
    assert!(sender.is_err() && receiver.is_err());
    par(|p| {
        p.go(|| s.send(1).unwrap());
        assert_eq!(r.recv(), Ok(1));
    });
}

pub(crate) fn values_stay_receivable_after_the_senders_are_gone<F: Flavor>() {
    let count = fit::<F>(100);
    for way in 0..5 {
        let (s, r) = F::make();
        for n in 0..count {
            s.send(n).unwrap();
        }
        drop(s.clone());
        drop(s);
        for n in 0..count {
            let got = match way {
                0 => r.recv().ok(),
                1 => r.try_recv().ok(),
                2 => r.recv_timeout(Duration::ZERO).ok(),
                3 => r.iter().next(),
                _ => select! { recv(r) -> got => got.ok(), default => None },
            };
            assert_eq!(got, Some(n));
        }
        assert_eq!(r.recv(), Err(RecvError));
        assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(r.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    }
}

pub(crate) fn a_timeout_that_is_over_still_takes_what_is_there<F: Flavor>() {
    let (s, r) = F::make();
    let past = Instant::now();
    assert_eq!(s.send_timeout(1, Duration::ZERO), Ok(()));
    assert_eq!(r.recv_timeout(Duration::ZERO), Ok(1));
    assert_eq!(s.send_deadline(2, past), Ok(()));
    assert_eq!(r.recv_deadline(past), Ok(2));
    assert_eq!(r.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
}

pub(crate) fn a_send_that_returned_is_there_for_try_recv<F: Flavor>() {
    const COUNT: usize = 2000;
    // As many as fit: then each finds room, and at least its own value or that of one who took it.
    let each = fit::<F>(4);
    let (s, r) = F::make();
    par(|p| {
        for _ in 0..each {
            p.go(|| {
                for n in 0..COUNT {
                    s.send(n).unwrap();
                    assert!(r.try_recv().is_ok());
                }
            });
        }
    });
    assert!(r.is_empty());
}

pub(crate) fn len_counts_what_is_inside<F: Flavor>() {
    const COUNT: usize = 1000;
    let (s, r) = F::make();
    let fill = fit::<F>(60);
    for round in 0..5 {
        for n in 0..fill {
            assert_eq!((s.len(), r.len()), (n, n), "round {round}");
            assert_eq!((s.is_empty(), r.is_empty()), (n == 0, n == 0));
            assert_eq!((s.is_full(), r.is_full()), (false, false));
            s.send(n).unwrap();
        }
        let full = F::CAP == Some(fill);
        assert_eq!((s.is_full(), r.is_full()), (full, full));
        for n in 0..fill {
            assert_eq!((s.len(), r.len()), (fill - n, fill - n));
            assert_eq!(r.recv(), Ok(n));
        }
    }
    let most = F::CAP.unwrap_or(COUNT);
    par(|p| {
        p.go(|| {
            for n in 0..COUNT {
                s.send(n).unwrap();
                assert!(s.len() <= most);
            }
        });
        for n in 0..COUNT {
            assert_eq!(r.recv(), Ok(n));
            assert!(r.len() <= most);
        }
    });
    assert_eq!((s.len(), r.len()), (0, 0));
}

fn never_evaluated() -> usize {
    unreachable!("the operand of a send that was not chosen")
}

pub(crate) fn a_message_operand_may_receive_from_its_own_channel<F: Flavor>() {
    let (s, r) = F::make();
    if fit::<F>(2) == 2 {
        s.send(1).unwrap();
        select! {
            send(s, r.recv().unwrap() + 10) -> sent => assert_eq!(sent, Ok(())),
        }
        assert_eq!(r.try_recv(), Ok(11));
    }
    // An operand of what was not chosen is not evaluated.
    for n in 0..fit::<F>(3) {
        s.send(n).unwrap();
    }
    if s.is_full() {
        select! {
            send(s, never_evaluated()) -> _ => unreachable!(),
            default => {}
        }
    }
}

pub(crate) fn values_that_are_left_are_dropped_with_the_channel<F: Flavor>() {
    for senders_first in [false, true] {
        let drops = Arc::new(AtomicUsize::new(0));
        let (s, r) = F::make();
        let count = fit::<F>(70);
        for _ in 0..count {
            assert!(s.send(Counted(drops.clone())).is_ok());
        }
        // Wraps round in a ring, crosses a block in a list.
        for _ in 0..count / 2 {
            drop(r.recv().unwrap());
            assert!(s.send(Counted(drops.clone())).is_ok());
        }
        let before = drops.load(Ordering::SeqCst);
        if senders_first {
            drop(s);
            assert_eq!(drops.load(Ordering::SeqCst), before, "they can still be received");
            drop(r);
        } else {
            drop(r);
            drop(s);
        }
        assert_eq!(drops.load(Ordering::SeqCst), before + count);
    }
}

/// Panics at its first drop, and says so if there is a second one.
struct Bomb<'a>(&'a AtomicUsize);

impl Drop for Bomb<'_> {
    fn drop(&mut self) {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "dropped twice");
        std::panic::resume_unwind(Box::new("boom"));
    }
}

pub(crate) fn a_panic_in_a_values_drop_reaches_the_dropper<F: Flavor>() {
    let drops: [AtomicUsize; 2] = Default::default();
    let (s, r) = F::make();
    let count = fit::<F>(2);
    for drops in &drops[..count] {
        assert!(s.send(Bomb(drops)).is_ok());
    }
    drop(s);
    let payload = catch_unwind(AssertUnwindSafe(|| drop(r))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"boom"));
    assert_eq!(drops[0].load(Ordering::SeqCst), 1);
    // What comes after it leaks: dropping it too would be a panic while panicking.
    assert_eq!(drops[1].load(Ordering::SeqCst), 0);
    // The receiver of a value has it out of the channel before it drops it.
    let drops = AtomicUsize::new(0);
    let (s, r) = F::make();
    assert!(s.send(Bomb(&drops)).is_ok());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(r.recv()))).is_err());
    assert!(r.is_empty());
    drop((s, r));
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

/// Fills the channel.
fn fill<F: Flavor>(s: &Sender<usize>) -> usize {
    let cap = F::CAP.expect("a bounded channel");
    for n in 0..cap {
        s.send(n).unwrap();
    }
    cap
}

pub(crate) fn send_waits_for_room<F: Flavor>() {
    let (s, r) = F::make();
    let cap = fill::<F>(&s);
    let sent = AtomicBool::new(false);
    par(|p| {
        let sent = &sent;
        p.go(move || {
            s.send(cap).unwrap();
            sent.store(true, Ordering::SeqCst);
        });
        settle();
        assert!(!sent.load(Ordering::SeqCst));
        for n in 0..=cap {
            assert_eq!(r.recv(), Ok(n));
        }
        assert_eq!(r.recv(), Err(RecvError));
        assert!(sent.load(Ordering::SeqCst));
    });
}

pub(crate) fn try_send_says_full_and_disconnected<F: Flavor>() {
    let (s, r) = F::make();
    let cap = fill::<F>(&s);
    assert_eq!(s.try_send(100), Err(TrySendError::Full(100)));
    par(|p| {
        p.go(move || {
            for n in (0..cap).chain([101]) {
                settle();
                assert_eq!(r.recv(), Ok(n));
            }
        });
        let mut result = s.try_send(101);
        while result == Err(TrySendError::Full(101)) {
            yield_now();
            result = s.try_send(101);
        }
        assert_eq!(result, Ok(()));
        let mut result = s.try_send(102);
        while result != Err(TrySendError::Disconnected(102)) {
            // A buffer may take values that nobody receives any more.
            assert!(result == Err(TrySendError::Full(102)) || result == Ok(()));
            yield_now();
            result = s.try_send(102);
        }
    });
    assert_eq!(s.try_send(103), Err(TrySendError::Disconnected(103)));
}

pub(crate) fn send_with_a_deadline_ends_by_time_by_room_and_by_the_end<F: Flavor>() {
    let (s, r) = F::make();
    let cap = fill::<F>(&s);
    let start = Instant::now();
    assert_eq!(s.send_timeout(90, ms(2)), Err(SendTimeoutError::Timeout(90)));
    assert!(start.elapsed() >= ms(2));
    let deadline = Instant::now() + ms(2);
    assert_eq!(s.send_deadline(91, deadline), Err(SendTimeoutError::Timeout(91)));
    assert!(Instant::now() >= deadline);
    assert_eq!(s.send_timeout(92, Duration::ZERO), Err(SendTimeoutError::Timeout(92)));
    assert_eq!(s.send_deadline(93, start), Err(SendTimeoutError::Timeout(93)));
    par(|p| {
        p.go(move || {
            for n in (0..cap).chain([94, 95, 96]) {
                settle();
                // Not one of those that were given back.
                assert_eq!(r.recv(), Ok(n));
            }
            settle();
        });
        assert_eq!(s.send_timeout(94, LONG), Ok(()));
        assert_eq!(s.send_deadline(95, Instant::now() + LONG), Ok(()));
        assert_eq!(s.send_timeout(96, Duration::MAX), Ok(()));
        // Room may be there until the receiver is gone.
        while s.send_timeout(97, LONG) == Ok(()) {}
    });
    assert_eq!(s.send_timeout(98, LONG), Err(SendTimeoutError::Disconnected(98)));
}

pub(crate) fn the_last_receiver_gives_waiting_senders_their_values_back<F: Flavor>() {
    for settled in [true, false] {
        let (s, r) = F::make();
        fill::<F>(&s);
        par(|p| {
            for n in 100..104 {
                let s = s.clone();
                p.go(move || match n {
                    100 => assert_eq!(s.send(n), Err(SendError(n))),
                    101 => assert_eq!(s.send_timeout(n, LONG), Err(SendTimeoutError::Disconnected(n))),
                    102 => {
                        let deadline = Instant::now() + LONG;
                        assert_eq!(s.send_deadline(n, deadline), Err(SendTimeoutError::Disconnected(n)));
                    }
                    _ => select! { send(s, n) -> sent => assert_eq!(sent, Err(SendError(n))) },
                });
            }
            if settled {
                settle();
            }
            drop(r);
        });
    }
}

pub(crate) fn a_channel_holds_no_more_than_its_capacity<F: Flavor>() {
    const COUNT: usize = 1500;
    const EACH: usize = 3;
    let cap = F::CAP.expect("a bounded channel");
    let (s, r) = F::make();
    let (sent, received) = (AtomicUsize::new(0), AtomicUsize::new(0));
    par(|p| {
        for _ in 0..EACH {
            p.go(|| {
                for n in 0..COUNT {
                    s.send(n).unwrap();
                    // So many sends have ended; what of theirs is not inside was asked for.
                    let sent = sent.fetch_add(1, Ordering::SeqCst) + 1;
                    let received = received.load(Ordering::SeqCst);
                    assert!(sent <= received + cap, "{sent} sent, {received} asked for, capacity {cap}");
                }
            });
            p.go(|| {
                for _ in 0..COUNT {
                    received.fetch_add(1, Ordering::SeqCst);
                    r.recv().unwrap();
                }
            });
        }
    });
}
