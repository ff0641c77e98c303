//! [`Worker`]: one scheduling thread's own state, and its loop.
//!
//! A worker is its thread, for good: in home mode goroutines belong to the thread that started them, so nothing is handed over
//! when it is stuck; others serve what is not bound to it (`monitor`).
//!
//! One round of the loop: `next` slot (direct handoff), then the plain queue of started goroutines or the queue of unstarted ones, in
//! turns, with a look at inbox and timers before and at the injector every 61st time (Go's number: prime, so that it falls
//! in step with nothing). When all are empty: search, doze, sleep (`idle`).

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_deque::Steal;

use super::biased::Biased;
use super::core::{Core, Counters, Latencies, WorkerShared, count};
use super::inbox::Inbox;
use super::panics;
use super::park::{self, ParkOp};
use super::poller;
use super::queue::Fifo;
use super::stall::Ours;
use super::steal::{Loot, Watched};
use super::timers::TimerQueue;
use super::trace::{self, Ring, Run, Tracer};
use crate::base::bias::Me;
use crate::base::lock::{Lock, Rank};
use crate::base::rng::Rng;
use crate::base::{AbortGuard, CachePadded, fatal, fence, meta};
use crate::routine::cell::MORE_HANDOFF;
use crate::routine::slot::{Command, DONE, Ended, YIELD};
use crate::routine::{Kind, Slot, SlotRef, Task, TaskRef, body, slot};
use crate::stack::{self, arena, commit};
use crate::sys::{self, clock};

/// Values of `WorkerShared::state`.
pub(crate) mod state {
    /// The thread runs.
    pub(crate) const RUNNING: u32 = 0;
    /// The thread sleeps, or is about to: whoever changes this wakes the futex.
    pub(crate) const SLEEPING: u32 = 1;
    /// As `SLEEPING`, for 50 µs at most.
    pub(crate) const DOZING: u32 = 2;
    /// Woken for its inbox, or to end.
    pub(crate) const NOTIFIED: u32 = 3;
    /// Woken to search, with the searching token in its name.
    pub(crate) const SEARCH: u32 = 4;
    /// Beside `SLEEPING` or `DOZING`: in the worker's poller and not on the futex.
    pub(crate) const POLLING: u32 = 8;
}

/// Bits of `WorkerShared::flags`.
pub(crate) mod flag {
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The goroutine has had its 10 ms: set by the monitor, cleared by the next switch.
    pub(crate) const PREEMPT: u32 = 1;
    /// What happens is recorded (`sched::trace`).
    pub(crate) const TRACE: u32 = 2;

    /// Sets or clears a flag.
    pub(crate) fn set(flags: &AtomicU32, flag: u32, on: bool) {
        if on {
            flags.fetch_or(flag, Ordering::Relaxed);
        } else {
            flags.fetch_and(!flag, Ordering::Relaxed);
        }
    }
}

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One of the runtime's `workers(n)`.
    Regular,
    /// Started by the monitor because a regular one was stuck; takes new work only while one is.
    Spare,
    /// Runs one goroutine, and ends with it.
    Dedicated,
}

/// How often `next` may be taken in a row before its goroutine goes to the tail instead: a pair that talks through it would starve
/// the rest. Go gives such a pair one time slice, 10 ms; counting costs less than a clock, and this many take 30 to 100 µs. At 64 a tree of goroutines that is
/// walked depth first was left for its oldest branch so often that it held 12,000 stacks (skynet over channels: 225 ms against 111).
const NEXT_IN_A_ROW: u32 = 1024;

/// Between two samples of the queue: sixteen looks around.
const SAMPLE_TICKS: u64 = 61 * 16;

/// See the file's documentation.
pub(crate) struct Worker {
    pub(crate) shared: Arc<WorkerShared>,
    pub(crate) core: Arc<Core>,
    /// `core.config.free_migration`.
    pub(crate) free: bool,
    /// Started goroutines that may run here.
    pub(crate) local: Fifo<Task>,
    next_in_a_row: Cell<u32>,
    ticks: Cell<u64>,
    /// Whether it is the turn of `fresh` or the plain queue's, and for how many more.
    fresh_turn: Cell<bool>,
    turn_left: Cell<usize>,
    /// Spawns until the next look whether stacks are left (`stack::arena`).
    pub(crate) spawns_unchecked: Cell<u32>,
    pub(crate) stacks: stack::Cache,
    pub(crate) cells: meta::Cache,
    /// The next goroutine id, and the end of the run.
    pub(crate) ids: Cell<(u64, u64)>,
    pub(crate) rng: RefCell<Rng>,
    /// Spawns of the goroutine that runs now, since somebody was last woken for them.
    pub(crate) backlog: Cell<u32>,
    /// What the last thefts were worth (`steal`).
    pub(super) loot: Cell<Loot>,
    /// The queue as it was at some moment: when that was, and the tick at which its last goroutine will run; 0 for none.
    sampled: Cell<(u64, u64)>,
    pub(super) tracer: Tracer,
    /// Whose `next` waits (`steal`).
    pub(super) watched_next: Cell<Watched>,
    /// A goroutine run, by its tick, and how many transfers it has made so far (`park::pass_transfer`).
    pub(super) transfers: Cell<(u64, u32)>,
}

