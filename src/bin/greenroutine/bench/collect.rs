//! The workloads of the collected heap: allocation, marking, pauses, and what the program notices of them. Shapes and sizes are the peers'.

#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use greenroutine::gc::{self, SlotOption};
use greenroutine::{Gc, channel, go};

use super::bed::{Bed, Mode};
use super::distribution::Distribution;
use super::report::Figure;
use super::workloads::join;

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Maximum and median of the pauses until now, with the way they came about.
fn pauses(name: &str, mode: Mode) -> Vec<Figure> {
    let stats = gc::stats();
    let note = format!("backend {}, {} cycles, {} pauses", stats.backend, stats.cycles, stats.pauses.count());
    let figure =
        |what: &str, pause: Duration| Figure::new(&format!("{name}.pause.{what}"), mode, micros(pause), "us");
    vec![
        figure("max", stats.pauses.max()).note(&note),
        figure("p99", stats.pauses.p99()),
        figure("p50", stats.pauses.p50()).distribution(Distribution::of_buckets(stats.pauses.buckets())),
    ]
}

#[derive(Clone, Copy)]
struct Tree(Option<(Gc<Tree>, Gc<Tree>)>);

fn bottom_up(depth: usize) -> Gc<Tree> {
    Gc::new(Tree((depth > 0).then(|| (bottom_up(depth - 1), bottom_up(depth - 1)))))
}

fn count(tree: Gc<Tree>) -> usize {
    tree.0.map_or(1, |(left, right)| 1 + count(left) + count(right))
}

/// Binary trees of depth 18, one goroutine (the Computer Language Benchmarks Game's, with a tree that lives through it all).
pub(super) fn trees(bed: &Bed) -> io::Result<Vec<Figure>> {
    let most: usize = if bed.quick { 14 } else { 18 };
    let taken = bed.runtime()?.run(|| {
        let start = Instant::now();
        let long = bottom_up(most);
        let mut total = 0;
        for depth in (4..=most).step_by(4) {
            for _ in 0..1_usize << (most - depth + 4) {
                total += count(bottom_up(depth));
            }
        }
        black_box(total + count(long));
        start.elapsed()
    });
    let mut figures = vec![Figure::new("trees18", bed.mode, millis(taken), "ms")];
    figures.extend(pauses("trees18", bed.mode));
    Ok(figures)
}

struct Big {
    _next: Option<Gc<Big>>,
    _rest: [usize; 6],
}

fn big(next: Option<Gc<Big>>) -> Gc<Big> {
    Gc::new(Big { _next: next, _rest: [0; 6] })
}

/// What a goroutine notices that keeps allocating beside a gigabyte of small live objects, and how long a whole cycle takes.
pub(super) fn gcbig(bed: &Bed) -> io::Result<Vec<Figure>> {
    let (objects, seconds) = if bed.quick { (1 << 20, 1) } else { (16 << 20, 5) };
    let mode = bed.mode;
    bed.runtime()?.run(|| {
        let mut head = None;
        for _ in 0..objects {
            head = Some(big(head));
        }
        gc::collect();
        let mut hiccups = Vec::with_capacity(4 << 20);
        let mut keep = [None; 1024];
        let mut last = Instant::now();
        let end = last + Duration::from_secs(seconds);
        let mut made = 0_usize;
        loop {
            keep[made % 1024] = Some(big(None));
            made += 1;
            if made.is_multiple_of(64) {
                let now = Instant::now();
                hiccups.push(now - last);
                last = now;
                if now > end {
                    break;
                }
            }
        }
        black_box(&keep);
        hiccups.sort_unstable();
        let per_second = made as f64 / seconds as f64 / 1e6;
        let mut figures = vec![Figure::new("gcbig.allocs", mode, per_second, "M allocs/s")];
        figures.extend(pauses("gcbig", mode));
        let hiccup = |what: &str, index: usize| {
            Figure::new(&format!("gcbig.hiccup.{what}"), mode, micros(hiccups[index]), "us")
        };
        let nanos: Vec<u64> = hiccups.iter().map(|hiccup| hiccup.as_nanos() as u64).collect();
        figures.push(hiccup("max", hiccups.len() - 1).distribution(Distribution::of_sorted(&nanos)));
        figures.push(hiccup("p9999", hiccups.len() * 9999 / 10_000));
        let start = Instant::now();
        gc::collect();
        figures.push(Figure::new("gcbig.fullgc", mode, millis(start.elapsed()), "ms (1 GB live)"));
        black_box(head);
        Ok(figures)
    })
}

struct Node {
    links: [SlotOption<Node>; 2],
}

/// How fast a random graph is marked: 2,000,000 objects with two links each to anywhere.
pub(super) fn gcgraph(bed: &Bed) -> io::Result<Vec<Figure>> {
    let objects = bed.size(2_000_000);
    let mode = bed.mode;
    bed.runtime()?.run(|| {
        let nodes: Gc<[Gc<Node>]> =
            (0..objects).map(|_| Gc::new(Node { links: Default::default() })).collect();
        let mut state = 0x5EED_u64;
        for node in nodes.iter() {
            for link in &node.links {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                link.store(Some(nodes[(state >> 33) as usize % objects]));
            }
        }
        let best = (0..5).map(|_| {
            let start = Instant::now();
            gc::collect();
            start.elapsed()
        });
        let best = best.min().unwrap_or_default();
        black_box(nodes);
        Ok(vec![
            Figure::new("gcgraph", mode, millis(best), "ms (best of 5)"),
            Figure::new("gcgraph.object", mode, best.as_secs_f64() * 1e9 / objects as f64, "ns/object"),
        ])
    })
}

/// Pauses beside 100,000 goroutines that wait.
pub(super) fn gcparked(bed: &Bed) -> io::Result<Vec<Figure>> {
    let goroutines = bed.size(100_000);
    let mode = bed.mode;
    bed.runtime()?.run(|| {
        let (sender, receiver) = channel::bounded::<()>(0);
        let handles: Vec<_> = (0..goroutines)
            .map(|number| {
                let receiver = receiver.clone();
                go(move || {
                    let mine = Gc::new(number);
                    let _ = receiver.recv();
                    assert_eq!(*mine, number);
                })
            })
            .collect();
        for _ in 0..20 {
            for _ in 0..200_000 {
                black_box(big(None));
            }
            gc::collect();
        }
        let figures = pauses("gcparked100k", mode);
        drop(sender);
        handles.into_iter().for_each(join);
        Ok(figures)
    })
}
