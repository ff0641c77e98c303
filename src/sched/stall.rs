//! Whether all goroutines wait for ever: looked for by the monitor while all workers of a runtime sleep and somebody has called `run`, so it costs nothing while anything goes on.
//!
//! A deadlock is told only if nobody is left who could wake anybody. It may be overlooked; it is never told wrongly. **The rule**, for all runtimes of the process
//! together:
//!
//! 1. Their workers sleep, their queues are empty, no timer is armed, and no thread of a blocking pool has a job.
//! 2. Every goroutine waits for something that only another goroutine or thread can bring: not for a socket, and not for `blocking`.
//! 3. Every other thread of the process either waits in this library, without a deadline, or has waited on a futex (for another thread, not for time or a descriptor) since before the library was
//!    first used, and has not run since (the kernel counts that). So it has called nothing of ours, and was given nothing of ours.
//!
//! A thread of the second kind in 3. may still have a *reference* to a condition variable, a barrier or a wait group that was made before, which is enough to wake somebody; while a goroutine waits for one
//! of these, or for a future's waker, such threads count as possible wakers. For all else it takes a sender, a receiver, a handle or a guard, and those come from calls that take the note
//! ([`note`]): the first of them in the process, while it has nothing in its hands yet, looks who sleeps.
//!
//! All of it is looked at twice, with a pause between; nothing may have changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::core::{Core, WorkerShared, release_ref};
use super::ready::cancel;
use super::worker::state;
use crate::base::lock::{Lock, Rank};
use crate::base::meta;
use crate::routine::{Kind, Task, TaskRef, Wait};
use crate::sys::tasks::{self, Thread};
use crate::sys::{clock, futex};

/// With more threads than this nobody looks at them: they count as possible wakers.
const MOST_THREADS: usize = 256;
/// Between the two looks.
const BETWEEN_NS: u64 = 10_000_000;
/// Between two looks while somebody outside may still wake somebody: from, to.
const PAUSE_NS: (u64, u64) = (20_000_000, 10_000_000_000);

/// The runtimes of the process.
static RUNTIMES: Lock<Vec<Weak<Core>>> = Lock::new(Rank::Runtime, Vec::new());
/// Threads that the runtimes have started.
static OURS: Lock<Vec<u32>> = Lock::new(Rank::Runtime, Vec::new());

/// Whether the note was taken.
static NOTED: AtomicBool = AtomicBool::new(false);
/// The threads that slept when the library was first used.
static SLEPT: OnceLock<Vec<Thread>> = OnceLock::new();

/// Whatever may put a sender, a receiver, a handle or a guard into the hands of a thread calls this before.
#[inline(always)]
pub(crate) fn note() {
    if !NOTED.load(Ordering::Relaxed) {
        take_note();
    }
}

#[cold]
#[inline(never)]
fn take_note() {
    SLEPT.get_or_init(|| {
        let me = tasks::current();
        // A thread that has started this one is often still on its way to sleep. Waiting for it a little is waiting before anything of ours exists.
        let nobody = std::sync::atomic::AtomicU32::new(0);
        for _ in 0..20 {
            let Some(threads) = tasks::all(MOST_THREADS) else { return Vec::new() };
            if threads.iter().all(|thread| thread.sleeps || thread.id == me) {
                return threads.into_iter().filter(|thread| thread.id != me).collect();
            }
            futex::wait(&nobody, 0, clock::now_ns() + 100_000);
        }
        let threads = tasks::all(MOST_THREADS).unwrap_or_default();
        threads.into_iter().filter(|thread| thread.sleeps && thread.id != me).collect()
    });
    NOTED.store(true, Ordering::Relaxed);
}

/// The calling thread is a runtime's or the collector's, until the value is dropped.
pub(crate) struct Ours(u32);

impl Ours {
    /// From now on.
    pub(crate) fn new() -> Self {
        let id = tasks::current();
        OURS.lock().push(id);
        Self(id)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        OURS.lock().retain(|id| *id != self.0);
    }
}

/// A runtime has started.
pub(super) fn add(core: &Arc<Core>) {
    let mut runtimes = RUNTIMES.lock();
    runtimes.retain(|runtime| runtime.strong_count() > 0);
    runtimes.push(Arc::downgrade(core));
}

/// The runtimes of the process that have not ended.
pub(crate) fn runtimes() -> Vec<Arc<Core>> {
    RUNTIMES.lock().iter().filter_map(Weak::upgrade).collect()
}

/// What was found at a look.
enum Found {
    /// Somebody of this runtime can go on, or will without being woken by a goroutine.
    Awake,
    /// Somebody else can.
    Others,
    /// Nobody can. All that would have changed if anybody had run.
    Nobody(Signature),
}

#[derive(PartialEq, Eq)]
struct Signature {
    ticks: Vec<u64>,
    threads: Vec<Thread>,
}

/// The monitor's memory between two looks.
pub(super) struct Watch {
    /// When to look next.
    pub(super) next: u64,
    pause: u64,
    seen: Option<Signature>,
}

impl Watch {
    /// The runtime has just gone to sleep.
    pub(super) fn new(core: &Core) -> Self {
        let next = if core.has_mains() { clock::now_ns() + PAUSE_NS.0 } else { u64::MAX };
        Self { next, pause: PAUSE_NS.0, seen: None }
    }

