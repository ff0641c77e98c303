//! Frames: from registers outwards by the tables for unwinding, as profilers do it; and names for code addresses, as std does it. Called by `diag` (goroutines that wait) and `gc` (who
//! allocates).
//!
//! The twin `off` has the same functions for builds without the feature `backtrace`: nobody's frames are known.

use std::fmt;

#[cfg(not(feature = "backtrace"))]
#[path = "off.rs"]
mod imp;
#[cfg(feature = "backtrace")]
#[path = "on.rs"]
mod imp;

pub(crate) use imp::{capture, prepare};
#[cfg(feature = "backtrace")]
pub(crate) use imp::{registers, unwinder};

/// A function at a code address: one of several where calls were inlined.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Symbol {
    pub(crate) function: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
}

/// Functions that stand on top of a waiting goroutine, at the bottom of every one, or between who allocates and the heap: the runtime's own and std's.
const OWN_NAMES: &[&str] =
    &["stack_init_trampoline", "__rust_try", "__rust_alloc", "__rustc::", "corosensei_"];
/// The files of others like them; inlined ones have no more than that.
const OWN_FILES: &[&str] = &[
    "/corosensei-",
    "/backtrace-0",
    "/library/alloc/src/alloc.rs",
    "/library/core/src/alloc/",
    "/library/core/src/ops/function.rs",
    "/library/core/src/panic/unwind_safe.rs",
    "/library/std/src/panic.rs",
    "/library/std/src/panicking.rs",
];
/// Folders and files of this crate.
const OWN_FOLDERS: &[&str] =
    &["arch/", "routine/", "sched/", "diag/", "frames/", "heap/", "gc/alloc.rs", "gc/heap_profile.rs"];

/// The functions at an address, the inner ones first, with their places, without the runtime's own. It takes much stack: more than a goroutine may have.
pub(crate) fn names(address: u64) -> Vec<Symbol> {
    let mut names = imp::names(address);
    names.retain(|symbol| !symbol.is_own());
    names
}

impl Symbol {
    /// Whether it is the runtime's own, and nothing that its users want to see.
    fn is_own(&self) -> bool {
        let file = self.file.as_deref().unwrap_or("");
        let source = file!().trim_end_matches("frames/mod.rs");
        let inside = file.rfind(source).map_or("", |at| &file[at + source.len()..]);
        OWN_NAMES.iter().any(|own| self.function.starts_with(own))
            || OWN_FILES.iter().any(|own| file.contains(own))
            || OWN_FOLDERS.iter().any(|own| inside.starts_with(own))
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " at {file}:{line}"),
            _ => Ok(()),
        }
    }
}
