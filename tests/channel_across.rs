//! One channel, of which some ends are on plain threads, some on goroutines, some on goroutines of another runtime or with a thread of their own.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{LONG, Rng, mix, runtime};
use greenroutine::channel::{Receiver, RecvError, Select, Sender, bounded, never, select, unbounded};
use greenroutine::{Runtime, go, task, yield_now};

/// Runtimes of all shapes, with a plain thread for `None`.
fn places() -> Vec<Option<Runtime>> {
    let mut places = vec![None];
    for free in [false, true] {
        for workers in [1, 2, 4] {
            places.push(Some(runtime(workers, free)));
        }
    }
    places
}

/// Runs `f` there, without waiting for it.
fn start<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    place: Option<&'scope Runtime>,
    f: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    scope.spawn(move || match place {
        None => f(),
        Some(runtime) => runtime.run(f),
    })
}

fn each_channel<T>(test: impl Fn(Sender<T>, Receiver<T>)) {
    for (s, r) in [unbounded(), bounded(0), bounded(1), bounded(10)] {
        test(s, r);
    }
}

#[test]
fn values_go_from_any_place_to_any_other_in_order() {
    const COUNT: usize = 100;
    let places = places();
    thread::scope(|scope| {
        for from in &places {
            for to in &places {
                each_channel(|s, r| {
                    let sender = start(scope, from.as_ref(), move || {
                        for n in 0..COUNT {
                            match n % 3 {
                                0 => s.send(n).unwrap(),
                                1 => s.send_timeout(n, LONG).unwrap(),
                                _ => select! {
                                    send(s, n) -> sent => sent.unwrap(),
                                    recv(never::<()>()) -> _ => unreachable!(),
                                },
                            }
                        }
                    });
                    let receiver = start(scope, to.as_ref(), move || {
                        for n in 0..COUNT {
                            let value = match n % 4 {
                                0 => r.recv().ok(),
                                1 => r.recv_timeout(LONG).ok(),
                                2 => select! {
                                    recv(r) -> value => value.ok(),
                                    recv(never::<()>()) -> _ => unreachable!(),
                                },
                                _ => {
                                    let mut sel = Select::new();
                                    sel.recv(&r);
                                    assert_eq!(sel.ready(), 0);
                                    sel.select().recv(&r).ok()
                                }
                            };
                            assert_eq!(value, Some(n));
                        }
                        assert_eq!(r.recv(), Err(RecvError));
                    });
                    sender.join().unwrap();
                    receiver.join().unwrap();
                });
            }
        }
    });
}

#[test]
fn everybody_shares_one_channel() {
    const COUNT: usize = 100;
    let places = places();
    each_channel(|s, r| {
        let seen: Vec<_> = (0..2 * places.len() * COUNT).map(|_| AtomicUsize::new(0)).collect();
        thread::scope(|scope| {
            for (at, place) in places.iter().enumerate() {
                for half in 0..2 {
                    let (s, r, seen) = (s.clone(), r.clone(), &seen);
                    let first = (2 * at + half) * COUNT;
                    start(scope, place.as_ref(), move || {
                        (first..first + COUNT).for_each(|n| s.send(n).unwrap())
                    });
                    start(scope, place.as_ref(), move || {
                        for _ in 0..COUNT {
                            seen[r.recv().unwrap()].fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            }
        });
        assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) == 1));
        assert!(r.is_empty());
    });
}

#[test]
fn everybody_selects_among_the_same_channels() {
    const COUNT: usize = 60;
    let places = places();
    let channels: Vec<_> =
        (0..8).map(|n| if n == 7 { unbounded() } else { bounded::<usize>(n % 3) }).collect();
    let seen: Vec<_> = (0..places.len() * COUNT).map(|_| AtomicUsize::new(0)).collect();
    let left = AtomicUsize::new(seen.len());
    let (end_s, end_r) = bounded::<()>(0);
    thread::scope(|scope| {
        for (at, place) in places.iter().enumerate() {
            let (channels, seen, left, end_r) = (&channels, &seen, &left, &end_r);
            let end_s = end_s.clone();
            start(scope, place.as_ref(), move || {
                let mut rng = Rng(mix(at as u64));
                for n in at * COUNT..(at + 1) * COUNT {
                    let some = [(); 3].map(|()| &channels[rng.below(8) as usize].0);
                    let mut sel = Select::new();
                    for s in some {
                        sel.send(s);
                    }
                    let oper = sel.select();
                    let s = some[oper.index()];
                    oper.send(s, n).unwrap();
                }
            });
            start(scope, place.as_ref(), move || {
                let mut sel = Select::new();
                for (_, r) in channels {
                    sel.recv(r);
                }
                sel.recv(end_r);
                loop {
                    let oper = sel.select();
                    let index = oper.index();
                    if index == 8 {
                        break assert_eq!(oper.recv(end_r), Err(RecvError));
                    }
                    seen[oper.recv(&channels[index].1).unwrap()].fetch_add(1, Ordering::SeqCst);
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        end_s.close();
                    }
                }
            });
        }
    });
    assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) == 1));
}

#[test]
fn those_that_wait_anywhere_learn_of_the_end() {
    let places = places();
    for by_close in [true, false] {
        let (s, r) = bounded::<i32>(0);
        thread::scope(|scope| {
            for place in &places {
                let (r, r2) = (r.clone(), r.clone());
                start(scope, place.as_ref(), move || assert_eq!(r.recv(), Err(RecvError)));
                start(scope, place.as_ref(), move || {
                    select! {
                        recv(r2) -> value => assert_eq!(value, Err(RecvError)),
                        recv(never::<()>()) -> _ => unreachable!(),
                    }
                });
            }
            common::settle();
            if by_close {
                s.close();
            }
            drop(s);
        });
    }
}

