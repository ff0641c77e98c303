//! serde, behind the feature of that name: a collection is written and read as std's of that name, a [`Gc`] as what it points to. Nothing else in the crate calls this.
//!
//! What a reader says of its length is a wish, not a fact: a few bytes may claim any number. So no more than [`AT_ONCE`] bytes are set aside on its word, as serde does for std's.

#![forbid(unsafe_code)]

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::str;

use serde_core::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_core::ser::{Serialize, SerializeMap, Serializer};

use super::collections::{BTreeMap, HashMap, HashSet, String, Vec, VecDeque};
use super::ptr::Gc;

/// Bytes that are set aside before the first element is read.
const AT_ONCE: usize = 1 << 20;

/// The elements that a reader's word on how many there are makes room for.
fn cautious<T>(hint: Option<usize>) -> usize {
    hint.unwrap_or(0).min(AT_ONCE / size_of::<T>().max(1))
}

impl<T: Serialize + ?Sized> Serialize for Gc<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(to)
    }
}

impl<'de, T: Deserialize<'de> + 'static> Deserialize<'de> for Gc<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::deserialize(from).map(Self::new)
    }
}

impl<'de, T: Deserialize<'de> + 'static> Deserialize<'de> for Gc<[T]> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        std::vec::Vec::deserialize(from).map(Self::from)
    }
}

/// Reads text without a copy between the reader's and the collected one.
struct Text<T>(PhantomData<fn() -> T>);

impl<T: for<'a> From<&'a str>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(T::from(text))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
        let text = str::from_utf8(bytes).map_err(|_| E::invalid_value(Unexpected::Bytes(bytes), &self))?;
        Ok(T::from(text))
    }
}

impl<'de> Deserialize<'de> for Gc<str> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text(PhantomData))
    }
}

impl Serialize for String {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for String {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text(PhantomData))
    }
}

/// A collection of elements, one after the other.
trait Sequence<T> {
    fn with_room(count: usize) -> Self;
    fn add(&mut self, value: T);
}

impl<T> Sequence<T> for Vec<T> {
    fn with_room(count: usize) -> Self {
        Self::with_capacity(count)
    }

    fn add(&mut self, value: T) {
        self.push(value);
    }
}

impl<T> Sequence<T> for VecDeque<T> {
    fn with_room(count: usize) -> Self {
        Self::with_capacity(count)
    }

    fn add(&mut self, value: T) {
        self.push_back(value);
    }
}

impl<T: Eq + Hash, S: BuildHasher + Default> Sequence<T> for HashSet<T, S> {
    fn with_room(count: usize) -> Self {
        Self::with_capacity_and_hasher(count, S::default())
    }

    fn add(&mut self, value: T) {
        self.insert(value);
    }
}

struct Elements<C, T>(PhantomData<fn() -> (C, T)>);

impl<'de, C: Sequence<T>, T: Deserialize<'de>> Visitor<'de> for Elements<C, T> {
    type Value = C;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<C, A::Error> {
        let mut all = C::with_room(cautious::<T>(from.size_hint()));
        while let Some(value) = from.next_element()? {
            all.add(value);
        }
        Ok(all)
    }
}

/// A collection of keys and values.
trait Entries<K, V> {
    fn with_room(count: usize) -> Self;
    fn add(&mut self, key: K, value: V);
}

impl<K: Eq + Hash, V, S: BuildHasher + Default> Entries<K, V> for HashMap<K, V, S> {
    fn with_room(count: usize) -> Self {
        Self::with_capacity_and_hasher(count, S::default())
    }

    fn add(&mut self, key: K, value: V) {
        self.insert(key, value);
    }
}

impl<K: Ord, V> Entries<K, V> for BTreeMap<K, V> {
    fn with_room(_count: usize) -> Self {
        Self::new()
    }

    fn add(&mut self, key: K, value: V) {
        self.insert(key, value);
    }
}

struct Pairs<C, K, V>(PhantomData<(C, K, V)>);

impl<'de, C: Entries<K, V>, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Pairs<C, K, V> {
    type Value = C;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<C, A::Error> {
        let mut all = C::with_room(cautious::<(K, V)>(from.size_hint()));
        while let Some((key, value)) = from.next_entry()? {
            all.add(key, value);
        }
        Ok(all)
    }
}

impl<T: Serialize> Serialize for Vec<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(to)
    }
}

impl<'de, T: Deserialize<'de> + 'static> Deserialize<'de> for Vec<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Elements::<Self, T>(PhantomData))
    }
}

impl<T: Serialize> Serialize for VecDeque<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self)
    }
}

impl<'de, T: Deserialize<'de> + 'static> Deserialize<'de> for VecDeque<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Elements::<Self, T>(PhantomData))
    }
}

impl<T: Serialize, H> Serialize for HashSet<T, H> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self)
    }
}

impl<'de, T, S> Deserialize<'de> for HashSet<T, S>
where
    T: Deserialize<'de> + Eq + Hash + 'static,
    S: BuildHasher + Default,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Elements::<Self, T>(PhantomData))
    }
}

impl<K: Serialize, V: Serialize, H> Serialize for HashMap<K, V, H> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self)
    }
}

impl<'de, K, V, S> Deserialize<'de> for HashMap<K, V, S>
where
    K: Deserialize<'de> + Eq + Hash + 'static,
    V: Deserialize<'de> + 'static,
    S: BuildHasher + Default,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Pairs::<Self, K, V>(PhantomData))
    }
}

impl<K: Serialize, V: Serialize> Serialize for BTreeMap<K, V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Not `collect_map`: formats that write the length first want it, and the iterator need not know it.
        let mut map = to.serialize_map(Some(self.len()))?;
        for (key, value) in self {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, K, V> Deserialize<'de> for BTreeMap<K, V>
where
    K: Deserialize<'de> + Ord + 'static,
    V: Deserialize<'de> + 'static,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Pairs::<Self, K, V>(PhantomData))
    }
}
