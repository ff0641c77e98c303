//! Memory for the runtime's own records: fixed-size blocks that are recycled for ever and never unmapped.
//!
//! Goroutines' cells come from here (`routine::cell`). What the users of a block get beyond a free list:
//!
//! - **Type-stable memory.** A block keeps its size class for ever, stays mapped, and its first word
//!   ([`Block::survivor`]) is never touched by the pool. So a stale pointer to a block may still read that word: the
//!   wake protocol (docs/PROTOCOLS.md) builds on it.
//! - **Enumeration.** [`for_each_block`] visits every block ever carved, which is how all goroutines are listed without
//!   a registry that every spawn would have to lock.
//!
//! Each worker has a [`Cache`] of free blocks as a plain value: taking or giving one back is a pop or push of a singly
//! linked list (Bonwick's magazines, one level). Batches move between caches and the shared lists under a lock.

use std::cell::Cell;
use std::ptr;

use super::lock::{Lock, Rank};
use crate::sys::{OsError, mem};

/// Block sizes. The smallest is the goroutine cell with 64 bytes for its closure or result.
pub(crate) const SIZES: [usize; 4] = [192, 320, 576, 1088];
/// The alignment of every block.
pub(crate) const ALIGN: usize = 64;

const CHUNK: usize = 256 * 1024;
/// Blocks that move at once between a cache and the shared list: 12 KiB of cells. Not tuned; the lock is below 1 ns a block.
const BATCH: usize = 64;

/// What every block starts with, also while it is free.
#[repr(C)]
pub(crate) struct Block {
    /// The user's; survives being freed. Zero in a block that was never used.
    pub(crate) survivor: crate::base::atomic::AtomicU64,
    /// The free list's while the block is free, the user's otherwise.
    pub(crate) link: crate::base::atomic::AtomicPtr<Block>,
    /// The user's; zero while the block is free.
    _user: u64,
    /// In the first block of a free batch: the next batch. The user's otherwise.
    batch: crate::base::atomic::AtomicPtr<Block>,
}

pub(crate) struct Shared {
    /// Whole batches of `BATCH` blocks: a stack through `Block::batch`; a batch is linked through `Block::link`, ending in null.
    batches: [*mut Block; SIZES.len()],
    /// Single blocks.
    free: [*mut Block; SIZES.len()],
    chunks: Vec<Chunk>,
    /// Numbers of the chunks, by their addresses.
    sorted: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Chunk {
    /// The inverted address: a search for goroutines that nobody reaches (`gc::leaks`) must not take the list of chunks for a reference to those that lie first in theirs.
    hidden: usize,
    class: usize,
    /// Bytes carved so far.
    used: usize,
}

impl Chunk {
    fn base(&self) -> usize {
        !self.hidden
    }

