//! `net` beyond std's tests: cancellation, deadlines, shutdown, descriptors at their limit, sockets that move between workers, runtimes, threads and std; readiness that nobody starves.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{
    Counted, LONG, Rng, in_child, in_child_after, is_child, ms, on_all, on_goroutines, par, runtime,
    switches, text, wait_for_waiters, wait_until,
};
use greenroutine::net::{Shutdown, TcpListener, TcpStream, UdpSocket, UnixStream};
use greenroutine::time::{self, Instant};
use greenroutine::{channel, go, yield_now};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Two ends of one connection.
fn connection() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let one = TcpStream::connect(address).unwrap();
    (one, listener.accept().unwrap().0)
}

/// Answers what it gets until the end.
fn echo(mut stream: TcpStream) {
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return,
            Ok(len) => stream.write_all(&buf[..len]).unwrap(),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_cancelled_accept_leaves_the_listener_to_others() {
    on_goroutines(|| {
        let (listener, address) = listener();
        let listener = Arc::new(listener);
        let drops = Arc::new(AtomicUsize::new(0));
        let accept = || {
            let (listener, counted) = (listener.clone(), Counted(drops.clone()));
            go(move || {
                let _counted = counted;
                listener.accept().map(|(_, from)| from)
            })
        };
        let (first, second) = (accept(), accept());
        wait_for_waiters("accept", 2);
        first.cancel();
        assert!(first.join().unwrap_err().is_cancelled());
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(second.join().unwrap().unwrap(), client.local_addr().unwrap());
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
    });
}

#[test]
fn a_cancelled_read_loses_no_byte() {
    on_goroutines(|| {
        let (mut one, other) = connection();
        let other = Arc::new(other);
        for n in 0..20 {
            let reader = other.clone();
            let waiting = go(move || (&*reader).read(&mut [0; 8]).map(drop));
            wait_for_waiters("net read", 1);
            if n % 2 == 0 {
                // Both at once: whoever comes first.
                one.write_all(&[n]).unwrap();
            }
            waiting.cancel();
            let was_cancelled = waiting.join().is_err();
            if n % 2 != 0 {
                assert!(was_cancelled);
                one.write_all(&[n]).unwrap();
            }
            if was_cancelled {
                let mut buf = [0];
                (&*other).read_exact(&mut buf).unwrap();
                assert_eq!(buf[0], n);
            }
        }
    });
}

#[test]
fn a_cancelled_goroutine_reads_what_is_there_and_unwinds_where_it_would_wait() {
    on_goroutines(|| {
        let (mut one, mut other) = connection();
        let (begun, begin) = channel::bounded(0);
        let (send, counts) = channel::unbounded();
        let reader = go(move || {
            begin.recv().unwrap();
            let mut buf = [0];
            loop {
                send.send(other.read(&mut buf).unwrap()).unwrap();
            }
        });
        one.write_all(&[1, 2, 3]).unwrap();
        reader.cancel();
        // The receive was cancelled, so the reader has not read; one that is in its loop reads to the end of what there is.
        let _ = begun.try_send(());
        assert!(reader.join().unwrap_err().is_cancelled());
        assert!(counts.try_iter().count() <= 3);
    });
}

#[test]
fn connects_can_be_cancelled() {
    on_goroutines(|| {
        // Nobody answers at this address (TEST-NET-1), or the network says so at once.
        let connecting = go(|| TcpStream::connect("192.0.2.1:9").map(drop));
        wait_until(|| connecting.is_finished() || common::waiting("connect") == 1);
        connecting.cancel();
        match connecting.join() {
            Err(error) => assert!(error.is_cancelled()),
            Ok(refused) => assert!(refused.is_err()),
        }
        let nobody: SocketAddr = "192.0.2.1:9".parse().unwrap();
        assert!(TcpStream::connect_timeout(&nobody, ms(3)).is_err());
    });
}

#[test]
fn deadlines_bound_all_calls_and_those_that_wait() {
    on_all(|| {
        let (mut one, mut other) = connection();
        one.set_read_deadline(Some(Instant::now() + ms(2)));
        for _ in 0..2 {
            assert_eq!(one.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::TimedOut);
        }
        // What is there is read all the same.
        other.write_all(&[5]).unwrap();
        one.set_read_deadline(None);
        assert_eq!(one.peek(&mut [0; 4]).unwrap(), 1);
        one.set_read_deadline(Some(Instant::now()));
        assert_eq!(one.read(&mut [0; 4]).unwrap(), 1);
        assert_eq!(one.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::TimedOut);
        // The timeout comes first, or the deadline does: each with its own error.
        one.set_read_timeout(Some(ms(1))).unwrap();
        one.set_read_deadline(Some(Instant::now() + LONG));
        assert_eq!(one.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
        one.set_read_timeout(Some(LONG)).unwrap();
        one.set_read_deadline(Some(Instant::now() + ms(1)));
        assert_eq!(one.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::TimedOut);
        // The other direction is another matter.
        one.write_all(&[6]).unwrap();
        one.set_write_deadline(Some(Instant::now()));
        while one.write(&[0; 1 << 16]).is_ok() {}
        assert_eq!(one.write(&[0; 1 << 16]).unwrap_err().kind(), ErrorKind::TimedOut);
        let (listener, _) = listener();
        listener.set_deadline(Some(Instant::now() + ms(1)));
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_deadline_that_is_set_while_somebody_waits_counts() {
    on_goroutines(|| {
        let (one, _other) = connection();
        let one = Arc::new(one);
        let reader = one.clone();
        let waiting = go(move || (&*reader).read(&mut [0; 4]).unwrap_err().kind());
        wait_for_waiters("net read", 1);
        one.set_read_deadline(Some(Instant::now()));
        assert_eq!(waiting.join().unwrap(), ErrorKind::TimedOut);
        // One that is taken away, too.
        one.set_read_deadline(Some(Instant::now() + LONG));
        let reader = one.clone();
        let waiting = go(move || (&*reader).read(&mut [0; 4]));
        wait_for_waiters("net read", 1);
        one.set_read_deadline(None);
        yield_now();
        assert!(!waiting.is_finished());
        waiting.cancel();
        assert!(waiting.join().is_err());
    });
}

#[test]
fn a_reader_and_a_writer_use_one_stream_at_once() {
    on_all(|| {
        const TOTAL: usize = 4 << 20;
        let (one, other) = connection();
        par(|p| {
            for stream in [&one, &other] {
                p.go(move || {
                    let mut stream = stream;
                    let chunk: Vec<u8> = (0..10_007).map(|n| n as u8).collect();
                    let mut left = TOTAL;
                    while left > 0 {
                        let len = chunk.len().min(left);
                        stream.write_all(&chunk[..len]).unwrap();
                        left -= len;
                    }
                    stream.shutdown(Shutdown::Write).unwrap();
                });
                p.go(move || {
                    let mut stream = stream;
                    let mut buf = vec![0; 33_333];
                    let mut at = 0;
                    loop {
                        let len = stream.read(&mut buf).unwrap();
                        if len == 0 {
                            break;
                        }
                        for (n, byte) in buf[..len].iter().enumerate() {
                            assert_eq!(*byte, ((at + n) % 10_007) as u8);
                        }
                        at += len;
                    }
                    assert_eq!(at, TOTAL);
                });
            }
        });
    });
}

#[test]
fn a_stalled_client_delays_nobody() {
    on_goroutines(|| {
        let (listener, address) = listener();
        let server = go(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                go(move || echo(stream));
            }
        });
        // One that sends without ever reading, until nothing goes any more; one that never sends.
        let mut flood = TcpStream::connect(address).unwrap();
        flood.set_write_timeout(Some(ms(5))).unwrap();
        while flood.write(&[1; 1 << 16]).is_ok() {}
        let _silent = TcpStream::connect(address).unwrap();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).unwrap();
            for n in 0..10 {
                stream.write_all(&[n; 100]).unwrap();
                let mut buf = [0; 100];
                stream.read_exact(&mut buf).unwrap();
                assert_eq!(buf, [n; 100]);
            }
        }
        server.cancel();
        assert!(server.join().is_err());
    });
}

#[test]
fn descriptors_are_polled_while_the_worker_is_busy() {
    // Goroutines that always have something to do share the worker with one that waits for a socket.
    for free in [false, true] {
        runtime(1, free).run(|| {
            let (mut one, other) = connection();
            let stop = Arc::new(AtomicBool::new(false));
            let busy: Vec<_> = (0..4)
                .map(|_| {
                    let stop = stop.clone();
                    go(move || {
                        while !stop.load(Ordering::Relaxed) {
                            yield_now();
                        }
                    })
                })
                .collect();
            let server = go(move || echo(other));
            for n in 0..50 {
                one.write_all(&[n]).unwrap();
                let mut buf = [0];
                one.read_exact(&mut buf).unwrap();
                assert_eq!(buf[0], n);
            }
            drop(one);
            server.join().unwrap();
            stop.store(true, Ordering::Relaxed);
            busy.into_iter().for_each(|one| one.join().unwrap());
        });
    }
}

#[test]
fn a_stuck_worker_keeps_no_descriptor_of_others() {
    for free in [false, true] {
        let rt = runtime(2, free);
        let (mut one, other) = connection();
        let other = Arc::new(other);
        let (registered, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (mine, set, stop) = (other.clone(), registered.clone(), done.clone());
        // Registers the socket with its worker, and then keeps that from everything.
        let hog = rt.go(move || {
            (&*mine).read_exact(&mut [0; 1]).unwrap();
            set.store(true, Ordering::SeqCst);
            while !stop.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
        });
        wait_until(|| rt.dump().contains("[net read]"));
        one.write_all(&[1]).unwrap();
        wait_until(|| registered.load(Ordering::SeqCst));
        // Whoever is started now runs on another worker.
        let reader = rt.go(move || {
            let mut buf = [0];
            (&*other).read_exact(&mut buf).unwrap();
            buf[0]
        });
        wait_until(|| rt.dump().contains("[net read]"));
        one.write_all(&[2]).unwrap();
        assert_eq!(reader.join().unwrap(), 2);
        done.store(true, Ordering::SeqCst);
        hog.join().unwrap();
    }
}

#[test]
fn timers_go_off_while_sockets_are_waited_for() {
    on_goroutines(|| {
        let (mut one, mut other) = connection();
        let server = go(move || {
            let mut buf = [0];
            while other.read(&mut buf).unwrap() == 1 {
                time::sleep(Duration::from_micros(200));
                other.write_all(&buf).unwrap();
            }
        });
        for n in 0..20 {
            let start = Instant::now();
            one.write_all(&[n]).unwrap();
            one.read_exact(&mut [0]).unwrap();
            assert!(start.elapsed() >= Duration::from_micros(200));
        }
        drop(one);
        server.join().unwrap();
    });
}

#[test]
fn sockets_outlive_the_runtime_they_were_registered_with() {
    for free in [false, true] {
        let first = runtime(2, free);
        let (mut one, other) = first.run(connection);
        let other = Arc::new(other);
        let read = |other: &Arc<TcpStream>| {
            let reader = other.clone();
            move || {
                let mut buf = [0];
                (&*reader).read_exact(&mut buf).map(|()| buf[0])
            }
        };
        // Registered there, and waited for by a goroutine of another runtime when the first one ends.
        let waiting = first.go(read(&other));
        first.run(|| wait_for_waiters("net read", 1));
        let second = runtime(1, free);
        let elsewhere = second.go(read(&other));
        second.run(|| wait_for_waiters("net read", 1));
        drop(first);
        assert!(waiting.join().unwrap_err().is_cancelled());
        one.write_all(&[1]).unwrap();
        assert_eq!(elsewhere.join().unwrap().unwrap(), 1);
        drop(second);
        // On a thread, and on the next runtime.
        let thread = std::thread::spawn(read(&other));
        one.write_all(&[2]).unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), 2);
        let third = runtime(2, !free);
        let again = third.go(read(&other));
        third.run(|| wait_for_waiters("net read", 1));
        one.write_all(&[3]).unwrap();
        assert_eq!(again.join().unwrap().unwrap(), 3);
    }
}

