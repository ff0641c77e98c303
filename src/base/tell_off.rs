//! The twin of `tell` for builds without the feature `tracing`: nothing is told, and nothing is left of it in the program.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "what is told to nobody is not read")]

use std::panic::Location;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Returned,
    Panicked,
    Cancelled,
    Exited,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cycle {
    pub(crate) number: u64,
    pub(crate) pause: Duration,
    pub(crate) mark: Duration,
    pub(crate) sweep: Duration,
    pub(crate) live: usize,
    pub(crate) in_use: usize,
}

#[inline(always)]
pub(crate) fn name(_: Option<&str>) -> Option<Box<str>> {
    None
}

#[inline(always)]
pub(crate) fn spawned(_: u64, _: Option<&str>, _: &Location<'_>) {}

#[inline(always)]
pub(crate) fn ended(_: u64, _: Option<&str>, _: End) {}

#[inline(always)]
pub(crate) fn stuck(_: u64, _: usize) {}

#[cfg(feature = "gc")]
#[inline(always)]
pub(crate) fn collected(_: Cycle) {}

#[inline(always)]
pub(crate) fn started(_: &str, _: usize) {}

#[inline(always)]
pub(crate) fn shut_down(_: &str) {}
