//! `select!` and `select_biased!`: the whole grammar, what is evaluated and when, and how the cases are chosen.
//!
//! Written from the behaviour that the suites select_macro and thread_locals of crossbeam-channel 0.5 (MIT OR Apache-2.0) state.

#![allow(
    clippy::let_and_return,
    clippy::redundant_closure_call,
    reason = "the grammar is under test, and these are forms of it"
)]
#![deny(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

#[allow(unsafe_code, reason = "makes runtimes in free mode")]
mod common;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::{ControlFlow, Deref};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Counted, LONG, ms, on_all, par, settle, wait_until};
use greenroutine::channel::{
    self, Receiver, RecvError, SendError, Sender, TryRecvError, after, bounded, never, select, select_biased,
    tick, unbounded,
};

#[test]
fn the_operation_that_is_ready_is_chosen() {
    on_all(|| {
        let (s1, r1) = unbounded();
        let (s2, r2) = unbounded();
        s1.send(1).unwrap();
        select! {
            recv(r1) -> value => assert_eq!(value, Ok(1)),
            recv(r2) -> _ => unreachable!(),
        }
        s2.send(2).unwrap();
        select! {
            recv(r1) -> _ => unreachable!(),
            recv(r2) -> value => assert_eq!(value, Ok(2)),
        }
        let (s3, r3) = bounded(1);
        select! {
            recv(r3) -> _ => unreachable!(),
            send(s3, 3) -> sent => assert_eq!(sent, Ok(())),
        }
        select! {
            send(s3, 4) -> _ => unreachable!(),
            recv(r3) -> value => assert_eq!(value, Ok(3)),
        }
    });
}

#[test]
fn one_case_works_in_every_form() {
    on_all(|| {
        let (s, r) = bounded(1);
        select! { send(s, 1) -> sent => assert_eq!(sent, Ok(())) }
        select! { recv(r) -> value => assert_eq!(value, Ok(1)) }
        select! { send(s, 2) -> sent => assert_eq!(sent, Ok(())), default => unreachable!() }
        select! { send(s, 3) -> _ => unreachable!(), default => {} }
        select! { send(s, 3) -> _ => unreachable!(), default(Duration::ZERO) => {} }
        select! { recv(r) -> value => assert_eq!(value, Ok(2)), default => unreachable!() }
        select! { recv(r) -> _ => unreachable!(), default => {} }
        select! { recv(r) -> _ => unreachable!(), default(Duration::ZERO) => {} }
        select! { send(s, 4) -> sent => assert_eq!(sent, Ok(())), default(LONG) => unreachable!() }
        select! { recv(r) -> value => assert_eq!(value, Ok(4)), default(LONG) => unreachable!() }
        drop(s);
        select! { recv(r) -> value => assert_eq!(value, Err(RecvError)) }
        select! { recv(r) -> value => assert_eq!(value, Err(RecvError)), default => unreachable!() }
        select! { recv(r) -> value => assert_eq!(value, Err(RecvError)), default(LONG) => unreachable!() }
    });
}

#[test]
fn a_disconnected_channel_is_ready() {
    on_all(|| {
        let (s1, r1) = unbounded::<i32>();
        let (s2, r2) = unbounded::<i32>();
        drop(s1);
        select! {
            recv(r1) -> value => assert_eq!(value, Err(RecvError)),
            recv(r2) -> _ => unreachable!(),
        }
        select! {
            recv(r1) -> value => assert_eq!(value, Err(RecvError)),
            recv(r2) -> _ => unreachable!(),
            default => unreachable!(),
        }
        select! {
            recv(r2) -> _ => unreachable!(),
            recv(r1) -> value => assert_eq!(value, Err(RecvError)),
            default(LONG) => unreachable!(),
        }
        drop(r2);
        let senders = [s2, bounded(0).0, bounded(1).0];
        for s in senders {
            select! { send(s, 1) -> sent => assert_eq!(sent, Err(SendError(1))) }
            select! { send(s, 2) -> sent => assert_eq!(sent, Err(SendError(2))), default => unreachable!() }
            select! { send(s, 3) -> sent => assert_eq!(sent, Err(SendError(3))), default(LONG) => unreachable!() }
        }
    });
}

#[test]
fn the_end_of_a_channel_wakes_the_selection() {
    on_all(|| {
        let (s, r) = bounded::<i32>(0);
        par(|p| {
            p.go(move || {
                settle();
                drop(s);
            });
            select! {
                recv(r) -> value => assert_eq!(value, Err(RecvError)),
                recv(never::<()>()) -> _ => unreachable!(),
            }
        });
        let (s, r) = bounded(0);
        par(|p| {
            p.go(move || {
                settle();
                drop(r);
            });
            select! {
                send(s, String::from("back")) -> sent => assert_eq!(sent.unwrap_err().into_inner(), "back"),
                recv(never::<()>()) -> _ => unreachable!(),
                default(LONG) => unreachable!(),
            }
        });
    });
}

#[test]
fn a_default_is_for_when_nothing_is_ready() {
    on_all(|| {
        let (s1, r1) = unbounded::<i32>();
        let (s0, r0) = bounded::<i32>(0);
        let look = || {
            select! {
                recv(r1) -> _ => 1,
                recv(r0) -> _ => 2,
                send(s0, 0) -> _ => 3,
                default => 4,
            }
        };
        assert_eq!(look(), 4);
        s1.send(1).unwrap();
        assert_eq!(look(), 1);
        assert_eq!(look(), 4);
        drop(s1);
        assert_eq!(look(), 1);
    });
}

#[test]
fn a_default_may_stand_alone_and_anywhere() {
    on_all(|| {
        select! { default => {} }
        select! { default() => {} }
        select! { default => {}, }
        assert_eq!(select! { default => 1 }, 1);
        assert_eq!(select! { default() => 2 }, 2);
        let start = Instant::now();
        assert_eq!(select! { default(ms(2)) => 3 }, 3);
        assert!(start.elapsed() >= ms(2));
        let (s, r) = bounded::<i32>(0);
        select! {
            default => {}
            recv(r) -> _ => unreachable!(),
        }
        select! {
            recv(r) -> _ => unreachable!(),
            default() => {}
            send(s, 1) -> _ => unreachable!(),
        }
        select! {
            default(ms(1)) => {},
            send(s, 1) -> _ => unreachable!(),
            recv(r) -> _ => unreachable!()
        }
    });
}

