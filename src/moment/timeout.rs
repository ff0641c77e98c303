//! [`timeout`]: a closure whose waits end at a time.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::time::Duration;

use crate::sched;
use crate::sys::clock;

/// The time of a [`timeout`] was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Elapsed {
    after: Duration,
}

impl Elapsed {
    /// How long the closure had.
    pub fn after(&self) -> Duration {
        self.after
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not done within {:?}", self.after)
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs `f`, and ends its blocking calls when `duration` is over: whatever they wait for (a channel, a lock, a socket, another goroutine), the call in which `f` waits then,
/// or would wait later, unwinds up to here, and destructors run.
///
/// A closure that returns is never late: its value counts, whenever it comes. A call that need not wait is not interrupted, and neither is computing. While `f` unwinds, its blocking
/// calls work as usual. Timeouts nest: the one whose time is over first ends what is in it, and only that one's result is an error.
///
/// # Blocking
///
/// As `f` does. [`blocking`](crate::blocking()), and what is built on it (files, names), is waited for; it is the call after it that ends.
///
/// # Cancellation
///
/// As in `f`. A goroutine that is cancelled unwinds as that, whether the time is over or not.
///
/// # Panics
///
/// If `f` does.
///
/// # Errors
///
/// [`Elapsed`] if a call of `f` was ended. What `f` has spawned goes on; what it has changed is changed.
///
/// # Examples
///
/// ```
/// use greenroutine::{channel, time};
/// use std::time::Duration;
///
/// greenroutine::run(|| {
///     let (sender, receiver) = channel::unbounded();
///     assert!(time::timeout(Duration::from_millis(1), || receiver.recv()).is_err());
///     sender.send(5).unwrap();
///     assert_eq!(time::timeout(Duration::from_millis(1), || receiver.recv()), Ok(Ok(5)));
/// });
/// ```
pub fn timeout<F, T>(duration: Duration, f: F) -> Result<T, Elapsed>
where
    F: FnOnce() -> T,
{
    sched::timeout::within(clock::deadline_after(duration), f).ok_or(Elapsed { after: duration })
}
