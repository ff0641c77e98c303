//! std's own tests of `std::net` and `std::os::unix::net`, re-expressed: TCP, UDP and Unix sockets on goroutines of both modes and on threads. From library/std/src/net/{tcp,udp}/tests.rs and
//! library/std/src/os/unix/net/tests.rs of rust-lang/rust (MIT or Apache-2.0).

mod common;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{ms, on_all, par};
use greenroutine::channel::bounded;
use greenroutine::net::{
    Shutdown, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream,
};

/// A listener on each kind of loopback address that this machine has, and its address.
fn each_listener(f: impl Fn(TcpListener, SocketAddr)) {
    for ip in ["127.0.0.1:0", "[::1]:0"] {
        match TcpListener::bind(ip) {
            Ok(listener) => {
                let address = listener.local_addr().unwrap();
                f(listener, address);
            }
            Err(error) => assert!(ip.starts_with("[::1]"), "{error}"),
        }
    }
}

/// A path for a socket, and its removal.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("greenroutine-{}-{number}.sock", std::process::id())))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn bind_errors_are_said() {
    on_all(|| {
        let error = TcpListener::bind("1.1.1.1:9999").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        let error = UdpSocket::bind("1.1.1.1:9999").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = TcpListener::bind(taken.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn connect_errors_are_said() {
    on_all(|| {
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect_timeout(&address, ms(10_000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect_timeout(&address, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = TcpStream::connect(&[][..] as &[SocketAddr]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(TcpStream::connect("no port").is_err());
    });
}

#[test]
fn addresses_come_in_all_forms() {
    on_all(|| {
        let listener = TcpListener::bind(("localhost", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ip = address.ip();
        TcpStream::connect(address).unwrap();
        TcpStream::connect(address.to_string()).unwrap();
        TcpStream::connect(address.to_string().as_str()).unwrap();
        TcpStream::connect((ip, address.port())).unwrap();
        TcpStream::connect((ip.to_string(), address.port())).unwrap();
        TcpStream::connect(("localhost", address.port())).unwrap();
        TcpStream::connect(format!("localhost:{}", address.port())).unwrap();
        // The first that works.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let stream = TcpStream::connect(&[closed, address][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        TcpStream::connect([closed, address]).unwrap();
        TcpStream::connect(vec![closed, address]).unwrap();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, closed.port())).is_err());
        assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, closed.port())).is_err());
    });
}

#[test]
fn bytes_arrive() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                p.go(move || TcpStream::connect(address).unwrap().write_all(&[99]).unwrap());
                let (mut stream, from) = listener.accept().unwrap();
                let mut buf = [0];
                assert_eq!(stream.read(&mut buf).unwrap(), 1);
                assert_eq!(buf, [99]);
                assert_eq!(stream.peer_addr().unwrap(), from);
                assert_eq!(stream.local_addr().unwrap(), address);
            });
        });
    });
}

#[test]
fn the_end_is_read_again_and_again() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                p.go(move || drop(TcpStream::connect(address).unwrap()));
                let (mut stream, _) = listener.accept().unwrap();
                let mut buf = [0];
                assert_eq!(stream.read(&mut buf).unwrap(), 0);
                assert_eq!(stream.read(&mut buf).unwrap(), 0);
                assert_eq!(stream.read_vectored(&mut [IoSliceMut::new(&mut buf)]).unwrap(), 0);
                assert_eq!(stream.peek(&mut buf).unwrap(), 0);
            });
        });
    });
}

#[test]
fn data_and_the_end_together_lose_neither() {
    on_all(|| {
        each_listener(|listener, address| {
            for length in [1, 100, 1000] {
                par(|p| {
                    p.go(move || {
                        let mut stream = TcpStream::connect(address).unwrap();
                        stream.write_all(&vec![7; length]).unwrap();
                    });
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut all = Vec::new();
                    assert_eq!(stream.read_to_end(&mut all).unwrap(), length);
                });
            }
        });
    });
}

