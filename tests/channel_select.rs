//! `Select`: the list of operations that is made while the program runs; `select`, `try_select`, and with a timeout or deadline.
//!
//! Written from the behaviour that the suite select of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Counted, LONG, Rng, in_child, is_child, ms, on_all, par, settle, text, wait_until};
use greenroutine::channel::{
    Receiver, RecvError, Select, SelectTimeoutError, SendError, Sender, TryRecvError, TrySelectError, after,
    bounded, never, tick, unbounded,
};
use greenroutine::time;

/// The one receiver that is ready, of several.
#[track_caller]
fn select_recv<T>(all: &[&Receiver<T>]) -> (usize, Result<T, RecvError>) {
    let mut sel = Select::new();
    for (n, r) in all.iter().enumerate() {
        assert_eq!(sel.recv(r), n);
    }
    let oper = sel.select();
    let index = oper.index();
    (index, oper.recv(all[index]))
}

#[test]
fn the_operation_that_is_ready_is_selected() {
    on_all(|| {
        let all: Vec<_> = (0..5).map(|_| unbounded()).collect();
        let receivers: Vec<_> = all.iter().map(|(_, r)| r).collect();
        for (n, (s, _)) in all.iter().enumerate() {
            s.send(n).unwrap();
            assert_eq!(select_recv(&receivers), (n, Ok(n)));
        }
    });
}

#[test]
fn send_and_receive_stand_side_by_side() {
    on_all(|| {
        let (s1, r1) = bounded(1);
        let (s2, r2) = bounded(1);
        s2.send(0).unwrap();
        // Room in the first, nothing in it; no room in the second.
        let mut sel = Select::new();
        let send2 = sel.send(&s2);
        let recv1 = sel.recv(&r1);
        let send1 = sel.send(&s1);
        assert_eq!((send2, recv1, send1), (0, 1, 2));
        let oper = sel.select();
        assert_eq!(oper.index(), send1);
        assert_eq!(oper.send(&s1, 7), Ok(()));
        // Now the receive alone.
        let oper = sel.select();
        assert_eq!(oper.index(), recv1);
        assert_eq!(oper.recv(&r1), Ok(7));
        assert_eq!(r2.recv(), Ok(0));
    });
}

#[test]
fn a_disconnected_channel_is_ready() {
    on_all(|| {
        let (s1, r1) = unbounded::<i32>();
        let (s2, r2) = unbounded::<i32>();
        drop(s1);
        for _ in 0..3 {
            assert_eq!(select_recv(&[&r1, &r2]), (0, Err(RecvError)));
        }
        let mut sel = Select::new();
        sel.recv(&r1);
        let oper = sel.try_select().unwrap();
        assert_eq!(oper.recv(&r1), Err(RecvError));
        let oper = sel.select_timeout(LONG).unwrap();
        assert_eq!(oper.recv(&r1), Err(RecvError));
        let oper = sel.select_deadline(Instant::now()).unwrap();
        assert_eq!(oper.recv(&r1), Err(RecvError));
        drop(r2);
        let senders = [s2, bounded(0).0, bounded(1).0];
        for s in senders {
            let mut sel = Select::new();
            let _ = sel.send(&s);
            assert_eq!(sel.select().send(&s, 5), Err(SendError(5)));
            assert_eq!(sel.try_select().unwrap().send(&s, 6), Err(SendError(6)));
            assert_eq!(sel.select_timeout(LONG).unwrap().send(&s, 7), Err(SendError(7)));
        }
    });
}

#[test]
fn the_end_of_a_channel_wakes_the_selection() {
    on_all(|| {
        for flavor in 0..3 {
            let make = || match flavor {
                0 => unbounded::<i32>(),
                cap => bounded(cap - 1),
            };
            let ((s1, r1), (_s2, r2)) = (make(), make());
            par(|p| {
                p.go(move || {
                    settle();
                    drop(s1);
                });
                assert_eq!(select_recv(&[&r2, &r1]), (1, Err(RecvError)));
            });
            let ((s1, r1), (s2, _r2)) = (bounded(0), bounded::<i32>(0));
            par(|p| {
                p.go(move || {
                    settle();
                    drop(r1);
                });
                let mut sel = Select::new();
                sel.send(&s1);
                sel.send(&s2);
                let oper = sel.select_timeout(LONG).unwrap();
                assert_eq!(oper.index(), 0);
                assert_eq!(oper.send(&s1, 4), Err(SendError(4)));
            });
        }
    });
}

