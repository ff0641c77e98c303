//! The loads of the collected heap: nothing that is held is lost, nothing is destroyed twice, and whoever waits for ever is found.
//!
//! Every object carries a number and what that number is mixed to, so an object that was freed while somebody held it is noticed when it is looked at, at the latest when its memory is something else's;
//! with `GREENROUTINE_GC=check=poison` at once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use greenroutine::gc::{self, Backend, GcDrop, Leak, SlotOption, Weak, WeakMap};
use greenroutine::sync::Pool;
use greenroutine::{Gc, chan, go, scope, task, yield_now};

use super::Tally;
use super::faults::OnPurpose;
use super::loads::{Checked, same};
use super::plan::Rng;

/// What a number is mixed to.
fn mixed(number: u64) -> u64 {
    Rng(number).next()
}

/// An object of a graph.
pub(super) struct Node {
    number: u64,
    check: u64,
    links: [SlotOption<Node>; 3],
}

impl Node {
    fn new(number: u64) -> Gc<Self> {
        Gc::new(Self { number, check: mixed(number), links: Default::default() })
    }

    fn is_whole(&self) -> bool {
        self.check == mixed(self.number)
    }
}

/// What goroutines share: the only way to most nodes.
type Roots = Gc<[SlotOption<Node>]>;

/// Some steps from a root, wherever they lead.
fn walk(roots: Roots, rng: &mut Rng) -> Result<Option<Gc<Node>>, String> {
    let mut at = roots[rng.below(roots.len() as u64) as usize].load();
    for _ in 0..rng.below(20) {
        let Some(node) = at else { break };
        if !node.is_whole() {
            return Err(format!("a node that is held says {:#x} and {:#x}", node.number, node.check));
        }
        at = node.links[rng.below(3) as usize].load().or(at);
    }
    Ok(at)
}

/// Makes nodes and links old ones anew, all the time; ends early if it is cancelled or panics, with nodes in hand.
fn change(roots: Roots, steps: u64, mut rng: Rng) -> Checked {
    for _ in 0..steps {
        let at = walk(roots, &mut rng)?;
        let new = Node::new(rng.next());
        new.links[0].store(at);
        new.links[1].store(walk(roots, &mut rng)?);
        match (rng.below(4), at) {
            (0, Some(at)) => drop(at.links[rng.below(3) as usize].swap(Some(new))),
            (1, Some(at)) => drop(at.links[2].compare_exchange(at.links[1].load(), Some(new))),
            // What lay behind it has now only other ways, if any.
            (2, _) => drop(roots[rng.below(roots.len() as u64) as usize].take()),
            _ => roots[rng.below(roots.len() as u64) as usize].store(Some(new)),
        }
        // Over a switch, `at` is in a stack that the collector has to read.
        if rng.below(8) == 0 {
            yield_now();
        }
        if at.is_some_and(|at| !at.is_whole()) || !new.is_whole() {
            return Err(String::from("a node on a stack is not whole"));
        }
    }
    Ok(())
}

/// All nodes that can be reached are whole.
fn look_at_all(roots: Roots) -> Result<u64, String> {
    let mut to_see: Vec<Gc<Node>> = roots.iter().filter_map(SlotOption::load).collect();
    let mut seen = std::collections::HashSet::new();
    while let Some(node) = to_see.pop() {
        if !seen.insert(Gc::as_ptr(node)) {
            continue;
        }
        if !node.is_whole() {
            return Err(format!("a node of {} says {:#x} and {:#x}", seen.len(), node.number, node.check));
        }
        to_see.extend(node.links.iter().filter_map(SlotOption::load));
    }
    Ok(seen.len() as u64)
}

