//! [`Search`]: from roots to all that they lead to, with the world stopped, where the program's ordinary allocations are nodes like any others, and goroutines too. The collector's own marking takes
//! every live allocation and every goroutine for a root; here only what is led to counts. Called by `leaks` and `why`.
//!
//! A goroutine is a node if it can only be woken by somebody who knows it. Whoever wakes it needs its address, or that of its node in the queue that it waits in, which lies in its stack. So **a word that
//! points to its cell or into its stack leads to it**: a channel that it waits for leads to it by the channel's list of waiters, the goroutine that it joins by the joiner noted there, a child of
//! its scope by the scope, a handle by itself. Nothing has to be known of what it waits for, and nothing is written for it when it waits.
//!
//! The order of finding is that of the distance from the roots.

use std::ops::Range;

use super::cycle::{self, Outcome};
use super::found::Found;
use super::scan::{self, Held};
use crate::arch;
use crate::base::meta::Block;
use crate::heap::arena::Kind;
use crate::heap::lookup::{self, Object};
use crate::routine::roots::{self, Member};
use crate::routine::{Task, TaskRef};
use crate::stack::geometry;
use crate::world::stop::Stopped;

/// The part of a thread's control block in which the C library keeps pointers of the program: the argument of a thread that has not begun, values by key.
const CONTROL_BLOCK: usize = 2048;

/// See the file's documentation.
pub(super) struct Search<'a> {
    held: &'a Held,
    /// Objects by their first byte, goroutines by their cells. Shared roots' entries are what the roots' words point to.
    pub(super) found: Found,
    /// Where the followed ones end.
    followed: usize,
    /// Cells of goroutines by the headers of their stacks.
    stacks: Found,
    /// Blocks that are free though their spans do not know.
    idle: Found,
    /// Whether something that was to be added is lost.
    has_lost: bool,
    /// Whether goroutines are nodes: otherwise words that point to them lead nowhere.
    has_goroutines: bool,
    /// Where the used part of the stack begins of who asked for the search.
    asker: usize,
    ignored: Ignored,
}

/// Words that lead nowhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignored {
    /// Those that point into this object,
    pub(super) object: usize,
    /// and lie here.
    pub(super) places: [Range<usize>; 2],
}

impl Ignored {
    fn covers(&self, object: usize, at: usize) -> bool {
        object == self.object && self.places.iter().any(|place| place.contains(&at))
    }
}

impl<'a> Search<'a> {
    /// `asker`: see [`collector::on_the_thread`](super::collector::on_the_thread).
    pub(super) fn new(held: &'a Held, has_goroutines: bool, asker: usize) -> Self {
        let mut search = Self {
            held,
            found: Found::new(),
            followed: 0,
            stacks: Found::new(),
            idle: Found::new(),
            has_lost: false,
            has_goroutines,
            asker,
            ignored: Ignored::default(),
        };
        held.heap.for_each_idle(|block| search.idle.add(block, 0));
        search.for_each_goroutine(|search, block, member| {
            if member.slot != 0 {
                search.stacks.add(member.slot, block as usize);
            }
        });
        search
    }

    /// Has some words lead nowhere.
    pub(super) fn ignore(&mut self, ignored: Ignored) {
        self.ignored = ignored;
    }

    /// Whether the search is worth nothing, because the kernel refused memory.
    pub(super) fn has_failed(&self) -> bool {
        self.has_lost
            || [&self.found, &self.stacks, &self.idle].iter().any(|found| found.is_short_of_memory())
    }

    /// Calls `each` with all goroutines' cells.
    pub(super) fn for_each_goroutine(&mut self, mut each: impl FnMut(&mut Self, *mut Block, Member)) {
        let held = self.held;
        held.cells.for_each_numbered_block(|_, block, _| {
            if let Some(member) = roots::member(block) {
                each(self, block, member);
            }
        });
    }

    /// Looks at statics, thread-locals, threads' stacks, and what was added to the roots.
    pub(super) fn look_at_roots(&mut self, world: &Stopped) {
        scan::for_each_static(world, |_, range| self.look_through(range));
        for thread in world.threads() {
            if !thread.rests() {
                scan::for_each_part(thread, |range| self.look_through_stack(range));
            }
            let control = thread.thread_pointer();
            if control != 0 {
                self.look_through(control..control + CONTROL_BLOCK);
            }
        }
        for range in self.held.added.ranges() {
            self.look_through(range);
        }
    }

    /// Looks at all goroutines: what they hold themselves.
    pub(super) fn look_at_goroutines(&mut self) {
        self.for_each_goroutine(|search, block, _| search.look_at_goroutine(block as usize));
    }

    /// Adds an object that something leads to which is no word in memory.
    pub(super) fn add_object(&mut self, object: usize) {
        self.found.add(object, 0);
    }

    /// Adds a goroutine.
    pub(super) fn add_goroutine(&mut self, block: *mut Block) {
        self.found.add(block as usize, 0);
    }

