//! What std's channels promise, of ours: `std::sync::mpsc::channel` is `unbounded`, `sync_channel(n)` is `bounded(n)`.
//!
//! Written from the behaviour that the suite mpsc of crossbeam-channel 0.5 (MIT OR Apache-2.0) states, which is that of std's own tests.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{LONG, ms, on_all, par, settle};
use greenroutine::channel::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    bounded, select, unbounded,
};
use greenroutine::{time, yield_now};

/// Of every kind.
fn each<T>(test: impl Fn(Sender<T>, Receiver<T>)) {
    for (s, r) in [unbounded(), bounded(0), bounded(1), bounded(16)] {
        test(s, r);
    }
}

/// Of every kind that takes a value without a receiver.
fn each_buffered<T>(test: impl Fn(Sender<T>, Receiver<T>)) {
    for (s, r) in [unbounded(), bounded(1), bounded(16)] {
        test(s, r);
    }
}

mod alone {
    use super::*;

    #[test]
    fn a_value_comes_back_from_the_same_task() {
        on_all(|| {
            each_buffered(|s, r| {
                for n in 0..20 {
                    s.send(Box::new(n)).unwrap();
                    assert_eq!(*r.recv().unwrap(), n);
                    s.clone().send(Box::new(n)).unwrap();
                    assert_eq!(*r.clone().recv().unwrap(), n);
                }
            });
        });
    }

    #[test]
    fn a_value_that_nobody_receives_is_dropped() {
        on_all(|| {
            each_buffered(|s, _r| s.send(Box::new(1)).unwrap());
            each_buffered(|s, r| {
                drop(s.clone());
                drop(s.clone());
                s.send(Box::new(1)).unwrap();
                drop(r.clone());
            });
        });
    }

    #[test]
    fn either_end_may_go_first_without_a_value() {
        on_all(|| {
            each::<i32>(|s, r| {
                drop(r);
                drop(s);
            });
            each::<i32>(|s, r| {
                drop(s);
                drop(r);
            });
        });
    }

    #[test]
    fn a_send_without_receivers_is_an_error() {
        on_all(|| {
            each(|s, r| {
                let s2 = s.clone();
                drop(r);
                assert_eq!(s.send(Box::new(1)), Err(SendError(Box::new(1))));
                drop(s);
                assert_eq!(s2.send(Box::new(2)), Err(SendError(Box::new(2))));
                assert_eq!(s2.try_send(Box::new(3)), Err(TrySendError::Disconnected(Box::new(3))));
            });
            // Gone from the beginning.
            let (s, _) = unbounded();
            assert_eq!(s.send(123), Err(SendError(123)));
            assert_eq!(s.send(123), Err(SendError(123)));
        });
    }

    #[test]
    fn a_receive_without_senders_is_an_error() {
        on_all(|| {
            each::<i32>(|s, r| {
                let s2 = s.clone();
                drop(s);
                assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
                drop(s2);
                assert_eq!(r.recv(), Err(RecvError));
                assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
                assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
            });
        });
    }

    #[test]
    fn try_recv_peeks_at_an_open_an_empty_and_a_closed_channel() {
        on_all(|| {
            each_buffered(|s, r| {
                assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
                s.send(10).unwrap();
                assert_eq!(r.try_recv(), Ok(10));
                s.send(11).unwrap();
                drop(s);
                assert_eq!(r.try_recv(), Ok(11));
                assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
            });
        });
    }

    #[test]
    fn try_send_finds_room_none_and_no_receivers() {
        on_all(|| {
            let (s, _r) = bounded(0);
            assert_eq!(s.try_send(1), Err(TrySendError::Full(1)));
            let (s, r) = bounded(1);
            assert_eq!(s.try_send(1), Ok(()));
            assert_eq!(s.try_send(2), Err(TrySendError::Full(2)));
            drop(r);
            assert_eq!(s.try_send(3), Err(TrySendError::Disconnected(3)));
        });
    }

