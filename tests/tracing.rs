//! What the runtime tells the program's log (feature `tracing`), heard by a subscriber that keeps it all.
#![cfg(feature = "tracing")]

mod common;

use std::fmt::{Debug, Write};
use std::sync::Mutex;
use std::time::Duration;

#[cfg(feature = "gc")]
use common::wait_until;
use greenroutine::{Runtime, chan, go, task};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Level, message and fields of each event, as a line.
static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Ears;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => drop(write!(self.0, " {value:?}")),
            name => drop(write!(self.0, " {name}={value:?}")),
        }
    }
}

impl Subscriber for Ears {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "greenroutine"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        HEARD.lock().unwrap().push(line.0);
        // Under no lock of the library's: all of it can be used from here.
        greenroutine::runtime::num_goroutines();
        #[cfg(feature = "gc")]
        std::hint::black_box(greenroutine::Gc::new(1));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn heard(parts: &[&str]) -> bool {
    let lines = HEARD.lock().unwrap();
    lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn goroutines_runtimes_and_collections_are_told() {
    tracing::subscriber::set_global_default(Ears).unwrap();
    for free in [false, true] {
        HEARD.lock().unwrap().clear();
        let runtime = common::runtime(2, free);
        assert!(heard(&["DEBUG", "runtime started", "workers=2"]));
        runtime.run(|| {
            task::Builder::new().name("worker bee").spawn(|| ()).unwrap().join().unwrap();
            assert!(heard(&["TRACE", "goroutine spawned", "name=\"worker bee\"", "tracing.rs"]));
            assert!(heard(&["TRACE", "goroutine ended", "name=\"worker bee\""]));

            let quiet = std::panic::take_hook();
            std::panic::set_hook(Box::new(|_| ()));
            let handle = go(|| panic!("on purpose"));
            let id = format!("id={} ", handle.id());
            assert!(handle.join().unwrap_err().is_panic());
            std::panic::set_hook(quiet);
            // A goroutine that is waited for has told before.
            let lines = HEARD.lock().unwrap().clone();
            let panicked = lines
                .iter()
                .any(|line| format!("{line} ").contains(&id) && line.contains("goroutine panicked"));
            assert!(panicked, "{id}: {lines:?}");

            let (_s, r) = chan::<()>(0);
            let waits = go(move || r.recv());
            waits.cancel();
            assert!(waits.join().unwrap_err().is_cancelled());
            assert!(heard(&["DEBUG", "goroutine cancelled"]));

            go(|| task::goexit()).join().unwrap_err();
            assert!(heard(&["TRACE", "goroutine exited"]));
        });
        #[cfg(feature = "gc")]
        {
            greenroutine::gc::collect();
            if greenroutine::gc::stats().backend != greenroutine::gc::Backend::Off {
                wait_until(|| heard(&["DEBUG", "gc cycle", "number=", "pause=", "live="]));
            }
        }
        drop(runtime);
        assert!(heard(&["DEBUG", "runtime shut down"]));
    }
    one_that_keeps_its_worker();
}

fn one_that_keeps_its_worker() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        // Until it is told: that takes a time slice.
        while !heard(&["DEBUG", "keeps its worker", "worker=0"]) {
            std::hint::spin_loop();
        }
    });
    assert!(runtime.shutdown(Duration::from_secs(60)));
}
