//! The goroutine profile: who is counted where, its labels, its form.
#![cfg(feature = "pprof")]

mod common;
#[path = "common/pprof.rs"]
mod pprof;

use std::process::Command;

use common::{on_goroutines, outer_of_the_receiver, runtime, wait_until};
use greenroutine::sync::Mutex;
use greenroutine::{chan, go, scope, task};
use pprof::{Parsed, Sample};

#[inline(never)]
fn profile() -> Parsed {
    let mut out = Vec::new();
    greenroutine::runtime::dump_pprof(&mut out).expect("a vector takes all");
    let parsed = pprof::read(&out);
    assert_eq!(parsed.types, ["goroutine/count"]);
    std::hint::black_box(parsed)
}

fn with<'a>(parsed: &'a Parsed, label: &str, text: &str) -> Vec<&'a Sample> {
    parsed.samples.iter().filter(|sample| sample.labels.get(label).is_some_and(|is| is == text)).collect()
}

/// Where a function stands in a stack. Debug information has either the whole path or the name alone.
fn place(sample: &Sample, function: &str) -> Option<usize> {
    sample.functions.iter().position(|name| name.rsplit("::").next() == Some(function))
}

#[test]
fn goroutines_that_are_alike_are_one_sample() {
    on_goroutines(|| {
        let (s, r) = chan::<()>(0);
        let mut all: Vec<_> = (0..100)
            .map(|_| {
                let r = r.clone();
                go(move || outer_of_the_receiver(&r))
            })
            .collect();
        for _ in 0..7 {
            let r = r.clone();
            all.push(
                task::Builder::new()
                    .name("the reader")
                    .spawn(move || outer_of_the_receiver(&r))
                    .expect("room"),
            );
        }
        common::wait_for_waiters("chan receive", 107);
        let parsed = profile();
        let waiting = with(&parsed, "state", "chan receive");
        let mut counts: Vec<_> = waiting.iter().map(|sample| sample.values[0]).collect();
        counts.sort_unstable();
        assert_eq!(counts, [7, 100], "{waiting:?}");
        for sample in &waiting {
            assert!(sample.labels["spawned at"].contains("goroutine_profile.rs:"), "{sample:?}");
            if cfg!(feature = "backtrace") {
                let inner = place(sample, "waits_for_a_message");
                assert!(inner.is_some() && inner < place(sample, "outer_of_the_receiver"), "{sample:?}");
                assert!(!sample.functions.iter().any(|name| name.contains("corosensei")), "{sample:?}");
            }
        }
        let named = with(&parsed, "name", "the reader");
        assert!(named.len() == 1 && named[0].values == [7], "{named:?}");
        drop(s);
        all.into_iter().for_each(|handle| handle.join().expect("no panic"));
    });
}

#[test]
fn every_goroutine_is_counted_once_in_its_state() {
    on_goroutines(|| {
        let lock = Mutex::new(());
        let guard = lock.lock();
        let (_s, r) = chan::<()>(0);
        scope(|scope| {
            let all = [
                scope.go(|| drop(lock.lock())),
                scope.go(|| r.recv().unwrap_or_default()),
                scope.go(task::park),
            ];
            wait_until(|| {
                ["mutex lock", "chan receive", "park"].iter().all(|state| common::waiting(state) == 1)
            });
            let parsed = profile();
            let count =
                |state| with(&parsed, "state", state).iter().map(|sample| sample.values[0]).sum::<u64>();
            for state in ["mutex lock", "chan receive", "park", "running"] {
                assert_eq!(count(state), 1, "{state}: {:?}", parsed.samples);
            }
            let sum: u64 = parsed.samples.iter().map(|sample| sample.values[0]).sum();
            assert_eq!(sum, 4, "{:?}", parsed.samples);
            // It is us.
            let running = with(&parsed, "state", "running");
            assert!(!cfg!(feature = "backtrace") || place(running[0], "profile").is_some(), "{running:?}");
            all.iter().for_each(|handle| handle.cancel());
            drop(guard);
        });
    });
}

#[test]
fn who_has_no_frames_stands_under_the_state() {
    // One worker, so those spawned do not begin.
    runtime(1, false).run(|| {
        let all: Vec<_> = (0..5).map(|_| go(|| ())).collect();
        let parsed = profile();
        let waiting = with(&parsed, "state", "not started");
        assert!(
            waiting.len() == 1 && waiting[0].values == [5] && waiting[0].functions == ["[not started]"],
            "{waiting:?}"
        );
        all.into_iter().for_each(|handle| handle.join().expect("no panic"));
    });
}

#[test]
fn a_runtime_is_profiled_from_outside_and_errors_come_back() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let runtime = runtime(2, false);
    let (s, r) = chan::<()>(0);
    let handle = runtime.go(move || outer_of_the_receiver(&r));
    wait_until(|| runtime.dump().contains("[chan receive]"));
    let mut out = Vec::new();
    runtime.dump_pprof(&mut out).expect("a vector takes all");
    assert_eq!(with(&pprof::read(&out), "state", "chan receive").len(), 1);
    assert_eq!(runtime.dump_pprof(Full).expect_err("it is full").kind(), std::io::ErrorKind::StorageFull);
    drop(s);
    handle.join().expect("no panic");
}

/// Go's own reader takes it, where Go is.
#[test]
fn pprof_reads_it() {
    if !Command::new("go").arg("version").output().is_ok_and(|out| out.status.success()) {
        return;
    }
    runtime(2, false).run(|| {
        let (s, r) = chan::<()>(0);
        for _ in 0..42 {
            let r = r.clone();
            go(move || outer_of_the_receiver(&r));
        }
        common::wait_for_waiters("chan receive", 42);
        let path = std::env::temp_dir().join(format!("greenroutine-goroutines-{}.pb.gz", std::process::id()));
        greenroutine::runtime::dump_pprof(std::fs::File::create(&path).expect("a file")).expect("written");
        let run = |arguments: &[&str]| {
            let out = greenroutine::blocking(|| {
                Command::new("go").args(["tool", "pprof"]).args(arguments).arg(&path).output()
            });
            let out = out.expect("it runs");
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
            text
        };
        let (top, tags) = (run(&["-top", "-cum"]), run(&["-tags"]));
        std::fs::remove_file(&path).expect("it is there");
        assert!(top.contains("Type: goroutine"), "{top}");
        let function = if cfg!(feature = "backtrace") { "outer_of_the_receiver" } else { "[chan receive]" };
        let line = top.lines().find(|line| line.contains(function)).unwrap_or_else(|| panic!("{top}"));
        assert!(line.split_whitespace().any(|word| word == "42"), "{top}");
        assert!(tags.contains("chan receive"), "{tags}");
        drop(s);
    });
}
