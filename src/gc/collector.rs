//! When to collect, and the thread that does: the knobs, the requests, the pace.
//!
//! The thread starts with the first slow path of an allocation, so a program that makes no [`Gc`](super::Gc) has none. It sleeps until it is asked: by an allocation, when as much has been
//! allocated since the last cycle as [`set_percent`] allows, or by [`collect`].
//!
//! **Pace.** After a cycle with `live` bytes of objects alive and `roots` bytes read to find them, the next one begins when `(live + roots) * percent / 100` bytes have been allocated, and not before
//! 16 MiB times the same, less what was allocated while the last one ran: Go's rule (runtime/mgcpacer.go), with ordinary Rust memory that has to be read counted among the roots.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use super::concurrent::{self, Barrier, Failure};
use super::config::{Choice, Config};
use super::cycle::{self, Outcome, Workspace};
use super::stats::{Backend, Pauses, Stats};
use super::throttle;
use crate::heap::central;
use crate::heap::frozen;
use crate::heap::{self, InCharge};
use crate::sched::stall::Ours;
use crate::sync::{Condvar, Mutex};
use crate::sys::{clock, futex};
use crate::world;
use crate::world::stop::{self, StopError};

/// The least that is allocated between two cycles at 100 percent. Go has 4 MiB; a heap that small is marked in less time than a cycle's two stops and its arming take.
const LEAST: usize = 16 << 20;
/// Anything that means never.
const NEVER: usize = usize::MAX;

/// Not 0 if the thread has something to do; it sleeps on this.
static WANTED: AtomicU32 = AtomicU32::new(0);
/// A cycle begins when this many bytes were handed out since the start of the process.
static NEXT: AtomicUsize = AtomicUsize::new(LEAST);
/// Whether a cycle is under way, and what may be handed out before allocation waits for its end.
static IS_RUNNING: AtomicBool = AtomicBool::new(false);
static MOST: AtomicUsize = AtomicUsize::new(NEVER);
/// How long allocation was slowed down, in nanoseconds.
static DELAYED_NS: AtomicU64 = AtomicU64::new(0);
/// Guards that forbid cycles.
static PAUSED: AtomicUsize = AtomicUsize::new(0);
/// Whether there is a thread.
static IS_STARTED: AtomicBool = AtomicBool::new(false);

/// What those who ask and the thread tell each other.
struct State {
    /// Cycles that have begun, and those that have ended, sweep included.
    begun: u64,
    ended: u64,
    /// A cycle of at least this number is wanted.
    wanted: u64,
    percent: Option<u32>,
    limit: Option<usize>,
    backend: Backend,
    why: String,
    last: Outcome,
    /// Bytes handed out when the last cycle ended, and while it ran.
    handed_out: usize,
    during: usize,
    pauses: Option<Pauses>,
    mark_time: Duration,
    assist_time: Duration,
    sweep_time: Duration,
}

static STATE: Mutex<State> = Mutex::new(State {
    begun: 0,
    ended: 0,
    wanted: 0,
    percent: Some(100),
    limit: None,
    backend: Backend::Off,
    why: String::new(),
    last: Outcome {
        marked: super::mark::Marked { objects: 0, bytes: 0, scanned: 0, stacks: 0 },
        swept: central::Swept { live: 0, live_bytes: 0, freed: 0, spans: 0 },
        roots: 0,
        in_use: 0,
        pauses: Vec::new(),
        mark_time: Duration::ZERO,
        sweep_time: Duration::ZERO,
        broken: None,
    },
    handed_out: 0,
    during: 0,
    pauses: None,
    mark_time: Duration::ZERO,
    assist_time: Duration::ZERO,
    sweep_time: Duration::ZERO,
});
/// A cycle has ended.
static ENDED: Condvar = Condvar::new();

/// The environment's settings.
fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| Config::read().unwrap_or_else(|error| panic!("{error}")))
}

