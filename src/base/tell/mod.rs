//! What the runtime tells the program's log: events of the crate `tracing` (`on`). The twin `off` has the same functions for builds without the feature `tracing`: nobody is told.
//!
//! Called where user code may run: by goroutines on their own stacks, by plain threads, by the collector's thread between two cycles. Never under a lock of ours, by the allocator, or by a signal
//! handler: a subscriber allocates, locks, writes, and may call the library.
#![forbid(unsafe_code)]

#[cfg(feature = "gc")]
use std::time::Duration;

#[cfg(not(feature = "tracing"))]
#[path = "off.rs"]
mod imp;
#[cfg(feature = "tracing")]
#[path = "on.rs"]
mod imp;

#[cfg(feature = "gc")]
pub(crate) use imp::collected;
pub(crate) use imp::{ended, name, shut_down, spawned, started, stuck};

/// How a goroutine has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It returned.
    Returned,
    /// It panicked.
    Panicked,
    /// It was cancelled.
    Cancelled,
    /// It called `goexit`.
    Exited,
}

/// The figures of a collection.
#[derive(Clone, Copy, Debug)]
#[cfg(feature = "gc")]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "what is told to nobody is not read"))]
pub(crate) struct Cycle {
    pub(crate) number: u64,
    pub(crate) pause: Duration,
    pub(crate) mark: Duration,
    pub(crate) sweep: Duration,
    pub(crate) live: usize,
    pub(crate) in_use: usize,
}
