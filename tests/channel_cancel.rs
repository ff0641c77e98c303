//! Goroutines that are cancelled while they wait in a channel or a selection: nothing is delivered to them afterwards, nothing is lost or doubled, and
//! the channel works on.
//!
//! Ours: crossbeam-channel has no cancellation.

#![allow(clippy::disallowed_methods, reason = "makes deadlines of its own")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Counted, LONG, Rng, on_all, on_goroutines, runtime, settle, wait_until};
use greenroutine::channel::{
    Receiver, Select, Sender, TryRecvError, after, bounded, never, select, tick, unbounded,
};
use greenroutine::{JoinHandle, go, scope, task, yield_now};

/// Whether nobody waits at either end of a rendezvous.
fn nobody_waits<T>(s: &Sender<T>, r: &Receiver<T>) -> bool {
    let mut sel = Select::new();
    sel.send(s);
    sel.recv(r);
    // Those that wait at one end make the other one ready.
    sel.try_ready().is_err()
}

/// Cancels and waits for the end.
#[track_caller]
fn cancel<T: Send + 'static>(handle: JoinHandle<T>) {
    handle.cancel();
    assert!(handle.join().err().expect("it waits, so it was cancelled").is_cancelled());
}

/// Starts `f`, and waits until it most likely waits.
fn started<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let running = Arc::new(AtomicUsize::new(0));
    let flag = running.clone();
    let handle = go(move || {
        flag.store(1, Ordering::SeqCst);
        f()
    });
    wait_until(|| running.load(Ordering::SeqCst) == 1);
    settle();
    handle
}

#[test]
fn a_goroutine_is_cancelled_in_whatever_it_waits() {
    on_all(|| {
        type Ends = (Sender<Instant>, Receiver<Instant>);
        let receives: [fn(&Ends); 14] = [
            |(_, r)| _ = r.recv(),
            |(_, r)| _ = r.recv_timeout(LONG),
            |(_, r)| _ = r.recv_deadline(Instant::now() + LONG),
            |(_, r)| _ = r.iter().next(),
            |(_, r)| select! { recv(r) -> _ => {} },
            |(_, r)| select! { recv(r) -> _ => {}, default(LONG) => {} },
            |(_, r)| select! { recv(r) -> _ => {}, recv(never::<()>()) -> _ => {} },
            |(_, r)| select! { recv(r) -> _ => {}, recv(after(LONG)) -> _ => {}, default(LONG) => {} },
            |(_, r)| {
                let mut sel = Select::new();
                sel.recv(r);
                sel.ready();
            },
            |(_, r)| {
                let mut sel = Select::new();
                sel.recv(r);
                let _ = sel.select_timeout(LONG).map(|oper| oper.recv(r));
            },
            |_| _ = never::<()>().recv(),
            |_| _ = after(LONG).recv(),
            |_| _ = tick(LONG).recv(),
            |_| select! { default(LONG) => {} },
        ];
        let sends: [fn(&Ends); 6] = [
            |(s, _)| _ = s.send(Instant::now()),
            |(s, _)| _ = s.send_timeout(Instant::now(), LONG),
            |(s, _)| select! { send(s, Instant::now()) -> _ => {} },
            |(s, r)| select! { send(s, Instant::now()) -> _ => {}, recv(never::<()>()) -> _ => drop(r.clone()) },
            |(s, _)| {
                let mut sel = Select::new();
                sel.send(s);
                sel.select().send(s, Instant::now()).unwrap();
            },
            |(s, _)| {
                let mut sel = Select::new();
                sel.send(s);
                let _ = sel.ready_timeout(LONG);
            },
        ];
        for make in [unbounded, || bounded(0), || bounded(1)] {
            for (receive, wait) in
                receives.into_iter().map(|wait| (true, wait)).chain(sends.map(|wait| (false, wait)))
            {
                let (s, r): Ends = make();
                if !receive && s.capacity().is_none() {
                    continue;
                }
                if !receive && s.capacity() == Some(1) {
                    s.send(Instant::now()).unwrap();
                }
                let len = s.len();
                let drops = Arc::new(AtomicUsize::new(0));
                let (counted, ends) = (Counted(drops.clone()), (s.clone(), r.clone()));
                let handle = started(move || {
                    let _counted = counted;
                    wait(&ends);
                    unreachable!("the wait ends by cancellation only");
                });
                cancel::<()>(handle);
                assert_eq!(drops.load(Ordering::SeqCst), 1);
                assert_eq!(s.len(), len, "what waited was not put in");
                if s.capacity() == Some(0) {
                    assert!(nobody_waits(&s, &r));
                }
                // Everything works on.
                if len == 1 {
                    r.try_recv().unwrap();
                }
                let now = Instant::now();
                let other = go(move || s.send(now).unwrap());
                assert_eq!(r.recv(), Ok(now));
                other.join().unwrap();
                assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
            }
        }
    });
}

