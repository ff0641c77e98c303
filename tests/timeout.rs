//! `time::timeout`: ends whatever its closure waits for, nothing else, and tells its own end from others'.

mod common;

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Counted, LONG, Rng, ms, on_all, on_goroutines, wait_for_waiters, wait_until};
use greenroutine::net::{TcpListener, UnixStream};
use greenroutine::sync::{Mutex, Semaphore, WaitGroup};
use greenroutine::task::{goexit, park};
use greenroutine::time::{Elapsed, Instant, sleep, timeout};
use greenroutine::{block_on, blocking, channel, go, scope, select, task, yield_now};

#[test]
fn a_value_in_time_is_the_result() {
    on_all(|| {
        assert_eq!(timeout(LONG, || 5), Ok(5));
        assert_eq!(timeout(Duration::MAX, || 6), Ok(6));
        let text = timeout(LONG, || {
            sleep(Duration::from_micros(100));
            String::from("late enough")
        });
        assert_eq!(text.unwrap(), "late enough");
    });
}

#[test]
fn every_kind_of_wait_ends() {
    on_all(|| {
        let start = Instant::now();
        let short = ms(1);
        let (sender, receiver) = channel::bounded::<u8>(0);
        let (_keep, full) = channel::bounded::<u8>(1);
        timeout(short, || receiver.recv()).unwrap_err();
        timeout(short, || sender.send(1)).unwrap_err();
        timeout(short, || {
            select! {
                recv(receiver) -> _ => unreachable!(),
                recv(full) -> _ => unreachable!(),
            }
        })
        .unwrap_err();
        timeout(short, || sleep(LONG)).unwrap_err();
        timeout(short, || channel::after(LONG).recv()).unwrap_err();
        timeout(short, || receiver.recv_timeout(LONG)).unwrap_err();
        timeout(short, || block_on(std::future::pending::<()>())).unwrap_err();
        let mutex = Mutex::new(0);
        {
            let _held = mutex.lock();
            timeout(short, || mutex.lock()).map(drop).unwrap_err();
        }
        *mutex.lock() += 1;
        let semaphore = Semaphore::new(1);
        {
            let _held = semaphore.acquire(1);
            timeout(short, || semaphore.acquire(1)).map(drop).unwrap_err();
        }
        assert!(semaphore.try_acquire(1).is_some());
        let group = WaitGroup::new();
        group.add(1);
        timeout(short, || group.wait()).unwrap_err();
        let (gate, end) = channel::bounded::<()>(0);
        let other = go(move || assert!(end.recv().is_err()));
        timeout(short, || other.join()).map(drop).unwrap_err();
        drop(gate);
        let (mut one, _other) = UnixStream::pair().unwrap();
        timeout(short, || one.read(&mut [0])).map(drop).unwrap_err();
        one.set_read_timeout(Some(LONG)).unwrap();
        timeout(short, || one.read(&mut [0])).map(drop).unwrap_err();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        timeout(short, || listener.accept()).map(drop).unwrap_err();
        assert!(start.elapsed() >= 14 * short);
        // And afterwards all is as before.
        sleep(Duration::from_micros(10));
    });
}

#[test]
fn a_goroutine_that_parks_is_ended() {
    on_goroutines(|| {
        timeout(ms(1), park).unwrap_err();
        // The token is there for the next one.
        task::current().unwrap().unpark();
        timeout(LONG, park).unwrap();
    });
}

