//! Shared by the integration tests: run a test everywhere, run something beside it, wait for events, run a test again in a process of its own.

#![allow(dead_code, reason = "each test file uses its part")]

use std::panic::resume_unwind;
use std::process::{Command, Output};
use std::time::Duration;

use greenroutine::channel::Receiver;
use greenroutine::{Runtime, task, yield_now};

/// A runtime of `workers` in home or free mode.
pub(crate) fn runtime(workers: usize, free: bool) -> Runtime {
    let mut builder = Runtime::builder().workers(workers);
    if free {
        // SAFETY: the tests that run in free mode keep nothing thread-bound across blocking calls.
        builder = unsafe { builder.free_migration() };
    }
    builder.build().expect("a runtime")
}

/// Runs `test` on a plain thread and as a goroutine of runtimes with one and with more workers, in both migration modes.
pub(crate) fn on_all(test: fn()) {
    test();
    on_goroutines(test);
}

/// Runs `test` as a goroutine of runtimes with one and with more workers, in both migration modes.
pub(crate) fn on_goroutines(test: fn()) {
    for free in [false, true] {
        for workers in [1, 2, 4] {
            runtime(workers, free).run(test);
        }
    }
}

/// Runs `test` as a goroutine of runtimes with one worker, in both migration modes: who is seen to wait is in its queue then, since the worker has put it
/// there before it runs anybody else.
pub(crate) fn on_one_worker(test: fn()) {
    for free in [false, true] {
        runtime(1, free).run(test);
    }
}

/// Yields until `condition` holds.
pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        greenroutine::yield_now();
    }
}

/// How many goroutines of the caller's runtime wait for `what`, in the words of a dump.
pub(crate) fn waiting(what: &str) -> usize {
    greenroutine::runtime::dump().matches(&format!("[{what}]")).count()
}

/// Yields until `count` goroutines of the caller's runtime wait for `what`.
pub(crate) fn wait_for_waiters(what: &str, count: usize) {
    wait_until(|| waiting(what) == count);
}

/// Where the panic of `f` says that it happened, and its text.
pub(crate) fn panic_of<T>(f: impl FnOnce() -> T) -> (String, String) {
    use std::panic;
    use std::sync::{Mutex, OnceLock};
    use std::thread::ThreadId;
    type Place = (ThreadId, String);
    static LAST: OnceLock<Mutex<Vec<Place>>> = OnceLock::new();
    let last = LAST.get_or_init(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let at = info.location().map(ToString::to_string).unwrap_or_default();
            let places = LAST.get().expect("set before the hook runs");
            places.lock().expect("not poisoned").push((std::thread::current().id(), at));
            before(info);
        }));
        Mutex::new(Vec::new())
    });
    let payload = panic::catch_unwind(panic::AssertUnwindSafe(f)).err().expect("a panic");
    let me = std::thread::current().id();
    let places = last.lock().expect("not poisoned");
    let (_, at) = places.iter().rev().find(|(thread, _)| *thread == me).expect("a place").clone();
    let text = match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a text")).to_owned(),
    };
    (at, text)
}

/// Where a test runs what goes on beside it: on goroutines if it is one itself, on threads if not.
#[derive(Clone, Copy)]
pub(crate) enum Par<'scope, 'env> {
    Threads(&'scope std::thread::Scope<'scope, 'env>),
    Goroutines(&'scope task::Scope<'scope, 'env>),
}

/// What [`Par::go`] started.
pub(crate) enum ParHandle<'scope, T> {
    Thread(std::thread::ScopedJoinHandle<'scope, T>),
    Goroutine(task::ScopedJoinHandle<'scope, T>),
}

/// Runs `f` with a place to start goroutines or threads that borrow, and waits for all of them.
pub(crate) fn par<'env, T>(f: impl for<'scope> FnOnce(Par<'scope, 'env>) -> T) -> T {
    if task::current().is_some() {
        greenroutine::scope(|scope| f(Par::Goroutines(scope)))
    } else {
        std::thread::scope(|scope| f(Par::Threads(scope)))
    }
}

impl<'scope> Par<'scope, '_> {
    pub(crate) fn go<F, T>(self, f: F) -> ParHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self {
            Par::Threads(scope) => ParHandle::Thread(scope.spawn(f)),
            Par::Goroutines(scope) => ParHandle::Goroutine(scope.go(f)),
        }
    }
}

