//! Dijkstra's dining philosophers, who report a deadlock instead of starving.
//!
//! Five philosophers share five forks and need two each. A goroutine, the waiter, owns the forks and answers requests; the philosophers talk to it
//! through channels. The waiter knows who holds what and who waits for what, so when a request closes a circle it says so, and asks those in it to
//! put down what they hold.
//!
//! ```sh
//! cargo run --release --example philosophers            # everybody takes the left fork first: deadlocks, reported and resolved
//! cargo run --release --example philosophers -- --ordered   # the lower fork first: none can arise
//! ```

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::process::ExitCode;

use greenroutine::channel::{Receiver, Sender, bounded, unbounded};
use greenroutine::{JoinHandle, go, yield_now};

const SEATS: usize = 5;
const MEALS: usize = 100;
const NAMES: [&str; SEATS] = ["Plato", "Hypatia", "Kant", "Arendt", "Zhuangzi"];

/// What a philosopher asks of the waiter.
enum Request {
    /// The fork, please; the answer comes through the channel.
    Take { who: usize, fork: usize, answer: Sender<Answer> },
    /// The fork is back.
    Put { fork: usize },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yours,
    /// Everybody in a circle waits for the next: put down what you hold and start again.
    Deadlock,
}

fn main() -> ExitCode {
    let ordered = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--ordered") => true,
        Some(other) => {
            eprintln!("philosophers: unknown argument {other:?}; usage: philosophers [--ordered]");
            return ExitCode::from(2);
        }
    };
    let (eaten, deadlocks) = greenroutine::run(|| dinner(ordered));
    println!("{eaten} meals eaten, {deadlocks} deadlocks found");
    if eaten == SEATS * MEALS && (deadlocks == 0 || !ordered) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Meals eaten, and deadlocks found.
fn dinner(ordered: bool) -> (usize, usize) {
    let (s, requests) = unbounded();
    let waiter = go(move || Table::default().serve(&requests));
    let philosophers: Vec<JoinHandle<usize>> = (0..SEATS)
        .map(|who| {
            let s = s.clone();
            go(move || philosopher(who, ordered, &s))
        })
        .collect();
    drop(s);
    let eaten = philosophers.into_iter().map(|one| one.join().expect("philosophers do not panic")).sum();
    (eaten, waiter.join().expect("waiters do not either"))
}

fn philosopher(who: usize, ordered: bool, waiter: &Sender<Request>) -> usize {
    let (left, right) = (who, (who + 1) % SEATS);
    let (first, second) = if ordered && left > right { (right, left) } else { (left, right) };
    let (answer, answers) = bounded(1);
    let ask = |fork| {
        waiter
            .send(Request::Take { who, fork, answer: answer.clone() })
            .expect("the waiter stays to the end");
        answers.recv().expect("our own sender is there")
    };
    let put = |fork| waiter.send(Request::Put { fork }).expect("the waiter stays to the end");
    let mut eaten = 0;
    while eaten < MEALS {
        if ask(first) == Answer::Deadlock {
            continue;
        }
        // A thought between the two: long enough for everybody to take one.
        yield_now();
        if ask(second) == Answer::Yours {
            eaten += 1;
            put(second);
        }
        put(first);
    }
    eaten
}

/// The waiter's view.
#[derive(Default)]
struct Table {
    holder: [Option<usize>; SEATS],
    /// Who waits for each fork, in order.
    queue: [VecDeque<(usize, Sender<Answer>)>; SEATS],
    deadlocks: usize,
}

impl Table {
    /// Serves until all philosophers have left.
    fn serve(mut self, requests: &Receiver<Request>) -> usize {
        for request in requests {
            match request {
                Request::Take { who, fork, answer } => self.take(who, fork, answer),
                Request::Put { fork } => self.put(fork),
            }
        }
        self.deadlocks
    }

    fn take(&mut self, who: usize, fork: usize, answer: Sender<Answer>) {
        if self.holder[fork].is_none() {
            self.holder[fork] = Some(who);
            return say(&answer, Answer::Yours);
        }
        self.queue[fork].push_back((who, answer));
        if let Some(circle) = self.circle(who) {
            self.deadlocks += 1;
            if self.deadlocks == 1 {
                println!("deadlock:");
                for (one, fork, holder) in circle {
                    println!("    {} waits for fork {fork}, which {} holds", NAMES[one], NAMES[holder]);
                }
                println!("{} puts the other fork down", NAMES[who]);
            }
            if let Some((_, answer)) = self.queue[fork].pop_back() {
                say(&answer, Answer::Deadlock);
            }
        }
    }

    fn put(&mut self, fork: usize) {
        self.holder[fork] = None;
        if let Some((who, answer)) = self.queue[fork].pop_front() {
            self.holder[fork] = Some(who);
            say(&answer, Answer::Yours);
        }
    }

    /// Follows "waits for what is held by" from `start`, and returns the way if it leads back there.
    fn circle(&self, start: usize) -> Option<Vec<(usize, usize, usize)>> {
        let mut way = Vec::new();
        let mut at = start;
        while way.len() < SEATS {
            let fork = (0..SEATS).find(|fork| self.queue[*fork].iter().any(|(who, _)| *who == at))?;
            let holder = self.holder[fork]?;
            way.push((at, fork, holder));
            if holder == start {
                return Some(way);
            }
            at = holder;
        }
        None
    }
}

fn say(to: &Sender<Answer>, answer: Answer) {
    to.send(answer).expect("a philosopher waits for the answer");
}
