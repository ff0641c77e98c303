//! [`Core`]: what the workers of one runtime share, and how a runtime starts and ends.
//!
//! It lives in an `Arc`. Goroutines and workers hold plain pointers to it: a goroutine keeps its runtime from ending, and wakers
//! from outside are counted in `foreign` while they touch it.

use std::io;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
use std::sync::{Arc, OnceLock};

use crossbeam_deque::Injector;

use super::ages::Ages;
use super::biased::Biased;
use super::blocking::Pool;
use super::config::Config;
use super::idle::{CAPACITY, Idle};
use super::inbox::Inbox;
use super::monitor::Monitor;
use super::poller::Poller;
use super::seeded::Seeded;
use super::stall;
use super::timers::TimerQueue;
use super::trace::Ring;
use super::worker::{self, Role};
use crate::base::histogram::Histogram;
use crate::base::lock::{Lock, Rank};
use crate::base::{CachePadded, fence as fences, meta};
use crate::routine::cell::CANCELLED;
use crate::routine::{Kind, SlotRef, Task, TaskRef, body, cell, slot};
use crate::stack::{self, arena, geometry};
use crate::sys::mem::GuardMode;
use crate::sys::{clock, futex};
use crate::world::blocked;

/// A cell's address inverted, and back: a search for goroutines that nobody reaches (`gc::leaks`) must not find it where it is left over.
#[inline(always)]
fn inverted(task: *const Task) -> *const Task {
    task.map_addr(|address| !address)
}

/// Who runs on a worker. The address is kept inverted, because it outlives the run.
pub(crate) struct Running(AtomicPtr<Task>);

impl Running {
    pub(super) fn none() -> Self {
        Self(AtomicPtr::new(inverted(std::ptr::null()).cast_mut()))
    }

    #[inline(always)]
    pub(super) fn set(&self, task: TaskRef) {
        self.0.store(inverted(task).cast_mut(), Ordering::Relaxed);
    }

    /// The cell, which may serve another goroutine by now; null if nobody has run.
    pub(crate) fn get(&self) -> *const Task {
        inverted(self.0.load(Ordering::Relaxed))
    }
}

/// The part of a worker that others may touch. Counters are written by the owner alone, with plain stores.
pub(crate) struct WorkerShared {
    /// Position in the table and in the idle mask; [`usize::MAX`] for a dedicated thread, which is in neither.
    pub(crate) index: usize,
    pub(crate) role: Role,
    /// Set once the worker is in its table: the thread waits for that, because it looks itself up there.
    pub(crate) listed: AtomicBool,
    /// `worker::state`: the futex that the worker sleeps on.
    pub(crate) state: AtomicU32,
    /// Twice the number of goroutine runs, plus one while one is on: what the monitor watches.
    pub(crate) tick: CachePadded<AtomicU64>,
    /// `worker::flag`: what each switch and each runtime call has to look for.
    pub(crate) flags: AtomicU32,
    /// What happened here lately (`trace`), under which number.
    pub(super) trace: Lock<Ring>,
    pub(super) trace_id: u16,
    /// Set by the monitor while the worker has not switched for 10 ms, or for 1 ms beside an overdue timer: others serve its timers and, in free mode, its `next`.
    pub(crate) stuck: AtomicBool,
    pub(crate) inbox: CachePadded<Inbox<Task>>,
    /// Goroutines that have not started, in free mode started ones too: the worker's first, then any thief's.
    pub(crate) fresh: CachePadded<Biased<Task>>,
    pub(crate) timers: TimerQueue,
    /// Made when a goroutine on it first waits for a descriptor; then it sleeps there.
    pub(super) poller: OnceLock<Arc<Poller>>,
    /// The goroutine to run next: the owner's in home mode, anybody's to take in free mode while the owner is stuck.
    pub(crate) next: AtomicPtr<Task>,
    /// The goroutine that runs now, or ran last, for dumps and for the report of a stuck worker.
    pub(crate) running: Running,
    /// The kernel's number of its thread; 0 before that runs.
    pub(crate) tid: AtomicI32,
    pub(crate) counters: CachePadded<Counters>,
    /// When it was last woken from its sleep; 0 once it has seen that.
    pub(super) woken_at: AtomicU64,
    pub(crate) latencies: Box<Latencies>,
}

/// How long things took, of one worker.
pub(crate) struct Latencies {
    /// From a wake-up of the sleeping thread until it ran.
    pub(crate) wake: Histogram,
    /// Of goroutines in the queue, about (`Worker::sample_queue`).
    pub(crate) queue: Histogram,
    /// From a timer's time until it was fired.
    pub(crate) timer: Histogram,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self { wake: Histogram::new(), queue: Histogram::new(), timer: Histogram::new() }
    }
}

