//! The workloads over channels. Names, sizes and shapes are the peers'.

#![expect(clippy::disallowed_methods, reason = "measuring: the clock must not be the runtime's own")]

use std::array;
use std::io;
use std::time::Instant;

use greenroutine::channel::{Receiver, Sender, bounded, unbounded};
use greenroutine::{go, select};

use super::bed::Bed;
use super::report::Figure;
use super::workloads::{best, join, per};

/// A round trip over two channels without capacity.
pub(super) fn pingpong(bed: &Bed) -> io::Result<Vec<Figure>> {
    let count = bed.size(1_000_000);
    let taken = bed.runtime()?.run(|| {
        let (there, r) = bounded::<usize>(0);
        let (s, back) = bounded(0);
        let echo = go(move || r.iter().for_each(|v| send(&s, v)));
        let start = Instant::now();
        for n in 0..count {
            send(&there, n);
            receive(&back);
        }
        let taken = start.elapsed();
        drop(there);
        join(echo);
        taken
    });
    Ok(vec![Figure::new("pingpong", bed.mode, per(taken, count), "ns/roundtrip")])
}

/// One producer, one consumer, 128 in between.
pub(super) fn stream(bed: &Bed) -> io::Result<Vec<Figure>> {
    let count = bed.size(5_000_000);
    let (taken, sum) = bed.runtime()?.run(|| {
        let (s, r) = bounded(128);
        let start = Instant::now();
        go(move || (0..count).for_each(|n| send(&s, n)));
        let sum: usize = r.iter().sum();
        (start.elapsed(), sum)
    });
    check(sum as u64, (count * (count - 1) / 2) as u64)?;
    Ok(vec![Figure::new("stream128", bed.mode, per(taken, count), "ns/item")])
}

/// Eight producers and eight consumers over one channel with 64 places.
pub(super) fn mpmc(bed: &Bed) -> io::Result<Vec<Figure>> {
    const EACH: usize = 8;
    let count = bed.size(250_000);
    let (taken, received) = bed.runtime()?.run(|| {
        let (s, r) = bounded(64);
        let start = Instant::now();
        let both: Vec<_> = (0..EACH)
            .map(|_| {
                let (s, r) = (s.clone(), r.clone());
                let producer = go(move || (0..count).for_each(|n| send(&s, n)));
                (producer, go(move || r.iter().count()))
            })
            .collect();
        drop((s, r));
        let received: usize = both
            .into_iter()
            .map(|(producer, consumer)| {
                join(producer);
                join(consumer)
            })
            .sum();
        (start.elapsed(), received)
    });
    check(received as u64, (count * EACH) as u64)?;
    Ok(vec![Figure::new("mpmc8x8", bed.mode, per(taken, count * EACH), "ns/item")])
}

/// A tree of goroutines, ten below each, that hands its leaves' numbers up through channels without capacity.
pub(super) fn skynet(bed: &Bed) -> io::Result<Vec<Figure>> {
    fn node(up: &Sender<u64>, number: u64, size: u64) {
        if size == 1 {
            return send(up, number);
        }
        let (s, results) = bounded(0);
        let part = size / 10;
        for at in 0..10 {
            let s = s.clone();
            go(move || node(&s, number + at * part, part));
        }
        send(up, (0..10).map(|_| receive(&results)).sum());
    }
    // A power of ten in either case.
    let leaves: u64 = if bed.quick { 100_000 } else { 1_000_000 };
    let root = || {
        let (s, result) = bounded(0);
        go(move || node(&s, 0, leaves));
        receive(&result)
    };
    let best = best(bed, root, leaves * (leaves - 1) / 2)?;
    Ok(vec![Figure::new("skynetchan1M", bed.mode, best.as_secs_f64() * 1e3, "ms (best of 5)")])
}

/// A ring of 503 goroutines that pass a token on.
pub(super) fn ring(bed: &Bed) -> io::Result<Vec<Figure>> {
    const NODES: usize = 503;
    let hops = bed.size(1_000_000);
    let taken = bed.runtime()?.run(|| {
        let (first, mut input) = bounded::<usize>(0);
        let (s, done) = unbounded();
        for node in 0..NODES {
            let (out, next) = bounded(0);
            let out = if node == NODES - 1 { first.clone() } else { out };
            let (r, s) = (input, s.clone());
            go(move || {
                while let Ok(left) = r.recv() {
                    if left == 0 {
                        send(&s, ());
                        return;
                    }
                    send(&out, left - 1);
                }
            });
            input = next;
        }
        let start = Instant::now();
        send(&first, hops);
        receive(&done);
        start.elapsed()
        // The last end goes, and with it one goroutine after the other.
    });
    Ok(vec![Figure::new("ring503", bed.mode, per(taken, hops), "ns/hop")])
}

/// The first 2,000 primes: a goroutine for each that lets through what it does not divide.
pub(super) fn sieve(bed: &Bed) -> io::Result<Vec<Figure>> {
    let primes = bed.size(2_000);
    let (taken, last) = bed.runtime()?.run(|| {
        let start = Instant::now();
        let (s, mut input) = bounded::<u64>(0);
        go(move || (2..).try_for_each(|n| s.send(n)));
        let mut prime = 0;
        for _ in 0..primes {
            prime = receive(&input);
            let (s, next) = bounded(0);
            let r = input;
            go(move || r.iter().filter(|n| !n.is_multiple_of(prime)).try_for_each(|n| s.send(n)));
            input = next;
        }
        (start.elapsed(), prime)
    });
    check(last, if bed.quick { 541 } else { 17_389 })?;
    Ok(vec![Figure::new("sieve2000", bed.mode, taken.as_secs_f64() * 1e3, "ms")])
}

/// Receives from whichever of two producers is ready.
pub(super) fn select2(bed: &Bed) -> io::Result<Vec<Figure>> {
    let count = bed.size(1_000_000);
    let taken = bed.runtime()?.run(|| {
        let pairs: [(Sender<usize>, Receiver<usize>); 2] = array::from_fn(|_| bounded(0));
        let producers = pairs.each_ref().map(|(s, _)| {
            let s = s.clone();
            go(move || (0..count / 2).for_each(|n| send(&s, n)))
        });
        let [(_, a), (_, b)] = &pairs;
        let start = Instant::now();
        for _ in 0..count {
            select! {
                recv(a) -> v => v,
                recv(b) -> v => v,
            }
            .expect("both senders are there");
        }
        let taken = start.elapsed();
        producers.into_iter().for_each(join);
        taken
    });
    Ok(vec![Figure::new("select2", bed.mode, per(taken, count), "ns/select")])
}

// As the calls themselves are: a function of its own around a switch costs two mispredicted returns.
#[inline(always)]
fn send<T>(s: &Sender<T>, value: T) {
    if s.send(value).is_err() {
        panic!("the receiver is there");
    }
}

#[inline(always)]
fn receive<T>(r: &Receiver<T>) -> T {
    r.recv().expect("the sender is there")
}

fn check(result: u64, expected: u64) -> io::Result<()> {
    if result == expected {
        return Ok(());
    }
    Err(io::Error::other(format!("the result is {result} and not {expected}")))
}
