//! Collections whose storage is collected: they have no destructor, so that they may lie in a [`Gc`](crate::Gc), in cycles too. Their elements must have none either, which is checked when the program is compiled.
//!
//! Named and made like std's. What they outgrow is used again at once or freed by the sweep. `gc::serial` has what serde calls.
//!
//! | file | job |
//! | --- | --- |
//! | `storage` | the collected heap as an allocator |
//! | `vec` | [`Vec`] |
//! | `deque` | [`VecDeque`]: a vector with room on both sides |
//! | `string` | [`String`]: a vector of bytes |
//! | `hash_map`, `hash_set` | [`HashMap`], [`HashSet`]: hashbrown's table |
//! | `tree`, `tree_iter` | [`BTreeMap`]: a B-tree with wide nodes |

mod deque;
mod hash_map;
mod hash_set;
mod storage;
mod string;
mod tree;
mod tree_iter;
mod vec;

pub use deque::VecDeque;
pub use hash_map::{Entry, HashMap};
pub use hash_set::HashSet;
pub use string::String;
pub use tree::{BTreeEntry, BTreeMap};
pub use vec::Vec;
