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
//! | `rwlock` | [`RwLock`]: many readers or one writer |
//! | `semaphore` | [`Semaphore`]: a number of permits |
//! | `once`, `once_cell`, `lazy` | [`Once`], [`OnceCell`], [`Lazy`]: what is done once |
//! | `barrier` | [`Barrier`]: waiting for each other |
//! | `wait_group`, `err_group` | [`WaitGroup`], [`ErrGroup`]: waiting for goroutines, and for the first error |
//! | `pool` | [`Pool`]: values to be used again |
//! | `single_flight` | [`SingleFlight`]: one computation for all that ask at the same time |

mod barrier;
mod condvar;
mod err_group;
mod lazy;
mod mutex;
mod once;
mod once_cell;
mod pool;
pub(crate) mod raw;
mod rwlock;
mod semaphore;
mod single_flight;
mod wait_group;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use err_group::ErrGroup;
pub use lazy::Lazy;
pub use mutex::{MappedMutexGuard, Mutex, MutexGuard};
pub use once::Once;
pub use once_cell::OnceCell;
pub use pool::Pool;
#[cfg_attr(not(feature = "gc"), allow(unused_imports, reason = "for the collector"))]
pub(crate) use pool::{catch_up as pools_catch_up, count_collection};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Semaphore, SemaphoreGuard};
pub use single_flight::SingleFlight;
pub use wait_group::WaitGroup;
