//! One goroutine: its cell, its slot, its life, its waits. The layer knows no queue, no worker and no thread; where a
//! function has found somebody to wake, it returns them.
//!
//! | file | job |
//! | --- | --- |
//! | `cell` | the record of a goroutine (or of a plain thread that waits), closure and result included |
//! | `life` | who may free a cell, who may read the result: the join cell's protocol |
//! | `wake` | who may wake a waiter: episodes and claims |
//! | `place` | closure and result in the cell's payload |
//! | `slot` | the header of a stack slot and the switch |
//! | `body` | what runs on a slot: goroutine after goroutine |
//! | `unwind` | cancellation, `goexit`, and the marks they unwind with |
//! | `scope` | the count of a scope's children |
//! | `locals` | `task_local!` values |
//! | `roots` | what a goroutine holds, for the collector |

pub(crate) mod body;
pub(crate) mod cell;
pub(crate) mod life;
pub(crate) mod locals;
pub(crate) mod place;
pub(crate) mod roots;
pub(crate) mod scope;
pub(crate) mod slot;
pub(crate) mod unwind;
pub(crate) mod wake;

pub(crate) use cell::{Kind, Outcome, Task, TaskRef};
pub(crate) use slot::{Slot, SlotRef};
pub(crate) use wake::{Reason, Ticket, Wait};
