//! [`Select`]: a list of operations that is made at run time. The macros do without it.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use super::case::{self, Case, Handle, How, Token};
use super::ends::{Receiver, Sender};
use super::err::{
    ReadyTimeoutError, RecvError, SelectTimeoutError, SendError, TryReadyError, TrySelectError,
};
use crate::sched;
use crate::sys::clock;

/// One operation of a [`Select`].
#[derive(Clone, Copy)]
struct Operation<'a> {
    handle: &'a dyn Handle,
    index: usize,
    /// The end, to see that the operation is completed with the same.
    end: *const (),
    receives: bool,
    /// Of a received message, in words; 0 for a send.
    words: usize,
    /// Whether a message fits a word's alignment.
    aligned: bool,
    /// Makes a place for a message that does not.
    boxed: fn() -> Place,
}

impl<'a> Operation<'a> {
    /// The case, for choosing. `place` is for a message: a send has none, by which the other side knows that it is a select's.
    fn case(&self, place: *mut ()) -> Case<'a> {
        let place = if self.receives { place } else { std::ptr::null_mut() };
        Case { handle: self.handle, place, full: None }
    }
}

/// Waits for one of several operations on channels. Which ones is decided at run time; where it is known, [`select!`](crate::select) is simpler, and faster.
///
/// Operations are added with [`send`](Self::send) and [`recv`](Self::recv), which return their index. Then either one is chosen
/// ([`select`](Self::select) and its kin) and completed with [`SelectedOperation::send`] or [`SelectedOperation::recv`], or
/// [`ready`](Self::ready) and its kin only say which one may go on.
///
/// Among those that are ready, one is drawn at random, each with the same probability, unless the select is
/// [biased](Self::new_biased).
///
/// # Examples
///
/// ```
/// use greenroutine::channel::{unbounded, Select};
///
/// let (s1, r1) = unbounded();
/// let (_s2, r2) = unbounded::<i32>();
/// s1.send(10).unwrap();
///
/// let mut select = Select::new();
/// let first = select.recv(&r1);
/// let second = select.recv(&r2);
/// let operation = select.select();
/// match operation.index() {
///     index if index == first => assert_eq!(operation.recv(&r1), Ok(10)),
///     index if index == second => unreachable!(),
///     _ => unreachable!(),
/// }
/// ```
#[derive(Clone)]
pub struct Select<'a> {
    operations: Vec<Operation<'a>>,
    next: usize,
    biased: bool,
}

// SAFETY: a select holds shared references to ends. Those of a channel whose messages are not Send cannot have left their thread, and without them a message that a
// moved select receives can neither be taken out (`SelectedOperation::recv` needs the receiver) nor dropped (its drop forgets it).
unsafe impl Send for Select<'_> {}
// SAFETY: as above; `&Select` gives access to nothing.
unsafe impl Sync for Select<'_> {}

impl<'a> Select<'a> {
    /// Without operations.
    pub fn new() -> Self {
        Self { operations: Vec::new(), next: 0, biased: false }
    }

    /// Without operations; of those that are ready the first in order is chosen.
    pub fn new_biased() -> Self {
        Self { operations: Vec::new(), next: 0, biased: true }
    }

    fn add(&mut self, operation: Operation<'a>) -> usize {
        self.operations.push(operation);
        self.next += 1;
        operation.index
    }

