//! The figures of a runtime: sums of what workers count for themselves.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sched::Core;
use crate::stack::arena;

/// Figures of one runtime at one moment, read while it runs: each is right for some moment, their sums need not agree.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Goroutines that have not ended.
    pub goroutines: u64,
    /// Goroutines spawned so far by workers and from outside.
    pub spawned: u64,
    /// Per worker: the regular ones in order, then the spares.
    pub workers: Vec<WorkerMetrics>,
    /// How many of `workers` are regular.
    pub regular_workers: usize,
    /// Threads of the blocking pool, busy or idle.
    pub blocking_threads: usize,
    /// How often a worker was seen stuck: 10 ms in one goroutine without a switch.
    pub stuck: usize,
    /// Stack slots that hold a goroutine or wait in a worker's cache, in all runtimes together.
    pub stacks_out: usize,
    /// Free stacks that are open, in all runtimes together.
    pub stacks_warm: usize,
    /// Free stacks whose memory was given back, in all runtimes together.
    pub stacks_cold: usize,
    /// Address space of all stacks ever used, in bytes.
    pub stacks_reserved: usize,
}

/// Figures of one worker.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// How often it ran a goroutine.
    pub switches: u64,
    /// How often a goroutine parked on it.
    pub parks: u64,
    /// Goroutines spawned on it.
    pub spawned: u64,
    /// Goroutines that ended on it.
    pub finished: u64,
    /// Batches it stole.
    pub steals: u64,
    /// How often it woke another worker for work.
    pub wakes: u64,
    /// How often it went to sleep.
    pub sleeps: u64,
    /// How often a goroutine yielded because its time slice was over.
    pub preemptions: u64,
    /// Goroutines waiting to be started on it.
    pub queued: usize,
    /// Timers armed on it.
    pub timers: usize,
}

/// Reads the figures.
pub(crate) fn metrics(core: &Core) -> Metrics {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let workers: Vec<_> = core
        .workers()
        .map(|worker| WorkerMetrics {
            switches: read(&worker.tick) / 2,
            parks: read(&worker.counters.parks),
            spawned: read(&worker.counters.spawned),
            finished: read(&worker.counters.finished),
            steals: read(&worker.counters.steals),
            wakes: read(&worker.counters.wakes_sent),
            sleeps: read(&worker.counters.sleeps),
            preemptions: read(&worker.counters.preemptions),
            queued: worker.fresh.len(),
            timers: worker.timers.len(),
        })
        .collect();
    let stacks = arena::stats();
    Metrics {
        goroutines: core.live(),
        spawned: workers.iter().map(|w| w.spawned).sum::<u64>() + read(&core.foreign_spawned),
        regular_workers: core.config.workers,
        blocking_threads: core.pool.threads(),
        stuck: core.monitor.stuck_seen.load(Ordering::Relaxed),
        workers,
        stacks_out: stacks.out,
        stacks_warm: stacks.warm,
        stacks_cold: stacks.cold,
        stacks_reserved: stacks.reserved,
    }
}
