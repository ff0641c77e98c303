//! The monitor thread: sees workers that have not switched for 10 ms (or for 1 ms beside an overdue timer), asks their goroutines to yield, polls descriptors for workers that do not come to it, has spares serve what is not
//! bound to them, and gives back stacks and heap memory that a burst left behind.
//!
//! It looks every 2.5 ms while any worker is awake and sleeps for good when all are asleep, after it has trimmed: an idle
//! runtime uses no CPU. A worker that wakes wakes the monitor ([`Monitor::worker_woke`]); the two sides are a store-buffering pattern,
//! all SeqCst: the worker stores its state and reads `asleep`, the monitor stores `asleep` and reads the states.
//!
//! **Spares.** As many spares may take new work as workers are stuck. A spare that was started for a worker that came back keeps
//! the goroutines that live on it and takes no others.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::core::{Core, WorkerShared};
use super::idle::CAPACITY;
use super::stall::{Ours, Watch};
use super::worker::{Role, flag, notify, state};
use crate::base::tell;
use crate::heap;
use crate::routine::Task;
use crate::stack::arena;
use crate::sys::{clock, futex};
use crate::world::blocked;

/// A goroutine's time slice: after this it is asked to yield, and its worker counts as stuck.
const SLICE_NS: u64 = 10_000_000;
/// The longest the monitor looks away while a worker is awake.
const TICK_NS: u64 = 2_500_000;
/// A timer this much overdue on a worker that is still in the same goroutine makes that one stuck at once: others fire it.
const OVERDUE_NS: u64 = 1_000_000;
/// Between two trims while the runtime is busy.
const TRIM_NS: u64 = 1_000_000_000;
/// Between two trims of an idle runtime.
const IDLE_TRIM_NS: u64 = 500_000_000;
/// The most spares a runtime starts. A spare costs a thread, and each stands for a worker that is stuck right now.
const MOST_SPARES: usize = 64;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// What others see of the monitor.
pub(crate) struct Monitor {
    /// The futex: `AWAKE` or `ASLEEP`.
    word: AtomicU32,
    /// How many spares may take new work.
    spares_allowed: AtomicUsize,
    /// Stuck workers seen so far.
    pub(crate) stuck_seen: AtomicUsize,
}

impl Monitor {
    pub(super) fn new() -> Self {
        Self {
            word: AtomicU32::new(AWAKE),
            spares_allowed: AtomicUsize::new(0),
            stuck_seen: AtomicUsize::new(0),
        }
    }

    /// Starts the thread. It holds the runtime weakly between ticks.
    pub(super) fn start(core: &Arc<Core>) -> io::Result<std::thread::JoinHandle<()>> {
        let weak = Arc::downgrade(core);
        std::thread::Builder::new().name(format!("{}-mon", core.config.name)).spawn(move || run(&weak))
    }

    /// Whether spare number `spare` may take new work.
    pub(super) fn allows_spare(&self, spare: usize) -> bool {
        spare < self.spares_allowed.load(Ordering::SeqCst)
    }

    /// A worker has woken: the monitor must watch it.
    #[inline(always)]
    pub(super) fn worker_woke(&self) {
        if self.word.load(Ordering::SeqCst) == ASLEEP {
            self.notify();
        }
    }

    /// Wakes the monitor.
    pub(super) fn notify(&self) {
        if self.word.swap(AWAKE, Ordering::SeqCst) == ASLEEP {
            futex::wake(&self.word, 1);
        }
    }
}

/// What the monitor remembers of a worker between two ticks.
#[derive(Clone, Copy, Default)]
struct Seen {
    tick: u64,
    /// When this tick was first seen.
    since: u64,
    reported: bool,
}

fn run(weak: &Weak<Core>) {
    crate::sys::thread::precise_timers();
    let _ours = Ours::new();
    let mut seen = vec![Seen::default(); CAPACITY];
    let mut trim_at = 0;
    loop {
        let Some(core) = weak.upgrade() else { return };
        if core.stop.load(Ordering::SeqCst) {
            return;
        }
        let now = clock::now_ns();
        let look_at = core.check_workers(&mut seen, now);
        core.poll_for_late(now);
        if now >= trim_at {
            trim_at = now + TRIM_NS;
            arena::trim(false);
            heap::tick();
            core.note_ages();
        }
        if core.all_asleep() {
            sleep_while_idle(&core);
        } else {
            blocked::wait(&core.monitor.word, AWAKE, look_at);
        }
    }
}

