//! The channels in a model: everything is real but the ends, whose counting needs no model and whose names would bring in the runtime.

#![allow(unreachable_pub, reason = "what is public in the crate's channels has nobody to be public to here")]

#[path = "../channel/buffer.rs"]
pub(crate) mod buffer;
#[path = "../channel/buffered.rs"]
pub(crate) mod buffered;
#[path = "../channel/case.rs"]
pub(crate) mod case;
#[path = "../channel/err.rs"]
pub(crate) mod err;
#[path = "../channel/flavor.rs"]
pub(crate) mod flavor;
#[path = "../channel/list.rs"]
pub(crate) mod list;
#[path = "../channel/ring.rs"]
pub(crate) mod ring;
#[path = "../channel/wakers.rs"]
pub(crate) mod wakers;
#[path = "../channel/zero.rs"]
pub(crate) mod zero;

#[cfg(test)]
#[path = "../loom_models/channel.rs"]
mod models;