/// A random graph that several goroutines change while it is collected. Some are cancelled meanwhile, and some panic with a node as payload.
pub(super) fn graph(size: u64, seed: u64, tally: &Tally) -> Checked {
    let mut rng = Rng(seed);
    let roots: Roots = (0..16 + rng.below(100)).map(|_| SlotOption::default()).collect();
    let (changers, steps) = (2 + rng.below(5), size * 300);
    let handles: Vec<_> = (0..changers)
        .map(|_| {
            let (rng, panics) = (Rng(rng.next()), rng.below(3) == 0);
            go(move || {
                let done = change(roots, steps, rng);
                if panics && done.is_ok() {
                    std::panic::panic_any(OnPurpose(Some(Node::new(steps))));
                }
                done
            })
        })
        .collect();
    if rng.below(2) == 0 {
        gc::collect();
    }
    let cancelled = rng.below(3) == 0;
    if cancelled {
        handles[0].cancel();
    }
    for (n, handle) in handles.into_iter().enumerate() {
        match handle.join() {
            Ok(done) => done?,
            Err(error) if error.is_panic() => {
                let payload = error.into_panic();
                let node = payload.downcast_ref::<OnPurpose>().and_then(|payload| payload.0);
                match node {
                    Some(node) if node.is_whole() && node.number == steps => Tally::add(&tally.panics, 1),
                    _ => return Err(String::from("a panic's payload was lost")),
                }
            }
            Err(error) if n == 0 && cancelled && error.is_cancelled() => Tally::add(&tally.cancelled, 1),
            Err(error) => return Err(error.to_string()),
        }
    }
    if rng.below(4) == 0 {
        gc::collect();
    }
    Tally::add(&tally.objects, changers * steps);
    look_at_all(roots).map(drop)
}

/// A value whose destructor counts, and finds what it refers to undestroyed.
struct Counted {
    number: usize,
    drops: Arc<[AtomicU32]>,
    early: Arc<AtomicU64>,
    before: Option<GcDrop<Counted>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before =
            self.before.map_or(0, |before| before.with(|before| self.drops[before.number].load(SeqCst)));
        self.early.fetch_add(u64::from(before), SeqCst);
        self.drops[self.number].fetch_add(1, SeqCst);
        DESTROYED.fetch_add(1, SeqCst);
    }
}

static MADE: AtomicU64 = AtomicU64::new(0);
static DESTROYED: AtomicU64 = AtomicU64::new(0);

/// Values with destructors, in chains: those that are held are not destroyed, the others at most once, and none before one that refers to it.
pub(super) fn destructors(size: u64, seed: u64, tally: &Tally) -> Checked {
    let (mut rng, count) = (Rng(seed), (size * 60) as usize);
    let drops: Arc<[AtomicU32]> = (0..count).map(|_| AtomicU32::new(0)).collect();
    let early = Arc::new(AtomicU64::new(0));
    let mut last = None;
    let mut held: Vec<(usize, GcDrop<Counted>)> = Vec::new();
    for number in 0..count {
        let before = if rng.below(3) > 0 { last } else { None };
        let new = GcDrop::new(Counted { number, drops: drops.clone(), early: early.clone(), before });
        last = Some(new);
        if rng.below(10) == 0 {
            held.push((number, new));
        }
        if rng.below(30) == 0 {
            yield_now();
        }
    }
    MADE.fetch_add(count as u64, SeqCst);
    gc::collect();
    for (number, value) in &held {
        same("destructors of a held value", drops[*number].load(SeqCst), 0)?;
        same("its number", value.with(|value| value.number), *number)?;
    }
    Tally::add(&tally.objects, count as u64);
    let twice = drops.iter().filter(|drops| drops.load(SeqCst) > 1).count();
    same("values destroyed twice", twice, 0)?;
    same("values destroyed before what refers to them", early.load(SeqCst), 0)
}