#[test]
fn a_timeout_ends_the_wait_and_not_before_its_time() {
    on_all(|| {
        let (_s, r) = unbounded::<i32>();
        let (s0, r0) = bounded::<i32>(0);
        let start = Instant::now();
        select! {
            recv(r) -> _ => unreachable!(),
            default(ms(2)) => assert!(start.elapsed() >= ms(2)),
        }
        let start = Instant::now();
        select! {
            recv(r) -> _ => unreachable!(),
            recv(r0) -> _ => unreachable!(),
            send(s0, 1) -> _ => unreachable!(),
            default(ms(2)) => assert!(start.elapsed() >= ms(2)),
        }
    });
}

#[test]
fn a_timeout_that_is_over_takes_what_is_ready() {
    on_all(|| {
        let (s, r) = bounded(1);
        select! {
            send(s, 1) -> sent => assert_eq!(sent, Ok(())),
            default(Duration::ZERO) => unreachable!(),
        }
        select! {
            recv(r) -> value => assert_eq!(value, Ok(1)),
            send(s, 2) -> _ => unreachable!(),
            default(Duration::ZERO) => unreachable!(),
        }
    });
}

#[test]
fn values_and_room_wake_the_selection() {
    on_all(|| {
        let (_s1, r1) = bounded::<i32>(0);
        let (s2, r2) = bounded(0);
        par(|p| {
            p.go(|| {
                settle();
                s2.send(2).unwrap();
                settle();
                assert_eq!(r2.recv(), Ok(3));
            });
            select! {
                recv(r1) -> _ => unreachable!(),
                recv(r2) -> value => assert_eq!(value, Ok(2)),
                default(LONG) => unreachable!(),
            }
            select! {
                recv(r1) -> _ => unreachable!(),
                send(s2, 3) -> sent => assert_eq!(sent, Ok(())),
                default(LONG) => unreachable!(),
            }
        });
        // Both directions, in the order of whoever comes.
        let ((s1, r1), (s2, r2)) = (bounded(0), bounded(0));
        par(|p| {
            p.go(|| {
                settle();
                s1.send(1).unwrap();
                assert_eq!(r2.recv(), Ok(2));
            });
            for _ in 0..2 {
                select! {
                    recv(r1) -> value => assert_eq!(value, Ok(1)),
                    send(s2, 2) -> sent => assert_eq!(sent, Ok(())),
                }
            }
        });
    });
}

