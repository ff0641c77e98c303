//! Ends as cases of a select: what [`case`](super::case) asks, answered by the flavor.

use std::mem::MaybeUninit;

use super::case::{Chosen, Handle, Token};
use super::ends::{Receiver, ReceiverFlavor, Sender, SenderFlavor, with};
use super::flavor::{Flavor, RECV, Received, SEND, WATCH};
use crate::routine::Ticket;
use crate::sched::waitq::Node;
use crate::sys::clock;

impl<T> Handle for Receiver<T> {
    fn is_ready(&self) -> bool {
        with!(&self.flavor, ReceiverFlavor, c => Flavor::<T>::is_ready(&**c, RECV),
            _ => self.due() <= clock::now_ns(),
        )
    }

    fn stamp(&self) -> usize {
        with!(&self.flavor, ReceiverFlavor, c => Flavor::<T>::stamp(&**c, RECV),
            _ => usize::from(self.is_ready()),
        )
    }

    fn due(&self) -> u64 {
        Self::due(self)
    }

    unsafe fn attempt(&self, place: *mut ()) -> Option<Token> {
        // SAFETY: the caller's contract.
        let place = unsafe { &mut *place.cast::<MaybeUninit<T>>() };
        let received = with!(&self.flavor, ReceiverFlavor, c => c.take(place),
            _ => self.try_recv().ok().map(|message| {
                place.write(message);
                Received::Value
            }),
        );
        received.map(received_token)
    }

    unsafe fn watch(&self, observe: bool, announced: u64, node: &Node, ticket: Ticket) -> bool {
        with!(&self.flavor, ReceiverFlavor, c => {
            // SAFETY: the caller's contract.
            unsafe { Flavor::<T>::watch(&**c, RECV, observe, announced, node, ticket) }
        }, ReceiverFlavor::Clock(clock, _) => {
            // SAFETY: the caller's contract.
            unsafe { clock.watch(observe, node, ticket) }
        }, _ => self.due() > clock::now_ns())
    }

    fn forget(&self, observe: bool, node: &Node) {
        let list = if observe { RECV + WATCH } else { RECV };
        with!(&self.flavor, ReceiverFlavor, c => Flavor::<T>::queue(&**c).forget(list, node),
            ReceiverFlavor::Clock(clock, _) => clock.forget(observe, node),
            _ => {});
    }

    fn answered(&self, answer: usize) -> Option<Token> {
        with!(&self.flavor, ReceiverFlavor, c => Flavor::<T>::taken(&**c, answer), _ => None)
            .map(received_token)
    }

    fn abandon(&self, _: Token) {}
}

fn received_token(received: Received) -> Token {
    match received {
        Received::Value => Token::Received,
        Received::Closed => Token::Closed,
    }
}

impl<T> Handle for Sender<T> {
    fn is_ready(&self) -> bool {
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::is_ready(&**c, SEND))
    }

    fn stamp(&self) -> usize {
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::stamp(&**c, SEND))
    }

    fn due(&self) -> u64 {
        u64::MAX
    }

    unsafe fn attempt(&self, _: *mut ()) -> Option<Token> {
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::offer(&**c))
            .map(|sending| Token::Sending(Chosen(sending)))
    }

    unsafe fn watch(&self, observe: bool, announced: u64, node: &Node, ticket: Ticket) -> bool {
        with!(&self.flavor, SenderFlavor, c => {
            // SAFETY: the caller's contract.
            unsafe { Flavor::<T>::watch(&**c, SEND, observe, announced, node, ticket) }
        })
    }

    fn announce(&self) -> u64 {
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::announce(&**c, SEND))
    }

    fn forget(&self, observe: bool, node: &Node) {
        let list = if observe { SEND + WATCH } else { SEND };
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::queue(&**c).forget(list, node));
    }

    fn answered(&self, answer: usize) -> Option<Token> {
        with!(&self.flavor, SenderFlavor, c => Flavor::<T>::offered(&**c, answer))
            .map(|sending| Token::Sending(Chosen(sending)))
    }

    fn abandon(&self, token: Token) {
        if let Token::Sending(Chosen(sending)) = token {
            with!(&self.flavor, SenderFlavor, c => Flavor::<T>::abandon(&**c, sending));
        }
    }
}

impl<T> Sender<T> {
    /// Sends what was chosen.
    pub(super) fn complete(&self, chosen: Chosen, message: T) -> Result<(), T> {
        with!(&self.flavor, SenderFlavor, c => c.complete(chosen.0, message))
    }
}