/// A goroutine in the injector, which owns the right to run it. Inverted, because the injector keeps what was taken out of it for a while.
pub(crate) struct Runnable(*const Task);

// SAFETY: whoever takes it out of the injector is the only one to run the goroutine, and the injector orders the hand-over. That what lies on a
// started goroutine's stack may change threads is what `free_migration` asks of the user; unstarted ones hold a closure that is Send.
unsafe impl Send for Runnable {}

impl Runnable {
    pub(super) fn new(task: TaskRef) -> Self {
        Self(inverted(task))
    }

    pub(super) fn task(&self) -> TaskRef {
        // SAFETY: a cell, which is mapped for ever, inverted twice.
        unsafe { &*inverted(self.0) }
    }
}

/// Written by the owner with load and store, read by anybody.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) spawned: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) parks: AtomicU64,
    pub(crate) steals: AtomicU64,
    pub(crate) wakes_sent: AtomicU64,
    pub(crate) sleeps: AtomicU64,
    pub(crate) preemptions: AtomicU64,
}

/// Adds one to a counter that only the caller writes.
#[inline(always)]
pub(crate) fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// See the file's documentation.
pub(crate) struct Core {
    pub(crate) config: Config,
    /// Stride class of the default stacks.
    pub(crate) stack_class: usize,
    pub(crate) guard_mode: GuardMode,
    /// How many spawns of a worker go by between two looks whether stacks are left (`stack::arena`).
    pub(crate) spawns_per_check: u32,
    /// Workers and spares in the order they were started; the first `config.workers` are the regular ones.
    table: Box<[OnceLock<Arc<WorkerShared>>]>,
    workers: AtomicUsize,
    /// Workers of dedicated goroutines that have not ended.
    dedicated: Lock<Vec<Arc<WorkerShared>>>,
    pub(crate) injector: Injector<Runnable>,
    pub(crate) idle: Idle,
    /// Wakers from outside that are touching this `Core`.
    pub(crate) foreign: CachePadded<AtomicUsize>,
    /// Goroutines spawned from plain threads and other runtimes.
    pub(crate) foreign_spawned: AtomicU64,
    /// No more spawns.
    pub(crate) closing: AtomicBool,
    /// Workers end when they find nothing to do.
    pub(crate) stop: AtomicBool,
    /// Bumped whenever, while closing, a worker finds that no goroutine is left.
    all_ended: AtomicU32,
    pub(crate) monitor: Monitor,
    pub(crate) pool: Pool,
    /// Of a runtime whose one worker makes all choices from a seed.
    pub(crate) seeded: Option<Box<Seeded>>,
    pub(crate) ages: Ages,
    /// The goroutines that somebody waits for in `run`.
    pub(super) mains: Lock<Vec<TaskRef>>,
    /// All goroutines wait for ever: the report of it, for `run`.
    deadlock: Lock<Option<String>>,
    threads: Lock<Vec<std::thread::JoinHandle<()>>>,
}

impl Core {
    /// Starts a runtime: the arena, the handler, the workers, the monitor.
    pub(crate) fn start(config: Config) -> io::Result<Arc<Self>> {
        stall::note();
        boot()?;
        let guard_mode = arena::boot()?;
        let stack_class = geometry::class_for(config.stack_max);
        let core = Arc::new(Self {
            stack_class,
            guard_mode,
            spawns_per_check: arena::spawns_per_check(stack_class),
            table: (0..CAPACITY).map(|_| OnceLock::new()).collect(),
            workers: AtomicUsize::new(0),
            dedicated: Lock::new(Rank::Runtime, Vec::new()),
            injector: Injector::new(),
            idle: Idle::new(),
            foreign: CachePadded::new(AtomicUsize::new(0)),
            foreign_spawned: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            all_ended: AtomicU32::new(0),
            monitor: Monitor::new(),
            pool: Pool::new(config.blocking_threads),
            threads: Lock::new(Rank::Runtime, Vec::new()),
            ages: Ages::new(),
            mains: Lock::new(Rank::Api, Vec::new()),
            deadlock: Lock::new(Rank::Runtime, None),
            seeded: config.seeded.map(|logs| Box::new(Seeded::new(config.seed, logs))),
            config,
        });
        let started = (0..core.config.workers)
            .try_for_each(|_| core.start_worker(Role::Regular).map(|_| ()))
            // A seeded run has no time for a monitor to see.
            .and_then(|()| core.seeded.is_none().then(|| Monitor::start(&core)).transpose());
        match started {
            Ok(thread) => {
                core.threads.lock().extend(thread);
                stall::add(&core);
                if core.config.dump_on_quit
                    && let Err(error) = super::quit::start()
                {
                    core.end();
                    return Err(error);
                }
                Ok(core)
            }
            Err(error) => {
                core.end();
                Err(error)
            }
        }
    }

