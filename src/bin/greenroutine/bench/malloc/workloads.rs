//! What allocators are measured with. Each workload runs on fresh threads of its own, is the same for every allocator (seeded), and returns its operations: a block made and freed
//! is one.
//!
//! The shapes are those of mimalloc-bench, written again in Rust; sizes are scaled to some seconds.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::block::{Block, Subject};

/// A small generator of its own (xorshift64*), so that it costs all the same.
struct Random(u64);

impl Random {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`.
    #[inline]
    fn below(&mut self, bound: usize) -> usize {
        (((self.next() >> 32) * bound as u64) >> 32) as usize
    }

    /// A size as programs ask for them: mostly small, now and then up to 1 KiB.
    #[inline]
    fn size(&mut self) -> usize {
        let bits = self.next();
        match bits & 15 {
            0..8 => 8 + (bits >> 8) as usize % 57,
            8..13 => 8 + (bits >> 8) as usize % 249,
            _ => 8 + (bits >> 8) as usize % 1017,
        }
    }
}

/// Batches on their way from one thread to another. Whoever has to wait yields and looks again: threads that sleep and are woken would be most of what is measured, and the faster
/// allocator, whose threads wait more often, would be the slower one.
struct Belt<S: Subject> {
    batches: Mutex<VecDeque<Vec<Block<S>>>>,
}

impl<S: Subject> Belt<S> {
    const ROOM: usize = 64;

    fn new() -> Self {
        Self { batches: Mutex::new(VecDeque::with_capacity(Self::ROOM)) }
    }

    fn put(&self, batch: Vec<Block<S>>) {
        loop {
            let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
            if batches.len() < Self::ROOM {
                return batches.push_back(batch);
            }
            drop(batches);
            thread::yield_now();
        }
    }

    fn take(&self) -> Vec<Block<S>> {
        loop {
            let batch = self.batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match batch {
                Some(batch) => return batch,
                None => thread::yield_now(),
            }
        }
    }
}

/// One thread replaces random ones of 10,000 small blocks.
pub(super) fn small_mixed<S: Subject>(scale: usize) -> u64 {
    let mut random = Random(1);
    let mut blocks: Vec<Block<S>> = (0..10_000).map(|_| Block::new(random.size())).collect();
    let rounds = 40_000_000 / scale as u64;
    for _ in 0..rounds {
        let at = random.below(blocks.len());
        blocks[at] = Block::new(random.size());
    }
    rounds
}

/// A server's threads: each replaces random ones of 5,000 blocks of 10 to 500 bytes, and after a while hands all of them to a new thread (Larson and Krishnan, 1998).
pub(super) fn larson<S: Subject>(scale: usize) -> u64 {
    const THREADS: usize = 2;
    const GENERATIONS: u64 = 25;
    let rounds = 600_000 / scale as u64;
    let lines: Vec<_> = (0..THREADS)
        .map(|line| {
            thread::spawn(move || {
                let mut random = Random(line as u64 + 1);
                let mut blocks: Vec<Block<S>> =
                    (0..5_000).map(|_| Block::new(10 + random.below(490))).collect();
                for _ in 0..GENERATIONS {
                    let next = thread::spawn(move || {
                        for _ in 0..rounds {
                            let at = random.below(blocks.len());
                            blocks[at] = Block::new(10 + random.below(490));
                        }
                        (random, blocks)
                    });
                    (random, blocks) = next.join().expect("workloads do not panic");
                }
            })
        })
        .collect();
    for line in lines {
        line.join().expect("workloads do not panic");
    }
    THREADS as u64 * GENERATIONS * rounds
}

/// One thread only makes blocks, another only frees them, in batches of 128 (Lever and Boreham's malloc-test).
pub(super) fn xmalloc<S: Subject>(scale: usize) -> u64 {
    let batches = 200_000 / scale as u64;
    let belt = Belt::<S>::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(1);
            for _ in 0..batches {
                belt.put((0..128).map(|_| Block::new(random.size())).collect());
            }
        });
        scope.spawn(|| (0..batches).for_each(|_| drop(belt.take())));
    });
    batches * 128
}

/// Two threads that each make blocks and free the other's, in batches of 64, with 1,000 batches kept for a while.
pub(super) fn cross_thread<S: Subject>(scale: usize) -> u64 {
    let batches = 200_000 / scale as u64;
    let (first, second) = (Belt::<S>::new(), Belt::<S>::new());
    let side = |seed: u64, out: &Belt<S>, back: &Belt<S>| {
        let mut random = Random(seed);
        let mut kept: Vec<Vec<Block<S>>> = (0..1_000).map(|_| Vec::new()).collect();
        for _ in 0..batches {
            out.put((0..64).map(|_| Block::new(random.size())).collect());
            let at = random.below(kept.len());
            kept[at] = back.take();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| side(1, &first, &second));
        scope.spawn(|| side(2, &second, &first));
    });
    2 * batches * 64
}

/// Vectors that grow by doubling, written to as they grow: many up to 4 KiB side by side, and single ones up to 16 MiB. An operation is a growth.
pub(super) fn vector_growth<S: Subject>(scale: usize) -> u64 {
    let mut operations = 0;
    let mut grow = |block: &mut Block<S>| {
        let old = block.size();
        block.resize(old * 2);
        block.fill(old);
        operations += 1;
    };
    for _ in 0..1_600 / scale {
        let mut many: Vec<Block<S>> = (0..256).map(|_| Block::new(8)).collect();
        for _ in 0..9 {
            many.iter_mut().for_each(&mut grow);
        }
        drop(many);
    }
    for _ in 0..200 / scale {
        let mut one = Block::<S>::new(4096);
        for _ in 0..12 {
            grow(&mut one);
        }
    }
    operations
}

/// A store of 200,000 keys: each a node, a key and a value of up to 8 KiB; sets, reads, appends and deletes.
pub(super) fn redis_like<S: Subject>(scale: usize) -> u64 {
    struct Entry<S: Subject> {
        node: Block<S>,
        key: Block<S>,
        value: Block<S>,
    }
    let value_size = |random: &mut Random| {
        let bits = random.next();
        match bits & 15 {
            0..12 => 16 + (bits >> 8) as usize % 240,
            12..15 => 16 + (bits >> 8) as usize % 1_500,
            _ => 16 + (bits >> 8) as usize % 8_000,
        }
    };
    let mut random = Random(1);
    let mut store: Vec<Option<Entry<S>>> = (0..200_000).map(|_| None).collect();
    let operations = 12_000_000 / scale as u64;
    let mut read = 0;
    for _ in 0..operations {
        let at = random.below(store.len());
        let what = random.below(100);
        match (&mut store[at], what) {
            (Some(entry), 0..40) => read += u64::from(entry.node.read()) + u64::from(entry.key.read()),
            (Some(entry), 40..70) => entry.value = Block::new(value_size(&mut random)),
            (Some(entry), 70..80) => {
                let old = entry.value.size();
                entry.value.resize(old + 1 + random.below(64));
                entry.value.fill(old);
            }
            (entry @ Some(_), _) => *entry = None,
            (entry @ None, _) => {
                let key = Block::new(16 + random.below(32));
                *entry =
                    Some(Entry { node: Block::new(32), key, value: Block::new(value_size(&mut random)) });
            }
        }
    }
    std::hint::black_box(read);
    operations
}
