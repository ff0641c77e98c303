//! Goroutine stacks: one reserved arena, slots of a power-of-two stride, guards, growth in place.
//!
//! The layer knows addresses and pages. What lies in a slot's header beyond [`Header`] is opaque to it, and it has no
//! thread-local and no notion of a worker.
//!
//! | file | job |
//! | --- | --- |
//! | `geometry` | address to slot to header to guards: pure arithmetic |
//! | `arena` | regions and slots; the shared lists; trimming |
//! | `commit` | open, cut back, give to the kernel |
//! | `grow` | SIGNAL-SAFE: move the soft guard |
//! | `fault` | SIGNAL-SAFE: fault address to growth or overflow report |
//! | `cache` | one worker's free slots |

pub(crate) mod arena;
pub(crate) mod cache;
pub(crate) mod commit;
pub(crate) mod fault;
pub(crate) mod geometry;
pub(crate) mod grow;

pub(crate) use arena::StackError;
pub(crate) use cache::Cache;
pub(crate) use geometry::{HEADER_BYTES, Header, MAX_STACK, MIN_STACK};
