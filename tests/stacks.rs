//! Stacks: growth in place, borrows across it, large frames of Rust and C, limits, overflow reports, foreign faults.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "C calls of a test, each commented as a whole")]

mod common;

use std::hint::black_box;

use common::{in_child, is_child, on_goroutines, runtime, text};
use greenroutine::{Runtime, go, scope, task};

/// Uses at least `16 * 8` bytes a frame.
#[inline(never)]
fn recurse(depth: u32, at_bottom: &mut dyn FnMut()) -> u64 {
    let mut pad = [u64::from(depth); 16];
    black_box(&mut pad);
    if depth == 0 {
        at_bottom();
        return pad[7];
    }
    let below = recurse(depth - 1, at_bottom);
    black_box(&pad);
    below + pad[3] - u64::from(depth) + 1
}

#[test]
fn a_million_frames() {
    let deep = task::Builder::new().stack_max(1 << 30).spawn(|| recurse(1_000_000, &mut || ()));
    assert_eq!(deep.unwrap().join().unwrap(), 1_000_000);
}

#[test]
fn children_of_a_scope_read_the_parents_locals_while_its_stack_grows() {
    on_goroutines(|| {
        go(|| {
            let mut words = [3_u64; 8];
            let before = words.as_ptr() as usize;
            scope(|s| {
                let words = &words;
                let child = s.go(move || {
                    let mut sum = 0;
                    for _ in 0..50 {
                        sum += words.iter().sum::<u64>();
                        greenroutine::yield_now();
                    }
                    sum
                });
                // Grows from 16 KiB to megabytes while the child reads, and waits down there.
                recurse(30_000, &mut || greenroutine::yield_now());
                assert_eq!(child.join().unwrap(), 50 * 24);
            });
            words[0] = 1;
            assert_eq!(words.as_ptr() as usize, before, "growth does not move anything");
        })
        .join()
        .unwrap();
    });
}

#[test]
fn a_large_array_in_one_frame() {
    on_goroutines(|| {
        let sum = go(|| {
            let mut array = [1_u8; 512 * 1024];
            black_box(&mut array);
            array.iter().map(|byte| u64::from(*byte)).sum::<u64>()
        });
        assert_eq!(sum.join().unwrap(), 512 * 1024);
    });
}

#[test]
fn c_functions_with_large_frames() {
    extern "C" fn compare(a: *const libc::c_void, b: *const libc::c_void) -> i32 {
        let mut pad = [0_u8; 20_000];
        black_box(&mut pad);
        // SAFETY: qsort passes pointers to elements of the array of u32.
        let (a, b) = unsafe { (*a.cast::<u32>(), *b.cast::<u32>()) };
        a.cmp(&b) as i32
    }
    on_goroutines(|| {
        go(|| {
            let mut numbers: Vec<u32> =
                (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761) >> 7).collect();
            // SAFETY: the array has that many elements of that size, and `compare` is for them.
            unsafe { libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), 4, Some(compare)) };
            assert!(numbers.is_sorted());
        })
        .join()
        .unwrap();
        go(|| {
            let mut found = std::ptr::null_mut();
            // SAFETY: a C string, and a place for the result.
            let code = unsafe {
                libc::getaddrinfo(c"127.0.0.1".as_ptr(), c"80".as_ptr(), std::ptr::null(), &mut found)
            };
            assert_eq!(code, 0);
            // SAFETY: made by getaddrinfo.
            unsafe { libc::freeaddrinfo(found) };
        })
        .join()
        .unwrap();
    });
}

#[test]
fn growth_keeps_errno() {
    go(|| {
        // SAFETY: this goroutine's thread's errno, in home mode.
        unsafe { *libc::__errno_location() = 77 };
        let mut seen = 0;
        recurse(5_000, &mut || {
            // SAFETY: as above; nothing between blocks.
            seen = unsafe { *libc::__errno_location() };
        });
        assert_eq!(seen, 77);
    })
    .join()
    .unwrap();
}

#[test]
fn the_smallest_stack_is_usable() {
    let small = Runtime::builder().workers(1).stack_max(64 * 1024).build().unwrap();
    small.run(|| {
        // 40 KiB and a bit more, of 59 that are left of 64.
        assert_eq!(go(|| recurse(150, &mut || ())).join().unwrap(), 150);
    });
    // In a large runtime.
    let small = task::Builder::new().stack_max(64 * 1024).spawn(|| recurse(150, &mut || ()));
    assert_eq!(small.unwrap().join().unwrap(), 150);
}

