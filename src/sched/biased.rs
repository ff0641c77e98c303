//! A worker's queue of goroutines that anybody may run: biased towards its owner, who pays plain loads and stores; a thief pays a barrier on
//! all threads and then has the queue to itself for a moment.
//!
//! ```text
//!   owner, each push and pop          thief
//!   busy = 1                          seized = 1           (compare-and-swap: one thief at a time)
//!   light()                           heavy()
//!   read seized: 0                    read busy: wait for 0
//!   push or pop                       take half, at most 128
//!   busy = 0                          seized = 0
//! ```
//!
//! `busy` and `seized` with the fences between are Dekker's mutual exclusion on a store-buffering pattern (docs/PROTOCOLS.md, "Seizing"): if the owner reads
//! `seized` as 0, the thief reads `busy` as 1 and waits. An owner that reads 1 steps back until the thief is through.
//!
//! Why not crossbeam's deque, which served here before: its owner pays a locked instruction for every pop (4.7 ns of the 45 that spawn and join take, and of the 38 of
//! a batch), a buffer that grows and shrinks, and a thread-local of its epochs, which must not be inlined into goroutines. Its thieves are cheaper. Here thefts are
//! rare by policy (`steal`: what is taken has aged and is worth it), and each moves up to 128 goroutines, so the barrier (8.5 µs when the victim runs) is
//! paid by those who gain. The handshake is that of Cilk-5's THE protocol (Frigo, Leiserson and Randall, 1998), with the owner's fence moved to the thief.

use std::ptr;

#[cfg(not(loom))]
use super::inbox::Linked;
use crate::base::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Cell, Ordering};
use crate::base::fence;
#[cfg(loom)]
use crate::inbox::Linked;

/// The most that one theft takes: a walk of 128 links, during which the owner may wait, takes about a microsecond.
const MOST: usize = 128;

/// What a node needs to be taken out of the middle, besides its link to the next.
pub(crate) trait Queued: Linked + Sized {
    /// The node before; the list's while the node is in it.
    fn before(&self) -> &AtomicPtr<Self>;
    /// The name of the queue it is in, or 0. Changes from and to a queue's name happen under that queue's exclusion, so who has that can rely on it.
    fn queue(&self) -> &AtomicU32;
}

/// See the file's documentation.
pub(crate) struct Biased<T> {
    /// The ends of a doubly linked list. Accessed, like the links in it, by the owner while `busy`, or by a thief that has seized the queue and seen
    /// `busy` 0: "under the exclusion".
    head: Cell<*const T>,
    tail: Cell<*const T>,
    /// Its length; written with the list, read by anybody.
    len: AtomicUsize,
    /// Not 0, and no other queue's in the process: goroutines are joined across runtimes.
    name: u32,
    /// 1 while the owner is at it. Written by the owner alone.
    busy: AtomicU32,
    /// 1 while a thief has it, or waits for `busy`.
    seized: AtomicU32,
}

// SAFETY: the list is accessed by one thread at a time (see `head`); its nodes are 'static and may be sent.
unsafe impl<T: Sync> Sync for Biased<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Biased<T> {}

