//! Which pages were written to: userfaultfd in its asynchronous write-protect mode, and `PAGEMAP_SCAN` (Linux 6.7). The kernel is the write barrier: a page that is armed takes
//! its first write with a fault that the kernel handles by itself (0.6 µs), and says later that it was written. Works without privileges
//! (`UFFD_USER_MODE_ONLY`); containers may forbid it.
//!
//! What a walk costs (a gigabyte in small pages): to arm 9.3 ms; to ask 0.20 ms, and 0.51 ms if pages that were never touched are to be left out, for which the kernel
//! leaves its quick path (`PAGE_IS_WRITTEN` and nothing else); to disarm 23 ms; a call by itself 1 µs. Huge pages would make the walks shorter still, but one first touch of a huge page has taken 4.6 ms
//! in a virtual machine, and the program waits for it: so the heap does not ask for them.
//!
//! libc has neither the structures nor the numbers; they are those of `linux/userfaultfd.h` and `linux/fs.h`.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{OsError, futex, mem};

const UFFD_USER_MODE_ONLY: i32 = 1;
const UFFD_API: u64 = 0xAA;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const UFFDIO_API: u64 = 0xC018_AA3F;
const UFFDIO_REGISTER: u64 = 0xC020_AA00;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
const UFFDIO_WRITEPROTECT: u64 = 0xC018_AA06;
const PAGEMAP_SCAN: u64 = 0xC060_6610;
const PM_SCAN_WP_MATCHING: u64 = 1;
const PM_SCAN_CHECK_WPASYNC: u64 = 2;
const PAGE_IS_WRITTEN: u64 = 1 << 1;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct WriteProtect {
    start: u64,
    len: u64,
    mode: u64,
}

#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// Regions that one call returns at most.
const REGIONS: usize = 512;
/// Room for them twice: for a walk, and for a second one over what the first has found.
const REGION_BYTES: usize = (2 * REGIONS * size_of::<Region>()).next_multiple_of(mem::PAGE);
/// A stretch that the quick path finds and that is at least as long is asked about again: it may never have been touched, and whoever reads it would have it mapped page by page.
const LONG: usize = 64 * mem::PAGE;
/// Bytes that are armed or disarmed with one call: a walk holds the lock of the address space, for which every `mmap` waits. After each
/// it is let go for a while ([`futex::rest`]): `bench gcbig` has waited 30 ms to let its heap grow.
const SLICE: usize = 16 << 20;
/// Watches ranges of this process's memory. Of one process: not valid in the child of a fork.
pub(crate) struct Watch {
    uffd: OwnedFd,
    pagemap: OwnedFd,
    /// Room for regions, apart from the heap: the addresses in them would look like references.
    regions: usize,
}

impl Drop for Watch {
    fn drop(&mut self) {
        mem::unmap(self.regions, REGION_BYTES);
    }
}

/// Whether what is read as written is armed again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rearm {
    No,
    /// Much is expected: it is armed as it is found.
    Yes,
    /// Little is expected: it is found by the quick path, and then armed with a call each.
    OfFew,
}

