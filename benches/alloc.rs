//! What a block costs: one at a time, a stack of them, random replacement, and the steps of a vector's growth; for the crate's heap, mimalloc and the system's allocator, called
//! directly in one program.
//!
//! Catches: an instruction too many on the fast paths, a magazine that is filled or emptied too often, a resize that moves.
//!
//! Does not prove: anything about threads, fragmentation or memory held; `greenroutine bench malloc-larson malloc-xmalloc malloc-cross malloc-redis` has those.
//!
//! Needs the feature `cli`, which brings mimalloc.

#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use greenroutine::gc::heap_profile;
use greenroutine::heap::Allocator;
use mimalloc::MiMalloc;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a layout")
}

fn take<A: GlobalAlloc>(allocator: &A, size: usize) -> *mut u8 {
    // SAFETY: no size here is 0.
    let block = unsafe { allocator.alloc(layout(size)) };
    assert!(!block.is_null(), "memory for a few blocks");
    block
}

fn give<A: GlobalAlloc>(allocator: &A, block: *mut u8, size: usize) {
    // SAFETY: every block is given back once, to the allocator it is of, with its size.
    unsafe { allocator.dealloc(block, layout(size)) }
}

fn grow<A: GlobalAlloc>(allocator: &A, block: *mut u8, size: usize) -> *mut u8 {
    // SAFETY: as above; the new size is not 0.
    unsafe { allocator.realloc(block, layout(size), size * 2) }
}

fn for_each_allocator(
    criterion: &mut Criterion,
    name: &str,
    elements: u64,
    bench: impl Fn(&mut BenchmarkGroup<'_, WallTime>),
) {
    let mut group = criterion.benchmark_group(format!("alloc/{name}"));
    group.throughput(Throughput::Elements(elements));
    bench(&mut group);
    group.finish();
}

/// Runs `$body` for each allocator, as `$a`.
macro_rules! each {
    ($criterion:ident, $name:literal, $elements:expr, |$a:ident| $body:expr) => {
        for_each_allocator($criterion, $name, $elements, |group| {
            let $a = &Allocator;
            group.bench_function("ours", |bencher| bencher.iter($body));
            let $a = &MiMalloc;
            group.bench_function("mimalloc", |bencher| bencher.iter($body));
            let $a = &System;
            group.bench_function("system", |bencher| bencher.iter($body));
        });
    };
}

fn pair(criterion: &mut Criterion) {
    each!(criterion, "pair_64", 1, |a| || give(a, black_box(take(a, black_box(64))), black_box(64)));
}

fn stack(criterion: &mut Criterion) {
    const BLOCKS: usize = 1000;
    each!(criterion, "stack_of_1000", BLOCKS as u64, |a| {
        let mut blocks = Vec::with_capacity(BLOCKS);
        move || {
            blocks.extend((0..BLOCKS).map(|_| take(a, 48)));
            blocks.drain(..).rev().for_each(|block| give(a, block, 48));
        }
    });
}

fn replace(criterion: &mut Criterion) {
    const BLOCKS: usize = 1000;
    each!(criterion, "replace_in_1000", BLOCKS as u64, |a| {
        let mut seed = 1_u64;
        let mut random = move |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((seed >> 33) as usize * bound) >> 31
        };
        let mut blocks: Vec<_> = (0..BLOCKS).map(|_| (take(a, 8), 8)).collect();
        move || {
            for _ in 0..BLOCKS {
                let (at, size) = (random(BLOCKS), 8 + random(500));
                let (old, old_size) = std::mem::replace(&mut blocks[at], (take(a, size), size));
                give(a, old, old_size);
            }
        }
    });
}

fn growth(criterion: &mut Criterion) {
    each!(criterion, "double_8_to_1m", 17, |a| || {
        let (mut block, mut size) = (take(a, 8), 8);
        while size < 1 << 20 {
            block = grow(a, block, size);
            size *= 2;
        }
        give(a, black_box(block), size);
    });
}

/// What the heap profile costs who does nothing but allocate and free: while it is off, at its default rate, and with every block a sample.
fn profiled(criterion: &mut Criterion) {
    const BLOCKS: usize = 1000;
    let mut group = criterion.benchmark_group("alloc/profiled");
    for (rate, name) in [(None, "off"), (Some(heap_profile::DEFAULT_RATE), "on"), (Some(1), "every")] {
        rate.into_iter().for_each(heap_profile::start);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("pair_64/{name}"), |bencher| {
            bencher.iter(|| give(&Allocator, black_box(take(&Allocator, black_box(64))), black_box(64)));
        });
        group.throughput(Throughput::Elements(BLOCKS as u64));
        group.bench_function(format!("stack_of_1000/{name}"), |bencher| {
            let mut blocks = Vec::with_capacity(BLOCKS);
            bencher.iter(|| {
                blocks.extend((0..BLOCKS).map(|_| take(&Allocator, 48)));
                blocks.drain(..).rev().for_each(|block| give(&Allocator, block, 48));
            });
        });
    }
    heap_profile::stop();
    group.finish();
}

criterion_group!(benches, pair, stack, replace, growth, profiled);
criterion_main!(benches);
