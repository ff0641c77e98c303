//! When to collect, and the thread that does: the knobs, the requests, the pace.
//!
//! The thread starts with the first slow path of an allocation, so a program that makes no [`Gc`](super::Gc) has none. It sleeps until it is asked: by an allocation, when as much has been
//! allocated since the last cycle as [`set_percent`] allows, or by [`collect`].
//!
//! **Pace.** After a cycle with `live` bytes of objects alive and `roots` bytes read to find them, the next one begins when `(live + roots) * percent / 100` bytes have been allocated, and not before
//! 16 MiB times the same, less what was allocated while the last one ran: Go's rule (runtime/mgcpacer.go), with ordinary Rust memory that has to be read counted among the roots.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::concurrent::{self, Barrier, Failure};
use super::config::{Choice, Config};
use super::cycle::{self, Outcome, Workspace};
use super::stats::{Backend, Pauses, Stats};
use super::throttle;
use crate::arch;
use crate::base::tell;
use crate::heap::central;
use crate::heap::frozen;
use crate::heap::{self, InCharge};
use crate::sched::stall::Ours;
use crate::sync::{Condvar, Mutex};
use crate::sys::{clock, futex};
use crate::world::stop::{self, StopError};
use crate::world::{self, blocked};

/// The least that is allocated between two cycles at 100 percent. Go has 4 MiB; a heap that small is marked in less time than a cycle's two stops and its arming take.
const LEAST: usize = 16 << 20;
/// Anything that means never.
const NEVER: usize = usize::MAX;

/// Not 0 if the thread has something to do; it sleeps on this.
static WANTED: AtomicU32 = AtomicU32::new(0);
/// A cycle begins when this many bytes were handed out since the start of the process.
static NEXT: AtomicUsize = AtomicUsize::new(LEAST);
/// Whether a cycle marks, and what may be handed out before allocation waits for the end of that.
static IS_MARKING: AtomicBool = AtomicBool::new(false);
static MOST: AtomicUsize = AtomicUsize::new(NEVER);
/// Whether nothing is collected.
static IS_OFF: AtomicBool = AtomicBool::new(false);
/// How long an allocation without memory waits before it asks again.
const RETRY_NS: u64 = 10_000_000;
/// How long allocation was slowed down, in nanoseconds.
static DELAYED_NS: AtomicU64 = AtomicU64::new(0);
/// Guards that forbid cycles.
static PAUSED: AtomicUsize = AtomicUsize::new(0);

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
    /// Bytes handed out when the last marking ended, and while it lasted.
    handed_out: usize,
    during: usize,
    /// A cycle that still marks when that many were handed out has allocation keep a pace.
    paced_from: usize,
    pauses: Pauses,
    mark_time: Duration,
    sweep_time: Duration,
    /// What the thread is to do between two cycles.
    jobs: Vec<Job>,
}

/// Something that only the collector's thread may do: to stop the world.
type Job = Box<dyn FnOnce() + Send>;

/// All that is of one process: the child of a fork has no collector's thread, and may find locks held by threads that it does not have.
struct Shared {
    state: Mutex<State>,
    /// A cycle has ended.
    ended: Condvar,
    /// How many have ended, and how many have marked, whatever came of it: the futexes of threads that must not park.
    cycles: AtomicU32,
    marked: AtomicU32,
}

/// By the number of forks that lie between the first process and this one. In the last nothing is collected.
static GENERATIONS: [OnceLock<Shared>; 8] = [const { OnceLock::new() }; 8];

/// This process's, with its thread started.
fn shared() -> &'static Shared {
    let last = GENERATIONS.len() - 1;
    let generation = (world::forks() as usize).min(last);
    GENERATIONS[generation].get_or_init(|| start(generation == last))
}

/// The environment's settings.
fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| Config::read().unwrap_or_else(|error| panic!("{error}")))
}

/// After an allocation's slow path.
#[cold]
pub(super) fn after_slow_path(bytes: usize) {
    shared();
    let handed_out = central::handed_out();
    let delayed = throttle::pass(bytes, handed_out);
    if delayed > 0 {
        DELAYED_NS.fetch_add(delayed, Ordering::Relaxed);
    }
    if handed_out >= NEXT.load(Ordering::Relaxed) && WANTED.load(Ordering::Relaxed) == 0 {
        request();
    }
    if handed_out >= MOST.load(Ordering::Relaxed) && IS_MARKING.load(Ordering::SeqCst) {
        wait_for_the_marks();
    }
}

