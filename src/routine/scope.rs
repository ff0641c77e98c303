//! [`ScopeData`]: how many children of a scope are left, who waits for them, and the first panic that nobody joined.
//!
//! It lies in the owner's frame. The owner leaves only when the count is 0, so a child may touch it until its own decrement, and
//! not after: what the last child needs to wake the owner (the owner's cell) it reads before.

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cell::TaskRef;
use super::wake::{Reason, Wait};
use crate::base::lock::{Lock, Rank};

/// Whether the goroutine that had this id has ended.
fn is_over(task: TaskRef, id: u64) -> bool {
    task.life.is_done() || task.id.load(Ordering::Relaxed) != id
}

/// See the file's documentation.
pub(crate) struct ScopeData {
    /// Children that have not ended.
    pending: AtomicUsize,
    /// Who runs the scope: a goroutine or a plain thread.
    owner: TaskRef,
    /// The first panic of a child whose handle was dropped.
    panic: Lock<Option<Box<dyn Any + Send>>>,
    /// The children, to cancel them. Pruned of those that ended whenever it has doubled.
    children: Lock<Children>,
}

struct Children {
    /// Cell and id: a cell that serves another goroutine by now has another id.
    list: Vec<(TaskRef, u64)>,
    prune_at: usize,
}

// SAFETY: cells are 'static and their fields are for any thread to read as `cell` says.
unsafe impl Send for Children {}

impl ScopeData {
    /// A scope without children.
    pub(crate) fn new(owner: TaskRef) -> Self {
        Self {
            pending: AtomicUsize::new(0),
            owner,
            panic: Lock::new(Rank::Join, None),
            children: Lock::new(Rank::Join, Children { list: Vec::new(), prune_at: 64 }),
        }
    }

    /// One child more; before it is spawned.
    pub(crate) fn add(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// The child of `add` could not be spawned. Not the last decrement that the owner waits for: it is here.
    pub(crate) fn retract(&self) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }

    /// Remembers a child that was spawned; the caller holds a reference of its cell.
    pub(crate) fn remember(&self, child: TaskRef) {
        let mut children = self.children.lock();
        if children.list.len() >= children.prune_at {
            children.list.retain(|(task, id)| !is_over(task, *id));
            children.prune_at = (2 * children.list.len()).max(64);
        }
        children.list.push((child, child.id.load(Ordering::Relaxed)));
    }

    /// Takes a reference of each cell that a child was spawned in and that is in use, and passes it on with whether it is still that
    /// child: a cell may serve a stranger by now. The caller drops the reference.
    pub(crate) fn for_each_child(&self, mut visit: impl FnMut(TaskRef, bool)) {
        let list = self.children.lock().list.clone();
        for (task, id) in list {
            if task.life.try_ref() {
                // The reference keeps the cell from being reused, so the id is decisive now.
                visit(task, !is_over(task, id));
            }
        }
    }

    /// Whether children are left. SeqCst: the owner reads this after it published that it waits (see `done`).
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst) != 0
    }

    /// A child has ended. Returns the owner if this was the last one and the owner waits; the caller makes it ready.
    ///
    /// The decrement and the owner's wake word are one half of a store-buffering pattern, "owner is blocked" and
    /// `is_pending` the other; all four are SeqCst or separated by a SeqCst fence.
    #[must_use]
    pub(crate) fn done(&self) -> Option<TaskRef> {
        let owner = self.owner;
        // Release: the owner, who reads 0, sees what the child wrote to borrowed places.
        if self.pending.fetch_sub(1, Ordering::SeqCst) == 1 && owner.wake.claim_wait(Wait::Scope) {
            owner.reason.set(Reason::Ready);
            return Some(owner);
        }
        None
    }

    /// Keeps a panic that nobody joined, if it is the first.
    pub(crate) fn keep_panic(&self, payload: Box<dyn Any + Send>) -> Option<Box<dyn Any + Send>> {
        let mut kept = self.panic.lock();
        if kept.is_some() {
            return Some(payload);
        }
        *kept = Some(payload);
        None
    }

    /// Takes the panic that is to be rethrown.
    pub(crate) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.panic.lock().take()
    }
}