    #[test]
    fn recv_timeout_waits_its_time_or_takes_what_is_there() {
        on_all(|| {
            each_buffered(|s, r| {
                let _clone = s.clone();
                s.send(1).unwrap();
                assert_eq!(r.recv_timeout(ms(1)), Ok(1));
                let start = Instant::now();
                assert_eq!(r.recv_timeout(ms(1)), Err(RecvTimeoutError::Timeout));
                assert!(start.elapsed() >= ms(1));
                s.send(2).unwrap();
                assert_eq!(r.recv_timeout(ms(1)), Ok(2));
            });
        });
    }

    #[test]
    fn many_values_pass_through_one_task() {
        on_all(|| {
            let (s, r) = unbounded();
            for n in 0..10_000 {
                s.send(n).unwrap();
            }
            for n in 0..10_000 {
                assert_eq!(r.recv(), Ok(n));
            }
        });
    }
}

mod together {
    use super::*;

    #[test]
    fn a_value_goes_to_another_task_and_back() {
        on_all(|| {
            each(|s, r| {
                let (back_s, back_r) = bounded(0);
                par(|p| {
                    p.go(move || {
                        assert_eq!(r.recv(), Ok(1));
                        back_s.send(2).unwrap();
                    });
                    s.send(1).unwrap();
                    assert_eq!(back_r.recv(), Ok(2));
                });
            });
        });
    }

    #[test]
    fn senders_learn_that_the_receiver_is_gone() {
        on_all(|| {
            each(|s, r| {
                let s2 = s.clone();
                par(|p| {
                    p.go(move || r.recv().unwrap());
                    while s.send(1).is_ok() && s2.send(1).is_ok() {}
                    assert_eq!(s.send(2), Err(SendError(2)));
                });
            });
        });
    }

    #[test]
    fn the_receiver_learns_that_the_senders_are_gone() {
        on_all(|| {
            each(|s, r| {
                par(|p| {
                    p.go(move || {
                        s.send(1).unwrap();
                        s.send(2).unwrap();
                    });
                    assert_eq!(r.iter().collect::<Vec<_>>(), [1, 2]);
                    assert_eq!(r.recv(), Err(RecvError));
                });
            });
        });
    }

    #[test]
    fn waiting_senders_get_an_error_when_the_receiver_goes() {
        on_all(|| {
            let (s, r) = bounded(0);
            let (done_s, done_r) = unbounded();
            par(|p| {
                for n in 0..2 {
                    let (s, done_s) = (s.clone(), done_s.clone());
                    p.go(move || {
                        assert_eq!(s.send(n), Err(SendError(n)));
                        done_s.send(()).unwrap();
                    });
                }
                settle();
                drop(r);
                assert_eq!(done_r.iter().take(2).count(), 2);
            });
            let (s, r) = bounded(1);
            s.send(1).unwrap();
            par(|p| {
                p.go(move || {
                    settle();
                    drop(r);
                });
                assert_eq!(s.send(2), Err(SendError(2)));
            });
        });
    }

    #[test]
    fn values_of_eight_senders_all_arrive() {
        const COUNT: usize = 200;
        on_all(|| {
            each(|s, r| {
                par(|p| {
                    for _ in 0..8 {
                        let s = s.clone();
                        p.go(move || (0..COUNT).for_each(|_| s.send(1).unwrap()));
                    }
                    drop(s);
                    assert_eq!(r.iter().sum::<usize>(), 8 * COUNT);
                    assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
                });
            });
        });
    }