impl Watch {
    /// Opens the kernel's interface. Nothing is watched yet.
    pub(crate) fn open() -> Result<Self, OsError> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
        // SAFETY: integers only.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        if fd < 0 {
            return Err(OsError::last("userfaultfd", 0));
        }
        // SAFETY: a new descriptor of ours.
        let uffd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let mut api = Api { api: UFFD_API, features: UFFD_FEATURE_WP_ASYNC, ioctls: 0 };
        // SAFETY: the structure of this request, which is read and written during the call.
        if unsafe { libc::ioctl(uffd.as_raw_fd(), UFFDIO_API, &raw mut api) } != 0 {
            return Err(OsError::last("ioctl(UFFDIO_API, UFFD_FEATURE_WP_ASYNC)", 0));
        }
        let pagemap = File::open("/proc/self/pagemap").map_err(|error| OsError {
            call: "open /proc/self/pagemap",
            bytes: 0,
            errno: error.raw_os_error().unwrap_or(0),
        })?;
        Ok(Self { uffd, pagemap: pagemap.into(), regions: mem::map(REGION_BYTES)? })
    }

    /// Watches a range of mappings of this crate, whatever is mapped there now or later.
    pub(crate) fn register(&self, range: &Range<usize>) -> Result<(), OsError> {
        let mut register = Register {
            start: range.start as u64,
            len: (range.end - range.start) as u64,
            mode: UFFDIO_REGISTER_MODE_WP,
            ioctls: 0,
        };
        // SAFETY: the structure of this request. Write-protection that the kernel resolves by itself changes nothing that the program sees.
        match unsafe { libc::ioctl(self.uffd.as_raw_fd(), UFFDIO_REGISTER, &raw mut register) } {
            0 => Ok(()),
            _ => Err(OsError::last("ioctl(UFFDIO_REGISTER)", range.end - range.start)),
        }
    }

    /// Arms what is in memory of a range: from now on a write is seen.
    pub(crate) fn arm(&mut self, range: Range<usize>) -> Result<(), OsError> {
        let mut at = range.start;
        while at < range.end {
            let mut scan = exact(at..range.end.min(at + SLICE), PM_SCAN_WP_MATCHING);
            self.scan(&mut scan)?;
            at = scan.walk_end as usize;
            futex::rest();
        }
        Ok(())
    }

    /// Takes the arms off a range: writes cost nothing any more, and everything reads as written.
    pub(crate) fn disarm(&self, range: Range<usize>) -> Result<(), OsError> {
        for start in range.clone().step_by(SLICE) {
            let len = (range.end - start).min(SLICE);
            let mut protect = WriteProtect { start: start as u64, len: len as u64, mode: 0 };
            // SAFETY: the structure of this request.
            if unsafe { libc::ioctl(self.uffd.as_raw_fd(), UFFDIO_WRITEPROTECT, &raw mut protect) } != 0 {
                return Err(OsError::last("ioctl(UFFDIO_WRITEPROTECT)", len));
            }
            futex::rest();
        }
        Ok(())
    }

    /// Calls `each` with what was written to in a range since it was armed: ranges of whole pages, few of which were never touched at all. After an error everything counts as written.
    pub(crate) fn written(
        &mut self,
        range: Range<usize>,
        rearm: Rearm,
        mut each: impl FnMut(Range<usize>),
    ) -> Result<(), OsError> {
        if rearm == Rearm::Yes {
            return self.walk(
                range.clone(),
                0,
                |range| exact(range, PM_SCAN_WP_MATCHING),
                |_, found| {
                    each(found);
                    Ok(())
                },
            );
        }
        self.walk(range, 0, quick, |watch, found| {
            let flags = match rearm {
                Rearm::No if found.len() < LONG => {
                    each(found);
                    return Ok(());
                }
                Rearm::No => 0,
                _ => PM_SCAN_WP_MATCHING,
            };
            watch.walk(
                found,
                1,
                |range| exact(range, flags),
                |_, found| {
                    each(found);
                    Ok(())
                },
            )
        })
    }

    /// Calls `each` with the stretches of a range for which a request holds; in one of the two rooms for regions.
    fn walk(
        &self,
        range: Range<usize>,
        room: usize,
        request: impl Fn(Range<usize>) -> Scan,
        mut each: impl FnMut(&Self, Range<usize>) -> Result<(), OsError>,
    ) -> Result<(), OsError> {
        let regions = (self.regions as *const Region).wrapping_add(room * REGIONS);
        let mut at = range.start;
        while at < range.end {
            let mut scan = request(at..range.end);
            scan.vec = regions as u64;
            scan.vec_len = REGIONS as u64;
            scan.return_mask = PAGE_IS_WRITTEN;
            let count = self.scan(&mut scan)?;
            for index in 0..count.min(REGIONS) {
                let region = regions.wrapping_add(index);
                // SAFETY: inside this room for regions; the kernel has written that many, and a walk within `each` uses the other room.
                let region = unsafe { region.read() };
                each(self, region.start as usize..region.end as usize)?;
            }
            at = scan.walk_end as usize;
        }
        Ok(())
    }

    fn scan(&self, scan: &mut Scan) -> Result<usize, OsError> {
        let start = scan.start;
        // SAFETY: the structure of this request; `vec` is null or has room for `vec_len` regions. Pages of the program become write-protected in a way that the kernel resolves by itself.
        let count = unsafe { libc::ioctl(self.pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut *scan) };
        if count < 0 {
            return Err(OsError::last("ioctl(PAGEMAP_SCAN)", (scan.end - start) as usize));
        }
        if scan.walk_end <= start {
            return Err(OsError {
                call: "ioctl(PAGEMAP_SCAN) that got nowhere",
                bytes: (scan.end - start) as usize,
                errno: 0,
            });
        }
        Ok(count as usize)
    }
}

