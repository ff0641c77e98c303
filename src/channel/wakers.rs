//! Futures that wait for a channel: a list a side, beside the wait queue. A future takes no part in the queue: it is told that there may be something, by its waker, and then tries. So nothing is
//! handed to a future that may be dropped, and no waker (which is somebody else's code) is called under the queue's lock or on a worker's own stack.
//!
//! The queue's hint says whether a list is not empty ([`WaitQueue::has_async`](crate::sched::waitq::WaitQueue::has_async)), so channels without futures pay nothing. Who registers sets the hint and then tries once more; who makes something to be had looks at the hint
//! afterwards (PROTOCOLS.md, "Waiting against making"). Each piece of news wakes one future; one that has been woken and does not need it (it was dropped, say) passes it
//! on.
//!
//! A channel without capacity has nowhere to put a message, so a future that sends leaves it here, as an *offer*, which whoever receives may take.

use std::collections::VecDeque;
use std::task::Waker;

use super::err::{RecvError, TryRecvError};
use super::flavor::Queue;
use crate::base::lock::{Lock, Rank};

/// See the file's documentation. `O` is what is offered.
pub(super) struct Wakers<O> {
    /// None until the first future waits; by side.
    lists: Lock<Option<Box<[List<O>; 2]>>>,
}

struct List<O> {
    next: u64,
    /// By rising id.
    waiting: VecDeque<Entry<O>>,
}

/// One future that waits.
pub(super) struct Entry<O> {
    id: u64,
    waker: Waker,
    pub(super) offer: Option<O>,
}

impl<O> List<O> {
    fn position(&self, id: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&id, |entry| entry.id).ok()
    }
}

impl<O> Wakers<O> {
    pub(super) fn new() -> Self {
        Self { lists: Lock::new(Rank::Join, None) }
    }

    /// Adds a future that waits on `side`. Returns what it is called here.
    pub(super) fn add(&self, queue: &Queue, side: usize, waker: Waker, offer: Option<O>) -> u64 {
        let mut lists = self.lists.lock();
        let new = || Box::new([(); 2].map(|()| List { next: 0, waiting: VecDeque::new() }));
        let list = &mut lists.get_or_insert_with(new)[side];
        let id = list.next;
        list.next += 1;
        list.waiting.push_back(Entry { id, waker, offer });
        // Under our lock, so that it says what the list says.
        queue.lock().set_async(side, true);
        id
    }

    /// Gives a future another waker. False if it is not there any more: it was woken, or its offer taken.
    pub(super) fn renew(&self, side: usize, id: u64, waker: &Waker) -> bool {
        let waker = waker.clone();
        let old = {
            let mut lists = self.lists.lock();
            let Some(list) = lists.as_mut().map(|lists| &mut lists[side]) else { return false };
            let Some(at) = list.position(id) else { return false };
            std::mem::replace(&mut list.waiting[at].waker, waker)
        };
        // Not under the lock.
        drop(old);
        true
    }

    /// Takes a future out. None if it is not there any more.
    pub(super) fn remove(&self, queue: &Queue, side: usize, id: u64) -> Option<Entry<O>> {
        self.take(queue, side, |list| list.position(id))
    }

    fn take(
        &self,
        queue: &Queue,
        side: usize,
        which: impl FnOnce(&List<O>) -> Option<usize>,
    ) -> Option<Entry<O>> {
        let mut lists = self.lists.lock();
        let list = &mut lists.as_mut()?[side];
        let entry = which(list).and_then(|at| list.waiting.remove(at));
        if list.waiting.is_empty() && entry.is_some() {
            queue.lock().set_async(side, false);
        }
        entry
    }

    /// Takes the first offer, and wakes its future.
    #[cold]
    pub(super) fn take_offer(&self, queue: &Queue, side: usize) -> Option<O> {
        let entry = self.take(queue, side, |list| (!list.waiting.is_empty()).then_some(0))?;
        entry.waker.wake();
        entry.offer
    }

    /// Wakes the first future that waits on `side`.
    #[cold]
    pub(super) fn wake_first(&self, queue: &Queue, side: usize) {
        if let Some(entry) = self.take(queue, side, |list| (!list.waiting.is_empty()).then_some(0)) {
            entry.waker.wake();
        }
    }

    /// The channel is closed: wakes all. Offers stay for their futures to take back.
    pub(super) fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let lists = self.lists.lock();
            let all = lists.iter().flat_map(|lists| lists.iter()).flat_map(|list| &list.waiting);
            all.map(|entry| entry.waker.clone()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A try to receive as the result of a poll: `None` to wait.
pub(super) fn tried<T>(tried: Result<T, TryRecvError>) -> Option<Result<T, RecvError>> {
    match tried {
        Ok(message) => Some(Ok(message)),
        Err(TryRecvError::Disconnected) => Some(Err(RecvError)),
        Err(TryRecvError::Empty) => None,
    }
}