#[test]
fn writing_to_who_is_gone_is_an_error() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                let client = p.go(move || drop(TcpStream::connect(address).unwrap()));
                let (mut stream, _) = listener.accept().unwrap();
                client.join();
                // The first one or two go into the buffer.
                let error = loop {
                    if let Err(error) = stream.write_all(&[0; 1024]) {
                        break error;
                    }
                };
                let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted];
                assert!(kinds.contains(&error.kind()), "{error}");
            });
        });
    });
}

#[test]
fn a_reset_is_an_error_to_who_reads() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                let (ready, go_on) = bounded(0);
                p.go(move || {
                    let stream = TcpStream::connect(address).unwrap();
                    stream.set_linger(Some(Duration::ZERO)).unwrap();
                    go_on.recv().unwrap();
                    drop(stream);
                });
                let (mut stream, _) = listener.accept().unwrap();
                ready.send(()).unwrap();
                let error = stream.read(&mut [0; 16]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
            });
        });
    });
}

#[test]
fn reading_in_parts() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                p.go(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(&[10]).unwrap();
                    let mut buf = [0];
                    stream.read_exact(&mut buf).unwrap();
                    stream.write_all(&[11, 12]).unwrap();
                });
                let (mut stream, _) = listener.accept().unwrap();
                let mut buf = [0; 10];
                assert_eq!(stream.read(&mut buf).unwrap(), 1);
                stream.write_all(&[1]).unwrap();
                let mut two = [0; 2];
                stream.read_exact(&mut two).unwrap();
                assert_eq!(two, [11, 12]);
                assert_eq!(stream.read(&mut []).unwrap(), 0);
                assert_eq!(stream.read(&mut buf).unwrap(), 0);
            });
        });
    });
}

#[test]
fn vectored_reads_and_writes() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                p.go(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    let written = stream
                        .write_vectored(&[IoSlice::new(&[]), IoSlice::new(&[10]), IoSlice::new(&[11, 12])])
                        .unwrap();
                    assert_eq!(written, 3);
                });
                let (mut stream, _) = listener.accept().unwrap();
                let (mut a, mut b) = ([], [0]);
                let mut c = [0; 3];
                let len = stream
                    .read_vectored(&mut [
                        IoSliceMut::new(&mut a),
                        IoSliceMut::new(&mut b),
                        IoSliceMut::new(&mut c),
                    ])
                    .unwrap();
                assert!(len > 0);
                assert_eq!(b, [10]);
                // Some implementations give the first buffer only.
                if len == 3 {
                    assert_eq!(c, [11, 12, 0]);
                }
            });
        });
    });
}

#[test]
fn many_connections_one_after_the_other() {
    on_all(|| {
        each_listener(|listener, address| {
            const MANY: u8 = 50;
            par(|p| {
                p.go(move || {
                    for n in 0..MANY {
                        TcpStream::connect(address).unwrap().write_all(&[n]).unwrap();
                    }
                });
                for (n, stream) in listener.incoming().take(MANY.into()).enumerate() {
                    let mut buf = [0];
                    stream.unwrap().read_exact(&mut buf).unwrap();
                    assert_eq!(usize::from(buf[0]), n);
                }
            });
        });
    });
}

#[test]
fn many_connections_at_once() {
    on_all(|| {
        each_listener(|listener, address| {
            const MANY: u8 = 30;
            par(|p| {
                let listener = &listener;
                let server = p.go(move || {
                    let mut all: Vec<_> =
                        listener.incoming().take(MANY.into()).map(|stream| stream.unwrap()).collect();
                    let mut sum = 0;
                    for stream in all.iter_mut().rev() {
                        let mut buf = [0];
                        stream.read_exact(&mut buf).unwrap();
                        sum += u32::from(buf[0]);
                    }
                    sum
                });
                // All are connected before the first writes.
                let mut all: Vec<_> = (0..MANY).map(|_| TcpStream::connect(address).unwrap()).collect();
                for (n, stream) in all.iter_mut().enumerate() {
                    stream.write_all(&[n as u8]).unwrap();
                }
                assert_eq!(server.join(), (0..u32::from(MANY)).sum::<u32>());
            });
        });
    });
}

