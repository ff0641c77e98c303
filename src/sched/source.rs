//! [`Source`]: one descriptor as something to wait for. Made by `net` for each socket, filled by the pollers (`poller`).
//!
//! Who wants to read tries; only if that would have to wait, it waits here for the next *edge*: the kernel says once that the descriptor has become ready, and
//! again only after it was not. So waiting costs no system call, but for the one that registers the descriptor before its first wait.
//!
//! ```text
//!   who waits                        the poller
//!   seen = edges                     (the kernel has an event)
//!   try: would have to wait          edges += 1        SeqCst
//!   link the node                    read hints        SeqCst
//!   fence(SeqCst)                    wake all that are linked
//!   read edges; == seen: sleep
//! ```
//!
//! What becomes ready after the try is an event that somebody polls after `seen` was read: it changes `edges` before the waiter looks, or finds the waiter linked
//! (PROTOCOLS.md, "Waiting against making").

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

use super::poller::Poller;
use super::waitq::{Outcome, WaitQueue};
use super::worker::{self, Worker};
use super::{thread, timeout};
use crate::base::lock::{Lock, Rank};
use crate::routine::{TaskRef, Wait, slot};
use crate::sys::epoll::{self, Direction, Event};
use crate::world::blocked;

/// So many waits in a row on other workers, and the descriptor moves: two system calls.
const STRANGERS: u32 = 4;

/// Nothing is known to be used up, in `drained`.
const UNKNOWN: u64 = u64::MAX;

/// See the file's documentation.
pub(crate) struct Source {
    /// List 0: those who want to read; list 1: to write.
    queue: WaitQueue<2>,
    /// How often the descriptor has become ready in each direction.
    edges: [AtomicU32; 2],
    /// All that had come by this edge was read, so reading again before the next one is in vain. Or [`UNKNOWN`].
    drained: AtomicU64,
    /// The end of what can be read has come, of which no further edge tells.
    is_last: AtomicBool,
    /// `registration` is there. Set under its lock.
    is_registered: AtomicBool,
    /// The poller it was registered with last: only compared.
    at: AtomicPtr<Poller>,
    /// How many waits in a row were on other workers than that poller's.
    strangers: AtomicU32,
    registration: Lock<Option<Registration>>,
}

// No code of the user runs in the middle of a change.
impl std::panic::UnwindSafe for Source {}
impl std::panic::RefUnwindSafe for Source {}

/// Where a source is registered.
struct Registration {
    poller: Arc<Poller>,
    token: epoll::Token,
}

