//! What the locks cost: a lock that nobody else wants, eight goroutines on one lock (Go's `mutex8` of `benches/peers`), four that hold it across a switch
//! (the shape of zio's issue 574), readers on all workers, permits, groups. Beside the read lock stands std's, on threads.
//!
//! Catches: a locked instruction or a heavy fence on the way of an uncontended lock; a lock that a waiter on its way makes slow for the others; parking that costs a
//! system call where the next goroutine is on the same worker; readers that share a cache line.
//!
//! Does not prove: fairness (`tests/sync_mutex.rs`), or anything about more processors than the machine has: with one or two, `mutex8` mostly shows whether goroutines
//! of one worker leave each other alone.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use greenroutine::sync::{Mutex, RwLock, Semaphore, WaitGroup};
use greenroutine::{Runtime, scope, yield_now};

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("so many workers fit everywhere")
}

/// The time that `count` calls of `work` take on each of `goroutines` goroutines that run at the same time.
fn timed(runtime: &Runtime, goroutines: u64, count: u64, work: impl Fn() + Sync) -> Duration {
    runtime.run(|| {
        let start = Instant::now();
        scope(|s| {
            for _ in 0..goroutines {
                s.go(|| (0..count).for_each(|_| work()));
            }
        });
        start.elapsed()
    })
}

fn uncontended(criterion: &mut Criterion) {
    let runtime = runtime(1);
    let (mutex, lock, semaphore) = (Mutex::new(0_u64), RwLock::new(0_u64), Semaphore::new(1));
    let mut bench = |name: &str, work: &(dyn Fn() + Sync)| {
        criterion
            .bench_function(name, |bencher| bencher.iter_custom(|count| timed(&runtime, 1, count, work)));
    };
    bench("mutex/uncontended", &|| *mutex.lock() += 1);
    bench("rwlock/write_uncontended", &|| *lock.write() += 1);
    bench("rwlock/read_uncontended", &|| drop(lock.read()));
    bench("semaphore/uncontended", &|| drop(semaphore.acquire(1)));
}

fn contended(criterion: &mut Criterion) {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let mut group = criterion.benchmark_group(format!("mutex/workers_{workers}"));
        let mutex = Mutex::new(0_u64);
        group.throughput(Throughput::Elements(8));
        group.bench_function("eight_goroutines", |bencher| {
            bencher.iter_custom(|count| timed(&runtime, 8, count, || *mutex.lock() += 1));
        });
        group.throughput(Throughput::Elements(4));
        group.bench_function("held_across_a_switch", |bencher| {
            bencher.iter_custom(|count| {
                timed(&runtime, 4, count, || {
                    let mut guard = mutex.lock();
                    *guard += 1;
                    yield_now();
                })
            });
        });
        group.bench_function("switch_between_locks", |bencher| {
            bencher.iter_custom(|count| {
                timed(&runtime, 4, count, || {
                    *mutex.lock() += 1;
                    yield_now();
                })
            });
        });
    }
}

fn readers(criterion: &mut Criterion) {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let mut group = criterion.benchmark_group(format!("rwlock/workers_{workers}"));
        let (lock, std_lock) = (RwLock::new(0_u64), std::sync::RwLock::new(0_u64));
        let readers = workers as u64;
        group.throughput(Throughput::Elements(readers));
        group.bench_function("read", |bencher| {
            bencher.iter_custom(|count| timed(&runtime, readers, count, || drop(lock.read())));
        });
        // The same runtime: nobody waits, so no worker is blocked.
        group.bench_function("read_std", |bencher| {
            bencher.iter_custom(|count| timed(&runtime, readers, count, || drop(std_lock.read())));
        });
        group.bench_function("one_write_in_a_thousand", |bencher| {
            bencher.iter_custom(|count| {
                timed(&runtime, readers, count.div_ceil(1000), || {
                    *lock.write() += 1;
                    (0..999).for_each(|_| drop(lock.read()));
                })
            });
        });
    }
}

fn groups(criterion: &mut Criterion) {
    let runtime = runtime(1);
    criterion.bench_function("wait_group/go_100", |bencher| {
        bencher.iter_custom(|count| {
            timed(&runtime, 1, count, || {
                let group = WaitGroup::new();
                for _ in 0..100 {
                    group.go(|| ());
                }
                group.wait();
            })
        });
    });
    let semaphore = Semaphore::new(2);
    let mut group = criterion.benchmark_group("semaphore");
    group.throughput(Throughput::Elements(4));
    group.bench_function("four_for_two_across_a_switch", |bencher| {
        bencher.iter_custom(|count| {
            timed(&runtime, 4, count, || {
                let _permit = semaphore.acquire(1);
                yield_now();
            })
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = uncontended, contended, readers, groups
}
criterion_main!(benches);
