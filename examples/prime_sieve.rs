//! The concurrent prime sieve (McIlroy's, known from Hoare's and Go's papers): a generator sends 2, 3, 4, .. down a chain of goroutines, each of which lets through what
//! its own prime does not divide. Whatever comes out of the end is the next prime, and gets a goroutine of its own.
//!
//! ```sh
//! cargo run --release --example prime_sieve -- 1000
//! ```
//!
//! prints the first primes and how many messages it took; `--check` compares with trial division. Not a fast way to find primes; a good
//! way to see what a message costs.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program measures with std's clock")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use greenroutine::channel::{Receiver, bounded};
use greenroutine::go;

fn main() -> ExitCode {
    let mut count = 1000;
    let mut check = false;
    for argument in std::env::args().skip(1) {
        match argument.parse() {
            Ok(number) => count = number,
            Err(_) if argument == "--check" => check = true,
            Err(error) => {
                eprintln!("prime_sieve: {argument:?}: {error}\nusage: prime_sieve [COUNT] [--check]");
                return ExitCode::from(2);
            }
        }
    }
    let start = Instant::now();
    let (primes, messages) = greenroutine::run(|| sieve(count));
    let taken = start.elapsed();
    for line in primes.chunks(10).take(10) {
        println!("{}", line.iter().map(|prime| format!("{prime:>6}")).collect::<String>());
    }
    let last = primes.last().copied().unwrap_or_default();
    println!("{count} primes, the last is {last}");
    println!(
        "{count} goroutines, {messages} messages, {:.0} ns a message",
        taken.as_secs_f64() * 1e9 / messages.max(1) as f64
    );
    if check && primes != by_trial(count) {
        eprintln!("prime_sieve: trial division finds other primes");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The first `count` primes, and how many messages were sent.
fn sieve(count: usize) -> (Vec<u64>, u64) {
    let messages = Arc::new(AtomicU64::new(0));
    let mut numbers = generator();
    let mut primes = Vec::with_capacity(count);
    for _ in 0..count {
        let Ok(prime) = numbers.recv() else { break };
        primes.push(prime);
        numbers = filter(numbers, prime, messages.clone());
    }
    // The end of the chain goes, and so do all before it, one after the other.
    drop(numbers);
    while Arc::strong_count(&messages) > 1 {
        greenroutine::yield_now();
    }
    (primes, messages.load(Ordering::Relaxed))
}

fn generator() -> Receiver<u64> {
    let (s, r) = bounded(0);
    go(move || (2..).try_for_each(|number| s.send(number)));
    r
}

fn filter(input: Receiver<u64>, prime: u64, messages: Arc<AtomicU64>) -> Receiver<u64> {
    let (s, output) = bounded(0);
    go(move || {
        let mut received = 0;
        for number in &input {
            received += 1;
            if number % prime != 0 && s.send(number).is_err() {
                break;
            }
        }
        messages.fetch_add(received, Ordering::Relaxed);
    });
    output
}

fn by_trial(count: usize) -> Vec<u64> {
    let mut primes: Vec<u64> = Vec::with_capacity(count);
    let mut number = 2;
    while primes.len() < count {
        if primes.iter().take_while(|prime| *prime * *prime <= number).all(|prime| number % prime != 0) {
            primes.push(number);
        }
        number += 1;
    }
    primes
}
