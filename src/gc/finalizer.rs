//! The finalizer: runs destructors and clean-ups of objects that are gone, one after the other, never on the collector's thread and under no lock.
//!
//! It is a goroutine of the global runtime, or a thread if that was never started. It starts when something is due and ends when nothing is left, so a program at rest has none. One that blocks
//! for ever keeps those after it waiting, as in Go; collection goes on.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};

use super::reap::{self, Due};
use crate::base::lock::{Lock, Rank};
use crate::go;
use crate::routine::unwind;
use crate::sched::ambient;
use crate::sync;

struct Queue {
    /// Boxed: a queue leaves what it has given out in its memory, and what is there would be kept alive.
    jobs: VecDeque<Box<Due>>,
    /// Whether a finalizer runs.
    is_served: bool,
}

/// Ordinary memory, so what is in it is reachable.
static QUEUE: Lock<Queue> = Lock::new(Rank::Api, Queue { jobs: VecDeque::new(), is_served: false });

/// Has the finalizer do what the cycle that has just ended left to do. On the collector's thread, before the next cycle.
pub(super) fn after_cycle() {
    let mut due = reap::take_due();
    if sync::count_collection() {
        due.push(Due::Pools);
    }
    submit(due);
}

fn submit(due: Vec<Due>) {
    if due.is_empty() {
        return;
    }
    let is_served = {
        let mut queue = QUEUE.lock();
        queue.jobs.extend(due.into_iter().map(Box::new));
        std::mem::replace(&mut queue.is_served, true)
    };
    if !is_served {
        start();
    }
}

fn start() {
    let name = "greenroutine-finalizer";
    // The calling thread is no goroutine, so a goroutine of its is one of the global runtime.
    let goroutine = ambient::global_if_started().map(|_| go::Builder::new().name(name).spawn(serve));
    if let Some(Ok(_)) = goroutine {
        return;
    }
    if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(serve) {
        // Tried again after the next cycle that has something.
        QUEUE.lock().is_served = false;
        eprintln!("greenroutine: gc: destructors have to wait: the finalizer could not be started: {error}");
    }
}

fn serve() {
    loop {
        let job = {
            let mut queue = QUEUE.lock();
            let job = queue.jobs.pop_front();
            queue.is_served = job.is_some();
            job
        };
        match job {
            Some(job) => run(*job),
            None => return,
        }
    }
}

fn run(job: Due) {
    let what = match &job {
        Due::Destructor(_, destructor) => destructor.name,
        Due::Call(_) | Due::Pools => "",
    };
    let result = panic::catch_unwind(AssertUnwindSafe(|| match job {
        Due::Destructor(object, destructor) => {
            // SAFETY: an object of that destructor's type that nobody can reach any more; it left the table with this job, so this is the only time.
            unsafe { (destructor.run)(object) };
        }
        Due::Call(call) => call(),
        Due::Pools => sync::pools_catch_up(),
    }));
    // Those that end a goroutine by themselves end only the destructor.
    if let Err(payload) = result
        && let unwind::Unwound::Panic(payload) = unwind::Unwound::from_payload(payload)
    {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a value");
        match what {
            "" => eprintln!("greenroutine: gc: a clean-up panicked: {text}"),
            name => eprintln!("greenroutine: gc: the destructor of a GcDrop<{name}> panicked: {text}"),
        }
        // Dropping a payload may panic as well.
        std::mem::forget(payload);
    }
}
