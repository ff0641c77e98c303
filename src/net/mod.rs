//! Sockets: `std::net` and `std::os::unix::net`, method for method, but a call that has to wait parks the calling goroutine only. On a plain thread it blocks the thread.
//!
//! ```
//! use greenroutine::net::{TcpListener, TcpStream};
//! use std::io::{Read, Write};
//!
//! greenroutine::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//!     let address = listener.local_addr().unwrap();
//!     greenroutine::go(move || {
//!         for stream in listener.incoming() {
//!             let mut stream = stream.unwrap();
//!             greenroutine::go(move || std::io::copy(&mut &stream.try_clone().unwrap(), &mut stream));
//!         }
//!     });
//!     let mut stream = TcpStream::connect(address).unwrap();
//!     stream.write_all(b"hello").unwrap();
//!     let mut answer = [0; 5];
//!     stream.read_exact(&mut answer).unwrap();
//!     assert_eq!(&answer, b"hello");
//! });
//! ```
//!
//! # Waiting
//!
//! Each call tries at once and waits only if there is nothing to be had, so it costs no more than the system call where there is. Any number of goroutines and
//! threads may use a socket at once; bytes go to who asks first, and of those that wait all try again.
//!
//! # Cancellation
//!
//! A cancelled goroutine unwinds where a call would wait, and not in one that need not. The socket stays usable by others. What was read is never lost: a call
//! that unwinds has taken nothing.
//!
//! # Timeouts
//!
//! [`set_read_timeout`](TcpStream::set_read_timeout) and its kin bound each call, as in std, and give std's error on this system, [`WouldBlock`](std::io::ErrorKind::WouldBlock).
//! [`set_read_deadline`](TcpStream::set_read_deadline) and its kin bound all calls up to a time, as in Go, those too that goroutines wait in, and give
//! [`TimedOut`](std::io::ErrorKind::TimedOut). [`time::timeout`](crate::time::timeout) bounds whatever a closure does.
//!
//! # Clones and std
//!
//! `try_clone` gives another handle of the same socket and takes no descriptor. Conversions to std give a socket that blocks and has the same timeouts; while clones are alive
//! they duplicate the descriptor.
//!
//! | file | job |
//! | --- | --- |
//! | `socket` | a descriptor with its timeouts: try, wait, try again |
//! | `tcp`, `udp`, `unix` | the types |
//! | `descriptor` | conversions from and to std and descriptors |
//! | `address` | names to addresses, on the blocking pool |
//! | `spare` | a descriptor for the day there is none left |

mod address;
mod descriptor;
mod socket;
mod spare;
mod tcp;
mod udp;
mod unix;

pub use address::{ToSocketAddrs, lookup};
pub use tcp::{Incoming, TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixIncoming, UnixListener, UnixStream};

#[doc(no_inline)]
pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};
