//! A static file server: HTTP/1.1 with connections that are kept alive, pipelined requests, ranges and `HEAD`, over `httparse`, which only parses. One goroutine a connection; files are
//! read through the blocking pool or from the system's memory.
//!
//! `cargo run --release --example file_server -- DIRECTORY [ADDRESS]` serves until it is stopped (`curl -r 0-99 http://127.0.0.1:8080/file`). Without arguments it serves a directory of its own to itself, checks the
//! answers, and prints how many there were.

use std::fmt::Write as _;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use greenroutine::fs::{self, File};
use greenroutine::net::{TcpListener, TcpStream};
use greenroutine::{go, time};

/// The longest head of a request.
const MOST_HEAD: usize = 16 << 10;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1);
    let address = std::env::args().nth(2).unwrap_or_else(|| String::from("127.0.0.1:8080"));
    greenroutine::run(|| match directory {
        Some(directory) => {
            let listener = TcpListener::bind(address)?;
            println!("http://{}/", listener.local_addr()?);
            serve(&listener, fs::canonicalize(directory)?);
            Ok(())
        }
        None => check(),
    })
}

fn serve(listener: &TcpListener, root: PathBuf) {
    let root: Arc<Path> = root.into();
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                let root = root.clone();
                go(move || {
                    if let Err(error) = connection(&stream, &root) {
                        // The other side's affair: gone, or silent for too long.
                        eprintln!("{stream:?}: {error}");
                    }
                });
            }
            Err(error) => {
                eprintln!("accept: {error}");
                time::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Serves one request after the other.
fn connection(stream: &TcpStream, root: &Path) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut input = Vec::new();
    loop {
        let Some((request, length)) = head(stream, &mut input)? else { return Ok(()) };
        input.drain(..length);
        let keep = request.keep_alive;
        answer(stream, root, &request)?;
        if !keep {
            return Ok(());
        }
    }
}

struct Request {
    method: String,
    path: String,
    range: Option<String>,
    keep_alive: bool,
    /// What is wrong with it.
    bad: Option<&'static str>,
}

impl Request {
    fn bad(why: &'static str) -> Self {
        Self { method: String::new(), path: String::new(), range: None, keep_alive: false, bad: Some(why) }
    }
}

/// Reads up to the end of a request's head. None: the connection ended between two.
fn head(mut stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<Option<(Request, usize)>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(input) {
            Ok(httparse::Status::Complete(length)) => return Ok(Some((understood(&request), length))),
            Ok(httparse::Status::Partial) if input.len() < MOST_HEAD => {}
            Ok(httparse::Status::Partial) => return Ok(Some((Request::bad("head too long"), input.len()))),
            Err(_) => return Ok(Some((Request::bad("no HTTP"), input.len()))),
        }
        let mut more = [0; 4096];
        match stream.read(&mut more)? {
            0 if input.is_empty() => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => input.extend_from_slice(&more[..len]),
        }
    }
}

fn understood(request: &httparse::Request<'_, '_>) -> Request {
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    if header("content-length").is_some_and(|length| length != "0") || header("transfer-encoding").is_some() {
        return Request::bad("a body, which nothing here takes");
    }
    let connection = header("connection").unwrap_or_default().to_ascii_lowercase();
    Request {
        method: request.method.unwrap_or_default().to_owned(),
        path: request.path.unwrap_or_default().to_owned(),
        range: header("range").map(str::to_owned),
        keep_alive: if request.version == Some(1) {
            connection != "close"
        } else {
            connection == "keep-alive"
        },
        bad: None,
    }
}

