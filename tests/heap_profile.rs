//! The heap profile: its figures, its sites, its form. Each test profiles a process of its own (the profile is the process's).
#![cfg(feature = "gc")]

mod common;
#[path = "common/pprof.rs"]
mod pprof;

use std::hint::black_box;
use std::process::Command;

use common::alone;
use greenroutine::gc::{self, heap_profile};
use greenroutine::{Gc, go};
use pprof::Parsed;

fn profile() -> Parsed {
    let mut out = Vec::new();
    heap_profile::write_pprof(&mut out).expect("a vector takes all");
    pprof::read(&out)
}

/// The sum of a value over the samples with that function.
fn sum(profile: &Parsed, function: &str, value: usize) -> u64 {
    // Debug information has either the whole path or the name alone.
    let is_it = |name: &String| name.rsplit("::").next() == Some(function);
    let with = profile.samples.iter().filter(|sample| sample.functions.iter().any(is_it));
    with.map(|sample| sample.values[value]).sum()
}

const ALLOC_OBJECTS: usize = 0;
const ALLOC_SPACE: usize = 1;
const INUSE_OBJECTS: usize = 2;
const INUSE_SPACE: usize = 3;

fn near(got: u64, wanted: u64, percent: u64) {
    assert!(got.abs_diff(wanted) * 100 <= wanted * percent, "{got} is not within {percent}% of {wanted}");
}

#[expect(clippy::vec_box, reason = "many small allocations are what is wanted")]
#[inline(never)]
fn boxes(count: usize) -> Vec<Box<[u64; 12]>> {
    // Not in a tail call, which would leave no frame.
    black_box((0..count).map(|n| Box::new([n as u64; 12])).collect())
}

#[inline(never)]
fn collected(count: usize) -> Vec<Gc<[usize; 6]>> {
    black_box((0..count).map(|n| Gc::new([n; 6])).collect())
}

#[inline(never)]
fn churn(count: usize) {
    for n in 0..count {
        drop(black_box(Box::new([n as u64; 4])));
    }
}

#[inline(never)]
fn large(count: usize) -> Vec<Vec<u8>> {
    black_box((0..count).map(|_| vec![1; 300_000]).collect())
}

#[test]
fn every_allocation_is_seen_with_a_rate_of_one() {
    alone("every_allocation_is_seen_with_a_rate_of_one", || {
        heap_profile::start(1);
        let kept = boxes(1000);
        churn(5000);
        let all = profile();
        assert_eq!(
            all.types,
            ["alloc_objects/count", "alloc_space/bytes", "inuse_objects/count", "inuse_space/bytes"]
        );
        // And the vector.
        assert_eq!(sum(&all, "boxes", ALLOC_OBJECTS), 1001);
        assert_eq!(sum(&all, "boxes", INUSE_OBJECTS), 1001);
        assert_eq!(sum(&all, "boxes", INUSE_SPACE), 1000 * 96 + 8192);
        assert_eq!(sum(&all, "churn", ALLOC_OBJECTS), 5000);
        assert_eq!(sum(&all, "churn", INUSE_OBJECTS), 0);
        drop(kept);
        let all = profile();
        assert_eq!(sum(&all, "boxes", ALLOC_OBJECTS), 1001);
        assert_eq!(sum(&all, "boxes", INUSE_OBJECTS), 0);
        heap_profile::stop();
    });
}

#[test]
fn estimates_are_right_on_average() {
    alone("estimates_are_right_on_average", || {
        heap_profile::start(16 << 10);
        let kept = boxes(500_000);
        churn(2_000_000);
        let big = large(200);
        let all = profile();
        near(sum(&all, "boxes", INUSE_OBJECTS), 500_000, 15);
        near(sum(&all, "boxes", INUSE_SPACE), 500_000 * 96 + 4_000_000, 15);
        near(sum(&all, "churn", ALLOC_OBJECTS), 2_000_000, 15);
        near(sum(&all, "churn", ALLOC_SPACE), 2_000_000 * 32, 15);
        assert!(sum(&all, "churn", INUSE_OBJECTS) < 2000);
        near(sum(&all, "large", INUSE_SPACE), 200 * 300_000, 2);
        drop((kept, big));
        let all = profile();
        assert_eq!(sum(&all, "boxes", INUSE_OBJECTS), 0);
        assert_eq!(sum(&all, "large", INUSE_OBJECTS), 0);
        near(sum(&all, "large", ALLOC_SPACE), 200 * 300_000, 2);
    });
}

