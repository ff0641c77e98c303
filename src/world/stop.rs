//! Stopping the world, and letting it go on. By the collector's thread only.
//!
//! 1. The list of threads is frozen. Threads that sleep are held where they are; the others get the signal.
//! 2. Each acknowledges, and the collector sleeps until all have: with more threads than processors somebody has to run to be stopped.
//! 3. The kernel's count of threads is compared with the list. Those that are not on it get a record for this stop, and a signal. Again, until the counts agree: a thread that
//!    still ran may have started another.
//!
//! A thread that has the signal blocked cannot be stopped. If it is on the list, the stop fails and says so; others, such as the kernel's own workers of io_uring, run no code of
//! the program. One that the C library has made deaf for a moment, since it is born, ends, or starts a process, will hear before it runs code of the program. It is waited for; and because it may wait for a lock of that library
//! that a stopped thread holds, the others go on after a while, and the stop begins anew.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::critical;
use super::record::{self, Owners, Record, state};
use crate::arch;
use crate::sys::stop::{Hearing, Interrupted};
use crate::sys::{OsError, clock, futex, stop as signal, thread};

/// Counts acknowledgements; the collector sleeps on it.
static ACKNOWLEDGED: AtomicU32 = AtomicU32::new(0);
/// Threads that the kernel counts and the list does not, and that cannot be stopped: not looked at again while their number stays.
static DEAF: AtomicUsize = AtomicUsize::new(0);

/// How long the collector looks for an answer, and a stopped thread for the end, before they sleep: a thread that runs answers within 5 to 10 µs, and to sleep and be woken takes 50.
const SPIN_NS: u64 = 20_000;
/// How long a thread may take before it is looked at more closely.
const PATIENCE_NS: u64 = 20_000_000;
/// So often a stop begins anew because of threads that will hear in a moment.
const ATTEMPTS: u32 = 10;
/// How long the others go on before it does.
const BETWEEN_NS: u64 = 1_000_000;
/// Between two looks at those that are being born: as soon as all others stand still they get a processor.
const BIRTH_NS: u64 = 100_000;

/// Why the world could not be stopped; it runs on.
#[derive(Clone, Debug)]
pub(crate) enum StopError {
    /// A thread has blocked the signal.
    Deaf { tid: i32 },
    /// A thread was made deaf by the C library for longer than all attempts took.
    NotYet { tid: i32 },
    /// No signal could be had.
    Os(OsError),
}

impl std::fmt::Display for StopError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deaf { tid } => write!(
                f,
                "thread {tid} has signal {} blocked and cannot be stopped; unblock it in that thread",
                signal::signal().unwrap_or(0)
            ),
            Self::NotYet { tid } => {
                write!(f, "thread {tid} begins, ends or starts a process, and could not be stopped in time")
            }
            Self::Os(error) => write!(f, "{error}"),
        }
    }
}

/// How many stops there were: who looks twice and sees the same was not stopped in between.
static STOPS: AtomicU32 = AtomicU32::new(0);

/// The number of stops until now.
#[inline(always)]
pub(crate) fn count() -> u32 {
    STOPS.load(Ordering::Relaxed)
}

/// The world, stopped: while this exists no other thread runs code of the program.
pub(crate) struct Stopped {
    _owners: Owners,
}

/// Makes stops possible. Once, before the first.
pub(crate) fn prepare() -> Result<(), StopError> {
    signal::install(on_signal).map_err(StopError::Os)
}

/// Finds out what can only be found out while the world runs.
pub(crate) fn look_ahead() {
    let owners = record::freeze();
    for record in record::all().filter(|record| record.is_subject()) {
        record.find_bounds(&owners);
    }
}

/// Stops the world.
pub(crate) fn stop() -> Result<Stopped, StopError> {
    for _ in 1..ATTEMPTS {
        match attempt(false) {
            Err(StopError::NotYet { .. }) => {
                let seen = ACKNOWLEDGED.load(Ordering::Acquire);
                futex::wait(&ACKNOWLEDGED, seen, clock::now_ns() + BETWEEN_NS);
            }
            outcome => return outcome,
        }
    }
    attempt(true)
}

fn attempt(is_last: bool) -> Result<Stopped, StopError> {
    let mut owners = record::freeze();
    for record in record::all().filter(|record| record.is_subject()) {
        request(record);
    }
    let mut outcome = wait_for_all();
    while outcome.is_ok() {
        outcome = match find_guests(&mut owners, is_last) {
            Ok(true) => wait_for_all(),
            Ok(false) => break,
            Err(error) => Err(error),
        };
    }
    // Before the threads go on, whose release orders it.
    STOPS.fetch_add(1, Ordering::Relaxed);
    let stopped = Stopped { _owners: owners };
    outcome.map(|()| stopped)
}

impl Stopped {
    /// The threads.
    pub(crate) fn threads(&self) -> impl Iterator<Item = &'static Record> {
        record::all().filter(|record| record.is_subject())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for record in self.threads() {
            release(record);
        }
    }
}

/// Asks a thread to stop.
fn request(record: &'static Record) {
    loop {
        let (from, to) = match record.state.load(Ordering::Acquire) {
            state::RUNNING => (state::RUNNING, state::REQUESTED),
            state::BLOCKED => (state::BLOCKED, state::HELD),
            _ => return,
        };
        if record.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            if to == state::REQUESTED && !record.signal() {
                record::dismiss(record);
            }
            return;
        }
    }
}

fn is_pending(record: &&'static Record) -> bool {
    record.is_subject() && record.state.load(Ordering::Acquire) == state::REQUESTED
}

