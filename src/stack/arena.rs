//! The arena: one reservation, cut into regions, regions into slots; the lists of free slots.
//!
//! Address space is reserved once (64 TiB, or the largest power of two that the limits allow). A region is given to a
//! stride class when that class needs slots, for good. Free slots are either *warm* (open and guarded) or
//! *cold* (given back to the kernel; [`trim`] makes them).
//!
//! A goroutine takes its slot when it starts, not when it is spawned: goroutines that have not started need none, so far more can be
//! spawned than there are slots, as long as they do not all wait at once. A spawn while *no* slot is free fails at once
//! ([`check_free`]); a start that finds none fails that goroutine, with the same error from its `join`.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::commit;
use super::geometry::{self, CLASSES, HEADER_BYTES, HeaderRef, MAX_SHIFT, MIN_SHIFT, REGIONS, shift_of};
use crate::base::lock::{Lock, Locked, Rank};
use crate::sys::mem::{self, GuardMode, PAGE};
use crate::sys::{OsError, limits::Limits};

/// What the arena asks for first: 1,048,576 stacks of the default 64 MiB. ThreadSanitizer leaves the program 6 TiB, and knows no more than 8,000 stacks.
const WANTED: usize = if cfg!(tsan) { 1 << 40 } else { 64 << 40 };
/// The least it starts with: one region of the smallest stride for each class would not fit below this.
const LEAST: usize = REGIONS * geometry::MIN_STACK;

/// A spawn that found no stack.
#[derive(Clone, Debug)]
pub enum StackError {
    /// The kernel refused memory or a guard.
    Os(OsError),
    /// All slots of this size are taken.
    Exhausted {
        /// How many stacks of this size there can be at once.
        limit: usize,
        /// The size in bytes.
        stack_max: usize,
        /// What sets the limit.
        cause: &'static str,
    },
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StackError::Os(error) => write!(f, "no stack for the goroutine: {error}"),
            StackError::Exhausted { limit, stack_max, cause } => write!(
                f,
                "no stack for the goroutine: all {limit} stacks of stack_max {stack_max} bytes are in use, as many as \
                 {cause} allows; lower `stack_max`, raise that limit, or let some goroutines end first"
            ),
        }
    }
}

impl std::error::Error for StackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StackError::Os(error) => Some(error),
            StackError::Exhausted { .. } => None,
        }
    }
}

impl From<StackError> for std::io::Error {
    fn from(error: StackError) -> Self {
        let kind = match &error {
            StackError::Os(os) => std::io::Error::from_raw_os_error(os.errno).kind(),
            StackError::Exhausted { .. } => std::io::ErrorKind::OutOfMemory,
        };
        std::io::Error::new(kind, error)
    }
}

/// How many stacks there are, in all runtimes together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackStats {
    /// Slots that hold a goroutine or wait in a worker's cache.
    pub(crate) out: usize,
    /// Free slots that are open.
    pub(crate) warm: usize,
    /// Free slots that were given back to the kernel.
    pub(crate) cold: usize,
    /// Address space of all slots ever used, in bytes.
    pub(crate) reserved: usize,
}

#[derive(Default)]
struct Class {
    /// Open free slots, linked through their headers.
    warm: usize,
    warm_len: usize,
    /// The least `warm_len` since the last trim: that many were not needed.
    warm_low: usize,
    /// Tops of slots that were given back.
    cold: Vec<usize>,
    /// Slots `[next, end)` of the current region were never used, nor were those of whole regions in `untouched` (their bases).
    next: usize,
    end: usize,
    untouched: Vec<usize>,
    /// Slots of this class handed out: running, parked or cached.
    out: usize,
}

impl Class {
    fn available(&self, stride: usize) -> usize {
        let region = 1 << geometry::REGION_SHIFT.load(Ordering::Relaxed);
        self.warm_len + self.cold.len() + (self.end - self.next + self.untouched.len() * region) / stride
    }

    /// The top of a slot that was never used. `available` says that there is one.
    fn first_use(&mut self, stride: usize) -> usize {
        if self.next == self.end {
            let region = 1 << geometry::REGION_SHIFT.load(Ordering::Relaxed);
            self.next = self.untouched.pop().expect("available() counted it");
            self.end = self.next + region;
        }
        self.next += stride;
        self.next
    }
}

struct Arena {
    classes: [Class; CLASSES],
    regions_used: usize,
    /// How many slots may be open at once: the mapping limit in `Mprotect` mode, no limit otherwise.
    budget: usize,
    mode: GuardMode,
}

static ARENA: Lock<Option<Arena>> = Lock::new(Rank::Stacks, None);
/// Slots that [`trim`] gave back so far.
static TRIMMED: AtomicUsize = AtomicUsize::new(0);

