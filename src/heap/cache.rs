//! A thread's cache of collected slots, in its record (`owner`). Called by `collected`; calls `central`.
//!
//! For each bin the cache holds one span and one word of its free slots, taken out: the next object is the lowest bit. A word is 64 objects, so the span is touched once in 64.
//!
//! The collector empties all caches while the threads are stopped. So everything here happens in critical stretches (`world::critical`), but for the wait for a span: a span that
//! was got before a stop and not yet put into the cache is forgotten, because the sweep has listed it again.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::central;
use super::class::{self, BINS_ROOM};
use super::owner::Exhausted;
use super::sample;
use super::span::Span;
use crate::world::{critical, stop};

/// See the file's documentation.
pub(crate) struct Cache {
    lines: [Line; BINS_ROOM],
}

struct Line {
    /// Free slots of the word that is taken out.
    bits: Cell<u64>,
    /// More of them, that come after a slot that is to be sampled.
    rest: Cell<u64>,
    /// While the heap is sampled: slots that are not sampled before the next one that is, without those in `bits`; and the epoch for which it was drawn.
    left: Cell<u64>,
    epoch: Cell<u32>,
    /// The address of the word's first slot, and the bytes of each.
    base: Cell<usize>,
    size: Cell<usize>,
    /// The number of the word.
    word: Cell<usize>,
    span: Cell<Option<&'static Span>>,
}

impl Cache {
    /// An empty cache; all zeros.
    pub(crate) const fn new() -> Self {
        Self {
            lines: [const {
                Line {
                    bits: Cell::new(0),
                    rest: Cell::new(0),
                    left: Cell::new(0),
                    epoch: Cell::new(0),
                    base: Cell::new(0),
                    size: Cell::new(0),
                    word: Cell::new(0),
                    span: Cell::new(None),
                }
            }; BINS_ROOM],
        }
    }

    /// A slot of the bin, with the content of its former life; none if [`Cache::refill`] has to be called.
    #[inline(always)]
    pub(super) fn alloc(&self, bin: usize) -> Option<NonNull<u8>> {
        let address = critical::run_leaf(|| {
            let line = &self.lines[bin % BINS_ROOM];
            let bits = line.bits.get();
            if bits == 0 {
                return 0;
            }
            line.bits.set(bits & (bits - 1));
            line.base.get() + bits.trailing_zeros() as usize * line.size.get()
        });
        NonNull::new(address as *mut u8)
    }

    /// Takes an object back that its owner has done with, if it is of the word at hand: it is the next one's that is wanted. False if it is left to the sweep.
    ///
    /// Not while marking runs, when the marker may just be coming to it: what is free and marked would be neither. Marking begins with a stop, so not in here. Nor while the heap is sampled, when `left` would not know of it.
    pub(super) fn take_back(&self, bin: usize, object: usize) -> bool {
        critical::run(|| {
            let line = &self.lines[bin % BINS_ROOM];
            let Some(span) = line.span.get() else { return false };
            let class = bin / 2;
            // The slots of the word, which may be fewer than its bits: what comes after them is another span's.
            let slots = (class::slots(class) - line.word.get() * 64).min(64);
            let offset = object.wrapping_sub(line.base.get());
            debug_assert_eq!(span.start() + line.word.get() * 64 * line.size.get(), line.base.get());
            if offset >= slots * line.size.get() || central::is_marking() || sample::is_on_in(sample::epoch())
            {
                return false;
            }
            let slot = class::index(class, offset);
            central::poison_if_wanted(object, line.size.get());
            debug_assert_eq!(
                (line.bits.get() | line.rest.get()) >> slot & 1,
                0,
                "an object is given back once"
            );
            line.bits.set(line.bits.get() | 1 << slot);
            true
        })
    }

    /// Fetches free slots: of the span at hand, of another that has some, or of a fresh one. Returns their bytes, and whether the next one is to be sampled.
    #[cold]
    pub(super) fn refill(&self, bin: usize) -> Result<(usize, bool), Exhausted> {
        let line = &self.lines[bin];
        if let Some(filled) = critical::run(|| line.fill(bin / 2)) {
            return Ok(filled);
        }
        loop {
            let stops = stop::count();
            let span = central::take(bin)?;
            let taken = critical::run(|| {
                if stop::count() != stops {
                    return None;
                }
                line.span.set(Some(span));
                line.fill(bin / 2)
            });
            if let Some(filled) = taken {
                return Ok(filled);
            }
        }
    }

    /// Puts all that is left back into the spans and forgets them. By the collector, which has stopped the thread; the sweep lists them again.
    pub(super) fn empty(&self) {
        for line in &self.lines {
            let (bits, rest) = (line.bits.replace(0), line.rest.replace(0));
            // They were not handed out.
            line.left.set(line.left.get().saturating_add(u64::from(bits.count_ones())));
            let bits = bits | rest;
            let Some(span) = line.span.take() else { continue };
            if bits != 0 {
                span.put(line.word.get(), bits);
                // They may be marked, because they were born so, or because something looks like a pointer to them; but they are no objects.
                span.side_word(line.word.get()).fetch_and(!bits, Ordering::Relaxed);
            }
        }
    }

    /// Marks the slots that were taken out and are no objects yet: marking begins, and they are born marked. By the collector, which has stopped the thread.
    pub(super) fn blacken(&self, marking: u32) {
        for line in &self.lines {
            if let Some(span) = line.span.get() {
                span.set_taken(marking);
                span.side_word(line.word.get())
                    .fetch_or(line.bits.get() | line.rest.get(), Ordering::Relaxed);
            }
        }
    }
}

impl Line {
    /// The rest of the word, or the next one of the span at hand. Returns the bytes of its slots, and whether the next one is to be sampled; none if the span is full: nobody needs to know it until the next sweep.
    fn fill(&self, class: usize) -> Option<(usize, bool)> {
        debug_assert_eq!(self.bits.get(), 0, "only an empty line is filled");
        let rest = self.rest.replace(0);
        let (bytes, bits) = if rest != 0 { (0, rest) } else { self.take_word(class)? };
        Some((bytes, self.offer(class, bits)))
    }

    /// Lets slots be handed out, up to the next one that is to be sampled. Returns whether it is the first.
    fn offer(&self, class: usize, bits: u64) -> bool {
        let epoch = sample::epoch();
        if !sample::is_on_in(epoch) {
            self.bits.set(bits);
            return false;
        }
        let draw = || sample::draw(class::SIZES[class] as usize);
        if self.epoch.replace(epoch) != epoch {
            self.left.set(draw());
        }
        let left = self.left.get();
        let is_sampled = left == 0;
        let most = if is_sampled { 1 } else { left.min(64) };
        let mut rest = bits;
        let mut offered = 0;
        while rest != 0 && offered < most {
            rest &= rest - 1;
            offered += 1;
        }
        self.left.set(if is_sampled { draw() } else { left - offered });
        self.bits.set(bits & !rest);
        self.rest.set(rest);
        is_sampled
    }

    /// The next word of the span at hand: the bytes of its slots, and which are free.
    fn take_word(&self, class: usize) -> Option<(usize, u64)> {
        let span = self.span.get()?;
        let Some((word, bits)) = span.take_word(class) else {
            self.span.set(None);
            return None;
        };
        let size = class::SIZES[class] as usize;
        if central::is_marking() {
            // Objects are born marked.
            span.side_word(word).fetch_or(bits, Ordering::Relaxed);
        }
        self.word.set(word);
        self.size.set(size);
        self.base.set(span.start() + word * 64 * size);
        Some((bits.count_ones() as usize * size, bits))
    }
}
