//! serde for the collected heap's types: the same text as std's of the same name, read back as the same value, and no trust in what a reader says of its length.
#![cfg(all(feature = "gc", feature = "serde"))]

use std::collections as std_collections;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, DefaultHasher};

use greenroutine::Gc;
use greenroutine::gc;
use proptest::prelude::*;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};

type Fixed = BuildHasherDefault<DefaultHasher>;

/// `ours` is written as `stds` is, and read from that as `ours`.
fn same_text<T: Serialize + DeserializeOwned + PartialEq + Debug>(ours: &T, stds: &impl Serialize) {
    let text = serde_json::to_string(stds).expect("std's are written");
    assert_eq!(serde_json::to_string(ours).expect("ours are written"), text);
    assert_eq!(&serde_json::from_str::<T>(&text).expect("what was written is read"), ours);
    // By way of values, which readers that own their text give.
    let value = serde_json::to_value(ours).expect("ours are written");
    assert_eq!(&serde_json::from_value::<T>(value).expect("what was written is read"), ours);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sequences(values in prop::collection::vec((any::<i64>(), any::<String>()), 0..50)) {
        let ours = || values.iter().map(|(n, text)| (*n, gc::String::from(text.as_str())));
        same_text(&ours().collect::<gc::Vec<_>>(), &values);
        same_text(&ours().rev().collect::<gc::VecDeque<_>>(), &values.iter().rev().collect::<Vec<_>>());
        same_text(&Gc::<[_]>::from_iter(ours()), &values);
    }

    #[test]
    fn texts(text in any::<String>()) {
        same_text(&gc::String::from(text.as_str()), &text);
        same_text(&Gc::<str>::from(text.as_str()), &text);
    }

    #[test]
    fn maps(entries in prop::collection::btree_map(any::<String>(), prop::collection::vec(any::<u8>(), 0..5), 0..300)) {
        let ours = || entries.iter().map(|(key, value)| (gc::String::from(key.as_str()), gc::Vec::from(value.clone())));
        same_text(&ours().collect::<gc::BTreeMap<_, _>>(), &entries);
        // The order of a hash table is its hasher's, and need not be std's: the same entries then.
        let hashed: gc::HashMap<_, _, Fixed> = ours().collect();
        let text = serde_json::to_string(&hashed).expect("written");
        prop_assert_eq!(&serde_json::from_str::<std_collections::BTreeMap<String, Vec<u8>>>(&text).expect("std's"), &entries);
        prop_assert!(serde_json::from_str::<gc::HashMap<_, _>>(&text).expect("ours") == ours().collect());
        let set: gc::HashSet<gc::String> = ours().map(|(key, _)| key).collect();
        let text = serde_json::to_string(&set).expect("written");
        let keys: std_collections::BTreeSet<String> = entries.into_keys().collect();
        prop_assert_eq!(&serde_json::from_str::<std_collections::BTreeSet<String>>(&text).expect("std's"), &keys);
        prop_assert!(serde_json::from_str::<gc::HashSet<gc::String>>(&text).expect("ours") == set);
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Node {
    name: Gc<str>,
    number: Gc<u32>,
    children: gc::Vec<Gc<Node>>,
    tags: gc::BTreeMap<gc::String, Option<Gc<[u8]>>>,
}

#[test]
fn what_derives_goes_through_pointers() {
    let leaf = Gc::new(Node {
        name: "leaf".into(),
        number: Gc::new(1),
        children: gc::Vec::new(),
        tags: gc::BTreeMap::new(),
    });
    let tags = [("none".into(), None), ("some".into(), Some(Gc::from([1, 2])))].into();
    let root = Gc::new(Node { name: "root".into(), number: Gc::new(2), children: [leaf, leaf].into(), tags });
    let text = serde_json::to_string(&root).expect("written");
    let leaf_text = r#"{"name":"leaf","number":1,"children":[],"tags":{}}"#;
    assert_eq!(
        text,
        format!(
            r#"{{"name":"root","number":2,"children":[{leaf_text},{leaf_text}],"tags":{{"none":null,"some":[1,2]}}}}"#
        )
    );
    let read: Gc<Node> = serde_json::from_str(&text).expect("read");
    gc::collect();
    assert_eq!(read, root);
    // What was shared is not any more.
    assert!(!Gc::ptr_eq(read.children[0], read.children[1]));
}

/// Says that there are `says` of the few it has.
struct Liar<I>(I, usize);

impl<I: Iterator> Iterator for Liar<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.1, Some(self.1))
    }
}

#[test]
fn a_length_is_not_trusted() {
    // More than the address space holds; and 64 GiB, which a kernel that overcommits would give.
    for says in [usize::MAX, 1 << 33] {
        let elements = || SeqDeserializer::<_, Error>::new(Liar(0..3_u64, says));
        let entries = || MapDeserializer::<_, Error>::new(Liar((0..3_u64).map(|n| (n, n)), says));
        let bound =
            |capacity: usize, size: usize| assert!(capacity * size <= 4 << 20, "{capacity} of {size} bytes");
        // A reader like these fails at its end if it has counted wrongly; ours have not asked.
        let vector = gc::Vec::<u64>::deserialize(elements()).expect("three");
        assert_eq!(vector, [0, 1, 2]);
        bound(vector.capacity(), 8);
        assert_eq!(gc::VecDeque::<u64>::deserialize(elements()).expect("three")[..], [0, 1, 2]);
        let set = gc::HashSet::<u64>::deserialize(elements()).expect("three");
        assert_eq!(set, gc::HashSet::from([0, 1, 2]));
        bound(set.capacity(), 8);
        let map = gc::HashMap::<u64, u64>::deserialize(entries()).expect("three");
        assert_eq!(map, gc::HashMap::from([(0, 0), (1, 1), (2, 2)]));
        bound(map.capacity(), 16);
        assert_eq!(gc::BTreeMap::<u64, u64>::deserialize(entries()).expect("three").len(), 3);
        assert_eq!(Gc::<[u64]>::deserialize(elements()).expect("three")[..], [0, 1, 2]);
    }
}

#[test]
fn what_is_wrong_is_an_error() {
    fn is_error<T: DeserializeOwned>(text: &str, says: &str) {
        let error = serde_json::from_str::<T>(text).err().expect("an error").to_string();
        assert!(error.contains(says), "{error}");
    }
    is_error::<gc::Vec<u8>>("[1, 2, 300]", "300");
    is_error::<gc::Vec<u8>>("[1, 2", "EOF");
    is_error::<gc::VecDeque<u8>>("{}", "expected a sequence");
    is_error::<gc::HashSet<u8>>("7", "expected a sequence");
    is_error::<gc::HashMap<gc::String, u8>>("[]", "expected a map");
    is_error::<gc::BTreeMap<gc::String, u8>>(r#"{"a": "b"}"#, "expected u8");
    is_error::<gc::String>("7", "expected a string");
    is_error::<Gc<str>>("[]", "expected a string");
    is_error::<Gc<u8>>("-1", "expected u8");
    is_error::<Gc<[u8]>>("{}", "expected a sequence");

    let bytes = |bytes: &'static [u8]| {
        gc::String::deserialize(serde::de::value::BytesDeserializer::<Error>::new(bytes))
    };
    assert_eq!(bytes("grün".as_bytes()).expect("text"), "grün");
    assert!(bytes(b"\xff").is_err());
    let owned: serde::de::value::StringDeserializer<Error> = String::from("owned").into_deserializer();
    assert_eq!(&*Gc::<str>::deserialize(owned).expect("text"), "owned");
}
