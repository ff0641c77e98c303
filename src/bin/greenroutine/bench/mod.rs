//! `greenroutine bench`: the table of workloads, and the runner.
//!
//! Names and sizes are those of the peers in `benches/peers`, so that figures of one run can be compared.
//!
//! Every part of a workload runs in a process of its own, in each mode: this program starts itself with `--part`, and the child
//! prints its figures as JSON lines. Stacks, and the memory that the kernel counts for them, are the process's; so is a crash.
//!
//! | file | job |
//! | --- | --- |
//! | `bed` | what a workload runs on: a fresh runtime, and its size |
//! | `free` | the one unsafe call |
//! | `workloads` | spawning and switching |
//! | `channels` | talking |
//! | `collect` | the collected heap |
//! | `net` | time and sockets |
//! | `parked` | a million goroutines that wait |
//! | `latency` | single operations, one by one |
//! | `malloc` | the crate's heap against other allocators |
//! | `report` | figures as a table or as JSON |
//! | `distribution` | what a figure is the summary of |
//! | `compare` | figures beside those of an earlier run |
//! | `sweep` | workloads again and again, over workers or goroutines |
//! | `page` | figures as a page with drawings |

mod bed;
mod channels;
#[cfg(feature = "gc")]
mod collect;
mod compare;
mod distribution;
pub(super) mod free;
mod latency;
mod malloc;
mod net;
mod page;
mod parked;
mod report;
mod sweep;
mod workloads;

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use bed::{Bed, Mode};
use report::{Figure, Report};

/// Measures one part of a workload.
type Part = fn(&Bed) -> io::Result<Vec<Figure>>;

/// One line of the table.
struct Workload {
    name: &'static str,
    about: &'static str,
    parts: &'static [Part],
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "yield",
        about: "two goroutines that yield, 2,000,000 times each",
        parts: &[workloads::yields],
    },
    Workload {
        name: "spawnjoin",
        about: "spawn one and join it, 1,000,000 times",
        parts: &[workloads::spawnjoin],
    },
    Workload {
        name: "spawnbatch",
        about: "spawn 10,000 and join them, 100 times",
        parts: &[workloads::spawnbatch],
    },
    Workload {
        name: "skynet",
        about: "a tree of 1,111,111 goroutines that sums up, best of 5",
        parts: &[workloads::skynet],
    },
    Workload {
        name: "forkjoin",
        about: "fib(27) with a goroutine for every fork above 5, best of 5",
        parts: &[workloads::forkjoin],
    },
    Workload {
        name: "mutex",
        about: "eight goroutines on one mutex, 500,000 locks each",
        parts: &[workloads::mutex],
    },
    Workload {
        name: "mutexyield",
        about: "four goroutines that hold one mutex over a yield, 100,000 times each",
        parts: &[workloads::mutexyield],
    },
    Workload {
        name: "parked",
        about: "1,000,000 goroutines that wait: memory, spawn, wake",
        parts: &[parked::with_default_stack_max, parked::with_small_stack_max],
    },
    Workload {
        name: "pingpong",
        about: "round trips over channels without capacity, 1,000,000",
        parts: &[channels::pingpong],
    },
    Workload {
        name: "stream",
        about: "one producer, one consumer, a channel of 128: 5,000,000 items",
        parts: &[channels::stream],
    },
    Workload {
        name: "mpmc",
        about: "8 producers, 8 consumers, a channel of 64: 2,000,000 items",
        parts: &[channels::mpmc],
    },
    Workload {
        name: "skynetchan",
        about: "the tree of 1,111,111 goroutines over channels, best of 5",
        parts: &[channels::skynet],
    },
    Workload {
        name: "ring",
        about: "503 goroutines pass a token on, 1,000,000 times",
        parts: &[channels::ring],
    },
    Workload {
        name: "sieve",
        about: "the first 2,000 primes, with a goroutine for each",
        parts: &[channels::sieve],
    },
    Workload {
        name: "select",
        about: "receive from one of two producers, 1,000,000 times",
        parts: &[channels::select2],
    },
    #[cfg(feature = "gc")]
    Workload {
        name: "trees",
        about: "binary trees of depth 18 in the collected heap",
        parts: &[collect::trees],
    },
    #[cfg(feature = "gc")]
    Workload {
        name: "gcbig",
        about: "allocation beside a gigabyte of live objects: hiccups, pauses, a whole cycle",
        parts: &[collect::gcbig],
    },
    #[cfg(feature = "gc")]
    Workload { name: "gcgraph", about: "marking a random graph", parts: &[collect::gcgraph] },
    #[cfg(feature = "gc")]
    Workload {
        name: "gcparked",
        about: "pauses beside 100,000 goroutines that wait",
        parts: &[collect::gcparked],
    },
    Workload {
        name: "latency",
        about: "round trips, spawns and sleeps, each timed",
        parts: &[latency::latency],
    },
    Workload {
        name: "timers",
        about: "100,000 goroutines that sleep for 10 ms; a sleep of 50 µs",
        parts: &[net::timers],
    },
    Workload {
        name: "echo",
        about: "1,000 connections over loopback, messages of 64 bytes and 16 KiB",
        parts: &[net::echo_small, net::echo_large],
    },
    Workload {
        name: "http",
        about: "1,000 connections over loopback, requests one after the other",
        parts: &[net::http],
    },
    Workload { name: "recurse", about: "recursion 400,000 deep, cold", parts: &[workloads::recurse] },
    Workload {
        name: "fairness",
        about: "how late a sleeper is while every worker spins",
        parts: &[workloads::fairness],
    },
];

