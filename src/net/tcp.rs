//! [`TcpListener`] and [`TcpStream`].
#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::address::{ToSocketAddrs, first};
use super::socket::{Socket, common, timeouts, zero_timeout};
use super::spare;
use crate::moment::Instant;
use crate::routine::Wait;
use crate::sys::clock;
use crate::sys::epoll::Direction::{Read as Reading, Write as Writing};
use crate::sys::socket::{self, Take};

/// A TCP socket that accepts connections: [`std::net::TcpListener`], where waiting parks the goroutine.
///
/// # Examples
///
/// ```
/// use greenroutine::net::{TcpListener, TcpStream};
///
/// greenroutine::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let address = listener.local_addr().unwrap();
///     let client = greenroutine::go(move || TcpStream::connect(address).unwrap().local_addr().unwrap());
///     let (_stream, from) = listener.accept().unwrap();
///     assert_eq!(client.join().unwrap(), from);
/// });
/// ```
pub struct TcpListener {
    pub(super) socket: Arc<Socket<net::TcpListener>>,
}

impl TcpListener {
    pub(super) fn of(inner: net::TcpListener) -> Self {
        spare::keep();
        Self { socket: Socket::new(inner) }
    }

    /// A listener on the first of the addresses that it can have. Port 0 is any free one: see [`local_addr`](Self::local_addr).
    ///
    /// Of the connections that wait to be accepted the system keeps 4096, or as many as it allows.
    ///
    /// # Errors
    ///
    /// If no address can be had, the error of the last.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        first(addr, |address| socket::listen(address).map(|fd| Self::of(fd.into())))
    }

    /// Waits for a connection.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left and a connection waits, that one is closed, so that its client need not wait for nothing, and the error says that there is no
    /// descriptor (`EMFILE`, `ENFILE`). The listener stays usable, as it does after the errors of single connections.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.attempt(Reading, Wait::Accept, |fd| match socket::accept(fd) {
            Ok((stream, from)) => {
                let from = from.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
                Ok((TcpStream::of(stream.into()), from))
            }
            Err(error) if socket::is_out_of_descriptors(&error) => Err(spare::shed(fd, error)),
            Err(error) => Err(error),
        })
    }

    /// The connections, one after the other; never ends.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Calls to `accept` wait until `deadline` at most, then give [`TimedOut`](io::ErrorKind::TimedOut); `None`: no more. As Go's `SetDeadline`. For all clones.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.socket.set_deadline(Reading, deadline);
    }

    /// Sets the time to live of its packets (`IP_TTL`).
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.std().set_ttl(ttl)
    }

    /// The time to live of its packets.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.std().ttl()
    }

    common!(SocketAddr);
}

/// The connections of a [`TcpListener`].
#[derive(Debug)]
#[must_use = "an iterator does nothing by itself"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for Incoming<'_> {}

/// A TCP connection: [`std::net::TcpStream`], where waiting parks the goroutine. One may read while another writes.
///
/// Dropping the last clone closes the connection.
pub struct TcpStream {
    pub(super) socket: Arc<Socket<net::TcpStream>>,
}

impl TcpStream {
    pub(super) fn of(inner: net::TcpStream) -> Self {
        Self { socket: Socket::new(inner) }
    }

    fn connect_until(address: SocketAddr, deadline: u64) -> io::Result<Self> {
        let (fd, is_connected) = socket::begin_connect(&address.into())?;
        let stream = Self::of(fd.into());
        if !is_connected {
            stream.socket.finish_connect(deadline)?;
        }
        Ok(stream)
    }

    /// A connection to the first of the addresses that takes it. Names are looked up on the blocking pool.
    ///
    /// # Errors
    ///
    /// If no address does, the error of the last.
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        first(addr, |address| Self::connect_until(address, u64::MAX))
    }

    /// A connection to that address, within `timeout`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) if it takes longer; [`InvalidInput`](io::ErrorKind::InvalidInput) if the timeout is zero.
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<Self> {
        if timeout.is_zero() {
            return Err(zero_timeout());
        }
        Self::connect_until(*addr, clock::deadline_after(timeout))
    }

    /// The address of the other side.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.std().peer_addr()
    }

    /// Ends one direction of the connection or both. Calls that wait in it return.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.std().shutdown(how)
    }

    /// Receives without taking out: the next read gets the same bytes.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.socket.attempt(Reading, Wait::NetRead, |fd| socket::receive(fd, buf, Take::Peek))
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.std().set_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.std().nodelay()
    }

    /// Sets the time to live of its packets (`IP_TTL`).
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.std().set_ttl(ttl)
    }

    /// The time to live of its packets.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.std().ttl()
    }

    /// How long bytes that were not sent stay when the connection is closed (`SO_LINGER`). With `Some` closing blocks the thread until they are sent or the time is over;
    /// `Some(0)` throws them away and resets the connection.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        socket::set_linger(self.socket.fd(), linger)
    }

    /// What [`set_linger`](Self::set_linger) has set.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        socket::linger(self.socket.fd())
    }

    timeouts!();
    common!(SocketAddr);
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.socket.attempt_to_drain(buf.len(), |fd| socket::receive(fd, buf, Take::Out))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let most = bufs.iter().map(|buf| buf.len()).sum();
        if most == 0 {
            return Ok(0);
        }
        self.socket.attempt_to_drain(most, |fd| socket::receive_vectored(fd, bufs))
    }
}

impl Write for &TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.attempt(Writing, Wait::NetWrite, |fd| socket::send(fd, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.attempt(Writing, Wait::NetWrite, |fd| socket::send_vectored(fd, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream by value reads and writes as one by reference does.
macro_rules! by_value {
    ($type:ty) => {
        impl std::io::Read for $type {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                (&*self).read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        impl std::io::Write for $type {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}
pub(super) use by_value;

by_value!(TcpStream);
