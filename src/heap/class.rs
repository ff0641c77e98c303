//! Size classes: pure arithmetic, no memory. Called by every other file of the layer.
//!
//! | classes | sizes | span |
//! | --- | --- | --- |
//! | 0 to 8 | 8, 16, then in steps of 16 to 128 | one granule, 64 KiB |
//! | 9 to 32 | four to a doubling, to 8 KiB | one granule |
//! | 33 to 44 | four to a doubling, to 64 KiB | eight granules, 512 KiB |
//! | none | above 64 KiB, or aligned to more | a run of granules of its own: `large` |
//!
//! So at most a fifth of a block is lost to rounding, from 128 bytes up. Class 8 is there for Rust: `Vec<u8>` and `String` begin with 8 bytes.
//!
//! Rust's `dealloc` says size and alignment, so the class of a block is computed from its `Layout` in both directions, and freeing touches neither the
//! block nor its span. [`of`] must therefore depend on nothing else. Slots are at multiples of the class size from a granule's start, so a class is as
//! aligned as its size: an alignment above 8 goes up to the first class that is a multiple of it.
//!
//! A **bin** is a class with the manual kind: `class * 2 + noscan`. A block aligned to less than 8 cannot hold an aligned pointer, and is never scanned.

/// Bytes of a granule, as a shift.
pub(crate) const GRANULE_SHIFT: u32 = 16;
/// Bytes of a granule: the unit of spans and page runs.
pub(crate) const GRANULE: usize = 1 << GRANULE_SHIFT;
/// How many classes there are.
pub(crate) const CLASSES: usize = 45;
/// How many bins there are.
pub(crate) const BINS: usize = CLASSES * 2;
/// The next power of two: arrays of this length are indexed with `bin % BINS_ROOM`, which costs less than a check and is the same.
pub(crate) const BINS_ROOM: usize = 128;
/// The largest block of a class.
pub(crate) const CLASS_MAX: usize = 64 * 1024;
/// The first class whose spans have `MEDIUM_GRANULES` granules.
pub(crate) const FIRST_MEDIUM: usize = 33;
/// Granules of a span of a medium class.
pub(crate) const MEDIUM_GRANULES: usize = 8;
/// The most slots of a span; what a span's bitmaps are made for. Class 0 leaves the second half of its granule alone: never touched, it costs nothing.
pub(crate) const SLOTS_MAX: usize = 4096;
/// Blocks in a full magazine, at most. A power of two, as for [`BINS_ROOM`].
pub(crate) const MAGAZINE: usize = 64;
/// Sizes up to here are looked up in a table.
pub(crate) const TABLE_MAX: usize = 1024;

/// Bytes by class.
pub(crate) const SIZES: [u32; CLASSES] = {
    let mut sizes = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        sizes[class] = match class {
            0 => 8,
            1..9 => class as u32 * 16,
            _ => {
                let (doubling, quarter) = ((class - 9) / 4, (class - 9) % 4);
                (5 + quarter as u32) << (5 + doubling)
            }
        };
        class += 1;
    }
    sizes
};

/// What finds a slot from an offset, by class: together, because who needs one needs all (a division for `slots` was a fifth of the time it takes to mark an object).
#[derive(Clone, Copy)]
pub(crate) struct Geometry {
    /// What [`index`] multiplies with: 2^40 / size, rounded up. Exact for every offset in a span: (offset * size) stays below 2^40.
    magic: u64,
    /// Bytes of a slot.
    pub(crate) size: u32,
    /// Slots of a span.
    pub(crate) slots: u32,
}

/// See [`Geometry`].
pub(crate) static GEOMETRY: [Geometry; CLASSES] = {
    let mut all = [Geometry { magic: 0, size: 0, slots: 0 }; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let slots = granules(class) * GRANULE / SIZES[class] as usize;
        all[class] = Geometry {
            magic: (1_u64 << 40).div_ceil(SIZES[class] as u64),
            size: SIZES[class],
            slots: if slots < SLOTS_MAX { slots as u32 } else { SLOTS_MAX as u32 },
        };
        class += 1;
    }
    all
};

impl Geometry {
    /// The slot that an offset from its span's start lies in.
    #[inline(always)]
    pub(crate) fn index(&self, offset: usize) -> usize {
        ((offset as u64 * self.magic) >> 40) as usize
    }
}

/// Twice the class by size in words of 8 bytes, rounded up: the bin of scanned blocks.
static TABLE: [u8; TABLE_MAX / 8 + 1] = {
    let mut table = [0; TABLE_MAX / 8 + 1];
    let mut words = 0;
    while words < table.len() {
        table[words] = by_search(words * 8) as u8 * 2;
        words += 1;
    }
    table
};

