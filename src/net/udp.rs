//! [`UdpSocket`].
#![forbid(unsafe_code)]

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::address::{ToSocketAddrs, first};
use super::socket::{Socket, common, timeouts};
use crate::routine::Wait;
use crate::sys::epoll::Direction::{Read as Reading, Write as Writing};
use crate::sys::socket::{self, Take};

/// A UDP socket: [`std::net::UdpSocket`], where waiting parks the goroutine.
///
/// # Examples
///
/// ```
/// use greenroutine::net::UdpSocket;
///
/// greenroutine::run(|| {
///     let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
///     a.send_to(b"hello", b.local_addr().unwrap()).unwrap();
///     let mut buf = [0; 16];
///     let (len, from) = b.recv_from(&mut buf).unwrap();
///     assert_eq!((&buf[..len], from), (&b"hello"[..], a.local_addr().unwrap()));
/// });
/// ```
pub struct UdpSocket {
    pub(super) socket: Arc<Socket<net::UdpSocket>>,
}

/// Options that std's type has the same methods for.
macro_rules! options {
    ($($(#[$doc:meta])* $set:ident, $get:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $set(&self, value: $type) -> io::Result<()> {
                self.socket.std().$set(value)
            }

            #[doc = concat!("What [`", stringify!($set), "`](Self::", stringify!($set), ") has set.")]
            pub fn $get(&self) -> io::Result<$type> {
                self.socket.std().$get()
            }
        )*
    };
}

impl UdpSocket {
    pub(super) fn of(inner: net::UdpSocket) -> Self {
        Self { socket: Socket::new(inner) }
    }

    /// A socket on the first of the addresses that it can have. Port 0 is any free one.
    ///
    /// # Errors
    ///
    /// If no address can be had, the error of the last.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        first(addr, |address| net::UdpSocket::bind(address).map(Self::of))
    }

    /// Sends and receives with one address only from now on: the first that can be used.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        first(addr, |address| self.socket.std().connect(address))
    }

    /// Receives a message and its sender's address. What the buffer has no room for is lost.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buf, Take::Out)
    }

    /// As [`recv_from`](Self::recv_from), without taking the message out.
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buf, Take::Peek)
    }

    fn receive_from(&self, buf: &mut [u8], take: Take) -> io::Result<(usize, SocketAddr)> {
        let (len, from) =
            self.socket.attempt(Reading, Wait::NetRead, |fd| socket::receive_from(fd, buf, take))?;
        let from = from.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok((len, from))
    }

    /// Sends a message to the first of the addresses.
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(to) = addr.resolve()?.first().copied() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to"));
        };
        let to = to.into();
        self.socket.attempt(Writing, Wait::NetWrite, |fd| socket::send_to(fd, buf, &to))
    }

    /// Receives a message from the address it is connected to.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.attempt(Reading, Wait::NetRead, |fd| socket::receive(fd, buf, Take::Out))
    }

    /// As [`recv`](Self::recv), without taking the message out.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.attempt(Reading, Wait::NetRead, |fd| socket::receive(fd, buf, Take::Peek))
    }

    /// Sends a message to the address it is connected to.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.attempt(Writing, Wait::NetWrite, |fd| socket::send(fd, buf))
    }

    /// The address it is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.std().peer_addr()
    }

    options! {
        /// Whether it may send to broadcast addresses (`SO_BROADCAST`).
        set_broadcast, broadcast: bool;
        /// Whether multicast messages come back to this host (`IP_MULTICAST_LOOP`).
        set_multicast_loop_v4, multicast_loop_v4: bool;
        /// The time to live of multicast messages (`IP_MULTICAST_TTL`).
        set_multicast_ttl_v4, multicast_ttl_v4: u32;
        /// Whether multicast messages come back to this host (`IPV6_MULTICAST_LOOP`).
        set_multicast_loop_v6, multicast_loop_v6: bool;
        /// The time to live of messages (`IP_TTL`).
        set_ttl, ttl: u32;
    }

    /// Joins a group (`IP_ADD_MEMBERSHIP`).
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.std().join_multicast_v4(multiaddr, interface)
    }

    /// Joins a group (`IPV6_ADD_MEMBERSHIP`).
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.std().join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a group (`IP_DROP_MEMBERSHIP`).
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.std().leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a group (`IPV6_DROP_MEMBERSHIP`).
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.std().leave_multicast_v6(multiaddr, interface)
    }

    timeouts!();
    common!(SocketAddr);
}
