//! `select!` and `select_biased!`, in crossbeam-channel's grammar.
//!
//! The cases are bound one after the other, each in a `match` of its own, so that operands are evaluated once, in order, and their temporaries live until
//! the end; the bodies stand in the innermost one, outside any closure, so `break`, `return` and `?` work in them. Each step of the recursion makes the
//! identifier `case` anew, by hygiene, so there is no limit to their number but the recursion limit.

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::time::Duration;

use super::case::{self, Case, Chosen, Handle, How, Token};
use super::ends::{Receiver, Sender};
use super::err::{RecvError, SendError};
use crate::sched;
use crate::sys::clock;

/// A receive, with the place for its message.
pub struct RecvCase<'a, T> {
    receiver: &'a Receiver<T>,
    // No destructor: a message is taken out as soon as it is there, and the macro's other cases must not borrow their operands until the end of the scope.
    place: UnsafeCell<MaybeUninit<T>>,
    /// Whether a message is there: said by `select` and its kin.
    full: Cell<bool>,
}

/// A send.
pub struct SendCase<'a, T> {
    sender: &'a Sender<T>,
}

/// A send that was chosen, while its message is computed. Dropped by a panic or an early exit of that computation, it gives its place back.
pub struct ChosenSend<'a, T> {
    sender: &'a Sender<T>,
    chosen: Option<Chosen>,
}

/// `recv(receiver)`.
#[inline(always)]
pub fn recv_case<T>(receiver: &Receiver<T>) -> RecvCase<'_, T> {
    RecvCase { receiver, place: UnsafeCell::new(MaybeUninit::uninit()), full: Cell::new(false) }
}

/// `send(sender, ..)`.
#[inline(always)]
pub fn send_case<T>(sender: &Sender<T>) -> SendCase<'_, T> {
    SendCase { sender }
}

impl<T> RecvCase<'_, T> {
    /// The case, for choosing.
    #[inline(always)]
    pub fn case(&self) -> Case<'_> {
        Case { handle: self.receiver as &dyn Handle, place: self.place.get().cast(), full: Some(&self.full) }
    }

    /// The message; the error if the case was not chosen, or because its channel is closed.
    #[inline(always)]
    pub fn finish(self) -> Result<T, RecvError> {
        if self.full.get() {
            // SAFETY: `note` has seen the token which says that the message was put there.
            Ok(unsafe { self.place.into_inner().assume_init() })
        } else {
            Err(RecvError)
        }
    }
}

impl<'a, T> SendCase<'a, T> {
    /// The case, for choosing.
    #[inline(always)]
    pub fn case(&self) -> Case<'_> {
        Case { handle: self.sender as &dyn Handle, place: std::ptr::null_mut(), full: None }
    }

    /// The right to send.
    #[inline(always)]
    pub fn chosen(self, token: Token) -> ChosenSend<'a, T> {
        let chosen = if let Token::Sending(chosen) = token { Some(chosen) } else { None };
        ChosenSend { sender: self.sender, chosen }
    }
}

impl<T> ChosenSend<'_, T> {
    /// Sends the message.
    #[inline(always)]
    pub fn send(mut self, message: T) -> Result<(), SendError<T>> {
        match self.chosen.take() {
            Some(chosen) => self.sender.complete(chosen, message).map_err(SendError),
            None => Err(SendError(message)),
        }
    }
}

impl<T> Drop for ChosenSend<'_, T> {
    fn drop(&mut self) {
        if let Some(chosen) = self.chosen.take() {
            self.sender.abandon(Token::Sending(chosen));
        }
    }
}

