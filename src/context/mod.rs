//! [`Context`]: what goroutines that work on one thing have in common: an end, a deadline, values. Go's `context` package.
//!
//! | file | job |
//! | --- | --- |
//! | `mod` | [`Context`], [`CancelFn`]: what users hold |
//! | `cancel` | the tree: who is cancelled with whom |
#![forbid(unsafe_code)]

mod cancel;

use std::any::{Any, TypeId};
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::{Receiver, never};
use crate::moment::Instant;

use self::cancel::Canceler;
pub use self::cancel::{AfterFunc, Cause};

/// Has no values: what is received from [`Context::done`] is the end of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

/// Why a context is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// It was cancelled, itself or above it.
    Cancelled,
    /// Its deadline has passed.
    DeadlineExceeded,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cancelled => "context canceled",
            Self::DeadlineExceeded => "context deadline exceeded",
        })
    }
}

impl StdError for Error {}

/// A place in a tree of cancellation, with values. Cloning is cheap.
///
/// A context is passed down to those who work for its owner. They may derive contexts of their own from it, which are over when it is; its owner cancels it when the
/// work is not needed any more. Nobody is stopped by that: who works looks at [`err`](Self::err), or waits for [`done`](Self::done) in a `select!`.
///
/// What the canceller did before happens before `done` is seen closed.
///
/// # Examples
///
/// ```
/// use greenroutine::{channel, context, go, select};
///
/// let (context, cancel) = context::background().with_cancel();
/// let (s, numbers) = channel::bounded(0);
/// let counter = go(move || {
///     for n in 0.. {
///         select! {
///             send(s, n) -> sent => sent.unwrap(),
///             recv(context.done()) -> _ => return n,
///         }
///     }
///     unreachable!()
/// });
/// assert_eq!(numbers.iter().take(3).collect::<Vec<_>>(), [0, 1, 2]);
/// cancel.cancel();
/// assert!(counter.join().unwrap() >= 3);
/// ```
#[derive(Clone, Default)]
pub struct Context {
    /// The nearest place above that can be cancelled.
    canceler: Option<Arc<Canceler>>,
    values: Option<Arc<Value>>,
}

/// A value, and those that were there before.
struct Value {
    id: TypeId,
    value: Box<dyn Any + Send + Sync>,
    before: Option<Arc<Value>>,
}

impl Drop for Value {
    fn drop(&mut self) {
        // One after the other: a long chain would otherwise be dropped by recursion.
        let mut before = self.before.take();
        while let Some(mut value) = before.and_then(|value| Arc::try_unwrap(value).ok()) {
            before = value.before.take();
        }
    }
}

/// The root: never cancelled, without deadline and values.
///
/// # Examples
///
/// ```
/// assert!(greenroutine::context::background().err().is_none());
/// ```
pub fn background() -> Context {
    Context::default()
}

static NEVER: Receiver<Never> = never();

impl Context {
    /// A context that is over when `self` is, or when the function is called.
    pub fn with_cancel(&self) -> (Self, CancelFn) {
        self.derive(None)
    }

    /// As [`with_cancel`](Self::with_cancel); by Go's name for the one whose function takes a cause. Here all do.
    pub fn with_cancel_cause(&self) -> (Self, CancelFn) {
        self.derive(None)
    }

    /// As [`with_cancel`](Self::with_cancel), and over after `duration`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::context::{self, Error};
    /// use std::time::Duration;
    ///
    /// let (context, _cancel) = context::background().with_timeout(Duration::from_millis(1));
    /// assert!(context.done().recv().is_err()); // closed
    /// assert_eq!(context.err(), Some(Error::DeadlineExceeded));
    /// ```
    pub fn with_timeout(&self, duration: Duration) -> (Self, CancelFn) {
        self.derive(Instant::now().checked_add(duration))
    }

    /// As [`with_cancel`](Self::with_cancel), and over at `deadline`. A later deadline than that of `self` changes nothing.
    pub fn with_deadline(&self, deadline: Instant) -> (Self, CancelFn) {
        self.derive(Some(deadline))
    }

