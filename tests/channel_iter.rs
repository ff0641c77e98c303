//! Iteration over receivers: `iter` and `into_iter` to the end, `try_iter` over what is there.
//!
//! Written from the behaviour that the suite iter of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

mod common;

use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Counted, on_all, par, settle};
use greenroutine::channel::{IntoIter, Iter, Receiver, Sender, TryIter, bounded, unbounded};

fn each(test: impl Fn(Sender<i32>, Receiver<i32>)) {
    for (s, r) in [unbounded(), bounded(0), bounded(1), bounded(100)] {
        test(s, r);
    }
}

#[test]
fn iter_waits_for_every_value_and_ends_with_the_last_sender() {
    on_all(|| {
        each(|s, r| {
            par(|p| {
                let sum = p.go(move || r.iter().sum::<i32>());
                for n in [3, 1, 2] {
                    settle();
                    s.send(n).unwrap();
                }
                drop(s);
                assert_eq!(sum.join(), 6);
            });
        });
    });
}

#[test]
fn a_loop_that_breaks_leaves_the_rest() {
    on_all(|| {
        let (s, r) = unbounded();
        for n in 0..6 {
            s.send(n).unwrap();
        }
        drop(s);
        for n in &r {
            if n == 2 {
                break;
            }
        }
        assert_eq!(r.iter().collect::<Vec<_>>(), [3, 4, 5]);
    });
}

#[test]
fn a_sender_learns_that_the_loop_is_over() {
    on_all(|| {
        each(|s, r| {
            par(|p| {
                p.go(move || {
                    let mut sum = 0;
                    for n in r {
                        if sum >= 3 {
                            break;
                        }
                        sum += n;
                    }
                    assert_eq!(sum, 4);
                });
                while s.send(2).is_ok() {}
            });
        });
    });
}

#[test]
fn try_iter_takes_what_is_there_and_never_waits() {
    on_all(|| {
        let (s, r) = unbounded();
        assert_eq!(r.try_iter().next(), None);
        s.send(1).unwrap();
        s.send(2).unwrap();
        let mut now = r.try_iter();
        assert_eq!(now.next(), Some(1));
        assert_eq!(now.next(), Some(2));
        assert_eq!(now.next(), None);
        // Not fused: what comes later is taken later.
        s.send(3).unwrap();
        assert_eq!(now.next(), Some(3));
        drop(s);
        assert_eq!(now.next(), None);
    });
}

#[test]
fn try_iter_meets_senders_that_wait() {
    on_all(|| {
        let (s, r) = bounded(0);
        par(|p| {
            p.go(move || (0..20).for_each(|n| s.send(n).unwrap()));
            let mut got = Vec::new();
            while got.len() < 20 {
                got.extend(r.try_iter());
                greenroutine::yield_now();
            }
            assert!(got.into_iter().eq(0..20));
        });
    });
}

#[test]
fn requests_and_responses_meet() {
    on_all(|| {
        let (request_s, request_r) = unbounded();
        let (response_s, response_r) = unbounded();
        par(|p| {
            p.go(move || {
                let mut sum: usize = 0;
                while sum < 6 {
                    sum += response_r.try_iter().take((6 - sum) / 2).sum::<usize>();
                    request_s.send(()).unwrap();
                }
                assert_eq!(sum, 6);
            });
            for () in request_r.iter() {
                if response_s.send(2).is_err() {
                    break;
                }
            }
        });
    });
}

#[test]
fn into_iter_owns_the_receiver() {
    on_all(|| {
        let (s, r) = unbounded();
        s.send(1).unwrap();
        s.send(2).unwrap();
        let mut all = r.into_iter();
        assert_eq!(all.next(), Some(1));
        s.send(3).unwrap();
        drop(all);
        assert!(s.send(4).is_err(), "the receiver is gone with the iterator");

        let mut all = {
            let (s, r) = unbounded();
            s.send(5).unwrap();
            r.into_iter()
        };
        assert_eq!(all.next(), Some(5));
        assert_eq!(all.next(), None);
        assert_eq!(all.next(), None);
    });
}

#[test]
fn a_borrowed_receiver_is_iterable_and_left() {
    on_all(|| {
        let (s, r) = unbounded();
        s.send(1).unwrap();
        s.send(2).unwrap();
        assert_eq!((&r).into_iter().next(), Some(1));
        s.send(3).unwrap();
        drop(s);
        let mut all = (&r).into_iter();
        assert_eq!(all.next(), Some(2));
        assert_eq!(all.next(), Some(3));
        assert_eq!(all.next(), None);
        assert_eq!(all.next(), None);
    });
}

#[test]
fn many_iterators_share_the_values() {
    on_all(|| {
        each(|s, r| {
            let sum = par(|p| {
                let all: Vec<_> = (0..4)
                    .map(|n| {
                        let r = r.clone();
                        p.go(move || if n % 2 == 0 { r.iter().sum::<i32>() } else { r.into_iter().sum() })
                    })
                    .collect();
                for n in 0..=400 {
                    s.send(n).unwrap();
                }
                drop(s);
                all.into_iter().map(|one| one.join()).sum::<i32>()
            });
            assert_eq!(sum, 80_200);
        });
    });
}

#[test]
fn an_iterator_that_is_dropped_half_way_drops_nothing_twice() {
    on_all(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (s, r) = bounded(10);
        for _ in 0..10 {
            assert!(s.send(Counted(drops.clone())).is_ok());
        }
        let mut all = r.into_iter();
        drop(all.next());
        drop(all.by_ref().take(3).collect::<Vec<_>>());
        assert_eq!(drops.load(Ordering::SeqCst), 4);
        drop(all);
        drop(s);
        assert_eq!(drops.load(Ordering::SeqCst), 10);
    });
}

#[test]
fn iterators_are_fused_and_sendable() {
    fn check<I: FusedIterator + Send + Sync>() {}
    fn send<T: Send + Sync>() {}
    check::<Iter<'_, std::cell::Cell<i32>>>();
    check::<IntoIter<std::cell::Cell<i32>>>();
    send::<TryIter<'_, std::cell::Cell<i32>>>();
}
