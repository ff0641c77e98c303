//! See `mod`. With the feature `backtrace`.

use std::ffi::c_void;
use std::sync::Mutex;

use framehop::{
    AllocationPolicy, CacheNative, ExplicitModuleSectionInfo, Module, MustNotAllocateDuringUnwind,
    UnwindRegsNative, Unwinder, UnwinderNative,
};

use super::Symbol;
use crate::arch;
use crate::sys::{images, mem};

/// What [`capture`] uses: it may be inside an allocation, so it neither allocates nor asks the loader.
struct Prepared {
    /// How often an image was loaded or unloaded.
    loads: u64,
    unwinder: UnwinderNative<&'static [u8], MustNotAllocateDuringUnwind>,
    cache: CacheNative<MustNotAllocateDuringUnwind>,
}

/// Bytes of a stack that are read at once. They lie in one page.
const BLOCK: usize = 512;

static PREPARED: Mutex<Option<Prepared>> = Mutex::new(None);

/// The unwinder for all images that are loaded now, and how often one was loaded or unloaded; none if that is `known`.
pub(crate) fn unwinder<P: AllocationPolicy>(
    known: Option<u64>,
) -> Option<(u64, UnwinderNative<&'static [u8], P>)> {
    let (loads, images) = images::all();
    (Some(loads) != known).then(|| {
        let mut unwinder = UnwinderNative::new();
        images.into_iter().for_each(|image| unwinder.add_module(module(image)));
        (loads, unwinder)
    })
}

/// Gets ready for [`capture`], with the images that are loaded now.
pub(crate) fn prepare() {
    let lock = || PREPARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let known = lock().as_ref().map(|prepared| prepared.loads);
    let Some((loads, unwinder)) = unwinder(known) else { return };
    let fresh = Prepared { loads, unwinder, cache: CacheNative::new_in() };
    // Nothing is allocated or freed under the lock.
    let old = lock().replace(fresh);
    drop(old);
}

/// The code addresses of the caller's frames, the innermost first, on a stack that ends at `top`. Returns how many. In images that were loaded after [`prepare`] it finds no more.
///
/// One caller at a time: others find none.
#[inline(never)]
pub(crate) fn capture(into: &mut [u64], top: usize) -> usize {
    let Ok(mut prepared) = PREPARED.try_lock() else { return 0 };
    let Some(prepared) = prepared.as_mut() else { return 0 };
    let [pc, sp, fp] = arch::here();
    let mut block = [0; BLOCK];
    let mut from = 0;
    // By the kernel, because the tables may be wrong, or the stack another library's: what is not there is not read.
    let mut read = |at: u64| {
        let at = at as usize;
        if at < sp || !at.is_multiple_of(8) || at >= top {
            return Err(());
        }
        if from != at / BLOCK * BLOCK {
            from = 0;
            if !mem::read_own(at / BLOCK * BLOCK, &mut block) {
                return Err(());
            }
            from = at / BLOCK * BLOCK;
        }
        let word = block[at - from..].first_chunk().ok_or(())?;
        Ok(u64::from_ne_bytes(*word))
    };
    let registers = registers(pc as u64, sp as u64, fp as u64);
    let mut frames = prepared.unwinder.iter_frames(pc as u64, registers, &mut prepared.cache, &mut read);
    let mut count = 0;
    while let (Some(place), Ok(Some(frame))) = (into.get_mut(count), frames.next()) {
        *place = frame.address_for_lookup();
        count += 1;
    }
    count
}

fn module(image: images::Image) -> Module<&'static [u8]> {
    let info = ExplicitModuleSectionInfo {
        base_svma: 0,
        eh_frame_hdr_svma: Some(image.index.0),
        eh_frame_hdr: Some(image.index.1),
        eh_frame_svma: Some(image.frames.0),
        eh_frame: Some(image.frames.1),
        ..ExplicitModuleSectionInfo::default()
    };
    Module::new(String::new(), image.range, image.base, info)
}

/// What unwinding begins with.
#[cfg(target_arch = "x86_64")]
pub(crate) fn registers(pc: u64, sp: u64, fp: u64) -> UnwindRegsNative {
    UnwindRegsNative::new(pc, sp, fp)
}

/// What unwinding begins with.
#[cfg(target_arch = "aarch64")]
pub(crate) fn registers(pc: u64, sp: u64, fp: u64) -> UnwindRegsNative {
    // The link register is of no use in the middle of a function: that has saved it.
    UnwindRegsNative::new(pc, sp, fp)
}

/// The functions at an address, the inner ones first, with their places.
pub(super) fn names(address: u64) -> Vec<Symbol> {
    let mut out = Vec::new();
    let address = std::ptr::without_provenance_mut::<c_void>(address as usize);
    backtrace::resolve(address, |symbol| {
        let function = symbol.name().map_or_else(|| String::from("?"), |name| format!("{name:#}"));
        let file = symbol.filename().map(|file| file.display().to_string());
        out.push(Symbol { function, file, line: symbol.lineno() });
    });
    out
}
