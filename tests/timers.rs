//! `time`: timers, tickers, `after_func`, instants. Go's time package (1.23 and later), re-expressed: results of stop and reset, no stale message after either, dropped
//! ticks, durations that overflow. Only lower bounds of time are asserted.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{on_all, on_goroutines, wait_until};
use greenroutine::time::{self, Instant, Ticker, Timer, after_func};
use greenroutine::{channel, go, select};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_timer_sends_once_not_before_it_is_due() {
    on_all(|| {
        let start = Instant::now();
        let timer = Timer::new(2 * MS);
        let when = timer.receiver().recv().unwrap();
        assert!(start.elapsed() >= 2 * MS && when >= start + 2 * MS && when <= Instant::now());
        assert!(timer.receiver().try_recv().is_err());
        assert!(timer.receiver().recv_timeout(MS).unwrap_err().is_timeout());
    });
}

#[test]
fn zero_goes_off_at_once_and_the_longest_never() {
    on_all(|| {
        assert!(Timer::new(Duration::ZERO).receiver().try_recv().is_ok());
        let never = Timer::new(Duration::MAX);
        assert!(never.receiver().recv_timeout(MS).is_err());
        assert!(Instant::now().checked_add(Duration::MAX).is_none());
        time::sleep_until(Instant::now());
    });
}

#[test]
fn stop_says_whether_it_was_active_and_leaves_no_stale_message() {
    on_all(|| {
        let timer = Timer::new(HOUR);
        assert!(timer.stop());
        assert!(!timer.stop());
        // Due, but not received: still active, and nothing comes after the stop.
        let timer = Timer::new(Duration::ZERO);
        assert_eq!(timer.receiver().len(), 1);
        assert!(timer.stop());
        assert!(timer.receiver().try_recv().is_err() && timer.receiver().is_empty());
        // Received: not active any more.
        let timer = Timer::new(Duration::ZERO);
        timer.receiver().recv().unwrap();
        assert!(!timer.stop());
    });
}

#[test]
fn reset_says_whether_it_was_active_and_replaces_the_message() {
    on_all(|| {
        let timer = Timer::new(Duration::ZERO);
        assert!(timer.reset(HOUR));
        assert!(timer.receiver().try_recv().is_err());
        assert!(timer.stop());
        assert!(!timer.reset(MS));
        let start = Instant::now();
        timer.receiver().recv().unwrap();
        assert!(start.elapsed() < HOUR);
        assert!(!timer.reset(HOUR));
        assert!(timer.stop());
    });
}

#[test]
fn a_waiter_sees_a_reset_to_an_earlier_time() {
    on_goroutines(|| {
        for selecting in [false, true] {
            let timer = Arc::new(Timer::new(HOUR));
            let (other, waits) = (timer.clone(), Arc::new(AtomicUsize::new(0)));
            let about_to = waits.clone();
            let waiter = go(move || {
                about_to.store(1, Ordering::SeqCst);
                if selecting {
                    select! {
                        recv(other.receiver()) -> when => when.unwrap(),
                        recv(channel::never::<()>()) -> _ => unreachable!(),
                    }
                } else {
                    other.receiver().recv().unwrap()
                }
            });
            wait_until(|| waits.load(Ordering::SeqCst) == 1);
            assert!(timer.reset(Duration::ZERO));
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_waiter_sees_a_reset_to_a_later_time() {
    on_all(|| {
        let timer = Timer::new(5 * MS);
        let start = Instant::now();
        // Set before the waiter waits and while it does.
        greenroutine::scope(|s| {
            s.go(|| timer.reset(8 * MS));
            timer.receiver().recv().unwrap();
        });
        assert!(start.elapsed() >= 5 * MS);
    });
}

#[test]
fn one_of_several_receivers_gets_the_message() {
    on_goroutines(|| {
        let timer = Timer::new(MS);
        let got: usize = greenroutine::scope(|s| {
            let all: Vec<_> = (0..4)
                .map(|_| {
                    let r = timer.receiver().clone();
                    s.go(move || r.recv_timeout(20 * MS).is_ok())
                })
                .collect();
            all.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
        });
        assert_eq!(got, 1);
    });
}

#[test]
fn a_ticker_keeps_its_times_and_drops_what_nobody_takes() {
    on_all(|| {
        let ticker = Ticker::new(MS);
        let first = ticker.receiver().recv().unwrap();
        // A slow reader: the ticks of this time are one.
        time::sleep(10 * MS);
        let second = ticker.receiver().recv().unwrap();
        let third = ticker.receiver().recv().unwrap();
        for tick in [second, third] {
            assert_eq!((tick - first).as_nanos() % MS.as_nanos(), 0);
        }
        assert!(second - first >= MS && third - second >= 9 * MS, "{:?}", third - second);
        ticker.stop();
        assert!(ticker.receiver().recv_timeout(3 * MS).is_err());
        ticker.reset(MS);
        ticker.receiver().recv().unwrap();
    });
}

#[test]
fn a_period_of_zero_panics_at_the_caller() {
    for f in [(|| drop(Ticker::new(Duration::ZERO))) as fn(), || Ticker::new(HOUR).reset(Duration::ZERO)] {
        let (at, text) = common::panic_of(f);
        assert!(at.contains("timers.rs") && text.contains("non-positive interval"), "{at}: {text}");
    }
}

#[test]
fn after_func_runs_once_unless_it_is_stopped() {
    on_goroutines(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = |by| {
            let ran = ran.clone();
            move || {
                ran.fetch_add(by, Ordering::SeqCst);
            }
        };
        let stopped = after_func(HOUR, count(100));
        let moved = after_func(HOUR, count(10));
        let timer = after_func(MS, count(1));
        assert!(stopped.stop() && !stopped.stop() && !stopped.reset(Duration::ZERO));
        assert!(moved.reset(Duration::ZERO));
        drop(moved);
        wait_until(|| ran.load(Ordering::SeqCst) == 11);
        assert!(!timer.stop() && !timer.reset(MS));
        assert!(timer.receiver().try_recv().is_err());
    });
}

#[test]
fn stopping_races_with_going_off_and_one_of_both_happens() {
    on_goroutines(|| {
        for _ in 0..100 {
            let ran = Arc::new(AtomicUsize::new(0));
            let flag = ran.clone();
            let timer = after_func(Duration::from_micros(20), move || {
                flag.fetch_add(1, Ordering::SeqCst);
            });
            greenroutine::yield_now();
            if timer.stop() {
                greenroutine::yield_now();
                assert_eq!(ran.load(Ordering::SeqCst), 0);
            } else {
                wait_until(|| ran.load(Ordering::SeqCst) == 1);
            }
        }
    });
}

#[test]
fn instants_are_ordered_and_add_up() {
    let start = time::now();
    let later = start + HOUR;
    assert!(later > start && later - start == HOUR && start - later == Duration::ZERO);
    assert_eq!(later - HOUR, start);
    assert_eq!(start.checked_duration_since(later), None);
    assert_eq!(later.checked_duration_since(start), Some(HOUR));
    let mut moving = start;
    moving += HOUR;
    moving -= HOUR;
    assert_eq!(moving, start);
    assert!(start.checked_sub(Duration::MAX).is_none());
}

#[test]
fn a_function_that_is_stopped_at_once_leaves_no_goroutine() {
    common::on_one_worker(|| {
        let before = greenroutine::runtime::num_goroutines();
        for _ in 0..10 {
            // Its goroutine has not run yet.
            assert!(time::after_func(Duration::from_secs(3600), || unreachable!()).stop());
        }
        common::wait_until(|| greenroutine::runtime::num_goroutines() == before);
    });
}
