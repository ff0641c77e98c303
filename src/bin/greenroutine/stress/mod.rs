//! `greenroutine stress`: everything at once, for as long as one likes, with invariants.
//!
//! A run is a row of rounds. Each round draws from the seed which loads run beside each other and how large they are ([`plan`]), on runtimes that live as long as the run, one for each number of
//! workers in each mode. After a round every message has come exactly once, counts agree, and no goroutine is left; at the end memory is back where it was after the first rounds. The same seed is the same
//! plan; what the threads make of it is not in its hands.
//!
//! | file | job |
//! | --- | --- |
//! | `plan` | what runs in a round |
//! | `loads` | the loads: features under load, each with what must hold |
//! | `collect` | the loads of the collected heap |
//! | `faults` | panics, cancellation, refusals, stuck workers, a stopped process |

#[cfg(feature = "gc")]
mod collect;
mod faults;
mod loads;
mod plan;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use clap::{Args, ValueEnum};
use greenroutine::Runtime;
use greenroutine::time::Instant;

use crate::bench::free;
use crate::memory;
use plan::{Plan, Rng};

/// No round takes so long, however busy the machine is.
const TOO_LONG: Duration = Duration::from_secs(120);
/// Rounds until the memory that is kept at hand is what it will be.
const WARM: u64 = 5;
/// What a runtime may keep beyond that.
const SLACK: u64 = 192 << 20;
/// What stale words may keep of the collected heap beyond that.
#[cfg(feature = "gc")]
const COLLECTED_SLACK: usize = 16 << 20;

/// Which migration modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Modes {
    /// Started goroutines stay.
    Home,
    /// They may move.
    Free,
    /// One after the other.
    Both,
}

/// What the command line says.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What the plan is drawn from; any number if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Numbers of workers, taken in turns.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 8])]
    workers: Vec<usize>,
    /// Migration modes, taken in turns.
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    mode: Modes,
    /// Only these loads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// End after so many rounds, whatever the time.
    #[arg(long)]
    rounds: Option<u64>,
    /// Print the plan of so many rounds and do nothing.
    #[arg(long)]
    plan: Option<u64>,
}

/// What was done, in all.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) messages: AtomicU64,
    pub(super) goroutines: AtomicU64,
    pub(super) locks: AtomicU64,
    pub(super) timers: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// In the collected heap.
    pub(super) objects: AtomicU64,
    /// Goroutines that wait for ever, and how many of them were found.
    pub(super) lost: AtomicU64,
    pub(super) lost_found: AtomicU64,
}

