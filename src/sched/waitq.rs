//! The one wait queue: everything that waits for something other than time, a join or an unpark waits in one of these.
//!
//! A [`WaitQueue`] is a lock and `N` lists of waiters (a channel has a list of receivers and one of senders). A waiter is a
//! [`Node`] in its own suspended frame, so waiting allocates nothing. Order is first come, first served; where users are promised no order, seeded runs draw
//! ([`LockedQueue::claim_any`]).
//!
//! | who | does | under |
//! | --- | --- | --- |
//! | the waiter's worker, in `commit` | links the node, then checks again that there is something to wait for | the lock |
//! | a waker | takes the first node whose wait it can claim ([`LockedQueue::claim_first`]), unlinks it and every stale one before it | the lock |
//! | a waker | reads `data`, writes what `data` points to, answers ([`Claimed`]) | nothing: a claimed waiter sleeps until it is made ready |
//! | the waiter, woken by a timer or cancelled | unlinks its node if it is still linked | the lock |
//!
//! So a node is never reached through the list after its frame is gone: either the waker has unlinked it before it made the waiter ready, or
//! the waiter unlinks it itself. `hints` lets both sides skip the lock when nobody waits; see there for what it promises.

use super::park::{Commit, ParkOp, block};
use super::ready::{ready, ready_tail};
use super::worker::{me, me_in_commit};
use crate::base::atomic::{AtomicU64, Ordering};
use crate::base::bias::{BiasLocked, BiasedLock, Me};
use crate::base::fence;
use crate::base::lock::Rank;
use crate::routine::{Reason, TaskRef, Ticket, Wait};

use std::cell::{Cell, UnsafeCell};
use std::ptr::{self, NonNull};

/// The answer of a node that nobody has answered.
const UNANSWERED: usize = usize::MAX;
/// The answer of a waker who had nothing for the waiter after all.
pub(crate) const LOOK_AGAIN: usize = usize::MAX - 1;

/// One waiter in one list. Lives in the waiter's frame; everything but `answer` (see the table above) is guarded by the queue's lock while it is linked.
pub(crate) struct Node {
    next: Cell<*const Node>,
    prev: Cell<*const Node>,
    linked: Cell<bool>,
    ticket: Cell<Option<Ticket>>,
    /// For whoever wakes the waiter: where a value is or goes, or a number. Constant while linked.
    data: *mut (),
    /// What the waker said.
    answer: Cell<usize>,
}

impl Node {
    /// A node that is in no list.
    #[inline(always)]
    pub(crate) fn new(data: *mut ()) -> Self {
        Self {
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            linked: Cell::new(false),
            ticket: Cell::new(None),
            data,
            answer: Cell::new(UNANSWERED),
        }
    }

    /// What the waker said, once. Only the waiter asks, after it was woken.
    #[inline(always)]
    pub(crate) fn take_answer(&self) -> Option<usize> {
        let answer = self.answer.replace(UNANSWERED);
        (answer != UNANSWERED).then_some(answer)
    }
}

/// A list of nodes in the order in which they came.
struct List {
    first: *const Node,
    last: *const Node,
}

/// See the file's documentation.
// In this order: hints, the lock's owner and the first two lists are the first cache line, and all that two goroutines of one worker need.
#[repr(C)]
pub(crate) struct WaitQueue<const N: usize = 1> {
    /// What can be known without the lock, for the even and the odd lists. Bit 0: list 0 or 1 is not empty; bit 1: list 2 or 3; bit 2: closed; bit 3: somebody waits elsewhere
    /// ([`LockedQueue::set_async`]); above, a count of links,
    /// so that two looks tell whether a list was empty all the time between. Written under the lock; stale waiters count. A hint for anybody; more for
    /// those who make something to be had outside the lock: a waiter that has linked its node, and after a SeqCst fence still sees nothing to be had, may sleep,
    /// since whoever makes something to be had (SeqCst) and then reads this (SeqCst) sees the node.
    hints: [AtomicU64; 2],
    lists: BiasedLock<[List; N]>,
}

// SAFETY: the raw pointers are to nodes whose waiters stay until they are unlinked, which takes the lock.
unsafe impl Send for List {}

/// Closed, in `hints`.
const CLOSED: u64 = 4;
/// Somebody waits elsewhere, in `hints`.
const ASYNC: u64 = 8;
/// One link, in `hints`.
const LINK: u64 = 16;

const EMPTY: List = List { first: ptr::null(), last: ptr::null() };