    /// Adds a send, and returns its index.
    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add(Operation {
            handle: sender,
            index: self.next,
            end: std::ptr::from_ref(sender).cast(),
            receives: false,
            words: 0,
            aligned: true,
            boxed: Place::boxed::<()>,
        })
    }

    /// Adds a receive, and returns its index.
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(Operation {
            handle: receiver,
            index: self.next,
            end: std::ptr::from_ref(receiver).cast(),
            receives: true,
            words: size_of::<T>().div_ceil(8),
            aligned: align_of::<T>() <= 8,
            boxed: Place::boxed::<T>,
        })
    }

    /// Removes an operation. The indices of the others stay.
    ///
    /// # Panics
    ///
    /// If there is no operation with this index, because there never was or it has been removed.
    #[track_caller]
    pub fn remove(&mut self, index: usize) {
        assert!(index < self.next, "index out of bounds; {index} >= {}", self.next);
        let Some(at) = self.operations.iter().position(|operation| operation.index == index) else {
            panic!("no operation with this index");
        };
        self.operations.remove(at);
    }

    /// Chooses, by `choose`, with a place for the message.
    fn choose(
        &mut self,
        choose: impl FnOnce(&[Case<'_>], How) -> Option<(usize, Option<Token>)>,
    ) -> Option<SelectedOperation<'a>> {
        sched::pass_safepoint();
        let how = How { biased: self.biased, observe: false };
        let mut place = Place::Inline(MaybeUninit::uninit());
        // One place does for all, since one operation is chosen: the largest.
        if let Some(large) = self
            .operations
            .iter()
            .filter(|operation| !operation.aligned || operation.words > INLINE)
            .max_by_key(|operation| (operation.words, !operation.aligned))
        {
            if self.operations.iter().any(|operation| !operation.aligned) {
                return self.choose_each(choose, how);
            }
            place = (large.boxed)();
        }
        let at = place.pointer();
        let cases: Vec<Case<'_>> = self.operations.iter().map(|operation| operation.case(at)).collect();
        let (at, token) = choose(&cases, how)?;
        Some(SelectedOperation::new(self.operations[at], token, place))
    }

    /// As `choose`, with a place of its own for each: for messages of large alignment.
    #[cold]
    fn choose_each(
        &self,
        choose: impl FnOnce(&[Case<'_>], How) -> Option<(usize, Option<Token>)>,
        how: How,
    ) -> Option<SelectedOperation<'a>> {
        let mut places: Vec<Place> = self.operations.iter().map(|operation| (operation.boxed)()).collect();
        let cases: Vec<Case<'_>> = self
            .operations
            .iter()
            .zip(&mut places)
            .map(|(operation, place)| operation.case(place.pointer()))
            .collect();
        let (at, token) = choose(&cases, how)?;
        Some(SelectedOperation::new(self.operations[at], token, places.swap_remove(at)))
    }

    /// Which is ready, by `choose`.
    fn observe(
        &mut self,
        choose: impl FnOnce(&[Case<'_>], How) -> Option<(usize, Option<Token>)>,
    ) -> Option<usize> {
        sched::pass_safepoint();
        let how = How { biased: self.biased, observe: true };
        let cases: Vec<Case<'_>> = self
            .operations
            .iter()
            .map(|operation| Case { handle: operation.handle, place: std::ptr::null_mut(), full: None })
            .collect();
        choose(&cases, how).map(|(at, _)| self.operations[at].index)
    }

    /// Chooses an operation that is ready.
    ///
    /// # Errors
    ///
    /// If at one instant none was.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::channel::{unbounded, Select};
    ///
    /// let (_s, r) = unbounded::<i32>();
    /// let mut select = Select::new();
    /// select.recv(&r);
    /// assert!(select.try_select().is_err());
    /// ```
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.choose(case::try_once).ok_or(TrySelectError)
    }

    /// Waits until an operation is ready, and chooses it.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Cancellation
    ///
    /// A cancelled goroutine unwinds here if it has to wait.
    ///
    /// # Panics
    ///
    /// If there is no operation: it would wait for ever.
    #[track_caller]
    pub fn select(&mut self) -> SelectedOperation<'a> {
        assert!(!self.operations.is_empty(), "no operations have been added to `Select`");
        match self.choose(|cases, how| case::wait(cases, how, u64::MAX)) {
            Some(operation) => operation,
            None => unreachable!("a wait without deadline ends with a choice"),
        }
    }

    /// As [`select`](Self::select), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// If none was ready in time.
    pub fn select_timeout(&mut self, timeout: Duration) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.select_until(clock::deadline_after(timeout))
    }

    /// As [`select`](Self::select), until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// If none was ready in time.
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.select_until(clock::of_instant(deadline))
    }

    fn select_until(&mut self, deadline: u64) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.choose(|cases, how| case::wait(cases, how, deadline)).ok_or(SelectTimeoutError)
    }

    /// The index of an operation that is ready. Nothing is done; by the time the caller does it, it may have to wait again.
    ///
    /// # Errors
    ///
    /// If at one instant none was ready.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.observe(case::try_once).ok_or(TryReadyError)
    }

    /// Waits until an operation is ready, and returns its index.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Cancellation
    ///
    /// A cancelled goroutine unwinds here if it has to wait.
    ///
    /// # Panics
    ///
    /// If there is no operation: it would wait for ever.
    #[track_caller]
    pub fn ready(&mut self) -> usize {
        assert!(!self.operations.is_empty(), "no operations have been added to `Select`");
        match self.observe(|cases, how| case::wait(cases, how, u64::MAX)) {
            Some(index) => index,
            None => unreachable!("a wait without deadline ends with a choice"),
        }
    }

    /// As [`ready`](Self::ready), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// If none was ready in time.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.ready_until(clock::deadline_after(timeout))
    }

    /// As [`ready`](Self::ready), until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// If none was ready in time.
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.ready_until(clock::of_instant(deadline))
    }

    fn ready_until(&mut self, deadline: u64) -> Result<usize, ReadyTimeoutError> {
        self.observe(|cases, how| case::wait(cases, how, deadline)).ok_or(ReadyTimeoutError)
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}

