//! The checks that `GREENROUTINE_GC=check=..` turns on, for whoever suspects the collector, the kernel, or a trick with pointers. Called by `concurrent` and `cycle`, with the world stopped: nothing here
//! allocates from the heap or prints.
//!
//! | check | what is verified | cost |
//! | --- | --- | --- |
//! | `dirty` | a page whose contents have changed since marking began is one that the kernel calls written ([`Sums`]) | both stops read the whole heap |
//! | `noscan` | no block that is never read holds the only reference to an object ([`suspects`]) | the last stop reads those blocks at every byte |
//! | `poison` | nobody reads what was freed: it is overwritten (`heap::central`) | the sweep writes what it frees |

use std::ops::Range;

use super::words::Words;
use crate::arch;
use crate::heap::arena::Kind;
use crate::heap::frozen::Frozen;
use crate::heap::lookup::{Extent, Object};
use crate::sys::mem::PAGE;
use crate::sys::signal::text::Text;
use crate::sys::uffd::{Rearm, Watch};
use crate::sys::{OsError, signal};

/// The contents of all pages of a range at some moment, a word each.
pub(super) struct Sums {
    /// Numbers of pages: an address would look like a reference to what lies there.
    pages: Range<usize>,
    sums: Words<1>,
}

impl Sums {
    /// Those of now; none if there is no memory for them. The range is mapped readable, and stays so.
    pub(super) fn of(range: Range<usize>) -> Option<Self> {
        let mut sums = Words::zeroed((range.len() / PAGE).max(1))?;
        for (index, page) in range.clone().step_by(PAGE).enumerate() {
            sums.set(index, sum(page));
        }
        Some(Self { pages: range.start / PAGE..range.end / PAGE, sums })
    }

    /// A page that has changed, and that `watch` does not call written. Nothing may have been armed since the sums were made.
    pub(super) fn lost(&self, watch: &mut Watch) -> Result<Option<usize>, OsError> {
        let range = self.pages.start * PAGE..self.pages.end * PAGE;
        let Some(mut written) = Words::<1>::zeroed(range.len() / PAGE / 64 + 1) else { return Ok(None) };
        watch.written(range.clone(), Rearm::No, |pages| {
            for page in pages.step_by(PAGE) {
                let index = (page - range.start) / PAGE;
                written.set(index / 64, written.get(index / 64) | 1 << (index % 64));
            }
        })?;
        for (index, page) in range.step_by(PAGE).enumerate() {
            if written.get(index / 64) & 1 << (index % 64) != 0 || sum(page) == self.sums.get(index) {
                continue;
            }
            // By a thread that is never stopped, just now?
            let mut is_written = false;
            watch.written(page..page + PAGE, Rearm::No, |_| is_written = true)?;
            if !is_written {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }
}

/// Ends the process. Without std's streams, whose locks a stopped thread may have.
#[cold]
pub(super) fn page_is_lost(page: usize) -> ! {
    Text::<512>::new()
        .add("greenroutine: gc: check=dirty: the page at ")
        .address(page)
        .add(
            " has changed since marking began, and the kernel does not call it written: what is reached only from there would be freed. \
             GREENROUTINE_GC=backend=stw does without the kernel's word\n",
        )
        .write();
    signal::abort()
}

fn sum(page: usize) -> usize {
    (page..page + PAGE).step_by(8).fold(0, |sum: usize, at| {
        // SAFETY: inside a range that its caller has said to be readable.
        let word = unsafe { arch::racy_load(at) };
        (sum.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

/// What looks like a reference where none is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    /// Where it lies.
    pub(super) at: usize,
    /// The object that it points into, which nothing else refers to, and its bytes.
    pub(super) object: usize,
    pub(super) bytes: usize,
}

/// Fills the room that `found` has with what looks like the only reference to an object. Marking is over.
pub(super) fn suspects(heap: &Frozen, found: &mut Vec<Suspect>) {
    let extent = Extent::now();
    let mut look = |range: Range<usize>| {
        for at in range.start..range.end.saturating_sub(7) {
            if found.len() == found.capacity() {
                return;
            }
            // SAFETY: eight bytes of a live block.
            let word = unsafe { (at as *const usize).read_unaligned() };
            if !extent.may_contain(word) {
                continue;
            }
            if let Some(Object { start, bytes, .. }) =
                extent.object(word).filter(|object| !object.is_free() && !object.is_marked())
            {
                found.push(Suspect { at, object: start, bytes });
            }
        }
    };
    heap.for_each_manual(Kind::ManualNoscan, &mut look);
    heap.for_each_marked(Kind::CollectedNoscan, &mut look);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mem;

    #[test]
    fn a_write_that_is_not_told_of_is_found() {
        // Where the kernel or the container does not allow it there is nothing to test.
        let Ok(mut watch) = Watch::open() else { return };
        let bytes = 100 * PAGE;
        let base = mem::map(bytes).expect("memory");
        let all = base..base + bytes;
        watch.register(&all).expect("our own mapping");
        let lost = |sums: &Sums, watch: &mut Watch| sums.lost(watch).expect("registered");
        let write = |page: usize, value: usize| {
            // SAFETY: ours.
            unsafe { ((base + page * PAGE + 8) as *mut usize).write(value) }
        };
        (0..100).for_each(|page| write(page, page));
        watch.arm(all.clone()).expect("registered");
        let sums = Sums::of(all.clone()).expect("memory");
        assert_eq!(lost(&sums, &mut watch), None);
        write(3, 1000);
        write(70, 1000);
        assert_eq!(lost(&sums, &mut watch), None, "both are told of");
        // Armed again, the kernel has forgotten.
        watch.arm(all.start..all.start + 10 * PAGE).expect("registered");
        assert_eq!(lost(&sums, &mut watch), Some(base + 3 * PAGE));
        write(3, 3);
        watch.arm(all).expect("registered");
        assert_eq!(lost(&sums, &mut watch), Some(base + 70 * PAGE));
        mem::unmap(base, bytes);
    }
}
