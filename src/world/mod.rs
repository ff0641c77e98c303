//! The world: all threads that may hold references into the collected heap, how they are stopped, and what they hold while they are.
//!
//! ```text
//!   record      one thread: its state, its stack, what it was doing
//!   critical    stretches of code that a stop must not interrupt
//!   blocked     stretches in which a thread touches nothing: it need not be woken for a stop
//!   stop        the stop itself, by the collector
//! ```
//!
//! A thread gets its record with its first allocation (`heap::local`), and loses it when it ends. That is the list; the kernel's own (/proc/self/task) is the audit: threads that it knows and the list
//! does not are stopped as well ([`stop`]).
//!
//! # States
//!
//! | state | who changes it | to |
//! | --- | --- | --- |
//! | `RUNNING` | the thread, before it sleeps | `BLOCKED` |
//! | | the collector, before it sends the signal | `REQUESTED` |
//! | `REQUESTED` | the thread, in the signal's handler or after a critical stretch | `STOPPED` |
//! | | the thread, before it sleeps | `HELD` |
//! | `BLOCKED` | the thread, after it slept | `RUNNING` |
//! | | the collector | `HELD` |
//! | `HELD` | the thread, after it slept: it waits for the end of the stop | `WAITING` |
//! | | the collector, at the end | `BLOCKED` |
//! | `WAITING` | the collector, at the end, and wakes it | `BLOCKED` |
//! | `STOPPED` | the collector, at the end, and wakes it | `RUNNING` |
//!
//! A stop is over when every record is `STOPPED`, `HELD` or `WAITING`: from then on no thread but the collector's runs code of the program until the collector says so.

pub(crate) mod blocked;
pub(crate) mod critical;
mod record;
pub(crate) mod stop;
#[cfg(test)]
mod tests;

pub(crate) use record::{Record, after_fork_in_child, exempt, forks, register, unregister};
