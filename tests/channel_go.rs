//! Go's semantics of channels and `select`, each with a test, and the programs of Go's own tests of them. Where Go panics (a send to a closed channel, a
//! second `close`), ours gives an error or does nothing; a nil channel is `never`, or a sender whose receiver nobody receives from.
//!
//! Written from the Go specification and memory model, and from the behaviour that the suite golang of crossbeam-channel 0.5 (MIT OR Apache-2.0) and the tests
//! it names state: of Go's (BSD-3-Clause) test/chan, test/ken, test/closedchan.go and runtime/chan_test.go.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{
    LONG, Rng, in_child, is_child, mix, ms, on_all, on_goroutines, par, runtime, settle, text, wait_until,
};
use greenroutine::channel::{
    Receiver, RecvError, Select, SendError, Sender, TryRecvError, TrySendError, after, bounded, never,
    select, unbounded,
};
use greenroutine::{go, runtime as current, task, yield_now};

/// Waits until the goroutine of this name is in a wait of which dumps say `what`.
fn wait_until_in(name: &str, what: &str) {
    let line = format!(" '{name}' [{what}]");
    wait_until(|| current::dump().contains(&line));
}

fn named<T: Send + 'static>(
    name: impl Into<String>,
    f: impl FnOnce() -> T + Send + 'static,
) -> greenroutine::JoinHandle<T> {
    task::Builder::new().name(name).spawn(f).unwrap()
}

mod waiting {
    use super::*;

    #[test]
    fn dumps_say_what_a_goroutine_waits_for() {
        on_goroutines(|| {
            let (s, r) = bounded::<i32>(0);
            let (full_s, full_r) = bounded(1);
            full_s.send(1).unwrap();
            let r2 = r.clone();
            let all = [
                named("receives", move || _ = r2.recv()),
                named("sends", move || _ = full_s.send(2)),
                named("selects", move || select! { recv(r) -> _ => {}, recv(never::<()>()) -> _ => {} }),
                named("has nil", || _ = never::<()>().recv()),
                named("has nothing", || select! {}),
            ];
            wait_until_in("receives", "chan receive");
            wait_until_in("sends", "chan send");
            wait_until_in("selects", "select");
            wait_until_in("has nothing", "select");
            for one in &all {
                one.cancel();
            }
            for one in all {
                assert!(one.join().unwrap_err().is_cancelled());
            }
            drop((s, full_r));
        });
    }

    #[test]
    fn receivers_are_served_in_the_order_in_which_they_came() {
        const COUNT: usize = 8;
        on_goroutines(|| {
            for (s, r) in [unbounded(), bounded(0), bounded(1), bounded(100)] {
                let receivers: Vec<_> = (0..COUNT)
                    .map(|n| {
                        let r: Receiver<usize> = r.clone();
                        let name = format!("receiver {n}");
                        let receiver = named(name.clone(), move || {
                            if n % 2 == 0 {
                                r.recv()
                            } else {
                                select! { recv(r) -> value => value, recv(never::<()>()) -> _ => unreachable!() }
                            }
                        });
                        wait_until_in(&name, if n % 2 == 0 { "chan receive" } else { "select" });
                        receiver
                    })
                    .collect();
                for n in 0..COUNT {
                    s.send(n).unwrap();
                }
                for (n, receiver) in receivers.into_iter().enumerate() {
                    assert_eq!(receiver.join().unwrap(), Ok(n));
                }
            }
        });
    }

    #[test]
    fn senders_are_served_in_the_order_in_which_they_came() {
        const COUNT: usize = 8;
        on_goroutines(|| {
            for cap in [0, 1, 3] {
                let (s, r) = bounded(cap);
                for n in 0..cap {
                    s.send(n).unwrap();
                }
                let senders: Vec<_> = (cap..cap + COUNT)
                    .map(|n| {
                        let s = s.clone();
                        let name = format!("sender {n}");
                        let sender = named(name.clone(), move || {
                            if n % 2 == 0 {
                                s.send(n)
                            } else {
                                select! { send(s, n) -> sent => sent, recv(never::<()>()) -> _ => unreachable!() }
                            }
                        });
                        wait_until_in(&name, if n % 2 == 0 { "chan send" } else { "select" });
                        sender
                    })
                    .collect();
                for n in 0..cap + COUNT {
                    assert_eq!(r.recv(), Ok(n));
                }
                for sender in senders {
                    assert_eq!(sender.join().unwrap(), Ok(()));
                }
            }
        });
    }

    #[test]
    fn a_receive_from_a_full_channel_lets_the_first_waiting_sender_in_at_once() {
        on_goroutines(|| {
            let (s, r) = bounded(2);
            s.send(0).unwrap();
            s.send(1).unwrap();
            let senders: Vec<_> = (2..5)
                .map(|n| {
                    let s = s.clone();
                    let name = format!("sender {n}");
                    let sender = named(name.clone(), move || s.send(n).unwrap());
                    wait_until_in(&name, "chan send");
                    sender
                })
                .collect();
            for n in 0..3 {
                assert_eq!(r.recv(), Ok(n));
                // The value of the one that waited is in, behind the others, though it may not have run yet.
                assert_eq!(r.len(), 2);
                assert_eq!(s.try_send(100), Err(TrySendError::Full(100)));
            }
            assert_eq!(r.recv(), Ok(3));
            assert_eq!(r.recv(), Ok(4));
            for sender in senders {
                sender.join().unwrap();
            }
        });
    }

    #[test]
    fn a_value_for_one_that_waits_is_not_to_be_had_by_others() {
        on_goroutines(|| {
            for (s, r) in [unbounded(), bounded(1), bounded(0)] {
                let waiting: Receiver<i32> = r.clone();
                let receiver = named("receiver", move || waiting.recv());
                wait_until_in("receiver", "chan receive");
                s.send(1).unwrap();
                // It is the waiter's already.
                assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
                assert_eq!(receiver.join().unwrap(), Ok(1));
            }
        });
    }

