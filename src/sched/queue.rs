//! The two containers of a worker: a plain FIFO of goroutines that only it may run, and the deque that thieves may take
//! from.
//!
//! The deque is crossbeam's Chase-Lev deque in its FIFO flavor: a LIFO would starve the oldest and break `yield_now`. Its
//! `push` may touch a thread-local (epoch reclamation, when the buffer grows), so it is never inlined into code that runs
//! on a goroutine: the address of the thread-local would be kept across a switch.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::Ordering;

use crossbeam_deque as deque;

use crate::routine::{Task, TaskRef};

/// A task in a deque: the queue owns the right to run it.
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

/// The deque's owner side.
pub(crate) struct Deque(deque::Worker<Runnable>);

/// The deque's thief side.
#[derive(Clone)]
pub(crate) struct Thief(deque::Stealer<Runnable>);

impl Deque {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self(deque::Worker::new_fifo())
    }

    /// The other side.
    pub(crate) fn thief(&self) -> Thief {
        Thief(self.0.stealer())
    }

    /// Adds at the tail.
    #[inline(never)]
    pub(crate) fn push(&self, task: TaskRef) {
        self.push_here(task);
    }

    /// The same, for callers that are never inlined themselves.
    #[inline(always)]
    pub(crate) fn push_here(&self, task: TaskRef) {
        self.0.push(Runnable(task));
    }

    /// Takes from the head.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<TaskRef> {
        self.0.pop().map(|runnable| runnable.0)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes a batch from a victim (half, at most 32): the first to run now, the rest into this deque.
    pub(crate) fn steal_from(&self, victim: &Thief) -> Option<TaskRef> {
        loop {
            match victim.0.steal_batch_and_pop(&self.0) {
                deque::Steal::Success(runnable) => return Some(runnable.0),
                deque::Steal::Empty => return None,
                deque::Steal::Retry => {}
            }
        }
    }

    /// Takes a batch from the injector.
    pub(crate) fn take_from(&self, injector: &deque::Injector<Runnable>) -> Option<TaskRef> {
        loop {
            match injector.steal_batch_and_pop(&self.0) {
                deque::Steal::Success(runnable) => return Some(runnable.0),
                deque::Steal::Empty => return None,
                deque::Steal::Retry => {}
            }
        }
    }
}

impl Thief {
    /// How many wait, roughly.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing waits, as of some moment during the call.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
