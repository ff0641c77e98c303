//! The goroutine dump: who, in which state, for how long, spawned where, and where in the code it waits.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{
    in_child, is_child, on_goroutines, outer_of_the_receiver, runtime, text, wait_for_waiters, wait_until,
    waiting,
};
use greenroutine::channel::Sender;
use greenroutine::sync::{Mutex, WaitGroup};
use greenroutine::{chan, go, runtime as current, scope, task, time};

/// The group of a dump that has a line with `part`.
fn group(dump: &str, part: &str) -> String {
    dump.split("\n\n")
        .find(|group| group.contains(part))
        .unwrap_or_else(|| panic!("{part:?} in {dump}"))
        .into()
}

#[test]
fn a_goroutine_that_waits_is_shown_with_its_frames() {
    on_goroutines(|| {
        let (s, r) = chan::<()>(0);
        let named = task::Builder::new().name("the reader").spawn(move || outer_of_the_receiver(&r)).unwrap();
        wait_for_waiters("chan receive", 1);
        let dump = current::dump();
        let group = group(&dump, "'the reader' [chan receive]");
        assert!(group.contains("spawned at tests/dump.rs"), "{dump}");
        assert!(group.contains("bytes in use"), "{dump}");
        if cfg!(feature = "backtrace") {
            // Built with line tables only, names of what was inlined come without their paths.
            let inner = group.find("waits_for_a_message at").unwrap_or_else(|| panic!("{dump}"));
            let outer = group.find("outer_of_the_receiver at").unwrap_or_else(|| panic!("{dump}"));
            assert!(inner < outer, "{dump}");
            assert!(!group.contains("corosensei"), "{dump}");
        }
        drop(s);
        named.join().unwrap();
    });
}

#[inline(never)]
fn looks_at_itself() -> String {
    std::hint::black_box(current::dump())
}

#[test]
fn the_caller_is_shown_with_its_frames() {
    on_goroutines(|| {
        let dump = looks_at_itself();
        let group = group(&dump, "[running]");
        assert!(!cfg!(feature = "backtrace") || group.contains("looks_at_itself at"), "{dump}");
    });
}

#[test]
fn states_have_their_words() {
    on_goroutines(|| {
        let lock = Mutex::new(());
        let guard = lock.lock();
        let (full, _keep): (Sender<()>, _) = chan(0);
        let (_s, never) = chan::<()>(0);
        let done = WaitGroup::new();
        done.add(1);
        scope(|s| {
            let all = [
                s.go(|| drop(lock.lock())),
                s.go(|| full.send(()).unwrap_or_default()),
                s.go(|| greenroutine::select! { recv(never) -> _ => {} }),
                s.go(|| time::sleep(Duration::from_secs(3600))),
                s.go(|| done.wait()),
                s.go(task::park),
                s.go(|| greenroutine::block_on(std::future::pending::<()>())),
            ];
            let words = ["mutex lock", "chan send", "select", "sleep", "waitgroup wait", "park", "await"];
            wait_until(|| words.iter().all(|word| waiting(word) == 1));
            let main = task::current().unwrap();
            assert!(current::dump().contains(&format!("goroutine {} [running]", main.id())));
            all.iter().for_each(|handle| handle.cancel());
            drop(guard);
        });
    });
}

#[test]
fn those_that_are_alike_stand_together() {
    let runtime = runtime(2, false);
    let (s, r) = chan::<()>(0);
    for _ in 0..100 {
        let r = r.clone();
        runtime.go(move || outer_of_the_receiver(&r));
    }
    wait_until(|| runtime.dump().matches("[chan receive]").count() == 100);
    let dump = runtime.dump();
    assert!(dump.starts_with("100 goroutines of runtime"), "{dump}");
    assert_eq!(dump.matches("spawned at").count(), 1, "{dump}");
    drop(s);
}

