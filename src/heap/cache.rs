//! A worker's cache of collected slots: a plain value that travels with the worker, needs no thread-local, and is flushed by whoever has stopped the world. Called by the
//! collector's `alloc`; calls `central`.
//!
//! For each bin the cache holds one span and one word of its free slots, taken out: the next object is the lowest bit. A word is 64 objects, so the span is touched once in 64.
//! Pressure goes up as a value: [`Grant::Refill`] says that memory has to be fetched, and the caller decides whether to collect first.

use std::cell::Cell;
use std::ptr::NonNull;

use super::central;
use super::class::{self, BINS};
use super::owner::Exhausted;
use super::span::Span;

/// What [`Cache::alloc`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Grant {
    /// A slot, which the caller may write to. Its content is that of its former life.
    Hit(NonNull<u8>),
    /// Call [`Cache::refill`] for the bin, and again.
    Refill,
}

/// See the file's documentation. Owned by one thread at a time.
pub(crate) struct Cache {
    lines: [Line; BINS],
}

struct Line {
    /// Free slots of the word that is taken out.
    bits: Cell<u64>,
    /// The address of the word's first slot.
    base: Cell<usize>,
    /// The number of the word.
    word: Cell<usize>,
    span: Cell<Option<&'static Span>>,
}

impl Cache {
    /// An empty cache.
    pub(crate) const fn new() -> Self {
        Self {
            lines: [const {
                Line { bits: Cell::new(0), base: Cell::new(0), word: Cell::new(0), span: Cell::new(None) }
            }; BINS],
        }
    }

    /// A slot of the bin.
    #[inline(always)]
    pub(crate) fn alloc(&self, bin: usize) -> Grant {
        let line = &self.lines[bin];
        let bits = line.bits.get();
        if bits == 0 {
            return Grant::Refill;
        }
        line.bits.set(bits & (bits - 1));
        let address = line.base.get() + bits.trailing_zeros() as usize * class::SIZES[bin / 2] as usize;
        match NonNull::new(address as *mut u8) {
            Some(slot) => Grant::Hit(slot),
            None => Grant::Refill,
        }
    }

    /// Fetches free slots: of the span at hand, of another that has some, or of a fresh one.
    #[cold]
    pub(super) fn refill(&self, bin: usize) -> Result<(), Exhausted> {
        let line = &self.lines[bin];
        debug_assert_eq!(line.bits.get(), 0, "only an empty line is filled");
        let class = bin / 2;
        loop {
            let span = match line.span.get() {
                Some(span) => span,
                None => {
                    let span = central::take(bin)?;
                    line.span.set(Some(span));
                    span
                }
            };
            if let Some((word, bits)) = span.take_word(class) {
                line.word.set(word);
                line.bits.set(bits);
                line.base.set(span.start() + word * 64 * class::SIZES[class] as usize);
                return Ok(());
            }
            // Full: nobody needs to know it until the next sweep.
            line.span.set(None);
        }
    }

    /// Gives all spans back, with the slots that are left.
    pub(crate) fn flush(&self) {
        for (bin, line) in self.lines.iter().enumerate() {
            let bits = line.bits.replace(0);
            if let Some(span) = line.span.take() {
                if bits != 0 {
                    span.put(line.word.get(), bits);
                }
                central::give(bin, span);
            }
        }
    }
}
