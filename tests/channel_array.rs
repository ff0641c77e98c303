//! `bounded(n)` with n > 0. What all flavors share is in `common/flavor.rs`; here are the tests that name a capacity.
//!
//! Written from the behaviour that the suite array of crossbeam-channel 0.5 (MIT OR Apache-2.0) states.

#![allow(clippy::disallowed_methods, reason = "measures what the library waits, with a clock of its own")]

mod common;
#[path = "common/flavor.rs"]
mod flavor;

use common::on_all;
use greenroutine::channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError, bounded};

mod of_one {
    use crate::flavor::{Array, tests_of_all, tests_of_bounded, tests_of_buffered};

    tests_of_all!(Array<1>);
    tests_of_buffered!(Array<1>);
    tests_of_bounded!(Array<1>);
}

mod of_three {
    use crate::flavor::{Array, tests_of_all, tests_of_bounded, tests_of_buffered};

    tests_of_all!(Array<3>);
    tests_of_buffered!(Array<3>);
    tests_of_bounded!(Array<3>);
}

mod of_a_hundred {
    use crate::flavor::{Array, tests_of_bounded, tests_of_buffered};

    tests_of_buffered!(Array<100>);
    tests_of_bounded!(Array<100>);
}

#[test]
fn every_capacity_is_exact() {
    on_all(|| {
        for cap in (1..40).chain([64, 1000]) {
            let (s, r) = bounded(cap);
            assert_eq!((s.capacity(), r.capacity()), (Some(cap), Some(cap)));
            // Round the ring more than once, from every offset.
            for round in 0..3 {
                for n in 0..cap {
                    assert!(!s.is_full());
                    assert_eq!(s.try_send(n), Ok(()));
                }
                assert!(s.is_full() && r.is_full());
                assert_eq!(s.try_send(cap), Err(TrySendError::Full(cap)));
                assert_eq!((s.len(), r.len()), (cap, cap));
                for n in 0..cap {
                    assert_eq!(r.try_recv(), Ok(n));
                }
                assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
                for n in 0..=round {
                    s.send(n).unwrap();
                    assert_eq!(r.recv(), Ok(n));
                }
            }
        }
    });
}

#[test]
fn a_timed_out_send_or_receive_leaves_nothing_behind() {
    on_all(|| {
        let (s, r) = bounded(2);
        for _ in 0..3 {
            assert_eq!(r.recv_timeout(common::ms(1)), Err(RecvTimeoutError::Timeout));
            s.send(1).unwrap();
            s.send(2).unwrap();
            assert_eq!(s.send_timeout(3, common::ms(1)), Err(SendTimeoutError::Timeout(3)));
            assert_eq!(r.try_iter().collect::<Vec<_>>(), [1, 2]);
        }
    });
}

#[test]
fn a_large_capacity_costs_no_stack() {
    on_all(|| {
        let (s, r) = bounded::<[u8; 4096]>(4096);
        s.send([1; 4096]).unwrap();
        assert_eq!(r.recv().unwrap()[4095], 1);
    });
}
