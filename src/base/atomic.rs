//! The atomics of the layers above: std's, or loom's when the model checker runs (`--cfg loom`).
//!
//! `Cell` is among them for the models' sake: loom's finds two threads in it at once. Everything that threads race on goes through here, so that a model of it is a model of the real code.

#[cfg(not(loom))]
pub(crate) use std::cell::Cell;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::cell::Cell;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
