//! What the sanitizers' runtimes must be told, in builds that are made for one (`.ci/sanitize`); nothing in all others.
//!
//! - **AddressSanitizer** learns of each switch of stacks from corosensei (its feature `sanitizer`). What it cannot know there: a stack that is given back to the kernel holds frames still, and
//!   nobody ever returns from them. [`forget_frames`] clears what it has marked for them.
//! - **ThreadSanitizer** keeps a call stack and a clock for each stack that code runs on: a *fiber*. [`Fiber`] is one. The switch orders what comes before it and what comes after, as it
//!   must: both are the same thread's.

/// What ThreadSanitizer knows of a stack. Zeroed memory is one that it has not heard of.
pub(crate) struct Fiber {
    #[cfg(tsan)]
    name: std::sync::atomic::AtomicPtr<libc::c_void>,
}

#[cfg(tsan)]
unsafe extern "C" {
    fn __tsan_get_current_fiber() -> *mut libc::c_void;
    fn __tsan_create_fiber(flags: u32) -> *mut libc::c_void;
    fn __tsan_destroy_fiber(fiber: *mut libc::c_void);
    fn __tsan_switch_to_fiber(fiber: *mut libc::c_void, flags: u32);
}

#[cfg(tsan)]
mod imp {
    use super::*;
    use std::ptr;
    use std::sync::atomic::Ordering::Relaxed;

    impl Fiber {
        pub(crate) const fn new() -> Self {
            Self { name: std::sync::atomic::AtomicPtr::new(ptr::null_mut()) }
        }

        /// Says that `resume` runs on this stack until it returns. Around the whole call, because then the functions that `resume` enters before the switch are counted on the
        /// same call stack as those that it leaves behind it.
        #[inline(always)]
        pub(crate) fn run<T>(&self, resume: impl FnOnce() -> T) -> T {
            // SAFETY: no preconditions.
            let before = unsafe { __tsan_get_current_fiber() };
            let mut fiber = self.name.load(Relaxed);
            if fiber.is_null() {
                // SAFETY: no preconditions.
                fiber = unsafe { __tsan_create_fiber(0) };
                self.name.store(fiber, Relaxed);
            }
            // SAFETY: created above or earlier, not destroyed, and only whoever runs the stack gets here.
            unsafe { __tsan_switch_to_fiber(fiber, 0) };
            let result = resume();
            // SAFETY: this thread's fiber as it was at the call; nothing else runs on it.
            unsafe { __tsan_switch_to_fiber(before, 0) };
            result
        }

        /// The stack is gone. Nobody runs on it.
        pub(crate) fn end(&self) {
            let fiber = self.name.swap(ptr::null_mut(), Relaxed);
            if !fiber.is_null() {
                // SAFETY: created by `run`, and not running.
                unsafe { __tsan_destroy_fiber(fiber) };
            }
        }
    }
}

#[cfg(not(tsan))]
impl Fiber {
    pub(crate) const fn new() -> Self {
        Self {}
    }

    #[inline(always)]
    pub(crate) fn run<T>(&self, resume: impl FnOnce() -> T) -> T {
        resume()
    }

    #[inline(always)]
    pub(crate) fn end(&self) {}
}

/// Whoever had frames in `[from, to)` never returns to them.
#[inline(always)]
pub(crate) fn forget_frames(from: usize, to: usize) {
    #[cfg(asan)]
    {
        unsafe extern "C" {
            fn __asan_unpoison_memory_region(at: *const libc::c_void, bytes: usize);
        }
        // SAFETY: changes AddressSanitizer's own records only.
        unsafe { __asan_unpoison_memory_region(from as *const libc::c_void, to - from) };
    }
    let _ = (from, to);
}
