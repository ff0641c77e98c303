//! What every kind of channel does, for [`ends`](super::ends) and [`case`](super::case): [`buffered`](super::buffered) and [`zero`](super::zero).
//!
//! A channel has one wait queue with four lists, two a direction: those who wait to take part, and those who only want to know ([`ready`]): a
//! select that asks which operation is ready takes nothing.
//!
//! [`ready`]: super::Select::ready

use std::mem::MaybeUninit;
use std::task::{Poll, Waker};

use super::err::{RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use super::wakers::{Wakers, tried};
use crate::base::atomic::{Ordering, fence};
use crate::routine::{TaskRef, Ticket};
use crate::sched::waitq::{Claimed, LockedQueue, Node, WaitQueue};

/// Receivers that wait.
pub(super) const RECV: usize = 0;
/// Senders that wait.
pub(super) const SEND: usize = 1;
/// From a list of those who take part to that of those who watch.
pub(super) const WATCH: usize = 2;

/// What a waker says to a waiter: the value was moved.
pub(super) const MOVED: usize = 0;
/// The channel was closed.
pub(super) const CLOSED: usize = 1;
/// The first of the answers that are places of a buffer or addresses.
pub(super) const FIRST_PLACE: usize = 2;

pub(super) type Queue = WaitQueue<4>;

/// A received value, or the end.
pub(super) enum Received {
    /// The value is in the place given.
    Value,
    /// Empty and closed.
    Closed,
}

/// A send that was chosen and waits for its message.
pub(super) enum Sending {
    /// Room that is reserved.
    Place(usize),
    /// A receiver that sleeps until it gets it.
    To(Claimed),
    /// None: the channel is closed.
    Closed,
}

/// One kind of channel.
pub(super) trait Flavor<T> {
    /// What futures leave while they wait to send.
    type Offer;

    fn try_send(&self, value: T) -> Result<(), TrySendError<T>>;
    fn send(&self, value: T, deadline: u64) -> Result<(), SendTimeoutError<T>>;
    fn try_recv(&self) -> Result<T, TryRecvError>;
    fn recv(&self, deadline: u64) -> Result<T, RecvTimeoutError>;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool;
    fn is_full(&self) -> bool;
    fn capacity(&self) -> Option<usize>;
    fn close(&self);
    /// The last receiver is gone: drops what is left.
    fn discard(&self);

    fn queue(&self) -> &Queue;
    fn wakers(&self) -> &Wakers<Self::Offer>;
    /// Whether an operation on `side` would not wait; may be true for nothing.
    fn is_ready(&self, side: usize) -> bool;
    /// Changes whenever `is_ready(side)` may have become true.
    fn stamp(&self, side: usize) -> usize;
    /// Whether `me`, whose node is linked already, has to wait for an operation on `side`. Under the lock.
    fn must_wait(&self, side: usize, me: TaskRef, locked: &mut LockedQueue<'_, 4>) -> bool;
    /// Receives without waiting for anything but a sender that has been chosen.
    fn take(&self, place: &mut MaybeUninit<T>) -> Option<Received>;
    /// What the answer of somebody who took the waiter out of list `RECV` means.
    fn taken(&self, answer: usize) -> Option<Received> {
        match answer {
            MOVED => Some(Received::Value),
            _ => None,
        }
    }
    /// Chooses a send without waiting.
    fn offer(&self) -> Option<Sending>;
    /// What the answer of somebody who took the waiter out of list `SEND` means; that waiter had no message yet.
    fn offered(&self, answer: usize) -> Option<Sending>;
    /// Sends what `offer` has chosen.
    fn complete(&self, sending: Sending, value: T) -> Result<(), T>;
    /// Gives back what `offer` has chosen.
    fn abandon(&self, sending: Sending);

    /// Tells one of the futures on the other side that somebody is about to wait on `side`. Returns what `must_announce` wants to know.
    fn announce(&self, _side: usize) -> u64 {
        0
    }

    /// Whether there are futures on the other side that have come since `announce`, and may have found nothing. Under the lock.
    fn must_announce(&self, _side: usize, _announced: u64, _locked: &LockedQueue<'_, 4>) -> bool {
        false
    }

    /// Whether a future on `side` that was woken and goes wakes the next one.
    fn passes_on(&self, side: usize) -> bool {
        self.is_ready(side)
    }

    /// Receives for a future; `id` is what it is called in `wakers`, while it is there.
    fn poll_recv(&self, id: &mut Option<u64>, waker: &Waker) -> Poll<Result<T, RecvError>> {
        let mut result = tried(self.try_recv());
        if result.is_none() {
            let is_there = id.is_some_and(|id| self.wakers().renew(RECV, id, waker));
            if !is_there {
                *id = Some(self.wakers().add(self.queue(), RECV, waker.clone(), None));
            }
            // See `WaitQueue::hints`.
            fence(Ordering::SeqCst);
            result = tried(self.try_recv());
        }
        let Some(result) = result else { return Poll::Pending };
        if let Some(id) = id.take() {
            self.leave(RECV, id);
        }
        Poll::Ready(result)
    }

    /// Sends for a future, likewise. `message` is there unless it is offered.
    fn poll_send(&self, message: &mut Option<T>, id: &mut Option<u64>, waker: &Waker) -> Poll<Result<(), T>>;

    /// A future does not wait any more. If it was woken it may not have used what it was woken for: that is the next one's.
    fn leave(&self, side: usize, id: u64) {
        let entry = self.wakers().remove(self.queue(), side, id);
        if entry.is_none() && self.passes_on(side) {
            self.wakers().wake_first(self.queue(), side);
        }
    }

    /// Links a case of a select into list `side`; false, and not linked, if there is no need to wait.
    ///
    /// # Safety
    ///
    /// - As `LockedQueue::link`.
    unsafe fn watch(&self, side: usize, observe: bool, announced: u64, node: &Node, ticket: Ticket) -> bool {
        let list = if observe { side + WATCH } else { side };
        let mut locked = self.queue().lock_for(ticket);
        // SAFETY: the caller's contract.
        unsafe { locked.link(list, node, ticket, false) };
        let must_wait = self.must_wait(side, ticket.task, &mut locked)
            && (observe || !self.must_announce(side, announced, &locked));
        if !must_wait {
            locked.unlink(list, node);
        } else if !observe {
            tell_watchers(&mut locked, side);
        }
        must_wait
    }
}

/// Somebody has come to wait on `side`, which makes the other side ready in a channel without buffer: tells those who want to know.
#[inline(always)]
pub(super) fn tell_watchers(locked: &mut LockedQueue<'_, 4>, side: usize) {
    let list = (side ^ 1) + WATCH;
    if !locked.is_empty(list) {
        wake_watchers(locked, list);
    }
}

#[cold]
#[inline(never)]
fn wake_watchers(locked: &mut LockedQueue<'_, 4>, list: usize) {
    // Woken under the lock: they find the caller's node when they get it.
    while let Some(watcher) = locked.claim_first(list) {
        drop(watcher);
    }
}

/// Wakes all who wait for the channel, which is closed. Senders get their values back, receivers look once more.
pub(super) fn wake_all<O>(queue: &Queue, wakers: &Wakers<O>) {
    // Whoever links a node from now on sees that it is closed (PROTOCOLS.md, "Waiting against making").
    if !queue.has_any(RECV) && !queue.has_any(SEND) {
        return;
    }
    wakers.wake_all();
    for list in [SEND, RECV, SEND + WATCH, RECV + WATCH] {
        loop {
            let claimed = queue.lock().claim_first(list);
            match claimed {
                Some(sender) if list == SEND => sender.wake_tail(CLOSED),
                Some(other) => other.look_again(),
                None => break,
            }
        }
    }
}