    #[test]
    fn a_hundred_tasks_send_one_value_each() {
        on_all(|| {
            each(|s, r| {
                par(|p| {
                    for _ in 0..100 {
                        let s = s.clone();
                        p.go(move || s.send(()).unwrap());
                    }
                    for _ in 0..100 {
                        r.recv().unwrap();
                    }
                    assert_eq!(r.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
                });
            });
        });
    }

    #[test]
    fn ends_that_go_at_the_same_time_agree() {
        on_all(|| {
            for _ in 0..30 {
                // Close against close.
                each::<i32>(|s, r| {
                    par(|p| {
                        p.go(move || drop(r));
                        drop(s);
                    });
                });
                // Send against close: it goes one way or the other.
                each(|s, r| {
                    par(|p| {
                        p.go(move || drop(r));
                        p.go(move || _ = s.send(Box::new(1)));
                    });
                });
                // Receive against close.
                each::<Box<i32>>(|s, r| {
                    par(|p| {
                        p.go(move || assert_eq!(r.recv(), Err(RecvError)));
                        p.go(move || drop(s));
                    });
                });
                // Send against receive.
                each(|s, r| {
                    par(|p| {
                        p.go(move || s.send(Box::new(10)).unwrap());
                        assert_eq!(*r.recv().unwrap(), 10);
                    });
                });
            }
        });
    }

    #[test]
    fn handles_move_from_task_to_task_between_values() {
        const COUNT: usize = 10;
        // Each value is sent by a task that the one before it has started.
        fn send(s: Sender<Box<usize>>, n: usize) {
            if n < COUNT {
                s.send(Box::new(n)).unwrap();
                par(|p| _ = p.go(move || send(s, n + 1)));
            }
        }
        on_all(|| {
            each(|s, r| {
                par(|p| {
                    p.go(move || send(s, 0));
                    let mut r = r;
                    for n in 0..COUNT {
                        let (value, back) = p
                            .go(move || {
                                let value = r.recv();
                                (value, r)
                            })
                            .join();
                        assert_eq!(value, Ok(Box::new(n)));
                        r = back;
                    }
                });
            });
        });
    }

    #[test]
    fn a_receiver_that_times_out_again_and_again_misses_nothing() {
        const COUNT: usize = 30;
        on_all(|| {
            each(|s, r| {
                par(|p| {
                    for sender in 0..2 {
                        let s = s.clone();
                        p.go(move || {
                            for n in 0..COUNT {
                                if n % 10 == sender {
                                    time::sleep(ms(1));
                                }
                                s.send(1).unwrap();
                            }
                        });
                    }
                    drop(s);
                    let mut count = 0;
                    loop {
                        match r.recv_timeout(Duration::from_micros(200)) {
                            Ok(n) => count += n,
                            Err(RecvTimeoutError::Timeout) => continue,
                            Err(RecvTimeoutError::Disconnected) => break,
                        }
                    }
                    assert_eq!(count, 2 * COUNT);
                });
            });
        });
    }

    #[test]
    fn try_recv_follows_what_the_other_side_does() {
        on_all(|| {
            each_buffered(|s1, r1| {
                let ((s2, r2), (s3, r3)) = (bounded(1), bounded(1));
                par(|p| {
                    p.go(move || {
                        let () = r2.recv().unwrap();
                        s1.send(1).unwrap();
                        s3.send(()).unwrap();
                        r2.recv().unwrap();
                        drop(s1);
                        s3.send(()).unwrap();
                    });
                    assert_eq!(r1.try_recv(), Err(TryRecvError::Empty));
                    s2.send(()).unwrap();
                    r3.recv().unwrap();
                    assert_eq!(r1.try_recv(), Ok(1));
                    assert_eq!(r1.try_recv(), Err(TryRecvError::Empty));
                    s2.send(()).unwrap();
                    r3.recv().unwrap();
                    assert_eq!(r1.try_recv(), Err(TryRecvError::Disconnected));
                });
            });
        });
    }

    #[test]
    fn a_receiver_goes_while_a_cloned_sender_is_left() {
        on_all(|| {
            each(|s, r| {
                let (done_s, done_r) = bounded(0);
                par(|p| {
                    p.go(move || {
                        r.recv().unwrap();
                        drop(r);
                        done_s.send(()).unwrap();
                    });
                    settle();
                    let s2 = s.clone();
                    drop(s);
                    s2.send(()).unwrap();
                    done_r.recv().unwrap();
                    assert_eq!(s2.send(()), Err(SendError(())));
                });
            });
        });
    }

    #[test]
    fn a_short_exchange_through_small_buffers_ends() {
        on_all(|| {
            for _ in 0..50 {
                let ((s1, r1), (s2, r2)) = (bounded(3), bounded(3));
                par(|p| {
                    p.go(move || {
                        r1.recv().unwrap();
                        s2.try_send(()).unwrap();
                    });
                    s1.try_send(()).unwrap();
                    r2.recv().unwrap();
                });
            }
        });
    }

    #[test]
    fn iterators_sum_break_and_answer() {
        on_all(|| {
            each(|s, r| {
                let (total_s, total_r) = bounded(1);
                par(|p| {
                    p.go(move || total_s.send(r.iter().sum::<i32>()).unwrap());
                    for n in [3, 1, 2] {
                        s.send(n).unwrap();
                    }
                    drop(s);
                    assert_eq!(total_r.recv(), Ok(6));
                });
            });
            each(|s, r| {
                let (count_s, count_r) = bounded(1);
                par(|p| {
                    p.go(move || {
                        let mut count = 0;
                        for n in r.iter() {
                            if count >= 3 {
                                break;
                            }
                            count += n;
                        }
                        count_s.send(count).unwrap();
                    });
                    for _ in 0..3 {
                        s.send(2).unwrap();
                    }
                    // The loop is over, or takes this one and is over then.
                    let _ = s.try_send(2);
                    drop(s);
                    assert_eq!(count_r.recv(), Ok(4));
                });
            });
        });
    }

    #[test]
    fn send_timeout_is_as_patient_as_it_should_be() {
        on_all(|| {
            let (s, r) = bounded(0);
            let start = Instant::now();
            assert_eq!(s.send_timeout(1, ms(1)), Err(SendTimeoutError::Timeout(1)));
            assert!(start.elapsed() >= ms(1));
            par(|p| {
                p.go(move || {
                    settle();
                    assert_eq!(r.recv(), Ok(2));
                });
                assert_eq!(s.send_timeout(2, LONG), Ok(()));
            });
            assert_eq!(s.send_timeout(3, LONG), Err(SendTimeoutError::Disconnected(3)));
        });
    }
}

mod selecting {
    use super::*;

