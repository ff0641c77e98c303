//! [`Poller`]: which descriptors have become ready. Each worker has one, made when the first goroutine on it waits for a descriptor, and sleeps in it from then on.
//!
//! One a worker and not one for all: a goroutine has its home, and whoever serves it waits where it lives. So the thread that the kernel wakes for an event is
//! the one that runs the goroutine, and nobody is woken to wake somebody else.
//!
//! | who polls a worker's poller | when |
//! | --- | --- |
//! | the worker | out of work: at each look for some, and as its sleep |
//! | the worker | busy: every 61 switches, if 20 µs have passed |
//! | thieves, in free mode | while they search and the worker is busy |
//! | the monitor | the worker has not polled for 5 ms: its goroutines are long, or it is stuck |
//!
//! Only one at a time (`seat`): who sleeps in the poller must be the one that the waking descriptor wakes, and an event is told once.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use super::core::{Core, WorkerShared};
use super::ready::ready;
use super::source::Source;
use super::worker::{Role, Worker, notify, state};
use crate::arch;
use crate::base::lock::{Lock, Rank};
use crate::routine::TaskRef;
use crate::sys::epoll::{Epoll, Events, Token};
use crate::sys::{clock, futex};
use crate::world::blocked;

/// A busy worker polls at most this often: 0.3 µs each time.
const BUSY_NS: u64 = 20_000;
/// A worker that has not polled for so long is polled for.
const LATE_NS: u64 = 5_000_000;

/// See the file's documentation.
pub(crate) struct Poller {
    epoll: Epoll,
    /// Somebody polls.
    seat: AtomicBool,
    /// When somebody polled last.
    polled_at: AtomicU64,
    sources: Lock<Sources>,
}

/// What is registered, by the low half of the token. Guarded by the poller's lock.
struct Sources {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The worker has ended.
    is_closed: bool,
}

struct Entry {
    /// The high half of the token: tells an event of who had the entry before.
    generation: u32,
    source: Option<Arc<Source>>,
}

impl Sources {
    fn get(&self, token: Token) -> Option<&Arc<Source>> {
        let entry = self.entries.get(token as u32 as usize)?;
        if u64::from(entry.generation) == token >> 32 { entry.source.as_ref() } else { None }
    }

    fn insert(&mut self, source: Arc<Source>) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, source: None });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        // Never all ones, which is the waking descriptor's.
        entry.generation = (entry.generation + 1) % (u32::MAX - 1);
        entry.source = Some(source);
        u64::from(entry.generation) << 32 | u64::from(index)
    }

    fn remove(&mut self, token: Token) -> Option<Arc<Source>> {
        self.get(token)?;
        self.free.push(token as u32);
        self.entries[token as u32 as usize].source.take()
    }
}

impl Poller {
    fn new() -> io::Result<Self> {
        let sources = Sources { entries: Vec::new(), free: Vec::new(), is_closed: false };
        Ok(Self {
            epoll: Epoll::new()?,
            seat: AtomicBool::new(false),
            polled_at: AtomicU64::new(clock::now_ns()),
            sources: Lock::new(Rank::Sources, sources),
        })
    }

    /// Registers a descriptor.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, source: &Arc<Source>) -> io::Result<Token> {
        // Under the lock, so that the event which may follow at once finds the source.
        let mut sources = self.sources.lock();
        if sources.is_closed {
            return Err(io::Error::other("the worker that was to wait for this socket has ended"));
        }
        let token = sources.insert(source.clone());
        match self.epoll.add(fd, token) {
            Ok(()) => Ok(token),
            Err(error) => {
                sources.remove(token);
                Err(error)
            }
        }
    }

    /// Takes a descriptor out.
    pub(super) fn remove(&self, fd: BorrowedFd<'_>, token: Token) {
        self.epoll.remove(fd);
        let source = self.sources.lock().remove(token);
        drop(source);
    }

    /// How many descriptors are registered.
    pub(super) fn len(&self) -> usize {
        let sources = self.sources.lock();
        sources.entries.len() - sources.free.len()
    }

    /// Ends the present or else the next poll that waits.
    pub(super) fn wake(&self) {
        self.epoll.wake();
    }

    /// Takes what has become ready, and waits for it until `deadline` (0: not at all). Claimed tasks go to `ready`. `None`: somebody else polls. Else how many events
    /// there were; 0: the deadline has passed, perhaps.
    fn poll(&self, deadline: u64, mut ready: impl FnMut(TaskRef)) -> Option<usize> {
        if self.seat.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return None;
        }
        let mut events = Events::new();
        if deadline == 0 {
            self.epoll.wait(&mut events, 0);
        } else {
            blocked::rest_during(|| self.epoll.wait(&mut events, deadline));
        }
        self.polled_at.store(clock::now_ns(), Ordering::Relaxed);
        if events.count() != 0 {
            let sources = self.sources.lock();
            for event in events.iter() {
                // None: it was taken out after the kernel had told.
                if let Some(source) = sources.get(event.token) {
                    source.take_event(event, &mut ready);
                }
            }
        }
        self.seat.store(false, Ordering::Release);
        Some(events.count())
    }

    /// The worker ends. What is still registered is for others to wait for.
    fn close(self: &Arc<Self>) {
        let entries = {
            let mut sources = self.sources.lock();
            sources.is_closed = true;
            sources.free = Vec::new();
            std::mem::take(&mut sources.entries)
        };
        for source in entries.into_iter().filter_map(|entry| entry.source) {
            source.abandon(self, &mut ready);
        }
    }
}

