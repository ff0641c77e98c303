//! A million goroutines parked at once, each with its guard, in few memory mappings, on an untouched system.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{runtime, wait_until};
use greenroutine::{go, task};

#[test]
fn a_million_parked_goroutines_in_under_a_hundred_mappings() {
    // Where the kernel has no guard markers a stack costs two mappings: then as many as fit.
    let markers =
        greenroutine::runtime::doctor().iter().any(|finding| finding.text.contains("MADV_GUARD_INSTALL"));
    let count = if markers { 1_000_000 } else { 10_000 };
    let rt = runtime(2, false);
    rt.run(move || {
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
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        println!("{maps} mappings for {count} goroutines");
        assert!(!markers || maps < 100, "{maps} mappings");
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
