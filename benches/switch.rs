//! What it costs to go from one goroutine to another and back, on one worker.
//!
//! Catches: more instructions, fences or cache lines on the way in and out of a park; a yield that leaves its worker; a wake that
//! takes the slow path though waker and woken share a worker.
//!
//! Does not prove: anything about several workers, about waking a worker that sleeps, or about goroutines whose stacks have left the
//! cache. Two goroutines are the best case.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use greenroutine::{Runtime, go, task, yield_now};

fn one_worker() -> Runtime {
    Runtime::builder().workers(1).build().expect("one worker fits everywhere")
}

/// Two goroutines yield to each other: per pair of yields.
fn yield_pair(criterion: &mut Criterion) {
    let runtime = one_worker();
    criterion.bench_function("switch/yield_pair", |bencher| {
        bencher.iter_custom(|count| {
            runtime.run(move || {
                let other = go(move || (0..count).for_each(|_| yield_now()));
                let start = Instant::now();
                (0..count).for_each(|_| yield_now());
                let taken = start.elapsed();
                other.join().expect("it only yields");
                taken
            })
        });
    });
}

/// Two goroutines that unpark each other and park: per round trip.
fn park_round_trip(criterion: &mut Criterion) {
    let runtime = one_worker();
    criterion.bench_function("switch/park_round_trip", |bencher| {
        bencher.iter_custom(|count| runtime.run(move || round_trips(count)));
    });
}

fn round_trips(count: u64) -> Duration {
    let me = task::current().expect("a goroutine");
    let echo = Arc::new(OnceLock::new());
    let echo_handle = echo.clone();
    let other = go(move || {
        echo_handle.get_or_init(|| task::current().expect("a goroutine"));
        me.unpark();
        for _ in 0..count {
            task::park();
            me.unpark();
        }
    });
    task::park();
    let echo = echo.get().expect("set before the unpark");
    let start = Instant::now();
    for _ in 0..count {
        echo.unpark();
        task::park();
    }
    let taken = start.elapsed();
    other.join().expect("it only parks");
    taken
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = yield_pair, park_round_trip
}
criterion_main!(benches);