#[inline(never)]
fn spins_until(stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn blocks_its_thread_until(stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

/// Dumps until all these goroutines are seen running in these functions.
fn is_seen_in(dump: impl Fn() -> String, functions: &[&str]) {
    wait_until(|| {
        let dump = dump();
        let is_seen = |name: &&str| {
            let mut groups = dump.split("\n\n").filter(|group| group.contains(&format!("{name} at")));
            groups.any(|group| group.contains("[running]") && group.contains("spawned at tests/dump.rs"))
        };
        functions.iter().all(is_seen)
    });
}

#[test]
fn goroutines_that_run_elsewhere_are_shown_with_their_frames() {
    if !cfg!(feature = "backtrace") {
        return;
    }
    for free in [false, true] {
        let runtime = runtime(4, free);
        let stop = Arc::new(AtomicBool::new(false));
        let (one, two, three) = (stop.clone(), stop.clone(), stop.clone());
        let handles = [
            runtime.go(move || spins_until(&one)),
            runtime.go(move || blocks_its_thread_until(&two)),
            runtime.go(move || {
                let dedicated = task::Builder::new().dedicated(true);
                let handle = dedicated.spawn(move || outer_of_the_spinner(&three)).unwrap();
                handle.join().unwrap();
            }),
        ];
        // From a plain thread, and from a goroutine.
        let functions = ["spins_until", "blocks_its_thread_until", "outer_of_the_spinner"];
        is_seen_in(|| runtime.dump(), &functions);
        runtime.run(|| is_seen_in(current::dump, &functions));
        stop.store(true, Relaxed);
        for handle in handles {
            handle.join().unwrap();
        }
    }
}

#[inline(never)]
fn outer_of_the_spinner(stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        std::hint::black_box(stop);
    }
}

#[test]
fn goroutines_may_do_anything_while_they_are_looked_at() {
    for free in [false, true] {
        let runtime = runtime(4, free);
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..8 {
            let stop = stop.clone();
            runtime.go(move || {
                let mut grown = 0;
                while !stop.load(Relaxed) {
                    // Stacks that grow, allocations, system calls, ends, switches.
                    grown += deep(100);
                    let text: Vec<String> = (0..50).map(|n| n.to_string()).collect();
                    std::hint::black_box(text);
                    go(|| deep(400)).join().unwrap();
                    std::thread::yield_now();
                    greenroutine::yield_now();
                }
                grown
            });
        }
        for _ in 0..if cfg!(debug_assertions) { 50 } else { 500 } {
            assert!(runtime.dump().contains("goroutines of runtime"));
        }
        stop.store(true, Relaxed);
    }
}

#[inline(never)]
fn deep(depth: usize) -> usize {
    let block = std::hint::black_box([depth; 100]);
    if depth == 0 { block[0] } else { deep(depth - 1) + block[99] - depth }
}

#[test]
fn a_hundred_thousand_are_counted_and_stand_together() {
    let runtime = runtime(2, false);
    let (s, r) = chan::<()>(0);
    let count = 100_000;
    let handles: Vec<_> = (0..count)
        .map(|_| {
            let r = r.clone();
            runtime.go(move || outer_of_the_receiver(&r))
        })
        .collect();
    wait_until(|| runtime.metrics().workers.iter().map(|worker| worker.parks).sum::<u64>() >= count);
    let dump = runtime.dump();
    assert!(dump.starts_with("100000 goroutines of runtime"));
    assert_eq!(dump.matches("[chan receive]").count() as u64, count);
    assert_eq!(dump.matches("spawned at").count(), 1);
    drop(s);
    for handle in handles {
        handle.join().unwrap();
    }
}

#[test]
fn how_long_is_told() {
    let runtime = runtime(1, false);
    let (s, r) = chan::<()>(0);
    runtime.go(move || r.recv());
    wait_until(|| runtime.dump().contains("[chan receive] for 1 s"));
    drop(s);
}

#[test]
fn it_is_made_while_everybody_goes_on() {
    on_goroutines(|| {
        let stop = &std::sync::atomic::AtomicBool::new(false);
        let going = || !stop.load(std::sync::atomic::Ordering::Relaxed);
        scope(|s| {
            let (a, b) = chan(1);
            for _ in 0..4 {
                let (a, b) = (a.clone(), b.clone());
                s.go(move || {
                    while going() {
                        let _ = a.send_timeout((), Duration::from_micros(10));
                        go(|| time::sleep(Duration::from_micros(1))).join().unwrap();
                    }
                });
                s.go(move || {
                    while going() {
                        let _ = b.recv_timeout(Duration::from_micros(10));
                    }
                });
            }
            for _ in 0..if cfg!(debug_assertions) { 30 } else { 200 } {
                let dump = current::dump();
                assert!(dump.contains(" [running]"), "{dump}");
                greenroutine::yield_now();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

#[test]
fn a_quit_signal_writes_it() {
    let name = "a_quit_signal_writes_it";
    if is_child(name) {
        let (_s, r) = chan::<()>(0);
        go(move || r.recv());
        wait_until(|| waiting("chan receive") == 1);
        let pid = std::process::id();
        std::process::Command::new("kill").args(["-QUIT", &pid.to_string()]).status().unwrap();
        // The writer's thread has written when it waits again, or later: the parent reads it all.
        println!("the process goes on");
        greenroutine::run(|| time::sleep(Duration::from_millis(300)));
        return;
    }
    let output = in_child(name, |command| {
        command.env("GREENROUTINE_TRACEBACK", "all");
    });
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for part in ["the process goes on", "greenroutine: SIGQUIT: ", "[chan receive]"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