impl Tally {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// Runs it.
pub(super) fn run(arguments: &Arguments) -> io::Result<()> {
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    plan::check(&arguments.only)?;
    let mut rng = Rng(seed);
    let mut out = io::stdout();
    if let Some(rounds) = arguments.plan {
        for round in 1..=rounds {
            writeln!(out, "{round}: {}", Plan::draw(&mut rng, &arguments.only))?;
        }
        return Ok(());
    }
    writeln!(out, "seed {seed}, {} s; --seed {seed} repeats the plan", arguments.seconds)?;
    faults::quiet_panics();
    let beds = beds(arguments)?;
    let tally = Arc::new(Tally::default());
    let (start, mut shown) = (Instant::now(), Instant::now());
    let end = Duration::from_secs(arguments.seconds);
    let (mut round, mut warm, mut live) = (0, 0, 0);
    while start.elapsed() < end && arguments.rounds.is_none_or(|rounds| round < rounds) {
        let bed = &beds[round as usize % beds.len()];
        round += 1;
        let plan = Plan::draw(&mut rng, &arguments.only);
        one_round(bed, &plan, &tally).map_err(|error| {
            io::Error::other(format!("round {round} ({}, seed {seed}): {plan}: {error}", bed.name))
        })?;
        if round <= WARM * beds.len() as u64 {
            warm = warm.max(memory::held_bytes()?);
            live = live.max(collected_bytes());
        }
        if io::stderr().is_terminal() || shown.elapsed() > Duration::from_secs(10) {
            shown = Instant::now();
            let held = memory::held_bytes()? >> 20;
            eprintln!(
                "{:>6.1} s  round {round:<6} {:<16} {held:>5} MiB",
                start.elapsed().as_secs_f64(),
                bed.name
            );
        }
    }
    writeln!(out, "{round} rounds in {:.1} s: {tally}", start.elapsed().as_secs_f64())?;
    drop(beds);
    if !collected_returns(live, &tally)? {
        return writeln!(
            out,
            "nothing is collected here, so memory was not looked at; everything else holds"
        );
    }
    memory_returns(warm)?;
    writeln!(out, "no message lost or doubled, all counts agree, no goroutine left, memory returned")
}

fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// A runtime and its name.
struct Bed {
    name: String,
    runtime: Arc<Runtime>,
}

fn beds(arguments: &Arguments) -> io::Result<Vec<Bed>> {
    let mut beds = Vec::new();
    for &workers in &arguments.workers {
        for is_free in [false, true] {
            if matches!((arguments.mode, is_free), (Modes::Home, true) | (Modes::Free, false)) {
                continue;
            }
            let mut builder = Runtime::builder().workers(workers).seed(arguments.seed.unwrap_or(0));
            if is_free {
                builder = free::let_migrate(builder);
            }
            let name = format!("{workers} {}", if is_free { "free" } else { "home" });
            beds.push(Bed { name, runtime: Arc::new(builder.build()?) });
        }
    }
    Ok(beds)
}

fn one_round(bed: &Bed, plan: &Plan, tally: &Arc<Tally>) -> Result<(), String> {
    let watch = Watchdog::start(bed, plan);
    let failures = Mutex::new(Vec::new());
    let before = bed.runtime.metrics().spawned;
    bed.runtime.run(|| {
        greenroutine::scope(|scope| {
            for part in &plan.parts {
                let (failures, tally) = (&failures, &**tally);
                scope.go(move || {
                    if let Err(error) = (part.load.run)(part.size, part.seed, tally) {
                        failures
                            .lock()
                            .unwrap_or_else(|e| e.into_inner())
                            .push(format!("{}: {error}", part.load.name));
                    }
                });
            }
        });
    });
    // Goroutines that nobody waits for are on their way out.
    let patience = Instant::now();
    while bed.runtime.metrics().goroutines > hidden() {
        if patience.elapsed() > TOO_LONG {
            return Err(format!("goroutines are left: {}", bed.runtime.dump()));
        }
        std::thread::yield_now();
    }
    if hidden() > 0 {
        find_hidden(tally)?;
    }
    drop(watch);
    Tally::add(&tally.goroutines, bed.runtime.metrics().spawned - before);
    let failures = failures.into_inner().unwrap_or_else(|e| e.into_inner());
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// Goroutines that wait for ever on purpose and were not found yet.
fn hidden() -> u64 {
    #[cfg(feature = "gc")]
    return collect::LOST_NOW.load(Ordering::SeqCst);
    #[cfg(not(feature = "gc"))]
    0
}

/// Looks for them once more.
fn find_hidden(tally: &Tally) -> Result<(), String> {
    #[cfg(feature = "gc")]
    return collect::find_lost(tally);
    #[cfg(not(feature = "gc"))]
    Ok(drop(tally))
}

/// Bytes of collected objects that are alive, as far as the last cycle knows.
fn collected_bytes() -> usize {
    #[cfg(feature = "gc")]
    return greenroutine::gc::stats().heap_live;
    #[cfg(not(feature = "gc"))]
    0
}

/// The collected heap is as small as it was, destructors have run, and those who waited for ever were found: but for what stale words keep. False if nothing is collected.
fn collected_returns(live: usize, tally: &Tally) -> io::Result<bool> {
    #[cfg(feature = "gc")]
    {
        let Some((now, destroyed, made)) = collect::settled() else { return Ok(false) };
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (lost, found) = (of(&tally.lost), of(&tally.lost_found));
        let text = format!(
            "{} KiB alive, {destroyed} of {made} destructors, {found} of {lost} lost goroutines found",
            now >> 10
        );
        let grown = now > live + COLLECTED_SLACK;
        if grown || destroyed > made || destroyed < made / 10 * 9 || found > lost || found < lost / 5 {
            return Err(io::Error::other(format!(
                "the collected heap at the end: {text}; {} KiB were alive at most in the first rounds",
                live >> 10
            )));
        }
        writeln!(io::stdout(), "the collected heap at the end: {text}")?;
    }
    let _ = (live, tally);
    Ok(true)
}

/// Ends the process with a dump if a round takes too long.
struct Watchdog(#[expect(dead_code, reason = "dropping it is the message")] mpsc::Sender<()>);

impl Watchdog {
    fn start(bed: &Bed, plan: &Plan) -> Option<Self> {
        let (sender, receiver) = mpsc::channel();
        let (what, runtime) = (format!("{}: {plan}", bed.name), bed.runtime.clone());
        let watch = move || {
            if receiver.recv_timeout(TOO_LONG) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("greenroutine: a round hangs: {what}\n{}", runtime.dump());
                std::process::exit(1);
            }
        };
        std::thread::Builder::new().spawn(watch).ok().map(|_| Self(sender))
    }
}

/// Waits for the memory of ended runtimes to go back.
fn memory_returns(warm: u64) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let held = memory::held_bytes()?;
        if held <= warm + SLACK {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(20) {
            let (held, warm) = (held >> 20, warm >> 20);
            return Err(io::Error::other(format!(
                "{held} MiB are held at the end, and {warm} MiB were at most in the first rounds"
            )));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            f,
            "{} goroutines, {} messages, {} locks, {} timers, {} bytes over sockets; {} objects; {} panics, {} cancelled, {} refused",
            of(&self.goroutines),
            of(&self.messages),
            of(&self.locks),
            of(&self.timers),
            of(&self.bytes),
            of(&self.objects),
            of(&self.panics),
            of(&self.cancelled),
            of(&self.refused),
        )
    }
}
