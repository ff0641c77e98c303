//! Readiness of descriptors: an epoll instance with a descriptor that wakes who waits in it, and `poll` for one descriptor.
//!
//! Raw epoll and not a library's: a worker's sleep is also its timers' wait, in nanoseconds (`epoll_pwait2`), where mio's waits count milliseconds and `polling`
//! keeps a timer descriptor that costs two system calls a sleep.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::clock;

/// Names a descriptor to its poller; `u64::MAX` is the waking descriptor's.
pub(crate) type Token = u64;

const WAKE: Token = u64::MAX;
/// How many events one wait takes.
const BATCH: usize = 128;
/// How many nanoseconds a millisecond has.
const MS: u64 = 1_000_000;

/// What happened to a descriptor, from bits of `EPOLL*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) token: Token,
    bits: u32,
}

impl Event {
    /// Reading will not wait: data, the end, or an error.
    pub(crate) fn is_readable(self) -> bool {
        self.has(libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI)
    }

    /// Writing will not wait.
    pub(crate) fn is_writable(self) -> bool {
        self.has(libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR)
    }

    /// The end or an error or urgent data is there, of which no further event tells.
    pub(crate) fn is_last(self) -> bool {
        self.has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI)
    }

    fn has(self, bits: i32) -> bool {
        self.bits & bits as u32 != 0
    }
}

/// What one wait has told.
pub(crate) struct Events {
    /// The first `count` are written.
    buffer: [MaybeUninit<libc::epoll_event>; BATCH],
    count: usize,
}

impl Events {
    /// Nothing.
    pub(crate) fn new() -> Self {
        Self { buffer: [const { MaybeUninit::uninit() }; BATCH], count: 0 }
    }

    /// How many there are, the waking descriptor's included.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The events, without the waking descriptor's.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Event> {
        let written = self.buffer[..self.count].iter();
        // SAFETY: the kernel has written the first `count`.
        let all = written.map(|event| unsafe { event.assume_init() });
        all.filter(|event| event.u64 != WAKE).map(|event| Event { token: event.u64, bits: event.events })
    }
}

/// An epoll instance. Descriptors are registered edge-triggered, for both directions at once: one system call a descriptor and none a wait.
pub(crate) struct Epoll {
    fd: OwnedFd,
    wake: OwnedFd,
    /// Cleared when the kernel turns out to be older than 5.11: timeouts are rounded up to milliseconds then.
    has_nanoseconds: AtomicBool,
}

/// The descriptor that a system call has just made, or its error.
fn owned(result: i32) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

impl Epoll {
    /// A new instance: two descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes an integer.
        let fd = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: takes integers.
        let wake = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let this = Self { fd, wake, has_nanoseconds: AtomicBool::new(true) };
        // Edge-triggered: each write counts as an event, and nobody has to read.
        this.control(libc::EPOLL_CTL_ADD, this.wake.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, WAKE)?;
        Ok(this)
    }

    fn control(&self, operation: i32, fd: i32, bits: i32, token: Token) -> io::Result<()> {
        let mut event = libc::epoll_event { events: bits as u32, u64: token };
        // SAFETY: the event is readable for the duration of the call.
        match unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Registers a descriptor for all events. If it is ready now, an event follows.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        let bits = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET;
        let fd = fd.as_raw_fd();
        match self.control(libc::EPOLL_CTL_ADD, fd, bits, token) {
            // A duplicate that had this number was registered and then closed by somebody else than us.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, fd, bits, token)
            }
            result => result,
        }
    }

    /// Takes a descriptor out. That it is not in is no error.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd.as_raw_fd(), 0, 0);
    }

    /// Ends the present or else the next wait.
    pub(crate) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight readable bytes.
        unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Waits for events until `deadline` (0: not at all; `u64::MAX`: for ever). There are none at the deadline, or earlier for no reason.
    pub(crate) fn wait(&self, events: &mut Events, deadline: u64) {
        events.count = self.wait_raw(&mut events.buffer, deadline);
    }

    fn wait_raw(&self, buffer: &mut [MaybeUninit<libc::epoll_event>; BATCH], deadline: u64) -> usize {
        let left = if deadline == 0 { 0 } else { deadline.saturating_sub(clock::now_ns()) };
        let (fd, out) = (self.fd.as_raw_fd(), buffer.as_mut_ptr().cast::<libc::epoll_event>());
        // Without a timeout, and without waiting, the old call says the same.
        let is_plain = deadline == u64::MAX || left == 0;
        if !is_plain && self.has_nanoseconds.load(Ordering::Relaxed) {
            let timeout = libc::timespec {
                tv_sec: (left / 1_000_000_000) as libc::time_t,
                tv_nsec: (left % 1_000_000_000) as libc::c_long,
            };
            // SAFETY: room for BATCH events; the timeout is read during the call; no signal mask.
            let count = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    fd,
                    out,
                    BATCH,
                    &raw const timeout,
                    ptr::null::<libc::sigset_t>(),
                    0_usize,
                )
            };
            let refused = count < 0
                && matches!(
                    io::Error::last_os_error().raw_os_error(),
                    Some(libc::ENOSYS | libc::EPERM | libc::EINVAL)
                );
            if !refused {
                return count.max(0) as usize;
            }
            self.has_nanoseconds.store(false, Ordering::Relaxed);
        }
        let timeout = if deadline == u64::MAX { -1 } else { left.div_ceil(MS).min(i32::MAX as u64) as i32 };
        // SAFETY: room for BATCH events.
        let count = unsafe { libc::epoll_wait(fd, out, BATCH as i32, timeout) };
        count.max(0) as usize
    }
}

/// A way that bytes go through a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read = 0,
    Write = 1,
}

/// Blocks the thread until the descriptor is ready in that direction, or until `deadline`; false at the deadline.
pub(crate) fn wait_for_one(fd: BorrowedFd<'_>, direction: Direction, deadline: u64) -> io::Result<bool> {
    let events = match direction {
        Direction::Read => libc::POLLIN | libc::POLLRDHUP,
        Direction::Write => libc::POLLOUT,
    };
    loop {
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
        let left = deadline.saturating_sub(clock::now_ns());
        let timeout = libc::timespec {
            tv_sec: (left / 1_000_000_000) as libc::time_t,
            tv_nsec: (left % 1_000_000_000) as libc::c_long,
        };
        let timeout = if deadline == u64::MAX { ptr::null() } else { &raw const timeout };
        // SAFETY: one pollfd, writable, and a timespec that lives through the call; no signal mask.
        let count = unsafe { libc::ppoll(&mut poll, 1, timeout, ptr::null()) };
        match count {
            0 => return Ok(false),
            1.. => return Ok(true),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
