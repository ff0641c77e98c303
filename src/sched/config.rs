//! What a runtime was asked for, and the environment variables of the global one. Every value is checked here, so that the
//! error names it, its limits and its source.

#![forbid(unsafe_code)]

use std::io;

use crate::base::parse::parse_bytes;
use crate::stack::{MAX_STACK, MIN_STACK};

/// The most workers a runtime has: the idle mask has 1,024 bits, half of them for spares.
pub(crate) const MAX_WORKERS: usize = 512;
/// `stack_max` unless something else is asked for: whatever runs on a std thread runs on a goroutine.
pub(crate) const DEFAULT_STACK_MAX: usize = 64 << 20;

/// Threads of the blocking pool unless something else is asked for, and at most. tokio has 512 as well: enough to keep any disk busy.
pub(crate) const DEFAULT_BLOCKING_THREADS: usize = 512;
/// The most threads of a blocking pool.
pub(crate) const MAX_BLOCKING_THREADS: usize = 32_768;

/// A runtime's settings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) workers: usize,
    pub(crate) stack_max: usize,
    /// What a goroutine can use before its stack grows for the first time; at most `stack_max`.
    pub(crate) stack_initial: usize,
    pub(crate) name: String,
    /// The most threads of the blocking pool.
    pub(crate) blocking_threads: usize,
    pub(crate) seed: u64,
    pub(crate) free_migration: bool,
    /// Whether to say on standard error, once a worker, that a goroutine keeps it busy.
    pub(crate) report_stuck: bool,
    /// Whether SIGQUIT writes the goroutines to standard error.
    pub(crate) dump_on_quit: bool,
    /// Whether all choices of the one worker are drawn from the seed, and then whether what happens is written down.
    pub(crate) seeded: Option<Log>,
}

/// Whether a seeded run is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// It is.
    Kept,
    /// It is not.
    None,
}

impl Config {
    /// One worker per processor that this process may use, and the defaults.
    pub(crate) fn new() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_WORKERS),
            stack_max: DEFAULT_STACK_MAX,
            stack_initial: 0,
            name: String::from("greenroutine"),
            blocking_threads: DEFAULT_BLOCKING_THREADS,
            seed: 0x5EED,
            free_migration: false,
            report_stuck: false,
            dump_on_quit: false,
            seeded: None,
        }
    }

    /// The global runtime's: the defaults, changed by the environment.
    pub(crate) fn from_environment() -> io::Result<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// As [`Config::from_environment`], with the variables from `get`.
    pub(crate) fn from_variables(get: impl Fn(&str) -> Option<std::ffi::OsString>) -> io::Result<Self> {
        let mut config = Self::new();
        let text = |name: &str| -> io::Result<Option<String>> {
            match get(name) {
                None => Ok(None),
                Some(value) => match value.into_string() {
                    Ok(value) => Ok(Some(value)),
                    Err(value) => Err(invalid(format!("{name}={value:?} is not valid UTF-8"))),
                },
            }
        };
        if let Some(value) = text("GREENROUTINE_WORKERS")? {
            let workers = value.trim().parse().map_err(|_| {
                invalid(format!(
                    "GREENROUTINE_WORKERS={value:?} is not a number of workers from 1 to {MAX_WORKERS}"
                ))
            })?;
            config.workers = check_workers(workers, "GREENROUTINE_WORKERS")?;
        }
        if let Some(value) = text("GREENROUTINE_STACK_MAX")? {
            let bytes = parse_bytes(&value).ok_or_else(|| {
                invalid(format!(
                    "GREENROUTINE_STACK_MAX={value:?} is not a size; use bytes or a suffix, such as 262144, 256KiB or 64MiB"
                ))
            })?;
            config.stack_max = check_stack_max(bytes, "GREENROUTINE_STACK_MAX")?;
        }
        if let Some(value) = text("GREENROUTINE_TRACEBACK")? {
            config.dump_on_quit = matches!(value.as_str(), "all" | "full");
            config.report_stuck = match value.as_str() {
                "" | "0" | "none" => false,
                "1" | "single" | "all" | "full" => true,
                _ => {
                    return Err(invalid(format!(
                        "GREENROUTINE_TRACEBACK={value:?} is not one of none, single, all (or 0, 1)"
                    )));
                }
            };
        }
        Ok(config)
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Checks a number of workers that came from `source`.
pub(crate) fn check_workers(workers: usize, source: &str) -> io::Result<usize> {
    if (1..=MAX_WORKERS).contains(&workers) {
        return Ok(workers);
    }
    Err(invalid(format!("{source}: {workers} workers; a runtime has 1 to {MAX_WORKERS}")))
}

/// Checks a bound for the blocking pool that came from `source`.
pub(crate) fn check_blocking_threads(threads: usize, source: &str) -> io::Result<usize> {
    if (1..=MAX_BLOCKING_THREADS).contains(&threads) {
        return Ok(threads);
    }
    Err(invalid(format!("{source}: {threads} threads; a blocking pool has 1 to {MAX_BLOCKING_THREADS}")))
}

/// Checks a stack limit that came from `source`.
pub(crate) fn check_stack_max(bytes: usize, source: &str) -> io::Result<usize> {
    if (MIN_STACK..=MAX_STACK).contains(&bytes) {
        return Ok(bytes);
    }
    Err(invalid(format!(
        "{source}: stack_max of {bytes} bytes; it can be {MIN_STACK} (64 KiB) to {MAX_STACK} (1 GiB)"
    )))
}

/// Checks an initial stack size that came from `source`, against the limit it has to fit in.
pub(crate) fn check_stack_initial(bytes: usize, stack_max: usize, source: &str) -> io::Result<usize> {
    if bytes <= stack_max {
        return Ok(bytes);
    }
    Err(invalid(format!(
        "{source}: stack_initial of {bytes} bytes; it can be at most stack_max, which is {stack_max}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> io::Result<Config> {
        Config::from_variables(|n| (n == name).then(|| value.into()))
    }

    #[test]
    fn variables_are_read() {
        assert_eq!(with("GREENROUTINE_WORKERS", "3").expect("valid").workers, 3);
        assert_eq!(with("GREENROUTINE_STACK_MAX", "256KiB").expect("valid").stack_max, 256 << 10);
        assert_eq!(with("GREENROUTINE_STACK_MAX", "65536").expect("valid").stack_max, 65536);
        assert!(with("GREENROUTINE_TRACEBACK", "all").expect("valid").report_stuck);
        assert!(with("GREENROUTINE_TRACEBACK", "all").expect("valid").dump_on_quit);
        assert!(!with("GREENROUTINE_TRACEBACK", "1").expect("valid").dump_on_quit);
    }

    #[test]
    fn bad_variables_are_named_with_their_value_and_the_range() {
        for (name, value, part) in [
            ("GREENROUTINE_WORKERS", "0", "1 to 512"),
            ("GREENROUTINE_WORKERS", "many", "\"many\""),
            ("GREENROUTINE_WORKERS", "-1", "\"-1\""),
            ("GREENROUTINE_STACK_MAX", "1KiB", "65536"),
            ("GREENROUTINE_STACK_MAX", "2G", "1073741824"),
            ("GREENROUTINE_STACK_MAX", "99999999999999999999", "is not a size"),
            ("GREENROUTINE_STACK_MAX", "big", "\"big\""),
            ("GREENROUTINE_TRACEBACK", "maybe", "\"maybe\""),
        ] {
            let error = with(name, value).expect_err(value).to_string();
            assert!(error.contains(name) && error.contains(part), "{error}");
        }
    }
}