    #[test]
    fn a_rendezvous_ends_when_both_have_come() {
        on_all(|| {
            let (s, r) = bounded(0);
            let begun = AtomicUsize::new(0);
            par(|p| {
                p.go(|| {
                    for n in 0..100 {
                        s.send(n).unwrap();
                        assert!(begun.load(Ordering::SeqCst) > n, "received before it was asked for");
                    }
                });
                for n in 0..100 {
                    begun.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(r.recv(), Ok(n));
                }
            });
        });
    }

    #[test]
    fn a_goroutine_may_wait_deep_in_its_stack_and_go_deeper_afterwards() {
        /// Sends `depth` up and down again, with a kilobyte in every frame.
        #[inline(never)]
        fn dive(depth: u64, s: &Sender<u64>, r: &Receiver<u64>) -> u64 {
            let frame = std::hint::black_box([depth; 128]);
            let mut answer = 0;
            if depth.is_multiple_of(10) {
                // The value comes into this frame.
                select! {
                    send(s, depth) -> sent => sent.unwrap(),
                    recv(never::<()>()) -> _ => unreachable!(),
                }
                select! {
                    recv(r) -> value => answer = value.unwrap(),
                    recv(after(LONG)) -> _ => unreachable!(),
                }
                assert_eq!(answer, depth + 1);
            }
            let below = if depth == 400 { 0 } else { dive(depth + 1, s, r) };
            assert!(std::hint::black_box(&frame).iter().all(|&word| word == depth));
            answer + below
        }
        on_goroutines(|| {
            let all: Vec<_> = (0..6)
                .map(|_| {
                    let ((s, echo_r), (echo_s, r)) = (bounded(0), bounded(0));
                    go(move || {
                        for depth in echo_r {
                            echo_s.send(depth + 1).unwrap();
                        }
                    });
                    go(move || dive(0, &s, &r))
                })
                .collect();
            let expected: u64 = (0..=400).step_by(10).map(|depth| depth + 1).sum();
            for one in all {
                assert_eq!(one.join().unwrap(), expected);
            }
        });
    }
}

mod nil {
    use super::*;

    /// A sender to a channel from which nobody receives; keep the receiver.
    fn nil<T>() -> (Sender<T>, Receiver<T>) {
        bounded(0)
    }

    #[test]
    fn every_blocking_operation_on_it_blocks_and_every_other_one_does_not() {
        on_all(|| {
            let (s, _r) = nil::<i32>();
            let r = never::<i32>();
            assert!(r.recv_timeout(ms(1)).is_err_and(|error| error.is_timeout()));
            assert!(s.send_timeout(1, ms(1)).is_err_and(|error| error.is_timeout()));
            assert!(r.try_recv().is_err_and(|error| error.is_empty()));
            assert!(s.try_send(1).is_err_and(|error| error.is_full()));
            select! {
                recv(r) -> _ => unreachable!(),
                send(s, 1) -> _ => unreachable!(),
                default => {}
            }
            select! {
                recv(r) -> _ => unreachable!(),
                send(s, 1) -> _ => unreachable!(),
                default(ms(1)) => {}
            }
            assert_eq!((r.len(), r.capacity()), (0, Some(0)));
            assert_eq!((s.len(), s.capacity()), (0, Some(0)));
        });
    }

    #[test]
    fn a_selection_goes_on_with_its_other_cases() {
        on_all(|| {
            let (nil_s, _nil_r) = nil::<i32>();
            let (s, r) = bounded(1);
            for n in 0..20 {
                select! {
                    send(nil_s, n) -> _ => unreachable!(),
                    send(s, n) -> sent => assert_eq!(sent, Ok(())),
                }
                select! {
                    recv(never::<i32>()) -> _ => unreachable!(),
                    recv(r) -> value => assert_eq!(value, Ok(n)),
                }
            }
        });
    }

    #[test]
    fn a_case_is_turned_off_by_it_once_it_is_done() {
        // test/chan/select.go: each channel takes one value, in whichever order, and then there is nothing left but the default.
        on_all(|| {
            let (evaluated, shift) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let value = || {
                evaluated.fetch_add(1, Ordering::SeqCst);
                1_usize << shift.load(Ordering::SeqCst)
            };
            let (nil_s, _nil_r) = nil();
            let send = |mut a: Option<&Sender<usize>>, mut b: Option<&Sender<usize>>| {
                let mut sent = 0;
                loop {
                    let (v1, v2) = (value(), value());
                    select! {
                        send(a.unwrap_or(&nil_s), v1) -> _ => a = None,
                        send(b.unwrap_or(&nil_s), v2) -> _ => b = None,
                        default => break sent,
                    }
                    sent += 1;
                    shift.fetch_add(1, Ordering::SeqCst);
                }
            };
            let ((a, a_r), (b, b_r)) = (bounded(1), bounded(1));
            assert_eq!(send(Some(&a), Some(&b)), 2);
            assert_eq!(a_r.recv().unwrap() | b_r.recv().unwrap(), 3);
            assert_eq!(send(Some(&a), None), 1);
            assert_eq!(evaluated.into_inner(), 10);
        });
    }
}

mod closed {
    use super::*;