/// Arguments of `greenroutine bench`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to measure; everything if none is named
    #[arg(value_name = "WORKLOAD", value_parser = PossibleValuesParser::new(
        WORKLOADS.iter().map(possible_value).chain(malloc::WORKLOADS.iter().map(malloc::possible_value))
    ))]
    workloads: Vec<String>,
    /// Print one JSON object a line: name, mode, value, unit, a note where one is needed, and what is summed up where that is known:
    /// pairs of nanoseconds and how many took no longer
    #[arg(long)]
    json: bool,
    /// Migration mode
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    mode: Modes,
    /// A twentieth of the work: for a look, not for figures to quote
    #[arg(long)]
    quick: bool,
    /// Threads that run goroutines; default: the processors that this process may use
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Print the figures beside those of FILE, which `bench --json` has printed
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    compare: Option<PathBuf>,
    /// Write a page with drawings, index.html, into DIR; measures some workloads with 1 to N workers, and memory with fewer goroutines, as well
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Run this part of one workload in this process
    #[arg(long, hide = true)]
    part: Option<usize>,
    /// How many goroutines wait in `parked`
    #[arg(long, hide = true)]
    goroutines: Option<usize>,
    /// Run this allocator workload with one allocator in this process
    #[arg(long, hide = true, value_enum)]
    allocator: Option<malloc::Allocator>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Modes {
    /// Goroutines stay on the worker that first ran them: the default of the library
    Home,
    /// Goroutines may resume on any worker
    Free,
    Both,
}

impl Modes {
    fn list(self) -> &'static [Mode] {
        match self {
            Self::Home => &[Mode::Home],
            Self::Free => &[Mode::Free],
            Self::Both => &[Mode::Home, Mode::Free],
        }
    }
}

fn possible_value(workload: &Workload) -> PossibleValue {
    PossibleValue::new(workload.name).help(workload.about)
}

/// Measures what the arguments name and prints it.
pub(super) fn run(arguments: &Arguments) -> io::Result<()> {
    if let Some(allocator) = arguments.allocator {
        return malloc::run_child(&arguments.workloads, allocator, arguments.quick);
    }
    let chosen: Vec<_> = WORKLOADS
        .iter()
        .filter(|workload| {
            arguments.workloads.is_empty() || arguments.workloads.iter().any(|name| name == workload.name)
        })
        .collect();
    if let Some(part) = arguments.part {
        return run_part(arguments, &chosen, part);
    }
    let before = arguments.compare.as_deref().map(compare::read).transpose()?;
    // Before any child does, and once.
    bed(arguments, Mode::Home).runtime()?;
    let modes = arguments.mode.list();
    let mut report = Report::new(arguments.json, modes);
    let mut failed = measure(arguments, &chosen, modes, &mut report)?;
    report.finish(arguments.quick)?;
    if let Some(before) = before {
        compare::print(&before, report.figures())?;
    }
    let allocators = malloc::chosen(&arguments.workloads);
    let mut rows = Vec::new();
    if !allocators.is_empty() {
        let bar = progress_bar(malloc::measurements(&allocators, arguments.quick), arguments.json);
        match malloc::run(&allocators, arguments.quick, &bar) {
            Ok(measured) => rows = measured,
            Err(error) => failed.push(error.to_string()),
        }
        bar.finish_and_clear();
        malloc::print(&rows, arguments.quick, arguments.json)?;
    }
    if let Some(folder) = &arguments.report {
        let sweeps = sweep::Sweeps::measure(arguments, modes, report.figures(), &mut failed)?;
        let path = page::write(
            folder,
            &page::Content {
                figures: report.figures(),
                sweeps: &sweeps,
                allocators: &rows,
                failed: &failed,
                quick: arguments.quick,
            },
        )?;
        eprintln!("{}", path.display());
    }
    if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("\ngreenroutine: "))) }
}