#[test]
fn try_select_takes_what_is_ready_or_says_that_nothing_is() {
    on_all(|| {
        let (s1, r1) = unbounded();
        let (s2, r2) = bounded::<i32>(0);
        let mut sel = Select::new();
        assert_eq!(sel.try_select().unwrap_err(), TrySelectError);
        sel.recv(&r1);
        sel.recv(&r2);
        sel.send(&s2);
        assert_eq!(sel.try_select().unwrap_err(), TrySelectError);
        s1.send(3).unwrap();
        let oper = sel.try_select().unwrap();
        assert_eq!(oper.index(), 0);
        assert_eq!(oper.recv(&r1), Ok(3));
        assert_eq!(sel.try_select().unwrap_err(), TrySelectError);
    });
}

#[test]
fn a_timeout_ends_a_selection_and_not_before_its_time() {
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
            let start = Instant::now();
            assert_eq!(sel.select_timeout(ms(2)).unwrap_err(), SelectTimeoutError);
            assert!(start.elapsed() >= ms(2));
            let deadline = Instant::now() + ms(2);
            assert_eq!(sel.select_deadline(deadline).unwrap_err(), SelectTimeoutError);
            assert!(Instant::now() >= deadline);
            assert_eq!(sel.select_timeout(Duration::ZERO).unwrap_err(), SelectTimeoutError);
            assert_eq!(sel.select_deadline(start).unwrap_err(), SelectTimeoutError);
        }
    });
}

#[test]
fn a_timeout_that_is_over_takes_what_is_ready() {
    on_all(|| {
        let start = Instant::now();
        let (s, r) = unbounded();
        let mut sel = Select::new();
        sel.recv(&r);
        for n in 0..10 {
            s.send(n).unwrap();
            let oper =
                if n % 2 == 0 { sel.select_timeout(Duration::ZERO) } else { sel.select_deadline(start) };
            assert_eq!(oper.unwrap().recv(&r), Ok(n));
        }
    });
}

#[test]
fn a_value_before_the_timeout_wakes_the_selection() {
    on_all(|| {
        let (_s1, r1) = bounded::<i32>(0);
        let (s2, r2) = bounded(0);
        par(|p| {
            p.go(|| {
                for n in 0..3 {
                    settle();
                    s2.send(n).unwrap();
                }
            });
            let mut sel = Select::new();
            sel.recv(&r1);
            sel.recv(&r2);
            assert_eq!(sel.select_timeout(LONG).unwrap().recv(&r2), Ok(0));
            assert_eq!(sel.select_deadline(Instant::now() + LONG).unwrap().recv(&r2), Ok(1));
            assert_eq!(sel.select_timeout(Duration::MAX).unwrap().recv(&r2), Ok(2));
        });
        let (s1, r1) = bounded(0);
        let (s2, _r2) = bounded::<i32>(0);
        par(|p| {
            p.go(|| {
                settle();
                assert_eq!(r1.recv(), Ok(1));
            });
            let mut sel = Select::new();
            sel.send(&s1);
            sel.send(&s2);
            let oper = sel.select_timeout(LONG).unwrap();
            assert_eq!(oper.index(), 0);
            assert_eq!(oper.send(&s1, 1), Ok(()));
        });
    });
}

#[test]
fn both_directions_of_a_rendezvous_are_served() {
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
            for _ in 0..2 {
                let oper = sel.select();
                if oper.index() == recv {
                    assert_eq!(oper.recv(&r1), Ok(1));
                } else {
                    assert_eq!(oper.send(&s2, 2), Ok(()));
                }
            }
        });
    });
}

