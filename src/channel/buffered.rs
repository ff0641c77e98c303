//! Channels with a buffer, bounded ([`Ring`](super::ring::Ring)) or not ([`List`](super::list::List)).
//!
//! An operation that finds the buffer in order and nobody waiting touches nothing else. The wait queue comes in when it is full or empty, and the two are
//! kept in step by one function, [`Buffered::balance`]:
//!
//! - *Who makes a value or room* (a `push`, a `pop`, the end of a reservation: SeqCst) asks afterwards whether anybody waits, and if so, balances: under the
//!   queue's lock the first waiting receiver gets the first value, the first waiting sender's value goes to the end, until one of the two runs out.
//! - *Who is about to wait* has linked its node (SeqCst) and then looks at the buffer once more. One of the two sees the other.
//! - *Who comes and finds others waiting* does not overtake them: it balances, and then waits behind them.
//!
//! - *Futures* ([`wakers`](super::wakers)) wait behind all these: of what is left over, `balance` tells one of them.
//!
//! So waiters are served in order, and their values keep the order of the buffer. Only a claim that loses its value to somebody who took it at the
//! same moment is made to look again; it then waits in front.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::task::{Poll, Waker};

use super::buffer::{Buffer, Pop, PushError, Reserve};
use super::err::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use super::flavor::{CLOSED, FIRST_PLACE, Flavor, MOVED, Queue, RECV, Received, SEND, Sending, WATCH};
use super::wakers::Wakers;
use crate::base::atomic::{Ordering, fence};
use crate::routine::{TaskRef, Wait};
use crate::sched::park::cancelled;
use crate::sched::waitq::{LockedQueue, Options, Outcome};

/// See the file's documentation.
pub(super) struct Buffered<B> {
    buffer: B,
    queue: Queue,
    wakers: Wakers<()>,
}

impl<B> Buffered<B> {
    pub(super) fn new(buffer: B) -> Self {
        Self { buffer, queue: Queue::new(), wakers: Wakers::new() }
    }

    /// Whether an operation on `side` would not wait, asked by one whose node has just been linked.
    fn can<T>(&self, side: usize) -> bool
    where
        B: Buffer<T>,
    {
        // See `WaitQueue::hints`.
        fence(Ordering::SeqCst);
        if side == RECV { self.buffer.readable() } else { self.buffer.writable() }
    }

    /// After a value came: somebody may wait for it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn pushed<T>(&self)
    where
        B: Buffer<T>,
    {
        if self.queue.has_any(RECV) {
            self.balance();
        }
    }

    /// After a value went: somebody may wait for its room.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn popped<T>(&self)
    where
        B: Buffer<T>,
    {
        if self.queue.has_any(SEND) {
            self.balance();
        }
    }

    /// Serves those who wait with what there is. See the file's documentation.
    #[cold]
    #[inline(never)]
    fn balance<T>(&self)
    where
        B: Buffer<T>,
    {
        loop {
            let mut locked = self.queue.lock();
            if !locked.is_empty(RECV) && self.buffer.readable() {
                let Some(receiver) = locked.claim_first(RECV) else { continue };
                let value = self.buffer.pop();
                drop(locked);
                match value {
                    Pop::Value(value) => {
                        // SAFETY: a receiver's data is the place for a value of the channel, in its frame or kept by it, until it is woken.
                        unsafe { receiver.data().cast::<T>().write(value) };
                        receiver.wake(MOVED);
                    }
                    // Taken by somebody else, or the end: it looks itself.
                    Pop::Empty | Pop::Closed => receiver.look_again(),
                }
                continue;
            }
            if !locked.is_empty(SEND) && self.buffer.writable() {
                let Some(sender) = locked.claim_first(SEND) else { continue };
                let place = sender.data().cast::<T>();
                if place.is_null() {
                    let reserve = self.buffer.reserve();
                    drop(locked);
                    match reserve {
                        Reserve::Place(place) => sender.wake(FIRST_PLACE.wrapping_add(place)),
                        Reserve::Full => sender.look_again(),
                        Reserve::Closed => sender.wake(CLOSED),
                    }
                    continue;
                }
                // SAFETY: a sender's data is its value, in its frame, which it does not touch until it is woken and told what became of it.
                let value = unsafe { place.read() };
                let pushed = self.buffer.push(value);
                drop(locked);
                match pushed {
                    Ok(()) => sender.wake(MOVED),
                    Err(PushError::Full(value)) => {
                        // SAFETY: as above; the value goes back to where it was.
                        unsafe { place.write(value) };
                        sender.look_again();
                    }
                    Err(PushError::Closed(value)) => {
                        // SAFETY: as above.
                        unsafe { place.write(value) };
                        sender.wake(CLOSED);
                    }
                }
                continue;
            }
            for (list, ready) in [(RECV, self.buffer.readable()), (SEND, self.buffer.writable())] {
                while ready && let Some(watcher) = locked.claim_first(list + WATCH) {
                    drop(watcher);
                }
            }
            let told = [
                locked.has_async(RECV) && self.buffer.readable(),
                locked.has_async(SEND) && self.buffer.writable(),
            ];
            drop(locked);
            for side in [RECV, SEND] {
                if told[side] {
                    self.wakers.wake_first(&self.queue, side);
                }
            }
            return;
        }
    }

