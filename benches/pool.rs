//! What a value of a pool costs: given and taken in turns by one goroutine, as in Go's BenchmarkPool; and several at a time.
//!
//! Catches: an instruction too many on the path that takes no locked one.
//!
//! Does not prove: anything about several workers, or collections beside it. Go's figure in the same minute: `benches/peers/go pool`.

#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use greenroutine::sync::Pool;

fn pool(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pool");
    let mut on_a_goroutine = |name: &str, count: u64| {
        group.bench_function(name, |bencher| {
            greenroutine::run(|| {
                let pool = Pool::new(|| 0_u64);
                bencher.iter(|| {
                    for n in 0..count {
                        pool.put(black_box(n));
                    }
                    for _ in 0..count {
                        black_box(pool.get());
                    }
                });
            });
        });
    };
    on_a_goroutine("put_get", 1);
    on_a_goroutine("put_100_get_100", 100);
    group.finish();
}

criterion_group!(benches, pool);
criterion_main!(benches);
