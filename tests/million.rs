//! A million goroutines parked at once, each with its guard, in few memory mappings, on an untouched system.
//!
//! Counted are the mappings that they add. A program has 60 to 90 before, by how many threads it has and how the kernel places their stacks and the C library's arenas.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{runtime, wait_until};
use greenroutine::{go, task};

#[test]
fn a_million_parked_goroutines_add_few_mappings() {
    // Where the kernel has no guard markers a stack costs two mappings: then as many as fit.
    let markers =
        greenroutine::runtime::doctor().iter().any(|finding| finding.text.contains("MADV_GUARD_INSTALL"));
    let count = if markers { 1_000_000 } else { 10_000 };
    let rt = runtime(2, false);
    let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    rt.run(move || {
        let before = mappings();
        let parked = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..count)
            .map(|_| {
                let parked = parked.clone();
                go(move || {
                    parked.fetch_add(1, Ordering::Relaxed);
                    task::park();
                })
            })
            .collect();
        wait_until(|| parked.load(Ordering::Relaxed) == count);
        let all = mappings();
        println!("{all} mappings with {count} goroutines, {before} before");
        assert!(!markers || all < before + 50, "{all} mappings, {before} before");
        assert!(greenroutine::runtime::num_goroutines() > count);
        for handle in &handles {
            handle.cancel();
        }
        for handle in handles {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
    });
    assert_eq!(rt.metrics().goroutines, 0);
}