/// Weak pointers, weak maps and cleanups: what is held is found, what is gone is gone for all.
pub(super) fn weak(size: u64, seed: u64, tally: &Tally) -> Checked {
    let (mut rng, count) = (Rng(seed), size * 60);
    let map: WeakMap<Node, u64> = WeakMap::new();
    let cleaned: Arc<[AtomicU32]> = (0..count).map(|_| AtomicU32::new(0)).collect();
    let mut held = HashMap::new();
    let mut weak = Vec::new();
    for number in 0..count {
        let node = Node::new(number);
        map.insert(node, number * 3);
        let cleaned = cleaned.clone();
        gc::on_collect(node, move || _ = cleaned[number as usize].fetch_add(1, SeqCst));
        weak.push(Gc::downgrade(node));
        if rng.below(3) == 0 {
            held.insert(number, node);
        }
        if rng.below(30) == 0 {
            yield_now();
        }
    }
    for round in 0..2 {
        for (number, weak) in weak.iter().enumerate() {
            let (number, cleaned) = (number as u64, cleaned[number].load(SeqCst));
            match (Weak::upgrade(weak), held.get(&number)) {
                (Some(node), _) if !node.is_whole() || node.number != number => {
                    return Err(format!("a weak pointer gives {:#x} for {number}", node.number));
                }
                (Some(node), _) => {
                    same("the weak map's value", map.get(node).as_deref(), Some(&(number * 3)))?
                }
                (None, Some(_)) => {
                    return Err(format!("a weak pointer to a held value is gone in round {round}"));
                }
                (None, None) => {}
            }
            if cleaned > 1 || cleaned > 0 && held.contains_key(&number) {
                return Err(format!("{cleaned} cleanups of a value, held: {}", held.contains_key(&number)));
            }
        }
        gc::collect();
    }
    Tally::add(&tally.objects, count);
    Ok(())
}

/// Collections of the collected heap beside those of std, with collected values in them.
pub(super) fn collections(size: u64, seed: u64, tally: &Tally) -> Checked {
    let mut rng = Rng(seed);
    let (mut vec, mut deque, mut tree, mut table, mut text) = (
        gc::Vec::<Gc<u64>>::new(),
        gc::VecDeque::<Gc<u64>>::new(),
        gc::BTreeMap::<u64, Gc<u64>>::new(),
        gc::HashMap::<u64, Gc<u64>>::new(),
        gc::String::new(),
    );
    let (mut vec_, mut deque_, mut map_, mut text_) =
        (Vec::<u64>::new(), VecDeque::<u64>::new(), BTreeMap::<u64, u64>::new(), String::new());
    for _ in 0..size * 200 {
        let (key, value) = (rng.below(50), rng.next());
        match rng.below(7) {
            0 | 1 => {
                vec.push(Gc::new(value));
                vec_.push(value);
                deque.push_back(Gc::new(value));
                deque_.push_back(value);
            }
            2 => {
                same("pop", vec.pop().map(|value| *value), vec_.pop())?;
                same("pop_front", deque.pop_front().map(|value| *value), deque_.pop_front())?;
            }
            3 | 4 => {
                let before = map_.insert(key, value);
                same("tree", tree.insert(key, Gc::new(value)).map(|value| *value), before)?;
                same("table", table.insert(key, Gc::new(value)).map(|value| *value), before)?;
            }
            5 => {
                let before = map_.remove(&key);
                same("tree", tree.remove(&key).map(|value| *value), before)?;
                same("table", table.remove(&key).map(|value| *value), before)?;
            }
            _ => {
                let letter = char::from(b'a' + key as u8 % 26);
                text.push(letter);
                text_.push(letter);
                yield_now();
            }
        }
    }
    gc::collect();
    Tally::add(&tally.objects, size * 200);
    let there = |values: &mut dyn Iterator<Item = &Gc<u64>>| values.map(|value| **value).collect::<Vec<_>>();
    same("the vector", there(&mut vec.iter()), vec_)?;
    same("the deque", there(&mut deque.iter()), deque_.into())?;
    same("the tree", there(&mut tree.values()), map_.values().copied().collect())?;
    same("the table", table.len(), map_.len())?;
    for (key, value) in &map_ {
        same("the table's value", table.get(key).map(|value| **value), Some(*value))?;
    }
    same("the text", text.as_str(), text_.as_str())
}

/// What comes out of a pool is nobody else's.
pub(super) fn pool(size: u64, seed: u64, tally: &Tally) -> Checked {
    struct Buffer {
        users: AtomicU32,
        words: Vec<u64>,
    }
    let pool = Pool::new(|| Buffer { users: AtomicU32::new(0), words: vec![0; 100] });
    let (shared, torn) = (AtomicU64::new(0), AtomicU64::new(0));
    scope(|s| {
        for part in 0..4 {
            let (pool, shared, torn) = (&pool, &shared, &torn);
            s.go(move || {
                let mut rng = Rng(seed ^ part);
                for round in 0..size * 50 {
                    let mut buffer = pool.get();
                    shared.fetch_add(u64::from(buffer.users.fetch_add(1, SeqCst)), SeqCst);
                    let mark = rng.next();
                    buffer.words.fill(mark);
                    if rng.below(3) == 0 {
                        yield_now();
                    }
                    torn.fetch_add(buffer.words.iter().filter(|word| **word != mark).count() as u64, SeqCst);
                    buffer.users.fetch_sub(1, SeqCst);
                    pool.put(buffer);
                    if part == 0 && round % 200 == 0 {
                        gc::collect();
                    }
                }
            });
        }
    });
    Tally::add(&tally.objects, size * 200);
    same("buffers with two users", shared.load(SeqCst), 0)?;
    same("words of somebody else", torn.load(SeqCst), 0)
}

