//! What a message costs, on one worker between goroutines, and between plain threads beside crossbeam-channel.
//!
//! Catches: another locked instruction or cache line in a send, a receive or a select; a switch that is not inlined any more; a slow path that is taken by
//! mistake. On threads, anything that makes us slower than crossbeam-channel.
//!
//! Does not prove: anything about several workers, whose caches and wake-ups cost more than all of this; see `adversarial` and
//! `greenroutine bench`.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use greenroutine::channel::{bounded, unbounded};
use greenroutine::{Runtime, go, select};

/// `work` as a goroutine on a runtime with one worker.
fn on_one_worker(criterion: &mut Criterion, name: &str, work: fn(u64) -> Duration) {
    let runtime = Runtime::builder().workers(1).build().expect("one worker fits everywhere");
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|count| runtime.run(move || work(count)));
    });
}

fn goroutines(criterion: &mut Criterion) {
    on_one_worker(criterion, "channel/round_trip", |count| {
        let (there, r) = bounded(0);
        let (s, back) = bounded(0);
        go(move || r.iter().try_for_each(|n: u64| s.send(n)));
        let start = Instant::now();
        for n in 0..count {
            there.send(n).expect("the echo receives");
            back.recv().expect("the echo sends");
        }
        start.elapsed()
    });
    on_one_worker(criterion, "channel/stream128", |count| {
        let (s, r) = bounded(128);
        let start = Instant::now();
        go(move || (0..count).try_for_each(|n| s.send(n)));
        assert_eq!(r.iter().count() as u64, count);
        start.elapsed()
    });
    on_one_worker(criterion, "channel/buffered_pair", |count| {
        let (s, r) = bounded(16);
        let start = Instant::now();
        for n in 0..count {
            s.send(n).expect("there is room");
            black_box(r.recv().expect("there is one"));
        }
        start.elapsed()
    });
    on_one_worker(criterion, "channel/unbounded_pair", |count| {
        let (s, r) = unbounded();
        let start = Instant::now();
        for n in 0..count {
            s.send(n).expect("there is room");
            black_box(r.recv().expect("there is one"));
        }
        start.elapsed()
    });
    on_one_worker(criterion, "channel/select2", |count| {
        let ((s1, a), (s2, b)) = (bounded(0), bounded(0));
        for s in [s1.clone(), s2.clone()] {
            go(move || (0..count).try_for_each(|n| s.send(n)));
        }
        let start = Instant::now();
        for _ in 0..count {
            select! {
                recv(a) -> n => n,
                recv(b) -> n => n,
            }
            .expect("both send");
        }
        start.elapsed()
    });
    on_one_worker(criterion, "channel/select_default", |count| {
        let (_s, r) = bounded::<u64>(1);
        let start = Instant::now();
        for _ in 0..count {
            select! {
                recv(r) -> _ => unreachable!(),
                default => {}
            }
        }
        start.elapsed()
    });
}

/// The same on threads with both libraries: they have the same names.
macro_rules! on_threads {
    ($criterion:expr, $library:ident, $name:literal) => {
        $criterion.bench_function(concat!("threads/spsc128/", $name), |bencher| {
            bencher.iter_custom(|count| {
                let (s, r) = $library::bounded(128);
                let start = Instant::now();
                let producer = std::thread::spawn(move || (0..count).try_for_each(|n| s.send(n)));
                assert_eq!(r.iter().count() as u64, count);
                producer.join().expect("no panic").expect("the receiver waits");
                start.elapsed()
            });
        });
        $criterion.bench_function(concat!("threads/mpmc2x2/", $name), |bencher| {
            bencher.iter_custom(|count| {
                let (s, r) = $library::bounded(64);
                let start = Instant::now();
                let threads: Vec<_> = (0..2)
                    .map(|_| {
                        let (s, r) = (s.clone(), r.clone());
                        (
                            std::thread::spawn(move || (0..count / 2).try_for_each(|n| s.send(n))),
                            std::thread::spawn(move || r.iter().count()),
                        )
                    })
                    .collect();
                drop((s, r));
                for (producer, consumer) in threads {
                    producer.join().expect("no panic").expect("a receiver waits");
                    consumer.join().expect("no panic");
                }
                start.elapsed()
            });
        });
        $criterion.bench_function(concat!("threads/round_trip/", $name), |bencher| {
            bencher.iter_custom(|count| {
                let (there, r) = $library::bounded(0);
                let (s, back) = $library::bounded(0);
                let echo = std::thread::spawn(move || r.iter().try_for_each(|n: u64| s.send(n)));
                let start = Instant::now();
                for n in 0..count {
                    there.send(n).expect("the echo receives");
                    back.recv().expect("the echo sends");
                }
                let taken = start.elapsed();
                drop(there);
                echo.join().expect("no panic").expect("we received");
                taken
            });
        });
        $criterion.bench_function(concat!("threads/unbounded/", $name), |bencher| {
            bencher.iter_custom(|count| {
                let (s, r) = $library::unbounded();
                let start = Instant::now();
                let producer = std::thread::spawn(move || (0..count).try_for_each(|n| s.send(n)));
                assert_eq!(r.iter().count() as u64, count);
                producer.join().expect("no panic").expect("the receiver waits");
                start.elapsed()
            });
        });
    };
}

fn threads(criterion: &mut Criterion) {
    use greenroutine::channel;
    on_threads!(criterion, channel, "greenroutine");
    on_threads!(criterion, crossbeam_channel, "crossbeam");
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = goroutines, threads
}
criterion_main!(benches);
