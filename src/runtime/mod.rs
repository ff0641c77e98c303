//! Runtimes: build, run, look at, shut down. The global one starts by itself and never ends; others are values.
//!
//! # Events
//!
//! With the feature `tracing` the runtime tells what happens as events of the crate `tracing`, with the target `greenroutine`. At the level debug: runtimes that start and have shut down, goroutines that were cancelled,
//! have panicked, or keep their worker for 10 ms, and the figures of each collection; at trace: goroutines that were spawned and have ended. Without the feature nothing of it is in the program.
//!
//! They are told under no lock of the runtime, so a subscriber may use the library. It should be the global default, neither panic nor wait for goroutines, and not call `gc::collect`: a subscriber that was set for a scope runs
//! while `tracing` keeps a mark in the thread, which is thread-bound state in the sense of [`Builder::free_migration`], and it is the collector's own thread that tells of its cycles.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
#[cfg(feature = "pprof")]
use std::io::Write;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::tell;
use crate::go::{self as task, JoinHandle};
use crate::sched::config::{self, Config};
use crate::sched::{self, Core};

mod doctor;
pub mod trace;

pub use crate::diag::{Distribution, Metrics, WorkerMetrics};
pub use doctor::{Finding, doctor};

/// A scheduler with its own workers. Dropping it cancels the goroutines that are left and waits for them.
///
/// # Examples
///
/// ```
/// use greenroutine::Runtime;
///
/// let runtime = Runtime::builder().workers(2).build()?;
/// let text = String::from("borrowed");
/// assert_eq!(runtime.run(|| text.len()), 8);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Runtime {
    core: Arc<Core>,
    /// Its end goes on without us.
    left_to_itself: bool,
}

impl Runtime {
    /// Settings for a new runtime; the environment variables do not apply to it.
    pub fn builder() -> Builder {
        Builder { config: Config::new(), error: None }
    }

    /// Runs `f` as a goroutine of this runtime and returns its result. `f` may borrow.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Panics
    ///
    /// With `f`'s own panic; if `f` was cancelled, ended by `goexit`, or could not be spawned; and as [`run`] if all goroutines wait for ever.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        task::run_on(&self.core, f, Location::caller())
    }

    /// Starts a goroutine on this runtime; see [`go`](fn@crate::go).
    ///
    /// # Panics
    ///
    /// As [`go`](fn@crate::go).
    #[track_caller]
    pub fn go<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        task::go_on(f, Some(&self.core), Location::caller())
    }

    /// The figures of this runtime.
    pub fn metrics(&self) -> Metrics {
        crate::diag::metrics(&self.core)
    }

    /// How many goroutines are in which state, in the words of the [`dump`](Self::dump). Looks at all of them: 10 to 50 ns each.
    pub fn states(&self) -> BTreeMap<&'static str, usize> {
        crate::diag::states(&self.core)
    }

    /// The goroutines of this runtime, in words. The threads that run one are asked where they are by a signal (the highest real-time signal without a handler); a system call of a
    /// goroutine that does not restart by itself then ends with `EINTR`, as std's callers expect of any.
    pub fn dump(&self) -> String {
        crate::diag::dump(&self.core)
    }

    /// As [`dump_pprof`], of this runtime.
    ///
    /// # Errors
    ///
    /// As [`dump_pprof`].
    #[cfg(feature = "pprof")]
    pub fn dump_pprof(&self, writer: impl Write) -> io::Result<()> {
        crate::diag::write_pprof(&self.core, writer)
    }

    /// Cancels the goroutines that are left and waits at most `timeout` for them. True if all ended in time; if not, those that are left
    /// go on in the background until they notice, and the threads end after them.
    pub fn shutdown(mut self, timeout: Duration) -> bool {
        let in_time = !self.is_mine() && self.core.close(sched::core::deadline(timeout));
        if !in_time {
            self.close_in_background();
        }
        in_time
    }

    /// Whether the caller is a goroutine of this very runtime, or works for one, which cannot wait for itself.
    fn is_mine(&self) -> bool {
        sched::working_for().is_some_and(|core| Arc::ptr_eq(&core, &self.core))
    }

    fn close_in_background(&mut self) {
        self.left_to_itself = true;
        let core = self.core.clone();
        let thread = std::thread::Builder::new().name(format!("{}-end", core.config.name)).spawn(move || {
            core.close(u64::MAX);
            core.end();
            tell::shut_down(&core.config.name);
        });
        // Without a thread the goroutines are cancelled all the same; what stays is the idle workers.
        if thread.is_err() {
            self.core.closing.store(true, Ordering::SeqCst);
        }
    }
}