#[test]
fn those_that_only_try_meet_one_that_waits() {
    on_all(|| {
        for _ in 0..10 {
            let ((s1, r1), (s2, r2)) = (bounded(0), bounded(0));
            let (end_s, end_r) = bounded::<()>(0);
            let met = AtomicUsize::new(0);
            par(|p| {
                p.go(|| {
                    loop {
                        select! {
                            send(s1, 1) -> sent => {
                                met.fetch_add(1, Ordering::SeqCst);
                                break assert_eq!(sent, Ok(()));
                            }
                            default => {}
                        }
                        select! {
                            recv(end_r) -> _ => break,
                            default => greenroutine::yield_now(),
                        }
                    }
                });
                p.go(|| {
                    loop {
                        select! {
                            recv(r2) -> value => {
                                met.fetch_add(1, Ordering::SeqCst);
                                break assert_eq!(value, Ok(2));
                            }
                            recv(end_r) -> _ => break,
                            default => greenroutine::yield_now(),
                        }
                    }
                });
                select! {
                    recv(r1) -> value => assert_eq!(value, Ok(1)),
                    send(s2, 2) -> sent => assert_eq!(sent, Ok(())),
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
            p.go(move || {
                select! {
                    recv(r1) -> _ => unreachable!(),
                    recv(r2) -> value => assert_eq!(value, Ok(())),
                }
            });
            for _ in 0..5 {
                settle();
                drop(s1.clone());
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
        select! { recv(r) -> value => assert_eq!(value, Ok(1)) }
        select! { recv(r) -> value => assert_eq!(value, Err(RecvError)) }
        select! { recv(r) -> value => assert!(value.is_err()), recv(r) -> value => assert!(value.is_err()) }
    });
}

#[test]
fn every_duplicate_is_chosen_sometimes() {
    on_all(|| {
        let (s, r) = unbounded::<i32>();
        let mut hit = [false; 4];
        while hit.contains(&false) {
            select! {
                recv(r) -> _ => hit[0] = true,
                recv(r) -> _ => hit[1] = true,
                send(s, 0) -> _ => hit[2] = true,
                send(s, 0) -> _ => hit[3] = true,
            }
        }
    });
}

#[test]
fn selections_nest_in_bodies_operands_and_messages() {
    on_all(|| {
        let (s, r) = unbounded();
        select! {
            send(s, 0) -> _ => {
                select! {
                    recv(r) -> value => {
                        assert_eq!(value, Ok(0));
                        select! {
                            send(s, 1) -> _ => select! {
                                recv(r) -> value => assert_eq!(value, Ok(1)),
                                default => unreachable!()
                            }
                        }
                    }
                }
            }
        }
        // In an operand, a message and a timeout.
        select! {
            send(
                select! { recv(never::<()>()) -> _ => unreachable!(), default => &s },
                select! { send(s, 5) -> _ => 6, recv(never::<()>()) -> _ => unreachable!() }
            ) -> sent => assert_eq!(sent, Ok(())),
            default(select! { default => LONG }) => unreachable!(),
        }
        assert_eq!(r.try_iter().collect::<Vec<_>>(), [5, 6]);
    });
}

#[test]
fn cases_are_separated_by_commas_or_blocks() {
    on_all(|| {
        let (s, r) = unbounded::<usize>();
        // Blocks without commas, with commas, expressions with commas, and the last one with and without.
        select! {
            recv(r) -> _ => {}
            send(s, 0) -> _ => {}
        }
        select! {
            recv(r) -> _ => {},
            send(s, 0) -> _ => {},
        }
        select! {
            recv(r) -> _ => (),
            send(s, 0) -> _ => ()
        }
        select! {
            recv(r) -> _ => (),
            send(s, 0) -> _ => {}
            default => unreachable!()
        }
        select! {
            recv(r) -> _ => {}
            send(s, 0) -> _ => (),
            default => unreachable!(),
        }
        // Trailing commas in operand lists, and those over several lines.
        select! {
            send(s, 1,) -> _ => {},
            recv(r,) -> _ => {},
            default(ms(1000),) => {},
        }
        select! {
            send(
                s,
                {
                    let message = 1;
                    message + 1
                },
            ) -> _ => {}
            recv(
                r
            ) -> _ => {}
        }
        // Through a path, and on one line.
        channel::select! { send(s, 0) -> _ => {}, recv(r) -> _ => {} }
        channel::select_biased! { send(s, 0) -> _ => {} recv(r) -> _ => {} }
        greenroutine::select!(send(s, 0) -> _ => {}, recv(r) -> _ => {});
        greenroutine::select_biased![send(s, 0) -> _ => {}, recv(r) -> _ => {}];
    });
}

#[test]
#[allow(clippy::never_loop, clippy::match_single_binding, reason = "bodies of all shapes")]
fn a_body_is_any_expression() {
    on_all(|| {
        let (s, r) = unbounded::<i32>();
        let value = select! {
            recv(r) -> _ => 3.0,
            recv(r) -> _ => loop { break 4.0 },
            recv(r) -> _ => match 7 + 3 { _ => unreachable!() },
            recv(r) -> _ => if true { 1.0 } else { 2.0 },
            recv(r) -> _ => { let x = 5.0; x + 1.0 }
            recv(r) -> _ => unsafe_free(1) + 2.0 * 3.0,
            recv(r) -> _ => return,
            default => 7.
        };
        assert_eq!(value, 7.0);
        select! {
            recv(r) -> message => if message.is_ok() {
                unreachable!()
            },
            default => ()
        }
        let pair = select! {
            recv(r) -> message => (message, "received"),
            default => (Err(RecvError), "nothing"),
        };
        assert_eq!(pair, (Err(RecvError), "nothing"));
        let array = select! { send(s, 1) -> sent => [sent.is_ok(); 2] };
        assert_eq!(array, [true; 2]);
        let closure = select! { recv(r) -> message => move |n| message.unwrap() + n };
        assert_eq!(closure(1), 2);
        let mut count = 0;
        select! {
            default => count += 1,
        }
        assert_eq!(count, 1);
        // As part of a larger expression.
        assert_eq!(1 + select! { default => 2 } * 3, 7);
        assert!((select! { recv(r) -> _ => None, default => Some(4) }).is_some_and(|n: i32| n == 4));
    });
}

fn unsafe_free(n: i32) -> f64 {
    n.into()
}

#[test]
fn the_value_is_that_of_the_body_and_types_are_inferred() {
    on_all(|| {
        let (s, r) = unbounded::<i32>();
        let value: String = select! {
            recv(r) -> _ => "received".into(),
            send(s, 0) -> _ => "sent".to_owned(),
            default => "nothing".to_string(),
        };
        assert_eq!(value, "sent");
        // The types of channels, from the cases alone.
        let (s, r) = unbounded();
        select! {
            recv(r) -> _ => {}
            default => {}
        }
        s.send(()).unwrap();
        let (s, r) = unbounded();
        select! { send(s, ()) -> _ => {} }
        let () = r.recv().unwrap();
        // The results.
        let ((s, _), (_, r)) = (bounded::<i32>(0), bounded::<i32>(0));
        select! { recv(r) -> result => { let _: Result<i32, RecvError> = result; } }
        select! { recv(r) -> result => { let _: Result<i32, RecvError> = result; }, default => {} }
        select! { recv(r) -> result => { let _: Result<i32, RecvError> = result; }, default(ms(0)) => {} }
        select! { send(s, 0) -> result => { let _: Result<(), SendError<i32>> = result; } }
        select! { send(s, 0) -> result => { let _: Result<(), SendError<i32>> = result; }, default => {} }
        select! { send(s, 0) -> result => { let _: Result<(), SendError<i32>> = result; }, default(ms(0)) => {} }
        select! {
            send(s, 0) -> result => { let _: Result<(), SendError<i32>> = result; },
            recv(r) -> result => { let _: Result<i32, RecvError> = result; },
        }
    });
}

#[test]
#[allow(
    clippy::or_fun_call,
    clippy::unnecessary_literal_unwrap,
    clippy::redundant_closure_call,
    reason = "operands of all shapes"
)]
fn an_operand_is_any_expression_that_derefs_to_a_handle() {
    struct Wrapped<T>(T);
    impl<T> Deref for Wrapped<T> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.0
        }
    }
    struct Owner {
        s: Sender<i32>,
        r: Receiver<i32>,
    }
    impl Owner {
        fn sender(&self) -> &Sender<i32> {
            &self.s
        }
        fn receiver(&self) -> Receiver<i32> {
            self.r.clone()
        }
    }
    on_all(|| {
        let (s, r) = unbounded::<i32>();
        // By reference, by several, and by value.
        select! { send(s, 1) -> _ => {} }
        select! { send(&s, 2) -> _ => {} }
        select! { send(&&&&s, 3) -> _ => {} }
        select! { send(s.clone(), 4) -> _ => {} }
        select! { recv(r) -> value => assert_eq!(value, Ok(1)) }
        select! { recv(&r) -> value => assert_eq!(value, Ok(2)) }
        select! { recv(&&&&r) -> value => assert_eq!(value, Ok(3)) }
        select! { recv(r.clone()) -> value => assert_eq!(value, Ok(4)) }
        // Temporaries, in one and in several cases.
        select! {
            recv(Some(&r).unwrap_or(&never())) -> _ => unreachable!(),
            default => {}
        }
        select! {
            recv(Some(r.clone()).unwrap_or(never())) -> _ => unreachable!(),
            recv(&never::<i32>()) -> _ => unreachable!(),
            default => {}
        }
        // Boxes, wrappers, fields, indices, calls, blocks, branches.
        let (boxed_s, boxed_r) = (Box::new(s.clone()), Box::new(r.clone()));
        select! { send(*boxed_s, 1) -> _ => {}, recv(*boxed_r) -> _ => unreachable!() }
        select! { send(boxed_s, 1) -> _ => {} }
        select! { recv(boxed_r) -> value => assert_eq!(value, Ok(1)) }
        let (wrapped_s, wrapped_r) = (Wrapped(Arc::new(s.clone())), Wrapped(Rc::new(r.clone())));
        select! { send(wrapped_s, 1) -> _ => {} }
        select! { recv(wrapped_r) -> value => assert_eq!(value, Ok(1)) }
        let owner = Owner { s: s.clone(), r: r.clone() };
        select! { send(owner.s, 1) -> _ => {} }
        select! { send(owner.sender(), 1) -> _ => {} }
        select! { recv(owner.r) -> value => assert_eq!(value, Ok(1)) }
        select! { recv(owner.receiver()) -> value => assert_eq!(value, Ok(1)) }
        let all = [(s.clone(), r.clone()), unbounded()];
        select! { send(all[0].0, 5) -> _ => {} }
        select! { recv(all[1 - 1].1) -> value => assert_eq!(value, Ok(1)) }
        select! { recv({ let n = 0; &all[n].1 }) -> value => assert_eq!(value, Ok(5)) }
        select! { send(if all.len() == 2 { &s } else { &all[1].0 }, 6) -> _ => {} }
        select! { recv(match all.len() { 2 => &r, _ => unreachable!() }) -> value => assert_eq!(value, Ok(6)) }
        // Moved into the selection.
        select! {
            recv((move || r)()) -> _ => unreachable!(),
            send((move || s)(), 7) -> sent => assert_eq!(sent, Ok(())),
        }
        assert_eq!(owner.r.try_recv(), Ok(7));
    });
}

#[test]
fn a_name_may_be_used_again() {
    on_all(|| {
        let (_, r) = unbounded::<i32>();
        select! { recv(r) -> r => assert!(r.is_err()) }
        // Names that a macro might use itself.
        let (case, index) = (bounded::<i32>(1), 5);
        let (token, operand, chosen, timeout) = (1, 2, 3, ms(1));
        select! {
            send(case.0, token + operand + chosen + index) -> case => assert_eq!(case, Ok(())),
            default(timeout) => unreachable!(),
        }
        assert_eq!(case.1.recv(), Ok(11));
        let (_oper, _sel, _r, _s, _res) = (1, 2, &case.1, &case.0, 3);
        select! {
            recv(_r) -> _ => unreachable!(),
            send(_s, _oper + _sel + _res) -> index => assert_eq!(index, Ok(())),
        }
        assert_eq!(case.1.recv(), Ok(6));
    });
}

#[test]
fn the_result_is_bound_by_any_pattern() {
    on_all(|| {
        let (s, r) = unbounded();
        for n in 0..9 {
            s.send((n, Some(n * 10))).unwrap();
        }
        select! { recv(r) -> _ => {} }
        select! { recv(r) -> _ignored => {} }
        select! { recv(r) -> mut result => { result = result.map(|(n, _)| (n + 1, None)); assert_eq!(result, Ok((3, None))) } }
        select! { recv(r) -> ref result => assert_eq!(result.as_ref().unwrap().0, 3) }
        select! { recv(r) -> result @ (Ok(_) | Err(_)) => assert_eq!(result, Ok((4, Some(40)))) }
        let (Ok(n) | Err(n)) = select! { recv(r) -> result => result.map(|(n, _)| n).map_err(|RecvError| 0) };
        assert_eq!(n, 5);
    });
}

#[test]
fn operands_are_evaluated_once_and_in_order() {
    on_all(|| {
        let log = RefCell::new(Vec::new());
        let note = |what: &'static str| log.borrow_mut().push(what);
        let (s, r) = unbounded::<i32>();
        let (s0, r0) = bounded::<i32>(0);
        for (biased, expected) in [(false, "send"), (true, "send")] {
            let chosen = if biased {
                select_biased! {
                    recv({ note("a"); &r0 }) -> _ => "receive",
                    send({ note("b"); &s0 }, { note("no"); 0 }) -> _ => "no receiver",
                    send({ note("c"); &s }, { note("message"); 1 }) -> _ => "send",
                    recv({ note("d"); never::<()>() }) -> _ => "never",
                    default({ note("timeout"); ms(1) }) => "default",
                }
            } else {
                select! {
                    recv({ note("a"); &r0 }) -> _ => "receive",
                    send({ note("b"); &s0 }, { note("no"); 0 }) -> _ => "no receiver",
                    send({ note("c"); &s }, { note("message"); 1 }) -> _ => "send",
                    recv({ note("d"); never::<()>() }) -> _ => "never",
                    default({ note("timeout"); ms(1) }) => "default",
                }
            };
            assert_eq!(chosen, expected);
            assert_eq!(r.recv(), Ok(1));
            let log = std::mem::take(&mut *log.borrow_mut());
            let operands: Vec<_> = log.iter().filter(|what| **what != "timeout").copied().collect();
            assert_eq!(operands, ["a", "b", "c", "d", "message"]);
            assert_eq!(log.iter().filter(|what| **what == "timeout").count(), 1);
        }
    });
}

#[test]
fn a_message_is_evaluated_only_if_its_send_is_chosen() {
    on_all(|| {
        let evaluated = Cell::new(0);
        let message = || {
            evaluated.set(evaluated.get() + 1);
            7
        };
        let (full, full_r) = bounded(1);
        full.send(0).unwrap();
        let (s, r) = bounded(1);
        select! {
            send(full, message()) -> _ => unreachable!(),
            default => {}
        }
        select! {
            send(full, message()) -> _ => unreachable!(),
            recv(r) -> _ => unreachable!(),
            default(ms(1)) => {}
        }
        assert_eq!(evaluated.get(), 0);
        select! {
            send(full, message()) -> _ => unreachable!(),
            send(s, message()) -> sent => assert_eq!(sent, Ok(())),
        }
        assert_eq!(evaluated.get(), 1);
        // Of a closed channel, too: the send is chosen, and fails.
        drop(full_r);
        select! { send(full, message()) -> sent => assert_eq!(sent, Err(SendError(7))) }
        assert_eq!(evaluated.get(), 2);
    });
}

#[test]
fn what_a_case_moves_is_moved_by_that_case_alone() {
    on_all(|| {
        let (s, r) = unbounded::<i32>();
        let once = Box::new(1);
        select! { send(s, 0) -> _ => drop(once) }
        let once = Box::new(1);
        select! { recv(r) -> _ => drop(once) }
        let (one, two) = (Box::new(1), Box::new(2));
        select! { send(s, 0) -> _ => drop(one), default => drop(two) }
        let once = Box::new(1);
        // The same value in several cases, of which one runs.
        let got = select! {
            recv(r) -> _ => once,
            send(s, 0) -> _ => once,
            default => once,
        };
        assert_eq!(*got, 1);
        // In operands and messages.
        let (boxes, boxes_r) = unbounded::<Box<i32>>();
        select! { send(boxes, got) -> _ => {} }
        let (s, once) = (boxes.clone(), Box::new(3));
        let get = move || {
            drop(once);
            s
        };
        select! { send(get(), Box::new(4)) -> sent => assert!(sent.is_ok()) }
        let get = move || boxes_r;
        select! { recv(get()) -> value => assert_eq!(value, Ok(Box::new(1))) }
    });
}

#[test]
fn bodies_leave_loops_and_functions() {
    fn sum_until_zero(r: &Receiver<i32>) -> i32 {
        let mut sum = 0;
        loop {
            select! {
                recv(r) -> value => {
                    let Ok(value) = value else { return -1 };
                    if value == 0 {
                        break;
                    }
                    if value < 0 {
                        continue;
                    }
                    sum += value;
                }
                default => return sum,
            }
        }
        sum + 1000
    }
    fn first(r: &Receiver<i32>) -> Result<i32, RecvError> {
        let value = select! {
            recv(r) -> value => value? + 1,
            recv(never::<()>()) -> _ => unreachable!(),
        };
        Ok(value * 2)
    }
    fn relay(r: &Receiver<i32>, s: &Sender<i32>) -> Result<(), Box<dyn std::error::Error>> {
        select! {
            send(s, r.try_recv()?) -> sent => sent?,
            default => return Err("full".into()),
        }
        Ok(())
    }
    on_all(|| {
        let (s, r) = unbounded();
        for n in [1, -5, 2, 0, 7] {
            s.send(n).unwrap();
        }
        assert_eq!(sum_until_zero(&r), 1003);
        assert_eq!(sum_until_zero(&r), 7);
        s.send(20).unwrap();
        assert_eq!(first(&r), Ok(42));
        // An early exit from the computation of a message gives the room back.
        let (out, out_r) = bounded(1);
        assert_eq!(relay(&r, &out).unwrap_err().to_string(), TryRecvError::Empty.to_string());
        s.send(5).unwrap();
        assert!(relay(&r, &out).is_ok());
        assert_eq!(relay(&r, &out).unwrap_err().to_string(), "full");
        assert_eq!(out_r.recv(), Ok(5));
        drop(s);
        assert_eq!(sum_until_zero(&r), -1);
        assert_eq!(first(&r), Err(RecvError));

        let (s, r) = unbounded();
        s.send(1).unwrap();
        let flow = 'outer: {
            loop {
                select! {
                    recv(r) -> value => break 'outer ControlFlow::<_, ()>::Break(value),
                    default => continue,
                }
            }
        };
        assert_eq!(flow, ControlFlow::Break(Ok(1)));
    });
}