    /// Follows all that was found and not followed.
    pub(super) fn follow(&mut self) {
        while self.followed < self.found.len() {
            let (node, _) = self.found.at(self.followed);
            self.followed += 1;
            match lookup::object(node) {
                Some(object) => self.look_into(&object),
                None => self.look_at_goroutine(node),
            }
        }
    }

    /// Adds every block of the program that may hold pointers and that neither this search nor the other has found.
    pub(super) fn add_unknown(&mut self, other: Option<&Self>) {
        // Aside first: what is added is not to be asked for.
        let mut unknown = Found::new();
        self.held.heap.for_each_manual(Kind::ManualScan, |stretch| {
            let mut at = stretch.start;
            while let Some(object) = lookup::object(at).filter(|_| at < stretch.end) {
                let block = object.start;
                let is_of_other = other.is_some_and(|other| other.found.has(block));
                if !(self.found.has(block) || is_of_other || self.idle.has(block)) {
                    unknown.add(block, 0);
                }
                at = block + object.bytes;
            }
        });
        self.has_lost |= unknown.is_short_of_memory();
        (0..unknown.len()).for_each(|number| self.add_object(unknown.at(number).0));
    }

    fn look_into(&mut self, object: &Object) {
        if object.span.kind().is_scanned() {
            self.look_through(object.start..object.start + object.bytes);
        }
    }

    fn look_at_goroutine(&mut self, cell: usize) {
        let Some((block, class)) = self.held.cells.block_at(cell) else { return };
        let holdings = roots::holdings(block, class, true);
        let task = Task::from_block(block);
        if roots::holds_payload(task) {
            self.look_through_stack(holdings.payload);
        }
        holdings.stack.into_iter().flatten().for_each(|stack| self.look_through_stack(stack));
        for range in roots::links(task) {
            self.look_through(range);
        }
    }

    fn look_through(&mut self, range: Range<usize>) {
        self.for_each_word(range, |search, word, at| search.consider(word, at));
    }

    /// As [`Search::look_through`]. On a stack the only pointer to something may point just past it.
    fn look_through_stack(&mut self, mut range: Range<usize>) {
        if range.contains(&self.asker) {
            range.start = self.asker;
        }
        self.for_each_word(range, |search, word, at| {
            search.consider(word, at);
            search.consider_object(word.wrapping_sub(1), at);
        });
    }

    fn for_each_word(&mut self, range: Range<usize>, mut each: impl FnMut(&mut Self, usize, usize)) {
        for at in (range.start.next_multiple_of(8)..range.end & !7).step_by(8) {
            // SAFETY: what is searched is mapped readable while the world is stopped: memory of the heap, cells, open parts of stacks, statics, control blocks of threads that have not ended, and
            // what the caller of `roots::add` has vouched for.
            let word = unsafe { arch::racy_load(at) };
            each(self, word, at);
        }
    }

    #[inline(always)]
    fn consider(&mut self, word: usize, at: usize) {
        if !self.consider_object(word, at)
            && self.has_goroutines
            && let Some(cell) = self.goroutine_at(word)
        {
            self.found.add(cell, at);
        }
    }

    /// Returns whether the word points into the heap.
    #[inline(always)]
    fn consider_object(&mut self, word: usize, at: usize) -> bool {
        let Some(object) = lookup::object(word) else { return false };
        if !(object.is_freed() || self.idle.has(object.start) || self.ignored.covers(object.start, at)) {
            self.found.add(object.start, at);
        }
        true
    }

    /// The goroutine in whose stack, or whose record, an address lies.
    pub(super) fn goroutine_around(&self, address: usize) -> Option<TaskRef> {
        let header = geometry::header_address(address).and_then(|header| self.stacks.position(header));
        let cell = header.map_or(address, |header| self.stacks.at(header).1);
        let (block, _) = self.held.cells.block_at(cell)?;
        roots::member(block).map(|member| member.task)
    }

    /// The cell of the goroutine that a word points to, or into whose stack it points.
    fn goroutine_at(&self, word: usize) -> Option<usize> {
        if let Some(header) = geometry::header_address(word) {
            let (_, cell) = self.stacks.at(self.stacks.position(header)?);
            let (block, class) = self.held.cells.block_at(cell)?;
            // What is not in use of a slot is nobody's; its lowest address may be the arena's.
            let stack = roots::holdings(block, class, false).stack;
            return stack.filter(|stack| stack.iter().any(|range| range.contains(&word))).map(|_| cell);
        }
        let (block, _) = self.held.cells.block_at(word)?;
        roots::member(block).map(|_| block as usize)
    }
}

/// Stops the world for a search of `what`, which is not made if that fails. `work` allocates nothing.
pub(super) fn while_stopped(what: &str, work: impl FnOnce(&Held, &Stopped)) {
    let result = cycle::while_stopped(&mut Outcome::default(), |held, world| work(held, world));
    if let Err(error) = result {
        eprintln!("greenroutine: gc: no search for {what}: {error}");
    }
}

/// The goroutine in a cell.
pub(super) fn task(cell: usize) -> TaskRef {
    Task::from_block(cell as *mut Block)
}