/// The program allocates faster than the collector marks: the thread waits until that is done. It does not park: whoever allocates may hold a lock that is bound to the thread.
#[cold]
#[inline(never)]
fn wait_for_the_marks() {
    let start = clock::now_ns();
    let marked = &shared().marked;
    let seen = marked.load(Ordering::SeqCst);
    while IS_MARKING.load(Ordering::SeqCst) && marked.load(Ordering::SeqCst) == seen {
        blocked::wait(marked, seen, u64::MAX);
    }
    DELAYED_NS.fetch_add(clock::now_ns().saturating_sub(start), Ordering::Relaxed);
}

/// Runs a cycle for an allocation that found no memory. The thread waits.
#[cold]
pub(super) fn collect_for_memory() {
    let cycles = &shared().cycles;
    if is_off() {
        return;
    }
    let seen = cycles.load(Ordering::SeqCst);
    // One that is under way may have passed by what is free now: the one after it has not.
    while cycles.load(Ordering::SeqCst).wrapping_sub(seen) < 2 && PAUSED.load(Ordering::SeqCst) == 0 {
        let now = cycles.load(Ordering::SeqCst);
        NEXT.store(0, Ordering::Relaxed);
        request();
        blocked::wait(cycles, now, clock::now_ns() + RETRY_NS);
    }
}

/// Wakes the thread.
fn request() {
    if WANTED.swap(1, Ordering::AcqRel) == 0 {
        futex::wake(&WANTED, 1);
    }
}

/// Reads the environment and starts the thread.
fn start(is_last: bool) -> Shared {
    let config = config();
    // Of a parent, if there was one.
    WANTED.store(0, Ordering::SeqCst);
    IS_MARKING.store(false, Ordering::SeqCst);
    if config.checks.poison {
        central::poison_freed();
    }
    let (mut backend, mut why, barrier) = choose(config);
    if is_last {
        (backend, why) =
            (Backend::Off, format!("this process is the {}th in a row of forks", GENERATIONS.len() - 1));
    }
    IS_OFF.store(backend == Backend::Off, Ordering::SeqCst);
    if backend != Backend::Off {
        let thread =
            std::thread::Builder::new().name(String::from("greenroutine-gc")).spawn(move || serve(barrier));
        if let Err(error) = thread {
            (backend, why) = (Backend::Off, format!("the collector's thread could not be started: {error}"));
            IS_OFF.store(true, Ordering::SeqCst);
            eprintln!("greenroutine: gc: nothing is collected: {why}");
        }
    }
    let mut state = State {
        begun: 0,
        ended: 0,
        wanted: 0,
        percent: config.percent,
        limit: config.limit,
        backend,
        why,
        last: Outcome::default(),
        handed_out: central::handed_out(),
        during: 0,
        paced_from: NEVER,
        pauses: Pauses::new(),
        mark_time: Duration::ZERO,
        sweep_time: Duration::ZERO,
        jobs: Vec::new(),
    };
    state.set_next();
    Shared {
        state: Mutex::new(state),
        ended: Condvar::new(),
        cycles: AtomicU32::new(0),
        marked: AtomicU32::new(0),
    }
}

/// Whether nothing is collected.
fn is_off() -> bool {
    IS_OFF.load(Ordering::SeqCst)
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
    match Barrier::new(config.checks.dirty) {
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

/// Ends the process if the collector's thread panics, which has then been reported.
struct FatalPanic;

impl Drop for FatalPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "greenroutine: gc: the collector's thread has panicked, which is a bug in it: aborting"
            );
            std::process::abort();
        }
    }
}

