//! What happened, as text: Chrome's trace format (JSON), which Perfetto opens. Called by `runtime::trace`.
//!
//! | in the viewer | from |
//! | --- | --- |
//! | process "workers", a row for each: which goroutine ran, from when to when; why it stopped and where it was spawned, as arguments | `Ran`, `Idle` |
//! | process "goroutines", a row for each: its life, and in it each wait, named by what it waits for | `Ran` |
//! | arrows from who woke to who was woken | `Woke` |
//! | counters: goroutines, those in queues, armed timers | looked at when records are collected |
//! | a row for the collector's cycles, and in them marking, pauses and the sweep | `Stretch` |
//!
//! A thread collects the workers' records every 20 ms. What a worker's ring cannot hold meanwhile is lost, and the trace says so.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::routine::Wait;
use crate::sched::trace::{self, ENDED, Event, OUTSIDE, What, YIELDED};
use crate::sched::{self, Core};
use crate::sys::clock;

/// Between two collections.
const PERIOD: Duration = Duration::from_millis(20);
/// Processes of the viewer.
const WORKERS: u32 = 1;
const GOROUTINES: u32 = 2;

/// What is under way in this process.
enum Recording {
    /// To a writer, by a thread that ends when the sender is dropped.
    Stream(Sender<()>, JoinHandle<io::Result<()>>),
    /// In the rings.
    Flight,
}

static RECORDING: Mutex<Option<Recording>> = Mutex::new(None);

fn recording() -> MutexGuard<'static, Option<Recording>> {
    RECORDING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn busy() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a trace is being recorded already: runtime::trace::stop ends it",
    )
}

/// Begins to write.
pub(crate) fn start(writer: Box<dyn Write + Send>) -> io::Result<()> {
    let mut recording = recording();
    if recording.is_some() {
        return Err(busy());
    }
    let (sender, stop) = channel();
    let mut trace = Text::new(writer);
    trace.begin()?;
    // What is left of an earlier one.
    drop(trace::read(false));
    let thread = std::thread::Builder::new().name(String::from("greenroutine-trace")).spawn(move || {
        let _ours = sched::stall::Ours::new();
        loop {
            let is_last = stop.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout);
            let (events, lost) = trace::read(false);
            trace.write_all(&events, lost)?;
            trace.counters()?;
            if is_last {
                return trace.end();
            }
        }
    })?;
    trace::set(true);
    *recording = Some(Recording::Stream(sender, thread));
    Ok(())
}

/// Begins to keep the last records.
pub(crate) fn start_flight() -> io::Result<()> {
    let mut recording = recording();
    if recording.is_some() {
        return Err(busy());
    }
    drop(trace::read(false));
    trace::set(true);
    *recording = Some(Recording::Flight);
    Ok(())
}

/// Ends whatever is recorded.
pub(crate) fn stop() -> io::Result<()> {
    let Some(recording) = recording().take() else { return Ok(()) };
    trace::set(false);
    match recording {
        Recording::Flight => Ok(()),
        Recording::Stream(stop, thread) => {
            drop(stop);
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the trace's thread has panicked")))
        }
    }
}

/// Writes what is in the rings.
pub(crate) fn snapshot(writer: &mut dyn Write) -> io::Result<()> {
    let (events, _) = trace::read(true);
    let mut text = Text::new(writer);
    text.begin()?;
    text.write_all(&events, 0)?;
    text.counters()?;
    text.end()
}

/// The text, as far as it is.
struct Text<W> {
    out: W,
    first: bool,
    /// Times count from here.
    start: u64,
    /// Workers whose rows have their names.
    named: HashSet<u16>,
    /// Goroutines that have begun and not ended: why they wait, if they do.
    waiting: HashMap<u64, Option<&'static str>>,
    /// Arrows without an end: who was woken, by which arrow.
    arrows: HashMap<u64, u64>,
    arrow: u64,
}

