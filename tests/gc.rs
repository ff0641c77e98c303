//! Collected pointers: what they are, where they may lie, and that what nobody reaches is freed.
#![cfg(feature = "gc")]

mod common;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use common::alone;
use greenroutine::gc::{self, Root, Slot, SlotOption};
use greenroutine::sync::Mutex;
use greenroutine::{Gc, channel, go, run};

/// An object that says by its content whether it was freed: freed memory is used again for others.
struct Witness {
    number: usize,
    check: usize,
}

const KEY: usize = 0x5bd1_e995_1234_5678;

fn witness(number: usize) -> Gc<Witness> {
    Gc::new(Witness { number, check: number ^ KEY })
}

fn assert_alive(witness: Gc<Witness>, number: usize) {
    assert_eq!(witness.number, number);
    assert_eq!(witness.check, number ^ KEY);
}

/// Frees what can be freed, and fills it with something else.
fn churn() {
    for _ in 0..2 {
        gc::collect();
        for _ in 0..20_000 {
            Gc::new([0xdead_usize; 2]);
        }
    }
}

#[test]
fn a_pointer_is_a_word_and_behaves_like_its_value() {
    assert_eq!(size_of::<Gc<[u64; 9]>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Gc<u8>>>(), size_of::<usize>());
    let (a, b) = (Gc::new(3), Gc::new(4));
    assert!(a < b && a != b && a == Gc::new(3) && !Gc::ptr_eq(a, Gc::new(3)) && Gc::ptr_eq(a, a));
    assert_eq!((format!("{a:?} {b}"), *a + *b), (String::from("3 4"), 7));
    let hash = |value: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        value(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(&|h| a.hash(h)), hash(&|h| 3.hash(h)));
    let text: Gc<str> = "collected".into();
    assert_eq!((&*text, text.len()), ("collected", 9));
    let map: HashMap<Gc<str>, i32> = [(text, 1)].into();
    assert_eq!(map.get("collected"), Some(&1));
    assert_eq!(Gc::<u32>::default(), Gc::from(0));
}

#[test]
fn slices_of_all_makings() {
    assert_eq!(&*Gc::<[u8]>::from_slice(&[1, 2, 3]), [1, 2, 3]);
    assert_eq!(&*Gc::<[usize]>::from_fn(4, |index| index * index), [0, 1, 4, 9]);
    assert_eq!(Gc::<[u32]>::from_iter(0..1000).len(), 1000);
    assert_eq!(Gc::<[u32]>::from_iter((0..1000).filter(|n| n % 2 == 0)).len(), 500);
    assert_eq!(&*Gc::<[u64]>::from([5, 6]), [5, 6]);
    assert_eq!(&*Gc::<[u64]>::from(vec![5, 6]), [5, 6]);
    assert!(Gc::<[u64]>::from_iter([]).is_empty());
    assert_eq!(Gc::<[()]>::from_fn(7, |_| ()).len(), 7);
    let large = Gc::<[u64]>::from_iter(0..1_000_000);
    churn();
    assert!(large.iter().enumerate().all(|(index, value)| index as u64 == *value));
    let dynamic: Gc<dyn Debug> = gc::unsize!(Gc::new([1, 2]), dyn Debug);
    assert_eq!(format!("{dynamic:?}"), "[1, 2]");
}

/// An iterator that says it has two elements.
struct Liar(usize, usize);

impl Iterator for Liar {
    type Item = Gc<usize>;
    fn next(&mut self) -> Option<Gc<usize>> {
        (self.0 < self.1).then(|| {
            self.0 += 1;
            Gc::new(self.0)
        })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (2, Some(2))
    }
}

#[test]
fn iterators_may_lie_about_their_length() {
    for length in 0..5 {
        let slice: Gc<[Gc<usize>]> = Liar(0, length).collect();
        assert_eq!(slice.iter().map(|gc| **gc).collect::<Vec<_>>(), (1..=length).collect::<Vec<_>>());
    }
}

#[test]
fn alignments_are_kept() {
    #[repr(align(64))]
    struct Line(u8);
    #[repr(align(4096))]
    struct Page(u8);
    for n in 0..20 {
        let (line, page) = (Gc::new(Line(n)), Gc::new(Page(n)));
        assert!(
            (Gc::as_ptr(line) as usize).is_multiple_of(64)
                && (Gc::as_ptr(page) as usize).is_multiple_of(4096)
        );
        assert_eq!((line.0, page.0), (n, n));
    }
}

