//! The collected collections: against std's by random operations, across collections, and in cycles.
#![cfg(feature = "gc")]

mod common;

use std::collections as std_collections;
use std::fmt::Write;

use greenroutine::gc::{self, Slot, SlotOption};
use greenroutine::sync::Mutex;
use greenroutine::{Gc, go};
use proptest::prelude::*;

#[test]
fn none_has_a_destructor() {
    assert!(!std::mem::needs_drop::<gc::Vec<Gc<u8>>>());
    assert!(!std::mem::needs_drop::<gc::VecDeque<gc::String>>());
    assert!(!std::mem::needs_drop::<gc::HashMap<gc::String, gc::Vec<u8>>>());
    assert!(!std::mem::needs_drop::<gc::HashSet<Gc<str>>>());
    assert!(!std::mem::needs_drop::<gc::BTreeMap<gc::String, gc::HashMap<u8, u8>>>());
    assert!(!std::mem::needs_drop::<gc::WeakMap<str, gc::String>>());
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    PushFront(usize),
    Pop,
    PopFront,
    Insert(usize, usize),
    Remove(usize),
    Truncate(usize),
    Retain(usize),
    Clear,
    Extend(Vec<usize>),
    Collect,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        20 => (0..1000_usize).prop_map(Op::Push),
        10 => (0..1000_usize).prop_map(Op::PushFront),
        8 => Just(Op::Pop),
        8 => Just(Op::PopFront),
        8 => (any::<usize>(), 0..1000_usize).prop_map(|(at, n)| Op::Insert(at, n)),
        8 => any::<usize>().prop_map(Op::Remove),
        1 => any::<usize>().prop_map(Op::Truncate),
        1 => (1..5_usize).prop_map(Op::Retain),
        1 => Just(Op::Clear),
        3 => prop::collection::vec(0..1000_usize, 0..40).prop_map(Op::Extend),
        1 => Just(Op::Collect),
    ];
    prop::collection::vec(op, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn vectors_do_as_stds(ops in ops()) {
        // Of pointers, so that what is lost is seen.
        let (mut ours, mut stds) = (gc::Vec::new(), Vec::new());
        for op in ops {
            match op {
                Op::Push(n) | Op::PushFront(n) => { ours.push(Gc::new(n)); stds.push(n); }
                Op::Pop | Op::PopFront => prop_assert_eq!(ours.pop().map(|n| *n), stds.pop()),
                Op::Insert(at, n) => { let at = at % (stds.len() + 1); ours.insert(at, Gc::new(n)); stds.insert(at, n); }
                Op::Remove(at) if !stds.is_empty() => { let at = at % stds.len(); prop_assert_eq!(*ours.remove(at), stds.remove(at)); }
                Op::Remove(_) => {}
                Op::Truncate(at) => { let at = at % (stds.len() + 1); ours.truncate(at); stds.truncate(at); }
                Op::Retain(k) => { ours.retain(|n| **n % k != 0); stds.retain(|n| n % k != 0); }
                Op::Clear => { ours.clear(); stds.clear(); }
                Op::Extend(values) => { ours.extend(values.iter().map(|n| Gc::new(*n))); stds.extend(values); }
                Op::Collect => gc::collect(),
            }
            prop_assert!(ours.iter().map(|n| **n).eq(stds.iter().copied()));
        }
        let at = stds.len() / 2;
        let upper = ours.split_off(at);
        prop_assert!(ours.drain(..).chain(upper).map(|n| *n).eq(stds));
    }

    #[test]
    fn deques_do_as_stds(ops in ops()) {
        let (mut ours, mut stds) = (gc::VecDeque::new(), std_collections::VecDeque::new());
        for op in ops {
            match op {
                Op::Push(n) => { ours.push_back(Gc::new(n)); stds.push_back(n); }
                Op::PushFront(n) => { ours.push_front(Gc::new(n)); stds.push_front(n); }
                Op::Pop => prop_assert_eq!(ours.pop_back().map(|n| *n), stds.pop_back()),
                Op::PopFront => prop_assert_eq!(ours.pop_front().map(|n| *n), stds.pop_front()),
                Op::Insert(at, n) => { let at = at % (stds.len() + 1); ours.insert(at, Gc::new(n)); stds.insert(at, n); }
                Op::Remove(at) => { let at = at % (stds.len() + 1); prop_assert_eq!(ours.remove(at).map(|n| *n), stds.remove(at)); }
                Op::Truncate(at) => { let at = at % (stds.len() + 1); ours.truncate(at); stds.truncate(at); }
                Op::Retain(k) => { ours.retain(|n| **n % k != 0); stds.retain(|n| n % k != 0); }
                Op::Clear => { ours.clear(); stds.clear(); }
                Op::Extend(values) => { ours.extend(values.iter().map(|n| Gc::new(*n))); stds.extend(values); }
                Op::Collect => gc::collect(),
            }
            prop_assert!(ours.iter().map(|n| **n).eq(stds.iter().copied()));
            prop_assert_eq!(ours.front().map(|n| **n), stds.front().copied());
        }
        prop_assert!(ours.into_iter().rev().map(|n| *n).eq(stds.into_iter().rev()));
    }

    #[test]
    fn maps_do_as_stds(ops in prop::collection::vec((0..8_u8, 0..400_usize, 0..400_usize), 0..1500)) {
        let mut hash = gc::HashMap::new();
        let mut tree = gc::BTreeMap::new();
        let mut stds = std_collections::BTreeMap::new();
        for (op, key, value) in ops {
            match op {
                0..4 => {
                    let old = stds.insert(key, value);
                    prop_assert_eq!(hash.insert(key, Gc::new(value)).map(|n| *n), old);
                    prop_assert_eq!(tree.insert(key, Gc::new(value)).map(|n| *n), old);
                }
                4 | 5 => {
                    let old = stds.remove(&key);
                    prop_assert_eq!(hash.remove(&key).map(|n| *n), old);
                    prop_assert_eq!(tree.remove(&key).map(|n| *n), old);
                }
                6 => {
                    let there = *stds.entry(key).or_insert(value);
                    prop_assert_eq!(**hash.entry(key).or_insert_with(|| Gc::new(value)), there);
                    prop_assert_eq!(**tree.entry(key).or_insert_with(|| Gc::new(value)), there);
                }
                _ => {
                    let (from, to) = (key.min(value), key.max(value));
                    prop_assert!(tree.range(from..to).map(|(k, v)| (*k, **v)).eq(stds.range(from..to).map(|(k, v)| (*k, *v))));
                    prop_assert!(tree.range(from..=to).rev().map(|(k, v)| (*k, **v)).eq(stds.range(from..=to).rev().map(|(k, v)| (*k, *v))));
                    if key % 64 == 0 {
                        gc::collect();
                    }
                }
            }
            prop_assert_eq!((hash.len(), tree.len()), (stds.len(), stds.len()));
            prop_assert_eq!(tree.get(&key).map(|n| **n), stds.get(&key).copied());
            prop_assert_eq!(hash.get(&key).map(|n| **n), stds.get(&key).copied());
        }
        prop_assert!(tree.iter().map(|(k, v)| (*k, **v)).eq(stds.iter().map(|(k, v)| (*k, *v))));
        prop_assert_eq!(tree.first_key_value().map(|(k, _)| *k), stds.first_key_value().map(|(k, _)| *k));
        let mut sorted: Vec<_> = hash.into_iter().map(|(k, v)| (k, *v)).collect();
        sorted.sort_unstable();
        prop_assert!(sorted.into_iter().eq(stds.clone()));
        tree.retain(|key, _| key % 3 == 0);
        stds.retain(|key, _| key % 3 == 0);
        while let Some((key, value)) = tree.pop_last() {
            prop_assert_eq!(Some((key, *value)), stds.pop_last());
        }
        prop_assert!(stds.is_empty());
    }

    #[test]
    fn strings_do_as_stds(ops in prop::collection::vec((0..6_u8, any::<char>(), any::<usize>()), 0..200)) {
        let (mut ours, mut stds) = (gc::String::new(), String::new());
        for (op, character, at) in ops {
            let boundaries: Vec<_> = (0..=stds.len()).filter(|at| stds.is_char_boundary(*at)).collect();
            let at = boundaries[at % boundaries.len()];
            match op {
                0 => { ours.push(character); stds.push(character); }
                1 => { ours.insert(at, character); stds.insert(at, character); }
                2 if at < stds.len() => prop_assert_eq!(ours.remove(at), stds.remove(at)),
                3 => prop_assert_eq!(ours.pop(), stds.pop()),
                4 => { ours.insert_str(at, "grün"); stds.insert_str(at, "grün"); }
                5 => { write!(ours, "{at}").expect("no error"); write!(stds, "{at}").expect("no error"); }
                _ => {}
            }
            prop_assert_eq!(ours.as_str(), stds.as_str());
        }
    }
}