// Nothing of a runtime is left half changed by a panic of its user.
impl std::panic::UnwindSafe for Runtime {}
impl std::panic::RefUnwindSafe for Runtime {}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.left_to_itself {
            return;
        }
        if self.is_mine() {
            return self.close_in_background();
        }
        self.core.close(u64::MAX);
        self.core.end();
        tell::shut_down(&self.core.config.name);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("config", &self.core.config).finish_non_exhaustive()
    }
}

/// Settings of a [`Runtime`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    config: Config,
    /// The first value that was out of range.
    error: Option<io::Error>,
}

impl Builder {
    /// How many threads run goroutines, 1 to 512. Default: the processors that this process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        match config::check_workers(workers, "runtime::Builder::workers") {
            Ok(workers) => self.config.workers = workers,
            Err(error) => self.fail(error),
        }
        self
    }

    /// How large a goroutine's stack may grow, 64 KiB to 1 GiB. Default: 64 MiB. It costs address space, and beyond 2 MiB a page of page
    /// tables per goroutine: who wants a million at once says 256 KiB.
    pub fn stack_max(mut self, bytes: usize) -> Self {
        match config::check_stack_max(bytes, "runtime::Builder::stack_max") {
            Ok(bytes) => self.config.stack_max = bytes,
            Err(error) => self.fail(error),
        }
        self
    }

    /// How much stack a goroutine has before it grows for the first time, at most `stack_max`. Default and least: 16 KiB. Pages take memory only when
    /// they are touched; growing costs a fault of a few microseconds each time the stack doubles, which a larger initial size saves
    /// goroutines that are known to need it.
    pub fn stack_initial(mut self, bytes: usize) -> Self {
        self.config.stack_initial = bytes;
        self
    }

    /// The name of the runtime and the beginning of its threads' names.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// How many threads [`blocking`](crate::blocking()) may use at once, 1 to 32,768. Default: 512. They are started when needed and end when they have been idle for ten
    /// seconds; further calls wait for one.
    pub fn blocking_threads(mut self, max: usize) -> Self {
        match config::check_blocking_threads(max, "runtime::Builder::blocking_threads") {
            Ok(max) => self.config.blocking_threads = max,
            Err(error) => self.fail(error),
        }
        self
    }

    /// The seed of the choices that are left to chance, such as whom to steal from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Lets started goroutines resume on any worker, for better balance. See the crate documentation, "Migration".
    ///
    /// # Safety
    ///
    /// - No goroutine of the runtime keeps thread-bound state across a blocking call: a reference to a thread-local, or a guard that is
    ///   `!Send` because it belongs to its thread. The guards of this crate are excepted.
    pub unsafe fn free_migration(mut self) -> Self {
        self.config.free_migration = true;
        self
    }

    /// Whether SIGQUIT (Ctrl-\\ in a terminal) writes the goroutines of this runtime, and of all others that ask for it, to standard error. The process goes on. Default: no; the global runtime does if
    /// `GREENROUTINE_TRACEBACK` is `all` or `full`.
    ///
    /// Once a runtime has asked for it, SIGQUIT does not end the process any more.
    pub fn dump_on_quit(mut self, dump: bool) -> Self {
        self.config.dump_on_quit = dump;
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// A setting out of range, or threads or address space refused by the system. The error names the value and the limit.
    pub fn build(self) -> io::Result<Runtime> {
        let Config { stack_initial, stack_max, .. } = self.config;
        config::check_stack_initial(stack_initial, stack_max, "runtime::Builder::stack_initial")?;
        match self.error {
            Some(error) => Err(error),
            None => {
                let core = Core::start(self.config)?;
                tell::started(&core.config.name, core.config.workers);
                Ok(Runtime { core, left_to_itself: false })
            }
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
    }
}

/// The ambient runtime: the calling goroutine's, or the global one.
#[track_caller]
fn ambient() -> Arc<Core> {
    match sched::current_core() {
        Ok(core) => core,
        Err(error) => panic!("{error}"),
    }
}

/// The figures of the calling goroutine's runtime, or of the global one.
///
/// # Panics
///
/// If the global runtime cannot start.
pub fn metrics() -> Metrics {
    crate::diag::metrics(&ambient())
}

/// How many goroutines of the calling goroutine's runtime, or of the global one, are in which state, in the words of the [`dump`].
///
/// # Panics
///
/// If the global runtime cannot start.
///
/// # Examples
///
/// ```
/// let states = greenroutine::run(|| greenroutine::runtime::states());
/// assert_eq!(states.get("running"), Some(&1));
/// ```
pub fn states() -> BTreeMap<&'static str, usize> {
    crate::diag::states(&ambient())
}

