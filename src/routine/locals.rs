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
    pub(crate) fn get_raw(&self, key: usize) -> Option<*const ()> {
        self.entries.iter().find(|(k, _)| *k == key).map(|(_, value)| std::ptr::from_ref(&**value).cast())
    }

    /// Adds a value, unless the key has one by now, and says where it lies.
    pub(crate) fn insert(&mut self, key: usize, value: Box<dyn Any>) -> *const () {
        if let Some(present) = self.get_raw(key) {
            return present;
        }
        let at = std::ptr::from_ref(&*value).cast();
        self.entries.push((key, value));
        at
    }

    /// Takes a value out, the last made first: the order in which they are dropped.
    pub(crate) fn pop(&mut self) -> Option<Box<dyn Any>> {
        self.entries.pop().map(|(_, value)| value)
    }
}
