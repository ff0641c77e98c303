//! [`Weak`]: pointers that keep nothing alive. The table is in `reap`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ptr::Gc;
use super::reap;
use crate::arch;
use crate::world::critical;

/// The hidden address of an object, 0 when it is gone; all weak pointers to one object share it. An object that the marker does not read.
#[repr(transparent)]
pub(super) struct Cell(AtomicUsize);

/// A pointer to a collected value that does not keep it alive: [`Gc::downgrade`].
///
/// Once nobody reaches the value, [`upgrade`](Weak::upgrade) gives `None`, for ever, from the end of the cycle that has noticed. Weak pointers are equal if they were made of the same
/// pointer, also after the value is gone. A value without size lives for ever.
///
/// # Examples
///
/// ```
/// use greenroutine::{Gc, gc::Weak};
///
/// struct Node {
///     parent: Weak<Node>,
///     name: &'static str,
/// }
///
/// let root = Gc::new(Node { parent: Weak::new(), name: "root" });
/// let leaf = Gc::new(Node { parent: Gc::downgrade(root), name: "leaf" });
/// assert_eq!(leaf.parent.upgrade().unwrap().name, "root");
/// assert!(root.parent.upgrade().is_none());
/// # assert_eq!(leaf.name, "leaf");
/// ```
pub struct Weak<T: ?Sized + 'static> {
    /// None if it never pointed to anything.
    cell: Option<Gc<Cell>>,
    /// The pointer without its address: what else there is to it, such as a length.
    rest: *const T,
}

impl<T: ?Sized> Clone for Weak<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Weak<T> {}

// SAFETY: it gives out `Gc<T>`s, so it may go where they may; `rest` points to nothing.
unsafe impl<T: ?Sized + Send + Sync> Send for Weak<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Weak<T> {}

impl<T: ?Sized + 'static> Gc<T> {
    /// A pointer that does not keep the value alive.
    pub fn downgrade(this: Self) -> Weak<T> {
        let pointer = Gc::as_ptr(this);
        let object = pointer.cast::<u8>() as usize;
        Weak { cell: Some(cell_of(object)), rest: pointer.wrapping_byte_sub(object) }
    }
}

/// The cell of an object that the caller has.
fn cell_of(object: usize) -> Gc<Cell> {
    if let Some(cell) = reap::tables().cell_of(object) {
        // SAFETY: of a cell, and in a register since the lock was held.
        return unsafe { Gc::from_ptr(cell as *const Cell) };
    }
    // Before the lock: this may begin a cycle.
    let fresh = Gc::new(Cell(AtomicUsize::new(!object)));
    let mut tables = reap::tables();
    let cell = match tables.cell_of(object) {
        // SAFETY: as above, and the lock is held.
        Some(cell) => unsafe { Gc::from_ptr(cell as *const Cell) },
        None => {
            tables.set_cell(object, Gc::as_ptr(fresh) as usize);
            fresh
        }
    };
    drop(tables);
    // Until here the object is alive, so the entry is right.
    arch::opaque(object);
    cell
}

impl<T: 'static> Weak<T> {
    /// Points to nothing.
    pub const fn new() -> Self {
        Self { cell: None, rest: std::ptr::null() }
    }
}

impl<T: 'static> Default for Weak<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized + 'static> Weak<T> {
    /// The value, if it is still there. From then on the result keeps it alive.
    // Never inlined: see `world::critical`.
    #[inline(never)]
    pub fn upgrade(&self) -> Option<Gc<T>> {
        let cell = self.cell?;
        // A stop between reading the address and having it where the collector sees it would free the object.
        let address = critical::run(|| {
            let hidden = cell.0.load(Ordering::Relaxed);
            (hidden != 0).then(|| arch::opaque(!hidden))
        })?;
        // SAFETY: the address and the rest of a pointer that came from a `Gc`; the object is there, because its cell said so in a stretch without stop, and has been visible since.
        Some(unsafe { Gc::from_ptr(self.rest.wrapping_byte_add(address)) })
    }

    /// Whether both were made of the same pointer.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (self.cell, other.cell) {
            (Some(this), Some(that)) => Gc::ptr_eq(this, that),
            (None, None) => true,
            _ => false,
        }
    }
}

impl<T: ?Sized> PartialEq for Weak<T> {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other)
    }
}

impl<T: ?Sized> Eq for Weak<T> {}

impl<T: ?Sized> Hash for Weak<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cell.map_or(0, |cell| Gc::as_ptr(cell) as usize).hash(state);
    }
}

impl<T: ?Sized> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Weak)")
    }
}
