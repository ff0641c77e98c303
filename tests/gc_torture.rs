//! The collector against an oracle: goroutines and threads build, cut, share and hide random graphs in every place that safe Rust has, while cycles begin at random. Beside each graph of collected
//! nodes there is a shadow of plain numbers, which says what must be alive and how it hangs together; freed nodes are overwritten (`check=poison`), so that one freed too early shows.
//!
//! `GREENROUTINE_TORTURE_SEED` and `GREENROUTINE_TORTURE_STEPS` choose the run; a failure names the seed. `.ci/soak long` runs it for hours.
#![cfg(feature = "gc")]

mod common;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Rng, in_child, is_child, text};
use greenroutine::channel::{self, Receiver, Sender};
use greenroutine::gc::{self, SlotOption};
use greenroutine::sync::Mutex;
use greenroutine::{Gc, go, yield_now};

const KEY: usize = 0x5bd1_e995_1234_5678;
/// Nodes that one actor has by their numbers.
const NODES: usize = 48;
const LINKS: usize = 3;
/// Above this many nodes an actor's graph is cut down.
const MOST: usize = 300;

struct Node {
    id: usize,
    check: usize,
    links: [SlotOption<Node>; LINKS],
    tail: Option<Gc<[usize]>>,
}

/// What a node should be: the same by numbers.
#[derive(Clone)]
struct Shadow {
    id: usize,
    links: [Option<usize>; LINKS],
}

/// Where a root lies. Moving it from one to another is most of what the test does.
enum Place {
    Nowhere,
    Local(Gc<Node>),
    Boxed(Box<Gc<Node>>),
    Vector(Vec<Option<Gc<Node>>>),
    Counted(Rc<RefCell<Gc<Node>>>),
    Locked(Arc<std::sync::Mutex<Gc<Node>>>),
    Ours(Box<Mutex<Gc<Node>>>),
    Map(HashMap<usize, Gc<Node>>),
    InChannel(Sender<Gc<Node>>, Receiver<Gc<Node>>),
    Closure(Box<dyn FnOnce() -> Gc<Node>>),
    Wide(Box<[Option<Gc<Node>>; 40]>),
}

impl Place {
    fn new(gc: Gc<Node>, random: &mut Rng) -> Self {
        match random.index(10) {
            0 => Self::Local(gc),
            1 => Self::Boxed(Box::new(gc)),
            2 => Self::Vector({
                let mut vector = vec![None; random.index(60)];
                vector.push(Some(gc));
                vector
            }),
            3 => Self::Counted(Rc::new(RefCell::new(gc))),
            4 => Self::Locked(Arc::new(std::sync::Mutex::new(gc))),
            5 => Self::Ours(Box::new(Mutex::new(gc))),
            6 => Self::Map([(random.index(100), gc)].into()),
            7 => {
                let (sender, receiver) = channel::bounded(2);
                sender.send(gc).expect("open");
                Self::InChannel(sender, receiver)
            }
            8 => Self::Closure(Box::new(move || gc)),
            _ => {
                let mut wide = Box::new([None; 40]);
                wide[random.index(40)] = Some(gc);
                Self::Wide(wide)
            }
        }
    }

    fn take(self) -> Option<Gc<Node>> {
        match self {
            Self::Nowhere => None,
            Self::Local(gc) => Some(gc),
            Self::Boxed(boxed) => Some(*boxed),
            Self::Vector(mut vector) => vector.pop().flatten(),
            Self::Counted(counted) => Some(*counted.borrow()),
            Self::Locked(locked) => Some(*locked.lock().expect("no panic")),
            Self::Ours(ours) => Some(*ours.lock()),
            Self::Map(map) => map.into_values().next(),
            Self::InChannel(_sender, receiver) => receiver.try_recv().ok(),
            Self::Closure(closure) => Some(closure()),
            Self::Wide(wide) => wide.into_iter().flatten().next(),
        }
    }
}