#[test]
fn what_nobody_reaches_is_freed() {
    alone("what_nobody_reaches_is_freed", || {
        gc::collect();
        let before = gc::stats().heap_live;
        for number in 0..200_000 {
            witness(number);
        }
        gc::collect();
        let after = gc::stats().heap_live;
        assert!(after < before + 1_000_000, "{before} {after}");
    });
}

#[test]
fn a_long_list_and_a_cycle_are_followed_without_recursion() {
    struct Node {
        number: usize,
        next: SlotOption<Node>,
    }
    let first = Gc::new(Node { number: 0, next: SlotOption::empty() });
    let mut last = first;
    for number in 1..1_000_000 {
        let node = Gc::new(Node { number, next: SlotOption::empty() });
        last.next.store(Some(node));
        last = node;
    }
    last.next.store(Some(first));
    churn();
    let mut at = first;
    for number in 0..1_000_000 {
        assert_eq!(at.number, number);
        at = at.next.load().expect("a cycle");
    }
    assert!(Gc::ptr_eq(at, first));
}

static STATIC: SlotOption<Witness> = SlotOption::empty();
static ONCE: OnceLock<Mutex<Vec<Gc<Witness>>>> = OnceLock::new();
std::thread_local!(static LOCAL: Cell<Option<Gc<Witness>>> = const { Cell::new(None) });

/// One place that holds a witness, and looks after it again.
type Place = Box<dyn FnOnce(usize)>;

/// Puts witnesses into every place there is, and returns how to get them back.
#[inline(never)]
fn hide(base: usize) -> Vec<Place> {
    let boxed = Box::new(witness(base));
    let vector: Vec<_> = (1..100).map(|n| witness(base + n)).collect();
    let counted = Rc::new(RefCell::new(witness(base + 100)));
    let shared = Arc::new(std::sync::Mutex::new(witness(base + 101)));
    let ours = Mutex::new(witness(base + 102));
    let slot = Slot::new(witness(base + 103));
    let map: HashMap<usize, Gc<Witness>> = (104..200).map(|n| (n, witness(base + n))).collect();
    let rooted = Root::new(witness(base + 200)).into_raw() as usize;
    let nested = Gc::new([Gc::new(Some(witness(base + 201)))]);
    let (sender, receiver) = channel::bounded(3);
    sender.send(witness(base + 202)).expect("open");
    let boxed_dyn: Box<dyn Fn() -> Gc<Witness>> = {
        let inside = witness(base + 203);
        Box::new(move || inside)
    };
    let tree: std::collections::BTreeMap<usize, Gc<Witness>> =
        (204..300).map(|n| (n, witness(base + n))).collect();
    vec![
        Box::new(move |base| assert_alive(*boxed, base)),
        Box::new(move |base| vector.iter().enumerate().for_each(|(n, gc)| assert_alive(*gc, base + n + 1))),
        Box::new(move |base| assert_alive(*counted.borrow(), base + 100)),
        Box::new(move |base| assert_alive(*shared.lock().expect("no panic"), base + 101)),
        Box::new(move |base| assert_alive(*ours.lock(), base + 102)),
        Box::new(move |base| assert_alive(slot.load(), base + 103)),
        Box::new(move |base| map.iter().for_each(|(n, gc)| assert_alive(*gc, base + n))),
        Box::new(move |base| {
            // SAFETY: from `into_raw`, used once.
            let root = unsafe { Root::<Witness>::from_raw(rooted as *mut _) };
            assert_alive(root.get(), base + 200);
        }),
        Box::new(move |base| assert_alive(nested[0].expect("some"), base + 201)),
        Box::new(move |base| {
            let _open = sender;
            assert_alive(receiver.recv().expect("sent"), base + 202);
        }),
        Box::new(move |base| assert_alive(boxed_dyn(), base + 203)),
        Box::new(move |base| tree.iter().for_each(|(n, gc)| assert_alive(*gc, base + n))),
    ]
}

fn every_place() {
    let places = hide(10_000);
    let local = witness(2);
    churn();
    assert_alive(local, 2);
    places.into_iter().for_each(|place| place(10_000));
}

