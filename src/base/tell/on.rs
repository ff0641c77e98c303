//! Events of the crate `tracing`, with the target `greenroutine`.
#![forbid(unsafe_code)]

use std::panic::Location;

#[cfg(feature = "gc")]
use super::Cycle;
use super::End;

const TARGET: &str = "greenroutine";

/// A name to be told later, if anybody listens.
pub(crate) fn name(name: Option<&str>) -> Option<Box<str>> {
    name.filter(|_| tracing::enabled!(target: TARGET, tracing::Level::TRACE)).map(Box::from)
}

/// A goroutine was spawned.
pub(crate) fn spawned(id: u64, name: Option<&str>, at: &Location<'_>) {
    tracing::trace!(target: TARGET, id, name, %at, "goroutine spawned");
}

/// A goroutine has ended; it is the caller.
pub(crate) fn ended(id: u64, name: Option<&str>, how: End) {
    match how {
        End::Returned => tracing::trace!(target: TARGET, id, name, "goroutine ended"),
        End::Exited => tracing::trace!(target: TARGET, id, name, "goroutine exited"),
        End::Cancelled => tracing::debug!(target: TARGET, id, name, "goroutine cancelled"),
        End::Panicked => tracing::debug!(target: TARGET, id, name, "goroutine panicked"),
    }
}

/// A goroutine keeps its worker: it computes, or blocks its thread.
pub(crate) fn stuck(id: u64, worker: usize) {
    tracing::debug!(target: TARGET, id, worker, "goroutine keeps its worker for 10 ms");
}

/// A collection is over.
#[cfg(feature = "gc")]
pub(crate) fn collected(cycle: Cycle) {
    let Cycle { number, pause, mark, sweep, live, in_use } = cycle;
    tracing::debug!(target: TARGET, number, ?pause, ?mark, ?sweep, live, in_use, "gc cycle");
}

/// A runtime has started.
pub(crate) fn started(runtime: &str, workers: usize) {
    tracing::debug!(target: TARGET, runtime, workers, "runtime started");
}

/// A runtime has shut down.
pub(crate) fn shut_down(runtime: &str) {
    tracing::debug!(target: TARGET, runtime, "runtime shut down");
}
