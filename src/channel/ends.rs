//! [`Sender`] and [`Receiver`]: the two ends, counted separately. The last of one kind to go closes the channel, the last of both frees it.

use std::fmt;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffered::Buffered;
use super::err::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use super::flavor::Flavor;
use super::iter::{IntoIter, Iter, TryIter};
use super::list::List;
use super::ring::Ring;
use super::timed::{At, Clock, Tick};
use super::zero::Zero;
use crate::base::atomic::{AtomicUsize, Ordering};
use crate::base::fatal;
use crate::moment;
use crate::sched;
use crate::sys::clock;

/// A channel and how many ends it has.
// The channel first, so that the hot part of a wait queue is one cache line.
#[repr(C, align(64))]
pub(super) struct Shared<C> {
    channel: C,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// 2, 1 when one kind of ends is gone.
    kinds: AtomicUsize,
}

/// One end, without saying which.
pub(super) struct End<C>(NonNull<Shared<C>>);

impl<C> Deref for End<C> {
    type Target = C;
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deref(&self) -> &C {
        &self.shared().channel
    }
}

impl<C> End<C> {
    fn pair(channel: C) -> (Self, Self) {
        let one = || AtomicUsize::new(1);
        let shared =
            Box::new(Shared { senders: one(), receivers: one(), kinds: AtomicUsize::new(2), channel });
        let shared = NonNull::from(Box::leak(shared));
        (Self(shared), Self(shared))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn shared(&self) -> &Shared<C> {
        // SAFETY: freed by the last end of both kinds, and this is one.
        unsafe { self.0.as_ref() }
    }

    fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Another end of the kind that `count` counts.
    fn another(&self, count: &AtomicUsize) -> Self {
        // As in Arc: whoever forgets ends by the billion gets no overflow out of it.
        if count.fetch_add(1, Ordering::Relaxed) > isize::MAX as usize {
            fatal!("greenroutine: fatal: too many clones of a channel's end\n");
        }
        Self(self.0)
    }

    /// Gives the end up; `close` runs if it was the last of its kind.
    ///
    /// # Safety
    ///
    /// - The end is not used any more.
    unsafe fn release(&self, count: &AtomicUsize, close: impl FnOnce(&C)) {
        if count.fetch_sub(1, Ordering::AcqRel) == 1 {
            close(self);
            if self.shared().kinds.fetch_sub(1, Ordering::AcqRel) == 1 {
                // SAFETY: made by Box::leak; all ends of the other kind are gone too, and this was the last.
                drop(unsafe { Box::from_raw(self.0.as_ptr()) });
            }
        }
    }
}

pub(super) enum SenderFlavor<T> {
    Ring(End<Buffered<Ring<T>>>),
    List(End<Buffered<List<T>>>),
    Zero(End<Zero<T>>),
}

pub(super) enum ReceiverFlavor<T> {
    Ring(End<Buffered<Ring<T>>>),
    List(End<Buffered<List<T>>>),
    Zero(End<Zero<T>>),
    /// With the function that makes a `T` of an `Instant`, which it is.
    At(Arc<At>, fn(Instant) -> T),
    Tick(Arc<Tick>, fn(Instant) -> T),
    /// As above, of the runtime's clock.
    Clock(Arc<Clock>, fn(moment::Instant) -> T),
    Never,
}

/// The sending end of a channel. Clones send into the same channel.
///
/// # Examples
///
/// ```
/// use greenroutine::channel;
///
/// let (s1, r) = channel::unbounded();
/// let s2 = s1.clone();
/// greenroutine::go(move || s1.send(1).unwrap());
/// greenroutine::go(move || s2.send(2).unwrap());
/// assert_eq!(r.iter().sum::<i32>(), 3);
/// ```
pub struct Sender<T> {
    pub(super) flavor: SenderFlavor<T>,
}

/// The receiving end of a channel. Clones receive from the same channel: each message goes to one of them.
///
/// # Examples
///
/// ```
/// use greenroutine::channel;
/// use std::time::Duration;
///
/// let (s, r) = channel::bounded(0);
/// greenroutine::go(move || s.send("hello"));
/// assert_eq!(r.recv(), Ok("hello"));
/// assert!(r.recv_timeout(Duration::from_secs(5)).unwrap_err().is_disconnected());
/// ```
pub struct Receiver<T> {
    pub(super) flavor: ReceiverFlavor<T>,
}

// SAFETY: ends share a channel, which moves values of T between threads and never shares them.
unsafe impl<T: Send> Send for Sender<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Sender<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Receiver<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Receiver<T> {}

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

/// A channel without bound: sending never waits.
///
/// # Examples
///
/// ```
/// let (s, r) = greenroutine::channel::unbounded();
/// s.send("one").unwrap();
/// assert_eq!(r.recv(), Ok("one"));
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    sched::stall::note();
    let (s, r) = End::pair(Buffered::new(List::new()));
    (Sender { flavor: SenderFlavor::List(s) }, Receiver { flavor: ReceiverFlavor::List(r) })
}