/// A graph that is handed from actor to actor: a root, and what hangs below it.
struct Parcel {
    root: Gc<Node>,
    shadow: HashMap<usize, Shadow>,
    root_id: usize,
}

std::thread_local!(static LOCAL: Cell<Option<Gc<Node>>> = const { Cell::new(None) });

/// One goroutine or thread with its graph.
struct Actor {
    random: Rng,
    places: Vec<Place>,
    /// The ids of the nodes that `places` hold.
    roots: Vec<Option<usize>>,
    shadow: HashMap<usize, Shadow>,
    next_id: usize,
    is_thread: bool,
}

impl Actor {
    fn new(number: usize, seed: u64, is_thread: bool) -> Self {
        Self {
            random: Rng(seed ^ (number as u64).wrapping_mul(0xA24B_AED4_963E_E407)),
            places: (0..NODES).map(|_| Place::Nowhere).collect(),
            roots: vec![None; NODES],
            shadow: HashMap::new(),
            next_id: number << 40,
            is_thread,
        }
    }

    /// A new node, with links to what `links` hold.
    fn node(&mut self, links: [Option<Gc<Node>>; LINKS]) -> Gc<Node> {
        let id = self.next_id;
        self.next_id += 1;
        let length = self.random.index(8) * self.random.index(8) * self.random.index(60);
        let tail = (length > 0).then(|| Gc::<[usize]>::from_fn(length, |index| id ^ index));
        self.shadow.insert(id, Shadow { id, links: links.map(|link| link.map(|gc| gc.id)) });
        Gc::new(Node { id, check: id ^ KEY, links: links.map(SlotOption::new), tail })
    }

    /// What `place` holds, which stays there or in another place.
    fn get(&mut self, index: usize) -> Option<Gc<Node>> {
        let gc = std::mem::replace(&mut self.places[index], Place::Nowhere).take()?;
        self.places[index] = Place::new(gc, &mut self.random);
        Some(gc)
    }

    fn put(&mut self, index: usize, gc: Gc<Node>) {
        self.roots[index] = Some(gc.id);
        self.places[index] = Place::new(gc, &mut self.random);
    }

    fn step(&mut self, parcels: &(Sender<Parcel>, Receiver<Parcel>)) {
        let (a, b) = (self.random.index(NODES), self.random.index(NODES));
        match self.random.index(24) {
            0..8 => {
                let links = [self.get(a), self.get(b), None];
                let gc = self.node(links);
                let at = self.random.index(NODES);
                self.put(at, gc);
            }
            8..13 => {
                if let (Some(from), Some(to)) = (self.get(a), self.get(b)) {
                    let link = self.random.index(LINKS);
                    from.links[link].store(Some(to));
                    self.shadow.get_mut(&from.id).expect("a node of this actor").links[link] = Some(to.id);
                }
            }
            13..15 => {
                if let Some(from) = self.get(a) {
                    let link = self.random.index(LINKS);
                    from.links[link].store(None);
                    self.shadow.get_mut(&from.id).expect("a node of this actor").links[link] = None;
                }
            }
            15..18 => {
                self.places[a] = Place::Nowhere;
                self.roots[a] = None;
            }
            18 => self.across_a_wait(a),
            19 => self.in_a_goroutine(a),
            20 => self.in_a_scope(a),
            21 => self.exchange(a, parcels),
            22 => self.unwinding(a),
            _ => {
                if self.random.index(8) == 0 {
                    self.check();
                }
            }
        }
    }

    /// Only on this stack, or only in a thread-local, while others run.
    fn across_a_wait(&mut self, a: usize) {
        let place = std::mem::replace(&mut self.places[a], Place::Nowhere);
        let Some(gc) = place.take() else { return };
        if self.is_thread {
            LOCAL.set(Some(gc));
            std::thread::yield_now();
            let back = LOCAL.take().expect("set above");
            self.put(a, back);
        } else {
            yield_now();
            let id = gc.id;
            assert_eq!(self.roots[a], Some(id));
            self.put(a, gc);
        }
    }

