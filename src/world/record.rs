//! [`Record`]: one thread, as the collector sees it. Records live for ever and are used again.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use crate::arch;
use crate::base::early_lock::EarlyLock;
use crate::base::lock::Rank;
use crate::sys::{mem, stop, thread};

pub(super) mod state {
    /// Runs.
    pub(crate) const RUNNING: u32 = 0;
    /// Runs, and has been asked to stop.
    pub(crate) const REQUESTED: u32 = 1;
    /// In the signal's handler, or where a critical stretch ended.
    pub(crate) const STOPPED: u32 = 2;
    /// Sleeps in the kernel; `sp` says from where on its stack is in use.
    pub(crate) const BLOCKED: u32 = 3;
    /// As `BLOCKED`, and must not leave.
    pub(crate) const HELD: u32 = 4;
    /// As `HELD`, and waits to leave.
    pub(crate) const WAITING: u32 = 5;
}

/// A registered thread.
const MEMBER: u32 = 0;
/// An unregistered one: the record is for the stop that has found it.
const GUEST: u32 = 1;
/// A thread of the collector's: never stopped.
const EXEMPT: u32 = 2;

/// See the file's documentation.
#[repr(align(64))]
pub(crate) struct Record {
    /// The list of all records: written once, before the record is in it.
    next: AtomicPtr<Record>,
    /// The kernel's number of the thread; 0 while the record is nobody's. Written under the lock.
    tid: AtomicI32,
    /// See the table in `mod`. Also the futex on which the thread waits for the end of a stop.
    pub(super) state: AtomicU32,
    /// `MEMBER`, `GUEST` or `EXEMPT`.
    role: AtomicU32,
    /// What follows is the thread's to write while it runs, and the collector's to read while it is stopped.
    sp: AtomicUsize,
    /// Where its registers are, `[start, end)`, apart from the stack above `sp`.
    registers: [AtomicUsize; 2],
    /// The C library's name of the thread.
    handle: AtomicUsize,
    /// Its stack, `[low, high)`; 0 until somebody asked.
    bounds: [AtomicUsize; 2],
    thread_pointer: AtomicUsize,
}

mod words {
    use super::Cell;
    use super::Record;

    // Null until the thread is registered, and after it has ended. Without destructor, so that it may be read in signal handlers and at any time.
    std::thread_local!(pub(super) static MINE: Cell<*const Record> = const { Cell::new(super::ptr::null()) });
}

/// Guards the owners of records.
static OWNERS: EarlyLock<Fresh> = EarlyLock::new(Rank::World, Fresh { at: 0, left: 0 });
static ALL: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());
/// Threads that have a record and are no guests.
static REGISTERED: AtomicUsize = AtomicUsize::new(0);

/// Records in one piece of memory.
const CHUNK: usize = 32;

/// Memory for records that were never used.
pub(super) struct Fresh {
    at: usize,
    left: usize,
}

/// Evidence that no thread can be registered or unregistered.
pub(super) type Owners = crate::base::early_lock::EarlyLocked<'static, Fresh>;

/// Keeps all records with their threads.
pub(super) fn freeze() -> Owners {
    OWNERS.lock()
}

/// Gives the calling thread a record, unless it has one. Without memory for it the thread goes without, and a stop finds it by the audit.
#[inline(never)]
pub(crate) fn register() {
    if cfg!(miri) || !words::MINE.with(Cell::get).is_null() {
        return;
    }
    let mut owners = OWNERS.lock();
    if let Some(record) = take(&mut owners, thread::tid()) {
        record.handle.store(thread::handle(), Ordering::Relaxed);
        record.thread_pointer.store(arch::thread_pointer(), Ordering::Relaxed);
        REGISTERED.fetch_add(1, Ordering::Relaxed);
        words::MINE.with(|mine| mine.set(record));
    }
}

/// The calling thread ends: it runs no code of the program any more.
pub(crate) fn unregister() {
    // First: a stop that begins now finds no record that it could write to, and sees a guest.
    let mine = words::MINE.with(Cell::get);
    let _owners = OWNERS.lock();
    // SAFETY: null, or a record, which lives for ever.
    let Some(record) = (unsafe { mine.as_ref() }) else { return };
    words::MINE.with(|mine| mine.set(ptr::null()));
    record.tid.store(0, Ordering::Relaxed);
    REGISTERED.fetch_sub(1, Ordering::Relaxed);
}

/// The calling thread is the collector's, for good: it is never stopped, and holds no references of the program. False if there is no memory for a record.
pub(crate) fn exempt() -> bool {
    register();
    let mine = mine();
    if let Some(record) = mine {
        record.role.store(EXEMPT, Ordering::Release);
    }
    mine.is_some()
}

/// Forks between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between the first process and this one.
#[inline]
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// In the child of a fork, which has one thread, with a number of its own.
pub(crate) fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    let mine = mine();
    for record in all().filter(|record| record.tid() != 0) {
        match mine {
            Some(mine) if ptr::eq(mine, record) => record.tid.store(thread::tid(), Ordering::Relaxed),
            _ => dismiss(record),
        }
    }
}

/// Threads that are known.
pub(super) fn known() -> usize {
    REGISTERED.load(Ordering::Relaxed)
}