/// The worker that runs the goroutine on `slot`.
///
/// # Safety
///
/// - The caller runs on `slot`, and uses the reference only until it suspends.
#[inline(always)]
pub(crate) unsafe fn of_slot<'a>(slot: SlotRef) -> &'a Worker {
    // SAFETY: the worker wrote its own address before it resumed the goroutine and does not move or end while that runs.
    unsafe { &*slot.worker.get().cast::<Worker>() }
}

/// The calling thread's name as a holder of locks: its worker's, if it runs a goroutine.
#[inline(always)]
pub(crate) fn me() -> Me {
    match slot::current() {
        // SAFETY: we run on the slot, and the reference ends here.
        Some(slot) => Arc::as_ptr(&unsafe { of_slot(slot) }.shared).cast_mut().cast(),
        None => ptr::null_mut(),
    }
}

/// As [`me`], on the worker's own stack, in the commit of `task`.
#[inline(always)]
pub(super) fn me_in_commit(task: TaskRef) -> Me {
    // A goroutine is its worker's while its wait is committed, in both modes.
    if task.kind.get() == Kind::Goroutine { task.home.load(Ordering::Relaxed) } else { ptr::null_mut() }
}

/// Starts a worker's thread.
pub(crate) fn start(
    core: &Arc<Core>,
    index: usize,
    role: Role,
) -> io::Result<(Arc<WorkerShared>, std::thread::JoinHandle<()>)> {
    let shared = Arc::new(WorkerShared {
        index,
        role,
        listed: AtomicBool::new(false),
        state: AtomicU32::new(state::RUNNING),
        tick: CachePadded::new(AtomicU64::new(0)),
        flags: AtomicU32::new(if trace::is_on() { flag::TRACE } else { 0 }),
        trace: Lock::new(Rank::Timers, Ring::new()),
        trace_id: trace_id(),
        stuck: AtomicBool::new(false),
        inbox: CachePadded::new(Inbox::new()),
        fresh: CachePadded::new(Biased::new(queue_name())),
        timers: TimerQueue::new(),
        poller: OnceLock::new(),
        next: AtomicPtr::new(ptr::null_mut()),
        running: super::core::Running::none(),
        tid: AtomicI32::new(0),
        counters: CachePadded::new(Counters::default()),
        woken_at: AtomicU64::new(0),
        latencies: Box::new(Latencies::new()),
    });
    let name = match role {
        Role::Regular => format!("{}-{index}", core.config.name),
        Role::Spare => format!("{}-s{index}", core.config.name),
        Role::Dedicated => format!("{}-d", core.config.name),
    };
    let (core, shared2) = (core.clone(), shared.clone());
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        // A panic in here is a bug of the runtime; goroutines' own are caught on their stacks.
        let guard = AbortGuard;
        while !shared2.listed.load(Ordering::Acquire) {
            std::thread::park();
        }
        shared2.tid.store(sys::thread::tid(), Ordering::Relaxed);
        sys::thread::precise_timers();
        let ours = Ours::new();
        // Without it the thread has std's, which is enough to grow a stack and too small for nothing we do.
        let alt_stack = sys::signal::AltStack::install();
        let worker = Worker::new(core, shared2);
        worker.run();
        worker.end();
        drop(alt_stack);
        drop(ours);
        std::mem::forget(guard);
    })?;
    Ok((shared, thread))
}

/// A name for a worker's queue that no other has. (They would repeat after four billion workers.)
fn queue_name() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    loop {
        let name = NEXT.fetch_add(1, Ordering::Relaxed);
        if name != 0 {
            return name;
        }
    }
}

/// A number for a worker's records.
fn trace_id() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    (NEXT.fetch_add(1, Ordering::Relaxed) % u32::from(trace::OUTSIDE)) as u16
}

