//! [`Pool`]: values that are kept to be used again. After Go's sync.Pool (sync/pool.go): a part for each worker, a look at the others' when that is empty, and values that two collections in a row
//! find unused are dropped.
//!
//! ```text
//!   get   the own part's values, its victims, another part's, else a new one
//!   put   into the own part
//!   collection   victims go, values become victims
//! ```
//!
//! A part's lock is biased (`base::bias`): the worker that uses it takes it without a locked instruction. Collections are counted; a part that is used catches up with the count, and the collector's finalizer has
//! all others do so.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crossbeam_utils::CachePadded;

use crate::base::bias::{BiasLocked, BiasedLock, Me};
use crate::base::lock::{Lock, Rank};
use crate::sched;

/// Collections until now.
static COLLECTIONS: AtomicU32 = AtomicU32::new(0);
/// The pools.
static POOLS: Lock<Vec<Weak<dyn CatchUp>>> = Lock::new(Rank::Api, Vec::new());

/// Values that are kept to be used again: buffers, parsers, whatever costs more to make than to reset. Go's `sync.Pool`.
///
/// [`get`](Pool::get) gives any of the values that were [`put`](Pool::put), or a new one. A value that two collections of the collected heap in a row have found unused is dropped, so a pool holds about what a
/// program needs at its busiest, and less when it is at rest. Without the feature `gc` nothing is dropped but with the pool.
///
/// Nothing is promised about which value comes, nor that one that was put ever does.
///
/// # Blocking
///
/// Never. `make` and the destructors of values run under no lock; those of dropped values may run on the collector's finalizer.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::Pool;
///
/// static BUFFERS: std::sync::LazyLock<Pool<Vec<u8>>> = std::sync::LazyLock::new(|| Pool::new(|| Vec::with_capacity(1024)));
///
/// let mut buffer = BUFFERS.get();
/// buffer.extend(b"used");
/// buffer.clear();
/// BUFFERS.put(buffer);
/// assert!(BUFFERS.get().capacity() >= 1024);
/// ```
pub struct Pool<T: Send + 'static> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    make: Box<dyn Fn() -> T + Send + Sync>,
    /// A power of two of them.
    parts: Box<[CachePadded<Part<T>>]>,
}

struct Part<T> {
    /// About how many values there are: whether others look here.
    count: AtomicUsize,
    values: BiasedLock<Values<T>>,
}

struct Values<T> {
    /// Put since the last collection.
    fresh: Vec<T>,
    /// Put before it.
    victims: Vec<T>,
    /// Collections that this part knows of.
    collections: u32,
}

/// A pool of any type.
trait CatchUp: Send + Sync {
    fn catch_up(&self);
}

impl<T: Send + 'static> Pool<T> {
    /// An empty pool; `make` makes values when it has none.
    pub fn new<F: Fn() -> T + Send + Sync + 'static>(make: F) -> Self {
        let parts = std::thread::available_parallelism().map_or(1, |count| count.get().next_power_of_two());
        let collections = COLLECTIONS.load(Ordering::Relaxed);
        let part = |_| {
            let values = Values { fresh: Vec::new(), victims: Vec::new(), collections };
            CachePadded::new(Part { count: AtomicUsize::new(0), values: BiasedLock::new(Rank::Api, values) })
        };
        let inner = Arc::new(Inner { make: Box::new(make), parts: (0..parts).map(part).collect() });
        let weak = Arc::downgrade(&inner);
        let mut pools = POOLS.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(weak);
        drop(pools);
        Self { inner }
    }

    /// A value: one that was put, or a new one.
    #[inline]
    pub fn get(&self) -> T {
        let (part, me) = self.inner.part();
        part.take_biased(me).unwrap_or_else(|| self.inner.get_slow(part, me))
    }

    /// Gives a value to the pool.
    #[inline]
    pub fn put(&self, value: T) {
        let (part, me) = self.inner.part();
        if let Err(value) = part.put_biased(value, me) {
            part.put(value, me);
        }
    }
}

impl<T> Inner<T> {
    /// The part of whoever calls, and the caller's name.
    #[inline]
    fn part(&self) -> (&Part<T>, Me) {
        let (index, me) = sched::ambient::index_and_name();
        (&self.parts[index & (self.parts.len() - 1)], me)
    }