#[test]
fn a_value_goes_past_a_cancelled_receiver_to_the_next_one() {
    on_all(|| {
        for (s, r) in [unbounded(), bounded(0), bounded(1)] {
            let handles: Vec<_> = (0..3)
                .map(|n| {
                    let r = r.clone();
                    started(move || match n {
                        0 => r.recv(),
                        1 => {
                            select! { recv(r) -> value => value, recv(never::<()>()) -> _ => unreachable!() }
                        }
                        _ => {
                            let mut sel = Select::new();
                            sel.recv(&r);
                            sel.select().recv(&r)
                        }
                    })
                })
                .collect();
            handles.into_iter().for_each(cancel);
            let last = {
                let r = r.clone();
                started(move || r.recv())
            };
            s.send(5).unwrap();
            assert_eq!(last.join().unwrap(), Ok(5));
            assert!(r.is_empty());
        }
    });
}

#[test]
fn the_value_of_a_cancelled_sender_is_dropped_and_not_received() {
    on_all(|| {
        for cap in [0, 1, 2] {
            let drops = Arc::new(AtomicUsize::new(0));
            let (s, r) = bounded(cap);
            for n in 0..cap {
                assert!(s.send((n, Counted(drops.clone()))).is_ok());
            }
            for way in 0..4 {
                let (s, value) = (s.clone(), (100, Counted(drops.clone())));
                let handle = started(move || match way {
                    0 => s.send(value).is_ok(),
                    1 => s.send_timeout(value, LONG).is_ok(),
                    2 => select! { send(s, value) -> sent => sent.is_ok() },
                    _ => {
                        select! { send(s, value) -> sent => sent.is_ok(), recv(never::<()>()) -> _ => false }
                    }
                });
                cancel(handle);
                assert_eq!(drops.load(Ordering::SeqCst), way + 1);
            }
            // Another sender behind them, and everything in order.
            let sender = go(move || s.send((cap, Counted(Arc::default()))).is_ok());
            for n in 0..=cap {
                assert_eq!(r.recv().unwrap().0, n);
            }
            assert!(sender.join().unwrap());
            assert!(r.recv().is_err());
            assert_eq!(drops.load(Ordering::SeqCst), 4 + cap);
        }
    });
}

#[test]
fn a_cancelled_selection_leaves_all_of_its_channels() {
    on_all(|| {
        let channels: Vec<_> = (0..6).map(|_| bounded::<usize>(0)).collect();
        for way in 0..4 {
            let all = channels.clone();
            let handle = started(move || {
                let mut sel = Select::new();
                for (n, (s, r)) in all.iter().enumerate() {
                    if n % 2 == 0 {
                        sel.recv(r)
                    } else {
                        sel.send(s)
                    };
                    // And some a second time.
                    if n % 3 == 0 {
                        sel.recv(r);
                    }
                }
                match way {
                    0 => drop(sel.select()),
                    1 => drop(sel.select_timeout(LONG)),
                    2 => _ = sel.ready(),
                    _ => _ = sel.ready_timeout(LONG),
                }
            });
            cancel(handle);
            for (s, r) in &channels {
                assert!(nobody_waits(s, r));
                assert!(s.try_send(1).is_err());
                assert!(r.try_recv().is_err());
            }
        }
        for (n, (s, r)) in channels.iter().enumerate() {
            let s = s.clone();
            let sender = go(move || s.send(n).unwrap());
            assert_eq!(r.recv(), Ok(n));
            sender.join().unwrap();
        }
    });
}

#[test]
fn a_cancellation_that_races_a_value_loses_or_wins() {
    on_all(|| {
        for cap in [Some(0), Some(1), None] {
            for round in 0..300 {
                let (s, r) = cap.map_or_else(unbounded, bounded);
                let got = Arc::new(AtomicUsize::new(0));
                let (inner, flag) = (r.clone(), got.clone());
                let receiver = go(move || {
                    let value = match round % 3 {
                        0 => inner.recv(),
                        1 => select! { recv(inner) -> value => value, default(LONG) => unreachable!() },
                        _ => {
                            select! { recv(inner) -> value => value, recv(never::<()>()) -> _ => unreachable!() }
                        }
                    };
                    flag.fetch_add(value.unwrap(), Ordering::SeqCst);
                });
                if round % 2 == 0 {
                    settle();
                }
                let sender = go(move || s.send(1).is_ok());
                if round % 5 == 0 {
                    yield_now();
                }
                receiver.cancel();
                let cancelled = receiver.join().is_err();
                // The receiver is gone or has the value. If it has not, the value is still to be had.
                let left = if cancelled && got.load(Ordering::SeqCst) == 0 { r.recv().ok() } else { None };
                assert!(sender.join().unwrap());
                assert_eq!(got.load(Ordering::SeqCst) + left.unwrap_or(0), 1, "round {round}");
                assert_eq!(r.recv().ok(), None);
            }
        }
    });
}

