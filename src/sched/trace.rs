//! What happens, as small records, while somebody wants to know. `diag::trace` makes text of them.
//!
//! **Cost.** Off: a test of a word that each switch loads anyway (`WorkerShared::flags`). On: one reading of the clock and one record a switch. Nothing is noted when a goroutine is resumed, or made
//! ready by its own worker: a run begins where the last one on that worker ended, and who was made ready during a run is what the worker's queue has more after it.
//!
//! | record | made |
//! | --- | --- |
//! | a run: who, from when to when, why it stopped | after each switch |
//! | a wake-up: whom, by whom | after a run, for those that it has put into the worker's queue; at once, for those of other workers and threads, and for timers |
//! | a worker's pause | when it has found work again |
//! | a stretch of something else: a collection | by who does it ([`stretch`]) |

use std::cell::Cell;
use std::collections::VecDeque;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::core::Core;
use super::stall::runtimes;
use super::worker::{Worker, flag};
use crate::base::lock::{Lock, Rank};
use crate::routine::slot::{DONE, YIELD};
use crate::routine::{Task, TaskRef, slot};
use crate::sys::clock;

/// What a ring holds; the oldest go.
const CAPACITY: usize = 1 << 16;
/// The `worker` of what happened on none.
pub(crate) const OUTSIDE: u16 = u16::MAX;
/// After a run: the goroutine has ended; it has yielded, or was preempted.
pub(crate) const ENDED: u8 = 254;
/// See [`ENDED`].
pub(crate) const YIELDED: u8 = 255;

/// One record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// Nanoseconds.
    pub(crate) at: u64,
    pub(crate) worker: u16,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A goroutine has run since `since`. `then`: the code of its wait, `ENDED` or `YIELDED`.
    Ran { id: u64, since: u64, then: u8, site: &'static std::panic::Location<'static> },
    /// A goroutine was made ready by another; by 0: a timer, or something outside.
    Woke { id: u64, by: u64 },
    /// The worker had nothing to do since then.
    Idle { since: u64 },
    /// Something else took place since then.
    #[cfg_attr(not(feature = "gc"), expect(dead_code, reason = "the collector's phases"))]
    Stretch { name: &'static str, since: u64 },
}

/// The last records of one worker, or of all that is none.
pub(crate) struct Ring {
    events: VecDeque<Event>,
    /// How many were dropped since the ring was last read.
    lost: u64,
}

impl Ring {
    /// Empty.
    pub(super) const fn new() -> Self {
        Self { events: VecDeque::new(), lost: 0 }
    }

    fn push(&mut self, event: Event) {
        if self.events.len() == CAPACITY {
            self.events.pop_front();
            self.lost += 1;
        }
        self.events.push_back(event);
    }
}

static ON: AtomicBool = AtomicBool::new(false);
/// How often it was switched on: what workers remember of the time before is of no use.
static STARTS: AtomicU32 = AtomicU32::new(0);
static ELSEWHERE: Lock<Ring> = Lock::new(Rank::Timers, Ring::new());

/// Whether records are made.
#[inline]
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Begins or ends to make records.
pub(crate) fn set(on: bool) {
    if on {
        STARTS.fetch_add(1, Ordering::SeqCst);
    }
    ON.store(on, Ordering::SeqCst);
    for core in runtimes() {
        core.all_workers().iter().for_each(|worker| flag::set(&worker.flags, flag::TRACE, on));
    }
}

/// Takes what there is, or with `keep` copies it; in the order of time. And how many records were lost.
pub(crate) fn read(keep: bool) -> (Vec<Event>, u64) {
    let mut out = Vec::new();
    let mut lost = 0;
    let mut take = |ring: &Lock<Ring>| {
        let mut ring = ring.lock();
        if keep {
            return out.extend(ring.events.iter());
        }
        lost += std::mem::take(&mut ring.lost);
        let events = std::mem::take(&mut ring.events);
        drop(ring);
        out.extend(events);
    };
    for core in runtimes() {
        core.all_workers().iter().for_each(|worker| take(&worker.trace));
    }
    take(&ELSEWHERE);
    out.sort_by_key(|event| event.at);
    (out, lost)
}

/// The name of a worker and its runtime's, by the number in its records.
pub(crate) fn workers() -> Vec<(u16, String)> {
    let name = |core: &Arc<Core>, index: usize| match index {
        usize::MAX => format!("{} dedicated", core.config.name),
        index => format!("{} worker {index}", core.config.name),
    };
    let of = |core: Arc<Core>| {
        let workers = core.all_workers();
        workers
            .into_iter()
            .map(move |worker| (worker.trace_id, name(&core, worker.index)))
            .collect::<Vec<_>>()
    };
    runtimes().into_iter().flat_map(of).collect()
}

