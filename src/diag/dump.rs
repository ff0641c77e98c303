//! The goroutine dump: one entry per goroutine, grouped by nothing yet, readable as it stands.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::routine::{TaskRef, Wait};
use crate::sched::Core;

struct Entry {
    id: u64,
    text: String,
}

/// Describes all goroutines of a runtime that have not ended, by id. They go on running meanwhile.
pub(crate) fn dump(core: &Core) -> String {
    let running: Vec<_> = core.workers().map(|w| w.running.load(Ordering::Relaxed).cast_const()).collect();
    let mut entries = Vec::new();
    core.for_each_goroutine(|task| {
        let state = state(task, running.contains(&std::ptr::from_ref(task)));
        let id = task.id.load(Ordering::Relaxed);
        let mut text = format!("goroutine {id}");
        if let Some(name) = task.name() {
            let _ = write!(text, " '{name}'");
        }
        let _ = write!(text, " [{state}]\n    spawned at {}\n", task.site.get());
        if let Some(slot) = task.slot() {
            let used = slot.stack.top().saturating_sub(slot.suspended_sp.get());
            let (open, max) = (slot.stack.open_bytes(), task.stack_max.get());
            let _ = writeln!(text, "    stack {used} bytes in use, {open} open, {max} at most");
        }
        entries.push(Entry { id, text });
    });
    entries.sort_by_key(|entry| entry.id);
    let mut out = format!("{} goroutines of runtime {:?}\n", entries.len(), core.config.name);
    for entry in entries {
        out.push('\n');
        out.push_str(&entry.text);
    }
    out
}

fn state(task: TaskRef, running: bool) -> &'static str {
    match task.wake.waiting() {
        Some(wait) => Wait::words(wait),
        None if task.slot().is_none() => "not started",
        None if running => "running",
        None => "runnable",
    }
}
