//! GCBench: trees that live long, trees that live short, and a large array, in the collected heap; after John Ellis, Pete Kovac and Hans Boehm. At the end it says what the collector did.
//!
//! ```sh
//! cargo run --release --example gcbench            # a depth of 18
//! cargo run --release --example gcbench -- 20
//! ```

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program measures with std's clock")]

use std::process::ExitCode;
use std::time::Instant;

use greenroutine::gc::{self, SlotOption};
use greenroutine::{Gc, go};

struct Node {
    left: SlotOption<Node>,
    right: SlotOption<Node>,
    _payload: [usize; 2],
}

fn node(left: Option<Gc<Node>>, right: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { left: SlotOption::new(left), right: SlotOption::new(right), _payload: [0; 2] })
}

/// From the leaves up.
fn bottom_up(depth: u32) -> Gc<Node> {
    match depth {
        0 => node(None, None),
        _ => node(Some(bottom_up(depth - 1)), Some(bottom_up(depth - 1))),
    }
}

/// From the root down: older nodes get links to younger ones.
fn top_down(depth: u32, root: Gc<Node>) {
    if depth > 0 {
        for side in [&root.left, &root.right] {
            let child = node(None, None);
            side.store(Some(child));
            top_down(depth - 1, child);
        }
    }
}

fn count(root: Gc<Node>) -> usize {
    1 + [&root.left, &root.right].into_iter().filter_map(|side| side.load()).map(count).sum::<usize>()
}

fn main() -> ExitCode {
    let depth = match std::env::args().nth(1).map(|argument| argument.parse()) {
        None => 18,
        Some(Ok(depth @ 4..=24)) => depth,
        Some(_) => {
            eprintln!("usage: gcbench [DEPTH], from 4 to 24");
            return ExitCode::FAILURE;
        }
    };
    let start = Instant::now();
    greenroutine::run(|| {
        let long_lived = bottom_up(depth);
        let array = Gc::<[f64]>::from_fn(500_000, |index| 1.0 / (index + 1) as f64);
        let makers: Vec<_> = (4..=depth)
            .step_by(2)
            .map(|short| {
                go(move || {
                    let nodes = (1_usize << (short + 1)) - 1;
                    for _ in 0..(2_usize << depth) / nodes {
                        let root = node(None, None);
                        top_down(short, root);
                        assert_eq!(count(root), nodes);
                        assert_eq!(count(bottom_up(short)), nodes);
                    }
                })
            })
            .collect();
        makers.into_iter().for_each(|maker| maker.join().expect("no assertion fails"));
        assert_eq!(count(long_lived), (1 << (depth + 1)) - 1);
        assert_eq!(array[999], 0.001);
    });
    let stats = gc::stats();
    println!("depth {depth}: {:.0?}", start.elapsed());
    println!("{} cycles by {}, {} MiB allocated", stats.cycles, stats.backend, stats.allocated_total >> 20);
    println!("pauses: {:.0?} at the median, {:.0?} at most", stats.pauses.p50(), stats.pauses.max());
    ExitCode::SUCCESS
}