    #[test]
    fn every_operation_on_a_closed_channel_goes_on_at_once() {
        // test/closedchan.go, for channels with and without a buffer, empty and not.
        on_all(|| {
            for (cap, inside) in [(0, 0), (10, 0), (10, 3)] {
                let (s, r) = bounded(cap);
                for n in 0..inside {
                    s.send(n).unwrap();
                }
                s.close();
                assert_eq!(s.send(1), Err(SendError(1)));
                assert_eq!(s.try_send(2), Err(TrySendError::Disconnected(2)));
                select! { send(s, 3) -> sent => assert_eq!(sent, Err(SendError(3))) }
                select! { send(s, 4) -> sent => assert_eq!(sent, Err(SendError(4))), default => unreachable!() }
                select! {
                    send(s, 5) -> sent => assert_eq!(sent, Err(SendError(5))),
                    recv(never::<()>()) -> _ => unreachable!(),
                }
                s.close();
                r.close();
                for n in 0..inside {
                    let value = match n {
                        0 => r.recv().ok(),
                        1 => r.try_recv().ok(),
                        _ => {
                            select! { recv(r) -> value => value.ok(), recv(never::<()>()) -> _ => unreachable!() }
                        }
                    };
                    assert_eq!(value, Some(n));
                }
                for _ in 0..3 {
                    assert_eq!(r.recv(), Err(RecvError));
                    assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
                    select! { recv(r) -> value => assert_eq!(value, Err(RecvError)) }
                    select! { recv(r) -> value => assert_eq!(value, Err(RecvError)), default => unreachable!() }
                    select! {
                        recv(r) -> value => assert_eq!(value, Err(RecvError)),
                        recv(never::<()>()) -> _ => unreachable!(),
                    }
                }
                assert_eq!((s.len(), r.len()), (0, 0));
                assert_eq!((s.capacity(), r.capacity()), (Some(cap), Some(cap)));
            }
        });
    }

    #[test]
    fn closing_wakes_everybody_who_waits() {
        on_goroutines(|| {
            let (s, r) = bounded::<usize>(0);
            let (full_s, full_r) = bounded(2);
            full_s.send(0).unwrap();
            full_s.send(1).unwrap();
            let receivers: Vec<_> = (0..4)
                .map(|n| {
                    let (r, name) = (r.clone(), format!("receiver {n}"));
                    let receiver = named(name.clone(), move || r.recv());
                    wait_until_in(&name, "chan receive");
                    receiver
                })
                .collect();
            let senders: Vec<_> = (10..14)
                .map(|n| {
                    let (s, name) = (full_s.clone(), format!("sender {n}"));
                    let sender = named(name.clone(), move || s.send(n));
                    wait_until_in(&name, "chan send");
                    sender
                })
                .collect();
            s.close();
            full_r.close();
            for receiver in receivers {
                assert_eq!(receiver.join().unwrap(), Err(RecvError));
            }
            for (n, sender) in senders.into_iter().enumerate() {
                assert_eq!(sender.join().unwrap(), Err(SendError(10 + n)));
            }
            assert!(full_r.iter().eq([0, 1]));
        });
    }

    #[test]
    fn a_range_ends_when_the_channel_is_closed_and_drained() {
        on_all(|| {
            for cap in [0, 1, 10] {
                let (s, r) = bounded(cap);
                par(|p| {
                    p.go(|| {
                        for n in 0..30 {
                            s.send(n).unwrap();
                        }
                        s.close();
                    });
                    let mut count = 0;
                    for n in &r {
                        assert_eq!(n, count);
                        count += 1;
                    }
                    assert_eq!(count, 30);
                });
            }
        });
    }
}

mod selecting {
    use super::*;

    #[test]
    fn without_cases_it_waits_for_ever() {
        on_goroutines(|| {
            let stuck = named("stuck", || select! {});
            wait_until_in("stuck", "select");
            stuck.cancel();
            assert!(stuck.join().unwrap_err().is_cancelled());
        });
    }

    #[test]
    fn each_of_those_that_are_ready_is_drawn_with_the_same_probability() {
        const TRIALS: usize = 4000;
        on_all(|| {
            let ((s1, r1), (s2, r2)) = (bounded(TRIALS), bounded(TRIALS));
            for _ in 0..TRIALS {
                s1.send(1).unwrap();
                s2.send(2).unwrap();
            }
            let ((out_s, out_r), (done_s, done_r)) = (bounded(0), bounded::<()>(0));
            par(|p| {
                p.go(move || {
                    let (quiet1, quiet2) = (never::<i32>(), never::<i32>());
                    loop {
                        let value = select! {
                            recv(quiet1) -> value => value,
                            recv(quiet2) -> value => value,
                            recv(r1) -> value => value,
                            recv(r2) -> value => value,
                        };
                        select! {
                            send(out_s, value.unwrap()) -> sent => sent.unwrap(),
                            recv(done_r) -> _ => break,
                        }
                    }
                });
                let ones = out_r.iter().take(TRIALS - 1).filter(|&value| value == 1).count();
                done_s.close();
                // Six standard deviations: once in 500 million runs.
                let off = (ones as f64 - TRIALS as f64 / 2.0).abs();
                assert!(off < 6.0 * (TRIALS as f64).sqrt() / 2.0, "{ones} of {TRIALS}");
            });
        });
    }

    #[test]
    fn two_sends_of_one_channel_are_drawn_alike_with_any_buffer() {
        const COUNT: usize = 200;
        on_all(|| {
            for cap in [0, 1, 7, 50, COUNT] {
                let (s, r) = bounded(cap);
                let ones = par(|p| {
                    let receiver = p.go(|| r.iter().take(COUNT).sum::<usize>());
                    for _ in 0..COUNT {
                        select! {
                            send(s, 1) -> sent => sent.unwrap(),
                            send(s, 0) -> sent => sent.unwrap(),
                        }
                    }
                    receiver.join()
                });
                assert!(ones > COUNT / 10 && ones < COUNT - COUNT / 10, "{ones} of {COUNT}, capacity {cap}");
            }
        });
    }

    #[test]
    fn default_is_taken_only_if_nothing_was_ready() {
        // runtime/chan_test.go, the three races: at every moment one of the channels is ready.
        on_all(|| {
            for round in 0..200 {
                let ((s1, r1), (s2, r2)) = (bounded(1), bounded(round % 2));
                s1.send(1).unwrap();
                let found = par(|p| {
                    let other = p.go(|| {
                        select! {
                            recv(r2) -> _ => true,
                            recv(r1) -> _ => true,
                            default => false,
                        }
                    });
                    // Makes the second ready, then takes from the first.
                    if round % 2 == 0 {
                        s2.close()
                    } else {
                        s2.send(1).unwrap()
                    }
                    let _ = r1.try_recv();
                    other.join()
                });
                assert!(found);
                // One channel, with a value and then closed.
                let (s, r) = bounded(1);
                s.send(1).unwrap();
                par(|p| {
                    p.go(|| select! { recv(r) -> _ => {}, default => unreachable!() });
                    s.close();
                    let _ = r.recv();
                });
            }
        });
    }

