//! A plain FIFO through the links of its nodes: the started goroutines that only their worker may run.

use std::ptr;

use super::inbox::Linked;
use crate::base::atomic::{Cell, Ordering};

/// Accessed by one thread at a time, which is its owner's to see to.
pub(crate) struct Fifo<T> {
    head: Cell<*const T>,
    tail: Cell<*const T>,
    len: Cell<usize>,
}

impl<T: Linked + 'static> Fifo<T> {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { head: Cell::new(ptr::null()), tail: Cell::new(ptr::null()), len: Cell::new(0) }
    }

    /// How many wait.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    /// What is last.
    pub(crate) fn last(&self) -> *const T {
        self.tail.get()
    }

    /// Visits what stands behind a node of the list, or all if that is null.
    pub(crate) fn for_each_after(&self, node: *const T, mut each: impl FnMut(&'static T)) {
        // SAFETY: null, or a node; nodes are 'static.
        let behind = unsafe { node.as_ref() }.map(|node| node.link().load(Ordering::Relaxed).cast_const());
        let mut at = behind.unwrap_or(self.head.get());
        // SAFETY: as above.
        while let Some(node) = unsafe { at.as_ref() } {
            at = node.link().load(Ordering::Relaxed);
            each(node);
        }
    }

    /// Adds at the tail. The node is in no other list.
    #[inline(always)]
    pub(crate) fn push(&self, node: &'static T) {
        node.link().store(ptr::null_mut(), Ordering::Relaxed);
        let tail = self.tail.replace(node);
        // SAFETY: null, or a node in this list; nodes are 'static.
        match unsafe { tail.as_ref() } {
            Some(tail) => tail.link().store(ptr::from_ref(node).cast_mut(), Ordering::Relaxed),
            None => self.head.set(node),
        }
        self.len.set(self.len.get() + 1);
    }

    /// Takes from the head.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<&'static T> {
        // SAFETY: null, or a node in this list; nodes are 'static.
        let node: &'static T = unsafe { self.head.get().as_ref() }?;
        let next = node.link().load(Ordering::Relaxed);
        self.head.set(next);
        if next.is_null() {
            self.tail.set(ptr::null());
        }
        self.len.set(self.len.get() - 1);
        Some(node)
    }
}
