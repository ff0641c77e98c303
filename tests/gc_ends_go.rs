//! What Go's tests of finalizers, clean-ups, weak pointers and package unique state, and `gc_ends` does not ask already: mfinal_test.go, mcleanup_test.go, weak/pointer_test.go, unique/handle_test.go and
//! unique/canonmap_test.go of Go 1.25 (BSD licence), rewritten for this crate's types.
//!
//! Without a counterpart here: what Go refuses while the program runs and Rust when it is compiled (a finalizer of the wrong type, of nil, of a global); a clean-up of a pointer into a value; and that an empty
//! slice at the end of one object does not keep its neighbour (TestEmptySlice, TestEmptyString): a word in memory that points there is the neighbour's, for a conservative collector.
//!
//! The collector may keep a few objects that a stale word points to, so the tests make many and ask for most.
#![cfg(feature = "gc")]

mod common;

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Counted, clear_stack};
use greenroutine::gc::{self, GcDrop, Unique, Weak};
use greenroutine::{Gc, go};

const MANY: usize = 1000;
/// How many of them may stay.
const FEW: usize = MANY / 2;

fn read(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}

/// Makes garbage again and again until what it leaves behind is `done`: a stale word may keep one lot, not all.
fn until(make: impl Fn(), done: impl Fn() -> bool) {
    for _ in 0..200 {
        make();
        for _ in 0..10 {
            clear_stack();
            gc::collect();
            if done() {
                return;
            }
            greenroutine::yield_now();
            std::thread::yield_now();
        }
    }
    panic!("200 times garbage was kept");
}

/// mfinal_test.go, TestFinalizerType and TestFinalizerInterfaceBig: a destructor runs for a value of any type, and sees the value as it was.
#[test]
fn destructors_of_every_kind_of_type_see_their_value() {
    /// Says to which of the counters it belongs when it is dropped, if the value is as it was.
    struct Checked<T: Send + 'static>(T, fn(&T) -> bool, Arc<AtomicUsize>);
    impl<T: Send + 'static> Drop for Checked<T> {
        fn drop(&mut self) {
            assert!((self.1)(&self.0));
            self.2.fetch_add(1, Ordering::SeqCst);
        }
    }
    #[inline(never)]
    fn make<T: Send + 'static>(value: impl Fn() -> T, check: fn(&T) -> bool, counter: &Arc<AtomicUsize>) {
        (0..MANY).for_each(|_| drop_now(GcDrop::new(Checked(value(), check, counter.clone()))));
    }
    #[inline(never)]
    fn drop_now<T: Send>(value: GcDrop<T>) {
        std::hint::black_box(value);
    }
    fn ends<T: Send + 'static>(value: impl Fn() -> T, check: fn(&T) -> bool) {
        let counter = Arc::default();
        until(|| make(&value, check, &counter), || read(&counter) > MANY - FEW);
    }
    common::on_all(|| {
        ends(|| (), |()| true);
        ends(|| 1_u8, |n| *n == 1);
        ends(|| String::from("text"), |text| text == "text");
        ends(|| vec![Box::new(7)], |all| *all[0] == 7);
        ends(|| Box::new(|| 42) as Box<dyn Fn() -> i32 + Send>, |call| call() == 42);
        ends(|| [0xABCD_EF01_2345_6789_u64; 256], |all| all.iter().all(|n| *n == 0xABCD_EF01_2345_6789));
        ends(|| Gc::<str>::from("collected"), |text| &**text == "collected");
    });
}

/// mfinal_test.go, TestDeferKeepAlive: what something that is dropped at the end of the block has is alive until then.
#[test]
fn what_a_guard_has_lives_until_it_is_dropped() {
    struct Guard(GcDrop<Counted>, Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            assert_eq!(self.0.with(|_| read(&self.1)), 0, "the value is still there");
        }
    }
    common::on_all(|| {
        let dropped: Arc<AtomicUsize> = Arc::default();
        let _guard = Guard(GcDrop::new(Counted(dropped.clone())), dropped);
        for _ in 0..3 {
            gc::collect();
            greenroutine::yield_now();
        }
    });
}

#[inline(never)]
fn clean_up_garbage(count: usize, each: impl Fn(usize, Gc<usize>)) {
    (0..count).for_each(|number| each(number, Gc::new(number)));
}

