//! Which goroutine runs where and when. The waist of the crate: everything above blocks and wakes through what this
//! file lists, and nothing above knows a queue.
//!
//! In the order a goroutine travels:
//!
//! | file | job |
//! | --- | --- |
//! | `config` | what a runtime was asked for; the environment variables |
//! | `core` | one runtime's shared state: workers, injector, counts, closing |
//! | `ambient` | which runtime and which task am I |
//! | `spawn` | cell, closure, queue |
//! | `ready` | which queue a woken goroutine enters, and whom that wakes |
//! | `queue`, `biased`, `inbox` | the containers: a plain FIFO; what thieves may take; woken from elsewhere |
//! | `idle` | who sleeps, who searches, who is woken |
//! | `steal` | which victim, and what has aged enough |
//! | `worker` | one worker's state and its loop |
//! | `park` | suspend with an operation; what the worker does for it after the switch |
//! | `spin` | how long to look again before waiting |
//! | `blocking` | threads for what would keep a worker |
//! | `waitq` | the wait queue of all channels and locks |
//! | `panics` | std's panic count belongs to goroutines, not to threads |
//! | `poller`, `source` | which descriptors are ready, and who waits for one |
//! | `timeout` | deadlines that bound all waits of a closure |
//! | `timers` | arm, cancel, fire |
//! | `seeded` | the one worker of a test: its choices are drawn from a seed, its time is virtual |
//! | `ages` | how long who has waited |
//! | `quit` | SIGQUIT: all goroutines on standard error |
//! | `trace` | what happens, as small records |
//! | `lost` | one that waits for ever, to be described and cancelled |
//! | `stall` | whether all goroutines wait for ever |
//! | `monitor` | stuck workers, preemption, spares, trimming |
//! | `thread` | plain threads as waiters |

pub(crate) mod ages;
pub(crate) mod ambient;
pub(crate) mod biased;
pub(crate) mod blocking;
pub(crate) mod config;
pub(crate) mod core;
pub(crate) mod idle;
pub(crate) mod inbox;
#[cfg(feature = "gc")]
pub(crate) mod lost;
pub(crate) mod monitor;
pub(crate) mod panics;
pub(crate) mod park;
pub(crate) mod poller;
pub(crate) mod queue;
pub(crate) mod quit;
pub(crate) mod ready;
pub(crate) mod seeded;
pub(crate) mod source;
pub(crate) mod spawn;
pub(crate) mod spin;
pub(crate) mod stall;
pub(crate) mod steal;
pub(crate) mod thread;
pub(crate) mod timeout;
pub(crate) mod timers;
pub(crate) mod trace;
pub(crate) mod waitq;
pub(crate) mod worker;

pub(crate) use self::ambient::{current_core, current_goroutine, current_task, random, working_for};
pub(crate) use self::core::{Core, WorkerShared};
pub(crate) use self::park::{Commit, ParkOp, block, pass_safepoint, safepoint, yield_now};
pub(crate) use self::ready::ready;
pub(crate) use self::spawn::{Options, SpawnError, spawn};