/// Wakes a worker's thread if it sleeps. The caller has published what it should find, with a SeqCst operation.
pub(crate) fn notify(shared: &WorkerShared) {
    // SeqCst: pairs with the worker's SeqCst store of its state and loads of its queues (PROTOCOLS.md, "Sleep").
    let mut now = shared.state.load(Ordering::SeqCst);
    while matches!(now & !state::POLLING, state::SLEEPING | state::DOZING) {
        match shared.state.compare_exchange(now, state::NOTIFIED, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(was) => return poller::wake_sleeper(shared, was),
            Err(other) => now = other,
        }
    }
}

/// Wakes a sleeper that `Idle::take_sleeper` has taken.
pub(crate) fn notify_search(shared: &WorkerShared) {
    let was = shared.state.swap(state::SEARCH, Ordering::SeqCst);
    poller::wake_sleeper(shared, was);
}

impl Worker {
    fn new(core: Arc<Core>, shared: Arc<WorkerShared>) -> Self {
        let scarce = core.spawns_per_check == 1;
        Self {
            free: core.config.free_migration,
            local: Fifo::new(),
            next_in_a_row: Cell::new(0),
            ticks: Cell::new(0),
            fresh_turn: Cell::new(false),
            turn_left: Cell::new(0),
            spawns_unchecked: Cell::new(0),
            stacks: stack::Cache::new(core.stack_class, core.guard_mode, scarce),
            cells: meta::Cache::new(),
            ids: Cell::new((0, 0)),
            rng: RefCell::new(Rng::new(core.config.seed ^ (shared.index as u64).wrapping_mul(0x9E37))),
            backlog: Cell::new(0),
            loot: Cell::new(Loot::default()),
            sampled: Cell::new((0, 0)),
            tracer: Tracer::new(),
            watched_next: Cell::new(Watched::NOBODY),
            transfers: Cell::new((0, 0)),
            core,
            shared,
        }
    }

    /// The loop. Returns when the runtime ends, or the dedicated goroutine has.
    fn run(&self) {
        if let Some(seeded) = &self.core.seeded {
            return self.run_seeded(seeded);
        }
        loop {
            let task = match self.pick() {
                Some(task) => task,
                None => match self.find_work() {
                    Some(task) => {
                        if trace::is_on() {
                            self.note_idle();
                        }
                        task
                    }
                    None => return,
                },
            };
            self.execute(task);
            if self.shared.role == Role::Dedicated && self.ended_dedicated() {
                return;
            }
        }
    }

    /// Gives back what the worker holds.
    fn end(&self) {
        if self.shared.role == Role::Dedicated {
            self.core.forget_dedicated(&self.shared);
        }
        self.end_polling();
        self.stacks.flush();
        self.cells.flush();
    }

    /// The next goroutine of this worker's own.
    #[inline(always)]
    fn pick(&self) -> Option<TaskRef> {
        let tick = self.ticks.get() + 1;
        self.ticks.set(tick);
        let look = !self.shared.inbox.is_empty()
            || self.shared.timers.next_deadline() != u64::MAX
            || tick.is_multiple_of(61);
        if look && let Some(task) = self.look_around(tick) {
            return Some(task);
        }
        if let Some(task) = self.take_next() {
            return Some(task);
        }
        self.next_in_a_row.set(0);
        self.take_in_turn()
    }

    /// From the queue whose turn it is, as often as it was long when its turn began: both together are nearly one FIFO, and neither a
    /// storm of spawns nor a pair that yields to each other starves the other kind.
    #[inline(always)]
    fn take_in_turn(&self) -> Option<TaskRef> {
        let left = self.turn_left.get();
        if left > 0 {
            self.turn_left.set(left - 1);
            let task = if self.fresh_turn.get() { self.shared.fresh.pop() } else { self.local.pop() };
            if task.is_some() {
                return task;
            }
        }
        self.next_turn()
    }

    fn next_turn(&self) -> Option<TaskRef> {
        // `fresh` is empty here if it was its turn, unless the turn was used up.
        for fresh_turn in [!self.fresh_turn.get(), self.fresh_turn.get()] {
            let task = if fresh_turn { self.shared.fresh.pop() } else { self.local.pop() };
            if task.is_some() {
                let left = if fresh_turn { self.shared.fresh.len() } else { self.local.len() };
                self.fresh_turn.set(fresh_turn);
                self.turn_left.set(left);
                return task;
            }
        }
        None
    }

