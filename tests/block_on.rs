//! `block_on`: futures of other executors on goroutines and threads.

mod common;

use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use common::{Counted, on_all, on_goroutines, runtime, wait_until};
use greenroutine::{block_on, go, task, yield_now};

/// Ready once it was fired; keeps the waker it was polled with last.
#[derive(Clone, Default)]
struct Event(Arc<Mutex<(bool, Option<Waker>)>>);

impl Event {
    fn fire(&self) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_waited_for(&self) -> bool {
        self.0.lock().unwrap().1.is_some()
    }
}

impl Future for Event {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

#[test]
fn a_future_that_is_ready_is_polled_once() {
    on_all(|| {
        assert_eq!(block_on(ready(7)), 7);
        let text = String::from("borrowed");
        assert_eq!(block_on(async { text.len() }), 8);
    });
}

#[test]
fn wakes_from_goroutines_and_threads_arrive() {
    on_all(|| {
        for from_thread in [false, true] {
            let event = Event::default();
            let other = event.clone();
            if from_thread {
                let thread = std::thread::spawn(move || other.fire());
                block_on(event);
                thread.join().unwrap();
            } else {
                let goroutine = go(move || other.fire());
                block_on(event);
                goroutine.join().unwrap();
            }
        }
    });
}

#[test]
fn many_at_once_between_threads_lose_no_wake() {
    on_goroutines(|| {
        let events: Vec<Event> = (0..200).map(|_| Event::default()).collect();
        let all: Vec<_> = events.iter().cloned().map(|event| go(move || block_on(event))).collect();
        let thread = std::thread::spawn(move || events.iter().for_each(Event::fire));
        all.into_iter().for_each(|one| one.join().unwrap());
        thread.join().unwrap();
    });
}

#[test]
fn a_waker_called_while_polling_means_another_poll() {
    on_all(|| {
        let mut left = 100;
        block_on(poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        assert_eq!(left, 0);
    });
}

#[test]
fn a_late_wake_wakes_nobody_else() {
    on_goroutines(|| {
        let mut kept = None;
        block_on(poll_fn(|context| {
            kept = Some(context.waker().clone());
            Poll::Ready(())
        }));
        let me = task::current().unwrap();
        let passed = Arc::new(AtomicUsize::new(0));
        let count = passed.clone();
        let waker = kept.unwrap();
        let other = go(move || {
            waker.wake();
            yield_now();
            assert_eq!(count.load(Ordering::SeqCst), 0);
            count.store(1, Ordering::SeqCst);
            me.unpark();
        });
        task::park();
        assert_eq!(passed.load(Ordering::SeqCst), 1);
        other.join().unwrap();
    });
}

#[test]
fn a_cancelled_goroutine_drops_its_future() {
    for free in [false, true] {
        runtime(2, free).run(|| {
            let drops = Arc::new(AtomicUsize::new(0));
            let event = Event::default();
            let (counted, waiting) = (Counted(drops.clone()), event.clone());
            let one = go(move || {
                block_on(async move {
                    let _counted = counted;
                    waiting.await;
                    pending::<()>().await;
                });
            });
            wait_until(|| event.is_waited_for());
            one.cancel();
            assert!(one.join().unwrap_err().is_cancelled());
            assert_eq!(drops.load(Ordering::SeqCst), 1);
            // Its waker is still there, and harmless.
            event.fire();
        });
    }
}

#[test]
fn handles_are_futures() {
    on_all(|| {
        let sum = block_on(async {
            let all: Vec<_> = (0..10).map(|n| go(move || n)).collect();
            let mut sum = 0;
            for one in all {
                sum += one.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, 45);
    });
}