#[test]
fn a_clone_is_the_same_socket() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                p.go(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    let mut buf = [0, 0];
                    assert_eq!(stream.read(&mut buf).unwrap(), 1);
                    assert_eq!(buf[0], 1);
                    stream.write_all(&[2]).unwrap();
                });
                let (mut reader, _) = listener.accept().unwrap();
                let mut writer = reader.try_clone().unwrap();
                let (sent, received) = bounded(1);
                p.go(move || {
                    writer.write_all(&[1]).unwrap();
                    sent.send(()).unwrap();
                });
                let mut buf = [0];
                assert_eq!(reader.read(&mut buf).unwrap(), 1);
                received.recv().unwrap();
                // Dropping one does not close the connection.
                drop(reader.try_clone().unwrap());
                assert!(reader.peer_addr().is_ok());
            });
        });
    });
}

#[test]
fn two_clones_read_what_there_is() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                let (turn, next) = bounded(0);
                p.go(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for n in 1..=2 {
                        stream.write_all(&[n]).unwrap();
                        next.recv().unwrap();
                    }
                });
                let (mut one, _) = listener.accept().unwrap();
                let mut other = one.try_clone().unwrap();
                let (done, turn_too) = (bounded(1), turn.clone());
                let mark = done.0.clone();
                p.go(move || {
                    let mut buf = [0];
                    other.read_exact(&mut buf).unwrap();
                    turn_too.send(()).unwrap();
                    mark.send(buf[0]).unwrap();
                });
                let mut buf = [0];
                one.read_exact(&mut buf).unwrap();
                turn.send(()).unwrap();
                assert_eq!(buf[0] + done.1.recv().unwrap(), 3);
            });
        });
    });
}

#[test]
fn two_accept_from_clones_of_one_listener() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                let (sender, received) = bounded(2);
                for listener in [listener.try_clone().unwrap(), listener] {
                    let sender = sender.clone();
                    p.go(move || sender.send(listener.accept().unwrap().0).unwrap());
                }
                p.go(move || drop(TcpStream::connect(address).unwrap()));
                p.go(move || drop(TcpStream::connect(address).unwrap()));
                for _ in 0..2 {
                    assert_eq!(received.recv().unwrap().read(&mut [0; 1]).unwrap(), 0);
                }
            });
        });
    });
}

#[test]
fn shutdown_ends_each_direction_by_itself() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                p.go(move || {
                    let (mut stream, _) = listener.accept().unwrap();
                    // The other side has ended its sending: what we send it still gets.
                    let mut text = String::new();
                    stream.read_to_string(&mut text).unwrap();
                    stream.write_all(text.to_uppercase().as_bytes()).unwrap();
                });
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"half").unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                assert!(stream.write(&[1]).is_err());
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                assert_eq!(text, "HALF");
                assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
            });
        });
    });
}

#[test]
fn shutdown_wakes_who_waits() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                let stream = TcpStream::connect(address).unwrap();
                let peer = listener.accept().unwrap().0;
                for mut reader in [stream.try_clone().unwrap(), stream.try_clone().unwrap()] {
                    p.go(move || assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0));
                }
                common::settle();
                stream.shutdown(Shutdown::Both).unwrap();
                drop(peer);
            });
        });
    });
}

#[test]
fn options_are_kept() {
    on_all(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_ttl(100).unwrap();
        assert_eq!(listener.ttl().unwrap(), 100);
        assert!(listener.take_error().unwrap().is_none());
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!stream.nodelay().unwrap());
        stream.set_nodelay(true).unwrap();
        assert!(stream.nodelay().unwrap());
        stream.set_ttl(101).unwrap();
        assert_eq!(stream.ttl().unwrap(), 101);
        assert_eq!(stream.linger().unwrap(), None);
        stream.set_linger(Some(Duration::from_secs(2))).unwrap();
        assert_eq!(stream.linger().unwrap(), Some(Duration::from_secs(2)));
        stream.set_linger(None).unwrap();
        assert!(stream.take_error().unwrap().is_none());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_ttl(102).unwrap();
        socket.set_multicast_loop_v4(false).unwrap();
        socket.set_multicast_ttl_v4(3).unwrap();
        assert!(socket.broadcast().unwrap() && !socket.multicast_loop_v4().unwrap());
        assert_eq!((socket.ttl().unwrap(), socket.multicast_ttl_v4().unwrap()), (102, 3));
    });
}