#[test]
fn a_cancellation_that_races_a_receiver_of_the_value_loses_or_wins() {
    on_all(|| {
        for cap in [0, 1] {
            for round in 0..300 {
                let drops = Arc::new(AtomicUsize::new(0));
                let (s, r) = bounded(cap);
                for _ in 0..cap {
                    assert!(s.send(Counted(drops.clone())).is_ok());
                }
                let value = Counted(drops.clone());
                let sender = go(move || match round % 3 {
                    0 => s.send(value).is_ok(),
                    1 => select! { send(s, value) -> sent => sent.is_ok(), default(LONG) => unreachable!() },
                    _ => {
                        select! { send(s, value) -> sent => sent.is_ok(), recv(never::<()>()) -> _ => false }
                    }
                });
                if round % 2 == 0 {
                    settle();
                }
                let receiver = go(move || r.iter().count());
                if round % 5 == 0 {
                    yield_now();
                }
                sender.cancel();
                // A cancelled one may have sent before; what is counted is what was received, or dropped.
                let sent = sender.join();
                let received = receiver.join().unwrap();
                if let Ok(sent) = sent {
                    assert!(sent);
                    assert_eq!(received, cap + 1);
                }
                assert!(received == cap || received == cap + 1);
                assert_eq!(drops.load(Ordering::SeqCst), cap + 1);
            }
        }
    });
}

#[test]
fn channels_work_while_a_goroutine_unwinds() {
    struct SaysGoodbye {
        s: Sender<&'static str>,
        r: Receiver<()>,
    }
    impl Drop for SaysGoodbye {
        fn drop(&mut self) {
            assert!(task::panicking());
            self.s.send("unwinding").unwrap();
            // Waits, though it is cancelled.
            self.r.recv().unwrap();
            select! {
                send(self.s, "done") -> sent => sent.unwrap(),
                recv(never::<()>()) -> _ => unreachable!(),
            }
            select! { recv(never::<()>()) -> _ => unreachable!(), default(Duration::from_micros(50)) => {} }
        }
    }
    on_all(|| {
        let ((s, r), (go_on_s, go_on_r)) = (bounded(0), bounded(0));
        let guard = SaysGoodbye { s, r: go_on_r };
        let handle = started(move || {
            let _guard = guard;
            let _: Result<(), _> = never().recv();
        });
        handle.cancel();
        assert_eq!(r.recv(), Ok("unwinding"));
        settle();
        go_on_s.send(()).unwrap();
        assert_eq!(r.recv(), Ok("done"));
        assert!(handle.join().unwrap_err().is_cancelled());
        assert!(r.recv().is_err());
    });
}

#[test]
fn the_ends_of_a_cancelled_goroutine_are_dropped() {
    on_all(|| {
        let (s, r) = bounded::<i32>(0);
        let sender = started(move || {
            s.send(1).unwrap();
        });
        sender.cancel();
        assert!(r.recv().is_err());
        assert!(sender.join().unwrap_err().is_cancelled());
        let (s, r) = bounded::<i32>(0);
        let receiver = started(move || r.recv());
        receiver.cancel();
        assert!(receiver.join().unwrap_err().is_cancelled());
        assert!(s.send(1).is_err());
    });
}

#[test]
fn a_scope_that_is_cancelled_ends_its_goroutines_in_their_channels() {
    on_all(|| {
        let (s, r) = bounded::<usize>(0);
        let (inner_s, inner_r) = (s.clone(), r.clone());
        let handle = started(move || {
            scope(|scope| {
                for _ in 0..4 {
                    scope.go(|| inner_r.recv());
                }
                scope.go(|| {
                    let (mine_s, _mine_r) = bounded(0);
                    select! { send(mine_s, 1) -> _ => {}, recv(never::<()>()) -> _ => {} }
                });
                drop(inner_s);
            });
        });
        cancel(handle);
        assert!(nobody_waits(&s, &r));
    });
}

