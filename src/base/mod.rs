//! Tools without a notion of goroutine or object: atomics that the model checker can replace, locks, lists' primitives,
//! a random generator, cell memory, and the end of the process.
//!
//! Order of dependence: `atomic` <- `fence` <- `lock` <- `meta`; the rest stand alone.

pub(crate) mod atomic;
pub(crate) mod fatal;
pub(crate) mod fence;
pub(crate) mod lock;
pub(crate) mod meta;
pub(crate) mod rng;

pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use fatal::{AbortGuard, fatal};
