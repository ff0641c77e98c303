//! What a runtime looks like from outside: the goroutine dump and the figures. Reads only.

mod distribution;
mod dump;
#[cfg(feature = "backtrace")]
mod frames;
#[cfg(not(feature = "backtrace"))]
#[path = "frames_off.rs"]
mod frames;
mod metrics;
#[cfg(feature = "pprof")]
mod profile;
mod prometheus;
pub(crate) mod trace;

#[cfg(feature = "gc")]
pub(crate) use dump::backtraces;
pub(crate) use dump::dump;
#[cfg(feature = "pprof")]
pub(crate) use profile::write_pprof;

pub use distribution::Distribution;
pub use metrics::{Metrics, WorkerMetrics};
pub(crate) use metrics::{metrics, states};