#[test]
fn a_panic_in_an_operand_a_message_or_a_body_passes_through_and_leaves_the_channels_usable() {
    fn sender() -> Sender<i32> {
        std::panic::resume_unwind(Box::new("sender"))
    }
    fn receiver() -> Receiver<i32> {
        std::panic::resume_unwind(Box::new("receiver"))
    }
    fn message() -> i32 {
        std::panic::resume_unwind(Box::new("message"))
    }
    fn panics_with(expected: &str, f: impl FnOnce()) {
        let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&expected));
    }
    on_all(|| {
        let (other_s, other) = bounded::<i32>(1);
        panics_with("sender", || select! { send(sender(), message()) -> _ => unreachable!() });
        panics_with("receiver", || select! { recv(receiver()) -> _ => unreachable!() });
        panics_with("receiver", || {
            select! {
                recv(other) -> _ => unreachable!(),
                recv(receiver()) -> _ => unreachable!(),
                default => unreachable!(),
            }
        });
        for (s, r) in [bounded(1), bounded(2), unbounded()] {
            panics_with("message", || select! { send(s, message()) -> _ => unreachable!() });
            panics_with("message", || {
                select! {
                    recv(other) -> _ => unreachable!(),
                    send(s, message()) -> _ => unreachable!(),
                    default(LONG) => unreachable!(),
                }
            });
            // Its room is free again, and what comes next comes through.
            assert_eq!((s.len(), r.try_recv()), (0, Err(TryRecvError::Empty)));
            for n in 0..5 {
                assert_eq!(s.try_send(n), Ok(()));
                assert_eq!(r.try_recv(), Ok(n));
            }
        }
        other_s.send(1).unwrap();
        panics_with("body", || {
            select! {
                recv(other) -> value => {
                    assert_eq!(value, Ok(1));
                    std::panic::resume_unwind(Box::new("body"))
                }
            }
        });
        assert_eq!(other_s.try_send(2), Ok(()));
        assert_eq!(other.try_recv(), Ok(2));
        // With a receiver that waits for the message: it goes on waiting.
        let (s, r) = bounded(0);
        par(|p| {
            p.go(|| assert_eq!(r.recv(), Ok(9)));
            let give_up = || select! { send(s, None::<i32>?) -> _ => Some(()), default => Some(()) };
            wait_until(|| give_up().is_none());
            s.send(9).unwrap();
        });
    });
}