#[test]
fn those_that_only_try_meet_one_that_waits() {
    on_all(|| {
        for _ in 0..10 {
            let (s1, r1) = bounded(0);
            let (s2, r2) = bounded(0);
            let (end_s, end_r) = bounded::<()>(0);
            let met = AtomicUsize::new(0);
            par(|p| {
                p.go(|| {
                    let mut sel = Select::new();
                    let send = sel.send(&s1);
                    let end = sel.recv(&end_r);
                    loop {
                        match sel.try_select() {
                            Ok(oper) if oper.index() == send => {
                                oper.send(&s1, 1).unwrap();
                                met.fetch_add(1, Ordering::SeqCst);
                                break;
                            }
                            Ok(oper) => {
                                assert_eq!(oper.index(), end);
                                break assert_eq!(oper.recv(&end_r), Err(RecvError));
                            }
                            Err(TrySelectError) => greenroutine::yield_now(),
                        }
                    }
                });
                p.go(|| {
                    loop {
                        if let Ok(value) = r2.try_recv() {
                            assert_eq!(value, 2);
                            met.fetch_add(1, Ordering::SeqCst);
                            break;
                        }
                        if end_r.try_recv().is_err_and(|error| error.is_disconnected()) {
                            break;
                        }
                        greenroutine::yield_now();
                    }
                });
                let mut sel = Select::new();
                let recv = sel.recv(&r1);
                sel.send(&s2);
                let oper = sel.select();
                if oper.index() == recv {
                    assert_eq!(oper.recv(&r1), Ok(1));
                } else {
                    assert_eq!(oper.send(&s2, 2), Ok(()));
                }
                drop(end_s);
            });
            assert_eq!(met.into_inner(), 1);
        }
    });
}