    #[inline(never)]
    fn look_around(&self, tick: u64) -> Option<TaskRef> {
        self.drain_inbox();
        let deadline = self.shared.timers.next_deadline();
        if deadline != u64::MAX {
            let now = clock::now_ns();
            if deadline <= now {
                self.fire_own(now);
            }
        }
        if tick.is_multiple_of(SAMPLE_TICKS) || self.sampled.get().1 != 0 {
            self.sample_queue(tick);
        }
        if !tick.is_multiple_of(61) {
            return None;
        }
        self.poll_ready_now_and_then();
        if self.takes_new_work() { self.pop_injector() } else { None }
    }

    /// Fires the worker's timers, of which at least one is due at `now`.
    pub(super) fn fire_own(&self, now: u64) {
        self.shared.latencies.timer.add(now.saturating_sub(self.shared.timers.next_deadline()));
        let is_traced = trace::is_on();
        self.shared.timers.fire(now, |task| {
            if is_traced {
                self.note_timer(task);
            }
            self.ready_tail(task);
        });
        if is_traced {
            self.look_at_queue();
        }
    }

    /// How long the queue is, in time: one sample is under way at most. What is last in the queue now will run when as many goroutines have run as are before it.
    fn sample_queue(&self, tick: u64) {
        let (since, until) = self.sampled.get();
        if until == 0 {
            let waiting = (self.local.len() + self.shared.fresh.len()) as u64;
            if waiting > 0 {
                self.sampled.set((clock::now_ns(), tick + waiting));
            }
        } else if tick >= until {
            self.shared.latencies.queue.add(clock::now_ns() - since);
            self.sampled.set((0, 0));
        }
    }

    pub(super) fn drain_inbox(&self) {
        self.shared.inbox.take(|task| self.local.push(task));
        if trace::is_on() {
            self.look_at_queue();
        }
    }

    pub(super) fn pop_injector(&self) -> Option<TaskRef> {
        // A few at once, but not more than this worker's share.
        let most = (self.core.injector.len() / self.core.config.workers + 1).min(32);
        let mut first = None;
        for _ in 0..most {
            let taken = loop {
                match self.core.injector.steal() {
                    Steal::Success(runnable) => break Some(runnable.task()),
                    Steal::Empty => break None,
                    Steal::Retry => {}
                }
            };
            match taken {
                Some(task) if first.is_none() => first = Some(task),
                Some(task) => self.shared.fresh.push(task),
                None => break,
            }
        }
        first
    }

    /// Whether this worker starts goroutines that are nobody's yet.
    pub(super) fn takes_new_work(&self) -> bool {
        match self.shared.role {
            Role::Regular => true,
            Role::Spare => self.core.monitor.allows_spare(self.shared.index - self.core.config.workers),
            Role::Dedicated => false,
        }
    }

    #[inline(always)]
    pub(super) fn take_next(&self) -> Option<TaskRef> {
        let next = self.shared.next.load(Ordering::Relaxed);
        if next.is_null() {
            return None;
        }
        let next = if self.free {
            // A thief may take it while we are stuck.
            self.shared.next.swap(ptr::null_mut(), Ordering::Acquire)
        } else {
            self.shared.next.store(ptr::null_mut(), Ordering::Relaxed);
            next
        };
        self.next_in_a_row.set(self.next_in_a_row.get() + 1);
        // SAFETY: null (a thief was faster), or a goroutine that was put there; cells are mapped for ever.
        unsafe { next.as_ref() }
    }

    /// Makes a goroutine the next to run here; the one that was moves to the tail.
    #[inline(always)]
    pub(super) fn put_next(&self, task: TaskRef) {
        if self.free && task.bound.load(Ordering::Relaxed) {
            // Thieves take a stuck worker's `next` without asking.
            return self.local.push(task);
        }
        if self.next_in_a_row.get() >= NEXT_IN_A_ROW {
            self.next_in_a_row.set(0);
            return self.put_tail(task);
        }
        let new = ptr::from_ref(task).cast_mut();
        let old = if self.free {
            self.shared.next.swap(new, Ordering::AcqRel)
        } else {
            let old = self.shared.next.load(Ordering::Relaxed);
            self.shared.next.store(new, Ordering::Relaxed);
            old
        };
        // SAFETY: null, or a goroutine that was put there; cells are mapped for ever.
        if let Some(old) = unsafe { old.as_ref() } {
            self.put_tail(old);
        }
    }