#[test]
fn debug_is_as_in_std() {
    let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("{std:?}");
    let listener = TcpListener::from(std);
    assert_eq!(format!("{listener:?}"), text);
    assert!(format!("{:?}", UdpSocket::bind("127.0.0.1:0").unwrap()).starts_with("UdpSocket"));
}

#[test]
fn timeouts_are_kept_and_not_zero() {
    on_all(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let clone = stream.try_clone().unwrap();
        assert_eq!((stream.read_timeout().unwrap(), stream.write_timeout().unwrap()), (None, None));
        stream.set_read_timeout(Some(ms(15_000))).unwrap();
        stream.set_write_timeout(Some(ms(10_000))).unwrap();
        assert_eq!(clone.read_timeout().unwrap(), Some(ms(15_000)));
        assert_eq!(clone.write_timeout().unwrap(), Some(ms(10_000)));
        for zero in
            [stream.set_read_timeout(Some(Duration::ZERO)), stream.set_write_timeout(Some(Duration::ZERO))]
        {
            assert_eq!(zero.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        stream.set_read_timeout(None).unwrap();
        assert_eq!(clone.read_timeout().unwrap(), None);
    });
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

#[test]
fn a_read_ends_after_its_timeout_and_the_next_one_reads() {
    on_all(|| {
        each_listener(|listener, address| {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut other = listener.accept().unwrap().0;
            stream.set_read_timeout(Some(ms(3))).unwrap();
            let start = greenroutine::time::now();
            assert!(is_timeout(&stream.read(&mut [0; 10]).unwrap_err()));
            assert!(start.elapsed() >= ms(3));
            assert!(is_timeout(&stream.peek(&mut [0; 10]).unwrap_err()));
            other.write_all(b"hello world").unwrap();
            let mut buf = [0; 11];
            stream.read_exact(&mut buf).unwrap();
            assert_eq!(&buf, b"hello world");
            assert!(is_timeout(&stream.read(&mut buf).unwrap_err()));
        });
    });
}

#[test]
fn a_write_ends_after_its_timeout() {
    on_all(|| {
        each_listener(|listener, address| {
            let mut stream = TcpStream::connect(address).unwrap();
            let _other = listener.accept().unwrap();
            stream.set_write_timeout(Some(ms(2))).unwrap();
            let error = loop {
                if let Err(error) = stream.write_all(&[0; 1 << 16]) {
                    break error;
                }
            };
            assert!(is_timeout(&error), "{error}");
        });
    });
}

#[test]
fn nonblocking_gives_an_error_instead_of_waiting() {
    on_all(|| {
        each_listener(|listener, address| {
            listener.set_nonblocking(true).unwrap();
            assert!(is_timeout(&listener.accept().unwrap_err()));
            listener.set_nonblocking(false).unwrap();
            let mut stream = TcpStream::connect(address).unwrap();
            let mut other = listener.accept().unwrap().0;
            stream.set_nonblocking(true).unwrap();
            assert!(is_timeout(&stream.read(&mut [0]).unwrap_err()));
            other.write_all(&[5]).unwrap();
            let mut buf = [0, 0];
            loop {
                match stream.read(&mut buf) {
                    Ok(len) => break assert_eq!((len, buf[0]), (1, 5)),
                    Err(error) => assert!(is_timeout(&error)),
                }
            }
            // Again, now that it is known to be empty.
            other.write_all(&[6]).unwrap();
            while stream.read(&mut buf).is_err() {}
            assert_eq!(buf[0], 6);
            stream.set_nonblocking(false).unwrap();
            other.write_all(&[7]).unwrap();
            stream.read_exact(&mut buf[..1]).unwrap();
        });
    });
}

#[test]
fn peeking_takes_nothing_out() {
    on_all(|| {
        each_listener(|listener, address| {
            par(|p| {
                p.go(move || {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.write_all(&[1, 3, 3, 7]).unwrap();
                });
                let mut stream = TcpStream::connect(address).unwrap();
                let mut buf = [0; 10];
                for _ in 0..2 {
                    assert_eq!(stream.peek(&mut buf).unwrap(), 4);
                    assert_eq!(buf[..4], [1, 3, 3, 7]);
                }
                assert_eq!(stream.read(&mut buf).unwrap(), 4);
                assert_eq!(stream.peek(&mut buf).unwrap(), 0);
            });
        });
    });
}

#[test]
fn connecting_within_a_timeout() {
    on_all(|| {
        each_listener(|listener, address| {
            let stream = TcpStream::connect_timeout(&address, ms(10_000)).unwrap();
            assert_eq!(listener.accept().unwrap().1, stream.local_addr().unwrap());
        });
    });
}

#[test]
fn datagrams_arrive_with_their_sender() {
    on_all(|| {
        par(|p| {
            let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
            let (at_a, at_b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
            let client = p.go(move || {
                assert_eq!(a.send_to(&[99], at_b).unwrap(), 1);
                let mut buf = [0; 4];
                assert_eq!(a.recv_from(&mut buf).unwrap(), (2, at_b));
                assert_eq!(buf[..2], [1, 2]);
            });
            let mut buf = [0; 4];
            assert_eq!(b.peek_from(&mut buf).unwrap(), (1, at_a));
            assert_eq!(b.recv_from(&mut buf).unwrap(), (1, at_a));
            assert_eq!(buf[0], 99);
            b.send_to(&[1, 2], at_a).unwrap();
            client.join();
        });
    });
}

#[test]
fn connected_datagram_sockets_send_and_receive() {
    on_all(|| {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        assert_eq!(a.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        a.connect(b.local_addr().unwrap()).unwrap();
        b.connect(a.local_addr().unwrap()).unwrap();
        assert_eq!(a.peer_addr().unwrap(), b.local_addr().unwrap());
        a.send(b"hello").unwrap();
        let mut buf = [0; 10];
        assert_eq!(b.peek(&mut buf).unwrap(), 5);
        assert_eq!(b.recv(&mut buf).unwrap(), 5);
        b.set_read_timeout(Some(ms(2))).unwrap();
        assert!(is_timeout(&b.recv(&mut buf).unwrap_err()));
        assert!(is_timeout(&b.recv_from(&mut buf).unwrap_err()));
        // A message of no bytes is one.
        a.send(&[]).unwrap();
        assert_eq!(b.recv(&mut buf).unwrap(), 0);
        // What has no room is lost.
        a.send(&[1, 2, 3]).unwrap();
        assert_eq!(b.recv(&mut buf[..2]).unwrap(), 2);
        assert!(is_timeout(&b.recv(&mut buf).unwrap_err()));
        let clone = a.try_clone().unwrap();
        clone.send(&[8]).unwrap();
        assert_eq!(b.recv(&mut buf).unwrap(), 1);
        b.set_nonblocking(true).unwrap();
        assert!(is_timeout(&b.recv(&mut buf).unwrap_err()));
    });
}

#[test]
fn unix_streams_carry_bytes_and_their_end() {
    on_all(|| {
        let path = Temp::new();
        let listener = UnixListener::bind(&path.0).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path.0));
        par(|p| {
            let listener = &listener;
            p.go(move || {
                let (mut stream, from) = listener.accept().unwrap();
                assert!(from.is_unnamed());
                let mut buf = [0; 5];
                stream.read_exact(&mut buf).unwrap();
                assert_eq!(&buf, b"hello");
                stream.write_all(b"world!!!").unwrap();
            });
            let mut stream = UnixStream::connect(&path.0).unwrap();
            assert_eq!(stream.peer_addr().unwrap().as_pathname(), Some(&*path.0));
            stream.write_all(b"hello").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "world!!!");
        });
        assert_eq!(UnixListener::bind(&path.0).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(listener);
        assert_eq!(UnixStream::connect(&path.0).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn unix_pairs_are_connected() {
    on_all(|| {
        par(|p| {
            let (mut a, mut b) = UnixStream::pair().unwrap();
            let other = p.go(move || {
                let mut buf = [0; 11];
                a.read_exact(&mut buf).unwrap();
                assert_eq!(a.write_vectored(&[IoSlice::new(b"good"), IoSlice::new(b"bye")]).unwrap(), 7);
                buf
            });
            b.write_all(b"hello world").unwrap();
            let mut text = String::new();
            b.read_to_string(&mut text).unwrap();
            assert_eq!((&other.join()[..], &*text), (&b"hello world"[..], "goodbye"));
        });
    });
}

#[test]
fn unix_streams_time_out() {
    on_all(|| {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        a.set_read_timeout(Some(ms(2))).unwrap();
        a.set_write_timeout(Some(ms(2))).unwrap();
        assert_eq!(a.read_timeout().unwrap(), Some(ms(2)));
        assert!(is_timeout(&a.read(&mut [0; 10]).unwrap_err()));
        while a.write(&[0; 1 << 16]).is_ok() {}
        a.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        b.read_to_end(&mut all).unwrap();
        assert!(all.len() >= 1 << 16);
    });
}

#[test]
fn unix_addresses_may_be_abstract() {
    use std::os::linux::net::SocketAddrExt;
    on_all(|| {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("greenroutine-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        par(|p| {
            let other = address.clone();
            p.go(move || UnixStream::connect_addr(&other).unwrap().write_all(b"x").unwrap());
            let mut buf = [0];
            listener.accept().unwrap().0.read_exact(&mut buf).unwrap();
        });
        let datagram = UnixDatagram::unbound().unwrap();
        assert!(datagram.send_to_addr(b"x", &address).is_err());
        assert!(datagram.local_addr().unwrap().is_unnamed());
    });
}

#[test]
fn a_full_unix_listener_is_waited_for() {
    on_all(|| {
        let path = Temp::new();
        let std = std::os::unix::net::UnixListener::bind(&path.0).unwrap();
        let listener = UnixListener::from(std);
        // std's backlog is 128: more than that wait here for somebody to accept.
        par(|p| {
            let path = &path;
            let connecting: Vec<_> =
                (0..140).map(|_| p.go(move || UnixStream::connect(&path.0).unwrap())).collect();
            let accepted: Vec<_> = listener.incoming().take(140).collect();
            assert!(accepted.iter().all(Result::is_ok));
            connecting.into_iter().for_each(|one| drop(one.join()));
        });
    });
}

#[test]
fn unix_datagrams_arrive() {
    on_all(|| {
        let (path_a, path_b) = (Temp::new(), Temp::new());
        let a = UnixDatagram::bind(&path_a.0).unwrap();
        let b = UnixDatagram::bind(&path_b.0).unwrap();
        a.send_to(b"hello world", &path_b.0).unwrap();
        let mut buf = [0; 64];
        let (len, from) = b.recv_from(&mut buf).unwrap();
        assert_eq!((&buf[..len], from.as_pathname()), (&b"hello world"[..], Some(&*path_a.0)));
        b.connect(&path_a.0).unwrap();
        b.send(b"back").unwrap();
        assert_eq!(a.recv(&mut buf).unwrap(), 4);
        a.set_read_timeout(Some(ms(2))).unwrap();
        assert!(is_timeout(&a.recv(&mut buf).unwrap_err()));
        par(|p| {
            let (a, b) = UnixDatagram::pair().unwrap();
            // More than the other side has room for.
            let sender = p.go(move || (0..500).for_each(|n| assert_eq!(a.send(&[n as u8]).unwrap(), 1)));
            for n in 0..500 {
                assert_eq!((b.recv(&mut buf).unwrap(), buf[0]), (1, n as u8));
            }
            sender.join();
        });
        // Not connected: waits for room all the same.
        let unbound = UnixDatagram::unbound().unwrap();
        b.set_read_timeout(None).unwrap();
        let path = Temp::new();
        let c = UnixDatagram::bind(&path.0).unwrap();
        par(|p| {
            let reader = p.go(|| {
                let mut buf = [0; 8];
                (0..300).map(|_| c.recv_from(&mut buf).unwrap().0).sum::<usize>()
            });
            for _ in 0..300 {
                unbound.send_to(&[1], &path.0).unwrap();
            }
            assert_eq!(reader.join(), 300);
        });
    });
}