    #[test]
    fn it_never_meets_itself() {
        const COUNT: usize = 300;
        on_all(|| {
            for cap in [0, 10] {
                let (s, r) = bounded(cap);
                par(|p| {
                    for player in 0..2 {
                        let (s, r) = (&s, &r);
                        p.go(move || {
                            for n in 0..COUNT {
                                let meet = |value: Result<i32, RecvError>| {
                                    assert!(cap > 0 || value != Ok(player), "met itself");
                                };
                                if player == 0 || n % 2 == 0 {
                                    select! { send(s, player) -> _ => {}, recv(r) -> value => meet(value) }
                                } else {
                                    select! { recv(r) -> value => meet(value), send(s, player) -> _ => {} }
                                }
                            }
                        });
                    }
                });
            }
        });
    }

    #[test]
    fn one_channel_may_be_waited_for_several_times() {
        on_all(|| {
            for _ in 0..20 {
                let (c, d, e) = (bounded(0), bounded(0), bounded(0));
                par(|p| {
                    p.go(|| {
                        select! {
                            recv(c.1) -> _ => unreachable!(),
                            recv(c.1) -> _ => unreachable!(),
                            recv(d.1) -> value => assert_eq!(value, Ok(7)),
                            recv(e.1) -> _ => unreachable!(),
                        }
                        e.0.send(9).unwrap();
                    });
                    settle();
                    p.go(|| assert_eq!(c.1.recv(), Ok(8)));
                    settle();
                    d.0.send(7).unwrap();
                    assert_eq!(e.1.recv(), Ok(9));
                    // Not for the selection, which has left this queue.
                    c.0.send(8).unwrap();
                });
            }
        });
    }

    #[test]
    fn sixty_five_thousand_cases_are_not_too_many() {
        on_all(|| {
            let all: Vec<_> = (0..64).map(|_| bounded::<usize>(1)).collect();
            let mut sel = Select::new();
            for n in 0..65_536 {
                sel.recv(&all[n % 64].1);
            }
            assert!(sel.try_select().is_err());
            par(|p| {
                p.go(|| {
                    settle();
                    all[17].0.send(17).unwrap();
                });
                let oper = sel.select();
                assert_eq!(oper.index() % 64, 17);
                assert_eq!(oper.recv(&all[17].1), Ok(17));
            });
        });
    }

    #[test]
    fn a_loop_that_only_tries_lets_the_others_of_its_worker_run() {
        type Ends = (Sender<i32>, Receiver<i32>);
        let tries: [fn(&Ends); 12] = [
            |(_, r)| _ = r.try_recv(),
            |(s, _)| _ = s.try_send(1),
            |(_, r)| _ = r.recv_timeout(Duration::ZERO),
            |(s, _)| _ = s.send_timeout(1, Duration::ZERO),
            |(_, r)| _ = r.try_iter().next(),
            |(_, r)| select! { recv(r) -> _ => {}, default => {} },
            |(s, r)| select! { recv(r) -> _ => {}, send(s, 1) -> _ => {}, default => {} },
            |(s, r)| select! { recv(r) -> _ => {}, send(s, 1) -> _ => {}, default(Duration::ZERO) => {} },
            |(s, r)| {
                let mut sel = Select::new();
                sel.recv(r);
                sel.send(s);
                assert!(sel.try_select().is_err());
            },
            |(_, r)| {
                let mut sel = Select::new();
                sel.recv(r);
                assert!(sel.try_ready().is_err());
            },
            |(_, r)| {
                let mut sel = Select::new();
                sel.recv(r);
                assert!(sel.select_timeout(Duration::ZERO).is_err());
            },
            |_| {
                let (s, r) = bounded(1);
                s.send(1).unwrap();
                r.recv().unwrap();
            },
        ];
        for one in tries {
            runtime(1, false).run(move || {
                let (done, ends) = (Arc::new(AtomicBool::new(false)), bounded(0));
                let flag = done.clone();
                let other = go(move || {
                    // Has begun, and so lives on this worker.
                    yield_now();
                    flag.store(true, Ordering::SeqCst);
                });
                yield_now();
                while !done.load(Ordering::SeqCst) {
                    one(&ends);
                }
                other.join().unwrap();
            });
        }
    }
}

mod memory {
    use super::*;

    /// Counts by reading and then writing: two at once lose a count.
    struct Plain(AtomicUsize);

