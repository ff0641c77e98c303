//! What a channel with a buffer needs of the buffer: [`ring`](super::ring) with a bound, [`list`](super::list) without. Lock-free; who waits for what is
//! [`buffered`](super::buffered)'s business.

/// A queue for any number of producers and consumers that can be closed. All positions change by SeqCst operations, so that
/// `WaitQueue::has_waiters` may be asked after them.
pub(super) trait Buffer<T> {
    /// Adds a value at the end.
    fn push(&self, value: T) -> Result<(), PushError<T>>;
    /// Takes the first value.
    fn pop(&self) -> Pop<T>;
    /// Whether `pop` would find a value, or the end.
    fn readable(&self) -> bool;
    /// Whether `push` would find room, or the end.
    fn writable(&self) -> bool;
    /// Changes whenever `readable` may have become true.
    fn read_stamp(&self) -> usize;
    /// Changes whenever `writable` may have become true.
    fn write_stamp(&self) -> usize;
    /// Takes room for a value that will be there later: for a select that chooses first and computes the message then.
    fn reserve(&self) -> Reserve;
    /// Fills the room taken by `reserve`.
    fn fill(&self, place: usize, value: T) -> Result<(), T>;
    /// Gives the room taken by `reserve` back.
    fn abandon(&self, place: usize);
    /// No more `push`. True for the first call.
    fn close(&self) -> bool;
    /// Whether it was closed.
    fn is_closed(&self) -> bool;
    /// Values in it.
    fn len(&self) -> usize;
    /// The bound, if there is one.
    fn capacity(&self) -> Option<usize>;
}

/// Why `push` failed; gives the value back.
pub(super) enum PushError<T> {
    /// No room.
    Full(T),
    /// Closed.
    Closed(T),
}

/// What `pop` found.
pub(super) enum Pop<T> {
    /// The first value.
    Value(T),
    /// Nothing, or a place that is reserved and not filled yet.
    Empty,
    /// Nothing, and closed.
    Closed,
}

/// What `reserve` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserve {
    /// Room, at this place.
    Place(usize),
    /// No room.
    Full,
    /// Closed.
    Closed,
}

/// Waiting for another thread that is in the middle of a few instructions: spins, then lets the system run it.
pub(super) struct Backoff(u32);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(0)
    }

    #[cold]
    pub(super) fn wait(&mut self) {
        self.0 += 1;
        #[cfg(loom)]
        loom::thread::yield_now();
        #[cfg(not(loom))]
        if self.0 < 8 {
            for _ in 0..1 << self.0 {
                std::hint::spin_loop();
            }
        } else {
            std::thread::yield_now();
        }
    }
}
