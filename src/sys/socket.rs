//! Sockets: sending and receiving without waiting, whatever mode the descriptor is in, and what std has no function for. Above it: `net`.
//!
//! `MSG_DONTWAIT` on each call instead of `O_NONBLOCK` on the descriptor: sockets from std and to std need no change of mode, and a duplicate that
//! somebody made by himself blocks as he expects. Only accepting and connecting have no such flag.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net as unix;
use std::path::Path;
use std::slice;

use socket2::{MaybeUninitSlice, Protocol, SockAddr, SockRef, Socket, Type};

/// Whether an error says that the descriptor limit is reached.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The error of a call that would have to wait, or has waited for too long: std's on this system.
pub(crate) fn would_block() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

/// Repeats a call that a signal interrupts.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A buffer as the calls want it.
fn uninit(buf: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    let (at, len) = (buf.as_mut_ptr().cast(), buf.len());
    // SAFETY: the same bytes, borrowed as long; socket2 promises to write initialized ones only.
    unsafe { slice::from_raw_parts_mut(at, len) }
}

/// What to do with what is received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Take it out.
    Out,
    /// Leave it there.
    Peek,
}

impl Take {
    fn flags(self) -> i32 {
        match self {
            Take::Out => libc::MSG_DONTWAIT,
            Take::Peek => libc::MSG_DONTWAIT | libc::MSG_PEEK,
        }
    }
}

/// Receives from a connected socket.
pub(crate) fn receive(fd: BorrowedFd<'_>, buf: &mut [u8], take: Take) -> io::Result<usize> {
    retry(|| SockRef::from(&fd).recv_with_flags(uninit(buf), take.flags()))
}

/// Receives from a connected socket into several buffers.
pub(crate) fn receive_vectored(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let (at, len) = (bufs.as_mut_ptr().cast::<MaybeUninitSlice<'_>>(), bufs.len());
    // SAFETY: both are `iovec` by their documentation; the bytes stay initialized as in `uninit`.
    let bufs = unsafe { slice::from_raw_parts_mut(at, len) };
    retry(|| SockRef::from(&fd).recv_vectored_with_flags(bufs, libc::MSG_DONTWAIT)).map(|(count, _)| count)
}

/// Receives a message, and from whom.
pub(crate) fn receive_from(fd: BorrowedFd<'_>, buf: &mut [u8], take: Take) -> io::Result<(usize, SockAddr)> {
    retry(|| SockRef::from(&fd).recv_from_with_flags(uninit(buf), take.flags()))
}

/// Sends to a connected socket.
pub(crate) fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    retry(|| SockRef::from(&fd).send_with_flags(buf, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL))
}

/// Sends several buffers to a connected socket.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    retry(|| SockRef::from(&fd).send_vectored_with_flags(bufs, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL))
}

/// Sends a message to an address.
pub(crate) fn send_to(fd: BorrowedFd<'_>, buf: &[u8], to: &SockAddr) -> io::Result<usize> {
    retry(|| SockRef::from(&fd).send_to_with_flags(buf, to, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL))
}

/// Accepts a connection of a listener that does not block.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let (socket, from) = retry(|| SockRef::from(&fd).accept())?;
    Ok((socket.into(), from))
}

/// A new stream socket for connections to `to`, and whether it is connected already; if not, it is ready to write when it is, or has failed
/// ([`finish_connect`]). It does not block until then.
pub(crate) fn begin_connect(to: &SockAddr) -> io::Result<(OwnedFd, bool)> {
    let protocol = (to.is_ipv4() || to.is_ipv6()).then_some(Protocol::TCP);
    let socket = Socket::new(to.domain(), Type::STREAM.nonblocking(), protocol)?;
    let is_connected = match socket.connect(to) {
        Ok(()) => true,
        // The connection goes on by itself, after a signal as well.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => false,
        Err(error) => return Err(error),
    };
    if is_connected {
        set_nonblocking(&socket, false)?;
    }
    Ok((socket.into(), is_connected))
}

/// Ends what [`begin_connect`] has begun: the error, if there was one. `None`: it is not through yet.
pub(crate) fn finish_connect(fd: BorrowedFd<'_>) -> io::Result<Option<()>> {
    let socket = SockRef::from(&fd);
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => set_nonblocking(fd, false).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the descriptor's calls return instead of waiting, for those that have no flag for it.
pub(crate) fn set_nonblocking(fd: impl AsFd, nonblocking: bool) -> io::Result<()> {
    let value = libc::c_int::from(nonblocking);
    // One call where `fcntl` needs two.
    // SAFETY: FIONBIO reads one integer.
    match unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONBIO, &raw const value) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A listener on an address, as std makes it, that does not block.
pub(crate) fn listen(on: SocketAddr) -> io::Result<OwnedFd> {
    let on = SockAddr::from(on);
    let socket = Socket::new(on.domain(), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&on)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// How many connections may wait to be accepted: the kernel lowers it to `net.core.somaxconn`. (std has 128, which a storm of connections fills in a
/// millisecond; the next ones wait for a second then.)
const BACKLOG: i32 = 4096;

/// Makes a bound socket accept connections, without blocking.
pub(crate) fn relisten(fd: impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(&fd);
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)
}

/// How long a closed socket keeps its unsent bytes (`SO_LINGER`).
pub(crate) fn set_linger(fd: BorrowedFd<'_>, linger: Option<std::time::Duration>) -> io::Result<()> {
    SockRef::from(&fd).set_linger(linger)
}

/// As [`set_linger`].
pub(crate) fn linger(fd: BorrowedFd<'_>) -> io::Result<Option<std::time::Duration>> {
    SockRef::from(&fd).linger()
}

/// An address as the calls want it.
pub(crate) fn of_unix(address: &unix::SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return SockAddr::unix(path);
    }
    match address.as_abstract_name() {
        Some(name) => SockAddr::unix(OsStr::from_bytes(&[&[0], name].concat())),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket without a name has no address")),
    }
}

/// An address of a Unix socket as std shows it.
pub(crate) fn unix_address(address: &SockAddr) -> io::Result<unix::SocketAddr> {
    match address.as_abstract_namespace() {
        Some(name) => unix::SocketAddr::from_abstract_name(name),
        // A path of no length is std's address of a socket without a name.
        None => unix::SocketAddr::from_pathname(address.as_pathname().unwrap_or(Path::new(""))),
    }
}
