//! [`blocking`]: the pool's public face.
#![forbid(unsafe_code)]

use crate::sched;

/// Runs `f`, which may block its thread, on a thread of the blocking pool; the calling goroutine parks until it is done, and its worker runs others. `f` may borrow. On
/// a plain thread, and so inside of `f`, it just calls `f`.
///
/// In `f`, [`go`](crate::go()) starts goroutines on the caller's runtime. `f` itself is no goroutine: what it waits for blocks the pool's thread.
///
/// # Blocking
///
/// Parks the calling goroutine until `f` returns. If all threads of the pool are busy ([`blocking_threads`](crate::runtime::Builder::blocking_threads)), until
/// one is free and has run those that came before.
///
/// # Cancellation
///
/// A goroutine that is cancelled before the call unwinds here. Once `f` is on its way it is waited for.
///
/// # Panics
///
/// A panic of `f` travels to the caller, with its payload.
///
/// # Examples
///
/// ```
/// greenroutine::run(|| {
///     let path = String::from("/proc/self/stat");
///     let text = greenroutine::blocking(|| std::fs::read_to_string(&path)).unwrap();
///     assert!(text.contains('('));
/// });
/// ```
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    sched::blocking::run(f)
}
