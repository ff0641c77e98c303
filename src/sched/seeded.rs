//! The one worker of a seeded run (`testing`): every choice is drawn from the seed, and time is virtual.
//!
//! | choice | drawn |
//! | --- | --- |
//! | who runs next | among all that are ready, by a [`Schedule`] |
//! | whether a runtime call that need not wait yields | by the same: the preempt flag is always set, so each call comes to [`Seeded::preempts`] |
//! | which case of a select, and the like | by `sched::random`, whose generator is this worker's |
//! | which waiter of a mutex, or of a `Once` that has panicked | by `ambient::drawn`, by the same generator; channels, semaphores and conditions serve in order, as they promise |
//!
//! Time stands still while anybody is ready, and jumps to the earliest timer when nobody is. Without a timer that is a deadlock: it is reported, and all goroutines are cancelled. Nothing here is
//! on a path of other runtimes: the worker has a loop of its own.
//!
//! **Order.** What makes two runs equal is that the list of those who are ready has the same order: by the order of events, and by id for those who are cancelled
//! from outside, whose order is that of their cells' addresses.

use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam_deque::Steal;

use super::config::Log;
use super::park::{Commit, ParkOp, block};
use super::steal::Asleep;
use super::worker::{Worker, flag};
use crate::base::fatal;
use crate::base::lock::{Lock, Rank};
use crate::base::rng::Rng;
use crate::routine::slot::{DONE, YIELD};
use crate::routine::{Reason, TaskRef, Ticket, Wait};
use crate::sys::{clock, futex};
use crate::world::blocked;

/// Where the virtual clock starts: midnight of 2000-01-01 in Unix time, Go's choice.
pub(crate) const EPOCH: u64 = 946_684_800_000_000_000;
/// What a yield counts, and a runtime call that was made one.
const YIELDED: u64 = 20;
const PREEMPTED: u64 = 1;
/// For so much may goroutines yield, with nobody doing anything else, before time goes on all the same: somebody waits in a loop for what a timer brings.
const PATIENCE: u64 = 200 * YIELDED;
/// For so much, and without a timer, it is for ever.
const LIVELOCK: u64 = 100_000 * YIELDED;
/// So many runtime calls of one goroutine and it yields, and so many of its turns in a row and it gets the lowest priority: it may be waiting in a loop.
const FAIR: u32 = 512;
/// The id of the first goroutine.
const MAIN: u64 = 1;

/// The refusal of what a seeded run cannot decide.
#[cold]
pub(crate) fn refused(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "{what} inside of testing::run: a seeded run has one thread and virtual time, and cannot wait for what is outside of it; \
             put it behind something that the test replaces, such as a channel"
        ),
    )
}

/// What a seeded runtime has beside its worker.
pub(crate) struct Seeded {
    next_id: AtomicU64,
    state: Lock<State>,
    /// 1 once the runtime has cancelled all that was left.
    gate: AtomicU32,
}

/// Used by the worker's thread alone, but for `log`, which is read after the run.
struct State {
    schedule: Schedule,
    /// Those who wait until nobody else can run, in their order.
    settling: VecDeque<Ticket>,
    /// Whether the goroutine that runs was preempted, and did not yield by itself.
    preempted: bool,
    /// Runtime calls in this step; and how often in a row the same goroutine was chosen.
    calls: u32,
    turns: (u64, u32),
    steps: u64,
    log: Option<String>,
}

/// How those who run are chosen.
enum Schedule {
    /// Each with the same probability. A runtime call yields once in `preempt_in` times (0: never).
    Uniform { preempt_in: usize },
    /// The one with the highest priority, which is drawn when it appears; at a few steps, drawn beforehand, the one that would run gets the lowest. Finds each bug of that many
    /// ordering constraints with a known probability (PCT: Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding bugs", 2010).
    Priorities {
        /// By id.
        of: Vec<u32>,
        /// At which steps.
        changes: Vec<u64>,
        /// The next lowest.
        lowest: u32,
    },
}

impl Schedule {
    fn new(rng: &mut Rng) -> Self {
        if rng.below(2) == 0 {
            return Self::Uniform { preempt_in: [0, 2, 4, 16][rng.below(4)] };
        }
        let length = [16, 64, 256, 1024, 4096][rng.below(5)];
        let changes = (0..rng.below(5)).map(|_| 1 + rng.below(length) as u64).collect();
        Self::Priorities { of: Vec::new(), changes, lowest: 1 << 30 }
    }

    /// Which of `ready` runs at this step.
    fn choose(&mut self, ready: &[TaskRef], step: u64, rng: &mut Rng) -> usize {
        match self {
            Self::Uniform { .. } => rng.below(ready.len()),
            Self::Priorities { of, changes, lowest } => {
                for task in ready {
                    let id = id(task) as usize;
                    if of.len() <= id {
                        of.resize(id + 1, 0);
                    }
                    if of[id] == 0 {
                        of[id] = (1 << 31) | rng.next() as u32;
                    }
                }
                let highest =
                    |of: &[u32]| (0..ready.len()).max_by_key(|at| of[id(ready[*at]) as usize]).unwrap_or(0);
                let first = highest(of);
                if !changes.contains(&step) {
                    return first;
                }
                *lowest -= 1;
                of[id(ready[first]) as usize] = *lowest;
                highest(of)
            }
        }
    }

