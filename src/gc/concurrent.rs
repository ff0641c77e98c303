//! One cycle beside the program, with the kernel as the write barrier: mostly-concurrent marking (Boehm, Demers, Shenker, "Mostly parallel garbage collection", PLDI 1991). On the
//! collector's thread.
//!
//! ```text
//!   arm all pages that may hold references       beside the program
//!   stop: objects are born marked from here on; scan what the threads have at hand
//!                                                microseconds
//!   mark from there, statics, manual memory, goroutines
//!                                                beside the program
//!   scan again what was written, arm it again    beside the program, until little is left
//!   stop: scan what was written last, the threads, the goroutines that have run; mark what that brings
//!                                                within a budget: if it takes longer the world goes on, and so does the marking
//!   sweep                                        beside the program
//! ```
//!
//! The last stop asks the kernel only about memory in which something is marked (`frozen::hot`): the garbage of a cycle is as large as what lives, and asking takes 0.4 ms a gigabyte.
//!
//! Why nothing is missed: at the last stop every word that holds a reference is in a place that was scanned and not written to since it was armed or scanned, or in one that is scanned
//! then. Words in the heap are covered by its pages; cells and stacks by fingerprints (`routine::roots`); registers, thread-locals, statics, and added ranges are scanned at the stop.
//! Objects made meanwhile are marked, and lie on pages that were written to.

use std::ops::Range;

use super::cycle::{Outcome, Workspace, end_marking, follow, since, while_stopped};
use super::mark::Marker;
use super::verify::{self, Sums};
use super::{goroutines, scan, throttle};
use crate::heap::arena::Kind;
use crate::heap::frozen::{self, Hot};
use crate::sys::uffd::{Rearm, Watch};
use crate::sys::{OsError, clock, futex};
use crate::world::stop::StopError;

/// The memory that is watched.
const WATCHED: [Kind; 2] = [Kind::ManualScan, Kind::CollectedScan];
/// Rounds of scanning again before a stop, and how many pages are few enough to stop for.
const ROUNDS: usize = 12;
const FEW: usize = 48;
/// So many pages are armed one by one rather than by a walk over all.
const ONE_BY_ONE: usize = 512;
/// How long the last stop may take to mark what it has found.
const BUDGET_NS: u64 = 300_000;
/// How often it may take longer before it is made to finish.
const ATTEMPTS: usize = 8;
/// Words that are followed between two looks at the clock: 20 µs or so.
const SLICE: usize = 1 << 10;

/// Why a cycle was not run this way.
#[derive(Debug)]
pub(super) enum Failure {
    Stop(StopError),
    /// The kernel refuses to watch. Nothing has begun.
    Watch(OsError),
}

/// The kernel's watch over the heap.
pub(super) struct Barrier {
    watch: Watch,
    /// Whether its word is verified: then nothing is armed again during a cycle.
    is_verified: bool,
    sums: Vec<Sums>,
}

impl Barrier {
    /// Sets the watch up and tries it out.
    pub(super) fn new(is_verified: bool) -> Result<Self, OsError> {
        let watch = Watch::open()?;
        for kind in WATCHED {
            watch.register(&frozen::reserved(kind))?;
        }
        let mut barrier = Self { watch, is_verified, sums: Vec::with_capacity(WATCHED.len()) };
        barrier.try_out()?;
        Ok(barrier)
    }

    /// A write to a page of the heap that was armed is seen, and one that was not made is not.
    fn try_out(&mut self) -> Result<(), OsError> {
        let page = crate::sys::mem::PAGE;
        let mut block = vec![0_usize; 4 * page / 8];
        block.fill(1);
        let base = (block.as_ptr() as usize).next_multiple_of(page);
        let range = base..base + page;
        let failed = |call| OsError { call, bytes: page, errno: 0 };
        self.watch.arm(range.clone())?;
        if self.count(range.clone())? != 0 {
            return Err(failed(
                "the self-test of userfaultfd: a page that was not written to reads as written",
            ));
        }
        let index = (base - block.as_ptr() as usize) / 8;
        block[index] = std::hint::black_box(2);
        if self.count(range)? != 1 {
            return Err(failed(
                "the self-test of userfaultfd: a page that was written to reads as not written",
            ));
        }
        std::hint::black_box(&block);
        Ok(())
    }

