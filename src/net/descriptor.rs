//! Sockets from and to std's types and descriptors, and how they look in `Debug`.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net as unix;
use std::sync::Arc;
use std::{io, net};

use super::socket::Socket;
use super::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use crate::sys::epoll::Direction::{Read, Write};
use crate::sys::socket::set_nonblocking;

/// A type of std's that one of ours holds.
trait Inner: AsFd + From<OwnedFd> + Sized {
    /// Takes over what std has set.
    fn adopt(socket: &Socket<Self>) -> io::Result<()>;

    /// Gives to std what is set; `is_shared`: clones of ours go on with the same socket.
    fn release(socket: &Socket<Self>, is_shared: bool) -> io::Result<()>;
}

macro_rules! listener {
    ($std:ty) => {
        impl Inner for $std {
            fn adopt(socket: &Socket<Self>) -> io::Result<()> {
                // Accepting has no flag for it.
                set_nonblocking(socket.std(), true)
            }

            fn release(socket: &Socket<Self>, is_shared: bool) -> io::Result<()> {
                if is_shared { Ok(()) } else { set_nonblocking(socket.std(), socket.is_nonblocking()) }
            }
        }
    };
}
listener!(net::TcpListener);
listener!(unix::UnixListener);

macro_rules! stream {
    ($std:ty) => {
        impl Inner for $std {
            fn adopt(socket: &Socket<Self>) -> io::Result<()> {
                socket.set_timeout(Read, socket.std().read_timeout()?)?;
                socket.set_timeout(Write, socket.std().write_timeout()?)
            }

            fn release(socket: &Socket<Self>, is_shared: bool) -> io::Result<()> {
                socket.std().set_read_timeout(socket.timeout(Read))?;
                socket.std().set_write_timeout(socket.timeout(Write))?;
                if is_shared { Ok(()) } else { set_nonblocking(socket.std(), socket.is_nonblocking()) }
            }
        }
    };
}
stream!(net::TcpStream);
stream!(net::UdpSocket);
stream!(unix::UnixStream);
stream!(unix::UnixDatagram);

/// Std's object out of a socket: the descriptor itself, or a duplicate of it while the socket has clones.
#[track_caller]
fn into_std<S: Inner>(socket: Arc<Socket<S>>) -> S {
    let is_shared = Arc::strong_count(&socket) > 1;
    // Options can be set on what is a socket; what is none is not changed.
    let _ = S::release(&socket, is_shared);
    match Arc::try_unwrap(socket) {
        Ok(socket) => socket.into_inner(),
        Err(shared) => match shared.fd().try_clone_to_owned() {
            Ok(fd) => S::from(fd),
            Err(error) => panic!(
                "cannot duplicate the descriptor of a socket: {error}. A socket that leaves greenroutine while clones of it are alive needs one: \
                 drop the clones first, or raise the limit of open files (`ulimit -n`)"
            ),
        },
    }
}

/// The conversions of one type.
macro_rules! conversions {
    ($ours:ident, $std:ty) => {
        impl From<$std> for $ours {
            /// Takes over the timeouts. Whether the socket is in nonblocking mode does not matter: see [`set_nonblocking`](Self::set_nonblocking).
            fn from(std: $std) -> Self {
                let this = Self::of(std);
                // Fails for what is no socket; then every call does.
                let _ = Inner::adopt(&this.socket);
                this
            }
        }

        impl From<$ours> for $std {
            /// Hands over the timeouts and the mode that [`set_nonblocking`]($ours::set_nonblocking) has set. While clones are alive std gets a duplicate of the descriptor, and a
            /// listener stays in nonblocking mode.
            ///
            /// # Panics
            ///
            /// If a duplicate is needed and the process has no descriptor left.
            #[track_caller]
            fn from(this: $ours) -> Self {
                into_std(this.socket)
            }
        }

        impl From<OwnedFd> for $ours {
            fn from(fd: OwnedFd) -> Self {
                <$std>::from(fd).into()
            }
        }

        impl From<$ours> for OwnedFd {
            /// As the conversion to std.
            #[track_caller]
            fn from(this: $ours) -> Self {
                into_std(this.socket).into()
            }
        }

        impl FromRawFd for $ours {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the same contract.
                let std = unsafe { <$std>::from_raw_fd(fd) };
                std.into()
            }
        }

        impl IntoRawFd for $ours {
            /// As the conversion to std.
            #[track_caller]
            fn into_raw_fd(self) -> RawFd {
                into_std(self.socket).into_raw_fd()
            }
        }

        impl AsFd for $ours {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.fd()
            }
        }

        impl AsRawFd for $ours {
            fn as_raw_fd(&self) -> RawFd {
                self.socket.fd().as_raw_fd()
            }
        }

        impl fmt::Debug for $ours {
            /// As std.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.socket.std().fmt(f)
            }
        }
    };
}
conversions!(TcpListener, net::TcpListener);
conversions!(TcpStream, net::TcpStream);
conversions!(UdpSocket, net::UdpSocket);
conversions!(UnixListener, unix::UnixListener);
conversions!(UnixStream, unix::UnixStream);
conversions!(UnixDatagram, unix::UnixDatagram);