/// A clean-up that counts.
fn counts(counter: Arc<AtomicUsize>) -> impl FnOnce() + Send {
    move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// mcleanup_test.go, TestCleanup: the function has what it was given, and each is called once.
#[test]
fn a_cleanup_has_what_it_was_given() {
    common::on_all(|| {
        let (sender, receiver) = greenroutine::channel::unbounded();
        let seen = greenroutine::sync::Mutex::new(HashSet::new());
        let next = AtomicUsize::new(0);
        until(
            || {
                clean_up_garbage(MANY, |_, object| {
                    let (sender, number) = (sender.clone(), next.fetch_add(1, Ordering::SeqCst));
                    gc::on_collect(object, move || sender.send((number, number * 7)).expect("it is open"));
                });
            },
            || {
                let mut seen = seen.lock();
                for (number, product) in receiver.try_iter() {
                    assert_eq!(product, number * 7);
                    assert!(seen.insert(number), "{number} is called twice");
                }
                seen.len() > MANY - FEW
            },
        );
    });
}

/// mcleanup_test.go, TestCleanupZeroSizedStruct; and weak/pointer_test.go, TestImmortalPointer: nothing ends that lives for ever.
#[test]
fn what_has_no_size_lives_for_ever() {
    let called: Arc<AtomicUsize> = Arc::default();
    let count = called.clone();
    let weak = Gc::downgrade(Gc::new(()));
    gc::on_collect(Gc::new(()), counts(count));
    for _ in 0..5 {
        clear_stack();
        gc::collect();
    }
    assert!(weak.upgrade().is_some());
    assert_eq!(read(&called), 0);
}

/// mcleanup_test.go, TestCleanupStopMultiple, TestCleanupStopinterleavedMultiple: of many of one object those that were stopped, once or twice, are not called, and the others are.
#[test]
fn of_many_cleanups_those_that_are_stopped_are_not_called() {
    common::on_all(|| {
        let (called, stopped): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        until(
            || {
                clean_up_garbage(MANY / 10, |_, object| {
                    let add = |counter: &Arc<AtomicUsize>| {
                        let counter = counter.clone();
                        gc::on_collect(object, counts(counter))
                    };
                    for number in 0..10 {
                        let cleanup = add(if number % 2 == 0 { &called } else { &stopped });
                        if number % 2 == 1 {
                            cleanup.stop();
                            cleanup.stop();
                        }
                    }
                });
            },
            || read(&called) > MANY / 2 - FEW / 2,
        );
        assert_eq!(read(&stopped), 0);
    });
}

/// mcleanup_test.go, TestCleanupStopAfterCleanupRuns: then it does nothing.
#[test]
fn a_cleanup_may_be_stopped_after_it_was_called() {
    let called: Arc<AtomicUsize> = Arc::default();
    let cleanups = greenroutine::sync::Mutex::new(Vec::new());
    until(
        || {
            clean_up_garbage(MANY, |_, object| {
                let count = called.clone();
                let cleanup = gc::on_collect(object, counts(count));
                cleanups.lock().push(cleanup);
            });
        },
        || read(&called) > MANY - FEW,
    );
    let stop = || cleanups.lock().iter().filter(|cleanup| cleanup.stop()).count();
    let stopped = stop();
    assert_eq!(stop(), 0, "all are called or stopped");
    let all = cleanups.lock().len();
    common::wait_until(|| read(&called) == all - stopped);
    // One that is new is none of those.
    let before = read(&called);
    until(
        || {
            clean_up_garbage(MANY, |_, object| {
                let count = called.clone();
                gc::on_collect(object, counts(count));
            });
        },
        || read(&called) > before + MANY - FEW,
    );
}

/// mcleanup_test.go, TestCleanupPointerEqualsArg and TestCleanupUnreachableClosure: Go refuses them; here the object stays, which is what the documentation says.
#[test]
fn a_cleanup_that_holds_its_object_keeps_it() {
    let called: Arc<AtomicUsize> = Arc::default();
    let weak = greenroutine::sync::Mutex::new(Vec::new());
    clean_up_garbage(100, |number, object| {
        let count = called.clone();
        weak.lock().push((number, Gc::downgrade(object)));
        gc::on_collect(object, move || {
            count.fetch_add(*object, Ordering::SeqCst);
        });
    });
    for _ in 0..5 {
        clear_stack();
        gc::collect();
    }
    assert!(weak.lock().iter().all(|(number, weak)| weak.upgrade().is_some_and(|object| *object == *number)));
    assert_eq!(read(&called), 0);
}

/// mcleanup_test.go, TestCleanupLost: none of those that many add beside each other and beside cycles is lost. Each object is either there, or its function was called.
#[test]
fn no_cleanup_is_lost() {
    common::on_goroutines(|| {
        let called: Arc<AtomicUsize> = Arc::default();
        let all: Vec<_> = (0..8)
            .map(|_| {
                let called = called.clone();
                go(move || {
                    let weak = greenroutine::sync::Mutex::new(Vec::new());
                    for _ in 0..10 {
                        clean_up_garbage(100, |_, object| {
                            let count = called.clone();
                            weak.lock().push(Gc::downgrade(object));
                            gc::on_collect(object, counts(count));
                        });
                        gc::collect();
                        greenroutine::yield_now();
                    }
                    weak.into_inner()
                })
            })
            .collect();
        let weak: Vec<Weak<usize>> =
            all.into_iter().flat_map(|handle| handle.join().expect("no panic")).collect();
        let gone = || weak.iter().filter(|weak| weak.upgrade().is_none()).count();
        until(|| (), || gone() > weak.len() / 2);
        // The functions of those that are gone run after the cycle.
        common::wait_until(|| read(&called) >= gone());
        assert!(read(&called) <= weak.len());
    });
}

/// weak/pointer_test.go, TestPointerCleanup: when the function runs, weak pointers to the object give nothing.
#[test]
fn a_weak_pointer_is_cleared_before_the_cleanup_is_called() {
    common::on_all(|| {
        let (called, there): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        until(
            || {
                clean_up_garbage(MANY, |_, object| {
                    let (called, there, weak) = (called.clone(), there.clone(), Gc::downgrade(object));
                    gc::on_collect(object, move || {
                        there.fetch_add(usize::from(weak.upgrade().is_some()), Ordering::SeqCst);
                        called.fetch_add(1, Ordering::SeqCst);
                    });
                });
            },
            || read(&called) > MANY - FEW,
        );
        assert_eq!(read(&there), 0);
    });
}

/// weak/pointer_test.go, TestIssue69210: weak pointers that are made of one object beside cycles, by many, are equal.
#[test]
fn weak_pointers_made_beside_cycles_are_equal() {
    common::on_goroutines(|| {
        let all: Vec<_> = (0..4_usize)
            .map(|worker| {
                go(move || {
                    for round in 0..200 {
                        let object = Gc::new([worker, round]);
                        let first = Gc::downgrade(object);
                        let other = go(move || Gc::downgrade(object));
                        if round % 20 == 0 {
                            gc::collect();
                        }
                        assert!(first == other.join().expect("no panic") && first == Gc::downgrade(object));
                        assert_eq!(*first.upgrade().expect("it is kept"), [worker, round]);
                        std::hint::black_box(object);
                    }
                })
            })
            .collect();
        all.into_iter().for_each(|handle| handle.join().expect("no panic"));
    });
}

/// weak/pointer_test.go, TestPointerTiny and TestIssue70739: objects of a byte, and slices of a megabyte, end by themselves, whoever is beside them.
#[test]
fn tiny_and_huge_objects_end_by_themselves() {
    #[inline(never)]
    fn make<T: ?Sized + 'static>(make: impl Fn() -> Gc<T>) -> (Vec<Gc<T>>, Vec<Weak<T>>) {
        let all: Vec<_> = (0..32).map(|_| make()).collect();
        let lost = all.iter().skip(1).step_by(2).map(|gc| Gc::downgrade(*gc)).collect();
        (all.into_iter().step_by(2).collect(), lost)
    }
    fn ends<T: ?Sized + 'static>(new: impl Fn() -> Gc<T>) {
        let lots = greenroutine::sync::Mutex::new(Vec::new());
        until(
            || lots.lock().push(make(&new)),
            || {
                let lots = lots.lock();
                let lost = lots.iter().flat_map(|(_, lost)| lost);
                lost.filter(|weak| weak.upgrade().is_none()).count() >= 8
            },
        );
        let lots = lots.lock();
        let mut kept = lots.iter().flat_map(|(kept, _)| kept);
        assert!(kept.all(|gc| Gc::downgrade(*gc).upgrade().is_some_and(|same| Gc::ptr_eq(same, *gc))));
    }
    ends(|| Gc::new(1_u8));
    ends(|| Gc::<[u8]>::from_fn(1 << 20, |index| index as u8));
}

