//! The workloads of `greenroutine bench` on tokio's multi-threaded runtime. One line a figure: `name value unit`.
//!
//! Usage: `peers-tokio [workload ...]`, all of them without arguments. `recurse` and `fairness` are missing: a task has no stack to grow,
//! and nothing takes a worker from a task that spins.

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "measuring; the library's lints are looked up from here as well"
)]

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Barrier, Mutex, Notify, Semaphore, mpsc};

fn report(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}

fn per(taken: Duration, count: usize) -> f64 {
    taken.as_secs_f64() * 1e9 / count as f64
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().enable_all().build().expect("a runtime starts")
}

/// Runs `work` as a task, where spawning is as fast as it gets, and not on the main thread.
fn run(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = runtime();
    let task = runtime.spawn(work);
    runtime.block_on(task).expect("no panic");
}

/// Two tasks that yield, per yield.
fn yields() {
    const COUNT: usize = 2_000_000;
    run(async {
        let start = Instant::now();
        let both: Vec<_> = (0..2)
            .map(|_| {
                tokio::spawn(async {
                    for _ in 0..COUNT {
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in both {
            task.await.expect("no panic");
        }
        report("yield", per(start.elapsed(), 2 * COUNT), "ns/yield");
    });
}

/// Spawns a task and waits for it, one after the other.
fn spawnjoin() {
    const COUNT: usize = 1_000_000;
    run(async {
        let start = Instant::now();
        for _ in 0..COUNT {
            tokio::spawn(async {}).await.expect("no panic");
        }
        report("spawnjoin", per(start.elapsed(), COUNT), "ns/task");
    });
}

/// Spawns 10,000 tasks and waits for all; repeated.
fn spawnbatch() {
    const BATCH: usize = 10_000;
    const ROUNDS: usize = 100;
    run(async {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let tasks: Vec<_> = (0..BATCH).map(|_| tokio::spawn(async {})).collect();
            for task in tasks {
                task.await.expect("no panic");
            }
        }
        report("spawnbatch10k", per(start.elapsed(), BATCH * ROUNDS), "ns/task");
    });
}

/// A round trip over two channels of one place: there are none with less.
fn pingpong() {
    const COUNT: usize = 1_000_000;
    run(async {
        let (there, mut r) = mpsc::channel(1);
        let (s, mut back) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(v) = r.recv().await {
                s.send(v).await.expect("the receiver waits");
            }
        });
        let start = Instant::now();
        for n in 0..COUNT {
            there.send(n).await.expect("the receiver waits");
            back.recv().await.expect("the sender answers");
        }
        report("pingpong", per(start.elapsed(), COUNT), "ns/roundtrip");
    });
}

/// One producer, one consumer, 128 in between.
fn stream() {
    const COUNT: usize = 5_000_000;
    run(async {
        let (s, mut r) = mpsc::channel(128);
        let start = Instant::now();
        tokio::spawn(async move {
            for n in 0..COUNT {
                s.send(n).await.expect("the receiver waits");
            }
        });
        let mut sum = 0;
        while let Some(v) = r.recv().await {
            sum += v;
        }
        report("stream128", per(start.elapsed(), COUNT), "ns/item");
        assert_eq!(sum, COUNT * (COUNT - 1) / 2);
    });
}

/// A ring of 503 tasks that pass a token on.
fn ring() {
    const NODES: usize = 503;
    const HOPS: usize = 1_000_000;
    run(async {
        let (first, mut input) = mpsc::channel::<usize>(1);
        let done = Arc::new(Notify::new());
        for node in 0..NODES {
            let (out, next) = mpsc::channel(1);
            let out = if node == NODES - 1 { first.clone() } else { out };
            let (mut r, done) = (std::mem::replace(&mut input, next), done.clone());
            tokio::spawn(async move {
                while let Some(left) = r.recv().await {
                    if left == 0 {
                        return done.notify_one();
                    }
                    out.send(left - 1).await.expect("the receiver waits");
                }
            });
        }
        let start = Instant::now();
        first.send(HOPS).await.expect("the receiver waits");
        done.notified().await;
        report("ring503", per(start.elapsed(), HOPS), "ns/hop");
    });
}

/// Receives from whichever of two producers is ready.
fn selects() {
    const COUNT: usize = 1_000_000;
    run(async {
        let [mut a, mut b] = [(), ()].map(|()| {
            let (s, r) = mpsc::channel(1);
            tokio::spawn(async move {
                for n in 0..COUNT / 2 {
                    s.send(n).await.expect("the receiver waits");
                }
            });
            r
        });
        let start = Instant::now();
        for _ in 0..COUNT {
            tokio::select! {
                Some(_) = a.recv() => {}
                Some(_) = b.recv() => {}
            }
        }
        report("select2", per(start.elapsed(), COUNT), "ns/select");
    });
}

/// A tree of tasks, ten below each, that hands its leaves' numbers up through channels.
fn node(up: mpsc::Sender<u64>, number: u64, size: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut sum = number;
        if size > 1 {
            let part = size / 10;
            let (results, mut from_below) = mpsc::channel(1);
            for at in 0..10 {
                tokio::spawn(node(results.clone(), number + at * part, part));
            }
            drop(results);
            sum = 0;
            while let Some(result) = from_below.recv().await {
                sum += result;
            }
        }
        up.send(sum).await.expect("the receiver waits");
    })
}