    /// In the closure of a goroutine that has not started, then in its result.
    fn in_a_goroutine(&mut self, a: usize) {
        let place = std::mem::replace(&mut self.places[a], Place::Nowhere);
        let Some(gc) = place.take() else { return };
        let handle = go(move || {
            yield_now();
            gc
        });
        if self.random.index(2) == 0 {
            yield_now();
        }
        let back = handle.join().expect("no panic");
        self.put(a, back);
    }

    /// Written by a child into the frame of its parent.
    fn in_a_scope(&mut self, a: usize) {
        let first = std::mem::replace(&mut self.places[a], Place::Nowhere).take();
        let mut slots = [None; 2];
        // Long enough for a cycle to have scanned the parent before, and to end before the parent goes on.
        let (before, after) = (self.random.index(60), self.random.index(60));
        greenroutine::scope(|scope| {
            let slots = &mut slots;
            scope.go(move || {
                (0..before).for_each(|_| yield_now());
                slots[1] = first;
                (0..after).for_each(|_| yield_now());
            });
        });
        match slots[1] {
            Some(gc) => self.put(a, gc),
            None => self.roots[a] = None,
        }
    }

    /// Gives a graph away and takes one.
    fn exchange(&mut self, a: usize, parcels: &(Sender<Parcel>, Receiver<Parcel>)) {
        if self.shadow.len() > 2 * MOST {
            self.check();
        }
        if let Some(root) = self.get(a) {
            // A graph of its own: nobody else may change its links afterwards.
            let copy = copy(root, &mut self.next_id);
            let parcel = Parcel { root: copy.0, root_id: copy.0.id, shadow: copy.1 };
            let _ = parcels.0.try_send(parcel);
        }
        if let Ok(parcel) = parcels.1.try_recv() {
            assert_eq!(parcel.root.id, parcel.root_id);
            self.shadow.extend(parcel.shadow);
            let at = self.random.index(NODES);
            self.put(at, parcel.root);
        }
    }

    /// In the payload of a panic.
    fn unwinding(&mut self, a: usize) {
        let place = std::mem::replace(&mut self.places[a], Place::Nowhere);
        let Some(gc) = place.take() else { return };
        let payload = go(move || std::panic::resume_unwind(Box::new(vec![gc])))
            .join()
            .expect_err("a panic")
            .into_panic();
        yield_now();
        let back = payload.downcast::<Vec<Gc<Node>>>().expect("the payload");
        self.put(a, back[0]);
    }

    /// Everything that the shadow says must be alive is alive, and as it says.
    fn check(&mut self) {
        let mut seen: HashMap<usize, Gc<Node>> = HashMap::new();
        let mut open = Vec::new();
        for index in 0..NODES {
            let gc = self.get(index);
            assert_eq!(gc.map(|gc| gc.id), self.roots[index], "the root in place {index}");
            open.extend(gc);
        }
        while let Some(gc) = open.pop() {
            let id = gc.id;
            assert_eq!(gc.check, id ^ KEY, "the check word of node {id:x}");
            if let Some(other) = seen.insert(id, gc) {
                assert!(Gc::ptr_eq(other, gc), "node {id:x} is one object");
                continue;
            }
            if let Some(tail) = gc.tail {
                assert!(
                    tail.iter().enumerate().all(|(index, word)| *word == id ^ index),
                    "the tail of node {id:x}"
                );
            }
            let links = gc.links.each_ref().map(SlotOption::load);
            let expected = &self.shadow[&id];
            assert_eq!(expected.id, id);
            assert_eq!(links.map(|link| link.map(|gc| gc.id)), expected.links, "the links of node {id:x}");
            open.extend(links.into_iter().flatten());
        }
        self.shadow.retain(|id, _| seen.contains_key(id));
        if seen.len() > MOST {
            self.prune();
        }
    }

    /// The graph has grown large: most of it goes.
    fn prune(&mut self) {
        for index in 0..NODES {
            if index % 4 != 0 {
                self.places[index] = Place::Nowhere;
                self.roots[index] = None;
            } else if let Some(gc) = self.get(index) {
                gc.links.iter().for_each(|link| link.store(None));
                self.shadow.get_mut(&gc.id).expect("a node of this actor").links = [None; LINKS];
            }
        }
    }
}

