//! Frames that step over a stack's guard. Rust touches every page of a large frame as it makes it; C compilers do not unless they are told to, and then C code runs, and is stopped, below a
//! guard that nobody has touched yet.

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "calls of the assembly below, each commented as a whole"
)]

mod common;

use std::ffi::c_void;
use std::hint::black_box;

use common::on_goroutines;
use greenroutine::go;

// `with_frame(bytes, f, argument)`: f(the frame, bytes, argument), from a frame of that many bytes of which nothing was touched.
// `wait_below(bytes, word)`: stores 1 in the word and waits for another value, with the stack pointer that far down and nothing touched.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl greenroutine_test_with_frame",
    "greenroutine_test_with_frame:",
    "push rbp",
    "mov rbp, rsp",
    "sub rsp, rdi",
    "and rsp, -16",
    "mov rax, rsi",
    "mov rsi, rdi",
    "mov rdi, rsp",
    "call rax",
    "mov rsp, rbp",
    "pop rbp",
    "ret",
    ".globl greenroutine_test_wait_below",
    "greenroutine_test_wait_below:",
    "mov rdx, rsp",
    "sub rsp, rdi",
    "mov dword ptr [rsi], 1",
    "2:",
    "pause",
    "cmp dword ptr [rsi], 1",
    "je 2b",
    "mov rsp, rdx",
    "ret",
);
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl greenroutine_test_with_frame",
    "greenroutine_test_with_frame:",
    "stp x29, x30, [sp, #-16]!",
    "mov x29, sp",
    "sub x9, sp, x0",
    "and sp, x9, #-16",
    "mov x9, x1",
    "mov x1, x0",
    "mov x0, sp",
    "blr x9",
    "mov sp, x29",
    "ldp x29, x30, [sp], #16",
    "ret",
    ".globl greenroutine_test_wait_below",
    "greenroutine_test_wait_below:",
    "mov x9, sp",
    "sub x10, sp, x0",
    "and sp, x10, #-16",
    "mov w10, #1",
    "stlr w10, [x1]",
    "2:",
    "ldar w11, [x1]",
    "cmp w11, w10",
    "b.eq 2b",
    "mov sp, x9",
    "ret",
);

type Frame = extern "C" fn(*mut u8, usize, *mut c_void);

unsafe extern "C" {
    #[link_name = "greenroutine_test_with_frame"]
    fn with_frame(bytes: usize, f: Frame, argument: *mut c_void);
    #[cfg(feature = "gc")]
    #[link_name = "greenroutine_test_wait_below"]
    fn wait_below(bytes: usize, word: *const std::sync::atomic::AtomicU32);
}

#[test]
fn what_lies_below_the_guard_is_kept_when_the_stack_grows_past_it() {
    extern "C" fn fill(frame: *mut u8, bytes: usize, sum: *mut c_void) {
        // SAFETY: the frame of `with_frame`, and the caller's word.
        unsafe {
            // From the lowest address upwards, so the guard is met last.
            for at in 0..bytes {
                frame.add(at).write_volatile(1);
            }
            *sum.cast::<u64>() = (0..bytes).map(|at| u64::from(frame.add(at).read_volatile())).sum();
        }
    }
    on_goroutines(|| {
        for bytes in [20_000, 64 << 10, 200_000, 1 << 20] {
            go(move || {
                let mut sum = 0_u64;
                // SAFETY: `fill` takes a pointer to a word, and the frame is within the default stack.
                unsafe { with_frame(bytes, fill, (&raw mut sum).cast()) };
                assert_eq!(black_box(sum), bytes as u64);
            })
            .join()
            .unwrap();
        }
    });
}

#[cfg(feature = "gc")]
mod collected {
    use super::*;

    use std::sync::atomic::{AtomicU32, Ordering};

    use greenroutine::gc;
    use greenroutine::{Gc, channel};

    #[test]
    fn a_thread_is_stopped_with_its_stack_pointer_anywhere_about_the_guard() {
        // In one of them it points into the guard: the stack has 16 KiB at first, and this goroutine uses less than one. Nobody faults there but a collector that reads what is not in use.
        for bytes in (8 << 10..24 << 10).step_by(512) {
            let word = AtomicU32::new(0);
            greenroutine::scope(|scope| {
                // SAFETY: touches nothing but the word.
                let waiting = scope.go(|| unsafe { wait_below(bytes, &word) });
                while word.load(Ordering::Acquire) == 0 {
                    std::thread::yield_now();
                }
                gc::collect();
                word.store(2, Ordering::Release);
                waiting.join().unwrap();
            });
        }
    }

    struct Wait {
        there: channel::Sender<()>,
        end: channel::Receiver<()>,
    }

    #[test]
    fn what_a_waiting_goroutine_has_below_the_guard_is_found() {
        extern "C" fn hold(frame: *mut u8, _: usize, wait: *mut c_void) {
            // SAFETY: the caller's, which waits for us.
            let wait = unsafe { &*wait.cast::<Wait>() };
            // At the frame's lowest address, and nowhere above.
            let place = frame.cast::<Gc<u64>>();
            // SAFETY: the frame of `with_frame`, which is aligned to 16.
            unsafe { place.write(Gc::new(7)) };
            // SAFETY: written just now.
            let weak = Gc::downgrade(unsafe { *place });
            wait.there.send(()).unwrap();
            wait.end.recv().unwrap();
            assert!(weak.upgrade().is_some(), "collected while it was on a stack");
        }
        for _ in 0..20 {
            let (there, is_there) = channel::bounded(0);
            let (end, ends) = channel::bounded(0);
            let holder = go(move || {
                let mut wait = Wait { there, end: ends };
                // SAFETY: `hold` takes a pointer to a Wait; the frame is within the default stack, and larger than what is open of it at first.
                unsafe { with_frame(40 << 10, hold, (&raw mut wait).cast()) };
            });
            is_there.recv().unwrap();
            for _ in 0..3 {
                common::clear_stack();
                gc::collect();
            }
            end.send(()).unwrap();
            holder.join().unwrap();
        }
    }
}
