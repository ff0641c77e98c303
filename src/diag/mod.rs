//! What a runtime looks like from outside: the goroutine dump and the figures. Reads only.

mod dump;
#[cfg(feature = "backtrace")]
mod frames;
#[cfg(not(feature = "backtrace"))]
#[path = "frames_off.rs"]
mod frames;
mod metrics;

pub(crate) use dump::dump;

pub(crate) use metrics::metrics;
pub use metrics::{Metrics, WorkerMetrics};
