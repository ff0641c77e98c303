//! [`Socket`]: a descriptor of std's, the source that its calls wait for, and its timeouts. Try, wait, try again.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::moment::Instant;
use crate::routine::Wait;
use crate::sched::park;
use crate::sched::source::Source;
use crate::sched::waitq::Outcome;
use crate::sys::clock;
use crate::sys::epoll::Direction;
use crate::sys::socket::{finish_connect, would_block};

/// No timeout, no deadline.
const NONE: u64 = u64::MAX;

/// See the file's documentation. Shared by the clones of a socket.
pub(super) struct Socket<S: AsFd> {
    /// None only while it is taken apart.
    inner: Option<S>,
    source: Arc<Source>,
    /// Nanoseconds a call may wait, by direction.
    timeouts: [AtomicU64; 2],
    /// Until when calls may wait, by direction.
    deadlines: [AtomicU64; 2],
    /// Calls give an error instead of waiting.
    is_nonblocking: AtomicBool,
}

impl<S: AsFd> Socket<S> {
    pub(super) fn new(inner: S) -> Arc<Self> {
        Arc::new(Self {
            inner: Some(inner),
            source: Source::new(),
            timeouts: [const { AtomicU64::new(NONE) }; 2],
            deadlines: [const { AtomicU64::new(NONE) }; 2],
            is_nonblocking: AtomicBool::new(false),
        })
    }

    /// What std makes of the descriptor, for all that does not wait.
    #[inline]
    pub(super) fn std(&self) -> &S {
        self.inner.as_ref().expect("taken by `into_inner` alone, which consumes the socket")
    }

    #[inline]
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.std().as_fd()
    }

    /// The descriptor, for who uses it otherwise.
    pub(super) fn into_inner(mut self) -> S {
        self.source.deregister(self.fd());
        self.inner.take().expect("nobody else takes it")
    }

    /// Calls until the call need not wait.
    #[inline]
    pub(super) fn attempt<T>(
        &self,
        direction: Direction,
        wait: Wait,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        park::pass_transfer();
        let mut until = None;
        loop {
            let seen = self.source.edges(direction);
            match call(self.fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.is_nonblocking.load(Ordering::Relaxed) {
                        return Err(error);
                    }
                }
                result => return result,
            }
            if let Err(error) = self.wait(direction, wait, seen, &mut until) {
                return last_try(error, || call(self.fd()));
            }
        }
    }

    /// As [`attempt`](Self::attempt), for reading up to `most` bytes of a stream that gives fewer only if there are no more: then the next one waits at once.
    #[inline]
    pub(super) fn attempt_to_drain(
        &self,
        most: usize,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        park::pass_transfer();
        let mut until = None;
        loop {
            let seen = self.source.edges(Direction::Read);
            if !self.source.is_drained(seen) || self.is_nonblocking.load(Ordering::Relaxed) {
                match call(self.fd()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if self.is_nonblocking.load(Ordering::Relaxed) {
                            return Err(error);
                        }
                    }
                    Ok(count) => {
                        if 0 < count && count < most {
                            self.source.set_drained(seen);
                        }
                        return Ok(count);
                    }
                    result => return result,
                }
            }
            if let Err(error) = self.wait(Direction::Read, Wait::NetRead, seen, &mut until) {
                return last_try(error, || call(self.fd()));
            }
        }
    }

    /// Waits for the next edge after `seen`, at most until the socket's limits; `until` is that of the timeout, once the call has begun to wait.
    fn wait(&self, direction: Direction, wait: Wait, seen: u32, until: &mut Option<u64>) -> io::Result<()> {
        let way = direction as usize;
        let until = *until.get_or_insert_with(|| match self.timeouts[way].load(Ordering::Relaxed) {
            NONE => NONE,
            nanos => clock::now_ns().saturating_add(nanos),
        });
        let deadline = self.deadlines[way].load(Ordering::Relaxed);
        match self.source.wait(self.fd(), direction, wait, seen, until.min(deadline))? {
            Outcome::TimedOut if deadline < until => Err(deadline_exceeded()),
            Outcome::TimedOut => Err(would_block()),
            Outcome::Cancelled => park::cancelled(),
            Outcome::Answered(_) | Outcome::Changed | Outcome::LookAgain => Ok(()),
        }
    }

    /// Waits for the end of a connect that has begun, at most until `deadline`.
    pub(super) fn finish_connect(&self, deadline: u64) -> io::Result<()> {
        loop {
            let seen = self.source.edges(Direction::Write);
            if finish_connect(self.fd())?.is_some() {
                return Ok(());
            }
            match self.source.wait(self.fd(), Direction::Write, Wait::Connect, seen, deadline)? {
                Outcome::TimedOut => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "connection timed out"));
                }
                Outcome::Cancelled => park::cancelled(),
                Outcome::Answered(_) | Outcome::Changed | Outcome::LookAgain => {}
            }
        }
    }

    /// Sets how long calls may wait.
    pub(super) fn set_timeout(&self, direction: Direction, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(zero_timeout());
        }
        let nanos = timeout.map_or(NONE, |t| u64::try_from(t.as_nanos()).unwrap_or(NONE));
        self.timeouts[direction as usize].store(nanos, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn timeout(&self, direction: Direction) -> Option<Duration> {
        let nanos = self.timeouts[direction as usize].load(Ordering::Relaxed);
        (nanos != NONE).then(|| Duration::from_nanos(nanos))
    }

    /// Sets until when calls may wait, the present ones too.
    pub(super) fn set_deadline(&self, direction: Direction, deadline: Option<Instant>) {
        let nanos = deadline.map_or(NONE, Instant::as_nanos);
        self.deadlines[direction as usize].store(nanos, Ordering::Relaxed);
        self.source.interrupt(direction);
    }

    pub(super) fn set_nonblocking(&self, is_nonblocking: bool) {
        self.is_nonblocking.store(is_nonblocking, Ordering::Relaxed);
    }

    pub(super) fn is_nonblocking(&self) -> bool {
        self.is_nonblocking.load(Ordering::Relaxed)
    }
}