/// The goroutines of the calling goroutine's runtime, or of the global one, in words.
///
/// # Panics
///
/// If the global runtime cannot start.
pub fn dump() -> String {
    crate::diag::dump(&ambient())
}

/// The goroutines of the calling goroutine's runtime, or of the global one, as a profile for `go tool pprof` and its like: Go's `goroutine` profile. What [`dump`] says, but as gzipped `profile.proto`.
///
/// A sample stands for all goroutines that are at the same place in the code, in the same state, under the same name, spawned at the same place; its value `goroutine` is how many they are, its labels are
/// `state`, `spawned at` and `name`. Goroutines without frames (not started, or about to run) stand under their state. With the feature `backtrace` off, all do.
///
/// # Blocking
///
/// As [`dump`]: it looks up names, which takes a second for a large program, and asks the threads that run goroutines where they are by a signal.
///
/// # Errors
///
/// Those of the writer; and if there is no thread for it.
///
/// # Panics
///
/// If the global runtime cannot start.
///
/// # Examples
///
/// ```
/// let mut profile = Vec::new();
/// greenroutine::run(|| greenroutine::runtime::dump_pprof(&mut profile))?; // Or a file: then `go tool pprof -http=: goroutines.pb.gz`
/// assert!(profile.starts_with(&[0x1f, 0x8b]), "gzip");
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(feature = "pprof")]
pub fn dump_pprof(writer: impl Write) -> io::Result<()> {
    crate::diag::write_pprof(&ambient(), writer)
}

/// How many goroutines of the calling goroutine's runtime, or of the global one, have not ended.
///
/// # Panics
///
/// If the global runtime cannot start.
pub fn num_goroutines() -> usize {
    ambient().live() as usize
}

/// How many regular workers the calling goroutine's runtime, or the global one, has.
///
/// # Panics
///
/// If the global runtime cannot start.
pub fn workers() -> usize {
    ambient().config.workers
}

/// Runs `f` as the main goroutine of the global runtime and returns its result. `f` may borrow. Inside of [`testing::run`](crate::testing::run) that run stands for the
/// global runtime.
///
/// # Blocking
///
/// Parks the calling goroutine, or blocks the calling thread.
///
/// # Panics
///
/// With `all goroutines are asleep - deadlock!` and the [`dump`] if all goroutines wait, and there is neither a timer, nor I/O, nor a call of `blocking`, nor a thread that could wake one: `f` is then
/// cancelled, and its destructors run. A thread counts unless it is the runtime's, waits in this library without a deadline, or has waited for another thread since before the library was
/// first used. So a deadlock can be overlooked beside threads that do other things, and none is reported that is not there.
///
/// With `f`'s own panic; if `f` ended by `goexit`; or if the global runtime cannot start, with the reason (a bad environment variable, say).
///
/// # Examples
///
/// ```
/// let name = String::from("world");
/// let greeting = greenroutine::run(|| format!("hello, {name}"));
/// assert_eq!(greeting, "hello, world");
/// ```
#[track_caller]
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let seeded = sched::working_for().filter(|core| core.seeded.is_some());
    match seeded.map_or_else(|| sched::ambient::global().cloned(), Ok) {
        Ok(core) => task::run_on(&core, f, Location::caller()),
        Err(error) => panic!("{error}"),
    }
}

/// Keeps the goroutine on its thread; see [`lock_os_thread`].
#[derive(Debug)]
#[must_use = "the goroutine may change threads again when the guard is dropped"]
pub struct OsThreadGuard {
    /// The goroutine that is kept, referenced, so that the guard frees that one whoever drops it: safe code can hand a guard to another goroutine of the
    /// thread, through a thread-local. None on a plain thread.
    kept: Option<task::Handle>,
    /// Of this thread: what it changes belongs to a goroutine that stays here.
    not_send: PhantomData<*const ()>,
}

/// Keeps the calling goroutine on the OS thread that it runs on, until the guard is dropped. Guards nest.
///
/// In home mode goroutines never change threads and this changes nothing; neither does it on a plain thread.
pub fn lock_os_thread() -> OsThreadGuard {
    let kept = task::current();
    if let Some(kept) = &kept {
        kept.pin(1);
    }
    OsThreadGuard { kept, not_send: PhantomData }
}

impl Drop for OsThreadGuard {
    fn drop(&mut self) {
        if let Some(kept) = &self.kept {
            kept.pin(-1);
        }
    }
}
