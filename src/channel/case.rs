//! Choosing among several operations: what [`Select`](super::Select) and the macros share.
//!
//! 1. *Look* ([`pass`]): which cases are ready? Plain loads. Of those, one is drawn (in order if biased) and tried; if somebody was faster, again.
//! 2. *Wait* ([`wait`]): one node per case, in our frame, with the same ticket. The worker links them after the switch, each with another look under its
//!    channel's lock. Whoever claims the ticket has chosen the case; the nodes of the others are taken out after waking.
//!
//! A receive moves its message into the case's place at once, so a chosen receive holds nothing of the channel. A send is chosen before its message
//! exists: it holds a place in the buffer, or its receiver, until the message is there ([`Sending`]).
//!
//! A select with a default takes it only if at one instant no case was ready: it looks at the stamps of all before and after
//! ([`try_once`]; a double collect, as in atomic snapshots of registers, Afek et al. 1993).

use std::cell::Cell;

use super::flavor::Sending;
use crate::routine::{Reason, Ticket, Wait};
use crate::sched::park::cancelled;
use crate::sched::waitq::{LOOK_AGAIN, Node};
use crate::sched::{self, Commit, ParkOp, block};
use crate::sys::clock;

/// What was chosen, before it is completed.
pub enum Token {
    /// The message is in the case's place.
    Received,
    /// The channel is empty and closed.
    Closed,
    /// A message may be sent.
    Sending(Chosen),
}

/// A send that waits for its message.
pub struct Chosen(pub(super) Sending);

/// One end of a channel as a case.
pub(super) trait Handle {
    fn is_ready(&self) -> bool;
    /// Changes whenever `is_ready` may have become true.
    fn stamp(&self) -> usize;
    /// When it may become ready by itself.
    fn due(&self) -> u64;
    /// Takes part without waiting.
    ///
    /// # Safety
    ///
    /// - For a receiver, `place` is one for a message of its type.
    unsafe fn attempt(&self, place: *mut ()) -> Option<Token>;
    /// Links a node; false, and not linked, if there is no need to wait.
    ///
    /// # Safety
    ///
    /// - The node stays until it was claimed or forgotten.
    unsafe fn watch(&self, observe: bool, announced: u64, node: &Node, ticket: Ticket) -> bool;
    /// Takes out a node for which `watch` was called.
    fn forget(&self, observe: bool, node: &Node);
    /// Tells futures that the select is about to wait for them. What it returns is for `watch`.
    fn announce(&self) -> u64 {
        0
    }
    /// What the answer to a node means; `None`: look again.
    fn answered(&self, answer: usize) -> Option<Token>;
    /// Gives back what was chosen.
    fn abandon(&self, token: Token);
}

/// One case of a select.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub(super) handle: &'a dyn Handle,
    /// Where a received message goes: valid for one of the handle's type as long as the case is in use. Null for a send.
    pub(super) place: *mut (),
    /// Set by [`note`] when a message is there.
    pub(super) full: Option<&'a Cell<bool>>,
}

/// Tells the case that its message is there.
pub(super) fn note(cases: &[Case<'_>], index: usize, token: &Token) {
    if let (Token::Received, Some(full)) = (token, cases[index].full) {
        full.set(true);
    }
}

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    /// The first that is ready, instead of any.
    pub(super) biased: bool,
    /// Only say which is ready.
    pub(super) observe: bool,
}

impl How {
    /// Chooses and takes part.
    pub(super) fn taking_part(biased: bool) -> Self {
        Self { biased, observe: false }
    }
}

/// The index of the case, and what was chosen of it (for an observer, nothing).
type Choice = (usize, Option<Token>);

