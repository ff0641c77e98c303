//! The workloads that measure time. Called by the runner, each in a process of its own; names, sizes and shapes are the peers'.

#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::array;
use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use greenroutine::sync::Mutex;
use greenroutine::{JoinHandle, go, scope, task, yield_now};

use super::bed::{Bed, Mode};
use super::report::Figure;

/// Of `skynet` and `forkjoin`.
const ROUNDS: usize = 5;

/// Two goroutines that yield, per yield.
pub(super) fn yields(bed: &Bed) -> io::Result<Vec<Figure>> {
    let count = bed.size(2_000_000);
    let taken = bed.runtime()?.run(|| {
        let start = Instant::now();
        let both: [_; 2] = array::from_fn(|_| go(move || (0..count).for_each(|_| yield_now())));
        both.into_iter().for_each(join);
        start.elapsed()
    });
    Ok(vec![Figure::new("yield", bed.mode, per(taken, 2 * count), "ns/yield")])
}

/// Spawns a goroutine and waits for it, one after the other.
pub(super) fn spawnjoin(bed: &Bed) -> io::Result<Vec<Figure>> {
    let count = bed.size(1_000_000);
    let taken = bed.runtime()?.run(|| {
        let start = Instant::now();
        (0..count).for_each(|_| join(go(|| ())));
        start.elapsed()
    });
    Ok(vec![Figure::new("spawnjoin", bed.mode, per(taken, count), "ns/task")])
}

/// Spawns 10,000 goroutines and waits for all; repeated.
pub(super) fn spawnbatch(bed: &Bed) -> io::Result<Vec<Figure>> {
    const BATCH: usize = 10_000;
    let rounds = bed.size(100);
    let taken = bed.runtime()?.run(|| {
        let start = Instant::now();
        for _ in 0..rounds {
            let handles: Vec<_> = (0..BATCH).map(|_| go(|| ())).collect();
            handles.into_iter().for_each(join);
        }
        start.elapsed()
    });
    Ok(vec![Figure::new("spawnbatch10k", bed.mode, per(taken, BATCH * rounds), "ns/task")])
}

/// A tree of goroutines, ten below each, that hands its leaves' numbers up as results.
pub(super) fn skynet(bed: &Bed) -> io::Result<Vec<Figure>> {
    fn node(number: u64, size: u64) -> u64 {
        if size == 1 {
            return number;
        }
        let part = size / 10;
        let children: [_; 10] = array::from_fn(|at| go(move || node(number + at as u64 * part, part)));
        children.into_iter().map(join).sum()
    }
    // A power of ten in either case.
    let leaves: u64 = if bed.quick { 100_000 } else { 1_000_000 };
    let best = best(bed, || node(0, leaves), leaves * (leaves - 1) / 2)?;
    Ok(vec![Figure::new("skynet1M", bed.mode, best.as_secs_f64() * 1e3, "ms (best of 5)")])
}

/// Fibonacci numbers the slow way: one half as a goroutine, the other in place, then a join, as rayon's `join` does. From
/// `SEQUENTIAL` down all is in place: what is measured is its 46,367 forks, each with 10 additions or so, and not the adding.
pub(super) fn forkjoin(bed: &Bed) -> io::Result<Vec<Figure>> {
    const SEQUENTIAL: u32 = 5;
    fn in_place(n: u32) -> u64 {
        if n < 2 { u64::from(n) } else { in_place(black_box(n - 1)) + in_place(n - 2) }
    }
    fn fib(n: u32) -> u64 {
        if n <= SEQUENTIAL {
            return in_place(n);
        }
        let half = go(move || fib(n - 1));
        let other = fib(n - 2);
        join(half) + other
    }
    // Six numbers further down is an eighteenth of the work.
    let n = if bed.quick { 21 } else { 27 };
    let best = best(bed, || fib(n), in_place(n))?;
    Ok(vec![Figure::new("forkjoin27", bed.mode, best.as_secs_f64() * 1e3, "ms (best of 5)")])
}

/// Eight goroutines that do nothing but lock a mutex, per lock.
pub(super) fn mutex(bed: &Bed) -> io::Result<Vec<Figure>> {
    const GOROUTINES: usize = 8;
    let count = bed.size(500_000);
    let taken = on_one_mutex(bed, GOROUTINES, count, |mutex| *mutex.lock() += 1)?;
    Ok(vec![Figure::new("mutex8", bed.mode, per(taken, GOROUTINES * count), "ns/lock")])
}

/// Four goroutines that yield while they hold a mutex (zio's issue 574), per lock: all but one wait, all the time.
pub(super) fn mutexyield(bed: &Bed) -> io::Result<Vec<Figure>> {
    const GOROUTINES: usize = 4;
    let count = bed.size(100_000);
    let taken = on_one_mutex(bed, GOROUTINES, count, |mutex| {
        let mut guard = mutex.lock();
        *guard += 1;
        yield_now();
    })?;
    Ok(vec![Figure::new("mutexyield4", bed.mode, per(taken, GOROUTINES * count), "ns/lock")])
}