    /// The running goroutine is about to wait for the end of `target`: if that waits in this worker's own queue, it runs next, and the joiner
    /// right after it. So trees of joins are walked depth first, on few stacks, where the queue's order alone would start the whole breadth of
    /// them (fib(27) by joins: 640 ns a fork that way). Not if it is the queue's head: then the queue's order is the joiner's, and going
    /// to and fro would only cost (a batch of 10,000: 27 ns a goroutine against 40).
    #[inline(always)]
    pub(crate) fn lend_turn(&self, target: TaskRef) {
        // Not 0 while it waits in some queue; a queue of one is all head.
        if self.shared.fresh.len() > 1 && target.futex.load(Ordering::Relaxed) != 0 {
            self.lend_turn_slow(target);
        }
    }

    #[inline(never)]
    fn lend_turn_slow(&self, target: TaskRef) {
        if self.shared.fresh.take_out(target) {
            target.more.set(target.more.get() | MORE_HANDOFF);
            self.put_next(target);
        }
    }

    /// The running goroutine has begun to wait for something that those it has spawned may bring. The newest of them runs next: so trees of goroutines that
    /// report through channels are walked depth first, on few stacks, as with `lend_turn` (skynet over channels on one worker: 340 ms breadth first, with
    /// 111,000 parked stacks, against 111 ms). Go runs the newest first too, but only the last one spawned. The bound on `next` in a row keeps this from
    /// starving the oldest.
    #[inline(always)]
    pub(super) fn favor_newest(&self) {
        if self.shared.fresh.len() > 1 && self.shared.next.load(Ordering::Relaxed).is_null() {
            self.favor_newest_slow();
        }
    }

    #[inline(never)]
    fn favor_newest_slow(&self) {
        if let Some(newest) = self.shared.fresh.pop_newest(|task| task.fresh.get()) {
            self.put_next(newest);
        }
    }

    /// Puts a started goroutine at the tail.
    #[inline(always)]
    pub(super) fn put_tail(&self, task: TaskRef) {
        if self.free && !task.bound.load(Ordering::Relaxed) {
            self.shared.fresh.push(task);
        } else {
            self.local.push(task);
        }
    }

    /// Runs a goroutine until it suspends, and does what it asks for. Returns that.
    #[inline(always)]
    pub(super) fn execute(&self, task: TaskRef) -> Command {
        let slot = if task.fresh.get() {
            match self.begin(task) {
                Some(slot) => slot,
                None => return DONE,
            }
        } else {
            match task.slot() {
                Some(slot) => slot,
                None => fatal!("greenroutine: fatal: a started goroutine has no stack\n"),
            }
        };
        slot.worker.set(ptr::from_ref(self).cast());
        self.backlog.set(0);
        if task.hidden_panics.get() != 0 {
            panics::show(task);
        }
        let tick = self.shared.tick.load(Ordering::Relaxed) + 1;
        self.shared.running.set(task);
        self.shared.tick.store(tick, Ordering::Relaxed);
        // SAFETY: `begin` has prepared the slot; the goroutine was in a queue, so it is suspended and ours.
        let command = unsafe { slot.resume() };
        self.shared.tick.store(tick + 1, Ordering::Relaxed);
        if std::thread::panicking() {
            panics::hide(task);
        }
        let flags = self.shared.flags.load(Ordering::Relaxed);
        if flags != 0 {
            self.flagged(flags, task, command);
        }
        match command {
            DONE => self.recycle(slot),
            YIELD => {
                if self.free {
                    self.bind(task, Self::must_stay(task));
                }
                self.put_tail(task);
            }
            op => {
                if self.free {
                    // Whoever claims the wait before `commit` is through must not have it run elsewhere meanwhile.
                    self.bind(task, true);
                }
                // SAFETY: any other command is the address of a ParkOp in the suspended frame of `task`.
                unsafe { park::commit(self, task, op as *const ParkOp) };
                if self.free && !Self::must_stay(task) {
                    // Until this store the goroutine can only have been put into our own inbox. From here on it is out of
                    // our hands.
                    task.bound.store(false, Ordering::Relaxed);
                }
            }
        }
        if flags != 0 {
            self.note_run();
        }
        command
    }

    /// A goroutine has suspended while flags were set.
    #[cold]
    #[inline(never)]
    fn flagged(&self, flags: u32, task: TaskRef, command: Command) {
        if flags & flag::PREEMPT != 0 {
            flag::set(&self.shared.flags, flag::PREEMPT, false);
        }
        if flags & flag::TRACE != 0 {
            // SAFETY: a command that is none of the constants is the address of a ParkOp in the suspended frame.
            let wait = || unsafe { park::wait_of(command as *const ParkOp) };
            self.tracer.ran(Run::of(task, command, wait));
        }
    }