/// Looks for a case that is ready.
#[inline(never)]
pub(super) fn pass(cases: &[Case<'_>], how: How) -> Option<Choice> {
    loop {
        let mut found = None;
        let mut ready = 0;
        for (index, case) in cases.iter().enumerate() {
            if case.handle.is_ready() {
                ready += 1;
                // Reservoir sampling: of `ready` so far, each was kept with the same probability.
                if ready == 1 || sched::random(ready) == 0 {
                    found = Some(index);
                }
                if how.biased {
                    break;
                }
            }
        }
        let index = found?;
        if how.observe {
            return Some((index, None));
        }
        // SAFETY: `place` is what `Case` says.
        if let Some(token) = unsafe { cases[index].handle.attempt(cases[index].place) } {
            return Some((index, Some(token)));
        }
    }
}

/// Looks for a case that is ready; `None` if at one instant none was.
pub(super) fn try_once(cases: &[Case<'_>], how: How) -> Option<Choice> {
    if cases.len() < 2 {
        return pass(cases, how);
    }
    with_array(
        cases.len(),
        |_| 0,
        |stamps: &mut [usize]| {
            loop {
                for (stamp, case) in stamps.iter_mut().zip(cases) {
                    *stamp = case.handle.stamp();
                }
                if let Some(choice) = pass(cases, how) {
                    return Some(choice);
                }
                if stamps.iter().zip(cases).all(|(stamp, case)| case.handle.stamp() == *stamp) {
                    return None;
                }
            }
        },
    )
}

/// Waits for one of the cases, until `deadline`; `None` if that passes first.
pub(super) fn wait(cases: &[Case<'_>], how: How, deadline: u64) -> Option<Choice> {
    if let Some(choice) = pass(cases, how) {
        return Some(choice);
    }
    let place = |index: usize| cases.get(index).map_or(std::ptr::null_mut(), |case| case.place);
    with_array(
        cases.len(),
        |index| Waiter::new(index, place(index)),
        |waiters| wait_with(cases, waiters, how, deadline),
    )
}

/// As `wait`, for a number of cases that is known: the switch stands in the caller (see `Sender::send`).
#[inline(always)]
pub(super) fn wait_for<const N: usize>(cases: &[Case<'_>; N], how: How, deadline: u64) -> Option<Choice> {
    if let Some(choice) = pass(cases, how) {
        return Some(choice);
    }
    let mut waiters: [Waiter; N] = std::array::from_fn(|index| Waiter::new(index, cases[index].place));
    wait_with(cases, &mut waiters, how, deadline)
}

/// Runs `f` with `len` values: on the stack unless they are many.
fn with_array<V, R>(len: usize, make: impl Fn(usize) -> V, f: impl FnOnce(&mut [V]) -> R) -> R {
    if len <= 4 {
        let mut few: [V; 4] = std::array::from_fn(make);
        f(&mut few[..len])
    } else if len <= 16 {
        let mut some: [V; 16] = std::array::from_fn(make);
        f(&mut some[..len])
    } else {
        let mut many: Vec<V> = (0..len).map(make).collect();
        f(&mut many)
    }
}

/// What waits for one case.
struct Waiter {
    case: usize,
    node: Node,
    /// What `announce` said last.
    announced: Cell<u64>,
}

impl Waiter {
    #[inline(always)]
    fn new(case: usize, place: *mut ()) -> Self {
        Self { case, node: Node::new(place), announced: Cell::new(0) }
    }
}

#[repr(C)]
struct SelectOp<'a> {
    op: ParkOp,
    cases: &'a [Case<'a>],
    /// In the order in which they are linked.
    waiters: &'a [Waiter],
    observe: bool,
    /// Until when to wait, by the cases' own times as they were read.
    until: u64,
    /// How many of them `watch` was called for.
    watched: Cell<usize>,
}

#[inline(always)]
fn wait_with(cases: &[Case<'_>], waiters: &mut [Waiter], how: How, deadline: u64) -> Option<Choice> {
    if !how.biased {
        // Of several cases with the same channel the one that is linked first is answered: each as often as the others.
        for left in (2..=waiters.len()).rev() {
            waiters.swap(left - 1, sched::random(left));
        }
    }
    loop {
        let due = cases.iter().map(|case| case.handle.due()).min().unwrap_or(u64::MAX);
        let op = SelectOp {
            op: ParkOp::new(Wait::Select, due.min(deadline), commit),
            cases,
            waiters,
            observe: how.observe,
            until: due.min(deadline),
            watched: Cell::new(0),
        };
        // SAFETY: `op` is the first field of a SelectOp and stays in this frame until the call returns.
        let reason = unsafe { block((&raw const op).cast()) };
        if let Some(choice) = woken(&op, reason, how) {
            return Some(choice);
        }
        if reason == Reason::TimedOut && deadline <= clock::now_ns() {
            return None;
        }
        if !how.observe {
            for waiter in &*waiters {
                waiter.announced.set(cases[waiter.case].handle.announce());
            }
        }
    }
}

/// After waking: takes the nodes out, and finds what was chosen.
#[inline(never)]
fn woken(op: &SelectOp<'_>, reason: Reason, how: How) -> Option<Choice> {
    let mut answer = None;
    for waiter in &op.waiters[..op.watched.get()] {
        // A node that was answered has been unlinked by who did.
        match waiter.node.take_answer() {
            // Claimed for something that somebody else had by then.
            Some(LOOK_AGAIN) => {}
            Some(said) => answer = Some((waiter.case, said)),
            None => op.cases[waiter.case].handle.forget(how.observe, &waiter.node),
        }
    }
    if reason == Reason::Cancelled {
        cancelled();
    }
    if let Some((index, said)) = answer
        && !how.observe
        && let Some(token) = op.cases[index].handle.answered(said)
    {
        return Some((index, Some(token)));
    }
    pass(op.cases, how)
}

/// # Safety
///
/// - `op` is the first field of a `SelectOp` in a suspended frame.
unsafe fn commit(op: *const ParkOp, ticket: Ticket) -> Commit {
    // SAFETY: the caller's contract; the frame stays until the waiter is made ready, which cannot take effect before this returns
    // (`park::commit`).
    let this = unsafe { &*op.cast::<SelectOp<'_>>() };
    for (watched, waiter) in this.waiters.iter().enumerate() {
        // SAFETY: the waiter forgets all nodes before it goes on.
        let must_wait = unsafe {
            this.cases[waiter.case].handle.watch(this.observe, waiter.announced.get(), &waiter.node, ticket)
        };
        if !must_wait {
            return Commit::Already;
        }
        this.watched.set(watched + 1);
        // A timer that was set to an earlier time before its node was linked.
        if this.cases[waiter.case].handle.due() < this.until {
            return Commit::Already;
        }
    }
    Commit::Blocked
}