/// After an allocation's slow path.
#[cold]
pub(super) fn after_slow_path() {
    if !IS_STARTED.load(Ordering::Acquire) {
        start();
    }
    let delayed = throttle::pass();
    if delayed > 0 {
        DELAYED_NS.fetch_add(delayed, Ordering::Relaxed);
    }
    let handed_out = central::handed_out();
    if handed_out >= NEXT.load(Ordering::Relaxed) && WANTED.load(Ordering::Relaxed) == 0 {
        request();
    }
    if handed_out >= MOST.load(Ordering::Relaxed) && IS_RUNNING.load(Ordering::SeqCst) {
        wait_for_the_cycle();
    }
}

/// The program allocates faster than the collector marks: it waits until that is done.
#[cold]
#[inline(never)]
fn wait_for_the_cycle() {
    let start = clock::now_ns();
    let mut state = STATE.lock();
    let number = state.begun;
    while state.ended < number && IS_RUNNING.load(Ordering::SeqCst) {
        ENDED.wait(&mut state);
    }
    state.assist_time += Duration::from_nanos(clock::now_ns().saturating_sub(start));
}

/// Wakes the thread.
fn request() {
    if WANTED.swap(1, Ordering::AcqRel) == 0 {
        futex::wake(&WANTED, 1);
    }
}

/// Starts the thread, once.
fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        let config = config();
        let (backend, why, barrier) = choose(config);
        {
            let mut state = STATE.lock();
            (state.percent, state.limit) = (config.percent, config.limit);
            (state.backend, state.why) = (backend, why);
            if config.poison {
                central::poison_freed();
            }
            state.pauses = Some(Pauses::new());
            state.set_next();
        }
        if backend != Backend::Off {
            let thread = std::thread::Builder::new()
                .name(String::from("greenroutine-gc"))
                .spawn(move || serve(barrier));
            if let Err(error) = thread {
                let mut state = STATE.lock();
                state.backend = Backend::Off;
                state.why = format!("the collector's thread could not be started: {error}");
                eprintln!("greenroutine: gc: nothing is collected: {}", state.why);
            }
        }
        IS_STARTED.store(true, Ordering::Release);
    });
}

/// Which way is used, and why not a better one.
fn choose(config: &Config) -> (Backend, String, Option<Barrier>) {
    let off = |why| (Backend::Off, why, None);
    if !matches!(heap::in_charge(), InCharge::Heap { .. }) {
        return off(String::from("the heap is not the process's allocator"));
    }
    if config.choice == Choice::Off {
        return off(String::from("GREENROUTINE_GC says backend=off"));
    }
    if let Err(error) = stop::prepare() {
        return off(format!("threads cannot be stopped: {error}"));
    }
    if config.choice == Choice::Stw {
        return (Backend::Stw, String::from("GREENROUTINE_GC says backend=stw"), None);
    }
    match Barrier::new() {
        Ok(barrier) => (Backend::Uffd, String::from("the kernel tells what was written"), Some(barrier)),
        Err(error) if config.choice == Choice::Uffd => {
            off(format!("GREENROUTINE_GC says backend=uffd, and it does not work here: {error}"))
        }
        Err(error) => (
            Backend::Stw,
            format!("the kernel does not tell what was written (userfaultfd, Linux 6.7 or later): {error}"),
            None,
        ),
    }
}

/// Whether objects may be allocated as memory that is never freed, because nothing is collected in this build anyway.
pub(super) fn may_leak() -> bool {
    cfg!(any(miri, heap_aside)) || crate::arch::is_under_valgrind()
}

/// The collector's thread.
fn serve(mut barrier: Option<Barrier>) {
    if !world::exempt() {
        return eprintln!("greenroutine: gc: no memory for the collector: nothing is collected");
    }
    let mut space = Workspace::new();
    loop {
        {
            // While it sleeps it wakes nobody; who waits in `collect` has woken it.
            let _ours = Ours::new();
            while WANTED.load(Ordering::Acquire) == 0 {
                futex::wait(&WANTED, 0, u64::MAX);
            }
        }
        WANTED.store(0, Ordering::Release);
        if PAUSED.load(Ordering::SeqCst) == 0 {
            one_cycle(&mut barrier, &mut space);
        }
    }
}

