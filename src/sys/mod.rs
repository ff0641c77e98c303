//! The operating system, one file per facility. Everything that calls libc is here and nowhere else.
//!
//! Contract of the layer: thin, stateless wrappers with typed errors. It knows no goroutine and has no policy. The only
//! state is the table of fault handlers in [`signal`], which has to be process-wide because signal handlers are.
//!
//! | file | facility |
//! | --- | --- |
//! | `error` | what failed, with which size, and the knob that fixes it |
//! | `mem` | reserve, commit, guard, give back |
//! | `signal` | SIGSEGV dispatch, alternate stacks |
//! | `futex` | sleep until a word changes |
//! | `clock` | monotonic nanoseconds |
//! | `thread` | thread names, timer slack, the process-wide barrier |
//! | `epoll` | readiness of descriptors |
//! | `socket` | sockets: what std has no function for |
//! | `file` | files: what is in memory already |
//! | `stop` | the signal that stops threads, and what it interrupted |
//! | `look` | what a thread is doing at this moment |
//! | `uffd` | which pages were written to |
//! | `segments` | writable data and thread-local storage of what is loaded |
//! | `tasks` | the threads of the process, and which of them sleep |
//! | `images` | the program and its libraries as they are loaded |
//! | `quit` | SIGQUIT, counted |
//! | `sanitizer` | what the sanitizers' runtimes must be told |
//! | `limits` | what this kernel and its settings allow: what `doctor` prints |

pub(crate) mod clock;
pub(crate) mod epoll;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod futex;
#[cfg(feature = "backtrace")]
pub(crate) mod images;
pub(crate) mod limits;
#[cfg(feature = "backtrace")]
pub(crate) mod look;
pub(crate) mod mem;
pub(crate) mod quit;
pub(crate) mod sanitizer;
pub(crate) mod segments;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod stop;
pub(crate) mod tasks;
pub(crate) mod thread;
pub(crate) mod uffd;

pub(crate) use error::OsError;
