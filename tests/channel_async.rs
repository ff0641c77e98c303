//! Channel ends and handles as futures: on tokio, on smol, on a plain executor and on goroutines, with every kind of channel and every kind of other end.

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{LONG, Rng, ms, on_all, on_goroutines, wait_for_waiters};
use greenroutine::channel::{self, Receiver, RecvError, SendError, Sender, bounded, never, unbounded};
use greenroutine::time::{Ticker, Timer};
use greenroutine::{block_on, go, select, task};

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn poll<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(count.clone());
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// A channel without capacity, small ones and one without bound.
fn each(f: impl Fn(Sender<u32>, Receiver<u32>)) {
    for capacity in [0, 1, 3] {
        let (s, r) = bounded(capacity);
        f(s, r);
    }
    let (s, r) = unbounded();
    f(s, r);
}

#[test]
fn futures_meet_goroutines() {
    on_all(|| {
        each(|s, r| {
            let sender = go(move || (0..100).for_each(|n| s.send(n).unwrap()));
            block_on(async {
                for n in 0..100 {
                    assert_eq!(r.recv_async().await, Ok(n));
                }
                assert_eq!(r.recv_async().await, Err(RecvError));
            });
            sender.join().unwrap();
        });
        each(|s, r| {
            let receiver = go(move || (0..100).for_each(|n| assert_eq!(r.recv(), Ok(n))));
            block_on(async {
                for n in 0..100 {
                    s.send_async(n).await.unwrap();
                }
            });
            receiver.join().unwrap();
            assert_eq!(block_on(s.send_async(7)), Err(SendError(7)));
        });
    });
}

#[test]
fn futures_meet_futures() {
    on_all(|| {
        each(|s, r| {
            let sender = go(move || {
                block_on(async {
                    for n in 0..200 {
                        s.send_async(n).await.unwrap();
                    }
                });
            });
            let got = block_on(async {
                let (mut stream, mut got) = (r.stream(), Vec::new());
                while let Some(n) = stream.next().await {
                    got.push(n);
                }
                got
            });
            sender.join().unwrap();
            assert!(got.iter().copied().eq(0..200));
        });
    });
}

#[test]
fn futures_meet_selects() {
    on_all(|| {
        each(|s, r| {
            let (never_s, never_r) = bounded::<u32>(0);
            let sender = go(move || {
                for n in 0..50 {
                    select! {
                        send(s, n) -> sent => sent.unwrap(),
                        recv(never_r) -> _ => unreachable!(),
                    }
                }
            });
            block_on(async {
                for n in 0..50 {
                    assert_eq!(r.recv_async().await, Ok(n));
                }
            });
            sender.join().unwrap();
            drop(never_s);
        });
        each(|s, r| {
            let (_never_s, never_r) = bounded::<u32>(0);
            let receiver = go(move || {
                for n in 0..50 {
                    select! {
                        recv(r) -> got => assert_eq!(got, Ok(n)),
                        recv(never_r) -> _ => unreachable!(),
                    }
                }
            });
            block_on(async {
                for n in 0..50 {
                    s.send_async(n).await.unwrap();
                }
            });
            receiver.join().unwrap();
        });
    });
}

#[test]
fn a_pending_future_is_woken_once_there_is_something() {
    each(|s, r| {
        let count = Arc::new(Count::default());
        let mut receive = r.recv_async();
        assert!(poll(&mut receive, &count).is_pending());
        assert!(poll(&mut receive, &count).is_pending());
        assert_eq!(count.get(), 0);
        if s.capacity() == Some(0) {
            // Nothing is put anywhere: the sender waits until the future is polled.
            let sender = std::thread::spawn(move || s.send(5));
            while count.get() == 0 {
                std::thread::yield_now();
            }
            let got = loop {
                if let Poll::Ready(got) = poll(&mut receive, &count) {
                    break got;
                }
            };
            assert_eq!(got, Ok(5));
            sender.join().unwrap().unwrap();
        } else {
            s.send(5).unwrap();
            assert_eq!(count.get(), 1);
            assert_eq!(poll(&mut receive, &count), Poll::Ready(Ok(5)));
        }
    });
    let (s, r) = bounded(1);
    s.send(1).unwrap();
    let count = Arc::new(Count::default());
    let mut send = s.send_async(2);
    assert!(poll(&mut send, &count).is_pending());
    assert_eq!(r.recv(), Ok(1));
    assert_eq!(count.get(), 1);
    assert_eq!(poll(&mut send, &count), Poll::Ready(Ok(())));
    assert_eq!(r.recv(), Ok(2));
}

#[test]
fn the_last_waker_counts() {
    let (s, r) = unbounded();
    let (first, last) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let mut receive = r.recv_async();
    assert!(poll(&mut receive, &first).is_pending());
    assert!(poll(&mut receive, &last).is_pending());
    s.send(1).unwrap();
    assert_eq!((first.get(), last.get()), (0, 1));
}