    #[test]
    fn the_one_of_five_that_has_a_value() {
        on_all(|| {
            let all: Vec<_> = (0..5).map(|_| unbounded::<i32>()).collect();
            let [r1, r2, r3, r4, r5] = [0, 1, 2, 3, 4].map(|n: usize| &all[n].1);
            all[4].0.send(4).unwrap();
            select! {
                recv(r1) -> _ => unreachable!(),
                recv(r2) -> _ => unreachable!(),
                recv(r3) -> _ => unreachable!(),
                recv(r4) -> _ => unreachable!(),
                recv(r5) -> value => assert_eq!(value, Ok(4)),
            }
        });
    }

    #[test]
    fn a_value_then_the_end_wake_the_selection() {
        on_all(|| {
            let ((s1, r1), (_s2, r2), (s3, r3)) = (unbounded(), unbounded::<i32>(), unbounded());
            par(|p| {
                p.go(move || {
                    settle();
                    s1.send(1).unwrap();
                    r3.recv().unwrap();
                    settle();
                });
                select! {
                    recv(r1) -> value => assert_eq!(value, Ok(1)),
                    recv(r2) -> _ => unreachable!(),
                }
                s3.send(1).unwrap();
                select! {
                    recv(r1) -> value => assert_eq!(value, Err(RecvError)),
                    recv(r2) -> _ => unreachable!(),
                }
            });
        });
    }