/// unique/handle_test.go, TestHandle: the same for many types: equal values are one object, different ones are not, and what nobody has is forgotten.
#[test]
fn values_of_every_kind_are_unique() {
    fn check<T: Hash + Eq + Send + Sync + Copy + 'static>(values: &[T]) {
        let first: Vec<_> = values.iter().map(|value| gc::unique(*value)).collect();
        gc::collect();
        let second: Vec<_> = values.iter().map(|value| gc::unique(*value)).collect();
        assert!(first == second && first.iter().zip(values).all(|(unique, value)| **unique == *value));
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), values.len(), "they differ");
    }
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    struct Named {
        name: &'static str,
        numbers: [i64; 3],
        more: Option<Unique<str>>,
    }
    common::on_all(|| {
        check(&[0_u8, 1, 255]);
        check(&["", "a", "ab"]);
        check(&[()]);
        check(&[[0_u64; 100], [1; 100]]);
        check(&[Some(1_i32), None]);
        check(&['x', 'ß']);
        let named = |name, more| Named { name, numbers: [1, 2, 3], more };
        check(&[
            named("a", None),
            named("b", None),
            named("a", Some("c".into())),
            named("a", Some("d".into())),
        ]);
        // Of equal values of different types there are two.
        assert_eq!((*gc::unique(1_u8), *gc::unique(1_u16)), (1, 1));
    });
}