#[inline]
fn chosen(cases: &[Case<'_>], choice: Option<(usize, Option<Token>)>) -> Option<(usize, Token)> {
    let (index, token) = choice?;
    let token = token.unwrap_or(Token::Closed);
    case::note(cases, index, &token);
    Some((index, token))
}

/// Waits until a case was chosen.
#[inline(always)]
pub fn select<const N: usize>(cases: &[Case<'_>; N], biased: bool) -> (usize, Token) {
    sched::pass_safepoint();
    match chosen(cases, case::wait_for(cases, How::taking_part(biased), u64::MAX)) {
        Some(choice) => choice,
        None => unreachable!("a wait without deadline ends with a choice"),
    }
}

/// Chooses a case if one is ready.
#[inline]
pub fn try_select<const N: usize>(cases: &[Case<'_>; N], biased: bool) -> Option<(usize, Token)> {
    sched::pass_safepoint();
    chosen(cases, case::try_once(cases, How::taking_part(biased)))
}

/// Waits until a case was chosen, for at most `timeout`.
pub fn select_timeout<const N: usize>(
    cases: &[Case<'_>; N],
    biased: bool,
    timeout: Duration,
) -> Option<(usize, Token)> {
    sched::pass_safepoint();
    chosen(cases, case::wait_for(cases, How::taking_part(biased), clock::deadline_after(timeout)))
}

/// An index that no case has.
#[cold]
pub fn no_case() -> ! {
    unreachable!("the chosen case is one of the select's")
}

/// Waits until one of several channel operations can go on, does it, and runs the code beside it. In crossbeam-channel's grammar:
///
/// - `recv(receiver) -> result => body`: `result` is a pattern for the `Result<T, RecvError>`;
/// - `send(sender, message) -> result => body`: `message` is evaluated if the case is chosen; `result` is a pattern for the `Result<(), SendError<T>>`;
/// - `default => body`: if at one instant no operation was ready;
/// - `default(timeout) => body`: if no operation was ready for this long.
///
/// Among operations that are ready one is drawn at random, each with the same probability. Receivers and senders are expressions, evaluated once and in order. All
/// bodies have the same type. Without any case it waits for ever.
///
/// # Blocking
///
/// Parks the calling goroutine, or blocks the calling thread.
///
/// # Cancellation
///
/// A cancelled goroutine unwinds here if it has to wait.
///
/// # Examples
///
/// ```
/// use greenroutine::channel::{bounded, unbounded};
/// use greenroutine::select;
/// use std::time::Duration;
///
/// let (s1, r1) = unbounded();
/// let (s2, r2) = bounded::<i32>(0);
/// s1.send("hello").unwrap();
///
/// select! {
///     recv(r1) -> message => assert_eq!(message, Ok("hello")),
///     recv(r2) -> _ => unreachable!(),
///     default(Duration::from_secs(1)) => unreachable!(),
/// }
/// let sent = select! {
///     send(s2, 1) -> result => result.is_ok(),
///     default => false,
/// };
/// assert!(!sent);
/// ```
#[macro_export]
macro_rules! select {
    ($($cases:tt)*) => {
        $crate::__select!(@parse (false) [] [] (0); $($cases)*)
    };
}

/// As [`select!`], but of the operations that are ready the first in order is chosen.
///
/// # Examples
///
/// ```
/// use greenroutine::{channel, select_biased};
///
/// let (s, r) = channel::unbounded();
/// s.send(1).unwrap();
/// select_biased! {
///     recv(r) -> message => assert_eq!(message, Ok(1)),
///     send(s, 2) -> _ => unreachable!(),
/// }
/// ```
#[macro_export]
macro_rules! select_biased {
    ($($cases:tt)*) => {
        $crate::__select!(@parse (true) [] [] (0); $($cases)*)
    };
}

/// The work of [`select!`]: `@parse biased [cases] [default] (index); rest`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // One case, by the way its body ends.
    (@parse $b:tt $cases:tt $default:tt $i:tt; default => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@default $b $cases $default $i () ($body); $($rest)*)
    };
    (@parse $b:tt $cases:tt $default:tt $i:tt; default => $body:block $($rest:tt)*) => {
        $crate::__select!(@default $b $cases $default $i () ($body); $($rest)*)
    };
    (@parse $b:tt $cases:tt $default:tt $i:tt; default => $body:expr) => {
        $crate::__select!(@default $b $cases $default $i () ($body);)
    };
    (@parse $b:tt $cases:tt $default:tt $i:tt; default $args:tt => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@default $b $cases $default $i $args ($body); $($rest)*)
    };
    (@parse $b:tt $cases:tt $default:tt $i:tt; default $args:tt => $body:block $($rest:tt)*) => {
        $crate::__select!(@default $b $cases $default $i $args ($body); $($rest)*)
    };
    (@parse $b:tt $cases:tt $default:tt $i:tt; default $args:tt => $body:expr) => {
        $crate::__select!(@default $b $cases $default $i $args ($body);)
    };
    (@parse $b:tt $cases:tt $default:tt $i:tt; $kind:ident $args:tt -> $res:pat => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@case $b $cases $default $i $kind $args ($res) ($body); $($rest)*)
    };
    (@parse $b:tt $cases:tt $default:tt $i:tt; $kind:ident $args:tt -> $res:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(@case $b $cases $default $i $kind $args ($res) ($body); $($rest)*)
    };
    (@parse $b:tt $cases:tt $default:tt $i:tt; $kind:ident $args:tt -> $res:pat => $body:expr) => {
        $crate::__select!(@case $b $cases $default $i $kind $args ($res) ($body);)
    };

    // A case: binds its operand around all that follows.
    (@case $b:tt [$($cases:tt)*] $default:tt ($i:expr) recv ($r:expr $(,)?) $res:tt $body:tt; $($rest:tt)*) => {
        match $r {
            ref operand => {
                let case = $crate::channel::__private::recv_case(operand);
                $crate::__select!(@parse $b [$($cases)* (recv case ($i) $res $body)] $default ($i + 1); $($rest)*)
            }
        }
    };
    (@case $b:tt [$($cases:tt)*] $default:tt ($i:expr) send ($s:expr, $m:expr $(,)?) $res:tt $body:tt; $($rest:tt)*) => {
        match $s {
            ref operand => {
                let case = $crate::channel::__private::send_case(operand);
                $crate::__select!(
                    @parse $b [$($cases)* (send case ($i) $res $body ($m))] $default ($i + 1); $($rest)*
                )
            }
        }
    };
    (@case $b:tt $cases:tt $default:tt $i:tt $kind:ident $args:tt $res:tt $body:tt; $($rest:tt)*) => {
        compile_error!(concat!(
            "expected `recv(receiver) -> result => body` or `send(sender, message) -> result => body`, found `",
            stringify!($kind $args), "`"
        ))
    };
    (@default $b:tt $cases:tt [] $i:tt ($(,)?) $body:tt; $($rest:tt)*) => {
        $crate::__select!(@parse $b $cases [try $body] $i; $($rest)*)
    };
    (@default $b:tt $cases:tt [] $i:tt ($timeout:expr $(,)?) $body:tt; $($rest:tt)*) => {
        match $timeout {
            timeout => $crate::__select!(@parse $b $cases [timeout timeout $body] $i; $($rest)*),
        }
    };
    (@default $b:tt $cases:tt $default:tt $i:tt $args:tt $body:tt; $($rest:tt)*) => {
        compile_error!("there can be only one `default` case in a `select!` block")
    };

    // All are bound: choose.
    (@parse ($b:expr) [$(($kind:ident $case:ident $($of:tt)*))*] [] $i:tt;) => {{
        let (index, token) = $crate::channel::__private::select(&[$($case.case()),*], $b);
        $crate::__select!(@arms index token $(($kind $case $($of)*))*)
    }};
    (@parse ($b:expr) [$(($kind:ident $case:ident $($of:tt)*))*] [try ($default:expr)] $i:tt;) => {
        match $crate::channel::__private::try_select(&[$($case.case()),*], $b) {
            $crate::channel::__private::Some((index, token)) => {
                $crate::__select!(@arms index token $(($kind $case $($of)*))*)
            }
            $crate::channel::__private::None => $default,
        }
    };
    (@parse ($b:expr) [$(($kind:ident $case:ident $($of:tt)*))*] [timeout $timeout:ident ($default:expr)] $i:tt;) => {
        match $crate::channel::__private::select_timeout(&[$($case.case()),*], $b, $timeout) {
            $crate::channel::__private::Some((index, token)) => {
                $crate::__select!(@arms index token $(($kind $case $($of)*))*)
            }
            $crate::channel::__private::None => $default,
        }
    };
    (@parse $b:tt $cases:tt $default:tt $i:tt; $($rest:tt)+) => {
        compile_error!(concat!("expected a case of `select!`, found `", stringify!($($rest)+), "`"))
    };

    (@arms $index:ident $token:ident (recv $case:ident ($i:expr) ($res:pat) ($body:expr)) $($arms:tt)*) => {
        if $index == $i {
            let $res = $case.finish();
            $body
        } else {
            $crate::__select!(@arms $index $token $($arms)*)
        }
    };
    (@arms $index:ident $token:ident (send $case:ident ($i:expr) ($res:pat) ($body:expr) ($m:expr)) $($arms:tt)*) => {
        if $index == $i {
            let chosen = $case.chosen($token);
            let $res = chosen.send($m);
            $body
        } else {
            $crate::__select!(@arms $index $token $($arms)*)
        }
    };
    (@arms $index:ident $token:ident) => {{
        let _ = ($index, $token);
        $crate::channel::__private::no_case()
    }};
}
