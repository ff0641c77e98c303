//! Goroutines for Rust: stackful green threads, scheduled M:N over a few OS threads, on stacks that start small and grow in place. Sound for
//! all safe code.
//!
//! ```
//! use greenroutine::go;
//!
//! greenroutine::run(|| {
//!     let squares: Vec<_> = (0..1000_u64).map(|n| go(move || n * n)).collect();
//!     let sum: u64 = squares.into_iter().map(|square| square.join().unwrap()).sum();
//!     assert_eq!(sum, 332_833_500);
//! });
//! ```
//!
//! Everything works from goroutines and from plain threads: a blocking call parks the goroutine when there is one, and blocks the thread otherwise.
//!
//! # Migration
//!
//! Rust cannot check that what lies on a suspended stack may change threads: a reference to a thread-local, or a guard that is bound to its
//! thread, that wakes elsewhere is undefined behaviour. So by default a goroutine stays on the worker that first ran it, and idle workers steal
//! goroutines that have not started (*home mode*). That is sound for all safe code. Programs that keep no such state across blocking
//! calls may let started goroutines move as well: [`runtime::Builder::free_migration`], which is `unsafe` for that reason.
//!
//! # Panics
//!
//! A panic ends its goroutine and nothing else; [`JoinHandle::join`] returns it. A panic in a destructor that runs because of a panic
//! aborts, as in std. A goroutine may block while it unwinds; its thread's panic count does not show that to others.
//!
//! # Memory
//!
//! With the feature `gc`, which is on by default, the crate is the program's global allocator: see [`heap`]. It is the ground that the collected heap stands on, and asks nothing
//! of a program. A program that brings an allocator of its own takes the crate with `default-features = false`; all but the collected heap works the same.
//!
//! # Life of a goroutine
//!
//! [`go()`] → [`sched::spawn()`] takes a cell ([`routine::cell`]) and puts the closure into it ([`routine::place`]) → the worker's queue
//! ([`sched::biased`]), and somebody is woken if need be ([`sched::idle`]) → this worker, or a thief ([`sched::steal`]), gives it a stack
//! ([`stack::cache`], [`stack::arena`]) and resumes its slot ([`routine::slot`]) → [`routine::body`] runs the closure → it parks
//! ([`sched::park`]): the worker commits the wait after the switch → somebody claims the wait ([`routine::wake`]) and makes it ready
//! ([`sched::ready()`]) → … → it ends: the result is published ([`routine::life`]), the joiner is claimed, and the worker takes the stack back.
//!
//! # Layers
//!
//! Imports point down only; `tests/layering.rs` holds the same table.
//!
//! | layer | modules | may import |
//! | --- | --- | --- |
//! | 0 | `arch`, `sys` | each other downwards: `sys` may use `arch` |
//! | 1 | `base` | 0 |
//! | 2 | `stack`, `timer`, `world`, `heap`, `frames`, `pprof` | 0, 1, and `heap` may use `world`, `pprof` `frames` |
//! | 3 | `routine` | 0 to 2 |
//! | 4 | `sched` | 0 to 3 |
//! | 5 | `go` (public as `task`), `moment` and `alarm` (public as `time`), `channel`, `context`, `sync`, `net`, `fs`, `io`, `interop` | 0 to 4, and each other where listed |
//! | 6 | `gc` | 0 to 5 |
//! | 7 | `diag`, `runtime`, `testing` | all |
//!
//! # Glossary
//!
//! - **goroutine**: what users spawn; in the code, a *task* (which may also be a plain thread that waits).
//! - **cell**: the record of a task. **slot**: the memory of one stack, with a header at its top.
//! - **worker**: a thread that runs goroutines. **home**: the worker a goroutine belongs to. **spare**: a worker that stands in for a stuck one.
//! - **next slot**: the goroutine a worker runs next, by direct handoff. **inbox**: goroutines woken from elsewhere. **injector**: goroutines spawned
//!   from outside.
//! - **park / claim / ready**: a task waits / somebody wins the right to wake it / it is put into a queue.
//! - **episode**: the number of one wait of one cell. **ticket**: a task and an episode.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![allow(rustdoc::private_intra_doc_links, reason = "the walk above leads into the source on purpose")]
#![cfg_attr(loom, allow(dead_code, reason = "the models use a part"))]
#![cfg_attr(
    not(feature = "gc"),
    allow(
        dead_code,
        unused_imports,
        reason = "what the collector stands on is part of heap, world and routine; without it a part of that is idle"
    )
)]

