//! `go` and `Builder`: a closure becomes a goroutine.

use std::io;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;

use super::handle::JoinHandle;
use crate::sched::{self, Core, Options};

/// Starts a goroutine that runs `f`, on the runtime of the calling goroutine, or on the global runtime from a plain thread.
///
/// Returns at once; the goroutine runs when a worker gets to it. What `go` did before happens before `f`. Dropping the handle detaches the
/// goroutine: it goes on by itself, and its result is dropped.
///
/// # Panics
///
/// If the runtime is shut down, or the system refuses memory for one more goroutine. [`Builder::spawn`] returns these as errors.
///
/// # Examples
///
/// ```
/// let answer = greenroutine::go(|| 6 * 7);
/// assert_eq!(answer.join().unwrap(), 42);
/// ```
#[track_caller]
#[inline]
pub fn go<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    go_on(f, None, Location::caller())
}

/// `go` on a given runtime.
#[track_caller]
#[inline(always)]
pub(crate) fn go_on<F, T>(f: F, on: Option<&Arc<Core>>, site: &'static Location<'static>) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // SAFETY: both are Send and 'static, and there is no scope.
    match unsafe { sched::spawn(f, on, ptr::null(), Options::default(), site) } {
        // SAFETY: the task is new, its result is a T, and this is its only handle.
        Ok(task) => unsafe { JoinHandle::new(task) },
        Err(error) => refused(&error),
    }
}

#[track_caller]
#[cold]
#[inline(never)]
fn refused(error: &sched::SpawnError) -> ! {
    panic!("{error}")
}

/// Spawns a goroutine with a name, a stack limit, or a thread of its own.
///
/// # Examples
///
/// ```
/// use greenroutine::task;
///
/// let deep = task::Builder::new().name("deep").stack_max(256 << 20).spawn(|| task::current().unwrap().name().map(str::to_owned))?;
/// assert_eq!(deep.join().unwrap().as_deref(), Some("deep"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `spawn`"]
pub struct Builder {
    name: Option<String>,
    stack_max: Option<usize>,
    dedicated: bool,
}

impl Builder {
    /// A builder with the runtime's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the goroutine: for dumps, overflow reports and [`Handle::name`](super::Handle::name).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Limits the stack to `bytes`, 64 KiB to 1 GiB. The stack starts small and grows to this in place; the guard at its end and a header of
    /// less than a page are part of it. A limit rounds up to a power of two of address space, not of memory.
    pub fn stack_max(mut self, bytes: usize) -> Self {
        self.stack_max = Some(bytes);
        self
    }

    /// Runs the goroutine on an OS thread of its own, for libraries that are bound to one. It costs what a thread costs; everything else
    /// works as for other goroutines.
    pub fn dedicated(mut self, dedicated: bool) -> Self {
        self.dedicated = dedicated;
        self
    }

    /// Spawns `f` as [`go`] does.
    ///
    /// # Errors
    ///
    /// `stack_max` out of range, the runtime shut down, or memory, a guard page or a thread refused by the system. The error names the value
    /// and the limit; `f` has been dropped, and everything that runs goes on.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: both are Send and 'static, and there is no scope.
        let task = unsafe { sched::spawn(f, None, ptr::null(), self.options(), Location::caller()) }?;
        // SAFETY: the task is new, its result is a T, and this is its only handle.
        Ok(unsafe { JoinHandle::new(task) })
    }

    fn options(self) -> Options {
        Options {
            name: self.name.map(String::into_boxed_str),
            stack_max: self.stack_max,
            dedicated: self.dedicated,
        }
    }
}