#[test]
fn room_that_was_given_up_behind_values_comes_back_with_them() {
    on_all(|| {
        for cap in [2, 3, 5] {
            let (s, r) = bounded(cap);
            let give_up = || select! { send(s, None::<usize>?) -> _ => Some(()), default => Some(()) };
            for round in 0..3 {
                s.send(round).unwrap();
                assert_eq!(give_up(), None);
                // One more than fits beside the room that is not back yet.
                par(|p| {
                    p.go(|| (0..cap).for_each(|n| s.send(10 + n).unwrap()));
                    settle();
                    assert_eq!(r.recv(), Ok(round));
                    for n in 0..cap {
                        assert_eq!(r.recv_timeout(LONG), Ok(10 + n));
                    }
                });
                assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
                // All of it is there again.
                (0..cap).for_each(|n| s.try_send(n).unwrap());
                assert!(s.is_full());
                assert!(r.try_iter().eq(0..cap));
            }
        }
    });
}

#[test]
fn room_that_is_given_up_goes_to_one_that_waits_for_it() {
    on_all(|| {
        // A sender that waits for it.
        let (s, r) = bounded(1);
        par(|p| {
            let s = &s;
            let give_up = || -> Option<()> {
                select! {
                    send(s, {
                        p.go(move || s.send(5).unwrap());
                        settle();
                        None?
                    }) -> _ => unreachable!(),
                }
            };
            assert_eq!(give_up(), None);
            assert_eq!(r.recv(), Ok(5));
        });
        // A receiver that waits for a value behind it.
        let (s, r) = bounded(2);
        par(|p| {
            let r = &r;
            let give_up = || -> Option<()> {
                select! {
                    send(s, {
                        s.send(6).unwrap();
                        p.go(move || assert_eq!(r.recv(), Ok(6)));
                        settle();
                        None?
                    }) -> _ => unreachable!(),
                }
            };
            assert_eq!(give_up(), None);
        });
        assert!(r.is_empty());
    });
}

