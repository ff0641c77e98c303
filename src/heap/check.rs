//! What debug builds check of every block: that it was given out once, is freed once, with the layout it was made with, to the heap that made it. Called by `entry` and `large`.
//!
//! A bit for each slot says whether the program has it (`Span::set_live`). Release builds check large blocks only (`large`), which costs nothing there.

use super::class;
use super::span::{self, Slot, Span};
use super::{arena, lookup};
use crate::base::fatal;

/// A block goes to the program.
pub(super) fn handed_out(block: *mut u8, bin: usize) {
    let Some(span) = span::at(arena::granule_in(block as usize)) else {
        fatal!("greenroutine: fatal: heap: a magazine held an address of no span\n");
    };
    if !span.set_live(span.slot_of(bin / 2, block as usize)) {
        fatal!("greenroutine: fatal: heap: a block was given out twice\n");
    }
}

/// A block comes back.
pub(super) fn taken_back(block: *mut u8, bin: usize) {
    let (span, slot) = place(block, bin);
    if !span.clear_live(slot) {
        fatal!("greenroutine: fatal: heap: a block was freed twice\n");
    }
}

/// A block stays where it is.
pub(super) fn kept(block: *mut u8, bin: usize) {
    let (span, slot) = place(block, bin);
    if span.set_live(slot) {
        fatal!("greenroutine: fatal: heap: a block was reallocated after it had been freed\n");
    }
}

/// The place of a block that the program says is of that bin.
fn place(block: *mut u8, bin: usize) -> (&'static Span, Slot) {
    let address = block as usize;
    let Some(granule) = lookup::granule(address) else {
        fatal!("greenroutine: fatal: heap: a freed pointer is not of this heap\n");
    };
    let Some(span) = span::at(granule) else {
        fatal!(
            "greenroutine: fatal: heap: a freed pointer is of memory that was given back (freed twice?)\n"
        );
    };
    let class = bin / 2;
    if span.class() != class as u32 || arena::kind_of(granule) != arena::Kind::manual(bin) {
        fatal!(
            "greenroutine: fatal: heap: a block was freed with a layout other than it was allocated with\n"
        );
    }
    let offset = address - span.start();
    if !offset.is_multiple_of(class::SIZES[class] as usize)
        || class::index(class, offset) >= class::slots(class)
    {
        fatal!("greenroutine: fatal: heap: a freed pointer is not where a block begins\n");
    }
    (span, span.slot_of(class, address))
}

/// A large block goes to the program.
pub(super) fn large_handed_out(span: &'static Span) {
    if !span.set_live(Slot::new(0)) {
        fatal!("greenroutine: fatal: heap: a large block was given out twice\n");
    }
}

/// A large block comes back.
pub(super) fn large_taken_back(span: &'static Span) {
    if !span.clear_live(Slot::new(0)) {
        fatal!("greenroutine: fatal: heap: a large block was freed twice\n");
    }
}