/// The collector's thread.
fn serve(mut barrier: Option<Barrier>) {
    // Whoever waits for a cycle would wait for ever, and what is marked would be worth nothing.
    let _fatal = FatalPanic;
    if !world::exempt() {
        return eprintln!("greenroutine: gc: no memory for the collector: nothing is collected");
    }
    let mut space = Workspace::new(config().checks.noscan);
    loop {
        {
            // While it sleeps it wakes nobody; who waits in `collect` has woken it.
            let _ours = Ours::new();
            while WANTED.load(Ordering::Acquire) == 0 {
                futex::wait(&WANTED, 0, u64::MAX);
            }
        }
        WANTED.store(0, Ordering::Release);
        do_jobs();
        if PAUSED.load(Ordering::SeqCst) == 0 {
            one_cycle(&mut barrier, &mut space);
        }
    }
}

/// Does what was asked for by [`on_the_thread`].
fn do_jobs() {
    let shared = shared();
    let jobs = std::mem::take(&mut shared.state.lock().jobs);
    for job in jobs {
        job();
        // Under the lock: who looks for the result has the lock until it waits.
        drop(shared.state.lock());
        shared.ended.notify_all();
    }
}

/// Runs `work` on the collector's thread, between two cycles; `None` where nothing is collected. What `work` refers to is no root while it runs.
///
/// It is called with an address in the caller's stack: what lies below is of the waiting here, and of calls that are over.
#[inline(never)]
pub(super) fn on_the_thread<T: Send + 'static>(work: impl FnOnce(usize) -> T + Send + 'static) -> Option<T> {
    arch::with_all_in_memory(|sp| wait_for(move || work(sp)))
}

#[inline(never)]
fn wait_for<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let shared = shared();
    // In a box: room for the result here would be filled with what lies on this stack, and the search would find it.
    let result = Arc::new(Mutex::new(None::<Box<T>>));
    let place = result.clone();
    let mut state = shared.state.lock();
    if state.backend == Backend::Off {
        return None;
    }
    state.jobs.push(Box::new(move || *place.lock() = Some(Box::new(work()))));
    request();
    loop {
        if let Some(result) = result.lock().take() {
            return Some(*result);
        }
        // In a static: whoever waits here is reached from there, whatever the job looks for.
        shared.ended.wait(&mut state);
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
        // From now on without it. It is not closed: what has gone wrong may be that the program has closed its descriptors (`close_range`), and their numbers may be somebody else's by now.
        std::mem::forget(barrier.take());
        let mut state = shared().state.lock();
        state.backend = Backend::Stw;
        state.why = format!("the kernel no longer tells what was written: {error}");
        eprintln!("greenroutine: gc: {}", state.why);
    }
    outcome
}

fn one_cycle(barrier: &mut Option<Barrier>, space: &mut Workspace) {
    let shared = shared();
    let number = {
        let mut state = shared.state.lock();
        let is_due = central::handed_out() >= NEXT.load(Ordering::Relaxed);
        if !is_due && state.wanted <= state.begun {
            return;
        }
        state.begun += 1;
        throttle::begin_pace(state.paced_from);
        state.begun
    };
    IS_MARKING.store(true, Ordering::SeqCst);
    let before = central::handed_out();
    let start = clock::now_ns();
    let marks = mark(barrier, space);
    // What is dead is free from here on, though it is swept later: with this the next budget begins.
    shared.state.lock().end_marking(marks.as_ref().ok(), before);
    IS_MARKING.store(false, Ordering::SeqCst);
    throttle::end_pace();
    shared.marked.fetch_add(1, Ordering::SeqCst);
    futex::wake(&shared.marked, i32::MAX);
    let result = marks.map(|mut outcome| {
        cycle::ended("gc mark", start);
        cycle::sweep(&mut outcome);
        outcome
    });
    cycle::ended("gc cycle", start);
    let mut state = shared.state.lock();
    match result {
        Ok(outcome) => state.take_in(outcome, number),
        // Tried again when as much has been allocated once more.
        Err(error) => eprintln!("greenroutine: gc: cycle {number} was given up: {error}"),
    }
    state.ended = number;
    let is_wanted = state.wanted > state.begun;
    let told = state.cycle(number);
    drop(state);
    shared.cycles.fetch_add(1, Ordering::SeqCst);
    futex::wake(&shared.cycles, i32::MAX);
    shared.ended.notify_all();
    if is_wanted {
        request();
    }
    // Last, and without the lock: who is told may use the heap.
    tell::collected(told);
}

