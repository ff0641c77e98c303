//! `on` without the feature `backtrace`: nobody's frames are known.

use super::Symbol;

/// As the real one.
pub(crate) fn prepare() {}

/// None.
pub(crate) fn capture(_: &mut [u64], _: usize) -> usize {
    0
}

/// None.
pub(super) fn names(_: u64) -> Vec<Symbol> {
    Vec::new()
}
