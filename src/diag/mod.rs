//! What a runtime looks like from outside: the goroutine dump and the figures. Reads only.

mod distribution;
mod dump;
#[cfg(feature = "backtrace")]
mod frames;
#[cfg(not(feature = "backtrace"))]
#[path = "frames_off.rs"]
mod frames;
mod metrics;
mod prometheus;
pub(crate) mod trace;

#[cfg(feature = "gc")]
pub(crate) use dump::backtraces;
pub(crate) use dump::dump;

pub use distribution::Distribution;
pub use metrics::{Metrics, WorkerMetrics};
pub(crate) use metrics::{metrics, states};