    impl Plain {
        fn add_one(&self) {
            let before = self.0.load(Ordering::Relaxed);
            std::hint::spin_loop();
            self.0.store(before + 1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_channel_of_one_is_a_lock() {
        const COUNT: usize = 500;
        on_all(|| {
            let (s, r) = bounded(1);
            let plain = Plain(AtomicUsize::new(0));
            par(|p| {
                for n in 0..4 {
                    let (s, r, plain) = (&s, &r, &plain);
                    p.go(move || {
                        for _ in 0..COUNT {
                            match n {
                                0 => s.send(()).unwrap(),
                                1 => select! { send(s, ()) -> sent => sent.unwrap() },
                                2 => wait_until(|| s.try_send(()).is_ok()),
                                _ => s.send_timeout((), LONG).unwrap(),
                            }
                            plain.add_one();
                            r.recv().unwrap();
                        }
                    });
                }
            });
            assert_eq!(plain.0.into_inner(), 4 * COUNT);
        });
    }

    #[test]
    fn a_channel_of_n_lets_n_in() {
        const COUNT: usize = 200;
        on_all(|| {
            for cap in [2, 3] {
                let (s, r) = bounded(cap);
                let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
                par(|p| {
                    for _ in 0..6 {
                        p.go(|| {
                            for _ in 0..COUNT {
                                s.send(()).unwrap();
                                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                                yield_now();
                                inside.fetch_sub(1, Ordering::SeqCst);
                                r.recv().unwrap();
                            }
                        });
                    }
                });
                assert!(most.into_inner() <= cap);
            }
        });
    }

    #[test]
    fn what_was_written_before_a_send_or_a_close_is_seen_after_the_receive() {
        on_all(|| {
            for cap in [0, 1, 4] {
                for round in 0..100 {
                    let (s, r) = bounded(cap);
                    let cell = AtomicUsize::new(0);
                    par(|p| {
                        p.go(|| {
                            cell.store(1, Ordering::Relaxed);
                            if round % 2 == 0 { s.send(()).unwrap() } else { s.close() }
                        });
                        assert_eq!(r.recv().is_ok(), round % 2 == 0);
                        assert_eq!(cell.load(Ordering::Relaxed), 1);
                    });
                    // Without a buffer the receive comes before the end of the send.
                    let (s, r) = bounded(0);
                    par(|p| {
                        p.go(|| {
                            cell.store(2, Ordering::Relaxed);
                            r.recv().unwrap();
                        });
                        s.send(()).unwrap();
                        assert_eq!(cell.load(Ordering::Relaxed), 2);
                    });
                }
            }
        });
    }

    #[test]
    fn selections_leave_no_memory_behind() {
        // test/chan/select2.go: the second round needs no more than the first.
        const NAME: &str = "memory::selections_leave_no_memory_behind";
        const COUNT: usize = 60_000;
        fn resident() -> usize {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        }
        fn round() {
            let ((s, r), (_dummy_s, dummy)) = (unbounded(), unbounded::<usize>());
            par(|p| {
                p.go(|| {
                    for n in 0..COUNT {
                        s.send(n).unwrap();
                        // Not far ahead: it is about what the selections leave.
                        wait_until(|| s.len() < 100);
                    }
                });
                for n in 0..COUNT {
                    let mut sel = Select::new();
                    let mut index = sel.recv(&r);
                    if n % 2 == 0 {
                        sel.recv(&dummy);
                        let oper = sel.select();
                        assert_eq!(oper.index(), index);
                        assert_eq!(oper.recv(&r), Ok(n));
                    } else {
                        select! {
                            recv(dummy) -> _ => unreachable!(),
                            recv(r) -> value => assert_eq!(value, Ok(n)),
                        }
                        index += 1;
                    }
                    assert!(index < 2);
                }
            });
        }
        if !is_child(NAME) {
            let output = in_child(NAME, |_| {});
            assert!(output.status.success(), "{}", text(&output));
            return;
        }
        runtime(2, false).run(|| {
            round();
            let before = resident();
            round();
            round();
            let after = resident();
            // A node that stays for each selection would be several megabytes.
            assert!(after < before + 2000, "{before} KiB, then {after} KiB");
        });
    }
}

mod programs {
    use super::*;

    #[test]
    fn doubleselect() {
        const COUNT: usize = 1000;
        on_all(|| {
            let channels: Vec<_> = (0..4).map(|_| bounded(0)).collect();
            let (mux_s, mux_r) = bounded(0);
            let seen: Vec<_> = (0..COUNT).map(|_| AtomicUsize::new(0)).collect();
            par(|p| {
                p.go(|| {
                    let [c1, c2, c3, c4] = [0, 1, 2, 3].map(|n: usize| &channels[n].0);
                    for n in 0..COUNT {
                        select! {
                            send(c1, n) -> sent => sent.unwrap(),
                            send(c2, n) -> sent => sent.unwrap(),
                            send(c3, n) -> sent => sent.unwrap(),
                            send(c4, n) -> sent => sent.unwrap(),
                        }
                    }
                    for (s, _) in &channels {
                        s.close();
                    }
                });
                for (_, r) in &channels {
                    let mux_s = mux_s.clone();
                    p.go(move || {
                        for n in r {
                            mux_s.send(n).unwrap();
                        }
                    });
                }
                drop(mux_s);
                for n in mux_r {
                    seen[n].fetch_add(1, Ordering::SeqCst);
                }
            });
            assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) == 1));
        });
    }

    #[test]
    fn fifo() {
        on_all(|| {
            let (s, r) = bounded(10);
            (0..10).for_each(|n| s.send(n).unwrap());
            assert!(r.iter().take(10).eq(0..10));
            // Each takes its turn, then its value, then gives the next its turn.
            let (s, r) = bounded(0);
            par(|p| {
                let (start_s, mut turn) = bounded(0);
                for n in 0..10 {
                    let (next_s, next_r) = bounded(0);
                    let r = &r;
                    p.go(move || {
                        turn.recv().unwrap();
                        assert_eq!(r.recv(), Ok(n));
                        next_s.send(()).unwrap();
                    });
                    turn = next_r;
                }
                start_s.send(()).unwrap();
                (0..10).for_each(|n| s.send(n).unwrap());
                turn.recv().unwrap();
            });
        });
    }

    #[test]
    fn goroutines() {
        fn chain(length: usize) {
            let (mut left_s, leftmost) = bounded(0);
            par(|p| {
                for _ in 0..length {
                    let (s, r) = bounded(0);
                    let left = std::mem::replace(&mut left_s, s);
                    p.go(move || left.send(r.recv().unwrap() + 1).unwrap());
                }
                p.go(move || left_s.send(0).unwrap());
                assert_eq!(leftmost.recv(), Ok(length));
            });
        }
        on_all(|| chain(100));
        on_goroutines(|| chain(5000));
    }

