//! Free migration: the one unsafe call of this program. Called by `bed`, and by `stress`.

#![expect(
    unsafe_code,
    reason = "free migration is a promise about all code that runs on the runtime, which is ours alone"
)]

use greenroutine::runtime::Builder;

/// Lets started goroutines resume on any worker. For runtimes that run the workloads of this program and nothing else.
pub(crate) fn let_migrate(builder: Builder) -> Builder {
    // SAFETY: the goroutines are those of `bench` and `stress`. Across a blocking call they keep integers, instants, atomics and this
    // library's handles: no reference to a thread-local, and no guard of std's.
    unsafe { builder.free_migration() }
}
