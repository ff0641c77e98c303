//! The figures in Prometheus' text format (version 0.0.4), and, with the feature `metrics`, for whatever recorder of that crate is installed.
#![forbid(unsafe_code)]

use std::fmt::{Display, Write};

use super::{Distribution, Metrics, WorkerMetrics};

/// What a figure is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only up.
    Counter,
}

/// Name, what it is, what it says, where it is.
type Row<T> = (&'static str, Kind, &'static str, fn(&T) -> u64);

const RUNTIME: &[Row<Metrics>] = &[
    ("goroutines", Kind::Gauge, "Goroutines that have not ended.", |m| m.goroutines),
    ("spawned_total", Kind::Counter, "Goroutines spawned.", |m| m.spawned),
    ("injected", Kind::Gauge, "Goroutines from outside that no worker has taken.", |m| m.injected as u64),
    ("workers", Kind::Gauge, "Regular workers.", |m| m.regular_workers as u64),
    ("spares", Kind::Gauge, "Spare workers started.", |m| (m.workers.len() - m.regular_workers) as u64),
    ("blocking_threads", Kind::Gauge, "Threads of the blocking pool.", |m| m.blocking_threads as u64),
    ("blocking_busy", Kind::Gauge, "Busy threads of the blocking pool.", |m| m.blocking_busy as u64),
    ("blocking_queued", Kind::Gauge, "Calls that wait for such a thread.", |m| m.blocking_queued as u64),
    ("descriptors", Kind::Gauge, "Sockets registered.", |m| m.descriptors as u64),
    ("stuck_total", Kind::Counter, "Workers seen stuck for 10 ms.", |m| m.stuck as u64),
    ("stacks_out", Kind::Gauge, "Stacks in use or at hand, of all runtimes.", |m| m.stacks_out as u64),
    ("stacks_warm", Kind::Gauge, "Free stacks that are open, of all runtimes.", |m| m.stacks_warm as u64),
    ("stacks_cold", Kind::Gauge, "Free stacks that were given back, of all runtimes.", |m| {
        m.stacks_cold as u64
    }),
    ("stacks_reserved_bytes", Kind::Gauge, "Address space of all stacks.", |m| m.stacks_reserved as u64),
    ("stacks_grown_total", Kind::Counter, "Times a stack has grown.", |m| m.stacks_grown),
    #[cfg(feature = "gc")]
    ("gc_cycles_total", Kind::Counter, "Cycles of the collector.", |m| m.gc_cycles),
    #[cfg(feature = "gc")]
    ("gc_heap_live_bytes", Kind::Gauge, "Collected objects alive, and made since.", |m| {
        m.gc_heap_live as u64
    }),
    #[cfg(feature = "gc")]
    ("gc_pauses_total", Kind::Counter, "Times the world was stopped.", |m| m.gc_pauses),
    #[cfg(feature = "gc")]
    ("gc_pause_nanoseconds_total", Kind::Counter, "Time the world was stopped.", |m| {
        m.gc_pause_total.as_nanos() as u64
    }),
    #[cfg(feature = "gc")]
    ("gc_pause_nanoseconds_max", Kind::Gauge, "The longest stop of the world.", |m| {
        m.gc_pause_max.as_nanos() as u64
    }),
];

const WORKER: &[Row<WorkerMetrics>] = &[
    ("worker_switches_total", Kind::Counter, "Times a goroutine was run.", |w| w.switches),
    ("worker_parks_total", Kind::Counter, "Times a goroutine parked.", |w| w.parks),
    ("worker_spawned_total", Kind::Counter, "Goroutines spawned.", |w| w.spawned),
    ("worker_finished_total", Kind::Counter, "Goroutines that ended.", |w| w.finished),
    ("worker_steals_total", Kind::Counter, "Batches stolen from others.", |w| w.steals),
    ("worker_wakes_total", Kind::Counter, "Times another worker was woken.", |w| w.wakes),
    ("worker_sleeps_total", Kind::Counter, "Times it went to sleep.", |w| w.sleeps),
    ("worker_preemptions_total", Kind::Counter, "Time slices that were over.", |w| w.preemptions),
    ("worker_queued", Kind::Gauge, "Goroutines that wait to be started.", |w| w.queued as u64),
    ("worker_timers", Kind::Gauge, "Timers armed.", |w| w.timers as u64),
];