fn answer(stream: &TcpStream, root: &Path, request: &Request) -> io::Result<()> {
    let plain = |status: &str, body: &str| respond(stream, request, status, "", body.as_bytes());
    if let Some(why) = request.bad {
        return plain("400 Bad Request", why);
    }
    if request.method != "GET" && request.method != "HEAD" {
        return plain("405 Method Not Allowed", "GET and HEAD only\n");
    }
    let Some(path) = inside(root, &request.path) else { return plain("404 Not Found", "not found\n") };
    // Links may lead out of the directory.
    let path = match fs::canonicalize(&path) {
        Ok(path) if path.starts_with(root) => path,
        _ => return plain("404 Not Found", "not found\n"),
    };
    let Ok(file) = File::open(&path) else { return plain("403 Forbidden", "cannot be read\n") };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return respond(
            stream,
            request,
            "200 OK",
            "Content-Type: text/html; charset=utf-8\r\n",
            list(&path)?.as_bytes(),
        );
    }
    let size = metadata.len();
    match request.range.as_deref().map(|range| part(range, size)) {
        None | Some(Ok(None)) => send(stream, request, file, 0..size, size, false),
        Some(Ok(Some(range))) => send(stream, request, file, range, size, true),
        Some(Err(())) => {
            let header = format!("Content-Range: bytes */{size}\r\n");
            respond(stream, request, "416 Range Not Satisfiable", &header, b"")
        }
    }
}

/// The path in `root` that a request means. None: outside, or no path.
fn inside(root: &Path, target: &str) -> Option<PathBuf> {
    let target = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let mut bytes = Vec::new();
    let mut rest = target.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
        }
    }
    let path = PathBuf::from(String::from_utf8(bytes).ok()?);
    path.components().all(|part| matches!(part, Component::Normal(_))).then(|| root.join(path))
}

/// The bytes that a `Range` header means. `Ok(None)`: all, because it is none that we know.
fn part(header: &str, size: u64) -> Result<Option<Range<u64>>, ()> {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..size.min(last.saturating_add(1)),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(last)) if first.is_empty() && last > 0 => size.saturating_sub(last)..size,
        _ => return Ok(None),
    };
    if range.start < size { Ok(Some(range)) } else { Err(()) }
}

fn list(directory: &Path) -> io::Result<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut page = String::from("<!doctype html><meta charset=utf-8><ul>\n");
    for name in names {
        let shown = name.replace('&', "&amp;").replace('<', "&lt;");
        let link: String = name.bytes().fold(String::new(), |mut link, byte| {
            let _ = write!(link, "%{byte:02x}");
            link
        });
        let _ = writeln!(page, "<li><a href=\"./{link}\">{shown}</a>");
    }
    Ok(page + "</ul>\n")
}

/// An answer that is there as a whole.
fn respond(
    mut stream: &TcpStream,
    request: &Request,
    status: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<()> {
    let connection = if request.keep_alive { "keep-alive" } else { "close" };
    let mut out = Vec::with_capacity(256 + body.len());
    write!(
        out,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: {connection}\r\n\r\n",
        body.len()
    )?;
    if request.method != "HEAD" {
        out.extend_from_slice(body);
    }
    stream.write_all(&out)
}

/// A file, or a part of it.
fn send(
    mut stream: &TcpStream,
    request: &Request,
    mut file: File,
    range: Range<u64>,
    size: u64,
    is_part: bool,
) -> io::Result<()> {
    let connection = if request.keep_alive { "keep-alive" } else { "close" };
    let length = range.end - range.start;
    let mut out = Vec::with_capacity(256);
    let status = if is_part { "206 Partial Content" } else { "200 OK" };
    write!(out, "HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\nContent-Type: application/octet-stream\r\n")?;
    if is_part {
        write!(out, "Content-Range: bytes {}-{}/{size}\r\n", range.start, range.end - 1)?;
    }
    write!(out, "Content-Length: {length}\r\nConnection: {connection}\r\n\r\n")?;
    stream.write_all(&out)?;
    if request.method == "HEAD" {
        return Ok(());
    }
    file.seek(SeekFrom::Start(range.start))?;
    let sent = greenroutine::io::copy(&mut file.take(length), &mut stream)?;
    // Cut while it was read: the length that was promised cannot be kept.
    if sent == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Serves a directory of its own to a hundred clients at once.
fn check() -> io::Result<()> {
    let root = std::env::temp_dir().join(format!("greenroutine-file-server-{}", std::process::id()));
    fs::create_dir_all(root.join("deep"))?;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(root.join("file"), &bytes)?;
    fs::write(root.join("deep/sp ace"), "inner")?;
    fs::write(root.join("empty"), "")?;
    let root = fs::canonicalize(&root)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let served = root.clone();
    let server = go(move || serve(&listener, served));
    let bytes: Arc<[u8]> = bytes.into();
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let bytes = bytes.clone();
            go(move || client(TcpStream::connect(address)?, &bytes))
        })
        .collect();
    let mut answers = 0;
    for client in clients {
        answers += client.join().map_err(io::Error::other)??;
    }
    server.cancel();
    fs::remove_dir_all(&root)?;
    println!("{answers} answers checked");
    Ok(())
}

