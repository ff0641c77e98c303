//! The errors: their texts, what `Debug` shows, conversions, questions, and what they carry.
//!
//! Written from what crossbeam-channel 0.5 (MIT OR Apache-2.0) documents of its errors.

mod common;

use std::error::Error;
use std::fmt::{Debug, Display};

use common::on_all;
use greenroutine::channel::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError, SendTimeoutError,
    TryReadyError, TryRecvError, TrySelectError, TrySendError, bounded, unbounded,
};

/// What cannot be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Opaque;

fn texts(error: &(impl Display + Debug)) -> (String, String) {
    (error.to_string(), format!("{error:?}"))
}

#[track_caller]
fn check(error: &(impl Display + Debug), display: &str, debug: &str) {
    assert_eq!(texts(error), (display.to_owned(), debug.to_owned()));
}

#[test]
fn they_say_what_happened_and_show_no_message() {
    check(&SendError(Opaque), "sending on a disconnected channel", "SendError(..)");
    check(&TrySendError::Full(Opaque), "sending on a full channel", "Full(..)");
    check(&TrySendError::Disconnected(Opaque), "sending on a disconnected channel", "Disconnected(..)");
    let timeout = "timed out waiting on send operation";
    check(&SendTimeoutError::Timeout(Opaque), timeout, "SendTimeoutError(..)");
    let gone = "sending on a disconnected channel";
    check(&SendTimeoutError::Disconnected(Opaque), gone, "SendTimeoutError(..)");
    let end = "receiving on an empty and disconnected channel";
    check(&RecvError, end, "RecvError");
    check(&TryRecvError::Empty, "receiving on an empty channel", "Empty");
    check(&TryRecvError::Disconnected, end, "Disconnected");
    check(&RecvTimeoutError::Timeout, "timed out waiting on receive operation", "Timeout");
    check(&RecvTimeoutError::Disconnected, "channel is empty and disconnected", "Disconnected");
    check(&TrySelectError, "all operations in select would block", "TrySelectError");
    check(&SelectTimeoutError, "timed out waiting on select", "SelectTimeoutError");
    assert_eq!(format!("{TryReadyError:?}"), "TryReadyError");
    assert_eq!(format!("{ReadyTimeoutError:?}"), "ReadyTimeoutError");
}

#[test]
fn they_are_errors_that_a_box_can_hold() {
    let all: Vec<Box<dyn Error + Send + Sync>> = vec![
        SendError(1).into(),
        TrySendError::Full(1).into(),
        SendTimeoutError::Timeout(1).into(),
        RecvError.into(),
        TryRecvError::Empty.into(),
        RecvTimeoutError::Timeout.into(),
        TrySelectError.into(),
        SelectTimeoutError.into(),
    ];
    assert!(all.iter().all(|error| error.source().is_none() && !error.to_string().is_empty()));
    // One that carries what is not `Debug` or `Sync` is one, too.
    fn is_error<E: Error>(_: &E) {}
    is_error(&SendError(std::cell::Cell::new(1)));
    is_error(&TrySendError::Full(std::cell::Cell::new(1)));
    is_error(&SendTimeoutError::Timeout(std::cell::Cell::new(1)));
}

#[test]
fn they_compare_copy_and_convert() {
    fn check<T: Copy + Eq + Debug>(error: T) {
        let copy = error;
        assert_eq!(copy, error);
    }
    check(SendError(Opaque));
    check(TrySendError::Full(Opaque));
    check(SendTimeoutError::Timeout(Opaque));
    check(RecvError);
    check(TryRecvError::Empty);
    check(RecvTimeoutError::Timeout);
    check(TrySelectError);
    check(SelectTimeoutError);
    check(TryReadyError);
    check(ReadyTimeoutError);
    assert_ne!(SendError(1), SendError(2));
    assert_ne!(TrySendError::Full(1), TrySendError::Disconnected(1));
    assert_eq!(TrySendError::from(SendError(3)), TrySendError::Disconnected(3));
    assert_eq!(SendTimeoutError::from(SendError(4)), SendTimeoutError::Disconnected(4));
    assert_eq!(TryRecvError::from(RecvError), TryRecvError::Disconnected);
    assert_eq!(RecvTimeoutError::from(RecvError), RecvTimeoutError::Disconnected);
}

#[test]
fn they_give_the_message_back_and_answer_questions() {
    on_all(|| {
        let (s, r) = bounded(1);
        s.send(String::from("inside")).unwrap();
        let error = s.try_send(String::from("back")).unwrap_err();
        assert!(error.is_full() && !error.is_disconnected());
        assert_eq!(error.into_inner(), "back");
        let error = s.send_timeout(String::from("back"), common::ms(1)).unwrap_err();
        assert!(error.is_timeout() && !error.is_disconnected());
        assert_eq!(error.into_inner(), "back");
        drop(r);
        let error = s.try_send(String::from("gone")).unwrap_err();
        assert!(!error.is_full() && error.is_disconnected());
        assert_eq!(error.into_inner(), "gone");
        let error = s.send_timeout(String::from("gone"), common::ms(1)).unwrap_err();
        assert!(!error.is_timeout() && error.is_disconnected());
        assert_eq!(error.into_inner(), "gone");
        assert_eq!(s.send(String::from("gone")).unwrap_err().into_inner(), "gone");
        assert_eq!(s.send(String::from("gone")).unwrap_err().0, "gone");

        let (s, r) = unbounded::<()>();
        let error = r.try_recv().unwrap_err();
        assert!(error.is_empty() && !error.is_disconnected());
        let error = r.recv_timeout(common::ms(1)).unwrap_err();
        assert!(error.is_timeout() && !error.is_disconnected());
        drop(s);
        let error = r.try_recv().unwrap_err();
        assert!(!error.is_empty() && error.is_disconnected());
        let error = r.recv_timeout(common::ms(1)).unwrap_err();
        assert!(!error.is_timeout() && error.is_disconnected());
    });
}

#[test]
fn the_question_mark_passes_them_on() {
    fn relay(value: i32) -> Result<i32, Box<dyn Error>> {
        let (s, r) = bounded(1);
        s.send(value)?;
        let value = r.recv()?;
        drop(r);
        s.try_send(value)?;
        Ok(value)
    }
    on_all(|| {
        assert_eq!(relay(1).unwrap_err().to_string(), "sending on a disconnected channel");
    });
}