    #[test]
    fn nonblock() {
        fn exchange<T: Send + Sync + PartialEq + std::fmt::Debug + Clone>(cap: usize, value: &T, other: &T) {
            let (s, r) = bounded(cap);
            select! { recv(r) -> _ => unreachable!(), default => {} }
            par(|p| {
                p.go(|| assert_eq!(r.recv().as_ref(), Ok(value)));
                // Until it is there or there is room.
                wait_until(|| select! { send(s, value.clone()) -> sent => sent.is_ok(), default => false });
            });
            par(|p| {
                p.go(|| s.send(other.clone()).unwrap());
                let mut got = None;
                while got.is_none() {
                    select! { recv(r) -> value => got = value.ok(), default => yield_now() }
                }
                assert_eq!(got.as_ref(), Some(other));
            });
        }
        on_all(|| {
            for cap in [0, 1] {
                for _ in 0..10 {
                    exchange(cap, &123_i32, &234);
                    exchange(cap, &123_456_i64, &234_567);
                    exchange(cap, &true, &false);
                    exchange(cap, &String::from("hello"), &String::from("hello again"));
                }
            }
        });
    }

    #[test]
    fn select3() {
        // Which operations block, and which do not: with a deadline, over which we wait only where it must block.
        #[track_caller]
        fn blocks(expected: bool, operation: impl FnOnce(Instant) -> bool) {
            let deadline = Instant::now() + if expected { ms(1) } else { LONG };
            assert_eq!(operation(deadline), expected);
        }
        fn recv(r: &Receiver<i32>) -> impl Fn(Instant) -> bool {
            move |deadline| r.recv_deadline(deadline).is_err_and(|error| error.is_timeout())
        }
        fn send(s: &Sender<i32>) -> impl Fn(Instant) -> bool {
            move |deadline| s.send_deadline(7, deadline).is_err_and(|error| error.is_timeout())
        }
        on_all(|| {
            let (full_s, full_r) = bounded(2);
            full_s.send(1).unwrap();
            full_s.send(2).unwrap();
            let (empty_s, empty_r) = bounded(2);
            let (sync_s, sync_r) = bounded(0);
            let (closed_s, closed_r) = bounded(2);
            closed_s.close();
            blocks(true, recv(&never()));
            blocks(true, recv(&empty_r));
            blocks(true, recv(&sync_r));
            blocks(true, send(&sync_s));
            blocks(true, send(&full_s));
            blocks(false, recv(&full_r));
            blocks(false, send(&full_s));
            blocks(false, send(&empty_s));
            blocks(false, recv(&empty_r));
            blocks(false, recv(&closed_r));
            blocks(false, send(&closed_s));
            // The same in selections.
            let in_select = |deadline: Instant| {
                let timer = greenroutine::channel::at(deadline);
                select! {
                    recv(never::<i32>()) -> _ => false,
                    recv(empty_r) -> _ => false,
                    send(full_s, 1) -> _ => false,
                    send(sync_s, 1) -> _ => false,
                    recv(sync_r) -> _ => false,
                    recv(timer) -> _ => true,
                }
            };
            blocks(true, in_select);
            empty_s.send(5).unwrap();
            blocks(false, in_select);
            full_r.recv().unwrap();
            blocks(false, in_select);
            blocks(true, in_select);
        });
    }

    #[test]
    fn select4_and_select6() {
        on_all(|| {
            let ((s, r), (_s1, r1)) = (bounded(1), bounded::<i32>(0));
            s.send(42).unwrap();
            select! {
                recv(r1) -> _ => unreachable!(),
                recv(r) -> value => assert_eq!(value, Ok(42)),
            }
            // A selection that loses behind somebody who waits for the same channel, and later waits for it alone.
            for _ in 0..20 {
                let (c1, c2, c3) = (bounded(0), bounded(0), bounded(0));
                par(|p| {
                    p.go(|| assert_eq!(c1.1.recv(), Ok(true)));
                    p.go(|| {
                        select! {
                            recv(c1.1) -> _ => unreachable!(),
                            recv(c2.1) -> value => {
                                assert_eq!(value, Ok(true));
                                c3.0.send(true).unwrap();
                            }
                        }
                        assert_eq!(c1.1.recv(), Ok(true));
                    });
                    p.go(|| c2.0.send(true).unwrap());
                    assert_eq!(c3.1.recv(), Ok(true));
                    c1.0.send(true).unwrap();
                    c1.0.send(true).unwrap();
                });
            }
        });
    }

    #[test]
    fn select7() {
        // Every way to receive against every way to send.
        let receives: [fn(&Receiver<i32>); 4] = [
            |r| assert_eq!(r.recv(), Ok(1)),
            |r| select! { recv(r) -> value => assert_eq!(value, Ok(1)) },
            |r| select! { recv(r) -> value => assert_eq!(value, Ok(1)), recv(never::<()>()) -> _ => unreachable!() },
            |r| {
                let mut sel = Select::new();
                sel.recv(r);
                assert_eq!(sel.select().recv(r), Ok(1));
            },
        ];
        fn all(receives: [fn(&Receiver<i32>); 4]) {
            let sends: [fn(&Sender<i32>); 4] = [
                |s| s.send(1).unwrap(),
                |s| select! { send(s, 1) -> sent => sent.unwrap() },
                |s| select! { send(s, 1) -> sent => sent.unwrap(), recv(never::<()>()) -> _ => unreachable!() },
                |s| {
                    let mut sel = Select::new();
                    sel.send(s);
                    sel.select().send(s, 1).unwrap();
                },
            ];
            for (s, r) in [bounded(0), bounded(1), unbounded()] {
                for receive in receives {
                    for send in sends {
                        for first in [true, false] {
                            par(|p| {
                                let (s, r) = (&s, &r);
                                if first {
                                    p.go(move || receive(r));
                                    settle();
                                    send(s);
                                } else {
                                    p.go(move || send(s));
                                    settle();
                                    receive(r);
                                }
                            });
                        }
                    }
                }
            }
        }
        all(receives);
        for workers in [1, 2, 4] {
            for free in [false, true] {
                runtime(workers, free).run(|| all(receives));
            }
        }
    }

