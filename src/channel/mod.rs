//! Channels: how goroutines and threads talk. The API is crossbeam-channel's (0.5), name for name, with Go's semantics where that is silent: a program moves over
//! by changing its imports. Any number of senders and receivers, on goroutines of any runtime and on plain threads, in any mixture.
//!
//! | channel | made by | sending waits |
//! | --- | --- | --- |
//! | bounded | [`bounded`]`(n)`, [`chan`]`(n)` | while `n` messages are in it |
//! | without capacity | [`bounded`]`(0)` | for its receiver; the message goes from frame to frame |
//! | unbounded | [`unbounded`] | never |
//! | timers | [`after`], [`at`], [`tick`], [`never`](never()) | receivers only |
//!
//! A channel is disconnected when all senders or all receivers are gone, or by [`Sender::close`] or [`Receiver::close`]. Messages in it
//! are still received.
//!
//! [`select!`](crate::select!), [`select_biased!`](crate::select_biased!) and [`Select`] wait for one of several operations.
//!
//! # Examples
//!
//! ```
//! use greenroutine::channel::{self, bounded};
//! use greenroutine::{go, select};
//! use std::time::Duration;
//!
//! let (s, r) = bounded(0);
//! go(move || {
//!     for n in 0..3 {
//!         s.send(n).unwrap();
//!     }
//! });
//! let timeout = channel::after(Duration::from_secs(10));
//! let mut sum = 0;
//! loop {
//!     select! {
//!         recv(r) -> n => match n {
//!             Ok(n) => sum += n,
//!             Err(_) => break, // all senders are gone
//!         },
//!         recv(timeout) -> _ => panic!("too slow"),
//!     }
//! }
//! assert_eq!(sum, 3);
//! ```
//!
//! # Cost
//!
//! Sending, receiving and `select!` (up to 16 cases) allocate nothing; an unbounded channel allocates a block every 31 messages. A buffered operation that need
//! not wait is one locked instruction and takes no lock.
//!
//! # In the source
//!
//! What is on the path of a message is inlined always, but not in debug builds: there every copy of a message has a place of its own in the frame, and one frame for all flavors would be
//! too large for messages of some tens of kilobytes.
//!
//! A message's path: `ends` ([`Sender`], [`Receiver`]) → `flavor` (what every kind does) → `buffered` over `ring` or `list` (which have `buffer` in common), or
//! `zero`, or `timed` → [`crate::sched::waitq`] to wait. `case` chooses among several, for `select` and `macros`; `handle` makes cases of ends. `wakers` has the futures of `future`, which wait beside the queue. `err` and `iter` are what they say.

mod buffer;
mod buffered;
mod case;
mod ends;
mod err;
mod flavor;
mod future;
mod handle;
mod iter;
mod list;
mod macros;
mod ring;
mod select;
mod timed;
mod wakers;
mod zero;

pub(crate) use self::ends::of_clock;
pub use self::ends::{Receiver, Sender, after, at, bounded, chan, never, tick, unbounded};
pub use self::err::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError, SendTimeoutError,
    TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
pub use self::future::{RecvFuture, RecvStream, SendFuture};
pub use self::iter::{IntoIter, Iter, TryIter};
pub use self::select::{Select, SelectedOperation};
pub(crate) use self::timed::Clock;
pub use crate::{select, select_biased};

/// What the macros expand to. Not an interface.
#[doc(hidden)]
pub mod __private {
    pub use super::macros::{no_case, recv_case, select, select_timeout, send_case, try_select};
    pub use std::option::Option::{None, Some};
}
