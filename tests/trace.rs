//! Recorded traces: that they can be read, and say what happened.

mod common;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use common::{in_child, is_child, runtime, text, wait_until};
use greenroutine::runtime::trace;
use greenroutine::{chan, go, scope, task, time, yield_now};
use serde_json::Value;

/// One recording at a time in a process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Its events, and what holds for all of them.
fn events(text: &[u8]) -> Vec<Value> {
    let all: Value = serde_json::from_slice(text).expect("JSON");
    let events = all["traceEvents"].as_array().expect("a list").clone();
    let mut open: HashMap<u64, Vec<String>> = HashMap::new();
    for event in &events {
        let phase = event["ph"].as_str().expect("a phase");
        assert!(phase == "M" || event["ts"].as_f64().expect("a time") >= 0.0, "{event}");
        if phase == "X" {
            assert!(event["dur"].as_f64().expect("a duration") >= 0.0, "{event}");
        }
        if event["cat"] == "goroutine" {
            let parts = open.entry(event["id"].as_u64().expect("an id")).or_default();
            let name = event["name"].as_str().expect("a name").to_owned();
            match phase {
                "b" => parts.push(name),
                _ => assert_eq!(parts.pop(), Some(name), "what ends has begun: {event}"),
            }
        }
    }
    events
}

fn record(f: impl FnOnce()) -> Vec<Value> {
    let buffer = Buffer::default();
    trace::start(buffer.clone()).expect("starts");
    f();
    trace::stop().expect("stops");
    let text = buffer.0.lock().unwrap();
    events(&text)
}

/// The runs of a goroutine: why each stopped.
fn runs(events: &[Value], id: u64) -> Vec<String> {
    let name = format!("goroutine {id}");
    let of = events.iter().filter(|event| event["ph"] == "X" && event["name"] == name.as_str());
    of.map(|event| event["args"]["then"].as_str().unwrap().to_owned()).collect()
}

fn my_id() -> u64 {
    task::current().unwrap().id().as_u64()
}

#[test]
fn it_says_who_ran_and_why_they_stopped() {
    let _alone = alone();
    for free in [false, true] {
        let rt = runtime(1, free);
        rt.run(yield_now);
        let (mut sender, mut receiver, mut sleeper) = (0, 0, 0);
        let events = record(|| {
            rt.run(|| {
                let (s, r) = chan(0);
                let reads = go(move || (r.recv(), my_id()));
                let sends = go(move || {
                    yield_now();
                    s.send(1).unwrap();
                    my_id()
                });
                let sleeps = go(|| {
                    time::sleep(Duration::from_millis(1));
                    my_id()
                });
                (sender, receiver) = (sends.join().unwrap(), reads.join().unwrap().1);
                sleeper = sleeps.join().unwrap();
            });
        });
        assert_eq!(runs(&events, receiver), ["chan receive", "end"]);
        assert_eq!(runs(&events, sleeper), ["sleep", "end"]);
        let sent = runs(&events, sender);
        assert_eq!((sent[0].as_str(), sent.last().unwrap().as_str()), ("yield", "end"));
        let woke = format!("woken by goroutine {sender}");
        let arrow = events.iter().find(|event| event["ph"] == "s" && event["name"] == woke.as_str());
        let arrow = arrow.unwrap_or_else(|| panic!("{woke}"))["id"].clone();
        assert!(events.iter().any(|event| event["ph"] == "f" && event["id"] == arrow), "the arrow ends");
        assert!(events.iter().any(|event| event["ph"] == "s" && event["name"] == "timer"));
        let site = events.iter().find(|event| event["name"] == format!("goroutine {sender}").as_str());
        assert!(
            events.iter().any(|event| event["args"]["spawned"]
                .as_str()
                .is_some_and(|s| s.starts_with("tests/trace.rs"))),
            "{site:?}"
        );
        assert!(events.iter().any(|event| event["ph"] == "C"), "counters");
    }
}

