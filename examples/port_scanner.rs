//! Which ports of a host take connections: one goroutine a port, at most so many at once, each within a timeout.
//!
//! `cargo run --release --example port_scanner -- HOST [FIRST LAST]` prints them. Without arguments it opens a few ports of loopback, one of which never answers, scans around them, and checks what it finds.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use greenroutine::net::{self, TcpListener, TcpStream};
use greenroutine::sync::Semaphore;
use greenroutine::{channel, go, time};

/// Connections at once: each takes a descriptor.
const AT_ONCE: usize = 200;
/// A port that has not answered by then is filtered.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    greenroutine::run(|| {
        let Some(host) = arguments.first() else { return check() };
        let port = |at: usize, default: u16| match arguments.get(at) {
            Some(text) => text.parse().map_err(|_| io::Error::other(format!("{text:?} is no port"))),
            None => Ok(default),
        };
        let ip = *net::lookup(host)?.first().ok_or_else(|| io::Error::other("no address"))?;
        for port in scan(ip, port(1, 1)?..=port(2, u16::MAX)?) {
            println!("{}", SocketAddr::new(ip, port));
        }
        Ok(())
    })
}

/// The open ports, in order.
fn scan(ip: IpAddr, ports: RangeInclusive<u16>) -> Vec<u16> {
    let (found, open) = channel::unbounded();
    let seats = Arc::new(Semaphore::new(AT_ONCE));
    for port in ports {
        let (found, seats) = (found.clone(), seats.clone());
        go(move || {
            let _seat = seats.acquire(1);
            let tried = time::timeout(PATIENCE, || TcpStream::connect((ip, port)));
            if matches!(tried, Ok(Ok(_))) {
                // Nobody hears it if the scan was given up.
                let _ = found.send(port);
            }
        });
    }
    drop(found);
    let mut open: Vec<u16> = open.iter().collect();
    open.sort_unstable();
    open
}

fn check() -> io::Result<()> {
    let listeners: Vec<_> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
    let mut ports = ports.collect::<io::Result<Vec<u16>>>()?;
    ports.sort_unstable();
    // Other programs may have ports there too.
    for &port in &ports {
        let around = port.saturating_sub(100)..=port.saturating_add(100);
        let open = scan("127.0.0.1".parse().map_err(io::Error::other)?, around);
        if !open.contains(&port) {
            return Err(io::Error::other(format!("{port} was not found, but {open:?}")));
        }
    }
    // An address of the documentation's network: nobody answers, or the system says so.
    let start = time::now();
    assert!(
        time::timeout(Duration::from_millis(50), || TcpStream::connect("192.0.2.1:9"))
            .map_or(true, |c| c.is_err())
    );
    assert!(start.elapsed() < Duration::from_secs(10));
    println!("5 open ports found among 1005");
    Ok(())
}