impl<S: AsFd> Drop for Socket<S> {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            self.source.deregister(inner.as_fd());
        }
    }
}

/// The time is over, but what was waited for may have come since the last try: then it counts.
#[cold]
fn last_try<T>(error: io::Error, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match call() {
        Err(again) if again.kind() == io::ErrorKind::WouldBlock => Err(error),
        result => result,
    }
}

/// std's error for a timeout of zero.
pub(super) fn zero_timeout() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout")
}

fn deadline_exceeded() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the socket's deadline has passed")
}

/// The methods for timeouts and deadlines, of sockets that read and write.
macro_rules! timeouts {
    () => {
        /// Bounds how long each call that reads may wait; `None`: for ever. For all clones.
        ///
        /// # Errors
        ///
        /// If the timeout is zero.
        pub fn set_read_timeout(&self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
            self.socket.set_timeout(crate::sys::epoll::Direction::Read, timeout)
        }

        /// Bounds how long each call that writes may wait; `None`: for ever. For all clones.
        ///
        /// # Errors
        ///
        /// If the timeout is zero.
        pub fn set_write_timeout(&self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
            self.socket.set_timeout(crate::sys::epoll::Direction::Write, timeout)
        }

        /// What [`set_read_timeout`](Self::set_read_timeout) has set.
        pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
            Ok(self.socket.timeout(crate::sys::epoll::Direction::Read))
        }

        /// What [`set_write_timeout`](Self::set_write_timeout) has set.
        pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
            Ok(self.socket.timeout(crate::sys::epoll::Direction::Write))
        }

        /// Calls that read wait until `deadline` at most, then give [`TimedOut`](std::io::ErrorKind::TimedOut); `None`: no more. Bounds the calls too in which goroutines
        /// wait now (those of plain threads see it in their next call). For all clones.
        pub fn set_read_deadline(&self, deadline: Option<crate::time::Instant>) {
            self.socket.set_deadline(crate::sys::epoll::Direction::Read, deadline);
        }

        /// As [`set_read_deadline`](Self::set_read_deadline), for calls that write.
        pub fn set_write_deadline(&self, deadline: Option<crate::time::Instant>) {
            self.socket.set_deadline(crate::sys::epoll::Direction::Write, deadline);
        }
    };
}
pub(super) use timeouts;

/// The methods that all sockets have.
macro_rules! common {
    ($address:ty) => {
        /// The address it is bound to.
        pub fn local_addr(&self) -> std::io::Result<$address> {
            self.socket.std().local_addr()
        }

        /// Another handle of the same socket: what is set on one holds for both. Takes no descriptor, and never fails.
        pub fn try_clone(&self) -> std::io::Result<Self> {
            Ok(Self { socket: self.socket.clone() })
        }

        /// Takes the error that waits in the socket (`SO_ERROR`), if there is one.
        pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
            self.socket.std().take_error()
        }

        /// Whether calls that would wait give [`WouldBlock`](std::io::ErrorKind::WouldBlock) instead. For all clones.
        pub fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()> {
            self.socket.set_nonblocking(nonblocking);
            Ok(())
        }
    };
}
pub(super) use common;
