//! Goroutines that were woken from elsewhere, on the way to their home worker: a stack that anybody pushes and the owner
//! takes whole (Treiber's stack; taking all at once has no ABA problem).
//!
//! The push is the publishing half of the sleep protocol (docs/PROTOCOLS.md): it is SeqCst, and the pusher then reads the
//! owner's state.

use crate::base::atomic::{AtomicPtr, Ordering};
use crate::base::fence;
use std::ptr;

/// Something with a link to put it in an inbox.
pub(crate) trait Linked {
    /// The link; the list's while the node is in it.
    fn link(&self) -> &AtomicPtr<Self>
    where
        Self: Sized;
}

/// See the file's documentation.
pub(crate) struct Inbox<T> {
    head: AtomicPtr<T>,
}

impl<T: Linked + 'static> Inbox<T> {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Adds a node that is in no other list.
    pub(crate) fn push(&self, node: &'static T) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            node.link().store(head, Ordering::Relaxed);
            let new = ptr::from_ref(node).cast_mut();
            // SeqCst: pairs with the owner's SeqCst store of its state and load of `head`. It includes Release, which pairs
            // with the Acquire in `take`.
            match self.head.compare_exchange_weak(head, new, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return fence::in_model(),
                Err(now) => head = now,
            }
        }
    }

    /// Whether something waits. SeqCst for the sleep protocol; a plain load on x86-64.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::SeqCst).is_null()
    }

    /// Takes everything, the oldest first.
    pub(crate) fn take(&self, mut each: impl FnMut(&'static T)) {
        let mut newest = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest = ptr::null_mut();
        // SAFETY: nodes are 'static and, once taken, this list is ours alone.
        while let Some(node) = unsafe { newest.as_ref() } {
            let next = node.link().load(Ordering::Relaxed);
            node.link().store(oldest, Ordering::Relaxed);
            oldest = newest;
            newest = next;
        }
        // SAFETY: as above.
        while let Some(node) = unsafe { oldest.as_ref() } {
            // Read first: `each` may put the node into another list.
            oldest = node.link().load(Ordering::Relaxed);
            each(node);
        }
    }
}

#[cfg(not(loom))]
impl Linked for crate::routine::Task {
    #[inline(always)]
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}