impl<T> ParHandle<'_, T> {
    /// The value, or the panic.
    pub(crate) fn join(self) -> T {
        match self {
            ParHandle::Thread(handle) => handle.join().unwrap_or_else(|payload| resume_unwind(payload)),
            ParHandle::Goroutine(handle) => {
                handle.join().unwrap_or_else(|error| resume_unwind(error.into_panic()))
            }
        }
    }
}

/// Lets the others go on until they wait, most likely: this chooses the path that a test takes, and never its outcome.
pub(crate) fn settle() {
    if task::current().is_some() {
        for _ in 0..8 {
            yield_now();
        }
    } else {
        std::thread::sleep(Duration::from_micros(300));
    }
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A timeout that must not end before what is waited for.
pub(crate) const LONG: Duration = Duration::from_secs(1000);

/// SplitMix64, so that a run is what its seed says.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0) % bound
    }

    pub(crate) fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }
}

/// SplitMix64's finalizer.
pub(crate) fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const CHILD: &str = "GREENROUTINE_TEST_CHILD";
/// The program that runs this binary, if the kernel does not by itself: an emulator of another processor, or a checker.
const RUNNER: &str = "GREENROUTINE_TEST_RUNNER";

/// This binary, with what runs it before it.
fn this_program() -> Vec<std::ffi::OsString> {
    let runner = std::env::var(RUNNER).unwrap_or_default();
    let exe = std::env::current_exe().expect("this binary");
    runner.split_whitespace().map(Into::into).chain([exe.into_os_string()]).collect()
}

/// Whether this process was started by [`in_child`] for the test `name`.
pub(crate) fn is_child(name: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|value| value == name)
}

/// The test `name` of this binary again, to be run in a process of its own.
pub(crate) fn child(name: &str) -> Command {
    let program = this_program();
    let mut command = Command::new(&program[0]);
    command
        .args(&program[1..])
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .env("RUST_BACKTRACE", "0");
    command
}

/// Runs [`child`], prepared by `prepare`, to its end.
pub(crate) fn in_child(name: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = child(name);
    prepare(&mut command);
    command.output().expect("the child starts")
}

/// Runs a test in a process of its own.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    if is_child(name) {
        return test();
    }
    let output = in_child(name, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

/// As [`in_child`], through a shell that first runs `setup` (such as `ulimit -v 1000000`).
pub(crate) fn in_child_after(name: &str, setup: &str) -> Output {
    let child = child(name);
    Command::new("sh")
        .arg("-c")
        .arg(format!("{setup}; exec \"$@\""))
        .arg("sh")
        .arg(child.get_program())
        .args(child.get_args())
        .envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .expect("sh starts")
}

/// Waits for a message in frames with names that a backtrace shows: this one, and `waits_for_a_message` within.
#[inline(never)]
pub(crate) fn outer_of_the_receiver(r: &Receiver<()>) {
    #[inline(never)]
    fn waits_for_a_message(r: &Receiver<()>) {
        let _ = r.recv();
        std::hint::black_box(r);
    }
    waits_for_a_message(r);
    std::hint::black_box(r);
}

/// Overwrites what earlier calls have left on the stack.
#[inline(never)]
pub(crate) fn clear_stack() {
    std::hint::black_box([0_usize; 4096]);
}

/// Standard output and error of a child, together.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// How often the threads of runtimes have stopped running.
pub(crate) fn switches() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())
        .filter(|status| status.lines().next().unwrap().contains("greenroutine"))
        .flat_map(|status| {
            let counts: Vec<u64> = status
                .lines()
                .filter(|line| line.contains("ctxt_switches"))
                .map(|line| line.split_whitespace().last().unwrap().parse().unwrap())
                .collect();
            counts
        })
        .sum()
}

/// A future's value, by a plain thread that parks: the smallest executor.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Counts its drops.
pub(crate) struct Counted(pub(crate) std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}
