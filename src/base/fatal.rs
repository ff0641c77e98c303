//! The end of the process: fixed text, no allocation, no formatting, no lock.

/// Writes `text` to standard error and aborts. For broken invariants of the runtime only.
macro_rules! fatal {
    ($text:literal) => {{ $crate::base::fatal::fatal_text($text.as_bytes()) }};
}
pub(crate) use fatal;

#[cold]
#[inline(never)]
pub(crate) fn fatal_text(text: &[u8]) -> ! {
    crate::sys::signal::write_stderr(text);
    crate::sys::signal::abort()
}

/// Aborts when it is dropped: stands in frames of the runtime that no panic may leave. [`std::mem::forget`] it on the
/// way out.
pub(crate) struct AbortGuard;

impl Drop for AbortGuard {
    fn drop(&mut self) {
        fatal!("greenroutine: fatal: a panic left a frame of the runtime\n");
    }
}
