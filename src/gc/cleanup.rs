//! [`on_collect`]: functions that are called when an object is gone.

use super::ptr::Gc;
use super::reap;
use crate::arch;

/// Has `f` called once nobody reaches the value any more. Go's `runtime.AddCleanup`.
///
/// It is called once, some time after the cycle that has found the value unreachable, on the finalizer's goroutine (or thread); not at the end of the program. A value may have several, which are called in any
/// order. `f` never sees the value: it owns what has to be cleaned up.
///
/// `f` must not hold the pointer, nor anything that leads to it: then the value can always be reached, through `f`. A value without size lives for ever.
///
/// # Panics
///
/// A panic of `f` is reported on standard error, and goes no further.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, channel, gc};
///
/// # if gc::stats().backend == gc::Backend::Off { return }
/// let (sender, receiver) = channel::unbounded();
/// for number in 0..100 {
///     let sender = sender.clone();
///     gc::on_collect(Gc::new([number; 4]), move || sender.send(number).unwrap());
/// }
/// // Nobody has them any more, so some cycle will notice.
/// gc::collect();
/// assert!(receiver.recv().unwrap() < 100);
/// ```
pub fn on_collect<T: ?Sized + 'static, F: FnOnce() + Send + 'static>(gc: Gc<T>, f: F) -> Cleanup {
    let object = Gc::as_ptr(gc).cast::<u8>() as usize;
    let call = Box::new(f);
    let number = reap::tables().add_cleanup(object, call);
    // Until here the object is alive, so the entry is right.
    arch::opaque(object);
    Cleanup { number }
}

/// A function that waits for the end of a value: [`on_collect`]. Dropping this changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cleanup {
    number: usize,
}

impl Cleanup {
    /// The function is not called any more, and dropped. Returns whether it was still to be called; false also if its value is gone and the call is on its way.
    pub fn stop(&self) -> bool {
        // Dropped here, not under the lock.
        let call = reap::tables().take_cleanup(self.number);
        call.is_some()
    }
}
