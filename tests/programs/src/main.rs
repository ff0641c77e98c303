//! Real libraries, unchanged, on the crate's heap: `programs NAME SCALE` does one job and prints what came out, the same for every allocator. `.ci/programs` runs each with the crate's
//! heap and with the system's allocator (`GREENROUTINE_HEAP=system`) and compares.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;

use grep_matcher::Matcher;
use grep_regex::RegexMatcher;
use grep_searcher::SearcherBuilder;
use grep_searcher::sinks::UTF8;
use ignore::{WalkBuilder, WalkState};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use serde_json::{Value, json};

/// SplitMix64: what a run does is what its seed says.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn word(&mut self) -> String {
        (0..1 + self.below(12)).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

fn digest(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A tree of some hundred bytes.
fn record(random: &mut Random) -> Value {
    let tags: Vec<String> = (0..random.below(6)).map(|_| random.word()).collect();
    let map: serde_json::Map<String, Value> = (0..random.below(5))
        .map(|n| (format!("{}{n}", random.word()), json!(random.next() as f64 / 7.0)))
        .collect();
    json!({
        "id": random.next(), "name": random.word(), "tags": tags, "map": map,
        "text": (0..random.below(20)).map(|_| random.word()).collect::<Vec<_>>().join(" "),
        "nested": {"left": [1, 2.5, null, true], "right": {"deep": [[["end"]]]}},
    })
}

/// serde_json: builds a document of `scale` megabytes, writes it, reads it, changes it, writes it again.
fn json_document(scale: usize) {
    let mut random = Random(1);
    let mut written = Vec::new();
    let mut records = Vec::new();
    while written.len() < scale * 1_000_000 {
        let record = record(&mut random);
        serde_json::to_writer(&mut written, &record).expect("a Vec takes everything");
        records.push(record);
    }
    let text = serde_json::to_string(&records).expect("a tree of strings and numbers");
    println!("{} records, {} bytes, {:016x}", records.len(), text.len(), digest(text.as_bytes()));
    drop(records);
    let mut read: Vec<Value> = serde_json::from_str(&text).expect("what was written");
    for value in &mut read {
        if random.below(3) == 0 {
            *value = record(&mut random);
        } else {
            value["map"]["more"] = json!([random.next(), random.word()]);
        }
    }
    read.sort_by_key(|value| value["id"].as_u64());
    let text = serde_json::to_vec_pretty(&read).expect("a tree of strings and numbers");
    println!("{} bytes, {:016x}", text.len(), digest(&text));
}

/// regex: a corpus of `scale` megabytes and patterns of every engine.
fn regex_corpus(scale: usize) {
    let mut random = Random(2);
    let mut corpus = String::new();
    while corpus.len() < scale * 1_000_000 {
        corpus.push_str(&random.word());
        corpus.push_str(match random.below(12) {
            0 => "@example.com ",
            1 => "\n",
            2 => " 2026-11-24 ",
            3 => " 192.168.1.77 ",
            4 => " Grün ",
            _ => " ",
        });
    }
    let patterns = [
        r"[a-z]+@example\.com",
        r"\d{4}-\d{2}-\d{2}",
        r"(?:\d{1,3}\.){3}\d{1,3}",
        r"(?i)GR\w+",
        r"\b\p{L}{10,12}\b",
        r"(?m)^[a-m]+$",
        r"(a|b|c|d)(e|f|g)*x",
        r"(\w+)\s+(\w+)\s+2026",
        r"z{2,3}|q[^u]",
        r"(?s).{50}@",
    ];
    let texts: Vec<(usize, String)> = thread::scope(|scope| {
        let corpus = &corpus;
        let run = |pattern: &'static str| {
            scope.spawn(move || {
                let regex = regex::Regex::new(pattern).expect("a pattern");
                let found: Vec<String> =
                    regex.find_iter(corpus).map(|found| found.as_str().to_owned()).collect();
                let mut counts = BTreeMap::new();
                for text in &found {
                    *counts.entry(text.as_str()).or_insert(0_usize) += 1;
                }
                let replaced = regex.replace_all(&corpus[..corpus.len() / 10], "<$0>").into_owned();
                (
                    found.len(),
                    format!(
                        "{} {:016x} {:016x}",
                        counts.len(),
                        digest(found.join("|").as_bytes()),
                        digest(replaced.as_bytes())
                    ),
                )
            })
        };
        let threads: Vec<_> = patterns.into_iter().map(run).collect();
        threads.into_iter().map(|thread| thread.join().expect("searching does not panic")).collect()
    });
    for (pattern, (count, text)) in patterns.iter().zip(texts) {
        println!("{pattern}: {count} {text}");
    }
}