/// What those are called that wait for ever on purpose.
const LOST: &str = "lost on purpose";

/// How many of them there are.
pub(super) static LOST_NOW: AtomicU64 = AtomicU64::new(0);

struct Counts;

impl Drop for Counts {
    fn drop(&mut self) {
        LOST_NOW.fetch_sub(1, SeqCst);
    }
}

/// One that waits for what only it could bring.
#[inline(never)]
fn lose(way: u64) -> Result<(), String> {
    let (s, r) = chan::<u64>(0);
    LOST_NOW.fetch_add(1, SeqCst);
    let counts = Counts;
    let wait = move || {
        let _counts = counts;
        match way {
            0 => drop((r.recv(), s)),
            1 => drop((s.send(1), r)),
            _ => task::park(),
        }
    };
    task::Builder::new().name(LOST).spawn(wait).map(drop).map_err(|error| error.to_string())
}

/// Looks for those who wait for ever and cancels them. Whoever else is reported is a false alarm.
pub(super) fn find_lost(tally: &Tally) -> Checked {
    for leak in gc::leaks() {
        match &leak {
            Leak::Goroutine { name: Some(name), .. } if name == LOST => {
                Tally::add(&tally.lost_found, u64::from(leak.cancel()));
            }
            other => return Err(format!("a false alarm: {other}")),
        }
    }
    Ok(())
}

/// Some goroutines wait for ever and are found, beside others that only wait. A stale word may hide one for a time: [`super::one_round`] looks again.
pub(super) fn leaks(size: u64, seed: u64, tally: &Tally) -> Checked {
    let mut rng = Rng(seed);
    let (s, r) = chan::<u64>(0);
    let waiting: Vec<_> = (0..size)
        .map(|_| {
            let r = r.clone();
            go(move || r.recv().is_err())
        })
        .collect();
    if gc::stats().backend != Backend::Off {
        for _ in 0..size {
            lose(rng.below(3))?;
        }
        Tally::add(&tally.lost, size);
    }
    for _ in 0..rng.below(50) {
        yield_now();
    }
    find_lost(tally)?;
    drop((s, r));
    let ended = waiting.into_iter().filter_map(|handle| handle.join().ok()).filter(|ended| *ended).count();
    same("those who only waited", ended as u64, size)
}

/// Somebody turns the collector's knobs meanwhile.
pub(super) fn knobs(size: u64, seed: u64, _: &Tally) -> Checked {
    let mut rng = Rng(seed);
    for _ in 0..size * 4 {
        gc::set_percent([Some(5), Some(50), Some(100), Some(400), None][rng.below(5) as usize]);
        gc::set_memory_limit([None, Some(16 << 20), Some(1 << 30)][rng.below(3) as usize]);
        let guard = (rng.below(3) == 0).then(gc::pause_guard);
        for _ in 0..rng.below(2000) {
            std::hint::black_box(Gc::new([rng.0; 8]));
        }
        yield_now();
        drop(guard);
    }
    gc::set_percent(Some(100));
    gc::set_memory_limit(None);
    Ok(())
}

/// Bytes of collected objects that are alive, and how many destructors have run of those that should. Nothing where nothing is collected.
pub(super) fn settled() -> Option<(usize, u64, u64)> {
    if gc::stats().backend == Backend::Off {
        return None;
    }
    // A chain of destructors goes one value a cycle.
    for _ in 0..5 {
        gc::collect();
    }
    Some((gc::stats().heap_live, DESTROYED.load(SeqCst), MADE.load(SeqCst)))
}
