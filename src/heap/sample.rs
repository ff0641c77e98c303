//! The heap profile: a sample of all allocations, and which of them are still in use. Called by `entry`, `meter`, `cache`, `collected` and `central` (the samples), and by `gc` (begin, end, read).
//!
//! **What is sampled.** Each byte that is allocated is hit with the same small chance, and a block with a byte that is hit is a sample: a Poisson process, as in Go and tcmalloc. So how many unsampled blocks of a
//! size come before a sampled one is geometric, whatever was allocated before, and every bin of every thread draws that number by itself ([`draw`]); large blocks draw each ([`large`]). A block of n bytes is sampled with
//! the chance 1 - exp(-n / rate), so it stands for the inverse of that many. Sizes are those of the classes.
//!
//! **Bias.** A block that is grown or shrunk within its class is the block it was. What threads allocate after their exit handler has run is not seen. Which block of a class is sampled does not depend on who
//! allocates it.
//!
//! **Ends.** Who frees looks at one byte for the block's granule ([`arena::samples`]): 0 nearly always. Else the address is looked for in the table of live samples, without a lock, and seldom found. Collected samples end when their span is swept.
//!
//! **Memory** for all this is mapped and never freed; nothing here allocates, so a sample can be taken inside any allocation.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::arena;
use super::class;
use super::local;
use super::lookup::Object;
use super::meter::Taken;
use super::registry;
use super::span::{self, Slot, Span};
use crate::base::early_lock::EarlyLock;
use crate::base::lock::Rank;
use crate::base::{fence, hash, rng::Rng};
use crate::sys::mem;

/// Frames of a sample, at most.
pub(crate) const FRAMES: usize = 40;
/// The code addresses of a sample, the innermost first.
pub(crate) type Frames = [u64; FRAMES];
/// Finds the frames of its caller; returns how many. It allocates nothing, and takes no lock that is held while something is allocated. Called by one at a time.
pub(crate) type Capture = fn(&mut Frames) -> usize;

/// Counts beginnings and ends: odd while the heap is sampled.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// Whether samples are kept: once all threads notice what they free.
static IS_ARMED: AtomicBool = AtomicBool::new(false);
/// Mean number of bytes between two that are hit.
static MEAN: AtomicUsize = AtomicUsize::new(1);
static RANDOM: AtomicU64 = AtomicU64::new(0);
static CAPTURE: OnceLock<Capture> = OnceLock::new();
static SAMPLES: EarlyLock<Samples> = EarlyLock::new(Rank::HeapSamples, Samples::NOTHING);

/// Tables of live samples, each twice as large as the one before; the last is in use. Words for keys, then as many for values.
static LIVE: [OnceLock<&'static [AtomicU64]>; 32] = [const { OnceLock::new() }; 32];
static LIVE_NOW: AtomicUsize = AtomicUsize::new(0);
/// Keys in the first table.
const LIVE_FIRST: usize = 1024;
/// No key: never used, or not any more. Addresses are above.
const NONE: u64 = 0;
const GONE: u64 = 1;

/// One site, with what was sampled there.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Bytes of each block.
    pub(crate) bytes: usize,
    /// Samples.
    pub(crate) allocated: u64,
    /// Of them, those in use.
    pub(crate) in_use: u64,
    pub(crate) frames: Vec<u64>,
}

/// What was sampled, and how.
#[derive(Clone, Debug)]
pub(crate) struct Sampled {
    pub(crate) mean: usize,
    pub(crate) sites: Vec<Site>,
}

/// Guarded by the lock.
struct Samples {
    /// Records of sites, one after the other: see the constants below.
    sites: &'static [AtomicU64],
    used: usize,
    /// Where each site begins, plus 1, by its hash.
    index: &'static [AtomicU64],
    count: usize,
    /// Keys of the live table that are not `NONE`.
    taken: usize,
}

// A site's words.
const HASH: usize = 0;
const BYTES: usize = 1;
const ALLOCATED: usize = 2;
const FREED: usize = 3;
const DEPTH: usize = 4;
const HEAD: usize = 5;

/// The epoch of now.
#[inline(always)]
pub(super) fn epoch() -> u32 {
    EPOCH.load(Ordering::Relaxed)
}

/// Whether the heap is sampled in that epoch.
#[inline(always)]
pub(super) fn is_on_in(epoch: u32) -> bool {
    epoch & 1 != 0
}