/// The time that `goroutines` goroutines take to do `work` `count` times each, which adds one.
fn on_one_mutex(
    bed: &Bed,
    goroutines: usize,
    count: usize,
    work: impl Fn(&Mutex<usize>) + Sync,
) -> io::Result<Duration> {
    let mutex = Mutex::new(0);
    let taken = bed.runtime()?.run(|| {
        let start = Instant::now();
        scope(|s| {
            for _ in 0..goroutines {
                s.go(|| (0..count).for_each(|_| work(&mutex)));
            }
        });
        start.elapsed()
    });
    assert_eq!(mutex.into_inner(), goroutines * count, "every lock counts");
    Ok(taken)
}

/// Recursion 400,000 deep on a goroutine that has not run before, with stack that nobody has touched.
pub(super) fn recurse(bed: &Bed) -> io::Result<Vec<Figure>> {
    #[inline(never)]
    fn deep(n: usize, mut pad: [u8; 64]) -> usize {
        pad[n & 63] = pad[n & 63].wrapping_add(1);
        if n == 0 {
            return usize::from(pad[0]);
        }
        // Opaque, or the compiler makes a loop of it.
        black_box(deep(n - 1, pad)) + usize::from(pad[1])
    }
    let depth = bed.size(400_000);
    let taken = bed.runtime()?.run(|| {
        let start = Instant::now();
        let handle =
            task::Builder::new().stack_max(256 << 20).spawn(move || deep(black_box(depth), [0; 64]))?;
        black_box(join(handle));
        Ok::<_, io::Error>(start.elapsed())
    })?;
    Ok(vec![Figure::new("recurse400k.cold", bed.mode, taken.as_secs_f64() * 1e6, "us")])
}

/// How late a goroutine wakes that sleeps 1 ms, 200 times, while as many goroutines as there are workers spin without a runtime call.
///
/// In home mode the sleeper, which has started, shares its worker with a spinner and can run nowhere else: it waits until that
/// ends. So the spinners end by themselves, and the note says so.
pub(super) fn fairness(bed: &Bed) -> io::Result<Vec<Figure>> {
    const NAP: Duration = Duration::from_millis(1);
    const HOME_LIMIT: Duration = Duration::from_millis(500);
    // A bound on a hang, not on the figure: 200 naps take about 0.3 s.
    const FREE_LIMIT: Duration = Duration::from_secs(20);
    let limit = if bed.mode == Mode::Home { HOME_LIMIT } else { FREE_LIMIT };
    let naps = bed.size(200);
    let worst = bed.runtime()?.run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let spinners: Vec<_> = (0..greenroutine::runtime::workers() as u64)
            .map(|seed| {
                let stop = stop.clone();
                go(move || spin(seed, limit, &stop))
            })
            .collect();
        let mut worst = Duration::ZERO;
        for _ in 0..naps {
            let start = Instant::now();
            task::sleep(NAP);
            worst = worst.max(start.elapsed().saturating_sub(NAP));
        }
        stop.store(true, Ordering::Relaxed);
        spinners.into_iter().for_each(join);
        worst
    });
    let figure = Figure::new("fairness.worst", bed.mode, worst.as_secs_f64() * 1e6, "us late");
    Ok(vec![match bed.mode {
        Mode::Home => figure.note(
            "a started goroutine stays on its worker, so it waits until the spinner there ends: \
             here after 500 ms. New goroutines, and all in free mode, run elsewhere.",
        ),
        Mode::Free => figure,
    }])
}

fn spin(seed: u64, limit: Duration, stop: &AtomicBool) {
    static SINK: AtomicU64 = AtomicU64::new(0);
    let start = Instant::now();
    let mut x = seed;
    while !stop.load(Ordering::Relaxed) && start.elapsed() < limit {
        for _ in 0..1 << 16 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        }
    }
    SINK.fetch_add(x, Ordering::Relaxed);
}

/// The shortest of some rounds of `work`, each on a goroutine of one runtime, each checked.
pub(super) fn best(bed: &Bed, work: impl Fn() -> u64 + Sync, expected: u64) -> io::Result<Duration> {
    let runtime = bed.runtime()?;
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let (taken, result) = runtime.run(|| {
            let start = Instant::now();
            let result = work();
            (start.elapsed(), result)
        });
        if result != expected {
            return Err(io::Error::other(format!("the result is {result} and not {expected}")));
        }
        best = best.min(taken);
    }
    Ok(best)
}

pub(super) fn join<T>(handle: JoinHandle<T>) -> T {
    handle.join().expect("workloads neither panic nor are cancelled")
}

/// Nanoseconds for each of `count`.
pub(super) fn per(taken: Duration, count: usize) -> f64 {
    taken.as_secs_f64() * 1e9 / count as f64
}
