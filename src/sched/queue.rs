//! A plain FIFO of goroutines that only its worker may run, and what an injector holds.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::Ordering;

use crate::routine::{Task, TaskRef};

/// A task in the injector, which owns the right to run it.
#[derive(Clone, Copy)]
pub(crate) struct Runnable(pub(crate) TaskRef);

// SAFETY: whoever takes it out of the queue is the only one to run the goroutine, and the queue orders the hand-over. That
// what lies on a started goroutine's stack may change threads is what `free_migration` asks of the user; unstarted ones hold
// a closure that is Send.
unsafe impl Send for Runnable {}

/// A FIFO through the tasks' own links. Owned by one thread.
pub(crate) struct Fifo {
    head: Cell<*const Task>,
    tail: Cell<*const Task>,
    len: Cell<usize>,
}

impl Fifo {
    /// Empty.
    pub(crate) const fn new() -> Self {
        Self { head: Cell::new(ptr::null()), tail: Cell::new(ptr::null()), len: Cell::new(0) }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    /// Adds at the tail. The task is in no other list.
    #[inline(always)]
    pub(crate) fn push(&self, task: TaskRef) {
        task.link.store(ptr::null_mut(), Ordering::Relaxed);
        let tail = self.tail.replace(task);
        // SAFETY: null, or a task in this list; cells are mapped for ever.
        match unsafe { tail.as_ref() } {
            Some(tail) => tail.link.store(ptr::from_ref(task).cast_mut(), Ordering::Relaxed),
            None => self.head.set(task),
        }
        self.len.set(self.len.get() + 1);
    }

    /// Takes from the head.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<TaskRef> {
        // SAFETY: null, or a task in this list; cells are mapped for ever.
        let task: TaskRef = unsafe { self.head.get().as_ref() }?;
        let next = task.link.load(Ordering::Relaxed);
        self.head.set(next);
        if next.is_null() {
            self.tail.set(ptr::null());
        }
        self.len.set(self.len.get() - 1);
        Some(task)
    }
}