/// Values so large that nodes are small and trees deep: of random operations, in stretches that grow, shrink, ascend and descend.
#[test]
fn deep_trees_do_as_stds() {
    type Wide = [u64; 16];
    let wide = |n: u64| -> Wide { [n; 16] };
    for seed in 1..=20_u64 {
        let mut state = seed;
        let mut random = move |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let (mut ours, mut stds) =
            (gc::BTreeMap::<u64, Wide>::new(), std_collections::BTreeMap::<u64, Wide>::new());
        for _ in 0..12 {
            let (what, first) = (random(7), random(4000));
            for step in 0..400 {
                let key = random(4000);
                match what {
                    0 | 1 => assert_eq!(ours.insert(key, wide(step)), stds.insert(key, wide(step))),
                    2 => {
                        assert_eq!(ours.insert(first + step, wide(key)), stds.insert(first + step, wide(key)))
                    }
                    3 => assert_eq!(ours.insert(4000 - step, wide(key)), stds.insert(4000 - step, wide(key))),
                    4 => assert_eq!(ours.remove_entry(&key), stds.remove_entry(&key)),
                    5 if step % 2 == 0 => assert_eq!(ours.pop_first(), stds.pop_first()),
                    5 => assert_eq!(ours.pop_last(), stds.pop_last()),
                    _ => {
                        *ours.entry(key).and_modify(|value| value[0] += 1).or_default() = wide(step);
                        *stds.entry(key).and_modify(|value| value[0] += 1).or_default() = wide(step);
                    }
                }
                assert_eq!(ours.get(&key), stds.get(&key));
                assert_eq!(ours.first_key_value(), stds.first_key_value());
                assert_eq!(ours.last_key_value(), stds.last_key_value());
            }
            assert_eq!(ours.len(), stds.len());
            assert!(ours.iter().eq(&stds) && ours.iter().rev().eq(stds.iter().rev()));
            let (from, to) = (random(4000), random(4000));
            let (from, to) = (from.min(to), from.max(to));
            assert!(ours.range(from..=to).eq(stds.range(from..=to)));
            assert!(ours.range(..to).rev().eq(stds.range(..to).rev()));
            let above = (std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded);
            assert!(ours.range(above).eq(stds.range(above)));
            {
                // From both ends, until they meet.
                let (mut ours_in, mut stds_in) = (ours.range(from..), stds.range(from..));
                while let Some(entry) = stds_in.next() {
                    assert_eq!(ours_in.next(), Some(entry));
                    assert_eq!(ours_in.next_back(), stds_in.next_back());
                }
                assert_eq!((ours_in.next(), ours_in.next_back()), (None, None));
                let (mut all, mut stds_all) = (ours.iter(), stds.iter());
                assert_eq!(all.len(), stds.len());
                while let Some(entry) = stds_all.next_back() {
                    assert_eq!(all.next_back(), Some(entry));
                    assert_eq!(all.next(), stds_all.next());
                }
                assert!(all.next().is_none());
            }
            ours.values_mut().for_each(|value| value[1] += 1);
            stds.values_mut().for_each(|value| value[1] += 1);
            assert!(ours.iter_mut().rev().eq(stds.iter_mut().rev()));
            if random(4) == 0 {
                ours.retain(|key, _| key % 3 != 0);
                stds.retain(|key, _| key % 3 != 0);
            }
            assert!(ours.clone().into_iter().eq(stds.clone()));
            assert!(ours.clone().into_iter().rev().eq(stds.clone().into_iter().rev()));
        }
    }
}

