//! Tools without a notion of goroutine or object: atomics that the model checker can replace, locks, lists' primitives,
//! a random generator, hashing, cell memory, what is told to the program's log, and the end of the process.
//!
//! Order of dependence: `atomic` <- `fence` <- `lock` <- `bias`, `early_lock`, `meta`; the rest stand alone.

pub(crate) mod atomic;
pub(crate) mod bias;
#[cfg(not(loom))]
pub(crate) mod early_lock;
#[cfg(not(loom))]
pub(crate) mod fatal;
pub(crate) mod fence;
#[cfg(not(loom))]
pub(crate) mod hash;
#[cfg(not(loom))]
pub(crate) mod histogram;
#[cfg(not(loom))]
pub(crate) mod lock;
#[cfg(loom)]
#[path = "../loom_twins/lock.rs"]
pub(crate) mod lock;
#[cfg(not(loom))]
pub(crate) mod meta;
#[cfg(not(loom))]
pub(crate) mod parse;
#[cfg(not(loom))]
pub(crate) mod rng;
#[cfg(not(loom))]
pub(crate) mod tell;

pub(crate) use crossbeam_utils::CachePadded;
#[cfg(not(loom))]
pub(crate) use fatal::{AbortGuard, fatal};
