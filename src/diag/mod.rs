//! What a runtime looks like from outside: the goroutine dump and the figures. Reads only.

mod dump;
mod metrics;

pub(crate) use dump::dump;
pub(crate) use metrics::metrics;
pub use metrics::{Metrics, WorkerMetrics};