/// What was written to, and what was never touched: the kernel's quick path.
fn quick(range: Range<usize>) -> Scan {
    Scan {
        size: size_of::<Scan>() as u64,
        flags: PM_SCAN_CHECK_WPASYNC,
        start: range.start as u64,
        end: range.end as u64,
        category_mask: PAGE_IS_WRITTEN,
        ..Scan::default()
    }
}

/// What was written to and is there: arming what was never touched would cost memory.
fn exact(range: Range<usize>, flags: u64) -> Scan {
    let scan = quick(range);
    Scan { flags: scan.flags | flags, category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED, ..scan }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(bytes: usize) -> (usize, &'static mut [u8]) {
        let base = mem::map(bytes).expect("memory");
        // SAFETY: ours, of that length, and until the end of a test.
        (base, unsafe { std::slice::from_raw_parts_mut(base as *mut u8, bytes) })
    }

    #[test]
    fn a_long_stretch_that_was_never_touched_is_not_reported() {
        let Ok(mut watch) = Watch::open() else { return };
        let bytes = 4 * LONG;
        let (base, memory) = mapped(bytes);
        watch.register(&(base..base + bytes)).expect("our own mapping");
        memory[LONG] = 1;
        memory[2 * LONG + 5 * mem::PAGE] = 1;
        for rearm in [Rearm::No, Rearm::OfFew] {
            let mut pages = Vec::new();
            watch.written(base..base + bytes, rearm, |range| pages.push(range)).expect("registered");
            let pages: Vec<_> = pages.into_iter().map(|range| (range.start - base, range.len())).collect();
            assert_eq!(pages, [(LONG, mem::PAGE), (2 * LONG + 5 * mem::PAGE, mem::PAGE)]);
        }
        mem::unmap(base, bytes);
    }

    #[test]
    fn writes_are_seen_and_nothing_else() {
        // Where the kernel or the container does not allow it there is nothing to test.
        let Ok(mut watch) = Watch::open() else { return };
        let bytes = 64 * mem::PAGE;
        let (base, memory) = mapped(bytes);
        let all = base..base + bytes;
        memory.fill(1);
        watch.register(&all).expect("our own mapping");
        watch.arm(all.clone()).expect("registered");
        let written = |watch: &mut Watch, rearm| {
            let mut pages = Vec::new();
            watch
                .written(all.clone(), rearm, |range| {
                    pages.extend(range.step_by(mem::PAGE).map(|at| (at - base) / mem::PAGE))
                })
                .expect("armed");
            pages
        };
        assert!(written(&mut watch, Rearm::No).is_empty());
        memory[5 * mem::PAGE] = 2;
        memory[63 * mem::PAGE + 7] = 2;
        assert_eq!(written(&mut watch, Rearm::No), [5, 63]);
        assert_eq!(written(&mut watch, Rearm::Yes), [5, 63]);
        assert!(written(&mut watch, Rearm::No).is_empty());
        watch.disarm(all.clone()).expect("registered");
        assert_eq!(written(&mut watch, Rearm::Yes).len(), 64);
        mem::discard(base + 9 * mem::PAGE, mem::PAGE).expect("ours");
        memory[9 * mem::PAGE] = 2;
        assert_eq!(written(&mut watch, Rearm::No), [9]);
        assert_eq!(written(&mut watch, Rearm::OfFew), [9]);
        assert!(written(&mut watch, Rearm::No).is_empty());
        mem::unmap(base, bytes);
    }
}