/// A copy of a graph, with ids of its own.
fn copy(root: Gc<Node>, next_id: &mut usize) -> (Gc<Node>, HashMap<usize, Shadow>) {
    let mut copies: HashMap<usize, Gc<Node>> = HashMap::new();
    let mut order = Vec::new();
    let mut open = vec![root];
    while let Some(gc) = open.pop() {
        if copies.contains_key(&gc.id) {
            continue;
        }
        let id = *next_id;
        *next_id += 1;
        copies.insert(gc.id, Gc::new(Node { id, check: id ^ KEY, links: Default::default(), tail: None }));
        order.push(gc);
        open.extend(gc.links.iter().filter_map(SlotOption::load));
    }
    let mut shadow = HashMap::new();
    for gc in order {
        let new = copies[&gc.id];
        let links = gc.links.each_ref().map(|link| link.load().map(|to| copies[&to.id]));
        for (slot, link) in new.links.iter().zip(links) {
            slot.store(link);
        }
        shadow.insert(new.id, Shadow { id: new.id, links: links.map(|link| link.map(|gc| gc.id)) });
    }
    (copies[&root.id], shadow)
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect(name))
}

/// The run itself, in a process of its own: `what` chooses threads, or goroutines in one of the modes.
fn torture(what: &str, seed: u64, steps: u64) {
    let parcels = Arc::new(channel::bounded(16));
    let done = Arc::new(AtomicBool::new(false));
    let actors = 6;
    let collector = {
        let done = done.clone();
        std::thread::spawn(move || {
            let mut random = Rng(seed);
            while !done.load(Ordering::SeqCst) {
                gc::collect();
                for _ in 0..random.index(100) {
                    std::thread::yield_now();
                }
            }
        })
    };
    let body = |number: usize, is_thread: bool| {
        let parcels = parcels.clone();
        move || {
            let mut actor = Actor::new(number, seed, is_thread);
            for step in 0..steps {
                actor.step(&parcels);
                if !is_thread && step % 16 == 0 {
                    yield_now();
                }
            }
            actor.check();
        }
    };
    if what == "scopes" {
        common::runtime(2, false).run(|| {
            let parents: Vec<_> =
                (0..4).map(|number| go(move || scopes(seed ^ number, steps / 100))).collect();
            parents.into_iter().for_each(|parent| parent.join().expect("no panic"));
        });
    } else if what == "threads" {
        let threads: Vec<_> = (1..=actors).map(|number| std::thread::spawn(body(number, true))).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    } else {
        // Rc and the like stay on one worker in home mode; in free mode the actors keep them across waits, which that mode forbids, but nothing of theirs is bound to a thread.
        let runtime = common::runtime(3, what == "free");
        let bodies: Vec<_> = (1..=actors).map(|number| body(number, false)).collect();
        runtime.run(|| {
            let handles: Vec<_> = bodies.into_iter().map(|body| go(body)).collect();
            handles.into_iter().for_each(|handle| handle.join().expect("no panic"));
        });
    }
    done.store(true, Ordering::SeqCst);
    collector.join().expect("no panic");
}