#[test]
fn up_to_forty_cases_are_chosen_alike() {
    on_all(|| {
        let all: Vec<_> = (0..40).map(|_| bounded::<usize>(1)).collect();
        let r = |n: usize| &all[n].1;
        let pick = || {
            select! {
                recv(r(0)) -> v => (0, v), recv(r(1)) -> v => (1, v), recv(r(2)) -> v => (2, v),
                recv(r(3)) -> v => (3, v), recv(r(4)) -> v => (4, v), recv(r(5)) -> v => (5, v),
                recv(r(6)) -> v => (6, v), recv(r(7)) -> v => (7, v), recv(r(8)) -> v => (8, v),
                recv(r(9)) -> v => (9, v), recv(r(10)) -> v => (10, v), recv(r(11)) -> v => (11, v),
                recv(r(12)) -> v => (12, v), recv(r(13)) -> v => (13, v), recv(r(14)) -> v => (14, v),
                recv(r(15)) -> v => (15, v), recv(r(16)) -> v => (16, v), recv(r(17)) -> v => (17, v),
                recv(r(18)) -> v => (18, v), recv(r(19)) -> v => (19, v), recv(r(20)) -> v => (20, v),
                recv(r(21)) -> v => (21, v), recv(r(22)) -> v => (22, v), recv(r(23)) -> v => (23, v),
                recv(r(24)) -> v => (24, v), recv(r(25)) -> v => (25, v), recv(r(26)) -> v => (26, v),
                recv(r(27)) -> v => (27, v), recv(r(28)) -> v => (28, v), recv(r(29)) -> v => (29, v),
                recv(r(30)) -> v => (30, v), recv(r(31)) -> v => (31, v), recv(r(32)) -> v => (32, v),
                recv(r(33)) -> v => (33, v), recv(r(34)) -> v => (34, v), recv(r(35)) -> v => (35, v),
                recv(r(36)) -> v => (36, v), recv(r(37)) -> v => (37, v), recv(r(38)) -> v => (38, v),
                recv(r(39)) -> v => (39, v),
            }
        };
        for (n, (s, _)) in all.iter().enumerate() {
            s.send(n).unwrap();
            assert_eq!(pick(), (n, Ok(n)));
        }
        par(|p| {
            p.go(|| {
                for (n, (s, _)) in all.iter().enumerate() {
                    settle();
                    s.send(n).unwrap();
                }
            });
            let mut seen = [false; 40];
            while seen.contains(&false) {
                let (n, value) = pick();
                assert_eq!(value, Ok(n));
                assert!(!std::mem::replace(&mut seen[n], true));
            }
        });
        let mut hits = [0; 40];
        for (n, (s, _)) in all.iter().enumerate() {
            s.send(n).unwrap();
        }
        for _ in 0..4000 {
            let (n, value) = pick();
            assert_eq!(value, Ok(n));
            hits[n] += 1;
            all[n].0.send(n).unwrap();
        }
        assert!(hits.iter().all(|&hits| hits > 30), "{hits:?}");
    });
}

#[test]
fn a_biased_selection_takes_the_first_that_is_ready() {
    const COUNT: usize = 200;
    on_all(|| {
        let ((s1, r1), (s2, r2), (s3, r3)) = (unbounded(), unbounded(), unbounded());
        for n in 0..COUNT {
            s1.send(n).unwrap();
            s2.send(n).unwrap();
        }
        s3.send(0).unwrap();
        let mut hits = [0; 3];
        for round in 0..2 * COUNT {
            match round % 3 {
                0 => select_biased! {
                    recv(r1) -> _ => hits[0] += 1,
                    recv(r2) -> _ => hits[1] += 1,
                    recv(r3) -> _ => hits[2] += 1,
                },
                1 => select_biased! {
                    recv(r1) -> _ => hits[0] += 1,
                    recv(r2) -> _ => hits[1] += 1,
                    recv(r3) -> _ => hits[2] += 1,
                    default() => unreachable!(),
                },
                _ => select_biased! {
                    recv(r1) -> _ => hits[0] += 1,
                    recv(r2) -> _ => hits[1] += 1,
                    recv(r3) -> _ => hits[2] += 1,
                    default(LONG) => unreachable!(),
                },
            }
            let (first, second) = ((round + 1).min(COUNT), (round + 1).saturating_sub(COUNT));
            assert_eq!(hits, [first, second, 0]);
        }
        // Sends, too.
        let ((s1, r1), (s2, r2)) = (bounded(2), bounded(2));
        for n in 0..4 {
            select_biased! {
                send(s1, n) -> _ => assert!(n < 2),
                send(s2, n) -> _ => assert!(n >= 2),
            }
        }
        assert!(r1.try_iter().eq(0..2) && r2.try_iter().eq(2..4));
        select_biased! { default => {} }
    });
}