/// Marks, the best way there is.
fn mark(barrier: &mut Option<Barrier>, space: &mut Workspace) -> Result<Outcome, StopError> {
    let Some(working) = barrier else { return cycle::stop_the_world(space) };
    let (outcome, broken) = match concurrent::beside_the_program(working, space) {
        Ok(mut outcome) => {
            let broken = outcome.broken.take();
            (Ok(outcome), broken)
        }
        Err(Failure::Stop(error)) => (Err(error), None),
        Err(Failure::Watch(error)) => (cycle::stop_the_world(space), Some(error.to_string())),
    };
    if let Some(error) = broken {
        // From now on without it.
        *barrier = None;
        let mut state = STATE.lock();
        state.backend = Backend::Stw;
        state.why = format!("the kernel no longer tells what was written: {error}");
        eprintln!("greenroutine: gc: {}", state.why);
    }
    outcome
}

fn one_cycle(barrier: &mut Option<Barrier>, space: &mut Workspace) {
    let number = {
        let mut state = STATE.lock();
        let is_due = central::handed_out() >= NEXT.load(Ordering::Relaxed);
        if !is_due && state.wanted <= state.begun {
            return;
        }
        state.begun += 1;
        state.begun
    };
    IS_RUNNING.store(true, Ordering::SeqCst);
    let before = central::handed_out();
    let result = mark(barrier, space).map(|mut outcome| {
        cycle::sweep(&mut outcome);
        outcome
    });
    IS_RUNNING.store(false, Ordering::SeqCst);
    let mut state = STATE.lock();
    state.during = central::handed_out() - before;
    match result {
        Ok(outcome) => state.take_in(outcome, number),
        Err(error) => {
            // Tried again when as much has been allocated once more.
            eprintln!("greenroutine: gc: cycle {number} was given up: {error}");
            state.handed_out = central::handed_out();
            state.set_next();
        }
    }
    state.ended = number;
    let is_wanted = state.wanted > state.begun;
    drop(state);
    ENDED.notify_all();
    if is_wanted {
        request();
    }
}

impl State {
    fn take_in(&mut self, outcome: Outcome, number: u64) {
        if let Some(pauses) = &mut self.pauses {
            outcome.pauses.iter().for_each(|pause| pauses.add(*pause));
        }
        self.mark_time += outcome.mark_time;
        self.sweep_time += outcome.sweep_time;
        self.handed_out = central::handed_out();
        self.last = outcome;
        self.set_next();
        if config().trace {
            self.trace(number);
        }
    }

    /// Says when the next cycle begins.
    fn set_next(&mut self) {
        let mut budget = NEVER;
        let next = match self.percent.filter(|_| self.backend != Backend::Off) {
            None => NEVER,
            Some(percent) => {
                let share =
                    |bytes: usize| (bytes as u128 * u128::from(percent) / 100).min(NEVER as u128) as usize;
                budget = share(self.last.marked.bytes + self.last.roots).max(share(LEAST));
                // Early enough to be through when the budget is used up, if the program goes on as it did during the last one; but not at once.
                self.handed_out.saturating_add(budget.saturating_sub(self.during).max(budget / 2))
            }
        };
        let next = match self.limit {
            // What is left below the limit, if that is less.
            Some(limit) => next
                .min(self.handed_out.saturating_add(limit.saturating_sub(self.last.in_use).max(LEAST / 4))),
            None => next,
        };
        if next != NEVER {
            frozen::keep(budget);
        }
        NEXT.store(next, Ordering::Relaxed);
        MOST.store(self.handed_out.saturating_add(budget.saturating_mul(3)), Ordering::Relaxed);
    }

    fn trace(&self, number: u64) {
        let last = &self.last;
        let pause: Duration = last.pauses.iter().sum();
        eprintln!(
            "gc {number} {}: pause {:?}, {} KiB live in {} objects, {} KiB roots ({} KiB stacks), {} freed, sweep {:?}, {} KiB heap in use",
            self.backend,
            pause,
            last.marked.bytes >> 10,
            last.marked.objects,
            last.roots >> 10,
            last.marked.stacks >> 10,
            last.swept.freed,
            last.sweep_time,
            last.in_use >> 10,
        );
    }
}

