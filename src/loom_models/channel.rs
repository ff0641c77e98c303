//! Models of the channels: the rendezvous, the bounded ring, the list, closing, and select. Real code on loom's threads; loom reports a deadlock when all sleep,
//! so a lost wake-up is found, and values count their drops, so a lost or doubled value is.

use std::mem::MaybeUninit;
use std::task::{Poll, Wake, Waker};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::buffered::Buffered;
use super::case::{self, Case, Handle, How, Token};
use super::err::{RecvTimeoutError, SendTimeoutError, TrySendError};
use super::flavor::{Flavor, RECV, Received, SEND, WATCH};
use super::list::List;
use super::ring::Ring;
use super::zero::Zero;
use crate::loom_models::{both_first, fork};
use crate::routine::Ticket;
use crate::sched::park::{spawn, time_out};
use crate::sched::waitq::Node;

type Bounded = Buffered<Ring<usize>>;
type Unbounded = Buffered<List<usize>>;

const NEVER: u64 = u64::MAX;

fn bounded(capacity: usize) -> Arc<Bounded> {
    Arc::new(Buffered::new(Ring::new(capacity)))
}

fn zero() -> Arc<Zero<usize>> {
    Arc::new(Zero::new())
}

fn send(channel: &impl Flavor<usize>, value: usize) {
    assert!(channel.send(value, NEVER).is_ok());
}

/// `send` from a thread of its own.
fn sender<C: Flavor<usize> + 'static>(channel: &Arc<C>, value: usize) -> thread::JoinHandle<()> {
    let channel = channel.clone();
    fork(move || send(&*channel, value))
}