const fn by_search(size: usize) -> usize {
    let mut class = 0;
    while (SIZES[class] as usize) < size {
        class += 1;
    }
    class
}

/// The smallest class that holds `size`, which is at most [`CLASS_MAX`].
#[inline(always)]
pub(crate) const fn by_size(size: usize) -> usize {
    if size <= TABLE_MAX {
        return TABLE[size.div_ceil(8)] as usize / 2;
    }
    let below = size - 1;
    let doubling = below.ilog2();
    let quarter = (below >> (doubling - 2)) & 3;
    9 + (doubling as usize - 7) * 4 + quarter
}

/// The class of a layout; none if it needs a run of its own.
#[inline(always)]
pub(crate) const fn of(size: usize, align: usize) -> Option<usize> {
    if align > 8 {
        return aligned(size, align);
    }
    if size <= CLASS_MAX { Some(by_size(size)) } else { None }
}

/// As [`of`], for alignments above 8.
#[inline(never)]
const fn aligned(size: usize, align: usize) -> Option<usize> {
    if size > CLASS_MAX || align > CLASS_MAX {
        return None;
    }
    let mut class = by_size(if size > align { size } else { align });
    // Ends: the last class is a multiple of every alignment up to CLASS_MAX.
    while !SIZES[class].is_multiple_of(align as u32) {
        class += 1;
    }
    Some(class)
}

/// The bin of a small layout: up to [`TABLE_MAX`] bytes, aligned to 8 or less.
#[inline(always)]
pub(crate) fn small_bin(size: usize, align: usize) -> usize {
    debug_assert!(size <= TABLE_MAX && align <= 8, "a small layout");
    TABLE[size.div_ceil(8)] as usize | usize::from(align < 8)
}

/// The bin of a class for blocks of that alignment.
#[inline(always)]
pub(crate) fn bin(class: usize, align: usize) -> usize {
    class * 2 + usize::from(align < 8)
}

/// Granules of a span of `class`.
#[inline(always)]
pub(crate) const fn granules(class: usize) -> usize {
    if class < FIRST_MEDIUM { 1 } else { MEDIUM_GRANULES }
}

/// Slots of a span of `class`.
#[inline(always)]
pub(crate) fn slots(class: usize) -> usize {
    GEOMETRY[class].slots as usize
}

/// The most blocks that a magazine of this class holds: up to 16 KiB, or 4 blocks.
pub(crate) const fn magazine(class: usize) -> u32 {
    match SIZES[class] {
        0..=256 => MAGAZINE as u32,
        257..=1024 => 32,
        1025..=2048 => 16,
        2049..=8192 => 8,
        _ => 4,
    }
}

/// The slot that an offset from its span's start lies in.
#[inline(always)]
pub(crate) fn index(class: usize, offset: usize) -> usize {
    GEOMETRY[class].index(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_documentation() {
        assert_eq!(SIZES[0..10], [8, 16, 32, 48, 64, 80, 96, 112, 128, 160]);
        assert_eq!(SIZES[FIRST_MEDIUM - 1], 8192);
        assert_eq!(SIZES[CLASSES - 1] as usize, CLASS_MAX);
        assert!(SIZES.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(SIZES.windows(2).skip(8).all(|pair| (pair[1] - pair[0]) * 4 <= pair[0]));
    }

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        for size in 0..=CLASS_MAX {
            assert_eq!(by_size(size), by_search(size), "{size}");
        }
        assert_eq!(of(CLASS_MAX + 1, 1), None);
    }

    #[test]
    fn every_alignment_up_to_a_granule_has_a_class_that_keeps_it() {
        for shift in 0..=16 {
            let align = 1_usize << shift;
            for size in (1..CLASS_MAX).step_by(7).chain([1, align, CLASS_MAX]) {
                let class = of(size, align).expect("a class");
                assert!(SIZES[class] as usize >= size, "{size} {align}");
                assert!(align <= 8 || (SIZES[class] as usize).is_multiple_of(align), "{size} {align}");
            }
        }
        assert_eq!(of(8, CLASS_MAX * 2), None);
    }

    #[test]
    fn every_offset_finds_its_slot() {
        for (class, size) in SIZES.iter().enumerate() {
            let size = *size as usize;
            for offset in 0..granules(class) * GRANULE {
                assert_eq!(index(class, offset), offset / size, "{size} {offset}");
            }
        }
    }
}