#[test]
fn trees_of_many_blocks() {
    const MANY: usize = 100_000;
    let scattered = |n: usize| n.wrapping_mul(0x9e37_79b9) % MANY;
    for order in [|n| n, |n: usize| MANY - 1 - n, |n: usize| n * 7919 % MANY] {
        let mut tree: gc::BTreeMap<usize, Gc<usize>> =
            (0..MANY).map(|n| (order(n), Gc::new(order(n)))).collect();
        assert!(tree.keys().copied().eq(0..MANY) && tree.values().rev().map(|n| **n).eq((0..MANY).rev()));
        assert!(tree.range(500..60_000).map(|(key, _)| *key).eq(500..60_000));
        for n in 0..MANY / 2 {
            let key = scattered(n);
            let before = tree.len();
            let is_gone = tree.remove(&key).is_some();
            assert_eq!(tree.len(), before - usize::from(is_gone));
            assert!(!tree.contains_key(&key));
        }
    }
}

#[test]
fn sets_do_what_their_names_say() {
    let (a, b): (gc::HashSet<_>, gc::HashSet<_>) = ((0..10).collect(), (5..15).collect());
    let sorted = |values: Vec<&i32>| {
        let mut values: Vec<i32> = values.into_iter().copied().collect();
        values.sort_unstable();
        values
    };
    assert_eq!(sorted(a.union(&b).collect()), (0..15).collect::<Vec<_>>());
    assert_eq!(sorted(a.symmetric_difference(&b).collect()), [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]);
    assert_eq!(sorted(a.difference(&b).collect()), [0, 1, 2, 3, 4]);
    assert!(!a.is_subset(&b) && !a.is_disjoint(&b) && a == a.clone());
}

