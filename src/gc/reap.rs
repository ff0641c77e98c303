//! What happens to objects that nobody reaches, besides being freed: weak pointers to them are cleared, destructors and clean-ups become due, values of weak maps go.
//!
//! The tables here know objects by their address, inverted ([`Hidden`]): the marker does not take that for a reference. The collector holds their lock from before the world is
//! stopped, so it never meets them half changed, and no table entry is made for an object that is gone: who makes one has the object in hand until the lock is free again.
//!
//! # At the end of marking
//!
//! [`Tables::finish`], with the world stopped, once all that the program reaches is marked. In this order, which is Go's but for the maps:
//!
//! 1. Pinned objects with destructors are marked, and what they refer to.
//! 2. Values in weak maps whose key and map are marked are marked, and what they refer to, until there are no more (ephemerons: Hayes 1997).
//! 3. Of the objects with destructors that are not marked, the *doomed*, all that they refer to is marked, but not they themselves. Those that are marked after that are referred to by others of them (or by
//!    themselves, in a cycle): they wait. The destructors of the rest are due.
//! 4. Weak pointers to what is not marked by now are cleared, and its clean-ups and entries in weak maps are due. So an object that a destructor will still see keeps its weak pointers.
//! 5. Those whose destructors are due are marked: the last time.
//!
//! Nothing here allocates or frees: due entries get a mark, and [`take_due`] fetches them after the world goes on.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::arch;
use crate::base::hash;
use crate::base::lock::{Lock, Locked, Rank};
use crate::heap::lookup;

/// The address of an object, inverted: no reference for the marker.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hidden(usize);

impl Hidden {
    /// Hides an address. Whoever still needs the object alive has to keep it ([`arch::opaque`]).
    pub(super) fn new(address: usize) -> Self {
        Self(!address)
    }

    /// The address; in a register from here on, where the collector sees it.
    pub(super) fn show(self) -> usize {
        arch::opaque(!self.0)
    }

    /// Whether the object is marked. What is no object of the heap (a value without size; builds in which the heap steps aside) lives for ever.
    fn is_marked(self) -> bool {
        lookup::object(!self.0).is_none_or(|object| object.is_marked())
    }
}

/// Mixes the bits of an address: objects lie at multiples of their size.
#[derive(Default)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, word: usize) {
        self.0 = hash::mix(self.0, word as u64);
    }
}

/// A map by addresses.
pub(super) type ByAddress<K, V> = HashMap<K, V, BuildHasherDefault<AddressHasher>>;

/// What an object that has a destructor begins with; the value follows.
#[repr(C)]
pub(super) struct Header {
    /// Guards that keep it alive, wherever they are.
    pub(super) pins: AtomicUsize,
}

/// How a destructor is run.
#[derive(Clone, Copy)]
pub(super) struct Destructor {
    /// Runs it on the value of an object.
    pub(super) run: unsafe fn(usize),
    /// Of which type.
    pub(super) name: &'static str,
}

/// What becomes of an object with a destructor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was reachable when that was last looked at.
    Alive,
    /// It is not, but others like it refer to it, or it refers to itself.
    Waits,
    /// Its destructor is due.
    Due,
}

struct Doomed {
    object: Hidden,
    destructor: Destructor,
    fate: Fate,
}

/// A function for an object's end.
pub(super) type Call = Box<dyn FnOnce() + Send>;

struct Cleanup {
    object: Hidden,
    is_due: bool,
    call: Call,
}

/// What has to be done for objects that are gone.
pub(super) enum Due {
    /// Run the destructor of the object at that address. A reference.
    Destructor(usize, Destructor),
    /// Call.
    Call(Call),
    /// Have the pools drop what is to be dropped.
    Pools,
}

/// See the file's documentation.
pub(super) struct Tables {
    /// Objects that have destructors.
    doomed: Vec<Doomed>,
    /// Objects that have weak pointers, and the cell of each: all weak pointers to one object share a cell.
    weak: ByAddress<Hidden, Hidden>,
    cleanups: ByAddress<usize, Cleanup>,
    next_cleanup: usize,
    /// Weak maps' entries, by map and key. The value is an object.
    entries: ByAddress<(Hidden, Hidden), Hidden>,
    /// Whether anything is due.
    is_due: bool,
    /// Whether in the last cycle no destructor was due: all that wait refer to each other in cycles, or are referred to from there.
    is_stuck: bool,
}

