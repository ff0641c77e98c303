//! What a thread is doing at this moment: its registers and a copy of its stack, taken by itself in the handler of the signal that also stops threads (`stop`). For dumps.
//!
//! SIGNAL-SAFE is `answer`: atomics, `gettid`, one copy by the kernel into memory that is there already, one futex call.
//!
//! | state | who changes it | to |
//! | --- | --- | --- |
//! | `IDLE` | who asks, after it has written the question | `ASKED` |
//! | `ASKED` | the thread that is asked, in its handler | `ANSWERING` |
//! | | who asks, if it takes too long | `IDLE` |
//! | `ANSWERING` | the thread, when all is written | `ANSWERED`, or `ELSEWHERE` if it is on another stack |
//! | the last two | who asks, when all is read | `IDLE` |
//!
//! The question and the copy belong to who asks in all states but `ANSWERING`.

use std::ops::Range;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{ptr, slice};

use super::{clock, futex, mem, stop, thread};

/// A thread that runs answers within microseconds; one that has to wait for a processor, later.
const PATIENCE_NS: u64 = 100_000_000;

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const ANSWERING: u32 = 2;
const ANSWERED: u32 = 3;
const ELSEWHERE: u32 = 4;

/// Where a thread was. `link` is the return address of functions that keep it in a register; 0 on processors that do not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) pc: usize,
    pub(crate) sp: usize,
    pub(crate) fp: usize,
    pub(crate) link: usize,
}

/// The table's; also the futex on which who asks waits.
static STATE: AtomicU32 = AtomicU32::new(IDLE);
/// The question: which thread, on which stack, and where to put the copy.
static THREAD: AtomicI32 = AtomicI32::new(0);
static STACK: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static COPY: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static ROOM: AtomicUsize = AtomicUsize::new(0);
/// The answer, beside the copy.
static FOUND: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

/// Asks a thread of this process for its registers, and for what lies on its stack from its stack pointer upwards: as much as there is, or as there is room for. None if
/// it is gone, is on another stack than this one, has the signal blocked, or takes longer than 100 ms.
pub(crate) fn ask(tid: i32, stack: &Range<usize>, into: &mut [u8]) -> Option<Registers> {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    stop::prepare().ok()?;
    THREAD.store(tid, Ordering::Relaxed);
    STACK[0].store(stack.start, Ordering::Relaxed);
    STACK[1].store(stack.end, Ordering::Relaxed);
    COPY.store(into.as_mut_ptr(), Ordering::Relaxed);
    ROOM.store(into.len(), Ordering::Relaxed);
    // Release pairs with the handler's Acquire: it finds the question.
    STATE.store(ASKED, Ordering::Release);
    let mut deadline = if stop::send(tid) { clock::now_ns() + PATIENCE_NS } else { 0 };
    let state = loop {
        // Acquire pairs with the handler's Release: what it has written is here.
        match STATE.load(Ordering::Acquire) {
            ASKED if clock::now_ns() >= deadline => {
                let withdrawn =
                    STATE.compare_exchange(ASKED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
                // Otherwise it has begun to answer.
                deadline = u64::MAX;
                if withdrawn {
                    break IDLE;
                }
            }
            now @ (ASKED | ANSWERING) => _ = futex::wait(&STATE, now, deadline),
            over => break over,
        }
    };
    STATE.store(IDLE, Ordering::Relaxed);
    let [pc, sp, fp, link] = [0, 1, 2, 3].map(|at| FOUND[at].load(Ordering::Relaxed));
    (state == ANSWERED).then_some(Registers { pc, sp, fp, link })
}

/// In the signal's handler: answers, if this thread was asked.
pub(super) fn answer(registers: impl FnOnce() -> Registers) {
    // Acquire pairs with the Release of the question.
    if STATE.load(Ordering::Acquire) != ASKED || THREAD.load(Ordering::Relaxed) != thread::tid() {
        return;
    }
    if STATE.compare_exchange(ASKED, ANSWERING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return;
    }
    let is_copied = copy(registers());
    // Release: see `ask`.
    STATE.store(if is_copied { ANSWERED } else { ELSEWHERE }, Ordering::Release);
    futex::wake(&STATE, 1);
}

fn copy(found: Registers) -> bool {
    let stack = STACK[0].load(Ordering::Relaxed)..STACK[1].load(Ordering::Relaxed);
    if !stack.contains(&found.sp) {
        return false;
    }
    for (at, register) in [found.pc, found.sp, found.fp, found.link].into_iter().enumerate() {
        FOUND[at].store(register, Ordering::Relaxed);
    }
    let bytes = ROOM.load(Ordering::Relaxed).min(stack.end - found.sp);
    // SAFETY: who asks waits with its exclusive borrow of so many bytes until the state leaves `ANSWERING`, which only this call's caller changes.
    let into = unsafe { slice::from_raw_parts_mut(COPY.load(Ordering::Relaxed), bytes) };
    mem::read_own(found.sp, into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_thread_that_runs_says_where() {
        let (tid, stop) = (AtomicI32::new(0), AtomicBool::new(false));
        let mut copy = [0; 1024];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let known = std::hint::black_box([0xAB_u8; 64]);
                tid.store(thread::tid(), Ordering::Release);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::black_box(&known);
                }
            });
            while tid.load(Ordering::Acquire) == 0 {
                std::hint::spin_loop();
            }
            let thread = tid.load(Ordering::Relaxed);
            let found = (0..100).find_map(|_| ask(thread, &(0..usize::MAX), &mut copy)).expect("it answers");
            assert!(found.pc != 0 && found.sp != 0, "{found:?}");
            assert!(copy.windows(64).any(|bytes| bytes == [0xAB; 64]), "its stack");
            assert!(ask(thread, &(0..1), &mut copy).is_none(), "it is on another stack");
            stop.store(true, Ordering::Relaxed);
        });
        assert!(ask(i32::MAX, &(0..usize::MAX), &mut copy).is_none(), "nobody is there");
    }
}