#[test]
fn a_dedicated_goroutine_leaves_its_sockets_to_others() {
    for free in [false, true] {
        runtime(2, free).run(move || {
            let (mut one, other) = connection();
            let other = Arc::new(other);
            let mine = other.clone();
            let registers = greenroutine::task::Builder::new()
                .dedicated(true)
                .spawn(move || (&*mine).read_exact(&mut [0]).unwrap())
                .unwrap();
            wait_for_waiters("net read", 1);
            one.write_all(&[1]).unwrap();
            registers.join().unwrap();
            let reader = go(move || (&*other).read_exact(&mut [0]).unwrap());
            wait_for_waiters("net read", 1);
            one.write_all(&[2]).unwrap();
            reader.join().unwrap();
        });
    }
}

#[test]
fn sockets_come_from_std_and_go_to_std() {
    on_all(|| {
        let std_listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = std_listener.local_addr().unwrap();
        let listener = TcpListener::from(std_listener);
        let std_stream = std::net::TcpStream::connect(address).unwrap();
        // The system counts in ticks of up to 10 ms.
        std_stream.set_read_timeout(Some(ms(20))).unwrap();
        let mut stream = TcpStream::from(std_stream);
        assert_eq!(stream.read_timeout().unwrap(), Some(ms(20)));
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let accepted = listener.accept().unwrap().0;
        accepted.set_write_timeout(Some(ms(40))).unwrap();
        // A clone keeps its socket; std gets a duplicate, which blocks.
        let clone = accepted.try_clone().unwrap();
        let mut std_accepted = std::net::TcpStream::from(accepted);
        assert_ne!(clone.as_raw_fd(), std_accepted.as_raw_fd());
        assert_eq!(std_accepted.write_timeout().unwrap(), Some(ms(40)));
        std_accepted.set_read_timeout(None).unwrap();
        stream.write_all(b"ab").unwrap();
        let mut buf = [0];
        std_accepted.read_exact(&mut buf).unwrap();
        (&clone).read_exact(&mut buf).unwrap();
        assert_eq!(buf[0], b'b');
        // Without a clone it is the same descriptor.
        let number = stream.as_raw_fd();
        let fd = OwnedFd::from(stream);
        assert_eq!(fd.as_raw_fd(), number);
        let mut back = TcpStream::from(fd);
        drop(std_accepted);
        drop(clone);
        assert_eq!(back.read(&mut buf).unwrap(), 0);
        assert!(back.as_fd().as_raw_fd() == number);
        // A listener in std's hands blocks again.
        let std_listener = std::net::TcpListener::from(listener);
        let client = std::thread::spawn(move || {
            std::thread::sleep(ms(1));
            drop(std::net::TcpStream::connect(address).unwrap());
        });
        std_listener.accept().unwrap();
        client.join().unwrap();
        let udp = UdpSocket::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        udp.set_nonblocking(true).unwrap();
        let udp = std::net::UdpSocket::from(udp);
        assert_eq!(udp.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_storm_of_connections_is_served() {
    on_goroutines(|| {
        let (listener, address) = listener();
        let listener = Arc::new(listener);
        let acceptors: Vec<_> = (0..3)
            .map(|_| {
                let listener = listener.clone();
                go(move || {
                    for stream in listener.incoming() {
                        let stream = stream.unwrap();
                        go(move || echo(stream));
                    }
                })
            })
            .collect();
        let clients: Vec<_> = (0..300_u32)
            .map(|n| {
                go(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(&n.to_le_bytes()).unwrap();
                    let mut buf = [0; 4];
                    stream.read_exact(&mut buf).unwrap();
                    assert_eq!(u32::from_le_bytes(buf), n);
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        for acceptor in acceptors {
            acceptor.cancel();
            assert!(acceptor.join().is_err());
        }
    });
}

/// How many descriptors this process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn the_end_of_a_runtime_wakes_all_and_leaks_no_descriptor() {
    const NAME: &str = "the_end_of_a_runtime_wakes_all_and_leaks_no_descriptor";
    if is_child(NAME) {
        let once = |free: bool| {
            let rt = runtime(2, free);
            let (kept, drops) = (Arc::new(AtomicUsize::new(0)), 60);
            for n in 0..drops {
                let counted = Counted(kept.clone());
                drop(rt.go(move || {
                    let _counted = counted;
                    let (one, other) = UnixStream::pair().unwrap();
                    match n % 3 {
                        0 => drop((&one).read(&mut [0])),
                        1 => drop(TcpListener::bind("127.0.0.1:0").unwrap().accept()),
                        _ => while (&other).write(&[0; 1 << 16]).is_ok() {},
                    }
                }));
            }
            rt.run(|| wait_until(|| common::waiting("net read") + common::waiting("accept") >= 40));
            drop(rt);
            assert_eq!(kept.load(Ordering::SeqCst), drops);
        };
        // The first time brings the spare one.
        once(false);
        let before = descriptors();
        for round in 0..10 {
            once(round % 2 == 0);
            assert_eq!(descriptors(), before);
        }
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    const NAME: &str = "connections_that_come_and_go_leave_nothing";
    if is_child(NAME) {
        let rt = runtime(2, false);
        let churn = || {
            rt.run(|| {
                let (listener, address) = listener();
                let server = go(move || {
                    for stream in listener.incoming() {
                        let stream = stream.unwrap();
                        go(move || echo(stream));
                    }
                });
                let clients: Vec<_> = (0..8)
                    .map(|_| {
                        go(move || {
                            for _ in 0..100 {
                                let mut stream = TcpStream::connect(address).unwrap();
                                // No port is kept waiting.
                                stream.set_linger(Some(Duration::ZERO)).unwrap();
                                stream.write_all(&[1; 64]).unwrap();
                                stream.read_exact(&mut [0; 64]).unwrap();
                            }
                        })
                    })
                    .collect();
                clients.into_iter().for_each(|client| client.join().unwrap());
                server.cancel();
                assert!(server.join().is_err());
                wait_until(|| greenroutine::runtime::num_goroutines() == 1);
            });
        };
        churn();
        let before = descriptors();
        for _ in 0..4 {
            churn();
        }
        // Of 3200 connections. A spare worker that load has brought may have a poller of its own.
        assert!(descriptors() < before + 50, "{} after {before}", descriptors());
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn without_descriptors_accept_says_so_and_sheds_who_waits() {
    const NAME: &str = "without_descriptors_accept_says_so_and_sheds_who_waits";
    if is_child(NAME) {
        for free in [false, true] {
            runtime(2, free).run(|| {
                let (listener, address) = listener();
                let listener = Arc::new(listener);
                // Something waits, so that the worker has its poller.
                let accepting = listener.clone();
                let waiting = go(move || accepting.accept().map(drop));
                wait_for_waiters("accept", 1);
                waiting.cancel();
                assert!(waiting.join().is_err());
                let mut clients: Vec<_> =
                    (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
                let mut all = Vec::new();
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    all.push(file);
                }
                for client in &mut clients {
                    let error = listener.accept().unwrap_err();
                    assert!(matches!(error.raw_os_error(), Some(23 | 24)), "{error}");
                    // It hangs no longer.
                    client.set_read_timeout(Some(LONG)).unwrap();
                    match client.read(&mut [0]) {
                        Ok(len) => assert_eq!(len, 0),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                    }
                }
                // None waits: accept does, too, instead of turning in circles.
                listener.set_deadline(Some(Instant::now() + ms(5)));
                assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
                listener.set_deadline(None);
                drop(all);
                let client = TcpStream::connect(address).unwrap();
                assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
            });
        }
        println!("through");
        return;
    }
    let output = in_child_after(NAME, "ulimit -n 64");
    assert!(output.status.success() && text(&output).contains("through"), "{}", text(&output));
}

#[test]
fn an_idle_server_uses_no_cpu() {
    const NAME: &str = "an_idle_server_uses_no_cpu";
    if is_child(NAME) {
        let rt = runtime(4, false);
        let (listener, address) = rt.run(listener);
        let server = rt.go(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                go(move || echo(stream));
            }
        });
        let mut clients: Vec<_> = rt.run(|| {
            (0..100)
                .map(|n| {
                    let mut client = TcpStream::connect(address).unwrap();
                    client.write_all(&[n]).unwrap();
                    client.read_exact(&mut [0]).unwrap();
                    client
                })
                .collect()
        });
        let (mut quiet, mut last) = (0, switches());
        while quiet < 5 {
            std::thread::sleep(ms(300));
            let now = switches();
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
        }
        // And it is still there.
        rt.run(|| {
            for client in &mut clients {
                client.write_all(&[7]).unwrap();
                client.read_exact(&mut [0]).unwrap();
            }
        });
        drop(clients);
        server.cancel();
        assert!(server.join().is_err());
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}

/// Streams of bytes between goroutines that read and write in pieces of any size, with timeouts and cancellations in between: every byte arrives once and in order.
#[test]
fn bytes_survive_timeouts_and_cancellations() {
    on_goroutines(|| {
        let pairs: Vec<_> = (0..6_u64)
            .map(|seed| {
                let (one, other) = connection();
                let writer = go(move || {
                    let (mut rng, mut next) = (Rng(seed), 0_u32);
                    for _ in 0..300 {
                        let len = rng.below(3000) as usize;
                        let chunk: Vec<u8> = (0..len).map(|n| (next + n as u32) as u8).collect();
                        (&one).write_all(&chunk).unwrap();
                        next += len as u32;
                        if rng.below(4) == 0 {
                            yield_now();
                        }
                    }
                    one.shutdown(Shutdown::Write).unwrap();
                    next
                });
                let reader = go(move || {
                    let (mut rng, mut next) = (Rng(seed + 100), 0_u32);
                    let other = Arc::new(other);
                    loop {
                        let want = 1 + rng.below(4000) as usize;
                        if rng.below(8) == 0 {
                            other.set_read_timeout(Some(Duration::from_micros(1 + rng.below(50)))).unwrap();
                        }
                        let by_other = rng.below(8) == 0;
                        let stream = other.clone();
                        let read = move || {
                            let mut buf = vec![0; want];
                            (&*stream).read(&mut buf).map(|len| {
                                buf.truncate(len);
                                buf
                            })
                        };
                        let got = if by_other {
                            let helper = go(read);
                            yield_now();
                            helper.cancel();
                            match helper.join() {
                                Ok(got) => got,
                                Err(_) => continue,
                            }
                        } else {
                            read()
                        };
                        match got {
                            Ok(bytes) if bytes.is_empty() => return next,
                            Ok(bytes) => {
                                for byte in bytes {
                                    assert_eq!(byte, next as u8);
                                    next += 1;
                                }
                            }
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                });
                (writer, reader)
            })
            .collect();
        for (writer, reader) in pairs {
            assert_eq!(writer.join().unwrap(), reader.join().unwrap());
        }
    });
}

#[test]
fn who_always_finds_something_lets_the_others_run() {
    common::on_one_worker(|| {
        let (one, other) = greenroutine::net::UnixDatagram::pair().unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let count = ran.clone();
        let neighbour = go(move || count.fetch_add(1, Ordering::SeqCst));
        // None of these has to wait.
        for n in 0..100 {
            one.send(&[n]).unwrap();
            let mut buf = [0];
            assert_eq!((other.recv(&mut buf).unwrap(), buf[0]), (1, n));
        }
        assert_eq!(ran.load(Ordering::SeqCst), 1);
        neighbour.join().unwrap();
    });
}

/// A stream that goes from hand to hand is registered with one worker after the other; in between it is waited for from all sides.
#[test]
fn streams_go_from_hand_to_hand() {
    on_goroutines(|| {
        const HANDS: usize = 6;
        const ROUNDS: usize = 60;
        let (mut one, other) = connection();
        let other = Arc::new(other);
        let hands: Vec<_> = (0..HANDS).map(|_| channel::bounded::<usize>(0)).collect();
        let holders: Vec<_> = (0..HANDS)
            .map(|at| {
                let (turn, next) = (hands[at].1.clone(), hands[(at + 1) % HANDS].0.clone());
                let stream = other.clone();
                go(move || {
                    for n in &turn {
                        // Some keep it for a while, so that it comes to them.
                        for _ in 0..1 + n % 9 {
                            let mut buf = [0];
                            (&*stream).read_exact(&mut buf).unwrap();
                            (&*stream).write_all(&buf).unwrap();
                        }
                        if n + 1 == ROUNDS || next.send(n + 1).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        let (first, _) = hands[0].clone();
        drop(hands);
        first.send(0).unwrap();
        drop(first);
        let trips: usize = (0..ROUNDS).map(|n| 1 + n % 9).sum();
        for n in 0..trips {
            one.write_all(&[n as u8]).unwrap();
            let mut buf = [0];
            one.read_exact(&mut buf).unwrap();
            assert_eq!(buf[0], n as u8);
        }
        holders.into_iter().for_each(|holder| holder.join().unwrap());
    });
}
