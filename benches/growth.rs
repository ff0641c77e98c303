//! What it costs a goroutine to grow its stack in place.
//!
//! *Cold*: each round is a new goroutine; it faults its way down through stack that the kernel has to supply, and gives it back when it
//! ends. *Warm*: one goroutine goes down again and again; the stack is there, and only the calls remain. The difference is growth.
//!
//! Catches: more faults or system calls for a given depth; growth that copies; a stack that shrinks under a goroutine that uses it.
//!
//! Does not prove: anything about memory that is short, about many goroutines that grow at once, or about huge pages, which depend on the
//! system's settings. Figures of different kernels do not compare.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use greenroutine::{Runtime, go};

/// What a frame of [`descend`] takes at least.
const FRAME: usize = 1024;

/// Uses about `bytes` of stack, every page of it.
#[inline(never)]
fn descend(bytes: usize) -> u8 {
    let mut frame = [0_u8; FRAME];
    black_box(&mut frame);
    let below = if bytes > FRAME { descend(bytes - FRAME) } else { 0 };
    // After the call, so that the frame cannot end before it.
    below.wrapping_add(black_box(&frame)[0])
}

fn cold(runtime: &Runtime, bytes: usize, count: u64) -> Duration {
    runtime.run(move || {
        let start = Instant::now();
        for _ in 0..count {
            go(move || descend(bytes)).join().expect("within stack_max");
        }
        start.elapsed()
    })
}

fn warm(runtime: &Runtime, bytes: usize, count: u64) -> Duration {
    runtime.run(move || {
        descend(bytes);
        let start = Instant::now();
        for _ in 0..count {
            descend(black_box(bytes));
        }
        start.elapsed()
    })
}

fn growth(criterion: &mut Criterion) {
    let runtime = Runtime::builder().workers(1).build().expect("one worker fits everywhere");
    let mut group = criterion.benchmark_group("growth");
    for (name, bytes) in [("1MiB", 1 << 20), ("16MiB", 16 << 20)] {
        group.bench_function(format!("{name}/cold"), |bencher| {
            bencher.iter_custom(|count| cold(&runtime, bytes, count));
        });
        group.bench_function(format!("{name}/warm"), |bencher| {
            bencher.iter_custom(|count| warm(&runtime, bytes, count));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = growth
}
criterion_main!(benches);
