//! Locks and their kin for goroutines and plain threads, mixed: std's names, parking_lot's contract, Go's fairness.
//!
//! A call that has to wait parks the goroutine, and its worker runs others meanwhile; on a plain thread it blocks the thread. Nothing is
//! poisoned: a panic under a lock releases it. All constructors but those of shared handles are `const`, so everything can be a `static`.
//!
//! Guards are not `Send`. They hold nothing that is bound to a thread, so that in free migration they may be kept across blocking calls.
//!
//! What waits can be cancelled, and timed out where a method takes a duration; a waiter that leaves for such a reason leaves
//! no trace and takes nothing along that was meant for another.
//!
//! | file | job |
//! | --- | --- |
//! | `raw` | the words and wait queues of the locks: all of their protocols |
//! | `mutex` | [`Mutex`]: `raw::mutex` with a value |
//! | `condvar` | [`Condvar`]: waiting for a change of what a mutex guards |

mod condvar;
mod mutex;
pub(crate) mod raw;

pub use condvar::{Condvar, WaitTimeoutResult};
pub use mutex::{MappedMutexGuard, Mutex, MutexGuard};
