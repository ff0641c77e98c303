//! The allocator workloads of `greenroutine bench`: the crate's heap, mimalloc and the system's allocator in one run.
//!
//! Every measurement runs in a process of its own, as for the other workloads; the three allocators take turns, several times, and the best of each counts. A figure is
//! nanoseconds an operation; beside it stand the most memory the process held, and what it held half a second after everything was freed, both without what it
//! held at the start.
//!
//! | file | job |
//! | --- | --- |
//! | `block` | blocks of one allocator: the unsafe code |
//! | `workloads` | what is done with them |

mod block;
mod workloads;

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::memory;
use block::{Libc, Mimalloc, Ours, Subject};

/// A workload for one allocator: takes what to divide its size by, returns its operations.
type Work = fn(usize) -> u64;

/// One line of the table.
pub(super) struct Workload {
    name: &'static str,
    about: &'static str,
    /// In the order of [`SUBJECTS`].
    work: [Work; 3],
}

macro_rules! workload {
    ($name:literal, $work:ident, $about:literal) => {
        Workload {
            name: $name,
            about: $about,
            work: [workloads::$work::<Ours>, workloads::$work::<Mimalloc>, workloads::$work::<Libc>],
        }
    };
}

pub(super) const WORKLOADS: &[Workload] = &[
    workload!("malloc-mixed", small_mixed, "allocator: one thread replaces small blocks"),
    workload!("malloc-larson", larson, "allocator: threads that hand their blocks to new threads"),
    workload!("malloc-xmalloc", xmalloc, "allocator: one thread makes blocks, another frees them"),
    workload!("malloc-cross", cross_thread, "allocator: two threads that free each other's blocks"),
    workload!("malloc-growth", vector_growth, "allocator: vectors that grow, to 16 MiB"),
    workload!("malloc-redis", redis_like, "allocator: a store of 200,000 keys"),
];

/// The allocators, in the order of `Workload::work`.
const SUBJECTS: [&str; 3] = ["ours", "mimalloc", "system"];
/// How often each measurement is made; the best counts.
const ROUNDS: usize = 5;
/// How long after the last free memory is looked at again.
const AFTER: Duration = Duration::from_millis(500);

/// One of [`SUBJECTS`], for the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Allocator {
    Ours,
    Mimalloc,
    System,
}

/// What one process measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) name: String,
    pub(super) allocator: String,
    /// Nanoseconds an operation.
    pub(super) nanoseconds: f64,
    /// MiB, the most.
    pub(super) most: f64,
    /// MiB, after everything was freed.
    pub(super) after: f64,
}

pub(super) fn possible_value(workload: &Workload) -> PossibleValue {
    PossibleValue::new(workload.name).help(workload.about)
}

/// The workloads that are named; all if nothing is.
pub(super) fn chosen(names: &[String]) -> Vec<&'static Workload> {
    WORKLOADS.iter().filter(|w| names.is_empty() || names.iter().any(|name| name == w.name)).collect()
}

/// In the child: measures one workload with one allocator.
#[expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]
pub(super) fn run_child(names: &[String], allocator: Allocator, quick: bool) -> io::Result<()> {
    let &[workload] = chosen(names).as_slice() else {
        return Err(io::Error::other("--allocator takes one workload"));
    };
    let at_start = memory::held_bytes()?;
    let start = Instant::now();
    let operations = workload.work[allocator as usize](if quick { 20 } else { 1 });
    let took = start.elapsed();
    let most = memory::most_held_bytes()?;
    std::thread::sleep(AFTER);
    a_little_later(allocator);
    let above = |bytes: u64| bytes.saturating_sub(at_start) as f64 / (1 << 20) as f64;
    let figures = Figures {
        name: workload.name.to_owned(),
        allocator: SUBJECTS[allocator as usize].to_owned(),
        nanoseconds: took.as_nanos() as f64 / operations as f64,
        most: above(most),
        after: above(memory::held_bytes()?),
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &figures)?;
    writeln!(out)
}

/// A few blocks, as a program makes them that goes on: allocators that give memory back as they are called have their chance.
fn a_little_later(allocator: Allocator) {
    fn blocks<S: Subject>() {
        for _ in 0..4 {
            drop((0..100).map(|n| block::Block::<S>::new(100_000 + n)).collect::<Vec<_>>());
            std::thread::sleep(AFTER / 4);
        }
    }
    match allocator {
        Allocator::Ours => blocks::<Ours>(),
        Allocator::Mimalloc => blocks::<Mimalloc>(),
        Allocator::System => blocks::<Libc>(),
    }
}

/// A workload's figures: ours, mimalloc's, the system's.
pub(super) type Row = Vec<Figures>;

/// In the parent: measures the workloads with each allocator in turn.
pub(super) fn run(workloads: &[&Workload], quick: bool, bar: &ProgressBar) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for workload in workloads {
        let mut best: [Option<Figures>; 3] = [None, None, None];
        for _ in 0..if quick { 1 } else { ROUNDS } {
            for (subject, best) in SUBJECTS.iter().zip(&mut best) {
                bar.set_message(format!("{} ({subject})", workload.name));
                let figures = measure(workload, subject, quick)?;
                if best.as_ref().is_none_or(|best| figures.nanoseconds < best.nanoseconds) {
                    *best = Some(figures);
                }
                bar.inc(1);
            }
        }
        rows.push(best.into_iter().flatten().collect());
    }
    Ok(rows)
}

/// Prints a table or JSON lines.
pub(super) fn print(rows: &[Row], quick: bool, json: bool) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    if json {
        for figures in rows.iter().flatten() {
            serde_json::to_writer(&mut out, figures)?;
            writeln!(out)?;
        }
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<16}  {:>8} {:>8} {:>8}  {:>7}  most, after (MiB)",
        "allocator", "ours", "mimalloc", "system", "ratio"
    )?;
    for row in rows {
        let [ours, mimalloc, system] = row.as_slice() else { continue };
        write!(
            out,
            "{:<16}  {:>8.1} {:>8.1} {:>8.1}",
            ours.name, ours.nanoseconds, mimalloc.nanoseconds, system.nanoseconds
        )?;
        write!(out, "  {:>7.2}", ours.nanoseconds / mimalloc.nanoseconds)?;
        for figures in [ours, mimalloc, system] {
            write!(out, "  {:>6.1} {:>6.1}", figures.most, figures.after)?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "ns an operation; ratio: ours to mimalloc; memory in the same order, above that at the start"
    )?;
    if quick {
        writeln!(out, "--quick: a twentieth of the work, once: for a look, not for figures to quote.")?;
    }
    Ok(())
}

/// How many measurements [`run`] makes.
pub(super) fn measurements(workloads: &[&Workload], quick: bool) -> usize {
    workloads.len() * SUBJECTS.len() * if quick { 1 } else { ROUNDS }
}

fn measure(workload: &Workload, subject: &str, quick: bool) -> io::Result<Figures> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", workload.name, "--allocator", subject]);
    if quick {
        command.arg("--quick");
    }
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "{} ({subject}): the measuring process failed: {}",
            workload.name, output.status
        )));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