    /// Free mode: binds a goroutine that has suspended here to this worker, or to none.
    fn bind(&self, task: TaskRef, bound: bool) {
        task.home.store(Arc::as_ptr(&self.shared).cast_mut().cast(), Ordering::Relaxed);
        task.bound.store(bound, Ordering::Relaxed);
    }

    /// Whether a suspended goroutine must resume on the thread that it ran on: it asked for that, or it is unwinding.
    fn must_stay(task: TaskRef) -> bool {
        task.pins.get() != 0 || task.hidden_panics.get() != 0
    }

    /// Gives a goroutine its stack. `None`: there is none; the goroutine has ended without having run.
    #[inline(always)]
    fn begin(&self, task: TaskRef) -> Option<SlotRef> {
        task.fresh.set(false);
        let slot = match task.slot() {
            Some(slot) => slot,
            None => match self.stacks.pop() {
                Some(header) => Slot::of(header),
                None => match arena::take(self.core.stack_class) {
                    Ok(header) => {
                        commit::set_limit(header, self.core.config.stack_max, self.core.guard_mode);
                        Slot::of(header)
                    }
                    Err(error) => {
                        self.refuse(task, error);
                        return None;
                    }
                },
            },
        };
        if self.core.config.stack_initial > 0 {
            commit::open_to(&slot.stack, self.core.config.stack_initial, self.core.guard_mode);
        }
        slot.prepare(body::slot_main);
        slot.task.set(Some(task));
        task.slot.store(ptr::from_ref(slot).cast_mut(), Ordering::Relaxed);
        if task.home.load(Ordering::Relaxed).is_null() {
            task.home.store(Arc::as_ptr(&self.shared).cast_mut().cast(), Ordering::Relaxed);
        }
        Some(slot)
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, task: TaskRef, error: stack::StackError) {
        let ended = Ended::default();
        body::refuse(task, error, &ended);
        self.attend(&ended);
    }

    /// A goroutine has ended: its stack, its cell, whom that wakes.
    #[inline(always)]
    fn recycle(&self, slot: SlotRef) {
        // First, because the slot may be another worker's as soon as it is given away, and what its last goroutine left lies in it.
        self.attend(&slot.ended);
        slot.task.set(None);
        if slot.custom.get() {
            slot.custom.set(false);
            arena::give(&slot.stack, self.core.guard_mode);
        } else {
            self.stacks.push(&slot.stack);
        }
    }

    #[inline(always)]
    fn attend(&self, ended: &Ended) {
        if let Some(task) = ended.free.take() {
            body::end_cell(task);
            self.cells.give(task.block(), task.class.get() as usize);
        }
        // Before anybody who waits for this end can look at the count.
        count(&self.shared.counters.finished);
        // At the tail: who joins one goroutine often joins those behind it in the queue next, and finds them done then. Through `next` a
        // batch of 10,000 parked its joiner 10,000 times (75 ns a goroutine on one worker against 45).
        if let Some(joiner) = ended.joiner.take() {
            if ended.handoff.get() {
                self.ready_next(joiner);
            } else {
                self.ready_tail(joiner);
            }
        }
        if let Some(owner) = ended.owner.take() {
            self.ready_tail(owner);
        }
        self.core.after_finish();
    }

    /// Whether the one goroutine of a dedicated worker has ended.
    fn ended_dedicated(&self) -> bool {
        let counters = &self.shared.counters;
        counters.finished.load(Ordering::Relaxed) != 0
    }

    /// Wakes somebody for work that was just pushed to this worker's `fresh`.
    #[inline(always)]
    pub(super) fn work_pushed(&self) {
        // Pairs with the heavy fence of a worker that goes to sleep.
        fence::light();
        if self.core.idle.needs_wake() {
            self.wake_one();
        } else if self.backlog.get() >= 8 {
            self.wake_dozer();
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn wake_one(&self) {
        self.core.wake_searcher();
        count(&self.shared.counters.wakes_sent);
        self.backlog.set(0);
    }

    #[cold]
    #[inline(never)]
    fn wake_dozer(&self) {
        self.backlog.set(0);
        if let Some(index) = self.core.idle.wakeable_dozer() {
            notify(self.core.worker(index));
        }
    }
}
