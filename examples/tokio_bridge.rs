//! Async crates from goroutines: a `hyper` client, whose sockets are tokio's, called from blocking code. The reactor runs on a tokio runtime of its own; goroutines enter it and park in
//! `block_on`, while their workers go on. And the other way: tokio tasks that await goroutines and channels.
//!
//! Prints how many requests were answered, and the sum of what came through a channel.

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;

use greenroutine::net::{TcpListener, TcpStream};
use greenroutine::{block_on, channel, go};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;

const CLIENTS: u32 = 20;
const EACH: u32 = 10;

fn main() -> io::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let reactor = tokio.handle().clone();
    greenroutine::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = go(move || serve(&listener));
        let (numbers, sums) = channel::bounded(4);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (reactor, numbers) = (reactor.clone(), numbers.clone());
                go(move || -> io::Result<u32> {
                    for n in 0..EACH {
                        // Blocking code with an async crate in it.
                        let text = get(&reactor, address, &format!("/{client}/{n}"))?;
                        assert_eq!(text, format!("you asked for /{client}/{n}"));
                        numbers.send(n).map_err(io::Error::other)?;
                    }
                    Ok(EACH)
                })
            })
            .collect();
        drop(numbers);
        // A task of tokio's that receives what goroutines send, and joins them.
        let task = reactor.spawn(async move {
            let (mut stream, mut sum) = (sums.stream(), 0);
            while let Some(n) = stream.next().await {
                sum += n;
            }
            let mut answered = 0;
            for client in clients {
                answered += client.await.map_err(io::Error::other)??;
            }
            Ok::<_, io::Error>((answered, sum))
        });
        let (answered, sum) = block_on(task).map_err(io::Error::other)??;
        server.cancel();
        println!("{answered} requests answered; the sum is {sum}");
        Ok(())
    })
}

/// Runs a future of tokio's world on this goroutine. Each poll finds the reactor; nothing of that is kept while the goroutine is parked, when others run on its thread.
fn entered<F: Future>(reactor: &Handle, future: F) -> F::Output {
    let mut future = pin!(future);
    block_on(poll_fn(|context| {
        let _entered = reactor.enter();
        future.as_mut().poll(context)
    }))
}

/// One request by hyper. The goroutine parks until the answer is there.
fn get(reactor: &Handle, address: SocketAddr, path: &str) -> io::Result<String> {
    let request = Request::get(path)
        .header("host", address.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = entered(reactor, async move {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        answer.into_body().collect().await.map_err(io::Error::other)
    });
    let body = answer?.to_bytes();
    String::from_utf8(body.into()).map_err(io::Error::other)
}

/// Answers each request with its path, on goroutines.
fn serve(listener: &TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        go(move || answer(&stream));
    }
    Ok(())
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        let mut len = 0;
        while !buf[..len].ends_with(b"\r\n\r\n") {
            match stream.read(&mut buf[len..])? {
                0 => return Ok(()),
                more => len += more,
            }
        }
        let head = String::from_utf8_lossy(&buf[..len]);
        let body = format!("you asked for {}", head.split(' ').nth(1).unwrap_or("nothing"));
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}