fn skynet() {
    const LEAVES: u64 = 1_000_000;
    const ROUNDS: usize = 5;
    let runtime = runtime();
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let sum = runtime.block_on(async {
            let (up, mut results) = mpsc::channel(1);
            tokio::spawn(node(up, 0, LEAVES));
            results.recv().await
        });
        assert_eq!(sum, Some(LEAVES * (LEAVES - 1) / 2));
        best = best.min(start.elapsed());
    }
    report("skynet1M", best.as_secs_f64() * 1e3, "ms (best of 5)");
}

/// A million tasks that wait: memory, and the time to spawn and to wake them.
fn parked() {
    const COUNT: usize = 1_000_000;
    run(async {
        let before = held_bytes();
        let gate = Arc::new(Semaphore::new(0));
        let all_here = Arc::new(Notify::new());
        let to_come = Arc::new(AtomicUsize::new(COUNT));
        let start = Instant::now();
        let tasks: Vec<_> = (0..COUNT)
            .map(|_| {
                let (gate, to_come, all_here) = (gate.clone(), to_come.clone(), all_here.clone());
                tokio::spawn(async move {
                    if to_come.fetch_sub(1, Ordering::AcqRel) == 1 {
                        all_here.notify_one();
                    }
                    // Fails when the gate is closed, which is what it waits for.
                    let _ = gate.acquire().await;
                })
            })
            .collect();
        all_here.notified().await;
        let spawn = start.elapsed();
        report("parked1M.mem", held_bytes().saturating_sub(before) as f64 / COUNT as f64, "bytes/task");
        report("parked1M.spawn", per(spawn, COUNT), "ns/task (cold)");
        report("parked1M.maps", mappings() as f64, "mappings");
        let start = Instant::now();
        gate.close();
        for task in tasks {
            task.await.expect("no panic");
        }
        report("parked1M.wake", per(start.elapsed(), COUNT), "ns/task");
    });
}

/// Eight tasks that do nothing but lock a mutex, per lock.
fn mutex() {
    const TASKS: usize = 8;
    const COUNT: usize = 500_000;
    on_one_mutex("mutex8", TASKS, COUNT, false);
}

/// Four tasks that yield while they hold a mutex (zio's issue 574), per lock.
fn mutexyield() {
    const TASKS: usize = 4;
    const COUNT: usize = 100_000;
    on_one_mutex("mutexyield4", TASKS, COUNT, true);
}