fn assert_alike(hits: &[usize]) {
    let share = hits.iter().sum::<usize>() / hits.len();
    assert!(hits.iter().all(|&hits| hits >= share / 2), "{hits:?}");
}

#[test]
fn all_that_are_ready_are_chosen_alike() {
    const COUNT: usize = 1000;
    on_all(|| {
        let ((s1, r1), (s2, r2)) = (bounded(COUNT), unbounded());
        for _ in 0..COUNT {
            s1.send(()).unwrap();
            s2.send(()).unwrap();
        }
        let mut hits = [0; 4];
        for _ in 0..COUNT {
            select! {
                recv(r1) -> _ => hits[0] += 1,
                recv(r2) -> _ => hits[1] += 1,
                recv(after(Duration::ZERO)) -> _ => hits[2] += 1,
                recv(tick(Duration::ZERO)) -> _ => hits[3] += 1,
            }
        }
        assert_alike(&hits);
        let ((s1, _r1), (s2, _r2)) = (bounded::<()>(COUNT), unbounded::<()>());
        let mut hits = [0; 2];
        for _ in 0..COUNT {
            select! {
                send(s1, ()) -> _ => hits[0] += 1,
                send(s2, ()) -> _ => hits[1] += 1,
            }
        }
        assert_alike(&hits);
        let mut hits = [0; 3];
        for _ in 0..COUNT {
            select! {
                send(s2, ()) -> _ => hits[0] += 1,
                recv(r2) -> _ => hits[1] += 1,
                send(s2, ()) -> _ => hits[2] += 1,
                default => unreachable!(),
            }
            s1.try_send(()).ok();
        }
        assert!(hits.iter().all(|&hits| hits > 0), "{hits:?}");
    });
}

#[test]
fn no_ready_operation_starves_beside_others() {
    const COUNT: usize = 1000;
    on_all(|| {
        let ((s1, r1), (s2, r2), (s3, r3)) = (unbounded(), bounded(1), bounded(0));
        par(|p| {
            p.go(|| {
                let (hole, _r) = bounded(0);
                for _ in 0..COUNT {
                    let one = if s1.is_empty() { &s1 } else { &hole };
                    let two = if s2.is_empty() { &s2 } else { &hole };
                    select! {
                        send(one, ()) -> sent => assert_eq!(sent, Ok(())),
                        send(two, ()) -> sent => assert_eq!(sent, Ok(())),
                        send(s3, ()) -> sent => assert_eq!(sent, Ok(())),
                    }
                }
            });
            let mut hits = [0; 3];
            for _ in 0..COUNT {
                select! {
                    recv(r1) -> _ => hits[0] += 1,
                    recv(r2) -> _ => hits[1] += 1,
                    recv(r3) -> _ => hits[2] += 1,
                }
            }
            // So few are enough: the choice is fair, but how often each is ready is up to the scheduler.
            assert!(hits.iter().all(|&hits| hits >= COUNT / 150), "{hits:?}");
        });
    });
}

