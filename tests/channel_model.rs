//! Channels against a naive model: random sequences of all operations from one task, where nothing may wait; and random histories of many tasks, checked
//! for what a queue must not do: lose, double, reorder.
//!
//! Ours. The histories' check is the queue part of "Faster linearizability checking via P-compositionality" without the search: values are unique, so the
//! forbidden patterns can be named.

#![allow(clippy::disallowed_methods, reason = "makes deadlines of its own")]

mod common;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{LONG, Rng, mix, on_all, par};
use greenroutine::channel::{
    Receiver, RecvTimeoutError, Select, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    bounded, never, select, unbounded,
};
use greenroutine::yield_now;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What is done in one step. Indices choose among the ends that are there; an operation without an end is left out.
#[derive(Clone, Copy, Debug)]
enum Op {
    TrySend(usize),
    /// With a timeout of zero, which is over.
    SendTimeout(usize),
    /// If it would not wait.
    Send(usize),
    /// As a selection of one that tries.
    SelectSend(usize),
    TryRecv(usize),
    RecvTimeout(usize),
    Recv(usize),
    SelectRecv(usize),
    /// A selection that has a send and a receive.
    SelectBoth(usize),
    /// As `SelectBoth`, by the list.
    SelectList(usize),
    /// Which of the two are ready.
    Ready(usize),
    /// Takes up to so many.
    TryIter(usize),
    CloneSender(usize),
    CloneReceiver(usize),
    DropSender(usize),
    DropReceiver(usize),
    CloseSender(usize),
    CloseReceiver(usize),
    /// The computation of a chosen message gives up.
    GiveUp(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let index = 0..4_usize;
    prop_oneof![
        6 => index.clone().prop_map(Op::TrySend),
        3 => index.clone().prop_map(Op::SendTimeout),
        3 => index.clone().prop_map(Op::Send),
        3 => index.clone().prop_map(Op::SelectSend),
        6 => index.clone().prop_map(Op::TryRecv),
        3 => index.clone().prop_map(Op::RecvTimeout),
        3 => index.clone().prop_map(Op::Recv),
        3 => index.clone().prop_map(Op::SelectRecv),
        3 => index.clone().prop_map(Op::SelectBoth),
        3 => index.clone().prop_map(Op::SelectList),
        3 => index.clone().prop_map(Op::Ready),
        1 => index.clone().prop_map(Op::TryIter),
        2 => index.clone().prop_map(Op::CloneSender),
        2 => index.clone().prop_map(Op::CloneReceiver),
        1 => index.clone().prop_map(Op::DropSender),
        1 => index.clone().prop_map(Op::DropReceiver),
        1 => index.clone().prop_map(Op::CloseSender),
        1 => index.clone().prop_map(Op::CloseReceiver),
        2 => index.prop_map(Op::GiveUp),
    ]
}

/// A channel as one would write it in five minutes.
struct Model {
    cap: Option<usize>,
    queue: VecDeque<u32>,
    closed: bool,
}

impl Model {
    fn has_room(&self) -> bool {
        self.cap.is_none_or(|cap| self.queue.len() < cap)
    }

    fn can_send(&self) -> bool {
        self.closed || self.has_room()
    }

    fn can_recv(&self) -> bool {
        self.closed || !self.queue.is_empty()
    }

    fn try_send(&mut self, value: u32) -> Result<(), TrySendError<u32>> {
        if self.closed {
            Err(TrySendError::Disconnected(value))
        } else if self.has_room() {
            self.queue.push_back(value);
            Ok(())
        } else {
            Err(TrySendError::Full(value))
        }
    }

    fn try_recv(&mut self) -> Result<u32, TryRecvError> {
        let end = if self.closed { TryRecvError::Disconnected } else { TryRecvError::Empty };
        self.queue.pop_front().ok_or(end)
    }
}

/// What a selection did.
#[derive(Debug, PartialEq)]
enum Selected {
    Sent(Result<(), SendError<u32>>),
    Received(Option<u32>),
    Nothing,
}

struct Pair {
    senders: Vec<Sender<u32>>,
    receivers: Vec<Receiver<u32>>,
    model: Model,
    next: u32,
}

impl Pair {
    fn new(cap: Option<usize>) -> Self {
        let (s, r) = cap.map_or_else(unbounded, bounded);
        let model = Model { cap, queue: VecDeque::new(), closed: false };
        Self { senders: vec![s], receivers: vec![r], model, next: 0 }
    }

    fn send(&mut self, index: usize, send: impl Fn(&Sender<u32>, u32) -> Result<(), TrySendError<u32>>) {
        if self.senders.is_empty() {
            return;
        }
        self.next += 1;
        let s = &self.senders[index % self.senders.len()];
        assert_eq!(send(s, self.next), self.model.try_send(self.next));
    }

