//! Sockets with paths for addresses: [`UnixListener`], [`UnixStream`], [`UnixDatagram`].
#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use super::socket::{Socket, common, timeouts};
use super::spare;
use super::tcp::by_value;
use crate::moment::Instant;
use crate::routine::Wait;
use crate::sched::blocking;
use crate::sys::epoll::Direction::{Read as Reading, Write as Writing};
use crate::sys::socket::{self, Take};

/// A Unix socket that accepts connections: [`std::os::unix::net::UnixListener`], where waiting parks the goroutine.
pub struct UnixListener {
    pub(super) socket: Arc<Socket<net::UnixListener>>,
}

impl UnixListener {
    pub(super) fn of(inner: net::UnixListener) -> Self {
        spare::keep();
        Self { socket: Socket::new(inner) }
    }

    /// A listener on a path, at which there must be nothing yet. The path stays when the listener is dropped.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::of_std(net::UnixListener::bind(path)?)
    }

    /// A listener on an address.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        Self::of_std(net::UnixListener::bind_addr(address)?)
    }

    fn of_std(inner: net::UnixListener) -> io::Result<Self> {
        socket::relisten(&inner)?;
        Ok(Self::of(inner))
    }

    /// Waits for a connection.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::accept`](super::TcpListener::accept).
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.socket.attempt(Reading, Wait::Accept, |fd| match socket::accept(fd) {
            Ok((stream, from)) => Ok((UnixStream::of(stream.into()), socket::unix_address(&from)?)),
            Err(error) if socket::is_out_of_descriptors(&error) => Err(spare::shed(fd, error)),
            Err(error) => Err(error),
        })
    }

    /// The connections, one after the other; never ends.
    pub fn incoming(&self) -> UnixIncoming<'_> {
        UnixIncoming { listener: self }
    }

    /// Calls to `accept` wait until `deadline` at most, then give [`TimedOut`](io::ErrorKind::TimedOut); `None`: no more. For all clones.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.socket.set_deadline(Reading, deadline);
    }

    common!(SocketAddr);
}

/// The connections of a [`UnixListener`].
#[derive(Debug)]
#[must_use = "an iterator does nothing by itself"]
pub struct UnixIncoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for UnixIncoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for UnixIncoming<'_> {}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = UnixIncoming<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.incoming()
    }
}

/// A connection between Unix sockets: [`std::os::unix::net::UnixStream`], where waiting parks the goroutine. One may read while another writes.
///
/// # Examples
///
/// ```
/// use greenroutine::net::UnixStream;
/// use std::io::{Read, Write};
///
/// greenroutine::run(|| {
///     let (mut a, mut b) = UnixStream::pair().unwrap();
///     let reader = greenroutine::go(move || {
///         let mut text = String::new();
///         b.read_to_string(&mut text).map(|_| text)
///     });
///     a.write_all(b"to the end").unwrap();
///     drop(a);
///     assert_eq!(reader.join().unwrap().unwrap(), "to the end");
/// });
/// ```
pub struct UnixStream {
    pub(super) socket: Arc<Socket<net::UnixStream>>,
}

impl UnixStream {
    pub(super) fn of(inner: net::UnixStream) -> Self {
        Self { socket: Socket::new(inner) }
    }

    /// A connection to the listener at a path.
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// A connection to the listener at an address.
    pub fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        match socket::begin_connect(&socket::of_unix(address)?) {
            Ok((fd, true)) => Ok(Self::of(fd.into())),
            Ok((fd, false)) => {
                let stream = Self::of(fd.into());
                stream.socket.finish_connect(u64::MAX)?;
                Ok(stream)
            }
            // The listener has as many connections waiting as it may have. No event will tell when that is over.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                blocking::run(|| net::UnixStream::connect_addr(address)).map(Self::of)
            }
            Err(error) => Err(error),
        }
    }

    /// Two sockets that are connected with each other.
    pub fn pair() -> io::Result<(Self, Self)> {
        net::UnixStream::pair().map(|(a, b)| (Self::of(a), Self::of(b)))
    }

    /// The address of the other side.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.std().peer_addr()
    }

    /// Ends one direction of the connection or both. Calls that wait in it return.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.std().shutdown(how)
    }

    timeouts!();
    common!(SocketAddr);
}

impl Read for &UnixStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.socket.attempt(Reading, Wait::NetRead, |fd| socket::receive(fd, buf, Take::Out))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        self.socket.attempt(Reading, Wait::NetRead, |fd| socket::receive_vectored(fd, bufs))
    }
}

impl Write for &UnixStream {
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

by_value!(UnixStream);

/// A Unix socket for messages: [`std::os::unix::net::UnixDatagram`], where waiting parks the goroutine.
pub struct UnixDatagram {
    pub(super) socket: Arc<Socket<net::UnixDatagram>>,
}

impl UnixDatagram {
    pub(super) fn of(inner: net::UnixDatagram) -> Self {
        Self { socket: Socket::new(inner) }
    }

    /// A socket at a path, at which there must be nothing yet.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        net::UnixDatagram::bind(path).map(Self::of)
    }

    /// A socket at an address.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        net::UnixDatagram::bind_addr(address).map(Self::of)
    }

    /// A socket without an address.
    pub fn unbound() -> io::Result<Self> {
        net::UnixDatagram::unbound().map(Self::of)
    }

    /// Two sockets that are connected with each other.
    pub fn pair() -> io::Result<(Self, Self)> {
        net::UnixDatagram::pair().map(|(a, b)| (Self::of(a), Self::of(b)))
    }

    /// Sends to, and receives from, the socket at a path from now on.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.socket.std().connect(path)
    }

    /// As [`connect`](Self::connect), to an address.
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.socket.std().connect_addr(address)
    }

    /// Receives a message and its sender's address. What the buffer has no room for is lost.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let receive = |fd: std::os::fd::BorrowedFd<'_>| socket::receive_from(fd, buf, Take::Out);
        let (len, from) = self.socket.attempt(Reading, Wait::NetRead, receive)?;
        Ok((len, socket::unix_address(&from)?))
    }

    /// Receives a message.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.attempt(Reading, Wait::NetRead, |fd| socket::receive(fd, buf, Take::Out))
    }

    /// Sends a message to the socket at a path.
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_addr(buf, &SocketAddr::from_pathname(path)?)
    }

    /// Sends a message to an address.
    pub fn send_to_addr(&self, buf: &[u8], address: &SocketAddr) -> io::Result<usize> {
        // That the receiver has room again is no event of the sender's, unless they are connected: std's blocking call waits on the receiver.
        let to = socket::of_unix(address)?;
        match socket::send_to(self.socket.fd(), buf, &to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.socket.is_nonblocking() => {
                blocking::run(|| self.socket.std().send_to_addr(buf, address))
            }
            result => result,
        }
    }

    /// Sends a message to the address it is connected to.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.attempt(Writing, Wait::NetWrite, |fd| socket::send(fd, buf))
    }

    /// The address it is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.std().peer_addr()
    }

    /// Ends one direction or both. Calls that wait in it return.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.std().shutdown(how)
    }

    timeouts!();
    common!(SocketAddr);
}