    #[test]
    fn both_values_are_received_once() {
        on_all(|| {
            let ((s1, r1), (s2, r2), (s3, r3)) = (unbounded(), unbounded(), unbounded::<()>());
            par(|p| {
                p.go(move || {
                    settle();
                    s1.send(1).unwrap();
                    s2.send(2).unwrap();
                    r3.recv().unwrap();
                });
                let mut sum = 0;
                for _ in 0..2 {
                    sum += select! {
                        recv(r1) -> value => value.unwrap(),
                        recv(r2) -> value => value.unwrap(),
                    };
                }
                assert_eq!(sum, 3);
                assert_eq!(r1.try_recv(), Err(TryRecvError::Empty));
                assert_eq!(r2.try_recv(), Err(TryRecvError::Empty));
                s3.send(()).unwrap();
            });
        });
    }

    #[test]
    fn values_that_alternate_between_two_channels_come_in_order() {
        const COUNT: usize = 500;
        on_all(|| {
            each(|s1, r1| {
                let ((s2, r2), (s3, r3)) = (unbounded(), unbounded());
                par(|p| {
                    p.go(move || {
                        for n in 0..COUNT {
                            let s = if n % 2 == 0 { &s1 } else { &s2 };
                            s.send(n).unwrap();
                            r3.recv().unwrap();
                        }
                    });
                    for n in 0..COUNT {
                        select! {
                            recv(r1) -> value => assert!(n % 2 == 0 && value == Ok(n)),
                            recv(r2) -> value => assert!(n % 2 == 1 && value == Ok(n)),
                        }
                        s3.send(()).unwrap();
                    }
                });
            });
        });
    }

    #[test]
    fn what_was_there_before_the_selection_is_found() {
        on_all(|| {
            each_buffered(|s, r| {
                s.send(()).unwrap();
                select! { recv(r) -> value => assert_eq!(value, Ok(())) }
                drop(s.clone());
                s.send(()).unwrap();
                select! { recv(r) -> value => assert_eq!(value, Ok(())) }
                s.send(()).unwrap();
                drop(s);
                r.recv().unwrap();
                select! { recv(r) -> value => assert_eq!(value, Err(RecvError)) }
            });
        });
    }

    #[test]
    fn a_value_for_a_selection_that_waits_wakes_it() {
        on_all(|| {
            each(|s, r| {
                let (done_s, done_r) = bounded(0);
                par(|p| {
                    p.go(move || {
                        select! { recv(r) -> value => assert_eq!(value, Ok(())) }
                        done_s.send(()).unwrap();
                    });
                    settle();
                    s.send(()).unwrap();
                    done_r.recv().unwrap();
                });
            });
        });
    }

    #[test]
    fn a_rendezvous_and_a_queue_in_one_selection() {
        on_all(|| {
            let ((s1, r1), (s2, r2)) = (bounded(0), unbounded());
            par(|p| {
                p.go(move || s1.send(1).unwrap());
                p.go(move || s2.send(2).unwrap());
                select! {
                    recv(r1) -> value => {
                        assert_eq!(value, Ok(1));
                        assert_eq!(r2.recv(), Ok(2));
                    },
                    recv(r2) -> value => {
                        assert_eq!(value, Ok(2));
                        assert_eq!(r1.recv(), Ok(1));
                    }
                }
            });
        });
    }

    #[test]
    fn cloning_beside_a_selection_is_no_event() {
        on_all(|| {
            let ((s1, r1), (_s2, r2), (s3, r3)) = (unbounded(), unbounded::<i32>(), unbounded());
            let clones = AtomicUsize::new(0);
            par(|p| {
                let clones = &clones;
                p.go(move || {
                    let () = r3.recv().unwrap();
                    for _ in 0..10 {
                        drop(s1.clone());
                        clones.fetch_add(1, Ordering::SeqCst);
                        yield_now();
                    }
                    assert_eq!(r3.try_recv(), Err(TryRecvError::Empty));
                    s1.send(2).unwrap();
                    r3.recv().unwrap();
                });
                s3.send(()).unwrap();
                select! {
                    recv(r1) -> value => assert_eq!(value, Ok(2)),
                    recv(r2) -> _ => unreachable!(),
                }
                assert_eq!(clones.load(Ordering::SeqCst), 10);
                s3.send(()).unwrap();
            });
        });
    }
}
