//! The workload that times every single operation: what a goroutine waits for when it hands over, starts, or sleeps, on an idle machine and on a busy one. Called by the runner.
//!
//! Each time has a reading of the clock in it, 20 to 50 ns, which the averages of the other workloads have not.

#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use greenroutine::channel::bounded;
use greenroutine::{Runtime, go, runtime, scope, time, yield_now};

use super::bed::Bed;
use super::distribution::Distribution;
use super::report::Figure;
use super::workloads::join;

/// How long a busy goroutine computes before it lets others run.
const SLICE: Duration = Duration::from_micros(20);

/// See the file's documentation.
pub(super) fn latency(bed: &Bed) -> io::Result<Vec<Figure>> {
    let runtime = bed.runtime()?;
    let mut figures = Vec::new();
    let mut add = |name: &str, mut samples: Vec<u64>| {
        samples.sort_unstable();
        figures.extend(figures_of(&format!("latency.{name}"), bed, &samples));
    };
    add("roundtrip", round_trips(&runtime, bed.size(500_000)));
    add("spawn", spawns(&runtime, bed.size(500_000)));
    add("sleep", sleeps(&runtime, bed.size(2_000)));
    add("sleep.busy", sleeps_among_busy(&runtime, bed.size(2_000)));
    Ok(figures)
}

/// Median and tails, with the distribution behind them.
fn figures_of(name: &str, bed: &Bed, sorted: &[u64]) -> Vec<Figure> {
    let figure = |what: &str, part: f64| {
        let at = ((sorted.len() as f64 * part) as usize).min(sorted.len() - 1);
        Figure::new(&format!("{name}.{what}"), bed.mode, sorted[at] as f64, "ns")
    };
    vec![
        figure("p50", 0.5).distribution(Distribution::of_sorted(sorted)),
        figure("p99", 0.99),
        figure("p9999", 0.9999),
    ]
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// There and back, over two channels without capacity.
fn round_trips(runtime: &Runtime, count: usize) -> Vec<u64> {
    runtime.run(|| {
        let (there, r) = bounded::<()>(0);
        let (s, back) = bounded(0);
        let echo = go(move || r.iter().all(|value| s.send(value).is_ok()));
        let trip = |_| {
            let start = Instant::now();
            there.send(()).and_then(|()| back.recv().map_err(|_| greenroutine::channel::SendError(()))).ok();
            nanos(start.elapsed())
        };
        let samples = (0..count).map(trip).collect();
        drop(there);
        assert!(join(echo), "every trip came back");
        samples
    })
}

/// From the call of `go` until the goroutine runs; one at a time, with a join after each.
fn spawns(runtime: &Runtime, count: usize) -> Vec<u64> {
    let spawn = |_| {
        let start = Instant::now();
        nanos(join(go(move || start.elapsed())))
    };
    runtime.run(|| (0..count).map(spawn).collect())
}

/// How late a goroutine is that sleeps for 100 µs, with nobody else there.
fn sleeps(runtime: &Runtime, count: usize) -> Vec<u64> {
    runtime.run(|| lateness(count))
}

/// The same with two goroutines for each worker that compute, and yield every 20 µs.
fn sleeps_among_busy(runtime: &Runtime, count: usize) -> Vec<u64> {
    runtime.run(|| {
        let stop = AtomicBool::new(false);
        scope(|s| {
            for _ in 0..2 * runtime::workers() {
                s.go(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        while start.elapsed() < SLICE {
                            black_box(0);
                        }
                        yield_now();
                    }
                });
            }
            let samples = lateness(count);
            stop.store(true, Ordering::Relaxed);
            samples
        })
    })
}

fn lateness(count: usize) -> Vec<u64> {
    const NAP: Duration = Duration::from_micros(100);
    let nap = |_| {
        let start = Instant::now();
        time::sleep(NAP);
        nanos(start.elapsed().saturating_sub(NAP))
    };
    (0..count).map(nap).collect()
}
