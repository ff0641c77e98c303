//! The payload of a cell: first the closure, then the result. All code that knows their types is here.
//!
//! A closure or a result that does not fit (960 bytes, alignment 64) is boxed; that costs an allocation and nothing else.

use std::any::Any;
use std::mem::{align_of, size_of};

use super::cell::{Outcome, PAYLOAD, Task};
use crate::base::meta;
use crate::stack::StackError;

/// The functions that know a goroutine's types.
pub(crate) struct Vtable {
    /// Takes the closure out of the payload, runs it, puts the result there. Unwinds if the closure does; the payload
    /// holds nothing then.
    pub(crate) run: unsafe fn(&Task),
    /// Drops the closure in the payload.
    pub(crate) drop_closure: unsafe fn(&Task),
    /// Drops the value in the payload.
    pub(crate) drop_value: unsafe fn(&Task),
}

const LARGEST: usize = Task::payload_of(meta::SIZES.len() - 1);

const fn fits<T>() -> bool {
    size_of::<T>() <= LARGEST && align_of::<T>() <= meta::ALIGN
}

const fn stored_size<T>() -> usize {
    if fits::<T>() { size_of::<T>() } else { size_of::<Box<T>>() }
}

/// The size class of a cell for closure `F` and result `T`.
pub(crate) const fn class_for<F, T>() -> usize {
    let (closure, value) = (stored_size::<F>(), stored_size::<T>());
    let larger = if closure > value { closure } else { value };
    match meta::class_of(PAYLOAD + larger) {
        Some(class) => class,
        None => panic!("what fits() accepts fits the largest class"),
    }
}

/// Writes `value` to the payload.
///
/// # Safety
///
/// - The payload holds nothing, is the caller's, and is large enough: the cell's class came from [`class_for`] with `T`.
#[inline(always)]
unsafe fn put<T>(task: &Task, value: T) {
    if const { fits::<T>() } {
        // SAFETY: large enough by the contract, and aligned: cells and PAYLOAD are multiples of 64.
        unsafe { task.payload().cast::<T>().write(value) }
    } else {
        // SAFETY: as above.
        unsafe { task.payload().cast::<Box<T>>().write(Box::new(value)) }
    }
}

/// Takes a `T` out of the payload.
///
/// # Safety
///
/// - The payload is the caller's and holds a `T` written by [`put`]; it holds nothing afterwards.
#[inline(always)]
unsafe fn take<T>(task: &Task) -> T {
    if const { fits::<T>() } {
        // SAFETY: by the contract.
        unsafe { task.payload().cast::<T>().read() }
    } else {
        // SAFETY: by the contract.
        *unsafe { task.payload().cast::<Box<T>>().read() }
    }
}

struct Typed<F, T>(std::marker::PhantomData<(F, T)>);

impl<F: FnOnce() -> T, T> Typed<F, T> {
    const VTABLE: Vtable =
        Vtable { run: Self::run, drop_closure: Self::drop_closure, drop_value: Self::drop_value };

    /// # Safety
    ///
    /// - As [`take`] for `F` and [`put`] for `T`.
    unsafe fn run(task: &Task) {
        // SAFETY: by the contract.
        let f = unsafe { take::<F>(task) };
        let value = f();
        // SAFETY: the closure was taken out, so the payload holds nothing.
        unsafe { put(task, value) };
        task.outcome.set(Outcome::Value);
    }

    /// # Safety
    ///
    /// - As [`take`] for `F`.
    unsafe fn drop_closure(task: &Task) {
        // SAFETY: by the contract.
        drop(unsafe { take::<F>(task) });
    }

    /// # Safety
    ///
    /// - As [`take`] for `T`.
    unsafe fn drop_value(task: &Task) {
        // SAFETY: by the contract.
        drop(unsafe { take::<T>(task) });
    }
}

/// Puts a closure into a fresh cell.
///
/// # Safety
///
/// - Nobody else knows the cell, its payload holds nothing, and its class is `class_for::<F, T>()` or larger.
/// - `F` and `T` outlive the goroutine: they are `'static`, or somebody waits for it before they end (`scope`, `run`).
#[inline(always)]
pub(crate) unsafe fn put_closure<F: FnOnce() -> T, T>(task: &Task, f: F) {
    // SAFETY: by the contract.
    unsafe { put(task, f) };
    task.vtable.set(&Typed::<F, T>::VTABLE);
    task.outcome.set(Outcome::None);
}

/// Runs the closure.
///
/// # Safety
///
/// - The caller is the goroutine; the payload holds the closure.
#[inline(always)]
pub(crate) unsafe fn run(task: &Task) {
    // SAFETY: the vtable was made for what the payload holds.
    unsafe { (task.vtable.get().run)(task) }
}

/// Drops the closure of a goroutine that never ran.
///
/// # Safety
///
/// - The payload is the caller's and holds the closure; it holds nothing afterwards.
pub(crate) unsafe fn drop_closure(task: &Task) {
    // SAFETY: by the contract.
    unsafe { (task.vtable.get().drop_closure)(task) }
}

/// Takes the value out.
///
/// # Safety
///
/// - The payload is the caller's, the outcome is `Value`, and the goroutine was spawned with this `T`.
#[inline(always)]
pub(crate) unsafe fn take_value<T>(task: &Task) -> T {
    task.outcome.set(Outcome::Taken);
    // SAFETY: by the contract.
    unsafe { take::<T>(task) }
}

/// Keeps what a panic carried.
///
/// # Safety
///
/// - The payload is the caller's and holds nothing. (Every class has room for a fat pointer.)
pub(crate) unsafe fn put_panic(task: &Task, payload: Box<dyn Any + Send>) {
    // SAFETY: by the contract.
    unsafe { put(task, payload) };
    task.outcome.set(Outcome::Panic);
}

/// Takes out what a panic carried.
///
/// # Safety
///
/// - The payload is the caller's and the outcome is `Panic`.
pub(crate) unsafe fn take_panic(task: &Task) -> Box<dyn Any + Send> {
    task.outcome.set(Outcome::Taken);
    // SAFETY: by the contract.
    unsafe { take(task) }
}

/// Keeps why the goroutine could not start.
///
/// # Safety
///
/// - The payload is the caller's and holds nothing.
pub(crate) unsafe fn put_refusal(task: &Task, error: StackError) {
    // SAFETY: by the contract.
    unsafe { put(task, Box::new(error)) };
    task.outcome.set(Outcome::NoStack);
}

/// Takes out why the goroutine could not start.
///
/// # Safety
///
/// - The payload is the caller's and the outcome is `NoStack`.
pub(crate) unsafe fn take_refusal(task: &Task) -> Box<StackError> {
    task.outcome.set(Outcome::Taken);
    // SAFETY: by the contract.
    unsafe { take(task) }
}

/// Drops whatever the payload of a goroutine that has ended holds, except a panic, which is returned.
///
/// # Safety
///
/// - The payload is the caller's and the goroutine has ended.
pub(crate) unsafe fn drop_result(task: &Task) -> Option<Box<dyn Any + Send>> {
    match task.outcome.replace(Outcome::Taken) {
        Outcome::Value => {
            // SAFETY: the outcome says that the payload holds the value the vtable was made for.
            unsafe { (task.vtable.get().drop_value)(task) }
        }
        Outcome::Panic => {
            // SAFETY: the outcome says so.
            return Some(unsafe { take(task) });
        }
        Outcome::NoStack => {
            // SAFETY: the outcome says so.
            drop(unsafe { take::<Box<StackError>>(task) });
        }
        Outcome::None | Outcome::Cancelled | Outcome::Goexit | Outcome::Taken => {}
    }
    None
}
