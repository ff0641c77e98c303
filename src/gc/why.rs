//! [`why_alive`]: the shortest way from a root to an object.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;
use std::panic::Location;

use super::collector;
use super::ptr::Gc;
use super::scan::{self, Held};
use super::search::{self, Ignored, Search};
use crate::heap::lookup::{self, Object};
use crate::routine::{TaskRef, Wait};
use crate::sched::lost::Lost;
use crate::stack::geometry;
use crate::world::Record;
use crate::world::stop::Stopped;
use crate::{arch, go};

/// More objects than anybody reads; of a longer way the ends are shown.
const MOST: usize = 256;

/// Why an object is alive: [`why_alive`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    root: Option<RootKind>,
    objects: Vec<Step>,
    omitted: usize,
}

/// Where a [`Path`] begins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootKind {
    /// The stack of a goroutine, or the closure of one that has not begun, or the result of one that has ended.
    #[non_exhaustive]
    Goroutine {
        /// Its number.
        id: go::Id,
        /// The name given by [`task::Builder::name`](crate::task::Builder::name).
        name: Option<String>,
        /// What it waits for, in the words of goroutine dumps; `None` if it does not wait.
        waiting_for: Option<&'static str>,
        /// Where it was spawned.
        spawned_at: &'static Location<'static>,
    },
    /// The stack or the registers of a plain thread.
    Thread {
        /// The kernel's number of the thread.
        id: i32,
    },
    /// A thread-local of a thread.
    ThreadLocal {
        /// The kernel's number of the thread.
        id: i32,
    },
    /// Writable data of the program or of a library: a static.
    Static {
        /// The address of the word in it.
        address: usize,
    },
    /// Memory that was shown to the collector with [`roots::add`](super::roots::add).
    Added {
        /// The address of the word in it.
        address: usize,
    },
    /// An ordinary allocation that nothing the collector can see refers to: C code has it ([`Root::into_raw`](super::Root::into_raw)), or it was leaked. The first of the path's objects.
    Allocation,
    /// A table of the collector's. The first of the path's objects has a destructor ([`GcDrop`](super::GcDrop)) that has not run, or is the value of a key in a [`WeakMap`](super::WeakMap).
    Table,
}

/// One object on a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Where it begins.
    pub address: usize,
    /// Bytes that it takes.
    pub bytes: usize,
    /// Whether it is of the collected heap; else it is an ordinary allocation: a `Box`, the buffer of a `Vec`.
    pub is_collected: bool,
    /// How many bytes from its beginning the reference to the next one lies; 0 in the last.
    pub offset: usize,
    /// Its type, where that is known: of the last one, for which was asked.
    pub type_name: Option<&'static str>,
}

impl Path {
    /// Where it begins; `None` if nothing but the caller refers to the object.
    pub fn root(&self) -> Option<&RootKind> {
        self.root.as_ref()
    }

    /// What it leads over, the object itself last. Of more than 256 some in the middle are left out.
    pub fn objects(&self) -> &[Step] {
        &self.objects
    }

    /// How many objects in the middle were left out.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Whether nothing but the caller refers to the object.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

impl fmt::Display for RootKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goroutine { id, name, waiting_for, spawned_at } => {
                write!(f, "goroutine {id}")?;
                if let Some(name) = name {
                    write!(f, " '{name}'")?;
                }
                if let Some(waiting_for) = waiting_for {
                    write!(f, " [{waiting_for}]")?;
                }
                write!(f, " spawned at {spawned_at}")
            }
            Self::Thread { id } => write!(f, "stack of thread {id}"),
            Self::ThreadLocal { id } => write!(f, "thread-local of thread {id}"),
            Self::Static { address } => write!(f, "static at {address:#x}"),
            Self::Added { address } => write!(f, "word at {address:#x}, of roots::add"),
            Self::Allocation => write!(f, "allocation that nothing visible refers to"),
            Self::Table => write!(f, "table of the collector: a destructor that has not run, or a weak map"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_collected { "object" } else { "allocation" };
        write!(f, "{kind} {:#x} of {} bytes", self.address, self.bytes)?;
        self.type_name.map_or(Ok(()), |name| write!(f, ": {name}"))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(root) = &self.root else { return write!(f, "only the caller refers to it") };
        write!(f, "{root}")?;
        for (number, step) in self.objects.iter().enumerate() {
            if self.omitted > 0 && number == MOST / 2 {
                write!(f, "\n    .. {} more", self.omitted)?;
            }
            write!(f, "\n    -> {step}")?;
            if number + 1 < self.objects.len() {
                write!(f, ", at offset {}", step.offset)?;
            }
        }
        Ok(())
    }
}