    fn count(&mut self, range: Range<usize>) -> Result<usize, OsError> {
        let mut pages = 0;
        self.watch.written(range, Rearm::No, |range| pages += range.len() / crate::sys::mem::PAGE)?;
        Ok(pages)
    }

    /// The cycle is over: writes cost nothing until the next.
    fn disarm(&self) {
        for kind in WATCHED {
            // If it fails the first write to each page costs a fault, and that is all.
            let _ = self.watch.disarm(frozen::extent_now(kind));
        }
    }

    fn arm(&mut self) -> Result<(), OsError> {
        for kind in WATCHED {
            self.watch.arm(frozen::extent_now(kind))?;
        }
        Ok(())
    }

    /// Scans what was written to; follows what is found unless the world is stopped (`Rearm::No`). Returns how many pages that were.
    fn scan_written(
        &mut self,
        marker: &mut Marker,
        rearm: Rearm,
        extent: Range<usize>,
    ) -> Result<usize, OsError> {
        let mut pages = 0;
        self.watch.written(extent, rearm, |range| {
            pages += range.len() / crate::sys::mem::PAGE;
            frozen::for_each_holder_in(range, |part, is_manual| {
                let scan = if is_manual { Marker::scan_manual } else { Marker::scan_written };
                // SAFETY: memory of the heap, which is never unmapped.
                unsafe { scan(marker, part) };
                if rearm != Rearm::No {
                    marker.drain_much();
                }
            });
        })?;
        Ok(pages)
    }

    /// With the world stopped, and all armed: what the pages hold, if that is to be verified.
    fn sum_up(&mut self, held: &scan::Held) {
        self.sums.clear();
        if self.is_verified {
            // There is room: nothing may be allocated now.
            self.sums.extend(WATCHED.into_iter().filter_map(|kind| Sums::of(held.heap.extent(kind))));
        }
    }

    /// With the world stopped: no page has changed without being told of.
    fn verify(&mut self) -> Result<(), OsError> {
        for sums in &self.sums {
            if let Some(page) = sums.lost(&mut self.watch)? {
                verify::page_is_lost(page);
            }
        }
        Ok(())
    }

    /// With the world stopped: scans what was written last.
    fn scan_last(&mut self, marker: &mut Marker, held: &scan::Held, hot: &Hot) -> Result<(), OsError> {
        self.verify()?;
        self.scan_written(marker, Rearm::No, held.heap.extent(Kind::ManualScan))?;
        let mut result = Ok(());
        held.heap.for_each_hot(hot, |range| {
            if result.is_ok() {
                result = self.scan_written(marker, Rearm::No, range).map(|_| ());
            }
        });
        if cfg!(debug_assertions) {
            self.assert_cold(held, hot)?;
        }
        result
    }

    /// What was written to outside of `hot` is no marked object.
    fn assert_cold(&mut self, held: &scan::Held, hot: &Hot) -> Result<(), OsError> {
        self.watch.written(held.heap.extent(Kind::CollectedScan), Rearm::No, |written| {
            frozen::for_each_holder_in(written, |marked, _| {
                let mut left = marked.len();
                held.heap.for_each_hot(hot, |range| {
                    // They may overlap, but each part is in one of them whole.
                    if range.start <= marked.start && marked.end <= range.end {
                        left = 0;
                    }
                });
                assert_eq!(left, 0, "marked objects at {marked:x?}, where nothing was thought to be marked");
            });
        })
    }
}