/// A channel that holds up to `capacity` messages: sending waits while it is full. With a capacity of zero a send waits for its receiver, and the message is
/// handed over directly.
///
/// The *k*-th receive happens before the (*k* + `capacity`)-th send returns, as in Go; a send always happens before the receive of its message.
///
/// # Panics
///
/// If the buffer's size overflows.
///
/// # Examples
///
/// ```
/// let (s, r) = greenroutine::channel::bounded(1);
/// s.send(1).unwrap();
/// assert!(s.try_send(2).unwrap_err().is_full());
/// assert_eq!(r.recv(), Ok(1));
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    sched::stall::note();
    if capacity == 0 {
        let (s, r) = End::pair(Zero::new());
        return (Sender { flavor: SenderFlavor::Zero(s) }, Receiver { flavor: ReceiverFlavor::Zero(r) });
    }
    let (s, r) = End::pair(Buffered::new(Ring::new(capacity)));
    (Sender { flavor: SenderFlavor::Ring(s) }, Receiver { flavor: ReceiverFlavor::Ring(r) })
}

/// [`bounded`], under the name of Go's `make(chan T, capacity)`.
///
/// # Examples
///
/// ```
/// use greenroutine::{chan, go};
///
/// let (s, r) = chan(0);
/// go(move || s.send(42));
/// assert_eq!(r.recv(), Ok(42));
/// ```
pub fn chan<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    bounded(capacity)
}

/// A receiver that gets one message, the time it was due, `duration` from now. Not disconnected afterwards: it then waits for ever.
///
/// # Examples
///
/// ```
/// use greenroutine::{channel, select};
/// use std::time::Duration;
///
/// let (_s, r) = channel::unbounded::<i32>();
/// let timeout = channel::after(Duration::from_millis(1));
/// select! {
///     recv(r) -> _ => unreachable!(),
///     recv(timeout) -> when => assert!(when.is_ok()),
/// }
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    match clock::instant_now().checked_add(duration) {
        Some(when) => at(when),
        None => never(),
    }
}

/// As [`after`], at a point of time.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let when = Instant::now() + Duration::from_millis(1);
/// let r = greenroutine::channel::at(when);
/// assert_eq!(r.recv(), Ok(when));
/// assert!(Instant::now() >= when);
/// ```
pub fn at(when: Instant) -> Receiver<Instant> {
    Receiver { flavor: ReceiverFlavor::At(Arc::new(At::new(when)), |when| when) }
}

/// A receiver that never gets a message.
///
/// # Examples
///
/// ```
/// use greenroutine::channel;
/// use std::time::Duration;
///
/// let r = channel::never::<i32>();
/// assert!(r.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
/// ```
pub const fn never<T>() -> Receiver<T> {
    Receiver { flavor: ReceiverFlavor::Never }
}

/// A receiver that gets a message every `period`, the time it was due. One message is kept; what is due meanwhile is dropped, so the next comes a period after
/// the last was taken.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let r = greenroutine::channel::tick(Duration::from_millis(1));
/// r.recv().unwrap();
/// r.recv().unwrap();
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
pub fn tick(period: Duration) -> Receiver<Instant> {
    if clock::instant_now().checked_add(period).is_none() {
        return never();
    }
    Receiver { flavor: ReceiverFlavor::Tick(Arc::new(Tick::new(period)), |when| when) }
}

/// The receiver of a timer or ticker.
pub(crate) fn of_clock(clock: Arc<Clock>) -> Receiver<moment::Instant> {
    Receiver { flavor: ReceiverFlavor::Clock(clock, |when| when) }
}

