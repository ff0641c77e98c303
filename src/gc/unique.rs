//! [`unique`]: equal values as one object. Go's package unique.

#![forbid(unsafe_code)]

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::LazyLock;

use super::ptr::Gc;
use super::weak::Weak;
use crate::base::lock::{Lock, Rank};

/// A value of which there is one: two are equal exactly if the values are, and to see that compares one word. Made by [`unique`], or from a `&str`.
///
/// # Examples
///
/// ```
/// use greenroutine::gc::{self, Unique};
///
/// let (a, b) = (Unique::<str>::from("eu-west"), Unique::from("eu-west"));
/// assert!(a == b && std::ptr::eq(&*a, &*b));
/// assert_ne!(gc::unique((1, 2)), gc::unique((2, 1)));
/// ```
pub struct Unique<T: ?Sized + 'static>(Gc<T>);

/// All values of one type, by hash. An entry's value may be gone.
struct Values<T: ?Sized + 'static> {
    by_hash: HashMap<u64, Vec<Weak<T>>>,
    entries: usize,
    /// What is gone is swept out when there are as many entries.
    sweep_at: usize,
}

/// What is swept out at least.
const LEAST: usize = 64;

static TYPES: Lock<Option<HashMap<TypeId, Box<dyn Any + Send>>>> = Lock::new(Rank::Api, None);
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The unique object with that value: the one there is, or a new one. Values that nobody has any more are forgotten.
pub fn unique<T: Hash + Eq + Send + Sync + 'static>(value: T) -> Unique<T> {
    let hash = HASHER.hash_one(&value);
    let mut given = Some(value);
    let mut made: Option<Gc<T>> = None;
    intern(hash, |make| match make {
        Wanted::IsEqual(there) => given.as_ref().or(made.as_deref()).is_some_and(|value| value == there),
        Wanted::New(place) => {
            if let Some(value) = given.take() {
                made = Some(Gc::new(value));
            }
            *place = made;
            false
        }
    })
}

/// What [`intern`] asks.
enum Wanted<'a, T: ?Sized + 'static> {
    /// Is that the value?
    IsEqual(&'a T),
    /// The value as an object.
    New(&'a mut Option<Gc<T>>),
}

fn intern<T>(hash: u64, mut value: impl FnMut(Wanted<'_, T>) -> bool) -> Unique<T>
where
    T: ?Sized + Send + Sync + 'static,
{
    loop {
        // The user's comparison must not run under the lock, so it is of a copy, and what came in between is looked at once more.
        let seen =
            with_values(|values: &mut Values<T>| values.by_hash.get(&hash).cloned().unwrap_or_default());
        for there in seen.iter().filter_map(Weak::upgrade) {
            if value(Wanted::IsEqual(&there)) {
                return Unique(there);
            }
        }
        let mut new = None;
        value(Wanted::New(&mut new));
        let Some(new) = new else { continue };
        let weak = Gc::downgrade(new);
        if with_values(|values| values.add(hash, &seen, weak)) {
            return Unique(new);
        }
    }
}

/// Calls `f` under the lock with the values of a type.
fn with_values<T, R>(f: impl FnOnce(&mut Values<T>) -> R) -> R
where
    T: ?Sized + Send + Sync + 'static,
{
    let mut types = TYPES.lock();
    let types = types.get_or_insert_default();
    let fresh = || Box::new(Values::<T> { by_hash: HashMap::new(), entries: 0, sweep_at: LEAST });
    let values = types.entry(TypeId::of::<T>()).or_insert_with(|| fresh());
    match values.downcast_mut::<Values<T>>() {
        Some(values) => f(values),
        None => unreachable!("the type's own"),
    }
}

impl<T: ?Sized + Send + Sync> Values<T> {
    /// Adds a value, unless there are others with that hash than the caller has seen.
    fn add(&mut self, hash: u64, seen: &[Weak<T>], value: Weak<T>) -> bool {
        let there = self.by_hash.entry(hash).or_default();
        if there != seen {
            return false;
        }
        there.push(value);
        self.entries += 1;
        if self.entries >= self.sweep_at {
            self.by_hash.retain(|_, values| {
                values.retain(|value| value.upgrade().is_some());
                !values.is_empty()
            });
            self.entries = self.by_hash.values().map(Vec::len).sum();
            self.sweep_at = (self.entries * 2).max(LEAST);
        }
        true
    }
}

impl From<&str> for Unique<str> {
    fn from(text: &str) -> Self {
        intern(HASHER.hash_one(text), |wanted| match wanted {
            Wanted::IsEqual(there) => text == there,
            Wanted::New(place) => {
                place.get_or_insert_with(|| Gc::from(text));
                false
            }
        })
    }
}

impl<T: ?Sized> Unique<T> {
    /// The object.
    pub fn gc(this: Self) -> Gc<T> {
        this.0
    }
}

impl<T: ?Sized> Clone for Unique<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Unique<T> {}

impl<T: ?Sized> Deref for Unique<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> PartialEq for Unique<T> {
    fn eq(&self, other: &Self) -> bool {
        Gc::ptr_eq(self.0, other.0)
    }
}

impl<T: ?Sized> Eq for Unique<T> {}

impl<T: ?Sized> Hash for Unique<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Gc::as_ptr(self.0).cast::<u8>().addr().hash(state);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Unique<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for Unique<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}