#[test]
fn loom_a_rendezvous_hands_each_value_over_once() {
    both_first(|| {
        let channel = zero();
        let other = channel.clone();
        let sender = fork(move || (1..=2).for_each(|value| send(&*other, value)));
        assert_eq!(channel.recv(NEVER), Ok(1));
        assert_eq!(channel.recv(NEVER), Ok(2));
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_rendezvous_that_times_out_keeps_its_value() {
    both_first(|| {
        let channel = zero();
        let other = channel.clone();
        let (task, sender) = spawn(move || other.send(7, 1));
        let other = channel.clone();
        let receiver = fork(move || other.try_recv().ok());
        time_out(task);
        match receiver.join().unwrap() {
            Some(value) => {
                assert_eq!(value, 7);
                assert!(sender.join().unwrap().is_ok());
            }
            None => {
                // Nobody else receives: closing ends the send if time has not.
                channel.close();
                assert_eq!(sender.join().unwrap().unwrap_err().into_inner(), 7);
            }
        }
    });
}

#[test]
fn loom_closing_wakes_who_waits_in_a_rendezvous() {
    both_first(|| {
        let channel = zero();
        let other = channel.clone();
        let receiver = fork(move || other.recv(NEVER));
        channel.close();
        assert_eq!(receiver.join().unwrap(), Err(RecvTimeoutError::Disconnected));
        let channel = zero();
        let other = channel.clone();
        let sender = fork(move || other.send(7, NEVER));
        channel.close();
        assert_eq!(sender.join().unwrap(), Err(SendTimeoutError::Disconnected(7)));
    });
}

#[test]
fn loom_a_full_ring_loses_no_sender() {
    both_first(|| {
        let channel = bounded(1);
        send(&*channel, 1);
        let sender = sender(&channel, 2);
        assert_eq!(channel.recv(NEVER), Ok(1));
        assert_eq!(channel.recv(NEVER), Ok(2));
        sender.join().unwrap();
        assert_eq!(channel.len(), 0);
    });
}

#[test]
fn loom_an_empty_ring_loses_no_receiver() {
    both_first(|| {
        let channel = bounded(2);
        let other = channel.clone();
        let receiver = fork(move || other.recv(NEVER).unwrap());
        send(&*channel, 1);
        assert_eq!(receiver.join().unwrap(), 1);
    });
}

#[test]
fn loom_one_pop_and_one_push_are_enough_to_wake() {
    both_first(|| {
        // Nobody comes again who could make up for a wake-up that was lost.
        let (full, empty) = (bounded(1), bounded(1));
        send(&*full, 1);
        let sender = sender(&full, 2);
        assert!(matches!(full.try_recv(), Ok(1)));
        sender.join().unwrap();
        let other = empty.clone();
        let receiver = fork(move || other.recv(NEVER).unwrap());
        assert!(empty.try_send(3).is_ok());
        assert_eq!(receiver.join().unwrap(), 3);
    });
}

#[test]
fn loom_two_senders_take_two_places_of_a_ring() {
    both_first(|| {
        let channel = bounded(2);
        let other = channel.clone();
        let sender = fork(move || other.try_send(1).is_ok());
        assert!(channel.try_send(2).is_ok());
        assert!(sender.join().unwrap());
        assert_eq!(channel.try_recv().unwrap() + channel.try_recv().unwrap(), 3);
    });
}

#[test]
fn loom_a_ring_keeps_the_order_of_a_sender() {
    both_first(|| {
        let channel = bounded(2);
        let other = channel.clone();
        let sender = fork(move || (1..=2).for_each(|value| assert!(other.try_send(value).is_ok())));
        let first = channel.try_recv();
        sender.join().unwrap();
        match first {
            Ok(1) => assert_eq!(channel.try_recv(), Ok(2)),
            Err(_) => assert_eq!((channel.try_recv(), channel.try_recv()), (Ok(1), Ok(2))),
            Ok(other) => panic!("{other}"),
        }
    });
}

#[test]
fn loom_a_send_that_succeeds_beside_a_close_is_received() {
    both_first(|| {
        let channel = bounded(1);
        let other = channel.clone();
        let sender = fork(move || match other.try_send(7) {
            Ok(()) => 1,
            Err(TrySendError::Disconnected(7)) => 0,
            Err(other) => panic!("{other:?}"),
        });
        channel.close();
        let before = usize::from(channel.try_recv().is_ok());
        let sent = sender.join().unwrap();
        let after = usize::from(channel.try_recv().is_ok());
        assert_eq!(before + after, sent);
        // What the closer saw as the end was the end.
        assert_eq!(channel.recv(NEVER), Err(RecvTimeoutError::Disconnected));
    });
}

#[test]
fn loom_a_list_loses_nothing_where_blocks_meet() {
    both_first(|| {
        // Blocks of one slot: every value begins a block and frees one.
        let channel: Arc<Unbounded> = Arc::new(Buffered::new(List::new()));
        let other = channel.clone();
        let sender = fork(move || other.try_send(1).is_ok());
        assert!(channel.try_send(2).is_ok());
        let first = channel.try_recv().unwrap();
        assert!(sender.join().unwrap());
        assert_eq!(first + channel.try_recv().unwrap(), 3);
    });
}

#[test]
fn loom_a_list_that_is_dropped_drops_what_is_in_it() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    both_first(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let channel: Arc<Buffered<List<Counted>>> = Arc::new(Buffered::new(List::new()));
        let (other, value) = (channel.clone(), Counted(drops.clone()));
        let sender = fork(move || assert!(other.try_send(value).is_ok()));
        assert!(channel.try_send(Counted(drops.clone())).is_ok());
        drop(channel.try_recv());
        sender.join().unwrap();
        drop(channel);
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    });
}

/// One side of a channel as a case.
struct Side<'a, C>(&'a C, usize);

