//! What a runtime looks like from outside: the goroutine dump and the figures. Reads only.

mod dump;
mod metrics;

pub(crate) use dump::dump;

/// Tells the scheduler how goroutines are described, for its reports.
pub(crate) fn install() {
    crate::sched::seeded::set_dump(dump);
}

pub(crate) use metrics::metrics;
pub use metrics::{Metrics, WorkerMetrics};