    /// A goroutine has yielded by itself: the others first, or it would wait for them for ever.
    fn yielded(&mut self, task: TaskRef) {
        if let Self::Priorities { of, lowest, .. } = self {
            *lowest -= 1;
            of[id(task) as usize] = *lowest;
        }
    }
}

fn id(task: TaskRef) -> u64 {
    task.id.load(Ordering::Relaxed)
}

impl Seeded {
    /// Everything that follows from `seed`.
    pub(super) fn new(seed: u64, log: Log) -> Self {
        let mut rng = Rng::new(seed ^ 0x7E57);
        let state = State {
            schedule: Schedule::new(&mut rng),
            settling: VecDeque::new(),
            preempted: false,
            calls: 0,
            turns: (0, 0),
            steps: 0,
            log: (log == Log::Kept).then(String::new),
        };
        Self { next_id: AtomicU64::new(MAIN), state: Lock::new(Rank::Api, state), gate: AtomicU32::new(0) }
    }

    /// Ids count from 1 in each run.
    pub(super) fn fresh_ids(&self, count: u64) -> u64 {
        self.next_id.fetch_add(count, Ordering::Relaxed)
    }

    /// Whether the running goroutine, in a call that need not wait, yields.
    pub(super) fn preempts(&self, worker: &Worker) -> bool {
        let mut state = self.state.lock();
        state.calls += 1;
        let preempts = match state.schedule {
            Schedule::Uniform { .. } if state.calls > FAIR => true,
            Schedule::Uniform { preempt_in: 0 } => false,
            Schedule::Uniform { preempt_in } => worker.rng.borrow_mut().below(preempt_in) == 0,
            Schedule::Priorities { .. } => true,
        };
        state.preempted = preempts;
        preempts
    }

    /// All that was left has been cancelled: the worker may go on.
    pub(super) fn closed(&self) {
        self.gate.store(1, Ordering::SeqCst);
        futex::wake(&self.gate, i32::MAX);
    }

    /// What happened, if it was written down.
    pub(crate) fn take_log(&self) -> Option<String> {
        self.state.lock().log.take()
    }
}

impl State {
    /// Whether this goroutine has been chosen for very long.
    fn has_had_its_turns(&mut self, task: TaskRef) -> bool {
        let (last, turns) = self.turns;
        self.turns = if last == id(task) { (last, turns + 1) } else { (id(task), 0) };
        self.turns.1 > FAIR
    }

