//! [`leaks`]: what is kept though nobody can use it.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;

use super::found::Found;
use super::scan::Held;
use super::search::{self, Search};
use super::{collector, reap};
use crate::go;
use crate::routine::Wait;
use crate::sched::lost::{self, Lost};
use crate::world::stop::Stopped;

/// Cycles that are run to let those go first that can.
const CYCLES: usize = 64;

/// Something that is kept for ever: [`leaks`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leak {
    /// Values with destructors ([`GcDrop`](super::GcDrop)) that nobody reaches, and that refer to each other in cycles, or are referred to from such a cycle: there is no order in which their destructors could run.
    Destructors {
        /// The types of the values, one entry for each, sorted.
        types: Vec<&'static str>,
    },
    /// A goroutine that waits for ever: for a channel, a lock, the end of another, that nothing that can still run reaches.
    #[non_exhaustive]
    Goroutine {
        /// Its number.
        id: go::Id,
        /// The name given by [`task::Builder::name`](crate::task::Builder::name).
        name: Option<String>,
        /// What it waits for, in the words of goroutine dumps: `chan receive`, `mutex lock`, ..
        waiting_for: &'static str,
        /// Where it was spawned.
        spawned_at: &'static Location<'static>,
        /// Bytes of its stack in use.
        stack_used: usize,
        /// Where it waits: functions and their places, the innermost first. Empty without the feature `backtrace`.
        backtrace: Vec<String>,
    },
}

impl Leak {
    /// Cancels the goroutine, as [`JoinHandle::cancel`](crate::JoinHandle::cancel) does: it unwinds from where it waits, its destructors run, and its memory comes back. Returns whether there was
    /// anything to cancel: values with destructors cannot be helped, and a goroutine may have ended since.
    ///
    /// What it lets go of may wake others that were reported with it; those that are not woken can be cancelled in any order.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::{chan, gc, go};
    ///
    /// greenroutine::run(|| {
    ///     // The sender waits for a receiver that gives up.
    ///     let (sender, receiver) = chan::<u32>(0);
    ///     go(move || sender.send(1));
    ///     std::mem::forget(receiver);
    ///     for leak in gc::leaks() {
    ///         leak.cancel();
    ///     }
    /// });
    /// ```
    pub fn cancel(&self) -> bool {
        match self {
            Self::Destructors { .. } => false,
            Self::Goroutine { id, .. } => lost::cancel(id.as_u64()),
        }
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destructors { types } => {
                write!(f, "{} values with destructors are kept by cycles among them:", types.len())?;
                for same in types.chunk_by(PartialEq::eq) {
                    write!(f, " {} {}", same.len(), same[0])?;
                }
                Ok(())
            }
            Self::Goroutine { id, name, waiting_for, spawned_at, stack_used, backtrace } => {
                write!(f, "goroutine {id}")?;
                if let Some(name) = name {
                    write!(f, " '{name}'")?;
                }
                write!(
                    f,
                    " [{waiting_for}] waits for ever, stack {stack_used} bytes in use, spawned at {spawned_at}"
                )?;
                backtrace.iter().try_for_each(|frame| write!(f, "\n    {frame}"))
            }
        }
    }
}

