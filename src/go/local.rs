//! `task_local!`: values that belong to the goroutine, wherever it runs.

use std::fmt;
use std::ptr;

use crate::sched;

/// A key made by [`task_local!`](crate::task_local).
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
}

impl<T: 'static> LocalKey<T> {
    /// For the macro.
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> Self {
        Self { init }
    }

    /// Runs `f` with the calling goroutine's value, which is made on the first use and dropped when the goroutine ends. On a plain thread the
    /// value is that thread's own.
    pub fn with<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        sched::current_task(|task| {
            // Through the static's address, which is the key; a zero-sized `LocalKey` does not exist, it holds a function.
            let key = ptr::from_ref(self) as usize;
            let extras = task.extras_mut();
            // SAFETY: the extras are the calling task's own, and no reference into the list outlives the statement.
            let find = || unsafe { (*extras).locals.get_raw(key) };
            if find().is_none() {
                // May use other locals, or this one, and make it first.
                let value = Box::new((self.init)());
                // SAFETY: as above.
                let surplus = unsafe { (*extras).locals.insert(key, value) };
                drop(surplus);
            }
            let value = find().expect("it has just been made");
            // SAFETY: the box is the task's until it ends, and does not move when the list grows.
            let value = unsafe { &*value };
            f(value.downcast_ref::<T>().expect("the static's address is the key, and it has one type"))
        })
    }
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// Declares values that every goroutine has for itself.
///
/// Unlike a `thread_local!`, a task local follows its goroutine and is not shared with the others of its thread.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// greenroutine::task_local! {
///     /// How deep this goroutine is.
///     static DEPTH: Cell<u32> = Cell::new(0);
/// }
///
/// greenroutine::run(|| {
///     DEPTH.with(|depth| depth.set(5));
///     greenroutine::go(|| DEPTH.with(|depth| assert_eq!(depth.get(), 0))).join().unwrap();
///     DEPTH.with(|depth| assert_eq!(depth.get(), 5));
/// });
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $init:expr $(; $($rest:tt)*)?) => {
        $(#[$attribute])*
        $visibility static $name: $crate::task::LocalKey<$type> = $crate::task::LocalKey::new({
            fn init() -> $type {
                $init
            }
            init
        });
        $($crate::task_local! { $($rest)* })?
    };
}