/// Children put the only pointer to an object into the frame of a parent that has waited for whole cycles, at any moment of a cycle, and end cycles later.
fn scopes(seed: u64, rounds: u64) {
    let mut random = Rng(seed);
    let cycles = |count: u64| {
        let end = gc::stats().cycles + count;
        while gc::stats().cycles < end {
            yield_now();
        }
    };
    for round in 0..rounds as usize {
        let mut slot = None;
        let delay = random.index(100_000);
        greenroutine::scope(|scope| {
            let slot = &mut slot;
            scope.go(move || {
                // Older than the cycle in which it moves, and nowhere else.
                let mut mine = Some(make(round));
                cycles(1);
                (0..delay).for_each(|_| std::hint::spin_loop());
                hand_over(&mut mine, slot);
                cycles(2);
            });
        });
        let gc: Gc<[usize; 2]> = slot.expect("written");
        assert_eq!(*gc, [round, round ^ KEY], "what a child has written");
    }

    #[inline(never)]
    fn make(round: usize) -> Gc<[usize; 2]> {
        Gc::new([round, round ^ KEY])
    }

    #[inline(never)]
    fn hand_over(from: &mut Option<Gc<[usize; 2]>>, to: &mut Option<Gc<[usize; 2]>>) {
        *to = from.take();
        // What is left of it below in this stack is written over.
        std::hint::black_box([0_usize; 64]);
    }
}

const CHILD: &str = "torture_child";

#[test]
fn torture_child() {
    if is_child(CHILD) {
        let what = std::env::var("GREENROUTINE_TORTURE_WHAT").expect("set by the parent");
        torture(
            &what,
            variable("GREENROUTINE_TORTURE_SEED", 1),
            variable("GREENROUTINE_TORTURE_STEPS", 20_000),
        );
    }
}

fn in_a_process(what: &str, backend: &str) {
    let steps = variable("GREENROUTINE_TORTURE_STEPS", 3_000);
    let seed =
        variable("GREENROUTINE_TORTURE_SEED", 0x5EED ^ what.len() as u64 ^ ((backend.len() as u64) << 8));
    let gc = format!("backend={backend},check=poison");
    let output = in_child(CHILD, |command| {
        command
            .env("GREENROUTINE_TORTURE_WHAT", what)
            .env("GREENROUTINE_TORTURE_SEED", seed.to_string())
            .env("GREENROUTINE_TORTURE_STEPS", steps.to_string())
            .env("GREENROUTINE_GC", &gc);
    });
    assert!(
        output.status.success(),
        "{what}: GREENROUTINE_TORTURE_SEED={seed} GREENROUTINE_TORTURE_STEPS={steps} GREENROUTINE_GC={gc}: {}\n{}",
        output.status,
        text(&output)
    );
}

#[test]
fn threads_with_the_world_stopped() {
    in_a_process("threads", "stw");
}

#[test]
fn threads_beside_the_collector() {
    in_a_process("threads", "auto");
}

#[test]
fn goroutines_with_the_world_stopped() {
    in_a_process("home", "stw");
}

#[test]
fn goroutines_beside_the_collector() {
    in_a_process("home", "auto");
}

#[test]
fn frames_that_children_write_to() {
    in_a_process("scopes", "auto");
}

#[test]
fn migrating_goroutines_with_the_world_stopped() {
    in_a_process("free", "stw");
}

#[test]
fn migrating_goroutines_beside_the_collector() {
    in_a_process("free", "auto");
}

#[test]
fn the_oracle_sees_what_is_freed_too_early() {
    const NAME: &str = "the_oracle_sees_what_is_freed_too_early";
    // A node that only a number knows is dead, and its memory is overwritten: so a marker that misses a place would show.
    #[inline(never)]
    fn hidden() -> Vec<usize> {
        // Inverted: no pointer that the collector knows.
        (0..1000).map(|id| !(Gc::as_ptr(Gc::new([id, id ^ KEY])) as usize)).collect()
    }
    if !is_child(NAME) {
        let output = in_child(NAME, |command| {
            command.env("GREENROUTINE_GC", "backend=stw,check=poison");
        });
        assert!(output.status.success(), "{}", text(&output));
        return;
    }
    let hidden = hidden();
    gc::collect();
    let is_overwritten = |(id, address): (usize, usize)| {
        let words = (!address) as *const [usize; 2];
        // SAFETY: memory of the heap stays mapped; what it holds now is the question.
        let words = unsafe { words.read_volatile() };
        words != [id, id ^ KEY]
    };
    let count = hidden.into_iter().enumerate().filter(|node| is_overwritten(*node)).count();
    assert!(count > 900, "{count} of 1000 were overwritten");
}