/// Reserves the arena. Idempotent; the first success counts.
pub(crate) fn boot() -> Result<GuardMode, StackError> {
    let mut arena = ARENA.lock();
    if let Some(arena) = &*arena {
        return Ok(arena.mode);
    }
    let mode = mem::guard_mode();
    let mut size = WANTED;
    // With a limit on address space, take no more than a quarter of it: the program needs the rest.
    if let Some(limit) = Limits::read().address_space {
        while size > limit / 4 && size / 2 >= LEAST {
            size /= 2;
        }
    }
    let base = loop {
        // Slots are aligned to their stride, and mmap aligns to pages.
        let align = region_bytes(size).min(geometry::MAX_STACK);
        match mem::reserve(size + align) {
            Ok(at) => break at.next_multiple_of(align),
            Err(error) if size / 2 < LEAST => return Err(StackError::Os(error)),
            Err(_) => size /= 2,
        }
    };
    mem::no_huge_pages(base, size);
    geometry::REGION_SHIFT.store(region_bytes(size).trailing_zeros(), Ordering::Relaxed);
    geometry::BASE.store(base, Ordering::Relaxed);
    // Release: a thread that sees the size sees the rest (it only matters to threads that run on no slot).
    geometry::SIZE.store(size, Ordering::Release);
    let budget = match mode {
        GuardMode::Madvise => usize::MAX,
        // Two mappings a stack; a quarter of the limit is left to the program.
        GuardMode::Mprotect => Limits::read().max_map_count.unwrap_or(65_530) * 3 / 8,
    };
    *arena =
        Some(Arena { classes: std::array::from_fn(|_| Class::default()), regions_used: 0, budget, mode });
    Ok(mode)
}

/// How large the regions of an arena are: at most 256 of them, and in a small arena few that hold a default stack, rather than many that do not.
fn region_bytes(arena: usize) -> usize {
    (arena / REGIONS).max((arena / 4).min(64 << 20))
}

fn locked() -> Locked<'static, Option<Arena>> {
    ARENA.lock()
}

impl Arena {
    /// How many slots may still be opened.
    fn budget_left(&self) -> usize {
        let open: usize = self.classes.iter().map(|class| class.out + class.warm_len).sum();
        self.budget.saturating_sub(open)
    }

    /// Gives the class one more region.
    fn add_region(&mut self, class: usize) -> Result<(), StackError> {
        let region_shift = geometry::REGION_SHIFT.load(Ordering::Relaxed);
        let bytes = 1 << region_shift;
        let regions = geometry::SIZE.load(Ordering::Relaxed) >> region_shift;
        if self.regions_used == regions || shift_of(class) > region_shift {
            return Err(self.exhausted(class));
        }
        let base = geometry::BASE.load(Ordering::Relaxed) + self.regions_used * bytes;
        if self.mode == GuardMode::Madvise {
            // Usable throughout from now on; guards are markers in it.
            mem::protect_rw(base, bytes).map_err(StackError::Os)?;
        }
        let shape = geometry::Shape::of(shift_of(class));
        geometry::SHAPE_OF_REGION[self.regions_used].store(shape.word(), Ordering::Relaxed);
        self.regions_used += 1;
        self.classes[class].untouched.push(base);
        Ok(())
    }

    /// Sees to it that a slot of the class can be taken.
    fn make_free(&mut self, class: usize) -> Result<(), StackError> {
        let here = &self.classes[class];
        if here.warm_len > 0 {
            return Ok(());
        }
        if self.budget_left() == 0 {
            return Err(self.exhausted(class));
        }
        if here.available(1 << shift_of(class)) == 0 {
            self.add_region(class)?;
        }
        Ok(())
    }

    fn exhausted(&self, class: usize) -> StackError {
        let stride = 1 << shift_of(class);
        let here = &self.classes[class];
        let (limit, cause) = match self.mode {
            GuardMode::Mprotect if self.budget_left() == 0 => (
                self.budget,
                "vm.max_map_count (this kernel has no MADV_GUARD_INSTALL, so a stack takes two mappings)",
            ),
            _ => (
                here.out + here.available(stride),
                "the reserved address space (ulimit -v, vm.overcommit_memory)",
            ),
        };
        StackError::Exhausted { limit, stack_max: stride, cause }
    }
}

/// Fails if a goroutine with a stack of this class could not start now.
pub(crate) fn check_free(class: usize) -> Result<(), StackError> {
    locked().as_mut().expect("boot comes first").make_free(class)
}

/// How many spawns may go by between two [`check_free`]s: many where slots abound, one where they are scarce.
pub(crate) fn spawns_per_check(class: usize) -> u32 {
    let total = geometry::SIZE.load(Ordering::Relaxed) >> shift_of(class);
    let scarce = mem::guard_mode() == GuardMode::Mprotect || total < 16 * 1024;
    if scarce { 1 } else { 64 }
}

/// Takes a slot.
pub(crate) fn take(class: usize) -> Result<HeaderRef, StackError> {
    let shift = shift_of(class);
    let stride = 1_usize << shift;
    let (top, mode) = {
        let mut guard = locked();
        let arena = guard.as_mut().expect("boot comes first");
        arena.make_free(class)?;
        let here = &mut arena.classes[class];
        here.out += 1;
        if here.warm != 0 {
            let header = geometry::header_of_slot(here.warm, shift);
            here.warm = header.next.load(Ordering::Relaxed);
            here.warm_len -= 1;
            here.warm_low = here.warm_low.min(here.warm_len);
            return Ok(header);
        }
        let top = match here.cold.pop() {
            Some(top) => top,
            None => here.first_use(stride),
        };
        (top, arena.mode)
    };
    commit::open(top, shift, mode).map_err(|error| {
        let mut guard = locked();
        let here = &mut guard.as_mut().expect("boot comes first").classes[class];
        here.out -= 1;
        here.cold.push(top);
        StackError::Os(error)
    })
}

