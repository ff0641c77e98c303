//! Memory for collected values: which kind of object a type needs, and what happens when there is none. Called by `ptr`; calls `heap::collected`.

use std::alloc::Layout;
use std::any::TypeId;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::collector;
use crate::heap::collected::{self, Refusal, Shape};

/// Whether values of a type may hold references, as far as that can be told: a pointer is aligned to eight, and numbers are none.
const fn may_refer<T>() -> bool {
    align_of::<T>() >= 8 && size_of::<T>() >= 8
}

/// A place of a collection that may hold a value. Not a `MaybeUninit` as it is, of which nothing is known: what others write into one of a number may be a pointer.
#[repr(transparent)]
pub(super) struct Place<T>(pub(super) MaybeUninit<T>);

impl<T> Place<T> {
    pub(super) const fn zeroed() -> Self {
        Self(MaybeUninit::zeroed())
    }
}

/// Whether a type is one of the numbers that are as wide as a pointer, or a place for one.
#[inline(always)]
fn is_number<T: 'static>() -> bool {
    let this = TypeId::of::<T>();
    let is = |that| this == that;
    is(TypeId::of::<u64>())
        || is(TypeId::of::<i64>())
        || is(TypeId::of::<f64>())
        || is(TypeId::of::<Place<u64>>())
        || is(TypeId::of::<Place<i64>>())
        || is(TypeId::of::<Place<f64>>())
}

/// Whether memory for values of a type is read by the marker.
#[inline(always)]
pub(super) fn is_scanned<T: 'static>() -> bool {
    may_refer::<T>() && !is_number::<T>()
}

/// Fails to compile for a type with a destructor.
pub(super) const fn assert_no_destructor<T>() {
    assert!(
        !std::mem::needs_drop::<T>(),
        "the collected heap runs no destructors: use `gc::GcDrop` for a type that has one, or build it of `Gc`, `Gc<str>`, atomics, this crate's `Mutex` and the collections in `gc`"
    );
}

/// Memory for a value; what is not written by the caller reads as zero if it is scanned.
#[inline(always)]
pub(super) fn one<T: 'static>() -> &'static mut MaybeUninit<T> {
    let place = if size_of::<T>() == 0 {
        NonNull::dangling()
    } else if const { collected::is_small::<T>() } {
        match collected::alloc_one::<T>(is_scanned::<T>(), collector::after_slow_path) {
            Ok(object) => object.cast(),
            Err(refusal) => again(Layout::new::<T>(), is_scanned::<T>(), refusal).cast(),
        }
    } else {
        raw(Layout::new::<T>(), is_scanned::<T>()).cast()
    };
    // SAFETY: fresh memory for a value, which lives as long as it can be reached, and nobody else's yet; or a value without size, which needs none.
    unsafe { &mut *place.as_ptr() }
}

/// Memory for `count` values; what is not written by the caller reads as zero if it is scanned.
#[inline(always)]
pub(super) fn array<T: 'static>(count: usize) -> &'static mut [MaybeUninit<T>] {
    let place = if count == 0 || size_of::<T>() == 0 {
        // Nothing is stored, so nothing is allocated.
        NonNull::dangling()
    } else {
        let Ok(layout) = Layout::array::<T>(count) else { too_large::<T>(count) };
        raw(layout, is_scanned::<T>()).cast()
    };
    // SAFETY: fresh memory for `count` values, which lives as long as it can be reached, and nobody else's yet; or values without size, which need none.
    unsafe { std::slice::from_raw_parts_mut(place.as_ptr(), count) }
}

/// Memory for a layout.
#[inline(always)]
pub(super) fn raw(layout: Layout, scan: bool) -> NonNull<u8> {
    let shape = Shape { bytes: layout.size(), align: layout.align(), scan };
    match collected::alloc(shape, false, collector::after_slow_path) {
        Ok(object) => object,
        Err(refusal) => again(layout, scan, refusal),
    }
}

/// Gives memory of [`raw`] back without waiting for the sweep.
///
/// # Safety
///
/// - It is of that layout and `scan`, and nobody reads or writes it any more.
#[inline]
pub(super) unsafe fn give_back(memory: NonNull<u8>, layout: Layout, scan: bool) {
    let shape = Shape { bytes: layout.size(), align: layout.align(), scan };
    // SAFETY: passed on.
    unsafe { collected::give_back(memory, shape) };
}

/// Makes memory of [`raw`] larger where it is; what is new may hold anything. False if it has to move.
///
/// # Safety
///
/// - It is of that layout and `scan`, and the caller's alone. `bytes` are more.
pub(super) unsafe fn grow(memory: NonNull<u8>, layout: Layout, bytes: usize, scan: bool) -> bool {
    let shape = Shape { bytes: layout.size(), align: layout.align(), scan };
    // SAFETY: passed on.
    unsafe { collected::grow(memory, shape, bytes, collector::after_slow_path) }
}

#[cold]
#[inline(never)]
fn again(layout: Layout, scan: bool, refusal: Refusal) -> NonNull<u8> {
    let shape = Shape { bytes: layout.size(), align: layout.align(), scan };
    let refusal = match refusal {
        Refusal::NotInCharge if collector::may_leak() => return leak(layout),
        Refusal::NotInCharge => refusal,
        Refusal::Exhausted => {
            collector::collect_for_memory();
            match collected::alloc(shape, false, collector::after_slow_path) {
                Ok(object) => return object,
                Err(refusal) => refusal,
            }
        }
    };
    match refusal {
        Refusal::NotInCharge => panic!(
            "Gc::new needs greenroutine's heap as the program's allocator, and it is not: the program has a #[global_allocator] of its own, or GREENROUTINE_HEAP=system is set, or \
             the kernel refused to reserve address space; `greenroutine doctor` says which"
        ),
        Refusal::Exhausted => std::alloc::handle_alloc_error(layout),
    }
}

/// Memory that is never freed: for checkers (Miri, Valgrind, sanitizers), under which the heap steps aside and nothing is collected.
#[cold]
fn leak(layout: Layout) -> NonNull<u8> {
    // SAFETY: the layout is not empty.
    let block = unsafe { std::alloc::alloc_zeroed(layout) };
    NonNull::new(block).unwrap_or_else(|| std::alloc::handle_alloc_error(layout))
}

#[cold]
#[inline(never)]
fn too_large<T>(count: usize) -> ! {
    panic!(
        "{count} values of {} bytes are more than the address space holds ({} bytes)",
        size_of::<T>(),
        isize::MAX
    )
}