/// Runs one cycle.
pub(super) fn beside_the_program(barrier: &mut Barrier, space: &mut Workspace) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::new(space);
    space.scanned.forget();
    barrier.arm().map_err(Failure::Watch)?;
    let mut marker = Marker::new(space.take_pile());
    while_stopped(&mut outcome, |held, world| {
        held.heap.begin_marking();
        marker.include_all();
        scan::at_hand(&mut marker, world);
        barrier.sum_up(held);
    })
    .map_err(Failure::Stop)?;
    let start = clock::now_ns();
    let result = mark(barrier, space, &mut marker, &mut outcome);
    // If the world could not be stopped, the marks are worth nothing: the next cycle clears them (`Frozen::clear_marks`).
    outcome.marked = marker.marked;
    outcome.mark_time = since(start);
    barrier.disarm();
    space.give_pile(marker.into_pile());
    result.map(|()| outcome).map_err(Failure::Stop)
}

fn mark(
    barrier: &mut Barrier,
    space: &mut Workspace,
    marker: &mut Marker,
    outcome: &mut Outcome,
) -> Result<(), StopError> {
    scan::beside_the_program(marker);
    goroutines::beside_the_program(marker, &mut space.scanned);
    outcome.roots = marker.roots();
    marker.drain_all();
    let mut is_broken = None;
    let mut suspects = std::mem::take(&mut outcome.suspects);
    for attempt in 1.. {
        if is_broken.is_none() {
            is_broken = clean(barrier, space, marker).err();
        }
        let must_finish = attempt >= ATTEMPTS || is_broken.is_some() || marker.is_short_of_memory();
        let mut is_over = false;
        // After the last mark but those of the stop.
        let hot = frozen::hot();
        while_stopped(outcome, |held, world| {
            scan::all_but_heap(marker, held, world, &space.scanned);
            if is_broken.is_none() {
                is_broken = barrier.scan_last(marker, held, &hot).err();
            }
            if is_broken.is_some() {
                everything(marker, held);
            }
            is_over =
                drain_for(marker, if must_finish || is_broken.is_some() { u64::MAX } else { BUDGET_NS });
            if is_over && marker.is_short_of_memory() {
                if !must_finish {
                    is_over = false;
                    return;
                }
                follow(marker, &held.heap);
            }
            if is_over {
                end_marking(marker, held, &mut suspects);
            }
        })
        .inspect_err(|_| throttle::end())?;
        throttle::end();
        if is_over {
            break;
        }
        marker.drain_all();
    }
    outcome.suspects = suspects;
    outcome.broken = is_broken.map(|error| error.to_string());
    Ok(())
}

/// Scans again what was written, until little is left.
fn clean(barrier: &mut Barrier, space: &mut Workspace, marker: &mut Marker) -> Result<(), OsError> {
    goroutines::beside_the_program(marker, &mut space.scanned);
    marker.drain_all();
    let (mut before, mut rearm) = (usize::MAX, Rearm::Yes);
    for round in 0..ROUNDS {
        let mut pages = 0;
        for kind in WATCHED {
            let rearm = if barrier.is_verified { Rearm::No } else { rearm };
            pages += barrier.scan_written(marker, rearm, frozen::extent_now(kind))?;
        }
        marker.drain_all();
        // It gets no better where as much is written meanwhile.
        if pages <= FEW || round > 1 && pages >= before / 8 * 7 {
            break;
        }
        futex::rest();
        before = pages;
        rearm = if pages <= ONE_BY_ONE { Rearm::OfFew } else { Rearm::Yes };
        // The program may write as fast as this reads: from now on it allocates more slowly, so that what is left for the stop gets less.
        if round > 0 {
            throttle::begin();
        }
    }
    Ok(())
}

/// Nobody knows what was written: all that may have been is scanned again.
fn everything(marker: &mut Marker, held: &scan::Held) {
    scan::manual_memory(marker, held);
    held.heap.for_each_marked(Kind::CollectedScan, |object| {
        // SAFETY: memory of the heap, which is never unmapped.
        unsafe { marker.scan(object) };
    });
}

/// Follows what was found for about so long. Returns whether nothing is left.
fn drain_for(marker: &mut Marker, nanos: u64) -> bool {
    let end = clock::now_ns().saturating_add(nanos);
    loop {
        if marker.drain(SLICE) {
            return true;
        }
        if clock::now_ns() >= end {
            return false;
        }
    }
}