impl<const N: usize> WaitQueue<N> {
    /// Nobody waits.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { lists: BiasedLock::new(Rank::Waiters, [EMPTY; N]), hints: [const { AtomicU64::new(0) }; 2] }
    }

    /// Nobody waits.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self {
            lists: BiasedLock::new(Rank::Waiters, [EMPTY; N]),
            hints: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Whether somebody may wait in list `side` (0 or 1): see `hints`.
    #[inline(always)]
    pub(crate) fn has_waiters(&self, side: usize) -> bool {
        fence::in_model();
        self.hints[side].load(Ordering::SeqCst) & 1 != 0
    }

    /// Whether somebody may wait in list `side` or `side + 2`, or elsewhere.
    #[inline(always)]
    pub(crate) fn has_any(&self, side: usize) -> bool {
        fence::in_model();
        self.hints[side].load(Ordering::SeqCst) & (3 | ASYNC) != 0
    }

    /// Whether somebody waits elsewhere for what list `side` is for.
    #[inline(always)]
    pub(crate) fn has_async(&self, side: usize) -> bool {
        fence::in_model();
        self.hints[side].load(Ordering::SeqCst) & ASYNC != 0
    }

    /// Changes whenever a node is linked into list `side` or `side + 2`, when somebody begins to wait elsewhere, and when the queue is closed.
    pub(crate) fn stamp(&self, side: usize) -> u64 {
        self.hints[side].load(Ordering::SeqCst) & !3
    }

    /// Counts those who have begun to wait for what list `side` is for, there and elsewhere.
    #[inline(always)]
    pub(crate) fn arrivals(&self, side: usize) -> u64 {
        self.hints[side].load(Ordering::SeqCst) / LINK
    }

    /// Whether [`LockedQueue::close`] was called. Exact under the lock.
    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        self.hints[0].load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Locks, from anywhere but a commit.
    #[inline(always)]
    pub(crate) fn lock(&self) -> LockedQueue<'_, N> {
        self.lock_as(me())
    }

    /// Locks in the commit of the waiter with this ticket.
    #[inline(always)]
    pub(crate) fn lock_for(&self, ticket: Ticket) -> LockedQueue<'_, N> {
        self.lock_as(me_in_commit(ticket.task))
    }

    #[inline(always)]
    fn lock_as(&self, me: Me) -> LockedQueue<'_, N> {
        LockedQueue { lists: self.lists.lock(me), hints: &self.hints }
    }

    /// Unlinks a node of this queue whose waiter has been woken, if it is still linked.
    pub(crate) fn forget(&self, side: usize, node: &Node) {
        // Only under the lock: a waker that could not claim the wait may be about to unlink it.
        let mut locked = self.lock();
        if node.linked.get() {
            locked.unlink(side, node);
        }
    }

    /// Waits in list `side` for somebody to claim and answer the caller, unless `must_wait`, asked under the lock when the caller's node is in the
    /// list already, says that there is no need any more. `data` is for the waker.
    ///
    /// `must_wait` runs on the worker: it must neither block nor panic.
    #[inline(always)]
    pub(crate) fn wait(
        &self,
        side: usize,
        wait: Wait,
        deadline: u64,
        data: *mut (),
        must_wait: impl FnMut(&mut LockedQueue<'_, N>) -> bool,
    ) -> Outcome {
        self.wait_with(side, wait, deadline, data, Options::default(), must_wait)
    }

    /// As [`wait`](Self::wait), with options.
    #[inline(always)]
    pub(crate) fn wait_with(
        &self,
        side: usize,
        wait: Wait,
        deadline: u64,
        data: *mut (),
        options: Options,
        must_wait: impl FnMut(&mut LockedQueue<'_, N>) -> bool,
    ) -> Outcome {
        self.wait_inner(side, wait, deadline, data, options, must_wait, || ())
    }

    /// Waits in list `side` for somebody to claim and answer the caller, and calls `then` once the caller can be found there, without the lock: to
    /// give back what others need in order to wake it. As `must_wait` it runs on the worker, and neither blocks nor panics.
    pub(crate) fn wait_then(
        &self,
        side: usize,
        wait: Wait,
        deadline: u64,
        data: *mut (),
        then: impl FnMut(),
    ) -> Outcome {
        self.wait_inner(side, wait, deadline, data, Options::default(), |_| true, then)
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "the two above, which name them")]
    fn wait_inner<F: FnMut(&mut LockedQueue<'_, N>) -> bool, T: FnMut()>(
        &self,
        side: usize,
        wait: Wait,
        deadline: u64,
        data: *mut (),
        options: Options,
        must_wait: F,
        then: T,
    ) -> Outcome {
        let mut op = WaitOp {
            op: ParkOp::new(wait, deadline, commit::<F, T, N>),
            node: Node::new(data),
            queue: self,
            side,
            front: options.front,
            closures: UnsafeCell::new((must_wait, then)),
        };
        if options.uninterruptible {
            op.op.uninterruptible();
        }
        // SAFETY: `op` is the first field of a WaitOp of these type parameters and stays in this frame until the call returns.
        let reason = unsafe { block((&raw const op).cast()) };
        match reason {
            Reason::Ready | Reason::Joined => match op.node.take_answer() {
                Some(LOOK_AGAIN) => Outcome::LookAgain,
                Some(answer) => Outcome::Answered(answer),
                None => Outcome::Changed,
            },
            Reason::TimedOut => {
                self.forget(side, &op.node);
                Outcome::TimedOut
            }
            Reason::Cancelled => {
                self.forget(side, &op.node);
                Outcome::Cancelled
            }
        }
    }
}

