//! What the loader has put into memory: the writable data of the program and its libraries, and where thread-local storage lies.

use std::ffi::c_void;
use std::ops::Range;

use crate::arch;

/// Something of a loaded object that may hold pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Writable data.
    Data(Range<usize>),
    /// The calling thread's thread-locals of the object, as offsets below and above the thread pointer. The same offsets in every thread, if the object was there when the
    /// program started.
    ThreadLocal(Range<isize>),
}

/// Farther than this from the thread pointer is not static thread-local storage: the loader keeps 1,664 bytes for late-comers beside what the program itself needs.
const STATIC_TLS_MOST: isize = 1 << 20;

/// Runs `work` while nothing can be loaded or unloaded. No other thread holds the loader's lock then either, so `work` may stop them all.
pub(crate) fn while_frozen(work: impl FnOnce()) {
    let mut once = Once { work: Some(Box::new(work)) };
    // SAFETY: `first_object` expects the Once that is passed.
    unsafe { libc::dl_iterate_phdr(Some(first_object), (&raw mut once).cast()) };
    // Without any object, which does not happen, there is nothing to freeze.
    once.run();
}

struct Once<'a> {
    work: Option<Box<dyn FnOnce() + 'a>>,
}

impl Once<'_> {
    fn run(&mut self) {
        if let Some(work) = self.work.take() {
            work();
        }
    }
}

unsafe extern "C" fn first_object(_: *mut libc::dl_phdr_info, _: usize, once: *mut c_void) -> i32 {
    // SAFETY: `while_frozen` passes it.
    unsafe { &mut *once.cast::<Once<'_>>() }.run();
    1
}

struct Walk<'a> {
    each: &'a mut dyn FnMut(Part),
}

/// Calls `each` for every part, under the loader's lock: it must not load, unload or stop anything.
pub(crate) fn for_each(mut each: impl FnMut(Part)) {
    let mut walk = Walk { each: &mut each };
    // SAFETY: `object` expects the Walk that is passed.
    unsafe { libc::dl_iterate_phdr(Some(object), (&raw mut walk).cast()) };
}

unsafe extern "C" fn object(info: *mut libc::dl_phdr_info, size: usize, walk: *mut c_void) -> i32 {
    // SAFETY: `for_each` passes it.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    // SAFETY: the loader passes a valid record.
    let info = unsafe { &*info };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader's table of that many headers.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    for header in headers {
        let bytes = header.p_memsz as usize;
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W != 0 {
            let start = info.dlpi_addr as usize + header.p_vaddr as usize;
            (walk.each)(Part::Data(start..start + bytes));
        }
        // Older loaders pass a shorter record, without the field.
        let has_tls = size >= std::mem::offset_of!(libc::dl_phdr_info, dlpi_tls_data) + size_of::<usize>();
        if header.p_type == libc::PT_TLS && has_tls && !info.dlpi_tls_data.is_null() {
            let start = (info.dlpi_tls_data as usize).wrapping_sub(arch::thread_pointer()) as isize;
            if start.abs() < STATIC_TLS_MOST {
                (walk.each)(Part::ThreadLocal(start..start + bytes as isize));
            }
        }
    }
    0
}

/// The mapping that an address lies in, if it is readable: from the kernel's table. Allocates nothing.
pub(crate) fn mapping_of(address: usize) -> Option<Range<usize>> {
    // SAFETY: a C string.
    let file = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return None;
    }
    let found = find_mapping(file, address);
    // SAFETY: ours, and not used any more.
    unsafe { libc::close(file) };
    found
}

fn find_mapping(file: i32, address: usize) -> Option<Range<usize>> {
    let mut buffer = [0_u8; 4096];
    let mut kept = 0;
    loop {
        let room = &mut buffer[kept..];
        // SAFETY: the buffer is writable for its length.
        let read = unsafe { libc::read(file, room.as_mut_ptr().cast(), room.len()) };
        let len = kept + usize::try_from(read).ok().filter(|read| *read > 0)?;
        let whole = buffer[..len].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = buffer[..whole].split(|byte| *byte == b'\n');
        if let Some(range) = lines.filter_map(parse_mapping).find(|range| range.contains(&address)) {
            return Some(range);
        }
        if whole == 0 {
            return None;
        }
        buffer.copy_within(whole..len, 0);
        kept = len - whole;
    }
}

/// `7f1200000000-7f1200021000 rw-p ..`
fn parse_mapping(line: &[u8]) -> Option<Range<usize>> {
    let line = std::str::from_utf8(line.get(..64.min(line.len()))?).ok()?;
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    rest.starts_with('r').then_some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    static DATA: AtomicUsize = AtomicUsize::new(7);
    std::thread_local!(static LOCAL: AtomicUsize = const { AtomicUsize::new(7) });

    #[test]
    fn an_address_is_in_its_mapping() {
        let local = 0_u8;
        for address in [&raw const local as usize, &raw const DATA as usize] {
            assert!(mapping_of(address).expect("mapped").contains(&address));
        }
        assert_eq!(mapping_of(16), None);
    }

    #[test]
    fn statics_and_thread_locals_are_found() {
        let data = &raw const DATA as usize;
        // In another thread than the one that asks: the offsets are the same there.
        let local = std::thread::spawn(|| {
            LOCAL.with(|local| {
                (std::ptr::from_ref(local) as usize).wrapping_sub(arch::thread_pointer()) as isize
            })
        });
        let local = local.join().expect("no panic");
        let (mut has_data, mut has_local) = (false, false);
        for_each(|part| match part {
            Part::Data(range) => has_data |= range.contains(&data),
            Part::ThreadLocal(range) => has_local |= range.contains(&local),
        });
        assert!(has_data);
        assert!(has_local);
    }
}
