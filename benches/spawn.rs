//! What a goroutine costs from `go` to the end of its `join`.
//!
//! Catches: an allocation, a system call or a copy on the way of a goroutine; stacks that are not reused; a scope that does more for
//! each goroutine than count it.
//!
//! Does not prove: anything about fresh stacks (after the first rounds all are warm), about goroutines that do work, or about
//! stealing; `greenroutine bench spawnbatch skynet forkjoin` has workers that steal from each other.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use greenroutine::{JoinHandle, Runtime, go, scope};

/// One worker, so that no thief adds its noise.
fn one_worker() -> Runtime {
    Runtime::builder().workers(1).build().expect("one worker fits everywhere")
}

/// The time that `count` calls of `work` take on a goroutine of `runtime`.
fn timed(runtime: &Runtime, count: u64, work: impl Fn() + Send) -> Duration {
    runtime.run(move || {
        let start = Instant::now();
        (0..count).for_each(|_| work());
        start.elapsed()
    })
}

fn join<T>(handle: JoinHandle<T>) -> T {
    handle.join().expect("nothing panics here")
}

fn go_join(criterion: &mut Criterion) {
    let runtime = one_worker();
    criterion.bench_function("spawn/go_join", |bencher| {
        bencher.iter_custom(|count| timed(&runtime, count, || join(go(|| ()))));
    });
}

fn batch(criterion: &mut Criterion) {
    const SIZE: u64 = 1000;
    let runtime = one_worker();
    let mut group = criterion.benchmark_group("spawn");
    group.throughput(Throughput::Elements(SIZE));
    group.bench_function("batch_1000", |bencher| {
        bencher.iter_custom(|count| {
            timed(&runtime, count, || {
                let handles: Vec<_> = (0..SIZE).map(|_| go(|| ())).collect();
                handles.into_iter().for_each(join);
            })
        });
    });
    group.finish();
}

fn scope_of_10(criterion: &mut Criterion) {
    let runtime = one_worker();
    let mut group = criterion.benchmark_group("spawn");
    group.throughput(Throughput::Elements(10));
    group.bench_function("scope_10", |bencher| {
        bencher.iter_custom(|count| {
            timed(&runtime, count, || {
                let mut places = [0_u64; 10];
                scope(|s| {
                    for (at, place) in places.iter_mut().enumerate() {
                        s.go(move || *place = at as u64);
                    }
                });
                assert_eq!(places[9], 9);
            })
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = go_join, batch, scope_of_10
}
criterion_main!(benches);
