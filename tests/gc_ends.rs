//! What happens when objects end: weak pointers, clean-ups, destructors and their order, weak maps, interned values.
//!
//! Written from what Go's tests mfinal_test.go, mcleanup_test.go, weak/pointer_test.go and unique/handle_test.go state. The collector is conservative: it may keep a few objects that a stale word points
//! to, so the tests make many and ask for almost all, and drop references in functions of their own.
#![cfg(feature = "gc")]

mod common;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Counted, Rng, alone, clear_stack};
use greenroutine::gc::{self, GcDrop, SlotOption, Unique, Weak, WeakMap};
use greenroutine::sync::Mutex;
use greenroutine::{Gc, channel, go};

/// How many objects a test makes, and how many of them may stay.
const MANY: usize = 1000;
const FEW: usize = MANY / 2;

/// Collects until `is_done`, but not for ever: a machine under load gives the finalizer little time.
fn collect_until(is_done: impl Fn() -> bool) {
    let start = std::time::SystemTime::now();
    while start.elapsed().is_ok_and(|time| time < common::ms(100_000)) {
        clear_stack();
        gc::collect();
        if is_done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    panic!("not done after 100 seconds");
}

/// Makes garbage until almost all of it goes. What a stale word in memory that is used again happens to point to stays, so the next lot is elsewhere.
fn cleared_garbage() -> Vec<Weak<usize>> {
    for _ in 0..100 {
        let gone = weak_to_garbage();
        for _ in 0..3 {
            clear_stack();
            gc::collect();
        }
        if gone.iter().filter(|weak| weak.upgrade().is_some()).count() < FEW {
            return gone;
        }
    }
    panic!("100 times garbage was kept");
}

fn counter() -> Arc<AtomicUsize> {
    Arc::default()
}

fn read(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}

#[inline(never)]
fn weak_to_garbage() -> Vec<Weak<usize>> {
    (0..MANY).map(|number| Gc::downgrade(Gc::new(number))).collect()
}

#[test]
fn weak_pointers_are_cleared_and_only_those() {
    common::on_all(|| {
        let kept: Vec<_> = (0..MANY).map(Gc::new).collect();
        let weak: Vec<_> = kept.iter().map(|gc| Gc::downgrade(*gc)).collect();
        cleared_garbage();
        for (number, weak) in weak.iter().enumerate() {
            assert_eq!(*weak.upgrade().expect("it is kept"), number);
        }
        assert!(kept.iter().enumerate().all(|(number, gc)| **gc == number));
    });
}

#[test]
fn weak_pointers_are_equal_as_their_targets_are_the_same() {
    let (a, b) = (Gc::new(1), Gc::new(1));
    let weak = Gc::downgrade(a);
    assert!(weak == Gc::downgrade(a) && weak != Gc::downgrade(b) && weak != Weak::new());
    assert!(Weak::<u8>::new() == Weak::default() && Weak::<u8>::new().upgrade().is_none());
    assert_eq!(HashSet::from([weak, Gc::downgrade(a), Gc::downgrade(b)]).len(), 2);
    let text: Gc<str> = "a slice has a length".into();
    assert_eq!(&*Gc::downgrade(text).upgrade().expect("kept"), "a slice has a length");
    let any: Gc<dyn std::fmt::Debug> = gc::unsize!(Gc::new(7), dyn std::fmt::Debug);
    assert_eq!(format!("{:?}", Gc::downgrade(any).upgrade().expect("kept")), "7");
    // A value without size lives for ever.
    assert!(Gc::downgrade(Gc::new(())).upgrade().is_some());
    let gone = cleared_garbage();
    assert!(gone.iter().collect::<HashSet<_>>().len() == MANY, "they stay different when they are gone");
}

#[test]
fn a_weak_pointer_that_is_upgraded_while_cycles_run_gives_the_value_or_nothing() {
    struct Node {
        check: usize,
        number: usize,
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let stop = &stop;
            scope.spawn(move || {
                let mut rng = Rng(seed);
                let make = |number: usize| Gc::new(Node { check: number ^ 0x5555, number });
                let mut strong: Vec<_> = (0..64).map(make).collect();
                let mut weak: Vec<_> = strong.iter().map(|gc| Gc::downgrade(*gc)).collect();
                let mut next = 64;
                while !stop.load(Ordering::Relaxed) {
                    let place = rng.index(64);
                    strong[place] = make(next);
                    weak.push(Gc::downgrade(strong[place]));
                    next += 1;
                    let looked = rng.index(weak.len());
                    if let Some(node) = weak[looked].upgrade() {
                        assert_eq!((node.check, node.number), (looked ^ 0x5555, looked));
                        strong[rng.index(64)] = node;
                    }
                    if weak.len() > 100_000 {
                        return;
                    }
                }
            });
        }
        for _ in 0..300 {
            gc::collect();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[inline(never)]
fn clean_up_garbage(called: &Arc<AtomicUsize>) -> Vec<gc::Cleanup> {
    (0..MANY)
        .map(|number| {
            let called = called.clone();
            gc::on_collect(Gc::new([number; 3]), move || {
                called.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect()
}

#[test]
fn cleanups_are_called_once_after_the_end() {
    common::on_all(|| {
        let kept = Gc::new(5);
        let early = counter();
        let count = early.clone();
        gc::on_collect(kept, move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let called = counter();
        clean_up_garbage(&called);
        collect_until(|| read(&called) > MANY - FEW);
        gc::collect();
        assert!(read(&called) <= MANY);
        assert_eq!(read(&early), 0);
        assert_eq!(*kept, 5);
    });
}

#[test]
fn a_cleanup_that_was_stopped_is_not_called() {
    let (called, kept) = (counter(), Gc::new(5));
    let owned = Counted(called.clone());
    let cleanup = gc::on_collect(kept, move || {
        let _owned = owned;
        unreachable!("stopped");
    });
    assert!(cleanup.stop());
    assert_eq!(read(&called), 1, "what it owns is dropped");
    assert!(!cleanup.stop());
    let (stopped, other) = (counter(), counter());
    let cleanups = clean_up_garbage(&stopped);
    let left = cleanups.iter().filter(|cleanup| cleanup.stop()).count();
    clean_up_garbage(&other);
    collect_until(|| read(&other) > MANY - FEW);
    collect_until(|| read(&stopped) + left + FEW >= MANY);
    assert_eq!(*kept, 5);
}

#[test]
fn an_object_may_have_many_cleanups_and_their_panics_stay_theirs() {
    #[inline(never)]
    fn make(called: &Arc<AtomicUsize>) {
        for number in 0..MANY {
            let object = Gc::new(number);
            let first = called.clone();
            gc::on_collect(object, move || {
                first.fetch_add(1, Ordering::SeqCst);
                if number == 0 {
                    panic!("on purpose");
                }
            });
            let second = called.clone();
            gc::on_collect(object, move || {
                second.fetch_add(1, Ordering::SeqCst);
            });
        }
    }
    let called = counter();
    make(&called);
    collect_until(|| read(&called) > 2 * (MANY - FEW));
}

#[inline(never)]
fn drop_garbage(dropped: &Arc<AtomicUsize>) {
    for _ in 0..MANY {
        GcDrop::new(Counted(dropped.clone())).with(|counted| assert!(Arc::strong_count(&counted.0) > 1));
    }
}

#[test]
fn destructors_run_once_and_not_before_the_end() {
    common::on_all(|| {
        let (kept, early) = (counter(), counter());
        let object = GcDrop::new(Counted(early.clone()));
        let boxed = Box::new(GcDrop::new(Counted(early.clone())));
        drop_garbage(&kept);
        collect_until(|| read(&kept) > MANY - FEW);
        gc::collect();
        assert!(read(&kept) <= MANY);
        assert_eq!(read(&early), 0);
        assert!(object.with(|counted| Arc::ptr_eq(&counted.0, &early)));
        assert!(boxed.pin().0.load(Ordering::SeqCst) == 0);
    });
}

/// What a reference into the value reaches is gone with the destructor, so the value must outlive it, whatever the compiler keeps.
#[test]
fn a_value_outlives_every_reference_into_it() {
    struct Owner {
        vector: Vec<u64>,
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.vector.iter_mut().for_each(|number| *number = u64::MAX);
        }
    }
    #[inline(always)]
    fn owner() -> GcDrop<Owner> {
        GcDrop::new(Owner { vector: (0..64).collect() })
    }
    fn check(slice: &[u64]) {
        clear_stack();
        gc::collect();
        gc::collect();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(slice.iter().enumerate().all(|(index, number)| *number == index as u64));
    }
    for _ in 0..50 {
        owner().with(|owner| check(&owner.vector[..]));
        let handle = owner();
        let pinned = handle.pin();
        check(&pinned.vector[..]);
        drop(pinned);
        // A guard that is not dropped.
        let handle = owner();
        let pinned = std::mem::ManuallyDrop::new(handle.pin());
        check(&pinned.vector[..]);
        let leaked: &'static _ = {
            let handle: &'static _ = Box::leak(Box::new(owner()));
            Box::leak(Box::new(handle.pin()))
        };
        check(&leaked.vector[..]);
    }
}

#[test]
fn a_destructor_may_use_what_the_value_refers_to() {
    struct Leaf {
        name: String,
        is_dropped: Arc<AtomicUsize>,
    }
    impl Drop for Leaf {
        fn drop(&mut self) {
            self.is_dropped.store(1, Ordering::SeqCst);
            self.name.clear();
        }
    }
    struct Parent {
        leaf: GcDrop<Leaf>,
        text: Gc<str>,
        is_dropped: Arc<AtomicUsize>,
        good: Arc<AtomicUsize>,
    }
    impl Drop for Parent {
        fn drop(&mut self) {
            let is_good = self.leaf.with(|leaf| leaf.name == "leaf" && read(&self.is_dropped) == 0);
            self.good.fetch_add(usize::from(is_good && &*self.text == "text"), Ordering::SeqCst);
        }
    }
    #[inline(never)]
    fn make(good: &Arc<AtomicUsize>) {
        for _ in 0..MANY {
            let is_dropped = counter();
            let leaf = GcDrop::new(Leaf { name: "leaf".into(), is_dropped: is_dropped.clone() });
            GcDrop::new(Parent { leaf, text: "text".into(), is_dropped, good: good.clone() });
        }
    }
    let good = counter();
    make(&good);
    collect_until(|| read(&good) > MANY - FEW);
}

/// One in a random graph: says when it was dropped.
struct Vertex {
    number: usize,
    edges: [SlotOption<Hop>; 3],
    log: Arc<Mutex<Vec<usize>>>,
}

/// Between vertices there are objects without destructor.
struct Hop {
    to: GcDrop<Vertex>,
}

impl Drop for Vertex {
    fn drop(&mut self) {
        for edge in &self.edges {
            if let Some(hop) = edge.load() {
                // It is still whole.
                hop.to.with(|vertex| assert!(vertex.number < VERTICES));
            }
        }
        self.log.lock().push(self.number);
        self.number = usize::MAX;
    }
}

const VERTICES: usize = 300;

type Edges = Vec<[Option<usize>; 3]>;

#[inline(never)]
fn graph(edges: &Edges, log: &Arc<Mutex<Vec<usize>>>) {
    let vertices: Vec<_> = (0..edges.len())
        .map(|number| GcDrop::new(Vertex { number, edges: Default::default(), log: log.clone() }))
        .collect();
    for (vertex, edges) in vertices.iter().zip(edges) {
        for (place, edge) in edges.iter().enumerate() {
            let hop = edge.map(|to| Gc::new(Hop { to: vertices[to] }));
            vertex.with(|vertex| vertex.edges[place].store(hop));
        }
    }
}

/// What can be reached from each.
fn reach(edges: &Edges, from: usize) -> HashSet<usize> {
    let mut seen = HashSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        open.extend(edges[at].iter().flatten().filter(|to| seen.insert(**to)));
    }
    seen
}

#[test]
fn destructors_of_random_graphs_run_from_referrers_to_referents_and_not_in_cycles() {
    let (mut seen, mut wanted) = (0, 0);
    for seed in 0..12 {
        let mut rng = Rng(seed);
        let edges: Edges = (0..VERTICES)
            .map(|from| {
                [(); 3].map(|()| {
                    // Mostly to later ones, few of them, and now and then a cycle.
                    let is_back = rng.index(100) == 0;
                    let to = if is_back { rng.index(VERTICES) } else { from + 1 + rng.index(VERTICES) };
                    (rng.index(3) == 0 && to < VERTICES).then_some(to)
                })
            })
            .collect();
        let reaches: Vec<_> = (0..VERTICES).map(|from| reach(&edges, from)).collect();
        // Kept: what is in a cycle, or can be reached from one.
        let in_cycle: Vec<_> = (0..VERTICES).filter(|at| reaches[*at].contains(at)).collect();
        let kept: HashSet<_> = in_cycle.iter().flat_map(|at| reaches[*at].iter().copied()).collect();
        let log = Arc::default();
        graph(&edges, &log);
        let expected = VERTICES - kept.len();
        // What a stale word keeps, keeps all behind it: the order of the others is as good.
        for _ in 0..100 {
            clear_stack();
            gc::collect();
            if log.lock().len() == expected {
                break;
            }
        }
        let log = log.lock().clone();
        seen += log.len();
        wanted += expected;
        let places: HashMap<_, _> = log.iter().enumerate().map(|(place, number)| (*number, place)).collect();
        assert_eq!(places.len(), log.len(), "once each");
        for number in &log {
            assert!(!kept.contains(number), "seed {seed}: {number} is in a cycle or behind one");
        }
        for (from, reach) in reaches.iter().enumerate() {
            for to in reach.iter().filter(|to| places.contains_key(to)) {
                assert!(
                    places.get(&from).is_some_and(|place| *place < places[to]),
                    "seed {seed}: {from} before {to}"
                );
            }
        }
    }
    assert!(2 * seen > wanted, "{seen} of {wanted} destructors ran");
}

/// The finalizer serves one after the other, so a test that blocks it has it for itself, in a process of its own.
#[test]
fn a_destructor_that_blocks_does_not_stop_collection() {
    alone("a_destructor_that_blocks_does_not_stop_collection", || {
        struct Blocks(channel::Receiver<()>, Arc<AtomicUsize>);
        impl Drop for Blocks {
            fn drop(&mut self) {
                self.1.fetch_add(1, Ordering::SeqCst);
                let _ = self.0.recv();
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
        #[inline(never)]
        fn make(receiver: &channel::Receiver<()>, entered: &Arc<AtomicUsize>) {
            for _ in 0..MANY {
                GcDrop::new(Blocks(receiver.clone(), entered.clone()));
            }
        }
        let entered = counter();
        let (sender, receiver) = channel::bounded(0);
        make(&receiver, &entered);
        collect_until(|| read(&entered) == 1);
        let before = gc::stats().cycles;
        cleared_garbage();
        assert!(gc::stats().cycles > before);
        assert_eq!(read(&entered), 1);
        drop(sender);
        collect_until(|| read(&entered) > 2 * (MANY - FEW));
    });
}

#[test]
fn a_panic_in_a_destructor_is_contained() {
    struct Panics(Arc<AtomicUsize>);
    impl Drop for Panics {
        fn drop(&mut self) {
            if self.0.fetch_add(1, Ordering::SeqCst).is_multiple_of(100) {
                panic!("on purpose");
            }
        }
    }
    #[inline(never)]
    fn make(dropped: &Arc<AtomicUsize>) {
        for _ in 0..MANY {
            GcDrop::new(Panics(dropped.clone()));
        }
    }
    let dropped = counter();
    make(&dropped);
    collect_until(|| read(&dropped) > MANY - FEW);
}

#[test]
fn destructors_may_allocate_collect_and_spawn() {
    struct Busy(Arc<AtomicUsize>);
    impl Drop for Busy {
        fn drop(&mut self) {
            let numbers = Gc::<[u64]>::from_iter(0..100);
            if read(&self.0).is_multiple_of(100) {
                gc::collect();
            }
            assert_eq!(go(move || numbers.iter().sum::<u64>()).join().expect("no panic"), 4950);
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    #[inline(never)]
    fn make(dropped: &Arc<AtomicUsize>) {
        for _ in 0..MANY {
            GcDrop::new(Busy(dropped.clone()));
        }
    }
    let dropped = counter();
    make(&dropped);
    collect_until(|| read(&dropped) > MANY - FEW);
}

#[test]
fn entries_of_a_weak_map_go_with_their_keys() {
    struct Value {
        key: Gc<usize>,
    }
    #[inline(never)]
    fn fill(map: &WeakMap<usize, Value>) {
        for number in 0..MANY {
            let key = Gc::new(number);
            // The value refers to its key: only an ephemeron lets go of both.
            map.insert(key, Value { key });
        }
    }
    let map = WeakMap::new();
    let kept: Vec<_> = (0..MANY).map(Gc::new).collect();
    for key in &kept {
        assert!(map.insert(*key, Value { key: *key }).is_none());
    }
    fill(&map);
    collect_until(|| map.len() < MANY + FEW);
    for (number, key) in kept.iter().enumerate() {
        assert_eq!(*map.get(*key).expect("kept").key, number);
    }
    let removed = map.remove(kept[0]).expect("kept");
    assert!(Gc::ptr_eq(removed.key, kept[0]) && !map.contains_key(kept[0]));
    assert_eq!(*map.get_or_insert_with(kept[0], || Value { key: kept[1] }).key, 1);
}

#[test]
fn a_chain_through_a_weak_map_is_kept_whole() {
    let map = WeakMap::new();
    let first = Gc::new(0_usize);
    #[inline(never)]
    fn chain(map: &WeakMap<usize, Gc<usize>>, first: Gc<usize>) {
        let mut key = first;
        for number in 1..MANY {
            let next = Gc::new(number);
            map.insert(key, next);
            key = next;
        }
    }
    chain(&map, first);
    clear_stack();
    gc::collect();
    gc::collect();
    let mut key = first;
    for number in 1..MANY {
        key = *map.get(key).expect("its key is kept");
        assert_eq!(*key, number);
    }
}

#[test]
fn equal_values_are_one_object_as_long_as_somebody_has_it() {
    common::on_all(|| {
        let kept: Vec<Unique<str>> = (0..MANY).map(|n| Unique::from(n.to_string().as_str())).collect();
        let address = |unique: &Unique<str>| unique.as_ptr() as usize;
        let before: Vec<_> = kept.iter().map(address).collect();
        gc::collect();
        for (number, address_before) in before.iter().enumerate() {
            assert_eq!(address(&Unique::from(number.to_string().as_str())), *address_before);
        }
        assert_eq!(gc::unique([1, 2, 3]), gc::unique([1, 2, 3]));
        assert_ne!(gc::unique(1_u8), gc::unique(2));
        assert_eq!(HashSet::from([gc::unique(1_u8), gc::unique(1), gc::unique(2)]).len(), 2);
    });
}

#[test]
fn values_that_many_intern_at_once_are_one() {
    common::on_goroutines(|| {
        for round in 0..50_u64 {
            let all: Vec<_> = (0..4)
                .map(|_| go(move || (0..20).map(|n| gc::unique((round, n))).collect::<Vec<_>>()))
                .collect();
            let all: Vec<_> = all.into_iter().map(|handle| handle.join().expect("no panic")).collect();
            assert!(all.iter().all(|values| *values == all[0]));
        }
    });
}

#[test]
fn interned_values_that_nobody_has_are_forgotten() {
    #[inline(never)]
    fn make() -> Vec<Weak<(usize, &'static str)>> {
        (0..MANY).map(|n| Gc::downgrade(Unique::gc(gc::unique((n, "forgotten"))))).collect()
    }
    let weak = make();
    collect_until(|| weak.iter().filter(|weak| weak.upgrade().is_some()).count() < FEW);
}

#[test]
fn cycles_of_destructors_are_reported_and_nothing_else() {
    alone("cycles_of_destructors_are_reported_and_nothing_else", || {
        #[inline(never)]
        fn chain(log: &Arc<Mutex<Vec<usize>>>) {
            let edges: Edges = (0..20).map(|at| [(at < 19).then_some(at + 1), None, None]).collect();
            graph(&edges, log);
        }
        #[inline(never)]
        fn rings(log: &Arc<Mutex<Vec<usize>>>) {
            for _ in 0..MANY / 2 {
                graph(&vec![[Some(1), None, None], [Some(0), None, None]], log);
            }
        }
        let log = Arc::default();
        chain(&log);
        clear_stack();
        assert_eq!(gc::leaks(), []);
        let kept = GcDrop::new(Counted(counter()));
        rings(&log);
        let leaks = gc::leaks();
        let [gc::Leak::Destructors { types }] = &leaks[..] else { panic!("{leaks:?}") };
        assert!(types.len() > MANY - 2 * FEW && types.len() <= MANY, "{}", types.len());
        assert!(types.iter().all(|name| *name == std::any::type_name::<Vertex>()));
        assert!(leaks[0].to_string().contains("Vertex"), "{}", leaks[0]);
        assert!(kept.with(|counted| read(&counted.0) == 0));
    });
}