/// How to wait.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// Before the others: for a waiter that was woken for something which somebody else had by then.
    pub(crate) front: bool,
    /// No cancellation point.
    pub(crate) uninterruptible: bool,
}

/// How a wait ended.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Somebody claimed the waiter and said this.
    Answered(usize),
    /// There was nothing to wait for: the caller looks again.
    Changed,
    /// Somebody claimed the waiter and had nothing for it after all: the caller looks again, and then waits in front.
    LookAgain,
    /// The deadline passed.
    TimedOut,
    /// The goroutine is cancelled: the caller puts things right and unwinds.
    Cancelled,
}

#[repr(C)]
struct WaitOp<'q, F, T, const N: usize> {
    op: ParkOp,
    node: Node,
    queue: &'q WaitQueue<N>,
    side: usize,
    front: bool,
    /// `must_wait` and `then`.
    closures: UnsafeCell<(F, T)>,
}

/// # Safety
///
/// - `op` is the first field of a `WaitOp<F, T, N>` in a suspended frame.
unsafe fn commit<F: FnMut(&mut LockedQueue<'_, N>) -> bool, T: FnMut(), const N: usize>(
    op: *const ParkOp,
    ticket: Ticket,
) -> Commit {
    // SAFETY: the caller's contract; the frame stays until the waiter is made ready, which cannot take effect before this returns
    // (`park::commit`).
    let this = unsafe { &*op.cast::<WaitOp<'_, F, T, N>>() };
    let closures = this.closures.get();
    // SAFETY: only this call uses the closures.
    let (must_wait, then) = unsafe { &mut *closures };
    let mut locked = this.queue.lock_for(ticket);
    // SAFETY: the node is in the waiter's frame, and the waiter calls `forget` unless it was claimed through the list or is unlinked here.
    unsafe { locked.link(this.side, &this.node, ticket, this.front) };
    if !must_wait(&mut locked) {
        locked.unlink(this.side, &this.node);
        return Commit::Already;
    }
    drop(locked);
    // The frame stays until this returns, even if somebody has claimed the waiter by now (as above).
    then();
    Commit::Blocked
}

/// Evidence that the queue is locked.
pub(crate) struct LockedQueue<'q, const N: usize> {
    lists: BiasLocked<'q, [List; N]>,
    hints: &'q [AtomicU64; 2],
}

