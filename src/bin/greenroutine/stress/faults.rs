//! What goes wrong on purpose: and nothing else may.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use greenroutine::sync::Mutex;
use greenroutine::time::{self, Instant};
use greenroutine::{chan, go, task, yield_now};

use super::Tally;
use super::loads::{Checked, same};
use super::plan::Rng;

/// What planned panics carry: nothing, or an object that only the payload keeps.
pub(super) struct OnPurpose(pub(super) Held);

/// See [`OnPurpose`].
#[cfg(feature = "gc")]
pub(super) type Held = Option<greenroutine::Gc<super::collect::Node>>;
#[cfg(not(feature = "gc"))]
pub(super) type Held = Option<()>;

/// Planned panics print nothing.
pub(super) fn quiet_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<OnPurpose>() {
            before(info);
        }
    }));
}

/// Counts its drops.
struct Counted<'a>(&'a AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A panic ends its goroutine and nothing else, with its payload, and its destructors run, also those that wait.
pub(super) fn panics(size: u64, seed: u64, tally: &Tally) -> Checked {
    let (drops, lock) = (AtomicU64::new(0), Mutex::new(0_u64));
    let (count, mut rng) = (size * 20, Rng(seed));
    let mut caught = 0;
    greenroutine::scope(|scope| {
        let handles: Vec<_> = (0..count)
            .map(|_| {
                let (drops, lock, kind) = (&drops, &lock, rng.below(3));
                scope.go(move || {
                    let _counted = Counted(drops);
                    let _guard = (kind == 1).then(|| lock.lock());
                    if kind == 2 {
                        yield_now();
                    }
                    std::panic::panic_any(OnPurpose(None));
                })
            })
            .collect();
        for handle in handles {
            let error = handle.join().err();
            let payload = error.filter(|error| error.is_panic()).map(|error| error.into_panic());
            caught += u64::from(payload.is_some_and(|payload| payload.is::<OnPurpose>()));
        }
    });
    Tally::add(&tally.panics, caught);
    same("panics", caught, count)?;
    same("destructors", drops.load(SeqCst), count)?;
    if lock.try_lock().is_none() {
        return Err(String::from("a lock is held by a goroutine that has panicked"));
    }
    Ok(())
}

/// A cancelled goroutine ends, wherever it waits, with its destructors; messages are not lost by it.
pub(super) fn cancels(size: u64, seed: u64, tally: &Tally) -> Checked {
    let drops = Arc::new(AtomicU64::new(0));
    let (s, r) = chan::<u64>(1);
    let (count, mut rng) = (size * 20, Rng(seed));
    let handles: Vec<_> = (0..count)
        .map(|n| {
            let (drops, s, r, kind) = (drops.clone(), s.clone(), r.clone(), rng.below(5));
            go(move || {
                let _counted = Counted(&drops);
                match kind {
                    0 => task::park(),
                    1 => time::sleep(Duration::from_secs(3600)),
                    2 => drop(r.recv()),
                    3 => while s.send(n).is_ok() {},
                    _ => loop {
                        yield_now();
                    },
                }
            })
        })
        .collect();
    for _ in 0..rng.below(100) {
        yield_now();
    }
    handles.iter().for_each(|handle| handle.cancel());
    let mut cancelled = 0;
    for handle in handles {
        cancelled += u64::from(handle.join().is_err_and(|error| error.is_cancelled()));
    }
    Tally::add(&tally.cancelled, cancelled);
    let done = drops.load(SeqCst);
    // One that was cancelled before it began has made nothing to drop.
    if done > count || cancelled > count {
        return Err(format!("{done} destructors and {cancelled} cancellations of {count}"));
    }
    Ok(())
}

/// What cannot be had is refused with an error, and everything goes on.
pub(super) fn refusals(size: u64, _: u64, tally: &Tally) -> Checked {
    let refused = task::Builder::new().stack_max(1 << 40).spawn(|| ());
    same("kind", refused.err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput))?;
    // The largest stacks, until there is no room for more, or as many as the load is large.
    let (stop, wait) = chan::<()>(0);
    let mut held = Vec::new();
    for _ in 0..size * 50 {
        let wait = wait.clone();
        match task::Builder::new().stack_max(1 << 30).spawn(move || wait.recv().is_err()) {
            Ok(handle) => held.push(handle),
            Err(_) => {
                Tally::add(&tally.refused, 1);
                break;
            }
        }
    }
    drop(stop);
    let count = held.len();
    let ended = held.into_iter().filter_map(|handle| handle.join().ok()).filter(|ended| *ended).count();
    Tally::add(&tally.refused, 1);
    same("goroutines with large stacks", ended, count)
}

/// Goroutines that keep their workers for longer than a time slice: others go on, and timers go off.
pub(super) fn slow(size: u64, seed: u64, _: &Tally) -> Checked {
    let mut rng = Rng(seed);
    greenroutine::scope(|scope| {
        for _ in 0..1 + size / 4 {
            let busy = Duration::from_millis(1 + rng.below(25));
            scope.go(move || {
                let start = Instant::now();
                while start.elapsed() < busy {
                    std::hint::spin_loop();
                }
            });
        }
        scope.go(|| time::sleep(Duration::from_millis(1)));
    });
    Ok(())
}

/// Stops the whole process for a moment, as a debugger or a full machine does: all sleeps are interrupted and all deadlines late.
pub(super) fn stops(_: u64, seed: u64, _: &Tally) -> Checked {
    let millis = 1 + seed % 20;
    let script = format!("kill -STOP $PPID; sleep 0.0{millis:02}; kill -CONT $PPID");
    let status = greenroutine::blocking(|| std::process::Command::new("sh").args(["-c", &script]).status());
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("sh: {status}")),
        Err(error) => Err(format!("sh: {error}")),
    }
}
