//! The figures of a runtime: sums of what workers count for themselves.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Distribution;
use super::dump::state;
use crate::sched::{Core, spin};
use crate::stack::arena;

/// Figures of one runtime at one moment, read while it runs: each is right for some moment, their sums need not agree.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// The runtime's name.
    pub name: String,
    /// Goroutines that have not ended.
    pub goroutines: u64,
    /// Goroutines spawned so far by workers and from outside.
    pub spawned: u64,
    /// Per worker: the regular ones in order, then the spares.
    pub workers: Vec<WorkerMetrics>,
    /// How many of `workers` are regular.
    pub regular_workers: usize,
    /// Goroutines from outside that no worker has taken yet.
    pub injected: usize,
    /// Threads of the blocking pool, busy or idle.
    pub blocking_threads: usize,
    /// Of these, threads that run something now.
    pub blocking_busy: usize,
    /// Calls of [`blocking`](crate::blocking()) that wait for a thread.
    pub blocking_queued: usize,
    /// Sockets that goroutines wait for or have waited for.
    pub descriptors: usize,
    /// How often a worker was seen stuck: 10 ms in one goroutine without a switch.
    pub stuck: usize,
    /// How long a goroutine waits in a queue until it runs: about, and of one in a thousand.
    pub queue_latency: Distribution,
    /// From the moment a sleeping worker is woken until its thread runs.
    pub wake_latency: Distribution,
    /// From a timer's time until it goes off.
    pub timer_latency: Distribution,
    /// How long those waited who did not get a mutex at once, in all runtimes together: an eighth of them.
    pub lock_wait: Distribution,
    /// Stack slots that hold a goroutine or wait in a worker's cache, in all runtimes together.
    pub stacks_out: usize,
    /// Free stacks that are open, in all runtimes together.
    pub stacks_warm: usize,
    /// Free stacks whose memory was given back, in all runtimes together.
    pub stacks_cold: usize,
    /// Address space of all stacks ever used, in bytes.
    pub stacks_reserved: usize,
    /// How often a stack has grown, in all runtimes together.
    pub stacks_grown: u64,
    /// Cycles of the collector, of the whole process. 0 until somebody has allocated a [`Gc`](crate::gc::Gc).
    #[cfg(feature = "gc")]
    pub gc_cycles: u64,
    /// Bytes of collected objects that the last cycle has found alive, and of those made since.
    #[cfg(feature = "gc")]
    pub gc_heap_live: usize,
    /// How often the collector has stopped the world, for how long in all, and for how long at most.
    #[cfg(feature = "gc")]
    pub gc_pauses: u64,
    /// See `gc_pauses`.
    #[cfg(feature = "gc")]
    pub gc_pause_total: std::time::Duration,
    /// See `gc_pauses`.
    #[cfg(feature = "gc")]
    pub gc_pause_max: std::time::Duration,
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
    /// Sockets that its goroutines wait for or have waited for.
    pub descriptors: usize,
}

/// Reads the figures.
pub(crate) fn metrics(core: &Core) -> Metrics {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    #[cfg(feature = "gc")]
    let collector = crate::gc::figures();
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
            descriptors: worker.descriptors(),
        })
        .collect();
    let stacks = arena::stats();
    let pool = core.pool.load();
    Metrics {
        name: core.config.name.clone(),
        goroutines: core.live(),
        spawned: workers.iter().map(|w| w.spawned).sum::<u64>() + read(&core.foreign_spawned),
        regular_workers: core.config.workers,
        injected: core.injector.len(),
        blocking_threads: pool.threads,
        blocking_busy: pool.busy,
        blocking_queued: pool.queued,
        descriptors: workers.iter().map(|w| w.descriptors).sum(),
        stuck: core.monitor.stuck_seen.load(Ordering::Relaxed),
        queue_latency: Distribution::of(core.workers().map(|w| &w.latencies.queue)),
        wake_latency: Distribution::of(core.workers().map(|w| &w.latencies.wake)),
        timer_latency: Distribution::of(core.workers().map(|w| &w.latencies.timer)),
        lock_wait: Distribution::of([&spin::LOCK_WAITS]),
        workers,
        stacks_out: stacks.out,
        stacks_warm: stacks.warm,
        stacks_cold: stacks.cold,
        stacks_reserved: stacks.reserved,
        stacks_grown: arena::grown(),
        #[cfg(feature = "gc")]
        gc_cycles: collector.cycles,
        #[cfg(feature = "gc")]
        gc_heap_live: collector.heap_live,
        #[cfg(feature = "gc")]
        gc_pauses: collector.pauses,
        #[cfg(feature = "gc")]
        gc_pause_total: collector.pause_total,
        #[cfg(feature = "gc")]
        gc_pause_max: collector.pause_max,
    }
}

/// How many goroutines are in which state, in the words of the dump.
pub(crate) fn states(core: &Core) -> BTreeMap<&'static str, usize> {
    let running: Vec<_> = core.workers().map(|w| w.running.get()).collect();
    let mut out = BTreeMap::new();
    core.for_each_goroutine(|task| {
        *out.entry(state(task, running.contains(&std::ptr::from_ref(task)))).or_default() += 1;
    });
    out
}