/// The shortest way over which the program reaches an object: from a static, a thread-local, the stack of a thread or a goroutine, through ordinary allocations and collected objects. For questions such as why a
/// cache's entry is not freed.
///
/// References in the caller's own stack and registers that point to the object itself do not count, because `gc` is one. What lies there for others does: where the caller has the head of a list and asks for its
/// tail, the path begins at the caller.
///
/// The collector is conservative, and so is the answer: a word that was left over, or that only looks like a pointer, keeps an object alive as a reference does, and is shown as one.
///
/// # Blocking
///
/// Waits for a cycle that runs, and stops the world for as long as it takes to read all reachable memory once. Where nothing is collected ([`Stats::backend`](super::Stats::backend) is `off`) the path is empty.
///
/// # Examples
///
/// ```
/// use greenroutine::Gc;
/// use greenroutine::gc::{self, RootKind};
/// use std::sync::OnceLock;
///
/// static CONFIG: OnceLock<Box<[Gc<str>]>> = OnceLock::new();
///
/// let name = Gc::<str>::from("a name");
/// CONFIG.set(Box::new([name])).unwrap();
/// let path = gc::why_alive(name);
/// assert!(matches!(path.root(), Some(RootKind::Static { .. })));
/// // The box, and the string.
/// assert_eq!(path.objects().len(), 2);
/// println!("{path}");
/// ```
pub fn why_alive<T: ?Sized + 'static>(gc: Gc<T>) -> Path {
    // Inverted: what asks is no reference.
    let target = !(Gc::as_ptr(gc) as *const () as usize);
    let raw = collector::on_the_thread(move |asker| look(!target, asker)).unwrap_or_else(Raw::empty);
    arch::opaque(Gc::as_ptr(gc) as *const () as usize);
    raw.into_path(std::any::type_name::<T>())
}

/// A path, as it is noted while nothing may allocate.
struct Raw {
    root: Option<Root>,
    objects: Vec<Step>,
    omitted: usize,
}

/// As [`RootKind`].
enum Root {
    Goroutine(Lost),
    Thread(i32),
    ThreadLocal(i32),
    Static(usize),
    Added(usize),
    Allocation,
    Table,
}

impl Raw {
    fn empty() -> Self {
        Self { root: None, objects: Vec::new(), omitted: 0 }
    }

    fn into_path(mut self, type_name: &'static str) -> Path {
        if let Some(last) = self.objects.last_mut() {
            last.type_name = Some(type_name);
        }
        Path { root: self.root.map(Root::into_kind), objects: self.objects, omitted: self.omitted }
    }
}

impl Root {
    fn into_kind(self) -> RootKind {
        match self {
            Self::Goroutine(lost) => {
                let task = lost.task();
                RootKind::Goroutine {
                    id: go::Id::of(task),
                    name: task.name().map(String::from),
                    waiting_for: task.wake.waiting().map(Wait::words),
                    spawned_at: task.site.get(),
                }
            }
            Self::Thread(id) => RootKind::Thread { id },
            Self::ThreadLocal(id) => RootKind::ThreadLocal { id },
            Self::Static(address) => RootKind::Static { address },
            Self::Added(address) => RootKind::Added { address },
            Self::Allocation => RootKind::Allocation,
            Self::Table => RootKind::Table,
        }
    }
}

/// Stops the world and finds the way. On the collector's thread. For who waits at `asker`.
fn look(target: usize, asker: usize) -> Raw {
    let mut raw = Raw::empty();
    // Nothing may allocate while the heap's locks are held.
    raw.objects.reserve_exact(MOST);
    search::while_stopped("what keeps an object alive", |held, world| {
        let Some(target) = lookup::object(target) else { return };
        let mut search = Search::new(held, false, asker);
        search.ignore(Ignored { object: target.start, places: own_places(world, asker) });
        find(&mut search, held, world, &target);
        if let Some(number) = search.found.position(target.start).filter(|_| !search.has_failed()) {
            note(&search, held, world, number, &mut raw);
        }
    });
    raw
}

/// The stack that an address lies in, and the registers of the thread that is on it.
fn own_places(world: &Stopped, address: usize) -> [Range<usize>; 2] {
    let stack = geometry::header_at(address)
        .map_or_else(|| own_stack(world, address), |header| header.slot_base()..header.address());
    let thread = world.threads().find(|thread| stack.contains(&thread.sp()));
    let registers = thread.map_or((0, 0), Record::registers);
    [stack, registers.0..registers.1]
}