/// ripgrep's crates: walks the crate's sources on several threads, `scale` times, and searches every file.
fn grep_sources(scale: usize) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src");
    for round in 0..scale {
        for pattern in [r"fn \w+", r"unsafe", r"(?i)span", r"\bself\.[a-z_]+\("] {
            let found = Mutex::new(BTreeMap::new());
            let matcher = RegexMatcher::new(pattern).expect("a pattern");
            WalkBuilder::new(root).threads(4).build_parallel().run(|| {
                let (found, matcher) = (&found, &matcher);
                Box::new(move |entry| {
                    let Ok(entry) = entry else { return WalkState::Continue };
                    if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                        return WalkState::Continue;
                    }
                    let mut lines = Vec::new();
                    let sink = UTF8(|number, line| {
                        if let Ok(Some(place)) = matcher.find(line.as_bytes()) {
                            lines.push(format!("{number}:{}:{}", place.start(), line.trim()));
                        }
                        Ok(true)
                    });
                    let mut searcher = SearcherBuilder::new().line_number(true).build();
                    searcher.search_path(matcher, entry.path(), sink).expect("sources can be read");
                    let path = entry.path().display().to_string();
                    found.lock().expect("nothing panics").insert(path, lines);
                    WalkState::Continue
                })
            });
            let found = found.into_inner().expect("nothing panics");
            let lines: usize = found.values().map(Vec::len).sum();
            if round == 0 {
                println!(
                    "{pattern}: {} files, {lines} lines, {:016x}",
                    found.len(),
                    digest(format!("{found:?}").as_bytes())
                );
            }
        }
    }
}

/// rustls: `scale` handshakes on each of four threads, over memory, with a megabyte sent each way.
fn tls_handshakes(scale: usize) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let server = Arc::new(server.expect("a server's configuration"));
    let client = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
    let sums: Vec<u64> = thread::scope(|scope| {
        let run = |seed: u64| {
            let (client, server) = (client.clone(), server.clone());
            scope.spawn(move || {
                (0..scale as u64)
                    .map(|n| handshake(&client, &server, seed * 1000 + n))
                    .fold(0, u64::wrapping_add)
            })
        };
        let threads: Vec<_> = (0..4).map(run).collect();
        threads.into_iter().map(|thread| thread.join().expect("handshakes do not panic")).collect()
    });
    println!("{sums:x?}");
}

fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, seed: u64) -> u64 {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(client.clone(), name).expect("a client");
    let mut server = ServerConnection::new(server.clone()).expect("a server");
    client.set_buffer_limit(None);
    server.set_buffer_limit(None);
    let mut random = Random(seed);
    let message: Vec<u8> = (0..1_000_000).map(|_| random.next() as u8).collect();
    client.writer().write_all(&message).expect("no limit");
    let mut at_server = Vec::new();
    let mut back = Vec::new();
    let mut answered = false;
    while back.len() < message.len() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("a Vec takes everything");
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory does not fail");
            server.process_new_packets().expect("what the client sent");
            // Ends with "would block": there is no more yet.
            let _ = server.reader().read_to_end(&mut at_server);
        }
        if !answered && at_server.len() == message.len() {
            answered = true;
            server.writer().write_all(&at_server).expect("no limit");
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("a Vec takes everything");
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory does not fail");
            client.process_new_packets().expect("what the server sent");
            let _ = client.reader().read_to_end(&mut back);
        }
    }
    assert!(back == message, "what was sent comes back");
    digest(&back)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scale = arguments.get(1).and_then(|scale| scale.parse().ok());
    let (Some(name), Some(scale)) = (arguments.first(), scale) else {
        eprintln!("usage: programs json|regex|grep|tls SCALE");
        return ExitCode::from(2);
    };
    // Whose the memory is must be as the caller thinks.
    let asked_for_ours = std::env::var("GREENROUTINE_HEAP").is_err();
    if greenroutine::heap::stats().is_in_charge != asked_for_ours {
        eprintln!("programs: the allocator in charge is not the one asked for");
        return ExitCode::FAILURE;
    }
    match name.as_str() {
        "json" => json_document(scale),
        "regex" => regex_corpus(scale),
        "grep" => grep_sources(scale),
        "tls" => tls_handshakes(scale),
        other => {
            eprintln!("programs: no program {other}: json, regex, grep, tls");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
