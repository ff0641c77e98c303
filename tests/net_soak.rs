//! Very many connections. Ignored unless asked for (`cargo test --release --test net_soak -- --ignored --nocapture`): they take the machine's descriptors. A short form of each is in `tests/net.rs`.

mod common;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{in_child, is_child, text, wait_until};
use greenroutine::net::{TcpListener, TcpStream};
use greenroutine::sync::Semaphore;
use greenroutine::{Runtime, go};

/// How many more files this process may open.
fn descriptors_left() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    soft - std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Bytes of physical memory that the process holds, page tables included.
fn held() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kilobytes = |key: &str| -> usize {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap()
    };
    (kilobytes("VmRSS:") + kilobytes("VmPTE:")) * 1024
}

/// Answers what it gets until the end.
fn echo(mut stream: TcpStream) {
    let mut buf = [0; 64];
    while let Ok(len @ 1..) = stream.read(&mut buf) {
        if stream.write_all(&buf[..len]).is_err() {
            return;
        }
    }
}

fn serve(address: SocketAddr, connected: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    go(move || {
        for stream in listener.incoming() {
            let (stream, connected) = (stream.unwrap(), connected.clone());
            connected.fetch_add(1, Ordering::SeqCst);
            go(move || {
                echo(stream);
                connected.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    address
}

/// 100,000 connections, or half as many as there are descriptors, each with a goroutine that waits; then each is used once.
#[test]
#[ignore = "takes the machine's descriptors"]
fn idle_connections_cost_memory_and_nothing_else() {
    const NAME: &str = "idle_connections_cost_memory_and_nothing_else";
    if !is_child(NAME) {
        // Memory that other tests have used and given back would count.
        let output = in_child(NAME, |command| {
            command.arg("--ignored");
        });
        println!("{}", text(&output));
        assert!(output.status.success());
        return;
    }
    let count = (descriptors_left() / 2 - 100).min(100_000);
    let rt = Runtime::builder().stack_max(256 << 10).build().unwrap();
    rt.run(move || {
        let connected = Arc::new(AtomicUsize::new(0));
        // A loopback address has 28,000 ports for clients.
        let servers: Vec<_> =
            (1..=4).map(|last| serve(SocketAddr::from(([127, 0, 0, last], 0)), connected.clone())).collect();
        let before = held();
        let mut clients: Vec<_> =
            (0..count).map(|n| TcpStream::connect(servers[n % servers.len()]).unwrap()).collect();
        wait_until(|| connected.load(Ordering::SeqCst) == count);
        let each = (held() - before) / count;
        println!("{count} connections: {each} bytes each, both ends and the server's goroutine");
        for client in &mut clients {
            client.write_all(&[1]).unwrap();
        }
        for client in &mut clients {
            client.read_exact(&mut [0]).unwrap();
        }
        drop(clients);
        wait_until(|| connected.load(Ordering::SeqCst) == 0);
    });
}

/// A million connections that come and go, of which few are there at once.
#[test]
#[ignore = "takes minutes"]
fn a_million_connections_leave_nothing() {
    const ROUNDS: usize = 20;
    const EACH: usize = 50_000;
    let rt = Runtime::builder().build().unwrap();
    let mut levels = Vec::new();
    for _ in 0..ROUNDS {
        rt.run(|| {
            let connected = Arc::new(AtomicUsize::new(0));
            let address = serve(SocketAddr::from(([127, 0, 0, 1], 0)), connected.clone());
            let seats = Arc::new(Semaphore::new(64));
            let clients: Vec<_> = (0..EACH)
                .map(|_| {
                    let seats = seats.clone();
                    go(move || {
                        let _seat = seats.acquire(1);
                        let mut stream = TcpStream::connect(address).unwrap();
                        // No port is kept waiting.
                        stream.set_linger(Some(Duration::ZERO)).unwrap();
                        stream.write_all(&[1; 64]).unwrap();
                        stream.read_exact(&mut [0; 64]).unwrap();
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
            wait_until(|| connected.load(Ordering::SeqCst) == 0);
        });
        levels.push((std::fs::read_dir("/proc/self/fd").unwrap().count(), held() >> 20));
    }
    println!("descriptors and MiB after each {EACH}: {levels:?}");
    // One listener a round stays: its goroutine waits for good.
    let (first, last) = (levels[ROUNDS / 2], levels[ROUNDS - 1]);
    assert!(last.0 - first.0 <= ROUNDS, "{levels:?}");
    assert!(last.1 <= first.1 + first.1 / 4 + 16, "{levels:?}");
}