#[test]
fn a_runtime_that_ends_cancels_those_that_wait_in_channels() {
    for workers in [1, 2, 4] {
        for free in [false, true] {
            let drops = Arc::new(AtomicUsize::new(0));
            let (s, r) = bounded::<usize>(0);
            let (full_s, full_r) = bounded(1);
            full_s.send(0).unwrap();
            let running = Arc::new(AtomicUsize::new(0));
            let rt = runtime(workers, free);
            for n in 0..30 {
                let (r, full_s) = (r.clone(), full_s.clone());
                let (counted, running) = (Counted(drops.clone()), running.clone());
                rt.go(move || {
                    let _counted = counted;
                    running.fetch_add(1, Ordering::SeqCst);
                    match n % 4 {
                        0 => drop(r.recv()),
                        1 => drop(full_s.send(n)),
                        2 => select! { recv(r) -> _ => {}, send(full_s, n) -> _ => {} },
                        _ => drop(r.recv_timeout(LONG)),
                    }
                });
            }
            wait_until(|| running.load(Ordering::SeqCst) == 30);
            drop(rt);
            assert_eq!(drops.load(Ordering::SeqCst), 30);
            assert!(nobody_waits(&s, &r));
            drop(full_s);
            assert!(full_r.iter().eq([0]));
        }
    }
}

#[test]
fn a_storm_of_cancellations_loses_and_doubles_nothing() {
    on_goroutines(|| {
        for seed in 0..6 {
            storm(seed);
        }
    });
}

/// Receivers that are cancelled at random and replaced, senders that are not; then the other way round. Every value that was sent is received once, or
/// dropped with its sender.
fn storm(seed: u64) {
    const COUNT: usize = 300;
    let mut rng = Rng(seed);
    let cap = rng.below(4) as usize;
    let (s, r) = bounded(cap);
    let seen: Arc<Vec<AtomicUsize>> = Arc::new((0..COUNT).map(|_| AtomicUsize::new(0)).collect());
    let received = Arc::new(AtomicUsize::new(0));
    let receiver = |select: bool| {
        let (r, seen, received) = (r.clone(), seen.clone(), received.clone());
        go(move || {
            loop {
                let value: Result<usize, _> = if select {
                    select! { recv(r) -> value => value, recv(never::<()>()) -> _ => unreachable!() }
                } else {
                    r.recv()
                };
                // No wait, so no cancellation, between the channel and the count.
                let Ok(value) = value else { break };
                seen[value].fetch_add(1, Ordering::SeqCst);
                received.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let s = s.clone();
            go(move || {
                for value in (sender..COUNT).step_by(3) {
                    if value % 2 == 0 {
                        s.send(value).unwrap();
                    } else {
                        select! { send(s, value) -> sent => sent.unwrap() }
                    }
                }
            })
        })
        .collect();
    let mut receivers: Vec<_> = (0..3).map(|n| receiver(n % 2 == 0)).collect();
    while received.load(Ordering::SeqCst) < COUNT {
        let at = rng.below(3) as usize;
        let new = receiver(rng.below(2) == 0);
        let old = std::mem::replace(&mut receivers[at], new);
        old.cancel();
        assert!(old.join().is_err_and(|error| error.is_cancelled()));
        for _ in 0..rng.below(4) {
            yield_now();
        }
    }
    for sender in senders {
        sender.join().unwrap();
    }
    receivers.into_iter().for_each(cancel);
    assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) == 1));
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));

    // Senders that are cancelled: each of their values is dropped once, here or there.
    let drops = Arc::new(AtomicUsize::new(0));
    let made = Arc::new(AtomicUsize::new(0));
    let (s, r) = bounded(cap);
    let sender = |select: bool| {
        let (s, drops, made) = (s.clone(), drops.clone(), made.clone());
        go(move || {
            loop {
                made.fetch_add(1, Ordering::SeqCst);
                let value = Counted(drops.clone());
                if select {
                    select! { send(s, value) -> sent => assert!(sent.is_ok()) }
                } else {
                    assert!(s.send(value).is_ok());
                }
            }
        })
    };
    let receiver = go(move || r.iter().count());
    let mut senders: Vec<JoinHandle<()>> = (0..3).map(|n| sender(n % 2 == 0)).collect();
    for _ in 0..60 {
        let at = rng.below(3) as usize;
        let new = sender(rng.below(2) == 0);
        cancel(std::mem::replace(&mut senders[at], new));
        for _ in 0..rng.below(4) {
            yield_now();
        }
    }
    senders.into_iter().for_each(cancel);
    drop(s);
    let received = receiver.join().unwrap();
    assert!(received <= made.load(Ordering::SeqCst));
    assert_eq!(
        drops.load(Ordering::SeqCst),
        made.load(Ordering::SeqCst),
        "cap {cap} seed {seed} received {received}"
    );
}