#[test]
fn a_dropped_receive_loses_no_message_and_passes_its_news_on() {
    each(|s, r| {
        if s.capacity() == Some(0) {
            return;
        }
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut one = r.recv_async();
        let mut other = r.recv_async();
        assert!(poll(&mut one, &first).is_pending() && poll(&mut other, &second).is_pending());
        s.send(1).unwrap();
        assert_eq!((first.get(), second.get()), (1, 0));
        drop(one);
        assert_eq!(second.get(), 1);
        assert_eq!(poll(&mut other, &second), Poll::Ready(Ok(1)));
        // Never polled, polled and dropped in peace.
        drop(r.recv_async());
        let mut idle = r.recv_async();
        assert!(poll(&mut idle, &first).is_pending());
        drop(idle);
        s.send(2).unwrap();
        assert_eq!(first.get(), 1);
        assert_eq!(r.recv(), Ok(2));
    });
}

#[test]
fn a_dropped_send_takes_its_message_back() {
    let (s, r) = bounded(0);
    let count = Arc::new(Count::default());
    let mut send = s.send_async(Arc::new(1));
    assert!(poll(&mut send, &count).is_pending());
    assert!(!r.is_full() || r.capacity() == Some(0));
    drop(send);
    assert!(r.try_recv().unwrap_err().is_empty());
    // One that was taken is sent, whatever becomes of its future.
    let value = Arc::new(2);
    let mut send = s.send_async(value.clone());
    assert!(poll(&mut send, &count).is_pending());
    assert_eq!(r.try_recv().as_deref(), Ok(&2));
    assert_eq!(count.get(), 1);
    drop(send);
    assert_eq!(Arc::strong_count(&value), 1);
    // Full: the message stays with the future.
    let (s, r) = bounded(1);
    s.send(Arc::new(3)).unwrap();
    let mut send = s.send_async(value.clone());
    assert!(poll(&mut send, &count).is_pending());
    drop(send);
    assert_eq!(Arc::strong_count(&value), 1);
    assert_eq!(r.try_iter().count(), 1);
}

#[test]
fn closing_ends_all_futures() {
    each(|s, r| {
        let count = Arc::new(Count::default());
        let mut receive = r.recv_async();
        assert!(poll(&mut receive, &count).is_pending());
        s.close();
        assert_eq!(count.get(), 1);
        assert_eq!(poll(&mut receive, &count), Poll::Ready(Err(RecvError)));
    });
    for capacity in [0, 1] {
        let (s, r) = bounded(capacity);
        (0..capacity).for_each(|n| s.send(n).unwrap());
        let count = Arc::new(Count::default());
        let mut send = s.send_async(9);
        assert!(poll(&mut send, &count).is_pending());
        drop(r);
        assert_eq!(count.get(), 1);
        assert_eq!(poll(&mut send, &count), Poll::Ready(Err(SendError(9))));
    }
}

#[test]
fn a_stream_ends_and_stays_ended() {
    let (s, r) = bounded(4);
    (0..3).for_each(|n| s.send(n).unwrap());
    drop(s);
    let count = Arc::new(Count::default());
    let waker = Waker::from(count);
    let mut context = Context::from_waker(&waker);
    let mut stream = r.stream();
    for n in [Some(0), Some(1), Some(2), None, None] {
        assert_eq!(Pin::new(&mut stream).poll_next(&mut context), Poll::Ready(n));
    }
}

#[test]
fn timers_are_awaited() {
    on_all(|| {
        block_on(async {
            assert!(channel::after(ms(1)).recv_async().await.is_ok());
            let timer = Timer::new(ms(1));
            timer.receiver().recv_async().await.unwrap();
            let ticker = Ticker::new(ms(1));
            let mut stream = ticker.receiver().stream();
            assert!(stream.next().await < stream.next().await);
        });
        let count = Arc::new(Count::default());
        let timer = Timer::new(LONG);
        let mut waits = timer.receiver().recv_async();
        assert!(poll(&mut waits, &count).is_pending());
        timer.reset(Duration::ZERO);
        assert!(block_on(waits).is_ok());
        let never = never::<u8>();
        assert!(poll(&mut never.recv_async(), &count).is_pending());
    });
}

