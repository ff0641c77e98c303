//! A chat over WebSockets, by `tungstenite`, a protocol crate that knows nothing of goroutines. Two goroutines a guest: one reads, one writes.
//!
//! `cargo run --release --example chat -- ADDRESS` serves until it is stopped: open http://ADDRESS/ in two browser windows. Without arguments a few guests talk to each other, and what each hears is checked.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use greenroutine::channel::{self, Sender};
use greenroutine::net::{Shutdown, TcpListener, TcpStream};
use greenroutine::sync::Mutex;
use greenroutine::{go, time};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

const PAGE: &str =
    "<!doctype html><meta charset=utf-8><title>chat</title><pre id=log></pre><input id=line autofocus>
<script>
const socket = new WebSocket(`ws://${location.host}/chat`);
socket.onmessage = message => log.textContent += message.data + '\\n';
socket.onclose = () => log.textContent += '(closed)\\n';
line.onchange = () => { socket.send(line.value); line.value = ''; };
</script>
";

/// Messages that a guest has not read yet; one with more is too slow and goes.
const MOST_WAITING: usize = 256;

/// The guests: where each hears the others.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<Guests>>);

#[derive(Default)]
struct Guests {
    last: u64,
    hear: HashMap<u64, Sender<String>>,
}

impl Room {
    fn enter(&self, hears: Sender<String>) -> u64 {
        let mut room = self.0.lock();
        room.last += 1;
        let number = room.last;
        room.hear.insert(number, hears);
        number
    }

    fn leave(&self, number: u64) {
        self.0.lock().hear.remove(&number);
    }

    fn say(&self, text: &str) {
        // Who has no room for more is closed out: the writer ends, and with it the guest.
        self.0.lock().hear.retain(|_, guest| guest.try_send(text.to_owned()).is_ok());
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    greenroutine::run(|| {
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
        if address.is_none() {
            return check(listener);
        }
        println!("http://{}/", listener.local_addr()?);
        serve(&listener);
        Ok(())
    })
}

fn serve(listener: &TcpListener) {
    let room = Room::default();
    for stream in listener.incoming() {
        let room = room.clone();
        go(move || {
            // An error ends this guest's visit and nobody else's.
            if let Err(error) = stream.and_then(|stream| visit(stream, &room)) {
                eprintln!("{error}");
            }
        });
    }
}

fn visit(mut stream: TcpStream, room: &Room) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A request for the page, or for the socket.
    let mut head = [0; 2048];
    let is_upgrade = loop {
        let len = stream.peek(&mut head)?;
        let text = String::from_utf8_lossy(&head[..len]).to_ascii_lowercase();
        if text.contains("\r\n\r\n") || len == 0 || len == head.len() {
            break text.contains("upgrade: websocket");
        }
        time::sleep(Duration::from_millis(1));
    };
    if !is_upgrade {
        io::Read::read(&mut stream, &mut head)?;
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PAGE}",
            PAGE.len()
        );
    }
    let writer = stream.try_clone()?;
    let mut reads = tungstenite::accept(stream).map_err(io::Error::other)?;
    let (hears, heard) = channel::bounded(MOST_WAITING);
    let me = room.enter(hears);
    let writing = go(move || {
        let mut writes = WebSocket::from_raw_socket(&writer, Role::Server, None);
        let mut sent = Ok(());
        while sent.is_ok()
            && let Ok(text) = heard.recv()
        {
            sent = writes.send(Message::text(text));
        }
        // Ends the reader too.
        let _ = writer.shutdown(Shutdown::Both);
    });
    room.say(&format!("guest {me} is here"));
    while let Ok(message) = reads.read() {
        if let Message::Text(text) = message {
            room.say(&format!("guest {me}: {text}"));
        }
    }
    room.leave(me);
    room.say(&format!("guest {me} has left"));
    writing.join().map_err(io::Error::other)
}

/// Five guests, who say ten things each.
fn check(listener: TcpListener) -> io::Result<()> {
    const GUESTS: usize = 5;
    const EACH: usize = 10;
    let address = listener.local_addr()?;
    let server = go(move || serve(&listener));
    let mut page = TcpStream::connect(address)?;
    page.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    assert!(io::read_to_string(&mut page)?.ends_with(PAGE));
    let mut guests = Vec::new();
    for number in 0..GUESTS {
        let stream = TcpStream::connect(address)?;
        let (mut guest, _) =
            tungstenite::client(format!("ws://{address}/chat"), stream).map_err(io::Error::other)?;
        // Those who were there hear of it as well; this one knows that it is in the room.
        let hello = guest.read().map_err(io::Error::other)?;
        assert_eq!(hello.to_text().map_err(io::Error::other)?, format!("guest {} is here", number + 1));
        guests.push(guest);
    }
    let talking: Vec<_> = guests
        .into_iter()
        .map(|mut guest| {
            go(move || -> Result<usize, tungstenite::Error> {
                for n in 0..EACH {
                    guest.send(Message::text(format!("{n}")))?;
                }
                let mut heard = 0;
                while heard < GUESTS * EACH {
                    heard += usize::from(guest.read()?.to_text()?.contains(": "));
                }
                guest.close(None)?;
                Ok(heard)
            })
        })
        .collect();
    let mut heard = 0;
    for guest in talking {
        heard += guest.join().map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
    server.cancel();
    println!("{heard} messages heard by {GUESTS} guests");
    Ok(())
}