    #[cold]
    #[inline(never)]
    fn get_slow(&self, own: &Part<T>, me: Me) -> T {
        let stolen = || self.parts.iter().filter(|part| part.count.load(Ordering::Relaxed) > 0);
        let value = own.take(me).or_else(|| stolen().find_map(|part| part.take(me)));
        value.unwrap_or_else(|| (self.make)())
    }
}

impl<T> Part<T> {
    /// The values, and what a collection has left to drop: after the lock.
    #[inline]
    fn lock(&self, me: Me) -> (BiasLocked<'_, Values<T>>, [Vec<T>; 2]) {
        let mut values = self.values.lock(me);
        let collections = COLLECTIONS.load(Ordering::Relaxed);
        let gone = if values.collections == collections {
            [Vec::new(), Vec::new()]
        } else {
            values.catch_up(collections)
        };
        (values, gone)
    }

    /// The commonest case: the lock is biased to the caller, nothing was collected, and there is a value.
    #[inline]
    fn take_biased(&self, me: Me) -> Option<T> {
        let mut values = self.values.lock_biased(me)?;
        if values.collections != COLLECTIONS.load(Ordering::Relaxed) {
            return None;
        }
        let value = values.fresh.pop()?;
        self.count_values(&values);
        Some(value)
    }

    /// As [`Part::take_biased`], if there is room for the value; gives it back otherwise.
    #[inline]
    fn put_biased(&self, value: T, me: Me) -> Result<(), T> {
        let Some(mut values) = self.values.lock_biased(me) else { return Err(value) };
        if values.collections != COLLECTIONS.load(Ordering::Relaxed)
            || values.fresh.len() == values.fresh.capacity()
        {
            return Err(value);
        }
        values.fresh.push(value);
        self.count_values(&values);
        Ok(())
    }

    /// Under the lock, after a change.
    #[inline]
    fn count_values(&self, values: &Values<T>) {
        self.count.store(values.fresh.len() + values.victims.len(), Ordering::Relaxed);
    }

    fn take(&self, me: Me) -> Option<T> {
        let (mut values, gone) = self.lock(me);
        let value = values.fresh.pop().or_else(|| values.victims.pop());
        self.count_values(&values);
        drop(values);
        drop(gone);
        value
    }

    #[cold]
    #[inline(never)]
    fn put(&self, value: T, me: Me) {
        let (mut values, gone) = self.lock(me);
        values.fresh.push(value);
        self.count_values(&values);
        drop(values);
        drop(gone);
    }
}

impl<T> Values<T> {
    /// Takes note of collections. Returns what they have left to drop.
    #[cold]
    fn catch_up(&mut self, collections: u32) -> [Vec<T>; 2] {
        let missed = collections.wrapping_sub(self.collections);
        self.collections = collections;
        let fresh = std::mem::take(&mut self.fresh);
        if missed == 1 {
            [std::mem::replace(&mut self.victims, fresh), Vec::new()]
        } else {
            [std::mem::take(&mut self.victims), fresh]
        }
    }
}

impl<T: Send> CatchUp for Inner<T> {
    fn catch_up(&self) {
        for part in self.parts.iter().filter(|part| part.count.load(Ordering::Relaxed) > 0) {
            let (values, gone) = part.lock(sched::worker::me());
            part.count_values(&values);
            drop(values);
            drop(gone);
        }
    }
}

/// A collection has ended. Returns whether there are pools, which then have to [`catch_up`].
#[cfg_attr(not(feature = "gc"), allow(dead_code, reason = "for the collector"))]
pub(crate) fn count_collection() -> bool {
    COLLECTIONS.fetch_add(1, Ordering::Relaxed);
    !POOLS.lock().is_empty()
}

/// Has all pools drop what is to be dropped. Runs code of the user's.
#[cfg_attr(not(feature = "gc"), allow(dead_code, reason = "for the collector"))]
pub(crate) fn catch_up() {
    let pools = POOLS.lock().clone();
    for pool in pools.iter().filter_map(Weak::upgrade) {
        pool.catch_up();
    }
}

impl<T: Send + 'static> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.inner.parts.iter().map(|part| part.count.load(Ordering::Relaxed)).sum();
        f.debug_struct("Pool").field("count", &count).finish_non_exhaustive()
    }
}
