//! Input and output that fit no other module: [`copy`] between whatever reads and writes, and the standard input, which is read on the blocking pool.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, Read, Write};

use crate::sched::blocking;

/// How much is read at a time: what a socket's buffer holds, about.
const CHUNK: usize = 64 << 10;

/// Copies all that `reader` gives to `writer`. Returns how many bytes there were.
///
/// # Blocking
///
/// As the reader and the writer do.
///
/// # Errors
///
/// The first of either's; what was copied until then is. [`Interrupted`](io::ErrorKind::Interrupted) is tried again.
///
/// # Examples
///
/// ```
/// let mut to = Vec::new();
/// assert_eq!(greenroutine::io::copy(&mut &b"some bytes"[..], &mut to).unwrap(), 10);
/// assert_eq!(to, b"some bytes");
/// ```
pub fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    let mut buf = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let len = match reader.read(&mut buf) {
            Ok(0) => return Ok(total),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        writer.write_all(&buf[..len])?;
        total += len as u64;
    }
}

/// The standard input, with std's buffer: both may be used in turns.
///
/// # Examples
///
/// ```no_run
/// greenroutine::run(|| {
///     for line in greenroutine::io::stdin().lines() {
///         println!("you said: {}", line.unwrap());
///     }
/// });
/// ```
pub fn stdin() -> Stdin {
    Stdin { inner: io::stdin() }
}

/// The standard input. Reading waits on a thread of the blocking pool, and the calling goroutine parks.
///
/// # Cancellation
///
/// A read that waits is waited for: the system has no way to call it off that does not change the input for everybody.
#[derive(Debug)]
pub struct Stdin {
    inner: io::Stdin,
}

impl Stdin {
    /// Appends the next line, with its end, to `buf`. Returns how many bytes that are; 0 at the end of the input.
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        blocking::run(|| self.inner.read_line(buf))
    }

    /// The lines of the input, without their ends.
    pub fn lines(self) -> Lines {
        Lines { stdin: self }
    }
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        blocking::run(|| self.inner.read(buf))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        blocking::run(|| self.inner.read_to_end(buf))
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        blocking::run(|| self.inner.read_to_string(buf))
    }
}

/// The lines of the standard input.
#[derive(Debug)]
#[must_use = "an iterator does nothing by itself"]
pub struct Lines {
    stdin: Stdin,
}

impl Iterator for Lines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        blocking::run(|| self.stdin.inner.lock().lines().next())
    }
}
