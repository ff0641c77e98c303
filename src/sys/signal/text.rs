//! SIGNAL-SAFE. [`Text`]: messages that are put together without allocation, formatting or locks: in signal handlers, under the heap's locks, and while the world is stopped.
#![forbid(unsafe_code)]

use crate::sys::signal::write_stderr;

/// Fixed text and numbers, as far as they fit.
pub(crate) struct Text<const ROOM: usize> {
    bytes: [u8; ROOM],
    len: usize,
}

impl<const ROOM: usize> Text<ROOM> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; ROOM], len: 0 }
    }

    pub(crate) fn add(&mut self, text: &str) -> &mut Self {
        for byte in text.bytes() {
            self.byte(byte);
        }
        self
    }

    /// In decimal.
    pub(crate) fn number(&mut self, number: usize) -> &mut Self {
        self.digits(number, 10)
    }

    /// In hexadecimal, with what says so.
    pub(crate) fn address(&mut self, address: usize) -> &mut Self {
        self.add("0x").digits(address, 16)
    }

    fn digits(&mut self, mut number: usize, base: usize) -> &mut Self {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b"0123456789abcdef"[number % base];
            number /= base;
            if number == 0 {
                break;
            }
        }
        for digit in &digits[at..] {
            self.byte(*digit);
        }
        self
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// To standard error.
    pub(crate) fn write(&self) {
        write_stderr(self.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_text_are_put_together() {
        let mut text = Text::<512>::new();
        text.add("a ").number(0).add(" b ").number(18_446_744_073_709_551_615);
        assert_eq!(text.as_bytes(), b"a 0 b 18446744073709551615");
        let long = "x".repeat(600);
        text.add(&long);
        assert_eq!(text.len, 512);
    }

    #[test]
    fn addresses_are_hexadecimal() {
        let mut text = Text::<64>::new();
        text.address(0).add(" ").address(0x6bdc_0024_0418).add(" ").address(usize::MAX);
        assert_eq!(text.as_bytes(), format!("0x0 0x6bdc00240418 {:#x}", usize::MAX).as_bytes());
    }

    #[test]
    fn text_counts_and_never_overruns() {
        let mut text = Text::<1024>::new();
        text.add("a ");
        text.number(0);
        text.add(" ");
        text.number(usize::MAX);
        assert_eq!(text.as_bytes(), format!("a 0 {}", usize::MAX).as_bytes());
        for _ in 0..2000 {
            text.add("x");
        }
        assert_eq!(text.len, text.bytes.len());
    }
}
