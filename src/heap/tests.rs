//! What the collector relies on, seen from inside: look-ups, exact liveness of manual blocks, collected objects and their sweep, blocks that go home from other threads. What programs
//! see is tested in `tests/heap.rs` and `tests/heap_model.rs`.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::arena::{self, KINDS, Kind};
use super::cache::Cache;
use super::central::{self, Swept};
use super::class::{self, BINS, CLASSES, GRANULE};
use super::{Allocator, frozen, large, lookup, pages, registry, span};
use proptest::prelude::*;

/// A block of the crate's heap, freed with its value, on whatever thread that happens.
struct Block {
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block is plain memory that one value owns.
unsafe impl Send for Block {}

impl Block {
    fn new(size: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: the tests ask for no empty blocks.
        let at = unsafe { Allocator.alloc(layout) };
        Self { at: NonNull::new(at).unwrap(), layout }
    }

    fn address(&self) -> usize {
        self.at.as_ptr() as usize
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: made by this allocator with this layout, and not used any more.
        unsafe { Allocator.dealloc(self.at.as_ptr(), self.layout) };
    }
}

#[test]
fn every_word_into_a_block_finds_its_start() {
    for align in [1, 4, 8, 16, 4096, 1 << 20] {
        let sizes = (0..CLASSES).map(|class| class::SIZES[class] as usize);
        for size in sizes.chain([1, 100, 1000, 65_537, 200_000, 3 << 20]) {
            let block = Block::new(size, align);
            for offset in [0, size / 3, size / 2, size - 1] {
                let object = lookup::object(block.address() + offset).unwrap();
                assert_eq!(object.start, block.address(), "{size} {align} {offset}");
                assert!(object.bytes >= size, "{size} {align}");
                assert_eq!(object.span.kind(), if align < 8 { Kind::ManualNoscan } else { Kind::ManualScan });
                assert!(!object.is_free());
            }
        }
    }
}

#[test]
fn words_that_point_elsewhere_find_nothing() {
    static HERE: u64 = 0;
    let local = 0_u64;
    let block = Block::new(8, 8);
    let end = arena::address(arena::bounds(Kind::CollectedNoscan).end);
    for word in [0, 1, usize::MAX, &raw const HERE as usize, &raw const local as usize, end, end - 1] {
        assert!(lookup::object(word).is_none(), "{word:#x}");
    }
    assert!(lookup::object(block.address()).is_some());
    // 48 bytes leave 16 at the end of a granule.
    let odd = Block::new(48, 8);
    assert!(lookup::object(odd.address() / GRANULE * GRANULE + GRANULE - 16).is_none());
    // What a large block does not use of its last granule is none of it.
    let large = Block::new(70_000, 8);
    assert!(lookup::object(large.address() + 69_999).is_some());
    assert!(lookup::object(large.address() + 70_000).is_none());
}

#[test]
fn kinds_have_parts_of_their_own() {
    for kind in KINDS {
        let bounds = arena::bounds(kind);
        assert!(!bounds.is_empty());
        assert_eq!(arena::kind_of(bounds.start), kind);
        assert_eq!(arena::kind_of(bounds.end - 1), kind);
    }
}

/// Whether the program has that block, by the rule of `span`.
fn is_live(address: usize) -> bool {
    let object = lookup::object(address).unwrap();
    let in_magazine = || {
        let bin = object.span.class() as usize * 2 + usize::from(object.span.kind() == Kind::ManualNoscan);
        registry::all().any(|owner| owner.blocks(bin).any(|block| block == address))
    };
    let freed_by_others =
        object.span.side_word(object.slot.word).load(Ordering::SeqCst) & object.slot.mask() != 0;
    !object.is_free() && !freed_by_others && !in_magazine()
}

#[test]
fn live_manual_blocks_can_be_told_from_free_ones() {
    // A class that nothing else here uses, so that no free block is given out again meanwhile.
    const SIZE: usize = 3000;
    let mut blocks: Vec<_> = (0..500).map(|_| Block::new(SIZE, 8)).collect();
    assert!(blocks.iter().all(|block| is_live(block.address())));
    let mut freed: Vec<usize> = Vec::new();
    // Every third here, every other third by a thread that ends.
    let mut others = Vec::new();
    for index in (0..blocks.len()).rev() {
        let block = match index % 3 {
            0 => continue,
            _ => blocks.swap_remove(index),
        };
        freed.push(block.address());
        if index % 3 == 1 {
            drop(block);
        } else {
            others.push(block);
        }
    }
    std::thread::spawn(move || drop(others)).join().unwrap();
    assert_eq!(freed.len() + blocks.len(), 500);
    assert!(blocks.iter().all(|block| is_live(block.address())));
    assert!(!freed.iter().any(|address| is_live(*address)));
}

#[test]
fn what_others_free_is_used_again() {
    const SIZE: usize = 5000;
    let make = |count: usize| -> Vec<Block> { (0..count).map(|_| Block::new(SIZE, 8)).collect() };
    let mut blocks = make(1000);
    // Every other one, so that no span becomes free as a whole and goes to somebody else.
    let mut freed = Vec::new();
    for index in (0..500).rev() {
        freed.push(blocks.swap_remove(2 * index));
    }
    let addresses: HashSet<usize> = freed.iter().map(Block::address).collect();
    std::thread::spawn(move || drop(freed)).join().unwrap();
    let again = make(450);
    let reused = again.iter().filter(|block| addresses.contains(&block.address())).count();
    // All but what this thread's magazine and the last span had left.
    assert!(reused > 400, "{reused} of 450");
}

/// There is one collected heap, and a sweep is of all of it.
static COLLECTED: Mutex<()> = Mutex::new(());

fn collected(cache: &Cache, bin: usize) -> usize {
    loop {
        match cache.alloc(bin) {
            Some(slot) => return slot.as_ptr() as usize,
            None => assert!(cache.refill(bin).unwrap().0 > 0),
        }
    }
}

/// What the collector does after marking. No other thread of this process has collected objects.
fn sweep() -> Swept {
    frozen::freeze().end_marking();
    while central::sweep_some(3) {}
    central::finish_sweep()
}

#[test]
fn collected_objects_live_as_long_as_they_are_marked() {
    let _alone = COLLECTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let cache = Cache::new();
    let bins = [0, 1, 9, 16, 25, 64, 66, 89];
    let mut objects = Vec::new();
    for bin in bins {
        for _ in 0..3 * class::slots(bin / 2) / 2 {
            objects.push((bin, collected(&cache, bin)));
        }
    }
    let distinct: HashSet<_> = objects.iter().map(|(_, address)| *address).collect();
    assert_eq!(distinct.len(), objects.len());
    for (bin, address) in &objects {
        let object = lookup::object(address + 7).unwrap();
        assert_eq!((object.start, object.span.kind()), (*address, central::kind(*bin)));
    }
    let big = large::alloc(Kind::CollectedScan, 1 << 20, 8, true, false).unwrap() as usize;
    let lost = large::alloc(Kind::CollectedScan, 1 << 20, 8, true, false).unwrap() as usize;

    cache.empty();
    let (kept, gone): (Vec<_>, Vec<_>) = objects.iter().partition(|(_, address)| address / 8 % 3 == 0);
    for (_, address) in &kept {
        let object = lookup::object(*address).unwrap();
        assert!(object.mark() && !object.mark() && object.is_marked());
    }
    assert!(lookup::object(big + 500_000).unwrap().mark());
    let bytes: usize = kept.iter().map(|(bin, _)| class::SIZES[bin / 2] as usize).sum();
    let swept = sweep();
    assert_eq!(
        (swept.live, swept.live_bytes, swept.freed),
        (kept.len() + 1, bytes + (1 << 20), gone.len() + 1)
    );
    assert!(lookup::object(lost).is_none());
    assert!(
        kept.iter()
            .all(|(_, address)| lookup::object(*address).is_some_and(|o| !o.is_free() && !o.is_marked()))
    );
    assert!(!gone.iter().any(|(_, address)| lookup::object(*address).is_some_and(|o| !o.is_free())));

    // What is free is given out again, and nothing that lives.
    let kept: HashSet<_> = kept.into_iter().map(|(_, address)| address).collect();
    for (bin, _) in &objects {
        assert!(!kept.contains(&collected(&cache, *bin)));
    }
    cache.empty();
    let all = sweep();
    assert_eq!((all.live, all.live_bytes), (0, 0));
    assert_eq!(sweep(), Swept::default());
}

#[test]
fn objects_are_born_marked_while_marking_is_on() {
    let _alone = COLLECTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    sweep();
    let cache = Cache::new();
    let before = collected(&cache, 20);
    // As the collector does, but for the caches of threads.
    central::set_marking(true);
    cache.blacken(1);
    let during: Vec<_> = (0..200).map(|_| collected(&cache, 20)).collect();
    let is_marked = |address: usize| lookup::object(address).unwrap().is_marked();
    assert!(!is_marked(before));
    assert!(during.iter().all(|address| is_marked(*address)));
    cache.empty();
    let swept = sweep();
    assert_eq!((swept.live, swept.freed), (during.len(), 1));
    assert_eq!(sweep().live, 0);
}

#[test]
fn hot_is_all_that_may_be_marked_and_no_garbage() {
    let _alone = COLLECTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    sweep();
    let (bin, kind) = (20, Kind::CollectedScan);
    let large = || central::take_large(kind, 3 * frozen::GAP * GRANULE, 8, false).unwrap().start();
    let cache = Cache::new();
    // Its span is at hand, and its word of slots is used up: nothing is marked there when marking begins.
    let at_hand = (0..64).map(|_| collected(&cache, bin)).next().unwrap();
    let garbage = large();
    frozen::freeze().begin_marking();
    cache.blacken(central::begin_log());
    // The caches that these went to have marked nothing yet.
    let taken = central::take(bin + 2).unwrap().start();
    let born = large();
    let hot = frozen::hot();
    let later = [central::take(bin + 4).unwrap().start(), large()];
    let is_hot = |address: usize| {
        let mut is_in = false;
        frozen::freeze().for_each_hot(&hot, |range| is_in |= range.contains(&address));
        is_in
    };
    assert!([at_hand, taken, born, later[0], later[1]].into_iter().all(is_hot));
    let inside = garbage + 3 * frozen::GAP / 2 * GRANULE;
    assert!(!is_hot(inside));
    // More than the log has room for: everything.
    (0..1000).for_each(|_| _ = central::take_large(kind, GRANULE, 8, false).unwrap());
    assert!(is_hot(inside));
    // A mark is enough, and it is for this marking only.
    assert!(lookup::object(garbage).unwrap().mark());
    let hot = frozen::hot();
    assert!(hot.contains(inside));
    cache.empty();
    sweep();
    sweep();
    frozen::freeze().begin_marking();
    assert!(!frozen::hot().contains(at_hand));
    sweep();
}

#[test]
fn what_is_given_back_is_handed_out_next() {
    let _alone = COLLECTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    sweep();
    let cache = Cache::new();
    for bin in [0, 20, 64, 89] {
        let objects: Vec<_> = (0..5).map(|_| collected(&cache, bin)).collect();
        assert!(cache.take_back(bin, objects[3]) && cache.take_back(bin, objects[1]));
        // The lowest first.
        assert_eq!([collected(&cache, bin), collected(&cache, bin)], [objects[1], objects[3]]);
        assert!(!cache.take_back(bin, objects[0] + (1 << 30)), "of no word that is at hand");
        // A word has bits for 64 slots, and a span may have fewer: what lies behind it is another's.
        let end = lookup::object(objects[0]).unwrap().span.start() + class::granules(bin / 2) * GRANULE;
        assert!(!cache.take_back(bin, end), "of the next span");
        // While marking runs all is left to the sweep.
        central::set_marking(true);
        assert!(!cache.take_back(bin, objects[2]));
        central::set_marking(false);
        assert!(cache.take_back(bin, objects[2]));
        // What is given back is no object for the sweep, and what is not is one.
        cache.empty();
        assert!(lookup::object(objects[2]).is_some_and(|object| object.is_free()));
        assert_eq!(sweep().freed, 4);
        assert!(!cache.take_back(bin, objects[0]), "the cache knows no word");
    }
    let kind = Kind::CollectedNoscan;
    let made = |granules: usize| central::take_large(kind, granules * GRANULE, 8, false).unwrap();
    let large = made(2);
    let at = NonNull::new(large.start() as *mut u8).unwrap();
    assert!(
        central::grow_large(at, 3 * GRANULE) && lookup::object(at.as_ptr() as usize + 2 * GRANULE).is_some()
    );
    central::set_marking(true);
    assert!(!central::grow_large(at, 4 * GRANULE));
    central::take_back_large(at);
    assert!(lookup::object(at.as_ptr() as usize).is_some());
    central::set_marking(false);
    central::take_back_large(at);
    assert!(lookup::object(at.as_ptr() as usize).is_none());
    assert_eq!(made(2).start(), at.as_ptr() as usize);
    assert_eq!(sweep().freed, 1);
}

/// The sweep stands where a run is free, and an object is made across that place: what comes after it is swept all the same.
#[test]
fn the_sweep_passes_nothing_over() {
    let _alone = COLLECTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    sweep();
    let kind = Kind::CollectedNoscan;
    let make = |granules: usize| central::take_large(kind, granules * GRANULE, 8, false).unwrap().start();
    let objects: Vec<usize> = (0..8).map(|_| make(2)).collect();
    assert!(objects.windows(2).all(|two| two[1] == two[0] + 2 * GRANULE), "one after the other");
    let mark_all_but = |dead: &[usize]| {
        let alive = (0..objects.len()).filter(|index| !dead.contains(index));
        alive.for_each(|index| assert!(lookup::object(objects[index]).unwrap().mark()));
    };
    mark_all_but(&[3]);
    sweep();
    // Not the third, which is gone.
    mark_all_but(&[1, 2, 3, 4]);
    frozen::freeze().end_marking();
    while lookup::object(objects[2]).is_some() {
        assert!(central::sweep_some(1));
    }
    assert_eq!(make(6), objects[1], "first fit: where the three were");
    central::finish_sweep();
    assert!(lookup::object(objects[4]).is_none(), "it was dead");
    assert!((5..8).all(|index| lookup::object(objects[index]).is_some_and(|object| !object.is_marked())));
    sweep();
}

#[test]
fn a_zeroed_run_that_was_used_is_zero() {
    let _alone = COLLECTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // In a part of the arena that no other test uses.
    let kind = Kind::CollectedNoscan;
    let block = large::alloc(kind, 4 * GRANULE, 1, true, false).unwrap();
    // SAFETY: the block has that many bytes.
    unsafe { block.write_bytes(1, 2 * GRANULE) };
    sweep();
    let again = large::alloc(kind, 4 * GRANULE, 1, true, false).unwrap();
    assert_eq!(again, block, "first fit");
    // SAFETY: the block has that many bytes, all zeroed.
    let bytes = unsafe { std::slice::from_raw_parts(again, 4 * GRANULE) };
    assert!(bytes.iter().all(|byte| *byte == 0));
    sweep();
}

/// One step of [`runs_are_first_fit`].
#[derive(Clone, Debug)]
enum Step {
    Take { granules: usize, shift: u32 },
    Free { which: usize },
    Shorten { which: usize, by: usize },
    Trim,
}

fn steps() -> impl Strategy<Value = Step> {
    let granules = prop_oneof![4 => 1_usize..4, 2 => 1_usize..20, 1 => 1_usize..70];
    prop_oneof![
        6 => (granules, prop_oneof![4 => Just(0_u32), 1 => 0_u32..7]).prop_map(|(granules, shift)| Step::Take { granules, shift }),
        5 => any::<usize>().prop_map(|which| Step::Free { which }),
        1 => (any::<usize>(), 1_usize..20).prop_map(|(which, by)| Step::Shorten { which, by }),
        1 => Just(Step::Trim),
    ]
}

proptest! {
    #[test]
    fn runs_are_first_fit(steps in proptest::collection::vec(steps(), 1..200)) {
        // In a part of the arena that no other test uses, from an empty state: whatever was there is swept.
        let _alone = COLLECTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let kind = Kind::CollectedNoscan;
        sweep();
        let bottom = arena::bounds(kind).start;
        // The naive model: who has each granule.
        let mut model: Vec<bool> = Vec::new();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        let mut elsewhere = 0;
        for step in steps {
            match step {
                Step::Take { granules, shift } => {
                    let align = GRANULE << shift;
                    let fits = |start: usize| {
                        arena::address(bottom + start).is_multiple_of(align)
                            && (start..start + granules).all(|granule| !model.get(granule).copied().unwrap_or(false))
                    };
                    let expected = (0..).find(|start| fits(*start)).unwrap();
                    let block = large::alloc(kind, granules * GRANULE, align, true, false).unwrap() as usize;
                    let start = arena::granule_of(block).unwrap() - bottom;
                    assert!(fits(start), "{start} overlaps");
                    if start != expected {
                        // Another test's tick may just be giving the granules there back.
                        assert!(start > expected);
                        elsewhere += 1;
                    }
                    // SAFETY: the block has at least a byte, which is zero.
                    assert_eq!(unsafe { (block as *const u8).read() }, 0);
                    // SAFETY: as above.
                    unsafe { (block as *mut u8).write(1) };
                    model.resize(model.len().max(start + granules), false);
                    model[start..start + granules].fill(true);
                    runs.push((start, granules));
                }
                Step::Free { which } if !runs.is_empty() => {
                    let (start, granules) = runs.swap_remove(which % runs.len());
                    large::dealloc(arena::address(bottom + start) as *mut u8);
                    model[start..start + granules].fill(false);
                }
                Step::Shorten { which, by } if !runs.is_empty() => {
                    let which = which % runs.len();
                    let (start, granules) = runs[which];
                    let left = granules.saturating_sub(by).max(1);
                    assert!(large::resize(arena::address(bottom + start) as *mut u8, left * GRANULE));
                    model[start + left..start + granules].fill(false);
                    runs[which].1 = left;
                }
                Step::Trim => {
                    pages::trim();
                }
                _ => {}
            }
        }
        for (start, _) in runs {
            large::dealloc(arena::address(bottom + start) as *mut u8);
        }
        assert!(elsewhere < 4, "{elsewhere} runs were not where they fit first");
    }
}

#[test]
fn records_of_spans_say_what_they_hold() {
    for bin in 0..BINS {
        let class = bin / 2;
        let block = Block::new(class::SIZES[class] as usize, if bin % 2 == 0 { 8 } else { 1 });
        let object = lookup::object(block.address()).unwrap();
        assert_eq!(object.span.class(), class as u32);
        assert_eq!(object.span.granules(), class::granules(class));
        assert_eq!(object.span.kind(), Kind::manual(bin));
        assert!(object.span.free_slots() < class::slots(class));
    }
    let large = Block::new(100_000, 8);
    let object = lookup::object(large.address()).unwrap();
    assert_eq!((object.span.class(), object.bytes, object.span.granules()), (span::LARGE, 100_000, 2));
}