/// A node with everything in it.
struct Node {
    name: gc::String,
    links: Mutex<gc::Vec<Gc<Node>>>,
    by_name: Mutex<gc::HashMap<gc::String, Gc<Node>>>,
    by_number: Mutex<gc::BTreeMap<usize, Gc<Node>>>,
    back: SlotOption<Node>,
}

fn node(number: usize) -> Gc<Node> {
    let mut name = gc::String::new();
    write!(name, "node {number}").expect("no error");
    Gc::new(Node {
        name,
        links: Mutex::new(gc::Vec::new()),
        by_name: Mutex::new(gc::HashMap::new()),
        by_number: Mutex::new(gc::BTreeMap::new()),
        back: SlotOption::empty(),
    })
}

/// A graph of `count` nodes, in which each leads to every other.
#[inline(never)]
fn cyclic(count: usize) -> Gc<Node> {
    let first = node(0);
    let mut last = first;
    for number in 1..count {
        let next = node(number);
        next.back.store(Some(last));
        match number % 16 {
            0 => drop(last.by_name.lock().insert(next.name.clone(), next)),
            1 => drop(last.by_number.lock().insert(number, next)),
            _ => last.links.lock().push(next),
        }
        last = next;
    }
    last.links.lock().push(first);
    first.back.store(Some(last));
    first
}

/// The number of nodes in the graph.
fn walk(first: Gc<Node>) -> usize {
    let (mut at, mut count) = (first, 0);
    loop {
        assert_eq!(at.name, format!("node {count}").as_str());
        count += 1;
        let link = at.links.lock().first().copied();
        let link = link.or_else(|| at.by_number.lock().first_key_value().map(|(_, node)| *node));
        let next = link.or_else(|| at.by_name.lock().values().next().copied()).expect("a cycle");
        assert!(Gc::ptr_eq(next.back.load().expect("a cycle"), at));
        if Gc::ptr_eq(next, first) {
            return count;
        }
        at = next;
    }
}

#[test]
fn a_cyclic_graph_is_kept_whole_and_collected_whole() {
    common::alone("a_cyclic_graph_is_kept_whole_and_collected_whole", || {
        const MANY: usize = 1_000_000;
        #[inline(never)]
        fn live() {
            let graph = cyclic(MANY);
            gc::collect();
            assert_eq!(walk(graph), MANY);
            assert!(gc::stats().heap_live > MANY * size_of::<Node>());
        }
        live();
        for _ in 0..100 {
            std::hint::black_box([0_usize; 4096]);
            gc::collect();
            if gc::stats().heap_live < 10 << 20 {
                return;
            }
        }
        panic!("{} bytes are still there", gc::stats().heap_live);
    });
}

