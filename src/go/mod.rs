//! Goroutines as users see them: spawn, join, scope, name, park, cancel. `lib.rs` re-exports this module as `task`.
//!
//! | file | job |
//! | --- | --- |
//! | `spawn` | `go`, `Builder` |
//! | `handle` | `JoinHandle`, `JoinError` |
//! | `scope` | `scope`: goroutines that borrow |
//! | `current` | `current`, `park`, `goexit`, `panicking`, `Handle`, `Id` |
//! | `blocking` | `blocking` |
//! | `local` | `task_local!` |

mod blocking;
mod current;
mod handle;
pub(crate) mod local;
mod scope;
mod spawn;

pub use self::blocking::blocking;
pub use crate::moment::sleep;
pub use current::{Handle, Id, current, goexit, panicking, park, park_timeout};
pub use handle::{JoinError, JoinHandle};
pub use local::LocalKey;
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use spawn::{Builder, go};

pub(crate) use scope::run_on;
pub(crate) use spawn::go_on;

/// Gives the worker to the other goroutines that are ready to run; the caller runs again after them.
///
/// A goroutine moves to the tail of its worker's queue. On a plain thread this is [`std::thread::yield_now`].
///
/// # Cancellation
///
/// A cancelled goroutine unwinds here.
///
/// # Examples
///
/// ```
/// greenroutine::run(|| {
///     let other = greenroutine::go(|| 7);
///     while !other.is_finished() {
///         greenroutine::yield_now();
///     }
///     assert_eq!(other.join().unwrap(), 7);
/// });
/// ```
#[inline]
pub fn yield_now() {
    crate::sched::yield_now();
}