impl<const N: usize> LockedQueue<'_, N> {
    /// Notes that there is nothing to wait for any more, for those who ask [`WaitQueue::is_closed`]. True for the first call.
    pub(crate) fn close(&mut self) -> bool {
        let first = self.hints[0].load(Ordering::Relaxed) & CLOSED == 0;
        for hints in self.hints {
            hints.store(hints.load(Ordering::Relaxed) | CLOSED, Ordering::SeqCst);
        }
        first
    }

    /// As [`WaitQueue::arrivals`], exactly.
    #[inline(always)]
    pub(crate) fn arrivals(&self, side: usize) -> u64 {
        self.hints[side].load(Ordering::Relaxed) / LINK
    }

    /// Notes whether somebody waits elsewhere for what list `side` is for.
    pub(crate) fn set_async(&mut self, side: usize, waits: bool) {
        let hints = &self.hints[side];
        let others = hints.load(Ordering::Relaxed) & !ASYNC;
        // SeqCst: who waits looks once more after it, and who makes something to be had looks at it afterwards.
        hints.store(if waits { (others + LINK) | ASYNC } else { others }, Ordering::SeqCst);
    }

    /// As [`WaitQueue::has_async`], exactly.
    #[inline(always)]
    pub(crate) fn has_async(&self, side: usize) -> bool {
        self.hints[side].load(Ordering::Relaxed) & ASYNC != 0
    }

    /// Whether nobody waits in list `side`; stale waiters count.
    #[inline(always)]
    pub(crate) fn is_empty(&self, side: usize) -> bool {
        self.lists[side].first.is_null()
    }

    /// Whether somebody other than `me` waits in list `side`.
    pub(crate) fn has_other(&self, side: usize, me: TaskRef) -> bool {
        let mut at = self.lists[side].first;
        // SAFETY: null, or a linked node, which stays while the lock is held.
        while let Some(node) = unsafe { at.as_ref() } {
            if node.ticket.get().is_some_and(|ticket| !ptr::eq(ticket.task, me)) {
                return true;
            }
            at = node.next.get();
        }
        false
    }

    /// Puts a node at the end of list `side`, or at its front.
    ///
    /// # Safety
    ///
    /// - The node is in no list, and stays where it is until it was claimed through this list or taken out by [`WaitQueue::forget`].
    #[inline(always)]
    pub(crate) unsafe fn link(&mut self, side: usize, node: &Node, ticket: Ticket, front: bool) {
        debug_assert!(!node.linked.get(), "a node is in one list at a time");
        node.ticket.set(Some(ticket));
        node.linked.set(true);
        let list = &mut self.lists[side];
        let (prev, next) = if front { (ptr::null(), list.first) } else { (list.last, ptr::null()) };
        node.prev.set(prev);
        node.next.set(next);
        // SAFETY: null, or a linked node, which stays while the lock is held.
        match unsafe { prev.as_ref() } {
            Some(prev) => prev.next.set(node),
            None => list.first = node,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.prev.set(node),
            None => list.last = node,
        }
        let hints = &self.hints[side & 1];
        hints.store((hints.load(Ordering::Relaxed) + LINK) | Self::bit(side), Ordering::Relaxed);
    }

    /// The bit of `hints` that says that list `side` is not empty.
    const fn bit(side: usize) -> u64 {
        if side < 2 { 1 } else { 2 }
    }

    /// Takes a node out that is linked in list `side`.
    #[inline(always)]
    pub(crate) fn unlink(&mut self, side: usize, node: &Node) {
        let list = &mut self.lists[side];
        let (prev, next) = (node.prev.get(), node.next.get());
        // SAFETY: null, or a linked node, which stays while the lock is held.
        match unsafe { prev.as_ref() } {
            Some(prev) => prev.next.set(next),
            None => list.first = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.prev.set(prev),
            None => list.last = prev,
        }
        node.linked.set(false);
        if self.lists[side].first.is_null() {
            let hints = &self.hints[side & 1];
            hints.store(hints.load(Ordering::Relaxed) & !Self::bit(side), Ordering::Relaxed);
        }
    }

    /// Claims the first waiter of list `side` that is still waiting. The caller unlocks before it wakes it.
    #[inline(always)]
    pub(crate) fn claim_first(&mut self, side: usize) -> Option<Claimed> {
        self.claim_first_if(side, |_| true)
    }

    /// As [`claim_first`](Self::claim_first) where users are promised no order: in a seeded run it is any waiter of the list, drawn from the seed.
    pub(crate) fn claim_any(&mut self, side: usize) -> Option<Claimed> {
        #[cfg(not(loom))]
        while let Some(at) = super::ambient::drawn(|| self.nodes(side).count()) {
            let node = self.nodes(side).nth(at)?;
            if let Some(claimed) = self.claim(side, node) {
                return Some(claimed);
            }
        }
        self.claim_first(side)
    }

    /// The nodes of list `side`, stale ones included.
    #[cfg(not(loom))]
    fn nodes(&self, side: usize) -> impl Iterator<Item = NonNull<Node>> {
        std::iter::successors(NonNull::new(self.lists[side].first.cast_mut()), |node| {
            // SAFETY: a linked node, which stays while the lock is held: the iterator borrows the evidence.
            NonNull::new(unsafe { node.as_ref() }.next.get().cast_mut())
        })
    }

    /// Unlinks a linked node of list `side`, and claims its waiter. One that cannot be claimed has timed out or was cancelled, or another case of its select was chosen: it is no
    /// waiter any more.
    #[inline(always)]
    fn claim(&mut self, side: usize, node: NonNull<Node>) -> Option<Claimed> {
        let task = {
            // SAFETY: a linked node, which stays while the lock is held.
            let node = unsafe { node.as_ref() };
            let task = node.ticket.get().and_then(|ticket| ticket.claim(Reason::Ready));
            self.unlink(side, node);
            task?
        };
        Some(Claimed { node, task })
    }

    /// As [`claim_first`](Self::claim_first), unless `may` refuses its `data`. The one who is refused may be stale: then it will call
    /// [`forget`](WaitQueue::forget).
    #[inline(always)]
    pub(crate) fn claim_first_if(&mut self, side: usize, may: impl Fn(*mut ()) -> bool) -> Option<Claimed> {
        loop {
            let first = NonNull::new(self.lists[side].first.cast_mut())?;
            // SAFETY: a linked node, which stays while the lock is held.
            let node = unsafe { first.as_ref() };
            if !may(node.data) {
                return None;
            }
            if let Some(claimed) = self.claim(side, first) {
                return Some(claimed);
            }
        }
    }
}