#[test]
fn an_initial_size_is_open_from_the_start_and_the_limit_still_holds() {
    let rt = Runtime::builder().workers(1).stack_initial(1 << 20).build().unwrap();
    rt.run(|| {
        go(greenroutine::yield_now).join().unwrap();
        let parked = go(task::park);
        greenroutine::yield_now();
        assert!(greenroutine::runtime::dump().contains("1048576 open"), "{}", greenroutine::runtime::dump());
        parked.cancel();
        // And it grows from there.
        assert_eq!(go(|| recurse(50_000, &mut || ())).join().unwrap(), 50_000);
    });
    let rt = Runtime::builder().workers(1).stack_max(64 << 10).stack_initial(64 << 10).build().unwrap();
    rt.run(|| assert_eq!(go(|| recurse(150, &mut || ())).join().unwrap(), 150));
}

#[test]
fn stacks_are_reused_and_cut_back() {
    let rt = runtime(1, false);
    rt.run(|| {
        for _ in 0..20 {
            // A grown stack is as good as new for the next one, and holds no old memory.
            go(|| recurse(100_000, &mut || ())).join().unwrap();
            go(|| assert_eq!(recurse(10, &mut || ()), 10)).join().unwrap();
        }
        let resident = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = resident.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(pages < 100_000, "20 stacks of 20 MiB were not kept: {pages} pages");
    });
}

#[test]
fn overflow_names_the_goroutine_its_limit_and_the_way_out() {
    const NAME: &str = "overflow_names_the_goroutine_its_limit_and_the_way_out";
    if is_child(NAME) {
        let deep =
            task::Builder::new().name("digger").stack_max(128 * 1024).spawn(|| recurse(u32::MAX, &mut || ()));
        let _ = deep.unwrap().join();
        unreachable!("the process has aborted");
    }
    let output = in_child(NAME, |_| {});
    let text = text(&output);
    assert!(!output.status.success() && !text.contains("unreachable"), "{text}");
    for part in [
        "goroutine ",
        "'digger' has overflowed its stack",
        "stack_max = 131072 bytes",
        "tests/stacks.rs:",
        "task::Builder::stack_max",
        "GREENROUTINE_STACK_MAX",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
}

#[test]
fn overflow_of_a_plain_thread_is_still_std_s() {
    const NAME: &str = "overflow_of_a_plain_thread_is_still_std_s";
    if is_child(NAME) {
        greenroutine::run(|| ());
        let thread = std::thread::Builder::new().name("plain".into()).spawn(|| recurse(u32::MAX, &mut || ()));
        let _ = thread.unwrap().join();
        unreachable!("the process has aborted");
    }
    let output = in_child(NAME, |_| {});
    let text = text(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("thread 'plain'") && text.contains("has overflowed its stack"), "{text}");
    assert!(!text.contains("goroutine"), "{text}");
}

#[test]
fn a_wild_access_is_not_taken_for_growth() {
    const NAME: &str = "a_wild_access_is_not_taken_for_growth";
    if is_child(NAME) {
        let _ = go(|| {
            let nowhere = black_box(16_usize) as *const u64;
            // SAFETY: none; this is what the test is about, in a process that dies of it.
            unsafe { nowhere.read_volatile() }
        })
        .join();
        unreachable!("the process is dead");
    }
    let output = in_child(NAME, |_| {});
    use std::os::unix::process::ExitStatusExt;
    let text = text(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{text}");
    assert!(!text.contains("overflowed"), "{text}");
}

#[test]
fn a_handler_that_was_there_first_still_gets_its_faults() {
    const NAME: &str = "a_handler_that_was_there_first_still_gets_its_faults";
    if is_child(NAME) {
        extern "C" fn mine(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
            // SAFETY: the kernel passes a valid siginfo; exiting is async-signal-safe.
            unsafe {
                let code = if (*info).si_addr() as usize == 24 { 42 } else { 43 };
                libc::_exit(code);
            }
        }
        // SAFETY: a handler of the right type, installed before the runtime starts.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = mine as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()), 0);
        }
        greenroutine::run(|| {
            // Growth still works in front of it.
            assert_eq!(recurse(10_000, &mut || ()), 10_000);
            let nowhere = black_box(24_usize) as *const u64;
            // SAFETY: none, as above.
            unsafe { nowhere.read_volatile() }
        });
        unreachable!("the process is dead");
    }
    let output = in_child(NAME, |_| {});
    assert_eq!(output.status.code(), Some(42), "{}", text(&output));
}
