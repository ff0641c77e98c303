//! The select storm: 100 channels of all kinds, 1,000 goroutines that select over some of them, send and receive in every way there is, with timeouts
//! and without; and in the end every value that was sent has been received once.
//!
//! `GREENROUTINE_STORM_SECONDS` says how long (default 2, shared among the runtimes).

#![allow(clippy::disallowed_methods, reason = "measures how long it runs, with a clock of its own")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Rng, mix, runtime};
use greenroutine::channel::{
    Receiver, RecvTimeoutError, Select, SendTimeoutError, Sender, TryRecvError, TrySendError, after, bounded,
    select, unbounded,
};
use greenroutine::{go, yield_now};

const CHANNELS: usize = 100;
const GOROUTINES: usize = 1000;
/// An unbounded channel takes no more than about so many.
const ENOUGH: usize = 64;

/// What went into a channel or came out, without a list: if one value is lost, doubled or in the wrong channel, one of these differs.
#[derive(Debug, Default, PartialEq)]
struct Account {
    count: AtomicU64Eq,
    sum: AtomicU64Eq,
    mixed: AtomicU64Eq,
}

#[derive(Debug, Default)]
struct AtomicU64Eq(AtomicU64);

impl PartialEq for AtomicU64Eq {
    fn eq(&self, other: &Self) -> bool {
        self.0.load(Ordering::SeqCst) == other.0.load(Ordering::SeqCst)
    }
}

impl Account {
    fn note(&self, value: u64) {
        self.count.0.fetch_add(1, Ordering::Relaxed);
        self.sum.0.fetch_add(value, Ordering::Relaxed);
        self.mixed.0.fetch_add(mix(value) ^ mix(value << 7), Ordering::Relaxed);
    }
}

struct Line {
    s: Sender<u64>,
    r: Receiver<u64>,
    sent: Account,
    received: Account,
}

impl Line {
    fn took(&self, value: u64) {
        self.received.note(value);
    }

    fn is_open(&self) -> bool {
        self.s.capacity().is_some() || self.s.len() < ENOUGH
    }
}

fn lines() -> Vec<Line> {
    (0..CHANNELS)
        .map(|n| {
            let (s, r) = match n % 5 {
                0 | 1 => bounded(0),
                2 => bounded(1),
                3 => bounded(7),
                _ => unbounded(),
            };
            Line { s, r, sent: Account::default(), received: Account::default() }
        })
        .collect()
}

/// One goroutine: makes one move after the other until the end channel is closed. `next` makes values that nobody else makes.
struct Player<'a> {
    lines: &'a [Line],
    end: &'a Receiver<()>,
    rng: Rng,
    next: u64,
}