    fn for_each_block(&self, visit: &mut impl FnMut(*mut Block, usize)) {
        let size = SIZES[self.class];
        for offset in (0..self.used).step_by(size) {
            visit((self.base() + offset) as *mut Block, self.class);
        }
    }
}

impl Shared {
    /// Adds a chunk and returns its number.
    fn add(&mut self, base: usize, class: usize) -> usize {
        let place = self.sorted.partition_point(|number| self.chunks[*number].base() < base);
        self.sorted.insert(place, self.chunks.len());
        self.chunks.push(Chunk { hidden: !base, class, used: 0 });
        self.chunks.len() - 1
    }
}

// SAFETY: the free blocks behind the pointers belong to whoever holds the lock around this.
unsafe impl Send for Shared {}

static SHARED: Lock<Shared> = Lock::new(
    Rank::Meta,
    Shared {
        batches: [ptr::null_mut(); SIZES.len()],
        free: [ptr::null_mut(); SIZES.len()],
        chunks: Vec::new(),
        sorted: Vec::new(),
    },
);

/// The smallest class whose blocks hold `bytes`.
pub(crate) const fn class_of(bytes: usize) -> Option<usize> {
    let mut class = 0;
    while class < SIZES.len() {
        if bytes <= SIZES[class] {
            return Some(class);
        }
        class += 1;
    }
    None
}

#[inline(always)]
fn link_of(block: *mut Block) -> *mut Block {
    // SAFETY: blocks stay mapped for ever and are carved zeroed, which is a valid Block.
    let block = unsafe { &*block };
    block.link.load(std::sync::atomic::Ordering::Relaxed)
}

#[inline(always)]
fn set_link(block: *mut Block, to: *mut Block) {
    // SAFETY: as in `link_of`; the block is free and ours.
    let block = unsafe { &*block };
    block.link.store(to, std::sync::atomic::Ordering::Relaxed);
}

/// Takes up to `count` blocks of `class` as a list; at least one, or the kernel's refusal.
fn take_shared(class: usize, count: usize) -> Result<(*mut Block, usize), OsError> {
    let mut shared = SHARED.lock();
    let mut head = ptr::null_mut();
    let mut taken = 0;
    if count == BATCH && !shared.batches[class].is_null() {
        let head = shared.batches[class];
        // SAFETY: blocks stay mapped for ever; this one is free, and its list is under the lock.
        shared.batches[class] =
            unsafe { &*head }.batch.swap(ptr::null_mut(), std::sync::atomic::Ordering::Relaxed);
        return Ok((head, BATCH));
    }
    while taken < count && !shared.free[class].is_null() {
        let block = shared.free[class];
        shared.free[class] = link_of(block);
        set_link(block, head);
        head = block;
        taken += 1;
    }
    if taken > 0 {
        return Ok((head, taken));
    }
    if !shared.batches[class].is_null() {
        // A single block is wanted and there are only batches: break one up.
        let head = shared.batches[class];
        // SAFETY: as above.
        shared.batches[class] =
            unsafe { &*head }.batch.swap(ptr::null_mut(), std::sync::atomic::Ordering::Relaxed);
        shared.free[class] = link_of(head);
        return Ok((head, 1));
    }
    let size = SIZES[class];
    let open = shared.chunks.iter().rposition(|chunk| chunk.class == class && chunk.used + size <= CHUNK);
    let open = match open {
        Some(index) => index,
        None => {
            let base = mem::map(CHUNK)?;
            shared.add(base, class)
        }
    };
    let chunk = &mut shared.chunks[open];
    while taken < count && chunk.used + size <= CHUNK {
        let block = (chunk.base() + chunk.used) as *mut Block;
        chunk.used += size;
        set_link(block, head);
        head = block;
        taken += 1;
    }
    // A list that is short of a batch (the end of a chunk) is as good; it only must not be given back as one.
    Ok((head, taken))
}

fn give_shared(class: usize, mut head: *mut Block, count: usize) {
    let mut shared = SHARED.lock();
    if count == BATCH {
        // SAFETY: as in `take_shared`.
        unsafe { &*head }.batch.store(shared.batches[class], std::sync::atomic::Ordering::Relaxed);
        shared.batches[class] = head;
        return;
    }
    for _ in 0..count {
        let next = link_of(head);
        set_link(head, shared.free[class]);
        shared.free[class] = head;
        head = next;
    }
}

/// Evidence that no chunk is added.
pub(crate) struct Frozen(super::lock::Locked<'static, Shared>);

/// Keeps the list of chunks as it is.
pub(crate) fn freeze() -> Frozen {
    Frozen(SHARED.lock())
}

impl Frozen {
    /// As [`for_each_numbered_block`].
    pub(crate) fn for_each_numbered_block(&self, mut visit: impl FnMut(usize, *mut Block, usize)) {
        number_blocks(&self.0.chunks, &mut visit);
    }

    /// The block that an address lies in, with its size class.
    pub(crate) fn block_at(&self, address: usize) -> Option<(*mut Block, usize)> {
        let below = self.0.sorted.partition_point(|number| self.0.chunks[*number].base() <= address);
        let chunk = self.0.chunks[self.0.sorted[below.checked_sub(1)?]];
        let offset = address - chunk.base();
        if offset >= chunk.used {
            return None;
        }
        let start = address - offset % SIZES[chunk.class];
        Some((start as *mut Block, chunk.class))
    }
}

fn number_blocks(chunks: &[Chunk], visit: &mut impl FnMut(usize, *mut Block, usize)) {
    for (number, chunk) in chunks.iter().enumerate() {
        let mut at = number * (CHUNK / SIZES[0] + 1);
        chunk.for_each_block(&mut |block, class| {
            visit(at, block, class);
            at += 1;
        });
    }
}

/// As [`for_each_block`], each with a number that it keeps for ever.
pub(crate) fn for_each_numbered_block(mut visit: impl FnMut(usize, *mut Block, usize)) {
    let chunks = SHARED.lock().chunks.clone();
    number_blocks(&chunks, &mut visit);
}

/// Visits every block ever carved, free or not, with its size class. The visitor runs without a lock.
pub(crate) fn for_each_block(mut visit: impl FnMut(*mut Block, usize)) {
    let chunks = SHARED.lock().chunks.clone();
    for chunk in chunks {
        chunk.for_each_block(&mut visit);
    }
}

/// Takes one block without a cache: for plain threads.
pub(crate) fn take_one(class: usize) -> Result<*mut Block, OsError> {
    take_shared(class, 1).map(|(block, _)| block)
}

/// Gives one block back without a cache. Nothing but stale readers of the survivor word may know it any more.
pub(crate) fn give_one(block: *mut Block, class: usize) {
    set_link(block, ptr::null_mut());
    give_shared(class, block, 1);
}

/// A worker's own free blocks: per class a list in use and at most one full batch beside it, so that batches come and go whole, without a walk over
/// their blocks. Owned by one thread.
pub(crate) struct Cache {
    lists: [List; SIZES.len()],
}

struct List {
    head: Cell<*mut Block>,
    /// The length of the list behind `head`, below `BATCH`, or up to it right after a batch was taken.
    count: Cell<usize>,
    /// A batch of exactly `BATCH`, or null.
    full: Cell<*mut Block>,
}

impl Cache {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self {
            lists: std::array::from_fn(|_| List {
                head: Cell::new(ptr::null_mut()),
                count: Cell::new(0),
                full: Cell::new(ptr::null_mut()),
            }),
        }
    }

    /// Takes a block.
    #[inline(always)]
    pub(crate) fn take(&self, class: usize) -> Result<*mut Block, OsError> {
        let list = &self.lists[class];
        let block = list.head.get();
        if block.is_null() {
            return self.take_slow(class);
        }
        list.head.set(link_of(block));
        list.count.set(list.count.get() - 1);
        Ok(block)
    }

    #[cold]
    #[inline(never)]
    fn take_slow(&self, class: usize) -> Result<*mut Block, OsError> {
        let list = &self.lists[class];
        let full = list.full.replace(ptr::null_mut());
        let (head, count) = if full.is_null() { take_shared(class, BATCH)? } else { (full, BATCH) };
        list.head.set(link_of(head));
        list.count.set(count - 1);
        Ok(head)
    }

    /// Gives a block back. Nothing but stale readers of the survivor word may know it any more.
    #[inline(always)]
    pub(crate) fn give(&self, block: *mut Block, class: usize) {
        let list = &self.lists[class];
        set_link(block, list.head.get());
        list.head.set(block);
        list.count.set(list.count.get() + 1);
        if list.count.get() >= BATCH {
            self.give_slow(class);
        }
    }

    #[cold]
    #[inline(never)]
    fn give_slow(&self, class: usize) {
        let list = &self.lists[class];
        debug_assert_eq!(list.count.get(), BATCH);
        let full = list.full.replace(list.head.replace(ptr::null_mut()));
        list.count.set(0);
        if !full.is_null() {
            give_shared(class, full, BATCH);
        }
    }

    /// Gives everything back: the worker ends.
    pub(crate) fn flush(&self) {
        for (class, list) in self.lists.iter().enumerate() {
            let full = list.full.replace(ptr::null_mut());
            if !full.is_null() {
                give_shared(class, full, BATCH);
            }
            if list.count.get() > 0 {
                give_shared(class, list.head.get(), list.count.get());
                list.head.set(ptr::null_mut());
                list.count.set(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn classes_hold_what_they_say() {
        assert_eq!(class_of(1), Some(0));
        assert_eq!(class_of(192), Some(0));
        assert_eq!(class_of(193), Some(1));
        assert_eq!(class_of(1088), Some(3));
        assert_eq!(class_of(1089), None);
    }

    #[test]
    fn blocks_are_distinct_aligned_and_come_back() {
        let cache = Cache::new();
        let blocks: Vec<_> = (0..1000).map(|i| cache.take(i % SIZES.len()).expect("memory")).collect();
        let distinct: HashSet<_> = blocks.iter().map(|b| *b as usize).collect();
        assert_eq!(distinct.len(), blocks.len());
        assert!(blocks.iter().all(|b| (*b as usize).is_multiple_of(ALIGN)));
        for (i, block) in blocks.iter().enumerate() {
            cache.give(*block, i % SIZES.len());
        }
        cache.flush();
        let mut seen = HashSet::new();
        for_each_block(|block, _| {
            seen.insert(block as usize);
        });
        assert!(distinct.is_subset(&seen));
    }

    #[test]
    fn the_survivor_word_survives() {
        let block = take_one(0).expect("memory");
        // SAFETY: blocks stay mapped, and this one is ours.
        let word = unsafe { &(*block).survivor };
        word.store(77, std::sync::atomic::Ordering::Relaxed);
        give_one(block, 0);
        assert_eq!(word.load(std::sync::atomic::Ordering::Relaxed), 77);
        word.store(0, std::sync::atomic::Ordering::Relaxed);
    }
}
