//! SIGQUIT writes the goroutines of all runtimes that ask for it to standard error, on a thread of its own: a signal handler could not.
#![forbid(unsafe_code)]

use std::io;
use std::sync::OnceLock;

use super::stall::{Ours, runtimes};
use crate::sys::quit;

/// Starts the thread. Once; it never ends.
pub(super) fn start() -> io::Result<()> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            quit::install().map_err(|error| error.to_string())?;
            let thread = std::thread::Builder::new().name(String::from("greenroutine-quit"));
            thread.spawn(serve).map(|_| ()).map_err(|error| error.to_string())
        })
        .clone()
        .map_err(io::Error::other)
}

fn serve() {
    let _ours = Ours::new();
    let mut seen = 0;
    loop {
        quit::wait(seen);
        seen = quit::count();
        for core in runtimes().iter().filter(|core| core.config.dump_on_quit) {
            eprintln!("greenroutine: SIGQUIT: {}", crate::describe(core));
        }
    }
}