fn elsewhere(at: u64, what: What) {
    ELSEWHERE.lock().push(Event { at, worker: OUTSIDE, what });
}

/// Something that is no goroutine's, such as a collection, has taken place from `since` to `until`.
#[cfg(feature = "gc")]
pub(crate) fn stretch(name: &'static str, since: u64, until: u64) {
    if is_on() {
        elsewhere(until, What::Stretch { name, since });
    }
}

/// A task of another worker or runtime is made ready, by whoever calls.
#[cold]
pub(super) fn woke_elsewhere(task: TaskRef) {
    let id = task.id.load(Ordering::Relaxed);
    let by = slot::current().map_or(0, |slot| slot.task().id.load(Ordering::Relaxed));
    elsewhere(clock::now_ns(), What::Woke { id, by });
}

/// A worker's memory between two records.
pub(super) struct Tracer {
    /// `STARTS`, when the rest was written.
    start: Cell<u32>,
    /// When the present run began, about; 0 before the first record.
    since: Cell<u64>,
    /// What was last in the worker's queue, and what was next, when it was looked at last.
    tail: Cell<*const Task>,
    next: Cell<*const Task>,
    /// The run that has just ended, until what the goroutine has asked for is done.
    run: Cell<Option<Run>>,
}

/// A run that has just ended: read while the goroutine is still the worker's.
pub(super) struct Run {
    id: u64,
    site: &'static std::panic::Location<'static>,
    then: u8,
    task: *const Task,
}

impl Tracer {
    pub(super) fn new() -> Self {
        Self {
            start: Cell::new(0),
            since: Cell::new(0),
            tail: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            run: Cell::new(None),
        }
    }

    /// A run has ended.
    pub(super) fn ran(&self, run: Run) {
        self.run.set(Some(run));
    }
}

impl Run {
    /// `wait`: of what the goroutine asks for, if it is to wait.
    pub(super) fn of(task: TaskRef, command: usize, wait: impl FnOnce() -> u8) -> Self {
        let then = match command {
            DONE => ENDED,
            YIELD => YIELDED,
            _ => wait(),
        };
        Self { id: task.id.load(Ordering::Relaxed), site: task.site.get(), then, task }
    }
}

impl Worker {
    fn note(&self, at: u64, what: What) {
        self.shared.trace.lock().push(Event { at, worker: self.shared.trace_id, what });
    }

    /// A run has ended, and what the goroutine asked for is done.
    #[cold]
    #[inline(never)]
    pub(super) fn note_run(&self) {
        let Some(run) = self.tracer.run.take().filter(|_| is_on()) else { return };
        let now = clock::now_ns();
        if !self.remembers() {
            self.tracer.since.set(now);
            return self.look_at_queue();
        }
        let since = self.tracer.since.replace(now);
        self.note(now, What::Ran { id: run.id, since, then: run.then, site: run.site });
        let woke = |task: TaskRef| {
            if !ptr::eq(task, run.task) {
                self.note(now, What::Woke { id: task.id.load(Ordering::Relaxed), by: run.id });
            }
        };
        // SAFETY: null, or a goroutine that was put there; cells are mapped for ever.
        let next: Option<TaskRef> = unsafe { self.shared.next.load(Ordering::Relaxed).as_ref() };
        if let Some(next) = next.filter(|next| !ptr::eq(*next, self.tracer.next.get())) {
            woke(next);
        }
        // What was last has been taken if it is the one that ran: then all that is there is new.
        let tail = self.tracer.tail.get();
        let known = if ptr::eq(tail, run.task) { ptr::null() } else { tail };
        self.local.for_each_after(known, woke);
        self.look_at_queue();
    }

    /// Whether what the worker remembers is of this recording; from now on it is.
    fn remembers(&self) -> bool {
        let start = STARTS.load(Ordering::SeqCst);
        self.tracer.start.replace(start) == start
    }

    /// What is in the queue now was put there by nobody who runs here.
    pub(super) fn look_at_queue(&self) {
        self.tracer.tail.set(self.local.last());
        self.tracer.next.set(self.shared.next.load(Ordering::Relaxed));
    }

    /// A timer of this worker has ended a wait.
    pub(super) fn note_timer(&self, task: TaskRef) {
        self.note(clock::now_ns(), What::Woke { id: task.id.load(Ordering::Relaxed), by: 0 });
    }

    /// The worker has had nothing to do, and begins something now.
    #[cold]
    pub(super) fn note_idle(&self) {
        let now = clock::now_ns();
        let since = self.tracer.since.replace(now);
        if self.remembers() {
            self.note(now, What::Idle { since });
        }
        self.look_at_queue();
    }
}