impl<W: Write> Text<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            first: true,
            start: clock::now_ns(),
            named: HashSet::new(),
            waiting: HashMap::new(),
            arrows: HashMap::new(),
            arrow: 0,
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        self.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
        for (pid, name) in [(WORKERS, "workers"), (GOROUTINES, "goroutines")] {
            self.event(format_args!(
                "\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{pid},\"args\":{{\"name\":\"{name}\"}}"
            ))?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()
    }

    fn event(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        let comma = if std::mem::replace(&mut self.first, false) { "" } else { ",\n" };
        write!(self.out, "{comma}{{{text}}}")
    }

    /// Microseconds since the start, with three digits.
    fn time(&self, at: u64) -> String {
        let nanos = at.saturating_sub(self.start);
        format!("{}.{:03}", nanos / 1000, nanos % 1000)
    }

    fn write_all(&mut self, events: &[Event], lost: u64) -> io::Result<()> {
        if let Some(first) = events.first().filter(|_| self.waiting.is_empty()) {
            // Of a flight recorder everything lies before.
            self.start = self.start.min(first.at.saturating_sub(1_000_000));
        }
        self.name_workers(events)?;
        for event in events {
            self.write(event)?;
        }
        if lost > 0 {
            let ts = self.time(clock::now_ns());
            self.event(format_args!(
                "\"ph\":\"i\",\"s\":\"g\",\"name\":\"{lost} records lost\",\"pid\":{WORKERS},\"tid\":0,\"ts\":{ts}"
            ))?;
        }
        Ok(())
    }

    fn name_workers(&mut self, events: &[Event]) -> io::Result<()> {
        if events.iter().all(|event| self.named.contains(&event.worker)) {
            return Ok(());
        }
        let outside = (OUTSIDE, String::from("outside"));
        for (worker, name) in trace::workers().into_iter().chain([outside]) {
            if self.named.insert(worker) {
                let name = escaped(&name);
                self.event(format_args!(
                    "\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{WORKERS},\"tid\":{worker},\"args\":{{\"name\":\"{name}\"}}"
                ))?;
            }
        }
        Ok(())
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        let (worker, now) = (event.worker, self.time(event.at));
        match event.what {
            What::Ran { id, since, then, site } => {
                let began = self.time(since);
                self.goes_on(id, &began, worker)?;
                let duration = self.length(since, event.at);
                let why = match then {
                    ENDED => "end",
                    YIELDED => "yield",
                    wait => Wait::words(wait),
                };
                let site = escaped(&site.to_string());
                self.event(format_args!(
                    "\"ph\":\"X\",\"name\":\"goroutine {id}\",\"cat\":\"run\",\"pid\":{WORKERS},\"tid\":{worker},\"ts\":{began},\"dur\":{duration},\"args\":{{\"then\":\"{why}\",\"spawned\":\"{site}\"}}"
                ))?;
                self.stops(id, &now, then, why)
            }
            What::Woke { id, by } => {
                if self.arrows.contains_key(&id) || worker == OUTSIDE && by == 0 {
                    return Ok(());
                }
                self.arrow += 1;
                self.arrows.insert(id, self.arrow);
                let arrow = self.arrow;
                let name = if by == 0 { String::from("timer") } else { format!("woken by goroutine {by}") };
                self.event(format_args!(
                    "\"ph\":\"s\",\"name\":\"{name}\",\"cat\":\"wake\",\"id\":{arrow},\"pid\":{WORKERS},\"tid\":{worker},\"ts\":{now}"
                ))
            }
            What::Idle { since } => self.span("idle", worker, since, event.at),
            What::Stretch { name, since } => self.span(name, worker, since, event.at),
        }
    }

    fn length(&self, since: u64, until: u64) -> String {
        let nanos = until.saturating_sub(since);
        format!("{}.{:03}", nanos / 1000, nanos % 1000)
    }

    fn span(&mut self, name: &str, worker: u16, since: u64, until: u64) -> io::Result<()> {
        let (began, duration) = (self.time(since), self.length(since, until));
        self.event(format_args!(
            "\"ph\":\"X\",\"name\":\"{name}\",\"cat\":\"worker\",\"pid\":{WORKERS},\"tid\":{worker},\"ts\":{began},\"dur\":{duration}"
        ))
    }

    /// A part of a goroutine's row: `phase` is "b" or "e".
    fn part(&mut self, phase: &str, name: &str, id: u64, at: &str) -> io::Result<()> {
        self.event(format_args!(
            "\"ph\":\"{phase}\",\"name\":\"{name}\",\"cat\":\"goroutine\",\"id\":{id},\"pid\":{GOROUTINES},\"tid\":0,\"ts\":{at}"
        ))
    }

    fn goes_on(&mut self, id: u64, at: &str, worker: u16) -> io::Result<()> {
        match self.waiting.insert(id, None) {
            None => self.part("b", &format!("goroutine {id}"), id, at)?,
            Some(Some(wait)) => self.part("e", wait, id, at)?,
            Some(None) => {}
        }
        if let Some(arrow) = self.arrows.remove(&id) {
            self.event(format_args!(
                "\"ph\":\"f\",\"bp\":\"e\",\"name\":\"woken\",\"cat\":\"wake\",\"id\":{arrow},\"pid\":{WORKERS},\"tid\":{worker},\"ts\":{at}"
            ))?;
        }
        Ok(())
    }

    fn stops(&mut self, id: u64, at: &str, then: u8, why: &'static str) -> io::Result<()> {
        match then {
            ENDED => {
                self.waiting.remove(&id);
                self.part("e", &format!("goroutine {id}"), id, at)
            }
            YIELDED => Ok(()),
            _ => {
                self.waiting.insert(id, Some(why));
                self.part("b", why, id, at)
            }
        }
    }

    fn counters(&mut self) -> io::Result<()> {
        let ts = self.time(clock::now_ns());
        for core in sched::stall::runtimes() {
            let name = escaped(&core.config.name);
            let (goroutines, queued, timers) = loads(&core);
            self.event(format_args!(
                "\"ph\":\"C\",\"name\":\"{name}\",\"pid\":{WORKERS},\"ts\":{ts},\"args\":{{\"goroutines\":{goroutines},\"queued\":{queued},\"timers\":{timers}}}"
            ))?;
        }
        Ok(())
    }
}

fn loads(core: &Core) -> (u64, usize, usize) {
    let queued = core.workers().map(|worker| worker.fresh.len()).sum::<usize>() + core.injector.len();
    (core.live(), queued, core.workers().map(|worker| worker.timers.len()).sum())
}

/// As it may stand in a JSON string.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
