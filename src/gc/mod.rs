//! The collected heap: [`Gc<T>`] is a `Copy` pointer to a value that lives as long as anybody can reach it, and memory that nobody reaches comes back by itself.
//!
//! ```
//! use greenroutine::Gc;
//! use greenroutine::sync::Mutex;
//!
//! struct Node {
//!     name: Gc<str>,
//!     links: Mutex<Option<Gc<Node>>>,
//! }
//!
//! // A cycle, with nothing to free: when nobody has `a` or `b` any more, both go.
//! let a = Gc::new(Node { name: Gc::from("a"), links: Mutex::new(None) });
//! let b = Gc::new(Node { name: Gc::from("b"), links: Mutex::new(Some(a)) });
//! *a.links.lock() = Some(b);
//! assert_eq!(&*a.links.lock().unwrap().name, "b");
//! ```
//!
//! # Where a `Gc` may be
//!
//! Anywhere that safe Rust can keep a word: in locals, across every blocking call, in a `Box`, a `Vec`, an `Arc<Mutex<..>>`, a static, a thread-local, a channel, the closure of a goroutine
//! that has not started, a panic's payload. There is no `Trace` to implement, no root to register, no barrier. The collector reads stacks, registers, thread-locals, statics and every
//! allocation of the program that may hold a pointer, word by word (it is *conservative*: what looks like a pointer counts as one), which it can because the
//! program's allocator is the crate's ([`heap`](crate::heap)).
//!
//! # What has no destructor
//!
//! A collected value is freed without running anything, so `Gc::new` takes types without destructor only; that is checked when the program is compiled. `Gc` itself, numbers, references, atomics, and
//! this crate's locks have none.
//!
//! # Limits
//!
//! A `Gc` must lie where a word lies, at an address that is a multiple of eight. Safe code cannot place it otherwise, but code that copies values as bytes into `Vec<u8>` (type-erased command queues),
//! or keeps them compressed, XORed or encrypted, hides them. So does memory that is not of this heap: what C code allocates, mapped files. [`roots::add`] shows such memory to the
//! collector, and [`Root`] keeps one object alive on behalf of code that it cannot see.
//!
//! A second copy of this crate in the same process has a heap of its own that this one does not see; and where the program's allocator is not this crate's,
//! [`Gc::new`] panics and says so.
//!
//! # serde
//!
//! With the feature `serde` the collections are read and written as std's of the same name, and a [`Gc<T>`], `Gc<str>` or `Gc<[T]>` as what it points to. What two pointers share is written twice
//! and read as two objects, as with `Rc`; what leads to itself has no end, and overflows the stack.
//!
//! # Environment
//!
//! | variable | meaning |
//! | --- | --- |
//! | `GREENROUTINE_GC_PERCENT` | [`set_percent`]: a number, or `off` |
//! | `GREENROUTINE_MEMORY_LIMIT` | [`set_memory_limit`]: bytes, with a suffix such as `MiB`, or `off` |
//! | `GREENROUTINE_GC` | `backend=auto`, `uffd`, `stw` or `off`; `trace=1`: a line on standard error for each cycle; `check=poison`, `dirty`, `noscan` or `none`: see below. Separated by commas |
//!
//! # Checks
//!
//! For whoever suspects the collector, the kernel, or a trick with pointers of having lost an object: `GREENROUTINE_GC=check=dirty,check=noscan,check=poison`, or some of them.
//!
//! | check | what it finds | what it says | cost |
//! | --- | --- | --- | --- |
//! | `poison` | code that reads what was freed: freed objects are overwritten with `0xDB` | nothing: the program reads nonsense and fails soon | the sweep writes all that it frees |
//! | `dirty` | a kernel that does not tell of every page that was written (backend `uffd`) | names the page and aborts | both stops of a cycle read the whole heap |
//! | `noscan` | references hidden in what is never read: byte strings, packed structures, `Gc<[u8]>` | where it lies and what it would have kept alive, up to 16 a cycle. Numbers may look like references: a hint, no proof | the last stop reads those blocks, at every byte |

mod alloc;
mod cleanup;
mod collections;
mod collector;
mod concurrent;
mod config;
mod cycle;
mod drop;
mod finalizer;
mod found;
mod goroutines;
pub mod heap_profile;
mod leaks;
mod mark;
mod pile;
mod ptr;
mod reap;
pub mod roots;
mod scan;
mod search;
#[cfg(feature = "serde")]
mod serial;
mod slot;
mod stats;
mod throttle;
mod unique;
mod verify;
mod weak;
mod weak_map;
mod why;
mod words;

pub use cleanup::{Cleanup, on_collect};
pub use collections::{BTreeEntry, BTreeMap, Entry, HashMap, HashSet, String, Vec, VecDeque};
pub(crate) use collector::figures;
pub use collector::{PauseGuard, collect, pause_guard, set_memory_limit, set_percent};
pub use drop::{GcDrop, Pinned};
pub use leaks::{Leak, leaks};
pub use ptr::Gc;
pub use roots::Root;
pub use slot::{Slot, SlotOption};
pub use stats::{Backend, Pauses, Stats, stats};
pub use unique::{Unique, unique};
pub use weak::Weak;
pub use weak_map::WeakMap;
pub use why::{Path, RootKind, Step, why_alive};

#[doc(hidden)]
pub use crate::__gc_unsize as unsize;