#[test]
fn collected_objects_end_with_a_cycle() {
    alone("collected_objects_end_with_a_cycle", || {
        heap_profile::start(4096);
        let kept = go(|| collected(200_000)).join().expect("no panic");
        gc::collect();
        let all = profile();
        near(sum(&all, "collected", INUSE_OBJECTS), 200_000, 15);
        drop(kept);
        go(|| drop(black_box(collected(1000)))).join().expect("no panic");
        gc::collect();
        gc::collect();
        let all = profile();
        assert!(sum(&all, "collected", INUSE_OBJECTS) < 20_000);
        assert!(sum(&all, "collected", ALLOC_OBJECTS) > 170_000);
    });
}

#[test]
fn what_one_thread_allocates_others_may_free() {
    alone("what_one_thread_allocates_others_may_free", || {
        heap_profile::start(2048);
        let (send, receive) = std::sync::mpsc::sync_channel::<Vec<Box<[u64; 12]>>>(4);
        let frees = std::thread::spawn(move || receive.into_iter().for_each(drop));
        for _ in 0..200 {
            send.send(boxes(1000)).expect("it receives");
        }
        drop(send);
        frees.join().expect("no panic");
        let all = profile();
        near(sum(&all, "boxes", ALLOC_OBJECTS), 200_000, 10);
        assert_eq!(sum(&all, "boxes", INUSE_OBJECTS), 0);
    });
}

#[test]
fn goroutines_and_threads_in_a_storm() {
    alone("goroutines_and_threads_in_a_storm", || {
        for round in 0..6 {
            heap_profile::start(if round % 2 == 0 { 64 } else { 32 << 10 });
            let work = || {
                for n in 0..20 {
                    let kept = boxes(n * 7);
                    churn(200);
                    drop(large(n % 3));
                    let _ = black_box(collected(n));
                    greenroutine::yield_now();
                    drop(kept);
                }
            };
            let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(work)).collect();
            let goroutines: Vec<_> = (0..20).map(|_| go(work)).collect();
            // Beside them.
            while !goroutines.iter().all(greenroutine::JoinHandle::is_finished) {
                heap_profile::snapshot().expect("our heap");
            }
            goroutines.into_iter().for_each(|goroutine| goroutine.join().expect("no panic"));
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            let all = profile();
            assert_eq!(sum(&all, "boxes", INUSE_OBJECTS), 0, "round {round}");
            assert_eq!(sum(&all, "large", INUSE_OBJECTS), 0, "round {round}");
            if round % 3 == 0 {
                heap_profile::stop();
            }
        }
    });
}

#[test]
fn growth_is_named() {
    alone("growth_is_named", || {
        heap_profile::start(512);
        let first = boxes(10_000);
        let before = heap_profile::snapshot().expect("our heap");
        let second = large(100);
        let growth = heap_profile::growth_since(&before).expect("our heap");
        assert!(growth.sites[0].functions.iter().any(|function| function.contains("large at")), "{growth}");
        near(growth.sites[0].bytes, 100 * 300_000, 5);
        assert!(
            growth.to_string().contains("100 objects")
                || growth.to_string().contains("objects, +30000000 bytes"),
            "{growth}"
        );
        assert!(!growth.to_string().contains("boxes at"), "{growth}");
        drop((first, second));
    });
}

/// Go's own reader takes it, where Go is.
#[test]
fn pprof_reads_it() {
    alone("pprof_reads_it", || {
        if !Command::new("go").arg("version").output().is_ok_and(|out| out.status.success()) {
            return;
        }
        heap_profile::start(4096);
        let kept = boxes(100_000);
        let path = std::env::temp_dir().join(format!("greenroutine-{}.pb.gz", std::process::id()));
        heap_profile::write_pprof(std::fs::File::create(&path).expect("a file")).expect("written");
        drop(kept);
        let out = Command::new("go")
            .args(["tool", "pprof", "-top", "-sample_index=inuse_objects"])
            .arg(&path)
            .output();
        std::fs::remove_file(&path).expect("it is there");
        let out = out.expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
        let is_it = |line: &&str| {
            line.split_whitespace().nth(5).is_some_and(|name| name.rsplit("::").next() == Some("boxes"))
        };
        let line = text.lines().find(is_it).expect(&text);
        let count = line.split_whitespace().nth(3).and_then(|count| count.parse().ok()).expect(line);
        near(count, 100_000, 15);
    });
}
