//! Who may wake a waiter. One word per task, [`WakeWord`], and a rule: whoever changes it from blocked to running with a
//! compare-and-swap has *claimed* the waiter and must make it ready; everybody else leaves it alone.
//!
//! ```text
//!   63                     8   7           6..1      0
//!  +------------------------+-------------+---------+---------+
//!  | episode                | cancellable | wait    | blocked |
//!  +------------------------+-------------+---------+---------+
//! ```
//!
//! The episode counts the waits of the *cell*, over all goroutines that ever had it, and never goes back; the word lives
//! in the block's survivor word ([`crate::base::meta`]). So a [`Ticket`] (task, episode) may be kept and used at any time
//! later: if the wait it names is over, the claim fails, even if the goroutine ended and its cell serves another one.
//!
//! | from | to | by | ordering |
//! | --- | --- | --- | --- |
//! | running | blocked (episode e) | the owner's worker, after the switch: [`WakeWord::begin`] | Release store |
//! | blocked (e) | running (e + 1) | whoever wins: [`WakeWord::claim`] and its kin | AcqRel compare-and-swap |
//!
//! Cancelling needs a full fence between "blocked" and reading the cancel flag; see `base::fence` and docs/PROTOCOLS.md.

use super::cell::TaskRef;
use crate::base::atomic::{AtomicU64, Ordering};
use crate::base::fence;

const BLOCKED: u64 = 1;
const WAIT_SHIFT: u32 = 1;
const WAIT_MASK: u64 = 0b11_1111 << WAIT_SHIFT;
const CANCELLABLE: u64 = 1 << 7;
const EPISODE_SHIFT: u32 = 8;

/// What a task waits for: said in dumps, and checked by wakers that have no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(clippy::enum_variant_names, reason = "named as the types are")]
#[allow(dead_code, reason = "channels and locks follow")]
pub(crate) enum Wait {
    /// `task::park`.
    Park = 1,
    /// The end of a scope's children.
    Scope = 2,
    /// The end of another goroutine.
    Join = 3,
    /// Time.
    Sleep = 4,
    /// A value from a channel.
    ChanReceive = 5,
    /// Room in a channel, or its receiver.
    ChanSend = 6,
    /// One of several channels.
    Select = 7,
    /// `sync::Mutex`.
    MutexLock = 8,
    /// `sync::RwLock`, to read.
    RwLockRead = 9,
    /// `sync::RwLock`, to write.
    RwLockWrite = 10,
    /// `sync::Condvar`.
    Condvar = 11,
    /// `sync::Semaphore`.
    Semaphore = 12,
    /// `sync::WaitGroup`.
    WaitGroup = 13,
    /// `sync::Once` and its kin: somebody else initialises.
    Once = 14,
    /// `sync::Barrier`.
    Barrier = 15,
    /// `sync::SingleFlight`: somebody else computes.
    SingleFlight = 16,
    /// `blocking`: a thread of the pool.
    Blocking = 17,
    /// `block_on`: a future's waker.
    Await = 18,
    /// Something to read from a socket.
    NetRead = 19,
    /// Room to write to a socket.
    NetWrite = 20,
    /// A connection to accept.
    Accept = 21,
    /// The end of connecting.
    Connect = 22,
    /// `testing::settle`: the others, until they wait too.
    Settle = 40,
}

impl Wait {
    /// Whether those that the waiter has spawned are likely to end the wait.
    #[inline(always)]
    pub(crate) fn may_need_children(self) -> bool {
        matches!(self, Self::ChanReceive | Self::Select | Self::WaitGroup)
    }

    /// Whether what is waited for by that code comes from other tasks of the program, and from nowhere else: not from the clock, the kernel, a thread of the runtime, or a future of somebody else's.
    pub(crate) fn is_for_others(code: u8) -> bool {
        code <= Self::SingleFlight as u8 && code != Self::Sleep as u8
    }

