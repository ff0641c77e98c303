//! What only the page shows: workloads again and again, with one worker, two, four, and so on, and memory with more and more goroutines. Called by the runner.

use std::io;

use super::bed::Mode;
use super::report::{Figure, Report};
use super::{Arguments, Child, WORKLOADS};

/// What more workers could do faster.
const SCALED: &[&str] = &["spawnbatch", "skynet", "forkjoin", "mutex", "mpmc"];
/// How many goroutines wait, below the million that the table has.
const COUNTS: &[usize] = &[1_000, 3_000, 10_000, 30_000, 100_000, 300_000];
/// The million itself, under these names.
const MILLION: &[&str] = &["parked1M.mem", "parked1M.256k.mem"];
/// How far a quick look goes.
const QUICK_COUNT: usize = 30_000;

/// A figure, and what it was measured at.
pub(super) struct Point {
    pub(super) at: usize,
    pub(super) figure: Figure,
}

/// See the file's documentation.
pub(super) struct Sweeps {
    /// At a number of workers.
    pub(super) workers: Vec<Point>,
    /// Bytes a goroutine, at a number of goroutines.
    pub(super) memory: Vec<Point>,
}

impl Sweeps {
    /// Measures what the chosen workloads have of either kind. What fails is said, and left out.
    pub(super) fn measure(
        arguments: &Arguments,
        modes: &[Mode],
        figures: &[Figure],
        failed: &mut Vec<String>,
    ) -> io::Result<Self> {
        let mut sweeps = Self { workers: Vec::new(), memory: Vec::new() };
        let chosen = WORKLOADS.iter().filter(|workload| {
            arguments.workloads.is_empty() || arguments.workloads.iter().any(|name| name == workload.name)
        });
        let steps = steps(arguments);
        for workload in chosen {
            for &mode in modes {
                let mut points = |child: Child<'_>, at, to: &mut Vec<Point>| {
                    let mut report = Report::new(false, &[mode]);
                    if let Err(error) = child.run(arguments.quick, &mut report) {
                        failed.push(format!("{} ({mode}) at {at}: {error}", workload.name));
                    }
                    to.extend(report.figures().first().map(|figure| Point { at, figure: figure.clone() }));
                };
                if SCALED.contains(&workload.name) {
                    for &workers in &steps {
                        let workers_ = Some(workers);
                        let child = Child { workload, mode, part: 0, workers: workers_, goroutines: None };
                        points(child, workers, &mut sweeps.workers);
                    }
                }
                if workload.name == "parked" {
                    let most = if arguments.quick { QUICK_COUNT } else { usize::MAX };
                    for part in 0..workload.parts.len() {
                        for &count in COUNTS.iter().filter(|count| **count <= most) {
                            let workers = arguments.workers;
                            let child = Child { workload, mode, part, workers, goroutines: Some(count) };
                            points(child, count, &mut sweeps.memory);
                        }
                    }
                }
            }
        }
        if !arguments.quick {
            let million = figures.iter().filter(|figure| MILLION.contains(&figure.name.as_str()));
            sweeps.memory.extend(million.map(|figure| Point { at: 1_000_000, figure: figure.clone() }));
        }
        Ok(sweeps)
    }
}

/// 1, 2, 4, .. and the number of workers that the others have.
fn steps(arguments: &Arguments) -> Vec<usize> {
    let most =
        arguments.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
    let mut steps: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < most).collect();
    steps.push(most);
    steps
}
