//! [`Instant`]: a point of the runtime's clock.
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use crate::sys::clock;

/// A point of time, as [`std::time::Instant`], on the runtime's clock.
///
/// # Examples
///
/// ```
/// use greenroutine::time::{self, Instant};
/// use std::time::Duration;
///
/// let start = Instant::now();
/// time::sleep(Duration::from_millis(1));
/// assert!(start.elapsed() >= Duration::from_millis(1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

/// The present.
pub fn now() -> Instant {
    Instant::now()
}

fn nanos(duration: Duration) -> Option<u64> {
    u64::try_from(duration.as_nanos()).ok()
}

impl Instant {
    /// The present.
    pub fn now() -> Self {
        Self(clock::now_ns())
    }

    /// Nanoseconds of the clock.
    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point at so many nanoseconds of the clock.
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Time since this point; zero if it is to come.
    pub fn elapsed(&self) -> Duration {
        Self::now().duration_since(*self)
    }

    /// Time from `earlier` to this point; zero if that is later.
    pub fn duration_since(&self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time from `earlier` to this point; `None` if that is later.
    pub fn checked_duration_since(&self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// As [`duration_since`](Self::duration_since).
    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }

    /// The point `duration` later; `None` if the clock does not reach that far (584 years).
    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.0.checked_add(nanos(duration)?).map(Self)
    }

    /// The point `duration` earlier; `None` if the clock began later.
    pub fn checked_sub(&self, duration: Duration) -> Option<Self> {
        self.0.checked_sub(nanos(duration)?).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// # Panics
    ///
    /// If the clock does not reach that far.
    #[track_caller]
    fn add(self, duration: Duration) -> Self {
        self.checked_add(duration).expect("overflow when adding duration to instant")
    }
}

impl AddAssign<Duration> for Instant {
    #[track_caller]
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// # Panics
    ///
    /// If the clock began later.
    #[track_caller]
    fn sub(self, duration: Duration) -> Self {
        self.checked_sub(duration).expect("overflow when subtracting duration from instant")
    }
}

impl SubAssign<Duration> for Instant {
    #[track_caller]
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instant").field(&Duration::from_nanos(self.0)).finish()
    }
}
