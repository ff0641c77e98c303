//! Sleeping so that a stop need not wake the sleeper: it says where its stack is in use and puts its registers there first. Waking 8 to 16 sleepers to stop them costs 30 to 55 µs at
//! the median and milliseconds at worst; this costs two atomic exchanges a sleep, beside a system call that is 10 times as dear.

use std::sync::atomic::{AtomicU32, Ordering};

use super::record::{self, Record, state};
use super::stop;
use crate::arch;
use crate::sys::futex;

/// [`futex::wait`], as a thread that a stop may pass over.
#[inline(never)]
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: u64) -> bool {
    during(|| futex::wait(word, expected, deadline))
}

/// Runs `sleep`, which touches nothing that a collector could care for: no reference of the program's is read, written or moved by it.
#[inline(never)]
pub(crate) fn during<T>(sleep: impl FnOnce() -> T) -> T {
    with_registers(sleep, (0, 0))
}

/// As [`wait`], for a thread of the runtime's that has nothing to do: nothing on its stack is of the program, and what lies there is left over.
#[inline(never)]
pub(crate) fn rest(word: &AtomicU32, expected: u32, deadline: u64) -> bool {
    rest_during(|| futex::wait(word, expected, deadline))
}

/// As [`during`], for those who call [`rest`].
#[inline(never)]
pub(crate) fn rest_during<T>(sleep: impl FnOnce() -> T) -> T {
    with_registers(sleep, record::RESTS)
}

/// `registers`: where they are besides the stack, which is nowhere, or that the thread rests.
#[inline(always)]
fn with_registers<T>(sleep: impl FnOnce() -> T, place: (usize, usize)) -> T {
    let Some(record) = record::mine() else { return sleep() };
    // What lies below is this function's own and the kernel's.
    arch::with_all_in_memory(|sp| {
        enter(record, sp, place);
        let result = sleep();
        leave(record);
        result
    })
}

fn enter(record: &'static Record, sp: usize, registers: (usize, usize)) {
    record.set_place(sp, registers);
    // AcqRel: the place is seen with the state.
    let requested =
        record.state.compare_exchange(state::RUNNING, state::BLOCKED, Ordering::AcqRel, Ordering::Acquire);
    if requested.is_err()
        && record
            .state
            .compare_exchange(state::REQUESTED, state::HELD, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    {
        stop::acknowledge();
    }
}

fn leave(record: &'static Record) {
    loop {
        match record.state.compare_exchange(
            state::BLOCKED,
            state::RUNNING,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => return,
            Err(state::HELD) => {
                let _ = record.state.compare_exchange(
                    state::HELD,
                    state::WAITING,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                );
            }
            Err(state::WAITING) => {
                futex::wait(&record.state, state::WAITING, u64::MAX);
            }
            // In a handler of the program's that interrupts a sleep, and sleeps itself: the inner one has left for both.
            Err(_) => return,
        }
    }
}