impl<'a> Player<'a> {
    fn line(&mut self) -> &'a Line {
        &self.lines[self.rng.below(CHANNELS as u64) as usize]
    }

    fn value(&mut self) -> u64 {
        self.next += GOROUTINES as u64;
        self.next
    }

    fn timeout(&mut self) -> Duration {
        Duration::from_micros(self.rng.below(300))
    }

    /// One move; false at the end.
    fn play(&mut self) -> bool {
        match self.rng.below(10) {
            0..=3 => return self.select_many(),
            4 => return self.select_few(),
            5 => return self.select_own(),
            6 => self.select_with_timeout(),
            7 => self.ready(),
            8 => self.alone(),
            _ => self.try_many(),
        }
        true
    }

    /// A list of random operations, and the end.
    fn select_many(&mut self) -> bool {
        let lines: Vec<(&Line, bool)> = (0..2 + self.rng.below(8))
            .map(|_| {
                let line = self.line();
                (line, self.rng.below(2) == 0 && line.is_open())
            })
            .collect();
        let mut sel = if self.rng.below(4) == 0 { Select::new_biased() } else { Select::new() };
        for (line, send) in &lines {
            if *send {
                sel.send(&line.s)
            } else {
                sel.recv(&line.r)
            };
        }
        let end = sel.recv(self.end);
        let oper = sel.select();
        if oper.index() == end {
            assert!(oper.recv(self.end).is_err());
            return false;
        }
        let (line, send) = lines[oper.index()];
        if send {
            let value = self.value();
            oper.send(&line.s, value).expect("nobody closes it");
            line.sent.note(value);
        } else {
            line.took(oper.recv(&line.r).expect("nobody closes it"));
        }
        true
    }

    /// The macro, with both directions.
    fn select_few(&mut self) -> bool {
        let [a, b, c] = [(); 3].map(|()| self.line());
        let value = self.value();
        select! {
            recv(a.r) -> got => a.took(got.expect("nobody closes it")),
            recv(b.r) -> got => b.took(got.expect("nobody closes it")),
            send(c.s, value) -> sent => {
                sent.expect("nobody closes it");
                c.sent.note(value);
            }
            recv(self.end) -> _ => return false,
        }
        true
    }

    /// Send and receive of one channel in one selection.
    fn select_own(&mut self) -> bool {
        let line = self.line();
        let value = self.value();
        select! {
            send(line.s, value) -> sent => {
                sent.expect("nobody closes it");
                line.sent.note(value);
            }
            recv(line.r) -> got => {
                let got = got.expect("nobody closes it");
                assert_ne!(got, value, "it met itself");
                line.took(got);
            }
            recv(self.end) -> _ => return false,
        }
        true
    }

    fn select_with_timeout(&mut self) {
        let [a, b] = [(); 2].map(|()| self.line());
        let (value, timeout) = (self.value(), self.timeout());
        if self.rng.below(2) == 0 {
            let timer = after(timeout);
            select! {
                send(a.s, value) -> sent => {
                    sent.expect("nobody closes it");
                    a.sent.note(value);
                }
                recv(b.r) -> got => b.took(got.expect("nobody closes it")),
                recv(timer) -> _ => {}
            }
        } else {
            select! {
                recv(a.r) -> got => a.took(got.expect("nobody closes it")),
                send(b.s, value) -> sent => {
                    sent.expect("nobody closes it");
                    b.sent.note(value);
                }
                default(timeout) => {}
            }
        }
    }

    fn ready(&mut self) {
        let [a, b] = [(); 2].map(|()| self.line());
        let (value, timeout) = (self.value(), self.timeout());
        let mut sel = Select::new();
        sel.recv(&a.r);
        sel.send(&b.s);
        match sel.ready_timeout(timeout) {
            Ok(0) => match a.r.try_recv() {
                Ok(got) => a.took(got),
                Err(error) => assert_eq!(error, TryRecvError::Empty),
            },
            Ok(_) => match b.s.try_send(value) {
                Ok(()) => b.sent.note(value),
                Err(error) => assert_eq!(error, TrySendError::Full(value)),
            },
            Err(_) => {}
        }
    }

    /// Operations on one channel.
    fn alone(&mut self) {
        let line = self.line();
        let (value, timeout) = (self.value(), self.timeout());
        match self.rng.below(4) {
            0 if line.is_open() => match line.s.send_timeout(value, timeout) {
                Ok(()) => line.sent.note(value),
                Err(error) => assert_eq!(error, SendTimeoutError::Timeout(value)),
            },
            1 if line.is_open() => match line.s.try_send(value) {
                Ok(()) => line.sent.note(value),
                Err(error) => assert_eq!(error, TrySendError::Full(value)),
            },
            2 => match line.r.recv_timeout(timeout) {
                Ok(got) => line.took(got),
                Err(error) => assert_eq!(error, RecvTimeoutError::Timeout),
            },
            _ => line.r.try_iter().take(4).for_each(|got| line.took(got)),
        }
    }

    fn try_many(&mut self) {
        let [a, b] = [(); 2].map(|()| self.line());
        let value = self.value();
        select! {
            recv(a.r) -> got => a.took(got.expect("nobody closes it")),
            send(b.s, value) -> sent => {
                sent.expect("nobody closes it");
                b.sent.note(value);
            }
            default => yield_now(),
        }
    }
}

/// How long all storms of this file take together.
fn seconds() -> f64 {
    std::env::var("GREENROUTINE_STORM_SECONDS").map_or(2.0, |seconds| seconds.parse().expect("a number"))
}

