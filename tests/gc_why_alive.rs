//! `gc::why_alive`: each kind of root, and the way from there.
#![cfg(feature = "gc")]

mod common;

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::mpsc;

use common::clear_stack;
use greenroutine::gc::{self, GcDrop, Path, RootKind, SlotOption, WeakMap};
use greenroutine::sync::Mutex;
use greenroutine::{Gc, chan, task};

/// An object in which to find a number.
struct Node {
    number: usize,
    next: SlotOption<Node>,
}

fn node(number: usize) -> Gc<Node> {
    Gc::new(Node { number, next: SlotOption::empty() })
}

/// A list, from the head; its tail's address is all that is returned of it, hidden.
fn list(length: usize) -> (Gc<Node>, usize) {
    let tail = node(0);
    let mut head = tail;
    for number in 1..length {
        let before = node(number);
        before.next.store(Some(head));
        head = before;
    }
    (head, !(Gc::as_ptr(tail) as usize))
}

/// The `n`th of a list.
fn nth(head: Gc<Node>, n: usize) -> Gc<Node> {
    (0..n).fold(head, |node, _| node.next.load().expect("a list of that length"))
}

/// Runs `make` on a stack of its own, which is gone with all that it has left there, and hides the address that it returns.
fn elsewhere(make: fn() -> usize) -> usize {
    std::thread::spawn(move || !make()).join().unwrap()
}

/// The object whose address is hidden: something else has to keep it alive.
#[inline(never)]
fn show(hidden: usize) -> Gc<Node> {
    // SAFETY: a `Gc` is the address of its object, which is alive.
    unsafe { std::mem::transmute(!hidden) }
}

/// Each step leads to the next, and the last is the object that was asked for.
fn check(path: &Path, object: usize) {
    let objects = path.objects();
    assert_eq!(objects.last().expect("the object itself").address, object, "{path}");
    for step in objects {
        assert!(step.offset < step.bytes, "{path}");
    }
    for pair in objects.windows(2).filter(|_| path.omitted() == 0) {
        // SAFETY: the test keeps what is on the path alive.
        let word = unsafe { ((pair[0].address + pair[0].offset) as *const usize).read() };
        assert!((pair[1].address..pair[1].address + pair[1].bytes).contains(&word), "{path}");
    }
    assert!(path.to_string().lines().count() > objects.len(), "{path}");
}

fn address(node: Gc<Node>) -> usize {
    Gc::as_ptr(node) as usize
}

#[test]
fn a_static() {
    static KEPT: Mutex<Option<Gc<Node>>> = Mutex::new(None);
    common::on_all(|| {
        let (head, _) = list(5);
        *KEPT.lock() = Some(head);
        let asked = nth(head, 0);
        let path = gc::why_alive(asked);
        let Some(RootKind::Static { address: at }) = path.root() else { panic!("{path}") };
        let range = &raw const KEPT as usize..&raw const KEPT as usize + size_of_val(&KEPT);
        assert!(range.contains(at), "{path}");
        assert_eq!(path.objects().len(), 1);
        assert_eq!(path.objects()[0].type_name, Some(std::any::type_name::<Node>()));
        assert!(path.objects()[0].is_collected);
        check(&path, address(asked));
        assert_eq!(asked.number, 4);
    });
}

#[test]
fn a_box_in_a_static() {
    type Pair = Box<(usize, Gc<Node>)>;
    static KEPT: OnceLock<Vec<Pair>> = OnceLock::new();
    common::alone("a_box_in_a_static", || {
        greenroutine::run(|| {
            let object = show(elsewhere(|| {
                let object = node(3);
                KEPT.set(vec![Box::new((1, node(2))), Box::new((2, object))]).ok();
                address(object)
            }));
            let path = gc::why_alive(object);
            assert!(matches!(path.root(), Some(RootKind::Static { .. })), "{path}");
            let collected: Vec<_> = path.objects().iter().map(|step| step.is_collected).collect();
            assert_eq!(collected, [false, false, true], "{path}");
            check(&path, address(object));
        });
    });
}

#[test]
fn a_thread_local() {
    thread_local!(static KEPT: RefCell<Option<Gc<Node>>> = const { RefCell::new(None) });
    common::alone("a_thread_local", || {
        let object = node(1);
        KEPT.set(Some(object));
        let path = gc::why_alive(object);
        let Some(RootKind::ThreadLocal { id }) = path.root() else { panic!("{path}") };
        // SAFETY: `gettid` has no preconditions.
        assert_eq!(*id, unsafe { libc::gettid() });
        check(&path, address(object));
    });
}

#[test]
fn the_stack_of_a_goroutine_that_waits() {
    common::alone("the_stack_of_a_goroutine_that_waits", || {
        greenroutine::run(|| {
            let (sender, receiver) = chan::<Gc<Node>>(0);
            let (give, take) = chan::<()>(0);
            let holder = task::Builder::new().name("holder").spawn(move || {
                let kept = receiver.recv().unwrap();
                let _ = take.recv();
                kept.number
            });
            let object = node(7);
            sender.send(object).unwrap();
            common::wait_for_waiters("chan receive", 1);
            clear_stack();
            let path = gc::why_alive(object);
            let Some(RootKind::Goroutine { name, waiting_for, .. }) = path.root() else { panic!("{path}") };
            assert_eq!((name.as_deref(), *waiting_for), (Some("holder"), Some("chan receive")), "{path}");
            assert_eq!(path.objects().len(), 1, "{path}");
            assert!(
                path.to_string().contains("'holder' [chan receive] spawned at tests/gc_why_alive.rs"),
                "{path}"
            );
            drop(give);
            assert_eq!(holder.unwrap().join().unwrap(), 7);
        });
    });
}

