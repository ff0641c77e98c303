//! The figures of a runtime, and their text.

mod common;

use std::time::Duration;

use common::{on_goroutines, runtime, wait_until};
use greenroutine::sync::Mutex;
use greenroutine::{blocking, chan, go, runtime as current, scope, time, yield_now};

#[test]
fn they_count() {
    for free in [false, true] {
        let rt = runtime(2, free);
        rt.run(|| {
            for _ in 0..100 {
                go(yield_now).join().unwrap();
            }
            blocking(|| ());
            time::sleep(Duration::from_millis(1));
        });
        let metrics = rt.metrics();
        assert!(metrics.spawned >= 101, "{metrics:?}");
        let sum = |of: fn(&current::WorkerMetrics) -> u64| metrics.workers.iter().map(of).sum::<u64>();
        assert!(sum(|w| w.switches) >= 200, "{metrics:?}");
        assert!(sum(|w| w.parks) >= 1, "{metrics:?}");
        assert_eq!(sum(|w| w.finished), metrics.spawned, "{metrics:?}");
        assert!(metrics.timer_latency.count() >= 1, "{metrics:?}");
        assert_eq!(metrics.blocking_queued, 0);
        wait_until(|| rt.metrics().goroutines == 0);
    }
}

#[test]
fn wake_ups_are_timed() {
    let rt = runtime(1, false);
    wait_until(|| {
        rt.run(|| ());
        rt.metrics().wake_latency.count() > 0
    });
}

#[test]
fn queues_are_sampled() {
    let rt = runtime(1, false);
    rt.run(|| {
        scope(|s| {
            for _ in 0..10 {
                s.go(|| (0..2000).for_each(|_| yield_now()));
            }
        });
    });
    assert!(rt.metrics().queue_latency.count() > 0);
}

#[test]
fn waits_for_locks_are_sampled() {
    let rt = runtime(1, false);
    wait_until(|| {
        rt.run(|| {
            let lock = Mutex::new(());
            let guard = lock.lock();
            scope(|s| {
                s.go(|| drop(lock.lock()));
                yield_now();
                drop(guard);
            });
        });
        rt.metrics().lock_wait.count() > 0
    });
}

#[test]
fn states_are_counted() {
    on_goroutines(|| {
        let (s, r) = chan::<()>(0);
        let readers: Vec<_> = (0..5)
            .map(|_| {
                let r = r.clone();
                go(move || r.recv())
            })
            .collect();
        wait_until(|| current::states().get("chan receive") == Some(&5));
        assert_eq!(current::states().get("running"), Some(&1));
        drop(s);
        readers.into_iter().for_each(|reader| drop(reader.join()));
    });
}

#[test]
fn the_text_is_prometheus() {
    let rt = runtime(2, false);
    rt.run(|| time::sleep(Duration::from_millis(1)));
    let text = rt.metrics().prometheus();
    let mut names = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(names.insert(rest.split(' ').next().unwrap().to_owned()), "twice: {line}");
        } else if !line.starts_with("# HELP ") {
            let (name, rest) = line.split_once('{').unwrap_or_else(|| panic!("{line}"));
            let (labels, value) = rest.split_once("} ").unwrap_or_else(|| panic!("{line}"));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(names.contains(name) || names.contains(base.unwrap_or_default()), "{line}");
            assert!(labels.starts_with("runtime=\"greenroutine\""), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(
        text.contains("greenroutine_worker_switches_total{runtime=\"greenroutine\",worker=\"1\"}"),
        "{text}"
    );
    assert!(text.contains("greenroutine_timer_latency_seconds_count"), "{text}");
}

#[test]
#[cfg(feature = "gc")]
fn the_collector_is_among_the_figures() {
    use greenroutine::{Gc, gc};
    let before = greenroutine::run(current::metrics);
    let kept = Gc::new([7_usize; 4]);
    gc::collect();
    let after = greenroutine::run(current::metrics);
    assert!(after.gc_cycles > before.gc_cycles && after.gc_pauses > before.gc_pauses);
    assert!(after.gc_pause_max <= after.gc_pause_total && after.gc_heap_live >= 32);
    assert!(after.prometheus().contains("greenroutine_gc_cycles_total"));
    assert_eq!(*kept, [7; 4]);
}