#[test]
fn tokio_awaits_goroutines() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    each(|s, r| {
        let producer = go(move || (0..1000).for_each(|n| s.send(n).unwrap()));
        let sum = tokio.block_on(async move {
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let r = r.clone();
                    tokio::spawn(async move {
                        let mut sum = 0;
                        while let Ok(n) = r.recv_async().await {
                            sum += n;
                        }
                        sum
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            producer.await.unwrap();
            sum
        });
        assert_eq!(sum, 499_500);
    });
    each(|s, r| {
        let consumer = go(move || r.iter().sum::<u32>());
        tokio.block_on(async move {
            let tasks: Vec<_> = (0..4)
                .map(|at| {
                    let s = s.clone();
                    tokio::spawn(async move {
                        for n in 0..250 {
                            s.send_async(at * 250 + n).await.unwrap();
                        }
                    })
                })
                .collect();
            drop(s);
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(consumer.await.unwrap(), 499_500);
        });
    });
    // A handle that waits for a while; one whose goroutine panicked; one that is dropped.
    tokio.block_on(async {
        assert_eq!(
            go(|| {
                task::sleep(ms(2));
                5
            })
            .await
            .unwrap(),
            5
        );
        assert!(tokio::spawn(go(|| panic!("on purpose"))).await.unwrap().unwrap_err().is_panic());
        let slow = go(|| task::sleep(LONG));
        assert!(tokio::time::timeout(ms(1), slow).await.is_err());
    });
}

#[test]
fn tokio_select_drops_receives_without_loss() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    each(|s, r| {
        let producer = go(move || (0..300).for_each(|n| s.send(n).unwrap()));
        tokio.block_on(async {
            let mut next = 0;
            while next < 300 {
                // The timeout drops the receive, again and again.
                if let Ok(got) = tokio::time::timeout(Duration::from_micros(20), r.recv_async()).await {
                    assert_eq!(got, Ok(next));
                    next += 1;
                }
            }
        });
        block_on(producer).unwrap();
    });
}

#[test]
fn smol_awaits_goroutines() {
    each(|s, r| {
        smol::block_on(async {
            let other = go(move || (0..100).for_each(|n| s.send(n).unwrap()));
            let task = smol::spawn(async move {
                let (mut stream, mut sum) = (r.stream(), 0);
                while let Some(n) = stream.next().await {
                    sum += n;
                }
                sum
            });
            assert_eq!(task.await, 4950);
            other.await.unwrap();
        });
    });
}

#[test]
fn the_smallest_executor_awaits_goroutines() {
    each(|s, r| {
        let other = go(move || (0..100).for_each(|n| s.send(n).unwrap()));
        common::block_on(async {
            for n in 0..100 {
                assert_eq!(r.recv_async().await, Ok(n));
            }
            other.await.unwrap();
        });
    });
}

#[test]
fn goroutines_that_wait_come_first() {
    on_goroutines(|| {
        let (s, r) = bounded(0);
        let count = Arc::new(Count::default());
        let mut future = r.recv_async();
        assert!(poll(&mut future, &count).is_pending());
        let receiver = r.clone();
        let goroutine = go(move || receiver.recv());
        wait_for_waiters("chan receive", 1);
        s.send(1).unwrap();
        assert_eq!(goroutine.join().unwrap(), Ok(1));
        drop(future);
    });
}

/// Everything at once: goroutines, threads, futures that are dropped half way, selects. What was sent is received, once.
#[test]
fn a_storm_of_all_kinds_loses_nothing() {
    on_goroutines(|| {
        each(|s, r| {
            let got = Arc::new(AtomicUsize::new(0));
            let sent = Arc::new(AtomicUsize::new(0));
            let mut all = Vec::new();
            for seed in 0..6_u64 {
                let (s, sent) = (s.clone(), sent.clone());
                all.push(go(move || {
                    let mut rng = Rng(seed);
                    let count = Arc::new(Count::default());
                    for n in 1..80 {
                        match rng.below(3) {
                            0 => s.send(n).unwrap(),
                            1 => block_on(s.send_async(n)).unwrap(),
                            _ => {
                                let value = s.send_async(n);
                                let mut value = value;
                                if poll(&mut value, &count).is_pending() {
                                    if rng.below(2) == 0 {
                                        task::yield_now();
                                    }
                                    block_on(value).unwrap();
                                }
                            }
                        }
                        sent.fetch_add(n as usize, Ordering::SeqCst);
                    }
                }));
            }
            drop(s);
            for seed in 10..15_u64 {
                let (r, got) = (r.clone(), got.clone());
                all.push(go(move || {
                    let mut rng = Rng(seed);
                    let count = Arc::new(Count::default());
                    loop {
                        let received = match rng.below(4) {
                            0 => r.recv(),
                            1 => block_on(r.recv_async()),
                            2 => {
                                select! { recv(r) -> n => n }
                            }
                            _ => {
                                let mut future = r.recv_async();
                                match poll(&mut future, &count) {
                                    Poll::Ready(received) => received,
                                    Poll::Pending => {
                                        if rng.below(2) == 0 {
                                            task::yield_now();
                                        }
                                        // Dropped, woken or not.
                                        continue;
                                    }
                                }
                            }
                        };
                        match received {
                            Ok(n) => got.fetch_add(n as usize, Ordering::SeqCst),
                            Err(RecvError) => return,
                        };
                    }
                }));
            }
            drop(r);
            all.into_iter().for_each(|one| one.join().unwrap());
            assert_eq!(got.load(Ordering::SeqCst), sent.load(Ordering::SeqCst));
        });
    });
}
