//! TLS by `rustls` on goroutines: its blocking streams over this crate's sockets, unchanged. A server that echoes lines, and clients that check its certificate.
//!
//! `cargo run --release --example tls_echo -- ADDRESS` serves with a certificate of its own making until it is stopped (`openssl s_client -connect ADDRESS`). Without arguments it talks to itself.

use std::io::{self, BufRead, BufReader, Write};
use std::sync::Arc;

use greenroutine::go;
use greenroutine::net::{TcpListener, TcpStream};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

const CLIENTS: usize = 50;
const LINES: usize = 20;

fn main() -> io::Result<()> {
    let made = rcgen::generate_simple_self_signed([String::from("localhost")]).map_err(io::Error::other)?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .map_err(io::Error::other)?;
    let server = Arc::new(server);
    let address = std::env::args().nth(1);
    greenroutine::run(|| {
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
        println!(
            "echoes on {}",
            if address.is_some() { listener.local_addr()?.to_string() } else { "loopback".into() }
        );
        if address.is_some() {
            serve(&listener, &server);
            return Ok(());
        }
        let address = listener.local_addr()?;
        let serving = go(move || serve(&listener, &server));
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).map_err(io::Error::other)?;
        let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let config = config.clone();
                go(move || client(TcpStream::connect(address)?, config, number))
            })
            .collect();
        let mut lines = 0;
        for client in clients {
            lines += client.join().map_err(io::Error::other)??;
        }
        serving.cancel();
        println!("{lines} lines came back");
        Ok(())
    })
}

fn serve(listener: &TcpListener, config: &Arc<ServerConfig>) {
    for stream in listener.incoming() {
        let config = config.clone();
        go(move || {
            let session = ServerConnection::new(config).map_err(io::Error::other)?;
            let mut tls = StreamOwned::new(session, stream?);
            let mut line = Vec::new();
            loop {
                line.clear();
                // One byte at a time from the session's buffer, not from the socket.
                while line.last() != Some(&b'\n') {
                    let mut byte = [0];
                    match io::Read::read(&mut tls, &mut byte)? {
                        0 => return Ok::<(), io::Error>(()),
                        _ => line.push(byte[0]),
                    }
                }
                tls.write_all(&line)?;
            }
        });
    }
}

/// Sends lines and compares what comes back. Returns how many there were.
fn client(stream: TcpStream, config: Arc<ClientConfig>, number: usize) -> io::Result<usize> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut tls = BufReader::new(StreamOwned::new(session, stream));
    for n in 0..LINES {
        let line = format!("line {n} of client {number}\n");
        tls.get_mut().write_all(line.as_bytes())?;
        let mut back = String::new();
        tls.read_line(&mut back)?;
        if back != line {
            return Err(io::Error::other(format!("{line:?} came back as {back:?}")));
        }
    }
    // Says that this is the end.
    let session = tls.get_mut();
    session.conn.send_close_notify();
    session.flush()?;
    Ok(LINES)
}