/// As [`own_places`], of a thread. Its bounds are those of the mapping, in which thread-locals and the control block lie above the stack.
fn own_stack(world: &Stopped, address: usize) -> Range<usize> {
    let mut bounds = world.threads().filter_map(Record::bounds);
    let Some((low, high)) = bounds.find(|(low, high)| (*low..*high).contains(&address)) else {
        return address..address;
    };
    let above = |start: usize| (address..high).contains(&start).then_some(start);
    let mut lowest = world.threads().filter_map(|thread| above(thread.thread_pointer())).min();
    scan::for_each_static(world, |thread, range| {
        lowest = thread.and(above(range.start)).into_iter().chain(lowest).min();
    });
    low..lowest.unwrap_or(high)
}

/// Searches until the object is found, or there is nothing left to search.
fn find(search: &mut Search<'_>, held: &Held, world: &Stopped, target: &Object) {
    search.look_at_roots(world);
    search.look_at_goroutines();
    if follow(search, held, target) {
        return;
    }
    held.tables
        .objects_with_destructors()
        .filter(|object| *object != target.start)
        .for_each(|object| search.add_object(object));
    if follow(search, held, target) {
        return;
    }
    search.add_unknown(None);
    follow(search, held, target);
}

/// Follows what was found, and the entries of weak maps. Returns whether the object is among it.
fn follow(search: &mut Search<'_>, held: &Held, target: &Object) -> bool {
    loop {
        search.follow();
        let before = search.found.len();
        if search.found.has(target.start) {
            return true;
        }
        for [map, key, value] in held.tables.entries() {
            if search.found.has(map) && search.found.has(key) {
                search.add_object(value);
            }
        }
        if search.found.len() == before {
            return false;
        }
    }
}

/// The numbers of what was found on the way to number `last`, backwards. Each was found before what it leads to: a word that was shown with `roots::add` may lie in an object that it leads to.
fn backwards<'a>(search: &'a Search<'_>, last: usize) -> impl Iterator<Item = usize> + 'a {
    std::iter::successors(Some(last), |number| {
        let around = lookup::object(search.found.at(*number).1)?;
        search.found.position(around.start).filter(|before| before < number)
    })
}

fn note(search: &Search<'_>, held: &Held, world: &Stopped, last: usize, raw: &mut Raw) {
    let count = backwards(search, last).count();
    // So many in the middle are left out.
    raw.omitted = count.saturating_sub(MOST);
    let mut follower = 0;
    for (number, (start, via)) in backwards(search, last).map(|found| search.found.at(found)).enumerate() {
        if let Some(object) = lookup::object(start)
            && !(MOST / 2..MOST / 2 + raw.omitted).contains(&number)
        {
            raw.objects.push(Step {
                address: start,
                bytes: object.bytes,
                is_collected: object.span.kind().is_collected(),
                offset: if number == 0 { 0 } else { follower - start },
                type_name: None,
            });
        }
        follower = via;
        if number + 1 == count {
            raw.root = Some(root(search, held, world, start, via));
        }
    }
    raw.objects.reverse();
}

/// What the word at `via` is part of, which leads to the object `first`.
fn root(search: &Search<'_>, held: &Held, world: &Stopped, first: usize, via: usize) -> Root {
    if via == 0 {
        let is_collected = lookup::object(first).is_some_and(|object| object.span.kind().is_collected());
        return if is_collected { Root::Table } else { Root::Allocation };
    }
    if held.added.ranges().any(|range| range.contains(&via)) {
        return Root::Added(via);
    }
    if let Some(task) = search.goroutine_around(via) {
        return goroutine(task);
    }
    let mut found = None;
    scan::for_each_static(world, |thread, range| {
        if range.contains(&via) {
            found = Some(thread.map_or(Root::Static(via), |thread| Root::ThreadLocal(thread.tid())));
        }
    });
    if let Some(root) = found {
        return root;
    }
    for thread in world.threads() {
        let mut is_here = false;
        scan::for_each_part(thread, |range| is_here |= range.contains(&via));
        if is_here {
            // Its registers, if a goroutine runs on it.
            return search
                .goroutine_around(thread.sp())
                .map_or_else(|| Root::Thread(thread.tid()), goroutine);
        }
    }
    // What is left is a thread's control block.
    let above = |thread: &&Record| (thread.thread_pointer()..).contains(&via);
    let thread = world.threads().filter(|thread| above(thread)).max_by_key(|thread| thread.thread_pointer());
    Root::ThreadLocal(thread.map_or(0, Record::tid))
}

fn goroutine(task: TaskRef) -> Root {
    task.life.add_ref();
    Root::Goroutine(Lost::adopt(task))
}
