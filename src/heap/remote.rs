//! Frees from elsewhere: bits that anybody sets and the span's owner folds in. Called by `owner`; checked by loom (`loom_models`).
//!
//! Every span has a bitmap of slots freed by others, one word for 64 slots; a **summary** word with a bit for each of those words that may hold something; and a link. Every owner
//! has an [`Inbox`]: a stack of spans.
//!
//! ```text
//!   freer                               owner (drain)
//!   word |= slots                       take the inbox whole
//!   summary has the bit?  done          summary = 0 (it had the bits s)
//!   summary |= bit                      for each word in s: take its slots
//!   it was 0?  push into the inbox
//! ```
//!
//! **Invariant (duty).** `summary != 0` means that the span is in one inbox, or that one thread has the duty to put it there: whoever changed it from 0. So a span
//! is in at most one inbox, and the link has one user.
//!
//! **Nothing is lost.** A freer that finds its bit set wrote its slots before it read the summary; the owner clears the summary before it takes the words. Both are the
//! store-buffering pattern, all SeqCst: either the freer sees the cleared summary, or the owner sees the slots.
//!
//! **The span may change under the freer.** Once its slots are in the word, a freer has no claim on the span: the owner may fold, see every slot free, give the memory
//! back, and somebody else may make another span of it. So span records are type-stable (`arena`: never unmapped, and neither summary, words nor link are reset), and the push goes
//! to whoever owns the span *then*: a drainer passes on what is not its own ([`notify`]), and a span without owner drops out ([`retract`]).
//! A summary bit without slots is possible, and harmless.

use crate::base::atomic::{AtomicPtr, AtomicU64, Ordering};
use crate::base::fence;
use std::ptr;

/// What this protocol needs of a span. Records are never freed, so references to them are `'static`.
pub(crate) trait Remote: Sized + 'static {
    /// See the file's documentation.
    fn summary(&self) -> &AtomicU64;
    /// Slots `64 * index` and up that others freed.
    fn word(&self, index: usize) -> &AtomicU64;
    /// The inbox's while the span is in one.
    fn link(&self) -> &AtomicPtr<Self>;
    /// Where the owner of this moment looks; none if the span has none.
    fn inbox(&self) -> Option<&'static Inbox<Self>>;
}

/// Spans in which others freed something: anybody pushes, one takes all (Treiber's stack; taking all has no ABA problem).
pub(crate) struct Inbox<S> {
    head: AtomicPtr<S>,
}

impl<S: Remote> Inbox<S> {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Whether nothing waits, or has not arrived yet.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    fn push(&self, span: &'static S) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            span.link().store(head, Ordering::Relaxed);
            // Release pairs with the Acquire in `take`: the link.
            let new = ptr::from_ref(span).cast_mut();
            match self.head.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    fn take(&self) -> *mut S {
        self.head.swap(ptr::null_mut(), Ordering::Acquire)
    }
}

/// Frees the slots `mask` of word `index` in a span of somebody else. The slots were the caller's until now.
pub(crate) fn free<S: Remote>(span: &'static S, index: usize, mask: u64) {
    // SeqCst: see "nothing is lost". It includes Release: what the freeing thread did to the block happens before its next life.
    span.word(index).fetch_or(mask, Ordering::SeqCst);
    fence::in_model();
    let bit = 1 << index;
    if span.summary().load(Ordering::SeqCst) & bit == 0 && span.summary().fetch_or(bit, Ordering::SeqCst) == 0
    {
        notify(span);
    }
}

/// Puts a span into its owner's inbox. The caller has the duty.
fn notify<S: Remote>(span: &'static S) {
    loop {
        if let Some(inbox) = span.inbox() {
            return inbox.push(span);
        }
        if !retract(span) {
            return;
        }
    }
}

/// Lays the duty down for a span without owner. True if slots have come meanwhile (it has a new life) and the duty is the caller's again.
fn retract<S: Remote>(span: &S) -> bool {
    let summary = span.summary().swap(0, Ordering::SeqCst);
    fence::in_model();
    let mut left = 0;
    for index in Bits(summary) {
        if span.word(index).load(Ordering::SeqCst) != 0 {
            left |= 1 << index;
        }
    }
    left != 0 && span.summary().fetch_or(left, Ordering::SeqCst) == 0
}

/// Takes what others freed. `is_mine` says whether a span is the caller's, which nobody else can change; `fold` gets its words; `done` comes once after them, and may give
/// the span back. Spans of others are passed on.
pub(crate) fn drain<S: Remote>(
    inbox: &Inbox<S>,
    is_mine: impl Fn(&S) -> bool,
    mut fold: impl FnMut(&'static S, usize, u64),
    mut done: impl FnMut(&'static S),
) {
    let mut next = inbox.take();
    // SAFETY: records of spans live for ever, and what was taken is ours alone.
    while let Some(span) = unsafe { next.as_ref() } {
        // Read first: once the summary is 0 the span may be pushed again.
        next = span.link().load(Ordering::Relaxed);
        if !is_mine(span) {
            notify(span);
            continue;
        }
        take_words(span, &mut fold);
        done(span);
    }
}

/// Takes the slots that others freed in one span of the caller's.
fn take_words<S: Remote>(span: &'static S, fold: &mut impl FnMut(&'static S, usize, u64)) {
    let summary = span.summary().swap(0, Ordering::SeqCst);
    fence::in_model();
    for index in Bits(summary) {
        // SeqCst as in `free`; it includes Acquire, which pairs with the Release there.
        let mask = span.word(index).swap(0, Ordering::SeqCst);
        if mask != 0 {
            fold(span, index, mask);
        }
    }
}

/// The set bits of a word, lowest first.
pub(crate) struct Bits(pub(crate) u64);

impl Iterator for Bits {
    type Item = usize;
    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}
