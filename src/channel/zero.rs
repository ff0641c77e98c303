//! Channels without capacity: a sender and a receiver meet, and the value goes from one frame to the other. Of the two whoever comes second moves it, under the
//! queue's lock: there is nothing but the wait queue (Hoare's rendezvous; Go's unbuffered channel).
//!
//! A select that has chosen a send has no message yet. If it comes second, the receiver it claimed sleeps on until the message is there. If it was
//! waiting, the receiver that comes wakes it with its own address and takes its place as the one that sleeps ([`wake_and_wait`]).

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::task::{Poll, Waker};

use super::err::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use super::flavor::{self, CLOSED, Flavor, MOVED, Queue, RECV, Received, SEND, Sending};
use super::wakers::Wakers;
use crate::base::atomic::{Ordering, fence};
use crate::routine::{TaskRef, Wait};
use crate::sched::park::cancelled;
use crate::sched::waitq::{Claimed, LockedQueue, Outcome, wake_and_wait};

/// See the file's documentation.
pub(super) struct Zero<T> {
    queue: Queue,
    wakers: Wakers<T>,
    /// All waiters' data are places for a `T`.
    marker: PhantomData<fn(T) -> T>,
}

impl<T> Zero<T> {
    pub(super) fn new() -> Self {
        Self { queue: Queue::new(), wakers: Wakers::new(), marker: PhantomData }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Somebody who waits on `side`, if there is anybody.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn claim(&self, side: usize) -> Option<Claimed> {
        if !self.queue.has_waiters(side) {
            return None;
        }
        self.queue.lock().claim_first(side)
    }

    /// Gives `value` to a receiver that waits.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn give(&self, value: T) -> Result<(), T> {
        match self.claim(RECV) {
            Some(receiver) => {
                // SAFETY: a receiver's data is the place for a value of the channel, in its frame or kept by it, until it is woken.
                unsafe { receiver.data().cast::<T>().write(value) };
                receiver.wake(MOVED);
                Ok(())
            }
            None => Err(value),
        }
    }

    /// Takes the value of a sender that waits. False if there is none.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn get(&self, place: &mut MaybeUninit<T>) -> bool {
        while let Some(sender) = self.claim(SEND) {
            let value = sender.data().cast::<MaybeUninit<T>>();
            if !value.is_null() {
                // SAFETY: a sender's data is its value, in its frame, which it does not touch again once it is told that it was moved.
                *place = unsafe { value.read() };
                sender.wake(MOVED);
                return true;
            }
            // A select, which computes its message now. If it comes to nothing, somebody else may have one.
            if wake_and_wait(sender, Wait::ChanReceive, place.as_mut_ptr().cast()) {
                return true;
            }
        }
        if self.queue.has_async(SEND)
            && let Some(value) = self.wakers.take_offer(&self.queue, SEND)
        {
            place.write(value);
            return true;
        }
        false
    }

    /// Takes an offer back. None if somebody has it.
    fn withdraw(&self, offered: u64) -> Option<T> {
        self.wakers.remove(&self.queue, SEND, offered)?.offer
    }

    /// Under the lock: whether there is nobody on the other side either.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn alone(&self, side: usize, locked: &mut LockedQueue<'_, 4>) -> bool {
        let has_offer = side == RECV && locked.has_async(SEND);
        let alone = locked.is_empty(side ^ 1) && !has_offer && !self.is_closed();
        if alone {
            flavor::tell_watchers(locked, side);
        }
        alone
    }
}

