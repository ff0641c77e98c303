//! Scanning goroutines: beside the program, as often as wanted, and once more with the world stopped, those that have changed since. Called by `scan` and `concurrent`.

use std::ops::Range;

use super::mark::Marker;
use crate::base::meta::{self, Block};
use crate::routine::roots::{self, CHANGES, EMPTY};
use crate::stack::HEADER_BYTES;
use crate::sys::mem;

/// Bytes of a stack that are copied at once.
const CHUNK: usize = 16 << 10;
/// Stacks in use by more than this are left to the stop, beside the program: they are few, and copying them is no gain.
const LARGE: usize = 1 << 20;

/// What was scanned, by the fingerprints of then. By the numbers of cells.
#[derive(Default)]
pub(super) struct Scanned {
    fingerprints: Vec<u64>,
}

impl Scanned {
    fn get(&self, number: usize) -> u64 {
        self.fingerprints.get(number).copied().unwrap_or(CHANGES)
    }

    fn set(&mut self, number: usize, fingerprint: u64) {
        if number >= self.fingerprints.len() {
            self.fingerprints.resize(number + 1024, CHANGES);
        }
        self.fingerprints[number] = fingerprint;
    }

    /// Nothing was scanned.
    pub(super) fn forget(&mut self) {
        self.fingerprints.fill(CHANGES);
    }
}

/// Scans what has changed since it was scanned last, while the program runs.
pub(super) fn beside_the_program(marker: &mut Marker, scanned: &mut Scanned) {
    let mut buffer = vec![0_u64; CHUNK / 8];
    meta::for_each_numbered_block(|number, block, class| {
        let before = roots::fingerprint(block);
        if before == CHANGES || before == EMPTY || scanned.get(number) == before {
            return;
        }
        let (payload, slot) = roots::header_of(block, class);
        // SAFETY: cells are never unmapped. A stack may be at any time, if this goroutine ends.
        unsafe { marker.scan(payload) };
        let is_whole = slot == 0 || copy_stack(marker, slot, &mut buffer);
        if is_whole && roots::fingerprint(block) == before {
            scanned.set(number, before);
        }
        marker.drain_much();
    });
}

/// Scans a copy of a suspended goroutine's stack. False if not all of it was there.
fn copy_stack(marker: &mut Marker, slot: usize, buffer: &mut [u64]) -> bool {
    let mut header = [0; HEADER_BYTES];
    if !mem::read_own(slot, &mut header) {
        return false;
    }
    let stack = roots::stack_by_header(&header, slot);
    if stack.len() > LARGE {
        return false;
    }
    let mut at = stack.start;
    while at < stack.end {
        let wanted = (stack.end - at).min(CHUNK);
        // SAFETY: the buffer's words as bytes, of which there are at least `wanted`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<u8>(), wanted) };
        if !mem::read_own(at, bytes) {
            return false;
        }
        let copy = buffer.as_ptr() as usize;
        // SAFETY: the buffer.
        unsafe { marker.scan_ambiguous(copy..copy + wanted) };
        at += wanted;
    }
    true
}

/// Scans what has changed since it was scanned last, with the world stopped. `all_open`: see [`roots::holdings`].
pub(super) fn at_the_stop(marker: &mut Marker, cells: &meta::Frozen, scanned: &Scanned, all_open: bool) {
    cells.for_each_numbered_block(|number, block, class| {
        let now = roots::fingerprint(block);
        if now != EMPTY && (now == CHANGES || scanned.get(number) != now) {
            whole(marker, block, class, all_open);
        }
    });
}

fn whole(marker: &mut Marker, block: *mut Block, class: usize, all_open: bool) {
    let holdings = roots::holdings(block, class, all_open);
    let mut scan = |range: Range<usize>| {
        // SAFETY: cells are never unmapped, and the used part of a stack is open while its goroutine lives; the world is stopped.
        unsafe { marker.scan_ambiguous(range) };
    };
    scan(holdings.payload);
    holdings.stack.into_iter().flatten().for_each(&mut scan);
}