    fn recv(&mut self, index: usize, recv: impl Fn(&Receiver<u32>) -> Result<u32, TryRecvError>) {
        if !self.receivers.is_empty() {
            let r = &self.receivers[index % self.receivers.len()];
            assert_eq!(recv(r), self.model.try_recv());
        }
    }

    /// A selection of a send and a receive may do either if both can go on.
    fn select(&mut self, index: usize, select: impl Fn(&Sender<u32>, &Receiver<u32>, u32) -> Selected) {
        if self.senders.is_empty() || self.receivers.is_empty() {
            return;
        }
        self.next += 1;
        let s = &self.senders[index % self.senders.len()];
        let r = &self.receivers[index % self.receivers.len()];
        match select(s, r, self.next) {
            Selected::Sent(sent) => {
                let expected = self.model.try_send(self.next);
                assert_eq!(sent, expected.map_err(|error| SendError(error.into_inner())));
                assert!(sent.is_ok() || self.model.closed);
            }
            Selected::Received(got) => {
                assert!(self.model.can_recv());
                assert_eq!(got, self.model.try_recv().ok());
            }
            Selected::Nothing => assert!(!self.model.can_send() && !self.model.can_recv()),
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::TrySend(n) => self.send(n, |s, value| s.try_send(value)),
            Op::SendTimeout(n) => self.send(n, |s, value| {
                s.send_timeout(value, Duration::ZERO).map_err(|error| match error {
                    SendTimeoutError::Timeout(value) => TrySendError::Full(value),
                    SendTimeoutError::Disconnected(value) => TrySendError::Disconnected(value),
                })
            }),
            Op::Send(n) => {
                if self.model.can_send() {
                    self.send(n, |s, value| s.send(value).map_err(TrySendError::from));
                }
            }
            Op::SelectSend(n) => self.send(n, |s, value| {
                select! {
                    send(s, value) -> sent => sent.map_err(TrySendError::from),
                    default => Err(TrySendError::Full(value)),
                }
            }),
            Op::TryRecv(n) => self.recv(n, Receiver::try_recv),
            Op::RecvTimeout(n) => self.recv(n, |r| {
                r.recv_deadline(Instant::now()).map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                })
            }),
            Op::Recv(n) => {
                if self.model.can_recv() {
                    self.recv(n, |r| r.recv().map_err(TryRecvError::from));
                }
            }
            Op::SelectRecv(n) => self.recv(n, |r| {
                select! {
                    recv(r) -> value => value.map_err(TryRecvError::from),
                    recv(never::<()>()) -> _ => unreachable!(),
                    default => Err(TryRecvError::Empty),
                }
            }),
            Op::SelectBoth(n) => self.select(n, |s, r, value| {
                select! {
                    send(s, value) -> sent => Selected::Sent(sent),
                    recv(r) -> value => Selected::Received(value.ok()),
                    default => Selected::Nothing,
                }
            }),
            Op::SelectList(n) => self.select(n, |s, r, value| {
                let mut sel = Select::new();
                sel.recv(r);
                sel.send(s);
                match sel.select_timeout(Duration::ZERO) {
                    Err(_) => Selected::Nothing,
                    Ok(oper) if oper.index() == 0 => Selected::Received(oper.recv(r).ok()),
                    Ok(oper) => Selected::Sent(oper.send(s, value)),
                }
            }),
            Op::Ready(n) => {
                let ready = |sel: &mut Select<'_>| sel.try_ready().is_ok();
                if let Some(s) = self.senders.get(n) {
                    let mut sel = Select::new();
                    sel.send(s);
                    assert_eq!(ready(&mut sel), self.model.can_send());
                }
                if let Some(r) = self.receivers.get(n) {
                    let mut sel = Select::new();
                    sel.recv(r);
                    assert_eq!(ready(&mut sel), self.model.can_recv());
                }
            }
            Op::TryIter(n) => {
                if let Some(r) = self.receivers.first() {
                    let got: Vec<_> = r.try_iter().take(n).collect();
                    let expected: Vec<_> = (0..n).map_while(|_| self.model.queue.pop_front()).collect();
                    assert_eq!(got, expected);
                }
            }
            Op::CloneSender(n) => {
                if let Some(s) = self.senders.get(n).cloned() {
                    self.senders.push(s);
                }
            }
            Op::CloneReceiver(n) => {
                if let Some(r) = self.receivers.get(n).cloned() {
                    self.receivers.push(r);
                }
            }
            Op::DropSender(n) => {
                if n < self.senders.len() {
                    self.senders.swap_remove(n);
                    self.model.closed |= self.senders.is_empty();
                }
            }
            Op::DropReceiver(n) => {
                if n < self.receivers.len() {
                    self.receivers.swap_remove(n);
                    self.model.closed |= self.receivers.is_empty();
                    if self.receivers.is_empty() {
                        self.model.queue.clear();
                    }
                }
            }
            Op::CloseSender(n) => {
                if let Some(s) = self.senders.get(n) {
                    s.close();
                    self.model.closed = true;
                }
            }
            Op::CloseReceiver(n) => {
                if let Some(r) = self.receivers.get(n) {
                    r.close();
                    self.model.closed = true;
                }
            }
            Op::GiveUp(n) => {
                // Behind values its room comes back only with them; `channel_select_macro` has a test for that.
                let at_once = self.model.queue.is_empty() || self.model.cap.is_none();
                if let Some(s) = self.senders.get(n).filter(|_| at_once) {
                    let give_up = || select! { send(s, None::<u32>?) -> _ => Some(()), default => Some(()) };
                    assert_eq!(give_up().is_none(), self.model.can_send());
                }
            }
        }
    }

    /// Everything that can be asked without changing anything.
    fn check(&self) {
        let len = self.model.queue.len();
        let full = self.model.cap == Some(len);
        for s in &self.senders {
            assert_eq!((s.len(), s.is_empty(), s.is_full()), (len, len == 0, full));
            assert_eq!(s.capacity(), self.model.cap);
            assert!(s.same_channel(&self.senders[0]));
        }
        for r in &self.receivers {
            assert_eq!((r.len(), r.is_empty(), r.is_full()), (len, len == 0, full));
            assert_eq!(r.capacity(), self.model.cap);
            assert!(r.same_channel(&self.receivers[0]));
        }
    }
}

