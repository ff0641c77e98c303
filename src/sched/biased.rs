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

#[cfg(not(loom))]
use super::{inbox::Linked, queue::Fifo};
use crate::base::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::base::fence;
#[cfg(loom)]
use crate::{inbox::Linked, queue::Fifo};

/// The most that one theft takes: a walk of 128 links, during which the owner may wait, takes about a microsecond.
const MOST: usize = 128;

/// See the file's documentation.
pub(crate) struct Biased<T> {
    /// Accessed by the owner while `busy`, or by a thief that has seized the queue and seen `busy` 0.
    list: Fifo<T>,
    /// Its length; written with the list, read by anybody.
    len: AtomicUsize,
    /// 1 while the owner is at it. Written by the owner alone.
    busy: AtomicU32,
    /// 1 while a thief has it, or waits for `busy`.
    seized: AtomicU32,
}

// SAFETY: the list is accessed by one thread at a time (see `list`); its nodes are 'static and may be sent.
unsafe impl<T: Sync> Sync for Biased<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Biased<T> {}

impl<T: Linked + 'static> Biased<T> {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self {
            list: Fifo::new(),
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
        self.list.push(node);
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
        let node = self.list.pop();
        self.leave();
        node
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
        let taken = Fifo::new();
        for _ in 0..self.list.len().div_ceil(2).min(MOST) {
            match self.list.pop() {
                Some(node) => taken.push(node),
                None => break,
            }
        }
        self.len.store(self.list.len(), Ordering::Relaxed);
        // Release pairs with the Acquire in `enter`.
        self.seized.store(0, Ordering::Release);
        let stolen = taken.len() > 0;
        while let Some(node) = taken.pop() {
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
        // Release: who sees the length sees what the pusher did before.
        self.len.store(self.list.len(), Ordering::Release);
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
    use crate::base::atomic::AtomicPtr;
    use std::sync::atomic::AtomicBool;

    struct Node {
        link: AtomicPtr<Node>,
        taken: AtomicU32,
    }

    impl Linked for Node {
        fn link(&self) -> &AtomicPtr<Self> {
            &self.link
        }
    }

    fn nodes(count: usize) -> &'static [Node] {
        let node = || Node { link: AtomicPtr::new(std::ptr::null_mut()), taken: AtomicU32::new(0) };
        Box::leak((0..count).map(|_| node()).collect())
    }

    #[test]
    fn the_owner_takes_in_order() {
        fence::init();
        let queue = Biased::new();
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
        let queue = Biased::new();
        let nodes = nodes(7);
        nodes.iter().for_each(|node| queue.push(node));
        let mut stolen = Vec::new();
        assert!(queue.steal(|node| stolen.push(node)));
        assert!(stolen.iter().zip(nodes).all(|(a, b)| std::ptr::eq(*a, b)));
        assert_eq!((stolen.len(), queue.len()), (4, 3));
    }

    #[test]
    fn nothing_is_lost_or_doubled_among_an_owner_and_two_thieves() {
        fence::init();
        let queue = Biased::new();
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
            }
            while let Some(node) = queue.pop() {
                take(node);
            }
            done.store(true, Ordering::Release);
        });
        assert!(nodes.iter().all(|node| node.taken.load(Ordering::Relaxed) == 1));
    }
}