/// `$body` with the channel of the flavor.
macro_rules! with {
    ($flavor:expr, $kind:ident, $channel:ident => $body:expr $(, $($rest:tt)*)?) => {
        match $flavor {
            $kind::Ring($channel) => $body,
            $kind::List($channel) => $body,
            $kind::Zero($channel) => $body,
            $($($rest)*)?
        }
    };
}
pub(super) use with;

impl<T> Sender<T> {
    /// Sends without waiting.
    ///
    /// # Errors
    ///
    /// Gives the message back if the channel is full (one without capacity: if no receiver waits), or disconnected.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::channel::{bounded, TrySendError};
    ///
    /// let (s, r) = bounded(1);
    /// assert_eq!(s.try_send(1), Ok(()));
    /// assert_eq!(s.try_send(2), Err(TrySendError::Full(2)));
    /// drop(r);
    /// assert_eq!(s.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        sched::pass_safepoint();
        with!(&self.flavor, SenderFlavor, c => c.try_send(message))
    }

    /// Sends, and waits for room if there is none. Those who wait are served in order.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Cancellation
    ///
    /// A cancelled goroutine unwinds here if it has to wait; the message is dropped.
    ///
    /// # Errors
    ///
    /// Gives the message back if the channel is disconnected, now or while waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::channel::{bounded, SendError};
    ///
    /// let (s, r) = bounded(1);
    /// assert_eq!(s.send(1), Ok(()));
    /// greenroutine::go(move || drop(r));
    /// assert_eq!(s.send(2), Err(SendError(2)));
    /// ```
    // Always inlined, as is `recv`: a `ret` between resuming and the next suspension is mispredicted, twice (15 ns), so the switch stands in the caller.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        sched::pass_safepoint();
        with!(&self.flavor, SenderFlavor, c => c.send(message, u64::MAX))
            .map_err(|error| SendError(error.into_inner()))
    }

    /// As [`send`](Self::send), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Gives the message back if the channel is disconnected, or if there was no room in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::channel::{bounded, SendTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (s, _r) = bounded(0);
    /// let error = s.send_timeout("x", Duration::from_millis(1));
    /// assert_eq!(error, Err(SendTimeoutError::Timeout("x")));
    /// ```
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(message, clock::deadline_after(timeout))
    }

    /// As [`send`](Self::send), until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// Gives the message back if the channel is disconnected, or if there was no room in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (s, _r) = greenroutine::channel::bounded(0);
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// assert!(s.send_deadline("x", deadline).unwrap_err().is_timeout());
    /// ```
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(message, clock::of_instant(deadline))
    }

    fn send_until(&self, message: T, deadline: u64) -> Result<(), SendTimeoutError<T>> {
        sched::pass_safepoint();
        with!(&self.flavor, SenderFlavor, c => c.send(message, deadline))
    }

    /// Closes the channel for everybody: sends fail from now on, those who wait to send get their messages back, and receivers get what is in the channel
    /// and then an error. Does nothing if it is closed.
    ///
    /// A send that succeeds beside a `close` has put its message in: it will be received.
    ///
    /// # Examples
    ///
    /// ```
    /// let (s, r) = greenroutine::channel::bounded(2);
    /// s.send(1).unwrap();
    /// s.close();
    /// assert!(s.send(2).is_err());
    /// assert_eq!(r.recv(), Ok(1));
    /// assert!(r.recv().is_err());
    /// ```
    pub fn close(&self) {
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::close(&**c));
    }

    /// Whether the channel holds no message; one without capacity never does.
    pub fn is_empty(&self) -> bool {
        sched::pass_safepoint();
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::is_empty(&**c))
    }

    /// Whether the channel is full; one without capacity always is.
    pub fn is_full(&self) -> bool {
        sched::pass_safepoint();
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::is_full(&**c))
    }

    /// Messages in the channel.
    pub fn len(&self) -> usize {
        sched::pass_safepoint();
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::len(&**c))
    }

    /// How many messages it can hold; `None` without bound.
    pub fn capacity(&self) -> Option<usize> {
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::capacity(&**c))
    }

    /// Whether both send into the same channel.
    ///
    /// # Examples
    ///
    /// ```
    /// let (s, _r) = greenroutine::channel::unbounded::<i32>();
    /// assert!(s.same_channel(&s.clone()));
    /// ```
    pub fn same_channel(&self, other: &Self) -> bool {
        match (&self.flavor, &other.flavor) {
            (SenderFlavor::Ring(a), SenderFlavor::Ring(b)) => a.same(b),
            (SenderFlavor::List(a), SenderFlavor::List(b)) => a.same(b),
            (SenderFlavor::Zero(a), SenderFlavor::Zero(b)) => a.same(b),
            _ => false,
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let flavor = match &self.flavor {
            SenderFlavor::Ring(c) => SenderFlavor::Ring(c.another(&c.shared().senders)),
            SenderFlavor::List(c) => SenderFlavor::List(c.another(&c.shared().senders)),
            SenderFlavor::Zero(c) => SenderFlavor::Zero(c.another(&c.shared().senders)),
        };
        Self { flavor }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        with!(&self.flavor, SenderFlavor, c => {
            // SAFETY: we are being dropped.
            unsafe { c.release(&c.shared().senders, Flavor::<T>::close) }
        });
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}

impl<T> Receiver<T> {
    /// Receives without waiting.
    ///
    /// # Errors
    ///
    /// If there is no message, or there will be none because the channel is disconnected.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::channel::{unbounded, TryRecvError};
    ///
    /// let (s, r) = unbounded();
    /// assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    /// s.send(5).unwrap();
    /// drop(s);
    /// assert_eq!(r.try_recv(), Ok(5));
    /// assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        sched::pass_safepoint();
        with!(&self.flavor, ReceiverFlavor, c => c.try_recv(),
            ReceiverFlavor::At(at, make) => at.take().map(make).ok_or(TryRecvError::Empty),
            ReceiverFlavor::Tick(tick, make) => tick.take().map(make).ok_or(TryRecvError::Empty),
            ReceiverFlavor::Clock(clock, make) => clock.take().map(make).ok_or(TryRecvError::Empty),
            ReceiverFlavor::Never => Err(TryRecvError::Empty),
        )
    }

    /// Receives, and waits for a message if there is none. Those who wait are served in order.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Cancellation
    ///
    /// A cancelled goroutine unwinds here if it has to wait; no message is lost.
    ///
    /// # Errors
    ///
    /// If the channel is empty and disconnected.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::channel::{unbounded, RecvError};
    ///
    /// let (s, r) = unbounded();
    /// greenroutine::go(move || s.send(5));
    /// assert_eq!(r.recv(), Ok(5));
    /// assert_eq!(r.recv(), Err(RecvError));
    /// ```
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(u64::MAX).map_err(|_| RecvError)
    }

    /// As [`recv`](Self::recv), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// If the channel is empty and disconnected, or if there was no message in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::channel::{unbounded, RecvTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (_s, r) = unbounded::<i32>();
    /// assert_eq!(r.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(clock::deadline_after(timeout))
    }

    /// As [`recv`](Self::recv), until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// If the channel is empty and disconnected, or if there was no message in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (_s, r) = greenroutine::channel::unbounded::<i32>();
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// assert!(r.recv_deadline(deadline).unwrap_err().is_timeout());
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(clock::of_instant(deadline))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn recv_until(&self, deadline: u64) -> Result<T, RecvTimeoutError> {
        sched::pass_safepoint();
        with!(&self.flavor, ReceiverFlavor, c => c.recv(deadline),
            _ => self.recv_timed(deadline),
        )
    }

    /// Receives from a flavor without a channel.
    #[cold]
    fn recv_timed(&self, deadline: u64) -> Result<T, RecvTimeoutError> {
        loop {
            if let Ok(message) = self.try_recv() {
                return Ok(message);
            }
            let due = self.due();
            if deadline <= clock::now_ns() {
                return Err(RecvTimeoutError::Timeout);
            }
            match &self.flavor {
                ReceiverFlavor::Clock(clock, _) => clock.wait(deadline),
                _ => moment::sleep_until_ns(due.min(deadline), crate::routine::Wait::ChanReceive),
            }
        }
    }

    /// When there may be a message without a sender.
    pub(super) fn due(&self) -> u64 {
        match &self.flavor {
            ReceiverFlavor::At(at, _) => at.due(),
            ReceiverFlavor::Tick(tick, _) => tick.due(),
            ReceiverFlavor::Clock(clock, _) => clock.due(),
            _ => u64::MAX,
        }
    }

    /// Closes the channel for everybody, as [`Sender::close`] does. Does nothing to a receiver of [`after`], [`at`], [`tick`] or [`never`](never()).
    ///
    /// # Examples
    ///
    /// ```
    /// let (s, r) = greenroutine::channel::unbounded();
    /// s.send(1).unwrap();
    /// r.close();
    /// assert!(s.send(2).is_err());
    /// assert_eq!(r.into_iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn close(&self) {
        with!(&self.flavor, ReceiverFlavor, c => Flavor::<T>::close(&**c), _ => {});
    }

    /// Whether there is no message; a channel without capacity never has one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the channel is full; one without capacity always is.
    pub fn is_full(&self) -> bool {
        sched::pass_safepoint();
        with!(&self.flavor, ReceiverFlavor, c => Flavor::<T>::is_full(&**c),
            ReceiverFlavor::Never => true,
            _ => !self.is_empty(),
        )
    }

    /// Messages in the channel.
    pub fn len(&self) -> usize {
        sched::pass_safepoint();
        with!(&self.flavor, ReceiverFlavor, c => Flavor::<T>::len(&**c),
            _ => usize::from(self.due() <= clock::now_ns()),
        )
    }

    /// How many messages it can hold; `None` without bound.
    pub fn capacity(&self) -> Option<usize> {
        with!(&self.flavor, ReceiverFlavor, c => Flavor::<T>::capacity(&**c),
            ReceiverFlavor::Never => Some(0),
            _ => Some(1),
        )
    }

    /// Receives, waiting, until the channel is empty and disconnected.
    ///
    /// # Examples
    ///
    /// ```
    /// let (s, r) = greenroutine::channel::bounded(0);
    /// greenroutine::go(move || (0..3).for_each(|n| s.send(n).unwrap()));
    /// assert_eq!(r.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Receives without waiting until the channel is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let (s, r) = greenroutine::channel::unbounded();
    /// s.send(1).unwrap();
    /// s.send(2).unwrap();
    /// assert_eq!(r.try_iter().collect::<Vec<_>>(), [1, 2]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }

    /// Whether both receive from the same channel.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_s, r) = greenroutine::channel::unbounded::<i32>();
    /// assert!(r.same_channel(&r.clone()));
    /// ```
    pub fn same_channel(&self, other: &Self) -> bool {
        match (&self.flavor, &other.flavor) {
            (ReceiverFlavor::Ring(a), ReceiverFlavor::Ring(b)) => a.same(b),
            (ReceiverFlavor::List(a), ReceiverFlavor::List(b)) => a.same(b),
            (ReceiverFlavor::Zero(a), ReceiverFlavor::Zero(b)) => a.same(b),
            (ReceiverFlavor::At(a, _), ReceiverFlavor::At(b, _)) => Arc::ptr_eq(a, b),
            (ReceiverFlavor::Tick(a, _), ReceiverFlavor::Tick(b, _)) => Arc::ptr_eq(a, b),
            (ReceiverFlavor::Clock(a, _), ReceiverFlavor::Clock(b, _)) => Arc::ptr_eq(a, b),
            (ReceiverFlavor::Never, ReceiverFlavor::Never) => true,
            _ => false,
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let flavor = match &self.flavor {
            ReceiverFlavor::Ring(c) => ReceiverFlavor::Ring(c.another(&c.shared().receivers)),
            ReceiverFlavor::List(c) => ReceiverFlavor::List(c.another(&c.shared().receivers)),
            ReceiverFlavor::Zero(c) => ReceiverFlavor::Zero(c.another(&c.shared().receivers)),
            ReceiverFlavor::At(at, make) => ReceiverFlavor::At(at.clone(), *make),
            ReceiverFlavor::Tick(tick, make) => ReceiverFlavor::Tick(tick.clone(), *make),
            ReceiverFlavor::Clock(clock, make) => ReceiverFlavor::Clock(clock.clone(), *make),
            ReceiverFlavor::Never => ReceiverFlavor::Never,
        };
        Self { flavor }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        with!(&self.flavor, ReceiverFlavor, c => {
            // SAFETY: we are being dropped.
            unsafe {
                c.release(&c.shared().receivers, |c| {
                    Flavor::<T>::close(c);
                    Flavor::<T>::discard(c);
                });
            }
        }, _ => {});
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}