/// Gives a slot back; grown ones are cut back. Nobody runs on it.
pub(crate) fn give(header: HeaderRef, mode: GuardMode) {
    commit::cut_back(header, mode);
    let mut guard = locked();
    let here = &mut guard.as_mut().expect("boot comes first").classes[header.class()];
    header.next.store(here.warm, Ordering::Relaxed);
    here.warm = header.address();
    here.warm_len += 1;
    here.out -= 1;
}

/// Gives back to the kernel what a burst left behind: of each class half of the slots that nobody needed since the last
/// trim, or all of them when `all`. Returns how many.
pub(crate) fn trim(all: bool) -> usize {
    let mut released = 0;
    for class in 0..CLASSES {
        let shift = shift_of(class);
        let mode;
        let mut list;
        {
            let mut guard = locked();
            let Some(arena) = guard.as_mut() else { return 0 };
            mode = arena.mode;
            let here = &mut arena.classes[class];
            let count = if all { here.warm_len } else { here.warm_low / 2 };
            list = here.warm;
            let mut last = 0;
            for _ in 0..count {
                last = here.warm;
                here.warm = geometry::header_of_slot(last, shift).next.load(Ordering::Relaxed);
            }
            if last != 0 {
                geometry::header_of_slot(last, shift).next.store(0, Ordering::Relaxed);
            } else {
                list = 0;
            }
            here.warm_len -= count;
            here.warm_low = here.warm_len;
        }
        while list != 0 {
            let header = geometry::header_of_slot(list, shift);
            list = header.next.load(Ordering::Relaxed);
            let end = header.slot_end();
            let cold = commit::release(header, mode);
            let mut guard = locked();
            let here = &mut guard.as_mut().expect("checked above").classes[class];
            if cold {
                here.cold.push(end);
                released += 1;
            } else {
                header.next.store(here.warm, Ordering::Relaxed);
                here.warm = header.address();
                here.warm_len += 1;
            }
        }
    }
    TRIMMED.fetch_add(released, Ordering::Relaxed);
    released
}

/// How often a stack has grown.
pub(crate) fn grown() -> u64 {
    super::grow::GROWN.load(Ordering::Relaxed)
}

/// Counts of now.
pub(crate) fn stats() -> StackStats {
    let guard = locked();
    let Some(arena) = guard.as_ref() else { return StackStats::default() };
    let mut stats = StackStats::default();
    for (class, here) in arena.classes.iter().enumerate() {
        stats.out += here.out;
        stats.warm += here.warm_len;
        stats.cold += here.cold.len();
        stats.reserved += (here.out + here.warm_len + here.cold.len()) << shift_of(class);
    }
    stats
}

/// How many goroutines with stacks of `stack_max` bytes can exist at once, and the mode of their guards: for `doctor`.
pub(crate) fn capacity(stack_max: usize) -> Result<(usize, GuardMode), StackError> {
    let mode = boot()?;
    let guard = locked();
    let arena = guard.as_ref().expect("boot comes first");
    let slots = geometry::SIZE.load(Ordering::Relaxed) >> shift_of(geometry::class_for(stack_max));
    Ok((slots.min(arena.budget), mode))
}

const _: () = assert!(HEADER_BYTES < PAGE && MIN_SHIFT < MAX_SHIFT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_distinct_and_come_back() {
        boot().expect("an arena");
        // A class that no other test uses.
        let class = 3;
        check_free(class).expect("a free slot");
        let slots: Vec<_> = (0..10).map(|_| take(class).expect("a slot")).collect();
        for (i, slot) in slots.iter().enumerate() {
            assert_eq!(slot.slot_end() % (1 << shift_of(class)), 0);
            assert_eq!(slot.class(), class);
            assert!(slots[i + 1..].iter().all(|other| other.address() != slot.address()));
            // The first word below the header is open.
            // SAFETY: the slot is ours and open, and nobody runs on it.
            unsafe { ((slot.address() - 8) as *mut u64).write(7) };
        }
        for slot in slots {
            give(slot, mem::guard_mode());
        }
        let before = stats();
        assert!(before.warm >= 10);
        assert!(trim(true) >= 10);
        let slot = take(class).expect("a cold slot opens again");
        // SAFETY: the slot is ours and open.
        let word = unsafe { ((slot.address() - 8) as *const u64).read() };
        assert_eq!(word, 0, "what was given back reads as zero");
        give(slot, mem::guard_mode());
    }

    #[test]
    fn capacity_matches_the_reservation() {
        let (slots, mode) = capacity(64 << 20).expect("an arena");
        assert!(slots > 0);
        if mode == GuardMode::Madvise {
            assert!(slots.is_power_of_two());
        }
    }
}
