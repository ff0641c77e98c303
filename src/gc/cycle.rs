//! One cycle with the world stopped: the reference for every other way, and what is left where nothing better works. On the collector's thread; what the ways have in common is here.
//!
//! ```text
//!   take what must not change      the loader's lock, cells, heap, threads
//!   stop the world
//!   mark from the roots
//!   make unmarked objects free     in one step: the sweep is lazy
//!   the world goes on
//!   sweep
//! ```

use std::ops::Range;
use std::time::Duration;

use super::goroutines::Scanned;
use super::mark::{Marked, Marker};
use super::pile::Pile;
use super::reap::{self, Marking};
use super::verify::{self, Suspect};
use super::{finalizer, roots, scan};
use crate::base::meta;
use crate::heap::arena::Kind;
use crate::heap::central::{self, Swept};
use crate::heap::frozen::{self, Frozen};
use crate::heap::{self, lookup};
use crate::sched::trace;
use crate::sys::{clock, segments};
use crate::world::stop::{self, StopError};

/// Spans that are swept with one turn of the lock: 60 µs, about as long as who waits for it takes to come.
const SWEPT_AT_ONCE: usize = 128;

/// What a cycle did.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) marked: Marked,
    pub(super) swept: Swept,
    /// Bytes that were read as roots.
    pub(super) roots: usize,
    /// Bytes of the heap in use when it was stopped.
    pub(super) in_use: usize,
    pub(super) pauses: Vec<Duration>,
    pub(super) mark_time: Duration,
    pub(super) sweep_time: Duration,
    /// Why the kernel's word could not be taken for what was written; then all was scanned again.
    pub(super) broken: Option<String>,
    /// See `verify`; without room where that is not looked for.
    pub(super) suspects: Vec<Suspect>,
}

/// As many as are told of.
const SUSPECTS: usize = 16;

impl Outcome {
    pub(super) fn new(space: &Workspace) -> Self {
        let suspects = Vec::with_capacity(if space.suspects { SUSPECTS } else { 0 });
        Self { suspects, ..Self::default() }
    }
}

/// What is kept from cycle to cycle.
pub(super) struct Workspace {
    pile: Pile,
    pub(super) scanned: Scanned,
    /// Whether references are looked for in what is never read.
    suspects: bool,
}

impl Workspace {
    pub(super) fn new(suspects: bool) -> Self {
        Self { pile: Pile::new(), scanned: Scanned::default(), suspects }
    }

    pub(super) fn take_pile(&mut self) -> Pile {
        let mut pile = std::mem::replace(&mut self.pile, Pile::new());
        // What a cycle that was given up has left.
        pile.clear();
        pile
    }

    pub(super) fn give_pile(&mut self, pile: Pile) {
        self.pile = pile;
        self.pile.trim();
    }
}

/// Time since a reading of the clock.
pub(super) fn since(start: u64) -> Duration {
    Duration::from_nanos(clock::now_ns().saturating_sub(start))
}

/// Writes down a phase that ends now. Returns how long it took.
pub(super) fn ended(phase: &'static str, start: u64) -> Duration {
    trace::stretch(phase, start, clock::now_ns());
    since(start)
}

/// Stops the world for `work`.
pub(super) fn while_stopped(
    outcome: &mut Outcome,
    work: impl FnOnce(&mut scan::Held, &stop::Stopped),
) -> Result<(), StopError> {
    stop::look_ahead();
    let mut pause = Ok((0, 0));
    segments::while_frozen(|| {
        let added = roots::hold();
        let tables = reap::tables();
        let cells = meta::freeze();
        let heap = frozen::freeze();
        let mut held = scan::Held { added, tables, cells, heap };
        let start = clock::now_ns();
        pause = stop::stop().map(|world| {
            work(&mut held, &world);
            outcome.in_use = held.heap.in_use();
            drop(world);
            (start, clock::now_ns())
        });
    });
    // Not before: writing it down allocates, and the heap's locks were held.
    let (start, end) = pause?;
    outcome.pauses.push(Duration::from_nanos(end.saturating_sub(start)));
    trace::stretch("gc pause", start, end);
    Ok(())
}

/// Marks with the world stopped.
pub(super) fn stop_the_world(space: &mut Workspace) -> Result<Outcome, StopError> {
    let mut outcome = Outcome::new(space);
    let mut suspects = std::mem::take(&mut outcome.suspects);
    let mut marker = Marker::new(space.take_pile());
    let start = clock::now_ns();
    let mut roots = 0;
    let result = while_stopped(&mut outcome, |held, world| {
        held.heap.clear_marks();
        marker.include_all();
        scan::all(&mut marker, held, world);
        roots = marker.roots();
        marker.drain_all();
        follow(&mut marker, &held.heap);
        end_marking(&mut marker, held, &mut suspects);
    });
    outcome.suspects = suspects;
    outcome.roots = roots;
    outcome.marked = marker.marked;
    outcome.mark_time = since(start);
    space.give_pile(marker.into_pile());
    result.map(|()| outcome)
}

/// Sweeps what was marked.
pub(super) fn sweep(outcome: &mut Outcome) {
    for Suspect { at, object, bytes } in &outcome.suspects {
        eprintln!(
            "greenroutine: gc: check=noscan: the bytes at {at:#x}, in memory that is never read for references, look like the only one to an object of {bytes} bytes at {object:#x}, which is freed now"
        );
    }
    finalizer::after_cycle();
    let start = clock::now_ns();
    while central::sweep_some(SWEPT_AT_ONCE) {}
    outcome.swept = central::finish_sweep();
    heap::tick();
    outcome.sweep_time = ended("gc sweep", start);
}

/// The marker's stack could not grow, so something that is marked was not followed: all of it is, again, until nothing is lost.
pub(super) fn follow(marker: &mut Marker, heap: &Frozen) {
    while marker.start_over() {
        heap.for_each_marked(Kind::CollectedScan, |object| {
            // SAFETY: an object of the heap, which is never unmapped.
            unsafe { marker.scan(object) };
            marker.drain_all();
        });
    }
}

/// All that the program reaches is marked. Decides what becomes of the rest, which is free from here on.
pub(super) fn end_marking(marker: &mut Marker, held: &mut scan::Held, suspected: &mut Vec<Suspect>) {
    held.tables.finish(&mut Reach { marker, heap: &held.heap });
    if suspected.capacity() > 0 {
        verify::suspects(&held.heap, suspected);
    }
    held.heap.end_marking();
}

/// Marking once more, for what `reap` finds at the end.
struct Reach<'a> {
    marker: &'a mut Marker,
    heap: &'a Frozen,
}

impl Reach<'_> {
    fn scan(&mut self, range: Range<usize>) {
        let mut is_lost = true;
        while is_lost {
            // SAFETY: an object of the heap, which is never unmapped, or a local.
            unsafe { self.marker.scan(range.clone()) };
            is_lost = self.marker.is_short_of_memory();
            self.marker.drain_all();
            follow(self.marker, self.heap);
        }
    }
}

impl Marking for Reach<'_> {
    fn mark(&mut self, object: usize) {
        let word = &raw const object as usize;
        self.scan(word..word + size_of::<usize>());
    }

    fn mark_referents(&mut self, object: usize) {
        if let Some(found) = lookup::object(object) {
            self.scan(found.start..found.start + found.bytes);
        }
    }
}