    #[test]
    fn sieve() {
        const PRIMES: [u32; 25] =
            [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97];
        on_all(|| {
            for cap in [0, 1] {
                par(|p| {
                    let (s, mut r) = bounded(cap);
                    p.go(move || (2..).take_while(|&n| s.send(n).is_ok()).count());
                    for expected in PRIMES {
                        let prime = r.recv().unwrap();
                        assert_eq!(prime, expected);
                        let (s, next) = bounded(cap);
                        let filtered = std::mem::replace(&mut r, next);
                        p.go(move || {
                            for n in filtered {
                                if n % prime != 0 && s.send(n).is_err() {
                                    break;
                                }
                            }
                        });
                    }
                    // The last receiver goes, and so all end, one after the other.
                    drop(r);
                });
            }
        });
    }

    #[test]
    fn zerosize() {
        #[derive(Debug, PartialEq)]
        struct Nothing;
        on_all(|| {
            for cap in [0, 1, 1000] {
                let (s, r) = bounded(cap);
                par(|p| {
                    p.go(move || (0..100).for_each(|_| s.send(Nothing).unwrap()));
                    assert_eq!(r.iter().count(), 100);
                });
                let (s, r) = bounded::<[u8; 0]>(cap);
                drop(s);
                assert_eq!(r.recv(), Err(RecvError));
            }
        });
    }

