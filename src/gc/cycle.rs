//! One cycle with the world stopped: the reference for every other way, and what is left where nothing better works. On the collector's thread.
//!
//! ```text
//!   take what must not change      the loader's lock, cells, heap, threads
//!   stop the world
//!   mark from the roots
//!   make unmarked objects free     in one step: the sweep is lazy
//!   the world goes on
//!   sweep
//! ```

use std::time::Duration;

use super::mark::{Marked, Marker};
use super::pile::Pile;
use super::{roots, scan};
use crate::base::meta;
use crate::heap::arena::Kind;
use crate::heap::central::{self, Swept};
use crate::heap::frozen;
use crate::sys::{clock, segments};
use crate::world::stop::{self, StopError};

/// Spans that are swept with one turn of the lock.
const SWEPT_AT_ONCE: usize = 32;

/// What a cycle did.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) marked: Marked,
    pub(super) swept: Swept,
    /// Bytes that were read as roots, and those of goroutines among them.
    pub(super) roots: usize,
    pub(super) stacks: usize,
    /// Bytes of the heap in use when it was stopped.
    pub(super) in_use: usize,
    pub(super) pauses: Vec<Duration>,
    pub(super) mark_time: Duration,
    pub(super) sweep_time: Duration,
}

/// Time since a reading of the clock.
fn since(start: u64) -> Duration {
    Duration::from_nanos(clock::now_ns().saturating_sub(start))
}

/// Runs one cycle.
pub(super) fn stop_the_world(pile: &mut Pile) -> Result<Outcome, StopError> {
    let mut outcome = Outcome::default();
    let mut result = Ok(());
    stop::look_ahead();
    // Room for the pause now: nothing may allocate while the heap's locks are held.
    outcome.pauses.reserve(1);
    segments::while_frozen(|| result = mark(pile, &mut outcome));
    result?;
    let start = clock::now_ns();
    while central::sweep_some(SWEPT_AT_ONCE) {}
    outcome.swept = central::finish_sweep();
    outcome.sweep_time = since(start);
    pile.trim();
    Ok(outcome)
}

fn mark(pile: &mut Pile, outcome: &mut Outcome) -> Result<(), StopError> {
    let added = roots::hold();
    let cells = meta::freeze();
    let mut held = scan::Held { added, cells, heap: frozen::freeze() };
    let start = clock::now_ns();
    let world = stop::stop()?;
    let mut marker = Marker::new(std::mem::replace(pile, Pile::new()));
    outcome.stacks = scan::all(&mut marker, &held, &world);
    outcome.roots = marker.marked.scanned;
    follow(&mut marker, &held);
    outcome.marked = marker.marked;
    *pile = marker.into_pile();
    outcome.mark_time = since(start);
    outcome.in_use = held.heap.in_use();
    held.heap.end_marking();
    drop(world);
    outcome.pauses.push(since(start));
    Ok(())
}

/// Marks all that can be reached from what was found.
fn follow(marker: &mut Marker, held: &scan::Held) {
    while !marker.drain(usize::MAX) {}
    // The marker's stack could not grow, so something that is marked was not followed: all of it is, again, until nothing is lost.
    while marker.start_over() {
        held.heap.for_each_span(Kind::CollectedScan, |span| {
            let bytes = frozen::object_bytes(span);
            for object in frozen::marked(span) {
                // SAFETY: an object of the heap, which is never unmapped.
                unsafe { marker.scan(object..object + bytes) };
                while !marker.drain(usize::MAX) {}
            }
        });
    }
}