    /// The words of goroutine dumps.
    pub(crate) fn words(code: u8) -> &'static str {
        match code {
            1 => "park",
            2 => "scope wait",
            3 => "join",
            4 => "sleep",
            5 => "chan receive",
            6 => "chan send",
            7 => "select",
            8 => "mutex lock",
            9 => "rwlock read",
            10 => "rwlock write",
            11 => "condvar wait",
            12 => "semaphore acquire",
            13 => "waitgroup wait",
            14 => "once wait",
            15 => "barrier wait",
            16 => "singleflight wait",
            17 => "blocking",
            18 => "await",
            19 => "net read",
            20 => "net write",
            21 => "accept",
            22 => "connect",
            40 => "settle",
            _ => "wait",
        }
    }
}

/// Why a wait ended. Written by the claimant, read by the waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    /// What was waited for happened.
    Ready = 0,
    /// The deadline passed.
    TimedOut = 1,
    /// The task was cancelled.
    Cancelled = 2,
    /// The goroutine that was joined handed over its reference of the cell as well.
    Joined = 3,
}

/// See the file's documentation.
#[repr(transparent)]
pub(crate) struct WakeWord(AtomicU64);

impl WakeWord {
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Begins a wait and returns its episode. Only the owner's side calls this, and only while running.
    #[inline(always)]
    pub(crate) fn begin(&self, wait: Wait, cancellable: bool) -> u64 {
        // Relaxed: the last writer was the claimant, whose ready() the owner's side has seen.
        let episode = self.0.load(Ordering::Relaxed) >> EPISODE_SHIFT;
        let flags = BLOCKED | ((wait as u64) << WAIT_SHIFT) | if cancellable { CANCELLABLE } else { 0 };
        // Release pairs with the Acquire of a claim: a claimant sees everything the waiter did.
        self.0.store(episode << EPISODE_SHIFT | flags, Ordering::Release);
        episode
    }

    /// Claims the wait named by `episode`; false if it is over.
    #[inline]
    pub(crate) fn claim(&self, episode: u64) -> bool {
        self.claim_if(|word| word >> EPISODE_SHIFT == episode)
    }

    /// Claims whatever wait of this kind is on.
    pub(crate) fn claim_wait(&self, wait: Wait) -> bool {
        self.claim_if(|word| (word & WAIT_MASK) >> WAIT_SHIFT == wait as u64)
    }

    /// Claims whatever wait is on, if it may be cancelled.
    pub(crate) fn claim_cancellable(&self) -> bool {
        self.claim_if(|word| word & CANCELLABLE != 0)
    }

    #[inline(always)]
    fn claim_if(&self, wanted: impl Fn(u64) -> bool) -> bool {
        fence::in_model();
        // SeqCst load: in `unpark` and in a scope's last child this is the second half of a store-buffering pattern.
        let mut word = self.0.load(Ordering::SeqCst);
        while word & BLOCKED != 0 && wanted(word) {
            let next = ((word >> EPISODE_SHIFT) + 1) << EPISODE_SHIFT;
            // Acquire pairs with the Release of `begin`.
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Changes with each wait's beginning and end, for who looks twice.
    pub(crate) fn look(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// The present wait as a number other than 0, which no other wait of this cell has; 0 while running.
    pub(crate) fn fingerprint(&self) -> u64 {
        // Acquire: what is read of the waiter after this was written before it waited.
        let word = self.0.load(Ordering::Acquire);
        if word & BLOCKED != 0 { word } else { 0 }
    }

    /// The code of the present wait, for dumps; `None` while running.
    pub(crate) fn waiting(&self) -> Option<u8> {
        let word = self.0.load(Ordering::Relaxed);
        (word & BLOCKED != 0).then_some(((word & WAIT_MASK) >> WAIT_SHIFT) as u8)
    }
}

/// Names one wait of one task. Harmless when stale.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) task: TaskRef,
    pub(crate) episode: u64,
}

impl Ticket {
    /// Claims the wait and notes why it ended. The caller that gets the task must make it ready.
    #[inline]
    pub(crate) fn claim(self, reason: Reason) -> Option<TaskRef> {
        if self.task.wake.claim(self.episode) {
            self.task.reason.set(reason);
            return Some(self.task);
        }
        None
    }
}
