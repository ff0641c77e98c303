//! The atomics of the layers above: std's, or loom's when the model checker runs (`--cfg loom`).
//!
//! Everything that threads race on goes through here, so that a model of it is a model of the real code.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