fn storm(time: Duration, seed: u64) {
    let lines = Arc::new(lines());
    let (end_s, end_r) = bounded::<()>(0);
    let moves = Arc::new(AtomicUsize::new(0));
    let all: Vec<_> = (0..GOROUTINES as u64)
        .map(|n| {
            let (lines, end_r, moves) = (lines.clone(), end_r.clone(), moves.clone());
            go(move || {
                let rng = Rng(seed ^ mix(n));
                let mut player = Player { lines: &lines, end: &end_r, rng, next: n };
                let mut count = 0;
                while player.play() {
                    count += 1;
                }
                moves.fetch_add(count, Ordering::SeqCst);
            })
        })
        .collect();
    greenroutine::time::sleep(time);
    end_s.close();
    for one in all {
        one.join().unwrap();
    }
    for (n, line) in lines.iter().enumerate() {
        line.r.try_iter().for_each(|got| line.took(got));
        assert_eq!(line.sent, line.received, "channel {n}, seed {seed}");
        assert!(line.s.is_empty());
        if line.s.capacity() == Some(0) {
            let mut sel = Select::new();
            sel.recv(&line.r);
            sel.send(&line.s);
            assert!(sel.try_ready().is_err(), "channel {n}: somebody is left in the queue");
        }
    }
    let moves = moves.load(Ordering::SeqCst);
    assert!(moves > GOROUTINES, "{moves} moves");
}

#[test]
fn nothing_is_lost_or_doubled_in_a_storm_of_selections() {
    let share = Duration::from_secs_f64(seconds() / 8.0);
    let start = Instant::now();
    let mut seed = std::env::var("GREENROUTINE_STORM_SEED").map_or(1, |seed| seed.parse().expect("a seed"));
    while start.elapsed() < share * 6 {
        for free in [false, true] {
            for workers in [1, 2, 4] {
                runtime(workers, free).run(|| storm(share.min(Duration::from_secs(10)), seed));
                seed += 1;
            }
        }
    }
}

/// A fixed number of values and nobody who could wake a goroutine that was forgotten: a wake-up that is lost is a test that hangs.
fn quota(seed: u64) {
    const SENDERS: usize = 40;
    const EACH: usize = 25;
    let channels: Vec<_> =
        (0..20).map(|n| if n % 4 == 3 { unbounded() } else { bounded::<usize>(n % 4) }).collect();
    let left = AtomicUsize::new(SENDERS * EACH);
    let seen: Vec<_> = (0..SENDERS * EACH).map(|_| AtomicUsize::new(0)).collect();
    let (end_s, end_r) = bounded::<()>(0);
    common::par(|p| {
        for sender in 0..SENDERS {
            let channels = &channels;
            p.go(move || {
                let mut rng = Rng(seed ^ mix(sender as u64));
                for n in 0..EACH {
                    let some: Vec<_> = (0..1 + rng.below(5)).map(|_| rng.below(20) as usize).collect();
                    let mut sel = Select::new();
                    for &n in &some {
                        sel.send(&channels[n].0);
                    }
                    let oper = sel.select();
                    let s = &channels[some[oper.index()]].0;
                    oper.send(s, sender * EACH + n).unwrap();
                }
            });
        }
        for _ in 0..10 {
            let end_s = end_s.clone();
            let (channels, left, seen, end_r) = (&channels, &left, &seen, &end_r);
            p.go(move || {
                let mut sel = Select::new();
                for (_, r) in channels {
                    sel.recv(r);
                }
                let end = sel.recv(end_r);
                loop {
                    let oper = sel.select();
                    if oper.index() == end {
                        break assert!(oper.recv(end_r).is_err());
                    }
                    let r = &channels[oper.index()].1;
                    seen[oper.recv(r).unwrap()].fetch_add(1, Ordering::SeqCst);
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        end_s.close();
                    }
                }
            });
        }
    });
    assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) == 1), "seed {seed}");
}

#[test]
fn no_wake_up_is_lost_among_selections() {
    common::on_all(|| {
        for seed in 0..3 {
            quota(seed);
        }
    });
}