/// Sleeps until all have acknowledged.
fn wait_for_all() -> Result<(), StopError> {
    let mut patience = clock::now_ns() + PATIENCE_NS;
    loop {
        let seen = ACKNOWLEDGED.load(Ordering::Acquire);
        if !record::all().any(|record| is_pending(&record)) {
            return Ok(());
        }
        if spin(&ACKNOWLEDGED, seen) || futex::wait(&ACKNOWLEDGED, seen, patience) {
            continue;
        }
        patience = clock::now_ns() + PATIENCE_NS;
        for record in record::all().filter(is_pending) {
            look_closer(record)?;
        }
    }
}

/// Looks at a word for a moment. True if it changed.
fn spin(word: &AtomicU32, seen: u32) -> bool {
    let end = clock::now_ns() + SPIN_NS;
    while word.load(Ordering::Acquire) == seen {
        if clock::now_ns() >= end {
            return false;
        }
        arch::spin_hint();
    }
    true
}

/// A thread takes its time: is it there, and can it hear?
fn look_closer(record: &'static Record) -> Result<(), StopError> {
    // A second signal is harmless, and says whether the thread is there.
    if !record.signal() {
        record::dismiss(record);
        return Ok(());
    }
    match signal::hearing(record.tid()) {
        Some(Hearing::Deaf) => {}
        Some(Hearing::NotYet) => return Err(StopError::NotYet { tid: record.tid() }),
        _ => return Ok(()),
    }
    if record.is_guest() {
        record::dismiss(record);
        DEAF.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    Err(StopError::Deaf { tid: record.tid() })
}

/// Asks threads that are not on the list. Returns whether there were any that could be asked. In the last attempt those that do not hear yet count as deaf: one who blocks everything for good, by
/// raw calls of its own.
fn find_guests(owners: &mut Owners, is_last: bool) -> Result<bool, StopError> {
    let guests = record::all().filter(|record| record.tid() != 0 && record.is_guest());
    let expected = record::known() + guests.count() + DEAF.load(Ordering::Relaxed);
    if thread::count().is_none_or(|count| count == expected) {
        return Ok(false);
    }
    DEAF.store(0, Ordering::Relaxed);
    let patience = clock::now_ns() + PATIENCE_NS;
    loop {
        let (mut found, mut deaf, mut not_yet) = (false, 0, None);
        thread::for_each(|tid| {
            if record::all().any(|record| record.tid() == tid) {
                return;
            }
            match signal::hearing(tid) {
                Some(Hearing::Hears) => {}
                Some(Hearing::NotYet) if is_last => return deaf += 1,
                Some(Hearing::NotYet) => return not_yet = Some(tid),
                Some(Hearing::Deaf) | None => return deaf += 1,
            }
            if let Some(record) = record::take_guest(owners, tid) {
                request(record);
                found = true;
            }
        });
        // One that is being born would run the program's code as soon as it hears, while the world is thought to stand still.
        let now = clock::now_ns();
        match not_yet {
            Some(tid) if !found && now >= patience => return Err(StopError::NotYet { tid }),
            Some(_) if !found => {}
            // What is not counted is looked for again after those who were found have answered.
            _ => {
                DEAF.store(deaf, Ordering::Relaxed);
                return Ok(found);
            }
        }
        let seen = ACKNOWLEDGED.load(Ordering::Acquire);
        futex::wait(&ACKNOWLEDGED, seen, now + BIRTH_NS);
    }
}

/// Lets a thread go on.
fn release(record: &'static Record) {
    let (to, wakes) = match record.state.load(Ordering::Acquire) {
        state::STOPPED => (state::RUNNING, true),
        state::HELD => match record.state.compare_exchange(
            state::HELD,
            state::BLOCKED,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => return,
            Err(_) => (state::BLOCKED, true),
        },
        state::WAITING => (state::BLOCKED, true),
        // The stop has failed before this one answered. If it answers now, it goes on at once.
        state::REQUESTED => match record.state.compare_exchange(
            state::REQUESTED,
            state::RUNNING,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => return,
            Err(_) => return release(record),
        },
        _ => return,
    };
    record.state.store(to, Ordering::Release);
    if wakes {
        futex::wake(&record.state, 1);
    }
}

/// A thread says that it has stopped. Signal-safe.
pub(super) fn acknowledge() {
    ACKNOWLEDGED.fetch_add(1, Ordering::Release);
    futex::wake(&ACKNOWLEDGED, 1);
}

/// The signal's handler.
fn on_signal(what: Interrupted) {
    if critical::defers() {
        return;
    }
    if let Some(record) = record::mine().or_else(record::guest) {
        stop_until_released(record, what);
    }
}

/// The end of a critical stretch in which a stop arrived.
#[cold]
#[inline(never)]
pub(super) fn stop_here() {
    let Some(record) = record::mine().or_else(record::guest) else { return };
    arch::with_all_in_memory(|sp| stop_until_released(record, Interrupted { sp, registers: (0, 0) }));
}

fn stop_until_released(record: &'static Record, what: Interrupted) {
    // It came late, or the thread has been held in its sleep meanwhile. From `REQUESTED` on only this thread, or a stop that fails, changes the state.
    if record.state.load(Ordering::Acquire) != state::REQUESTED {
        return;
    }
    record.set_place(what.sp, what.registers);
    // AcqRel: the place is seen with the state.
    if record
        .state
        .compare_exchange(state::REQUESTED, state::STOPPED, Ordering::AcqRel, Ordering::Acquire)
        .is_err()
    {
        return;
    }
    acknowledge();
    spin(&record.state, state::STOPPED);
    while record.state.load(Ordering::Acquire) == state::STOPPED {
        futex::wait(&record.state, state::STOPPED, u64::MAX);
    }
    if record.is_guest() {
        // Not by the collector: until here this thread reads the record, which must not be another's meanwhile. If the next stop has asked already, it finds this thread anew.
        record::dismiss(record);
    }
}
