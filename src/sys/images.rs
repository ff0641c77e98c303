//! The program and its libraries as they are loaded: where their code is, and how to unwind from there.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::slice;

/// The program, or a library.
pub(crate) struct Image {
    /// Where it lies, from its first to its last segment.
    pub(crate) range: Range<u64>,
    /// What is added to the addresses that its file states.
    pub(crate) base: u64,
    /// `.eh_frame_hdr`: where it is by the file, and its contents.
    pub(crate) index: (Range<u64>, &'static [u8]),
    /// `.eh_frame`, to the end of its segment.
    pub(crate) frames: (Range<u64>, &'static [u8]),
}

/// How often an image was loaded or unloaded, and all that have tables for unwinding. An image that is unloaded while somebody uses what was returned here is an error of who unloads it: goroutines that are inside.
pub(crate) fn all() -> (u64, Vec<Image>) {
    let mut found = (0, Vec::new());
    // SAFETY: the callback has the type that is asked for, and `data` is what it expects.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut found).cast()) };
    found
}

/// # Safety
///
/// - Called by `dl_iterate_phdr` with the pointer that `all` has passed.
unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: valid during the callback.
    let info = unsafe { &*info };
    // SAFETY: from `all`, which waits for the end of the iteration.
    let found = unsafe { &mut *data.cast::<(u64, Vec<Image>)>() };
    // Those of two libcs have them; the count only ever grows.
    found.0 = info.dlpi_adds + info.dlpi_subs;
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader's own table of the image, valid during the callback.
    let segments = unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    found.1.extend(image(info.dlpi_addr, segments));
    0
}

fn image(base: u64, segments: &[libc::Elf64_Phdr]) -> Option<Image> {
    let loaded = || segments.iter().filter(|segment| segment.p_type == libc::PT_LOAD);
    let start = loaded().map(|segment| segment.p_vaddr).min()?;
    let end = loaded().map(|segment| segment.p_vaddr + segment.p_memsz).max()?;
    let header = segments.iter().find(|segment| segment.p_type == libc::PT_GNU_EH_FRAME)?;
    let index_range = header.p_vaddr..header.p_vaddr + header.p_memsz;
    let index = contents(base, &index_range, loaded())?;
    // Version 1, and the pointer relative to itself in four bytes: what every linker writes.
    let [1, 0x1b, _, _, a, b, c, d, ..] = *index else { return None };
    let at = (header.p_vaddr + 4).wrapping_add_signed(i32::from_ne_bytes([a, b, c, d]).into());
    let segment = loaded().find(|s| (s.p_vaddr..s.p_vaddr + s.p_filesz).contains(&at))?;
    let frames_range = at..segment.p_vaddr + segment.p_filesz;
    let frames = contents(base, &frames_range, loaded())?;
    Some(Image {
        range: base + start..base + end,
        base,
        index: (index_range, index),
        frames: (frames_range, frames),
    })
}

/// What is loaded at a range of the file's addresses, if all of it is from the file and may be read.
fn contents<'a>(
    base: u64,
    range: &Range<u64>,
    mut loaded: impl Iterator<Item = &'a libc::Elf64_Phdr>,
) -> Option<&'static [u8]> {
    let is_inside = |s: &&libc::Elf64_Phdr| {
        s.p_flags & libc::PF_R != 0
            && s.p_flags & libc::PF_W == 0
            && s.p_vaddr <= range.start
            && range.end <= s.p_vaddr + s.p_filesz
    };
    loaded.find(is_inside)?;
    // SAFETY: in a segment that the loader has mapped for reading only, so it is there and does not change, as long as the image is loaded (`all`).
    Some(unsafe {
        slice::from_raw_parts((base + range.start) as *const u8, (range.end - range.start) as usize)
    })
}