#[test]
fn cloning_and_dropping_handles_does_not_wake_a_selection() {
    on_all(|| {
        let (s1, r1) = unbounded::<()>();
        let (s2, r2) = unbounded();
        par(|p| {
            p.go(move || assert_eq!(select_recv(&[&r1, &r2]), (1, Ok(()))));
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
fn what_is_left_is_received_before_the_end() {
    on_all(|| {
        let (s, r) = unbounded();
        drop(s.clone());
        s.send(1).unwrap();
        drop(s);
        assert_eq!(select_recv(&[&r]), (0, Ok(1)));
        assert_eq!(select_recv(&[&r]), (0, Err(RecvError)));
        assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
    });
}

#[test]
fn every_duplicate_is_selected_sometimes() {
    on_all(|| {
        let (s, r) = unbounded();
        let mut hit = [false; 4];
        let mut sel = Select::new();
        for n in 0..2 {
            assert_eq!(sel.recv(&r), n);
        }
        for n in 2..4 {
            assert_eq!(sel.send(&s), n);
        }
        while hit.contains(&false) {
            let oper = sel.select();
            let index = oper.index();
            hit[index] = true;
            if index < 2 {
                assert_eq!(oper.recv(&r), Ok(0));
            } else {
                assert_eq!(oper.send(&s, 0), Ok(()));
            }
        }
    });
}

#[test]
fn selections_nest() {
    on_all(|| {
        let (s, r) = unbounded();
        let mut sends = Select::new();
        let mut receives = Select::new();
        sends.send(&s);
        receives.recv(&r);
        for n in 0..4 {
            let outer = sends.select();
            // The outer one is selected and not complete; the inner one runs from its operand.
            let message = |n: i32| {
                let (inner_s, inner_r) = bounded(1);
                let mut inner = Select::new();
                inner.send(&inner_s);
                inner.select().send(&inner_s, n).unwrap();
                select_recv(&[&inner_r]).1.unwrap()
            };
            assert_eq!(outer.send(&s, message(n)), Ok(()));
            assert_eq!(receives.select().recv(&r), Ok(n));
        }
    });
}

#[test]
fn removed_operations_are_not_selected_and_their_numbers_not_used_again() {
    on_all(|| {
        let (s1, r1) = unbounded::<i32>();
        let (s2, r2) = unbounded::<i32>();
        let (s3, r3) = unbounded::<i32>();
        drop(s2);
        let mut sel = Select::new();
        let one = sel.recv(&r1);
        let two = sel.recv(&r2);
        let oper = sel.select();
        assert_eq!(oper.index(), two);
        assert_eq!(oper.recv(&r2), Err(RecvError));
        sel.remove(two);
        assert!(sel.try_select().is_err());
        let three = sel.recv(&r3);
        assert_eq!((one, two, three), (0, 1, 2));
        s1.send(1).unwrap();
        assert_eq!(sel.select().recv(&r1), Ok(1));
        sel.remove(one);
        s1.send(2).unwrap();
        assert!(sel.try_select().is_err());
        s3.send(3).unwrap();
        let oper = sel.select();
        assert_eq!(oper.index(), three);
        assert_eq!(oper.recv(&r3), Ok(3));
        sel.remove(three);
        assert!(sel.try_select().is_err() && sel.try_ready().is_err());
        // The others keep their order.
        let all: Vec<_> = (0..4).map(|_| bounded(1)).collect();
        let mut sel = Select::new_biased();
        for (s, r) in &all {
            s.send(()).unwrap();
            sel.recv(r);
        }
        sel.remove(0);
        for (n, (_, r)) in all.iter().enumerate().skip(1) {
            let oper = sel.select();
            assert_eq!(oper.index(), n);
            assert_eq!(oper.recv(r), Ok(()));
        }
    });
}

#[test]
fn wrong_uses_panic() {
    on_all(|| {
        let panics = |f: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(f)).is_err();
        let (_s, r) = unbounded::<i32>();
        assert!(panics(&mut || drop(Select::new().select())), "nothing to select");
        assert!(panics(&mut || _ = Select::new().ready()), "nothing to wait for");
        let mut sel = Select::new();
        assert!(panics(&mut || sel.remove(0)), "no such operation");
        sel.recv(&r);
        sel.remove(0);
        assert!(panics(&mut || sel.remove(0)), "removed already");
    });
}

#[test]
fn completing_with_another_handle_ends_badly() {
    const NAME: &str = "completing_with_another_handle_ends_badly";
    let (s, r) = bounded(1);
    let (s2, r2) = (s.clone(), r.clone());
    let mut sel = Select::new();
    match std::env::var("SIDE").as_deref() {
        Ok("send") if is_child(NAME) => {
            sel.send(&s);
            let _ = sel.select().send(&s2, 1);
        }
        Ok("recv") if is_child(NAME) => {
            s.send(1).unwrap();
            sel.recv(&r);
            let _ = sel.select().recv(&r2);
        }
        _ => {
            for (side, message) in [
                ("send", "passed a sender that wasn't selected"),
                ("recv", "passed a receiver that wasn't selected"),
            ] {
                // A clone is not the handle that was added.
                let output = in_child(NAME, |command| _ = command.env("SIDE", side));
                assert!(!output.status.success());
                assert!(text(&output).contains(message), "{}", text(&output));
            }
        }
    }
}

#[test]
fn an_operation_that_is_not_completed_panics() {
    on_all(|| {
        let (s, r) = bounded(1);
        let mut sel = Select::new();
        sel.send(&s);
        let payload = catch_unwind(AssertUnwindSafe(|| drop(sel.select()))).unwrap_err();
        let text = payload.downcast_ref::<&str>().copied().unwrap_or_default();
        assert_eq!(text, "dropped `SelectedOperation` without completing the operation");
        // Its room is free again.
        assert_eq!(s.try_send(1), Ok(()));
        assert_eq!(r.try_recv(), Ok(1));
        // And a receiver that was promised the message goes on waiting.
        let (s, r) = bounded(0);
        par(|p| {
            p.go(|| assert_eq!(r.recv(), Ok(2)));
            let mut sel = Select::new();
            sel.send(&s);
            assert!(catch_unwind(AssertUnwindSafe(|| drop(sel.select()))).is_err());
            s.send(2).unwrap();
        });
    });
}

#[test]
fn a_selection_and_its_operation_have_debug_default_and_clone() {
    on_all(|| {
        let (s, r) = bounded(1);
        let mut sel = Select::default();
        assert_eq!(format!("{sel:?}"), "Select { .. }");
        sel.send(&s);
        let mut clone = sel.clone();
        let oper = clone.select();
        assert_eq!(format!("{oper:?}"), "SelectedOperation { .. }");
        assert_eq!(oper.index(), 0);
        oper.send(&s, 1).unwrap();
        assert_eq!(r.recv(), Ok(1));
        assert!(sel.try_select().is_ok_and(|oper| oper.send(&s, 2).is_ok()));
    });
}

#[test]
fn a_biased_selection_takes_the_first_that_is_ready() {
    on_all(|| {
        let (s1, r1) = unbounded();
        let (s2, r2) = unbounded();
        let (s3, r3) = unbounded();
        for n in 0..20 {
            s2.send(n).unwrap();
            s3.send(n).unwrap();
        }
        let mut sel = Select::new_biased();
        let all = [&r1, &r2, &r3];
        for r in all {
            sel.recv(r);
        }
        for n in 0..20 {
            let oper = match n % 3 {
                0 => sel.select(),
                1 => sel.try_select().unwrap(),
                _ => sel.select_timeout(LONG).unwrap(),
            };
            assert_eq!(oper.index(), 1);
            assert_eq!(oper.recv(&r2), Ok(n));
        }
        s1.send(7).unwrap();
        assert_eq!(sel.ready(), 0);
        assert_eq!(sel.select().recv(&r1), Ok(7));
        for n in 0..20 {
            assert_eq!(sel.try_ready(), Ok(2));
            assert_eq!(sel.select().recv(&r3), Ok(n));
        }
        assert!(sel.try_select().is_err());
        // A clone is biased, too.
        let mut clone = sel.clone();
        for _ in 0..20 {
            s3.send(0).unwrap();
            s2.send(0).unwrap();
        }
        for _ in 0..20 {
            assert_eq!(clone.select().recv(&r2), Ok(0));
        }
    });
}

#[test]
fn a_list_serves_again_and_again() {
    const COUNT: usize = 1500;
    on_all(|| {
        let (s1, r1) = bounded(0);
        let (s2, r2) = bounded(0);
        let (s3, r3) = bounded(100);
        par(|p| {
            p.go(|| {
                for n in 0..COUNT {
                    s1.send(n).unwrap();
                    assert_eq!(r2.recv(), Ok(n));
                    r3.recv().unwrap();
                }
            });
            let mut sel = Select::new();
            let recv = sel.recv(&r1);
            let send = sel.send(&s2);
            for n in 0..COUNT {
                for _ in 0..2 {
                    let oper = sel.select();
                    match oper.index() {
                        i if i == recv => assert_eq!(oper.recv(&r1), Ok(n)),
                        i if i == send => assert_eq!(oper.send(&s2, n), Ok(())),
                        _ => unreachable!(),
                    }
                }
                s3.send(()).unwrap();
            }
        });
    });
}

#[test]
fn receives_from_two_kinds_of_channels_keep_each_order() {
    const COUNT: usize = 500;
    on_all(|| {
        let (s1, r1) = unbounded();
        let (s2, r2) = bounded(5);
        let (s3, r3) = bounded(100);
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
                for _ in 0..2 {
                    assert_eq!(select_recv(&[&r1, &r2]).1, Ok(n));
                    s3.send(()).unwrap();
                }
            }
        });
    });
}

#[test]
fn sends_to_two_channels_meet_their_receivers() {
    const COUNT: usize = 500;
    on_all(|| {
        let (s1, r1) = bounded(0);
        let (s2, r2) = bounded(0);
        par(|p| {
            p.go(|| {
                for n in 0..COUNT {
                    assert_eq!(r1.recv(), Ok(n));
                    assert_eq!(r2.recv(), Ok(n));
                }
            });
            for n in 0..COUNT {
                for expected in 0..2 {
                    let mut sel = Select::new();
                    sel.send(&s1);
                    sel.send(&s2);
                    let oper = sel.select();
                    assert_eq!(oper.index(), expected);
                    oper.send([&s1, &s2][expected], n).unwrap();
                }
            }
        });
    });
}

#[test]
fn short_timeouts_on_both_sides_lose_nothing() {
    const COUNT: usize = 40;
    on_all(|| {
        for cap in [0, 2] {
            let (s, r) = bounded(cap);
            par(|p| {
                p.go(|| {
                    for n in 0..COUNT {
                        if n % 8 == 0 {
                            time::sleep(ms(1));
                        }
                        let mut sel = Select::new();
                        sel.send(&s);
                        loop {
                            if let Ok(oper) = sel.select_timeout(Duration::from_micros(100)) {
                                break oper.send(&s, n).unwrap();
                            }
                        }
                    }
                });
                let mut sel = Select::new();
                sel.recv(&r);
                for n in 0..COUNT {
                    if n % 8 == 4 {
                        time::sleep(ms(1));
                    }
                    loop {
                        if let Ok(oper) = sel.select_timeout(Duration::from_micros(100)) {
                            break assert_eq!(oper.recv(&r), Ok(n));
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn send_and_receive_of_one_channel_do_not_meet_themselves() {
    on_all(|| {
        let (s, r) = bounded::<i32>(0);
        let mut sel = Select::new();
        sel.send(&s);
        sel.recv(&r);
        assert!(sel.try_select().is_err());
        assert!(sel.select_timeout(ms(2)).is_err());
        let (s, r) = unbounded();
        let mut sel = Select::new();
        let send = sel.send(&s);
        sel.recv(&r);
        let oper = sel.select_timeout(LONG).unwrap();
        assert_eq!(oper.index(), send);
        assert_eq!(oper.send(&s, 1), Ok(()));
    });
}

#[test]
fn those_that_both_send_and_receive_meet_in_pairs() {
    for extra in [0, 1] {
        // Everybody meets somebody else; of an odd number the last one meets the value that we send.
        let test: fn() = if extra == 0 { || meet_in_pairs(0) } else { || meet_in_pairs(1) };
        on_all(test);
    }
}

fn meet_in_pairs(extra: usize) {
    const PAIRS: usize = 22;
    for _ in 0..12 {
        let (s, r) = bounded(0);
        let received = AtomicUsize::new(0);
        par(|p| {
            for n in 0..2 * PAIRS + extra {
                let (s, r, received) = (&s, &r, &received);
                p.go(move || {
                    let mut sel = Select::new();
                    let recv = sel.recv(r);
                    sel.send(s);
                    let oper = sel.select();
                    if oper.index() == recv {
                        assert_ne!(oper.recv(r).unwrap(), n);
                        received.fetch_add(1, Ordering::SeqCst);
                    } else {
                        assert_eq!(oper.send(s, n), Ok(()));
                    }
                });
            }
            if extra == 1 {
                s.send(usize::MAX).unwrap();
            }
        });
        assert_eq!(received.into_inner(), PAIRS + extra);
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        assert!(s.try_send(0).is_err());
    }
}

#[test]
fn a_selection_may_be_shared_and_cloned_across_threads() {
    const COUNT: usize = 20;
    on_all(|| {
        let (s, r) = bounded(0);
        let mut sel = Select::new();
        let recv = sel.recv(&r);
        sel.send(&s);
        let sel = &sel;
        par(|p| {
            for n in 0..COUNT {
                let moved = (n % 2 == 0).then(|| sel.clone());
                let (s, r) = (&s, &r);
                p.go(move || {
                    let mut sel = moved.unwrap_or_else(|| sel.clone());
                    let oper = sel.select();
                    if oper.index() == recv {
                        assert_ne!(oper.recv(r).unwrap(), n);
                    } else {
                        oper.send(s, n).unwrap();
                    }
                });
            }
        });
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_channel_goes_through_a_channel() {
    const COUNT: usize = 200;
    type Value = Box<dyn Any + Send>;
    on_all(|| {
        for cap in 0..3 {
            let (s, r) = bounded::<Value>(cap);
            par(|p| {
                p.go(move || {
                    let mut s = s;
                    for _ in 0..COUNT {
                        let (next, r) = bounded::<Value>(cap);
                        let mut sel = Select::new();
                        sel.send(&s);
                        sel.select().send(&s, Box::new(r)).unwrap();
                        drop(sel);
                        s = next;
                    }
                });
                let mut r = r;
                for _ in 0..COUNT {
                    let value = select_recv(&[&r]).1.unwrap();
                    r = *value.downcast().unwrap();
                }
            });
        }
    });
}

/// A selection over two channels, of which at every moment at least one is ready, must find one, without waiting.
fn never_misses(wait: bool) {
    const COUNT: usize = 1000;
    for make in [|| bounded::<i32>(1), unbounded] {
        let (start_s, start_r) = bounded::<()>(0);
        let (end_s, end_r) = bounded::<()>(0);
        let ((s1, r1), (s2, r2), (_s, quiet)) = (make(), make(), make());
        par(|p| {
            p.go(|| {
                let mut sel = Select::new();
                // The second first, and others in between: a look at each in turn finds none if the other task moves meanwhile.
                let all: Vec<_> = [&r2].into_iter().chain([&quiet; 60]).chain([&r1]).collect();
                for r in &all {
                    sel.recv(r);
                }
                for _ in 0..COUNT {
                    start_s.send(()).unwrap();
                    s1.send(1).unwrap();
                    let oper = if wait {
                        sel.select_timeout(Duration::ZERO).expect("one of them is ready")
                    } else {
                        sel.try_select().expect("one of them is ready")
                    };
                    let r = all[oper.index()];
                    assert_eq!(oper.recv(r), Ok(1));
                    end_s.send(()).unwrap();
                    let _ = r2.try_recv();
                }
            });
            for _ in 0..COUNT {
                start_r.recv().unwrap();
                // First into the one, only then out of the other.
                s2.send(1).unwrap();
                let _ = r1.try_recv();
                end_r.recv().unwrap();
            }
        });
    }
}

#[test]
fn try_select_sees_all_channels_at_one_moment() {
    on_all(|| never_misses(false));
}

#[test]
fn select_timeout_sees_all_channels_at_one_moment() {
    on_all(|| never_misses(true));
}

fn assert_alike(hits: &[usize]) {
    let share = hits.iter().sum::<usize>() / hits.len();
    assert!(hits.iter().all(|&hits| hits >= share / 2), "{hits:?}");
}

#[test]
fn all_kinds_of_channels_are_selected_alike() {
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
            let (index, value) = select_recv(&[&r1, &r2, &after, &tick]);
            assert!(value.is_ok());
            hits[index] += 1;
        }
        assert_alike(&hits);
    });
}

#[test]
fn no_ready_operation_starves_beside_others() {
    const COUNT: usize = 1000;
    on_all(|| {
        let (s1, r1) = unbounded();
        let (s2, r2) = bounded(1);
        let (s3, r3) = bounded(0);
        par(|p| {
            p.go(|| {
                for _ in 0..COUNT {
                    let mut sel = Select::new();
                    let one = s1.is_empty().then(|| sel.send(&s1));
                    let two = s2.is_empty().then(|| sel.send(&s2));
                    let three = sel.send(&s3);
                    let oper = sel.select();
                    match oper.index() {
                        i if Some(i) == one => oper.send(&s1, ()).unwrap(),
                        i if Some(i) == two => oper.send(&s2, ()).unwrap(),
                        i if i == three => oper.send(&s3, ()).unwrap(),
                        _ => unreachable!(),
                    }
                }
            });
            let mut hits = [0; 3];
            for _ in 0..COUNT {
                hits[select_recv(&[&r1, &r2, &r3]).0] += 1;
            }
            // So few are enough: the choice is fair, but how often each is ready is up to the scheduler.
            assert!(hits.iter().all(|&hits| hits >= COUNT / 150), "{hits:?}");
        });
    });
}

#[test]
fn a_list_may_be_long_and_one_channel_in_it_often() {
    on_all(|| {
        let all: Vec<_> = (0..1000).map(|_| bounded::<usize>(1)).collect();
        let mut sel = Select::new();
        for round in 0..2 {
            for (n, (_, r)) in all.iter().enumerate() {
                assert_eq!(sel.recv(r), round * 1000 + n);
            }
        }
        for n in [0, 1, 500, 999] {
            all[n].0.send(n).unwrap();
            let oper = sel.select();
            assert_eq!(oper.index() % 1000, n);
            assert_eq!(oper.recv(&all[n].1), Ok(n));
        }
        assert!(sel.try_select().is_err());
        par(|p| {
            p.go(|| {
                settle();
                all[777].0.send(777).unwrap();
            });
            let oper = sel.select();
            assert_eq!(oper.index() % 1000, 777);
            assert_eq!(oper.recv(&all[777].1), Ok(777));
        });
    });
}

#[test]
fn a_selection_that_lost_leaves_nothing_behind() {
    on_all(|| {
        let channels: Vec<_> = (0..4).map(|_| bounded::<usize>(0)).collect();
        for winner in 0..4 {
            par(|p| {
                p.go(|| {
                    let mut sel = Select::new();
                    for (_, r) in &channels {
                        sel.recv(r);
                    }
                    let oper = sel.select();
                    assert_eq!(oper.index(), winner);
                    assert_eq!(oper.recv(&channels[winner].1), Ok(winner));
                });
                settle();
                channels[winner].0.send(winner).unwrap();
            });
            for (s, r) in &channels {
                assert!(s.try_send(9).is_err(), "nobody waits any more");
                assert!(r.try_recv().is_err());
            }
            par(|p| {
                p.go(|| {
                    let mut sel = Select::new();
                    for (s, _) in &channels {
                        sel.send(s);
                    }
                    let oper = sel.select();
                    assert_eq!(oper.index(), winner);
                    oper.send(&channels[winner].0, winner).unwrap();
                });
                settle();
                assert_eq!(channels[winner].1.recv(), Ok(winner));
            });
            for (s, r) in &channels {
                assert!(s.try_send(9).is_err());
                assert!(r.try_recv().is_err());
            }
        }
    });
}

#[test]
fn of_many_selections_one_gets_the_value() {
    const SELECTIONS: usize = 16;
    on_all(|| {
        let channels: Vec<_> = (0..3).map(bounded::<usize>).collect();
        let (end_s, end_r) = bounded::<usize>(0);
        let got = AtomicUsize::new(0);
        par(|p| {
            for _ in 0..SELECTIONS {
                let end_r = end_r.clone();
                let (channels, got) = (&channels, &got);
                p.go(move || {
                    let all: Vec<_> = channels.iter().map(|(_, r)| r).chain([&end_r]).collect();
                    while let (_, Ok(_)) = select_recv(&all) {
                        got.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            for n in 0..300 {
                channels[n % 3].0.send(n).unwrap();
            }
            wait_until(|| got.load(Ordering::SeqCst) == 300);
            drop(end_s);
        });
        assert_eq!(got.into_inner(), 300);
    });
}

#[test]
fn sends_that_compete_for_one_place_lose_and_double_nothing() {
    const COUNT: usize = 100;
    on_all(|| {
        for cap in [1, 2] {
            let (s, r) = bounded(cap);
            let seen: Vec<_> = (0..6 * COUNT).map(|_| AtomicUsize::new(0)).collect();
            par(|p| {
                for sender in 0..6 {
                    let s = s.clone();
                    p.go(move || {
                        let nothing = never::<()>();
                        let mut sel = Select::new();
                        sel.send(&s);
                        sel.recv(&nothing);
                        for value in (0..COUNT).map(|n| 6 * n + sender) {
                            match sender {
                                // Those that choose, and may find that the place they were woken for was taken by one of those that only try.
                                0..3 => sel.select().send(&s, value).unwrap(),
                                3 => s.send(value).unwrap(),
                                _ => wait_until(|| s.try_send(value).is_ok()),
                            }
                        }
                    });
                }
                drop(s);
                for _ in 0..2 {
                    p.go(|| {
                        while let Ok(value) = r.recv() {
                            seen[value].fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            });
            assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) == 1));
        }
    });
}

#[test]
fn values_of_selected_sends_are_dropped_once() {
    on_all(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let mut rng = Rng(11);
        let channels: Vec<_> = [0, 1, 3].map(bounded::<Counted>).into();
        par(|p| {
            p.go(|| {
                for _ in 0..200 {
                    let mut sel = Select::new();
                    for (_, r) in &channels {
                        sel.recv(r);
                    }
                    let oper = sel.select();
                    let index = oper.index();
                    drop(oper.recv(&channels[index].1).unwrap());
                }
            });
            for _ in 0..200 {
                let mut sel = Select::new();
                let start = rng.below(3) as usize;
                for n in 0..3 {
                    sel.send(&channels[(start + n) % 3].0);
                }
                let oper = sel.select();
                let s: &Sender<Counted> = &channels[(start + oper.index()) % 3].0;
                assert!(oper.send(s, Counted(drops.clone())).is_ok());
            }
        });
        drop(channels);
        assert_eq!(drops.load(Ordering::SeqCst), 200);
    });
}

#[test]
fn never_takes_part_and_never_wins() {
    on_all(|| {
        let (s, r) = bounded(1);
        let nothing = never();
        for n in 0..20 {
            s.send(n).unwrap();
            assert_eq!(select_recv(&[&nothing, &r]), (1, Ok(n)));
        }
    });
}