impl<C: Flavor<usize>> Handle for Side<'_, C> {
    fn is_ready(&self) -> bool {
        self.0.is_ready(self.1)
    }
    fn stamp(&self) -> usize {
        self.0.stamp(self.1)
    }
    fn due(&self) -> u64 {
        NEVER
    }
    unsafe fn attempt(&self, place: *mut ()) -> Option<Token> {
        if self.1 == SEND {
            return self.0.offer().map(|sending| Token::Sending(case::Chosen(sending)));
        }
        // SAFETY: the caller's contract.
        let place = unsafe { &mut *place.cast::<MaybeUninit<usize>>() };
        self.0.take(place).map(|received| match received {
            Received::Value => Token::Received,
            Received::Closed => Token::Closed,
        })
    }
    fn announce(&self) -> u64 {
        self.0.announce(self.1)
    }
    unsafe fn watch(&self, observe: bool, announced: u64, node: &Node, ticket: Ticket) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.0.watch(self.1, observe, announced, node, ticket) }
    }
    fn forget(&self, observe: bool, node: &Node) {
        self.0.queue().forget(if observe { self.1 + WATCH } else { self.1 }, node);
    }
    fn answered(&self, answer: usize) -> Option<Token> {
        if self.1 == SEND {
            return self.0.offered(answer).map(|sending| Token::Sending(case::Chosen(sending)));
        }
        self.0.taken(answer).map(|_| Token::Received)
    }
    fn abandon(&self, token: Token) {
        if let Token::Sending(case::Chosen(sending)) = token {
            self.0.abandon(sending);
        }
    }
}

/// Receives from the first of two channels that has something; which, and what (`None`: closed).
fn select<A: Flavor<usize>, B: Flavor<usize>>(a: &A, b: &B) -> (usize, Option<usize>) {
    let mut place = MaybeUninit::<usize>::uninit();
    let (a, b) = (Side(a, RECV), Side(b, RECV));
    let at: *mut () = place.as_mut_ptr().cast();
    let cases = [
        Case { handle: &a as &dyn Handle, place: at, full: None },
        Case { handle: &b as &dyn Handle, place: at, full: None },
    ];
    match case::wait(&cases, How::taking_part(false), NEVER) {
        // SAFETY: the token says that there is a value.
        Some((index, Some(Token::Received))) => (index, Some(unsafe { place.assume_init() })),
        Some((index, _)) => (index, None),
        None => panic!("it waits for ever"),
    }
}

