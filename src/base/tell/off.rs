//! Nothing is told, and nothing is left of it in the program.
#![forbid(unsafe_code)]

use std::panic::Location;

#[cfg(feature = "gc")]
use super::Cycle;
use super::End;

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
