//! Channels in async code: [`SendFuture`], [`RecvFuture`], [`RecvStream`]. For any executor; the other ends may be goroutines, threads or futures.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::ends::{Receiver, ReceiverFlavor, Sender, SenderFlavor, with};
use super::err::{RecvError, SendError};
use super::flavor::{Flavor, RECV, SEND};
use super::select::Select;
use crate::go::{JoinHandle, go};

impl<T> Sender<T> {
    /// Sends, as a future: ready when the message is in the channel, or a receiver has it.
    ///
    /// Dropping the future before takes the message back, and drops it. Goroutines that wait to send come first.
    ///
    /// # Errors
    ///
    /// Gives the message back if the channel is disconnected.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::{block_on, channel, go};
    ///
    /// let (s, r) = channel::bounded(0);
    /// let receiver = go(move || r.recv());
    /// block_on(s.send_async("from a future")).unwrap();
    /// assert_eq!(receiver.join().unwrap(), Ok("from a future"));
    /// ```
    pub fn send_async(&self, message: T) -> SendFuture<'_, T> {
        SendFuture { sender: self, message: Some(message), id: None }
    }
}

impl<T> Receiver<T> {
    /// Receives, as a future.
    ///
    /// Dropping the future loses no message. Goroutines that wait to receive come first. Where nothing can be kept, in a channel without capacity, a sender has to wait:
    /// [`try_send`](Sender::try_send) does not meet a future that waits.
    ///
    /// # Errors
    ///
    /// If the channel is empty and disconnected.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::{block_on, channel, go};
    ///
    /// let (s, r) = channel::bounded(0);
    /// go(move || s.send("from a goroutine"));
    /// assert_eq!(block_on(r.recv_async()), Ok("from a goroutine"));
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture { state: Waiting { receiver: self, id: None, alarm: None } }
    }

    /// The messages, as a stream: ends when the channel is empty and disconnected. With the cargo feature `futures` it is a `futures_core::Stream`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::{block_on, channel, go};
    ///
    /// let (s, r) = channel::bounded(1);
    /// go(move || (0..5).for_each(|n| s.send(n).unwrap()));
    /// let sum = block_on(async {
    ///     let (mut stream, mut sum) = (r.stream(), 0);
    ///     while let Some(n) = stream.next().await {
    ///         sum += n;
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum, 10);
    /// ```
    pub fn stream(&self) -> RecvStream<'_, T> {
        RecvStream { state: Waiting { receiver: self, id: None, alarm: None } }
    }
}

/// Made by [`Sender::send_async`].
#[must_use = "futures do nothing unless polled"]
pub struct SendFuture<'a, T> {
    sender: &'a Sender<T>,
    /// None while it is offered, and when it is sent.
    message: Option<T>,
    /// In the channel's list of futures.
    id: Option<u64>,
}

// Nothing is pinned: the list holds no address.
impl<T> Unpin for SendFuture<'_, T> {}
impl<T> UnwindSafe for SendFuture<'_, T> {}
impl<T> RefUnwindSafe for SendFuture<'_, T> {}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    ///
    /// If it is polled after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (message, id) = (&mut this.message, &mut this.id);
        assert!(message.is_some() || id.is_some(), "`SendFuture` polled after it was ready");
        with!(&this.sender.flavor, SenderFlavor, c => c.poll_send(message, id, context.waker()))
            .map_err(SendError)
    }
}

impl<T> Drop for SendFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            with!(&self.sender.flavor, SenderFlavor, c => Flavor::<T>::leave(&**c, SEND, id));
        }
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendFuture { .. }")
    }
}

/// What a future that receives remembers between two polls.
struct Waiting<'a, T> {
    receiver: &'a Receiver<T>,
    /// In the channel's list of futures.
    id: Option<u64>,
    /// Of a timer.
    alarm: Option<Alarm>,
}

/// A goroutine that waits for a timer's receiver, and then wakes a future.
struct Alarm {
    waits: JoinHandle<()>,
    waker: Arc<Mutex<Waker>>,
}

