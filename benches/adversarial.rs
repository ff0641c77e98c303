//! Cases that have cost other runtimes dearly, each with the issue it is known from. In both migration modes, on two workers.
//!
//! Catches: a change of the wake or steal policy that helps one of them and ruins another.
//!
//! Does not prove: that there are no more.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use greenroutine::channel::{bounded, unbounded};
use greenroutine::{Runtime, go};

fn in_both_modes(criterion: &mut Criterion, name: &str, work: fn(u64) -> Duration) {
    for (mode, free) in [("home", false), ("free", true)] {
        let mut builder = Runtime::builder().workers(2);
        if free {
            // SAFETY: the goroutines of this file hold nothing bound to a thread.
            builder = unsafe { builder.free_migration() };
        }
        let runtime = builder.build().expect("two workers fit everywhere");
        criterion.bench_function(&format!("{name}/{mode}"), |bencher| {
            bencher.iter_custom(|count| runtime.run(move || work(count)));
        });
    }
}

/// A hundred microseconds without a call of the runtime.
fn work_alone() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(100) {
        black_box(0);
    }
}

/// tokio issue 4941: a goroutine spawns another, which is ready at once, and goes on for long. From the spawn to the other's run.
fn long_beside_fresh(count: u64) -> Duration {
    (0..count)
        .map(|_| {
            let (s, r) = bounded(1);
            let start = Instant::now();
            go(move || s.send(start.elapsed()));
            work_alone();
            r.recv().expect("it sends")
        })
        .sum()
}

/// tokio issue 8065: many short messages between two goroutines, which a thief had better leave together.
fn short_messages(count: u64) -> Duration {
    let (there, r) = unbounded();
    let (s, back) = unbounded();
    let echo = go(move || r.iter().try_for_each(|n: u64| s.send(n)));
    let start = Instant::now();
    for n in 0..count {
        there.send(n).expect("the echo receives");
        black_box(back.recv().expect("the echo sends"));
    }
    let taken = start.elapsed();
    drop(there);
    echo.join().expect("no panic").expect("we received");
    taken
}

/// A burst: one goroutine wakes a hundred others at once, each of which answers.
fn burst(count: u64) -> Duration {
    const EACH: u64 = 100;
    let (s, answers) = unbounded();
    let others: Vec<_> = (0..EACH)
        .map(|_| {
            let (there, r) = bounded(1);
            let s = s.clone();
            go(move || r.iter().try_for_each(|n: u64| s.send(n)));
            there
        })
        .collect();
    let start = Instant::now();
    for n in 0..count {
        for other in &others {
            other.send(n).expect("it receives");
        }
        for _ in 0..EACH {
            answers.recv().expect("each sends");
        }
    }
    start.elapsed()
}

fn all(criterion: &mut Criterion) {
    in_both_modes(criterion, "adversarial/long_beside_fresh_4941", long_beside_fresh);
    in_both_modes(criterion, "adversarial/short_messages_8065", short_messages);
    in_both_modes(criterion, "adversarial/burst_of_100", burst);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = all
}
criterion_main!(benches);