    #[cold]
    #[inline(never)]
    fn send_slow<T>(&self, value: T, deadline: u64) -> Result<(), SendTimeoutError<T>>
    where
        B: Buffer<T>,
    {
        let mut value = ManuallyDrop::new(value);
        let mut options = Options::default();
        loop {
            self.balance();
            if options.front || !self.queue.has_waiters(SEND) {
                // SAFETY: a value that is still ours; it is either moved away and not used again, or put back.
                match self.buffer.push(unsafe { ManuallyDrop::take(&mut value) }) {
                    Ok(()) => {
                        self.pushed();
                        return Ok(());
                    }
                    Err(PushError::Closed(value)) => return Err(SendTimeoutError::Disconnected(value)),
                    Err(PushError::Full(back)) => value = ManuallyDrop::new(back),
                }
            } else if self.buffer.is_closed() {
                return Err(SendTimeoutError::Disconnected(ManuallyDrop::into_inner(value)));
            }
            let place: *mut ManuallyDrop<T> = &raw mut value;
            let outcome = self
                .queue
                .wait_with(SEND, Wait::ChanSend, deadline, place.cast(), options, |_| !self.can(SEND));
            match outcome {
                Outcome::Answered(MOVED) => return Ok(()),
                Outcome::Answered(_) => {
                    return Err(SendTimeoutError::Disconnected(ManuallyDrop::into_inner(value)));
                }
                Outcome::Changed => options.front = false,
                Outcome::LookAgain => options.front = true,
                Outcome::TimedOut => return Err(SendTimeoutError::Timeout(ManuallyDrop::into_inner(value))),
                Outcome::Cancelled => {
                    drop(ManuallyDrop::into_inner(value));
                    cancelled();
                }
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn recv_slow<T>(&self, deadline: u64) -> Result<T, RecvTimeoutError>
    where
        B: Buffer<T>,
    {
        let mut place = MaybeUninit::<T>::uninit();
        let mut options = Options::default();
        loop {
            self.balance();
            if options.front || !self.queue.has_waiters(RECV) {
                match self.buffer.pop() {
                    Pop::Value(value) => {
                        self.popped();
                        return Ok(value);
                    }
                    Pop::Closed => return Err(RecvTimeoutError::Disconnected),
                    Pop::Empty => {}
                }
            }
            let data: *mut () = place.as_mut_ptr().cast();
            let outcome =
                self.queue.wait_with(RECV, Wait::ChanReceive, deadline, data, options, |_| !self.can(RECV));
            match outcome {
                // SAFETY: the answer says that the value was put there.
                Outcome::Answered(_) => return Ok(unsafe { place.assume_init() }),
                Outcome::Changed => options.front = false,
                Outcome::LookAgain => options.front = true,
                Outcome::TimedOut => return Err(RecvTimeoutError::Timeout),
                Outcome::Cancelled => cancelled(),
            }
        }
    }
}

impl<T, B: Buffer<T>> Flavor<T> for Buffered<B> {
    type Offer = ();

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.popped();
        match self.buffer.push(value) {
            Ok(()) => {
                self.pushed();
                Ok(())
            }
            Err(PushError::Full(value)) => Err(TrySendError::Full(value)),
            Err(PushError::Closed(value)) => Err(TrySendError::Disconnected(value)),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn send(&self, value: T, deadline: u64) -> Result<(), SendTimeoutError<T>> {
        if self.queue.has_waiters(SEND) {
            return self.send_slow(value, deadline);
        }
        match self.buffer.push(value) {
            Ok(()) => {
                self.pushed();
                Ok(())
            }
            Err(PushError::Full(value)) => self.send_slow(value, deadline),
            Err(PushError::Closed(value)) => Err(SendTimeoutError::Disconnected(value)),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn try_recv(&self) -> Result<T, TryRecvError> {
        self.pushed();
        let popped = self.buffer.pop();
        // Also if it found nothing: it may have made room by stepping over reservations that were given up.
        self.popped();
        match popped {
            Pop::Value(value) => Ok(value),
            Pop::Empty => Err(TryRecvError::Empty),
            Pop::Closed => Err(TryRecvError::Disconnected),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn recv(&self, deadline: u64) -> Result<T, RecvTimeoutError> {
        if !self.queue.has_waiters(RECV)
            && let Pop::Value(value) = self.buffer.pop()
        {
            self.popped();
            return Ok(value);
        }
        self.recv_slow(deadline)
    }

    fn len(&self) -> usize {
        self.buffer.len()
    }

    fn is_empty(&self) -> bool {
        self.buffer.len() == 0
    }

    fn is_full(&self) -> bool {
        self.buffer.capacity() == Some(self.buffer.len())
    }

    fn capacity(&self) -> Option<usize> {
        self.buffer.capacity()
    }

    fn close(&self) {
        if self.buffer.close() {
            super::flavor::wake_all(&self.queue, &self.wakers);
        }
    }

    fn discard(&self) {
        while let Pop::Value(value) = self.buffer.pop() {
            drop(value);
        }
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn wakers(&self) -> &Wakers<()> {
        &self.wakers
    }

    fn poll_send(&self, message: &mut Option<T>, id: &mut Option<u64>, waker: &Waker) -> Poll<Result<(), T>> {
        let mut is_waiting = false;
        let result = loop {
            let Some(value) = message.take() else { break Ok(()) };
            match self.try_send(value) {
                Ok(()) => break Ok(()),
                Err(TrySendError::Disconnected(value)) => break Err(value),
                Err(TrySendError::Full(value)) => *message = Some(value),
            }
            if is_waiting {
                return Poll::Pending;
            }
            if !id.is_some_and(|id| self.wakers.renew(SEND, id, waker)) {
                *id = Some(self.wakers.add(&self.queue, SEND, waker.clone(), None));
            }
            // See `WaitQueue::hints`.
            fence(Ordering::SeqCst);
            is_waiting = true;
        };
        if let Some(id) = id.take() {
            Flavor::<T>::leave(self, SEND, id);
        }
        Poll::Ready(result)
    }

    fn is_ready(&self, side: usize) -> bool {
        if side == RECV { self.buffer.readable() } else { self.buffer.writable() }
    }

    fn stamp(&self, side: usize) -> usize {
        if side == RECV { self.buffer.read_stamp() } else { self.buffer.write_stamp() }
    }

    fn must_wait(&self, side: usize, _: TaskRef, _: &mut LockedQueue<'_, 4>) -> bool {
        !self.can(side)
    }

    fn take(&self, place: &mut MaybeUninit<T>) -> Option<Received> {
        match self.try_recv() {
            Ok(value) => {
                place.write(value);
                Some(Received::Value)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Received::Closed),
        }
    }

    fn offer(&self) -> Option<Sending> {
        self.popped();
        match self.buffer.reserve() {
            Reserve::Place(place) => Some(Sending::Place(place)),
            Reserve::Full => None,
            Reserve::Closed => Some(Sending::Closed),
        }
    }

    fn offered(&self, answer: usize) -> Option<Sending> {
        Some(if answer == CLOSED {
            Sending::Closed
        } else {
            Sending::Place(answer.wrapping_sub(FIRST_PLACE))
        })
    }

    fn complete(&self, sending: Sending, value: T) -> Result<(), T> {
        match sending {
            Sending::Place(place) => {
                let filled = self.buffer.fill(place, value);
                self.pushed();
                filled
            }
            Sending::To(_) | Sending::Closed => Err(value),
        }
    }

    fn abandon(&self, sending: Sending) {
        if let Sending::Place(place) = sending {
            self.buffer.abandon(place);
            // Room, and perhaps a value that waited behind it.
            self.popped();
            self.pushed();
        }
    }
}
