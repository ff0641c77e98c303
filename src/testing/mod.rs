//! Tests that find what happens once in a thousand runs, and show it again: one thread, every choice drawn from a seed, virtual time.
//!
//! [`run`] runs a closure so once; [`explore`] with many seeds. Inside, time stands still while any goroutine can run and jumps to the next timer when none can, so that a test of an hour's timeouts takes
//! microseconds; all of [`time`](crate::time), [`context`](crate::context), and the timeouts of channels and locks follow. The seed decides who runs, which ready case a select takes, which waiter of a mutex is
//! woken, and which runtime calls let others run first. Where an order is promised (channels, semaphores, conditions), it is kept. Two runs with the same seed are the same, step by step, if the code under test is: what is left to chance outside of this crate (the addresses of allocations, a
//! `HashMap`'s order) must not decide what it does.
//!
//! Half of the seeds choose uniformly among all that can run, the others by random priorities that change at a few random steps (PCT), which finds other bugs.
//!
//! What cannot be decided here is refused with a panic: [`blocking`](crate::blocking()), sockets, dedicated goroutines, other runtimes. Plain threads are not seen: if the goroutines wait for one, that
//! is taken for a deadlock. `std::time::Instant::now()` and `std::thread::sleep` are the system's; use [`time`](crate::time).
//!
//! # Examples
//!
//! ```
//! use greenroutine::{context, testing, time};
//! use std::time::Duration;
//!
//! testing::run(1, || {
//!     let start = time::now();
//!     let (context, _cancel) = context::background().with_timeout(Duration::from_secs(3600));
//!     assert!(context.err().is_none());
//!     assert!(context.done().recv().is_err()); // An hour passes at once.
//!     assert_eq!(start.elapsed(), Duration::from_secs(3600));
//! });
//! ```

#![forbid(unsafe_code)]

use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Arc;
use std::time::Duration;

use crate::go;
use crate::moment;
use crate::sched::config::{Config, Log};
use crate::sched::{self, Core};

/// Runs `f` as a goroutine in virtual time on one thread, with every choice drawn from `seed`, and returns its result. `f` may borrow.
///
/// Goroutines that are left when `f` has ended are cancelled and waited for.
///
/// # Blocking
///
/// Blocks the calling thread until all has ended.
///
/// # Panics
///
/// With `f`'s own panic. If all goroutines wait and there is no timer: with `all goroutines are asleep - deadlock!`, the dump, and the seed. If called inside of another run; and if the system
/// refuses a thread.
///
/// # Examples
///
/// ```
/// use greenroutine::{chan, go, testing};
///
/// let order = testing::run(7, || {
///     let (s, r) = chan(3);
///     for n in 0..3 {
///         let s = s.clone();
///         go(move || s.send(n).unwrap());
///     }
///     drop(s);
///     r.iter().collect::<Vec<i32>>()
/// });
/// assert_eq!(order.len(), 3); // Which order depends on the seed, and on nothing else.
/// ```
#[track_caller]
pub fn run<F, T>(seed: u64, f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    run_logged(seed, f, Log::None, Location::caller()).0
}

/// As [`run`], and returns what happened beside the result: a line for each step, with the goroutine that was chosen and why it stopped. Two runs with the same seed give the same text.
///
/// # Panics
///
/// As [`run`].
///
/// # Examples
///
/// ```
/// use greenroutine::{go, testing};
///
/// let steps = || testing::run_traced(3, || go(|| ()).join().unwrap()).1;
/// assert_eq!(steps(), steps());
/// ```
#[track_caller]
pub fn run_traced<F, T>(seed: u64, f: F) -> (T, String)
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    run_logged(seed, f, Log::Kept, Location::caller())
}

