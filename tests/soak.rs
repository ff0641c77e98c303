//! The storm: spawns, parks, unparks, joins, scopes, cancellations and shutdowns at random, on 1, 2 and 8 workers, in both modes. A round
//! that does not end is a hang; one that ends wrong says so.
//!
//! `GREENROUTINE_STORM_ROUNDS` says how many rounds (default 30); `.ci/soak long` runs 10,000.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Counted, runtime};
use greenroutine::{JoinHandle, go, scope, task, time, yield_now};

/// SplitMix64, so that a round is what its seed says.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// One goroutine of the storm: does a few things, and maybe spawns two like it.
fn act(seed: u64, depth: u32, live: &Arc<AtomicUsize>) {
    live.fetch_add(1, Ordering::SeqCst);
    let _counted = Counted(live.clone());
    let mut rng = Rng(seed);
    let mut children: Vec<JoinHandle<u64>> = Vec::new();
    for _ in 0..rng.below(6) {
        match rng.below(9) {
            0 | 1 if depth > 0 => {
                let (seed, live) = (rng.below(u64::MAX), live.clone());
                children.push(go(move || {
                    act(seed, depth - 1, &live);
                    seed
                }));
            }
            2 => yield_now(),
            3 => time::sleep(Duration::from_micros(rng.below(30))),
            4 => {
                let me = task::current().unwrap();
                let waker = go(move || me.unpark());
                task::park();
                let _ = waker.join();
            }
            5 => task::park_timeout(Duration::from_micros(rng.below(30))),
            6 => {
                let sum = AtomicUsize::new(0);
                let ended = scope(|s| {
                    let all: Vec<_> = (0..3_usize)
                        .map(|n| {
                            let sum = &sum;
                            s.go(move || {
                                yield_now();
                                sum.fetch_add(n, Ordering::SeqCst);
                                n
                            })
                        })
                        .collect();
                    // At the end of the runtime they are cancelled like all others.
                    all.into_iter().filter_map(|one| one.join().ok()).sum::<usize>()
                });
                assert_eq!(sum.into_inner(), ended);
            }
            7 => {
                if let Some(child) = children.pop() {
                    child.cancel();
                    let _ = child.join();
                }
            }
            _ => {
                let parked = go(task::park);
                parked.cancel();
                assert!(parked.join().unwrap_err().is_cancelled());
            }
        }
    }
    if rng.below(20) == 0 {
        std::panic::resume_unwind(Box::new("storm"));
    }
    for child in children {
        if rng.below(3) == 0 {
            drop(child);
        } else if let Ok(seed) = child.join() {
            assert_ne!(seed, 0);
        }
    }
}

fn round(seed: u64, workers: usize, free: bool) {
    let started = Arc::new(AtomicUsize::new(0));
    let rt = runtime(workers, free);
    let mut rng = Rng(seed);
    let roots: Vec<_> = (0..8)
        .map(|_| {
            let (seed, started) = (rng.below(u64::MAX), started.clone());
            rt.go(move || act(seed, 3, &started))
        })
        .collect();
    for root in roots {
        match rng.below(4) {
            0 => root.cancel(),
            1 => drop(root),
            _ => {
                if let Err(error) = root.join() {
                    let ok = error.is_cancelled() || error.to_string().contains("storm");
                    assert!(ok, "seed {seed}: {error}");
                }
            }
        }
    }
    if rng.below(2) == 0 {
        drop(rt);
    } else {
        assert!(rt.shutdown(Duration::from_secs(100)), "seed {seed}: a goroutine does not end");
    }
}

#[test]
fn storm() {
    let rounds =
        std::env::var("GREENROUTINE_STORM_ROUNDS").map_or(30, |n| n.parse().expect("a number of rounds"));
    let first: u64 = std::env::var("GREENROUTINE_STORM_SEED").map_or(1, |n| n.parse().expect("a seed"));
    for seed in first..first + rounds {
        for workers in [1, 2, 8] {
            for free in [false, true] {
                round(seed.wrapping_mul(0x9E37_79B9), workers, free);
            }
        }
    }
}
