//! Collected objects: allocation. Called by `gc`; calls the thread's `cache`, and `central` for large objects.
//!
//! [`pop`] and the slow paths are never inlined, because the thread-local's address must not be kept across a goroutine's switch (`local`). The address of an object that is not stored anywhere yet
//! is in a register or on the stack when a stop finds it.

use std::ptr::NonNull;

use super::arena::Kind;
use super::class;
use super::local::{self, Slow};
use super::owner::{Exhausted, Owner};
use super::{central, large, sample};
use crate::world::{critical, stop};

/// Why there is no object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// The heap is not in charge of the process's memory.
    NotInCharge,
    /// There is no memory.
    Exhausted,
}

/// What kind of object is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) bytes: usize,
    pub(crate) align: usize,
    /// Whether it may hold pointers, and is read by the marker.
    pub(crate) scan: bool,
}

impl Shape {
    fn kind(self) -> Kind {
        if self.scan { Kind::CollectedScan } else { Kind::CollectedNoscan }
    }
}

/// Whether values of a type are small objects: [`alloc_one`] is for them.
pub(crate) const fn is_small<T>() -> bool {
    class_of::<T>().is_some()
}

const fn class_of<T>() -> Option<usize> {
    if size_of::<T>() == 0 { None } else { class::of(size_of::<T>(), align_of::<T>()) }
}

/// The class, and the bytes of its slots, of a small type; zeros for others, for which this is compiled too.
const fn small<T>() -> (usize, usize) {
    match class_of::<T>() {
        Some(class) => (class, class::SIZES[class] as usize),
        None => (0, 0),
    }
}

/// A small object for one value of a type. What it holds beyond the value reads as zero if it is scanned.
///
/// `slow` is told, after a slow path, how many bytes were handed out: it may begin a collection.
// Its class is a constant, so nothing is left but the call of `pop`. (As a case of `alloc` it was computed each time: what the cold paths take by reference stays in memory. That and a load of
// bytes just stored cost 8 ns an object: trees18 took 600 ms.)
#[inline(always)]
pub(crate) fn alloc_one<T>(scan: bool, slow: fn(usize)) -> Result<NonNull<u8>, Refusal> {
    debug_assert!(is_small::<T>(), "the caller has looked");
    let (class, size) = const { small::<T>() };
    let bin = class * 2 + usize::from(!scan);
    let slot = match pop(bin) {
        Some(slot) => slot,
        None => alloc_slow(bin, slow)?,
    };
    if scan && size_of::<T>() < size {
        zero(slot, size_of::<T>(), size);
    }
    Ok(slot)
}

/// An object. What it may hold beyond what the caller is about to write reads as zero if it is scanned: the rest of its slot, or all of it with `zeroed`.
///
/// `slow`: as for [`alloc_one`].
#[inline]
pub(crate) fn alloc(shape: Shape, zeroed: bool, slow: fn(usize)) -> Result<NonNull<u8>, Refusal> {
    let Some(class) = class::of(shape.bytes.max(1), shape.align) else {
        return alloc_large(shape, zeroed, slow);
    };
    let bin = class * 2 + usize::from(!shape.scan);
    let slot = match pop(bin) {
        Some(slot) => slot,
        None => alloc_slow(bin, slow)?,
    };
    let from = if zeroed { 0 } else { shape.bytes };
    let to = if shape.scan { class::SIZES[class] as usize } else { shape.bytes };
    if from < to {
        zero(slot, from, to);
    }
    Ok(slot)
}

/// A slot of the thread's cache.
#[inline(never)]
fn pop(bin: usize) -> Option<NonNull<u8>> {
    local::owner().collected.alloc(bin)
}

/// Takes an object back before the next sweep would find it, where that is easy: a small one that was just allocated, a large one. Storage that has been outgrown is both, mostly, and is used again while it is in the
/// processor's cache. What else there is to it, such as weak pointers, is for [`alloc`]'s other callers: this is for storage, which has nothing.
///
/// # Safety
///
/// - `object` is of [`alloc`], with that shape, and nobody reads or writes it any more. A stale word that points to it does no harm: it keeps whoever comes next alive.
#[inline]
pub(crate) unsafe fn give_back(object: NonNull<u8>, shape: Shape) {
    match class::of(shape.bytes.max(1), shape.align) {
        Some(class) => push(class * 2 + usize::from(!shape.scan), object.as_ptr() as usize),
        None if local::is_aside() => {}
        None => central::take_back_large(object),
    }
}