/// unique/handle_test.go, TestMakeClonesStrings and TestHandleUnsafeString: what is unique is a copy, and does not follow what it was made of.
#[test]
fn unique_text_is_a_copy() {
    let mut text = String::from("the first of all");
    let unique = Unique::<str>::from(&text[4..9]);
    assert!(!text.as_bytes().as_ptr_range().contains(&unique.as_ptr()));
    text.clear();
    text.push_str("overwritten with this");
    gc::collect();
    assert_eq!(&*unique, "first");
    assert!(unique == Unique::from("first"));
}

/// unique/handle_test.go, TestNestedHandle: one that leads to another keeps it, and no longer.
#[test]
fn nested_unique_values_go_with_the_outer_one() {
    type Outer = (Unique<str>, usize);
    #[inline(never)]
    fn make(round: usize) -> Vec<(Weak<Outer>, Weak<str>)> {
        let text = |number: usize| format!("inner {round}/{number}");
        let new = |number: usize| {
            let inner = Unique::<str>::from(text(number).as_str());
            let outer = gc::unique((inner, number));
            gc::collect();
            assert!(Unique::gc(outer).0 == Unique::from(text(number).as_str()));
            (Gc::downgrade(Unique::gc(outer)), Gc::downgrade(Unique::gc(inner)))
        };
        (0..20).map(new).collect()
    }
    let lots = greenroutine::sync::Mutex::new(Vec::new());
    until(
        || {
            let mut lots = lots.lock();
            let round = lots.len();
            lots.extend(make(round));
        },
        || {
            let lots = lots.lock();
            let gone = lots.iter().filter(|(outer, _)| outer.upgrade().is_none());
            gone.filter(|(_, inner)| inner.upgrade().is_none()).count() >= 10
        },
    );
    // While the outer one is there the inner one is.
    let lots = lots.lock();
    assert!(lots.iter().all(|(outer, inner)| outer.upgrade().is_none_or(|_| inner.upgrade().is_some())));
}

/// unique/canonmap_test.go, TestCanonMapBadHash: values that all hash alike are told apart, by many at once, beside cycles.
#[test]
fn values_that_hash_alike_are_told_apart() {
    #[derive(PartialEq, Eq, Debug)]
    struct Alike(usize);
    impl Hash for Alike {
        fn hash<H: Hasher>(&self, state: &mut H) {
            7_u8.hash(state);
        }
    }
    common::on_goroutines(|| {
        let all: Vec<_> = (0..4)
            .map(|worker| {
                go(move || {
                    let mut kept = Vec::new();
                    for number in 0..50 {
                        kept.push(gc::unique(Alike(number)));
                        if number % 10 == worker {
                            gc::collect();
                        }
                        greenroutine::yield_now();
                    }
                    assert!(kept.iter().enumerate().all(|(number, unique)| **unique == Alike(number)));
                    kept
                })
            })
            .collect();
        let all: Vec<_> = all.into_iter().map(|handle| handle.join().expect("no panic")).collect();
        assert!(all.iter().all(|kept| *kept == all[0]));
    });
}