#[test]
fn outgrown_storage_is_used_again() {
    common::alone("outgrown_storage_is_used_again", || {
        // No cycle frees anything.
        let _paused = gc::pause_guard();
        const ROUNDS: usize = 1000;
        let total = |most: usize, fill: fn()| {
            let before = gc::stats().allocated_total;
            (0..ROUNDS).for_each(|_| fill());
            let each = (gc::stats().allocated_total - before) / ROUNDS;
            assert!(each < most, "{each} bytes each time");
        };
        // 32 + 64 + .. + 2048 bytes are outgrown.
        total(5000, || {
            std::hint::black_box(&mut (0..512_u64).fold(gc::Vec::new(), |mut all, n| {
                all.push(n);
                all
            }))
            .clear()
        });
        // Large ones grow where they are: 128 KiB + .. + 512 KiB were as much again.
        total(1_300_000, || {
            std::hint::black_box(&mut (0..131_072_u64).fold(gc::Vec::new(), |mut all, n| {
                all.push(n);
                all
            }))
            .clear()
        });
    });
}

/// What is given back is overwritten here, and so is what is swept: a stale use is seen.
#[test]
fn storage_is_given_back_beside_cycles() {
    const NAME: &str = "storage_is_given_back_beside_cycles";
    if !common::is_child(NAME) {
        let output = common::in_child(NAME, |child| {
            child.env("GREENROUTINE_GC", "check=poison");
        });
        return assert!(output.status.success(), "{}", common::text(&output));
    }
    common::on_goroutines(|| {
        let all: Vec<_> = (0..4_usize)
            .map(|worker| {
                go(move || {
                    for round in 0..3 {
                        let (mut vec, mut deque) = (gc::Vec::new(), gc::VecDeque::new());
                        let (mut map, mut tree) = (gc::HashMap::new(), gc::BTreeMap::new());
                        let mut text = gc::String::new();
                        for n in 0..1000_usize {
                            let value = Gc::new(n ^ worker);
                            vec.push(value);
                            deque.push_front(value);
                            map.insert(n, value);
                            tree.insert(n * 7 % 1000, value);
                            text.push_str("text");
                            if n % 500 == round {
                                gc::collect();
                            }
                        }
                        for n in 0..1000 {
                            let expected = n ^ worker;
                            assert_eq!(
                                (*vec[n], *deque[999 - n], *map[&n], *tree[&(n * 7 % 1000)]),
                                (expected, expected, expected, expected)
                            );
                        }
                        assert!(
                            text.len() == 4000 && text.as_bytes().chunks(4).all(|chunk| chunk == b"text")
                        );
                        (0..1000).for_each(|n| assert!(tree.remove(&n).is_some()));
                        greenroutine::yield_now();
                    }
                })
            })
            .collect();
        all.into_iter().for_each(|handle| handle.join().expect("no panic"));
    });
}

#[test]
fn goroutines_share_a_map_while_cycles_run() {
    common::on_goroutines(|| {
        let map = Gc::new(Mutex::new(gc::HashMap::new()));
        let queue = Slot::new(Gc::new(Mutex::new(gc::VecDeque::new())));
        let queue = Gc::new(queue);
        let all: Vec<_> = (0..4)
            .map(|worker| {
                go(move || {
                    for n in 0..500_usize {
                        let key = gc::String::from(format!("{worker}/{n}").as_str());
                        map.lock().insert(key.clone(), Gc::new(n));
                        queue.load().lock().push_back(key);
                        if n % 100 == 0 {
                            gc::collect();
                        }
                        greenroutine::yield_now();
                    }
                })
            })
            .collect();
        all.into_iter().for_each(|handle| handle.join().expect("no panic"));
        let mut keys = 0;
        while let Some(key) = queue.load().lock().pop_front() {
            let number = key.split('/').nth(1).and_then(|n| n.parse().ok()).expect("a number");
            assert_eq!(**map.lock().get(key.as_str()).expect("inserted"), number);
            keys += 1;
        }
        assert_eq!((keys, map.lock().len()), (2000, 2000));
    });
}
