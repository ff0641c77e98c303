//! The goroutine dump: a line for each goroutine, and below it where it was spawned and where it waits. Goroutines for which that is the same stand together, so a hundred thousand of a kind are read as
//! one.
//!
//! ```text
//! 3 goroutines of runtime "greenroutine"
//!
//! goroutine 17 'reader' [chan receive] for 3 s, stack 2336 bytes in use, 16384 open, 67108864 at most
//! goroutine 18 'reader' [chan receive] for 2 s, stack 2336 bytes in use, 16384 open, 67108864 at most
//!     spawned at src/main.rs:12:9
//!     app::read at src/main.rs:20
//! ```

use std::collections::HashMap;
use std::fmt::Write;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::frames::{self, Walker};
use crate::routine::{TaskRef, Wait, slot};
use crate::sched::{Core, WorkerShared};

const RUNNING: &str = "running";

/// Goroutines that are alike.
struct Group {
    /// By id.
    lines: Vec<(u64, String)>,
    below: Below,
}

/// What stands below the lines of a group: where goroutines are that are alike.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Below {
    pub(super) state: &'static str,
    pub(super) site: &'static Location<'static>,
    /// Code addresses, the innermost first.
    pub(super) frames: Vec<u64>,
}

/// Who asks: the id and the frames of a goroutine.
type Asker = Option<(u64, Vec<u64>)>;

/// Describes all goroutines of a runtime that have not ended. They go on meanwhile.
pub(crate) fn dump(core: &Core) -> String {
    beside_the_caller(|me| write(core, me)).unwrap_or_else(|error| error)
}

/// Calls `work` with who asks, where there is stack enough to look names up.
pub(super) fn beside_the_caller<T: Send>(work: impl FnOnce(&Asker) -> T + Send) -> Result<T, String> {
    let own = frames::own();
    match slot::current().map(|slot| slot.task().id.load(Ordering::Relaxed)) {
        None => Ok(work(&None)),
        Some(me) => on_a_thread(|| work(&Some((me, own)))),
    }
}

/// Runs `work` beside the caller, which is a goroutine: looking names up takes more stack than one may have.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let helper = std::thread::Builder::new().name(String::from("greenroutine-dump"));
        match helper.spawn_scoped(scope, work) {
            Ok(thread) => thread.join().map_err(|_| String::from("the dump has panicked\n")),
            Err(error) => Err(format!("no thread to describe the goroutines: {error}\n")),
        }
    })
}

/// Where goroutines wait, of which the caller holds references: the functions and their places.
#[cfg(feature = "gc")]
pub(crate) fn backtraces(tasks: &[TaskRef]) -> Vec<Vec<String>> {
    let walk = || {
        let mut walker = Walker::new();
        let walk = |task: &TaskRef| {
            let frames = walker.walk(task);
            frames.into_iter().flat_map(|frame| walker.names(frame).to_vec()).collect()
        };
        tasks.iter().map(walk).collect()
    };
    if tasks.is_empty() || slot::current().is_none() {
        return walk();
    }
    on_a_thread(walk).unwrap_or_else(|_| vec![Vec::new(); tasks.len()])
}

/// Calls `each` with every goroutine, its id, and where it is.
pub(super) fn for_each(
    core: &Core,
    me: &Asker,
    walker: &mut Walker,
    mut each: impl FnMut(TaskRef, u64, Below),
) {
    let workers = core.all_workers();
    let runs = |task: TaskRef| {
        let here = |worker: &&Arc<WorkerShared>| std::ptr::eq(worker.running.get(), task);
        workers.iter().find(here).map(|worker| worker.tid.load(Ordering::Relaxed))
    };
    core.for_each_goroutine(|task| {
        let id = task.id.load(Ordering::Relaxed);
        let tid = runs(task);
        let state = state(task, tid.is_some());
        let frames = match (me, tid) {
            (Some((me, own)), _) if *me == id => own.clone(),
            (_, Some(tid)) if state == RUNNING => walker.walk_running(task, tid),
            _ => walker.walk(task),
        };
        each(task, id, Below { state, site: task.site.get(), frames });
    });
}

fn write(core: &Core, me: &Asker) -> String {
    let mut walker = Walker::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut by_below: HashMap<Below, usize> = HashMap::new();
    let mut count = 0_usize;
    for_each(core, me, &mut walker, |task, id, below| {
        count += 1;
        let line = line(core, task, id, below.state);
        let at = *by_below.entry(below).or_insert_with_key(|below| {
            groups.push(Group { lines: Vec::new(), below: below.clone() });
            groups.len() - 1
        });
        groups[at].lines.push((id, line));
    });
    for group in &mut groups {
        group.lines.sort_unstable_by_key(|(id, _)| *id);
    }
    groups.sort_by_key(|group| group.lines.first().map_or(0, |(id, _)| *id));
    let mut out = format!("{count} goroutines of runtime {:?}\n", core.config.name);
    for group in groups {
        out.push('\n');
        for (_, line) in group.lines {
            out.push_str(&line);
        }
        let _ = writeln!(out, "    spawned at {}", group.below.site);
        for frame in group.below.frames {
            for name in walker.names(frame) {
                let _ = writeln!(out, "    {name}");
            }
        }
    }
    out
}

fn line(core: &Core, task: TaskRef, id: u64, state: &str) -> String {
    let mut line = format!("goroutine {id}");
    if let Some(name) = task.name() {
        let _ = write!(line, " '{name}'");
    }
    let _ = write!(line, " [{state}]");
    if let Some(waited) = core.ages.waited(task) {
        let _ = write!(line, " for {}", rounded(waited));
    }
    if let Some(slot) = task.slot() {
        // Where it was suspended last; before the first time, nowhere.
        let sp = Some(slot.suspended_sp.get()).filter(|sp| *sp != 0).unwrap_or(slot.stack.top());
        let used = slot.stack.top().saturating_sub(sp);
        let (open, max) = (slot.stack.open_bytes(), task.stack_max.get());
        let _ = write!(line, ", stack {used} bytes in use, {open} open, {max} at most");
    }
    line.push('\n');
    line
}

fn rounded(waited: Duration) -> String {
    match waited.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

pub(super) fn state(task: TaskRef, running: bool) -> &'static str {
    match task.wake.waiting() {
        Some(wait) => Wait::words(wait),
        None if task.slot().is_none() => "not started",
        None if running => RUNNING,
        None => "runnable",
    }
}
