//! std counts panics per thread; goroutines share threads. This file makes the count follow the goroutine.
//!
//! A goroutine that blocks in a destructor while it unwinds leaves its panic in its thread's count. Everybody else on that thread
//! would then seem to be panicking: `std::thread::panicking()` true, std's locks poisoned by guards that were dropped in peace.
//! So when a goroutine suspends while unwinding, its worker takes its panics out of the thread's count ([`hide`]), and puts
//! them back before it resumes the goroutine ([`show`]). Whatever runs on the thread in between, and `task::panicking()` with it, sees
//! its own panics and nobody else's.
//!
//! std has no function to change the count, but two that do: starting to unwind adds one to the count of the thread it happens
//! on, and catching takes one from the count of the thread *it* happens on. A [`Token`] is a coroutine of ours that unwinds, and
//! suspends in a destructor half way:
//!
//! ```text
//!   begin on thread A: panic starts     A + 1
//!   (suspended in a destructor)
//!   finish on thread B: panic is caught B - 1
//! ```
//!
//! `hide` finishes a token that was begun on a helper thread: -1 here. `show` begins one here: +1; when the goroutine's own
//! panic is caught, the thread is at 0 and the token, whose +1 was spent, is burnt on a helper thread. The helper threads exist for
//! that one addition and end, so no count of a living thread is left wrong.
//!
//! All of this is on the rare path: the ordinary switch pays one load of std's global count, which is 0 while nobody panics. A token's
//! stack holds our frames and `catch_unwind`'s only, nothing that is bound to a thread. If a future std counted otherwise, what would go
//! wrong is the answer of `panicking()`, not memory.

use std::panic::{self, AssertUnwindSafe};

use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::routine::Task;
use crate::sys::mem;
use crate::sys::sanitizer::Fiber;

struct TokenStack {
    base: usize,
}

impl TokenStack {
    const BYTES: usize = 64 * 1024;

    fn new() -> Self {
        let at = mem::map(Self::BYTES).and_then(|at| mem::protect_none(at, mem::PAGE).map(|()| at));
        match at {
            Ok(at) => Self { base: at + Self::BYTES },
            // Half way through somebody's unwinding there is nobody to give an error to.
            Err(_) => {
                crate::base::fatal!("greenroutine: fatal: no memory to suspend a goroutine that unwinds\n")
            }
        }
    }
}

impl Drop for TokenStack {
    fn drop(&mut self) {
        mem::unmap(self.base - Self::BYTES, Self::BYTES);
    }
}

// SAFETY: 60 KiB of our own mapping above a guard page.
unsafe impl Stack for TokenStack {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.base).unwrap_or(StackPointer::MIN)
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.base - Self::BYTES).unwrap_or(StackPointer::MIN)
    }
}

/// A panic in suspension: see the file's documentation.
struct Token {
    coroutine: Coroutine<(), (), (), TokenStack>,
    fiber: Fiber,
}

// SAFETY: what lies on the suspended stack is `catch_unwind`'s frame, `SuspendOnDrop` and the frames of this file, none of which
// holds anything bound to a thread.
unsafe impl Send for Token {}

/// Carried by a token's panic.
struct TokenMark;

struct SuspendOnDrop<'a>(&'a Yielder<(), ()>);

impl Drop for SuspendOnDrop<'_> {
    fn drop(&mut self) {
        self.0.suspend(());
    }
}

impl Token {
    /// Adds one to the calling thread's count.
    fn begin() -> Self {
        let mut coroutine = Coroutine::with_stack(TokenStack::new(), |yielder: &Yielder<(), ()>, ()| {
            let result = panic::catch_unwind(AssertUnwindSafe(|| {
                let _suspend = SuspendOnDrop(yielder);
                panic::resume_unwind(Box::new(TokenMark));
            }));
            debug_assert!(result.is_err_and(|payload| payload.is::<TokenMark>()));
        });
        let fiber = Fiber::new();
        let result = fiber.run(|| coroutine.resume(()));
        debug_assert!(matches!(result, CoroutineResult::Yield(())));
        Self { coroutine, fiber }
    }

    /// Takes one from the calling thread's count.
    fn finish(mut self) {
        let result = self.fiber.run(|| self.coroutine.resume(()));
        self.fiber.end();
        debug_assert!(matches!(result, CoroutineResult::Return(())));
    }
}

/// Runs `f` on a thread that lives for nothing else, and waits for it.
fn on_helper_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        match std::thread::Builder::new().spawn_scoped(scope, f).map(|thread| thread.join()) {
            Ok(Ok(value)) => value,
            _ => crate::base::fatal!("greenroutine: fatal: no thread to suspend a goroutine that unwinds\n"),
        }
    })
}

/// The goroutine, which ran on this thread until now, suspends while it unwinds: takes its panics out of the thread's count.
#[cold]
#[inline(never)]
pub(crate) fn hide(task: &Task) {
    let mut hidden = 0_u8;
    while std::thread::panicking() && hidden < u8::MAX {
        on_helper_thread(Token::begin).finish();
        hidden += 1;
    }
    task.hidden_panics.set(hidden);
}

/// The goroutine is about to run on this thread again: puts its panics back.
#[cold]
#[inline(never)]
pub(crate) fn show(task: &Task) {
    for _ in 0..task.hidden_panics.replace(0) {
        let token = Token::begin();
        // Burnt elsewhere: the +1 it made here is the goroutine's from now on.
        on_helper_thread(move || token.finish());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_token_moves_one_panic_between_threads() {
        let token = Token::begin();
        assert!(std::thread::panicking(), "begin adds one here");
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!std::thread::panicking(), "and nowhere else"));
        });
        token.finish();
        assert!(!std::thread::panicking());
        let elsewhere = on_helper_thread(Token::begin);
        let here = Token::begin();
        assert!(std::thread::panicking());
        elsewhere.finish();
        assert!(!std::thread::panicking(), "a token begun elsewhere takes one from here");
        on_helper_thread(move || here.finish());
        assert!(!std::thread::panicking());
    }
}
