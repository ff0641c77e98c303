//! The heap's ground floor: the program's memory. With the feature `gc` (on by default) [`Allocator`] is the program's global allocator.
//!
//! It knows nothing of goroutines, and nothing of it allocates through itself. What a collector needs is here, what it decides is not.
//!
//! ```text
//!   entry       alloc, dealloc, realloc: the fast paths
//!   local       which record this thread has
//!   owner       a thread's magazines, and its spans          registry   all records; threads that end; fork
//!   remote      blocks freed in spans of other threads
//!   meter       the same while the heap is sampled        sample     what the heap profile has sampled
//!   large       blocks above 64 KiB
//!   pages       runs of granules; memory goes back to the kernel
//!   span        one span: class, bitmaps                     class      size classes: arithmetic
//!   arena       the reservation, tables beside it
//! ```
//!
//! Beside that stand: `collected`, `cache` and `central` (collected objects: allocation, sweep), `lookup` (any word to its object), `frozen` (what the collector does while the world is
//! stopped), `stats`, `report` (memory ran out), `check` (debug builds).
//!
//! # For the collector
//!
//! - **Manual roots.** The live blocks of a manual span are the slots that are not in `free`, not in `side` ([`span`]), and in no magazine ([`registry::all`], `Owner::blocks`):
//!   exact while the threads are stopped, but for threads in a slow path: what is in their magazines may be elsewhere as well, so it counts as live.
//! - **Collected objects** come from a cache in each thread's record, are found by [`lookup::object`], marked by `Object::mark`, and freed by the sweep ([`central`]) after all caches were emptied.
//! - **Nothing is unmapped.** A marker may read any address that it has looked up, at any time; memory that was given back reads as zero.
//!
//! # Locks
//!
//! `registry` (rank 6) < `central` (7) < `pages` (8): see `base::lock`. No code of the user runs under them.

pub(crate) mod arena;
mod cache;
pub(crate) mod central;
#[cfg(debug_assertions)]
mod check;
pub(crate) mod class;
pub(crate) mod collected;
mod entry;
pub(crate) mod frozen;
mod large;
mod local;
pub(crate) mod lookup;
mod meter;
mod owner;
mod pages;
mod registry;
mod remote;
mod report;
pub(crate) mod sample;
pub(crate) mod span;
mod stats;
#[cfg(test)]
mod tests;

pub use entry::Allocator;
pub use stats::{KindStats, Stats, stats, trim};

pub(crate) use pages::tick;
pub(crate) use stats::{InCharge, in_charge};

/// Whether this build or this process leaves memory to the system's allocator.
fn steps_aside() -> bool {
    cfg!(any(miri, heap_aside))
        || crate::arch::is_under_valgrind()
        || crate::sys::limits::variable_is(c"GREENROUTINE_HEAP", b"system")
}