#[test]
fn a_goroutine_with_a_thread_of_its_own_takes_part() {
    for free in [false, true] {
        runtime(2, free).run(|| {
            each_channel(|s, r| {
                let dedicated =
                    |f: Box<dyn FnOnce() + Send>| task::Builder::new().dedicated(true).spawn(f).unwrap();
                let (s2, r2) = (s.clone(), r.clone());
                let sender = dedicated(Box::new(move || (0..100).for_each(|n| s2.send(n).unwrap())));
                let receiver = dedicated(Box::new(move || {
                    for _ in 0..50 {
                        r2.recv().unwrap();
                    }
                }));
                drop(s);
                for _ in 0..50 {
                    select! {
                        recv(r) -> value => assert!(value.is_ok()),
                        recv(never::<()>()) -> _ => unreachable!(),
                    }
                }
                sender.join().unwrap();
                receiver.join().unwrap();
                assert_eq!(r.recv(), Err(RecvError));
            });
        });
    }
}

#[test]
fn a_thread_learns_that_the_runtime_at_the_other_end_is_gone() {
    for free in [false, true] {
        let (s, r) = bounded(0);
        let rt = runtime(2, free);
        rt.go(move || {
            s.send(1).unwrap();
            // Nobody takes this one: cancelled with its runtime.
            s.send(2)
        });
        assert_eq!(r.recv(), Ok(1));
        drop(rt);
        assert_eq!(r.recv(), Err(RecvError));

        let (s, r) = bounded(0);
        let rt = runtime(2, free);
        rt.go(move || {
            assert_eq!(r.recv(), Ok(1));
            r.recv()
        });
        s.send(1).unwrap();
        drop(rt);
        assert!(s.send(2).is_err());
    }
}

#[test]
fn a_runtime_that_ends_beside_a_busy_channel_loses_no_value_that_was_sent() {
    for round in 0..12 {
        let (s, r) = bounded(round % 4);
        let received = AtomicUsize::new(0);
        let sent = AtomicUsize::new(0);
        let rt = runtime(1 + round % 3, round % 2 == 0);
        thread::scope(|scope| {
            let receiver = scope.spawn(|| received.fetch_add(r.iter().count(), Ordering::SeqCst));
            let (go_on_s, go_on_r) = unbounded();
            // Cancelled together with its runtime, in the middle of it: what it counted, it sent.
            let counts = std::sync::Arc::new(AtomicUsize::new(0));
            for _ in 0..4 {
                let (s, counts, go_on_s) = (s.clone(), counts.clone(), go_on_s.clone());
                rt.go(move || {
                    loop {
                        s.send(()).unwrap();
                        counts.fetch_add(1, Ordering::SeqCst);
                        let _ = go_on_s.send(());
                        yield_now();
                    }
                });
            }
            for _ in 0..50 {
                go_on_r.recv().unwrap();
            }
            drop(rt);
            sent.store(counts.load(Ordering::SeqCst), Ordering::SeqCst);
            drop(s);
            receiver.join().unwrap();
        });
        // One that was in the middle may have sent and not counted.
        let (sent, received) = (sent.into_inner(), received.into_inner());
        assert!(sent <= received && received <= sent + 4, "{sent} sent, {received} received");
    }
}

#[test]
fn a_thread_that_ends_while_it_is_answered_leaves_the_channel_usable() {
    // Threads come and go: what a thread keeps for its waits is used again by others.
    let (s, r) = bounded(0);
    let (sent, received) = (AtomicUsize::new(0), AtomicUsize::new(0));
    runtime(2, false).run(|| {
        for _ in 0..30 {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let got = r.recv_timeout(Duration::from_micros(100)).is_ok();
                        received.fetch_add(usize::from(got), Ordering::SeqCst);
                    });
                }
                for _ in 0..4 {
                    let was_sent = s.send_timeout(1, Duration::from_micros(200)).is_ok();
                    sent.fetch_add(usize::from(was_sent), Ordering::SeqCst);
                }
            });
            assert_eq!(sent.load(Ordering::SeqCst), received.load(Ordering::SeqCst));
        }
        let r = r.clone();
        let receiver = go(move || r.recv());
        s.send(5).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(5));
    });
}

#[test]
fn a_sender_and_a_receiver_elsewhere_never_both_sleep() {
    const COUNT: usize = 2000;
    // Both sides are about to wait all the time, and each looks just when the other one comes: a missing fence shows here.
    let places = places();
    thread::scope(|scope| {
        for (from, to) in [(0, 1), (0, 2), (1, 0), (5, 0), (1, 4), (3, 3), (0, 0)] {
            for cap in [1, 2] {
                let (s, r) = bounded(cap);
                start(scope, places[from].as_ref(), move || (0..COUNT).for_each(|n| s.send(n).unwrap()));
                let receiver = start(scope, places[to].as_ref(), move || {
                    for n in 0..COUNT {
                        if n % 8 < 4 {
                            // Takes its time between the look and the receive.
                            let mut sel = Select::new();
                            sel.recv(&r);
                            assert_eq!(sel.ready(), 0);
                            assert_eq!(sel.select().recv(&r), Ok(n));
                        } else {
                            assert_eq!(r.recv(), Ok(n));
                        }
                    }
                });
                receiver.join().unwrap();
            }
        }
    });
}
