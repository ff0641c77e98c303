//! The workloads that wait for time and sockets. Names, sizes and shapes are the peers'. Server and clients are goroutines of one runtime, over loopback.

#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroutine::net::{TcpListener, TcpStream};
use greenroutine::sync::Barrier;
use greenroutine::{go, time};

use super::bed::Bed;
use super::distribution::Distribution;
use super::report::Figure;
use super::workloads::{join, per};

/// 100,000 goroutines that sleep for 10 ms; and how late a sleeper of 50 µs is when nothing else goes on.
pub(super) fn timers(bed: &Bed) -> io::Result<Vec<Figure>> {
    const SLEEPERS: usize = 100_000;
    let runtime = bed.runtime()?;
    let all = runtime.run(|| {
        let start = Instant::now();
        let handles: Vec<_> = (0..SLEEPERS).map(|_| go(|| time::sleep(Duration::from_millis(10)))).collect();
        handles.into_iter().for_each(join);
        start.elapsed()
    });
    let mut woken = runtime.run(|| -> Vec<u64> {
        (0..1000)
            .map(|_| {
                let start = Instant::now();
                time::sleep(Duration::from_micros(50));
                nanos(start.elapsed())
            })
            .collect()
    });
    woken.sort_unstable();
    Ok(vec![
        Figure::new("timers100k", bed.mode, all.as_secs_f64() * 1e3, "ms"),
        Figure::new("sleep50us", bed.mode, woken[woken.len() / 2] as f64 / 1e3, "µs (median)"),
    ])
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Connections of the echo workloads and of http.
const CLIENTS: usize = 1000;

/// 1,000 connections, each with one message of 64 bytes on its way.
pub(super) fn echo_small(bed: &Bed) -> io::Result<Vec<Figure>> {
    echo(bed, "echo64", 64, bed.size(300))
}

/// The same with 16 KiB.
pub(super) fn echo_large(bed: &Bed) -> io::Result<Vec<Figure>> {
    echo(bed, "echo16k", 16 << 10, bed.size(100))
}

fn echo(bed: &Bed, name: &str, size: usize, rounds: usize) -> io::Result<Vec<Figure>> {
    let serve = move |mut stream: TcpStream| -> io::Result<()> {
        let mut buf = vec![0; size];
        loop {
            let len = stream.read(&mut buf)?;
            if len == 0 {
                return Ok(());
            }
            stream.write_all(&buf[..len])?;
        }
    };
    let trip = move |stream: &mut TcpStream, buf: &mut Vec<u8>| -> io::Result<()> {
        buf.resize(size, 7);
        stream.write_all(buf)?;
        stream.read_exact(buf)
    };
    measure(bed, name, rounds, serve, trip)
}

const REQUEST: &[u8] =
    b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

/// 1,000 connections that are kept alive, each with one request on its way. The clients know how long the answer is; the server parses every request.
pub(super) fn http(bed: &Bed) -> io::Result<Vec<Figure>> {
    let trip = |stream: &mut TcpStream, buf: &mut Vec<u8>| -> io::Result<()> {
        stream.write_all(REQUEST)?;
        buf.resize(4096, 0);
        let mut len = 0;
        while !buf[..len].ends_with(b"Hello, World!") {
            let more = stream.read(&mut buf[len..])?;
            if more == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            len += more;
        }
        Ok(())
    };
    measure(bed, "http", bed.size(200), serve_http, trip)
}

/// Answers every request with the same text and the headers that the peers' servers send.
fn serve_http(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; 4096];
    let mut len = 0;
    let mut answer = Vec::with_capacity(256);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&buf[..len]) {
            Ok(httparse::Status::Complete(end)) => {
                answer.clear();
                write!(
                    answer,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nDate: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 13\r\n\r\nHello, World!"
                )?;
                stream.write_all(&answer)?;
                buf.copy_within(end..len, 0);
                len -= end;
            }
            Ok(httparse::Status::Partial) => {
                let more = stream.read(&mut buf[len..])?;
                if more == 0 {
                    return Ok(());
                }
                len += more;
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// Connects all clients, then has each make `rounds` round trips.
fn measure(
    bed: &Bed,
    name: &str,
    rounds: usize,
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
    trip: impl Fn(&mut TcpStream, &mut Vec<u8>) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<Vec<Figure>> {
    let runtime = bed.runtime()?;
    let (taken, mut trips) = runtime.run(move || -> io::Result<(Duration, Vec<u64>)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = go(move || {
            for stream in listener.incoming() {
                let (stream, serve) = (stream?, serve.clone());
                go(move || serve(stream));
            }
            Ok::<(), io::Error>(())
        });
        let ready = Arc::new(Barrier::new(CLIENTS + 1));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (ready, trip) = (ready.clone(), trip.clone());
                go(move || client(address, &ready, rounds, trip))
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        let mut all = Vec::with_capacity(CLIENTS * rounds);
        for client in clients {
            all.extend(join(client)?);
        }
        let taken = start.elapsed();
        server.cancel();
        Ok((taken, all))
    })?;
    trips.sort_unstable();
    let late = trips[trips.len() * 99 / 100];
    Ok(vec![
        Figure::new(name, bed.mode, per(taken, trips.len()), "ns/trip"),
        Figure::new(&format!("{name}p99"), bed.mode, late as f64 / 1e6, "ms")
            .distribution(Distribution::of_sorted(&trips)),
    ])
}

/// Connects, waits for the others, and returns how long each trip took.
fn client(
    address: SocketAddr,
    ready: &Barrier,
    rounds: usize,
    trip: impl Fn(&mut TcpStream, &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<Vec<u64>> {
    let stream = TcpStream::connect(address).and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    // All come to the barrier, or the others would wait for ever.
    let first = stream.and_then(|mut stream| trip(&mut stream, &mut Vec::new()).map(|()| stream));
    ready.wait();
    let (mut stream, mut buf) = (first?, Vec::new());
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            trip(&mut stream, &mut buf)?;
            Ok(nanos(start.elapsed()))
        })
        .collect()
}