#[test]
fn exchanges_of_all_kinds_keep_the_order() {
    const COUNT: usize = 400;
    on_all(|| {
        let ((s1, r1), (s2, r2), (s3, r3)) = (unbounded(), bounded(5), bounded(100));
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
                    select! {
                        recv(r1) -> value => assert_eq!(value, Ok(n)),
                        recv(r2) -> value => assert_eq!(value, Ok(n)),
                    }
                    s3.send(()).unwrap();
                }
            }
        });
        let ((s1, r1), (s2, r2)) = (bounded(0), bounded(0));
        par(|p| {
            p.go(|| {
                for n in 0..COUNT {
                    assert_eq!(r1.recv(), Ok(n));
                    assert_eq!(r2.recv(), Ok(n));
                }
                for n in 0..COUNT {
                    s1.send(n).unwrap();
                    assert_eq!(r2.recv(), Ok(n));
                }
            });
            for n in 0..COUNT {
                for _ in 0..2 {
                    select! {
                        send(s1, n) -> sent => assert_eq!(sent, Ok(())),
                        send(s2, n) -> sent => assert_eq!(sent, Ok(())),
                    }
                }
            }
            for n in 0..COUNT {
                for _ in 0..2 {
                    select! {
                        recv(r1) -> value => assert_eq!(value, Ok(n)),
                        send(s2, n) -> sent => assert_eq!(sent, Ok(())),
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
        for cap in [0, 2] {
            let (s, r) = bounded(cap);
            par(|p| {
                p.go(|| {
                    for n in 0..COUNT {
                        if n % 8 == 0 {
                            greenroutine::time::sleep(ms(1));
                        }
                        loop {
                            select! {
                                send(s, n) -> sent => break assert_eq!(sent, Ok(())),
                                default(TIMEOUT) => {}
                            }
                        }
                    }
                });
                for n in 0..COUNT {
                    if n % 8 == 4 {
                        greenroutine::time::sleep(ms(1));
                    }
                    loop {
                        select! {
                            recv(r) -> value => break assert_eq!(value, Ok(n)),
                            default(TIMEOUT) => {}
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
        select! {
            send(s, 0) -> _ => unreachable!(),
            recv(r) -> _ => unreachable!(),
            default => {}
        }
        select! {
            send(s, 0) -> _ => unreachable!(),
            recv(r) -> _ => unreachable!(),
            default(ms(2)) => {}
        }
        let (s, r) = unbounded::<i32>();
        select! {
            send(s, 0) -> sent => assert_eq!(sent, Ok(())),
            recv(r) -> _ => unreachable!(),
            default(LONG) => unreachable!(),
        }
    });
}

#[test]
fn those_that_both_send_and_receive_meet_in_pairs() {
    const PAIRS: usize = 22;
    on_all(|| {
        for extra in [0, 1] {
            let (s, r) = bounded(0);
            par(|p| {
                for n in 0..2 * PAIRS + extra {
                    let (s, r) = (&s, &r);
                    p.go(move || {
                        select! {
                            recv(r) -> value => assert_ne!(value.unwrap(), n),
                            send(s, n) -> sent => assert_eq!(sent, Ok(())),
                        }
                    });
                }
                if extra == 1 {
                    s.send(usize::MAX).unwrap();
                }
            });
            assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
            assert!(s.try_send(0).is_err());
        }
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
                        select! { send(s, Box::new(r)) -> sent => assert!(sent.is_ok()) }
                        s = next;
                    }
                });
                let mut r = r;
                for _ in 0..COUNT {
                    // The operand is assigned to in the body: it is not borrowed any more.
                    select! {
                        recv(r) -> value => r = *value.unwrap().downcast().unwrap(),
                        recv(never::<()>()) -> _ => unreachable!(),
                    }
                }
            });
        }
    });
}

#[test]
fn a_default_is_taken_only_if_at_one_moment_nothing_was_ready() {
    const COUNT: usize = 1000;
    on_all(|| {
        for make in [|| bounded::<i32>(1), unbounded] {
            for timeout in [false, true] {
                let ((start_s, start_r), (end_s, end_r)) = (bounded::<()>(0), bounded::<()>(0));
                let ((s1, r1), (s2, r2)) = (make(), make());
                par(|p| {
                    p.go(|| {
                        for _ in 0..COUNT {
                            start_s.send(()).unwrap();
                            s1.send(1).unwrap();
                            // The second first: a look at each in turn finds neither if the other task moves in between.
                            if timeout {
                                select! {
                                    recv(r2) -> value => assert_eq!(value, Ok(1)),
                                    recv(r1) -> value => assert_eq!(value, Ok(1)),
                                    default(Duration::ZERO) => unreachable!("one of them was ready all the time"),
                                }
                            } else {
                                select! {
                                    recv(r2) -> value => assert_eq!(value, Ok(1)),
                                    recv(r1) -> value => assert_eq!(value, Ok(1)),
                                    default => unreachable!("one of them was ready all the time"),
                                }
                            }
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
    });
}

#[test]
fn all_operations_of_one_channel_work_through_the_macro_alone() {
    on_all(|| {
        let (s, r) = bounded(0);
        let step = AtomicUsize::new(0);
        par(|p| {
            let step = &step;
            p.go(move || {
                // Tries until the other side waits.
                let mut tries = 0;
                loop {
                    select! {
                        send(s, 7) -> sent => break assert_eq!(sent, Ok(())),
                        default => tries += 1,
                    }
                    step.store(1, Ordering::SeqCst);
                    greenroutine::yield_now();
                }
                assert!(tries > 0);
                select! { send(s, 8) -> sent => assert_eq!(sent, Ok(())), default(LONG) => unreachable!() }
                select! { send(s, 9) -> sent => assert_eq!(sent, Ok(())) }
            });
            wait_until(|| step.load(Ordering::SeqCst) == 1);
            select! { recv(r) -> value => assert_eq!(value, Ok(7)) }
            select! { recv(r) -> value => assert_eq!(value, Ok(8)), default(LONG) => unreachable!() }
            loop {
                select! {
                    recv(r) -> value => break assert_eq!(value, Ok(9)),
                    default => greenroutine::yield_now(),
                }
            }
            select! { recv(r) -> value => assert_eq!(value, Err(RecvError)) }
        });
    });
}

#[test]
fn values_are_dropped_once_whichever_case_is_chosen() {
    on_all(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let made = Cell::new(0);
        let new = || {
            made.set(made.get() + 1);
            Counted(drops.clone())
        };
        let ((s1, r1), (s2, r2)) = (bounded(1), bounded(0));
        for _ in 0..50 {
            select! {
                send(s1, new()) -> sent => assert!(sent.is_ok()),
                send(s2, new()) -> _ => unreachable!(),
                recv(r1) -> value => drop(value.unwrap()),
                recv(r2) -> _ => unreachable!(),
                default => unreachable!(),
            }
        }
        // Received and not bound.
        select! { recv(r1) -> _ => {}, default => {} }
        assert_eq!(drops.load(Ordering::SeqCst), made.get());
        drop((r1, r2));
        select! { send(s1, new()) -> sent => assert!(sent.is_err()) }
        select! { send(s2, new()) -> _ => {} }
        assert_eq!(drops.load(Ordering::SeqCst), made.get());
    });
}

#[test]
fn temporaries_of_operands_live_until_the_selection_is_over() {
    struct Temporary<'a>(&'a Cell<bool>, Receiver<i32>);
    impl Drop for Temporary<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    impl Temporary<'_> {
        fn receiver(&self) -> &Receiver<i32> {
            &self.1
        }
    }
    on_all(|| {
        let (s, r) = unbounded();
        let dropped = Cell::new(false);
        s.send(1).unwrap();
        select! {
            recv(Temporary(&dropped, r.clone()).receiver()) -> value => {
                assert_eq!(value, Ok(1));
            }
            recv(never::<()>()) -> _ => unreachable!(),
        }
        assert!(dropped.get());
    });
}

#[test]
fn a_destructor_of_a_thread_local_may_wait_in_a_selection() {
    struct WaitsAtTheEnd;
    impl Drop for WaitsAtTheEnd {
        fn drop(&mut self) {
            let (_s, r) = unbounded::<()>();
            select! {
                recv(r) -> _ => unreachable!(),
                default(ms(1)) => {}
            }
            let (s, r) = bounded(0);
            std::thread::spawn(move || s.send(1));
            select! { recv(r) -> value => assert_eq!(value, Ok(1)) }
            DONE.fetch_add(1, Ordering::SeqCst);
        }
    }
    static DONE: AtomicUsize = AtomicUsize::new(0);
    std::thread_local!(static LOCAL: WaitsAtTheEnd = const { WaitsAtTheEnd });
    let (s, r) = unbounded::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // First ours; what the library keeps is made later, and so goes earlier.
            LOCAL.with(|_| ());
            r.recv().unwrap();
        });
        settle();
        s.send(()).unwrap();
    });
    wait_until(|| DONE.load(Ordering::SeqCst) == 1);
}