    /// Starts one more worker of the table.
    pub(crate) fn start_worker(self: &Arc<Self>, role: Role) -> io::Result<Arc<WorkerShared>> {
        let index = match role {
            Role::Dedicated => usize::MAX,
            // Started by `start` and by the monitor, one at a time.
            Role::Regular | Role::Spare => self.workers.load(Ordering::Relaxed),
        };
        if role != Role::Dedicated && index == CAPACITY {
            return Err(io::Error::other(format!(
                "a runtime has at most {CAPACITY} workers, spares included"
            )));
        }
        let (shared, thread) = worker::start(self, index, role)?;
        if role == Role::Dedicated {
            self.dedicated.lock().push(shared.clone());
        } else {
            let _ = self.table[index].set(shared.clone());
            // Release: who reads the count finds the entry.
            self.workers.store(index + 1, Ordering::Release);
        }
        shared.listed.store(true, Ordering::Release);
        thread.thread().unpark();
        self.threads.lock().push(thread);
        Ok(shared)
    }

    /// The workers of the table: regular ones, then spares.
    pub(crate) fn workers(&self) -> impl ExactSizeIterator<Item = &Arc<WorkerShared>> {
        let count = self.workers.load(Ordering::Acquire);
        self.table[..count].iter().map(|entry| entry.get().expect("set before the count"))
    }

    /// All workers, dedicated ones too.
    pub(crate) fn all_workers(&self) -> Vec<Arc<WorkerShared>> {
        self.workers().chain(self.dedicated.lock().iter()).cloned().collect()
    }

    /// A worker of the table.
    pub(crate) fn worker(&self, index: usize) -> &Arc<WorkerShared> {
        self.table[index].get().expect("an index of the idle mask is in the table")
    }

    /// A dedicated worker has ended.
    pub(crate) fn forget_dedicated(&self, shared: &WorkerShared) {
        // Its counts stay part of the sums.
        let counters = &shared.counters;
        let (spawned, finished) =
            (counters.spawned.load(Ordering::Relaxed), counters.finished.load(Ordering::Relaxed));
        let mut dedicated = self.dedicated.lock();
        dedicated.retain(|other| !std::ptr::eq(&**other, shared));
        self.foreign_spawned.fetch_add(spawned.wrapping_sub(finished), Ordering::SeqCst);
    }

    /// Goroutines that have not ended. Exact when nothing is being spawned.
    pub(crate) fn live(&self) -> u64 {
        // Held throughout: a dedicated worker that ends moves its counts under it.
        let dedicated = self.dedicated.lock();
        let all = || self.workers().chain(dedicated.iter());
        // `finished` first: the difference can only be too large.
        let finished =
            all().map(|w| w.counters.finished.load(Ordering::SeqCst)).fold(0_u64, u64::wrapping_add);
        let spawned = all().map(|w| w.counters.spawned.load(Ordering::SeqCst)).fold(0_u64, u64::wrapping_add);
        spawned.wrapping_add(self.foreign_spawned.load(Ordering::SeqCst)).wrapping_sub(finished)
    }

    /// A worker counted a goroutine as finished. While closing, the last one wakes whoever waits for that.
    ///
    /// `finished` was stored, this loads `closing`; the closer stores `closing`, executes a heavy fence and reads the counts: one of
    /// the two sees the other. Among the workers the SeqCst fence makes the last to store see all stores.
    #[inline(always)]
    pub(crate) fn after_finish(&self) {
        fences::light();
        if self.closing.load(Ordering::Relaxed) {
            self.after_finish_closing();
        }
    }

    #[cold]
    fn after_finish_closing(&self) {
        fence(Ordering::SeqCst);
        if self.live() == 0 {
            self.all_ended.fetch_add(1, Ordering::SeqCst);
            futex::wake(&self.all_ended, i32::MAX);
        }
    }

