//! Values of `task_local!`: a goroutine's own map from key to value. Few keys are in use at once, so the map is a list.

#![forbid(unsafe_code)]

use std::any::Any;

/// The address of the key's static names it.
#[derive(Default)]
pub(crate) struct Locals {
    entries: Vec<(usize, Box<dyn Any>)>,
}

impl Locals {
    /// Where the value of a key lies, if it was made. It stays there until it is popped.
    pub(crate) fn get_raw(&self, key: usize) -> Option<*const dyn Any> {
        self.entries.iter().find(|(k, _)| *k == key).map(|(_, value)| std::ptr::from_ref(&**value))
    }

    /// Adds a value, unless the key has one by now; then it is handed back, for the caller to drop when it no longer borrows the list.
    pub(crate) fn insert(&mut self, key: usize, value: Box<dyn Any>) -> Option<Box<dyn Any>> {
        if self.get_raw(key).is_some() {
            return Some(value);
        }
        self.entries.push((key, value));
        None
    }

    /// Takes a value out, the last made first: the order in which they are dropped.
    pub(crate) fn pop(&mut self) -> Option<Box<dyn Any>> {
        self.entries.pop().map(|(_, value)| value)
    }
}
