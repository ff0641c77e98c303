//! [`Lost`]: a goroutine that was found to wait for ever, and how it is cancelled. Called by `gc::leaks`.

use std::sync::atomic::Ordering;

use super::core::release_ref;
use super::ready;
use crate::base::meta;
use crate::routine::{Kind, Task, TaskRef};

/// A reference of a goroutine's cell.
pub(crate) struct Lost(TaskRef);

impl Lost {
    /// Takes over a reference that the caller has added.
    pub(crate) fn adopt(task: TaskRef) -> Self {
        Self(task)
    }

    pub(crate) fn task(&self) -> TaskRef {
        self.0
    }

    /// Bytes of its stack in use.
    pub(crate) fn stack_used(&self) -> usize {
        self.0.slot().map_or(0, |slot| slot.stack.top().saturating_sub(slot.suspended_sp.get()))
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        release_ref(self.0);
    }
}

/// Cancels the goroutine with that number. False if it has ended.
pub(crate) fn cancel(id: u64) -> bool {
    let mut is_found = false;
    meta::for_each_block(|block, _| {
        let task = Task::from_block(block);
        if is_found || task.id.load(Ordering::Relaxed) != id || !task.life.try_ref() {
            return;
        }
        // Again, now that the cell stays what it is.
        if task.kind.get() == Kind::Goroutine && task.id.load(Ordering::Relaxed) == id {
            is_found = true;
            ready::cancel(task);
        }
        release_ref(task);
    });
    is_found
}