fn run_logged<F, T>(seed: u64, f: F, log: Log, site: &'static Location<'static>) -> (T, String)
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if sched::seeded::is_in_one() {
        panic!("{}", sched::seeded::refused("testing::run"));
    }
    let config =
        Config { workers: 1, seed, seeded: Some(log), name: String::from("testing"), ..Config::new() };
    let core = match Core::start(config) {
        Ok(core) => core,
        Err(error) => panic!("testing::run: {error}"),
    };
    let ends = Ends(&core);
    let result = panic::catch_unwind(AssertUnwindSafe(|| go::run_on(&core, f, site)));
    drop(ends);
    match (result, core.deadlock()) {
        // The main goroutine has caught its cancellation, or had ended.
        (Ok(_), Some(report)) => panic!("{report}"),
        (Ok(value), None) => {
            let log = core.seeded.as_ref().and_then(|seeded| seeded.take_log());
            (value, log.unwrap_or_default())
        }
        (Err(payload), _) => panic::resume_unwind(payload),
    }
}

/// Ends the runtime, whatever happens.
struct Ends<'a>(&'a Arc<Core>);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.close(u64::MAX);
        self.0.end();
    }
}

/// Runs `f` with `iterations` seeds, from 0 on, each as [`run`] does. When one fails, the seed is printed on standard error, and the panic goes on; `run` with that seed replays it.
///
/// # Panics
///
/// As [`run`], with the first seed that fails.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::Mutex;
/// use greenroutine::testing;
///
/// // Reads and writes under two locks, so an update between them is lost, with some seed.
/// let found = std::panic::catch_unwind(|| {
///     testing::explore(1000, || {
///         let count = Mutex::new(0);
///         greenroutine::scope(|s| {
///             for _ in 0..2 {
///                 s.go(|| {
///                     let read = *count.lock();
///                     *count.lock() = read + 1;
///                 });
///             }
///         });
///         assert_eq!(*count.lock(), 2);
///     });
/// });
/// assert!(found.is_err());
/// ```
#[track_caller]
pub fn explore<F, T>(iterations: usize, mut f: F)
where
    F: FnMut() -> T + Send,
    T: Send,
{
    let site = Location::caller();
    for seed in 0..iterations as u64 {
        let result = panic::catch_unwind(AssertUnwindSafe(|| run_logged(seed, &mut f, Log::None, site)));
        if let Err(payload) = result {
            eprintln!("testing::explore at {site}: seed {seed} fails; testing::run({seed}, ..) replays it");
            panic::resume_unwind(payload);
        }
    }
}

/// Lets virtual time go on by `duration`, with all that happens meanwhile, and then waits as [`settle`] does.
///
/// # Cancellation
///
/// A cancelled goroutine unwinds here.
///
/// # Panics
///
/// Outside of [`run`] and [`explore`].
///
/// # Examples
///
/// ```
/// use greenroutine::{testing, time};
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
///
/// static DONE: AtomicBool = AtomicBool::new(false);
/// testing::run(1, || {
///     time::after_func(Duration::from_secs(5), || DONE.store(true, Ordering::SeqCst));
///     testing::advance(Duration::from_secs(4));
///     assert!(!DONE.load(Ordering::SeqCst));
///     testing::advance(Duration::from_secs(1));
///     assert!(DONE.load(Ordering::SeqCst));
/// });
/// ```
#[track_caller]
pub fn advance(duration: Duration) {
    assert!(sched::seeded::is_in_one(), "testing::advance outside of testing::run");
    moment::sleep(duration);
    sched::seeded::settle();
}

/// Waits until every other goroutine waits, for something other than this. Time does not move.
///
/// # Cancellation
///
/// A cancelled goroutine unwinds here.
///
/// # Panics
///
/// Outside of [`run`] and [`explore`].
///
/// # Examples
///
/// ```
/// use greenroutine::{chan, go, testing};
///
/// testing::run(1, || {
///     let (s, r) = chan(1);
///     go(move || s.send("sent"));
///     testing::settle();
///     assert_eq!(r.try_recv(), Ok("sent"));
/// });
/// ```
#[track_caller]
pub fn settle() {
    assert!(sched::seeded::settle(), "testing::settle outside of testing::run");
}