/// A slot for the thread's cache.
#[inline(never)]
fn push(bin: usize, object: usize) {
    local::owner().collected.take_back(bin, object);
}

/// Makes an object larger where it is. False if it has to move. What is new may hold anything; if it is scanned, the caller zeroes it.
///
/// `slow`: as for [`alloc_one`].
///
/// # Safety
///
/// - `object` is of [`alloc`], with the shape `from`, and the caller's alone. `bytes` are more.
pub(crate) unsafe fn grow(object: NonNull<u8>, from: Shape, bytes: usize, slow: fn(usize)) -> bool {
    let is_large = class::of(from.bytes.max(1), from.align).is_none();
    if !is_large || local::is_aside() || !central::grow_large(object, bytes) {
        return false;
    }
    let more = bytes - from.bytes;
    central::count_handed_out(more);
    slow(more);
    true
}

/// Zeroes bytes of a slot. The rest of a slot is a word or two, for which a call of `memset` costs more than all else.
#[inline(always)]
fn zero(slot: NonNull<u8>, from: usize, to: usize) {
    let start = slot.as_ptr().wrapping_add(from);
    if to - from <= 32 && from.is_multiple_of(8) && to.is_multiple_of(8) {
        for word in 0..(to - from) / 8 {
            let word = start.cast::<u64>().wrapping_add(word);
            // SAFETY: inside the slot, which is aligned to 8 and nobody else's.
            unsafe { word.write_volatile(0) };
        }
        return;
    }
    // SAFETY: inside the slot, which is nobody else's.
    unsafe { start.write_bytes(0, to - from) };
}

#[cold]
#[inline(never)]
fn alloc_slow(bin: usize, slow: fn(usize)) -> Result<NonNull<u8>, Refusal> {
    let refill = |owner: &'static Owner| {
        let (mut is_sampled, mut handed_out) = (false, 0);
        loop {
            let (bytes, is_next) = owner.collected.refill(bin)?;
            central::count_handed_out(bytes);
            handed_out += bytes;
            is_sampled |= is_next;
            // None if a stop came in between.
            if let Some(slot) = owner.collected.alloc(bin) {
                return Ok((slot, is_sampled, handed_out));
            }
        }
    };
    let (slot, handed_out) = match local::with_slow(|owner| {
        refill(owner).or_else(|_: Exhausted| {
            owner.trim();
            refill(owner)
        })
    }) {
        Slow::Done(Ok((slot, is_sampled, handed_out))) => {
            if is_sampled {
                sample::record(slot.as_ptr() as usize, class::SIZES[bin / 2] as usize);
            }
            (slot, handed_out)
        }
        Slow::Done(Err(_)) => return Err(Refusal::Exhausted),
        Slow::Aside => return Err(Refusal::NotInCharge),
        Slow::NoRecord => return Err(Refusal::Exhausted),
    };
    slow(handed_out);
    Ok(slot)
}

#[cold]
#[inline(never)]
fn alloc_large(shape: Shape, zeroed: bool, slow: fn(usize)) -> Result<NonNull<u8>, Refusal> {
    if local::is_aside() {
        return Err(Refusal::NotInCharge);
    }
    let block = loop {
        let stops = stop::count();
        let take = || central::take_large(shape.kind(), shape.bytes, shape.align, zeroed);
        let span = take()
            .or_else(|_| {
                large::trim_caches();
                take()
            })
            .map_err(|_| Refusal::Exhausted)?;
        // Until its address is in a register nothing keeps it alive: if there was a stop, it may be gone.
        let block = critical::run(|| (stop::count() == stops).then(|| span.start() as *mut u8));
        if let Some(block) = block {
            break NonNull::new(block).ok_or(Refusal::Exhausted)?;
        }
    };
    central::count_handed_out(shape.bytes);
    sample::large(block.as_ptr(), shape.bytes);
    slow(shape.bytes);
    Ok(block)
}