#[test]
fn the_stack_of_a_thread() {
    common::alone("the_stack_of_a_thread", || {
        let object = node(8);
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let kept = std::hint::black_box([object; 3]);
            ready.send(()).unwrap();
            let _ = stopped.recv();
            std::hint::black_box(&kept)[1].number
        });
        is_ready.recv().unwrap();
        clear_stack();
        let path = gc::why_alive(object);
        let Some(RootKind::Thread { id }) = path.root() else { panic!("{path}") };
        assert!(*id > 0 && *id as u32 != std::process::id(), "{path}");
        drop(stop);
        assert_eq!(thread.join().unwrap(), 8);
    });
}

#[test]
fn what_the_caller_itself_has_of_it_does_not_count_and_of_others_does() {
    common::alone("what_the_caller_itself_has_of_it_does_not_count_and_of_others_does", || {
        greenroutine::run(|| {
            let object = std::hint::black_box(node(1));
            let path = gc::why_alive(object);
            assert!(path.is_empty() && path.objects().is_empty(), "{path}");
            assert!(path.to_string().contains("only the caller"));
            let (head, tail) = list(1000);
            clear_stack();
            let tail_node = nth(head, 999);
            let path = gc::why_alive(tail_node);
            assert!(matches!(path.root(), Some(RootKind::Goroutine { .. })), "{path}");
            check(&path, !tail);
            assert_eq!(std::hint::black_box(head).number + tail_node.number, 999);
        });
    });
}

/// A list whose head alone is in a static.
#[inline(never)]
fn keep(kept: &Mutex<Option<Gc<Node>>>, length: usize) {
    *kept.lock() = Some(list(length).0);
}

#[test]
fn of_a_long_way_the_ends_are_shown() {
    static KEPT: Mutex<Option<Gc<Node>>> = Mutex::new(None);
    common::alone("of_a_long_way_the_ends_are_shown", || {
        greenroutine::run(|| {
            // On a stack that is gone when it is asked.
            greenroutine::go(|| keep(&KEPT, 10_000)).join().unwrap();
            let (asked, last) = greenroutine::go(|| {
                let tail = nth(KEPT.lock().unwrap(), 9_999);
                (gc::why_alive(tail), !address(tail))
            })
            .join()
            .unwrap();
            assert!(asked.omitted() > 9_000, "{asked}");
            assert_eq!(asked.objects().len(), 256);
            check(&asked, !last);
            assert!(asked.to_string().contains(&format!(".. {} more", asked.omitted())));
        });
    });
}

#[test]
fn words_that_were_added_to_the_roots() {
    let place = Box::leak(Box::new(0_usize));
    // Memory that the search does not know otherwise: the C library's.
    // SAFETY: a size other than 0.
    let block = unsafe { libc::malloc(8) }.cast::<Gc<Node>>();
    let object = node(1);
    *place = 1;
    // SAFETY: eight bytes, aligned.
    unsafe { block.write(object) };
    // SAFETY: never freed.
    let guard = unsafe { gc::roots::add(block..block.wrapping_add(1)) };
    let path = gc::why_alive(object);
    assert_eq!(path.root(), Some(&RootKind::Added { address: block as usize }), "{path}");
    check(&path, address(object));
    drop(guard);
}

#[test]
fn an_allocation_that_only_c_has() {
    common::alone("an_allocation_that_only_c_has", || {
        let object = show(elsewhere(|| {
            let object = node(1);
            std::hint::black_box(!(Box::into_raw(Box::new((5_usize, object))) as usize));
            address(object)
        }));
        let path = gc::why_alive(object);
        assert_eq!(path.root(), Some(&RootKind::Allocation), "{path}");
        assert_eq!((path.objects().len(), path.objects()[0].offset), (2, 8), "{path}");
    });
}

#[test]
fn values_of_weak_maps_and_of_destructors() {
    struct Owner {
        _has: Gc<Node>,
        _log: Box<usize>,
    }
    common::alone("values_of_weak_maps_and_of_destructors", || {
        let (map, key) = (WeakMap::new(), node(1));
        let value = node(2);
        map.insert(key, value);
        clear_stack();
        let path = gc::why_alive(value);
        assert!(!path.is_empty(), "{path}");
        check(&path, path.objects().last().unwrap().address);
        assert_eq!(map.get(key).map(|value| value.number), Some(2));

        let owned = show(elsewhere(|| {
            let owned = node(3);
            GcDrop::new(Owner { _has: owned, _log: Box::new(1) });
            address(owned)
        }));
        let path = gc::why_alive(owned);
        assert_eq!(path.root(), Some(&RootKind::Table), "{path}");
        assert_eq!(path.objects().len(), 2, "{path}");
        check(&path, address(owned));
    });
}

#[test]
fn asked_again_and_again_while_others_allocate() {
    static KEPT: Mutex<Option<Gc<Node>>> = Mutex::new(None);
    common::alone("asked_again_and_again_while_others_allocate", || {
        for free in [false, true] {
            common::runtime(2, free).run(move || {
                keep(&KEPT, 100);
                let busy = greenroutine::go(|| {
                    let mut sum = 0;
                    for number in 0..200_000 {
                        sum += node(number).number & 1;
                    }
                    sum
                });
                for _ in 0..if cfg!(debug_assertions) { 20 } else { 200 } {
                    let asked = nth(KEPT.lock().unwrap(), 50);
                    let path = gc::why_alive(asked);
                    check(&path, address(asked));
                }
                assert_eq!(busy.join().unwrap(), 100_000);
            });
        }
    });
}