    fn log(&mut self, write: impl FnOnce(&mut String)) {
        if let Some(log) = &mut self.log {
            write(log);
            log.push('\n');
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The main goroutine runs.
    Running,
    /// It has ended, and what is left is cancelled; or there was a deadlock and everything is.
    Ending,
}

impl Worker {
    /// The loop of a seeded run.
    pub(super) fn run_seeded(&self, seeded: &Seeded) {
        clock::set_virtual(Some(EPOCH));
        let mut ready: Vec<TaskRef> = Vec::new();
        let (mut begun, mut ended, mut yields) = (0_u64, 0_u64, 0_u64);
        let mut phase = Phase::Running;
        loop {
            self.collect(&mut ready, phase);
            if ready.is_empty() || yields > PATIENCE {
                // Read once: the main goroutine may be spawned at this moment.
                let live = self.core.live();
                let in_flight = live == 0 || live != begun - ended;
                match self.go_on(seeded, in_flight, &mut yields, &mut phase, ready.is_empty()) {
                    GoOn::Yes => {}
                    GoOn::Sleep => match self.sleep() {
                        Asleep::Look => {}
                        Asleep::Search => {
                            self.core.idle.end_search();
                        }
                        Asleep::End => break,
                    },
                }
                if ready.is_empty() {
                    continue;
                }
            }
            let at = {
                let mut state = seeded.state.lock();
                state.steps += 1;
                state.preempted = false;
                state.calls = 0;
                let step = state.steps;
                let at = state.schedule.choose(&ready, step, &mut self.rng.borrow_mut());
                state.log(|log| {
                    let _ = write!(log, "{step}: goroutine {} of {}", id(ready[at]), ready.len());
                });
                at
            };
            let task = ready.remove(at);
            let is_main = id(task) == MAIN;
            begun += u64::from(task.fresh.get());
            // Each runtime call asks `preempts`.
            flag::set(&self.shared.flags, flag::PREEMPT, true);
            let command = self.execute(task);
            let mut state = seeded.state.lock();
            if command == YIELD {
                let waits = !state.preempted || state.calls > FAIR;
                yields += if waits { YIELDED } else { PREEMPTED };
                if !state.preempted || state.has_had_its_turns(task) {
                    state.schedule.yielded(task);
                }
            } else {
                yields = 0;
            }
            match command {
                DONE => {
                    ended += 1;
                    state.log(|log| log.push_str("    ends"));
                }
                YIELD => {}
                _ => state.log(|log| {
                    let wait = task.wake.waiting().map_or("goes on", Wait::words);
                    let _ = write!(log, "    {wait}");
                }),
            }
            drop(state);
            if command == DONE && is_main && phase == Phase::Running {
                phase = Phase::Ending;
            }
            if command == DONE && is_main {
                // The thread that waits for the main goroutine closes the runtime, at a time that the seed does not know.
                while seeded.gate.load(Ordering::SeqCst) == 0 {
                    blocked::wait(&seeded.gate, 0, u64::MAX);
                }
            }
        }
        clock::set_virtual(None);
    }

    /// Takes all that are ready from wherever they are.
    fn collect(&self, ready: &mut Vec<TaskRef>, phase: Phase) {
        ready.extend(self.take_next());
        while let Some(task) = self.local.pop() {
            ready.push(task);
        }
        while let Some(task) = self.shared.fresh.pop() {
            ready.push(task);
        }
        self.drain_inbox();
        while let Some(task) = self.local.pop() {
            ready.push(task);
        }
        loop {
            match self.core.injector.steal() {
                Steal::Success(runnable) => ready.push(runnable.task()),
                Steal::Empty => break,
                Steal::Retry => {}
            }
        }
        if phase == Phase::Ending {
            ready.sort_by_key(|task| id(task));
        }
    }

    /// Nobody is ready, or nobody does anything but yield.
    fn go_on(
        &self,
        seeded: &Seeded,
        in_flight: bool,
        yields: &mut u64,
        phase: &mut Phase,
        idle: bool,
    ) -> GoOn {
        let due = self.shared.timers.next_deadline();
        // What is due at this moment is before those who wait for the others to wait.
        if idle
            && due > clock::now_ns()
            && let Some(settled) = Self::settled(seeded)
        {
            self.ready_tail(settled);
            return GoOn::Yes;
        }
        if due != u64::MAX {
            seeded.state.lock().log(|log| {
                let _ = write!(log, "time {:?}", std::time::Duration::from_nanos(due.saturating_sub(EPOCH)));
            });
            clock::set_virtual(Some(due.max(clock::now_ns())));
            self.shared.timers.fire(due, |task| self.ready_tail(task));
            *yields = 0;
            return GoOn::Yes;
        }
        if !idle && *yields < LIVELOCK {
            return GoOn::Yes;
        }
        if idle && in_flight {
            return GoOn::Sleep;
        }
        let what = if idle {
            "all goroutines are asleep - deadlock!"
        } else {
            "all goroutines only yield, and nobody else can run - livelock!"
        };
        let seed = self.core.config.seed;
        let report = format!(
            "{what}\n\n{}\nseed {seed}: testing::run({seed}, ..) replays this\n",
            crate::describe(&self.core)
        );
        if *phase == Phase::Ending {
            eprintln!("greenroutine: after the goroutines were cancelled: {report}");
            fatal!("greenroutine: fatal: a goroutine of a seeded run waits for ever while it unwinds\n");
        }
        *phase = Phase::Ending;
        *yields = 0;
        let mut state = seeded.state.lock();
        state.log(|log| log.push_str(what));
        drop(state);
        self.core.set_deadlock(report);
        self.core.cancel_all();
        GoOn::Yes
    }

    /// Claims the first of those who wait until nobody else can run.
    fn settled(seeded: &Seeded) -> Option<TaskRef> {
        loop {
            let ticket = seeded.state.lock().settling.pop_front()?;
            if let Some(task) = ticket.claim(Reason::Ready) {
                return Some(task);
            }
        }
    }
}

/// What to do when nobody is ready.
enum GoOn {
    /// Somebody is ready now.
    Yes,
    /// Wait for somebody from outside: before the start, and for the end.
    Sleep,
}

/// Waits until nobody else of the caller's seeded run can go on without time passing. False if the caller is in none.
pub(crate) fn settle() -> bool {
    if !is_in_one() {
        return false;
    }
    super::current_task(super::park::check_cancelled);
    let op = ParkOp::new(Wait::Settle, u64::MAX, commit_settle);
    // SAFETY: `op` stays in this frame until the call returns.
    let reason = unsafe { block(&raw const op) };
    super::park::unwind_if_cancelled(reason);
    true
}

/// # Safety
///
/// - None; the signature is that of all commits.
unsafe fn commit_settle(_: *const ParkOp, ticket: Ticket) -> Commit {
    let core = super::ready::core_of(ticket.task);
    match &core.seeded {
        Some(seeded) => {
            seeded.state.lock().settling.push_back(ticket);
            Commit::Blocked
        }
        None => Commit::Already,
    }
}

/// Whether the caller is in a seeded run.
pub(crate) fn is_in_one() -> bool {
    super::working_for().is_some_and(|core| core.seeded.is_some())
}
