//! [`why_alive`]: the shortest way from a root to an object.

use std::fmt;
use std::ops::Range;
use std::panic::Location;

use super::cycle::{self, Outcome};
use super::found::Found;
use super::ptr::Gc;
use super::scan::{self, Held};
use super::search::Search;
use super::{collector, reap};
use crate::go;
use crate::heap::arena::Kind;
use crate::heap::lookup;
use crate::routine::{Wait, roots, slot};
use crate::stack::geometry;
use crate::sys::thread;
use crate::world::Record;
use crate::world::stop::Stopped;

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
    #[non_exhaustive]
    Thread {
        /// The kernel's number of the thread.
        id: i32,
    },
    /// A thread-local of a thread.
    #[non_exhaustive]
    ThreadLocal {
        /// The kernel's number of the thread.
        id: i32,
    },
    /// Writable data of the program or of a library: a static.
    #[non_exhaustive]
    Static {
        /// The address of the word in it.
        address: usize,
    },
    /// Memory that was shown to the collector with [`roots::add`](super::roots::add).
    #[non_exhaustive]
    Added {
        /// The address of the word in it.
        address: usize,
    },
    /// An ordinary allocation that nothing the collector can see refers to: C code has it ([`Root::into_raw`](super::Root::into_raw)), or it was leaked. The first of the path's objects.
    Allocation,
    /// A table of the collector's: the object is pinned, waits for its destructor, or is a value of a weak map.
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
            Self::Table => write!(f, "table of the collector: pinned, waiting for its destructor, or in a weak map"),
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