#[test]
fn one_task_sees_what_the_model_says() {
    on_all(|| {
        let cap = prop_oneof![Just(None), (0..5_usize).prop_map(Some), Just(Some(31)), Just(Some(32))];
        let ops = proptest::collection::vec(op(), 0..120);
        let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&(cap, ops), |(cap, ops)| {
                let mut pair = Pair::new(cap);
                for op in ops {
                    pair.step(op);
                    pair.check();
                }
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn a_long_life_of_one_channel_agrees_with_the_model() {
    on_all(|| {
        // Past many blocks of a list and many laps of a ring, with the length going up and down.
        for cap in [None, Some(1), Some(7), Some(64)] {
            let mut pair = Pair::new(cap);
            let mut rng = Rng(17);
            for _ in 0..200 {
                let (send, count) = (rng.below(2) == 0, rng.below(40));
                for _ in 0..count {
                    pair.step(match (send, rng.below(8)) {
                        (true, 0) => Op::SelectBoth(0),
                        (true, 1) => Op::GiveUp(0),
                        (true, 2) => Op::SelectSend(0),
                        (true, _) => Op::TrySend(0),
                        (false, 0) => Op::SelectList(0),
                        (false, 1) => Op::SelectRecv(0),
                        (false, _) => Op::TryRecv(0),
                    });
                }
                pair.check();
            }
        }
    });
}

/// When an operation was, by a clock that all share.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: usize,
    end: usize,
}

/// One history: tasks that send and receive in all ways, on one channel.
struct History {
    clock: AtomicUsize,
}

const VALUES: usize = 60;
const SENDERS: usize = 4;
const RECEIVERS: usize = 3;

impl History {
    fn now(&self) -> usize {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Sends its values, in order; the span is that of the call that took the value.
    fn send(&self, s: &Sender<usize>, sender: usize, rng: &mut Rng) -> Vec<Span> {
        let nothing = never::<()>();
        (0..VALUES)
            .map(|n| {
                let value = sender * VALUES + n;
                if rng.below(8) == 0 {
                    yield_now();
                }
                loop {
                    let start = self.now();
                    let sent = match rng.below(7) {
                        0 => s.send(value).is_ok(),
                        1 => s.send_timeout(value, Duration::from_micros(rng.below(100))).is_ok(),
                        2 => select! { send(s, value) -> sent => sent.is_ok(), recv(nothing) -> _ => false },
                        3 => select! { send(s, value) -> sent => sent.is_ok(), default => false },
                        4 => {
                            let mut sel = Select::new();
                            sel.send(s);
                            sel.recv(&nothing);
                            sel.select_timeout(LONG).is_ok_and(|oper| oper.send(s, value).is_ok())
                        }
                        5 => {
                            // Chosen, given up, chosen again.
                            let give_up = || select! { send(s, None?) -> _ => Some(()), default => Some(()) };
                            give_up();
                            s.try_send(value).is_ok()
                        }
                        _ => s.try_send(value).is_ok(),
                    };
                    if sent {
                        break Span { start, end: self.now() };
                    }
                    yield_now();
                }
            })
            .collect()
    }

    /// Receives until the end.
    fn recv(&self, r: &Receiver<usize>, rng: &mut Rng) -> Vec<(usize, Span)> {
        let nothing = never::<()>();
        let mut all = Vec::new();
        loop {
            if rng.below(8) == 0 {
                yield_now();
            }
            let start = self.now();
            let got = match rng.below(6) {
                0 => r.recv().map_err(|_| true),
                1 => r
                    .recv_timeout(Duration::from_micros(rng.below(100)))
                    .map_err(|error| error.is_disconnected()),
                2 => {
                    select! { recv(r) -> value => value.map_err(|_| true), recv(nothing) -> _ => Err(false) }
                }
                3 => select! { recv(r) -> value => value.map_err(|_| true), default => Err(false) },
                4 => {
                    let mut sel = Select::new();
                    sel.recv(&nothing);
                    sel.recv(r);
                    sel.select().recv(r).map_err(|_| true)
                }
                _ => r.try_recv().map_err(|error| error.is_disconnected()),
            };
            match got {
                Ok(value) => all.push((value, Span { start, end: self.now() })),
                Err(true) => return all,
                Err(false) => yield_now(),
            }
        }
    }

    fn run(cap: Option<usize>, seed: u64) {
        let this = Self { clock: AtomicUsize::new(1) };
        let (s, r) = cap.map_or_else(unbounded, bounded);
        let (sent, received) = par(|p| {
            let this = &this;
            let senders: Vec<_> = (0..SENDERS)
                .map(|n| {
                    let s = s.clone();
                    p.go(move || this.send(&s, n, &mut Rng(mix(seed ^ n as u64))))
                })
                .collect();
            drop(s);
            let receivers: Vec<_> = (0..RECEIVERS)
                .map(|n| {
                    let r = r.clone();
                    p.go(move || this.recv(&r, &mut Rng(mix(seed ^ (100 + n as u64)))))
                })
                .collect();
            let sent: Vec<_> = senders.into_iter().flat_map(|sender| sender.join()).collect();
            let received: Vec<_> = receivers.into_iter().map(|receiver| receiver.join()).collect();
            (sent, received)
        });
        // No receiver sees two values of one sender in the wrong order.
        for received in &received {
            let mut last = [None; SENDERS];
            for &(value, _) in received {
                let last = &mut last[value / VALUES];
                assert!(*last < Some(value), "seed {seed}: {value} after {last:?}");
                *last = Some(value);
            }
        }
        let mut spans = vec![None; sent.len()];
        for (value, span) in received.into_iter().flatten() {
            assert!(spans[value].replace(span).is_none(), "seed {seed}: {value} came twice");
        }
        let received: Vec<Span> = spans
            .into_iter()
            .map(|span| span.unwrap_or_else(|| panic!("seed {seed}: a value is lost")))
            .collect();
        for (value, (sent, received)) in sent.iter().zip(&received).enumerate() {
            assert!(sent.start < received.end, "seed {seed}: {value} was received before it was sent");
            if cap == Some(0) {
                assert!(received.start < sent.end, "seed {seed}: {value}: no rendezvous");
            }
        }
        // No value overtakes another: sent before it was begun, but received after it was received.
        for (a, (sent_a, received_a)) in sent.iter().zip(&received).enumerate() {
            for (b, (sent_b, received_b)) in sent.iter().zip(&received).enumerate() {
                let overtaken = sent_a.end < sent_b.start && received_b.end < received_a.start;
                assert!(!overtaken, "seed {seed}, capacity {cap:?}: {b} overtook {a}");
            }
        }
        // At no time are there more inside than fit: sent for certain, and not even begun to be received.
        if let Some(cap) = cap {
            let mut events: Vec<_> = sent
                .iter()
                .map(|span| (span.end, 1))
                .chain(received.iter().map(|span| (span.start, -1)))
                .collect();
            events.sort_unstable();
            let mut inside = 0;
            for (time, change) in events {
                inside += change;
                assert!(inside <= cap as isize, "seed {seed}, capacity {cap}: {inside} inside at {time}");
            }
        }
    }
}

#[test]
fn histories_of_many_tasks_are_those_of_a_queue() {
    on_all(|| {
        for (seed, cap) in
            [Some(0), Some(1), Some(2), Some(5), None, Some(0), Some(1), None].into_iter().enumerate()
        {
            History::run(cap, seed as u64);
        }
    });
}