impl<T> Flavor<T> for Zero<T> {
    type Offer = T;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.give(value).map_err(|value| {
            if self.is_closed() { TrySendError::Disconnected(value) } else { TrySendError::Full(value) }
        })
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn send(&self, value: T, deadline: u64) -> Result<(), SendTimeoutError<T>> {
        let mut value = ManuallyDrop::new(value);
        loop {
            // SAFETY: a value that is still ours; it is either moved away and not used again, or put back.
            match self.give(unsafe { ManuallyDrop::take(&mut value) }) {
                Ok(()) => return Ok(()),
                Err(back) => value = ManuallyDrop::new(back),
            }
            if self.is_closed() {
                return Err(SendTimeoutError::Disconnected(ManuallyDrop::into_inner(value)));
            }
            // A future that receives and comes from now on finds us, or keeps us from waiting.
            let announced = self.announce(SEND);
            let place: *mut ManuallyDrop<T> = &raw mut value;
            let outcome = self.queue.wait(SEND, Wait::ChanSend, deadline, place.cast(), |locked| {
                self.alone(SEND, locked) && !self.must_announce(SEND, announced, locked)
            });
            match outcome {
                Outcome::Answered(MOVED) => return Ok(()),
                Outcome::Answered(_) => {
                    return Err(SendTimeoutError::Disconnected(ManuallyDrop::into_inner(value)));
                }
                Outcome::Changed | Outcome::LookAgain => {}
                Outcome::TimedOut => return Err(SendTimeoutError::Timeout(ManuallyDrop::into_inner(value))),
                Outcome::Cancelled => {
                    drop(ManuallyDrop::into_inner(value));
                    cancelled();
                }
            }
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut place = MaybeUninit::uninit();
        if self.get(&mut place) {
            // SAFETY: `get` says that it put a value there.
            return Ok(unsafe { place.assume_init() });
        }
        Err(if self.is_closed() { TryRecvError::Disconnected } else { TryRecvError::Empty })
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn recv(&self, deadline: u64) -> Result<T, RecvTimeoutError> {
        let mut place = MaybeUninit::<T>::uninit();
        loop {
            if self.get(&mut place) {
                break;
            }
            if self.is_closed() {
                return Err(RecvTimeoutError::Disconnected);
            }
            let data: *mut () = place.as_mut_ptr().cast();
            let outcome =
                self.queue.wait(RECV, Wait::ChanReceive, deadline, data, |locked| self.alone(RECV, locked));
            match outcome {
                Outcome::Answered(_) => break,
                Outcome::Changed | Outcome::LookAgain => {}
                Outcome::TimedOut => return Err(RecvTimeoutError::Timeout),
                Outcome::Cancelled => cancelled(),
            }
        }
        // SAFETY: `get`, or the answer, says that a value was put there.
        Ok(unsafe { place.assume_init() })
    }

    fn len(&self) -> usize {
        0
    }

    fn is_empty(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        true
    }

    fn capacity(&self) -> Option<usize> {
        Some(0)
    }

    fn close(&self) {
        let first = self.queue.lock().close();
        if first {
            flavor::wake_all(&self.queue, &self.wakers);
        }
    }

    fn discard(&self) {}

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn wakers(&self) -> &Wakers<T> {
        &self.wakers
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn announce(&self, side: usize) -> u64 {
        if side == RECV {
            return 0;
        }
        let arrivals = self.queue.arrivals(RECV);
        if self.queue.has_async(RECV) {
            self.wakers.wake_first(&self.queue, RECV);
        }
        arrivals
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn must_announce(&self, side: usize, announced: u64, locked: &LockedQueue<'_, 4>) -> bool {
        side == SEND && locked.has_async(RECV) && locked.arrivals(RECV) != announced
    }

    /// Whether or not there is a sender by now: one that has woken us may be on its way into the queue. Who has made an offer was woken for its own.
    fn passes_on(&self, side: usize) -> bool {
        side == RECV
    }

    fn poll_send(&self, message: &mut Option<T>, id: &mut Option<u64>, waker: &Waker) -> Poll<Result<(), T>> {
        if let Some(offered) = *id {
            if self.wakers.renew(SEND, offered, waker) && !self.is_closed() {
                return Poll::Pending;
            }
            *id = None;
            match self.withdraw(offered) {
                None => return Poll::Ready(Ok(())),
                value => *message = value,
            }
        }
        while let Some(value) = message.take() {
            match self.try_send(value) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(value)) => return Poll::Ready(Err(value)),
                Err(TrySendError::Full(value)) => {
                    let offered = self.wakers.add(&self.queue, SEND, waker.clone(), Some(value));
                    // See `WaitQueue::hints`.
                    fence(Ordering::SeqCst);
                    if !self.queue.has_waiters(RECV) && !self.is_closed() {
                        *id = Some(offered);
                        self.announce(SEND);
                        return Poll::Pending;
                    }
                    // A receiver that had begun to wait before.
                    *message = self.withdraw(offered);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn is_ready(&self, side: usize) -> bool {
        self.queue.has_waiters(side ^ 1) || side == RECV && self.queue.has_async(SEND) || self.is_closed()
    }

    fn stamp(&self, side: usize) -> usize {
        self.queue.stamp(side ^ 1) as usize
    }

    fn must_wait(&self, side: usize, me: TaskRef, locked: &mut LockedQueue<'_, 4>) -> bool {
        let has_offer = side == RECV && locked.has_async(SEND);
        !locked.has_other(side ^ 1, me) && !has_offer && !self.is_closed()
    }

    fn take(&self, place: &mut MaybeUninit<T>) -> Option<Received> {
        if self.get(place) {
            return Some(Received::Value);
        }
        self.is_closed().then_some(Received::Closed)
    }

    fn offer(&self) -> Option<Sending> {
        if let Some(receiver) = self.claim(RECV) {
            return Some(Sending::To(receiver));
        }
        self.is_closed().then_some(Sending::Closed)
    }

    fn offered(&self, answer: usize) -> Option<Sending> {
        if answer == CLOSED {
            return Some(Sending::Closed);
        }
        // SAFETY: any other answer to a waiting select's send is that of `get`.
        unsafe { Claimed::of_answer(answer) }.map(Sending::To)
    }

    fn complete(&self, sending: Sending, value: T) -> Result<(), T> {
        match sending {
            Sending::To(receiver) => {
                // SAFETY: as in `give`.
                unsafe { receiver.data().cast::<T>().write(value) };
                receiver.wake(MOVED);
                Ok(())
            }
            Sending::Place(_) | Sending::Closed => Err(value),
        }
    }

    fn abandon(&self, sending: Sending) {
        if let Sending::To(receiver) = sending {
            receiver.look_again();
        }
    }
}
