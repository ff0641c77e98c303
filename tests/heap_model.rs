//! The allocator against a model: every block has its own pattern, which must be there when it is freed, resized or handed over; blocks never overlap; sizes, alignments and zeroing are what was
//! asked for. Sequences of operations by proptest, which shrinks what fails; and storms of threads that free and resize each other's blocks, come and go, and are made to yield at any
//! point.
//!
//! `GREENROUTINE_HEAP_ROUNDS` says how many storms (default 6), `PROPTEST_CASES` how many sequences; `.ci/soak long` runs hours of both. A failure names its seed.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use greenroutine::heap::Allocator;
use proptest::prelude::*;

/// A block that knows what it must hold.
struct Block {
    at: *mut u8,
    layout: Layout,
    pattern: u8,
}

// SAFETY: a block is plain memory that one value owns.
unsafe impl Send for Block {}

impl Block {
    fn new(size: usize, align: usize, zeroed: bool, pattern: u8) -> Self {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        let at = if zeroed {
            // SAFETY: the size is not 0.
            unsafe { Allocator.alloc_zeroed(layout) }
        } else {
            // SAFETY: the size is not 0.
            unsafe { Allocator.alloc(layout) }
        };
        assert!(!at.is_null(), "{layout:?}");
        assert_eq!(at as usize % align, 0, "{layout:?}");
        let block = Self { at, layout, pattern };
        if zeroed {
            assert!(block.samples(size).all(|byte| byte == 0), "{layout:?}");
        }
        block.fill();
        block
    }

    fn read(&self, at: usize) -> u8 {
        // SAFETY: the callers stay below the block's size, and have written there (or asked for zeroes).
        unsafe { self.at.wrapping_add(at).read() }
    }

    fn write(&self, at: usize) {
        // SAFETY: the callers stay below the block's size.
        unsafe { self.at.wrapping_add(at).write(self.pattern) };
    }

    /// Bytes at both ends of what is below `end` and a few between: all of a small block.
    fn samples(&self, end: usize) -> impl Iterator<Item = u8> + '_ {
        let step = (end / 512).max(1);
        (0..end).step_by(step).chain(end.checked_sub(1)).map(|at| self.read(at))
    }

    fn fill(&self) {
        let size = self.layout.size();
        let step = (size / 512).max(1);
        for at in (0..size).step_by(step).chain([size - 1]) {
            self.write(at);
        }
    }

    fn check(&self) {
        // Large blocks are filled and read at the same places, so long as the size is the same.
        let ok = self.samples(self.layout.size()).all(|byte| byte == self.pattern);
        assert!(ok, "{:?} at {:?} lost its pattern {}", self.layout, self.at, self.pattern);
    }

    fn resize(&mut self, size: usize) {
        self.check();
        let kept = size.min(self.layout.size());
        // All of what must survive, not only the samples.
        for at in 0..kept.min(4096) {
            self.write(at);
        }
        // SAFETY: the block is of this allocator with this layout.
        self.at = unsafe { Allocator.realloc(self.at, self.layout, size) };
        assert!(!self.at.is_null());
        assert_eq!(self.at as usize % self.layout.align(), 0);
        self.layout = Layout::from_size_align(size, self.layout.align()).expect("a layout");
        assert!((0..kept.min(4096)).all(|at| self.read(at) == self.pattern));
        self.fill();
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.check();
        }
        // SAFETY: the block is of this allocator with this layout, and not used any more.
        unsafe { Allocator.dealloc(self.at, self.layout) };
    }
}

#[derive(Clone, Debug)]
enum Operation {
    New { size: usize, align: usize, zeroed: bool },
    Resize { which: usize, size: usize },
    Free { which: usize },
    FreeElsewhere { count: usize },
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1_usize..300,
        4 => 1_usize..10_000,
        2 => 1_usize..200_000,
        1 => 1_usize..4_000_000,
    ]
}

fn operations() -> impl Strategy<Value = Operation> {
    let aligns =
        prop_oneof![6 => 0_u32..5, 2 => 0_u32..13, 1 => 0_u32..22].prop_map(|shift| 1_usize << shift);
    prop_oneof![
        6 => (sizes(), aligns, any::<bool>()).prop_map(|(size, align, zeroed)| Operation::New { size, align, zeroed }),
        3 => (any::<usize>(), sizes()).prop_map(|(which, size)| Operation::Resize { which, size }),
        3 => any::<usize>().prop_map(|which| Operation::Free { which }),
        1 => (0_usize..40).prop_map(|count| Operation::FreeElsewhere { count }),
    ]
}

