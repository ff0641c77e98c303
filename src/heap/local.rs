//! Which record the calling thread has. Called by `entry`.
//!
//! | state of the thread | its pointer | allocation goes |
//! | --- | --- | --- |
//! | new | the empty record | here: it gets a record |
//! | running | its record | through its magazines |
//! | ended (its exit handler has run) | the empty record | through an idle record, borrowed for one call |
//! | the heap stepped aside | the empty record | to the system |
//!
//! The empty record's magazines hold nothing and take nothing, so the fast paths need no test for any of this.
//!
//! The pointer is a thread-local without destructor: a word at a fixed offset, valid from the thread's first instruction to its last, so allocation works before `main` and in the
//! destructors of other thread-locals. The record is given back by a `pthread` key's destructor, which runs after those.
//!
//! **Goroutines change threads** in free migration mode, and a compiler that keeps a thread-local's address across a switch would use another thread's magazines. So the address is
//! taken only inside functions that are never inlined and in which no switch happens (`entry`); it does not outlive a call.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::owner::Owner;
use super::{pages, registry};
use crate::sys::thread;

struct Empty(Owner);

// SAFETY: made of atomics that nobody writes: no magazine of it takes or holds anything, and it is in no list.
unsafe impl Sync for Empty {}

static EMPTY: Empty = Empty(Owner::empty());

mod words {
    use super::Cell;
    use super::Owner;

    std::thread_local!(pub(super) static OWNER: Cell<&'static Owner> = const { Cell::new(&super::EMPTY.0) });
    // Whether the thread's exit handler has run.
    std::thread_local!(pub(super) static HAS_ENDED: Cell<bool> = const { Cell::new(false) });
}

/// Whether the heap serves this process. Set once, under no lock: the answer is `pages`'.
static MODE: AtomicU32 = AtomicU32::new(UNKNOWN);
const UNKNOWN: u32 = 0;
const STARTING: u32 = 1;
const OURS: u32 = 2;
const ASIDE: u32 = 3;

/// The `pthread` key, plus 1; 0 if there is none.
static KEY: AtomicUsize = AtomicUsize::new(0);

/// What [`with_slow`] found.
pub(super) enum Slow<T> {
    Done(T),
    /// The system's allocator is in charge.
    Aside,
    /// There is no memory for a record.
    NoRecord,
}

/// The calling thread's record, or the empty one.
#[inline(always)]
pub(super) fn owner() -> &'static Owner {
    // Always there: without destructor it is never destroyed.
    words::OWNER.with(Cell::get)
}

/// Whether the record is a real one.
#[inline(always)]
fn is_real(owner: &'static Owner) -> bool {
    !std::ptr::eq(owner, &EMPTY.0)
}

/// Lets the thread's record put itself in order: on paths that do not use its magazines.
#[inline]
pub(super) fn tidy() {
    let owner = owner();
    if is_real(owner) {
        owner.tidy();
    }
}

/// Whether anybody has asked for memory yet.
pub(super) fn is_started() -> bool {
    MODE.load(Ordering::Acquire) != UNKNOWN
}

/// Whether the system's allocator is in charge.
#[inline]
pub(super) fn is_aside() -> bool {
    match MODE.load(Ordering::Acquire) {
        OURS => false,
        ASIDE => true,
        _ => start() == ASIDE,
    }
}

/// Calls `work` with a record that nobody else uses meanwhile: the thread's own, or a borrowed one.
#[inline]
pub(super) fn with_slow<T>(work: impl FnOnce(&'static Owner) -> T) -> Slow<T> {
    let owner = owner();
    if is_real(owner) {
        let result = owner.slowly(|| work(owner));
        look_up(owner);
        return Slow::Done(result);
    }
    with_new(work)
}

/// Has the record follow if sampling has begun or ended. At the end of every slow path, so that who begins it and then sets all `cap`s to 0 is noticed by every thread (`sample::start`): a thread that has set one
/// after that looks here.
#[inline(always)]
fn look_up(owner: &'static Owner) {
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    if owner.is_stale() {
        follow(owner);
    }
}

/// Has the calling thread follow now.
pub(super) fn catch_up() {
    let owner = owner();
    if is_real(owner) {
        look_up(owner);
    }
}

#[cold]
#[inline(never)]
fn follow(owner: &'static Owner) {
    owner.slowly(|| owner.follow());
}

#[inline(never)]
fn with_new<T>(work: impl FnOnce(&'static Owner) -> T) -> Slow<T> {
    if is_aside() {
        return Slow::Aside;
    }
    let Some(owner) = registry::take() else { return Slow::NoRecord };
    if register(owner) {
        look_up(owner);
        return Slow::Done(owner.slowly(|| work(owner)));
    }
    let result = owner.slowly(|| work(owner));
    registry::give(owner);
    Slow::Done(result)
}

/// Makes the record this thread's until it ends. False if it has ended already, or cannot be told when it does.
fn register(owner: &'static Owner) -> bool {
    let key = KEY.load(Ordering::Relaxed);
    if key == 0 || words::HAS_ENDED.with(Cell::get) {
        return false;
    }
    // The C library may allocate for this, with its own allocator; should that be ours, this thread already has its record.
    words::OWNER.with(|cell| cell.set(owner));
    let is_set = thread::set_at_exit(key as u32 - 1, std::ptr::from_ref(owner).cast());
    if is_set {
        crate::world::register();
    } else {
        words::OWNER.with(|cell| cell.set(&EMPTY.0));
        words::HAS_ENDED.with(|ended| ended.set(true));
    }
    is_set
}

/// The thread ends.
extern "C" fn thread_ends(owner: *mut c_void) {
    words::HAS_ENDED.with(|ended| ended.set(true));
    words::OWNER.with(|cell| cell.set(&EMPTY.0));
    // SAFETY: the value that `register` set: a record, which lives for ever and is this thread's.
    let owner = unsafe { &*owner.cast_const().cast::<Owner>() };
    owner.slowly(|| {
        owner.leave();
        owner.trim();
    });
    registry::give(owner);
    crate::world::unregister();
}

/// Finds out whether the heap serves this process. Only one thread does; others wait for its answer.
#[cold]
fn start() -> u32 {
    if MODE.compare_exchange(UNKNOWN, STARTING, Ordering::Acquire, Ordering::Acquire).is_ok() {
        let is_ours = !super::steps_aside() && pages::start();
        if is_ours {
            // Before others can see OURS: no thread has a record without an exit handler, unless there is no key.
            let key = thread::at_exit_key(thread_ends).map_or(0, |key| key as usize + 1);
            KEY.store(key, Ordering::Relaxed);
            registry::prepare_for_forks();
        }
        // Release pairs with the Acquire in `is_aside`.
        MODE.store(if is_ours { OURS } else { ASIDE }, Ordering::Release);
    }
    loop {
        match MODE.load(Ordering::Acquire) {
            STARTING => crate::arch::spin_hint(),
            mode => return mode,
        }
    }
}