#[cfg(not(target_os = "linux"))]
compile_error!("greenroutine runs on Linux");

#[cfg(not(loom))]
mod alarm;
#[cfg(not(loom))]
mod arch;
mod base;
#[cfg(not(loom))]
mod diag;
#[cfg(not(loom))]
mod frames;
#[cfg(not(loom))]
mod go;
#[cfg(not(loom))]
pub mod heap;
#[cfg(not(loom))]
mod interop;
#[cfg(not(loom))]
mod moment;
#[cfg(all(feature = "pprof", not(loom)))]
mod pprof;
#[cfg(not(loom))]
mod routine;
#[cfg(not(loom))]
mod sched;
#[cfg(not(loom))]
mod stack;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod timer;
#[cfg(not(loom))]
mod world;

#[cfg(not(loom))]
pub mod channel;
#[cfg(not(loom))]
pub mod context;
#[cfg(not(loom))]
pub mod fs;
#[cfg(all(feature = "gc", not(loom)))]
pub mod gc;
#[cfg(not(loom))]
pub mod io;
#[cfg(not(loom))]
pub mod net;
#[cfg(not(loom))]
pub mod runtime;
#[cfg(not(loom))]
pub mod sync;
#[cfg(not(loom))]
pub mod testing;
#[cfg(not(loom))]
pub mod time {
    //! Time: sleeping, timers, tickers. [`channel::after`](crate::channel::after) and its kin are crossbeam's timers, on std's clock; these are Go's, on the runtime's.
    pub use crate::alarm::{Ticker, Timer, after_func};
    pub use crate::moment::{Elapsed, Instant, now, sleep, sleep_until, timeout};
}

#[cfg(not(loom))]
pub mod task {
    //! Goroutines: spawning with options, handles, scopes, parking, cancellation, goroutine-local values.
    pub use crate::go::{
        Builder, Handle, Id, JoinError, JoinHandle, LocalKey, Scope, ScopedJoinHandle, current, goexit,
        panicking, park, park_timeout, scope, sleep, yield_now,
    };
}
#[cfg(not(loom))]
pub use crate::channel::chan;
#[cfg(all(feature = "gc", not(loom)))]
pub use crate::gc::Gc;
#[cfg(not(loom))]
pub use crate::go::{JoinError, JoinHandle, blocking, go, scope, yield_now};
#[cfg(not(loom))]
pub use crate::interop::block_on;
#[cfg(not(loom))]
pub use crate::runtime::{Runtime, run};

/// The programs of the tutorial.
#[cfg(all(doctest, feature = "gc"))]
#[doc = include_str!("../docs/memory.md")]
mod memory_tutorial {}

/// The programs of the tour of what there is to see and to test with.
#[cfg(all(doctest, feature = "gc"))]
#[doc = include_str!("../docs/diagnostics.md")]
mod diagnostics_tour {}

/// All memory of the program is the crate's: see [`heap`].
#[cfg(all(feature = "gc", not(any(loom, miri, heap_aside))))]
#[global_allocator]
static ALLOCATOR: heap::Allocator = heap::Allocator;

#[cfg(all(feature = "gc", not(loom)))]
pub(crate) use crate::diag::backtraces;
/// The calls that go up: what describes goroutines, for the scheduler's reports, and where they wait, for the collector's.
#[cfg(not(loom))]
pub(crate) use crate::diag::dump as describe;

// The model checker sees the lock-free parts alone, with loom's atomics in place of std's.
#[cfg(loom)]
#[path = "sched/biased.rs"]
mod biased;
#[cfg(loom)]
#[path = "loom_twins/channel.rs"]
mod channel;
#[cfg(loom)]
#[path = "sched/idle.rs"]
mod idle;
#[cfg(loom)]
#[path = "sched/inbox.rs"]
mod inbox;
#[cfg(loom)]
#[path = "routine/life.rs"]
mod life;
#[cfg(all(loom, test))]
mod loom_models;
// What waits and wakes, with twins of the scheduler below it.
#[cfg(loom)]
#[path = "heap/remote.rs"]
mod remote;
#[cfg(loom)]
#[path = "loom_twins/routine.rs"]
mod routine;
#[cfg(loom)]
#[path = "loom_twins/sched.rs"]
mod sched;
#[cfg(loom)]
mod sync {
    #[path = "raw/mod.rs"]
    pub(crate) mod raw;
}
#[cfg(loom)]
#[path = "loom_twins/sys.rs"]
mod sys;