impl<T: Queued + 'static> Biased<T> {
    /// Empty. `name` is not 0 and no other queue's.
    pub(crate) fn new(name: u32) -> Self {
        Self {
            head: Cell::new(ptr::null()),
            tail: Cell::new(ptr::null()),
            name,
            len: AtomicUsize::new(0),
            busy: AtomicU32::new(0),
            seized: AtomicU32::new(0),
        }
    }

    /// How many wait, as of some moment.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether nothing waits, as of some moment.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a node, which is in no other list, at the tail. The owner's.
    #[inline(always)]
    pub(crate) fn push(&self, node: &'static T) {
        self.enter();
        self.link(node);
        self.leave();
    }

    /// Takes the node at the head. The owner's.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<&'static T> {
        // Only the owner adds, so what it sees as empty is.
        if self.is_empty() {
            return None;
        }
        self.enter();
        let node = self.unlink_head();
        self.leave();
        node
    }

    /// Takes out a node, if it is in this queue and not at its head. The owner's.
    pub(crate) fn take_out(&self, node: &'static T) -> bool {
        self.enter();
        let takes = node.queue().load(Ordering::Relaxed) == self.name && !ptr::eq(self.head.get(), node);
        if takes {
            self.unlink(node);
        }
        self.leave();
        takes
    }

    /// Takes the node at the tail, if it is `wanted` and not the only one. The owner's.
    pub(crate) fn pop_newest(&self, wanted: impl FnOnce(&T) -> bool) -> Option<&'static T> {
        self.enter();
        let tail = self.tail.get();
        // SAFETY: null, or a node in this list; nodes are 'static.
        let newest = unsafe { tail.as_ref() }.filter(|node| !ptr::eq(self.head.get(), *node) && wanted(node));
        if let Some(node) = newest {
            self.unlink(node);
        }
        self.leave();
        newest
    }

    /// Takes half of what waits, at most 128, and passes it on in order. A thief's: not the owner's. False if there was nothing, or another thief is at it.
    pub(crate) fn steal(&self, mut each: impl FnMut(&'static T)) -> bool {
        if self.is_empty()
            || self.seized.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return false;
        }
        // Pairs with the light fence in `enter`.
        fence::heavy();
        // Acquire pairs with the Release in `leave`: the list is as the owner left it.
        let mut spins = 0;
        while self.busy.load(Ordering::Acquire) != 0 {
            pause(&mut spins);
        }
        let mut first: *const T = ptr::null();
        let mut last: *const T = ptr::null();
        for _ in 0..self.len().div_ceil(2).min(MOST) {
            let Some(node) = self.unlink_head() else { break };
            node.link().store(ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: null, or the node before: 'static, and in our hands alone.
            match unsafe { last.as_ref() } {
                Some(last) => last.link().store(ptr::from_ref(node).cast_mut(), Ordering::Relaxed),
                None => first = node,
            }
            last = node;
        }
        // Release pairs with the Acquire in `enter`.
        self.seized.store(0, Ordering::Release);
        let stolen = !first.is_null();
        // SAFETY: null, or a node of the chain just made.
        while let Some(node) = unsafe { first.as_ref() } {
            // Read first: `each` puts the node into another list.
            first = node.link().load(Ordering::Relaxed);
            each(node);
        }
        stolen
    }

    #[inline(always)]
    fn enter(&self) {
        self.busy.store(1, Ordering::Relaxed);
        // Pairs with the heavy fence in `steal`.
        fence::light();
        // Acquire pairs with the Release in `steal`: the list is as the last thief left it.
        if self.seized.load(Ordering::Acquire) != 0 {
            self.step_back();
        }
    }

    #[inline(always)]
    fn leave(&self) {
        self.busy.store(0, Ordering::Release);
    }

    /// Lets the thief finish, and enters.
    #[cold]
    #[inline(never)]
    fn step_back(&self) {
        let mut spins = 0;
        loop {
            self.busy.store(0, Ordering::Release);
            while self.seized.load(Ordering::Relaxed) != 0 {
                pause(&mut spins);
            }
            self.busy.store(1, Ordering::Relaxed);
            fence::light();
            if self.seized.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }

    /// Adds at the tail. Under the exclusion.
    #[inline(always)]
    fn link(&self, node: &'static T) {
        let tail = self.tail.replace(node);
        node.link().store(ptr::null_mut(), Ordering::Relaxed);
        node.before().store(tail.cast_mut(), Ordering::Relaxed);
        node.queue().store(self.name, Ordering::Relaxed);
        // SAFETY: null, or a node in this list; nodes are 'static.
        match unsafe { tail.as_ref() } {
            Some(tail) => tail.link().store(ptr::from_ref(node).cast_mut(), Ordering::Relaxed),
            None => self.head.set(node),
        }
        // Release: who sees the length sees what the pusher did before.
        self.len.store(self.len() + 1, Ordering::Release);
    }

    /// Takes from the head. Under the exclusion.
    #[inline(always)]
    fn unlink_head(&self) -> Option<&'static T> {
        // SAFETY: null, or a node in this list; nodes are 'static.
        let node: &'static T = unsafe { self.head.get().as_ref() }?;
        // As `unlink`, where nothing is before.
        let next = node.link().load(Ordering::Relaxed);
        node.queue().store(0, Ordering::Relaxed);
        self.head.set(next);
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.before().store(ptr::null_mut(), Ordering::Relaxed),
            None => self.tail.set(ptr::null()),
        }
        self.len.store(self.len() - 1, Ordering::Relaxed);
        Some(node)
    }

    /// Takes out a node of this list. Under the exclusion.
    fn unlink(&self, node: &'static T) {
        let next = node.link().load(Ordering::Relaxed);
        let before = node.before().load(Ordering::Relaxed);
        node.before().store(ptr::null_mut(), Ordering::Relaxed);
        node.queue().store(0, Ordering::Relaxed);
        // SAFETY: null, or a node in this list; nodes are 'static.
        match unsafe { before.as_ref() } {
            Some(before) => before.link().store(next, Ordering::Relaxed),
            None => self.head.set(next),
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.before().store(before, Ordering::Relaxed),
            None => self.tail.set(before),
        }
        self.len.store(self.len() - 1, Ordering::Relaxed);
    }
}

