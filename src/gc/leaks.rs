//! [`leaks`]: what is kept though nobody can use it.

#![forbid(unsafe_code)]

use std::fmt;

use super::{collector, reap};

/// Cycles that are run to let those go first that can.
const CYCLES: usize = 64;

/// Something that is kept for ever: [`leaks`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leak {
    /// Values with destructors ([`GcDrop`](super::GcDrop)) that nobody reaches, and that refer to each other in cycles, or are referred to from such a cycle: there is no order in which their destructors could run.
    Destructors {
        /// The types of the values, one entry for each, sorted.
        types: Vec<&'static str>,
    },
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destructors { types } => {
                write!(f, "{} values with destructors are kept by cycles among them:", types.len())?;
                for same in types.chunk_by(PartialEq::eq) {
                    write!(f, " {} {}", same.len(), same[0])?;
                }
                Ok(())
            }
        }
    }
}

/// Looks for what is kept for ever, with as many cycles as it takes to free what can be freed before, 64 at most: while the program goes on making values with destructors, something that
/// waits for others to go first may hide a leak from the report, and never adds a wrong one.
///
/// # Blocking
///
/// As [`collect`](super::collect), for each cycle.
///
/// # Examples
///
/// ```
/// use greenroutine::gc;
///
/// for leak in gc::leaks() {
///     eprintln!("{leak}");
/// }
/// ```
pub fn leaks() -> Vec<Leak> {
    for _ in 0..CYCLES {
        collector::collect();
        let stuck = reap::tables().stuck();
        if let Some(mut types) = stuck {
            types.sort_unstable();
            return if types.is_empty() { Vec::new() } else { vec![Leak::Destructors { types }] };
        }
    }
    Vec::new()
}
