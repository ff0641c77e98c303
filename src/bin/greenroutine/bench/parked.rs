//! A million goroutines that wait: memory, mappings, and the time to spawn and to wake them. Called by the runner, each part in
//! a process of its own, because memory that was used once is not given back at once.
//!
//! All that the program needs counts: the stacks with their page tables, the runtime's records, and 32 bytes for the two handles of
//! each goroutine, to unpark and to join it.

#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenroutine::{Runtime, go, task};

use super::bed::Bed;
use super::report::Figure;
use super::workloads::per;
use crate::memory;

/// For programs that have very many goroutines: no page of page tables for each.
const SMALL: usize = 256 << 10;

/// As a program gets it that asks for nothing.
pub(super) fn with_default_stack_max(bed: &Bed) -> io::Result<Vec<Figure>> {
    let count = count(bed);
    let seen = park_and_wake(&bed.runtime()?, count)?;
    Ok(vec![
        Figure::new("parked1M.mem", bed.mode, seen.bytes / count as f64, "bytes/goroutine"),
        Figure::new("parked1M.spawn", bed.mode, per(seen.spawn, count), "ns/goroutine (cold)"),
        Figure::new("parked1M.wake", bed.mode, per(seen.wake, count), "ns/goroutine"),
        Figure::new("parked1M.maps", bed.mode, seen.mappings as f64, "mappings"),
    ])
}

/// The memory alone, with `stack_max` of 256 KiB.
pub(super) fn with_small_stack_max(bed: &Bed) -> io::Result<Vec<Figure>> {
    let count = count(bed);
    let seen = park_and_wake(&bed.runtime_with(|builder| builder.stack_max(SMALL))?, count)?;
    Ok(vec![Figure::new("parked1M.256k.mem", bed.mode, seen.bytes / count as f64, "bytes/goroutine")])
}

fn count(bed: &Bed) -> usize {
    bed.goroutines.unwrap_or_else(|| bed.size(1_000_000))
}

struct Seen {
    bytes: f64,
    mappings: usize,
    /// From the first spawn until the last goroutine is about to park.
    spawn: Duration,
    /// From the first unpark until all are joined.
    wake: Duration,
}

/// What the goroutines share with the one that waits for them: Go's `WaitGroup`.
struct Gate {
    to_come: AtomicUsize,
    owner: OnceLock<task::Handle>,
}

fn park_and_wake(runtime: &Runtime, count: usize) -> io::Result<Seen> {
    // Lives as long as the process, which is this one measurement.
    let gate: &'static Gate =
        Box::leak(Box::new(Gate { to_come: AtomicUsize::new(count), owner: OnceLock::new() }));
    runtime.run(|| {
        gate.owner.get_or_init(me);
        let before = memory::held_bytes()?;
        let start = Instant::now();
        let wakers: &'static [OnceLock<task::Handle>] =
            (0..count).map(|_| OnceLock::new()).collect::<Vec<_>>().leak();
        let joins: Vec<_> = wakers.iter().map(|waker| go(move || wait(gate, waker))).collect();
        while gate.to_come.load(Ordering::Acquire) > 0 {
            task::park();
        }
        let spawn = start.elapsed();
        let bytes = memory::held_bytes()?.saturating_sub(before) as f64;
        let mappings = memory::mappings()?;
        let start = Instant::now();
        wakers.iter().filter_map(OnceLock::get).for_each(task::Handle::unpark);
        for handle in joins {
            handle.join().map_err(io::Error::other)?;
        }
        Ok(Seen { bytes, mappings, spawn, wake: start.elapsed() })
    })
}

/// One of the million.
fn wait(gate: &Gate, waker: &OnceLock<task::Handle>) {
    waker.get_or_init(me);
    if gate.to_come.fetch_sub(1, Ordering::AcqRel) == 1 {
        gate.owner.get().expect("set before the first spawn").unpark();
    }
    task::park();
}

fn me() -> task::Handle {
    task::current().expect("called by goroutines only")
}
