//! Names and addresses. Whatever may ask a name server runs on the blocking pool.
#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs as Std};

use crate::sched::blocking;

/// The addresses of a host, in the order in which the system prefers them. An address in text form is its own.
///
/// # Blocking
///
/// Asks the system's resolver on the blocking pool; the calling goroutine parks.
///
/// # Errors
///
/// If the name is unknown, or the resolver cannot be asked.
///
/// # Examples
///
/// ```
/// let addresses = greenroutine::run(|| greenroutine::net::lookup("localhost")).unwrap();
/// assert!(addresses.iter().all(|address| address.is_loopback()));
/// ```
pub fn lookup(host: impl AsRef<str>) -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for address in (host.as_ref(), 0).resolve()? {
        if !found.contains(&address.ip()) {
            found.push(address.ip());
        }
    }
    Ok(found)
}

/// What sockets can be bound and connected to: std's trait, for std's types. A name in it is looked up on the blocking pool, where other types than std's own could
/// not go; they go through [`std::net::ToSocketAddrs`] and are passed as addresses.
pub trait ToSocketAddrs: Resolve {}

impl<A: Resolve + ?Sized> ToSocketAddrs for A {}

/// The sealed part of [`ToSocketAddrs`].
pub trait Resolve {
    /// All addresses, with the names looked up.
    #[doc(hidden)]
    fn resolve(&self) -> io::Result<Vec<SocketAddr>>;
}

/// Those that hold an address.
macro_rules! addresses {
    ($($type:ty),*) => {
        $(impl Resolve for $type {
            fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
                Ok(self.to_socket_addrs()?.collect())
            }
        })*
    };
}
addresses!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
    [SocketAddr]
);

impl Resolve for str {
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match self.parse() {
            Ok(address) => Ok(vec![address]),
            Err(_) => blocking::run(|| Ok(self.to_socket_addrs()?.collect())),
        }
    }
}

impl Resolve for (&str, u16) {
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match self.0.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![SocketAddr::new(ip, self.1)]),
            Err(_) => blocking::run(|| Ok(self.to_socket_addrs()?.collect())),
        }
    }
}

impl Resolve for String {
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        self.as_str().resolve()
    }
}

impl Resolve for (String, u16) {
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        (self.0.as_str(), self.1).resolve()
    }
}

impl<A: Resolve + ?Sized> Resolve for &A {
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        (**self).resolve()
    }
}

impl<const N: usize> Resolve for [SocketAddr; N] {
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

impl Resolve for Vec<SocketAddr> {
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.clone())
    }
}

/// Tries one address after the other; the result of the first that does, or the error of the last.
pub(super) fn first<T>(
    addresses: impl ToSocketAddrs,
    mut each: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in addresses.resolve()? {
        match each(address) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses")))
}
