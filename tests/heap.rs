//! The program's allocator as programs meet it: before `main` and after thread-locals, across `fork`, with threads by the thousand, where address space is short, when memory runs
//! out, after a burst, and when it is misused in debug builds.

#![cfg(feature = "gc")]

mod common;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;
use std::ffi::c_void;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use common::{in_child, in_child_after, is_child, text};
use greenroutine::heap::{self, Allocator};

const MIB: usize = 1 << 20;

/// Whether the heap is in charge: not in sanitizer builds, where most of this is not to be tested: other allocators give memory back when they like, and theirs abort where
/// ours returns null.
fn is_in_charge() -> bool {
    heap::stats().is_in_charge
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Bytes of physical memory that this process holds.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
}

#[test]
fn the_program_uses_it() {
    let before = heap::stats().total().blocks;
    let boxes: Vec<Box<u64>> = (0..10_000).map(Box::new).collect();
    let during = heap::stats().total().blocks;
    if is_in_charge() {
        // Other tests run meanwhile, with far fewer blocks.
        assert!(during > before + 5_000, "{before} {during}");
    }
    assert_eq!(boxes.iter().map(|n| **n).sum::<u64>(), 49_995_000);
}

// Runs before `main`, and before the standard library has set anything up.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;
static MADE_BEFORE_MAIN: Mutex<Vec<String>> = Mutex::new(Vec::new());

extern "C" fn before_main() {
    let made = (0..1000).map(|n| n.to_string()).collect();
    *MADE_BEFORE_MAIN.lock().unwrap() = made;
}

#[test]
fn it_works_before_main() {
    let mut made = MADE_BEFORE_MAIN.lock().unwrap();
    assert_eq!(made.len(), 1000);
    assert_eq!(made[999], "999");
    made.extend((0..1000).map(|n| n.to_string()));
    made.clear();
}

/// Allocates and frees when its thread ends.
struct AtExit {
    kept: Vec<Vec<u8>>,
    ended: Arc<AtomicUsize>,
}

