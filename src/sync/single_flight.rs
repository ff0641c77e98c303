//! [`SingleFlight`]: a map of what is being computed; Go's `x/sync/singleflight`. Each computation is a [`OnceCell`], in which the callers wait.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::panic::{self, AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::mutex::Mutex;
use super::once_cell::OnceCell;
use crate::routine::Wait;
use crate::routine::unwind::Unwound;

/// Computes a value once for all that ask for it at the same time.
///
/// It keeps nothing: who asks after a computation has ended starts the next one.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::SingleFlight;
///
/// static LOOKUPS: std::sync::LazyLock<SingleFlight<&str, usize>> = std::sync::LazyLock::new(SingleFlight::new);
///
/// assert_eq!(LOOKUPS.run("gopher", || "gopher".len()), 6);
/// ```
pub struct SingleFlight<K, V> {
    flights: Mutex<HashMap<K, Arc<Flight<V>>>>,
}

type Flight<V> = OnceCell<Result<V, Panicked>>;

/// What the computation panicked with, as far as it is text.
struct Panicked(String);

impl<K, V> UnwindSafe for SingleFlight<K, V> {}
impl<K, V> RefUnwindSafe for SingleFlight<K, V> {}

impl<K: Eq + Hash + Clone, V: Clone> SingleFlight<K, V> {
    /// Nothing is being computed.
    pub fn new() -> Self {
        Self { flights: Mutex::new(HashMap::new()) }
    }

    /// The value for `key`: of the computation that is on, or else of `f`, whose value all get that ask for `key` meanwhile.
    ///
    /// `f` may ask for other keys; if it asks for its own it waits for ever.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, while another caller's closure runs.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits unwinds. If it is cancelled in `f`, one of those that wait runs its own closure instead.
    ///
    /// # Panics
    ///
    /// If the closure that runs does, for all callers: the one that ran it gets the payload, the others a text with the payload's.
    pub fn run(&self, key: K, f: impl FnOnce() -> V) -> V {
        let flight = self.flights.lock().entry(key.clone()).or_default().clone();
        let seat = Seat { group: self, key: &key, flight: &flight };
        let mut own_panic = None;
        let result = flight.init(Wait::SingleFlight, || {
            let result = panic::catch_unwind(AssertUnwindSafe(f));
            let result = result.map_err(|payload| match Unwound::from_payload(payload) {
                Unwound::Panic(payload) => {
                    let text = Panicked(text(&*payload).to_owned());
                    own_panic = Some(payload);
                    text
                }
                // The turn unwinds, and another caller has the next.
                Unwound::Cancelled => crate::routine::unwind::cancelled(),
                Unwound::TimedOut(mark) => panic::resume_unwind(mark),
                Unwound::Goexit => crate::routine::unwind::goexit(),
            });
            // Who comes from here on starts anew.
            seat.remove(|_| true);
            result
        });
        if let Some(payload) = own_panic {
            panic::resume_unwind(payload);
        }
        match result {
            Ok(value) => value.clone(),
            Err(Panicked(text)) => panic!("singleflight: the shared call panicked: {text}"),
        }
    }

    /// Forgets the computation for `key` that is on, if there is one: the next caller starts another. Those that wait for it get its value.
    pub fn forget(&self, key: &K) {
        let forgotten = self.flights.lock().remove(key);
        // Not under the lock: it may be the last handle of a value of the user's.
        drop(forgotten);
    }
}

/// A caller's part in a computation.
struct Seat<'a, K: Eq + Hash, V> {
    group: &'a SingleFlight<K, V>,
    key: &'a K,
    flight: &'a Arc<Flight<V>>,
}

impl<K: Eq + Hash, V> Seat<'_, K, V> {
    /// Takes the flight out of the map, if it is there and `also` holds of it.
    fn remove(&self, also: impl FnOnce(&Arc<Flight<V>>) -> bool) {
        let mut flights = self.group.flights.lock();
        let ours = flights.get(self.key).is_some_and(|there| Arc::ptr_eq(there, self.flight) && also(there));
        let removed = if ours { flights.remove_entry(self.key) } else { None };
        drop(flights);
        drop(removed);
    }
}

impl<K: Eq + Hash, V> Drop for Seat<'_, K, V> {
    /// A flight that everybody has left without a value leaves the map.
    fn drop(&mut self) {
        if self.flight.get().is_none() {
            // The map's and ours. Others come by way of the map, whose lock we have then.
            self.remove(|flight| Arc::strong_count(flight) == 2);
        }
    }
}

fn text(payload: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(no text)"
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight").finish_non_exhaustive()
    }
}
