//! Reading files without waiting for the disk.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Reads at the file's position what is in memory already. `None`: nothing is, or the system cannot tell.
pub(crate) fn read_cached(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Option<usize> {
    let part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: one writable buffer that lives through the call; -1 is the file's own position.
    let count = unsafe { libc::preadv2(fd.as_raw_fd(), &raw const part, 1, -1, libc::RWF_NOWAIT) };
    // Whatever is wrong, an ordinary read will say.
    usize::try_from(count).ok()
}