/// Begins anew, with one byte in `mean` hit. False if there is no memory for it.
pub(crate) fn start(mean: usize, seed: u64, capture: Capture) -> bool {
    stop();
    if !SAMPLES.lock().clear() {
        return false;
    }
    let _ = CAPTURE.set(capture);
    MEAN.store(mean.max(1), Ordering::Relaxed);
    RANDOM.store(seed, Ordering::Relaxed);
    EPOCH.fetch_add(1, Ordering::SeqCst);
    // A thread that is in a slow path sees the epoch at its end, or has set its magazines' caps before this.
    fence::heavy();
    registry::all().for_each(|owner| owner.have_looked());
    IS_ARMED.store(true, Ordering::SeqCst);
    // The caller's next allocation is seen.
    local::catch_up();
    true
}

/// Ends it. What was sampled stays as it is.
pub(crate) fn stop() {
    IS_ARMED.store(false, Ordering::SeqCst);
    if is_on_in(epoch()) {
        EPOCH.fetch_add(1, Ordering::SeqCst);
    }
}

/// In (0, 1].
fn random() -> f64 {
    let mut rng = Rng::new(RANDOM.fetch_add(Rng::STEP, Ordering::Relaxed));
    ((rng.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// How many blocks of that size are not sampled before the next one that is.
pub(super) fn draw(bytes: usize) -> u64 {
    let distance = -random().ln() * MEAN.load(Ordering::Relaxed) as f64;
    (distance / bytes as f64) as u64
}

/// A block that a slow path hands out.
#[inline]
pub(super) fn seen((block, is_sampled): Taken, bytes: usize) -> *mut u8 {
    if is_sampled {
        record(block as usize, bytes);
    }
    block
}

/// A large block is handed out.
#[inline]
pub(super) fn large(block: *mut u8, bytes: usize) {
    if is_on_in(epoch()) && draw(bytes) == 0 {
        record(block as usize, bytes);
    }
}

/// Keeps a block as a sample, with the frames of who allocates it. Under no lock.
#[cold]
#[inline(never)]
pub(super) fn record(block: usize, bytes: usize) {
    let Some(capture) = CAPTURE.get().filter(|_| IS_ARMED.load(Ordering::Relaxed)) else { return };
    let mut frames = [0; FRAMES];
    // `capture` is for one at a time.
    let mut samples = SAMPLES.lock();
    let depth = capture(&mut frames);
    // Again: it may have ended meanwhile.
    if IS_ARMED.load(Ordering::Relaxed) {
        samples.add(block as u64, bytes as u64, &frames[..depth.min(FRAMES)]);
    }
}

/// A block is free.
#[inline(always)]
pub(super) fn returned(block: usize) {
    if arena::samples(arena::granule_in(block)).load(Ordering::Relaxed) != 0 {
        returned_slow(block);
    }
}

#[inline(never)]
fn returned_slow(block: usize) {
    if find(block as u64).is_some() && IS_ARMED.load(Ordering::Relaxed) {
        SAMPLES.lock().remove(block as u64);
    }
}

/// A collected span is about to be swept: samples that are not marked end.
#[inline]
pub(super) fn sweep(span: &'static Span) {
    if is_on_in(epoch()) {
        sweep_slow(span);
    }
}

#[inline(never)]
fn sweep_slow(span: &'static Span) {
    let granules = if span.class() == span::LARGE { 1 } else { span.granules() };
    let is_sampled = |granule| arena::samples(granule).load(Ordering::Relaxed) != 0;
    if !(span.granule()..span.granule() + granules).any(is_sampled) {
        return;
    }
    let object = |slot, start, bytes| Object { span, slot, start, bytes };
    let end = |object: Object| {
        if !object.is_marked() {
            returned(object.start);
        }
    };
    if span.class() == span::LARGE {
        return end(object(Slot::new(0), span.start(), span.bytes()));
    }
    let (slots, bytes) = (class::slots(span.class() as usize), class::SIZES[span.class() as usize] as usize);
    (0..slots).for_each(|index| end(object(Slot::new(index), span.start() + index * bytes, bytes)));
}

/// The live table, and the place of a key in it.
fn find(key: u64) -> Option<(&'static [AtomicU64], usize)> {
    // Acquire pairs with the Release in `grow_live`.
    let table = *LIVE[LIVE_NOW.load(Ordering::Acquire)].get()?;
    let mask = table.len() / 2 - 1;
    let mut at = hash::home(key, mask);
    for _ in 0..=mask {
        match table[at].load(Ordering::Relaxed) {
            NONE => return None,
            found if found == key => return Some((table, at)),
            _ => at = (at + 1) & mask,
        }
    }
    None
}

fn value(table: &'static [AtomicU64], at: usize) -> &'static AtomicU64 {
    &table[table.len() / 2 + at]
}

fn granule_count(key: u64, change: impl Fn(u8) -> u8) {
    let count = arena::samples(arena::granule_in(key as usize));
    let now = count.load(Ordering::Relaxed);
    // More than it can say: it says so for ever, which costs a search in the table.
    if now != u8::MAX {
        count.store(change(now), Ordering::Relaxed);
    }
}

impl Samples {
    const NOTHING: Self = Self { sites: &[], used: 0, index: &[], count: 0, taken: 0 };

    /// Forgets all. False if there is no memory to begin with.
    fn clear(&mut self) -> bool {
        if let Some(table) = LIVE[LIVE_NOW.load(Ordering::Relaxed)].get() {
            for key in &table[..table.len() / 2] {
                let key = key.swap(NONE, Ordering::Relaxed);
                if key > GONE {
                    granule_count(key, |count| count.saturating_sub(1));
                }
            }
        }
        self.index.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        (self.used, self.count, self.taken) = (0, 0, 0);
        LIVE[0].get().is_some() || self.grow_live()
    }

    /// A new table of live samples, with those of the old one.
    fn grow_live(&mut self) -> bool {
        let old = LIVE_NOW.load(Ordering::Relaxed);
        let old_table = LIVE[old].get().copied();
        let now = if old_table.is_some() { old + 1 } else { 0 };
        let Some(place) = LIVE.get(now) else { return false };
        let Some(table) = mem::map_words(2 * (LIVE_FIRST << now)) else { return false };
        self.taken = 0;
        let old_keys = old_table.map_or(0, |table| table.len() / 2);
        for at in 0..old_keys {
            let Some(old_table) = old_table else { break };
            let key = old_table[at].load(Ordering::Relaxed);
            if key > GONE {
                self.put(table, key, value(old_table, at).load(Ordering::Relaxed));
            }
        }
        let is_new = place.set(table).is_ok();
        debug_assert!(is_new, "each is made once");
        // Release pairs with the Acquire in `find`.
        LIVE_NOW.store(now, Ordering::Release);
        true
    }

    fn put(&mut self, table: &'static [AtomicU64], key: u64, site: u64) {
        let mask = table.len() / 2 - 1;
        let mut at = hash::home(key, mask);
        loop {
            let there = table[at].load(Ordering::Relaxed);
            if there <= GONE {
                value(table, at).store(site, Ordering::Relaxed);
                table[at].store(key, Ordering::Relaxed);
                self.taken += usize::from(there == NONE);
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn add(&mut self, block: u64, bytes: u64, frames: &[u64]) {
        // A sample that was not seen to end: of a thread that ended, say.
        self.remove(block);
        let Some(site) = self.site(bytes, frames) else { return };
        let Some(mut table) = LIVE[LIVE_NOW.load(Ordering::Relaxed)].get().copied() else { return };
        if self.taken >= table.len() / 2 / 4 * 3 {
            if !self.grow_live() {
                return;
            }
            table = LIVE[LIVE_NOW.load(Ordering::Relaxed)].get().copied().unwrap_or(table);
        }
        self.put(table, block, site as u64);
        granule_count(block, |count| count + 1);
        self.count_up(site + ALLOCATED);
    }

    fn remove(&mut self, block: u64) {
        let Some((table, mut at)) = find(block) else { return };
        self.count_up(value(table, at).load(Ordering::Relaxed) as usize + FREED);
        granule_count(block, |count| count.saturating_sub(1));
        table[at].store(GONE, Ordering::Relaxed);
        // No search goes beyond the end of its run.
        let mask = table.len() / 2 - 1;
        if table[(at + 1) & mask].load(Ordering::Relaxed) != NONE {
            return;
        }
        while table[at].load(Ordering::Relaxed) == GONE {
            table[at].store(NONE, Ordering::Relaxed);
            self.taken -= 1;
            at = at.wrapping_sub(1) & mask;
        }
    }

    fn count_up(&self, word: usize) {
        let count = self.sites[word].load(Ordering::Relaxed);
        self.sites[word].store(count + 1, Ordering::Relaxed);
    }

    /// Where the site with that size and these frames begins.
    fn site(&mut self, bytes: u64, frames: &[u64]) -> Option<usize> {
        let hash = frames.iter().fold(bytes, |hash, frame| hash::mix(hash, *frame));
        if self.count * 2 >= self.index.len() {
            self.grow_index()?;
        }
        let mask = self.index.len() - 1;
        let mut at = hash::home(hash, mask);
        while let Some(site) = (self.index[at].load(Ordering::Relaxed) as usize).checked_sub(1) {
            if self.is_at(site, hash, bytes, frames) {
                return Some(site);
            }
            at = (at + 1) & mask;
        }
        let site = self.used;
        let end = site + HEAD + frames.len();
        if end > self.sites.len() {
            self.grow_sites(end)?;
        }
        let words = [hash, bytes, 0, 0, frames.len() as u64];
        for (word, what) in self.sites[site..end].iter().zip(words.iter().chain(frames)) {
            word.store(*what, Ordering::Relaxed);
        }
        self.used = end;
        self.count += 1;
        self.index[at].store(site as u64 + 1, Ordering::Relaxed);
        Some(site)
    }

    fn is_at(&self, site: usize, hash: u64, bytes: u64, frames: &[u64]) -> bool {
        let is = |word: usize, what: u64| self.sites[site + word].load(Ordering::Relaxed) == what;
        is(HASH, hash)
            && is(BYTES, bytes)
            && is(DEPTH, frames.len() as u64)
            && frames.iter().enumerate().all(|(index, frame)| is(HEAD + index, *frame))
    }

    fn grow_sites(&mut self, least: usize) -> Option<()> {
        let sites = mem::map_words((self.sites.len() * 2).max(least).max(8192))?;
        for (to, from) in sites.iter().zip(&self.sites[..self.used]) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.sites = sites;
        Some(())
    }

    fn grow_index(&mut self) -> Option<()> {
        let index = mem::map_words((self.index.len() * 2).max(1024))?;
        let mask = index.len() - 1;
        for word in self.index.iter().map(|word| word.load(Ordering::Relaxed)).filter(|word| *word != 0) {
            let mut at = hash::home(self.sites[word as usize - 1 + HASH].load(Ordering::Relaxed), mask);
            while index[at].load(Ordering::Relaxed) != 0 {
                at = (at + 1) & mask;
            }
            index[at].store(word, Ordering::Relaxed);
        }
        self.index = index;
        Some(())
    }

    /// Copies the sites. False if there is not enough room.
    fn copy(&self, into: &mut Vec<u64>) -> bool {
        // Under this lock nothing may be allocated.
        if into.capacity() < self.used {
            return false;
        }
        into.extend(self.sites[..self.used].iter().map(|word| word.load(Ordering::Relaxed)));
        true
    }
}

/// What was sampled since [`start`]. Sites without samples are not among it.
pub(crate) fn read() -> Sampled {
    let mut words = Vec::new();
    loop {
        let used = SAMPLES.lock().used;
        words.reserve(used + used / 4 + 64);
        let samples = SAMPLES.lock();
        if samples.copy(&mut words) {
            break;
        }
    }
    let mut sites = Vec::new();
    let mut rest = &words[..];
    while let [_, bytes, allocated, freed, depth, after @ ..] = rest {
        let (frames, next) = after.split_at((*depth as usize).min(after.len()));
        rest = next;
        sites.push(Site {
            bytes: *bytes as usize,
            allocated: *allocated,
            in_use: allocated.saturating_sub(*freed),
            frames: frames.to_vec(),
        });
    }
    sites.retain(|site| site.allocated > 0);
    Sampled { mean: MEAN.load(Ordering::Relaxed), sites }
}

/// For `registry`, before a fork.
pub(super) fn hold_for_fork() {
    SAMPLES.hold_for_fork();
}

/// For `registry`, after a fork, on both sides.
pub(super) fn release_after_fork() {
    SAMPLES.release_after_fork();
}