impl State {
    /// Marking is over. `marks`: what it has found, if it was not given up; `before`: bytes that were handed out when it began.
    fn end_marking(&mut self, marks: Option<&Outcome>, before: usize) {
        self.handed_out = central::handed_out();
        self.during = self.handed_out - before;
        if let Some(outcome) = marks {
            (self.last.marked, self.last.roots, self.last.in_use) =
                (outcome.marked, outcome.roots, outcome.in_use);
        }
        self.set_next();
    }

    fn take_in(&mut self, outcome: Outcome, number: u64) {
        outcome.pauses.iter().for_each(|pause| self.pauses.add(*pause));
        self.mark_time += outcome.mark_time;
        self.sweep_time += outcome.sweep_time;
        self.last = outcome;
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
        // A small heap may well be a few times as large for a moment.
        self.paced_from = self.handed_out.saturating_add(budget.saturating_add((budget / 2).max(2 * LEAST)));
        MOST.store(self.handed_out.saturating_add(budget.saturating_mul(3)), Ordering::Relaxed);
    }

    fn cycle(&self, number: u64) -> tell::Cycle {
        let last = &self.last;
        tell::Cycle {
            number,
            pause: last.pauses.iter().sum(),
            mark: last.mark_time,
            sweep: last.sweep_time,
            live: last.marked.bytes,
            in_use: last.in_use,
        }
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
    let shared = shared();
    let mut state = shared.state.lock();
    if state.backend == Backend::Off || PAUSED.load(Ordering::SeqCst) > 0 {
        return;
    }
    // One that begins from now on.
    let number = state.begun + 1;
    state.wanted = state.wanted.max(number);
    request();
    while state.ended < number && PAUSED.load(Ordering::SeqCst) == 0 {
        shared.ended.wait(&mut state);
    }
}

/// Sets how much may be allocated between two cycles, in percent of what the last one has read and found alive: `Some(100)`, the default, lets the collected heap double. `None`: no cycle begins by
/// itself, only at the memory limit and for [`collect`]. Returns the old value. Go's `SetGCPercent`.
pub fn set_percent(percent: Option<u32>) -> Option<u32> {
    let shared = shared();
    let mut state = shared.state.lock();
    let old = std::mem::replace(&mut state.percent, percent);
    state.set_next();
    old
}

/// Sets a soft limit on the memory of the whole heap, ordinary Rust allocations included, in bytes: near it cycles begin more often than [`set_percent`] asks for, and with percent `None`
/// only there. Returns the old value. Go's `SetMemoryLimit`.
pub fn set_memory_limit(limit: Option<usize>) -> Option<usize> {
    let shared = shared();
    let mut state = shared.state.lock();
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
    let shared = shared();
    PAUSED.fetch_add(1, Ordering::SeqCst);
    let mut state = shared.state.lock();
    // Who waits for a cycle that does not begin any more goes on; one that is under way is waited for.
    shared.ended.notify_all();
    while state.begun > state.ended {
        shared.ended.wait(&mut state);
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

/// What metrics say of the collector.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) cycles: u64,
    pub(crate) heap_live: usize,
    pub(crate) pauses: u64,
    pub(crate) pause_total: Duration,
    pub(crate) pause_max: Duration,
}

/// The figures, without starting a collector that nobody needs.
pub(crate) fn figures() -> Figures {
    let generation = (world::forks() as usize).min(GENERATIONS.len() - 1);
    let Some(shared) = GENERATIONS[generation].get() else { return Figures::default() };
    let state = shared.state.lock();
    Figures {
        cycles: state.ended,
        heap_live: state.last.marked.bytes + (central::handed_out() - state.handed_out),
        pauses: state.pauses.count(),
        pause_total: state.pauses.total(),
        pause_max: state.pauses.max(),
    }
}

pub(super) fn stats() -> Stats {
    let shared = shared();
    let state = shared.state.lock();
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
        pauses: state.pauses.clone(),
        mark_time: state.mark_time,
        assist_time: Duration::from_nanos(DELAYED_NS.load(Ordering::Relaxed)),
        sweep_time: state.sweep_time,
    }
}