/// No two blocks share a byte.
fn check_apart(blocks: &[Block]) {
    let ranges: BTreeMap<usize, usize> =
        blocks.iter().map(|block| (block.at as usize, block.at as usize + block.layout.size())).collect();
    assert_eq!(ranges.len(), blocks.len());
    let ends = ranges.values();
    assert!(ends.zip(ranges.keys().skip(1)).all(|(end, next)| end <= next), "blocks overlap");
}

proptest! {
    // 256 cases, or PROPTEST_CASES.
    #[test]
    fn blocks_are_what_was_asked_for(operations in proptest::collection::vec(operations(), 1..300)) {
        let mut blocks: Vec<Block> = Vec::new();
        for (number, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::New { size, align, zeroed } => blocks.push(Block::new(size, align, zeroed, number as u8)),
                Operation::Resize { which, size } if !blocks.is_empty() => {
                    let which = which % blocks.len();
                    blocks[which].resize(size);
                }
                Operation::Free { which } if !blocks.is_empty() => drop(blocks.swap_remove(which % blocks.len())),
                Operation::FreeElsewhere { count } => {
                    let gone = blocks.split_off(blocks.len().saturating_sub(count));
                    thread::scope(|scope| {
                        scope.spawn(move || drop(gone));
                    });
                }
                _ => {}
            }
        }
        check_apart(&blocks);
    }
}

/// SplitMix64, so that a storm is what its seed says, up to the scheduler.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn size(&mut self) -> usize {
        let most = [64, 64, 256, 256, 1024, 8192, 70_000, 500_000][self.below(8)];
        1 + self.below(most)
    }
}

/// One thread of a storm.
fn act(seed: u64, shared: &Mutex<Vec<Block>>, steps: usize, depth: usize) {
    let mut random = Random(seed);
    let mut mine: Vec<Block> = Vec::new();
    for step in 0..steps {
        match random.below(20) {
            0..8 => {
                let align = 1 << [0, 0, 3, 3, 3, 4, 6, 12][random.below(8)];
                mine.push(Block::new(random.size(), align, random.below(4) == 0, step as u8));
            }
            8..13 if !mine.is_empty() => drop(mine.swap_remove(random.below(mine.len()))),
            13 if !mine.is_empty() => {
                let which = random.below(mine.len());
                let size = random.size();
                mine[which].resize(size);
            }
            14 => {
                // Hand some over.
                let count = random.below(mine.len() + 1).min(100);
                let gone = mine.split_off(mine.len() - count);
                shared.lock().unwrap().extend(gone);
            }
            15 => {
                // Take some over, and free them or keep them.
                let mut taken = shared.lock().unwrap();
                let keep = taken.len() - random.below(taken.len() + 1).min(100);
                let taken: Vec<Block> = taken.drain(keep..).collect();
                if random.below(2) == 0 { drop(taken) } else { mine.extend(taken) }
            }
            16 => thread::yield_now(),
            17 if mine.len() > 400 => mine.truncate(40),
            18 if depth > 0 && random.below(40) == 0 => {
                // A thread that comes and goes, and leaves its blocks to others.
                let seed = random.below(usize::MAX) as u64;
                thread::scope(|scope| {
                    scope.spawn(|| act(seed, shared, steps / 4, depth - 1));
                });
            }
            _ => {}
        }
    }
    let half = mine.split_off(mine.len() / 2);
    shared.lock().unwrap().extend(half);
}

#[test]
fn storm_of_threads() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let rounds = number("GREENROUTINE_HEAP_ROUNDS").unwrap_or(6);
    let first = number("GREENROUTINE_HEAP_SEED").unwrap_or(1);
    for seed in first..first + rounds {
        let shared = Mutex::new(Vec::new());
        println!("GREENROUTINE_HEAP_SEED={seed}");
        thread::scope(|scope| {
            for thread in 0..6 {
                let shared = &shared;
                scope.spawn(move || act(seed * 100 + thread, shared, 4000, 2));
            }
        });
        let blocks = shared.into_inner().unwrap();
        check_apart(&blocks);
    }
    if greenroutine::heap::stats().is_in_charge {
        greenroutine::heap::trim();
    }
}
