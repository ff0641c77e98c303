//! Says once on standard error that memory ran out, and which limit it was. Called by `entry` when it returns null. Allocates nothing: the text is put together in a buffer on the
//! stack.

use std::sync::atomic::{AtomicBool, Ordering};

use super::owner::Exhausted;
use crate::sys::{limits, signal};

static IS_SAID: AtomicBool = AtomicBool::new(false);

/// Fixed text and numbers, as far as they fit.
struct Text {
    bytes: [u8; 512],
    len: usize,
}

impl Text {
    fn add(&mut self, text: &str) -> &mut Self {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        self
    }

    fn number(&mut self, mut number: usize) -> &mut Self {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.add(std::str::from_utf8(&digits[at..]).unwrap_or("?"))
    }
}

/// Names the block that could not be had, and the limit; the first time only.
#[cold]
pub(super) fn exhausted(what: Exhausted) {
    if IS_SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    let mut text = Text { bytes: [0; 512], len: 0 };
    text.add("greenroutine: heap: no memory for a block of ").number(what.bytes).add(" bytes: ");
    let address_space = limits::address_space();
    if what.errno == 0 {
        text.add("it does not fit into what is left of the heap's reservation");
        match address_space {
            Some(limit) => text
                .add(", which is at most half of the address space limit of ")
                .number(limit)
                .add(" bytes (ulimit -v): raise it"),
            None => text.add(" (`greenroutine doctor` shows its size)"),
        };
    } else {
        text.add("the kernel refused it (errno ").number(what.errno.unsigned_abs() as usize).add("); ");
        match address_space {
            Some(limit) => text.add("the address space limit is ").number(limit).add(" bytes (ulimit -v)"),
            None => text.add("`greenroutine doctor` shows the limits on memory"),
        };
    }
    text.add(". This is said once.\n");
    signal::write_stderr(&text.bytes[..text.len]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_text_are_put_together() {
        let mut text = Text { bytes: [0; 512], len: 0 };
        text.add("a ").number(0).add(" b ").number(18_446_744_073_709_551_615);
        assert_eq!(&text.bytes[..text.len], b"a 0 b 18446744073709551615");
        let long = "x".repeat(600);
        text.add(&long);
        assert_eq!(text.len, 512);
    }
}