/// A record for that thread, in state `RUNNING`.
fn take(fresh: &mut Owners, tid: i32) -> Option<&'static Record> {
    let record = match all().find(|record| record.tid.load(Ordering::Acquire) == 0) {
        Some(record) => record,
        None => {
            if fresh.left == 0 {
                fresh.at = mem::map((CHUNK * size_of::<Record>()).next_multiple_of(mem::PAGE)).ok()?;
                fresh.left = CHUNK;
            }
            let at = fresh.at as *const Record;
            fresh.at += size_of::<Record>();
            fresh.left -= 1;
            // SAFETY: fresh memory of ours that is never unmapped; zeroed atomics are a valid record.
            let record = unsafe { &*at };
            record.next.store(ALL.load(Ordering::Relaxed), Ordering::Relaxed);
            // Release pairs with the Acquire in `all`.
            ALL.store(at.cast_mut(), Ordering::Release);
            record
        }
    };
    record.state.store(state::RUNNING, Ordering::Relaxed);
    record.role.store(MEMBER, Ordering::Relaxed);
    for word in [&record.bounds[0], &record.bounds[1], &record.thread_pointer, &record.handle] {
        word.store(0, Ordering::Relaxed);
    }
    record.tid.store(tid, Ordering::Release);
    Some(record)
}

/// A record for a thread that the audit has found; it goes with [`dismiss`].
pub(super) fn take_guest(owners: &mut Owners, tid: i32) -> Option<&'static Record> {
    let record = take(owners, tid)?;
    record.role.store(GUEST, Ordering::Relaxed);
    Some(record)
}

/// The record is nobody's again: of a guest after a stop, or of a thread that is gone without having said so (the child of a fork has only one).
pub(super) fn dismiss(record: &'static Record) {
    if !record.is_guest() {
        REGISTERED.fetch_sub(1, Ordering::Relaxed);
    }
    // Release pairs with the Acquire in `take`: the record is read no more.
    record.tid.store(0, Ordering::Release);
}

/// The calling thread's record. Signal-safe.
pub(super) fn mine() -> Option<&'static Record> {
    // SAFETY: null, or a record, which lives for ever.
    unsafe { words::MINE.with(Cell::get).as_ref() }
}

/// The record that the audit has made for the calling thread. Signal-safe.
pub(super) fn guest() -> Option<&'static Record> {
    let tid = thread::tid();
    // Acquire pairs with the Release in `take`.
    all().find(|record| record.tid.load(Ordering::Acquire) == tid && record.is_guest())
}

/// All records, also those that are nobody's.
pub(super) fn all() -> impl Iterator<Item = &'static Record> {
    // Acquire pairs with the Release in `take`.
    let mut at = ALL.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: null, or a record, which lives for ever.
        let record = unsafe { at.as_ref() }?;
        at = record.next.load(Ordering::Relaxed);
        Some(record)
    })
}

/// For registers: there are none, and the thread has nothing to do.
pub(super) const RESTS: (usize, usize) = (8, 8);

impl Record {
    /// Whether the stopped thread is one of the runtime's that has nothing to do.
    pub(crate) fn rests(&self) -> bool {
        self.registers() == RESTS
    }

    /// The kernel's number of the thread; 0 if the record is nobody's.
    pub(crate) fn tid(&self) -> i32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Whether the record is for one stop only.
    pub(super) fn is_guest(&self) -> bool {
        self.role.load(Ordering::Relaxed) == GUEST
    }

    /// Whether a thread has the record, and is to be stopped.
    pub(super) fn is_subject(&self) -> bool {
        self.tid() != 0 && self.role.load(Ordering::Relaxed) != EXEMPT
    }

    /// Says where the thread is, before it stops or sleeps.
    pub(super) fn set_place(&self, sp: usize, registers: (usize, usize)) {
        self.sp.store(sp, Ordering::Relaxed);
        self.registers[0].store(registers.0, Ordering::Relaxed);
        self.registers[1].store(registers.1, Ordering::Relaxed);
    }

    /// The stack pointer of the stopped thread.
    pub(crate) fn sp(&self) -> usize {
        self.sp.load(Ordering::Relaxed)
    }

    /// Where the registers of the stopped thread are.
    pub(crate) fn registers(&self) -> (usize, usize) {
        (self.registers[0].load(Ordering::Relaxed), self.registers[1].load(Ordering::Relaxed))
    }

    /// The thread's stack, if it is known.
    pub(crate) fn bounds(&self) -> Option<(usize, usize)> {
        let (low, high) = (self.bounds[0].load(Ordering::Relaxed), self.bounds[1].load(Ordering::Relaxed));
        (high != 0).then_some((low, high))
    }

    /// The thread's control block; 0 if it is not known.
    pub(crate) fn thread_pointer(&self) -> usize {
        self.thread_pointer.load(Ordering::Relaxed)
    }

    /// Finds out where the thread's stack is. It may allocate, so: before the stop, and the caller keeps the thread from ending.
    pub(super) fn find_bounds(&self, _owners: &Owners) {
        let handle = self.handle.load(Ordering::Relaxed);
        // A guest of the last stop that has not left yet has none.
        if self.bounds().is_some() || handle == 0 {
            return;
        }
        // SAFETY: a registered thread has not ended: it unregisters before, which takes the lock that the caller holds.
        if let Some((low, high)) = unsafe { thread::stack_bounds(handle) } {
            self.bounds[0].store(low, Ordering::Relaxed);
            self.bounds[1].store(high, Ordering::Relaxed);
        }
    }

    /// Sends the signal. False if the thread is gone.
    pub(super) fn signal(&self) -> bool {
        stop::send(self.tid())
    }
}