    /// Cancels all goroutines and waits until `deadline` for them to end. True if they all did.
    pub(crate) fn close(&self, deadline: u64) -> bool {
        self.closing.store(true, Ordering::SeqCst);
        fences::heavy();
        self.cancel_all();
        if let Some(seeded) = &self.seeded {
            seeded.closed();
        }
        loop {
            let seen = self.all_ended.load(Ordering::SeqCst);
            if self.live() == 0 {
                return true;
            }
            if !blocked::wait(&self.all_ended, seen, deadline) {
                return self.live() == 0;
            }
        }
    }

    pub(super) fn cancel_all(&self) {
        let mut found = Vec::new();
        self.for_each_goroutine(|task| {
            task.cancel.fetch_or(CANCELLED, Ordering::SeqCst);
            task.life.add_ref();
            found.push(task);
        });
        // One fence for all of them; see `cancel`.
        fences::heavy();
        for task in found {
            super::ready::wake_cancelled(task);
            release_ref(task);
        }
    }

    /// Notes that all goroutines wait for ever, for those who called `run`.
    pub(super) fn set_deadlock(&self, report: String) {
        *self.deadlock.lock() = Some(report);
    }

    /// All who were to hear of the deadlock have.
    pub(super) fn clear_deadlock(&self) {
        *self.deadlock.lock() = None;
    }

    /// The report of a deadlock, if there was one.
    pub(crate) fn deadlock(&self) -> Option<String> {
        self.deadlock.lock().clone()
    }

    /// A run of `count` fresh ids.
    pub(super) fn fresh_ids(&self, count: u64) -> u64 {
        match &self.seeded {
            None => cell::fresh_ids(count),
            Some(seeded) => seeded.fresh_ids(count),
        }
    }

    /// Visits the goroutines of this runtime that have not ended. Each is referenced during the visit.
    pub(crate) fn for_each_goroutine(&self, mut visit: impl FnMut(TaskRef)) {
        meta::for_each_block(|block, _| {
            let task = Task::from_block(block);
            if !task.life.try_ref() {
                return;
            }
            let ours = task.runtime.load(Ordering::Relaxed).cast_const().cast::<Core>();
            if task.kind.get() == Kind::Goroutine && std::ptr::eq(ours, self) {
                visit(task);
            }
            release_ref(task);
        });
    }

    /// Ends the threads. All goroutines have ended.
    pub(crate) fn end(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.stop.store(true, Ordering::SeqCst);
        // A waker from outside may still be between its push and its wake.
        while self.foreign.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        for worker in self.workers() {
            worker::notify(worker);
        }
        self.monitor.notify();
        self.pool.end();
        loop {
            let Some(thread) = self.threads.lock().pop() else { break };
            // The last goroutine of a runtime may drop it: its own thread cannot join itself, and ends by itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                crate::base::fatal!("greenroutine: fatal: a thread of the runtime panicked\n");
            }
        }
    }

    /// Takes the handles of threads that have ended, so that dedicated goroutines do not pile them up.
    pub(crate) fn reap_threads(&self) {
        self.threads.lock().retain(|thread| !thread.is_finished());
    }
}

/// Drops a reference of a cell, from wherever.
pub(crate) fn release_ref(task: TaskRef) {
    if task.life.drop_refs(1) {
        free_cell(task);
    }
}

/// Frees a cell that nobody holds any more.
pub(crate) fn free_cell(task: TaskRef) {
    if task.kind.get() == Kind::Thread {
        return super::thread::free_cell(task);
    }
    free_goroutine(slot::current(), task);
}

/// `free_cell` of a goroutine's cell, for a caller that knows its own slot.
#[inline(always)]
pub(crate) fn free_goroutine(slot: Option<SlotRef>, task: TaskRef) {
    body::end_cell(task);
    match slot {
        // SAFETY: written by the worker that runs this goroutine, and valid until it suspends.
        Some(slot) => unsafe { worker::of_slot(slot) }.cells.give(task.block(), task.class.get() as usize),
        None => meta::give_one(task.block(), task.class.get() as usize),
    }
}

/// What the process needs once: page size, fences, the fault handler.
fn boot() -> io::Result<()> {
    static BOOT: OnceLock<Result<(), String>> = OnceLock::new();
    BOOT.get_or_init(|| {
        crate::sys::mem::check_page_size().map_err(|size| {
            format!("pages of {size} bytes: greenroutine is built for {}", crate::sys::mem::PAGE)
        })?;
        fences::init();
        stack::fault::install(slot::describe).map_err(|error| error.to_string())
    })
    .clone()
    .map_err(io::Error::other)
}

/// `timeout` from now, for `close`.
pub(crate) fn deadline(timeout: std::time::Duration) -> u64 {
    clock::deadline_after(timeout)
}