/// A waiter that the caller has claimed and has to wake. It sleeps, and its frame stays, until then.
#[must_use]
pub(crate) struct Claimed {
    node: NonNull<Node>,
    task: TaskRef,
}

// SAFETY: the waiter is suspended, and nobody but the holder touches its node.
unsafe impl Send for Claimed {}

impl Claimed {
    #[inline(always)]
    fn node(&self) -> &Node {
        // SAFETY: in the frame of a waiter that we have claimed and not made ready yet.
        unsafe { self.node.as_ref() }
    }

    /// The waiter's `data`.
    #[inline(always)]
    pub(crate) fn data(&self) -> *mut () {
        self.node().data
    }

    /// Wakes the waiter, to run next here if it may.
    #[inline(always)]
    pub(crate) fn wake(self, answer: usize) {
        self.node().answer.set(answer);
        let task = self.task;
        std::mem::forget(self);
        ready(task);
    }

    /// Answers, and leaves it to the caller to make the waiter ready.
    #[cfg(not(loom))]
    pub(crate) fn answered(self, answer: usize) -> TaskRef {
        self.node().answer.set(answer);
        let task = self.task;
        std::mem::forget(self);
        task
    }

    /// Wakes the waiter with nothing.
    pub(crate) fn look_again(self) {
        drop(self);
    }

    /// Wakes the waiter behind those that are to run here: for many at once.
    pub(crate) fn wake_tail(self, answer: usize) {
        self.node().answer.set(answer);
        let task = self.task;
        std::mem::forget(self);
        ready_tail(task);
    }
}

/// Wakes `first` with the address of the caller's node for an answer, and waits until it has answered through [`Claimed::of_answer`]: for a waker who
/// needs something that only the waiter it has claimed can give. False if that had nothing after all.
pub(crate) fn wake_and_wait(first: Claimed, wait: Wait, data: *mut ()) -> bool {
    let mut op = RoleOp {
        op: ParkOp::new(wait, u64::MAX, commit_role),
        node: Node::new(data),
        first: Cell::new(Some(first)),
    };
    // `first` has our address: nothing else may end this wait.
    op.op.uninterruptible();
    // SAFETY: `op` is the first field of a RoleOp and stays in this frame until the call returns.
    let reason = unsafe { block((&raw const op).cast()) };
    debug_assert_eq!(reason, Reason::Ready, "the wait has neither deadline nor cancellation");
    op.node.take_answer().is_some_and(|answer| answer != LOOK_AGAIN)
}

#[repr(C)]
struct RoleOp {
    op: ParkOp,
    node: Node,
    first: Cell<Option<Claimed>>,
}

/// # Safety
///
/// - `op` is the first field of a `RoleOp` in a suspended frame.
unsafe fn commit_role(op: *const ParkOp, ticket: Ticket) -> Commit {
    // SAFETY: the caller's contract.
    let this = unsafe { &*op.cast::<RoleOp>() };
    this.node.ticket.set(Some(ticket));
    if let Some(first) = this.first.take() {
        first.wake((&raw const this.node).expose_provenance());
    }
    Commit::Blocked
}

impl Claimed {
    /// The waiter that has woken the caller by [`wake_and_wait`] with `answer`.
    ///
    /// # Safety
    ///
    /// - `answer` is what that call gave to the caller, and this is the only use of it.
    pub(crate) unsafe fn of_answer(answer: usize) -> Option<Self> {
        let node = NonNull::new(ptr::with_exposed_provenance_mut::<Node>(answer))?;
        // SAFETY: the waiter sleeps until we answer it, by the caller's contract.
        let ticket = unsafe { node.as_ref() }.ticket.get()?;
        Some(Self { node, task: ticket.claim(Reason::Ready)? })
    }
}

impl Drop for Claimed {
    /// The waiter looks again.
    fn drop(&mut self) {
        self.node().answer.set(LOOK_AGAIN);
        ready(self.task);
    }
}