static TABLES: Lock<Tables> = Lock::new(
    Rank::Objects,
    Tables {
        doomed: Vec::new(),
        weak: HashMap::with_hasher(BuildHasherDefault::new()),
        cleanups: HashMap::with_hasher(BuildHasherDefault::new()),
        next_cleanup: 0,
        entries: HashMap::with_hasher(BuildHasherDefault::new()),
        is_due: false,
        is_stuck: false,
    },
);

/// The tables, locked.
pub(super) type Held = Locked<'static, Tables>;

/// The tables. Whoever has them keeps cycles from ending.
pub(super) fn tables() -> Held {
    TABLES.lock()
}

/// What the collector can do for the tables.
pub(super) trait Marking {
    /// Marks the object that is there, and all it refers to.
    fn mark(&mut self, object: usize);
    /// Marks what that object refers to, and all that refers to, but not the object itself.
    fn mark_referents(&mut self, object: usize);
}

impl Tables {
    /// The object will have its destructor run.
    pub(super) fn add_destructor(&mut self, object: usize, destructor: Destructor) {
        self.doomed.push(Doomed { object: Hidden::new(object), destructor, fate: Fate::Alive });
    }

    /// The cell of the object's weak pointers.
    pub(super) fn cell_of(&self, object: usize) -> Option<usize> {
        self.weak.get(&Hidden::new(object)).map(|cell| cell.show())
    }

    /// `cell`, whose first word holds the hidden address, is the object's from now on.
    pub(super) fn set_cell(&mut self, object: usize, cell: usize) {
        self.weak.insert(Hidden::new(object), Hidden::new(cell));
    }

    /// `call` is called when the object is gone. Returns its number.
    pub(super) fn add_cleanup(&mut self, object: usize, call: Call) -> usize {
        self.next_cleanup += 1;
        let cleanup = Cleanup { object: Hidden::new(object), is_due: false, call };
        self.cleanups.insert(self.next_cleanup, cleanup);
        self.next_cleanup
    }

    /// Forgets a clean-up.
    pub(super) fn take_cleanup(&mut self, number: usize) -> Option<Call> {
        self.cleanups.remove(&number).map(|cleanup| cleanup.call)
    }

    /// The value of a key in a weak map.
    pub(super) fn entry(&self, map: usize, key: usize) -> Option<usize> {
        self.entries.get(&(Hidden::new(map), Hidden::new(key))).map(|value| value.show())
    }

    /// Sets the value of a key in a weak map. Returns what it was.
    pub(super) fn set_entry(&mut self, map: usize, key: usize, value: usize) -> Option<usize> {
        let old = self.entries.insert((Hidden::new(map), Hidden::new(key)), Hidden::new(value));
        old.map(Hidden::show)
    }

    /// The value of a key in a weak map, which is `value` if it had none.
    pub(super) fn entry_or_set(&mut self, map: usize, key: usize, value: usize) -> usize {
        self.entries.entry((Hidden::new(map), Hidden::new(key))).or_insert(Hidden::new(value)).show()
    }

    /// Removes a key from a weak map. Returns its value.
    pub(super) fn remove_entry(&mut self, map: usize, key: usize) -> Option<usize> {
        self.entries.remove(&(Hidden::new(map), Hidden::new(key))).map(Hidden::show)
    }

    /// Entries of a weak map.
    pub(super) fn entries_of(&self, map: usize) -> usize {
        let map = Hidden::new(map);
        self.entries.keys().filter(|(of, _)| *of == map).count()
    }

    /// All entries of weak maps: map, key and value.
    pub(super) fn entries(&self) -> impl Iterator<Item = [usize; 3]> {
        self.entries.iter().map(|((map, key), value)| [!map.0, !key.0, !value.0])
    }