impl Source {
    /// Of a descriptor that nobody has waited for.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: WaitQueue::new(),
            edges: [const { AtomicU32::new(0) }; 2],
            drained: AtomicU64::new(UNKNOWN),
            is_last: AtomicBool::new(false),
            is_registered: AtomicBool::new(false),
            at: AtomicPtr::new(std::ptr::null_mut()),
            strangers: AtomicU32::new(0),
            registration: Lock::new(Rank::Api, None),
        })
    }

    /// How often it has become ready in that direction. Read before a try.
    #[inline]
    pub(crate) fn edges(&self, direction: Direction) -> u32 {
        self.edges[direction as usize].load(Ordering::SeqCst)
    }

    /// Whether a try to read is in vain, as far as the edge `seen`.
    #[inline]
    pub(crate) fn is_drained(&self, seen: u32) -> bool {
        self.drained.load(Ordering::Relaxed) == u64::from(seen)
    }

    /// A try to read that began at the edge `seen` got less than it had room for: there was no more. For streams of which that is true. Whatever comes after it is
    /// an edge; but what had come before together with the end, or with urgent data, is none.
    #[inline]
    pub(crate) fn set_drained(&self, seen: u32) {
        if self.is_registered.load(Ordering::Relaxed) && !self.is_last.load(Ordering::Relaxed) {
            self.drained.store(u64::from(seen), Ordering::Relaxed);
        }
    }

    /// Waits until the descriptor has become ready once more often than `seen`, until `deadline`, or until the goroutine is cancelled. On a plain thread: until it is
    /// ready.
    pub(crate) fn wait(
        self: &Arc<Self>,
        fd: BorrowedFd<'_>,
        direction: Direction,
        wait: Wait,
        seen: u32,
        deadline: u64,
    ) -> io::Result<Outcome> {
        let Some(slot) = slot::current() else {
            self.drained.store(UNKNOWN, Ordering::Relaxed);
            return thread::with_task(|task| {
                let limit = timeout::earliest(task);
                if blocked::during(|| epoll::wait_for_one(fd, direction, deadline.min(limit)))? {
                    return Ok(Outcome::Changed);
                }
                if limit < deadline {
                    timeout::expire_thread(task);
                    return Ok(Outcome::Cancelled);
                }
                Ok(Outcome::TimedOut)
            });
        };
        // SAFETY: we run on the slot, and the reference ends here.
        let worker = unsafe { worker::of_slot(slot) };
        if !self.is_registered.load(Ordering::Acquire) {
            self.register(fd, worker.poller()?, false)?;
        } else if self.should_move(worker) {
            self.register(fd, worker.poller()?, true)?;
        }
        let edges = &self.edges[direction as usize];
        Ok(self.queue.wait(direction as usize, wait, deadline, std::ptr::null_mut(), |_| {
            fence(Ordering::SeqCst);
            edges.load(Ordering::SeqCst) == seen
        }))
    }

    /// Whether goroutines of this worker alone wait for it now, while it is registered with another worker's poller: it was connected there, say, and then given away. Each event
    /// would have that one wake this one.
    #[inline]
    fn should_move(&self, worker: &Worker) -> bool {
        let Some(own) = worker.home_poller() else { return false };
        if std::ptr::eq(self.at.load(Ordering::Relaxed), own) {
            self.strangers.store(0, Ordering::Relaxed);
            return false;
        }
        // A lost increment means one wait more.
        let strangers = self.strangers.load(Ordering::Relaxed) + 1;
        self.strangers.store(strangers, Ordering::Relaxed);
        strangers >= STRANGERS
    }

    /// Registers the descriptor, if it is not registered or `moves`. If it is ready by then, that is an edge: nothing is lost in between.
    #[cold]
    fn register(self: &Arc<Self>, fd: BorrowedFd<'_>, poller: Arc<Poller>, moves: bool) -> io::Result<()> {
        let mut registration = self.registration.lock();
        self.strangers.store(0, Ordering::Relaxed);
        let stays = registration.as_ref().is_some_and(|at| !moves || Arc::ptr_eq(&at.poller, &poller));
        if !stays {
            if let Some(old) = registration.take() {
                self.is_registered.store(false, Ordering::Release);
                old.poller.remove(fd, old.token);
            }
            let token = poller.add(fd, self)?;
            self.at.store(Arc::as_ptr(&poller).cast_mut(), Ordering::Relaxed);
            *registration = Some(Registration { poller, token });
            // What was known was known without edges.
            self.drained.store(UNKNOWN, Ordering::Relaxed);
            self.is_registered.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// The descriptor is about to be closed, or to be somebody else's.
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>) {
        if !self.is_registered.load(Ordering::Acquire) {
            return;
        }
        let registration = {
            let mut registration = self.registration.lock();
            self.is_registered.store(false, Ordering::Release);
            registration.take()
        };
        if let Some(Registration { poller, token }) = registration {
            poller.remove(fd, token);
        }
    }

    /// The poller that it was registered with polls no more: who waits looks elsewhere.
    pub(super) fn abandon(&self, poller: &Arc<Poller>, ready: &mut impl FnMut(TaskRef)) {
        {
            let mut registration = self.registration.lock();
            if registration.as_ref().is_none_or(|at| !Arc::ptr_eq(&at.poller, poller)) {
                return;
            }
            self.is_registered.store(false, Ordering::Release);
            self.drained.store(UNKNOWN, Ordering::Relaxed);
            *registration = None;
        }
        self.advance(Direction::Read, ready);
        self.advance(Direction::Write, ready);
    }

    /// What the kernel says. Those that wait for it are claimed and passed to `ready`.
    pub(super) fn take_event(&self, event: Event, ready: &mut impl FnMut(TaskRef)) {
        if event.is_last() {
            self.is_last.store(true, Ordering::Relaxed);
        }
        if event.is_readable() {
            self.advance(Direction::Read, ready);
        }
        if event.is_writable() {
            self.advance(Direction::Write, ready);
        }
    }

    /// All that wait try again: what they wait with has changed, their deadline say.
    pub(crate) fn interrupt(&self, direction: Direction) {
        self.advance(direction, &mut super::ready::ready_tail);
    }

    fn advance(&self, direction: Direction, ready: &mut impl FnMut(TaskRef)) {
        let side = direction as usize;
        // SeqCst, and so is the look at the waiters: see the file's documentation.
        self.edges[side].fetch_add(1, Ordering::SeqCst);
        while self.queue.has_waiters(side) {
            let Some(waiter) = self.queue.lock().claim_first(side) else { return };
            ready(waiter.answered(0));
        }
    }
}