/// Words of a message that need no allocation.
const INLINE: usize = 8;

/// Room for a received message whose type only the receiver knows.
enum Place {
    Inline(MaybeUninit<[u64; INLINE]>),
    /// A `Box<MaybeUninit<T>>` as a pointer, and what frees it.
    Boxed(*mut (), unsafe fn(*mut ())),
}

impl Place {
    fn boxed<T>() -> Self {
        /// # Safety
        ///
        /// - `place` was made by `boxed::<T>` and is freed once.
        unsafe fn free<T>(place: *mut ()) {
            // SAFETY: the caller's contract.
            drop(unsafe { Box::from_raw(place.cast::<MaybeUninit<T>>()) });
        }
        Self::Boxed(Box::into_raw(Box::new(MaybeUninit::<T>::uninit())).cast(), free::<T>)
    }

    /// Stays the same for a boxed place; for an inline one, while it is not moved.
    fn pointer(&mut self) -> *mut () {
        match self {
            Self::Inline(words) => words.as_mut_ptr().cast(),
            Self::Boxed(place, _) => *place,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Boxed(place, free) = *self {
            // SAFETY: from `boxed`, and we are being dropped.
            unsafe { free(place) };
        }
    }
}

/// An operation that was chosen and has to be completed, with [`send`](Self::send) or [`recv`](Self::recv) on the same end that was given to the [`Select`].
///
/// # Panics
///
/// Dropping it uncompleted panics; a message that it has received is lost then.
#[must_use]
pub struct SelectedOperation<'a> {
    operation: Operation<'a>,
    token: Option<Token>,
    place: Place,
    marker: PhantomData<&'a ()>,
}

impl<'a> SelectedOperation<'a> {
    fn new(operation: Operation<'a>, token: Option<Token>, place: Place) -> Self {
        Self { operation, token, place, marker: PhantomData }
    }

    /// The index that adding the operation returned.
    pub fn index(&self) -> usize {
        self.operation.index
    }

    /// Completes a send.
    ///
    /// # Errors
    ///
    /// Gives the message back if the channel is disconnected.
    ///
    /// # Panics
    ///
    /// If `sender` is not the one that was given to the select.
    #[track_caller]
    pub fn send<T>(mut self, sender: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        assert!(
            std::ptr::eq(self.operation.end, std::ptr::from_ref(sender).cast()),
            "passed a sender that wasn't selected"
        );
        match self.token.take() {
            Some(Token::Sending(chosen)) => sender.complete(chosen, message).map_err(SendError),
            _ => Err(SendError(message)),
        }
    }

    /// Completes a receive.
    ///
    /// # Errors
    ///
    /// If the channel is empty and disconnected.
    ///
    /// # Panics
    ///
    /// If `receiver` is not the one that was given to the select.
    #[track_caller]
    pub fn recv<T>(mut self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        assert!(
            std::ptr::eq(self.operation.end, std::ptr::from_ref(receiver).cast()),
            "passed a receiver that wasn't selected"
        );
        match self.token.take() {
            // SAFETY: the token says that a message of this receiver, so of type T, was put there.
            Some(Token::Received) => Ok(unsafe { self.place.pointer().cast::<T>().read() }),
            _ => Err(RecvError),
        }
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.operation.handle.abandon(token);
            if !crate::routine::unwind::panicking() {
                panic!("dropped `SelectedOperation` without completing the operation");
            }
        }
    }
}