impl WorkerShared {
    /// How many descriptors its goroutines have registered.
    pub(crate) fn descriptors(&self) -> usize {
        self.poller.get().map_or(0, |poller| poller.len())
    }

    /// Its poller, made if need be.
    fn poller(&self) -> io::Result<Arc<Poller>> {
        if let Some(poller) = self.poller.get() {
            return Ok(poller.clone());
        }
        // Several may be making one; the first counts.
        let made = Arc::new(Poller::new()?);
        let poller = self.poller.get_or_init(|| made).clone();
        // A worker that sleeps elsewhere has to come here. It writes its state and then looks whether there is a poller: an SB.
        fence(Ordering::SeqCst);
        notify(self);
        Ok(poller)
    }
}

/// Wakes a worker's thread from a sleep that began as `was`.
pub(super) fn wake_sleeper(shared: &WorkerShared, was: u32) {
    if was & !state::POLLING == state::SLEEPING {
        // Beside the system call, nothing.
        shared.woken_at.store(clock::now_ns(), Ordering::Relaxed);
    }
    match shared.poller.get() {
        Some(poller) if was & state::POLLING != 0 => poller.wake(),
        _ => futex::wake(&shared.state, 1),
    }
}

impl Worker {
    /// The poller for descriptors that this worker's goroutines wait for.
    #[cold]
    pub(super) fn poller(&self) -> io::Result<Arc<Poller>> {
        if self.core.seeded.is_some() {
            return Err(super::seeded::refused("waiting for a socket"));
        }
        if self.shared.role == Role::Dedicated {
            // Its one goroutine may keep the thread for good, and leave the descriptor to others.
            let at = self.rng.borrow_mut().below(self.core.config.workers);
            return self.core.worker(at).poller();
        }
        self.shared.poller()
    }

    /// The poller that descriptors of this worker's goroutines should be in (null: it is not made yet), if the goroutines belong to it for good.
    #[inline]
    pub(super) fn home_poller(&self) -> Option<*const Poller> {
        let poller = self.shared.poller.get().map_or(std::ptr::null(), Arc::as_ptr);
        (!self.free && self.shared.role != Role::Dedicated).then_some(poller)
    }

    /// Takes what has become ready, without waiting.
    pub(super) fn poll_ready(&self) {
        if let Some(poller) = self.shared.poller.get() {
            let _ = poller.poll(0, |task| self.ready_tail(task));
        }
    }

    /// As [`poll_ready`](Self::poll_ready), unless it was done a moment ago.
    pub(super) fn poll_ready_now_and_then(&self) {
        if let Some(poller) = self.shared.poller.get()
            && clock::now_ns() >= poller.polled_at.load(Ordering::Relaxed) + BUSY_NS
        {
            let _ = poller.poll(0, |task| self.ready_tail(task));
        }
    }

    /// Free mode: takes what has become ready for workers that are busy with something else.
    pub(super) fn poll_for_busy(&self) {
        for other in self.core.workers().filter(|w| w.index != self.shared.index) {
            if let Some(poller) = other.poller.get()
                && clock::now_ns() >= poller.polled_at.load(Ordering::Relaxed) + BUSY_NS
            {
                let _ = poller.poll(0, |task| self.ready_tail(task));
            }
        }
    }

    /// How the state of this worker, about to sleep, is written: says where it sleeps.
    pub(super) fn asleep(&self, state: u32) -> u32 {
        if self.shared.poller.get().is_some() { state | state::POLLING } else { state }
    }

    /// Sleeps while the worker's state is `asleep`, until `deadline`. False: there may be something to do, or the time is over. True: the state may have
    /// changed.
    pub(super) fn nap(&self, asleep: u32, deadline: u64) -> bool {
        let state = &self.shared.state;
        if asleep & state::POLLING == 0 {
            return blocked::rest(state, asleep, deadline);
        }
        let Some(poller) = self.shared.poller.get() else { return false };
        let mut found = false;
        let polled = poller.poll(deadline.max(1), |task| {
            found = true;
            self.ready_tail(task);
        });
        match polled {
            // Somebody polls for us, in a moment without waiting.
            None => {
                arch::spin_hint();
                true
            }
            Some(0) => deadline == u64::MAX,
            Some(_) => !found,
        }
    }

    /// The worker ends.
    pub(super) fn end_polling(&self) {
        if let Some(poller) = self.shared.poller.get() {
            poller.close();
        }
    }
}

impl Core {
    /// Polls for workers that are awake and have not done so for long. On the monitor's thread.
    pub(super) fn poll_for_late(&self, now: u64) {
        for worker in self.workers() {
            if let Some(poller) = worker.poller.get()
                && now >= poller.polled_at.load(Ordering::Relaxed) + LATE_NS
                && worker.state.load(Ordering::Relaxed) & state::POLLING == 0
            {
                let _ = poller.poll(0, ready);
            }
        }
    }
}