/// Looks for what is kept for ever: goroutines that wait for what nobody can bring, in the order of their numbers, and then values with destructors that hold each other.
///
/// # Goroutines
///
/// A goroutine is reported if it waits, without a deadline, for a channel, a lock, a condition, a count, the end of others, or an unpark, and nothing that can still run reaches what it waits for. That is found
/// by marking, as Go 1.27's `goroutineleak` profile does: from statics, thread-locals, threads, goroutines that run, sleep, wait for the kernel or a deadline, and from there on through
/// all memory of the program, to goroutines that can be woken, and to what those reach. Two goroutines that wait for each other are both reported, and so is one that joins one of them. One whose
/// [`JoinHandle`](crate::JoinHandle) or [`Handle`](crate::task::Handle) is still held by something live is not: it could be cancelled. Nor are those in [`block_on`](crate::block_on()), whose futures may be woken from anywhere, and the
/// main goroutine of [`run`](crate::run()).
///
/// There is no false alarm as long as pointers are where the collector can see them ([limits](super#limits)); what only C code holds counts as reached. A stale word that happens to point to a leaked goroutine hides it from the report.
///
/// # Destructors
///
/// As many cycles are run as it takes to free what can be freed before, 64 at most: while the program goes on making values with destructors, something that
/// waits for others to go first may hide a leak from the report, and never adds a wrong one.
///
/// # Blocking
///
/// As [`collect`](super::collect), for each cycle. After them the world is stopped for as long as it takes to read all reachable memory once. Where nothing is collected ([`Stats::backend`](super::Stats::backend)
/// is `off`) nothing is found.
///
/// # Examples
///
/// ```
/// use greenroutine::gc;
///
/// for leak in gc::leaks() {
///     eprintln!("{leak}");
/// }
/// ```
pub fn leaks() -> Vec<Leak> {
    let destructors = destructors();
    let mut lost = collector::on_the_thread(look).unwrap_or_default();
    lost.sort_by_key(|lost| lost.task().id.load(Ordering::Relaxed));
    let tasks: Vec<_> = lost.iter().map(Lost::task).collect();
    let backtraces = crate::backtraces(&tasks);
    let goroutines = lost.iter().zip(backtraces).filter_map(|(lost, frames)| goroutine(lost, frames));
    goroutines.chain(destructors).collect()
}

fn goroutine(lost: &Lost, backtrace: Vec<String>) -> Option<Leak> {
    let task = lost.task();
    Some(Leak::Goroutine {
        id: go::Id::of(task),
        name: task.name().map(String::from),
        // Whoever holds a report of an earlier call may have cancelled it.
        waiting_for: Wait::words(task.wake.waiting()?),
        spawned_at: task.site.get(),
        stack_used: lost.stack_used(),
        backtrace,
    })
}

fn destructors() -> Option<Leak> {
    for _ in 0..CYCLES {
        collector::collect();
        let stuck = reap::tables().stuck();
        if let Some(mut types) = stuck {
            types.sort_unstable();
            return (!types.is_empty()).then_some(Leak::Destructors { types });
        }
    }
    None
}

/// Stops the world and finds the goroutines. On the collector's thread, for who waits at `asker`.
fn look(asker: usize) -> Vec<Lost> {
    let mut lost = Found::new();
    search::while_stopped("leaks", |held, world| find(held, world, asker, &mut lost));
    (0..lost.len()).map(|number| Lost::adopt(search::task(lost.at(number).0))).collect()
}

/// Adds the cells of the goroutines, and a reference to each.
fn find(held: &Held, world: &Stopped, asker: usize, lost: &mut Found) {
    let mut search = Search::new(held, true, asker);
    search.look_at_roots(world);
    search.for_each_goroutine(|search, block, member| {
        if !member.has_ended && !member.depends_on_others {
            search.add_goroutine(block);
        }
    });
    search.follow();
    // What the others hold themselves, directly or not.
    let mut aside = Search::new(held, true, asker);
    let mut count = 0;
    search.for_each_goroutine(|search, block, member| {
        if member.depends_on_others && !search.found.has(block as usize) {
            aside.add_goroutine(block);
            count += 1;
        }
    });
    if count == 0 {
        return;
    }
    aside.follow();
    // What is left nobody seems to hold: somebody who cannot be seen does, such as C code, or nobody.
    search.add_unknown(Some(&aside));
    search.follow();
    if search.has_failed() || aside.has_failed() {
        return;
    }
    search.for_each_goroutine(|search, block, member| {
        if member.depends_on_others && !search.found.has(block as usize) {
            lost.add(block as usize, 0);
            if lost.has(block as usize) {
                member.task.life.add_ref();
            }
        }
    });
}