/// Sleeps until a worker wakes; meanwhile gives back what is not in use, less and less often.
fn sleep_while_idle(core: &Arc<Core>) {
    let word = &core.monitor.word;
    word.store(ASLEEP, Ordering::SeqCst);
    let mut trim_at = clock::now_ns() + IDLE_TRIM_NS;
    let mut watch = Watch::new(core);
    while core.all_asleep() && !core.stop.load(Ordering::SeqCst) && word.load(Ordering::SeqCst) == ASLEEP {
        if blocked::wait(word, ASLEEP, trim_at.min(watch.next)) {
            continue;
        }
        let now = clock::now_ns();
        if now >= watch.next {
            watch.look(core);
        }
        if now >= trim_at {
            core.note_ages();
            let trimming = (arena::trim(false) > 0) | heap::tick();
            trim_at = if trimming { clock::now_ns() + IDLE_TRIM_NS } else { u64::MAX };
        }
    }
    word.store(AWAKE, Ordering::SeqCst);
}

impl Core {
    /// Whether no worker runs or searches.
    fn all_asleep(&self) -> bool {
        self.workers().all(|w| w.state.load(Ordering::SeqCst) & !state::POLLING == state::SLEEPING)
    }

    /// One look at all workers. Returns when to look again.
    fn check_workers(self: &Arc<Self>, seen: &mut [Seen], now: u64) -> u64 {
        let mut stuck = 0;
        let mut look_at = now + TICK_NS;
        for (worker, seen) in self.workers().zip(seen.iter_mut()) {
            let tick = worker.tick.load(Ordering::Relaxed);
            if tick != seen.tick {
                seen.tick = tick;
                seen.since = now;
            }
            // Odd: a goroutine runs, and has since then.
            let ran_for = if tick % 2 == 1 { now - seen.since } else { 0 };
            let due = worker.timers.next_deadline().saturating_add(OVERDUE_NS);
            if ran_for >= SLICE_NS {
                flag::set(&worker.flags, flag::PREEMPT, true);
                if !seen.reported {
                    seen.reported = true;
                    report(worker, self.config.report_stuck);
                }
            }
            let is_stuck = ran_for >= SLICE_NS || ran_for >= OVERDUE_NS && due <= now;
            if is_stuck {
                stuck += (worker.role == Role::Regular) as usize;
                if !worker.stuck.load(Ordering::Relaxed) {
                    self.monitor.stuck_seen.fetch_add(1, Ordering::Relaxed);
                }
            } else if tick % 2 == 1 && due != u64::MAX {
                look_at = look_at.min(due.max(now + OVERDUE_NS));
            }
            worker.stuck.store(is_stuck, Ordering::SeqCst);
        }
        self.monitor.spares_allowed.store(stuck.min(MOST_SPARES), Ordering::SeqCst);
        if stuck > 0 && self.has_orphans() {
            self.serve_orphans(stuck);
        }
        look_at
    }

    /// Whether there is work that is bound to nobody, or a timer that nobody fires.
    fn has_orphans(&self) -> bool {
        let now = clock::now_ns();
        !self.injector.is_empty()
            || self.workers().any(|w| {
                !w.fresh.is_empty()
                    || w.stuck.load(Ordering::Relaxed)
                        && (w.timers.next_deadline() <= now.saturating_add(OVERDUE_NS)
                            || self.config.free_migration && !w.next.load(Ordering::Relaxed).is_null())
            })
    }

    /// Wakes somebody who is not stuck, or starts a spare.
    fn serve_orphans(self: &Arc<Self>, stuck: usize) {
        if self.idle.sleepers() > 0 {
            return self.wake_searcher();
        }
        let spares: Vec<_> = self.workers().skip(self.config.workers).cloned().collect();
        for spare in spares.iter().take(stuck) {
            notify(spare);
        }
        // A spare that is itself stuck serves nobody.
        let able = spares.iter().take(stuck).filter(|spare| !spare.stuck.load(Ordering::Relaxed)).count();
        if able < stuck && spares.len() < stuck.min(MOST_SPARES) {
            // Without a thread there is no spare; the next tick tries again.
            let _ = self.start_worker(Role::Spare);
        }
    }
}

/// Says once a worker which goroutine keeps it busy.
fn report(worker: &WorkerShared, on_standard_error: bool) {
    let running = worker.running.get();
    // SAFETY: null, or a cell, which is mapped for ever; `id` is atomic. The goroutine may have ended meanwhile: then the report
    // names it still, which is right for the 10 ms it is about.
    let task: Option<&Task> = unsafe { running.as_ref() };
    if let Some(task) = task {
        let id = task.id.load(Ordering::Relaxed);
        tell::stuck(id, worker.index);
        if on_standard_error {
            eprintln!(
                "greenroutine: worker {} has been running goroutine {id} for 10 ms without a runtime call; \
                 yield_now() in its loop lets others run, task::Builder::dedicated gives it a thread",
                worker.index
            );
        }
    }
}