#[cfg(not(loom))]
impl Queued for crate::routine::Task {
    #[inline(always)]
    fn before(&self) -> &AtomicPtr<Self> {
        let home: &AtomicPtr<()> = &self.home;
        // SAFETY: the same layout; while the task is in a queue its `home` holds such a pointer or null, and nobody reads it as a worker.
        unsafe { &*ptr::from_ref(home).cast::<AtomicPtr<Self>>() }
    }

    #[inline(always)]
    fn queue(&self) -> &AtomicU32 {
        &self.futex
    }
}

/// Waits a moment for a thread that is inside; longer when that one may have lost its processor.
fn pause(spins: &mut u32) {
    *spins += 1;
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    if (*spins).is_multiple_of(128) {
        std::thread::yield_now();
    } else {
        crate::arch::spin_hint();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    struct Node {
        link: AtomicPtr<Node>,
        before: AtomicPtr<Node>,
        queue: AtomicU32,
        taken: AtomicU32,
    }

    impl Queued for Node {
        fn before(&self) -> &AtomicPtr<Self> {
            &self.before
        }
        fn queue(&self) -> &AtomicU32 {
            &self.queue
        }
    }

    impl Linked for Node {
        fn link(&self) -> &AtomicPtr<Self> {
            &self.link
        }
    }

    fn nodes(count: usize) -> &'static [Node] {
        let node = || Node {
            link: AtomicPtr::new(ptr::null_mut()),
            before: AtomicPtr::new(ptr::null_mut()),
            queue: AtomicU32::new(0),
            taken: AtomicU32::new(0),
        };
        Box::leak((0..count).map(|_| node()).collect())
    }

    #[test]
    fn the_owner_takes_in_order() {
        fence::init();
        let queue = Biased::new(1);
        let nodes = nodes(5);
        nodes.iter().for_each(|node| queue.push(node));
        assert_eq!(queue.len(), 5);
        for node in nodes {
            assert!(std::ptr::eq(queue.pop().expect("as many as were pushed"), node));
        }
        assert!(queue.pop().is_none() && queue.is_empty());
    }

    #[test]
    fn a_thief_takes_the_older_half_in_order() {
        fence::init();
        let queue = Biased::new(1);
        let nodes = nodes(7);
        nodes.iter().for_each(|node| queue.push(node));
        let mut stolen = Vec::new();
        assert!(queue.steal(|node| stolen.push(node)));
        assert!(stolen.iter().zip(nodes).all(|(a, b)| std::ptr::eq(*a, b)));
        assert_eq!((stolen.len(), queue.len()), (4, 3));
    }

    #[test]
    fn the_owner_takes_out_of_the_middle_but_not_the_head() {
        fence::init();
        let (queue, other) = (Biased::new(1), Biased::new(2));
        let nodes = nodes(6);
        nodes[..5].iter().for_each(|node| queue.push(node));
        other.push(&nodes[5]);
        assert!(!queue.take_out(&nodes[0]) && !queue.take_out(&nodes[5]));
        assert!(queue.take_out(&nodes[2]) && queue.take_out(&nodes[4]) && !queue.take_out(&nodes[4]));
        queue.push(&nodes[2]);
        for n in [0, 1, 3, 2] {
            assert!(std::ptr::eq(queue.pop().expect("still in it"), &nodes[n]));
        }
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn the_owner_takes_the_newest_but_not_the_last() {
        fence::init();
        let queue = Biased::new(1);
        let nodes = nodes(3);
        nodes.iter().for_each(|node| queue.push(node));
        assert!(queue.pop_newest(|_| false).is_none());
        for n in [2, 1] {
            assert!(std::ptr::eq(queue.pop_newest(|_| true).expect("there are more"), &nodes[n]));
        }
        assert!(queue.pop_newest(|_| true).is_none());
        assert!(std::ptr::eq(queue.pop().expect("the first is left"), &nodes[0]));
    }

    #[test]
    fn nothing_is_lost_or_doubled_among_an_owner_and_two_thieves() {
        fence::init();
        let queue = Biased::new(1);
        let nodes = nodes(200_000);
        let done = AtomicBool::new(false);
        let take = |node: &Node| assert_eq!(node.taken.fetch_add(1, Ordering::Relaxed), 0, "taken twice");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        queue.steal(take);
                    }
                });
            }
            for (n, node) in nodes.iter().enumerate() {
                queue.push(node);
                if n % 3 == 0
                    && let Some(node) = queue.pop()
                {
                    take(node);
                }
                if n % 5 == 0 && queue.take_out(&nodes[n - n / 2 % 50]) {
                    take(&nodes[n - n / 2 % 50]);
                }
            }
            while let Some(node) = queue.pop() {
                take(node);
            }
            done.store(true, Ordering::Release);
        });
        assert!(nodes.iter().all(|node| node.taken.load(Ordering::Relaxed) == 1));
    }
}