/// Asks for everything on one connection, and counts the answers.
fn client(mut stream: TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut rest = Vec::new();
    let mut count = 0;
    let mut ask = |request: &str, status: u32, body: &[u8]| -> io::Result<()> {
        stream.write_all(request.as_bytes())?;
        let got = read_answer(&mut stream, &mut rest, request.starts_with("HEAD"))?;
        count += 1;
        if got == (status, body.to_vec()) {
            return Ok(());
        }
        Err(io::Error::other(format!("{request:?}: {} with {} bytes", got.0, got.1.len())))
    };
    ask("GET /file HTTP/1.1\r\n\r\n", 200, bytes)?;
    ask("GET /file HTTP/1.1\r\nRange: bytes=10-19\r\n\r\n", 206, &bytes[10..20])?;
    ask("GET /file HTTP/1.1\r\nRange: bytes=199990-\r\n\r\n", 206, &bytes[199_990..])?;
    ask("GET /file HTTP/1.1\r\nRange: bytes=-5\r\n\r\n", 206, &bytes[199_995..])?;
    ask("GET /file HTTP/1.1\r\nRange: bytes=200000-\r\n\r\n", 416, b"")?;
    ask("HEAD /file HTTP/1.1\r\n\r\n", 200, b"")?;
    ask("GET /deep/sp%20ace?x=1 HTTP/1.1\r\n\r\n", 200, b"inner")?;
    ask("GET /empty HTTP/1.1\r\n\r\n", 200, b"")?;
    ask("GET /none HTTP/1.1\r\n\r\n", 404, b"not found\n")?;
    ask("GET /../file HTTP/1.1\r\n\r\n", 404, b"not found\n")?;
    ask("DELETE /file HTTP/1.1\r\n\r\n", 405, b"GET and HEAD only\n")?;
    // Two at once, and the last one of the connection.
    stream
        .write_all(b"GET /deep/sp%20ace HTTP/1.1\r\n\r\nGET /empty HTTP/1.1\r\nConnection: close\r\n\r\n")?;
    assert_eq!(read_answer(&mut stream, &mut rest, false)?, (200, b"inner".to_vec()));
    assert_eq!(read_answer(&mut stream, &mut rest, false)?, (200, Vec::new()));
    assert_eq!((rest.len(), stream.read(&mut [0])?), (0, 0));
    Ok(count + 2)
}

/// Status and body of one answer; what comes after it stays in `rest`.
fn read_answer(stream: &mut TcpStream, rest: &mut Vec<u8>, is_head: bool) -> io::Result<(u32, Vec<u8>)> {
    let mut buf = [0; 16 << 10];
    loop {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
            let body = if is_head { 0 } else { length.unwrap_or(0) };
            if rest.len() >= end + 4 + body {
                let after = rest.split_off(end + 4 + body);
                let answer = std::mem::replace(rest, after).split_off(end + 4);
                return Ok((status, answer));
            }
        }
        match stream.read(&mut buf)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => rest.extend_from_slice(&buf[..len]),
        }
    }
}
