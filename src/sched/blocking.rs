//! The blocking pool: threads that run what would keep a worker, while the goroutine that asked for it parks.
//!
//! Bounded (`runtime::Builder::blocking_threads`), started when needed, ended when idle for [`IDLE_NS`]. A job is an address in the parked goroutine's
//! frame, so what it runs may borrow, and queueing it allocates nothing for long. Jobs are served in order; when all threads are busy they wait.
//!
//! | who | does |
//! | --- | --- |
//! | the goroutine ([`run`]) | sees to it that a thread is there or on its way, parks |
//! | its worker, in `commit` | puts the job into the queue, wakes a thread |
//! | the thread | runs it, stores the result in the frame, claims the wait and makes the goroutine ready |
//!
//! The wait cannot be interrupted: the closure borrows from the frame. If no thread can be had at all, the closure runs in place and keeps the worker, for which
//! a spare stands in (`monitor`).

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::core::Core;
use super::park::{Commit, ParkOp, block_on, check_cancelled};
use super::ready::ready;
use super::seeded;
use super::stall::Ours;
use super::thread;
use super::worker::of_slot;
use crate::base::lock::{Lock, Rank};
use crate::routine::{Reason, Ticket, Wait, slot};
use crate::sys::{clock, futex};
use crate::world::blocked;

/// How long a thread waits for a job before it ends.
const IDLE_NS: u64 = 10_000_000_000;

/// The threads of one runtime. See the file's documentation.
pub(crate) struct Pool {
    state: Lock<State>,
    /// The futex that idle threads sleep on: counts jobs and the end.
    seq: AtomicU32,
    /// Counts threads that have ended, for `end`.
    ended: AtomicU32,
    max: usize,
}

/// Guarded by the pool's lock.
struct State {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job.
    idle: usize,
    /// Threads that were started and have not looked for a job yet.
    starting: usize,
    /// All threads.
    threads: usize,
    stopping: bool,
}

/// What a pool does.
pub(crate) struct Load {
    pub(crate) threads: usize,
    pub(crate) busy: usize,
    pub(crate) queued: usize,
}

/// A `BlockOp`, and what runs it.
struct Job {
    run: unsafe fn(*const ParkOp),
    op: *const ParkOp,
}

// SAFETY: the op is in the frame of a goroutine that sleeps until the job is done; closure and result are Send (`run`).
unsafe impl Send for Job {}

impl Pool {
    /// Without threads, of which there will be `max` at most.
    pub(crate) fn new(max: usize) -> Self {
        let state = State { jobs: VecDeque::new(), idle: 0, starting: 0, threads: 0, stopping: false };
        Self { state: Lock::new(Rank::Runtime, state), seq: AtomicU32::new(0), ended: AtomicU32::new(0), max }
    }

    /// Sees to it that a thread will look at one more job. False if there is none and none can be had.
    fn prepare(core: &Arc<Core>) -> bool {
        let pool = &core.pool;
        {
            let mut state = pool.state.lock();
            let enough = state.idle + state.starting > state.jobs.len();
            if enough || state.threads >= pool.max {
                return true;
            }
            state.threads += 1;
            state.starting += 1;
        }
        let owner = core.clone();
        let name = format!("{}-b", core.config.name);
        if std::thread::Builder::new().name(name).spawn(move || Self::serve(owner)).is_ok() {
            return true;
        }
        // Refused: those that are there, if any, have to do.
        let mut state = pool.state.lock();
        state.threads -= 1;
        state.starting -= 1;
        state.threads > 0
    }

    fn push(&self, job: Job) {
        let wake = {
            let mut state = self.state.lock();
            state.jobs.push_back(job);
            self.seq.fetch_add(1, Ordering::SeqCst);
            state.idle > 0
        };
        if wake {
            futex::wake(&self.seq, 1);
        }
    }