impl Alarm {
    fn new<T>(receiver: &Receiver<T>, waker: &Waker) -> Self {
        let shared = Arc::new(Mutex::new(waker.clone()));
        let wakes = shared.clone();
        let wait = receiver.until_due();
        let waits = go(move || {
            wait();
            let waker = wakes.lock().unwrap_or_else(PoisonError::into_inner).clone();
            waker.wake();
        });
        Self { waits, waker: shared }
    }

    fn set(&self, waker: &Waker) {
        let waker = waker.clone();
        let old = std::mem::replace(&mut *self.waker.lock().unwrap_or_else(PoisonError::into_inner), waker);
        // Not under the lock.
        drop(old);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.waits.cancel();
    }
}

impl<T> Waiting<'_, T> {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<T, RecvError>> {
        let (receiver, id) = (self.receiver, &mut self.id);
        with!(&receiver.flavor, ReceiverFlavor, c => c.poll_recv(id, waker),
            ReceiverFlavor::Never => Poll::Pending,
            _ => self.poll_timer(waker))
    }

    fn poll_timer(&mut self, waker: &Waker) -> Poll<Result<T, RecvError>> {
        if let Ok(message) = self.receiver.try_recv() {
            self.alarm = None;
            return Poll::Ready(Ok(message));
        }
        match &self.alarm {
            Some(alarm) if !alarm.waits.is_finished() => alarm.set(waker),
            _ => self.alarm = Some(Alarm::new(self.receiver, waker)),
        }
        // Once more: the goroutine may have been about to wake the waker that it had.
        match self.receiver.try_recv() {
            Ok(message) => Poll::Ready(Ok(message)),
            Err(_) => Poll::Pending,
        }
    }
}

impl<T> Receiver<T> {
    /// What waits until a timer's receiver has a message.
    fn until_due(&self) -> impl FnOnce() + Send + 'static {
        fn ready<T: 'static>(receiver: &Receiver<T>) {
            let mut select = Select::new();
            select.recv(receiver);
            select.ready();
        }
        let flavor = match &self.flavor {
            ReceiverFlavor::At(at, _) => ReceiverFlavor::At(at.clone(), |_| ()),
            ReceiverFlavor::Tick(tick, _) => ReceiverFlavor::Tick(tick.clone(), |_| ()),
            ReceiverFlavor::Clock(clock, _) => ReceiverFlavor::Clock(clock.clone(), |_| ()),
            _ => ReceiverFlavor::Never,
        };
        let receiver = Receiver::<()> { flavor };
        move || ready(&receiver)
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            with!(&self.receiver.flavor, ReceiverFlavor, c => Flavor::<T>::leave(&**c, RECV, id), _ => {});
        }
    }
}

/// Made by [`Receiver::recv_async`].
#[must_use = "futures do nothing unless polled"]
pub struct RecvFuture<'a, T> {
    state: Waiting<'a, T>,
}

impl<T> UnwindSafe for RecvFuture<'_, T> {}
impl<T> RefUnwindSafe for RecvFuture<'_, T> {}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().state.poll(context.waker())
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("RecvFuture { .. }")
    }
}

/// Made by [`Receiver::stream`]: the messages, until the channel is empty and disconnected.
#[must_use = "streams do nothing unless polled"]
pub struct RecvStream<'a, T> {
    state: Waiting<'a, T>,
}

impl<T> UnwindSafe for RecvStream<'_, T> {}
impl<T> RefUnwindSafe for RecvStream<'_, T> {}

impl<T> RecvStream<'_, T> {
    /// The next message, or `None` at the end. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_next_message(context)).await
    }

    /// As `Stream::poll_next`.
    pub fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().poll_next_message(context)
    }

    fn poll_next_message(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.state.poll(context.waker()).map(Result::ok)
    }
}

#[cfg(feature = "futures")]
impl<T> futures_core::Stream for RecvStream<'_, T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().poll_next_message(context)
    }
}

impl<T> fmt::Debug for RecvStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("RecvStream { .. }")
    }
}