    /// The objects that have destructors.
    pub(super) fn objects_with_destructors(&self) -> impl Iterator<Item = usize> {
        self.doomed.iter().map(|doomed| !doomed.object.0)
    }

    /// The types of the objects that waited for each other in the last cycle and will do so for ever; none if others went before them, so that nobody can say.
    pub(super) fn stuck(&self) -> Option<Vec<&'static str>> {
        let waiting = self.doomed.iter().filter(|doomed| doomed.fate == Fate::Waits);
        let names: Vec<_> = waiting.map(|doomed| doomed.destructor.name).collect();
        self.is_stuck.then_some(names)
    }

    /// See the file's documentation. With the world stopped, on the collector's thread, which holds the heap's locks: nothing here may allocate or free.
    pub(super) fn finish(&mut self, marking: &mut impl Marking) {
        for doomed in &self.doomed {
            let object = !doomed.object.0;
            if !doomed.object.is_marked() && is_pinned(object) {
                marking.mark(object);
            }
        }
        self.mark_values(marking);
        let mut waiting = 0;
        for doomed in &mut self.doomed {
            doomed.fate = Fate::Alive;
            if !doomed.object.is_marked() {
                doomed.fate = Fate::Waits;
                waiting += 1;
            }
        }
        let all = waiting;
        for doomed in self.doomed.iter().filter(|doomed| doomed.fate == Fate::Waits) {
            marking.mark_referents(!doomed.object.0);
        }
        self.mark_values(marking);
        for doomed in self.doomed.iter_mut().filter(|doomed| doomed.fate == Fate::Waits) {
            if !doomed.object.is_marked() {
                doomed.fate = Fate::Due;
                waiting -= 1;
            }
        }
        self.is_stuck = waiting == all;
        self.is_due |= waiting != all;
        self.clear_weak();
        for cleanup in self.cleanups.values_mut().filter(|cleanup| !cleanup.object.is_marked()) {
            cleanup.is_due = true;
            self.is_due = true;
        }
        self.entries.retain(|(map, key), _| map.is_marked() && key.is_marked());
        for doomed in self.doomed.iter().filter(|doomed| doomed.fate == Fate::Due) {
            marking.mark(!doomed.object.0);
        }
    }

    /// Marks the values of keys that are marked.
    fn mark_values(&mut self, marking: &mut impl Marking) {
        let mut is_changed = true;
        while is_changed {
            is_changed = false;
            for ((map, key), value) in &self.entries {
                if !value.is_marked() && key.is_marked() && map.is_marked() {
                    marking.mark(!value.0);
                    is_changed = true;
                }
            }
        }
    }

    fn clear_weak(&mut self) {
        self.weak.retain(|object, cell| {
            // A cell that nobody has any more is freed now; one whose object is gone is nobody's any more.
            let keeps = cell.is_marked() && object.is_marked();
            if !object.is_marked() {
                // SAFETY: a cell of `weak`, which is an object of the heap until the sweep that follows, or memory that is never freed; its only word is an atomic.
                let word = unsafe { &*(!cell.0 as *const AtomicUsize) };
                word.store(0, Ordering::Relaxed);
            }
            keeps
        });
    }
}

/// Whether a guard keeps an object with a destructor alive.
fn is_pinned(object: usize) -> bool {
    // SAFETY: an object that was made with this header and whose destructor has not run, so it was not freed.
    let header = unsafe { &*(object as *const Header) };
    header.pins.load(Ordering::Relaxed) > 0
}

/// Fetches what has become due. On the collector's thread, between cycles.
pub(super) fn take_due() -> Vec<Due> {
    let mut tables = TABLES.lock();
    if !std::mem::take(&mut tables.is_due) {
        return Vec::new();
    }
    let mut due = Vec::new();
    tables.doomed.retain(|doomed| {
        let is_due = doomed.fate == Fate::Due;
        if is_due {
            due.push(Due::Destructor(doomed.object.show(), doomed.destructor));
        }
        !is_due
    });
    let calls = tables.cleanups.extract_if(|_, cleanup| cleanup.is_due);
    due.extend(calls.map(|(_, cleanup)| Due::Call(cleanup.call)));
    due
}