    #[test]
    fn chan() {
        // runtime/chan_test.go, TestChan: what blocks and what does not, for all capacities.
        on_all(|| {
            for cap in (0..20).chain([50, 200]) {
                // Receivers from an empty channel wait, and those that try do not.
                let (s, r) = bounded(cap);
                let received = AtomicUsize::new(0);
                par(|p| {
                    for _ in 0..2 {
                        p.go(|| {
                            r.recv().unwrap();
                            received.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                    yield_now();
                    assert_eq!(received.load(Ordering::SeqCst), 0);
                    select! { recv(r) -> _ => unreachable!(), default => {} }
                    select! { recv(r) -> _ => unreachable!(), recv(r) -> _ => unreachable!(), default => {} }
                    s.send(0).unwrap();
                    s.send(0).unwrap();
                });
                // A sender to a full channel waits, and one that tries does not.
                let (s, r) = bounded(cap);
                (0..cap).for_each(|n| s.send(n).unwrap());
                let sent = AtomicBool::new(false);
                par(|p| {
                    p.go(|| {
                        s.send(cap).unwrap();
                        sent.store(true, Ordering::SeqCst);
                    });
                    yield_now();
                    assert!(!sent.load(Ordering::SeqCst));
                    if cap > 0 {
                        select! { send(s, 0) -> _ => unreachable!(), default => {} }
                    }
                    assert!(r.iter().take(cap + 1).eq(0..=cap));
                });
                // Many values, in order, twice.
                par(|p| {
                    for _ in 0..2 {
                        p.go(|| (0..100).for_each(|n| s.send(n).unwrap()));
                        assert!(r.iter().take(100).eq(0..100));
                    }
                });
            }
        });
    }

    #[test]
    fn select_stress() {
        const COUNT: usize = 300;
        on_all(|| {
            // Four channels; on each one that sends and one that receives, and over all of them one selection that sends and one that receives.
            let channels = [0, 0, 2, 3].map(bounded::<usize>);
            let received = AtomicUsize::new(0);
            let work = |send: bool, order: [usize; 4]| {
                let mut left = [COUNT; 4];
                while left != [0; 4] {
                    let mut sel = Select::new();
                    let open: Vec<_> = order.into_iter().filter(|&n| left[n] > 0).collect();
                    for &n in &open {
                        if send {
                            sel.send(&channels[n].0)
                        } else {
                            sel.recv(&channels[n].1)
                        };
                    }
                    let oper = sel.select();
                    let n = open[oper.index()];
                    left[n] -= 1;
                    if send {
                        oper.send(&channels[n].0, left[n]).unwrap();
                    } else {
                        received.fetch_add(oper.recv(&channels[n].1).unwrap(), Ordering::SeqCst);
                    }
                }
            };
            let work = &work;
            par(|p| {
                for (s, r) in &channels {
                    p.go(move || (0..COUNT).for_each(|n| s.send(n).unwrap()));
                    let received = &received;
                    p.go(move || {
                        for _ in 0..COUNT {
                            received.fetch_add(r.recv().unwrap(), Ordering::SeqCst);
                        }
                    });
                }
                p.go(move || work(false, [3, 2, 0, 1]));
                p.go(move || work(true, [0, 1, 2, 3]));
            });
            assert_eq!(received.into_inner(), 8 * (COUNT * (COUNT - 1) / 2));
        });
    }

    #[test]
    fn multi_consumer() {
        const WORKERS: usize = 23;
        const COUNT: usize = 3000;
        const NUMBERS: [usize; 10] = [2, 3, 7, 11, 13, 17, 19, 23, 27, 31];
        on_all(|| {
            let ((s, r), (out_s, out_r)) = (bounded(WORKERS * 3), bounded(WORKERS * 3));
            par(|p| {
                for worker in 0..WORKERS {
                    let (r, out_s) = (r.clone(), out_s.clone());
                    p.go(move || {
                        for n in r {
                            // Some are slower than others.
                            if NUMBERS[worker % 10] == n {
                                yield_now();
                            }
                            out_s.send(n).unwrap();
                        }
                    });
                }
                drop(out_s);
                p.go(move || (0..COUNT).for_each(|n| s.send(NUMBERS[n % 10]).unwrap()));
                let (count, sum) = out_r.iter().fold((0, 0), |(count, sum), n| (count + 1, sum + n));
                assert_eq!((count, sum), (COUNT, COUNT / 10 * NUMBERS.iter().sum::<usize>()));
            });
        });
    }

    #[test]
    fn any_value_in_a_box() {
        on_all(|| {
            let (s, r) = bounded::<Box<dyn std::any::Any + Send>>(1);
            s.send(Box::new("text")).unwrap();
            select! { send(s, Box::new(1)) -> _ => unreachable!(), default => {} }
            select! { send(s, Box::new(2)) -> _ => unreachable!(), send(s, Box::new(3)) -> _ => unreachable!(), default => {} }
            assert_eq!(r.recv().unwrap().downcast_ref(), Some(&"text"));
        });
    }

    /// One channel of test/ken/chan.go: its values count up, for both sides.
    struct Counted {
        s: Sender<usize>,
        r: Receiver<usize>,
        sent: AtomicUsize,
        received: AtomicUsize,
    }

    const VALUES: usize = 40;

    impl Counted {
        fn new(cap: usize) -> Self {
            let (s, r) = bounded(cap);
            Self { s, r, sent: AtomicUsize::new(0), received: AtomicUsize::new(0) }
        }

        /// Notes a send; true if there is one more to do.
        fn note_sent(&self) -> bool {
            self.sent.fetch_add(1, Ordering::SeqCst) + 1 < VALUES
        }

        fn note_received(&self, value: usize) -> bool {
            assert_eq!(value, self.received.fetch_add(1, Ordering::SeqCst), "out of order");
            value + 1 < VALUES
        }

        fn send_all(&self, rng: &mut Rng) {
            loop {
                (0..rng.below(3)).for_each(|_| yield_now());
                self.s.send(self.sent.load(Ordering::SeqCst)).unwrap();
                if !self.note_sent() {
                    break;
                }
            }
        }

        fn recv_all(&self, rng: &mut Rng) {
            loop {
                (0..rng.below(3)).for_each(|_| yield_now());
                if !self.note_received(self.r.recv().unwrap()) {
                    break;
                }
            }
        }
    }

    /// Selects over four receives and four sends until all that are there are done.
    fn ken_select(receives: &[Counted], sends: &[Counted], rng: &mut Rng) {
        let (nil_s, _nil_r) = bounded(0);
        let nil_r = never();
        let mut receives: Vec<_> = receives.iter().map(Some).collect();
        let mut sends: Vec<_> = sends.iter().map(Some).collect();
        receives.resize(4, None);
        sends.resize(4, None);
        while receives.iter().chain(&sends).any(Option::is_some) {
            (0..rng.below(3)).for_each(|_| yield_now());
            let r = |n: usize| receives[n].map_or(&nil_r, |c| &c.r);
            let s = |n: usize| sends[n].map_or(&nil_s, |c| &c.s);
            let value = |n: usize| sends[n].map_or(0, |c| c.sent.load(Ordering::SeqCst));
            let (n, received) = select! {
                recv(r(0)) -> value => (0, value.ok()),
                recv(r(1)) -> value => (1, value.ok()),
                recv(r(2)) -> value => (2, value.ok()),
                recv(r(3)) -> value => (3, value.ok()),
                send(s(0), value(0)) -> sent => { sent.unwrap(); (0, None) }
                send(s(1), value(1)) -> sent => { sent.unwrap(); (1, None) }
                send(s(2), value(2)) -> sent => { sent.unwrap(); (2, None) }
                send(s(3), value(3)) -> sent => { sent.unwrap(); (3, None) }
            };
            match received {
                Some(value) => receives[n] = receives[n].filter(|c| c.note_received(value)),
                None => sends[n] = sends[n].filter(|c| c.note_sent()),
            }
        }
    }

    #[test]
    fn ken() {
        on_all(|| {
            for cap in [0, 1, 10, 100] {
                let make = |count: usize| (0..count).map(|_| Counted::new(cap)).collect::<Vec<_>>();
                let check = |all: &[Counted]| {
                    for c in all {
                        assert_eq!(c.sent.load(Ordering::SeqCst), VALUES);
                        assert_eq!(c.received.load(Ordering::SeqCst), VALUES);
                        assert!(c.r.is_empty());
                    }
                };
                let rng = |n: usize| Rng(mix(n as u64));
                // Direct to direct.
                let all = make(4);
                par(|p| {
                    for (n, c) in all.iter().enumerate() {
                        p.go(move || c.send_all(&mut rng(n)));
                        p.go(move || c.recv_all(&mut rng(n + 4)));
                    }
                });
                check(&all);
                // Direct to select, and select to direct.
                let all = make(8);
                par(|p| {
                    let (to_select, to_direct) = all.split_at(4);
                    for (n, (a, b)) in to_select.iter().zip(to_direct).enumerate() {
                        p.go(move || a.send_all(&mut rng(n)));
                        p.go(move || b.recv_all(&mut rng(n + 4)));
                    }
                    p.go(move || ken_select(to_select, &[], &mut rng(10)));
                    p.go(move || ken_select(&[], to_direct, &mut rng(11)));
                });
                check(&all);
                // Select to select, over four and over eight channels.
                let all = make(12);
                par(|p| {
                    let (four, eight) = all.split_at(4);
                    let (there, back) = eight.split_at(4);
                    p.go(move || ken_select(four, &[], &mut rng(0)));
                    p.go(move || ken_select(&[], four, &mut rng(1)));
                    p.go(move || ken_select(there, back, &mut rng(2)));
                    p.go(move || ken_select(back, there, &mut rng(3)));
                });
                check(&all);
            }
        });
    }

    #[test]
    fn ken1() {
        const VALUES: usize = 500;
        on_all(|| {
            let state: Vec<_> = (0..VALUES).map(|_| AtomicUsize::new(0)).collect();
            let (s, r) = bounded(2);
            par(|p| {
                for _ in 0..10 {
                    p.go(|| {
                        loop {
                            select! {
                                recv(r) -> value => match value {
                                    Ok(n) => {
                                        let n: usize = n;
                                        assert_eq!(state[n].swap(2, Ordering::SeqCst), 1);
                                    }
                                    Err(RecvError) => break,
                                }
                            }
                        }
                    });
                }
                for (n, state) in state.iter().enumerate() {
                    assert_eq!(state.swap(1, Ordering::SeqCst), 0);
                    s.send(n).unwrap();
                }
                drop(s);
            });
            assert!(state.iter().all(|state| state.load(Ordering::SeqCst) == 2));
        });
    }
}