/// tokio's own mutex, since std's may not be held over an await.
fn on_one_mutex(name: &'static str, tasks: usize, count: usize, yields: bool) {
    run(async move {
        let mutex = Arc::new(Mutex::new(0));
        let start = Instant::now();
        let all: Vec<_> = (0..tasks)
            .map(|_| {
                let mutex = mutex.clone();
                tokio::spawn(async move {
                    for _ in 0..count {
                        let mut guard = mutex.lock().await;
                        *guard += 1;
                        if yields {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        for task in all {
            task.await.expect("no panic");
        }
        report(name, per(start.elapsed(), tasks * count), "ns/lock");
        assert_eq!(*mutex.lock().await, tasks * count, "every lock counts");
    });
}

/// 100,000 tasks that sleep for 10 ms; and how late a sleeper of 50 µs is when nothing else goes on.
fn timers() {
    const SLEEPERS: usize = 100_000;
    run(async {
        let start = Instant::now();
        let all: Vec<_> =
            (0..SLEEPERS).map(|_| tokio::spawn(tokio::time::sleep(Duration::from_millis(10)))).collect();
        for task in all {
            task.await.expect("no panic");
        }
        report("timers100k", start.elapsed().as_secs_f64() * 1e3, "ms");
        let mut woken = Vec::new();
        for _ in 0..1000 {
            let start = Instant::now();
            tokio::time::sleep(Duration::from_micros(50)).await;
            woken.push(start.elapsed());
        }
        woken.sort_unstable();
        report("sleep50us", woken[woken.len() / 2].as_secs_f64() * 1e6, "µs (median)");
    });
}

/// 1,000 connections, each with one message on its way.
fn echo() {
    for (name, size, rounds) in [("echo64", 64, 300), ("echo16k", 16 << 10, 100)] {
        run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
            let address = listener.local_addr().expect("bound");
            let server = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.expect("accepts");
                    tokio::spawn(async move {
                        let mut buf = vec![0; size];
                        while let Ok(len @ 1..) = stream.read(&mut buf).await {
                            stream.write_all(&buf[..len]).await.expect("the client reads");
                        }
                    });
                }
            });
            measure(name, address, rounds, &[7].repeat(size), move |_| size).await;
            server.abort();
        });
    }
}

const REQUEST: &[u8] =
    b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

/// 1,000 connections that are kept alive, each with one request on its way. The clients know how the answer ends.
fn http() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(async |_| {
                        let body =
                            http_body_util::Full::new(hyper::body::Bytes::from_static(b"Hello, World!"));
                        let response = hyper::Response::builder()
                            .header("content-type", "text/plain; charset=utf-8")
                            .body(body);
                        Ok::<_, std::convert::Infallible>(response.expect("a response"))
                    });
                    let connection = hyper_util::rt::TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(connection, service)
                        .await;
                });
            }
        });
        let rest = |got: &[u8]| usize::from(!got.ends_with(b"Hello, World!"));
        measure("http", address, 200, REQUEST, move |got| got.len() + rest(got)).await;
        server.abort();
    });
}

/// Connects all clients, then has each send `message` and read until it has as much as `wanted` says of what it has, again and again.
async fn measure(
    name: &'static str,
    address: SocketAddr,
    rounds: usize,
    message: &[u8],
    wanted: impl Fn(&[u8]) -> usize + Copy + Send + 'static,
) {
    const CLIENTS: usize = 1000;
    let ready = Arc::new(Barrier::new(CLIENTS + 1));
    let message: Arc<[u8]> = message.into();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (ready, message) = (ready.clone(), message.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.expect("connects");
                stream.set_nodelay(true).expect("TCP");
                let mut buf = vec![0; 16 << 10];
                let mut trips = Vec::with_capacity(rounds);
                for round in 0..=rounds {
                    let start = Instant::now();
                    stream.write_all(&message).await.expect("the server reads");
                    let mut len = 0;
                    while len < wanted(&buf[..len]).max(1) {
                        len += stream.read(&mut buf[len..]).await.expect("the server answers");
                    }
                    if round == 0 {
                        ready.wait().await;
                    } else {
                        trips.push(start.elapsed());
                    }
                }
                trips
            })
        })
        .collect();
    ready.wait().await;
    let start = Instant::now();
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.expect("no panic"));
    }
    let taken = start.elapsed();
    all.sort_unstable();
    report(name, per(taken, all.len()), "ns/trip");
    report(&format!("{name}p99"), all[all.len() * 99 / 100].as_secs_f64() * 1e3, "ms");
}

/// Bytes of physical memory that the process holds, page tables included (VmRSS + VmPTE).
fn held_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let kilobytes = |key: &str| -> u64 {
        let value =
            status.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok());
        value.expect("Linux has these lines")
    };
    (kilobytes("VmRSS:") + kilobytes("VmPTE:")) * 1024
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").expect("Linux has it").lines().count()
}

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let workloads: [(&str, fn()); 14] = [
        ("yield", yields),
        ("spawnjoin", spawnjoin),
        ("spawnbatch", spawnbatch),
        ("pingpong", pingpong),
        ("stream", stream),
        ("ring", ring),
        ("select", selects),
        ("mutex", mutex),
        ("mutexyield", mutexyield),
        ("skynet", skynet),
        ("timers", timers),
        ("echo", echo),
        ("http", http),
        ("parked", parked),
    ];
    for (name, work) in workloads {
        if chosen.is_empty() || chosen.iter().any(|other| other == name) {
            work();
        }
    }
}
