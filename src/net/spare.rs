//! The spare descriptor. When the process has no descriptor left, `accept` fails at once whether a connection waits or not, and a server that goes on would turn in
//! circles while its clients hang. With one descriptor kept for that day it can take a waiting connection, close it (its client sees the end), and say so. (libev's way.)
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use crate::base::lock::{Lock, Rank};
use crate::sys::socket::{accept, is_out_of_descriptors};

static SPARE: Lock<Option<File>> = Lock::new(Rank::Api, None);

/// Keeps one, if there is none. Without one, errors come as they are.
pub(super) fn keep() {
    let mut spare = SPARE.lock();
    if spare.is_none() {
        *spare = File::open("/dev/null").ok();
    }
}

/// There was no descriptor to accept with: sheds one connection. The result is the error of the whole call: that there is no descriptor, if a connection was shed
/// (or nothing can be told), or "would block", if none waits.
#[cold]
pub(super) fn shed(listener: BorrowedFd<'_>, error: io::Error) -> io::Error {
    let mut spare = SPARE.lock();
    if spare.take().is_none() {
        return error;
    }
    // Whoever gets the free descriptor before us, gets it: then nothing was shed.
    let error = match accept(listener) {
        Ok(shed) => {
            drop(shed);
            error
        }
        Err(other) if is_out_of_descriptors(&other) => error,
        Err(other) => other,
    };
    *spare = File::open("/dev/null").ok();
    error
}