#[test]
fn loom_a_select_takes_each_value_once() {
    both_first(|| {
        let (a, b) = (zero(), bounded(1));
        let (c, d) = (a.clone(), b.clone());
        let sender = fork(move || {
            send(&*d, 2);
            send(&*c, 1);
        });
        // The second may be there by the time the first is looked for.
        let mut got = [select(&*a, &*b), select(&*a, &*b)];
        got.sort_unstable();
        assert_eq!(got, [(0, Some(1)), (1, Some(2))]);
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_select_sees_a_close() {
    both_first(|| {
        let (a, b) = (zero(), bounded(1));
        let (c, d) = (a.clone(), b.clone());
        let other = fork(move || {
            c.close();
            send(&*d, 2);
        });
        match select(&*a, &*b) {
            (0, None) => assert_eq!(b.recv(NEVER), Ok(2)),
            (1, Some(2)) => {}
            other => panic!("{other:?}"),
        }
        other.join().unwrap();
    });
}

/// Chooses to send, and then sends `value`.
fn select_send<C: Flavor<usize>>(channel: &C, value: usize) -> Result<(), usize> {
    let side = Side(channel, SEND);
    let cases = [Case { handle: &side as &dyn Handle, place: std::ptr::null_mut(), full: None }];
    match case::wait(&cases, How::taking_part(false), NEVER) {
        Some((0, Some(Token::Sending(chosen)))) => channel.complete(chosen.0, value),
        _ => panic!("it waits for ever"),
    }
}

#[test]
fn loom_selects_meet_in_a_rendezvous() {
    both_first(|| {
        let (a, b) = (zero(), zero());
        let c = a.clone();
        let sender = fork(move || select_send(&*c, 7));
        assert_eq!(select(&*a, &*b), (0, Some(7)));
        assert_eq!(sender.join().unwrap(), Ok(()));
    });
}

#[test]
fn loom_a_chosen_send_that_is_given_up_leaves_its_place() {
    both_first(|| {
        let channel = bounded(1);
        let other = channel.clone();
        let chooser = fork(move || {
            let sending = other.offer().expect("there is room, or it is taken and goes");
            other.abandon(sending);
        });
        let other = channel.clone();
        chooser.join().unwrap();
        let sender = fork(move || send(&*other, 1));
        assert_eq!(channel.recv(NEVER), Ok(1));
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_receiver_waits_for_a_chosen_send() {
    both_first(|| {
        let channel = bounded(1);
        let other = channel.clone();
        let chooser = fork(move || select_send(&*other, 7));
        assert_eq!(channel.recv(NEVER), Ok(7));
        assert_eq!(chooser.join().unwrap(), Ok(()));
    });
}

/// Wakes a thread that polls.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls until ready, and sleeps in between until it is woken.
fn block_on<R>(mut poll: impl FnMut(&Waker) -> Poll<R>) -> R {
    let waker = Waker::from(std::sync::Arc::new(Unpark(thread::current())));
    loop {
        match poll(&waker) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn recv_async(channel: &impl Flavor<usize>) -> Option<usize> {
    let mut id = None;
    block_on(|waker| channel.poll_recv(&mut id, waker)).ok()
}

fn send_async(channel: &impl Flavor<usize>, value: usize) {
    let (mut message, mut id) = (Some(value), None);
    assert!(block_on(|waker| channel.poll_send(&mut message, &mut id, waker)).is_ok());
}

#[test]
fn loom_a_future_receives_what_is_sent_beside_it() {
    both_first(|| {
        let channel = bounded(1);
        let sender = sender(&channel, 7);
        assert_eq!(recv_async(&*channel), Some(7));
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_future_that_receives_meets_a_sender_that_waits() {
    both_first(|| {
        let channel = zero();
        let sender = sender(&channel, 7);
        assert_eq!(recv_async(&*channel), Some(7));
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_future_that_sends_meets_a_receiver_that_waits() {
    both_first(|| {
        let channel = zero();
        let other = channel.clone();
        let sender = fork(move || send_async(&*other, 7));
        assert_eq!(channel.recv(NEVER), Ok(7));
        sender.join().unwrap();
    });
}

#[test]
fn loom_futures_meet_in_a_rendezvous() {
    both_first(|| {
        let channel = zero();
        let other = channel.clone();
        let sender = fork(move || send_async(&*other, 7));
        assert_eq!(recv_async(&*channel), Some(7));
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_future_that_sends_gets_the_room_that_is_made() {
    both_first(|| {
        let channel = bounded(1);
        send(&*channel, 1);
        let other = channel.clone();
        let sender = fork(move || send_async(&*other, 2));
        assert_eq!(channel.recv(NEVER), Ok(1));
        assert_eq!(channel.recv(NEVER), Ok(2));
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_future_sees_a_close() {
    both_first(|| {
        let channel = bounded(1);
        let other = channel.clone();
        let closer = fork(move || other.close());
        assert_eq!(recv_async(&*channel), None);
        closer.join().unwrap();
    });
}

#[test]
fn loom_a_future_that_goes_passes_its_news_on() {
    both_first(|| {
        let channel = bounded(2);
        let (mut gone, waker) = (None, Waker::noop());
        assert!(channel.poll_recv(&mut gone, waker).is_pending());
        let (other, more) = (channel.clone(), sender(&channel, 7));
        let receiver = fork(move || recv_async(&*other));
        // Told or not.
        if let Some(id) = gone {
            Flavor::<usize>::leave(&*channel, RECV, id);
        }
        assert_eq!(receiver.join().unwrap(), Some(7));
        more.join().unwrap();
    });
}