    /// Looks. If it is a deadlock, those who called `run` are told.
    pub(super) fn look(&mut self, core: &Arc<Core>) {
        let now = clock::now_ns();
        match survey(core) {
            // Whatever changes that wakes a worker, and it the monitor.
            Found::Awake => self.next = u64::MAX,
            Found::Others => {
                self.seen = None;
                self.next = now + self.pause;
                self.pause = (2 * self.pause).min(PAUSE_NS.1);
            }
            Found::Nobody(signature) if self.seen.as_ref() == Some(&signature) => {
                core.tell_mains();
                self.next = u64::MAX;
            }
            Found::Nobody(signature) => {
                self.seen = Some(signature);
                self.next = now + BETWEEN_NS;
            }
        }
    }
}

/// What those who wait can be woken by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    /// Who holds a sender, a receiver, a handle or a guard.
    Holder,
    /// Anybody with a reference.
    Anybody,
    /// The kernel.
    Kernel,
}

fn woken_by(wait: u8) -> By {
    const HOLDER: [Wait; 10] = [
        Wait::Park,
        Wait::Scope,
        Wait::Join,
        Wait::ChanReceive,
        Wait::ChanSend,
        Wait::Select,
        Wait::MutexLock,
        Wait::RwLockRead,
        Wait::RwLockWrite,
        Wait::Semaphore,
    ];
    const ANYBODY: [Wait; 6] =
        [Wait::Condvar, Wait::WaitGroup, Wait::Once, Wait::Barrier, Wait::SingleFlight, Wait::Await];
    let is = |wait_of: &Wait| *wait_of as u8 == wait;
    if HOLDER.iter().any(is) {
        By::Holder
    } else if ANYBODY.iter().any(is) {
        By::Anybody
    } else {
        By::Kernel
    }
}

fn survey(core: &Arc<Core>) -> Found {
    let mut ticks = Vec::new();
    let mut by = match core.look_for_wakers(&mut ticks) {
        Some(by) => by,
        None => return Found::Awake,
    };
    for other in runtimes().iter().filter(|other| !Arc::ptr_eq(other, core)) {
        match other.look_for_wakers(&mut ticks) {
            Some(also) => by = by.max(also),
            None => return Found::Others,
        }
    }
    let Some(threads) = tasks::all(MOST_THREADS) else { return Found::Others };
    let mut harmless = OURS.lock().clone();
    harmless.extend(waiting_threads());
    let slept = SLEPT.get().map_or(&[][..], Vec::as_slice);
    let outside: Vec<_> = threads.into_iter().filter(|thread| !harmless.contains(&thread.id)).collect();
    let may_sleep = by == By::Holder;
    if outside.iter().any(|thread| !(may_sleep && slept.contains(thread))) {
        return Found::Others;
    }
    Found::Nobody(Signature { ticks, threads: outside })
}

/// The plain threads that wait in this library for as long as it takes.
fn waiting_threads() -> Vec<u32> {
    let mut out = Vec::new();
    meta::for_each_block(|block, _| {
        let task = Task::from_block(block);
        if !task.life.try_ref() {
            return;
        }
        // `bound`: the wait has a deadline.
        if task.kind.get() == Kind::Thread
            && task.wake.waiting().is_some()
            && !task.bound.load(Ordering::Relaxed)
        {
            out.push(task.id.load(Ordering::Relaxed) as u32);
        }
        release_ref(task);
    });
    out
}

fn is_at_rest(worker: &WorkerShared) -> bool {
    worker.state.load(Ordering::SeqCst) & !state::POLLING == state::SLEEPING
        && worker.inbox.is_empty()
        && worker.fresh.is_empty()
        && worker.next.load(Ordering::SeqCst).is_null()
        && worker.timers.next_deadline() == u64::MAX
}

impl Core {
    /// What the goroutines of this runtime can be woken by; `None` if one can go on by itself. Adds how often its workers have run.
    fn look_for_wakers(&self, ticks: &mut Vec<u64>) -> Option<By> {
        if self.seeded.is_some()
            || !self.injector.is_empty()
            || self.foreign.load(Ordering::SeqCst) != 0
            || self.pool.is_busy()
        {
            return None;
        }
        let workers = self.all_workers();
        if !workers.iter().all(|worker| is_at_rest(worker)) {
            return None;
        }
        ticks.extend(workers.iter().map(|worker| worker.tick.load(Ordering::SeqCst)));
        let mut by = Some(By::Holder);
        self.for_each_goroutine(|task| {
            let woken = task.wake.waiting().map(woken_by).filter(|by| *by != By::Kernel);
            by = by.zip(woken).map(|(by, woken)| by.max(woken));
        });
        by
    }

    /// Notes that somebody waits for `main` in `run`.
    pub(crate) fn add_main(&self, main: TaskRef) {
        main.life.add_ref();
        self.mains.lock().push(main);
    }

    /// `main` has ended.
    pub(crate) fn remove_main(&self, main: TaskRef) {
        let mut mains = self.mains.lock();
        mains.retain(|other| !std::ptr::eq(*other, main));
        if mains.is_empty() && self.seeded.is_none() {
            self.clear_deadlock();
        }
        drop(mains);
        release_ref(main);
    }

    fn has_mains(&self) -> bool {
        !self.mains.lock().is_empty()
    }

    /// All goroutines wait for ever: ends the main ones, so that their callers panic with the report.
    fn tell_mains(&self) {
        let mains: Vec<_> = {
            let mains = self.mains.lock();
            mains.iter().inspect(|main| main.life.add_ref()).copied().collect()
        };
        self.set_deadlock(format!("all goroutines are asleep - deadlock!\n\n{}", crate::describe(self)));
        for main in mains {
            cancel(main);
            release_ref(main);
        }
    }
}