#[test]
fn every_place_of_a_thread_is_seen() {
    let with_thread_local = || {
        LOCAL.set(Some(witness(1)));
        every_place();
        assert_alive(LOCAL.take().expect("set"), 1);
    };
    with_thread_local();
    std::thread::spawn(with_thread_local).join().expect("no panic");
}

#[test]
fn every_place_of_a_goroutine_is_seen() {
    common::on_goroutines(|| {
        let all: Vec<_> = (0..2).map(|_| go(every_place)).collect();
        all.into_iter().for_each(|handle| handle.join().expect("no panic"));
    });
}

#[test]
fn statics_are_seen() {
    STATIC.store(Some(witness(77)));
    ONCE.get_or_init(|| Mutex::new(vec![witness(78)]));
    churn();
    assert_alive(STATIC.take().expect("stored"), 77);
    assert_alive(ONCE.get().expect("set").lock()[0], 78);
}

#[test]
fn parked_goroutines_and_unstarted_closures_and_results_are_seen() {
    common::on_goroutines(|| {
        let (sender, receiver) = channel::bounded::<()>(0);
        let parked: Vec<_> = (0..100)
            .map(|number| {
                let receiver = receiver.clone();
                go(move || {
                    let mine = witness(number);
                    let _ = receiver.recv();
                    assert_alive(mine, number);
                    mine
                })
            })
            .collect();
        let done: Vec<_> = (0..100).map(|number| go(move || witness(1000 + number))).collect();
        greenroutine::yield_now();
        let captured: Vec<_> = (0..100)
            .map(|number| {
                let gc = witness(2000 + number);
                go(move || assert_alive(gc, 2000 + number))
            })
            .collect();
        churn();
        captured.into_iter().for_each(|handle| handle.join().expect("no panic"));
        for (number, handle) in done.into_iter().enumerate() {
            assert_alive(handle.join().expect("no panic"), 1000 + number);
        }
        drop(sender);
        for (number, handle) in parked.into_iter().enumerate() {
            assert_alive(handle.join().expect("no panic"), number);
        }
    });
}

#[test]
fn a_value_handed_to_a_parked_receiver_is_seen() {
    run(|| {
        let (sender, receiver) = channel::bounded(0);
        let taker = go(move || {
            for number in 0..1000 {
                assert_alive(receiver.recv().expect("open"), number);
            }
        });
        for number in 0..1000 {
            sender.send(witness(number)).expect("open");
            if number % 100 == 0 {
                churn();
            }
        }
        taker.join().expect("no panic");
    });
}

#[test]
fn children_write_into_the_frame_of_a_parked_scope() {
    run(|| {
        let mut slots = [None; 16];
        greenroutine::scope(|scope| {
            for (number, slot) in slots.iter_mut().enumerate() {
                scope.go(move || {
                    *slot = Some(witness(number));
                    greenroutine::yield_now();
                });
            }
            churn();
        });
        churn();
        for (number, slot) in slots.into_iter().enumerate() {
            assert_alive(slot.expect("written"), number);
        }
    });
}

#[test]
fn a_panic_in_flight_is_seen() {
    let gc = witness(5);
    let result = std::panic::catch_unwind(move || std::panic::panic_any(gc.number + gc.check));
    assert!(result.is_err());
    let joined = go(|| std::panic::panic_any(Box::new(witness(6)))).join();
    churn();
    let payload = joined.expect_err("panicked").into_panic();
    assert_alive(**payload.downcast::<Box<Gc<Witness>>>().expect("the payload"), 6);
}

#[test]
fn guards_keep_cycles_from_beginning() {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock();
    let guard = gc::pause_guard();
    let before = gc::stats().cycles;
    gc::collect();
    assert_eq!(gc::stats().cycles, before);
    drop(guard);
    gc::collect();
    assert!(gc::stats().cycles > before);
}

#[test]
fn threads_come_and_go_while_the_world_is_stopped_again_and_again() {
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..50 {
                    let gc = witness(round);
                    let inner = std::thread::spawn(move || {
                        let mine = [gc; 3];
                        for number in 0..200 {
                            assert_alive(witness(number), number);
                        }
                        assert_alive(mine[2], round);
                        mine[1]
                    });
                    assert_alive(inner.join().expect("no panic"), round);
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        while done.load(Ordering::SeqCst) < 4 {
            gc::collect();
        }
    });
}