/// Name, what it says, where it is.
type Latency = (&'static str, &'static str, fn(&Metrics) -> &Distribution);

const LATENCIES: &[Latency] = &[
    ("queue_latency_seconds", "Time in the run queue, sampled.", |m| &m.queue_latency),
    ("wake_latency_seconds", "Time until a woken worker runs.", |m| &m.wake_latency),
    ("timer_latency_seconds", "How late timers go off.", |m| &m.timer_latency),
    ("lock_wait_seconds", "Waits for mutexes, an eighth of them.", |m| &m.lock_wait),
];

impl Metrics {
    /// The figures in Prometheus' text format, to be served as `text/plain; version=0.0.4`. All names begin with `greenroutine_`; the label `runtime` is the runtime's name.
    ///
    /// # Examples
    ///
    /// ```
    /// let text = greenroutine::run(|| greenroutine::runtime::metrics().prometheus());
    /// assert!(text.contains("\ngreenroutine_goroutines{runtime=\"greenroutine\"} 1\n"));
    /// ```
    pub fn prometheus(&self) -> String {
        let mut out = String::new();
        let runtime = format!("runtime=\"{}\"", escaped(&self.name));
        for (name, kind, help, value) in RUNTIME {
            head(&mut out, name, *kind, help);
            line(&mut out, name, &runtime, value(self));
        }
        for (name, kind, help, value) in WORKER {
            head(&mut out, name, *kind, help);
            for (number, worker) in self.workers.iter().enumerate() {
                line(&mut out, name, &format!("{runtime},worker=\"{number}\""), value(worker));
            }
        }
        for (name, help, of) in LATENCIES {
            histogram(&mut out, name, help, &runtime, of(self));
        }
        out
    }

    /// Sets the figures as counters and gauges of the crate `metrics`, for whatever recorder is installed; of distributions the median, the 99th percentile and the count.
    #[cfg(feature = "metrics")]
    pub fn record(&self) {
        let set = |name: String, kind: Kind, labels: Vec<metrics::Label>, value: u64| match kind {
            Kind::Counter => metrics::counter!(name, labels).absolute(value),
            Kind::Gauge => metrics::gauge!(name, labels).set(value as f64),
        };
        let label = metrics::Label::new("runtime", self.name.clone());
        for (name, kind, _, value) in RUNTIME {
            set(format!("greenroutine_{name}"), *kind, vec![label.clone()], value(self));
        }
        for (name, kind, _, value) in WORKER {
            for (number, worker) in self.workers.iter().enumerate() {
                let labels = vec![label.clone(), metrics::Label::new("worker", number.to_string())];
                set(format!("greenroutine_{name}"), *kind, labels, value(worker));
            }
        }
        for (name, _, of) in LATENCIES {
            let distribution = of(self);
            for (quantile, value) in [("0.5", distribution.p50()), ("0.99", distribution.p99())] {
                let labels = vec![label.clone(), metrics::Label::new("quantile", quantile)];
                metrics::gauge!(format!("greenroutine_{name}"), labels).set(value.as_secs_f64());
            }
            let name = format!("greenroutine_{name}_count");
            set(name, Kind::Counter, vec![label.clone()], distribution.count());
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn head(out: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = if kind == Kind::Counter { "counter" } else { "gauge" };
    let _ = writeln!(out, "# HELP greenroutine_{name} {help}\n# TYPE greenroutine_{name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = writeln!(out, "greenroutine_{name}{{{labels}}} {value}");
}

fn histogram(out: &mut String, name: &str, help: &str, labels: &str, of: &Distribution) {
    let _ = writeln!(out, "# HELP greenroutine_{name} {help}\n# TYPE greenroutine_{name} histogram");
    for (bound, count) in of.cumulative() {
        line(out, &format!("{name}_bucket"), &format!("{labels},le=\"{}\"", bound.as_secs_f64()), count);
    }
    line(out, &format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), of.count());
    line(out, &format!("{name}_sum"), labels, of.total().as_secs_f64());
    line(out, &format!("{name}_count"), labels, of.count());
}