impl Drop for AtExit {
    fn drop(&mut self) {
        self.kept.extend((0..500).map(|n| vec![n as u8; 100]));
        assert!(self.kept.iter().enumerate().all(|(n, block)| block[7] == n as u8));
        self.kept.clear();
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static FIRST: RefCell<Option<AtExit>> = const { RefCell::new(None) };
    static SECOND: RefCell<Option<AtExit>> = const { RefCell::new(None) };
}

unsafe extern "C" {
    fn pthread_key_create(key: *mut u32, destructor: extern "C" fn(*mut c_void)) -> i32;
    fn pthread_setspecific(key: u32, value: *mut c_void) -> i32;
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
    fn alarm(seconds: u32) -> u32;
}

extern "C" fn free_at_exit(value: *mut c_void) {
    // SAFETY: the value that the test set: a box.
    drop(unsafe { Box::from_raw(value.cast::<AtExit>()) });
}

#[test]
fn it_works_in_destructors_of_thread_locals_and_after_them() {
    let ended = Arc::new(AtomicUsize::new(0));
    // A key made after the heap's own: its destructor runs after the heap's, in the same round or a later one.
    let mut key = 0;
    // SAFETY: `key` is writable, the destructor is a function for ever.
    assert_eq!(unsafe { pthread_key_create(&mut key, free_at_exit) }, 0);
    for _ in 0..50 {
        let ended = ended.clone();
        thread::spawn(move || {
            let at_exit = || AtExit { kept: Vec::new(), ended: ended.clone() };
            FIRST.set(Some(at_exit()));
            SECOND.set(Some(at_exit()));
            // SAFETY: the destructor takes the box back.
            assert_eq!(unsafe { pthread_setspecific(key, Box::into_raw(Box::new(at_exit())).cast()) }, 0);
            drop(black_box(vec![1_u8; 5000]));
        })
        .join()
        .unwrap();
    }
    assert_eq!(ended.load(Ordering::SeqCst), 150);
}

#[test]
fn a_forked_child_can_allocate() {
    const NAME: &str = "a_forked_child_can_allocate";
    if is_child(NAME) {
        // Threads that are inside the allocator most of the time.
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..3)
            .map(|seed| {
                let stop = stop.clone();
                thread::spawn(move || {
                    let mut kept: Vec<Vec<u8>> = Vec::new();
                    let mut n = seed;
                    while !stop.load(Ordering::Relaxed) {
                        n = (n * 31 + 7) % 10_007;
                        kept.push(vec![0; n % 20_000 + 1]);
                        if kept.len() > 500 {
                            kept.drain(..490);
                        }
                        if n % 50 == 0 {
                            kept.push(vec![0; 300_000]);
                        }
                    }
                })
            })
            .collect();
        let parents: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        for _ in 0..100 {
            // SAFETY: the child only allocates, frees and exits.
            match unsafe { fork() } {
                0 => {
                    // SAFETY: ends a child that hangs.
                    unsafe { alarm(60) };
                    let mut sum = 0;
                    for n in 0..3000_usize {
                        let block = black_box(vec![1_u8; n * 37 % 200_000 + 1]);
                        sum += block.len();
                    }
                    let good = sum > 0 && parents.iter().enumerate().all(|(n, text)| *text == n.to_string());
                    drop(parents);
                    // SAFETY: ends this process.
                    unsafe { _exit(if good { 0 } else { 1 }) };
                }
                child => {
                    assert!(child > 0);
                    let mut status = 0;
                    // SAFETY: `status` is writable.
                    assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
                    assert_eq!(status, 0, "the child's status");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        for thread in busy {
            thread.join().unwrap();
        }
        return;
    }
    if !is_in_charge() {
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn threads_come_and_go_by_the_thousand_and_leave_nothing() {
    const NAME: &str = "threads_come_and_go_by_the_thousand_and_leave_nothing";
    if is_child(NAME) {
        let storm = |threads: usize| {
            let (to_next, mut from_last) = mpsc::channel::<Vec<Vec<u8>>>();
            drop(to_next);
            for first in (0..threads).step_by(20) {
                let (to_next, next) = mpsc::channel();
                let handles: Vec<_> = (first..first + 20)
                    .map(|seed| {
                        let to_next = to_next.clone();
                        let old = from_last.try_recv().unwrap_or_default();
                        thread::spawn(move || {
                            let made: Vec<Vec<u8>> =
                                (0..100).map(|n| vec![1; (n * seed) % 3000 + 1]).collect();
                            // Another thread's, which has ended.
                            drop(old);
                            let _ = to_next.send(made);
                        })
                    })
                    .collect();
                handles.into_iter().for_each(|handle| handle.join().unwrap());
                drop(to_next);
                from_last = next;
            }
        };
        storm(2000);
        let (before, held) = (heap::stats(), resident());
        storm(10_000);
        let (after, held_after) = (heap::stats(), resident());
        if before.is_in_charge {
            assert!(after.threads_most <= 40, "{after:?}");
            // The harness may have made a few; ten thousand threads that each leave one would be more.
            assert!(after.total().blocks < before.total().blocks + 100, "{before:?} {after:?}");
        }
        // Twenty threads at once hold some megabytes, more when they really overlap. A page left by each would be 40.
        assert!(held_after < held + 30 * MIB, "{held} {held_after}");
        return;
    }
    if !is_in_charge() {
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

/// Compares the figures around blocks of three sizes with what was asked for.
fn attempt() -> Result<(), String> {
    // Room for what is kept, so that nothing else is allocated between two looks.
    let mut kept: Vec<(*mut u8, Layout)> = Vec::with_capacity(10_000);
    let before = heap::stats();
    // Words that may hold pointers: 24 bytes are in the class of 32; a large block counts as it is. And bytes.
    for (size, align) in [(24, 8), (100_000, 8), (7, 1)] {
        for _ in 0..1000 {
            // SAFETY: not empty.
            kept.push((unsafe { Allocator.alloc(layout(size, align)) }, layout(size, align)));
        }
    }
    let during = heap::stats();
    for (block, layout) in kept.drain(..) {
        // SAFETY: made above with that layout.
        unsafe { Allocator.dealloc(block, layout) };
    }
    let after = heap::stats();
    let difference = |figure: fn(&heap::Stats) -> usize| figure(&during).wrapping_sub(figure(&before));
    let found = [
        difference(|s| s.manual_scan.blocks),
        difference(|s| s.manual_scan.live),
        difference(|s| s.manual_noscan.blocks),
        difference(|s| s.manual_noscan.live),
        after.total().blocks.wrapping_sub(before.total().blocks),
        after.total().live.wrapping_sub(before.total().live),
    ];
    let expected = [2000, 1000 * 32 + 1000 * 100_000, 1000, 1000 * 8, 0, 0];
    let spans = difference(|s| s.manual_scan.spans);
    if found == expected && spans >= 1000 * 100_000 { Ok(()) } else { Err(format!("{found:?} {spans}")) }
}

#[test]
fn figures_are_exact() {
    const NAME: &str = "figures_are_exact";
    if is_child(NAME) {
        if !is_in_charge() {
            return;
        }
        // The harness's main thread allocates a few blocks on its way to sleep; figures that are wrong are so every time.
        let attempts: Vec<_> = (0..20).map(|_| attempt()).collect();
        assert!(attempts.contains(&Ok(())), "{attempts:?}");
        let after = heap::stats();
        assert_eq!(after.collected_scan.blocks + after.collected_noscan.blocks, 0);
        assert!(after.reserved >= 1 << 30 && after.total().committed < after.reserved);
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_burst_goes_back_to_the_system() {
    const NAME: &str = "a_burst_goes_back_to_the_system";
    if is_child(NAME) {
        let before = resident();
        let burst: Vec<Vec<u8>> = (0..400_000).map(|n| vec![1; n % 1000 + 1]).collect();
        let large: Vec<Vec<u8>> = (0..100).map(|n| vec![1; MIB + n]).collect();
        assert!(resident() > before + 250 * MIB);
        drop(large);
        drop(burst);
        // As a program goes on: a few blocks now and then. The heap looks at the clock by itself.
        while resident() > before + 16 * MIB {
            drop(black_box(vec![1_u8; 100_000]));
        }
        return;
    }
    if !is_in_charge() {
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn what_threads_keep_at_hand_does_not_hold_a_burst() {
    const NAME: &str = "what_threads_keep_at_hand_does_not_hold_a_burst";
    if is_child(NAME) {
        let before = resident();
        let mut seed = 1_usize;
        let mut random = move |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % bound
        };
        let mut burst: Vec<Vec<u64>> = (0..200_000).map(|_| vec![1; random(120) + 1]).collect();
        assert!(resident() > before + 80 * MIB);
        // In an order in which the last blocks freed lie in as many spans: those stay in the thread's magazines.
        for last in (1..burst.len()).rev() {
            burst.swap(last, random(last + 1));
        }
        drop(burst);
        // Not one small block more: the magazines are tidied on the way.
        while resident() > before + 8 * MIB {
            drop(black_box(vec![1_u64; 20_000]));
        }
        return;
    }
    if !is_in_charge() {
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn an_idle_runtime_gives_a_burst_back() {
    const NAME: &str = "an_idle_runtime_gives_a_burst_back";
    if is_child(NAME) {
        let rt = common::runtime(2, false);
        let before = resident();
        let most = rt.run(|| {
            let large: Vec<Vec<u8>> = (0..60).map(|n| vec![1; MIB + n]).collect();
            let most = resident();
            drop(large);
            most
        });
        assert!(most > before + 50 * MIB);
        // Reads a file and nothing else: the monitor does it.
        while resident() > before + 8 * MIB {
            thread::yield_now();
        }
        return;
    }
    if !is_in_charge() {
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn trim_gives_back_at_once() {
    const NAME: &str = "trim_gives_back_at_once";
    if is_child(NAME) {
        let before = resident();
        let burst: Vec<Box<[u64; 20]>> = (0..400_000).map(|n| Box::new([n; 20])).collect();
        assert!(resident() > before + 60 * MIB);
        drop(burst);
        let given = heap::trim();
        if is_in_charge() {
            assert!(given > 0);
            assert!(resident() < before + 4 * MIB);
            assert!(heap::stats().given_back >= given as u64);
        }
        return;
    }
    if !is_in_charge() {
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn zeroed_memory_is_not_touched() {
    const NAME: &str = "zeroed_memory_is_not_touched";
    if is_child(NAME) {
        let before = resident();
        let zeroes = black_box(vec![0_u8; 1 << 30]);
        assert!(resident() < before + 2 * MIB);
        assert_eq!(zeroes[1 << 29], 0);
        // Blocks of size classes as well, from two pages on.
        let many: Vec<Vec<u8>> = (0..2000).map(|n| black_box(vec![0_u8; 20_000 + 20 * n])).collect();
        assert!(resident() < before + 4 * MIB);
        assert!(many.iter().all(|zeroes| zeroes.iter().all(|byte| *byte == 0)));
        return;
    }
    if !is_in_charge() {
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn zeroed_memory_is_zero_where_others_have_written() {
    for size in [100, 5_000, 60_000, 70_000, 300_000, 5 * MIB] {
        for _ in 0..20 {
            let mut dirty = black_box(vec![0_u8; size]);
            assert!(dirty.iter().all(|byte| *byte == 0), "{size}");
            dirty.fill(0xff);
        }
    }
}

#[test]
fn alignments_up_to_a_gibibyte() {
    for shift in 0..=30 {
        for size in [1, 1000, 100_000] {
            let layout = layout(size, 1 << shift);
            // SAFETY: not empty.
            let block = unsafe { Allocator.alloc(layout) };
            assert!(!block.is_null() && (block as usize).is_multiple_of(1 << shift), "{layout:?}");
            // SAFETY: the block has that many bytes.
            unsafe { block.write_bytes(1, size) };
            // SAFETY: made above with that layout.
            unsafe { Allocator.dealloc(block, layout) };
        }
    }
}

#[test]
fn a_vector_that_grows_is_seldom_copied() {
    if !is_in_charge() {
        return;
    }
    let mut vector: Vec<u64> = Vec::with_capacity(16 * 1024);
    let mut moves = 0;
    while vector.capacity() < 8 * MIB {
        let at = vector.as_ptr();
        vector.extend(std::iter::repeat_n(7, vector.capacity() - vector.len()));
        vector.push(7);
        moves += usize::from(vector.as_ptr() != at);
    }
    // Nine doublings, from 128 KiB to 64 MiB.
    assert!(moves <= 4, "{moves}");
    assert!(vector.iter().all(|n| *n == 7));
}

#[test]
fn a_block_that_cannot_be_had_is_null() {
    const NAME: &str = "a_block_that_cannot_be_had_is_null";
    if is_child(NAME) {
        for size in [isize::MAX as usize - 7, 1 << 50, 1 << 45] {
            // SAFETY: not empty.
            assert!(unsafe { Allocator.alloc(layout(size, 8)) }.is_null());
            // SAFETY: not empty.
            assert!(unsafe { Allocator.alloc_zeroed(layout(size, 1)) }.is_null());
            let mut vector = vec![1_u8; 100];
            vector.try_reserve_exact(size - 100).unwrap_err();
            assert_eq!(vector, [1; 100]);
        }
        return;
    }
    if !is_in_charge() {
        return;
    }
    let output = in_child(NAME, |_| {});
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    if is_in_charge() {
        // Named, once.
        assert_eq!(
            text.matches("greenroutine: heap: no memory for a block of 9223372036854775800 bytes").count(),
            1,
            "{text}"
        );
        assert_eq!(text.matches("greenroutine: heap").count(), 1, "{text}");
    }
}

#[test]
fn memory_runs_out_and_comes_back() {
    const NAME: &str = "memory_runs_out_and_comes_back";
    if is_child(NAME) {
        let exhaust = |size: usize, align: usize| {
            let mut blocks = Vec::new();
            loop {
                // SAFETY: not empty.
                let block = unsafe { Allocator.alloc(layout(size, align)) };
                if block.is_null() || blocks.try_reserve(1).is_err() {
                    break;
                }
                // SAFETY: the block has a byte.
                unsafe { block.write(1) };
                blocks.push(block);
            }
            let count = blocks.len();
            for block in blocks {
                // SAFETY: made above with that layout.
                unsafe { Allocator.dealloc(block, layout(size, align)) };
            }
            count
        };
        // Each part of the arena, full of one size and then of another.
        for align in [8, 1] {
            let first = exhaust(100_000, align);
            let small = exhaust(4096, align);
            let medium = exhaust(20_000, align);
            let last = exhaust(100_000, align);
            println!("{align}: {first} {small} {medium} {last}");
            assert!(first > 1000 && small > 20_000 && medium > 4_000);
            assert!(last >= first - first / 20, "{first} {last}");
        }
        return;
    }
    if !is_in_charge() {
        return;
    }
    let output = in_child_after(NAME, "ulimit -v 1000000");
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    if is_in_charge() {
        assert_eq!(text.matches("greenroutine: heap: no memory").count(), 1, "{text}");
        assert!(text.contains("1024000000 bytes (ulimit -v)"), "{text}");
    }
}

#[test]
fn it_makes_do_with_little_address_space() {
    const NAME: &str = "it_makes_do_with_little_address_space";
    if is_child(NAME) {
        let words: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        // One after the other: the least of the limits, just below what the heap needs, has no room for four stacks and what the C library sets aside for each thread.
        let sum: usize = (0..4).map(|n| thread::spawn(move || vec![n; 10_000]).join().unwrap().len()).sum();
        println!("in charge: {}, {} {sum}", is_in_charge(), words.len());
        return;
    }
    if !is_in_charge() {
        return;
    }
    for (kibibytes, in_charge) in
        [(125_000, false), (1_000_000, true), (8_000_000, true), (600_000_000, true)]
    {
        let output = in_child_after(NAME, &format!("ulimit -v {kibibytes}"));
        let text = text(&output);
        assert!(output.status.success(), "{kibibytes}: {text}");
        let expected = format!("in charge: {}, 10000 40000", in_charge && is_in_charge());
        assert!(text.contains(&expected), "{kibibytes}: {text}");
    }
}

#[test]
fn it_steps_aside_when_told_to() {
    const NAME: &str = "it_steps_aside_when_told_to";
    if is_child(NAME) {
        assert!(!is_in_charge());
        let mut vector = vec![0_u64; 10];
        for n in 0..100_000 {
            vector.push(n);
        }
        let sum = thread::spawn(move || vector.into_iter().sum::<u64>()).join().unwrap();
        assert_eq!(sum, 4_999_950_000);
        assert_eq!(
            greenroutine::run(|| greenroutine::go(|| vec![7; 100_000]).join().unwrap().len()),
            100_000
        );
        assert_eq!(heap::stats().total(), heap::KindStats::default());
        assert_eq!(heap::trim(), 0);
        return;
    }
    let output = in_child(NAME, |command| {
        command.env("GREENROUTINE_HEAP", "system");
    });
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn goroutines_that_move_use_the_magazines_of_the_thread_they_are_on() {
    // Each allocates, moves, and frees what it and others made elsewhere.
    let rt = common::runtime(4, true);
    let sum: usize = rt.run(|| {
        let handles: Vec<_> = (0..200_usize)
            .map(|n| {
                greenroutine::go(move || {
                    let mut kept: Vec<Vec<u8>> = Vec::new();
                    for step in 0..200 {
                        kept.push(vec![n as u8; (n * step) % 2000 + 1]);
                        greenroutine::yield_now();
                        if step % 3 == 0 {
                            let gone = kept.swap_remove(step % kept.len());
                            assert!(gone.iter().all(|byte| *byte == n as u8));
                        }
                    }
                    kept.iter().map(Vec::len).sum::<usize>()
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum()
    });
    assert!(sum > 0);
}

/// Misuse that debug builds catch, each with what is said.
const MISUSE: &[(&str, &str)] = &[
    ("twice", "a block was freed twice"),
    ("large twice", "no large block begins where one is freed"),
    ("elsewhere", "a freed pointer is not of this heap"),
    ("inside", "a freed pointer is not where a block begins"),
    ("layout", "with a layout other than it was allocated with"),
    ("realloc", "a block was reallocated after it had been freed"),
];

#[test]
fn misuse_is_named() {
    const NAME: &str = "misuse_is_named";
    if is_child(NAME) {
        let what = std::env::var("MISUSE").unwrap();
        let small = layout(40, 8);
        let large = layout(200_000, 8);
        let mut local = [0_u8; 64];
        // SAFETY: not empty.
        let take = |layout: Layout| unsafe { Allocator.alloc(layout) };
        // SAFETY: none: the callers break the contract on purpose, and the heap is to end the process before harm is done.
        let free = |block: *mut u8, layout: Layout| unsafe { Allocator.dealloc(block, layout) };
        let (block, big) = (take(small), take(large));
        match what.as_str() {
            "twice" => {
                free(block, small);
                free(block, small);
            }
            "large twice" => {
                free(big, large);
                free(big, large);
            }
            "elsewhere" => free(local.as_mut_ptr(), small),
            "inside" => free(block.wrapping_add(8), small),
            "layout" => free(block, layout(400, 8)),
            "realloc" => {
                free(block, small);
                // SAFETY: as above.
                unsafe { Allocator.realloc(block, small, 41) };
            }
            _ => unreachable!("a case of the table"),
        }
        println!("went on");
        return;
    }
    if !cfg!(debug_assertions) || !is_in_charge() {
        return;
    }
    for (what, said) in MISUSE {
        let output = in_child(NAME, |command| {
            command.env("MISUSE", what);
        });
        let text = text(&output);
        assert!(!output.status.success() && !text.contains("went on"), "{what}: {text}");
        assert!(text.contains(said), "{what}: {text}");
    }
}
