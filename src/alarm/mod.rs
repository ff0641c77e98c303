//! What goes off at a time: [`Timer`], [`Ticker`], [`after_func`], with the semantics of Go 1.23. Public in `time`.
//!
//! A timer is a time and a wait queue ([`Clock`]), not an entry anywhere: who receives from it arms the wait's own timer. So a timer that nobody waits for costs
//! nothing, stopping and setting it leave no stale message behind, and forgotten timers are freed like any value.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::lock::{Lock, Rank};
use crate::channel::{Clock, Receiver, of_clock};
use crate::go::go;
use crate::moment::Instant;
use crate::sys::clock;

/// Sends the time when it is due, once, unless it is stopped. Can be set again.
///
/// Dropping it stops nothing: a clone of its receiver still gets the message.
///
/// # Examples
///
/// ```
/// use greenroutine::select;
/// use greenroutine::time::Timer;
/// use std::time::Duration;
///
/// let timer = Timer::new(Duration::from_secs(3600));
/// assert!(timer.reset(Duration::from_millis(1))); // it was active
/// select! {
///     recv(timer.receiver()) -> when => assert!(when.is_ok()),
/// }
/// assert!(!timer.stop()); // it has gone off
/// ```
pub struct Timer {
    receiver: Receiver<Instant>,
    clock: Arc<Clock>,
    /// Of `after_func`: see there.
    call: Option<Arc<Call>>,
}

/// What `after_func` has to do, until it is done or stopped.
type Call = Lock<Option<Box<dyn FnOnce() + Send>>>;

impl Timer {
    /// A timer that is due after `duration`: at once, if that is zero; never, if the clock does not reach that far.
    pub fn new(duration: Duration) -> Self {
        let clock = Arc::new(Clock::new(clock::deadline_after(duration), 0));
        Self { receiver: of_clock(clock.clone()), clock, call: None }
    }

    /// Where the time comes when it is due. Of a timer of [`after_func`] nothing comes.
    pub fn receiver(&self) -> &Receiver<Instant> {
        &self.receiver
    }

    /// Stops the timer. True if it was active: its message had not been received, or its function had not begun to run. After this no message
    /// comes until it is set again.
    pub fn stop(&self) -> bool {
        match &self.call {
            None => self.clock.set(u64::MAX, 0),
            Some(call) => {
                let function = call.lock().take();
                self.clock.set(u64::MAX, 0);
                function.is_some()
            }
        }
    }

    /// Makes the timer due after `duration` from now, instead of when it was. True if it was active.
    ///
    /// A timer of [`after_func`] whose function has begun to run, or was stopped, stays as it is: its function is gone.
    pub fn reset(&self, duration: Duration) -> bool {
        let due = clock::deadline_after(duration);
        match &self.call {
            None => self.clock.set(due, 0),
            Some(call) => {
                // Under the lock, so that it is not taken in between.
                let function = call.lock();
                let active = function.is_some();
                if active {
                    self.clock.set(due, 0);
                }
                active
            }
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Timer { .. }")
    }
}

/// Sends the time again and again. Ticks that nobody receives in time are dropped, but the others keep their times.
///
/// # Examples
///
/// ```
/// use greenroutine::time::{Instant, Ticker};
/// use std::time::Duration;
///
/// let start = Instant::now();
/// let ticker = Ticker::new(Duration::from_millis(1));
/// let ticks: Vec<_> = ticker.receiver().iter().take(3).collect();
/// assert!(ticks.windows(2).all(|two| two[1] - two[0] >= Duration::from_millis(1)));
/// assert!(start.elapsed() >= Duration::from_millis(3));
/// ```
pub struct Ticker {
    receiver: Receiver<Instant>,
    clock: Arc<Clock>,
}

/// A period in nanoseconds.
#[track_caller]
fn checked_period(period: Duration, what: &str) -> u64 {
    assert!(!period.is_zero(), "non-positive interval for {what}");
    u64::try_from(period.as_nanos()).unwrap_or(u64::MAX)
}

impl Ticker {
    /// A ticker whose first tick is due after `period`.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    #[track_caller]
    pub fn new(period: Duration) -> Self {
        let nanos = checked_period(period, "Ticker::new");
        let clock = Arc::new(Clock::new(clock::deadline_after(period), nanos));
        Self { receiver: of_clock(clock.clone()), clock }
    }

    /// Where the ticks come.
    pub fn receiver(&self) -> &Receiver<Instant> {
        &self.receiver
    }

    /// Stops the ticker: no tick comes until it is set again.
    pub fn stop(&self) {
        self.clock.set(u64::MAX, 0);
    }

    /// Makes the ticker tick every `period` from now.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    #[track_caller]
    pub fn reset(&self, period: Duration) {
        let nanos = checked_period(period, "Ticker::reset");
        self.clock.set(clock::deadline_after(period), nanos);
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Ticker { .. }")
    }
}

/// Runs `f` as a goroutine after `duration`, unless the timer is stopped before. Dropping the timer does not stop it.
///
/// # Panics
///
/// As [`go`](crate::go()), whose goroutine waits for the time.
///
/// # Examples
///
/// ```
/// use greenroutine::{channel, time};
/// use std::time::Duration;
///
/// let (s, r) = channel::bounded(1);
/// time::after_func(Duration::from_millis(1), move || s.send("now").unwrap());
/// assert_eq!(r.recv(), Ok("now"));
///
/// let timer = time::after_func(Duration::from_secs(3600), || unreachable!());
/// assert!(timer.stop() && !timer.stop());
/// ```
#[track_caller]
pub fn after_func<F>(duration: Duration, f: F) -> Timer
where
    F: FnOnce() + Send + 'static,
{
    let clock = Arc::new(Clock::new(clock::deadline_after(duration), 0));
    let call: Arc<Call> = Arc::new(Lock::new(Rank::Api, Some(Box::new(f))));
    let (waits, waiting) = (clock.clone(), call.clone());
    go(move || {
        loop {
            // Set anew, it wakes us; stopped, too, and then there is nothing to call any more: perhaps before we have come here.
            waits.wait_for_change_or_due(|| waiting.lock().is_none());
            let mut function = waiting.lock();
            if function.is_none() {
                return;
            }
            // Not by a receiver: its calls may yield, and the lock is the thread's.
            if waits.take().is_some() {
                let f = function.take();
                drop(function);
                if let Some(f) = f {
                    f();
                }
                return;
            }
        }
    });
    Timer { receiver: crate::channel::never(), clock, call: Some(call) }
}