/// In the parent: every part of the workloads in every mode, each in a process of its own. Returns what failed.
fn measure(
    arguments: &Arguments,
    chosen: &[&Workload],
    modes: &[Mode],
    report: &mut Report,
) -> io::Result<Vec<String>> {
    let total: usize = chosen.iter().map(|workload| workload.parts.len() * modes.len()).sum();
    let bar = progress_bar(total, arguments.json);
    let mut failed = Vec::new();
    for workload in chosen {
        for &mode in modes {
            for part in 0..workload.parts.len() {
                bar.set_message(format!("{} ({mode})", workload.name));
                let child = Child { workload, mode, part, workers: arguments.workers, goroutines: None };
                if let Err(error) = child.run(arguments.quick, report) {
                    if error.kind() == io::ErrorKind::BrokenPipe {
                        return Err(error);
                    }
                    failed.push(format!("{} ({mode}): {error}", workload.name));
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(failed)
}

fn bed(arguments: &Arguments, mode: Mode) -> Bed {
    let Arguments { quick, workers, goroutines, .. } = *arguments;
    Bed { mode, quick, workers, goroutines }
}

/// In the child: one part of one workload, in one mode.
fn run_part(arguments: &Arguments, chosen: &[&Workload], part: usize) -> io::Result<()> {
    let (&[workload], &[mode]) = (chosen, arguments.mode.list()) else {
        return Err(io::Error::other("--part takes one workload and one mode"));
    };
    let Some(measure) = workload.parts.get(part) else {
        return Err(io::Error::other(format!("{} has no part {part}", workload.name)));
    };
    let mut report = Report::new(true, &[mode]);
    for figure in measure(&bed(arguments, mode))? {
        report.add(figure)?;
    }
    Ok(())
}

/// A process that measures one part of a workload in one mode.
struct Child<'a> {
    workload: &'a Workload,
    mode: Mode,
    part: usize,
    workers: Option<usize>,
    goroutines: Option<usize>,
}

impl Child<'_> {
    /// In the parent: starts it and reads its figures. What it says on standard error goes to ours.
    fn run(&self, quick: bool, report: &mut Report) -> io::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        let part = self.part.to_string();
        command.args(["bench", self.workload.name, "--mode", self.mode.as_str(), "--part", &part]);
        if quick {
            command.arg("--quick");
        }
        if let Some(workers) = self.workers {
            command.args(["--workers", &workers.to_string()]);
        }
        if let Some(goroutines) = self.goroutines {
            command.args(["--goroutines", &goroutines.to_string()]);
        }
        read_figures(command, report)
    }
}

fn read_figures(mut command: Command, report: &mut Report) -> io::Result<()> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let figures = child.stdout.take().ok_or_else(|| io::Error::other("the child has no standard output"))?;
    let mut added = Ok(());
    for line in BufReader::new(figures).lines() {
        added = line.and_then(|line| Ok(serde_json::from_str(&line)?)).and_then(|figure| report.add(figure));
        if added.is_err() {
            break;
        }
    }
    let status = child.wait()?;
    added?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("the measuring process failed: {status}")))
    }
}

/// On standard error, and only if that is a terminal.
fn progress_bar(total: usize, hidden: bool) -> ProgressBar {
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(total as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {msg} {elapsed}") {
        bar.set_style(style);
    }
    if !bar.is_hidden() {
        // Seldom, because its thread runs beside what is measured.
        bar.enable_steady_tick(Duration::from_millis(250));
    }
    bar
}