#[test]
fn wake_ups_across_workers_are_told() {
    let _alone = alone();
    let (one, two) = (runtime(1, false), runtime(1, false));
    let (mut waker, mut woken) = (0, 0);
    let events = record(|| {
        let (s, r) = chan(0);
        let reads = one.go(move || (r.recv().unwrap(), my_id()));
        wait_until(|| one.dump().contains("[chan receive]"));
        waker = two.run(|| {
            s.send(()).unwrap();
            my_id()
        });
        woken = reads.join().unwrap().1;
    });
    let name = format!("woken by goroutine {waker}");
    let arrow = events.iter().find(|event| event["ph"] == "s" && event["name"] == name.as_str());
    let arrow = arrow.expect("the wake-up")["id"].clone();
    assert!(events.iter().any(|event| event["ph"] == "f" && event["id"] == arrow));
    assert_eq!(runs(&events, woken), ["chan receive", "end"]);
}

/// What the collector does is in a row of its own: each cycle, and in it its parts, pauses of the world among them.
#[cfg(feature = "gc")]
#[test]
fn the_collectors_phases_are_told() {
    let _alone = alone();
    let events = record(|| {
        runtime(2, false).run(|| {
            go(|| (0..1000).for_each(|n| _ = std::hint::black_box(greenroutine::Gc::new(n)))).join().unwrap();
            for _ in 0..3 {
                greenroutine::gc::collect();
            }
        });
    });
    let of = |name: &str| {
        let stretch = |event: &Value| {
            let (start, length) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
            (start, start + length)
        };
        let with = events.iter().filter(|event| event["ph"] == "X" && event["name"] == name);
        with.map(stretch).collect::<Vec<_>>()
    };
    let cycles = of("gc cycle");
    assert!(cycles.len() >= 3, "{cycles:?}");
    for (phase, at_least) in [("gc mark", 3), ("gc pause", 3), ("gc sweep", 3)] {
        let parts = of(phase);
        assert!(parts.len() >= at_least, "{phase}: {parts:?}");
        // Times are written with three digits after the microsecond.
        let within = |part: &(f64, f64)| {
            cycles.iter().any(|cycle| cycle.0 <= part.0 + 0.01 && part.1 <= cycle.1 + 0.01)
        };
        assert!(parts.iter().all(within), "{phase}: {parts:?} {cycles:?}");
    }
}

#[test]
fn a_storm_can_be_recorded_and_again() {
    let _alone = alone();
    for free in [false, true] {
        let rt = runtime(2, free);
        for _ in 0..3 {
            let events = record(|| {
                rt.run(|| {
                    scope(|s| {
                        for _ in 0..20 {
                            s.go(|| {
                                let (s, r) = chan(1);
                                go(move || (0..50).for_each(|n| s.send(n).unwrap()));
                                assert_eq!(r.iter().count(), 50);
                            });
                        }
                    });
                });
            });
            assert!(events.len() > 100);
        }
    }
}

#[test]
fn the_flight_recorder_keeps_the_last_records() {
    let _alone = alone();
    let rt = runtime(1, false);
    trace::flight_recorder().unwrap();
    assert_eq!(trace::start(io::sink()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    let id = rt.run(|| {
        (0..100_000).for_each(|_| yield_now());
        go(my_id).join().unwrap()
    });
    for _ in 0..2 {
        let mut text = Vec::new();
        trace::snapshot(&mut text).unwrap();
        let events = events(&text);
        assert_eq!(runs(&events, id), ["end"]);
        let count = events.iter().filter(|event| event["ph"] == "X").count();
        assert!((10_000..70_000).contains(&count), "{count}");
    }
    trace::stop().unwrap();
    trace::stop().unwrap();
}

#[test]
fn errors_of_the_writer_come_out_of_stop() {
    let _alone = alone();
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    trace::start(Full(100)).unwrap();
    runtime(1, false).run(|| (0..1000).for_each(|_| yield_now()));
    assert_eq!(trace::stop().unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_panic_writes_it() {
    let name = "a_panic_writes_it";
    let path = std::env::temp_dir().join(format!("greenroutine-trace-{}.json", std::process::id()));
    if is_child(name) {
        let path = std::env::var("TRACE_FILE").unwrap();
        trace::flight_recorder().unwrap();
        trace::write_on_panic(path);
        greenroutine::run(|| {
            yield_now();
            let _ = go(|| panic!("on purpose")).join();
        });
        return;
    }
    let output = in_child(name, |command| {
        command.env("TRACE_FILE", &path);
    });
    let text = text(&output);
    assert!(output.status.success() && text.contains("the trace until here is in"), "{text}");
    let written = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(events(&written).iter().any(|event| event["args"]["then"] == "yield"));
}
