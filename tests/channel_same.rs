//! `same_channel`: whether two handles are of one channel.
//!
//! Written from the behaviour that the suite same_channel of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

#![allow(clippy::disallowed_methods, reason = "makes timers of its own instants")]

mod common;

use std::time::Instant;

use common::{LONG, on_all};
use greenroutine::channel::{Receiver, Sender, after, at, bounded, never, tick, unbounded};

#[test]
fn a_clone_is_of_the_same_channel_and_another_channel_is_not() {
    on_all(|| {
        let pairs =
            || -> [(Sender<u8>, Receiver<u8>); 4] { [bounded(0), bounded(1), bounded(100), unbounded()] };
        for ((s, r), (other_s, other_r)) in pairs().into_iter().zip(pairs()) {
            let (s2, r2) = (s.clone(), r.clone());
            assert!(s.same_channel(&s) && s.same_channel(&s2) && s2.same_channel(&s));
            assert!(r.same_channel(&r) && r.same_channel(&r2) && r2.same_channel(&r));
            assert!(!s.same_channel(&other_s) && !s2.same_channel(&other_s));
            assert!(!r.same_channel(&other_r) && !r2.same_channel(&other_r));
            // It stays so, whoever else is gone.
            drop((r, r2));
            assert!(s.same_channel(&s2));
        }
    });
}

#[test]
fn channels_of_different_kinds_are_different() {
    on_all(|| {
        let all = [bounded::<Instant>(0), bounded(1), unbounded()];
        let timers = [after(LONG), at(Instant::now() + LONG), tick(LONG), never()];
        let receivers: Vec<_> = all.iter().map(|(_, r)| r).chain(&timers).collect();
        for (i, a) in receivers.iter().enumerate() {
            for (j, b) in receivers.iter().enumerate() {
                assert_eq!(a.same_channel(b), i == j, "{i} {j}");
            }
        }
        assert!(!all[0].0.same_channel(&all[2].0));
    });
}

#[test]
fn timers_are_of_the_channel_they_were_cloned_from() {
    on_all(|| {
        let when = Instant::now() + LONG;
        for (r, other) in [(after(LONG), after(LONG)), (tick(LONG), tick(LONG)), (at(when), at(when))] {
            let clone = r.clone();
            assert!(r.same_channel(&clone));
            assert!(!r.same_channel(&other) && !clone.same_channel(&other));
        }
    });
}

#[test]
fn all_that_never_deliver_are_one() {
    on_all(|| {
        let r = never::<u8>();
        assert!(r.same_channel(&r.clone()));
        assert!(r.same_channel(&never()));
    });
}
