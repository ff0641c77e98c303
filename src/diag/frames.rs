//! Where a goroutine waits: its frames, from the registers that it has saved, by the tables for unwinding; and their names.
//!
//! Nothing is guessed and nothing of a goroutine's is touched: the kernel copies its stack (`sys::mem::read_own`), so it may go on or end meanwhile; then the copy is dropped, which
//! its wake word tells (the number of the wait has changed). One that runs is asked by a signal, and copies its own stack (`sys::look`). The walk ends where the tables end or where it leaves the copy.
//!
//! The twin `frames_off` has the same functions for builds without the feature `backtrace`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use framehop::{CacheNative, UnwindRegsNative, Unwinder, UnwinderNative};

use crate::arch;
use crate::frames::{self, Symbol};
use crate::routine::{SlotRef, TaskRef, slot};
use crate::sys::{look, mem};

/// More frames than anybody reads.
const MOST: usize = 64;
/// Of a deep stack the lower end is enough for as many.
const MOST_BYTES: usize = 128 * 1024;
/// The tables of all images, and names that were looked up. Kept from one dump to the next.
#[derive(Default)]
struct Tables {
    /// How often an image was loaded or unloaded.
    loads: Option<u64>,
    unwinder: UnwinderNative<&'static [u8], framehop::MayAllocateDuringUnwind>,
    cache: CacheNative<framehop::MayAllocateDuringUnwind>,
    names: HashMap<u64, Vec<String>>,
}

static TABLES: Mutex<Option<Tables>> = Mutex::new(None);

/// Walks and names.
pub(super) struct Walker {
    tables: Tables,
    copy: Vec<u8>,
}

impl Walker {
    pub(super) fn new() -> Self {
        // Two dumps at once: the second makes its own.
        let kept = TABLES.try_lock().ok().and_then(|mut tables| tables.take());
        let mut tables = kept.unwrap_or_default();
        if let Some((loads, unwinder)) = frames::unwinder(tables.loads) {
            tables = Tables { loads: Some(loads), unwinder, ..Tables::default() };
        }
        Self { tables, copy: Vec::new() }
    }

    /// The code addresses of a goroutine that waits, from where it waits outwards. Empty if it does not wait any more, or cannot be followed.
    pub(super) fn walk(&mut self, task: TaskRef) -> Vec<u64> {
        let word = task.wake.look();
        let Some(slot) = task.slot() else { return Vec::new() };
        let (Some(begin), end) = (saved_at(slot), slot.stack.address()) else { return Vec::new() };
        self.copy.resize((end - begin).min(MOST_BYTES), 0);
        let is_copied = mem::read_own(begin, &mut self.copy);
        // Still the same wait: nobody has touched the stack since before it was copied.
        if !is_copied || task.wake.waiting().is_none() || task.wake.look() != word {
            return Vec::new();
        }
        let word = |at: usize| self.copy.get(at..)?.first_chunk().copied().map(u64::from_ne_bytes);
        let [Some(pc), Some(fp)] = [arch::SAVED_PC, arch::SAVED_FP].map(word) else { return Vec::new() };
        self.unwind(pc, frames::registers(pc, (begin + arch::SAVED_BYTES) as u64, fp), begin)
    }

    /// As [`walk`](Self::walk), of a goroutine that runs on the thread with this number: that says where it is. Empty if it does not, or if the goroutine has stopped meanwhile.
    pub(super) fn walk_running(&mut self, task: TaskRef, tid: i32) -> Vec<u64> {
        let id = task.id.load(Ordering::Relaxed);
        let Some(slot) = task.slot() else { return Vec::new() };
        let stack = slot.stack.slot_base()..slot.stack.address();
        self.copy.resize(MOST_BYTES, 0);
        let Some(found) = look::ask(tid, &stack, &mut self.copy) else { return Vec::new() };
        // The stack is the goroutine's until it ends, and then the id is another's.
        if task.id.load(Ordering::Relaxed) != id {
            return Vec::new();
        }
        self.copy.truncate(stack.end - found.sp);
        self.unwind(found.pc as u64, interrupted(found), found.sp)
    }

    /// The code addresses from these registers outwards; the copy is of the stack from `begin` on.
    fn unwind(&mut self, pc: u64, registers: UnwindRegsNative, begin: usize) -> Vec<u64> {
        let copy = &self.copy;
        let mut read = |at: u64| {
            let at = (at as usize).checked_sub(begin).ok_or(())?;
            let word = copy.get(at..).and_then(|rest| rest.first_chunk()).ok_or(())?;
            Ok(u64::from_ne_bytes(*word))
        };
        let mut frames = self.tables.unwinder.iter_frames(pc, registers, &mut self.tables.cache, &mut read);
        let mut out = Vec::new();
        while let (true, Ok(Some(frame))) = (out.len() < MOST, frames.next()) {
            out.push(frame.address_for_lookup());
        }
        out
    }

    /// The functions at an address, the inner ones first, with their places; none for what is the runtime's own.
    pub(super) fn names(&mut self, address: u64) -> &[String] {
        self.tables.names.entry(address).or_insert_with(|| look_up(address))
    }
}

impl Drop for Walker {
    fn drop(&mut self) {
        if let Ok(mut tables) = TABLES.try_lock() {
            *tables = Some(std::mem::take(&mut self.tables));
        }
    }
}

/// Where the switch has saved what the goroutine needs to go on: see [`Slot::coroutine`](crate::routine::Slot::coroutine).
fn saved_at(slot: SlotRef) -> Option<usize> {
    let mut words = [0; 8 * 32];
    let coroutine = slot.coroutine();
    let words = words.get_mut(..coroutine.len())?;
    if !mem::read_own(coroutine.start, words) {
        return None;
    }
    let below = slot.stack.slot_base()..slot.suspended_sp.get();
    let mut found = words
        .as_chunks()
        .0
        .iter()
        .map(|word| usize::from_ne_bytes(*word))
        .filter(|word| word % 8 == 0 && below.contains(word));
    // One, or the layout is not what it was.
    found.next().filter(|_| found.next().is_none())
}

/// Those of a thread that was interrupted anywhere.
#[cfg(target_arch = "x86_64")]
fn interrupted(found: look::Registers) -> UnwindRegsNative {
    UnwindRegsNative::new(found.pc as u64, found.sp as u64, found.fp as u64)
}

#[cfg(target_arch = "aarch64")]
fn interrupted(found: look::Registers) -> UnwindRegsNative {
    UnwindRegsNative::new(found.link as u64, found.sp as u64, found.fp as u64)
}

/// The frames of the caller, if it is a goroutine.
pub(super) fn own() -> Vec<u64> {
    let mut out = Vec::new();
    let Some(slot) = slot::current() else { return out };
    let stack = slot.stack.slot_base()..slot.stack.address();
    backtrace::trace(|frame| {
        // Beyond the goroutine's first frame its worker's follow.
        let is_ours = stack.contains(&frame.sp().addr());
        out.push((frame.ip().addr() as u64).saturating_sub(1));
        is_ours && out.len() < MOST
    });
    out
}

fn look_up(address: u64) -> Vec<String> {
    frames::names(address).iter().map(Symbol::to_string).collect()
}