    fn derive(&self, deadline: Option<Instant>) -> (Self, CancelFn) {
        let canceler = Canceler::below(self.canceler.as_ref(), deadline);
        let cancel = CancelFn { canceler: canceler.clone() };
        (Self { canceler: Some(canceler), values: self.values.clone() }, cancel)
    }

    /// The values of `self` in a context that is never over.
    #[must_use]
    pub fn without_cancel(&self) -> Self {
        Self { canceler: None, values: self.values.clone() }
    }

    /// A context that has `value` as well. Values are found by their type; a type of the caller's own is nobody else's.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::context;
    ///
    /// #[derive(Debug, PartialEq)]
    /// struct RequestId(u64);
    ///
    /// let context = context::background().with_value(RequestId(7));
    /// assert_eq!(context.value::<RequestId>(), Some(&RequestId(7)));
    /// ```
    #[must_use]
    pub fn with_value<T: Send + Sync + 'static>(&self, value: T) -> Self {
        let value = Value { id: TypeId::of::<T>(), value: Box::new(value), before: self.values.clone() };
        Self { canceler: self.canceler.clone(), values: Some(Arc::new(value)) }
    }

    /// The value of this type that was added last.
    pub fn value<T: 'static>(&self) -> Option<&T> {
        let mut at = self.values.as_deref();
        while let Some(value) = at {
            if value.id == TypeId::of::<T>() {
                return value.value.downcast_ref();
            }
            at = value.before.as_deref();
        }
        None
    }

    /// Closed when the context is over.
    pub fn done(&self) -> &Receiver<Never> {
        self.canceler.as_deref().map_or(&NEVER, Canceler::done)
    }

    /// Why the context is over; `None` while it is not. If there is an error, [`done`](Self::done) is closed.
    pub fn err(&self) -> Option<Error> {
        self.canceler.as_ref()?.err()
    }

    /// What the canceller gave as the cause; without one, [`err`](Self::err). `None` while the context is not over.
    ///
    /// # Examples
    ///
    /// ```
    /// let (context, cancel) = greenroutine::context::background().with_cancel();
    /// cancel.cancel_cause("the user has left");
    /// assert_eq!(context.cause().unwrap().to_string(), "the user has left");
    /// ```
    pub fn cause(&self) -> Option<Cause> {
        self.canceler.as_ref()?.cause()
    }

    /// When the context will be over at the latest, if that is known.
    pub fn deadline(&self) -> Option<Instant> {
        self.canceler.as_ref()?.deadline()
    }

    /// Runs `f` as a goroutine once the context is over, unless it is stopped before. Dropping the handle does not stop it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::{channel, context};
    ///
    /// let (s, r) = channel::bounded(1);
    /// let (context, cancel) = context::background().with_cancel();
    /// context.after_func(move || s.send(()).unwrap());
    /// let other = context.after_func(|| unreachable!());
    /// assert!(other.stop());
    /// cancel.cancel();
    /// r.recv().unwrap();
    /// ```
    pub fn after_func<F: FnOnce() + Send + 'static>(&self, f: F) -> AfterFunc {
        AfterFunc::new(self.canceler.as_ref(), Box::new(f))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("err", &self.err())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

/// Cancels a context and all that were derived from it. Dropping it cancels nothing.
#[derive(Clone)]
pub struct CancelFn {
    canceler: Arc<Canceler>,
}

impl CancelFn {
    /// Cancels. When it returns, the context and all below it are over. Does nothing if it is over already.
    pub fn cancel(&self) {
        self.canceler.cancel(Error::Cancelled, None);
    }

    /// Cancels for a reason, which [`Context::cause`] gives.
    pub fn cancel_cause(&self, cause: impl Into<Box<dyn StdError + Send + Sync>>) {
        self.canceler.cancel(Error::Cancelled, Some(Cause::new(cause.into())));
    }
}

impl fmt::Debug for CancelFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("CancelFn { .. }")
    }
}