#[test]
fn the_error_says_how_long_it_was() {
    on_all(|| {
        let error: Elapsed = timeout(ms(2), || sleep(LONG)).unwrap_err();
        assert_eq!(error.after(), ms(2));
        assert_eq!(error.to_string(), "not done within 2ms");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn what_need_not_wait_is_not_interrupted() {
    on_all(|| {
        let (sender, receiver) = channel::unbounded();
        let sum = timeout(Duration::ZERO, || {
            // The time is over before it begins.
            for n in 0..100 {
                sender.send(n).unwrap();
            }
            let mutex = Mutex::new(0);
            receiver.try_iter().for_each(|n| *mutex.lock() += n);
            mutex.into_inner()
        });
        assert_eq!(sum, Ok(4950));
        let waited = timeout(Duration::ZERO, || receiver.recv());
        assert!(waited.is_err());
    });
}

#[test]
fn destructors_run_and_may_wait() {
    on_all(|| {
        struct Waits(Arc<AtomicUsize>);
        impl Drop for Waits {
            fn drop(&mut self) {
                assert!(task::panicking());
                sleep(ms(1));
                let (sender, receiver) = channel::bounded(0);
                go(move || sender.send(1));
                self.0.fetch_add(receiver.recv().unwrap(), Ordering::SeqCst);
            }
        }
        let done = Arc::new(AtomicUsize::new(0));
        let (one, other) = (done.clone(), done.clone());
        let result = timeout(ms(1), move || {
            let _one = Waits(one);
            let _other = Waits(other);
            sleep(LONG);
        });
        assert!(result.is_err() && !task::panicking());
        assert_eq!(done.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn the_earlier_of_nested_timeouts_ends_what_is_in_it() {
    on_all(|| {
        // The inner one.
        let result = timeout(LONG, || {
            assert!(timeout(ms(1), || sleep(LONG)).is_err());
            sleep(Duration::from_micros(10));
            7
        });
        assert_eq!(result, Ok(7));
        // The outer one.
        let mut inner_returned = false;
        let result = timeout(ms(1), || {
            let _ = timeout(LONG, || sleep(LONG));
            inner_returned = true;
        });
        assert!(result.is_err() && !inner_returned);
        // Both at once: the outer one.
        let result = timeout(Duration::ZERO, || {
            let _ = timeout(Duration::ZERO, || sleep(LONG));
            inner_returned = true;
        });
        assert!(result.is_err() && !inner_returned);
        // The outer one, after the inner: if it takes long enough for that.
        let mut outer = 2;
        while !inner_returned {
            outer *= 2;
            let result = timeout(ms(outer), || {
                let inner = timeout(ms(1), || sleep(LONG));
                assert!(inner.is_err());
                inner_returned = true;
                sleep(LONG);
            });
            assert!(result.is_err());
        }
        // The outer one, while the inner unwinds.
        struct Late(Duration);
        impl Drop for Late {
            fn drop(&mut self) {
                sleep(self.0);
            }
        }
        let mut after = false;
        let mut outer = 1;
        while !after {
            outer *= 2;
            let result = timeout(ms(outer), || {
                let inner = timeout(ms(1), || {
                    let _late = Late(ms(outer));
                    sleep(LONG);
                });
                assert!(inner.is_err());
                after = true;
                sleep(LONG);
            });
            assert!(result.is_err());
        }
    });
}

#[test]
fn a_panic_and_goexit_go_through() {
    on_all(|| {
        let panic = catch_unwind(|| timeout(LONG, || panic!("mine"))).unwrap_err();
        assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "mine");
        // After its time too.
        let panic = catch_unwind(|| timeout(Duration::ZERO, || panic!("late")));
        assert_eq!(*panic.unwrap_err().downcast_ref::<&str>().unwrap(), "late");
        sleep(Duration::from_micros(1));
    });
    on_goroutines(|| {
        let error = go(|| timeout(LONG, || goexit())).join().map(drop).unwrap_err();
        assert!(!error.is_panic() && !error.is_cancelled());
    });
}

#[test]
fn a_caught_end_comes_again_and_stays_inside() {
    on_all(|| {
        let mut caught = 0;
        let result = timeout(ms(1), || {
            for _ in 0..3 {
                let swallowed = catch_unwind(|| sleep(LONG));
                caught += usize::from(swallowed.is_err());
            }
            "went on"
        });
        assert_eq!((result, caught), (Ok("went on"), 3));
        sleep(Duration::from_micros(10));
    });
}

#[test]
fn a_cancellation_is_not_swallowed() {
    on_goroutines(|| {
        // While it waits.
        let waiting = go(|| timeout(LONG, || sleep(LONG)));
        wait_for_waiters("sleep", 1);
        waiting.cancel();
        assert!(waiting.join().unwrap_err().is_cancelled());
        // While it unwinds because its time is over.
        let (send, unwinds) = channel::bounded(0);
        let (go_on, wait) = channel::bounded::<()>(0);
        let late = go(move || {
            struct Held(channel::Sender<()>, channel::Receiver<()>);
            impl Drop for Held {
                fn drop(&mut self) {
                    self.0.send(()).unwrap();
                    let _ = self.1.recv();
                }
            }
            let result = timeout(Duration::ZERO, || {
                let _held = Held(send, wait);
                sleep(LONG);
            });
            assert!(result.is_err());
            sleep(LONG);
        });
        unwinds.recv().unwrap();
        late.cancel();
        drop(go_on);
        assert!(late.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_scope_inside_cancels_its_goroutines() {
    on_all(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let result = timeout(ms(2), || {
            scope(|s| {
                for _ in 0..3 {
                    let counted = Counted(drops.clone());
                    s.go(move || {
                        let _counted = counted;
                        sleep(LONG);
                    });
                }
            });
        });
        assert!(result.is_err());
        assert_eq!(drops.load(Ordering::SeqCst), 3);
        let result = timeout(ms(2), || {
            scope(|s| {
                let counted = Counted(drops.clone());
                s.go(move || {
                    let _counted = counted;
                    sleep(LONG);
                });
                sleep(LONG);
            });
        });
        assert!(result.is_err());
        assert_eq!(drops.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn what_is_spawned_inside_has_no_timeout() {
    on_goroutines(|| {
        let (sender, receiver) = channel::bounded(1);
        let handle = timeout(ms(1), || {
            go(move || {
                sleep(ms(3));
                sender.send(1).unwrap();
            })
        });
        assert_eq!(receiver.recv(), Ok(1));
        handle.unwrap().join().unwrap();
    });
}

#[test]
fn blocking_work_is_waited_for() {
    on_goroutines(|| {
        let result = timeout(ms(1), || {
            let value = blocking(|| {
                std::thread::sleep(ms(3));
                5
            });
            (value, catch_unwind(|| sleep(LONG)).is_err())
        });
        assert_eq!(result, Ok((5, true)));
    });
}

#[test]
fn a_loop_that_yields_ends() {
    on_goroutines(|| {
        let result = timeout(ms(1), || {
            loop {
                yield_now();
            }
        });
        assert!(result.is_err());
    });
}

#[test]
fn timers_that_were_not_needed_leave_nothing() {
    on_goroutines(|| {
        let armed = || greenroutine::runtime::metrics().workers.iter().map(|w| w.timers).sum::<usize>();
        for _ in 0..1000 {
            timeout(LONG, yield_now).unwrap();
        }
        assert_eq!(armed(), 0);
    });
}

/// Many goroutines with timeouts that go off at the same moment as what they wait for, nested, some cancelled: each wait has one outcome, and no message gets lost.
#[test]
fn races_with_what_is_waited_for_have_one_outcome() {
    on_goroutines(|| {
        let (sender, receiver) = channel::bounded::<u64>(1);
        let (sent, got) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut all = Vec::new();
        for seed in 0..16 {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            let (sent, got) = (sent.clone(), got.clone());
            all.push(go(move || {
                let mut rng = Rng(seed);
                for _ in 0..150 {
                    let short = Duration::from_micros(rng.below(60));
                    let longer = Duration::from_micros(rng.below(90));
                    if seed % 2 == 0 {
                        let result = timeout(longer, || timeout(short, || sender.send(1)));
                        if matches!(result, Ok(Ok(Ok(())))) {
                            sent.fetch_add(1, Ordering::SeqCst);
                        }
                    } else if let Ok(Ok(Ok(_))) = timeout(longer, || timeout(short, || receiver.recv())) {
                        got.fetch_add(1, Ordering::SeqCst);
                    }
                    if rng.below(4) == 0 {
                        yield_now();
                    }
                }
            }));
        }
        all.into_iter().for_each(|one| one.join().unwrap());
        let left = receiver.try_iter().count();
        assert_eq!(sent.load(Ordering::SeqCst), got.load(Ordering::SeqCst) + left);
    });
}

#[test]
fn cancellations_race_with_timeouts() {
    on_goroutines(|| {
        for n in 0..300_u64 {
            let one = go(move || {
                let result = timeout(Duration::from_micros(n % 40), || sleep(LONG));
                assert!(result.is_err());
                let outcome = catch_unwind(AssertUnwindSafe(|| timeout(LONG, || sleep(ms(1)))));
                // In time, or cancelled; never out of time.
                if let Ok(result) = outcome {
                    result.unwrap();
                }
            });
            for _ in 0..n % 7 {
                yield_now();
            }
            one.cancel();
            wait_until(|| one.is_finished());
            if let Err(error) = one.join() {
                assert!(error.is_cancelled(), "{error}");
            }
        }
    });
}
