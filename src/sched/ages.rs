//! How long goroutines have waited: not written down when they begin to, which would cost every switch, but seen from outside. The monitor looks at all of them now and then and notes
//! which waits are new; who is in the same wait at the next look has waited since.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::core::Core;
use crate::base::lock::{Lock, Rank};
use crate::routine::TaskRef;
use crate::sys::clock;

/// Between two looks, at least; and at least so many times what a look takes.
const PERIOD_NS: u64 = 1_000_000_000;
const SHARE: u64 = 200;

/// See the file's documentation.
pub(crate) struct Ages {
    /// By the cell's address, inverted, so that a search for goroutines that nobody reaches (`gc::leaks`) finds none here: the wait, and when it was first seen.
    seen: Lock<HashMap<usize, (u64, u64)>>,
    next: AtomicU64,
}

impl Ages {
    pub(super) fn new() -> Self {
        Self { seen: Lock::new(Rank::Runtime, HashMap::new()), next: AtomicU64::new(0) }
    }

    /// How long a goroutine has been in its present wait, at least; `None` if it does not wait or was not seen yet.
    pub(crate) fn waited(&self, task: TaskRef) -> Option<Duration> {
        let word = task.wake.look();
        task.wake.waiting()?;
        let (seen, since) = *self.seen.lock().get(&!std::ptr::from_ref(task).addr())?;
        (seen == word).then(|| Duration::from_nanos(clock::now_ns().saturating_sub(since)))
    }
}

impl Core {
    /// Looks at all goroutines, if it is time.
    pub(super) fn note_ages(&self) {
        let begin = clock::now_ns();
        if begin < self.ages.next.load(Ordering::Relaxed) {
            return;
        }
        let mut before = std::mem::take(&mut *self.ages.seen.lock());
        let mut after = HashMap::with_capacity(before.len());
        self.for_each_goroutine(|task| {
            let (at, word) = (!std::ptr::from_ref(task).addr(), task.wake.look());
            if task.wake.waiting().is_some() {
                let entry = before.remove(&at).filter(|(seen, _)| *seen == word);
                after.insert(at, entry.unwrap_or((word, begin)));
            }
        });
        *self.ages.seen.lock() = after;
        let now = clock::now_ns();
        self.ages.next.store(now + PERIOD_NS.max(SHARE * (now - begin)), Ordering::Relaxed);
    }
}