    /// A thread's life.
    fn serve(core: Arc<Core>) {
        thread::set_ambient(Some(core.clone()));
        let ours = Ours::new();
        let pool = &core.pool;
        pool.state.lock().starting -= 1;
        loop {
            let mut state = pool.state.lock();
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // SAFETY: a job is run once, by who has taken it out of the queue.
                unsafe { (job.run)(job.op) };
                continue;
            }
            if state.stopping {
                break;
            }
            state.idle += 1;
            let seq = pool.seq.load(Ordering::SeqCst);
            drop(state);
            let in_time = blocked::rest(&pool.seq, seq, clock::now_ns().saturating_add(IDLE_NS));
            let mut state = pool.state.lock();
            state.idle -= 1;
            if !in_time && state.jobs.is_empty() {
                break;
            }
        }
        thread::set_ambient(None);
        drop(ours);
        let mut state = pool.state.lock();
        state.threads -= 1;
        pool.ended.fetch_add(1, Ordering::SeqCst);
        drop(state);
        futex::wake(&pool.ended, i32::MAX);
    }

    /// Ends the threads. There are no jobs: all goroutines have ended.
    pub(super) fn end(&self) {
        self.state.lock().stopping = true;
        self.seq.fetch_add(1, Ordering::SeqCst);
        futex::wake(&self.seq, i32::MAX);
        // The caller may be one of them, by dropping the last of the runtime in a job of another.
        let mine = usize::from(thread::ambient().is_some_and(|core| std::ptr::eq(&core.pool, self)));
        loop {
            let ended = self.ended.load(Ordering::SeqCst);
            if self.state.lock().threads <= mine {
                return;
            }
            blocked::wait(&self.ended, ended, u64::MAX);
        }
    }

    /// Whether a job runs or waits.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.state.lock();
        !state.jobs.is_empty() || state.threads != state.idle
    }

    /// What it does at this moment.
    pub(crate) fn load(&self) -> Load {
        let state = self.state.lock();
        let busy = state.threads - state.idle - state.starting;
        Load { threads: state.threads, busy, queued: state.jobs.len() }
    }
}

/// The panic that a closure ended with.
type Panic = Box<dyn Any + Send>;

#[repr(C)]
struct BlockOp<'a, F, T> {
    op: ParkOp,
    pool: &'a Pool,
    ticket: Cell<Option<Ticket>>,
    closure: Cell<Option<F>>,
    result: Cell<Option<Result<T, Panic>>>,
}

/// Runs `f` on the pool and waits for it; on a plain thread, just runs it. See [`blocking`](crate::blocking()).
pub(crate) fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let Some(slot) = slot::current() else { return f() };
    check_cancelled(slot.task());
    // The closure may borrow from this stack.
    slot.task().share_stack();
    // SAFETY: we run on the slot, and the reference ends here.
    let core = unsafe { of_slot(slot) }.core.clone();
    if core.seeded.is_some() {
        panic!("{}", seeded::refused("blocking"));
    }
    if !Pool::prepare(&core) {
        return f();
    }
    let mut op = BlockOp {
        op: ParkOp::new(Wait::Blocking, u64::MAX, commit::<F, T>),
        pool: &core.pool,
        ticket: Cell::new(None),
        closure: Cell::new(Some(f)),
        result: Cell::new(None),
    };
    op.op.uninterruptible();
    // SAFETY: `op` is the first field of a BlockOp and stays in this frame until the call returns; we run on the slot.
    let reason = unsafe { block_on(Some(slot), (&raw const op).cast()) };
    debug_assert_eq!(reason, Reason::Ready, "the wait has neither deadline nor cancellation");
    match op.result.take() {
        Some(Ok(value)) => value,
        Some(Err(panic)) => resume_unwind(panic),
        None => unreachable!("woken by nobody but the thread that stored the result"),
    }
}

/// # Safety
///
/// - `op` is the first field of a `BlockOp<F, T>` in a suspended frame.
unsafe fn commit<F: FnOnce() -> T + Send, T: Send>(op: *const ParkOp, ticket: Ticket) -> Commit {
    // SAFETY: the caller's contract.
    let this = unsafe { &*op.cast::<BlockOp<'_, F, T>>() };
    this.ticket.set(Some(ticket));
    this.pool.push(Job { run: run_job::<F, T>, op });
    Commit::Blocked
}

/// # Safety
///
/// - `op` is the first field of a `BlockOp<F, T>` in the frame of a goroutine that waits for it; called once.
unsafe fn run_job<F: FnOnce() -> T + Send, T: Send>(op: *const ParkOp) {
    // SAFETY: the caller's contract: nobody else touches the op until we wake the goroutine.
    let this = unsafe { &*op.cast::<BlockOp<'_, F, T>>() };
    let (Some(f), Some(ticket)) = (this.closure.take(), this.ticket.get()) else {
        unreachable!("set before the job was queued")
    };
    this.result.set(Some(catch_unwind(AssertUnwindSafe(f))));
    // From here on the frame may be gone.
    if let Some(task) = ticket.claim(Reason::Ready) {
        ready(task);
    }
}
