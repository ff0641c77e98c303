//! Thread records: all of them, those without a thread, and `fork`. Called by `local` (threads come and go), `owner` (adoption) and `stats`.
//!
//! A record, once made, is never freed. It is held by one thread, or it is *idle*: in the list here, under the lock. A thread that ends empties its magazines and leaves the record
//! with its partly used spans here; the next thread that begins takes it whole. A thread that needs a span looks at idle records before it asks for fresh memory, and adopts one
//! span at a time; frees that are still on the way to the old owner are passed on (`remote`).
//!
//! In the child after `fork` the records of the other threads are nobody's: their blocks can be used and freed, but their free slots are lost to the child. Both locks are held across
//! the fork, so what they guard is whole.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::owner::Owner;
use super::{central, pages, sample};
use crate::base::early_lock::EarlyLock;
use crate::base::lock::Rank;
use crate::sys::mem;
use crate::sys::thread;

/// Records in one piece of memory.
const CHUNK: usize = 8;
/// Idle records that one adoption looks at.
const ADOPTION: usize = 4;

pub(super) struct Records {
    /// Idle records, the most recent first.
    idle: *const Owner,
    /// Memory for records that were never used.
    fresh: usize,
    fresh_left: usize,
}

// SAFETY: `idle` points to records, which live for ever and are read under the lock.
unsafe impl Send for Records {}

static RECORDS: EarlyLock<Records> =
    EarlyLock::new(Rank::HeapRecords, Records { idle: ptr::null(), fresh: 0, fresh_left: 0 });
/// All records, through `Owner::next`. Only grows, under the lock.
static ALL: AtomicPtr<Owner> = AtomicPtr::new(ptr::null_mut());
/// How many are idle: so that nobody locks to find none.
static IDLE: AtomicUsize = AtomicUsize::new(0);
/// How many there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A record for the calling thread; none if there is no memory for one.
pub(super) fn take() -> Option<&'static Owner> {
    let mut records = RECORDS.lock();
    // SAFETY: null, or a record, which lives for ever.
    if let Some(owner) = unsafe { records.idle.as_ref() } {
        records.idle = owner.next_idle.load(Ordering::Relaxed);
        IDLE.fetch_sub(1, Ordering::Relaxed);
        return Some(owner);
    }
    fresh(&mut records)
}

/// A record that was never used.
fn fresh(records: &mut Records) -> Option<&'static Owner> {
    if records.fresh_left == 0 {
        records.fresh = mem::map((CHUNK * size_of::<Owner>()).next_multiple_of(mem::PAGE)).ok()?;
        records.fresh_left = CHUNK;
    }
    let at = records.fresh as *const Owner;
    records.fresh += size_of::<Owner>();
    records.fresh_left -= 1;
    // SAFETY: fresh memory of ours that is never unmapped, zeroed, which is `Owner::empty()`: counters of 0 and null pointers in atomics.
    let owner = unsafe { &*at };
    owner.next.store(ALL.load(Ordering::Relaxed), Ordering::Relaxed);
    // Release pairs with the Acquire in `all`.
    ALL.store(at.cast_mut(), Ordering::Release);
    COUNT.fetch_add(1, Ordering::Relaxed);
    Some(owner)
}

/// Makes a record idle; its thread has it no more.
pub(super) fn give(owner: &'static Owner) {
    let mut records = RECORDS.lock();
    owner.next_idle.store(records.idle.cast_mut(), Ordering::Relaxed);
    records.idle = owner;
    IDLE.fetch_add(1, Ordering::Relaxed);
}

/// A span with free slots of a thread that is gone. It is in no list yet.
pub(super) fn adopt(bin: usize, owner: &'static Owner) -> Option<&'static super::span::Span> {
    if IDLE.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let mut records = RECORDS.lock();
    let mut first_looked_at = ptr::null();
    for _ in 0..ADOPTION {
        // SAFETY: null, or a record, which lives for ever.
        let idle = unsafe { records.idle.as_ref() }?;
        if ptr::eq(idle, first_looked_at) {
            return None;
        }
        if let Some(span) = idle.give_away(bin) {
            span.set_owner(owner);
            return Some(span);
        }
        if first_looked_at.is_null() {
            first_looked_at = idle;
        }
        rotate(&mut records);
    }
    None
}

/// The first idle record becomes the last: the next one who looks begins elsewhere.
fn rotate(records: &mut Records) {
    let first = records.idle;
    let mut at = first;
    // SAFETY: null, or a record, which lives for ever.
    while let Some(owner) = unsafe { at.as_ref() } {
        let next = owner.next_idle.load(Ordering::Relaxed);
        if next.is_null() {
            if !ptr::eq(at, first) {
                owner.next_idle.store(first.cast_mut(), Ordering::Relaxed);
                // SAFETY: as above, and not null: the list has two records or more.
                let first = unsafe { &*first };
                records.idle = first.next_idle.swap(ptr::null_mut(), Ordering::Relaxed);
            }
            return;
        }
        at = next;
    }
}

/// Gives back what idle records hold free.
pub(super) fn trim_idle() {
    let records = RECORDS.lock();
    let mut at = records.idle;
    // SAFETY: null, or a record, which lives for ever.
    while let Some(owner) = unsafe { at.as_ref() } {
        owner.slowly(|| owner.trim());
        at = owner.next_idle.load(Ordering::Relaxed);
    }
}

/// All records, held or idle. What a held one holds is its thread's; for statistics, and for who has stopped the threads.
pub(crate) fn all() -> impl Iterator<Item = &'static Owner> {
    // Acquire pairs with the Release in `take`.
    let mut at = ALL.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: null, or a record, which lives for ever.
        let owner = unsafe { at.as_ref() }?;
        at = owner.next.load(Ordering::Relaxed);
        Some(owner)
    })
}

/// Evidence that no record changes hands.
pub(super) struct Held {
    _records: crate::base::early_lock::EarlyLocked<'static, Records>,
}

/// Keeps records where they are.
pub(super) fn hold() -> Held {
    Held { _records: RECORDS.lock() }
}

/// Records, and how many of them are idle.
pub(super) fn counts() -> (usize, usize) {
    (COUNT.load(Ordering::Relaxed), IDLE.load(Ordering::Relaxed))
}

/// Has the locks of the layer held around every fork. Called once.
pub(super) fn prepare_for_forks() {
    // Without: a child that is forked while another thread holds a lock might wait for ever, as with any allocator that has no handlers.
    let _ = thread::around_fork(before_fork, after_fork, after_fork_in_child);
}

extern "C" fn before_fork() {
    RECORDS.hold_for_fork();
    central::hold_for_fork();
    pages::lock_for_fork().hold_for_fork();
    sample::hold_for_fork();
}

extern "C" fn after_fork_in_child() {
    after_fork();
    crate::world::after_fork_in_child();
}

extern "C" fn after_fork() {
    sample::release_after_fork();
    pages::lock_for_fork().release_after_fork();
    central::release_after_fork();
    RECORDS.release_after_fork();
}
