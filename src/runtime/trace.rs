//! Recording what goroutines do, for <https://ui.perfetto.dev> or `chrome://tracing`: who ran when on which worker, what each waited for, who woke whom.
//!
//! Either everything is written while it happens ([`start`]), or the last records are kept in memory, about 65,000 for each worker, and written when something has gone wrong
//! ([`flight_recorder`], [`snapshot`], [`write_on_panic`]). All runtimes of the process are recorded.
//!
//! While nothing is recorded this costs nothing. A record costs a reading of the clock (about 30 ns) for each switch.
//!
//! # Examples
//!
//! ```
//! use greenroutine::{go, runtime::trace};
//! use std::sync::{Arc, Mutex};
//!
//! # struct Buffer(Arc<Mutex<Vec<u8>>>);
//! # impl std::io::Write for Buffer {
//! #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! let buffer = Arc::new(Mutex::new(Vec::new()));
//! trace::start(Buffer(buffer.clone()))?; // Or a file: std::fs::File::create("trace.json")?
//! greenroutine::run(|| go(|| ()).join().unwrap());
//! trace::stop()?;
//! assert!(buffer.lock().unwrap().starts_with(b"{\"displayTimeUnit\""));
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use crate::diag::trace;

/// Begins to write a trace to `writer`, on a thread of its own, until [`stop`].
///
/// # Errors
///
/// If something is being recorded already, the beginning cannot be written, or there is no thread.
pub fn start(writer: impl Write + Send + 'static) -> io::Result<()> {
    trace::start(Box::new(BufWriter::new(writer)))
}

/// Ends the recording, and completes the trace that [`start`] has begun. Without one, does nothing.
///
/// # Errors
///
/// The first error of the writer; the trace ends there.
pub fn stop() -> io::Result<()> {
    trace::stop()
}

/// Begins to keep the last records in memory, for [`snapshot`], until [`stop`].
///
/// # Errors
///
/// If something is being recorded already.
pub fn flight_recorder() -> io::Result<()> {
    trace::start_flight()
}

/// Writes what the flight recorder has, as a complete trace. It goes on.
///
/// # Errors
///
/// Those of the writer.
///
/// # Examples
///
/// ```
/// use greenroutine::runtime::trace;
///
/// trace::flight_recorder()?;
/// greenroutine::run(|| greenroutine::yield_now());
/// let mut text = Vec::new();
/// trace::snapshot(&mut text)?;
/// trace::stop()?;
/// assert!(text.ends_with(b"]}\n"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn snapshot(writer: impl Write) -> io::Result<()> {
    trace::snapshot(&mut BufWriter::new(writer))
}

/// Has the first panic, on any thread or goroutine, write what the flight recorder has to a file, before the panic hook that was there. Errors are printed on standard error.
pub fn write_on_panic(path: impl Into<PathBuf>) {
    let path = path.into();
    let once = std::sync::Once::new();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        once.call_once(|| {
            let written = std::fs::File::create(&path).and_then(snapshot);
            match written {
                Ok(()) => eprintln!("greenroutine: the trace until here is in {}", path.display()),
                Err(error) => eprintln!("greenroutine: no trace in {}: {error}", path.display()),
            }
        });
        before(info);
    }));
}