/// Runs a whole cycle and returns when its sweep is done: what could not be reached when this was called is free then, but for what the collector mistakes for reachable. Destructors and
/// clean-ups may still run after it.
///
/// Does nothing while a [`pause_guard`] lives anywhere, and where nothing is collected ([`Stats::backend`] is `off`).
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, gc};
///
/// for number in 0..1000 {
///     Gc::new(number);
/// }
/// gc::collect();
/// assert!(gc::stats().cycles >= 1);
/// ```
pub fn collect() {
    if !IS_STARTED.load(Ordering::Acquire) {
        start();
    }
    let mut state = STATE.lock();
    if state.backend == Backend::Off || PAUSED.load(Ordering::SeqCst) > 0 {
        return;
    }
    // One that begins from now on.
    let number = state.begun + 1;
    state.wanted = state.wanted.max(number);
    request();
    while state.ended < number && PAUSED.load(Ordering::SeqCst) == 0 {
        ENDED.wait(&mut state);
    }
}

/// Sets how much may be allocated between two cycles, in percent of what the last one has read and found alive: `Some(100)`, the default, lets the collected heap double. `None`: no cycle begins by
/// itself, only at the memory limit and for [`collect`]. Returns the old value. Go's `SetGCPercent`.
pub fn set_percent(percent: Option<u32>) -> Option<u32> {
    if !IS_STARTED.load(Ordering::Acquire) {
        start();
    }
    let mut state = STATE.lock();
    let old = std::mem::replace(&mut state.percent, percent);
    state.set_next();
    old
}

/// Sets a soft limit on the memory of the whole heap, ordinary Rust allocations included, in bytes: near it cycles begin more often than [`set_percent`] asks for, and with percent `None`
/// only there. Returns the old value. Go's `SetMemoryLimit`.
pub fn set_memory_limit(limit: Option<usize>) -> Option<usize> {
    if !IS_STARTED.load(Ordering::Acquire) {
        start();
    }
    let mut state = STATE.lock();
    let old = std::mem::replace(&mut state.limit, limit);
    state.set_next();
    old
}

/// Forbids cycles as long as it lives: [`pause_guard`].
#[derive(Debug)]
#[must_use = "cycles are forbidden as long as the guard lives"]
pub struct PauseGuard(());

/// Keeps cycles from beginning as long as the guard lives, for stretches that no pause may disturb. One that is under way ends. Memory is not bounded meanwhile.
///
/// # Examples
///
/// ```
/// use greenroutine::gc;
///
/// let guard = gc::pause_guard();
/// let before = gc::stats().cycles;
/// gc::collect();
/// assert_eq!(gc::stats().cycles, before);
/// drop(guard);
/// ```
pub fn pause_guard() -> PauseGuard {
    PAUSED.fetch_add(1, Ordering::SeqCst);
    let mut state = STATE.lock();
    // Who waits for a cycle that does not begin any more goes on; one that is under way is waited for.
    ENDED.notify_all();
    while state.begun > state.ended {
        ENDED.wait(&mut state);
    }
    PauseGuard(())
}

impl Drop for PauseGuard {
    fn drop(&mut self) {
        if PAUSED.fetch_sub(1, Ordering::SeqCst) == 1 {
            request();
        }
    }
}

pub(super) fn stats() -> Stats {
    if !IS_STARTED.load(Ordering::Acquire) {
        start();
    }
    let state = STATE.lock();
    let handed_out = central::handed_out();
    let next = NEXT.load(Ordering::Relaxed);
    let live = state.last.marked.bytes + (handed_out - state.handed_out);
    Stats {
        backend: state.backend,
        why: state.why.clone(),
        cycles: state.ended,
        heap_live: live,
        heap_in_use: heap::stats().total().live,
        allocated_total: handed_out,
        heap_goal: (next != NEVER).then(|| state.last.marked.bytes + (next - state.handed_out)),
        roots: state.last.roots,
        stacks: state.last.marked.stacks,
        pauses: state.pauses.clone().unwrap_or_else(Pauses::new),
        mark_time: state.mark_time,
        assist_time: state.assist_time + Duration::from_nanos(DELAYED_NS.load(Ordering::Relaxed)),
        sweep_time: state.sweep_time,
    }
}
